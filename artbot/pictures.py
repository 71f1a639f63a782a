"""The picture on record: is the file still the one that was made, and what follows if it is not.

A candidate whose file is missing or changed is quarantined, wherever that is noticed: it can neither be
approved nor sent, and its waiting deliveries are held. Once the very same bytes are back, it is what it
was before. Every step is in the log of decisions.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from artbot.domain.candidate import CANDIDATE, CandidateState
from artbot.domain.delivery import DELIVERY, WAITING, DeliveryState
from artbot.files import sha256_of_file
from db import chain
from db.models import Candidate, Decision

BY = "artbot"
"""Who decided, where nobody did."""


def fault_of(works: Path, candidate: Candidate) -> str | None:
    """What is wrong with the candidate's file, None if it is, to the byte, the recorded one."""
    assert candidate.path is not None
    path = works / candidate.path
    try:
        found = sha256_of_file(path)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if found != candidate.image_sha256:
        return f"{path} is no longer the picture that was made"
    return None


def quarantine(
    session: Session, candidate: Candidate, reason: str, via: str, now: datetime
) -> None:
    """Put the candidate aside and hold what waits to be sent of it."""
    _decide(session, candidate, CandidateState.QUARANTINED, via, now)
    candidate.error = reason
    for delivery in candidate.deliveries:
        if delivery.state in WAITING:
            DELIVERY.require(delivery.state, DeliveryState.HELD, delivery.id)
            delivery.state = DeliveryState.HELD
            delivery.last_error = reason


def reinstate(session: Session, candidate: Candidate, via: str, now: datetime) -> None:
    """The file is back: the candidate is what it was, and its held deliveries are queued again. One that
    was held for its channel's sake as well waits until that is resumed, if it is not by now."""
    last = candidate.decisions[-1]
    _decide(session, candidate, CandidateState(last.was), via, now)
    candidate.error = None
    for delivery in candidate.deliveries:
        if delivery.state == DeliveryState.HELD:
            delivery.state = DeliveryState.QUEUED
            delivery.next_at = now
            delivery.last_error = None


def _decide(
    session: Session, candidate: Candidate, to: CandidateState, via: str, now: datetime
) -> None:
    CANDIDATE.require(candidate.state, to, candidate.id)
    chain.append(
        session,
        Decision(
            candidate_id=candidate.id,
            was=candidate.state,
            now=to,
            image_sha256=candidate.image_sha256,
            title=candidate.title,
            alt=candidate.alt,
            caption=candidate.caption,
            by=BY,
            via=via,
            at=now,
        ),
    )
    candidate.state = to
    candidate.row_version += 1

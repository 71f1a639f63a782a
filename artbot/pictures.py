"""The picture on record: is the file still the one that was made, and what follows if it is not.

A candidate whose file is missing or changed is quarantined, wherever that is noticed: it can neither be
approved nor sent, and its waiting deliveries are held. Once the file is whole again and a person says so
(`artbot reproduce ID --restore`), it is what it was before. Every step is in the log of decisions.

A file that cannot be read now says nothing about the picture: the disk is not mounted, the server that
keeps it is away, there are no descriptors left. Nothing is put aside for that; it is asked again later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from artbot.domain.candidate import CANDIDATE, CandidateState
from artbot.domain.delivery import DELIVERY, WAITING, DeliveryState
from artbot.errors import PictureChanged, StorageFailed
from db import chain
from db.models import Candidate, Decision, Delivery

BY = "artbot"
"""Who decided, where nobody did."""
Requeue = Callable[[Session, Delivery, datetime], None]
"""Gives a delivery that was held, and is queued again, its time. May raise NotAllowed."""


def read_picture(works: Path, candidate: Candidate) -> bytes:
    """The candidate's file, to the byte the recorded one.

    Raises PictureChanged (it is gone, or another one), StorageFailed (nobody can know now). A file is
    gone only if it is missing from its batch's folder: where that is missing too, `works` is taken for
    a disk that is not mounted.
    """
    assert candidate.path is not None
    path = works / candidate.path
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        is_gone = isinstance(error, FileNotFoundError) and path.parent.is_dir()
        if is_gone or isinstance(error, IsADirectoryError):
            raise PictureChanged(reason) from error
        raise StorageFailed(f"{reason}. Is the disk with the works mounted?") from error
    if hashlib.sha256(content).hexdigest() != candidate.image_sha256:
        raise PictureChanged(f"{path} is no longer the picture that was made")
    return content


def fault_of(works: Path, candidate: Candidate) -> str | None:
    """What is wrong with the candidate's file, None if nothing is. Raises StorageFailed."""
    try:
        read_picture(works, candidate)
    except PictureChanged as error:
        return str(error)
    return None


def quarantine(
    session: Session, candidate: Candidate, reason: str, via: str, now: datetime
) -> None:
    """Put the candidate aside and hold what waits to be sent of it."""
    write_decision(session, candidate, CandidateState.QUARANTINED, BY, via, now)
    candidate.error = reason
    for delivery in candidate.deliveries:
        if delivery.state in WAITING:
            DELIVERY.move(delivery, DeliveryState.HELD)
            delivery.last_error = reason


def reinstate(
    session: Session, candidate: Candidate, via: str, now: datetime, requeue: Requeue
) -> None:
    """The file is back: the candidate is what it was, and its held deliveries are queued again. One that was
    held for its channel's sake as well waits until that is resumed, if it is not by now."""
    last = candidate.decisions[-1]
    write_decision(session, candidate, CandidateState(last.was), BY, via, now)
    candidate.error = None
    for delivery in candidate.deliveries:
        if delivery.state == DeliveryState.HELD:
            DELIVERY.move(delivery, DeliveryState.QUEUED)
            delivery.last_error = None
            requeue(session, delivery, now)


def write_decision(
    session: Session,
    candidate: Candidate,
    to: CandidateState,
    by: str,
    via: str,
    at: datetime,
    undoes: int | None = None,
    channels: Iterable[str] | None = None,
) -> None:
    """Move the candidate and say so in the log: the only way to do either. Stars leave it in its state."""
    was = candidate.state
    if to != was:  # before the decision: with it the candidate is written as well
        CANDIDATE.move(candidate, to)
    candidate.row_version += 1
    chain.append(
        session,
        Decision(
            candidate_id=candidate.id,
            was=was,
            now=to,
            undoes=undoes,
            image_sha256=candidate.image_sha256,
            title=candidate.title,
            alt=candidate.alt,
            caption=candidate.caption,
            hashtags=candidate.hashtags,
            warning=candidate.warning,
            language=candidate.language,
            stars=candidate.stars,
            channels=None if channels is None else " ".join(channels),
            by=by,
            via=via,
            at=at,
        ),
    )

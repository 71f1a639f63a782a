"""Approve, reject, undo: each one transaction, one row in the append-only decision log.

An approval and its deliveries are committed together: there is no moment at which a work is
approved and its channels do not know, or the other way round.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from artbot.clock import Clock
from artbot.config import TextSettings
from artbot.domain.candidate import CANDIDATE_MOVES, CandidateState
from artbot.domain.delivery import DeliveryState, Outcome
from artbot.errors import NotAllowed, PictureChanged, UsageError
from artbot.files import sha256_of_file
from db.engine import Database
from db.models import Candidate, Decision, Delivery

_ON_THE_WAY = (DeliveryState.SENDING, DeliveryState.DELIVERED)
_NOT_TAKEN = (Outcome.REJECTED, Outcome.UNAVAILABLE)
"""Outcomes after which the receiver certainly does not have the work."""


@dataclass(frozen=True)
class Review:
    """What deciding needs."""

    database: Database
    works: Path
    texts: TextSettings
    channels: Sequence[str]
    """Names of the channels an approved work goes to unless told otherwise."""
    undo_time: timedelta
    """How long an approved work waits before it may be sent."""
    clock: Clock


@dataclass(frozen=True)
class Author:
    """Who decides, and through which face."""

    by: str
    via: str


@dataclass(frozen=True)
class Words:
    """What the person wrote; None takes the draft from [texts]."""

    title: str | None = None
    alt: str | None = None
    caption: str | None = None


def approve(
    review: Review,
    candidate_id: int,
    author: Author,
    words: Words = Words(),
    channels: Sequence[str] | None = None,
) -> Candidate:
    """Approve a pending candidate and queue one delivery per channel.

    Approving an approved work again changes nothing, unless it was approved before there was any
    channel: then it goes out now. With other words or channels it is refused.

    Raises UsageError (no such candidate or channel), NotAllowed (not pending), PictureChanged (the
    file is not the recorded one).
    """
    wanted = list(dict.fromkeys(channels if channels is not None else review.channels))
    for channel in wanted:
        if channel not in review.channels:
            known = ", ".join(review.channels) or "none; add a [channels.NAME] table to artbot.toml"
            raise UsageError(f"there is no channel {channel!r}. Channels: {known}.")
    with review.database.write() as session:
        candidate = _get(session, candidate_id)
        if candidate.state == CandidateState.APPROVED:
            _check_nothing_new(candidate, words, channels)
            if not candidate.deliveries:  # approved before there was a channel
                _queue(session, candidate, wanted, review)
            return candidate
        _check_move(candidate, CandidateState.APPROVED)
        _check_picture(review.works, candidate)
        now = review.clock()
        candidate.approved_at = now
        for name, draft in draft_words(review.texts, candidate).items():
            written = getattr(words, name)
            setattr(candidate, name, draft if written is None else written)
        _decide(session, candidate, CandidateState.APPROVED, author, review.clock)
        _queue(session, candidate, wanted, review)
        return candidate


def reject(review: Review, candidate_id: int, author: Author) -> Candidate:
    """Reject a pending candidate; its file stays. Rejecting it again changes nothing."""
    with review.database.write() as session:
        candidate = _get(session, candidate_id)
        if candidate.state != CandidateState.REJECTED:
            _check_move(candidate, CandidateState.REJECTED)
            _decide(session, candidate, CandidateState.REJECTED, author, review.clock)
        return candidate


def undo(review: Review, candidate_id: int | None, author: Author) -> Candidate:
    """Take back the last decision, on `candidate_id` or on any candidate.

    Raises NotAllowed when nothing is left to undo, or when a delivery of the work was begun.
    """
    with review.database.write() as session:
        last = session.scalars(_undoable(candidate_id)).first()
        if last is None:
            _raise_nothing_to_undo(session, candidate_id)
        candidate = last.candidate
        if candidate.state == CandidateState.APPROVED:
            _cancel_deliveries(candidate)
            candidate.approved_at = candidate.title = candidate.alt = candidate.caption = None
        _decide(session, candidate, CandidateState(last.was), author, review.clock, undoes=last.id)
        return candidate


def draft_words(texts: TextSettings, candidate: Candidate) -> dict[str, str]:
    """Title, alt text and caption drafted from the work's facts."""
    manifest = candidate.checkpoint.manifest
    facts = {
        "number": candidate.id,
        "date": candidate.batch.local_date.isoformat(),
        "dataset": manifest["dataset"]["name"],
        "checkpoint": candidate.checkpoint.name,
        "seed": candidate.seed,
    }
    templates = {"title": texts.title, "alt": texts.alt, "caption": texts.caption}
    return {name: template.format(**facts) for name, template in templates.items()}


def _get(session: Session, candidate_id: int) -> Candidate:
    candidate = session.get(Candidate, candidate_id)
    if candidate is None:
        raise UsageError(f"there is no candidate {candidate_id}. `artbot review --all` lists them.")
    return candidate


def _check_move(candidate: Candidate, to: CandidateState) -> None:
    """Ask the state machine; the message says what would help."""
    was = CandidateState(candidate.state)
    if to not in CANDIDATE_MOVES[was]:
        helps = {
            CandidateState.REJECTED: f"Take that back first: artbot undo {candidate.id}",
            CandidateState.APPROVED: f"Take that back first: artbot undo {candidate.id}",
            CandidateState.PLANNED: "Its picture is not made yet.",
            CandidateState.FAILED: "It could not be rendered.",
        }
        raise NotAllowed(f"{candidate.id} ({candidate.name}) is {was}. {helps.get(was, '')}")


def _check_nothing_new(candidate: Candidate, words: Words, channels: Sequence[str] | None) -> None:
    """A second approval must not look as if it had changed what the first one froze."""
    going = {d.channel for d in candidate.deliveries if d.state != DeliveryState.CANCELLED}
    changed = [
        name
        for name, written in vars(words).items()
        if written is not None and written != getattr(candidate, name)
    ]
    if channels is not None and going and set(channels) != going:
        changed.append("channels")
    if changed:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) is approved already, with other {' and '.join(changed)}. "
            f"To change them, take the approval back first: artbot undo {candidate.id}"
        )


def _check_picture(works: Path, candidate: Candidate) -> None:
    """What is approved is what was recorded and shown, or nothing is."""
    assert candidate.path is not None
    path = works / candidate.path
    remedy = f"Make it again with `artbot reproduce {candidate.id} --restore`."
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise PictureChanged(f"{path} cannot be read: {error.strerror}. {remedy}") from error
    if found != candidate.image_sha256:
        raise PictureChanged(f"{path} is no longer the picture that was made. {remedy}")


def _decide(
    session: Session,
    candidate: Candidate,
    now: CandidateState,
    author: Author,
    clock: Clock,
    undoes: int | None = None,
) -> None:
    session.add(
        Decision(
            candidate_id=candidate.id,
            was=candidate.state,
            now=now,
            undoes=undoes,
            image_sha256=candidate.image_sha256,
            title=candidate.title,
            alt=candidate.alt,
            caption=candidate.caption,
            by=author.by,
            via=author.via,
            at=clock(),
        )
    )
    candidate.state = now
    candidate.row_version += 1


def _queue(session: Session, candidate: Candidate, channels: Sequence[str], review: Review) -> None:
    """One delivery per channel; one that was cancelled by an undo is queued again under its old key."""
    now = review.clock()
    existing = {delivery.channel: delivery for delivery in candidate.deliveries}
    for channel in channels:
        delivery = existing.get(channel)
        if delivery is None:
            delivery = Delivery(
                candidate_id=candidate.id,
                channel=channel,
                delivery_key=f"msg_{secrets.token_hex(16)}",
                created_at=now,
                num_attempts=0,
            )
            session.add(delivery)
        delivery.state = DeliveryState.QUEUED
        delivery.num_attempts = 0
        delivery.next_at = now + review.undo_time


def _undoable(candidate_id: int | None) -> Select[Decision]:
    """Decisions a person made that no later one undoes, the newest first."""
    undone = select(Decision.undoes).where(Decision.undoes.is_not(None))
    query = select(Decision).where(Decision.undoes.is_(None), Decision.id.not_in(undone))
    if candidate_id is not None:
        query = query.where(Decision.candidate_id == candidate_id)
    return query.order_by(Decision.id.desc())


def _raise_nothing_to_undo(session: Session, candidate_id: int | None) -> NoReturn:
    if candidate_id is None:
        raise NotAllowed("there is no decision to undo.")
    candidate = _get(session, candidate_id)
    raise NotAllowed(
        f"{candidate.id} ({candidate.name}) has no decision to undo: it is {candidate.state}."
    )


def _cancel_deliveries(candidate: Candidate) -> None:
    """Cancel every delivery; refuse as soon as one receiver has the work, or may have it."""
    begun = [
        delivery.channel
        for delivery in candidate.deliveries
        if delivery.state in _ON_THE_WAY
        or any(attempt.outcome not in _NOT_TAKEN for attempt in delivery.attempts)
    ]
    if begun:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) has already gone out to {', '.join(begun)}, or may have. "
            "What the world has seen cannot be taken back from here."
        )
    for delivery in candidate.deliveries:
        delivery.state = DeliveryState.CANCELLED
        delivery.last_error = None

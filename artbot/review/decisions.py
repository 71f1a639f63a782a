"""Approve, reject, undo, expire: each one transaction, one row in the append-only decision log.

An approval and its deliveries are committed together: there is no moment at which a work is
approved and its channels do not know, or the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.orm.interfaces import ORMOption

from artbot.clock import Clock
from artbot.config import TextSettings
from artbot.domain.candidate import CANDIDATE, CandidateState, expires_before
from artbot.domain.delivery import (
    DELIVERY,
    DeliveryState,
    Protection,
    delivery_key,
    may_have_landed,
)
from artbot.domain.text import check_hashtag, check_language, check_title_and_alt
from artbot.errors import NotAllowed, PictureChanged, StorageFailed, UsageError
from artbot.failpoints import failpoint
from artbot.pictures import BY, fault_of, quarantine, write_decision
from db.engine import Database
from db.models import Candidate, Decision, Delivery, WorkplaceRow

_MAY_BE_OUT = (
    "approved after an old database was restored: it may have been posted before. "
    "Look, then say `artbot deliveries resolve`"
)


@dataclass(frozen=True)
class Review:
    """What deciding needs."""

    database: Database
    works: Path
    texts: TextSettings
    channels: Mapping[str, Protection]
    """The channels an approved work goes to unless told otherwise, by name."""
    undo_time: timedelta
    """How long an approved work waits before it may be sent."""
    clock: Clock
    refusals: Callable[[Candidate, Sequence[str]], Mapping[str, str]] = lambda candidate, channels: {}
    """(an approved candidate, channels) -> why those that could never take it could not, by channel."""
    goes_out_at: Callable[[Session, str, datetime], datetime] = (
        lambda session, channel, not_before: not_before
    )
    """(this transaction, channel, the end of the undo time) -> when a work goes out. May raise NotAllowed."""


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
    hashtags: str | None = None
    """Separated by spaces, with or without #."""
    warning: str | None = None
    """What people should know before they see it; empty: nothing."""
    language: str | None = None
    """Of these words: a BCP 47 tag."""


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

    Raises UsageError (no such candidate or channel, words that are no text), NotAllowed (not pending; no alt
    text; a channel could never take it: too many words, say; every slot is taken),
    PictureChanged (the file is not the recorded one; the candidate is quarantined), StorageFailed (it
    cannot be read now; nothing is decided).
    """
    words = _checked(words)
    wanted = list(dict.fromkeys(channels if channels is not None else review.channels))
    for channel in wanted:
        if channel not in review.channels:
            known = ", ".join(review.channels) or "none; add a [channels.NAME] table to artbot.toml"
            raise UsageError(f"there is no channel {channel!r}. Channels: {known}.")
    _check_taken(review, candidate_id, words, wanted)
    fault = None
    with review.database.write() as session:
        candidate = _get(session, candidate_id)
        if candidate.state == CandidateState.APPROVED:
            _check_nothing_new(candidate, words, channels)
            if _goes_nowhere(candidate):
                _queue(session, candidate, wanted, review)
            return candidate
        _check_move(candidate, CandidateState.APPROVED)
        fault = fault_of(review.works, candidate)
        now = review.clock()
        if fault is not None:
            quarantine(session, candidate, fault, author.via, now)
        else:
            _put_words(review, candidate, words, now)
            _decide(session, candidate, CandidateState.APPROVED, author, review.clock)
            _queue(session, candidate, wanted, review)
            failpoint("decision.written")
    if fault is not None:  # what is approved is what was recorded and shown, or nothing is
        raise PictureChanged(
            f"{fault}. Make it again with `artbot reproduce {candidate_id} --restore`."
        )
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
        last = session.scalar(_undoable(candidate_id).limit(1))
        if last is None:
            _raise_nothing_to_undo(session, candidate_id)
        candidate = last.candidate
        _check_move(candidate, CandidateState(last.was))
        if candidate.state == CandidateState.APPROVED:
            _cancel_deliveries(candidate)
            candidate.approved_at = None
            for name in vars(Words()):
                setattr(candidate, name, None)
        _decide(session, candidate, CandidateState(last.was), author, review.clock, undoes=last.id)
        return candidate


def expire(review: Review, expire_days: float) -> list[str]:
    """Put aside the candidates nobody decided about for so long; their names. 0 days: none, ever."""
    waits = expires_before(expire_days)
    if waits is None:
        return []
    before = review.clock() - waits
    forgotten = select(Candidate).where(
        Candidate.state == CandidateState.PENDING,
        Candidate.rendered_at < before,
        ~Candidate.decisions.any(Decision.at >= before),  # an undo begins the wait anew
    )
    with review.database.read() as session:
        if session.scalar(forgotten.limit(1)) is None:
            return []
    with review.database.write() as session:
        expired = session.scalars(forgotten).all()
        for candidate in expired:
            author = Author(by=BY, via="daemon")
            _decide(session, candidate, CandidateState.EXPIRED, author, review.clock)
        return [candidate.name for candidate in expired]


def _check_taken(review: Review, candidate_id: int, words: Words, channels: Sequence[str]) -> None:
    """Before anything is locked: renditions take their time. Raises NotAllowed for what a channel could never
    send, or none should; better now than at midnight."""
    candidate = as_approved(review, candidate_id, words)
    if not CANDIDATE.allows(candidate.state, CandidateState.APPROVED):
        return  # told with what would help, where it is decided
    try:
        check_title_and_alt(candidate.title or "", candidate.alt or "")
    except ValueError as error:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) cannot go out like this: {error}. Give it other words: "
            f"artbot approve {candidate.id} --title … --alt …"
        ) from error
    try:
        refused = review.refusals(candidate, channels)
    except (PictureChanged, StorageFailed):
        return  # likewise
    if refused:
        listed = "; ".join(f"{channel}: {why}" for channel, why in refused.items())
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) cannot go out like this: {listed}. Mend that (other "
            f"words: artbot approve {candidate.id} --caption … --alt …; other limits: the channel's table in "
            "artbot.toml), or leave the channel out (--channel)."
        )


def as_approved(review: Review, candidate_id: int, words: Words = Words()) -> Candidate:
    """The candidate with the words that it has, or that an approval would freeze now. Nothing is written.

    Raises UsageError.
    """
    words = _checked(words)
    with review.database.read() as session:
        candidate = _get(
            session,
            candidate_id,
            joinedload(Candidate.batch),
            joinedload(Candidate.checkpoint),
        )
        session.expunge_all()
    if candidate.state != CandidateState.APPROVED:
        _put_words(review, candidate, words, review.clock())
    return candidate


def _put_words(review: Review, candidate: Candidate, words: Words, now: datetime) -> None:
    """What the person wrote, and the drafts for the rest."""
    candidate.approved_at = now
    for name, draft in draft_words(review.texts, candidate).items():
        written = getattr(words, name)
        setattr(candidate, name, draft if written is None else written)


def draft_words(texts: TextSettings, candidate: Candidate) -> dict[str, str]:
    """The words of a work as [texts] drafts them from its facts."""
    manifest = candidate.checkpoint.manifest
    facts = {
        "number": candidate.id,
        "date": candidate.batch.local_date.isoformat(),
        "dataset": manifest["dataset"]["name"],
        "checkpoint": candidate.checkpoint.name,
        "seed": candidate.seed,
    }
    templates = {"title": texts.title, "alt": texts.alt, "caption": texts.caption}
    drafted = {name: template.format(**facts) for name, template in templates.items()}
    fixed = {
        "hashtags": " ".join(texts.hashtags),
        "warning": texts.warning,
        "language": texts.language,
    }
    return drafted | fixed


def _get(session: Session, candidate_id: int, *options: ORMOption) -> Candidate:
    candidate = session.get(Candidate, candidate_id, options=options)
    if candidate is None:
        raise UsageError(f"there is no candidate {candidate_id}. `artbot review --all` lists them.")
    return candidate


def _checked(words: Words) -> Words:
    """With its hashtags in their one form. Raises UsageError for words that are none.

    What was typed in another encoding arrives as half characters, which no database keeps.
    """
    for name, written in vars(words).items():
        try:
            (written or "").encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"the {name} is no UTF-8 text: {written!a}") from error
    try:
        if words.language is not None:
            check_language(words.language)
        if words.hashtags is None:
            return words
        tags = [check_hashtag(tag.removeprefix("#")) for tag in words.hashtags.split()]
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    return replace(words, hashtags=" ".join(tags))


def _check_move(candidate: Candidate, to: CandidateState) -> None:
    """Ask the state machine; the message says what would help."""
    was = CandidateState(candidate.state)
    # Out of quarantine leads the picture's return (artbot.pictures), and no decision.
    if was == CandidateState.QUARANTINED or not CANDIDATE.allows(was, to):
        helps = {
            CandidateState.REJECTED: f"Take that back first: artbot undo {candidate.id}",
            CandidateState.APPROVED: f"Take that back first: artbot undo {candidate.id}",
            CandidateState.PLANNED: "Its picture is not made yet.",
            CandidateState.FAILED: "It could not be rendered.",
            CandidateState.EXPIRED: f"To decide after all: artbot undo {candidate.id}",
            CandidateState.QUARANTINED: f"{candidate.error}. Make its picture again: "
            f"artbot reproduce {candidate.id} --restore",
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


def _decide(
    session: Session,
    candidate: Candidate,
    now: CandidateState,
    author: Author,
    clock: Clock,
    undoes: int | None = None,
) -> None:
    write_decision(session, candidate, now, author.by, author.via, clock(), undoes)


def _queue(session: Session, candidate: Candidate, channels: Sequence[str], review: Review) -> None:
    """One delivery per channel, each with its time; one that was cancelled by an undo is queued again under
    its old key."""
    now = review.clock()
    workplace = session.get_one(WorkplaceRow, 1)
    # What this database was restored from may be older than a post of this very work.
    doubted_until = workplace.doubted_until
    may_be_out = doubted_until is not None and candidate.batch.local_date <= doubted_until
    existing = {delivery.channel: delivery for delivery in candidate.deliveries}
    for channel in channels:
        delivery = existing.get(channel)
        is_doubtful = may_be_out and not review.channels[channel].is_for_ever
        state = DeliveryState.UNCERTAIN if is_doubtful else DeliveryState.QUEUED
        if delivery is not None and delivery.state != DeliveryState.CANCELLED:
            continue
        next_at = now + review.undo_time
        if not is_doubtful:
            next_at = review.goes_out_at(session, channel, next_at)
        if delivery is None:
            assert candidate.image_sha256 is not None
            delivery = Delivery(
                candidate_id=candidate.id,
                channel=channel,
                state=DELIVERY.begin(state),
                delivery_key=delivery_key(
                    workplace.workplace_id, candidate.name, candidate.image_sha256, channel
                ),
                created_at=now,
            )
            session.add(delivery)
        else:
            DELIVERY.move(delivery, state)
        delivery.last_error = _MAY_BE_OUT if is_doubtful else None
        delivery.num_attempts, delivery.on_hold = 0, False
        delivery.next_at = next_at


def _goes_nowhere(candidate: Candidate) -> bool:
    """Whether it was approved while there was no channel. What was withdrawn since is meant to stay."""
    assert candidate.approved_at is not None
    return all(
        delivery.state == DeliveryState.CANCELLED
        and not any(
            entry.act == "withdraw" and entry.at >= candidate.approved_at
            for entry in delivery.interventions
        )
        for delivery in candidate.deliveries
    )


def _undoable(candidate_id: int | None) -> Select[Decision]:
    """Decisions a person made that no later one undoes, the newest first; of a candidate that is named,
    its expiry too. That a picture is missing cannot be undone, only mended."""
    undone = select(Decision.undoes).where(Decision.undoes.is_not(None))
    query = select(Decision).where(
        Decision.undoes.is_(None),
        Decision.id.not_in(undone),
        Decision.was != CandidateState.QUARANTINED,
        Decision.now != CandidateState.QUARANTINED,
    )
    if candidate_id is None:
        query = query.where(Decision.now != CandidateState.EXPIRED)
    else:
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
    begun = [delivery.channel for delivery in candidate.deliveries if not _can_cancel(delivery)]
    if begun:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) has already gone out to {', '.join(begun)}, or may have. "
            "What the world has seen cannot be taken back from here."
        )
    for delivery in candidate.deliveries:
        if delivery.state != DeliveryState.CANCELLED:
            DELIVERY.move(delivery, DeliveryState.CANCELLED)
        delivery.last_error, delivery.on_hold = None, False


def _can_cancel(delivery: Delivery) -> bool:
    if delivery.state == DeliveryState.CANCELLED:
        return True
    absent_at = [entry.at for entry in delivery.interventions if entry.act == "absent"]
    may_be_out = bool(may_have_landed(delivery.attempts, absent_at))
    return DELIVERY.allows(delivery.state, DeliveryState.CANCELLED) and not may_be_out

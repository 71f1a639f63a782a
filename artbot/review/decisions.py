"""Approve, reject, put off, give stars, undo, redo: each one transaction, one row in the append-only decision log.

An approval and its deliveries are committed together: there is no moment at which a work is
approved and its channels do not know, or the other way round.

Who shows pictures says with every act what the person `Seen`: if somebody else was quicker, this one is told, and
nothing is overwritten. Without it (a command that names a number) nothing was seen, and nothing can be stale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn, Protocol

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.orm.interfaces import ORMOption

from artbot.clock import Clock
from artbot.config import TextSettings
from artbot.domain.candidate import (
    MOST_STARS,
    UNDECIDED,
    CandidateState,
    decision_words,
    expires_before,
    undos,
)
from artbot.domain.delivery import (
    DELIVERY,
    DeliveryState,
    Protection,
    delivery_key,
    may_have_landed,
)
from artbot.domain.slots import Turn, When
from artbot.domain.text import check_hashtag, check_language, check_title_and_alt
from artbot.errors import NotAllowed, PictureChanged, Stale, StorageFailed, UsageError
from artbot.failpoints import failpoint
from artbot.pictures import BY, fault_of, quarantine, write_decision
from db.engine import Database
from db.models import Candidate, Decision, Delivery, WorkplaceRow

_MAY_BE_OUT = (
    "approved after an old database was restored: it may have been posted before. "
    "Look, then say `artbot deliveries resolve`"
)


class Place(Protocol):
    def __call__(
        self,
        session: Session,
        delivery: Delivery,
        when: When,
        not_before: datetime,
        author: Author,
        now: datetime,
        /,
    ) -> None: ...


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
    place: Place = lambda session, delivery, when, not_before, author, now: None
    """Gives a delivery that was just queued, due at the end of the undo time, the time that is wanted. May raise
    UsageError, NotAllowed."""


@dataclass(frozen=True)
class Author:
    """Who decides, and through which face."""

    by: str
    via: str


@dataclass(frozen=True)
class Seen:
    """What lay before the person who decides."""

    image_sha256: str
    row_version: int


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
    when: When = Turn.NEXT,
    seen: Seen | None = None,
) -> Candidate:
    """Approve an undecided candidate and queue one delivery per channel, to go out at `when` on each.

    Approving an approved work again changes nothing, unless it was approved before there was any
    channel: then it goes out now. With other words, channels or a time it is refused.

    Raises UsageError (no such candidate or channel, words that are no text, a time that is past), NotAllowed
    (decided already; no alt text; a channel could never take it: too many words, say; the time is taken), Stale,
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
    with review.database.write() as session:
        candidate = _get(session, candidate_id)
        _check_seen(candidate, seen)
        now = review.clock()
        if candidate.state == CandidateState.APPROVED:
            goes_nowhere = _goes_nowhere(candidate)
            _check_nothing_new(candidate, words, channels, Turn.NEXT if goes_nowhere else when)
            if goes_nowhere:
                _queue(session, candidate, wanted, review, when, author, now)
            return candidate
        _check_undecided(candidate)
        fault = _approve(session, review, candidate, words, wanted, when, author, now)
    _raise_if_changed(candidate, fault)
    return candidate


def _approve(
    session: Session,
    review: Review,
    candidate: Candidate,
    words: Words,
    channels: Sequence[str],
    when: When,
    author: Author,
    now: datetime,
    undoes: int | None = None,
) -> str | None:
    """Approve it, if its file is the recorded one; else quarantine it, and return what is wrong."""
    fault = fault_of(review.works, candidate)
    if fault is not None:
        quarantine(session, candidate, fault, author.via, now)
        return fault
    _put_words(review, candidate, words, now)
    _decide(session, candidate, CandidateState.APPROVED, author, now, undoes, channels)
    _queue(session, candidate, channels, review, when, author, now)
    failpoint("decision.written")
    return None


def _raise_if_changed(candidate: Candidate, fault: str | None) -> None:
    """After the commit. What is approved is what was recorded and shown, or nothing is."""
    if fault is not None:
        raise PictureChanged(
            f"{fault}. Make it again with `artbot reproduce {candidate.id} --restore`."
        )


def reject(
    review: Review, candidate_id: int, author: Author, seen: Seen | None = None
) -> Candidate:
    """Reject an undecided candidate; its file stays. Rejecting it again changes nothing.

    Raises UsageError, NotAllowed, Stale.
    """
    return _move(review, candidate_id, CandidateState.REJECTED, author, seen)


def put_off(
    review: Review, candidate_id: int, author: Author, seen: Seen | None = None
) -> Candidate:
    """Leave a pending candidate for later: a person has looked and wants to decide another time. Twice is once.

    Raises UsageError, NotAllowed, Stale.
    """
    return _move(review, candidate_id, CandidateState.LATER, author, seen)


def reject_each(review: Review, saw: Mapping[int, Seen], author: Author) -> list[Candidate]:
    """Reject, in one transaction, those of these that are pending and still what the person saw; return them. The
    others are as somebody else has just left them, and stay so.

    Raises UsageError.
    """
    with review.database.write() as session:
        now, rejected = review.clock(), []
        for candidate_id, seen in saw.items():
            candidate = _get(session, candidate_id)
            if candidate.state == CandidateState.PENDING and not _is_stale(candidate, seen):
                _decide(session, candidate, CandidateState.REJECTED, author, now)
                rejected.append(candidate)
        return rejected


def undo_each(review: Review, candidate_ids: Sequence[int], author: Author) -> list[Candidate]:
    """Take back, in one transaction, the rejections of these (`reject_each`), and return them. What is not rejected
    any more stays as it is.

    Raises UsageError.
    """
    with review.database.write() as session:
        undone = []
        for candidate_id in dict.fromkeys(candidate_ids):
            candidate = _get(session, candidate_id)
            if candidate.state == CandidateState.REJECTED:
                last = _last_decision(session, candidate_id)
                while last.now == last.was:  # stars that were given since
                    _undo(session, review, last, author)
                    last = _last_decision(session, candidate_id)
                _undo(session, review, last, author)
                undone.append(candidate)
        return undone


def _move(
    review: Review, candidate_id: int, to: CandidateState, author: Author, seen: Seen | None
) -> Candidate:
    with review.database.write() as session:
        candidate = _get(session, candidate_id)
        _check_seen(candidate, seen)
        if candidate.state != to:
            _check_undecided(candidate)
            _decide(session, candidate, to, author, review.clock())
        return candidate


def give_stars(
    review: Review, candidate_id: int, stars: int, author: Author, seen: Seen | None = None
) -> Candidate:
    """Give a candidate 1 to 5 stars, or with 0 take them away; whatever was decided about it stays so.

    Raises UsageError (no such candidate, another number), NotAllowed (it has no picture), Stale.
    """
    if not 0 <= stars <= MOST_STARS:
        raise UsageError(f"{stars} is no number of stars. Give 1 to {MOST_STARS}, or 0 for none.")
    with review.database.write() as session:
        candidate = _get(session, candidate_id)
        _check_seen(candidate, seen)
        if candidate.state in WITHOUT_PICTURE:
            raise not_now(candidate)
        if candidate.stars != stars:
            candidate.stars = stars
            _decide(session, candidate, CandidateState(candidate.state), author, review.clock())
        return candidate


def undo(
    review: Review, candidate_id: int | None, author: Author, seen: Seen | None = None
) -> Candidate:
    """Take back the last decision, on `candidate_id` or on any candidate; `seen` is about the one that is named.

    Raises NotAllowed when nothing is left to undo, or when a delivery of the work was begun; Stale.
    """
    with review.database.write() as session:
        _check_named(session, candidate_id, seen)
        return _undo(session, review, _last_decision(session, candidate_id), author)


def _undo(session: Session, review: Review, last: Decision, author: Author) -> Candidate:
    candidate, channels = last.candidate, None
    _check_leads_back(last)
    candidate.stars = _stars_before(last)
    if last.now == CandidateState.APPROVED != last.was:
        channels = _cancel_deliveries(candidate)
        candidate.approved_at = None
        for name in vars(Words()):
            setattr(candidate, name, None)
    was, now = CandidateState(last.was), review.clock()
    _decide(session, candidate, was, author, now, last.id, channels)
    return candidate


def redo(
    review: Review, candidate_id: int | None, author: Author, seen: Seen | None = None
) -> Candidate:
    """Take back the last undo, on `candidate_id` or on any candidate, as long as nothing else was decided since.

    An approval comes back with its words, to the channels that the undo took it from, and at the times that people
    gave its deliveries, where these are to come and still free.

    Raises NotAllowed when there is nothing to redo, or what was approved cannot go out any more; Stale,
    PictureChanged, StorageFailed.
    """
    with review.database.read() as session:  # before anything is locked: renditions take their time
        _check_named(session, candidate_id, seen)
        undone = _last_undo(session, candidate_id)
        words = Words()
        channels: list[str] = []
        when: When = Turn.NEXT
        if brings_approval := undone.was == CandidateState.APPROVED != undone.now:
            words, channels, when = _as_approved_before(review, undone)
    if brings_approval:
        _check_taken(review, undone.candidate_id, words, channels)
    fault = None
    with review.database.write() as session:
        _check_named(session, candidate_id, seen)
        last = _last_undo(session, candidate_id)
        candidate, now = last.candidate, review.clock()
        if last.id != undone.id:
            raise Stale(_stale_words(candidate))
        _check_leads_back(last)
        if brings_approval:
            fault = _approve(
                session, review, candidate, words, channels, when, author, now, last.id
            )
        else:
            candidate.stars = _stars_before(last)
            _decide(session, candidate, CandidateState(last.was), author, now, last.id)
    _raise_if_changed(candidate, fault)
    return candidate


def expire(review: Review, expire_days: float) -> list[str]:
    """Put aside the candidates nobody decided about for so long; their names. 0 days: none, ever."""
    waits = expires_before(expire_days)
    if waits is None:
        return []
    before = review.clock() - waits
    forgotten = select(Candidate).where(
        Candidate.state.in_(UNDECIDED),
        Candidate.rendered_at < before,
        ~Candidate.decisions.any(Decision.at >= before),  # who looks at it begins the wait anew
    )
    with review.database.read() as session:
        if session.scalar(forgotten.limit(1)) is None:
            return []
    with review.database.write() as session:
        expired = session.scalars(forgotten).all()
        for candidate in expired:
            author = Author(by=BY, via="daemon")
            _decide(session, candidate, CandidateState.EXPIRED, author, review.clock())
        return [candidate.name for candidate in expired]


def _check_taken(review: Review, candidate_id: int, words: Words, channels: Sequence[str]) -> None:
    """Before anything is locked: renditions take their time. Raises NotAllowed for what a channel could never
    send, or none should; better now than at midnight."""
    candidate = as_approved(review, candidate_id, words)
    if candidate.state not in UNDECIDED:
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
        tables = " and ".join(f"[channels.{channel}]" for channel in refused)
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) cannot go out like this: {listed}. Mend {tables}, or the words "
            f"(artbot approve {candidate.id} --caption … --alt …), or leave the channel out (--channel)."
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


def check_seen(review: Review, candidate_id: int, seen: Seen) -> None:
    """Raises Stale if it is no longer what lay before the person; UsageError."""
    with review.database.read() as session:
        _check_seen(_get(session, candidate_id), seen)


def _is_stale(candidate: Candidate, seen: Seen) -> bool:
    was_decided = candidate.row_version != seen.row_version and bool(candidate.decisions)
    return was_decided or candidate.image_sha256 != seen.image_sha256


def _check_seen(candidate: Candidate, seen: Seen | None) -> None:
    """Raises Stale if it is no longer what lay before the person."""
    if seen is None:
        return
    if candidate.row_version != seen.row_version and candidate.decisions:
        raise Stale(_stale_words(candidate))
    if candidate.image_sha256 != seen.image_sha256:
        raise Stale(
            f"{candidate.id} ({candidate.name}) has another picture than the one that was shown. "
            f"Look at it: artbot show {candidate.id}"
        )


def _check_named(session: Session, candidate_id: int | None, seen: Seen | None) -> None:
    if candidate_id is not None:
        _check_seen(_get(session, candidate_id), seen)


def _stale_words(candidate: Candidate) -> str:
    """Who decided what, when, through which face."""
    last = candidate.decisions[-1]
    what = decision_words(last.was, last.now, last.stars)
    if last.undoes is not None:
        what = f"{what} again"
    return (
        f"{candidate.id} ({candidate.name}) is not as it was shown any more: {what}, by {last.by} "
        f"({last.via}) on {last.at.astimezone():%Y-%m-%d at %H:%M:%S}. Nothing was changed; look again."
    )


WITHOUT_PICTURE = (CandidateState.PLANNED, CandidateState.FAILED, CandidateState.QUARANTINED)


def _check_undecided(candidate: Candidate) -> None:
    """The machine alone would not do: it has the moves of undo as well. Raises NotAllowed."""
    if candidate.state not in UNDECIDED:
        raise not_now(candidate)


def not_now(candidate: Candidate) -> NotAllowed:
    """Why nothing can be decided about it as it is, with what helps."""
    was = CandidateState(candidate.state)
    helps = {
        CandidateState.REJECTED: f"Take that back first: artbot undo {candidate.id}",
        CandidateState.APPROVED: f"Take that back first: artbot undo {candidate.id}",
        CandidateState.PLANNED: "Its picture is not made yet.",
        CandidateState.FAILED: "It could not be rendered.",
        CandidateState.EXPIRED: f"To decide after all: artbot undo {candidate.id}",
        CandidateState.QUARANTINED: f"{candidate.error}. Make its picture again: "
        f"artbot reproduce {candidate.id} --restore",
    }
    return NotAllowed(f"{candidate.id} ({candidate.name}) is {was}. {helps.get(was, '')}")


def _check_nothing_new(
    candidate: Candidate, words: Words, channels: Sequence[str] | None, when: When
) -> None:
    """A second approval must not look as if it had changed what the first one froze."""
    going = [d for d in candidate.deliveries if d.state != DeliveryState.CANCELLED]
    changed = [
        name
        for name, written in vars(words).items()
        if written is not None and written != getattr(candidate, name)
    ]
    if channels is not None and going and set(channels) != {d.channel for d in going}:
        changed.append("channels")
    if changed:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) is approved already, with other {' and '.join(changed)}. "
            f"To change them, take the approval back first: artbot undo {candidate.id}"
        )
    if when != Turn.NEXT:
        numbers = " ".join(str(delivery.id) for delivery in going)
        other = f"artbot queue move {numbers} --to TIME, or artbot queue now {numbers}"
        anew = f"take the approval back first: artbot undo {candidate.id}"
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) is approved already. To give it another time: "
            f"{other if going else anew}"
        )


def _decide(
    session: Session,
    candidate: Candidate,
    to: CandidateState,
    author: Author,
    now: datetime,
    undoes: int | None = None,
    channels: Sequence[str] | None = None,
) -> None:
    write_decision(session, candidate, to, author.by, author.via, now, undoes, channels)


def _queue(
    session: Session,
    candidate: Candidate,
    channels: Sequence[str],
    review: Review,
    when: When,
    author: Author,
    now: datetime,
) -> None:
    """One delivery per channel, each with its time; one that was cancelled by an undo is queued again under
    its old key."""
    workplace = session.get_one(WorkplaceRow, 1)
    doubtful = doubtful_channels(session, review, candidate)
    not_before = now + review.undo_time
    existing = {delivery.channel: delivery for delivery in candidate.deliveries}
    for channel in channels:
        delivery = existing.get(channel)
        is_doubtful = channel in doubtful
        state = DeliveryState.UNCERTAIN if is_doubtful else DeliveryState.QUEUED
        if delivery is not None and delivery.state != DeliveryState.CANCELLED:
            continue
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
                next_at=not_before,
            )
            session.add(delivery)
        else:
            DELIVERY.move(delivery, state)
            if is_doubtful or when != Turn.AS_BEFORE:
                delivery.next_at = not_before
        delivery.last_error = _MAY_BE_OUT if is_doubtful else None
        delivery.num_attempts, delivery.on_hold = 0, False
        session.flush()  # its number, for the log
        if not is_doubtful:
            review.place(session, delivery, when, not_before, author, now)


def doubtful_channels(session: Session, review: Review, candidate: Candidate) -> set[str]:
    """Where it may have been posted already, and a repetition would not be recognised: what this database was
    restored from may be older than that post."""
    doubted_until = session.get_one(WorkplaceRow, 1).doubted_until
    if doubted_until is None or candidate.batch.local_date > doubted_until:
        return set()
    return {name for name, protection in review.channels.items() if not protection.is_for_ever}


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


def _of_people(candidate_id: int | None) -> Select[Decision]:
    """Decisions a person made, the newest first; of a candidate that is named, its expiry too. That a picture is
    missing cannot be undone, only mended."""
    query = select(Decision).where(
        Decision.was != CandidateState.QUARANTINED, Decision.now != CandidateState.QUARANTINED
    )
    if candidate_id is None:
        query = query.where(Decision.now != CandidateState.EXPIRED)
    else:
        query = query.where(Decision.candidate_id == candidate_id)
    return query.order_by(Decision.id.desc())


def _standing(query: Select[Decision]) -> Select[Decision]:
    """Those that nothing took back. Of a work that expired since, only its expiry can be taken back."""
    taken_back = select(Decision.undoes).where(Decision.undoes.is_not(None))
    is_expired = Decision.candidate.has(state=CandidateState.EXPIRED)
    return query.where(
        Decision.id.not_in(taken_back), ~is_expired | (Decision.now == CandidateState.EXPIRED)
    )


def _newest(session: Session, query: Select[Decision], is_undo: bool) -> Decision | None:
    """The first that is an undo, or that is none."""
    row = session.scalar(query.limit(1))
    while row is not None and _is_undo(row) != is_undo:
        row = session.scalar(query.where(Decision.id < row.id).limit(1))
    return row


def _is_undo(decision: Decision) -> bool:
    if decision.undoes is None:
        return False
    return decision.id in undos((d.id, d.undoes) for d in decision.candidate.decisions)


def _last_decision(session: Session, candidate_id: int | None) -> Decision:
    """The one to undo. Raises NotAllowed."""
    takes_back = select(Decision.id).where(Decision.undoes.is_not(None))
    # Not one by one past everything that was undone: of what takes back something only a redo can be wanted.
    may_be = Decision.undoes.is_(None) | Decision.undoes.in_(takes_back)
    last = _newest(session, _standing(_of_people(candidate_id)).where(may_be), is_undo=False)
    if last is None:
        _raise_nothing_to(session, candidate_id, "decision to undo")
    return last


def _last_undo(session: Session, candidate_id: int | None) -> Decision:
    """The one to take back. Raises NotAllowed."""
    by_people = _of_people(candidate_id)
    last = _newest(session, _standing(by_people).where(Decision.undoes.is_not(None)), is_undo=True)
    if last is None:
        _raise_nothing_to(session, candidate_id, "undo to take back")
    since = session.scalar(
        by_people.where(Decision.undoes.is_(None), Decision.id > last.id).limit(1)
    )
    if since is None:
        return last
    what = decision_words(since.was, since.now, since.stars)
    of_one = ""
    if candidate_id is None and since.candidate_id != last.candidate_id:
        of_one = f" Of {last.candidate.name} alone: artbot redo {last.candidate_id}"
    raise NotAllowed(
        f"something else was decided since the last undo ({since.candidate.name}: {what}), so there is nothing "
        f"to redo.{of_one}"
    )


def _raise_nothing_to(session: Session, candidate_id: int | None, what: str) -> NoReturn:
    if candidate_id is None:
        raise NotAllowed(f"there is no {what}.")
    candidate = _get(session, candidate_id)
    raise NotAllowed(f"{candidate.id} ({candidate.name}) has no {what}: it is {candidate.state}.")


def _check_leads_back(last: Decision) -> None:
    """Out of quarantine leads the picture's return (artbot.pictures), and no decision. Raises NotAllowed."""
    candidate = last.candidate
    if candidate.state == CandidateState.QUARANTINED:
        raise not_now(candidate)
    assert candidate.state == last.now, f"decision {last.id}: {last.now}, but {candidate.state}"


def _before(decision: Decision) -> Decision | None:
    """What was decided about its candidate before."""
    earlier = [d for d in decision.candidate.decisions if d.id < decision.id]
    return earlier[-1] if earlier else None


def _stars_before(decision: Decision) -> int:
    before = _before(decision)
    return (before.stars if before else None) or 0


def _as_approved_before(review: Review, undone: Decision) -> tuple[Words, list[str], When]:
    """Words, channels and times of an approval that was taken back. Raises NotAllowed."""
    before, candidate = _before(undone), undone.candidate
    assert before is not None
    anew = f"Approve it anew: artbot approve {candidate.id}"
    if undone.channels is None:
        raise NotAllowed(
            f"an older artbot took the approval of {candidate.id} ({candidate.name}) back, and did not note which "
            f"channels it was for. {anew}"
        )
    channels = undone.channels.split()
    if missing := [channel for channel in channels if channel not in review.channels]:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) was approved for {', '.join(channels)}, and artbot.toml has no "
            f"{', '.join(missing)} any more. {anew}"
        )
    words = Words(**{name: getattr(before, name) for name in vars(Words())})
    return words, channels, Turn.AS_BEFORE


def _what_can_be_kept_back(candidate: Candidate) -> str:
    waiting = [
        delivery
        for delivery in candidate.deliveries
        if _can_cancel(delivery) and delivery.state != DeliveryState.CANCELLED
    ]
    if not waiting:
        return ""
    channels = ", ".join(delivery.channel for delivery in waiting)
    numbers = " ".join(str(delivery.id) for delivery in waiting)
    return f" To {channels} it has not gone: artbot deliveries withdraw {numbers}"


def _cancel_deliveries(candidate: Candidate) -> list[str]:
    """Cancel every delivery, and return which channels will not get it now; refuse as soon as one receiver has
    the work, or may have it."""
    begun = [delivery.channel for delivery in candidate.deliveries if not _can_cancel(delivery)]
    if begun:
        raise NotAllowed(
            f"{candidate.id} ({candidate.name}) has already gone out to {', '.join(begun)}, or may have. "
            f"What the world has seen cannot be taken back from here.{_what_can_be_kept_back(candidate)}"
        )
    cancelled = []
    for delivery in candidate.deliveries:
        if delivery.state != DeliveryState.CANCELLED:
            DELIVERY.move(delivery, DeliveryState.CANCELLED)
            cancelled.append(delivery.channel)
        delivery.last_error, delivery.on_hold = None, False
    return cancelled


def _can_cancel(delivery: Delivery) -> bool:
    if delivery.state == DeliveryState.CANCELLED:
        return True
    absent_at = [entry.at for entry in delivery.interventions if entry.act == "absent"]
    may_be_out = bool(may_have_landed(delivery.attempts, absent_at))
    return DELIVERY.allows(delivery.state, DeliveryState.CANCELLED) and not may_be_out

"""Send what is due: claim, prepare, commit, record. Each step is in the database before the next begins.

The attempt is written down before anything is asked of the receiver, and once more before the public act,
so whatever is killed when, the next start knows whether something may have been shown. Where the receiver
recognises a repetition by its key, it is sent again under that key; where the channel can look, it looks
first; where neither is possible the delivery is `uncertain` and waits for a person.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Select, select, update
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, joinedload

from artbot.clock import BootClock, Clock, system_boot
from artbot.domain.candidate import CandidateState
from artbot.domain.delivery import (
    DELIVERY,
    LATE_EFFECT,
    NO_PROTECTION,
    SEND_WITHIN,
    WAITING,
    DeliveryState,
    Outcome,
    Protection,
    wait_after,
    wait_after_interruption,
)
from artbot.domain.slots import Timetable
from artbot.errors import (
    ArtbotError,
    ConfigError,
    DeliveryError,
    OutcomeUnknown,
    PictureChanged,
    Rejected,
    StorageFailed,
    Unavailable,
)
from artbot.failpoints import failpoint
from artbot.pictures import fault_of, quarantine
from artbot.publishing.acts import Actor, log_of_delivery
from artbot.publishing.channels import Handles, Outlet, Parcel, Post, Receipt, Sender
from artbot.publishing.clocks import last_open_at, open_attempts
from artbot.publishing.queue import spread
from artbot.publishing.standing import (
    REFUSES_US,
    is_closed,
    is_stopped,
    note_failure,
    note_success,
)
from artbot.publishing.work import Work, approved_work
from artbot.redaction import redact
from db.engine import Database, DatabaseUnusable
from db.models import Attempt, Candidate, Delivery

_OUTCOMES = {
    Rejected: Outcome.REJECTED,
    Unavailable: Outcome.UNAVAILABLE,
    OutcomeUnknown: Outcome.UNKNOWN,
}
UNREADABLE_WAIT = timedelta(minutes=5)
"""A delivery whose picture cannot be read is looked at again after this."""
RECORD_WITHIN_S = 60.0
"""So long an answer that came is tried to be written down while somebody else holds the database. Claim,
sending and this together take less than SENDING_S (artbot.workplace)."""
RECORD_AGAIN_S = 1.0
_OF = "post_sha256"
"""Among the handles of a delivery: which post they were made for."""
ASK = "it may have been posted, and the channel would not recognise a repetition: look, then say `artbot deliveries resolve`"

log = logging.getLogger("artbot")


@dataclass(frozen=True)
class Outbox:
    """What sending needs."""

    database: Database
    works: Path
    outlets: Mapping[str, Outlet]
    """The configured channels by name."""
    clock: Clock
    random_share: Callable[[], float]
    """Uniform in [0, 1): jitter."""
    before_send: Callable[[int], None] = lambda attempt_id: None
    """Called with the attempt's id after it is committed that the public act begins, and before it does.
    Whatever it raises, nothing is shown; after DatabaseUnusable this process must end."""
    boot: BootClock = system_boot
    alive: Callable[[], None] = lambda: None
    """Called between two requests of one attempt. May raise DatabaseUnusable, ArtbotError: then nothing more
    is asked of the receiver."""
    timetables: Mapping[str, Timetable] = field(default_factory=dict)
    """Of the channels that have slots."""


@dataclass(frozen=True)
class Sent:
    """How one attempt ended, for whoever watches."""

    work: str
    channel: str
    delivery_key: str
    state: DeliveryState
    detail: str
    next_at: datetime | None
    """When it is tried again, if it is."""


def recover_interrupted(
    database: Database, protections: Mapping[str, Protection], now: datetime
) -> int:
    """Deliveries whose attempt was never closed, because its process or the disk gave out meanwhile.

    They are due again, under their key, or a person is asked. An attempt that had not come to its public act
    showed nothing. Only the worker may call this, while it
    sends nothing itself. Returns how many there were.
    """
    interrupted = select(Delivery).where(Delivery.state == DeliveryState.SENDING)
    with database.read() as session:  # nearly always there are none, and looking takes no lock
        if session.scalar(interrupted.limit(1)) is None:
            return 0
    with database.write() as session:
        deliveries = session.scalars(interrupted).all()
        for delivery in deliveries:
            for attempt in delivery.attempts:
                if attempt.outcome is None:
                    _close_interrupted(attempt, now)
            delivery.last_error = "interrupted while sending"
            wait_s = wait_after_interruption(delivery.num_attempts)
            # Of a channel that artbot.toml has no longer nobody knows what its receiver recognises.
            protection = protections.get(delivery.channel, NO_PROTECTION)
            _move_on(delivery, wait_s, protection, now)
        return len(deliveries)


def _close_interrupted(attempt: Attempt, now: datetime) -> None:
    has_begun = attempt.committing_at is not None
    attempt.outcome = Outcome.UNKNOWN if has_begun else Outcome.UNAVAILABLE
    attempt.finished_at = now
    before = "it could record the answer" if has_begun else "anything was shown"
    attempt.detail = f"artbot was ended before {before}"


def has_due(database: Database, channels: Sequence[str], now: datetime) -> bool:
    """Whether anything is due: a look without a lock."""
    with database.read() as session:
        return session.scalar(_due(channels, now).limit(1)) is not None


def deliver_due(
    outbox: Outbox, on_sent: Callable[[Sent], None], should_stop: Callable[[], bool]
) -> int:
    """Send every delivery that is due now, the longest due first; returns how many were tried. Of those that
    missed their slots one goes out, and the others get new ones.

    Only the worker may call this. `on_sent` is called after each: the place to say that the worker lives.
    Raises db.engine.DatabaseUnusable, Fenced when it is the worker no more.
    """
    tried = 0
    now = outbox.clock()
    while not should_stop():
        # Every time: a person may just have ended the rest of a channel.
        for moved in spread(outbox.database, outbox.timetables, now):
            log.info(
                "%s to %s missed its time, and goes out %s",
                moved.work,
                moved.channel,
                moved.to.isoformat(timespec="minutes"),
            )
        with outbox.database.read() as session:
            delivery_id = session.scalar(_due(list(outbox.outlets), now).limit(1))
        if delivery_id is None:
            break
        sent = _deliver(outbox, delivery_id)
        if sent is not None:
            on_sent(sent)
            tried += 1
    return tried


def _due(channels: Sequence[str], now: datetime) -> Select[int]:
    return (
        select(Delivery.id)
        .where(
            Delivery.state.in_(WAITING),
            Delivery.on_hold.is_(False),
            Delivery.next_at <= now,
            Delivery.channel.in_(channels),
            # A work in quarantine is sent by nobody, whatever became of its deliveries meanwhile.
            Delivery.candidate.has(Candidate.state == CandidateState.APPROVED),
            ~is_closed(now),
        )
        .order_by(Delivery.next_at, Delivery.id)
    )


def _deliver(outbox: Outbox, delivery_id: int) -> Sent | None:
    """One attempt, from the claim to its record. None if somebody else changed the delivery first."""
    delivery = _load(outbox.database, delivery_id)
    outlet = outbox.outlets[delivery.channel]
    try:
        work = approved_work(delivery.candidate, outbox.works)
    except PictureChanged as error:
        # Nothing was sent, so there is no attempt to write down: only that the picture is not there.
        return _record_unsendable(outbox, delivery, str(error))
    except StorageFailed as error:
        return _put_off(outbox, delivery, str(error))
    receipt: Receipt | None = None
    failure: DeliveryError | None = None
    post = Post()
    try:
        work = outlet.sign(work)
        post = outlet.compose(work)
    except DeliveryError as error:  # told as the outcome of an attempt, like every refusal
        failure = error
    except Exception as error:
        failure = Rejected(f"unexpected {type(error).__name__}: {error}")
    claim = _claim(outbox, delivery, post.sha256)
    if not isinstance(claim, _Claim):
        return claim
    failpoint("delivery.claimed")
    if failure is None:
        try:
            receipt = _attempt(outbox, delivery, claim, work, post)
        except (DatabaseUnusable, ArtbotError) as error:
            _record_unsent(outbox, delivery, claim, error)
            raise
        except DeliveryError as error:
            failure = error
    failpoint("delivery.sent")
    return _record(outbox, delivery, claim.attempt_id, receipt, failure)


@dataclass(frozen=True)
class _Claim:
    """An attempt that is ours."""

    attempt_id: int
    handles: dict[str, str]
    """What earlier attempts of this post left behind."""
    may_be_out_since: datetime | None
    """When the last attempt began that may have shown it; None: none has."""
    is_recognised: bool
    """Whether the receiver would recognise a repetition now."""


def _attempt(outbox: Outbox, read: Delivery, claim: _Claim, work: Work, post: Post) -> Receipt:
    """Look, prepare, commit. Raises DeliveryError, and what ends the worker: DatabaseUnusable, ArtbotError.

    What fails before the public act is written down has shown nothing to anybody, however it failed.
    """
    outlet = outbox.outlets[read.channel]
    handles = Handles(dict(claim.handles), partial(_keep, outbox, claim.attempt_id, post.sha256))
    parcel = Parcel(read.delivery_key, work, post, handles, outbox.alive)
    try:
        sender = _opened(outlet)
        if claim.may_be_out_since and outlet.protection.looks:
            found = sender.reconcile(parcel, outbox.clock())
            if found is not None:
                return found
            _check_no_late_effect(claim, outbox.clock())
            outbox.alive()
        sender.prepare(parcel, outbox.clock())
        outbox.alive()
        failpoint("delivery.prepared")
        began_at, began_s = _begin(outbox, claim.attempt_id), outbox.boot()[1]
        _remember(outbox, claim.attempt_id)
        is_too_late = partial(_is_too_late, outbox, began_at, began_s)
        if is_too_late():
            raise Unavailable("not sent: artbot was stopped before it could be")
    except (Rejected, Unavailable, DatabaseUnusable, ArtbotError):
        raise
    except OutcomeUnknown as error:
        raise _nothing_shown(error) from error
    except Exception as error:  # a fault of ours in one channel must not hold up all the others
        raise Unavailable(f"unexpected {type(error).__name__}: {error}") from error
    failpoint("delivery.committing")
    try:
        return sender.commit(replace(parcel, is_too_late=is_too_late), outbox.clock())
    except (DeliveryError, DatabaseUnusable):
        raise
    except Exception as error:
        raise OutcomeUnknown(f"unexpected {type(error).__name__}: {error}") from error


def _opened(outlet: Outlet) -> Sender:
    """Raises Unavailable: what is wrong with its secret is mended in a file."""
    try:
        return outlet.open()
    except ConfigError as error:
        raise Unavailable(f"not sent: {error}") from error


def _nothing_shown(error: OutcomeUnknown) -> Unavailable:
    return Unavailable(
        f"while preparing: {error}", status=error.status, retry_after_s=error.retry_after_s
    )


def _check_no_late_effect(claim: _Claim, now: datetime) -> None:
    """It is not there now; a request that timed out may yet take effect. Raises Unavailable."""
    assert claim.may_be_out_since is not None
    wait = claim.may_be_out_since + LATE_EFFECT - now
    if wait > timedelta() and not claim.is_recognised:
        raise Unavailable(
            "looked, and it is not there; an earlier attempt may yet take effect, so it is not sent again now",
            retry_after_s=wait.total_seconds(),
        )


def _is_too_late(outbox: Outbox, began_at: datetime, began_s: float) -> bool:
    """Whether more than SEND_WITHIN went by since it was written down that the public act begins, by either
    clock: the one can be set back, the other is known on Linux alone."""
    by_boot = timedelta(seconds=outbox.boot()[1] - began_s)
    return max(outbox.clock() - began_at, by_boot) > SEND_WITHIN


def _remember(outbox: Outbox, attempt_id: int) -> None:
    """Raises Unavailable, DatabaseUnusable: then nothing may be sent, and nothing was."""
    try:
        outbox.before_send(attempt_id)
    except DatabaseUnusable:
        raise
    except Exception as error:
        reason = str(getattr(error, "orig", None) or error)
        if isinstance(error, OSError) and error.filename:
            reason = f"{error.filename}: {error.strerror}"
        raise Unavailable(f"not sent: {' '.join(reason.split())}") from error


def _claim(outbox: Outbox, read: Delivery, post_sha256: str) -> _Claim | Sent | None:
    """Compare and swap: the delivery is ours only if it is still as it was read.

    A delivery that may have been posted and is no longer recognised is not claimed: a person is asked.
    """
    now = outbox.clock()
    with outbox.database.write() as session:
        current = session.get_one(Delivery, read.id)
        protection = outbox.outlets[current.channel].protection
        may_be_out = open_attempts(current, session, now)
        may_be_out_since = last_open_at(current, session, now)
        may_repeat = _may_repeat(may_be_out, protection, now)
        to = DeliveryState.SENDING if may_repeat else DeliveryState.UNCERTAIN
        DELIVERY.require(read.state, to, read.id)
        claimed = session.execute(
            update(Delivery)
            .where(
                Delivery.id == read.id,
                Delivery.state == read.state,
                Delivery.num_attempts == read.num_attempts,
                # Taken back and approved again, perhaps with other words, it looks as before but for this.
                Delivery.next_at == read.next_at,
                Delivery.on_hold.is_(False),
                ~is_stopped(),  # a person who paused the channel meanwhile was told that it is
            )
            .values(state=to, num_attempts=Delivery.num_attempts + int(may_repeat))
        )
        if claimed.rowcount != 1:  # type: ignore[attr-defined]
            return None
        if not may_repeat:
            current.last_error = ASK
            return _sent(current, read.candidate.name, ASK)
        attempt = Attempt(
            delivery_id=read.id,
            started_at=now,
            body_sha256=post_sha256,
            epoch=outbox.database.epoch or 0,
        )
        session.add(attempt)
        session.flush()
        kept = current.handles or {}
        return _Claim(
            attempt_id=attempt.id,
            # What was prepared for other words is of no use, unless it may be public.
            handles=kept if may_be_out or kept.get(_OF) == post_sha256 else {},
            may_be_out_since=may_be_out_since,
            is_recognised=_is_recognised(may_be_out, protection, now),
        )


def _keep(outbox: Outbox, attempt_id: int, post_sha256: str, handles: Mapping[str, str]) -> None:
    """Commit what the receiver calls things. Raises DatabaseUnusable, Fenced."""
    with outbox.database.write() as session:
        attempt = _ours(session, attempt_id)
        attempt.delivery.handles = {**handles, _OF: post_sha256}


def _begin(outbox: Outbox, attempt_id: int) -> datetime:
    """Commit that from now on the work may be public. Raises DatabaseUnusable, Fenced."""
    now = outbox.clock()
    with outbox.database.write() as session:
        _ours(session, attempt_id).committing_at = now
    return now


def _ours(session: Session, attempt_id: int) -> Attempt:
    """The attempt, still open. Raises DatabaseUnusable if it is not: the database was put back in use."""
    attempt = session.get(Attempt, attempt_id)
    if (
        attempt is None
        or attempt.outcome is not None
        or attempt.delivery.state != DeliveryState.SENDING
    ):
        raise DatabaseUnusable(
            f"attempt {attempt_id} is not under way in the database: it was put back while it was in use"
        )
    return attempt


def _record_unsent(outbox: Outbox, claimed: Delivery, claim: _Claim, error: Exception) -> None:
    """This process ends before it sent anything. If that can still be written down, nobody need wonder."""
    with suppress(DatabaseUnusable, SQLAlchemyError, OSError):
        failure = Unavailable(f"not sent: {error}")
        _write_record(outbox, claimed, claim.attempt_id, None, failure, outbox.clock())


def _record(
    outbox: Outbox,
    claimed: Delivery,
    attempt_id: int,
    receipt: Receipt | None,
    failure: DeliveryError | None,
) -> Sent:
    """Write down how the attempt ended. A database that somebody else keeps busy, or a server that is away
    for a moment, is waited for: without this row nobody knows what the receiver said."""
    now = outbox.clock()
    give_up_at = time.monotonic() + RECORD_WITHIN_S
    while True:
        try:
            return _write_record(outbox, claimed, attempt_id, receipt, failure, now)
        except (OperationalError, InterfaceError) as error:
            if not _may_pass(error) or time.monotonic() >= give_up_at:
                raise
            time.sleep(RECORD_AGAIN_S)


def _may_pass(error: DBAPIError) -> bool:
    """Whether it may soon be over by itself: a file that somebody else reads or writes, a server that is
    away. Not a full disk."""
    name = getattr(error.orig, "sqlite_errorname", None)
    return name is None or name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _write_record(
    outbox: Outbox,
    claimed: Delivery,
    attempt_id: int,
    receipt: Receipt | None,
    failure: DeliveryError | None,
    now: datetime,
) -> Sent:
    with outbox.database.write() as session:
        attempt = session.get(Attempt, attempt_id)
        if attempt is not None and attempt.outcome is not None:
            # An earlier try was kept, but the server could not say so.
            return _sent(attempt.delivery, claimed.candidate.name, attempt.detail or "")
        attempt = _ours(session, attempt_id)
        delivery = attempt.delivery
        attempt.finished_at = now
        if failure is None:
            assert receipt is not None
            attempt.outcome, attempt.status = Outcome.DELIVERED, receipt.status
            attempt.detail = redact(receipt.detail)
            DELIVERY.move(delivery, DeliveryState.DELIVERED)
            delivery.delivered_at = now
            delivery.remote_url = receipt.url or delivery.remote_url
            delivery.last_error = None
            note_success(session, delivery.channel, now)
        else:
            attempt.outcome = next(o for kind, o in _OUTCOMES.items() if isinstance(failure, kind))
            attempt.status = failure.status
            attempt.detail = delivery.last_error = redact(str(failure))
            note_failure(session, delivery.channel, failure, now)
            _plan_next(outbox, delivery, failure, now)
            if (
                delivery.state == DeliveryState.HELD
            ):  # with its channel; what follows is told as well
                actor = Actor("artbot", "publishing", attempt.detail)
                log_of_delivery(session, "pause", actor, now, delivery, DeliveryState.SENDING)
        return _sent(delivery, claimed.candidate.name, attempt.detail or "")


def _plan_next(outbox: Outbox, delivery: Delivery, failure: DeliveryError, now: datetime) -> None:
    """Refused: a person must act. Otherwise the next time of the schedule, until it is spent."""
    if isinstance(failure, Rejected):
        is_held = failure.status in REFUSES_US
        DELIVERY.move(delivery, DeliveryState.HELD if is_held else DeliveryState.FAILED)
        return
    wait_s = wait_after(delivery.num_attempts, outbox.random_share(), failure.retry_after_s)
    _move_on(delivery, wait_s, outbox.outlets[delivery.channel].protection, now)


def _move_on(
    delivery: Delivery, wait_s: float | None, protection: Protection, now: datetime
) -> None:
    """Wait so long and try again; None gives up; a person is asked where trying could post twice."""
    next_at = now + timedelta(seconds=wait_s or 0.0)
    session = Session.object_session(delivery)
    assert session is not None
    if not _may_repeat(open_attempts(delivery, session, next_at), protection, next_at):
        DELIVERY.move(delivery, DeliveryState.UNCERTAIN)
        delivery.last_error = f"{delivery.last_error}; {ASK}"
    elif wait_s is None:
        DELIVERY.move(delivery, DeliveryState.DEAD)
    else:
        DELIVERY.move(delivery, DeliveryState.RETRY_WAIT)
        delivery.next_at = next_at


def _may_repeat(may_be_out: Sequence[Attempt], protection: Protection, at: datetime) -> bool:
    """Whether sending at `at` cannot make a second post: no attempt may have taken effect, or the channel
    looks first, or the receiver still recognises the key then."""
    return not may_be_out or protection.looks or _is_recognised(may_be_out, protection, at)


def _is_recognised(may_be_out: Sequence[Attempt], protection: Protection, at: datetime) -> bool:
    first = min((attempt.started_at for attempt in may_be_out), default=at)
    return protection.recognises(at - first)


def _record_unsendable(outbox: Outbox, read: Delivery, reason: str) -> Sent | None:
    """The picture is not the one that was approved: the work is quarantined, its deliveries held."""
    with outbox.database.write() as session:
        delivery = session.get_one(Delivery, read.id)
        candidate = delivery.candidate
        # Looked at again under the lock: somebody may have put it right, or taken it back, meanwhile.
        if (
            delivery.state not in WAITING
            or candidate.state != CandidateState.APPROVED
            or fault_of(outbox.works, candidate) is None
        ):
            return None
        quarantine(session, candidate, reason, "publishing", outbox.clock())
        return _sent(delivery, read.candidate.name, reason)


def _put_off(outbox: Outbox, read: Delivery, reason: str) -> Sent | None:
    """Its picture cannot be read now: nothing is said against it, and no other delivery waits for it."""
    with outbox.database.write() as session:
        delivery = session.get_one(Delivery, read.id)
        if (delivery.state, delivery.next_at) != (read.state, read.next_at):
            return None
        delivery.next_at = outbox.clock() + UNREADABLE_WAIT
        delivery.last_error = reason
        return _sent(delivery, read.candidate.name, reason)


def _sent(delivery: Delivery, work: str, detail: str) -> Sent:
    is_waiting = delivery.state in WAITING
    return Sent(
        work=work,
        channel=delivery.channel,
        delivery_key=delivery.delivery_key,
        state=DeliveryState(delivery.state),
        detail=detail,
        next_at=delivery.next_at if is_waiting else None,
    )


def _load(database: Database, delivery_id: int) -> Delivery:
    with database.read() as session:
        return session.get_one(
            Delivery,
            delivery_id,
            options=[
                joinedload(Delivery.candidate).joinedload(Candidate.batch),
                joinedload(Delivery.candidate).joinedload(Candidate.checkpoint),
            ],
        )

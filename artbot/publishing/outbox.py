"""Send what is due: claim, send, record. Each step is committed before the next begins.

The attempt is in the database before the connection is opened, so whatever is killed when, the next
start knows that something may have been sent. Where the receiver recognises a repetition by its key, it
is sent again under that key; where it does not, the delivery is `uncertain` and waits for a person.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Select, select, update
from sqlalchemy.orm import joinedload

from artbot.clock import Clock
from artbot.domain.candidate import CandidateState
from artbot.domain.delivery import (
    DELIVERY,
    SEND_WITHIN,
    WAITING,
    DeliveryState,
    Outcome,
    is_recognised,
    may_have_landed,
    wait_after,
    wait_after_interruption,
)
from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.failpoints import failpoint
from artbot.pictures import fault_of, quarantine
from artbot.publishing.channels import Parcel, Receipt, Sender
from artbot.publishing.event import artwork_published, event_bytes
from artbot.publishing.standing import (
    REFUSES_US,
    is_closed,
    is_stopped,
    note_failure,
    note_success,
)
from artbot.redaction import redact
from db.engine import Database
from db.models import Attempt, Candidate, Delivery

_OUTCOMES = {
    Rejected: Outcome.REJECTED,
    Unavailable: Outcome.UNAVAILABLE,
    OutcomeUnknown: Outcome.UNKNOWN,
}
ASK = "it may have been posted, and the channel would not recognise a repetition: look, then say `artbot deliveries resolve`"


@dataclass(frozen=True)
class Outbox:
    """What sending needs."""

    database: Database
    works: Path
    senders: Mapping[str, Sender]
    recognition: Mapping[str, timedelta | None]
    """By channel: how long its receiver recognises a repetition, None: never."""
    clock: Clock
    random_share: Callable[[], float]
    """Uniform in [0, 1): jitter."""
    before_send: Callable[[int], None] = lambda attempt_id: None
    """Called with the attempt's id after it is committed and before the socket opens. Raises OSError:
    then nothing is sent."""


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
    database: Database, recognition: Mapping[str, timedelta | None], now: datetime
) -> int:
    """Deliveries whose attempt was never closed, because its process or the disk gave out meanwhile.

    They are due again, under their key, or a person is asked. Only the worker may call this, while it
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
                    attempt.outcome, attempt.finished_at = Outcome.UNKNOWN, now
                    attempt.detail = "artbot was ended before it could record the answer"
            delivery.last_error = "interrupted while sending"
            wait_s = wait_after_interruption(delivery.num_attempts)
            _move_on(delivery, wait_s, recognition.get(delivery.channel), now)
        return len(deliveries)


def has_due(database: Database, channels: Sequence[str], now: datetime) -> bool:
    """Whether anything is due: a look without a lock."""
    with database.read() as session:
        return session.scalar(_due(channels, now).limit(1)) is not None


def deliver_due(
    outbox: Outbox, on_sent: Callable[[Sent], None], should_stop: Callable[[], bool]
) -> int:
    """Send every delivery that is due now, the longest due first; returns how many were tried.

    Only the worker may call this. Raises db.engine.Fenced when it is the worker no more.
    """
    tried = 0
    now = outbox.clock()
    while not should_stop():
        with outbox.database.read() as session:
            delivery_id = session.scalar(_due(list(outbox.senders), now).limit(1))
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
    try:
        event = artwork_published(delivery.candidate, outbox.works)
    except Rejected as error:
        # Nothing was sent, so there is no attempt to write down: only that the picture is not there.
        return _record_unsendable(outbox, delivery, str(error))
    parcel = Parcel(delivery.delivery_key, event, event_bytes(event))
    claimed_at = outbox.clock()
    claim = _claim(outbox, delivery, hashlib.sha256(parcel.body).hexdigest(), claimed_at)
    if not isinstance(claim, int):
        return claim
    failpoint("delivery.claimed")
    receipt: Receipt | None = None
    failure: DeliveryError | None = None
    try:
        if outbox.clock() - claimed_at > SEND_WITHIN:
            raise Unavailable("not sent: artbot was stopped between the claim and the sending")
        _remember(outbox, claim)
        receipt = outbox.senders[delivery.channel].send(parcel, outbox.clock())
    except DeliveryError as error:
        failure = error
    except Exception as error:  # a fault of ours in one channel must not hold up all the others
        failure = OutcomeUnknown(f"unexpected {type(error).__name__}: {error}")
    failpoint("delivery.sent")
    return _record(outbox, delivery, claim, receipt, failure)


def _remember(outbox: Outbox, attempt_id: int) -> None:
    try:
        outbox.before_send(attempt_id)
    except OSError as error:
        raise Unavailable(f"not sent: {error.filename}: {error.strerror}") from error


def _claim(outbox: Outbox, read: Delivery, body_sha256: str, now: datetime) -> int | Sent | None:
    """Compare and swap: the delivery is ours only if it is still as it was read. The attempt's id.

    A delivery that may have been posted and is no longer recognised is not claimed: a person is asked.
    """
    with outbox.database.write() as session:
        current = session.get_one(Delivery, read.id)
        may_repeat = _may_repeat(current, outbox.recognition.get(current.channel), now)
        to = DeliveryState.SENDING if may_repeat else DeliveryState.UNCERTAIN
        claimed = session.execute(
            update(Delivery)
            .where(
                Delivery.id == read.id,
                Delivery.state == read.state,
                Delivery.num_attempts == read.num_attempts,
                # Taken back and approved again, perhaps with other words, it looks as before but for this.
                Delivery.next_at == read.next_at,
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
            body_sha256=body_sha256,
            epoch=outbox.database.epoch or 0,
        )
        session.add(attempt)
        session.flush()
        return attempt.id


def _record(
    outbox: Outbox,
    claimed: Delivery,
    attempt_id: int,
    receipt: Receipt | None,
    failure: DeliveryError | None,
) -> Sent:
    now = outbox.clock()
    with outbox.database.write() as session:
        delivery = session.get_one(Delivery, claimed.id)
        attempt = session.get_one(Attempt, attempt_id)
        attempt.finished_at = now
        if failure is None:
            assert receipt is not None
            attempt.outcome, attempt.status = Outcome.DELIVERED, receipt.status
            attempt.detail = redact(receipt.detail)
            _move(delivery, DeliveryState.DELIVERED)
            delivery.delivered_at = now
            delivery.last_error = None
            note_success(session, delivery.channel, now)
        else:
            attempt.outcome = next(o for kind, o in _OUTCOMES.items() if isinstance(failure, kind))
            attempt.status = failure.status
            attempt.detail = delivery.last_error = redact(str(failure))
            note_failure(session, delivery.channel, failure, now)
            _plan_next(outbox, delivery, failure, now)
        return _sent(delivery, claimed.candidate.name, attempt.detail or "")


def _plan_next(outbox: Outbox, delivery: Delivery, failure: DeliveryError, now: datetime) -> None:
    """Refused: a person must act. Otherwise the next time of the schedule, until it is spent."""
    if isinstance(failure, Rejected):
        is_held = failure.status in REFUSES_US
        _move(delivery, DeliveryState.HELD if is_held else DeliveryState.FAILED)
        return
    wait_s = wait_after(delivery.num_attempts, outbox.random_share(), failure.retry_after_s)
    _move_on(delivery, wait_s, outbox.recognition.get(delivery.channel), now)


def _move_on(
    delivery: Delivery, wait_s: float | None, recognises_for: timedelta | None, now: datetime
) -> None:
    """Wait so long and try again; None gives up; a person is asked where trying could post twice."""
    next_at = now + timedelta(seconds=wait_s or 0.0)
    if not _may_repeat(delivery, recognises_for, next_at):
        _move(delivery, DeliveryState.UNCERTAIN)
        delivery.last_error = f"{delivery.last_error}; {ASK}"
    elif wait_s is None:
        _move(delivery, DeliveryState.DEAD)
    else:
        _move(delivery, DeliveryState.RETRY_WAIT)
        delivery.next_at = next_at


def _may_repeat(delivery: Delivery, recognises_for: timedelta | None, at: datetime) -> bool:
    """Whether sending at `at` cannot make a second post: no attempt may have taken effect, or the
    receiver still recognises the key then."""
    absent_at = [i.at for i in delivery.interventions if i.act == "absent"]
    open_attempts = may_have_landed(delivery.attempts, absent_at)
    if not open_attempts:
        return True
    return is_recognised(recognises_for, at - open_attempts[0].started_at)


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


def _sent(delivery: Delivery, work: str, detail: str) -> Sent:
    is_waiting = delivery.state == DeliveryState.RETRY_WAIT
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


def _move(delivery: Delivery, to: DeliveryState) -> None:
    DELIVERY.require(delivery.state, to, delivery.id)
    delivery.state = to

"""Send what is due: claim, send, record. Each step is committed before the next begins.

The attempt is in the database before the connection is opened, so whatever is killed when, the next
start knows that something may have been sent and repeats it under the same key, which the receiver
recognises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import joinedload

from artbot.clock import Clock
from artbot.domain.delivery import (
    DELIVERY_MOVES,
    WAITING,
    DeliveryState,
    Outcome,
    wait_after,
    wait_after_interruption,
)
from artbot.errors import (
    DeliveryError,
    NotAllowed,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    UsageError,
)
from artbot.failpoints import failpoint
from artbot.publishing.channels import Parcel, Receipt, Sender
from artbot.publishing.event import artwork_published, event_bytes
from artbot.redaction import redact
from db.engine import Database
from db.models import Attempt, Candidate, Delivery

_OUTCOMES = {
    Rejected: Outcome.REJECTED,
    Unavailable: Outcome.UNAVAILABLE,
    OutcomeUnknown: Outcome.UNKNOWN,
}


@dataclass(frozen=True)
class Outbox:
    """What sending needs."""

    database: Database
    works: Path
    senders: Mapping[str, Sender]
    clock: Clock
    random_share: Callable[[], float]
    """Uniform in [0, 1): jitter."""


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


def recover_interrupted(database: Database, now: datetime) -> int:
    """Deliveries whose attempt was never closed, because its process or the disk gave out meanwhile.

    They are due again, under their key. Only the holder of the worker lock may call this, while it
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
            _move_on(delivery, wait_after_interruption(delivery.num_attempts), now)
        return len(deliveries)


def has_due(database: Database, channels: Sequence[str], now: datetime) -> bool:
    """Whether anything is due: a look without a lock."""
    with database.read() as session:
        return session.scalar(_due(channels, now).limit(1)) is not None


def deliver_due(
    outbox: Outbox, on_sent: Callable[[Sent], None], should_stop: Callable[[], bool]
) -> int:
    """Send every delivery that is due now, the longest due first; returns how many were tried.

    Only the holder of the worker lock may call this.
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


def retry(database: Database, delivery_id: int, now: datetime) -> Delivery:
    """Make a failed or waiting delivery due now; a failed one has its attempts counted anew.

    Raises UsageError (no such delivery), NotAllowed (delivered, being sent, or cancelled).
    """
    with database.write() as session:
        delivery = session.get(Delivery, delivery_id, options=[joinedload(Delivery.candidate)])
        if delivery is None:
            raise UsageError(
                f"there is no delivery {delivery_id}. `artbot deliveries list` shows them."
            )
        if delivery.state == DeliveryState.FAILED:
            _move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts = 0
        elif delivery.state not in WAITING:
            raise NotAllowed(
                f"delivery {delivery_id} is {delivery.state}: there is nothing to retry."
            )
        delivery.next_at = now
        return delivery


def list_deliveries(
    database: Database, states: Sequence[DeliveryState], limit: int
) -> list[Delivery]:
    """Deliveries in `states`, the newest first, each with its candidate."""
    with database.read() as session:
        return list(
            session.scalars(
                select(Delivery)
                .where(Delivery.state.in_(states))
                .options(joinedload(Delivery.candidate))
                .order_by(Delivery.id.desc())
                .limit(limit)
            )
        )


def count_by_state(database: Database) -> dict[DeliveryState, int]:
    """How many deliveries are in each state."""
    with database.read() as session:
        rows = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
    return {DeliveryState(state): count for state, count in rows}


def _due(channels: Sequence[str], now: datetime) -> Select[int]:
    return (
        select(Delivery.id)
        .where(Delivery.state.in_(WAITING), Delivery.next_at <= now, Delivery.channel.in_(channels))
        .order_by(Delivery.next_at, Delivery.id)
    )


def _deliver(outbox: Outbox, delivery_id: int) -> Sent | None:
    """One attempt, from the claim to its record. None if somebody else changed the delivery first."""
    delivery = _load(outbox.database, delivery_id)
    try:
        event = artwork_published(delivery.candidate, outbox.works)
    except Rejected as error:
        # Nothing was sent, so there is no attempt to write down: only the failure.
        return _record_unsendable(outbox, delivery, str(error))
    parcel = Parcel(delivery.delivery_key, event, event_bytes(event))
    attempt_id = _claim(outbox, delivery, hashlib.sha256(parcel.body).hexdigest())
    if attempt_id is None:
        return None
    failpoint("delivery.claimed")
    receipt: Receipt | None = None
    failure: DeliveryError | None = None
    try:
        receipt = outbox.senders[delivery.channel].send(parcel, outbox.clock())
    except DeliveryError as error:
        failure = error
    except Exception as error:  # a fault of ours in one channel must not hold up all the others
        failure = OutcomeUnknown(f"unexpected {type(error).__name__}: {error}")
    failpoint("delivery.sent")
    return _record(outbox, delivery, attempt_id, receipt, failure)


def _claim(outbox: Outbox, delivery: Delivery, body_sha256: str) -> int | None:
    """Compare and swap: the delivery is ours only if it is still as it was read."""
    now = outbox.clock()
    with outbox.database.write() as session:
        claimed = session.execute(
            update(Delivery)
            .where(
                Delivery.id == delivery.id,
                Delivery.state == delivery.state,
                Delivery.num_attempts == delivery.num_attempts,
                # Taken back and approved again, perhaps with other words, it looks as before but for this.
                Delivery.next_at == delivery.next_at,
            )
            .values(state=DeliveryState.SENDING, num_attempts=Delivery.num_attempts + 1)
        )
        if claimed.rowcount != 1:  # type: ignore[attr-defined]
            return None
        attempt = Attempt(delivery_id=delivery.id, started_at=now, body_sha256=body_sha256)
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
        else:
            attempt.outcome = next(o for kind, o in _OUTCOMES.items() if isinstance(failure, kind))
            attempt.status = failure.status
            attempt.detail = delivery.last_error = redact(str(failure))
            _plan_next(delivery, failure, now, outbox.random_share())
        is_waiting = delivery.state == DeliveryState.RETRY_WAIT
        return Sent(
            work=claimed.candidate.name,
            channel=delivery.channel,
            delivery_key=delivery.delivery_key,
            state=DeliveryState(delivery.state),
            detail=attempt.detail or "",
            next_at=delivery.next_at if is_waiting else None,
        )


def _plan_next(
    delivery: Delivery, failure: DeliveryError, now: datetime, random_share: float
) -> None:
    """Refused: a person must act. Otherwise the next time of the schedule, until it is spent."""
    wait_s = None
    if not isinstance(failure, Rejected):
        wait_s = wait_after(delivery.num_attempts, random_share, failure.retry_after_s)
    _move_on(delivery, wait_s, now)


def _move_on(delivery: Delivery, wait_s: float | None, now: datetime) -> None:
    """Wait so long and try again; None gives up."""
    if wait_s is None:
        _move(delivery, DeliveryState.FAILED)
    else:
        _move(delivery, DeliveryState.RETRY_WAIT)
        delivery.next_at = now + timedelta(seconds=wait_s)


def _record_unsendable(outbox: Outbox, read: Delivery, reason: str) -> Sent | None:
    with outbox.database.write() as session:
        delivery = session.get_one(Delivery, read.id)
        if delivery.state != read.state:
            return None
        _move(delivery, DeliveryState.FAILED)
        delivery.last_error = reason
        return Sent(
            read.candidate.name,
            delivery.channel,
            delivery.delivery_key,
            DeliveryState.FAILED,
            reason,
            None,
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
    was = DeliveryState(delivery.state)
    assert to in DELIVERY_MOVES[was], f"delivery {delivery.id}: {was} -> {to}"
    delivery.state = to

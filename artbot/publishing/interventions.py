"""What a person does to deliveries and channels: retry, resolve, withdraw, replay, pause, resume.

Each is one transaction and one row in the append-only log of interventions. Nothing here can make a
second post: what may have been posted is resolved, never retried.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from artbot.domain.candidate import CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import (
    DELIVERY,
    LATE_EFFECT,
    RETRIABLE,
    WAITING,
    DeliveryState,
    may_have_landed,
)
from artbot.errors import NotAllowed, UsageError
from artbot.mark import Mark
from artbot.publishing.standing import get_standing, stop
from db import chain
from db.engine import Database
from db.models import Delivery, Intervention, WorkplaceRow


@dataclass(frozen=True)
class Actor:
    """Who intervenes, through which face, and why if they said so."""

    by: str
    via: str
    reason: str | None = None


def retry(database: Database, delivery_id: int, actor: Actor, now: datetime) -> Delivery:
    """Make a held, failed, dead or waiting delivery due now; one that was given up has all its attempts
    before it again.

    Raises UsageError (no such delivery), NotAllowed (delivered, cancelled, being sent, uncertain, its
    work in quarantine, or its channel stopped).
    """
    with database.write() as session:
        delivery = _get(session, delivery_id)
        if delivery.state not in (*RETRIABLE, *WAITING):
            raise NotAllowed(
                f"delivery {delivery_id} is {delivery.state}: {_instead_of_retry(delivery)}"
            )
        candidate = delivery.candidate
        if candidate.state == CandidateState.QUARANTINED:
            raise NotAllowed(
                f"delivery {delivery_id} waits for its picture: {candidate.error}. Make it again: "
                f"artbot reproduce {candidate.id} --restore"
            )
        standing = get_standing(session, delivery.channel, now)
        if standing.state != ChannelState.ACTIVE:
            raise NotAllowed(
                f"delivery {delivery_id} waits for its channel: {delivery.channel} is {standing.state}, "
                f"{standing.reason}. When that is mended: artbot channels resume {delivery.channel}"
            )
        standing.rests_until = None
        was = delivery.state
        if was in RETRIABLE:
            _move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts = 0
        delivery.next_at = now
        _log(session, "retry", actor, now, delivery, was)
        return delivery


def resolve(
    database: Database,
    delivery_id: int,
    was_posted: bool,
    url: str | None,
    actor: Actor,
    now: datetime,
) -> Delivery:
    """Settle an uncertain delivery: it was posted (then it is delivered), or it was not (then it is sent).

    "It was not" is believed only once no attempt can take effect any more. Raises UsageError, NotAllowed.
    """
    with database.write() as session:
        delivery = _get(session, delivery_id)
        if delivery.state != DeliveryState.UNCERTAIN:
            raise NotAllowed(
                f"delivery {delivery_id} is {delivery.state}: there is nothing to resolve."
            )
        was = delivery.state
        if was_posted:
            _move(delivery, DeliveryState.DELIVERED)
            delivery.delivered_at, delivery.remote_url, delivery.last_error = now, url, None
        else:
            _check_no_late_effect(session, delivery, now)
            _move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts, delivery.next_at, delivery.last_error = 0, now, None
        _log(session, "posted" if was_posted else "absent", actor, now, delivery, was)
        return delivery


def withdraw(database: Database, delivery_id: int, actor: Actor, now: datetime) -> Delivery:
    """Cancel a delivery that nobody can have received. Raises UsageError, NotAllowed."""
    with database.write() as session:
        delivery = _get(session, delivery_id)
        if delivery.state == DeliveryState.CANCELLED:
            return delivery
        absent_at = [i.at for i in delivery.interventions if i.act == "absent"]
        if not DELIVERY.allows(delivery.state, DeliveryState.CANCELLED) or may_have_landed(
            delivery.attempts, absent_at
        ):
            raise NotAllowed(
                f"delivery {delivery_id} is {delivery.state}: {delivery.channel} has it, or may have. "
                "What the world has seen cannot be taken back from here."
            )
        was = delivery.state
        _move(delivery, DeliveryState.CANCELLED)
        delivery.last_error = None
        _log(session, "withdraw", actor, now, delivery, was)
        return delivery


def replay(
    database: Database,
    channel: str,
    recognition: Mapping[str, timedelta | None],
    since: datetime,
    actor: Actor,
    now: datetime,
) -> list[Delivery]:
    """Send again what was delivered through `channel` since then, under the old keys: for a receiver
    that lost what it had. Who still has it knows the repetition by its key.

    Raises UsageError (no such channel), NotAllowed (it would post a second time).
    """
    if channel not in recognition:
        raise UsageError(
            f"there is no channel {channel!r}. Channels: {', '.join(recognition) or 'none'}."
        )
    if recognition[channel] != timedelta.max:
        raise NotAllowed(
            f"{channel} does not recognise a work it already has: a replay would post it a second time."
        )
    with database.write() as session:
        deliveries = session.scalars(
            select(Delivery)
            .where(
                Delivery.channel == channel,
                Delivery.state == DeliveryState.DELIVERED,
                Delivery.delivered_at >= since,
            )
            .options(joinedload(Delivery.candidate))
            .order_by(Delivery.id)
        ).all()
        for delivery in deliveries:
            _move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts, delivery.next_at = 0, now
            _log(session, "replay", actor, now, delivery, DeliveryState.DELIVERED)
        return list(deliveries)


def pause_channel(database: Database, name: str, actor: Actor, now: datetime) -> ChannelState:
    """Send nothing through the channel until it is resumed; returns how it stands now: a disabled one
    stays so, since that says more."""
    with database.write() as session:
        standing = get_standing(session, name, now)
        was = standing.state
        stop(standing, ChannelState.PAUSED, actor.reason or f"paused by {actor.by}", now)
        _log(session, "pause", actor, now, None, was, channel=name, to=standing.state)
        return ChannelState(standing.state)


def resume_channel(database: Database, name: str, actor: Actor, now: datetime) -> int:
    """Open the channel again, and queue what it held; returns how many deliveries that were.

    Deliveries held for their picture's sake stay held.
    """
    with database.write() as session:
        standing = get_standing(session, name, now)
        was = standing.state
        standing.state, standing.reason, standing.changed_at = ChannelState.ACTIVE, None, now
        standing.num_failures, standing.failing_since, standing.rests_until = 0, None, None
        _log(session, "resume", actor, now, None, was, channel=name, to=standing.state)
        held = session.scalars(
            select(Delivery)
            .join(Delivery.candidate)
            .where(
                Delivery.channel == name,
                Delivery.state == DeliveryState.HELD,
                Delivery.candidate.has(state=CandidateState.APPROVED),
            )
        ).all()
        for delivery in held:
            _move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts, delivery.next_at = 0, now
        return len(held)


def doubt_after_restore(
    database: Database,
    recognition: Mapping[str, timedelta | None],
    backup_at: datetime | None,
    mark: Mark | None,
    actor: Actor,
    now: datetime,
) -> list[Delivery]:
    """An old database is in place: whatever is not settled in it may have been posted since.

    Deliveries to receivers that recognise a repetition for ever go on as they are; all others are
    uncertain now, and works approved from now on are, if they are older than this moment. Returns the
    doubtful ones.

    `mark`: what this host remembers. A database that never sent anything (the old one was lost) takes
    over its identity, so that the same work has the same delivery key again.
    """
    unsettled = [
        state for state in DeliveryState if DELIVERY.allows(state, DeliveryState.UNCERTAIN)
    ]
    unsettled.remove(DeliveryState.CANCELLED)  # nothing goes out of these unless approved again
    safe = [name for name, window in recognition.items() if window == timedelta.max]
    with database.write() as session:
        workplace = session.get_one(WorkplaceRow, 1)
        workplace.generation = secrets.token_hex(8)
        workplace.restored_at, workplace.backup_at = now, backup_at
        if mark is not None:
            # Above everything that was done: by this the mark knows that the doubting is over.
            workplace.epoch = max(workplace.epoch, mark.epoch) + 1
            if session.scalar(select(Delivery.id).limit(1)) is None:
                workplace.workplace_id = mark.workplace_id
        deliveries = session.scalars(
            select(Delivery)
            .where(Delivery.state.in_(unsettled), Delivery.channel.not_in(safe))
            .options(joinedload(Delivery.candidate))
        ).all()
        for delivery in deliveries:
            was = delivery.state
            _move(delivery, DeliveryState.UNCERTAIN)
            delivery.last_error = "an old database was restored: it may have been posted since"
            _log(session, "restore", actor, now, delivery, was)
        _log(session, "restore", actor, now, None, "", to="")
        return list(deliveries)


def _check_no_late_effect(session: Session, delivery: Delivery, now: datetime) -> None:
    """An attempt that a restored database has forgotten may have begun up to the restore."""
    begun = [attempt.started_at for attempt in delivery.attempts]
    restored_at = session.get_one(WorkplaceRow, 1).restored_at
    last = max(begun if restored_at is None else [*begun, restored_at], default=None)
    if last is not None and now < last + LATE_EFFECT:
        wait = last + LATE_EFFECT - now
        was = "may have been" if last == restored_at else "was"
        raise NotAllowed(
            f"delivery {delivery.id} {was} on the wire {int((now - last).total_seconds())} s ago and may "
            f"yet appear. Look again in {int(wait.total_seconds() // 60) + 1} minutes."
        )


def _instead_of_retry(delivery: Delivery) -> str:
    if delivery.state == DeliveryState.UNCERTAIN:
        return (
            f"it may have been posted. Look at {delivery.channel}, then say "
            f"`artbot deliveries resolve {delivery.id} --posted` or `--absent`."
        )
    return "there is nothing to retry."


def _get(session: Session, delivery_id: int) -> Delivery:
    delivery = session.get(Delivery, delivery_id, options=[joinedload(Delivery.candidate)])
    if delivery is None:
        raise UsageError(
            f"there is no delivery {delivery_id}. `artbot deliveries list` shows them."
        )
    return delivery


def _move(delivery: Delivery, to: DeliveryState) -> None:
    DELIVERY.require(delivery.state, to, delivery.id)
    delivery.state = to


def _log(
    session: Session,
    act: str,
    actor: Actor,
    now: datetime,
    delivery: Delivery | None,
    was: str,
    channel: str | None = None,
    to: str | None = None,
) -> None:
    chain.append(
        session,
        Intervention(
            act=act,
            channel=delivery.channel if delivery else channel,
            delivery_id=delivery.id if delivery else None,
            was=was,
            now=delivery.state if delivery else to,
            reason=actor.reason,
            by=actor.by,
            via=actor.via,
            at=now,
        ),
    )

"""What a person does to deliveries and channels: retry, resolve, withdraw, replay, pause, resume.

Each is one transaction and one row in the append-only log of interventions. Nothing here can make a
second post: what may have been posted is resolved, never retried.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from artbot.domain.calendar import EASTERNMOST
from artbot.domain.candidate import CandidateState
from artbot.domain.channel import CHANNEL, ChannelState
from artbot.domain.delivery import (
    DELIVERY,
    LATE_EFFECT,
    RETRIABLE,
    WAITING,
    DeliveryState,
    Protection,
)
from artbot.domain.slots import Timetable
from artbot.errors import NotAllowed, UsageError
from artbot.mark import Mark
from artbot.publishing.acts import Actor as Actor
from artbot.publishing.acts import log_of_channel, log_of_delivery
from artbot.publishing.clocks import last_began_at, open_attempts, restored_at
from artbot.publishing.queue import NO_SLOTS, allot, come_back, make_due, spread_channel
from artbot.publishing.reading import find_delivery, how_it_is
from artbot.publishing.standing import get_standing, note_success, stop
from db.engine import Database
from db.models import Delivery, WorkplaceRow


def retry(database: Database, delivery_id: int, actor: Actor, now: datetime) -> Delivery:
    """Make a held, failed, dead or waiting delivery due now, and take it off hold; one that was given up has
    all its attempts before it again.

    Raises UsageError (no such delivery), NotAllowed (delivered, cancelled, being sent, uncertain, its
    work in quarantine, or its channel stopped).
    """
    with database.write() as session:
        delivery = find_delivery(session, delivery_id)
        if delivery.state not in (*RETRIABLE, *WAITING):
            raise NotAllowed(f"{how_it_is(delivery)}: {_instead_of_retry(delivery)}")
        candidate = delivery.candidate
        if candidate.state == CandidateState.QUARANTINED:
            raise NotAllowed(
                f"delivery {delivery_id} waits for its picture: {candidate.error}. Make it again: "
                f"artbot reproduce {candidate.id} --restore"
            )
        was = delivery.state
        if was in RETRIABLE:
            DELIVERY.move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts = 0
        make_due(session, delivery, was, actor, now)
        return delivery


def resolve(
    database: Database,
    delivery_id: int,
    was_posted: bool,
    url: str | None,
    actor: Actor,
    now: datetime,
    timetables: Mapping[str, Timetable] = NO_SLOTS,
) -> Delivery:
    """Settle an uncertain delivery: it was posted (then it is delivered), or it was not (then it is sent: now,
    or at the next free slot of its channel).

    "It was not" is believed only once no attempt can take effect any more. Raises UsageError, NotAllowed.
    """
    with database.write() as session:
        delivery = find_delivery(session, delivery_id)
        if delivery.state != DeliveryState.UNCERTAIN:
            raise NotAllowed(f"{how_it_is(delivery)}: there is nothing to resolve.")
        was = delivery.state
        if was_posted:
            DELIVERY.move(delivery, DeliveryState.DELIVERED)
            delivery.delivered_at, delivery.remote_url, delivery.last_error = now, url, None
            delivery.on_hold = False
            note_success(session, delivery.channel, now)
        else:
            _check_no_late_effect(session, delivery, now)
            next_at = allot(timetables, session, delivery.channel, now)
            DELIVERY.move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts, delivery.next_at, delivery.last_error = 0, next_at, None
        log_of_delivery(session, "posted" if was_posted else "absent", actor, now, delivery, was)
        return delivery


def withdraw(database: Database, delivery_id: int, actor: Actor, now: datetime) -> Delivery:
    """Cancel a delivery that nobody can have received. Raises UsageError, NotAllowed."""
    with database.write() as session:
        delivery = find_delivery(session, delivery_id)
        if delivery.state == DeliveryState.CANCELLED:
            return delivery
        if not DELIVERY.allows(delivery.state, DeliveryState.CANCELLED) or open_attempts(
            delivery, session, now
        ):
            raise NotAllowed(
                f"{how_it_is(delivery)}: {delivery.channel} has it, or may have. "
                "What the world has seen cannot be taken back from here."
            )
        was = delivery.state
        DELIVERY.move(delivery, DeliveryState.CANCELLED)
        delivery.last_error, delivery.on_hold = None, False
        log_of_delivery(session, "withdraw", actor, now, delivery, was)
        return delivery


def replay(
    database: Database,
    channel: str,
    protections: Mapping[str, Protection],
    since: datetime,
    actor: Actor,
    now: datetime,
) -> list[Delivery]:
    """Send again what was delivered through `channel` since then, under the old keys: for a receiver
    that lost what it had. Who still has it knows the repetition by its key.

    Raises UsageError (no such channel), NotAllowed (it would post a second time).
    """
    if channel not in protections:
        raise UsageError(
            f"there is no channel {channel!r}. Channels: {', '.join(protections) or 'none'}."
        )
    if not protections[channel].is_for_ever:
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
            DELIVERY.move(delivery, DeliveryState.QUEUED)
            delivery.num_attempts, delivery.next_at = 0, now
            log_of_delivery(session, "replay", actor, now, delivery, DeliveryState.DELIVERED)
        return list(deliveries)


def pause_channel(database: Database, name: str, actor: Actor, now: datetime) -> ChannelState:
    """Send nothing through the channel until it is resumed; returns how it stands now: a disabled one
    stays so, since that says more."""
    with database.write() as session:
        standing = get_standing(session, name, now)
        was = standing.state
        stop(standing, ChannelState.PAUSED, actor.reason or f"paused by {actor.by}", now)
        log_of_channel(session, "pause", actor, now, name, was, standing.state)
        return ChannelState(standing.state)


def resume_channel(
    database: Database,
    name: str,
    actor: Actor,
    now: datetime,
    timetables: Mapping[str, Timetable] = NO_SLOTS,
) -> int:
    """Open the channel again, and queue what it held; returns how many deliveries that were.

    Through a channel with slots each of them takes the next free one; of what was queued and missed its time
    meanwhile one goes out now, and the others get new slots. Deliveries held for their picture's sake stay
    held, and those on hold stay on hold.
    """
    with database.write() as session:
        standing = get_standing(session, name, now)
        was = standing.state
        if was != ChannelState.ACTIVE:
            CHANNEL.move(standing, ChannelState.ACTIVE)
        standing.reason, standing.changed_at = None, now
        standing.num_failures, standing.failing_since, standing.rests_until = 0, None, None
        log_of_channel(session, "resume", actor, now, name, was, standing.state)
        held = session.scalars(
            select(Delivery)
            .join(Delivery.candidate)
            .where(
                Delivery.channel == name,
                Delivery.state == DeliveryState.HELD,
                Delivery.candidate.has(state=CandidateState.APPROVED),
            )
            .order_by(Delivery.next_at, Delivery.id)
        ).all()
        for delivery in held:
            DELIVERY.move(delivery, DeliveryState.QUEUED)
            log_of_delivery(session, "resume", actor, now, delivery, DeliveryState.HELD)
            come_back(timetables, session, delivery, now)
            delivery.num_attempts = 0
        if name in timetables:
            spread_channel(session, name, timetables[name], now)
        return len(held)


def doubt_after_restore(
    database: Database,
    protections: Mapping[str, Protection],
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
    safe = [name for name, protection in protections.items() if protection.is_for_ever]
    with database.write() as session:
        workplace = session.get_one(WorkplaceRow, 1)
        workplace.generation = secrets.token_hex(8)
        workplace.restored_at, workplace.backup_at = now, backup_at
        # A batch can have been made ahead of its time, or once more, but not before its day by the clock;
        # and that may have been ahead itself.
        today = (now + EASTERNMOST).date()
        latest = date.fromisoformat(mark.latest_day) if mark and mark.latest_day else today
        workplace.doubted_until = max(today, latest)
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
            DELIVERY.move(delivery, DeliveryState.UNCERTAIN)
            delivery.last_error = "an old database was restored: it may have been posted since"
            log_of_delivery(session, "restore", actor, now, delivery, was)
        log_of_channel(session, "restore", actor, now, None, "", "")
        return list(deliveries)


def _check_no_late_effect(session: Session, delivery: Delivery, now: datetime) -> None:
    """An attempt that a restored database has forgotten may have begun up to the restore."""
    begun_at, restored = last_began_at(delivery, session, now), restored_at(session, now)
    last = max((at for at in (begun_at, restored) if at is not None), default=None)
    if last is not None and now < last + LATE_EFFECT:
        wait = last + LATE_EFFECT - now
        was = "may have been" if last == restored else "was"
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

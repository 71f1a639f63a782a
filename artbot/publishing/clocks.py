"""What a wrong clock leaves behind in deliveries and channels, and what puts it right.

Times in the database are believed, so a clock that was ahead has left some that lie in the future: nothing is
sent before them. And one that was set back makes what is long ago look recent: a receiver that recognises a
repetition for an hour may have forgotten it. Nobody can know by how much, so a person is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from artbot.domain.channel import rest_after
from artbot.domain.delivery import (
    DELIVERY,
    WAITING,
    DeliveryState,
    Protection,
    may_have_landed,
    wait_after,
)
from artbot.domain.slots import Timetable
from artbot.publishing.acts import Actor, log_of_channel
from artbot.publishing.queue import NO_SLOTS, rearrange, was_asked_for, was_moved
from db.engine import Database
from db.models import Attempt, ChannelStatus, Delivery, Intervention, WorkplaceRow

_RECENT_NO_MORE = (
    "it may have been posted, and the clock was wrong since: whether the channel would recognise a repetition, "
    "nobody knows. Look, then say `artbot deliveries resolve`"
)


def accept(
    database: Database,
    protections: Mapping[str, Protection],
    undo_time: timedelta,
    actor: Actor,
    now: datetime,
    timetables: Mapping[str, Timetable] = NO_SLOTS,
) -> None:
    """A person says that the clock is right. Nothing waits longer than it would if it had begun to wait now:
    what waits for a slot gets the first that are free. A time that a person gave outside the slots stays.
    What only a recent attempt allows to repeat is uncertain."""
    with database.write() as session:
        for name, timetable in timetables.items():
            rearrange(session, name, timetable, now, now + undo_time)
        waiting = (
            select(Delivery)
            .where(Delivery.state.in_((*WAITING, DeliveryState.HELD)), Delivery.next_at > now)
            .options(selectinload(Delivery.interventions))
        )
        for delivery in session.scalars(waiting):
            wait = undo_time
            if delivery.state == DeliveryState.RETRY_WAIT:
                wait = timedelta(seconds=wait_after(delivery.num_attempts, 1.0, None) or 0.0)
            elif was_moved(delivery) or (
                delivery.channel in timetables and not was_asked_for(delivery)
            ):
                continue
            delivery.next_at = min(delivery.next_at, now + wait)
        for channel in session.scalars(select(ChannelStatus)):
            if channel.rests_until is not None:
                rest = rest_after(channel.num_failures) or timedelta()
                channel.rests_until = min(channel.rests_until, now + rest)
            if channel.failing_since is not None:
                channel.failing_since = min(channel.failing_since, now)
        _doubt_recency(session, protections, now)
        log_of_channel(session, "resume", actor, now, None, "", "")


def doubt_recency(database: Database, protections: Mapping[str, Protection], now: datetime) -> int:
    """More time may have passed than the clock says. Returns how many deliveries are uncertain by that."""
    if not go_by_the_clock(protections):
        return 0
    with database.write() as session:
        return _doubt_recency(session, protections, now)


def open_attempts(delivery: Delivery, session: Session, now: datetime) -> list[Attempt]:
    """Those of which nobody knows that they had no effect (artbot.domain.delivery.may_have_landed), by dates
    that can be believed: what a wrong clock dated in the future was done before a person said that the clock
    is right."""
    accepted = _accepted(session)
    absent_at = [
        min([i.at, *(at for number, at in accepted if number > i.id)])
        for i in delivery.interventions
        if i.act == "absent"
    ]
    dated = (_Dated(a, _believed(a.started_at, accepted, now)) for a in delivery.attempts)
    return [one.attempt for one in may_have_landed(dated, absent_at)]


def last_open_at(delivery: Delivery, session: Session, now: datetime) -> datetime | None:
    """When the last attempt began that may have had an effect, by a date that can be believed; None if none
    may have."""
    accepted = _accepted(session)
    may_be_out = open_attempts(delivery, session, now)
    return max((_believed(a.started_at, accepted, now) for a in may_be_out), default=None)


def last_began_at(delivery: Delivery, session: Session, now: datetime) -> datetime | None:
    """When its last attempt began at the latest, by dates that can be believed."""
    accepted = _accepted(session)
    return max((_believed(a.started_at, accepted, now) for a in delivery.attempts), default=None)


def restored_at(session: Session, now: datetime) -> datetime | None:
    """When an old database was put in place last, by a date that can be believed; None if none ever was."""
    at = session.get_one(WorkplaceRow, 1).restored_at
    return at and _believed(at, _accepted(session), now)


@dataclass(frozen=True)
class _Dated:
    """An attempt with a beginning that can be believed."""

    attempt: Attempt
    started_at: datetime

    @property
    def outcome(self) -> str | None:
        return self.attempt.outcome


def _believed(at: datetime, accepted: list[tuple[int, datetime]], now: datetime) -> datetime:
    if at <= now or not accepted:
        return at
    return min(at, accepted[-1][1])


def _accepted(session: Session) -> list[tuple[int, datetime]]:
    """When people said that the clock is right, and the numbers of these entries, in their order."""
    said = select(Intervention.id, Intervention.at).where(
        Intervention.act == "resume",
        Intervention.channel.is_(None),
        Intervention.delivery_id.is_(None),
    )
    return [(number, at) for number, at in session.execute(said.order_by(Intervention.id))]


def go_by_the_clock(protections: Mapping[str, Protection]) -> list[str]:
    """Channels where only a recent attempt may be repeated. Those that can look go by what they see."""
    return [
        name
        for name, protection in protections.items()
        if protection.recognises_for is not None
        and not protection.is_for_ever
        and not protection.looks
    ]


def _doubt_recency(session: Session, protections: Mapping[str, Protection], now: datetime) -> int:
    unsettled = [
        state for state in DeliveryState if DELIVERY.allows(state, DeliveryState.UNCERTAIN)
    ]
    # What is on the wire is recovered first; what was taken back goes out only if it is approved again.
    for state in (DeliveryState.SENDING, DeliveryState.CANCELLED):
        unsettled.remove(state)
    deliveries = session.scalars(
        select(Delivery).where(
            Delivery.state.in_(unsettled), Delivery.channel.in_(go_by_the_clock(protections))
        )
    )
    doubtful = [d for d in deliveries if open_attempts(d, session, now)]
    for delivery in doubtful:
        DELIVERY.move(delivery, DeliveryState.UNCERTAIN)
        delivery.last_error = _RECENT_NO_MORE
    return len(doubtful)

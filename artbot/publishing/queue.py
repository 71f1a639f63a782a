"""Which work goes out when: each at a slot of its channel, moved, held back and let go by people.

A slot is taken while a queued delivery that is not on hold has its moment as `next_at`: nothing else is stored.
A channel without slots sends at once, and retries keep their own schedule. When slots passed while nothing could
be sent, one work goes out and the others get new slots: accounts were closed for posting many at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from artbot.domain.candidate import CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import WAITING, DeliveryState
from artbot.domain.slots import (
    Timetable,
    Turn,
    When,
    is_slot,
    moment_of,
    next_free,
    slots_between,
)
from artbot.errors import NotAllowed, UsageError
from artbot.pictures import BY
from artbot.publishing.acts import Actor, log_of_delivery
from artbot.publishing.reading import find_delivery, how_it_is
from artbot.publishing.standing import get_standing, is_closed
from db.engine import Database
from db.models import Candidate, ChannelStatus, Delivery, Intervention

LATE_AFTER = timedelta(minutes=10)
"""What is due for longer has missed its time. Less is a worker that was busy with another work."""
NO_SLOTS: Mapping[str, Timetable] = MappingProxyType({})
"""By channel: every work goes out at once."""
_BY_ITSELF = "publishing"
"""Through which face artbot moves a work that nobody moved."""


# Allotting


def allot(
    timetables: Mapping[str, Timetable], session: Session, channel: str, not_before: datetime
) -> datetime:
    """When a work goes out that may from `not_before` on: at the channel's next free slot; then, if it has
    no slots. In a write session, so that no two works get one slot.

    Raises NotAllowed when ten years of slots are taken.
    """
    if (timetable := timetables.get(channel)) is None:
        return not_before
    found = next_free(timetable, not_before, _taken(session, channel))
    if found is None:
        raise NotAllowed(
            f"every slot of {channel} is taken for ten years; give it more in artbot.toml."
        )
    return found


def place(
    timetables: Mapping[str, Timetable],
    session: Session,
    delivery: Delivery,
    when: When,
    not_before: datetime,
    actor: Actor,
    now: datetime,
) -> None:
    """Give a delivery that was queued in this transaction its time. `not_before` is the end of its undo time,
    before which only who chooses a time can have it sent; the log then says that a person did.

    Raises UsageError (a time that is past, or that no clock will show), NotAllowed (another work has that time,
    every slot is taken, or it is to go out now and its channel is stopped).
    """
    timetable = timetables.get(delivery.channel)
    if when == Turn.AS_BEFORE:
        chosen = delivery.next_at if was_moved(delivery) else None
        delivery.next_at = not_before
        is_free = timetable is None or (chosen and _at(session, delivery, chosen) is None)
        if chosen and chosen > now and is_free:
            _move(session, delivery, chosen, timetable, actor, now)
            return
        when = Turn.NEXT
    if when == Turn.NOW:
        make_due(session, delivery, delivery.state, actor, now)
    elif isinstance(when, Turn):
        delivery.next_at = allot(timetables, session, delivery.channel, not_before)
        if was_asked_for(delivery) or was_moved(delivery):  # that was said of an earlier approval
            artbot = Actor(BY, _BY_ITSELF, "approved again: it goes out in its turn")
            log_of_delivery(session, "move", artbot, now, delivery, delivery.state)
    else:
        try:
            at = moment_of(when, timetable.zone if timetable else None, now)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if at <= now:
            raise UsageError(f"{when:%Y-%m-%d %H:%M} is past: give a time to come, or now.")
        if timetable is not None:
            remedy = "Choose another, or let it take the next free slot."
            _check_free(session, delivery, at, remedy)
        _move(session, delivery, at, timetable, actor, now)


def come_back(
    timetables: Mapping[str, Timetable], session: Session, delivery: Delivery, now: datetime
) -> None:
    """Give a delivery that was held, and is queued again, its time: its slot, or what a person gave, if that is
    to come and no other work has it by now; otherwise the next free slot. Where there are no slots what was tried
    before is due.

    Raises NotAllowed when ten years of slots are taken.
    """
    timetable, at = timetables.get(delivery.channel), delivery.next_at
    if timetable is None:
        if delivery.num_attempts:
            delivery.next_at = now
    elif not was_asked_for(delivery):
        is_over = at <= now or not (is_slot(timetable, at) or was_moved(delivery))
        if is_over or _at(session, delivery, at) is not None:
            to = allot(timetables, session, delivery.channel, now)
            why = "its time passed" if is_over else "another work was given its time"
            actor = Actor(BY, _BY_ITSELF, f"{why} while it was held")
            _move(session, delivery, to, timetable, actor, now)


def make_due(session: Session, delivery: Delivery, was: str, actor: Actor, now: datetime) -> None:
    """A person wants it sent now, slot or not; it was in state `was`. Raises NotAllowed if its channel is stopped."""
    standing = get_standing(session, delivery.channel, now)
    if standing.state != ChannelState.ACTIVE:
        raise NotAllowed(
            f"{delivery.candidate.name} waits for its channel: {delivery.channel} is {standing.state}, "
            f"{standing.reason}. When that is mended: artbot channels resume {delivery.channel}"
        )
    standing.rests_until = None
    delivery.next_at, delivery.on_hold = now, False
    log_of_delivery(session, "retry", actor, now, delivery, was)


def _taken(session: Session, channel: str) -> set[datetime]:
    return set(session.scalars(select(Delivery.next_at).where(_is_queued(), _of(channel))))


def _is_queued() -> ColumnElement[bool]:
    return and_(Delivery.state == DeliveryState.QUEUED, Delivery.on_hold.is_(False))


def _of(channel: str) -> ColumnElement[bool]:
    return Delivery.channel == channel


# What people do


def move(
    database: Database,
    timetables: Mapping[str, Timetable],
    delivery_id: int,
    to: datetime | None,
    actor: Actor,
    now: datetime,
) -> Delivery:
    """Give a queued delivery another time, a slot or not; None: the next free slot of its channel.

    Raises UsageError (no such delivery, a time that is past), NotAllowed (it is not queued, or on hold; its
    channel has no slots; another one has that time).
    """
    with database.write() as session:
        delivery = find_delivery(session, delivery_id)
        _check_movable(delivery)
        if to is None:
            if delivery.channel not in timetables:
                raise NotAllowed(
                    f"{delivery.channel} has no slots: give a time (--to 2026-11-24T18:30), or send it now "
                    f"(artbot queue now {delivery_id})."
                )
            to = allot(timetables, session, delivery.channel, now)
        elif to <= now:
            raise UsageError(
                f"that time is past. To send it now: artbot queue now {delivery_id}; otherwise give a time "
                "to come."
            )
        elif delivery.channel in timetables:
            remedy = (
                "Move that one first, or take the next that is free: "
                f"artbot queue move {delivery.id} --to next"
            )
            _check_free(session, delivery, to, remedy)
        if to != delivery.next_at:
            _move(session, delivery, to, timetables.get(delivery.channel), actor, now)
        return delivery


def _check_movable(delivery: Delivery) -> None:
    if delivery.state == DeliveryState.RETRY_WAIT:
        raise NotAllowed(
            f"delivery {delivery.id} was tried already, and is tried again by the schedule of retries. Send "
            f"it now (artbot queue now {delivery.id}), or hold it back (artbot queue hold {delivery.id})."
        )
    if delivery.state != DeliveryState.QUEUED:
        raise NotAllowed(f"{how_it_is(delivery)}: there is nothing to move.")
    if delivery.on_hold:
        raise NotAllowed(
            f"delivery {delivery.id} is on hold. Let it go first: artbot queue release {delivery.id}"
        )


def _check_free(session: Session, delivery: Delivery, at: datetime, remedy: str) -> None:
    there = _at(session, delivery, at)
    if there is not None:
        raise NotAllowed(
            f"that time of {delivery.channel} is taken by delivery {there.id} ({there.candidate.name}). {remedy}"
        )


def _at(session: Session, delivery: Delivery, at: datetime) -> Delivery | None:
    """Another one that has that time of its channel."""
    return session.scalar(
        select(Delivery)
        .where(
            _is_queued(), _of(delivery.channel), Delivery.next_at == at, Delivery.id != delivery.id
        )
        .options(joinedload(Delivery.candidate))
        .limit(1)
    )


def hold(database: Database, delivery_id: int, actor: Actor, now: datetime) -> Delivery:
    """Keep a waiting delivery back until it is released; its slot is free again. Twice is once, but for another
    reason, which is the one from then on.

    Raises UsageError (no such delivery), NotAllowed (it does not wait to be sent).
    """
    with database.write() as session:
        delivery = find_delivery(session, delivery_id)
        if delivery.state not in WAITING:
            raise NotAllowed(
                f"{how_it_is(delivery)}: only what waits to be sent can be put on hold."
            )
        last = _last_act(delivery)
        has_reason = not actor.reason or (last is not None and last.reason == actor.reason)
        if not (delivery.on_hold and has_reason):
            delivery.on_hold = True
            log_of_delivery(session, "hold", actor, now, delivery, delivery.state)
        return delivery


def release(
    database: Database,
    timetables: Mapping[str, Timetable],
    delivery_id: int,
    actor: Actor,
    now: datetime,
) -> Delivery:
    """Let go of a delivery that is on hold: it takes the slot it had, if that is to come and free, otherwise the
    next free one. Where there are no slots it goes out at once, though not before its undo time is over or its
    next retry is due. Twice is once.

    Raises UsageError (no such delivery), NotAllowed (it neither is on hold nor waits).
    """
    with database.write() as session:
        delivery = find_delivery(session, delivery_id)
        if not delivery.on_hold:
            if delivery.state not in WAITING:
                raise NotAllowed(f"{how_it_is(delivery)}: it is not on hold.")
            return delivery
        timetable, at = timetables.get(delivery.channel), delivery.next_at
        if delivery.state == DeliveryState.QUEUED and timetable is not None:
            is_its_own = at > now and is_slot(timetable, at) and _at(session, delivery, at) is None
            if not is_its_own:
                delivery.next_at = allot(timetables, session, delivery.channel, now)
        elif delivery.state in WAITING:
            delivery.next_at = max(delivery.next_at, now)
        delivery.on_hold = False
        log_of_delivery(session, "release", actor, now, delivery, delivery.state)
        return delivery


def _move(
    session: Session,
    delivery: Delivery,
    to: datetime,
    timetable: Timetable | None,
    actor: Actor,
    now: datetime,
) -> None:
    was, delivery.next_at = delivery.next_at, to
    zone = timetable.zone if timetable else None
    told = " to ".join(f"{at.astimezone(zone):%Y-%m-%d %H:%M %Z}" for at in (was, to))
    reason = f"from {told}" + (f": {actor.reason}" if actor.reason else "")
    said = Actor(actor.by, actor.via, reason)
    log_of_delivery(session, "move", said, now, delivery, delivery.state)


# Slots that were missed, and a clock that was wrong


@dataclass(frozen=True)
class Moved:
    """A work that missed its time."""

    work: str
    channel: str
    to: datetime


def spread(database: Database, timetables: Mapping[str, Timetable], now: datetime) -> list[Moved]:
    """Before anything is sent: where several works are due through a channel with slots, let the first go
    out and give new slots to those that missed their time. What a person asked to be sent goes out as well."""
    crowded = (
        select(Delivery.channel)
        .where(_is_due(now), Delivery.channel.in_(timetables), ~is_closed(now))
        .group_by(Delivery.channel)
        .having(func.count() > 1)
    )
    with database.read() as session:  # nearly always there are none, and looking takes no lock
        if not timetables or session.scalar(crowded.limit(1)) is None:
            return []
    with database.write() as session:
        return [
            moved
            for channel in session.scalars(crowded).all()
            for moved in spread_channel(session, channel, timetables[channel], now)
        ]


def spread_channel(
    session: Session, channel: str, timetable: Timetable, now: datetime
) -> list[Moved]:
    """Likewise, of one channel that is open."""
    due = session.scalars(
        select(Delivery)
        .where(_is_due(now), _of(channel))
        .options(joinedload(Delivery.candidate), selectinload(Delivery.interventions))
        .order_by(Delivery.next_at, Delivery.id)
    )
    taken = _taken(session, channel)
    kept: set[datetime] = set()
    moved = []
    for delivery in due:
        if was_asked_for(delivery):
            continue
        at = delivery.next_at
        was_put_off = delivery.last_error is not None  # its picture could not be read
        is_late = now - at > LATE_AFTER or at in kept or was_put_off
        to = next_free(timetable, now, taken) if kept and is_late else None
        if to is None:
            kept.add(at)
            continue
        taken.add(to)
        actor = Actor(BY, _BY_ITSELF, "its time passed while nothing could be sent")
        _move(session, delivery, to, timetable, actor, now)
        moved.append(Moved(delivery.candidate.name, channel, to))
    return moved


def rearrange(
    session: Session, channel: str, timetable: Timetable, now: datetime, not_before: datetime
) -> None:
    """Give everything that waits for a slot the first that are free from `not_before` on, in its order: the
    clock was wrong by which it was placed. What is held has none until it comes back. Times outside the slots
    that a person gave stay."""
    is_held = Delivery.state == DeliveryState.HELD
    waiting = session.scalars(
        select(Delivery)
        .where(or_(_is_queued(), is_held), _of(channel), Delivery.next_at > now)
        .options(selectinload(Delivery.interventions))
        .order_by(Delivery.next_at, Delivery.id)
    ).all()
    placed = [
        d
        for d in waiting
        if not was_asked_for(d) and (is_slot(timetable, d.next_at) or not was_moved(d))
    ]
    taken = _taken(session, channel) - {d.next_at for d in placed}
    for delivery in placed:
        if delivery.state == DeliveryState.HELD:
            delivery.next_at = now
            continue
        delivery.next_at = next_free(timetable, not_before, taken) or delivery.next_at
        taken.add(delivery.next_at)


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(
        _is_queued(),
        Delivery.next_at <= now,
        Delivery.candidate.has(Candidate.state == CandidateState.APPROVED),
    )


def was_asked_for(delivery: Delivery) -> bool:
    """A person said that it is to go out now; that its channel stopped since takes nothing from it."""
    said = [entry.act for entry in delivery.interventions if entry.act not in ("pause", "resume")]
    return bool(said) and said[-1] in ("retry", "replay")


def was_moved(delivery: Delivery) -> bool:
    """A person gave it the time that it has."""
    last = _last_act(delivery)
    return last is not None and last.act == "move" and last.via != _BY_ITSELF


def _last_act(delivery: Delivery) -> Intervention | None:
    """What was done last to the delivery, by the order of the log: clocks are set back. What was said of an
    earlier approval is followed by an entry of `place`."""
    return delivery.interventions[-1] if delivery.interventions else None


# Looking


@dataclass(frozen=True)
class Entry:
    """A slot, or a work that goes out outside the slots."""

    at: datetime
    delivery: Delivery | None
    """None: the slot is free."""
    is_slot: bool


@dataclass(frozen=True)
class ChannelQueue:
    """What waits for one channel."""

    channel: str
    timetable: Timetable | None
    standing: ChannelStatus | None
    """None: nothing was ever sent through it."""
    due: list[Delivery]
    """Their time has come, or is over."""
    entries: list[Entry]
    """Those of the days that were asked for, in their order."""
    later: list[Delivery]
    on_hold: list[Delivery]
    num_held: int
    """How many wait for the channel, or for their picture, to be put right."""


def read_queue(
    database: Database,
    channels: Sequence[str],
    timetables: Mapping[str, Timetable],
    now: datetime,
    days: int,
) -> list[ChannelQueue]:
    """The next `days` days of these channels."""
    waiting = (
        select(Delivery)
        .where(Delivery.state.in_(WAITING), Delivery.channel.in_(channels))
        .options(joinedload(Delivery.candidate))
        .order_by(Delivery.next_at, Delivery.id)
    )
    held = (
        select(Delivery.channel, func.count())
        .where(Delivery.state == DeliveryState.HELD, Delivery.channel.in_(channels))
        .group_by(Delivery.channel)
    )
    with database.read() as session:
        going = session.scalars(waiting.where(Delivery.on_hold.is_(False))).all()
        kept = session.scalars(
            waiting.where(Delivery.on_hold.is_(True)).options(selectinload(Delivery.interventions))
        ).all()
        num_held = dict(session.execute(held).all())
        standings = {standing.name: standing for standing in session.scalars(select(ChannelStatus))}
    until = now + timedelta(days=days)
    return [
        ChannelQueue(
            channel=name,
            timetable=timetables.get(name),
            standing=standings.get(name),
            due=[d for d in going if d.channel == name and d.next_at <= now],
            entries=_entries(
                [d for d in going if d.channel == name and now < d.next_at <= until],
                timetables.get(name),
                now,
                until,
            ),
            later=[d for d in going if d.channel == name and d.next_at > until],
            on_hold=[d for d in kept if d.channel == name],
            num_held=num_held.get(name, 0),
        )
        for name in channels
    ]


def _entries(
    going: Sequence[Delivery], timetable: Timetable | None, now: datetime, until: datetime
) -> list[Entry]:
    slots = set(slots_between(timetable, now, until)) if timetable else set()
    works = [Entry(d.next_at, d, d.next_at in slots) for d in going]
    gaps = [Entry(at, None, True) for at in slots - {d.next_at for d in going}]
    return sorted([*works, *gaps], key=lambda entry: entry.at)

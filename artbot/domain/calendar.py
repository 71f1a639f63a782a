"""Which days are due. The database keeps one row per schedule and local date; this says which to add.

A schedule's day D is due at `deadline(D)`: its local time on D, turned into UTC. Where the clocks
jump over that time the deadline is the same elapsed time after midnight's offset (Python's fold=0
rule: 02:30 on a spring day is 03:30), where they repeat it, the first of the two. Deadlines of
successive days are therefore always in order, 22 to 26 hours apart, in every IANA zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

CATCH_UP = timedelta(hours=36)
"""A day missed by less than this (power cut, laptop closed) is still made; older days are skipped."""

EVERY_DAY = frozenset(range(7))
EASTERNMOST = timedelta(hours=14)
"""No time zone is further ahead of UTC: there a day begins first."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""Clocks are put right by so much without anybody minding."""
LONGEST_LEAP = timedelta(hours=48)
"""A clock that leaps further ahead while the machine runs is not believed."""
LONGEST_REST = timedelta(days=31)
"""A machine that was off for longer, as it seems, may have a clock that is wrong."""


@dataclass(frozen=True)
class ClockMark:
    """What the clocks showed at one look."""

    at: datetime
    """Aware UTC."""
    boot_id: str
    """Which start of the machine; empty if unknown."""
    boot_s: float
    """Seconds since that start, sleep included."""


def doubt_about(now: ClockMark, last: ClockMark | None) -> str | None:
    """Why the clock cannot be right, in words; None if it may be.

    A clock that went back would make days again, one that leapt ahead would skip them: both wait for
    the clock to come right, or for a person to say that it is.
    """
    if last is None:
        return None
    elapsed = now.at - last.at
    if elapsed < -CLOCK_TOLERANCE:
        return f"the clock shows {_moment(now.at)}, but artbot was at work at {_moment(last.at)}"
    if now.boot_id and now.boot_id == last.boot_id:
        leap = elapsed - timedelta(seconds=now.boot_s - last.boot_s)
        if leap > LONGEST_LEAP:
            return (
                f"the clock shows {_moment(now.at)}, {leap.days} days more than have passed since "
                f"artbot was at work at {_moment(last.at)}"
            )
    elif elapsed > LONGEST_REST:
        return (
            f"the clock shows {_moment(now.at)}, {elapsed.days} days after artbot was last at work"
        )
    return None


def may_have_lost_time(now: ClockMark, last: ClockMark | None) -> bool:
    """Whether more time may have passed since `last` than the clock says: it was set back meanwhile, or
    stood while the machine was off, and nobody can know."""
    if last is None:
        return False
    if not now.boot_id or now.boot_id != last.boot_id:
        return True
    lost = timedelta(seconds=now.boot_s - last.boot_s) - (now.at - last.at)
    return lost > CLOCK_TOLERANCE


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Schedule:
    """When batches are due."""

    name: str
    at: time
    """Local time of day."""
    zone: ZoneInfo
    weekdays: frozenset[int] = EVERY_DAY
    """0 = Monday … 6 = Sunday."""


@dataclass(frozen=True)
class DueDay:
    """One day that needs a row."""

    local_date: date
    due_at: datetime
    """Aware UTC."""
    is_missed: bool
    """Too long ago to be made: recorded as skipped, so that no gap is silent."""


def deadline(schedule: Schedule, day: date) -> datetime:
    """When the batch of `day` is due, aware UTC."""
    return datetime.combine(day, schedule.at, tzinfo=schedule.zone).astimezone(UTC)


def due_days(schedule: Schedule, last: date | None, now: datetime) -> list[DueDay]:
    """The days after `last` whose deadline has passed at `now` (aware UTC), oldest first.

    A schedule that never ran (`last` is None) begins with its latest elapsed day, if that can still
    be caught up: who sets artbot up at noon sees a batch at noon.
    """
    today = now.astimezone(schedule.zone).date()
    if last is None:
        return list(
            _elapsed_days(schedule, today - timedelta(days=8), today, now, keep_missed=False)
        )[-1:]
    return list(_elapsed_days(schedule, last + timedelta(days=1), today, now, keep_missed=True))


def next_due(schedule: Schedule, now: datetime) -> datetime:
    """The next deadline after `now`, aware UTC."""
    day = now.astimezone(schedule.zone).date() - timedelta(days=1)
    while day.weekday() not in schedule.weekdays or deadline(schedule, day) <= now:
        day += timedelta(days=1)
    return deadline(schedule, day)


def _elapsed_days(
    schedule: Schedule, first: date, today: date, now: datetime, keep_missed: bool
) -> Iterator[DueDay]:
    for offset in range((today - first).days + 1):
        day = first + timedelta(days=offset)
        due_at = deadline(schedule, day)
        if day.weekday() not in schedule.weekdays or due_at > now:
            continue
        is_missed = now - due_at > CATCH_UP
        if keep_missed or not is_missed:
            yield DueDay(day, due_at, is_missed)

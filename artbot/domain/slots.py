"""When a channel's posts go out: a weekly table of moments, one work for each.

Local times become moments as in artbot.domain.calendar: where the clocks jump over one it comes as much
later as they jump, where they repeat it, it is the first of the two.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from zoneinfo import ZoneInfo

from artbot.domain.calendar import EVERY_DAY

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
"""Three letters of one are enough."""
LONGEST_LOOK = timedelta(days=3660)
"""Ten years: whoever has filled more slots than that has other worries."""


@dataclass(frozen=True)
class Slot:
    """The same moment of some days of every week."""

    weekdays: frozenset[int]
    """0 = Monday … 6 = Sunday."""
    at: time


@dataclass(frozen=True)
class Timetable:
    """All slots of one channel."""

    slots: tuple[Slot, ...]
    zone: ZoneInfo


class Turn(StrEnum):
    """When a work goes out, where no time is named."""

    NEXT = "next"  # at the next free slot; where there are none, when its undo time is over
    NOW = "now"
    AS_BEFORE = (
        "as before"  # at the time that a person gave it, if that is to come and free; else as NEXT
    )


@dataclass(frozen=True)
class DayOfYear:
    """A moment of the next such day: 24 December, of whatever year."""

    month: int
    day: int
    at: time


Moment = Slot | DayOfYear | datetime
"""A datetime has no zone: it is told by the clock of each channel's own."""
When = Turn | Moment
TIMES = 'next, 18:30, "thu 18:30", "24 dec 18:30" or 2026-11-24T18:30, by the clock of the channel\'s zone'


def parse_when(text: str) -> When:
    """`next`, `now`, `18:30`, `thu 18:30`, `24 dec 18:30`, `24 dec 2027 18:30` or `2026-11-24T18:30`. Raises
    ValueError."""
    typed = text.strip()
    if typed.lower() in (Turn.NEXT, Turn.NOW):
        return Turn(typed.lower())
    try:
        if re.fullmatch(r"[\d:]+", typed):
            return parse_slot(f"daily {typed}")
        if typed[:3].lower() in DAYS:
            return parse_slot(typed)
        if named := re.fullmatch(
            r"(\d{1,2})\s+([a-z]{3,9})(?:\s+(\d{4}))?\s+([\d:]+)", typed.lower()
        ):
            return _day(*named.groups())
        moment = datetime.fromisoformat(typed)
        if moment.tzinfo is None and ":" in typed:
            return moment
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no time. Write {TIMES}.")


def _day(day: str, month: str, year: str | None, at: str) -> DayOfYear | datetime:
    """Raises ValueError for a day that no year has, or not that one."""
    moment = parse_slot(f"daily {at}").at
    number = 1 + [name.startswith(month) for name in MONTHS].index(True)
    if year is not None:
        return datetime.combine(date(int(year), number, int(day)), moment)
    date(_LEAP_YEAR, number, int(day))
    return DayOfYear(number, int(day), moment)


_LEAP_YEAR = 2028


def moment_of(wanted: Moment, zone: tzinfo | None, now: datetime) -> datetime:
    """The first such moment that is to come, or the one that is named, aware UTC; `zone` None: this machine's.

    Raises ValueError for one that has no moment in UTC.
    """
    if isinstance(wanted, datetime):
        try:
            return _utc(wanted, zone)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"there is no such time in UTC as {wanted}.") from error
    today = now.astimezone(zone).date()
    moments = (_utc(datetime.combine(day, wanted.at), zone) for day in _days_from(today, wanted))
    return next(moment for moment in moments if moment > now)


def _days_from(today: date, wanted: Slot | DayOfYear) -> Iterator[date]:
    """Those that are meant, in their order: enough that one is to come."""
    if isinstance(wanted, Slot):
        days = (today + timedelta(days=n) for n in range(9))
        yield from (day for day in days if day.weekday() in wanted.weekdays)
        return
    for year in range(today.year, today.year + 10):  # 29 February may be eight years off
        with suppress(ValueError):
            yield date(year, wanted.month, wanted.day)


def _utc(local: datetime, zone: tzinfo | None) -> datetime:
    return (local if zone is None else local.replace(tzinfo=zone)).astimezone(UTC)


def parse_slot(text: str) -> Slot:
    """`mon 09:00`, `mon,thu 18:30` or `daily 12:00`. Raises ValueError."""
    days, _, at = text.strip().lower().rpartition(" ")
    names = [day.strip() for day in days.split(",")]
    try:
        moment = time.fromisoformat(at)
        weekdays = (
            EVERY_DAY if names == ["daily"] else frozenset(DAYS.index(name) for name in names)
        )
    except ValueError:
        moment, weekdays = None, EVERY_DAY
    if moment is None or moment.tzinfo is not None or moment.second or moment.microsecond:
        if re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text.strip()):
            raise ValueError(f'{text!r} says no day; write "daily {text.strip():0>5}"')
        raise ValueError(
            f'{text!r} is no slot; write "mon 09:00", "mon,thu 18:30" or "daily 12:00"'
        )
    return Slot(weekdays, moment)


def slots_after(timetable: Timetable, after: datetime) -> Iterator[datetime]:
    """Every slot later than `after`, aware UTC, in their order; without end if there is any."""
    day = after.astimezone(timetable.zone).date() - timedelta(days=1)
    seen = after
    while timetable.slots:
        moments = {
            datetime.combine(day, slot.at, tzinfo=timetable.zone).astimezone(UTC)
            for slot in timetable.slots
            if day.weekday() in slot.weekdays
        }
        for moment in sorted(moments):
            if moment > seen:  # clocks that are set can bring two local times to one moment
                seen = moment
                yield moment
        day += timedelta(days=1)


def next_free(timetable: Timetable, after: datetime, taken: Container[datetime]) -> datetime | None:
    """The first slot later than `after` that nothing has taken; None if there is no slot at all."""
    for moment in slots_after(timetable, after):
        if moment not in taken:
            return moment
        if moment - after > LONGEST_LOOK:
            break
    return None


def is_slot(timetable: Timetable, moment: datetime) -> bool:
    return next(slots_after(timetable, moment - timedelta.resolution), None) == moment


def slots_between(timetable: Timetable, after: datetime, until: datetime) -> Sequence[datetime]:
    """Those later than `after` and not later than `until`."""
    found: list[datetime] = []
    for moment in slots_after(timetable, after):
        if moment > until:
            break
        found.append(moment)
    return found

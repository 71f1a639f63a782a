"""A channel's weekly table: which moments it means, in every zone, and the next that is free."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artbot.domain.slots import (
    Slot,
    Timetable,
    Turn,
    is_slot,
    moment_of,
    next_free,
    parse_slot,
    parse_when,
    slots_after,
    slots_between,
)

BERLIN = ZoneInfo("Europe/Berlin")
SATURDAY = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ZONES = sorted(available_timezones())


def table(*slots: str, zone: ZoneInfo = BERLIN) -> Timetable:
    return Timetable(tuple(parse_slot(slot) for slot in slots), zone)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mon 09:00", Slot(frozenset({0}), time(9))),
        ("mon,thu 18:30", Slot(frozenset({0, 3}), time(18, 30))),
        ("Mon, Thu 18:30", Slot(frozenset({0, 3}), time(18, 30))),
        (" Daily 12:00 ", Slot(frozenset(range(7)), time(12))),
        ("sun  23:59", Slot(frozenset({6}), time(23, 59))),
    ],
)
def test_a_slot_is_days_and_a_time(text: str, expected: Slot) -> None:
    assert parse_slot(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "25:00",
        "monday 09:00",
        "mon 9",
        "mon 25:00",
        "mon,daily 09:00",
        "mon, 09:00",
        "mon 09:00+01:00",
        "mon 09:00:30",
        "mo 9:00",
    ],
)
def test_what_is_no_slot_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='write "mon 09:00"'):
        parse_slot(text)


@pytest.mark.parametrize(("text", "slot"), [("12:00", "daily 12:00"), (" 9:05", "daily 09:05")])
def test_of_a_time_without_a_day_it_is_said_how_every_day_is_written(text: str, slot: str) -> None:
    with pytest.raises(ValueError, match=f'says no day; write "{slot}"'):
        parse_slot(text)
    assert parse_slot(slot).weekdays == frozenset(range(7))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24 dec 18:00", "2026-12-24 18:00"),
        ("24 December  18:00", "2026-12-24 18:00"),
        ("21 nov 12:59", "2027-11-21 12:59"),  # it is 13:00 in Berlin
        ("21 nov 13:01", "2026-11-21 13:01"),
        ("24 dec 2027 18:00", "2027-12-24 18:00"),
        ("1 jan 00:00", "2027-01-01 00:00"),
        ("29 feb 10:00", "2028-02-29 10:00"),
    ],
)
def test_a_day_is_said_by_its_month_and_is_the_next_such_day(text: str, moment: str) -> None:
    wanted = parse_when(text)
    assert not isinstance(wanted, Turn)
    at = moment_of(wanted, BERLIN, SATURDAY)
    assert f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M}" == moment


@pytest.mark.parametrize(
    "text",
    ["30 feb 10:00", "29 feb 2027 10:00", "24 dez 18:00", "24 dec", "0 jan 10:00", "24 de 18:00"],
)
def test_a_day_that_no_year_has_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r'is no time\. Write .*"24 dec 18:30"'):
        parse_when(text)


def test_slots_come_in_their_order_from_the_next_one_on() -> None:
    slots = slots_after(table("mon,thu 18:30", "daily 09:00"), SATURDAY)
    assert [f"{s.astimezone(BERLIN):%a %d %H:%M}" for s in islice(slots, 4)] == [
        "Sun 22 09:00",
        "Mon 23 09:00",
        "Mon 23 18:30",
        "Tue 24 09:00",
    ]


def test_a_slot_that_is_now_is_over() -> None:
    assert next_free(table("sat 13:00"), SATURDAY, ()) == SATURDAY + timedelta(days=7)
    a_moment_before = SATURDAY - timedelta(microseconds=1)
    assert next_free(table("sat 13:00"), a_moment_before, ()) == SATURDAY


def test_a_moment_is_a_slot_to_the_microsecond() -> None:
    assert is_slot(table("sat 13:00"), SATURDAY)
    assert not is_slot(table("sat 13:00"), SATURDAY + timedelta.resolution)
    assert not is_slot(table("sun 13:00"), SATURDAY)
    assert not is_slot(table(), SATURDAY)


def test_the_first_that_is_free_is_found_behind_those_that_are_taken() -> None:
    timetable = table("daily 09:00")
    taken = set(islice(slots_after(timetable, SATURDAY), 30))
    found = next_free(timetable, SATURDAY, taken - {min(taken) + timedelta(days=7)})
    assert found == min(taken) + timedelta(days=7)
    assert next_free(timetable, SATURDAY, taken) == max(taken) + timedelta(days=1)


def test_without_slots_none_is_free() -> None:
    assert next_free(table(), SATURDAY, ()) is None
    assert list(slots_after(table(), SATURDAY)) == []


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (datetime(2027, 3, 27, 12, tzinfo=UTC), "2027-03-28 03:30 CEST"),  # jumped over
        (datetime(2026, 10, 24, 12, tzinfo=UTC), "2026-10-25 02:30 CEST"),  # comes twice: the first
    ],
)
def test_where_the_clocks_are_set_a_slot_comes_once(day: datetime, expected: str) -> None:
    found = slots_between(table("daily 02:30"), day, day + timedelta(days=1))
    assert [f"{moment.astimezone(BERLIN):%Y-%m-%d %H:%M %Z}" for moment in found] == [expected]


@given(
    zone=st.sampled_from(ZONES),
    at=st.times(timezones=st.none()).map(lambda t: t.replace(second=0, microsecond=0)),
    after=st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC)),
)
def test_in_every_zone_a_daily_slot_comes_about_once_a_day_for_ever(
    zone: str, at: time, after: datetime
) -> None:
    timetable = Timetable((Slot(frozenset(range(7)), at),), ZoneInfo(zone))
    found = list(islice(slots_after(timetable, after), 10))
    assert all(moment > after for moment in found)
    waits = [b - a for a, b in pairwise(found)]
    # A zone may leave a whole day out (Samoa 2011), or have one twice (Kwajalein 1969).
    assert all(timedelta(hours=20) <= wait <= timedelta(hours=52) for wait in waits)

"""Rules that hold for every input, not only for the examples in tests/unit."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artbot.config import ScheduleSettings, Settings, _describe, load_settings
from artbot.domain.calendar import CATCH_UP, Schedule, deadline, due_days, next_due
from artbot.domain.delivery import (
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_S,
    RETRY_AFTER_S,
    wait_after,
)
from artbot.domain.seeds import seed_for
from artbot.errors import ConfigError
from artbot.publishing.channels import settings_models
from artbot.publishing.http import retry_after_s
from artbot.studio.planning import ensure_due, ensure_today, give_up_on_old, plan_extra
from db.engine import Database, open_database
from db.models import Batch
from tests.unit.service.kit import NOON, run_at_once

ZONES = sorted(available_timezones())
SOME_ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Beirut",
        "Australia/Lord_Howe",
        "Antarctica/Troll",
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
        "Africa/Casablanca",
    ]
)
TIMES = st.times().map(lambda at: at.replace(microsecond=0))
START = datetime(2026, 1, 5, tzinfo=UTC)
FAST = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# Calendar


@pytest.mark.parametrize(
    "at",
    [time(h, m) for h, m in ((0, 0), (0, 30), (1, 0), (1, 30), (2, 0), (2, 30), (3, 0), (23, 30))],
)
def test_deadlines_are_in_order_and_22_to_26_hours_apart_in_every_zone(at: time) -> None:
    """Two years in all of the world's zones, clock changes of every kind among them."""
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(730)]
    for name in ZONES:
        schedule = Schedule("daily", at, ZoneInfo(name))
        deadlines = [deadline(schedule, day) for day in days]
        gaps = {b - a for a, b in itertools.pairwise(deadlines)}
        assert min(gaps) >= timedelta(hours=22), name
        assert max(gaps) <= timedelta(hours=26), name


@given(zone=st.sampled_from(ZONES), at=TIMES, minutes=st.integers(0, 2 * 365 * 24 * 60))
def test_the_next_deadline_is_less_than_26_hours_away_and_then_is_due(
    zone: str, at: time, minutes: int
) -> None:
    schedule = Schedule("daily", at, ZoneInfo(zone))
    now = START + timedelta(minutes=minutes)
    due_at = next_due(schedule, now)
    assert timedelta() < due_at - now <= timedelta(hours=26)
    last = max((d.local_date for d in due_days(schedule, None, now)), default=None)
    if last is not None:
        (day,) = due_days(schedule, last, due_at)
        assert (day.due_at, day.is_missed) == (due_at, False)
        assert due_days(schedule, last, due_at - timedelta(seconds=1)) == []


# Planning


@pytest.fixture(scope="module")
def database(shared_database: Database) -> Database:
    return shared_database


_numbers = itertools.count()


def fresh(**values: object) -> dict[str, ScheduleSettings]:
    """A schedule whose name no other example has: all share one database."""
    return {f"s{next(_numbers)}": ScheduleSettings.model_validate(values)}


def rows(database: Database, schedules: dict[str, ScheduleSettings]) -> list[Batch]:
    with database.read() as session:
        found = session.query(Batch).filter(Batch.schedule.in_(schedules))
        return list(found.order_by(Batch.local_date))


STEPS = st.lists(
    st.one_of(
        st.integers(1, 90),  # minutes: always on
        st.integers(60, 30 * 60),  # a laptop opened once a day, more or less
        st.integers(2 * 24 * 60, 6 * 24 * 60),  # holidays
    ),
    min_size=1,
    max_size=12,
)


@FAST
@given(zone=SOME_ZONES, at=TIMES, begin=st.integers(0, 300 * 24 * 60), steps=STEPS)
def test_however_artbot_wakes_every_elapsed_day_has_exactly_one_row(
    database: Database, zone: str, at: time, begin: int, steps: list[int]
) -> None:
    schedules = fresh(at=at, timezone=zone)
    schedule = Schedule("x", at, ZoneInfo(zone))
    now = START + timedelta(minutes=begin)
    ensure_due(database, schedules, now)
    (first,) = rows(database, schedules)
    woken = {first.local_date: now}
    for minutes in steps:
        now += timedelta(minutes=minutes)
        for planned in ensure_due(database, schedules, now):
            assert planned.key.startswith(next(iter(schedules)))
            woken[date.fromisoformat(planned.key[-10:])] = now
        assert ensure_due(database, schedules, now) == [], "asked twice"
    found = rows(database, schedules)
    today = now.astimezone(schedule.zone).date()
    elapsed = [
        first.local_date + timedelta(days=n)
        for n in range((today - first.local_date).days + 1)
        if deadline(schedule, first.local_date + timedelta(days=n)) <= now
    ]
    assert [row.local_date for row in found] == elapsed
    for row in found:
        late = woken[row.local_date] - row.due_at
        assert row.state == ("skipped" if late > CATCH_UP else "planned")
        assert (row.reason is None) == (row.state == "planned")


@FAST
@given(
    at=TIMES,
    zone=SOME_ZONES,
    weekdays=st.sets(
        st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1
    ),
    steps=STEPS,
)
def test_only_the_chosen_weekdays_get_a_row(
    database: Database, at: time, zone: str, weekdays: set[str], steps: list[int]
) -> None:
    schedules = fresh(at=at, timezone=zone, weekdays=sorted(weekdays))
    now = START
    for minutes in steps:
        now += timedelta(minutes=minutes)
        ensure_due(database, schedules, now)
    for row in rows(database, schedules):
        assert row.local_date.strftime("%a").lower() in weekdays


@FAST
@given(steps=st.lists(st.integers(-3 * 24 * 60, 3 * 24 * 60), min_size=2, max_size=15))
def test_a_clock_that_is_set_back_and_forth_makes_no_day_twice(
    database: Database, steps: list[int]
) -> None:
    schedules = fresh(at="07:00", timezone="Europe/Berlin")
    now = START + timedelta(days=60)
    for minutes in steps:
        now += timedelta(minutes=minutes)
        ensure_due(database, schedules, now)
    dates = [row.local_date for row in rows(database, schedules)]
    assert dates == [dates[0] + timedelta(days=n) for n in range(len(dates))]


def test_two_processes_that_wake_at_once_plan_each_day_once(database_at: Path | str) -> None:
    one, two = (open_database(database_at) for _ in range(2))
    schedules = fresh(at="07:00")
    now = START
    ensure_due(one, schedules, now)
    for _ in range(15):
        now += timedelta(hours=30)
        moment = now
        results = run_at_once(
            *[lambda d=d, m=moment: ensure_due(d, schedules, m) for d in (one, two, one)]
        )
        assert [r for r in results if isinstance(r, Exception)] == []
    dates = [row.local_date for row in rows(one, schedules)]
    assert len(dates) == len(set(dates)) >= 18


@FAST
@given(at=TIMES, zone=SOME_ZONES, hours=st.integers(0, 24 * 300))
def test_todays_batch_asked_for_ahead_of_its_time_is_the_days_only_one(
    database: Database, at: time, zone: str, hours: int
) -> None:
    schedules = fresh(at=at, timezone=zone)
    ((name, schedule),) = schedules.items()
    now = START + timedelta(hours=hours)
    key = ensure_today(database, name, schedule, now)
    assert ensure_today(database, name, schedule, now) == key
    later = next_due(schedule.to_schedule(name), now)
    ensure_due(database, schedules, later)
    keys = [row.key for row in rows(database, schedules)]
    assert keys.count(key) == 1
    assert len(keys) <= 2


def test_batches_besides_the_days_own_are_numbered_and_do_not_count_as_the_days(
    database: Database,
) -> None:
    schedules = fresh(at="07:00")
    ((name, schedule),) = schedules.items()
    keys = [plan_extra(database, name, schedule, START) for _ in range(3)]
    assert keys == [f"{name}-2026-01-05-extra-{n}" for n in (1, 2, 3)]
    assert len(ensure_due(database, schedules, START + timedelta(hours=8))) == 1


def test_a_batch_that_could_not_be_made_in_time_is_given_up_with_the_reason(
    database_at: Path | str,
) -> None:
    database = open_database(database_at)
    schedules = fresh(at="07:00")
    due_at = datetime(2026, 1, 5, 7, tzinfo=UTC)
    (planned,) = ensure_due(database, schedules, due_at)
    with database.write() as session:
        session.query(Batch).one().reason = "no checkpoint in checkpoints"
    assert give_up_on_old(database, due_at + CATCH_UP) == []
    assert give_up_on_old(database, due_at + CATCH_UP + timedelta(seconds=1)) == [planned.key]
    (row,) = rows(database, schedules)
    assert (row.state, row.reason) == (
        "skipped",
        "not made in time: no checkpoint in checkpoints",
    )


# Seeds and waits


@given(st.text(), st.integers(1, 10**6))
def test_a_seed_is_exact_in_json_and_always_the_same(key: str, index: int) -> None:
    seed = seed_for(key, index)
    assert 0 <= seed < 2**53
    assert int(float(seed)) == seed
    assert seed == seed_for(key, index)


@given(
    n=st.integers(1, 30),
    share=st.floats(0, 1, exclude_max=True),
    wish=st.none() | st.floats(0, allow_nan=False),
)
def test_a_wait_is_between_the_schedule_and_a_day_and_a_bit(
    n: int, share: float, wish: float | None
) -> None:
    wait = wait_after(n, share, wish)
    if n >= MAX_ATTEMPTS:
        assert wait is None
    else:
        assert wait is not None
        assert wait >= RETRY_AFTER_S[n - 1]
        assert wait >= min(wish or 0, MAX_RETRY_AFTER_S)
        assert wait <= max(1.2 * RETRY_AFTER_S[n - 1], min(wish or 0, MAX_RETRY_AFTER_S))


@given(
    st.text(max_size=60)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d+ \d+:\d+:\d+ .{0,6}")
)
def test_whatever_a_receiver_writes_as_retry_after_is_seconds_or_nothing(header: str) -> None:
    wish = retry_after_s(header, NOON)
    assert wish is None or wish >= 0


# Configuration

KEYS = st.text(max_size=8) | st.sampled_from([*Settings.model_fields, "daily", "at", "type"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just("webhook"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_stands_in_the_file_the_answer_is_a_line_per_problem(
    table: dict[str, object],
) -> None:
    lines, expected = [], 0
    try:
        Settings.model_validate(table)
    except ValidationError as error:
        lines, expected = _describe(error, Settings, ()), error.error_count()
    assert len(lines) == expected
    assert all(lines)


@FAST
@given(
    st.recursive(
        st.integers() | st.text("abc ", max_size=5),
        lambda inner: st.dictionaries(st.text("abcdetypurl_", min_size=1), inner, max_size=3),
        max_leaves=10,
    )
)
def test_any_channel_table_is_taken_or_refused_in_words(tmp_path: Path, channels: object) -> None:
    (tmp_path / "artbot.toml").write_text(f"channels = {inline(channels)}")
    told = "channels"
    try:
        load_settings(tmp_path, settings_models())
    except ConfigError as error:
        told = str(error)
    assert "channels" in told


def inline(value: object) -> str:
    """The value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{k}" = {inline(v)}' for k, v in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)


@FAST
@given(ahead_days=st.integers(2, 800), days_after=st.integers(1, 20))
def test_a_clock_that_once_ran_far_ahead_does_not_silence_the_schedule(
    database: Database, ahead_days: int, days_after: int
) -> None:
    """Set right again, every day is planned as if nothing had been, and none stays skipped."""
    schedules = fresh(at="07:00", timezone="Europe/Berlin")
    ensure_due(database, schedules, START)
    ensure_due(database, schedules, START + timedelta(days=ahead_days))
    for day in range(days_after + 1):
        ensure_due(database, schedules, START + timedelta(days=day))
    made = rows(database, schedules)
    assert [row.state for row in made] == ["planned"] * (days_after + 1)

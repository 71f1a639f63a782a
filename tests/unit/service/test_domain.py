"""The pure rules: seeds, calendar, waits, states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import pytest

from artbot.domain.calendar import CATCH_UP, Schedule, deadline, due_days, next_due
from artbot.domain.candidate import BatchState, CandidateState
from artbot.domain.channel import ChannelState, rest_after
from artbot.domain.delivery import (
    DELIVERY,
    LATE_EFFECT,
    MAX_ATTEMPTS,
    MAX_RETRY_AFTER_S,
    NEEDS_A_PERSON,
    RETRIABLE,
    RETRY_AFTER_S,
    SETTLED,
    WAITING,
    DeliveryState,
    Outcome,
    Protection,
    may_have_landed,
    wait_after,
    wait_after_interruption,
)
from artbot.domain.keys import ACTIONS, keymap
from artbot.domain.likeness import Likeness, read_likeness
from artbot.domain.seeds import SEED_BITS, seed_for
from artbot.domain.text import shortened
from db import models
from tests.unit.service.kit import NOON

BERLIN = ZoneInfo("Europe/Berlin")
SATURDAY = date(2026, 11, 21)


def daily(at: time = time(7), zone: ZoneInfo = BERLIN, days: str = "0123456") -> Schedule:
    return Schedule("daily", at, zone, frozenset(int(day) for day in days))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


# Seeds


def test_a_seed_never_changes_because_every_published_work_is_made_again_from_it() -> None:
    """Golden values: if this fails, works already out in the world can no longer be reproduced."""
    assert seed_for("daily-2026-11-21", 1) == 2002529784267600
    assert seed_for("daily-2026-11-21", 2) == 6798030452539665


def test_candidates_and_batches_have_seeds_of_their_own() -> None:
    seeds = {seed_for(f"daily-2026-11-{day}", n) for day in range(10, 20) for n in range(1, 101)}
    assert len(seeds) == 1000


def test_key_and_index_are_not_glued_together() -> None:
    assert seed_for("daily-1", 1) != seed_for("daily-", 11)
    assert seed_for("a|1", 1) != seed_for("a", 11)


def test_seeds_fit_into_a_json_number_and_use_its_whole_range() -> None:
    seeds = [seed_for("daily-2026-11-21", index) for index in range(1, 501)]
    assert all(0 <= seed < 2**SEED_BITS <= 2**53 for seed in seeds)
    assert max(seeds) > 2**52
    assert {seed % 2 for seed in seeds} == {0, 1}


# Calendar


def test_who_sets_artbot_up_at_noon_sees_todays_batch_at_noon() -> None:
    (day,) = due_days(daily(), None, utc(2026, 11, 21, 11, 0))
    assert (day.local_date, day.due_at, day.is_missed) == (
        SATURDAY,
        utc(2026, 11, 21, 6),
        False,
    )


def test_who_sets_artbot_up_before_the_hour_gets_at_most_one_batch() -> None:
    (day,) = due_days(daily(), None, utc(2026, 11, 21, 5, 59))
    assert day.local_date == SATURDAY - timedelta(days=1)


def test_a_day_is_due_from_its_very_deadline_and_not_a_second_before() -> None:
    yesterday = SATURDAY - timedelta(days=1)
    due_at = deadline(daily(), SATURDAY)
    assert due_days(daily(), yesterday, due_at - timedelta(seconds=1)) == []
    assert [d.local_date for d in due_days(daily(), yesterday, due_at)] == [SATURDAY]


def test_a_day_that_has_its_row_is_not_due_again() -> None:
    assert due_days(daily(), SATURDAY, utc(2026, 11, 21, 23)) == []


def test_a_future_row_is_not_followed_by_more_rows() -> None:
    assert due_days(daily(), SATURDAY + timedelta(days=30), utc(2026, 11, 21, 23)) == []


def test_a_day_missed_by_less_than_36_hours_is_made_and_an_older_one_is_recorded_as_missed() -> (
    None
):
    days = due_days(daily(), date(2026, 11, 16), utc(2026, 11, 21, 12))
    assert [(d.local_date.day, d.is_missed) for d in days] == [
        (17, True),
        (18, True),
        (19, True),
        (20, False),  # 30 h ago
        (21, False),
    ]


def test_the_window_for_catching_up_ends_after_36_hours_exactly() -> None:
    yesterday = SATURDAY - timedelta(days=1)
    end = deadline(daily(), SATURDAY) + timedelta(hours=36)
    assert timedelta(hours=36) == CATCH_UP
    assert not due_days(daily(), yesterday, end)[0].is_missed
    assert due_days(daily(), yesterday, end + timedelta(microseconds=1))[0].is_missed


def test_only_the_chosen_weekdays_are_due() -> None:
    weekend = daily(days="56")
    days = due_days(weekend, date(2026, 11, 8), utc(2026, 11, 23, 12))
    assert [d.local_date.day for d in days] == [14, 15, 21, 22]


def test_a_weekly_schedule_begins_with_its_latest_day_only_if_that_can_be_caught_up() -> None:
    fridays = daily(days="4")
    assert [d.local_date.day for d in due_days(fridays, None, utc(2026, 11, 21, 12))] == [20]
    assert due_days(fridays, None, utc(2026, 11, 23, 12)) == []


def test_the_next_deadline_is_after_now_and_on_a_chosen_weekday() -> None:
    assert next_due(daily(), utc(2026, 11, 21, 5)) == utc(2026, 11, 21, 6)
    assert next_due(daily(), utc(2026, 11, 21, 6)) == utc(2026, 11, 22, 6)
    assert next_due(daily(days="0"), utc(2026, 11, 21, 6)) == utc(2026, 11, 23, 6)


def test_a_time_that_the_clocks_jump_over_is_due_an_hour_later_on_the_clock() -> None:
    """29 March 2026 in Berlin: 02:00 becomes 03:00, so 02:30 is 03:30."""
    due_at = deadline(daily(time(2, 30)), date(2026, 3, 29))
    assert due_at == utc(2026, 3, 29, 1, 30)
    assert due_at.astimezone(BERLIN).time() == time(3, 30)


def test_a_time_that_the_clocks_repeat_is_due_once_the_first_time() -> None:
    """25 October 2026 in Berlin: 02:30 comes twice, at 00:30 and 01:30 UTC."""
    schedule = daily(time(2, 30))
    assert deadline(schedule, date(2026, 10, 25)) == utc(2026, 10, 25, 0, 30)
    between, after = utc(2026, 10, 25, 1, 0), utc(2026, 10, 25, 1, 45)
    (day,) = due_days(schedule, date(2026, 10, 24), between)
    assert due_days(schedule, day.local_date, after) == []


def test_a_day_that_begins_at_one_oclock_has_its_midnight_batch() -> None:
    """Beirut changes clocks at midnight; cron triggers lose such a day or the next."""
    schedule = daily(time(0, 0), ZoneInfo("Asia/Beirut"))
    last = date(2026, 3, 26)
    found = []
    for hour in range(4 * 24):
        for day in due_days(schedule, last, utc(2026, 3, 26, 22, 30) + timedelta(hours=hour)):
            found.append(day.local_date.day)
            last = day.local_date
    assert found == [27, 28, 29, 30, 31]
    assert deadline(schedule, date(2026, 3, 29)).astimezone(schedule.zone).time() == time(1)


# Waits


def test_ten_attempts_are_spread_over_75_hours_and_35_minutes() -> None:
    """Standard Webhooks 1.0: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""
    waits = [wait_after(n, 0.0, None) or 0.0 for n in range(1, 10)]
    assert sum(waits) == timedelta(hours=75, minutes=35, seconds=5) / timedelta(seconds=1)


def test_ten_more_follow_daily_and_the_twentieth_is_the_last() -> None:
    waits = [wait_after(n, 0.0, None) for n in range(10, 21)]
    assert waits == [86_400.0] * 10 + [None]
    assert MAX_ATTEMPTS == 20
    assert timedelta(seconds=sum(RETRY_AFTER_S)) < timedelta(days=14)


def test_a_wait_is_lengthened_by_at_most_a_fifth_and_never_shortened() -> None:
    for n, plain in enumerate(RETRY_AFTER_S, start=1):
        assert wait_after(n, 0.0, None) == plain
        assert wait_after(n, 0.999999, None) == pytest.approx(1.2 * plain, rel=1e-5)


def test_the_receivers_wish_counts_only_if_it_is_longer() -> None:
    assert wait_after(1, 0.0, 90.0) == 90
    assert wait_after(2, 0.0, 90.0) == 300
    assert wait_after(2, 0.0, 0.0) == 300


def test_the_receivers_wish_is_obeyed_up_to_a_day() -> None:
    assert wait_after(1, 0.0, 10.0**9) == MAX_RETRY_AFTER_S == 86_400
    assert wait_after(1, 0.0, float("inf")) == 86_400


def test_a_wish_does_not_bring_back_spent_attempts() -> None:
    assert wait_after(20, 0.5, 60.0) is None
    assert wait_after(21, 0.5, 60.0) is None


# States


@pytest.mark.parametrize(
    ("states", "allowed"),
    [
        (BatchState, models.BATCH_STATES),
        (CandidateState, models.CANDIDATE_STATES),
        (DeliveryState, models.DELIVERY_STATES),
        (ChannelState, models.CHANNEL_STATES),
        (Outcome, models.OUTCOMES),
    ],
)
def test_the_database_allows_exactly_the_states_of_the_domain(
    states: type[StrEnum], allowed: tuple[str, ...]
) -> None:
    """db does not import artbot, so the words stand in both: here they are held together."""
    assert sorted(allowed) == sorted(states)


def test_what_was_delivered_is_at_most_replayed() -> None:
    """Under its old key, to who recognises that: artbot.publishing.interventions looks."""
    assert [s for s in DeliveryState if DELIVERY.allows(DeliveryState.DELIVERED, s)] == ["queued"]


def test_what_may_have_been_posted_cannot_be_cancelled() -> None:
    may_cancel = {s for s in DeliveryState if DELIVERY.allows(s, DeliveryState.CANCELLED)}
    # Those only while no receiver can have the work: the use cases look at the attempts.
    assert may_cancel == {*WAITING, *RETRIABLE}
    assert not may_cancel & {"sending", "uncertain", "delivered"}


def test_only_waiting_deliveries_are_sent() -> None:
    may_send = {s for s in DeliveryState if DELIVERY.allows(s, DeliveryState.SENDING)}
    assert may_send == set(WAITING)


def test_every_delivery_is_waiting_settled_on_the_wire_or_waits_for_a_person() -> None:
    groups = [*WAITING, *SETTLED, *NEEDS_A_PERSON, DeliveryState.SENDING]
    assert sorted(groups) == sorted(DeliveryState)


def test_an_interrupted_attempt_is_repeated_at_once_the_first_time_and_given_up_some_day() -> None:
    waits = [wait_after_interruption(n) for n in range(1, MAX_ATTEMPTS + 1)]
    assert waits[0] == 0
    assert waits[1:-1] == list(RETRY_AFTER_S[: MAX_ATTEMPTS - 2])
    assert waits[-1] is None


# What may have landed


@dataclass(frozen=True)
class Try:
    outcome: str | None
    started_at: datetime = NOON


@pytest.mark.parametrize(
    ("outcome", "may_have"),
    [
        (None, True),
        ("unknown", True),
        ("delivered", True),
        ("rejected", False),
        ("unavailable", False),
    ],
)
def test_an_attempt_may_have_landed_unless_the_receiver_certainly_did_not_take_it(
    outcome: str | None, may_have: bool
) -> None:
    assert bool(may_have_landed([Try(outcome)], [])) == may_have


def test_what_a_person_found_absent_did_not_land_and_what_came_after_may_have() -> None:
    absent_at = NOON + timedelta(hours=1)
    before, after = Try("unknown", NOON), Try("unknown", absent_at + timedelta(seconds=1))
    assert may_have_landed([before, after], [absent_at]) == [after]
    assert may_have_landed([before, after], [absent_at, absent_at + timedelta(hours=1)]) == []


def test_an_attempt_in_the_moment_a_person_looked_or_by_a_clock_set_back_may_have_landed() -> None:
    """Absence is believed a quarter of an hour after the attempt: whatever is nearer is a new one."""
    absent_at = NOON + timedelta(hours=1)
    for minutes in (0, -1, -14.99):
        attempt = Try("unknown", absent_at + timedelta(minutes=minutes))
        assert may_have_landed([attempt], [absent_at]) == [attempt]
    assert may_have_landed([Try("unknown", absent_at - LATE_EFFECT)], [absent_at]) == []


def test_a_receiver_recognises_for_ever_for_a_while_or_never() -> None:
    hour = timedelta(hours=1)
    assert Protection(timedelta.max).recognises(timedelta(days=3650))
    assert Protection(hour).recognises(timedelta(minutes=59))
    assert not Protection(hour).recognises(hour)
    assert not Protection(None).recognises(timedelta())


# Channels that fail


def test_a_channel_rests_from_the_fifth_failure_on_longer_each_time_up_to_an_hour() -> None:
    rests = [rest_after(n) for n in range(13)]
    assert rests[:5] == [None] * 5
    assert rests[5:] == [timedelta(minutes=m) for m in (1, 2, 4, 8, 16, 32, 60, 60)]
    assert rest_after(10**6) == timedelta(hours=1)


def test_every_action_has_keys_and_no_two_share_one() -> None:
    found = keymap()
    assert (found["a"], found["p"], found["x"], found["X"]) == (
        "approve",
        "approve",
        "reject",
        "reject-rest",
    )
    assert set(found.values()) == set(ACTIONS)
    assert len(found) == sum(len(action.keys) for action in ACTIONS.values())


def test_an_action_gets_other_keys_instead_of_its_own_or_none() -> None:
    found = keymap({"approve": "y", "reject": ["n", "Delete"], "breed": [], "later": " "})
    assert (found["y"], found["n"], found["delete"]) == ("approve", "reject", "reject")
    assert not {"a", "p", "x", "b"} & found.keys()
    assert found["space"] == "later"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"approve": "x"}, "'x' would both 'approve' and 'reject'"),
        ({"quit": ["a"], "help": ["a"], "approve": []}, "'a' would both 'help' and 'quit'"),
        ({"aprove": "y"}, "no action 'aprove'. Actions: approve, reject"),
        ({"approve": "ctrl+a"}, "'ctrl\\+a' is no key.*space, enter"),
        ({"approve": ""}, "'' is no key"),
        ({"approve": "\x1b"}, "is no key"),
    ],
)
def test_what_is_no_keymap_is_told_by_name(
    changed: dict[str, str | list[str]], expected: str
) -> None:
    with pytest.raises(ValueError, match=expected):
        keymap(changed)


@pytest.mark.parametrize(
    ("lighter", "colours", "expected"),
    [
        (0, bytes(27), True),
        (0xFFF, bytes(27), True),  # 12 differences
        (0x1FFF, bytes(27), False),
        (0, bytes([*bytes(26), 24]), True),
        (0, bytes([*bytes(26), 25]), False),  # two flat pictures of two colours
    ],
)
def test_pictures_are_alike_by_what_grows_lighter_and_by_their_colours(
    lighter: int, colours: bytes, expected: bool
) -> None:
    one, other = Likeness(0, bytes(27)), Likeness(lighter, colours)
    assert one.is_like(other) is other.is_like(one) is expected
    assert read_likeness(str(other)) == other


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("it fits", "it fits"),
        ("two\nlines", "two lines"),
        ("answered 401 Unauthorized, does", "answered 401…"),
        ("x" * 30, "x" * 19 + "…"),
    ],
)
def test_what_is_too_long_for_a_list_is_cut_between_words(text: str, short: str) -> None:
    assert shortened(text, most=20) == short

"""When the clock is believed, and what is not done while it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from artbot.domain.calendar import ClockMark, doubt_about
from artbot.errors import ClockDoubted
from artbot.worker import accept_clock, hold_epoch, keep_working
from db.engine import Database
from db.models import WorkplaceRow
from tests.unit.service.kit import NOON, SetClock

LAST = ClockMark(NOON, "boot-1", 1000.0)


def later(boot_id: str = "boot-1", ran_s: float | None = None, **elapsed: float) -> ClockMark:
    """What the clocks show after this much by the wall, and `ran_s` by the machine."""
    ahead = timedelta(**elapsed)
    ran_s = ahead.total_seconds() if ran_s is None else ran_s
    return ClockMark(NOON + ahead, boot_id, 1000.0 + ran_s)


def test_the_first_look_has_nothing_to_doubt() -> None:
    assert doubt_about(LAST, None) is None


@pytest.mark.parametrize(
    "now",
    [
        later(seconds=2),
        later(days=400),  # a daemon that ran, or slept, for all that time
        later(minutes=-4, ran_s=60),  # put right by a little
        later(hours=47, ran_s=0),
        later("boot-2", ran_s=-900, days=5),  # off for five days
        later("boot-2", ran_s=-900, days=30),
        later("", ran_s=-1000, days=5),  # no such clock on this machine
    ],
)
def test_a_clock_that_may_be_right_is_believed(now: ClockMark) -> None:
    assert doubt_about(now, LAST) is None


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (later(minutes=-6, ran_s=60), "2026-11-21 11:54 UTC, but artbot was at work at 2026"),
        (later(hours=-26, ran_s=60), "shows 2026-11-20 10:00 UTC, but"),
        (later("boot-2", days=-365), "but artbot was at work at 2026-11-21 12:00 UTC"),
        (later(hours=49, ran_s=60), "2 days more than have passed"),
        (later(days=365, ran_s=60), "364 days more than have passed"),
        (later("boot-2", days=365), "365 days after artbot was last at work"),
        (later("", ran_s=-1000, days=32), "32 days after"),
    ],
)
def test_a_clock_that_cannot_be_right_is_doubted_in_words(now: ClockMark, why: str) -> None:
    assert why in (doubt_about(now, LAST) or "")


def at_work(database: Database, clock: SetClock, boot: ClockMark) -> None:
    keep_working(database, clock, lambda: (boot.boot_id, boot.boot_s))


def test_a_worker_remembers_the_clock_and_waits_while_it_is_wrong(database: Database) -> None:
    clock = SetClock()
    with hold_epoch(database, "test", clock):
        at_work(database, clock, LAST)
        clock.advance(days=365)
        with pytest.raises(ClockDoubted, match="artbot clock --accept"):
            at_work(database, clock, LAST)
        clock.now = NOON + timedelta(minutes=2)
        at_work(database, clock, later(minutes=2))


def test_a_person_who_says_that_the_clock_is_right_is_believed(database: Database) -> None:
    clock = SetClock()
    with hold_epoch(database, "test", clock):
        at_work(database, clock, LAST)
    clock.advance(hours=-26)
    accept_clock(database, clock, lambda: ("boot-1", 1001.0))
    with hold_epoch(database, "test", clock):
        at_work(database, clock, ClockMark(clock(), "boot-1", 1002.0))


def test_a_look_at_the_clock_writes_only_now_and_then(database: Database) -> None:
    clock = SetClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
    with hold_epoch(database, "test", clock):
        seen = set()
        for second in range(0, 300, 2):
            clock.now = NOON + timedelta(seconds=second)
            at_work(database, clock, later(seconds=second))
            with database.read() as session:
                seen.add(session.get_one(WorkplaceRow, 1).clock_at)
    assert len(seen) == 5

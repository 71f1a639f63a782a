"""What a clock that was wrong leaves behind, and that nothing is posted twice or kept waiting by it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from artbot.domain.calendar import ClockMark, may_have_lost_time
from artbot.domain.delivery import LATE_EFFECT, Protection
from artbot.errors import ClockDoubted, NotAllowed
from artbot.publishing import clocks
from artbot.publishing.interventions import doubt_after_restore, resolve, withdraw
from artbot.workplace import Workplace
from tests.conftest import on_sqlite_only
from tests.unit.service.kit import (
    BEN,
    NOON,
    Desk,
    answers,
    attempts,
    deliveries,
    http_answer,
    interventions,
    serve,
    standing,
)

AHEAD = timedelta(hours=47)
"""A leap that is believed."""
HOUR = timedelta(hours=1)
UNDO = timedelta(minutes=10)
OK, BUSY, SILENT = http_answer(200), http_answer(503), b""
"""SILENT: the connection is closed without a word."""


def accept(desk: Desk) -> None:
    clocks.accept(desk.database, desk.protections, UNDO, BEN, desk.clock())


def set_back(desk: Desk, by: timedelta = AHEAD) -> None:
    desk.clock.now -= by
    accept(desk)


# What was put off


@pytest.mark.parametrize(("num_failures", "at_most_s"), [(1, 6), (2, 360), (3, 2160)])
def test_a_work_that_waits_for_a_wrong_time_waits_no_longer_than_its_attempts_ask_for(
    desk: Desk, num_failures: int, at_most_s: float
) -> None:
    desk.approve_one()
    desk.clock.now += AHEAD
    with serve(answers(BUSY)) as server:
        for _ in range(num_failures):
            assert len(desk.send(server.url)) == 1
            desk.clock.now = deliveries(desk.database)[0].next_at
    set_back(desk)
    (delivery,) = deliveries(desk.database)
    assert desk.clock() <= delivery.next_at <= desk.clock() + timedelta(seconds=at_most_s)


def test_an_approval_under_a_wrong_clock_goes_out_after_the_time_to_undo_it(desk: Desk) -> None:
    desk.undo_time = UNDO
    desk.clock.now += AHEAD
    desk.approve_one()
    set_back(desk)
    assert [d.next_at for d in deliveries(desk.database)] == [desk.clock() + UNDO]


def test_what_waits_as_long_as_it_should_waits_on(desk: Desk) -> None:
    desk.undo_time = timedelta(minutes=7)
    desk.approve_one()
    before = deliveries(desk.database)[0].next_at
    accept(desk)
    assert deliveries(desk.database)[0].next_at == before


def test_a_channel_rests_no_longer_than_its_failures_ask_for(desk: Desk) -> None:
    desk.approve_one()
    desk.clock.now += AHEAD
    with serve(answers(http_answer(503, Retry_After="86400"))) as server:
        desk.send(server.url)
    assert standing(desk.database).rests_until == desk.clock() + timedelta(days=1)
    set_back(desk)
    status = standing(desk.database)
    assert status.rests_until is not None
    assert status.rests_until <= desk.clock()
    assert status.failing_since == desk.clock()
    desk.clock.advance(seconds=10)
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]


def test_that_a_clock_was_accepted_is_written_down_with_who_did_it(desk: Desk) -> None:
    accept(desk)
    (entry,) = interventions(desk.database)
    assert (entry.act, entry.channel, entry.delivery_id) == ("resume", None, None)
    assert (entry.by, entry.at) == (BEN.by, NOON)


# What a person says about what was dated wrong


def uncertain_in_the_future(desk: Desk) -> int:
    """A work that went to a receiver that knows no repetition, whose answer was lost, by a clock that was
    ahead and is right now."""
    desk.recognises_for = None
    desk.approve_one()
    desk.clock.now += AHEAD
    with serve(answers(SILENT)) as server:
        desk.send(server.url)
    (delivery,) = deliveries(desk.database)
    assert delivery.state == "uncertain"
    set_back(desk)
    return delivery.id


def test_absent_is_believed_a_quarter_of_an_hour_after_the_clock_was_accepted(desk: Desk) -> None:
    number = uncertain_in_the_future(desk)
    with pytest.raises(NotAllowed, match=r"Look again in 1[56] minutes"):
        resolve(desk.database, number, False, None, BEN, desk.clock())
    desk.clock.now += LATE_EFFECT
    resolve(desk.database, number, False, None, BEN, desk.clock())
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]
        assert len(server.requests) == 1


def test_absent_is_believed_soon_although_a_wrong_clock_dated_the_restore(desk: Desk) -> None:
    """Else nobody could say so before the restore's date has come."""
    desk.recognises_for = None
    desk.approve_one()
    desk.clock.now += AHEAD
    doubt_after_restore(desk.database, desk.protections, None, None, BEN, desk.clock())
    set_back(desk)
    (delivery,) = deliveries(desk.database)
    with pytest.raises(NotAllowed, match=r"may have been on the wire .* again in 1[56] minutes"):
        resolve(desk.database, delivery.id, False, None, BEN, desk.clock())
    desk.clock.now += LATE_EFFECT
    assert resolve(desk.database, delivery.id, False, None, BEN, desk.clock()).state == "queued"


def test_after_absent_it_can_be_withdrawn(desk: Desk) -> None:
    number = uncertain_in_the_future(desk)
    desk.clock.now += LATE_EFFECT
    resolve(desk.database, number, False, None, BEN, desk.clock())
    assert withdraw(desk.database, number, BEN, desk.clock()).state == "cancelled"


def test_without_an_accepted_clock_a_date_in_the_future_is_waited_for(desk: Desk) -> None:
    desk.recognises_for = None
    desk.approve_one()
    desk.clock.now += AHEAD
    with serve(answers(SILENT)) as server:
        desk.send(server.url)
    desk.clock.now -= AHEAD
    with pytest.raises(NotAllowed, match="Look again in"):
        resolve(desk.database, deliveries(desk.database)[0].id, False, None, BEN, desk.clock())


def test_absent_said_by_a_clock_that_was_ahead_does_not_cover_what_is_sent_later(
    desk: Desk,
) -> None:
    """By its date it would cover the next two days. Nothing goes out but on a person's word."""
    desk.recognises_for = None
    desk.approve_one()
    desk.clock.now += AHEAD
    with serve(answers(SILENT)) as server:

        def tries() -> int:
            desk.send(server.url)
            return len(server.requests)

        def absent() -> None:
            desk.clock.now += LATE_EFFECT
            (delivery,) = deliveries(desk.database)
            resolve(desk.database, delivery.id, False, None, BEN, desk.clock())

        assert tries() == 1
        absent()
        set_back(desk, AHEAD + LATE_EFFECT)
        desk.clock.advance(minutes=11)  # a time to undo, to which its wait was shortened
        assert tries() == 1, "asked again: it may have been said before the attempt"
        absent()
        assert tries() == 2
        for _ in range(4):  # past the dates of the wrong clock
            desk.clock.advance(days=1)
            assert tries() == 2
    assert [d.state for d in deliveries(desk.database)] == ["uncertain"]


# A receiver that recognises a repetition for a while


def unknown(desk: Desk) -> None:
    desk.recognises_for = HOUR
    desk.approve_one()
    with serve(answers(SILENT)) as server:
        desk.send(server.url)
    assert [d.state for d in deliveries(desk.database)] == ["retry_wait"]


def test_within_its_time_and_by_a_clock_that_is_right_it_is_sent_again(desk: Desk) -> None:
    unknown(desk)
    desk.clock.advance(minutes=30)
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]


def test_after_a_clock_was_set_back_nobody_knows_how_long_ago_it_was(desk: Desk) -> None:
    """An hour passes, and the clock is set back by it: by the clock it was just now."""
    unknown(desk)
    accept(desk)
    assert [d.state for d in deliveries(desk.database)] == ["uncertain"]
    desk.clock.advance(minutes=10)
    with serve(answers(OK)) as server:
        assert desk.send(server.url) == []


def test_what_certainly_was_not_received_goes_on(desk: Desk) -> None:
    desk.recognises_for = HOUR
    desk.approve_one()
    with serve(answers(BUSY)) as server:
        desk.send(server.url)
    accept(desk)
    assert [d.state for d in deliveries(desk.database)] == ["retry_wait"]


def test_an_attempt_in_the_future_is_not_taken_for_a_recent_one() -> None:
    assert Protection(HOUR).recognises(timedelta(minutes=-4)), "so much a clock is put right"
    assert not Protection(HOUR).recognises(timedelta(minutes=-6))
    assert Protection(timedelta.max).recognises(-AHEAD)


@pytest.mark.parametrize(
    ("now", "is_lost"),
    [
        (ClockMark(NOON + HOUR, "one", 3600.0), False),
        (ClockMark(NOON + HOUR, "one", 3600.0 + 240), False),
        (ClockMark(NOON + HOUR, "one", 3600.0 + 360), True),  # set back meanwhile
        (
            ClockMark(NOON + 2 * HOUR, "one", 3600.0),
            False,
        ),  # set forward: nothing is younger than it looks
        (ClockMark(NOON + HOUR, "two", 10.0), True),  # off, for how long?
        (ClockMark(NOON + HOUR, "", 0.0), True),
    ],
)
def test_time_may_be_lost_by_setting_a_clock_back_and_by_being_off(
    now: ClockMark, is_lost: bool
) -> None:
    assert may_have_lost_time(now, ClockMark(NOON, "one", 0.0)) is is_lost
    assert not may_have_lost_time(now, None)


@pytest.fixture
def workplace(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """The desk's, whose machine says when it was started."""
    from artbot.config import Settings

    monkeypatch.setattr("artbot.publishing.channels.protections", lambda _: desk.protections)
    place = Workplace(Settings(root=tmp_path), desk.clock, lambda: ("one", 0.0))
    vars(place)["database"] = desk.database
    return place


@on_sqlite_only
@pytest.mark.parametrize(("window", "state"), [(HOUR, "uncertain"), (timedelta.max, "retry_wait")])
def test_a_machine_that_was_off_does_not_know_how_long(
    desk: Desk, workplace: Workplace, window: timedelta, state: str
) -> None:
    with workplace.work("daemon"):
        workplace.keep_working()
    unknown(desk)
    desk.recognises_for = window
    desk.clock.advance(seconds=5)
    again = Workplace(workplace.settings, desk.clock, lambda: ("two", 0.0))
    vars(again)["database"] = desk.database
    with again.work("daemon"):
        assert [d.state for d in deliveries(desk.database)] == [state]
        again.keep_working()
        assert again.check_clock() is None
    assert len(attempts(desk.database)) == 1


@on_sqlite_only
def test_a_clock_that_was_set_back_and_caught_up_unseen_is_noticed(
    desk: Desk, workplace: Workplace
) -> None:
    """Doubted, it is waited for; by its own reckoning nothing has happened then."""
    ran = 0.0
    place = Workplace(workplace.settings, desk.clock, lambda: ("one", ran))
    vars(place)["database"] = desk.database
    with place.work("daemon"):
        place.keep_working()
        unknown(desk)
        desk.clock.advance(hours=-2)
        ran = 60.0
        with pytest.raises(ClockDoubted):
            place.keep_working()
        desk.clock.advance(hours=2, minutes=1)
        ran += 2 * 3600.0
        place.keep_working()
        assert [d.state for d in deliveries(desk.database)] == ["uncertain"]

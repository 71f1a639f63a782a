"""A channel's queue: a slot for every work, moved, held back, missed. Nothing twice, nothing lost, no bunch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from artbot.domain.delivery import LATE_EFFECT, NO_PROTECTION
from artbot.domain.slots import Timetable, parse_slot
from artbot.errors import NotAllowed, UsageError
from artbot.pictures import quarantine, reinstate
from artbot.publishing import clocks
from artbot.publishing.interventions import (
    Actor,
    doubt_after_restore,
    pause_channel,
    replay,
    resolve,
    resume_channel,
    retry,
    withdraw,
)
from artbot.publishing.outbox import deliver_due
from artbot.publishing.queue import (
    LATE_AFTER,
    ChannelQueue,
    hold,
    move,
    read_queue,
    release,
    spread,
)
from artbot.publishing.work import Work
from artbot.review.decisions import approve, redo, undo
from db import chain
from db.models import Candidate, Delivery, Intervention
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    add_works,
    answers,
    deliveries,
    http_answer,
    interventions,
    run_at_once,
    serve,
)
from tests.unit.service.kit import move as walk

OK = http_answer(200, b"thanks")
BUSY = http_answer(503)
UNAUTHORIZED = http_answer(401)
UNDO = timedelta(minutes=10)
BERLIN = ZoneInfo("Europe/Berlin")


def day(number: int, at: str = "18:30") -> datetime:
    """A slot of that day of November 2026, in Berlin, whose clock is an hour ahead; today is the 21st."""
    return (
        datetime.fromisoformat(f"2026-11-{number:02d}T{at}").replace(tzinfo=BERLIN).astimezone(UTC)
    )


@pytest.fixture
def studio(desk: Desk) -> Desk:
    """Its channel sends one work a day."""
    desk.timetables["studio"] = daily("18:30")
    desk.undo_time = UNDO
    return desk


def daily(*times: str, zone: ZoneInfo = BERLIN) -> Timetable:
    return Timetable(tuple(parse_slot(f"daily {at}") for at in times), zone)


def approved(desk: Desk, count: int) -> list[int]:
    works = add_works(desk.database, desk.works, count)
    for work in works:
        approve(desk.review, work, ANNA)
    return works


def times(desk: Desk) -> list[datetime]:
    return [delivery.next_at for delivery in deliveries(desk.database)]


def states(desk: Desk) -> list[str]:
    return [delivery.state for delivery in deliveries(desk.database)]


def acts(desk: Desk) -> list[tuple[str, int | None]]:
    return [(entry.act, entry.delivery_id) for entry in interventions(desk.database)]


def send(desk: Desk, answer: bytes = OK) -> list[str]:
    with serve(answers(answer)) as server:
        return [sent.work[-2:] for sent in desk.send(server.url)]


def put(desk: Desk, number: int, state: str, **columns: object) -> None:
    """As the outbox or a fault leaves it."""
    with desk.database.write() as session:
        delivery = session.get_one(Delivery, number)
        for name, value in columns.items():
            setattr(delivery, name, value)
        walk(session, delivery, state)


# Allotting


def test_works_take_the_next_free_slots_in_the_order_of_their_approval(studio: Desk) -> None:
    approved(studio, 3)
    assert times(studio) == [day(21), day(22), day(23)]
    assert acts(studio) == [], "an approval is a decision, and logged as one"


def test_without_slots_a_work_goes_out_when_its_undo_time_is_over(studio: Desk) -> None:
    studio.channels = ("studio", "friends")
    approved(studio, 2)
    going = [(d.channel, d.next_at) for d in deliveries(studio.database)]
    assert going == [
        ("studio", day(21)),
        ("friends", NOON + UNDO),
        ("studio", day(22)),
        ("friends", NOON + UNDO),
    ]


def test_a_slot_within_the_undo_time_is_too_soon(studio: Desk) -> None:
    studio.clock.now = day(21) - UNDO
    approved(studio, 1)
    assert times(studio) == [day(22)]


def test_two_approvals_at_once_get_two_slots(studio: Desk) -> None:
    one, two = add_works(studio.database, studio.works, 2)
    run_at_once(*(partial(approve, studio.review, work, ANNA) for work in (one, two)))
    assert sorted(times(studio)) == [day(21), day(22)]


def test_where_the_clocks_are_set_the_slot_keeps_its_local_time(studio: Desk) -> None:
    """Berlin, 29 March 2027: 18:30 is an hour sooner in UTC from then on; 02:30 does not exist."""
    studio.timetables["studio"] = daily("02:30", "18:30")
    studio.clock.now = datetime(2027, 3, 27, 12, tzinfo=UTC)
    approved(studio, 3)
    assert [f"{at.astimezone(BERLIN):%d %H:%M %Z}" for at in times(studio)] == [
        "27 18:30 CET",
        "28 03:30 CEST",
        "28 18:30 CEST",
    ]


def test_what_may_be_posted_already_takes_no_slot(studio: Desk) -> None:
    works = add_works(studio.database, studio.works, 2)
    studio.recognises_for = None
    doubt_after_restore(studio.database, {"studio": NO_PROTECTION}, None, None, BEN, NOON)
    approve(studio.review, works[0], ANNA)
    assert [(d.state, d.next_at) for d in deliveries(studio.database)] == [
        ("uncertain", NOON + UNDO)
    ]


def test_a_work_that_is_taken_back_gives_its_slot_to_the_next(studio: Desk) -> None:
    one, _ = approved(studio, 2)
    undo(studio.review, one, ANNA)
    withdraw(studio.database, 2, BEN, NOON)
    approve(studio.review, one, ANNA)
    assert [(d.state, d.next_at) for d in deliveries(studio.database)] == [
        ("queued", day(21)),
        ("cancelled", day(22)),
    ]


def test_ten_years_of_slots_that_are_taken_are_said(
    studio: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artbot.domain.slots.LONGEST_LOOK", timedelta(days=1))
    works = add_works(studio.database, studio.works, 3)
    for work in works[:2]:
        approve(studio.review, work, ANNA)
    with pytest.raises(NotAllowed, match="every slot of studio is taken for ten years"):
        approve(studio.review, works[2], ANNA)
    assert len(deliveries(studio.database)) == 2


def test_a_slot_sends_its_work_when_it_has_come_and_not_before(studio: Desk) -> None:
    approved(studio, 2)
    studio.clock.now = day(21) - timedelta(seconds=1)
    assert send(studio) == []
    studio.clock.now = day(21)
    assert send(studio) == ["01"]
    assert times(studio)[1] == day(22)


def test_a_retry_keeps_the_schedule_of_retries_and_its_slot_is_free(studio: Desk) -> None:
    works = add_works(studio.database, studio.works, 2)
    approve(studio.review, works[0], ANNA)
    studio.clock.now = day(21)
    send(studio, BUSY)
    assert [(d.state, d.next_at) for d in deliveries(studio.database)] == [
        ("retry_wait", day(21) + timedelta(seconds=5))
    ]
    approve(studio.review, works[1], ANNA)
    assert times(studio)[1] == day(22)


# Moving


def test_a_work_is_moved_to_the_next_slot_that_is_free_sooner_or_later(studio: Desk) -> None:
    approved(studio, 3)
    withdraw(studio.database, 1, BEN, NOON)
    assert move(studio.database, studio.timetables, 3, None, BEN, NOON).next_at == day(21)
    assert move(studio.database, studio.timetables, 3, None, BEN, NOON).next_at == day(23)
    reasons = [entry.reason for entry in interventions(studio.database) if entry.act == "move"]
    assert reasons == [
        "from 2026-11-23 18:30 CET to 2026-11-21 18:30 CET",
        "from 2026-11-21 18:30 CET to 2026-11-23 18:30 CET",
    ]
    with studio.database.read() as session:
        assert chain.first_broken(session, Intervention) is None


def test_a_work_is_moved_to_any_time_to_come(studio: Desk) -> None:
    approved(studio, 1)
    christmas = datetime(2026, 12, 24, 17, tzinfo=UTC)
    actor = Actor("ben", "test", "it snows")
    assert move(studio.database, studio.timetables, 1, christmas, actor, NOON).next_at == christmas
    (entry,) = interventions(studio.database)
    assert entry.reason == "from 2026-11-21 18:30 CET to 2026-12-24 18:00 CET: it snows"
    approve(studio.review, add_another(studio), ANNA)
    assert times(studio)[1] == day(21), "its slot is free again"
    move(studio.database, {}, 1, NOON + UNDO, BEN, NOON)
    assert times(studio)[0] == NOON + UNDO, "without slots as well"


def add_another(desk: Desk) -> int:
    """One more candidate of the same batch."""
    with desk.database.write() as session:
        first = session.get_one(Candidate, 1)
        columns = {c.key: getattr(first, c.key) for c in Candidate.__table__.columns}
        for name in ("id", "title", "alt", "caption", "approved_at"):
            del columns[name]
        other = Candidate(**columns | {"index": 90, "name": "daily-90", "state": "planned"})
        session.add(other)
        session.flush()
        other.state = "pending"
        session.flush()
        return other.id


def test_where_it_is_already_a_work_stays_without_a_word(studio: Desk) -> None:
    approved(studio, 1)
    move(studio.database, studio.timetables, 1, day(21), BEN, NOON)
    assert acts(studio) == []


def test_a_slot_that_is_taken_is_refused_with_who_has_it(studio: Desk) -> None:
    approved(studio, 2)
    for at in (day(21), day(21, "20:00")):
        move(studio.database, studio.timetables, 1, at, BEN, NOON)
        with pytest.raises(NotAllowed, match=r"taken by delivery 1 \(daily-2026-11-21-01\)"):
            move(studio.database, studio.timetables, 2, at, BEN, NOON)
    assert times(studio)[1] == day(22)


@pytest.mark.parametrize("at", [NOON, NOON - timedelta(days=1)])
def test_nothing_is_moved_to_the_past(studio: Desk, at: datetime) -> None:
    approved(studio, 1)
    with pytest.raises(UsageError, match=r"that time is past\. To send it now: artbot queue now 1"):
        move(studio.database, studio.timetables, 1, at, BEN, NOON)
    with pytest.raises(UsageError, match="there is no delivery 9"):
        move(studio.database, studio.timetables, 9, day(22), BEN, NOON)


def test_what_does_not_wait_for_its_first_time_is_not_moved(studio: Desk) -> None:
    approved(studio, 1)
    hold(studio.database, 1, BEN, NOON)
    refused(studio, "delivery 1 is on hold. Let it go first: artbot queue release 1")
    release(studio.database, studio.timetables, 1, BEN, NOON)
    put(studio, 1, "retry_wait")
    refused(studio, "is tried again by the schedule of retries.*artbot queue hold 1")
    put(studio, 1, "failed")
    refused(studio, "delivery 1 is failed: there is nothing to move")


def refused(desk: Desk, words: str) -> None:
    with pytest.raises(NotAllowed, match=words):
        move(desk.database, desk.timetables, 1, day(25), BEN, NOON)


def test_without_slots_none_is_the_next(desk: Desk) -> None:
    desk.undo_time = UNDO
    approved(desk, 1)
    with pytest.raises(NotAllowed, match="studio has no slots: give a time"):
        move(desk.database, {}, 1, None, BEN, NOON)


# On hold


def test_what_is_on_hold_gives_its_slot_back_and_is_not_sent(studio: Desk) -> None:
    approved(studio, 1)
    assert hold(studio.database, 1, BEN, NOON).on_hold
    hold(studio.database, 1, BEN, NOON)
    assert acts(studio) == [("hold", 1)], "twice is once"
    approve(studio.review, add_another(studio), ANNA)
    assert times(studio) == [day(21), day(21)]
    studio.clock.now = day(21)
    assert send(studio) == ["90"]
    assert states(studio) == ["queued", "delivered"]


def test_released_it_takes_the_slot_it_had_while_that_is_free(studio: Desk) -> None:
    approved(studio, 3)
    for _ in range(2):
        for number in (1, 2, 3):
            hold(studio.database, number, BEN, NOON)
        for number in (1, 2, 3):
            release(studio.database, studio.timetables, number, BEN, NOON)
        assert times(studio) == [day(21), day(22), day(23)]
    hold(studio.database, 1, BEN, NOON)
    move(studio.database, studio.timetables, 3, day(21), BEN, NOON)
    release(studio.database, studio.timetables, 1, BEN, NOON)
    assert times(studio) == [day(23), day(22), day(21)]


def test_released_it_takes_the_next_free_slot(studio: Desk) -> None:
    approved(studio, 2)
    hold(studio.database, 1, BEN, NOON)
    studio.clock.advance(days=30)
    put(studio, 2, "queued", next_at=day(21) + timedelta(days=30))
    free = release(studio.database, studio.timetables, 1, BEN, studio.clock())
    assert (free.on_hold, free.next_at) == (False, day(22) + timedelta(days=30))
    release(studio.database, studio.timetables, 1, BEN, studio.clock())
    assert acts(studio) == [("hold", 1), ("release", 1)]


def test_without_slots_it_goes_out_when_it_is_released(desk: Desk) -> None:
    desk.undo_time = UNDO
    approved(desk, 1)
    hold(desk.database, 1, BEN, NOON)
    assert release(desk.database, {}, 1, BEN, NOON).next_at == NOON + UNDO, "and not before"
    hold(desk.database, 1, BEN, NOON)
    later = NOON + timedelta(hours=1)
    assert release(desk.database, {}, 1, BEN, later).next_at == later


def test_a_retry_on_hold_waits_and_then_goes_on_with_its_schedule(studio: Desk) -> None:
    approved(studio, 1)
    studio.clock.now = day(21)
    send(studio, BUSY)
    hold(studio.database, 1, BEN, studio.clock())
    studio.clock.advance(hours=1)
    assert send(studio) == []
    released = release(studio.database, studio.timetables, 1, BEN, studio.clock())
    assert (released.state, released.next_at) == ("retry_wait", studio.clock())
    assert send(studio) == ["01"]


@pytest.mark.parametrize("state", ["sending", "delivered", "uncertain", "held", "failed", "dead"])
def test_only_what_waits_is_put_on_hold(desk: Desk, state: str) -> None:
    approved(desk, 1)
    put(desk, 1, state, delivered_at=NOON)
    with pytest.raises(NotAllowed, match="only what waits to be sent can be put on hold"):
        hold(desk.database, 1, BEN, NOON)
    with pytest.raises(NotAllowed, match="it is not on hold"):
        release(desk.database, {}, 1, BEN, NOON)
    assert acts(desk) == []


def test_put_on_hold_in_the_moment_of_its_claim_it_is_not_sent(studio: Desk) -> None:
    """The worker has read it as due; a person is faster by one transaction."""
    approved(studio, 1)
    studio.clock.now = day(21)

    def held_meanwhile(work: Work) -> Work:
        hold(studio.database, 1, BEN, studio.clock())
        return work

    with serve(answers(OK)) as server:
        outbox = studio.outbox(server.url)
        outlet = replace(outbox.outlets["studio"], sign=held_meanwhile)
        outbox = replace(outbox, outlets={"studio": outlet})
        assert deliver_due(outbox, lambda sent: None, lambda: False) == 0
        assert server.requests == []
    assert states(studio) == ["queued"]


def test_undone_withdrawn_and_approved_again_it_begins_anew(studio: Desk) -> None:
    works = approved(studio, 2)
    for number in (1, 2):
        hold(studio.database, number, BEN, NOON)
    undo(studio.review, works[0], ANNA)
    withdraw(studio.database, 2, BEN, NOON)
    assert [(d.state, d.on_hold) for d in deliveries(studio.database)] == [("cancelled", False)] * 2
    approve(studio.review, works[0], ANNA)
    again = deliveries(studio.database)[0]
    assert (again.state, again.on_hold, again.next_at) == ("queued", False, day(21))


def test_it_stays_on_hold_through_a_pause_a_quarantine_and_a_restore(studio: Desk) -> None:
    approved(studio, 1)
    hold(studio.database, 1, BEN, NOON)
    pause_channel(studio.database, "studio", BEN, NOON)
    resume_channel(studio.database, "studio", BEN, NOON, studio.timetables)
    with studio.database.write() as session:
        work = session.get_one(Candidate, 1)
        quarantine(session, work, "gone", "test", NOON)
        reinstate(session, work, "test", NOON, studio.requeue)
    doubtful = doubt_after_restore(
        studio.database, {"studio": NO_PROTECTION}, None, None, BEN, NOON
    )
    assert [(d.state, d.on_hold) for d in doubtful] == [("uncertain", True)]
    later = NOON + LATE_EFFECT
    resolve(studio.database, 1, False, None, BEN, later, studio.timetables)
    studio.clock.now = day(25)
    assert send(studio) == []
    assert [(d.state, d.on_hold) for d in deliveries(studio.database)] == [("queued", True)]
    release(studio.database, studio.timetables, 1, BEN, studio.clock())
    assert times(studio) == [day(26)]


def test_an_uncertain_one_that_was_posted_is_on_hold_no_more(desk: Desk) -> None:
    approved(desk, 1)
    hold(desk.database, 1, BEN, NOON)
    put(desk, 1, "uncertain")
    assert release(desk.database, {}, 1, BEN, NOON).state == "uncertain", "it may be let go before"
    put(desk, 1, "uncertain", on_hold=True)
    assert not resolve(desk.database, 1, True, None, BEN, NOON).on_hold


def test_sent_now_it_is_on_hold_no_more(studio: Desk) -> None:
    approved(studio, 1)
    hold(studio.database, 1, BEN, NOON)
    sent = retry(studio.database, 1, BEN, NOON)
    assert (sent.on_hold, sent.next_at) == (False, NOON)
    assert send(studio) == ["01"]


# Slots that were missed


def test_after_slots_that_were_missed_one_work_goes_out_and_the_others_wait_anew(
    studio: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    approved(studio, 4)
    studio.clock.now = day(23, "20:00")  # off since the 21st
    with caplog.at_level("INFO", "artbot"):
        assert send(studio) == ["01"]
    assert caplog.messages[0] == (
        "daily-2026-11-21-02 to studio missed its time, and goes out 2026-11-25T17:30+00:00"
    )
    assert times(studio)[1:] == [day(25), day(26), day(24)]
    moved = interventions(studio.database)
    assert [(e.act, e.delivery_id, e.by, e.via) for e in moved] == [
        ("move", 2, "artbot", "publishing"),
        ("move", 3, "artbot", "publishing"),
    ]
    assert moved[0].reason == (
        "from 2026-11-22 18:30 CET to 2026-11-25 18:30 CET: "
        "its time passed while nothing could be sent"
    )
    assert send(studio) == []


@pytest.mark.parametrize(("late", "expected"), [(timedelta(), ["01", "02"]), (LATE_AFTER, ["01"])])
def test_a_worker_that_was_busy_for_a_moment_is_no_reason(
    studio: Desk, late: timedelta, expected: list[str]
) -> None:
    """Two slots five minutes apart, both due: the second has not missed its time yet."""
    studio.timetables["studio"] = daily("18:30", "18:35")
    approved(studio, 2)
    studio.clock.now = day(21, "18:36") + late
    assert send(studio) == expected


def put_aside(desk: Desk, work: int) -> None:
    with desk.database.write() as session:
        quarantine(session, session.get_one(Candidate, work), "gone", "test", desk.clock())


def put_right(desk: Desk, work: int) -> None:
    with desk.database.write() as session:
        candidate = session.get_one(Candidate, work)
        reinstate(session, candidate, "test", desk.clock(), desk.requeue)


def test_back_from_quarantine_a_work_has_its_slot_again(studio: Desk) -> None:
    approved(studio, 2)
    put_aside(studio, 1)
    put_right(studio, 1)
    assert times(studio) == [day(21), day(22)]
    assert acts(studio) == []


def test_unless_another_work_was_given_it_meanwhile(studio: Desk) -> None:
    works = add_works(studio.database, studio.works, 2)
    approve(studio.review, works[0], ANNA)
    put_aside(studio, works[0])
    approve(studio.review, works[1], ANNA)
    put_right(studio, works[0])
    assert times(studio) == [day(22), day(21)]
    (moved,) = interventions(studio.database)
    assert (moved.act, moved.by, moved.reason) == (
        "move",
        "artbot",
        "from 2026-11-21 18:30 CET to 2026-11-22 18:30 CET: another work was given its time while it was held",
    )


def test_or_its_slot_has_passed(studio: Desk) -> None:
    """It does not go out five minutes after another work did."""
    approved(studio, 3)
    put_aside(studio, 1)
    studio.clock.now = day(22)
    assert send(studio) == ["02"]
    studio.clock.advance(minutes=5)
    put_right(studio, 1)
    assert times(studio) == [day(24), day(22), day(23)]
    assert send(studio) == []


def test_or_it_was_tried_at_it_and_the_time_of_its_retry_is_no_slot(studio: Desk) -> None:
    works = approved(studio, 1)
    studio.clock.now = day(21)
    send(studio, BUSY)
    put_aside(studio, works[0])
    put_right(studio, works[0])
    assert [(d.state, d.next_at) for d in deliveries(studio.database)] == [("queued", day(22))]


def test_or_a_person_said_now(studio: Desk) -> None:
    works = approved(studio, 2)
    retry(studio.database, 1, BEN, NOON)
    put_aside(studio, works[0])
    studio.clock.advance(days=2)
    send(studio)
    put_right(studio, works[0])
    assert send(studio) == ["01"]


def test_what_a_person_sent_now_and_the_channel_refused_goes_out_when_that_is_resumed(
    studio: Desk,
) -> None:
    approved(studio, 2)
    retry(studio.database, 1, BEN, NOON)
    send(studio, UNAUTHORIZED)
    assert states(studio) == ["held", "queued"]
    resume_channel(studio.database, "studio", BEN, studio.clock(), studio.timetables)
    assert send(studio) == ["01"]
    assert times(studio)[1] == day(22)


def test_works_that_come_back_from_quarantine_are_no_bunch(studio: Desk) -> None:
    works = approved(studio, 3)
    for work in works:
        put_aside(studio, work)
    studio.clock.now = day(25)
    for work in works:
        put_right(studio, work)
    assert send(studio) == []
    assert times(studio) == [day(26), day(27), day(28)]


def test_works_whose_pictures_could_not_be_read_for_days_are_no_bunch(studio: Desk) -> None:
    """The disk with the works is not mounted: every five minutes they are looked at again."""
    approved(studio, 3)
    away = studio.works.with_name("away")
    studio.works.rename(away)
    for number in (21, 22, 23):
        studio.clock.now = day(number)
        for _ in range(2):
            send(studio)
            studio.clock.advance(minutes=6)
    away.rename(studio.works)
    assert send(studio) == ["01"]
    assert min(times(studio)[1:]) == day(24)


def test_works_queued_before_the_channel_had_slots_are_no_bunch(desk: Desk) -> None:
    desk.undo_time = UNDO
    approved(desk, 3)
    desk.timetables["studio"] = daily("18:30")
    desk.clock.advance(hours=1)
    assert send(desk) == ["01"]
    assert times(desk)[1:] == [day(21), day(22)]


def test_what_a_person_sends_now_goes_out_however_late_it_is(studio: Desk) -> None:
    approved(studio, 3)
    for number in (2, 3):
        retry(studio.database, number, BEN, NOON)
    studio.clock.advance(days=2)
    assert sorted(send(studio)) == ["01", "02", "03"]
    assert acts(studio) == [("retry", 2), ("retry", 3)]


def test_but_that_was_said_of_an_earlier_approval(studio: Desk) -> None:
    works = approved(studio, 2)
    retry(studio.database, 2, BEN, NOON)
    undo(studio.review, works[1], ANNA)
    studio.clock.advance(hours=-1)  # what came after what does not hang on the clock
    approve(studio.review, works[1], ANNA)
    studio.clock.now = day(23)
    assert send(studio) == ["01"]


@pytest.mark.parametrize("back", [timedelta(), timedelta(hours=1)])
def test_what_a_person_says_after_an_approval_holds_however_the_clock_was_set_meanwhile(
    studio: Desk, back: timedelta
) -> None:
    studio.clock.advance(hours=1)
    approved(studio, 4)
    studio.clock.now -= back
    christmas = datetime(2026, 12, 24, 17, tzinfo=UTC)
    move(studio.database, studio.timetables, 1, christmas, BEN, studio.clock())
    accept(studio)
    assert times(studio)[0] == christmas
    for number in (3, 4):
        retry(studio.database, number, BEN, studio.clock())
    studio.clock.now = day(25)
    assert sorted(send(studio)) == ["02", "03", "04"]


def test_a_time_that_was_given_to_an_earlier_approval_is_not_a_later_ones(studio: Desk) -> None:
    works = approved(studio, 1)
    christmas = datetime(2026, 12, 24, 17, tzinfo=UTC)
    move(studio.database, studio.timetables, 1, christmas, BEN, NOON)
    undo(studio.review, works[0], ANNA)
    approve(studio.review, works[0], ANNA)
    undo(studio.review, works[0], ANNA)
    redo(studio.review, works[0], ANNA)
    assert times(studio) == [day(21)]


def test_a_replay_goes_out_whole(studio: Desk) -> None:
    approved(studio, 3)
    for number in (21, 22, 23):
        studio.clock.now = day(number)
        send(studio)
    replay(studio.database, "studio", studio.protections, NOON, BEN, studio.clock())
    studio.clock.advance(hours=1)
    assert len(send(studio)) == 3


def test_a_retry_that_is_due_goes_out_besides(studio: Desk) -> None:
    approved(studio, 3)
    studio.clock.now = day(21)
    send(studio, BUSY)
    studio.clock.now = day(24)
    assert send(studio) == ["01", "02"]
    assert times(studio)[2] == day(25)


def test_while_the_channel_is_closed_nothing_is_moved(studio: Desk) -> None:
    approved(studio, 2)
    pause_channel(studio.database, "studio", BEN, NOON)
    assert spread(studio.database, studio.timetables, day(25)) == []
    assert times(studio) == [day(21), day(22)]


def test_a_channel_that_is_resumed_gives_what_it_held_its_places(studio: Desk) -> None:
    """401 held the first; the others' slots passed meanwhile."""
    approved(studio, 4)
    studio.clock.now = day(21)
    send(studio, UNAUTHORIZED)
    assert states(studio) == ["held", "queued", "queued", "queued"]
    studio.clock.now = day(23, "20:00")
    assert resume_channel(studio.database, "studio", BEN, studio.clock(), studio.timetables) == 1
    assert times(studio) == [day(25), day(22), day(26), day(24)]
    assert send(studio) == ["02"]
    assert [act for act, _ in acts(studio)] == [
        "pause",
        "pause",
        "resume",
        "resume",
        "move",
        "move",
    ]


def test_a_work_that_no_slot_is_left_for_goes_out(
    studio: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better than a worker that stands still."""
    approved(studio, 2)
    studio.clock.now = day(25)
    monkeypatch.setattr("artbot.publishing.queue.next_free", lambda *_: None)
    assert send(studio) == ["01", "02"]


def test_what_was_found_absent_takes_a_slot_like_everything_else(studio: Desk) -> None:
    """After a restore there may be many of them."""
    approved(studio, 2)
    doubt_after_restore(studio.database, {"studio": NO_PROTECTION}, None, None, BEN, NOON)
    for number in (1, 2):
        resolve(studio.database, number, False, None, BEN, NOON + LATE_EFFECT, studio.timetables)
    assert times(studio) == [day(21), day(22)]


# A clock that was wrong


def accept(desk: Desk) -> None:
    clocks.accept(desk.database, desk.protections, UNDO, BEN, desk.clock(), desk.timetables)


def test_an_accepted_clock_arranges_what_waits_anew_in_its_order(studio: Desk) -> None:
    studio.clock.advance(days=20)
    approved(studio, 3)
    move(studio.database, studio.timetables, 1, None, BEN, studio.clock())  # behind the third
    studio.clock.now = NOON
    accept(studio)
    assert times(studio) == [day(23), day(21), day(22)]


def test_a_time_that_a_person_gave_stays(studio: Desk) -> None:
    studio.channels = ("studio", "friends")
    christmas = datetime(2026, 12, 24, 17, tzinfo=UTC)
    approved(studio, 2)
    for number in (1, 2):  # to the studio and to friends, who have no slots
        move(studio.database, studio.timetables, number, christmas, BEN, NOON)
    accept(studio)
    assert times(studio) == [christmas, christmas, day(21), NOON + UNDO]


def test_what_was_to_go_out_now_by_a_wrong_clock_goes_out_soon(studio: Desk) -> None:
    approved(studio, 1)
    retry(studio.database, 1, BEN, NOON + timedelta(days=20))
    accept(studio)
    assert times(studio) == [NOON + UNDO]


@pytest.mark.parametrize("comes_back", ["repaired", "resumed"])
def test_what_was_held_meanwhile_waits_for_no_slot_of_the_wrong_clock(
    studio: Desk, comes_back: str
) -> None:
    studio.clock.advance(days=20)
    works = approved(studio, 3)
    move(studio.database, studio.timetables, 3, day(22, "20:00"), BEN, NOON)
    for work in (works[0], works[2]):
        put_aside(studio, work)
    if comes_back == "resumed":
        with studio.database.write() as session:  # its picture is whole, its channel is not
            session.get_one(Candidate, 1).state = "approved"
    studio.clock.now = NOON
    accept(studio)
    if comes_back == "resumed":
        resume_channel(studio.database, "studio", BEN, NOON, studio.timetables)
    else:
        put_right(studio, works[0])
    put_right(studio, works[2])
    assert times(studio) == [day(22), day(21), day(22, "20:00")], "the last was given by a person"


def test_nor_does_it_where_there_are_no_slots(desk: Desk) -> None:
    desk.undo_time = UNDO
    desk.clock.advance(days=20)
    (work,) = approved(desk, 1)
    put_aside(desk, work)
    desk.clock.now = NOON
    accept(desk)
    put_right(desk, work)
    assert times(desk) == [NOON + UNDO]


def test_what_is_on_hold_stays_so(studio: Desk) -> None:
    approved(studio, 2)
    hold(studio.database, 1, BEN, NOON)
    accept(studio)
    assert [d.on_hold for d in deliveries(studio.database)] == [True, False]
    assert times(studio)[1] == day(21)


# Looking


def queue(desk: Desk, days: int = 3) -> ChannelQueue:
    (found,) = read_queue(desk.database, ["studio"], desk.timetables, desk.clock(), days)
    return found


def entries(found: ChannelQueue) -> list[tuple[datetime, int | None, bool]]:
    return [(e.at, e.delivery and e.delivery.id, e.is_slot) for e in found.entries]


def test_the_queue_shows_works_gaps_and_what_goes_out_besides(studio: Desk) -> None:
    approved(studio, 3)
    move(studio.database, studio.timetables, 1, day(22, "09:00"), BEN, NOON)
    assert entries(queue(studio)) == [
        (day(21), None, True),
        (day(22, "09:00"), 1, False),
        (day(22), 2, True),
        (day(23), 3, True),
    ]
    assert queue(studio, days=1).later[0].id == 2


def test_the_queue_shows_what_is_due_held_and_on_hold(studio: Desk) -> None:
    approved(studio, 4)
    hold(studio.database, 2, Actor("ben", "test", "too dark"), NOON)
    put(studio, 3, "held")
    studio.clock.now = day(21, "19:00")
    found = queue(studio, 2)
    assert [d.id for d in found.due] == [1]
    assert [(d.id, d.interventions[-1].reason) for d in found.on_hold] == [(2, "too dark")]
    assert found.num_held == 1
    assert found.standing is None
    assert entries(found) == [(day(22), None, True), (day(23), None, True)]
    assert [d.id for d in found.later] == [4]


def test_without_slots_there_are_no_gaps(desk: Desk) -> None:
    desk.undo_time = UNDO
    approved(desk, 1)
    assert entries(queue(desk)) == [(NOON + UNDO, 1, False)]

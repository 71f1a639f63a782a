"""The story of one work keeps the order of its logs, whatever the clocks showed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from artbot.errors import UsageError
from artbot.publishing.interventions import pause_channel, replay, resume_channel
from artbot.review.decisions import approve, give_stars, put_off, redo, undo
from artbot.upkeep.story import tell
from db.models import Candidate
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    add_works,
    answers,
    http_answer,
    serve,
    standing,
)


def whats(desk: Desk, work: int) -> list[str]:
    return [event.what for event in tell(desk.database, work)[1]]


def test_what_happened_after_the_clock_was_set_back_is_told_after_what_was_before(
    desk: Desk,
) -> None:
    desk.clock.advance(days=365)
    work = desk.approve_one()
    desk.clock.now = NOON
    undo(desk.review, work, ANNA)
    approve(desk.review, work, ANNA)
    desk.clock.advance(minutes=1)
    with serve(answers(http_answer(503), http_answer(200))) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["retry_wait"]
        desk.clock.advance(days=-30)
        resume_channel(desk.database, "studio", BEN, desk.clock())
        with desk.database.write() as session:
            session.connection().exec_driver_sql(
                "UPDATE deliveries SET next_at = '2026-01-01T00:00:00.000000Z'"
            )
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]
    assert whats(desk, work) == [
        *("due", "planned", "painted"),
        *("approved", "queued", "pending", "approved"),
        *("sent", "unavailable", "sent", "delivered"),
    ]


def test_nothing_of_a_delivery_is_told_before_the_approval_that_made_it(desk: Desk) -> None:
    """The approval's clock ran a year ahead, and the sending's did not."""
    desk.clock.advance(days=365)
    work = desk.approve_one()
    desk.clock.now = NOON
    with desk.database.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE deliveries SET next_at = '2026-01-01T00:00:00.000000Z'"
        )
    with serve(answers(http_answer(200))) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]
    assert whats(desk, work) == [
        *("due", "planned", "painted", "approved", "queued", "sent", "delivered"),
    ]


def test_what_was_done_to_its_channel_is_part_of_the_story(desk: Desk) -> None:
    work = desk.approve_one()
    desk.clock.advance(minutes=1)
    pause_channel(desk.database, "studio", BEN, desk.clock())
    _, events = tell(desk.database, work)
    assert [event.what for event in events][-3:] == ["queued", "pause", "next try"]
    assert events[-2].words == "channel studio by ben, active → paused"
    assert "once it is resumed: it is paused, paused by ben" in events[-1].words
    desk.clock.advance(minutes=1)
    resume_channel(desk.database, "studio", BEN, desk.clock())
    assert whats(desk, work)[-3:] == ["pause", "resume", "next try"]


def test_a_channel_that_rests_is_named_as_the_reason_of_the_wait(desk: Desk) -> None:
    work = desk.approve_one()
    with serve(answers(http_answer(503))) as server:
        for _ in range(6):
            desk.send(server.url)
            desk.clock.advance(days=1)
    rests_until = standing(desk.database).rests_until
    assert rests_until is not None
    with desk.database.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE deliveries SET next_at = '2026-01-01T00:00:00.000000Z'"
        )
    last = tell(desk.database, work)[1][-1]
    assert (last.what, last.at) == ("next try", rests_until)
    assert "which rests after" in last.words


def told(desk: Desk, work: int) -> list[str]:
    return [f"{event.what} {event.words}" for event in tell(desk.database, work)[1]]


def test_a_batch_that_was_made_ahead_of_its_time_is_planned_before_it_is_due(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    with desk.database.write() as session:
        session.get_one(Candidate, work).batch.due_at = NOON + timedelta(hours=4)
    first, second = told(desk, work)
    assert first.startswith(
        "planned batch daily-2026-11-21 of schedule daily, before it was due; seed"
    )
    assert second.startswith("painted")


def test_what_was_done_to_its_channel_when_it_waited_for_nothing_there_is_no_part_of_it(
    desk: Desk,
) -> None:
    """Before it was approved, after it was delivered, after it was taken back."""
    taken_back, work = add_works(desk.database, desk.works, 2)

    def stop_and_go() -> None:
        desk.clock.advance(minutes=1)
        pause_channel(desk.database, "studio", BEN, desk.clock())
        desk.clock.advance(minutes=1)
        resume_channel(desk.database, "studio", BEN, desk.clock())
        desk.clock.advance(minutes=1)

    stop_and_go()
    approve(desk.review, taken_back, ANNA)
    undo(desk.review, taken_back, ANNA)
    approve(desk.review, work, ANNA)
    with serve(answers(http_answer(200))) as server:
        desk.send(server.url)
    stop_and_go()
    made = ("due", "planned", "painted", "approved", "queued")
    assert whats(desk, work) == [*made, "sent", "delivered"]
    assert whats(desk, taken_back) == [*made, "pending"]


def test_what_is_sent_again_waits_again_for_its_channel(desk: Desk) -> None:
    work = desk.approve_one()
    with serve(answers(http_answer(200))) as server:
        desk.send(server.url)
    desk.clock.advance(minutes=1)
    replay(desk.database, "studio", desk.protections, NOON, BEN, desk.clock())
    desk.clock.advance(minutes=1)
    pause_channel(desk.database, "studio", BEN, desk.clock())
    assert whats(desk, work)[-4:] == ["delivered", "replay", "pause", "next try"]


def test_a_channel_that_was_paused_when_the_work_was_approved_is_told_there(desk: Desk) -> None:
    why = replace(BEN, reason="we are moving")
    pause_channel(desk.database, "studio", why, NOON - timedelta(days=3))
    work = desk.approve_one()
    assert told(desk, work)[-2].endswith(", while studio is paused: we are moving")
    desk.clock.advance(minutes=1)
    resume_channel(desk.database, "studio", BEN, desk.clock())
    assert whats(desk, work)[3:] == ["approved", "queued", "resume", "next try"]


def test_a_rest_of_its_channel_is_told_with_what_led_to_it(desk: Desk) -> None:
    waiting = add_works(desk.database, desk.works, 6)
    for work in waiting:
        approve(desk.review, work, ANNA)
    with serve(answers(http_answer(503))) as server:
        desk.send(server.url)
    rest = "rest channel studio by artbot: 5 failures in a row: answered 503 Some Reason"
    assert told(desk, waiting[4])[-4:-1] == [
        "sent to studio, by worker 0",
        "unavailable by studio, status 503: answered 503 Some Reason",
        rest,
    ]
    assert told(desk, waiting[5])[-2] == rest  # it was not even tried


def test_stars_later_undo_and_redo_are_told_in_their_words(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    give_stars(desk.review, work, 1, ANNA)
    put_off(desk.review, work, ANNA)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    redo(desk.review, work, ANNA)
    give_stars(desk.review, work, 3, ANNA)
    undo(desk.review, work, ANNA)
    assert told(desk, work)[3:-1] == [
        "1 star by anna (test)",
        "later by anna (test), was pending",
        "approved by anna (test), was later",
        told(desk, work)[6],
        "later by anna (test), was approved, taking back what was decided",
        "approved by anna (test), was later, taking the undo back",
        "3 stars by anna (test)",
        "1 star by anna (test), taking back what was decided",
    ]
    assert told(desk, work)[6].startswith("queued for studio")


def test_what_was_done_to_its_channel_while_a_work_was_put_off_is_no_part_of_it(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    put_off(desk.review, work, ANNA)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    desk.clock.advance(minutes=1)
    pause_channel(desk.database, "studio", BEN, desk.clock())
    desk.clock.advance(minutes=1)
    redo(desk.review, work, ANNA)
    assert whats(desk, work)[3:] == ["later", "approved", "queued", "later", "approved", "next try"]
    assert told(desk, work)[-2].endswith(", while studio is paused")


def test_a_work_nobody_decided_about_has_a_story_too(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    assert whats(desk, work) == ["due", "planned", "painted"]
    with pytest.raises(UsageError, match="no candidate 99"):
        tell(desk.database, 99)

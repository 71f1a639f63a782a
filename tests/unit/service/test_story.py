"""The story of one work keeps the order of its logs, whatever the clocks showed."""

from __future__ import annotations

import pytest

from artbot.errors import UsageError
from artbot.publishing.interventions import pause_channel, resume_channel
from artbot.review.decisions import approve, undo
from artbot.upkeep.story import tell
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


def test_a_work_nobody_decided_about_has_a_story_too(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    assert whats(desk, work) == ["due", "planned", "painted"]
    with pytest.raises(UsageError, match="no candidate 99"):
        tell(desk.database, 99)

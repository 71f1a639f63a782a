"""How a channel stands: what its answers make of it, and what is sent through it then."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from artbot.domain.channel import (
    FAILING_TOO_LONG,
    FAILURES_BEFORE_REST,
    FIRST_REST,
    ChannelState,
)
from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.interventions import pause_channel, resume_channel
from artbot.publishing.outbox import has_due
from artbot.publishing.reading import channel_standings
from artbot.publishing.standing import get_standing, note_failure, note_success, stop
from artbot.redaction import REDACTED, register_secret
from artbot.review.decisions import approve
from db.engine import Database
from db.models import ChannelStatus
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Answer,
    Desk,
    Server,
    add_works,
    answers,
    attempts,
    deliveries,
    http_answer,
    interventions,
    put,
    serve,
    standing,
)

OK = http_answer(200, b"thanks")
BUSY = http_answer(503)
REFUSED = http_answer(422, b"no alt text")


def failed(database: Database, failure: DeliveryError, at: datetime = NOON, times: int = 1) -> None:
    with database.write() as session:
        for _ in range(times):
            note_failure(session, "studio", failure, at)


def facts(database: Database) -> tuple[object, ...]:
    row = standing(database)
    return row.state, row.num_failures, row.failing_since, row.rests_until


# Failures in a row


def test_a_channel_through_which_nothing_was_sent_has_no_row_and_is_open(desk: Desk) -> None:
    desk.approve_one()
    assert channel_standings(desk.database) == {}
    assert has_due(desk.database, desk.channels, desk.clock())


def test_four_failures_in_a_row_are_counted_and_no_more(database: Database) -> None:
    failed(database, Unavailable("no connection"), times=4)
    assert facts(database) == ("active", 4, NOON, None)


@pytest.mark.parametrize("failure", [Unavailable("refused"), OutcomeUnknown("no answer")])
def test_from_the_fifth_on_the_channel_rests_longer_each_time(
    database: Database, failure: DeliveryError
) -> None:
    failed(database, failure, times=5)
    assert facts(database) == ("active", 5, NOON, NOON + FIRST_REST)
    failed(database, failure)
    assert facts(database) == ("active", 6, NOON, NOON + 2 * FIRST_REST)
    failed(database, failure, times=40)
    assert standing(database).rests_until == NOON + timedelta(hours=1)


def test_a_success_forgets_all_failures(database: Database) -> None:
    failed(database, Unavailable("refused"), times=7)
    with database.write() as session:
        note_success(session, "studio", NOON)
    assert facts(database) == ("active", 0, None, None)


def test_a_work_that_is_refused_shows_that_the_channel_is_well(database: Database) -> None:
    failed(database, Unavailable("refused"), times=4)
    failed(database, Rejected("no alt text", status=422))
    assert facts(database) == ("active", 0, None, None)


def test_a_receiver_that_asks_for_time_gets_it_for_all_works_up_to_a_day(
    database: Database,
) -> None:
    failed(database, Unavailable("busy", status=429, retry_after_s=600))
    assert facts(database) == ("active", 1, NOON, NOON + timedelta(minutes=10))
    failed(database, Unavailable("busy", status=429, retry_after_s=10.0**9))
    assert standing(database).rests_until == NOON + timedelta(days=1)


def test_channels_stand_each_for_itself(database: Database) -> None:
    failed(database, Unavailable("refused"), times=5)
    with database.write() as session:
        note_success(session, "other", NOON)
    assert standing(database).num_failures == 5
    assert standing(database, "other").num_failures == 0


# What stops a channel


@pytest.mark.parametrize("status", [401, 403])
def test_who_refuses_our_credentials_gets_nothing_more(database: Database, status: int) -> None:
    failed(database, Rejected(f"answered {status}", status=status))
    row = standing(database)
    assert (row.state, row.changed_at) == ("paused", NOON)
    assert row.reason == f"it refuses our credentials: answered {status}"


def test_who_is_gone_for_good_is_disabled(database: Database) -> None:
    failed(database, Rejected("answered 410", status=410))
    row = standing(database)
    assert (row.state, row.reason) == (
        "disabled",
        "it says that it is gone for good: answered 410",
    )


def test_after_a_week_of_failures_a_person_is_asked(database: Database) -> None:
    failed(database, Unavailable("refused"), times=FAILURES_BEFORE_REST)
    last = NOON + FAILING_TOO_LONG
    failed(database, Unavailable("refused"), last - timedelta(seconds=1))
    assert standing(database).state == "active"
    failed(database, Unavailable("refused"), last)
    row = standing(database)
    assert (row.state, row.reason) == ("paused", "nothing got through for 7 days: refused")
    assert row.changed_at == last


def test_two_failures_with_a_quiet_week_in_between_are_no_week_of_failures(
    database: Database,
) -> None:
    """The first one was withdrawn, or given up; then there was nothing to send."""
    failed(database, Unavailable("refused"))
    failed(database, Unavailable("refused"), NOON + timedelta(days=8))
    assert standing(database).state == "active"
    failed(database, Unavailable("refused"), NOON + timedelta(days=8), times=3)
    assert standing(database).state == "paused"


def test_a_week_with_one_success_in_it_is_no_week_of_failures(database: Database) -> None:
    failed(database, Unavailable("refused"))
    with database.write() as session:
        note_success(session, "studio", NOON + timedelta(days=3))
    failed(database, Unavailable("refused"), NOON + timedelta(days=8))
    assert standing(database).state == "active"
    assert standing(database).failing_since == NOON + timedelta(days=8)


def test_what_stopped_it_first_stays_the_reason(database: Database) -> None:
    failed(database, Rejected("answered 410", status=410))
    failed(database, Rejected("answered 401", status=401), NOON + timedelta(hours=1))
    assert standing(database).state == "disabled"
    assert standing(database).changed_at == NOON
    with database.write() as session:
        stop(get_standing(session, "studio", NOON), ChannelState.PAUSED, "because", NOON)
    assert "410" in (standing(database).reason or "")


def test_a_channel_without_a_reason_cannot_be_stopped(database: Database) -> None:
    def stop_it() -> None:
        with database.write() as session:
            put(session, ChannelStatus(name="a", state="paused", changed_at=NOON, num_failures=0))

    with pytest.raises(IntegrityError, match="stopped_has_reason"):
        stop_it()


def test_what_the_channel_lets_slip_is_not_kept_as_its_reason(database: Database) -> None:
    register_secret("d2FzIGRlciBLYW5hbCBhdXNwbGF1ZGVydA==")
    failed(database, Rejected("no key d2FzIGRlciBLYW5hbCBhdXNwbGF1ZGVydA==", status=401))
    assert standing(database).reason == f"it refuses our credentials: no key {REDACTED}"
    assert [entry.reason for entry in interventions(database)] == [standing(database).reason]


# What is written down of it


def log(database: Database) -> list[tuple[str, str | None, str | None]]:
    return [(entry.act, entry.now, entry.reason) for entry in interventions(database)]


def test_a_rest_that_begins_is_logged_once_with_the_failure_as_its_reason(
    database: Database,
) -> None:
    failed(database, Unavailable("connection refused"), times=4)
    assert log(database) == []
    failed(database, Unavailable("connection refused"), times=20)
    assert log(database) == [("rest", "active", "5 failures in a row: connection refused")]
    (entry,) = interventions(database)
    assert (entry.by, entry.channel, entry.delivery_id) == ("artbot", "studio", None)
    assert entry.at == NOON


def test_a_rest_that_the_receiver_asks_for_is_logged_as_that(database: Database) -> None:
    failed(database, Unavailable("answered 429", status=429, retry_after_s=600), times=2)
    assert log(database) == [("rest", "active", "it asks for time: answered 429")]


@pytest.mark.parametrize("end", ["a success", "a refused work", "resumed"])
def test_a_rest_after_the_channel_was_well_is_another_one(database: Database, end: str) -> None:
    failed(database, Unavailable("refused"), times=5)
    if end == "resumed":
        resume_channel(database, "studio", BEN, NOON)
    elif end == "a refused work":
        failed(database, Rejected("no alt text", status=422))
    else:
        with database.write() as session:
            note_success(session, "studio", NOON)
    failed(database, Unavailable("busy", retry_after_s=60))
    assert [act for act, _, _ in log(database) if act != "resume"] == ["rest", "rest"]


def test_a_channel_that_is_paused_instead_is_not_said_to_rest(database: Database) -> None:
    failed(database, Unavailable("refused"))
    failed(database, Unavailable("refused"), NOON + FAILING_TOO_LONG, times=4)
    assert [act for act, _, _ in log(database)] == ["pause"]


def test_what_the_channel_lets_slip_is_not_kept_as_the_reason_of_a_rest(
    database: Database,
) -> None:
    register_secret("d2FzIGRlciBLYW5hbCBhdXNwbGF1ZGVydA==")
    failed(database, Unavailable("no key d2FzIGRlciBLYW5hbCBhdXNwbGF1ZGVydA==", retry_after_s=9))
    assert log(database) == [("rest", "active", f"it asks for time: no key {REDACTED}")]


# What is sent through it


def send_all(desk: Desk, count: int, answer: Answer) -> Server:
    """Approve so many works and send what may be sent."""
    for work in add_works(desk.database, desk.works, count):
        approve(desk.review, work, ANNA)
    with serve(answer) as server:
        desk.send(server.url)
    return server


def states(desk: Desk) -> list[str]:
    return [delivery.state for delivery in deliveries(desk.database)]


def test_after_five_failures_in_a_row_the_others_are_not_even_tried(desk: Desk) -> None:
    server = send_all(desk, 8, answers(BUSY))
    assert len(server.requests) == 5
    assert states(desk) == ["retry_wait"] * 5 + ["queued"] * 3
    assert not has_due(desk.database, desk.channels, desk.clock())


def test_after_the_rest_one_delivery_tries_for_all(desk: Desk) -> None:
    send_all(desk, 8, answers(BUSY))
    desk.clock.advance(seconds=59)
    with serve(answers(BUSY)) as server:
        assert desk.send(server.url) == []
        desk.clock.advance(seconds=1)
        assert len(desk.send(server.url)) == 1
        assert standing(desk.database).rests_until == desk.clock() + timedelta(minutes=2)
        assert desk.send(server.url) == []
    desk.clock.advance(minutes=2)
    with serve(answers(OK)) as server:
        assert len(desk.send(server.url)) == 8
    assert standing(desk.database).num_failures == 0


def test_a_channel_that_rests_holds_up_no_other(desk: Desk) -> None:
    failed(desk.database, Unavailable("refused"), times=5)
    desk.channels = ("studio", "other")
    desk.approve_one()
    with serve(answers(OK)) as server:
        assert [sent.channel for sent in desk.send(server.url)] == ["other"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_delivery_that_met_refused_credentials_is_held_with_its_channel(
    desk: Desk, status: int
) -> None:
    server = send_all(desk, 3, answers(http_answer(status)))
    assert len(server.requests) == 1
    assert states(desk) == ["held", "queued", "queued"]
    assert attempts(desk.database)[0].outcome == "rejected"
    desk.clock.advance(days=30)
    assert not has_due(desk.database, desk.channels, desk.clock())


def test_once_it_is_resumed_everything_goes_out_that_was_held_or_waited(desk: Desk) -> None:
    send_all(desk, 3, answers(http_answer(401)))
    assert resume_channel(desk.database, "studio", BEN, desk.clock()) == 1
    with serve(answers(OK)) as server:
        assert len(desk.send(server.url)) == 3
    assert states(desk) == ["delivered"] * 3
    assert len({request.headers["webhook-id"] for request in server.requests}) == 3


def test_a_receiver_that_is_gone_gets_nothing_more_and_its_work_has_failed(desk: Desk) -> None:
    server = send_all(desk, 3, answers(http_answer(410)))
    assert len(server.requests) == 1
    assert states(desk) == ["failed", "queued", "queued"]
    assert standing(desk.database).state == "disabled"


def test_a_refused_work_is_no_reason_to_keep_the_others_back(desk: Desk) -> None:
    send_all(desk, 8, answers(*[REFUSED] * 7, OK))
    assert states(desk) == ["failed"] * 7 + ["delivered"]
    assert standing(desk.database).state == "active"


def test_nothing_is_sent_through_a_paused_channel_until_it_is_resumed(desk: Desk) -> None:
    pause_channel(desk.database, "studio", BEN, desk.clock())
    desk.approve_one()
    desk.clock.advance(days=400)
    with serve(answers(OK)) as server:
        assert desk.send(server.url) == []
        resume_channel(desk.database, "studio", BEN, desk.clock())
        assert len(desk.send(server.url)) == 1


def test_an_outage_of_five_days_costs_a_delivery_its_waits_and_nothing_else(desk: Desk) -> None:
    desk.approve_one()
    with serve(answers(BUSY)) as server:
        end = desk.clock() + timedelta(days=5)
        while desk.clock() < end:
            desk.send(server.url)
            desk.clock.advance(hours=1)
        assert 10 <= len(server.requests) <= 14
    assert standing(desk.database).state == "active"
    desk.clock.advance(days=1)
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]

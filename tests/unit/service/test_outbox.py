"""The outbox against a server that answers as told, with a clock that is set by hand."""

from __future__ import annotations

import hashlib
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from artbot.domain.delivery import MAX_ATTEMPTS, RETRY_AFTER_S, SEND_WITHIN, DeliveryState
from artbot.errors import NotAllowed, StorageFailed, Unavailable, UsageError
from artbot.pictures import quarantine, reinstate
from artbot.publishing.channels import Parcel, Receipt
from artbot.publishing.channels.webhook import WebhookSender
from artbot.publishing.interventions import resolve, resume_channel, retry
from artbot.publishing.outbox import Sent, deliver_due, has_due, recover_interrupted
from artbot.publishing.reading import count_by_state, list_deliveries
from artbot.redaction import register_secret
from artbot.review.decisions import Words, approve, undo
from artbot.worker import hold_epoch
from db.engine import DatabaseUnusable, Fenced, open_database
from db.models import Attempt, Candidate, Delivery
from tests.unit.service.kit import (
    ANNA,
    BEN,
    KEY,
    NOON,
    Desk,
    Request,
    SetClock,
    add_works,
    answers,
    attempts,
    candidate,
    decisions,
    deliveries,
    http_answer,
    interventions,
    move,
    picture_of,
    serve,
)

OK = http_answer(200, b"thanks")
BROKEN = http_answer(500, b"oops")
BUSY = http_answer(503)
REFUSED = http_answer(422, b"no alt text")


def the_delivery(desk: Desk) -> Delivery:
    (delivery,) = deliveries(desk.database)
    return delivery


def check_signature(request: Request) -> datetime:
    """The time at which the request was signed."""
    from artbot.publishing.signatures import sign

    timestamp = int(request.headers["webhook-timestamp"])
    expected = sign(KEY, request.headers["webhook-id"], timestamp, request.body)
    assert request.headers["webhook-signature"] == expected
    return datetime.fromtimestamp(timestamp, UTC)


# Sending


def test_an_approved_work_is_delivered_once(desk: Desk) -> None:
    desk.approve_one()
    with serve(answers(OK)) as server:
        (sent,) = desk.send(server.url)
        assert desk.send(server.url) == []
    assert len(server.requests) == 1
    assert (sent.state, sent.work, sent.channel) == ("delivered", "daily-2026-11-21-01", "studio")
    delivery = the_delivery(desk)
    assert (delivery.state, delivery.delivered_at, delivery.last_error) == ("delivered", NOON, None)
    (attempt,) = attempts(desk.database)
    assert (attempt.outcome, attempt.status, attempt.detail) == ("delivered", 200, "thanks")


def test_nothing_is_sent_before_its_time(desk: Desk) -> None:
    desk.undo_time = timedelta(minutes=10)
    desk.approve_one()
    with serve(answers(OK)) as server:
        desk.clock.advance(minutes=9, seconds=59)
        assert not has_due(desk.database, desk.channels, desk.clock())
        assert desk.send(server.url) == []
        assert server.num_connections == 0
        desk.clock.advance(seconds=1)
        assert has_due(desk.database, desk.channels, desk.clock())
        assert len(desk.send(server.url)) == 1


def test_after_an_error_the_same_bytes_go_out_under_the_same_id_with_a_new_signature(
    desk: Desk,
) -> None:
    desk.approve_one()
    with serve(answers(BROKEN, OK)) as server:
        (first,) = desk.send(server.url)
        assert (first.state, first.next_at) == ("retry_wait", NOON + timedelta(seconds=5))
        assert desk.send(server.url) == [], "not before its time"
        desk.clock.advance(seconds=5)
        (second,) = desk.send(server.url)
    assert second.state == "delivered"
    one, two = server.requests
    assert one.body == two.body
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert check_signature(two) - check_signature(one) == timedelta(seconds=5)
    recorded = attempts(desk.database)
    assert [a.outcome for a in recorded] == ["unknown", "delivered"]
    assert len({a.body_sha256 for a in recorded}) == 1


def test_the_waits_follow_the_schedule_and_with_its_last_attempt_a_delivery_is_given_up(
    desk: Desk,
) -> None:
    """The channel is paused after a week of this; here somebody resumes it again and again."""
    desk.approve_one()
    waits = []
    with serve(answers(BUSY)) as server:
        for _ in range(MAX_ATTEMPTS):
            (sent,) = desk.send(server.url)
            if sent.next_at:
                waits.append((sent.next_at - desk.clock()).total_seconds())
                desk.clock.now = sent.next_at
            resume_channel(desk.database, "studio", BEN, desk.clock())
        desk.clock.advance(days=30)
        assert desk.send(server.url) == []
    assert tuple(waits) == RETRY_AFTER_S
    assert len(server.requests) == MAX_ATTEMPTS == 20
    delivery = the_delivery(desk)
    assert (delivery.state, delivery.num_attempts) == ("dead", 20)
    assert "503" in (delivery.last_error or "")


def test_a_wait_is_jittered(desk: Desk) -> None:
    desk.approve_one()
    desk.random_share = 0.5
    with serve(answers(BUSY)) as server:
        (sent,) = desk.send(server.url)
    assert sent.next_at == NOON + timedelta(seconds=5.5)


def test_a_receiver_that_asks_for_time_gets_it(desk: Desk) -> None:
    desk.approve_one()
    with serve(answers(http_answer(429, Retry_After="3600"))) as server:
        (sent,) = desk.send(server.url)
    assert sent.next_at == NOON + timedelta(hours=1)


def test_a_refused_work_waits_for_a_person(desk: Desk) -> None:
    desk.approve_one()
    with serve(answers(REFUSED)) as server:
        (sent,) = desk.send(server.url)
        desk.clock.advance(days=30)
        assert desk.send(server.url) == []
    assert (sent.state, sent.next_at) == ("failed", None)
    assert the_delivery(desk).last_error == "answered 422 Some Reason: no alt text"
    assert attempts(desk.database)[0].outcome == "rejected"


def test_an_outage_of_one_channel_does_not_hold_up_another(desk: Desk) -> None:
    desk.channels = ("down", "up")
    desk.approve_one()
    with serve(answers(OK)) as server:
        outbox = desk.outbox(server.url)
        down = desk.outbox("http://127.0.0.1:1/")
        outbox = replace(outbox, outlets={"down": down.outlets["down"], "up": outbox.outlets["up"]})
        deliver_due(outbox, lambda _: None, lambda: False)
    assert [d.state for d in deliveries(desk.database)] == ["retry_wait", "delivered"]
    assert [a.outcome for a in attempts(desk.database)] == ["unavailable", "delivered"]


def test_the_longest_due_goes_first(desk: Desk) -> None:
    works = add_works(desk.database, desk.works, 3)
    for work in reversed(works):
        approve(desk.review, work, ANNA)
        desk.clock.advance(minutes=1)
    with serve(answers(OK)) as server:
        sent = desk.send(server.url)
    assert [s.work[-2:] for s in sent] == ["03", "02", "01"]


def test_a_request_to_stop_is_heard_between_two_deliveries(desk: Desk) -> None:
    for work in add_works(desk.database, desk.works, 3):
        approve(desk.review, work, ANNA)
    sent: list[object] = []
    with serve(answers(OK)) as server:
        deliver_due(desk.outbox(server.url), sent.append, lambda: len(sent) == 2)
    assert len(server.requests) == 2
    assert count_by_state(desk.database) == {"delivered": 2, "queued": 1}


# Written down before, not after


def test_the_attempt_is_in_the_database_before_the_request_reaches_the_receiver(
    desk: Desk, database_at: Path | str
) -> None:
    seen: list[tuple[object, ...]] = []
    question = text(
        "SELECT d.state, d.num_attempts, d.delivery_key, a.outcome, a.body_sha256"
        " FROM attempts a JOIN deliveries d ON d.id = a.delivery_id"
    )

    def look(connection: socket.socket, request: Request) -> None:
        observer = open_database(database_at)
        with observer.read() as session:
            seen.extend(tuple(row) for row in session.execute(question))
        observer.close()
        connection.sendall(OK)

    desk.approve_one()
    with serve(look) as server:
        desk.send(server.url)
    (request,) = server.requests
    body_sha256 = hashlib.sha256(request.body).hexdigest()
    assert seen == [("sending", 1, request.headers["webhook-id"], None, body_sha256)]


def test_what_was_on_the_wire_when_artbot_was_killed_goes_out_again_under_its_key(
    desk: Desk,
) -> None:
    class PowerCut(BaseException):
        pass

    class Cut(WebhookSender):
        def commit(self, parcel: Parcel, now: datetime) -> Receipt:
            raise PowerCut

    desk.approve_one()
    with serve(answers(OK)) as server:
        cut = desk.outbox_to(Cut(server.url, KEY, allow_private=True))
        with pytest.raises(PowerCut):
            deliver_due(cut, lambda _: None, lambda: False)
        assert the_delivery(desk).state == "sending"
        key = the_delivery(desk).delivery_key

        desk.clock.advance(minutes=1)
        assert recover_interrupted(desk.database, desk.protections, desk.clock()) == 1
        assert recover_interrupted(desk.database, desk.protections, desk.clock()) == 0
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"
    assert server.requests[0].headers["webhook-id"] == key
    lost, good = attempts(desk.database)
    assert (lost.outcome, lost.finished_at) == ("unknown", NOON + timedelta(minutes=1))
    assert good.outcome == "delivered"
    assert lost.body_sha256 == good.body_sha256


def test_recovery_leaves_everything_else_alone(desk: Desk) -> None:
    desk.channels = ("a", "b")
    desk.approve_one()
    with serve(answers(OK, REFUSED)) as server:
        desk.send(server.url)
    before = [(d.state, d.next_at, d.last_error) for d in deliveries(desk.database)]
    assert recover_interrupted(desk.database, desk.protections, NOON + timedelta(hours=1)) == 0
    assert [(d.state, d.next_at, d.last_error) for d in deliveries(desk.database)] == before


# To a receiver that does not know a repetition when it sees one

NO_ANSWER = b""


def lost(desk: Desk) -> list[Sent]:
    """One attempt that may have been posted: the receiver hangs up without an answer."""
    with serve(answers(NO_ANSWER)) as server:
        return desk.send(server.url)


@pytest.mark.parametrize("answer", [NO_ANSWER, BROKEN, http_answer(504)])
def test_what_it_may_have_posted_is_never_sent_again_by_itself(desk: Desk, answer: bytes) -> None:
    desk.recognises_for = None
    desk.approve_one()
    with serve(answers(answer, OK)) as server:
        (sent,) = desk.send(server.url)
        assert (sent.state, sent.next_at) == ("uncertain", None)
        desk.clock.advance(days=400)
        assert not has_due(desk.database, desk.channels, desk.clock())
        assert desk.send(server.url) == []
    assert len(server.requests) == 1
    assert "artbot deliveries resolve" in (the_delivery(desk).last_error or "")
    assert [a.outcome for a in attempts(desk.database)] == ["unknown"]


@pytest.mark.parametrize("answer", [BUSY, http_answer(429)])
def test_what_it_certainly_did_not_post_is_tried_again(desk: Desk, answer: bytes) -> None:
    desk.recognises_for = None
    desk.approve_one()
    with serve(answers(answer, OK)) as server:
        (sent,) = desk.send(server.url)
        assert sent.state == "retry_wait"
        desk.clock.advance(seconds=5)
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"


def test_what_was_on_the_wire_to_it_when_artbot_was_killed_waits_for_a_person(desk: Desk) -> None:
    desk.recognises_for = None
    on_the_wire(desk)
    assert recover_interrupted(desk.database, desk.protections, desk.clock()) == 1
    with serve(answers(OK)) as server:
        desk.clock.advance(days=1)
        assert desk.send(server.url) == []
    assert the_delivery(desk).state == "uncertain"
    assert [a.outcome for a in attempts(desk.database)] == ["unknown"]


def on_the_wire(desk: Desk) -> None:
    """An attempt that nobody closed."""
    desk.approve_one()
    with desk.database.write() as session:
        delivery = session.get_one(Delivery, 1)
        move(session, delivery, "sending")
        delivery.num_attempts = 1
        now = desk.clock()
        attempt = Attempt(delivery_id=1, started_at=now, body_sha256="0" * 64, committing_at=now)
        session.add(attempt)


def test_what_was_on_the_wire_to_a_channel_that_is_no_longer_configured_waits_for_a_person(
    desk: Desk,
) -> None:
    """Nobody knows any more what its receiver recognises."""
    on_the_wire(desk)
    recover_interrupted(desk.database, {}, desk.clock())
    assert the_delivery(desk).state == "uncertain"


def test_a_person_who_found_nothing_has_it_sent_and_may_be_asked_again(desk: Desk) -> None:
    desk.recognises_for = None
    desk.approve_one()
    lost(desk)
    desk.clock.advance(minutes=20)
    resolve(desk.database, 1, False, None, BEN, desk.clock())
    (sent,) = lost(desk)
    assert sent.state == "uncertain", "found absent was the first attempt, not this one"
    desk.clock.advance(minutes=20)
    resolve(desk.database, 1, False, None, BEN, desk.clock())
    with serve(answers(BUSY, OK)) as server:
        desk.send(server.url)
        desk.clock.advance(seconds=5)
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"
    assert [entry.act for entry in interventions(desk.database)] == ["absent", "absent"]
    assert len({a.body_sha256 for a in attempts(desk.database)}) == 1


def test_a_clock_set_back_after_a_person_looked_does_not_hide_the_next_attempt(desk: Desk) -> None:
    desk.recognises_for = None
    desk.approve_one()
    lost(desk)
    desk.clock.advance(minutes=20)
    resolve(desk.database, 1, False, None, BEN, desk.clock())
    with desk.database.write() as session:
        session.get_one(Delivery, 1).next_at = NOON
    desk.clock.advance(minutes=-4)
    assert [sent.state for sent in lost(desk)] == ["uncertain"]


# To a receiver that remembers for a while


def test_within_that_time_what_may_have_been_posted_is_sent_again_under_its_key(desk: Desk) -> None:
    desk.recognises_for = timedelta(minutes=10)
    desk.approve_one()
    with serve(answers(NO_ANSWER, OK)) as server:
        (sent,) = desk.send(server.url)
        assert (sent.state, sent.next_at) == ("retry_wait", NOON + timedelta(seconds=5))
        desk.clock.advance(seconds=5)
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"
    assert len({request.headers["webhook-id"] for request in server.requests}) == 1


def test_a_next_attempt_that_would_come_too_late_is_not_planned(desk: Desk) -> None:
    """5 s, then 5 min: the second wait would end when the key is forgotten."""
    desk.recognises_for = timedelta(minutes=5)
    desk.approve_one()
    with serve(answers(NO_ANSWER)) as server:
        desk.send(server.url)
        desk.clock.advance(seconds=5)
        (sent,) = desk.send(server.url)
    assert (sent.state, sent.next_at) == ("uncertain", None)


@pytest.mark.parametrize(("seconds", "state"), [(599, "delivered"), (600, "uncertain")])
def test_who_comes_too_late_all_the_same_sends_nothing(
    desk: Desk, seconds: int, state: str
) -> None:
    """Planned in time, but the machine slept: at the claim the key is forgotten."""
    desk.recognises_for = timedelta(minutes=10)
    desk.approve_one()
    lost(desk)
    desk.clock.now = NOON + timedelta(seconds=seconds)
    with serve(answers(OK)) as server:
        (sent,) = desk.send(server.url)
        assert (sent.state, server.num_connections) == (state, state == "delivered")
        assert desk.send(server.url) == []
    assert len(attempts(desk.database)) == 1 + (state == "delivered")
    if state == "uncertain":
        assert "artbot deliveries resolve" in sent.detail
        assert the_delivery(desk).last_error == sent.detail
        assert the_delivery(desk).num_attempts == 1


def test_the_time_runs_from_the_first_attempt_that_may_have_landed_not_from_a_refused_one(
    desk: Desk,
) -> None:
    desk.recognises_for = timedelta(minutes=10)
    desk.approve_one()
    with serve(answers(BUSY, NO_ANSWER, NO_ANSWER, OK)) as server:
        desk.send(server.url)
        desk.clock.advance(hours=1)
        (sent,) = desk.send(server.url)
        assert sent.state == "retry_wait", "the key is as good as new"
        desk.clock.advance(minutes=5)
        (sent,) = desk.send(server.url)
        assert sent.state == "uncertain", (
            "not ten minutes from the last attempt, but from the first"
        )


def test_an_interrupted_attempt_within_that_time_is_repeated_and_after_it_is_not(
    desk: Desk,
) -> None:
    desk.recognises_for = timedelta(minutes=10)
    on_the_wire(desk)
    desk.clock.advance(minutes=9)
    recover_interrupted(desk.database, desk.protections, desk.clock())
    assert (the_delivery(desk).state, the_delivery(desk).next_at) == ("retry_wait", desk.clock())
    desk.clock.advance(minutes=1)
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["uncertain"]
        assert server.num_connections == 0


def test_asked_for_again_after_a_refusal_it_is_still_not_sent_twice(desk: Desk) -> None:
    """No answer, then a refusal, then a person asks: the first attempt may have landed."""
    desk.recognises_for = timedelta(minutes=10)
    desk.approve_one()
    with serve(answers(NO_ANSWER, REFUSED, OK)) as server:
        desk.send(server.url)
        desk.clock.advance(seconds=5)
        assert [sent.state for sent in desk.send(server.url)] == ["failed"]
        desk.clock.advance(days=1)
        retry(desk.database, 1, BEN, desk.clock())
        assert [sent.state for sent in desk.send(server.url)] == ["uncertain"]
        assert len(server.requests) == 2


# Stopped between the last written step and the sending


@dataclass
class SleepyClock(SetClock):
    """The process is stopped right after its claim: when it looks again, so much time has passed."""

    sleep: timedelta = timedelta()
    num_asked: int = 0

    def __call__(self) -> datetime:
        self.num_asked += 1
        if (
            self.num_asked == 5
        ):  # what is due, the claim, the preparing, its end, before the sending
            self.now += self.sleep
        return self.now


@pytest.mark.parametrize("recognises_for", [None, timedelta.max])
def test_who_was_stopped_too_long_before_the_sending_sends_nothing(
    desk: Desk, recognises_for: timedelta | None
) -> None:
    """SIGSTOP, a suspended laptop: meanwhile a person may have said that nothing was posted."""
    desk.recognises_for = recognises_for
    desk.approve_one()
    clock = SleepyClock(sleep=SEND_WITHIN + timedelta(seconds=1))
    with serve(answers(OK)) as server:
        sent: list[Sent] = []
        deliver_due(replace(desk.outbox(server.url), clock=clock), sent.append, lambda: False)
        assert server.num_connections == 0
    assert [one.state for one in sent] == ["retry_wait"], "it certainly was not posted"
    assert "stopped before it could be" in sent[0].detail
    assert [a.outcome for a in attempts(desk.database)] == ["unavailable"]


def test_who_was_stopped_for_a_moment_only_sends(desk: Desk) -> None:
    desk.approve_one()
    clock = SleepyClock(sleep=SEND_WITHIN)
    with serve(answers(OK)) as server:
        deliver_due(replace(desk.outbox(server.url), clock=clock), print, lambda: False)
    assert len(server.requests) == 1


@dataclass
class SleepyBoot:
    """A machine that sleeps right after the claim: the seconds since its start go on meanwhile."""

    sleep_s: float
    num_asked: int = 0

    def __call__(self) -> tuple[str, float]:
        self.num_asked += 1
        return "this start", 1000.0 + (self.sleep_s if self.num_asked > 1 else 0.0)


@pytest.mark.parametrize(("sleep_s", "num_sent"), [(31.0, 0), (29.0, 1)])
def test_a_sleep_is_noticed_although_the_clock_was_set_back_over_it(
    desk: Desk, sleep_s: float, num_sent: int
) -> None:
    desk.approve_one()
    with serve(answers(OK)) as server:
        outbox = replace(desk.outbox(server.url), boot=SleepyBoot(sleep_s))
        deliver_due(outbox, print, lambda: False)
    assert len(server.requests) == num_sent


# Whatever keeps it from remembering what it is about to do keeps it from doing it


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error", "db/artbot.mark"),
        OperationalError("SELECT 1", None, Exception("database is locked")),
        InterfaceError("SELECT 1", None, Exception("connection already closed")),
        ValueError("the mark is not as artbot wrote it"),
        StorageFailed("no room"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("recognises_for", [None, timedelta.max])
def test_an_attempt_that_cannot_be_remembered_was_certainly_not_sent(
    desk: Desk, error: Exception, recognises_for: timedelta | None
) -> None:
    """No person is asked about something that never left."""

    def before_send(_: int) -> None:
        raise error

    desk.recognises_for = recognises_for
    desk.approve_one()
    with serve(answers(OK)) as server:
        outbox = desk.outbox(server.url)
        sent: list[Sent] = []
        deliver_due(replace(outbox, before_send=before_send), sent.append, lambda: False)
        assert server.num_connections == 0
        assert [one.state for one in sent] == ["retry_wait"]
        assert sent[0].detail.startswith("not sent: ")
        assert [a.outcome for a in attempts(desk.database)] == ["unavailable"]
        desk.clock.advance(seconds=5)
        assert [one.state for one in desk.send(server.url)] == ["delivered"]


def test_a_mark_that_takes_its_time_to_be_written_makes_the_sending_too_late(desk: Desk) -> None:
    def stall(_: int) -> None:
        desk.clock.now += SEND_WITHIN + timedelta(seconds=1)

    desk.approve_one()
    with serve(answers(OK)) as server:
        deliver_due(replace(desk.outbox(server.url), before_send=stall), print, lambda: False)
        assert server.num_connections == 0
    assert [a.outcome for a in attempts(desk.database)] == ["unavailable"]


@pytest.mark.parametrize("error", [DatabaseUnusable("an old database"), Fenced("another worker")])
def test_a_process_that_must_end_before_it_sends_leaves_nothing_to_wonder_about(
    desk: Desk, error: DatabaseUnusable
) -> None:
    def before_send(_: int) -> None:
        raise error

    desk.recognises_for = None
    desk.approve_one()
    with serve(answers(OK)) as server:
        with pytest.raises(type(error), match=str(error)):
            deliver_due(
                replace(desk.outbox(server.url), before_send=before_send), print, lambda: False
            )
        assert server.num_connections == 0
        assert [(a.outcome, a.detail) for a in attempts(desk.database)] == [
            ("unavailable", f"not sent: {error}")
        ]
        assert recover_interrupted(desk.database, desk.protections, desk.clock()) == 0
        desk.clock.advance(seconds=5)
        assert [one.state for one in desk.send(server.url)] == ["delivered"]


def test_a_worker_that_was_replaced_before_it_sent_writes_nothing_and_ends(desk: Desk) -> None:
    def before_send(_: int) -> None:
        with desk.database.engine.begin() as other:
            other.execute(text("UPDATE workplace SET epoch = epoch + 1"))
        raise Fenced("another worker has taken over")

    desk.approve_one()
    with serve(answers(OK)) as server, hold_epoch(desk.database, "daemon", desk.clock):
        with pytest.raises(Fenced):
            deliver_due(
                replace(desk.outbox(server.url), before_send=before_send), print, lambda: False
            )
        assert server.num_connections == 0
    assert [a.outcome for a in attempts(desk.database)] == [None]


# The answer came: it is written down, however long that takes


def test_a_long_reader_beside_a_sending_worker_loses_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a WAL a reader keeps every commit waiting. It reads six times as long as a commit waits, as
    a minute of `artbot doctor` would in life."""
    monkeypatch.setattr("db.engine.BUSY_TIMEOUT_S", 0.25)
    monkeypatch.setattr("artbot.publishing.outbox.RECORD_AGAIN_S", 0.05, raising=False)
    path = tmp_path / "artbot.sqlite3"
    database = open_database(path)
    desk = Desk(database, tmp_path / "works", SetClock(), recognises_for=None)
    desk.approve_one()
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def read_meanwhile(connection: socket.socket, _: Request) -> None:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM attempts").fetchall()
        threading.Timer(1.5, reader.rollback).start()
        connection.sendall(OK)

    with closing(database), closing(reader), serve(read_meanwhile) as server:
        began = time.monotonic()
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]
        assert time.monotonic() - began > 1.2, "nobody kept it waiting"
        assert [a.outcome for a in attempts(database)] == ["delivered"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_server_that_is_away_when_the_answer_came_is_waited_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, is_kept: bool
) -> None:
    """Whether the first try was kept, it could not say."""
    monkeypatch.setattr("artbot.publishing.outbox.RECORD_AGAIN_S", 0.0, raising=False)
    write, num_failures = desk.database.write, 0

    @contextmanager
    def faltering() -> Iterator[Session]:
        nonlocal num_failures
        with write() as session:
            yield session
            if server.requests and num_failures < 3 and not is_kept:
                num_failures += 1
                raise OperationalError("UPDATE", None, Exception("the server is away"))
        if server.requests and num_failures < 3:
            num_failures += 1
            raise OperationalError("COMMIT", None, Exception("the server is away"))

    desk.recognises_for = None
    desk.approve_one()
    monkeypatch.setattr(desk.database, "write", faltering)
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]
    assert num_failures == 3
    assert [(a.outcome, a.detail) for a in attempts(desk.database)] == [("delivered", "thanks")]
    assert the_delivery(desk).num_attempts == len(server.requests) == 1


def test_a_full_disk_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorname = "SQLITE_FULL"
    write = desk.database.write

    @contextmanager
    def failing() -> Iterator[Session]:
        with write() as session:
            yield session
            if server.requests:
                raise OperationalError("UPDATE", None, full)

    desk.approve_one()
    monkeypatch.setattr(desk.database, "write", failing)
    with serve(answers(OK)) as server, pytest.raises(OperationalError, match="disk is full"):
        desk.send(server.url)
    assert [a.outcome for a in attempts(desk.database)] == [None]


# Changed in the meantime


@dataclass
class MeddlingClock(SetClock):
    """Does something the second time it is asked: between reading a delivery and claiming it."""

    meddle: object = None
    num_asked: int = 0

    def __call__(self) -> datetime:
        self.num_asked += 1
        if self.num_asked == 2 and callable(self.meddle):
            self.meddle()
        return self.now


def test_a_work_taken_back_in_the_last_moment_is_not_sent(desk: Desk) -> None:
    work = desk.approve_one()
    clock = MeddlingClock(meddle=lambda: undo(desk.review, work, ANNA))
    with serve(answers(OK)) as server:
        deliver_due(replace(desk.outbox(server.url), clock=clock), print, lambda: False)
        assert server.num_connections == 0
    assert the_delivery(desk).state == "cancelled"
    assert attempts(desk.database) == []


def test_a_work_taken_back_and_approved_with_other_words_goes_out_with_those(desk: Desk) -> None:
    """Read, taken back, approved again, claimed: state and number of attempts are as before."""
    work = desk.approve_one()

    def change_words() -> None:
        undo(desk.review, work, ANNA)
        desk.clock.advance(seconds=1)
        approve(desk.review, work, ANNA, Words(title="Better"))

    clock = MeddlingClock(meddle=change_words)
    with serve(answers(OK)) as server:
        deliver_due(replace(desk.outbox(server.url), clock=clock), print, lambda: False)
        assert server.num_connections == 0, "the old words went out"
        desk.send(server.url)
    assert b'"title":"Better"' in server.requests[0].body


# A person asks again


def test_a_failed_delivery_asked_for_again_is_due_at_once_with_its_attempts_counted_anew(
    desk: Desk,
) -> None:
    desk.approve_one()
    with serve(answers(REFUSED, BUSY, OK)) as server:
        desk.send(server.url)
        key = the_delivery(desk).delivery_key
        desk.clock.advance(days=2)
        asked = retry(desk.database, 1, BEN, desk.clock())
        assert (asked.state, asked.num_attempts, asked.next_at) == ("queued", 0, desk.clock())
        (second,) = desk.send(server.url)
        assert second.next_at == desk.clock() + timedelta(seconds=5), "the schedule begins anew"
        desk.clock.advance(seconds=5)
        (third,) = desk.send(server.url)
    assert third.state == "delivered"
    assert {r.headers["webhook-id"] for r in server.requests} == {key}
    assert len({r.body for r in server.requests}) == 1


def test_a_waiting_delivery_asked_for_again_is_due_at_once(desk: Desk) -> None:
    desk.approve_one()
    with serve(answers(http_answer(503, Retry_After="86400"), OK)) as server:
        desk.send(server.url)
        retry(desk.database, 1, BEN, desk.clock())
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"
    assert the_delivery(desk).num_attempts == 2


def test_a_delivered_or_cancelled_work_cannot_be_asked_for_again(desk: Desk) -> None:
    work = desk.approve_one()
    undo(desk.review, work, ANNA)
    with pytest.raises(NotAllowed, match="delivery 1 is cancelled"):
        retry(desk.database, 1, BEN, desk.clock())
    approve(desk.review, work, ANNA)
    with serve(answers(OK)) as server:
        desk.send(server.url)
    with pytest.raises(NotAllowed, match="delivery 1 is delivered"):
        retry(desk.database, 1, BEN, desk.clock())


def test_asking_for_a_delivery_that_does_not_exist_says_where_to_look(desk: Desk) -> None:
    with pytest.raises(UsageError, match="artbot deliveries list"):
        retry(desk.database, 99, BEN, desk.clock())


# What cannot be sent


def test_a_picture_swapped_after_the_approval_is_not_sent(desk: Desk) -> None:
    work = desk.approve_one()
    picture = picture_of(desk.database, desk.works, work)
    original = picture.read_bytes()
    picture.write_bytes(original + b"\0")
    with serve(answers(OK)) as server:
        (sent,) = desk.send(server.url)
        assert (sent.state, server.num_connections) == ("held", 0)
        assert "no longer the picture that was made" in sent.detail
        assert attempts(desk.database) == []
        assert candidate(desk.database, work).state == "quarantined"
        assert desk.send(server.url) == []

        picture.write_bytes(original)
        put_right(desk, work)
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"


def put_right(desk: Desk, work: int) -> None:
    """As `artbot reproduce --restore` does once the file is back."""
    with desk.database.write() as session:
        reinstate(session, session.get_one(Candidate, work), "test", desk.clock(), desk.requeue)


def test_everything_that_waits_of_a_quarantined_work_is_held_and_nothing_else(desk: Desk) -> None:
    desk.channels = ("a", "b", "c", "d")
    one, two = add_works(desk.database, desk.works, 2)
    approve(desk.review, one, ANNA)
    with serve(answers(OK, BUSY, REFUSED, BUSY, OK)) as server:
        desk.send(server.url)
        approve(desk.review, two, ANNA, channels=["a"])
        picture_of(desk.database, desk.works, one).unlink()
        desk.clock.advance(seconds=5)
        desk.send(server.url)
    assert [(d.candidate_id, d.channel, d.state) for d in deliveries(desk.database)] == [
        (one, "a", "delivered"),
        (one, "b", "held"),
        (one, "c", "failed"),
        (one, "d", "held"),
        (two, "a", "delivered"),
    ]
    log = [(d.candidate_id, d.was, d.now, d.by) for d in decisions(desk.database)]
    assert log[-1] == (one, "approved", "quarantined", "artbot")


@pytest.mark.parametrize("state", ["queued", "retry_wait"])
def test_nothing_is_sent_of_a_work_in_quarantine_whatever_its_delivery_says(
    desk: Desk, state: str
) -> None:
    """Found absent by a person, or replayed, it is queued: it waits, and holds up no other."""
    one, two = add_works(desk.database, desk.works, 2)
    approve(desk.review, one, ANNA)
    picture_of(desk.database, desk.works, one).unlink()
    with serve(answers(OK)) as server:
        desk.send(server.url)
        with desk.database.write() as session:
            move(session, session.get_one(Delivery, 1), state)
        assert not has_due(desk.database, desk.channels, desk.clock())
        approve(desk.review, two, ANNA)
        assert [sent.work[-2:] for sent in desk.send(server.url)] == ["02"]


def test_a_delivery_held_for_its_channel_too_is_not_forgotten_when_its_picture_is_back(
    desk: Desk,
) -> None:
    """Refused credentials, then a lost file, then the channel is mended, then the file."""
    work = desk.approve_one()
    picture = picture_of(desk.database, desk.works, work)
    original = picture.read_bytes()
    with serve(answers(http_answer(401), OK)) as server:
        desk.send(server.url)
        assert the_delivery(desk).state == "held"
        picture.unlink()
        with desk.database.write() as session:
            quarantine(session, session.get_one(Candidate, work), "gone", "test", desk.clock())
        assert resume_channel(desk.database, "studio", BEN, desk.clock()) == 0
        picture.write_bytes(original)
        put_right(desk, work)
        (sent,) = desk.send(server.url)
    assert sent.state == "delivered"


def test_a_delivery_to_a_channel_that_is_no_longer_configured_stays_queued(desk: Desk) -> None:
    desk.channels = ("gone", "studio")
    desk.approve_one()
    desk.channels = ("studio",)
    with serve(answers(OK)) as server:
        assert [s.channel for s in desk.send(server.url)] == ["studio"]
    assert count_by_state(desk.database) == {"queued": 1, "delivered": 1}
    assert not has_due(desk.database, desk.channels, desk.clock())


def test_without_any_channel_nothing_is_due(desk: Desk) -> None:
    desk.approve_one()
    assert not has_due(desk.database, [], desk.clock())


# What is written down


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_secret_in_the_receivers_answer_is_not_stored(desk: Desk, status: int) -> None:
    register_secret("Z2VoZWltbmlzIGRlcyBXZWJob29rcw==")
    desk.approve_one()
    with serve(answers(http_answer(status, b"Z2VoZWltbmlzIGRlcyBXZWJob29rcw=="))) as server:
        (sent,) = desk.send(server.url)
    stored = f"{attempts(desk.database)[0].detail} {the_delivery(desk).last_error} {sent}"
    assert "[secret]" in stored
    assert "Z2VoZWltbmlz" not in stored


def test_deliveries_are_listed_newest_first_by_state(desk: Desk) -> None:
    desk.channels = ("a", "b", "c")
    desk.approve_one()
    with serve(answers(OK, BUSY, REFUSED)) as server:
        desk.send(server.url)
    every = list(DeliveryState)
    assert [d.channel for d in list_deliveries(desk.database, every, 10)] == ["c", "b", "a"]
    assert [d.channel for d in list_deliveries(desk.database, every, 1)] == ["c"]
    failed = list_deliveries(desk.database, [DeliveryState.FAILED], 10)
    assert [(d.channel, d.candidate.name) for d in failed] == [("c", "daily-2026-11-21-01")]


@pytest.mark.parametrize("is_delivered", [True, False])
def test_what_a_channel_lets_slip_is_not_stored_either(desk: Desk, is_delivered: bool) -> None:
    """Channels speak to receivers; the outbox is the last door before the database."""
    register_secret("c2NobHVlc3NlbGRpZW5zdA==")

    class Careless(WebhookSender):
        def commit(self, parcel: Parcel, now: datetime) -> Receipt:
            if is_delivered:
                return Receipt(200, "key c2NobHVlc3NlbGRpZW5zdA==")
            raise Unavailable("no connection with key c2NobHVlc3NlbGRpZW5zdA==")

    desk.approve_one()
    nobody = "http://127.0.0.1:1/"
    careless = Careless(nobody, KEY, allow_private=True)
    outbox = desk.outbox_to(careless)
    sent: list[Sent] = []
    deliver_due(outbox, sent.append, lambda: False)
    stored = f"{attempts(desk.database)[0].detail} {the_delivery(desk).last_error} {sent}"
    assert "key [secret]" in stored
    assert "c2NobHVlc3NlbGRpZW5zdA" not in stored

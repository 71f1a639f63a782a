"""One worker at a time: the lock of a host, and the epoch that fences whoever was taken for dead."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from artbot.errors import WorkerBusy
from artbot.publishing.channels import Parcel, Receipt, Sender
from artbot.publishing.channels.webhook import WebhookSender
from artbot.publishing.outbox import deliver_due, recover_interrupted
from artbot.review.decisions import approve
from artbot.worker import (
    LEASE,
    RENEW_AFTER,
    current_worker,
    hold_epoch,
    hold_worker,
    keep_working,
    worker_elsewhere,
)
from db.engine import Database, DatabaseUnusable, Fenced, open_database
from db.models import Candidate, WorkplaceRow
from tests.conftest import on_sqlite_only
from tests.unit.service.kit import (
    ANNA,
    KEY,
    NOON,
    Desk,
    SetClock,
    add_works,
    answers,
    attempts,
    candidate,
    deliveries,
    http_answer,
    serve,
    workplace_row,
)

OK = http_answer(200, b"thanks")


@dataclass
class Successor(Desk):
    """Another process at the same workplace, which takes the first one for dead."""

    stack: ExitStack = field(default_factory=ExitStack)

    def take_over(self) -> None:
        self.stack.enter_context(hold_epoch(self.database, "daemon", self.clock))


@pytest.fixture
def other(desk: Desk, database_at: Path | str) -> Iterator[Successor]:
    opened = open_database(database_at)
    successor = Successor(opened, desk.works, desk.clock)
    with successor.stack:
        yield successor
    opened.close()


# The lock of a host


def test_a_second_worker_is_refused_and_told_who_the_first_one_is(tmp_path: Path) -> None:
    lock = tmp_path / "db" / "artbot.lock"
    with (
        hold_worker(lock, "daemon"),
        pytest.raises(WorkerBusy, match=r"^artbot daemon \(process \d+ on .*\) is already at work"),
        hold_worker(lock, "publish"),
    ):
        pass
    with hold_worker(lock, "publish"):
        assert (current_worker(lock) or "").startswith("artbot publish (process ")
    assert current_worker(lock) is None


def test_whoever_merely_looks_does_not_keep_a_worker_from_beginning(tmp_path: Path) -> None:
    lock = tmp_path / "artbot.lock"
    assert current_worker(lock) is None
    assert not lock.exists()
    with hold_worker(lock, "daemon"):
        pass
    assert current_worker(lock) is None


# The epoch


@on_sqlite_only
def test_every_worker_has_an_epoch_of_its_own_and_says_who_it_is(database: Database) -> None:
    for epoch, task in ((1, "daemon"), (2, "publish"), (3, "daemon")):
        with hold_epoch(database, task, SetClock()):
            row = workplace_row(database)
            assert (database.epoch, row.epoch) == (epoch, epoch)
            assert (row.worker or "").startswith(f"artbot {task} (process ")
            assert (row.host, row.leased_until) == (socket.gethostname(), NOON + LEASE)
        row = workplace_row(database)
        assert (database.epoch, row.epoch, row.leased_until) == (None, epoch, None)


def test_an_attempt_says_under_which_epoch_it_was_made(desk: Desk) -> None:
    for work in add_works(desk.database, desk.works, 2):
        approve(desk.review, work, ANNA)
        with serve(answers(OK)) as server, hold_epoch(desk.database, "test", desk.clock):
            desk.send(server.url)
    assert [attempt.epoch for attempt in attempts(desk.database)] == [1, 2]


def test_what_a_worker_writes_after_another_took_over_is_not_kept(
    desk: Desk, other: Successor
) -> None:
    (work,) = add_works(desk.database, desk.works)
    mine = desk.database

    def retitle(database: Database, title: str) -> None:
        with database.write() as session:
            session.get_one(Candidate, work).title = title

    with hold_epoch(mine, "daemon", desk.clock):
        retitle(mine, "mine")
        other.take_over()
        with pytest.raises(Fenced, match=r"another worker has taken over \(epoch 2, ours was 1\)"):
            retitle(mine, "mine still")
        assert candidate(mine, work).title == "mine", "reading is allowed"
        retitle(other.database, "theirs")
    assert candidate(other.database, work).title == "theirs"


def test_the_refusal_comes_before_anything_is_read_for_writing(
    desk: Desk, other: Successor
) -> None:
    """Nothing of a fenced transaction happens: not even what it would have done to files."""
    reached = False

    def write() -> None:
        nonlocal reached
        with desk.database.write():
            reached = True

    with hold_epoch(desk.database, "daemon", desk.clock):
        other.take_over()
        with pytest.raises(Fenced):
            write()
    assert not reached


def test_a_fenced_worker_is_to_end_not_to_go_on() -> None:
    """The daemon catches what may pass by itself; this does not."""
    assert issubclass(Fenced, DatabaseUnusable)
    assert not issubclass(Fenced, OSError)


@on_sqlite_only
def test_a_fenced_worker_that_ends_leaves_the_lease_of_its_successor_alone(
    desk: Desk, other: Successor
) -> None:
    with hold_epoch(desk.database, "daemon", desk.clock):
        other.take_over()
    row = workplace_row(other.database)
    assert (row.epoch, row.leased_until) == (2, NOON + LEASE)
    assert desk.database.epoch is None


def test_what_ended_the_work_is_told_even_if_the_lease_cannot_be_given_back(
    desk: Desk, other: Successor
) -> None:
    def work() -> None:
        with hold_epoch(desk.database, "daemon", desk.clock):
            other.take_over()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_people_decide_whoever_works(desk: Desk, other: Successor) -> None:
    (work,) = add_works(desk.database, desk.works)
    other.take_over()
    approve(desk.review, work, ANNA)
    assert candidate(desk.database, work).state == "approved"


# The lease


def boot() -> tuple[str, float]:
    return "boot-1", 0.0


@on_sqlite_only
@pytest.mark.parametrize("lease", [LEASE, timedelta(hours=1)])
def test_a_worker_that_lives_says_so_once_a_minute(database: Database, lease: timedelta) -> None:
    clock = SetClock()
    with hold_epoch(database, "daemon", clock, lease=lease):
        until = []
        for _ in range(100):
            clock.advance(seconds=10)
            ran = (clock() - NOON).total_seconds()
            keep_working(database, clock, lambda ran=ran: ("boot-1", ran), lease)
            left = (workplace_row(database).leased_until or NOON) - clock()
            assert lease - RENEW_AFTER < left <= lease
            until.append(workplace_row(database).leased_until)
    assert len(set(until)) <= 1 + 1000 / RENEW_AFTER.total_seconds(), "and writes no oftener"


def test_a_worker_that_others_took_for_dead_hears_of_it_when_it_says_that_it_lives(
    desk: Desk, other: Successor
) -> None:
    with hold_epoch(desk.database, "daemon", desk.clock):
        keep_working(desk.database, desk.clock, boot)
        other.take_over()
        with pytest.raises(Fenced):
            keep_working(desk.database, desk.clock, boot)


@on_sqlite_only
def test_a_file_has_one_host_whatever_that_is_called_today(database: Database) -> None:
    """The lock says it all: a lease left behind by a machine that was renamed stops nobody."""
    with database.write() as session:
        row = session.get_one(WorkplaceRow, 1)
        row.worker, row.host = "artbot daemon (process 7 on old-name)", "old-name"
        row.leased_until = NOON + timedelta(days=365)
    assert worker_elsewhere(database, SetClock()) is None
    with hold_epoch(database, "daemon", SetClock()):
        assert workplace_row(database).host == socket.gethostname()


# Sending while another takes over


@dataclass
class Meanwhile(Sender):
    """A channel at which something else happens while it sends."""

    sender: Sender
    happens: list[object]

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        receipt = self.sender.commit(parcel, now)
        for event in self.happens:
            assert callable(event)
            event()
        self.happens.clear()
        return receipt


def test_a_worker_fenced_while_sending_records_nothing_and_its_successor_repeats_under_the_key(
    desk: Desk, other: Successor
) -> None:
    desk.approve_one()
    with serve(answers(OK)) as server:
        webhook = WebhookSender(server.url, KEY, allow_private=True)
        outbox = desk.outbox_to(Meanwhile(webhook, [other.take_over]))
        with hold_epoch(desk.database, "daemon", desk.clock):
            with pytest.raises(Fenced):
                deliver_due(outbox, lambda _: None, lambda: False)
            assert [d.state for d in deliveries(other.database)] == ["sending"]
            assert [a.outcome for a in attempts(other.database)] == [None]

        assert recover_interrupted(other.database, other.protections, other.clock()) == 1
        assert [sent.state for sent in other.send(server.url)] == ["delivered"]
    assert len({request.headers["webhook-id"] for request in server.requests}) == 1
    found = attempts(other.database)
    assert [(a.epoch, a.outcome) for a in found] == [(1, "unknown"), (2, "delivered")]


def test_to_a_receiver_that_recognises_nothing_the_successor_does_not_repeat(
    desk: Desk, other: Successor
) -> None:
    desk.recognises_for = other.recognises_for = None
    desk.approve_one()
    with serve(answers(OK)) as server:
        webhook = WebhookSender(server.url, KEY, allow_private=True)
        outbox = desk.outbox_to(Meanwhile(webhook, [other.take_over]))
        with hold_epoch(desk.database, "daemon", desk.clock), suppress(Fenced):
            deliver_due(outbox, lambda _: None, lambda: False)
        recover_interrupted(other.database, other.protections, other.clock())
        assert other.send(server.url) == []
    assert [d.state for d in deliveries(other.database)] == ["uncertain"]
    assert len(server.requests) == 1


def test_a_worker_fenced_before_its_claim_sends_nothing(desk: Desk, other: Successor) -> None:
    desk.approve_one()
    with serve(answers(OK)) as server, hold_epoch(desk.database, "daemon", desk.clock):
        other.take_over()
        with pytest.raises(Fenced):
            desk.send(server.url)
        assert server.num_connections == 0
    assert attempts(other.database) == []
    assert [d.state for d in deliveries(other.database)] == ["queued"]

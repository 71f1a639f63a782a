"""An old database that is put back, by whatever means, posts nothing twice: rows 29 and 30, on both kinds.

The receiver of these tests recognises nothing: what it gets twice it shows twice.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from artbot.config import load_settings
from artbot.domain.delivery import NO_PROTECTION
from artbot.errors import DatabaseError, StorageFailed
from artbot.mark import read_mark, write_mark
from artbot.publishing.channels import settings_models
from artbot.publishing.outbox import Sent, deliver_due
from artbot.workplace import Workplace
from db.engine import DatabaseUnusable, Fenced, open_database
from tests.conftest import Place, wait_for
from tests.faults.kill_driver import BOOT
from tests.faults.killing import Driver, Found, Template, check_sound, copied, receiving
from tests.faults.stores import Store, file_in
from tests.unit.service.kit import (
    NOON,
    SetClock,
    add_works,
    answers,
    deliveries,
    http_answer,
    interventions,
    serve,
    workplace_row,
)


class Killed(BaseException):
    pass


@pytest.fixture
def found(
    database_kind: str,
    template_of: Callable[[str, str], Template],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Found]:
    """Two works that are approved and due, and their receiver."""
    monkeypatch.setattr(
        "artbot.publishing.channels.protections",
        lambda settings: dict.fromkeys(settings.channels, NO_PROTECTION),
    )
    with copied(template_of("deliver", database_kind), tmp_path / "place") as made:
        with receiving(made):
            yield made
        check_sound(made)


@contextmanager
def opened(root: Path, minutes: float = 0) -> Iterator[Workplace]:
    """As a process opens it, so many minutes after noon."""
    clock = SetClock(NOON + timedelta(minutes=minutes))
    settings = load_settings(root, settings_models())
    place = Workplace(settings, clock, lambda: ("boot", (clock() - BOOT).total_seconds()))
    try:
        yield place
    finally:
        place.close()


def send(place: Workplace, most: int = 9) -> list[Sent]:
    sent: list[Sent] = []
    deliver_due(place.outbox, sent.append, lambda: len(sent) == most)
    return sent


def work(root: Path, minutes: float, most: int = 9) -> list[Sent]:
    """A worker's whole life."""
    with opened(root, minutes) as place, place.work("publish"):
        return send(place, most)


def copy(found: Found, place: Workplace, to: Path) -> Store:
    place.database.engine.dispose()  # a server copies only what nobody uses
    return found.store.copy(to)


def put_back(found: Found, place: Workplace, old: Store) -> None:
    """Under the worker: into the same file, or on the server. That takes a moment."""
    place.database.engine.dispose()
    found.store.put_back(old)
    old.remove()
    assert isinstance(place.clock, SetClock)
    place.clock.advance(seconds=1)


def num_received(found: Found) -> int:
    return sum(len(bodies) for bodies in found.receiver.bodies.values())


def states(root: Path) -> list[str]:
    with opened(root) as place:
        return [delivery.state for delivery in deliveries(place.database)]


# Under a live worker


@pytest.mark.parametrize("num_sent", [1, 2])
def test_a_database_put_back_under_a_live_worker_ends_it_before_anything_is_sent(
    found: Found, tmp_path: Path, num_sent: int
) -> None:
    """Its epoch is as it was, and the next attempt has a number that one had before."""
    with opened(found.root) as place:
        with place.work("daemon"):
            old = copy(found, place, tmp_path / "old")
            assert [sent.state for sent in send(place, num_sent)] == ["delivered"] * num_sent
            put_back(found, place, old)
            with pytest.raises(DatabaseUnusable, match="put back while it was in use") as ended:
                send(place)
            assert not isinstance(ended.value, Fenced)
        assert num_received(found) == num_sent
    assert work(found.root, 1) == []
    assert num_received(found) == num_sent
    assert states(found.root) == ["uncertain", "uncertain"]


def test_and_one_that_is_killed_in_that_moment_leaves_its_successor_to_notice(
    found: Found, tmp_path: Path
) -> None:
    """Then the database has an attempt of the number that the mark names: but it is another."""

    def killed(attempt_id: int) -> None:
        raise Killed

    with opened(found.root) as place, place.work("daemon"):
        old = copy(found, place, tmp_path / "old")
        assert len(send(place, 1)) == 1
        put_back(found, place, old)
    with opened(found.root, 1) as place:
        # As the live worker would go on: the old epoch is the current one.
        place.database.epoch = workplace_row(place.database).epoch
        object.__setattr__(place.outbox, "before_send", killed)
        with pytest.raises(Killed):
            send(place)
    work(found.root, 2)
    assert num_received(found) == 1
    assert states(found.root) == ["uncertain", "uncertain"]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_a_number_that_was_skipped_hides_nothing(found: Found, tmp_path: Path) -> None:
    """A server that was promoted has lost attempts, and goes on thirty numbers later."""
    with opened(found.root) as place, place.work("daemon"):
        old = copy(found, place, tmp_path / "old")
        assert len(send(place, 1)) == 1
        put_back(found, place, old)
        with place.database.write() as session:
            skipped = (
                "INSERT INTO attempts (id, delivery_id, started_at, finished_at, body_sha256, outcome, epoch)"
                " SELECT 33, max(id), '2026-11-20T00:00:00.000000Z', '2026-11-20T00:00:00.000000Z', 'b',"
                " 'unavailable', 1 FROM deliveries"
            )
            session.connection().exec_driver_sql(skipped)
            session.connection().exec_driver_sql("SELECT setval('attempts_id_seq', 33)")
        with pytest.raises(DatabaseUnusable, match="put back while it was in use"):
            send(place)
    work(found.root, 1)
    assert num_received(found) == 1
    assert states(found.root) == ["uncertain", "uncertain"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_daemon_under_which_the_file_is_restored_ends_and_says_why(place: Place) -> None:
    """Row 29, with a real daemon and `sqlite3 .restore`: the file keeps its name and its inode."""
    with closing(open_database(place.database_at)) as database:
        add_works(database, place.root / "works", 1)
    with serve(answers(http_answer(204))) as server:
        place.configure(
            f'[channels.studio]\ntype = "webhook"\nurl = "{server.url}"\nallow_private = true\n'
            'secret_file = "secrets/webhook"\n[publishing]\nundo_minutes = 0.1\n'
        )
        daemon = place.start("daemon")
        wait_for(lambda: place.json("status")["worker"])
        place.run("approve", "1").refused(0)
        live, old = file_in(place.root), place.root / "old.sqlite3"
        restore(live, old)
        assert not server.requests
        wait_for(lambda: place.json("status")["num_published"])
        restore(old, live)
        out, _ = daemon.communicate(timeout=300)
        assert daemon.returncode == 1
        assert "put back while it was in use" in out
        assert "Traceback" not in out
        again = place.run("daemon", "--once")
        assert "older than what was done last" in again.out
    # This receiver recognises repetitions, so it is sent one; under the key that it knows.
    assert len({request.headers["webhook-id"] for request in server.requests}) == 1


def restore(source: Path, target: Path) -> None:
    """What `.restore` of the sqlite3 shell does: into the file that is there, in one transaction."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


# On another host, and without a mark


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_the_host_that_takes_over_notices_what_the_other_one_did(
    found: Found, tmp_path: Path
) -> None:
    """The first one works, the second stands by; the server is restored while the first is down."""
    other = tmp_path / "other"
    shutil.copytree(found.root / "secrets", other / "secrets")
    text = (found.root / "artbot.toml").read_text()
    works = f'[paths]\nworks = "{found.root / "works"}"\n'
    (other / "artbot.toml").write_text(text.replace("[paths]\n", works))
    with opened(found.root) as place, place.work("daemon"):
        old = copy(found, place, tmp_path / "old")
        assert len(send(place)) == 2
        put_back(found, place, old)
    assert work(other, 10) == []
    assert num_received(found) == 2
    assert states(found.root) == ["uncertain", "uncertain"]


def test_a_missing_mark_is_a_doubt_once_there_was_a_worker(found: Found, tmp_path: Path) -> None:
    """As after an archive of the workplace is unpacked, which leaves the mark out."""
    with opened(found.root) as place, place.work("daemon"):
        old = copy(found, place, tmp_path / "old")
        assert len(send(place)) == 2
        put_back(found, place, old)
    (found.root / "works/artbot.mark").unlink()
    for minutes in (10, 20):
        assert work(found.root, minutes) == []
    assert num_received(found) == 2
    assert states(found.root) == ["uncertain", "uncertain"]
    with opened(found.root) as place:
        acts = [(i.act, i.delivery_id is None) for i in interventions(place.database)]
    assert acts.count(("restore", True)) == 1, "doubted once"


def test_the_first_worker_of_a_workplace_has_nothing_to_doubt_even_if_it_is_killed_as_it_begins(
    found: Found, driver: Driver
) -> None:
    assert driver.run("deliver", found.root, NOON, failpoint="worker.begun") == -9
    assert [sent.state for sent in work(found.root, 10)] == ["delivered", "delivered"]
    with opened(found.root) as place:
        assert interventions(place.database) == []


def test_a_works_folder_that_is_not_mounted_is_waited_for_and_nothing_is_doubted(
    found: Found,
) -> None:
    work(found.root, 0, most=1)
    works, away = found.root / "works", found.root / "away"
    works.rename(away)
    for _ in range(2):
        with pytest.raises(StorageFailed, match="is its disk mounted"):
            work(found.root, 10)
        works.mkdir(exist_ok=True)
    works.rmdir()
    away.rename(works)
    assert [sent.state for sent in work(found.root, 20)] == ["delivered"]


def test_a_mark_that_is_damaged_is_said_and_never_overlooked(found: Found) -> None:
    work(found.root, 0, most=1)
    mark = found.root / "works/artbot.mark"
    whole = mark.read_bytes()
    for damaged in (b"", b"{}", b"[1]", b"\xff", whole[:20]):
        mark.write_bytes(damaged)
        with pytest.raises(DatabaseError, match="remove it"):
            work(found.root, 10)
    mark.write_bytes(whole)
    with opened(found.root, 20) as place, place.work("publish"):
        for damage in (lambda: mark.write_bytes(b"{"), mark.unlink):
            damage()
            with pytest.raises(DatabaseUnusable, match=r"artbot\.mark"):
                place._remember(None)
    assert num_received(found) == 1


def test_the_mark_keeps_the_latest_day_of_which_anything_was_sent(found: Found) -> None:
    """A clock that was ahead made it; what comes after that of earlier days does not lower it."""
    with opened(found.root) as place, place.work("publish"):
        send(place, 1)
    mark = read_mark(found.root / "works/artbot.mark")
    assert mark is not None
    assert mark.latest_day == "2026-11-21"
    write_mark(found.root / "works/artbot.mark", replace(mark, latest_day="2026-11-24"))
    work(found.root, 1)
    after = read_mark(found.root / "works/artbot.mark")
    assert after is not None
    assert after.attempt_id > mark.attempt_id
    assert after.latest_day == "2026-11-24"


def test_what_a_killed_worker_left_of_a_mark_is_removed(found: Found) -> None:
    left = found.root / "works/.artbot.mark.7.tmp"
    left.write_bytes(b"{")
    work(found.root, 0)
    assert not left.exists()


@pytest.mark.parametrize("most", [0, 1])
def test_a_worker_that_was_replaced_writes_no_mark_and_sends_nothing(
    found: Found, most: int
) -> None:
    """Also if its successor sent nothing meanwhile."""
    with ExitStack() as stack:
        first = stack.enter_context(opened(found.root))
        stack.enter_context(first.work("daemon"))
        (found.root / "db/artbot.lock").unlink()
        if not first.database.is_sqlite:
            with first.database.write() as session:
                session.connection().exec_driver_sql("UPDATE workplace SET leased_until = NULL")
        work(found.root, 1, most)
        mark = (found.root / "works/artbot.mark").read_bytes()
        with pytest.raises(Fenced):
            first._remember(1)
        assert (found.root / "works/artbot.mark").read_bytes() == mark
    assert num_received(found) == most

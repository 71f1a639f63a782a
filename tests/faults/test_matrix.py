"""Rows of the fault matrix that have no other home; docs/faults.md says where each row is shown."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from artbot.daemon.run import Daemon
from artbot.daemon.supervision import Supervision
from artbot.errors import NotAllowed, WorkerBusy
from artbot.publishing.interventions import withdraw
from artbot.review.decisions import approve
from artbot.upkeep.backup import check_file, list_backups, make_backup
from artbot.worker import hold_worker
from artbot.workplace import Workplace
from db.engine import open_database
from db.models import Batch
from tests.conftest import ARTBOT, CHECKOUT, Place, on_sqlite_only, wait_for
from tests.faults.kill_driver import BOOT, Brush, open_place
from tests.faults.killing import (
    LATER,
    OPERATIONS,
    Driver,
    Template,
    begin_batch,
    check,
    check_nothing_is_left_over,
    check_sound,
    copied,
    receiving,
)
from tests.faults.stores import file_in
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Answer,
    Desk,
    Request,
    SetClock,
    add_works,
    attempts,
    deliveries,
    http_answer,
    run_at_once,
    serve,
)

CHANNEL = """
[channels.studio]
type = "webhook"
url = "{url}"
allow_private = true
secret_file = "secrets/webhook"
[publishing]
undo_minutes = 0
"""


@pytest.fixture
def stocked(place: Place) -> Place:
    """A workplace with two painted works and no schedule."""
    place.configure("")
    with contextlib.closing(open_database(place.database_at)) as database:
        add_works(database, place.root / "works", 2)
    return place


def approved(place: Place, url: str, *works: int) -> None:
    place.configure(CHANNEL.format(url=url))
    place.run("approve", *map(str, works)).refused(0)


def states(place: Place) -> list[str]:
    with contextlib.closing(open_database(place.database_at)) as database:
        return [delivery.state for delivery in deliveries(database)]


def taking_its_time(seconds: float) -> Answer:
    """A receiver that has the work at once and says so later."""

    def answer(connection: socket.socket, _: Request) -> None:
        time.sleep(seconds)
        connection.sendall(http_answer(204))

    return answer


# Signals and several workers


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGTERM,),
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGHUP,),
    ],
    ids=["TERM", "TERM-TERM", "INT-INT", "HUP"],
)
def test_a_signal_while_sending_leaves_no_half_state_and_no_traceback(
    stocked: Place, numbers: tuple[signal.Signals, ...]
) -> None:
    """Rows 12 and 13. SIGHUP ends it as a kill does: what was on the wire is repeated under its key."""
    with serve(taking_its_time(1.5)) as server:
        approved(stocked, server.url, 1)
        ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's is inherited
        daemon = stocked.start("daemon")
        signal.signal(signal.SIGHUP, ours)
        wait_for(lambda: server.requests)
        for number in numbers:
            daemon.send_signal(number)
            time.sleep(0.1)
        out, _ = daemon.communicate(timeout=300)
        assert "Traceback" not in out
        if signal.SIGHUP in numbers:
            assert daemon.returncode == -signal.SIGHUP
            assert states(stocked) == ["sending"]
            stocked.run("publish").refused(0)
        else:
            assert daemon.returncode == 0
            assert len(server.requests) == 1
    assert states(stocked) == ["delivered"]
    assert len({r.headers["webhook-id"] for r in server.requests}) == 1


def test_an_owner_that_slept_finds_that_it_was_replaced_and_ends(stocked: Place) -> None:
    """Row 17. Stopped it still holds the lock, which is wanted; only with the lock's file removed can a
    second worker begin, and then the first one may write nothing more."""
    with serve(taking_its_time(0)) as server:
        stocked.configure(CHANNEL.format(url=server.url))
        first = stocked.start("daemon")
        wait_for(lambda: stocked.json("status")["worker"])
        if stocked.url is None:  # its first round ends with a backup
            wait_for(lambda: list_backups(stocked.root / "db/backups"))
        time.sleep(0.5)  # it rests, and holds nothing in the database
        first.send_signal(signal.SIGSTOP)
        try:
            stocked.run("approve", "1").refused(0)
            stocked.run("publish").refused(1, f"process {first.pid}")
            assert not server.requests
            (stocked.root / "db/artbot.lock").unlink()
            stocked.run("publish").refused(0)
        finally:
            first.send_signal(signal.SIGCONT)
        out, _ = first.communicate(timeout=300)
    assert first.returncode == 1
    assert "another worker has taken over" in out
    assert "Traceback" not in out
    assert len(server.requests) == 1
    assert states(stocked) == ["delivered"]


STOPPED_AS_IT_CONNECTS = """
import os, signal, sys, time
from datetime import timedelta
from artbot.cli.main import main
from artbot.publishing import http, outbox

outbox.SEND_WITHIN = timedelta(seconds=float(sys.argv[1]))
connect = http.sockets.create_connection

def connect_and_be_stopped(*address, **options):
    connection = connect(*address, **options)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.1)  # it is stopped when all its threads are
    return connection

http.sockets.create_connection = connect_and_be_stopped
sys.argv = ["artbot", "publish"]
main()
"""


@pytest.mark.parametrize(("send_within_s", "num_sent"), [(1.0, 0), (60.0, 1)])
def test_who_is_stopped_while_it_connects_sends_nothing_when_it_goes_on(
    stocked: Place, send_within_s: float, num_sent: int
) -> None:
    """Row 17: after the last look at the clock that the outbox takes, and long before the receiver has
    heard a word. Stopped for a moment only, it sends."""
    with serve(taking_its_time(0)) as server:
        approved(stocked, server.url, 1)
        sender = subprocess.Popen(
            [sys.executable, "-c", STOPPED_AS_IT_CONNECTS, str(send_within_s)],
            cwd=stocked.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_for(lambda: state_of(sender) == "T")
            time.sleep(1.5)
            assert (server.num_connections, server.requests) == (1, [])
        finally:
            sender.send_signal(signal.SIGCONT)
        out, _ = sender.communicate(timeout=300)
        assert sender.returncode == 1 - num_sent, out
    assert len(server.requests) == num_sent
    assert states(stocked) == (["delivered"] if num_sent else ["retry_wait"])
    assert stocked.sql("SELECT outcome FROM attempts") == [
        ("delivered" if num_sent else "unavailable",)
    ]


def state_of(process: subprocess.Popen[str]) -> str:
    """As in proc(5): T is stopped."""
    assert process.poll() is None, process.communicate()[0]
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_child_that_outlives_a_killed_worker_does_not_hold_its_lock(tmp_path: Path) -> None:
    """Row 18."""
    lock = tmp_path / "artbot.lock"
    script = (
        "import subprocess, sys; from pathlib import Path; from artbot.worker import hold_worker\n"
        "with hold_worker(Path(sys.argv[1]), 'daemon'):\n"
        "    child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True)\n"
        "    sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(lock)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    orphan = int(worker.stdout.readline())
    try:
        with pytest.raises(WorkerBusy, match=f"process {worker.pid}"), hold_worker(lock, "publish"):
            pass
        worker.kill()
        worker.communicate()
        os.kill(orphan, 0)  # it lives
        with hold_worker(lock, "publish"):
            pass
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_of_a_withdrawal_and_a_claim_at_once_exactly_one_wins(
    tmp_path: Path, database_at: Path | str
) -> None:
    """Row 22."""
    database = open_database(database_at)
    desk = Desk(database, tmp_path / "works", SetClock())
    with contextlib.closing(database), serve(taking_its_time(0)) as server:
        for round_, work in enumerate(add_works(database, desk.works, 12)):
            approve(desk.review, work, ANNA)
            number = deliveries(database)[-1].id
            before = len(server.requests)

            def take_back(number: int = number, delay: float = 0.004 * (round_ % 6)) -> object:
                time.sleep(delay)
                return withdraw(database, number, BEN, NOON)

            withdrawn, _ = run_at_once(take_back, lambda: desk.send(server.url))
            state = deliveries(database)[-1].state
            num_sent = len(server.requests) - before
            num_tried = sum(attempt.delivery_id == number for attempt in attempts(database))
            if isinstance(withdrawn, NotAllowed):
                assert (state, num_sent, num_tried) == ("delivered", 1, 1)
            else:
                assert not isinstance(withdrawn, Exception), withdrawn
                assert (state, num_sent, num_tried) == ("cancelled", 0, 0)


def test_two_backups_at_once_are_both_made(tmp_path: Path) -> None:
    """Row 11: the daemon's and a person's do not take each other's for left over."""
    with contextlib.closing(open_database(tmp_path / "artbot.sqlite3")):
        pass
    file, backups = tmp_path / "artbot.sqlite3", tmp_path / "backups"
    moments = [NOON + timedelta(seconds=s) for s in (0, 0, 1, 2)]
    made = run_at_once(*[partial(make_backup, file, backups, at, 9) for at in moments])
    assert not [error for error in made if isinstance(error, Exception)]
    for backup in list_backups(tmp_path / "backups"):
        check_file(backup.path)
    assert len(list_backups(tmp_path / "backups")) == 3


# Disks


FAULTS_OF_DISKS = {
    "sqlite": (
        ("batch", "approve", "deliver", "deliver-unrecognised", "backup"),
        (("pwrite64", "ENOSPC"), ("write", "ENOSPC"), ("fdatasync", "EIO"), ("fsync", "EIO")),
    ),
    "postgresql": (("batch", "deliver"), (("write", "ENOSPC"), ("fsync", "EIO"))),
}
"""By kind of database: operations, and the calls that fail. On a server only pictures and the mark are
files of ours."""


@pytest.mark.parametrize(
    ("kind", "name", "call", "error"),
    [
        (kind, name, *fault)
        for kind, (names, faults) in FAULTS_OF_DISKS.items()
        for name in names
        for fault in faults
    ],
)
def test_a_disk_that_is_full_or_fails_loses_nothing_and_sends_nothing_unwritten(
    kind: str,
    name: str,
    call: str,
    error: str,
    driver: Driver,
    template_of: Callable[[str, str], Template],
    tmp_path: Path,
) -> None:
    """Rows 23, 24 and 26: from the nth call on (full), or at the nth call (failed)."""
    operation = OPERATIONS[name]
    plus = "+" if error == "ENOSPC" else ""
    for nth in (1, 3, 9):
        with copied(template_of(name, kind), tmp_path / f"{call}-{nth}") as found:
            with receiving(found):
                inject = f"inject={call}:error={error}:when={nth}{plus}"
                trace = ["-o", os.devnull, "-e", f"trace={call}", "-e", inject]
                driver.run(name, found.root, NOON, trace)
                check(operation.always, found)
                assert driver.run(name, found.root, NOON + LATER) == 0
            check(operation.always, found)
            if not name.startswith("deliver") and (name, call) != ("backup", "fsync"):
                check(operation.finally_, found)


@on_sqlite_only
def test_a_daemon_whose_disk_fails_ends_says_so_and_goes_on_when_begun_again(
    stocked: Place,
) -> None:
    """Row 26."""
    with serve(taking_its_time(0)) as server:
        approved(stocked, server.url, 1)
        environment = {**os.environ, "TZ": "UTC"}
        strace = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=fdatasync"]
        inject = ["-e", "inject=fdatasync:error=EIO:when=9"]
        ended = subprocess.run(
            [*strace, *inject, str(ARTBOT), "daemon"],
            cwd=stocked.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 1, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stderr
        assert "the disk failed a write" in ended.stderr
        time.sleep(
            6
        )  # an attempt that was interrupted is due five seconds later, if it had been refused
        stocked.run("daemon", "--once").refused(0)
    assert states(stocked) == ["delivered"]


def test_a_log_that_cannot_be_written_stops_no_work(stocked: Place) -> None:
    """Row 25."""
    with serve(taking_its_time(0)) as server, open("/dev/full", "w") as full:
        approved(stocked, server.url, 1, 2)
        daemon = subprocess.Popen(
            [str(ARTBOT), "daemon"],
            cwd=stocked.root,
            stdout=full,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: states(stocked) == ["delivered", "delivered"])
            assert daemon.poll() is None
        finally:
            daemon.terminate()
            daemon.wait(60)


@on_sqlite_only
def test_a_file_system_that_is_read_only_refuses_in_words(stocked: Place) -> None:
    """Row 27."""
    inside = (
        f"mount --bind {stocked.root} {stocked.root} && mount -o remount,ro,bind {stocked.root}"
    )
    probe = subprocess.run(["unshare", "-rm", "sh", "-c", inside], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"no private mount to make read-only: {probe.stderr.strip()}")
    for command in ("approve 1", "daemon --once", "db backup"):
        run = subprocess.run(
            ["unshare", "-rm", "sh", "-c", f"{inside} && cd {stocked.root} && {ARTBOT} {command}"],
            capture_output=True,
            text=True,
        )
        assert run.returncode == 1, command + run.stdout + run.stderr
        assert "Traceback" not in run.stderr
        assert re.search("read-?only", run.stderr, re.I), run.stderr
    assert stocked.json("show", "1")["state"] == "pending"


@pytest.mark.parametrize("limit", [4, 8, 16])
def test_without_file_descriptors_nothing_half_happens(stocked: Place, limit: int) -> None:
    """Row 27."""
    run = subprocess.run(
        ["sh", "-c", f"ulimit -n {limit}; exec {ARTBOT} approve 1"],
        cwd=stocked.root,
        capture_output=True,
        text=True,
    )
    is_approved = run.returncode == 0
    state = stocked.json("show", "1")["state"]
    assert state == ("approved" if is_approved else "pending"), run.stderr
    stocked.run("approve", "1").refused(0)


@on_sqlite_only
def test_a_database_that_is_taken_away_ends_the_daemon(stocked: Place) -> None:
    """Row 29."""
    stocked.configure(CHANNEL.format(url="http://127.0.0.1:9/"))
    daemon = stocked.start("daemon")
    wait_for(lambda: stocked.json("status")["worker"])
    file_in(stocked.root).rename(stocked.root / "away.sqlite3")
    out, _ = daemon.communicate(timeout=300)
    assert daemon.returncode == 1
    assert "was removed or replaced" in out
    assert "Traceback" not in out


def test_a_database_put_back_by_hand_posts_nothing_twice(
    database_kind: str,
    driver: Driver,
    template_of: Callable[[str, str], Template],
    tmp_path: Path,
) -> None:
    """Row 30."""
    with copied(template_of("deliver", database_kind), tmp_path / "place") as found:
        with receiving(found):
            old = found.store.copy(tmp_path / "old")
            assert driver.run("deliver-unrecognised", found.root, NOON) == 0
            found.store.put_back(old)
            old.remove()
            assert driver.run("deliver-unrecognised", found.root, NOON + LATER) == 0
        assert [len(bodies) for bodies in found.receiver.bodies.values()] == [1, 1]
        check((check_sound, check_nothing_is_left_over), found)
        with contextlib.closing(open_database(found.store.where)) as database:
            assert [d.state for d in deliveries(database)] == ["uncertain", "uncertain"]


def test_a_restore_waits_for_who_is_writing_and_loses_nothing_they_were_told(
    driver: Driver, template_of: Callable[[str, str], Template], tmp_path: Path
) -> None:
    """Row 30: a decision that is being written while the database is replaced is in the replaced one."""
    with copied(template_of("restore", "sqlite"), tmp_path / "place") as found, receiving(found):
        writer = sqlite3.connect(file_in(found.root), isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE candidates SET error = 'told' WHERE id = 1")
        done: list[int] = []
        restoring = threading.Thread(
            target=lambda: done.append(driver.run("restore", found.root, NOON))
        )
        restoring.start()
        time.sleep(1.5)
        assert not done, "it did not wait"
        writer.execute("COMMIT")
        writer.close()
        restoring.join(60)
        assert done == [0]
        (replaced,) = (found.root / "db").glob("*.replaced-*")
        with contextlib.closing(sqlite3.connect(replaced)) as kept:
            assert kept.execute("SELECT error FROM candidates WHERE id = 1").fetchone() == ("told",)


# Clocks


class World:
    """A workplace whose clocks are set, and the rounds of its daemon."""

    def __init__(self, root: Path, where: Path | str) -> None:
        """`where`: its database."""
        begin_batch(root, where)
        self.root = root
        self.where = where
        self.now = NOON
        self.ran = (NOON - BOOT).total_seconds()

    @property
    def place(self) -> Workplace:
        settings = open_place(self.root, self.now).settings
        return Workplace(settings, lambda: self.now, lambda: ("boot", self.ran))

    def configure(self, timezone: str = "UTC", at: str = "07:00") -> None:
        (self.root / "artbot.toml").write_text(
            f'[paths]\ndatabase = "{self.where}"\n'
            f'[schedules.daily]\nat = "{at}"\ntimezone = "{timezone}"\ncandidates = 1\n'
        )

    def pass_time(self, elapsed: timedelta) -> None:
        self.now += elapsed
        self.ran += elapsed.total_seconds()

    def round(self) -> bool:
        place = self.place
        with contextlib.closing(place.database), place.work("daemon"):
            return Daemon(place, lambda: False, Supervision({})).round()

    def accept_clock(self) -> None:
        place = self.place
        with contextlib.closing(place.database):
            place.accept_clock(BEN)

    def days(self) -> dict[str, str]:
        database = open_database(self.where)
        with contextlib.closing(database), database.read() as session:
            return {b.key[-5:]: b.state for b in session.query(Batch).order_by(Batch.due_at)}


@pytest.fixture
def world(tmp_path: Path, database_at: Path | str, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("artbot.studio.batch.RenderChild", Brush)
    made = World(tmp_path, database_at)
    made.configure()
    return made


def test_a_clock_that_is_set_back_stops_the_work_until_it_is_right(world: World) -> None:
    """Row 44."""
    assert world.round()
    world.now -= timedelta(hours=26)
    assert not world.round()
    assert world.days() == {"11-21": "ready"}
    world.now += timedelta(hours=26)
    world.pass_time(timedelta(days=1))
    assert world.round()
    assert world.days() == {"11-21": "ready", "11-22": "ready"}


def test_a_clock_that_leaps_a_year_floods_nothing_and_asks(world: World) -> None:
    """Row 45."""
    assert world.round()
    world.now += timedelta(days=365)
    assert not world.round()
    assert world.days() == {"11-21": "ready"}
    world.accept_clock()
    assert world.round()
    made = [day for day, state in world.days().items() if state == "ready"]
    assert len(made) <= 4
    assert len(world.days()) >= 365


def test_after_a_sleep_of_nine_hours_the_batch_is_made_in_the_first_round(world: World) -> None:
    """Row 46."""
    world.now = datetime(2026, 11, 21, 23, 0, tzinfo=UTC)
    assert world.round()
    world.pass_time(timedelta(hours=9))
    assert world.round()
    assert world.days()["11-22"] == "ready"


def test_after_five_days_the_recent_ones_are_caught_up_and_the_others_recorded(
    world: World,
) -> None:
    """Row 47."""
    assert world.round()
    world.pass_time(timedelta(days=5))
    for _ in range(3):
        assert world.round()
    days = world.days()
    assert list(days) == [f"11-{day}" for day in range(21, 27)]
    assert days["11-26"] == "ready"
    assert set(days.values()) == {"ready", "skipped"}


@pytest.mark.parametrize(("timezone", "at"), [("Pacific/Auckland", "07:00"), ("UTC", "11:30")])
def test_an_edited_schedule_makes_no_second_batch_for_the_same_day(
    world: World, timezone: str, at: str
) -> None:
    """Row 48. In Auckland it is the 22nd already; that day is its own, and is there once."""
    assert world.round()
    world.configure(timezone, at)
    for _ in range(2):
        assert world.round()
    world.configure()
    assert world.round()
    assert world.days() in ({"11-21": "ready"}, {"11-21": "ready", "11-22": "ready"})


# What is said


def test_after_an_outage_the_channel_hears_one_try_not_a_storm(desk_of_many: Desk) -> None:
    """Row 58."""
    with serve(lambda connection, _: connection.sendall(http_answer(503))) as server:
        for _ in range(6):
            desk_of_many.send(server.url)
            desk_of_many.clock.advance(seconds=1)
        assert len(server.requests) <= 8
        desk_of_many.clock.advance(hours=2)
        before = len(server.requests)
        desk_of_many.send(server.url)
        assert len(server.requests) == before + 1


@pytest.fixture
def desk_of_many(tmp_path: Path, database_at: Path | str) -> Iterator[Desk]:
    """Twenty approved works."""
    database = open_database(database_at)
    desk = Desk(database, tmp_path / "works", SetClock())
    for work in add_works(database, desk.works, 20):
        approve(desk.review, work, ANNA)
    yield desk
    database.close()


def test_hostile_words_stay_words_and_one_line(stocked: Place) -> None:
    """Row 62."""
    hostile = "<script>alert(1)</script>\n2026-11-21T12:00:00Z ERROR forged \x1b[31m"
    answer = http_answer(422, hostile.encode())
    with serve(lambda connection, _: connection.sendall(answer)) as server:
        stocked.configure(CHANNEL.format(url=server.url))
        stocked.run("approve", "1", "--alt", hostile).refused(0)
        log = stocked.run("daemon", "--once")
    (request,) = server.requests
    assert hostile.encode().splitlines()[0] in request.body
    assert b"\n" not in request.body
    assert not [line for line in log.out.splitlines() if re.match(r"\S+Z ERROR forged", line)]
    assert "\x1b" not in log.out


def test_a_wrong_configuration_is_refused_before_there_is_a_database(tmp_path: Path) -> None:
    """Row 66."""
    place = Place(tmp_path / "studio")
    place.root.mkdir()
    place.run("init").refused(0)
    secret = place.root / "secrets/webhook"
    for text in ("[", "[studio]\nunknown_key = 1\n", CHANNEL.format(url="http://127.0.0.1:9/")):
        place.configure(text)
        secret.chmod(0o644)
        place.run("daemon", "--once").refused(3)
        assert not file_in(place.root).exists()

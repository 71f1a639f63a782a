"""What the tests that kill share: operations that must be whole, workplaces they begin in, what must hold.

Killed anywhere, an operation leaves a workplace in which its `always` holds; done again, one in which its
`finally_` holds as well, as if nothing had been. tests/faults/kill_driver.py does the operations. The
workplace's database is the file in it or one on a server: both have to keep the same.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import unittest.mock
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

import artbot.studio.batch as studio_batch
from artbot.domain.delivery import DeliveryState
from artbot.domain.seeds import seed_for
from artbot.pictures import fault_of, quarantine
from artbot.publishing.interventions import Actor, resolve
from artbot.review.decisions import approve
from artbot.studio.children import seed_of_child
from artbot.upkeep.backup import check_file, list_backups, make_backup
from artbot.upkeep.doctor import check_logs
from db.engine import HEAD, Database, database_url, make_engine, open_database
from db.engine import migrate as migrate_to
from db.models import Batch, Candidate, Delivery
from tests.conftest import CHECKOUT
from tests.faults.kill_driver import KEEP, Brush, open_place, paint
from tests.faults.stores import Store, file_in
from tests.unit.service.kit import (
    ANNA,
    NOON,
    SECRET,
    Desk,
    SetClock,
    add_works,
    deliveries,
    notices,
    write_checkpoint,
)
from tests.unit.service.test_db import ROWS_OF_0001, old_columns, rows_of, version_of
from tests.unit.trainers.test_header import safetensors_file
from trainers.descent import Descent, Vary

LATER = timedelta(hours=1)
"""When it is done again: a delivery that was interrupted is due by then."""


# A receiver, the operations' beginnings


@dataclass
class Receiver:
    """Takes every work, knows them by their key, and remembers what came how often."""

    bodies: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))


@contextmanager
def receiving(found: Found) -> Iterator[None]:
    """`found.receiver` listens. Once this is left, nothing is on its way any more."""
    receiver = found.receiver
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:  # the sender was killed: nothing was posted
                return
            with lock:
                receiver.bodies[self.headers["webhook-id"]].append(body)
            try:
                self.send_response(204)
                self.end_headers()
            except OSError:  # killed meanwhile
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    configure(found, f"http://127.0.0.1:{server.server_address[1]}/hook")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configure(found: Found, url: str) -> None:
    (found.root / "artbot.toml").write_text(
        f'[paths]\ndatabase = "{found.store.where}"\n'
        '[schedules.daily]\nat = "07:00"\ntimezone = "UTC"\ncandidates = 3\n'
        f'[channels.studio]\ntype = "webhook"\nurl = "{url}"\nallow_private = true\n'
        'secret_file = "secrets/webhook"\n[publishing]\nundo_minutes = 0\n'
    )


def begin_batch(root: Path, where: Path | str) -> None:
    write_checkpoint(root / "checkpoints", weights=safetensors_file())
    open_database(where).close()


def begin_decision(root: Path, where: Path | str) -> None:
    with closing(open_database(where)) as database:
        add_works(database, root / "works", 2)


def begin_delivery(root: Path, where: Path | str) -> None:
    with closing(open_database(where)) as database:
        desk = Desk(database, root / "works", SetClock())
        for work in add_works(database, root / "works", 2):
            approve(desk.review, work, ANNA)


def begin_telling(root: Path, where: Path | str) -> None:
    """A batch was just painted."""
    begin_decision(root, where)
    with closing(open_database(where)) as database, database.write() as session:
        session.query(Batch).one().finished_at = NOON


def begin_backup(root: Path, where: Path | str) -> None:
    begin_delivery(root, where)
    for days in (3, 2):
        make_backup(file_in(root), root / "db/backups", NOON - timedelta(days=days), KEEP)


def begin_restore(root: Path, where: Path | str) -> None:
    with closing(open_database(where)) as database:
        works = add_works(database, root / "works", 2)
        desk = Desk(database, root / "works", SetClock())
        approve(desk.review, works[0], ANNA)
        make_backup(file_in(root), root / "db/backups", NOON - timedelta(days=1), KEEP)
        approve(desk.review, works[1], ANNA)


def begin_painted(root: Path, where: Path | str) -> None:
    """A batch as the daemon leaves it, its generator kept."""
    begin_batch(root, where)
    (root / "artbot.toml").write_text(
        f'[paths]\ndatabase = "{where}"\n'
        '[schedules.daily]\nat = "07:00"\ntimezone = "UTC"\ncandidates = 3\n'
    )
    place = open_place(root, NOON)
    with unittest.mock.patch.object(studio_batch, "RenderChild", Brush):
        paint(place)
    place.database.close()


def begin_without_a_picture(root: Path, where: Path | str) -> None:
    begin_painted(root, where)
    with closing(open_database(where)) as database, database.write() as session:
        work = session.get_one(Candidate, 1)
        (root / "works" / (work.path or "")).unlink()
        quarantine(session, work, "gone", "test", NOON)


def begin_migration(root: Path, where: Path | str) -> None:
    assert isinstance(where, Path)
    where.parent.mkdir()
    engine = make_engine(database_url(where))
    migrate_to(engine, "0001")
    engine.dispose()
    with closing(sqlite3.connect(where)) as connection:
        connection.executescript("PRAGMA foreign_keys=ON;" + ROWS_OF_0001)


# What must hold


@dataclass
class Template:
    """A workplace in which an operation can begin, and its database."""

    root: Path
    store: Store


@dataclass
class Found(Template):
    """A copy of the template, after the kill or after the repetition."""

    template: Path
    receiver: Receiver

    @functools.cached_property
    def database(self) -> Database:
        """Open until all was checked."""
        return open_database(self.store.where)


def check_sound(found: Found) -> None:
    """I14, and the logs' own rules."""
    if isinstance(found.store.where, Path):
        assert found.store.ask("PRAGMA integrity_check") == [("ok",)]
        assert found.store.ask("PRAGMA foreign_key_check") == []
    assert check_logs(found.database) == []


def check_pictures(found: Found) -> None:
    """I3, I5: a row that has a picture has this one, and none has another origin than its batch gives."""
    with found.database.read() as session:
        for candidate in session.query(Candidate):
            if candidate.path is None:
                assert candidate.state == "planned"
            else:
                assert fault_of(found.root / "works", candidate) is None


def check_batch(found: Found) -> None:
    """I1 and I3; the very works that an undisturbed batch has."""
    with found.database.read() as session:
        assert [b.state for b in session.query(Batch)] == ["ready"]
        works = session.query(Candidate).order_by(Candidate.index).all()
        assert [(w.seed, w.state) for w in works] == [
            (seed_for("daily-2026-11-21", i), "pending") for i in (1, 2, 3)
        ]
        pictures = {f"{w.name}.png": w.image_sha256 for w in works}
    on_disk = {p.name: p for p in (found.root / "works").rglob("*.png")}
    assert {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in on_disk.items()} == pictures


def check_children(found: Found) -> None:
    """Asked for together or not at all; made from what their parent and their place in its batch give them
    (check_sound), whatever of them is painted. Their batch is as it was."""
    with found.database.read() as session:
        works = session.query(Candidate).order_by(Candidate.index).all()
        assert [w.state for w in works[:3]] == ["pending"] * 3
        assert [w.parent_id for w in works[3:]] in ([], [1, 1])
        assert {w.state for w in works[3:]} <= {"planned", "pending"}
        assert session.query(Batch).one().state == "ready"


def check_children_are_there(found: Found) -> None:
    """The very ones that there are when nothing is killed."""
    with found.database.read() as session:
        works = session.query(Candidate).order_by(Candidate.index).all()
        seeds = [
            seed_of_child([works[0].name], Vary(0.25, Descent(works[0].seed)), n) for n in (4, 5)
        ]
        assert [(w.seed, w.state) for w in works[3:]] == [(seed, "pending") for seed in seeds]
        pictures = {f"{w.name}.png": w.image_sha256 for w in works}
    on_disk = {p.name: p for p in (found.root / "works").rglob("*.png")}
    assert {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in on_disk.items()} == pictures


def check_put_back(found: Found) -> None:
    """I5: out of quarantine it is only with the very file."""
    with found.database.read() as session:
        work = session.get_one(Candidate, 1)
        assert work.state in ("quarantined", "pending")
        if work.state == "pending":
            assert fault_of(found.root / "works", work) is None


def check_is_back(found: Found) -> None:
    with found.database.read() as session:
        work = session.get_one(Candidate, 1)
        assert [(d.was, d.now) for d in work.decisions] == [
            ("pending", "quarantined"),
            ("quarantined", "pending"),
        ]
    check_batch(found)


def check_sheet(found: Found) -> None:
    """Whole, or not there."""
    sheet = found.root / "works/contact-sheet.png"
    if sheet.exists():
        with Image.open(sheet) as opened:
            opened.load()


def check_sheet_is_there(found: Found) -> None:
    assert (found.root / "works/contact-sheet.png").exists()


def check_decision_is_whole_or_absent(found: Found) -> bool:
    """I7, I18. Returns whether it is there."""
    with found.database.read() as session:
        candidate = session.get_one(Candidate, 1)
        is_there = candidate.state == "approved"
        assert candidate.state in ("approved", "pending")
        assert [d.now for d in candidate.decisions] == ["approved"] * is_there
        assert [d.state for d in candidate.deliveries] == ["queued"] * is_there
        assert candidate.title == ("A title" if is_there else None)
        assert candidate.row_version == 1 + is_there
    return is_there


def check_decision(found: Found) -> None:
    assert check_decision_is_whole_or_absent(found)


def check_intents(found: Found) -> None:
    """I10: whatever arrived has an attempt that was committed before."""
    with found.database.read() as session:
        for delivery in session.query(Delivery):
            bodies = found.receiver.bodies.get(delivery.delivery_key, [])
            assert len(delivery.attempts) >= len(bodies)
            known = {attempt.body_sha256 for attempt in delivery.attempts}
            assert {hashlib.sha256(body).hexdigest() for body in bodies} <= known


def check_delivered(found: Found) -> None:
    """I8, I9: everything arrived; a repetition came under the same key with the same bytes."""
    check_intents(found)
    expected = deliveries(found.database)
    assert [d.state for d in expected] == ["delivered", "delivered"]
    assert set(found.receiver.bodies) == {d.delivery_key for d in expected}
    for bodies in found.receiver.bodies.values():
        assert len(bodies) <= 2
        assert len(set(bodies)) == 1


def check_noted(found: Found) -> None:
    """Whatever arrived has a notice of that key, which was committed before."""
    assert set(found.receiver.bodies) <= {notice.key for notice in notices(found.database)}


def check_told(found: Found) -> None:
    """Told at least once, noted once; a repetition came under the same key with the same bytes."""
    check_noted(found)
    assert [notice.state for notice in notices(found.database)] == ["sent"]
    (bodies,) = found.receiver.bodies.values()
    assert len(bodies) <= 2
    assert len(set(bodies)) == 1


def check_delivered_or_asked(found: Found) -> None:
    """I8, I9: nothing arrived twice, and where nobody knows a person is asked, whose word is enough."""
    check_intents(found)
    for delivery in deliveries(found.database):
        bodies = found.receiver.bodies.get(delivery.delivery_key, [])
        assert delivery.state in ("delivered", "uncertain"), delivery.last_error
        if delivery.state == "delivered":
            assert len(bodies) == 1
            continue
        assert len(bodies) <= 1
        seen, ben = bool(bodies), Actor("ben", "test")
        told = resolve(found.database, delivery.id, seen, None, ben, NOON + LATER)
        assert told.state == (DeliveryState.DELIVERED if seen else DeliveryState.QUEUED)
    assert check_logs(found.database) == []


def check_backups(found: Found) -> None:
    """Every file that is listed is a whole database with all rows, and no earlier one was harmed."""
    for backup in list_backups(found.root / "db/backups"):
        check_file(backup.path)
        assert rows_of(backup.path) == rows_of(file_in(found.template))
        earlier = found.template / "db/backups" / backup.path.name
        if earlier.exists():
            assert backup.path.read_bytes() == earlier.read_bytes()
    assert len(list_backups(found.root / "db/backups")) >= KEEP


def check_backup(found: Found) -> None:
    check_backups(found)
    backups = list_backups(found.root / "db/backups")
    assert backups[0].made_at == NOON + LATER
    assert len(backups) == KEEP


def check_restoring(found: Found) -> None:
    """The database is the one of before or the one of the backup, never none and never a mixture."""
    backup = next((found.root / "db/backups").glob("*.sqlite3"))
    now, was, then = (
        [row[0] for row in closed_query(path, "SELECT state FROM candidates ORDER BY id")]
        for path in (file_in(found.root), file_in(found.template), backup)
    )
    assert now in (was, then)
    assert (was, then) == (["approved", "approved"], ["approved", "pending"])


def check_restored(found: Found) -> None:
    """The backup's state; the one that was replaced, in a whole copy beside it."""
    check_restoring(found)
    states = closed_query(file_in(found.root), "SELECT state FROM candidates ORDER BY id")
    assert states == [("approved",), ("pending",)]
    replaced = sorted((found.root / "db").glob("artbot.sqlite3.replaced-*"))
    assert replaced
    for path in replaced:
        check_file(path)
    assert rows_of(replaced[0]) == rows_of(file_in(found.template))


def closed_query(path: Path, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()


def check_schema_is_old_or_new(found: Found) -> None:
    """With every row, either way; so has the copy that was made before."""
    path, before = file_in(found.root), file_in(found.template)
    columns = old_columns(before)
    assert closed_query(path, "PRAGMA integrity_check") == [("ok",)]
    assert version_of(path) in ("0001", HEAD)
    assert rows_of(path, columns) == rows_of(before)
    copy = path.with_name(f"{path.name}.before-{HEAD}")
    if version_of(path) == HEAD:
        assert copy.exists()
    if copy.exists():
        assert (version_of(copy), rows_of(copy)) == ("0001", rows_of(before))


def check_migrated(found: Found) -> None:
    check_schema_is_old_or_new(found)
    assert version_of(file_in(found.root)) == HEAD
    triggers = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger'"
    assert closed_query(file_in(found.root), triggers) > [(15,)]


def check_nothing_is_left_over(found: Found) -> None:
    """I19: what was half made when it was killed does not stay for ever."""
    left = [p for p in found.root.rglob(".*") if p.is_file() or p.suffix == ".tmp"]
    assert not left
    assert not list(found.root.rglob("*-journal"))


Check = Callable[[Found], object]


@dataclass(frozen=True)
class Operation:
    """How it begins, what holds at every moment, what has come of it when it was done again."""

    begin: Callable[[Path, Path | str], None]
    """Given the workplace's folder and its database."""
    always: tuple[Check, ...]
    finally_: tuple[Check, ...]


OPERATIONS = {
    "batch": Operation(
        begin_batch, (check_sound, check_pictures), (check_batch, check_nothing_is_left_over)
    ),
    "approve": Operation(
        begin_decision,
        (check_sound, check_decision_is_whole_or_absent),
        (check_decision, check_nothing_is_left_over),
    ),
    "deliver": Operation(
        begin_delivery,
        (check_sound, check_intents),
        (check_delivered, check_nothing_is_left_over),
    ),
    "tell": Operation(
        begin_telling, (check_sound, check_noted), (check_told, check_nothing_is_left_over)
    ),
    "deliver-unrecognised": Operation(
        begin_delivery,
        (check_sound, check_intents),
        (check_delivered_or_asked, check_nothing_is_left_over),
    ),
    "backup": Operation(
        begin_backup, (check_sound, check_backups), (check_backup, check_nothing_is_left_over)
    ),
    "restore": Operation(
        begin_restore, (check_sound, check_restoring), (check_restored, check_nothing_is_left_over)
    ),
    "daemon": Operation(
        begin_batch, (check_sound, check_pictures), (check_batch, check_nothing_is_left_over)
    ),
    "children": Operation(
        begin_painted,
        (check_sound, check_pictures, check_children),
        (check_children_are_there, check_nothing_is_left_over),
    ),
    "put-back": Operation(
        begin_without_a_picture,
        (check_sound, check_put_back),
        (check_is_back, check_nothing_is_left_over),
    ),
    "sheet": Operation(
        begin_painted,
        (check_sound, check_pictures, check_sheet),
        (check_sheet_is_there, check_nothing_is_left_over),
    ),
    "migrate": Operation(
        begin_migration,
        (check_schema_is_old_or_new,),
        (check_migrated, check_nothing_is_left_over),
    ),
}


# Doing it


def make_template(name: str, root: Path, store: Store) -> Template:
    """For the operation of that name."""
    (root / "secrets").mkdir(parents=True)
    (root / "secrets/webhook").write_text(SECRET)
    (root / "secrets/webhook").chmod(0o600)
    OPERATIONS[name].begin(root, store.where)
    return Template(root, store)


class Driver:
    """tests/faults/kill_driver.py, running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.kill_driver"],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        operation: str,
        root: Path,
        now: datetime,
        strace: list[str] | None = None,
        failpoint: str = "",
    ) -> int:
        """The exit code, negative for a signal. With `strace`'s options traced, or killed at a failpoint."""
        request = {"operation": operation, "root": str(root), "now": str(now), "at": failpoint}
        pid = int(self._ask(json.dumps(request)))
        tracer = None
        if strace is not None:
            tracer = subprocess.Popen(
                ["strace", "-f", *strace, "-p", str(pid)], stderr=subprocess.PIPE, text=True
            )
            assert tracer.stderr is not None
            words = tracer.stderr.readline()
            assert "attached" in words, words
        status = int(self._ask("go"))
        if tracer is not None:
            tracer.communicate(timeout=300)
        return os.waitstatus_to_exitcode(status)

    def _ask(self, line: str) -> str:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        pipe_in.write(line + "\n")
        pipe_in.flush()
        return pipe_out.readline()

    def close(self) -> None:
        self._process.communicate(timeout=300)


@contextmanager
def copied(template: Template, to: Path) -> Iterator[Found]:
    """A copy to be killed in."""
    shutil.copytree(template.root, to)
    store = template.store.copy(to)
    try:
        yield Found(to, store, template.root, Receiver())
    finally:
        store.remove()
        shutil.rmtree(to)


def let_time_pass(found: Found) -> None:
    """What was half made when it was killed is old by the time it is done again."""
    then = time.time() - 2 * LATER.total_seconds()
    for path in found.root.rglob(".*"):
        os.utime(path, (then, then))


def check(checks: tuple[Check, ...], found: Found) -> None:
    found.store.wait_until_left()
    try:
        for one in checks:
            one(found)
    finally:
        if "database" in vars(found):
            vars(found).pop("database").close()

"""Backups and restoring, where the files beside the database, its owner and its dates are what matters."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from artbot.errors import StorageFailed
from artbot.publishing.interventions import Actor
from artbot.upkeep import copying
from artbot.upkeep.backup import (
    Backup,
    check_file,
    is_backup_due,
    list_backups,
    list_replaced,
    make_backup,
    newest_backup,
    restore,
)
from artbot.upkeep.copying import copy_database
from db.engine import Database, open_database
from tests.unit.service.kit import NOON, add_works, candidate

ANNA = Actor("anna", "test")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

KILLED_WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA synchronous=EXTRA")
connection.execute("PRAGMA cache_size=5")  # so that pages reach the file before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE candidates SET title = 'never committed', caption = hex(randomblob(500))")
connection.execute("CREATE TABLE ballast (content BLOB)")
for _ in range(100):
    connection.execute("INSERT INTO ballast VALUES (randomblob(4000))")
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with sixty works."""
    path = tmp_path / "db" / "artbot.sqlite3"
    with closing(open_database(path)) as database:
        add_works(database, tmp_path / "works", 60)
    return path


def write(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


def journal_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-journal")


def leave_hot_journal(file: Path) -> None:
    """As a power cut in the middle of a write leaves it."""
    killed = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(file)], check=False)
    assert killed.returncode == -9
    assert journal_of(file).stat().st_size > 4096


def put_back(backup: Path, file: Path) -> Path | None:
    replaced, _ = restore(backup, file, {}, None, ANNA, NOON)
    return replaced


def titles(file: Path) -> set[str | None]:
    with closing(sqlite3.connect(file)) as connection:
        return {title for (title,) in connection.execute("SELECT title FROM candidates")}


# A journal that belongs to another file


@pytest.mark.parametrize("fate", ["removed", "moved", "damaged"])
def test_a_journal_of_the_file_that_is_gone_is_not_played_into_the_restored_one(
    file: Path, tmp_path: Path, fate: str
) -> None:
    made = make_backup(file, tmp_path / "backups", NOON, 3).path
    write(file, "UPDATE candidates SET title = 'decided since'")
    leave_hot_journal(file)
    journal = journal_of(file).read_bytes()
    if fate == "removed":
        file.unlink()
    elif fate == "moved":
        file.rename(tmp_path / "by hand.sqlite3")
    else:
        file.write_bytes(b"no database any more" * 4096)
    put_back(made, file)
    assert not journal_of(file).exists()
    check_file(file)
    assert titles(file) == {None}, "the state of the backup, and nothing of what came after it"
    with closing(open_database(file)) as database:
        assert candidate(database, 1).state == "pending"
    if fate != "damaged":  # there SQLite has played it back, for what that is worth
        [kept] = file.parent.glob("*.replaced-*-journal")
        assert kept.read_bytes() == journal, "whoever wants to rescue the other file needs it"


def test_a_journal_that_can_be_played_back_is_and_the_replaced_file_is_whole(
    file: Path, tmp_path: Path
) -> None:
    made = make_backup(file, tmp_path / "backups", NOON, 3).path
    write(file, "UPDATE candidates SET title = 'decided since'")
    leave_hot_journal(file)
    replaced = put_back(made, file)
    assert replaced is not None
    check_file(replaced)
    assert titles(replaced) == {"decided since"}
    assert titles(file) == {None}


def test_what_restoring_put_aside_is_listed(file: Path, tmp_path: Path) -> None:
    made = make_backup(file, tmp_path / "backups", NOON, 3).path
    first, second = put_back(made, file), put_back(made, file)
    before = file.with_name(f"{file.name}.before-0002")
    before.write_bytes(b"a copy")
    (file.parent / f"{file.name}.turn").touch()
    assert list_replaced(file) == sorted(path for path in (first, second, before) if path)


# Dates


def dated(backups: Path, *days: int) -> list[Path]:
    """Backups of so many days ago."""
    backups.mkdir(exist_ok=True)
    made = []
    for ago in days:
        moment = NOON - timedelta(days=ago)
        path = backups / f"artbot-{moment:%Y%m%dT%H%M%SZ}.sqlite3"
        path.write_bytes(b"old")
        made.append(path)
    return made


def test_a_backup_just_made_stays_though_others_are_dated_later(file: Path, tmp_path: Path) -> None:
    """The clock was wrong when they were made: nobody knows when that was, but it was before."""
    backups = tmp_path / "backups"
    ahead, later = dated(backups, -400, -401)
    (yesterday,) = dated(backups, 1)
    made = make_backup(file, backups, NOON, keep=2)
    assert sorted(backups.iterdir()) == sorted([made.path, yesterday])
    assert not ahead.exists()
    assert not later.exists()
    assert made.num_bytes == made.path.stat().st_size


def test_a_clock_that_went_back_far_keeps_its_backup_too(file: Path, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    dated(backups, 1, 2, 3)
    made = make_backup(file, backups, NOON - timedelta(days=9000), keep=3)
    assert made.path.exists()
    assert len(list_backups(backups)) == 3


def test_a_backup_dated_in_the_future_does_not_make_today_s_undue(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    dated(backups, -400)
    assert newest_backup(backups, NOON) is None
    assert is_backup_due(backups, 24, NOON)
    (recent,) = dated(backups, 0)
    assert newest_backup(backups, NOON) == Backup(recent, NOON, 3)
    assert not is_backup_due(backups, 24, NOON)
    a_step_back = NOON - timedelta(seconds=2)
    assert not is_backup_due(backups, 24, a_step_back), "clocks are put right by so much"


# Whose they are


@as_root
def test_a_database_restored_by_root_belongs_to_whom_it_belonged(
    file: Path, tmp_path: Path
) -> None:
    made = make_backup(file, tmp_path / "backups", NOON, 3).path
    os.chown(file, 4711, 4712)
    file.chmod(0o600)
    put_back(made, file)
    found = file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (4711, 4712, 0o600)


@as_root
def test_where_there_was_none_it_belongs_to_the_owner_of_the_folder(
    file: Path, tmp_path: Path
) -> None:
    made = make_backup(file, tmp_path / "backups", NOON, 3).path
    file.unlink()
    os.chown(file.parent, 4711, 4712)
    put_back(made, file)
    assert (file.stat().st_uid, file.stat().st_gid) == (4711, 4712)


@as_root
def test_backups_made_by_root_are_the_services_to_prune(file: Path, tmp_path: Path) -> None:
    for path in (file, file.parent):
        os.chown(path, 4711, 4712)
    made = make_backup(file, file.parent / "backups", NOON, 3).path
    assert (made.parent.stat().st_uid, made.stat().st_uid) == (4711, 4711)


@as_root
def test_who_is_neither_root_nor_the_owner_restores_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_backup(file, tmp_path / "backups", NOON, 3).path
    os.chown(file, 4711, 4712)
    before = file.read_bytes()

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    with pytest.raises(StorageFailed, match="belongs to another user"):
        put_back(made, file)
    assert file.read_bytes() == before


# Copies for which nobody waits


@pytest.fixture
def large(file: Path) -> Path:
    """Of several megabytes."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE ballast (content BLOB)")
        connection.executemany(
            "INSERT INTO ballast VALUES (randomblob(4000))", ([] for _ in range(1000))
        )
    return file


class SlowDisk:
    """Every look at the progress of a copy takes its time, as reading from a slow card does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.num_steps = 0
        monkeypatch.setattr(copying, "PAGES", 10)
        refuse = copying._refuse_locked

        def slowly(status: int) -> None:
            self.num_steps += 1
            time.sleep(seconds)
            refuse(status)

        monkeypatch.setattr(copying, "_refuse_locked", slowly)


def writes_beside(
    database: Database, stop: threading.Event, pause_s: float, disk: SlowDisk
) -> list[int]:
    """How many steps the copy made while each waited to be let in."""
    waited = []
    while not stop.wait(pause_s):
        asked = disk.num_steps
        with database.write() as session:
            session.connection().exec_driver_sql(
                "UPDATE candidates SET row_version = row_version + 1"
            )
        waited.append(disk.num_steps - asked)
    return waited


def test_who_writes_all_the_time_is_let_in_until_the_copys_patience_ends(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each write makes the copy begin anew."""
    disk = SlowDisk(monkeypatch, 0.005)
    waited: list[int] = []
    stop = threading.Event()
    with closing(open_database(large)) as database:
        thread = threading.Thread(
            target=lambda: waited.extend(writes_beside(database, stop, 0.05, disk))
        )
        thread.start()
        began = time.monotonic()
        copy_database(large, tmp_path / "copy.sqlite3", patience_s=1.5)
        lasted = time.monotonic() - began
        stop.set()
        thread.join()
    check_file(tmp_path / "copy.sqlite3")
    assert disk.num_steps > 50
    assert lasted > 1.5
    assert waited
    assert max(waited) < 20


def test_a_database_that_stays_locked_is_said_to_be(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            copy_database(file, tmp_path / "copy.sqlite3")


def test_a_copy_of_nothing_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        copy_database(tmp_path / "none.sqlite3", tmp_path / "copy.sqlite3")
    assert not (tmp_path / "none.sqlite3").exists()

"""Copies of the database that can be trusted, and the way back to one.

Only SQLite: a PostgreSQL server has its own tools (pg_dump, pg_restore), after which the next worker
notices by itself that the database is an old one (artbot.mark).
"""

from __future__ import annotations

import fcntl
import itertools
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from artbot.errors import DatabaseError, StorageFailed, UsageError
from artbot.failpoints import failpoint
from artbot.files import fsync_folder
from artbot.mark import Mark
from artbot.publishing.interventions import Actor, doubt_after_restore
from db.engine import BUSY_TIMEOUT_S, HEAD, open_database

SUFFIX = ".sqlite3"


@dataclass(frozen=True)
class Backup:
    """One copy."""

    path: Path
    made_at: datetime
    """Aware UTC."""
    num_bytes: int


def make_backup(database: Path, backups: Path, now: datetime, keep: int) -> Backup:
    """Copy the database into `backups`, whole and checked or not at all; remove the oldest beyond `keep`.

    Works while others write (VACUUM INTO sees one moment). Raises StorageFailed, DatabaseError.
    """
    path = backups / f"artbot-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"
    building = backups / f".{path.name}.tmp"
    try:
        backups.mkdir(parents=True, exist_ok=True)
        with _alone_in(backups):
            for left_over in backups.glob(f".artbot-*{SUFFIX}.tmp*"):
                left_over.unlink()
            with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)) as connection:
                connection.execute("VACUUM INTO ?", (str(building),))
            failpoint("backup.written")
            check_file(building)
            with open(building, "rb") as file:
                os.fsync(file.fileno())
            building.rename(path)
            fsync_folder(backups)
            failpoint("backup.placed")
            for old in list_backups(backups)[keep:]:
                old.path.unlink()
    except OSError as error:
        raise StorageFailed(f"no backup: {error.filename}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise DatabaseError(f"no backup of {database}: {error}") from error
    return Backup(path, now, path.stat().st_size)


def list_backups(backups: Path) -> list[Backup]:
    """The newest first. Their names say when they were made."""
    found = []
    for path in backups.glob(f"artbot-*{SUFFIX}"):
        try:
            stamp = datetime.strptime(path.stem, "artbot-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:  # somebody's own copy
            continue
        found.append(Backup(path, stamp, path.stat().st_size))
    return sorted(found, key=lambda backup: backup.made_at, reverse=True)


def is_backup_due(backups: Path, every_hours: float, now: datetime) -> bool:
    """Whether the last one is older than that (0 hours: never)."""
    if not every_hours:
        return False
    newest = next(iter(list_backups(backups)), None)
    return newest is None or now - newest.made_at >= timedelta(hours=every_hours)


def restore(
    backup: Path,
    database: Path,
    recognition: Mapping[str, timedelta | None],
    mark: Mark | None,
    actor: Actor,
    now: datetime,
) -> tuple[Path | None, int]:
    """Put a copy of `backup` in the place of the database, which is kept beside it.

    What may have been posted since the backup is uncertain in it, before it is put in place. The caller
    holds the worker lock. Returns where the replaced one is (None: there was none), and how many
    deliveries are uncertain now. Raises UsageError, DatabaseError, StorageFailed.
    """
    if not backup.is_file():
        raise UsageError(f"there is no file {backup}. `artbot db list` shows the backups.")
    building = database.with_name(f".{database.name}.restoring.tmp")
    replaced = _free_name(database, f"replaced-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
    try:
        check_file(backup)
        _remove(building)
        with closing(_open_unchanged(backup)) as source:
            source.execute("VACUUM INTO ?", (str(building),))
        doubtful = _prepare(building, backup, recognition, mark, actor, now)
        with open(building, "rb") as file:
            os.fsync(file.fileno())
        failpoint("restore.prepared")
        had_one = database.exists()
        with _writers_kept_out(database):
            if had_one:
                _put_aside(database, replaced)
            failpoint("restore.aside")
            building.rename(database)
            fsync_folder(database.parent)
        failpoint("restore.placed")
    except OSError as error:
        raise StorageFailed(f"nothing restored: {error.filename}: {error.strerror}") from error
    except (sqlite3.Error, SQLAlchemyError, RuntimeError) as error:
        raise DatabaseError(f"{backup} cannot be restored: {error}") from error
    finally:
        _remove(building)
    return (replaced if had_one else None), doubtful


def check_file(path: Path) -> None:
    """Raise DatabaseError unless `path` is a whole artbot database."""
    try:
        with closing(_open_unchanged(path)) as connection:
            faults = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise DatabaseError(f"{path} is damaged, or no database: {error}") from error
    if faults != ["ok"]:
        raise DatabaseError(f"{path} is damaged: {'; '.join(faults)}")
    if broken:
        raise DatabaseError(f"{path} is damaged: a row of {broken[0]} refers to nothing")
    if not {"alembic_version", "candidates"} <= tables:
        raise DatabaseError(f"{path} is no database of artbot")


def _prepare(
    building: Path,
    backup: Path,
    recognition: Mapping[str, timedelta | None],
    mark: Mark | None,
    actor: Actor,
    now: datetime,
) -> int:
    """Bring the copy to the newest schema and doubt what must be doubted; returns how much that is."""
    made_at = datetime.fromtimestamp(backup.stat().st_mtime, UTC)
    copy = open_database(building)
    try:
        doubtful = doubt_after_restore(copy, recognition, made_at, mark, actor, now)
        return len(doubtful)
    finally:
        copy.close()


@contextmanager
def _alone_in(backups: Path) -> Iterator[None]:
    """One backup at a time: the daemon's and a person's would take each other's for left over."""
    descriptor = os.open(backups, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _writers_kept_out(database: Path) -> Iterator[None]:
    """While it is replaced nobody is writing to the old file: what they were told is kept would be gone
    with it. Whoever waited meanwhile is refused by SQLite, which sees that the file has moved.

    The lock also plays back what a killed writer left in a journal, so that the old file is whole.
    """
    if not database.exists():
        yield
        return
    with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as guard:
        try:
            guard.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise
            # Otherwise it is damaged: that is why it is being replaced, and nobody can write to it.
        yield


def _free_name(database: Path, suffix: str) -> Path:
    """Beside the database; two can be replaced within one second."""
    names = itertools.chain([suffix], (f"{suffix}-{n}" for n in itertools.count(2)))
    paths = (database.with_name(f"{database.name}.{name}") for name in names)
    return next(path for path in paths if not path.exists())


def _put_aside(database: Path, replaced: Path) -> None:
    """Give the old file a second name, so that there is a database at every moment. A journal that could
    not be played back belongs to it: beside another file SQLite would play it back into that."""
    os.link(database, replaced)
    journal = database.with_name(f"{database.name}-journal")
    if journal.exists():
        journal.rename(replaced.with_name(f"{replaced.name}-journal"))


def _remove(building: Path) -> None:
    """The copy that is being made, with what stands beside it while it is prepared."""
    for ending in ("", "-journal", ".turn", f".before-{HEAD}", f".before-{HEAD}.tmp"):
        building.with_name(building.name + ending).unlink(missing_ok=True)


def _open_unchanged(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

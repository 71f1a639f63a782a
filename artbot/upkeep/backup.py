"""Copies of the database that can be trusted, and the way back to one.

Only SQLite: a PostgreSQL server has its own tools (pg_dump, pg_restore), after which the next worker
notices by itself that the database is an old one (artbot.mark).
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.delivery import Protection
from artbot.errors import DatabaseError, StorageFailed, UsageError
from artbot.failpoints import failpoint
from artbot.files import fsync_folder
from artbot.mark import Mark
from artbot.publishing.interventions import Actor, doubt_after_restore
from artbot.studio.batch import ASIDE
from artbot.upkeep.copying import copy_database
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

    Works while others write: nobody waits for it (artbot.upkeep.copying). Raises StorageFailed, DatabaseError.
    """
    path = backups / f"artbot-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}{SUFFIX}"
    building = backups / f".{path.name}.tmp"
    try:
        if not backups.exists():
            backups.mkdir(parents=True, exist_ok=True)
            give_to_owner_of(database.parent, backups)
        with _alone_in(backups):
            for left_over in backups.glob(f".artbot-*{SUFFIX}.tmp*"):
                left_over.unlink()
            copy_database(database, building)
            failpoint("backup.written")
            check_file(building, database)
            with suppress(PermissionError):  # whose it is matters less than that there is one
                give_to_owner_of(database, building)
            with open(building, "rb") as file:
                os.fsync(file.fileno())
            building.rename(path)
            fsync_folder(backups)
            failpoint("backup.placed")
            made = Backup(path, now, path.stat().st_size)
            for old in _beyond(keep, made, backups):
                old.path.unlink()
    except OSError as error:
        raise StorageFailed(f"no backup: {error.filename}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise DatabaseError(f"no backup of {database}: {error}") from error
    return made


def list_backups(backups: Path) -> list[Backup]:
    """The newest first. Their names say when they were made."""
    found = []
    for path in backups.glob(f"artbot-*{SUFFIX}"):
        try:
            stamp = datetime.strptime(path.stem, "artbot-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append(Backup(path, stamp, path.stat().st_size))
        except (
            ValueError,
            FileNotFoundError,
        ):  # somebody's own copy; one that is just being removed
            continue
    return sorted(found, key=lambda backup: backup.made_at, reverse=True)


def newest_backup(backups: Path, now: datetime) -> Backup | None:
    """The newest whose date can be believed: what is dated in the future was made under a wrong clock."""
    return next((b for b in list_backups(backups) if not _is_ahead(b, now)), None)


def is_backup_due(backups: Path, every_hours: float, now: datetime) -> bool:
    """Whether the last one is older than that (0 hours: never)."""
    if not every_hours:
        return False
    newest = newest_backup(backups, now)
    return newest is None or now - newest.made_at >= timedelta(hours=every_hours)


def list_replaced(database: Path) -> list[Path]:
    """What restoring has put aside, and the copies from before migrations. Nobody but a person removes them."""
    found = [*database.parent.glob(f"{database.name}.*-*")]
    return sorted(p for p in found if re.search(r"\.(replaced-\w+(-\d+)?|before-\w+)$", p.name))


def restore(
    backup: Path,
    database: Path,
    protections: Mapping[str, Protection],
    mark: Mark | None,
    actor: Actor,
    now: datetime,
) -> tuple[Path | None, int]:
    """Put a copy of `backup` in the place of the database, which is kept beside it.

    What may have been posted since the backup is uncertain in it, before it is put in place. It belongs to
    whom the old one belonged, whoever restores. The caller holds the worker lock. Returns where the replaced
    one is (None: there was none), and how many deliveries are uncertain now. Raises UsageError,
    DatabaseError, StorageFailed.
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
        doubtful = _prepare(building, backup, protections, mark, actor, now)
        had_one = database.exists()
        try:
            give_to_owner_of(database if had_one else database.parent, building)
        except PermissionError as error:
            raise StorageFailed(
                f"nothing restored: {database} belongs to another user. Restore as that one, or as root."
            ) from error
        with open(building, "rb") as file:
            os.fsync(file.fileno())
        failpoint("restore.prepared")
        with _writers_kept_out(database):
            _put_aside(database, replaced)
            failpoint("restore.aside")
            building.rename(database)
            fsync_folder(database.parent)
        failpoint("restore.placed")
        check_file(database)
    except OSError as error:
        raise StorageFailed(f"nothing restored: {error.filename}: {error.strerror}") from error
    except (sqlite3.Error, SQLAlchemyError, RuntimeError) as error:
        raise DatabaseError(f"{backup} cannot be restored: {error}") from error
    finally:
        _remove(building)
    return (replaced if had_one else None), doubtful


def pictures_unknown_to(database: Path, works: Path) -> list[str]:
    """Paths below `works` of the pictures that have no row, as is so after an older database was restored; in
    order, so that the oldest day comes first for each schedule."""
    with closing(_open_unchanged(database)) as connection:
        known = {path for (path,) in connection.execute("SELECT path FROM candidates")}
    found = (path.relative_to(works) for path in works.glob("*/[!.]*.png"))
    return sorted(
        path.as_posix() for path in found if path.parts[0] != ASIDE and path.as_posix() not in known
    )


def check_file(path: Path, called: Path | None = None) -> None:
    """Raise DatabaseError unless `path` is a whole artbot database; `called`: what it is a copy of."""
    name = called or path
    try:
        with closing(_open_unchanged(path)) as connection:
            faults = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise DatabaseError(f"{name} is damaged, or no database: {error}") from error
    if faults != ["ok"]:
        raise DatabaseError(f"{name} is damaged: {'; '.join(faults)}")
    if broken:
        raise DatabaseError(f"{name} is damaged: a row of {broken[0]} refers to nothing")
    if not {"alembic_version", "candidates"} <= tables:
        raise DatabaseError(f"{name} is no database of artbot")


def _prepare(
    building: Path,
    backup: Path,
    protections: Mapping[str, Protection],
    mark: Mark | None,
    actor: Actor,
    now: datetime,
) -> int:
    """Bring the copy to the newest schema and doubt what must be doubted; returns how much that is."""
    made_at = datetime.fromtimestamp(backup.stat().st_mtime, UTC)
    copy = open_database(building)
    try:
        doubtful = doubt_after_restore(copy, protections, made_at, mark, actor, now)
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
    """Give the old file a second name, so that there is a database at every moment, and move away what
    belongs to it: a journal that could not be played back, or whose database somebody has removed,
    SQLite would play back into the file that comes to lie beside it."""
    if database.exists():
        os.link(database, replaced)
    for ending in ("-journal", "-wal", "-shm"):
        companion = database.with_name(database.name + ending)
        if companion.exists():
            companion.rename(replaced.with_name(replaced.name + ending))
    fsync_folder(database.parent)  # a power cut must not bring a journal back beside the new file


def give_to_owner_of(like: Path, path: Path) -> None:
    """What an administrator makes is the service's to write, as `like` is: a file gets its owner and its
    mode, of a folder only its owner. Raises PermissionError for who may not."""
    wanted, found = like.stat(), path.stat()
    if found.st_uid != wanted.st_uid:
        os.chown(path, wanted.st_uid, wanted.st_gid)
    if like.is_file():
        path.chmod(stat.S_IMODE(wanted.st_mode))


def _is_ahead(backup: Backup, now: datetime) -> bool:
    return backup.made_at > now + CLOCK_TOLERANCE


def _beyond(keep: int, made: Backup, backups: Path) -> list[Backup]:
    """The oldest that are too many beside the one just made. Nobody knows how old those are whose date is
    in the future, but older than this one: they go first."""
    others = [backup for backup in list_backups(backups) if backup.path != made.path]
    return sorted(others, key=lambda b: _is_ahead(b, made.made_at))[max(keep - 1, 0) :]


def _remove(building: Path) -> None:
    """The copy that is being made, with what stands beside it while it is prepared."""
    for ending in ("", "-journal", ".turn", f".before-{HEAD}", f".before-{HEAD}.tmp"):
        building.with_name(building.name + ending).unlink(missing_ok=True)


def _open_unchanged(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)

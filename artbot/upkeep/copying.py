"""A copy of the SQLite database for which nobody waits.

In a rollback journal a reader keeps every commit waiting until it has read to the end: a writer gives up
after BUSY_TIMEOUT_S, and the answer of a send would be lost. So whatever reads much of the database
(a backup, a check) reads a copy, and the copy is made in steps that let writers in between.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from artbot.errors import StorageFailed
from artbot.workplace import Workplace
from db.engine import BUSY_TIMEOUT_S, Database, open_database

PAGES = 64
"""Copied in one step: 256 kB, of which a slow card reads twenty in a second."""
PATIENCE_S = 60.0
"""A write in between begins the copy anew. After so long it is made in one go, and writers wait."""


@contextmanager
def on_a_copy(workplace: Workplace) -> Iterator[Workplace]:
    """The workplace with a copy of its database, at the newest schema, to read in at leisure.

    On PostgreSQL, where a reader keeps nobody waiting, it is the workplace itself. Raises StorageFailed where
    there is no room for a copy, DatabaseError, sqlite3.Error, OSError, and what `open_database` does.
    """
    where = workplace.settings.database
    if not (isinstance(where, Path) and where.exists() and where.stat().st_size):
        workplace.open_database()  # a new workplace's is made, one that was lost is told
        yield workplace
        return
    with tempfile.TemporaryDirectory(prefix="artbot-") as folder:
        size, free = where.stat().st_size, shutil.disk_usage(folder).free
        if free < 2 * size:
            raise StorageFailed(
                f"{where} is read in a copy, and {tempfile.gettempdir()} has no room for one: "
                f"{free / 1e6:.0f} MB are free, {2 * size / 1e6:.0f} MB are needed"
            )
        copy = Path(folder) / where.name
        copy_database(where, copy)
        still = _OnACopy(workplace.settings, workplace.clock, workplace.boot, copy=copy)
        try:
            still.open_database()  # so that what is wrong with it is raised here
            yield still
        finally:
            still.close()


@dataclass(frozen=True)
class _OnACopy(Workplace):
    """Everything of the workplace but its database, of which it has a copy."""

    copy: Path = field(kw_only=True)

    @cached_property
    def database(self) -> Database:
        return open_database(self.copy)


def copy_database(source: Path, copy: Path, patience_s: float = PATIENCE_S) -> None:
    """Make `copy` a copy of the database at one moment. Not flushed: who wants to keep it does that.

    Raises sqlite3.Error for a `source` that is none or is locked; what is damaged in it is so in the copy.
    """
    give_up_at = time.monotonic() + patience_s

    def look(status: int, num_left: int, _num_pages: int) -> None:
        _refuse_locked(status)
        if num_left and time.monotonic() > give_up_at:
            raise _NoPeace

    address = f"{source.absolute().as_uri()}?mode=rw"  # it is not made if it is not there
    with (
        closing(sqlite3.connect(address, timeout=BUSY_TIMEOUT_S, uri=True)) as reading,
        closing(sqlite3.connect(copy)) as writing,
    ):
        for pragma in ("synchronous=OFF", "journal_mode=OFF"):
            writing.execute(f"PRAGMA {pragma}")
        try:
            reading.backup(writing, pages=PAGES, progress=look)
        except _NoPeace:
            reading.backup(writing, progress=lambda status, _left, _all: _refuse_locked(status))


def _refuse_locked(status: int) -> None:
    """Python would try for ever; SQLite has waited its BUSY_TIMEOUT_S by now."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


class _NoPeace(Exception):
    """Others write too often for a copy in steps."""

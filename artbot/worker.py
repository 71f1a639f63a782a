"""One worker per workplace: only it renders and sends.

On one host the lock is an flock on a file. The kernel releases it when the process ends, however it
ends, so there is no stale lock to clean up; child processes do not inherit it. Across hosts (PostgreSQL)
the worker holds a lease in the database, and everywhere each worker has an *epoch*: a worker that was
taken for dead and wakes up again finds its writes refused (db.engine.Fenced).
"""

from __future__ import annotations

import fcntl
import math
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from artbot.clock import BootClock, Clock
from artbot.domain.calendar import ClockMark, doubt_about
from artbot.errors import ClockDoubted, WorkerBusy, WorkerElsewhere

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db.engine import Database
    from db.models import WorkplaceRow

LEASE = timedelta(minutes=5)
"""A worker of another host that was silent for so long is taken for dead; one that may have to wait longer
for something has a longer one (`Workplace.lease`)."""
RENEW_AFTER = timedelta(minutes=1)
"""A sign of life lengthens the lease once so much of it is spent: more often would write for nothing."""


@contextmanager
def hold_worker(lock: Path, task: str) -> Iterator[None]:
    """Be the only worker of this host, by an flock on the file `lock`; `task` is what others are told.

    Raises WorkerBusy naming the process that already is.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+", encoding="utf-8") as file:
        if not try_to_lock(file.fileno()):
            raise WorkerBusy(f"{_holder(lock)} is already at work on this workplace.")
        file.truncate(0)
        file.write(_words(task))
        file.flush()
        yield


@contextmanager
def hold_epoch(
    database: Database,
    task: str,
    clock: Clock,
    place: Path | None = None,
    lease: timedelta = LEASE,
) -> Iterator[None]:
    """Be the worker of the database: from here on its writes are fenced. The caller holds the lock, and
    `place` is the folder it is of: two workplaces on one host are as strange to each other as two hosts.
    `lease`: whoever is silent for longer than that is replaced.

    Raises WorkerElsewhere naming the worker of another host whose lease has not run out.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from db.engine import DatabaseUnusable
    from db.models import WorkplaceRow

    with database.write() as session:
        row = session.get_one(WorkplaceRow, 1)
        now = _moment(session, clock)
        _check_nobody_elsewhere(database, row, now, place)
        row.epoch += 1
        row.worker, row.host, row.leased_until = _words(task), _host(place), now + lease
        epoch = row.epoch
    database.epoch = epoch
    try:
        yield
    finally:
        try:
            # A lease that cannot be given back runs out by itself; what ended the work is what matters.
            with (
                suppress(SQLAlchemyError, OSError, DatabaseUnusable),
                database.write() as session,
            ):
                session.get_one(WorkplaceRow, 1).leased_until = None
        finally:
            database.epoch = None


def keep_working(
    database: Database, clock: Clock, boot: BootClock, lease: timedelta = LEASE
) -> None:
    """To be called now and then by the worker: looks at the clock and says that the worker lives.

    Cheap: writes once in RENEW_AFTER. Raises ClockDoubted, Fenced.
    """
    from db.models import WorkplaceRow

    with database.read() as session:
        row = session.get_one(WorkplaceRow, 1)
        now = _moment(session, clock)
    check_clock(row, clock, boot)
    if row.epoch == database.epoch and row.leased_until is not None and row.clock_at is not None:
        left = row.leased_until - now
        is_fresh = lease - RENEW_AFTER < left <= lease and clock() - row.clock_at < RENEW_AFTER
        if is_fresh and (row.boot_id or "") == boot()[0]:
            return
    with database.write() as session:
        row = session.get_one(WorkplaceRow, 1)
        row.leased_until = _moment(session, clock) + lease
        _mark_clock(row, clock, boot)


def check_clock(row: WorkplaceRow, clock: Clock, boot: BootClock) -> None:
    """Raise ClockDoubted if the clock contradicts what the workplace's row remembers."""
    if doubt := doubt_about(ClockMark(clock(), *boot()), last_look(row)):
        raise ClockDoubted(
            f"{doubt}. Nothing is made or sent until the clock is right again; "
            "if it is right now, say so: artbot clock --accept"
        )


def last_look(row: WorkplaceRow) -> ClockMark | None:
    """What the clocks showed when the worker last looked; None if none ever did."""
    if row.clock_at is None:
        return None
    return ClockMark(row.clock_at, row.boot_id or "", row.boot_s or 0.0)


def accept_clock(database: Database, clock: Clock, boot: BootClock) -> None:
    """A person says that the clock is right."""
    from db.models import WorkplaceRow

    with database.write() as session:
        _mark_clock(session.get_one(WorkplaceRow, 1), clock, boot)


def _mark_clock(row: WorkplaceRow, clock: Clock, boot: BootClock) -> None:
    row.clock_at = clock()
    row.boot_id, row.boot_s = boot()


def current_worker(lock: Path) -> str | None:
    """Who works on this host now, in words; None if nobody does."""
    if not lock.exists():
        return None
    with open(lock, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(lock)
    return None


def worker_elsewhere(database: Database, clock: Clock, place: Path | None = None) -> str | None:
    """The worker of another host, in words; None if there is none whose lease runs."""
    from db.models import WorkplaceRow

    with database.read() as session:
        row = session.get_one(WorkplaceRow, 1)
        return (
            row.worker if _left_elsewhere(database, row, _moment(session, clock), place) else None
        )


def check_nobody_elsewhere(database: Database, clock: Clock, place: Path | None = None) -> None:
    """Raise WorkerElsewhere if the worker of another host holds a lease."""
    from db.models import WorkplaceRow

    with database.read() as session:
        row = session.get_one(WorkplaceRow, 1)
        _check_nobody_elsewhere(database, row, _moment(session, clock), place)


def _check_nobody_elsewhere(
    database: Database, row: WorkplaceRow, now: datetime, place: Path | None
) -> None:
    if left := _left_elsewhere(database, row, now, place):
        raise WorkerElsewhere(
            f"{row.worker} is already at work on this workplace. If that machine is dead, this one can take "
            f"over in {math.ceil(left / timedelta(minutes=1))} minutes."
        )


def _left_elsewhere(
    database: Database, row: WorkplaceRow, now: datetime, place: Path | None
) -> timedelta | None:
    """What is left of another host's lease; None if there is none. A SQLite file has one host, whatever its
    name is today: there the flock says it all."""
    if database.is_sqlite or row.leased_until is None or row.leased_until <= now:
        return None
    return row.leased_until - now if row.host != _host(place) else None


def _host(place: Path | None) -> str:
    return socket.gethostname() if place is None else f"{socket.gethostname()}:{place.resolve()}"


def _moment(session: Session, clock: Clock) -> datetime:
    """The time that all hosts agree on: the server's, where there is one."""
    from sqlalchemy import text

    if session.get_bind().dialect.name == "sqlite":
        return clock()
    moment: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    return moment


def _words(task: str) -> str:
    return f"artbot {task} (process {os.getpid()} on {socket.gethostname()})"


def try_to_lock(descriptor: int) -> bool:
    """A few tries: who only looks who holds it has the lock for a moment."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.1)
    return False


def _holder(lock: Path) -> str:
    return lock.read_text("utf-8").strip() or "another process"

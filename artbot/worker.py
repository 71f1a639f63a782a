"""One worker per workplace: only its holder renders and sends.

The lock is an flock on a file beside the database. The kernel releases it when the process ends,
however it ends, so there is no stale lock to clean up; child processes do not inherit it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artbot.errors import WorkerBusy


def lock_path(database: Path) -> Path:
    return database.with_name("artbot.lock")


@contextmanager
def hold_worker(database: Path, task: str) -> Iterator[None]:
    """Be the worker of the workplace of `database`; `task` is what others are told it does.

    Raises WorkerBusy naming the process that already is.
    """
    path = lock_path(database)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        if not _try_to_lock(file.fileno()):
            raise WorkerBusy(f"{_holder(path)} is already at work on this workplace.")
        file.truncate(0)
        file.write(f"artbot {task} (process {os.getpid()} on {socket.gethostname()})")
        file.flush()
        yield


def _try_to_lock(descriptor: int) -> bool:
    """A few tries: `current_worker` holds the lock for a moment when it looks."""
    for _ in range(5):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.1)
    return False


def current_worker(database: Path) -> str | None:
    """Who works now, in words; None if nobody does."""
    path = lock_path(database)
    if not path.exists():
        return None
    with open(path, encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(path)
    return None


def _holder(path: Path) -> str:
    return path.read_text("utf-8").strip() or "another process"

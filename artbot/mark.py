"""What this host remembers of the database, outside the database.

An old database that is put back, by whatever means, knows less than was done: works it holds for unsent
may have been posted since. The mark is written before each socket opens, so it knows at least as much as
the world does; a database that knows less than the mark is an old one (`is_older`).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from artbot.failpoints import failpoint
from artbot.files import move_into_place


@dataclass(frozen=True)
class Mark:
    """How far the work had got."""

    workplace_id: str
    generation: str
    """A restored database has another."""
    epoch: int
    attempt_id: int
    """The newest attempt that was about to be sent; 0 if none ever was."""

    def is_older(self, than: Mark) -> bool:
        """Whether a database that stands here has lost something that `than` remembers."""
        if self.workplace_id != than.workplace_id:
            return True
        if self.generation != than.generation:  # restored since: then it was given a higher epoch
            return self.epoch <= than.epoch
        return self.epoch < than.epoch or self.attempt_id < than.attempt_id


def read_mark(path: Path) -> Mark | None:
    """None if there is none yet. Raises OSError; ValueError for a file that artbot did not write."""
    if not path.exists():
        return None
    try:
        return Mark(**json.loads(path.read_text("utf-8")))
    except TypeError as error:
        raise ValueError(f"{path} is not as artbot wrote it: {error}") from error


def write_mark(path: Path, mark: Mark) -> None:
    """On disk when it returns, unless it is there already or more is: a worker that was replaced while it
    slept must not make the other's attempts forgotten. Raises OSError."""
    try:
        there = read_mark(path)
    except ValueError:
        there = None
    if there is not None and there.generation == mark.generation and not there.is_older(mark):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Only the worker writes it, and at every attempt: one name, so that killed ones leave no files behind.
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write((json.dumps(asdict(mark)) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    move_into_place(temporary, path)
    failpoint("mark.written")

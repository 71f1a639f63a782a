"""What is remembered of the database, outside the database.

An old database that is put back, by whatever means, knows less than was done: works it holds for unsent
may have been posted since. The mark is written before each socket opens, so it knows at least as much as
the world does; a database that knows less than the mark is an old one (`is_older`).

It lies with the pictures: there every host that may send finds what any of them did, nothing can be sent
where it is not, since a picture is read before each attempt, and whoever puts `db/` back leaves it alone
(docs/decisions/0014-where-the-mark-lies.md).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from artbot.failpoints import failpoint
from artbot.files import make_folder, move_into_place


@dataclass(frozen=True)
class Mark:
    """How far the work had got."""

    workplace_id: str
    generation: str
    """A restored database has another."""
    epoch: int
    attempt_id: int = 0
    """The newest attempt that was about to be sent; 0 if none ever was."""
    attempt: str = ""
    """What it was, in words that fit no other: a database that was put back gives the number again."""
    latest_day: str = ""
    """The latest day of a batch of which anything was about to be sent, as 2026-11-21: a clock that was ahead
    may have made one that comes again."""

    def is_older(self, than: Mark) -> bool:
        """Whether a database that stands here, as far as the attempt that `than` names, has lost something
        that `than` remembers."""
        if self.workplace_id != than.workplace_id:
            return True
        if self.generation != than.generation:  # restored since: then it was given a higher epoch
            return self.epoch <= than.epoch
        return self.epoch < than.epoch or self.attempt != than.attempt


def read_mark(path: Path) -> Mark | None:
    """None if there is none. Raises OSError; ValueError for a file that artbot did not write."""
    try:
        return Mark(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not as artbot wrote it: {error}") from error


def write_mark(path: Path, mark: Mark) -> None:
    """On disk when it returns. Raises OSError; then the old one is untouched."""
    make_folder(path.parent)
    # One name for each worker: the file of a killed one is found by the next (`left_over_marks`), and one
    # that sleeps on another host does not write into its successor's.
    temporary = path.with_name(f".{path.name}.{mark.epoch}.tmp")
    with open(temporary, "wb") as file:
        file.write((json.dumps(asdict(mark)) + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    move_into_place(temporary, path)
    failpoint("mark.written")


def left_over_marks(path: Path) -> list[Path]:
    """What earlier workers were writing when they were ended. Only the worker may ask."""
    return list(path.parent.glob(f".{path.name}.*.tmp"))

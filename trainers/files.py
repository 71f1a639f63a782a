"""Write files so that a reader, or a power cut, never meets half of one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from trainers.errors import StorageError, in_one_line, is_out_of_memory


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write(file)` on a temporary neighbour of `path`, flush it to disk, then rename it.

    Raises StorageError (disk full, no permission); `path` then still holds what it held before.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise  # of the device that paints what is to be written
        raise StorageError(
            f"could not write {path}: {why_not_written(error)}. What was there before is untouched; "
            "free some space or fix the permissions and run the same command again."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sweep_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`. Only for who alone writes there."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def check_writable(*places: Path) -> None:
    """Make the folders, and find out now, not after the first tick, that one cannot be written.

    Raises StorageError.
    """
    for place in places:
        probe = place / ".artbot-can-write"
        try:
            place.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"artbot")  # a full disk still takes empty files
            probe.unlink()
        except OSError as error:
            with suppress(OSError):
                probe.unlink()
            raise StorageError(
                f"cannot write to {place}: {why_not_written(error)}. Free some space, fix the permissions, or choose "
                "another place."
            ) from error


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Inside, the system's refusals (disk full, no permission, a file in the way) are StorageErrors."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"could not write {path}: {why_not_written(error)}. Free some space or fix the permissions and "
            "run the same command again."
        ) from error


def why_not_written(error: Exception) -> str:
    """The system's reason, in words.

    torch.save closes its archive when a write failed, and what that raises hides the reason: of a
    full disk "[enforce fail at inline_container.cc:671] . unexpected pos 704 vs 598".
    """
    cause: BaseException | None = error
    while not (cause is None or isinstance(cause, OSError)):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return in_one_line(error)
    said = cause.strerror or str(cause)
    if cause.errno == errno.ENOSPC:
        return f"the disk is full ({said})"
    return said


def fsync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut (POSIX: the folder has its own metadata)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

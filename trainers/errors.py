"""What can go wrong for a person who trains. Each says what failed, the value, and the remedy.

TrainerError               exit code 1
├── SettingsError          exit code 2: an option or a combination of options cannot work
├── DatasetError           the pictures cannot be trained on
│   └── DatasetNotFound    exit code 2: no such folder, no such source
├── ResumeRefused          the run's saved state and today's settings cannot be combined
├── RunBusy                another process is training this run
├── TrainingStopped        the guard ended a run that it could not mend; the best checkpoint is kept
├── OutOfMemory            the device cannot hold the networks and a batch
├── DeviceFault            the device computes what the processor does not
├── StorageError           a file could not be written whole
├── RecipeRefused          a picture's recipe asks for what this artbot does not know
└── CheckpointRefused      an exported generator is damaged, foreign or not one at all
    └── WeightsRefused     by what its weights are: however often it is tried, it comes to the same
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class TrainerError(Exception):
    """A failure with a message meant for the person; never a bug of ours."""

    exit_code = 1


class SettingsError(TrainerError):
    exit_code = 2


class DatasetError(TrainerError):
    pass


class DatasetNotFound(DatasetError):
    exit_code = 2


class ResumeRefused(TrainerError):
    pass


class RunBusy(TrainerError):
    pass


class TrainingStopped(TrainerError):
    pass


class OutOfMemory(TrainerError):
    pass


class DeviceFault(TrainerError):
    pass


class StorageError(TrainerError):
    pass


class RecipeRefused(TrainerError):
    pass


class CheckpointRefused(TrainerError):
    """Raised with the reason alone, so that a caller can say which checkpoint it was."""


class WeightsRefused(CheckpointRefused):
    pass


def is_out_of_memory(error: Exception) -> bool:
    """Also where torch says so only in words, as its CPU allocator does."""
    words = str(error)
    is_said = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError) or is_said


def in_one_line(error: Exception) -> str:
    """The first line of what it says, its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def out_of_memory_told(remedy: str) -> Iterator[None]:
    """Inside, memory that ran out is an OutOfMemory with this remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # CUDA's own error is a RuntimeError
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory ({in_one_line(error)}). {remedy}") from error


def did_you_mean(typed: str, known: Iterable[str], otherwise: str) -> str:
    """`Did you mean NAME?`, if a known name is close to what was typed; else `otherwise`."""
    close = difflib.get_close_matches(typed, list(known), n=1)
    return f"Did you mean {close[0]}?" if close else otherwise


def unknown_name(what: str, typed: str, known: Iterable[str]) -> str:
    """`no preset is called 'dcgna'. Did you mean dcgan? Known: …`, of few names that are all told."""
    names = list(known)
    listed = f"Known: {', '.join(names)}."
    meant = did_you_mean(typed, names, otherwise="")
    return f"no {what} is called {typed!r}. {f'{meant} {listed}' if meant else listed}"

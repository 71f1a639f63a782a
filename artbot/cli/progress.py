"""Counting work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from artbot.cli.common import say

PLAIN_EVERY_S = 10.0


@contextmanager
def counting(title: str) -> Iterator[Callable[[int, int], None]]:
    """Gives a function to call with (done, total)."""
    if sys.stderr.isatty():
        with _bar(title) as count:
            yield count
    else:
        yield _lines(title)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(title: str) -> Callable[[int, int], None]:
    said_at = time.monotonic()

    def count(done: int, total: int) -> None:
        nonlocal said_at
        if done == total or time.monotonic() - said_at > PLAIN_EVERY_S:
            said_at = time.monotonic()
            say(f"{title} {done} of {total}")

    return count

"""Ctrl-C and SIGTERM as a request: finish what is in hand, leave everything resumable, end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests(on_request: Callable[[], None]) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether a stop was requested; `on_request` runs at the first."""
    requested = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        if not requested:
            requested = True
            on_request()

    previous = {number: signal.signal(number, handle) for number in STOP_SIGNALS}
    try:
        yield lambda: requested
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

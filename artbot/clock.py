"""The time, as an argument: tests put another clock in its place."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

Clock = Callable[[], datetime]
"""Gives the present moment, aware UTC."""
BootClock = Callable[[], tuple[str, float]]
"""Gives which start of the machine this is, and the seconds since then, sleep included. Nobody can set
this one, so the other can be checked against it."""


def system_clock() -> datetime:
    return datetime.now(UTC)


def system_boot() -> tuple[str, float]:
    """From Linux; empty and 0 elsewhere, where every look is taken for another start."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return boot_id, time.clock_gettime(time.CLOCK_BOOTTIME)
    except (OSError, AttributeError):
        return "", 0.0

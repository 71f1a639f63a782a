"""The time, as an argument: tests put another clock in its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present moment, aware UTC."""


def system_clock() -> datetime:
    return datetime.now(UTC)

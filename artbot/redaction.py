"""Keeps secrets out of everything that is written: logs, the database, messages.

A secret is registered the moment it is read; from then on `redact` replaces it wherever text leaves
the process.
"""

from __future__ import annotations

import logging
import time

REDACTED = "[secret]"
_MIN_LENGTH = 6
"""Shorter strings would redact half of every sentence; no real secret is that short."""

_secrets: set[str] = set()


def register_secret(value: str) -> None:
    if len(value) >= _MIN_LENGTH:
        _secrets.add(value)


def known_secrets() -> frozenset[str]:
    """Every secret that was read so far."""
    return frozenset(_secrets)


def redact(text: str) -> str:
    for secret in sorted(_secrets, key=len, reverse=True):  # one may be part of another
        text = text.replace(secret, REDACTED)
    return text


class RedactingFormatter(logging.Formatter):
    """Redacts the finished line, tracebacks included, and keeps it one line, which begins with its time in UTC."""

    def __init__(self, line: str = "%(asctime)sZ %(levelname)s %(message)s") -> None:
        super().__init__(line, "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record)).replace("\r", "\\r").replace("\n", "\\n")

"""Tells systemd how the daemon fares: ready, alive, stopping. Silent where systemd did not start it.

sd_notify(3): datagrams to the socket that $NOTIFY_SOCKET names. `alive` is called by the thread that
does the work, and only after it did some; a beat from a thread of its own would prove nothing.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

BEAT_EVERY_S = 1.0
"""More often is no news."""

log = logging.getLogger("artbot")


class Supervision:
    """The daemon's end of the line to systemd."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID."""
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):  # an abstract socket (unix(7))
            self._address = "\0" + self._address[1:]
        for_us = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        microseconds = environment.get("WATCHDOG_USEC", "")
        self._limit_s = int(microseconds) / 1e6 if for_us and microseconds.isdigit() else 0.0
        self._beaten_at = -BEAT_EVERY_S

    def ready(self, longest_wait_s: float) -> None:
        """At work. Nothing it waits for takes longer than `longest_wait_s`: a watchdog that would
        bite sooner is told so (WATCHDOG_USEC=)."""
        words = ["READY=1"]
        if 0 < self._limit_s < longest_wait_s:
            words.append(f"WATCHDOG_USEC={int(longest_wait_s * 1e6)}")
        self._say(*words)

    def alive(self) -> None:
        """Some work was done."""
        now = time.monotonic()
        if self._limit_s and now - self._beaten_at >= BEAT_EVERY_S:
            self._beaten_at = now
            self._say("WATCHDOG=1")

    def stopping(self) -> None:
        self._say("STOPPING=1")

    def _say(self, *words: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.settimeout(1.0)
                line.sendto("\n".join(words).encode(), self._address)
        except OSError as error:  # nobody listens: the work goes on, and once it was said
            log.warning("cannot tell systemd (%s): %s", words[0], error)
            self._address = ""

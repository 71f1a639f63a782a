"""The review page beside the daemon: a process of its own, begun again when it ends, ended with the daemon.

Whatever becomes of it, the daemon's work goes on: it is looked after by a thread that does nothing else.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from artbot.config import Settings

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""Before it is begun again: twice as long each time ..."""
WELL_AFTER_S = 60.0
"""... until it has run for so long."""
END_S = 10.0
"""It ends within a few seconds of being told."""

log = logging.getLogger("artbot")


@contextmanager
def serving_page(settings: Settings) -> Iterator[None]:
    """Serve the page while inside, if artbot.toml says so."""
    if not settings.web.serve:
        yield
        return
    ending = Event()
    thread = Thread(target=_keep_serving, args=(settings, ending), name="review page")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _keep_serving(settings: Settings, ending: Event) -> None:
    pause_s = FIRST_PAUSE_S
    while not ending.is_set():
        began = time.monotonic()
        why = _serve_once(settings, ending)
        if ending.is_set():
            return
        if time.monotonic() - began > WELL_AFTER_S:
            pause_s = FIRST_PAUSE_S
        log.error("the review page has ended (%s); it is begun again in %.0f s", why, pause_s)
        ending.wait(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _serve_once(settings: Settings, ending: Event) -> str:
    """Until it ends, or is told to; how it ended."""
    try:
        process = subprocess.Popen(
            # -P: whatever lies in the folder we were started in is no module.
            [sys.executable, "-P", "-m", "artbot.web", str(settings.root)],
            stdin=subprocess.PIPE,  # it ends when this closes, and so with the daemon, however that ends
            stderr=subprocess.STDOUT,
            env=_environment(settings),
            start_new_session=True,  # Ctrl-C in the terminal is the daemon's to handle
        )
    except OSError as error:
        return f"it cannot be begun: {error.strerror}"
    while process.poll() is None and not ending.wait(0.2):
        pass
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        code = process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _environment(settings: Settings) -> dict[str, str]:
    """Without the channels' secrets; the database's password is needed."""
    environment = settings.child_environment()
    if (password := os.environ.get("PGPASSWORD")) is not None:
        environment["PGPASSWORD"] = password
    return environment

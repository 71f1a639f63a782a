"""Listen, tell where, serve until told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from artbot.config import WebSettings
from artbot.errors import StorageFailed
from artbot.upkeep.served import hold_page
from artbot.web.app import make_app
from artbot.workplace import Workplace

MOST_AT_ONCE = 64
"""Connections: one person's browsers open a dozen."""
MOST_HEADER_BYTES = 32_768
GRACE_S = 3
"""What is being answered when it is told to stop has so long."""


def serve(
    workplace: Workplace,
    settings: WebSettings,
    port: int,
    on_ready: Callable[[str], None],
    stops: Callable[[Callable[[], None]], None] = lambda stop: None,
) -> None:
    """Serve the page on `port` (0: a free one) until SIGTERM, Ctrl-C, or whatever `stops` is made to call.

    Raises StorageFailed if the port cannot be had, WorkerBusy if the page is served already.
    """
    with _listen(settings.host, port) as listening:
        port = listening.getsockname()[1]

        def stop() -> None:
            server.should_exit = True

        server = uvicorn.Server(
            uvicorn.Config(
                make_app(workplace, settings.origins(port), stop),
                loop="asyncio",
                http="h11",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # nothing depends on what a header says of where it comes from
                server_header=False,
                limit_concurrency=MOST_AT_ONCE,
                timeout_keep_alive=15,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            )
        )
        address, at = settings.address(port), _url(settings.host, port)
        with hold_page(workplace.settings.web_lock, address, at):
            _let_signals_end_it()
            stops(stop)
            on_ready(address)
            server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise StorageFailed(
            f"the review page cannot listen on {host}, port {port}: {error.strerror}. Choose another: --port, or "
            "port under [web] in artbot.toml."
        ) from error


def free_port(host: str, wanted: int) -> int:
    """`wanted` if it can be had, so that tunnels and bookmarks stay right; else 0: any."""
    try:
        _listen(host, wanted).close()
    except StorageFailed:
        return 0
    return wanted


def _url(host: str, port: int) -> str:
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _let_signals_end_it() -> None:
    """uvicorn raises again, at its end, the signal that ended it: that must not end us halfway."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: None)


def when_stdin_closes(stop: Callable[[], None]) -> None:
    """Whoever began this process holds the other end, and is gone when it closes, however it ended."""

    def wait() -> None:
        with suppress(OSError):
            while os.read(
                0, 4096
            ):  # not sys.stdin: its lock, held by this thread, would abort the end
                pass
        stop()

    threading.Thread(target=wait, daemon=True, name="stdin").start()


def log_to_stderr(level: int = logging.INFO) -> None:
    """What is refused and what goes wrong, one line each, no secret in it."""
    from artbot.redaction import RedactingFormatter

    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter())
    for name, least in (("artbot", level), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(least)
        logger.propagate = False

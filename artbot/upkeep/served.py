"""Whether somebody serves the review page of this workplace on this host, and where.

Who does holds an flock, which the kernel takes back however that process ends; the file says the address.
"""

from __future__ import annotations

import errno
import fcntl
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from artbot.errors import WorkerBusy
from artbot.upkeep.needs import Problem
from artbot.worker import current_worker, try_to_lock
from artbot.workplace import Workplace

ANSWER_S = 2.0
"""A page that answers takes a few milliseconds."""


@contextmanager
def hold_page(lock: Path, address: str, listens_at: str) -> Iterator[None]:
    """Be the one who serves the page: `address` for the person, `listens_at` (`http://HOST:PORT`) on this host.

    Raises WorkerBusy naming where it is served already.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+", encoding="utf-8") as file:
        if not try_to_lock(file.fileno()):
            raise WorkerBusy(f"the review page is served already: {served_at(lock) or lock}")
        file.truncate(0)
        file.write(f"{address}\n{listens_at}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def served_at(lock: Path) -> str | None:
    """The address for the person; None if nobody serves it."""
    lines = _told(lock)
    return lines[0] if lines else None


def answers(lock: Path, host: str) -> bool:
    """Whether who serves it does answer, asked under the name `host`."""
    lines = _told(lock)
    if lines is None:
        return False
    import http.client

    where = urlsplit(lines[1])
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/login", headers={"Host": host})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def page_problems(workplace: Workplace) -> list[Problem]:
    """What keeps the page that the daemon is to serve from being there."""
    settings = workplace.settings
    web, address = settings.web, served_at(settings.web_lock)
    if not web.serve:
        return []
    if address is not None:
        host = urlsplit(address).netloc
        return (
            []
            if answers(settings.web_lock, host)
            else [
                Problem(
                    f"the review page, {address}, is served and does not answer",
                    "look at the log of artbot daemon, and begin it anew",
                )
            ]
        )
    if _is_taken(web.host, web.port):
        return [
            Problem(
                f"the review page cannot be served: another program has port {web.port}",
                "give it another: port under [web] in artbot.toml",
            )
        ]
    if (worker := current_worker(settings.lock)) and worker.startswith("artbot daemon"):
        return [
            Problem(
                "the daemon does not serve the review page",
                "it says why in its log; one that began before [web] was written has to be begun anew",
            )
        ]
    return []


def _is_taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _told(lock: Path) -> list[str] | None:
    """The two lines of who holds it; None if nobody does."""
    try:
        with open(lock, encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                lines = file.read().splitlines()
            else:
                return None
    except OSError:
        return None
    return lines if len(lines) == 2 else None

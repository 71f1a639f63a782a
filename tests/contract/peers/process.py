"""Servers of others, as processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

START_S = 120.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def serving_process(command: Sequence[str], health: str, folder: Path) -> Iterator[None]:
    """While it runs, in that folder, from when it answers at the URL `health`."""
    log = folder / "log"
    with log.open("wb") as said:
        environment = {**os.environ, "TMPDIR": str(folder)}
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        try:
            _wait_until_up(server, health, log)
            yield
        finally:
            server.terminate()
            server.wait(60)


def _wait_until_up(server: subprocess.Popen[bytes], health: str, log: Path) -> None:
    give_up_at = time.monotonic() + START_S
    while time.monotonic() < give_up_at:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            if requests.get(health, timeout=5).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(f"not up within {START_S:g} s: {log.read_text()[-3000:]}")

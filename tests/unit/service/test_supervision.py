"""What systemd hears of the daemon, and that nobody minds when it does not listen."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from artbot.daemon import supervision
from artbot.daemon.supervision import Supervision


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(systemd: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(systemd.recv(1000).decode())
        except BlockingIOError:
            return words


def supervised(systemd: socket.socket, **environment: str) -> Supervision:
    return Supervision({"NOTIFY_SOCKET": systemd.getsockname(), **environment})


def test_without_systemd_nothing_happens() -> None:
    unsupervised = Supervision({"WATCHDOG_USEC": "1000000"})
    unsupervised.ready(60)
    unsupervised.alive()
    unsupervised.stopping()


def test_without_a_watchdog_there_is_no_beat(systemd: socket.socket) -> None:
    alone = supervised(systemd)
    alone.ready(60)
    alone.alive()
    alone.stopping()
    assert heard(systemd) == ["READY=1", "STOPPING=1"]


@pytest.mark.parametrize(
    ("longest_wait_s", "told"), [(29, "READY=1"), (90.5, "READY=1\nWATCHDOG_USEC=90500000")]
)
def test_a_watchdog_that_would_bite_too_soon_is_lengthened(
    systemd: socket.socket, longest_wait_s: float, told: str
) -> None:
    supervised(systemd, WATCHDOG_USEC="30000000").ready(longest_wait_s)
    assert heard(systemd) == [told]


def test_beats_come_once_a_second_at_most(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(supervision.time, "monotonic", lambda: now_s)
    beating = supervised(systemd, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid()))
    for _ in range(50):
        beating.alive()
        now_s += 0.1
    assert len(heard(systemd)) == 5


def test_another_processs_watchdog_is_left_alone(systemd: socket.socket) -> None:
    other = supervised(systemd, WATCHDOG_USEC="30000000", WATCHDOG_PID="1")
    other.alive()
    assert heard(systemd) == []


def test_an_abstract_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0artbot-test-{os.getpid()}")
        Supervision({"NOTIFY_SOCKET": f"@artbot-test-{os.getpid()}"}).stopping()
        assert systemd.recv(100) == b"STOPPING=1"


def test_nobody_listening_is_said_once_and_does_not_matter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Supervision({"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "9000000"})
    with caplog.at_level(logging.WARNING, "artbot"):
        gone.ready(1)
        gone.alive()
        gone.stopping()
    assert len(caplog.records) == 1

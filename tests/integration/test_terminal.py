"""`artbot review` in real terminals: the day's work inside tmux, and one whose answers come late."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ARTBOT, Place, wait_for
from tests.unit.tui.kit import new_workplace

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("COLORTERM", "TMUX", "TERM_PROGRAM", "LC_TERMINAL", "DISPLAY", "NO_COLOR")
}


class Tmux:
    """A window of tmux, and a person before it."""

    def __init__(self, socket: Path, root: Path, columns: int, rows: int) -> None:
        self._socket = socket
        command = f"{ARTBOT} review; echo left with $?; sleep 600"
        size = ("-x", str(columns), "-y", str(rows))
        self._tmux("-f", os.devnull, "new-session", "-d", *size, "-c", str(root), command)

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def screen(self, *options: str) -> str:
        return self._tmux("capture-pane", "-p", *options)

    def sees(self, *words: str) -> None:
        deadline = time.monotonic() + 300
        while not all(each in self.screen() for each in words):
            assert time.monotonic() < deadline, f"{words} never were on\n{self.screen()}"
            time.sleep(0.05)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def close(self) -> None:
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        ran = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments],
            env={**ENVIRONMENT, "TZ": "UTC", "TERM": "xterm-256color"},
            capture_output=True,
            text=True,
            check=True,
        )
        return ran.stdout


@pytest.fixture
def tmux(painted: Place) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed: tests/install-tmux.sh")
    window = Tmux(painted.root / "tmux", painted.root, 80, 24)
    yield window
    window.close()


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_the_day_is_chosen_in_a_small_window_of_tmux(painted: Place, tmux: Tmux) -> None:
    tmux.sees("1 of 3 · 3 to choose", "! the draft", "q quit")
    wait_for(lambda: "38;2;" in tmux.screen("-e"))  # all colours, though tmux passes none on
    time.sleep(0.5)  # what is typed sooner nobody typed about the picture
    tmux.press("4")
    tmux.sees("1: ★★★★☆")

    tmux.press("a")
    tmux.sees("Words for 1", "This is the draft")
    tmux.write("A grey cloud")
    tmux.press("C-s")
    tmux.sees("2 of 3", "1 approved · u takes it back")
    tmux.press("x")
    tmux.sees("3 of 3", "2 rejected")
    tmux.press("u")
    tmux.sees("2 of 3", "taken back: 2 is pending again")
    tmux.press("U")
    tmux.sees("brought back: 2 is rejected again")

    tmux.press("Right", "m")
    tmux.sees("4 5 6 7 will be painted once a daemon runs")
    assert painted.run("daemon", "--once").code == 0
    tmux.sees("painted: 4 5 6 7, beside 3", "of 7")
    tmux.press("Space")
    tmux.sees("4 of 7", "3 put off until later", "subtle")

    tmux.resize(120, 40)
    tmux.press("g")
    tmux.sees("enter loupe", "4 of 7")
    tmux.press("X")
    tmux.sees("Reject the 4 that are still pending here (4 5 6 7)?")
    tmux.press("y")
    tmux.sees("Nothing is left to choose here.", "1 approved · 5 rejected · 1 put off until later")
    tmux.press("q")
    tmux.sees("all is saved", "left with 0")

    listed = {each["id"]: each for each in painted.json("review", "list", "--all")}
    assert [listed[n]["state"] for n in range(1, 8)] == ["approved", "rejected", "later"] + (
        ["rejected"] * 4
    )
    assert (listed[1]["alt"], listed[1]["stars"]) == ("A grey cloud", 4)


class SlowTerminal:
    """A terminal at the end of a slow line: it answers what it is asked, and says more, late and in pieces."""

    UNASKED = "\x1b[?62;4;22c\x1b_Gi=31;OK\x1b\\\x1bP>|XTerm(379)\x1b\\\x1b[6;20;10t\x1b[?1u"
    QUESTIONS = (
        (rb"\x1b\[\?(2026|2048)\$p", lambda asked: f"\x1b[?{asked[1].decode()};2$y"),
        (rb"\x1b\[c", lambda asked: "\x1b[?62;4;22c"),
        (rb"\x1b\[16t", lambda asked: "\x1b[6;20;10t"),
        (rb"\x1b_G[^\x1b]*a=q[^\x1b]*\x1b\\", lambda asked: "\x1b_Gi=31;OK\x1b\\"),
    )

    def __init__(self, root: Path, delay_s: float, *arguments: str) -> None:
        self.said = b""
        self._delay_s = delay_s
        self._answered = 0
        self._to_type: list[tuple[float, bytes]] = []
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(root)
            environment = {**ENVIRONMENT, "TERM": "xterm-256color", "TZ": "UTC"}
            os.execve(ARTBOT, [str(ARTBOT), "review", *arguments], environment)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.say(self.UNASKED)

    def say(self, text: str) -> None:
        """Late; then a piece at a time, the first of them its first character."""
        at = max([time.monotonic() + self._delay_s, *(at for at, _ in self._to_type)])
        for piece in re.findall(r".{1,3}", text, re.DOTALL):
            self._to_type.append((at, piece.encode()))
            at += self._delay_s / 8

    def press(self, key: str) -> None:
        os.write(self._fd, key.encode())

    def run_until(self, words: bytes | None, seconds: float = 300) -> None:
        """Be a terminal until it was told these words; None: until there is nothing more to say."""
        deadline = time.monotonic() + seconds
        while words is None or words not in self.said:
            assert time.monotonic() < deadline, self.said[-2000:]
            if words is None and not self._to_type:
                return
            while self._to_type and self._to_type[0][0] <= time.monotonic():
                os.write(self._fd, self._to_type.pop(0)[1])
            if not select.select([self._fd], [], [], 0.01)[0]:
                continue
            try:
                self.said += os.read(self._fd, 65_536)
            except OSError:  # the other end is closed
                assert words is None, self.said[-2000:]
                return
            self._answer()

    def _answer(self) -> None:
        new = self.said[self._answered :]
        for question, answer in self.QUESTIONS:
            for asked in re.finditer(question, new):
                self._answered = max(self._answered, len(self.said) - len(new) + asked.end())
                self.say(answer(asked))

    def end(self) -> int:
        """How it left."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.parametrize(
    ("delay_s", "graphics"),
    [(0.02, "auto"), (0.4, "sixel"), (1.2, "kitty"), (0.4, "iterm2")],
)
def test_no_answer_of_a_terminal_is_taken_for_a_key_however_late_it_comes(
    tmp_path: Path, migrated_file: Path, delay_s: float, graphics: str
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 3)
    workplace.close()
    place = Place(tmp_path / "studio")

    def log() -> list[tuple[object, ...]]:
        return place.sql("SELECT candidate_id, was, now, stars FROM decisions")

    terminal = SlowTerminal(place.root, delay_s, "--graphics", graphics)
    try:
        terminal.run_until(b"quit")
        terminal.run_until(b"No. 1")
        terminal.run_until(None)
        terminal.say("\x1b")  # an Escape key, from which nothing follows
        terminal.run_until(None)
        terminal.say(terminal.UNASKED)  # and all of it again, while the keys are listened to
        terminal.run_until(None)
        time.sleep(0.5)
        assert log() == []
        assert b"\x1b[16t" not in terminal.said or graphics == "auto"
        terminal.press("x")
        terminal.run_until(b"1 rejected")
        assert log() == [(1, "pending", "rejected", 0)]
        terminal.press("q")
        terminal.run_until(b"1 rejected; all is saved.")
        assert terminal.end() == 0
    except BaseException:
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.end()
        raise
    expected = {"sixel": b"\x1bP", "kitty": b"\x1b_G", "iterm2": b"\x1b]1337;File=inline=1"}
    assert expected.get(graphics, b"38;2;") in terminal.said


def test_a_window_that_is_too_small_is_refused_in_words(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 1)
    workplace.close()
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(tmp_path / "studio")
        environment = {**ENVIRONMENT, "TERM": "xterm-256color", "COLUMNS": "50", "LINES": "10"}
        os.execve(ARTBOT, [str(ARTBOT), "review"], environment)
    said = b""
    while True:
        try:
            said += os.read(fd, 65_536)
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    words = " ".join(said.decode().split())
    assert "50 columns and 10 rows, and the review needs 60 and 16" in words
    assert "artbot review --list" in words
    os.close(fd)

"""A headless Chromium, spoken to over a pipe by the DevTools protocol: no other software is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_BEGIN = """import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])"""
"""The browser reads from descriptor 3 and writes to descriptor 4."""

_ALL_PAINTED = """(async () => {
    for (const image of document.images) image.loading = "eager"
    await Promise.all([...document.images].map(image => image.decode().catch(() => 0)))
    for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame)
})()"""


class Page:
    """One tab."""

    def __init__(self, to: int, answers: Any) -> None:
        self._to = to
        self._answers = answers
        self._heard = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return dict(said["result"])
            self.events.append(said)

    def look(self, width: int, height: int, scheme: str) -> None:
        """From now on as on a screen of so many CSS pixels, `scheme` light or dark."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media="screen", features=features)

    def open(self, url: str) -> None:
        """Returns once it is loaded with all its pictures that are in sight."""
        self.events.clear()
        self.ask("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def evaluate(self, expression: str) -> Any:
        """Its value, or what it promises."""
        said = self.ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A PNG of what is in sight, or of the whole page."""
        self.evaluate(_ALL_PAINTED)
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Of the browser about the page, since it was opened."""
        return [
            event["params"]["entry"]["text"]
            for event in self.events
            if event.get("method") == "Log.entryAdded"
        ]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            piece = self._answers.read1(65536)
            assert piece, "the browser has gone"
            self._heard += piece
        said, _, self._heard = self._heard.partition(b"\0")
        return dict(json.loads(said))


@contextmanager
def browsing(profile: Path) -> Iterator[Page]:
    """A tab of a browser that keeps its things in `profile`."""
    assert CHROMIUM is not None
    read_there, write_here = _high(os.pipe())
    read_here, write_there = _high(os.pipe())
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _BEGIN, str(read_there), str(write_there)),
            *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--no-first-run", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
        ],
        pass_fds=(read_there, write_there),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_there)
    os.close(write_there)
    try:
        with os.fdopen(read_here, "rb") as answers:
            yield Page(write_here, answers)
    finally:
        os.close(write_here)
        process.terminate()
        process.wait(timeout=20)


def _high(pipe: tuple[int, int]) -> tuple[int, int]:
    """The same pipe under numbers that are not those the browser wants."""
    high = tuple(fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10) for number in pipe)
    for number in pipe:
        os.close(number)
    return high[0], high[1]

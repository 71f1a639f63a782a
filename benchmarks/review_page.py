"""How soon the review page is there, and what it weighs, with two hundred candidates.

    .venv/bin/python benchmarks/review_page.py

Fills a scratch workplace with pictures of noise, serves it as the daemon does (`python -m artbot.web`), logs in as a
browser does and asks as one does: the sheet with every picture, the loupe, decisions. Prints the rows of
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from artbot.web.logins import give_code
from db.engine import open_database
from db.models import Batch, Candidate
from tests.unit.service.kit import CHECKPOINT, NOON, a_batch, a_checkpoint, put

ARTBOT = str(Path(sys.executable).with_name("artbot"))
CANDIDATES = 200
SIZE_PX = 256
MEASURED = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "studio"
        port = free_port()
        fill(root, port)
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "artbot.web", str(root)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            browser = Browser(port)
            browser.wait()
            print(f"| start to first answer | {time.perf_counter() - began:.2f} s |")
            print(f"| resident, nobody logged in | {memory(process.pid)} |")
            browser.log_in(root)
            measure(browser)
            print(f"| resident after all that | {memory(process.pid)} |")
        finally:
            process.terminate()
            process.wait(10)


def measure(browser: Browser) -> None:
    first_s, page = browser.get("/")
    print(
        f"| first page, {CANDIDATES} candidates, {len(page) // 1000} kB | {first_s * 1000:.0f} ms |"
    )
    for what, path in (
        ("the sheet again", "/"),
        ("as JSON", "/sheet.json"),
        ("a loupe", "/works/1"),
    ):
        print(f"| {what} | {median(browser.get(path)[0] for _ in range(MEASURED))} |")
    _, listed = browser.get("/sheet.json")
    tiles = [tile for stack in json.loads(listed)["sheet"]["stacks"] for tile in stack["tiles"]]
    print(f"| a picture | {median(browser.get(tile['picture'])[0] for tile in tiles)} |")
    print(f"| a rejection | {median(browser.reject(tile) for tile in tiles[:MEASURED])} |")


def median(seconds: Iterable[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.1f} ms"


def memory(pid: int) -> str:
    told = Path(f"/proc/{pid}/status").read_text() + Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", told, re.MULTILINE))
    resident, own = (int(kilobytes[name]) / 1000 for name in ("VmRSS", "Pss"))
    return f"{resident:.0f} MB, {own:.0f} MB with shared pages by share"


class Browser:
    """One connection, one login."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._cookie = self._csrf = ""

    def wait(self) -> None:
        while True:
            try:
                self._ask("GET", "/login")
                return
            except ConnectionRefusedError:
                self._connection.close()
                time.sleep(0.01)

    def log_in(self, root: Path) -> None:
        response = self._ask("POST", "/login", {"token": give_code(root / "db" / "web", "bench")})
        self._cookie = (response.getheader("Set-Cookie") or "").partition(";")[0]

    def get(self, path: str) -> tuple[float, bytes]:
        """Seconds, and the page."""
        began = time.perf_counter()
        response = self._ask("GET", path)
        took = time.perf_counter() - began
        assert response.status == 200, f"{path}: {response.status}"
        if found := re.search(rb'name="csrf" value="(\w+)"', self._body):
            self._csrf = found[1].decode()
        return took, self._body

    def reject(self, tile: dict[str, Any]) -> float:
        began = time.perf_counter()
        response = self._ask(
            "POST", f"/works/{tile['id']}/reject", {"csrf": self._csrf, **tile["seen"]}
        )
        assert response.status == 200, self._body
        return time.perf_counter() - began

    def _ask(
        self, method: str, path: str, form: dict[str, Any] | None = None
    ) -> http.client.HTTPResponse:
        headers = {"Cookie": self._cookie, "Origin": f"http://127.0.0.1:{self._port}"}
        if form is not None:
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            }
        body = urlencode(form) if form is not None else None
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        self._body = response.read()
        return response


def fill(root: Path, port: int) -> None:
    """A workplace whose batch is painted, as far as the page can tell."""
    subprocess.run([ARTBOT, "init", str(root)], check=True, capture_output=True)
    (root / "artbot.toml").write_text(f"[web]\nport = {port}\n")
    database, batch = open_database(root / "db" / "artbot.sqlite3"), a_batch()
    (root / "works" / batch.key).mkdir(parents=True)
    with database.write() as session:
        session.add(a_checkpoint())
        session.flush()
        put(session, batch)
        for index in range(1, CANDIDATES + 1):
            path = root / "works" / batch.key / f"{batch.key}-{index:03d}.png"
            Image.frombytes("RGB", (SIZE_PX, SIZE_PX), os.urandom(3 * SIZE_PX**2)).save(path)
            put(session, a_candidate(batch, index, path))
    database.close()


def a_candidate(batch: Batch, index: int, path: Path) -> Candidate:
    content = path.read_bytes()
    return Candidate(
        batch_id=batch.id,
        index=index,
        name=path.stem,
        seed=index,
        checkpoint_sha256=CHECKPOINT,
        recipe={"version": 1, "truncation_psi": 1.0},
        state="pending",
        planned_at=NOON,
        rendered_at=NOON,
        path=f"{batch.key}/{path.name}",
        width=SIZE_PX,
        height=SIZE_PX,
        num_bytes=len(content),
        image_sha256=hashlib.sha256(content).hexdigest(),
        pixel_sha256="b" * 64,
        environment={"torch": "none"},
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


if __name__ == "__main__":
    main()

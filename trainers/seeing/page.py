"""A run's page: the grid over time, the curves, what the guard said. No torch, no server, no network.

`index.html` is the same file for every run. It reads `data.js` beside it, because a browser lets a
page opened from a disk run a script there but not fetch a file. The logs travel in it as they are,
as text: the page takes the lines apart, so that a tick costs one reading and one writing of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from trainers.files import storage_errors
from trainers.symptoms import CLASSIC_RANGES

PAGE_FILE = "index.html"
DATA_FILE = "data.js"
STATS_FILE = "stats.jsonl"
EVENTS_FILE = "guard.jsonl"
MAX_TICKS = 2000
"""More than a slider or a curve has pixels for. Keeps the page quick to write and to open."""
_MEASURED = b'"kid'


@dataclass(frozen=True)
class PageFacts:
    """What the page says of a run beside its logs."""

    loss: str = ""
    """What the run learns with; of `bce` the page marks the classic ranges."""
    rows: tuple[tuple[str, ...], ...] = ()
    """The classes in each row of the grid; none for a run that learns none."""
    first_grid: str = ""
    """After what the first grid comes, in the progress's words; looked at while there is none."""


def write_page(run_folder: Path, about: PageFacts = PageFacts()) -> None:
    """Write or refresh `run_folder`/index.html from stats.jsonl and guard.jsonl. Raises StorageError.

    To be called at every tick: a millisecond, and some five when there are thousands of ticks.
    """
    with storage_errors(run_folder / PAGE_FILE):
        stats, every = _thinned(_bytes(run_folder / STATS_FILE))
        facts = {
            "name": run_folder.resolve().name,
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "every": every,
            "usual": CLASSIC_RANGES if about.loss == "bce" else {},
            "rows": about.rows,
            "first_grid": about.first_grid,
        }
        parts = [
            f"artbotRun({{...{json.dumps(facts)},\nstats: ".encode(),
            _as_script(stats),
            b",\nguard: ",
            _as_script(_bytes(run_folder / EVENTS_FILE)),
            b"});\n",
        ]
        _replace(run_folder / DATA_FILE, b"".join(parts))
        if not _is_current(run_folder / PAGE_FILE):
            _replace(run_folder / PAGE_FILE, _page())


def _thinned(stats: bytes) -> tuple[bytes, int]:
    """Of more than MAX_TICKS lines every second, fourth, …, and how many that is: enough to scrub
    through. The last stays, and so do the few that measured."""
    lines = stats.splitlines(keepends=True)
    every = _every(len(lines))
    if every == 1:
        return stats, 1
    measured = [number for number, line in enumerate(lines) if _MEASURED in line]
    kept = {*range(0, len(lines), every), len(lines) - 1, *measured[:: _every(len(measured))]}
    return b"".join(lines[number] for number in sorted(kept)), every


def _every(num_lines: int) -> int:
    """A power of two, so that the lines of one tick are, mostly, those of the next."""
    return 1 << max(0, -(-num_lines // MAX_TICKS) - 1).bit_length()


def _as_script(text: bytes) -> bytes:
    """`text` as a JavaScript string: nothing in it, not even half a line, can be more than text."""
    if any(special in text for special in (b"`", b"\\", b"$")):
        return json.dumps(text.decode("utf-8", errors="replace")).encode()
    return b"`" + text + b"`"  # numbers need no escaping, which would take most of the time


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all for whoever reads it. Not forced onto the disk, which takes ten times as
    long: what a power cut may cost, the next tick writes again."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


@cache
def _page() -> bytes:
    return Path(__file__).with_name("page.html").read_bytes()


def _is_current(page: Path) -> bool:
    """Whether it is this artbot's page: a run may go on under a newer one."""
    try:
        return page.read_bytes() == _page()
    except FileNotFoundError:
        return False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""

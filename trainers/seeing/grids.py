"""The fixed-seed grids that a run has painted as it learned, by their age in training. Reads names and a log alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Grid:
    """One sample grid of a run."""

    path: Path
    kimg: float
    """Thousands of pictures the discriminator had been shown."""


def list_grids(run_folder: Path) -> list[Grid]:
    """All sample grids by their age in training."""
    grids = []
    for path in (run_folder / "samples").glob("kimg-*.png"):
        if found := re.fullmatch(r"kimg-(\d+\.\d+)\.png", path.name):
            grids.append(Grid(path, float(found[1])))
    return sorted(grids, key=lambda grid: grid.kimg)


def surviving(grids: Sequence[Grid], stats: Path) -> list[Grid]:
    """Those the run went on from: a run that was rolled back leaves grids behind that lead nowhere.

    `stats` is its stats.jsonl, a line a tick, in which the kimg then falls. All, if it tells nothing.
    """
    ticks: list[int] = []
    for line in stats.read_text("utf-8", errors="replace").splitlines() if stats.exists() else ():
        try:
            images_seen = round(json.loads(line)["kimg"] * 1000)
        except (ValueError, KeyError, TypeError):
            continue  # a line cut short
        while ticks and ticks[-1] >= images_seen:
            ticks.pop()
        ticks.append(images_seen)
    known = set(ticks)
    return [grid for grid in grids if round(grid.kimg * 1000) in known] or list(grids)

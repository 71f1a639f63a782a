"""What the training runs have painted and measured, as their folders tell it. Loads no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from trainers.manifest import checkpoints_of_run
from trainers.seeing.grids import list_grids, surviving
from trainers.seeing.page import STATS_FILE

_QUALITY = (
    ("coverage", "coverage"),
    ("diversity_ratio", "diversity"),
    ("precision", "precision"),
    ("recall", "recall"),
)
"""Shares of the real pictures' own, by their name in a run's log, and as they are told."""


@dataclass(frozen=True)
class RunGrid:
    """One grid of always the same seeds."""

    file: str
    kimg: float
    """Thousands of pictures the discriminator had been shown."""


@dataclass(frozen=True)
class Run:
    """A folder in runs/."""

    name: str
    folder: Path
    grids: tuple[RunGrid, ...]
    """The oldest first; not those that it was rolled back from."""
    checkpoints: tuple[str, ...]
    """Exported from it, the latest first."""
    figures: tuple[tuple[str, str], ...]
    """What was measured last, each in words; the quality first."""
    is_painting: bool
    """Whether one of its checkpoints paints the next batch of some schedule."""


def list_runs(runs: Path, checkpoints: Path, painting: Sequence[str]) -> list[Run]:
    """Those that were trained last first. `painting`: names of the checkpoints that paint now."""
    folders = [
        folder
        for folder in (runs.iterdir() if runs.is_dir() else ())
        if not folder.name.startswith(".") and (folder / "samples").is_dir()
    ]
    folders.sort(key=lambda folder: (folder / "samples").stat().st_mtime, reverse=True)
    return [_read(folder, checkpoints, painting) for folder in folders]


def _read(folder: Path, checkpoints: Path, painting: Sequence[str]) -> Run:
    grids = surviving(list_grids(folder), folder / STATS_FILE)
    exported = tuple(path.name for path, _ in checkpoints_of_run(folder.name, checkpoints))
    return Run(
        name=folder.name,
        folder=folder,
        grids=tuple(RunGrid(grid.path.name, grid.kimg) for grid in grids),
        checkpoints=exported,
        figures=tuple(_figures(_ticks(folder / STATS_FILE))),
        is_painting=any(name in painting for name in exported),
    )


def _ticks(stats: Path) -> list[dict[str, Any]]:
    """The lines of its log; none where it has none yet."""
    try:
        lines = stats.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    ticks = []
    for line in lines:
        try:
            tick = json.loads(line)
        except ValueError:
            continue  # a line cut short
        if isinstance(tick, dict) and isinstance(tick.get("kimg"), int | float):
            ticks.append(tick)
    return ticks


def _figures(ticks: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """The distance to the real pictures, then the shares, then what training says of itself."""
    if not ticks:
        return []
    told: list[tuple[str, str]] = []
    measured = [tick for tick in ticks if isinstance(tick.get("kid_x1000"), int | float)]
    if measured:
        last, best = measured[-1], min(measured, key=lambda tick: float(tick["kid_x1000"]))
        words = f"{last['kid_x1000']:.1f} at {last['kimg']:g} kimg"
        if best is not last:
            words += f"; the best was {best['kid_x1000']:.1f} at {best['kimg']:g} kimg"
        told.append(("KID x 1000, less is better", words))
        told += [
            (words, f"{last[name]:.2f}")
            for name, words in _QUALITY
            if isinstance(last.get(name), int | float)
        ]
    now = ticks[-1]
    told.append(("trained", _trained(now)))
    told += [
        (words, f"{now[name]:.2f}")
        for name, words in (("g_loss", "generator's loss"), ("d_loss", "discriminator's loss"))
        if isinstance(now.get(name), int | float)
    ]
    return told


def _trained(tick: dict[str, Any]) -> str:
    words = f"{tick['kimg']:g} kimg"
    if isinstance(elapsed_s := tick.get("elapsed_s"), int | float):
        words += f" in {timedelta(seconds=round(elapsed_s))}"
    return words

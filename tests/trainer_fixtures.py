"""What the trainer's tests share: tiny pictures, tiny networks, real processes, a display that takes notes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.forks import run_in_fork
from trainers.config import Folders, TrainConfig
from trainers.data.cache import PictureSet, load_pictures
from trainers.learner import StepMeans
from trainers.loop import TrainResult, train
from trainers.metrics.scores import Scores
from trainers.progress import Pace, TickStats

ROOT = Path(__file__).parents[1]
TINY = (
    *("--preset", "dcgan", "--size", "32", "--width", "4", "--set", "z_dim=8", "--batch", "8"),
    *("--set", "measure_share=0"),
)
"""Options of the smallest network there is: a step takes a few milliseconds."""
STEP_KIMG = 0.008
"""What one step of TINY's batch adds to the clock."""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TERM": "xterm"}


# ---------------------------------------------------------------- pictures


def write_pictures(folder: Path, count: int = 24, edge_px: int = 40, seed: int = 0) -> Path:
    """`count` PNG pictures of coloured blobs, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((edge_px, edge_px), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index:03d}.png")
    return folder


# ---------------------------------------------------------------- scores


GOOD_SCORES = Scores(
    kid_x1000=0.4,
    kid_sd=0.5,
    density=0.98,
    coverage=0.96,
    precision=0.8,
    recall=0.7,
    diversity_ratio=0.97,
    feature_diversity_ratio=0.97,
    pixel_diversity_ratio=1.01,
    colour_distance=3.1,
    nearest_ratio=0.95,
    num_generated=1000,
    num_real=240,
    num_training=2160,
    is_held_out=True,
    judge="lite2",
    preprocessing="p",
    floor_kid_x1000=-0.1,
    floor_kid_sd=0.6,
    floor_density=1.02,
    floor_coverage=0.97,
    floor_precision=0.79,
    floor_recall=0.78,
    floor_colour_distance=2.9,
)
"""What a generator would get that paints as the real pictures are."""


# ---------------------------------------------------------------- a display that takes notes


@dataclass
class NotingDisplay:
    """A Display that keeps what it is told, for a test to read."""

    notes: list[str] = field(default_factory=list)
    ticks: list[TickStats] = field(default_factory=list)
    checkpoints: list[Path] = field(default_factory=list)
    num_steps: int = 0

    def preparing(self, what: str, done: int, total: int) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)

    def begin(self, config: TrainConfig, pace: Pace) -> None: ...

    def wants_losses(self, every_s: float) -> bool:
        return True

    def losses(self, means: StepMeans) -> None: ...

    def advance(self, pace: Pace) -> None:
        self.num_steps += 1

    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        self.ticks.append(stats)
        if checkpoint:
            self.checkpoints.append(checkpoint)

    def close(self) -> None: ...


# ---------------------------------------------------------------- a place to train in


@dataclass
class Studio:
    """A folder with `datasets/`, `runs/`, `checkpoints/` and `cache/`, and ways to train in it."""

    path: Path

    @property
    def folders(self) -> Folders:
        return Folders(
            self.path / "datasets",
            self.path / "checkpoints",
            self.path / "runs",
            self.path / "cache",
        )

    def add_pictures(self, name: str = "blobs", count: int = 24, seed: int = 0) -> Path:
        return write_pictures(self.folders.datasets / name, count, seed=seed)

    def pictures(self, size_px: int = 32, name: str = "blobs") -> PictureSet:
        folder = self.folders.datasets / name
        if not folder.exists():
            self.add_pictures(name)
        return load_pictures(folder, size_px, self.folders.cache)

    def train(
        self,
        config: TrainConfig,
        stop_after_steps: int | None = None,
        display: NotingDisplay | None = None,
    ) -> TrainResult:
        """Train in this process; `stop_after_steps` asks to stop as Ctrl-C would."""
        display = display or NotingDisplay()
        return train(
            config,
            self.pictures(config.size),
            self.folders,
            display,
            lambda: display.num_steps == stop_after_steps,
        )

    def state(self, run: str = "tiny") -> dict[str, Any]:
        state: dict[str, Any] = torch.load(self.run(run) / "state.pt", weights_only=True)
        return state

    def run(self, run: str = "tiny") -> Path:
        return self.folders.runs / run

    def stats(self, run: str = "tiny") -> list[dict[str, float]]:
        lines = (self.run(run) / "stats.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def checkpoints(self) -> list[Path]:
        """Everything a reader of checkpoints/ would take for one: every folder that is not hidden."""
        if not self.folders.checkpoints.exists():
            return []
        return sorted(f for f in self.folders.checkpoints.iterdir() if f.name[0] != ".")

    def command(self, *options: object, dataset: str = "blobs") -> list[str]:
        return [sys.executable, "-m", "trainers", *self._arguments(options, dataset)]

    def cli(
        self, *options: object, dataset: str = "blobs", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`python -m trainers train --dataset blobs` with TINY and `options`, to its end."""
        return run_in_fork(
            "trainers", self._arguments(options, dataset), self.path, ENVIRONMENT | (env or {})
        )

    def trainers(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`python -m trainers` with these arguments and no others, to its end."""
        return run_in_fork("trainers", [*map(str, arguments)], self.path, ENVIRONMENT)

    def _arguments(self, options: tuple[object, ...], dataset: str) -> list[str]:
        return ["train", "--dataset", dataset, *TINY, *map(str, options)]

    def start_cli(self, *options: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*options),
            cwd=self.path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def leftovers(self) -> list[Path]:
        """Temporary files and folders, which nothing should leave behind."""
        return [p for p in self.path.rglob(".*") if p.name.endswith((".tmp", ".artbot-can-write"))]


def tiny_config(**chosen: Any) -> TrainConfig:
    """TINY as a TrainConfig: ten steps, a tick every fourth, a checkpoint at the end only."""
    settings: dict[str, Any] = {
        "run": "tiny",
        "size": 32,
        "width": 4,
        "z_dim": 8,
        "batch": 8,
        "kimg": 10 * STEP_KIMG,
        "tick_kimg": 4 * STEP_KIMG,
        "measure_share": 0.0,
    }
    return TrainConfig(**(settings | chosen))


def assert_same_bits(one: object, other: object, where: str = "state") -> None:
    """Compare nested containers of tensors and values exactly; a difference names its place."""
    if isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor), where
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), f"{where} differs"
    elif isinstance(one, dict):
        assert isinstance(other, dict), where
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_bits(one[key], other[key], f"{where}[{key!r}]")
    elif isinstance(one, list | tuple):
        assert isinstance(other, list | tuple), where
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same_bits(*pair, f"{where}[{index}]")
    else:
        assert one == other, f"{where}: {one!r} is not {other!r}"


def remembered(state: dict[str, Any]) -> dict[str, Any]:
    """A saved state without its stopwatches, which no two runs share."""
    return {key: value for key, value in state.items() if key not in ("elapsed_s", "observer")}


def learned(state: dict[str, Any]) -> dict[str, Any]:
    """What the next step depends on. The guard remembers ticks, and stopping is a tick of its own."""
    return {key: value for key, value in remembered(state).items() if key != "guard"}


def wait_until(is_so: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


# ---------------------------------------------------------------- a disk that is too small


def run_on_small_disk(
    script: str, mount_at: Path, num_bytes: int, kept: Path
) -> subprocess.CompletedProcess[str]:
    """Run a shell script with a real tmpfs of `num_bytes` at `mount_at`, then copy it to `kept`.

    The mount lives in a namespace of its own and is gone with the script. Skips the test where the
    system does not allow that.
    """
    mount_at.mkdir(parents=True, exist_ok=True)
    probe = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(mount_at)], capture_output=True
    )
    if probe.returncode:
        pytest.skip(f"no tmpfs of our own here: {probe.stderr.decode().strip()}")
    inner = (
        f"mount -t tmpfs -o size={num_bytes} tmpfs '{mount_at}' || exit 99\n"
        f"{script}\nstatus=$?\ncp -a '{mount_at}' '{kept}'\nexit $status"
    )
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", inner],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=600,
    )


# ---------------------------------------------------------------- fixtures


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tiny networks are quickest on one thread, and sums in one order are the same bits everywhere."""
    torch.set_num_threads(1)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    made = Studio(tmp_path)
    made.add_pictures()
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Studio, TrainResult]]:
    """A finished ten-step run, made once per module: look, do not touch."""
    studio = Studio(tmp_path_factory.mktemp("trained"))
    yield studio, studio.train(tiny_config())
    shutil.rmtree(studio.path, ignore_errors=True)

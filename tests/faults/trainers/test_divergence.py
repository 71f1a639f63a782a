"""A run with absurd settings: it is stopped, keeps what was good, and exports nothing broken.

Nothing is doctored here: the step size alone is far too large. (What the guard does about it, step by
step, is in integration/trainers/test_guarded_run.py.)
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer_fixtures import STEP_KIMG, NotingDisplay, Studio, tiny_config
from trainers.errors import TrainingStopped
from trainers.inference import load_generator
from trainers.manifest import read_manifest
from trainers.metrics.pixels import dead_share

FAR_TOO_FAST = 1e30


def all_finite(state: object) -> bool:
    if isinstance(state, torch.Tensor):
        return bool(torch.isfinite(state).all())
    if isinstance(state, dict):
        return all(map(all_finite, state.values()))
    return True


# ---------------------------------------------------------------- unguarded


def test_an_unguarded_command_that_diverges_ends_with_code_1_and_the_remedy(
    studio: Studio,
) -> None:
    ran = studio.cli("--kimg", 20 * STEP_KIMG, "--lr", FAR_TOO_FAST, "--no-guard")
    assert ran.returncode == 1
    assert (
        "blobs-32 diverged between 0.0 and 0.0 kimg: a loss, a gradient or a weight is no longer a "
        "number." in ran.stderr
    )
    assert "smaller --lr (now 1e+30), or without --no-guard" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert studio.checkpoints() == []
    assert not (studio.run("blobs-32") / "state.pt").exists()


def test_a_run_that_diverges_later_keeps_its_state_and_checkpoints_and_can_go_on(
    studio: Studio,
) -> None:
    studio.train(tiny_config(kimg=4 * STEP_KIMG, guard=False))
    state = studio.run() / "state.pt"
    before, stats, checkpoints = state.read_bytes(), studio.stats(), studio.checkpoints()
    with pytest.raises(TrainingStopped, match=r"The state at 0\.0 kimg and all checkpoints"):
        studio.train(tiny_config(lr=FAR_TOO_FAST, guard=False))
    assert state.read_bytes() == before
    assert studio.stats() == stats
    assert studio.checkpoints() == checkpoints
    assert studio.train(tiny_config(guard=False)).is_finished


@pytest.mark.parametrize("steps_per_tick", [1, 2, 3])
@pytest.mark.parametrize("guard", [True, False], ids=["guarded", "unguarded"])
def test_no_state_and_no_checkpoint_is_written_with_values_that_are_no_numbers(
    studio: Studio, steps_per_tick: int, guard: bool
) -> None:
    """The losses of a tick are those before its last update: they alone do not tell."""
    tick = steps_per_tick * STEP_KIMG
    with pytest.raises(TrainingStopped):
        studio.train(tiny_config(lr=FAR_TOO_FAST, tick_kimg=tick, export_kimg=tick, guard=guard))
    for name in ("state.pt", "best.pt"):
        with suppress(FileNotFoundError):
            learner = torch.load(studio.run() / name, weights_only=True)["learner"]
            for network in ("generator", "discriminator", "average"):
                weights = {k: v for k, v in learner[network].items() if "running" not in k}
                assert all_finite(weights), f"{name}: {network}"
    for checkpoint in studio.checkpoints():
        load_generator(checkpoint)


@pytest.mark.parametrize("lr", [1e3, 1e9, 1e16])
def test_whatever_is_exported_can_be_loaded_however_wild_the_training(
    studio: Studio, lr: float
) -> None:
    """At 1e16 the first step's losses are fine and the weights it leaves are no numbers."""
    with suppress(TrainingStopped):
        studio.train(tiny_config(lr=lr, tick_kimg=STEP_KIMG, export_kimg=STEP_KIMG))
    for checkpoint in studio.checkpoints():
        load_generator(checkpoint)


# ---------------------------------------------------------------- guarded


def test_a_guarded_command_that_cannot_but_diverge_tries_three_times_and_ends_with_code_1(
    studio: Studio,
) -> None:
    ran = studio.cli("--kimg", 20 * STEP_KIMG, "--lr", FAR_TOO_FAST)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("back to the beginning, both networks' step sizes x 0.5") == 3
    assert "Error: blobs-32 could not be mended: " in ran.stderr
    assert "No tick was good enough to keep" in ran.stderr
    assert studio.checkpoints() == []
    log = (studio.run("blobs-32") / "guard.jsonl").read_text("utf-8").splitlines()
    told = [json.loads(line) for line in log]
    assert [event["reactions"] for event in told] == [
        *[["roll back", "lower both rates"]] * 3,
        ["stop"],
    ]
    assert all(event["words"] in ran.stderr for event in told)


def dense(**chosen: Any) -> Any:
    """Fully connected networks, which nothing normalises: they diverge and collapse as one expects."""
    settings = {"arch": "mlp", "d_norm": "none", "width": 16, "kimg": 60.0, "tick_kimg": 2.0}
    return tiny_config(**(settings | {"export_kimg": 4.0} | chosen))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Seven kimg that went well."""
    made = Studio(tmp_path_factory.mktemp("good"))
    made.train(dense(lr=2e-3, batch=16), stop_after_steps=437)
    return made


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        pytest.param(0.3, "the losses have run away", id="diverges"),
        pytest.param(0.1, "alike", id="collapses, once it no longer diverges"),
    ],
)
def test_a_good_run_that_is_ruined_by_its_next_settings_ends_with_what_was_good(
    good: Studio, tmp_path: Path, lr: float, said: str
) -> None:
    """Somebody loses patience."""
    studio = Studio(shutil.copytree(good.path, tmp_path / "ruined"))
    display = NotingDisplay()
    with pytest.raises(TrainingStopped) as stopped:
        studio.train(dense(lr=lr, batch=64), display=display)
    assert any(said in note for note in display.notes)
    assert sum("(remedy " in note for note in display.notes) <= 3
    best = max(studio.checkpoints(), key=lambda c: read_manifest(c).created_at)
    assert f"The best generator is checkpoint {best.name}" in str(stopped.value)
    generator = load_generator(best)
    assert dead_share(np.stack([generator.paint(seed) for seed in range(32)])) < 0.3

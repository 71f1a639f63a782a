"""A run that diverges: it stops, keeps what was good, and exports nothing broken."""

from __future__ import annotations

from contextlib import suppress

import pytest

from tests.trainer_fixtures import STEP_KIMG, Studio, tiny_config
from trainers.errors import TrainingDiverged
from trainers.inference import load_generator

FAR_TOO_FAST = 1e30


def test_a_diverging_command_ends_with_code_1_and_the_remedy(studio: Studio) -> None:
    ran = studio.cli("--kimg", 20 * STEP_KIMG, "--lr", FAR_TOO_FAST)
    assert ran.returncode == 1
    assert (
        "blobs-32 diverged between 0.0 and 0.2 kimg: a loss or a weight is no longer a number."
        in ran.stderr
    )
    assert "smaller --lr (now 1e+30)" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert studio.checkpoints() == []
    assert not (studio.run("blobs-32") / "state.pt").exists()


def test_a_run_that_diverges_later_keeps_its_state_and_checkpoints_and_can_go_on(
    studio: Studio,
) -> None:
    studio.train(tiny_config(kimg=4 * STEP_KIMG))
    state = studio.run() / "state.pt"
    before, stats, checkpoints = state.read_bytes(), studio.stats(), studio.checkpoints()
    with pytest.raises(TrainingDiverged, match=r"The state at 0\.0 kimg and all checkpoints"):
        studio.train(tiny_config(lr=FAR_TOO_FAST))
    assert state.read_bytes() == before
    assert studio.stats() == stats
    assert studio.checkpoints() == checkpoints
    assert studio.train(tiny_config()).is_finished


@pytest.mark.parametrize("steps_per_tick", [1, 2, 3])
def test_no_state_and_no_checkpoint_is_written_with_values_that_are_no_numbers(
    studio: Studio, steps_per_tick: int
) -> None:
    """The losses of a tick are those before its last update: they alone do not tell."""
    tick = steps_per_tick * STEP_KIMG
    with pytest.raises(TrainingDiverged):
        studio.train(tiny_config(lr=FAR_TOO_FAST, tick_kimg=tick, export_kimg=tick))
    assert not (studio.run() / "state.pt").exists()
    assert studio.checkpoints() == []


@pytest.mark.parametrize("lr", [1e3, 1e9, 1e16])
def test_whatever_is_exported_can_be_loaded_however_wild_the_training(
    studio: Studio, lr: float
) -> None:
    """At 1e16 the first step's losses are fine and the weights it leaves are no numbers."""
    with suppress(TrainingDiverged):
        studio.train(tiny_config(lr=lr, tick_kimg=STEP_KIMG, export_kimg=STEP_KIMG))
    for checkpoint in studio.checkpoints():
        load_generator(checkpoint)

"""Training on a graphics card."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.trainer_fixtures import NotingDisplay, Studio, assert_same_bits, tiny_config
from trainers.inference import load_generator
from trainers.learner import Learner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

MOVED = "moved to another kind of device: the resumed run is not bit-identical"


def test_a_run_trains_stops_resumes_and_exports_on_the_graphics_card(studio: Studio) -> None:
    config = tiny_config(device="cuda")
    assert studio.train(config, stop_after_steps=5).images_seen == 40
    display = NotingDisplay()
    result = studio.train(config, display=display)
    assert result.is_finished
    assert display.notes == ["resuming tiny at 0.0 kimg"]
    assert result.checkpoint is not None
    on_card = load_generator(result.checkpoint, "cuda").paint(1).astype(int)
    on_cpu = load_generator(result.checkpoint, "cpu").paint(1).astype(int)
    assert abs(on_card - on_cpu).max() <= 2


def test_a_run_moves_between_graphics_card_and_processor_and_says_so(studio: Studio) -> None:
    studio.train(tiny_config(device="cuda"), stop_after_steps=3)
    display = NotingDisplay()
    studio.train(tiny_config(device="cpu"), stop_after_steps=3, display=display)
    assert MOVED in display.notes
    display = NotingDisplay()
    assert studio.train(tiny_config(device="cuda"), display=display).is_finished
    assert MOVED in display.notes


def test_pictures_on_the_card_are_the_pictures_from_the_disk(studio: Studio) -> None:
    """The first step's real pictures come from the same order: its discriminator is as right."""
    studio.train(tiny_config(run="card", device="cuda", kimg=0.008))
    studio.train(tiny_config(run="disk", device="cpu", kimg=0.008))
    card, disk = studio.state("card")["feed"], studio.state("disk")["feed"]
    assert torch.equal(card["order"]["permutation"], disk["order"]["permutation"])
    assert card["order"]["position"] == disk["order"]["position"] == 8


def test_a_step_without_a_usable_gradient_is_thrown_away_by_the_fused_kernel(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting for the answer: the kernel itself reads that it must not step."""
    learners: list[Learner] = []

    class Kept(Learner):
        def __init__(self, *networks: Any) -> None:
            super().__init__(*networks)
            learners.append(self)

    monkeypatch.setattr("trainers.loop.Learner", Kept)
    studio.train(tiny_config(device="cuda", loss="relativistic"))
    [learner] = learners
    before = copy.deepcopy(learner.state())
    real = torch.full((8, 3, 32, 32), torch.nan, device="cuda")
    learner.step(real, None, images_seen=88, fraction=0.5)
    after = learner.state()
    for name, optimiser in (
        ("generator", "generator_optimiser"),
        ("discriminator", "discriminator_optimiser"),
    ):
        weights = {k: v for k, v in before[name].items() if k.endswith((".weight", ".bias"))}
        assert_same_bits({k: after[name][k] for k in weights}, weights)
        assert_same_bits(after[optimiser]["state"], before[optimiser]["state"])
    assert learner.means().skipped_steps == 1

"""The averaged generator."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.trainer_fixtures import assert_same_bits
from trainers import ema
from trainers.latents import latents_for
from trainers.networks import Shape, load_architecture
from trainers.networks.dcgan import Generator
from trainers.samples import FixedNoise


def test_the_decay_is_half_per_half_life() -> None:
    """Late in training: 10 kimg of pictures in steps of 64."""
    decay = ema.decay_for(10.0, images_seen=1_000_000, batch=64)
    assert decay == pytest.approx(0.5 ** (64 / 10_000))
    assert decay ** (10_000 / 64) == pytest.approx(0.5)


def test_early_on_the_half_life_is_a_twentieth_of_what_was_seen() -> None:
    assert ema.decay_for(10.0, images_seen=20_000, batch=50) == pytest.approx(0.5 ** (50 / 1000))
    assert ema.decay_for(10.0, images_seen=64, batch=64) < 1e-5, "the first step replaces the noise"


def test_after_one_half_life_half_of_a_past_weight_is_left() -> None:
    live, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.ones_(average.weight)
    nn.init.zeros_(live.weight)
    for _ in range(100):
        ema.update(average, live, ema.decay_for(1.0, images_seen=1_000_000, batch=10))
    assert average.weight.item() == pytest.approx(0.5, rel=1e-4)


def test_an_update_mixes_every_parameter_and_leaves_the_live_network_alone() -> None:
    torch.manual_seed(0)
    live, average = Generator(Shape(32, 8, 4)), Generator(Shape(32, 8, 4))
    live_before, average_before = copy.deepcopy(live.state_dict()), copy.deepcopy(average)
    ema.update(average, live, decay=0.75)
    for mixed, old, new in zip(
        average.parameters(), average_before.parameters(), live.parameters(), strict=True
    ):
        assert torch.allclose(mixed, 0.75 * old + 0.25 * new, atol=1e-7)
    assert_same_bits(live.state_dict(), live_before)


@pytest.fixture
def average() -> nn.Module:
    torch.manual_seed(0)
    return Generator(Shape(32, 8, 4)).requires_grad_(False)


def noise(count: int, class_of: Callable[[int], int] | None = None) -> FixedNoise:
    return FixedNoise.draw(range(count), 8, torch.device("cpu"), class_of)


TWO_PARTS = noise(2 * ema.SETTLING_BATCH)


def test_settling_leaves_the_average_untouched(average: nn.Module) -> None:
    before = copy.deepcopy(average.state_dict())
    random_before = torch.get_rng_state()
    ema.settled(average, TWO_PARTS)
    assert_same_bits(average.state_dict(), before)
    assert average.training
    assert torch.equal(torch.get_rng_state(), random_before), "measuring never changes training"


def test_settling_twice_gives_the_same_bits(average: nn.Module) -> None:
    once, twice = (ema.settled(average, TWO_PARTS) for _ in range(2))
    assert_same_bits(once.state_dict(), twice.state_dict())


def test_settled_statistics_are_the_plain_mean_of_what_its_own_weights_give(
    average: nn.Module,
) -> None:
    """Of the first batch norm, whose input is linear in z and so easy to compute by itself."""
    settled = ema.settled(average, TWO_PARTS)
    first = average.get_submodule("layers.0")(TWO_PARTS.latents[:, :, None, None])
    mean = first.mean(dim=(0, 2, 3))
    parts = first.split(ema.SETTLING_BATCH)
    variance = torch.stack([p.var(dim=(0, 2, 3)) for p in parts]).mean(0)
    norm = settled.get_submodule("layers.1")
    assert torch.allclose(norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(norm.running_var, variance, rtol=1e-4)


def test_a_settled_picture_does_not_depend_on_its_batch(average: nn.Module) -> None:
    settled = ema.settled(average, TWO_PARTS)
    z = latents_for([5, 6, 7], 8)
    with torch.no_grad():
        assert torch.allclose(settled(z)[1:2], settled(z[1:2]), atol=1e-6)
    assert not settled.training


def test_a_network_without_batch_norm_is_settled_as_it_is() -> None:
    plain = load_architecture("mlp").build_generator(Shape(32, 8, 4, d_norm="none"))
    settled = ema.settled(plain, TWO_PARTS)
    assert_same_bits(settled.state_dict(), plain.state_dict())
    assert plain.training
    assert not settled.training


def test_a_network_that_knows_classes_is_settled_over_those_of_the_noise() -> None:
    torch.manual_seed(0)
    average = Generator(Shape(32, 8, 4, num_classes=3)).requires_grad_(False)
    mixed, one_sided = noise(32, lambda i: i % 3), noise(32, lambda i: 0)
    name = "layers.1.running_mean"
    means = [ema.settled(average, n).state_dict()[name] for n in (mixed, one_sided)]
    assert not torch.allclose(*means)

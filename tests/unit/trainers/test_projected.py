"""The discriminator that looks through a pretrained network, and its light generator.

What every architecture can do is asked of this one too, in contract/trainers/test_architectures.py.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.trainer_fixtures import assert_same_bits
from trainers.latents import latents_for
from trainers.networks import Shape
from trainers.networks.cost import measure
from trainers.networks.projected import (
    ARCHITECTURE,
    MAX_TRUNK_PX,
    MIN_TRUNK_PX,
    TRUNK_CHANNELS,
    Discriminator,
    Generator,
)
from trainers.pretrained.efficientnet_lite import build_efficientnet_lite, load_efficientnet_lite

SHAPE = Shape(32, 8, 4)


def discriminator_of(seed: int = 0, shape: Shape = SHAPE) -> Discriminator:
    torch.manual_seed(seed)
    return Discriminator(shape)


@pytest.fixture(scope="module")
def discriminator() -> Discriminator:
    return discriminator_of()


def pictures(count: int = 2, edge_px: int = 32) -> Tensor:
    return torch.rand(count, 3, edge_px, edge_px, generator=torch.manual_seed(1)) * 2 - 1


def num_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def frozen(network: nn.Module) -> dict[str, Tensor]:
    """Everything that must never change, running statistics included."""
    kept = ("trunk.", "mixing.")
    return {k: v.clone() for k, v in network.state_dict().items() if k.startswith(kept)}


# ---------------------------------------------------------------- what it weighs and costs


@pytest.mark.parametrize(("width", "millions"), [(64, 24), (128, 79)])
def test_the_generator_weighs_what_the_papers_light_one_weighs(width: int, millions: int) -> None:
    """fastgan_lite at 256 px, z of 256: 24 M and 79 M."""
    cost = measure(ARCHITECTURE, Shape(256, 256, width, d_norm="none"))
    assert round(cost.generator_parameters / 1e6) == millions


def test_the_discriminator_weighs_and_costs_what_the_papers_does() -> None:
    """At 256 px and the paper's mixing widths 64, 128, 256, 512: a trunk of 4.65 M and 0.475 GMAC, and
    beyond it 1.5 GMAC; its heads have 10.3 M, these 10.5 M with the one that looks at the pixels."""
    shape = Shape(256, 256, 64, d_norm="none")
    with torch.device("meta"):
        trunk, discriminator = build_efficientnet_lite("lite0"), Discriminator(shape)
        with FlopCounterMode(display=False) as flops:
            trunk.taps(torch.empty(1, 3, 256, 256))
    assert round(num_parameters(trunk) / 1e6, 2) == 4.65
    trunk_macs = flops.get_total_flops() // 2
    assert round(trunk_macs / 1e9, 3) == 0.475
    assert trunk.tap_channels == TRUNK_CHANNELS == (24, 40, 112, 320)
    mixed = [layer.weight.shape[0] for layer in discriminator.mixing.across_channels.children()]
    assert mixed == [64, 128, 256, 512]
    cost = measure(ARCHITECTURE, shape)
    assert round((cost.discriminator_macs - trunk_macs) / 1e9, 2) == 1.50
    assert round(cost.discriminator_parameters / 1e6, 1) == 10.5
    folded = num_parameters(discriminator.trunk) + num_parameters(discriminator.mixing)
    assert cost.discriminator_frozen_parameters == folded


def test_the_default_is_half_as_wide() -> None:
    cost = measure(ARCHITECTURE, Shape(64, 128, 32, d_norm="none"))
    assert round(cost.generator_parameters / 1e6, 2) == 5.80
    assert round(cost.discriminator_parameters / 1e6, 2) == 1.71
    assert round(cost.discriminator_frozen_parameters / 1e6, 2) == 5.13


# ---------------------------------------------------------------- what it looks through


def test_it_looks_through_the_pretrained_network(discriminator: Discriminator) -> None:
    pretrained = load_efficientnet_lite("lite0")
    shown = pictures(edge_px=128)
    with torch.no_grad():
        for one, other in zip(
            discriminator.trunk.taps(shown),
            pretrained.taps(shown),
            strict=True,
        ):
            assert torch.allclose(one, other, atol=1e-3)


def test_what_is_frozen_neither_learns_nor_moves() -> None:
    """Also in training mode, where batch norm would follow the pictures."""
    discriminator = discriminator_of().train()
    before = frozen(discriminator)
    learning = [p for p in discriminator.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=0.1)
    discriminator(pictures()).sum().backward()
    optimiser.step()
    assert_same_bits(frozen(discriminator), before)
    names = {n.split(".")[0] for n, p in discriminator.named_parameters() if p.requires_grad}
    assert not names & {"trunk", "mixing"}
    assert len(before) > 100


def test_the_random_mixing_is_the_seeds_and_is_saved_with_the_network() -> None:
    one, same, other = (frozen(discriminator_of(seed)) for seed in (3, 3, 4))
    assert_same_bits(one, same)
    mixing = [name for name in one if name.startswith("mixing.") and one[name].ndim > 1]
    assert mixing
    assert not any(torch.equal(one[name], other[name]) for name in mixing)


def test_the_pictures_feel_what_it_thinks_of_them(discriminator: Discriminator) -> None:
    shown = pictures().requires_grad_()
    [gradient] = torch.autograd.grad(discriminator(shown).sum(), shown)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).float().mean() > 0.9, "of every pixel"


@pytest.mark.parametrize(
    ("size", "seen_px"), [(32, 128), (64, 128), (128, 128), (256, 256), (512, 256)]
)
def test_small_pictures_are_enlarged_for_it_and_large_ones_made_smaller(
    size: int, seen_px: int
) -> None:
    assert MIN_TRUNK_PX <= seen_px <= MAX_TRUNK_PX
    seen: list[int] = []
    with torch.device("meta"):
        discriminator = Discriminator(Shape(size, 8, 4))
        stem = discriminator.trunk.get_submodule("stem")
        stem.register_forward_pre_hook(lambda _, shown: seen.append(shown[0].shape[-1]))
        logits = discriminator(torch.empty(2, 3, size, size))
    assert seen == [seen_px]
    assert logits.shape[0] == 2


def test_every_patch_of_every_scale_has_its_own_logit(discriminator: Discriminator) -> None:
    """A change in one corner is not judged alike everywhere."""
    plain, changed = pictures(1), pictures(1)
    changed[:, :, :8, :8] *= -1
    discriminator.eval()
    with torch.no_grad():
        difference = (discriminator(plain) - discriminator(changed)).abs()[0]
    discriminator.train()
    assert len(difference) > 16
    assert difference.max() > 3 * difference.median()


# ---------------------------------------------------------------- the generator


def test_a_truncated_z_paints_nearer_to_the_middle() -> None:
    """What `truncation_psi` asks for."""
    torch.manual_seed(0)
    generator = Generator(SHAPE).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(3.0)  # fresh ones paint almost grey
        z = latents_for(list(range(16)), 8)
        spread = [generator(z * psi).std(0).mean().item() for psi in (1.0, 0.5, 0.0)]
    assert spread[0] > spread[1] > spread[2]
    assert spread[2] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("size", "gates"), [(32, []), (64, ["64"]), (256, ["64", "128", "256"])])
def test_coarse_maps_gate_those_four_doublings_finer(size: int, gates: list[str]) -> None:
    with torch.device("meta"):
        generator = Generator(Shape(size, 8, 4))
    assert list(generator.gates) == gates


def test_a_gate_lets_through_what_the_coarse_map_says() -> None:
    torch.manual_seed(0)
    gate = Generator(Shape(64, 8, 4)).gates["64"]
    first = gate.get_submodule("gate.1")
    assert isinstance(first, nn.Conv2d)
    coarse, fine = torch.randn(2, first.in_channels, 4, 4), torch.ones(2, first.out_channels, 8, 8)
    with torch.no_grad():
        gated = gate(coarse, fine)
        assert (gated > 0).all()
        assert (gated < 1).all()
        one_value_per_map = gated.flatten(2).std(2)
        assert torch.allclose(one_value_per_map, torch.zeros_like(one_value_per_map), atol=1e-6)
        assert not torch.allclose(gate(coarse * 100, fine), gated, atol=1e-4)


def test_a_copy_for_the_average_shares_nothing() -> None:
    generator = Generator(SHAPE)
    average = copy.deepcopy(generator)
    with torch.no_grad():
        next(generator.parameters()).zero_()
    assert next(average.parameters()).abs().sum() > 0

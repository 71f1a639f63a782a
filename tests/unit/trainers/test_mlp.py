"""The tutorials' fully connected GAN."""

from __future__ import annotations

import torch
from torch import nn

from trainers.networks import Shape
from trainers.networks.mlp import ARCHITECTURE, Discriminator, Generator

TUTORIAL = Shape(size=32, z_dim=100, width=64, d_norm="none")


def units(network: nn.Module) -> list[int]:
    return [m.out_features for m in network.modules() if isinstance(m, nn.Linear)]


def test_at_width_64_it_has_the_tutorials_units() -> None:
    with torch.device("meta"):
        assert units(Generator(TUTORIAL)) == [256, 512, 1024, 3 * 32 * 32]
        assert units(Discriminator(TUTORIAL)) == [512, 256, 1]


def test_it_is_built_for_the_tutorials_28_px_too() -> None:
    assert 28 in ARCHITECTURE.sizes
    with torch.device("meta"):
        assert units(Generator(Shape(28, 100, 64, d_norm="none")))[-1] == 3 * 28 * 28 == 2352


def test_other_widths_are_in_proportion() -> None:
    with torch.device("meta"):
        assert units(Generator(Shape(32, 8, 32, d_norm="none")))[:3] == [128, 256, 512]
        assert units(Discriminator(Shape(32, 8, 1, d_norm="none")))[:2] == [8, 4]


def test_pictures_lie_between_minus_one_and_one_however_large_z_is() -> None:
    torch.manual_seed(0)
    assert Generator(TUTORIAL)(1e4 * torch.randn(4, 100)).abs().max() <= 1


def test_it_does_not_know_which_pixels_are_neighbours() -> None:
    """Shuffling every picture's pixels alike changes no more than the order of the first weights."""
    torch.manual_seed(0)
    discriminator = Discriminator(TUTORIAL)
    pictures, order = torch.randn(4, 3, 32, 32), torch.randperm(3 * 32 * 32)
    with torch.no_grad():
        before = discriminator(pictures)
        first = discriminator.layers[0]
        assert isinstance(first, nn.Linear)
        first.weight.copy_(first.weight[:, order])
        after = discriminator(pictures.flatten(1)[:, order].view_as(pictures))
    assert torch.allclose(before, after, atol=1e-5)

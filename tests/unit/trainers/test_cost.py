"""What a network weighs and costs, against counting by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.networks import Architecture, Shape, load_architecture
from trainers.networks.cost import measure


class OneLayerPainter(nn.Module):
    """z (B, 6) -> (B, 3, 8, 8): one transposed convolution."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.paint = nn.ConvTranspose2d(shape.z_dim, 3, 8, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        painted: Tensor = self.paint(z[:, :, None, None])
        return painted


class OneLayerCritic(nn.Module):
    """(B, 3, 8, 8) -> (B,): one strided convolution to 5 maps of 4x4, then a sum."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 5, 4, stride=2, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.look(pictures).sum(dim=(1, 2, 3))


def test_one_layer_costs_what_a_hand_counts() -> None:
    tiny = Architecture("tiny", "one layer each", OneLayerPainter, OneLayerCritic)
    cost = measure(tiny, Shape(size=8, z_dim=6, width=1))
    assert cost.generator_parameters == 6 * 3 * 8 * 8
    assert cost.generator_macs == 6 * 3 * 8 * 8, "every weight is used once"
    assert cost.discriminator_parameters == 5 * 3 * 4 * 4 + 5
    assert cost.discriminator_macs == (4 * 4) * 5 * (3 * 4 * 4), "per output, maps and window"


def test_the_papers_generator_takes_a_tenth_of_a_billion_macs_per_picture() -> None:
    cost = measure(load_architecture("dcgan"), Shape(size=64, z_dim=100, width=64))
    # By stage: 100x512x16, then (input pixels) x in x out x 16 for each transposed convolution.
    by_hand = 16 * (100 * 512 + 16 * 512 * 256 + 64 * 256 * 128 + 256 * 128 * 64 + 1024 * 64 * 3)
    assert cost.generator_macs == by_hand
    assert round(cost.generator_macs / 1e9, 2) == 0.10


def test_measuring_allocates_nothing_and_leaves_the_random_stream_alone() -> None:
    """512 px at width 512 would take gigabytes."""
    before = torch.get_rng_state()
    measure(load_architecture("dcgan"), Shape(size=512, z_dim=512, width=512))
    assert torch.equal(torch.get_rng_state(), before)

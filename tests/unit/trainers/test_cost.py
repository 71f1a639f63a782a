"""What a network weighs and costs, against counting by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.networks import Architecture, Shape, load_architecture
from trainers.networks.cost import measure


class OneLayerPainter(nn.Module):
    """z (B, 6) -> (B, 3, 8, 8): one transposed convolution."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.paint = nn.ConvTranspose2d(shape.z_dim, 3, 8, bias=False)

    def forward(self, z: Tensor, classes: Tensor | None) -> Tensor:
        painted: Tensor = self.paint(z[:, :, None, None])
        return painted


class OneLayerCritic(nn.Module):
    """(B, 3, 8, 8) -> (B, 1): one strided convolution to 5 maps of 4x4, then a sum, beside a frozen
    convolution to 2 maps of 8x8."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 5, 4, stride=2, padding=1)
        self.frozen = nn.Conv2d(3, 2, 1, bias=False).requires_grad_(False)

    def forward(
        self, pictures: Tensor, classes: Tensor | None, coarser: Sequence[Tensor]
    ) -> Tensor:
        looked = self.look(pictures).sum(dim=(1, 2, 3)) + self.frozen(pictures).sum(dim=(1, 2, 3))
        return looked[:, None]


def test_one_layer_costs_what_a_hand_counts() -> None:
    tiny = Architecture("tiny", "one layer each", OneLayerPainter, OneLayerCritic)
    cost = measure(tiny, Shape(size=8, z_dim=6, width=1))
    assert cost.generator_parameters == 6 * 3 * 8 * 8
    assert cost.generator_macs == 6 * 3 * 8 * 8, "every weight is used once"
    assert cost.discriminator_parameters == 5 * 3 * 4 * 4 + 5
    assert cost.discriminator_frozen_parameters == 2 * 3
    per_output = "per output, maps and window; a frozen layer has to be passed all the same"
    assert cost.discriminator_macs == (4 * 4) * 5 * (3 * 4 * 4) + (8 * 8) * 2 * 3, per_output


def test_the_papers_generator_takes_a_tenth_of_a_billion_macs_per_picture() -> None:
    cost = measure(load_architecture("dcgan"), Shape(size=64, z_dim=100, width=64))
    # By stage: 100x512x16, then (input pixels) x in x out x 16 for each transposed convolution.
    by_hand = 16 * (100 * 512 + 16 * 512 * 256 + 64 * 256 * 128 + 256 * 128 * 64 + 1024 * 64 * 3)
    assert cost.generator_macs == by_hand
    assert round(cost.generator_macs / 1e9, 2) == 0.10


def test_attention_counts_what_every_place_costs_with_every_other() -> None:
    plain = measure(load_architecture("dcgan"), Shape(64, 100, 64))
    attended = measure(load_architecture("dcgan"), Shape(64, 100, 64, attention=True))
    channels, narrow, wide, places = 64, 8, 32, 32 * 32
    by_hand = places * channels * 2 * (narrow + wide)  # query and key, value and back
    by_hand += places * (places // 4) * (narrow + wide)  # scores, and what is seen
    assert attended.generator_macs - plain.generator_macs == by_hand
    assert attended.discriminator_macs - plain.discriminator_macs == by_hand


def test_classes_and_resolutions_are_counted() -> None:
    plain = measure(load_architecture("dcgan"), Shape(64, 100, 64))
    conditional = measure(load_architecture("dcgan"), Shape(64, 100, 64, num_classes=7))
    more = conditional.generator_parameters - plain.generator_parameters
    assert more == 7 * 100 + 100 * 512 * 16, "a vector per class, and what takes it in"
    assert conditional.discriminator_parameters - plain.discriminator_parameters == 7 * 512
    many = measure(load_architecture("dcgan"), Shape(64, 100, 64, multi_scale=True))
    to_rgb = {4: 512, 8: 256, 16: 128, 32: 64}
    extra = sum(px**2 * channels * 3 for px, channels in to_rgb.items())
    assert many.generator_macs - plain.generator_macs == extra


def test_measuring_allocates_nothing_and_leaves_the_random_stream_alone() -> None:
    """512 px at width 512 would take gigabytes."""
    before = torch.get_rng_state()
    measure(load_architecture("dcgan"), Shape(512, 512, width=512, d_norm="spectral"))
    assert torch.equal(torch.get_rng_state(), before)

"""The residual network against the figures it was designed to (R3GAN, arXiv:2501.05441)."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from trainers.networks import Shape
from trainers.networks.cost import measure
from trainers.networks.resgan import ARCHITECTURE, GROUP, Discriminator, Generator, _Block

S = Shape(size=64, z_dim=128, width=64, blocks=1, d_norm="none")
M = Shape(size=256, z_dim=64, width=64, blocks=2, d_norm="none")
"""With the paper's own 64 numbers in z: our S takes 128."""
TINY = Shape(size=32, z_dim=8, width=4, d_norm="none")


@pytest.mark.parametrize(
    ("size", "generator_m", "discriminator_m", "gmac"),
    [
        (64, 5.00, 4.94, 2.65),
        (128, 5.14, 5.07, 4.46),
        (256, 5.17, 5.10, 6.08),
        (512, 5.18, 5.11, 8.58),
    ],
)
def test_size_s_weighs_and_costs_what_was_planned(
    size: int, generator_m: float, discriminator_m: float, gmac: float
) -> None:
    cost = measure(ARCHITECTURE, dataclasses.replace(S, size=size))
    assert round(cost.generator_parameters / 1e6, 2) == generator_m
    assert round(cost.discriminator_parameters / 1e6, 2) == discriminator_m
    assert round(cost.generator_macs / 1e9, 2) == round(cost.discriminator_macs / 1e9, 2) == gmac


@pytest.mark.parametrize(("size", "gmac"), [(64, 13.1), (128, 20.0), (256, 28.8), (512, 41.2)])
def test_size_m_costs_what_was_planned(size: int, gmac: float) -> None:
    cost = measure(ARCHITECTURE, dataclasses.replace(M, size=size))
    assert round(cost.generator_macs / 1e9, 1) == round(cost.discriminator_macs / 1e9, 1) == gmac


def test_size_m_at_256_px_weighs_what_the_paper_says() -> None:
    """23.06 M and 23.01 M (R3GAN, table 2, config E)."""
    cost = measure(ARCHITECTURE, M)
    assert round(cost.generator_parameters / 1e6, 3) == 23.058
    assert round(cost.discriminator_parameters / 1e6, 3) == 23.010


@pytest.mark.parametrize("width", [1, 4, 10, 32, 64, 100, 128])
@pytest.mark.parametrize("blocks", [1, 2])
def test_every_width_gives_whole_groups_of_sixteen(width: int, blocks: int) -> None:
    shape = Shape(512, 8, width, blocks=blocks, d_norm="none")
    with torch.device("meta"):
        networks = Generator(shape), Discriminator(shape)
    for network in networks:
        grouped = [
            module
            for block in network.modules()
            if isinstance(block, _Block)
            for module in block.modules()
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
        ]
        assert len(grouped) == 8 * blocks
        for convolution in grouped:
            assert convolution.in_channels // convolution.groups == GROUP


def test_half_the_width_is_about_a_quarter_of_the_work() -> None:
    whole = measure(ARCHITECTURE, S)
    half = measure(ARCHITECTURE, dataclasses.replace(S, width=32))
    # Not quite: the grouped convolutions only halve.
    assert 0.25 < half.generator_macs / whole.generator_macs < 0.32


@pytest.mark.parametrize("build", [Generator, Discriminator])
def test_nothing_is_normalised(build: type[nn.Module]) -> None:
    kinds = {type(module).__name__ for module in build(TINY).modules()}
    assert not any("Norm" in kind for kind in kinds), kinds


@pytest.mark.parametrize("build", [Generator, Discriminator])
def test_every_block_begins_as_the_identity(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    for block in build(TINY).modules():
        if isinstance(block, _Block):
            maps = torch.randn(2, block.layers[0].in_channels, 4, 4)
            assert torch.equal(block(maps), maps)


@pytest.mark.parametrize("size", [32, 128])
def test_signals_keep_their_size_whatever_the_depth(size: int) -> None:
    """At the beginning pictures are about as large as z, and logits as the pictures."""
    torch.manual_seed(0)
    shape = dataclasses.replace(TINY, size=size, width=8)
    generator, discriminator = Generator(shape), Discriminator(shape)
    with torch.no_grad():
        pictures = generator(torch.randn(16, 8))
        logits = discriminator(torch.randn(16, 3, size, size))
    assert 0.1 < pictures.std() < 3
    assert 0.001 < logits.std() < 3


def test_pictures_may_leave_the_range_and_are_not_squashed() -> None:
    torch.manual_seed(0)
    pictures = Generator(TINY)(100 * torch.randn(4, 8))
    assert pictures.abs().max() > 1


def test_spectral_blocks_do_not_begin_at_zero() -> None:
    """Zero divided by its largest singular value would be no number."""
    torch.manual_seed(0)
    discriminator = Discriminator(dataclasses.replace(TINY, d_norm="spectral"))
    for block in discriminator.modules():
        if isinstance(block, _Block):
            last = block.layers[-1].weight
            assert torch.linalg.matrix_norm(last.flatten(1), 2).item() == pytest.approx(1, rel=0.05)


def test_under_autocast_the_coarse_stages_and_what_comes_out_stay_float32() -> None:
    torch.manual_seed(0)
    shape = dataclasses.replace(TINY, size=128)
    generator, discriminator = Generator(shape), Discriminator(shape)
    dtypes: dict[str, torch.dtype] = {}
    for px, stage in generator.stages.items():
        (block,) = [module for module in stage if isinstance(module, _Block)]
        block.layers.register_forward_hook(lambda *seen, px=px: dtypes.update({px: seen[2].dtype}))
    with torch.autocast("cpu", torch.bfloat16):
        pictures = generator(torch.randn(2, 8))
        logits = discriminator(pictures)
    short = [int(px) for px, dtype in dtypes.items() if dtype is torch.bfloat16]
    assert short == [16, 32, 64, 128], "the four finest"
    assert dtypes["4"] is dtypes["8"] is torch.float32
    assert pictures.dtype is logits.dtype is torch.float32

"""Attention, spectral normalisation and class conditioning against their papers."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainers.networks import Shape
from trainers.networks.layers import (
    ClassLatent,
    ClassProjection,
    EnlargingConv2d,
    SelfAttention,
    SpectralNorm,
    normalise_spectrally,
)


def largest_singular_value(weight: Tensor) -> float:
    return float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2))


# ---------------------------------------------------------------- enlarging


@pytest.mark.parametrize("edge_px", [4, 8, 10])
def test_enlarging_is_nearest_neighbour_and_a_convolution(edge_px: int) -> None:
    torch.manual_seed(0)
    enlarging = EnlargingConv2d(3, 5)
    maps = torch.randn(2, 3, edge_px, edge_px, requires_grad=True)
    plain = nn.functional.conv2d(
        nn.functional.interpolate(maps, scale_factor=2), enlarging.weight, padding=1
    )
    assert torch.allclose(enlarging(maps), plain, atol=1e-5)
    judged = torch.randn(plain.shape)
    for wanted in (maps, enlarging.weight):
        [one] = torch.autograd.grad((enlarging(maps) * judged).sum(), wanted)
        [other] = torch.autograd.grad((plain * judged).sum(), wanted, retain_graph=True)
        assert torch.allclose(one, other, atol=1e-4)


# ---------------------------------------------------------------- attention


def test_attention_begins_by_changing_nothing() -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 16, 8, 8)
    assert torch.equal(SelfAttention(16)(maps), maps)


def test_attention_is_the_papers_sum_over_all_places() -> None:
    """SAGAN, eq. 1-3, written with loops; keys and values are the largest of 2x2 places."""
    torch.manual_seed(0)
    attention = SelfAttention(16).requires_grad_(False)
    attention.gamma.fill_(0.7)
    maps = torch.randn(1, 16, 4, 6)
    keys, values = [], []
    for y, x in itertools.product((0, 2), (0, 2, 4)):
        cell = [maps[0, :, y + down, x + right] for down in (0, 1) for right in (0, 1)]
        keys.append(torch.stack([attention.key(place) for place in cell]).amax(0))
        values.append(torch.stack([attention.value(place) for place in cell]).amax(0))
    found = attention(maps)[0]
    for y, x in itertools.product(range(4), range(6)):
        here = maps[0, :, y, x]
        scores = torch.stack([attention.query(here) @ key for key in keys])
        betas = torch.exp(scores) / torch.exp(scores).sum()
        seen = torch.stack([b * value for b, value in zip(betas, values, strict=True)]).sum(0)
        expected = 0.7 * attention.widen(seen) + here
        assert torch.allclose(found[:, y, x], expected, atol=1e-5)


def test_attention_reaches_from_corner_to_corner() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8)
    nn.init.ones_(attention.gamma)
    maps = torch.randn(1, 8, 16, 16, requires_grad=True)
    attention(maps)[0, :, 0, 0].sum().backward()
    assert maps.grad is not None
    assert maps.grad[0, :, -2:, -2:].abs().sum() > 0


def test_attention_does_not_mind_the_memory_format() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8)
    nn.init.ones_(attention.gamma)
    maps = torch.randn(2, 8, 4, 6)
    last = attention(maps.contiguous(memory_format=torch.channels_last))
    assert torch.allclose(attention(maps), last, atol=1e-6)


# ---------------------------------------------------------------- spectral normalisation


@pytest.mark.parametrize(
    "build",
    [lambda: nn.Conv2d(3, 8, 4), lambda: nn.Linear(20, 10), lambda: nn.Embedding(5, 7)],
    ids=["convolution", "linear", "embedding"],
)
def test_the_largest_singular_value_becomes_one(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = build()
    with torch.no_grad():
        layer.weight.mul_(100)
    normalise_spectrally(layer)
    for _ in range(200):
        weight = layer.weight
        assert isinstance(weight, Tensor)
    assert largest_singular_value(weight) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("groups", [1, 4, 32])
def test_the_largest_singular_value_of_a_convolution_in_groups_is_that_of_its_whole_matrix(
    groups: int,
) -> None:
    """Written out: a 1x1 convolution in groups is a matrix of blocks along the diagonal."""
    torch.manual_seed(0)
    layer = nn.Conv2d(32, 32, 1, groups=groups, bias=False)
    normalise_spectrally(layer)
    for _ in range(50):
        layer(torch.zeros(1, 32, 1, 1))
    whole = layer(torch.eye(32)[:, :, None, None])[:, :, 0, 0].T
    assert largest_singular_value(whole) == pytest.approx(1, rel=1e-3)


def test_it_is_about_right_at_once() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(64, 64, 4)
    normalise_spectrally(layer)
    assert largest_singular_value(layer.weight) == pytest.approx(1, rel=0.05)


def test_in_inference_it_stands_still_and_in_training_it_moves() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 9)
    norm = SpectralNorm(torch.randn(6, 9)).eval()  # measured for another weight
    assert torch.equal(norm(weight), norm(weight))
    before = norm.u.clone()
    norm.train()(weight)
    assert not torch.equal(norm.u, before)


def test_its_gradient_has_no_part_that_only_scales_the_weight() -> None:
    """W / sigma(W) is the same for every multiple of W (Miyato et al. 2018, eq. 12)."""
    torch.manual_seed(0)
    layer = nn.Linear(5, 4, bias=False)
    normalise_spectrally(layer)
    for _ in range(50):
        layer(torch.randn(3, 5))
    layer(torch.randn(3, 5)).square().sum().backward()
    (original,) = layer.parameters()
    assert original.grad is not None
    assert original.grad.abs().sum() > 0
    assert (original.grad * original.detach()).sum().item() == pytest.approx(0, abs=1e-5)


def test_two_forward_passes_can_be_differentiated_together() -> None:
    """As the discriminator's loss does with real and fake pictures."""
    torch.manual_seed(0)
    layer = nn.Linear(5, 1)
    normalise_spectrally(layer)
    (layer(torch.ones(2, 5)) - layer(torch.zeros(2, 5))).sum().backward()


def test_under_autocast_sigma_is_still_computed_in_float32() -> None:
    torch.manual_seed(0)
    norm = SpectralNorm(torch.randn(64, 64)).eval()
    weight = torch.randn(64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(norm(weight), norm(weight))
        short = norm(weight)
    assert short.dtype is torch.float32
    assert torch.equal(short, norm(weight))


# ---------------------------------------------------------------- classes


def test_without_classes_a_latent_is_z_alone() -> None:
    latent = ClassLatent(Shape(32, 8, 4))
    z = torch.randn(3, 8)
    assert torch.equal(latent(z, None), z)
    assert latent.num_features == 8
    assert not latent.state_dict()


def test_with_classes_z_is_followed_by_a_vector_of_the_class_that_is_as_large() -> None:
    torch.manual_seed(0)
    latent = ClassLatent(Shape(32, 100, 4, num_classes=50))
    z, classes = torch.randn(50, 100), torch.arange(50)
    joined = latent(z, classes)
    assert joined.shape == (50, latent.num_features) == (50, 200)
    assert torch.equal(joined[:, :100], z)
    assert joined[:, 100:].std().item() == pytest.approx(1, rel=0.05)
    assert torch.equal(latent(z, classes.flip(0))[:, 100:], joined[:, 100:].flip(0))


def test_a_projection_is_the_inner_product_with_the_class() -> None:
    projection = ClassProjection(3, 4)
    nn.init.zeros_(projection.embedding.weight)
    with torch.no_grad():
        projection.embedding.weight[1] = torch.tensor([1.0, 0, 2, 0])
    features = torch.arange(8.0).view(2, 4)
    assert projection(features, torch.tensor([1, 1])).tolist() == [[4.0], [16.0]]
    assert projection(features, torch.tensor([0, 2])).tolist() == [[0.0], [0.0]]

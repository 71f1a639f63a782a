"""Repeating itself, and copying: the two ways to paint good pictures that are worth nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.metrics import distances, diversity
from trainers.metrics.diversity import diversity_ratio, mean_distance
from trainers.metrics.nearest import nearest, nearest_ratio
from trainers.symptoms import COPYING_RATIO


def points(count: int, seed: int, scale: float = 1.0, dimensions: int = 16) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=stream) * scale


def test_the_mean_distance_of_three_points_by_hand() -> None:
    """A triangle of 3, 4 and 5."""
    assert mean_distance(torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])) == pytest.approx(4)


def test_a_large_set_is_sampled_and_comes_to_nearly_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = points(600, seed=0)
    exact = mean_distance(many)
    monkeypatch.setattr(diversity, "MAX_PICTURES", 150)
    assert mean_distance(many) == pytest.approx(exact, rel=0.03)


def test_pictures_half_as_different_score_half() -> None:
    real = points(50, seed=0)
    assert diversity_ratio(real * 0.5 + 7, real) == pytest.approx(0.5)


def test_one_picture_over_and_over_scores_nothing() -> None:
    assert diversity_ratio(points(1, seed=0).repeat(50, 1), points(50, seed=1)) < 1e-6


def test_where_the_real_pictures_are_all_alike_nothing_is_alarming() -> None:
    assert diversity_ratio(points(9, seed=0), torch.ones(20, 16)) == 1


def test_each_picture_finds_the_one_it_was_made_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "BLOCK_VALUES", 100)
    training = points(60, seed=0)
    originals = torch.tensor([41, 3, 17, 3])
    found = nearest(training[originals] + points(4, seed=1, scale=0.01), training)
    assert torch.equal(found.indices, originals)
    assert found.distances.max() < 0.1


def test_new_pictures_keep_their_distance_and_copies_do_not() -> None:
    training = points(200, seed=0)
    as_new = nearest_ratio(points(100, seed=1), training)
    copied = nearest_ratio(training[:100] + points(100, seed=1, scale=0.05), training)
    assert as_new == pytest.approx(1, abs=0.1)
    assert copied is not None
    assert copied < COPYING_RATIO


def test_exact_copies_score_nothing_in_spite_of_rounding() -> None:
    training = points(100, seed=0, scale=0.1) + 50
    assert nearest_ratio(training[:30], training) == pytest.approx(0, abs=1e-5)


def test_where_every_training_picture_lies_there_twice_it_says_nothing() -> None:
    training = points(50, seed=0).repeat(2, 1)
    assert nearest_ratio(points(20, seed=1), training) is None

"""The numbers at the size they are used at, on made-up features: a thousand pictures, in a second."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.metrics.scores import FeatureSet, Scores, real_against_real, score


def pictures(count: int, seed: int, shift: float = 0.0) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return (torch.randn(count, 64, generator=stream) + 0.5 + shift).clamp(0, 6)


def set_of(features: Tensor) -> FeatureSet:
    """With pixels that are as different from each other as the features are."""
    return FeatureSet(features, features.repeat(1, 48) * 40)


def scores_of(generated: Tensor, real: Tensor, training: Tensor | None = None) -> Scores:
    return score(
        set_of(generated),
        set_of(real),
        training,
        real_against_real(set_of(real)),
        is_held_out=True,
        judge="none",
        preprocessing="none",
    )


def test_fifty_real_pictures_repeated_have_the_kid_of_a_good_generator() -> None:
    """And are a collapse, which coverage and recall see at once, diversity hardly."""
    real = pictures(1000, seed=0)
    collapsed = scores_of(pictures(50, seed=1).repeat(20, 1), real)
    good = scores_of(pictures(1000, seed=2, shift=0.15), real)
    assert collapsed.kid_x1000 < good.kid_x1000
    assert collapsed.precision > good.precision - 0.1
    assert collapsed.coverage < 0.3 < 0.7 < good.coverage
    assert collapsed.recall < 0.1 < good.recall


def test_nothing_scores_better_than_real_against_real() -> None:
    real = pictures(400, seed=0)
    floor = real_against_real(set_of(real))
    worse = scores_of(pictures(400, seed=1, shift=0.2), real)
    assert abs(floor.kid_x1000) < 3 * floor.kid_sd
    assert floor.coverage == pytest.approx(0.97, abs=0.03)
    assert (worse.floor_kid_x1000, worse.floor_coverage) == (floor.kid_x1000, floor.coverage)
    assert worse.kid_x1000 > floor.kid_x1000 + 3 * worse.kid_sd


def test_the_floor_is_the_same_every_time() -> None:
    real = pictures(100, seed=0)
    assert real_against_real(set_of(real)) == real_against_real(set_of(real))


def test_without_training_pictures_nothing_is_said_about_copies() -> None:
    real = pictures(50, seed=0)
    assert scores_of(real, real).nearest_ratio is None
    assert scores_of(real, real).num_training == 0
    assert scores_of(real, real, training=real).nearest_ratio == pytest.approx(0, abs=1e-5)


def test_the_smaller_diversity_counts() -> None:
    real = pictures(50, seed=0)
    calm = FeatureSet(features=real, thumbnails=set_of(real).thumbnails * 0.25)
    scores = score(
        calm,
        set_of(real),
        None,
        real_against_real(set_of(real)),
        is_held_out=False,
        judge="none",
        preprocessing="none",
    )
    assert scores.feature_diversity_ratio == pytest.approx(1)
    assert scores.diversity_ratio == scores.pixel_diversity_ratio == pytest.approx(0.25)

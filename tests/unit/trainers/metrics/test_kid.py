"""KID: unbiased on small sets, honest about its error, and the number others compute."""

from __future__ import annotations

import statistics

import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from trainers.metrics import distances
from trainers.metrics.kid import kid


def points(count: int, seed: int, shift: float = 0.0, dimensions: int = 16) -> Tensor:
    """Non-negative, as averages of ReLU6 are."""
    stream = torch.Generator().manual_seed(seed)
    return (torch.randn(count, dimensions, generator=stream) + 1 + shift).clamp(0, 6)


def brute_force(generated: Tensor, real: Tensor) -> float:
    """Gretton et al. 2012, equation 3, pair by pair."""

    def kernel(x: Tensor, y: Tensor) -> float:
        product: float = (x.double() @ y.double()).item()
        return (product / len(x) + 1) ** 3

    def within(some: Tensor) -> float:
        pairs = [(i, j) for i in range(len(some)) for j in range(len(some)) if i != j]
        return statistics.fmean(kernel(some[i], some[j]) for i, j in pairs)

    across = statistics.fmean(kernel(x, y) for x in generated for y in real)
    return within(generated) + within(real) - 2 * across


def test_it_is_what_the_equation_says_pair_by_pair() -> None:
    generated, real = points(7, seed=0, shift=0.5), points(11, seed=1)
    assert kid(generated, real).value == pytest.approx(brute_force(generated, real), rel=1e-9)


def test_torch_fidelity_finds_the_same() -> None:
    generated, real = points(120, seed=0, shift=0.2), points(120, seed=1)
    everything = kid_features_to_metric(
        generated.double(), real.double(), kid_subset_size=120, kid_subsets=1, verbose=False
    )
    assert kid(generated, real).value == pytest.approx(everything[KEY_METRIC_KID_MEAN], rel=1e-6)
    subsets = kid_features_to_metric(
        generated.double(), real.double(), kid_subset_size=40, kid_subsets=400, verbose=False
    )
    assert kid(generated, real).value == pytest.approx(subsets[KEY_METRIC_KID_MEAN], rel=0.05), (
        "what averaging over random subsets tends to"
    )


def test_two_sets_of_one_kind_are_zero_apart_within_the_error_however_few_they_are() -> None:
    for count in (16, 64, 256):
        measured = [kid(points(count, 2 * i), points(count, 2 * i + 1)) for i in range(30)]
        values = [each.value for each in measured]
        error_of_mean = statistics.stdev(values) / len(values) ** 0.5
        assert abs(statistics.fmean(values)) < 3 * error_of_mean, "no bias"
        assert min(values) < 0 < max(values), "unbiased means: below zero about every other time"
        within = [abs(each.value) <= 2 * each.standard_error for each in measured]
        assert statistics.fmean(within) > 0.8


def test_a_set_compared_with_itself_is_not_above_zero() -> None:
    some = points(64, seed=0)
    assert kid(some, some).value <= 0


def test_the_error_is_what_the_value_scatters_by_when_other_pictures_are_drawn() -> None:
    drawn = [kid(points(50, 2 * i, shift=0.4), points(80, 2 * i + 1)) for i in range(150)]
    scatter = statistics.stdev(each.value for each in drawn)
    assert statistics.fmean(each.standard_error for each in drawn) == pytest.approx(
        scatter, rel=0.25
    )


def test_the_farther_apart_the_larger() -> None:
    real = points(100, seed=1)
    values = [kid(points(100, seed=0, shift=shift), real).value for shift in (0, 0.2, 0.4, 0.8)]
    assert values == sorted(values)


def test_neither_order_nor_block_size_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    generated, real = points(40, seed=0, shift=0.3), points(70, seed=1)
    at_once = kid(generated, real)
    monkeypatch.setattr(distances, "BLOCK_VALUES", 500)
    backwards = kid(real.flip(0), generated.flip(0))
    assert backwards.value == pytest.approx(at_once.value, rel=1e-9)
    assert backwards.standard_error == pytest.approx(at_once.standard_error, rel=1e-9)

"""Coverage and its kin, on points whose neighbours can be counted by hand and by brute force."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_prc import (
    KEY_METRIC_PRECISION,
    KEY_METRIC_RECALL,
    prc_features_to_metric,
)

from trainers.metrics.coverage import coverage


def points(count: int, seed: int, shift: float = 0.0, dimensions: int = 8) -> Tensor:
    stream = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=stream) + shift


def test_neighbours_on_a_line_counted_by_hand() -> None:
    """Real pictures at 0, 1, … 11; twelve generated ones, all at 0.4.

    The fifth neighbour of 0, 1, 2, 3 … is 5, 4, 3, 3 … away, so 0.4 lies in the neighbourhoods of 0, 1,
    2 and 3 (2.6 <= 3), and not of 4 (3.6 > 3). The third neighbour of 0 is 3 away: precise. The
    generated ones have neighbourhoods of no size, with no real picture in them.
    """
    real = torch.arange(12.0)[:, None]
    measured = coverage(torch.full((12, 1), 0.4), real)
    assert measured.coverage == pytest.approx(4 / 12)
    assert measured.density == pytest.approx(4 / 5)
    assert measured.precision == 1
    assert measured.recall == 0


def test_it_is_what_counting_pair_by_pair_gives() -> None:
    generated, real = points(40, seed=0, shift=0.5), points(40, seed=1)

    def apart(x: Tensor, y: Tensor) -> float:
        return (x.double() - y.double()).norm().item()

    def radius(i: int, some: Tensor, k: int) -> float:
        return sorted(apart(some[i], some[j]) for j in range(len(some)) if j != i)[k - 1]

    radii_5 = [radius(i, real, 5) for i in range(len(real))]
    hits = [[apart(g, r) <= radii_5[i] for i, r in enumerate(real)] for g in generated]
    measured = coverage(generated, real)
    assert measured.density == pytest.approx(sum(map(sum, hits)) / (5 * len(generated)))
    assert measured.coverage == pytest.approx(sum(map(any, zip(*hits, strict=True))) / len(real))


def test_torch_fidelity_finds_the_same_precision_and_recall() -> None:
    generated, real = points(100, seed=0, shift=0.3), points(100, seed=1)
    theirs = prc_features_to_metric(generated.double(), real.double(), verbose=False)
    ours = coverage(generated, real)
    assert ours.precision == pytest.approx(theirs[KEY_METRIC_PRECISION])
    assert ours.recall == pytest.approx(theirs[KEY_METRIC_RECALL])


@pytest.mark.parametrize(("num_generated", "num_real"), [(100, 100), (100, 450), (450, 100)])
def test_real_ones_cover_real_ones_whatever_the_numbers(num_generated: int, num_real: int) -> None:
    """1 - 2^-5 = 0.97 is expected of equally many (Naeem et al. 2020)."""
    measured = coverage(points(num_generated, seed=0), points(num_real, seed=1))
    assert measured.coverage == pytest.approx(0.97, abs=0.05)
    assert measured.density == pytest.approx(1, abs=0.25)


def test_real_pictures_repeated_are_precise_and_cover_little() -> None:
    """Mode collapse onto five perfect pictures."""
    real = points(200, seed=1)
    measured = coverage(real[:5].repeat(40, 1), real)
    assert measured.precision == 1
    assert measured.coverage < 0.3


def test_a_larger_set_is_not_cut_in_the_order_it_lies_in() -> None:
    """Pictures lie sorted by painter: the first hundred are no sample of all."""
    painters = torch.cat([points(100, seed=i, shift=3.0 * i) for i in range(4)])
    fair = coverage(
        painters[torch.randperm(400, generator=torch.Generator().manual_seed(9))[:100]], painters
    )
    assert fair.coverage > 0.8

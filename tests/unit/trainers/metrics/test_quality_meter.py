"""The numbers together, on pictures with something on them: what each sees, and what only another sees."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainers.metrics.scenes import blurred, noisy, scenes
from trainers.data.split import held_out_indices
from trainers.errors import SettingsError
from trainers.metrics import features
from trainers.metrics.meter import QualityMeter, joined
from trainers.metrics.scores import Scores
from trainers.symptoms import COPYING_RATIO

FINGERPRINT = "f" * 64
REAL = scenes(80, seed=1)
"""About half of them held out: to compare with, and to have learned from."""
HOLDOUT = 0.5
PERFECT = scenes(24, seed=2)
"""What a perfect painter would paint: other pictures of the same kind."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def meter(cache: Path) -> QualityMeter:
    """Judged by Lite0, the quicker one."""
    return QualityMeter(REAL, FINGERPRINT, cache, holdout=HOLDOUT, judge="lite0")


@pytest.fixture(scope="module")
def of_real(meter: QualityMeter) -> Scores:
    return meter.measure(PERFECT)


def test_pictures_of_the_same_kind_score_as_real_ones_do(of_real: Scores) -> None:
    assert abs(of_real.kid_x1000) < 3 * of_real.kid_sd
    assert of_real.coverage > 0.8
    assert of_real.density == pytest.approx(1, abs=0.4)
    assert of_real.diversity_ratio == pytest.approx(1, abs=0.15)
    assert of_real.nearest_ratio == pytest.approx(1, abs=0.2)
    assert abs(of_real.floor_kid_x1000) < 3 * of_real.floor_kid_sd
    assert of_real.floor_coverage > 0.85


@pytest.mark.parametrize("spoil", [blurred, noisy])
def test_the_more_blurred_or_noisy_the_worse(
    meter: QualityMeter, of_real: Scores, spoil: Callable[[np.ndarray, float], np.ndarray]
) -> None:
    amounts = (1, 2, 4) if spoil is blurred else (10, 25, 80)
    kids = [of_real.kid_x1000, *(meter.measure(spoil(PERFECT, a)).kid_x1000 for a in amounts)]
    assert kids == sorted(kids)
    assert kids[2] > 5 * of_real.kid_sd


def test_two_real_pictures_repeated_please_all_but_coverage_and_diversity(
    meter: QualityMeter, of_real: Scores
) -> None:
    """The trap: never read KID, or precision, alone. At full size: 50 of 1,000 in `test_scores.py`."""
    collapsed = meter.measure(np.tile(PERFECT[2:4], (12, 1, 1, 1)))
    blurry = meter.measure(blurred(PERFECT, 2))
    assert collapsed.kid_x1000 < 0.5 * blurry.kid_x1000, "KID likes it better than blurred ones"
    assert collapsed.precision >= of_real.precision
    assert collapsed.coverage < 0.5 * of_real.coverage
    assert collapsed.diversity_ratio < 0.7


def test_copied_training_pictures_are_noticed_by_their_distance_alone(
    meter: QualityMeter, of_real: Scores
) -> None:
    originals = REAL[meter.training_indices[:24]].astype(int)
    copied = meter.measure((originals + 2).clip(0, 255).astype(np.uint8))
    assert copied.kid_x1000 < of_real.kid_x1000 + 3 * of_real.kid_sd
    assert copied.coverage > 0.8
    assert copied.diversity_ratio == pytest.approx(1, abs=0.15)
    assert copied.nearest_ratio is not None
    assert copied.nearest_ratio < COPYING_RATIO


def test_noise_is_diverse_in_pixels_and_all_alike_to_the_judge(meter: QualityMeter) -> None:
    """Why the smaller of the two ratios counts."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), dtype=np.uint8)
    scores = meter.measure(noise)
    assert scores.feature_diversity_ratio < 0.35
    assert scores.diversity_ratio == min(
        scores.feature_diversity_ratio, scores.pixel_diversity_ratio
    )


def test_nothing_that_was_trained_on_is_compared_with(meter: QualityMeter) -> None:
    held_out = held_out_indices(REAL, HOLDOUT)
    assert np.array_equal(meter.real_indices, held_out)
    assert not set(meter.training_indices) & set(held_out)
    assert meter.is_held_out


def test_without_held_out_pictures_all_are_compared_with_and_it_says_so(cache: Path) -> None:
    meter = QualityMeter(REAL, FINGERPRINT, cache, judge="lite0", max_real=30, max_training=20)
    scores = meter.measure(scenes(8, seed=2))
    assert not scores.is_held_out
    assert (scores.num_real, scores.num_training) == (30, 20)


def test_of_pictures_it_did_not_learn_from_no_copying_is_told(cache: Path) -> None:
    meter = QualityMeter(REAL, FINGERPRINT, cache, judge="lite0", is_trained_on=False)
    scores = meter.measure(scenes(8, seed=2))
    assert scores.nearest_ratio is None
    assert scores.num_training == 0
    assert scores.num_real == len(REAL)


def test_it_knows_what_it_costs_and_the_second_time_the_real_pictures_cost_nothing(
    cache: Path, meter: QualityMeter, of_real: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert meter.last_measure_s is not None
    assert meter.last_measure_s > 0
    assert meter.preparation_s > 0
    looked_at = []
    monkeypatch.setattr(features.Judge, "features", lambda self, p: looked_at.append(len(p)))
    QualityMeter(REAL, FINGERPRINT, cache, holdout=HOLDOUT, judge="lite0")
    assert looked_at == []


def test_looking_in_parts_comes_to_the_same_and_disturbs_no_random_stream(
    meter: QualityMeter,
) -> None:
    pictures = scenes(12, seed=3)
    before = torch.get_rng_state()
    at_once = meter.measure(pictures)
    in_parts = meter.compare(joined([meter.look(pictures[:5]), meter.look(pictures[5:])]))
    assert torch.equal(torch.get_rng_state(), before)
    for name, value in at_once.as_dict().items():
        if isinstance(value, float):
            assert in_parts.as_dict()[name] == pytest.approx(value, rel=1e-3, abs=1e-3), name


def test_the_nearest_training_picture_is_found(meter: QualityMeter) -> None:
    wanted = [3, 17, 30]
    copies = meter.look(noisy(REAL[meter.training_indices[wanted]], 2))
    assert meter.nearest(copies).indices.tolist() == wanted


def test_scores_survive_json(of_real: Scores) -> None:
    told = json.loads(json.dumps(of_real.as_dict(), allow_nan=False))
    assert Scores(**told) == of_real
    assert {"judge", "preprocessing", "num_generated", "floor_kid_x1000"} <= told.keys()
    with pytest.raises(dataclasses.FrozenInstanceError):
        of_real.kid_x1000 = 0.0


def test_a_projected_run_is_not_measured_with_the_network_it_learned_from(cache: Path) -> None:
    with pytest.raises(SettingsError, match="lite2"):
        QualityMeter(REAL, FINGERPRINT, cache, judge="lite0", arch="projected")

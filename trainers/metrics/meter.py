"""Measures generated pictures against one data set: a run's while it trains, a checkpoint's afterwards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from trainers.data.split import check_enough, looked_at
from trainers.metrics import JUDGES
from trainers.metrics.features import (
    Judge,
    Progress,
    cached_features,
    check_judge,
    num_missing,
)
from trainers.metrics.nearest import Nearest, nearest
from trainers.metrics.pixels import thumbnails
from trainers.metrics.scores import FeatureSet, Scores, real_against_real, score

NUM_GENERATED = 256
"""Pictures to hand to `measure` in training: enough to see a collapse and a trend."""
MAX_REAL = 1000
"""Real pictures compared with, and training pictures looked through, at most: what they cost is paid
once per data set (25 ms each on a processor's core), what they add is small beyond."""


class QualityMeter:
    """Built once per run or checkpoint; compares with the held-out pictures, or with all if none are.

    It draws nothing from torch's or numpy's global random streams, so that a run that is measured
    learns the same as one that is not.
    """

    last_measure_s: float | None = None
    """Seconds the last `measure` took; None before the first."""

    def __init__(
        self,
        images: np.ndarray,
        fingerprint: str,
        cache: Path,
        *,
        holdout: float = 0.0,
        arch: str | None = None,
        judge: str = JUDGES[0],
        device: str = "cpu",
        max_real: int = MAX_REAL,
        max_training: int = MAX_REAL,
        is_trained_on: bool = True,
        on_progress: Progress | None = None,
    ) -> None:
        """`images`: all pictures of the data set, uint8 (N, S, S, 3), and `fingerprint` theirs.

        `holdout`: the share of them that was kept from training. `is_trained_on`: whether the others
        are what the generator learned from; if not, nothing is said about copying.

        Looks at the real pictures, or finds in `cache` what they looked like; `on_progress` hears of
        the former. Raises SettingsError for a judge that `arch` learned from or too small a holdout,
        TrainerError where the judge's weights are not installed.
        """
        started = time.monotonic()
        check_judge(judge, arch)
        self.is_held_out = holdout > 0
        self.real_indices, self.training_indices = looked_at(
            images, holdout, max_real, max_training if is_trained_on else 0
        )
        """Into the data set: what is compared with, and what is looked through for copies."""
        check_enough(len(self.real_indices), holdout, len(images))
        self._judge = Judge(judge, device)
        features = cached_features(
            self._judge,
            images,
            np.concatenate([self.real_indices, self.training_indices]),
            fingerprint,
            cache,
            on_progress,
        )
        num_real = len(self.real_indices)
        self._real = FeatureSet(features[:num_real], _thumbnails(images, self.real_indices))
        self._training = features[num_real:]
        self._floor = real_against_real(self._real)
        self.preparation_s = time.monotonic() - started
        """Seconds it took to look at the real pictures; next to nothing from the second time on."""

    def measure(self, pictures: np.ndarray) -> Scores:
        """Of generated pictures, uint8 (N, S, S, 3), N at least 6: see NUM_GENERATED."""
        started = time.monotonic()
        scores = self.compare(self.look(pictures))
        self.last_measure_s = time.monotonic() - started
        return scores

    def look(self, pictures: np.ndarray) -> FeatureSet:
        """The first half of `measure`, for who paints more than fit into memory: see `joined`."""
        return FeatureSet(
            self._judge.features(pictures), _thumbnails(pictures, np.arange(len(pictures)))
        )

    def compare(self, generated: FeatureSet) -> Scores:
        """The second half of `measure`."""
        return score(
            generated,
            self._real,
            self._training if len(self._training) else None,
            self._floor,
            is_held_out=self.is_held_out,
            judge=self._judge.name,
            preprocessing=self._judge.preprocessing,
        )

    def nearest(self, generated: FeatureSet) -> Nearest:
        """Which of the `training_indices` (by position) each generated picture resembles most."""
        assert len(self._training), "there are no training pictures at hand"
        return nearest(generated.features, self._training)


def num_to_prepare(images: np.ndarray, fingerprint: str, cache: Path, *, holdout: float) -> int:
    """Real pictures that a QualityMeter of these would have to look at first; 0 with all in `cache`."""
    indices = np.union1d(*looked_at(images, holdout, MAX_REAL, MAX_REAL))
    return num_missing(JUDGES[0], images, indices, fingerprint, cache)


def joined(parts: Sequence[FeatureSet]) -> FeatureSet:
    """One set of several."""
    return FeatureSet(
        torch.cat([part.features for part in parts]), torch.cat([part.thumbnails for part in parts])
    )


def _thumbnails(images: np.ndarray, indices: np.ndarray) -> torch.Tensor:
    """Some at a time: 5,000 mapped pictures of 512 px must not all come into memory."""
    parts = np.array_split(indices, -(-len(indices) // 64))
    return torch.from_numpy(np.concatenate([thumbnails(images[part]) for part in parts]))

"""Looks at what the averaged generator paints, at every tick on the same noise; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainers import ema
from trainers.config import TrainConfig
from trainers.data.cache import PictureSet
from trainers.metrics.meter import NUM_GENERATED, QualityMeter, num_to_prepare
from trainers.metrics.pixels import PixelDiversity, dead_share
from trainers.metrics.scores import Scores
from trainers.progress import Display
from trainers.samples import FixedNoise, as_grid, grid_columns

GRID_SEED = 1
NUM_LOOKED_AT = 64
"""Pictures painted at every tick; the grid is the first of them."""
SETTLING_SEED = 1_000_000
NUM_SETTLING = 256
"""Pictures over which the shown generator's batch-norm statistics are measured."""
MEASURING_SEED = 2_000_000
EXPECTED_S_PER_PICTURE = {"cpu": 0.03, "cuda": 0.002}
"""What the judge is taken to need for a picture until it has been timed."""


@dataclass(frozen=True)
class Look:
    """What was seen at one tick."""

    network: nn.Module
    """The averaged generator, ready for inference and export."""
    grid: Image.Image
    pixel_diversity: float
    dead_share: float
    scores: Scores | None


class Observer:
    """Knows the noise to look at, the real pictures to compare with, and what looking may cost."""

    def __init__(
        self,
        config: TrainConfig,
        pictures: PictureSet,
        shown: np.ndarray,
        cache: Path,
        display: Display,
    ) -> None:
        device = torch.device(config.device)
        self._columns = grid_columns(config.size)
        by_row, as_usual = self._classes(config, pictures, shown)

        def noise(first: int, count: int, class_of: Callable[[int], int] | None) -> FixedNoise:
            return FixedNoise.draw(range(first, first + count), config.z_dim, device, class_of)

        self._looking = noise(GRID_SEED, NUM_LOOKED_AT, by_row)
        self._settling = noise(SETTLING_SEED, NUM_SETTLING, as_usual)
        self._measuring = noise(MEASURING_SEED, NUM_GENERATED, as_usual)
        self._pixels = PixelDiversity(pictures.images, shown)
        self._config, self._pictures, self._cache = config, pictures, cache
        self._num_to_prepare = num_to_prepare(
            pictures.images, pictures.fingerprint, cache, holdout=config.holdout
        )
        self._meter: QualityMeter | None = None
        self._display = display
        self._measured_s = 0.0
        """Spent on measuring so far, over all sessions."""
        self._was_measured = False

    def look(self, average: nn.Module, elapsed_s: float, is_last: bool) -> Look:
        """Paint, compare, and measure if the time for that has come."""
        network = ema.settled(average, self._settling)
        return self._look(network, self._measure(network, elapsed_s, is_last))

    def look_at(self, average: nn.Module) -> Look:
        """Without measuring."""
        return self._look(ema.settled(average, self._settling), None)

    def state(self) -> dict[str, Any]:
        return {"measured_s": self._measured_s, "was_measured": self._was_measured}

    def restore(self, state: dict[str, Any]) -> None:
        self._measured_s, self._was_measured = state["measured_s"], state["was_measured"]

    def _look(self, network: nn.Module, scores: Scores | None) -> Look:
        painted = self._looking.paint(network)
        return Look(
            network=network,
            grid=as_grid(painted[: self._columns**2], self._columns),
            pixel_diversity=self._pixels.ratio(painted),
            dead_share=dead_share(painted),
            scores=scores,
        )

    def _measure(self, network: nn.Module, elapsed_s: float, is_last: bool) -> Scores | None:
        """Scores if their cost stays within its share of the time so far. A run that was ever
        measured is measured at its end too, so that the last state can be compared with the best."""
        share = self._config.measure_share
        is_affordable = share > 0 and self._measured_s + self._expected_s() <= share * elapsed_s
        if not (is_affordable or (share > 0 and is_last and self._was_measured)):
            return None
        started = time.monotonic()
        if self._meter is None:
            self._meter = QualityMeter(
                self._pictures.images,
                self._pictures.fingerprint,
                self._cache,
                holdout=self._config.holdout,
                arch=self._config.arch,
                device=self._config.device,
                on_progress=partial(self._display.preparing, "looking at the real pictures"),
            )
        scores = self._meter.measure(self._measuring.paint(network))
        self._measured_s += time.monotonic() - started
        self._was_measured = True
        return scores

    def _expected_s(self) -> float:
        if self._meter is not None and self._meter.last_measure_s is not None:
            return self._meter.last_measure_s
        kind = torch.device(self._config.device).type
        return EXPECTED_S_PER_PICTURE[kind] * (NUM_GENERATED + self._num_to_prepare)

    @staticmethod
    def _classes(
        config: TrainConfig, pictures: PictureSet, shown: np.ndarray
    ) -> tuple[Callable[[int], int] | None, Callable[[int], int] | None]:
        """The class of the picture at a position: row by row in a grid, as often as among the real
        pictures elsewhere. None and None where no classes are learned."""
        if not config.classes:
            return None, None
        columns, num_classes = grid_columns(config.size), len(pictures.class_names)
        drawn = np.random.default_rng(0).choice(pictures.class_indices[shown], size=NUM_GENERATED)
        return (lambda i: (i // columns) % num_classes), (lambda i: int(drawn[i]))

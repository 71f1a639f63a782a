"""Looks at what the averaged generator paints, at every tick on the same noise; changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from trainers import ema
from trainers.config import TrainConfig
from trainers.data.cache import PictureSet
from trainers.errors import OutOfMemory, in_one_line, is_out_of_memory
from trainers.metrics.meter import NUM_GENERATED, QualityMeter, num_to_prepare
from trainers.metrics.pixels import PixelDiversity, dead_share
from trainers.metrics.scores import Scores
from trainers.progress import Display
from trainers.samples import FixedNoise, as_grid, grid_columns

T = TypeVar("T")

GRID_SEED = 1
NUM_LOOKED_AT = 64
"""Pictures painted at every tick; the grid is the first of them."""
PAINTED_AT_A_TIME = 16
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
        self.rows = _rows(self._columns, pictures.class_names, by_row)
        """The classes in each row of the grid, from the top; none where no classes are learned."""

        self._at_a_time = ema.SETTLING_BATCH
        """Pictures painted together at most: fewer once memory has run out."""

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
        self._has_no_room = False

    def look(self, average: nn.Module, elapsed_s: float, is_last: bool) -> Look:
        """Paint, compare, and measure if the time for that has come."""
        network = self._settled(average)
        return self._look(network, self._measure(network, elapsed_s, is_last))

    def look_at(self, average: nn.Module) -> Look:
        """Without measuring."""
        return self._look(self._settled(average), None)

    def state(self) -> dict[str, Any]:
        return {"measured_s": self._measured_s, "was_measured": self._was_measured}

    def restore(self, state: dict[str, Any]) -> None:
        self._measured_s, self._was_measured = state["measured_s"], state["was_measured"]

    def _look(self, network: nn.Module, scores: Scores | None) -> Look:
        painted = self._painted(self._looking, network)
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
        if share == 0 or self._has_no_room:
            return None
        is_affordable = self._measured_s + self._expected_s() <= share * elapsed_s
        if not (is_affordable or (is_last and self._was_measured)):
            return None
        started = time.monotonic()
        try:
            scores = self._scores(network)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._has_no_room = True
            self._display.note(
                f"out of memory while measuring ({in_one_line(error)}): nothing more is measured in this session"
            )
            return None
        self._measured_s += time.monotonic() - started
        self._was_measured = True
        return scores

    def _scores(self, network: nn.Module) -> Scores:
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
        return self._meter.measure(self._painted(self._measuring, network))

    def _settled(self, average: nn.Module) -> nn.Module:
        return self._within_memory(
            partial(ema.settled, average, self._settling), at_least=2, at_most=ema.SETTLING_BATCH
        )

    def _painted(self, noise: FixedNoise, network: nn.Module) -> np.ndarray:
        """uint8 (N, S, S, 3)."""
        return self._within_memory(
            partial(noise.paint, network), at_least=1, at_most=PAINTED_AT_A_TIME
        )

    def _within_memory(self, paint: Callable[[int], T], at_least: int, at_most: int) -> T:
        """`paint` so many at a time, half as many from now on where memory runs out. Raises OutOfMemory."""
        while True:
            at_a_time = max(at_least, min(at_most, self._at_a_time))
            try:
                return paint(at_a_time)
            except (MemoryError, RuntimeError) as error:  # CUDA's own error is a RuntimeError
                if not is_out_of_memory(error):
                    raise
                if at_a_time == at_least:
                    raise OutOfMemory(
                        f"out of memory painting {at_a_time} at a time for the grid "
                        f"({in_one_line(error)}). The state of the last tick is kept; try a smaller --width "
                        "or --size."
                    ) from error
            # Outside of the handler: the error holds the tensors that filled the memory.
            self._at_a_time = at_a_time // 2
            if self._config.device.startswith("cuda"):
                torch.cuda.empty_cache()
            self._display.note(
                f"out of memory while looking: painting {self._at_a_time} at a time from now on"
            )

    def _expected_s(self) -> float:
        if self._meter is not None and self._meter.last_measure_s is not None:
            return self._meter.last_measure_s
        kind = torch.device(self._config.device).type
        return EXPECTED_S_PER_PICTURE[kind] * (NUM_GENERATED + self._num_to_prepare)

    @staticmethod
    def _classes(
        config: TrainConfig, pictures: PictureSet, shown: np.ndarray
    ) -> tuple[Callable[[int], int] | None, Callable[[int], int] | None]:
        """The class of the picture at a position: row by row in a grid, evenly over all of them where
        there are more than rows; elsewhere as often as among the real pictures. None and None where no
        classes are learned."""
        if not config.classes:
            return None, None
        columns, num_classes = grid_columns(config.size), len(pictures.class_names)

        def by_place(position: int) -> int:
            if num_classes <= columns:
                return (position // columns) % num_classes
            in_grid = columns**2
            spread = position * num_classes // in_grid if position < in_grid else position
            return spread % num_classes

        drawn = np.random.default_rng(0).choice(pictures.class_indices[shown], size=NUM_GENERATED)
        return by_place, (lambda i: int(drawn[i]))


def _rows(
    columns: int, class_names: tuple[str, ...], class_of: Callable[[int], int] | None
) -> tuple[tuple[str, ...], ...]:
    if class_of is None:
        return ()
    in_rows = (range(row * columns, (row + 1) * columns) for row in range(columns))
    return tuple(
        tuple(dict.fromkeys(class_names[class_of(position)] for position in row)) for row in in_rows
    )

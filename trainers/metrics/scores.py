"""All numbers about one set of generated pictures, made in one way for training, evaluation and sweeps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.metrics.colour import colour_distance
from trainers.metrics.coverage import coverage
from trainers.metrics.diversity import diversity_ratio
from trainers.metrics.kid import kid
from trainers.metrics.nearest import nearest_ratio

_SHUFFLE_SEED = 0


@dataclass(frozen=True)
class FeatureSet:
    """A set of pictures in the two ways they are looked at."""

    features: Tensor
    """Float (N, D): as the judge sees them (`features.Judge`)."""
    thumbnails: Tensor
    """Float (N, 3072): as they are, at 32x32 px (`pixels.thumbnails`)."""

    def __post_init__(self) -> None:
        assert len(self.features) == len(self.thumbnails)

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Floor:
    """What two random halves of the real pictures score against each other: nothing can be better."""

    kid_x1000: float
    kid_sd: float
    density: float
    coverage: float
    precision: float
    recall: float
    colour_distance: float


@dataclass(frozen=True)
class Scores:
    """How good the pictures are. No number is read alone: 50 real pictures repeated have a KID near
    the floor, and only coverage and diversity tell."""

    kid_x1000: float
    """Kernel Inception Distance × 10³ on the judge's features. Lower is better; 0 is perfect."""
    kid_sd: float
    """Standard error of `kid_x1000`: two values nearer than about twice this are the same."""
    density: float
    """Real neighbourhoods a generated picture lies in. Higher is better; about 1 is perfect."""
    coverage: float
    """Share of real pictures with a generated neighbour. Higher is better; 0.97 is perfect."""
    precision: float
    """Share of generated pictures among the real ones. Higher is better."""
    recall: float
    """Share of real pictures among the generated ones. Higher is better."""
    diversity_ratio: float
    """How much generated pictures differ from each other, over how much real ones do: the smaller of
    the next two. 1 is wanted; towards 0 the generator collapses."""
    feature_diversity_ratio: float
    """The ratio in what the judge sees. Near 0 for pictures of noise, however their pixels differ."""
    pixel_diversity_ratio: float
    """The ratio at 32x32 px. Near 0 for one picture with ever other specks, which the judge takes for
    different things."""
    colour_distance: float
    """How far the colours are from the real pictures', in CIELAB units (`colour.colour_distance`): what
    the judge hardly sees. Lower is better; no better than `floor_colour_distance` is possible."""
    nearest_ratio: float | None
    """Distance to the nearest training picture, over that between training pictures. About 1 is
    wanted; below 0.5 it has learned by heart. None where that cannot be told."""
    num_generated: int
    num_real: int
    """Real pictures compared with."""
    num_training: int
    """Training pictures looked through for the nearest."""
    is_held_out: bool
    """Whether the generator never saw the real pictures compared with."""
    judge: str
    preprocessing: str
    floor_kid_x1000: float
    floor_kid_sd: float
    floor_density: float
    floor_coverage: float
    floor_precision: float
    floor_recall: float
    floor_colour_distance: float

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def score(
    generated: FeatureSet,
    real: FeatureSet,
    training: Tensor | None,
    floor: Floor,
    *,
    is_held_out: bool,
    judge: str,
    preprocessing: str,
) -> Scores:
    """Compare generated pictures with real ones, at least 6 each.

    `training`: features (N, D) of the pictures it learned from; None where they are not at hand.
    """
    distance = kid(generated.features, real.features)
    neighbours = coverage(generated.features, real.features)
    feature_diversity = diversity_ratio(generated.features, real.features)
    pixel_diversity = diversity_ratio(generated.thumbnails, real.thumbnails)
    return Scores(
        kid_x1000=distance.value * 1000,
        kid_sd=distance.standard_error * 1000,
        density=neighbours.density,
        coverage=neighbours.coverage,
        precision=neighbours.precision,
        recall=neighbours.recall,
        # The smaller: a collapse that one of them does not see, the other does.
        diversity_ratio=min(feature_diversity, pixel_diversity),
        feature_diversity_ratio=feature_diversity,
        pixel_diversity_ratio=pixel_diversity,
        colour_distance=colour_distance(generated.thumbnails, real.thumbnails),
        nearest_ratio=None if training is None else nearest_ratio(generated.features, training),
        num_generated=len(generated),
        num_real=len(real),
        num_training=0 if training is None else len(training),
        is_held_out=is_held_out,
        judge=judge,
        preprocessing=preprocessing,
        floor_kid_x1000=floor.kid_x1000,
        floor_kid_sd=floor.kid_sd,
        floor_density=floor.density,
        floor_coverage=floor.coverage,
        floor_precision=floor.precision,
        floor_recall=floor.recall,
        floor_colour_distance=floor.colour_distance,
    )


def real_against_real(real: FeatureSet) -> Floor:
    """The floor of at least 12 real pictures: one random half, always the same, against the other."""
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(_SHUFFLE_SEED))
    half = len(real) // 2
    one, other = real.features[order[:half]], real.features[order[half:]]
    distance, neighbours = kid(one, other), coverage(one, other)
    return Floor(
        kid_x1000=distance.value * 1000,
        kid_sd=distance.standard_error * 1000,
        density=neighbours.density,
        coverage=neighbours.coverage,
        precision=neighbours.precision,
        recall=neighbours.recall,
        colour_distance=colour_distance(
            real.thumbnails[order[:half]], real.thumbnails[order[half:]]
        ),
    )

"""Does it paint, or does it copy? How near the generated pictures come to the training pictures.

The nearest-neighbour test of memorisation (Meehan, Chaudhuri & Dasgupta 2020, "A non-parametric test
to detect data-copying"), reduced to one ratio that a person can read.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.metrics.distances import distance_blocks, without_self


@dataclass(frozen=True)
class Nearest:
    """For each generated picture the training picture it resembles most."""

    indices: Tensor
    """int64 (M,), into the training pictures."""
    distances: Tensor
    """float64 (M,)."""


def nearest(generated: Tensor, training: Tensor) -> Nearest:
    """Compare features, float (M, D) and (N, D)."""
    found = [block.min(dim=1) for _, block in distance_blocks(generated, training)]
    return Nearest(
        torch.cat([part.indices for part in found]), torch.cat([part.values for part in found])
    )


def nearest_ratio(generated: Tensor, training: Tensor) -> float | None:
    """Median distance to the nearest training picture, over that of a training picture to its nearest.

    About 1: generated pictures keep the distance real ones keep from each other. Towards 0: they are
    training pictures. None where most training pictures lie there twice, so that nothing is measured.
    """
    to_training = nearest(generated, training).distances.median()
    among_training = torch.cat(
        [
            without_self(block, rows).min(dim=1).values
            for rows, block in distance_blocks(training, training)
        ]
    ).median()
    # Duplicates are 0 apart but for rounding.
    scale = training.double().norm(dim=1).median()
    if among_training <= 1e-6 * scale:
        return None
    return (to_training / among_training).item()

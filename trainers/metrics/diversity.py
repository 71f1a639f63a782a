"""Do the pictures differ from each other as much as real ones do? The quickest sign of collapse.

After the pairwise-distance tests for mode collapse in use since Odena et al. 2017 (AC-GAN, section
4.2, there with MS-SSIM), here as the mean distance of two pictures of a set.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.metrics.distances import distance_blocks

MAX_PICTURES = 2000
"""A mean over two million pairs is exact enough."""
_SHUFFLE_SEED = 0


def diversity_ratio(generated: Tensor, real: Tensor) -> float:
    """Mean distance of two generated pictures over that of two real ones; float (M, D) and (N, D).

    1 is what is wanted, 0 one picture over and over; above 1 they are wilder than the real ones.
    1 as well where the real ones are all alike: then there is nothing to measure by.
    """
    of_real = mean_distance(real)
    return mean_distance(generated) / of_real if of_real else 1.0


def mean_distance(points: Tensor) -> float:
    """Mean Euclidean distance of two different points of a set; at least two."""
    assert len(points) >= 2
    if len(points) > MAX_PICTURES:
        order = torch.randperm(len(points), generator=torch.Generator().manual_seed(_SHUFFLE_SEED))
        points = points[order[:MAX_PICTURES]]
    # A point's distance to itself adds nothing to the sum, but rounding would.
    total = sum(
        block.sum().item() - block.diagonal(rows.start).sum().item()
        for rows, block in distance_blocks(points, points)
    )
    return total / (len(points) * (len(points) - 1))

"""Euclidean distances between two sets of points, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_VALUES = 8_000_000
"""Distances held at once: 64 MB."""


def row_blocks(points: Tensor, others: Tensor) -> Iterator[slice]:
    """Slices over the rows of `points`, so that one slice times `others` stays small."""
    step = max(1, BLOCK_VALUES // max(1, len(others)))
    for start in range(0, len(points), step):
        yield slice(start, min(start + step, len(points)))


def distance_blocks(points: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows, float64 distances (len(rows), len(others))), for float (N, D) and (M, D)."""
    points, others = points.double(), others.double()
    squares = others.square().sum(dim=1)
    for rows in row_blocks(points, others):
        part = points[rows]
        # In float64 the matrix product loses nothing that counts, and is a hundred times quicker
        # than the difference of every pair.
        squared = part.square().sum(dim=1)[:, None] + squares - 2 * (part @ others.T)
        yield rows, squared.clamp_(min=0).sqrt_()


def distances(points: Tensor, others: Tensor) -> Tensor:
    """All at once: float64 (N, M). For sets of at most a few thousand."""
    return torch.cat([block for _, block in distance_blocks(points, others)])


def without_self(block: Tensor, rows: slice) -> Tensor:
    """Distances within one set, of these rows: a point is no neighbour of itself. In place."""
    block[torch.arange(len(block)), torch.arange(rows.start, rows.stop)] = torch.inf
    return block

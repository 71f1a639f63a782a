"""Kernel Inception Distance: how far apart two sets of pictures are, without bias on small sets.

Binkowski, Sutherland, Arbel & Gretton 2018, "Demystifying MMD GANs", section 4. Where FID between
two halves of the same 300 pictures is 561, KID is 0 within its error. On other features than
Inception's it is no published KID: say whose ("lite2-KID").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.metrics.distances import row_blocks

MIN_PICTURES = 3
"""On each side: leaving one out must leave a pair."""


@dataclass(frozen=True)
class Kid:
    """The squared maximum mean discrepancy of two sets, and how sure it is."""

    value: float
    """About 0 for two sets of one kind, and then as often below 0 as above."""
    standard_error: float
    """What `value` would scatter by, were other pictures of the same kinds drawn."""


def kid(generated: Tensor, real: Tensor) -> Kid:
    """Compare features, float (M, D) and (N, D), with the cubic kernel (x·y/D + 1)³.

    All pairs are used, as in Gretton et al. 2012, equation 3: the number that averaging over random
    subsets, the usual way, tends to. Those subsets are there for an error bar as well, but on fewer
    than 1,000 pictures a subset of 1,000 is the whole set and its error bar 0; the error here is the
    jackknife's (Arvesen 1969), which holds at any number of pictures.
    """
    m, n = len(generated), len(real)
    assert min(m, n) >= MIN_PICTURES, (m, n)
    generated_sums, real_sums = _sums_within(generated), _sums_within(real)
    across, across_transposed = _sums_across(generated, real)
    within_generated, within_real, total = generated_sums.sum(), real_sums.sum(), across.sum()

    def mmd2(g: Tensor, g_count: int, r: Tensor, r_count: int, x: Tensor) -> Tensor:
        return (
            g / (g_count * (g_count - 1))
            + r / (r_count * (r_count - 1))
            - 2 * x / (g_count * r_count)
        )

    value = mmd2(within_generated, m, within_real, n, total)
    # The same with one picture left out, for every picture. Its pairs count twice within its set.
    without_generated = mmd2(
        within_generated - 2 * generated_sums, m - 1, within_real, n, total - across
    )
    without_real = mmd2(
        within_generated, m, within_real - 2 * real_sums, n - 1, total - across_transposed
    )
    variance = _jackknife_variance(without_generated) + _jackknife_variance(without_real)
    return Kid(value.item(), variance.sqrt().item())


def _kernel(points: Tensor, others: Tensor) -> Tensor:
    return (points @ others.T).div_(points.shape[1]).add_(1).pow_(3)


def _sums_within(points: Tensor) -> Tensor:
    """For each point, the sum of its kernel with all the others: float64 (N,)."""
    points = points.double()
    sums = torch.cat(
        [_kernel(points[rows], points).sum(dim=1) for rows in row_blocks(points, points)]
    )
    with_itself = points.square().sum(dim=1).div_(points.shape[1]).add_(1).pow_(3)
    return sums - with_itself


def _sums_across(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Row sums (N,) and column sums (M,) of the kernel between two sets."""
    points, others = points.double(), others.double()
    row_sums, column_sums = [], torch.zeros(len(others), dtype=torch.float64)
    for rows in row_blocks(points, others):
        block = _kernel(points[rows], others)
        row_sums.append(block.sum(dim=1))
        column_sums += block.sum(dim=0)
    return torch.cat(row_sums), column_sums


def _jackknife_variance(without_one: Tensor) -> Tensor:
    count = len(without_one)
    return (without_one - without_one.mean()).square().sum() * (count - 1) / count

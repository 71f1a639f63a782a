"""Is every kind of picture painted, and is every painted picture of some kind? Neighbourhoods tell.

Density and coverage: Naeem et al. 2020, "Reliable fidelity and diversity metrics", section 3, k = 5. Precision and recall: Kynkäänniemi et al. 2019, "Improved precision and recall metric",
equation 2, k = 3. Coverage is the one that sees mode collapse; recall is easily fooled by outliers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from trainers.metrics.distances import distances

COVERAGE_NEIGHBOURS = 5
PRECISION_NEIGHBOURS = 3
MIN_PICTURES = COVERAGE_NEIGHBOURS + 1
_SHUFFLE_SEED = 0


@dataclass(frozen=True)
class Coverage:
    """Shares of pictures, 0 to 1; density alone can be above 1."""

    density: float
    """How many real pictures' neighbourhoods a generated one lies in, over k. Real ones: about 1."""
    coverage: float
    """Share of real pictures with a generated one in their neighbourhood. Real ones: 0.97."""
    precision: float
    """Share of generated pictures within the neighbourhood of any real one."""
    recall: float
    """Share of real pictures within the neighbourhood of any generated one."""


def coverage(generated: Tensor, real: Tensor) -> Coverage:
    """Compare features, float (M, D) and (N, D), at least MIN_PICTURES each.

    How large a neighbourhood is, and how many fall into it, depends on the numbers of pictures. So
    equally many of both are compared: the larger set is shuffled (always alike), cut into parts of the
    size of the smaller, and the results averaged.
    """
    assert min(len(generated), len(real)) >= MIN_PICTURES, (len(generated), len(real))
    parts = [_coverage_of_equals(*part) for part in _equal_parts(generated, real)]

    return Coverage(
        density=fmean(part.density for part in parts),
        coverage=fmean(part.coverage for part in parts),
        precision=fmean(part.precision for part in parts),
        recall=fmean(part.recall for part in parts),
    )


def _coverage_of_equals(generated: Tensor, real: Tensor) -> Coverage:
    across = distances(generated, real)
    real_within = distances(real, real)
    generated_radii = _radii(distances(generated, generated), PRECISION_NEIGHBOURS)
    real_radii = _radii(real_within, PRECISION_NEIGHBOURS)
    within_k = across <= _radii(real_within, COVERAGE_NEIGHBOURS)
    return Coverage(
        density=within_k.double().sum(dim=1).mean().item() / COVERAGE_NEIGHBOURS,
        coverage=_share(within_k.any(dim=0)),
        precision=_share((across <= real_radii).any(dim=1)),
        recall=_share((across.transpose(0, 1) <= generated_radii).any(dim=1)),
    )


def _radii(within: Tensor, neighbours: int) -> Tensor:
    """Distance (N,) of each point to its k-th neighbour; the nearest of all is the point itself."""
    others = within.clone().fill_diagonal_(torch.inf)
    return others.kthvalue(neighbours, dim=1).values


def _share(hits: Tensor) -> float:
    return hits.double().mean().item()


def _equal_parts(generated: Tensor, real: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = min(len(generated), len(real))
    if len(generated) > size:
        yield from ((part, real) for part in _parts(generated, size))
    else:
        yield from ((generated, part) for part in _parts(real, size))


def _parts(points: Tensor, size: int) -> list[Tensor]:
    """Shuffled: pictures lie sorted by name, and so often by painter."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(_SHUFFLE_SEED))
    shuffled = points[order]
    return [shuffled[i * size : (i + 1) * size] for i in range(len(points) // size)]

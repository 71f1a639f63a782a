"""The averaged generator: the one that is shown, exported and published."""

from __future__ import annotations

import copy

import torch
from torch import nn

from trainers.samples import FixedNoise

SETTLING_BATCH = 32
"""Pictures over which batch norm takes its statistics at once while the average settles."""


def decay_for(half_life_kimg: float, images_seen: int, batch: int) -> float:
    """Share of the old average kept in one step of `batch` pictures.

    Half of a past step's weight is gone after `half_life_kimg`; early in training after 5 % of what
    has been seen, so that the first grids are not the initial noise (Karras et al. 2020, "ramp-up").
    """
    half_life = min(half_life_kimg * 1000, 0.05 * images_seen)
    decay: float = 0.5 ** (batch / max(half_life, 1e-8))
    return decay


@torch.no_grad()
def update(average: nn.Module, live: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * live, parameters only (buffers: see `settled`)."""
    torch._foreach_lerp_(list(average.parameters()), list(live.parameters()), 1 - decay)


@torch.no_grad()
def settled(average: nn.Module, noise: FixedNoise, at_a_time: int = SETTLING_BATCH) -> nn.Module:
    """A copy of `average` for inference, its batch-norm statistics measured for its own weights.

    Running statistics gathered along the live generator's path fit neither network; they are
    replaced by the plain mean over the pictures of `noise` ("standing statistics", Brock et al.
    2019, appendix), `at_a_time` together. `average` itself is left untouched, so measuring never changes
    training.
    """
    network = copy.deepcopy(average)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean over the passes below
    network.train()
    if norms:
        for part in noise.parts(at_a_time):
            network(*part)
    return network.eval()

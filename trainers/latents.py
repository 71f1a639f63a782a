"""From a seed to a latent vector, the same on every machine."""

from __future__ import annotations

import torch
from torch import Tensor


def latent_for(seed: int, z_dim: int, truncation_psi: float = 1.0) -> Tensor:
    """z ~ N(0, I) of shape (z_dim,), float32, scaled towards 0 by `truncation_psi`.

    Drawn from a generator of its own on the CPU, so that a picture depends on its seed alone and
    never on its neighbours, the batch size or the device
    (https://docs.pytorch.org/docs/stable/notes/randomness.html).
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(z_dim, generator=generator) * truncation_psi


def latents_for(seeds: list[int], z_dim: int) -> Tensor:
    """One row per seed: shape (len(seeds), z_dim)."""
    return torch.stack([latent_for(seed, z_dim) for seed in seeds])

"""From a seed, or from other latents, to a latent vector: the same on every machine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainers.descent import Breed, Descent, Vary
from trainers.errors import RecipeRefused

SAME_WAY = 1e-6
"""Two latents whose angle, in radians, is less than this point the same way: between them a straight line is
the arc, and its formula would divide by nothing."""


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


def latent_of(descent: Descent, z_dim: int) -> Tensor:
    """The latent that descends so, float32 (z_dim,), not truncated: that of every ancestor is the very one its
    own picture was painted from. Raises RecipeRefused if two parents are opposites, with no way between them."""
    match descent.latent:
        case None:
            return latent_for(descent.seed, z_dim)
        case Vary(strength, parent):
            return varied(latent_of(parent, z_dim), latent_for(descent.seed, z_dim), strength)
        case Breed(share, (one, other)):
            return bred(latent_of(one, z_dim), latent_of(other, z_dim), share)


def varied(z: Tensor, noise: Tensor, strength: float) -> Tensor:
    """sqrt(1 - s²) z + s noise, float32: distributed as N(0, I) like both, whatever the strength.

    A straight mixture (1 - s) z + s noise would shrink, to 0.71 of its length at s = 0.5, and a shrunken latent
    paints what truncation paints: duller pictures.
    """
    return (math.sqrt(1 - strength**2) * z.double() + strength * noise.double()).float()


def bred(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Spherical interpolation (Shoemake 1985, "Animating rotation with quaternion curves"), float32: `one` at
    share 0, `other` at 1, on the way the direction turns evenly and the length grows evenly.

    Sums are taken exactly (math.fsum): how a processor adds up must not show in a picture.
    Raises RecipeRefused for opposite latents.
    """
    a, b = one.double(), other.double()
    length_a, length_b = (math.sqrt(math.fsum((z * z).tolist())) for z in (a, b))
    cosine = math.fsum((a * b).tolist()) / (length_a * length_b)
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.pi - angle < SAME_WAY:
        raise RecipeRefused(
            "the recipe breeds two latents that are opposites: none is between them"
        )
    if angle < SAME_WAY:
        of_a, of_b = 1 - share, share
    else:
        of_a, of_b = (math.sin(part * angle) / math.sin(angle) for part in (1 - share, share))
    length = (1 - share) * length_a + share * length_b
    return ((of_a / length_a * length) * a + (of_b / length_b * length) * b).float()

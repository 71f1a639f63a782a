"""The first GAN that tutorials build: fully connected layers and nothing else (Goodfellow et al. 2014).

It knows nothing of pictures, not even which pixels are neighbours, and so stays coarse and noisy:
good for learning what a GAN is, and as a floor to measure from. 256, 512 and 1024 units in the
generator, 512 and 256 in the discriminator at `width` 64, LeakyReLU 0.2, tanh at the end. A class is
a learned vector concatenated to what each network is given (Mirza & Osindero 2014, figure 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from trainers.networks import Architecture, Shape
from trainers.networks.layers import ClassLatent, normalise_spectrally

GENERATOR_UNITS = (256, 512, 1024)
DISCRIMINATOR_UNITS = (512, 256)
REFERENCE_WIDTH = 64
"""The `width` at which there are exactly as many units; others in proportion."""


class Generator(nn.Module):
    """z (B, z_dim), classes (B,) or None -> pictures (B, 3, size, size) in [-1, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.latent = ClassLatent(shape)
        units = [self.latent.num_features, *_scaled(GENERATOR_UNITS, shape)]
        self.layers = nn.Sequential(
            *_dense(units),
            nn.Linear(units[-1], 3 * shape.size**2),
            nn.Tanh(),
            nn.Unflatten(1, (3, shape.size, shape.size)),
        )

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        pictures: Tensor = self.layers(self.latent(z, classes))
        return pictures


class Discriminator(nn.Module):
    """Pictures (B, 3, size, size) in [-1, 1], classes (B,) or None -> logits (B, 1): high for real."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        assert shape.d_norm != "batch", shape.d_norm
        has_classes = shape.num_classes > 0
        self.embedding = nn.Embedding(shape.num_classes, shape.z_dim) if has_classes else None
        num_features = 3 * shape.size**2 + (shape.z_dim if has_classes else 0)
        units = [num_features, *_scaled(DISCRIMINATOR_UNITS, shape)]
        self.layers = nn.Sequential(*_dense(units), nn.Linear(units[-1], 1))
        if shape.d_norm == "spectral":
            normalise_spectrally(self)

    def forward(
        self, pictures: Tensor, classes: Tensor | None = None, coarser: Sequence[Tensor] = ()
    ) -> Tensor:
        assert not coarser
        features = pictures.flatten(1)
        if self.embedding is not None:
            assert classes is not None, "this discriminator was built for classes"
            features = torch.cat([features, self.embedding(classes)], 1)
        logits: Tensor = self.layers(features)
        return logits


def _scaled(units: Sequence[int], shape: Shape) -> list[int]:
    return [max(1, round(count * shape.width / REFERENCE_WIDTH)) for count in units]


def _dense(units: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(units):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2, inplace=True)]
    return layers


ARCHITECTURE = Architecture(
    name="mlp",
    summary="the tutorials' fully connected GAN, 28 to 64 px: to learn from, not to paint with",
    build_generator=Generator,
    build_discriminator=Discriminator,
    sizes=(28, 32, 64),
    d_norms=("none", "spectral"),
)

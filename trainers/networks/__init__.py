"""One architecture per file, discovered by file name: each exports ARCHITECTURE."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

NOT_ARCHITECTURES = frozenset({"cost"})
"""Modules of this package that hold no network."""


@dataclass(frozen=True)
class Shape:
    """What decides the tensors of a network; stored in every checkpoint's manifest."""

    size: int
    """Edge of the pictures, px."""
    z_dim: int
    """Length of the latent vector."""
    width: int
    """Feature maps at half the picture's resolution."""


@dataclass(frozen=True)
class Architecture:
    """A pair of networks that can be built for a Shape.

    The generator maps float z of shape (B, z_dim) to float pictures (B, 3, size, size) in [-1, 1];
    the discriminator maps such pictures to logits of shape (B,).
    """

    name: str
    summary: str
    build_generator: Callable[[Shape], nn.Module]
    build_discriminator: Callable[[Shape], nn.Module]


def architecture_names() -> list[str]:
    """All known architectures, without importing torch."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in NOT_ARCHITECTURES)


def load_architecture(name: str) -> Architecture:
    """Raises KeyError for a name that no file here carries."""
    if name not in architecture_names():
        raise KeyError(name)
    architecture = importlib.import_module(f"{__name__}.{name}").ARCHITECTURE
    assert isinstance(architecture, Architecture)
    return architecture

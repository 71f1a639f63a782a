"""One architecture per file, discovered by file name: each exports ARCHITECTURE."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.shape import D_NORMS, DOUBLED_SIZES_PX, Shape

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Architecture", "Shape", "architecture_names", "load_architecture"]

NOT_ARCHITECTURES = frozenset({"check", "cost", "layers"})
"""Modules of this package that are no architecture."""


@dataclass(frozen=True)
class Architecture:
    """A pair of networks that can be built for a Shape.

    The generator is called as `generator(z, classes)`: float z (B, z_dim) and, if the shape has
    classes, int64 (B,) in [0, num_classes), else None; it gives float pictures (B, 3, size, size),
    trained to lie in [-1, 1]. With `multi_scale`, `generator.pyramid(z, classes)` gives the list
    of the same picture at every resolution, finest first.

    The discriminator is called as `discriminator(pictures, classes, coarser)` and gives logits
    (B, K), high for real: one per picture, or K where it judges patches. `coarser` are the lower
    resolutions, finest first, empty without `multi_scale`. One with a frozen part comes in two
    halves, `judge(see(pictures), classes)`: `see` gives a list of the pictures and of whatever
    nothing in it learns, so that a step looks only once.
    """

    name: str
    summary: str
    build_generator: Callable[[Shape], nn.Module]
    build_discriminator: Callable[[Shape], nn.Module]
    sizes: tuple[int, ...] = DOUBLED_SIZES_PX
    """Picture edges it can be built for, px."""
    options: frozenset[str] = frozenset()
    """Fields of Shape it understands beyond size, z_dim, width and num_classes; of the others it
    takes only the default."""
    d_norms: tuple[str, ...] = D_NORMS
    """Values of `d_norm` it can be built with; the first is what it does when nobody chooses."""
    pretrained: tuple[str, ...] = ()
    """Networks it looks through, by their names in `trainers.pretrained.efficientnet_lite`."""


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

"""Pictures of what the generator can do: fixed-seed grids."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from trainers.latents import latents_for

GRID_EDGE_PX = 1024
"""A grid is about this wide: 8x8 pictures of 128 px, 4x4 of 256, 2x2 of 512 at the least 3x3."""


def grid_columns(size_px: int) -> int:
    return max(3, min(8, GRID_EDGE_PX // size_px))


def to_bytes(pictures: Tensor) -> np.ndarray:
    """Float pictures (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3), rounded to nearest."""
    scaled = pictures.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    array: np.ndarray = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


@dataclass(frozen=True)
class FixedNoise:
    """The same latents, and classes, at every look: what differs between two looks was learned."""

    latents: Tensor
    """Float (N, z_dim), on the generator's device."""
    classes: Tensor | None
    """int64 (N,), None for a generator that knows no classes."""

    @classmethod
    def draw(
        cls,
        seeds: Sequence[int],
        z_dim: int,
        device: torch.device,
        class_of: Callable[[int], int] | None = None,
    ) -> FixedNoise:
        """One row per seed; `class_of` gives the class of the picture at a position."""
        classes = None
        if class_of is not None:
            classes = torch.tensor([class_of(i) for i in range(len(seeds))], device=device)
        return cls(latents_for(list(seeds), z_dim).to(device), classes)

    def parts(self, at_a_time: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Latents and classes, some pictures at a time, in order."""
        latents = self.latents.split(at_a_time)
        if self.classes is None:
            yield from ((part, None) for part in latents)
        else:
            yield from zip(latents, self.classes.split(at_a_time), strict=True)

    @torch.no_grad()
    def paint(self, generator: nn.Module, at_a_time: int = 16) -> np.ndarray:
        """The pictures, uint8 (N, S, S, 3)."""
        return np.concatenate([to_bytes(generator(*part)) for part in self.parts(at_a_time)])


def as_grid(pictures: np.ndarray, columns: int) -> Image.Image:
    """uint8 pictures (N, S, S, 3), N a multiple of `columns`, side by side, row by row."""
    num, size = pictures.shape[:2]
    rows = pictures.reshape(num // columns, columns, size, size, 3)
    return Image.fromarray(
        np.ascontiguousarray(rows.transpose(0, 2, 1, 3, 4).reshape(-1, columns * size, 3))
    )


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()

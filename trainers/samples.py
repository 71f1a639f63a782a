"""Pictures of what the generator can do: fixed-seed grids."""

from __future__ import annotations

import io
import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

GRID_EDGE_PX = 1024
"""A grid is about this wide: 8x8 pictures of 128 px, 4x4 of 256, 2x2 of 512 at the least 3x3."""


def grid_columns(size_px: int) -> int:
    return max(3, min(8, GRID_EDGE_PX // size_px))


def to_bytes(pictures: Tensor) -> np.ndarray:
    """Float pictures (B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3), rounded to nearest."""
    scaled = pictures.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    array: np.ndarray = scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


@torch.no_grad()
def render_grid(generator: nn.Module, latents: Tensor) -> Image.Image:
    """A square grid of the pictures of `latents` (n*n rows), rendered a row of the grid at a time."""
    columns = math.isqrt(len(latents))
    rows = [to_bytes(generator(row)) for row in latents.split(columns)]
    return Image.fromarray(
        np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    )


def png_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()

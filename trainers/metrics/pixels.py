"""What can be told from the pixels alone, at every tick: are the pictures different from each other?

Pictures are compared at 32 x 32 px, where brush strokes are gone and composition and colour remain.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

COMPARED_PX = 32
MAX_REAL = 512
"""Real pictures looked at: their mean pairwise distance is then known to about 1 %."""
SAME_DISTANCE = 4.0
"""Two pictures nearer to each other than this, in 8-bit steps per value, are the same to the eye."""
FLAT_SPREAD = 2.0
"""A picture whose values have a smaller standard deviation, in 8-bit steps, is one flat colour."""


class PixelDiversity:
    """Mean pairwise distance of pictures, in that of the real ones."""

    def __init__(self, images: np.ndarray, shown: np.ndarray) -> None:
        """`images`: uint8 (N, S, S, 3), of which `shown` (int64 indices) are compared with."""
        chosen = shown[np.linspace(0, len(shown) - 1, min(len(shown), MAX_REAL)).astype(np.int64)]
        self._real = _mean_distance(thumbnails(images[chosen]))

    def ratio(self, painted: np.ndarray) -> float:
        """1: as different from each other as real pictures are; 0: all the same."""
        return _mean_distance(thumbnails(painted)) / self._real if self._real else 1.0


def dead_share(painted: np.ndarray) -> float:
    """Share of pictures, uint8 (N, S, S, 3), that look like another one or are one flat colour."""
    small = thumbnails(painted)
    distances = _distances(small) / np.sqrt(small.shape[1])
    np.fill_diagonal(distances, np.inf)
    has_twin = distances.min(1) < SAME_DISTANCE
    is_flat = small.std(1) < FLAT_SPREAD
    return float(max(has_twin.mean(), is_flat.mean()))


def thumbnails(images: np.ndarray) -> np.ndarray:
    """uint8 (N, S, S, 3) -> float32 (N, COMPARED_PX^2 * 3): the pictures, small, as points."""
    resized = [
        Image.fromarray(image).resize((COMPARED_PX, COMPARED_PX), Image.Resampling.BOX)
        for image in images
    ]
    return np.stack([np.asarray(image, dtype=np.float32).reshape(-1) for image in resized])


def _distances(rows: np.ndarray) -> np.ndarray:
    """Euclidean distance of every row to every other: (N, N)."""
    squares = (rows.astype(np.float64) ** 2).sum(1)
    products = rows.astype(np.float64) @ rows.T.astype(np.float64)
    distances: np.ndarray = np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))
    return distances


def _mean_distance(rows: np.ndarray) -> float:
    count = len(rows)
    return float(_distances(rows).sum() / (count * (count - 1)))

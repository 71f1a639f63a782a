"""How far the colours are off. Features learned for naming things hardly tell: portraits on pure yellow
instead of beige scored as well as any (docs/decisions/0011-no-tanh.md).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms
from torch import Tensor

from trainers.metrics.pixels import COMPARED_PX

REGIONS = 4
"""A picture is compared in REGIONS x REGIONS parts: a sky that is green and a wood that is blue must not
make up for each other."""


def colour_distance(generated: Tensor, real: Tensor) -> float:
    """By how much the colours of one set must be moved to become those of the other, in units of CIELAB
    (2 is just visible side by side, black to white is 100); thumbnails as `pixels.thumbnails` makes
    them, float (M, 3072) and (N, 3072).

    The mean over the parts of a picture of the Wasserstein-1 distances of lightness, green-red and
    blue-yellow, added as the sides of a box are for its diagonal (as CIE 1976 adds differences).
    """
    one, other = _colours(generated), _colours(real)
    axes = np.abs(_at_quantiles(one) - _at_quantiles(other)).mean(0)
    return float(np.sqrt((axes**2).sum(-1)).mean())


def _colours(thumbnails: Tensor) -> np.ndarray:
    """Mean colours of the parts: float64 (N, REGIONS, REGIONS, 3), L in [0, 100], a and b about 0."""
    edge = COMPARED_PX // REGIONS
    pixels = thumbnails.numpy().reshape(-1, REGIONS, edge, REGIONS, edge, 3)
    means = pixels.mean((2, 4)).round().astype(np.uint8)
    as_one_picture = Image.fromarray(means.reshape(len(means), -1, 3))
    lab = np.asarray(ImageCms.applyTransform(as_one_picture, _TO_LAB)).reshape(means.shape)
    lightness, others = lab[..., :1] * (100 / 255), lab[..., 1:].view(np.int8)
    return np.concatenate([lightness, others], -1, dtype=np.float64)


def _at_quantiles(colours: np.ndarray) -> np.ndarray:
    """(N, ...) -> (256, ...): as many values of either set, in order, so that they can be subtracted."""
    shares = (np.arange(256) + 0.5) / 256
    values: np.ndarray = np.quantile(colours, shares, axis=0, method="inverted_cdf")
    return values


_TO_LAB = ImageCms.buildTransform(
    ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
)

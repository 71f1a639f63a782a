"""Little pictures with something on them, for judges to look at."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def scenes(count: int, seed: int, edge_px: int = 64) -> np.ndarray:
    """uint8 (count, edge, edge, 3): a sky, a ground, a sun, trees and houses on a grainy canvas."""
    rng = np.random.default_rng(seed)
    smooth = np.stack([_scene(rng, edge_px) for _ in range(count)])
    return (smooth + rng.normal(0, 10, smooth.shape)).clip(0, 255).round().astype(np.uint8)


def blurred(pictures: np.ndarray, radius_px: float) -> np.ndarray:
    blur = ImageFilter.GaussianBlur(radius_px)
    return np.stack([np.array(Image.fromarray(picture).filter(blur)) for picture in pictures])


def noisy(pictures: np.ndarray, amount: float) -> np.ndarray:
    """`amount`: standard deviation in 8-bit steps."""
    noise = np.random.default_rng(0).normal(0, amount, pictures.shape)
    return (pictures + noise).clip(0, 255).round().astype(np.uint8)


def _scene(rng: np.random.Generator, edge_px: int) -> np.ndarray:
    edge = 4 * edge_px

    def colour(low: tuple[int, int, int], high: tuple[int, int, int]) -> tuple[int, int, int]:
        red, green, blue = rng.integers(low, high)
        return int(red), int(green), int(blue)

    picture = Image.new("RGB", (edge, edge), colour((90, 130, 180), (180, 200, 255)))
    draw = ImageDraw.Draw(picture)
    horizon = edge * rng.uniform(0.45, 0.75)
    draw.rectangle((0, horizon, edge, edge), fill=colour((40, 90, 20), (150, 180, 80)))
    x, y, radius = edge * rng.uniform(0.1, 0.9), edge * rng.uniform(0.1, 0.35), edge * 0.07
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 230, 120))
    for _ in range(int(rng.integers(1, 5))):
        x, width = edge * rng.uniform(0.05, 0.95), edge * rng.uniform(0.05, 0.15)
        top = horizon - edge * rng.uniform(0.05, 0.3)
        if rng.random() < 0.5:
            draw.rectangle((x - 5, top, x + 5, horizon + 20), fill=(90, 60, 30))
            draw.ellipse((x - width, top - width, x + width, top + width), fill=(30, 110, 40))
        else:
            draw.rectangle(
                (x - width, top, x + width, horizon + 20),
                fill=colour((120, 60, 60), (250, 220, 200)),
            )
            draw.polygon([(x - width, top), (x, top - width), (x + width, top)], fill=(150, 40, 30))
    return np.array(picture.resize((edge_px, edge_px), Image.Resampling.LANCZOS))

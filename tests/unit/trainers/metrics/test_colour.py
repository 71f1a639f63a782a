"""What the judge's features do not see: that a background is yellow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.metrics.colour import colour_distance
from trainers.metrics.pixels import thumbnails


def flat(*colour: int, count: int = 4) -> Tensor:
    return torch.from_numpy(thumbnails(np.full((count, 64, 64, 3), colour, dtype=np.uint8)))


def noisy(seed: int, count: int = 300, mean: int = 120) -> Tensor:
    stream = np.random.default_rng(seed)
    colours = stream.normal(mean, 30, (count, 1, 1, 3)).clip(0, 255)
    return torch.from_numpy(thumbnails(colours.repeat(64, 1).repeat(64, 2).astype(np.uint8)))


def test_black_to_white_is_a_hundred() -> None:
    assert colour_distance(flat(0, 0, 0), flat(255, 255, 255)) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(
    ("one", "other", "delta_e"),
    [
        # L, a, b of sRGB's corners under D50 (Lindbloom): red 54.29, 80.80, 69.89; green 87.82,
        # -79.27, 80.99; yellow 97.61, -15.75, 93.39; white 100, 0, 0.
        ((255, 0, 0), (0, 255, 0), 163.9),
        ((255, 255, 255), (255, 255, 0), 94.7),
    ],
)
def test_two_flat_colours_are_as_far_apart_as_cie_1976_says(
    one: tuple[int, int, int], other: tuple[int, int, int], delta_e: float
) -> None:
    assert colour_distance(flat(*one), flat(*other)) == pytest.approx(delta_e, rel=0.01)


def test_the_same_pictures_are_no_distance_apart_whatever_their_number() -> None:
    some = noisy(0)
    assert colour_distance(some, some.flip(0)) == 0
    assert colour_distance(some.repeat(3, 1), some) == 0


def test_other_pictures_of_the_same_kind_are_near_and_a_tint_is_far() -> None:
    assert colour_distance(noisy(0), noisy(1)) < 5
    assert colour_distance(noisy(0), noisy(1, mean=180)) > 20


def test_grey_in_every_picture_is_not_black_and_white_in_turn() -> None:
    """The same mean, another spread."""
    mixed = torch.cat([flat(0, 0, 0), flat(255, 255, 255)])
    assert colour_distance(mixed, flat(119, 119, 119)) == pytest.approx(50, abs=2)


def test_the_sky_is_not_compared_with_the_ground() -> None:
    picture = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    picture[:, :32] = (90, 130, 220)
    picture[:, 32:] = (60, 120, 40)
    upside_down = picture[:, ::-1]
    apart = colour_distance(*(torch.from_numpy(thumbnails(p)) for p in (picture, upside_down)))
    assert apart > 60

"""What the pixels alone tell of a collapse."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.metrics.pixels import PixelDiversity, dead_share

EDGE_PX = 40


def blobs(count: int, seed: int) -> np.ndarray:
    """Pictures of four by four coloured squares, no two alike: uint8 (count, 40, 40, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return coarse.repeat(EDGE_PX // 4, axis=1).repeat(EDGE_PX // 4, axis=2)


def speckled(picture: np.ndarray, count: int, level: int) -> np.ndarray:
    """The same picture so many times, with fine grain of up to `level` in it."""
    rng = np.random.default_rng(1)
    grain = rng.integers(-level, level + 1, (count, *picture.shape))
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def diversity() -> PixelDiversity:
    return PixelDiversity(blobs(100, seed=0), np.arange(100))


# ---------------------------------------------------------------- diversity


def test_the_real_pictures_themselves_score_one(diversity: PixelDiversity) -> None:
    assert diversity.ratio(blobs(100, seed=0)) == pytest.approx(1.0)


def test_others_of_their_kind_score_about_one(diversity: PixelDiversity) -> None:
    assert diversity.ratio(blobs(64, seed=7)) == pytest.approx(1.0, abs=0.05)


def test_one_picture_for_ever_scores_zero(diversity: PixelDiversity) -> None:
    assert diversity.ratio(blobs(1, seed=0).repeat(64, axis=0)) == pytest.approx(0, abs=1e-6)


def test_grain_is_no_diversity(diversity: PixelDiversity) -> None:
    """At 32 px it is averaged away."""
    assert diversity.ratio(speckled(blobs(1, seed=0)[0], 64, level=40)) < 0.3


def test_fewer_motifs_score_lower(diversity: PixelDiversity) -> None:
    """k motifs in equal parts: of all pairs, a share of about 1 / k are alike."""
    ratios = [diversity.ratio(blobs(k, seed=3).repeat(64 // k, axis=0)) for k in (1, 2, 4, 16)]
    assert ratios == sorted(ratios)
    assert ratios[1] == pytest.approx(0.5, abs=0.1)
    assert ratios[2] == pytest.approx(0.75, abs=0.1)


def test_paler_pictures_score_lower_in_proportion(diversity: PixelDiversity) -> None:
    pale = (128 + (blobs(64, seed=7).astype(float) - 128) / 4).astype(np.uint8)
    assert diversity.ratio(pale) == pytest.approx(0.25, abs=0.02)


def test_only_the_shown_pictures_are_compared_with() -> None:
    images = np.concatenate([blobs(50, seed=0), np.zeros((50, EDGE_PX, EDGE_PX, 3), np.uint8)])
    with_black = PixelDiversity(images, np.arange(100)).ratio(blobs(50, seed=0))
    assert PixelDiversity(images, np.arange(50)).ratio(blobs(50, seed=0)) == pytest.approx(1.0)
    assert with_black > 1.03


def test_the_size_of_the_painted_pictures_does_not_matter(diversity: PixelDiversity) -> None:
    large = blobs(64, seed=7).repeat(2, axis=1).repeat(2, axis=2)
    assert diversity.ratio(large) == pytest.approx(diversity.ratio(blobs(64, seed=7)), abs=0.01)


def test_real_pictures_that_are_all_alike_ask_for_no_diversity() -> None:
    same = blobs(1, seed=0).repeat(20, axis=0)
    assert PixelDiversity(same, np.arange(20)).ratio(blobs(20, seed=1)) == 1.0


# ---------------------------------------------------------------- dead latents


def test_different_pictures_are_alive() -> None:
    assert dead_share(blobs(64, seed=0)) == 0


def test_a_picture_with_a_twin_is_dead_and_so_is_the_twin() -> None:
    pictures = blobs(20, seed=0)
    pictures[1] = pictures[0]
    assert dead_share(pictures) == pytest.approx(2 / 20)


def test_twins_may_differ_by_what_no_eye_sees() -> None:
    almost = speckled(blobs(1, seed=0)[0], 20, level=3)
    assert dead_share(almost) == 1
    visible = np.clip(almost[:10].astype(int) + 12 * np.arange(10)[:, None, None, None], 0, 255)
    assert dead_share(visible.astype(np.uint8)) < 0.5


def test_flat_colours_are_dead_however_many_there_are() -> None:
    pictures = blobs(20, seed=0)
    pictures[:5] = (np.arange(5) * 40)[:, None, None, None]
    assert dead_share(pictures) == pytest.approx(5 / 20)


def test_numbers_that_are_none_become_pictures_that_can_still_be_judged() -> None:
    """A diverged generator's pictures reach the guard, which has its own words for them."""
    black = np.zeros((10, 32, 32, 3), np.uint8)
    assert dead_share(black) == 1
    assert PixelDiversity(blobs(20, seed=0), np.arange(20)).ratio(black) == 0

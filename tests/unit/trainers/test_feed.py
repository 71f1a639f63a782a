"""The next pictures as the discriminator sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer_fixtures import assert_same_bits, tiny_config
from trainers.data.cache import PictureSet
from trainers.data.feed import PictureFeed

CPU = torch.device("cpu")
NUM = 20


def picture_set() -> PictureSet:
    """Picture i is i at its left and i + 100 at its right edge; the first half is one class."""
    images = np.zeros((NUM, 32, 32, 3), np.uint8)
    images[:] = np.arange(NUM, dtype=np.uint8)[:, None, None, None]
    images[:, :, 16:] += 100
    return PictureSet(
        name="numbered",
        fingerprint="0" * 64,
        images=images,
        class_names=("few", "more"),
        class_indices=np.arange(NUM) // 10,
        rejections=(),
        num_upscaled=0,
    )


def feed_of(shown: np.ndarray | None = None, **settings: Any) -> PictureFeed:
    shown = np.arange(NUM) if shown is None else shown
    return PictureFeed(picture_set(), shown, tiny_config(**settings), CPU)


def bytes_of(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.add(1).mul(127.5).round().int()


def numbers(pictures: torch.Tensor) -> list[int]:
    """Which pictures these are, mirrored or not."""
    return [int(edges.min()) for edges in bytes_of(pictures)[:, 0, 0]]


def test_pictures_come_as_floats_from_minus_one_to_one_in_the_layout_convolutions_like() -> None:
    pictures, classes = feed_of().next(6)
    assert (pictures.shape, pictures.dtype) == ((6, 3, 32, 32), torch.float32)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert classes is None
    [number] = numbers(pictures[:1])
    left, right = pictures[0, 0, 0, 0], pictures[0, 0, 0, -1]
    assert left.item() == pytest.approx(number / 127.5 - 1, abs=1e-6)
    assert right.item() == pytest.approx((number + 100) / 127.5 - 1, abs=1e-6)


def test_every_shown_picture_comes_once_and_one_held_out_never() -> None:
    shown = np.array([1, 2, 3, 5, 8, 13])
    feed = feed_of(shown)
    for _ in range(3):
        assert sorted(numbers(feed.next(6)[0])) == shown.tolist()


def test_every_picture_brings_its_own_class() -> None:
    feed = feed_of(np.arange(1, NUM, 2), classes=True)
    pictures, classes = feed.next(10)
    assert classes is not None
    assert classes.dtype == torch.int64
    assert classes.tolist() == [number // 10 for number in numbers(pictures)]


def test_unless_asked_nothing_is_mirrored() -> None:
    pictures, _ = feed_of().next(NUM)
    assert (pictures[:, 0, 0, 0] < pictures[:, 0, 0, -1]).all()


def test_if_asked_about_half_are_mirrored_and_whole() -> None:
    pictures, _ = feed_of(flip=True).next(200)
    mirrored = pictures[:, 0, 0, 0] > pictures[:, 0, 0, -1]
    assert 70 <= int(mirrored.sum()) <= 130
    plain, _ = feed_of().next(200)
    assert torch.equal(
        torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures), plain
    )


@pytest.mark.parametrize("flip", [False, True])
def test_a_restored_feed_goes_on_with_the_same_pictures(flip: bool) -> None:
    feed = feed_of(flip=flip)
    feed.next(7)
    resumed = feed_of(flip=flip, seed=9)
    resumed.restore(feed.state())
    for _ in range(4):
        assert_same_bits(resumed.next(6), feed.next(6))


def test_the_seed_decides_what_comes() -> None:
    assert numbers(feed_of(seed=1).next(NUM)[0]) == numbers(feed_of(seed=1).next(NUM)[0])
    assert numbers(feed_of(seed=1).next(NUM)[0]) != numbers(feed_of(seed=2).next(NUM)[0])


def test_a_feed_draws_nothing_from_the_global_stream() -> None:
    before = torch.get_rng_state()
    feed_of(flip=True).next(8)
    assert torch.equal(torch.get_rng_state(), before)

"""Which pictures are held out: about as many as said, each by itself, never trained on."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.data.split import (
    check_enough,
    compared_with,
    held_out_indices,
    looked_at,
    places,
    share_that_can_be_measured,
)
from trainers.errors import SettingsError


def noise(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 8, 8, 3), no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


MANY = noise(1000)


def held_out(images: np.ndarray, share: float = 0.1) -> set[bytes]:
    return {images[i].tobytes() for i in held_out_indices(images, share)}


def test_about_a_tenth_of_the_pictures_is_held_out_sorted_and_without_repetition() -> None:
    found = held_out_indices(MANY, 0.1)
    assert found.dtype == np.int64
    assert 70 < len(found) < 130, "three standard errors about 100"
    assert np.array_equal(found, np.unique(found))


def test_the_same_pictures_give_the_same_split_on_every_machine() -> None:
    """Fixed values: a checkpoint of today must find its pictures in ten years."""
    plain = np.stack([np.full((8, 8, 3), level, np.uint8) for level in range(64)])
    assert held_out_indices(plain, 0.1).tolist() == [14, 28, 29, 30, 45, 58]


def test_read_only_pictures_are_looked_at_once_and_others_whenever_they_may_have_changed() -> None:
    images = noise(20)
    before = places(images)
    images[3] = 0
    assert places(images)[3] != before[3]
    images.flags.writeable = False
    assert places(images) is places(images)
    assert np.array_equal(places(noise(20)), before), "another array is another"


def test_pictures_that_are_added_or_taken_away_move_no_other() -> None:
    """With ranks, one new painting reshuffled everything."""
    before = held_out(MANY)
    more = np.concatenate([noise(1, seed=1), MANY, noise(50, seed=2)])
    assert held_out(more) & {p.tobytes() for p in MANY} == before
    fewer = MANY[::3]
    assert held_out(fewer) == before & {p.tobytes() for p in fewer}
    assert held_out(MANY[::-1]) == before, "nor does another order"


def test_copies_of_a_picture_stay_on_one_side() -> None:
    twice = np.repeat(MANY[:200], 2, axis=0)
    found = held_out_indices(twice, 0.3)
    assert len(found) > 0
    assert np.array_equal(found[::2] + 1, found[1::2])


def test_a_smaller_share_holds_out_some_of_the_same_and_no_share_none() -> None:
    assert held_out(MANY, 0.1) < held_out(MANY, 0.2)
    assert held_out_indices(MANY, 0.0).tolist() == []


def test_too_few_to_measure_with_are_refused_with_the_numbers() -> None:
    with pytest.raises(SettingsError, match=r"--holdout 0\.1 of 100 pictures holds out 15"):
        check_enough(15, 0.1, 100)
    check_enough(16, 0.1, 100)
    check_enough(0, 0.0, 100)


def test_a_share_nobody_asked_for_is_left_out_where_it_keeps_too_few() -> None:
    assert share_that_can_be_measured(MANY, 0.1) == 0.1
    assert share_that_can_be_measured(MANY[:40], 0.1) == 0.0


def test_what_is_compared_with_is_held_out_and_what_is_looked_through_is_not() -> None:
    real, training = looked_at(MANY, 0.3, max_real=100, max_training=50)
    kept = set(held_out_indices(MANY, 0.3).tolist())
    assert set(real.tolist()) < kept
    assert not set(training.tolist()) & kept
    assert (len(real), len(training)) == (100, 50)
    assert len(looked_at(MANY, 0.3, max_real=10_000, max_training=0)[0]) == len(kept)
    assert len(looked_at(MANY, 0.0, max_real=10_000, max_training=0)[0]) == len(MANY)


def test_of_many_nearly_the_same_are_looked_at_when_some_come() -> None:
    more = np.concatenate([MANY, noise(10, seed=3)])
    before = {MANY[i].tobytes() for i in looked_at(MANY, 0.0, 100, 0)[0]}
    after = {more[i].tobytes() for i in looked_at(more, 0.0, 100, 0)[0]}
    assert len(before & after) >= 95


def test_another_set_to_compare_with_has_another_name() -> None:
    name = compared_with(MANY, 0.1)
    assert compared_with(MANY[::-1], 0.1) == name
    is_kept = places(MANY) < np.uint64(0.1 * 2**64)
    shown, kept = MANY[~is_kept], MANY[is_kept]
    assert compared_with(np.concatenate([kept, shown[5:]]), 0.1) == name
    assert compared_with(np.concatenate([kept[1:], shown]), 0.1) != name
    assert compared_with(MANY, 0.0) != compared_with(MANY[1:], 0.0), "all are compared with"

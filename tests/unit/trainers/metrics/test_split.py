"""Which pictures are held out: as many as said, always the same, never trained on."""

from __future__ import annotations

import numpy as np
import pytest

from trainers.data.split import drawn, held_out_indices
from trainers.errors import SettingsError

ONE, OTHER = "a" * 64, "b" * 64


def test_a_tenth_of_the_pictures_is_sorted_and_without_repetition() -> None:
    held_out = held_out_indices(400, 0.1, ONE)
    assert held_out.dtype == np.int64
    assert len(held_out) == 40
    assert np.array_equal(held_out, np.unique(held_out))
    assert held_out.min() >= 0
    assert held_out.max() < 400


def test_the_same_pictures_give_the_same_split_on_every_machine() -> None:
    """Fixed values: a checkpoint of today must find its pictures in ten years."""
    assert held_out_indices(400, 0.05, ONE).tolist()[:5] == [11, 59, 158, 166, 176]


def test_other_pictures_are_split_otherwise() -> None:
    assert not np.array_equal(held_out_indices(400, 0.1, ONE), held_out_indices(400, 0.1, OTHER))


def test_a_smaller_share_holds_out_some_of_the_same() -> None:
    assert set(held_out_indices(400, 0.1, ONE)) < set(held_out_indices(400, 0.2, ONE))


def test_no_share_holds_out_none() -> None:
    assert held_out_indices(400, 0.0, ONE).tolist() == []


def test_too_few_to_measure_with_are_refused_with_the_numbers() -> None:
    with pytest.raises(SettingsError, match=r"--holdout 0\.1 of 100 pictures keeps 10 aside"):
        held_out_indices(100, 0.1, ONE)


def test_drawing_more_than_there_are_gives_all_and_drawing_none_gives_none() -> None:
    indices = np.array([3, 5, 8])
    assert drawn(indices, 10, ONE).tolist() == [3, 5, 8]
    assert drawn(indices, 0, ONE).tolist() == []

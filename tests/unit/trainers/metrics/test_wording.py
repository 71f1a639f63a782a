"""Every number with what it means; a warning exactly where something is wrong."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.trainer_fixtures import GOOD_SCORES
from trainers.metrics.scores import Scores
from trainers.metrics.wording import in_words, worries


def scores(**changed: Any) -> Scores:
    return dataclasses.replace(GOOD_SCORES, **changed)


def test_every_number_stands_beside_the_one_of_real_pictures() -> None:
    told = in_words(GOOD_SCORES)
    for name in (
        "KID",
        "coverage",
        "density",
        "precision",
        "recall",
        "diversity",
        "colour",
        "nearest",
    ):
        assert name in told
    for pair in (("0.4 ± 0.5", "-0.1 ± 0.6"), ("0.96", "0.97"), ("0.98", "1.02")):
        assert any(all(number in line for number in pair) for line in told.splitlines())
    assert told.count("Higher is better") == 4
    assert told.count("Lower is better") == 2
    assert max(map(len, told.splitlines())) <= 100


def test_good_pictures_worry_nobody() -> None:
    assert worries(GOOD_SCORES) == []
    assert "not to be told from real ones" in in_words(GOOD_SCORES)


def test_a_bad_kid_is_not_called_real() -> None:
    assert "not to be told" not in in_words(scores(kid_x1000=12.0))


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"diversity_ratio": 0.3}, "repeats itself"),
        ({"coverage": 0.02}, "few kinds"),
        ({"colour_distance": 48.0}, "colours are off, by 48"),
        ({"nearest_ratio": 0.1}, "by heart"),
    ],
)
def test_each_worry_has_its_sentence(changed: dict[str, float], warning: str) -> None:
    (told,) = worries(scores(**changed))
    assert warning in told
    assert told in in_words(scores(**changed))


def test_the_two_diversities_have_names_of_their_own() -> None:
    """The page's, in pixels, is often the larger one."""
    thin = scores(diversity_ratio=0.5, feature_diversity_ratio=0.5, pixel_diversity_ratio=0.8)
    rows = [line.split() for line in in_words(thin).splitlines() if line.startswith("diversity")]
    assert rows == [
        ["diversity", "to", "the", "judge", "0.50", "1.00"],
        ["diversity", "in", "pixels", "0.80", "1.00"],
    ]
    assert "differ to the judge 0.50 times" in in_words(thin)
    speckled = scores(diversity_ratio=0.4, feature_diversity_ratio=1.0, pixel_diversity_ratio=0.4)
    assert "differ in pixels 0.40 times" in in_words(speckled)


def test_what_cannot_be_told_is_left_out() -> None:
    assert "nearest" not in in_words(scores(nearest_ratio=None))

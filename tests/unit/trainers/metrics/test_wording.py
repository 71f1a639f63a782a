"""Every number with what it means; a warning exactly where something is wrong."""

from __future__ import annotations

import pytest

from trainers.metrics.scores import Scores
from trainers.metrics.wording import in_words, worries

GOOD = Scores(
    kid_x1000=0.4,
    kid_sd=0.5,
    density=0.98,
    coverage=0.96,
    precision=0.8,
    recall=0.7,
    diversity_ratio=0.97,
    feature_diversity_ratio=0.97,
    pixel_diversity_ratio=1.01,
    colour_distance=3.1,
    nearest_ratio=0.95,
    num_generated=1000,
    num_real=240,
    num_training=2160,
    is_held_out=True,
    judge="lite2",
    preprocessing="p",
    floor_kid_x1000=-0.1,
    floor_kid_sd=0.6,
    floor_density=1.02,
    floor_coverage=0.97,
    floor_precision=0.79,
    floor_recall=0.78,
    floor_colour_distance=2.9,
)


def scores(**changed: float | None) -> Scores:
    return Scores(**(GOOD.as_dict() | changed))


def test_every_number_stands_beside_the_one_of_real_pictures() -> None:
    told = in_words(GOOD)
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
    assert worries(GOOD) == []
    assert "not to be told from real ones" in in_words(GOOD)


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


def test_what_cannot_be_told_is_left_out() -> None:
    assert "nearest" not in in_words(scores(nearest_ratio=None))

"""Scores as a person reads them: every number beside what is possible, with what it means."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from trainers.metrics.scores import Scores
from trainers.symptoms import COPYING_RATIO, LEAST_COVERAGE, OFF_COLOUR, THIN_DIVERSITY

_WIDTH = 100
_NAMES = 22
"""The longest name's."""


@dataclass(frozen=True)
class _Row:
    name: str
    generated: str
    real: str
    """The same number for one half of the real pictures against the other."""
    meaning: str


def in_words(scores: Scores) -> str:
    """A table of several lines, and what is to be worried about."""
    rows = _rows(scores)
    lines = [f"{'':{_NAMES}}{'generated':>16}{'real against real':>20}"]
    for row in rows:
        lines.append(f"{row.name:{_NAMES}}{row.generated:>16}{row.real:>20}")
        lines += textwrap.wrap(row.meaning, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    lines += ["", *worries(scores)]
    return "\n".join(lines).rstrip()


def worries(scores: Scores) -> list[str]:
    """A sentence for each thing that is wrong with the pictures; none if nothing is."""
    found = []
    if scores.diversity_ratio < THIN_DIVERSITY:
        to_whom = "to the judge"
        if scores.pixel_diversity_ratio < scores.feature_diversity_ratio:
            to_whom = "in pixels"
        found.append(
            f"! It repeats itself: its pictures differ {to_whom} {scores.diversity_ratio:.2f} times as "
            "much as real ones do."
        )
    if scores.coverage < LEAST_COVERAGE:
        found.append(
            f"! It paints few kinds of pictures: {scores.coverage:.0%} of the real ones have one like "
            "them."
        )
    if scores.nearest_ratio is not None and scores.nearest_ratio < COPYING_RATIO:
        found.append(
            "! It has learned pictures by heart: half of its own are nearer to a training picture than "
            f"{scores.nearest_ratio:.2f} of the usual distance. Look at them beside each other."
        )
    if scores.colour_distance > scores.floor_colour_distance + OFF_COLOUR:
        found.append(
            f"! Its colours are off, by {scores.colour_distance:.0f} (10 is plainly seen, black to white is "
            "100). The judge hardly sees colour: look at the grid."
        )
    return found


def _rows(scores: Scores) -> list[_Row]:
    yardstick = "not to be told from real ones" if _is_at_floor(scores) else "0 is perfect"
    rows = [
        _Row(
            "KID × 10³",
            f"{scores.kid_x1000:.1f} ± {scores.kid_sd:.1f}",
            f"{scores.floor_kid_x1000:.1f} ± {scores.floor_kid_sd:.1f}",
            f"Distance from the real pictures as a whole. Lower is better; {yardstick}. "
            f"EfficientNet-{scores.judge} looks, so it compares with no published KID or FID.",
        ),
        _Row(
            "coverage",
            f"{scores.coverage:.2f}",
            f"{scores.floor_coverage:.2f}",
            "Share of the real pictures that have a generated one beside them. Higher is better; low "
            "means that whole kinds of pictures are never painted.",
        ),
        _Row(
            "density",
            f"{scores.density:.2f}",
            f"{scores.floor_density:.2f}",
            "How deep generated pictures lie among the real ones. Higher is better; near 0 means that "
            "they look like none of them.",
        ),
        _Row(
            "precision",
            f"{scores.precision:.2f}",
            f"{scores.floor_precision:.2f}",
            "Share of the generated pictures that lie among the real ones. Higher is better.",
        ),
        _Row(
            "recall",
            f"{scores.recall:.2f}",
            f"{scores.floor_recall:.2f}",
            "Share of the real pictures that lie among the generated ones. Higher is better.",
        ),
        _Row(
            "diversity to the judge",
            f"{scores.feature_diversity_ratio:.2f}",
            "1.00",
            "How much the pictures differ from each other in what the judge sees, measured by how much "
            "real ones do. Towards 0 the generator paints one picture over and over.",
        ),
        _Row(
            "diversity in pixels",
            f"{scores.pixel_diversity_ratio:.2f}",
            "1.00",
            "The same in the pixels themselves, as the run's page tells it at every tick. The smaller of "
            "the two counts.",
        ),
        _Row(
            "colour",
            f"{scores.colour_distance:.1f}",
            f"{scores.floor_colour_distance:.1f}",
            "How far colours in each part of the picture are from the real ones there. Lower is better; 2 "
            "is just visible side by side, black to white is 100 (CIELAB).",
        ),
    ]
    if scores.nearest_ratio is not None:
        rows.append(
            _Row(
                "nearest",
                f"{scores.nearest_ratio:.2f}",
                "1.00",
                "Distance to the nearest training picture, measured by that between training pictures. "
                f"About 1 or above is new; below {COPYING_RATIO:g} is learned by heart.",
            )
        )
    return rows


def _is_at_floor(scores: Scores) -> bool:
    """Two standard errors: about one time in twenty by chance."""
    return scores.kid_x1000 <= max(0.0, scores.floor_kid_x1000) + 2 * scores.kid_sd

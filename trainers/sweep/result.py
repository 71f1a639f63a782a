"""What came of a sweep: the best trials as a table, the best as a preset file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from trainers.sweep.search import Search
from trainers.sweep.study import finished, measured

NUM_SHOWN = 5
FAIR_SHARE = 0.8
"""A trial that saw less than this part of another's pictures is not fairly compared with it."""


def table(study: optuna.Study, search: Search, folder: Path) -> list[str]:
    """The best trials, and what to make of them, line by line."""
    trials = measured(study)
    the_rest = trials[NUM_SHOWN:]
    shown = trials[:NUM_SHOWN] + [t for t in the_rest if _is_preset(t, search)]
    columns = "".join(f"  {name:>11}" for name in search.over)
    lines = [f"trial     KID x 1000  coverage  diversity     kimg{columns}"]
    for trial in shown:
        scores, values = trial.user_attrs["result"], search.values(trial.params)
        kid = f"{scores['kid_x1000']:.1f} ± {scores['kid_sd']:.1f}"
        lines.append(
            f"{trial.number:5}  {kid:>13}  {scores['coverage']:8.2f}  {scores['diversity_ratio']:9.2f}"
            f"  {scores['kimg']:7.1f}"
            + "".join(f"  {value:11.3g}" for value in values.values())
            + ("  the preset as it is" if _is_preset(trial, search) else "")
        )
    lines += _verdict(trials, search)
    page = folder / f"trial-{trials[0].number:03d}" / "index.html"
    if page.exists():  # it may have been another machine's
        lines.append(f"its grids: {page}")
    return lines


def _is_preset(trial: FrozenTrial, search: Search) -> bool:
    return search.values(trial.params) == search.baseline


def _verdict(trials: list[FrozenTrial], search: Search) -> list[str]:
    """What the figures do not say by themselves."""
    lines = []
    as_it_is = [trial for trial in trials if _is_preset(trial, search)]
    if as_it_is and as_it_is[0] is trials[0]:
        lines.append("Nothing that was tried is better than the preset as it is.")
    elif as_it_is:
        best, preset = (trial.user_attrs["result"] for trial in (trials[0], as_it_is[0]))
        noise = 2 * math.hypot(best["kid_sd"], preset["kid_sd"])
        if preset["kid_x1000"] - best["kid_x1000"] <= noise:
            lines.append("The best differs from the preset as it is by no more than chance does.")
    results = [trial.user_attrs["result"] for trial in trials]
    kimg = [result["kimg"] for result in results if not result["ended_early"]]
    if kimg and min(kimg) < FAIR_SHARE * max(kimg):
        lines.append(
            f"In their time the trials saw between {min(kimg):.1f} and {max(kimg):.1f} kimg, as the "
            "machine was more or less busy: with --kimg instead of --minutes all see the same."
        )
    return lines


def preset_file(
    study: optuna.Study,
    search: Search,
    started_from: dict[str, Any],
    settings: dict[str, Any],
) -> str:
    """The best trial as a file for `--preset`: TOML.

    `started_from` is the preset as it was when the sweep began (`presets.as_named`), and `settings` what
    was set on top of it.
    """
    best = measured(study)[0]
    scores = best.user_attrs["result"]
    judged_on = "held-out" if scores["is_held_out"] else "the training"
    lines = [
        f"# Found by `artbot sweep`: study {study.study_name}, trial {best.number}, the best of "
        f"{len(finished(study))}.",
        f"# KID x 1000 {scores['kid_x1000']:.1f} ± {scores['kid_sd']:.1f}, coverage "
        f"{scores['coverage']:.2f}, diversity {scores['diversity_ratio']:.2f}, judged on "
        f"{scores['num_real']} {judged_on} pictures.",
    ]
    found = started_from | settings | search.values(best.params)
    # A text, number or truth value of JSON is one of TOML.
    lines += [f"{name} = {json.dumps(value)}" for name, value in found.items()]
    return "\n".join(lines) + "\n"

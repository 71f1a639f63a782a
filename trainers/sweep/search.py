"""What a sweep tries, and on top of what."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.config import TrainConfig
from trainers.errors import SettingsError

if TYPE_CHECKING:
    import optuna

RANGES = {"lr": (0.25, 4.0), "gamma": (0.25, 4.0), "d_lr_factor": (0.5, 2.0)}
"""Tried between these multiples of the preset's value, on a logarithmic scale."""
SPANS = {"augment_p": (0.2, 1.0), "ada_target": (0.4, 0.8)}
"""Tried between these values, and the preset's."""
BY_DEFAULT = ("gamma", "lr", "augment_p", "ada_target")
"""Searched where they mean something and nobody chooses."""

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(TrainConfig) if f.name in RANGES | SPANS}


@dataclass(frozen=True)
class Search:
    """Settings that stay as they are, and those that are searched."""

    base: dict[str, Any]
    """TrainConfig's fields, the searched ones' own values among them."""
    over: tuple[str, ...]
    """Keys of RANGES and SPANS that mean something for this base."""

    @property
    def baseline(self) -> dict[str, float]:
        """The preset as it is: the first trial, by which the others are judged."""
        return {name: _tidy(self.base[name]) for name in self.over}

    def bounds(self, name: str) -> tuple[float, float]:
        value = self.baseline[name]
        if name in RANGES:
            low, high = RANGES[name]
            return low * value, high * value
        low, high = SPANS[name]
        return min(low, value), max(high, value)

    def suggest(self, trial: optuna.Trial) -> dict[str, float]:
        """This trial's values."""
        return {
            name: _tidy(trial.suggest_float(name, *self.bounds(name), log=name in RANGES))
            for name in self.over
        }

    def values(self, params: dict[str, Any]) -> dict[str, float]:
        """What a trial of these parameters was trained with."""
        return {name: _tidy(params[name]) for name in self.over}


def plan_search(base: dict[str, Any], over: str | None) -> Search:
    """What can be searched on top of these settings, or those of `over` (comma-separated).

    Raises SettingsError for a setting that cannot be searched, or means nothing with this base.
    """
    base = _DEFAULTS | base
    augment = base.get("augment", "none")
    meaningless = {}
    if base.get("penalty", "none") == "none":
        meaningless["gamma"] = "weighs a penalty, and there is none"
    if augment != "diffaug":
        meaningless["augment_p"] = f"is how often diffaug acts, and augment is {augment}"
    if augment != "ada":
        meaningless["ada_target"] = f"is what ada aims at, and augment is {augment}"
    possible = [name for name in (*BY_DEFAULT, "d_lr_factor") if name not in meaningless]
    if over is None:
        return Search(base, tuple(name for name in possible if name in BY_DEFAULT))
    wanted = [name.strip().replace("-", "_") for name in over.split(",")]
    for name in wanted:
        if name not in possible:
            why = meaningless.get(name, "cannot be searched")
            raise SettingsError(
                f"--over {over}: {name or 'nothing'} {why}. With these settings choose from "
                f"{', '.join(possible)}."
            )
    return Search(base, tuple(dict.fromkeys(wanted)))


def in_words(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())


def _tidy(value: float) -> float:
    """To six digits: what is written into the preset file is what the trial was trained with."""
    return float(f"{value:.6g}")

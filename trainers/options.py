"""Command-line options that several of the trainer's commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainers.shape import SIZES_PX

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Number(click.ParamType[float]):
    """A number within bounds, refused in plain words; click's own ranges say `x>0`."""

    name = "number"

    def __init__(
        self,
        low: float,
        high: float = math.inf,
        *,
        is_whole: bool = False,
        is_above: bool = False,
    ) -> None:
        """From `low` (with `is_above`: but not `low` itself) to `high`."""
        self._low, self._high = low, high
        self._is_whole, self._is_above = is_whole, is_above

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            number = int(str(value)) if self._is_whole else float(str(value))
        except ValueError:
            self.fail(f"{value!r} is no {self._kind}. Choose {self._bounds}.", param, ctx)
        is_low = number <= self._low if self._is_above else number < self._low
        if is_low or number > self._high or not math.isfinite(number):
            self.fail(f"{value}: choose {self._bounds}.", param, ctx)
        return number

    @property
    def _kind(self) -> str:
        return "whole number" if self._is_whole else "number"

    @property
    def _bounds(self) -> str:
        if self._is_above:
            up_to = f", {self._high:g} at most" if self._high < math.inf else ""
            return f"a {self._kind} above {self._low:g}{up_to}"
        return f"a {self._kind} from {self._low} to {self._high}"


ABOVE_ZERO = Number(0, is_above=True)

size_option = click.option(
    "--size",
    type=click.Choice([str(s) for s in SIZES_PX]),
    default="64",
    show_default=True,
    help="Edge of the pictures, px; 28 is for the tutorial network, mlp.",
)


def dataset_option(help_text: str, *, is_required: bool = True) -> Decorator:
    return click.option("--dataset", required=is_required, metavar="NAME|PATH", help=help_text)


def device_option(help_text: str = "Where to compute.") -> Decorator:
    return click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda[:N]",
        help=help_text,
    )


def folder_option(name: str, help_text: str) -> Decorator:
    """`--NAME-dir`, by default the folder NAME; `artbot` fills it from artbot.toml."""
    return click.option(
        f"--{name}-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(name),
        show_default=True,
        help=help_text,
    )


datasets_dir_option = folder_option("datasets", "Where named data sets lie.")

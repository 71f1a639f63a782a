"""Command-line options that several of the trainer's commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from trainers.shape import SIZES_PX

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

size_option = click.option(
    "--size",
    type=click.Choice([str(s) for s in SIZES_PX]),
    default="64",
    show_default=True,
    help="Edge of the pictures, px.",
)


def dataset_option(help_text: str) -> Decorator:
    return click.option("--dataset", required=True, metavar="NAME|PATH", help=help_text)


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

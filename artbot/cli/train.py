"""`artbot train`: the trainer's own command, with this workplace's folders.

The one face that reaches `trainers` directly: training is offline, touches neither the database
nor the studio, and works without a workplace, in the current folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from artbot.cli.common import say
from artbot.errors import ArtbotError, NoWorkplace
from trainers.cli import train_command as trainers_command
from trainers.errors import TrainerError


class _InWorkplace(click.Command):
    """The trainer's command: folder options default to artbot.toml's, errors end as artbot's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.default_map = _folders(ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if not ctx.default_map:
            say(f"no workplace here: checkpoints/, runs/ and cache/ go into {Path.cwd()}")
        try:
            return super().invoke(ctx)
        except TrainerError as error:
            raise TrainingFailed(error) from error


class TrainingFailed(ArtbotError):
    """The trainer's error, with its exit code."""

    def __init__(self, error: TrainerError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_code


def _folders(context: click.Context) -> dict[str, Any]:
    from artbot.workplace import open_workplace

    given = context.find_root().obj
    try:
        settings = open_workplace(given).settings
    except NoWorkplace:
        if given is not None:
            raise
        return {}
    return {
        "datasets_dir": settings.datasets,
        "checkpoints_dir": settings.checkpoints,
        "runs_dir": settings.runs,
        "cache_dir": settings.cache,
    }


train_command = _InWorkplace(
    "train",
    callback=trainers_command.callback,
    params=trainers_command.params,
    help=trainers_command.help,
    short_help=trainers_command.short_help,
)

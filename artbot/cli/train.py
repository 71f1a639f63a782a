"""The trainer's own commands, with this workplace's folders: `artbot train`, `evaluate` and the others.

The one face that reaches `trainers` directly: training is offline, touches neither the database
nor the studio, and works without a workplace, in the current folder. Only when it has ended, in a
workplace, is the studio asked what paints next.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from artbot.cli.common import say
from artbot.errors import ArtbotError, DatabaseError, NoCheckpoint, NoWorkplace
from trainers.commands import TRAINER_COMMANDS
from trainers.errors import TrainerError


class _InWorkplace(click.Command):
    """A command of the trainer: folder options default to artbot.toml's, errors end as artbot's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.default_map = _folders(ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        if not ctx.default_map:
            say(f"no workplace here: checkpoints/, runs/ and cache/ are those in {Path.cwd()}")
        try:
            result = super().invoke(ctx)
        except TrainerError as error:
            raise TrainingFailed(error) from error
        if ctx.default_map and self.name == "train" and not ctx.params["dry_run"]:
            _say_what_paints(ctx)
        return result


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


def _say_what_paints(context: click.Context) -> None:
    """After a run: with which generator each schedule paints next, which need not be the new one."""
    from artbot.studio.choice import generator_of
    from artbot.workplace import open_workplace

    workplace = open_workplace(context.find_root().obj)
    settings = workplace.settings
    try:
        for name, schedule in settings.schedules.items():
            chosen = generator_of(workplace.database, settings.checkpoints, schedule)
            say(f"paints next: {chosen.name} ({name}; today's pictures: artbot batch)")
    except (NoCheckpoint, DatabaseError) as error:
        say(f"paints next: nothing yet; {error}")


def _in_workplace(command: click.Command) -> click.Command:
    return _InWorkplace(
        command.name,
        callback=command.callback,
        params=command.params,
        help=command.help,
        short_help=command.short_help,
    )


def __getattr__(name: str) -> click.Command:
    """`NAME_command`: the trainer's command of that name. Imported only when it is called for."""
    for command, module in TRAINER_COMMANDS.items():
        if name == f"{command}_command":
            return _in_workplace(getattr(importlib.import_module(module), name))
    raise AttributeError(name)

"""`python -m trainers train …`: training without the rest of artbot."""

from __future__ import annotations

import importlib
import sys

import click

from trainers.commands import TRAINER_COMMANDS
from trainers.errors import TrainerError


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(TRAINER_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in TRAINER_COMMANDS:
            return None
        module = importlib.import_module(TRAINER_COMMANDS[cmd_name])
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(cls=_LazyGroup)
def main() -> None:
    """The offline trainer of artbot."""


if __name__ == "__main__":
    try:
        main()
    except TrainerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:  # a file in a folder's place, say
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)

"""`python -m trainers train …`: training without the rest of artbot."""

from __future__ import annotations

import sys

import click

from trainers.cli import train_command
from trainers.errors import TrainerError


@click.group()
def main() -> None:
    """The offline trainer of artbot."""


main.add_command(train_command)

if __name__ == "__main__":
    try:
        main()
    except TrainerError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)

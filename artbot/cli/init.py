"""`artbot init`."""

from __future__ import annotations

from pathlib import Path

import click

from artbot.cli.common import say


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=Path())
def init_command(folder: Path) -> None:
    """Make a workplace in FOLDER (here by default): a commented artbot.toml, and a place for everything.

    Nothing that is already there is changed; in a workplace, what is missing is made again.
    """
    from artbot.config import CONFIG_FILE
    from artbot.init import backup_of_lost, make_workplace

    made = make_workplace(folder)
    if CONFIG_FILE not in made:
        say(f"{folder} was a workplace already; made again: {', '.join(made)}")
        if backup := backup_of_lost(folder, made):
            at = "" if folder == Path() else f" --workplace {folder}"
            say(
                "the database that was there is lost, with every decision in it. Its newest backup: "
                f"artbot{at} db restore {backup.name}"
            )
        return
    say(f"{folder / CONFIG_FILE} is written; have a look at it.")
    say("")
    say(
        "Next: put your pictures into a folder below datasets/, for example datasets/flowers/, then"
    )
    if folder != Path():
        say(f"  cd {folder}")
    say("  artbot train --dataset flowers --size 64")
    say("or try it with pictures artbot paints itself:")
    say("  artbot train --dataset demo --size 64 --preset dcgan --width 32 --minutes 5")

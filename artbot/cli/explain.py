"""`artbot explain`."""

from __future__ import annotations

from dataclasses import asdict

import click

from artbot.cli.common import ID_HELP, id_argument, json_option, print_json, the_one, with_workplace
from artbot.workplace import Workplace


@click.command("explain", epilog=ID_HELP)
@id_argument
@json_option
@with_workplace
def explain_command(workplace: Workplace, typed: tuple[str, ...], as_json: bool) -> None:
    """What happened to one work, step by step in its order, from the batch to every attempt to send it.

    What it is now, with its words, its seed and its recipe: artbot show.
    """
    from artbot.upkeep.story import tell

    work, events = tell(workplace.database, the_one(workplace, typed))
    if as_json:
        print_json(
            {
                "id": work.id,
                "name": work.name,
                "state": work.state,
                "events": [asdict(event) for event in events],
            }
        )
        return
    click.echo(
        f"{work.id} ({work.name}) is {work.state}" + (f": {work.error}" if work.error else "")
    )
    for event in events:
        ahead = "·" if event.is_to_come else " "
        when = event.at.astimezone()
        click.echo(f"{ahead} {when:%Y-%m-%d %H:%M:%S}  {event.what:12}  {event.words}")

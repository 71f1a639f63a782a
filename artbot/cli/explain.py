"""`artbot explain`."""

from __future__ import annotations

from dataclasses import asdict

import click

from artbot.cli.common import json_option, print_json, with_workplace
from artbot.workplace import Workplace


@click.command("explain")
@click.argument("typed", metavar="ID")
@json_option
@with_workplace
def explain_command(workplace: Workplace, typed: str, as_json: bool) -> None:
    """One work's whole story in the order it happened, from the batch to every attempt to send it."""
    from artbot.review.reading import find_candidate
    from artbot.upkeep.story import tell

    work, events = tell(workplace.database, find_candidate(workplace.database, typed))
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

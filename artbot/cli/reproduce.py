"""`artbot reproduce`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from artbot.cli.common import json_option, print_json, say, with_workplace
from artbot.workplace import Workplace


@click.command("reproduce")
@click.argument("typed", metavar="ID")
@click.option(
    "--out",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the new picture here.",
)
@click.option(
    "--restore",
    is_flag=True,
    help="Put the picture back into works/ if its file is missing or damaged.",
)
@json_option
@with_workplace
def reproduce_command(
    workplace: Workplace, typed: str, output: Path | None, restore: bool, as_json: bool
) -> None:
    """Paint a candidate again from its checkpoint, seed and recipe, and compare the pixels.

    Exit code 1 if they differ. torch promises equal results only for the same version on the same
    kind of device: where these have changed, the answer says so.
    """
    from artbot.review.reading import find_candidate, get_candidate
    from artbot.studio.reproduce import reproduce, restore_file

    candidate = get_candidate(workplace.database, find_candidate(workplace.database, typed))
    result = reproduce(workplace.studio, candidate, output)
    needs_restoring = not result.is_file_intact or candidate.state == "quarantined"
    restored = restore and needs_restoring and restore_file(workplace.studio, candidate)
    if as_json:
        print_json(
            {"id": candidate.id, "name": candidate.name, **asdict(result), "is_restored": restored}
        )
    else:
        if result.is_identical:
            say(f"{candidate.name}: identical, all {candidate.width} x {candidate.height} pixels")
        elif result.num_differing is None:
            say(f"{candidate.name}: the pixels differ (the file in works/ cannot be compared)")
        else:
            say(
                f"{candidate.name}: {result.num_differing} pixels differ, by at most "
                f"{result.largest_difference} of 255"
            )
        for name, then in result.environment_then.items():
            now = result.environment_now.get(name)
            if now != then:
                say(f"  {name} was {then}, is {now}")
        if not result.is_file_intact:
            say(
                f"  the file in works/ is missing or damaged; {'it is restored' if restored else 'put it back with --restore'}"
            )
    if not result.is_identical or (restore and needs_restoring and not restored):
        raise SystemExit(1)

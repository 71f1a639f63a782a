"""`artbot reproduce`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artbot.cli.common import (
    ID_HELP,
    id_argument,
    json_option,
    print_json,
    say,
    the_one,
    with_workplace,
)
from artbot.errors import NotAllowed, UsageError
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Candidate


@click.command("reproduce", epilog=ID_HELP)
@id_argument
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
    workplace: Workplace,
    typed: tuple[str, ...],
    output: Path | None,
    restore: bool,
    as_json: bool,
) -> None:
    """Paint a candidate again from its checkpoint, seed and recipe, and compare the pixels.

    Exit code 1 if they differ. torch promises equal results only for the same version on the same
    kind of device: where these have changed, the answer says so.

    With --restore nothing is compared, and painted only what is missing: a file that is whole again
    is taken as it is, and a work that was put aside for its sake is what it was before.
    """
    from artbot.review.reading import get_candidate

    if restore and output is not None:
        raise UsageError("--out and --restore say where the picture goes: give one of them.")
    candidate = get_candidate(workplace.database, the_one(workplace, typed))
    if candidate.path is None:
        raise NotAllowed(f"{candidate.name} has no picture yet: it is {candidate.state}.")
    if restore:
        _restore(workplace, candidate, as_json)
    else:
        _compare(workplace, candidate, output, as_json)


def _restore(workplace: Workplace, candidate: Candidate, as_json: bool) -> None:
    from artbot.studio.reproduce import Restoration, restore_file

    words = {
        Restoration.WHOLE: "restored: its file in works/ is, to the byte, the recorded one",
        Restoration.SAME_PIXELS: "restored: the same pixels in another file, "
        "whose sha256 is now the recorded one",
        Restoration.OTHER_BYTES: "the pixels are the same, but not the bytes, and those were decided "
        "about: the libraries that write PNG files have changed since. Only the very file, from a "
        "copy of works/, brings it back",
        Restoration.OTHER_PIXELS: "it cannot be painted again here: the pixels differ. Only the very "
        "file, from a copy of works/, brings it back",
    }
    came = restore_file(workplace.studio, candidate.id)
    is_restored = came in (Restoration.WHOLE, Restoration.SAME_PIXELS)
    if as_json:
        print_json(
            {
                "id": candidate.id,
                "name": candidate.name,
                "is_restored": is_restored,
                "restoration": came,
            }
        )
    else:
        say(f"{candidate.name}: {words[came]}")
    if not is_restored:
        raise SystemExit(1)


def _compare(
    workplace: Workplace, candidate: Candidate, output: Path | None, as_json: bool
) -> None:
    from artbot.studio.reproduce import reproduce

    result = reproduce(workplace.studio, candidate, output)
    if as_json:
        print_json({"id": candidate.id, "name": candidate.name, **asdict(result)})
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
            say("  the file in works/ is missing or damaged; put it back with --restore")
    if not result.is_identical:
        raise SystemExit(1)

"""`artbot checkpoints`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from artbot.cli.common import json_option, print_json, say, with_workplace
from artbot.errors import NoCheckpoint
from artbot.workplace import Workplace


@click.command("checkpoints")
@click.option("--retry", metavar="NAME", help="Have a refused one tried again by the next batch.")
@json_option
@with_workplace
def checkpoints_command(workplace: Workplace, retry: str | None, as_json: bool) -> None:
    """List the checkpoints, the latest first, each read whole and checked.

    One that was refused for what its weights are is not tried again: it is shown with the reason
    until you say --retry. One whose run could not be judged is used where there is no other. Exit code 1
    if one is refused.
    """
    from artbot.studio.refusals import refused_for_good
    from artbot.studio.registry import list_checkpoints, verify

    if retry is not None:
        _release(workplace, retry)
    rows = []
    known = refused_for_good(workplace.database)
    for entry in list_checkpoints(workplace.settings.checkpoints):
        facts: dict[str, Any] = {"name": entry.name}
        if entry.manifest is not None:
            learned_from = entry.manifest.learned_from
            facts = entry.manifest.model_dump(mode="json") | {"learned_from": learned_from}
        held = known.of(entry.manifest) if entry.manifest else None
        rows.append(
            {
                **facts,
                "folder": str(entry.folder),
                # What the bytes are now comes first: they may not be the ones that were refused.
                "refusal": verify(entry) or (held.reason if held else None),
                "refused_at": held.refused_at if held else None,
            }
        )
    if as_json:
        print_json(rows)
    elif not rows:
        say(
            f"no checkpoints in {workplace.settings.checkpoints}: train one with `artbot train --dataset NAME`"
        )
    for row in [] if as_json else rows:
        if row["refusal"]:
            since = f" (not tried since {row['refused_at']:%Y-%m-%d})" if row["refused_at"] else ""
            click.echo(f"{row['name']:32} refused: {row['refusal']}{since}")
        else:
            click.echo(
                f"{row['name']:32} {row['size']:3} px  {row['arch']}  {row['kimg']:8.1f} kimg  "
                f"{row['learned_from']}  {row['created_at'][:16]}"
                + (f"  {row['doubt'].partition(':')[0]}" if row["doubt"] else "")
            )
    for words in [] if as_json else _passed_over(workplace):
        click.echo(words)
    if any(row["refusal"] for row in rows):
        raise SystemExit(1)


def _passed_over(workplace: Workplace) -> list[str]:
    """What each schedule would be painted with, were it not doubted."""
    from artbot.studio.choice import generator_of, passed_over

    database, settings = workplace.database, workplace.settings
    told = []
    for name, schedule in settings.schedules.items():
        with suppress(NoCheckpoint):
            chosen = generator_of(database, settings.checkpoints, schedule)
            told.append(
                passed_over(database, settings.checkpoints, settings.schedules, name, chosen)
            )
    return [words for words in told if words]


def _release(workplace: Workplace, name: str) -> None:
    """Raises UsageError if nothing is held against it."""
    from artbot.errors import UsageError
    from artbot.studio.refusals import refused_for_good, release
    from artbot.studio.registry import list_checkpoints

    entries = list_checkpoints(workplace.settings.checkpoints)
    named = next((e.manifest for e in entries if e.folder.name == name), None)
    if not release(workplace.database, name, named):
        names = sorted(row.name for row in refused_for_good(workplace.database))
        listed = f"Refused are {', '.join(names)}." if names else "None is."
        raise UsageError(f"--retry {name}: no such checkpoint is held back. {listed}")
    say(f"{name} will be tried again by the next batch")

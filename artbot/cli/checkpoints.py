"""`artbot checkpoints`."""

from __future__ import annotations

import click

from artbot.cli.common import json_option, print_json, say, with_workplace
from artbot.workplace import Workplace


@click.command("checkpoints")
@json_option
@with_workplace
def checkpoints_command(workplace: Workplace, as_json: bool) -> None:
    """List the checkpoints, the latest first, each read whole and checked.

    Exit code 1 if one is refused.
    """
    from artbot.studio.registry import list_checkpoints, verify

    rows = []
    for entry in list_checkpoints(workplace.settings.checkpoints):
        facts = (
            entry.manifest.model_dump(mode="json")
            if entry.manifest
            else {"name": entry.folder.name}
        )
        rows.append({**facts, "folder": str(entry.folder), "refusal": verify(entry)})
    if as_json:
        print_json(rows)
    elif not rows:
        say(
            f"no checkpoints in {workplace.settings.checkpoints}: train one with `artbot train --dataset NAME`"
        )
    for row in [] if as_json else rows:
        if row["refusal"]:
            click.echo(f"{row['name']:32} refused: {row['refusal']}")
        else:
            dataset = row["dataset"]
            click.echo(
                f"{row['name']:32} {row['size']:3} px  {row['arch']}  {row['kimg']:8.1f} kimg  "
                f"{dataset['num_pictures']} pictures of {dataset['name']}  {row['created_at'][:16]}"
            )
    if any(row["refusal"] for row in rows):
        raise SystemExit(1)

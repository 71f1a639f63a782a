"""`artbot status`."""

from __future__ import annotations

from dataclasses import asdict

import click

from artbot.cli.common import json_option, local_time, print_json, with_workplace
from artbot.workplace import Workplace


@click.command("status")
@json_option
@with_workplace
def status_command(workplace: Workplace, as_json: bool) -> None:
    """What waits for you, what went out, what went wrong, what comes next."""
    from artbot.status import read_status

    status = read_status(workplace)
    if as_json:
        print_json(asdict(status))
        return
    now = workplace.clock()
    lines = [
        ("workplace", status.workplace),
        ("worker", status.worker or "none: start `artbot daemon`"),
        (
            "generator",
            f"{status.checkpoint} ({status.checkpoint_facts})"
            if status.checkpoint
            else "none yet: train one with `artbot train --dataset NAME`",
        ),
    ]
    lines += [("", f"{name} is refused: {why}") for name, why in status.refused_checkpoints.items()]
    for batch in status.next_batches:
        lines.append(("next batch", f"{batch.schedule}: {local_time(batch.due_at, now)}"))
    lines += [("unfinished", f"{key}: {why}") for key, why in status.unfinished_batches.items()]
    lines.append(
        ("to review", f"{status.num_pending}" + (" (artbot review)" if status.num_pending else ""))
    )
    going = f"{status.num_waiting}"
    if status.next_delivery_at:
        going += f", the next at {local_time(status.next_delivery_at, now)}"
    lines.append(("going out", going))
    if status.num_without_channel:
        waits = "approved before there was a channel (`artbot approve ID` again sends them)"
        lines.append(("", f"{status.num_without_channel} {waits}"))
    lines += [
        ("", f"channel {name} is {why} (artbot channels resume {name})")
        for name, why in status.stopped_channels.items()
    ]
    lines += [
        ("", f"{count} to channel {name}, which artbot.toml does not have")
        for name, count in status.unknown_channels.items()
    ]
    lines.append(
        (
            "published",
            f"{status.num_published}, {status.num_published_recently} of them in the last 7 days",
        )
    )
    failed = status.failed_deliveries
    lines.append(("need you", f"{len(failed)}" + (" (artbot deliveries list)" if failed else "")))
    lines += [("", f"delivery {number}: {error}") for number, error in list(failed.items())[:5]]
    for name, value in lines:
        click.echo(f"{name:11} {value}")

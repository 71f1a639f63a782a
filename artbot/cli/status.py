"""`artbot status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click

from artbot.cli.common import json_option, print_json, with_workplace
from artbot.telling import at_words, local_time, zone_named, zone_words
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.status import NextBatch, Status

SHOWN = 5
"""So many lines of one kind."""

Lines = list[tuple[str, str]]


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
    for name, value in lines_of(status, workplace.clock()):
        click.echo(f"{name:11} {value}")


def lines_of(status: Status, now: datetime) -> Lines:
    """What a person reads: a heading and its words, line by line."""
    recently = f", {status.num_published_recently} of them in the last 7 days"
    return [
        ("workplace", status.workplace),
        ("worker", status.worker or "none: start `artbot daemon`"),
        *_batches(status, now),
        ("to review", _to_review(status)),
        *_page(status),
        ("going out", _going_out(status, now)),
        ("published", f"{status.num_published}" + (recently if status.num_published else "")),
        ("need you", f"{len(status.needs_you)}"),
        *_listed(
            "", [f"{need.what} ({need.remedy})" for need in status.needs_you], "artbot doctor"
        ),
    ]


def _to_review(status: Status) -> str:
    words = f"{status.num_pending}"
    if status.num_later:
        words += f", and {status.num_later} put off until later"
    return words + (" (artbot review)" if status.num_pending or status.num_later else "")


def _page(status: Status) -> Lines:
    told = f"{status.review_page} (a link: artbot review --web)"
    return [("review page", told)] if status.review_page else []


def _batches(status: Status, now: datetime) -> Lines:
    lines: Lines = []
    if status.checkpoint is None:
        lines.append(("generator", "none yet: train one with `artbot train --dataset NAME`"))
    elif not status.next_batches:
        lines.append(("generator", f"{status.checkpoint} ({status.checkpoint_facts})"))
    lines += _listed(
        "checkpoints",
        [f"{name} is refused: {why}" for name, why in status.refused_checkpoints.items()],
        "artbot checkpoints",
    )
    for following in status.next_batches:
        lines.append(("next batch", _next_batch(following, status, now)))
        if following.passed_over:
            lines.append(("", following.passed_over))
    for batch in status.unfinished_batches:
        due = f"{_when(batch.due_at, now)}; " if batch.due_at <= now else ""
        lines.append(("unfinished", f"{batch.key}: {due}{batch.waits_for}"))
    if status.num_unpainted:
        asked = f"{status.num_unpainted} asked for by `artbot vary` or `artbot breed`"
        lines.append(("to paint", f"{asked}; {status.unpainted_wait_for}"))
    lines += [("not made", f"{key}: {why}") for key, why in status.unmade_batches.items()]
    return lines


def _next_batch(batch: NextBatch, status: Status, now: datetime) -> str:
    when = "the first" if batch.is_first else _when(batch.due_at, now)
    words = f"{batch.schedule}: {when}"
    if batch.checkpoint is not None:
        words += f", painted by {batch.checkpoint} ({batch.checkpoint_facts})"
    elif status.checkpoint is None:
        words += ", once there is a generator"
    else:
        words += f", but {batch.no_checkpoint}"
    return words + (f"; {batch.waits_for}" if batch.waits_for else "")


def _going_out(status: Status, now: datetime) -> str:
    words = f"{status.num_waiting}"
    if status.num_on_hold:
        words += f", and {status.num_on_hold} on hold"
    if status.num_without_channel and not status.has_channels:
        return f"{words}; {status.num_without_channel} approved, with no channel to go to"
    at = status.next_delivery_at
    if at is None:
        return words
    if at > now:
        zone = zone_named(status.next_delivery_timezone)
        return f"{words}, the next {at_words(at, now, zone)}{zone_words(at, zone)}: artbot queue"
    start = "" if status.worker else "; nobody is at work: `artbot publish` sends them now"
    some = f"{status.num_due} of them " if 0 < status.num_due < status.num_waiting else ""
    return f"{words}, {some}{_when(at, now)}{start}"


def _when(moment: datetime, now: datetime) -> str:
    told = local_time(moment, now)
    return told if moment > now else f"due since {told}"


def _listed(heading: str, told: Sequence[str], command: str) -> Lines:
    lines = [(heading if index == 0 else "", line) for index, line in enumerate(told[:SHOWN])]
    if len(told) > SHOWN:
        lines.append(("", f"and {len(told) - SHOWN} more: {command}"))
    return lines

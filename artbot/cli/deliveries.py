"""`artbot deliveries list | retry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from artbot.cli.common import (
    delivery_words,
    json_option,
    local_time,
    print_json,
    say,
    with_workplace,
)
from artbot.errors import ArtbotError
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Delivery


@click.group("deliveries")
def deliveries_command() -> None:
    """Deliveries: one work to one channel each."""


@deliveries_command.command("list")
@click.option("--all", "everything", is_flag=True, help="Delivered and cancelled ones as well.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=200, show_default=True)
@json_option
@with_workplace
def list_command(workplace: Workplace, everything: bool, limit: int, as_json: bool) -> None:
    """List the deliveries that are not done, the newest first."""
    from artbot.domain.delivery import DeliveryState
    from artbot.publishing.outbox import list_deliveries

    done = (DeliveryState.DELIVERED, DeliveryState.CANCELLED)
    states = [state for state in DeliveryState if everything or state not in done]
    rows = list_deliveries(workplace.database, states, limit)
    if as_json:
        print_json([_facts(row) for row in rows])
        return
    if not rows:
        say(
            "no deliveries"
            if everything
            else "nothing is on its way (`--all` shows what has arrived)"
        )
        return
    now = workplace.clock()
    click.echo(f"{'':5}  {'work':28}  {'channel':16}  {'state':11}  {'when':>16}")
    for row in rows:
        when = row.delivered_at or (row.next_at if row.state in ("queued", "retry_wait") else None)
        click.echo(
            f"{row.id:5}  {row.candidate.name:28}  {row.channel:16}  {delivery_words(row.state):11}  "
            f"{local_time(when, now) if when else '-':>16}  {row.last_error or ''}"
        )
    failed = [row.id for row in rows if row.state == DeliveryState.FAILED]
    if failed:
        say(
            f"when the cause is mended: artbot deliveries retry {' '.join(str(number) for number in failed)}"
        )


@deliveries_command.command("retry")
@click.argument("ids", metavar="DELIVERY…", type=int, nargs=-1, required=True)
@json_option
@with_workplace
def retry_command(workplace: Workplace, ids: tuple[int, ...], as_json: bool) -> None:
    """Make failed or waiting deliveries due now, undo time or not; `deliveries list` has their numbers.

    The receiver sees the same id as before. A failed one has all its attempts before it again.
    """
    from artbot.publishing.outbox import retry

    rows: list[Delivery] = []
    errors: list[tuple[int, ArtbotError]] = []
    for number in dict.fromkeys(ids):
        try:
            rows.append(retry(workplace.database, number, workplace.clock()))
        except ArtbotError as error:
            errors.append((number, error))
    if as_json:
        failed = [{"id": number, "error": str(error)} for number, error in errors]
        print_json({"due": [_facts(row) for row in rows], "errors": failed})
    else:
        for row in rows:
            say(f"{row.id}: {row.candidate.name} to {row.channel} is due now")
        for _, refusal in errors:
            say(f"Error: {refusal}")
        if rows and workplace.current_worker() is None:
            say("no daemon is running: send it with `artbot publish`")
    if errors:
        raise SystemExit(errors[0][1].exit_code)


def _facts(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "candidate_id": row.candidate_id,
        "work": row.candidate.name,
        "channel": row.channel,
        "state": row.state,
        "delivery_key": row.delivery_key,
        "num_attempts": row.num_attempts,
        "next_at": row.next_at,
        "delivered_at": row.delivered_at,
        "last_error": row.last_error,
    }

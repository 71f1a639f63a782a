"""`artbot alerts test | list`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from artbot.cli.common import (
    json_option,
    print_json,
    say,
    with_workplace,
)
from artbot.domain.notice import NoticeKind
from artbot.domain.text import plain
from artbot.errors import ArtbotError
from artbot.telling import local_time
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from datetime import datetime

    from db.models import Notice


@click.group("alerts")
def alerts_command() -> None:
    """Alerts: how artbot tells you that something wants your attention."""


@alerts_command.command("test")
@json_option
@with_workplace
def test_command(workplace: Workplace, as_json: bool) -> None:
    """Send a test to every address of [alerts], and say how each fared, by its line in the file.

    Exit code 1 if one of them did not take it.
    """
    from artbot.errors import Unavailable
    from artbot.publishing.alerts import TEST

    try:
        fared = workplace.send_alert(TEST)
    except Unavailable as error:
        raise ArtbotError(str(error)) from error
    if as_json:
        print_json([asdict(one) for one in fared])
    else:
        for one in fared:
            said = "ok" if one.ok else f"failed: {one.detail}"
            click.echo(f"line {one.line:<4} {one.service or 'unknown':20}  {said}")
    if not all(one.ok for one in fared):
        raise SystemExit(1)


@alerts_command.command("list")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@json_option
@with_workplace
def list_command(workplace: Workplace, limit: int, as_json: bool) -> None:
    """What was told besides works, to you and to webhooks, the newest first, and how that fared."""
    from artbot.publishing.notices import list_notices

    found = list_notices(workplace.database, limit)
    if as_json:
        print_json([_facts(notice) for notice in found])
        return
    now = workplace.clock()
    for notice in found:
        click.echo(
            f"{local_time(notice.created_at, now):20}  {notice.kind:16}  {plain(_of(notice)):28}  "
            f"{notice.recipient:12}  {plain(_how_it_fared(notice, now))}"
        )
    if not found:
        say(
            "nothing was told so far: give artbot.toml [alerts], or a webhook `notices` (docs/alerts.md)"
        )


def _facts(notice: Notice) -> dict[str, Any]:
    return {
        "id": notice.id,
        "key": notice.key,
        "kind": notice.kind,
        "recipient": notice.recipient,
        "state": notice.state,
        "num_attempts": notice.num_attempts,
        "created_at": notice.created_at,
        "next_at": notice.next_at if notice.state == "waiting" else None,
        "sent_at": notice.sent_at,
        "error": notice.last_error,
        "happened_at": notice.data["timestamp"],
        "data": notice.data["data"],
    }


def _of(notice: Notice) -> str:
    """Which batch, work or channel it is about."""
    facts = notice.data["data"]
    match NoticeKind(notice.kind):
        case NoticeKind.BATCH_READY:
            return str(facts["batch"]["id"])
        case NoticeKind.DELIVERY_FAILED:
            return f"{facts['artwork']['id']} to {facts['delivery']['channel']}"
        case NoticeKind.CHANNEL_STOPPED:
            return str(facts["channel"])
        case NoticeKind.NOTHING_APPROVED:
            return f"for {facts['days']} days"


def _how_it_fared(notice: Notice, now: datetime) -> str:
    error = f": {notice.last_error}" if notice.last_error else ""
    if notice.state == "waiting":
        again = f", next try {local_time(notice.next_at, now)}" if notice.num_attempts else ""
        return f"waiting{again}{error}"
    return f"{notice.state.replace('_', ' ')}{error}"

"""`artbot publish`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from artbot.cli.common import (
    busy_words,
    json_option,
    print_json,
    say,
    with_workplace,
)
from artbot.cli.stopping import stop_requests
from artbot.domain.delivery import delivery_words
from artbot.errors import WorkerBusy
from artbot.telling import at_words, local_time, zone_named, zone_words
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.publishing.notices import NoticeFared
    from artbot.publishing.outbox import Sent
    from artbot.status import Status

SENDS_BY_ITSELF = "It sends what is due by itself: there is nothing to do."


@click.command("publish")
@json_option
@click.pass_context
@with_workplace
def publish_command(workplace: Workplace, context: click.Context, as_json: bool) -> None:
    """Send every delivery that is due, once. What the daemon does by itself; for use without one.

    Afterwards it tells what has happened: webhooks with `notices`, and you, if there are [alerts].
    Exit code 1 if one of them did not arrive, or if the daemon is at work: it sends them itself.
    """
    from artbot.publishing.notices import note, tell_due
    from artbot.publishing.outbox import deliver_due

    sent: list[Sent] = []

    def tell(one: Sent) -> None:
        sent.append(one)
        if not as_json:
            again = (
                f"; next try {local_time(one.next_at, workplace.clock())}" if one.next_at else ""
            )
            detail = f" ({one.detail})" if one.detail else ""
            say(f"{one.work} to {one.channel}: {delivery_words(one.state)}{detail}{again}")
        workplace.keep_working()

    def told(one: NoticeFared) -> None:
        if not as_json:
            state = one.state.replace("_", " ")
            detail = f" ({one.detail})" if one.detail else ""
            say(f"{one.kind} to {one.recipient}: {state}{detail}")

    outbox = workplace.outbox
    workplace.check_clock()
    with stop_requests(lambda: say("stopping after this delivery …")) as should_stop:
        try:
            with workplace.work("publish"):
                workplace.keep_working()
                deliver_due(outbox, tell, should_stop)
                note(workplace.notices)
                tell_due(workplace.notices, told, should_stop)
        except WorkerBusy as busy:
            raise WorkerBusy(busy_words(busy, SENDS_BY_ITSELF)) from busy
        stopped = should_stop()
    if as_json:
        print_json([vars(one) for one in sent])
    elif not sent:
        from artbot.status import read_status

        say(what_waits(read_status(workplace), workplace.clock()))
    if stopped:
        context.exit(130)
    if any(one.state != "delivered" for one in sent):
        context.exit(1)


def what_waits(status: Status, now: datetime) -> str:
    """Said where nothing was sent."""
    if status.num_waiting and status.next_delivery_at is None:
        stopped = ", ".join(status.stopped_channels)
        return f"{status.num_waiting} waiting for a channel that is stopped ({stopped}): artbot channels list"
    if status.next_delivery_at is None:
        on_hold = f" {status.num_on_hold} on hold: artbot queue." if status.num_on_hold else ""
        return f"nothing is due: nothing approved is waiting to go out.{on_hold}"
    at, zone = status.next_delivery_at, zone_named(status.next_delivery_timezone)
    if at <= now:
        return f"nothing was due when this began, {status.num_due} by now: artbot publish"
    when = at_words(at, now, zone) + zone_words(at, zone)
    return f"nothing is due yet: {status.num_waiting} waiting, the next goes out {when}."

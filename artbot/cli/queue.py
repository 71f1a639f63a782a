"""`artbot queue`, and `artbot queue move | hold | release | now`."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from artbot.cli.channels import check_known
from artbot.cli.common import (
    json_option,
    print_json,
    say,
    this_actor,
    with_workplace,
)
from artbot.cli.deliveries import (
    do_each,
    facts,
    numbers_argument,
    reason_option,
    retry_command,
)
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import DeliveryState, counted
from artbot.domain.slots import TIMES, Moment, Turn, moment_of, parse_when
from artbot.domain.text import plain, shortened
from artbot.errors import UsageError
from artbot.telling import local_time, zone_of, zone_words
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.publishing.queue import ChannelQueue, Entry
    from db.models import Delivery

SHOWN_DAYS = 14
SHOWN_LATER = 10
"""So many works that go out later than that, of each channel."""
FREE = "· free"

Row = tuple[str, Sequence[str]]
"""The day it stands under, and its columns."""


@click.group("queue", invoke_without_command=True)
@click.option(
    "--days", type=click.IntRange(1, 366), default=SHOWN_DAYS, show_default=True, help="How far."
)
@click.option("--channel", "names", multiple=True, metavar="NAME", help="Only this one.")
@json_option
@click.pass_context
def queue_command(context: click.Context, days: int, names: tuple[str, ...], as_json: bool) -> None:
    """What goes out when: every slot of the next days, with its work or free.

    Slots stand in artbot.toml: `slots = ["mon,thu 18:30"]` and `timezone = "Europe/Berlin"` under a
    channel. Through a channel without slots works go out at once. The number before a work is its delivery's,
    which move, hold, release and now take.
    """
    if context.invoked_subcommand is None:
        context.invoke(_show, days=days, names=names, as_json=as_json)


@with_workplace
def _show(workplace: Workplace, days: int, names: tuple[str, ...], as_json: bool) -> None:
    from artbot.publishing.channels import timetables
    from artbot.publishing.queue import read_queue
    from artbot.upkeep.needs import waiting_for_no_channel

    for name in names:
        check_known(workplace, name)
    now = workplace.clock()
    queues = read_queue(
        workplace.database,
        names or list(workplace.settings.channels),
        timetables(workplace.settings),
        now,
        days,
    )
    if as_json:
        print_json([_facts_of(queue, workplace) for queue in queues])
        return
    if not queues:
        say("no channels: add a [channels.NAME] table to artbot.toml")
    lost = {} if names else waiting_for_no_channel(workplace)
    for line in [*_days(queues, now), *_rest(queues, lost, now)]:
        click.echo(line)
    is_waiting = any(q.due or q.later or any(e.delivery for e in q.entries) for q in queues)
    if is_waiting and workplace.current_worker() is None:
        say(
            "no daemon is running: start `artbot daemon`, or send what is due with `artbot publish`"
        )


@queue_command.command("move")
@numbers_argument
@click.option(
    "--to",
    required=True,
    metavar="next|TIME",
    help=f"{TIMES}.",
)
@reason_option
@json_option
@with_workplace
def move_command(
    workplace: Workplace, numbers: tuple[int, ...], to: str, reason: str | None, as_json: bool
) -> None:
    """Give deliveries another time.

    That is the next free slot, or any time to come. A slot that is taken is refused.
    """
    from artbot.publishing.channels import timetables
    from artbot.publishing.queue import move
    from artbot.publishing.reading import get_delivery

    slots, actor, wanted = timetables(workplace.settings), this_actor(reason), _parse_time(to)

    def act(number: int) -> Delivery:
        now, at = workplace.clock(), None
        if wanted is not None:
            zone = zones(get_delivery(workplace.database, number))
            at = _moment(wanted, zone, now)
        return move(workplace.database, slots, number, at, actor, now)

    zones = zone_of(workplace)
    do_each(workplace, numbers, act, as_json, done="moved", zone=zones)


@queue_command.command("hold")
@numbers_argument
@reason_option
@json_option
@with_workplace
def hold_command(
    workplace: Workplace, numbers: tuple[int, ...], reason: str | None, as_json: bool
) -> None:
    """Keep waiting deliveries back until they are released.

    Their slots are free again. To keep back everything that goes to a channel: artbot channels pause.
    """
    from artbot.publishing.queue import hold

    actor = this_actor(reason)
    do_each(
        workplace,
        numbers,
        lambda number: hold(workplace.database, number, actor, workplace.clock()),
        as_json,
        done="on_hold",
    )


@queue_command.command("release")
@numbers_argument
@reason_option
@json_option
@with_workplace
def release_command(
    workplace: Workplace, numbers: tuple[int, ...], reason: str | None, as_json: bool
) -> None:
    """Let deliveries go that are on hold.

    Each takes the slot it had, or if that is taken or past the next free one of its channel. Where there are no
    slots it goes out at once.
    """
    from artbot.publishing.channels import timetables
    from artbot.publishing.queue import release

    slots, actor = timetables(workplace.settings), this_actor(reason)
    do_each(
        workplace,
        numbers,
        lambda number: release(workplace.database, slots, number, actor, workplace.clock()),
        as_json,
        done="released",
        zone=zone_of(workplace),
    )


# "Send it now" is the same act, whatever kept the work back.
queue_command.add_command(retry_command, "now")


# Times


def _parse_time(text: str) -> Moment | None:
    """None: the next free slot. Raises UsageError."""
    try:
        when = parse_when(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if isinstance(when, Turn):
        if when == Turn.NOW:
            raise UsageError(
                "`move` gives a time to come. To send it now: artbot queue now DELIVERY"
            )
        return None
    return when


def _moment(wanted: Moment, zone: tzinfo | None, now: datetime) -> datetime:
    """Raises UsageError for a time that no clock will show."""
    try:
        return moment_of(wanted, zone, now)
    except ValueError as error:
        raise UsageError(str(error)) from error


# Showing


def _days(queues: Sequence[ChannelQueue], now: datetime) -> Iterator[str]:
    """What goes out in its time, day by day."""
    yield from _said_of_zones(queues, now)
    rows = sorted(
        ((_local(entry.at, queue), queue, entry) for queue in queues for entry in queue.entries),
        key=lambda row: (row[0].date(), row[2].at),
    )
    columns = [_columns(at, queue, entry) for at, queue, entry in rows]
    if len(queues) == 1:
        columns = [[first, *rest] for first, _, *rest in columns]
    widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
    for day, of_day in itertools.groupby(
        zip(rows, columns, strict=True), key=lambda row: row[0][0].date()
    ):
        year = "" if day.year == now.year else f" {day.year}"
        yield click.style(f"{day:%a %-d %b}{year}", bold=True)
        for (_, _, entry), cells in of_day:
            yield _fitted("  " + "  ".join(map(str.ljust, cells, widths)), entry)
    if rows:
        yield ""


def _columns(at: datetime, queue: ChannelQueue, entry: Entry) -> list[str]:
    delivery = entry.delivery
    if delivery is None:
        return [f"{at:%H:%M}", queue.channel, "", FREE, ""]
    title = shortened(plain(delivery.candidate.title or ""))
    note = ""
    if delivery.state == DeliveryState.RETRY_WAIT:
        note = " (tried again)"
    elif queue.timetable is not None and not entry.is_slot:
        note = " (outside the slots)"
    return [f"{at:%H:%M}", queue.channel, str(delivery.id), delivery.candidate.name, title + note]


def _fitted(line: str, entry: Entry) -> str:
    """One line of the terminal; a gap is faint."""
    line = line.rstrip()
    width = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and len(line) > width:
        line = line[: width - 1] + "…"
    return line if entry.delivery is not None else click.style(line, dim=True)


def _local(moment: datetime, queue: ChannelQueue) -> datetime:
    return moment.astimezone(queue.timetable.zone if queue.timetable else None)


def _said_of_zones(queues: Sequence[ChannelQueue], now: datetime) -> Iterator[str]:
    """Once for each zone in which it is another time than on this machine."""
    by_zone: dict[str, list[str]] = {}
    for queue in queues:
        if queue.timetable and _is_elsewhere(queue, now):
            by_zone.setdefault(str(queue.timetable.zone), []).append(queue.channel)
    for zone, names in by_zone.items():
        whose = "Times" if len(names) == len(queues) else f"Times of {', '.join(names)}"
        yield f"{whose} are those of {zone}."


def _is_elsewhere(queue: ChannelQueue, now: datetime) -> bool:
    zone = queue.timetable.zone if queue.timetable else None
    moments = (now, *(entry.at for entry in queue.entries))
    return any(zone_words(at, zone) for at in moments)


def _rest(
    queues: Sequence[ChannelQueue], lost: Mapping[str, Sequence[int]], now: datetime
) -> Iterator[str]:
    """What no day has: due, on hold, later, and channels that take nothing now. `lost`: what waits for channels
    that artbot.toml does not have."""
    from artbot.upkeep.needs import to_have_a_channel

    lines = [line for queue in queues for line in _rest_of(queue, now)]
    for name, numbers in lost.items():
        wait = f"{counted(len(numbers))} {'waits' if len(numbers) == 1 else 'wait'} for it"
        told = f"artbot.toml has no channel {name}, and {wait}: {to_have_a_channel(name, numbers)}"
        lines.append(("stopped", told))
    if not lines and not any(queue.entries for queue in queues) and queues:
        lines = [("", "nothing waits to go out")]
    for heading, line in sorted(lines, key=lambda each: _HEADINGS.index(each[0])):
        yield f"{heading:8}  {line}" if heading else line


_HEADINGS = ("", "due", "on hold", "later", "stopped")


def _rest_of(queue: ChannelQueue, now: datetime) -> Iterator[tuple[str, str]]:
    zone, name = queue.timetable.zone if queue.timetable else None, queue.channel
    for delivery in queue.due:
        since = local_time(delivery.next_at, now, zone)
        yield "due", f"{_of(delivery)}, since {since}"
    for delivery in queue.on_hold:
        last = delivery.interventions[-1] if delivery.interventions else None
        why = f": {plain(last.reason)}" if last and last.act == "hold" and last.reason else ""
        yield "on hold", f"{_of(delivery)}{why} (artbot queue release {delivery.id})"
    for delivery in queue.later[:SHOWN_LATER]:
        yield "later", f"{_of(delivery)}, {local_time(delivery.next_at, now, zone)}"
    if (rest := len(queue.later) - SHOWN_LATER) > 0:
        until = local_time(queue.later[-1].next_at, now, zone)
        yield "later", f"and {rest} more to {name}, until {until} (--days shows further)"
    standing = queue.standing
    held = f"; it holds {counted(queue.num_held)}" if queue.num_held else ""
    if standing is not None and standing.state != ChannelState.ACTIVE:
        why = f"{name} is {standing.state}: {shortened(standing.reason or '')}{held}"
        yield "stopped", f"{why} (artbot channels resume {name})"
    elif standing is not None and standing.rests_until and standing.rests_until > now:
        yield "stopped", f"{name} rests until {local_time(standing.rests_until, now)}{held}"
    elif held:
        yield "stopped", f"{counted(queue.num_held)} to {name} held (artbot deliveries list)"


def _of(delivery: Delivery) -> str:
    return f"{delivery.id}  {delivery.candidate.name} to {delivery.channel}"


def _facts_of(queue: ChannelQueue, workplace: Workplace) -> dict[str, Any]:
    settings = workplace.settings.channels[queue.channel]
    standing = queue.standing
    return {
        "channel": queue.channel,
        "slots": getattr(settings, "slots", ()),
        "timezone": str(queue.timetable.zone) if queue.timetable else None,
        "state": standing.state if standing else ChannelState.ACTIVE,
        "reason": standing.reason if standing else None,
        "rests_until": standing.rests_until if standing else None,
        "due": [_named(delivery) for delivery in queue.due],
        "entries": [
            {
                "at": entry.at,
                "is_slot": entry.is_slot,
                "delivery": _named(entry.delivery) if entry.delivery else None,
            }
            for entry in queue.entries
        ],
        "later": [_named(delivery) for delivery in queue.later],
        "on_hold": [_named(delivery) for delivery in queue.on_hold],
        "num_held": queue.num_held,
    }


def _named(delivery: Delivery) -> dict[str, Any]:
    return facts(delivery) | {"title": delivery.candidate.title}

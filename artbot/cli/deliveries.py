"""`artbot deliveries list | show | retry | resolve | withdraw | replay`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

import click

from artbot.cli.common import (
    json_option,
    print_json,
    say,
    this_actor,
    with_workplace,
)
from artbot.domain.candidate import CandidateState
from artbot.domain.delivery import WAITING
from artbot.domain.text import shortened
from artbot.errors import ArtbotError, NotAllowed, UsageError
from artbot.telling import due_words, goes_out_words, kept_by, local_time, state_words, zone_of
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Delivery

numbers_argument = click.argument("numbers", metavar="DELIVERY…", type=int, nargs=-1, required=True)
reason_option = click.option("--reason", help="Why, for the log.")


class LocalTime(click.DateTime):
    """A moment by this machine's clock, without a zone."""

    name = "time"

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            moment: datetime = super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(
                f"{value!r} is no time. Write one like 2026-11-21 or 2026-11-21T07:00.", param, ctx
            )
        return moment


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
    from artbot.domain.delivery import SETTLED, DeliveryState
    from artbot.publishing.reading import list_deliveries

    states = [state for state in DeliveryState if everything or state not in SETTLED]
    rows = list_deliveries(workplace.database, states, limit)
    if as_json:
        print_json([facts(row) for row in rows])
        return
    if not rows:
        say(
            "no deliveries"
            if everything
            else "nothing is on its way (`--all` shows what has arrived)"
        )
        return
    now, keeper, zone = workplace.clock(), kept_by(workplace), zone_of(workplace)
    lines = [("", "work", "channel", "state", "when", "")]
    for row in rows:
        kept = keeper(row)
        when, why = "-", [f"waits: {kept}" if kept else "", shortened(row.last_error or "")]
        if row.state in WAITING:
            when = "-" if kept else due_words(row.next_at, now, zone(row))
        elif row.delivered_at:
            when = local_time(row.delivered_at, now)
        told = "; ".join(filter(None, why))
        lines.append((str(row.id), row.candidate.name, row.channel, state_words(row), when, told))
    longest = max(len(line[4]) for line in lines)
    for number, work, channel, state, when, told in lines:
        columns = f"{number:>5}  {work:28}  {channel:16}  {state:11}  {when:>{longest}}  {told}"
        click.echo(columns.rstrip())
    say_what_helps(rows)


@deliveries_command.command("show")
@click.argument("number", metavar="DELIVERY", type=int)
@json_option
@with_workplace
def show_command(workplace: Workplace, number: int, as_json: bool) -> None:
    """One delivery: every attempt, and what people did about it."""
    from artbot.publishing.reading import get_delivery

    row = get_delivery(workplace.database, number)
    if as_json:
        print_json(facts(row) | _history(row))
        return
    now = workplace.clock()
    click.echo(f"{row.id}: {row.candidate.name} to {row.channel}, {state_words(row)}")
    click.echo(f"  key       {row.delivery_key}")
    if kept := kept_by(workplace)(row):
        click.echo(f"  waits     {kept}")
    elif row.state in WAITING:
        click.echo(f"  next try  {due_words(row.next_at, now, zone_of(workplace)(row))}")
    if row.delivered_at:
        click.echo(f"  delivered {local_time(row.delivered_at, now)}")
    if row.remote_url:
        click.echo(f"  seen at   {row.remote_url}")
    if row.last_error:
        click.echo(f"  why       {row.last_error}")
    if row.on_hold and row.state not in WAITING:
        click.echo(f"  on hold   until artbot queue release {row.id}")
    for line in _story(row, now):
        click.echo(line)
    say_what_helps([row])


@deliveries_command.command("retry")
@numbers_argument
@reason_option
@json_option
@with_workplace
def retry_command(
    workplace: Workplace, numbers: tuple[int, ...], reason: str | None, as_json: bool
) -> None:
    """Make held, failed, dead or waiting deliveries due now, undo time or not, on hold or not.

    Refused while their channel is paused, or not in artbot.toml: that is mended first.

    The receiver sees the same id as before. One that was given up has all its attempts before it again.
    """
    from artbot.publishing.interventions import retry

    actor = this_actor(reason)

    def act(number: int) -> Delivery:
        _check_has_its_channel(workplace, number)
        return retry(workplace.database, number, actor, workplace.clock())

    do_each(workplace, numbers, act, as_json, done="due")


def _check_has_its_channel(workplace: Workplace, number: int) -> None:
    """Raises UsageError (no such delivery), NotAllowed: artbot.toml has lost its channel."""
    from artbot.publishing.reading import get_delivery
    from artbot.upkeep.needs import to_have_a_channel

    name = get_delivery(workplace.database, number).channel
    if name not in workplace.settings.channels:
        raise NotAllowed(
            f"artbot.toml has no channel {name}, for which delivery {number} is: "
            f"{to_have_a_channel(name, [number])}"
        )


@deliveries_command.command("resolve")
@numbers_argument
@click.option("--posted/--absent", "was_posted", default=None, help="It was posted, or it was not.")
@click.option("--url", help="Where it can be seen (with --posted).")
@reason_option
@json_option
@with_workplace
def resolve_command(
    workplace: Workplace,
    numbers: tuple[int, ...],
    was_posted: bool | None,
    url: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Say of uncertain deliveries what you found when you looked at the channel.

    --posted: it is there; the delivery is done. --absent: it is not; it is sent, now or at the channel's next
    free slot. An attempt less than 15 minutes old may still take effect, so --absent waits for that.
    """
    from artbot.publishing.channels import timetables
    from artbot.publishing.interventions import resolve

    if was_posted is None:
        raise UsageError("look at the channel, then say --posted or --absent.")
    if url and not was_posted:
        raise UsageError("--url goes with --posted.")
    if not was_posted:
        workplace.check_clock()  # the fifteen minutes are of a clock that is believed
    actor = this_actor(reason)
    slots = timetables(workplace.settings)
    do_each(
        workplace,
        numbers,
        lambda number: resolve(
            workplace.database, number, was_posted, url, actor, workplace.clock(), slots
        ),
        as_json,
        done="resolved",
        words="is done" if was_posted else None,
    )


@deliveries_command.command("withdraw")
@numbers_argument
@reason_option
@json_option
@with_workplace
def withdraw_command(
    workplace: Workplace, numbers: tuple[int, ...], reason: str | None, as_json: bool
) -> None:
    """Cancel deliveries that nobody can have received; the work stays approved for its other channels.

    To take the whole approval back: artbot undo.
    """
    from artbot.publishing.interventions import withdraw

    actor = this_actor(reason)
    do_each(
        workplace,
        numbers,
        lambda number: withdraw(workplace.database, number, actor, workplace.clock()),
        as_json,
        done="withdrawn",
        words="is withdrawn",
    )


@deliveries_command.command("replay")
@click.option("--channel", required=True, metavar="NAME")
@click.option(
    "--since",
    required=True,
    type=LocalTime(),
    help="2026-11-21 or 2026-11-21T07:00, by this machine's clock.",
)
@reason_option
@json_option
@with_workplace
def replay_command(
    workplace: Workplace, channel: str, since: datetime, reason: str | None, as_json: bool
) -> None:
    """Send a channel once more what it was delivered since then, under the same ids.

    For a receiver that lost what it had; one that still has it recognises the ids. Refused for channels
    that would show the works a second time.
    """
    from artbot.publishing.channels import protections
    from artbot.publishing.interventions import replay

    try:
        since_utc = since.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"--since {since.date()}: there is no such time in UTC. Write one like 2026-11-21."
        ) from error
    rows = replay(
        workplace.database,
        channel,
        protections(workplace.settings),
        since_utc,
        this_actor(reason),
        workplace.clock(),
    )
    if as_json:
        print_json({"due": [facts(row) for row in rows]})
        return
    kept = kept_by(workplace)(rows[0]) if rows else None
    how = f"are to be sent again, but wait: {kept}" if kept else "are due again"
    say(f"{len(rows)} delivered to {channel} since {since:%Y-%m-%d %H:%M} {how}")
    _say_who_sends(workplace, rows)


def do_each(
    workplace: Workplace,
    numbers: tuple[int, ...],
    act: Callable[[int], Delivery],
    as_json: bool,
    *,
    done: str,
    words: str | None = None,
    zone: Callable[[Delivery], tzinfo | None] = lambda delivery: None,
) -> None:
    """Act on each; one that refuses keeps nobody else from it. `words`: what is said of one that is done; None:
    when it goes out, by the clock of its `zone` (None: this machine's)."""
    rows: list[Delivery] = []
    errors: list[tuple[int, ArtbotError]] = []
    for number in dict.fromkeys(numbers):
        try:
            rows.append(act(number))
        except ArtbotError as error:
            errors.append((number, error))
    if as_json:
        failed = [{"id": number, "error": str(error)} for number, error in errors]
        print_json({done: [facts(row) for row in rows], "errors": failed})
    else:
        keeper, now = kept_by(workplace), workplace.clock()
        for row in rows:
            kept = keeper(row)
            how = f"waits: {kept}" if kept else words or _when_it_goes(row, now, zone(row))
            say(f"{row.id}: {row.candidate.name} to {row.channel} {how}")
        for _, refusal in errors:
            say(f"Error: {refusal}")
        _say_who_sends(workplace, rows)
    if errors:
        raise SystemExit(errors[0][1].exit_code)


def _when_it_goes(row: Delivery, now: datetime, zone: tzinfo | None) -> str:
    if row.next_at <= now:
        return "is due now"
    return f"goes out {goes_out_words(row, now, zone)}"


def _say_who_sends(workplace: Workplace, rows: list[Delivery]) -> None:
    keeper = kept_by(workplace)
    going = [row.next_at for row in rows if row.state in WAITING and keeper(row) is None]
    if not going or workplace.current_worker() is not None:
        return
    if min(going) <= workplace.clock():
        say("no daemon is running: send it with `artbot publish`")
    else:
        say("no daemon is running: start `artbot daemon`, or send it then with `artbot publish`")


def say_what_helps(rows: list[Delivery]) -> None:
    """The next command for each kind of trouble."""
    by_state: dict[str, list[str]] = {}
    for row in rows:
        by_state.setdefault(row.state, []).append(str(row.id))
    if failed := by_state.get("failed", []) + by_state.get("dead", []):
        say(f"when the cause is mended: artbot deliveries retry {' '.join(failed)}")
    if uncertain := by_state.get("uncertain"):
        say(
            "look whether it was posted, then: artbot deliveries resolve "
            f"{' '.join(uncertain)} --posted (or --absent)"
        )
    held = [row for row in rows if row.state == "held"]
    pictureless = {
        row.candidate_id: row.candidate.name
        for row in held
        if row.candidate.state == CandidateState.QUARANTINED
    }
    for channel in sorted({row.channel for row in held if row.candidate_id not in pictureless}):
        say(f"when {channel} is mended: artbot channels resume {channel}")
    for number, name in sorted(pictureless.items()):
        say(f"{name} waits for its picture: artbot reproduce {number} --restore")


def _story(row: Delivery, now: datetime) -> list[str]:
    """Attempts and interventions in the order they happened."""
    lines = []
    for attempt in row.attempts:
        how = attempt.outcome or "on the wire"
        status = f" {attempt.status}" if attempt.status else ""
        detail = f": {attempt.detail}" if attempt.detail else ""
        what = f"attempt, {how}{status}{detail}"
        lines.append((attempt.started_at, what))
    for entry in row.interventions:
        why = f": {entry.reason}" if entry.reason else ""
        moved = f" ({entry.was} → {entry.now})" if entry.now != entry.was else ""
        lines.append((entry.at, f"{entry.act} by {entry.by}{moved}{why}"))
    return [f"  {local_time(at, now):>16}  {what}" for at, what in sorted(lines)]


def facts(row: Delivery) -> dict[str, Any]:
    return {
        "id": row.id,
        "candidate_id": row.candidate_id,
        "work": row.candidate.name,
        "channel": row.channel,
        "state": row.state,
        "delivery_key": row.delivery_key,
        "num_attempts": row.num_attempts,
        "next_at": row.next_at,
        "on_hold": row.on_hold,
        "delivered_at": row.delivered_at,
        "remote_url": row.remote_url,
        "last_error": row.last_error,
    }


def _history(row: Delivery) -> dict[str, Any]:
    return {
        "attempts": [
            {
                "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
                "outcome": attempt.outcome,
                "status": attempt.status,
                "detail": attempt.detail,
                "body_sha256": attempt.body_sha256,
                "epoch": attempt.epoch,
            }
            for attempt in row.attempts
        ],
        "interventions": [
            {
                "at": entry.at,
                "act": entry.act,
                "was": entry.was,
                "now": entry.now,
                "reason": entry.reason,
                "by": entry.by,
                "via": entry.via,
            }
            for entry in row.interventions
        ],
    }

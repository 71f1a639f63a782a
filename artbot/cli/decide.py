"""`artbot approve`, `artbot reject`, `artbot undo`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from artbot.cli.common import (
    candidate_facts,
    json_option,
    local_time,
    print_json,
    say,
    this_author,
    with_workplace,
)
from artbot.errors import ArtbotError, UsageError
from artbot.redaction import redact
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Candidate

_IDS = click.argument("ids", metavar="ID…", type=int, nargs=-1, required=True)


@click.command("approve")
@_IDS
@click.option("--title", help="Its title.  [default: the draft in [texts]]")
@click.option("--alt", help="Text for people who do not see the picture.  [default: the draft]")
@click.option("--caption", help="What stands beside it.  [default: the draft]")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="NAME",
    help="Only there; may be repeated.  [default: every channel]",
)
@json_option
@with_workplace
def approve_command(
    workplace: Workplace,
    ids: tuple[int, ...],
    title: str | None,
    alt: str | None,
    caption: str | None,
    channels: tuple[str, ...],
    as_json: bool,
) -> None:
    """Approve candidates: each will be published once on every channel, after the undo time."""
    from artbot.review.decisions import Words, approve

    if len(ids) > 1 and (title is not None or alt is not None):
        raise UsageError("--title and --alt describe one picture: approve the others separately.")
    words, author = Words(title, alt, caption), this_author()
    decided = _each(
        ids, lambda number: approve(workplace.review, number, author, words, channels or None)
    )

    def tell(candidate: Candidate) -> str:
        now = workplace.clock()
        deliveries = candidate.deliveries
        if not deliveries:
            return f"{candidate.id} ({candidate.name}) is approved. No channel is configured, so it goes nowhere."
        going = [
            f"{d.channel} {'now' if d.next_at <= now else 'at ' + local_time(d.next_at, now)}"
            if d.state in ("queued", "retry_wait")
            else f"{d.channel}: {d.state}"
            for d in deliveries
        ]
        return f"{candidate.id} ({candidate.name}) is approved: {', '.join(going)}"

    _finish(workplace, decided, tell, as_json)
    if decided.done and not as_json:
        _hint_how_it_goes_out(workplace, decided.done)


@click.command("reject")
@_IDS
@json_option
@with_workplace
def reject_command(workplace: Workplace, ids: tuple[int, ...], as_json: bool) -> None:
    """Reject candidates. Nothing is deleted, and `artbot undo ID` brings them back."""
    from artbot.review.decisions import reject

    author = this_author()
    decided = _each(ids, lambda number: reject(workplace.review, number, author))
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) is rejected", as_json)


@click.command("undo")
@click.argument("ids", metavar="[ID…]", type=int, nargs=-1)
@json_option
@with_workplace
def undo_command(workplace: Workplace, ids: tuple[int, ...], as_json: bool) -> None:
    """Take back the last decision, or the last one on each ID.

    Again and again takes back the ones before. A work that has gone out, or may have, stays approved.
    """
    from artbot.review.decisions import undo

    author = this_author()
    wanted: tuple[int | None, ...] = ids or (None,)
    decided = _each(wanted, lambda number: undo(workplace.review, number, author))
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) is {c.state} again", as_json)


class _Decided:
    """What became of each id."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.errors: list[tuple[int | None, ArtbotError]] = []


def _each(
    ids: tuple[int | None, ...] | tuple[int, ...], act: Callable[[Any], Candidate]
) -> _Decided:
    """Decide each for itself: one that cannot be decided does not hold up the others."""
    decided = _Decided()
    for number in dict.fromkeys(ids):
        try:
            decided.done.append(act(number).id)
        except ArtbotError as error:
            decided.errors.append((number, error))
    return decided


def _finish(
    workplace: Workplace, decided: _Decided, tell: Callable[[Candidate], str], as_json: bool
) -> None:
    """Show what was decided, then what could not be; ends with the first error's exit code."""
    from artbot.review.reading import get_candidate

    candidates = [get_candidate(workplace.database, number) for number in decided.done]
    if as_json:
        print_json(
            {
                "decided": [candidate_facts(candidate, workplace) for candidate in candidates],
                "errors": [
                    {"id": number, "error": redact(str(error))} for number, error in decided.errors
                ],
            }
        )
    else:
        for candidate in candidates:
            say(tell(candidate))
        for _, error in decided.errors:
            say(f"Error: {redact(str(error))}")
    if decided.errors:
        raise SystemExit(decided.errors[0][1].exit_code)


def _hint_how_it_goes_out(workplace: Workplace, ids: list[int]) -> None:
    if not workplace.settings.channels:
        return
    undo_minutes = workplace.settings.publishing.undo_minutes
    if undo_minutes:
        say(f"until then: artbot undo {' '.join(str(number) for number in ids)}")
    if workplace.current_worker() is None:
        say(
            "no daemon is running: start `artbot daemon`, or send what is due with `artbot publish`"
        )

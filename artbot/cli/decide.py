"""`artbot approve`, `artbot reject`, `artbot undo`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING

import click

from artbot.cli.common import (
    candidate_facts,
    goes_out_words,
    json_option,
    kept_by,
    print_json,
    say,
    state_words,
    this_author,
    with_workplace,
    zone_of,
)
from artbot.domain.delivery import WAITING
from artbot.errors import ArtbotError, UsageError
from artbot.redaction import redact
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Candidate, Delivery

_IDS = click.argument("ids", metavar="ID…", nargs=-1, required=True)


@click.command("approve")
@_IDS
@click.option("--title", help="Its title.  [default: the draft in [texts]]")
@click.option("--alt", help="Text for people who do not see the picture.  [default: the draft]")
@click.option("--caption", help="What stands beside it.  [default: the draft]")
@click.option("--hashtags", help='Separated by spaces: "flowers generative".  [default: [texts]]')
@click.option("--warning", help="What people should know before they see it.  [default: [texts]]")
@click.option("--language", help="Of these words: en, de, pt-BR.  [default: [texts]]")
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
    ids: tuple[str, ...],
    title: str | None,
    alt: str | None,
    caption: str | None,
    hashtags: str | None,
    warning: str | None,
    language: str | None,
    channels: tuple[str, ...],
    as_json: bool,
) -> None:
    """Approve candidates: each will be published once on every channel, after the undo time, or at the next
    free slot of the channel's queue."""
    from artbot.review.decisions import Words, approve

    if len(ids) > 1 and (title is not None or alt is not None):
        raise UsageError("--title and --alt describe one picture: approve the others separately.")
    words = Words(title, alt, caption, hashtags, warning, language)
    author = this_author()
    decided = _each(
        workplace,
        ids,
        lambda number: approve(workplace.review, number, author, words, channels or None),
    )

    keeper, zone = kept_by(workplace), zone_of(workplace)

    def tell(candidate: Candidate) -> str:
        if not candidate.deliveries:
            return (
                f"{candidate.id} ({candidate.name}) is approved. No channel is configured, so it goes "
                f"nowhere yet: once there is one, `artbot approve {candidate.id}` again sends it."
            )
        going = [_going(d, keeper(d), zone(d), workplace) for d in candidate.deliveries]
        return f"{candidate.id} ({candidate.name}) is approved: {'; '.join(going)}"

    _finish(workplace, decided, tell, as_json)
    if not as_json:
        _hint_how_it_goes_out(workplace, decided.done, keeper)


def _going(
    delivery: Delivery, keeper: str | None, zone: tzinfo | None, workplace: Workplace
) -> str:
    """Where a delivery of a work that was just approved goes, and when."""
    if delivery.state not in WAITING:
        return f"{delivery.channel}: {state_words(delivery)}"
    if keeper is not None:
        return f"waits: {keeper}"
    return f"{delivery.channel} {goes_out_words(delivery, workplace.clock(), zone)}"


@click.command("reject")
@_IDS
@json_option
@with_workplace
def reject_command(workplace: Workplace, ids: tuple[str, ...], as_json: bool) -> None:
    """Reject candidates. Nothing is deleted, and `artbot undo ID` brings them back."""
    from artbot.review.decisions import reject

    author = this_author()
    decided = _each(workplace, ids, lambda number: reject(workplace.review, number, author))
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) is rejected", as_json)


@click.command("undo")
@click.argument("ids", metavar="[ID…]", nargs=-1)
@json_option
@with_workplace
def undo_command(workplace: Workplace, ids: tuple[str, ...], as_json: bool) -> None:
    """Take back the last decision, or the last one on each ID.

    Again and again takes back the ones before. A work that has gone out, or may have, stays approved.
    """
    from artbot.review.decisions import undo

    author = this_author()
    if ids:
        decided = _each(workplace, ids, lambda number: undo(workplace.review, number, author))
    else:
        decided = _Decided(done=[undo(workplace.review, None, author).id])
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) is {c.state} again", as_json)


@dataclass
class _Decided:
    """What became of each candidate that was named."""

    done: list[int] = field(default_factory=list)
    errors: list[tuple[str, ArtbotError]] = field(default_factory=list)


def _each(workplace: Workplace, ids: tuple[str, ...], act: Callable[[int], Candidate]) -> _Decided:
    """Decide each for itself: one that cannot be decided does not hold up the others."""
    from artbot.review.reading import find_candidate

    decided = _Decided()
    for typed in dict.fromkeys(ids):
        try:
            decided.done.append(act(find_candidate(workplace.database, typed)).id)
        except ArtbotError as error:
            decided.errors.append((typed, error))
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
                    {"id": typed, "error": redact(str(error))} for typed, error in decided.errors
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


def _hint_how_it_goes_out(
    workplace: Workplace, ids: list[int], keeper: Callable[[Delivery], str | None]
) -> None:
    """How to take it back, and what sends it: only while something is waiting to be sent."""
    from artbot.review.reading import get_candidate

    now = workplace.clock()
    deliveries = [d for number in ids for d in get_candidate(workplace.database, number).deliveries]
    waiting = [delivery for delivery in deliveries if delivery.state in WAITING]
    if any(delivery.state == "queued" and delivery.next_at > now for delivery in waiting):
        say(f"until then: artbot undo {' '.join(str(number) for number in ids)}")
    if any(keeper(d) is None for d in waiting) and workplace.current_worker() is None:
        say(
            "no daemon is running: start `artbot daemon`, or send what is due with `artbot publish`"
        )

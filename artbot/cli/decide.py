"""`artbot approve`, `reject`, `later`, `star`, `undo`, `redo`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import TYPE_CHECKING

import click

from artbot.cli.common import (
    IDS_HELP,
    candidate_facts,
    json_option,
    print_json,
    say,
    this_author,
    with_workplace,
)
from artbot.domain.candidate import MOST_STARS, CandidateState, decision_words, stars_words
from artbot.domain.delivery import WAITING, DeliveryState
from artbot.domain.slots import TIMES, Turn, When, parse_when
from artbot.errors import ArtbotError, UsageError
from artbot.redaction import redact
from artbot.telling import goes_out_words, kept_by, state_words, zone_of
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Candidate, Delivery

_IDS = click.argument("ids", metavar="ID…", nargs=-1, required=True)


@click.command("approve", epilog=IDS_HELP)
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
@click.option(
    "--at",
    default="next",
    show_default=True,
    metavar="next|now|TIME",
    help=f"When it goes out on all of them: now, {TIMES}.",
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
    at: str,
    as_json: bool,
) -> None:
    """Approve candidates: each will be published once on every channel, after the undo time, or at the next
    free slot of the channel's queue. With --at: when you say."""
    from artbot.review.decisions import Words, approve

    when, author = _when(at), this_author()
    words = Words(title, alt, caption, hashtags, warning, language)
    meant = _meant(workplace, ids)
    _check_one_picture(meant, {"--title": title, "--alt": alt})
    decided = _each(
        meant,
        lambda number: approve(workplace.review, number, author, words, channels or None, when),
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


def _when(text: str) -> When:
    try:
        return parse_when(text)
    except ValueError as error:
        raise UsageError(f"{error} Or: {Turn.NOW}.") from error


def _check_one_picture(meant: _Meant, options: dict[str, str | None]) -> None:
    """Raises UsageError for several pictures that would get the same words."""
    given = " and ".join(option for option, text in options.items() if text is not None)
    if given and len(meant.numbers) > 1:
        verb = "describe" if " and " in given else "describes"
        raise UsageError(
            f"{given} {verb} one picture, and these are {len(meant.numbers)}: approve each separately."
        )


@click.command("reject", epilog=IDS_HELP)
@_IDS
@json_option
@with_workplace
def reject_command(workplace: Workplace, ids: tuple[str, ...], as_json: bool) -> None:
    """Reject candidates. Nothing is deleted, and `artbot undo ID` brings them back."""
    from artbot.review.decisions import reject

    author = this_author()
    meant = _meant(workplace, ids)
    decided = _each(meant, lambda number: reject(workplace.review, number, author))
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) is rejected", as_json)


@click.command("later", epilog=IDS_HELP)
@_IDS
@json_option
@with_workplace
def later_command(workplace: Workplace, ids: tuple[str, ...], as_json: bool) -> None:
    """Put candidates off: you have looked, and decide another time.

    `artbot review` lists them after those nobody has looked at. They are approved and rejected as all others.
    """
    from artbot.review.decisions import put_off

    author = this_author()
    meant = _meant(workplace, ids)
    decided = _each(meant, lambda number: put_off(workplace.review, number, author))
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) is put off until later", as_json)


@click.command("star", epilog=IDS_HELP)
@_IDS
@click.option(
    "--stars",
    type=click.IntRange(0, MOST_STARS),
    required=True,
    help="So many; 0 takes them away.",
)
@json_option
@with_workplace
def star_command(workplace: Workplace, ids: tuple[str, ...], stars: int, as_json: bool) -> None:
    """Give candidates stars, for yourself: they decide nothing, and are not published."""
    from artbot.review.decisions import give_stars

    author = this_author()
    meant = _meant(workplace, ids)
    decided = _each(meant, lambda number: give_stars(workplace.review, number, stars, author))
    _finish(workplace, decided, lambda c: f"{c.id} ({c.name}) has {stars_words(c.stars)}", as_json)


@click.command("undo", epilog=IDS_HELP)
@click.argument("ids", metavar="[ID…]", nargs=-1)
@json_option
@with_workplace
def undo_command(workplace: Workplace, ids: tuple[str, ...], as_json: bool) -> None:
    """Take back the last decision, or the last one on each ID.

    Again and again takes back the ones before. A work that has gone out, or may have, stays approved. What was
    taken back by mistake comes again with `artbot redo`.
    """
    from artbot.review.decisions import undo

    author = this_author()
    if ids:
        meant = _meant(workplace, ids)
        decided = _each(meant, lambda number: undo(workplace.review, number, author))
    else:
        decided = _Decided(done=[undo(workplace.review, None, author).id])
    _finish(workplace, decided, _again, as_json)


@click.command("redo", epilog=IDS_HELP)
@click.argument("ids", metavar="[ID…]", nargs=-1)
@json_option
@with_workplace
def redo_command(workplace: Workplace, ids: tuple[str, ...], as_json: bool) -> None:
    """Take back the last undo, or the last one on each ID, while nothing else was decided since.

    Again and again takes back the undos before. An approval comes back with its words, its channels and the times
    that you gave it, where they are still to come and free; else it takes the next free slot.
    """
    from artbot.review.decisions import redo

    author = this_author()
    if ids:
        meant = _meant(workplace, ids)
        decided = _each(meant, lambda number: redo(workplace.review, number, author))
    else:
        decided = _Decided(done=[redo(workplace.review, None, author).id])
    keeper, zone = kept_by(workplace), zone_of(workplace)

    def tell(candidate: Candidate) -> str:
        last = candidate.decisions[-1]
        if last.was == last.now or candidate.state != CandidateState.APPROVED:
            return _again(candidate)
        going = [
            _going(delivery, keeper(delivery), zone(delivery), workplace)
            for delivery in candidate.deliveries
            if delivery.state != DeliveryState.CANCELLED
        ]
        return f"{_again(candidate)}: {'; '.join(going) or 'it goes nowhere'}"

    _finish(workplace, decided, tell, as_json)


def _again(candidate: Candidate) -> str:
    """After something was taken back."""
    last = candidate.decisions[-1]
    verb = "has" if last.was == last.now else "is"
    what = decision_words(last.was, last.now, last.stars)
    return f"{candidate.id} ({candidate.name}) {verb} {what} again"


@dataclass
class _Meant:
    """What a person named."""

    numbers: dict[int, str] = field(default_factory=dict)
    """Of the candidates, each with what it is called in a message."""
    errors: list[tuple[str, ArtbotError]] = field(default_factory=list)
    """What means none."""


@dataclass
class _Decided:
    """What became of each candidate that was named."""

    done: list[int] = field(default_factory=list)
    errors: list[tuple[str, ArtbotError]] = field(default_factory=list)


def _meant(workplace: Workplace, ids: tuple[str, ...]) -> _Meant:
    from artbot.review.reading import find_candidates, split_typed

    meant = _Meant()
    for typed in split_typed(ids):
        try:
            found = find_candidates(workplace.database, typed)
        except ArtbotError as error:
            meant.errors.append((typed, error))
            continue
        for number in found:
            meant.numbers.setdefault(number, typed if len(found) == 1 else str(number))
    return meant


def _each(meant: _Meant, act: Callable[[int], Candidate]) -> _Decided:
    """Decide each for itself: one that cannot be decided does not hold up the others."""
    decided = _Decided(errors=list(meant.errors))
    for number, typed in meant.numbers.items():
        try:
            decided.done.append(act(number).id)
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

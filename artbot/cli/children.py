"""`artbot vary`, `artbot breed`, `artbot family`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from artbot.cli.batch import make_all
from artbot.cli.common import (
    busy_words,
    candidate_facts,
    id_argument,
    json_option,
    print_json,
    say,
    the_one,
    with_workplace,
)
from artbot.cli.stopping import stop_requests
from artbot.domain.candidate import CandidateState
from artbot.errors import RenderFailed, UsageError, WorkerBusy
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.studio.family import Relative
    from db.models import Candidate

_PAINT = "artbot daemon --once"


@click.command("vary")
@id_argument
@click.option(
    "--strength",
    type=click.Choice(["subtle", "strong"]),
    default="subtle",
    show_default=True,
    help="How far from the picture.",
)
@click.option("--count", type=int, default=4, show_default=True, help="How many.")
@json_option
@click.pass_context
@with_workplace
def vary_command(
    workplace: Workplace,
    context: click.Context,
    typed: tuple[str, ...],
    strength: str,
    count: int,
    as_json: bool,
) -> None:
    """More like this: variations of a candidate, painted by the same generator.

    They join its batch and wait for your decision like all others. While the daemon runs, it paints
    them; else this command does. Asked again, it paints other ones.
    """
    from artbot.studio.children import Strength, vary

    parent = the_one(workplace, typed)
    children = vary(workplace.studio, parent, Strength(strength), count)
    _have_painted(workplace, context, children, f"{strength} variations of {parent}", as_json)


@click.command("breed")
@click.argument("typed", metavar="ID ID", nargs=-1, required=True)
@json_option
@click.pass_context
@with_workplace
def breed_command(
    workplace: Workplace, context: click.Context, typed: tuple[str, ...], as_json: bool
) -> None:
    """Three pictures between two candidates of one generator: one takes after each, one is midway.

    They join the batch of the first. While the daemon runs, it paints them; else this command does.
    Two have these three only: asked again, it shows them.
    """
    from artbot.review.reading import find_candidates, split_typed
    from artbot.studio.children import breed

    meant = [n for each in split_typed(typed) for n in find_candidates(workplace.database, each)]
    if len(meant) != 2:
        raise UsageError(f"breed takes two works, and {' '.join(typed)} means {len(meant)}.")
    one, other = meant
    children = breed(workplace.studio, one, other)
    _have_painted(workplace, context, children, f"children of {one} and {other}", as_json)


def _have_painted(
    workplace: Workplace,
    context: click.Context,
    planned: list[Candidate],
    what: str,
    as_json: bool,
) -> None:
    """Paint what is not painted yet, or leave it to whoever is at work; tell what became of it.

    Raises what kept them from being painted; they wait then. RenderFailed if one of them never will be.
    """
    from artbot.review.reading import get_candidate

    numbers = [child.id for child in planned]
    waiting = [child.id for child in planned if child.state == CandidateState.PLANNED]
    batch = get_candidate(workplace.database, numbers[0]).batch.key
    busy: WorkerBusy | None = None
    failures: dict[str, Exception] = {}
    stopped = False
    if waiting:
        say(f"{_listed(waiting)} of {batch} will be {what}")
        with stop_requests(lambda: say("stopping after this picture …")) as should_stop:
            try:
                with workplace.work("vary"):
                    failures = make_all(workplace, [batch], should_stop)
            except WorkerBusy as error:
                busy = error
            stopped = should_stop()
    children = [get_candidate(workplace.database, number) for number in numbers]
    if as_json:
        worker = workplace.current_worker() if busy else None
        facts = [candidate_facts(child, workplace) for child in children]
        print_json({"left_to": worker, "children": facts})
    elif busy:
        say(
            busy_words(
                busy,
                by_daemon="It paints them next; then: artbot review",
                by_another=f"Once it has ended, the daemon paints them, or: {_PAINT}",
            )
        )
    else:
        _tell(children, was_there=not waiting, what=what)
    if stopped:
        context.exit(130)
    for failure in failures.values():
        raise failure
    failed = [child for child in children if child.state == CandidateState.FAILED]
    if failed:
        raise RenderFailed(
            f"{_listed([c.id for c in failed])} cannot be painted: {failed[0].error}"
        )


def _tell(children: list[Candidate], was_there: bool, what: str) -> None:
    """What this command has painted, and what it has not."""
    painted = [child.id for child in children if child.path]
    waiting = [child.id for child in children if child.state == CandidateState.PLANNED]
    if painted:
        already = f" already, {what}" if was_there else ""
        say(f"{_listed(painted)} {_are(painted)} painted{already}: artbot review")
    if waiting:
        say(f"{_listed(waiting)} {_are(waiting)} not painted yet: the daemon does it, or: {_PAINT}")


def _listed(numbers: list[int]) -> str:
    return " ".join(str(number) for number in numbers)


def _are(numbers: list[int]) -> str:
    return "is" if len(numbers) == 1 else "are"


@click.command("family")
@id_argument
@json_option
@with_workplace
def family_command(workplace: Workplace, typed: tuple[str, ...], as_json: bool) -> None:
    """Where a candidate comes from and what came of it: its ancestors and all that descends from it."""
    from artbot.studio.family import family_of

    wanted = the_one(workplace, typed)
    family = family_of(workplace.database, wanted)
    if not family:
        raise UsageError(f"there is no candidate {wanted}. `artbot review --all` lists them.")
    if as_json:
        print_json({"id": wanted, "family": [asdict(relative) for relative in family]})
        return
    for line in tree(family, wanted):
        click.echo(line)


def tree(family: list[Relative], wanted: int) -> list[str]:
    """One line for each, below its first parent; below the second a line that says so. `wanted` is marked."""
    lines: list[str] = []
    told: set[int] = set()

    def add(relative: Relative, parent: int | None, before: str, beside: str, below: str) -> None:
        children = [child for child in family if relative.id in child.parent_ids]
        others = [str(number) for number in relative.parent_ids if number != parent]
        facts = [relative.method] if relative.method else []
        facts += [f"with {others[0]}"] if parent is not None and others else []
        is_told = relative.id in told
        facts += ["as above"] if is_told else [relative.state]
        mark = "  <" if relative.id == wanted else ""
        lines.append(f"{before}{beside}{relative.id}  {relative.name}  {', '.join(facts)}{mark}")
        if is_told:
            return
        told.add(relative.id)
        for child in children:
            is_last = child is children[-1]
            add(
                child,
                relative.id,
                before + below,
                "└─ " if is_last else "├─ ",
                "   " if is_last else "│  ",
            )

    for relative in family:
        if not relative.parent_ids:
            add(relative, None, "", "", "")
    return lines

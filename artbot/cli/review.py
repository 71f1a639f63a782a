"""`artbot review`, and `artbot review list | show | sheet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artbot.cli.common import (
    candidate_facts,
    json_option,
    print_json,
    say,
    with_workplace,
)
from artbot.cli.show import show_command
from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.errors import StorageFailed, UsageError
from artbot.telling import local_time
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from db.models import Candidate

MAX_TILES = 200
"""More on one sheet than anybody looks at; `--batch` shows the older ones."""
MAX_LISTED = 1000
"""The newest; likewise."""


_all = click.option("--all", "everything", is_flag=True, help="Decided ones as well.")
_batch = click.option(
    "--batch", metavar="KEY", help="Only this batch, for example daily-2026-11-21."
)
_limit = click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=MAX_LISTED,
    show_default=True,
    help="The newest so many.",
)


@click.group("review", invoke_without_command=True)
@click.option(
    "--list", "as_list", is_flag=True, help="The list and the contact sheet, on any terminal."
)
@_all
@_batch
@_limit
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the contact sheet.  [default: works/contact-sheet.png]",
)
@json_option
@click.pass_context
def review_command(
    context: click.Context,
    as_list: bool,
    everything: bool,
    batch: str | None,
    limit: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """List the candidates that wait for you, and put their pictures on one contact sheet.

    First those nobody has looked at, then those put off until later. Then: `artbot approve ID`, `artbot reject ID`,
    `artbot later ID`, `artbot show ID`, `artbot undo`.
    """
    if context.invoked_subcommand is None:
        context.invoke(
            _review, everything=everything, batch=batch, limit=limit, sheet=sheet, as_json=as_json
        )


review_command.add_command(show_command, "show")


@review_command.command("list")
@_all
@_batch
@_limit
@json_option
@with_workplace
def list_command(
    workplace: Workplace, everything: bool, batch: str | None, limit: int, as_json: bool
) -> None:
    """The list alone."""
    listed = _find(workplace, everything, batch, limit)
    if as_json:
        print_json([candidate_facts(candidate, workplace) for candidate in listed.candidates])
    elif _says_something(listed):
        _print(listed, workplace)
        _hint(listed)


@review_command.command("sheet")
@_all
@_batch
@_limit
@click.option(
    "--to",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.  [default: works/contact-sheet.png]",
)
@json_option
@with_workplace
def sheet_command(
    workplace: Workplace,
    everything: bool,
    batch: str | None,
    limit: int,
    to: Path | None,
    as_json: bool,
) -> None:
    """The contact sheet alone: every picture with the number to decide on it."""
    listed = _find(workplace, everything, batch, limit)
    output = _write_sheet(listed, workplace, to, "--to") if listed.candidates else None
    if as_json:
        print_json({"sheet": str(output) if output else None})
    elif _says_something(listed):
        click.echo(output)


@with_workplace
def _review(
    workplace: Workplace,
    everything: bool,
    batch: str | None,
    limit: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    listed = _find(workplace, everything, batch, limit)
    output = _write_sheet(listed, workplace, sheet, "--sheet") if listed.candidates else None
    if as_json:
        print_json(
            {
                "sheet": str(output) if output else None,
                "candidates": [candidate_facts(c, workplace) for c in listed.candidates],
            }
        )
    elif _says_something(listed):
        _print(listed, workplace)
        say(f"contact sheet: {output}")
        _hint(listed)


@dataclass(frozen=True)
class _Listed:
    candidates: list[Candidate]
    has_more: bool
    everything: bool
    limit: int


def _find(workplace: Workplace, everything: bool, batch: str | None, limit: int) -> _Listed:
    """Raises UsageError."""
    from artbot.review.reading import has_batch, list_candidates

    decided = (CandidateState.APPROVED, CandidateState.REJECTED)
    states = (*UNDECIDED, *decided) if everything else UNDECIDED
    if batch is not None and not has_batch(workplace.database, batch):
        raise UsageError(f"there is no batch {batch!r}. `artbot review --all` shows their names.")
    candidates = list_candidates(workplace.database, states, batch, limit + 1)
    return _Listed(candidates[:limit], len(candidates) > limit, everything, limit)


def _write_sheet(listed: _Listed, workplace: Workplace, wanted: Path | None, option: str) -> Path:
    """Raises StorageFailed."""
    from artbot.review.sheet import Tile, write_sheet

    output = wanted or workplace.settings.works / "contact-sheet.png"
    candidates = listed.candidates
    tiles = [
        Tile(
            path=workplace.settings.works / (candidate.path or ""),
            label=str(candidate.id),
            note=_note(candidate, listed.everything),
            batch=candidate.batch.key,
        )
        for candidate in candidates[:MAX_TILES]
    ]
    number = f"{'more than ' if listed.has_more else ''}{len(candidates)}"
    heading = f"{number} {'candidates' if listed.everything else 'wait for review'}"
    if len(candidates) > MAX_TILES:
        heading += f"; the first {MAX_TILES} of them"
    try:
        write_sheet(tiles, heading, output)
    except OSError as error:
        raise StorageFailed(
            f"cannot write the contact sheet {output}: {error.strerror}. Choose another place with {option}."
        ) from error
    return output


def _note(candidate: Candidate, with_state: bool) -> str:
    """What stands beside its number: its stars, and its state or its day."""
    is_later = candidate.state == CandidateState.LATER
    day = f"{candidate.batch.local_date:%-d %b}"
    words = candidate.state if with_state or is_later else day
    return f"{candidate.stars}* {words}" if candidate.stars else words  # its font has no ★


def _says_something(listed: _Listed) -> bool:
    if not listed.candidates:
        say(
            "nothing waits for review. `artbot batch` makes today's candidates; `artbot review --all` shows the rest."
        )
    return bool(listed.candidates)


def _print(listed: _Listed, workplace: Workplace) -> None:
    current = None
    for candidate in listed.candidates:
        # What was put off comes last, so that a batch may come twice.
        if candidate.batch.key != current:
            current = candidate.batch.key
            made = local_time(
                candidate.batch.finished_at or candidate.batch.planned_at, workplace.clock()
            )
            click.echo(f"{current}  ({candidate.checkpoint.name}, made {made})")
        stars = f"  {'★' * candidate.stars}" if candidate.stars else ""
        click.echo(f"  {candidate.id:5}  {candidate.state:8}  {candidate.name}{stars}")


def _hint(listed: _Listed) -> None:
    if listed.has_more:
        say(f"older ones:    with --limit {10 * listed.limit}, or of one batch with --batch KEY")
    candidates = listed.candidates
    first = next((c for c in candidates if c.state in UNDECIDED), candidates[0])
    verbs = ("approve", "reject", "later", "show")
    ways = [f"artbot {verb} {first.id}" for verb in verbs if verb != first.state]
    say(f"decide:        {' · '.join(ways)} · artbot undo")

"""`artbot review`."""

from __future__ import annotations

from pathlib import Path

import click

from artbot.cli.common import (
    candidate_facts,
    json_option,
    local_time,
    print_json,
    say,
    with_workplace,
)
from artbot.errors import StorageFailed, UsageError
from artbot.workplace import Workplace

MAX_TILES = 200
"""More on one sheet than anybody looks at; `--batch` shows the older ones."""
MAX_LISTED = 1000
"""The newest; likewise."""


@click.command("review")
@click.option("--all", "everything", is_flag=True, help="Decided ones as well.")
@click.option("--batch", metavar="KEY", help="Only this batch, for example daily-2026-11-21.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=MAX_LISTED,
    show_default=True,
    help="The newest so many.",
)
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the contact sheet.  [default: works/contact-sheet.png]",
)
@json_option
@with_workplace
def review_command(
    workplace: Workplace,
    everything: bool,
    batch: str | None,
    limit: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """List the candidates that wait, and put their pictures on one contact sheet.

    Then: `artbot approve ID`, `artbot reject ID`, `artbot show ID`, `artbot undo`.
    """
    from artbot.domain.candidate import CandidateState
    from artbot.review.reading import has_batch, list_candidates
    from artbot.review.sheet import Tile, write_sheet

    states = (
        [CandidateState.PENDING, CandidateState.APPROVED, CandidateState.REJECTED]
        if everything
        else [CandidateState.PENDING]
    )
    if batch is not None and not has_batch(workplace.database, batch):
        raise UsageError(f"there is no batch {batch!r}. `artbot review --all` shows their names.")
    candidates = list_candidates(workplace.database, states, batch, limit + 1)
    has_more = len(candidates) > limit
    candidates = candidates[:limit]
    output = None
    if candidates:
        output = sheet or workplace.settings.works / "contact-sheet.png"
        tiles = [
            Tile(
                path=workplace.settings.works / (candidate.path or ""),
                label=str(candidate.id),
                note=candidate.state if everything else f"{candidate.batch.local_date:%-d %b}",
                batch=candidate.batch.key,
            )
            for candidate in candidates[:MAX_TILES]
        ]
        number = f"{'more than ' if has_more else ''}{len(candidates)}"
        heading = f"{number} {'candidates' if everything else 'wait for review'}"
        if len(candidates) > MAX_TILES:
            heading += f"; the newest {MAX_TILES} of them"
        try:
            write_sheet(tiles, heading, output)
        except OSError as error:
            raise StorageFailed(
                f"cannot write the contact sheet {output}: {error.strerror}. Choose another place with --sheet."
            ) from error
    if as_json:
        print_json(
            {
                "sheet": str(output) if output else None,
                "candidates": [candidate_facts(candidate, workplace) for candidate in candidates],
            }
        )
        return
    if not candidates:
        say(
            "nothing waits for review. `artbot batch` makes today's candidates; `artbot review --all` shows the rest."
        )
        return
    current = None
    for candidate in candidates:
        if candidate.batch.key != current:
            current = candidate.batch.key
            made = local_time(
                candidate.batch.finished_at or candidate.batch.planned_at, workplace.clock()
            )
            click.echo(f"{current}  ({candidate.checkpoint.name}, made {made})")
        click.echo(f"  {candidate.id:5}  {candidate.state:8}  {candidate.name}")
    say("")
    if has_more:
        say(f"older ones:    with --limit {10 * limit}, or of one batch with --batch KEY")
    say(f"contact sheet: {output}")
    first = next((c.id for c in candidates if c.state == CandidateState.PENDING), candidates[0].id)
    say(
        f"decide:        artbot approve {first} · artbot reject {first} · artbot show {first} · artbot undo"
    )

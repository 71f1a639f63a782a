"""`artbot review`, which opens the best face for where it runs, and `artbot review list | show | sheet`."""

from __future__ import annotations

import logging
import os
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from click.core import ParameterSource

from artbot.cli.common import (
    candidate_facts,
    json_option,
    print_json,
    say,
    this_author,
    with_workplace,
)
from artbot.cli.show import show_command
from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.errors import StorageFailed, UsageError, WorkerBusy
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


GRAPHICS = ("auto", "kitty", "iterm2", "sixel", "blocks", "none")


@click.group("review", invoke_without_command=True)
@click.option("--web", is_flag=True, help="Serve the review page and print the link to it.")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="Of the page.  [default: as in artbot.toml, 8420; any other if that is taken]",
)
@click.option(
    "--graphics",
    type=click.Choice(GRAPHICS),
    default="auto",
    show_default=True,
    help="How the terminal shows pictures.",
)
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
    web: bool,
    port: int | None,
    graphics: str,
    as_list: bool,
    everything: bool,
    batch: str | None,
    limit: int,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Choose: the pictures that wait for you, and a key for each thing you can do with them.

    On a terminal this opens the screen for it; --web serves the same as a page for the browser. Otherwise, and with
    --list, it lists the candidates and puts their pictures on one contact sheet: first those nobody has looked at,
    then those put off until later. Then: `artbot approve ID`, `artbot reject ID`, `artbot later ID`,
    `artbot show ID`, `artbot undo`.
    """
    if context.invoked_subcommand is not None:
        return
    if port is not None and not web:
        raise UsageError("--port is of the page: artbot review --web --port N.")
    listing = ("as_list", "everything", "limit", "sheet", "as_json")
    given = [name for name in listing if _was_given(context, name)]
    if web and given:
        raise UsageError(
            "--web is the page, and the other options are those of the list: leave one out."
        )
    if web:
        context.invoke(_serve, port=port, batch=batch)
    elif not given and _is_screen():
        context.exit(context.invoke(_open, graphics=graphics, batch=batch))
    else:
        context.invoke(
            _review, everything=everything, batch=batch, limit=limit, sheet=sheet, as_json=as_json
        )


def _was_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _is_screen() -> bool:
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    )


@with_workplace
def _open(workplace: Workplace, graphics: str, batch: str | None) -> int:
    """The screen in the terminal."""
    from dataclasses import replace

    from artbot.tui import run

    return run(workplace, replace(this_author(), via="tui"), graphics, batch)


@with_workplace
def _serve(workplace: Workplace, port: int | None, batch: str | None) -> None:
    """The page, until Ctrl-C; where it is served already, a fresh link to it."""
    from urllib.parse import quote, urlencode

    from artbot.config import WebSettings
    from artbot.upkeep.served import served_at
    from artbot.web.logins import give_code
    from artbot.web.serving import free_port, log_to_stderr, serve

    settings = workplace.settings
    workplace.open_database()
    _check_batch(workplace, batch)
    query = "?" + urlencode({"next": f"/?batch={quote(batch)}"}) if batch else ""

    def tell(address: str) -> None:
        try:
            code = give_code(settings.web_logins, this_author().by)
        except OSError as error:
            raise StorageFailed(
                f"cannot make a link: {settings.web_logins}: {error.strerror}"
            ) from error
        link = f"{address}login{query}#{code}"
        click.echo(link)
        say("it lets you in once, within 15 minutes")
        if (line := _through_ssh(address)) is not None:
            say(
                f"you are here over ssh: run this where your browser is, and open the link there\n  {line}"
            )
        elif _has_browser():
            webbrowser.open(link)

    if (address := served_at(settings.web_lock)) is not None:
        if port is not None:
            raise WorkerBusy(
                f"the review page is served already: {address}. Leave --port out for a link to it."
            )
        tell(address)
        return

    def ready(address: str) -> None:
        tell(address)
        say("Ctrl-C ends it; everything is saved")

    log_to_stderr(logging.WARNING)
    own = WebSettings()
    serve(workplace, own, port or free_port(own.host, settings.web.port), ready)


def _through_ssh(address: str) -> str | None:
    """What makes this machine's port one of the machine that the person sits at; None if they sit here, or the page
    is reached by a name of its own."""
    there = os.environ.get("SSH_CONNECTION", "").split()
    where = urlsplit(address)
    if len(there) != 4 or where.scheme != "http":
        return None
    return f"ssh -N -L {where.port}:127.0.0.1:{where.port} {this_author().by}@{there[2]}"


def _has_browser() -> bool:
    """Whether there is a screen to show one on."""
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


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
    from artbot.review.reading import list_candidates

    decided = (CandidateState.APPROVED, CandidateState.REJECTED)
    states = (*UNDECIDED, *decided) if everything else UNDECIDED
    _check_batch(workplace, batch)
    candidates = list_candidates(workplace.database, states, batch, limit + 1)
    return _Listed(candidates[:limit], len(candidates) > limit, everything, limit)


def _check_batch(workplace: Workplace, batch: str | None) -> None:
    """Raises UsageError."""
    from artbot.review.reading import has_batch

    if batch is not None and not has_batch(workplace.database, batch):
        raise UsageError(f"there is no batch {batch!r}. `artbot review --all` shows their names.")


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

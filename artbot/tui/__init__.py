"""The review in a terminal, over SSH and inside tmux as well. Textual is imported only once it is opened."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from artbot.errors import UsageError

if TYPE_CHECKING:
    from artbot.review.decisions import Author
    from artbot.workplace import Workplace

MIN_COLUMNS, MIN_ROWS = 60, 16


def run(workplace: Workplace, author: Author, graphics: str, batch: str | None = None) -> int:
    """Show what waits for a decision, until the person leaves; the exit code.

    `graphics`: a name in artbot.tui.graphics.GRAPHICS. Raises UsageError (this is no terminal for it, no such
    graphics or batch), and what opening the database raises.
    """
    check_terminal(os.environ)
    from artbot.tui.graphics import choose_graphics, colour_system

    chosen = choose_graphics(graphics, os.environ)
    # Read by Textual as it is imported.
    os.environ.setdefault("TEXTUAL_COLOR_SYSTEM", colour_system(os.environ))

    from artbot.desk import Desk
    from artbot.tui.app import ReviewApp
    from artbot.tui.table import LightTable

    desk = Desk(workplace, author)
    table = LightTable(desk.lay_out(batch=batch))
    app = ReviewApp(desk, workplace.settings.keys.of_keys, chosen, table)
    app.run(mouse=False)  # so that the terminal's own selecting and copying works
    refused = app.refusals_untold()
    for line in (*app.last_words, *refused):
        print(line, file=sys.stderr)
    return app.return_code or (1 if refused else 0)


def check_terminal(environ: Mapping[str, str]) -> None:
    """Raises UsageError where nothing can be drawn."""
    instead = (
        "Use artbot review --list with artbot approve, reject and later, or artbot review --web."
    )
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"the review in the terminal needs a terminal, and this is none. {instead}"
        )
    if environ.get("TERM", "") in ("", "dumb", "unknown"):
        raise UsageError(
            f"TERM is {environ.get('TERM', '')!r}: a terminal on which nothing can be drawn. {instead}"
        )
    columns, rows = shutil.get_terminal_size()
    if columns < MIN_COLUMNS or rows < MIN_ROWS:
        raise UsageError(
            f"this window has {columns} columns and {rows} rows, and the review needs {MIN_COLUMNS} and "
            f"{MIN_ROWS}. Make it larger, or its letters smaller. Or: {instead[0].lower()}{instead[1:]}"
        )

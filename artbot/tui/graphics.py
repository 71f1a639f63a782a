"""How pictures are drawn in this terminal, and in which colours.

A terminal says what it is in the environment. One that does not is asked only where textual-image waits for the
whole answer (0.14.2 on Python 3.12): older ones leave what comes late to be read as keys.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from artbot.errors import UsageError


class Graphics(StrEnum):
    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"  # two pixels a cell
    NONE = "none"


GRAPHICS = ("auto", *Graphics)

ASKS_SAFELY = (0, 14, 2)
"""The textual-image whose questions to the terminal leave nothing behind: github.com/lnqs/textual-image/pull/149."""
_BY_TERM = {
    "xterm-kitty": Graphics.KITTY,
    "xterm-ghostty": Graphics.KITTY,
    "foot": Graphics.SIXEL,
    "foot-extra": Graphics.SIXEL,
    "mlterm": Graphics.SIXEL,
}
_BY_PROGRAM = {
    "iTerm.app": Graphics.ITERM2,
    "iTerm2": Graphics.ITERM2,
    "WezTerm": Graphics.ITERM2,
    "mintty": Graphics.ITERM2,
}


@dataclass(frozen=True)
class Chosen:
    """How pictures are drawn, and why so."""

    graphics: Graphics
    why: str
    cell_px: tuple[int, int]
    """Width and height of one character."""


def choose_graphics(wanted: str, environ: Mapping[str, str]) -> Chosen:
    """Before Textual starts: afterwards nobody can ask the terminal. Raises UsageError."""
    if wanted not in GRAPHICS:
        raise UsageError(f"there are no graphics {wanted!r}. Choose one of {', '.join(GRAPHICS)}.")
    if wanted != "auto":
        return Chosen(Graphics(wanted), "you asked for it", cell_size_px())
    if is_multiplexed(environ):
        return Chosen(
            Graphics.BLOCKS,
            "tmux and screen pass other graphics on to few terminals",
            cell_size_px(),
        )
    term = environ.get("TERM", "")
    program = environ.get("TERM_PROGRAM") or environ.get("LC_TERMINAL") or ""
    known = _BY_TERM.get(term) or _BY_PROGRAM.get(program)
    if known:
        return Chosen(known, f"this terminal is {program or term}", cell_size_px())
    if _asks_safely():
        answered = _ask()
        return Chosen(answered, "the terminal said so", cell_size_px())
    return Chosen(
        Graphics.BLOCKS,
        f"{term} does not say that it draws pictures, and textual-image {version('textual-image')} "
        "cannot ask it safely",
        cell_size_px(),
    )


def colour_system(environ: Mapping[str, str]) -> str:
    """As Rich names it. tmux and SSH do not pass COLORTERM on, which says that there are all colours; almost every
    terminal has them, and tmux has fewer drawn where there are fewer."""
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit") or environ.get("TMUX"):
        return "truecolor"
    # GNU screen 4 and Apple's Terminal take the sequences for other ones.
    if environ.get("TERM", "").startswith("screen") or _is_apples(environ):
        return "256"
    return "truecolor"


def is_multiplexed(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("TMUX")) or environ.get("TERM", "").startswith(("screen", "tmux"))


def _is_apples(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM_PROGRAM") == "Apple_Terminal"


def _asks_safely() -> bool:
    numbers = version("textual-image").split(".")
    return tuple(int(number) for number in numbers if number.isdigit()) >= ASKS_SAFELY


def _ask() -> Graphics:
    """textual-image asks as it is imported, and waits for what it asked for."""
    from textual_image import renderable

    if renderable.Image is renderable.SixelImage:
        return Graphics.SIXEL
    return Graphics.KITTY if renderable.Image is renderable.TGPImage else Graphics.BLOCKS


def cell_size_px() -> tuple[int, int]:
    """As the kernel was told; 10 by 20 where it was not. Nothing is asked of the terminal."""
    try:
        answer = fcntl.ioctl(sys.__stdout__ or 1, termios.TIOCGWINSZ, b"\0" * 8)
    except (OSError, ValueError, io.UnsupportedOperation):
        return 10, 20
    rows, columns, width, height = struct.unpack("HHHH", answer)
    if not (rows and columns and width >= columns and height >= rows):
        return 10, 20
    return width // columns, height // rows


def widgets(cell_px: tuple[int, int]) -> ModuleType:
    """textual_image.widget, imported without a question to the terminal.

    It asks for graphics and for the size of a cell as it is imported, if its standard output is a terminal; else it
    takes the size from these variables, which textual-serve sets as well.
    """
    if "textual_image.widget" not in sys.modules:
        os.environ["TEXTUAL_CELL_WIDTH"], os.environ["TEXTUAL_CELL_HEIGHT"] = map(str, cell_px)
        names = vars(sys)  # mypy holds the attribute for final
        stdout, names["__stdout__"] = sys.__stdout__, io.TextIOWrapper(io.BytesIO())
        try:
            import_module("textual_image.widget")
        finally:
            names["__stdout__"] = stdout
    return sys.modules["textual_image.widget"]

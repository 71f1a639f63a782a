"""Which graphics are chosen for a terminal, and in which colours."""

import pytest

from artbot.errors import UsageError
from artbot.tui import graphics
from artbot.tui.graphics import Graphics, choose_graphics, colour_system


@pytest.fixture(autouse=True)
def a_textual_image_that_asks_unsafely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "version", lambda name: "0.12.0")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, Graphics.KITTY),
        ({"TERM": "xterm-ghostty"}, Graphics.KITTY),
        ({"TERM": "foot"}, Graphics.SIXEL),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Graphics.ITERM2),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Graphics.ITERM2),  # over SSH
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Graphics.ITERM2),
        ({"TERM": "xterm-256color"}, Graphics.BLOCKS),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, Graphics.BLOCKS),
        # What surrounds tmux is in the environment as well, and is not what draws.
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "LC_TERMINAL": "iTerm2"}, Graphics.BLOCKS),
        ({"TERM": "screen", "TERM_PROGRAM": "WezTerm"}, Graphics.BLOCKS),
    ],
)
def test_a_terminal_draws_as_it_says_that_it_can(
    environ: dict[str, str], expected: Graphics
) -> None:
    chosen = choose_graphics("auto", environ)
    assert chosen.graphics == expected
    assert chosen.why


def test_a_person_may_know_better() -> None:
    for wanted in Graphics:
        assert choose_graphics(wanted, {"TERM": "xterm-256color"}).graphics == wanted


def test_graphics_that_there_are_not_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"no graphics 'ansi'.*auto, kitty, iterm2, sixel, blocks"):
        choose_graphics("ansi", {})


def test_a_terminal_is_asked_only_by_a_textual_image_that_waits_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphics, "_ask", lambda: Graphics.SIXEL)
    assert choose_graphics("auto", {"TERM": "xterm"}).graphics == Graphics.BLOCKS
    monkeypatch.setattr(graphics, "version", lambda name: "0.14.2")
    assert choose_graphics("auto", {"TERM": "xterm"}).graphics == Graphics.SIXEL
    monkeypatch.setattr(graphics, "version", lambda name: "0.14.1")
    assert choose_graphics("auto", {"TERM": "xterm"}).graphics == Graphics.BLOCKS


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x"}, "truecolor"),
        ({"TERM": "screen-256color", "TMUX": "/tmp/x"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "truecolor"),  # over SSH, which does not pass COLORTERM on
        ({"TERM": "screen-256color"}, "256"),  # GNU screen
        ({"TERM": "screen", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, "256"),
    ],
)
def test_all_colours_are_used_but_where_they_would_be_misread(
    environ: dict[str, str], expected: str
) -> None:
    assert colour_system(environ) == expected

"""What lies over the pictures for a moment: words, channels and time, a question, a message, the keys, the end."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rich.console import RenderableType
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, VerticalScroll
from textual.css.query import NoMatches
from textual.screen import ModalScreen, Screen
from textual.timer import Timer
from textual.widgets import Checkbox, Input, Label, Static, TextArea

from artbot.desk import AltRemark, Card, Checked
from artbot.domain.slots import parse_when
from artbot.errors import ArtbotError
from artbot.review.decisions import Words
from artbot.tui.panel import Draft, checked_lines

if TYPE_CHECKING:
    from artbot.tui.app import ReviewApp

_Result = TypeVar("_Result")

UNREAD_S = 0.6
"""A key within so long was meant for what lay there before."""
MIN_WIDTH = 38
CHECK_AFTER_S = 0.25
"""So long after the last letter words are checked."""

DIALOG_CSS = """
ModalScreen { align: center middle; background: $background 60%; }
.dialog {
    width: 100%; max-width: 84; height: auto; max-height: 100%; padding: 0 2;
    background: $surface; border: round $primary; scrollbar-size-vertical: 1;
}
.dialog .hint { color: $text-muted; }
.aside { align: right top; background: transparent; }
.aside > .dialog { width: 40; padding: 0 1; }
"""


def close(screen: Screen[_Result], result: _Result) -> None:
    """Once: a second key that came with the first one finds it closed. Returns nothing that a field inside it could
    wait for, which ends with it."""
    if screen.is_current:
        screen.dismiss(result)


class Message(ModalScreen[str]):
    """Words that stay until a key, which it returns."""

    def __init__(self, title: str, words: RenderableType, is_urgent: bool = False) -> None:
        super().__init__()
        self._title, self._words, self._is_urgent = title, words, is_urgent
        self._shown_at = 0.0

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog", can_focus=False) as dialog:
            dialog.border_title = self._title
            yield Static(self._words, markup=False)
            if self._is_urgent:
                yield Static("\nany key", classes="hint")

    def on_mount(self) -> None:
        self._shown_at = time.monotonic()

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if self._is_urgent and time.monotonic() - self._shown_at < UNREAD_S:
            return
        if event.key in ("pageup", "pagedown", "up", "down") and not self._is_urgent:
            scroll = self.query_one(VerticalScroll)
            step = {"pageup": -10, "pagedown": 10, "up": -1, "down": 1}[event.key]
            scroll.scroll_relative(y=step, animate=False)
            return
        close(self, event.character if event.is_printable and event.character else event.key)


class Question(ModalScreen[bool]):
    """Yes or no; nothing but `y` is yes."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        with Container(classes="dialog"):
            yield Static(self._words, markup=False)
            yield Static("\ny yes · any other key no", classes="hint")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        close(self, event.character in ("y", "Y"))


@dataclass(frozen=True)
class Written:
    """What comes out of the dialog for words."""

    words: Words
    """None where nothing was changed."""
    is_approval: bool


class Aside(ModalScreen[_Result], Generic[_Result]):
    """Lies beside the picture, which stays to be seen."""

    app: ReviewApp

    def __init__(self) -> None:
        super().__init__(classes="aside")

    def on_resize(self) -> None:
        width = max(MIN_WIDTH, self.app.beside_width)
        self.query_one(".dialog").styles.width = min(self.size.width, width)


class WordsDialog(Aside[Written]):
    """Title, alt text, caption and the rest, with what each channel takes counted as one types."""

    CSS = (
        DIALOG_CSS
        + """
    WordsDialog Horizontal { height: auto; }
    WordsDialog Label { width: 10; color: $text-muted; }
    WordsDialog Input, WordsDialog TextArea { width: 1fr; background: $boost; padding: 0; }
    WordsDialog TextArea { height: 2; min-height: 2; max-height: 10; }
    WordsDialog #alt { height: 4; }
    WordsDialog Input:focus, WordsDialog TextArea:focus { background: $primary 20%; }
    WordsDialog #remarks { height: auto; margin-top: 1; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", priority=True),
        Binding("ctrl+s", "approve", priority=True),
        Binding("ctrl+e", "edit", priority=True),
    ]

    def __init__(
        self,
        card: Card,
        draft: Draft,
        why: str,
        check: Callable[[Words, Callable[[Checked | ArtbotError], None]], None],
    ) -> None:
        """`why`: why it opened by itself. `check` tells how words would do, a moment later."""
        super().__init__()
        self._card, self._why, self._check = card, why, check
        self._begun = {
            name: getattr(card.words, name) if written is None else written
            for name, written in vars(draft.words).items()
        }
        self._checked = draft.words
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        with Container(classes="dialog") as dialog:
            dialog.border_title = f"Words for {self._card.tile.id}"
            for name, label in (
                ("alt", "Alt text"),
                ("title", "Title"),
                ("caption", "Caption"),
                ("hashtags", "Hashtags"),
                ("warning", "Warning"),
                ("language", "Language"),
            ):
                text = self._begun[name] or ""
                if name in ("alt", "caption"):
                    yield Label(label)
                    yield TextArea(text, id=name, compact=True, highlight_cursor_line=False)
                    continue
                with Horizontal():
                    yield Label(label)
                    yield Input(text, id=name, compact=True, select_on_focus=False)
            yield Static(
                "ctrl+s approve · esc back, kept\nctrl+e your editor · tab next",
                classes="hint",
            )
            remarks = (
                Text(f"! {self._why}", "yellow") if self._why else checked_lines(self._card.checked)
            )
            yield Static(remarks, id="remarks", markup=False)

    def on_mount(self) -> None:
        alt = self.query_one("#alt", TextArea)
        alt.focus()
        is_draft = self._card.checked.alt is AltRemark.DRAFT and alt.text == self._card.words.alt
        takes_its_place = (
            bool(self._why) or is_draft
        )  # a draft does; what somebody wrote is added to
        begun = alt.text

        def place_cursor() -> None:
            if alt.text != begun:  # somebody writes already
                return
            alt.move_cursor(alt.document.end)
            if takes_its_place:
                alt.select_all()

        place_cursor()
        # Once more where it lies for good: lines selected at another width are shown as they were wrapped there.
        self.call_after_refresh(place_cursor)

    @property
    def words(self) -> Words:
        """Those that differ from the ones on the card."""
        found: dict[str, str | None] = {}
        for name in self._begun:
            field = self.query_one(f"#{name}")
            text = (
                field.text
                if isinstance(field, TextArea)
                else self.query_one(f"#{name}", Input).value
            )
            found[name] = None if text == (getattr(self._card.words, name) or "") else text
        return Words(**found)

    def on_input_changed(self) -> None:
        self._check_soon()

    def on_text_area_changed(self) -> None:
        self._check_soon()

    def _check_soon(self) -> None:
        words = self.words
        if words == self._checked:  # the fields tell of the text that they begin with, too
            return
        self._checked = words
        if self._timer:
            self._timer.stop()
        self._timer = self.set_timer(CHECK_AFTER_S, lambda: self._check(words, self._tell))

    def _tell(self, checked: Checked | ArtbotError) -> None:
        if isinstance(checked, Checked):
            words = checked_lines(checked)
        else:
            words = Text(f"! {checked}", "yellow")
        with suppress(NoMatches):  # the dialog was closed meanwhile
            self.query_one("#remarks", Static).update(words)

    def action_leave(self) -> None:
        self._after_typing(lambda: self._close(is_approval=False))

    def action_approve(self) -> None:
        self._after_typing(lambda: self._close(is_approval=True))

    def _after_typing(self, do: Callable[[], None]) -> None:
        """These keys overtake the letters before them, which still wait at the field."""
        (self.focused or self).call_later(do)

    def _close(self, is_approval: bool) -> None:
        close(self, Written(self.words, is_approval))

    def action_edit(self) -> None:
        self._after_typing(self._edit)

    def _edit(self) -> None:
        """The field in the person's own editor."""
        field = self.focused
        if not isinstance(field, Input | TextArea):
            return
        text = field.text if isinstance(field, TextArea) else field.value
        try:
            with self.app.suspend():
                edited = in_editor(text, os.environ)
        except OSError as error:
            self.query_one("#remarks", Static).update(
                f"! the editor cannot be run: {error}. Set EDITOR to another one."
            )
            return
        if isinstance(field, TextArea):
            field.load_text(edited)
        else:
            field.value = " ".join(edited.split())
        self._check_soon()


def in_editor(text: str, environ: Mapping[str, str]) -> str:
    """The text as the person leaves it. Raises OSError."""
    editor = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="artbot-") as folder:
        path = Path(folder) / "words.txt"
        path.write_text(f"{text}\n", encoding="utf-8")
        if subprocess.run([*editor, str(path)], check=False).returncode != 0:
            return text
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")


class Box(Checkbox):
    """Says by a sign what Textual's says by a colour."""

    def watch_value(self) -> None:
        self.BUTTON_INNER = "✓" if self.value else " "
        super().watch_value()


class ChannelsDialog(Aside[Draft]):
    """Which channels it goes to, and when."""

    CSS = (
        DIALOG_CSS
        + """
    ChannelsDialog Checkbox { width: 100%; background: $surface; border: none; }
    ChannelsDialog Horizontal { height: auto; margin-top: 1; }
    ChannelsDialog Label { width: 10; color: $text-muted; }
    ChannelsDialog Input { width: 1fr; background: $boost; }
    ChannelsDialog Input:focus { background: $primary 20%; }
    ChannelsDialog #wrong { color: $text-warning; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", priority=True),
        Binding("enter", "keep", priority=True),
        Binding("up", "app.focus_previous", priority=True),
        Binding("down", "app.focus_next", priority=True),
    ]

    def __init__(self, card: Card, draft: Draft) -> None:
        super().__init__()
        self._card, self._draft = card, draft

    def compose(self) -> ComposeResult:
        chosen = self._draft.channels
        with Container(classes="dialog") as dialog:
            dialog.border_title = f"Where {self._card.tile.id} goes, and when"
            for channel in self._card.channels:
                trouble = f" (! {channel.trouble})" if channel.trouble else ""
                yield Box(
                    Text(f"{channel.name}  {channel.goes_out}{trouble}"),
                    value=chosen is None or channel.name in chosen,
                    name=channel.name,
                    compact=True,
                )
            with Horizontal():
                yield Label("When")
                yield Input(self._draft.when, compact=True, select_on_focus=True)
            yield Static("next · now · 18:30 · thu 18:30 · 2026-12-24T18:00", classes="hint")
            yield Static("", id="wrong", markup=False)
            yield Static(
                "space switches a channel · enter keeps this for the approval · esc back",
                classes="hint",
            )

    def action_leave(self) -> None:
        close(self, self._draft)

    def action_keep(self) -> None:
        (self.focused or self).call_later(self._keep)  # after the letters that wait at the field

    def _keep(self) -> None:
        when = self.query_one(Input).value.strip() or "next"
        try:
            parse_when(when)
        except ValueError as error:
            self.query_one("#wrong", Static).update(f"! {error}")
            self.query_one(Input).focus()
            return
        boxes = list(self.query(Checkbox))
        names = tuple(box.name for box in boxes if box.value and box.name)
        if not names:
            self.query_one("#wrong", Static).update(
                "! it must go somewhere: switch a channel on, or reject it"
            )
            return
        every = len(names) == len(boxes)
        close(self, replace(self._draft, channels=None if every else names, when=when))

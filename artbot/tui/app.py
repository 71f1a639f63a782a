"""The review in the terminal: one picture large with what goes out beside it, or all of them as a sheet.

It decides nothing about what was not on the screen, nothing that nobody typed (artbot.tui.keyboard), and leaves the
deciding itself to the clerk's thread.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from PIL import Image
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.css.query import NoMatches
from textual.geometry import Offset
from textual.message import Message as TextualMessage
from textual.widgets import ContentSwitcher, Static

from artbot.desk import Card, Checked, Desk, Sheet, Show, Tile
from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.errors import ArtbotError
from artbot.review.decisions import Words
from artbot.telling import local_time
from artbot.tui import panel
from artbot.tui.clerk import Clerk, Outcome
from artbot.tui.compare import MOST, Compare
from artbot.tui.dialogs import (
    DIALOG_CSS,
    ChannelsDialog,
    Message,
    Question,
    WordsDialog,
    Written,
    close,
)
from artbot.tui.graphics import Chosen
from artbot.tui.keyboard import QuietDriver
from artbot.tui.panel import Draft
from artbot.tui.pictures import Album, Frame, PictureGone
from artbot.tui.sheet import SheetView, small
from artbot.tui.table import LightTable

LOOK_EVERY_S = 3.0
"""Whether something was decided elsewhere, or painted."""
QUIET_S = 0.4
"""After the first picture is there: what was typed before nobody typed about it."""
MIN_BESIDE, MAX_BESIDE = 30, 64
"""Columns of what stands beside the picture."""
_AHEAD = 2
"""So many of the next pictures are read in advance."""
_NEEDS_TO_BE_SEEN = ("approve", "reject", "later", "reject-rest")
_MOVES = {"next": (1, 0), "previous": (-1, 0), "down": (0, 1), "up": (0, -1)}
_DECIDED = {
    CandidateState.APPROVED: "approved",
    CandidateState.REJECTED: "rejected",
    CandidateState.LATER: "put off until later",
}
_DONE_WORDS = {
    "approve": "approved",
    "reject": "rejected",
    "reject-rest": "rejected",
    "later": "put off until later",
    "undo": "taken back",
    "undo-rest": "taken back",
    "redo": "brought back",
}


class Made(TextualMessage):
    """Something that another thread has made for the screen."""

    def __init__(self, then: Callable[[Any], None], result: object) -> None:
        super().__init__()
        self.then, self.result = then, result


class ReviewApp(App[int]):
    TITLE = "artbot review"
    ENABLE_COMMAND_PALETTE = False
    CSS = (
        DIALOG_CSS
        + """
    #head { height: 1; padding: 0 1; background: $surface; }
    #where { width: 1fr; }
    #preview { width: auto; color: $text-warning; }
    #body { height: 1fr; }
    #picture { width: 1fr; }
    #beside { padding: 0 1; scrollbar-size-vertical: 1; }
    #told { height: 1; padding: 0 1; }
    #keys { height: 2; padding: 0 1; background: $surface; }
    #sheet { padding: 0 0; }
    """
    )
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "leave_here", priority=True)]

    def __init__(
        self, desk: Desk, keys: Mapping[str, str], chosen: Chosen, table: LightTable
    ) -> None:
        super().__init__(driver_class=QuietDriver)
        self.desk, self.keys, self.chosen, self.table = desk, keys, chosen, table
        self.last_words: list[str] = []
        """To be said once the terminal is as before."""
        self._untold: list[Outcome] = []
        """Refusals that the person has not seen."""
        self._clerk = Clerk(desk, self._clerk_tells)
        self._reader = ThreadPoolExecutor(1, "reader")
        self._painter = ThreadPoolExecutor(1, "painter")
        self._album = Album()
        self._cards: dict[int, Card] = {}
        self._asked: set[tuple[int, int]] = set()
        """Cards that are being read, by number and version."""
        self._drafts: dict[int, Draft] = {}
        self._children: dict[int, int] = {}
        """Being painted, each with the one it was asked for at."""
        self._waiting: list[Outcome] = []
        """Refusals to be shown once nobody is in a dialog."""
        self._shown: int | None = None
        """Whose picture is on the screen."""
        self._decides_from: float | None = None
        self._is_sheet = False
        self._has_facts = False
        self._pan: Offset | None = None
        self._show = Show.UNDECIDED
        self._decided_here: dict[int, CandidateState] = {}
        """What was decided at this screen and not taken back."""

    # What is on the screen

    def compose(self) -> ComposeResult:
        with Horizontal(id="head"):
            yield Static("", id="where", markup=False)
            yield Static("", id="preview", markup=False)
        with ContentSwitcher(initial="loupe", id="body"):
            with Horizontal(id="loupe"):
                yield Frame(self.chosen, id="picture")
                with VerticalScroll(id="beside", can_focus=False):
                    yield Static("", id="words", markup=False)
            yield SheetView(self.table, self.chosen.graphics, self._want_small, id="sheet")
        yield Static("", id="told", markup=False)
        yield Static("", id="keys", markup=False)

    def on_mount(self) -> None:
        self.set_interval(LOOK_EVERY_S, self._look_again)
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError):  # not in the main thread: a test
                asyncio.get_running_loop().add_signal_handler(number, self._told_to_end, number)
        if not self.table.tiles:
            self._finish()
        self.show()

    def on_resize(self) -> None:
        self.call_after_refresh(self.show)

    async def on_unmount(self) -> None:
        """What was decided is written before this ends."""
        self._clerk.close()
        for pool in (self._reader, self._painter):
            pool.shutdown(wait=True, cancel_futures=True)

    def show(self) -> None:
        """Everything, as it is now."""
        if not self.is_running:
            return
        tile = self.table.current
        try:
            base = self.screen_stack[0]
            width = base.size.width
            base.query_one("#where", Static).update(self._where_words())
            base.query_one("#keys", Static).update(
                panel.footer(self.keys, self._is_sheet, width - 2)
            )
            beside = base.query_one("#beside")
            beside.styles.width = self.beside_width
            base.query_one(ContentSwitcher).current = "sheet" if self._is_sheet else "loupe"
            base.query_one(SheetView).show()
            self._show_picture(tile)
            self._show_words(tile)
        except NoMatches:  # before the first layout
            return
        if isinstance(self.screen, Compare):
            self.screen.tell()

    @property
    def beside_width(self) -> int:
        """What a square picture leaves."""
        width, height = self.screen_stack[0].size
        return max(MIN_BESIDE, min(MAX_BESIDE, width - 2 * (height - 4) - 1))

    def _where_words(self) -> Text:
        table, tile = self.table, self.table.current
        text = Text(no_wrap=True, overflow="ellipsis")
        if tile:
            text.append(f"{tile.batch}  ", "bold")
            text.append(f"{table.position + 1} of {len(table.tiles)}")
        else:
            text.append("nothing here", "bold")
        text.append(f" · {table.num_undecided} to choose", "dim")
        if self._show != Show.UNDECIDED:
            text.append(f" · only {self._show} (tab)" if self._show != Show.ALL else " · all (tab)")
        if table.marked:
            text.append(f" · marked {' '.join(map(str, table.marked))}", "magenta")
        if self._children:
            text.append(f" · {len(self._children)} being painted", "cyan")
        return text

    def _show_picture(self, tile: Tile | None) -> None:
        frame = self.screen_stack[0].query_one("#picture", Frame)
        if tile is None:
            frame.show(None, "Nothing to show.")
            self._shown = None
            return
        if self._is_sheet:
            return

        def hang(image: Image.Image | None, words: str = "") -> None:
            current = self.table.current
            if current is None or current.id != tile.id:
                return  # the person went on
            frame.show(image, words)
            self._shown = tile.id
            self._begin_to_decide()
            preview = panel.preview_words(self.chosen, frame.shown_px, image.size) if image else ""
            if self._pan is not None:
                preview = "1:1, arrows move"
            self.screen_stack[0].query_one("#preview", Static).update(preview)

        frame.zoom(self._pan)
        self.paint(tile, hang)
        for coming in self.table.upcoming(_AHEAD):
            self.paint(coming, _keep)

    def _show_words(self, tile: Tile | None) -> None:
        words = self.screen_stack[0].query_one("#words", Static)
        if tile is None:
            words.update("")
            return
        for each in (tile, *self.table.upcoming(_AHEAD)):
            self._read_card(each)
        card = self._card(tile)
        is_marked, alike = tile.id in self.table.marked, self.table.alike(tile)
        if self._has_facts:
            words.update(panel.facts(tile, card, is_marked, alike))
        else:
            draft = self._draft(tile.id)
            words.update(panel.beside(tile, card, draft, self.keys, is_marked, alike))

    def tell(self, words: str, style: str = "") -> None:
        """The last thing that happened, on the line above the keys."""
        with suppress(NoMatches):
            line = Text(words, style, no_wrap=True, overflow="ellipsis")
            self.screen_stack[0].query_one("#told", Static).update(line)
        if isinstance(self.screen, Compare):
            self.screen.tell()

    def _begin_to_decide(self) -> None:
        if self._decides_from is None:
            self._decides_from = time.monotonic() + QUIET_S

    # Reading and painting, in threads

    def _post(self, then: Callable[[Any], None], result: object) -> None:
        self.post_message(Made(then, result))

    def on_made(self, message: Made) -> None:
        if self.screen_stack:  # else the person has left
            message.then(message.result)

    def _clerk_tells(self, outcome: Outcome) -> None:
        """In the clerk's thread."""
        if outcome.refusal is not None or outcome.failure:
            self._untold.append(outcome)
        self._post(self._decided, outcome)

    def refusals_untold(self) -> list[str]:
        """What was refused after the person had left."""
        return [
            f"{outcome.about or ''} {outcome.act}: {outcome.refusal or _in_words(outcome.failure)}".strip()
            for outcome in self._untold
        ]

    def _in_thread(
        self, pool: ThreadPoolExecutor, work: Callable[[], Any], then: Callable[[Any], None]
    ) -> None:
        """`then` gets what `work` returns, or the exception that it raised."""

        def do() -> None:
            try:
                result = work()
            except Exception as error:
                result = error
            self._post(then, result)

        with suppress(RuntimeError):  # the pool is closed: the person has left
            pool.submit(do)

    def paint(self, tile: Tile, then: Callable[[Image.Image | None, str], None]) -> None:
        """`then` gets the picture, or words in its place; at once if it has been read."""
        image = self._album.ready(tile)
        if image:
            then(image, "")
            return

        def done(result: object) -> None:
            if isinstance(result, Image.Image):
                then(result, "")
            elif isinstance(result, PictureGone):
                then(None, f"There is no picture to show: {result}.")
            elif isinstance(result, Exception):
                raise result

        self._in_thread(self._painter, lambda: self._album.get(tile), done)

    def _want_small(self, tile: Tile) -> None:
        def done(result: Any) -> None:
            if isinstance(result, Exception) and not isinstance(result, PictureGone):
                raise result
            pictures = None if isinstance(result, Exception) else result
            sheet = self.screen_stack[0].query_one(SheetView)
            sheet.put_small(tile.seen.image_sha256, pictures)
            self._begin_to_decide()

        self._in_thread(self._painter, lambda: small(self._album.get(tile)), done)

    def _card(self, tile: Tile) -> Card | None:
        card = self._cards.get(tile.id)
        return card if card and card.tile.seen.row_version >= tile.seen.row_version else None

    def _read_card(self, tile: Tile, then: Callable[[Card], None] | None = None) -> None:
        card = self._card(tile)
        if card:
            if then:
                then(card)
            return
        asked = (tile.id, tile.seen.row_version)
        if asked in self._asked and not then:
            return
        self._asked.add(asked)

        def done(result: object) -> None:
            self._asked.discard(asked)
            if isinstance(result, Card):
                self._cards[tile.id] = result
                self.table.put(result.tile)
                current = self.table.current
                if current and current.id == tile.id:
                    self._show_words(current)
                if then:
                    then(result)
            else:
                self._cannot_look(result)

        self._in_thread(self._reader, lambda: self.desk.open(tile.id), done)

    def _cannot_look(self, error: object) -> None:
        """What is shown may be old; whatever is decided about it is checked all the same."""
        if isinstance(error, ArtbotError | SQLAlchemyError | OSError):
            self.tell(f"cannot look: {_in_words(error)}", "yellow")
        elif isinstance(error, Exception):
            raise error

    def _look_again(self) -> None:
        """Whether something is new, or was decided elsewhere."""
        show, batch = self._show, self.table.sheet.batch
        known = {tile.id: tile for tile in self.table.tiles if tile.state in UNDECIDED}

        def look() -> tuple[Sheet, list[Tile]]:
            sheet = self.desk.lay_out(show, batch)
            here = {tile.id for stack in sheet.stacks for tile in stack.tiles}
            gone = []
            for number in known.keys() - here:
                with suppress(ArtbotError):  # it has no picture any more
                    gone.append(self.desk.tile(number))
            return sheet, gone

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                self._cannot_look(result)
            elif show == self._show:
                self._take_over(*result)

        self._in_thread(self._reader, look, done)

    def _take_over(self, sheet: Sheet, gone: list[Tile]) -> None:
        before = {tile.id: tile for tile in self.table.tiles}
        was_empty = not before
        new = self.table.merge(sheet, gone)
        changed = [
            tile
            for tile in self.table.tiles
            if tile.id in before and before[tile.id].seen != tile.seen
        ]
        if not (new or changed):
            return
        painted = [tile for tile in new if self._children.pop(tile.id, None) is not None]
        if painted:
            parents = " and ".join(map(str, painted[0].parent_ids))
            self.tell(
                f"painted: {_numbers([tile.id for tile in painted])}, beside {parents}", "cyan"
            )
        elif new:
            self.tell(f"new here: {_numbers([tile.id for tile in new])}", "cyan")
        elif changed:
            told = ", ".join(f"{tile.id} is {tile.state}" for tile in changed[:3])
            self.tell(f"decided elsewhere: {told}", "cyan")
        if was_empty:
            self.table.next_undecided()
        self.show()

    # Keys

    def action_of(self, event: events.Key) -> str | None:
        key = event.character if event.is_printable and event.character else event.key
        return self.keys.get("space" if key == " " else key)

    def on_key(self, event: events.Key) -> None:
        if len(self.screen_stack) > 1:
            return
        event.stop()
        action = self.action_of(event)
        if action:
            self.act(action)
        elif event.key in ("pageup", "pagedown"):
            beside = self.screen.query_one("#beside", VerticalScroll)
            scroll = beside.scroll_page_up if event.key == "pageup" else beside.scroll_page_down
            scroll(animate=False)
        elif event.key in ("tab", "shift+tab"):
            self._show_others(1 if event.key == "tab" else -1)

    def act(self, action: str, about: int | None = None) -> None:
        """Do what the key is for; `about`: the picture, if it is not the one that is looked at."""
        is_early = self._decides_from is None or time.monotonic() < self._decides_from
        if is_early and action not in ("quit", "help"):
            return
        tile = self.table.get(about) if about is not None else self.table.current
        if action in _MOVES:
            self._move(action)
            return
        if action.startswith("star"):
            if tile:
                self._clerk.give_stars(tile, int(action.removeprefix("star")))
            return
        simple = {
            "undo": self._clerk.undo,
            "redo": self._clerk.redo,
            "reject-rest": self._ask_about_rest,
            "sheet": lambda: self._go_to_sheet(True),
            "loupe": lambda: self._go_to_sheet(False),
            "compare": self._compare,
            "zoom": self._toggle_zoom,
            "facts": self._toggle_facts,
            "breed": self._breed,
            "help": self._help,
            "quit": self._quit,
        }
        if action in simple:
            simple[action]()
            return
        if tile is None:
            return
        of_one: dict[str, Callable[[Tile], None]] = {
            "approve": self._approve,
            "reject": self._reject,
            "later": self._put_off,
            "mark": self._mark,
            "vary-subtle": lambda tile: self._clerk.vary(tile, "subtle"),
            "vary-strong": lambda tile: self._clerk.vary(tile, "strong"),
            "words": self._write,
            "channels": self._choose_channels,
            "full": self._open_full,
        }
        if action in _NEEDS_TO_BE_SEEN and about is None and not self._is_seen(tile):
            return
        of_one[action](tile)

    def _is_seen(self, tile: Tile) -> bool:
        return self._is_sheet or self._shown == tile.id

    def _move(self, action: str) -> None:
        right, down = _MOVES[action]
        if self._pan is not None and not self._is_sheet:
            frame = self.screen_stack[0].query_one("#picture", Frame)
            self._pan = frame.moved(self._pan, right, down)
        elif self._is_sheet and down:
            columns = self.screen_stack[0].query_one(SheetView).num_columns
            if not self.table.step(down * columns) and down > 0:
                self.table.go_to(self.table.tiles[-1].id) if self.table.tiles else None
        else:
            self.table.step(right + down)
        self.show()

    def _show_others(self, by: int) -> None:
        shows = list(Show)
        self._show = shows[(shows.index(self._show) + by) % len(shows)]
        show, batch = self._show, self.table.sheet.batch

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                self._cannot_look(result)
            elif show == self._show:
                self.table.lay(result)
                self._shown = None
                self.tell(f"{show}: {result.counts[show]}")
                self.show()

        self._in_thread(self._reader, lambda: self.desk.lay_out(show, batch), done)

    def _go_to_sheet(self, is_sheet: bool) -> None:
        self._is_sheet = is_sheet
        self._shown = None
        if is_sheet:
            self.screen_stack[0].query_one("#preview", Static).update("")
        self.show()

    def _toggle_zoom(self) -> None:
        frame = self.screen_stack[0].query_one("#picture", Frame)
        self._pan = frame.middle if self._pan is None else None
        self.show()

    def _toggle_facts(self) -> None:
        self._has_facts = not self._has_facts
        self._is_sheet = False
        self.show()

    # Deciding

    def _draft(self, number: int) -> Draft:
        return self._drafts.get(number, Draft())

    def _approve(self, tile: Tile, is_draft_fine: bool = False) -> None:
        draft, card = self._draft(tile.id), self._card(tile)
        is_undecided = self.table.is_undecided(tile)
        remark = card.checked.alt if card else None
        if card and is_undecided and remark and draft.words.alt is None and not is_draft_fine:
            self._write(tile, card.checked.alt_words)
            return
        words = None if draft.words == Words() else draft.words
        self._clerk.approve(tile, words, draft.channels, draft.when, is_draft_fine)
        self._go_on(tile)

    def _reject(self, tile: Tile) -> None:
        self._clerk.reject(tile)
        self._go_on(tile)

    def _put_off(self, tile: Tile) -> None:
        self._clerk.put_off(tile)
        self._go_on(tile)

    def _go_on(self, tile: Tile) -> None:
        """To the next undecided one, if this was the one that is looked at."""
        self.table.being_decided.add(tile.id)
        current = self.table.current
        if current and current.id == tile.id and not isinstance(self.screen, Compare):
            self._next_to_choose(tile)
        self.show()

    def _next_to_choose(self, tile: Tile) -> bool:
        """What was just put off is not looked at again at once."""
        pending = [
            each
            for each in (*self.table.tiles[self.table.position :], *self.table.tiles)
            if self.table.is_undecided(each) and each.state == CandidateState.PENDING
        ]
        if tile.state == CandidateState.PENDING and pending:
            return self.table.go_to(pending[0].id)
        return self.table.next_undecided()

    def _decided(self, outcome: Outcome) -> None:
        """The clerk has done it, or was refused."""
        if outcome.about is not None:
            self.table.being_decided.discard(outcome.about)
        if outcome.failure:
            if not isinstance(outcome.failure, SQLAlchemyError | OSError):
                raise outcome.failure
            words = f"Nothing was written down: {_in_words(outcome.failure)}."
            outcome = replace(outcome, refusal=words, failure=None)
        for tile in outcome.tiles:
            self.table.add(tile) if outcome.act.startswith(("undo", "redo")) else self.table.put(
                tile
            )
        if outcome.refusal is not None:
            self._waiting.append(outcome)
            self._tell_refusals()
            self.show()
            return
        for tile in outcome.tiles if outcome.act in _DONE_WORDS else ():
            self._decided_here.pop(tile.id, None)
            if tile.state in _DECIDED:
                self._decided_here[tile.id] = tile.state
        if outcome.children:
            self._expect(outcome)
        else:
            self._tell_done(outcome)
        self.show()
        if outcome.act in ("approve", "reject", "later", "reject-rest"):
            self._finish_if_all_is_chosen()

    def _tell_done(self, outcome: Outcome) -> None:
        tiles = outcome.tiles
        undo = panel.key_of(self.keys, "undo")
        takes_back = f" · {undo} takes it back" if undo else ""
        if outcome.act == "reject-rest":
            told = f"{len(tiles)} rejected{takes_back}" if tiles else "nothing was pending any more"
            self.tell(told)
        elif outcome.act.startswith("star"):
            tile = tiles[0]
            self.tell(f"{tile.id}: {panel.stars(tile.stars) or 'no stars'}")
        elif outcome.act in ("undo", "redo", "undo-rest"):
            if len(tiles) == 1:
                self.table.go_to(tiles[0].id)
            numbers, state = _numbers([tile.id for tile in tiles]), tiles[0].state if tiles else ""
            self.tell(f"{_DONE_WORDS[outcome.act]}: {numbers} {_are(len(tiles))} {state} again")
        else:
            self.tell(f"{tiles[0].id} {_DONE_WORDS[outcome.act]}{takes_back}")

    def _tell_refusals(self) -> None:
        """One at a time, once the person is in no dialog; then the picture as it is now."""
        if not self._waiting or isinstance(
            self.screen, Message | Question | WordsDialog | ChannelsDialog
        ):
            return
        outcome = self._waiting.pop(0)
        self._untold = [each for each in self._untold if each.about != outcome.about]
        tile = self.table.get(outcome.about) if outcome.about is not None else None
        if tile and outcome.wants_alt:
            self._write(tile, outcome.refusal or "")
            return
        words = Text(outcome.refusal or "")
        if tile:
            words.append("\n\nNow:  ", "dim").append_text(panel.tile_line(tile, False, None))

        def read(key: str | None) -> None:
            if tile:
                self.table.go_to(tile.id)
            self.show()
            self._tell_refusals()

        is_decision = tile is not None and outcome.act in ("approve", "reject", "later")
        title = f"{outcome.about} was not {_DONE_WORDS[outcome.act]}" if is_decision else "Not done"
        self.push_screen(Message(title, words, is_urgent=True), read)

    def _finish_if_all_is_chosen(self) -> None:
        pending = [
            t
            for t in self.table.tiles
            if self.table.is_undecided(t) and t.state == CandidateState.PENDING
        ]
        is_busy = self.table.being_decided or self._waiting or self._children
        if (
            not pending
            and not is_busy
            and len(self.screen_stack) == 1
            and self._show == Show.UNDECIDED
        ):
            self._finish()

    def _finish(self) -> None:
        """The end card."""
        leave, undo = panel.key_of(self.keys, "quit"), panel.key_of(self.keys, "undo")

        def closed(key: str | None) -> None:
            if key == leave:
                self._quit()
            elif key == undo:
                self.act("undo")
            else:
                self._look_again()

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                self._cannot_look(result)
                return
            if len(self.screen_stack) > 1:
                return
            self._decides_from = self._decides_from or time.monotonic()
            until = result.queued_until
            now = self.desk.workplace.clock()
            queue = f"until {local_time(until, now)}" if until else "nothing waits to go out"
            num_later = sum(tile.state == CandidateState.LATER for tile in self.table.tiles)
            card = panel.end_card(result, num_later, queue, self.keys)
            self.push_screen(Message("The end", card), closed)

        self._in_thread(self._reader, self.desk.summary, done)

    def _ask_about_rest(self) -> None:
        rest = [
            tile
            for tile in self.table.tiles
            if self.table.is_undecided(tile) and tile.state == CandidateState.PENDING
        ]
        if not rest:
            self.tell("nothing is pending here")
            return

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self._clerk.reject_rest(rest)
            self._tell_refusals()

        undo = panel.key_of(self.keys, "undo")
        words = (
            f"Reject the {len(rest)} that {'is' if len(rest) == 1 else 'are'} still pending here"
            f" ({_numbers([tile.id for tile in rest])})? One {undo} takes it back."
        )
        self.push_screen(Question(words), answered)

    # Words, channels, more like this

    def _write(self, tile: Tile, why: str = "") -> None:
        if tile.state not in UNDECIDED:
            undo = panel.key_of(self.keys, "undo")
            self.tell(
                f"{tile.id} is {tile.state}: its words stand. {undo} takes back what was decided last"
            )
            return

        def check(words: Words, then: Callable[[Any], None]) -> None:
            def done(result: object) -> None:
                if isinstance(result, Checked | ArtbotError):
                    then(result)
                else:
                    self._cannot_look(result)

            self._in_thread(self._reader, lambda: self.desk.check(tile.id, words), done)

        def written(result: Written | None) -> None:
            if result:
                self._drafts[tile.id] = replace(self._draft(tile.id), words=result.words)
                now = self.table.get(tile.id)
                if result.is_approval and now:
                    self._approve(now, is_draft_fine=True)
            self.show()
            self._tell_refusals()

        def opened(card: Card) -> None:
            if len(self.screen_stack) == 1 or isinstance(self.screen, Compare):
                self.push_screen(WordsDialog(card, self._draft(tile.id), why, check), written)

        self._read_card(tile, opened)

    def _choose_channels(self, tile: Tile) -> None:
        if tile.state not in UNDECIDED:
            self.tell(f"{tile.id} is {tile.state}; artbot queue moves what waits to go out")
            return

        def chosen(draft: Draft | None) -> None:
            if draft:
                self._drafts[tile.id] = draft
            self.show()
            self._tell_refusals()

        def opened(card: Card) -> None:
            if not card.channels:
                self.tell(
                    "there is no channel yet: add a [channels.NAME] table to artbot.toml", "yellow"
                )
            elif len(self.screen_stack) == 1 or isinstance(self.screen, Compare):
                self.push_screen(ChannelsDialog(card, self._draft(tile.id)), chosen)

        self._read_card(tile, opened)

    def _mark(self, tile: Tile) -> None:
        is_marked = self.table.toggle_mark(tile.id)
        count = len(self.table.marked)
        self.tell(f"{tile.id} {'marked' if is_marked else 'no longer marked'}: {count} in all")
        self.show()

    def _compare(self) -> None:
        ids = self.table.marked
        if not 2 <= len(ids) <= MOST:
            mark = panel.key_of(self.keys, "mark")
            self.tell(f"mark 2 to {MOST} to compare ({mark}); {len(ids)} are marked", "yellow")
            return

        def closed(_: None) -> None:
            self.show()
            self._finish_if_all_is_chosen()

        self._is_sheet = False
        self.push_screen(Compare(ids), closed)

    def _breed(self) -> None:
        if len(self.table.marked) != 2:
            mark = panel.key_of(self.keys, "mark")
            self.tell(
                f"mark two to breed them ({mark}); {len(self.table.marked)} are marked", "yellow"
            )
            return
        self._clerk.breed(*self.table.marked)

    def _expect(self, outcome: Outcome) -> None:
        """Tell that they will be painted, and by whom; `_take_over` tells when they are."""
        children = [number for number in outcome.children if self.table.get(number) is None]
        if not children:
            self.tell(f"{_numbers(outcome.children)} are here already")
            return
        self._children.update(dict.fromkeys(children, outcome.about or 0))
        told = f"{_numbers(children)} will be painted"

        def done(worker: object) -> None:
            if isinstance(worker, str):
                self.tell(f"{told} in a few seconds, beside {outcome.about}", "cyan")
            else:
                self.tell(f"{told} once a daemon runs: artbot daemon", "yellow")

        self._in_thread(self._reader, self.desk.workplace.current_worker, done)

    def _open_full(self, tile: Tile) -> None:
        opener = "open" if sys.platform == "darwin" else "xdg-open"
        has_display = sys.platform == "darwin" or any(
            os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
        )
        program = shutil.which(opener) if has_display else None
        if program is None:
            self.tell(str(tile.path))
            return
        nothing = subprocess.DEVNULL
        subprocess.Popen(
            [program, str(tile.path)],
            stdin=nothing,
            stdout=nothing,
            stderr=nothing,
            start_new_session=True,
        )
        self.tell(f"opened {tile.path}")

    def _help(self) -> None:
        self.push_screen(
            Message("Keys (↑ ↓ scroll)", panel.help_table(self.keys, self.chosen)),
            lambda _: self._tell_refusals(),
        )

    # Leaving

    def action_leave_here(self) -> None:
        """Ctrl+C: out of a dialog, with what was written in it; else out of the review."""
        if isinstance(self.screen, WordsDialog | ChannelsDialog):
            self.screen.action_leave()
        elif isinstance(self.screen, Message):
            close(self.screen, "escape")
        elif isinstance(self.screen, Question):
            close(self.screen, False)
        elif len(self.screen_stack) > 1:
            self.screen.dismiss(None)
        else:
            self._quit()

    def _quit(self) -> None:
        unsaid = [
            number
            for number, draft in self._drafts.items()
            if draft.words != Words()
            and (tile := self.table.get(number))
            and self.table.is_undecided(tile)
        ]
        if not unsaid:
            self._leave()
            return

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self._leave()
            self._tell_refusals()

        words = f"You wrote words for {_numbers(unsaid)} and have not approved. Leave without them?"
        self.push_screen(Question(words), answered)

    def _told_to_end(self, number: int) -> None:
        """What is decided is written down first; told so a second time, it ends as it is."""
        asyncio.get_running_loop().remove_signal_handler(number)
        self.exit(128 + number, 128 + number)

    def _leave(self) -> None:
        states = list(self._decided_here.values())
        done = ", ".join(
            f"{states.count(state)} {words}" for state, words in _DECIDED.items() if state in states
        )
        left = self.table.num_undecided if self._show == Show.UNDECIDED else None
        if done:
            self.last_words.append(f"{done}; all is saved.")
        if left:
            self.last_words.append(f"{left} to choose: artbot review")
        self.exit(0)


def _keep(image: Image.Image | None, words: str) -> None:
    """A picture that was read in advance: the album has it now."""


def _numbers(ids: Iterable[int]) -> str:
    listed = sorted(ids)
    if len(listed) > 8:
        return f"{' '.join(map(str, listed[:7]))} … {listed[-1]}"
    return " ".join(map(str, listed))


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _in_words(error: Exception | None) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())

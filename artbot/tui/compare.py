"""Two to four pictures side by side; zoomed, they move together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.geometry import Offset
from textual.screen import Screen
from textual.widgets import Static

from artbot.tui.panel import key_of, tile_line
from artbot.tui.pictures import Frame

if TYPE_CHECKING:
    from artbot.tui.app import ReviewApp

MOST = 4
_MOVES = {"next": (1, 0), "previous": (-1, 0), "down": (0, 1), "up": (0, -1)}
ON_ONE = ("approve", "reject", "later", "words", "channels", "full", "mark")


class Compare(Screen[None]):
    CSS = """
    Compare .pane { width: 1fr; padding: 0 1; }
    Compare .pane Frame { height: 1fr; }
    Compare .label { width: 100%; height: 1; text-wrap: nowrap; }
    Compare .here { background: $primary 35%; }
    Compare #keys { height: 1; padding: 0 1; color: $text-muted; }
    """
    app: ReviewApp

    def __init__(self, ids: Sequence[int]) -> None:
        super().__init__()
        self.ids = list(ids)
        self._here = 0
        self._pan: Offset | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            for number in self.ids:
                with Vertical(classes="pane"):
                    yield Frame(self.app.chosen, id=f"picture-{number}")
                    yield Static("", id=f"label-{number}", classes="label")
        yield Static("", id="keys")

    def on_mount(self) -> None:
        for number in self.ids:
            tile = self.app.table.get(number)
            if tile:
                frame = self.query_one(f"#picture-{number}", Frame)
                self.app.paint(tile, frame.show)
        self.tell()

    def on_resize(self) -> None:
        self.tell()

    def tell(self) -> None:
        """The pictures' states as they are now."""
        for index, number in enumerate(self.ids):
            tile = self.app.table.get(number)
            label = self.query_one(f"#label-{number}", Static)
            label.set_class(index == self._here, "here")
            if tile:
                line = Text("▸ " if index == self._here else "  ")
                line.append_text(tile_line(tile, False, None))
                if number in self.app.table.marked:
                    line.append("  +", "magenta")
                label.update(line)
        keys = self.app.keys
        names = ("approve", "reject", "later", "zoom", "undo")
        hints = [f"{key_of(keys, name)} {name}" for name in names if key_of(keys, name)]
        moves = "arrows move all" if self._pan is not None else "← → choose"
        self.query_one("#keys", Static).update(f"esc back · {moves} · {' · '.join(hints)}")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        if not self.is_current:
            return  # closed by the key before
        action = self.app.action_of(event)
        if event.key == "escape" or action in ("quit", "compare", "loupe", "sheet"):
            self.app.table.go_to(self.ids[self._here])
            self.dismiss(None)
            return
        if action == "zoom":
            frame = self.query_one(f"#picture-{self.ids[self._here]}", Frame)
            self._zoom(frame.middle if self._pan is None else None)
        elif action in _MOVES:
            self._move(*_MOVES[action])
        elif action in ON_ONE or (action or "").startswith("star"):
            self.app.act(action or "", self.ids[self._here])
        elif action in ("undo", "redo", "help"):
            self.app.act(action)
        self.tell()

    def _move(self, right: int, down: int) -> None:
        if self._pan is None:
            self._here = max(0, min(len(self.ids) - 1, self._here + right))
            return
        frames = [self.query_one(f"#picture-{number}", Frame) for number in self.ids]
        self._zoom(frames[0].moved(self._pan, right, down))

    def _zoom(self, pan: Offset | None) -> None:
        self._pan = pan
        for number in self.ids:
            self.query_one(f"#picture-{number}", Frame).zoom(pan)

"""The contact sheet: all pictures beside each other, each with its number, its state and its stars."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from artbot.desk import Tile
from artbot.tui.graphics import Graphics
from artbot.tui.panel import sign
from artbot.tui.pictures import blocks, fit
from artbot.tui.table import LightTable

COLUMNS, ROWS = 16, 8
"""Of one small picture, in cells."""
_WIDTH, _HEIGHT = COLUMNS + 3, ROWS + 2
_DIM, _BOLD, _HERE = Style(dim=True), Style(bold=True), Style(bold=True, reverse=True)
_STARS = Style(color="yellow")

Small = list[list[Segment]]


def small(image: Image.Image) -> tuple[Small, Small]:
    """A small picture, and the same dimmed for one that is decided."""
    fitted = fit(image, COLUMNS, ROWS, (1, 2))
    return blocks(fitted), blocks(fitted, is_dimmed=True)


class SheetView(ScrollView, can_focus=False):
    """Draws the light table; asks for small pictures as they come into view."""

    def __init__(
        self, table: LightTable, graphics: Graphics, want: Callable[[Tile], None], id: str
    ) -> None:
        super().__init__(id=id)
        self._table = table
        self._has_pictures = graphics != Graphics.NONE
        self._want = want
        self._small: dict[str, tuple[Small, Small] | None] = {}

    @property
    def num_columns(self) -> int:
        return max(1, self.size.width // _WIDTH)

    def put_small(self, sha256: str, pictures: tuple[Small, Small] | None) -> None:
        self._small[sha256] = pictures
        self.refresh()

    def show(self) -> None:
        """The table as it is now, with the one that is looked at in view."""
        rows = -(-len(self._table.tiles) // self.num_columns)
        self.virtual_size = Size(self.size.width, rows * _HEIGHT)
        top = self._table.position // self.num_columns * _HEIGHT
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)
        elif top + _HEIGHT > self.scroll_offset.y + self.size.height:
            self.scroll_to(y=top + _HEIGHT - self.size.height, animate=False)
        self.refresh()

    def on_resize(self) -> None:
        self.show()

    def render_line(self, y: int) -> Strip:
        row, line = divmod(y + self.scroll_offset.y, _HEIGHT)
        first = row * self.num_columns
        segments: list[Segment] = []
        for index in range(first, min(first + self.num_columns, len(self._table.tiles))):
            segments += self._cell(index, line)
        return Strip(segments).adjust_cell_length(self.size.width)

    def _cell(self, index: int, line: int) -> list[Segment]:
        tile, is_here = self._table.tiles[index], index == self._table.position
        edge = Segment("▌", _BOLD) if is_here else Segment(" ")
        if line == 0:
            return [edge, *self._label(tile, is_here)]
        if line > ROWS:
            return [Segment(" " * _WIDTH)]
        picture = self._picture(tile)
        if picture is None or line > len(picture):
            words = f"{tile.width_px}×{tile.height_px}" if line == ROWS // 2 and not picture else ""
            return [edge, Segment(f"{words:^{_WIDTH - 1}}", _DIM)]
        segments = picture[line - 1]
        return [edge, *segments, Segment(" " * (_WIDTH - 1 - len(segments)))]

    def _label(self, tile: Tile, is_here: bool) -> list[Segment]:
        mark = "+" if tile.id in self._table.marked else ""
        deciding = "↻" if tile.id in self._table.being_decided else ""
        state = sign(tile.state)
        number = Segment(f" {tile.id} ", _HERE if is_here else _BOLD)
        shown = [
            number,
            Segment(
                f"{deciding or state.plain}",
                None if deciding else Style.parse(str(state.style) or "none"),
            ),
            Segment(f"{mark}", _BOLD),
            Segment("★" * tile.stars, _STARS),
        ]
        alike = self._table.alike(tile)
        length = sum(len(segment.text) for segment in shown)
        rest = f" {alike[0]}/{alike[1]}" if alike else ""
        if length + len(rest) > _WIDTH - 1:
            rest = ""
        return [*shown, Segment(f"{rest:<{_WIDTH - 1 - length}}", _DIM)]

    def _picture(self, tile: Tile) -> Small | None:
        if not self._has_pictures:
            return None
        sha256 = tile.seen.image_sha256
        if sha256 not in self._small:
            self._small[sha256] = None
            self._want(tile)
        pictures = self._small[sha256]
        if pictures is None:
            return None
        return pictures[0] if self._table.is_undecided(tile) else pictures[1]

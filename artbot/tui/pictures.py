"""Pictures on the screen: read and checked, fitted into so many cells, drawn as this terminal can."""

from __future__ import annotations

import base64
import hashlib
import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image
from rich.color import Color
from rich.segment import ControlType, Segment
from rich.style import Style
from textual.containers import Container
from textual.geometry import Offset, Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from artbot.desk import Tile
from artbot.tui.graphics import Chosen, Graphics, widgets

if TYPE_CHECKING:
    from textual.app import ComposeResult

_KEPT = 12
"""Decoded pictures: the one before the person, those that come next, and four that are compared."""
_UPPER_HALF = "▀"
_DIMMED = 0.35


class PictureGone(Exception):
    """There is no file, or it is not the picture that was made."""


class Album:
    """Decoded pictures, the last few of them. One thread reads them in; others may ask what is `ready`."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[str, Image.Image] = OrderedDict()

    def ready(self, tile: Tile) -> Image.Image | None:
        return self._pictures.get(tile.seen.image_sha256)

    def get(self, tile: Tile) -> Image.Image:
        """The very picture that is decided about. Raises PictureGone."""
        sha256 = tile.seen.image_sha256
        if sha256 not in self._pictures:
            self._pictures[sha256] = read_picture(tile)
            while len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
        self._pictures.move_to_end(sha256)
        return self._pictures[sha256]


def read_picture(tile: Tile) -> Image.Image:
    """Raises PictureGone."""
    try:
        content = tile.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != tile.seen.image_sha256:
            raise PictureGone(f"{tile.path} is no longer the picture that was made")
        return Image.open(io.BytesIO(content)).convert("RGB")
    except OSError as error:  # Pillow's UnidentifiedImageError is one
        raise PictureGone(f"{tile.path} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True)
class Fitted:
    """A picture for so many cells."""

    image: Image.Image
    columns: int
    rows: int


def fit(
    image: Image.Image, columns: int, rows: int, cell_px: tuple[int, int], pan: Offset | None = None
) -> Fitted:
    """The whole picture in at most so many cells; with `pan` the part of it from there on, one pixel of it for
    each of the screen."""
    wide, high = cell_px
    if pan is not None:
        left, top = clamp(pan, image, columns, rows, cell_px)
        right = min(image.width, left + columns * wide)
        bottom = min(image.height, top + rows * high)
        part = image.crop((left, top, right, bottom))
        return Fitted(part, -(-part.width // wide), -(-part.height // high))
    scale = min(columns * wide / image.width, rows * high / image.height)
    return Fitted(
        image,
        max(1, min(columns, round(image.width * scale / wide))),
        max(1, min(rows, round(image.height * scale / high))),
    )


def clamp(
    pan: Offset, image: Image.Image, columns: int, rows: int, cell_px: tuple[int, int]
) -> Offset:
    """Where a part may begin, so that it is full of picture."""
    return Offset(
        max(0, min(pan.x, image.width - columns * cell_px[0])),
        max(0, min(pan.y, image.height - rows * cell_px[1])),
    )


def blocks(fitted: Fitted, is_dimmed: bool = False) -> list[list[Segment]]:
    """The rows of a picture, two pixels a cell."""
    columns, rows = fitted.columns, fitted.rows
    small = fitted.image.resize((columns, 2 * rows), Image.Resampling.LANCZOS)
    if is_dimmed:
        small = small.point(lambda value: value * _DIMMED)
    pixels = small.tobytes()
    stride = 3 * columns
    lines = []
    for row in range(rows):
        upper, lower = 2 * row * stride, (2 * row + 1) * stride
        lines.append(
            [
                Segment(
                    _UPPER_HALF,
                    Style(
                        color=Color.from_rgb(*pixels[upper + x : upper + x + 3]),
                        bgcolor=Color.from_rgb(*pixels[lower + x : lower + x + 3]),
                    ),
                )
                for x in range(0, stride, 3)
            ]
        )
    return lines


class Blocks(Widget):
    """A picture of half-blocks: on any terminal with colours."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[list[Segment]] = []

    def hang(self, fitted: Fitted) -> None:
        self._rows = blocks(fitted)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        return Strip(self._rows[y]) if y < len(self._rows) else Strip.blank(self.size.width)


class Inline(Widget):
    """A picture in iTerm2's protocol (https://iterm2.com/documentation-images.html), painted over empty cells."""

    _sequence = ""

    def hang(self, fitted: Fitted) -> None:
        buffer = io.BytesIO()
        fitted.image.save(buffer, "PNG")
        content = buffer.getvalue()
        self._sequence = (
            f"\x1b]1337;File=inline=1;size={len(content)};width={fitted.columns};height={fitted.rows};"
            f"preserveAspectRatio=0;doNotMoveCursor=1:{base64.b64encode(content).decode()}\x07"
        )
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        """The last line brings the picture, once the cells under it are written."""
        lines = [Strip.blank(crop.width)] * crop.height
        if crop.size == self.size:  # else something lies on it
            picture = f"\x1b7\x1b[{self.region.y + 1};{self.region.x + 1}H{self._sequence}\x1b8"
            # Rich measures no control; its kind does not matter.
            control = Segment(picture, None, [(ControlType.CURSOR_FORWARD, 0)])
            lines[-1] = Strip([Segment(" " * crop.width), control], crop.width)
        return lines


class Frame(Container):
    """A place for a picture, in whose middle it hangs as large as it can."""

    DEFAULT_CSS = """
    Frame { align: center middle; overflow: hidden; }
    Frame > Static { width: auto; max-width: 100%; color: $text-muted; }
    """

    def __init__(self, chosen: Chosen, id: str | None = None) -> None:
        super().__init__(id=id)
        self._chosen = chosen
        self._picture = _picture_widget(chosen)
        self._image: Image.Image | None = None
        self._words = ""
        self._pan: Offset | None = None
        self._drawn: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)
        if self._picture is not None:
            yield self._picture

    def show(self, image: Image.Image | None, words: str = "") -> None:
        """The picture, or words in its place."""
        self._image, self._words = image, words
        self._draw()

    def zoom(self, pan: Offset | None) -> None:
        """Every pixel as it is, from there on; None: the whole picture."""
        self._pan = pan
        self._draw()

    def moved(self, pan: Offset, right: int, down: int) -> Offset:
        """A quarter of the view in that direction, as far as there is picture."""
        wide, high = self._cell_px
        columns, rows = self.size
        wanted = pan + Offset(right * max(1, columns * wide // 4), down * max(1, rows * high // 4))
        return clamp(wanted, self._image, columns, rows, self._cell_px) if self._image else pan

    @property
    def middle(self) -> Offset:
        """Where a zoomed part begins that shows the middle."""
        if self._image is None:
            return Offset(0, 0)
        wide, high = self._cell_px
        columns, rows = self.size
        left = (self._image.width - columns * wide) // 2
        top = (self._image.height - rows * high) // 2
        return clamp(Offset(left, top), self._image, columns, rows, self._cell_px)

    @property
    def shown_px(self) -> tuple[int, int]:
        """How many pixels are drawn of the whole picture."""
        if self._image is None:
            return 0, 0
        fitted = fit(self._image, *self.size, self._cell_px)
        return fitted.columns * self._cell_px[0], fitted.rows * self._cell_px[1]

    def on_resize(self) -> None:
        self._draw()

    @property
    def _cell_px(self) -> tuple[int, int]:
        return (1, 2) if self._chosen.graphics == Graphics.BLOCKS else self._chosen.cell_px

    def _draw(self) -> None:
        columns, rows = self.size
        key = (self._image, self._words, self._pan, columns, rows)
        if key == self._drawn or not (columns and rows and self.children):
            return
        self._drawn = key
        image, words = self._image, self.query_one(Static)
        picture = self._picture
        words.display = image is None or picture is None
        if image is not None and picture is None:
            words.update(f"(--graphics none)\n{image.width} by {image.height} pixels")
        else:
            words.update(self._words)
        if picture is None:
            return
        picture.display = image is not None
        if image is not None:
            fitted = fit(image, columns, rows, self._cell_px, self._pan)
            picture.styles.width, picture.styles.height = fitted.columns, fitted.rows
            if isinstance(picture, Blocks | Inline):
                picture.hang(fitted)
            else:  # one of textual-image
                picture.image = fitted.image


def _picture_widget(chosen: Chosen) -> Any:
    """None where no pictures are drawn."""
    match chosen.graphics:
        case Graphics.NONE:
            return None
        case Graphics.BLOCKS:
            return Blocks()
        case Graphics.ITERM2:
            return Inline()
        case Graphics.KITTY:
            return widgets(chosen.cell_px).TGPImage()
        case Graphics.SIXEL:
            return widgets(chosen.cell_px).SixelImage()

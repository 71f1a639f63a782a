"""The contact sheet: all pictures that wait, each with the number a person types to decide on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from artbot.files import write_atomically

if TYPE_CHECKING:
    from PIL import Image

SHEET_WIDTH_PX = 1280
MIN_TILE_PX = 128
MAX_TILE_PX = 512
MARGIN_PX = 24
GAP_PX = 16
LABEL_PX = 30
HEADING_PX = 44
BATCH_PX = 44
SMALL_QUALITY = 85
PAPER = (250, 249, 246)
INK = (40, 38, 36)
FADED = (140, 136, 130)


@dataclass(frozen=True)
class Tile:
    """One picture on the sheet."""

    path: Path
    label: str
    """What stands under it, large: the candidate's number."""
    note: str
    """Beside the label, small."""
    batch: str = ""
    """Where the tiles are of several batches, each batch stands under its name."""


def write_sheet(tiles: Sequence[Tile], heading: str, output: Path) -> None:
    """Write the tiles as a PNG to `output`, in this order, batch below batch. Small pictures are enlarged
    by whole steps, kept crisp.

    Raises OSError. A picture that cannot be read leaves its place empty, with the reason in it.
    """
    buffer = BytesIO()
    _draw(tiles, heading).save(buffer, "PNG")
    write_atomically(output, buffer.getvalue())


def small_sheet(tiles: Sequence[Tile], heading: str) -> bytes:
    """The same as a JPEG, to be looked at on a telephone."""
    buffer = BytesIO()
    _draw(tiles, heading).save(buffer, "JPEG", quality=SMALL_QUALITY, subsampling="4:4:4")
    return buffer.getvalue()


def _draw(tiles: Sequence[Tile], heading: str) -> Image.Image:
    from PIL import Image, ImageDraw, ImageFont

    columns = _columns(len(tiles))
    tile_px = min(MAX_TILE_PX, (SHEET_WIDTH_PX - 2 * MARGIN_PX - (columns - 1) * GAP_PX) // columns)
    places, headings, bottom = _places(tiles, columns, tile_px)
    sheet = Image.new("RGB", (SHEET_WIDTH_PX, bottom + MARGIN_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    large, middle, small = (ImageFont.load_default(size) for size in (20, 16, 13))
    draw.text((MARGIN_PX, MARGIN_PX), heading, INK, large)
    for name, y in headings:
        draw.text((MARGIN_PX, y), name, FADED, middle)
    for tile, (x, y) in zip(tiles, places, strict=True):
        picture = _fitted(tile.path, tile_px)
        left, right = x, x + tile_px
        if picture is None:
            draw.rectangle((x, y, x + tile_px - 1, y + tile_px - 1), outline=FADED)
            draw.text((x + 8, y + 8), "cannot be read", FADED, small)
        else:
            left = x + (tile_px - picture.width) // 2
            right = left + picture.width
            sheet.paste(picture, (left, y + tile_px - picture.height))
        draw.text((left, y + tile_px + 4), tile.label, INK, large)
        draw.text((right, y + tile_px + 9), tile.note, FADED, small, anchor="ra")
    return sheet


def _places(
    tiles: Sequence[Tile], columns: int, tile_px: int
) -> tuple[list[tuple[int, int]], list[tuple[str, int]], int]:
    """Left and top of every tile, the batches' names with their top, and where the last label ends."""
    batches = [(name, len(list(group))) for name, group in groupby(tiles, lambda tile: tile.batch)]
    places, headings = [], []
    top = MARGIN_PX + HEADING_PX
    for name, count in batches:
        if len(batches) > 1:
            headings.append((name, top + BATCH_PX // 3))
            top += BATCH_PX
        for position in range(count):
            row, column = divmod(position, columns)
            x = MARGIN_PX + column * (tile_px + GAP_PX)
            places.append((x, top + row * (tile_px + LABEL_PX + GAP_PX)))
        top += math.ceil(count / columns) * (tile_px + LABEL_PX + GAP_PX)
    return places, headings, top - GAP_PX


def _columns(count: int) -> int:
    """As many as leave the tiles large enough to judge, and the sheet not much taller than wide."""
    most = (SHEET_WIDTH_PX - 2 * MARGIN_PX + GAP_PX) // (MIN_TILE_PX + GAP_PX)
    return max(min(count, 3), min(most, math.ceil(math.sqrt(count * 1.3))))


def _fitted(path: Path, tile_px: int) -> Image.Image | None:
    """The picture at most `tile_px` wide: enlarged by an integer, or reduced smoothly."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as opened:
            picture = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for missing and damaged files
        return None
    factor = tile_px // max(picture.size)
    if factor >= 1:
        return picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
    picture.thumbnail((tile_px, tile_px), Image.Resampling.LANCZOS)
    return picture

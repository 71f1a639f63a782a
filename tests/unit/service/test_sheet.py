"""The contact sheet: every picture in its place, crisp, whatever their number."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from artbot.review.sheet import (
    BATCH_PX,
    MARGIN_PX,
    MAX_TILE_PX,
    PAPER,
    SHEET_WIDTH_PX,
    Tile,
    _fitted,
    small_sheet,
    write_sheet,
)


def checkerboard(path: Path, colour: tuple[int, int, int], size_px: int = 32) -> Path:
    """Every pixel unlike its neighbours: blurring or uneven enlargement shows at once."""
    rows, columns = np.indices((size_px, size_px))
    pixels = np.where(((rows + columns) % 2)[..., None], colour, (0, 0, 0)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def make_tiles(folder: Path, count: int, size_px: int = 32) -> list[Tile]:
    return [
        Tile(checkerboard(folder / f"{n}.png", colour_of(n), size_px), str(n + 1), f"seed {n}")
        for n in range(count)
    ]


def colour_of(number: int) -> tuple[int, int, int]:
    """One of its own for each of 200."""
    return (255, number, 255 - number)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as sheet:
        assert (sheet.format, sheet.mode, sheet.width) == ("PNG", "RGB", SHEET_WIDTH_PX)
        return np.asarray(sheet)


def box_of(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels of that colour."""
    red, green, blue = colour
    is_here = (sheet[..., 1] == green) & (sheet[..., 0] == red) & (sheet[..., 2] == blue)
    rows, columns = np.nonzero(is_here)
    assert rows.size, f"no pixel of {colour}"
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("count", [1, 2, 3, 24, 200])
def test_every_picture_is_on_the_sheet_in_reading_order_without_overlap(
    tmp_path: Path, count: int
) -> None:
    tiles = make_tiles(tmp_path, count)
    write_sheet(tiles, f"{count} works", tmp_path / "sheet.png")
    sheet = read(tmp_path / "sheet.png")
    boxes = [box_of(sheet, colour_of(n)) for n in range(count)]
    for left, top, right, bottom in boxes:
        assert MARGIN_PX <= left < right <= SHEET_WIDTH_PX - MARGIN_PX
        assert right - left == bottom - top, "not square"
        assert 0 < top < bottom <= sheet.shape[0] - MARGIN_PX
    assert len({right - left for left, _, right, _ in boxes}) == 1
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    taken = np.zeros(sheet.shape[:2], dtype=int)
    for left, top, right, bottom in boxes:
        taken[top:bottom, left:right] += 1
    assert taken.max() == 1


def test_each_of_several_batches_begins_a_row_under_its_name(tmp_path: Path) -> None:
    """Four of one batch and five of another: whose numbers go on below is told."""
    tiles = [
        dataclasses.replace(tile, batch="daily-2026-11-21" if n < 4 else "daily-2026-11-20")
        for n, tile in enumerate(make_tiles(tmp_path, 9))
    ]
    write_sheet(tiles, "9 wait", tmp_path / "sheet.png")
    sheet = read(tmp_path / "sheet.png")
    boxes = [box_of(sheet, colour_of(n)) for n in range(9)]
    assert boxes == sorted(boxes, key=lambda box: (box[1], box[0]))
    for first in (0, 4):
        left, top, _, _ = boxes[first]
        assert left < MARGIN_PX + 40, "at the beginning of a row"
        name = sheet[top - BATCH_PX : top - 4, MARGIN_PX : MARGIN_PX + 200]
        assert (name != PAPER).any(-1).sum() > 200
    write_sheet([dataclasses.replace(t, batch="a") for t in tiles], "9", tmp_path / "one.png")
    alone = read(tmp_path / "one.png")
    assert alone.shape[0] < sheet.shape[0], "a batch alone needs no name"


def test_for_a_telephone_the_same_sheet_is_a_jpeg(tmp_path: Path) -> None:
    tiles = make_tiles(tmp_path, 3)
    write_sheet(tiles, "3 works", tmp_path / "sheet.png")
    with Image.open(io.BytesIO(small_sheet(tiles, "3 works"))) as small:
        assert small.format == "JPEG"
        there = np.asarray(small.convert("RGB"), np.int16)
    assert np.abs(there - read(tmp_path / "sheet.png")).mean() < 4


@pytest.mark.parametrize("count", [1, 3, 24, 200])
def test_small_pictures_are_enlarged_by_whole_steps_and_stay_crisp(
    tmp_path: Path, count: int
) -> None:
    write_sheet(make_tiles(tmp_path, count), "works", tmp_path / "sheet.png")
    sheet = read(tmp_path / "sheet.png")
    left, top, right, bottom = box_of(sheet, colour_of(0))
    factor, rest = divmod(right - left, 32)
    assert factor >= 1
    assert rest == 0
    with Image.open(tmp_path / "0.png") as original:
        pixels = np.asarray(original)
    assert (sheet[top:bottom, left:right] == pixels.repeat(factor, 0).repeat(factor, 1)).all()


def test_a_single_picture_does_not_fill_the_wall(tmp_path: Path) -> None:
    write_sheet(make_tiles(tmp_path, 1), "one work", tmp_path / "sheet.png")
    left, _, right, _ = box_of(read(tmp_path / "sheet.png"), colour_of(0))
    assert right - left <= MAX_TILE_PX


def test_large_pictures_are_reduced_to_their_place(tmp_path: Path) -> None:
    tiles = []
    for n in range(12):
        path = tmp_path / f"{n}.png"
        Image.new("RGB", (1500, 900), colour_of(n)).save(path)
        tiles.append(Tile(path, str(n), ""))
    write_sheet(tiles, "works", tmp_path / "sheet.png")
    left, top, right, bottom = box_of(read(tmp_path / "sheet.png"), colour_of(3))
    assert right - left <= 400
    assert (right - left) / (bottom - top) == pytest.approx(1500 / 900, rel=0.03)


def spoil_nothing_there(path: Path) -> None:
    path.unlink()


def spoil_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_text(path: Path) -> None:
    path.write_text("no picture")


def spoil_format(path: Path) -> None:
    Image.new("RGB", (9, 9)).save(path, "BMP")


def spoil_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "spoil", [spoil_nothing_there, spoil_half, spoil_text, spoil_format, spoil_folder]
)
def test_a_picture_that_cannot_be_read_leaves_its_place_and_the_others_in_theirs(
    tmp_path: Path, spoil: object
) -> None:
    tiles = make_tiles(tmp_path, 6)
    write_sheet(tiles, "works", tmp_path / "whole.png")
    spoil(tiles[2].path)
    write_sheet(tiles, "works", tmp_path / "spoilt.png")
    whole, spoilt = read(tmp_path / "whole.png"), read(tmp_path / "spoilt.png")
    assert whole.shape == spoilt.shape
    for n in (0, 1, 3, 4, 5):
        assert box_of(whole, colour_of(n)) == box_of(spoilt, colour_of(n))
    left, top, right, bottom = box_of(whole, colour_of(2))
    place = spoilt[top:bottom, left:right]
    assert (place == PAPER).all(-1).mean() > 0.8
    assert not (place == PAPER).all(), "the reason stands there"


def test_no_damage_to_a_picture_stops_the_sheet(tmp_path: Path) -> None:
    """Each byte in turn is spoilt: whatever Pillow raises, the sheet is written."""
    (tile,) = make_tiles(tmp_path, 1, size_px=8)
    content = tile.path.read_bytes()
    for at in range(len(content)):
        tile.path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        _fitted(tile.path, 64)


def test_labels_tell_the_number_of_every_work(tmp_path: Path) -> None:
    """Two sheets that differ in one label differ below that picture and nowhere else."""
    tiles = make_tiles(tmp_path, 4)
    write_sheet(tiles, "works", tmp_path / "a.png")
    tiles[1] = Tile(tiles[1].path, "77", tiles[1].note)
    write_sheet(tiles, "works", tmp_path / "b.png")
    a, b = read(tmp_path / "a.png"), read(tmp_path / "b.png")
    rows, columns = np.nonzero((a != b).any(-1))
    left, _, right, bottom = box_of(a, colour_of(1))
    assert bottom <= rows.min()
    assert rows.max() < bottom + 40
    assert left - 20 <= columns.min() <= columns.max() < right


def test_a_sheet_that_is_there_is_replaced_whole(tmp_path: Path) -> None:
    output = tmp_path / "sheet.png"
    output.write_text("the old one")
    write_sheet(make_tiles(tmp_path, 1), "works", output)
    read(output)
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".tmp")] == []


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_sheet(make_tiles(tmp_path, 1), "works", tmp_path / "nowhere" / "sheet.png")

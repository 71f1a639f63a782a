"""A picture in so many cells."""

from PIL import Image
from textual.geometry import Offset

from artbot.tui.graphics import Chosen, Graphics
from artbot.tui.panel import preview_words
from artbot.tui.pictures import blocks, clamp, fit

BLOCK = (1, 2)


def a_picture(width: int, height: int) -> Image.Image:
    """Each pixel says where it is: red is its column, green its row."""
    picture = Image.new("RGB", (width, height))
    picture.putdata([(x, y, 7) for y in range(height) for x in range(width)])
    return picture


def test_a_picture_keeps_its_shape_in_cells_of_any_shape() -> None:
    for cell_px in (BLOCK, (10, 20), (9, 18)):
        square = fit(a_picture(64, 64), 60, 20, cell_px)
        assert (square.columns, square.rows) == (40, 20)
        wide = fit(a_picture(100, 50), 60, 20, cell_px)
        assert (wide.columns, wide.rows) == (60, 15)


def test_half_blocks_show_every_pixel_where_there_is_room_in_its_own_colour() -> None:
    picture = a_picture(8, 6)
    rows = blocks(fit(picture, 8, 3, BLOCK))
    assert [len(row) for row in rows] == [8, 8, 8]
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            assert cell.style is not None
            colours = (cell.style.color, cell.style.bgcolor)
            for below, colour in enumerate(colours):
                assert colour is not None
                assert colour.triplet == picture.getpixel((x, 2 * y + below))


def test_zoomed_each_pixel_of_the_picture_is_one_of_the_screen() -> None:
    part = fit(a_picture(64, 64), 10, 4, BLOCK, Offset(20, 30))
    assert part.image.size == (10, 8)
    assert part.image.getpixel((0, 0)) == (20, 30, 7)
    assert (part.columns, part.rows) == (10, 4)


def test_a_part_does_not_reach_beyond_the_picture() -> None:
    assert clamp(Offset(60, 99), a_picture(64, 64), 10, 4, BLOCK) == Offset(54, 56)
    assert clamp(Offset(-5, -1), a_picture(64, 64), 10, 4, BLOCK) == Offset(0, 0)
    assert clamp(Offset(5, 5), a_picture(4, 4), 10, 4, BLOCK) == Offset(0, 0)


def test_it_says_how_little_half_blocks_show() -> None:
    shown = Chosen(Graphics.BLOCKS, "", (10, 20))
    assert preview_words(shown, (60, 60), (256, 256)) == "preview: 5 % of its pixels"
    assert preview_words(shown, (64, 64), (64, 64)) == ""
    assert preview_words(Chosen(Graphics.KITTY, "", (10, 20)), (60, 60), (256, 256)) == ""

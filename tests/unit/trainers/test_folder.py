"""Reading a folder of pictures: what is taken, what is left out, and the reason a person is told."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from tests.trainer_fixtures import write_pictures
from trainers.data.folder import (
    MAX_PIXELS,
    PictureFile,
    PictureRejected,
    decode_square,
    hash_picture,
    list_pictures,
)
from trainers.errors import DatasetError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def decoded(path: Path, size_px: int = 32) -> np.ndarray:
    image, _ = decode_square(path, size_px)
    assert (image.shape, image.dtype) == ((size_px, size_px, 3), np.uint8)
    return image


def middle(image: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in image[16, 16])


def png_header_only(path: Path, width: int, height: int) -> None:
    """A PNG that says how large it is and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))


# ---------------------------------------------------------------- every kind of picture


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"])
def test_every_listed_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (40, 40), (200, 40, 90)).save(path)
    assert [f.relative for f in list_pictures(tmp_path)] == [path.name]
    assert np.allclose(middle(decoded(path)), (200, 40, 90), atol=6)


def test_what_a_phone_writes_under_the_name_jpg_is_read(tmp_path: Path) -> None:
    """MPO: a JPEG with a second picture behind it."""
    path = tmp_path / "phone.jpg"
    first, second = Image.new("RGB", (40, 40), RED), Image.new("RGB", (40, 40), BLUE)
    first.save(path, format="MPO", save_all=True, append_images=[second])
    assert np.allclose(middle(decoded(path)), RED, atol=6)


def test_a_file_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    Image.new("RGB", (40, 40), GREEN).save(path, format="PNG")
    assert middle(decoded(path)) == GREEN


def test_grey_pictures_become_grey_rgb(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 77).save(tmp_path / "grey.png")
    assert middle(decoded(tmp_path / "grey.png")) == (77, 77, 77)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_parts_become_white_and_half_transparent_ones_half_white(
    tmp_path: Path, mode: str
) -> None:
    picture = Image.new(mode, (40, 40), (0,) * len(mode))
    picture.paste((0,) * (len(mode) - 1) + (128,), (0, 0, 40, 20))
    picture.save(tmp_path / "alpha.png")
    image = decoded(tmp_path / "alpha.png")
    assert tuple(image[28, 16]) == (255, 255, 255)
    assert np.allclose(image[4, 16], 127, atol=1)


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    picture = Image.new("P", (40, 40), 1)
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(0, (0, 0, 40, 20))
    picture.save(tmp_path / "palette.png", transparency=1)
    image = decoded(tmp_path / "palette.png")
    assert tuple(image[4, 16]) == RED
    assert tuple(image[28, 16]) == (255, 255, 255)


def test_cmyk_jpegs_become_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    red, green, blue = middle(decoded(tmp_path / "print.jpg"))
    assert red > 230
    assert max(green, blue) < 40


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 40).astype(np.uint16)[:, None], 40, axis=1)
    Image.fromarray(ramp).save(tmp_path / "scan.png")
    column = decoded(tmp_path / "scan.png")[:, 16, 0].astype(int)
    assert column[0] < 10
    assert abs(column[16] - 128) < 8, "half grey stays half grey"
    assert column[-1] > 245


def test_an_exif_rotated_jpeg_is_turned_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (64, 64), BLUE)
    picture.paste(RED, (0, 0, 64, 32))  # red above blue, as stored
    exif = Image.Exif()
    exif[0x0112] = 3  # "turn by 180 degrees to view"
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = decoded(tmp_path / "turned.jpg")
    assert image[4, 16, 2] > 200, "blue above"
    assert image[28, 16, 0] > 200, "red below"


def test_the_middle_square_is_taken_without_stretching(tmp_path: Path) -> None:
    wide = Image.new("RGB", (120, 40), RED)
    wide.paste(GREEN, (40, 0, 80, 40))
    wide.save(tmp_path / "wide.png")
    image, original_px = decode_square(tmp_path / "wide.png", 32)
    assert original_px == (120, 40)
    assert (image[:, 2:-2] == GREEN).all(), "the red thirds left and right are cut off"


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (40, 40), RED), Image.new("RGB", (40, 40), BLUE)
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    assert middle(decoded(tmp_path / "moving.gif")) == RED


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_museums_high_resolution_scan_is_taken(tmp_path: Path) -> None:
    """90 million pixels: above the number from which Pillow warns of a decompression bomb."""
    Image.new("L", (9500, 9500), 120).save(tmp_path / "scan.jpg", quality=30)
    assert np.allclose(middle(decoded(tmp_path / "scan.jpg")), 120, atol=3)


# ---------------------------------------------------------------- what is left out, and why


def write_truncated_jpeg(path: Path) -> None:
    write_pictures(path.parent, 1, edge_px=200)
    with Image.open(path.parent / "000.png") as picture:
        picture.save(path, format="JPEG", quality=95)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated jpeg": (
        write_truncated_jpeg,
        r"^is damaged \(image file is truncated \(\d+ bytes not processed\)\)$",
    ),
    "text": (lambda p: p.write_text("no picture at all"), "is not a picture"),
    "zero bytes": (lambda p: p.write_bytes(b""), "^is empty$"),
    "icon": (
        lambda p: Image.new("RGB", (15, 400)).save(p, format="PNG"),
        r"is too small \(15x400 px; 16 px is the least\)",
    ),
    "bomb that Pillow refuses": (
        lambda p: png_header_only(p, 50_000, 50_000),
        "has more than 178,000,000 pixels",
    ),
    "bomb just below": (
        lambda p: png_header_only(p, 17_900, 9_960),
        r"has more than 178,000,000 pixels \(17900x9960\)",
    ),
    "header without pixels": (lambda p: png_header_only(p, 64, 64), "is damaged"),
    "kind that is not read": (
        lambda p: Image.new("RGB", (40, 40)).save(p, format="PPM"),
        "is not a picture, or of a kind that is not read",
    ),
    "postscript, whose decoder would start a program": (
        lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n"),
        "is not a picture, or of a kind that is not read",
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", BROKEN)
def test_an_unusable_file_is_left_out_with_a_reason(tmp_path: Path, kind: str) -> None:
    write, reason = BROKEN[kind]
    path = tmp_path / "broken.jpg"
    write(path)
    with pytest.raises(PictureRejected, match=reason):
        decode_square(path, 32)


def test_the_limit_of_pixels_lies_below_pillows_own_so_that_the_reason_given_is_true() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS <= 2 * Image.MAX_IMAGE_PIXELS


def test_a_file_that_opens_but_cannot_be_read_is_left_out_with_the_systems_reason(
    tmp_path: Path,
) -> None:
    """`/proc/self/mem` is a plain file whose first byte nobody may read, root included."""
    (tmp_path / "bad-sector.jpg").symlink_to("/proc/self/mem")
    with pytest.raises(PictureRejected, match=r"cannot be read \(Input/output error\)"):
        hash_picture(tmp_path, PictureFile("bad-sector.jpg", 0, 0))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_left_out_with_the_systems_reason(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "000.png").chmod(0)
    with pytest.raises(PictureRejected, match=r"cannot be read \(Permission denied\)"):
        hash_picture(tmp_path, list_pictures(tmp_path)[0])


# ---------------------------------------------------------------- what is listed


def test_pictures_are_listed_by_path_with_their_class_folder(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/deep/1.png", "0.png", "B.PNG"):
        write_pictures((tmp_path / name).parent, 1)
        ((tmp_path / name).parent / "000.png").rename(tmp_path / name)
    found = list_pictures(tmp_path)
    assert [(f.relative, f.class_name) for f in found] == [
        ("0.png", None),
        ("B.PNG", None),
        ("a/deep/1.png", "a"),
        ("b/2.png", "b"),
    ]
    assert found[0].num_bytes == (tmp_path / "0.png").stat().st_size


def test_hidden_things_other_files_folders_and_dangling_links_are_passed_over(
    tmp_path: Path,
) -> None:
    write_pictures(tmp_path, 1)
    write_pictures(tmp_path / ".thumbnails", 1)
    (tmp_path / "000.png").with_name("._000.png").write_bytes(b"what macOS leaves")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert [f.relative for f in list_pictures(tmp_path)] == ["000.png"]


def test_a_linked_picture_counts_as_one(tmp_path: Path) -> None:
    elsewhere = write_pictures(tmp_path / "elsewhere", 1)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked.png").symlink_to(elsewhere / "000.png")
    assert [f.relative for f in list_pictures(tmp_path / "here")] == ["linked.png"]


def test_a_folder_that_is_not_there_ends_with_a_message(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot read .*gone: No such file"):
        list_pictures(tmp_path / "gone")


def test_this_pillow_can_read_webp() -> None:
    """Pillow can be built without it, and then every WebP would count as damaged."""
    assert features.check("webp")

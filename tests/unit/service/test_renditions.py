"""The picture as each channel gets it: the painted file where it fits, else the best that does."""

from __future__ import annotations

import functools
import hashlib
import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops
from pydantic import ValidationError

from artbot.errors import Rejected
from artbot.publishing import renditions
from artbot.publishing.posting import PictureSettings
from artbot.publishing.rehearsal import rehearsal
from artbot.publishing.renditions import PictureLimits, Presentation, rendition
from artbot.publishing.work import Picture, Work
from artbot.studio.provenance import Origin, encode_png
from tests.unit.service.kit import a_work

JPEG = PictureLimits(("image/jpeg",))
WEBP = PictureLimits(("image/webp",))
PNG = PictureLimits(("image/png",))
BY_PIXELS = Presentation(enlarge_to_px=300, enlarge_by="pixels")


@functools.cache
def a_painting(side_px: int = 96, noise: float = 8.0) -> Work:
    """Soft shapes under grain: what compresses well, and what does not."""
    grain = np.random.default_rng(7)
    soft = Image.fromarray(grain.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(soft.resize((side_px, side_px), Image.Resampling.BICUBIC), np.float32)
    pixels = (pixels + grain.normal(0, noise, pixels.shape)).clip(0, 255).astype(np.uint8)
    origin = Origin(candidate="daily-2026-11-21-03", checkpoint_sha256="0", seed=1, recipe={})
    content = encode_png(pixels, origin)
    sha256 = hashlib.sha256(content).hexdigest()
    return replace(a_work(content), picture=Picture(content, "image/png", side_px, side_px, sha256))


def opened(picture: Picture) -> Image.Image:
    """The file as somebody else reads it."""
    image = Image.open(io.BytesIO(picture.content))
    assert image.size == (picture.width_px, picture.height_px)
    assert Image.MIME[image.format or ""] == picture.media_type
    assert hashlib.sha256(picture.content).hexdigest() == picture.sha256
    return image.convert("RGB")


def painted(work: Work) -> Image.Image:
    return opened(work.picture)


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        found.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


# ---------------------------------------------------------------- nothing is done that need not be


@pytest.mark.parametrize(
    "limits",
    [
        PictureLimits(),
        PNG,
        PictureLimits(("image/jpeg", "image/png")),
        PictureLimits(max_bytes=40_000, max_side_px=96, max_pixels=96 * 96),
    ],
)
def test_where_it_is_taken_the_painted_file_goes_out_with_its_xmp_and_else_as_it_is(
    limits: PictureLimits,
) -> None:
    work = a_painting()
    sent = chunks(rendition(work, limits).content)
    added = [chunk for chunk in sent if chunk not in chunks(work.picture.content)]
    assert [(kind, data[:18]) for kind, data in added] == [(b"iTXt", b"XML:com.adobe.xmp\0")]
    assert [chunk for chunk in sent if chunk not in added] == chunks(work.picture.content)


def test_the_xmp_stands_before_the_pixels_so_that_it_is_read_without_them() -> None:
    kinds = [kind for kind, _ in chunks(rendition(a_painting(), PNG).content)]
    assert kinds[:2] == [b"IHDR", b"iTXt"]


def test_an_xmp_that_the_painted_file_has_already_is_replaced() -> None:
    work = a_painting()
    once = rendition(work, PNG)
    again = rendition(replace(work, picture=once), PNG)
    assert again.content == once.content


def test_where_no_png_is_taken_the_same_pixels_go_out_if_they_can() -> None:
    work = a_painting()
    sent = rendition(work, PictureLimits(("image/jpeg", "image/webp")))
    assert sent.media_type == "image/webp"
    assert opened(sent).tobytes() == painted(work).tobytes()


@pytest.mark.parametrize(
    ("limits", "presentation"),
    [
        (JPEG, Presentation()),
        (WEBP, Presentation()),
        (replace(JPEG, max_bytes=9_000), Presentation()),
        (PictureLimits(max_bytes=6_000), Presentation()),
        (PictureLimits(), Presentation(200, "lanczos", 7, "#102030")),
    ],
)
def test_it_is_the_same_bytes_every_time(limits: PictureLimits, presentation: Presentation) -> None:
    first = rendition(a_painting(), limits, presentation)
    a_painting.cache_clear()
    assert rendition(a_painting(), limits, presentation).content == first.content


# ---------------------------------------------------------------- limits


def test_the_highest_quality_that_fits_is_taken() -> None:
    work = a_painting()
    best = rendition(work, JPEG)
    room = len(best.content)
    assert rendition(work, replace(JPEG, max_bytes=room)).content == best.content
    next_best = rendition(work, replace(JPEG, max_bytes=room - 1))
    assert next_best.width_px == 96
    assert 0.85 * room < len(next_best.content) < room


def test_of_two_files_that_lose_something_the_nearer_to_the_painting_is_taken() -> None:
    work = a_painting()
    room = 9_000

    def distance(limits: PictureLimits) -> float:
        difference = ImageChops.difference(opened(rendition(work, limits)), painted(work))
        return float(np.square(np.asarray(difference, np.float64)).mean())

    lossy = [replace(limits, max_bytes=room) for limits in (JPEG, WEBP)]
    assert len(rendition(work, PictureLimits(max_bytes=room)).content) <= room
    assert distance(PictureLimits(max_bytes=room)) == min(map(distance, lossy))


def test_a_large_picture_is_no_webp_where_another_file_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A WebP of 16 million pixels takes half a minute."""
    monkeypatch.setattr(renditions, "LARGE", 96 * 96 - 1)
    work = a_painting()
    for limits in (PictureLimits(("image/webp", "image/jpeg")), PictureLimits(max_bytes=8_000)):
        assert rendition(work, limits).media_type == "image/jpeg"
    assert rendition(work, WEBP).media_type == "image/webp"


def test_what_does_not_fit_in_decent_quality_is_made_smaller_and_no_smaller_than_it_must() -> None:
    work = a_painting(256, noise=20)
    room = 12_000
    smaller = rendition(work, replace(JPEG, max_bytes=room))
    assert 64 < smaller.width_px == smaller.height_px < 256
    assert 0.85 * room < len(smaller.content) <= room
    by_hand = painted(work).resize(opened(smaller).size, Image.Resampling.LANCZOS)
    difference = np.asarray(ImageChops.difference(by_hand, opened(smaller)), np.float64)
    assert np.sqrt(np.square(difference).mean()) < 20


def test_what_fits_only_as_a_stamp_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(
        Rejected, match=r"with 64 x 64 px it has [\d,]+ bytes as image/jpeg, and 500"
    ):
        rendition(a_painting(), replace(JPEG, max_bytes=500))


def test_a_channel_whose_formats_nobody_writes_is_told_so() -> None:
    with pytest.raises(Rejected, match="would have to be image/gif, and artbot writes image/png"):
        rendition(a_painting(), PictureLimits(("image/gif",)))


@pytest.mark.parametrize(
    ("limits", "width"),
    [
        (PictureLimits(max_side_px=80), 80),
        (PictureLimits(max_pixels=50 * 50), 50),
        (PictureLimits(max_side_px=80, max_pixels=50 * 50), 50),
        (PictureLimits(max_side_px=40), 40),
    ],
)
def test_it_is_as_large_as_the_channel_allows(limits: PictureLimits, width: int) -> None:
    sent = rendition(a_painting(), limits)
    assert (sent.width_px, sent.height_px, sent.media_type) == (width, width, "image/png")


def test_a_small_work_is_not_enlarged_unless_somebody_asks() -> None:
    assert rendition(a_painting(32), JPEG).width_px == 32


def test_a_large_noisy_jpeg_is_written_whole() -> None:
    """Pillow guesses the buffer of a progressive JPEG too small: `Suspension not allowed here`."""
    sent = rendition(a_painting(512, noise=60), JPEG)
    assert opened(sent).size == (512, 512)


def test_a_painted_file_that_is_no_picture_is_refused() -> None:
    with pytest.raises(Rejected, match="the painted file of daily-2026-11-21-03 cannot be read"):
        rendition(a_work(b"no picture"), PNG)


def test_in_a_rehearsal_nothing_is_made_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    save = Image.Image.save
    monkeypatch.setattr(
        Image.Image,
        "save",
        lambda image, *given, **named: (
            written.append(max(image.size)),
            save(image, *given, **named),
        )[1],
    )
    limits = PictureLimits(max_bytes=5_000)
    with rehearsal():
        found = rendition(a_painting(), limits)
        with pytest.raises(Rejected, match=r"with 64 x 64 px it has [\d,]+ bytes"):
            rendition(a_painting(), PictureLimits(max_bytes=100))
    assert set(written) == {64}
    assert (found.width_px, found.height_px) == (96, 96)


@given(
    media_types=st.permutations(["image/png", "image/webp", "image/jpeg"]),
    num_types=st.integers(1, 3),
    max_bytes=st.none() | st.integers(1, 40_000),
    max_side_px=st.none() | st.integers(1, 200),
    max_pixels=st.none() | st.integers(1, 40_000),
    enlarge_to_px=st.integers(0, 200),
    matte_percent=st.sampled_from([0, 0.4, 10, 50]),
    by_pixels=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_whatever_the_limits_it_keeps_them_or_is_refused(
    media_types: list[str],
    num_types: int,
    max_bytes: int | None,
    max_side_px: int | None,
    max_pixels: int | None,
    enlarge_to_px: int,
    matte_percent: float,
    by_pixels: bool,
) -> None:
    taken = tuple(media_types[:num_types])
    limits = PictureLimits(taken, max_bytes, max_side_px, max_pixels)
    how = "pixels" if by_pixels else "lanczos"
    presentation = Presentation(enlarge_to_px, how, matte_percent)

    def outcome() -> Picture | str:
        try:
            return rendition(a_painting(48), limits, presentation)
        except Rejected as refused:
            return str(refused)

    with rehearsal():
        tried = outcome()
    sent = outcome()
    if isinstance(sent, str):
        assert max_bytes is not None
        assert max_bytes < 12_000
        assert tried == sent
        return
    assert not isinstance(tried, str), "a rehearsal comes to the same end"
    image = opened(sent)
    assert sent.media_type in taken
    assert max_bytes is None or len(sent.content) <= max_bytes
    assert max_side_px is None or max(image.size) <= max_side_px
    assert max_pixels is None or image.width * image.height <= max_pixels


# ---------------------------------------------------------------- as a person wants it shown


def test_enlarged_by_pixels_each_becomes_a_square_and_the_side_is_reached() -> None:
    work = a_painting()
    sent = opened(rendition(work, PictureLimits(), BY_PIXELS))
    assert sent.size == (384, 384)  # 4 x 96: the first whole multiple of at least 300
    by_hand = painted(work).resize((384, 384), Image.Resampling.NEAREST)
    assert sent.tobytes() == by_hand.tobytes()


def test_enlarged_by_lanczos_it_has_exactly_the_side() -> None:
    work = a_painting()
    sent = opened(rendition(work, PictureLimits(), Presentation(300, "lanczos")))
    by_hand = painted(work).resize((300, 300), Image.Resampling.LANCZOS)
    assert sent.tobytes() == by_hand.tobytes()


def test_a_work_that_is_large_enough_is_left_alone() -> None:
    work = a_painting()
    assert (
        rendition(work, PNG, Presentation(enlarge_to_px=96)).content == rendition(work, PNG).content
    )


@pytest.mark.parametrize(
    ("limits", "width"),
    [
        (PictureLimits(max_side_px=350), 288),
        (PictureLimits(max_side_px=100), 96),
        (PictureLimits(max_side_px=90), 90),
    ],
)
def test_enlarged_by_pixels_it_stays_a_whole_multiple_within_the_limits(
    limits: PictureLimits, width: int
) -> None:
    assert rendition(a_painting(), limits, BY_PIXELS).width_px == width


def test_an_enlargement_that_takes_too_many_bytes_gives_way_before_the_picture_does() -> None:
    work = a_painting()
    untouched = rendition(work, PNG)
    room = replace(PNG, max_bytes=len(untouched.content))
    assert rendition(work, room, BY_PIXELS).content == untouched.content


def test_a_matte_lies_around_the_picture_and_not_on_it() -> None:
    work = a_painting()
    sent = opened(rendition(work, PNG, Presentation(matte_percent=25, matte_colour="#102030")))
    assert sent.size == (96 + 2 * 24, 96 + 2 * 24)
    assert sent.crop((24, 24, 120, 120)).tobytes() == painted(work).tobytes()
    sent.paste((16, 32, 48), (24, 24, 120, 120))
    assert sent.getcolors() == [(144 * 144, (16, 32, 48))]


@pytest.mark.parametrize(
    ("width_px", "height_px", "shown"), [(96, 32, (96, 48)), (20, 96, (48, 96)), (60, 50, (60, 50))]
)
def test_what_is_too_wide_or_too_narrow_for_the_channel_gets_a_matte_that_makes_it_fit(
    width_px: int, height_px: int, shown: tuple[int, int]
) -> None:
    file = io.BytesIO()
    painted(a_painting()).crop((0, 0, width_px, height_px)).save(file, "PNG")
    work = a_work(file.getvalue())
    limits = PictureLimits(min_ratio=0.5, max_ratio=2)
    image = opened(rendition(replace(work, picture=_sized(work, width_px, height_px)), limits))
    assert image.size == shown
    edges = ((shown[0] - width_px) // 2, (shown[1] - height_px) // 2)
    within = image.crop((*edges, edges[0] + width_px, edges[1] + height_px))
    assert within.tobytes() == painted(a_painting()).crop((0, 0, width_px, height_px)).tobytes()
    if any(edges):
        assert image.getpixel((0, 0)) == (0xF4, 0xF1, 0xEA)
    smaller = rendition(work, replace(limits, max_side_px=40))
    assert max(smaller.width_px, smaller.height_px) <= 40
    assert 0.5 <= smaller.width_px / smaller.height_px <= 2


def _sized(work: Work, width_px: int, height_px: int) -> Picture:
    return replace(work.picture, width_px=width_px, height_px=height_px)


def test_the_matte_counts_for_the_channels_limits() -> None:
    sent = rendition(a_painting(), PictureLimits(max_side_px=96), Presentation(matte_percent=10))
    assert 94 <= sent.width_px <= 96
    assert opened(sent).getpixel((0, 0)) == (0xF4, 0xF1, 0xEA)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"enlarge_to_px": -1}, "enlarge_to_px"),
        ({"enlarge_to_px": 100_000}, "enlarge_to_px"),
        ({"enlarge_to_px": 512, "enlarge_by": "magic"}, "enlarge_by"),
        ({"enlarge_by": "lanczos"}, "enlarge_by has no effect without enlarge_to_px"),
        ({"matte_percent": 51}, "matte_percent"),
        ({"matte_percent": 5, "matte_colour": "white"}, "matte_colour"),
        ({"matte_colour": "#ffffff"}, "matte_colour has no effect without matte_percent"),
        ({"matt_percent": 5}, "matt_percent"),
    ],
)
def test_a_wrong_wish_is_told_by_its_key(table: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PictureSettings.model_validate(table)


def test_settings_become_what_is_wanted() -> None:
    table = {
        "enlarge_to_px": 512,
        "enlarge_by": "lanczos",
        "matte_percent": 5,
        "matte_colour": "#ABCDEF",
    }
    wanted = PictureSettings.model_validate(table).presentation
    assert wanted == Presentation(512, "lanczos", 5, "#ABCDEF")

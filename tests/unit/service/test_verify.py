"""Which work a published file is: by its bytes, its pixels, its looks, and last by what it says."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image, ImageFilter, PngImagePlugin

import artbot.publishing.channels as channels
from artbot.config import load_settings
from artbot.domain.delivery import FOR_EVER
from artbot.errors import UsageError
from artbot.init import make_workplace
from artbot.publishing.channels import Channel, Parcel, Post, Sender, outlets
from artbot.publishing.channels.gallery import CHANNEL as SITE
from artbot.publishing.posting import PostSettings, compose_post
from artbot.publishing.renditions import PictureLimits
from artbot.publishing.work import Work, approved_work
from artbot.review.decisions import Words, approve
from artbot.studio.provenance import Origin, encode_png, pixel_sha256
from artbot.upkeep import verify as verifying
from artbot.upkeep.verify import Certainty, Verdict, verify
from artbot.workplace import Workplace
from db.engine import Database
from db.models import Candidate
from tests.unit.service.kit import ANNA, NOON, Desk, SetClock, add_works

CONFIG = """
[channels.plain]
type = "poster"
secret_env = "NONE"
[channels.framed]
type = "poster"
secret_env = "NONE"
enlarge_to_px = 200
matte_percent = 20
[channels.small]
type = "poster"
secret_env = "NONE"
max_bytes = 6000
[provenance]
creator = "Anna"
"""


class PosterSettings(PostSettings):
    type: Literal["poster"]
    max_bytes: int | None = None


def compose(settings: PosterSettings, work: Work) -> Post:
    limits = PictureLimits(max_bytes=settings.max_bytes)
    return compose_post(settings, work, text=(), alt=(), picture=limits)


def a_picture(number: int) -> np.ndarray:
    grain = np.random.default_rng(number)
    soft = Image.fromarray(grain.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    pixels = np.asarray(soft.resize((96, 96), Image.Resampling.BICUBIC), np.float32)
    return np.asarray((pixels + grain.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


@dataclass
class Gallery:
    """A workplace with four paintings: the first two approved, the last two not."""

    workplace: Workplace
    works: list[int]
    folder: Path

    def candidate(self, number: int) -> Candidate:
        with self.workplace.database.read() as session:
            found = session.get_one(Candidate, self.works[number])
            _ = found.batch.key, found.checkpoint.manifest
            return found

    def painted(self, number: int) -> bytes:
        return self.painted_file(number).read_bytes()

    def painted_file(self, number: int) -> Path:
        return self.workplace.settings.works / (self.candidate(number).path or "")

    def published(self, number: int, channel: str) -> bytes:
        with self.workplace.database.read() as session:
            work = approved_work(
                session.get_one(Candidate, self.works[number]), self.workplace.settings.works
            )
        outlet = outlets(self.workplace.settings)[channel]
        picture = outlet.compose(outlet.sign(work)).picture
        assert picture is not None
        return picture.content

    def verify(self, content: bytes) -> Verdict:
        path = self.folder / "found"
        path.write_bytes(content)
        return verify(self.workplace, path)

    def shows(self, content: bytes, number: int, certainty: Certainty) -> Verdict:
        verdict = self.verify(content)
        assert (verdict.candidate_id, verdict.certainty) == (self.works[number], certainty)
        assert verdict.shows_it
        return verdict


@pytest.fixture(scope="module", autouse=True)
def _posters() -> Iterator[None]:
    """The only kind of channel there is."""
    kind = Channel("poster", PosterSettings, compose, lambda settings, root: Sender(), FOR_EVER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channels, "channel_kinds", lambda: {"poster": kind})
        yield


def a_gallery(folder: Path, database: Database) -> Gallery:
    root = folder / "studio"
    make_workplace(root)
    (root / "artbot.toml").write_text(CONFIG)
    workplace = Workplace(load_settings(root, {"poster": PosterSettings}), SetClock())
    vars(workplace)["database"] = database
    works = add_works(database, workplace.settings.works, 4)
    for number, work in enumerate(works):
        paint(workplace, work, a_picture(number))
    desk = Desk(database, workplace.settings.works, SetClock(), ("plain", "framed", "small"))
    for number in (0, 1):
        approve(desk.review, works[number], ANNA, Words(alt='Red "tulips" & roses'))
    return Gallery(workplace, works, folder)


def paint(workplace: Workplace, work: int, pixels: np.ndarray) -> None:
    """The picture of a candidate is another."""
    with workplace.database.write() as session:
        candidate = session.get_one(Candidate, work)
        origin = Origin(candidate=candidate.name, checkpoint_sha256="a" * 64, seed=1, recipe={})
        content = encode_png(pixels, origin)
        (workplace.settings.works / (candidate.path or "")).write_bytes(content)
        candidate.image_sha256 = hashlib.sha256(content).hexdigest()
        candidate.pixel_sha256 = pixel_sha256(pixels)
        candidate.width = candidate.height = 96


@pytest.fixture(scope="module")
def gallery(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """For tests that only look."""
    return a_gallery(tmp_path_factory.mktemp("gallery"), shared_database)


@pytest.fixture
def own_gallery(database: Database, tmp_path: Path) -> Gallery:
    """For a test that changes something."""
    return a_gallery(tmp_path, database)


def written_anew(
    content: bytes, form: str, *, side_px: int | None = None, **options: object
) -> bytes:
    """As a platform does it: without what the file said."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    image.info.clear()
    if side_px:
        image = image.resize((side_px, side_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def saying(name: str, number: int) -> bytes:
    """A forged file: somebody's picture that says it is the work of that name."""
    buffer = io.BytesIO()
    text = PngImagePlugin.PngInfo()
    text.add_itxt("artbot", json.dumps({"candidate": name}))
    Image.fromarray(a_picture(number)).save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


# ---------------------------------------------------------------- exactly


@pytest.mark.parametrize("number", [0, 3])
def test_a_painted_file_is_known_to_the_byte_approved_or_not(gallery: Gallery, number: int) -> None:
    verdict = gallery.shows(gallery.painted(number), number, Certainty.EXACT)
    assert verdict.sha256 == gallery.candidate(number).image_sha256


@pytest.mark.parametrize("channel", ["plain", "framed", "small"])
def test_what_a_channel_got_is_known_to_the_byte(gallery: Gallery, channel: str) -> None:
    verdict = gallery.shows(gallery.published(1, channel), 1, Certainty.EXACT)
    assert verdict.channels == (channel,)
    assert verdict.says == gallery.candidate(1).name


def test_what_a_gallery_shows_on_its_pages_is_known_to_the_byte_too(
    own_gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is what visitors save."""
    monkeypatch.setattr(channels, "channel_kinds", lambda: {"gallery": SITE})
    root = own_gallery.workplace.settings.root
    (root / "artbot.toml").write_text(
        '[channels.site]\ntype = "gallery"\nurl = "https://art.example.org"\npath = "site"\n'
        'author = "Ben"\n'
    )
    settings = own_gallery.workplace.settings
    settings.channels.clear()
    settings.channels.update(load_settings(root, {"gallery": SITE.settings_model}).channels)
    with own_gallery.workplace.database.read() as session:
        painted = session.get_one(Candidate, own_gallery.works[0])
        outlet = outlets(settings)["site"]
        work = outlet.sign(approved_work(painted, settings.works))
    parcel = Parcel("key", work, outlet.compose(work))
    sender = outlet.open()
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    found = {
        (verdict.channels, verdict.size_px)
        for file in (root / "site/pictures").iterdir()
        if (verdict := own_gallery.shows(file.read_bytes(), 0, Certainty.EXACT))
    }
    assert found == {(("site",), None), (("site",), 640), (("site",), 1280)}


def test_of_a_channel_that_is_no_more_the_unchanged_picture_is_still_known(
    own_gallery: Gallery,
) -> None:
    content = own_gallery.published(1, "plain")
    own_gallery.workplace.settings.channels.clear()
    assert own_gallery.shows(content, 1, Certainty.EXACT).channels == ()


def test_who_is_named_in_artbot_toml_is_named_in_what_the_channels_get(gallery: Gallery) -> None:
    assert b"<dc:creator><rdf:Seq><rdf:li>Anna</rdf:li>" in gallery.published(0, "plain")
    assert b"Anna" not in gallery.painted(0)


# ---------------------------------------------------------------- the same pixels


@pytest.mark.parametrize("write", [
    partial(written_anew, form="PNG"),
    partial(written_anew, form="WEBP", lossless=True),
])  # fmt: skip
def test_written_anew_without_loss_it_is_known_by_its_pixels(
    gallery: Gallery, write: Callable[[bytes], bytes]
) -> None:
    verdict = gallery.shows(write(gallery.published(0, "plain")), 0, Certainty.SAME_PIXELS)
    assert verdict.says is None
    assert verdict.channels == ("plain",)


def test_a_rendition_that_was_stripped_is_known_by_its_pixels(gallery: Gallery) -> None:
    stripped = written_anew(gallery.published(1, "framed"), "PNG")
    assert gallery.shows(stripped, 1, Certainty.SAME_PIXELS).channels == ("framed",)


def test_of_two_works_with_the_same_pixels_the_one_that_it_says_is_told(
    own_gallery: Gallery,
) -> None:
    twin = own_gallery.candidate(0).pixel_sha256
    with own_gallery.workplace.database.write() as session:
        session.get_one(Candidate, own_gallery.works[1]).pixel_sha256 = twin
    own_gallery.shows(saying(own_gallery.candidate(0).name, 0), 0, Certainty.SAME_PIXELS)
    own_gallery.shows(saying(own_gallery.candidate(1).name, 0), 1, Certainty.SAME_PIXELS)


# ---------------------------------------------------------------- alike


@pytest.mark.parametrize(
    "write",
    [
        partial(written_anew, form="JPEG", quality=75),
        partial(written_anew, form="JPEG", quality=40),
        partial(written_anew, form="WEBP", quality=60),
        partial(written_anew, form="JPEG", quality=80, side_px=300),
        partial(written_anew, form="PNG", side_px=48),
    ],
)
@pytest.mark.parametrize("channel", ["plain", "framed", "small"])
def test_what_a_platform_wrote_anew_is_known_by_its_looks(
    gallery: Gallery, channel: str, write: Callable[[bytes], bytes]
) -> None:
    verdict = gallery.shows(write(gallery.published(1, channel)), 1, Certainty.ALIKE)
    assert verdict.says is None
    assert verdict.difference is not None
    assert verdict.difference < verifying.MOST_ALIKE
    assert verdict.also == ()


def test_of_works_that_look_alike_the_nearest_is_told_and_the_others_named(
    own_gallery: Gallery,
) -> None:
    near = np.clip(a_picture(0).astype(int) + 3, 0, 255).astype(np.uint8)
    paint(own_gallery.workplace, own_gallery.works[1], near)
    sent = written_anew(own_gallery.painted(0), "JPEG", quality=90)
    verdict = own_gallery.shows(sent, 0, Certainty.ALIKE)
    assert verdict.also == (own_gallery.candidate(1).name,)


def test_a_work_whose_file_is_gone_keeps_nobody_from_finding_another(own_gallery: Gallery) -> None:
    sent = written_anew(own_gallery.published(1, "plain"), "JPEG", quality=75)
    own_gallery.painted_file(0).unlink()
    own_gallery.shows(sent, 1, Certainty.ALIKE)


# ---------------------------------------------------------------- only said


def test_a_forged_file_is_another_picture_whatever_it_says(gallery: Gallery) -> None:
    verdict = gallery.verify(saying(gallery.candidate(0).name, 77))
    assert verdict.certainty == Certainty.ANOTHER_PICTURE
    assert verdict.candidate_id == gallery.works[0]
    assert not verdict.shows_it


def test_a_work_that_says_it_is_another_is_told_by_what_it_shows(gallery: Gallery) -> None:
    verdict = gallery.shows(saying(gallery.candidate(0).name, 1), 1, Certainty.SAME_PIXELS)
    assert verdict.says == gallery.candidate(0).name


def test_what_another_workplace_painted_is_not_found(gallery: Gallery) -> None:
    verdict = gallery.verify(saying("daily-1999-01-01-01", 77))
    assert (verdict.candidate_id, verdict.certainty) == (None, None)
    assert verdict.says == "daily-1999-01-01-01"


def test_a_strangers_picture_is_not_found(gallery: Gallery) -> None:
    verdict = gallery.verify(written_anew(saying("x", 77), "JPEG"))
    assert (verdict.candidate_id, verdict.says, verdict.shows_it) == (None, None, False)


def test_a_candidate_that_nobody_approved_is_not_looked_for_by_its_looks(gallery: Gallery) -> None:
    sent = written_anew(gallery.painted(3), "JPEG", quality=75)
    assert gallery.verify(sent).candidate_id is None


def test_where_the_painted_file_is_gone_what_is_said_cannot_be_checked(
    own_gallery: Gallery,
) -> None:
    sent = written_anew(own_gallery.published(0, "plain"), "PNG")
    said = own_gallery.published(0, "small")
    own_gallery.painted_file(0).unlink()
    own_gallery.shows(sent, 0, Certainty.SAME_PIXELS)  # the database knows the pixels
    verdict = own_gallery.verify(said)
    assert verdict.certainty == Certainty.UNCHECKED
    assert "cannot be read" in (verdict.obstacle or "")
    assert not verdict.shows_it


def test_a_file_that_breaks_off_is_unchecked_if_it_says_what_it_is(gallery: Gallery) -> None:
    content = gallery.published(0, "plain")
    verdict = gallery.verify(content[: len(content) // 2])
    assert (verdict.candidate_id, verdict.certainty) == (gallery.works[0], Certainty.UNCHECKED)
    assert "is damaged" in (verdict.obstacle or "")


# ---------------------------------------------------------------- what is no picture


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"<svg/>", b"RIFF\0\0"],
)
def test_what_is_no_picture_is_told(gallery: Gallery, content: bytes) -> None:
    with pytest.raises(UsageError, match="is no picture that can be read"):
        gallery.verify(content)


def test_a_picture_as_large_as_a_house_is_not_unpacked(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "MOST_PIXELS", 1000)
    with pytest.raises(
        UsageError, match=r"has 96 x 96 px; artbot looks at pictures of up to 1,000"
    ):
        gallery.verify(written_anew(gallery.painted(0), "PNG"))


def test_a_file_as_large_as_a_disk_is_not_read(gallery: Gallery) -> None:
    path = gallery.folder / "huge"
    with path.open("wb") as file:
        file.truncate(verifying.MOST_BYTES + 1)
    with pytest.raises(UsageError, match="bytes; artbot looks at pictures of up to"):
        verify(gallery.workplace, path)


def test_a_pipe_is_not_waited_for(gallery: Gallery) -> None:
    import os

    os.mkfifo(gallery.folder / "pipe")
    with pytest.raises(UsageError, match="is no plain file"):
        verify(gallery.workplace, gallery.folder / "pipe")


@pytest.mark.parametrize(
    "origin", ["", "[]", "{", "[" * 100_000, '{"candidate": 7}', '{"candidate": "\\u0000"}']
)
def test_odd_texts_in_a_file_say_nothing(gallery: Gallery, origin: str) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("artbot", origin)
    buffer = io.BytesIO()
    Image.fromarray(a_picture(77)).save(buffer, "PNG", pnginfo=text)
    assert gallery.verify(buffer.getvalue()).says is None


def test_what_is_seen_through_is_compared_on_white(gallery: Gallery) -> None:
    whole = Image.open(io.BytesIO(gallery.painted(0))).convert("RGBA")
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    gallery.shows(buffer.getvalue(), 0, Certainty.SAME_PIXELS)
    whole.putalpha(Image.new("L", whole.size, 0))
    whole.filter(ImageFilter.BLUR).save(buffer := io.BytesIO(), "PNG")
    assert gallery.verify(buffer.getvalue()).candidate_id is None

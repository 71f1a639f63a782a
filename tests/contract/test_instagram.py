"""What is Instagram's own: a JPEG at a public address, containers that are processed and expire, errors by code."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from artbot.config import Settings
from artbot.errors import ConfigError, DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Handles, Parcel, Receipt, open_channel, outlets
from artbot.publishing.channels.gallery import GallerySettings
from artbot.publishing.channels.instagram import CHANNEL, InstagramSender, InstagramSettings
from artbot.publishing.channels.s3 import S3Settings
from artbot.publishing.work import Work
from tests.contract.peers.instagram import TOKEN, Instagram, error, run
from tests.contract.peers.serving import Response, serving
from tests.contract.peers.store import storing
from tests.unit.service.kit import NOON, a_work

SHOWN = "https://www.instagram.com/p/0/"


@pytest.fixture
def instagram(tmp_path: Path) -> Iterator[Instagram]:
    with run(tmp_path) as running:
        yield running


class Studio:
    """A channel named `studio`, as artbot opens it, beside the gallery that its pictures are put into."""

    def __init__(self, instagram: Instagram, workplace: Path, **more: Any) -> None:
        table = instagram.table(instagram.url, workplace) | more
        gallery = instagram.others(workplace)["gallery"]
        self.settings = Settings(
            channels={
                "studio": InstagramSettings.model_validate(table),
                "gallery": GallerySettings.model_validate(gallery),
            },
            root=workplace,
        )

    def open(self, sleep: Callable[[float], None] = lambda _: None) -> InstagramSender:
        sender = open_channel(self.settings, "studio")
        assert isinstance(sender, InstagramSender)
        sender._sleep = sleep
        return sender

    def parcel(self, work: Work | None = None, **known: str) -> Parcel:
        work = work or a_work()
        post = outlets(self.settings)["studio"].compose(work)
        return Parcel("key", work, post, Handles(dict(known), lambda _: None))

    def send(self, parcel: Parcel) -> Receipt:
        sender = self.open()
        sender.prepare(parcel, NOON)
        return sender.commit(parcel, NOON)


@pytest.fixture
def studio(instagram: Instagram, tmp_path: Path) -> Studio:
    return Studio(instagram, tmp_path)


def test_instagram_fetches_a_jpeg_that_no_page_of_the_gallery_shows(
    instagram: Instagram, studio: Studio
) -> None:
    parcel = studio.parcel()
    receipt = studio.send(parcel)
    (post,) = instagram.media
    with Image.open(io.BytesIO(post["picture"])) as picture:
        assert (picture.format, picture.size) == ("JPEG", (32, 32))
    assert receipt.url == SHOWN
    files = [path.relative_to(instagram.folder) for path in instagram.folder.rglob("*.*")]
    picture_of = parcel.post.picture
    assert picture_of is not None
    assert files == [Path("pictures", f"{picture_of.sha256}.jpg")]


def test_a_picture_that_the_public_cannot_fetch_yet_is_waited_for(
    instagram: Instagram, tmp_path: Path
) -> None:
    with serving(lambda _: Response(404)) as instagram.site:
        studio = Studio(instagram, tmp_path)
        with pytest.raises(Unavailable, match=r"is not at http://.*\.jpg yet") as waits:
            studio.open().prepare(studio.parcel(), NOON)
    assert waits.value.status is None
    assert instagram.containers == {}


def test_a_gallery_that_cannot_be_written_says_nothing_against_instagram(
    instagram: Instagram, studio: Studio
) -> None:
    instagram.folder.write_text("a file where the gallery's folder should be")
    with pytest.raises(Unavailable, match="could not be put where http") as waits:
        studio.open().prepare(studio.parcel(), NOON)
    assert waits.value.status is None


def test_a_bucket_takes_the_picture_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with storing() as store:
        table = store.table(store.url, tmp_path)
        bucket = S3Settings.model_validate(
            {"type": "s3", "url": "https://art.example.org", **table}
        )
        chosen = InstagramSettings(
            type="instagram", picture_from="archive", secret_env="TOKEN", enlarge_to_px=32
        )
        settings = Settings(channels={"studio": chosen, "archive": bucket}, root=tmp_path)
        picture = outlets(settings)["studio"].compose(a_work()).picture
        assert picture is not None
        assert picture.url == f"https://art.example.org/pictures/{picture.sha256}.jpg"
        monkeypatch.setenv("TOKEN", TOKEN)
        put_public = open_channel(settings, "studio").put_public
        assert put_public is not None
        for _ in range(2):
            put_public(picture, NOON, lambda: None)
        assert store.files() == {f"pictures/{picture.sha256}.jpg": picture.content}


def test_a_picture_that_takes_long_is_waited_for_and_not_for_ever(
    instagram: Instagram, studio: Studio
) -> None:
    slept: list[float] = []
    instagram.looks_until_finished = 3
    studio.open(slept.append).prepare(studio.parcel(), NOON)
    assert slept == [1.0, 2.0, 3.0]
    instagram.looks_until_finished = 100
    parcel = studio.parcel()
    with pytest.raises(Unavailable, match="still processing") as waits:
        studio.open().prepare(parcel, NOON)
    assert waits.value.retry_after_s == 60
    number = parcel.handles.get("container")
    assert number
    instagram.containers[number].status = "FINISHED"
    studio.send(parcel)
    assert len(instagram.containers) == 2  # the same one was used
    assert len(instagram.media) == 1


@pytest.mark.parametrize("status", ["ERROR", "EXPIRED"])
def test_a_container_that_is_of_no_use_any_more_is_made_anew(
    instagram: Instagram, studio: Studio, status: str
) -> None:
    parcel = studio.parcel()
    studio.open().prepare(parcel, NOON)
    for container in instagram.containers.values():
        container.status = status
    assert studio.open().reconcile(parcel, NOON) is None
    studio.send(parcel)
    assert (len(instagram.containers), len(instagram.media)) == (2, 1)


def test_a_container_of_other_words_is_not_published(instagram: Instagram, studio: Studio) -> None:
    first = studio.parcel()
    studio.open().prepare(first, NOON)
    work = replace(a_work(), caption="Before the rain")
    studio.send(studio.parcel(work, **first.handles.known))
    (post,) = instagram.media
    assert "Before the rain" in post["caption"]


def test_a_container_that_is_published_is_not_published_again(
    instagram: Instagram, studio: Studio
) -> None:
    parcel = studio.parcel()
    studio.send(parcel)
    assert studio.send(parcel).url == SHOWN
    found = studio.open().reconcile(parcel, NOON)
    assert found is not None
    assert found.url == SHOWN
    assert len(instagram.media) == 1


def test_the_address_of_another_post_with_the_same_words_is_not_taken_for_its_own(
    instagram: Instagram, studio: Studio
) -> None:
    first, second = studio.parcel(), studio.parcel()
    studio.send(first)
    studio.send(second)
    found = studio.open().reconcile(first, NOON)
    assert found is not None
    assert found.url is None


def test_what_instagram_does_not_tell_is_not_called_absent(
    instagram: Instagram, studio: Studio
) -> None:
    parcel = studio.parcel()
    assert studio.open().reconcile(parcel, NOON) is None  # nothing was made yet
    studio.open().prepare(parcel, NOON)
    assert studio.open().reconcile(parcel, NOON) is None
    kept = dict(instagram.containers)
    instagram.containers.clear()  # a token of another account sees the same
    with pytest.raises(OutcomeUnknown, match="does not say whether"):
        studio.open().reconcile(parcel, NOON)
    with pytest.raises(Unavailable, match="does not say how"):
        studio.open().prepare(parcel, NOON)
    instagram.containers.update(kept)
    for container in instagram.containers.values():
        container.status = "IN_PROGRESS"
        container.looks_until_finished = 9
    with pytest.raises(OutcomeUnknown, match="IN_PROGRESS"):
        studio.open().reconcile(parcel, NOON)


def test_a_container_that_nobody_remembers_after_a_day_is_made_anew(
    instagram: Instagram, studio: Studio
) -> None:
    parcel = studio.parcel()
    studio.open().prepare(parcel, NOON)
    instagram.containers.clear()
    parcel.handles.keep(since=(NOON - timedelta(hours=25)).isoformat())
    studio.send(parcel)
    assert len(instagram.media) == 1


@pytest.mark.parametrize("publishes", [True, False])
def test_an_error_from_publishing_may_hide_a_post(
    instagram: Instagram, studio: Studio, publishes: bool
) -> None:
    parcel = studio.parcel()
    sender = studio.open()
    sender.prepare(parcel, NOON)
    instagram.publishes, instagram.publishing_refusal = publishes, error(4, 2207051)
    with pytest.raises(OutcomeUnknown, match="2207051"):
        sender.commit(parcel, NOON)
    assert (studio.open().reconcile(parcel, NOON) is not None) == publishes
    for container in instagram.containers.values():
        container.status = "ERROR"
    if publishes:
        with pytest.raises(OutcomeUnknown, match="shows a post with its words"):
            studio.open().reconcile(parcel, NOON)


def test_a_day_that_is_used_up_is_waited_for(instagram: Instagram, studio: Studio) -> None:
    instagram.quota_used = 100
    with pytest.raises(Unavailable, match="all 100 posts of the last 24 hours") as waits:
        studio.open().prepare(studio.parcel(), NOON)
    assert waits.value.retry_after_s == 3600
    assert instagram.containers == {}


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (error(190, 463), (Rejected, 401, None)),
        (error(10), (Rejected, 403, None)),
        (error(200), (Rejected, 403, None)),
        (error(25, 2207050), (Rejected, 403, None)),
        (error(4), (Unavailable, None, 3600.0)),
        (error(9, 2207042), (Unavailable, None, 3600.0)),
        (error(9004, 2207052), (Unavailable, None, 300.0)),
        (error(-1, 2207001), (OutcomeUnknown, 400, None)),
        (error(100, is_transient=True), (OutcomeUnknown, 400, None)),
        (error(36003, 2207009), (Rejected, 400, None)),
        (Response(500, b"<html>"), (OutcomeUnknown, 500, None)),
    ],
)
def test_its_refusals_are_understood(
    instagram: Instagram,
    studio: Studio,
    refusal: Response,
    expected: tuple[type, int | None, float | None],
) -> None:
    instagram.refusal = refusal
    with pytest.raises(DeliveryError) as refused:
        studio.open().prepare(studio.parcel(), NOON)
    refused_with = refused.value
    assert (type(refused_with), refused_with.status, refused_with.retry_after_s) == expected
    assert TOKEN not in str(refused_with)


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (error(190), (Rejected, 401)),
        (error(9, 2207042), (Unavailable, None)),
        (error(9007, 2207027), (Unavailable, None)),
        (error(4), (OutcomeUnknown, 400)),
        (error(24, 2207008), (OutcomeUnknown, 400)),
        (error(100), (OutcomeUnknown, 400)),
        (Response(429, b"slow down"), (Unavailable, 429)),
    ],
)
def test_refusals_of_the_public_act_are_believed_only_where_they_are_certain(
    instagram: Instagram, studio: Studio, refusal: Response, expected: tuple[type, int | None]
) -> None:
    parcel, sender = studio.parcel(), studio.open()
    sender.prepare(parcel, NOON)
    instagram.publishing_refusal = refusal
    with pytest.raises(DeliveryError) as refused:
        sender.commit(parcel, NOON)
    assert (type(refused.value), refused.value.status) == expected


def test_the_token_is_proved_and_told_when_it_grows_old(
    instagram: Instagram, studio: Studio, tmp_path: Path
) -> None:
    instagram.quota_used = 3
    says = "posts as @painter, 3 of 100 posts of the last 24 hours are used"
    assert studio.open().check(NOON) == says
    assert studio.open().remarks(NOON) == []
    old = (NOON - timedelta(days=51)).timestamp()
    os.utime(tmp_path / "secret", (old, old))
    assert studio.open().check(NOON) == says
    assert studio.open().remarks(NOON) == [
        "the token's file (secret_file) is 51 days old, and a token lives for 60: renew it"
    ]


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((64, 64), (64, 64)), ((32, 64), (52, 64)), ((64, 16), (64, 34)), ((64, 80), (64, 80))],
)
def test_a_work_that_is_too_narrow_or_too_wide_gets_a_matte(
    instagram: Instagram, tmp_path: Path, size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    studio = Studio(instagram, tmp_path, enlarge_to_px=0)
    picture = studio.parcel(a_work(_painted(size))).post.picture
    assert picture is not None
    assert (picture.width_px, picture.height_px) == wanted
    with Image.open(io.BytesIO(picture.content)) as shown:
        red = shown.convert("RGB").getpixel((wanted[0] // 2, wanted[1] // 2))
        corner = shown.convert("RGB").getpixel((0, 0))
    assert isinstance(red, tuple)
    assert isinstance(corner, tuple)
    assert red[1] < 60
    assert (corner[1] > 200) == (size != wanted)


def test_a_small_work_is_enlarged_to_what_instagram_shows(
    instagram: Instagram, tmp_path: Path
) -> None:
    studio = Studio(instagram, tmp_path, enlarge_to_px=1080)
    picture = studio.parcel(a_work(_painted((256, 256)))).post.picture
    assert picture is not None
    assert (picture.width_px, picture.height_px) == (1280, 1280)


def _painted(size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("caption", "refusal"),
    [
        ("x" * 2201, "the text has 2,201 UTF-16 units"),
        ("#a #b #c #d #e #f", "the text has 6 hashtags, and 5 it may have; see max_hashtags"),
        ("@a " * 21, "the text has 21 mentions, and 20 it may have"),
    ],
)
def test_what_is_too_much_is_refused_at_the_approval(
    instagram: Instagram, tmp_path: Path, caption: str, refusal: str
) -> None:
    studio = Studio(instagram, tmp_path, text="{caption}")
    with pytest.raises(Rejected, match=refusal):
        studio.parcel(replace(a_work(), caption=caption))
    with pytest.raises(Rejected, match="the alt text has 1,001"):
        studio.parcel(replace(a_work(), alt="x" * 1001))


def test_what_cannot_be_right_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="picture_from"):
        InstagramSettings.model_validate({"type": "instagram", "secret_env": "X"})
    with pytest.raises(ValidationError, match="the token would be read on the way"):
        InstagramSettings(
            type="instagram", picture_from="gallery", secret_env="X", api="http://example.org"
        )
    (tmp_path / "secret").write_text("IGAA with spaces")
    (tmp_path / "secret").chmod(0o600)
    chosen = InstagramSettings(type="instagram", picture_from="gallery", secret_file=Path("secret"))
    with pytest.raises(ConfigError, match="access token, IG…"):
        CHANNEL.open(chosen, tmp_path)

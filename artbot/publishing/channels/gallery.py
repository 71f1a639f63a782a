"""A site of one's own: static pages and feeds in a folder or a bucket, which a web server shows as they are.

Every work has its page and its record under a name that never changes, and its pictures lie under names made
from their content: what is done twice is the same as what is done once. The public act is one file, the
record; the pages and feeds are made from the records, by whoever hangs a work next too if this one is stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from artbot.config import HomePath, PublicPictures
from artbot.domain.delivery import FOR_EVER
from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.buckets import BucketKeys, bucket_folder, open_bucket, public_url
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.posting import RECORDED, PostSettings, compose_post
from artbot.publishing.words import check_template

if TYPE_CHECKING:
    from artbot.publishing.gallery.pages import Look
    from artbot.publishing.gallery.places import Place
    from artbot.publishing.gallery.records import Record
    from artbot.publishing.work import Picture, Work


class GallerySettings(PostSettings, BucketKeys, PublicPictures):
    """[channels.NAME] with type = "gallery"."""

    type: Literal["gallery"]
    url: Annotated[str, AfterValidator(public_url), Field(examples=["https://art.example.org"])]
    """Where the public finds the site."""
    path: HomePath | None = None
    """The folder, relative to the workplace; instead of a bucket."""
    title: Annotated[str, Field(min_length=1)] = "Gallery"
    about: str = ""
    """A sentence or two under the title."""
    author: str = ""
    language: Literal["en", "de"] = "en"
    """Of the site's own words."""
    on_screen: Literal["smooth", "pixels"] = "smooth"
    """How a small work is shown large: as a painting that comes nearer, or every pixel a square."""
    text: Annotated[str, AfterValidator(check_template)] = "{caption}"
    """What stands under the title of a work."""

    @model_validator(mode="before")
    @classmethod
    def _not_both(cls, table: object) -> object:
        """Before what may be wrong with one of the two is told."""
        if isinstance(table, dict) and table.get("path") is not None and "bucket" in table:
            raise ValueError("give exactly one of path (a folder) and bucket")
        return table

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        """A bucket needs a secret, a folder none: instead of what the tables of other channels must have."""
        if (self.path is None) == (self.bucket is None):
            raise ValueError("give exactly one of path (a folder) and bucket")
        num_secrets = sum(key is not None for key in (self.secret_file, self.secret_env))
        if self.bucket is None:
            if num_secrets or self.access_key_id is not None:
                raise ValueError("a folder needs no access_key_id, secret_file or secret_env")
        elif num_secrets != 1 or self.access_key_id is None:
            raise ValueError(
                "a bucket needs access_key_id, and exactly one of secret_file and secret_env"
            )
        return self

    @property
    def place(self) -> Path | str | None:
        return self.path if self.path is not None else bucket_folder(self)

    @property
    def look(self) -> Look:
        from artbot.publishing.gallery.pages import Look

        return Look(self.url, self.title, self.about, self.author, self.language)


class GallerySender(Sender):
    """Hangs works in one site."""

    def __init__(self, settings: GallerySettings, workplace: Path) -> None:
        self._settings = settings
        self._workplace = workplace
        self._record: Record | None = None
        """What is to hang, once it is prepared."""
        # At once, so that a secret that cannot be had is told before anything is begun.
        self._secret = settings.read_secret(workplace) if settings.bucket is not None else ""

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """The pictures, which nothing links to yet."""
        from artbot.publishing.gallery.records import check_same

        place = self._place(now, parcel.alive)
        self._check_ours(place)
        record, pictures = self._exhibit(parcel)
        standing = _standing(place, record)
        if standing is not None:
            check_same(standing, record, place.where)
            record = record.model_copy(update={"id": standing.id})  # what feeds know it by already
        for facts, content in zip(record.pictures, pictures, strict=True):
            place.write_picture(facts.file, content)
        self._record = record

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        from artbot.publishing.gallery.site import hang

        place = self._place(now, parcel.alive)
        record = self._record
        assert record is not None
        place.write(record.file, record.to_json(), parcel.is_too_late)
        try:
            hang(place, self._settings.look, record)
        except (Rejected, Unavailable) as error:
            # Its record is there: whoever hangs a work next will show this one as well.
            raise OutcomeUnknown(
                f"the work hangs, but not all pages could be made: {error}",
                status=error.status,
                retry_after_s=error.retry_after_s,
            ) from error
        return Receipt(None, f"hangs in {place.where}", f"{self._settings.url}/{record.page}")

    def check(self, now: datetime) -> str:
        place = self._place(now)
        said = place.check()
        self._check_ours(place)
        return said

    def _check_ours(self, place: Place) -> None:
        """Raises Rejected where somebody else's site would be written over."""
        from artbot.publishing.gallery.site import check_ours

        settings = self._settings
        if settings.path is not None:
            instead = f'an empty folder (path = "{settings.path / "art"}")'
        else:
            prefix = f"{settings.prefix}/art".lstrip("/")
            instead = f'an empty folder of the bucket (prefix = "{prefix}")'
        check_ours(place, f"give the gallery {instead}, or move that away")

    def _exhibit(self, parcel: Parcel) -> tuple[Record, tuple[bytes, ...]]:
        """The record, and the content of its pictures in their order."""
        from artbot.publishing.gallery.records import record_of

        sizes = shows_besides(self._settings, parcel.work)
        host = urlsplit(self._settings.url).hostname or ""
        record = record_of(parcel.work, parcel.post, sizes, authority=host)
        assert parcel.post.picture is not None
        return record, (*(size.content for size in sizes), parcel.post.picture.content)

    def _place(self, now: datetime, alive: Callable[[], None] = lambda: None) -> Place:
        from artbot.publishing.gallery.places import Folder, InBucket

        settings = self._settings
        if settings.path is not None:
            return Folder(self._workplace / settings.path.expanduser(), alive)
        return InBucket(open_bucket(settings, self._secret, now), alive)


def _standing(place: Place, record: Record) -> Record | None:
    """What hangs under that name already. One that cannot be read is written over by its own work."""
    from artbot.publishing.gallery.records import read_record

    content = place.read(record.file)
    try:
        return None if content is None else read_record(content)
    except ValueError:
        return None


def compose(settings: GallerySettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(media_types=("image/png",))
    return compose_post(settings, work, text=(), alt=(), picture=limits, also=RECORDED)


def shows_besides(settings: GallerySettings, work: Work) -> tuple[Picture, ...]:
    """What the pages show, which is for screens. Raises Rejected, Unavailable."""
    from artbot.publishing.gallery.sizes import sizes_of

    named = replace(work, creator=work.creator or settings.author)
    return sizes_of(named, by_pixels=settings.on_screen == "pixels")


def put_public(
    settings: GallerySettings,
    workplace: Path,
    picture: Picture,
    now: datetime,
    alive: Callable[[], None],
) -> None:
    """Beside the gallery's own pictures; no page shows it. Raises DeliveryError, ConfigError."""
    from artbot.publishing.gallery.records import facts_of

    place = GallerySender(settings, workplace)._place(now, alive)
    place.write_picture(facts_of(picture).file, picture.content)


CHANNEL = Channel(
    name="gallery",
    settings_model=GallerySettings,
    compose=compose,
    open=GallerySender,
    protection=FOR_EVER,  # fixed names: whoever writes again writes the same
    put_public=put_public,
    shows_besides=shows_besides,
)

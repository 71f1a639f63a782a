"""Works as objects in S3-compatible storage: the picture under its content's name, the facts under the work's.

Both are put there only if nothing is (If-None-Match): what is there already stays, whoever asks how often.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from artbot.config import PublicPictures
from artbot.domain.delivery import FOR_EVER
from artbot.errors import OutcomeUnknown, Unavailable
from artbot.publishing.buckets import BucketKeys, bucket_folder, open_bucket, public_url
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.posting import RECORDED, PostSettings, compose_post
from artbot.publishing.words import check_template

if TYPE_CHECKING:
    from artbot.publishing.buckets import Bucket
    from artbot.publishing.gallery.records import Record
    from artbot.publishing.work import Picture, Work


class S3Settings(PostSettings, BucketKeys, PublicPictures):
    """[channels.NAME] with type = "s3"."""

    type: Literal["s3"]
    url: Annotated[str, AfterValidator(public_url)] | None = None
    """Where the public finds the objects, if it does: the address of `prefix`."""
    text: Annotated[str, AfterValidator(check_template)] = "{caption}"
    """The `text` in a work's facts."""

    @model_validator(mode="after")
    def _whole_bucket(self) -> Self:
        if self.bucket is None or self.access_key_id is None:
            raise ValueError("bucket and access_key_id are both needed")
        return self

    @property
    def place(self) -> str:
        return bucket_folder(self)


class S3Sender(Sender):
    """Puts works into one bucket."""

    def __init__(self, settings: S3Settings, workplace: Path) -> None:
        self._settings = settings
        self._secret = settings.read_secret(workplace)

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """The picture, which nothing names yet."""
        from artbot.publishing.gallery.places import FOR_EVER as KEEP

        bucket, record = self._bucket(now), _record(parcel)
        _check_same(bucket, record)
        parcel.alive()
        assert parcel.post.picture is not None
        picture = record.picture
        bucket.put_new(picture.file, parcel.post.picture.content, picture.media_type, KEEP)

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        from artbot.publishing.gallery.places import ASK_AGAIN, media_type

        bucket, record = self._bucket(now), _record(parcel)
        is_new = bucket.put_new(
            record.file,
            record.to_json(),
            media_type(record.file),
            ASK_AGAIN,
            is_too_late=parcel.is_too_late,
        )
        if not is_new:
            try:
                _check_same(bucket, record)
            except Unavailable as error:  # it may be ours, of an attempt whose answer was lost
                raise OutcomeUnknown(str(error), status=error.status) from error
        said = "put" if is_new else "was there already, and stays as it is:"
        url = f"{self._settings.url}/{record.file}" if self._settings.url else None
        return Receipt(None, f"{said} {bucket.address}/{bucket.prefix}{record.file}", url)

    def check(self, now: datetime) -> str:
        return self._bucket(now).check()

    def _bucket(self, now: datetime) -> Bucket:
        return open_bucket(self._settings, self._secret, now)


def _record(parcel: Parcel) -> Record:
    from artbot.publishing.gallery.records import record_of

    return record_of(parcel.work, parcel.post)


def _check_same(bucket: Bucket, record: Record) -> None:
    """Raises Rejected if something else lies under the work's name."""
    from artbot.publishing.gallery.records import check_same, read_record

    content = bucket.get(record.file)
    if content is None:
        return
    where = f"{bucket.address}/{bucket.prefix}"
    try:
        standing = read_record(content)
    except ValueError as error:
        raise OutcomeUnknown(f"{record.file} at {where} is no record of a work: {error}") from error
    check_same(standing, record, where)


def compose(settings: S3Settings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(media_types=("image/png",))
    return compose_post(settings, work, text=(), alt=(), picture=limits, also=RECORDED)


def put_public(
    settings: S3Settings,
    workplace: Path,
    picture: Picture,
    now: datetime,
    alive: Callable[[], None],
) -> None:
    """Beside the pictures of the works; no facts name it. Raises DeliveryError, ConfigError."""
    from artbot.publishing.gallery.places import FOR_EVER as KEEP
    from artbot.publishing.gallery.records import facts_of

    facts, bucket = facts_of(picture), S3Sender(settings, workplace)._bucket(now)
    bucket.put_new(facts.file, picture.content, picture.media_type, KEEP)
    alive()


CHANNEL = Channel(
    name="s3",
    settings_model=S3Settings,
    compose=compose,
    open=S3Sender,
    protection=FOR_EVER,  # If-None-Match, under the name that the work has for ever
    put_public=put_public,
)

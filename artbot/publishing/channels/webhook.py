"""A webhook by the Standard Webhooks 1.0 rules: signed, the same id for every attempt.

The timestamp that is signed is that of the attempt, so every attempt is signed anew (artbot.publishing.signatures).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field, model_validator

from artbot.config import PictureFrom, SecretReference
from artbot.domain.delivery import FOR_EVER
from artbot.errors import Rejected
from artbot.publishing.address import PRIVATE, is_loopback, is_private_host, quoted, split_address
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.signatures import Secret, parse_secrets, sign
from artbot.redaction import register_secret

if TYPE_CHECKING:
    from artbot.publishing.http import Answer, Door
    from artbot.publishing.work import Work

Format = Literal["standard", "cloudevents"]
MEDIA_TYPES: dict[Format, str] = {
    "standard": "application/json",
    "cloudevents": "application/cloudevents+json",
}


class WebhookSettings(SecretReference, PictureFrom):
    """[channels.NAME] with type = "webhook"."""

    no_keys: ClassVar[Mapping[str, str]] = {
        **SecretReference.no_keys,
        "text": "a webhook has no text: its event holds title, caption and the other words, each for itself",
    }
    type: Literal["webhook"]
    url: str = Field(examples=["https://example.org/hook"])
    allow_http: bool = False
    """Plain http to another machine: signed, but readable on the way."""
    allow_private: bool = False
    """The receiver is on this machine or in the person's own network."""
    proxy: str | None = Field(default=None, examples=["http://proxy.example.org:8080"])
    """`http://HOST:PORT` that everything goes through. The environment's proxies are not used. A password
    (`http://USER:PASSWORD@HOST:PORT`) is kept out of logs and the database like any other secret."""
    picture: Literal["inline", "url"] = "inline"
    """Inside of the event, or as the address that another channel shows it at (`picture_from`)."""
    inline_limit_bytes: int = Field(default=2_000_000, ge=1, le=50_000_000)
    """A larger picture is refused at the approval. In the event it takes a third more."""
    format: Format = "standard"
    """`cloudevents`: the same events in the envelope of CloudEvents 1.0."""
    notices: tuple[Literal["batch.ready", "delivery.failed"], ...] = Field(
        default=(), examples=[["batch.ready", "delivery.failed"]]
    )
    """What else is told besides the works."""

    def to_have_a_secret(self, channel: str, root: Path) -> str:
        """No service gave it: it is in the receiver's hands and ours."""
        if self.secret_file is None:
            return super().to_have_a_secret(channel, root)
        place = self.secret_place(root)
        return (
            f"the secret that its receiver knows goes into {place}, with chmod 600; if it knows none yet, or that "
            f"is lost: artbot channels secret {channel} --add v1 (or v1a), for the receiver as well"
        )

    @model_validator(mode="after")
    def _usable_url(self) -> Self:
        parts = split_address(self.url)
        if parts is not None and "@" in parts.netloc:
            raise ValueError("url holds a user name or password; the signature proves who sends")
        if parts is None:
            raise ValueError(
                f"url{quoted(self.url)} is no web address; write https://HOST/PATH (on this machine http://127.0.0.1:PORT/PATH)"
            )
        if not self.allow_private and is_private_host(parts.hostname or ""):
            raise ValueError(f"url{quoted(self.url)} {PRIVATE}")
        if (
            parts.scheme == "http"
            and not self.allow_http
            and not _is_this_machine(parts.hostname or "")
        ):
            raise ValueError(
                f"url{quoted(self.url)} is not encrypted; use https, or say allow_http = true if the way there is yours"
            )
        return self

    @model_validator(mode="after")
    def _usable_proxy(self) -> Self:
        if self.proxy is None:
            return self
        parts = split_address(self.proxy)
        if parts is None:
            raise ValueError(f"proxy{quoted(self.proxy)} is no address; write http://HOST:PORT")
        return self

    @model_validator(mode="after")
    def _usable_picture(self) -> Self:
        if self.picture == "url":
            if self.picture_from is None:
                raise ValueError(
                    'picture = "url" needs picture_from = "NAME": the gallery or s3 channel that shows the works'
                )
            if "inline_limit_bytes" in self.model_fields_set:
                raise ValueError('inline_limit_bytes has no effect with picture = "url"')
        elif self.picture_from is not None:
            raise ValueError('picture_from has no effect without picture = "url"')
        return self


class WebhookSender(Sender):
    """Signs and posts events to one endpoint."""

    def __init__(
        self,
        url: str,
        *signers: Secret,
        allow_private: bool,
        proxy: str | None = None,
        format: Format = "standard",
    ) -> None:
        self._url = url
        self._signers = signers
        self._allow_private = allow_private
        self._proxy = proxy
        self._format = format

    def check(self, now: datetime) -> str:
        """Only whether the receiver can be reached: what it thinks of the signature, it says to an event."""
        self._door().reach(self._url, now)
        return "the receiver can be reached"

    def test(self, now: datetime) -> str:
        """Send a `test` event, signed like any other."""
        from artbot.publishing.event import test_event

        receipt = self.tell(f"msg_test_{secrets.token_hex(8)}", test_event(now), now)
        said = f"{receipt.status}: {receipt.detail}" if receipt.detail else f"{receipt.status}"
        return f"the receiver took a test event ({said})"

    def tell(self, message_id: str, event: BaseModel, now: datetime) -> Receipt:
        """Send one of the events of artbot.publishing.event, which the receiver may have already under this id.

        Raises Rejected, Unavailable, OutcomeUnknown.
        """
        from artbot.publishing.event import event_bytes

        answer = self._post(message_id, event_bytes(event), now, lambda: False)
        return Receipt(answer.status, answer.excerpt)

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Nothing, but to put a picture that is linked where it can be fetched."""
        from artbot.publishing.shown import make_public

        if (picture := parcel.post.picture) is not None and picture.url is not None:
            make_public(self.put_public, picture, self._door(), now, parcel.alive)

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        answer = self._post(parcel.delivery_key, parcel.post.body, now, parcel.is_too_late)
        return Receipt(answer.status, answer.excerpt)

    def _post(
        self, message_id: str, event: bytes, now: datetime, is_too_late: Callable[[], bool]
    ) -> Answer:
        from artbot.publishing.event import cloud_event

        timestamp = int(now.timestamp())
        body = cloud_event(event, message_id) if self._format == "cloudevents" else event
        signatures = [sign(signer, message_id, timestamp, body) for signer in self._signers]
        headers = {
            "Content-Type": MEDIA_TYPES[self._format],
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signatures),
        }
        try:
            return self._door().request(
                "POST", self._url, body, headers, now, is_too_late=is_too_late
            )
        except Rejected as rejected:
            if rejected.status in (401, 403):
                hint = f"{rejected} (does the receiver have the same secret, or its public key?)"
                raise Rejected(hint, status=rejected.status) from rejected
            raise

    def _door(self) -> Door:
        from artbot.publishing.http import Door  # requests: only who sends needs it

        return Door(self._allow_private, self._proxy)


def compose(settings: WebhookSettings, work: Work) -> Post:
    from artbot.publishing.event import artwork_published, event_bytes
    from artbot.publishing.renditions import PictureLimits, rendition

    if settings.picture == "url":
        picture = work.public_picture
        assert picture is not None
    else:
        picture = rendition(work, PictureLimits(("image/png",)))
        if len(picture.content) > settings.inline_limit_bytes:
            raise Rejected(
                f"the picture has {len(picture.content):,} bytes, and inline_limit_bytes is "
                f'{settings.inline_limit_bytes:,}; let it be fetched instead (picture = "url"), or raise the limit'
            )
    event = artwork_published(replace(work, picture=picture))
    told = event.data.artwork
    words = (
        ("title", told.title),
        ("caption", told.caption),
        ("warning", told.warning),
        ("hashtags", " ".join(told.hashtags)),
        ("language", told.language),
    )
    return Post(
        alt=work.alt,
        picture=picture,
        body=event_bytes(event),
        also=tuple((name, word) for name, word in words if word),
    )


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return is_loopback(host)
    except ValueError:
        return False


def _open(settings: WebhookSettings, workplace: Path) -> WebhookSender:
    signers = parse_secrets(settings.read_lines(workplace), settings.secret_place(workplace))
    if settings.proxy is not None and (password := urlsplit(settings.proxy).password):
        register_secret(password)
        register_secret(unquote(password))
    return WebhookSender(
        settings.url,
        *signers,
        allow_private=settings.allow_private,
        proxy=settings.proxy,
        format=settings.format,
    )


CHANNEL = Channel(
    name="webhook",
    settings_model=WebhookSettings,
    compose=compose,
    open=_open,
    protection=FOR_EVER,  # Standard Webhooks 1.0: `webhook-id` is the receiver's idempotency key
)

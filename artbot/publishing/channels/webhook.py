"""A webhook by the Standard Webhooks 1.0 rules: signed, the same id for every attempt.

The signature is HMAC-SHA256 over `id.timestamp.body` (standardwebhooks specification, "Signature
scheme"); the timestamp is that of the attempt, so every attempt is signed anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, model_validator

from artbot.config import SecretReference
from artbot.domain.delivery import FOR_EVER
from artbot.errors import ConfigError, Rejected
from artbot.publishing.address import is_loopback, is_public
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.redaction import register_secret

if TYPE_CHECKING:
    from artbot.publishing.http import Answer
    from artbot.publishing.work import Work

SECRET_PREFIX = "whsec_"  # noqa: S105  the form of a secret, not one
SECRET_BYTES = (24, 64)
"""Shortest and longest key the specification allows."""


class WebhookSettings(SecretReference):
    """[channels.NAME] with type = "webhook"."""

    type: Literal["webhook"]
    url: str = Field(examples=["https://example.org/hook"])
    allow_http: bool = False
    """Plain http to another machine: signed, but readable on the way."""
    allow_private: bool = False
    """The receiver is on this machine or in the person's own network."""
    proxy: str | None = Field(default=None, examples=["http://proxy.example.org:8080"])
    """`http://HOST:PORT` that everything goes through. The environment's proxies are not used. A password
    (`http://USER:PASSWORD@HOST:PORT`) is kept out of logs and the database like any other secret."""

    @model_validator(mode="after")
    def _usable_url(self) -> Self:
        parts = _split(self.url)
        if parts is not None and "@" in parts.netloc:
            raise ValueError("url holds a user name or password; the signature proves who sends")
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"url{_quoted(self.url)} is no web address; write https://HOST/PATH (on this machine http://127.0.0.1:PORT/PATH)"
            )
        if not self.allow_private and _is_private(parts.hostname):
            raise ValueError(
                f"url{_quoted(self.url)} is in a private network or on this machine; if that is meant, say allow_private = true"
            )
        if parts.scheme == "http" and not self.allow_http and not _is_this_machine(parts.hostname):
            raise ValueError(
                f"url{_quoted(self.url)} is not encrypted; use https, or say allow_http = true if the way there is yours"
            )
        return self

    @model_validator(mode="after")
    def _usable_proxy(self) -> Self:
        if self.proxy is None:
            return self
        parts = _split(self.proxy)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"proxy{_quoted(self.proxy)} is no address; write http://HOST:PORT")
        return self


class WebhookSender(Sender):
    """Signs and posts events to one endpoint."""

    def __init__(
        self, url: str, key: bytes, *, allow_private: bool, proxy: str | None = None
    ) -> None:
        self._url = url
        self._key = key
        self._allow_private = allow_private
        self._proxy = proxy

    def check(self, now: datetime) -> str:
        """Send a `test` event, signed like any other."""
        from artbot.publishing.event import event_bytes, test_event

        message_id = f"msg_test_{secrets.token_hex(8)}"
        answer = self._post(message_id, event_bytes(test_event(now)), now, lambda: False)
        return f"the receiver took a test event ({answer.said})"

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        answer = self._post(parcel.delivery_key, parcel.post.body, now, parcel.is_too_late)
        return Receipt(answer.status, answer.excerpt)

    def _post(
        self, message_id: str, body: bytes, now: datetime, is_too_late: Callable[[], bool]
    ) -> Answer:
        from artbot.publishing.http import Door  # requests: only who sends needs it

        timestamp = int(now.timestamp())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._key, message_id, timestamp, body),
        }
        try:
            return Door(self._allow_private, self._proxy).request(
                "POST", self._url, body, headers, now, is_too_late=is_too_late
            )
        except Rejected as rejected:
            if rejected.status in (401, 403):
                hint = f"{rejected} (does the receiver have the same secret?)"
                raise Rejected(hint, status=rejected.status) from rejected
            raise


def compose(settings: WebhookSettings, work: Work) -> Post:
    from artbot.publishing.event import artwork_published, event_bytes
    from artbot.publishing.renditions import PictureLimits, rendition

    picture = rendition(work, PictureLimits(("image/png",)))
    event = artwork_published(replace(work, picture=picture))
    return Post(alt=work.alt, picture=picture, body=event_bytes(event))


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The `v1` signature over the exact bytes sent; `timestamp` in Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def parse_secret(secret: str) -> bytes:
    """The key in a `whsec_…` secret. Raises ConfigError, which never quotes the secret."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:  # not ASCII, or not base64
        key = b""
    shortest, longest = SECRET_BYTES
    if not secret.startswith(SECRET_PREFIX) or not shortest <= len(key) <= longest:
        raise ConfigError(
            f"the secret must be {SECRET_PREFIX} and the base64 of {shortest} to {longest} random bytes, on one line"
        )
    return key


def new_secret(random_bytes: bytes) -> str:
    """A `whsec_…` secret of 32 random bytes."""
    return SECRET_PREFIX + base64.b64encode(random_bytes).decode()


def _split(url: str) -> SplitResult | None:
    """None for what is no URL; the reasons that the library gives quote passwords."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _quoted(url: str) -> str:
    """For a message: nothing of a URL that may hold a password."""
    return "" if "@" in url or _split(url) is None else f" {url!r}"


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return is_loopback(host)
    except ValueError:
        return False


def _is_private(host: str) -> bool:
    """As far as it is written in the URL; names are looked up when something is sent."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not is_public(host)
    except ValueError:
        pass
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(host)))  # 127.1, 0x7f.1, 2130706433
    except OSError:
        return False


def _open(settings: WebhookSettings, workplace: Path) -> WebhookSender:
    key = parse_secret(settings.read_secret(workplace))
    if settings.proxy is not None and (password := urlsplit(settings.proxy).password):
        register_secret(password)
        register_secret(unquote(password))
    return WebhookSender(
        settings.url, key, allow_private=settings.allow_private, proxy=settings.proxy
    )


CHANNEL = Channel(
    name="webhook",
    settings_model=WebhookSettings,
    compose=compose,
    open=_open,
    protection=FOR_EVER,  # Standard Webhooks 1.0: `webhook-id` is the receiver's idempotency key
)

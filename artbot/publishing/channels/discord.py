"""A Discord channel, through a webhook of its own.

Source: discord.com/developers/docs, "Execute Webhook", "Uploading Files", "Rate Limits". Discord recognises
no repetition of a webhook's message and lists none, so after a lost answer a person is asked.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from artbot.domain.delivery import NO_PROTECTION
from artbot.errors import ConfigError, Rejected, Unavailable
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.posting import PostSettings, compose_post
from artbot.publishing.words import Limit
from artbot.redaction import register_secret

if TYPE_CHECKING:
    from artbot.publishing.http import Answer
    from artbot.publishing.work import Work

TEXT = (Limit(2000),)
ALT = (Limit(1024),)
MAX_BYTES = 10 * 1024 * 1024
"""Of one file. A server that was boosted takes more; it need not be asked for."""
UNKNOWN_WEBHOOK = 10015
"""JSON error code: somebody removed it."""
HOSTS = ("discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com")


class DiscordSettings(PostSettings):
    """[channels.NAME] with type = "discord". The secret is the webhook's URL."""

    type: Literal["discord"]
    username: str | None = None
    """Shown instead of the webhook's own name."""
    allow_private: bool = False
    """The secret names a server that is not Discord's own, for example one in your network."""


class DiscordSender(Sender):
    def __init__(self, url: str, settings: DiscordSettings) -> None:
        self._url = url
        self._settings = settings

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        from artbot.publishing.http import Door
        from artbot.publishing.multipart import encode, file_name

        post, work = parcel.post, parcel.work
        assert post.picture is not None
        name = file_name(work.name, post.picture)
        if work.warning:
            name = f"SPOILER_{name}"  # Discord hides it until it is clicked
        message: dict[str, object] = {
            "content": post.text,
            "allowed_mentions": {"parse": []},  # no @everyone out of a title
            "attachments": [{"id": 0, "filename": name, "description": post.alt}],
        }
        if self._settings.username:
            message["username"] = self._settings.username
        body, content_type = encode(
            {"payload_json": json.dumps(message)}, {"files[0]": (name, post.picture)}
        )
        answer = Door(self._settings.allow_private).request(
            "POST",
            f"{self._url}?wait=true",  # else Discord answers before it has looked at the message
            body,
            {"Content-Type": content_type},
            now,
            judge=_judge,
            is_too_late=parcel.is_too_late,
        )
        return Receipt(answer.status, f"message {answer.object().get('id')}")

    def check(self, now: datetime) -> str:
        from artbot.publishing.http import Door

        door = Door(self._settings.allow_private)
        said = door.request("GET", self._url, None, {}, now, judge=_judge).object()
        return f"the webhook {said.get('name')!r} is there"


def compose(settings: DiscordSettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(max_bytes=MAX_BYTES)
    return compose_post(settings, work, text=TEXT, alt=ALT, picture=limits)


def _judge(answer: Answer, now: datetime) -> None:
    from artbot.publishing.http import judge

    if answer.status == 404 and _field(answer, "code") == UNKNOWN_WEBHOOK:
        raise Rejected(f"answered {answer.said}: the webhook was removed", status=410)
    if answer.status == 429:
        wait_s = _field(answer, "retry_after")
        raise Unavailable(
            f"answered {answer.said}",
            status=429,
            retry_after_s=float(wait_s) if isinstance(wait_s, int | float) else None,
        )
    judge(answer, now)


def _field(answer: Answer, name: str) -> object:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return None
    return found.get(name) if isinstance(found, dict) else None


def _open(settings: DiscordSettings, workplace: Path) -> DiscordSender:
    url = settings.read_secret(workplace)
    parts = urlsplit(url)
    register_secret(parts.path.rpartition("/")[2])
    is_known = parts.scheme == "https" and parts.hostname in HOSTS
    if not (is_known or settings.allow_private) or "/webhooks/" not in parts.path:
        raise ConfigError(
            "the secret must be the webhook's URL, https://discord.com/api/webhooks/NUMBER/TOKEN, on one line"
        )
    return DiscordSender(url.rstrip("/"), settings)


CHANNEL = Channel(
    name="discord",
    settings_model=DiscordSettings,
    compose=compose,
    open=_open,
    protection=NO_PROTECTION,
)

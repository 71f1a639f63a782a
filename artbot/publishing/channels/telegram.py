"""A Telegram channel or group, through a bot.

Source: core.telegram.org/bots/api, "sendPhoto", "sendDocument", "Making requests". Telegram knows no alt text
and recognises no repetition; a bot cannot read what it posted. After a lost answer a person is asked.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from artbot.domain.delivery import NO_PROTECTION
from artbot.errors import ConfigError, Rejected, Unavailable
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.posting import PostSettings, compose_post
from artbot.publishing.words import Limit, Unit

if TYPE_CHECKING:
    from artbot.publishing.http import Answer, Json
    from artbot.publishing.work import Work

TEXT = (Limit(1024, Unit.UTF16),)
MAX_PHOTO_BYTES = 10_000_000
MAX_DOCUMENT_BYTES = 50_000_000
MAX_SIDES_PX = 10_000
"""Width and height of a photo together."""
MAX_RATIO = 20


class TelegramSettings(PostSettings):
    """[channels.NAME] with type = "telegram". The secret is the bot's token."""

    type: Literal["telegram"]
    chat: str = Field(examples=["@paintings"])
    """`@name` of a public channel, or the number of a chat."""
    send_as: Literal["photo", "document"] = "photo"
    """`photo`: shown at once, compressed by Telegram; `document`: the very file, to be opened."""
    silent: bool = False
    """Nobody's telephone rings."""
    api: str = "https://api.telegram.org"
    allow_private: bool = False
    """`api` is a server of your own (github.com/tdlib/telegram-bot-api) in your network."""

    @field_validator("chat")
    @classmethod
    def _known_form(cls, chat: str) -> str:
        if not chat.startswith("@") and not chat.removeprefix("-").isdigit():
            raise ValueError(
                f'{chat!r} is no chat; write "@name", or its number like "-1001234567890"'
            )
        return chat


class TelegramSender(Sender):
    def __init__(self, token: str, settings: TelegramSettings) -> None:
        self._token = token
        self._settings = settings

    def check(self, now: datetime) -> str:
        bot = self._ask("getMe", {}, now)
        fields = {"chat_id": self._settings.chat, "user_id": str(bot.get("id"))}
        member = self._ask("getChatMember", fields, now)
        if member.get("status") not in ("administrator", "creator", "member"):
            raise Rejected(
                f"the bot @{bot.get('username')} may not post to {self._settings.chat}: it is "
                f"{member.get('status')}; make it an administrator of the chat",
                status=403,
            )
        return f"the bot @{bot.get('username')} may post to {self._settings.chat}"

    def _ask(self, method: str, fields: dict[str, str], now: datetime) -> dict[str, Json]:
        from artbot.publishing.http import Door

        answer = Door(self._settings.allow_private).request(
            "POST",
            f"{self._settings.api}/bot{self._token}/{method}",
            json.dumps(fields).encode(),
            {"Content-Type": "application/json"},
            now,
            judge=_judge,
        )
        result = answer.object().get("result")
        return result if isinstance(result, dict) else {}

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        from artbot.publishing.http import Door
        from artbot.publishing.multipart import encode, file_name

        settings, post, work = self._settings, parcel.post, parcel.work
        assert post.picture is not None
        fields = {"chat_id": settings.chat, "caption": post.text}
        if settings.silent:
            fields["disable_notification"] = "true"
        if work.warning and settings.send_as == "photo":
            fields["has_spoiler"] = "true"
        file = file_name(work.name, post.picture)
        body, content_type = encode(fields, {settings.send_as: (file, post.picture)})
        answer = Door(settings.allow_private).request(
            "POST",
            f"{settings.api}/bot{self._token}/send{settings.send_as.capitalize()}",
            body,
            {"Content-Type": content_type},
            now,
            judge=_judge,
            is_too_late=parcel.is_too_late,
        )
        said = answer.object()
        message = said.get("result")
        number = message.get("message_id") if isinstance(message, dict) else None
        chat = settings.chat.removeprefix("@")
        url = f"https://t.me/{chat}/{number}" if chat != settings.chat and number else None
        return Receipt(answer.status, f"message {number}", url)


def compose(settings: TelegramSettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    if settings.send_as == "document":
        limits = PictureLimits(max_bytes=MAX_DOCUMENT_BYTES)
    else:
        limits = PictureLimits(max_bytes=MAX_PHOTO_BYTES, max_side_px=MAX_SIDES_PX // 2)
    post = compose_post(settings, work, text=TEXT, alt=(), picture=limits)
    picture = post.picture
    assert picture is not None
    short, long = sorted((picture.width_px, picture.height_px))
    if settings.send_as == "photo" and long > MAX_RATIO * short:
        raise Rejected(
            f"a photo of {picture.width_px} x {picture.height_px} px is too narrow for Telegram, which takes "
            f'1 : {MAX_RATIO}; say send_as = "document"'
        )
    return Post(post.text, "", picture)


def _judge(answer: Answer, now: datetime) -> None:
    from artbot.publishing.http import judge

    try:
        said = json.loads(answer.content)
    except ValueError:
        said = None
    if isinstance(said, dict) and said.get("ok") is False:
        why = str(said.get("description", ""))
        asked = said.get("parameters")
        wait_s = asked.get("retry_after") if isinstance(asked, dict) else None
        if answer.status == 429:
            waits = float(wait_s) if isinstance(wait_s, int | float) else None
            raise Unavailable(f"answered {answer.said}", status=429, retry_after_s=waits)
        if answer.status == 404:  # "Not Found": the path, which is the token
            raise Rejected(f"answered {answer.said}: is the token right?", status=401)
        if answer.status == 400 and ("chat not found" in why or "not enough rights" in why):
            raise Rejected(
                f"answered {answer.said}: is the chat right, and the bot an administrator of it?",
                status=403,
            )
    judge(answer, now)


def _open(settings: TelegramSettings, workplace: Path) -> TelegramSender:
    token = settings.read_secret(workplace)
    number, _, rest = token.partition(":")
    if not number.isdigit() or not rest or not rest.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(
            "the secret must be the bot's token as @BotFather gives it, NUMBER:LETTERS, on one line"
        )
    return TelegramSender(token, settings)


CHANNEL = Channel(
    name="telegram",
    settings_model=TelegramSettings,
    compose=compose,
    open=_open,
    protection=NO_PROTECTION,
)

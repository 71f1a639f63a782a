"""A Slack channel, through an app of yours.

Source: docs.slack.dev, methods `files.getUploadURLExternal`, `files.completeUploadExternal`, `files.info`,
`auth.test`. Slack recognises no repetition, but says where a file was shared: so the file's id is kept
before it is shared, and after a lost answer the channel looks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode, urlsplit

from pydantic import Field, field_validator

from artbot.domain.delivery import Protection
from artbot.errors import ConfigError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.posting import PostSettings, compose_post
from artbot.publishing.words import Limit

if TYPE_CHECKING:
    from artbot.publishing.http import Answer, Json
    from artbot.publishing.work import Work

TEXT = (Limit(4000),)
"""Longer messages are cut ("Truncating content")."""
ALT = (Limit(1000),)
MAX_BYTES = 1_000_000_000
MAX_ANSWER_BYTES = 512 * 1024
REFUSES_US = {
    "invalid_auth",
    "not_authed",
    "token_revoked",
    "token_expired",
    "account_inactive",
    "missing_scope",
    "no_permission",
    "channel_not_found",
    "not_in_channel",
    "is_archived",
}
"""Errors that every other work would meet as well."""
NOT_NOW = {"ratelimited", "rate_limited", "service_unavailable", "team_added_to_org"}
NOBODY_KNOWS = {"internal_error", "fatal_error", "request_timeout"}


class SlackSettings(PostSettings):
    """[channels.NAME] with type = "slack". The secret is the app's bot token, `xoxb-…`."""

    type: Literal["slack"]
    channel: str = Field(examples=["C0123456789"])
    """The channel's id, `C0123456789`: at the end of its link."""
    api: str = "https://slack.com/api"
    allow_private: bool = False

    @field_validator("channel")
    @classmethod
    def _is_an_id(cls, channel: str) -> str:
        if channel[:1] not in ("C", "G") or not channel.isalnum() or not channel.isupper():
            raise ValueError(f'{channel!r} is no id of a channel; write it like "C0123456789"')
        return channel


class SlackSender(Sender):
    def __init__(self, token: str, settings: SlackSettings) -> None:
        self._token = token
        self._settings = settings

    def check(self, now: datetime) -> str:
        said = self._call("auth.test", {}, now)
        return f"{said.get('user')} of {said.get('team')}"

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Upload the picture; until it is shared nobody sees it."""
        from artbot.publishing.http import Door
        from artbot.publishing.multipart import file_name

        post = parcel.post
        assert post.picture is not None
        if parcel.handles.get("file"):
            return
        asked = {
            "filename": file_name(parcel.work.name, post.picture),
            "length": str(len(post.picture.content)),
            "alt_txt": post.alt,
        }
        said = self._call("files.getUploadURLExternal", asked, now)
        where, file = said.get("upload_url"), said.get("file_id")
        if not isinstance(where, str) or not isinstance(file, str):
            raise OutcomeUnknown(f"Slack names no place to upload to: {said}")
        parcel.alive()
        Door(self._settings.allow_private).request(
            "POST",
            self._same_host(where),
            post.picture.content,
            {"Content-Type": post.picture.media_type},
            now,
        )
        parcel.handles.keep(file=file)

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        file = parcel.handles.get("file")
        assert file
        asked = {
            "files": json.dumps([{"id": file, "title": parcel.work.title}]),
            "channel_id": self._settings.channel,
            "initial_comment": parcel.post.text,
        }
        try:
            said = self._call(
                "files.completeUploadExternal", asked, now, is_too_late=parcel.is_too_late
            )
        except Rejected as refused:
            if "file_not_found" not in str(refused):
                raise
            parcel.handles.keep(file="")  # it waited too long to be shared: uploaded anew next time
            raise Unavailable(str(refused)) from refused
        files = said.get("files")
        shared = files[0] if isinstance(files, list) and files else None
        url = shared.get("permalink") if isinstance(shared, dict) else None
        return Receipt(200, f"file {file}", url if isinstance(url, str) else None)

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        file = parcel.handles.get("file")
        if not file:  # it is kept before the public act
            return None
        found = self._call("files.info", {"file": file}, now).get("file")
        if not isinstance(found, dict):
            raise OutcomeUnknown("Slack says nothing of the file")
        shares = found.get("shares")
        kinds = shares.values() if isinstance(shares, dict) else ()
        if not any(isinstance(kind, dict) and self._settings.channel in kind for kind in kinds):
            return None
        url = found.get("permalink")
        return Receipt(200, f"file {file}, found", url if isinstance(url, str) else None)

    def _call(
        self,
        method: str,
        fields: dict[str, str],
        now: datetime,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> dict[str, Json]:
        from artbot.publishing.http import Door

        answer = Door(self._settings.allow_private).request(
            "POST",
            f"{self._settings.api}/{method}",
            urlencode(fields).encode(),
            {
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            now,
            judge=_judge,
            is_too_late=is_too_late,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
        return answer.object()

    def _same_host(self, url: str) -> str:
        """Uploads go to Slack's own hosts only: the address comes from an answer. Raises Unavailable."""
        api, there = urlsplit(self._settings.api), urlsplit(url)
        is_slacks = there.scheme == "https" and (there.hostname or "").endswith(".slack.com")
        if not is_slacks and there.netloc != api.netloc:
            raise Unavailable(f"Slack asks to upload to {there.hostname}, which is not Slack's")
        return url


def compose(settings: SlackSettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(max_bytes=MAX_BYTES)
    post = compose_post(settings, work, text=TEXT, alt=ALT, picture=limits, also=("title",))
    # The three characters of Slack's own markup ("Formatting text").
    text = post.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return replace(post, text=text)


def _judge(answer: Answer, now: datetime) -> None:
    """Slack answers 200 and says in the body whether it went well."""
    from artbot.publishing.http import judge

    judge(answer, now)
    said = answer.object()
    if said.get("ok") is True:
        return
    error = said.get("error")
    if error in REFUSES_US:
        raise Rejected(f"answered {answer.said}", status=403)
    if error in NOT_NOW:
        raise Unavailable(f"answered {answer.said}")
    if error in NOBODY_KNOWS or not isinstance(error, str):
        raise OutcomeUnknown(f"answered {answer.said}")
    raise Rejected(f"answered {answer.said}", status=400)


def _open(settings: SlackSettings, workplace: Path) -> SlackSender:
    token = settings.read_secret(workplace)
    if not token.startswith("xox") or len(token.split()) != 1:
        raise ConfigError("the secret must be the app's bot token, xoxb-…, on one line")
    return SlackSender(token, settings)


CHANNEL = Channel(
    name="slack",
    settings_model=SlackSettings,
    compose=compose,
    open=_open,
    protection=Protection(looks=True),
)

"""A Matrix room, through an account of its own.

Source: spec.matrix.org, Client-Server API 1.10 and later ("m.image", "Media captions", "Transaction
identifiers", "Rate limiting"), and Synapse's source. The transaction id is the delivery's key: Synapse answers
a repetition by the same device for a day with the first event (events_worker.py,
_cleanup_old_transaction_ids), other servers for as long as they like, some until they are restarted. So it
is sent, and nothing rests on it: after a lost answer the room is read back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import Field, field_validator

from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.delivery import Protection
from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.homeserver import HomeserverSettings, server_time, text_of
from artbot.publishing.posting import compose_post
from artbot.publishing.words import Limit, Unit, check

if TYPE_CHECKING:
    from artbot.publishing.http import Answer
    from artbot.publishing.work import Work

BODY = (Limit(30_000, Unit.BYTES),)
"""An event has 65,536 bytes ("Size limits"), and JSON writes some characters as two."""
MAX_BYTES = 52_428_800
"""`max_upload_size` of a Synapse that was not changed."""
LIMIT_KEPT = timedelta(days=1)
MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""A page of events of the greatest size is below."""
PAGE = 100
MAX_PAGES = 50
_CLIENT = "/_matrix/client/v3"


class MatrixSettings(HomeserverSettings):
    """[channels.NAME] with type = "matrix". The secret is an access token."""

    type: Literal["matrix"]
    url: str = Field(examples=["https://matrix.org"])
    room: str = Field(examples=["#paintings:example.org"])
    """`#alias:server` or `!id`."""
    max_bytes: int = Field(default=MAX_BYTES, ge=1)
    """Of the picture."""

    @field_validator("room")
    @classmethod
    def _known_form(cls, room: str) -> str:
        is_alias = room.startswith("#") and ":" in room
        is_id = room.startswith("!") and len(room) > 1  # since room version 12 without a server
        if not is_alias and not is_id:
            raise ValueError(f'{room!r} is no room; write "#alias:server", or its id "!…"')
        return room


known_limits: dict[str, tuple[datetime, int | None]] = {}
"""Bytes of an upload by server, and when it was asked. None: it does not say."""


@dataclass(frozen=True)
class _Me:
    user: str
    room: str
    """Its id."""


class MatrixSender(Sender):
    def __init__(self, token: str, settings: MatrixSettings) -> None:
        self._token = token
        self._settings = settings

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Raises Rejected, also for a room that is encrypted: what artbot sent there, everybody could read."""
        handles, post = parcel.handles, parcel.post
        assert post.picture is not None
        self._check_size(len(post.picture.content), now)
        parcel.alive()
        me = self._me(now)
        parcel.alive()
        self._check_room(me.room, now)
        tried = {
            "room": me.room,
            "rooms": _with(handles.get("rooms"), me.room),
            "users": _with(handles.get("users"), me.user),
        }
        if handles.get("media") and handles.get("media_of") == post.picture.sha256:
            handles.keep(**tried)
            return
        parcel.alive()
        answer = self._ask(
            "POST",
            f"/_matrix/media/v3/upload?filename={_file_name(parcel)}",
            now,
            body=post.picture.content,
            media_type=post.picture.media_type,
        )
        media = text_of(answer, answer.object(), "content_uri")
        handles.keep(
            media=media,
            media_of=post.picture.sha256,
            uploaded=_with(handles.get("uploaded"), media),
            since=handles.get("since") or server_time(answer, now).isoformat(),
            **tried,
        )

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        post = parcel.post
        room, media = parcel.handles.get("room"), parcel.handles.get("media")
        assert room is not None
        assert post.picture is not None
        event = {
            "msgtype": "m.image",
            # Different from `filename`, it is the caption (MSC2530, Matrix 1.10).
            "body": post.text,
            "filename": _file_name(parcel),
            "url": media,
            "info": {
                "w": post.picture.width_px,
                "h": post.picture.height_px,
                "size": len(post.picture.content),
                "mimetype": post.picture.media_type,
            },
            "m.mentions": {},  # nobody is called by a word of the caption (Matrix 1.7)
        }
        answer = self._ask(
            "PUT",
            f"{_CLIENT}/rooms/{quote(room, safe='')}/send/m.room.message/{parcel.delivery_key}",
            now,
            body=json.dumps(event).encode(),
            parcel=parcel,
        )
        event_id = text_of(answer, answer.object(), "event_id")
        return Receipt(answer.status, f"event {event_id}", _link(room, event_id))

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        """Looks into every room that an attempt may have gone to: an alias may lead elsewhere since."""
        handles = parcel.handles
        rooms = (handles.get("rooms") or "").split()
        if not rooms or not handles.get("uploaded") or not handles.get("since"):
            raise OutcomeUnknown(
                "what was uploaded for it is not in the database any more: look into the room"
            )
        for room in rooms:
            found = self._find(room, parcel, now)
            if found is not None:
                link = _link(room, found)
                return Receipt(200, f"event {found} was found in the room", link)
        return None

    def _find(self, room: str, parcel: Parcel, now: datetime) -> str | None:
        """The id of the event that shows what was uploaded for this delivery; None: there certainly is none.

        Raises OutcomeUnknown if that cannot be said.
        """
        handles = parcel.handles
        uploaded = (handles.get("uploaded") or "").split()
        # By the homeserver's own clock; its machines may differ a little.
        began = datetime.fromisoformat(handles.get("since") or "") - CLOCK_TOLERANCE
        chosen = {"types": ["m.room.message"], "senders": (handles.get("users") or "").split()}
        where = f"{_CLIENT}/rooms/{quote(room, safe='')}/messages?dir=b&limit={PAGE}"
        where += f"&filter={quote(json.dumps(chosen))}"
        before = ""
        for _ in range(MAX_PAGES):
            parcel.alive()
            answer = self._ask("GET", where + before, now)
            said = answer.object()
            events = _events(answer, said)
            for event in events:
                if _is_of(event, uploaded, parcel.delivery_key):
                    return str(event.get("event_id"))
            newest_ms = max((event["origin_server_ts"] for event in events), default=None)
            end = said.get("end")
            if not end or (newest_ms is not None and newest_ms < began.timestamp() * 1000):
                return None
            before = f"&from={quote(str(end), safe='')}"
        raise OutcomeUnknown(
            f"it is not on the last {MAX_PAGES} pages of the room, and older ones were not looked at"
        )

    def check(self, now: datetime) -> str:
        me = self._me(now)
        self._check_room(me.room, now)
        joined = self._ask("GET", f"{_CLIENT}/joined_rooms", now).object().get("joined_rooms")
        if not isinstance(joined, list) or me.room not in joined:
            raise Rejected(
                f"{me.user} is not in {self._settings.room}: let it join the room", status=403
            )
        return f"{me.user} is in {self._settings.room}, which is not encrypted"

    def _me(self, now: datetime) -> _Me:
        """Raises Rejected."""
        answer = self._ask("GET", f"{_CLIENT}/account/whoami", now)
        user = text_of(answer, answer.object(), "user_id")
        room = self._settings.room
        if room.startswith("!"):
            return _Me(user, room)
        try:
            answer = self._ask("GET", f"{_CLIENT}/directory/room/{quote(room, safe='')}", now)
        except Rejected as rejected:
            if rejected.status != 404:
                raise
            raise _refused(f"the server knows no room {room}: {rejected}") from rejected
        return _Me(user, text_of(answer, answer.object(), "room_id"))

    def _check_room(self, room: str, now: datetime) -> None:
        where = f"{_CLIENT}/rooms/{quote(room, safe='')}/state/m.room.encryption/"
        answer = self._ask("GET", where, now, judge=_judge_state)
        if answer.status == 404:
            return
        text_of(answer, answer.object(), "algorithm")
        raise _refused(
            f"the room {self._settings.room} is encrypted, which artbot cannot: choose one that is not "
            "(encryption cannot be switched off again)"
        )

    def _check_size(self, num_bytes: int, now: datetime) -> None:
        """Raises Rejected."""
        most = self._max_bytes(now)
        if most is not None and num_bytes > most:
            raise Rejected(
                f"the picture has {num_bytes:,} bytes, but this server takes {most:,}: say max_bytes = {most} "
                "for the channel"
            )

    def _max_bytes(self, now: datetime) -> int | None:
        """Raises Unavailable. A server that does not tell refuses the upload by itself."""
        base = self._settings.base
        asked_at, most = known_limits.get(base, (None, None))
        if asked_at is not None and abs(now - asked_at) < LIMIT_KEPT:
            return most
        try:
            answer = self._ask("GET", "/_matrix/client/v1/media/config", now)
        except Rejected as rejected:
            if rejected.status != 404:
                raise
            answer = self._ask("GET", "/_matrix/media/v3/config", now)  # before Matrix 1.11
        told = answer.object().get("m.upload.size")
        known_limits[base] = (now, told if isinstance(told, int) else None)
        return known_limits[base][1]

    def _ask(
        self,
        method: str,
        path: str,
        now: datetime,
        *,
        body: bytes | None = None,
        media_type: str = "application/json",
        judge: Callable[[Answer, datetime], None] | None = None,
        parcel: Parcel | None = None,
    ) -> Answer:
        """`parcel`: for the public act."""
        from artbot.publishing.http import Door  # requests: only who sends needs it

        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = media_type
        return Door(self._settings.allow_private).request(
            method,
            f"{self._settings.base}{path}",
            body,
            headers,
            now,
            judge=judge or _judge,
            is_too_late=parcel.is_too_late if parcel else lambda: False,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )


def compose(settings: MatrixSettings, work: Work) -> Post:
    """Matrix has one text for both who see the picture and who do not, so the alt text stands in it."""
    from artbot.publishing.renditions import PictureLimits

    limits = PictureLimits(max_bytes=settings.max_bytes)
    post = compose_post(settings, work, text=BODY, alt=BODY, picture=limits)
    if work.alt not in post.text:
        post = replace(post, text=f"{post.text}\n\n{work.alt}".strip())
        check("text together with the alt text", post.text, BODY)
    return post


def _judge(answer: Answer, now: datetime) -> None:
    """Raises Rejected, Unavailable, OutcomeUnknown."""
    from artbot.publishing.http import judge

    try:
        judge(answer, now)
    except Unavailable as error:
        wait_ms = _field(answer, "retry_after_ms")
        if error.retry_after_s is None and isinstance(wait_ms, int | float):
            error.retry_after_s = wait_ms / 1000
        raise
    except Rejected as rejected:
        hint = {
            401: "is the access token right, and was its session logged out?",
            403: "is the account in the room, and may it write there?",
        }.get(rejected.status or 0)
        if hint is None:
            raise
        raise Rejected(f"{rejected} ({hint})", status=rejected.status) from rejected


def _judge_state(answer: Answer, now: datetime) -> None:
    """That the room has no such state is an answer."""
    if answer.status != 404 or _field(answer, "errcode") != "M_NOT_FOUND":
        _judge(answer, now)


def _field(answer: Answer, name: str) -> object:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return None
    return found.get(name) if isinstance(found, dict) else None


def _refused(why: str) -> Rejected:
    """With a status that pauses the channel: every other work would be refused as well."""
    return Rejected(why, status=403)


def _events(answer: Answer, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Raises OutcomeUnknown."""
    chunk = said.get("chunk")
    if isinstance(chunk, list):
        events = [
            event
            for event in chunk
            if isinstance(event, dict) and isinstance(event.get("origin_server_ts"), int)
        ]
        if len(events) == len(chunk):
            return events
    raise OutcomeUnknown(
        f"what the server lists are no events: {answer.said}", status=answer.status
    )


def _is_of(event: Mapping[str, Any], uploaded: list[str], delivery_key: str) -> bool:
    """Whether it shows what was uploaded for this delivery. Somebody may have removed it since: then its
    content is gone, but not what the server knows of its transaction."""
    content, unsigned = event.get("content"), event.get("unsigned")
    shows = isinstance(content, dict) and content.get("url") in uploaded
    return shows or (isinstance(unsigned, dict) and unsigned.get("transaction_id") == delivery_key)


def _with(kept: str | None, one: str) -> str:
    """A list in one handle; ids have no spaces."""
    return " ".join(dict.fromkeys([*(kept or "").split(), one]))


def _file_name(parcel: Parcel) -> str:
    from artbot.publishing.multipart import file_name

    assert parcel.post.picture is not None
    return file_name(parcel.work.name, parcel.post.picture)


def _link(room: str, event: str) -> str:
    return f"https://matrix.to/#/{quote(room, safe='!')}/{quote(event, safe='$')}"


def _open(settings: MatrixSettings, workplace: Path) -> MatrixSender:
    return MatrixSender(settings.read_secret(workplace), settings)


CHANNEL = Channel(
    name="matrix",
    settings_model=MatrixSettings,
    compose=compose,
    open=_open,
    protection=Protection(looks=True),
)

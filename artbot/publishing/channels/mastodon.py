"""An account on Mastodon, or on a server that speaks its API: Pixelfed, GoToSocial, Akkoma, snac.

Source: docs.joinmastodon.org ("media", "statuses", "accounts", "instance", "Rate limits") and Mastodon's
PostStatusService. A repeated `Idempotency-Key` gets the first status for an hour at Mastodon, an error at
Pixelfed, and a second status at servers that do not know it; so it is sent, and nothing rests on it. After a
lost answer the account's own statuses are looked through for the picture that was uploaded.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.delivery import Protection
from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.homeserver import HomeserverSettings, server_time, text_of
from artbot.publishing.posting import compose_post
from artbot.publishing.words import Limit, Unit, check, count

if TYPE_CHECKING:
    from artbot.publishing.http import Answer, Door
    from artbot.publishing.work import Work

MAX_CHARS = 500
MAX_ALT_CHARS = 1500
MAX_BYTES = 16_777_216
MAX_PIXELS = 33_177_600
"""Of a Mastodon 4.6 that was not changed (MediaAttachment, Attachmentable, StatusLengthValidator)."""
LIMITS_KEPT = timedelta(days=1)
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""A page of forty long statuses is far below."""
PROCESSING_WAITS_S = (1.0, 1.0, 2.0, 3.0, 5.0, 8.0)
"""Between looks at a picture that the server is still working on."""
PAGE = 40
"""The most that Mastodon lists at once."""
MAX_PAGES = 50


class MastodonSettings(HomeserverSettings):
    """[channels.NAME] with type = "mastodon". The secret is an access token."""

    type: Literal["mastodon"]
    url: str = Field(examples=["https://mastodon.social"])
    visibility: Literal["public", "unlisted", "private"] = "public"
    max_chars: int = Field(default=MAX_CHARS, ge=1)
    """Of text and content warning, a link counted as 23."""
    max_alt_chars: int = Field(default=MAX_ALT_CHARS, ge=1)
    max_bytes: int = Field(default=MAX_BYTES, ge=1)
    """Of the picture."""


@dataclass(frozen=True)
class Limits:
    """What a server says it takes; None: it does not say."""

    max_chars: int | None = None
    max_alt_chars: int | None = None
    max_bytes: int | None = None
    max_pixels: int | None = None
    media_types: tuple[str, ...] | None = None
    marks_bots: bool = True
    """Whether an account can say that it is a bot's. Pixelfed's never does (its AccountTransformer)."""


known_limits: dict[str, tuple[datetime, Limits]] = {}
"""By server, and when it was asked."""


class MastodonSender(Sender):
    def __init__(
        self, token: str, settings: MastodonSettings, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._token = token
        self._settings = settings
        self._sleep = sleep

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Raises Rejected for what is over the server's own limits, which compose does not know."""
        _check_limits(parcel, self._limits(now))
        parcel.alive()
        if not self._is_uploaded(parcel, now):
            self._upload(parcel, now)

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        work = parcel.work
        media = parcel.handles.get("media")
        assert media is not None
        status = {
            "status": parcel.post.text,
            "media_ids": [media],
            "visibility": self._settings.visibility,
            "sensitive": bool(work.warning),
            "spoiler_text": work.warning,
            **({"language": work.language} if work.language else {}),
        }
        try:
            answer = self._ask(
                "POST",
                "/api/v1/statuses",
                now,
                body=json.dumps(status).encode(),
                headers={
                    "Content-Type": "application/json",
                    "Idempotency-Key": parcel.delivery_key,
                },
                judge=_judge_status,
                is_too_late=parcel.is_too_late,
            )
        except Rejected as rejected:
            if rejected.status == 422:
                self._check_media(media, rejected, now)
            raise
        said = answer.object()
        number = text_of(answer, said, "id")
        detail = f"status {number}"
        if not said.get("media_attachments"):
            detail += ", which the server shows without the picture"
        return Receipt(answer.status, detail, _url(said))

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        found = self._find(parcel, now)
        if found is None:
            return None
        return Receipt(
            200,
            f"status {found['id']} of {found['created_at']} was found among the account's own",
            _url(found),
        )

    def check(self, now: datetime) -> str:
        account = self._account(now)
        return f"posts as @{account.get('acct')}, {account.get('url')}"

    def remarks(self, now: datetime) -> list[str]:
        settings, limits = self._settings, self._limits(now)
        found = []
        if limits.marks_bots and self._account(now).get("bot") is False:
            found.append(
                'the profile does not say that a bot posts there: tick "This is an automated account" in '
                "Preferences, Public profile"
            )
        for key, has, may in (
            ("max_chars", settings.max_chars, limits.max_chars),
            ("max_alt_chars", settings.max_alt_chars, limits.max_alt_chars),
            ("max_bytes", settings.max_bytes, limits.max_bytes),
        ):
            if may is not None and has > may:
                found.append(f"the server takes less than the table says: write {key} = {may}")
        return found

    def _is_uploaded(self, parcel: Parcel, now: datetime) -> bool:
        """Whether the picture that an earlier attempt uploaded can be posted; waits while it is processed.

        Mastodon answers 404 for one that was not posted in time, for one that is posted, and for one of another
        account (then none of its attempts can have been posted, or `reconcile` had raised).
        """
        media = parcel.handles.get("media")
        if media is None or parcel.handles.get("media_of") != _media_of(parcel.post):
            return False
        try:
            self._wait_until_processed(media, parcel, now)
        except Rejected as rejected:
            if rejected.status != 404:
                raise
        else:
            return True
        parcel.alive()
        if str(self._account(now)["id"]) == parcel.handles.get("account"):
            found = self._find(parcel, now)
            if found is not None:
                raise Unavailable(f"not sent: its picture is posted already, {_url(found)}")
            parcel.alive()
        return False

    def _upload(self, parcel: Parcel, now: datetime) -> None:
        """Keeps what the look needs: the account, every id and address that the picture had, and since when."""
        from artbot.publishing.multipart import encode, file_name

        handles, post = parcel.handles, parcel.post
        assert post.picture is not None
        account = str(self._account(now)["id"])
        parcel.alive()
        body, content_type = encode(
            {"description": post.alt},
            {"file": (file_name(parcel.work.name, post.picture), post.picture)},
        )
        answer = self._ask(
            "POST", "/api/v2/media", now, body=body, headers={"Content-Type": content_type}
        )
        said = answer.object()
        media = text_of(answer, said, "id")
        handles.keep(
            account=account,
            media=media,
            media_of=_media_of(post),
            uploaded=_with(handles.get("uploaded"), media, said.get("url")),
            since=handles.get("since") or server_time(answer, now).isoformat(),
        )
        if answer.status == 202 or not said.get("url"):
            parcel.alive()
            self._wait_until_processed(media, parcel, now)

    def _wait_until_processed(self, media: str, parcel: Parcel, now: datetime) -> None:
        """Raises Unavailable when it takes too long, Rejected (404) when the server does not know it."""
        for wait_s in (*PROCESSING_WAITS_S, 0.0):
            answer = self._ask("GET", f"/api/v1/media/{media}", now)
            if answer.status != 206:
                known = parcel.handles.get("uploaded")
                uploaded = _with(known, media, answer.object().get("url"))
                if uploaded != known:
                    parcel.handles.keep(uploaded=uploaded)
                return
            parcel.alive()
            self._sleep(wait_s)
            parcel.alive()
        raise Unavailable("the server is still processing the picture", retry_after_s=60)

    def _check_media(self, media: str, rejected: Rejected, now: datetime) -> None:
        """The server refused the status. Was it for the picture? Its words are in the account's language, so it
        is asked. Raises Unavailable (still processed), OutcomeUnknown (posted already, or gone: to be looked for).
        """
        try:
            answer = self._ask("GET", f"/api/v1/media/{media}", now)
        except Rejected as unknown:
            if unknown.status != 404:
                return
            raise OutcomeUnknown(
                f"{rejected}; the picture is posted already, or gone", status=422
            ) from rejected
        if answer.status == 206:
            raise Unavailable(
                f"{rejected}; the server is still processing the picture",
                status=422,
                retry_after_s=60,
            ) from rejected

    def _find(self, parcel: Parcel, now: datetime) -> dict[str, Any] | None:
        """The status that shows what was uploaded for this delivery; None: there certainly is none now.

        Raises OutcomeUnknown if that cannot be said.
        """
        handles = parcel.handles
        uploaded = frozenset((handles.get("uploaded") or "").split())
        since = handles.get("since")
        if not uploaded or since is None:
            raise OutcomeUnknown(
                "what was uploaded for it is not in the database any more: look at the account"
            )
        me = self._account(now)
        if str(me["id"]) != handles.get("account"):
            raise OutcomeUnknown(
                f"the access token is now @{me.get('acct')}'s, but the work may have been posted by another "
                "account: put that one's token back, or look there"
            )
        # By the server's own clock; its machines may differ a little.
        began = datetime.fromisoformat(since) - CLOCK_TOLERANCE
        seen: set[str] = set()
        before = ""
        for _ in range(MAX_PAGES):
            parcel.alive()
            where = f"/api/v1/accounts/{me['id']}/statuses?limit={PAGE}{before}"
            answer = self._ask("GET", where, now)
            page = [_Listed.read(answer, one) for one in answer.array()]
            for status in page:
                if status.shows & uploaded:
                    return status.said
            if not page:
                if not seen and me.get("statuses_count"):
                    raise OutcomeUnknown(
                        "the server lists no status of the account, which has some"
                    )
                return None
            if max(status.created_at for status in page) < began:
                return None
            if seen.issuperset(status.number for status in page):
                raise OutcomeUnknown("the server lists the same statuses again, not older ones")
            seen.update(status.number for status in page)
            before = f"&max_id={page[-1].number}"
        raise OutcomeUnknown(
            f"none of the account's last {len(seen)} statuses shows it, and older ones were not looked at"
        )

    def _account(self, now: datetime) -> dict[str, Any]:
        answer = self._ask("GET", "/api/v1/accounts/verify_credentials", now)
        said = answer.object()
        text_of(answer, said, "id")
        return said

    def _limits(self, now: datetime) -> Limits:
        """Raises Unavailable. A server that does not tell has none of its own."""
        base = self._settings.base
        asked_at, limits = known_limits.get(base, (None, Limits()))
        if asked_at is not None and abs(now - asked_at) < LIMITS_KEPT:
            return limits
        try:
            limits = _limits_in(self._ask("GET", "/api/v2/instance", now).object())
        except (Rejected, OutcomeUnknown):
            return Limits()
        known_limits[base] = (now, limits)
        return limits

    def _ask(
        self,
        method: str,
        path: str,
        now: datetime,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        judge: Callable[[Answer, datetime], None] | None = None,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> Answer:
        return self._door.request(
            method,
            f"{self._settings.base}{path}",
            body,
            {"Authorization": f"Bearer {self._token}", **(headers or {})},
            now,
            judge=judge or _judge,
            is_too_late=is_too_late,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )

    @property
    def _door(self) -> Door:
        from artbot.publishing.http import Door  # requests: only who sends needs it

        return Door(self._settings.allow_private)


@dataclass(frozen=True)
class _Listed:
    """One of an account's statuses."""

    said: dict[str, Any]
    number: str
    created_at: datetime
    shows: frozenset[str]
    """Ids and addresses of its pictures. snac gives a picture another id in a status, but not another
    address."""

    @classmethod
    def read(cls, answer: Answer, said: object) -> _Listed:
        """Raises OutcomeUnknown."""
        try:
            assert isinstance(said, dict)
            created_at = datetime.fromisoformat(said["created_at"])
            pictures = [picture for picture in said["media_attachments"] if picture]
            return cls(
                said,
                str(said["id"]),
                created_at if created_at.tzinfo else created_at.replace(tzinfo=UTC),
                frozenset(
                    str(picture[key])
                    for picture in pictures
                    for key in ("id", "url")
                    if key in picture
                ),
            )
        except (AssertionError, LookupError, TypeError, ValueError) as error:
            raise OutcomeUnknown(
                f"what the server lists is no status: {answer.said}", status=answer.status
            ) from error


def compose(settings: MastodonSettings, work: Work) -> Post:
    from artbot.publishing.renditions import PictureLimits

    chars = Limit(settings.max_chars, Unit.URL_WEIGHTED)
    post = compose_post(
        settings,
        work,
        text=(chars,),
        alt=(Limit(settings.max_alt_chars),),
        picture=PictureLimits(max_bytes=settings.max_bytes, max_pixels=MAX_PIXELS),
        also=("warning", "language"),
    )
    if work.warning:  # Mastodon counts both together (StatusLengthValidator)
        check("text together with the content warning", work.warning + post.text, (chars,))
    return post


def _check_limits(parcel: Parcel, limits: Limits) -> None:
    """Raises Rejected naming the key of the table that keeps the next work within the server's limits."""
    post, picture = parcel.post, parcel.post.picture
    assert picture is not None
    num_chars = count(parcel.work.warning + post.text, Unit.URL_WEIGHTED)
    for what, has, may, key in (
        ("the text has {:,} characters", num_chars, limits.max_chars, "max_chars"),
        ("the alt text has {:,} characters", len(post.alt), limits.max_alt_chars, "max_alt_chars"),
        ("the picture has {:,} bytes", len(picture.content), limits.max_bytes, "max_bytes"),
    ):
        if may is not None and has > may:
            raise Rejected(
                f"{what.format(has)}, but this server takes {may:,}: say {key} = {may} for the channel"
            )
    pixels = picture.width_px * picture.height_px
    if limits.max_pixels is not None and pixels > limits.max_pixels:
        raise Rejected(
            f"the picture has {pixels:,} pixels, but this server takes {limits.max_pixels:,}"
        )
    if limits.media_types is not None and picture.media_type not in limits.media_types:
        raise Rejected(f"this server does not take {picture.media_type}")


def _limits_in(instance: Mapping[str, Any]) -> Limits:
    """Of an Instance entity; whatever is missing or of another kind is not told."""
    configuration = instance.get("configuration")
    configuration = configuration if isinstance(configuration, dict) else {}

    def number(section: str, key: str) -> int | None:
        table = configuration.get(section)
        value = table.get(key) if isinstance(table, dict) else None
        return value if isinstance(value, int) and value > 0 else None

    media = configuration.get("media_attachments")
    types = media.get("supported_mime_types") if isinstance(media, dict) else None
    return Limits(
        max_chars=number("statuses", "max_characters"),
        max_alt_chars=number("media_attachments", "description_limit"),
        max_bytes=number("media_attachments", "image_size_limit"),
        max_pixels=number("media_attachments", "image_matrix_limit"),
        media_types=tuple(str(one) for one in types) if isinstance(types, list) and types else None,
        marks_bots="pixelfed" not in str(instance.get("version")).lower(),
    )


def _judge(answer: Answer, now: datetime) -> None:
    """Raises Rejected, Unavailable, OutcomeUnknown."""
    from artbot.publishing.http import judge

    try:
        judge(answer, now)
    except Unavailable as error:
        if error.retry_after_s is None:
            error.retry_after_s = _until_reset_s(answer, now)
        raise
    except Rejected as rejected:
        if rejected.status not in (401, 403):
            raise
        raise Rejected(
            f"{rejected} (is the access token right, and may it read:accounts, read:statuses, write:media, "
            "write:statuses?)",
            status=rejected.status,
        ) from rejected


def _judge_status(answer: Answer, now: datetime) -> None:
    if answer.status == 400 and b"idempotency" in answer.content.lower():
        # Pixelfed, also for one that it refused after it had noted the key.
        raise OutcomeUnknown(f"answered {answer.said}", status=400)
    _judge(answer, now)


def _until_reset_s(answer: Answer, now: datetime) -> float | None:
    """Seconds until X-RateLimit-Reset, an ISO time at Mastodon; by the server's own clock."""
    try:
        reset_at = datetime.fromisoformat(answer.headers.get("X-RateLimit-Reset", ""))
        return max(0.0, (reset_at - server_time(answer, now)).total_seconds())
    except (ValueError, TypeError):
        return None


def _with(kept: str | None, *more: object) -> str:
    """A list in one handle; ids and addresses have no spaces."""
    return " ".join(dict.fromkeys([*(kept or "").split(), *(str(one) for one in more if one)]))


def _media_of(post: Post) -> str:
    """What an uploaded picture was made of."""
    assert post.picture is not None
    return hashlib.sha256(f"{post.picture.sha256}\0{post.alt}".encode()).hexdigest()


def _url(status: Mapping[str, Any]) -> str | None:
    found = status.get("url") or status.get("uri")
    return str(found) if found else None


def _open(settings: MastodonSettings, workplace: Path) -> MastodonSender:
    return MastodonSender(settings.read_secret(workplace), settings)


CHANNEL = Channel(
    name="mastodon",
    settings_model=MastodonSettings,
    compose=compose,
    open=_open,
    protection=Protection(looks=True),
)

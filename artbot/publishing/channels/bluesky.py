"""A Bluesky account: one post with one picture, written under a key that the work always has.

Sources: atproto.com/specs (TID, Blob, XRPC), the lexicons app.bsky.feed.post, app.bsky.embed.images and
com.atproto.repo.putRecord, and the reference server (bluesky-social/atproto, packages/pds), against which the
tests run. A record lies under a key that its writer chooses, and putRecord with `swapRecord: null` writes only
where nothing lies yet. So whatever became of an answer, or of artbot's database, there is one post.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlencode, urlsplit

from pydantic import AfterValidator, Field, model_validator

from artbot.domain.delivery import FOR_EVER
from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.address import PRIVATE, is_loopback, is_private_host, quoted, split_address
from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender
from artbot.publishing.posting import PostSettings, compose_post
from artbot.publishing.words import Limit, Unit, count
from artbot.redaction import register_secret

if TYPE_CHECKING:
    from artbot.publishing.http import Answer, Json
    from artbot.publishing.renditions import PictureLimits
    from artbot.publishing.work import Picture, Work

ENTRYWAY = "https://bsky.social"
COLLECTION = "app.bsky.feed.post"
PROFILE = "app.bsky.actor.profile"
TEXT = (Limit(300, Unit.GRAPHEMES), Limit(3000, Unit.BYTES))
ALT = (Limit(2000, Unit.GRAPHEMES),)
"""The lexicon has no limit; the app lets people write so much (social-app, MAX_ALT_TEXT)."""
MAX_BLOB_BYTES = 2_000_000
"""app.bsky.embed.images since April 2026."""
OLD_MAX_BLOB_BYTES = 1_000_000
"""Before. Servers of that time refuse with BlobTooLarge, and write their limit rounded. It is also what a web
server in front of one lets through that was left at its default (413; nginx: 1 MiB)."""
MAX_TAG_GRAPHEMES = 64
SHOWN_AS_NEW = timedelta(hours=1)
"""A post is sorted in by `createdAt`; dated farther back, nobody would see it."""
MARK = "artbotDelivery"
"""A field of ours in each post: by it the post is known again. Records may have fields that their lexicon does
not know (atproto.com/specs/lexicon); apps leave them alone."""
TOKEN_REFUSED = ("ExpiredToken", "InvalidToken", "AuthMissing", "AuthenticationRequired")
ACCOUNT_CLOSED = ("AccountTakedown", "AccountDeactivated", "AccountSuspended", "AccountNotFound")
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"
_TOO_BIG = re.compile(r"blob too big \(maximum (\d+), got \d+\)")
_ACCOUNT = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]+|([A-Za-z0-9-]+\.)+[A-Za-z][A-Za-z0-9-]*")
_LINK = re.compile(r"(?:(?<=\s)|(?<=\()|^)https?://\S+", re.MULTILINE)
_LANGUAGE = re.compile(
    r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?(-([a-z0-9]{5,8}|\d[a-z0-9]{3}))*"
)
_HASHTAG = re.compile(
    r"(?:(?<=\s)|^)[#＃](?!\ufe0f)([^\s\u00ad\u2060\u200a-\u200d\u20e2]+)", re.MULTILINE
)


def _check_account(account: str) -> str:
    account = account.removeprefix("@")
    if not _ACCOUNT.fullmatch(account):
        raise ValueError(f"{account!r} is no handle; write it in full, like name.bsky.social")
    return account


def _check_server(url: str) -> str:
    """The origin of a server. Raises ValueError: not https, and not on this machine."""
    parts = split_address(url)
    if parts is not None and "@" in parts.netloc:
        raise ValueError(
            "the address holds a user name or password; the account is named in `account`"
        )
    if parts is None or parts.path.strip("/"):
        raise ValueError(
            f"{quoted(url).strip() or 'what stands there'} is no address of a server; write https://HOST"
        )
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise ValueError(f"{url!r} is not encrypted, and a password would go there; use https")
    return f"{parts.scheme}://{parts.netloc}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or is_loopback(host)
    except ValueError:
        return False


class BlueskySettings(PostSettings):
    """[channels.NAME] with type = "bluesky". The secret is an app password of the account."""

    type: Literal["bluesky"]
    account: Annotated[str, AfterValidator(_check_account), Field(examples=["painter.bsky.social"])]
    """Handle or DID."""
    service: Annotated[str, AfterValidator(_check_server)] = ENTRYWAY
    """Where the account signs in: its own server (PDS), if it is not one of Bluesky's."""
    warning_label: Literal["graphic-media", "nudity", "sexual", "porn"] = "graphic-media"
    """What a work with a content warning is labelled as: Bluesky hides pictures by such a label, and has no
    place for words."""
    allow_private: bool = False
    """The server is on this machine or in the person's own network."""

    @model_validator(mode="after")
    def _reachable_service(self) -> Self:
        if not self.allow_private and is_private_host(urlsplit(self.service).hostname or ""):
            raise ValueError(f"service {self.service!r} {PRIVATE}")
        return self


@dataclass(frozen=True)
class Session:
    """What a server lets us in with for some hours."""

    did: str
    """The account, for ever."""
    server: str
    """Its PDS, where its posts are."""
    access: str
    refresh: str


_Key = tuple[str, str, bytes]
_sessions: dict[_Key, Session] = {}
"""Signing in is allowed 300 times a day, so what was let in stays in, as long as this process lives."""
_limits: dict[str, int] = {}
"""Blob limit of each server that told us."""


def forget_sessions() -> None:
    """Begin like a new process."""
    _sessions.clear()
    _limits.clear()


class _TokenRefused(Unavailable):
    """Nothing was done; a new token is wanted."""


class _IsThere(Unavailable):
    """A record lies under that key already."""


class _BlobTooBig(Rejected):
    def __init__(self, message: str, status: int, max_bytes: int) -> None:
        super().__init__(message, status=status)
        self.max_bytes = max_bytes


@dataclass(frozen=True)
class _Prepared:
    session: Session
    picture: Picture
    blob: dict[str, Json]


class BlueskySender(Sender):
    """Writes posts to one account."""

    def __init__(self, settings: BlueskySettings, password: str) -> None:
        self._settings = settings
        self._password = password
        secret = hashlib.sha256(password.encode()).digest()
        self._key: _Key = (settings.service, settings.account, secret)
        self._prepared: _Prepared | None = None

    def check(self, now: datetime) -> str:
        session = self._sign_in(now)
        return f"{self._settings.account} may post at {session.server}"

    def remarks(self, now: datetime) -> list[str]:
        session = _sessions.get(self._key) or self._sign_in(now)
        if "bot" in self._profile_labels(session, now):
            return []
        return [
            "the profile does not say that a bot posts there: say so in Settings, Account, Automation label"
        ]

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Sign in if need be, and upload the picture: a server forgets what no post refers to."""
        session = _sessions.get(self._key)
        if session is None:
            session = self._sign_in(now)
            parcel.alive()
        renewals = self._renewals(session, parcel, now)
        while True:
            try:
                picture = self._picture(parcel, session)
                blob = self._upload(session, picture, now)
                break
            except _BlobTooBig as refused:
                raise self._smaller(parcel, session, picture, refused) from refused
            except _TokenRefused as refused:
                session = next(renewals, None)
                if session is None:
                    reason = f"refuses the token that it has just given: {refused}"
                    raise Rejected(reason, status=401) from refused
        self._prepared = _Prepared(session, picture, blob)
        parcel.handles.keep(
            rkey=record_key(parcel.delivery_key, parcel.work.local_date),
            created_at=_created_at(parcel.handles.get("created_at"), now),
            blob=blob_cid(picture.sha256),
        )

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        assert self._prepared is not None
        session, rkey = self._prepared.session, parcel.handles.known["rkey"]
        url = f"https://bsky.app/profile/{session.did}/post/{rkey}"
        write = {
            "repo": session.did,
            "collection": COLLECTION,
            "rkey": rkey,
            "swapRecord": None,
            "record": self._record(parcel, self._prepared),
        }
        try:
            answer = self._ask(
                f"{session.server}/xrpc/com.atproto.repo.putRecord",
                json.dumps(write).encode(),
                {"Content-Type": "application/json"},
                now,
                session.access,
                is_too_late=parcel.is_too_late,
            )
        except _IsThere as refused:
            return self._found(parcel, self._prepared, url, refused, now)
        except _BlobTooBig as refused:
            raise self._smaller(parcel, session, self._prepared.picture, refused) from refused
        uri = answer.object().get("uri")
        if uri != f"at://{session.did}/{COLLECTION}/{rkey}":
            raise OutcomeUnknown(f"says nothing of the post: {answer.said}", status=answer.status)
        return Receipt(answer.status, str(uri), url)

    def _picture(self, parcel: Parcel, session: Session) -> Picture:
        """The one that was composed, unless the server is known to take less. Raises Rejected."""
        assert parcel.post.picture is not None
        told = parcel.handles.get("max_bytes")
        max_bytes = int(told) if told else _limits.get(session.server, MAX_BLOB_BYTES)
        if len(parcel.post.picture.content) <= max_bytes:
            return parcel.post.picture
        from artbot.publishing.renditions import rendition

        return rendition(parcel.work, _picture_limits(max_bytes), self._settings.presentation)

    def _upload(self, session: Session, picture: Picture, now: datetime) -> dict[str, Json]:
        answer = self._ask(
            f"{session.server}/xrpc/com.atproto.repo.uploadBlob",
            picture.content,
            {"Content-Type": picture.media_type},
            now,
            session.access,
        )
        blob = answer.object().get("blob")
        if not isinstance(blob, dict) or blob.get("ref") != {"$link": blob_cid(picture.sha256)}:
            raise Unavailable(f"does not hold the picture that it was sent: {answer.said}")
        return blob

    def _record(self, parcel: Parcel, prepared: _Prepared) -> dict[str, Any]:
        post, work, picture = parcel.post, parcel.work, prepared.picture
        image = {
            "alt": post.alt,
            "image": prepared.blob,
            # Without it the app shows a square cut out of the middle.
            "aspectRatio": {"width": picture.width_px, "height": picture.height_px},
        }
        record: dict[str, Any] = {
            "$type": COLLECTION,
            "text": post.text,
            "createdAt": parcel.handles.known["created_at"],
            "embed": {"$type": "app.bsky.embed.images", "images": [image]},
            MARK: parcel.delivery_key,
        }
        if found := facets(post.text):
            record["facets"] = found
        if work.language:
            record["langs"] = [language_tag(work.language)]
        if work.warning:
            record["labels"] = {
                "$type": "com.atproto.label.defs#selfLabels",
                "values": [{"val": self._settings.warning_label}],
            }
        return record

    def _profile_labels(self, session: Session, now: datetime) -> set[str]:
        """How the account describes itself. Raises DeliveryError; none if it has no profile yet."""
        try:
            profile = self._record_at(session, PROFILE, "self", now)
        except Rejected:
            return set()
        labels = profile.get("labels")
        values = labels.get("values") if isinstance(labels, dict) else None
        found = values if isinstance(values, list) else []
        return {str(each.get("val")) for each in found if isinstance(each, dict)}

    def _record_at(
        self, session: Session, collection: str, rkey: str, now: datetime
    ) -> dict[str, Json]:
        """What lies there. Raises DeliveryError."""
        query = urlencode({"repo": session.did, "collection": collection, "rkey": rkey})
        url = f"{session.server}/xrpc/com.atproto.repo.getRecord?{query}"
        answer = self._ask(url, None, {}, now)
        value = answer.object().get("value")
        if not isinstance(value, dict):
            raise OutcomeUnknown(f"the answer is no record: {answer.said}", status=answer.status)
        return value

    def _found(
        self, parcel: Parcel, prepared: _Prepared, url: str, refused: _IsThere, now: datetime
    ) -> Receipt:
        """What lies under our key is this work, or the person is told. Raises Rejected, OutcomeUnknown."""
        rkey = parcel.handles.known["rkey"]
        try:
            there = self._record_at(prepared.session, COLLECTION, rkey, now)
        except DeliveryError as error:
            reason = f"a post is there already, and cannot be looked at: {error}"
            raise OutcomeUnknown(
                reason, status=error.status, retry_after_s=error.retry_after_s
            ) from error
        post, key = parcel.post, parcel.delivery_key
        if not is_this_work(there, key, prepared.picture):
            raise Rejected(
                f"under this work's key is a post of something else, which was not touched: look at {url}"
            ) from refused
        in_other_words = "" if _words(there) == (post.text, post.alt) else ", in other words"
        return Receipt(200, f"it was there already{in_other_words}", url)

    def _smaller(
        self, parcel: Parcel, session: Session, picture: Picture, refused: _BlobTooBig
    ) -> DeliveryError:
        """What to say of a picture that is too large: once, that a smaller one is sent next."""
        limit = refused.max_bytes
        if parcel.handles.get("max_bytes") is not None or len(picture.content) <= limit:
            return refused
        _limits[session.server] = limit
        parcel.handles.keep(max_bytes=str(limit))
        told = f"{refused}; a rendition of at most {limit:,} bytes is sent next"
        return Unavailable(told, status=refused.status)

    def _renewals(self, session: Session, parcel: Parcel, now: datetime) -> Iterator[Session]:
        """New sessions, for as long as there is a way to get one."""
        for renew in (partial(self._refresh, session, now), partial(self._sign_in, now)):
            parcel.alive()
            renewed = renew()
            parcel.alive()
            yield renewed

    def _sign_in(self, now: datetime) -> Session:
        """Raises Rejected with status 401, whatever the refusal is: it is that of every work."""
        service, account = self._settings.service, self._settings.account
        body = json.dumps({"identifier": account, "password": self._password}).encode()
        try:
            answer = self._ask(
                f"{service}/xrpc/com.atproto.server.createSession",
                body,
                {"Content-Type": "application/json"},
                now,
            )
        except (_TokenRefused, Rejected) as refused:
            _sessions.pop(self._key, None)
            raise Rejected(
                f"{service} does not let {account} in: {refused} (is the secret an app password of this "
                "account, and not revoked? Settings, Privacy and security, App passwords)",
                status=401,
            ) from refused
        return self._let_in(answer)

    def _refresh(self, session: Session, now: datetime) -> Session:
        """By the refresh token; if that is refused, by the app password."""
        url = f"{self._settings.service}/xrpc/com.atproto.server.refreshSession"
        try:
            answer = self._ask(url, b"", {}, now, session.refresh)
        except (_TokenRefused, Rejected):
            return self._sign_in(now)
        return self._let_in(answer)

    def _let_in(self, answer: Answer) -> Session:
        """The session in an answer, which is never quoted: it holds tokens."""
        try:
            said = json.loads(answer.content)
            tokens = [str(said[name]) for name in ("did", "accessJwt", "refreshJwt")]
            server = _server_in(said.get("didDoc")) or self._settings.service
        except (ValueError, LookupError, TypeError, AttributeError):
            unusable = "what it says to signing in is no session"
            raise OutcomeUnknown(unusable, status=answer.status) from None
        did, access, refresh = tokens
        register_secret(access)
        register_secret(refresh)
        try:
            server = _check_server(server)
        except ValueError as error:
            raise Rejected(f"the account's own server: {error}", status=401) from error
        session = _sessions[self._key] = Session(did, server, access, refresh)
        return session

    def _ask(
        self,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        now: datetime,
        token: str | None = None,
        **more: Any,
    ) -> Answer:
        """Raises what Door.request does, and _TokenRefused, _IsThere, _BlobTooBig."""
        from artbot.publishing.http import Door

        signed = {"Authorization": f"Bearer {token}"} if token else {}
        method = "GET" if body is None else "POST"
        return Door(self._settings.allow_private).request(
            method, url, body, {**headers, **signed}, now, judge=_judge, **more
        )


def compose(settings: BlueskySettings, work: Work) -> Post:
    limits = _picture_limits(MAX_BLOB_BYTES)
    post = compose_post(settings, work, text=TEXT, alt=ALT, picture=limits, also=("language",))
    label = (("label", settings.warning_label),) if work.warning else ()
    return replace(post, also=(*post.also, *label))


def _picture_limits(max_bytes: int) -> PictureLimits:
    from artbot.publishing.renditions import PictureLimits

    return PictureLimits(max_bytes=max_bytes)


def record_key(delivery_key: str, local_date: date) -> str:
    """The key of a work's post: a TID (atproto.com/specs/tid) that depends on nothing which artbot could
    forget. The work's date gives the time, since it is part of the work's name; when it was painted would
    not do, for it may be painted again after an old database was restored. All else is the delivery key's
    hash, 46 bits of it. The time lies in the day before the date has begun anywhere on Earth, for some
    servers might refuse one that is yet to come.
    """
    number = int.from_bytes(hashlib.sha256(delivery_key.encode()).digest()[:8])
    within_day, clock_id = divmod(number, 1 << 10)
    day = datetime.combine(local_date, time(), UTC) - 2 * _DAY
    microseconds = (day - datetime.fromtimestamp(0, UTC)) // _MICROSECOND
    microseconds += within_day % (_DAY // _MICROSECOND)
    tid = microseconds << 10 | clock_id
    return "".join(_SORTABLE[tid >> shift & 31] for shift in range(60, -1, -5))


def blob_cid(sha256: str) -> str:
    """What every server calls bytes of that digest: CIDv1, raw, base32 (atproto.com/specs/blob)."""
    encoded = base64.b32encode(bytes.fromhex("01551220" + sha256)).decode()
    return "b" + encoded.rstrip("=").lower()


def facets(text: str) -> list[dict[str, Any]]:
    """Which bytes of the text are links and hashtags (lexicon app.bsky.richtext.facet): apps look for none
    themselves."""
    found = []
    for match in _LINK.finditer(text):
        uri = _without_punctuation(match[0])
        found.append((match.start(), uri, {"$type": "app.bsky.richtext.facet#link", "uri": uri}))
    for match in _HASHTAG.finditer(text):
        if (tag := _tag_in(match[1])) is not None:
            feature = {"$type": "app.bsky.richtext.facet#tag", "tag": tag}
            found.append((match.start(), text[match.start()] + tag, feature))
    made = []
    for start, shown, feature in sorted(found, key=lambda each: each[0]):
        begins = len(text[:start].encode())
        index = {"byteStart": begins, "byteEnd": begins + len(shown.encode())}
        made.append({"index": index, "features": [feature]})
    return made


def _tag_in(word: str) -> str | None:
    """The hashtag as Bluesky's own app reads it (@atproto/api, rich-text/detection.ts)."""
    while word and _is_punctuation(word[-1]):
        word = word[:-1]
    has_letter = any(not c.isdigit() and not _is_punctuation(c) for c in word)
    return word if has_letter and count(word, Unit.GRAPHEMES) <= MAX_TAG_GRAPHEMES else None


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")


def language_tag(tag: str) -> str:
    """The tag as servers want it, by the letter (BCP 47, "Formatting of Language Tags"): pt-BR, zh-Hant-TW. Of
    what they would refuse, the language alone."""
    first, *others = tag.lower().split("-")
    formatted = [first]
    for part in others:
        formatted.append({2: part.upper(), 4: part.title()}.get(len(part), part))
    whole = "-".join(formatted)
    return whole if _LANGUAGE.fullmatch(whole) else first


def _without_punctuation(uri: str) -> str:
    """Without what belongs to the sentence around it."""
    uri = uri.rstrip(".,;:!?\"'")
    if uri.endswith(")") and "(" not in uri:
        uri = uri[:-1]
    return uri


def is_this_work(record: Mapping[str, Any], delivery_key: str, *pictures: Picture) -> bool:
    """Whether a post was written for this delivery, in whatever words, or shows one of the pictures."""
    cids = {blob_cid(picture.sha256) for picture in pictures}
    return record.get(MARK) == delivery_key or not cids.isdisjoint(_shown(record))


def _images(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    embed = record.get("embed")
    images = embed.get("images") if isinstance(embed, dict) else None
    return [i for i in images if isinstance(i, dict)] if isinstance(images, list) else []


def _shown(record: Mapping[str, Any]) -> Iterator[str]:
    for image in _images(record):
        blob = image.get("image")
        ref = blob.get("ref") if isinstance(blob, dict) else None
        if isinstance(ref, dict) and isinstance(ref.get("$link"), str):
            yield ref["$link"]


def _words(record: Mapping[str, Any]) -> tuple[object, object]:
    """Text and alt text."""
    return record.get("text"), next((image.get("alt") for image in _images(record)), None)


def _created_at(kept: str | None, now: datetime) -> str:
    """That of the attempt before, so that a repetition is the very same record; not if it is long ago."""
    if kept is not None and abs(now - datetime.fromisoformat(kept)) < SHOWN_AS_NEW:
        return kept
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _server_in(did_doc: object) -> str | None:
    """The PDS that a DID document names (atproto.com/specs/did)."""
    if not isinstance(did_doc, dict):
        return None
    for service in did_doc.get("service") or []:
        if isinstance(service, dict) and str(service.get("id")).endswith("#atproto_pds"):
            endpoint = service.get("serviceEndpoint")
            return endpoint if isinstance(endpoint, str) else None
    return None


def _judge(answer: Answer, now: datetime) -> None:
    """What an answer means (atproto.com/specs/xrpc): errors have names, and 400 may be an old token.

    Raises what artbot.publishing.http.judge does, and _TokenRefused, _IsThere, _BlobTooBig.
    """
    from artbot.publishing.http import judge

    if 200 <= answer.status < 300:
        return
    name, message = _error(answer)
    said = f"answered {answer.said}"
    if answer.status == 429:
        raise Unavailable(said, status=429, retry_after_s=_wait_s(answer, now))
    if 400 <= answer.status < 500:
        if name in ACCOUNT_CLOSED:
            raise Rejected(said, status=401)
        if answer.status == 401 or name in TOKEN_REFUSED:
            raise _TokenRefused(said)
        if name == "InvalidSwap":
            raise _IsThere(said, status=answer.status)
        if match := _TOO_BIG.search(message):
            raise _BlobTooBig(said, answer.status, int(match[1]))
        if name == "BlobTooLarge" or answer.status == 413:
            raise _BlobTooBig(said, answer.status, OLD_MAX_BLOB_BYTES)
        if name == "BlobNotFound":  # kept for a post that did not come in time
            raise Unavailable(said, status=answer.status)
    judge(answer, now)


def _error(answer: Answer) -> tuple[str, str]:
    """Name and message of a refusal; empty where it is none of XRPC's."""
    try:
        said = json.loads(answer.content)
    except ValueError:
        return "", ""
    if not isinstance(said, dict):
        return "", ""
    return str(said.get("error") or ""), str(said.get("message") or "")


def _wait_s(answer: Answer, now: datetime) -> float | None:
    """Until the limit begins anew: Retry-After, or RateLimit-Reset, which is a Unix time by the server's
    clock."""
    from artbot.publishing.http import retry_after_s

    asked = retry_after_s(answer.headers.get("Retry-After"), now)
    try:
        reset = datetime.fromtimestamp(float(answer.headers.get("RateLimit-Reset", "")), UTC)
        there = parsedate_to_datetime(answer.headers.get("Date", ""))
    except (ValueError, TypeError, OverflowError, OSError):
        return asked
    return max(asked or 0.0, (reset - there).total_seconds(), 0.0)


def _open(settings: BlueskySettings, workplace: Path) -> BlueskySender:
    return BlueskySender(settings, settings.read_secret(workplace))


CHANNEL = Channel(
    name="bluesky",
    settings_model=BlueskySettings,
    compose=compose,
    open=_open,
    protection=FOR_EVER,  # the key follows from the work, and what lies under it is not written over
)

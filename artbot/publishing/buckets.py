"""Files in S3-compatible storage: put, get, list, delete, each one request through the one door.

Requests are signed with AWS Signature Version 4 (Amazon S3 API reference, "Authenticating Requests: Using the
Authorization Header"). Buckets are addressed in the path, which every compatible store understands.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit
from xml.etree import ElementTree

from pydantic import Field, model_validator

from artbot.config import Section
from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.address import (
    PRIVATE,
    is_loopback,
    is_private_host,
    quoted,
    split_address,
)
from artbot.redaction import register_secret

if TYPE_CHECKING:
    from artbot.publishing.http import Answer, Door

MAX_OBJECT_BYTES = 64 * 1024 * 1024
"""More is not read."""
MAX_KEYS = 1000
"""Of one listing; no store gives more."""
MAX_LIST_BYTES = 4 * 1024 * 1024
"""A thousand keys, each of them as long as S3 allows."""
_UNSIGNED = {"accept-encoding", "user-agent"}


class BucketKeys(Section):
    """What the table of a channel says about a bucket, besides the secret: the secret access key."""

    bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="a bucket's name has 3 to 63 lower-case letters, digits, . and -, and neither . nor - at an end",
        examples=["my-art"],
    )
    endpoint: str | None = None
    """Address of the store; None: Amazon's for `region`."""
    region: str = Field(
        default="us-east-1",
        pattern=r"^[a-z0-9-]+$",
        description="a region has lower-case letters, digits and -",
    )
    access_key_id: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"^[\x21-\x7e]+$",
        description="the id of a key has neither white space nor letters beyond ASCII",
        examples=["AKIAIOSFODNN7EXAMPLE"],
    )
    """Names the secret; no secret itself."""
    prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?)?$",
        description="folders have ASCII letters, digits, ., _ and -, no . at their beginning, and one / between them",
        examples=["art/works"],
    )
    """The folder in the bucket; empty: all of it."""
    allow_http: bool = False
    """Plain http to another machine: signed, but readable on the way."""
    allow_private: bool = False
    """The store is on this machine or in the person's own network."""
    proxy: str | None = None
    """`http://HOST:PORT` that everything goes through. The environment's proxies are not used."""

    @model_validator(mode="after")
    def _usable_endpoint(self) -> Self:
        if self.endpoint is None:
            return self
        parts = split(self.endpoint)
        if parts is None or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(
                f"endpoint{quoted(self.endpoint)} is no address of a store; write https://HOST, without the "
                "bucket, a user name or a password"
            )
        if not self.allow_private and self.proxy is None and is_private_host(parts.hostname or ""):
            raise ValueError(f"endpoint {self.endpoint!r} {PRIVATE}")
        if parts.scheme == "http" and not self.allow_http and not _is_this_machine(parts.hostname):
            raise ValueError(
                f"endpoint {self.endpoint!r} is not encrypted; use https, or say allow_http = true if the "
                "way there is yours"
            )
        return self

    @model_validator(mode="after")
    def _usable_proxy(self) -> Self:
        if self.proxy is not None and split(self.proxy, may_hold_password=True) is None:
            raise ValueError(f"proxy{quoted(self.proxy)} is no address; write http://HOST:PORT")
        return self


@dataclass(frozen=True)
class Stored:
    """One object of a listing."""

    key: str
    etag: str
    """Changes with the content."""


@dataclass(frozen=True)
class Bucket:
    """A bucket, or a folder of one, for one attempt. Keys are relative to the folder.

    Every method raises Rejected, Unavailable or OutcomeUnknown.
    """

    address: str
    """Of the bucket: https://HOST/BUCKET"""
    prefix: str
    """Empty, or ends with /."""
    region: str
    access_key_id: str
    secret: str
    door: Door
    now: datetime
    """When the attempt began."""
    began_s: float
    """The same by time.monotonic()."""

    def put(
        self,
        key: str,
        content: bytes,
        media_type: str,
        cache_control: str,
        *,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> str:
        """Put it there, over whatever is there; returns its ETag."""
        headers = {"Content-Type": media_type, "Cache-Control": cache_control}
        return _etag(self._ask("PUT", key, content, headers, is_too_late=is_too_late))

    def put_new(
        self,
        key: str,
        content: bytes,
        media_type: str,
        cache_control: str,
        *,
        is_too_late: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Put it there if nothing is; False if something is. A store that does not know the condition is
        asked without it: then it is put over what is there."""
        headers = {"Content-Type": media_type, "Cache-Control": cache_control}
        condition = {"If-None-Match": "*"}
        answer = self._ask(
            "PUT", key, content, headers | condition, (412, 501), is_too_late=is_too_late
        )
        if answer.status == 501:
            answer = self._ask("PUT", key, content, headers, is_too_late=is_too_late)
        if answer.status == 412:
            return False
        _etag(answer)
        return True

    def get(self, key: str) -> bytes | None:
        """The whole of it; None if there is none."""
        answer = self._ask("GET", key, None, {}, (404,), max_answer_bytes=MAX_OBJECT_BYTES)
        if answer.status == 404:
            if _code(answer) == "NoSuchBucket":
                judge_answer(answer, self.now)
            return None
        length = answer.headers.get("Content-Length")
        if length is not None and length != str(len(answer.content)):
            raise Unavailable(f"{key} came only in part: {len(answer.content):,} bytes of it")
        return answer.content

    def listed(self, folder: str) -> list[Stored]:
        """What lies right in that folder, which is empty or ends with /."""
        found: list[Stored] = []
        query = {"list-type": "2", "delimiter": "/", "encoding-type": "url"}
        query |= {"max-keys": str(MAX_KEYS), "prefix": self.prefix + folder}
        while True:
            answer = self._ask("GET", None, None, {}, query=query, max_answer_bytes=MAX_LIST_BYTES)
            objects, more = _read_listing(answer)
            found += [Stored(key.removeprefix(self.prefix), etag) for key, etag in objects]
            if more is None:
                return found
            query["continuation-token"] = more

    def check(self) -> str:
        """Whether the key is known and may list; whether it may put is not known until it does."""
        self._ask("GET", None, None, {}, query={"list-type": "2", "max-keys": "1"})
        return f"{self.access_key_id} may list {self.address}"

    def delete(self, key: str) -> None:
        """Take it away, if it is there."""
        self._ask("DELETE", key, None, {}, (404,))

    def _ask(
        self,
        method: str,
        key: str | None,
        body: bytes | None,
        headers: Mapping[str, str],
        also_taken: tuple[int, ...] = (),
        *,
        query: Mapping[str, str] | None = None,
        is_too_late: Callable[[], bool] = lambda: False,
        max_answer_bytes: int = 64 * 1024,
    ) -> Answer:
        """One request; `also_taken`: answers besides 2xx that the caller understands."""
        now = self.now + timedelta(seconds=time.monotonic() - self.began_s)
        url = self.address if key is None else f"{self.address}/{_quoted(self.prefix + key)}"
        if query:
            url += "?" + "&".join(f"{_quoted(k, '')}={_quoted(v, '')}" for k, v in query.items())
        signed = sign(
            method,
            url,
            # What is stored comes as it is, not packed: its length tells whether all of it came.
            {"Accept-Encoding": "identity", **headers},
            hashlib.sha256(body or b"").hexdigest(),
            now,
            region=self.region,
            access_key_id=self.access_key_id,
            secret=self.secret,
        )

        def judge(answer: Answer, now: datetime) -> None:
            if answer.status not in also_taken:
                judge_answer(answer, now)

        return self.door.request(
            method,
            url,
            body,
            signed,
            now,
            judge=judge,
            is_too_late=is_too_late,
            max_answer_bytes=max_answer_bytes,
        )


def open_bucket(settings: BucketKeys, secret: str, now: datetime) -> Bucket:
    """The bucket of a table that names one."""
    from artbot.publishing.http import Door  # requests: only who sends needs it

    assert settings.bucket is not None
    assert settings.access_key_id is not None
    if settings.proxy is not None and (password := urlsplit(settings.proxy).password):
        register_secret(password)
        register_secret(unquote(password))
    prefix = settings.prefix.strip("/")
    return Bucket(
        address=_address(settings),
        prefix=f"{prefix}/" if prefix else "",
        region=settings.region,
        access_key_id=settings.access_key_id,
        secret=secret,
        door=Door(settings.allow_private, settings.proxy),
        now=now,
        began_s=time.monotonic(),
    )


def bucket_folder(settings: BucketKeys) -> str:
    """Address of the folder in the bucket, always the same for the same."""
    return f"{_address(settings)}/{settings.prefix}".rstrip("/")


def _address(settings: BucketKeys) -> str:
    endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    return f"{endpoint.rstrip('/')}/{settings.bucket}"


def judge_answer(answer: Answer, now: datetime) -> None:
    """What a store's error means (Amazon S3 API reference, "Error responses"): by its code where that says
    more than the status. Raises Rejected, Unavailable, OutcomeUnknown."""
    from artbot.publishing.http import judge

    code = _code(answer)
    if code == "RequestTimeTooSkewed":
        raise Unavailable(
            f"the store's clock and this machine's are too far apart: answered {answer.said}",
            status=answer.status,
        )
    if answer.status == 409 or code in ("SlowDown", "RequestTimeout"):
        raise Unavailable(f"answered {answer.said}", status=answer.status)
    try:
        judge(answer, now)
    except Rejected as rejected:
        hint = _HINTS.get(code, "")
        if not hint:
            raise
        raise Rejected(f"{rejected} ({hint})", status=rejected.status) from rejected


_HINTS = {
    "SignatureDoesNotMatch": "is the secret that of access_key_id, and `region` the bucket's?",
    "InvalidAccessKeyId": "the store knows no such access_key_id",
    "AccessDenied": "may this key put, get, list and delete objects in the bucket?",
    "AuthorizationHeaderMalformed": "is `region` the bucket's?",
    "PermanentRedirect": "is `region` the bucket's, and `endpoint` that region's?",
    "NoSuchBucket": "make the bucket, or mend `bucket`",
}


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body_sha256: str,
    now: datetime,
    *,
    region: str,
    access_key_id: str,
    secret: str,
) -> dict[str, str]:
    """The headers with those that a signed request needs. The URL's path is encoded already."""
    parts = urlsplit(url)
    at = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{at[:8]}/{region}/s3/aws4_request"
    sent = {
        **headers,
        "Host": parts.netloc,
        "x-amz-content-sha256": body_sha256,
        "x-amz-date": at,
    }
    signed = {
        name.lower(): " ".join(value.split())
        for name, value in sent.items()
        if name.lower() not in _UNSIGNED
    }
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        (
            method,
            parts.path or "/",
            "&".join(sorted(pair if "=" in pair else f"{pair}=" for pair in _pairs(parts.query))),
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            body_sha256,
        )
    )
    to_sign = "\n".join(
        ("AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest())
    )
    key = f"AWS4{secret}".encode()
    for part in (at[:8], region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    signature = hmac.digest(key, to_sign.encode(), hashlib.sha256).hex()
    credential = f"Credential={access_key_id}/{scope}"
    sent["Authorization"] = (
        f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    )
    return sent


def split(url: str, *, may_hold_password: bool = False) -> SplitResult | None:
    """None for what is no web address, or holds a password that it must not."""
    parts = split_address(url)
    if parts is None or ("@" in parts.netloc and not may_hold_password):
        return None
    return parts


def public_url(url: str) -> str:
    """The address of a site, without / at its end. Raises ValueError."""
    parts = split(url)
    if parts is None or parts.query or parts.fragment:
        raise ValueError(
            f"{url!r} is no address of a site; write https://HOST/PATH, as visitors have it"
            if "@" not in url
            else "url holds a user name or password; write https://HOST/PATH, as visitors have it"
        )
    return url.rstrip("/")


def _pairs(query: str) -> list[str]:
    return query.split("&") if query else []


def _quoted(text: str, safe: str = "/") -> str:
    """As the signature wants it: all but unreserved characters (RFC 3986) encoded."""
    return quote(text, safe=f"{safe}-_.~")


def _is_this_machine(host: str | None) -> bool:
    try:
        return host == "localhost" or (host is not None and is_loopback(host))
    except ValueError:  # a name
        return False


def _etag(answer: Answer) -> str:
    """Every store names what it took; an answer without says nothing (somebody else answered)."""
    etag = answer.headers.get("ETag")
    if not etag:
        raise OutcomeUnknown(f"the answer is none of a store: {answer.said}", status=answer.status)
    return etag.strip('"')


def _code(answer: Answer) -> str:
    """The error's code; empty if there is none."""
    found = re.search(rb"<Code>(\w+)</Code>", answer.content)
    return found.group(1).decode() if found else ""


def _read_listing(answer: Answer) -> tuple[list[tuple[str, str]], str | None]:
    """Keys with their ETags, and how to ask for more. Raises OutcomeUnknown."""
    try:
        # expat bounds what entities may grow to since 2.4.1, and MAX_LIST_BYTES what is read.
        root = ElementTree.fromstring(answer.content)  # noqa: S314
    except ElementTree.ParseError:
        root = None
    if root is None or not root.tag.endswith("ListBucketResult"):
        raise OutcomeUnknown(f"the answer is none of a store: {answer.said}", status=answer.status)
    objects = [
        (unquote(item.findtext("{*}Key", "")), item.findtext("{*}ETag", "").strip('"'))
        for item in root.findall("{*}Contents")
    ]
    if root.findtext("{*}IsTruncated", "") != "true":
        return objects, None
    more = root.findtext("{*}NextContinuationToken")
    if not more:
        raise OutcomeUnknown("the store's listing has an end, but does not say where to go on")
    return objects, more

"""Instagram's API, as developers.facebook.com describes it: containers, made of a JPEG that Instagram fetches.

What publishing a container twice does is not written anywhere; here it is a second post.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from PIL import Image

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, as_json, serving

TOKEN = "IGAAtokenTokenTokenTokenTokenToken0123456789ZD"
ME = "17841400000000001"
VERSION = "v25.0"


def error(code: int, subcode: int | None = None, status: int = 400, **more: object) -> Response:
    said = {"message": "no", "type": "OAuthException", "code": code, **more}
    return as_json(status, {"error": said | ({"error_subcode": subcode} if subcode else {})})


@dataclass
class Container:
    caption: str
    alt: str
    picture: bytes
    status: str = "FINISHED"
    looks_until_finished: int = 0
    """So often it is asked after in vain."""


@dataclass
class Instagram:
    folder: Path
    """Of a gallery that shows its pictures at `site`."""
    url: str = ""
    site: str = ""
    containers: dict[str, Container] = field(default_factory=dict)
    media: list[dict[str, Any]] = field(default_factory=list)
    """The oldest first."""
    quota_used: int = 0
    looks_until_finished: int = 0
    refusal: Response | None = None
    """What whoever asks for anything gets."""
    publishing_refusal: Response | None = None
    """What publishing is answered with, after it was done or not (`publishes`)."""
    publishes: bool = True

    def answer(self, request: Request) -> Response:
        answer = self._answer(request)
        date = format_datetime(datetime.now(UTC), usegmt=True)
        return Response(answer.status, answer.content, {**answer.headers, "Date": date})

    def show(self, request: Request) -> Response:
        """A file of the gallery, to anybody."""
        path = self.folder / urlsplit(request.path).path.lstrip("/")
        return Response(200, path.read_bytes()) if path.is_file() else Response(404)

    def _answer(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return error(190)
        if self.refusal is not None:
            return self.refusal
        where = urlsplit(request.path)
        fields = parse_qs(where.query).get("fields", [""])[0].split(",")
        asked = json.loads(request.body) if request.body else {}
        match request.method, where.path.strip("/").split("/"):
            case "GET", [version, "me"] if version == VERSION:
                return as_json(200, {"user_id": ME, "username": "painter"})
            case "GET", [version, me, "content_publishing_limit"] if (version, me) == (VERSION, ME):
                config = {"quota_total": 100, "quota_duration": 86400}
                return as_json(200, {"data": [{"quota_usage": self.quota_used, "config": config}]})
            case "POST", [version, me, "media"] if (version, me) == (VERSION, ME):
                return self._contain(asked)
            case "POST", [version, me, "media_publish"] if (version, me) == (VERSION, ME):
                return self._publish(asked["creation_id"])
            case "GET", [version, me, "media"] if (version, me) == (VERSION, ME):
                newest = [_picked(post, fields) for post in reversed(self.media)]
                return as_json(200, {"data": newest[:50]})
            case "GET", [version, number] if version == VERSION and number in self.containers:
                container = self.containers[number]
                if container.status == "IN_PROGRESS":
                    if container.looks_until_finished <= 0:
                        container.status = "FINISHED"
                    container.looks_until_finished -= 1
                return as_json(200, {"status_code": container.status, "id": number})
            case "GET", [version, number] if version == VERSION:
                for post in self.media:
                    if post["id"] == number:
                        return as_json(200, _picked(post, fields))
        return error(100, 33)

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(f"{TOKEN}\n")
        (workplace / "secret").chmod(0o600)
        return {
            "type": "instagram",
            "picture_from": "gallery",
            "enlarge_to_px": 32,
            "api": url,
            "secret_file": "secret",
            "allow_private": True,
        }

    def others(self, workplace: Path) -> dict[str, dict[str, Any]]:
        return {"gallery": {"type": "gallery", "url": self.site, "path": str(self.folder)}}

    def posts(self) -> list[Seen]:
        return [Seen(post["caption"], post["alt"], post["picture"]) for post in self.media]

    def _contain(self, asked: dict[str, Any]) -> Response:
        caption, alt = asked["caption"], asked["alt_text"]
        if len(caption) > 2200 or caption.count("#") > 30:
            return error(36004, 2207010)
        if len(alt) > 1000:
            return error(100)
        answer = requests.get(asked["image_url"], timeout=10)
        if answer.status_code != 200:
            return error(9004, 2207052)
        if wrong := _what_is_wrong(answer.content):
            return error(*wrong)
        status = "IN_PROGRESS" if self.looks_until_finished else "FINISHED"
        number = str(17_900_000_000_000_000 + len(self.containers))
        self.containers[number] = Container(
            caption, alt, answer.content, status, self.looks_until_finished
        )
        return as_json(200, {"id": number})

    def _publish(self, number: str) -> Response:
        container = self.containers.get(number)
        if container is None or container.status in ("EXPIRED", "ERROR"):
            return error(24, 2207008)
        if container.status == "IN_PROGRESS":
            return error(9007, 2207027)
        if self.quota_used >= 100:
            return error(9, 2207042)
        if self.publishes:
            self._post(container)
        return self.publishing_refusal or as_json(200, {"id": self.media[-1]["id"]})

    def _post(self, container: Container) -> None:
        container.status = "PUBLISHED"
        self.media.append(
            {
                "id": str(18_000_000_000_000_000 + len(self.media)),
                "caption": container.caption,
                "alt": container.alt,
                "picture": container.picture,
                "permalink": f"https://www.instagram.com/p/{len(self.media)}/",
                "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000"),
            }
        )


def _picked(post: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    return {name: post[name] for name in ("id", *fields)}


def _what_is_wrong(content: bytes) -> tuple[int, int] | None:
    if len(content) > 8 * 1024 * 1024:
        return 36000, 2207004
    with Image.open(io.BytesIO(content)) as picture:
        if picture.format != "JPEG":
            return 36001, 2207005
        if not 0.8 <= picture.width / picture.height <= 1.91:
            return 36003, 2207009
    return None


@contextmanager
def run(folder: Path) -> Iterator[Instagram]:
    instagram = Instagram(folder / "site")
    with (
        serving(instagram.show) as instagram.site,
        serving(instagram.answer) as instagram.url,
    ):
        yield instagram


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


PEER = Peer(
    "instagram",
    run,
    is_commit=lambda method, path: path.endswith("/media_publish"),
    sees=sees,
    others=Instagram.others,
)

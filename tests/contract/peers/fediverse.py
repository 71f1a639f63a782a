"""A small server with the Mastodon API's stricter rules, for what mastodon_mock does not do.

Source: docs.joinmastodon.org ("media", "statuses", "accounts", "Rate limits"), Mastodon's PostStatusService
and MediaController, Pixelfed's ApiV1Controller. A picture is processed after it is uploaded (202, 206), is
attached once, and is 404 from then on; what is listed is paged. What becomes of a repeated key is the
server's manner: Mastodon shows the first status, Pixelfed says 400, snac posts again. As a peer of the
contract suite it has the manner that protects least.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from artbot.publishing.channels.mastodon import known_limits
from tests.contract.peers import Peer, Seen
from tests.contract.peers.mastodon import is_commit, sees
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Part, Response, as_json, form, serving

TOKEN = "ZA-Yj3aBD8U8Cm7lKUp-lm9O9BmDgdhHzDeqsY8tlL0"
ME = "109"


class Manner(StrEnum):
    """What a repeated Idempotency-Key gets."""

    MASTODON = "the first status"
    PIXELFED = "400"
    SNAC = "another status"


@dataclass
class Media:
    file: Part
    description: str
    looks_until_processed: int
    is_attached: bool = False


@dataclass
class Fediverse:
    manner: Manner
    url: str = ""
    looks_until_processed: int = 0
    """So often a new picture is asked after in vain."""
    media: dict[str, Media] = field(default_factory=dict)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    """The oldest first."""
    keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Without an end: an hour is not waited for."""
    page: int = 40
    max_chars: int = 500
    bot: bool = False
    version: str = "4.6.0"

    def answer(self, request: Request) -> Response:
        said = self._answer(request)
        date = format_datetime(datetime.now(UTC), usegmt=True)
        return Response(said.status, said.content, {**said.headers, "Date": date})

    def _answer(self, request: Request) -> Response:
        where = urlsplit(request.path)
        match request.method, where.path.strip("/").split("/"):
            case "GET", ["api", "v2", "instance"]:
                return as_json(200, self._instance())
            case _ if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return as_json(401, {"error": "The access token is invalid"})
            case "GET", ["api", "v1", "accounts", "verify_credentials"]:
                return as_json(200, self._account())
            case "GET", ["api", "v1", "accounts", who, "statuses"] if who == ME:
                return as_json(200, self._listed(parse_qs(where.query)))
            case "POST", ["api", "v2", "media"]:
                return self._upload(request)
            case "GET", ["api", "v1", "media", number]:
                return self._look(number)
            case "POST", ["api", "v1", "statuses"]:
                return self._post(request)
        return as_json(404, {"error": "Record not found"})

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(TOKEN)
        (workplace / "secret").chmod(0o600)
        return {"type": "mastodon", "url": url, "secret_file": "secret", "allow_private": True}

    def posts(self) -> list[Seen]:
        known_limits.clear()  # so that every delivery asks for them, and that can go wrong too
        return [self._seen(status) for status in self.statuses]

    def _seen(self, status: dict[str, Any]) -> Seen:
        media = self.media[status["media"]]
        return Seen(status["text"], media.description, media.file.content)

    def _instance(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "configuration": {
                "statuses": {"max_characters": self.max_chars},
                "media_attachments": {
                    "description_limit": 1500,
                    "image_size_limit": 16_777_216,
                    "image_matrix_limit": 33_177_600,
                    "supported_mime_types": ["image/jpeg", "image/png", "image/webp"],
                },
            },
        }

    def _account(self) -> dict[str, Any]:
        return {
            "id": ME,
            "acct": "painter",
            "url": f"{self.url}/@painter",
            "bot": self.bot,
            "statuses_count": len(self.statuses),
        }

    def _listed(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        before = int(query.get("max_id", ["0"])[0]) or len(self.statuses) + 1
        older = [s for s in self.statuses if int(s["id"]) < before]
        return [self._status(s) for s in reversed(older)][: self.page]

    def _status(self, status: dict[str, Any]) -> dict[str, Any]:
        shown = self._attachment(status["media"], self.media[status["media"]])
        if self.manner is Manner.SNAC:
            shown = {**shown, "id": f"{status['id']}_0"}
        return {
            "id": status["id"],
            "created_at": status["created_at"],
            "url": f"{self.url}/@painter/{status['id']}",
            "content": f"<p>{status['text']}</p>",
            "media_attachments": [shown],
        }

    def _attachment(self, number: str, media: Media) -> dict[str, Any]:
        is_processed = media.looks_until_processed <= 0
        return {
            "id": number,
            "type": "image",
            "url": f"{self.url}/media/{number}.png" if is_processed else None,
            "description": media.description,
        }

    def _upload(self, request: Request) -> Response:
        fields = form(request)
        number = str(1000 + len(self.media))
        media = Media(fields["file"], fields["description"].text, self.looks_until_processed)
        if not media.file.content.startswith(b"\x89PNG"):
            return as_json(422, {"error": "File type of uploaded media could not be verified"})
        if len(media.description) > 1500:
            return as_json(422, {"error": "Validation failed: Description is too long"})
        self.media[number] = media
        status = 200 if media.looks_until_processed <= 0 else 202
        return as_json(status, self._attachment(number, media))

    def _look(self, number: str) -> Response:
        media = self.media.get(number)
        if media is None or media.is_attached:
            return as_json(404, {"error": "Record not found"})
        media.looks_until_processed -= 1
        status = 206 if media.looks_until_processed > 0 else 200
        return as_json(status, self._attachment(number, media))

    def _post(self, request: Request) -> Response:
        said = json.loads(request.body)
        key = request.headers["Idempotency-Key"]
        if key in self.keys and self.manner is Manner.MASTODON:
            return as_json(200, self._status(self.keys[key]))
        if key in self.keys and self.manner is Manner.PIXELFED:
            return as_json(400, {"error": "Duplicate idempotency key"})
        if self.manner is Manner.PIXELFED:
            self.keys[key] = {}  # noted before it looks at the rest
        (number,) = said["media_ids"]
        media = self.media.get(number)
        if len(said["status"]) + len(said["spoiler_text"]) > self.max_chars:
            return as_json(422, {"error": "Validierung gescheitert: Text ist zu lang"})
        if media is None or (media.is_attached and self.manner is not Manner.SNAC):
            words = (
                f"Medien {number} nicht gefunden oder bereits an einen anderen Beitrag angehängt"
            )
            return as_json(422, {"error": words})
        if media.looks_until_processed > 0:
            return as_json(422, {"error": "Dateien, die noch nicht verarbeitet wurden"})
        media.is_attached = True
        status = {
            "id": str(len(self.statuses) + 1),
            "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "text": said["status"],
            "media": number,
            "said": said,
        }
        self.statuses.append(status)
        self.keys[key] = status
        return as_json(200, self._status(status))


@contextmanager
def run(folder: Path) -> Iterator[Fediverse]:
    fediverse = Fediverse(Manner.SNAC, looks_until_processed=1)
    with serving(fediverse.answer) as fediverse.url:
        yield fediverse


PEER = Peer("mastodon", run, is_commit, sees)

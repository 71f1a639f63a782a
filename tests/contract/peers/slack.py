"""Slack's Web API, as docs.slack.dev describes these methods: it answers 200 and says `ok` or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, as_json, serving

TOKEN = "xoxb-1234567890-tokenTokenToken"
CHANNEL_ID = "C0123456789"


@dataclass
class File:
    name: str
    length: int
    alt: str
    content: bytes | None = None
    shares: dict[str, Any] = field(default_factory=dict)


def refused(error: str) -> Response:
    return as_json(200, {"ok": False, "error": error})


class Slack:
    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, File] = {}
        self.messages: list[tuple[str, File]] = []
        self.error: str | None = None

    def answer(self, request: Request) -> Response:
        if request.path.startswith("/upload/"):
            file = self.files[request.path.rpartition("/")[2]]
            if len(request.body) != file.length:
                return Response(400)
            file.content = request.body
            return Response(200, b"OK - 1")
        method = request.path.removeprefix("/api/")
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return refused("invalid_auth")
        if self.error:
            return refused(self.error)
        fields = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        match method:
            case "auth.test":
                return as_json(200, {"ok": True, "user": "painter", "team": "The studio"})
            case "files.getUploadURLExternal":
                number = f"F{len(self.files) + 1:010}"
                self.files[number] = File(
                    fields["filename"], int(fields["length"]), fields["alt_txt"]
                )
                where = f"http://{request.headers['Host']}/upload/{number}"
                return as_json(200, {"ok": True, "upload_url": where, "file_id": number})
            case "files.completeUploadExternal":
                return self._share(fields)
            case "files.info":
                found = self.files.get(fields["file"])
                if found is None:
                    return refused("file_not_found")
                told = {
                    "id": fields["file"],
                    "shares": found.shares,
                    "permalink": f"https://studio.slack.com/files/U1/{fields['file']}",
                }
                return as_json(200, {"ok": True, "file": told})
        return refused("unknown_method")

    def _share(self, fields: dict[str, str]) -> Response:
        if fields["channel_id"] != CHANNEL_ID:
            return refused("channel_not_found")
        (named,) = json.loads(fields["files"])
        file = self.files.get(named["id"])
        if file is None or file.content is None:
            return refused("file_not_found")
        file.shares = {"public": {CHANNEL_ID: [{"ts": f"{len(self.messages)}.0"}]}}
        self.messages.append((fields["initial_comment"], file))
        link = f"https://studio.slack.com/files/U1/{named['id']}"
        return as_json(200, {"ok": True, "files": [{"id": named["id"], "permalink": link}]})

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(f"{TOKEN}\n")
        (workplace / "secret").chmod(0o600)
        return {
            "type": "slack",
            "channel": CHANNEL_ID,
            "api": f"{url}/api",
            "secret_file": "secret",
            "allow_private": True,
        }

    def posts(self) -> list[Seen]:
        return [Seen(text, file.alt, file.content) for text, file in self.messages]


@contextmanager
def run(folder: Path) -> Iterator[Slack]:
    slack = Slack()
    with serving(slack.answer) as slack.url:
        yield slack


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


PEER = Peer(
    "slack",
    run,
    is_commit=lambda method, path: path.endswith("files.completeUploadExternal"),
    sees=sees,
)

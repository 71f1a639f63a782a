"""Discord's webhooks, as discord.com/developers/docs describes them ("Execute Webhook", "Uploading Files")."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, as_json, form, serving

NUMBER, TOKEN = "1234567890", "mXyZ-tokenTokenToken_0123456789"
MAX_FILE_BYTES = 10 * 1024 * 1024


class Discord:
    def __init__(self) -> None:
        self.url = ""
        self.messages: list[dict[str, Any]] = []
        self.is_removed = False

    def answer(self, request: Request) -> Response:
        where = urlsplit(request.path)
        if where.path != f"/api/webhooks/{NUMBER}/{TOKEN}":
            return as_json(401, {"message": "Invalid Webhook Token", "code": 50027})
        if self.is_removed:
            return as_json(404, {"message": "Unknown Webhook", "code": 10015})
        if request.method == "GET":
            return as_json(200, {"id": NUMBER, "name": "artbot"})
        fields = form(request)
        message = json.loads(fields["payload_json"].text)
        problems = _problems(message, len(fields["files[0]"].content))
        if problems:
            return as_json(400, {"message": problems, "code": 50035})
        message["file"] = fields["files[0]"]
        message["id"] = str(len(self.messages) + 1)
        self.messages.append(message)
        if parse_qs(where.query).get("wait") != ["true"]:
            return Response(204)
        return as_json(200, {"id": message["id"], "content": message["content"]})

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(f"{url}/api/webhooks/{NUMBER}/{TOKEN}\n")
        (workplace / "secret").chmod(0o600)
        return {"type": "discord", "secret_file": "secret", "allow_private": True}

    def posts(self) -> list[Seen]:
        return [
            Seen(m["content"], m["attachments"][0]["description"], m["file"].content)
            for m in self.messages
        ]


def _problems(message: dict[str, Any], num_bytes: int) -> str:
    if len(message["content"]) > 2000:
        return "Must be 2000 or fewer in length."
    if len(message["attachments"][0].get("description", "")) > 1024:
        return "Must be 1024 or fewer in length."
    return "Request entity too large" if num_bytes > MAX_FILE_BYTES else ""


@contextmanager
def run(folder: Path) -> Iterator[Discord]:
    discord = Discord()
    with serving(discord.answer) as discord.url:
        yield discord


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


PEER = Peer("discord", run, is_commit=lambda method, path: method == "POST", sees=sees)

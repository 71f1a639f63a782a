"""Telegram's Bot API, as core.telegram.org/bots/api describes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, as_json, form, serving

TOKEN = "123456789:AAF-tokenTokenTokenTokenTokenToken_0"
CHAT = "@paintings"


def _refusal(status: int, description: str, **parameters: Any) -> Response:
    said = {"ok": False, "error_code": status, "description": description}
    return as_json(status, said | ({"parameters": parameters} if parameters else {}))


class Telegram:
    def __init__(self) -> None:
        self.url = ""
        self.messages: list[dict[str, Any]] = []
        self.standing = "administrator"

    def answer(self, request: Request) -> Response:
        _, bot, method = request.path.split("/", 2)
        if bot != f"bot{TOKEN}":
            return _refusal(404, "Not Found")
        if method == "getMe":
            return as_json(200, {"ok": True, "result": {"id": 123456789, "username": "painter"}})
        if method == "getChatMember":
            asked = json.loads(request.body)
            if asked["chat_id"] != CHAT:
                return _refusal(400, "Bad Request: chat not found")
            return as_json(200, {"ok": True, "result": {"status": self.standing}})
        fields = form(request)
        if fields["chat_id"].text != CHAT:
            return _refusal(400, "Bad Request: chat not found")
        caption = fields["caption"].text
        if len(caption.encode("utf-16-le")) // 2 > 1024:
            return _refusal(400, "Bad Request: message caption is too long")
        kind = "photo" if method == "sendPhoto" else "document"
        self.messages.append(
            {
                "caption": caption,
                "file": fields[kind],
                "spoiler": "has_spoiler" in fields,
                "silent": "disable_notification" in fields,
            }
        )
        result = {"message_id": len(self.messages), "chat": {"username": "paintings"}}
        return as_json(200, {"ok": True, "result": result})

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(f"{TOKEN}\n")
        (workplace / "secret").chmod(0o600)
        return {
            "type": "telegram",
            "chat": CHAT,
            "api": url,
            "secret_file": "secret",
            "allow_private": True,
        }

    def posts(self) -> list[Seen]:
        return [Seen(m["caption"], None, m["file"].content) for m in self.messages]


@contextmanager
def run(folder: Path) -> Iterator[Telegram]:
    telegram = Telegram()
    with serving(telegram.answer) as telegram.url:
        yield telegram


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, None, post.picture.content)


PEER = Peer("telegram", run, is_commit=lambda method, path: "/send" in path, sees=sees)

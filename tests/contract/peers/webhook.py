"""A receiver of webhooks: checks the signature with the standard's own library, and keeps each id once."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from standardwebhooks.webhooks import Webhook

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.unit.service.kit import SECRET


class Receiver:
    def __init__(self, url: str) -> None:
        self.url = url
        self.kept: dict[str, dict[str, Any]] = {}

    def take(self, headers: dict[str, str], body: str) -> int:
        # Its `verify` goes by the real time; here days pass in a moment.
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        if headers["webhook-signature"] != Webhook(SECRET).sign(headers["webhook-id"], at, body):
            return 401
        self.kept.setdefault(headers["webhook-id"], json.loads(body))
        return 204

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(SECRET)
        (workplace / "secret").chmod(0o600)
        return {
            "type": "webhook",
            "url": f"{url}/hook",
            "secret_file": "secret",
            "allow_private": True,
        }

    def posts(self) -> list[Seen]:
        return [
            Seen(
                None,
                event["data"]["image"]["alt"],
                base64.b64decode(event["data"]["image"]["base64"]),
            )
            for event in self.kept.values()
            if event["type"] == "artwork.published"
        ]


@contextmanager
def run(folder: Path) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(receiver.take(headers, body))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sees(post: Post) -> Seen:
    image = json.loads(post.body)["data"]["image"]
    return Seen(None, image["alt"], base64.b64decode(image["base64"]))


PEER = Peer("webhook", run, is_commit=lambda method, path: method == "POST", sees=sees)

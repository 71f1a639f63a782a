"""A small HTTP server for peers that we have to write ourselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import policy
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from tests.contract.peers.proxy import Request


@dataclass(frozen=True)
class Response:
    status: int
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(status: int, said: object, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        status, json.dumps(said).encode(), {"Content-Type": "application/json", **named}
    )


@contextmanager
def serving(answer: Callable[[Request], Response]) -> Iterator[str]:
    """Its URL. One request after the other, so that `answer` need not mind threads."""
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                said = answer(Request(self.command, self.path, dict(self.headers.items()), body))
            self.send_response_only(said.status)
            for name, value in {**said.headers, "Content-Length": str(len(said.content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said.content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Part:
    """One field of a form."""

    content: bytes
    file_name: str | None
    media_type: str

    @property
    def text(self) -> str:
        return self.content.decode()


def form(request: Request) -> dict[str, Part]:
    """The fields of a multipart/form-data body, read by the standard library's parser of mail."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=policy.HTTP).parsebytes(head + request.body)
    parts = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="Content-Disposition")
        assert isinstance(name, str)
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        parts[name] = Part(content, part.get_filename(), part.get_content_type())
    return parts

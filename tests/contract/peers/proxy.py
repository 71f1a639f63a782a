"""A proxy that disturbs: it stands in front of a peer and does to chosen requests what networks do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Fault(StrEnum):
    """What becomes of one request."""

    DROP_REQUEST = "drop the request"  # the peer never hears of it
    DROP_ANSWER = "drop the answer"  # the peer acts; the connection breaks
    STALL = "stall"  # the peer acts; the answer never comes
    ERROR_BEFORE = "503"  # the peer never hears of it
    ERROR_AFTER = "502 after it acted"  # what a gateway says when its back end was slow
    RATE_LIMIT = "429"
    GARBAGE = "garbage"  # the peer acts; 200 and no word of sense


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Proxy:
    """Everything that came by, and what is to become of what comes."""

    url: str
    requests: list[Request] = field(default_factory=list)
    fault_of: Callable[[int, Request], Fault | None] = lambda number, request: None
    """The fate of the request of that number, from 0."""
    stopping: threading.Event = field(default_factory=threading.Event)


_OF_A_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"}


@contextmanager
def proxy_to(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of the server at `upstream`."""
    parts = urlsplit(upstream)
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, TimeoutError):
                self.close_connection = True

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._pass_on
            raise AttributeError(name)

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.command, self.path, dict(self.headers.items()), body)
            with lock:
                fault = proxy.fault_of(len(proxy.requests), request)
                proxy.requests.append(request)
            self.close_connection = True
            if fault is Fault.DROP_REQUEST:
                return
            if fault is Fault.ERROR_BEFORE:
                self._answer(503, [("Content-Type", "text/plain")], b"maintenance")
                return
            if fault is Fault.RATE_LIMIT:
                self._answer(429, [("Retry-After", "30")], b"slow down")
                return
            upward = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
            headers = {k: v for k, v in request.headers.items() if k.lower() not in _OF_A_HOP}
            upward.request(self.command, self.path, body=body or None, headers=headers)
            answer = upward.getresponse()
            content = answer.read()
            upward.close()
            if fault is Fault.DROP_ANSWER:
                return
            if fault is Fault.STALL:
                proxy.stopping.wait(60)
                return
            if fault is Fault.ERROR_AFTER:
                self._answer(502, [("Content-Type", "text/html")], b"<h1>Bad Gateway</h1>")
                return
            if fault is Fault.GARBAGE:
                self._answer(200, [("Content-Type", "text/html")], b"<html>\xff\x00 welcome")
                return
            kept = [
                (k, v)
                for k, v in answer.getheaders()
                if k.lower() not in {*_OF_A_HOP, "content-length"}
            ]
            self._answer(answer.status, kept, content)

        def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()

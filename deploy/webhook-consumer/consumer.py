"""Receive artbot's webhooks: check each, store the picture once, answer when it is on disk.

    python consumer.py --secret-file FILE --store DIR [--port 8099]

An example to copy. It refuses whatever is not signed with a shared secret, and any picture
that does not match its own checksum. It speaks plain HTTP: put a proxy with TLS in front.

DIR holds `<artwork id>.png`, `<artwork id>.json` (the event without the picture) and
`log.jsonl`. The log is also the memory: its `stored` lines tell which `webhook-id` is a
duplicate. Keep it with the pictures.
"""

from __future__ import annotations

import argparse
import base64
import fcntl
import hashlib
import json
import os
import re
import signal
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

MAX_BODY_BYTES = 4 * 1024 * 1024  # the picture travels inside as base64, a third larger


class Refused(Exception):
    """The request gets an error status, and nothing of it is kept."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def check_picture(event: dict[str, Any]) -> tuple[str, bytes]:
    """Return (artwork id, picture). Raises Refused unless the bytes are the ones announced."""
    try:
        artwork_id, image = event["data"]["artwork"]["id"], event["data"]["image"]
        encoded, media_type = image["base64"], image["media_type"]
        announced = (image["bytes"], image["sha256"])
    except (KeyError, TypeError):
        raise Refused(422, "data.artwork.id or a field of data.image is missing") from None
    if not (isinstance(artwork_id, str) and artwork_id and isinstance(encoded, str)):
        raise Refused(422, "data.artwork.id and data.image.base64 must be text")
    if media_type != "image/png":
        raise Refused(422, "the picture is not announced as image/png")
    try:
        picture = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise Refused(422, "the picture is not valid base64") from None
    if (len(picture), hashlib.sha256(picture).hexdigest()) != announced:
        raise Refused(422, "the picture does not match its byte count and sha256")
    return artwork_id, picture


def file_name(artwork_id: str) -> str:
    """A file name for an id from the network: never a path, never another id's name."""
    if re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]{0,99}", artwork_id):
        return artwork_id
    # Two ids can look the same once cleaned, their hashes cannot; and the dot keeps the result
    # apart from every id that is used as it is.
    readable = re.sub("[^A-Za-z0-9]+", "_", artwork_id).strip("_")[:40] or "artwork"
    return f"{readable}.{hashlib.sha256(artwork_id.encode(errors='surrogatepass')).hexdigest()}"


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a power cut, meets all of it or none."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)  # without it a power cut can undo the rename
    os.close(folder)


class Store:
    """The folder. What changes it holds `lock`, so racing copies are seen one after the other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.lock = threading.Lock()
        self.log = open(folder / "log.jsonl", "a+b", buffering=0)  # noqa: SIM115 (ours for life)
        try:  # two receivers on one folder would not see what the other has stored
            fcntl.flock(self.log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(f"another receiver already uses {folder}") from None
        self.log.seek(0)
        whole, newline, _ = self.log.read().rpartition(b"\n")
        # A last line cut short by a kill was never answered. Forget it: the sender comes again.
        self.log.truncate(len(whole + newline))
        entries = [json.loads(line) for line in whole.splitlines()]
        self.stored_ids = {e["webhook_id"] for e in entries if e["verdict"] == "stored"}

    def take(self, event: dict[str, Any], webhook_id: str) -> str:
        """Store, drop or ignore a verified event; return the verdict. Raises Refused, OSError."""
        with self.lock:
            if event.get("type") == "test":
                return self.record("test", webhook_id)
            if event.get("type") != "artwork.published":  # a newer sender may say more
                return self.record("ignored", webhook_id, f"type {event.get('type')}")
            if webhook_id in self.stored_ids:
                return self.record("duplicate", webhook_id)
            artwork_id, picture = check_picture(event)
            name = file_name(artwork_id)
            del event["data"]["image"]["base64"]
            write_whole(self.folder / f"{name}.png", picture)
            write_whole(self.folder / f"{name}.json", json.dumps(event, indent=2).encode())
            # The log line comes last. Killed before it, the next delivery writes the same files
            # again; killed after it, the next delivery is a duplicate.
            sha256 = hashlib.sha256(picture).hexdigest()
            verdict = self.record("stored", webhook_id, f"{name} sha256 {sha256}")
            self.stored_ids.add(webhook_id)
            return verdict

    def record(self, verdict: str, webhook_id: str, detail: str = "", status: int = 200) -> str:
        """Put one line in the log, surely on disk, and print its plain form. Needs `lock`."""
        entry = {"at": datetime.now(UTC).isoformat(), "verdict": verdict, "status": status}
        line = json.dumps(entry | {"webhook_id": webhook_id, "detail": detail}).encode() + b"\n"
        end = self.log.seek(0, os.SEEK_END)
        try:
            if self.log.write(line) != len(line):
                raise OSError("the disk is full")
            os.fsync(self.log.fileno())
        except OSError:
            self.log.truncate(end)  # half a line would spoil the next one
            raise
        shown = f"refused {status}" if verdict == "refused" else verdict
        # ascii(): text from outside must not bring line breaks or terminal codes with it.
        plain = ascii(" ".join(f"{shown} {detail} (webhook-id {webhook_id})".split()))[1:-1]
        with suppress(OSError):  # nobody reads our output any more: no reason to refuse pictures
            print(plain, flush=True)
        return verdict


def read_secrets(path: Path) -> list[Webhook]:
    """What any of the file's secrets verifies; empty lines and those that begin with # say nothing.

    Raises OSError, ValueError (which repeats no secret).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text") from None
    webhooks = []
    for number, line in enumerate(lines, start=1):
        secret = line.strip()
        if not secret or secret.startswith("#"):
            continue
        if secret.startswith("whsk_"):
            raise ValueError(
                f"line {number} of {path} is a private key (whsk_): who has it can sign as the sender. "
                "Take it out; the sender gives whsec_ to this receiver, and nobody whsk_"
            )
        if not re.fullmatch("whsec_[A-Za-z0-9+/]{32,}={0,2}", secret):  # the standard: 24+ bytes
            raise ValueError(
                f"line {number} of {path} must be whsec_ and the base64 of 24 bytes or more"
            )
        webhooks.append(Webhook(secret))
    if not webhooks:
        raise ValueError(f"{path} holds no secret")
    return webhooks


class RequestHandler(BaseHTTPRequestHandler):
    webhooks: list[Webhook]  # this and the next are set once, in main()
    store: Store
    timeout = 10.0  # seconds; a sender that goes silent must not keep a thread for ever

    def handle(self) -> None:
        with suppress(ConnectionError):  # who only looks whether somebody is here, and hangs up
            super().handle()

    def do_GET(self) -> None:
        is_health = self.path == "/health"
        self._answer(200 if is_health else 404, "ok" if is_health else "no such page")

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = self._read_body()  # before any verdict, so that the sender gets to read it
            if self.path != "/webhook":
                raise Refused(404, "webhooks are taken at /webhook")
            event = self._verify(body, headers)
            self._answer(200, self.store.take(event, headers["webhook-id"]))
        except Refused as refusal:
            unverified_id = headers.get("webhook-id", "")[:80]  # anybody can send a longer one
            with self.store.lock, suppress(OSError):
                self.store.record("refused", unverified_id, refusal.reason, refusal.status)
            self._answer(refusal.status, refusal.reason)
        except OSError as error:  # the disk. A 5xx says: our fault, send it again later
            print(f"cannot store: {error}", file=sys.stderr, flush=True)
            self._answer(503, "cannot store it now")

    def _read_body(self) -> bytes:
        """Exactly the announced bytes. Raises Refused(400, 408, 411 or 413)."""
        lengths = self.headers.get_all("content-length", [])
        if not lengths or "transfer-encoding" in self.headers:
            raise Refused(411, "a Content-Length is required")
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
            raise Refused(400, "the Content-Length is not one plain number")
        num_bytes = int(lengths[0])
        try:
            # Of too large a body, swallow some more: closing on unread bytes resets the
            # connection, and a sender that never sees the 413 tries again and again.
            body = self.rfile.read(min(num_bytes, 4 * MAX_BODY_BYTES))
        except (TimeoutError, ConnectionError):
            raise Refused(408, "the body did not arrive") from None
        if num_bytes > MAX_BODY_BYTES:
            raise Refused(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        if len(body) < num_bytes:
            raise Refused(400, "the body ended early")
        return body

    def _verify(self, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """The event, if a holder of a secret signed these bytes in the last five minutes."""
        for webhook in self.webhooks:
            try:
                event = webhook.verify(body, headers)
            except json.JSONDecodeError:  # the library parses only what it has found well signed
                raise Refused(422, "the body is not JSON") from None
            except (WebhookVerificationError, ValueError) as error:  # ValueError: malformed headers
                reason = str(error)
            else:
                if not isinstance(event, dict):
                    raise Refused(422, "the body is not a JSON object")
                return event
        raise Refused(401, f"signature does not verify ({reason})")

    def _answer(self, status: int, text: str) -> None:
        with suppress(OSError):  # the sender is gone; it will ask again and hear "duplicate"
            self.send_response(status)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode() + b"\n")

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the verdict lines say more, and say it once."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Receive artbot's webhooks, store the pictures.")
    parser.add_argument("--secret-file", type=Path, required=True, help="whsec_..., one on a line")
    parser.add_argument("--store", type=Path, required=True, help="folder for pictures and log")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8099, help="0 takes any free port")
    parser.add_argument("--port-file", type=Path, help="gets the port once we listen")
    options = parser.parse_args()
    try:
        RequestHandler.webhooks = read_secrets(options.secret_file)
        RequestHandler.store = Store(options.store)
        server = ThreadingHTTPServer((options.host, options.port), RequestHandler)
    except (OSError, ValueError) as error:
        parser.error(f"cannot start: {error}")

    def stop(signum: int, frame: object) -> None:
        # From another thread: shutdown() waits for the very loop that this handler interrupts.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    if options.port_file:
        write_whole(options.port_file, f"{server.server_port}\n".encode())
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    RequestHandler.store.lock.acquire()  # waits for a picture being stored, lets no other begin
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The example webhook receiver in deploy/, run as a real process and spoken to over real sockets.

The signatures come from the independent `standardwebhooks` library, never from artbot, so these
tests say what any sender of Standard Webhooks may expect. They send no webhook of artbot's own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from standardwebhooks.webhooks import Webhook

CONSUMER = Path(__file__).parents[2] / "deploy" / "webhook-consumer" / "consumer.py"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
ARTWORK_ID = "daily-2026-11-21-03"


def make_event(artwork_id: str = ARTWORK_ID, picture: bytes = PICTURE) -> dict[str, Any]:
    image = {
        "media_type": "image/png",
        "width": 64,
        "height": 64,
        "bytes": len(picture),
        "sha256": hashlib.sha256(picture).hexdigest(),
        "alt": "a flower, generated",
        "base64": base64.b64encode(picture).decode(),
    }
    artwork = {"id": artwork_id, "title": "Blüte", "seed": 123456789}
    return {
        "type": "artwork.published",
        "timestamp": "2026-11-21T07:12:59.123456Z",
        "data": {"artwork": artwork, "image": image},
    }


def encode(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def sign(
    body: bytes, webhook_id: str, at: datetime | None = None, secret: str = SECRET
) -> dict[str, str]:
    at = at or datetime.now(UTC)
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(webhook_id, at, body.decode()),
    }


class Consumer:
    """One store, and the receiver process that currently serves it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.secret_file = folder / "secret"
        self.secret_file.write_text(SECRET + "\n")
        self.port_file = folder / "port"
        self.output = folder / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        options = {"--secret-file": self.secret_file, "--store": self.store, "--port": 0}
        return [sys.executable, str(CONSUMER), *(str(x) for pair in options.items() for x in pair)]

    def start(self) -> None:
        self.port_file.unlink(missing_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*self.command(), "--port-file", str(self.port_file)],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        give_up_at = time.monotonic() + 120
        while not self.port_file.exists():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < give_up_at, "the receiver did not start"
            time.sleep(0.005)
        self.port = int(self.port_file.read_text())

    def stop(self, signum: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(signum)
        return self.process.wait(timeout=10)

    def post(self, body: bytes, headers: dict[str, str], path: str = "/webhook") -> int:
        url = f"http://127.0.0.1:{self.port}{path}"
        with requests.Session() as session:
            session.trust_env = False  # a proxy from the environment has no place here
            return session.post(url, data=body, headers=headers, timeout=10).status_code

    def deliver(self, event: dict[str, Any], webhook_id: str = "msg_1") -> int:
        body = encode(event)
        return self.post(body, sign(body, webhook_id))

    def say(self, request: bytes) -> bytes:
        """Send bytes no HTTP library would; return the answer's first line."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(request)
            return connection.makefile("rb").readline()

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.store / "log.jsonl").read_text().splitlines()]

    def verdicts(self) -> list[str]:
        return [entry["verdict"] for entry in self.entries()]

    def files(self) -> set[str]:
        """Everything under the store's parent but the test's own files: strays show up here."""
        folder = self.store.parent
        own = {self.secret_file, self.port_file, self.output, self.store}
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path not in own}


STORED_FILES = {"store/log.jsonl", f"store/{ARTWORK_ID}.png", f"store/{ARTWORK_ID}.json"}
NOTHING_STORED = {"store/log.jsonl"}


@pytest.fixture
def consumer(tmp_path: Path) -> Iterator[Consumer]:
    running = Consumer(tmp_path)
    running.start()
    yield running
    if running.process is not None:
        running.process.kill()
        running.process.wait()


def test_a_signed_picture_is_stored_with_its_event_before_the_answer(consumer: Consumer) -> None:
    assert consumer.deliver(make_event()) == 200

    assert consumer.files() == STORED_FILES
    assert (consumer.store / f"{ARTWORK_ID}.png").read_bytes() == PICTURE
    expected = make_event()
    del expected["data"]["image"]["base64"]
    assert json.loads((consumer.store / f"{ARTWORK_ID}.json").read_text()) == expected
    assert consumer.verdicts() == ["stored"]
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    line = f"stored {ARTWORK_ID} sha256 {sha256} (webhook-id msg_1)\n"
    assert consumer.output.read_text() == line


def test_a_second_delivery_with_the_same_webhook_id_is_dropped(consumer: Consumer) -> None:
    assert consumer.deliver(make_event()) == 200
    assert consumer.deliver(make_event()) == 200

    assert consumer.verdicts() == ["stored", "duplicate"]


def test_a_duplicate_is_dropped_also_after_kill_9_and_a_restart(consumer: Consumer) -> None:
    assert consumer.deliver(make_event()) == 200
    consumer.stop(signal.SIGKILL)
    consumer.start()
    assert consumer.deliver(make_event()) == 200

    assert consumer.verdicts() == ["stored", "duplicate"]


def test_a_delivery_repeated_until_answered_is_stored_once_whenever_the_receiver_is_killed(
    consumer: Consumer,
) -> None:
    # The delays spread the kill over a delivery: before it, while it is stored, before its answer.
    for number, delay_s in enumerate(step * 0.0015 for step in range(12)):
        event = make_event(f"killed-{number}", PICTURE + bytes([number]))
        with ThreadPoolExecutor(1) as pool:
            first_try = pool.submit(consumer.deliver, event, f"msg_{number}")
            time.sleep(delay_s)
            consumer.stop(signal.SIGKILL)
            first_try.exception()  # answered or not: the sender below does not know either
        consumer.start()
        assert consumer.deliver(event, f"msg_{number}") == 200

        stored = [e for e in consumer.entries() if e["verdict"] == "stored"]
        assert [e["webhook_id"] for e in stored].count(f"msg_{number}") == 1
        picture = (consumer.store / f"killed-{number}.png").read_bytes()
        assert picture == PICTURE + bytes([number])
        json.loads((consumer.store / f"killed-{number}.json").read_text())


def test_what_a_kill_left_half_written_is_overwritten_by_the_next_delivery(
    consumer: Consumer,
) -> None:
    consumer.stop(signal.SIGKILL)
    (consumer.store / f"{ARTWORK_ID}.png").write_bytes(PICTURE)
    (consumer.store / f".{ARTWORK_ID}.json.tmp").write_text('{"type": "art')
    with (consumer.store / "log.jsonl").open("a") as log:
        log.write('{"at": "2026-11-21T07:12:59+00:00", "verdict": "stor')
    consumer.start()
    assert consumer.deliver(make_event()) == 200

    assert consumer.files() == STORED_FILES
    assert consumer.verdicts() == ["stored"]


def test_two_racing_copies_are_stored_once(consumer: Consumer) -> None:
    body = encode(make_event())
    headers = sign(body, "msg_1")
    num_copies = 8
    barrier = threading.Barrier(num_copies)

    def post(_: int) -> int:
        barrier.wait()
        return consumer.post(body, headers)

    with ThreadPoolExecutor(num_copies) as pool:
        assert list(pool.map(post, range(num_copies))) == [200] * num_copies

    assert sorted(consumer.verdicts()) == ["duplicate"] * (num_copies - 1) + ["stored"]


def test_a_later_delivery_under_another_webhook_id_replaces_the_picture(
    consumer: Consumer,
) -> None:
    assert consumer.deliver(make_event(), "msg_1") == 200
    assert consumer.deliver(make_event(picture=PICTURE + b"retouched"), "msg_2") == 200
    assert consumer.deliver(make_event(), "msg_1") == 200

    assert consumer.verdicts() == ["stored", "stored", "duplicate"]
    assert (consumer.store / f"{ARTWORK_ID}.png").read_bytes() == PICTURE + b"retouched"


def test_either_signature_of_a_rotation_is_accepted(consumer: Consumer) -> None:
    body = encode(make_event())
    headers = sign(body, "msg_1")
    other = base64.b64encode(bytes(32)).decode()
    headers["webhook-signature"] = f"v1,{other} {headers['webhook-signature']}"

    assert consumer.post(body, headers) == 200
    assert consumer.verdicts() == ["stored"]


def test_a_body_changed_after_signing_is_refused(consumer: Consumer) -> None:
    body = encode(make_event())

    assert consumer.post(body + b" ", sign(body, "msg_1")) == 401
    assert consumer.files() == NOTHING_STORED
    assert consumer.output.read_text().startswith("refused 401 signature does not verify")


def test_a_refusal_does_not_use_up_the_webhook_id(consumer: Consumer) -> None:
    body = encode(make_event())
    assert consumer.post(body + b" ", sign(body, "msg_1")) == 401
    assert consumer.post(body, sign(body, "msg_1")) == 200

    assert consumer.verdicts() == ["refused", "stored"]


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", "v1", "v1,", "v1,###", "v1,abc", "v1,a,b", "v1,\xe9", "v2,AAAA", " v1,AAAA"],
)
def test_a_malformed_signature_header_is_refused(consumer: Consumer, header: str) -> None:
    body = encode(make_event())
    # Not through an HTTP library: some of them would not send such a header at all.
    lines = sign(body, "msg_1") | {
        "webhook-signature": header,
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("latin-1")

    answer = consumer.say(b"POST /webhook HTTP/1.0\r\n" + head + b"\r\n" + body)
    assert answer.split()[1] == b"401"
    assert consumer.files() == NOTHING_STORED


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_delivery_without_one_of_the_three_headers_is_refused(
    consumer: Consumer, missing: str
) -> None:
    body = encode(make_event())
    headers = sign(body, "msg_1")
    del headers[missing]

    assert consumer.post(body, headers) == 401
    assert consumer.files() == NOTHING_STORED


@pytest.mark.parametrize("minutes_off", [-6, 6])
def test_a_delivery_signed_more_than_five_minutes_off_is_refused(
    consumer: Consumer, minutes_off: int
) -> None:
    body = encode(make_event())
    at = datetime.now(UTC) + timedelta(minutes=minutes_off)

    assert consumer.post(body, sign(body, "msg_1", at)) == 401
    assert consumer.files() == NOTHING_STORED


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sha256", hashlib.sha256(b"another picture").hexdigest()),
        ("bytes", len(PICTURE) + 1),
        ("base64", "not base64!"),
        ("base64", base64.b64encode(PICTURE).decode() + "\n"),
        ("base64", None),
        ("media_type", "image/svg+xml"),
    ],
)
def test_a_picture_that_is_not_what_the_event_says_is_refused(
    consumer: Consumer, field: str, value: object
) -> None:
    event = make_event()
    event["data"]["image"][field] = value

    assert consumer.deliver(event) == 422
    assert consumer.files() == NOTHING_STORED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"type": "artwork.published"}',
        b'{"type": "artwork.published", "data": {"artwork": [], "image": 1}}',
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(consumer: Consumer, body: bytes) -> None:
    assert consumer.post(body, sign(body, "msg_1")) == 422
    assert consumer.files() == NOTHING_STORED


def test_an_oversize_body_is_refused_and_the_sender_gets_to_read_it(consumer: Consumer) -> None:
    num_bytes = 12 * 1024 * 1024  # more than the sockets' buffers hold
    head = f"POST /webhook HTTP/1.0\r\nContent-Length: {num_bytes}\r\n\r\n".encode()

    # say() sends all before it reads, as simple senders do: a reset connection would fail here.
    assert consumer.say(head + b"x" * num_bytes).split()[1] == b"413"
    assert consumer.files() == NOTHING_STORED


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"", b"411"),
        (b"Transfer-Encoding: chunked\r\n", b"411"),
        (b"Content-Length: -1\r\n", b"400"),
        (b"Content-Length: 1e3\r\n", b"400"),
        (b"Content-Length: " + b"9" * 40 + b"\r\n", b"400"),
        (b"Content-Length: 0\r\nContent-Length: 7\r\n", b"400"),
    ],
)
def test_a_body_of_no_plain_length_is_refused(
    consumer: Consumer, head: bytes, status: bytes
) -> None:
    answer = consumer.say(b"POST /webhook HTTP/1.0\r\n" + head + b"\r\n")

    assert answer.split()[1] == status
    assert consumer.files() == NOTHING_STORED


@pytest.mark.parametrize(
    "artwork_id", ["../escaped", "/tmp/escaped", "..", ".hidden", "a/b", "nul\0", "x" * 300, "ö"]
)
def test_an_artwork_id_is_never_used_as_a_path(consumer: Consumer, artwork_id: str) -> None:
    assert consumer.deliver(make_event(artwork_id)) == 200

    [picture] = consumer.store.glob("*.png")
    [event] = consumer.store.glob("*.json")
    assert picture.read_bytes() == PICTURE
    assert json.loads(event.read_text())["data"]["artwork"]["id"] == artwork_id
    # With the log these are all: nothing in a deeper folder, nothing beside the store.
    assert len(consumer.files()) == 3
    assert not Path("/tmp/escaped.png").exists()


def test_two_ids_that_look_alike_as_file_names_keep_their_own_pictures(consumer: Consumer) -> None:
    for artwork_id in ["a/b", "a_b", "a:b"]:
        picture = artwork_id.encode()
        assert consumer.deliver(make_event(artwork_id, picture), f"msg_{artwork_id}") == 200

    pictures = {path.read_bytes() for path in consumer.store.glob("*.png")}
    assert pictures == {b"a/b", b"a_b", b"a:b"}


def test_an_id_with_line_breaks_and_terminal_codes_stays_on_one_plain_line(
    consumer: Consumer,
) -> None:
    event = {"type": "later\n\x1b[31mred\u2028", "timestamp": "2026-11-21T07:12:59Z", "data": {}}
    assert consumer.deliver(event) == 200

    [line] = consumer.output.read_text().splitlines()  # it would also split at U+2028
    assert line.isprintable()


@pytest.mark.parametrize(
    ("event_type", "verdict"), [("test", "test"), ("artwork.withdrawn", "ignored")]
)
def test_other_events_are_accepted_and_logged_but_store_nothing(
    consumer: Consumer, event_type: str, verdict: str
) -> None:
    event = {"type": event_type, "timestamp": "2026-11-21T07:12:59Z", "data": {}}

    assert consumer.deliver(event) == 200
    assert consumer.verdicts() == [verdict]
    assert consumer.files() == NOTHING_STORED


def test_only_the_webhook_path_takes_events(consumer: Consumer) -> None:
    body = encode(make_event())

    assert consumer.post(body, sign(body, "msg_1"), path="/elsewhere") == 404
    assert consumer.files() == NOTHING_STORED


def test_health_answers_200(consumer: Consumer) -> None:
    assert consumer.say(b"GET /health HTTP/1.0\r\n\r\n").split()[1] == b"200"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_it_with_exit_0_even_while_a_sender_dawdles(
    consumer: Consumer, signum: signal.Signals
) -> None:
    with socket.create_connection(("127.0.0.1", consumer.port), timeout=10) as dawdling:
        dawdling.sendall(b"POST /webhook HTTP/1.0\r\nContent-Length: 100\r\n\r\nhalf")
        assert consumer.say(b"GET /health HTTP/1.0\r\n\r\n").split()[1] == b"200"

        assert consumer.stop(signum) == 0
    assert "Traceback" not in consumer.output.read_text()


def test_a_second_receiver_on_the_same_store_does_not_start(consumer: Consumer) -> None:
    ended = subprocess.run(
        consumer.command(), capture_output=True, text=True, timeout=10, check=False
    )
    assert ended.returncode == 2
    assert "another receiver already uses" in ended.stderr


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "# soon",
        "whsec_",
        "whsec_c2hvcnQ=",
        "c2VjcmV0" * 8,
        SECRET + "!",
        f"{SECRET}\nwhsec_c2hvcnQ=",
    ],
)
def test_it_does_not_start_with_an_unusable_secret(tmp_path: Path, secret: str) -> None:
    consumer = Consumer(tmp_path)
    consumer.secret_file.write_text(secret)

    ended = subprocess.run(
        consumer.command(), capture_output=True, text=True, timeout=10, check=False
    )
    assert ended.returncode == 2
    assert "cannot start" in ended.stderr
    assert str(consumer.secret_file) in ended.stderr
    # A nearly right secret is still a secret.
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in ended.stderr


def test_a_private_key_is_not_taken_and_said_to_be_the_senders_alone(tmp_path: Path) -> None:
    """A copy of all that artbot signs with holds more than a receiver may have."""
    consumer = Consumer(tmp_path)
    key = base64.b64encode(bytes(range(32))).decode()
    consumer.secret_file.write_text(f"# of the gallery\n{SECRET}\n\nwhsk_{key}\n")

    ended = subprocess.run(
        consumer.command(), capture_output=True, text=True, timeout=10, check=False
    )
    assert ended.returncode == 2
    assert f"line 4 of {consumer.secret_file} is a private key (whsk_)" in ended.stderr
    assert "Take it out" in ended.stderr
    assert key not in ended.stderr


def test_whoever_connects_and_hangs_up_leaves_no_trace(consumer: Consumer) -> None:
    """`artbot doctor --online` does, and every monitor."""
    for said in (b"", b"POST /web", b"POST /webhook HTTP/1.0\r\nContent-Length: 9\r\n"):
        with socket.create_connection(("127.0.0.1", consumer.port), timeout=10) as connection:
            connection.sendall(said)
            # Closed with a reset, as a system does that has not read all there was to read.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert consumer.say(b"GET /health HTTP/1.0\r\n\r\n").split()[1] == b"200"

    assert consumer.deliver(make_event()) == 200
    assert consumer.stop(signal.SIGTERM) == 0
    assert consumer.output.read_text().count("\n") == 1, consumer.output.read_text()
    assert consumer.verdicts() == ["stored"]


def test_while_a_secret_is_changed_both_are_good(tmp_path: Path) -> None:
    new = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
    other = "whsec_" + base64.b64encode(bytes(range(2, 34))).decode()
    consumer = Consumer(tmp_path)
    consumer.secret_file.write_text(f"# größer\n{new}\n\n  {SECRET}\r\n")
    consumer.start()
    body = encode(make_event())
    signed = [sign(body, f"msg_{n}", None, by) for n, by in enumerate((SECRET, new, other))]
    assert [consumer.post(body, headers) for headers in signed] == [200, 200, 401]
    assert consumer.stop(signal.SIGTERM) == 0

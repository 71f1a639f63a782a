"""How every way a request can end is judged: delivered, rejected, unavailable, or unknown.

The difference is the product. Each row is a conversation over a real socket with a server that does
exactly that.
"""

from __future__ import annotations

import contextlib
import gc
import gzip
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing import http
from artbot.redaction import REDACTED, register_secret
from tests.unit.service.kit import NOON, Request, Server, answers, http_answer, serve

SIGNATURE = "v1,c2lnbmF0dXJl"
HEADERS = {"Content-Type": "application/json", "webhook-signature": SIGNATURE}


def post_to(
    url: str,
    body: bytes,
    headers: dict[str, str],
    now: datetime,
    *,
    allow_private: bool = False,
    proxy: str | None = None,
    is_too_late: Callable[[], bool] = lambda: False,
) -> http.Answer:
    door = http.Door(allow_private, proxy)
    return door.request("POST", url, body, headers, now, is_too_late=is_too_late)


def post(url: str, body: bytes = b'{"a": 1}') -> http.Answer:
    return post_to(url, body, HEADERS, NOON, allow_private=True)


def verdict(url: str) -> tuple[str, DeliveryError | None]:
    try:
        post(url)
    except DeliveryError as error:
        return type(error).__name__, error
    return "delivered", None


def judged(url: str) -> str:
    return verdict(url)[0]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same patience as in life, in small."""
    monkeypatch.setattr(http, "CONNECT_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 0.3)
    monkeypatch.setattr(http, "DEADLINE_S", 0.6)


@contextlib.contextmanager
def an_end() -> Iterator[None]:
    """Receivers here drip for ever or stall for half a minute; nothing is measured."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 20


# What an answer's status means


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "delivered"),
        (201, "delivered"),
        (202, "delivered"),
        (204, "delivered"),
        (300, "Rejected"),
        (301, "Rejected"),
        (302, "Rejected"),
        (303, "Rejected"),
        (304, "Rejected"),
        (307, "Rejected"),
        (308, "Rejected"),
        (400, "Rejected"),
        (401, "Rejected"),
        (403, "Rejected"),
        (404, "Rejected"),
        (405, "Rejected"),
        (410, "Rejected"),
        (413, "Rejected"),
        (422, "Rejected"),
        (408, "Unavailable"),
        (425, "Unavailable"),
        (429, "Unavailable"),
        (503, "Unavailable"),
        (500, "OutcomeUnknown"),
        (501, "OutcomeUnknown"),
        (502, "OutcomeUnknown"),
        (504, "OutcomeUnknown"),
        (520, "OutcomeUnknown"),
        (599, "OutcomeUnknown"),
    ],
)
def test_a_status_is_judged(status: int, expected: str) -> None:
    with serve(answers(http_answer(status, b"" if status in (204, 304) else b"why"))) as server:
        kind, error = verdict(server.url)
    assert kind == expected
    assert error is None or error.status == status
    assert len(server.requests) == 1


def test_a_refusal_says_status_reason_and_what_the_receiver_wrote() -> None:
    with (
        serve(answers(http_answer(422, b"alt text\n  is missing"))) as server,
        pytest.raises(Rejected, match=r"^answered 422 Some Reason: alt text is missing$"),
    ):
        post(server.url)


def test_the_request_is_one_post_with_our_bytes_and_headers() -> None:
    body = "größer als ä".encode()
    with serve(answers(http_answer(200))) as server:
        post(server.url, body)
    (request,) = server.requests
    assert request.head == "POST /hook HTTP/1.1"
    assert request.body == body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-signature"] == SIGNATURE
    assert request.headers["user-agent"].startswith("artbot/")


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_its_target_never_hears_of_us(status: int) -> None:
    """requests would carry the signature along and, for 307 and 308, send the picture again."""
    with (
        serve(answers(http_answer(200))) as target,
        serve(answers(http_answer(status, Location=target.url))) as server,
    ):
        with pytest.raises(Rejected, match="redirect to http://127") as refused:
            post(server.url)
        assert refused.value.status == status
        time.sleep(0.05)
        assert (len(server.requests), target.num_connections) == (1, 0)


@pytest.mark.parametrize(
    "location", ["http://[::1", "//", "http://", "\xff\xfe", "http://a..b/", "x" * 5000, "\t"]
)
def test_a_malformed_redirect_is_refused_like_any_other(location: str) -> None:
    with serve(answers(http_answer(302, Location=location))) as server:
        kind, error = verdict(server.url)
    assert kind == "Rejected"
    assert len(str(error)) < 400


# Retry-After


def http_date(moment: datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


@pytest.mark.parametrize("status", [429, 503, 500, 502, 504])
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("-5", 0.0),
        (http_date(NOON + timedelta(minutes=3)), 180.0),
        (http_date(NOON - timedelta(minutes=3)), 0.0),
        ("99999999999", 99999999999.0),
        ("soon", None),
        ("", None),
        ("Sat, 32 Nov 2026 12:00:00 GMT", None),
    ],
)
def test_the_receivers_wish_to_wait_is_understood(
    status: int, header: str, expected: float | None
) -> None:
    with serve(answers(http_answer(status, Retry_After=header))) as server:
        _, error = verdict(server.url)
    assert error is not None
    assert error.retry_after_s == expected


def test_no_retry_after_is_no_wish() -> None:
    with serve(answers(http_answer(503))) as server:
        _, error = verdict(server.url)
    assert error is not None
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    "header",
    [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "\x00",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Sat, 21 Nov 2026 12:00:00",  # no zone
        "Sat, 21 Nov 2026 12:00:00 -0000",
        "Sat, 21 Nov 2026 12:00:00 +9999",
        "0 0 0 0 0",
        "Mon, 1 Jan 99999999999999999999 00:00:00 GMT",
        ",,,,",
        "9" * 400,
    ],
)
def test_an_absurd_retry_after_is_a_number_of_seconds_or_nothing(header: str) -> None:
    wait_s = http.retry_after_s(header, datetime(2026, 11, 21, tzinfo=UTC))
    assert wait_s is None or wait_s >= 0


# No connection


def a_port_where_nobody_listens() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_refused_connection_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"no connection: .*refused"):
        post(f"http://127.0.0.1:{a_port_where_nobody_listens()}/")


def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no connection"):
        post("http://receiver.invalid/")


@pytest.mark.usefixtures("impatient")
def test_a_host_that_does_not_pick_up_is_unavailable() -> None:
    """A full backlog: the kernel drops the third greeting."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            other = stack.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        time.sleep(0.05)
        with pytest.raises(Unavailable, match=r"no connection within 0\.3 s"):
            post(f"http://127.0.0.1:{listener.getsockname()[1]}/")


@pytest.mark.parametrize("url", ["http://a..b/", "http:///nohost", "http://127.0.0.1:99999/"])
def test_a_url_that_cannot_be_used_is_rejected(url: str) -> None:
    with pytest.raises(Rejected, match="URL"):
        post(url)


# Where to


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Names mean these addresses; returns the list of those connected to, which grows."""
    connected: list[str] = []

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        families = [socket.AF_INET6 if ":" in a else socket.AF_INET for a in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port))
            for family, address in zip(families, addresses, strict=True)
        ]

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(http.sockets, "create_connection", connect)
    return connected


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "addresses",
    [("127.0.0.1",), ("169.254.169.254",), ("10.0.0.7", "fd00::7"), ("64:ff9b::7f00:1",)],
)
def test_a_name_that_means_a_private_address_is_never_connected_to(
    monkeypatch: pytest.MonkeyPatch, scheme: str, addresses: tuple[str, ...]
) -> None:
    """Not for good: a router whose line is down answers with its own address for every name."""
    connected = resolving_to(monkeypatch, *addresses)
    with pytest.raises(
        Unavailable, match=r"receiver\.example is .*allow_private = true"
    ) as refused:
        post_to(f"{scheme}://receiver.example/", b"{}", HEADERS, NOON)
    assert addresses[0] in str(refused.value)
    assert connected == []


def test_of_several_addresses_only_the_public_ones_are_tried_each_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connected = resolving_to(monkeypatch, "192.168.0.1", "1.1.1.1", "2606:4700::1111")
    with pytest.raises(Unavailable, match="refused"):
        post_to("https://receiver.example/", b"{}", HEADERS, NOON)
    assert connected == ["1.1.1.1", "2606:4700::1111"]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0", "127.1", "127.0.0.1", "[::1]"])
def test_this_machine_in_any_spelling_is_refused_unless_it_is_meant(host: str) -> None:
    with serve(answers(http_answer(200))) as server:
        port = server.url.rpartition(":")[2]
        with pytest.raises(Unavailable):
            post_to(f"http://{host}:{port}", b"{}", HEADERS, NOON)
        assert server.requests == []


def test_the_name_is_looked_up_once_so_that_a_second_answer_cannot_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look_up, asked = socket.getaddrinfo, []

    def rebinding(host: str, port: int, *rest: object, **more: object) -> object:
        asked.append(host)
        real = "1.1.1.1" if len(asked) == 1 else "127.0.0.1"
        return look_up(real, port, type=socket.SOCK_STREAM)

    connected: list[str] = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(http.sockets, "create_connection", connect)
    with pytest.raises(Unavailable):
        post_to("http://receiver.example/", b"{}", HEADERS, NOON)
    assert (asked, connected) == (["receiver.example"], ["1.1.1.1"])


# The connection breaks


def close_at_once(connection: socket.socket, _: Request) -> None:
    """Nothing is said."""


def reset(connection: socket.socket, _: Request) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def stop_amid_the_status(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 2")


def stop_amid_the_headers(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")


def talk_nonsense(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def talk_binary(connection: socket.socket, _: Request) -> None:
    connection.sendall(bytes(range(256)) * 8)


def answer_with_a_word(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 OK fine\r\n\r\n")


def send_endless_headers(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        connection.sendall(b"x-%d: y\r\n" % number)


def send_one_huge_header(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n")


@pytest.mark.parametrize(
    "behaviour",
    [
        close_at_once,
        reset,
        stop_amid_the_status,
        talk_nonsense,
        talk_binary,
        answer_with_a_word,
        send_endless_headers,
        send_one_huge_header,
    ],
)
def test_without_a_whole_answer_nobody_knows(
    behaviour: Callable[[socket.socket, Request], None],
) -> None:
    with serve(behaviour) as server:
        kind, error = verdict(server.url)
    assert kind == "OutcomeUnknown"
    assert error is not None
    assert error.status is None
    assert 0 < len(str(error)) < 400


def test_a_status_line_alone_counts_even_if_the_headers_break_off() -> None:
    """http.client takes the end of the stream for the end of the headers; the status has been said."""
    with serve(stop_amid_the_headers) as server:
        assert judged(server.url) in ("delivered", "OutcomeUnknown")


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_never_comes_is_unknown_within_the_time_limit() -> None:
    def wait(connection: socket.socket, _: Request) -> None:
        connection.recv(1)

    with (
        serve(wait) as server,
        an_end(),
        pytest.raises(OutcomeUnknown, match=r"no answer within 0\.3 s"),
    ):
        post(server.url)
    assert len(server.requests) == 1


@pytest.mark.usefixtures("impatient")
def test_a_receiver_that_stops_reading_our_picture_is_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener, an_end():
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(OutcomeUnknown):
            post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"x" * 20_000_000)


# The body of an answer: the status has been said, so the status counts


def a_body(status: int, chunk: bytes, pause_s: float) -> Callable[[socket.socket, Request], None]:
    def answer(connection: socket.socket, _: Request) -> None:
        connection.sendall(
            b"HTTP/1.1 %d X\r\nContent-Length: 1000000000\r\nLocation: /x\r\n\r\n" % status
        )
        # No `closing` here: the test ends only if the sender hangs up.
        while True:
            connection.sendall(chunk)
            time.sleep(pause_s)

    return answer


def a_chunked_body(
    status: int, chunk: bytes, pause_s: float
) -> Callable[[socket.socket, Request], None]:
    def answer(connection: socket.socket, _: Request) -> None:
        connection.sendall(b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % status)
        while True:
            connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            time.sleep(pause_s)

    return answer


STATUS = pytest.mark.parametrize(
    ("status", "expected"),
    [(200, "delivered"), (302, "Rejected"), (400, "Rejected"), (503, "Unavailable")],
)
FRAMING = pytest.mark.parametrize("framing", [a_body, a_chunked_body])
Framing = Callable[[int, bytes, float], Callable[[socket.socket, Request], None]]


@STATUS
@FRAMING
def test_an_endless_body_is_cut_off_and_the_status_counts(
    framing: Framing, status: int, expected: str
) -> None:
    with serve(framing(status, b"x" * 65536, 0.0)) as server, an_end():
        kind, error = verdict(server.url)
    assert kind == expected
    assert error is None or len(str(error)) < 2 * http.EXCERPT_CHARS


@STATUS
@FRAMING
@pytest.mark.usefixtures("impatient")
def test_a_dripping_body_is_cut_off_at_the_deadline_and_the_status_counts(
    framing: Framing, status: int, expected: str
) -> None:
    """One byte at a time keeps every single read within its time limit."""
    with serve(framing(status, b"x", 0.05)) as server, an_end():
        assert judged(server.url) == expected


@STATUS
@FRAMING
@pytest.mark.usefixtures("impatient")
def test_a_body_that_stalls_is_cut_off_and_the_status_counts(
    framing: Framing, status: int, expected: str
) -> None:
    with serve(framing(status, b"x", 30.0)) as server, an_end():
        assert judged(server.url) == expected


@STATUS
def test_a_body_that_breaks_off_leaves_the_status(status: int, expected: str) -> None:
    cut = http_answer(status, b"abc" * 100)[:-50]
    with serve(answers(cut)) as server:
        assert judged(server.url) == expected


@STATUS
@pytest.mark.parametrize(
    "body",
    [b"not gzip at all", gzip.compress(b"x" * 1000)[:-20], gzip.compress(b"0" * 50_000_000)],
    ids=["no-gzip", "half-gzip", "gzip-bomb"],
)
def test_a_badly_packed_body_leaves_the_status(status: int, expected: str, body: bytes) -> None:
    with (
        serve(answers(http_answer(status, body, Content_Encoding="gzip"))) as server,
        an_end(),
    ):
        assert judged(server.url) == expected


@pytest.mark.usefixtures("impatient")
def test_dripping_headers_end_at_the_deadline_too() -> None:
    with serve(drip_headers) as server, an_end():
        assert judged(server.url) == "OutcomeUnknown"


# Given up: nothing is sent later, and nothing stays


def threads_and_sockets() -> tuple[set[threading.Thread], int]:
    """Of this process, the test's server included."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(descriptor.readlink()))
    return set(threading.enumerate()), sum(link.startswith("socket:") for link in links)


def happens(condition: Callable[[], object], seconds: float = 60) -> bool:
    give_up_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up_at:
            return False
        time.sleep(0.02)
    return True


def drip_headers(connection: socket.socket, _: Request) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
    while True:  # ends only if the sender hangs up
        connection.sendall(b"y")
        time.sleep(0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("drip", [drip_headers, a_body(200, b"x", 0.05)], ids=["headers", "body"])
def test_a_receiver_that_drips_keeps_no_thread_no_socket_and_no_picture(
    drip: Callable[[socket.socket, Request], None],
) -> None:
    picture = b"x" * 1_000_000
    with serve(drip) as server:
        threads, num_sockets = threads_and_sockets()
        num_holders = sys.getrefcount(picture)

        def is_all_gone() -> bool:
            gc.collect()
            now_threads, now_sockets = threads_and_sockets()
            return (
                now_threads <= threads
                and now_sockets <= num_sockets
                and sys.getrefcount(picture) <= num_holders
            )

        for _ in range(3):
            with contextlib.suppress(DeliveryError):
                post_to(server.url, picture, HEADERS, NOON, allow_private=True)
        assert happens(is_all_gone), threads_and_sockets()
        assert len(server.requests) == 3


@pytest.mark.usefixtures("impatient")
def test_a_handshake_that_drips_is_cut_off_and_nothing_was_sent() -> None:
    """No request can have been read."""
    ended = threading.Event()

    def drip(raw: socket.socket) -> socket.socket:
        with contextlib.suppress(OSError):
            raw.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # a ServerHello of 16 KiB
            while True:
                raw.sendall(b"y")
                time.sleep(0.05)
        ended.set()
        raise OSError

    with serve(answers(http_answer(200))) as server, an_end():
        server.wrap = drip
        with pytest.raises(Unavailable, match="no connection"):
            post(https(server))
        assert ended.wait(3)
        assert server.requests == []


@pytest.mark.usefixtures("impatient")
def test_a_name_that_is_found_too_late_is_never_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "LOOK_UP_TIMEOUT_S", 0.3, raising=False)
    look_up: Any = socket.getaddrinfo
    may_answer = threading.Event()

    def late(*question: object, **more: object) -> object:
        may_answer.wait(10)
        return look_up(*question, **more)

    with serve(answers(http_answer(200))) as server:
        before = set(threading.enumerate())
        monkeypatch.setattr(socket, "getaddrinfo", late)
        with an_end(), pytest.raises(Unavailable, match=r"was not found within 0\.3 s"):
            post(server.url)
        may_answer.set()
        assert happens(lambda: set(threading.enumerate()) <= before)
        time.sleep(0.2)
        assert server.num_connections == 0


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_is_too_late_once_the_connection_stands_sends_no_byte_of_the_request(
    certificate: Path, scheme: str
) -> None:
    """The machine slept while it connected."""
    serving = serve if scheme == "http" else partial(serve_tls, certificate)
    looks: list[int] = []

    def is_too_late() -> bool:
        looks.append(server.num_connections)
        return True

    with serving(answers(http_answer(200))) as server:
        url = server.url if scheme == "http" else https(server)
        with pytest.raises(Unavailable, match="not sent"):
            post_to(url, b"{}", HEADERS, NOON, allow_private=True, is_too_late=is_too_late)
        assert happens(lambda: server.num_connections)
        time.sleep(0.1)
        assert server.requests == []
    assert len(looks) == 1


@pytest.mark.usefixtures("impatient")
def test_what_is_given_up_amid_the_picture_ends_there() -> None:
    """The receiver reads slowly, so that no single send takes too long. Nor does the kernel go on sending
    what was handed to it."""
    picture, ended = b"x" * 40_000_000, threading.Event()
    received: list[int] = []

    def read_slowly(raw: socket.socket) -> socket.socket:
        with contextlib.suppress(OSError):
            while chunk := raw.recv(65536):
                received.append(len(chunk))
                time.sleep(0.01)
        ended.set()
        raise OSError

    with serve(answers(http_answer(200))) as server:
        server.wrap = read_slowly
        with an_end(), pytest.raises(OutcomeUnknown):
            post_to(server.url, picture, HEADERS, NOON, allow_private=True)
        assert ended.wait(5)
    assert sum(received) < len(picture) / 2


# What is kept of an answer


def test_the_excerpt_is_short_one_line_and_shows_no_secret() -> None:
    register_secret("c2VjcmV0IG9mIHRoZSBob29r")
    body = b"first\r\n\tsecond c2VjcmV0IG9mIHRoZSBob29r " + b"z" * 5000
    with serve(answers(http_answer(200, body))) as server:
        answer = post(server.url)
    assert answer.excerpt.startswith(f"first second {REDACTED} zzz")
    assert len(answer.excerpt) <= http.EXCERPT_CHARS


def test_bytes_that_are_no_text_do_not_matter() -> None:
    with serve(answers(http_answer(200, b"\xff\xfe\x00" * 10))) as server:
        assert post(server.url).status == 200


@pytest.mark.parametrize("status", [302, 400, 500])
def test_a_secret_echoed_by_the_receiver_is_not_repeated(status: int) -> None:
    register_secret("ZWNob2VkIHNlY3JldA==")
    echo = http_answer(status, b"got ZWNob2VkIHNlY3JldA==", Location="/?s=ZWNob2VkIHNlY3JldA==")
    with serve(answers(echo)) as server:
        _, error = verdict(server.url)
    assert "ZWNob2VkIHNlY3JldA" not in str(error)


# What the environment may not do


def test_proxies_and_passwords_of_the_environment_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login anna password geheim\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with (
        serve(answers(http_answer(200))) as proxy,
        serve(answers(http_answer(200))) as server,
    ):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        post(server.url)
        assert (len(server.requests), proxy.num_connections) == (1, 0)
    assert "authorization" not in server.requests[0].headers


def test_cookies_are_not_carried_from_one_request_to_the_next() -> None:
    with serve(answers(http_answer(200, Set_Cookie="a=b; Path=/"))) as server:
        post(server.url)
        post(server.url)
    assert "cookie" not in server.requests[1].headers


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, its key in the same file."""
    pem = tmp_path_factory.mktemp("tls") / "server.pem"
    made = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(pem), "-out", f"{pem}.crt"]
    subprocess.run(["openssl", "req", *made, *names, *files], check=True, capture_output=True)
    pem.write_text(pem.read_text() + Path(f"{pem}.crt").read_text())
    return pem


@contextlib.contextmanager
def serve_tls(
    certificate: Path, answer: Callable[[socket.socket, Request], None]
) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serve(answer) as server:
        server.wrap = lambda raw: context.wrap_socket(raw, server_side=True)
        yield server


def https(server: Server) -> str:
    return server.url.replace("http://", "https://")


def test_a_certificate_nobody_vouches_for_is_unavailable_and_nothing_is_sent(
    certificate: Path,
) -> None:
    with serve_tls(certificate, answers(http_answer(200))) as server:
        with pytest.raises(Unavailable, match=r"TLS failed: .*certificate"):
            post(https(server))
        assert server.requests == []


def test_a_server_that_speaks_no_tls_is_unavailable_and_nothing_is_sent() -> None:
    """OpenSSL says the same of encryption that breaks after the request: what counts is what was sent."""

    def greet(raw: socket.socket) -> socket.socket:
        raw.sendall(b"220 mail.example.org ESMTP\r\n")
        return raw

    with serve(answers(http_answer(200))) as server:
        server.wrap = greet
        with pytest.raises(Unavailable, match="TLS failed"):
            post(https(server))
        assert server.requests == []


@pytest.fixture
def trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test's certificate be vouched for, as the world's authorities do for others."""
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))


@pytest.mark.usefixtures("trusting")
def test_a_certificate_that_is_vouched_for_is_accepted(certificate: Path) -> None:
    with serve_tls(certificate, answers(http_answer(200))) as server:
        assert judged(https(server)) == "delivered"


def test_who_only_looks_whether_a_receiver_is_there_sends_nothing(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And learns all that can go wrong before."""
    door = http.Door(allow_private=True)
    with serve_tls(certificate, answers(http_answer(200))) as server:
        url = https(server)
        with pytest.raises(Unavailable, match=r"TLS failed: .*certificate"):
            door.reach(url, NOON)
        monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(certificate))
        door.reach(url, NOON)
        with pytest.raises(Unavailable, match="no public address"):
            http.Door().reach(url, NOON)
    assert server.requests == []
    with pytest.raises(Unavailable, match="no connection"):
        door.reach(url, NOON)
    with pytest.raises(Rejected, match="cannot be used"):
        door.reach("http://[::1", NOON)


@pytest.mark.usefixtures("trusting")
def test_a_public_receiver_is_talked_to_under_its_own_name(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address that was judged is connected to; Host and certificate are the name's."""
    monkeypatch.setattr(http, "is_public", lambda address: True)
    with serve(answers(http_answer(200))) as plain:
        port = plain.url.partition("/hook")[0].rpartition(":")[2]
        assert post_to(f"http://localhost:{port}/", b"{}", HEADERS, NOON).status == 200
        assert plain.requests[0].headers["host"] == f"localhost:{port}"
    with serve_tls(certificate, answers(http_answer(200))) as server:
        assert post_to(https(server), b"{}", HEADERS, NOON).status == 200
        with pytest.raises(Unavailable, match="certificate"):
            post_to(https(server).replace("127.0.0.1", "localhost"), b"{}", HEADERS, NOON)


def corrupt_the_encryption(connection: socket.socket, _: Request) -> None:
    os.write(connection.fileno(), b"this is no TLS record")


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize(
    "behaviour",
    [
        close_at_once,
        reset,
        corrupt_the_encryption,
    ],
)
def test_an_encrypted_connection_that_breaks_after_the_request_is_unknown(
    certificate: Path, behaviour: Callable[[socket.socket, Request], None]
) -> None:
    """The picture has been received; a TLS error in place of the answer does not take it back."""
    with serve_tls(certificate, behaviour) as server:
        assert judged(https(server)) == "OutcomeUnknown"
    assert len(server.requests) == 1


# Through a proxy, if the channel says so


def through(proxy: str, url: str = "http://receiver.example/hook") -> http.Answer:
    return post_to(url, b"{}", HEADERS, NOON, proxy=proxy)


def test_a_channels_proxy_is_used_and_looks_the_receiver_up_itself() -> None:
    with serve(answers(http_answer(200, b"passed on"))) as proxy:
        assert through(proxy.url).excerpt == "passed on"
    assert proxy.requests[0].head.startswith("POST http://receiver.example/hook HTTP/1.1")


def test_a_proxy_that_refuses_the_tunnel_or_is_away_has_let_nothing_through() -> None:
    with serve(answers(http_answer(407))) as proxy:
        with pytest.raises(Unavailable, match="through the proxy"):
            through(proxy.url, "https://receiver.example/hook")
        assert proxy.requests[0].head.startswith("CONNECT receiver.example:443")
    with pytest.raises(Unavailable, match="through the proxy"):
        through("http://127.0.0.1:1")


def test_a_tunnel_that_leads_nowhere_has_let_nothing_through() -> None:
    """The proxy says 200 and hangs up: only CONNECT was sent, nothing of the request."""
    with serve(answers(b"HTTP/1.1 200 Connection established\r\n\r\n")) as proxy:
        with pytest.raises(Unavailable):
            through(proxy.url, "https://receiver.example/hook")
        (request,) = proxy.requests
    assert request.head.startswith("CONNECT receiver.example:443")


def test_a_proxy_that_takes_the_request_and_hangs_up_is_unknown() -> None:
    with serve(close_at_once) as proxy, pytest.raises(OutcomeUnknown):
        through(proxy.url)


def test_the_environments_proxy_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(answers(http_answer(200))) as proxy, serve(answers(http_answer(200))) as receiver:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert judged(receiver.url) == "delivered"
        assert proxy.num_connections == 0

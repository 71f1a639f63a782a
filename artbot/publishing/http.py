"""The one door to the network: every request artbot makes goes through `Door.request`.

No redirects (requests would carry a signature and re-send a picture to wherever it is told to), no
proxy but the channel's own, no passwords taken from the environment, no private address unless the channel says so, bounded
time and answer, and every way a request can end sorted into the three that matter (artbot.errors).

What was given up posts nothing later: whoever waits for the answer sends the request itself, piece by
piece, looks at the clock before each, and cuts the connection off when it gives up. All that may be left
behind is the question after a name, which holds nothing that could be sent.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Lock, Thread, Timer
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
)
from urllib3.util import connection as sockets

from artbot import __version__
from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.address import is_public
from artbot.redaction import redact

LOOK_UP_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
DEADLINE_S = 30.0
"""For all but the last read, which may take READ_TIMEOUT_S more."""
PIECE_BYTES = 64 * 1024
"""So much is sent between two looks at the clock."""
MAX_ANSWER_BYTES = 64 * 1024
EXCERPT_CHARS = 500
TRY_AGAIN_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_DISCARD = struct.pack("ii", 1, 0)
"""SO_LINGER: on closing, drop what is not sent yet and reset the connection (socket(7))."""


Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    reason: str
    headers: Mapping[str, str]
    """Names of any case."""
    content: bytes
    """The body, or as much of it as was asked for."""

    @property
    def excerpt(self) -> str:
        """The beginning of its body, redacted; for the log."""
        text = self.content[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
        return _one_line(text)[:EXCERPT_CHARS]

    @property
    def said(self) -> str:
        """Status, reason and excerpt, for a message."""
        status = f"{self.status} {_one_line(self.reason)}".strip()
        return f"{status}: {self.excerpt}" if self.excerpt else status

    def object(self) -> dict[str, Json]:
        """The body as a JSON object. Raises OutcomeUnknown if it is none: it says nothing then."""
        try:
            found = json.loads(self.content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise OutcomeUnknown(f"the answer is no JSON object: {self.said}", status=self.status)
        return found

    def array(self) -> list[Json]:
        """The body as a JSON array. Raises OutcomeUnknown."""
        try:
            found = json.loads(self.content)
        except ValueError:
            found = None
        if not isinstance(found, list):
            raise OutcomeUnknown(f"the answer is no JSON array: {self.said}", status=self.status)
        return found


class _Conversation:
    """One request: how long it may take, whether any of it was sent, and a hand on its connection.

    A receiver that drips its handshake or headers keeps within every single timeout, so a timer cuts the
    connection off once all time is up.
    """

    def __init__(self, is_too_late: Callable[[], bool], may_be_private: bool) -> None:
        self.is_too_late = is_too_late
        self.may_be_private = may_be_private
        self.has_begun = False
        """Whether the other side may have read anything of the request."""
        self.is_cut_off = False
        self.limit_s = DEADLINE_S + READ_TIMEOUT_S
        self._began_s = _seconds()
        self._lock = Lock()
        self._hand: socket.socket | None = None
        self._timer = Timer(self.limit_s, self._cut_off)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        try:
            self._timer.start()
        except RuntimeError as error:
            raise Unavailable(f"not sent: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        """However it ended: nothing more of it is sent, and no thread and no socket stays."""
        self._timer.cancel()
        self._timer.join()
        if self._hand is not None:
            if kind is not None:
                with suppress(OSError):
                    self._hand.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD)
            self._hand.close()

    def took_s(self) -> float:
        return _seconds() - self._began_s

    def hold(self, connection: socket.socket) -> None:
        """Keep a hand on the connection, whoever wraps or closes it. Raises Unavailable if it came too late."""
        with self._lock:
            if self.is_cut_off:
                raise Unavailable(f"no connection within {self.limit_s:g} s")
            self._hand = connection.dup()

    def begin(self) -> None:
        """To be called at the last moment before the first byte. Raises Unavailable: then none is sent."""
        if self.is_too_late():
            raise Unavailable(
                "not sent: when the connection stood, too much time had gone by since the claim"
            )
        self.go_on()
        self.has_begun = True

    def go_on(self) -> None:
        """To be called before every piece. Raises Unavailable, OutcomeUnknown: then it is not sent."""
        if self.took_s() > self.limit_s:
            kind = OutcomeUnknown if self.has_begun else Unavailable
            raise kind(f"given up: not sent within {self.limit_s:g} s")

    def _cut_off(self) -> None:
        with self._lock:
            self.is_cut_off = True
            if self._hand is not None:
                with suppress(OSError):  # the other side was quicker
                    self._hand.shutdown(socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    """Connects to the very addresses that were looked up and judged; asks before it sends anything."""

    def __init__(self, *args: Any, conversation: _Conversation, **options: Any) -> None:
        super().__init__(*args, **options)
        self._conversation = conversation

    def _new_conn(self) -> socket.socket:
        addresses = self._look_up()
        allowed = [a for a in addresses if self._conversation.may_be_private or is_public(a)]
        if not allowed:
            # No refusal for good: a router whose line is down answers so for every name.
            raise Unavailable(
                f"not sent: {self.host} is {' and '.join(addresses)}, no public address. If the receiver "
                "is on this machine or in your own network, say allow_private = true for the channel"
            )
        failures: list[HTTPError] = []
        for address in allowed:
            self._conversation.go_on()
            try:
                connection = sockets.create_connection(
                    (address, self.port), self.timeout, socket_options=self.socket_options
                )
            except TimeoutError:
                failures.append(ConnectTimeoutError(self, f"{address} does not answer"))
            except OSError as error:
                failures.append(NewConnectionError(self, str(error)))
            else:
                try:
                    self._conversation.hold(connection)
                except BaseException:
                    connection.close()
                    raise
                return connection
        raise failures[-1]

    def _look_up(self) -> list[str]:
        """The addresses of the host. A resolver cannot be interrupted: it is asked in a thread of its
        own, which ends when it answers, to nobody if that is too late."""
        found: Future[list[Any]] = Future()
        question = partial(socket.getaddrinfo, self._dns_host, self.port, type=socket.SOCK_STREAM)
        Thread(target=_fulfil, args=(found, question), daemon=True).start()
        try:
            entries = found.result(LOOK_UP_TIMEOUT_S)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except UnicodeError as error:
            raise LocationParseError(f"{self.host!r}, {error}") from error
        except TimeoutError as error:
            raise Unavailable(
                f"no connection: {self.host} was not found within {LOOK_UP_TIMEOUT_S:g} s"
            ) from error
        return list(dict.fromkeys(str(entry[4][0]) for entry in entries))

    def endheaders(self, *args: Any, **options: Any) -> None:
        """From here on the request itself is sent. (To a proxy, CONNECT went another way.)"""
        if self.sock is None:
            self.connect()  # else the first byte would do it, after the look at the clock
        self._conversation.begin()
        super().endheaders(*args, **options)

    def send(self, data: Any) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            self._conversation.go_on()
            super().send(data[start : start + PIECE_BYTES])


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Adapter(HTTPAdapter):
    """Has every connection made by `_Connection`, for this conversation."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools()

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._pools()
        return manager

    def _pools(self) -> Any:
        return {
            "http": partial(_pool, HTTPConnectionPool, _Connection, self._conversation),
            "https": partial(_pool, HTTPSConnectionPool, _TlsConnection, self._conversation),
        }


def _pool(
    kind: Any,
    connection: type[_Connection],
    conversation: _Conversation,
    *args: Any,
    **options: Any,
) -> Any:
    pool = kind(*args, **options)
    pool.ConnectionCls = partial(connection, conversation=conversation)
    return pool


class _Session(requests.Session):
    """Knows no redirects.

    Even with allow_redirects=False requests prepares the next request: it reads the whole body of the
    redirect, however long, and fails on a malformed Location (Session.send, resolve_redirects).
    """

    def __init__(self, conversation: _Conversation, proxy: str | None) -> None:
        super().__init__()
        self.trust_env = False
        self.proxies = {} if proxy is None else {"http": proxy, "https": proxy}
        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter(conversation))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def judge(answer: Answer, now: datetime) -> None:
    """What an answer means by its status (RFC 9110, section 15): nothing for 2xx.

    Raises Rejected (3xx, 4xx), Unavailable (408, 425, 429, 503), OutcomeUnknown (any other 5xx).
    """
    status = answer.status
    if 200 <= status < 300:
        return
    if status in TRY_AGAIN_STATUS:
        wait_s = retry_after_s(answer.headers.get("Retry-After"), now)
        # 500, 502 and 504 say nothing about what happened before the error.
        kind = Unavailable if status in (408, 425, 429, 503) else OutcomeUnknown
        raise kind(f"answered {answer.said}", status=status, retry_after_s=wait_s)
    if 300 <= status < 400:
        to = answer.headers.get("Location", "nowhere")
        raise Rejected(
            f"answered {status}, a redirect to {_one_line(to)[:200]}; redirects are not followed: "
            "put the final address into `url`",
            status=status,
        )
    if status >= 500:
        raise OutcomeUnknown(f"answered {answer.said}", status=status)
    raise Rejected(f"answered {answer.said}", status=status)


@dataclass(frozen=True)
class Door:
    """How one channel reaches its receiver."""

    allow_private: bool = False
    """Also on this machine and in private networks."""
    proxy: str | None = None
    """A URL that everything goes through; then it is the proxy that looks the receiver up, and no address
    is judged here."""

    def request(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        now: datetime,
        *,
        judge: Callable[[Answer, datetime], None] = judge,
        is_too_late: Callable[[], bool] = lambda: False,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """One request; returns the answer if `judge` takes it, a 2xx unless told otherwise.

        `is_too_late`: asked once the connection stands, before the first byte; then none is sent.

        Raises Rejected (3xx, 4xx, a URL that is none: as it stands it will never be taken), Unavailable
        (certainly not taken: nothing was sent, or an answer that says so), OutcomeUnknown (sent, but the
        answer never came or says nothing certain).
        """
        may_be_private = self.allow_private or self.proxy is not None
        with _Conversation(is_too_late, may_be_private) as conversation:
            answer = _converse(
                conversation, method, url, body, headers, self.proxy, max_answer_bytes
            )
        judge(answer, now)
        return answer

    def reach(self, url: str, now: datetime) -> None:
        """Connect, with all that is looked at before anything is sent (the name, the address, TLS), and send
        nothing. Raises Rejected (a URL that is none), Unavailable."""
        with suppress(_Reached):
            self.request("GET", url, None, {}, now, is_too_late=_stop_there)


class _Reached(Unavailable):
    """The connection stands; nothing of the request was sent."""


def _stop_there() -> bool:
    raise _Reached("the connection stands")


def _converse(
    conversation: _Conversation,
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str],
    proxy: str | None,
    max_answer_bytes: int,
) -> Answer:
    """One request and the beginning of its answer's body."""
    try:
        with (
            _Session(conversation, proxy) as session,
            session.request(
                method,
                url,
                data=body,
                headers={"User-Agent": f"artbot/{__version__}", **headers},
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            ) as response,
        ):
            # http.client takes the end of the stream for the end of the headers.
            if conversation.is_cut_off:
                raise OutcomeUnknown(f"no whole answer within {conversation.limit_s:g} s")
            content = _read(response, conversation, max_answer_bytes)
            return Answer(response.status_code, response.reason or "", response.headers, content)
    except DeliveryError:
        raise
    except (requests.exceptions.InvalidURL, LocationParseError) as error:
        raise Rejected(f"the URL cannot be used: {_reason(error)}") from error
    except Exception as error:  # whatever it was, what counts is whether anything was sent
        kind = OutcomeUnknown if conversation.has_begun else Unavailable
        raise kind(_what_happened(error, conversation)) from error


def _what_happened(error: Exception, conversation: _Conversation) -> str:
    has_begun = conversation.has_begun
    if conversation.is_cut_off:
        return (
            f"no {'whole answer' if has_begun else 'connection'} within {conversation.limit_s:g} s"
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    if isinstance(error, requests.exceptions.ReadTimeout) and has_begun:
        return f"no answer within {READ_TIMEOUT_S:g} s"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"no connection through the proxy: {_reason(error)}"
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed: {_reason(error)}"
    if not isinstance(error, requests.exceptions.RequestException | HTTPError | OSError):
        return f"unexpected {type(error).__name__}: {_reason(error)}"
    return f"{'the connection broke off' if has_begun else 'no connection'}: {_reason(error)}"


def _fulfil(promised: Future[list[Any]], question: Callable[[], list[Any]]) -> None:
    try:
        promised.set_result(question())
    except BaseException as error:  # raised again by whoever waits for the result
        promised.set_exception(error)


def _seconds() -> float:
    """Of a clock that nobody sets and that, on Linux, goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds asked for by a Retry-After header (RFC 9110, section 10.2.3), None if it says nothing."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (ValueError, TypeError, OverflowError):  # not a date, or one without a zone
        return None


def _read(response: requests.Response, conversation: _Conversation, max_bytes: int) -> bytes:
    """The beginning of the answer. An endless or dripping one is cut off: the status is what counts."""
    content = b""
    try:
        # read1 returns what has come so far; read and iter_content wait for a whole chunk.
        while len(content) < max_bytes and conversation.took_s() < DEADLINE_S:
            chunk = response.raw.read1(4096, decode_content=True)
            if not chunk:
                break
            content += chunk
    except (HTTPError, OSError):
        pass  # it broke off or is badly packed
    return content


def _one_line(text: str) -> str:
    """Redacted, and harmless to a log or a terminal: no control characters."""
    shown = "".join(c if c.isprintable() else " " for c in redact(text))
    return " ".join(shown.split())


def _reason(error: BaseException) -> str:
    """The innermost message of a chain of wrapped errors, without object addresses, redacted."""
    cause: object = error
    while (
        isinstance(cause, BaseException)
        and cause.args
        and isinstance(cause.args[-1], BaseException)
    ):
        cause = cause.args[-1]
    reason = getattr(cause, "reason", None) or cause
    text = str(reason)
    # urllib3 begins with the connection it speaks of: `HTTPConnection(host=…): ` or `<… at 0x…>: `.
    return redact(re.sub(r"^(\w+\(.*?\)|.*>): ", "", text))[:300]

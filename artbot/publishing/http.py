"""The one door to the network: every request artbot makes goes through `post`.

No redirects (requests would carry a signature and re-send a picture to wherever it is told to), no
proxy but the channel's own, no passwords taken from the environment, no private address unless the channel says so, bounded
time and answer, and every way a request can end sorted into the three that matter (artbot.errors).
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from threading import Thread
from typing import Any

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
from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.address import is_public
from artbot.redaction import redact

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
DEADLINE_S = 30.0
MAX_ANSWER_BYTES = 64 * 1024
EXCERPT_CHARS = 500
TRY_AGAIN_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Answer:
    """A 2xx answer."""

    status: int
    excerpt: str
    """The beginning of its body, redacted; for the log."""


class _Session(requests.Session):
    """Knows no redirects.

    Even with allow_redirects=False requests prepares the next request: it reads the whole body of the
    redirect, however long, and fails on a malformed Location (Session.send, resolve_redirects).
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


class _NotPublic(Exception):  # no OSError: urllib3 would make that another's
    """Every address of the host is a private one."""


class _PublicConnection(HTTPConnection):
    """Connects to public addresses alone: to the very ones that were looked up and judged."""

    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        try:
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        public = [address for address in addresses if is_public(address)]
        if not public:
            raise _NotPublic(f"{self.host} is {' and '.join(addresses)}")
        failures: list[HTTPError] = []
        for address in public:
            try:
                return sockets.create_connection(
                    (address, self.port), self.timeout, socket_options=self.socket_options
                )
            except TimeoutError:
                failures.append(ConnectTimeoutError(self, f"{address} does not answer"))
            except OSError as error:
                failures.append(NewConnectionError(self, str(error)))
        raise failures[-1]


class _PublicTlsConnection(_PublicConnection, HTTPSConnection):
    pass


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicTlsPool(HTTPSConnectionPool):
    ConnectionCls = _PublicTlsConnection


class _PublicAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicPool, "https": _PublicTlsPool}


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    now: datetime,
    *,
    allow_private: bool = False,
    proxy: str | None = None,
) -> Answer:
    """POST `body`; returns the answer if it is a 2xx.

    `allow_private`: also to this machine and to private networks. `proxy`: a URL that everything goes
    through; then it is the proxy that looks the receiver up, and no address is judged here.

    Raises Rejected (3xx, 4xx, a private address: as it stands it will never be taken), Unavailable
    (certainly not taken: no connection, or an answer that says so), OutcomeUnknown (sent, but the
    answer never came or says nothing certain).
    """
    # A receiver that drips its handshake or headers keeps within every single timeout. So the
    # conversation has its own thread, which is left behind once all time is up.
    ended: Future[tuple[requests.Response, str]] = Future()
    talk = partial(_converse, url, body, headers, allow_private, proxy)
    Thread(target=_fulfil, args=(ended, talk), daemon=True).start()
    limit_s = DEADLINE_S + READ_TIMEOUT_S
    try:
        response, excerpt = ended.result(limit_s)
    except TimeoutError as error:
        raise OutcomeUnknown(f"no whole answer within {limit_s:g} s") from error
    return _judge(response, excerpt, now)


def _fulfil(
    ended: Future[tuple[requests.Response, str]],
    talk: Callable[[], tuple[requests.Response, str]],
) -> None:
    try:
        ended.set_result(talk())
    except BaseException as error:  # raised again by whoever waits for the result
        ended.set_exception(error)


def _converse(
    url: str, body: bytes, headers: Mapping[str, str], allow_private: bool, proxy: str | None
) -> tuple[requests.Response, str]:
    """One request and the beginning of its answer's body."""
    started = time.monotonic()
    with _Session() as session:
        session.trust_env = False
        if proxy is not None:
            session.proxies = {"http": proxy, "https": proxy}
        elif not allow_private:
            session.mount("http://", _PublicAdapter())
            session.mount("https://", _PublicAdapter())
        try:
            response = session.post(
                url,
                data=body,
                headers={"User-Agent": f"artbot/{__version__}", **headers},
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return response, _read_excerpt(response, started)
        except requests.exceptions.ConnectTimeout as error:
            raise Unavailable(f"no connection within {CONNECT_TIMEOUT_S:g} s") from error
        except requests.exceptions.ReadTimeout as error:
            raise OutcomeUnknown(f"no answer within {READ_TIMEOUT_S:g} s") from error
        except requests.exceptions.ProxyError as error:  # raised only until it has let us through
            raise Unavailable(f"no connection through the proxy: {_reason(error)}") from error
        except requests.exceptions.SSLError as error:
            # Only a refused certificate is certain to come before the request.
            kind = Unavailable if "CERTIFICATE_VERIFY_FAILED" in str(error) else OutcomeUnknown
            raise kind(f"TLS failed: {_reason(error)}") from error
        except _NotPublic as error:
            raise Rejected(
                f"not sent: {error}, no public address. If the receiver is on this machine or in your "
                "own network, say allow_private = true for the channel"
            ) from error
        except requests.exceptions.ConnectionError as error:
            if _never_connected(error):
                raise Unavailable(f"no connection: {_reason(error)}") from error
            raise OutcomeUnknown(f"the connection broke off: {_reason(error)}") from error
        except (requests.exceptions.InvalidURL, LocationParseError) as error:
            raise Rejected(f"the URL cannot be used: {_reason(error)}") from error
        except requests.exceptions.RequestException as error:
            raise OutcomeUnknown(f"{type(error).__name__}: {_reason(error)}") from error


def _judge(response: requests.Response, excerpt: str, now: datetime) -> Answer:
    status = response.status_code
    said = f"{status} {_one_line(response.reason or '')}".strip() + (
        f": {excerpt}" if excerpt else ""
    )
    if 200 <= status < 300:
        return Answer(status, excerpt)
    if status in TRY_AGAIN_STATUS:
        wait_s = retry_after_s(response.headers.get("Retry-After"), now)
        # 500, 502 and 504 say nothing about what happened before the error.
        kind = Unavailable if status in (408, 425, 429, 503) else OutcomeUnknown
        raise kind(f"answered {said}", status=status, retry_after_s=wait_s)
    if 300 <= status < 400:
        to = response.headers.get("Location", "nowhere")
        raise Rejected(
            f"answered {status}, a redirect to {_one_line(to)[:200]}; redirects are not followed: "
            "put the final address into `url`",
            status=status,
        )
    if status >= 500:
        raise OutcomeUnknown(f"answered {said}", status=status)
    raise Rejected(f"answered {said}", status=status)


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


def _read_excerpt(response: requests.Response, started: float) -> str:
    """The beginning of the answer. An endless or dripping one is cut off: the status is what counts."""
    content = b""
    try:
        # read1 returns what has come so far; read and iter_content wait for a whole chunk.
        while len(content) < MAX_ANSWER_BYTES and time.monotonic() - started < DEADLINE_S:
            chunk = response.raw.read1(4096, decode_content=True)
            if not chunk:
                break
            content += chunk
    except (HTTPError, OSError):
        pass  # it broke off or is badly packed
    return _one_line(content[: 4 * EXCERPT_CHARS].decode("utf-8", "replace"))[:EXCERPT_CHARS]


def _one_line(text: str) -> str:
    """Redacted, and harmless to a log or a terminal: no control characters."""
    shown = "".join(c if c.isprintable() else " " for c in redact(text))
    return " ".join(shown.split())


def _never_connected(error: requests.exceptions.ConnectionError) -> bool:
    """Whether it failed before any byte of the request could have been read by the other side."""
    from urllib3.exceptions import NameResolutionError, NewConnectionError

    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, NewConnectionError | NameResolutionError)


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

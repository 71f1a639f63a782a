"""What stands between the socket and the pages: refuses, before anything is looked at, what must not come in.

| refused | because | status |
|---|---|---|
| a Host that is not on the list | another site's name that was pointed at this address (DNS rebinding) | 421 |
| a POST from another origin, or from none | another site's page that the person has open (CSRF) | 403 |
| a body that is too large, too slow, or no form | nobody who means well sends it | 413, 408, 415 |
| everything without a session, but the login | | 401 |

And what goes out says what a browser may do with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artbot.domain.text import plain
from artbot.web.logins import Logins, Session

MOST_BYTES = 262_144
"""Of a form: the words of a work and what was seen of five hundred are a quarter of it."""
MOST_FIELDS = 2_000
BODY_S = 10.0
"""Within which a form has to arrive."""
OPEN_TO_ALL = ("/login", "/static/")
"""What is answered without a session."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_HSTS = "max-age=31536000"

log = logging.getLogger("artbot.web")


class Refused(Exception):
    """Not looked at any further."""

    def __init__(self, status: int, words: str, kind: str = "forbidden") -> None:
        super().__init__(words)
        self.status = status
        self.kind = kind


@dataclass(frozen=True)
class Guard:
    """Wraps the application, which sees nothing of what is refused here."""

    app: ASGIApp
    origins: Mapping[str, str]
    """Of every Host that is answered."""
    logins: Logins
    answer: Callable[[Request, Refused], Response]
    """What who is refused gets to see."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        origin = self.origins.get(request.headers.get("host", ""))
        status = 0

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if origin is not None and origin.startswith("https:"):
                    headers["Strict-Transport-Security"] = _HSTS
            await send(message)

        state = scope.setdefault("state", {})
        state["session"], state["cookie"] = None, ""
        app = self.app
        try:
            if origin is None or len(request.headers.getlist("host")) != 1:
                raise Refused(
                    421,
                    "this page is not served under that name. artbot.toml names those that are: allow_hosts under [web].",
                )
            state["cookie"] = cookie_of(origin)
            if request.method not in ("GET", "HEAD"):
                check_origin(request.headers, origin)
            state["session"] = self._session(request, state["cookie"])
            is_open = request.url.path.startswith(OPEN_TO_ALL)
            if state["session"] is None and not is_open:
                raise Refused(401, "log in first: artbot review --web gives you a link.", "login")
        except Refused as refused:
            app = self.answer(request, refused)
        try:
            await app(scope, receive, send_guarded)
        except Exception:
            if not status:  # nobody has answered yet: the server does
                raise
            log.exception("a bug of artbot's")
        finally:
            if request.method not in ("GET", "HEAD") or status >= 400:
                log.info("%s %s %d%s", *_words(request, status, state["session"]))

    def _session(self, request: Request, cookie: str) -> Session | None:
        session_id = request.cookies.get(cookie, "")
        return self.logins.find(session_id) if session_id else None


def cookie_of(origin: str) -> str:
    """Browsers keep a `__Host-` cookie only over https, for this host alone, for every path. On one machine cookies
    do not tell ports apart: the name does, so that two workplaces can be open beside each other."""
    parts = urlsplit(origin)
    return "__Host-artbot" if parts.scheme == "https" else f"artbot-{parts.port or 80}"


def check_origin(headers: Headers, origin: str) -> None:
    """A browser says where a POST comes from; who says nothing is no browser of ours. Raises Refused.

    A form of a page with no-referrer is sent with `Origin: null`, as sandboxed pages are (Fetch, "append a request
    Origin header"); Sec-Fetch-Site, which no page can set, tells these from each other.
    """
    site, named = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and named is None:
        raise Refused(403, "a browser has to say where this comes from (Origin, Sec-Fetch-Site).")
    is_ours = site in (None, "same-origin")
    if named is not None and not (named == "null" and site is not None):
        is_ours = is_ours and named == origin
    if not is_ours:
        raise Refused(403, "this was sent by another site's page.")


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a form, each with its values. Raises Refused."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "send a form: application/x-www-form-urlencoded.", "usage")
    length = request.headers.get("content-length", "0")
    body = bytearray()
    try:
        if int(length) > MOST_BYTES:
            raise Refused(413, f"a form has at most {MOST_BYTES:,} bytes.", "usage")
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise Refused(413, f"a form has at most {MOST_BYTES:,} bytes.", "usage")
        fields = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except TimeoutError as error:
        raise Refused(408, "the form did not arrive in time.", "usage") from error
    except (ValueError, ClientDisconnect) as error:
        raise Refused(400, "that is no form of this page.", "usage") from error
    form: dict[str, list[str]] = {}
    for name, value in fields:
        form.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return form


def _words(request: Request, status: int, session: Session | None) -> tuple[str, str, int, str]:
    """For the log: without the query, and nothing in it that could begin another line."""
    path = plain(request.url.path)
    by = f" by {plain(session.by)}" if session else ""
    return plain(request.method), path[:200], status, by

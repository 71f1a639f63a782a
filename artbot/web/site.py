"""What the pages have in common: the workplace, who is in, the templates, and how a refusal looks."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from artbot.desk import AltTextWanted, Desk
from artbot.domain.text import plain
from artbot.errors import (
    ArtbotError,
    NotAllowed,
    PictureChanged,
    Stale,
    UsageError,
)
from artbot.review.decisions import Author
from artbot.telling import local_time
from artbot.web.facts import Common, answer, local_path, picture_url, wants_json
from artbot.web.guard import Refused
from artbot.web.logins import Logins, Session
from artbot.workplace import Workplace
from db.engine import DatabaseUnusable

HERE = Path(__file__).parent
VIA = "web"

log = logging.getLogger("artbot.web")


@dataclass(frozen=True)
class Site:
    """One page of one workplace."""

    workplace: Workplace
    logins: Logins
    templates: Environment
    end: Callable[[], None]
    """Ends the process that serves it, once what is in hand is answered."""

    def desk(self, request: Request) -> Desk:
        """Of the person who asks."""
        return Desk(self.workplace, self.author(request))

    def author(self, request: Request) -> Author:
        return Author(by=session_of(request).by, via=VIA)

    def common(self, request: Request, notice: str = "") -> Common | None:
        """None: nobody is logged in."""
        session: Session | None = request.scope["state"]["session"]
        if session is None:
            return None
        keys = self.workplace.settings.keys
        return Common(
            who=session.by,
            csrf=session.csrf,
            notice=notice or self.logins.take_notice(session),
            keys=keys.of_keys,
            is_keys_off=keys.off if session.is_keys_off is None else session.is_keys_off,
        )

    def page(
        self,
        request: Request,
        name: str,
        status: int = 200,
        notice: str = "",
        **context: Any,
    ) -> Response:
        """The template of that name with what it needs, and `common`; `notice` instead of what waits to be told."""
        common = self.common(request, notice)
        template = self.templates.get_template(name)
        return HTMLResponse(template.render(common=common, **context), status)

    def refuse(self, request: Request, refused: Refused) -> Response:
        if wants_json(request):
            body = {"error": str(refused), "kind": refused.kind, "field": None}
            return answer(body, refused.status)
        if refused.status == 401:
            return self._login(request)
        return self.error(request, refused.status, str(refused))

    def _login(self, request: Request) -> Response:
        """The page that asks for a code. Who came here by a link in another page is sent on once: browsers keep a
        SameSite=Strict cookie back from the first request, and send it with the next."""
        path, query = request.url.path, request.url.query
        wanted = local_path(f"{path}?{query}" if query else path)
        wanted = wanted if request.method == "GET" else "/"
        response = self.page(request, "login.html", 401, next=wanted, error="")
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            response.headers["Refresh"] = f"0; url={wanted}"
        return response

    def error(self, request: Request, status: int, words: str, back: str = "/") -> Response:
        return self.page(request, "error.html", status, error=words, back=back)

    def failed(self, request: Request, error: Exception) -> Response:
        """What the person did cannot be, or the machine could not do it."""
        assert isinstance(error, ArtbotError)
        status, kind = status_of(error)
        if status >= 500:
            log.error("%s: %s", plain(request.url.path), plain(str(error)))
        if not wants_json(request):
            return self.error(request, status, str(error), back_of(request))
        told: dict[str, Any] = {"error": str(error), "kind": kind, "field": None}
        if isinstance(error, AltTextWanted):
            told |= {"field": "alt", "alt_words": str(error)}
        if isinstance(error, Stale | AltTextWanted) and "id" in request.path_params:
            with suppress(NotAllowed):  # its picture is gone since
                told |= {"tile": self.desk(request).tile(request.path_params["id"])}
        return answer(told, status)

    def not_found(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        words = {404: "there is no such page.", 405: "this address does not take that method."}
        refused = Refused(error.status_code, words.get(error.status_code, error.detail), "usage")
        response = self.refuse(request, refused)
        response.headers.update(error.headers or {})
        return response

    def without_database(self, request: Request, error: Exception) -> Response:
        """It is locked, gone, or on a full disk; a session of it was rolled back."""
        log.error("%s: %s", plain(request.url.path), plain(" ".join(str(error).split()))[:400])
        words = "the database or its disk did not take that, and nothing is half done. Try again; artbot doctor says more."
        if isinstance(error, DatabaseUnusable):
            words = "the database was replaced or lost, so this page ends. Where the daemon serves it, it is back in a moment."
            self.end()
        return self.refuse(request, Refused(503, words, "failed"))

    def broken(self, request: Request, _error: Exception) -> Response:
        """A bug of ours: its traceback is in the log, and nowhere else."""
        words = "something went wrong here, and nothing was decided by it. The log of artbot has the details."
        return self.refuse(request, Refused(500, words, "failed"))


def status_of(error: ArtbotError) -> tuple[int, str]:
    """The status, and what the page's JavaScript tells it by."""
    match error:
        case Stale():
            return 409, "stale"
        case AltTextWanted():
            return 422, "alt-text"
        case NotAllowed() | PictureChanged():
            return 409, "refused"
        case UsageError():
            return 400, "usage"
        case _:
            return 503, "failed"


def back_of(request: Request) -> str:
    """A way back from a refusal: the work it is about, or the sheet."""
    path = request.url.path
    if request.method == "GET" or not path.startswith("/works/"):
        return "/queue" if path.startswith("/deliveries/") else "/"
    return path.rpartition("/")[0]


def session_of(request: Request) -> Session:
    """Raises Refused: behind the guard everybody has one, but for who logs in."""
    session: Session | None = request.scope["state"]["session"]
    if session is None:
        raise Refused(401, "log in first: artbot review --web gives you a link.", "login")
    return session


def open_templates(workplace: Workplace) -> Environment:
    """They escape everything."""
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def when(moment: datetime, zone: tzinfo | None = None) -> str:
        return local_time(moment, workplace.clock(), zone)

    environment.globals["static"] = static_url
    environment.globals["picture"] = picture_url
    environment.filters["when"] = when
    return environment


def static_url(name: str) -> str:
    """The address of a file in static/: another one whenever its bytes are others."""
    path = HERE / "static" / name
    return f"/static/{name}?v={digest_of(path)}" if path.is_file() else f"/static/{name}"


def digest_of(path: Path) -> str:
    """Of what lies there now. Raises OSError."""
    status = path.stat()
    return _digest_of(path, status.st_mtime_ns, status.st_size)


@cache
def _digest_of(path: Path, _mtime_ns: int, _num_bytes: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]

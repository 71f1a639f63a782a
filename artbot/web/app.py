"""The pages and acts by their addresses, behind the guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from artbot.errors import ArtbotError
from artbot.web import acts, pages
from artbot.web.facts import NUMBER
from artbot.web.guard import Guard, Refused
from artbot.web.logins import Logins
from artbot.web.site import Site, open_templates
from artbot.workplace import Workplace
from db.engine import DatabaseUnusable


class _Numbers(Convertor[int]):
    """As `int`, but for numbers that no database takes."""

    regex = NUMBER

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Numbers())
Page = Callable[[Site, Request], Response]

PAGES: Mapping[str, Page] = {
    "/": pages.sheet,
    "/sheet.json": pages.sheet_json,
    "/login": pages.login,
    "/works/{id:number}": pages.card,
    "/works/{id:number}/card.json": pages.card_json,
    "/pictures/{id:number}/{sha256}.png": pages.picture,
    "/compare": pages.compare,
    "/queue": pages.queue,
    "/runs": pages.runs,
    "/runs/{name}": pages.run,
    "/runs/{name}/grids/{file}": pages.grid,
    "/help": pages.help_page,
    "/static/{name}": pages.static,
}


def make_app(workplace: Workplace, origins: Mapping[str, str], end: Callable[[], None]) -> ASGIApp:
    """`origins`: of every Host that is answered; `end` ends the process that serves it."""
    logins = Logins(workplace.settings.web_logins)
    site = Site(workplace, logins, open_templates(workplace), end)
    routes = [Route(path, partial(page, site), methods=["GET"]) for path, page in PAGES.items()]
    routes += [Route(path, act(site), methods=["POST"]) for path, act in acts.ACTS.items()]

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return site.refuse(request, error)

    app = Starlette(
        routes=routes,
        exception_handlers={
            Refused: refused,
            ArtbotError: site.failed,
            HTTPException: site.not_found,
            DatabaseUnusable: site.without_database,
            SQLAlchemyError: site.without_database,
            OSError: site.without_database,
            Exception: site.broken,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, origins, logins, site.refuse)

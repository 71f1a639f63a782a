"""What is shown: every GET."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from artbot.desk import Card, Desk, Sheet, Show, Tile
from artbot.domain.keys import ACTIONS
from artbot.errors import ArtbotError, NoCheckpoint, StorageFailed, UsageError
from artbot.studio.runs import Run, list_runs
from artbot.web.facts import answer, local_path, number_in
from artbot.web.guard import Refused
from artbot.web.site import HERE, Site, digest_of

FOR_EVER = "private, max-age=31536000, immutable"
QUEUE_DAYS = 14
MOST_COMPARED = 64
"""In one final."""
_STATIC_NAME = re.compile(r"[a-z0-9][a-z0-9-]*\.(css|js|svg)")


def login(site: Site, request: Request) -> Response:
    if request.scope["state"]["session"] is not None:
        return RedirectResponse(local_path(request.query_params.get("next", "/")), 303)
    wanted = local_path(request.query_params.get("next", "/"))
    return site.page(request, "login.html", next=wanted, error="")


def sheet(site: Site, request: Request) -> Response:
    desk = site.desk(request)
    laid_out = _sheet(desk, request)
    summary = desk.summary()
    return site.page(request, "sheet.html", sheet=laid_out, summary=summary)


def sheet_json(site: Site, request: Request) -> Response:
    desk = site.desk(request)
    return answer({"sheet": _sheet(desk, request), "summary": desk.summary()}, request=request)


def card(site: Site, request: Request) -> Response:
    desk = site.desk(request)
    opened = open_card(desk, request.path_params["id"])
    laid_out = _sheet(desk, request)
    return site.page(request, "card.html", card=opened, sheet=laid_out)


def card_json(site: Site, request: Request) -> Response:
    return answer(
        {"card": open_card(site.desk(request), request.path_params["id"])}, request=request
    )


def picture(site: Site, request: Request) -> Response:
    """The very bytes that were recorded, and no others."""
    wanted, sha256 = request.path_params["id"], request.path_params["sha256"]
    try:
        tile = site.desk(request).tile(wanted)
    except ArtbotError as error:
        raise Refused(404, "there is no such picture.", "usage") from error
    if tile.seen.image_sha256 != sha256:
        raise Refused(404, "there is no such picture: it is another one by now.", "usage")
    try:
        content = tile.path.read_bytes()
    except OSError as error:
        raise StorageFailed(f"{tile.id} ({tile.name}) cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Refused(
            409,
            f"the file of {tile.id} ({tile.name}) is not the picture that was painted.",
            "refused",
        )
    return Response(content, headers={"Cache-Control": FOR_EVER}, media_type="image/png")


def compare(site: Site, request: Request) -> Response:
    ids = [_number(text) for text in request.query_params.getlist("id")]
    is_finals = request.query_params.get("finals") == "1"
    most = MOST_COMPARED if is_finals else 4
    if not 2 <= len(ids) <= most:
        raise Refused(400, f"compare takes 2 to {most} pictures; these are {len(ids)}.", "usage")
    desk = site.desk(request)
    cards = [open_card(desk, number) for number in dict.fromkeys(ids)]
    return site.page(request, "compare.html", cards=cards, is_finals=is_finals)


def help_page(site: Site, request: Request) -> Response:
    return site.page(request, "help.html", actions=ACTIONS)


def queue(site: Site, request: Request) -> Response:
    from artbot.publishing.channels import timetables
    from artbot.publishing.queue import read_queue

    workplace = site.workplace
    queues = read_queue(
        workplace.database,
        list(workplace.settings.channels),
        timetables(workplace.settings),
        workplace.clock(),
        QUEUE_DAYS,
    )
    return site.page(request, "queue.html", queues=queues, days=QUEUE_DAYS)


def runs(site: Site, request: Request) -> Response:
    painters = _painters(site)
    return site.page(request, "runs.html", runs=_runs(site, painters), painters=painters)


def run(site: Site, request: Request) -> Response:
    painters = _painters(site)
    found = _run(site, request, painters)
    return site.page(request, "run.html", run=found, painters=painters)


def grid(site: Site, request: Request) -> Response:
    """One that a run has painted, by its name in that run's list; no name leads out of it."""
    found = _run(site, request, {})
    wanted = request.path_params["file"]
    if wanted not in [grid.file for grid in found.grids]:
        raise Refused(404, f"run {found.name} has no such grid.", "usage")
    try:
        content = (found.folder / "samples" / wanted).read_bytes()
    except OSError as error:
        raise StorageFailed(f"grid {wanted} of {found.name}: {error.strerror}.") from error
    return Response(content, headers={"Cache-Control": "private, no-cache"}, media_type="image/png")


def _painters(site: Site) -> dict[str, str]:
    """What paints the next batch of every schedule: a checkpoint's name; none where nothing can."""
    from artbot.upkeep.needs import generators

    found = generators(site.workplace)
    return {name: one.name for name, one in found.items() if not isinstance(one, NoCheckpoint)}


def _runs(site: Site, painters: Mapping[str, str]) -> list[Run]:
    settings = site.workplace.settings
    return list_runs(settings.runs, settings.checkpoints, list(painters.values()))


def _run(site: Site, request: Request, painters: Mapping[str, str]) -> Run:
    """Raises Refused."""
    for each in _runs(site, painters):
        if each.name == request.path_params["name"]:
            return each
    raise Refused(404, "there is no such run.", "usage")


def static(_site: Site, request: Request) -> Response:
    name = request.path_params["name"]
    path = HERE / "static" / name
    if not _STATIC_NAME.fullmatch(name) or not path.is_file():
        raise Refused(404, "there is no such file.", "usage")
    is_named = request.query_params.get("v") == digest_of(path)
    kind = mimetypes.guess_type(name)[0]
    headers = {"Cache-Control": FOR_EVER if is_named else "no-cache"}
    return Response(path.read_bytes(), headers=headers, media_type=kind)


def _sheet(desk: Desk, request: Request) -> Sheet:
    """As the address asks for it. Raises Refused, UsageError."""
    wanted = request.query_params.get("show") or Show.UNDECIDED
    if wanted not in list(Show):
        raise Refused(400, f"show is one of {', '.join(Show)}.", "usage")
    return desk.lay_out(Show(wanted), request.query_params.get("batch") or None)


def open_card(desk: Desk, candidate_id: int) -> Card:
    """Raises Refused if there is no such candidate, NotAllowed if it has no picture."""
    try:
        return desk.open(candidate_id)
    except UsageError as error:
        raise Refused(404, str(error), "usage") from error


def find_tile(desk: Desk, candidate_id: int) -> Tile:
    """Likewise."""
    try:
        return desk.tile(candidate_id)
    except UsageError as error:
        raise Refused(404, str(error), "usage") from error


def _number(text: str) -> int:
    """Raises Refused."""
    if (number := number_in(text)) is None:
        raise Refused(400, f"{text[:40]!r} is no number of a picture.", "usage")
    return number

"""What is done: every POST. Each carries the csrf token, and for a picture what the person saw of it.

A browser without JavaScript is sent on to the next undecided picture, or back to the sheet; JavaScript gets the tile.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from artbot.desk import AltRemark, AltTextWanted, Desk, Sheet, Show, Tile
from artbot.domain.candidate import UNDECIDED
from artbot.domain.slots import DayOfYear, Slot, Turn, moment_of, parse_when
from artbot.errors import NotAllowed, Stale, UsageError
from artbot.publishing import queue
from artbot.publishing.acts import Actor
from artbot.publishing.channels import timetables
from artbot.publishing.interventions import retry
from artbot.publishing.reading import get_delivery
from artbot.review.decisions import Seen, Words
from artbot.telling import goes_out_words, zone_of
from artbot.web.facts import answer, local_path, number_in, wants_json
from artbot.web.guard import Refused, read_form
from artbot.web.logins import LONGEST_S, Throttled, is_same
from artbot.web.pages import find_tile, open_card
from artbot.web.site import Site, session_of
from db.models import Delivery

Form = Mapping[str, list[str]]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Done:
    """How an act ended."""

    message: str
    tile: Tile | None = None
    tiles: Sequence[Tile] = ()
    children: Sequence[int] = ()
    is_decided: bool = False
    """The next undecided one comes next."""


Act = Callable[[Desk, Request, Form], Done]


def _works(act: Act) -> Callable[[Site], Endpoint]:
    """An act behind the session and its csrf token."""

    def of(site: Site) -> Endpoint:
        def run(request: Request, form: Form) -> Response:
            desk = site.desk(request)
            if "id" in request.path_params:
                find_tile(desk, request.path_params["id"])
            try:
                before = None if wants_json(request) else _sheet_before(desk, form)
                done = act(desk, request, form)
            except (AltTextWanted, UsageError, NotAllowed) as error:
                if isinstance(error, Stale) or wants_json(request) or not _is_approval(request):
                    raise
                return _asked_again(site, desk, request, form, error)
            if wants_json(request):
                return answer(_facts(done))
            site.logins.tell(session_of(request), done.message)
            return RedirectResponse(_where_next(done, before, form), 303)

        async def endpoint(request: Request) -> Response:
            form = await read_checked_form(request)
            return await run_in_threadpool(run, request, form)

        return endpoint

    return of


async def read_checked_form(request: Request) -> Form:
    """Raises Refused; also for a form that is not of this session."""
    form = await read_form(request)
    if not is_same(_one(form, "csrf"), session_of(request).csrf):
        raise Refused(403, "this form is of another login. Load the page anew.", "forbidden")
    return form


# One work


def _approve(desk: Desk, request: Request, form: Form) -> Done:
    # A page without any channel sends no `channel` either way; one that has some says that they were chosen from.
    channels = form.get("channel", []) if "channels_chosen" in form else form.get("channel")
    tile = desk.approve(
        request.path_params["id"],
        _seen(form),
        _words(form),
        channels,
        _one(form, "when") or "next",
        is_draft_fine=_one(form, "draft_is_fine") in ("1", "on", "true"),
    )
    going = [f"{line.channel}: {line.words}" for line in desk.open(tile.id).deliveries]
    goes = "; ".join(going) or "no channel gets it"
    return Done(f"approved {tile.name}. {goes}.", tile, is_decided=True)


def _reject(desk: Desk, request: Request, form: Form) -> Done:
    tile = desk.reject(request.path_params["id"], _seen(form))
    return Done(f"rejected {tile.name}.", tile, is_decided=True)


def _later(desk: Desk, request: Request, form: Form) -> Done:
    tile = desk.put_off(request.path_params["id"], _seen(form))
    return Done(f"put {tile.name} off until later.", tile, is_decided=True)


def _stars(desk: Desk, request: Request, form: Form) -> Done:
    tile = desk.give_stars(request.path_params["id"], _number(_one(form, "stars")), _seen(form))
    return Done(
        f"{tile.name} has {tile.stars or 'no'} {'star' if tile.stars == 1 else 'stars'}.", tile
    )


def _undo_one(desk: Desk, request: Request, form: Form) -> Done:
    return _undone(desk.undo(request.path_params["id"], _seen_or_none(form)))


def _redo_one(desk: Desk, request: Request, form: Form) -> Done:
    return _redone(desk.redo(request.path_params["id"], _seen_or_none(form)))


def _vary(desk: Desk, request: Request, form: Form) -> Done:
    strength = _one(form, "strength") or "subtle"
    children = desk.vary(request.path_params["id"], strength)
    return Done(f"{len(children)} {strength} variations will be painted.", children=children)


# Several


def _undo(desk: Desk, _request: Request, _form: Form) -> Done:
    return _undone(desk.undo())


def _redo(desk: Desk, _request: Request, _form: Form) -> Done:
    return _redone(desk.redo())


def _breed(desk: Desk, _request: Request, form: Form) -> Done:
    ids = [_number(text) for text in form.get("id", [])]
    if len(ids) != 2:
        raise UsageError(f"breed takes two pictures; these are {len(ids)}.")
    children = desk.breed(*ids)
    return Done(f"{len(children)} between them will be painted.", children=children)


def _reject_rest(desk: Desk, _request: Request, form: Form) -> Done:
    tiles = desk.reject_rest(dict(_seen_of(text) for text in form.get("seen", [])))
    return Done(f"rejected {len(tiles)}.", tiles=tiles)


def _undo_each(desk: Desk, _request: Request, form: Form) -> Done:
    tiles = desk.undo_each([_number(text) for text in form.get("id", [])])
    return Done(f"took back the last decision on {len(tiles)}.", tiles=tiles)


def _undone(tile: Tile) -> Done:
    return Done(f"undone: {tile.name} is {tile.state} again.", tile)


def _redone(tile: Tile) -> Done:
    return Done(f"redone: {tile.name} is {tile.state} again.", tile)


# What goes out when


def _delivery(
    act: Callable[[Site, Request, Form, int], Delivery], done: str
) -> Callable[[Site], Endpoint]:
    def of(site: Site) -> Endpoint:
        def run(request: Request, form: Form) -> Response:
            number = request.path_params["id"]
            try:
                get_delivery(site.workplace.database, number)
            except UsageError as error:
                raise Refused(404, str(error), "usage") from error
            delivery = act(site, request, form, number)
            words = f"{delivery.candidate.name} to {delivery.channel} {done}"
            if not delivery.on_hold:
                zone = zone_of(site.workplace)(delivery)
                words += f", and goes out {goes_out_words(delivery, site.workplace.clock(), zone)}"
            if wants_json(request):
                return answer({"message": f"{words}."})
            site.logins.tell(session_of(request), f"{words}.")
            return RedirectResponse(local_path(_one(form, "return_to"), "/queue"), 303)

        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(run, request, await read_checked_form(request))

        return endpoint

    return of


def _move(site: Site, request: Request, form: Form, number: int) -> Delivery:
    workplace, wanted = site.workplace, parse_move(_one(form, "to") or "next")
    now = workplace.clock()
    at = None
    if wanted is not None:
        zone = zone_of(workplace)(get_delivery(workplace.database, number))
        try:
            at = moment_of(wanted, zone, now)
        except ValueError as error:
            raise UsageError(str(error)) from error
    slots = timetables(workplace.settings)
    return queue.move(workplace.database, slots, number, at, _actor(site, request), now)


def parse_move(text: str) -> Slot | DayOfYear | datetime | None:
    """None: the next free slot. Raises UsageError."""
    try:
        when = parse_when(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if when == Turn.NOW:
        raise UsageError("move gives a time to come. To send it at once there is another button.")
    return None if isinstance(when, Turn) else when


def _hold(site: Site, request: Request, _form: Form, number: int) -> Delivery:
    workplace = site.workplace
    return queue.hold(workplace.database, number, _actor(site, request), workplace.clock())


def _release(site: Site, request: Request, _form: Form, number: int) -> Delivery:
    workplace = site.workplace
    slots, now = timetables(workplace.settings), workplace.clock()
    return queue.release(workplace.database, slots, number, _actor(site, request), now)


def _send_now(site: Site, request: Request, _form: Form, number: int) -> Delivery:
    workplace = site.workplace
    return retry(workplace.database, number, _actor(site, request), workplace.clock())


def _actor(site: Site, request: Request) -> Actor:
    author = site.author(request)
    return Actor(author.by, author.via)


# The login, which has no session yet; and what has none after


def _log_in(site: Site) -> Endpoint:
    def run(request: Request, form: Form) -> Response:
        wanted = local_path(_one(form, "next"))
        try:
            let_in = site.logins.log_in(_one(form, "token").strip())
        except Throttled as throttled:
            response = site.refuse(request, Refused(429, f"{throttled}.", "forbidden"))
            response.headers["Retry-After"] = f"{throttled.wait_s:.0f}"
            return response
        if let_in is None:
            words = "that code lets nobody in any more: each does once, within 15 minutes. artbot review --web gives you another."
            if wants_json(request):
                return site.refuse(request, Refused(403, words))
            return site.page(request, "login.html", 403, next=wanted, error=words)
        if (old := request.scope["state"]["session"]) is not None:
            site.logins.log_out(old)
        session_id, session = let_in
        response = (
            answer({"message": f"logged in as {session.by}", "next": wanted})
            if wants_json(request)
            else RedirectResponse(wanted, 303)
        )
        name = request.scope["state"]["cookie"]
        response.set_cookie(
            name,
            session_id,
            max_age=int(LONGEST_S),
            secure=name.startswith("__Host-"),
            httponly=True,
            samesite="strict",
        )
        return response

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(run, request, await read_form(request))

    return endpoint


def _log_out(site: Site) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        await read_checked_form(request)
        await run_in_threadpool(site.logins.log_out, session_of(request))
        response = RedirectResponse("/login", 303)
        name = request.scope["state"]["cookie"]
        response.delete_cookie(
            name, secure=name.startswith("__Host-"), httponly=True, samesite="strict"
        )
        return response

    return endpoint


def _switch_keys(site: Site) -> Endpoint:
    """Single keys, in this browser."""

    async def endpoint(request: Request) -> Response:
        form = await read_checked_form(request)
        wanted = _one(form, "keys")
        if wanted not in ("on", "off"):
            raise UsageError("keys are on or off.")
        site.logins.switch_keys(session_of(request), wanted == "off")
        return RedirectResponse("/help", 303)

    return endpoint


def _check(site: Site) -> Endpoint:
    """Nothing is changed: it is a POST for its words, which an address could not hold."""

    def run(request: Request, form: Form) -> Response:
        desk, number = site.desk(request), request.path_params["id"]
        find_tile(desk, number)
        return answer(desk.check(number, _words(form)))

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(run, request, await read_checked_form(request))

    return endpoint


ACTS: Mapping[str, Callable[[Site], Endpoint]] = {
    "/login": _log_in,
    "/logout": _log_out,
    "/works/{id:number}/approve": _works(_approve),
    "/works/{id:number}/reject": _works(_reject),
    "/works/{id:number}/later": _works(_later),
    "/works/{id:number}/stars": _works(_stars),
    "/works/{id:number}/undo": _works(_undo_one),
    "/works/{id:number}/redo": _works(_redo_one),
    "/works/{id:number}/vary": _works(_vary),
    "/works/{id:number}/check": _check,
    "/deliveries/{id:number}/move": _delivery(_move, "is moved"),
    "/deliveries/{id:number}/hold": _delivery(_hold, "is on hold"),
    "/deliveries/{id:number}/release": _delivery(_release, "is released"),
    "/deliveries/{id:number}/now": _delivery(_send_now, "was let go"),
    "/help": _switch_keys,
    "/undo": _works(_undo),
    "/redo": _works(_redo),
    "/breed": _works(_breed),
    "/reject-rest": _works(_reject_rest),
    "/undo-each": _works(_undo_each),
}


# Reading the form


def _one(form: Form, name: str) -> str:
    return form.get(name, [""])[-1]


def _number(text: str) -> int:
    """Raises UsageError."""
    if (number := number_in(text)) is None:
        raise UsageError(f"{text[:40]!r} is no number.")
    return number


def _seen(form: Form) -> Seen:
    """Raises UsageError: who decides here has seen something."""
    return Seen(_digest(_one(form, "image_sha256")), _number(_one(form, "row_version")))


def _seen_or_none(form: Form) -> Seen | None:
    return _seen(form) if _one(form, "image_sha256") else None


def _seen_of(text: str) -> tuple[int, Seen]:
    """`ID:ROW_VERSION:SHA256`."""
    number, version, sha256 = [*text.split(":"), "", "", ""][:3]
    return _number(number), Seen(_digest(sha256), _number(version))


def _digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise UsageError(f"{text[:80]!r} is no sha256 of a picture.")
    return text


def _words(form: Form) -> Words:
    """A field that was not sent takes its draft."""
    return Words(**{name: _one(form, name) if name in form else None for name in vars(Words())})


# What the person sees next


def _facts(done: Done) -> dict[str, Any]:
    return {
        "message": done.message,
        "tile": done.tile,
        "tiles": done.tiles,
        "children": done.children,
    }


def _is_approval(request: Request) -> bool:
    return request.url.path.endswith("/approve")


def _asked_again(
    site: Site, desk: Desk, request: Request, form: Form, error: Exception
) -> Response:
    """The same page with the words as they were typed, and what is wrong with them."""
    card = open_card(desk, request.path_params["id"])
    typed = {name: each for name, each in vars(_words(form)).items() if each is not None}
    words = replace(card.words, **typed)
    is_alt_wanted = isinstance(error, AltTextWanted)
    checked = desk.check(card.tile.id, _words(form))
    would_do = is_alt_wanted and checked.alt is not AltRemark.MISSING
    status = 422 if is_alt_wanted else 409 if isinstance(error, NotAllowed) else 400
    return site.page(
        request,
        "card.html",
        status,
        notice=f"{error} Approve once more takes it as it is." if would_do else str(error),
        card=replace(card, words=words, checked=checked),
        sheet=_sheet_before(desk, form) or desk.lay_out(),
        is_alt_wanted=is_alt_wanted,
    )


def _sheet_before(desk: Desk, form: Form) -> Sheet | None:
    """What lay there when the person decided, to know what comes next; None where nothing follows."""
    asked = parse_qs(urlsplit(local_path(_one(form, "return_to"))).query)
    wanted, batch = asked.get("show", [""])[0], asked.get("batch", [""])[0]
    return desk.lay_out(Show(wanted) if wanted in list(Show) else Show.UNDECIDED, batch or None)


def _where_next(done: Done, before: Sheet | None, form: Form) -> str:
    """Beside what was decided in the sheet, the sheet; else the next undecided one, then the sheet."""
    wanted = local_path(_one(form, "return_to"))
    parts = urlsplit(wanted)
    if not done.is_decided or not parts.path.startswith("/works/") or before is None:
        return wanted
    query = f"?{parts.query}" if parts.query else ""
    assert done.tile is not None
    follows = next_undecided(before, done.tile.id)
    return f"/works/{follows}{query}" if follows is not None else f"/{query}"


def next_undecided(sheet: Sheet, after: int) -> int | None:
    """The one that follows on the sheet; after the last the first again."""
    ids = [tile.id for stack in sheet.stacks for tile in stack.tiles]
    at = ids.index(after) + 1 if after in ids else 0
    undecided = {t.id for stack in sheet.stacks for t in stack.tiles if t.state in UNDECIDED}
    order = [*ids[at:], *ids[:at]]
    return next((each for each in order if each in undecided and each != after), None)

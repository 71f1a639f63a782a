"""What the pages are told, and the same as JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from artbot.desk import Tile

NUMBER = r"[0-9]{1,9}"
"""No database has more of anything, and none takes a number beyond 31 bits everywhere."""


@dataclass(frozen=True)
class Common:
    """What every page has."""

    who: str
    csrf: str
    notice: str
    """To be shown once."""
    keys: Mapping[str, str]
    """The action of every key."""
    is_keys_off: bool
    """Whether single keys do nothing until they are switched on in this browser."""


def picture_url(tile: Tile) -> str:
    """Where the page finds the very bytes that it is about."""
    return f"/pictures/{tile.id}/{tile.seen.image_sha256}.png"


def jsonable(value: object) -> Any:
    """As JSON has it. Where a file lies is nobody's business: a picture is told by its address."""
    if isinstance(value, Tile):
        return _facts(value) | {"picture": picture_url(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return _facts(value)
    if isinstance(value, Mapping):
        return {str(key): jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    assert not isinstance(value, Path)
    return value


def _facts(value: Any) -> dict[str, Any]:
    named = {each.name: getattr(value, each.name) for each in fields(value)}
    return {name: jsonable(each) for name, each in named.items() if not isinstance(each, Path)}


def answer(value: object, status: int = 200, request: Request | None = None) -> Response:
    """JSON; with a request, 304 for who has it already."""
    body = json.dumps(jsonable(value), ensure_ascii=False).encode()
    if request is None:
        return Response(body, status, media_type="application/json")
    tag = f'"{hashlib.sha256(body).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "application/json")


def wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "") or request.url.path.endswith(
        ".json"
    )


def number_in(text: str) -> int | None:
    """A number of a picture or a delivery, or of a row's version; None for anything else."""
    return int(text) if re.fullmatch(NUMBER, text, re.ASCII) else None


def local_path(wanted: str, otherwise: str = "/") -> str:
    """Where to go on, if that is a page of ours."""
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    is_plain = wanted.isprintable() and wanted.isascii() and "\\" not in wanted
    return wanted if is_ours and is_plain else otherwise

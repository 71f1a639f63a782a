"""The process that sends one alert with Apprise: `python -m artbot.publishing.alert_child`.

Addresses and text come as JSON on standard input, so that they stand in no list of processes; a line of JSON for
each address goes to standard output as soon as it is known how that one fared. Apprise's own words are passed on
without any part of the address. Whoever started it ends it when its time is up.
"""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

from artbot.domain.text import plain
from artbot.redaction import REDACTED

SERVICE_TIMEOUT_S = 20.0
MOST_AT_ONCE = 8
MOST_BYTES = 1 << 31
"""Of memory: an answer is read whole, however large."""
MOST_CHARS = 200
_LEAST_PART = 4
"""Parts of an address that are shorter are no secrets, and would take letters out of every word."""


def main() -> None:
    request = json.load(sys.stdin)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a service prints is no answer of ours

    def say(answer: dict[str, object]) -> None:
        # One write, so that the lines of several threads do not mix.
        os.write(answers, json.dumps(answer).encode() + b"\n")

    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    try:
        import apprise
    except ImportError as error:
        say({"missing": error.name})
        return
    asset = apprise.AppriseAsset(
        app_id="artbot",
        app_desc="artbot",
        storage_mode="memory",  # it leaves no files
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        service_timeout=SERVICE_TIMEOUT_S,
    )

    def tell(line: int, url: str) -> None:
        service = apprise.Apprise.instantiate(url, asset=asset)
        if service is None:
            said = _what_is_wrong(url, _schemes(apprise))
            say({"line": line, "service": None, "ok": False, "detail": said})
            return
        name = str(service.service_name)
        if request["is_check"]:
            say({"line": line, "service": name, "ok": True, "detail": ""})
            return
        alone = apprise.Apprise(asset=asset)
        alone.add(service)
        words = {"title": request["title"], "body": request["body"]}
        sheet = _attachment(request) if service.attachment_support else None
        result = alone.notify(**words, attach=sheet)
        detail = "" if result else _without(url, _reasons(result)) or "it was not taken"
        if not result and sheet is not None:  # the words matter more
            result = alone.notify(**words)
            detail = f"without the contact sheet: {detail}" if result else detail
        say({"line": line, "service": name, "ok": bool(result), "detail": detail})

    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        list(pool.map(tell, *zip(*request["addresses"], strict=True)))
    os._exit(0)  # threads of Apprise that wait for an answer are waited for by nobody


def _attachment(request: dict[str, Any]) -> Any:
    """The contact sheet, if there is one, for one service."""
    if "sheet" not in request:
        return None
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    in_memory: Any = AttachMemory  # the only part of it without types
    jpeg = base64.b64decode(request["sheet"]["jpeg"])
    return AppriseAttachment(in_memory(jpeg, request["sheet"]["name"], "image/jpeg"))


def _schemes(apprise: Any) -> set[str]:
    """What addresses may begin with. Takes a moment, so it is asked only about an address that is none."""
    known = apprise.Apprise().details()
    kinds = ("protocols", "secure_protocols")
    return {name for one in known["schemas"] for kind in kinds for name in one[kind] or ()}


def _what_is_wrong(url: str, schemes: set[str]) -> str:
    """Says nothing of the address but how it begins, if that is no secret."""
    scheme, is_address, _ = url.partition("://")
    if not is_address:
        return "it is no address: Apprise reads SERVICE://... (docs/alerts.md)"
    if scheme.lower() not in schemes:
        return "Apprise does not know it"
    return f"{scheme.lower()} is known, but the rest is incomplete or not as Apprise reads it (docs/alerts.md)"


def _reasons(result: Any) -> str:
    said = [str(entry.message) for entry in result.logs()]
    return "; ".join(dict.fromkeys(said))


def _without(url: str, said: str) -> str:
    """Apprise's words, with every part of the address replaced; on one line, and not too long."""
    rest = url.partition("://")[2]
    parts = {part for text in (rest, unquote(rest)) for part in re.split(r"[/:@?&=#,;\s]+", text)}
    for part in sorted({url, *parts}, key=len, reverse=True):
        if len(part) >= _LEAST_PART:
            said = said.replace(part, REDACTED)
    return plain(" ".join(said.split()))[:MOST_CHARS]


if __name__ == "__main__":
    main()

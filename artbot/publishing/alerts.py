"""What the operator is told, in words, and how it gets there: by Apprise, in a child process.

Apprise knows a hundred services and opens connections of its own to them, past artbot's one HTTP door
(docs/decisions/0016-notices.md). So it runs in a process that is ended when its time is up, and that has neither
the channels' secrets nor the environment's proxies. A notice is told when one address took it.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artbot.config import AlertAddress
from artbot.domain.notice import UNOPENED, NoticeKind
from artbot.domain.text import shortened
from artbot.errors import Unavailable
from artbot.redaction import redact

DEADLINE_S = 30.0
"""For all addresses together, the start of the process included."""
MOST_TOLD = 5
"""So many notices are told in words in one message."""
MOST_CHARS = 200
"""Of a reason: it is read on a telephone."""
_NOT_PASSED_ON = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy", "netrc"})


@dataclass(frozen=True)
class Sheet:
    """The pictures of a batch beside each other, to be looked at on a telephone."""

    name: str
    """Of the file."""
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True)
class Message:
    title: str
    body: str
    sheet: Sheet | None = None
    """Beside the words, where the service takes it."""


TEST = Message(
    "artbot: a test", "This is how artbot tells you when something wants your attention."
)


@dataclass(frozen=True)
class Fared:
    """How one address fared. Says nothing of it but its line and its service."""

    line: int
    service: str | None
    """`Telegram`; None: Apprise does not know it."""
    ok: bool
    detail: str
    """Why not, or why without the sheet; no part of the address, redacted."""

    @property
    def described(self) -> str:
        return f"line {self.line} ({self.service or 'unknown'}): {self.detail or 'ok'}"


@dataclass(frozen=True)
class Told:
    """Something that happened, for a message."""

    kind: str
    facts: Mapping[str, Any]


def message_of(
    told: Sequence[Told],
    link_to: Callable[[str], str | None] = lambda batch: None,
    sheet_of: Callable[[str], Sheet | None] = lambda batch: None,
) -> Message:
    """One message about all of it: short, and naming the command that helps, with the newest batch's sheet.

    `link_to`: the address at which a browser shows that batch, by its key; None: nobody serves it. `sheet_of`: None
    where there is nothing to look at."""
    newest = next((one for one in reversed(told) if one.kind == NoticeKind.BATCH_READY), None)
    said = [_in_words(one, one is newest, link_to) for one in told[:MOST_TOLD]]
    sheet = sheet_of(newest.facts["batch"]["id"]) if newest else None
    if len(told) == 1:
        return Message(f"artbot: {_TITLES[NoticeKind(told[0].kind)]}", said[0], sheet)
    if len(told) > MOST_TOLD:
        said.append(f"And {len(told) - MOST_TOLD} more: artbot status")
    return Message(f"artbot: {len(told)} things to know", "\n\n".join(said), sheet)


def send(
    addresses: Sequence[AlertAddress], message: Message, environment: Mapping[str, str]
) -> list[Fared]:
    """Tell everybody; how each fared, in the order of the addresses. Never takes longer than DEADLINE_S.

    Raises Unavailable if the process could not do its work.
    """
    return _ask(addresses, environment, message)


def understood(addresses: Sequence[AlertAddress], environment: Mapping[str, str]) -> list[Fared]:
    """Whether Apprise knows what each address means; nothing is sent. Raises Unavailable."""
    return _ask(addresses, environment, None)


def _ask(
    addresses: Sequence[AlertAddress],
    environment: Mapping[str, str],
    message: Message | None,
) -> list[Fared]:
    """`message` None: they are only looked at."""
    request: dict[str, Any] = {
        "addresses": [(address.line, address.url) for address in addresses],
        "is_check": message is None,
    }
    if message is not None:
        request |= {"title": message.title, "body": message.body}
        if message.sheet is not None:
            jpeg = base64.b64encode(message.sheet.jpeg).decode()
            request["sheet"] = {"name": message.sheet.name, "jpeg": jpeg}
    passed_on = {n: v for n, v in environment.items() if n.lower() not in _NOT_PASSED_ON}
    try:
        child = subprocess.run(
            # -P: whatever lies in the folder we were started in is no module.
            [sys.executable, "-P", "-m", "artbot.publishing.alert_child"],
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # may quote an address
            env={**passed_on, "NETRC": os.devnull},  # requests would take passwords from it
            timeout=DEADLINE_S,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
            check=False,
        )
        said, in_time = child.stdout, True
    except subprocess.TimeoutExpired as error:
        said, in_time = error.stdout or b"", False
    except OSError as error:
        raise Unavailable(f"alerts cannot be sent: {error.strerror}") from error
    answers = [json.loads(line) for line in said.splitlines()]
    for answer in answers:
        if "missing" in answer:
            raise Unavailable(
                f"alerts are sent by Apprise, which cannot be used ({answer['missing']} is missing): "
                "pip install apprise"
            )
    by_line = {answer["line"]: answer for answer in answers}
    silence = f"no answer within {DEADLINE_S:.0f} s" if not in_time else "the process has ended"
    return [_fared(address, by_line.get(address.line), silence) for address in addresses]


def _fared(address: AlertAddress, answer: Mapping[str, Any] | None, silence: str) -> Fared:
    if answer is None:
        return Fared(address.line, None, False, silence)
    return Fared(address.line, answer["service"], answer["ok"], redact(answer["detail"]))


_TITLES = {
    NoticeKind.BATCH_READY: "new pictures",
    NoticeKind.DELIVERY_FAILED: "a work did not get through",
    NoticeKind.CHANNEL_STOPPED: "a channel has stopped",
    NoticeKind.NOTHING_APPROVED: "pictures wait for you",
}


def _in_words(told: Told, is_newest: bool, link_to: Callable[[str], str | None]) -> str:
    """`is_newest`: of the batches in the message, which alone says how many pictures wait."""
    facts = told.facts
    match NoticeKind(told.kind):
        case NoticeKind.BATCH_READY:
            ready, link = _batch_ready(facts["batch"]), link_to(facts["batch"]["id"])
            said = f"{ready}, {_waiting(facts['waiting'])}" if is_newest else ready
            return f"{said}\n{link}" if link else said
        case NoticeKind.DELIVERY_FAILED:
            return _delivery_failed(facts["artwork"]["id"], facts["delivery"])
        case NoticeKind.CHANNEL_STOPPED if facts["state"] == UNOPENED:
            return (
                f"Channel {facts['channel']} cannot be opened: {_short(facts['reason'])}. What is approved for it "
                "waits, and goes out by itself once that is mended: artbot doctor"
            )
        case NoticeKind.CHANNEL_STOPPED:
            return (
                f"Channel {facts['channel']} is {facts['state']}: {_short(facts['reason'])}. What is approved "
                f"for it waits. Once that is mended: artbot channels resume {facts['channel']}"
            )
        case NoticeKind.NOTHING_APPROVED:
            since = f"for {_counted(facts['days'], 'day')}" if facts["ever"] else "yet"
            return f"Nothing has been approved {since}, and {_waiting(facts['waiting'])}"


def _batch_ready(batch: Mapping[str, Any]) -> str:
    failed = f"; {batch['failed']} could not be painted" if batch["failed"] else ""
    are = "is" if batch["painted"] == 1 else "are"
    return f"{_counted(batch['painted'], 'new picture')} {are} ready ({batch['id']}{failed})"


def _delivery_failed(work: str, delivery: Mapping[str, Any]) -> str:
    number, channel = delivery["number"], delivery["channel"]
    why = _short(delivery["reason"])
    match delivery["state"]:
        case "uncertain":
            return (
                f"{work} may have been posted to {channel}, and nobody knows. Look there, then: "
                f"artbot deliveries resolve {number} --posted, or --absent"
            )
        case "held":
            return f"{work} waits for {channel}: {why}. Once that is mended: artbot channels resume {channel}"
        case "dead":
            how = "was given up after many attempts"
        case _:
            how = "was refused"
    return (
        f"{work} did not get to {channel}, it {how}: {why}. Once that is mended: "
        f"artbot deliveries retry {number}"
    )


def _waiting(number: int) -> str:
    return f"{_counted(number, 'picture')} {'waits' if number == 1 else 'wait'} for review: artbot review"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _short(reason: str) -> str:
    return shortened(reason.rstrip(". \n"), MOST_CHARS)

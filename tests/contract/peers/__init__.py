"""Receivers to hold channels against, one file per kind of channel: each exports PEER.

A peer is software that we did not write where there is any; else a server written from the platform's own
documentation. Faults come from a proxy in front of it (proxy.py), so that the peer acts, and only what is
heard of it is disturbed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from artbot.publishing.channels import Post


@dataclass(frozen=True)
class Seen:
    """One post as the public sees it at the peer. `None`: the peer does not tell."""

    text: str | None
    alt: str | None
    picture: bytes | None


class Running(Protocol):
    """A peer that runs, on this machine."""

    url: str
    """Where its API begins: what the proxy stands in front of."""

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        """[channels.NAME] of a channel that reaches it at `url` (the proxy), with its secret in a file below
        `workplace`."""
        ...

    def posts(self) -> list[Seen]:
        """What the public sees, the oldest first; asked of the peer itself, without the proxy."""
        ...


@dataclass(frozen=True)
class Peer:
    """How to run one."""

    kind: str
    """The `type` of the channels that it receives."""
    run: Callable[[Path], AbstractContextManager[Running]]
    """In that folder. Calls pytest.skip with the reason where it is not installed."""
    is_commit: Callable[[str, str], bool]
    """(method, path): whether such a request is the public act."""
    sees: Callable[[Post], Seen]
    """How the public should see a post there."""
    others: Callable[[Any, Path], dict[str, dict[str, Any]]] = lambda running, workplace: {}
    """Tables, by name, of the channels that it needs besides (`picture_from`)."""


def peers() -> list[Peer]:
    """All of them."""
    found = []
    for module in pkgutil.iter_modules(__path__):
        made = importlib.import_module(f"{__name__}.{module.name}")
        found += [made.PEER] if hasattr(made, "PEER") else []
    return found

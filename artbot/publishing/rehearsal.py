"""Rehearsals: how a work would fit a channel, told by the very steps that make its post, with nothing made that takes long.

In one, whatever counts a text tells its count instead of refusing, so that all of them are known; and no picture is
rendered, it is only found whether there is one that fits. What is composed meanwhile is for nobody to see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from artbot.errors import Rejected, Unavailable

if TYPE_CHECKING:
    from artbot.publishing.channels import Outlet
    from artbot.publishing.work import Work


@dataclass(frozen=True)
class Count:
    """How much of what it may have a text has, counted as its channel counts."""

    what: str
    """`text`, `alt text`."""
    has: int
    most: int
    unit: str


@dataclass
class Rehearsal:
    """What has come of it so far."""

    counts: list[Count] = field(default_factory=list)
    refusal: str | None = None
    """The first; None: it would go out."""

    def refuse(self, why: str) -> None:
        self.refusal = self.refusal or why


_under_way: ContextVar[Rehearsal | None] = ContextVar("artbot_rehearsal", default=None)


@contextmanager
def rehearsal() -> Iterator[Rehearsal]:
    """Everything that this thread composes meanwhile is rehearsed."""
    begun = Rehearsal()
    token = _under_way.set(begun)
    try:
        yield begun
    finally:
        _under_way.reset(token)


def rehearsal_under_way() -> Rehearsal | None:
    return _under_way.get()


def rehearse(outlet: Outlet, work: Work) -> Rehearsal:
    """How the work would fit that channel if it were approved now."""
    with rehearsal() as tried:
        try:
            with suppress(Unavailable):  # not now: then the words are what there is to be told
                work = outlet.sign(work)
            outlet.compose(work)
        except Rejected as reason:
            tried.refuse(str(reason))
        except Unavailable:  # likewise: the sending tries again
            pass
    return tried

"""The life of a batch and of a candidate. "Published" is no state: it follows from the deliveries."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from enum import StrEnum

from artbot.domain.machine import Machine, Move


class BatchState(StrEnum):
    PLANNED = "planned"  # the day has its row; nothing is rendered yet
    GENERATING = "generating"  # generator chosen, seeds written down
    READY = "ready"  # every candidate has its picture
    PARTIAL = "partial"  # some candidates failed for good
    FAILED = "failed"  # all of them did
    SKIPPED = "skipped"  # it is not made; `reason` says why


class CandidateState(StrEnum):
    PLANNED = "planned"  # (checkpoint, seed, recipe) are known, the picture is not
    PENDING = "pending"  # waits for a person
    LATER = "later"  # looked at, to be decided another time
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"  # nobody decided for too long
    QUARANTINED = "quarantined"  # its picture is gone, or is not the one that was made
    FAILED = "failed"  # could not be rendered


_B, _C = BatchState, CandidateState

BATCH = Machine(
    "batch",
    (
        Move(None, _B.PLANNED, "its day is due, or a person asks for one more"),
        Move(None, _B.SKIPPED, "the day is found to have passed too long ago"),
        Move(_B.PLANNED, _B.GENERATING, "a generator paints; seeds are written down"),
        Move(
            _B.PLANNED,
            _B.SKIPPED,
            "no generator could be used in time; an extra one could not be begun at once",
        ),
        Move(_B.GENERATING, _B.READY, "every candidate has its picture"),
        Move(_B.GENERATING, _B.PARTIAL, "some could not be rendered"),
        Move(_B.GENERATING, _B.FAILED, "none could be rendered"),
    ),
)
"""A batch that was begun stays `generating` through any crash and is finished from its seeds."""

CANDIDATE = Machine(
    "candidate",
    (
        Move(
            None,
            _C.PLANNED,
            "its batch is begun, or a person wants more like another one: generator, seed and recipe are fixed",
        ),
        Move(_C.PLANNED, _C.PENDING, "the picture is on disk"),
        Move(_C.PLANNED, _C.FAILED, "rendering failed three times"),
        Move(_C.PENDING, _C.LATER, "a person has looked, and puts it off"),
        Move(_C.PENDING, _C.APPROVED, "a person approves; its deliveries are queued"),
        Move(_C.PENDING, _C.REJECTED, "a person rejects"),
        Move(_C.PENDING, _C.EXPIRED, "nobody decided for `review.expire_days`"),
        Move(_C.PENDING, _C.QUARANTINED, "its picture is missing or changed"),
        Move(_C.LATER, _C.PENDING, "undo"),
        Move(_C.LATER, _C.APPROVED, "a person approves; its deliveries are queued"),
        Move(_C.LATER, _C.REJECTED, "a person rejects"),
        Move(_C.LATER, _C.EXPIRED, "nobody decided for `review.expire_days`"),
        Move(_C.LATER, _C.QUARANTINED, "its picture is missing or changed"),
        Move(_C.APPROVED, _C.QUARANTINED, "its picture is missing or changed; deliveries are held"),
        Move(_C.APPROVED, _C.PENDING, "undo, while no receiver can have it"),
        Move(_C.APPROVED, _C.LATER, "likewise"),
        Move(_C.REJECTED, _C.PENDING, "undo"),
        Move(_C.REJECTED, _C.LATER, "undo"),
        Move(_C.EXPIRED, _C.PENDING, "undo"),
        Move(_C.EXPIRED, _C.LATER, "undo"),
        Move(_C.QUARANTINED, _C.PENDING, "its picture is restored"),
        Move(_C.QUARANTINED, _C.LATER, "its picture is restored"),
        Move(_C.QUARANTINED, _C.APPROVED, "the picture of an approved work is restored"),
    ),
)

UNDECIDED = (CandidateState.PENDING, CandidateState.LATER)
"""What a person has still to decide about; what nobody has looked at comes first."""

MOST_STARS = 5

MAX_RENDER_ATTEMPTS = 3
"""A candidate that could not be rendered so many times is failed."""


def expires_before(expire_days: float) -> timedelta | None:
    """How long a candidate waits for a decision; None for ever (0 days)."""
    return timedelta(days=expire_days) if expire_days else None


def undos(log: Iterable[tuple[int, int | None]]) -> set[int]:
    """Of one candidate's decisions, each an id and the id of what it takes back, in their order: those that are
    undos. What takes back an undo is a redo, and can be undone as what it brings back."""
    found: set[int] = set()
    for number, undoes in log:
        if undoes is not None and undoes not in found:
            found.add(number)
    return found


def decision_words(was: str, now: str, stars: int | None) -> str:
    """What was decided: `approved`, `put off until later`, `3 stars`."""
    if was == now:
        return stars_words(stars or 0)
    return "put off until later" if now == CandidateState.LATER else now


def stars_words(stars: int) -> str:
    return {0: "no stars", 1: "1 star"}.get(stars, f"{stars} stars")

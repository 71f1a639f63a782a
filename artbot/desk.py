"""What lies before the person who chooses, and what they can do with it: the one door of every face that shows pictures.

A face lays out a `Sheet`, opens a `Card`, and says with every act what the person saw. It holds no state of its own:
whatever is decided elsewhere is there when it looks again, and who was overtaken is told (`Stale`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from artbot.domain.candidate import CandidateState
from artbot.errors import NotAllowed
from artbot.review.decisions import Author, Seen, Words
from artbot.workplace import Workplace

MOST_TILES = 500
"""On one sheet; more than anybody looks at."""


class Show(StrEnum):
    """Which candidates lie on the sheet."""

    UNDECIDED = "undecided"  # pending and later: the day's work
    PENDING = "pending"
    LATER = "later"
    APPROVED = "approved"
    REJECTED = "rejected"
    ALL = "all"


@dataclass(frozen=True)
class Tile:
    """One picture on the sheet."""

    id: int
    name: str
    batch: str
    place: int
    """From 1 within its batch."""
    state: CandidateState
    stars: int
    width_px: int
    height_px: int
    seen: Seen
    """What this person sees; to be given back with every act."""
    path: Path
    """Of the PNG. A face shows these very bytes: their sha256 is `seen.image_sha256`."""
    parent_ids: tuple[int, ...]
    method: str
    """How it came from its parents; empty where it has none."""


@dataclass(frozen=True)
class Stack:
    """Pictures so alike that they are looked at together; mostly one. The first lies on top."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class BatchLine:
    """A batch to choose from, for a list of them."""

    key: str
    num_undecided: int
    num_painted: int


@dataclass(frozen=True)
class Sheet:
    """What is laid out."""

    show: Show
    batch: str | None
    """The key of the one batch it is of; None: of all."""
    stacks: tuple[Stack, ...]
    counts: dict[Show, int]
    """How many there are of each, in that batch or in all."""
    batches: tuple[BatchLine, ...]
    """The newest first, those that have something undecided and the newest ten."""
    has_more: bool


@dataclass(frozen=True)
class Count:
    """How much of what it may have a text has, counted as its channel counts."""

    what: str
    """`text`, `alt text`."""
    has: int
    most: int
    unit: str


@dataclass(frozen=True)
class Fit:
    """How a work fits a channel."""

    channel: str
    counts: tuple[Count, ...]
    refusal: str | None
    """Why it could never go out there like this."""


class AltRemark(StrEnum):
    """What there is to say about an alt text before it is approved."""

    MISSING = "missing"
    DRAFT = "draft"  # as [texts] drafts it: it says nothing about this picture
    REPEATED = "repeated"  # the same as one of the last thirty approved


@dataclass(frozen=True)
class Checked:
    """How words would do."""

    alt: AltRemark | None
    alt_words: str
    """The remark, for the person; empty if there is none."""
    fits: tuple[Fit, ...]


@dataclass(frozen=True)
class ChannelLine:
    """A channel that the work could go to."""

    name: str
    kind: str
    goes_out: str
    """When it would go out there if it were approved now: `tomorrow 18:30 (Europe/Berlin)`."""
    trouble: str | None
    """Why nothing goes out there at the moment: it is paused, or rests."""


@dataclass(frozen=True)
class DeliveryLine:
    """Where an approved work stands on a channel."""

    id: int
    channel: str
    words: str
    """`goes out tomorrow 18:30 (Europe/Berlin)`, `delivered 14:32`."""
    url: str | None


@dataclass(frozen=True)
class Relative:
    """A parent or a child."""

    id: int
    name: str
    state: str
    method: str


@dataclass(frozen=True)
class Card:
    """One picture with all that belongs to it."""

    tile: Tile
    facts: tuple[tuple[str, str], ...]
    """Seed, generator, batch, size, when it was painted."""
    words: Words
    """As approved, or as they would be: nothing in it is None."""
    checked: Checked
    channels: tuple[ChannelLine, ...]
    deliveries: tuple[DeliveryLine, ...]
    history: tuple[str, ...]
    """What was decided, the oldest first: `14:32  approved, by anna (web)`."""
    parents: tuple[Relative, ...]
    children: tuple[Relative, ...]
    can_have_children: bool


@dataclass(frozen=True)
class Summary:
    """What there is to say when nothing is left to choose."""

    num_approved: int
    num_rejected: int
    num_later: int
    num_being_painted: int
    """Children that were asked for and are not painted yet."""
    queued_until: datetime | None
    """When the last of what waits goes out; None: nothing waits."""
    troubles: tuple[str, ...]
    """Deliveries and channels that need a person, each with the command that helps."""
    next_batch: str | None
    """`tomorrow 07:00`; None: no schedule."""


class AltTextWanted(NotAllowed):
    """Nobody has written an alt text for this picture yet, and nobody has said that the draft will do."""


@dataclass(frozen=True)
class Desk:
    """A workplace, and who sits at it."""

    workplace: Workplace
    author: Author

    def lay_out(self, show: Show = Show.UNDECIDED, batch: str | None = None) -> Sheet:
        """Undecided ones as artbot.review.reading lists them, others the newest batch first; of each batch those
        that look alike together. Raises UsageError for a batch that is none."""
        raise NotImplementedError

    def open(self, candidate_id: int) -> Card:
        """Raises UsageError (no such candidate), NotAllowed (it has no picture)."""
        raise NotImplementedError

    def tile(self, candidate_id: int) -> Tile:
        """As it is now. Raises UsageError, NotAllowed."""
        raise NotImplementedError

    def check(self, candidate_id: int, words: Words) -> Checked:
        """What there is to say about these words, on every channel. Quick: for every change of a letter.

        Raises UsageError (no such candidate, words that are no text)."""
        raise NotImplementedError

    def summary(self) -> Summary:
        """Of today, by this machine's clock, and of what waits."""
        raise NotImplementedError

    def approve(
        self,
        candidate_id: int,
        seen: Seen,
        words: Words | None = None,
        channels: Sequence[str] | None = None,
        when: str = "next",
        is_draft_fine: bool = False,
    ) -> Tile:
        """`when`: as people write it (artbot.domain.slots.parse_when).

        Raises AltTextWanted unless `is_draft_fine`, and what artbot.review.decisions.approve raises."""
        raise NotImplementedError

    def reject(self, candidate_id: int, seen: Seen) -> Tile:
        """Raises as artbot.review.decisions.reject."""
        raise NotImplementedError

    def put_off(self, candidate_id: int, seen: Seen) -> Tile:
        raise NotImplementedError

    def give_stars(self, candidate_id: int, stars: int, seen: Seen) -> Tile:
        raise NotImplementedError

    def undo(self, candidate_id: int | None = None, seen: Seen | None = None) -> Tile:
        """The last decision of all, or on one. The tile is the one it was about."""
        raise NotImplementedError

    def redo(self, candidate_id: int | None = None, seen: Seen | None = None) -> Tile:
        raise NotImplementedError

    def reject_rest(self, saw: dict[int, Seen]) -> list[Tile]:
        """Reject all of these that are pending still, and leave those that somebody else decided about meanwhile."""
        raise NotImplementedError

    def undo_each(self, candidate_ids: Sequence[int]) -> list[Tile]:
        """Take back the last decision on each of these, in one transaction: what `reject_rest` did."""
        raise NotImplementedError

    def vary(self, candidate_id: int, strength: str, count: int = 4) -> list[int]:
        """Plan children; the daemon paints them. `strength`: subtle, strong. Their numbers."""
        raise NotImplementedError

    def breed(self, one_id: int, other_id: int) -> list[int]:
        raise NotImplementedError

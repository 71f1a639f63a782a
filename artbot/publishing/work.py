"""An approved work as every channel gets it: its facts, its words and its picture, frozen by the approval."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Protocol

from artbot.pictures import read_picture
from db.models import Candidate


@dataclass(frozen=True)
class Generator:
    """The network that painted the work."""

    name: str
    """Of the exported checkpoint."""
    sha256: str
    """Of its weights."""
    dataset: str
    """Name of the pictures it learned from."""


@dataclass(frozen=True)
class Picture:
    """A picture as bytes of a file."""

    content: bytes
    media_type: str
    width_px: int
    height_px: int
    sha256: str
    """Hex digest of `content`."""
    url: str | None = None
    """Where everybody can fetch it; None: nowhere."""


class Signer(Protocol):
    """Signs a rendition when all else is done to it."""

    @property
    def room_bytes(self) -> int:
        """No signature makes a file larger by more."""

    def sign(self, content: bytes, media_type: str) -> bytes:
        """The signed file, the same every time. Raises Unavailable."""


@dataclass(frozen=True)
class Work:
    """What may be said of an approved work. Times are aware UTC."""

    number: int
    """What a person calls it here: the candidate's id."""
    name: str
    """What the world may call it, for ever: `daily-2026-11-21-03`."""
    batch: str
    local_date: date
    """Of its batch."""
    seed: int
    class_name: str | None
    """What of the generator's classes it shows, if one was asked for."""
    recipe: dict[str, Any]
    generator: Generator
    created_at: datetime
    approved_at: datetime
    title: str
    caption: str
    """May be empty."""
    alt: str
    """Text for people who do not see the picture."""
    hashtags: tuple[str, ...]
    """Without #."""
    warning: str
    """What people should know before they see it; empty: nothing."""
    language: str
    """Of these words: a BCP 47 tag; may be empty."""
    picture: Picture
    """As it was painted and approved: a PNG."""
    creator: str = ""
    """Who is named as its maker, inside the picture; empty: nobody."""
    signer: Signer | None = None
    """What its renditions are signed with; None: they are not."""
    public_picture: Picture | None = None
    """As another channel shows it to everybody, with its address: for a channel with `picture_from`."""


def approved_work(candidate: Candidate, works: Path) -> Work:
    """The work an approved candidate is, its picture read from `works` and checked.

    Raises PictureChanged (it is gone, or another one), StorageFailed (it cannot be read now).
    """
    assert candidate.approved_at is not None
    assert candidate.rendered_at is not None
    assert candidate.image_sha256 is not None
    return Work(
        number=candidate.id,
        name=candidate.name,
        batch=candidate.batch.key,
        local_date=candidate.batch.local_date,
        seed=candidate.seed,
        class_name=candidate.recipe.get("class"),
        recipe=candidate.recipe,
        generator=Generator(
            name=candidate.checkpoint.name,
            sha256=candidate.checkpoint_sha256,
            dataset=candidate.checkpoint.manifest["dataset"]["name"],
        ),
        created_at=candidate.rendered_at,
        approved_at=candidate.approved_at,
        title=candidate.title or "",
        caption=candidate.caption or "",
        alt=candidate.alt or "",
        hashtags=tuple((candidate.hashtags or "").split()),
        warning=candidate.warning or "",
        language=candidate.language or "",
        picture=Picture(
            content=read_picture(works, candidate),
            media_type="image/png",
            width_px=candidate.width or 0,
            height_px=candidate.height or 0,
            sha256=candidate.image_sha256,
        ),
    )

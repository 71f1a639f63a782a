"""What a site, or a bucket, knows of a work: one small JSON file each, beside its page."""

from __future__ import annotations

import json
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from artbot.errors import Rejected
from artbot.publishing.channels import Post
from artbot.publishing.work import Picture, Work
from artbot.publishing.xmp import SOURCE_TYPE

FOLDER = "works/"
_SUFFIXES = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class PictureFacts(_Part):
    """A picture's file."""

    file: Annotated[str, Field(pattern=r"^pictures/[0-9a-f]{64}\.(png|webp|jpg)$")]
    """Named by its content."""
    media_type: str
    width: Annotated[int, Field(ge=1)]
    """px"""
    height: Annotated[int, Field(ge=1)]
    """px"""
    bytes: Annotated[int, Field(ge=1)]
    sha256: Sha256


class GeneratorFacts(_Part):
    """The network that painted the work."""

    name: str
    sha256: Sha256
    """Of its weights."""
    dataset: str
    """The pictures it learned from."""


class Record(_Part):
    """A work that hangs."""

    version: Literal[1] = 1
    id: Annotated[str, Field(min_length=1)]
    """What feeds call it, for ever."""
    name: Name
    title: str
    text: str
    alt: str
    warning: str
    """What people should know before they see it; empty: nothing."""
    language: str
    """Of these words; may be empty."""
    hashtags: tuple[str, ...]
    date: date
    approved_at: AwareDatetime
    painted_at: AwareDatetime
    picture: PictureFacts
    """The best that there is."""
    sizes: tuple[PictureFacts, ...] = ()
    """For screens, the smallest first."""
    painted_sha256: Sha256
    """Of the file as it was painted."""
    generator: GeneratorFacts
    seed: int
    class_name: str | None
    batch: str
    recipe: dict[str, Any]
    digital_source_type: str = SOURCE_TYPE

    @property
    def file(self) -> str:
        return f"{FOLDER}{self.name}.json"

    @property
    def page(self) -> str:
        return f"{FOLDER}{self.name}.html"

    @property
    def pictures(self) -> tuple[PictureFacts, ...]:
        return (*self.sizes, self.picture)

    def to_json(self) -> bytes:
        return (self.model_dump_json(indent=2) + "\n").encode()


def record_of(
    work: Work, post: Post, sizes: tuple[Picture, ...] = (), *, authority: str = ""
) -> Record:
    """The record of an approved work. `authority`: the host that ids are made with (RFC 4151)."""
    assert post.picture is not None
    return Record(
        id=f"tag:{authority},{work.local_date}:{work.name}" if authority else work.name,
        name=work.name,
        title=work.title or work.name,
        text=post.text,
        alt=post.alt,
        warning=work.warning,
        language=work.language,
        hashtags=work.hashtags,
        date=work.local_date,
        approved_at=work.approved_at,
        painted_at=work.created_at,
        picture=facts_of(post.picture),
        sizes=tuple(map(facts_of, sizes)),
        painted_sha256=work.picture.sha256,
        generator=GeneratorFacts(
            name=work.generator.name,
            sha256=work.generator.sha256,
            dataset=work.generator.dataset,
        ),
        seed=work.seed,
        class_name=work.class_name,
        batch=work.batch,
        recipe=work.recipe,
    )


def facts_of(picture: Picture) -> PictureFacts:
    return PictureFacts(
        file=f"pictures/{picture.sha256}.{_SUFFIXES[picture.media_type]}",
        media_type=picture.media_type,
        width=picture.width_px,
        height=picture.height_px,
        bytes=len(picture.content),
        sha256=picture.sha256,
    )


def read_record(content: bytes) -> Record:
    """Raises ValueError, in one line, for what is none."""
    try:
        return Record.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error


def check_same(standing: Record, record: Record, where: str) -> None:
    """Raises Rejected if another work stands at this name."""
    if standing.painted_sha256 != record.painted_sha256:
        raise Rejected(
            f"{record.file} at {where} is another work of this name: two workplaces write there. Give each a "
            "place of its own"
        )


def as_json(value: object) -> bytes:
    """Always the same bytes for the same."""
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()

"""What a webhook receives: the event's fields, which docs/webhook.schema.json is made from.

An event is built from what the approval froze, so every attempt of a delivery sends the same bytes.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from artbot.pictures import read_picture
from db.models import Candidate
from db.types import utc_text

SCHEMA_ID = "artbot-webhook-1"
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
UtcTime = Annotated[
    str,
    Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$",
        examples=["2026-11-21T07:00:00.000000Z"],
    ),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GeneratorFacts(_Part):
    """The network that painted the work."""

    name: str = Field(description="Name of the exported checkpoint.")
    sha256: Sha256 = Field(description="Of its weights: generator.safetensors.")
    dataset: str = Field(description="Name of the pictures it learned from.")


class ArtworkFacts(_Part):
    """The work and how it came about."""

    id: str = Field(description="Stable name of the work.", examples=["daily-2026-11-21-03"])
    title: str
    caption: str = Field(description="May be empty.")
    seed: int = Field(
        ge=0, lt=2**53, description="With generator and recipe, enough to paint it again."
    )
    batch: str = Field(
        description="The day's batch it was chosen from.", examples=["daily-2026-11-21"]
    )
    created_at: UtcTime = Field(description="When it was painted.")
    approved_at: UtcTime = Field(description="When a person approved it.")
    generator: GeneratorFacts
    recipe: dict[str, Any] = Field(description="Settings of the painting besides the seed.")


class ImageFacts(_Part):
    """The picture itself."""

    media_type: Literal["image/png"]
    width: int = Field(ge=1, description="px")
    height: int = Field(ge=1, description="px")
    bytes: int = Field(ge=1, description="Length of the decoded file.")
    sha256: Sha256 = Field(description="Of the decoded file: check it.")
    alt: str = Field(description="Text for people who do not see the picture.")
    base64: str = Field(description="The file, RFC 4648 section 4, padded, no line breaks.")


class ArtworkPublished(_Part):
    """The data of an `artwork.published` event."""

    artwork: ArtworkFacts
    image: ImageFacts


class Event(_Part):
    """Body of a webhook request, by the Standard Webhooks convention: type, timestamp, data."""

    type: Literal["artwork.published"]
    timestamp: UtcTime = Field(
        description="When the event happened (the approval), not when it is sent."
    )
    data: ArtworkPublished


def artwork_published(candidate: Candidate, works: Path) -> Event:
    """The event of an approved candidate, its picture read from `works` and checked.

    Raises PictureChanged (it is gone, or another one), StorageFailed (it cannot be read now).
    """
    assert candidate.approved_at is not None
    assert candidate.rendered_at is not None
    assert candidate.image_sha256 is not None
    content = read_picture(works, candidate)
    return Event(
        type="artwork.published",
        timestamp=utc_text(candidate.approved_at),
        data=ArtworkPublished(
            artwork=ArtworkFacts(
                id=candidate.name,
                title=candidate.title or "",
                caption=candidate.caption or "",
                seed=candidate.seed,
                batch=candidate.batch.key,
                created_at=utc_text(candidate.rendered_at),
                approved_at=utc_text(candidate.approved_at),
                generator=GeneratorFacts(
                    name=candidate.checkpoint.name,
                    sha256=candidate.checkpoint_sha256,
                    dataset=candidate.checkpoint.manifest["dataset"]["name"],
                ),
                recipe=candidate.recipe,
            ),
            image=ImageFacts(
                media_type="image/png",
                width=candidate.width or 0,
                height=candidate.height or 0,
                bytes=len(content),
                sha256=candidate.image_sha256,
                alt=candidate.alt or "",
                base64=base64.b64encode(content).decode("ascii"),
            ),
        ),
    )


def event_bytes(event: Event) -> bytes:
    """The exact bytes that are signed and sent."""
    return json.dumps(
        event.model_dump(), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()


def event_schema() -> str:
    """The JSON Schema (2020-12) of an event, as it stands in docs/webhook.schema.json."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **Event.model_json_schema(),
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"

"""What a webhook receives: the event's fields, which docs/webhook.schema.json is made from.

An event is built from what the approval froze, so every attempt of a delivery sends the same bytes.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from artbot.publishing.work import Work
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


class TestData(_Part):
    """The data of a `test` event."""

    said_at: UtcTime = Field(description="When a person asked for it.")


class TestEvent(_Part):
    """What `artbot channels test` sends: it proves address and secret, and shows nothing."""

    type: Literal["test"]
    timestamp: UtcTime
    data: TestData


def test_event(now: datetime) -> TestEvent:
    """The event that only asks whether it is understood."""
    return TestEvent(type="test", timestamp=utc_text(now), data=TestData(said_at=utc_text(now)))


def artwork_published(work: Work) -> Event:
    """The event that tells of an approved work."""
    picture = work.picture
    return Event(
        type="artwork.published",
        timestamp=utc_text(work.approved_at),
        data=ArtworkPublished(
            artwork=ArtworkFacts(
                id=work.name,
                title=work.title,
                caption=work.caption,
                seed=work.seed,
                batch=work.batch,
                created_at=utc_text(work.created_at),
                approved_at=utc_text(work.approved_at),
                generator=GeneratorFacts(
                    name=work.generator.name,
                    sha256=work.generator.sha256,
                    dataset=work.generator.dataset,
                ),
                recipe=work.recipe,
            ),
            image=ImageFacts(
                media_type="image/png",
                width=picture.width_px,
                height=picture.height_px,
                bytes=len(picture.content),
                sha256=picture.sha256,
                alt=work.alt,
                base64=base64.b64encode(picture.content).decode("ascii"),
            ),
        ),
    )


def event_bytes(event: Event | TestEvent) -> bytes:
    """The exact bytes that are signed and sent."""
    return json.dumps(
        event.model_dump(), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()


def event_schema() -> str:
    """The JSON Schema (2020-12) of all events, as it stands in docs/webhook.schema.json."""
    events: TypeAdapter[Event | TestEvent] = TypeAdapter(Event | TestEvent)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **events.json_schema(),
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"

"""What a webhook receives: the event's fields, which docs/webhook.schema.json is made from.

An event is built anew for every attempt, from what the approval froze and nothing else: one artbot makes the same bytes
of it every time. A newer one may add fields to what an older one has begun to send; the receiver knows a repetition by
its `webhook-id`.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from artbot.publishing.work import Picture, Work
from db.types import utc_text

SCHEMA_ID = "artbot-webhook-1"
CLOUD_EVENT_SOURCE = "/artbot"
"""A URI reference: artbot knows no address of its own."""
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
    warning: str = Field(
        description="What people should know before they see it: show this first. Empty: nothing.",
        examples=["Flashing colours"],
    )
    hashtags: tuple[str, ...] = Field(
        description="Without #. May be empty.", examples=[["flowers"]]
    )
    language: str = Field(
        description="Of title, caption, alt and warning: a BCP 47 tag. May be empty.",
        examples=["en"],
    )
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
    """What is known of the picture, wherever it is."""

    media_type: Literal["image/png"]
    width: int = Field(ge=1, description="px")
    height: int = Field(ge=1, description="px")
    bytes: int = Field(ge=1, description="Length of the file.")
    sha256: Sha256 = Field(description="Of the file: check it.")
    alt: str = Field(description="Text for people who do not see the picture.")


class InlineImage(ImageFacts):
    """The picture travels inside (picture = "inline")."""

    base64: str = Field(description="The file, RFC 4648 section 4, padded, no line breaks.")


class LinkedImage(ImageFacts):
    """The picture is to be fetched (picture = "url")."""

    url: str = Field(
        description="Where the file can be fetched; made from its content, so always the same file.",
        examples=["https://art.example.org/pictures/1f0c….png"],
    )


class ArtworkPublished(_Part):
    """The data of an `artwork.published` event."""

    artwork: ArtworkFacts
    image: InlineImage | LinkedImage


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


class BatchFacts(_Part):
    """A batch that is painted."""

    id: str = Field(description="Stable name of the batch.", examples=["daily-2026-11-21"])
    schedule: str
    date: str = Field(pattern=r"^\d{4}-\d\d-\d\d$", description="The local day it is of.")
    state: Literal["ready", "partial"] = Field(description="partial: some could not be painted.")
    painted: int = Field(ge=1, description="How many candidates there are to choose from.")
    failed: int = Field(ge=0, description="How many could not be painted.")
    generator: GeneratorFacts


class BatchReadyData(_Part):
    """The data of a `batch.ready` event."""

    batch: BatchFacts
    waiting: int = Field(
        ge=0, description="How many candidates waited for a decision then, of all batches."
    )


class BatchReady(_Part):
    """There is something to choose from."""

    type: Literal["batch.ready"]
    timestamp: UtcTime = Field(description="When the last picture was painted.")
    data: BatchReadyData


class ArtworkName(_Part):
    """Which work."""

    id: str = Field(description="Stable name of the work.", examples=["daily-2026-11-21-03"])
    title: str


class DeliveryFacts(_Part):
    """A delivery that waits for a person now."""

    number: int = Field(description="What `artbot deliveries` knows it by.")
    channel: str = Field(description="Name of the channel, never the one that is told.")
    state: Literal["failed", "dead", "uncertain", "held"] = Field(
        description="refused; given up after every attempt; possibly posted; waits for its channel."
    )
    reason: str = Field(description="In words, without secrets.")


class DeliveryFailedData(_Part):
    """The data of a `delivery.failed` event."""

    artwork: ArtworkName
    delivery: DeliveryFacts


class DeliveryFailed(_Part):
    """A work did not get through to another channel."""

    type: Literal["delivery.failed"]
    timestamp: UtcTime = Field(description="When the last attempt ended.")
    data: DeliveryFailedData


AnyEvent = Event | TestEvent | BatchReady | DeliveryFailed
"""All that a webhook may receive."""


def test_event(now: datetime) -> TestEvent:
    """The event that only asks whether it is understood."""
    return TestEvent(type="test", timestamp=utc_text(now), data=TestData(said_at=utc_text(now)))


def artwork_published(work: Work) -> Event:
    """The event that tells of an approved work and its `picture`, which is linked if it has an address."""
    return Event(
        type="artwork.published",
        timestamp=utc_text(work.approved_at),
        data=ArtworkPublished(
            artwork=ArtworkFacts(
                id=work.name,
                title=work.title,
                caption=work.caption,
                warning=work.warning,
                hashtags=work.hashtags,
                language=work.language,
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
            image=_image(work.picture, work.alt),
        ),
    )


def _image(picture: Picture, alt: str) -> InlineImage | LinkedImage:
    assert picture.media_type == "image/png"
    facts = ImageFacts(
        media_type="image/png",
        width=picture.width_px,
        height=picture.height_px,
        bytes=len(picture.content),
        sha256=picture.sha256,
        alt=alt,
    ).model_dump()
    if picture.url is not None:
        return LinkedImage(**facts, url=picture.url)
    return InlineImage(**facts, base64=base64.b64encode(picture.content).decode("ascii"))


def event_bytes(event: BaseModel) -> bytes:
    """One of these events as the exact bytes that are signed and sent."""
    return _json(event.model_dump())


def cloud_event(event: bytes, event_id: str) -> bytes:
    """The bytes of an event in an envelope: CloudEvents 1.0, "JSON Event Format", structured mode."""
    said = json.loads(event)
    return _json(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": CLOUD_EVENT_SOURCE,
            "type": said["type"],
            "time": said["timestamp"],
            "datacontenttype": "application/json",
            "data": said["data"],
        }
    )


def _json(value: object) -> bytes:
    """Always the same bytes for the same."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def event_schema() -> str:
    """The JSON Schema (2020-12) of all events, as it stands in docs/webhook.schema.json."""
    events: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        **events.json_schema(),
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"

"""The tables. Rows say what happened; what follows from rows (published, waiting) is never stored.

Checkpoint 1─n Batch 1─n Candidate 1─n Decision
                         Candidate 1─n Delivery 1─n Attempt
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from db.types import IsoDate, JsonText, UtcDateTime

BATCH_STATES = ("planned", "generating", "ready", "partial", "failed", "skipped")
CANDIDATE_STATES = ("planned", "pending", "approved", "rejected", "failed")
DELIVERY_STATES = (
    "queued",
    "sending",
    "retry_wait",
    "delivered",
    "failed",
    "cancelled",
)
OUTCOMES = ("delivered", "rejected", "unavailable", "unknown")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Checkpoint(Base):
    """An exported generator that was used at least once; its weights are kept with the works."""

    __tablename__ = "checkpoints"

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    """Of generator.safetensors."""
    name: Mapped[str] = mapped_column(Text)
    manifest: Mapped[dict[str, Any]] = mapped_column(JsonText)
    first_used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Batch(Base):
    """The candidates of one schedule and local date. The unique key is what makes a day happen once."""

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("schedule", "local_date", "number"),
        CheckConstraint(_one_of("state", BATCH_STATES), name="state"),
        CheckConstraint("state != 'skipped' OR reason IS NOT NULL", name="skipped_has_reason"),
        CheckConstraint(
            "state IN ('planned', 'skipped') OR checkpoint_sha256 IS NOT NULL",
            name="made_from_checkpoint",
        ),
        Index(None, "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, unique=True)
    """`daily-2026-11-21`; the seeds derive from it."""
    schedule: Mapped[str] = mapped_column(Text)
    local_date: Mapped[date] = mapped_column(IsoDate)
    number: Mapped[int] = mapped_column(default=0)
    """0 for the day's own batch, 1, 2, … for those asked for besides."""
    state: Mapped[str] = mapped_column(Text)
    num_candidates: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    planned_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checkpoint_sha256: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.sha256"))
    reason: Mapped[str | None] = mapped_column(Text)
    """Why it was skipped, or what it waits for."""

    checkpoint: Mapped[Checkpoint | None] = relationship()
    candidates: Mapped[list[Candidate]] = relationship(
        back_populates="batch", order_by="Candidate.index"
    )


class Candidate(Base):
    """One picture, reproducible from (checkpoint sha256, seed, recipe), which precede its pixels."""

    __tablename__ = "candidates"
    __table_args__ = (
        UniqueConstraint("batch_id", "index"),
        CheckConstraint(_one_of("state", CANDIDATE_STATES), name="state"),
        CheckConstraint(
            "state IN ('planned', 'failed') OR (path IS NOT NULL AND image_sha256 IS NOT NULL "
            "AND pixel_sha256 IS NOT NULL)",
            name="seen_has_picture",
        ),
        CheckConstraint("state != 'approved' OR approved_at IS NOT NULL", name="approved_has_time"),
        Index(None, "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    index: Mapped[int]
    """From 1 within the batch."""
    name: Mapped[str] = mapped_column(Text, unique=True)
    """`daily-2026-11-21-03`: its name to the world, and of its file."""
    seed: Mapped[int] = mapped_column(BigInteger)
    checkpoint_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoints.sha256"))
    recipe: Mapped[dict[str, Any]] = mapped_column(JsonText)
    state: Mapped[str] = mapped_column(Text)
    row_version: Mapped[int] = mapped_column(default=1)
    """Raised by every decision, so that a stale one is told instead of winning."""
    planned_at: Mapped[datetime] = mapped_column(UtcDateTime)
    rendered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    num_render_errors: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str | None] = mapped_column(Text)
    """Of the PNG, relative to the works folder."""
    width: Mapped[int | None]
    height: Mapped[int | None]
    num_bytes: Mapped[int | None]
    image_sha256: Mapped[str | None] = mapped_column(Text)
    """Of the PNG file."""
    pixel_sha256: Mapped[str | None] = mapped_column(Text)
    """Of the decoded pixels: what a re-rendering is compared with."""
    environment: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
    """torch version, device and dtype that made the pixels."""
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    title: Mapped[str | None] = mapped_column(Text)
    alt: Mapped[str | None] = mapped_column(Text)
    caption: Mapped[str | None] = mapped_column(Text)

    batch: Mapped[Batch] = relationship(back_populates="candidates")
    checkpoint: Mapped[Checkpoint] = relationship()
    decisions: Mapped[list[Decision]] = relationship(
        back_populates="candidate", order_by="Decision.id"
    )
    deliveries: Mapped[list[Delivery]] = relationship(
        back_populates="candidate", order_by="Delivery.id"
    )


class Decision(Base):
    """What a person did. Only ever added to; an undo is a decision too."""

    __tablename__ = "decisions"
    __table_args__ = (
        CheckConstraint(_one_of("was", CANDIDATE_STATES), name="was"),
        CheckConstraint(_one_of("now", CANDIDATE_STATES), name="now"),
        Index(None, "candidate_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    was: Mapped[str] = mapped_column(Text)
    now: Mapped[str] = mapped_column(Text)
    undoes: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"), unique=True)
    image_sha256: Mapped[str | None] = mapped_column(Text)
    """The picture the person saw."""
    title: Mapped[str | None] = mapped_column(Text)
    alt: Mapped[str | None] = mapped_column(Text)
    caption: Mapped[str | None] = mapped_column(Text)
    by: Mapped[str] = mapped_column(Text)
    """Who, as far as the machine knows."""
    via: Mapped[str] = mapped_column(Text)
    """Through which face: `cli`, …"""
    at: Mapped[datetime] = mapped_column(UtcDateTime)

    candidate: Mapped[Candidate] = relationship(back_populates="decisions")


class Delivery(Base):
    """One candidate to one channel. Made with the approval, in the same transaction."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("candidate_id", "channel"),
        CheckConstraint(_one_of("state", DELIVERY_STATES), name="state"),
        CheckConstraint(
            "state != 'delivered' OR delivered_at IS NOT NULL",
            name="delivered_has_time",
        ),
        Index(None, "state", "next_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    channel: Mapped[str] = mapped_column(Text)
    delivery_key: Mapped[str] = mapped_column(Text, unique=True)
    """Fixed for life: what the receiver recognises a repetition by."""
    state: Mapped[str] = mapped_column(Text)
    num_attempts: Mapped[int] = mapped_column(default=0)
    """Since it was last queued; also the version a claim compares and swaps."""
    next_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Not before this."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)

    candidate: Mapped[Candidate] = relationship(back_populates="deliveries")
    attempts: Mapped[list[Attempt]] = relationship(back_populates="delivery", order_by="Attempt.id")


class Attempt(Base):
    """One try of a delivery, written down before the connection is opened."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(f"outcome IS NULL OR {_one_of('outcome', OUTCOMES)}", name="outcome"),
        Index(None, "delivery_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("deliveries.id"))
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    body_sha256: Mapped[str] = mapped_column(Text)
    """Of the request's body: the same for every attempt."""
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(Text)
    status: Mapped[int | None]
    """HTTP status of the answer, if there was one."""
    detail: Mapped[str | None] = mapped_column(Text)
    """What went wrong, or the beginning of the answer; redacted."""

    delivery: Mapped[Delivery] = relationship(back_populates="attempts")

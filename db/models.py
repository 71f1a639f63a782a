"""The tables. Rows say what happened; what follows from rows (published, waiting) is never stored.

Checkpoint 1─n Batch 1─n Candidate 1─n Decision
                         Candidate 1─n Delivery 1─n Attempt
                                       Delivery 1─n Intervention n─1 Channel
A candidate may have other candidates for parents.
Notice: what is told of all this, told apart by (recipient, kind, subject).

What the database itself refuses (migrations 0002, 0005, 0006 and 0008, SQLite and PostgreSQL): a state that
`transitions` does not lead to; another checkpoint, seed, recipe or parent for a candidate; another key for a delivery or a notice;
sending what is on hold; changing or removing a decision, an intervention, a closed attempt; removing a candidate or a
delivery.
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
CANDIDATE_STATES = (
    "planned",
    "pending",
    "later",
    "approved",
    "rejected",
    "expired",
    "quarantined",
    "failed",
)
DELIVERY_STATES = (
    "queued",
    "sending",
    "retry_wait",
    "delivered",
    "uncertain",
    "held",
    "failed",
    "dead",
    "cancelled",
)
CHANNEL_STATES = ("active", "paused", "disabled")
ACTS = (
    "retry",
    "posted",
    "absent",
    "withdraw",
    "replay",
    "pause",
    "resume",
    "restore",
    "rest",
    "hold",
    "release",
    "move",
)
OUTCOMES = ("delivered", "rejected", "unavailable", "unknown")
NOTICE_STATES = ("waiting", "sent", "given_up")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """Constraints are named, so that a migration can find them on every database."""

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
        Index(None, "due_at"),
        Index(None, "finished_at"),
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
        CheckConstraint("stars BETWEEN 0 AND 5", name="stars"),
        CheckConstraint("parent_id < id AND other_parent_id < id", name="parents_came_before"),
        CheckConstraint(
            "other_parent_id IS NULL OR (parent_id IS NOT NULL AND other_parent_id != parent_id)",
            name="parents_are_two",
        ),
        Index(None, "state", "batch_id"),
        Index(None, "parent_id"),
        Index(None, "other_parent_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    """A child joins the batch of its first parent."""
    index: Mapped[int]
    """From 1 within the batch; children come after all that the batch was planned with."""
    name: Mapped[str] = mapped_column(Text, unique=True)
    """`daily-2026-11-21-03`: its name to the world, and of its file."""
    seed: Mapped[int] = mapped_column(BigInteger)
    checkpoint_sha256: Mapped[str] = mapped_column(ForeignKey("checkpoints.sha256"))
    recipe: Mapped[dict[str, Any]] = mapped_column(JsonText)
    """Of a child it holds the whole descent (`trainers.descent`): its parents' rows are not needed to paint it."""
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    """Whose variation it is, or the first of the two it is bred from."""
    other_parent_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
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
    likeness: Mapped[str | None] = mapped_column(Text)
    """What the picture looks like (artbot.domain.likeness); None in rows older than migration 0009."""
    environment: Mapped[dict[str, Any] | None] = mapped_column(JsonText)
    """torch version, device and dtype that made the pixels."""
    stars: Mapped[int] = mapped_column(default=0)
    """0 to 5: how a person likes it."""
    approved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    title: Mapped[str | None] = mapped_column(Text)
    alt: Mapped[str | None] = mapped_column(Text)
    caption: Mapped[str | None] = mapped_column(Text)
    hashtags: Mapped[str | None] = mapped_column(Text)
    """Without #, separated by spaces."""
    warning: Mapped[str | None] = mapped_column(Text)
    """What people should know before they see it; empty: nothing."""
    language: Mapped[str | None] = mapped_column(Text)
    """Of these words: a BCP 47 tag."""

    batch: Mapped[Batch] = relationship(back_populates="candidates")
    checkpoint: Mapped[Checkpoint] = relationship()
    decisions: Mapped[list[Decision]] = relationship(
        back_populates="candidate", order_by="Decision.id"
    )
    deliveries: Mapped[list[Delivery]] = relationship(
        back_populates="candidate", order_by="Delivery.id"
    )


class Decision(Base):
    """What was decided about a candidate. Only ever added to. An undo is a decision too, and so are stars, which
    leave it in its state."""

    __tablename__ = "decisions"
    __table_args__ = (
        CheckConstraint(_one_of("was", CANDIDATE_STATES), name="was"),
        CheckConstraint(_one_of("now", CANDIDATE_STATES), name="now"),
        CheckConstraint("stars BETWEEN 0 AND 5", name="stars"),
        Index(None, "candidate_id"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[int] = mapped_column(ForeignKey("candidates.id"))
    was: Mapped[str] = mapped_column(Text)
    now: Mapped[str] = mapped_column(Text)
    undoes: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"), unique=True)
    """The decision that is taken back. Where that is an undo itself, this is a redo."""
    image_sha256: Mapped[str | None] = mapped_column(Text)
    """The picture the person saw."""
    title: Mapped[str | None] = mapped_column(Text)
    alt: Mapped[str | None] = mapped_column(Text)
    caption: Mapped[str | None] = mapped_column(Text)
    hashtags: Mapped[str | None] = mapped_column(Text)
    warning: Mapped[str | None] = mapped_column(Text)
    language: Mapped[str | None] = mapped_column(Text)
    stars: Mapped[int | None]
    """It has from now on; None, which is 0, in rows older than migration 0007."""
    channels: Mapped[str | None] = mapped_column(Text)
    """Separated by spaces: where an approval sends it, or its undo no longer does. None in older rows."""
    by: Mapped[str] = mapped_column(Text)
    """Who, as far as the machine knows."""
    via: Mapped[str] = mapped_column(Text)
    """Through which face: `cli`, …"""
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    chain: Mapped[str | None] = mapped_column(Text)
    """sha256 over the row before and this one (db.chain); None in rows older than the chain."""

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
    on_hold: Mapped[bool] = mapped_column(default=False)
    """A person holds it back until it is released, whatever else becomes of it meanwhile."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    handles: Mapped[dict[str, str] | None] = mapped_column(JsonText)
    """What the receiver calls what was prepared there, written before anything is public."""
    remote_url: Mapped[str | None] = mapped_column(Text)
    """Where the work can be seen, if the channel or a person said so."""

    candidate: Mapped[Candidate] = relationship(back_populates="deliveries")
    attempts: Mapped[list[Attempt]] = relationship(back_populates="delivery", order_by="Attempt.id")
    interventions: Mapped[list[Intervention]] = relationship(
        back_populates="delivery", order_by="Intervention.id"
    )


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
    """Of the post, which for a webhook is the request's body: the same for every attempt."""
    committing_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it was committed that the public act begins; None: the attempt showed nothing to anybody."""
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    outcome: Mapped[str | None] = mapped_column(Text)
    status: Mapped[int | None]
    """HTTP status of the answer, if there was one."""
    detail: Mapped[str | None] = mapped_column(Text)
    """What went wrong, or the beginning of the answer; redacted."""
    epoch: Mapped[int] = mapped_column(default=0)
    """Of the worker that made it (`workplace.epoch`)."""

    delivery: Mapped[Delivery] = relationship(back_populates="attempts")


class Intervention(Base):
    """What was done to a delivery or a channel, besides deciding about works: by a person, or by artbot itself
    (a pause, a rest, a restore, a move to another slot). Only ever added to."""

    __tablename__ = "interventions"
    __table_args__ = (
        CheckConstraint(_one_of("act", ACTS), name="act"),
        Index(None, "delivery_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    act: Mapped[str] = mapped_column(Text)
    channel: Mapped[str | None] = mapped_column(Text)
    delivery_id: Mapped[int | None] = mapped_column(ForeignKey("deliveries.id"))
    was: Mapped[str | None] = mapped_column(Text)
    now: Mapped[str | None] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    by: Mapped[str] = mapped_column(Text)
    via: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    chain: Mapped[str | None] = mapped_column(Text)
    """As in `decisions`."""

    delivery: Mapped[Delivery | None] = relationship(back_populates="interventions")


class ChannelStatus(Base):
    """How a configured channel fares. Made when something is first sent through it."""

    __tablename__ = "channels"
    __table_args__ = (
        CheckConstraint(_one_of("state", CHANNEL_STATES), name="state"),
        CheckConstraint("state = 'active' OR reason IS NOT NULL", name="stopped_has_reason"),
    )

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    reason: Mapped[str | None] = mapped_column(Text)
    """Why nothing is sent through it."""
    num_failures: Mapped[int] = mapped_column(default=0)
    """In a row."""
    failing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rests_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The breaker: nothing is sent before this."""


class Notice(Base):
    """Something that happened and is to be told: to a channel's receiver, or to the operator. Made from what the
    other tables say, and told at least once."""

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("recipient", "kind", "subject"),
        CheckConstraint(_one_of("state", NOTICE_STATES), name="state"),
        CheckConstraint("state != 'sent' OR sent_at IS NOT NULL", name="sent_has_time"),
        Index(None, "state", "next_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(Text, unique=True)
    """Follows from the next three: what a receiver recognises a repetition by."""
    recipient: Mapped[str] = mapped_column(Text)
    """A channel's name, or `[alerts]`, which no channel can be called."""
    kind: Mapped[str] = mapped_column(Text)
    """`batch.ready`, …"""
    subject: Mapped[str] = mapped_column(Text)
    """What it is about, so that it is told once."""
    data: Mapped[dict[str, Any]] = mapped_column(JsonText)
    """The facts as they were: `timestamp` (when it happened) and `data`."""
    state: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    next_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Not before this."""
    num_attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    """Why it was not told; or, of an alert that was, what went wrong with some of its addresses. Redacted."""


class RefusedCheckpoint(Base):
    """A generator that must not be tried again, known by what it is."""

    __tablename__ = "refused_checkpoints"

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    """Of the weights and of what painting takes from the manifest besides (artbot.studio.registry)."""
    name: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Transition(Base):
    """The moves a state may make; `was` is empty where a row begins. The triggers look here."""

    __tablename__ = "transitions"

    entity: Mapped[str] = mapped_column(Text, primary_key=True)
    was: Mapped[str] = mapped_column(Text, primary_key=True)
    now: Mapped[str] = mapped_column(Text, primary_key=True)


class WorkplaceRow(Base):
    """What the workplace knows of itself: exactly one row."""

    __tablename__ = "workplace"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    workplace_id: Mapped[str] = mapped_column(Text)
    """Random, for life; delivery keys derive from it."""
    generation: Mapped[str] = mapped_column(Text)
    """Random; a restored database gets another."""
    restored_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    doubted_until: Mapped[date | None] = mapped_column(IsoDate)
    """Works of batches up to this day may have been posted by what a restored database has forgotten."""
    backup_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the backup was made that this database was restored from."""
    epoch: Mapped[int] = mapped_column(default=0)
    """Raised by every worker that takes over; a write under an older one is refused."""
    worker: Mapped[str | None] = mapped_column(Text)
    """Who works, in words."""
    host: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Another host may take over after this."""
    clock_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """The clock when the worker last looked, and in the next two what it can be checked against."""
    boot_id: Mapped[str | None] = mapped_column(Text)
    boot_s: Mapped[float | None]
    """Seconds since the machine started, sleep included."""

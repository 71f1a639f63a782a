"""The whole story of one work, in the order it happened, from its rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from artbot.domain.delivery import DeliveryState
from artbot.errors import UsageError
from db.engine import Database
from db.models import Attempt, Candidate, Delivery, Intervention


@dataclass(frozen=True)
class Event:
    """One thing that happened, or that will (`at` in the future)."""

    at: datetime
    """Aware UTC."""
    what: str
    words: str


def tell(database: Database, candidate_id: int) -> tuple[Candidate, list[Event]]:
    """A candidate and everything that happened to it, the oldest first. Raises UsageError."""
    with database.read() as session:
        work = session.scalars(
            select(Candidate)
            .where(Candidate.id == candidate_id)
            .options(
                joinedload(Candidate.batch),
                joinedload(Candidate.checkpoint),
                selectinload(Candidate.decisions),
                selectinload(Candidate.deliveries).selectinload(Delivery.attempts),
                selectinload(Candidate.deliveries).selectinload(Delivery.interventions),
            )
        ).one_or_none()
    if work is None:
        raise UsageError(f"there is no candidate {candidate_id}. `artbot review --all` lists them.")
    batch = work.batch
    events = [
        Event(batch.due_at, "due", f"batch {batch.key} of schedule {batch.schedule}"),
        Event(
            work.planned_at,
            "planned",
            f"seed {work.seed}, generator {work.checkpoint.name} ({work.checkpoint_sha256[:12]}…)",
        ),
    ]
    if work.rendered_at:
        size = f"{work.width} x {work.height} px, sha256 {(work.image_sha256 or '')[:12]}…"
        events.append(Event(work.rendered_at, "painted", f"{work.path}, {size}"))
    for decision in work.decisions:
        words = f"by {decision.by} ({decision.via}), was {decision.was}"
        words += ", taking back what was decided" if decision.undoes else ""
        events.append(Event(decision.at, decision.now, words))
    for delivery in work.deliveries:
        events += _delivery_events(delivery)
    # Sorted by time; what happened at one moment stays in the order it was told.
    return work, sorted(events, key=lambda event: event.at)


def _delivery_events(delivery: Delivery) -> list[Event]:
    channel = delivery.channel
    events = [Event(delivery.created_at, "queued", f"for {channel}, key {delivery.delivery_key}")]
    for attempt in delivery.attempts:
        events += _attempt_events(channel, attempt)
    events += [_intervention_event(channel, entry) for entry in delivery.interventions]
    if delivery.state in (DeliveryState.QUEUED, DeliveryState.RETRY_WAIT):
        events.append(Event(delivery.next_at, "next try", f"to {channel}"))
    return events


def _attempt_events(channel: str, attempt: Attempt) -> list[Event]:
    begun = Event(attempt.started_at, "sent", f"to {channel}, by worker {attempt.epoch}")
    if attempt.finished_at is None:
        return [begun, Event(attempt.started_at, "open", f"no answer from {channel} yet")]
    status = f", status {attempt.status}" if attempt.status else ""
    detail = f": {attempt.detail}" if attempt.detail else ""
    return [
        begun,
        Event(attempt.finished_at, attempt.outcome or "", f"by {channel}{status}{detail}"),
    ]


def _intervention_event(channel: str, entry: Intervention) -> Event:
    why = f": {entry.reason}" if entry.reason else ""
    return Event(entry.at, entry.act, f"{channel} by {entry.by}, {entry.was} → {entry.now}{why}")

"""The whole story of one work, from its rows.

Each log tells in its own order, that of its numbers: a clock that was set back must not have a work sent
before it was approved. Where two logs meet, the clock decides, as nothing else does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload, selectinload

from artbot.domain.candidate import CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import DeliveryState
from artbot.errors import UsageError
from db.engine import Database
from db.models import Attempt, Candidate, ChannelStatus, Decision, Delivery, Intervention


@dataclass(frozen=True)
class Event:
    """One thing that happened, or that will."""

    at: datetime
    """Aware UTC, by the clock of then."""
    what: str
    words: str
    is_to_come: bool = False


@dataclass
class _Log:
    """Events in the order in which they happened, whatever their clock said."""

    events: list[Event] = field(default_factory=list)
    after: Event | None = None
    """None of them happened before this one, of another log."""


def tell(database: Database, candidate_id: int) -> tuple[Candidate, list[Event]]:
    """A candidate and everything that happened to it, the oldest first; what is to come is last.

    Raises UsageError.
    """
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
            raise UsageError(
                f"there is no candidate {candidate_id}. `artbot review --all` lists them."
            )
        channels = [delivery.channel for delivery in work.deliveries]
        around = session.scalars(
            select(Intervention)
            .where(
                Intervention.delivery_id.is_(None),
                or_(Intervention.channel.in_(channels), Intervention.channel.is_(None)),
                Intervention.at >= work.planned_at,
            )
            .order_by(Intervention.id)
        ).all()
        standings = session.scalars(
            select(ChannelStatus).where(ChannelStatus.name.in_(channels))
        ).all()
    decided, queued = _decided(work)
    logs = [_Log([*_made(work), *decided])]
    for delivery in work.deliveries:
        begun = queued[delivery.id]
        logs.append(_Log([e for a in delivery.attempts for e in _attempted(delivery, a)], begun))
        logs.append(_Log([_intervened(entry) for entry in delivery.interventions], begun))
    if queued:
        logs.append(_Log([_intervened(entry) for entry in around], next(iter(queued.values()))))
    return work, [*_merged(logs), *_to_come(work, standings)]


def _made(work: Candidate) -> list[Event]:
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
    return events


def _decided(work: Candidate) -> tuple[list[Event], dict[int, Event]]:
    """The decisions, each approval with the deliveries it queued; and those by the delivery's id."""
    approvals = [d for d in work.decisions if d.now == CandidateState.APPROVED]
    made_by: dict[int, list[Delivery]] = {}
    for delivery in work.deliveries:
        # In one transaction, a moment later. Only a work approved before there was a channel waits longer.
        before = [a for a in approvals if a.at <= delivery.created_at] or approvals[:1]
        approval = max(before, key=lambda a: a.at, default=None)
        made_by.setdefault(approval.id if approval else 0, []).append(delivery)
    events: list[Event] = []
    queued: dict[int, Event] = {}

    def queue(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            words = f"for {delivery.channel}, key {delivery.delivery_key}"
            queued[delivery.id] = Event(delivery.created_at, "queued", words)
            events.append(queued[delivery.id])

    queue(made_by.get(0, []))
    for decision in work.decisions:
        events.append(_decision(decision))
        queue(made_by.get(decision.id, []))
    return events, queued


def _decision(decision: Decision) -> Event:
    words = f"by {decision.by} ({decision.via}), was {decision.was}"
    words += ", taking back what was decided" if decision.undoes else ""
    return Event(decision.at, decision.now, words)


def _attempted(delivery: Delivery, attempt: Attempt) -> list[Event]:
    channel = delivery.channel
    begun = Event(attempt.started_at, "sent", f"to {channel}, by worker {attempt.epoch}")
    if attempt.finished_at is None:
        return [begun, Event(attempt.started_at, "open", f"no answer from {channel} yet")]
    status = f", status {attempt.status}" if attempt.status else ""
    detail = f": {attempt.detail}" if attempt.detail else ""
    return [
        begun,
        Event(attempt.finished_at, attempt.outcome or "", f"by {channel}{status}{detail}"),
    ]


def _intervened(entry: Intervention) -> Event:
    """What was done to a delivery, to its channel, or (a restore) to all."""
    of = entry.channel or "everything"
    whose = of if entry.delivery_id is not None or entry.channel is None else f"channel {of}"
    moved = f", {entry.was} → {entry.now}" if entry.now else ""
    why = f": {entry.reason}" if entry.reason else ""
    return Event(entry.at, entry.act, f"{whose} by {entry.by}{moved}{why}")


def _merged(logs: list[_Log]) -> list[Event]:
    """Of the events that may come next, always the one whose clock showed least."""
    told: list[Event] = []
    waiting = [_Log(list(log.events), log.after) for log in logs]
    while ready := [
        log for log in waiting if log.events and (log.after is None or log.after in told)
    ]:
        told.append(min(ready, key=lambda log: log.events[0].at).events.pop(0))
    return told


def _to_come(work: Candidate, standings: Sequence[ChannelStatus]) -> list[Event]:
    """When its deliveries are tried next, and what keeps their channels."""
    by_name = {standing.name: standing for standing in standings}
    events = []
    for delivery in work.deliveries:
        if delivery.state not in (DeliveryState.QUEUED, DeliveryState.RETRY_WAIT):
            continue
        standing = by_name.get(delivery.channel)
        words = f"to {delivery.channel}"
        at = delivery.next_at
        if standing is not None and standing.state != ChannelState.ACTIVE:
            words += f", once it is resumed: it is {standing.state}, {standing.reason}"
        elif standing is not None and standing.rests_until and standing.rests_until > at:
            at = standing.rests_until
            words += f", which rests after {standing.num_failures} failures"
        events.append(Event(at, "next try", words, is_to_come=True))
    return sorted(events, key=lambda event: event.at)

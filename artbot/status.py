"""What waits, what went out, what needs you: the state of a workplace in one value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from artbot.domain.calendar import next_due
from artbot.domain.candidate import BatchState, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import NEEDS_A_PERSON, WAITING, DeliveryState
from artbot.workplace import Workplace
from db.models import Batch, Candidate, ChannelStatus, Delivery

RECENT = timedelta(days=7)


@dataclass(frozen=True)
class NextBatch:
    """When a schedule comes round."""

    schedule: str
    due_at: datetime
    timezone: str


@dataclass(frozen=True)
class Status:
    """Facts for `artbot status`; times are aware UTC."""

    workplace: str
    worker: str | None
    """Who renders and sends now, None if nobody does."""
    checkpoint: str | None
    """The latest checkpoint whose manifest is in order."""
    checkpoint_facts: str | None
    refused_checkpoints: dict[str, str]
    """Reason by name: those without a usable manifest."""
    next_batches: list[NextBatch]
    unfinished_batches: dict[str, str]
    """What each waits for, by key."""
    num_pending: int
    num_approved: int
    num_published: int
    """Works that at least one channel has."""
    num_published_recently: int
    """Likewise, in the last seven days."""
    num_without_channel: int
    """Works approved while no channel was configured: they go nowhere until approved again."""
    num_waiting: int
    """Deliveries queued or waiting to be tried again, to channels that are configured."""
    next_delivery_at: datetime | None
    """Not before its channel has rested; None while all that wait have a channel that is stopped."""
    stopped_channels: dict[str, str]
    """What was said of each that is paused or disabled, by name."""
    failed_deliveries: dict[int, str]
    """Work, channel and last error by id: what waits for a person."""
    unknown_channels: dict[str, int]
    """Waiting deliveries to channels that artbot.toml no longer has."""


def read_status(workplace: Workplace) -> Status:
    """Ask the database and the checkpoints folder. Raises DatabaseError."""
    from artbot.studio.refusals import refused_for_good
    from artbot.studio.registry import list_checkpoints

    now = workplace.clock()
    settings = workplace.settings
    entries = list_checkpoints(settings.checkpoints)
    held_back = refused_for_good(workplace.database)
    usable = [e.manifest for e in entries if e.manifest and not held_back.of(e.manifest)]
    latest = usable[0] if usable else None
    refused = {e.name: e.refusal for e in entries if e.refusal}
    refused |= {
        e.name: held.reason for e in entries if e.manifest and (held := held_back.of(e.manifest))
    }
    with workplace.database.read() as session:
        by_state = dict(
            session.execute(select(Candidate.state, func.count()).group_by(Candidate.state)).all()
        )
        published = select(func.count(Delivery.candidate_id.distinct())).where(
            Delivery.state == DeliveryState.DELIVERED
        )
        unfinished = session.execute(
            select(Batch.key, Batch.reason).where(
                Batch.state.in_([BatchState.PLANNED, BatchState.GENERATING])
            )
        )
        failed = session.execute(
            select(Delivery.id, Candidate.name, Delivery.channel, Delivery.last_error)
            .join(Delivery.candidate)
            .where(Delivery.state.in_(NEEDS_A_PERSON))
        )
        waiting = session.execute(
            select(Delivery.channel, func.count(), func.min(Delivery.next_at))
            .where(Delivery.state.in_(WAITING))
            .group_by(Delivery.channel)
        ).all()
        standings = {standing.name: standing for standing in session.scalars(select(ChannelStatus))}
        return Status(
            workplace=str(settings.root),
            worker=workplace.current_worker(),
            checkpoint=latest.name if latest else None,
            checkpoint_facts=(
                f"{latest.size} px, learned from {latest.dataset.num_pictures} pictures of "
                f"{latest.dataset.name}, {latest.kimg:g} kimg"
                if latest
                else None
            ),
            refused_checkpoints=refused,
            next_batches=[
                NextBatch(s.name, next_due(s, now), s.zone.key) for s in settings.schedule_list()
            ],
            unfinished_batches={
                key: _waits_for(bool(latest), reason) for key, reason in unfinished
            },
            num_without_channel=session.scalar(
                select(func.count()).where(
                    Candidate.state == CandidateState.APPROVED,
                    ~Candidate.deliveries.any(Delivery.state != DeliveryState.CANCELLED),
                    ~Candidate.deliveries.any(Delivery.interventions.any(act="withdraw")),
                )
            )
            or 0,
            num_pending=by_state.get(CandidateState.PENDING, 0),
            num_approved=by_state.get(CandidateState.APPROVED, 0),
            num_published=session.scalar(published) or 0,
            num_published_recently=session.scalar(
                published.where(Delivery.delivered_at >= now - RECENT)
            )
            or 0,
            num_waiting=sum(n for name, n, _ in waiting if name in settings.channels),
            next_delivery_at=min(
                (
                    _not_resting(next_at, standings.get(name))
                    for name, _, next_at in waiting
                    if name in settings.channels and not _is_stopped(standings.get(name))
                ),
                default=None,
            ),
            stopped_channels={
                name: f"{standings[name].state}: {standings[name].reason}"
                for name in settings.channels
                if _is_stopped(standings.get(name))
            },
            failed_deliveries={
                number: f"{work} to {channel}: {error}" for number, work, channel, error in failed
            },
            unknown_channels={name: n for name, n, _ in waiting if name not in settings.channels},
        )


def _is_stopped(standing: ChannelStatus | None) -> bool:
    return standing is not None and standing.state != ChannelState.ACTIVE


def _not_resting(moment: datetime, standing: ChannelStatus | None) -> datetime:
    if standing is None or standing.rests_until is None:
        return moment
    return max(moment, standing.rests_until)


def _waits_for(has_generator: bool, reason: str | None) -> str:
    """`reason` is what the worker met last; a generator may have come, or the card be back, since."""
    if not has_generator:
        return reason or "a generator"
    return "`artbot batch` makes it now" + (f" (last time: {reason})" if reason else "")

"""What waits, what went out, what needs you: the state of a workplace in one value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from artbot.domain.candidate import BatchState, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import WAITING, DeliveryState
from artbot.errors import NoCheckpoint
from artbot.upkeep.needs import (
    Problem,
    channels_and_deliveries,
    doubted_clock,
    generators,
    missing_pictures,
    missing_secrets,
    quarantined_works,
    to_be_painted,
    unheard_alerts,
    unsent_works,
)
from artbot.upkeep.served import page_problems, served_at
from artbot.workplace import Workplace
from db.models import Batch, Candidate, ChannelStatus, Delivery

RECENT = timedelta(days=7)


@dataclass(frozen=True)
class NextBatch:
    """The next day of a schedule that has no batch yet."""

    schedule: str
    due_at: datetime
    """In the past while nobody got to it."""
    is_first: bool
    """It is due already and the schedule has no batch yet: who begins at noon need not wait for a day."""
    timezone: str
    waits_for: str | None
    """What keeps one that is due from being made; None for one to come, or if only a generator is missing."""
    checkpoint: str | None
    """What paints it as things are now."""
    checkpoint_facts: str | None
    no_checkpoint: str | None
    """Why nothing can paint it."""
    passed_over: str | None
    """Which later one does not paint it, because it is doubted, and how to have it paint all the same."""


@dataclass(frozen=True)
class UnfinishedBatch:
    """Planned, or begun, and not all painted."""

    key: str
    due_at: datetime
    waits_for: str


@dataclass(frozen=True)
class Status:
    """Facts for `artbot status`; times are aware UTC."""

    workplace: str
    worker: str | None
    """Who renders and sends now, None if nobody does."""
    checkpoint: str | None
    """The latest that nothing is known against. What paints a schedule stands with it."""
    checkpoint_facts: str | None
    refused_checkpoints: dict[str, str]
    """Reason by name: those without a usable manifest, and those not tried again."""
    next_batches: list[NextBatch]
    unfinished_batches: list[UnfinishedBatch]
    unmade_batches: dict[str, str]
    """Of the last seven days those that are not whole, and why, by key."""
    num_unpainted: int
    """Asked for besides the batches (`artbot vary`, `artbot breed`), and not painted yet."""
    unpainted_wait_for: str | None
    """What keeps those from being painted; None where there are none."""
    num_pending: int
    """Nobody has decided about them yet."""
    num_later: int
    """Put off until later."""
    num_approved: int
    num_published: int
    """Works that at least one channel has."""
    num_published_recently: int
    """Likewise, in the last seven days."""
    num_without_channel: int
    """Works approved while no channel was configured: they go nowhere until approved again. They need you
    once there is a channel."""
    num_waiting: int
    """Deliveries queued or waiting to be tried again, to channels that are configured; not those on hold."""
    num_due: int
    """Of those, how many could be sent now."""
    num_on_hold: int
    """Likewise, kept back by a person."""
    next_delivery_at: datetime | None
    """Not before its channel has rested; None while all that wait have a channel that is stopped. In the
    past while nobody got to it."""
    next_delivery_timezone: str | None
    """Of the slots of its channel, if that has some."""
    has_channels: bool
    """Whether artbot.toml has any."""
    stopped_channels: dict[str, str]
    """What was said of each that is paused or disabled, by name."""
    review_page: str | None
    """Where it is served on this host; None: nowhere now."""
    needs_you: list[Problem]
    """What waits for a person, with what helps."""


def read_status(workplace: Workplace) -> Status:
    """Ask the database and the checkpoints folder. Raises DatabaseError."""
    from artbot.publishing.channels import timetables
    from artbot.studio.choice import passed_over
    from artbot.studio.planning import next_due_at
    from artbot.studio.refusals import refused_for_good
    from artbot.studio.registry import list_checkpoints

    now = workplace.clock()
    settings = workplace.settings
    worker = workplace.current_worker()
    doubt = doubted_clock(workplace)
    entries = list_checkpoints(settings.checkpoints)
    held_back = refused_for_good(workplace.database)
    usable = [e for e in entries if e.manifest and not held_back.of(e.manifest)]
    latest = min(usable, key=lambda entry: bool(entry.doubt), default=None)
    refused = {e.name: e.refusal for e in entries if e.refusal}
    refused |= {
        e.name: held.reason for e in entries if e.manifest and (held := held_back.of(e.manifest))
    }
    painters = generators(workplace)
    unsent = unsent_works(workplace)
    with workplace.database.read() as session:
        begun = set(session.scalars(select(Batch.schedule).distinct()))

    def painted_by(command: str, what: str) -> str:
        if doubt:
            return "waits for the clock to be right"
        if worker:
            return f"the worker makes {what}"
        return f"nobody is at work: `{command}` makes {what} now"

    def held_up(schedule: str) -> str:
        several = len(settings.schedules) > 1
        command = f"artbot batch --schedule {schedule}" if several else "artbot batch"
        known = schedule in settings.schedules
        return painted_by(command if known else "artbot daemon --once", "it")

    def next_of(name: str) -> NextBatch:
        due_at = next_due_at(workplace.database, name, settings.schedules[name], now)
        found = painters[name]
        entry = None if isinstance(found, NoCheckpoint) else found
        return NextBatch(
            schedule=name,
            due_at=due_at,
            is_first=due_at <= now and name not in begun,
            timezone=settings.schedules[name].timezone,
            waits_for=held_up(name) if due_at <= now and entry else None,
            checkpoint=entry.name if entry else None,
            checkpoint_facts=entry.facts if entry else None,
            no_checkpoint=None if entry else str(found),
            passed_over=passed_over(
                workplace.database, settings.checkpoints, settings.schedules, name, entry
            )
            if entry
            else None,
        )

    def unfinished(batch: Batch) -> UnfinishedBatch:
        painter = painters.get(batch.schedule)
        if batch.state == BatchState.PLANNED and isinstance(painter, NoCheckpoint):
            # Where there are others, the schedule's own line tells why none of them will do.
            why = "" if latest else f": {painter}"
            return UnfinishedBatch(batch.key, batch.due_at, f"waits for a generator{why}")
        last = f" (last time: {batch.reason})" if batch.reason else ""
        return UnfinishedBatch(batch.key, batch.due_at, held_up(batch.schedule) + last)

    with workplace.database.read() as session:
        by_state = dict(
            session.execute(select(Candidate.state, func.count()).group_by(Candidate.state)).all()
        )
        published = select(func.count(Delivery.candidate_id.distinct())).where(
            # Also what is sent again since. Every state is named, so that an index leads to the rows.
            Delivery.state.in_(list(DeliveryState)),
            Delivery.delivered_at.is_not(None),
        )
        lying = session.scalars(
            select(Batch)
            .where(Batch.state.in_([BatchState.PLANNED, BatchState.GENERATING]))
            .order_by(Batch.due_at, Batch.number)
        ).all()
        waiting = session.execute(
            select(
                Delivery.channel,
                func.count(),
                func.min(Delivery.next_at),
                func.count().filter(Delivery.next_at <= now),
            )
            .where(Delivery.state.in_(WAITING), Delivery.on_hold.is_(False))
            .group_by(Delivery.channel)
        ).all()
        on_hold = select(func.count(Delivery.id)).where(
            Delivery.state.in_(WAITING),
            Delivery.on_hold.is_(True),
            Delivery.channel.in_(settings.channels),
        )
        num_on_hold = session.scalar(on_hold) or 0
        standings = {standing.name: standing for standing in session.scalars(select(ChannelStatus))}
        unmade = _unmade(session, now)
        unpainted = select(func.count(Candidate.id)).where(
            Candidate.state == CandidateState.PLANNED, Candidate.parent_id.is_not(None)
        )
        num_unpainted = session.scalar(unpainted) or 0
        num_published = session.scalar(published) or 0
        num_recently = session.scalar(published.where(Delivery.delivered_at >= now - RECENT)) or 0
    slots = timetables(settings)
    next_at, next_zone = min(
        (
            (
                _not_resting(at, standings.get(name)),
                str(slots[name].zone) if name in slots else None,
            )
            for name, _, at, _ in waiting
            if name in settings.channels and not _is_stopped(standings.get(name))
        ),
        key=lambda found: found[0],
        default=(None, None),
    )
    return Status(
        workplace=str(settings.root),
        worker=worker,
        checkpoint=latest.name if latest else None,
        checkpoint_facts=latest.facts if latest else None,
        refused_checkpoints=refused,
        next_batches=[next_of(name) for name in settings.schedules],
        unfinished_batches=[unfinished(batch) for batch in lying],
        unmade_batches=unmade,
        num_unpainted=num_unpainted,
        unpainted_wait_for=painted_by("artbot daemon --once", "them") if num_unpainted else None,
        num_pending=by_state.get(CandidateState.PENDING, 0),
        num_later=by_state.get(CandidateState.LATER, 0),
        num_approved=by_state.get(CandidateState.APPROVED, 0),
        num_published=num_published,
        num_published_recently=num_recently,
        num_without_channel=len(unsent),
        num_waiting=sum(n for name, n, _, _ in waiting if name in settings.channels),
        num_due=sum(
            due
            for name, _, _, due in waiting
            if name in settings.channels
            and not _is_stopped(standings.get(name))
            and _not_resting(now, standings.get(name)) == now
        ),
        num_on_hold=num_on_hold,
        next_delivery_at=next_at,
        next_delivery_timezone=next_zone,
        has_channels=bool(settings.channels),
        stopped_channels={
            name: f"{standings[name].state}: {standings[name].reason}"
            for name in settings.channels
            if _is_stopped(standings.get(name))
        },
        review_page=served_at(settings.web_lock),
        needs_you=[
            *doubt,
            *page_problems(workplace),
            *(
                Problem(f"schedule {name} has no generator", to_be_painted(name, workplace))
                for name, painter in painters.items()
                if isinstance(painter, NoCheckpoint)
            ),
            *missing_secrets(workplace, is_daemon_trusted=True),
            *channels_and_deliveries(workplace),
            *(_to_be_approved_again(unsent) if settings.channels else ()),
            *quarantined_works(workplace),
            *missing_pictures(workplace),
            *unheard_alerts(workplace),
        ],
    )


def _to_be_approved_again(unsent: list[int]) -> Iterator[Problem]:
    if unsent:
        yield Problem(
            "approved before there was a channel, and so not going out: "
            + ("1 work" if len(unsent) == 1 else f"{len(unsent)} works"),
            f"artbot approve {' '.join(map(str, unsent))}",
        )


def _unmade(session: Session, now: datetime) -> dict[str, str]:
    """What became of the recent batches that are not whole, by key."""
    batches = session.scalars(
        select(Batch)
        .where(
            Batch.state.in_([BatchState.SKIPPED, BatchState.PARTIAL, BatchState.FAILED]),
            Batch.due_at >= now - RECENT,
        )
        .order_by(Batch.due_at, Batch.number)
    ).all()
    failed = {
        batch_id: (count, error)
        for batch_id, count, error in session.execute(
            select(Candidate.batch_id, func.count(), func.max(Candidate.error))
            .where(
                Candidate.batch_id.in_([batch.id for batch in batches]),
                Candidate.state == CandidateState.FAILED,
                Candidate.parent_id.is_(None),
            )
            .group_by(Candidate.batch_id)
        )
    }
    told = {}
    for batch in batches:
        if batch.state == BatchState.SKIPPED:
            told[batch.key] = f"skipped: {batch.reason}"
        else:
            count, error = failed.get(batch.id, (0, None))
            told[batch.key] = f"{count} of {batch.num_candidates} could not be painted" + (
                f": {error}" if error else ""
            )
    return told


def _is_stopped(standing: ChannelStatus | None) -> bool:
    return standing is not None and standing.state != ChannelState.ACTIVE


def _not_resting(moment: datetime, standing: ChannelStatus | None) -> datetime:
    if standing is None or standing.rests_until is None:
        return moment
    return max(moment, standing.rests_until)

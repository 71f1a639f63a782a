"""Which batches are due. The unique key of the table decides; whoever asks twice gets the same batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from artbot.config import ScheduleSettings
from artbot.domain.calendar import CATCH_UP, DueDay, deadline, due_days
from artbot.domain.candidate import BatchState
from db.engine import Database
from db.models import Batch


@dataclass(frozen=True)
class Planned:
    """A day that got its row."""

    key: str
    state: BatchState
    reason: str | None


def ensure_due(
    database: Database, schedules: Mapping[str, ScheduleSettings], now: datetime
) -> list[Planned]:
    """Give every elapsed day of every schedule its row: planned, or skipped with the reason.

    Idempotent: may be called at any time, by anybody, as often as they like. `now` is aware UTC.
    """
    # Looking costs no lock, and most of the time there is nothing to add.
    with database.read() as session:
        last_dates = {name: _last_date(session, name) for name in schedules}
    if not any(due_days(s.to_schedule(n), last_dates[n], now) for n, s in schedules.items()):
        return []
    added = []
    with database.write() as session:
        for name, settings in schedules.items():
            for day in due_days(settings.to_schedule(name), _last_date(session, name), now):
                batch = _new_batch(name, settings, day, now)
                session.add(batch)
                added.append(Planned(batch.key, BatchState(batch.state), batch.reason))
    return added


def ensure_today(database: Database, name: str, settings: ScheduleSettings, now: datetime) -> str:
    """Today's batch of a schedule, planned ahead of its time if need be; returns its key."""
    schedule = settings.to_schedule(name)
    today = now.astimezone(schedule.zone).date()
    with database.write() as session:
        existing = select(Batch.id).where(
            Batch.schedule == name, Batch.local_date == today, Batch.number == 0
        )
        if session.scalar(existing) is None:
            day = DueDay(today, deadline(schedule, today), is_missed=False)
            session.add(_new_batch(name, settings, day, now))
    return batch_key(name, today)


def plan_extra(database: Database, name: str, settings: ScheduleSettings, now: datetime) -> str:
    """One more batch for today besides the day's own; returns its key."""
    today = now.astimezone(settings.to_schedule(name).zone).date()
    with database.write() as session:
        last: int | None = session.scalar(
            select(func.max(Batch.number)).where(Batch.schedule == name, Batch.local_date == today)
        )
        batch = _new_batch(
            name, settings, DueDay(today, now, is_missed=False), now, number=(last or 0) + 1
        )
        session.add(batch)
        return batch.key


def give_up_on_old(database: Database, now: datetime) -> list[str]:
    """Skip planned batches that waited longer than the catch-up window (no usable checkpoint)."""
    with database.write() as session:
        old = session.scalars(
            select(Batch).where(Batch.state == BatchState.PLANNED, Batch.due_at < now - CATCH_UP)
        ).all()
        for batch in old:
            batch.state = BatchState.SKIPPED
            batch.reason = f"not made in time: {batch.reason or 'the daemon did not get to it'}"
        return [batch.key for batch in old]


def batch_key(schedule: str, day: date, number: int = 0) -> str:
    """`daily-2026-11-21`, the second one of that day `daily-2026-11-21-extra-1`."""
    return f"{schedule}-{day.isoformat()}" + (f"-extra-{number}" if number else "")


def _last_date(session: Session, schedule: str) -> date | None:
    last: date | None = session.scalar(
        select(func.max(Batch.local_date)).where(Batch.schedule == schedule, Batch.number == 0)
    )
    return last


def _new_batch(
    name: str, settings: ScheduleSettings, day: DueDay, now: datetime, number: int = 0
) -> Batch:
    return Batch(
        key=batch_key(name, day.local_date, number),
        schedule=name,
        local_date=day.local_date,
        number=number,
        state=BatchState.SKIPPED if day.is_missed else BatchState.PLANNED,
        reason="missed: artbot was not running" if day.is_missed else None,
        num_candidates=settings.candidates,
        due_at=day.due_at,
        planned_at=now,
    )

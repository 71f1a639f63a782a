"""Which batches are due. The unique key of the table decides; whoever asks twice gets the same batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.orm import Session

from artbot.config import ScheduleSettings
from artbot.domain.calendar import (
    CATCH_UP,
    CLOCK_TOLERANCE,
    DueDay,
    deadline,
    due_days,
    next_due,
)
from artbot.domain.candidate import BATCH, BatchState
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
        is_missing = any(_missing_days(session, n, s, now) for n, s in schedules.items())
        if not is_missing and session.scalar(select(Batch.id).where(*_written_ahead(now))) is None:
            return []
    added = []
    with database.write() as session:
        _forget_the_future(session, now)
        for name, settings in schedules.items():
            for day in _missing_days(session, name, settings, now):
                batch = _new_batch(name, settings, day, now)
                session.add(batch)
                added.append(Planned(batch.key, BatchState(batch.state), batch.reason))
    return added


def ensure_today(database: Database, name: str, settings: ScheduleSettings, now: datetime) -> str:
    """Today's batch of a schedule, planned ahead of its time if need be; returns its key.

    Days missed since the schedule's last batch get their rows as well. `now` is aware UTC.
    """
    schedule = settings.to_schedule(name)
    today = now.astimezone(schedule.zone).date()
    key = batch_key(name, today)
    with database.write() as session:
        _forget_the_future(session, now)
        if _last_date(session, name, today) is not None:
            for day in _missing_days(session, name, settings, now):
                session.add(_new_batch(name, settings, day, now))
        if session.scalar(select(Batch.id).where(Batch.key == key)) is None:
            ahead = DueDay(today, deadline(schedule, today), is_missed=False)
            session.add(_new_batch(name, settings, ahead, now))
    return key


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


def next_due_at(
    database: Database, name: str, settings: ScheduleSettings, now: datetime
) -> datetime:
    """When the next batch of a schedule is due that has no row yet; in the past while nobody got to it.
    `now` and the result are aware UTC."""
    schedule = settings.to_schedule(name)
    with database.read() as session:
        to_make = [day for day in _missing_days(session, name, settings, now) if not day.is_missed]
        if to_make:
            return to_make[0].due_at
        taken = set(
            session.scalars(
                select(Batch.local_date).where(
                    Batch.schedule == name,
                    Batch.number == 0,
                    Batch.local_date >= now.astimezone(schedule.zone).date(),
                    ~and_(*_written_ahead(now)),
                )
            )
        )
    due_at = next_due(schedule, now)
    while due_at.astimezone(schedule.zone).date() in taken:
        due_at = next_due(schedule, due_at)
    return due_at


def give_up_on_old(database: Database, now: datetime) -> list[str]:
    """Skip planned batches that waited longer than the catch-up window (no usable checkpoint)."""
    waited_too_long = select(Batch).where(
        Batch.state == BatchState.PLANNED, Batch.due_at < now - CATCH_UP
    )
    with database.read() as session:  # asked at every sweep: looking takes no lock
        if session.scalar(waited_too_long.limit(1)) is None:
            return []
    with database.write() as session:
        old = session.scalars(waited_too_long).all()
        for batch in old:
            BATCH.move(batch, BatchState.SKIPPED)
            batch.reason = f"not made in time: {batch.reason or 'the daemon did not get to it'}"
        return [batch.key for batch in old]


def batch_key(schedule: str, day: date, number: int = 0) -> str:
    """`daily-2026-11-21`, the second one of that day `daily-2026-11-21-extra-1`."""
    return f"{schedule}-{day.isoformat()}" + (f"-extra-{number}" if number else "")


def _missing_days(
    session: Session, name: str, settings: ScheduleSettings, now: datetime
) -> list[DueDay]:
    """The elapsed days of a schedule that have no row yet."""
    schedule = settings.to_schedule(name)
    today = now.astimezone(schedule.zone).date()
    return due_days(schedule, _last_date(session, name, today), now)


def _last_date(session: Session, schedule: str, today: date) -> date | None:
    """The last day up to today that has its row. Later ones were written under a wrong clock, and
    must not keep the schedule silent until the calendar reaches them."""
    last: date | None = session.scalar(
        select(func.max(Batch.local_date)).where(
            Batch.schedule == schedule, Batch.number == 0, Batch.local_date <= today
        )
    )
    return last


def _forget_the_future(session: Session, now: datetime) -> None:
    """Remove days that a clock running ahead planned or skipped, and that nothing came of."""
    session.execute(delete(Batch).where(*_written_ahead(now)))


def _written_ahead(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Rows of a later time than the present, without those whose candidates exist: a batch that was
    made is never made again."""
    return (
        Batch.state.in_([BatchState.PLANNED, BatchState.SKIPPED]),
        Batch.number == 0,
        Batch.planned_at > now + CLOCK_TOLERANCE,
    )


def _new_batch(
    name: str, settings: ScheduleSettings, day: DueDay, now: datetime, number: int = 0
) -> Batch:
    return Batch(
        key=batch_key(name, day.local_date, number),
        schedule=name,
        local_date=day.local_date,
        number=number,
        state=BATCH.begin(BatchState.SKIPPED if day.is_missed else BatchState.PLANNED),
        reason="missed: artbot was not running" if day.is_missed else None,
        num_candidates=settings.candidates,
        due_at=day.due_at,
        planned_at=now,
    )

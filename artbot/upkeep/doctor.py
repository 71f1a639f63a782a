"""A check-up of a workplace: does everything hold that must hold, and if not, what helps.

The invariants I1 to I20 are those of docs/faults.md; the ones that only a test can see (a failpoint, a
receiver's own log) are named there with their test. Nothing here changes anything.
"""

from __future__ import annotations

import itertools
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import and_, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import selectinload

from artbot.domain.calendar import deadline
from artbot.domain.candidate import CANDIDATE, CandidateState
from artbot.domain.delivery import NEEDS_A_PERSON, WAITING, DeliveryState, Outcome
from artbot.errors import ArtbotError
from artbot.pictures import fault_of
from artbot.redaction import known_secrets
from artbot.workplace import Workplace
from db import chain
from db.engine import Database
from db.models import (
    Attempt,
    Batch,
    Candidate,
    ChannelStatus,
    Decision,
    Delivery,
    Intervention,
    WorkplaceRow,
)

LEAST_FREE_BYTES = 500_000_000
LATE = timedelta(hours=1)
"""What is due for so long while a worker is at work is stuck."""
SILENT = timedelta(minutes=15)
"""A worker that did not look at the clock for so long is stuck."""
SHOWN = 5
"""So many examples of one problem are told."""

Problems = list[str]


@dataclass(frozen=True)
class Finding:
    """One question and its answer."""

    title: str
    problems: Problems
    """Empty: all is well."""
    remedy: str
    invariants: str = ""
    """Those of docs/faults.md that it is about."""


def examine(workplace: Workplace, is_quick: bool = False) -> Iterator[Finding]:
    """Ask everything, the cheap things first; `is_quick` paints nothing. A question that cannot be asked
    is a problem itself."""
    for title, invariants, ask, remedy in _QUESTIONS:
        if is_quick and ask is _painted_again:
            continue
        try:
            problems = ask(workplace)
        except (ArtbotError, SQLAlchemyError, OSError, ValueError) as error:
            problems = [str(getattr(error, "orig", None) or error)]
        yield Finding(title, _shortened(problems), remedy, invariants)


def check_logs(database: Database) -> Problems:
    """What the database's own rows say about each other (I1, I3, I6 to I9, I11 to I13)."""
    problems: Problems = []
    for ask in (_batches, _origins, _approvals, _deliveries, _epochs, _decisions, _chains):
        problems += ask(database)
    return problems


def _shortened(problems: Problems) -> Problems:
    if len(problems) <= SHOWN:
        return problems
    return [*problems[:SHOWN], f"and {len(problems) - SHOWN} more"]


# The workplace


def _disk(workplace: Workplace) -> Problems:
    problems = []
    settings = workplace.settings
    for what, folder in (("works", settings.works), ("database", settings.lock.parent)):
        place = next(f for f in (folder, *folder.parents) if f.exists())
        free = shutil.disk_usage(place).free
        if free < LEAST_FREE_BYTES:
            problems.append(f"{what}: only {free / 1e6:.0f} MB are free at {place}")
    return problems


def _clock(workplace: Workplace) -> Problems:
    workplace.check_clock()
    return []


def _credentials(workplace: Workplace) -> Problems:
    workplace.outbox  # noqa: B018  reads every channel's secret
    return []


def _checkpoint(workplace: Workplace) -> Problems:
    from artbot.studio.refusals import refused_for_good
    from artbot.studio.registry import list_checkpoints, verify

    entries = list_checkpoints(workplace.settings.checkpoints)
    held_back = refused_for_good(workplace.database)
    problems = [f"{e.folder.name}: {e.refusal}" for e in entries if e.refusal]
    usable = None
    for entry in entries:
        if entry.manifest and entry.manifest.sha256 in held_back:
            problems.append(f"{entry.folder.name}: {held_back[entry.manifest.sha256].reason}")
        elif entry.manifest and usable is None:
            usable = entry
    if usable is None and workplace.settings.schedules:
        return [*problems, f"no generator in {workplace.settings.checkpoints}"]
    if usable is not None and (fault := verify(usable)):
        problems.append(f"{usable.folder.name}: {fault}")
    return problems


def _integrity(workplace: Workplace) -> Problems:
    database = workplace.database
    if not database.is_sqlite:
        with database.read() as session:
            session.execute(text("SELECT 1"))
        return []
    with database.read() as session:
        faults = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check(5)"))]
        broken = session.execute(text("PRAGMA foreign_key_check")).all()
    return [f for f in faults if f != "ok"] + [f"a row of {b[0]} refers to nothing" for b in broken]


def _backups(workplace: Workplace) -> Problems:
    from artbot.upkeep.backup import list_backups

    settings = workplace.settings
    every = timedelta(hours=settings.backup.every_hours)
    if not every or not workplace.database.is_sqlite:
        return []
    with workplace.database.read() as session:
        first = session.scalar(select(func.min(Batch.planned_at)))
    newest = next(iter(list_backups(settings.backups)), None)
    now = workplace.clock()
    if newest is None:
        is_new = first is None or now - first < 2 * every
        return [] if is_new else [f"there is no backup in {settings.backups}"]
    if now - newest.made_at > 2 * every:
        return [f"the newest backup, {newest.path.name}, is {(now - newest.made_at).days} days old"]
    return []


def _worker(workplace: Workplace) -> Problems:
    with workplace.database.read() as session:
        row = session.get_one(WorkplaceRow, 1)
    worker = workplace.current_worker()
    if worker is None or row.clock_at is None:
        return []
    silent = workplace.clock() - row.clock_at
    return [f"{worker} shows no life since {silent}"] if silent > SILENT else []


def _secrets(workplace: Workplace) -> Problems:
    """I15: no secret in what is stored. The bytes of the file are searched, not what a query shows."""
    workplace.outbox  # noqa: B018  registers the secrets
    path = workplace.settings.database
    if not isinstance(path, Path):
        return []
    content = path.read_bytes()
    num_found = sum(secret.encode() in content for secret in known_secrets())
    return [f"{num_found} secrets stand in {path}"] if num_found else []


# The rows


def _batches(database: Database) -> Problems:
    """I1: at most one batch of its own per schedule and day."""
    with database.read() as session:
        twice = session.execute(
            select(Batch.schedule, Batch.local_date)
            .where(Batch.number == 0)
            .group_by(Batch.schedule, Batch.local_date)
            .having(func.count() > 1)
        ).all()
    return [f"{schedule} has several batches for {day}" for schedule, day in twice]


def _days(workplace: Workplace) -> Problems:
    """I2: every elapsed day of a schedule, from its first batch on, has a row."""
    problems = []
    now = workplace.clock()
    is_running = workplace.current_worker() is not None
    with workplace.database.read() as session:
        for schedule in workplace.settings.schedule_list():
            days = set(
                session.scalars(
                    select(Batch.local_date).where(
                        Batch.schedule == schedule.name, Batch.number == 0
                    )
                )
            )
            if not days:
                continue
            # After the last one, a day is only missing if somebody is there to plan it.
            last = now.astimezone(schedule.zone).date() if is_running else max(days)
            day = min(days)
            while day <= last:
                is_due = deadline(schedule, day) < now - LATE
                # Weekdays of the past may have been others: only the present ones can be held to.
                if is_due and day.weekday() in schedule.weekdays and day not in days:
                    problems.append(f"{schedule.name} has no row for {day}")
                day += timedelta(days=1)
    return problems


def _origins(database: Database) -> Problems:
    """I3: generator, seed and recipe were there before the pixels."""
    with database.read() as session:
        wrong = session.scalars(
            select(Candidate.name).where(
                Candidate.rendered_at.is_not(None), Candidate.rendered_at < Candidate.planned_at
            )
        ).all()
    return [f"{name} was painted before it was planned" for name in wrong]


def _files(workplace: Workplace) -> Problems:
    """I5: what waits or is approved has its file, to the byte."""
    alive = (CandidateState.PENDING, CandidateState.APPROVED)
    with workplace.database.read() as session:
        candidates = session.scalars(select(Candidate).where(Candidate.state.in_(alive))).all()
        aside = session.scalars(
            select(Candidate).where(Candidate.state == CandidateState.QUARANTINED)
        ).all()
    faults = [(c, fault_of(workplace.settings.works, c)) for c in candidates]
    problems = [f"{c.name}: {fault}" for c, fault in faults if fault]
    return problems + [f"{c.name} is quarantined: {c.error}" for c in aside]


def _painted_again(workplace: Workplace) -> Problems:
    """I4: the newest work, painted again, has the same pixels. One stands for all: it takes seconds."""
    from artbot.studio.reproduce import reproduce

    with workplace.database.read() as session:
        newest = session.scalars(
            select(Candidate)
            .where(Candidate.pixel_sha256.is_not(None))
            .order_by(Candidate.id.desc())
            .limit(1)
        ).first()
    if newest is None:
        return []
    again = reproduce(workplace.studio, newest)
    # Another torch or another device may paint otherwise, and the work keeps what it was painted with.
    if again.is_identical or again.environment_then != again.environment_now:
        return []
    return [f"{newest.name} has other pixels when it is painted again, on the very same machine"]


def _approvals(database: Database) -> Problems:
    """I6, I7: a delivery has an approval of that very picture before it; an approval its deliveries."""
    approval = (
        select(Decision.id)
        .join(Candidate, Candidate.id == Decision.candidate_id)
        .where(
            Decision.candidate_id == Delivery.candidate_id,
            Decision.now == CandidateState.APPROVED,
            Decision.image_sha256 == Candidate.image_sha256,
            Decision.at <= Delivery.created_at,
        )
    )
    dead_end = select(Candidate.name).where(
        Candidate.state == CandidateState.APPROVED,
        Candidate.deliveries.any(),
        ~Candidate.deliveries.any(Delivery.state != DeliveryState.CANCELLED),
    )
    withdrawn = select(Intervention.delivery_id).where(Intervention.act == "withdraw")
    dead_end = dead_end.where(
        ~Candidate.deliveries.any(Delivery.id.in_(withdrawn)),
        # Taken back, then approved while there was no channel: `artbot status` tells of those.
        ~Candidate.decisions.any(
            and_(Decision.was == CandidateState.APPROVED, Decision.undoes.is_not(None))
        ),
    )
    with database.read() as session:
        unapproved = session.scalars(select(Delivery.id).where(~approval.exists())).all()
        nowhere = session.scalars(dead_end).all()
    return [f"delivery {number} has no approval before it" for number in unapproved] + [
        f"{name} is approved, and goes nowhere though nobody withdrew it" for name in nowhere
    ]


def _deliveries(database: Database) -> Problems:
    """I8, I9: taken once, unless replayed; delivered only where somebody said so."""
    problems = []
    with database.read() as session:
        rows = session.scalars(
            select(Delivery)
            .options(selectinload(Delivery.attempts), selectinload(Delivery.interventions))
            .execution_options(yield_per=500)
        )
        for row in rows:
            taken = sum(a.outcome == Outcome.DELIVERED for a in row.attempts)
            replays = sum(i.act == "replay" for i in row.interventions)
            posted = sum(i.act == "posted" for i in row.interventions)
            if taken + posted > 1 + replays:
                problems.append(f"delivery {row.id} was taken {taken + posted} times")
            if row.state == DeliveryState.DELIVERED and not taken + posted:
                problems.append(f"delivery {row.id} is delivered, and no attempt says so")
    return problems


def _epochs(database: Database) -> Problems:
    """I11: no attempt was made by a worker that had been replaced."""
    problems, newest = [], 0
    with database.read() as session:
        current = session.get_one(WorkplaceRow, 1).epoch
        for number, epoch in session.execute(
            select(Attempt.id, Attempt.epoch).order_by(Attempt.id)
        ):
            if epoch < newest:
                problems.append(f"attempt {number} was made by an old worker")
            newest = max(newest, epoch)
    if newest > current:
        problems.append(f"attempts of epoch {newest} in a database of epoch {current}")
    return problems


def _decisions(database: Database) -> Problems:
    """I12: the log tells how each candidate came to be what it is, in moves that are allowed."""
    told: dict[int, list[tuple[str, str]]] = defaultdict(list)
    problems = []
    with database.read() as session:
        for work, was, now in session.execute(
            select(Decision.candidate_id, Decision.was, Decision.now).order_by(Decision.id)
        ):
            told[work].append((was, now))
        states = dict(session.execute(select(Candidate.id, Candidate.state)).all())
    for work, moves in told.items():
        is_chain = all(a[1] == b[0] for a, b in itertools.pairwise(moves))
        if not is_chain or moves[-1][1] != states[work]:
            problems.append(f"candidate {work} is {states[work]}, and the log does not say why")
        problems += [
            f"candidate {work} went from {was} to {now}"
            for was, now in moves
            if not CANDIDATE.allows(was, now)
        ]
    return problems


def _chains(database: Database) -> Problems:
    """I13: nobody rewrote the past."""
    problems = []
    with database.read() as session:
        for kind in (Decision, Intervention):
            broken = chain.first_broken(session, kind)
            if broken is not None:
                problems.append(
                    f"{kind.__tablename__}: row {broken} was changed, or one before it removed"
                )
    return problems


def _rows(workplace: Workplace) -> Problems:
    return check_logs(workplace.database)


def _person(workplace: Workplace) -> Problems:
    """I9: nothing that waits for a person waits in silence."""
    with workplace.database.read() as session:
        found = session.execute(
            select(Delivery.id, Delivery.channel, Delivery.state, Delivery.last_error)
            .where(Delivery.state.in_(NEEDS_A_PERSON))
            .order_by(Delivery.id)
        )
        stopped = session.scalars(
            select(ChannelStatus).where(ChannelStatus.state != "active")
        ).all()
        problems = [f"channel {c.name} is {c.state}: {c.reason}" for c in stopped]
        return problems + [f"delivery {n} to {c} is {s}: {e}" for n, c, s, e in found]


def _due(workplace: Workplace) -> Problems:
    """I20: with somebody at work, nothing stays due."""
    if workplace.current_worker() is None:
        return []
    now = workplace.clock()
    with workplace.database.read() as session:
        stopped = select(ChannelStatus.name).where(
            (ChannelStatus.state != "active") | (ChannelStatus.rests_until > now)
        )
        late = session.scalars(
            select(Delivery.id).where(
                Delivery.state.in_(WAITING),
                Delivery.next_at < now - LATE,
                Delivery.channel.in_(list(workplace.settings.channels)),
                Delivery.channel.not_in(stopped),
            )
        ).all()
    return [f"delivery {number} is due for more than an hour" for number in late]


_LOOK = "artbot deliveries list; artbot channels list"
_RESTORE = "artbot db list; artbot db restore FILE"
_QUESTIONS: tuple[tuple[str, str, Callable[[Workplace], Problems], str], ...] = (
    ("disk space", "I19", _disk, "make room, or move works/ to a larger disk ([paths] works)"),
    ("database", "I14", _integrity, _RESTORE),
    ("clock", "I2", _clock, "set the clock right, or: artbot clock --accept"),
    ("channels' secrets", "", _credentials, "put the secret where artbot.toml says"),
    (
        "generator",
        "",
        _checkpoint,
        "train one: artbot train --dataset NAME; or look again: artbot checkpoints --retry NAME; "
        "or remove the folder",
    ),
    ("days", "I2", _days, "start the daemon: it fills in what was missed"),
    ("rows", "I1 I3 I6 I7 I8 I9 I11 I12 I13", _rows, _RESTORE),
    ("pictures", "I5", _files, "artbot reproduce ID --restore"),
    ("worker", "I17", _worker, "restart the daemon"),
    ("due work", "I20", _due, "restart the daemon, and look at its log"),
    ("waiting for you", "I9", _person, _LOOK),
    ("backups", "", _backups, "artbot db backup, and look at the daemon's log"),
    ("secrets kept out", "I15", _secrets, "change the secret, then restore or prune what holds it"),
    (
        "painted again",
        "I4",
        _painted_again,
        "artbot reproduce ID; then look at the memory and the graphics card of this machine",
    ),
)

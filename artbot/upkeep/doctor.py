"""A check-up of a workplace: does everything hold that must hold, and if not, what helps.

The invariants I1 to I20 are those of docs/faults.md; the ones that only a test can see (a failpoint, a
receiver's own log) are named there with their test. What is asked of a SQLite database is asked of a copy:
nobody who writes waits for the doctor, and nothing is changed (artbot.upkeep.copying). Whether a daemon
lives is no question of its own, as not everybody runs one; what is overdue is one, and most of all then.
"""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Row, and_, exists, func, literal_column, or_, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased, selectinload

from artbot.domain.calendar import deadline
from artbot.domain.candidate import (
    CANDIDATE,
    UNDECIDED,
    BatchState,
    CandidateState,
    stars_words,
)
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import (
    JITTER,
    MAX_RETRY_AFTER_S,
    WAITING,
    DeliveryState,
    Outcome,
    counted,
)
from artbot.domain.seeds import seed_for
from artbot.domain.text import check_title_and_alt, plain
from artbot.errors import (
    ArtbotError,
    ConfigError,
    DeliveryError,
    NoCheckpoint,
    NoSecret,
    PictureChanged,
    Rejected,
    StorageFailed,
    Unavailable,
)
from artbot.pictures import fault_of
from artbot.publishing.channels import Sender, open_channel, open_channels, outlets, timetables
from artbot.publishing.clocks import last_began_at
from artbot.redaction import known_secrets
from artbot.upkeep.backup import newest_backup
from artbot.upkeep.copying import on_a_copy
from artbot.upkeep.needs import (
    Problem,
    channels_and_deliveries,
    doubted_clock,
    generators,
    missing_secrets,
    picture_problems,
    quarantined_works,
    to_be_painted,
    to_have_a_secret,
    unheard_alerts,
)
from artbot.upkeep.served import page_problems
from artbot.workplace import Workplace
from db import chain
from db.engine import Database
from db.models import (
    Attempt,
    Base,
    Batch,
    Candidate,
    ChannelStatus,
    Decision,
    Delivery,
    Intervention,
    WorkplaceRow,
)
from db.triggers import missing_triggers

LEAST_FREE_BYTES = 500_000_000
LATE = timedelta(hours=1)
"""What is due for so long is stuck, or nobody is there to do it."""
LONG_IN_THE_MAKING = timedelta(days=1)
"""A worker that paints a batch for so long paints none."""
SILENT = timedelta(minutes=15)
"""A worker that gave no sign of life for so long is stuck."""
SOON = timedelta(days=14)
"""What then ends is to be renewed now."""
SHOWN = 5
"""So many examples of one problem are told."""
_FAILURES = (ArtbotError, SQLAlchemyError, sqlite3.Error, OSError, RuntimeError, ValueError)

Problems = list[str]
"""Of which all have the remedy of their question."""


@dataclass(frozen=True)
class Finding:
    """One question and its answer."""

    title: str
    problems: Problems
    """Empty: all is well."""
    remedies: list[str]
    """What helps against them, each told once."""
    invariants: str = ""
    """Those of docs/faults.md that it is about."""
    remarks: list[str] = field(default_factory=list)
    """What is not wrong, and should be put right all the same; each says how."""


@dataclass(frozen=True)
class _Question:
    """Something that can be asked of every workplace."""

    title: str
    invariants: str
    ask: Callable[[Workplace], Sequence[Problem | str]]
    remedy: Callable[[Workplace], str]
    """Of the problems that name none of their own."""

    def answer(self, workplace: Workplace) -> Finding:
        """That it cannot be asked is a problem itself."""
        try:
            problems = self.ask(workplace)
        except _FAILURES as error:
            problems = [_words(error)]
        return self.finding(workplace, problems)

    def finding(self, workplace: Workplace, problems: Sequence[Problem | str]) -> Finding:
        found = [
            problem if isinstance(problem, Problem) else Problem(problem, self.remedy(workplace))
            for problem in problems
        ]
        wrong = [problem for problem in found if problem.is_wrong]
        what = [problem.what for problem in wrong[:SHOWN]]
        if len(wrong) > SHOWN:
            what.append(f"and {len(wrong) - SHOWN} more")
        remedies = list(dict.fromkeys(problem.remedy for problem in wrong[:SHOWN]))
        remarks = [f"{one.what}: {one.remedy}" for one in found if not one.is_wrong]
        return Finding(self.title, what, remedies, self.invariants, remarks)


def examine(
    workplace: Workplace, is_quick: bool = False, is_online: bool = False
) -> Iterator[Finding]:
    """Ask everything, the cheap things first; `is_quick` paints nothing, `is_online` asks the channels' receivers
    too. Of a database that cannot be read that alone is told."""
    for question in _WITHOUT_DATABASE:
        yield question.answer(workplace)
    with ExitStack() as stack:
        try:
            still = stack.enter_context(on_a_copy(workplace))
        except _FAILURES as error:
            problems = [_words(error), "until it can be read, nothing more can be asked"]
            question = _DATABASE
            if isinstance(error, StorageFailed):
                question = replace(_DATABASE, remedy=_always(_MAKE_ROOM))
            yield question.finding(workplace, problems)
            return
        for question in (_DATABASE, *_OF_THE_DATABASE):
            if not (is_quick and question.ask is _painted_again):
                yield question.answer(still)
    if is_online:
        yield from _receivers(workplace)


def check_logs(database: Database) -> Problems:
    """What the database's own rows say about each other (I1, I3, I6 to I9, I11 to I13)."""
    problems: Problems = []
    for ask in (
        _batches,
        _origins,
        _descents,
        _removed,
        _approvals,
        _deliveries,
        _epochs,
        _decisions,
        _chains,
    ):
        problems += ask(database)
    return problems


def _words(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())


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


def _signing(workplace: Workplace) -> Problems:
    """Told before the certificate ends: from then on every work waits."""
    from artbot.publishing.signing import open_signer

    signer = open_signer(workplace.settings)
    if signer is None or workplace.clock() < signer.expires_at - SOON:
        return []
    path = workplace.settings.provenance.certificates
    return [f"provenance.certificates: {path} is good until {_day(signer.expires_at)}"]


def _checkpoint(workplace: Workplace) -> list[Problem]:
    """Of each schedule the generator that paints it next is read whole."""
    from artbot.studio.choice import generator_of
    from artbot.studio.refusals import refused_for_good
    from artbot.studio.registry import CheckpointEntry, list_checkpoints, verify

    entries = list_checkpoints(workplace.settings.checkpoints)
    held_back = refused_for_good(workplace.database)
    problems = []
    for entry in entries:
        if entry.refusal:
            problems.append(
                Problem(
                    f"{entry.name}: {entry.refusal}",
                    f"export or copy it anew, or remove {entry.folder}",
                )
            )
        elif entry.manifest and (held := held_back.of(entry.manifest)):
            again = f"if that is mended: artbot checkpoints --retry {entry.name}"
            problems.append(
                Problem(f"{entry.name}: {held.reason}", f"remove {entry.folder}; or, {again}")
            )
    used: dict[Path, CheckpointEntry] = {}
    for name, found in generators(workplace).items():
        if isinstance(found, NoCheckpoint):
            problems.append(Problem(f"schedule {name}: {found}", to_be_painted(name, workplace)))
        else:
            used[found.folder] = found
    if not workplace.settings.schedules:
        with suppress(NoCheckpoint):
            found = generator_of(workplace.database, workplace.settings.checkpoints, None)
            used[found.folder] = found
    for folder, entry in used.items():
        if fault := verify(entry):
            problems.append(
                Problem(f"{entry.name}: {fault}", f"export or copy it anew, or remove {folder}")
            )
    return problems


def _integrity(workplace: Workplace) -> Problems:
    database = workplace.database
    open_doors = [
        f"its trigger {name} is gone: what that refuses is not refused any more"
        for name in missing_triggers(database)
    ]
    if not database.is_sqlite:
        return open_doors
    with database.read() as session:
        faults = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check(5)"))]
        broken = session.execute(text("PRAGMA foreign_key_check")).all()
    return [
        *(fault for fault in faults if fault != "ok"),
        *(f"a row of {row[0]} refers to nothing" for row in broken),
        *open_doors,
    ]


def _times(workplace: Workplace) -> list[Problem]:
    """I2: no time that counts is further ahead than artbot itself would have set it: a clock that was wrong
    has left it, and until it comes something is not done. A slot may be as far ahead as the queue is long, and
    a person may give any time. What waits for a slot that its channel no longer has, and was made by a clock that
    was right, is only remarked on."""
    now = workplace.clock()
    settings = workplace.settings
    undo_time = timedelta(minutes=settings.publishing.undo_minutes)
    longest = max(timedelta(seconds=MAX_RETRY_AFTER_S * (1 + JITTER)), undo_time)
    with workplace.database.read() as session:
        was_given = or_(
            Delivery.channel.in_(timetables(settings)), Delivery.interventions.any(act="move")
        )
        is_tried_again = Delivery.state == DeliveryState.RETRY_WAIT
        was_touched_ahead = exists().where(
            Intervention.at > now,
            or_(Intervention.delivery_id == Delivery.id, Intervention.channel == Delivery.channel),
        )
        is_by_the_clock = or_(
            is_tried_again,
            Delivery.created_at > now,
            Delivery.candidate.has(Candidate.approved_at > now),
            was_touched_ahead,
        )
        waiting = session.execute(
            select(Delivery.id, Delivery.channel, Delivery.next_at, is_by_the_clock)
            .where(
                Delivery.state.in_(WAITING),
                or_(
                    Delivery.next_at > now + longest + LATE,
                    and_(~is_by_the_clock, Delivery.next_at > now + undo_time + LATE),
                ),
                Delivery.on_hold.is_(False),
                or_(is_tried_again, ~was_given),
            )
            .order_by(Delivery.channel, Delivery.next_at)
        ).all()
        resting = session.execute(
            select(ChannelStatus.name, ChannelStatus.rests_until).where(
                ChannelStatus.rests_until > now + longest + LATE
            )
        ).all()
        uncertain = session.scalars(
            select(Delivery).where(
                Delivery.state == DeliveryState.UNCERTAIN,
                Delivery.attempts.any(Attempt.started_at > now + LATE),
            )
        ).all()
        began = [(d.id, last_began_at(d, session, now)) for d in uncertain]
    accept = "once the clock is right: artbot clock --accept"
    slotless: dict[str, list[int]] = {}
    for n, channel, _, is_clocks_fault in waiting:
        if not is_clocks_fault and channel in settings.channels:  # else told of the channel
            slotless.setdefault(channel, []).append(n)
    return [
        *(
            Problem(
                f"delivery {n} is not tried before {_day(at)}",
                f"{accept}; or artbot deliveries retry {n}",
            )
            for n, _, at, is_clocks_fault in waiting
            if is_clocks_fault
        ),
        *(
            Problem(
                f"{counted(len(numbers))} to {channel} still {'waits' if len(numbers) == 1 else 'wait'} for "
                f"slots, which [channels.{channel}] does not have any more",
                _to_be_sent_sooner(numbers),
                is_wrong=False,
            )
            for channel, numbers in slotless.items()
        ),
        *(
            Problem(
                f"channel {name} rests until {_day(at)}",
                f"{accept}; or artbot channels resume {name}",
            )
            for name, at in resting
            if at is not None
        ),
        *(
            Problem(f"delivery {n} was sent on {_day(at)}", accept)
            for n, at in began
            if at and at > now + LATE
        ),
    ]


def _to_be_sent_sooner(numbers: list[int]) -> str:
    first = " ".join(map(str, numbers[:SHOWN]))
    more = ", and so on (artbot queue --days 3650)" if len(numbers) > SHOWN else ""
    return f"artbot queue now {first}, or artbot queue move {first} --to TIME{more}"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _backups(workplace: Workplace) -> Problems:
    settings = workplace.settings
    every = timedelta(hours=settings.backup.every_hours)
    if not every or not workplace.database.is_sqlite:
        return []
    with workplace.database.read() as session:
        first = session.scalar(select(func.min(Batch.planned_at)))
    now = workplace.clock()
    newest = newest_backup(settings.backups, now)
    if newest is None:
        is_new = first is None or now - first < 2 * every
        return [] if is_new else [f"there is no backup in {settings.backups}"]
    if now - newest.made_at > 2 * every:
        days = (now - newest.made_at) / timedelta(days=1)
        return [f"the newest backup, {newest.path.name}, is {days:.0f} days old"]
    return []


def _alerts(workplace: Workplace) -> list[Problem]:
    """Whether alerts can be sent, and were: of an address only its line is told."""
    from artbot.publishing.alerts import understood

    settings = workplace.settings
    alerts = settings.alerts
    if alerts.urls_file is None:
        return []
    lost = unheard_alerts(workplace)
    path = settings.path(alerts.urls_file)
    remedy = f"put right what stands in {path} (docs/alerts.md)"
    try:
        addresses = alerts.read_addresses(settings.root)
        fared = understood(addresses, settings.child_environment())
    except NoSecret as error:
        return [Problem(error.what, error.remedy), *lost]
    except ConfigError as error:
        return [Problem(str(error), remedy), *lost]
    except Unavailable as error:
        return [Problem(str(error), "pip install 'apprise>=2.2,<3'"), *lost]
    unknown = (one for one in fared if not one.ok)
    return [*(Problem(f"{path}, line {o.line}: {o.detail}", remedy) for o in unknown), *lost]


def _receivers(workplace: Workplace) -> Iterator[Finding]:
    """Each channel that can be opened; of another it is told already that it cannot."""
    for name in workplace.settings.channels:
        try:
            sender = open_channel(workplace.settings, name)
        except ConfigError:
            continue
        yield _receiver(workplace, name, sender)


def _receiver(workplace: Workplace, name: str, sender: Sender) -> Finding:
    title, again = f"channel {name}", f"then: artbot channels test {name}"
    try:
        sender.check(workplace.clock())
        remarks = sender.remarks(workplace.clock())
    except (DeliveryError, ConfigError) as error:
        if isinstance(error, DeliveryError) and error.status == 401:
            remedy = f"{to_have_a_secret(workplace.settings, name)}; {again}"
        elif isinstance(error, Rejected | ConfigError):
            remedy = f"put that right (docs/channels), {again}"
        else:
            remedy = (
                f"if it lasts: is this machine online, and is [channels.{name}] right (the address, http or "
                "https, allow_private)?"
            )
        return Finding(title, [plain(_words(error))], [remedy])
    return Finding(title, [], [], remarks=[plain(remark) for remark in remarks])


def _worker(workplace: Workplace) -> Problems:
    """I17. Its lease is lengthened with every sign of life; of commands that only work for a moment the
    clock's mark tells nothing."""
    with workplace.database.read() as session:
        row = session.get_one(WorkplaceRow, 1)
    worker = workplace.current_worker()
    if worker is None or row.leased_until is None:
        return []
    silent = workplace.clock() - (row.leased_until - workplace.lease)
    if silent <= max(SILENT, workplace.lease):
        return []
    return [f"{worker} has shown no life for {silent.total_seconds() / 60:.0f} minutes"]


def _secrets(workplace: Workplace) -> Problems:
    """I15: no secret in what is stored. Besides the rows the bytes of the file are searched: what was
    overwritten may still stand there."""
    with suppress(ConfigError):  # told as the answer to another question
        open_channels(workplace.settings)  # registers the secrets
    with suppress(ConfigError):
        workplace.settings.alerts.read_addresses(workplace.settings.root)
    secrets = known_secrets()
    database = workplace.database
    places = []
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            rows: Iterable[Row[Any]] = session.execute(
                select(literal_column("*")).select_from(table),
                execution_options={"yield_per": 1000},
            )
            if any(_holds(value, secrets) for row in rows for value in row):
                places.append(f"a secret stands in the table {table.name}")
    if database.path is not None and not places and _holds(database.path.read_bytes(), secrets):
        places.append(f"a secret stands in {workplace.settings.database}")
    return places


def _holds(value: object, secrets: frozenset[str]) -> bool:
    if isinstance(value, bytes):
        return any(secret.encode() in value for secret in secrets)
    return isinstance(value, str) and any(secret in value for secret in secrets)


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
    """I2: every elapsed day of a schedule, from its first batch on, has a row; no batch is left lying."""
    problems = []
    now = workplace.clock()
    nobody = _and_nobody(workplace)
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
            day = min(days)
            while day <= now.astimezone(schedule.zone).date():
                is_due = deadline(schedule, day) < now - LATE
                # Weekdays of the past may have been others: only the present ones can be held to.
                if is_due and day.weekday() in schedule.weekdays and day not in days:
                    problems.append(f"{schedule.name} has no row for {day}{nobody}")
                day += timedelta(days=1)
        begun_before = now - (LATE if nobody else LONG_IN_THE_MAKING)
        lying = session.execute(
            select(Batch.key, Batch.state, Batch.reason).where(
                Batch.state.in_([BatchState.PLANNED, BatchState.GENERATING]),
                Batch.planned_at < begun_before,
                Batch.due_at < begun_before,
            )
        ).all()
    return problems + [
        f"batch {key} is still {state}{f': {reason}' if reason else ''}{nobody}"
        for key, state, reason in lying
    ]


def _and_nobody(workplace: Workplace) -> str:
    """For a sentence about what is not done; empty if there is a worker."""
    return "" if workplace.current_worker() else ", and nobody is at work"


def _origins(database: Database) -> Problems:
    """I3: each seed follows from its batch, and the generator is its batch's. That they were there before
    the pixels no clock can tell: a trigger keeps them as they were, and the kill sweep shows the order."""
    problems = []
    with database.read() as session:
        rows = session.execute(
            select(
                Candidate.name,
                Candidate.index,
                Candidate.seed,
                Batch.key,
                Candidate.checkpoint_sha256 == Batch.checkpoint_sha256,
            )
            .join(Candidate.batch)
            .where(Candidate.parent_id.is_(None))
            .execution_options(yield_per=1000)
        )
        for name, index, seed, key, is_of_its_batch in rows:
            if seed != seed_for(key, index):
                problems.append(f"{name} has a seed that its batch does not give it")
            if not is_of_its_batch:
                problems.append(f"{name} has another generator than its batch")
    return problems


def _descents(database: Database) -> Problems:
    """I3, of children: what each is made from follows from its parents."""
    from artbot.studio.children import fault_in_descent

    one, other = aliased(Candidate), aliased(Candidate)
    families = (
        select(Candidate, one, other)
        .join(one, Candidate.parent_id == one.id)
        .outerjoin(other, Candidate.other_parent_id == other.id)
        .execution_options(yield_per=500)
    )
    with database.read() as session:
        faults = (
            fault_in_descent(child, [parent for parent in parents if parent is not None])
            for child, *parents in session.execute(families)
        )
        return [fault for fault in faults if fault]


def _removed(database: Database) -> Problems:
    """I7, I9: no delivery was removed, and no attempt. SQLite numbers rows without gaps; PostgreSQL leaves
    one where something was taken back, and there only the trigger holds."""
    if not database.is_sqlite:
        return []
    problems = []
    with database.read() as session:
        for kind in (Delivery, Attempt):
            count, last = session.execute(select(func.count(kind.id), func.max(kind.id))).one()
            if missing := (last or 0) - count:
                problems.append(f"{kind.__tablename__}: {missing} rows were removed")
    return problems


def _files(workplace: Workplace) -> list[Problem]:
    """I5: what waits or is approved has its file, to the byte."""
    alive = (*UNDECIDED, CandidateState.APPROVED)
    with workplace.database.read() as session:
        candidates = session.scalars(select(Candidate).where(Candidate.state.in_(alive))).all()
    return picture_problems(workplace, candidates, fault_of) + quarantined_works(workplace)


def _painted_again(workplace: Workplace) -> list[Problem]:
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
    return [
        Problem(
            f"{newest.name} has other pixels when it is painted again, on the very same machine",
            f"see how they differ: artbot reproduce {newest.id}; then look at the memory and the graphics "
            "card of this machine",
        )
    ]


def _approvals(database: Database) -> Problems:
    """I6, I7: a delivery has an approval of that very picture, whatever the clocks said; an approval its
    deliveries. Which channels there were then, approvals older than migration 0007 do not tell."""
    approval = (
        select(Decision.id)
        .join(Candidate, Candidate.id == Decision.candidate_id)
        .where(
            Decision.candidate_id == Delivery.candidate_id,
            Decision.now == CandidateState.APPROVED,
            Decision.image_sha256 == Candidate.image_sha256,
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
        approved = session.execute(
            select(Candidate.id, Candidate.name, Decision.channels)
            .join(Candidate.decisions)
            .where(
                Candidate.state == CandidateState.APPROVED,
                Decision.now == CandidateState.APPROVED,
                Decision.was != CandidateState.APPROVED,
                Decision.channels.is_not(None),
            )
        ).all()
        rows = session.execute(select(Delivery.candidate_id, Delivery.channel))
        there = {(work, channel) for work, channel in rows}
    return (
        [f"delivery {number} has no approval of its picture" for number in unapproved]
        + [f"{name} is approved, and goes nowhere though nobody withdrew it" for name in nowhere]
        + [
            f"{name} was approved for {channel}, and has no delivery there"
            for work, name, channels in approved
            for channel in (channels or "").split()
            if (work, channel) not in there
        ]
    )


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


@dataclass(frozen=True)
class _Told:
    """What a decision says of its candidate."""

    was: str
    now: str
    stars: int


def _decisions(database: Database) -> Problems:
    """I12: the log tells how each candidate came to be what it is, in moves that are allowed, and to its stars."""
    told: dict[int, list[_Told]] = defaultdict(list)
    problems = []
    with database.read() as session:
        for work, was, now, stars in session.execute(
            select(Decision.candidate_id, Decision.was, Decision.now, Decision.stars).order_by(
                Decision.id
            )
        ):
            told[work].append(_Told(was, now, stars or 0))
        works = session.execute(select(Candidate.id, Candidate.state, Candidate.stars)).all()
    for work, state, stars in works:
        log = told.get(work, [])
        # Decisions begin where the studio's work ends; without any, a work is what the studio left.
        is_chain = all(a.now == b.was for a, b in itertools.pairwise(log))
        begins = not log or log[0].was == CandidateState.PENDING
        ends = log[-1].now == state if log else state in _MADE
        if not (is_chain and begins and ends):
            problems.append(f"candidate {work} is {state}, and the log does not say why")
        problems += [
            f"candidate {work} went from {one.was} to {one.now}"
            for one in log
            if one.was != one.now and not CANDIDATE.allows(one.was, one.now)
        ]
        # To give stars is a decision of its own, and no other one changes them.
        given = itertools.pairwise([0, *(one.stars for one in log)])
        changes = [before != after for before, after in given]
        ends = (log[-1].stars if log else 0) == stars
        if not ends or changes != [one.was == one.now for one in log]:
            problems.append(
                f"candidate {work} has {stars_words(stars)}, and the log does not say why"
            )
    return problems


_MADE = (CandidateState.PLANNED, CandidateState.PENDING, CandidateState.FAILED)
"""What a work can be though nobody decided about it."""


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


def _due(workplace: Workplace) -> Problems:
    """I20: nothing stays due, whether somebody is at work or not."""
    now = workplace.clock()
    nobody = _and_nobody(workplace)
    with workplace.database.read() as session:
        stopped = select(ChannelStatus.name).where(
            or_(ChannelStatus.state != ChannelState.ACTIVE, ChannelStatus.rests_until > now)
        )
        late = session.execute(
            select(Delivery.id, Delivery.channel, Delivery.next_at)
            .where(
                Delivery.state.in_(WAITING),
                Delivery.next_at < now - LATE,
                Delivery.on_hold.is_(False),
                Delivery.channel.in_(workplace.settings.channels),
                Delivery.channel.not_in(stopped),
            )
            .order_by(Delivery.id)
        ).all()
        unpainted = session.execute(
            select(Batch.key, Batch.reason, func.count(), func.min(Candidate.planned_at))
            .join(Candidate.batch)
            .where(
                Candidate.state == CandidateState.PLANNED,
                Candidate.parent_id.is_not(None),
                Candidate.planned_at < now - LATE,
            )
            .group_by(Batch.id)
            .order_by(Batch.id)
        ).all()
        cut_off = session.execute(
            select(Delivery.id, Delivery.channel)
            .where(
                Delivery.state == DeliveryState.SENDING,
                ~Delivery.attempts.any(Attempt.started_at > now - LATE),
            )
            .order_by(Delivery.id)
        ).all()
    return (
        [
            f"delivery {number} to {channel} has been due since {at:%Y-%m-%d %H:%M} UTC{nobody}"
            for number, channel, at in late
        ]
        + [
            f"{count} asked for besides in {key} not painted since {at:%Y-%m-%d %H:%M} UTC"
            f"{f': {reason}' if reason else ''}{nobody}"
            for key, reason, count, at in unpainted
        ]
        + [
            f"delivery {number} to {channel} was cut off while it was sent{nobody}"
            for number, channel in cut_off
        ]
    )


def _drafts(workplace: Workplace) -> list[Problem]:
    """How the newest work that waits for a decision would fare with the drafts of [texts] on every channel. One
    stands for all, and all can still be given other words: a remark."""
    from artbot.publishing.rehearsal import rehearse
    from artbot.publishing.work import approved_work
    from artbot.review.decisions import as_approved

    settings = workplace.settings
    newest = select(Candidate.id).where(Candidate.state.in_(UNDECIDED))
    with workplace.database.read() as session:
        number = session.scalar(newest.order_by(Candidate.id.desc()).limit(1))
    if number is None or not settings.channels:
        return []
    candidate = as_approved(workplace.review, number)
    try:
        check_title_and_alt(candidate.title or "", candidate.alt or "")
    except ValueError as error:
        return [
            Problem(
                f"with the drafts of [texts] no work could go out ({error})",
                "mend them in artbot.toml, or write these words with each approval: artbot approve "
                f"{number} --title … --alt …",
                is_wrong=False,
            )
        ]
    try:
        work = approved_work(candidate, settings.works)
    except (PictureChanged, StorageFailed):  # told of the pictures
        return []
    tried = {name: rehearse(outlet, work).refusal for name, outlet in outlets(settings).items()}
    return [
        Problem(
            f"with the drafts of [texts] {number} could not go to {name} ({refusal})",
            f"mend them, or what stands under [channels.{name}]; to see it: artbot channels preview {number}",
            is_wrong=False,
        )
        for name, refusal in tried.items()
        if refusal
    ]


def _always(remedy: str) -> Callable[[Workplace], str]:
    return lambda _: remedy


def _start(workplace: Workplace) -> str:
    if worker := workplace.current_worker():
        return f"look at the log of {worker}, and restart it"
    return "start the daemon: artbot daemon, or where it is a service: systemctl start artbot"


def _restore(workplace: Workplace) -> str:
    if not isinstance(workplace.settings.database, Path):
        return "restore a backup of the server's own, with pg_restore"
    newest = newest_backup(workplace.settings.backups, workplace.clock())
    if newest is None:
        return (
            f"there is no backup in {workplace.settings.backups}; with a copy of your own: "
            "artbot db restore FILE"
        )
    return f"artbot db restore {newest.path} (others: artbot db list)"


_MAKE_ROOM = "make room there, or name another folder: TMPDIR=FOLDER artbot doctor"
_DATABASE = _Question("database", "I14", _integrity, _restore)
_WITHOUT_DATABASE = (
    _Question(
        "disk space",
        "I19",
        _disk,
        _always("make room, or move works/ to a larger disk ([paths] works)"),
    ),
    _Question("channels' secrets", "", missing_secrets, _always("mend artbot.toml")),
    _Question(
        "signing",
        "",
        _signing,
        _always(
            "put right what certificates and key_file under [provenance] in artbot.toml name, or take both out "
            "(docs/renditions.md)"
        ),
    ),
    _Question("review page", "", page_problems, _always("docs/web.md")),
)
_OF_THE_DATABASE = (
    _Question("clock", "I2", doubted_clock, _always("artbot clock")),
    _Question("times to come", "I2", _times, _always("artbot clock")),
    _Question("generator", "", _checkpoint, _always("artbot checkpoints")),
    _Question("days", "I2", _days, lambda w: f"{_start(w)}: it makes or records what was missed"),
    _Question(
        "rows",
        "I1 I3 I6 I7 I8 I9 I11 I12 I13",
        _rows,
        lambda w: (
            "somebody or something changed the database past artbot. If a backup is better, though what "
            f"was decided since is lost with it: {_restore(w)}"
        ),
    ),
    _Question("pictures", "I5", _files, lambda w: f"see that {w.settings.works} can be read"),
    _Question("drafts", "", _drafts, _always("artbot.toml, [texts]")),
    _Question("worker", "I17", _worker, _start),
    _Question("due work", "I20", _due, _start),
    _Question("waiting for you", "I9", channels_and_deliveries, _always("artbot status")),
    _Question("alerts", "", _alerts, _always("mend artbot.toml")),
    _Question("backups", "", _backups, lambda w: f"artbot db backup; and {_start(w)}"),
    _Question(
        "secrets kept out",
        "I15",
        _secrets,
        _always(
            "give channel and receiver a new secret: the one that stands there is worth nothing then"
        ),
    ),
    _Question(
        "painted again",
        "I4",
        _painted_again,
        lambda w: f"see that {w.settings.works} and {w.settings.checkpoints} are there and whole",
    ),
)

"""What waits for a person, each with what helps: `artbot status` counts it, `artbot doctor` tells it.

Asks and changes nothing. A cause is told once: of what a stopped channel holds, the channel alone.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, or_, select

from artbot.config import ScheduleSettings, SecretReference, Settings
from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import NEEDS_A_PERSON, WAITING, DeliveryState, counted
from artbot.domain.notice import ALERTS, NoticeState
from artbot.domain.text import shortened
from artbot.errors import (
    ArtbotError,
    ClockDoubted,
    ConfigError,
    NoCheckpoint,
    NoSecret,
    StorageFailed,
)
from artbot.pictures import fault_of
from artbot.publishing.channels import open_channel
from artbot.studio.choice import generator_of
from artbot.studio.registry import LATEST, CheckpointEntry
from artbot.workplace import Workplace
from db.models import Candidate, ChannelStatus, Delivery, Notice

UNHEARD = timedelta(days=7)
"""An alert that was given up is told of for so long."""


@dataclass(frozen=True)
class Problem:
    """Something that does not hold, or waits for a person."""

    what: str
    remedy: str
    is_wrong: bool = True
    """Else a remark: not wrong, and worth a look all the same."""


def doubted_clock(workplace: Workplace) -> list[Problem]:
    try:
        workplace.check_clock()
    except ClockDoubted as doubt:
        return [Problem(str(doubt), "set the clock right, or: artbot clock --accept")]
    return []


def generators(workplace: Workplace) -> dict[str, CheckpointEntry | NoCheckpoint]:
    """What paints the next batch of each schedule, or why nothing does."""
    found: dict[str, CheckpointEntry | NoCheckpoint] = {}
    settings = workplace.settings
    for name, schedule in settings.schedules.items():
        try:
            found[name] = generator_of(workplace.database, settings.checkpoints, schedule)
        except NoCheckpoint as why:
            found[name] = why
    return found


def to_be_painted(name: str, workplace: Workplace) -> str:
    """What helps a schedule that has no generator."""
    schedule = workplace.settings.schedules[name]
    where = f"under [schedules.{name}] in artbot.toml"
    if schedule.checkpoint != LATEST:
        return f"name another `checkpoint` {where}: artbot checkpoints"
    train = f"artbot train --dataset {_data_set(schedule, workplace)}"
    if schedule.class_name is not None:
        return f"mend `class` {where}, or: {train} --classes"
    return train if schedule.dataset is None else f"mend `dataset` {where}, or: {train}"


def _data_set(schedule: ScheduleSettings, workplace: Workplace) -> str:
    """What it asks for, or the only one there is."""
    if schedule.dataset is not None:
        return schedule.dataset
    folder = workplace.settings.datasets
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    named = [name for name in there if not name.startswith(".")]
    return named[0] if len(named) == 1 else "NAME"


def missing_secrets(workplace: Workplace, is_daemon_trusted: bool = False) -> list[Problem]:
    """`is_daemon_trusted`: what is handed over to a daemon when it begins, one that runs has."""
    problems = []
    settings = workplace.settings
    is_handed_over = is_daemon_trusted and workplace.current_worker() is not None
    for name, channel in settings.channels.items():
        reference = channel if isinstance(channel, SecretReference) else None
        if is_handed_over and reference and reference.handed_over_as(settings.root):
            continue
        try:
            open_channel(settings, name)
        except NoSecret as error:
            problems.append(Problem(error.what, error.remedy))
        except ConfigError as error:
            # It says what is to be mended there.
            where = reference.secret_place(settings.root) if reference else "artbot.toml"
            remedy = f"mend {where}, then: artbot channels test {name}"
            problems.append(Problem(str(error), remedy))
    return problems


def to_have_a_secret(settings: Settings, channel: str) -> str:
    """What helps a channel whose secret is missing or refused."""
    reference = settings.channels[channel]
    if not isinstance(reference, SecretReference):
        return "put right what artbot.toml says of it"
    return reference.to_have_a_secret(channel, settings.root)


def channels_and_deliveries(workplace: Workplace) -> list[Problem]:
    """I9: nothing that waits for a person waits in silence."""
    configured = workplace.settings.channels
    with workplace.database.read() as session:
        stopped = session.scalars(
            select(ChannelStatus)
            .where(ChannelStatus.state != ChannelState.ACTIVE, ChannelStatus.name.in_(configured))
            .order_by(ChannelStatus.name)
        ).all()
        unsettled = session.execute(
            select(
                Delivery.id, Candidate.name, Delivery.channel, Delivery.state, Delivery.last_error
            )
            .join(Delivery.candidate)
            .where(
                Delivery.state.in_(NEEDS_A_PERSON),
                # Held for its picture's sake: told of the work.
                or_(
                    Delivery.state != DeliveryState.HELD,
                    Candidate.state != CandidateState.QUARANTINED,
                ),
            )
            .order_by(Delivery.id)
        ).all()
        waiting = session.execute(
            select(Delivery.channel, func.count())
            .where(Delivery.state.in_(WAITING), Delivery.on_hold.is_(False))
            .group_by(Delivery.channel)
        ).all()
    by_gone_channel = waiting_for_no_channel(workplace)
    held = Counter(d.channel for d in unsettled if d.state == DeliveryState.HELD)
    held.update(dict(waiting))
    told = {channel.name for channel in stopped} | set(by_gone_channel)
    return [
        *(
            Problem(
                f"channel {c.name} is {c.state}: {shortened(c.reason or '')}"
                + (f"; it holds {counted(held[c.name])}" if held[c.name] else ""),
                f"artbot channels resume {c.name}",
            )
            for c in stopped
        ),
        *(
            Problem(
                f"for channel {name}, which artbot.toml does not have: {counted(len(numbers))}",
                to_have_a_channel(name, numbers),
            )
            for name, numbers in by_gone_channel.items()
        ),
        *(
            Problem(
                f"delivery {d.id}: {d.name} to {d.channel} is {d.state}: {d.last_error}",
                _to_be_settled(d.id, DeliveryState(d.state)),
            )
            for d in unsettled
            if d.state != DeliveryState.HELD or d.channel not in told
        ),
    ]


def waiting_for_no_channel(workplace: Workplace) -> dict[str, list[int]]:
    """Numbers of the deliveries that wait for channels which artbot.toml does not have, by channel."""
    with workplace.database.read() as session:
        rows = session.execute(
            select(Delivery.channel, Delivery.id)
            .where(
                Delivery.state.in_((*WAITING, DeliveryState.HELD)),
                Delivery.channel.not_in(workplace.settings.channels),
            )
            .order_by(Delivery.channel, Delivery.id)
        ).all()
    by_channel = itertools.groupby(rows, key=lambda row: row[0])
    return {name: [number for _, number in of_it] for name, of_it in by_channel}


def to_have_a_channel(name: str, numbers: Sequence[int]) -> str:
    """What helps these deliveries, which wait for a channel that is gone."""
    return (
        f"put [channels.{name}] into artbot.toml again, or: "
        f"artbot deliveries withdraw {' '.join(map(str, numbers))}"
    )


def _to_be_settled(number: int, state: DeliveryState) -> str:
    if state == DeliveryState.UNCERTAIN:
        return f"look, then: artbot deliveries resolve {number} --posted, or --absent"
    return f"artbot deliveries retry {number}"


def unheard_alerts(workplace: Workplace) -> list[Problem]:
    """Alerts that were given up since the last one got through: whoever relies on them does not know."""
    if workplace.settings.alerts.urls_file is None:
        return []
    since = workplace.clock() - UNHEARD
    alerts = select(Notice).where(Notice.recipient == ALERTS)
    with workplace.database.read() as session:
        last = session.scalar(
            alerts.where(Notice.state == NoticeState.SENT).order_by(Notice.id.desc()).limit(1)
        )
        lost = session.scalars(
            alerts.where(
                Notice.state == NoticeState.GIVEN_UP,
                Notice.next_at >= since,
                Notice.id > (last.id if last else 0),
            ).order_by(Notice.id)
        ).all()
    if not lost:
        return []
    number = f"{len(lost)} alert{'' if len(lost) == 1 else 's'}"
    return [Problem(f"{number} did not reach you: {lost[-1].last_error}", "artbot alerts test")]


def unsent_works(workplace: Workplace) -> list[int]:
    """Ids of those that were approved while there was no channel: they go nowhere until approved again."""
    with workplace.database.read() as session:
        return list(
            session.scalars(
                select(Candidate.id)
                .where(
                    Candidate.state == CandidateState.APPROVED,
                    ~Candidate.deliveries.any(Delivery.state != DeliveryState.CANCELLED),
                    ~Candidate.deliveries.any(Delivery.interventions.any(act="withdraw")),
                )
                .order_by(Candidate.id)
            )
        )


def quarantined_works(workplace: Workplace) -> list[Problem]:
    with workplace.database.read() as session:
        aside = session.scalars(
            select(Candidate).where(Candidate.state == CandidateState.QUARANTINED)
        ).all()
    return [Problem(f"{c.name} is quarantined: {c.error}", _to_be_restored(c)) for c in aside]


def missing_pictures(workplace: Workplace) -> list[Problem]:
    """Of what waits for a decision or to be sent. Their bytes are not read: that takes long."""
    going = select(Delivery.candidate_id).where(Delivery.state.in_(WAITING))
    with workplace.database.read() as session:
        works = session.scalars(
            select(Candidate).where(or_(Candidate.state.in_(UNDECIDED), Candidate.id.in_(going)))
        ).all()
    return picture_problems(workplace, works, _fault_at_a_glance)


def _fault_at_a_glance(works: Path, candidate: Candidate) -> str | None:
    assert candidate.path is not None
    return None if os.access(works / candidate.path, os.R_OK) else fault_of(works, candidate)


def picture_problems(
    workplace: Workplace,
    candidates: Sequence[Candidate],
    ask: Callable[[Path, Candidate], str | None],
) -> list[Problem]:
    """`ask` raises StorageFailed where nobody can know now: told once for all that are not there together."""
    works = workplace.settings.works
    problems, away = [], []
    for candidate in candidates:
        assert candidate.path is not None
        try:
            fault = ask(works, candidate)
        except StorageFailed as error:
            if not (works / candidate.path).parent.is_dir():
                away.append(candidate)
                continue
            problems.append(
                Problem(
                    f"{candidate.name}: {error}", f"let this user read {works / candidate.path}"
                )
            )
        except ArtbotError as error:  # one must not hide the others
            problems.append(Problem(f"{candidate.name}: {error}", _to_be_restored(candidate)))
        else:
            if fault:
                problems.append(Problem(f"{candidate.name}: {fault}", _to_be_restored(candidate)))
    if away:
        example = (works / str(away[0].path)).parent
        problems.insert(
            0,
            Problem(
                f"{example} is not there, and so the pictures of {len(away)} works",
                f"if {works} lies on a disk of its own, mount it first; only what is lost for good: "
                f"artbot reproduce {away[0].id} --restore",
            ),
        )
    return problems


def _to_be_restored(candidate: Candidate) -> str:
    return f"artbot reproduce {candidate.id} --restore"

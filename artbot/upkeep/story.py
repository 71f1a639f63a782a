"""The whole story of one work, from its rows.

Each log tells in its own order, that of its numbers: a clock that was set back must not have a work sent
before it was approved. Where two logs meet, the clock decides, as nothing else does. What was done to a channel
belongs to the story while the work has something to wait for there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload, selectinload

from artbot.domain.candidate import UNDECIDED, CandidateState, decision_words, undos
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import SETTLED, DeliveryState, Outcome
from artbot.errors import UsageError
from artbot.studio.family import children_of, descent_words, method_of
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


class _Turn(Enum):
    """What a step changes for the deliveries it is about."""

    NONE = auto()
    WAITS = auto()  # it has something to wait for
    SETTLED = auto()  # it is out, or taken back
    STOPPED = auto()  # its channel: nothing goes out until a person resumes it
    RESUMED = auto()
    HELD_UP = auto()  # its channel, or all of them, in passing


_TURNS_ALL: dict[tuple[str, str], _Turn] = {
    **{(was, CandidateState.APPROVED): _Turn.WAITS for was in UNDECIDED},
    **{(CandidateState.APPROVED, now): _Turn.SETTLED for now in UNDECIDED},  # undone
}
"""By a decision: what becomes of the deliveries there are."""
_OF_CHANNELS = (_Turn.STOPPED, _Turn.RESUMED, _Turn.HELD_UP)


@dataclass(frozen=True)
class _Step:
    event: Event
    turn: _Turn = _Turn.NONE
    channel: str | None = None
    """Of the deliveries it is about; None: of all."""
    stops: str = ""
    """What keeps them from then on, in words."""


@dataclass
class _Log:
    """Steps in the order in which they happened, whatever their clock said."""

    steps: list[_Step] = field(default_factory=list)
    after: _Step | None = None
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
        descent = descent_words(session, work)
        children = children_of(session, [work.id])
        channels = [delivery.channel for delivery in work.deliveries]
        done = session.scalars(
            select(Intervention)
            .where(
                Intervention.delivery_id.is_(None),
                or_(Intervention.channel.in_(channels), Intervention.channel.is_(None)),
            )
            .order_by(Intervention.id)
        ).all()
        standings = session.scalars(
            select(ChannelStatus).where(ChannelStatus.name.in_(channels))
        ).all()
    decided, queued = _decided(work)
    logs = [_Log([*_made(work, descent), *decided]), _Log(_had_children(children))]
    for delivery in work.deliveries:
        begun = queued[delivery.id]
        logs.append(_Log([s for a in delivery.attempts for s in _attempted(delivery, a)], begun))
        logs.append(_Log([_intervened(entry) for entry in delivery.interventions], begun))
    logs.append(_Log([_done_to_channel(entry) for entry in _since(work.planned_at, done)]))
    told = _without_what_passed_it_by(_merged(logs), channels)
    return work, [*told, *_to_come(work, standings)]


def _made(work: Candidate, descent: str) -> list[_Step]:
    """`descent`: empty unless it has parents. Its batch was due before anybody thought of a child."""
    batch = work.batch
    of = f"batch {batch.key} of schedule {batch.schedule}"
    made = f"seed {work.seed}, generator {work.checkpoint.name} ({work.checkpoint_sha256[:12]}…)"
    if descent:
        events = [Event(work.planned_at, "planned", f"{descent}, into {of}; {made}")]
    elif batch.due_at <= work.planned_at:
        events = [Event(batch.due_at, "due", of), Event(work.planned_at, "planned", made)]
    else:
        events = [Event(work.planned_at, "planned", f"{of}, before it was due; {made}")]
    if work.rendered_at:
        size = f"{work.width} x {work.height} px, sha256 {(work.image_sha256 or '')[:12]}…"
        events.append(Event(work.rendered_at, "painted", f"{work.path}, {size}"))
    return [_Step(event) for event in events]


def _had_children(children: Sequence[Candidate]) -> list[_Step]:
    """Those that were asked for together are told together."""
    steps = []
    for at, born in itertools.groupby(children, key=lambda child: child.planned_at):
        names = ", ".join(f"{child.name} ({method_of(child)})" for child in born)
        steps.append(_Step(Event(at, "more like it", names)))
    return steps


def _decided(work: Candidate) -> tuple[list[_Step], dict[int, _Step]]:
    """The decisions, each approval with the deliveries it queued; and those by the delivery's id."""
    approvals = [d for d in work.decisions if d.now == CandidateState.APPROVED != d.was]
    made_by: dict[int, list[Delivery]] = {}
    for delivery in work.deliveries:
        # In one transaction, a moment later. Only a work approved before there was a channel waits longer.
        before = [a for a in approvals if a.at <= delivery.created_at] or approvals[:1]
        approval = max(before, key=lambda a: a.at, default=None)
        made_by.setdefault(approval.id if approval else 0, []).append(delivery)
    steps: list[_Step] = []
    queued: dict[int, _Step] = {}

    def queue(deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            words = f"for {delivery.channel}, key {delivery.delivery_key}"
            event = Event(delivery.created_at, "queued", words)
            queued[delivery.id] = _Step(event, _Turn.WAITS, delivery.channel)
            steps.append(queued[delivery.id])

    queue(made_by.get(0, []))
    taken_back = undos((d.id, d.undoes) for d in work.decisions)
    for decision in work.decisions:
        is_undo = decision.id in taken_back
        steps.append(_decision(decision, is_undo, has_deliveries=bool(queued)))
        queue(made_by.get(decision.id, []))
    return steps, queued


def _decision(decision: Decision, is_undo: bool, has_deliveries: bool) -> _Step:
    is_stars = decision.was == decision.now
    what = decision_words(decision.was, decision.now, decision.stars) if is_stars else decision.now
    words = f"by {decision.by} ({decision.via})" + ("" if is_stars else f", was {decision.was}")
    if decision.undoes:
        words += ", taking back what was decided" if is_undo else ", taking the undo back"
    turn = _TURNS_ALL.get((decision.was, decision.now)) if has_deliveries else None
    return _Step(Event(decision.at, what, words), turn or _Turn.NONE)


def _attempted(delivery: Delivery, attempt: Attempt) -> list[_Step]:
    channel = delivery.channel
    begun = Event(attempt.started_at, "sent", f"to {channel}, by worker {attempt.epoch}")
    if attempt.finished_at is None:
        open_ = Event(attempt.started_at, "open", f"no answer from {channel} yet")
        return [_Step(begun), _Step(open_)]
    status = f", status {attempt.status}" if attempt.status else ""
    detail = f": {attempt.detail}" if attempt.detail else ""
    ended = Event(attempt.finished_at, attempt.outcome or "", f"by {channel}{status}{detail}")
    turn = _Turn.SETTLED if attempt.outcome == Outcome.DELIVERED else _Turn.NONE
    return [_Step(begun), _Step(ended, turn, channel)]


def _intervened(entry: Intervention) -> _Step:
    """What was done to a delivery."""
    moved = f", {entry.was} → {entry.now}" if entry.now != entry.was else ""
    words = f"{entry.channel} by {entry.by}{moved}{_why(entry)}"
    turn = _Turn.SETTLED if entry.now in SETTLED else _Turn.WAITS
    return _Step(Event(entry.at, entry.act, words), turn, entry.channel)


def _done_to_channel(entry: Intervention) -> _Step:
    """Or (a restore, a clock that was accepted) to all of them."""
    whose = "everything" if entry.channel is None else f"channel {entry.channel}"
    moved = f", {entry.was} → {entry.now}" if entry.now and entry.now != entry.was else ""
    words = f"{whose} by {entry.by}{moved}{_why(entry)}"
    turn = _Turn.HELD_UP
    if entry.channel is not None and entry.act in ("pause", "resume"):
        turn = _Turn.STOPPED if entry.act == "pause" else _Turn.RESUMED
    stops = f"{entry.channel} is {entry.now}{_why(entry)}" if turn == _Turn.STOPPED else ""
    return _Step(Event(entry.at, entry.act, words), turn, entry.channel, stops)


def _why(entry: Intervention) -> str:
    return f": {entry.reason}" if entry.reason else ""


def _since(begun: datetime, done: Iterable[Intervention]) -> list[Intervention]:
    """What was done since then, and what stopped a channel before and was not taken back by then."""
    since: list[Intervention] = []
    stopped: dict[str | None, Intervention] = {}
    for entry in done:
        if entry.at >= begun:
            since.append(entry)
        elif entry.act == "pause":
            stopped[entry.channel] = entry
        elif entry.act == "resume":
            stopped.pop(entry.channel, None)
    return [*sorted(stopped.values(), key=lambda entry: entry.id), *since]


def _merged(logs: list[_Log]) -> list[_Step]:
    """Of the steps that may come next, always the one whose clock showed least."""
    told: list[_Step] = []
    waiting = [_Log(list(log.steps), log.after) for log in logs]
    while ready := [
        log for log in waiting if log.steps and (log.after is None or log.after in told)
    ]:
        told.append(min(ready, key=lambda log: log.steps[0].event.at).steps.pop(0))
    return told


def _without_what_passed_it_by(steps: list[_Step], channels: list[str]) -> list[Event]:
    """Leave out what was done to a channel while the work had nothing to wait for there. What was stopping
    the channel when the work began to wait is told there."""
    waits: set[str] = set()
    stopped: dict[str, str] = {}
    told: list[Event] = []
    for step in steps:
        about = set(channels) if step.channel is None else {step.channel}
        event = step.event
        if step.turn == _Turn.WAITS:
            kept_by = [words for name, words in stopped.items() if name in about - waits]
            event = replace(event, words=", while ".join([event.words, *kept_by]))
        if step.turn not in _OF_CHANNELS or about & waits:
            told.append(event)
        if step.turn == _Turn.WAITS:
            waits |= about
        elif step.turn == _Turn.SETTLED:
            waits -= about
        elif step.turn == _Turn.STOPPED:
            stopped |= dict.fromkeys(about, step.stops)
        elif step.turn == _Turn.RESUMED:
            stopped = {name: words for name, words in stopped.items() if name not in about}
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
        if delivery.on_hold:
            words += ", until it is released"
        elif standing is not None and standing.state != ChannelState.ACTIVE:
            words += f", once it is resumed: it is {standing.state}, {standing.reason}"
        elif standing is not None and standing.rests_until and standing.rests_until > at:
            at = standing.rests_until
            words += f", which rests after {standing.num_failures} failures"
        what = "on hold" if delivery.on_hold else "next try"
        events.append(Event(at, what, words, is_to_come=True))
    return sorted(events, key=lambda event: event.at)

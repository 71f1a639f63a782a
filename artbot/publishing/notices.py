"""What is told besides works: events to webhooks, alerts to the operator. A small outbox of its own.

Notices are not written by whoever makes something happen. Now and then the worker looks at what the database
says of the last day and notes what nobody has been told of; the unique key makes that happen once. What is noted is told at
least once: killed after the telling, the worker tells it again under the same key. No work ever waits for a
notice longer than one telling takes, and no failed notice is counted against a channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, exists, func, or_, select
from sqlalchemy.orm import Session, joinedload

from artbot.clock import Clock
from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.candidate import UNDECIDED, BatchState, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import NEEDS_A_PERSON, WAITING, DeliveryState
from artbot.domain.notice import (
    ALERTS,
    LASTS,
    NOTICE,
    RECENT,
    UNOPENED,
    NoticeKind,
    NoticeState,
    next_try,
    notice_key,
)
from artbot.errors import ConfigError, DeliveryError, Rejected, Unavailable
from artbot.failpoints import failpoint
from artbot.publishing.alerts import Fared, Message, Sheet, Told, message_of
from artbot.publishing.channels import Receipt
from artbot.publishing.standing import REFUSES_US, is_stopped
from artbot.redaction import redact
from db.engine import Database, DatabaseUnusable
from db.models import (
    Attempt,
    Batch,
    Candidate,
    ChannelStatus,
    Decision,
    Delivery,
    Intervention,
    Notice,
    WorkplaceRow,
)
from db.types import utc_text

_PAINTED = (BatchState.READY, BatchState.PARTIAL)
_TOO_LATE = "it is news no longer"


@runtime_checkable
class Tells(Protocol):
    """An opened channel that can be told of events besides works."""

    def tell(self, message_id: str, event: BaseModel, now: datetime) -> Receipt:
        """Raises DeliveryError."""


@dataclass(frozen=True)
class Subscriber:
    """A channel that wants to know."""

    kinds: frozenset[str]
    open: Callable[[], object]
    """Raises ConfigError."""


@dataclass(frozen=True)
class Operator:
    """Who runs the workplace, and wants to know."""

    kinds: frozenset[str]
    nothing_approved_days: int
    """0: not a kind to be told of."""
    send: Callable[[Message], Sequence[Fared]]
    """Raises ConfigError, Unavailable."""
    link_to: Callable[[str], str | None] = lambda batch: None
    sheet_of: Callable[[str], Sheet | None] = lambda batch: None
    """Both as artbot.publishing.alerts.message_of takes them."""


@dataclass(frozen=True)
class Notices:
    """What noting and telling need."""

    database: Database
    clock: Clock
    random_share: Callable[[], float]
    """Uniform in [0, 1): jitter."""
    channels: Mapping[str, Subscriber]
    """Those that are configured and want to know something."""
    operator: Operator | None
    unopened: Callable[[], Mapping[str, str]] = dict
    """Which channels cannot be opened now, their secret missing for example, and what helps; by name."""
    alive: Callable[[], None] = lambda: None
    """Called after each telling. May raise DatabaseUnusable, ArtbotError: then nothing more is told."""

    @property
    def recipients(self) -> dict[str, frozenset[str]]:
        """Kinds by recipient."""
        wanted = {name: subscriber.kinds for name, subscriber in self.channels.items()}
        return wanted | ({ALERTS: self.operator.kinds} if self.operator else {})


@dataclass(frozen=True)
class NoticeFared:
    """How one notice fared, for whoever watches."""

    recipient: str
    kind: str
    subject: str
    state: NoticeState
    detail: str
    """What went wrong; empty if nothing did."""
    next_at: datetime | None
    """When it is tried again, if it is."""


# Noting


@dataclass(frozen=True)
class _Fact:
    """Something that happened."""

    kind: NoticeKind
    subject: str
    at: datetime
    data: Mapping[str, Any]
    channel: str | None = None
    """Whose own failure it is: that one is not told."""
    is_cause_told: bool = False
    """An alert about what caused it says it all."""
    is_seen_to: bool = False
    """The operator has no more to do about it."""


def note(notices: Notices) -> int:
    """Write down what happened in the last day and nobody was told of; returns how many notices that makes.

    Only the worker may call this. Killed anywhere, it is simply done again.
    """
    if not notices.recipients:
        return 0
    now = notices.clock()
    with notices.database.read() as session:  # mostly nothing is new, and looking takes no lock
        if not _unnoted(session, notices, now):
            return 0
    with notices.database.write() as session:
        unnoted = _unnoted(session, notices, now)
        session.add_all(unnoted)
    failpoint("notice.noted")
    return len(unnoted)


def _unnoted(session: Session, notices: Notices, now: datetime) -> list[Notice]:
    workplace_id = session.get_one(WorkplaceRow, 1).workplace_id
    recipients = notices.recipients
    found: dict[str, Notice] = {}
    for fact in _happened(session, notices, now):
        for recipient, kinds in recipients.items():
            if not _concerns(fact, recipient, kinds):
                continue
            key = notice_key(workplace_id, recipient, fact.kind, fact.subject)
            found[key] = Notice(
                key=key,
                recipient=recipient,
                kind=fact.kind,
                subject=fact.subject,
                data={"timestamp": utc_text(fact.at), "data": dict(fact.data)},
                state=NOTICE.begin(NoticeState.WAITING),
                created_at=now,
                next_at=now,
                num_attempts=0,
            )
    if found:
        noted = select(Notice.key).where(Notice.key.in_(list(found)))
        for key in session.scalars(noted).all():
            del found[key]
    return list(found.values())


def _concerns(fact: _Fact, recipient: str, kinds: frozenset[str]) -> bool:
    if fact.kind not in kinds or fact.channel == recipient:
        return False
    is_told_anyway = fact.is_cause_told and NoticeKind.CHANNEL_STOPPED in kinds
    return not (recipient == ALERTS and (is_told_anyway or fact.is_seen_to))


def _happened(session: Session, notices: Notices, now: datetime) -> Iterator[_Fact]:
    wanted = frozenset[str]().union(*notices.recipients.values())
    since = now - RECENT
    if NoticeKind.BATCH_READY in wanted:
        yield from _batches_ready(session, since)
    if NoticeKind.DELIVERY_FAILED in wanted:
        yield from _deliveries_failed(session, since)
    if NoticeKind.CHANNEL_STOPPED in wanted:
        yield from _channels_stopped(session, since)
        yield from _channels_unopened(session, notices.unopened, now)
    if NoticeKind.NOTHING_APPROVED in wanted and notices.operator is not None:
        yield from _nothing_approved(session, notices.operator.nothing_approved_days, now)


def _batches_ready(session: Session, since: datetime) -> Iterator[_Fact]:
    from artbot.publishing.event import BatchFacts, BatchReadyData, GeneratorFacts

    batches = session.scalars(
        select(Batch)
        .where(Batch.finished_at >= since, Batch.state.in_(_PAINTED))
        .options(joinedload(Batch.checkpoint))
        .order_by(Batch.finished_at)
    ).all()
    if not batches:
        return
    waiting = _num_waiting(session)
    for batch in batches:
        waits_here = session.scalar(_waits().where(Candidate.batch_id == batch.id))
        assert batch.finished_at is not None
        assert batch.checkpoint is not None
        failed = session.scalar(
            select(func.count()).where(
                Candidate.batch_id == batch.id,
                Candidate.state == CandidateState.FAILED,
                Candidate.parent_id.is_(None),
            )
        )
        painter = batch.checkpoint
        facts = BatchReadyData(
            batch=BatchFacts(
                id=batch.key,
                schedule=batch.schedule,
                date=batch.local_date.isoformat(),
                state="ready" if batch.state == BatchState.READY else "partial",
                painted=batch.num_candidates - (failed or 0),
                failed=failed or 0,
                generator=GeneratorFacts(
                    name=painter.name,
                    sha256=painter.sha256,
                    dataset=painter.manifest["dataset"]["name"],
                ),
            ),
            waiting=waiting,
        )
        yield _Fact(
            NoticeKind.BATCH_READY,
            batch.key,
            batch.finished_at,
            facts.model_dump(),
            is_seen_to=not waits_here,
        )


def _deliveries_failed(session: Session, since: datetime) -> Iterator[_Fact]:
    """Those that an attempt has left to a person. Of a work in quarantine nothing was tried."""
    from artbot.publishing.event import ArtworkName, DeliveryFacts, DeliveryFailedData

    last = (
        select(func.max(Attempt.id))
        .where(Attempt.delivery_id == Delivery.id)
        .correlate(Delivery)
        .scalar_subquery()
    )
    found = session.execute(
        select(Delivery, Attempt)
        .join(Attempt, Attempt.id == last)
        .join(Delivery.candidate)
        .where(
            Delivery.state.in_(NEEDS_A_PERSON),
            Candidate.state != CandidateState.QUARANTINED,
            Attempt.finished_at >= since,
        )
        .options(joinedload(Delivery.candidate))
        .order_by(Attempt.id)
    ).all()
    if not found:
        return
    stopped = set(
        session.scalars(
            select(ChannelStatus.name).where(ChannelStatus.state != ChannelState.ACTIVE)
        )
    )
    for delivery, attempt in found:
        assert attempt.finished_at is not None
        reason = delivery.last_error or attempt.detail or ""
        facts = DeliveryFailedData(
            artwork=ArtworkName(id=delivery.candidate.name, title=delivery.candidate.title or ""),
            delivery=DeliveryFacts.model_validate(
                {
                    "number": delivery.id,
                    "channel": delivery.channel,
                    "state": delivery.state,
                    "reason": redact(reason),
                }
            ),
        )
        yield _Fact(
            NoticeKind.DELIVERY_FAILED,
            # By when it began: a restored database may give another attempt the number of one it forgot.
            f"{delivery.delivery_key} {utc_text(attempt.started_at)}",
            attempt.finished_at,
            facts.model_dump(),
            channel=delivery.channel,
            is_cause_told=delivery.state == DeliveryState.HELD and delivery.channel in stopped,
        )


def _channels_stopped(session: Session, since: datetime) -> Iterator[_Fact]:
    """By artbot, not by a person, who knows."""
    stopped = session.scalars(
        select(ChannelStatus).where(
            ChannelStatus.state != ChannelState.ACTIVE, ChannelStatus.changed_at >= since
        )
    ).all()
    for channel in stopped:
        by = session.scalar(
            select(Intervention.by)
            .where(Intervention.act == "pause", Intervention.channel == channel.name)
            .where(Intervention.delivery_id.is_(None))
            .order_by(Intervention.id.desc())
            .limit(1)
        )
        if by == "artbot":
            facts = {
                "channel": channel.name,
                "state": channel.state,
                "reason": redact(channel.reason or ""),
            }
            subject = f"{channel.name} {utc_text(channel.changed_at)}"
            yield _Fact(NoticeKind.CHANNEL_STOPPED, subject, channel.changed_at, facts)


def _channels_unopened(
    session: Session, unopened: Callable[[], Mapping[str, str]], now: datetime
) -> Iterator[_Fact]:
    """For which works wait, once for each reason while the same work waits longest."""
    first = func.min(Delivery.created_at)
    waiting = session.execute(
        select(Delivery.channel, first)
        .where(
            Delivery.state.in_(WAITING),
            Delivery.on_hold.is_(False),
            Delivery.candidate.has(Candidate.state == CandidateState.APPROVED),
            ~is_stopped(),
        )
        .group_by(Delivery.channel)
    ).all()
    closed = unopened() if waiting else {}
    for name, since in waiting:
        if (reason := closed.get(name)) is not None:
            facts = {"channel": name, "state": UNOPENED, "reason": redact(reason)}
            subject = f"{name} {utc_text(since)} {redact(reason)}"
            yield _Fact(NoticeKind.CHANNEL_STOPPED, subject, now, facts)


def _nothing_approved(session: Session, days: int, now: datetime) -> Iterator[_Fact]:
    """The days count from the first batch after the last approval: before it there was nothing to choose from
    that had not been looked at. What is left over from then needs nobody."""
    waiting = _num_waiting(session)
    if not (days and waiting):
        return
    last = session.scalar(
        select(Decision.at)
        .where(Decision.now == CandidateState.APPROVED, Decision.was != Decision.now)  # no stars
        .order_by(Decision.id.desc())
        .limit(1)
    )
    first = select(func.min(Batch.finished_at)).where(Batch.state.in_(_PAINTED))
    since = session.scalar(first if last is None else first.where(Batch.finished_at > last))
    if since is None or now - since < timedelta(days=days):
        return
    times = (now - since) // timedelta(days=days)
    facts = {
        "waiting": waiting,
        "days": (now - (last or since)).days,
        "ever": last is not None,
    }
    subject = f"{utc_text(since)} {times * days}"
    yield _Fact(NoticeKind.NOTHING_APPROVED, subject, now, facts)


def _num_waiting(session: Session) -> int:
    return session.scalar(_waits()) or 0


def _waits() -> Select[int]:
    return select(func.count()).where(Candidate.state.in_(UNDECIDED))


# Telling


def tell_due(
    notices: Notices, on_told: Callable[[NoticeFared], None], should_stop: Callable[[], bool]
) -> int:
    """Tell what is due, the longest due first; returns how many notices were tried, or given up.

    What the operator is to know is told together, in one message. After a failure everything else for that
    recipient waits as long. Channels that are stopped, or rest, are told nothing. Only the worker may call this.
    Raises db.engine.DatabaseUnusable, Fenced.
    """
    fared = _give_up_old(notices)
    for one in fared:
        on_told(one)
    tried = len(fared)
    # Who is due again by the time all the others were told waits for the next round.
    now = notices.clock()
    while not should_stop():
        due = _next_due(notices, now)
        if not due:
            break
        for one in _tell(notices, due):
            on_told(one)
        tried += len(due)
        notices.alive()
    return tried


def _give_up_old(notices: Notices) -> list[NoticeFared]:
    """Whatever kept them: a recipient that is stopped, or gone from artbot.toml, or nobody being at work."""
    before = notices.clock() - LASTS
    old = select(Notice).where(Notice.state == NoticeState.WAITING, Notice.created_at < before)
    with notices.database.read() as session:
        if session.scalar(old.limit(1)) is None:
            return []
    with notices.database.write() as session:
        found = session.scalars(old.order_by(Notice.id)).all()
        for notice in found:
            NOTICE.move(notice, NoticeState.GIVEN_UP)
            notice.last_error = notice.last_error or _TOO_LATE
        return [_fared(notice, notice.last_error or "") for notice in found]


def _next_due(notices: Notices, now: datetime) -> list[Notice]:
    """One notice for a channel, or all that the operator is to be told."""
    due = _due(list(notices.recipients), now)
    with notices.database.read() as session:
        first = session.scalar(due.limit(1))
        if first is None or first.recipient != ALERTS:
            return [] if first is None else [first]
        return list(session.scalars(due.where(Notice.recipient == ALERTS)))


def _due(recipients: Sequence[str], now: datetime) -> Select[Notice]:
    return (
        select(Notice)
        .where(
            Notice.state == NoticeState.WAITING,
            # Dated by a clock that was ahead, it would wait until then.
            or_(Notice.next_at <= now, Notice.created_at > now + CLOCK_TOLERANCE),
            Notice.recipient.in_(recipients),
            ~_is_closed(now),
        )
        .order_by(Notice.next_at, Notice.id)
    )


def _is_closed(now: datetime) -> ColumnElement[bool]:
    return exists().where(
        ChannelStatus.name == Notice.recipient,
        or_(ChannelStatus.state != ChannelState.ACTIVE, ChannelStatus.rests_until > now),
    )


def _tell(notices: Notices, due: Sequence[Notice]) -> list[NoticeFared]:
    failure: DeliveryError | None = None
    complaint = ""
    try:
        if due[0].recipient == ALERTS:
            complaint = _tell_operator(notices, due)
        else:
            _tell_channel(notices, due[0])
    except DatabaseUnusable:
        raise
    except DeliveryError as error:
        failure = error
    except ConfigError as error:
        failure = Unavailable(str(error))
    except Exception as error:  # a fault of ours in one recipient must not hold up the others
        failure = Unavailable(f"unexpected {type(error).__name__}: {error}")
    failpoint("notice.told")
    return _record(notices, due, failure, complaint)


def _tell_operator(notices: Notices, due: Sequence[Notice]) -> str:
    """What is wrong with those addresses that did not take it, or not all of it; somebody did. Raises Unavailable if
    nobody did."""
    operator = notices.operator
    assert operator is not None
    told = [Told(notice.kind, notice.data["data"]) for notice in due]
    fared = operator.send(message_of(told, operator.link_to, operator.sheet_of))
    complaint = "; ".join(one.described for one in fared if one.detail)
    if not any(one.ok for one in fared):
        raise Unavailable(complaint)
    return complaint


def _tell_channel(notices: Notices, notice: Notice) -> None:
    from artbot.publishing.event import BatchReady, DeliveryFailed

    events: dict[str, type[BaseModel]] = {
        NoticeKind.BATCH_READY: BatchReady,
        NoticeKind.DELIVERY_FAILED: DeliveryFailed,
    }
    event = events[notice.kind].model_validate({"type": notice.kind, **notice.data})
    sender = notices.channels[notice.recipient].open()
    assert isinstance(sender, Tells)
    sender.tell(notice.key, event, notices.clock())


def _record(
    notices: Notices, due: Sequence[Notice], failure: DeliveryError | None, complaint: str
) -> list[NoticeFared]:
    now = notices.clock()
    with notices.database.write() as session:
        told = [session.get_one(Notice, notice.id) for notice in due]
        for notice in told:
            notice.num_attempts += 1
            if failure is None:
                notice.sent_at, notice.last_error = now, redact(complaint) or None
                NOTICE.move(notice, NoticeState.SENT)
            else:
                notice.last_error = redact(str(failure))
                _plan_next(notices, notice, failure, now)
        if failure is not None:
            _put_off_others(session, told, now)
        return [_fared(notice, notice.last_error or "") for notice in told]


def _plan_next(notices: Notices, notice: Notice, failure: DeliveryError, now: datetime) -> None:
    """Refused for good: given up. Who refuses our credentials may know them again soon; the next work asks a
    person about that."""
    next_at = None
    if not isinstance(failure, Rejected) or failure.status in REFUSES_US:
        notice.created_at = min(notice.created_at, now)
        next_at = next_try(
            notice.created_at,
            now,
            notice.num_attempts,
            notices.random_share(),
            failure.retry_after_s,
        )
    if next_at is None:
        NOTICE.move(notice, NoticeState.GIVEN_UP)
    else:
        notice.next_at = next_at


def _put_off_others(session: Session, told: Sequence[Notice], now: datetime) -> None:
    """A recipient that could not be told is not asked again for each notice that it has not heard."""
    again = [notice.next_at for notice in told if notice.state == NoticeState.WAITING]
    if not again:
        return
    others = session.scalars(
        select(Notice).where(
            Notice.state == NoticeState.WAITING,
            Notice.recipient == told[0].recipient,
            Notice.next_at < max(again),
        )
    )
    for other in others:
        other.next_at = max(again)


def _fared(notice: Notice, detail: str) -> NoticeFared:
    is_waiting = notice.state == NoticeState.WAITING
    return NoticeFared(
        recipient=notice.recipient,
        kind=notice.kind,
        subject=notice.subject,
        state=NoticeState(notice.state),
        detail=detail,
        next_at=notice.next_at if is_waiting else None,
    )


def list_notices(database: Database, limit: int) -> list[Notice]:
    """The newest first."""
    with database.read() as session:
        return list(session.scalars(select(Notice).order_by(Notice.id.desc()).limit(limit)))

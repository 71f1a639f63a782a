"""How a channel stands: open, resting after failures, paused, disabled. Decides what may be sent at all."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, exists, or_
from sqlalchemy.orm import Session

from artbot.domain.channel import (
    CHANNEL,
    FAILING_TOO_LONG,
    FAILURES_BEFORE_REST,
    ChannelState,
    rest_after,
)
from artbot.domain.delivery import MAX_RETRY_AFTER_S
from artbot.errors import DeliveryError, Rejected
from artbot.publishing.acts import Actor, log_of_channel
from artbot.redaction import redact
from db.models import ChannelStatus, Delivery

REFUSES_US = (401, 403)
"""The receiver does not accept who we are: every other work would be refused as well."""
GONE = 410


def is_closed(now: datetime) -> ColumnElement[bool]:
    """SQL: nothing may be sent to the channel of this delivery now."""
    return exists().where(
        ChannelStatus.name == Delivery.channel,
        or_(ChannelStatus.state != ChannelState.ACTIVE, ChannelStatus.rests_until > now),
    )


def is_stopped() -> ColumnElement[bool]:
    """SQL: the channel of this delivery waits for a person."""
    return exists().where(
        ChannelStatus.name == Delivery.channel, ChannelStatus.state != ChannelState.ACTIVE
    )


def note_success(session: Session, name: str, now: datetime) -> None:
    status = get_standing(session, name, now)
    status.num_failures, status.failing_since, status.rests_until = 0, None, None


def note_failure(session: Session, name: str, failure: DeliveryError, now: datetime) -> None:
    """Pause, disable or rest the channel as its answer asks for. What stops it, and a rest that begins, is
    logged as artbot's act; a rest that goes on is not."""
    status = get_standing(session, name, now)
    was, was_resting = status.state, status.rests_until is not None
    if failure.status in REFUSES_US:
        stop(status, ChannelState.PAUSED, f"it refuses our credentials: {failure}", now)
    elif failure.status == GONE:
        stop(status, ChannelState.DISABLED, f"it says that it is gone for good: {failure}", now)
    elif isinstance(failure, Rejected):  # one work was refused; the channel itself is well
        note_success(session, name, now)
    else:
        status.num_failures += 1
        status.failing_since = status.failing_since or now
        rest = max(
            rest_after(status.num_failures) or timedelta(),
            timedelta(seconds=min(failure.retry_after_s or 0.0, MAX_RETRY_AFTER_S)),
        )
        status.rests_until = now + rest if rest else None
        # Two failures a week apart, with nothing to send in between, are no week of failures.
        has_failed_often = status.num_failures >= FAILURES_BEFORE_REST
        if has_failed_often and now - status.failing_since >= FAILING_TOO_LONG:
            days = (now - status.failing_since).days
            stop(
                status, ChannelState.PAUSED, f"nothing got through for {days} days: {failure}", now
            )
    if status.state != was:
        actor = Actor("artbot", "publishing", status.reason)
        log_of_channel(session, "pause", actor, now, name, was, status.state)
    elif status.rests_until is not None and not was_resting:
        actor = Actor("artbot", "publishing", redact(_why_it_rests(status, failure)))
        log_of_channel(session, "rest", actor, now, name, was, status.state)


def _why_it_rests(status: ChannelStatus, failure: DeliveryError) -> str:
    if status.num_failures < FAILURES_BEFORE_REST:
        return f"it asks for time: {failure}"
    return f"{status.num_failures} failures in a row: {failure}"


def stop(status: ChannelStatus, state: ChannelState, reason: str, now: datetime) -> None:
    """Send nothing through it until a person resumes it."""
    if status.state == state:
        return
    if not CHANNEL.allows(status.state, state):  # disabled already: that says more
        return
    CHANNEL.move(status, state)
    status.reason, status.changed_at = redact(reason), now


def get_standing(session: Session, name: str, now: datetime) -> ChannelStatus:
    """The channel's row, made if it has none yet. In a write session."""
    status = session.get(ChannelStatus, name)
    if status is None:
        status = ChannelStatus(
            name=name, state=CHANNEL.begin(ChannelState.ACTIVE), changed_at=now, num_failures=0
        )
        session.add(status)
        session.flush()
    return status

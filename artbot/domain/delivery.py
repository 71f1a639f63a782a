"""The life of a delivery, how an attempt can end, and when to try again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

from artbot.domain.calendar import CLOCK_TOLERANCE
from artbot.domain.machine import Machine, Move


class DeliveryState(StrEnum):
    QUEUED = "queued"  # approved; waits for its time
    SENDING = "sending"  # an attempt is written down and may be on the wire
    RETRY_WAIT = "retry_wait"  # the last attempt failed; `next_at` says when the next one is
    DELIVERED = "delivered"
    UNCERTAIN = "uncertain"  # it may have been posted: a person must look
    HELD = "held"  # waits for its channel or its picture to be put right
    FAILED = "failed"  # refused as it is: a person must act
    DEAD = "dead"  # every attempt is spent: a person must act
    CANCELLED = "cancelled"  # taken back before anything was sent


_D = DeliveryState

DELIVERY = Machine(
    "delivery",
    (
        Move(None, _D.QUEUED, "its work is approved"),
        Move(None, _D.UNCERTAIN, "approved after a restore: it may have been posted before"),
        Move(_D.QUEUED, _D.SENDING, "claimed: the attempt is committed before the socket opens"),
        Move(_D.RETRY_WAIT, _D.SENDING, "claimed again"),
        Move(_D.SENDING, _D.DELIVERED, "the receiver says so"),
        Move(
            _D.SENDING, _D.RETRY_WAIT, "unavailable; or unknown, where a repetition is recognised"
        ),
        Move(_D.SENDING, _D.UNCERTAIN, "unknown, where a repetition would be a second post"),
        Move(_D.SENDING, _D.HELD, "401, 403: the channel is paused with it"),
        Move(_D.SENDING, _D.FAILED, "rejected for good"),
        Move(_D.SENDING, _D.DEAD, "every attempt is spent"),
        Move(_D.UNCERTAIN, _D.DELIVERED, "a person says: it was posted"),
        Move(_D.UNCERTAIN, _D.QUEUED, "a person says: it was not"),
        Move(
            _D.QUEUED, _D.UNCERTAIN, "an old database was restored: it may have been posted since"
        ),
        Move(_D.RETRY_WAIT, _D.UNCERTAIN, "likewise; or a repetition is recognised no longer"),
        Move(_D.HELD, _D.UNCERTAIN, "likewise"),
        Move(_D.FAILED, _D.UNCERTAIN, "likewise"),
        Move(_D.DEAD, _D.UNCERTAIN, "likewise"),
        Move(_D.CANCELLED, _D.UNCERTAIN, "likewise, once it is approved again"),
        Move(_D.QUEUED, _D.HELD, "its work is quarantined"),
        Move(_D.RETRY_WAIT, _D.HELD, "its work is quarantined"),
        Move(_D.HELD, _D.QUEUED, "the channel is resumed, the picture restored, or a person asks"),
        Move(_D.FAILED, _D.QUEUED, "a person asks"),
        Move(_D.DEAD, _D.QUEUED, "a person asks"),
        Move(_D.DELIVERED, _D.QUEUED, "replayed under its old key, where that is recognised"),
        Move(_D.CANCELLED, _D.QUEUED, "approved again"),
        Move(_D.QUEUED, _D.CANCELLED, "undone or withdrawn"),
        Move(_D.RETRY_WAIT, _D.CANCELLED, "undone or withdrawn"),
        Move(_D.HELD, _D.CANCELLED, "undone or withdrawn"),
        Move(_D.FAILED, _D.CANCELLED, "undone or withdrawn"),
        Move(_D.DEAD, _D.CANCELLED, "undone or withdrawn"),
    ),
)

WAITING = (DeliveryState.QUEUED, DeliveryState.RETRY_WAIT)
"""States in which a delivery is sent once its time has come."""
SETTLED = (DeliveryState.DELIVERED, DeliveryState.CANCELLED)
"""States in which nobody has anything left to do."""
NEEDS_A_PERSON = (
    DeliveryState.UNCERTAIN,
    DeliveryState.HELD,
    DeliveryState.FAILED,
    DeliveryState.DEAD,
)
RETRIABLE = (DeliveryState.HELD, DeliveryState.FAILED, DeliveryState.DEAD)
"""What a person can queue anew. Not the uncertain ones: they are resolved."""


class Outcome(StrEnum):
    """How one attempt ended."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


NOT_TAKEN = (Outcome.REJECTED, Outcome.UNAVAILABLE)
"""Outcomes after which the receiver certainly does not have the work."""

_MINUTE, _HOUR = 60, 3600
RETRY_AFTER_S = (
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
    *(10 * (24 * _HOUR,)),
)
"""Waits after the 1st, 2nd, … failed attempt: ten attempts over 75 h 35 min, then daily, two weeks in all.
Source: Standard Webhooks 1.0, "Deliverability and reliability", whose schedule is the first ten."""
MAX_ATTEMPTS = len(RETRY_AFTER_S) + 1
JITTER = 0.2
"""A wait is lengthened by up to this share, so that an outage does not end in a stampede."""
MAX_RETRY_AFTER_S = 24 * _HOUR
"""A receiver's Retry-After is obeyed up to this."""
LATE_EFFECT = timedelta(minutes=15)
"""A request that timed out may still take effect: for so long nobody can know that it did not."""
SEND_WITHIN = timedelta(seconds=30)
"""From the claim to the socket. A process that was stopped longer in between sends nothing."""


def delivery_words(state: str) -> str:
    """A delivery's state as a person would say it; JSON keeps the state's own name."""
    return {"queued": "waiting", "retry_wait": "not yet", "sending": "on the wire"}.get(
        state, state
    )


def counted(num_deliveries: int) -> str:
    """`1 delivery`, `3 deliveries`."""
    return f"{num_deliveries} {'delivery' if num_deliveries == 1 else 'deliveries'}"


def wait_after(num_attempts: int, random_share: float, retry_after_s: float | None) -> float | None:
    """Seconds until the next attempt, None when all are spent.

    `num_attempts` have failed so far (1 or more); `random_share` is uniform in [0, 1);
    `retry_after_s` is what the receiver asked for, if anything.
    """
    if num_attempts >= MAX_ATTEMPTS:
        return None
    backoff = RETRY_AFTER_S[num_attempts - 1] * (1 + JITTER * random_share)
    return max(backoff, min(retry_after_s or 0.0, MAX_RETRY_AFTER_S))


def wait_after_interruption(num_attempts: int) -> float | None:
    """Seconds until a delivery whose sender died is tried again, None when all attempts are spent.

    At once after the first time: the receiver may be waiting. Then one step of the schedule sooner
    than after a failure, so that a work that ends every process that sends it is given up some day.
    """
    if num_attempts <= 1:
        return 0.0
    return None if num_attempts >= MAX_ATTEMPTS else float(RETRY_AFTER_S[num_attempts - 2])


class Attempted(Protocol):
    """What is known of an attempt."""

    @property
    def outcome(self) -> str | None: ...
    @property
    def started_at(self) -> datetime: ...


_A = TypeVar("_A", bound=Attempted)


def may_have_landed(attempts: Iterable[_A], found_absent_at: Iterable[datetime]) -> list[_A]:
    """The attempts of which nobody knows that they had no effect, in their order.

    `found_absent_at`: when a person looked and said that nothing was posted. That was believed only
    LATE_EFFECT after the attempt; what began later is a new one, even if the clock was set back since.
    """
    since = max(found_absent_at, default=None)
    return [
        attempt
        for attempt in attempts
        if attempt.outcome not in NOT_TAKEN
        and (since is None or attempt.started_at > since - LATE_EFFECT)
    ]


@dataclass(frozen=True)
class Protection:
    """What keeps a work from being shown twice when nobody knows how an attempt ended."""

    recognises_for: timedelta | None = None
    """How long after the first attempt the receiver recognises a repetition by the delivery's key; None:
    never, timedelta.max: always. Promise less than the receiver keeps, by LATE_EFFECT and CLOCK_TOLERANCE:
    the last repetition may take effect so late, by a clock that is so wrong."""
    looks: bool = False
    """Whether the channel can ask its receiver if the work is there already, by what it had written down of
    the attempt (`reconcile`). A restored database has forgotten that."""

    @property
    def is_for_ever(self) -> bool:
        """The same work is recognised whenever it comes, whatever artbot has forgotten."""
        return self.recognises_for == timedelta.max

    def recognises(self, since_first_attempt: timedelta) -> bool:
        """Whether the receiver would still recognise a repetition. An attempt that lies in the future was
        dated by a wrong clock, and may be long ago."""
        if self.recognises_for is None or self.is_for_ever:
            return self.is_for_ever
        return -CLOCK_TOLERANCE <= since_first_attempt < self.recognises_for


NO_PROTECTION = Protection()
FOR_EVER = Protection(timedelta.max)


def delivery_key(workplace_id: str, work: str, image_sha256: str, channel: str) -> str:
    """What a receiver knows a delivery by, always: the same work to the same channel has the same key,
    even if it is approved again after an old database was restored."""
    identity = "\n".join((workplace_id, work, image_sha256, channel))
    return f"msg_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"

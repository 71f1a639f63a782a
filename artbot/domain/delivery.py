"""The life of a delivery, and when to try again.

queued -> sending -> delivered | retry_wait | failed;  retry_wait -> sending
queued, retry_wait, failed -> cancelled (undo, while no receiver can have it)
cancelled -> queued (approved again);  failed -> queued (a person asks)
queued, retry_wait -> failed (the picture is gone: nothing could be sent)
"""

from __future__ import annotations

from enum import StrEnum


class DeliveryState(StrEnum):
    QUEUED = "queued"  # approved; waits for its time
    SENDING = "sending"  # an attempt is written down and may be on the wire
    RETRY_WAIT = "retry_wait"  # the last attempt failed; `next_at` says when the next one is
    DELIVERED = "delivered"
    FAILED = "failed"  # refused, or every attempt is spent: a person must act
    CANCELLED = "cancelled"  # the approval was taken back before anything was sent


DELIVERY_MOVES: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.QUEUED: frozenset(
        {DeliveryState.SENDING, DeliveryState.CANCELLED, DeliveryState.FAILED}
    ),
    DeliveryState.SENDING: frozenset(
        {DeliveryState.DELIVERED, DeliveryState.RETRY_WAIT, DeliveryState.FAILED}
    ),
    DeliveryState.RETRY_WAIT: frozenset(
        {DeliveryState.SENDING, DeliveryState.CANCELLED, DeliveryState.FAILED}
    ),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.FAILED: frozenset({DeliveryState.QUEUED, DeliveryState.CANCELLED}),
    DeliveryState.CANCELLED: frozenset({DeliveryState.QUEUED}),
}

WAITING = (DeliveryState.QUEUED, DeliveryState.RETRY_WAIT)
"""States in which a delivery is sent once its time has come."""


class Outcome(StrEnum):
    """How one attempt ended."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


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
)
"""Waits after the 1st, 2nd, … failed attempt: ten attempts over 75 h 35 min.
Source: Standard Webhooks 1.0, "Deliverability and reliability"."""
MAX_ATTEMPTS = len(RETRY_AFTER_S) + 1
JITTER = 0.2
"""A wait is lengthened by up to this share, so that an outage does not end in a stampede."""
MAX_RETRY_AFTER_S = 24 * _HOUR
"""A receiver's Retry-After is obeyed up to this."""


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

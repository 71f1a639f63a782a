"""The life of a channel: open to send through, paused until a person acts, or resting after failures.

The breaker is no state but a time, `rests_until`: after several failures in a row nothing is sent
through the channel until then, then one delivery tries, and its outcome decides for all the others. That
it begins is told in the log, once for as long as nothing gets through.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from artbot.domain.machine import Machine, Move


class ChannelState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # credentials refused, failing for too long, or a person said so
    DISABLED = "disabled"  # the receiver says it is gone for good (410)


_S = ChannelState

CHANNEL = Machine(
    "channel",
    (
        Move(None, _S.ACTIVE, "something is sent through it for the first time"),
        Move(_S.ACTIVE, _S.PAUSED, "401, 403; failing for a week; or a person pauses it"),
        Move(_S.ACTIVE, _S.DISABLED, "410: the receiver is gone"),
        Move(_S.PAUSED, _S.ACTIVE, "a person resumes it; what it held is queued"),
        Move(_S.DISABLED, _S.ACTIVE, "a person resumes it; what it held is queued"),
    ),
)

FAILURES_BEFORE_REST = 5
"""Failures in a row, of whatever deliveries, after which the channel rests."""
FIRST_REST = timedelta(minutes=1)
LONGEST_REST = timedelta(hours=1)
FAILING_TOO_LONG = timedelta(days=7)
"""Nothing got through for so long: paused, and a person told."""


def rest_after(num_failures: int) -> timedelta | None:
    """How long a channel rests after so many failures in a row; None: not at all."""
    if num_failures < FAILURES_BEFORE_REST:
        return None
    doublings = min(num_failures - FAILURES_BEFORE_REST, 20)
    rest: timedelta = FIRST_REST * 2**doublings
    return min(rest, LONGEST_REST)

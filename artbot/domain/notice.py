"""The life of a notice: a message that something happened, to a channel's receiver or to the operator.

A notice follows from what the database says and is told at least once: who gets it twice knows the repetition by
its key, and a person is not harmed by it. So, unlike a delivery, it needs no attempt that is written down first.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum

from artbot.domain.delivery import wait_after
from artbot.domain.machine import Machine, Move


class NoticeState(StrEnum):
    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"


_S = NoticeState

NOTICE = Machine(
    "notice",
    (
        Move(None, _S.WAITING, "something happened that its recipient wants to know"),
        Move(_S.WAITING, _S.SENT, "the recipient has it"),
        Move(_S.WAITING, _S.GIVEN_UP, "refused for good; or it is news no longer"),
    ),
)


class NoticeKind(StrEnum):
    """What can be told. The values stand in artbot.toml, and are the events' `type`."""

    BATCH_READY = "batch.ready"
    DELIVERY_FAILED = "delivery.failed"
    CHANNEL_STOPPED = "channel.stopped"
    NOTHING_APPROVED = "nothing.approved"


ALERTS = "[alerts]"
"""The operator, as a recipient. No channel can have this name."""
UNOPENED = "unopened"
"""In a notice, the state of a channel that waits for its secret: besides those of artbot.domain.channel, which the
database knows."""
RECENT = timedelta(days=1)
"""What happened longer ago is not noted any more: whoever asks for notices today is not told of last year."""
LASTS = timedelta(days=3)
"""A notice that could not be told for so long is given up, whatever kept it. What it told of still stands in
`artbot status`."""


def notice_key(workplace_id: str, recipient: str, kind: str, subject: str) -> str:
    """What a receiver knows a notice by: the same whenever the same thing is told to the same recipient, also by
    a restored database. No delivery has such a key."""
    identity = "\n".join(("notice", workplace_id, recipient, kind, subject))
    return f"msg_{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


def next_try(
    created_at: datetime,
    now: datetime,
    num_attempts: int,
    random_share: float,
    retry_after_s: float | None,
) -> datetime | None:
    """When to try again, by the schedule of deliveries; None once that would be no news any more.

    `num_attempts` have failed so far (1 or more); `random_share` is uniform in [0, 1).
    """
    wait_s = wait_after(num_attempts, random_share, retry_after_s)
    if wait_s is None or now + timedelta(seconds=wait_s) > created_at + LASTS:
        return None
    return now + timedelta(seconds=wait_s)

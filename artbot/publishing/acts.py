"""The append-only log of what was done to deliveries and channels, by whom and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from db import chain
from db.models import Delivery, Intervention


@dataclass(frozen=True)
class Actor:
    """Who intervenes, through which face, and why if they said so."""

    by: str
    via: str
    reason: str | None = None


def log_of_delivery(
    session: Session, act: str, actor: Actor, at: datetime, delivery: Delivery, was: str
) -> None:
    """Something was done to the delivery, which was in state `was` before."""
    _append(session, act, actor, at, delivery.channel, delivery.id, was, delivery.state)


def log_of_channel(
    session: Session, act: str, actor: Actor, at: datetime, channel: str | None, was: str, now: str
) -> None:
    """Something was done to the channel, or, if it is None, to all of them."""
    _append(session, act, actor, at, channel, None, was, now)


def _append(
    session: Session,
    act: str,
    actor: Actor,
    at: datetime,
    channel: str | None,
    delivery_id: int | None,
    was: str,
    now: str,
) -> None:
    chain.append(
        session,
        Intervention(
            act=act,
            channel=channel,
            delivery_id=delivery_id,
            was=was,
            now=now,
            reason=actor.reason,
            by=actor.by,
            via=actor.via,
            at=at,
        ),
    )

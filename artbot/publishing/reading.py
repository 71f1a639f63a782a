"""Questions about deliveries and channels; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.orm.interfaces import ORMOption

from artbot.domain.delivery import SETTLED, DeliveryState, delivery_words
from artbot.errors import UsageError
from db.engine import Database
from db.models import ChannelStatus, Delivery

LARGEST_ID = 2**31 - 1
"""PostgreSQL takes no larger number for one of its ids, not even to say that it has none such."""


def list_deliveries(
    database: Database, states: Sequence[DeliveryState], limit: int
) -> list[Delivery]:
    """Deliveries in `states`, the newest first, each with its candidate."""
    query = select(Delivery).options(joinedload(Delivery.candidate))
    if set(states) < set(DeliveryState):  # else the newest rows are read, and no others
        query = query.where(Delivery.state.in_(states))
    with database.read() as session:
        return list(session.scalars(query.order_by(Delivery.id.desc()).limit(limit)))


def unsettled_of(database: Database, channel: str) -> list[Delivery]:
    """Deliveries to the channel that are not done, the oldest first, each with its candidate."""
    states = [state for state in DeliveryState if state not in SETTLED]
    query = (
        select(Delivery)
        .where(Delivery.state.in_(states), Delivery.channel == channel)
        .options(joinedload(Delivery.candidate))
        .order_by(Delivery.id)
    )
    with database.read() as session:
        return list(session.scalars(query))


def get_delivery(database: Database, delivery_id: int) -> Delivery:
    """One delivery with its candidate, attempts and interventions. Raises UsageError."""
    with database.read() as session:
        return find_delivery(
            session,
            delivery_id,
            selectinload(Delivery.attempts),
            selectinload(Delivery.interventions),
        )


def find_delivery(session: Session, delivery_id: int, *options: ORMOption) -> Delivery:
    """The delivery with its candidate. Raises UsageError if there is none."""
    delivery = None
    if abs(delivery_id) <= LARGEST_ID:
        delivery = session.get(
            Delivery, delivery_id, options=[joinedload(Delivery.candidate), *options]
        )
    if delivery is None:
        raise UsageError(
            f"there is no delivery {delivery_id}. `artbot deliveries list` shows them."
        )
    return delivery


def how_it_is(delivery: Delivery) -> str:
    """`delivery 3 is on the wire`: the beginning of a refusal."""
    words = delivery_words(delivery.state)
    return f"delivery {delivery.id} is {words}" + (" delivered" if words == "not yet" else "")


def count_by_state(database: Database) -> dict[DeliveryState, int]:
    """How many deliveries are in each state."""
    with database.read() as session:
        rows = session.execute(select(Delivery.state, func.count()).group_by(Delivery.state)).all()
    return {DeliveryState(state): count for state, count in rows}


def channel_standings(database: Database) -> dict[str, ChannelStatus]:
    """Every channel that ever sent something, by name."""
    with database.read() as session:
        return {status.name: status for status in session.scalars(select(ChannelStatus))}

"""How times and states are told to a person, the same in every face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from artbot.domain.candidate import decision_words, undos
from artbot.domain.delivery import WAITING, delivery_words

if TYPE_CHECKING:
    from artbot.workplace import Workplace
    from db.models import Decision, Delivery


def local_time(moment: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """`14:32` today, `tomorrow 07:00`, else `Mon 23 Nov 07:00`; in that zone, None: the machine's."""
    local, today = moment.astimezone(zone), now.astimezone(zone).date()
    if local.date() == today:
        return f"{local:%H:%M}"
    if local.date() == today + timedelta(days=1):
        return f"tomorrow {local:%H:%M}"
    if local.date() == today - timedelta(days=1):
        return f"yesterday {local:%H:%M}"
    return f"{local:%a %-d %b %H:%M}" if local.year == now.year else f"{local:%-d %b %Y %H:%M}"


def zone_named(name: str | None) -> tzinfo | None:
    """None: this machine's."""
    return ZoneInfo(name) if name is not None else None


def zone_words(moment: datetime, zone: tzinfo | None) -> str:
    """` (Europe/Berlin)` where this machine's clock shows another time than that zone's; otherwise nothing."""
    is_elsewhere = moment.astimezone(zone).utcoffset() != moment.astimezone().utcoffset()
    return f" ({zone})" if is_elsewhere else ""


def due_words(moment: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """When a waiting delivery that nothing keeps is tried: `now`, or the time by the clock of its slots."""
    return "now" if moment <= now else local_time(moment, now, zone) + zone_words(moment, zone)


def at_words(moment: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """The same within a sentence: `now`, `at 14:32`, `tomorrow 07:00`, `on Mon 23 Nov 07:00`."""
    if moment <= now:
        return "now"
    told = local_time(moment, now, zone)
    if told.startswith("tomorrow"):
        return told
    return f"on {told}" if " " in told else f"at {told}"


def goes_out_words(delivery: Delivery, now: datetime, zone: tzinfo | None) -> str:
    """`now`, or its time by the clock of its slots, whose zone is named where there are any."""
    return slot_words(delivery.next_at, now, zone)


def slot_words(moment: datetime, now: datetime, zone: tzinfo | None) -> str:
    """The same of a moment."""
    told = at_words(moment, now, zone)
    return told if zone is None or told == "now" else f"{told} ({zone})"


def history_of(decisions: Sequence[Decision], now: datetime) -> list[tuple[str, str]]:
    """When what was decided about a candidate, by whom: `("14:32", "approved, by anna (web)")`."""
    taken_back = undos((d.id, d.undoes) for d in decisions)
    told = []
    for decision in decisions:
        what = decision_words(decision.was, decision.now, decision.stars)
        if decision.undoes:
            what = f"back to {what}" if decision.id in taken_back else f"{what} again"
        told.append((local_time(decision.at, now), f"{what}, by {decision.by} ({decision.via})"))
    return told


def state_words(delivery: Delivery) -> str:
    """A delivery's state as a person would say it."""
    is_kept = delivery.on_hold and delivery.state in WAITING
    return "on hold" if is_kept else delivery_words(delivery.state)


def kept_by(workplace: Workplace) -> Callable[[Delivery], str | None]:
    """A function that says what a waiting delivery waits for besides its time; None: for nothing."""
    from artbot.domain.channel import ChannelState
    from artbot.publishing.reading import channel_standings

    standings, now = channel_standings(workplace.database), workplace.clock()

    def keeper(delivery: Delivery) -> str | None:
        name = delivery.channel
        standing = standings.get(name)
        if delivery.state not in WAITING:
            return None
        if delivery.on_hold:
            return f"on hold (artbot queue release {delivery.id})"
        if name not in workplace.settings.channels:
            return f"artbot.toml has no channel {name}"
        if standing is None:
            return None
        if standing.state != ChannelState.ACTIVE:
            return f"{name} is {standing.state} (artbot channels resume {name})"
        rests_until = standing.rests_until
        if rests_until is not None and rests_until > max(now, delivery.next_at):
            return f"{name} rests until {local_time(rests_until, now)}"
        return None

    return keeper


def zone_of(workplace: Workplace) -> Callable[[Delivery], tzinfo | None]:
    """A function that gives the zone of a delivery's slots; None: it has none, this machine's."""
    from artbot.publishing.channels import timetables

    slots = timetables(workplace.settings)
    return lambda delivery: slots[delivery.channel].zone if delivery.channel in slots else None

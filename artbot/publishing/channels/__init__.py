"""One channel per file, discovered by file name: each exports CHANNEL.

A channel is opened anew for every sending, so that a secret that was mended in its file is the one the next
work is sent with, whoever has been running since when.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from artbot.config import Section, Settings
from artbot.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from artbot.publishing.event import Event


@dataclass(frozen=True)
class Parcel:
    """One delivery, ready to go."""

    delivery_key: str
    """What the receiver recognises a repetition by."""
    event: Event
    body: bytes
    """The event's exact bytes: the same for every attempt."""
    is_too_late: Callable[[], bool] = lambda: False
    """Whether this attempt must not begin any more. To be asked at the last moment before the first byte
    leaves: the process may have been stopped, or the machine asleep, since the attempt was claimed."""


class Sender(Protocol):
    """A channel that can be sent through."""

    def send(self, parcel: Parcel, now: datetime) -> Receipt:
        """One attempt. Raises Rejected, Unavailable or OutcomeUnknown (artbot.errors)."""
        ...


@dataclass(frozen=True)
class Receipt:
    """What a successful attempt brought back, for the log."""

    status: int | None
    detail: str


@dataclass(frozen=True)
class Channel:
    """A kind of channel."""

    name: str
    """The `type` in [channels.NAME]."""
    settings_model: type[Section]
    open: Callable[[Any, Path], Sender]
    """(settings, workplace) -> Sender, for one sending. Raises ConfigError when the secret cannot be had."""
    recognises_for: timedelta | None
    """How long after the first attempt its receiver recognises a repetition by the `delivery_key`: within
    it a delivery whose outcome is unknown is sent again. None: it never does, and a person is asked.
    Promise less than the receiver keeps, by LATE_EFFECT and CLOCK_TOLERANCE: the last repetition may take
    effect so late, by a clock that is so wrong."""


def channel_kinds() -> dict[str, Channel]:
    """Every kind of channel by name."""
    kinds = {}
    for module in pkgutil.iter_modules(__path__):
        channel = importlib.import_module(f"{__name__}.{module.name}").CHANNEL
        assert isinstance(channel, Channel)
        kinds[channel.name] = channel
    return kinds


def settings_models() -> dict[str, type[Section]]:
    """What artbot.config validates [channels.NAME] with."""
    return {name: channel.settings_model for name, channel in channel_kinds().items()}


def recognition(settings: Settings) -> dict[str, timedelta | None]:
    """`recognises_for` of every configured channel."""
    kinds = channel_kinds()
    return {name: kinds[channel.type].recognises_for for name, channel in settings.channels.items()}


@dataclass(frozen=True)
class _OpenedAnew:
    """A configured channel; holds no secret."""

    kind: Channel
    settings: Section
    workplace: Path

    def open(self) -> Sender:
        return self.kind.open(self.settings, self.workplace)

    def send(self, parcel: Parcel, now: datetime) -> Receipt:
        try:
            sender = self.open()
        except ConfigError as error:
            raise Unavailable(f"not sent: {error}") from error
        return sender.send(parcel, now)


def open_channel(settings: Settings, name: str) -> Sender:
    """A sender for that configured channel. Raises ConfigError naming it when its secret is wrong now; when
    it has become so later, the sender raises Unavailable."""
    chosen = settings.channels[name]
    channel = _OpenedAnew(channel_kinds()[chosen.type], chosen, settings.root)
    try:
        channel.open()
    except ConfigError as error:
        raise ConfigError(f"channels.{name}: {error}") from error
    return channel


def open_channels(settings: Settings) -> Mapping[str, Sender]:
    """A sender for every configured channel. Raises ConfigError as open_channel does."""
    return {name: open_channel(settings, name) for name in settings.channels}

"""One channel per file, discovered by file name: each exports CHANNEL.

A channel is opened anew for every attempt, so that a secret that was mended in its file is the one the next
work is sent with. A delivery goes through it in four steps. `compose` makes the post from the work, without the
network and always the same. `prepare` does what shows nothing to anybody, a picture uploaded for example,
and may be done again; what it learns from the receiver is kept in the database at once. `commit` is the
one public act. After an outcome that nobody knows, `reconcile` looks whether the work is there already,
where the receiver can be asked.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artbot.config import ChannelSettings, PictureFrom, PublicPictures, Section, Settings
from artbot.domain.delivery import Protection
from artbot.domain.slots import Timetable
from artbot.errors import ConfigError, NoSecret, Rejected, Unavailable

if TYPE_CHECKING:
    from artbot.publishing.work import Picture, Work


@dataclass(frozen=True)
class Post:
    """What a channel would show of a work, to the byte: what is sent, previewed, and compared."""

    text: str = ""
    alt: str = ""
    picture: Picture | None = None
    """The rendition: the picture as this channel gets it."""
    body: bytes = b""
    """What is sent, where that is all there is (a webhook's event, without the envelope it may get)."""
    also: tuple[tuple[str, str], ...] = ()
    """What is shown in places of its own: `("warning", "Flashing colours")`, `("language", "en")`."""

    @property
    def sha256(self) -> str:
        """Hex digest of all of it; of the body alone where there is one."""
        if self.body:
            return hashlib.sha256(self.body).hexdigest()
        picture = self.picture.sha256 if self.picture else ""
        parts = (self.text, self.alt, picture, *(part for one in self.also for part in one))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@dataclass
class Handles:
    """What the receiver calls things: the id of an uploaded picture, the key of a record to be. They are in
    the database before anything is public, so that who comes after a crash can use or look for them."""

    known: dict[str, str]
    _write: Callable[[Mapping[str, str]], None]

    def get(self, name: str) -> str | None:
        return self.known.get(name)

    def keep(self, **named: str) -> None:
        """Write them down, committed when this returns. Raises db.engine.DatabaseUnusable, Fenced."""
        self._write({**self.known, **named})
        self.known.update(named)


def _forget(_handles: Mapping[str, str]) -> None:
    """For a parcel that belongs to no delivery."""


@dataclass(frozen=True)
class Parcel:
    """One delivery, ready to go."""

    delivery_key: str
    """What the receiver recognises a repetition by."""
    work: Work
    post: Post
    handles: Handles = field(default_factory=lambda: Handles({}, _forget))
    alive: Callable[[], None] = lambda: None
    """To be called between two requests of `prepare` or `reconcile`: says that the worker lives. May raise;
    then nothing more is to be asked."""
    is_too_late: Callable[[], bool] = lambda: False
    """Whether this attempt must not begin any more. To be asked at the last moment before the first byte of
    the public act leaves: the process may have been stopped, or the machine asleep, since it was written
    down."""


@dataclass(frozen=True)
class Receipt:
    """What a successful attempt brought back."""

    status: int | None
    detail: str
    """For the log."""
    url: str | None = None
    """Where the work can be seen."""


class Sender:
    """An opened channel, with its secret, for one attempt. A channel overrides what it needs.

    Whatever a step raises is one of artbot.errors.DeliveryError: Rejected, Unavailable, OutcomeUnknown.
    """

    put_public: Callable[[Picture, datetime, Callable[[], None]], None] | None = None
    """(picture, now, alive): Channel.put_public of the channel named by `picture_from`, if one is."""

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        """Do what shows nothing to anybody and may be done again. An outcome that is unknown here only
        means that it is done again."""

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        """The one public act."""
        raise NotImplementedError

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        """Look whether an earlier attempt of this delivery is public: its receipt, or None if it is not
        there now. Only for a channel whose `protection.looks`."""
        raise NotImplementedError

    def check(self, now: datetime) -> str:
        """Ask what only the right credentials may ask, so that nobody is shown or sent anything; what they are
        for, in words: `the bot @painter may post to @paintings`."""
        return "has nothing to test: whether it works shows with the first work"

    def test(self, now: datetime) -> str:
        """The same, by sending something that is shown to nobody, where that alone proves the credentials."""
        return self.check(now)

    def remarks(self, now: datetime) -> list[str]:
        """What keeps no work from going out and should be put right all the same: an account that is not
        marked as a bot, a token that soon expires. Each names the setting. To be asked after `check`."""
        return []


@dataclass(frozen=True)
class Channel:
    """A kind of channel."""

    name: str
    """The `type` in [channels.NAME]."""
    settings_model: type[Section]
    compose: Callable[[Any, Work], Post]
    """(settings, work) -> what would be sent, without asking anybody and always the same. Raises Rejected
    when this channel can never take it: too many words, a picture that does not fit."""
    open: Callable[[Any, Path], Sender]
    """(settings, workplace) -> Sender, for one attempt. Raises ConfigError when the secret cannot be had."""
    protection: Protection
    """What keeps a work from being posted twice when an answer is lost."""
    put_public: Callable[[Any, Path, Picture, datetime, Callable[[], None]], None] | None = None
    """(settings, workplace, picture, now, alive): put another channel's picture beside those it shows to
    everybody, named by its content and linked by nothing; it may be there already. Only where the settings are
    an artbot.config.PublicPictures. Raises DeliveryError, ConfigError."""
    shows_besides: Callable[[Any, Work], tuple[Picture, ...]] = lambda settings, work: ()
    """(settings, work) -> what it shows of the work besides the post's picture: other sizes. Raises as
    `compose` does."""


@dataclass(frozen=True)
class Outlet:
    """A configured channel: what sending through it needs. Holds no secret."""

    compose: Callable[[Work], Post]
    """Raises Rejected; Unavailable if it cannot be signed now."""
    open: Callable[[], Sender]
    """Raises ConfigError."""
    protection: Protection
    sign: Callable[[Work], Work] = lambda work: work
    """The work with its creator and with what signs its pictures. Raises Unavailable."""
    shows_besides: Callable[[Work], tuple[Picture, ...]] = lambda work: ()
    """Channel.shows_besides."""


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


def outlets(settings: Settings) -> dict[str, Outlet]:
    """Every configured channel by name."""
    kinds = channel_kinds()
    return {
        name: Outlet(
            compose=partial(_compose, settings, kinds, chosen),
            open=partial(_open, settings, kinds, name),
            protection=kinds[chosen.type].protection,
            sign=partial(_sign, settings),
            shows_besides=partial(kinds[chosen.type].shows_besides, chosen),
        )
        for name, chosen in settings.channels.items()
    }


def _compose(settings: Settings, kinds: Mapping[str, Channel], chosen: Any, work: Work) -> Post:
    if isinstance(chosen, PictureFrom) and chosen.picture_from is not None:
        source = settings.channels[chosen.picture_from]
        kind = kinds[source.type]
        assert isinstance(source, PublicPictures)  # artbot.config lets no other through
        try:
            shown = public_picture(kind, source, work)
            work = replace(work, public_picture=shown)
        except Rejected as error:
            raise Rejected(f"{chosen.picture_from} does not show it: {error}") from error
    return kinds[chosen.type].compose(chosen, work)


def public_picture(kind: Channel, settings: PublicPictures, work: Work) -> Picture:
    """The picture as a channel of this kind shows it to everybody, with its address: what other channels pass
    on (`picture_from`). Raises Rejected."""
    from artbot.publishing.gallery.records import facts_of

    picture = kind.compose(settings, work).picture
    assert picture is not None
    return replace(picture, url=f"{settings.url}/{facts_of(picture).file}")


def _sign(settings: Settings, work: Work) -> Work:
    from artbot.publishing.signing import open_signer

    try:
        signer = open_signer(settings)
    except ConfigError as error:  # what is wrong with it is mended in a file
        raise Unavailable(f"not sent: {error}") from error
    return replace(work, creator=settings.provenance.creator, signer=signer)


def _open(settings: Settings, kinds: Mapping[str, Channel], name: str) -> Sender:
    chosen = settings.channels[name]
    try:
        sender = kinds[chosen.type].open(chosen, settings.root)
    except NoSecret as error:
        remedy = chosen.to_have_a_secret(name, settings.root)
        raise NoSecret(f"channels.{name}: {error.what}", remedy) from error
    except ConfigError as error:
        raise ConfigError(f"channels.{name}: {error}") from error
    if isinstance(chosen, PictureFrom) and chosen.picture_from is not None:
        source = settings.channels[chosen.picture_from]
        put_public = kinds[source.type].put_public
        assert put_public is not None  # artbot.config lets no other through
        sender.put_public = partial(put_public, source, settings.root)
    return sender


def protections(settings: Settings) -> dict[str, Protection]:
    """Of every configured channel."""
    return {name: outlet.protection for name, outlet in outlets(settings).items()}


def timetables(settings: Settings) -> dict[str, Timetable]:
    """Of every configured channel that has slots; through the others works go out at once."""
    found = {
        name: chosen.timetable
        for name, chosen in settings.channels.items()
        if isinstance(chosen, ChannelSettings)
    }
    return {name: timetable for name, timetable in found.items() if timetable is not None}


def open_channel(settings: Settings, name: str) -> Sender:
    """That configured channel, opened. Raises ConfigError naming it when its secret is wrong."""
    return outlets(settings)[name].open()


def open_channels(
    settings: Settings, on_wrong: Callable[[ConfigError], None] = lambda error: None
) -> dict[str, Sender]:
    """Every configured channel whose secret can be had, opened; `on_wrong` is told of the others, whose works
    wait. Raises ConfigError if there are only such, or for keys that pictures cannot be signed with."""
    from artbot.publishing.signing import open_signer

    open_signer(settings)
    opened, wrong = {}, []
    for name, outlet in outlets(settings).items():
        try:
            opened[name] = outlet.open()
        except ConfigError as error:
            wrong.append(error)
    if wrong and not opened:
        raise wrong[0]
    for refusal in wrong:
        on_wrong(refusal)
    return opened

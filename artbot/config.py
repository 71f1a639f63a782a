"""artbot.toml and the environment -> Settings. The only reader of either.

Every problem is reported at once, by key, with what to write instead. Secrets are never in the
TOML: it names a file, read whenever the secret is needed, or an environment variable, which a process has as
it was when that process began.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import os
import re
import stat
import string
import tomllib
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from artbot.domain.calendar import EVERY_DAY, Schedule
from artbot.domain.keys import ACTIONS, keymap
from artbot.domain.slots import DAYS, Timetable, parse_slot
from artbot.domain.text import check_hashtag, check_language, check_template
from artbot.errors import ConfigError, NoSecret, NoWorkplace
from artbot.redaction import register_secret

CONFIG_FILE = "artbot.toml"
WORKPLACE_VARIABLE = "ARTBOT_WORKPLACE"
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,39}$"
NAME_RULE = "a name is lower-case letters, digits, - and _, at most 40"
TEXT_SAMPLES: dict[str, object] = {
    "number": 1,
    "date": "",
    "dataset": "",
    "checkpoint": "",
    "seed": 1,
}
"""What a text template in [texts] may name in braces."""


class Section(BaseModel):
    """Base of every table in artbot.toml: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    no_keys: ClassVar[Mapping[str, str]] = {}
    """What people write here that is no key, and what to do instead: where a likeness would mislead."""


def _known_home(path: Path) -> Path:
    """`~` and `~NAME` must name somebody of this machine."""
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r}: no path holds a zero byte; leave it out")
    try:
        path.expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"{str(path)!r}: this machine knows no home of {path.parts[0]}; write the path from / on"
        ) from error
    return path


HomePath = Annotated[Path, AfterValidator(_known_home)]


class Paths(Section):
    """Where things lie, relative to the folder of artbot.toml."""

    datasets: HomePath = Path("datasets")
    checkpoints: HomePath = Path("checkpoints")
    runs: HomePath = Path("runs")
    cache: HomePath = Path("cache")
    works: HomePath = Path("works")
    database: HomePath | str = Path("db/artbot.sqlite3")
    """A SQLite file, or the `postgresql://USER@HOST/NAME` that several machines share."""

    @field_validator("database", mode="before")
    @classmethod
    def _file_or_server(cls, value: object) -> object:
        if not isinstance(value, str | Path):
            raise ValueError(f'{_toml(value)} is no path; write database = "db/artbot.sqlite3"')
        if isinstance(value, Path) or "://" not in value:
            return Path(value)
        parts = urlsplit(value)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError(
                f"{parts.scheme}:// is no database artbot knows; write the path of a SQLite file, or "
                "postgresql://USER@HOST/NAME"
            )
        if parts.password is not None or "password" in parse_qs(parts.query):
            raise ValueError(
                "the URL holds a password; put it into ~/.pgpass or the file that $PGPASSFILE names "
                "(PostgreSQL manual, 'The Password File')"
            )
        if not parts.path.strip("/"):
            raise ValueError(f"{value!r} names no database; write postgresql://USER@HOST/NAME")
        _ = parts.port  # raises ValueError for what is no port
        return value.replace("postgres://", "postgresql://", 1)


def _parse_at(value: object) -> object:
    """TOML has a time type; people write strings. Both are understood, numbers are not: pydantic
    would read `at = 7` as seven seconds past midnight."""
    if not isinstance(value, str | time):
        raise ValueError(f'{value!r} is no time of day; write "07:00"')
    if isinstance(value, str):
        try:
            return time.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f'{value!r} is no time of day; write "07:00"') from error
    return value


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"{value!r} is no time zone; write one like Europe/Berlin") from error
    return value


Zone = Annotated[str, AfterValidator(_known_zone)]


class ScheduleSettings(Section):
    """When a batch is made and how."""

    at: Annotated[time, BeforeValidator(_parse_at)] = Field(examples=["07:00"])
    timezone: Zone = "UTC"
    weekdays: tuple[Weekday, ...] = WEEKDAYS
    candidates: int = Field(default=24, ge=1, le=1000)
    checkpoint: str = "latest"
    """`latest`, or the name of one checkpoint."""
    dataset: str | None = Field(default=None, min_length=1, examples=["flowers"])
    """Only generators that learned from this data set; None: from any."""
    class_name: str | None = Field(default=None, alias="class", min_length=1, examples=["tulip"])
    """What to paint, of the classes a generator learned (`artbot train --classes`); None: of each some."""

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.dataset is not None and self.checkpoint != "latest":
            raise ValueError("`checkpoint` names one generator; leave `dataset` out")
        return self

    @field_validator("weekdays")
    @classmethod
    def _some_weekday(cls, value: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if not value:
            raise ValueError("name at least one day, or leave the key out")
        return value

    @field_validator("at")
    @classmethod
    def _plain_time(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("write the time alone and the zone in `timezone`")
        return value

    def to_schedule(self, name: str) -> Schedule:
        days = frozenset(WEEKDAYS.index(day) for day in self.weekdays)
        return Schedule(name, self.at, ZoneInfo(self.timezone), days & EVERY_DAY)


class StudioSettings(Section):
    """How candidates are rendered."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    truncation_psi: float = Field(default=1.0, gt=0, le=2)
    """Scales z towards 0: below 1 tamer and more alike, 1 as trained."""
    start_timeout_s: float = Field(default=180.0, gt=0, le=86_400)
    picture_timeout_s: float = Field(default=120.0, gt=0, le=86_400)


class PublishingSettings(Section):
    """How approved works go out."""

    undo_minutes: float = Field(default=10.0, ge=0, le=10_080)
    """An approved work waits this long before it is sent; until then `artbot undo` takes it back."""


class ProvenanceSettings(Section):
    """What published pictures say inside of where they come from, besides what they always say."""

    creator: str = ""
    """Named as the works' maker; empty: nobody."""
    certificates: HomePath | None = None
    """Chain in PEM, the signer's own first, to sign every picture with (C2PA); None: none is signed."""
    key_file: HomePath | None = None
    """The private key of the first certificate."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificates is None) != (self.key_file is None):
            raise ValueError("give certificates and key_file, or neither")
        return self

    def read_key(self, root: Path) -> str:
        """The private key. Raises ConfigError naming the remedy."""
        assert self.key_file is not None
        return _read_secret_file(root / self.key_file.expanduser(), "provenance.key_file").strip()


class BackupSettings(Section):
    """Copies of the SQLite database that the daemon makes."""

    every_hours: float = Field(default=24, ge=0, le=8_760)
    """0: none."""
    keep: int = Field(default=14, ge=1, le=1_000)
    """The oldest ones beyond so many are removed."""


class ReviewSettings(Section):
    """How works are chosen."""

    expire_days: float = Field(default=0, ge=0, le=36_500)
    """A candidate nobody decided about for so long is put aside; 0: never."""


LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
"""Under which a browser reaches this machine without a network."""
HOST_EXAMPLE = "review.example.org"


class WebSettings(Section):
    """The review page."""

    serve: bool = False
    """Whether the daemon serves it."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """The address that it listens on."""
    port: int = Field(default=8420, ge=1, le=65_535)
    allow_hosts: tuple[str, ...] = Field(default=(), examples=[[HOST_EXAMPLE]])
    """Names under which browsers reach it besides this machine's own: over https, by a proxy in front."""

    @field_validator("host")
    @classmethod
    def _an_address(cls, host: str) -> str:
        bare = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(bare)
        except ValueError as error:
            if host != "localhost":
                raise ValueError(f'{host!r} is no address; write host = "127.0.0.1"') from error
        return bare

    @field_validator("allow_hosts")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not re.fullmatch(
                r"(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?", name
            ):
                raise ValueError(
                    f"{name!r} is no name as it stands in a browser's address; write it in lower case and "
                    f"without https:// and path, as in {HOST_EXAMPLE}, with its port if it shows one"
                )
        return names

    @model_validator(mode="after")
    def _nobody_listens_in(self) -> Self:
        if not self.is_loopback and not self.allow_hosts:
            raise ValueError(
                f"host = {_toml(self.host)} would serve the page to the network without encryption; leave it "
                "out, or put a proxy with TLS in front and name what browsers call it: "
                f'allow_hosts = ["{HOST_EXAMPLE}"] (docs/web.md)'
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether nobody reaches it but from this machine."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def origins(self, port: int) -> dict[str, str]:
        """The origin of every Host that is answered, while it listens on that port: https but for this
        machine's own names."""
        named = [f"[{name}]" if ":" in name else name for name in LOOPBACK_NAMES]
        own = [f"{name}:{port}" for name in named] if self.is_loopback else []
        return {host: f"{_scheme(host)}://{host}" for host in (*self.allow_hosts, *own)}

    def address(self, port: int) -> str:
        """Where the person opens it."""
        return next(iter(self.origins(port).values())) + "/"


def _scheme(host: str) -> str:
    return "http" if urlsplit(f"//{host}").hostname in LOOPBACK_NAMES else "https"


class KeySettings(Section):
    """What single keys do in the terminal and in the browser, by action: a key, or a list of them."""

    off: bool = False
    """Whether the page listens to none of them until they are switched on there."""
    changed: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """The keys of the actions that have other ones than their own."""

    @model_validator(mode="before")
    @classmethod
    def _by_action(cls, table: object) -> object:
        """`[keys]` is flat: the actions stand beside `off`."""
        if not isinstance(table, dict):
            return table
        changed = {name: keys for name, keys in table.items() if name != "off"}
        for name, keys in changed.items():
            if name not in ACTIONS:
                raise ValueError(f"there is no action {name}{_did_you_mean(name, ACTIONS)}")
            if not all(
                isinstance(key, str) for key in (keys if isinstance(keys, list) else [keys])
            ):
                usual = _toml(ACTIONS[name].keys[0])
                raise ValueError(f"{name} = {_toml(keys)} is no key; write {name} = {usual}")
        keymap(changed)
        others = {name: keys for name, keys in changed.items() if not _is_own(name, keys)}
        return {**({"off": table["off"]} if "off" in table else {}), "changed": others}

    @property
    def of_keys(self) -> dict[str, str]:
        """The action of every key."""
        return keymap(self.changed)


def _is_own(action: str, keys: str | list[str]) -> bool:
    """Whether that action has these keys anyway."""
    return ((keys,) if isinstance(keys, str) else tuple(keys)) == ACTIONS[action].keys


AlertKind = Literal["batch.ready", "delivery.failed", "channel.stopped", "nothing.approved"]
ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)


@dataclasses.dataclass(frozen=True)
class AlertAddress:
    """One line of the file of addresses."""

    line: int
    """From 1."""
    url: str = dataclasses.field(repr=False)
    """As Apprise reads it. A secret as a whole: in some the token stands where others have the host."""


class AlertSettings(Section):
    """How the operator is told that something wants attention."""

    urls_file: HomePath | None = Field(default=None, examples=["secrets/alerts"])
    """Addresses of Apprise, one on each line; None: nobody is told."""
    tell: tuple[AlertKind, ...] = ALERT_KINDS
    """What of."""
    nothing_approved_days: int = Field(default=3, ge=0, le=365)
    """Tell when new pictures have waited for so long and none was approved, and again after as long; 0: never."""

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> Self:
        if self.urls_file is None and self.model_fields_set:
            raise ValueError('nobody is told; write urls_file = "secrets/alerts"')
        return self

    def read_addresses(self, root: Path) -> list[AlertAddress]:
        """Registered for redaction. Raises ConfigError naming the remedy."""
        if self.urls_file is None:
            raise ConfigError('alerts.urls_file is not set; write urls_file = "secrets/alerts"')
        path = root / self.urls_file.expanduser()
        try:
            lines = _read_private_file(path, "alerts.urls_file").split("\n")
        except NoSecret as error:
            make = "make it, with an address on each line and chmod 600 (docs/alerts.md)"
            raise NoSecret(error.what, make) from error
        addresses = [
            AlertAddress(number, line.strip())
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.strip().startswith("#")
        ]
        if not addresses:
            raise ConfigError(
                f"alerts.urls_file {path} holds no address; write one on each line (docs/alerts.md)"
            )
        for address in addresses:
            register_secret(address.url)
            for part in re.split(r"[/:@?&=]+", address.url):
                # A token rather than a word or the name of a host, which other texts hold as well.
                if len(part) >= _LEAST_TOKEN and "." not in part:
                    register_secret(part)
        return addresses


_LEAST_TOKEN = 16


class TextSettings(Section):
    """Drafts of the words that go with a work; what TEXT_SAMPLES names in braces."""

    title: str = "No. {number}, {date}"
    alt: str = "Picture no. {number}, painted by a neural network that learned from {dataset}"
    caption: str = ""
    hashtags: tuple[str, ...] = ()
    """Without #."""
    warning: str = ""
    """What people should know before they see a work; empty: nothing."""
    language: str = "en"
    """Of these words: a BCP 47 tag."""

    @field_validator("hashtags")
    @classmethod
    def _usable_tags(cls, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_hashtag(tag.removeprefix("#")) for tag in tags)

    @field_validator("language")
    @classmethod
    def _known_language(cls, tag: str) -> str:
        return check_language(tag)

    @field_validator("title", "alt", "caption")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        # A format that does not fit ({date:%d.%m.}: it is text) would come up at the approval.
        return check_template(template, TEXT_SAMPLES)


class ChannelSettings(Section):
    """What the tables of all channels have in common: their kind, and when their works go out."""

    type: str
    slots: tuple[str, ...] = Field(default=(), examples=[["mon,thu 18:30", "daily 12:00"]])
    """One work goes out at each; none: at once."""
    timezone: Zone = "UTC"
    """Of the slots."""

    @field_validator("slots")
    @classmethod
    def _slots_that_differ(cls, slots: tuple[str, ...]) -> tuple[str, ...]:
        parsed = [parse_slot(slot) for slot in slots]
        for index, one in enumerate(parsed):
            for before, other in zip(slots[:index], parsed, strict=False):
                if one.at == other.at and (both := one.weekdays & other.weekdays):
                    raise ValueError(
                        f"{slots[index]!r} and {before!r} are the same slot on {DAYS[min(both)]}; "
                        "one work goes out at each slot: leave one of them out"
                    )
        return slots

    @property
    def timetable(self) -> Timetable | None:
        """When its works go out; None: at once."""
        if not self.slots:
            return None
        return Timetable(tuple(parse_slot(slot) for slot in self.slots), ZoneInfo(self.timezone))


class SecretReference(ChannelSettings):
    """Mixed into channel settings that need one secret: exactly one of the two keys."""

    no_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("secret", "token", "password"),
        'no secret stands in artbot.toml; name the file that holds it: secret_file = "secrets/NAME"',
    )
    secret_file: HomePath | None = Field(default=None, examples=["secrets/webhook"])
    secret_env: str | None = Field(default=None, examples=["ARTBOT_WEBHOOK_SECRET"])

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.secret_file is None) == (self.secret_env is None):
            raise ValueError("give exactly one of secret_file and secret_env")
        return self

    def read_secret(self, root: Path) -> str:
        """The secret, registered for redaction. Raises ConfigError; NoSecret if there is none."""
        return self.read_lines(root).strip()

    def read_lines(self, root: Path) -> str:
        """The same as it stands there, for who tells of lines: those before it that are empty count."""
        if self.secret_env is not None:
            text = os.environ.get(self.secret_env, "")
            if not text.strip():
                raise NoSecret(f"environment variable {self.secret_env} is not set (secret_env)")
        else:
            assert self.secret_file is not None
            text = _read_secret_file(root / self.secret_file.expanduser())
        value = text.strip()
        lines = [line.strip() for line in value.splitlines()]  # a webhook may have several secrets
        for secret in (value, *(line for line in lines if not line.startswith("#"))):
            # A prefix alone is none: redacted, it would be missing from what is said of it.
            if body := secret.removeprefix("whsec_").removeprefix("whsk_"):
                register_secret(secret)
                register_secret(body)
        return text

    def secret_place(self, root: Path) -> str:
        """Where the secret is looked for, in words."""
        if self.secret_env is not None:
            return f"the environment variable {self.secret_env}"
        assert self.secret_file is not None
        return str(root / self.secret_file.expanduser())

    def to_have_a_secret(self, channel: str, root: Path) -> str:
        """What helps the channel of that name whose secret is missing or refused."""
        if self.secret_env is not None:
            return f"set {self.secret_env} where the daemon is started"
        page = f"docs/channels/{self.type}.md"
        return (
            f"the secret that {page} tells of goes into {self.secret_place(root)}, with chmod 600"
        )

    def handed_over_as(self, root: Path) -> str | None:
        """What holds the secret as it was when the daemon began; None for a file that is read as it is now."""
        if self.secret_env is None and self.secret_file is None:
            return None  # it needs none: a gallery in a folder
        place = self.secret_place(root)
        if self.secret_env is not None:
            return place
        return f"a copy, {place}" if _is_handed_over(Path(place)) else None


class PublicPictures(Section):
    """Mixed into the settings of channels that show pictures to everybody, under an address for ever."""

    url: str | None = None
    """Where the public finds them, if it does."""

    @property
    def place(self) -> Path | str | None:
        """Where they are put: a folder, relative to the workplace, or the address of a bucket's. No two channels
        can share one. None: where only this channel can put them."""
        return None


class PictureFrom(Section):
    """Mixed into the settings of channels that pass on a picture's address instead of its file."""

    picture_from: str | None = Field(default=None, examples=["gallery"])
    """Name of the channel that shows the picture: one whose settings are PublicPictures, with a `url`."""


class Settings(Section):
    """The whole of artbot.toml."""

    paths: Paths = Paths()
    schedules: dict[Annotated[str, Field(pattern=NAME_PATTERN)], ScheduleSettings] = Field(
        default_factory=dict
    )
    studio: StudioSettings = StudioSettings()
    texts: TextSettings = TextSettings()
    review: ReviewSettings = ReviewSettings()
    publishing: PublishingSettings = PublishingSettings()
    web: WebSettings = WebSettings()
    keys: KeySettings = KeySettings()
    backup: BackupSettings = BackupSettings()
    alerts: AlertSettings = AlertSettings()
    provenance: ProvenanceSettings = ProvenanceSettings()
    channels: dict[Annotated[str, Field(pattern=NAME_PATTERN)], Any] = Field(default_factory=dict)
    """Validated by each channel's own settings model."""
    root: Path = Field(default=Path(), exclude=True)
    """The workplace: the folder that holds artbot.toml, absolute."""

    def path(self, path: Path) -> Path:
        """A path of artbot.toml as an absolute one."""
        return self.root / path.expanduser()

    @property
    def datasets(self) -> Path:
        return self.path(self.paths.datasets)

    @property
    def checkpoints(self) -> Path:
        return self.path(self.paths.checkpoints)

    @property
    def runs(self) -> Path:
        return self.path(self.paths.runs)

    @property
    def cache(self) -> Path:
        return self.path(self.paths.cache)

    @property
    def works(self) -> Path:
        return self.path(self.paths.works)

    @property
    def database(self) -> Path | str:
        """The SQLite file, absolute, or the PostgreSQL URL."""
        where = self.paths.database
        return self.path(where) if isinstance(where, Path) else where

    @property
    def lock(self) -> Path:
        """What the worker of this host holds."""
        beside = self.database if isinstance(self.database, Path) else self.path(Path("db/x"))
        return beside.with_name("artbot.lock")

    @property
    def web_lock(self) -> Path:
        """What the process that serves the review page on this host holds."""
        return self.lock.with_name("web.lock")

    @property
    def web_logins(self) -> Path:
        """Where the review page keeps whom it has let in, and whom it will."""
        return self.lock.with_name("web")

    @property
    def mark(self) -> Path:
        """What is remembered of the database outside it, where every host finds it."""
        return self.works / "artbot.mark"

    @property
    def backups(self) -> Path:
        """Where backups of the database are put."""
        return self.lock.with_name("backups")

    def schedule_list(self) -> list[Schedule]:
        return [settings.to_schedule(name) for name, settings in self.schedules.items()]

    def child_environment(self) -> dict[str, str]:
        """The environment for child processes: this one's, without the variables that hold secrets."""
        names = {getattr(channel, "secret_env", None) for channel in self.channels.values()}
        names.add("PGPASSWORD")
        return {name: value for name, value in os.environ.items() if name not in names}


def find_workplace(given: Path | None, start: Path | None = None) -> Path:
    """The folder of artbot.toml: `given`, else $ARTBOT_WORKPLACE, else here or the nearest above.

    Raises NoWorkplace.
    """
    named = given or (Path(value) if (value := os.environ.get(WORKPLACE_VARIABLE)) else None)
    if named is not None:
        if not (named / CONFIG_FILE).is_file():
            raise NoWorkplace(
                f"{named} holds no {CONFIG_FILE}. Make a workplace there: artbot init {named}"
            )
        return named.resolve()
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / CONFIG_FILE).is_file():
            return folder
    raise NoWorkplace(
        f"no {CONFIG_FILE} in {here} or above. Make a workplace with `artbot init FOLDER`, go into it, "
        f"or name one with --workplace or ${WORKPLACE_VARIABLE}."
    )


def load_settings(root: Path, channel_models: Mapping[str, type[BaseModel]]) -> Settings:
    """Read `root`/artbot.toml. `channel_models` maps a channel's `type` to its settings model.

    Raises ConfigError listing every problem.
    """
    path = root / CONFIG_FILE
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except tomllib.TOMLDecodeError as error:
        hint = (
            _hint_at_a_second_table(str(error))
            or _hint_at_a_second_value(str(error), text)
            or _hint_at_quotes(str(error), text)
        )
        raise ConfigError(f"{path}: not valid TOML: {error}{hint}") from error
    problems: list[str] = []
    channels = _validate_channels(table.pop("channels", {}), channel_models, problems)
    settings = Settings()
    if table.pop("root", None) is not None:
        problems.append("root: unknown key; paths are relative to this file's folder")
    try:
        settings = Settings.model_validate(table)
    except ValidationError as error:
        problems += _describe(error, Settings, ())
    settings = settings.model_copy(update={"channels": channels, "root": root.resolve()})
    problems += _wrong_places(settings)
    if problems:
        listed = "\n  ".join(problems)
        raise ConfigError(f"{path}:\n  {listed}" if len(problems) > 1 else f"{path}: {listed}")
    return settings


def _hint_at_a_second_table(error: str) -> str:
    if (twice := re.search(r"Cannot declare \((.+?),?\) twice", error)) is None:
        return ""
    name = twice[1].replace("'", "").replace(", ", ".")
    return f"; there are two tables [{name}]: give one another name, or make one of both"


def _hint_at_a_second_value(error: str, text: str) -> str:
    if (at := re.search(r"Cannot overwrite a value \(at line (\d+)", error)) is None:
        return ""
    key = text.splitlines()[int(at[1]) - 1].partition("=")[0].strip()
    return f"; {key} stands in that table already: take one of the two out"


def _hint_at_quotes(error: str, text: str) -> str:
    """For `dataset = flowers`: what has letters and no quotes is the commonest mistake."""
    if (at := re.search(r"at line (\d+)", error)) is None:
        return ""
    line = text.splitlines()[int(at[1]) - 1].partition("#")[0]
    if (bare := re.fullmatch(r"""\s*([\w.-]+)\s*=\s*([^"'\[{\s][^"']*?)\s*""", line)) is None:
        return ""
    if bare[2].lower() in ("true", "false", "yes", "no", "on", "off"):
        return f"; write {bare[1]} = true, or false"
    return f"; text stands in quotes: {bare[1]} = {_toml(bare[2])}"


def _validate_channels(
    table: object, models: Mapping[str, type[BaseModel]], problems: list[str]
) -> dict[str, BaseModel]:
    channels: dict[str, BaseModel] = {}
    if not isinstance(table, dict):
        problems.append("channels: write [channels.NAME] tables")
        return channels
    for name, entry in table.items():
        where = f"channels.{name}"
        kind = entry.get("type") if isinstance(entry, dict) else None
        if not _is_name(name):
            problems.append(f"{where}: {NAME_RULE}")
        elif not isinstance(kind, str):
            problems.append(f"{where}.type: missing; known types: {', '.join(sorted(models))}")
        elif kind not in models:
            problems.append(f"{where}.type: {kind!r} is unknown{_did_you_mean(kind, models)}")
        else:
            model = models[kind]
            try:
                channels[name] = model.model_validate(entry)
            except ValidationError as error:
                problems += _describe(error, model, ("channels", name))
    for name, channel in channels.items():
        if isinstance(channel, PictureFrom) and (source := channel.picture_from) is not None:
            wrong = _wrong_picture_source(source, table, channels)
            problems += [f"channels.{name}.picture_from: {wrong}"] if wrong else []
    return channels


def _wrong_picture_source(
    name: str, table: Mapping[str, object], channels: Mapping[str, BaseModel]
) -> str | None:
    """What is wrong with that channel as a `picture_from`, if anything is and is not told already."""
    if name not in table:
        shows = [
            other
            for other, channel in channels.items()
            if isinstance(channel, PublicPictures) and channel.url is not None
        ]
        helps = _did_you_mean(name, shows) or "; make one that shows pictures: a gallery"
        return f"there is no channel {_toml(name)}{helps}"
    source = channels.get(name)
    if source is not None and not isinstance(source, PublicPictures):
        return f"{_toml(name)} shows pictures under no address; name a gallery, or an s3 channel with a url"
    if isinstance(source, PublicPictures) and source.url is None:
        return f"the public finds nothing in {_toml(name)}; give [channels.{name}] its url"
    return None


def _wrong_places(settings: Settings) -> Iterator[str]:
    """What is wrong with the places where channels put what everybody may see."""
    taken: dict[str, Path | str] = {}
    for name, channel in settings.channels.items():
        place = channel.place if isinstance(channel, PublicPictures) else None
        if place is None:
            continue
        key, told, meant = "bucket", _toml(place), place
        if isinstance(place, Path):
            key, meant = "path", _real(settings.path(place))
            if (wrong := _what_it_would_show(meant, settings)) is not None:
                yield (
                    f"channels.{name}.path: {told} {wrong}; everybody may read a site: give it a folder "
                    'of its own, path = "site"'
                )
                continue
        for other, place_of_other in taken.items():
            if (wrong := _in_each_other(meant, place_of_other)) and (
                wrong == "is" or settings.channels[other].type == channel.type == "gallery"
            ):
                own = "a folder" if key == "path" else "a prefix"
                yield (
                    f"channels.{name}.{key}: {told} {wrong} the place of channel {other}; give each {own} of "
                    "its own"
                )
                break
        taken[name] = meant


def _in_each_other(one: Path | str, other: Path | str) -> str | None:
    """How the one place lies to the other, in words; None: apart."""
    if one == other:
        return "is"
    if isinstance(one, Path) and isinstance(other, Path):
        lies_in, holds = one.is_relative_to(other), other.is_relative_to(one)
    else:  # buckets' addresses, or one of each
        lies_in, holds = f"{one}".startswith(f"{other}/"), f"{other}".startswith(f"{one}/")
    return "lies in" if lies_in else "holds" if holds else None


def _what_it_would_show(place: Path, settings: Settings) -> str | None:
    """What of artbot's own lies in that folder, or it in that."""
    root = settings.root
    if root.is_relative_to(place):
        return "holds the workplace, and secrets/ with it"
    for whose, own in _own_places(settings):
        own = _real(own)
        if place == own:
            return f"is {whose}"
        if own.is_relative_to(place):
            return f"holds {whose}"
        # A folder that holds the workplace holds every site in it too.
        if place.is_relative_to(own) and not root.is_relative_to(own):
            return f"lies in {whose}"
    return None


def _real(path: Path) -> Path:
    """Without links and `..`; as it stands where links lead in a circle, which Path.resolve raises for."""
    return Path(os.path.realpath(path))


def _own_places(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Folders and files that are nobody else's business."""
    yield "secrets/", settings.path(Path("secrets"))
    for name, path in settings.paths:
        if name != "database":
            yield f"paths.{name}", settings.path(path)
    yield "the folder of the database", settings.lock.parent
    for table in ("alerts", "provenance"):
        for name, path in getattr(settings, table):
            if isinstance(path, Path):
                yield f"{table}.{name}", settings.path(path)
    for name, channel in settings.channels.items():
        if isinstance(path := getattr(channel, "secret_file", None), Path):
            yield f"channels.{name}.secret_file", settings.path(path)


def _is_name(name: str) -> bool:
    allowed = set(string.ascii_lowercase + string.digits + "_-")
    return 0 < len(name) <= 40 and set(name) <= allowed and name[0] not in "_-"


def _describe(error: ValidationError, model: type[BaseModel], prefix: tuple[str, ...]) -> list[str]:
    """One line per problem: the dotted key, what is wrong, and what to write instead."""
    lines = []
    for detail in error.errors(include_url=False):
        location = tuple(part for part in detail["loc"] if part != "[key]")
        where = ".".join(str(part) for part in (*prefix, *location))
        what = _what_is_wrong(detail, _field_at(model, location))
        if detail["type"] == "extra_forbidden":
            key = str(location[-1])
            home = _home_of(key)
            table = _model_at(model, location[:-1])
            if isinstance(table, type) and issubclass(table, Section) and key in table.no_keys:
                hint = f"; {table.no_keys[key]}"
            else:
                known = _keys(table)
                hint = f"; it belongs under [{home}]" if home else _did_you_mean(key, known)
            what = f"unknown key{hint}"
        elif detail["type"].startswith(("model_", "dict_")):
            what = f"{_toml(detail['input'])} is no table; write [{where}]"
        lines.append(f"{where}: {what}" if where else what)
    return lines


_NO_SUCH_VALUE = {
    "int_": "no whole number",
    "float_": "no number",
    "bool_": "neither true nor false",
    "string_type": "no text",
    "path_type": "no path",
    "tuple_type": "no list",
}
"""By how pydantic's name for the error begins."""


def _what_is_wrong(detail: ErrorDetails, field: FieldInfo | None) -> str:
    """In the words of artbot.toml, with an example where the kind of value is wrong."""
    kind, limits, value = detail["type"], detail.get("ctx", {}), _toml(detail["input"])
    key = str(detail["loc"][-1]) if detail["loc"] else ""
    example = f"; write {key} = {_example_of(field)}" if field and _example_of(field) else ""
    if (
        kind == "string_type"
        and isinstance(detail["input"], int | float)
        and value[0] in "-0123456789"
    ):
        example = f'; write {key} = "{value}"'
    for begin, words in _NO_SUCH_VALUE.items():
        if kind.startswith(begin):
            return f"{value} is {words}{example}"
    match kind:
        case "missing":
            return f"missing{example}"
        case "greater_than_equal":
            return f"{value} is too small; the least is {limits['ge']:g}"
        case "greater_than":
            return f"{value} is too small; it must be more than {limits['gt']:g}"
        case "less_than_equal":
            return f"{value} is too large; the most is {limits['le']:g}"
        case "string_too_short":
            return f"empty{example}"
        case "string_pattern_mismatch" if limits["pattern"] == NAME_PATTERN:
            return NAME_RULE
        case "string_pattern_mismatch":
            rule = field.description if field and field.description else "it has another form"
            return f"{value} cannot be: {rule}{example}"
        case "literal_error":
            return f"{value} is unknown; known are {limits['expected']}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}"


def _example_of(field: FieldInfo) -> str:
    """As it is written in artbot.toml; empty where there is none."""
    default = None if field.default is PydanticUndefined else field.default
    example = field.examples[0] if field.examples else default
    return "" if example is None or isinstance(example, BaseModel) else _toml(example)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    return "a table" if isinstance(value, dict) else str(value)


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The table at `location`, following nested sections; None if none is known there."""
    annotation: Any = model
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = _keys(annotation).get(str(part))
            annotation = field.annotation if field else None
        else:  # dict[name, Section]: this part of the location is a name
            annotation = get_args(annotation)[-1:]
            annotation = annotation[0] if annotation else None
    is_table = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_table else None


def _field_at(model: type[BaseModel], location: tuple[int | str, ...]) -> FieldInfo | None:
    return _keys(_model_at(model, location[:-1])).get(str(location[-1])) if location else None


def _keys(model: type[BaseModel] | None) -> dict[str, FieldInfo]:
    """What may stand in that table, by the key that people write."""
    fields = model.model_fields if model else {}
    return {field.alias or name: field for name, field in fields.items() if name != "root"}


def _home_of(key: str) -> str | None:
    """The section a misplaced key belongs to: a header that is still commented out is easily missed."""
    for section, field in Settings.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, Section) and key in model.model_fields:
            return section
    return None


def _did_you_mean(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(sorted(known))}" if known else ""


def _is_handed_over(path: Path) -> bool:
    """Whether systemd or a container engine put it there when the service began: a copy of the file that
    people change, and read-only for everybody in the service's own namespace."""
    return path.resolve().is_relative_to("/run")


def _read_secret_file(path: Path, key: str = "secret_file") -> str:
    """What stands in it. Raises ConfigError; NoSecret if that is nothing but white space."""
    text = _read_private_file(path, key)
    if not text.strip():
        raise NoSecret(f"{key} {path} is empty")
    return text


def _read_private_file(path: Path, key: str) -> str:
    """The text of a file that nobody else can read. Raises ConfigError; NoSecret if it is not there."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{key} {path} is no plain file.")
        if status.st_mode & (stat.S_IRGRP | stat.S_IROTH) and not _is_handed_over(path):
            raise ConfigError(f"{key} {path} can be read by others. Run: chmod 600 {path}")
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise NoSecret(f"{key} {path} cannot be read: {error.strerror}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{key} {path} cannot be read: {reason}") from error

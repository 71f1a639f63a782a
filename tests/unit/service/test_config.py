"""artbot.toml: what is understood, what is refused, and with which words."""

from __future__ import annotations

import logging
import re
import sys
from datetime import time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import artbot
from artbot.config import AlertSettings, ChannelSettings, Settings, find_workplace, load_settings
from artbot.domain.slots import Slot, Timetable
from artbot.errors import ConfigError, NoWorkplace
from artbot.publishing.channels import open_channels, settings_models, timetables
from artbot.publishing.signatures import SharedSecret
from artbot.redaction import REDACTED, RedactingFormatter, redact, register_secret
from tests.unit.service.kit import SECRET

EXAMPLE = Path(artbot.__file__).with_name("artbot.example.toml").read_text("utf-8")
WEBHOOK = '[channels.studio]\ntype = "webhook"\nurl = "https://example.org/"\n'


@pytest.fixture(autouse=True)
def no_workplace_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARTBOT_WORKPLACE", raising=False)


def load(folder: Path, toml: str) -> Settings:
    (folder / "artbot.toml").write_text(toml, "utf-8")
    return load_settings(folder, settings_models())


def problems(folder: Path, toml: str) -> list[str]:
    """What is wrong with it, one line each, without the file's path."""
    with pytest.raises(ConfigError) as refused:
        load(folder, toml)
    message = str(refused.value)
    assert message.startswith(f"{folder / 'artbot.toml'}:")
    return [
        line.strip()
        for line in message.removeprefix(f"{folder / 'artbot.toml'}:").splitlines()
        if line
    ]


def problem(folder: Path, toml: str) -> str:
    (line,) = problems(folder, toml)
    return line


# What is understood


def test_an_empty_file_is_a_workplace_with_every_default(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.schedules == {}
    assert settings.channels == {}
    assert settings.database == tmp_path / "db" / "artbot.sqlite3"
    assert settings.works == tmp_path / "works"
    assert settings.publishing.undo_minutes == 10


def test_paths_are_relative_to_the_file_or_absolute_or_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    toml = '[paths]\nworks = "../w"\ncheckpoints = "/srv/c"\ndatasets = "~/pictures"'
    settings = load(tmp_path, toml)
    assert settings.works == tmp_path / ".." / "w"
    assert settings.checkpoints == Path("/srv/c")
    assert settings.datasets == Path("/home/anna/pictures")


@pytest.mark.parametrize("at", ['"07:30"', "07:30:00", '"07:30:00"', '"0730"'])
def test_a_time_is_written_as_text_or_as_tomls_own(tmp_path: Path, at: str) -> None:
    settings = load(tmp_path, f'[schedules.a]\nat = {at}\ntimezone = "Europe/Berlin"')
    (schedule,) = settings.schedule_list()
    assert (schedule.name, schedule.at, schedule.zone) == (
        "a",
        time(7, 30),
        ZoneInfo("Europe/Berlin"),
    )
    assert schedule.weekdays == frozenset(range(7))


def test_weekdays_are_named_and_monday_is_the_first(tmp_path: Path) -> None:
    (schedule,) = load(
        tmp_path, '[schedules.a]\nat = "07:00"\nweekdays = ["sun", "mon"]'
    ).schedule_list()
    assert schedule.weekdays == {0, 6}


def test_a_channels_slots_are_a_timetable_in_its_zone_and_without_any_there_is_none(
    tmp_path: Path,
) -> None:
    toml = (
        WEBHOOK + 'secret_env = "S"\nslots = ["mon,thu 18:30", "daily 12:00"]\n'
        'timezone = "Europe/Berlin"\n' + WEBHOOK.replace("studio", "friends") + 'secret_env = "S"'
    )
    found = timetables(load(tmp_path, toml))
    slots = (Slot(frozenset({0, 3}), time(18, 30)), Slot(frozenset(range(7)), time(12)))
    assert found == {"studio": Timetable(slots, ZoneInfo("Europe/Berlin"))}


def test_every_kind_of_channel_may_have_slots() -> None:
    for kind, model in settings_models().items():
        assert issubclass(model, ChannelSettings), kind


# The example


def uncommented(example: str) -> str:
    """The example with every commented-out table and key switched on."""
    switch = re.compile(r"^(?:# )+(\[[a-z.]+\](?: +# .*)?|[a-z_]+ = .*)$")
    return "\n".join(switch.sub(r"\1", line) for line in example.splitlines())


def example(zone: str = "Europe/Berlin") -> str:
    return EXAMPLE.replace("@TIMEZONE@", zone)


def test_the_example_loads_and_says_what_the_defaults_are(tmp_path: Path) -> None:
    settings = load(tmp_path, example())
    assert list(settings.schedules) == ["daily"]
    daily = settings.schedules["daily"]
    assert (daily.at, daily.timezone, daily.candidates) == (time(7), "Europe/Berlin", 24)
    plain = load(tmp_path, "")
    assert settings.model_copy(update={"schedules": {}}) == plain


def test_with_everything_switched_on_the_example_still_equals_the_defaults(
    tmp_path: Path,
) -> None:
    text = uncommented(example())
    # A channel has one secret, not two; and what was learned is for the pictures to say.
    no_default = ("secret_env", "class ", "dataset ", "allow_hosts")
    everything = "\n".join(x for x in text.splitlines() if not x.startswith(no_default))
    assert everything != text
    settings = load(tmp_path, everything)
    assert list(settings.channels) == ["studio"]
    # Whom to tell has no default either; what to tell of has.
    assert settings.alerts.model_copy(update={"urls_file": None}) == AlertSettings()
    plain = settings.model_copy(update={"channels": {}, "alerts": AlertSettings()})
    assert plain == load(tmp_path, example())


def test_the_example_shows_every_key_that_most_people_may_want(tmp_path: Path) -> None:
    """Switched on, the example names all keys but those only for emergencies."""
    import tomllib

    shown = tomllib.loads(
        "\n".join(x for x in uncommented(example()).splitlines() if "secret_env" not in x)
    )
    hidden = {"allow_http", "allow_private", "root"}
    assert set(shown) == set(Settings.model_fields) - hidden
    for name in ("paths", "studio", "texts", "publishing", "alerts"):
        known = set(type(getattr(Settings(), name)).model_fields)
        assert set(shown[name]) == known - hidden


# Unknown keys


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[schedule]", "schedule: unknown key; did you mean schedules?"),
        (
            '[schedules.a]\nat = "07:00"\nundo_minutes = 5',
            "schedules.a.undo_minutes: unknown key; it belongs under [publishing]",
        ),
        ("[path]\n", "path: unknown key; did you mean paths?"),
        ('[paths]\nwork = "w"', "paths.work: unknown key; did you mean works?"),
        ("[publishing]\nundo_minute = 1", "did you mean undo_minutes?"),
        ('[texts]\ncaptions = ""', "texts.captions: unknown key; did you mean caption?"),
        (
            '[schedules.daily]\nat = "07:00"\ntimzone = "UTC"',
            "schedules.daily.timzone: unknown key; did you mean timezone?",
        ),
        (
            WEBHOOK + 'secret_fil = "x"\nsecret_env = "X"',
            "channels.studio.secret_fil: unknown key; did you mean secret_file?",
        ),
        (
            '[studio]\nxyzzy = 1',
            "studio.xyzzy: unknown key; known are device, picture_timeout_s, start_timeout_s, "
            "truncation_psi",
        ),
        (
            '[channels.fedi]\ntype = "mastodon"\nurl = "https://a.example"\nserver = ""\nsecret_env = "X"',
            "channels.fedi.server: unknown key; did you mean url?",
        ),
        (
            '[channels.fedi]\ntype = "mastodon"\nsecret_env = "X"',
            'channels.fedi.url: missing; write url = "https://mastodon.social"',
        ),
        ('root = "/tmp"', "root: unknown key; paths are relative to this file's folder"),
        (
            '[channels.studio]\ntype = "webhok"',
            "channels.studio.type: 'webhok' is unknown; did you mean webhook?",
        ),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_a_near_miss(
    tmp_path: Path, toml: str, expected: str
) -> None:
    assert expected in problem(tmp_path, toml)


# Wrong values


@pytest.mark.parametrize(
    ("toml", "where", "what"),
    [
        ('[schedules.a]\nat = "7 Uhr"', "schedules.a.at", "no time of day; write \"07:00\""),
        ('[schedules.a]\nat = "25:00"', "schedules.a.at", "no time of day"),
        ("[schedules.a]\nat = 7", "schedules.a.at", "no time of day"),
        ("[schedules.a]\nat = 7.30", "schedules.a.at", "no time of day"),
        ("[schedules.a]\nat = 2026-11-21T07:00:00", "schedules.a.at", "no time of day"),
        ('[schedules.a]\nat = "07:00+01:00"', "schedules.a.at", "the zone in `timezone`"),
        ("[schedules.a]", "schedules.a.at", 'missing; write at = "07:00"'),
        ('[schedules.a]\nat = "07:00"\ntimezone = "Berlin"', "timezone", "'Berlin' is no time zone"),
        (
            WEBHOOK + 'secret_env = "S"\nslots = ["mon 9"]',
            "channels.studio.slots",
            """'mon 9' is no slot; write "mon 09:00", "mon,thu 18:30" or "daily 12:00\"""",
        ),
        (
            WEBHOOK + 'secret_env = "S"\nslots = "daily 12:00"',
            "channels.studio.slots",
            '"daily 12:00" is no list; write slots = ["mon,thu 18:30", "daily 12:00"]',
        ),
        (
            WEBHOOK + 'secret_env = "S"\nslots = ["daily 12:00", "mon 18:30", "sun,tue 12:00"]',
            "channels.studio.slots",
            "'sun,tue 12:00' and 'daily 12:00' are the same slot on tue",
        ),
        (
            WEBHOOK + 'secret_env = "S"\ntimezone = "Berlin"',
            "channels.studio.timezone",
            "'Berlin' is no time zone; write one like Europe/Berlin",
        ),
        ('[schedules.a]\nat = "07:00"\ntimezone = "Europe"', "timezone", "is no time zone"),
        ('[schedules.a]\nat = "07:00"\ntimezone = ""', "timezone", "is no time zone"),
        ('[schedules.a]\nat = "07:00"\ntimezone = "../../etc/passwd"', "timezone", "no time zone"),
        ('[schedules.a]\nat = "07:00"\nweekdays = ["Montag"]', "weekdays.0", "'mon', 'tue'"),
        ('[schedules.a]\nat = "07:00"\nweekdays = [0]', "weekdays.0", "'mon', 'tue'"),
        ('[schedules.a]\nat = "07:00"\nweekdays = []', "weekdays", "at least one day"),
        ('[schedules.a]\nat = "07:00"\ncandidates = 0', "candidates", "0 is too small; the least is 1"),
        ('[schedules.a]\nat = "07:00"\ncandidates = 1001', "candidates", "1001 is too large; the most is 1000"),
        ('[schedules.a]\nat = "07:00"\ncandidates = 2.5', "candidates", "2.5 is no whole number; write candidates = 24"),
        ('[schedules."A B"]\nat = "07:00"', "schedules.A B", "lower-case letters"),
        ("[studio]\ntruncation_psi = 0", "studio.truncation_psi", "0 is too small; it must be more than 0"),
        ("[studio]\ntruncation_psi = nan", "studio.truncation_psi", ""),
        ("[publishing]\nundo_minutes = -1", "publishing.undo_minutes", "-1 is too small"),
        ("[publishing]\nundo_minutes = inf", "publishing.undo_minutes", "inf is too large"),
        ("[texts]\ntitle = \"{nummer}\"", "texts.title", "unknown field {nummer}; did you mean {number}?"),
        ("[texts]\ntitle = \"{xyzzy}\"", "texts.title", "unknown field {xyzzy}; known are number, date"),
        ('[channels.a]\ntype = "discord"\nsecret_env = "X"\ntext = "{titel}"', "text", "did you mean {title}?"),
        (
            '[channels.a]\ntype = "discord"\nsecret_env = "X"\ntext = "{title} {seed:zz}"',
            "text",
            "{seed:zz} cannot be filled in; write {seed}, or a format that fits, as in {seed:06d}",
        ),
        ('[channels.a]\ntype = "discord"\nsecret_env = "X"\ntext = "{date:%d}"', "text", "write {date}, or a format"),
        (
            '[channels.a]\ntype = "telegram"\nsecret_env = "X"\nchat = -1001234567890',
            "channels.a.chat",
            '-1001234567890 is no text; write chat = "-1001234567890"',
        ),
        ('[channels.a]\ntype = "gallery"\npath = "site"', "channels.a.url", 'missing; write url = "https://art.example.org"'),
        (
            '[channels.i]\ntype = "instagram"\nsecret_env = "X"\npicture_from = "gallery"',
            "channels.i.picture_from",
            'there is no channel "gallery"; make one that shows pictures: a gallery',
        ),
        ('[texts]\nalt = "{number"', "texts.alt", "write {{ and }} for plain braces"),
        ('[texts]\ntitle = "{}"', "texts.title", "unknown field {}"),
        ('[texts]\ntitle = "{number.real}"', "texts.title", "unknown field {number.real}"),
        ('[texts]\ntitle = "{date:%d.%m.%Y}"', "texts.title", "cannot be filled in"),
        ('[texts]\ntitle = "{number:{width}}"', "texts.title", "cannot be filled in"),
        ('[channels.studio]\nurl = "x"', "channels.studio.type", "known types: bluesky, discord"),
        ("channels = 3", "channels", "write [channels.NAME] tables"),
        ('[channels."Über"]\ntype = "webhook"', "channels.Über", "lower-case letters"),
        (WEBHOOK, "channels.studio", "exactly one of secret_file and secret_env"),
        (WEBHOOK + 'secret_file = "a"\nsecret_env = "B"', "channels.studio", "exactly one of"),
        ("studio = 3", "studio", "3 is no table; write [studio]"),
        ('[schedules.a]\nat = "07:00"\ncandidates = "viele"', "candidates", '"viele" is no whole number'),
        ('[schedules.a]\nat = "07:00"\ndataset = 3', "dataset", '3 is no text; write dataset = "3"'),
        ('[schedules.a]\nat = "07:00"\nclass = ""', "class", 'empty; write class = "tulip"'),
        ('[schedules.a]\nat = "07:00"\nweekdays = "mon"', "weekdays", '"mon" is no list; write weekdays = ["mon",'),
        ("[backup]\nevery_hours = 'daily'", "backup.every_hours", '"daily" is no number; write every_hours = 24'),
        ("[paths]\ndatabase = 5", "paths.database", '5 is no path; write database = "db/artbot.sqlite3"'),
        ('[channels.a]\ntype = "webhook"\nsecret_env = "X"', "channels.a.url", 'missing; write url = "https://'),
        (WEBHOOK + 'secret_env = "X"\nallow_http = "ja"', "allow_http", "neither true nor false"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_key_with_what_to_write(
    tmp_path: Path, toml: str, where: str, what: str
) -> None:
    line = problems(tmp_path, toml)[0]
    assert where in line.split(": ")[0]
    assert what in line


def test_formats_that_fit_may_stand_in_a_text(tmp_path: Path) -> None:
    load(tmp_path, '[texts]\ntitle = "{number:04d} {date!s:>12} {{x}} {seed:,}"')


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "example.org", "https://", "https://anna:pw@example.org/", "", "//x/"],
)
def test_an_address_that_is_no_plain_web_address_is_refused(tmp_path: Path, url: str) -> None:
    toml = f'[channels.a]\ntype = "webhook"\nsecret_env = "X"\nurl = "{url}"'
    assert problem(tmp_path, toml).startswith("channels.a: url ")
    assert "anna:pw" not in problem(tmp_path, toml)


@pytest.mark.parametrize(
    "host",
    [
        "exa mple.org",
        "example.org:99999",
        "example.org:0",
        "example..org",
        "exa$mple.org",
        "ex\\tample.org",
    ],
)
@pytest.mark.parametrize(
    "table",
    [
        'type = "webhook"\nurl',
        'type = "mastodon"\nurl',
        'type = "bluesky"\naccount = "a.example.org"\nservice',
        'type = "tumblr"\nblog = "a"\napi',
        'type = "s3"\nbucket = "art"\naccess_key_id = "A"\nendpoint',
        'type = "s3"\nbucket = "art"\naccess_key_id = "A"\nurl',
        'type = "webhook"\nurl = "https://example.org/"\nproxy',
    ],
)
def test_an_address_that_no_machine_can_have_is_refused_and_told(
    tmp_path: Path, table: str, host: str
) -> None:
    told = problem(tmp_path, f'[channels.a]\nsecret_env = "X"\n{table} = "https://{host}"\n')
    assert f"'https://{host}'" in told
    assert "is no " in told
    assert "write http" in told


@pytest.mark.parametrize(
    "host", ["example.org:8443", "bücher.example", "my_host.example", "example.org.", "[2606:4700::1]:8080"]
)  # fmt: skip
def test_an_address_that_a_machine_may_have_is_taken(tmp_path: Path, host: str) -> None:
    load(tmp_path, f'[channels.a]\ntype = "webhook"\nsecret_env = "X"\nurl = "https://{host}/x"')


@pytest.mark.parametrize("host", ["example.org", "192.168.1.7", "localhost.example.org", "0.0.0.0"])
def test_an_unencrypted_way_to_another_machine_has_to_be_allowed(tmp_path: Path, host: str) -> None:
    toml = f'[channels.a]\ntype = "webhook"\nsecret_env = "X"\nurl = "http://{host}/"\n'
    toml += "allow_private = true\n"
    assert "allow_http = true" in problem(tmp_path, toml)
    assert load(tmp_path, toml + "allow_http = true").channels["a"].url == f"http://{host}/"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_to_this_machine_no_encryption_is_needed(tmp_path: Path, host: str) -> None:
    toml = f'[channels.a]\ntype = "webhook"\nsecret_env = "X"\nurl = "http://{host}:8080/"\n'
    load(tmp_path, toml + "allow_private = true")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "receiver.localhost",
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::a00:1]",
        "[fd00::1]",
    ],
)
def test_this_machine_and_private_networks_have_to_be_allowed(tmp_path: Path, host: str) -> None:
    toml = f'[channels.a]\ntype = "webhook"\nsecret_env = "X"\nurl = "https://{host}/"\n'
    assert "allow_private = true" in problem(tmp_path, toml)
    load(tmp_path, toml + "allow_private = true")


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    toml = """
        root = "x"
        [schedules.a]
        at = "late"
        timezone = "Moon"
        [studio]
        devise = "cpu"
        [channels.b]
        type = "pigeon"
        [channels.c]
        type = "webhook"
        url = "http://example.org"
        secret_env = "X"
    """
    keys = [line.split(":")[0] for line in problems(tmp_path, toml)]
    assert sorted(keys) == [
        "channels.b.type",
        "channels.c",
        "root",
        "schedules.a.at",
        "schedules.a.timezone",
        "studio.devise",
    ]


@pytest.mark.parametrize("content", [b"[schedules", b"a = 1\na = 2", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "artbot.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_settings(tmp_path, settings_models())


def test_two_channels_of_one_name_are_told_what_to_do(tmp_path: Path) -> None:
    table = '[channels.a]\ntype = "discord"\nsecret_env = "X"\n'
    with pytest.raises(
        ConfigError, match=r"there are two tables .channels.a.: give one another name"
    ):
        load(tmp_path, table * 2)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'bucket = "My_Bucket"',
            'bucket: "My_Bucket" cannot be: a bucket\'s name has 3 to 63 lower-case letters, digits, . and -',
        ),
        ('bucket = "art"\nregion = "eu central"', 'region: "eu central" cannot be: a region has'),
        ('bucket = "art"\nprefix = "/art"', 'prefix: "/art" cannot be: folders have'),
        ('bucket = "art"\nmatte_colour = "cream"', 'matte_colour: "cream" cannot be: a colour is # and six'),
    ],
)  # fmt: skip
def test_what_has_another_form_is_told_the_rule_in_words(
    tmp_path: Path, line: str, told: str
) -> None:
    table = '[channels.a]\ntype = "s3"\naccess_key_id = "A"\nsecret_env = "X"\n'
    assert problem(tmp_path, table + line).startswith(f"channels.a.{told}")


def test_every_pattern_has_its_rule_in_words_and_every_needed_key_an_example() -> None:
    for kind, model in settings_models().items():
        for name, rule in model.model_json_schema()["properties"].items():
            if "pattern" in str(rule):
                assert "description" in rule, f"{kind}.{name}"
            field = model.model_fields[name]
            assert not field.is_required() or field.examples or name == "type", f"{kind}.{name}"


def test_with_folder_and_bucket_that_comes_before_what_is_wrong_with_one(tmp_path: Path) -> None:
    told = problem(tmp_path, SITE.format('"site"') + 'bucket = "My_Bucket"\n')
    assert told == "channels.site: give exactly one of path (a folder) and bucket"


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="; type stands in that table already: take one of the"):
        load(tmp_path, WEBHOOK + 'type = "webhook"\n')


# Where the public sees what a channel puts there

SITE = '[channels.site]\ntype = "gallery"\nurl = "https://art.example.org"\npath = {}\n'


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (".", "holds the workplace, and secrets/ with it"),
        ("", "holds the workplace, and secrets/ with it"),
        ("site/..", "holds the workplace, and secrets/ with it"),
        ("..", "holds the workplace, and secrets/ with it"),
        ("/", "holds the workplace, and secrets/ with it"),
        ("secrets", "is secrets/"),
        ("secrets/site", "lies in secrets/"),
        ("works", "is paths.works"),
        ("works/daily", "lies in paths.works"),
        ("db", "is the folder of the database"),
        ("db/backups/site", "lies in the folder of the database"),
        ("seen", "is paths.works"),
        ("kept", "holds paths.runs"),
        ("pictures", "lies in paths.datasets"),
        ("elsewhere", "holds channels.studio.secret_file"),
        ("private", "holds alerts.urls_file"),
        ("data/circle", "lies in paths.datasets"),
    ],
)
def test_a_gallery_is_no_place_where_artbot_keeps_its_own(
    tmp_path: Path, path: str, wrong: str
) -> None:
    root = tmp_path / "workplace"
    for folder in ("works", "data/pictures"):
        (root / folder).mkdir(parents=True)
    (root / "seen").symlink_to("works")
    (root / "pictures").symlink_to("data/pictures")
    (root / "data/circle").symlink_to("circle")
    toml = (
        '[paths]\nruns = "kept/runs"\ndatasets = "data"\n[alerts]\nurls_file = "private/alerts"\n'
        + WEBHOOK
        + 'secret_file = "elsewhere/hook"\n'
    )
    load(root, toml + SITE.format('"site"'))
    assert problem(root, toml + SITE.format(f'"{path}"')) == (
        f'channels.site.path: "{Path(path)}" {wrong}; everybody may read a site: give it a folder of its own, '
        'path = "site"'
    )


def test_a_gallery_may_lie_beside_what_lies_in_the_workplaces_own_folder(tmp_path: Path) -> None:
    """`datasets` may be all of one's pictures, with the workplace among them; the database may lie in it."""
    root = tmp_path / "workplace"
    root.mkdir()
    toml = '[paths]\ndatasets = ".."\ndatabase = "artbot.sqlite3"\n'
    for path in ("site", "../site", "/srv/www/art", "~/site"):
        if path != "../site":
            load(root, toml + SITE.format(f'"{path}"'))
        load(root, SITE.format(f'"{path}"'))


def test_a_path_that_no_machine_has_is_refused(tmp_path: Path) -> None:
    told = problem(tmp_path, SITE.format(r'"si\u0000te"'))
    assert told.startswith("channels.site.path: 'si\\x00te': no path holds a zero byte")


BUCKET = (
    '[channels.{}]\ntype = "{}"\nurl = "https://art.example.org"\nbucket = "art"\naccess_key_id = "A"\n'
    'secret_env = "X"\n'
)


def test_two_channels_on_one_place_are_refused(tmp_path: Path) -> None:
    folder = SITE.format('"site"')
    twice = folder + SITE.format('"../site"').replace(".site]", ".site2]")
    (tmp_path / "workplace").mkdir()
    (tmp_path / "site").mkdir()
    (tmp_path / "workplace/site").symlink_to("../site")
    assert problem(tmp_path / "workplace", twice) == (
        'channels.site2.path: "../site" is the place of channel site; give each a folder of its own'
    )
    archive = BUCKET.format("archive", "s3") + 'prefix = "works"\n'
    wall = BUCKET.format("wall", "gallery")
    amazons = 'endpoint = "https://s3.us-east-1.amazonaws.com/"\n'
    assert problem(tmp_path, archive + wall + amazons + 'prefix = "works/"\n') == (
        'channels.wall.bucket: "https://s3.us-east-1.amazonaws.com/art/works" is the place of channel archive; '
        "give each a prefix of its own"
    )
    load(tmp_path, archive + wall + folder)


def test_no_gallery_lies_in_another(tmp_path: Path) -> None:
    inner = SITE.format('"site/inner"').replace(".site]", ".inner]")
    outer = SITE.format('"site"')
    own = "give each a folder of its own"
    assert problem(tmp_path, outer + inner) == (
        f'channels.inner.path: "site/inner" lies in the place of channel site; {own}'
    )
    assert problem(tmp_path, inner + outer) == (
        f'channels.site.path: "site" holds the place of channel inner; {own}'
    )
    load(tmp_path, outer + SITE.format('"site2"').replace(".site]", ".inner]"))
    walls = [BUCKET.format(name, "gallery") for name in ("hall", "room")]
    assert "lies in the place of channel hall; give each a prefix of its own" in problem(
        tmp_path, f'{walls[0]}{walls[1]}prefix = "room/"\n'
    )
    load(tmp_path, f'{walls[0]}prefix = "hall/"\n{walls[1]}prefix = "room/"\n')


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("dataset = flowers", 'text stands in quotes: dataset = "flowers"'),
        ("  title = No. {number}  # mine", 'text stands in quotes: title = "No. {number}"'),
        ("at = 07:00", 'text stands in quotes: at = "07:00"'),
        ("allow_http = True", "write allow_http = true, or false"),
    ],
)
def test_a_value_that_lacks_its_quotes_is_shown_with_them(
    tmp_path: Path, line: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=f"at line 2, .*; {re.escape(hint)}$"):
        load(tmp_path, f"[schedules.daily]\n{line}\nweekdays = []\n")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*No such file"):
        load_settings(tmp_path, settings_models())


# Secrets


def with_secret_file(folder: Path, content: str = SECRET, mode: int = 0o600) -> Settings:
    secret = folder / "webhook"
    secret.write_text(content)
    secret.chmod(mode)
    return load(folder, WEBHOOK + 'secret_file = "webhook"')


@pytest.mark.parametrize("content", [SECRET, SECRET + "\n", f"  {SECRET}\r\n"])
def test_a_secret_is_read_from_a_file_that_only_its_owner_can_read(
    tmp_path: Path, content: str
) -> None:
    settings = with_secret_file(tmp_path, content)
    assert settings.channels["studio"].read_secret(tmp_path) == SECRET
    assert list(open_channels(settings)) == ["studio"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_can_read_is_refused_with_the_remedy(
    tmp_path: Path, mode: int
) -> None:
    settings = with_secret_file(tmp_path, mode=mode)
    remedy = rf"^channels\.studio: .*read by others\. Run: chmod 600 {tmp_path}/webhook$"
    with pytest.raises(ConfigError, match=remedy):
        open_channels(settings)


@pytest.mark.parametrize("content", ["", "\n", "   "])
def test_an_empty_secret_is_refused(tmp_path: Path, content: str) -> None:
    settings = with_secret_file(tmp_path, content)
    with pytest.raises(ConfigError, match="is empty"):
        open_channels(settings)


def test_a_missing_secret_file_is_told(tmp_path: Path) -> None:
    settings = load(tmp_path, WEBHOOK + 'secret_file = "nowhere"')
    with pytest.raises(ConfigError, match=r"channels\.studio: .*nowhere cannot be read: No such"):
        open_channels(settings)


def test_a_channel_without_its_secret_is_told_of_and_keeps_no_other_from_sending(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "webhook"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    second = WEBHOOK.replace("studio", "friends") + 'secret_file = "nowhere"\n'
    settings = load(tmp_path, second + WEBHOOK + 'secret_file = "webhook"')
    wrong: list[ConfigError] = []
    assert list(open_channels(settings, wrong.append)) == ["studio"]
    assert [str(error).partition(":")[0] for error in wrong] == ["channels.friends"]


def test_a_secret_may_stand_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(tmp_path, WEBHOOK + 'secret_env = "HOOK_SECRET"')
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with pytest.raises(ConfigError, match=r"channels\.studio: .*HOOK_SECRET is not set"):
        open_channels(settings)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    assert list(open_channels(settings)) == ["studio"]


def test_child_processes_do_not_see_the_environments_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HARMLESS", "yes")
    environment = load(tmp_path, WEBHOOK + 'secret_env = "HOOK_SECRET"').child_environment()
    assert "HOOK_SECRET" not in environment
    assert environment["HARMLESS"] == "yes"


@pytest.mark.parametrize("content", ["hunter2-hunter2-hunter2", "whsec_aHVudGVyMg=="])
def test_a_malformed_secret_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    settings = with_secret_file(tmp_path, content)
    with pytest.raises(
        ConfigError, match=rf"^channels\.studio: line 1 of {tmp_path}/webhook must be whsec_"
    ) as refused:
        open_channels(settings)
    told = f"{refused.value} {refused.value.__cause__!r} {refused.value.__context__!r}"
    assert "hunter2" not in told
    assert "aHVudGVyMg" not in told


def test_neither_settings_nor_senders_show_a_secret_that_was_read(tmp_path: Path) -> None:
    settings = with_secret_file(tmp_path)
    senders = open_channels(settings)
    shown = f"{settings!r} {settings.model_dump_json()} {dict(senders)!r}"
    assert SECRET.removeprefix("whsec_") not in shown


# Redaction


def log_line(message: str, *values: object, raising: Exception | None = None) -> str:
    record = logging.LogRecord("artbot", logging.ERROR, "f.py", 1, message, values, None)
    if raising is not None:
        try:
            raise raising
        except type(raising):
            record.exc_info = sys.exc_info()
    return RedactingFormatter("%(levelname)s %(message)s").format(record)


def test_a_secret_that_was_read_is_replaced_wherever_it_is_logged(tmp_path: Path) -> None:
    with_secret_file(tmp_path).channels["studio"].read_secret(tmp_path)
    bare = SECRET.removeprefix("whsec_")
    for line in (
        log_line(f"posting with {SECRET}"),
        log_line("posting with %s", bare),
        log_line("failed", raising=ValueError(f"bad header {SECRET}\nsecond line")),
    ):
        assert bare not in line
        assert REDACTED in line


def test_of_a_secret_that_was_changed_both_are_kept_out(tmp_path: Path) -> None:
    changed = SharedSecret(b"x" * 32).text
    for secret in (SECRET, changed):
        with_secret_file(tmp_path, secret).channels["studio"].read_secret(tmp_path)
    assert log_line(f"not {SECRET} but {changed}") == f"ERROR not {REDACTED} but {REDACTED}"


def test_a_log_entry_is_one_line_whatever_it_holds() -> None:
    line = log_line("a\nb\r\n%s", "c\nFAKE ENTRY", raising=ValueError("x\ny"))
    assert line.splitlines() == [line]
    assert r"a\nb\r\nc\nFAKE ENTRY" in line
    assert "ValueError" in line


def test_short_words_are_not_taken_for_secrets() -> None:
    register_secret("a")
    register_secret("")
    assert redact("a cat") == "a cat"


# Where the workplace is


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Three workplaces and a folder far below one of them."""
    found = {}
    for name in ("given", "env", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "artbot.toml").touch()
        found[name] = tmp_path / name
    found["below"] = tmp_path / "here" / "works" / "daily"
    found["below"].mkdir(parents=True)
    found["none"] = tmp_path
    return found


def test_the_workplace_named_on_the_command_line_comes_first(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTBOT_WORKPLACE", str(places["env"]))
    assert find_workplace(places["given"], start=places["here"]) == places["given"]


def test_then_the_one_in_the_environment(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTBOT_WORKPLACE", str(places["env"]))
    assert find_workplace(None, start=places["here"]) == places["env"]


@pytest.mark.parametrize("start", ["here", "below"])
def test_then_the_one_here_or_the_nearest_above(places: dict[str, Path], start: str) -> None:
    assert find_workplace(None, start=places[start]) == places["here"]


def test_the_folder_one_is_in_is_where_the_search_begins(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(places["below"])
    assert find_workplace(None) == places["here"]


def test_an_empty_variable_names_nothing(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTBOT_WORKPLACE", "")
    assert find_workplace(None, start=places["here"]) == places["here"]


def test_without_a_workplace_the_message_says_how_to_make_or_name_one(
    places: dict[str, Path],
) -> None:
    with pytest.raises(NoWorkplace, match=r"artbot init FOLDER.*--workplace or \$ARTBOT_WORKPLACE"):
        find_workplace(None, start=places["none"])


def test_a_named_folder_that_is_no_workplace_is_not_replaced_by_another(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTBOT_WORKPLACE", str(places["env"]))
    with pytest.raises(NoWorkplace, match=f"artbot init {places['none']}"):
        find_workplace(places["none"], start=places["here"])


@pytest.mark.parametrize("table", ["datasets", "checkpoints", "runs", "cache", "works", "database"])
def test_the_home_of_nobody_is_refused_with_the_key(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError, match=rf"paths\.{table}.*no home of ~nosuchuser"):
        load(tmp_path, f'[paths]\n{table} = "~nosuchuser/x"\n')


def test_a_secret_in_the_home_of_nobody_is_refused_with_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"channels\.a\.secret_file.*no home of ~nosuchuser"):
        load(
            tmp_path,
            '[channels.a]\ntype = "webhook"\nurl = "https://example.org/"\n'
            'secret_file = "~nosuchuser/x"\n',
        )


def test_a_schedule_names_a_data_set_or_a_checkpoint(tmp_path: Path) -> None:
    table = '[schedules.daily]\nat = "07:00"\ndataset = "flowers"\n'
    assert load(tmp_path, table).schedules["daily"].dataset == "flowers"
    with pytest.raises(ConfigError, match="names one generator; leave `dataset` out"):
        load(tmp_path, table + 'checkpoint = "flowers-64-000120"\n')

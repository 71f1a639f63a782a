"""What is Discord's own: the URL is the secret, nobody is pinged, a warning hides the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from artbot.errors import ConfigError, Rejected, Unavailable
from artbot.publishing.channels import Parcel
from artbot.publishing.channels.discord import CHANNEL, DiscordSettings, compose
from artbot.publishing.work import Work
from artbot.redaction import redact
from tests.contract.peers.discord import TOKEN, Discord, run
from tests.contract.peers.serving import as_json, serving
from tests.unit.service.kit import NOON, a_work


@pytest.fixture
def discord(tmp_path: Path) -> Iterator[Discord]:
    with run(tmp_path) as running:
        yield running


def send(
    discord: Discord, workplace: Path, work: Work, username: str | None = None
) -> DiscordSettings:
    table = discord.table(discord.url, workplace) | ({"username": username} if username else {})
    settings = DiscordSettings.model_validate(table)
    parcel = Parcel("key", work, compose(settings, work))
    CHANNEL.open(settings, workplace).commit(parcel, NOON)
    return settings


def test_a_message_pings_nobody_and_may_have_a_name(discord: Discord, tmp_path: Path) -> None:
    send(discord, tmp_path, replace(a_work(), title="@everyone look"), "The painter")
    (message,) = discord.messages
    assert message["allowed_mentions"] == {"parse": []}
    assert message["username"] == "The painter"
    assert message["content"].startswith("@everyone look")
    assert message["file"].file_name == "daily-2026-11-21-03.png"


def test_a_warning_comes_first_and_hides_the_picture(discord: Discord, tmp_path: Path) -> None:
    send(discord, tmp_path, replace(a_work(), warning="Flashing colours"))
    (message,) = discord.messages
    assert message["content"].startswith("Flashing colours\n\nNo. 3")
    assert message["file"].file_name == "SPOILER_daily-2026-11-21-03.png"


def test_a_webhook_that_somebody_removed_disables_the_channel(
    discord: Discord, tmp_path: Path
) -> None:
    discord.is_removed = True
    with pytest.raises(Rejected, match="was removed") as refused:
        send(discord, tmp_path, a_work())
    assert refused.value.status == 410


def test_its_wait_is_obeyed_to_the_fraction_of_a_second(tmp_path: Path) -> None:
    limited = Discord()
    answer = as_json(429, {"retry_after": 64.57, "global": False})
    with serving(lambda _: answer) as limited.url, pytest.raises(Unavailable) as told:
        send(limited, tmp_path, a_work())
    assert told.value.retry_after_s == 64.57


@pytest.mark.parametrize(
    "secret",
    ["https://example.org/api/webhooks/1/a", "http://discord.com/api/webhooks/1/a", "a-token", ""],
)
def test_a_secret_that_is_no_webhooks_url_is_refused(tmp_path: Path, secret: str) -> None:
    (tmp_path / "secret").write_text(secret)
    (tmp_path / "secret").chmod(0o600)
    settings = DiscordSettings(type="discord", secret_file=Path("secret"))
    with pytest.raises(ConfigError):
        CHANNEL.open(settings, tmp_path)


def test_the_token_is_kept_out_of_messages_alone_as_well(discord: Discord, tmp_path: Path) -> None:
    settings = DiscordSettings.model_validate(discord.table(discord.url, tmp_path))
    CHANNEL.open(settings, tmp_path)
    assert TOKEN not in redact(f"/api/webhooks/1/{TOKEN}?wait=true")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"caption": "x" * 2000}, "the text has 2,0"),
        ({"alt": "x" * 1025}, "the alt text has 1,025"),
        ({"alt": " "}, "the alt text is missing"),
        ({"warning": "x" * 1990}, "the text has 2,0"),
    ],
)
def test_what_is_too_long_is_refused_before_anything_is_sent(
    change: dict[str, str], said: str
) -> None:
    settings = DiscordSettings(type="discord", secret_env="X")
    with pytest.raises(Rejected, match=said):
        compose(settings, replace(a_work(), **change))

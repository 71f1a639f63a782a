"""`artbot channels test`, `preview` and `secret`: what would go out, and whether it could, before anything does."""

from __future__ import annotations

import re

import pytest

from artbot.publishing.signatures import parse_secrets
from db.engine import open_database
from tests.conftest import Consumer, Place, on_sqlite_only
from tests.contract.peers.fediverse import Fediverse, Manner
from tests.contract.peers.serving import serving
from tests.unit.service.kit import SECRET, add_works

MORE = """
[channels.chat]
type = "telegram"
chat = "@paintings"
secret_env = "NO_TELEGRAM"
text = "{title}: {caption}"
[channels.friends]
type = "discord"
secret_env = "NO_DISCORD"
"""


@pytest.fixture
def stocked(place: Place, consumer: Consumer) -> Place:
    place.configure((place.root / "artbot.toml").read_text() + consumer.channel() + MORE)
    database = open_database(place.database_at)
    add_works(database, place.root / "works", 2)
    database.close()
    return place


def test_a_webhook_is_proved_with_an_event_that_shows_nothing(
    stocked: Place, consumer: Consumer
) -> None:
    answer = stocked.run("channels", "test", "example")
    assert answer.code == 0
    assert "example           ok: the receiver took a test event (2" in answer.out
    assert consumer.verdicts() == ["test"]


def test_what_could_not_send_is_told_and_the_others_are_tested_all_the_same(
    stocked: Place, consumer: Consumer
) -> None:
    answer = stocked.run("channels", "test")
    assert answer.code == 1
    assert "example           ok" in answer.out
    assert (
        "chat              failed: channels.chat: environment variable NO_TELEGRAM is not set"
        in (answer.out)
    )
    stocked.run("channels", "test", "nobody").refused(2, "nobody")


@on_sqlite_only
def test_what_should_be_put_right_is_said_with_the_setting_and_is_no_failure(place: Place) -> None:
    """By the channels' own command, and by the doctor if it may ask."""
    server = Fediverse(Manner.MASTODON)
    with serving(server.answer) as server.url:
        server.table(server.url, place.root)
        place.configure(
            f'[channels.fedi]\ntype = "mastodon"\nurl = "{server.url}"\nsecret_file = "secret"\n'
            "allow_private = true\n"
        )
        tested = place.run("channels", "test")
        asked = place.run("doctor", "--quick", "--online")
        facts = place.json("doctor", "--quick", "--online")
    tick = 'tick "This is an automated account" in Preferences, Public profile'
    assert tested.code == 0
    assert re.search(
        rf"^fedi +ok: posts as @painter.*\n +note: .*{tick}$", tested.out, re.MULTILINE
    )
    assert asked.code == 0, asked.out
    assert re.search(rf"^note   channel fedi: .*{tick}$", asked.out, re.MULTILINE)
    assert "not asked" not in asked.out
    assert tick in facts["findings"][-1]["remarks"][0]
    assert "receivers were not asked: artbot doctor --online" in place.run("doctor", "--quick").out


def test_a_preview_shows_what_each_channel_would_get_and_sends_nothing(
    stocked: Place, consumer: Consumer
) -> None:
    answer = stocked.run("channels", "preview", "1", "--out", "look")
    assert answer.code == 0
    assert answer.out.splitlines()[:2] == [
        "example",
        "  alt text: Picture no. 1, painted by a neural network that learned from flowers",
    ]
    assert "  | No. 1, 2026-11-21:" in answer.out
    assert "picture: image/png, 8 x 8 px" in answer.out
    shown = sorted(path.name for path in (stocked.root / "look").iterdir())
    assert shown == [f"{name}-daily-2026-11-21-01.png" for name in ("chat", "example", "friends")]
    assert consumer.verdicts() == []
    (chat,) = stocked.json("channels", "preview", "1", "--channel", "chat")
    assert chat["text"] == "No. 1, 2026-11-21:"
    assert (chat["refusal"], chat["width_px"]) == (None, 8)


def test_a_preview_says_what_could_never_go_out(stocked: Place) -> None:
    toml = (stocked.root / "artbot.toml").read_text()
    stocked.configure(toml.replace("{title}: {caption}", "{title} " * 200))
    answer = stocked.run("channels", "preview", "1", "--channel", "chat")
    assert answer.code == 1
    assert "cannot go out like this: the text has 3," in answer.out
    stocked.run("approve", "1", "--channel", "chat").refused(
        1, "chat: the text has 3,", "--channel"
    )
    stocked.run("channels", "preview", "99").refused(2, "no candidate 99")


def test_a_secret_is_changed_without_a_request_that_is_refused(
    stocked: Place, consumer: Consumer
) -> None:
    """The receiver knows the first one only."""
    answer = stocked.run("channels", "secret", "example")
    assert (answer.code, answer.out) == (0, "line 1  v1   shared with the receiver\n")
    assert str(stocked.root / "secrets/webhook") in answer.err

    answer = stocked.run("channels", "secret", "example", "--add", "v1a")
    shown = re.fullmatch(
        r"line 1  v1   shared with the receiver\nline 2  v1a  (whpk_[\w+/]{43}=)\n", answer.out
    )
    assert shown, answer
    file = stocked.root / "secrets/webhook"
    assert file.stat().st_mode & 0o777 == 0o600
    shared, private = file.read_text().splitlines()
    assert parse_secrets(private)[0].public_key == shown[1]
    for secret in (shared, private):
        assert secret.partition("_")[2] not in answer.out + answer.err
    assert stocked.run("channels", "test", "example").code == 0
    assert consumer.verdicts() == ["test"]

    file.write_text(f"{shared}\nwhsk_hunter2\n")
    for more in ((), ("--add", "v1")):
        stocked.run("channels", "secret", "example", *more).refused(3, "line 2 of the secret must")
        assert file.read_text() == f"{shared}\nwhsk_hunter2\n"


def test_a_secret_is_made_where_there_is_none(stocked: Place) -> None:
    (stocked.root / "secrets/webhook").unlink()
    stocked.run("channels", "secret", "example").refused(
        3, "is not there", "artbot channels secret example --add v1"
    )
    answer = stocked.run("channels", "secret", "example", "--add", "v1")
    assert answer.out == "line 1  v1   shared with the receiver\n"


def test_no_secret_is_made_for_who_is_given_one_or_has_it_elsewhere(stocked: Place) -> None:
    stocked.run("channels", "secret", "friends").refused(
        2, "friends is of type discord, which signs nothing"
    )
    stocked.run("channels", "secret", "nobody").refused(2, "nobody")
    toml = (stocked.root / "artbot.toml").read_text()
    stocked.configure(toml.replace('secret_file = "secrets/webhook"', 'secret_env = "HOOK"'))
    stocked.run("channels", "secret", "example", "--add", "v1a").refused(
        2, "the environment variable HOOK", 'printf "whsk_%s'
    )
    answer = stocked.run("channels", "secret", "example", HOOK=f"{SECRET}\n{SECRET}")
    assert answer.out.count("v1   shared") == 2

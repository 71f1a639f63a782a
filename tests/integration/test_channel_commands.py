"""`artbot channels test` and `preview`: what would go out, and whether it could, before anything does."""

from __future__ import annotations

import pytest

from db.engine import open_database
from tests.conftest import Consumer, Place
from tests.unit.service.kit import add_works

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

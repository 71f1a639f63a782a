"""`artbot channels test`, `preview` and `secret`: what would go out, and whether it could, before anything does."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

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
    answer = stocked.run("channels", "test", "example", "chat", "--json")
    assert answer.code == 1
    sent, failed = json.loads(answer.out)
    assert (sent["name"], sent["is_ok"], sent["remarks"]) == ("example", True, [])
    assert sent["detail"].startswith("the receiver took a test event")
    assert (failed["name"], failed["is_ok"]) == ("chat", False)
    assert "NO_TELEGRAM is not set" in failed["detail"]


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
    assert answer.out.splitlines()[:4] == [
        "example",
        "  alt text: Picture no. 1, painted by a neural network that learned from flowers",
        "  title: No. 1, 2026-11-21",
        "  language: en",
    ]
    assert "  | No. 1, 2026-11-21:" in answer.out
    assert "picture: image/png, 8 x 8 px" in answer.out
    shown = sorted(path.name for path in (stocked.root / "look").iterdir())
    files = [
        f"{name}-daily-2026-11-21-01.{suffix}"
        for name, suffix in (
            ("chat", "png"), ("example", "json"), ("example", "png"), ("friends", "png")
        )
    ]  # fmt: skip
    assert shown == files
    assert sorted(re.findall(r"  written to: look/(.*)", answer.out)) == files
    assert consumer.verdicts() == []
    (chat,) = stocked.json("channels", "preview", "1", "--channel", "chat")
    assert chat["text"] == "No. 1, 2026-11-21:"
    assert (chat["refusal"], chat["width_px"]) == (None, 8)
    assert (chat["event_bytes"], chat["files"]) == (None, [])


def test_the_event_that_a_webhook_would_get_is_previewed_and_is_what_it_gets(
    stocked: Place, consumer: Consumer
) -> None:
    words = (
        "--title",
        "Dusk",
        "--warning",
        "Flashing colours",
        "--hashtags",
        "kunst",
        "--caption",
        "",
    )
    stocked.run("approve", "1", *words, "--channel", "example").refused(0)
    (facts,) = stocked.json(
        "channels", "preview", "1", "--channel", "example", "--out", str(stocked.root / "look")
    )
    assert facts["also"] == {
        "title": "Dusk", "warning": "Flashing colours", "hashtags": "kunst", "language": "en"
    }  # fmt: skip
    (event,) = (Path(file) for file in facts["files"] if file.endswith(".json"))
    previewed = json.loads(event.read_bytes())
    assert event.stat().st_size == facts["event_bytes"]
    assert previewed["data"]["artwork"]["warning"] == "Flashing colours"
    assert stocked.run("publish").code == 0
    del previewed["data"]["image"]["base64"]  # the consumer keeps it as a file
    (got,) = consumer.store.glob("daily-*.json")
    assert json.loads(got.read_text()) == previewed


def test_a_preview_shows_what_other_words_would_give_and_decides_nothing(stocked: Place) -> None:
    words = ("--title", "Dusk", "--alt", "A field", "--caption", "Wet.", "--hashtags", "#kunst")
    answer = stocked.run("channels", "preview", "1", *words, "--warning", "Rain")
    assert answer.code == 0
    for told in (
        "alt text: A field",
        "title: Dusk",
        "hashtags: kunst",
        "warning: Rain",
        "| Dusk: Wet.",
    ):
        assert f"  {told}" in answer.out
    assert stocked.json("show", "1")["title"] is None
    stocked.run("channels", "preview", "1", "--hashtags", "!").refused(2, "'!' is no hashtag")
    stocked.run("approve", "1", *words).refused(0)
    stocked.run("channels", "preview", "1").refused(0)
    stocked.run("channels", "preview", "1", "--alt", "x").refused(
        1, "is approved, and goes out with the words it has", "artbot undo 1"
    )


@pytest.mark.parametrize(
    ("words", "refused"),
    [
        (("--alt", " "), "the alt text is missing"),
        (("--alt", "x" * 10_001), "the alt text has 10,001 characters, 1 more than"),
        (("--title", "x" * 1_001), "the title has 1,001 characters, 1 more than"),
    ],
)
def test_a_preview_refuses_the_words_that_the_approval_would(
    stocked: Place, words: tuple[str, str], refused: str
) -> None:
    """A webhook's receiver takes them all."""
    answer = stocked.run("channels", "preview", "1", "--channel", "example", *words)
    assert answer.code == 1
    assert f"cannot go out like this: {refused}" in answer.out
    approved = stocked.run("approve", "1", "--channel", "example", *words)
    approved.refused(1, f"cannot go out like this: {refused}")


def test_a_preview_says_what_could_never_go_out(stocked: Place) -> None:
    toml = (stocked.root / "artbot.toml").read_text()
    stocked.configure(toml.replace("{title}: {caption}", "{title} " * 200))
    answer = stocked.run("channels", "preview", "1", "--channel", "chat")
    assert answer.code == 1
    assert "cannot go out like this: the text has 3," in answer.out
    stocked.run("approve", "1", "--channel", "chat").refused(
        1, "chat: the text has 3,", "the words (artbot approve 1 --caption", "--channel"
    )
    stocked.configure(toml.replace('type = "webhook"', 'type = "webhook"\ninline_limit_bytes = 9'))
    stocked.run("approve", "1", "--channel", "example").refused(
        1, "or raise the limit. Mend [channels.example], or the words (artbot approve 1 --caption"
    )
    stocked.run("channels", "preview", "99").refused(2, "no candidate 99")


def test_a_secret_is_changed_without_a_request_that_is_refused(
    stocked: Place, consumer: Consumer
) -> None:
    """The receiver knows the first one only."""
    file = stocked.root / "secrets/webhook"
    old = hashlib.sha256(file.read_text().strip().encode()).hexdigest()[:8]
    answer = stocked.run("channels", "secret", "example")
    assert (answer.code, answer.out) == (0, f"line 1  v1   fingerprint {old}\n")
    assert answer.err == f"from {file}\n"

    answer = stocked.run("channels", "secret", "example", "--add", "v1a")
    shown = re.fullmatch(
        rf"line 1  v1   fingerprint {old}\nline 2  v1a  (whpk_[\w+/]{{43}}=)  new\n", answer.out
    )
    assert shown, answer
    assert "line 2 is new: give the receiver its public key" in answer.err
    assert file.stat().st_mode & 0o777 == 0o600
    shared, private = file.read_text().splitlines()
    assert parse_secrets(private, "x")[0].public_key == shown[1]
    for secret in (shared, private):
        assert secret.partition("_")[2] not in answer.out + answer.err
    assert stocked.run("channels", "test", "example").code == 0
    assert consumer.verdicts() == ["test"]

    file.write_text(f"{shared}\nwhsk_hunter2\n")
    told = f"line 2 of {file} must be whsec_"
    stocked.run("channels", "secret", "example").refused(3, told, "mend that line or take it out")
    stocked.run("channels", "secret", "example", "--add", "v1").refused(
        3, told, "nothing was changed"
    )
    assert file.read_text() == f"{shared}\nwhsk_hunter2\n"


def test_secrets_are_told_apart_and_the_new_one_is_named_with_how_to_hand_it_over(
    stocked: Place,
) -> None:
    file = stocked.root / "secrets/webhook"
    answer = stocked.run("channels", "secret", "example", "--add", "v1")
    old, new = (
        hashlib.sha256(line.encode()).hexdigest()[:8] for line in file.read_text().splitlines()
    )
    assert answer.out == f"line 1  v1   fingerprint {old}\nline 2  v1   fingerprint {new}  new\n"
    assert "line 2 is new: give the receiver that line as it is" in answer.err
    assert f"tail -n 1 {file}" in answer.err
    assert "when the receiver has the new one, take out the old" in answer.err
    assert "new" not in stocked.run("channels", "secret", "example").out

    facts = stocked.json("channels", "secret", "example", "--add", "v1a")
    assert (facts["name"], facts["place"]) == ("example", str(file))
    shared, added, private = facts["secrets"]
    assert added == {
        "line": 2, "scheme": "v1", "fingerprint": new, "public_key": None, "is_new": False
    }  # fmt: skip
    assert (private["fingerprint"], private["is_new"]) == (None, True)
    assert private["public_key"].startswith("whpk_")
    assert shared["fingerprint"] == old

    lines = file.read_text().splitlines()
    file.write_text("\n".join(["", " ", *lines, "# again", lines[0]]))
    assert "lines 3 and 7 are the same" in stocked.run("channels", "secret", "example").err
    file.write_text("\n\nhunter2\n")
    wrong = f"line 3 of {file} must be whsec_"
    stocked.run("channels", "secret", "example").refused(3, wrong)
    assert wrong in stocked.run("channels", "test", "example").out


def test_a_secret_is_made_where_there_is_none(stocked: Place) -> None:
    file = stocked.root / "secrets/webhook"
    for content in (None, "", "# soon\n"):
        file.unlink()
        if content is not None:
            file.write_text(content)
            file.chmod(0o600)
        for command, code in (("secret example", 3), ("list", 0)):
            stocked.run("channels", *command.split()).refused(
                code, str(file), "artbot channels secret example --add v1"
            )
        answer = stocked.run("channels", "secret", "example", "--add", "v1")
        assert re.fullmatch(r"line \d  v1   fingerprint [0-9a-f]{8}  new\n", answer.out)


def test_of_a_secret_that_is_missing_it_is_told_where_one_of_that_kind_comes_from(
    stocked: Place,
) -> None:
    """A new one for a webhook is not what its receiver has; a service's is made by the service."""
    toml = (stocked.root / "artbot.toml").read_text()
    stocked.configure(toml.replace('secret_env = "NO_DISCORD"', 'secret_file = "secrets/friends"'))
    (stocked.root / "secrets/webhook").unlink()
    answer = stocked.run("channels", "test")
    assert answer.code == 1
    assert (
        f"friends           failed: channels.friends: secret_file {stocked.root}/secrets/friends cannot be read: No "
        "such file or directory; the secret that docs/channels/discord.md tells of goes into "
        f"{stocked.root}/secrets/friends, with chmod 600\n"
    ) in answer.out
    assert (
        f"No such file or directory; the secret that its receiver knows goes into {stocked.root}/secrets/webhook, "
        "with chmod 600; if it knows none yet, or that is lost: artbot channels secret example --add v1"
    ) in answer.out
    assert "environment variable NO_TELEGRAM is not set (secret_env); set NO_TELEGRAM" in answer.out
    assert "artbot init" not in answer.out
    doctor = stocked.run("doctor", "--quick").out
    assert doctor.count("docs/channels/discord.md") == 1, "told once, as the remedy"


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
    assert answer.out.count("v1   fingerprint") == 2
    assert "lines 1 and 2 are the same: one of them is enough" in answer.err

"""`artbot deliveries` and `artbot channels`: what a person sees of trouble, and what helps."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from db.engine import open_database
from db.types import utc_text
from tests.conftest import Consumer, Place
from tests.unit.service.kit import SECRET, add_works


@pytest.fixture
def stocked(place: Place, consumer: Consumer) -> Place:
    """Three works that nobody had to paint, the first two approved for a receiver that is there."""
    place.configure((place.root / "artbot.toml").read_text() + consumer.channel())
    database = open_database(place.database_at)
    add_works(database, place.root / "works", 3)
    database.close()
    place.run("approve", "1", "2").refused(0, "example now")
    return place


def put_into(place: Place, state: str, number: int) -> None:
    """As the outbox leaves it; the database checks the move."""
    place.sql(f"UPDATE deliveries SET state = '{state}' WHERE id = {number}")


def states(place: Place) -> list[str]:
    listed = place.json("deliveries", "list", "--all")
    return [row["state"] for row in sorted(listed, key=lambda row: row["id"])]


# Looking


def test_a_delivery_tells_its_whole_story(stocked: Place, consumer: Consumer) -> None:
    assert stocked.run("publish").code == 0
    shown = stocked.run("deliveries", "show", "1")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "1: daily-2026-11-21-01 to example, delivered"
    assert any("attempt, delivered 200" in line for line in lines)
    story = stocked.json("deliveries", "show", "1")
    assert (story["state"], story["channel"], story["work"], story["num_attempts"]) == (
        "delivered",
        "example",
        "daily-2026-11-21-01",
        1,
    )
    (attempt,) = story["attempts"]
    assert (attempt["outcome"], attempt["status"], attempt["epoch"]) == ("delivered", 200, 1)
    assert story["interventions"] == []
    assert consumer.log()[0]["webhook_id"] == story["delivery_key"]
    for number in ("99", "99999999999999999999"):
        stocked.run("deliveries", "show", number).refused(
            2, f"no delivery {number}", "artbot deliveries list"
        )
        stocked.run("deliveries", "retry", number).refused(2, f"no delivery {number}")


def test_the_list_names_for_every_trouble_the_command_that_helps(stocked: Place) -> None:
    put_into(stocked, "uncertain", 1)
    put_into(stocked, "held", 2)
    listed = stocked.run("deliveries", "list")
    assert "uncertain" in listed.out
    assert "artbot deliveries resolve 1 --posted (or --absent)" in listed.err
    assert "artbot channels resume example" in listed.err
    shown = stocked.run("deliveries", "show", "1")
    assert "artbot deliveries resolve 1" in shown.err
    assert len(stocked.json("deliveries", "list", "--limit", "1")) == 1


# Resolve


def test_what_was_found_posted_is_done_with_where_it_can_be_seen(
    stocked: Place, consumer: Consumer
) -> None:
    put_into(stocked, "uncertain", 1)
    stocked.run("deliveries", "retry", "1").refused(1, "may have been posted", "resolve 1 --posted")
    stocked.run("deliveries", "resolve", "1").refused(2, "say --posted or --absent")
    stocked.run("deliveries", "resolve", "1", "--absent", "--url", "https://x.org/").refused(
        2, "--url goes with --posted"
    )
    assert states(stocked) == ["uncertain", "queued"]
    done = stocked.run("deliveries", "resolve", "1", "--posted", "--url", "https://x.org/1")
    done.refused(0, "1: daily-2026-11-21-01 to example is done")
    story = stocked.json("deliveries", "show", "1")
    assert (story["state"], story["remote_url"]) == ("delivered", "https://x.org/1")
    (entry,) = story["interventions"]
    assert (entry["act"], entry["was"], entry["now"], entry["via"]) == (
        "posted",
        "uncertain",
        "delivered",
        "cli",
    )
    assert "seen at   https://x.org/1" in stocked.run("deliveries", "show", "1").out
    assert stocked.run("publish").code == 0
    assert len(consumer.verdicts()) == 1, "the other one only"


def test_what_was_found_absent_is_sent(stocked: Place, consumer: Consumer) -> None:
    put_into(stocked, "uncertain", 1)
    stocked.run("publish")
    assert consumer.verdicts() == ["stored"]
    answer = json.loads(
        stocked.run(
            "deliveries", "resolve", "1", "2", "--absent", "--reason", "I looked", "--json"
        ).out
    )
    assert [(row["id"], row["state"]) for row in answer["resolved"]] == [(1, "queued")]
    assert [error["id"] for error in answer["errors"]] == [2]
    assert "delivery 2 is delivered: there is nothing to resolve" in answer["errors"][0]["error"]
    assert stocked.json("deliveries", "show", "1")["interventions"][0]["reason"] == "I looked"
    assert stocked.run("publish").code == 0
    assert consumer.verdicts() == ["stored", "stored"]


def test_nothing_is_called_absent_by_a_clock_that_is_doubted(stocked: Place) -> None:
    """What was attempted a moment ago may still take effect; by a wrong clock that is long past."""
    put_into(stocked, "uncertain", 1)
    stocked.sql("UPDATE workplace SET clock_at = '2036-01-01T00:00:00.000000Z'")
    stocked.run("deliveries", "resolve", "1", "--absent").refused(1, "artbot clock --accept")
    stocked.run("deliveries", "resolve", "1", "--posted").refused(0, "is done")


# Withdraw


def test_what_nobody_has_is_withdrawn_and_what_somebody_has_is_not(
    stocked: Place, consumer: Consumer
) -> None:
    stocked.run("deliveries", "withdraw", "1").refused(0, "1: ", "is withdrawn")
    assert stocked.run("publish").code == 0
    assert consumer.verdicts() == ["stored"]
    refused = stocked.run("deliveries", "withdraw", "1", "2", "99", "--json")
    assert refused.code == 1
    answer = json.loads(refused.out)
    assert [row["state"] for row in answer["withdrawn"]] == ["cancelled"]
    assert [error["id"] for error in answer["errors"]] == [2, 99]
    assert "cannot be taken back" in answer["errors"][0]["error"]
    assert states(stocked) == ["cancelled", "delivered"]
    assert stocked.json("show", "1")["state"] == "approved"


# Replay


def test_a_receiver_that_lost_everything_gets_it_again_and_one_that_did_not_knows_it(
    stocked: Place, consumer: Consumer
) -> None:
    assert stocked.run("publish").code == 0
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    replay = ["deliveries", "replay", "--channel", "example", "--since"]
    stocked.run(*replay, tomorrow).refused(0, "0 delivered to example since")
    answer = json.loads(stocked.run(*replay, yesterday, "--json").out)
    assert [(row["id"], row["state"]) for row in answer["due"]] == [(1, "queued"), (2, "queued")]
    assert stocked.run("publish").code == 0
    assert consumer.verdicts() == ["stored", "stored", "duplicate", "duplicate"]
    stocked.run("deliveries", "replay", "--channel", "x", "--since", yesterday).refused(
        2, "no channel 'x'. Channels: example"
    )
    stocked.run(*replay, "last week").refused(2, "'last week' is no time", "2026-11-21T07:00")
    assert "2026-11-21T07:00" in stocked.run("deliveries", "replay", "--help").out
    stocked.run(*replay, "0001-01-01", TZ="Europe/Berlin").refused(2, "Write one like 2026-11-21")
    stocked.run(*replay, "9999-12-31T23:00", TZ="America/New_York").refused(2, "Write one like")
    stocked.run("deliveries", "replay", "--channel", "example").refused(2, "--since")


# Channels


def test_a_paused_channel_waits_with_everything_until_it_is_resumed(
    stocked: Place, consumer: Consumer
) -> None:
    assert stocked.json("channels", "list") == [
        {
            "name": "example",
            "type": "webhook",
            "slots": [],
            "timezone": None,
            "state": "active",
            "reason": None,
            "since": None,
            "num_failures": 0,
            "rests_until": None,
        }
    ]
    assert "active; sends at once" in stocked.run("channels", "list").out
    pause = stocked.run("channels", "pause", "example", "--reason", "the server moves")
    pause.refused(0, "example is paused", "artbot channels resume example")
    listed = stocked.run("channels", "list")
    assert "paused since" in listed.out
    assert "the server moves" in listed.out
    assert "artbot channels resume example" in listed.err
    (row,) = stocked.json("channels", "list")
    assert (row["state"], row["reason"]) == ("paused", "the server moves")
    assert row["since"]
    stocked.run("publish").refused(0, "waiting for a channel that is stopped (example)")
    assert consumer.verdicts() == []
    status = stocked.run("status").out
    assert "is paused: the server moves; it holds 2 deliveries (artbot channels resume" in status
    assert ", the next " not in status
    stocked.run("deliveries", "retry", "1").refused(1, "waits for its channel", "the server moves")
    stocked.run("channels", "resume", "example").refused(0, "example is open")
    assert stocked.run("publish").code == 0
    assert consumer.verdicts() == ["stored", "stored"]


def test_what_waits_for_its_channel_is_never_called_due(stocked: Place) -> None:
    """Whatever is said of it: by then its channel is paused, rests, or is not configured any more."""
    put_into(stocked, "uncertain", 2)
    assert stocked.run("publish").code == 0
    stocked.run("channels", "pause", "example")
    paused = "example is paused (artbot channels resume example)"
    for command in (
        ("approve", "3"),
        ("deliveries", "resolve", "2", "--absent"),
        ("deliveries", "replay", "--channel", "example", "--since", "2026-01-01"),
    ):
        told = stocked.run(*command)
        told.refused(0, f"wait{'' if 'replay' in command else 's'}: {paused}")
        assert not any(words in told.err for words in ("now", "due", "artbot publish"))
    listed = stocked.run("deliveries", "list").out.splitlines()[1:]
    assert len(listed) == 3
    for line in listed:
        assert line.split()[3:6] == ["waiting", "-", "waits:"]
        assert paused in line
    assert f"  waits     {paused}" in stocked.run("deliveries", "show", "1").out
    stocked.run("channels", "resume", "example")
    assert stocked.run("deliveries", "list").out.splitlines()[1].split()[3:] == ["waiting", "now"]
    rests_until = datetime.now(UTC) + timedelta(minutes=20)
    stocked.sql(f"UPDATE channels SET rests_until = '{utc_text(rests_until)}'")
    rests = f"waits: example rests until {rests_until:%H:%M}"
    assert rests in stocked.run("deliveries", "list").out
    stocked.run("approve", "3").refused(0, rests)
    stocked.run("deliveries", "retry", "1").refused(0, "is due now")
    config = (stocked.root / "artbot.toml").read_text()
    stocked.configure(config.replace("[channels.example]", "[channels.other]"))
    assert "waits: artbot.toml has no channel example" in stocked.run("deliveries", "list").out
    for command in ("queue now", "deliveries retry"):
        stocked.run(*command.split(), "1").refused(
            1, "artbot.toml has no channel example, for which delivery 1 is: put [channels.example]"
        )
    told = stocked.run("queue").out
    assert "stopped   artbot.toml has no channel example, and 3 deliveries wait for it: put" in told
    assert "artbot deliveries withdraw 1 2 3" in told
    assert "nothing waits" not in told


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_a_channel_that_is_not_configured_is_not_known(stocked: Place, command: str) -> None:
    stocked.run("channels", command, "x").refused(2, "no channel 'x'. Channels: example")


def test_without_channels_the_list_says_how_to_get_one(place: Place) -> None:
    place.run("channels", "list").refused(0, "no channels: add a [channels.NAME] table")
    assert place.json("channels", "list") == []
    place.run("channels", "pause", "x").refused(2, "add a [channels.NAME] table")


def test_a_wrong_secret_stops_the_channel_and_once_mended_everything_goes_out(
    stocked: Place, consumer: Consumer
) -> None:
    secret = stocked.root / "secrets/webhook"
    right = secret.read_text()
    secret.write_text(SECRET)
    assert stocked.run("publish").code == 1
    assert states(stocked) == ["held", "queued"]
    (row,) = stocked.json("channels", "list")
    assert row["state"] == "paused"
    assert "it refuses our credentials: answered 401" in row["reason"]
    assert "same secret" in row["reason"]
    listed = stocked.run("deliveries", "list")
    assert "when example is mended: artbot channels resume example" in listed.err
    secret.write_text(right)
    resumed = stocked.run("channels", "resume", "example")
    resumed.refused(0, "example is open; 2 deliveries are due now")
    assert stocked.run("publish").code == 0
    assert consumer.verdicts()[-2:] == ["stored", "stored"]


def test_resume_says_of_everything_that_waits_what_goes_and_what_does_not(stocked: Place) -> None:
    stocked.run("approve", "3").refused(0)
    stocked.run("channels", "pause", "example")
    put_into(stocked, "held", 1)
    for state in ("sending", "failed"):
        put_into(stocked, state, 2)
    stocked.run("queue", "hold", "3")
    resumed = stocked.run("channels", "resume", "example")
    resumed.refused(
        0,
        "example is open; 1 delivery is due now",
        "on hold until you let go: artbot queue release 3",
        "when the cause is mended: artbot deliveries retry 2",
    )
    stocked.run("deliveries", "withdraw", "1", "2", "3").refused(0)
    stocked.run("channels", "resume", "example").refused(0, "is open; nothing waits for it")


def test_what_waits_for_its_picture_is_not_told_to_wait_for_its_channel(stocked: Place) -> None:
    (picture,) = stocked.root.glob("works/*/*-01.png")
    picture.rename(picture.with_suffix(".away"))
    assert stocked.run("publish").code == 1
    remedy = "daily-2026-11-21-01 waits for its picture: artbot reproduce 1 --restore"
    for command in ("deliveries list", "deliveries show 1", "channels resume example"):
        told = stocked.run(*command.split())
        told.refused(0, remedy)
        assert "when example is mended" not in told.err


def test_why_a_channel_stopped_stands_whole_once_and_short_in_lists(stocked: Place) -> None:
    why = "the server moves " + "and moves " * 40 + "again"
    stocked.run("channels", "pause", "example", "--reason", why)
    assert why in stocked.run("channels", "list").out
    for command in ("status", "queue", "doctor"):
        told = stocked.run(command).out
        assert "the server moves and moves" in told
        assert "moves…" in told
        assert why not in told


@pytest.mark.parametrize("command", ["publish", "daemon --once"])
def test_a_channel_without_its_secret_waits_and_the_others_send(
    stocked: Place, consumer: Consumer, command: str
) -> None:
    friends = '[channels.friends]\ntype = "webhook"\nurl = "https://example.org/"\n'
    stocked.configure(
        (stocked.root / "artbot.toml").read_text() + friends + 'secret_file = "secrets/friends"\n'
    )
    stocked.run("approve", "3").refused(0)
    result = stocked.run(*command.split())
    assert result.code == 1
    assert "secrets/friends cannot be read: No such file" in result.out + result.err
    assert consumer.verdicts() == ["stored"] * 3
    assert sorted(states(stocked)) == ["delivered"] * 3 + ["retry_wait"]


def test_a_channel_that_fails_again_and_again_rests_and_says_until_when(
    stocked: Place, consumer: Consumer
) -> None:
    consumer.process.kill()
    consumer.process.wait()
    for _ in range(3):  # twice two, and then one more
        stocked.run("deliveries", "retry", "1", "2")
        assert stocked.run("publish").code == 1
    (row,) = stocked.json("channels", "list")
    assert (row["state"], row["num_failures"] >= 5, bool(row["rests_until"])) == (
        "active",
        True,
        True,
    )
    assert "failures in a row: tries again at" in stocked.run("channels", "list").out

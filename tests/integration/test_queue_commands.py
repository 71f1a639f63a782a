"""`artbot queue`: what goes out when, read by a person, and moved, held back, let go by one."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from db.engine import open_database
from db.types import utc_text
from tests.conftest import Consumer, Place
from tests.unit.service.kit import add_works

FIRST = (datetime.now(UTC) + timedelta(hours=6)).replace(second=0, microsecond=0)
"""Slots are twelve hours apart; none comes while these tests run."""
KOLKATA = ZoneInfo("Asia/Kolkata")


def slot(number: int) -> datetime:
    return FIRST + number * timedelta(hours=12)


@pytest.fixture
def stocked(place: Place, consumer: Consumer) -> Place:
    """Four works that nobody had to paint, the first three approved for a receiver with two slots a day."""
    add_slots(place, consumer, "UTC")
    database = open_database(place.database_at)
    add_works(database, place.root / "works", 4)
    database.close()
    place.run("approve", "1", "2", "3").refused(0, f"is approved: example {in_words(slot(0))}")
    return place


def add_slots(place: Place, consumer: Consumer, zone: str) -> None:
    times = [f"{slot(n).astimezone(ZoneInfo(zone)):daily %H:%M}" for n in (0, 1)]
    keys = f'"webhook"\nslots = {json.dumps(times)}\ntimezone = "{zone}"\n'
    place.configure(
        (place.root / "artbot.toml").read_text() + consumer.channel().replace('"webhook"\n', keys)
    )


def in_words(at: datetime) -> str:
    """As it stands in a sentence."""
    days = (at.date() - datetime.now(UTC).date()).days
    return ("at ", "tomorrow ")[days] + f"{at:%H:%M}" if days < 2 else f"on {at:%a %-d %b %H:%M}"


def entries(place: Place, *options: str) -> list[tuple[str, int | None]]:
    (queue,) = place.json("queue", *options)
    return [(e["at"], e["delivery"] and e["delivery"]["id"]) for e in queue["entries"]]


def typed(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M}"


def test_the_queue_shows_every_slot_of_the_next_days_with_its_work_or_free(stocked: Place) -> None:
    assert entries(stocked, "--days", "2") == [
        (utc_text(slot(0)), 1),
        (utc_text(slot(1)), 2),
        (utc_text(slot(2)), 3),
        (utc_text(slot(3)), None),
    ]
    assert len(entries(stocked)) == 28, "fourteen days"
    shown = stocked.run("queue", "--days", "2")
    shown.refused(0, "no daemon is running")
    lines = shown.out.splitlines()
    assert lines[0] == f"{slot(0):%a %-d %b}"
    works = [line for line in lines if "daily-2026-11-21" in line]
    assert works[0] == f"  {slot(0):%H:%M}  1  daily-2026-11-21-01  No. 1, 2026-11-21"
    assert len(works) == 3
    assert [line for line in lines if "free" in line] == [f"  {slot(3):%H:%M}     · free"]
    going = stocked.run("status").out
    assert f"going out   3, the next {in_words(slot(0))}: artbot queue" in going
    stocked.run("publish").refused(
        0, f"nothing is due yet: 3 waiting, the next goes out {in_words(slot(0))}."
    )


def test_times_are_those_of_the_channels_zone_which_is_said_once(
    stocked: Place, consumer: Consumer
) -> None:
    text = (stocked.root / "artbot.toml").read_text()
    stocked.configure(text[: text.index("\n[channels.example]")])
    add_slots(stocked, consumer, "Asia/Kolkata")
    lines = stocked.run("queue", "--days", "1").out.splitlines()
    assert lines[0] == "Times are those of Asia/Kolkata."
    assert f"{slot(0).astimezone(KOLKATA):  %H:%M}  1  daily-2026-11-21-01" in "\n".join(lines)
    there = (slot(0) + timedelta(hours=1)).astimezone(KOLKATA)
    moved = stocked.run("queue", "move", "1", "--to", typed(there))
    moved.refused(0, f"{there:%H:%M} (Asia/Kolkata)")
    assert stocked.json("deliveries", "show", "1")["next_at"] == utc_text(there.astimezone(UTC))
    assert "Asia" not in stocked.run("queue", "--days", "1", TZ="Asia/Kolkata").out
    told = f"{there:%H:%M} (Asia/Kolkata)"
    assert told in stocked.run("deliveries", "list").out
    assert told in stocked.run("deliveries", "show", "1").out
    assert f"{there:%H:%M}" in stocked.run("deliveries", "list", TZ="Asia/Kolkata").out
    for command, stream in (("status", "out"), ("publish", "err")):
        said = getattr(stocked.run(command), stream)
        assert told in said, "it goes out first"
        assert "Asia" not in getattr(stocked.run(command, TZ="Asia/Kolkata"), stream)
    stocked.run("approve", "4").refused(0, f"{slot(2).astimezone(KOLKATA):%H:%M} (Asia/Kolkata)")


def test_a_work_is_moved_to_the_next_free_slot_or_to_a_time(stocked: Place) -> None:
    stocked.run("queue", "move", "1", "--to", "next").refused(
        0, f"1: daily-2026-11-21-01 to example goes out {in_words(slot(3))} (UTC)"
    )
    stocked.run("queue", "move", "3", "--to", typed(slot(1))).refused(
        1, "that time of example is taken by delivery 2 (daily-2026-11-21-02)", "move 3 --to next"
    )
    minute_before = slot(0) - timedelta(minutes=1)
    stocked.run(
        "queue", "move", "3", "--to", f"{minute_before:%H:%M}", "--reason", "early"
    ).refused(0, f"goes out {in_words(minute_before)}")
    weekday = f"{slot(4):%a %H:%M}"
    answer = json.loads(stocked.run("queue", "move", "2", "--to", weekday, "--json").out)
    assert [row["next_at"] for row in answer["moved"]] == [utc_text(slot(4))]
    assert entries(stocked, "--days", "2") == [
        (utc_text(minute_before), 3),
        (utc_text(slot(0)), None),
        (utc_text(slot(1)), None),
        (utc_text(slot(2)), None),
        (utc_text(slot(3)), 1),
    ]
    shown = stocked.run("queue", "--days", "2").out
    assert "No. 3, 2026-11-21 (outside the slots)" in shown
    far_off = f"{slot(4):%a %-d %b %H:%M}"
    assert f"later     2  daily-2026-11-21-02 to example, {far_off}" in shown
    (entry,) = stocked.json("deliveries", "show", "3")["interventions"]
    assert (entry["act"], entry["via"]) == ("move", "cli")
    assert entry["reason"].endswith("UTC: early")


def test_a_time_years_ahead_is_said_with_its_year(stocked: Place) -> None:
    year = slot(0).year + 2
    stocked.run("queue", "move", "1", "--to", f"24 dec {year} 18:00").refused(
        0, f"goes out on 24 Dec {year} 18:00 (UTC)"
    )
    told = f"later     1  daily-2026-11-21-01 to example, 24 Dec {year} 18:00"
    assert told in stocked.run("queue").out
    assert f"24 Dec {year} 18:00" in stocked.run("deliveries", "list").out
    moved = json.loads(stocked.run("queue", "move", "1", "--to", "24 dec 18:00", "--json").out)
    (row,) = moved["moved"]
    assert row["next_at"][4:16] == "-12-24T18:00"
    assert utc_text(datetime.now(UTC)) < row["next_at"] < f"{year}"


def test_what_is_no_time_to_come_is_refused(stocked: Place) -> None:
    for to, words in (
        (
            "soon",
            '\'soon\' is no time. Write next, 18:30, "thu 18:30", "24 dec 18:30" or 2026-11-24T18:30',
        ),
        ("30 feb 10:00", "'30 feb 10:00' is no time"),
        ("25:00", "'25:00' is no time"),
        ("thursday 18:30", "'thursday 18:30' is no time"),
        ("2026-11-24", "'2026-11-24' is no time"),
        ("2026-11-24T18:30+01:00", "is no time"),
        ("2020-01-01T10:00", "that time is past. To send it now: artbot queue now 1"),
    ):
        stocked.run("queue", "move", "1", "--to", to).refused(2, words)
    text = (stocked.root / "artbot.toml").read_text()
    stocked.configure(text.replace('timezone = "UTC"', 'timezone = "Asia/Kolkata"'))
    stocked.run("queue", "move", "1", "--to", "0001-01-01T00:00").refused(2, "no such time in UTC")
    assert stocked.json("deliveries", "show", "1")["interventions"] == []


def test_what_is_on_hold_is_said_everywhere_and_not_sent(
    stocked: Place, consumer: Consumer
) -> None:
    stocked.run("queue", "hold", "1", "2", "3", "--reason", "too dark").refused(
        0, "1: daily-2026-11-21-01 to example waits: on hold (artbot queue release 1)"
    )
    stocked.sql(f"UPDATE deliveries SET next_at = '{utc_text(datetime.now(UTC))}'")
    stocked.run("publish").refused(0, "nothing approved is waiting", "3 on hold: artbot queue")
    assert consumer.verdicts() == []
    shown = stocked.run("queue", "--days", "1").out
    assert "on hold   1  daily-2026-11-21-01 to example: too dark (artbot queue release 1)" in shown
    assert "going out   0, and 3 on hold" in stocked.run("status").out
    assert "on hold" in stocked.run("deliveries", "list").out.splitlines()[1]
    assert (
        stocked.run("deliveries", "show", "1").out.splitlines()[0].endswith("to example, on hold")
    )
    assert "to example: on hold (delivery 1, " in stocked.run("show", "1").out
    told = stocked.run("explain", "1").out.splitlines()
    assert "hold          example by " in told[-2]
    assert told[-2].endswith(": too dark")
    assert told[-1].endswith("on hold       to example, until it is released")
    doctor = stocked.run("doctor").out
    assert "has been due since" not in doctor

    stocked.run("queue", "hold", "1", "--reason", "too bright").refused(0)
    stocked.run("queue", "hold", "1").refused(0)
    assert "to example: too bright (artbot" in stocked.run("queue", "--days", "1").out
    assert stocked.run("explain", "1").out.count(": too ") == 2
    stocked.run("queue", "release", "2", "3").refused(
        0,
        f"2: daily-2026-11-21-02 to example goes out {in_words(slot(0))} (UTC)",
        f"3: daily-2026-11-21-03 to example goes out {in_words(slot(1))} (UTC)",
    )
    answer = json.loads(stocked.run("queue", "now", "1", "--json").out)
    assert [(row["id"], row["on_hold"]) for row in answer["due"]] == [(1, False)]
    stocked.run("publish").refused(0, "daily-2026-11-21-01 to example: delivered")
    assert consumer.verdicts() == ["stored"]
    refused = stocked.run("queue", "hold", "1", "2", "99", "--json")
    assert refused.code == 1
    answer = json.loads(refused.out)
    assert [row["id"] for row in answer["on_hold"]] == [2]
    assert [error["id"] for error in answer["errors"]] == [1, 99]
    assert "delivery 1 is delivered: only what waits" in answer["errors"][0]["error"]


def test_after_a_long_pause_one_work_goes_out_and_the_queue_says_where_the_others_went(
    stocked: Place, consumer: Consumer
) -> None:
    stocked.run("channels", "pause", "example", "--reason", "holiday")
    long_ago = datetime.now(UTC) - timedelta(days=3)
    stocked.sql(f"UPDATE deliveries SET next_at = '{utc_text(long_ago)}'")
    stocked.sql("UPDATE deliveries SET state = 'held' WHERE id = 1")
    shown = stocked.run("queue", "--days", "1").out
    assert "due       2  daily-2026-11-21-02 to example, since " in shown
    assert (
        "stopped   example is paused: holiday; it holds 1 delivery (artbot channels resume example)"
        in shown
    )
    stocked.run("channels", "resume", "example").refused(
        0,
        "example is open; 1 delivery is due now; "
        f"2 more wait, the first goes out {in_words(slot(0))}: artbot queue",
    )
    assert entries(stocked, "--days", "1") == [(utc_text(slot(0)), 1), (utc_text(slot(1)), 3)]
    assert stocked.run("publish").code == 0
    assert consumer.verdicts() == ["stored"]
    assert "its time passed while nothing could be sent" in stocked.run("explain", "3").out
    assert "its time passed while it was held" in stocked.run("explain", "1").out


def test_a_work_whose_picture_is_back_takes_the_next_free_slot(stocked: Place) -> None:
    stocked.sql(f"UPDATE deliveries SET next_at = '{utc_text(datetime.now(UTC))}' WHERE id = 1")
    (picture,) = stocked.root.glob("works/*/*-01.png")
    away = picture.rename(picture.with_suffix(".away"))
    assert stocked.run("publish").code == 1
    away.rename(picture)
    assert stocked.run("reproduce", "1", "--restore").code == 0
    assert entries(stocked, "--days", "1") == [(utc_text(slot(0)), 1), (utc_text(slot(1)), 2)]


def test_the_doctor_minds_no_slot_however_far_ahead_and_no_time_that_a_person_gave(
    stocked: Place,
) -> None:
    far = datetime.now(UTC) + timedelta(days=90)
    stocked.run("queue", "move", "1", "--to", typed(far)).refused(0, "goes out on")
    stocked.sql(f"UPDATE deliveries SET next_at = '{utc_text(far)}' WHERE id = 2")
    assert "is not tried before" not in stocked.run("doctor").out
    text = (stocked.root / "artbot.toml").read_text()
    stocked.configure(re.sub(r"\nslots = .*", "", text))
    doctor = stocked.run("doctor").out
    assert re.search(r"note   times to come: .* to example still waits? for slots", doctor)
    remedy = re.search(r"artbot queue now ([\d ]+), or artbot queue move", doctor)
    assert remedy is not None
    assert "2" in remedy[1].split(), "the other slots may be near or far at this time of day"
    assert "1" not in remedy[1].split(), "a person gave it that time"
    stocked.run("queue", "move", "1", "--to", "next").refused(1, "example has no slots")
    assert "· free" not in stocked.run("queue").out


def test_without_channels_or_works_it_says_so(place: Place) -> None:
    place.run("queue").refused(0, "no channels: add a [channels.NAME] table")
    assert place.json("queue") == []
    place.run("queue", "--channel", "x").refused(2, "there is no channel 'x'")
    place.run("queue", "hold", "1").refused(2, "there is no delivery 1")
    place.run("queue", "move", "1").refused(2, "--to")

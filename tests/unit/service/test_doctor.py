"""What the doctor finds, and what it must not take for a fault. As a person meets it: test_upkeep.py."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from artbot.config import load_settings
from artbot.init import make_workplace
from artbot.publishing import queue
from artbot.publishing.channels import open_channel, settings_models
from artbot.publishing.channels.gallery import GallerySender
from artbot.review.decisions import approve, expire, give_stars, put_off, redo, reject, undo
from artbot.upkeep import copying
from artbot.upkeep.doctor import SILENT, Finding, check_logs, examine
from artbot.worker import hold_epoch, hold_worker
from artbot.workplace import Workplace
from db.engine import Database, database_url, make_engine, migrate
from db.models import Attempt, Base, Candidate, ChannelStatus, Delivery, WorkplaceRow
from tests.conftest import on_sqlite_only
from tests.contract.peers.fediverse import Fediverse, Manner
from tests.contract.peers.serving import serving
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    SetClock,
    a_batch,
    a_checkpoint,
    add_works,
    answers,
    http_answer,
    move,
    put,
    serve,
    write_checkpoint,
)

CONFIG = """
[schedules.daily]
at = "07:00"
timezone = "UTC"
candidates = 24
[channels.studio]
type = "webhook"
url = "https://example.org/artbot"
secret_file = "secrets/webhook"
"""
SINCE_MORNING = timedelta(hours=5)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def workplace(tmp_path: Path, database_at: Path | str, clock: SetClock) -> Workplace:
    """With a schedule, a channel, and an empty database; nobody is at work."""
    root = tmp_path / "studio"
    make_workplace(root)
    where = f'[paths]\ndatabase = "{database_at}"\n'
    (root / "artbot.toml").write_text(where + CONFIG)
    opened = Workplace(
        load_settings(root, settings_models()), clock, lambda: ("boot", clock.now.timestamp())
    )
    opened.open_database()
    return opened


def problems(workplace: Workplace, title: str) -> list[str]:
    return {f.title: f.problems for f in examine(workplace, is_quick=True)}[title]


def finding(workplace: Workplace, title: str) -> Finding:
    return next(f for f in examine(workplace, is_quick=True) if f.title == title)


def desk_of(workplace: Workplace, clock: SetClock) -> Desk:
    return Desk(workplace.database, workplace.settings.works, clock)


def change(database: Database, statement: str) -> None:
    """Past everything that would refuse it."""
    with database.write() as session:
        if database.is_sqlite:
            for (name,) in session.execute(
                text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            ).all():
                session.execute(text(f"DROP TRIGGER {name}"))
            session.execute(text("PRAGMA defer_foreign_keys=ON"))
        else:
            for table in Base.metadata.tables:
                session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
        session.execute(text(statement))


# Nobody is at work


def test_children_that_were_asked_for_and_are_not_painted_are_told(
    workplace: Workplace, clock: SetClock
) -> None:
    add_works(workplace.database, workplace.settings.works)
    with workplace.database.write() as session:
        first = session.get_one(Candidate, 1)
        facts = {n: getattr(first, n) for n in ("batch_id", "checkpoint_sha256", "recipe")}
        child = Candidate(**facts, index=2, name="two", seed=1, parent_id=1, planned_at=NOON)
        child.state = "planned"
        session.add(child)
    assert problems(workplace, "due work") == []
    clock.advance(hours=2)
    told = "1 asked for besides in daily-2026-11-21 not painted since 2026-11-21 12:00 UTC"
    assert problems(workplace, "due work") == [f"{told}, and nobody is at work"]


def test_a_delivery_that_is_overdue_is_told_although_nobody_is_at_work(
    workplace: Workplace, clock: SetClock
) -> None:
    """That may be why."""
    desk_of(workplace, clock).approve_one()
    assert problems(workplace, "due work") == []
    clock.advance(hours=3)
    found = finding(workplace, "due work")
    assert found.problems == [
        "delivery 1 to studio has been due since 2026-11-21 12:00 UTC, and nobody is at work"
    ]
    assert found.remedies[0].startswith("start the daemon: artbot daemon")
    with hold_worker(workplace.settings.lock, "test"):
        (told,) = problems(workplace, "due work")
        assert told.endswith("12:00 UTC")


def test_days_that_went_by_without_a_row_are_told_although_nobody_is_at_work(
    workplace: Workplace, clock: SetClock
) -> None:
    add_works(workplace.database, workplace.settings.works)
    assert problems(workplace, "days") == []
    clock.advance(days=2)
    found = finding(workplace, "days")
    assert found.problems == [
        "daily has no row for 2026-11-22, and nobody is at work",
        "daily has no row for 2026-11-23, and nobody is at work",
    ]
    assert found.remedies[0].startswith("start the daemon: artbot daemon")


def test_the_day_that_has_just_come_is_left_to_the_daemon(
    workplace: Workplace, clock: SetClock
) -> None:
    add_works(workplace.database, workplace.settings.works)
    clock.now = NOON.replace(day=22, hour=7, minute=30)
    assert problems(workplace, "days") == []


@pytest.mark.parametrize("state", ["planned", "generating"])
def test_a_batch_that_is_left_lying_is_told(
    workplace: Workplace, clock: SetClock, state: str
) -> None:
    with workplace.database.write() as session:
        session.add(a_checkpoint())
        session.flush()
        batch = a_batch(state=state)
        batch.reason = "no generator" if state == "planned" else None
        put(session, batch)
    assert problems(workplace, "days") == []
    clock.advance(hours=2)
    reason = ": no generator" if state == "planned" else ""
    assert problems(workplace, "days") == [
        f"batch daily-2026-11-21 is still {state}{reason}, and nobody is at work"
    ]
    with hold_worker(workplace.settings.lock, "test"):
        assert problems(workplace, "days") == [], "it may be at it"


def test_a_delivery_whose_sender_was_killed_is_told(workplace: Workplace, clock: SetClock) -> None:
    desk_of(workplace, clock).approve_one()
    with workplace.database.write() as session:
        session.get_one(Delivery, 1).state = "sending"
        session.add(Attempt(delivery_id=1, started_at=clock(), body_sha256="c" * 64))
    assert problems(workplace, "due work") == []
    clock.advance(hours=2)
    assert problems(workplace, "due work") == [
        "delivery 1 to studio was cut off while it was sent, and nobody is at work"
    ]


def test_what_waits_for_a_channel_that_is_gone_is_told(
    workplace: Workplace, clock: SetClock
) -> None:
    desk_of(workplace, clock).approve_one()
    toml = workplace.settings.root / "artbot.toml"
    toml.write_text(toml.read_text().replace("[channels.studio]", "[channels.atelier]"))
    renamed = Workplace(load_settings(workplace.settings.root, settings_models()), clock)
    found = finding(renamed, "waiting for you")
    assert found.problems == ["for channel studio, which artbot.toml does not have: 1 delivery"]
    assert found.remedies == [
        "put [channels.studio] into artbot.toml again, or: artbot deliveries withdraw 1"
    ]


# What waits for a person, and what helps by its name


def test_of_a_stopped_channel_the_one_command_that_helps_is_named(
    workplace: Workplace, clock: SetClock
) -> None:
    """What it holds waits for it, and is no need of its own."""
    desk = desk_of(workplace, clock)
    for work in add_works(desk.database, desk.works, 3):
        approve(desk.review, work, ANNA)
    with workplace.database.write() as session:
        move(session, session.get_one(Delivery, 1), "held")
        put(
            session,
            ChannelStatus(name="studio", state="paused", reason="401", changed_at=NOON),
        )
    found = finding(workplace, "waiting for you")
    assert found.problems == ["channel studio is paused: 401; it holds 3 deliveries"]
    assert found.remedies == ["artbot channels resume studio"]


@pytest.mark.parametrize(
    ("state", "remedy"),
    [
        ("uncertain", "look, then: artbot deliveries resolve 1 --posted, or --absent"),
        ("failed", "artbot deliveries retry 1"),
        ("dead", "artbot deliveries retry 1"),
        ("held", "artbot deliveries retry 1"),
    ],
)
def test_of_a_delivery_that_waits_for_a_person_its_own_command_is_named(
    workplace: Workplace, clock: SetClock, state: str, remedy: str
) -> None:
    desk_of(workplace, clock).approve_one()
    with workplace.database.write() as session:
        move(session, session.get_one(Delivery, 1), state)
        session.get_one(Delivery, 1).last_error = "422"
    found = finding(workplace, "waiting for you")
    assert found.problems == [f"delivery 1: daily-2026-11-21-01 to studio is {state}: 422"]
    assert found.remedies == [remedy]


def test_where_works_is_not_mounted_that_is_told_once_with_what_comes_first(
    workplace: Workplace,
) -> None:
    works = workplace.settings.works
    add_works(workplace.database, works, 8)
    works.rename(works.with_name("elsewhere"))
    found = finding(workplace, "pictures")
    assert found.problems == [
        f"{works / 'daily-2026-11-21'} is not there, and so the pictures of 8 works"
    ]
    (remedy,) = found.remedies
    assert remedy.startswith(f"if {works} lies on a disk of its own, mount it first")


def test_each_channel_without_its_secret_is_told_with_where_to_put_it(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workplace.settings.root
    (root / "secrets/webhook").unlink()
    monkeypatch.delenv("HOOK", raising=False)
    toml = root / "artbot.toml"
    table = '[channels.friends]\ntype = "webhook"\nurl = "https://example.org"\nsecret_env = "HOOK"'
    toml.write_text(f"{toml.read_text()}{table}\n")
    again = Workplace(load_settings(root, settings_models()), workplace.clock)
    found = finding(again, "channels' secrets")
    assert [problem.split(":")[0] for problem in found.problems] == [
        "channels.studio",
        "channels.friends",
    ]
    assert found.remedies[0].endswith(
        "artbot channels secret studio --add v1 (or v1a), for the receiver as well"
    )
    assert found.remedies[1] == "set HOOK where the daemon is started"


@on_sqlite_only
def test_a_secret_that_cannot_be_one_is_to_be_mended_where_it_stands(workplace: Workplace) -> None:
    secret = workplace.settings.root / "secrets/webhook"
    secret.write_text("hunter2\n")
    found = finding(workplace, "channels' secrets")
    assert "line 1" in found.problems[0]
    assert found.remedies == [f"mend {secret}, then: artbot channels test studio"]


@on_sqlite_only
def test_receivers_are_asked_only_when_told_to_and_sent_nothing(
    workplace: Workplace, clock: SetClock
) -> None:
    """What is not wrong makes nobody ill; what is has the remedy of its kind."""
    root = workplace.settings.root
    fediverse = Fediverse(Manner.MASTODON)
    with serving(fediverse.answer) as fediverse.url, serve(answers(http_answer(204))) as studio:
        table = fediverse.table(fediverse.url, root)
        (root / "wrong").write_text("another token")
        (root / "wrong").chmod(0o600)
        tables = {
            "studio": {"type": "webhook", "url": studio.url, "secret_file": "secrets/webhook"},
            "lonely": {"type": "webhook", "url": "http://127.0.0.1:1/", "secret_env": "NO_HOOK"},
            "away": {
                "type": "webhook",
                "url": "http://127.0.0.1:1/",
                "secret_file": "secrets/webhook",
            },
            "fedi": table,
            "expired": {**table, "secret_file": "wrong"},
        }
        (root / "artbot.toml").write_text(
            "".join(
                f"[channels.{name}]\nallow_private = true\n"
                + "".join(
                    f'{key} = "{value}"\n' for key, value in table.items() if value is not True
                )
                for name, table in tables.items()
            )
        )
        opened = Workplace(load_settings(root, settings_models()), clock)
        found = {
            finding.title: finding
            for finding in examine(opened, is_quick=True, is_online=True)
            if finding.title.startswith("channel ")
        }
        assert not [f for f in examine(opened, is_quick=True) if f.title.startswith("channel ")]
    assert list(found) == ["channel studio", "channel away", "channel fedi", "channel expired"]
    assert (found["channel studio"].problems, studio.requests) == ([], [])
    (away,) = found["channel away"].remedies
    assert "is [channels.away] right (the address, http or https, allow_private)?" in away
    assert found["channel fedi"].problems == []
    (remark,) = found["channel fedi"].remarks
    assert "This is an automated account" in remark
    (expired,) = found["channel expired"].problems
    assert expired.startswith("answered 401 Unauthorized: ")
    assert found["channel expired"].remedies == [
        f"the secret that docs/channels/mastodon.md tells of goes into {root / 'wrong'}, with chmod 600; "
        "then: artbot channels test expired"
    ]


@on_sqlite_only
def test_a_channel_that_cannot_be_tested_makes_nobody_ill(
    workplace: Workplace, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(GallerySender, "check")
    root = workplace.settings.root
    (root / "artbot.toml").write_text(
        '[channels.site]\ntype = "gallery"\nurl = "https://art.example.org"\npath = "site"\n'
    )
    opened = Workplace(load_settings(root, settings_models()), clock)
    (found,) = (f for f in examine(opened, is_online=True) if f.title == "channel site")
    assert (found.problems, found.remarks) == ([], [])
    assert "has nothing to test" in open_channel(opened.settings, "site").test(NOON)


@pytest.mark.parametrize(
    ("asked", "told", "remedy"),
    [
        (
            'dataset = "flower"',
            "Did you mean flowers?",
            "mend `dataset` under [schedules.daily] in artbot.toml, or: artbot train --dataset flower",
        ),
        (
            'checkpoint = "flowers-00012"',
            "Did you mean flowers-000120?",
            "name another `checkpoint` under [schedules.daily] in artbot.toml: artbot checkpoints",
        ),
        (
            'class = "tulip"',
            "flowers-000120: the schedule asks for class 'tulip'; it was trained without classes",
            "mend `class` under [schedules.daily] in artbot.toml, or: artbot train --dataset NAME "
            "--classes",
        ),
    ],
)
def test_a_schedule_that_nothing_can_paint_is_found(
    workplace: Workplace, asked: str, told: str, remedy: str
) -> None:
    write_checkpoint(workplace.settings.checkpoints)
    found = finding(asking(workplace, asked), "generator")
    assert len(found.problems) == 1
    assert found.problems[0].startswith("schedule daily: ")
    assert told in found.problems[0]
    assert found.remedies == [remedy]


def asking(workplace: Workplace, line: str) -> Workplace:
    """The same, with that line in its schedule."""
    toml = workplace.settings.root / "artbot.toml"
    toml.write_text(toml.read_text().replace("candidates = 24", f"candidates = 24\n{line}"))
    return Workplace(
        load_settings(workplace.settings.root, settings_models()), workplace.clock, workplace.boot
    )


def test_without_any_generator_the_only_data_set_there_is_is_named(workplace: Workplace) -> None:
    (workplace.settings.datasets / "birds").mkdir()
    found = finding(workplace, "generator")
    assert "no checkpoint in" in found.problems[0]
    assert found.remedies == ["artbot train --dataset birds"]


# The worker


# On PostgreSQL leases are by the server's clock, which is not to be set.


def work_for(workplace: Workplace, clock: SetClock, silent: timedelta) -> list[str]:
    """What is said of a worker that began now and then was silent."""
    with (
        hold_worker(workplace.settings.lock, "publish"),
        hold_epoch(workplace.database, "publish", clock, workplace.settings.root, workplace.lease),
    ):
        clock.advance(seconds=silent.total_seconds())
        found = problems(workplace, "worker")
        clock.advance(seconds=-silent.total_seconds())
    return found


@on_sqlite_only
def test_a_worker_that_begins_after_days_of_rest_is_not_taken_for_stuck(
    workplace: Workplace, clock: SetClock
) -> None:
    """`artbot publish` looks at no clock; what the last daemon saw is days old."""
    workplace.keep_working()
    with workplace.database.write() as session:
        session.get_one(WorkplaceRow, 1).leased_until = None
    clock.advance(days=3)
    assert work_for(workplace, clock, timedelta()) == []
    assert work_for(workplace, clock, SILENT) == []


@on_sqlite_only
def test_a_worker_that_shows_no_life_is_told(workplace: Workplace, clock: SetClock) -> None:
    assert work_for(workplace, clock, timedelta()) == []
    (told,) = work_for(workplace, clock, SILENT + timedelta(minutes=5))
    assert "has shown no life for 20 minutes" in told
    assert "artbot publish" in told


# What clocks say about the past is no fault


def test_a_picture_painted_before_it_was_planned_is_none_of_the_doctors_business(
    workplace: Workplace,
) -> None:
    """NTP took two seconds back in between."""
    (work,) = add_works(workplace.database, workplace.settings.works)
    with workplace.database.write() as session:
        session.get_one(Candidate, work).rendered_at = NOON - timedelta(seconds=2)
    assert check_logs(workplace.database) == []


def test_a_delivery_made_before_its_approval_by_the_clock_is_none_either(
    workplace: Workplace, clock: SetClock
) -> None:
    """Approved under a clock that ran ahead while there was no channel; when it was right, sent on its way."""
    desk = desk_of(workplace, clock)
    desk.channels = ()
    work = desk.approve_one()
    clock.advance(hours=-20)
    desk.channels = ("studio",)
    approve(desk.review, work, ANNA)
    assert check_logs(workplace.database) == []


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE candidates SET seed = 7 WHERE id = 1",
            "daily-2026-11-21-01 has a seed that its batch does not give it",
        ),
        (
            "UPDATE candidates SET state = 'rejected' WHERE id = 2",
            "candidate 2 is rejected, and the log does not say why",
        ),
        (
            "UPDATE candidates SET state = 'approved', approved_at = '2026-11-21T12:00:00.000000Z' "
            "WHERE id = 2",
            "candidate 2 is approved, and the log does not say why",
        ),
        (
            "UPDATE decisions SET was = 'planned' WHERE id = 1",
            "candidate 1 is approved, and the log does not say why",
        ),
        (
            "UPDATE decisions SET image_sha256 = 'another' WHERE id = 1",
            "delivery 1 has no approval of its picture",
        ),
        (
            "UPDATE decisions SET channels = 'studio gone' WHERE id = 1",
            "daily-2026-11-21-01 was approved for gone, and has no delivery there",
        ),
        (
            "UPDATE candidates SET stars = 3 WHERE id = 2",
            "candidate 2 has 3 stars, and the log does not say why",
        ),
        (
            "UPDATE decisions SET stars = 1 WHERE id = 1",
            "candidate 1 has no stars, and the log does not say why",
        ),
    ],
)
def test_rows_that_were_changed_past_artbot_are_found(
    workplace: Workplace, clock: SetClock, statement: str, told: str
) -> None:
    one, _two = add_works(workplace.database, workplace.settings.works, 2)
    approve(desk_of(workplace, clock).review, one, ANNA)
    assert check_logs(workplace.database) == []
    change(workplace.database, statement)
    assert told in check_logs(workplace.database)


def test_whatever_was_decided_the_log_tells_it(workplace: Workplace, clock: SetClock) -> None:
    review = desk_of(workplace, clock).review
    one, two, three = add_works(workplace.database, workplace.settings.works, 3)
    give_stars(review, one, 2, ANNA)
    put_off(review, one, ANNA)
    approve(review, one, ANNA)
    give_stars(review, one, 0, ANNA)
    for act in (undo, undo, redo, redo, undo):
        act(review, one, ANNA)
    put_off(review, two, ANNA)
    reject(review, two, ANNA)
    clock.advance(days=8)
    expire(review, 7)
    for act in (undo, redo):
        act(review, three, ANNA)
    assert check_logs(workplace.database) == []
    with workplace.database.read() as session:
        states = [(row.state, row.stars) for row in session.query(Candidate)]
    assert sorted(states) == [("approved", 2), ("expired", 0), ("rejected", 0)]


def test_a_delivery_that_was_removed_is_missed(workplace: Workplace, clock: SetClock) -> None:
    desk = desk_of(workplace, clock)
    desk.channels = ("studio", "friends")
    desk.approve_one()
    assert check_logs(workplace.database) == []
    change(workplace.database, "DELETE FROM deliveries WHERE id = 1")
    found = check_logs(workplace.database)
    assert "daily-2026-11-21-01 was approved for studio, and has no delivery there" in found
    assert ("deliveries: 1 rows were removed" in found) == workplace.database.is_sqlite


def test_a_refusal_that_was_taken_out_of_the_database_is_missed(workplace: Workplace) -> None:
    of = "" if workplace.database.is_sqlite else " ON decisions"
    with workplace.database.write() as session:
        session.execute(text(f"DROP TRIGGER decisions_past{of}"))
    found = next(
        finding for finding in examine(workplace, is_quick=True) if finding.title == "database"
    )
    assert found.problems == [
        "its trigger decisions_past is gone: what that refuses is not refused any more"
    ]
    assert "restore" in found.remedies[0]


# Words


@pytest.mark.parametrize(
    ("texts", "channel", "told"),
    [
        (
            'alt = ""',
            "",
            "with the drafts of [texts] no work could go out (the alt text is missing",
        ),
        (
            f'alt = "{"x" * 10_001}"',
            "",
            "no work could go out (the alt text has 10,001 characters, 1 more than the 10,000",
        ),
        ("", "inline_limit_bytes = 10", "1 could not go to studio (the picture has"),
        (
            "",
            f'DISCORD{"x" * 2001}"',
            "1 could not go to talk (the text has 2,001 characters, 1 more",
        ),
    ],
)
def test_drafts_that_no_work_could_go_out_with_are_remarked_on(
    workplace: Workplace, texts: str, channel: str, told: str
) -> None:
    add_works(workplace.database, workplace.settings.works)
    assert finding(workplace, "drafts").remarks == []
    config = workplace.settings.root / "artbot.toml"
    if channel.startswith("DISCORD"):
        text_of = channel.removeprefix("DISCORD")
        channel = f'[channels.talk]\ntype = "discord"\nsecret_env = "X"\ntext = "{text_of}\n'
    config.write_text(f"{config.read_text()}{channel}\n[texts]\n{texts}\n")
    opened = Workplace(load_settings(workplace.settings.root, settings_models()), workplace.clock)
    found = finding(opened, "drafts")
    assert found.problems == []
    (remark,) = found.remarks
    assert told in remark
    assert "artbot.toml" in remark or "artbot channels preview 1" in remark


# Times that a wrong clock has left


def test_times_that_artbot_would_not_have_set_are_told(
    workplace: Workplace, clock: SetClock
) -> None:
    clock.advance(days=400)
    desk_of(workplace, clock).approve_one()
    clock.now = NOON
    with workplace.database.write() as session:
        session.add(ChannelStatus(name="studio", state="active", changed_at=NOON, num_failures=5))
    set_ahead(workplace, timedelta(hours=24))
    assert problems(workplace, "times to come") == [], "a receiver may ask for as long"
    set_ahead(workplace, timedelta(days=400))
    found = finding(workplace, "times to come")
    assert found.problems == [
        "delivery 1 is not tried before 2027-12-26",
        "channel studio rests until 2027-12-26",
    ]
    assert found.remedies == [
        "once the clock is right: artbot clock --accept; or artbot deliveries retry 1",
        "once the clock is right: artbot clock --accept; or artbot channels resume studio",
    ]


def test_works_that_wait_for_slots_of_a_table_that_was_changed_are_no_fault_of_the_clock(
    workplace: Workplace, clock: SetClock
) -> None:
    desk = desk_of(workplace, clock)
    works = add_works(desk.database, desk.works, 4)
    for work in works:
        approve(desk.review, work, ANNA)
    with workplace.database.write() as session:
        for number, hours in zip(works, (0, 2, 48, 200), strict=True):
            session.get_one(Delivery, number).next_at = NOON + timedelta(hours=hours)
    found = finding(workplace, "times to come")
    assert found.problems == []
    assert found.remarks == [
        "3 deliveries to studio still wait for slots, which [channels.studio] does not have any more: "
        "artbot queue now 2 3 4, or artbot queue move 2 3 4 --to TIME"
    ]
    without = asking(workplace, "")
    without.settings.channels.clear()
    assert finding(without, "times to come").remarks == [], "told of the channel"


def test_a_work_that_a_wrong_clock_let_go_is_the_clocks_fault(
    workplace: Workplace, clock: SetClock
) -> None:
    number = desk_of(workplace, clock).approve_one()
    queue.hold(workplace.database, number, BEN, clock())
    clock.advance(days=30)
    queue.release(workplace.database, {}, number, BEN, clock())
    clock.now = NOON
    assert problems(workplace, "times to come") == [
        f"delivery {number} is not tried before 2026-12-21"
    ]


def set_ahead(workplace: Workplace, by: timedelta) -> None:
    with workplace.database.write() as session:
        session.get_one(Delivery, 1).next_at = NOON + by
        session.get_one(ChannelStatus, "studio").rests_until = NOON + by


def test_a_delivery_sent_in_the_future_is_told_until_a_person_says_that_the_clock_is_right(
    workplace: Workplace, clock: SetClock
) -> None:
    desk_of(workplace, clock).approve_one()
    with workplace.database.write() as session:
        session.get_one(Delivery, 1).state = "uncertain"
        session.add(
            Attempt(
                delivery_id=1,
                started_at=NOON + timedelta(days=30),
                body_sha256="c" * 64,
                outcome="unknown",
            )
        )
    assert problems(workplace, "times to come") == ["delivery 1 was sent on 2026-12-21"]
    workplace.accept_clock(BEN)
    assert problems(workplace, "times to come") == []


@on_sqlite_only
def test_a_backup_dated_in_the_future_does_not_count(workplace: Workplace, clock: SetClock) -> None:
    add_works(workplace.database, workplace.settings.works)
    clock.advance(days=5)
    backups = workplace.settings.backups
    backups.mkdir()
    (backups / "artbot-20361121T120000Z.sqlite3").write_bytes(b"made under a wrong clock")
    assert problems(workplace, "backups") == [f"there is no backup in {backups}"]
    (backups / "artbot-20261123T000000Z.sqlite3").write_bytes(b"old")
    assert problems(workplace, "backups") == [
        "the newest backup, artbot-20261123T000000Z.sqlite3, is 4 days old"
    ]


# Secrets


def test_a_secret_in_a_row_is_found_on_either_database(
    workplace: Workplace, clock: SetClock
) -> None:
    secret = (workplace.settings.root / "secrets/webhook").read_text().strip()
    desk_of(workplace, clock).approve_one()
    assert problems(workplace, "secrets kept out") == []
    with workplace.database.write() as session:
        session.get_one(Delivery, 1).last_error = f"401 for {secret.removeprefix('whsec_')}"
    (told,) = problems(workplace, "secrets kept out")
    assert told == "a secret stands in the table deliveries"


@on_sqlite_only
def test_a_secret_that_was_overwritten_is_found_in_the_bytes_of_the_file(
    workplace: Workplace, clock: SetClock
) -> None:
    secret = (workplace.settings.root / "secrets/webhook").read_text().strip()
    desk_of(workplace, clock).approve_one()
    path = workplace.settings.database
    assert isinstance(path, Path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete=OFF")  # as some builds have it
        for words in (secret + "-" * 2000, None):
            with connection:
                connection.execute("UPDATE candidates SET caption = ?", (words,))
    assert secret.encode() in path.read_bytes(), "SQLite leaves it in the free part of a page"
    assert problems(workplace, "secrets kept out") == [f"a secret stands in {path}"]


# It reads a copy


@on_sqlite_only
def test_the_doctor_changes_nothing_not_even_an_old_schema(
    workplace: Workplace, database_at: Path
) -> None:
    workplace.close()
    database_at.unlink()
    engine = make_engine(database_url(database_at))
    migrate(engine, "0001")
    engine.dispose()
    before = {p: p.read_bytes() for p in database_at.parent.iterdir()}
    fresh = Workplace(workplace.settings, workplace.clock, workplace.boot)
    assert problems(fresh, "database") == []
    assert problems(fresh, "rows") == []
    assert {p: p.read_bytes() for p in database_at.parent.iterdir()} == before


@on_sqlite_only
@pytest.mark.parametrize("content", [b"dear diary, " * 1000, b""])
def test_of_a_database_that_cannot_be_read_that_alone_is_told_with_the_way_out(
    workplace: Workplace, database_at: Path, content: bytes
) -> None:
    workplace.close()
    database_at.write_bytes(content)
    (workplace.settings.works / "generators").mkdir()
    fresh = Workplace(workplace.settings, workplace.clock, workplace.boot)
    found = list(examine(fresh, is_quick=True))
    titles = [f.title for f in found]
    assert titles == ["disk space", "channels' secrets", "signing", "review page", "database"]
    assert found[-1].problems
    assert "artbot db restore FILE" in found[-1].remedies[0]
    backup = workplace.settings.backups / "artbot-20261121T110000Z.sqlite3"
    backup.parent.mkdir()
    backup.write_bytes(b"")
    assert finding(fresh, "database").remedies == [
        f"artbot db restore {backup} (others: artbot db list)"
    ]


@on_sqlite_only
def test_without_room_for_a_copy_that_is_told_and_no_restore_advised(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(workplace.settings.root)
    monkeypatch.setattr(copying.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    found = finding(workplace, "database")
    assert "no room for one: 0 MB are free" in found.problems[0]
    assert found.remedies[0].endswith("TMPDIR=FOLDER artbot doctor")

"""What `artbot status` says of made-up workplaces. By commands: test_commands.py, test_delivery_commands.py."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from artbot.cli.publish import what_waits
from artbot.cli.status import lines_of
from artbot.config import load_settings
from artbot.domain.delivery import FOR_EVER
from artbot.init import make_workplace
from artbot.publishing.channels import settings_models
from artbot.publishing.interventions import pause_channel, replay
from artbot.review.decisions import approve, put_off, reject
from artbot.status import Status, read_status
from artbot.studio.planning import ensure_due, ensure_today
from artbot.telling import local_time
from artbot.worker import hold_worker
from artbot.workplace import Workplace
from db.engine import Database
from db.models import Batch, Candidate, ChannelStatus, Delivery
from tests.unit.service.kit import (
    ANNA,
    BEN,
    CHECKPOINT,
    NOON,
    Desk,
    SetClock,
    a_batch,
    a_checkpoint,
    add_works,
    answers,
    candidate,
    http_answer,
    move,
    picture_of,
    put,
    serve,
    write_checkpoint,
)
from trainers.manifest import MANIFEST_FILE

SCHEDULE = '[schedules.daily]\nat = "07:00"\ntimezone = "UTC"\n'
CHANNEL = '[channels.studio]\ntype = "webhook"\nurl = "https://example.org"\n'
FILE = 'secret_file = "secrets/webhook"\n'
TODAY_AT_7 = NOON.replace(hour=7)
TOMORROW_AT_7 = TODAY_AT_7 + timedelta(days=1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


class Made:
    """A workplace whose artbot.toml can be written anew."""

    def __init__(self, root: Path, database_at: Path | str, clock: SetClock) -> None:
        make_workplace(root)
        self.root, self.clock = root, clock
        self.opened: list[Workplace] = []
        self.paths = f'[paths]\ndatabase = "{database_at}"\n'
        self.configure(SCHEDULE + CHANNEL + FILE)

    def configure(self, text: str) -> None:
        (self.root / "artbot.toml").write_text(self.paths + text)
        settings = load_settings(self.root, settings_models())
        self.workplace = Workplace(
            settings, self.clock, lambda: ("boot", self.clock.now.timestamp())
        )
        self.opened.append(self.workplace)
        self.database, self.works = self.workplace.database, settings.works
        self.desk = Desk(self.database, self.works, self.clock)

    def status(self) -> Status:
        return read_status(self.workplace)

    def line(self, heading: str) -> str:
        """What stands behind that heading."""
        return dict(reversed(lines_of(self.status(), self.clock())))[heading]

    def needs(self) -> list[tuple[str, str]]:
        return [
            (need.what, need.remedy)
            for need in self.status().needs_you
            if not need.what.startswith("schedule")
        ]

    def plan(self) -> None:
        ensure_due(self.database, self.workplace.settings.schedules, self.clock())

    def learned(
        self, name: str, dataset: str, days: float = 0, class_names: tuple[str, ...] = ()
    ) -> None:
        checkpoints = self.workplace.settings.checkpoints
        manifest = write_checkpoint(checkpoints, name, NOON + timedelta(days=days))
        facts = manifest.dataset.model_copy(update={"name": dataset, "class_names": class_names})
        changed = manifest.model_copy(
            update={"dataset": facts, "is_conditional": bool(class_names)}
        )
        (checkpoints / name / MANIFEST_FILE).write_bytes(changed.to_json())


@pytest.fixture
def made(
    tmp_path: Path, database: Database, database_at: Path | str, clock: SetClock
) -> Iterator[Made]:
    made = Made(tmp_path / "studio", database_at, clock)
    yield made
    for workplace in made.opened:
        workplace.close()


# The next batch


def test_each_schedule_is_told_with_the_generator_that_it_will_use(made: Made) -> None:
    made.learned("birds-000013", "birds", days=1)
    made.learned("flowers-000012", "flowers")
    nightly = '[schedules.nightly]\nat = "23:00"\n'
    made.configure(f'{SCHEDULE}dataset = "flowers"\n{nightly}')
    daily, late = made.status().next_batches
    assert (daily.checkpoint, late.checkpoint) == ("flowers-000012", "birds-000013")
    assert "painted by flowers-000012 (64 px, learned from 500 pictures of flowers, 120 kimg)" in (
        made.line("next batch")
    )
    assert "generator" not in dict(lines_of(made.status(), made.clock()))


def test_a_later_generator_that_could_not_be_judged_does_not_paint_and_that_is_told(
    made: Made,
) -> None:
    doubt = "too short to be judged: it ends at 2 kimg"
    checkpoints = made.workplace.settings.checkpoints
    write_checkpoint(checkpoints, "noise-32-000002", NOON + timedelta(days=1), doubt=doubt)
    made.configure(SCHEDULE)
    (daily,) = made.status().next_batches
    assert (daily.checkpoint, daily.passed_over) == ("noise-32-000002", None), "there is no other"
    assert "120 kimg, too short to be judged)" in made.line("next batch")

    write_checkpoint(checkpoints, "portraits-64-000120")
    assert "painted by portraits-64-000120 " in made.line("next batch")
    assert made.line("") == (
        "later, but too short to be judged: noise-32-000002; to use it all the same: "
        'checkpoint = "noise-32-000002" under [schedules.daily]'
    )
    assert made.status().checkpoint == "portraits-64-000120"
    made.configure(SCHEDULE + 'checkpoint = "noise-32-000002"\n')
    (daily,) = made.status().next_batches
    assert (daily.checkpoint, daily.passed_over) == ("noise-32-000002", None)


def test_a_schedule_whose_data_set_nobody_learned_says_so_and_needs_you(made: Made) -> None:
    made.learned("flowers-000012", "flowers")
    made.configure(SCHEDULE + 'dataset = "flowres"\n')
    assert "learned from 'flowres'" in made.line("next batch")
    assert "Did you mean flowers?" in made.line("next batch")
    (need,) = made.status().needs_you
    assert need.what == "schedule daily has no generator"
    assert need.remedy == (
        "mend `dataset` under [schedules.daily] in artbot.toml, or: artbot train --dataset flowres"
    )


def test_of_a_class_that_nobody_learned_the_generator_with_classes_is_told(made: Made) -> None:
    made.learned("flowers-000012", "flowers", class_names=("rose", "tulip"))
    made.learned("birds-000013", "birds", days=1)
    made.configure(SCHEDULE + 'class = "tulp"\n')
    made.plan()
    assert made.line("next batch").endswith(
        "but no checkpoint can be used: flowers-000012: the schedule asks for class 'tulp'; its classes are "
        "rose, tulip. Did you mean tulip? (and 1 more)"
    )
    assert made.line("unfinished").endswith("; waits for a generator"), "why is told above"
    made.configure(SCHEDULE + 'class = "tulip"\n')
    assert made.status().next_batches[0].checkpoint == "flowers-000012"


def test_the_first_batch_of_a_schedule_need_not_wait_for_a_day(made: Made) -> None:
    assert made.line("next batch") == "daily: the first, once there is a generator"
    made.learned("flowers-000012", "flowers")
    assert made.line("next batch").startswith("daily: the first, painted by flowers-000012")
    assert made.line("next batch").endswith("nobody is at work: `artbot batch` makes it now")


def test_a_day_that_has_its_batch_is_not_the_next(made: Made) -> None:
    made.plan()
    assert made.status().next_batches[0].due_at == TOMORROW_AT_7


def test_a_day_whose_batch_was_made_ahead_is_not_the_next_either(
    made: Made, clock: SetClock
) -> None:
    clock.now = TODAY_AT_7 - timedelta(hours=1)
    ensure_today(made.database, "daily", made.workplace.settings.schedules["daily"], clock())
    assert made.status().next_batches[0].due_at == TOMORROW_AT_7


def test_a_day_planned_by_a_clock_that_ran_ahead_is_the_next_unless_its_batch_was_begun(
    made: Made, clock: SetClock
) -> None:
    made.plan()
    clock.advance(days=1)
    made.plan()
    clock.advance(days=-1)
    assert made.status().next_batches[0].due_at == TOMORROW_AT_7, "its row is forgotten"
    with made.database.write() as session:
        session.add(a_checkpoint())
        session.flush()
        ahead = session.query(Batch).filter_by(key="daily-2026-11-22").one()
        ahead.checkpoint_sha256 = CHECKPOINT
        move(session, ahead, "generating")
    assert made.status().next_batches[0].due_at == TOMORROW_AT_7 + timedelta(days=1)


def test_a_day_that_nobody_got_to_is_due_since_its_time(made: Made, clock: SetClock) -> None:
    made.learned("flowers-000012", "flowers")
    made.plan()
    clock.advance(days=1)
    when = local_time(TOMORROW_AT_7, clock())
    assert made.line("next batch").startswith(f"daily: due since {when}, painted by flowers")
    assert made.line("next batch").endswith("nobody is at work: `artbot batch` makes it now")
    with hold_worker(made.workplace.settings.lock, "daemon"):
        assert made.line("next batch").endswith("; the worker makes it")


def test_a_batch_that_is_planned_and_not_made_says_since_when_and_what_it_waits_for(
    made: Made,
) -> None:
    made.plan()
    since = local_time(TODAY_AT_7, made.clock())
    assert made.line("unfinished").startswith(
        f"daily-2026-11-21: due since {since}; waits for a generator: no checkpoint in"
    )
    made.learned("flowers-000012", "flowers")
    assert made.line("unfinished") == (
        f"daily-2026-11-21: due since {since}; nobody is at work: `artbot batch` makes it now"
    )


def test_while_the_clock_is_doubted_that_is_what_all_waits_for(made: Made, clock: SetClock) -> None:
    made.learned("flowers-000012", "flowers")
    made.plan()
    made.workplace.keep_working()
    clock.advance(hours=-1)
    assert made.line("unfinished").endswith("waits for the clock to be right")
    ((what, remedy),) = made.needs()
    assert "the clock shows" in what
    assert remedy == "set the clock right, or: artbot clock --accept"


def test_batches_of_the_last_days_that_are_not_whole_are_told(made: Made, clock: SetClock) -> None:
    with made.database.write() as session:
        session.add(a_checkpoint())
        session.flush()
        skipped = a_batch(day=NOON.date() - timedelta(days=1), state="skipped")
        partial = a_batch("nightly", state="partial")
        put(session, skipped)
        put(session, partial)
        lost = Candidate(
            batch_id=partial.id,
            index=1,
            name="nightly-2026-11-21-01",
            seed=3,
            checkpoint_sha256=partial.checkpoint_sha256,
            recipe={},
            state="failed",
            planned_at=NOON,
            error="the child died",
        )
        put(session, lost)
    assert made.status().unmade_batches == {
        "daily-2026-11-20": "skipped: it rained",
        "nightly-2026-11-21": "1 of 24 could not be painted: the child died",
    }
    clock.advance(days=9)
    assert made.status().unmade_batches == {}


# What goes out


def test_a_delivery_past_its_time_is_due_since_then_and_not_next(
    made: Made, clock: SetClock
) -> None:
    made.desk.approve_one()
    clock.advance(hours=2)
    since = local_time(NOON, clock())
    assert made.line("going out") == (
        f"1, due since {since}; nobody is at work: `artbot publish` sends them now"
    )
    with hold_worker(made.workplace.settings.lock, "daemon"):
        assert made.line("going out") == f"1, due since {since}"


def test_what_was_published_stays_published_while_it_is_sent_again(
    made: Made, clock: SetClock
) -> None:
    made.desk.approve_one()
    with serve(answers(http_answer(200))) as server:
        made.desk.send(server.url)
    assert made.line("published") == "1, 1 of them in the last 7 days"
    replay(made.database, "studio", {"studio": FOR_EVER}, NOON, BEN, clock())
    assert made.status().num_waiting == 1
    assert made.status().num_published == 1


def test_of_what_goes_out_that_is_told_apart_which_is_due(made: Made, clock: SetClock) -> None:
    for work in add_works(made.database, made.desk.works, 3):
        approve(made.desk.review, work, ANNA)
    clock.advance(hours=1)
    with made.database.write() as session:
        session.get_one(Delivery, 3).next_at = clock() + timedelta(days=1)
    assert made.status().num_due == 2
    assert "2 by now: artbot publish" in what_waits(made.status(), clock())
    assert made.line("going out").startswith("3, 2 of them due since ")
    pause_channel(made.database, "studio", BEN, clock())
    assert made.status().num_due == 0


# What needs you


def test_a_well_workplace_needs_nobody(made: Made) -> None:
    made.learned("flowers-000012", "flowers")
    made.desk.approve_one()
    assert made.status().needs_you == []
    assert made.line("need you") == "0"


def test_a_stopped_channel_needs_you_once_with_all_it_holds(made: Made) -> None:
    made.desk.approve_one()
    with made.database.write() as session:
        move(session, session.get_one(Delivery, 1), "held")
        put(session, ChannelStatus(name="studio", state="disabled", reason="410", changed_at=NOON))
    assert made.needs() == [
        ("channel studio is disabled: 410; it holds 1 delivery", "artbot channels resume studio")
    ]
    assert made.line("need you") == str(len(made.status().needs_you))


def test_a_channel_without_its_secret_needs_you_unless_the_daemon_has_it(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    made.configure(SCHEDULE + CHANNEL + 'secret_env = "HOOK"\n')
    told = [
        (
            "channels.studio: environment variable HOOK is not set (secret_env)",
            "set HOOK where the daemon is started",
        )
    ]
    assert made.needs() == told
    with hold_worker(made.workplace.settings.lock, "daemon"):
        assert made.needs() == [], "it does not begin without"
        made.configure(SCHEDULE + CHANNEL + 'secret_file = "nowhere"\n')
        ((what, _),) = made.needs()
        assert "nowhere cannot be read" in what, "read anew for every sending"


def test_a_work_whose_picture_is_gone_or_in_quarantine_needs_you(made: Made) -> None:
    one, two, three = add_works(made.database, made.works, 3)
    picture_of(made.database, made.works, one).unlink()
    approve(made.desk.review, two, ANNA)
    with made.database.write() as session:
        work = session.get_one(Candidate, two)
        move(session, work, "quarantined")
        work.error = "its file was changed"
        move(session, session.get_one(Delivery, 1), "held")
    assert [(what.split(":")[0], remedy) for what, remedy in made.needs()] == [
        (
            f"{candidate(made.database, two).name} is quarantined",
            f"artbot reproduce {two} --restore",
        ),
        (candidate(made.database, one).name, f"artbot reproduce {one} --restore"),
    ]
    assert candidate(made.database, three).state == "pending"


def test_what_is_put_off_is_counted_besides_what_nobody_has_looked_at(made: Made) -> None:
    one, two, _ = add_works(made.database, made.works, 3)
    review = made.desk.review
    assert made.line("to review") == "3 (artbot review)"
    put_off(review, one, ANNA)
    assert made.line("to review") == "2, and 1 put off until later (artbot review)"
    picture_of(made.database, made.works, one).unlink()
    assert [remedy for _, remedy in made.needs()] == [f"artbot reproduce {one} --restore"]
    reject(review, one, ANNA)
    reject(review, two, ANNA)
    assert (made.status().num_pending, made.status().num_later) == (1, 0)


def test_where_works_is_not_mounted_that_needs_you_once(made: Made) -> None:
    add_works(made.database, made.works, 7)
    made.works.rename(made.root / "elsewhere")
    ((what, remedy),) = made.needs()
    assert what.endswith("is not there, and so the pictures of 7 works")
    assert "mount it first" in remedy


def test_of_many_needs_the_first_are_shown_and_the_rest_counted(made: Made) -> None:
    for work in add_works(made.database, made.works, 7):
        picture_of(made.database, made.works, work).unlink()
    made.learned("flowers-000012", "flowers")
    lines = lines_of(made.status(), made.clock())
    assert ("need you", "7") in lines
    assert lines[-1] == ("", "and 2 more: artbot doctor")
    assert "artbot reproduce 5 --restore" in lines[-2][1]


def test_a_work_approved_without_a_channel_needs_you_once_there_is_one(made: Made) -> None:
    """Who publishes nothing has no need."""
    made.configure(SCHEDULE)
    made.desk.channels = ()
    one, two = add_works(made.database, made.works, 2)
    for work in (one, two):
        approve(made.desk.review, work, ANNA)
    assert made.needs() == []
    assert made.line("going out") == "0; 2 approved, with no channel to go to"
    made.configure(SCHEDULE + CHANNEL + FILE)
    assert made.needs() == [
        (
            "approved before there was a channel, and so not going out: 2 works",
            f"artbot approve {one} {two}",
        )
    ]
    assert made.line("going out") == "0"


def test_what_waits_for_a_channel_that_is_gone_needs_you(made: Made) -> None:
    made.desk.channels = ("studio", "friends")
    made.desk.approve_one()
    made.configure(SCHEDULE)
    assert made.needs() == [
        (
            f"for channel {name}, which artbot.toml does not have: 1 delivery",
            f"put [channels.{name}] into artbot.toml again, or: artbot deliveries withdraw {number}",
        )
        for name, number in (("friends", 2), ("studio", 1))
    ]
    assert made.status().num_waiting == 0

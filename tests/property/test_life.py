"""Whole lives of works, made up by Hypothesis: decisions, faults, kills, restores, in any order.

The use cases, the database and the files are real. The clock is set, and goes wrong; the receivers go by the
true time, and keep the truth of the world: what was shown where. One channel has slots. After every step nothing
was shown twice, nothing decided was lost, nothing on hold was sent, and no slot sent two works;
in the end, with all faults gone, everything that was approved is out or waits for a person. On PostgreSQL
there is no `artbot db backup`; an old database is put back by hand there, as it is on SQLite.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, currently_in_test_context, event, seed, settings, target
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from artbot import mark as marks
from artbot.config import load_settings
from artbot.domain.candidate import BatchState, CandidateState
from artbot.domain.delivery import (
    FOR_EVER,
    LATE_EFFECT,
    NEEDS_A_PERSON,
    NO_PROTECTION,
    SETTLED,
    WAITING,
    DeliveryState,
    Protection,
)
from artbot.domain.seeds import seed_for
from artbot.domain.slots import Timetable
from artbot.errors import (
    ArtbotError,
    ClockDoubted,
    NotAllowed,
    OutcomeUnknown,
    PictureChanged,
    Rejected,
    Unavailable,
    WorkerElsewhere,
)
from artbot.mark import Mark, read_mark
from artbot.pictures import reinstate
from artbot.publishing import channels as channels_module
from artbot.publishing import interventions, queue
from artbot.publishing.channels import (
    Outlet,
    Parcel,
    Post,
    Receipt,
    Sender,
    settings_models,
    timetables,
)
from artbot.publishing.outbox import deliver_due
from artbot.publishing.work import Work
from artbot.review.decisions import (
    Words,
    approve,
    expire,
    give_stars,
    put_off,
    redo,
    reject,
    undo,
)
from artbot.studio.planning import ensure_today, plan_extra
from artbot.upkeep.backup import make_backup, restore
from artbot.upkeep.doctor import check_logs
from artbot.worker import hold_worker
from artbot.workplace import Workplace
from db.engine import DatabaseUnusable, Fenced
from db.models import Batch, Candidate, Checkpoint, Delivery
from tests.conftest import on_sqlite_only
from tests.faults.stores import FileStore, ServerStore, Store
from tests.postgresql import Server
from tests.unit.service.kit import ANNA, BEN, CHECKPOINT, NOON, SetClock, a_checkpoint, png

PROTECTIONS = {
    "forever": FOR_EVER,
    "hour": Protection(timedelta(minutes=50)),
    "never": NO_PROTECTION,
    "looks": Protection(looks=True),
}
CHANNELS = tuple(PROTECTIONS)
# A channel promises less than its receiver keeps, by as much as an effect can be late.
REALLY_RECOGNISES = {"forever": timedelta.max, "hour": timedelta(minutes=50) + LATE_EFFECT}
SETTINGS = """
[schedules.daily]
at = "18:00"
timezone = "UTC"
candidates = 2
[review]
expire_days = 7
[publishing]
undo_minutes = 10
"""
CHANNEL = """
[channels.{name}]
type = "webhook"
url = "https://example.org"
secret_file = "none"
"""
SLOTS = """
slots = ["daily 02:30", "daily 03:15", "mon,thu 18:30"]
timezone = "Europe/Berlin"
"""
BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS, EVENING, EVENINGS = (time(2, 30), time(3, 15)), time(18, 30), (0, 3)
LATE_FOR_ITS_SLOT = timedelta(minutes=10)
"""Of docs/queue.md: what is due for longer gets a new slot if another work goes out."""
UNDO_TIME = timedelta(minutes=10)
MOST_WORKS = 8
UNDECIDED_ONES = "WHERE state IN ('pending', 'later')"
IN_MEMORY = next((folder for folder in ("/dev/shm",) if os.access(folder, os.W_OK)), None)
"""Where a flush costs nothing, if there is such a place. Power cuts are no part of these lives."""
EXAMPLES = {"sqlite": 24, "postgresql": 5}
"""Lives in `make test`, by the kind of database."""
SEED = 21
"""Theirs: with it nearly everything that is EXPECTED comes up on SQLite."""
LATE = LATE_EFFECT - timedelta(minutes=1)
MOST_BELIEVED_BACK = timedelta(minutes=8)
"""A clock set back by little is believed. Again and again, that would be as much as an effect can be late,
which a receiver is wiser by than its channel promises."""


class Killed(BaseException):
    """SIGKILL: nothing of ours is run after it that matters."""


class Fate(StrEnum):
    """What becomes of one attempt."""

    TAKEN = "taken"
    REFUSED = "refused, 422"
    STRANGER = "refused, 401"
    GONE = "refused, 410"
    UNAVAILABLE = "unavailable, 503"
    BUSY = "busy, 429"
    ANSWER_LOST = "taken, the answer lost"
    LATE = "timed out, takes effect later"
    TIMED_OUT = "timed out, without effect"
    BUG = "taken, then a fault of ours"
    DISK_FULL = "the mark cannot be written"
    DIES_CLAIMED = "killed after the claim"
    DIES_PREPARED = "killed while preparing"
    BLIND = "the preparing fails; where the channel looks, it cannot"
    DIES_SENDING = "killed before the effect"
    DIES_LATE = "killed, takes effect later"
    DIES_SENT = "killed after the effect"
    SLEEPS = "sleeps for ten minutes after the claim, another worker takes over"
    NAPS = "sleeps for ten seconds after the claim, another worker takes over"
    NODS = "sleeps for ten minutes right before the public act, another worker takes over"
    UNDONE = "taken, while a person tries to undo"
    WITHDRAWN = "taken, while a person tries to withdraw"
    HELD_BACK = "taken, while a person tries to put it on hold"
    PAUSED = "taken, while a person pauses the channel"
    SET_BACK = "taken, while the clock goes wrong"


class Meddling(StrEnum):
    """What a person does between the look at a delivery and its claim."""

    REWORD = "undo, and approve with other words"
    TAKE_BACK = "undo"
    WITHDRAW = "withdraw"
    PAUSE = "pause"
    HOLD = "hold"
    MOVE = "move to a time to come"


WRONG_BY = st.sampled_from(
    [
        timedelta(hours=-26),
        timedelta(
            minutes=-40
        ),  # less than a lease and a window of recognition; believed again soon
        timedelta(hours=47),  # believed: machines sleep for as long
        timedelta(days=365),
    ]
)
FATES = st.lists(st.sampled_from(Fate), min_size=2, max_size=6)
reached: Counter[str] = Counter()
"""How often each rule, fate and state came up, over all examples."""
WRONG_CLOCKS = {
    "the clock goes wrong",
    "the clock is doubted",
    "the clock is believed though it is wrong",
    "the clock is set right",
    "the clock is accepted",
}
QUEUE = {
    "move",
    "hold",
    "release",
    "a hold keeps something back",
    "a slot is taken",
    "a slot for what comes back",
    "what missed its slot is spread",
    "what waits is arranged anew",
    f"at the claim: {Meddling.HOLD}",
    f"at the claim: {Meddling.MOVE}",
}
"""What a person and artbot do to the queue."""
EXPECTED = {
    *WRONG_CLOCKS,
    *QUEUE,
    "a lease is taken over",
    *Fate,
    *(f"at the claim: {meddling}" for meddling in Meddling),
    *(state for state in DeliveryState if state != DeliveryState.DEAD),  # a story of its own
    *(f"candidate {state}" for state in CandidateState if state not in ("planned", "failed")),
    *[
        "paint",
        "time passes",
        "the clock is set back a little",
        "the machine starts anew",
        "send",
        "fenced",
        "approve",
        "approve: refused",
        "approve: picture changed",
        "reject",
        "reject: refused",
        "undo",
        "undo: refused",
        "redo",
        "redo: refused",
        "put off",
        "put off: refused",
        "give stars",
        "give stars: refused",
        "resolve: posted",
        "resolve: absent",
        "resolve: absent: refused",
        "retry",
        "retry: refused",
        "move: refused",
        "hold: refused",
        "withdraw",
        "withdraw: refused",
        "replay",
        "replay: refused",
        "pause",
        "resume",
        "damage",
        "mend",
        "reinstate",
        "back up",
        "restore",
        "copy the database",
        "copy it back",
        "a repetition recognised",
        "looked and found",
        "looked and not found",
    ],
}

OF_FILES = {"back up", "restore"}
"""What comes up with a SQLite file alone."""


@dataclass
class World:
    """What receivers have, and people see."""

    posts: defaultdict[tuple[str, str], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By work and channel: the key of every time it was shown."""
    keys: defaultdict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """By work and channel: every key a request came with."""
    known: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """By channel and key: since when."""
    late: list[tuple[datetime, str, str, str]] = field(default_factory=list)
    """When, work, channel, key: will take effect."""

    def take(self, work: str, channel: str, key: str, now: datetime) -> None:
        window = REALLY_RECOGNISES.get(channel)
        since = self.known.setdefault((channel, key), now)
        if window is not None and (work, channel) in self.posts and now - since < window:
            reached["a repetition recognised"] += 1
            return
        self.known[channel, key] = now
        self.posts[work, channel].append(key)

    def pass_time(self, now: datetime) -> None:
        for entry in sorted(self.late):
            at, work, channel, key = entry
            if at <= now:
                self.late.remove(entry)
                self.take(work, channel, key, at)

    def has(self, work: str, channel: str) -> bool:
        return bool(self.posts.get((work, channel)))


@dataclass
class Decided:
    """What people decided, as they remember it; a restore makes them forget with the database."""

    channels: dict[str, set[str]] = field(default_factory=dict)
    """By approved work: those chosen for it."""
    withdrawn: set[tuple[str, str]] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    taken_back: dict[str, Approval] = field(default_factory=dict)
    """By work whose approval was undone."""
    on_hold: set[tuple[str, str]] = field(default_factory=set)
    given: dict[tuple[str, str], datetime | None] = field(default_factory=dict)
    """By work and channel: the time that a person gave; None: now."""

    def take_back(self, work: str) -> None:
        self.rejected.discard(work)
        times = {to: at for (name, to), at in self.given.items() if name == work}
        for channel in CHANNELS:
            self.let_go(work, channel)
        self.taken_back[work] = Approval(self.channels.pop(work, set()), times)

    def bring_back(self, work: str, times: Mapping[str, datetime]) -> None:
        """`times`: by channel, when it goes out now. What a person gave comes back where it is still to be had."""
        self.channels[work] = self.taken_back[work].channels
        for channel, at in self.taken_back[work].times.items():
            if at is not None and at == times.get(channel):
                self.given[work, channel] = at

    def let_go(self, work: str, channel: str) -> None:
        """It is not on hold, and goes out when artbot says."""
        self.on_hold.discard((work, channel))
        self.given.pop((work, channel), None)


@dataclass(frozen=True)
class Approval:
    """One that was taken back: the channels it was for, and the times that a person gave."""

    channels: set[str]
    times: dict[str, datetime | None]


@dataclass
class MeddledClock(SetClock):
    """Does something at the second look at it from now, then goes on showing the time."""

    meddle: Callable[[], object] | None = None
    num_looks: int = 0

    def __call__(self) -> datetime:
        now = super().__call__()
        self.num_looks += 1
        if self.meddle is not None and self.num_looks == 2:
            meddle, self.meddle = self.meddle, None
            meddle()
        return now


@dataclass(frozen=True)
class Receiver(Sender):
    """One channel's sender: hands the parcel to the machine's world."""

    life: Life
    channel: str

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        self.life.check_not_on_hold(self.channel, parcel)
        parcel.handles.keep(room=f"a room for {parcel.delivery_key}")
        if self.life.fate == Fate.DIES_PREPARED:
            self.life.die()
        if self.life.fate == Fate.BLIND:
            raise OutcomeUnknown("no answer while preparing")

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        if parcel.is_too_late():
            raise Unavailable("not sent: too late")
        return self.life.receive(self.channel, parcel)

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        self.life.check_not_on_hold(self.channel, parcel)
        if self.life.fate == Fate.BLIND:
            raise OutcomeUnknown("no answer while looking")
        assert parcel.handles.get("room"), "kept before anything was public"
        is_there = self.life.world.has(parcel.work.name, self.channel)
        self.life.note("looked and found" if is_there else "looked and not found")
        return Receipt(200, "found") if is_there else None


def _compose(work: Work) -> Post:
    return Post(work.title, work.alt, work.picture)


def slots_after(after: datetime) -> Iterator[datetime]:
    """SLOTS, later than `after`."""
    day = after.astimezone(BERLIN).date()
    while True:
        times = [*NIGHTS, *([EVENING] if day.weekday() in EVENINGS else [])]
        moments = (datetime.combine(day, at, tzinfo=BERLIN).astimezone(UTC) for at in times)
        # Once a year 02:30 is at 03:30.
        yield from sorted(moment for moment in moments if moment > after)
        day += timedelta(days=1)


def is_slot(at: datetime) -> bool:
    return next(slots_after(at - timedelta.resolution)) == at


class Life(RuleBasedStateMachine):
    """A workplace, its people and its world."""

    def __init__(self, empty: Store) -> None:
        """`empty` is the database it begins with."""
        super().__init__()
        self.cleanup = ExitStack()
        folder = tempfile.TemporaryDirectory(
            prefix="artbot-life-", dir=IN_MEMORY, ignore_cleanup_errors=True
        )
        root = Path(self.cleanup.enter_context(folder))
        self.store = empty.copy(root)
        self.cleanup.callback(self.store.remove)
        self.slotted = "looks"
        self.write_settings(root)
        for name, value in (
            ("protections", lambda settings: dict(PROTECTIONS)),
            ("open_channels", lambda settings: {}),
            ("outlets", self.outlets),
        ):
            self.cleanup.enter_context(patch.object(channels_module, name, value))
        for where, hook in (
            ("artbot.publishing.outbox.failpoint", self.failpoint),
            ("artbot.workplace.write_mark", self.write_mark),
            ("socket.gethostname", lambda: self.host),
        ):
            self.cleanup.enter_context(patch(where, hook))
        if self.path is None:  # a server has a clock of its own
            self.cleanup.enter_context(patch("artbot.worker._moment", lambda *_: self.true))
        self.settings_ = load_settings(root, settings_models())
        self.num_rounds = 0
        self.round = 0, NOON
        """Of the worker that is at it: its number, and when it began."""
        self.used: set[datetime] = set()
        self.last_late: tuple[int, datetime] | None = None
        """The round in which a work went out that had missed its slot."""
        self.clock = MeddledClock()
        self.true = NOON
        self.is_clock_wrong = False
        self.host, self.started, self.num_starts = "one", NOON, 1
        self.world = World()
        self.decided = Decided()
        self.fates: deque[Fate] = deque()
        self.fate = Fate.TAKEN
        self.is_asleep = False
        self.backups: dict[Path, Decided] = {}
        self.copied: tuple[Store, Decided] | None = None
        self.num_put_back = self.num_backups = 0
        self.num_restores: int | None = None
        self.highest_sent = Mark("", "", 0, 0)
        self.answers: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        self.answered: object = None
        self.harmed: set[str] = set()
        self.violations: list[AssertionError] = []
        self.place = self.open()
        with self.place.database.write() as session:
            session.add(a_checkpoint())
        self.paint(is_extra=False)

    @property
    def path(self) -> Path | None:
        """Of the database, if it is a file."""
        return self.store.where if isinstance(self.store.where, Path) else None

    def write_settings(self, root: Path) -> None:
        tables = [f'[paths]\ndatabase = "{self.store.where}"\n{SETTINGS}']
        for name in CHANNELS:
            tables.append(CHANNEL.format(name=name) + (SLOTS if name == self.slotted else ""))
        (root / "artbot.toml").write_text("".join(tables))

    @property
    def timetables(self) -> Mapping[str, Timetable]:
        return timetables(self.settings_)

    def open(self) -> Workplace:
        """As a process that starts does."""
        return Workplace(self.settings_, self.clock, self.boot)

    def boot(self) -> tuple[str, float]:
        return f"start {self.num_starts}", (self.true - self.started).total_seconds()

    def begin_anew(self) -> None:
        """The process is gone; the next command is another one."""
        self.answered = None
        self.place.database.close()
        self.place = self.open()

    def teardown(self) -> None:
        try:
            self.all_faults_stop()
        finally:
            self.place.database.close()
            self.cleanup.close()
        if currently_in_test_context():
            target(float(sum(state in reached for state in DeliveryState)), label="delivery states")

    @initialize(slotted=st.sampled_from(CHANNELS))
    def something_is_approved(self, slotted: str) -> None:
        self.slotted = slotted
        self.write_settings(self.settings_.root)
        self.settings_ = load_settings(self.settings_.root, settings_models())
        self.begin_anew()
        self.paint(is_extra=True)
        self.approve_all()

    # What people do about works

    @precondition(lambda self: self.num_works() < MOST_WORKS)
    @rule(is_extra=st.booleans())
    def paint(self, is_extra: bool) -> None:
        if self.is_doubted() or self.is_leased_elsewhere():
            return
        self.note("paint")
        now, schedules = self.clock(), self.settings_.schedules
        with self.place.work("batch"):
            plan = plan_extra if is_extra else ensure_today
            key = plan(self.place.database, "daily", schedules["daily"], now)
            with self.place.database.write() as session:
                batch = session.scalars(select(Batch).where(Batch.key == key)).one()
                if batch.state != BatchState.PLANNED:
                    return
                if session.get(Checkpoint, CHECKPOINT) is None:
                    session.add(a_checkpoint())
                    session.flush()
                batch.state, batch.checkpoint_sha256 = BatchState.GENERATING, CHECKPOINT
                for index in (1, 2):
                    session.add(self.candidate(batch, index, now))
                session.flush()
                for candidate in batch.candidates:
                    candidate.state = CandidateState.PENDING
                batch.state, batch.finished_at = BatchState.READY, now

    def candidate(self, batch: Batch, index: int, now: datetime) -> Candidate:
        """Painted: the same name is the same picture, as the same seed is."""
        name = f"{batch.key}-{index:02d}"
        seed = seed_for(batch.key, index)
        content = png((seed % 251, seed % 241, seed % 239))
        path = self.settings_.works / batch.key / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return Candidate(
            batch_id=batch.id,
            index=index,
            name=name,
            seed=seed,
            checkpoint_sha256=CHECKPOINT,
            recipe={"version": 1, "truncation_psi": 1.0},
            state=CandidateState.PLANNED,
            planned_at=now,
            rendered_at=now,
            path=f"{batch.key}/{name}.png",
            width=8,
            height=8,
            num_bytes=len(content),
            image_sha256=hashlib.sha256(content).hexdigest(),
            pixel_sha256="b" * 64,
            environment={"torch": "2.13"},
        )

    @precondition(lambda self: self.num_works())
    @rule(
        which=st.integers(0, MOST_WORKS),
        alt=st.sampled_from([None, "a flower", "a tree"]),
        to=st.sampled_from([None, None, None, ("never",), ("hour", "forever"), ()]),
    )
    def approve(self, which: int, alt: str | None, to: tuple[str, ...] | None) -> None:
        """`to` (): while no channel is configured; None: to all."""
        work, name, was = self.pick(which)
        review = replace(self.place.review, channels={}) if to == () else self.place.review
        chosen = set(CHANNELS if to is None else to)
        try:
            approve(review, work, ANNA, Words(alt=alt), to or None)
        except PictureChanged:
            self.note("approve: picture changed")
            return
        except NotAllowed:
            self.note("approve: refused")
            return
        self.note("approve")
        if was == CandidateState.APPROVED:  # without a channel until now, or nothing new
            chosen = self.decided.channels[name] or chosen
        else:
            self.decided.withdrawn -= {(name, channel) for channel in CHANNELS}
        self.decided.channels[name] = chosen

    @precondition(lambda self: self.ask(f"SELECT 1 FROM candidates {UNDECIDED_ONES}"))
    @rule()
    def approve_all(self) -> None:
        """Most steps would find nothing to send."""
        for (work,) in self.ask(f"SELECT id FROM candidates {UNDECIDED_ONES}"):
            self.approve(int(work) - 1, None, None)

    @precondition(lambda self: self.num_works())
    @rule(which=st.integers(0, MOST_WORKS))
    def reject(self, which: int) -> None:
        work, name, _ = self.pick(which)
        if self.attempt("reject", lambda: reject(self.place.review, work, ANNA)):
            self.decided.rejected.add(name)

    @precondition(lambda self: self.num_works())
    @rule(which=st.none() | st.integers(0, MOST_WORKS))
    def undo(self, which: int | None) -> None:
        work = None if which is None else self.pick(which)[0]
        self.attempt("undo", lambda: self.take_back(work))

    @precondition(lambda self: self.num_works())
    @rule(which=st.none() | st.integers(0, MOST_WORKS))
    def redo(self, which: int | None) -> None:
        work = None if which is None else self.pick(which)[0]
        try:
            self.attempt("redo", lambda: self.bring_back(work))
        except PictureChanged:
            self.note("approve: picture changed")

    @precondition(lambda self: self.num_works())
    @rule(which=st.integers(0, MOST_WORKS), stars=st.none() | st.integers(0, 5))
    def look_at(self, which: int, stars: int | None) -> None:
        """Give it stars; None: put it off."""
        work, _, _ = self.pick(which)
        review = self.place.review
        if stars is None:
            self.attempt("put off", lambda: put_off(review, work, ANNA))
        else:
            self.attempt("give stars", lambda: give_stars(review, work, stars, ANNA))

    def take_back(self, work: int | None) -> None:
        undone = undo(self.place.review, work, ANNA)
        was, now = self.last_move(undone.id)
        if was == CandidateState.APPROVED != now:
            self.decided.take_back(undone.name)
        elif was != now:
            self.decided.rejected.discard(undone.name)

    def bring_back(self, work: int | None) -> None:
        redone = redo(self.place.review, work, ANNA)
        was, now = self.last_move(redone.id)
        if now == CandidateState.APPROVED != was:
            self.decided.bring_back(redone.name, {d.channel: d.next_at for d in redone.deliveries})
        elif now == CandidateState.REJECTED != was:
            self.decided.rejected.add(redone.name)

    def last_move(self, work: int) -> tuple[Any, ...]:
        """Of the last decision about it."""
        newest = f"WHERE candidate_id = {work} ORDER BY id DESC LIMIT 1"
        return self.ask(f"SELECT was, now FROM decisions {newest}")[0]

    @rule(
        by=st.sampled_from(
            [
                timedelta(seconds=7),
                timedelta(minutes=6),
                timedelta(minutes=11),
                timedelta(minutes=16),
                timedelta(minutes=49),
                timedelta(hours=3),
                timedelta(days=1),
                timedelta(days=8),
                timedelta(weeks=3),
                timedelta(minutes=-4),
            ]
        )
    )
    def time_passes(self, by: timedelta) -> None:
        if by > timedelta():
            self.note("time passes")
            self.true += by
            self.world.pass_time(self.true)
        elif self.true - self.clock.now - by > MOST_BELIEVED_BACK:
            return
        else:
            self.note("the clock is set back a little")
        self.set_clock(self.clock.now + by)

    def set_clock(self, to: datetime) -> None:
        """What lies ahead again is there to be used again."""
        if to < self.clock.now:
            self.used = {slot for slot in self.used if slot <= to}
            self.last_late = None
        self.clock.now = to

    # What happens to clocks and machines

    @precondition(lambda self: not self.is_clock_wrong)
    @rule(by=WRONG_BY)
    def the_clock_goes_wrong(self, by: timedelta) -> None:
        self.note("the clock goes wrong")
        self.set_clock(self.clock.now + by)
        self.is_clock_wrong = True

    @precondition(lambda self: self.is_clock_wrong)
    @rule(is_accepted=st.booleans())
    def the_clock_is_set_right(self, is_accepted: bool) -> None:
        """A person who sets it right may say so, or may not."""
        self.note("the clock is set right")
        self.set_clock(self.true)
        self.is_clock_wrong = False
        if is_accepted:
            self.accept_clock()

    @precondition(lambda self: not self.is_clock_wrong and self.is_doubted())
    @rule()
    def accept_clock(self) -> None:
        """What waits for a slot gets the first that are free after the undo time, in its order."""
        self.note("the clock is accepted")
        now, queued = self.clock.now, self.queued()
        wait_for_slots = [
            (at, work)
            for at, work in queued
            if at > now and (is_slot(at) or not self.is_given(work, at)) and not self.is_now(work)
        ]
        taken = {at for at, _ in queued} - {at for at, _ in wait_for_slots}
        self.place.accept_clock(BEN)
        free = (slot for slot in slots_after(now + UNDO_TIME) if slot not in taken)
        expected = [(next(free), work) for _, work in wait_for_slots]
        if expected != wait_for_slots:
            self.note("what waits is arranged anew")
        assert set(expected) <= set(self.queued())
        for work, next_at in self.ask(
            "SELECT c.name, d.next_at FROM deliveries d JOIN candidates c ON c.id = d.candidate_id "
            "WHERE d.state = 'held' AND d.channel = ?",
            self.slotted,
        ):
            at = datetime.fromisoformat(next_at)
            is_put_right = at <= now + UNDO_TIME or self.is_given(work, at)
            assert is_put_right, f"{work}, held, keeps {at} of the wrong clock"

    @rule(is_elsewhere=st.booleans())
    def the_machine_starts_anew(self, is_elsewhere: bool) -> None:
        """Or another one takes its place, where the database is a server's."""
        self.note("the machine starts anew")
        if self.path is None and is_elsewhere:
            self.host = "another" if self.host == "one" else "one"
        self.started, self.num_starts = self.true, self.num_starts + 1
        self.begin_anew()

    def is_doubted(self) -> bool:
        try:
            self.place.check_clock()
        except ClockDoubted:
            return True
        return False

    def lease(self) -> tuple[str, datetime] | None:
        """Whose there is, and until when."""
        found = self.ask("SELECT host, leased_until FROM workplace WHERE leased_until IS NOT NULL")
        return (found[0][0], datetime.fromisoformat(found[0][1])) if found else None

    def is_leased_elsewhere(self) -> bool:
        """Then a worker of this host has to wait. A SQLite file has one host, whatever its name is."""
        lease = self.lease()
        if self.path or lease is None:
            return False
        host, until = lease
        return until > self.true and not host.startswith(f"{self.host}:")

    # What the worker does

    @precondition(lambda self: self.waiting())
    @rule(fates=FATES)
    def send_more(self, fates: list[Fate]) -> None:
        """Each rule is as likely as any other: this one is wanted more often."""
        self.send(fates)

    @precondition(lambda self: self.waiting())
    @rule(fates=FATES)
    def send_yet_more(self, fates: list[Fate]) -> None:
        self.send(fates)

    @rule()
    def look(self) -> None:
        """At whatever time, due or not."""
        self.work([])

    @precondition(lambda self: self.waiting())
    @rule(fates=FATES)
    def send(self, fates: list[Fate]) -> None:
        due_at = min(self.waiting())
        if due_at > self.clock.now:
            self.time_passes(due_at - self.clock.now)
        self.work(fates)

    @precondition(lambda self: self.waiting() and not self.damaged())
    @rule(meddling=st.sampled_from(Meddling), which=st.integers(0, MOST_WORKS))
    def meddle(self, meddling: Meddling, which: int) -> None:
        """A person acts in the moment between the worker's look and its claim."""
        due_at = min(self.waiting())
        if due_at > self.clock.now:
            self.time_passes(due_at - self.clock.now)
        person = self.open()

        def act() -> None:
            with closing(person.database):
                try:
                    self.act_meanwhile(person, meddling)
                    self.note(f"at the claim: {meddling}")
                except ArtbotError:
                    pass

        self.work([], act)

    def act_meanwhile(self, person: Workplace, meddling: Meddling) -> None:
        with person.database.read() as session:
            first = session.scalars(
                select(Delivery)
                .where(
                    Delivery.state.in_(WAITING),
                    Delivery.on_hold.is_(False),
                    Delivery.next_at <= self.clock.now,
                )
                .order_by(Delivery.next_at, Delivery.id)
            ).first()
            if first is None:
                return
            candidate = first.candidate
        number, work, channel, now = first.id, candidate.name, first.channel, self.clock.now
        if meddling == Meddling.PAUSE:
            interventions.pause_channel(person.database, channel, BEN, now)
        elif meddling == Meddling.WITHDRAW:
            interventions.withdraw(person.database, number, BEN, now)
            self.decided.withdrawn.add((work, channel))
            self.decided.let_go(work, channel)
        elif meddling == Meddling.HOLD:
            queue.hold(person.database, number, BEN, now)
            self.decided.on_hold.add((work, channel))
        elif meddling == Meddling.MOVE:
            to = now + timedelta(hours=5)
            queue.move(person.database, self.timetables, number, to, BEN, now)
            self.decided.given[work, channel] = to
        else:
            while undo(person.review, candidate.id, ANNA).state == CandidateState.APPROVED:
                pass  # only stars were taken back
            self.decided.take_back(work)
            if meddling == Meddling.REWORD:
                approve(person.review, candidate.id, ANNA, Words(alt="other words"))
                self.decided.withdrawn -= {(work, channel) for channel in CHANNELS}
                self.decided.channels[work] = set(CHANNELS)

    def work(self, fates: list[Fate], meddle: Callable[[], object] | None = None) -> None:
        """A worker comes, does what is due, and goes or is ended."""
        self.fates = deque(fates)
        self.note("send")
        left_behind, must_wait = self.lease(), self.is_leased_elsewhere()
        try:
            with self.place.work("daemon"):
                assert not must_wait, f"{left_behind} was not waited for"
                if left_behind:
                    self.note("a lease is taken over")
                self.check_nothing_doubted_again()
                self.place.keep_working()
                if self.is_clock_wrong:
                    self.note("the clock is believed though it is wrong")
                self.clock.meddle, self.clock.num_looks = meddle, 0
                has_fates = bool(fates)  # what they do not reach waits for the next ones
                self.deliver(self.place, lambda: has_fates and not self.fates)
                self.clock.meddle = None
                expire(self.place.review, self.settings_.review.expire_days)
        except Killed:
            self.begin_anew()
            assert self.lease(), "who was killed gives nothing back"
        except WorkerElsewhere:
            assert must_wait
            self.note("a lease is waited for")
        except ClockDoubted:
            self.note("the clock is doubted")
        except Fenced:
            assert self.is_asleep
            self.note("fenced")
            self.begin_anew()
        finally:
            self.clock.meddle = None
            self.fates.clear()
            self.fate = Fate.TAKEN  # what was found on looking met no fate
            self.is_asleep = False

    def deliver(self, place: Workplace, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.num_rounds += 1
        outer, self.round = self.round, (self.num_rounds, self.clock.now)
        num_spread = self.count_spread()
        try:
            deliver_due(place.outbox, lambda sent: place.keep_working(), should_stop)
        finally:
            self.round = outer
        if self.count_spread() > num_spread:
            self.note("what missed its slot is spread")
        if self.decided.on_hold and self.kept_back():
            self.note("a hold keeps something back")

    def failpoint(self, name: str) -> None:
        """Stands in for artbot.failpoints, with every fault there is."""
        if name == "delivery.claimed":
            self.fate = self.fates.popleft() if self.fates else Fate.TAKEN
            self.note(self.fate)
            if self.fate == Fate.DIES_CLAIMED:
                self.die()
            if self.fate in (Fate.SLEEPS, Fate.NAPS):
                fate = self.fate
                self.another_takes_over(timedelta(minutes=10 if fate == Fate.SLEEPS else 0))
                self.time_passes(timedelta(seconds=10))
                self.fate = fate
        if name == "delivery.committing" and self.fate == Fate.NODS:
            self.another_takes_over(timedelta(minutes=10))
            self.time_passes(timedelta(seconds=10))
            self.fate = Fate.NODS
        if name == "delivery.sent" and self.fate == Fate.DIES_SENT:
            self.die()

    def die(self) -> NoReturn:
        """SIGKILL: what is still run on the way out of here changes nothing in the database; the lease, for
        one, is not given back."""

        def dead() -> NoReturn:
            raise DatabaseUnusable("killed")

        vars(self.place.database)["write"] = dead
        raise Killed

    def another_takes_over(self, after: timedelta) -> None:
        """The lock did not hold it back (another host, a network disk): the epoch must do."""
        self.time_passes(after)
        other, fates = self.open(), self.fates
        self.fates = deque()
        no_lock_held = patch("artbot.workplace.hold_worker", no_lock)
        with closing(other.database), no_lock_held, other.work("daemon"):
            self.deliver(other)
        self.fates = fates
        self.is_asleep = True

    def write_mark(self, path: Path, mark: Mark) -> None:
        if self.fate == Fate.DISK_FULL and mark.attempt_id > self.highest_sent.attempt_id:
            self.fate = Fate.TAKEN
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        marks.write_mark(path, mark)

    def outlets(self, _: object) -> dict[str, Outlet]:
        return {
            name: Outlet(_compose, partial(Receiver, self, name), protection)
            for name, protection in PROTECTIONS.items()
        }

    def receive(self, channel: str, parcel: Parcel) -> Receipt:
        """A request has arrived."""
        self.check_not_on_hold(channel, parcel)
        work, key = parcel.work.name, parcel.delivery_key
        is_known = bool(self.world.keys[work, channel])
        self.world.keys[work, channel].add(key)
        try:
            self.check_intent(channel, parcel, is_known)
            if self.fate in (Fate.UNDONE, Fate.WITHDRAWN, Fate.HELD_BACK, Fate.PAUSED):
                self.meanwhile(work, channel)
        except AssertionError as error:  # the outbox would take it for a fault of the channel
            self.violations.append(error)
        match self.fate:
            case Fate.REFUSED:
                raise Rejected("422 Unprocessable", status=422)
            case Fate.STRANGER:
                raise Rejected("401 Unauthorized", status=401)
            case Fate.GONE:
                raise Rejected("410 Gone", status=410)
            case Fate.UNAVAILABLE:
                raise Unavailable("503", status=503)
            case Fate.BUSY:
                raise Unavailable("429", status=429, retry_after_s=2 * 3600)
            case Fate.DIES_SENDING:
                self.die()
            case Fate.TIMED_OUT:
                raise OutcomeUnknown("no answer")
            case Fate.LATE | Fate.DIES_LATE:
                self.world.late.append((self.true + LATE, work, channel, key))
                if self.fate == Fate.DIES_LATE:
                    self.die()
                raise OutcomeUnknown("no answer")
        self.world.take(work, channel, key, self.true)
        if self.fate == Fate.SET_BACK and not self.is_clock_wrong:
            self.the_clock_goes_wrong(timedelta(hours=-26))
        if self.fate == Fate.ANSWER_LOST:
            raise OutcomeUnknown("the connection was reset")
        if self.fate == Fate.BUG:
            raise ValueError("a fault of ours")
        return Receipt(200, "thanks")

    def meanwhile(self, work: str, channel: str) -> None:
        """What is on the wire can be neither undone nor withdrawn nor held back."""
        other = self.open()
        with closing(other.database) as database:
            (delivery,) = self.ask(
                "SELECT d.id, c.id FROM deliveries d JOIN candidates c ON c.id = d.candidate_id "
                "WHERE c.name = ? AND d.channel = ?",
                work,
                channel,
            )
            try:
                if self.fate == Fate.PAUSED:
                    interventions.pause_channel(database, channel, BEN, self.clock.now)
                    return
                if self.fate == Fate.UNDONE:
                    undo(other.review, delivery[1], ANNA)
                elif self.fate == Fate.HELD_BACK:
                    queue.hold(database, delivery[0], BEN, self.clock.now)
                else:
                    interventions.withdraw(database, delivery[0], BEN, self.clock.now)
            except NotAllowed:
                return
        raise AssertionError(f"{self.fate}, and it was allowed")

    def check_intent(self, channel: str, parcel: Parcel, is_known: bool) -> None:
        """I10: the attempt was committed before; and what is sent is what was decided last."""
        rows = self.ask(
            "SELECT a.id, a.outcome, a.epoch, c.state, c.alt, ch.state, d.next_at, "
            "(SELECT count(*) FROM attempts b WHERE b.delivery_id = d.id) FROM attempts a "
            "JOIN deliveries d ON d.id = a.delivery_id JOIN candidates c ON c.id = d.candidate_id "
            "LEFT JOIN channels ch ON ch.name = d.channel "
            "WHERE d.delivery_key = ? AND d.channel = ? AND a.body_sha256 = ? ORDER BY a.id",
            parcel.delivery_key,
            channel,
            parcel.post.sha256,
        )
        assert rows, "a request without an attempt"
        attempt_id, outcome, epoch, state, alt, standing, next_at, num_attempts = rows[-1]
        if not self.is_asleep:
            assert outcome is None, "the attempt was closed before it was made"
            assert state == CandidateState.APPROVED
            assert alt == parcel.work.alt
            assert standing in (None, "active"), f"{channel} is {standing}"
            self.highest_sent = Mark("", "", epoch, attempt_id)
            at = datetime.fromisoformat(next_at)
            assert at <= self.round[1], f"sent before its time, {at}"
            if channel == self.slotted and num_attempts == 1 and not is_known:
                self.check_slot(parcel.work.name, at)
        mark = read_mark(self.settings_.mark)
        assert mark is not None
        assert (mark.epoch, mark.attempt_id) >= (
            self.highest_sent.epoch,
            self.highest_sent.attempt_id,
        )

    def check_slot(self, work: str, at: datetime) -> None:
        """The first request for a work, at a time that no person gave: it has a slot to itself, and if that was
        missed it is the only one until the next slot."""
        if self.is_now(work) or self.is_given(work, at):
            return
        assert is_slot(at), f"{at} is no slot"
        self.note("a slot is taken")
        assert at not in self.used, f"two works at {at}"
        self.used.add(at)
        _, began = self.round
        if began - at <= LATE_FOR_ITS_SLOT:
            return
        if self.last_late is not None:
            _, before = self.last_late
            assert self.last_late != self.round, f"a bunch in one go: {work}, of {at}"
            assert before - at <= LATE_FOR_ITS_SLOT or next(slots_after(before)) <= began, (
                f"a bunch: {work}, of {at}"
            )
        self.last_late = self.round

    def is_now(self, work: str) -> bool:
        """Whether a person said that it goes out now."""
        return self.decided.given.get((work, self.slotted), NOON) is None

    def is_given(self, work: str, at: datetime) -> bool:
        return self.decided.given.get((work, self.slotted)) == at

    def check_not_on_hold(self, channel: str, parcel: Parcel) -> None:
        """No request of any kind begins."""
        if (parcel.work.name, channel) in self.decided.on_hold:
            said = f"{parcel.work.name} to {channel} is on hold"
            self.violations.append(AssertionError(said))

    # What people do about the queue

    @precondition(lambda self: self.deliveries("queued"))
    @rule(
        which=st.integers(0, 30),
        to=st.none()
        | st.sampled_from([timedelta(minutes=5), timedelta(hours=7), timedelta(days=12)]),
    )
    def move(self, which: int, to: timedelta | None) -> None:
        """`to` None: the next free slot; otherwise that much from now."""
        found = self.deliveries("queued")
        number, work, channel = found[which % len(found)]
        self.attempt("move", lambda: self.put_at(number, work, channel, to))

    def put_at(self, number: int, work: str, channel: str, to: timedelta | None) -> None:
        now = self.clock.now
        at = None if to is None else now + to
        queue.move(self.place.database, self.timetables, number, at, BEN, now)
        if at is None:
            self.decided.let_go(work, channel)
        else:
            self.decided.given[work, channel] = at

    @precondition(lambda self: self.deliveries(*WAITING, "uncertain"))
    @rule(which=st.integers(0, 30))
    def hold(self, which: int) -> None:
        found = self.deliveries(*WAITING, "uncertain")
        number, work, channel = found[which % len(found)]
        if self.attempt(
            "hold", lambda: queue.hold(self.place.database, number, BEN, self.clock.now)
        ):
            self.decided.on_hold.add((work, channel))

    @precondition(lambda self: self.decided.on_hold)
    @rule()
    def release(self) -> None:
        """All that is on hold, one after another."""
        for number, work, channel in self.deliveries():
            if (work, channel) not in self.decided.on_hold:
                continue
            self.note("release")
            let_go = queue.release(
                self.place.database, self.timetables, number, BEN, self.clock.now
            )
            self.decided.on_hold.remove((work, channel))
            if let_go.state == DeliveryState.QUEUED and channel == self.slotted:
                self.decided.let_go(work, channel)

    # What people do about deliveries and channels

    @precondition(lambda self: self.deliveries("uncertain"))
    @rule(which=st.integers(0, 30), has_waited=st.booleans())
    def resolve(self, which: int, has_waited: bool) -> None:
        """A person looks, and tells the truth."""
        if has_waited:
            self.time_passes(LATE_EFFECT)
        self.resolve_one(which)

    def resolve_one(self, which: int) -> None:
        found = self.deliveries("uncertain")
        number, work, channel = found[which % len(found)]
        is_there = self.world.has(work, channel)
        if self.is_clock_wrong and not is_there:
            return  # under a wrong clock nobody can tell whether a quarter of an hour has passed
        now, database = self.clock.now, self.place.database
        if self.attempt(
            "resolve: posted" if is_there else "resolve: absent",
            lambda: interventions.resolve(
                database, number, is_there, None, BEN, now, self.timetables
            ),
        ):
            self.decided.given.pop((work, channel), None)
            if is_there:
                self.decided.on_hold.discard((work, channel))

    @precondition(lambda self: self.deliveries("held", "failed", "dead", "retry_wait", "queued"))
    @rule(which=st.integers(0, 30))
    def retry(self, which: int) -> None:
        found = self.deliveries("held", "failed", "dead", "retry_wait", "queued")
        number, work, channel = found[which % len(found)]
        self.attempt("retry", lambda: self.send_now(number, work, channel))

    def send_now(self, number: int, work: str, channel: str) -> None:
        interventions.retry(self.place.database, number, BEN, self.clock.now)
        self.decided.on_hold.discard((work, channel))
        self.decided.given[work, channel] = None

    @precondition(lambda self: self.deliveries())
    @rule(which=st.integers(0, 30))
    def withdraw(self, which: int) -> None:
        found = self.deliveries()
        number, work, channel = found[which % len(found)]
        if self.attempt(
            "withdraw",
            lambda: interventions.withdraw(self.place.database, number, BEN, self.clock.now),
        ):
            self.decided.withdrawn.add((work, channel))
            self.decided.let_go(work, channel)

    @precondition(lambda self: self.deliveries("delivered"))
    @rule(channel=st.sampled_from(CHANNELS), days=st.integers(0, 3))
    def replay(self, channel: str, days: int) -> None:
        since = self.clock.now - timedelta(days=days)
        database = self.place.database

        def act() -> None:
            for delivery in interventions.replay(
                database, channel, PROTECTIONS, since, BEN, self.clock.now
            ):
                self.decided.given[delivery.candidate.name, channel] = None

        assert not (self.attempt("replay", act) and channel != "forever")

    @precondition(lambda self: not self.stopped())
    @rule(channel=st.sampled_from(CHANNELS))
    def pause(self, channel: str) -> None:
        self.note("pause")
        interventions.pause_channel(self.place.database, channel, BEN, self.clock.now)

    @precondition(lambda self: self.stopped())
    @rule()
    def resume(self) -> None:
        self.note("resume")
        for (channel,) in self.stopped():
            held = self.deliveries("held")
            interventions.resume_channel(
                self.place.database, channel, BEN, self.clock.now, self.timetables
            )
            for number, work, to in set(held) - set(self.deliveries("held")):
                if self.decided.given.get((work, to)) is not None:
                    del self.decided.given[work, to]
                self.check_comes_back(number, work, to)

    def check_comes_back(self, number: int, work: str, channel: str) -> None:
        """What was held goes out at a slot to come, or when a person said: never at once, beside another."""
        if channel == self.slotted and not self.is_now(work):
            ((next_at,),) = self.ask(f"SELECT next_at FROM deliveries WHERE id = {number}")
            at = datetime.fromisoformat(next_at)
            assert at > self.clock.now, f"{work} comes back to {at}"
            assert is_slot(at) or self.is_given(work, at), f"{work} comes back to {at}, no slot"
            self.note("a slot for what comes back")

    # What happens to files

    @precondition(lambda self: self.num_works())
    @rule(which=st.integers(0, MOST_WORKS), is_gone=st.booleans())
    def damage(self, which: int, is_gone: bool) -> None:
        self.note("damage")
        work, name, _ = self.pick(which)
        self.harmed.add(name)
        path = self.picture(work)
        path.unlink(missing_ok=True)
        if not is_gone:
            path.write_bytes(png((1, 2, 3)))

    @precondition(lambda self: self.damaged())
    @rule()
    def mend(self) -> None:
        self.note("mend")
        held = self.deliveries("held")
        for work in self.damaged():
            with self.place.database.write() as session:
                candidate = session.get_one(Candidate, work)
                self.candidate(candidate.batch, candidate.index, self.clock.now)
                if candidate.state == CandidateState.QUARANTINED:
                    self.note("reinstate")
                    reinstate(session, candidate, "test", self.clock.now, self.place.studio.requeue)
        self.harmed.clear()
        for number, work, to in set(held) - set(self.deliveries("held")):
            self.check_comes_back(number, work, to)

    @precondition(lambda self: self.path and self.num_backups < 3)
    @rule()
    def back_up(self) -> None:
        self.note("back up")
        self.num_backups += 1
        assert self.path is not None
        made = make_backup(self.path, self.settings_.backups, self.clock.now, keep=3)
        self.backups[made.path] = deepcopy(self.decided)

    @precondition(lambda self: self.backups and self.num_put_back < 3)
    @rule(which=st.integers(0, 2))
    def restore(self, which: int) -> None:
        self.note("restore")
        self.num_put_back += 1
        self.check_rows()
        assert self.path is not None
        found = list(self.backups)
        backup = found[which % len(found)]
        mark = read_mark(self.settings_.mark)
        now = self.clock.now
        with hold_worker(self.settings_.lock, "db restore"):
            restore(backup, self.path, PROTECTIONS, mark, BEN, now)
        self.decided = deepcopy(self.backups[backup])
        self.used, self.last_late = set(), None
        self.begin_anew()
        self.num_restores = self.count_restores()

    @precondition(lambda self: self.copied is None)
    @rule()
    def copy_the_database(self) -> None:
        self.note("copy the database")
        self.place.database.close()  # its connections
        self.copied = self.store.copy(self.settings_.root / "copied"), deepcopy(self.decided)
        self.cleanup.callback(self.copied[0].remove)

    @precondition(lambda self: self.copied and self.num_put_back < 3)
    @rule()
    def copy_it_back(self) -> None:
        """By hand, past every command of ours."""
        assert self.copied is not None
        self.num_put_back += 1
        self.check_rows()
        self.note("copy it back")
        self.place.database.close()
        old, decided = self.copied
        self.store.put_back(old)
        self.decided = deepcopy(decided)
        self.used, self.last_late = set(), None
        self.num_restores = None
        self.begin_anew()

    # What must hold

    @invariant()
    def nothing_is_shown_twice(self) -> None:
        for (work, channel), keys in self.world.keys.items():
            assert len(keys) == 1, f"{work} went to {channel} under {len(keys)} keys"
        for (work, channel), posts in self.world.posts.items():
            assert len(posts) == 1, f"{work} was shown {len(posts)} times on {channel}"

    @invariant()
    def every_request_was_meant(self) -> None:
        for error in self.violations:
            raise error

    @invariant()
    def the_rows_agree(self) -> None:
        """The logs are only added to: what is wrong in them stays so until an old database is put back, and
        is looked for then, and in the end. After every step it costs as much as all the rest."""
        if is_thorough():
            self.check_rows()

    def check_rows(self) -> None:
        problems = check_logs(self.place.database)
        assert not problems, problems

    @invariant()
    def nothing_decided_is_lost(self) -> None:
        rows = self.ask(
            "SELECT c.name, c.state, d.channel, d.state, d.on_hold FROM candidates c "
            "LEFT JOIN deliveries d ON d.candidate_id = c.id"
        )
        states = {row[0]: row[1] for row in rows}
        going: defaultdict[str, set[str]] = defaultdict(set)
        for name, _, channel, state, on_hold in rows:
            if channel is not None:
                reached[state] += 1
                is_held_back = (name, channel) in self.decided.on_hold
                assert bool(on_hold) == is_held_back, f"{name} to {channel} on hold: {on_hold}"
                if state != DeliveryState.CANCELLED:
                    going[name].add(channel)
                if state == DeliveryState.DELIVERED:
                    assert self.world.has(name, channel), f"{name} never was on {channel}"
        for name, chosen in self.decided.channels.items():
            assert states[name] in (CandidateState.APPROVED, CandidateState.QUARANTINED)
            stays = {channel for n, channel in self.decided.withdrawn if n == name}
            assert chosen - stays <= going[name], f"{name} does not go to all of {chosen}"
        for name in self.decided.rejected:
            assert states[name] == CandidateState.REJECTED
        for state in states.values():
            reached[f"candidate {state}"] += 1

    @invariant()
    def no_two_wait_for_the_same_slot(self) -> None:
        """But for what a person gave that time."""
        wait_for_slots = [(at, work) for at, work in self.queued() if not self.is_now(work)]
        by_slot = dict(wait_for_slots)
        for at, work in wait_for_slots:
            assert by_slot[at] == work, f"{by_slot[at]} and {work} wait for {at}"

    def check_nothing_doubted_again(self) -> None:
        """`artbot db restore` has asked already; the worker that comes next must not ask again."""
        if self.num_restores is not None:
            assert self.count_restores() == self.num_restores
            self.num_restores = None

    def all_faults_stop(self) -> None:
        """I20: what is due is settled or waits for a person; and when that person has acted, is out."""
        self.set_clock(self.true)
        self.is_clock_wrong = False
        self.accept_clock()
        self.time_passes(max(LATE_EFFECT, self.place.lease))
        if self.damaged():
            self.mend()
        self.resume()
        self.release()
        self.come_to_rest()
        for number, work, channel in self.deliveries("held", "failed", "dead"):
            self.send_now(number, work, channel)
        self.come_to_rest()
        for _ in range(3):  # what a wrong clock has mixed up is asked more than once
            self.time_passes(LATE_EFFECT)
            for _ in self.deliveries("uncertain"):
                self.resolve_one(0)
            self.come_to_rest()
        unsettled = self.deliveries(*set(DeliveryState) - set(SETTLED))
        assert not unsettled
        self.nothing_is_shown_twice()
        self.every_request_was_meant()
        self.check_rows()
        self.nothing_decided_is_lost()

    def come_to_rest(self) -> None:
        """A channel with slots sends one work at each."""
        for _ in range(3 + len(self.queued())):
            self.work([])
            if not self.deliveries(*WAITING, "sending"):
                break
            wait = min(self.waiting(), default=self.true) - self.clock.now
            self.time_passes(wait if wait > timedelta() else timedelta(days=2))
        left = self.deliveries(*set(DeliveryState) - {*SETTLED, *NEEDS_A_PERSON})
        assert not left, f"{left} are neither settled nor told to a person"

    # Looking

    def note(self, what: str) -> None:
        reached[what] += 1
        if currently_in_test_context():
            event(what)

    def attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Do what a person asks for; False if it is refused with words."""
        try:
            act()
        except NotAllowed:
            self.note(f"{what}: refused")
            return False
        self.note(what)
        return True

    def ask(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Past our own code; rules ask the same again and again."""
        if self.answered != (count := self.store.commits()):
            self.answers.clear()
            self.answered = count
        asked = (query, *values)
        if asked not in self.answers:
            self.answers[asked] = self.store.ask(query, *values)
        return self.answers[asked]

    def num_works(self) -> int:
        return len(self.ask("SELECT 1 FROM candidates"))

    def count_restores(self) -> int:
        return len(self.ask("SELECT 1 FROM interventions WHERE act = 'restore'"))

    def stopped(self) -> list[tuple[str, ...]]:
        return self.ask("SELECT name FROM channels WHERE state <> 'active'")

    def waiting(self) -> list[datetime]:
        """When what waits to be sent is due."""
        return [
            datetime.fromisoformat(at)
            for (at,) in self.ask(
                "SELECT d.next_at FROM deliveries d JOIN candidates c ON c.id = d.candidate_id "
                "LEFT JOIN channels ch ON ch.name = d.channel WHERE c.state = 'approved' "
                "AND d.state IN ('queued', 'retry_wait') AND NOT d.on_hold AND coalesce(ch.state, 'active') = 'active'"
            )
        ]

    def queued(self) -> list[tuple[datetime, str]]:
        """What waits for its first time through the channel with slots: when, and which work."""
        found = self.ask(
            "SELECT d.next_at, c.name FROM deliveries d JOIN candidates c ON c.id = d.candidate_id "
            "WHERE d.state = 'queued' AND NOT d.on_hold AND d.channel = ? ORDER BY d.next_at, d.id",
            self.slotted,
        )
        return [(datetime.fromisoformat(at), work) for at, work in found]

    def kept_back(self) -> bool:
        """Whether anything would have been sent, were it not on hold."""
        found = self.ask(
            "SELECT d.next_at FROM deliveries d JOIN candidates c ON c.id = d.candidate_id "
            "LEFT JOIN channels ch ON ch.name = d.channel WHERE c.state = 'approved' "
            "AND d.state IN ('queued', 'retry_wait') AND d.on_hold "
            "AND coalesce(ch.state, 'active') = 'active'"
        )
        return any(datetime.fromisoformat(at) <= self.clock.now for (at,) in found)

    def count_spread(self) -> int:
        return len(
            self.ask("SELECT 1 FROM interventions WHERE act = 'move' AND via = 'publishing'")
        )

    def pick(self, which: int) -> tuple[int, str, str]:
        found = self.ask("SELECT id, name, state FROM candidates ORDER BY id")
        number, name, state = found[which % len(found)]
        return int(number), name, state

    def deliveries(self, *states: str) -> list[tuple[int, str, str]]:
        """Number, work and channel of those in `states`, or of all."""
        found = self.ask(
            "SELECT d.id, c.name, d.channel, d.state FROM deliveries d "
            "JOIN candidates c ON c.id = d.candidate_id ORDER BY d.id"
        )
        return [(int(n), work, to) for n, work, to, state in found if not states or state in states]

    def picture(self, work: int) -> Path:
        paths = dict(self.ask("SELECT id, path FROM candidates"))
        return self.settings_.works / str(paths[work])

    def damaged(self) -> list[int]:
        """Works whose picture is not what it was, or is not known to be again."""
        found = self.ask("SELECT id, name, state FROM candidates")
        return [n for n, name, state in found if state == "quarantined" or name in self.harmed]


@contextmanager
def no_lock(_: Path, __: str) -> Iterator[None]:
    yield


@pytest.fixture
def empty(database_kind: str, migrated_file: Path, request: pytest.FixtureRequest) -> Store:
    """A database to make lives of."""
    if database_kind == "sqlite":
        return FileStore(migrated_file)
    server: Server = request.getfixturevalue("postgresql")
    return ServerStore(server, request.getfixturevalue("migrated"))


def is_thorough() -> bool:
    return settings.get_current_profile_name() == "thorough"


def test_no_work_is_ever_shown_twice_or_lost(database_kind: str, empty: Store) -> None:
    options = settings(
        max_examples=settings().max_examples if is_thorough() else EXAMPLES[database_kind],
        stateful_step_count=50,
        deadline=None,
        derandomize=not is_thorough(),
        suppress_health_check=list(HealthCheck),
    )
    reached.clear()

    class Begun(Life):
        def __init__(self) -> None:
            super().__init__(empty)

    if not is_thorough():  # `make test` finds tomorrow what it found today
        seed(SEED)(Begun)
    run_state_machine_as_test(Begun, settings=options)
    missing = EXPECTED - set(reached)
    if database_kind == "postgresql":
        missing -= OF_FILES
    if is_thorough():
        assert not missing, f"never came up: {missing}"
    elif database_kind == "sqlite":  # on PostgreSQL there are too few
        assert len(missing) <= 12, f"never came up: {missing}"
        assert not missing & (WRONG_CLOCKS | QUEUE)


# Lives that went wrong once


@pytest.fixture
def life(empty: Store) -> Iterator[Life]:
    """A workplace with one batch of two works, at noon: before its time, which is 18:00."""
    life = Life(empty)
    yield life
    life.teardown()


def test_who_comes_after_a_killed_worker_takes_over_its_lease_and_on_another_host_waits_for_it(
    life: Life,
) -> None:
    life.approve_all()
    life.time_passes(timedelta(minutes=11))
    reached.clear()
    life.work([Fate.DIES_SENT])
    life.work([Fate.DIES_SENT])
    assert reached["a lease is taken over"] == 1
    life.the_machine_starts_anew(is_elsewhere=True)
    if life.path is None:
        life.work([])
        assert reached["a lease is waited for"] == 1
        life.time_passes(life.place.lease)
    life.work([])
    assert reached["a lease is taken over"] == 2


@on_sqlite_only
def test_a_batch_made_again_after_a_restore_is_doubted_even_if_it_is_made_later_than_before(
    life: Life,
) -> None:
    """Its extra batch is due when a person asks for it: after the restore, this time."""
    life.back_up()
    life.paint(is_extra=True)
    life.approve_all()
    life.time_passes(timedelta(minutes=11))
    life.work([])
    life.restore(0)
    life.paint(is_extra=True)
    life.approve_all()
    life.time_passes(timedelta(minutes=11))
    life.work([])
    assert len(life.deliveries("uncertain")) == 12


@on_sqlite_only
def test_a_batch_made_ahead_of_its_time_is_doubted_after_a_restore(life: Life) -> None:
    life.clock.now += timedelta(days=1)
    life.back_up()
    life.paint(is_extra=False)
    life.approve_all()
    life.time_passes(timedelta(minutes=11))
    life.work([])
    life.restore(0)
    life.paint(is_extra=False)
    life.approve_all()
    life.time_passes(timedelta(minutes=11))
    life.work([])


@on_sqlite_only
def test_after_a_restore_absent_is_believed_only_once_no_lost_attempt_can_take_effect(
    life: Life,
) -> None:
    life.approve(0, None, ("never",))
    life.back_up()
    life.time_passes(timedelta(minutes=11))
    life.work([Fate.LATE])
    life.restore(0)
    life.resolve_one(0)
    assert life.deliveries("uncertain"), "it may take effect in a quarter of an hour"
    life.work([])
    life.time_passes(LATE_EFFECT)
    life.resolve_one(0)
    assert life.deliveries("delivered")


@on_sqlite_only
def test_what_a_person_said_after_a_restore_is_not_asked_again(life: Life) -> None:
    life.approve(0, None, ("never",))
    life.approve(1, None, ("never",))
    life.back_up()
    life.time_passes(timedelta(minutes=11))
    life.work([Fate.TIMED_OUT])
    life.restore(0)
    life.time_passes(LATE_EFFECT)
    life.resolve_one(0)
    life.work([])
    assert life.deliveries("delivered")


@on_sqlite_only
def test_a_backup_can_be_restored_twice_in_one_second(life: Life) -> None:
    life.back_up()
    life.restore(0)
    life.restore(0)
    life.work([])


def test_nothing_is_sent_through_a_channel_once_a_person_was_told_that_it_is_paused(
    life: Life,
) -> None:
    life.approve(0, None, ("never",))
    life.meddle(Meddling.PAUSE, 0)
    assert life.deliveries("queued")


def test_a_worker_that_was_replaced_does_not_set_the_mark_back(life: Life) -> None:
    life.approve_all()
    life.time_passes(timedelta(minutes=11))
    life.work([Fate.NAPS])


def test_a_work_taken_back_and_approved_while_there_was_no_channel_goes_out_when_approved_again(
    life: Life,
) -> None:
    life.approve(0, None, None)
    life.undo(0)
    life.approve(0, None, ())
    life.check_rows()
    life.approve(0, None, None)
    assert len(life.deliveries("queued")) == len(CHANNELS)


def test_an_outage_of_many_weeks_ends_with_a_person_who_is_told_and_nothing_is_lost(
    life: Life,
) -> None:
    life.approve(0, None, ("never",))
    for _ in range(20):
        life.time_passes(timedelta(days=1, hours=5))
        life.resume()
        life.work([Fate.UNAVAILABLE] * 3)
    assert life.deliveries("dead")


def test_what_is_put_on_hold_or_moved_in_the_moment_of_its_claim_is_not_sent(life: Life) -> None:
    for which, meddling in enumerate((Meddling.HOLD, Meddling.MOVE)):
        life.approve(which, None, ("never",))
        life.meddle(meddling, 0)
    assert len(life.deliveries("queued")) == 2
    life.every_request_was_meant()


def test_sent_now_through_a_channel_that_rests_lets_out_no_bunch(life: Life) -> None:
    """A person says so while the worker is busy with another channel: with that the rest is over."""
    life.paint(is_extra=True)
    life.approve(0, None, ("looks", "never"))
    for which in (1, 2):
        life.approve(which, None, ("looks",))
    first, other, _, third = life.deliveries()
    slot = next(slots_after(life.clock.now))
    until = slot - life.clock.now
    life.put_at(*other, until + timedelta(hours=1))
    life.put_at(*third, until + timedelta(minutes=7))
    life.time_passes(until)
    life.work([Fate.BUSY])
    life.time_passes(timedelta(hours=1))
    life.work([], lambda: life.send_now(*first))
    assert life.deliveries("delivered") == [first, other, third]

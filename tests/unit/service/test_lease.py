"""A healthy worker at the slowest pace it is allowed is never taken for dead, by other hosts or by systemd.

What is slow here turns the clock forward by all the time it is allowed, and looks whether the lease held and
whether a watchdog would have bitten.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import BaseModel

from artbot.config import load_settings
from artbot.daemon.run import Daemon
from artbot.daemon.supervision import Supervision
from artbot.domain.delivery import FOR_EVER
from artbot.errors import DeviceFailed, RenderFailed, Unavailable
from artbot.publishing import alerts, http, outbox
from artbot.publishing.channels import Outlet, Parcel, Post, Receipt, Sender, settings_models
from artbot.publishing.notices import Operator, Subscriber
from artbot.review.decisions import approve
from artbot.studio.provenance import Origin
from artbot.studio.render import Painting, RenderOptions
from artbot.worker import LEASE
from artbot.workplace import SENDING_S, Workplace
from db.models import Batch
from tests.faults.kill_driver import Brush
from tests.faults.killing import begin_batch
from tests.unit.service.kit import (
    ANNA,
    NOON,
    SECRET,
    SetClock,
    add_works,
    deliveries,
    notices,
    workplace_row,
)

TIMEOUTS = [(180.0, 120.0), (1.0, 1.0), (120.0, 900.0), (3600.0, 5.0)]


@dataclass
class Slow:
    """The clock, and what happens as it is turned forward."""

    place: Workplace
    clock: SetClock
    seen_alive: list[float] = field(default_factory=list)

    def take(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        until = workplace_row(self.place.database).leased_until
        assert until is not None
        assert until > self.clock(), f"deposed {self.clock() - until} ago"

    def alive(self) -> None:
        self.seen_alive.append((self.clock() - NOON).total_seconds())

    def longest_silence_s(self) -> float:
        moments = [0.0, *self.seen_alive]
        return max(b - a for a, b in pairwise(moments))


@dataclass
class Systemd(Supervision):
    slow: Slow

    def __post_init__(self) -> None:
        super().__init__({})

    def alive(self) -> None:
        self.slow.alive()


@contextmanager
def at_work(root: Path, timeouts: tuple[float, float]) -> Iterator[Slow]:
    start_s, picture_s = timeouts
    (root / "secrets").mkdir()
    (root / "secrets/webhook").write_text(SECRET)
    (root / "secrets/webhook").chmod(0o600)
    (root / "artbot.toml").write_text(
        f"[studio]\nstart_timeout_s = {start_s}\npicture_timeout_s = {picture_s}\n"
        '[schedules.daily]\nat = "07:00"\ntimezone = "UTC"\ncandidates = 4\n'
        '[channels.studio]\ntype = "webhook"\nurl = "https://example.org"\n'
        'secret_file = "secrets/webhook"\n[publishing]\nundo_minutes = 0\n[backup]\nevery_hours = 0\n'
    )
    clock = SetClock()
    settings = load_settings(root, settings_models())
    place = Workplace(settings, clock, lambda: ("boot", (clock() - NOON).total_seconds()))
    slow = Slow(place, clock)
    with place.work("daemon"):
        yield slow
    place.close()


@pytest.mark.parametrize("timeouts", TIMEOUTS)
def test_the_lease_outlasts_every_start_and_every_picture_however_they_end(
    tmp_path: Path, timeouts: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second start fails with its device, the third picture hangs; each takes all its time."""
    begin_batch(tmp_path, tmp_path / "db/artbot.sqlite3")
    with at_work(tmp_path, timeouts) as slow:
        starts: list[int] = []
        pictures: list[str] = []

        class SlowBrush(Brush):
            def __init__(self, kept: Path, options: RenderOptions) -> None:
                super().__init__(kept, options)
                starts.append(1)
                slow.take(options.start_timeout_s)
                if len(starts) == 2:
                    raise DeviceFailed("it had no memory")

            def paint(self, origin: Origin, path: Path) -> Painting:
                pictures.append(origin["candidate"])
                slow.take(timeouts[1])
                if len(pictures) == 3:
                    raise RenderFailed("it hung")
                return super().paint(origin, path)

        monkeypatch.setattr("artbot.studio.batch.RenderChild", SlowBrush)
        assert Daemon(slow.place, lambda: False, Systemd(slow)).round()
        assert (len(starts), len(pictures)) == (3, 5)
        assert slow.longest_silence_s() < slow.place.longest_wait_s


@pytest.mark.parametrize("timeouts", TIMEOUTS)
def test_the_lease_outlasts_every_slow_receiver(
    tmp_path: Path, timeouts: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with at_work(tmp_path, timeouts) as slow:
        for work in add_works(slow.place.database, tmp_path / "works", 9):
            approve(slow.place.review, work, ANNA)

        class SlowSender(Sender):
            def prepare(self, parcel: Parcel, now: datetime) -> None:
                for _ in range(3):
                    slow.take(SENDING_S)
                    parcel.alive()

            def commit(self, parcel: Parcel, now: datetime) -> Receipt:
                slow.take(SENDING_S)
                return Receipt(200, "at last")

        outlets = {"studio": Outlet(lambda work: Post(work.title), SlowSender, FOR_EVER)}
        monkeypatch.setattr("artbot.publishing.channels.outlets", lambda settings: outlets)
        Daemon(slow.place, lambda: False, Systemd(slow)).round()
        assert {d.state for d in deliveries(slow.place.database)} == {"delivered"}
        assert slow.longest_silence_s() < slow.place.longest_wait_s


def test_the_lease_outlasts_every_slow_telling(tmp_path: Path) -> None:
    """Three receivers that take all their time and then answer nothing, and an operator likewise."""

    class SlowEar:
        def tell(self, message_id: str, event: BaseModel, now: datetime) -> Receipt:
            slow.take(SENDING_S)
            raise Unavailable("no answer")

    def ring(message: alerts.Message) -> list[alerts.Fared]:
        slow.take(SENDING_S)
        raise Unavailable("no answer")

    kinds = frozenset({"batch.ready"})
    with at_work(tmp_path, TIMEOUTS[0]) as slow:
        add_works(slow.place.database, tmp_path / "works", 1)
        with slow.place.database.write() as session:
            session.query(Batch).one().finished_at = NOON
        vars(slow.place)["notices"] = replace(
            slow.place.notices,
            channels={name: Subscriber(kinds, SlowEar) for name in ("one", "two", "three")},
            operator=Operator(kinds, 3, ring),
        )
        Daemon(slow.place, lambda: False, Systemd(slow)).round()
        assert {n.num_attempts for n in notices(slow.place.database)} == {1}
        assert slow.longest_silence_s() < slow.place.longest_wait_s


def test_one_attempt_takes_less_than_is_reckoned_for_it() -> None:
    longest = http.DEADLINE_S + http.READ_TIMEOUT_S + outbox.RECORD_WITHIN_S
    assert longest + outbox.RECORD_AGAIN_S < SENDING_S
    assert alerts.DEADLINE_S < SENDING_S


def test_by_default_another_host_takes_over_after_five_minutes(tmp_path: Path) -> None:
    (tmp_path / "artbot.toml").write_text("")
    assert Workplace(load_settings(tmp_path, {})).lease == LEASE == timedelta(minutes=5)

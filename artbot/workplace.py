"""A workplace with everything in it connected: where settings become a studio, a review and an outbox.

Every face starts here. What needs torch, the network or the database is imported when it is asked
for, so that `artbot --help` and `artbot status` stay quick.
"""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from artbot.clock import BootClock, Clock, system_boot, system_clock
from artbot.config import Settings, find_workplace, load_settings
from artbot.errors import DatabaseError
from artbot.failpoints import failpoint
from artbot.mark import Mark, read_mark, write_mark
from artbot.worker import (
    accept_clock,
    check_clock,
    check_nobody_elsewhere,
    current_worker,
    hold_epoch,
    hold_worker,
    keep_working,
    worker_elsewhere,
)

if TYPE_CHECKING:
    from artbot.publishing.outbox import Outbox
    from artbot.review.decisions import Review
    from artbot.studio.batch import Studio
    from db.engine import Database


LEFT_OVER_S = 3600.0
"""What is half made and was not touched for so long, nobody is making any more."""

log = logging.getLogger("artbot")


@dataclass(frozen=True)
class Workplace:
    """An opened workplace."""

    settings: Settings
    clock: Clock = system_clock
    boot: BootClock = system_boot

    @cached_property
    def database(self) -> Database:
        """Opened, and brought to this artbot's schema, on first use. Raises DatabaseError."""
        from sqlalchemy.exc import SQLAlchemyError

        from db.engine import described, open_database

        try:
            return open_database(self.settings.database)
        except (SQLAlchemyError, OSError, RuntimeError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise DatabaseError(
                f"the database {described(self.settings.database)} cannot be opened: {reason}"
            ) from error

    @cached_property
    def studio(self) -> Studio:
        from artbot.studio.batch import Studio
        from artbot.studio.render import RenderOptions

        studio = self.settings.studio
        return Studio(
            database=self.database,
            checkpoints=self.settings.checkpoints,
            works=self.settings.works,
            schedules=self.settings.schedules,
            truncation_psi=studio.truncation_psi,
            render_options=RenderOptions(
                device=studio.device,
                start_timeout_s=studio.start_timeout_s,
                picture_timeout_s=studio.picture_timeout_s,
                environment=self.settings.child_environment(),
            ),
            clock=self.clock,
        )

    @cached_property
    def review(self) -> Review:
        from artbot.publishing.channels import recognition
        from artbot.review.decisions import Review

        return Review(
            database=self.database,
            works=self.settings.works,
            texts=self.settings.texts,
            channels=recognition(self.settings),
            undo_time=timedelta(minutes=self.settings.publishing.undo_minutes),
            clock=self.clock,
        )

    @cached_property
    def outbox(self) -> Outbox:
        """Reads the channels' secrets. Raises ConfigError."""
        from artbot.publishing.channels import open_channels, recognition
        from artbot.publishing.outbox import Outbox

        senders = open_channels(
            self.settings
        )  # first: a wrong secret is told before a file is touched
        return Outbox(
            database=self.database,
            works=self.settings.works,
            senders=senders,
            recognition=recognition(self.settings),
            clock=self.clock,
            random_share=random.random,
            before_send=self._remember_attempt,
        )

    @contextmanager
    def work(self, task: str) -> Iterator[None]:
        """Be the worker of this workplace. Raises WorkerBusy, of another host WorkerElsewhere.

        What a killed worker left on the wire is put right first: nobody else can be sending now.
        """
        with hold_worker(self.settings.lock, task):
            check_nobody_elsewhere(self.database, self.clock, self.settings.root)
            self._notice_old_database()
            with hold_epoch(self.database, task, self.clock, self.settings.root):
                failpoint("worker.begun")
                self._remember_attempt(None)
                self.recover()
                self._clear_up()
                failpoint("worker.recovered")
                yield

    def _notice_old_database(self) -> None:
        """A database that knows less than was done was restored, whoever did it and however."""
        from artbot.publishing.channels import recognition
        from artbot.publishing.interventions import Actor, doubt_after_restore

        try:
            mark = read_mark(self.settings.mark)
        except (OSError, ValueError) as error:
            raise DatabaseError(
                f"{self.settings.mark} cannot be read: {error}. Without it nobody knows what was sent last. "
                "If the database is the right one, remove that file."
            ) from error
        if mark is None or not self._where_it_stands().is_older(mark):
            return
        doubtful = doubt_after_restore(
            self.database,
            recognition(self.settings),
            None,
            mark,
            Actor("artbot", "worker", "the database is older than what was done last"),
            self.clock(),
        )
        log.warning(
            "the database is older than what was done last: it was restored, or is another one. "
            "%d deliveries may have been posted since and wait for you: artbot deliveries list",
            len(doubtful),
        )

    def _where_it_stands(self) -> Mark:
        from sqlalchemy import func, select

        from db.models import Attempt, WorkplaceRow

        with self.database.read() as session:
            row = session.get_one(WorkplaceRow, 1)
            newest: int | None = session.scalar(select(func.max(Attempt.id)))
        return Mark(row.workplace_id, row.generation, row.epoch, newest or 0)

    def _remember_attempt(self, attempt_id: int | None) -> None:
        """Write the mark: the work has got as far as this attempt (None: as the database stands)."""
        stands = self._where_it_stands()
        write_mark(self.settings.mark, replace(stands, attempt_id=attempt_id or stands.attempt_id))

    def recover(self) -> None:
        """Close the attempts that no process will close any more. Only for the worker."""
        from artbot.publishing.channels import recognition
        from artbot.publishing.outbox import recover_interrupted

        recover_interrupted(self.database, recognition(self.settings), self.clock())

    def _clear_up(self) -> None:
        """Remove what killed processes were making under names of its own: copies of generators."""
        for folder in (self.settings.works / "generators").glob(".*.tmp"):
            if time.time() - folder.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(folder, ignore_errors=True)

    def keep_working(self) -> None:
        """To be called now and then by the worker. Raises ClockDoubted, and Fenced when another worker
        has taken over."""
        keep_working(self.database, self.clock, self.boot)

    def check_clock(self) -> None:
        """Raises ClockDoubted when what is made now would be made for a wrong day."""
        from db.models import WorkplaceRow

        with self.database.read() as session:
            row = session.get_one(WorkplaceRow, 1)
        check_clock(row, self.clock, self.boot)

    def accept_clock(self) -> None:
        """A person says that the clock is right."""
        accept_clock(self.database, self.clock, self.boot)

    def current_worker(self) -> str | None:
        """Who works on this workplace now, on this host or another; None if nobody does."""
        return current_worker(self.settings.lock) or worker_elsewhere(
            self.database, self.clock, self.settings.root
        )


def open_workplace(given: Path | None) -> Workplace:
    """The workplace at `given`, or the one that is found. Raises NoWorkplace, ConfigError."""
    from artbot.publishing.channels import settings_models

    return Workplace(load_settings(find_workplace(given), settings_models()))

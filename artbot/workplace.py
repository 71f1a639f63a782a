"""A workplace with everything in it connected: where settings become a studio, a review and an outbox.

Every face starts here. What needs torch, the network or the database is imported when it is asked
for, so that `artbot --help` and `artbot status` stay quick.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from artbot.clock import Clock, system_clock
from artbot.config import Settings, find_workplace, load_settings
from artbot.errors import DatabaseError
from artbot.worker import current_worker, hold_worker

if TYPE_CHECKING:
    from artbot.publishing.outbox import Outbox
    from artbot.review.decisions import Review
    from artbot.studio.batch import Studio
    from db.engine import Database


@dataclass(frozen=True)
class Workplace:
    """An opened workplace."""

    settings: Settings
    clock: Clock = system_clock

    @cached_property
    def database(self) -> Database:
        """Opened, and brought to this artbot's schema, on first use. Raises DatabaseError."""
        from sqlalchemy.exc import SQLAlchemyError

        from db.engine import open_database

        try:
            return open_database(self.settings.database)
        except (SQLAlchemyError, OSError, RuntimeError) as error:
            reason = getattr(error, "orig", None) or error
            raise DatabaseError(
                f"the database {self.settings.database} cannot be opened: {reason}"
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
        from artbot.review.decisions import Review

        return Review(
            database=self.database,
            works=self.settings.works,
            texts=self.settings.texts,
            channels=list(self.settings.channels),
            undo_time=timedelta(minutes=self.settings.publishing.undo_minutes),
            clock=self.clock,
        )

    @cached_property
    def outbox(self) -> Outbox:
        """Reads the channels' secrets. Raises ConfigError."""
        from artbot.publishing.channels import open_channels
        from artbot.publishing.outbox import Outbox

        return Outbox(
            database=self.database,
            works=self.settings.works,
            senders=open_channels(self.settings),
            clock=self.clock,
            random_share=random.random,
        )

    @contextmanager
    def work(self, task: str) -> Iterator[None]:
        """Be the worker of this workplace. Raises WorkerBusy.

        What a killed worker left on the wire is put right first: nobody else can be sending now.
        """
        from artbot.publishing.outbox import recover_interrupted

        with hold_worker(self.settings.database, task):
            recover_interrupted(self.database, self.clock())
            yield

    def current_worker(self) -> str | None:
        return current_worker(self.settings.database)


def open_workplace(given: Path | None) -> Workplace:
    """The workplace at `given`, or the one that is found. Raises NoWorkplace, ConfigError."""
    from artbot.publishing.channels import settings_models

    return Workplace(load_settings(find_workplace(given), settings_models()))

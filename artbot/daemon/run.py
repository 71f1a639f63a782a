"""The daemon's loop: plan, make, send, wait; every round safe to be its last.

One thread does all the work, in order. Nothing here remembers anything that matters: each round
asks the database what is due, so a round cut off anywhere is simply begun again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

from sqlalchemy.exc import SQLAlchemyError

from artbot.config import Settings
from artbot.daemon.complaints import Complaints
from artbot.daemon.page import serving_page
from artbot.daemon.schedule import nudging
from artbot.daemon.supervision import Supervision
from artbot.domain.notice import NoticeState
from artbot.errors import ArtbotError, ConfigError, SchedulerDied
from artbot.failpoints import failpoint
from artbot.publishing.notices import NoticeFared, note, tell_due
from artbot.publishing.outbox import Sent, deliver_due, has_due
from artbot.review.decisions import expire
from artbot.studio.batch import Listener, make_batch, unfinished_batches
from artbot.studio.planning import ensure_due, give_up_on_old
from artbot.upkeep.backup import is_backup_due, make_backup
from artbot.workplace import Workplace

SWEEP_S = 2.0
"""An approval is on its way after at most this, even if nobody nudges."""
PAUSE_AFTER_FAILURE_S = 60.0
"""A batch or a database that failed is tried again after this."""
NOTE_EVERY_S = 30.0
"""What happened is noted after at most this: looking for it asks more than a round usually does."""

log = logging.getLogger("artbot")


class Daemon:
    """Does the work of one workplace. The caller holds the worker lock."""

    def __init__(
        self, workplace: Workplace, should_stop: Callable[[], bool], supervision: Supervision
    ) -> None:
        self._workplace = workplace
        self._should_stop = should_stop
        self._supervision = supervision
        self._not_before: dict[str, float] = {}
        self._complaints = Complaints()
        self._num_failures = 0
        self._note_at = 0.0

    def run(self, stop: Event, wake: Event) -> None:
        """Rounds until `stop` is set; `wake` starts the next one early.

        Raises SchedulerDied: better begun again as a whole than half alive.
        """
        settings = self._workplace.settings
        log.info("at work in %s: %s", settings.root, _summary(settings))
        if settings.alerts.urls_file is not None:
            try:
                settings.alerts.read_addresses(settings.root)
            except ConfigError as error:  # works go out all the same
                log.warning("nobody can be alerted: %s", error)
        with (
            serving_page(settings),
            nudging(settings.schedule_list(), wake.set) as is_scheduler_alive,
        ):
            self._supervision.ready(self._workplace.longest_wait_s)
            while not stop.is_set():
                self.round()
                if not is_scheduler_alive():
                    raise SchedulerDied(
                        "the scheduler's thread has ended by itself. The daemon ends too: whoever "
                        "started it should start it again; nothing is lost."
                    )
                wake.wait(SWEEP_S)
                wake.clear()
            self._supervision.stopping()
        log.info("stopped")

    def round(self) -> bool:
        """Do everything that is due now; True if nothing failed. Failures are logged, not raised."""
        self._num_failures = 0
        if self._attempt("the clock", self._workplace.keep_working):
            self._attempt("planning", self._plan)
            self._attempt("batches", self._make)
            self._attempt("sending", self._send)
            self._attempt("notices", self._tell)
            self._attempt("expiry", self._expire)
            self._attempt("backup", self._back_up)
        return self._num_failures == 0

    def _plan(self) -> None:
        workplace = self._workplace
        now = workplace.clock()
        failpoint("batch.due")
        for planned in ensure_due(workplace.database, workplace.settings.schedules, now):
            log.info(
                "batch %s is %s%s",
                planned.key,
                planned.state,
                f" ({planned.reason})" if planned.reason else "",
            )

    def _make(self) -> None:
        """Unfinished batches, each kept from holding up the others."""
        workplace = self._workplace
        for key in unfinished_batches(workplace.database):
            if not self._should_stop():
                self._attempt(f"batch {key}", partial(self._make_one, key))
        for key in give_up_on_old(workplace.database, workplace.clock()):
            log.warning("batch %s was given up: it could not be made in time", key)

    def _make_one(self, key: str) -> None:
        painted: list[str] = []  # one line per batch, not one per picture

        listener = Listener(
            on_refused=lambda name, why: log.warning("checkpoint %s is refused: %s", name, why),
            on_painted=lambda name, _done, _total: painted.append(name),
            on_render_error=lambda name, why: log.error("could not paint %s: %s", name, why),
            on_advanced=self._advanced,
        )
        state = make_batch(self._workplace.studio, key, listener, self._should_stop)
        log.info("batch %s is %s: %d painted", key, state, len(painted))

    def _send(self) -> None:
        workplace = self._workplace
        workplace.recover()
        if has_due(workplace.database, list(workplace.settings.channels), workplace.clock()):
            outbox = replace(workplace.outbox, alive=self._advanced)
            deliver_due(outbox, self._sent, self._should_stop)

    def _tell(self) -> None:
        """Works go first: what is due meanwhile does not wait until everybody is told."""
        workplace = self._workplace
        notices = replace(workplace.notices, alive=self._advanced)
        if time.monotonic() >= self._note_at:
            note(notices)
            self._note_at = time.monotonic() + NOTE_EVERY_S

        def should_stop() -> bool:
            is_sending_ill = time.monotonic() < self._not_before.get("sending", 0.0)
            channels = list(workplace.settings.channels)
            return self._should_stop() or (
                not is_sending_ill and has_due(workplace.database, channels, workplace.clock())
            )

        tell_due(notices, log_told, should_stop)

    def _expire(self) -> None:
        for name in expire(self._workplace.review, self._workplace.settings.review.expire_days):
            log.info("%s expired: nobody decided about it", name)

    def _back_up(self) -> None:
        settings, now = self._workplace.settings, self._workplace.clock()
        if isinstance(settings.database, Path) and is_backup_due(
            settings.backups, settings.backup.every_hours, now
        ):
            made = make_backup(settings.database, settings.backups, now, settings.backup.keep)
            log.info("backup %s, %.0f kB", made.path, made.num_bytes / 1000)

    def _sent(self, sent: Sent) -> None:
        log_sent(sent)
        self._advanced()

    def _advanced(self) -> None:
        """Something is done that may have taken its whole time, and the next may take as long: say that the
        worker lives. Raises ClockDoubted, Fenced: then the next is not to begin."""
        self._supervision.alive()
        self._workplace.keep_working()

    def _attempt(self, what: str, work: Callable[[], None]) -> bool:
        """Run `work`; True if it went well. After a failure say so and leave it alone for a while."""
        if time.monotonic() < self._not_before.get(what, 0.0):
            return False
        try:
            work()
        except (ArtbotError, SQLAlchemyError, OSError) as error:
            self._num_failures += 1
            self._not_before[what] = time.monotonic() + PAUSE_AFTER_FAILURE_S
            self._complaints.say(what, error)
            self._supervision.alive()
            return False
        self._complaints.settled(what)
        self._supervision.alive()
        return True


def log_sent(sent: Sent) -> None:
    """One line per attempt."""
    if sent.next_at is None:
        level = logging.INFO if sent.state == "delivered" else logging.ERROR
        log.log(
            level,
            "%s to %s: %s%s",
            sent.work,
            sent.channel,
            sent.state,
            f" ({sent.detail})" if sent.detail else "",
        )
    else:
        log.warning(
            "%s to %s: %s; next try %s",
            sent.work,
            sent.channel,
            sent.detail,
            sent.next_at.isoformat(timespec="seconds"),
        )


def log_told(one: NoticeFared) -> None:
    """One line per notice."""
    level, again = logging.INFO if not one.detail else logging.WARNING, ""
    if one.next_at is not None:
        again = f"; next try {one.next_at.isoformat(timespec='seconds')}"
    elif one.state == NoticeState.GIVEN_UP:
        level = logging.ERROR
    state = one.state.replace("_", " ")
    detail = f" ({one.detail})" if one.detail else ""
    log.log(level, "%s to %s: %s%s%s", one.kind, one.recipient, state, detail, again)


def _summary(settings: Settings) -> str:
    schedules = ", ".join(
        f"{n} at {s.at:%H:%M} {s.timezone}" for n, s in settings.schedules.items()
    )
    return f"schedules {schedules or 'none'}; channels {', '.join(settings.channels) or 'none'}"

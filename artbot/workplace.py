"""A workplace with everything in it connected: where settings become a studio, a review and an outbox.

Every face starts here. What needs torch, the network or the database is imported when it is asked
for, so that `artbot --help` and `artbot status` stay quick.
"""

from __future__ import annotations

import logging
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from artbot.clock import BootClock, Clock, system_boot, system_clock
from artbot.config import Settings, find_workplace, load_settings
from artbot.domain.calendar import ClockMark, may_have_lost_time
from artbot.domain.delivery import counted
from artbot.errors import ConfigError, DatabaseError, Rejected, StorageFailed, Unavailable
from artbot.failpoints import failpoint
from artbot.mark import Mark, left_over_marks, read_mark, write_mark
from artbot.worker import (
    LEASE,
    RENEW_AFTER,
    accept_clock,
    check_clock,
    check_nobody_elsewhere,
    current_worker,
    hold_epoch,
    hold_worker,
    keep_working,
    last_look,
    worker_elsewhere,
)

if TYPE_CHECKING:
    from artbot.publishing.acts import Actor
    from artbot.publishing.alerts import Fared, Message, Sheet
    from artbot.publishing.notices import Notices
    from artbot.publishing.outbox import Outbox
    from artbot.review.decisions import Review
    from artbot.studio.batch import Studio
    from db.engine import Database
    from db.models import Candidate


LEFT_OVER_S = 3600.0
"""What is half made and was not touched for so long, nobody is making any more."""
SENDING_S = 180.0
"""One attempt takes less, however slow receiver and database are (artbot.publishing.http, .outbox)."""
MOST_IN_ALERT = 60
"""Pictures on the contact sheet that an alert carries: it is looked at on a telephone."""
MARGIN_S = 60.0
"""Added to the longest time limit there is: what else happens between two signs of life takes less."""

log = logging.getLogger("artbot")


@dataclass(frozen=True)
class Workplace:
    """An opened workplace."""

    settings: Settings
    clock: Clock = system_clock
    boot: BootClock = system_boot

    @cached_property
    def database(self) -> Database:
        """Opened, and brought to this artbot's schema, on first use; a new workplace's is made.

        Raises DatabaseError; also when it was there once and is gone: an empty one in its place would have
        the day painted again, and what was approved forgotten.
        """
        from sqlalchemy.exc import SQLAlchemyError

        from db.engine import described, open_database

        where, sign = self.settings.database, self._sign_of_work()
        try:
            return open_database(where, may_create=sign is None)
        except FileNotFoundError as error:
            raise DatabaseError(
                f"the database {where} is gone or empty, and artbot was at work here: {sign} is there. Put a "
                "backup in its place (artbot db list, artbot db restore FILE), or begin anew without all that "
                f"was decided: artbot init {self.settings.root}"
            ) from error
        except (SQLAlchemyError, OSError, RuntimeError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise DatabaseError(
                f"the database {described(where)} cannot be opened: {reason}"
            ) from error

    def open_database(self) -> None:
        """Now, rather than on first use. Raises DatabaseError."""
        _ = self.database

    def close(self) -> None:
        """Let go of the database, if it was opened."""
        if "database" in vars(self):
            self.database.close()

    def begin_anew(self) -> Path | None:
        """Make an empty database where the old one was lost; returns its path, None if nothing was lost.

        The next worker finds it older than the mark, and gives it the identity and the doubts of a restored
        one: what is approved again has the delivery key it had. Raises sqlalchemy.exc.SQLAlchemyError, OSError.
        """
        from db.engine import open_database

        where = self.settings.database
        if not isinstance(where, Path) or self._sign_of_work() is None:
            return None
        if where.exists() and where.stat().st_size:
            return None
        open_database(where).close()
        return where

    def _sign_of_work(self) -> Path | None:
        """What only a workplace has that had a database; None in a new one."""
        settings = self.settings
        signs = (settings.mark, settings.works / "generators", settings.backups)
        pictures = settings.works.glob("*/*.png")
        return next((sign for sign in signs if sign.exists()), None) or next(pictures, None)

    @cached_property
    def studio(self) -> Studio:
        from artbot.publishing.channels import timetables
        from artbot.publishing.queue import come_back
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
            requeue=partial(come_back, timetables(self.settings)),
        )

    @cached_property
    def review(self) -> Review:
        from artbot.publishing.acts import Actor
        from artbot.publishing.channels import protections, timetables
        from artbot.publishing.queue import place
        from artbot.review.decisions import Review

        slots = timetables(self.settings)

        return Review(
            database=self.database,
            works=self.settings.works,
            texts=self.settings.texts,
            channels=protections(self.settings),
            undo_time=timedelta(minutes=self.settings.publishing.undo_minutes),
            clock=self.clock,
            refusals=self._refusals,
            place=lambda session, delivery, when, not_before, author, now: place(
                slots, session, delivery, when, not_before, Actor(author.by, author.via), now
            ),
        )

    def _refusals(self, candidate: Candidate, channels: Sequence[str]) -> dict[str, str]:
        """Why each of these channels could never take the work. Raises PictureChanged, StorageFailed."""
        from artbot.publishing.channels import outlets
        from artbot.publishing.work import approved_work

        work, refused = approved_work(candidate, self.settings.works), {}
        for name, outlet in outlets(self.settings).items():
            if name in channels:
                try:
                    outlet.compose(outlet.sign(work))
                except Rejected as reason:
                    refused[name] = str(reason)
                except Unavailable:  # not now: the sending tries again
                    pass
        return refused

    @cached_property
    def outbox(self) -> Outbox:
        """Reads the channels' secrets. Raises ConfigError if none can be used."""
        from artbot.publishing.channels import open_channels, outlets, timetables
        from artbot.publishing.outbox import Outbox

        open_channels(self.settings)  # first: told before a file is touched
        return Outbox(
            database=self.database,
            works=self.settings.works,
            outlets=outlets(self.settings),
            clock=self.clock,
            random_share=random.random,
            before_send=self._remember,
            alive=self.keep_working,
            timetables=timetables(self.settings),
        )

    @cached_property
    def notices(self) -> Notices:
        """What is told besides works, and to whom."""
        from artbot.publishing.channels import open_channel
        from artbot.publishing.notices import Notices, Operator, Subscriber

        alerts, channels = self.settings.alerts, self.settings.channels
        wanted = {name: getattr(channel, "notices", ()) for name, channel in channels.items()}
        return Notices(
            database=self.database,
            clock=self.clock,
            random_share=random.random,
            channels={
                name: Subscriber(frozenset(kinds), partial(open_channel, self.settings, name))
                for name, kinds in wanted.items()
                if kinds
            },
            operator=Operator(
                frozenset(alerts.tell),
                alerts.nothing_approved_days,
                self.send_alert,
                self.link_to,
                self._sheet_of,
            )
            if alerts.urls_file is not None
            else None,
            unopened=self._unopened,
            alive=self.keep_working,
        )

    def _unopened(self) -> dict[str, str]:
        """Why the channels that cannot be opened now cannot, by name."""
        from artbot.publishing.channels import outlets

        why: dict[str, str] = {}
        for name, outlet in outlets(self.settings).items():
            try:
                outlet.open()
            except ConfigError as error:
                why[name] = str(error)
        return why

    def link_to(self, batch: str) -> str | None:
        """Where a browser shows that batch; None while the daemon serves no page."""
        web = self.settings.web
        return f"{web.address(web.port)}?{urlencode({'batch': batch})}" if web.serve else None

    def _sheet_of(self, batch: str) -> Sheet | None:
        """What of that batch nobody has decided about, in one small picture."""
        from artbot.domain.candidate import UNDECIDED
        from artbot.publishing.alerts import Sheet
        from artbot.review.reading import list_candidates
        from artbot.review.sheet import Tile, small_sheet

        works, waiting = self.settings.works, list_candidates(self.database, UNDECIDED, batch)
        shown = waiting[:MOST_IN_ALERT]
        if not shown:
            return None
        tiles = [Tile(works / (one.path or ""), str(one.id), "") for one in shown]
        more = f", the first {len(shown)} of {len(waiting)}" if len(waiting) > len(shown) else ""
        return Sheet(f"{batch}.jpg", small_sheet(tiles, f"{batch}{more}"))

    def send_alert(self, message: Message) -> list[Fared]:
        """Tell the operator now; how each address fared. Raises ConfigError, Unavailable."""
        from artbot.publishing.alerts import send

        settings = self.settings
        addresses = settings.alerts.read_addresses(settings.root)
        return send(addresses, message, settings.child_environment())

    @contextmanager
    def work(self, task: str) -> Iterator[None]:
        """Be the worker of this workplace. Raises WorkerBusy, of another host WorkerElsewhere.

        What a killed worker left on the wire is put right first: nobody else can be sending now.
        """
        with hold_worker(self.settings.lock, task):
            check_nobody_elsewhere(self.database, self.clock, self.settings.root)
            self._notice_old_database()
            with hold_epoch(self.database, task, self.clock, self.settings.root, self.lease):
                failpoint("worker.begun")
                self._remember(None)
                self.recover()
                self._doubt_recency()
                self._clear_up()
                failpoint("worker.recovered")
                yield

    @property
    def longest_wait_s(self) -> float:
        """Nothing that a healthy worker waits for between two signs of life takes longer: a start of the
        render child, one picture, one attempt to send."""
        studio = self.settings.studio
        return max(studio.start_timeout_s, studio.picture_timeout_s, SENDING_S) + MARGIN_S

    @property
    def lease(self) -> timedelta:
        """For how long it is taken for alive after a sign of life. The longest wait may begin when
        RENEW_AFTER of it is spent, and has to end before all of it is."""
        return max(LEASE, timedelta(seconds=self.longest_wait_s) + RENEW_AFTER)

    def _notice_old_database(self) -> None:
        """A database that knows less than was done was restored, whoever did it and however; so it may be
        if nobody knows what was done, because there is no mark any more."""
        from artbot.publishing.channels import protections
        from artbot.publishing.interventions import Actor, doubt_after_restore

        path = self.settings.mark
        try:
            mark = read_mark(path)
        except (OSError, ValueError) as error:
            raise DatabaseError(
                f"{path} cannot be read: {error}. Without it nobody knows what was sent last. If it is damaged, "
                "remove it: what may have been posted is asked then"
            ) from error
        stands = self._where_it_stands(mark.attempt_id if mark else None)
        if mark is not None and not stands.is_older(mark):
            return
        if mark is None and (stands.epoch, stands.attempt_id) == (0, 0):
            # Before the first epoch: killed in between, it would look like a mark that was lost.
            write_mark(path, stands)
            return
        if mark is None:
            self._check_works_are_there(stands)
        why = (
            f"{path} is missing, which says what was sent last"
            if mark is None
            else "the database is older than what was done last"
        )
        doubtful = doubt_after_restore(
            self.database,
            protections(self.settings),
            None,
            mark,
            Actor("artbot", "worker", why),
            self.clock(),
        )
        if mark is None:
            write_mark(path, self._where_it_stands())
        posted = f". {counted(len(doubtful))} may have been posted since: artbot deliveries list"
        log.warning("%s: it was restored, or is another one%s", why, posted if doubtful else "")

    def _check_works_are_there(self, stands: Mark) -> None:
        """Raise StorageFailed for a folder that cannot be the one that was sent from."""
        works = self.settings.works
        if stands.attempt_id and not (works.is_dir() and any(works.iterdir())):
            how = "is empty" if works.is_dir() else "is not there"
            raise StorageFailed(
                f"{works} {how}, and works were sent from it: is its disk mounted? If they are lost, and in "
                "no backup, paint them again: artbot reproduce ID --restore"
            )

    def _where_it_stands(self, attempt_id: int | None = None) -> Mark:
        """What the database knows, as far as that attempt, which it may not have; None: its newest."""
        from sqlalchemy import select

        from db.models import Attempt, WorkplaceRow

        wanted = select(Attempt).order_by(Attempt.id.desc()).limit(1)
        if attempt_id is not None:
            wanted = wanted.where(Attempt.id == attempt_id)
        with self.database.read() as session:
            row, found = session.get_one(WorkplaceRow, 1), session.scalar(wanted)
            stands = Mark(row.workplace_id, row.generation, row.epoch)
            if found is None:
                return stands
            words = f"of delivery {found.delivery_id}, begun {found.started_at.isoformat()}"
            day = found.delivery.candidate.batch.local_date.isoformat()
        return replace(stands, attempt_id=found.id, attempt=words, latest_day=day)

    def _remember(self, attempt_id: int | None) -> None:
        """Write the mark: the work has got as far as this attempt (None: as the database stands).

        Raises Fenced when another worker has taken over, DatabaseUnusable when the mark knows of more than
        the database does: it was put back while it was in use, and the attempt must not be made. OSError if
        the mark cannot be written: then it must not be made either.
        """
        from db.engine import DatabaseUnusable, Fenced

        path = self.settings.mark
        try:
            there = read_mark(path)
        except ValueError as error:
            raise DatabaseUnusable(str(error)) from error
        if there is None:
            raise DatabaseUnusable(f"{path} was removed while it was in use")
        stands = self._where_it_stands(there.attempt_id)
        if stands.epoch != self.database.epoch:
            raise Fenced(
                f"another worker has taken over, or the database was put back (epoch {stands.epoch}, ours was "
                f"{self.database.epoch})"
            )
        if stands.is_older(there) or there.attempt_id == attempt_id:
            raise DatabaseUnusable(
                "the database is older than what was done last: it was put back while it was in use"
            )
        now = self._where_it_stands(attempt_id)
        write_mark(path, replace(now, latest_day=max(now.latest_day, there.latest_day)))

    def recover(self) -> None:
        """Close the attempts that no process will close any more. Only for the worker."""
        from artbot.publishing.channels import protections
        from artbot.publishing.outbox import recover_interrupted

        recover_interrupted(self.database, protections(self.settings), self.clock())

    def _clear_up(self) -> None:
        """Remove what killed processes were making: marks, copies of generators, pictures that were put
        back, contact sheets. What they were painting goes when its batch is painted on."""
        for path in left_over_marks(self.settings.mark):
            path.unlink(missing_ok=True)
        works = self.settings.works
        for path in (*works.glob(".*.tmp"), *(works / "generators").glob(".*.tmp")):
            with suppress(FileNotFoundError):  # who was making it has finished just now
                if time.time() - path.stat().st_mtime <= LEFT_OVER_S:
                    continue
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    def keep_working(self) -> None:
        """To be called now and then by the worker. Raises ClockDoubted, and Fenced when another worker
        has taken over."""
        self._doubt_recency()
        keep_working(self.database, self.clock, self.boot, self.lease)

    def check_clock(self) -> None:
        """Raises ClockDoubted when what is made now would be made for a wrong day."""
        from db.models import WorkplaceRow

        with self.database.read() as session:
            row = session.get_one(WorkplaceRow, 1)
        check_clock(row, self.clock, self.boot)

    def _doubt_recency(self) -> None:
        """Where a receiver recognises a repetition for a while only, the clock has to be right about that."""
        from artbot.publishing.channels import protections
        from artbot.publishing.clocks import doubt_recency, go_by_the_clock
        from db.models import WorkplaceRow

        guards = protections(self.settings)
        if not go_by_the_clock(guards):
            return
        with self.database.read() as session:
            last = last_look(session.get_one(WorkplaceRow, 1))
        now = ClockMark(self.clock(), *self.boot())
        if may_have_lost_time(now, last) and (n := doubt_recency(self.database, guards, now.at)):
            log.warning(
                "more time may have passed than the clock says: %s may have been posted, and the channel may "
                "recognise a repetition no longer: artbot deliveries list",
                counted(n),
            )

    def accept_clock(self, actor: Actor) -> None:
        """A person says that the clock is right: what was dated by a wrong one is put right."""
        from artbot.publishing import clocks
        from artbot.publishing.channels import protections, timetables

        clocks.accept(
            self.database,
            protections(self.settings),
            timedelta(minutes=self.settings.publishing.undo_minutes),
            actor,
            self.clock(),
            timetables(self.settings),
        )
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

"""The beginning of the daemon: it stands by until it can do the work, and says what it waits for.

Another worker of this host or of another one, a database that is not there yet, a disk without room: a
daemon that gave up would be begun again by systemd only a few times, and then nobody would be at work.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from threading import Event

from sqlalchemy.exc import SQLAlchemyError

from artbot.daemon.complaints import Complaints
from artbot.daemon.supervision import Supervision
from artbot.errors import ArtbotError, ConfigError, WorkerBusy
from artbot.worker import LEASE
from artbot.workplace import Workplace

LOOK_AGAIN_S = 5.0
"""A fraction of the lease: a worker that ended well has given it back."""

log = logging.getLogger("artbot")


def take_over(
    work: ExitStack, workplace: Workplace, stop: Event, supervision: Supervision
) -> Workplace | None:
    """Enter the workplace's work as the daemon into `work`, as soon as that can be done. The workplace as it
    was opened for it; None if `stop` was set before that.

    Raises ConfigError: what a person must change first is not waited for.
    """
    complaints = Complaints()
    while not stop.is_set():
        looking = replace(
            workplace
        )  # nothing in it is opened: what was, may have been put back since
        try:
            work.enter_context(looking.work("daemon"))
        except ConfigError:
            raise
        except (ArtbotError, SQLAlchemyError, OSError) as error:
            looking.close()
            level = logging.INFO if isinstance(error, WorkerBusy) else logging.ERROR
            if complaints.say("standing by", error, level):
                # Standing by is its work now, and a look takes no longer than a lease.
                supervision.ready(LEASE.total_seconds())
            supervision.alive()
            stop.wait(LOOK_AGAIN_S)
        else:
            if complaints.settled("standing by"):
                log.info("taking over")
            return looking
    supervision.stopping()
    log.info("stopped")
    return None

"""A second host's daemon: it stands by while the first lives, and takes over when it is gone."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from threading import Event

from artbot.daemon.supervision import Supervision
from artbot.errors import WorkerElsewhere
from artbot.worker import LEASE
from artbot.workplace import Workplace

LOOK_AGAIN_S = 5.0
"""A fraction of the lease: a worker that ended well has given it back."""

log = logging.getLogger("artbot")


def take_over(work: ExitStack, workplace: Workplace, stop: Event, supervision: Supervision) -> bool:
    """Enter the workplace's work as the daemon into `work`, as soon as no other host does it. False if
    `stop` was set before that.

    Raises WorkerBusy at once if another process of this host does it: two daemons here are a mistake.
    """
    is_said = False
    while not stop.is_set():
        try:
            work.enter_context(workplace.work("daemon"))
        except WorkerElsewhere as busy:
            if not is_said:
                log.info("standing by: %s", busy)
                # Standing by is its work now, and a look takes no longer than a lease.
                supervision.ready(LEASE.total_seconds())
                is_said = True
            supervision.alive()
            stop.wait(LOOK_AGAIN_S)
        else:
            if is_said:
                log.info("taking over")
            return True
    supervision.stopping()
    log.info("stopped")
    return False

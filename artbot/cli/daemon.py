"""`artbot daemon`."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack
from threading import Event

import click

from artbot.cli.common import busy_words, say, with_workplace
from artbot.cli.stopping import stop_requests
from artbot.errors import WorkerBusy
from artbot.redaction import RedactingFormatter
from artbot.workplace import Workplace

log = logging.getLogger("artbot")


@click.command("daemon")
@click.option("--once", is_flag=True, help="Do what is due now, and exit.")
@click.pass_context
@with_workplace
def daemon_command(workplace: Workplace, context: click.Context, once: bool) -> None:
    """Make every batch when it is due and send every approved work, until SIGTERM or Ctrl-C.

    What was missed while it was not running is caught up; its log goes to standard output. While another
    command or another host does the work of this workplace, or its database is not there, it stands by and
    says so. With --once, exit code 1 if something that was due could not be done.
    """
    from artbot.daemon.run import Daemon
    from artbot.daemon.standby import take_over
    from artbot.daemon.supervision import Supervision
    from artbot.publishing.channels import open_channels

    _log_to_stdout()
    # A wrong secret is found now, not at the first delivery.
    open_channels(
        workplace.settings, lambda error: log.error("%s. Its works wait, the others go out.", error)
    )
    stop, wake = Event(), Event()

    def request_stop() -> None:
        stop.set()
        wake.set()

    supervision = Supervision(os.environ)
    with stop_requests(request_stop) as should_stop, ExitStack() as work:
        if once:
            try:
                work.enter_context(workplace.work("daemon"))
            except WorkerBusy as busy:
                by_itself = "It does what is due by itself: there is nothing to do."
                raise WorkerBusy(busy_words(busy, by_itself)) from busy
        elif (opened := take_over(work, workplace, stop, supervision)) is None:
            return
        else:
            workplace = opened
        daemon = Daemon(workplace, should_stop, supervision)
        if not once:
            if not workplace.settings.schedules and not workplace.settings.channels:
                say(
                    "artbot.toml has neither a schedule nor a channel: there will be nothing to do."
                )
            daemon.run(stop, wake)
        elif not daemon.round():
            context.exit(1)


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(RedactingFormatter())
    logger = logging.getLogger("artbot")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

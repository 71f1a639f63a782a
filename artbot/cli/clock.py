"""`artbot clock`."""

from __future__ import annotations

import click

from artbot.cli.common import json_option, print_json, say, this_actor, with_workplace
from artbot.errors import ClockDoubted
from artbot.workplace import Workplace


@click.command("clock")
@click.option("--accept", is_flag=True, help="The clock is right as it is now.")
@json_option
@with_workplace
def clock_command(workplace: Workplace, accept: bool, as_json: bool) -> None:
    """Whether artbot believes the machine's clock; exit code 1 if not.

    A clock that went back would make days twice, one that leapt ahead would skip them. So artbot waits
    until the clock is right again, or until you say that it is. Then what a wrong clock has put off for too
    long is due again, and what it makes doubtful waits for you: artbot deliveries list.
    """
    if accept:
        workplace.accept_clock(this_actor("the clock is right"))
    doubt = None
    try:
        workplace.check_clock()
    except ClockDoubted as error:
        doubt = str(error)
    now = workplace.clock()
    if as_json:
        print_json({"is_believed": doubt is None, "why_not": doubt, "now": now})
    else:
        say(doubt or f"the clock is believed: {now:%Y-%m-%d %H:%M:%S} UTC")
    if doubt:
        raise SystemExit(1)

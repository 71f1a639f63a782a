"""`artbot doctor`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import zip_longest

import click

from artbot.cli.common import json_option, print_json, with_workplace
from artbot.workplace import Workplace

SOMETHING_WRONG = 3


@click.command("doctor")
@click.option("--quick", is_flag=True, help="Do not paint: for a monitor that asks often.")
@click.option(
    "--online",
    is_flag=True,
    help="Also ask every channel's receiver. Nothing is shown or sent to anybody: a webhook's is only reached.",
)
@json_option
@with_workplace
def doctor_command(workplace: Workplace, quick: bool, online: bool, as_json: bool) -> None:
    """Check everything that can be checked while artbot runs; exit code 3 if something is wrong.

    Disk, database, clock, secrets, generator, every picture's bytes, what the rows say about each other,
    what is overdue, and whether the newest work is painted again to the pixel, which takes seconds. Changes
    nothing, and nobody at work waits for it: it reads a copy of the database. (On PostgreSQL it reads the
    database itself, and brings an older artbot's up to date, as any command does.)
    """
    from artbot.upkeep.doctor import examine

    findings = []
    for finding in examine(workplace, quick, online):
        findings.append(finding)
        if as_json:
            continue
        for remark in finding.remarks:
            click.echo(f"note   {finding.title}: {remark}")
        if not finding.problems:
            if not finding.remarks:
                click.echo(f"ok     {finding.title}")
            continue
        click.echo(f"WRONG  {finding.title}: {finding.problems[0]}")
        for problem in finding.problems[1:]:
            click.echo(f"       {problem}")
        for heading, remedy in zip_longest(["remedy:"], finding.remedies):
            click.echo(f"       {heading or '':7} {remedy}")
    wrong = [finding for finding in findings if finding.problems]
    if as_json:
        print_json({"is_well": not wrong, "findings": [asdict(finding) for finding in findings]})
    elif workplace.settings.channels and not online:
        click.echo("-      the channels' receivers were not asked: artbot doctor --online")
    if wrong:
        raise SystemExit(SOMETHING_WRONG)

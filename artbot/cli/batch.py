"""`artbot batch`."""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from artbot.cli.common import json_option, print_json, say, with_workplace
from artbot.cli.progress import counting
from artbot.cli.stopping import stop_requests
from artbot.config import ScheduleSettings
from artbot.errors import (
    ArtbotError,
    ConfigError,
    NoCheckpoint,
    RenderFailed,
    UsageError,
    WorkerBusy,
)
from artbot.workplace import Workplace

LOOK_EVERY_S = 1.0


@click.command("batch")
@click.option("--schedule", metavar="NAME", help="Of which schedule.  [default: the only one]")
@click.option("--extra", is_flag=True, help="One more batch for today, besides the day's own.")
@json_option
@click.pass_context
@with_workplace
def batch_command(
    workplace: Workplace, context: click.Context, schedule: str | None, extra: bool, as_json: bool
) -> None:
    """Make the candidates that are due, or today's if none are, and say where they are.

    Asking again changes nothing: a day has one batch (`--extra` asks for another). While the daemon
    runs, it does the painting and this command waits for it.
    """
    from artbot.studio.batch import unfinished_batches
    from artbot.studio.planning import ensure_today, plan_extra

    name, settings = _schedule(workplace, schedule)
    workplace.check_clock()
    now = workplace.clock()
    if extra:
        wanted = plan_extra(workplace.database, name, settings, now)
    else:
        wanted = ensure_today(workplace.database, name, settings, now)
    keys = unfinished_batches(workplace.database, name)
    failures: list[ArtbotError] = []
    with stop_requests(lambda: say("stopping after this picture …")) as should_stop:
        try:
            with workplace.work("batch"):
                workplace.keep_working()
                for key in keys:
                    try:
                        _make(workplace, key, should_stop)
                    except (NoCheckpoint, RenderFailed) as error:  # it waits, and holds up no other
                        failures.append(error)
        except WorkerBusy as busy:
            _wait(workplace, keys, str(busy), should_stop)
        stopped = should_stop()
    if failures and not _is_begun(workplace, wanted):
        raise failures[-1]
    _report(workplace, wanted, as_json)
    if stopped:
        context.exit(130)
    if failures:
        raise failures[0]


def _schedule(workplace: Workplace, wanted: str | None) -> tuple[str, ScheduleSettings]:
    schedules = workplace.settings.schedules
    if not schedules:
        raise ConfigError("there is no schedule: add a [schedules.daily] table to artbot.toml")
    if wanted is None and len(schedules) > 1:
        raise UsageError(f"several schedules: name one with --schedule ({', '.join(schedules)})")
    name = wanted or next(iter(schedules))
    if name not in schedules:
        raise UsageError(f"there is no schedule {name!r}. Schedules: {', '.join(schedules)}.")
    return name, schedules[name]


def _make(workplace: Workplace, key: str, should_stop: Callable[[], bool]) -> None:
    from artbot.studio.batch import Listener, make_batch

    with counting(f"painting {key}") as count:
        listener = Listener(
            on_refused=lambda name, reason: say(f"checkpoint {name} is refused: {reason}"),
            on_painted=lambda _name, done, total: count(done, total),
            on_render_error=lambda name, reason: say(f"could not paint {name}: {reason}"),
            on_advanced=workplace.keep_working,
        )
        make_batch(workplace.studio, key, listener, should_stop)


def _wait(
    workplace: Workplace, keys: list[str], busy: str, should_stop: Callable[[], bool]
) -> None:
    """The worker makes it; wait as long as there is one."""
    from artbot.studio.batch import unfinished_batches

    say(f"{busy} It makes the batch; waiting …")
    while not should_stop() and set(keys) & set(unfinished_batches(workplace.database)):
        if workplace.current_worker() is None:
            raise WorkerBusy(
                "the worker has ended before the batch was made. Run `artbot batch` again."
            )
        time.sleep(LOOK_EVERY_S)


def _is_begun(workplace: Workplace, key: str) -> bool:
    from sqlalchemy import select

    from artbot.domain.candidate import BatchState
    from db.models import Batch

    with workplace.database.read() as session:
        state = session.scalar(select(Batch.state).where(Batch.key == key))
    return state != BatchState.PLANNED


def _report(workplace: Workplace, key: str, as_json: bool) -> None:
    """What the batch is now. Raises RenderFailed if nothing could be painted."""
    from sqlalchemy import select

    from artbot.domain.candidate import BatchState, CandidateState
    from db.models import Batch

    with workplace.database.read() as session:
        batch = session.scalars(select(Batch).where(Batch.key == key)).one()
        states = [candidate.state for candidate in batch.candidates]
        checkpoint = batch.checkpoint.name if batch.checkpoint else None
        errors = [candidate.error for candidate in batch.candidates if candidate.error]
    pending = states.count(CandidateState.PENDING)
    folder = workplace.settings.works / key
    if as_json:
        print_json(
            {
                "batch": key,
                "state": batch.state,
                "checkpoint": checkpoint,
                "num_candidates": batch.num_candidates,
                "num_pending": pending,
                "num_failed": states.count(CandidateState.FAILED),
                "reason": batch.reason,
                "folder": str(folder),
            }
        )
    else:
        painted = sum(
            state not in (CandidateState.PLANNED, CandidateState.FAILED) for state in states
        )
        say(
            f"{key} is {batch.state}: {painted} of {batch.num_candidates} painted by {checkpoint}, in {folder}"
        )
        if pending:
            say(f"{pending} wait for you: artbot review")
    if batch.state == BatchState.FAILED:
        raise RenderFailed(
            f"no candidate of {key} could be painted: {errors[0] if errors else 'no reason known'}"
        )

"""`artbot batch`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from artbot.cli.common import busy_words, json_option, print_json, say, with_workplace
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

if TYPE_CHECKING:
    from db.models import Batch

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
    runs, it does the painting and this command waits for it. An extra batch that cannot be begun is not
    made later; the day's own is, as soon as it can be.
    """
    from artbot.studio.batch import unfinished_batches
    from artbot.studio.choice import generator_of
    from artbot.studio.planning import ensure_today, plan_extra

    name, settings = _schedule(workplace, schedule)
    workplace.check_clock()
    now = workplace.clock()
    if extra:
        generator_of(workplace.database, workplace.settings.checkpoints, settings)
        wanted = plan_extra(workplace.database, name, settings, now)
    else:
        wanted = ensure_today(workplace.database, name, settings, now)
    keys = unfinished_batches(workplace.database, name)
    failures: dict[str, Exception] = {}
    with stop_requests(lambda: say("stopping after this picture …")) as should_stop:
        is_done = not keys
        while not is_done:
            try:
                with workplace.work("batch"):
                    failures = make_all(workplace, keys, should_stop)
                is_done = True
            except WorkerBusy as busy:
                is_done = _wait(workplace, wanted, busy, should_stop)
        stopped = should_stop()
    if wanted not in failures or _is_begun(workplace, wanted):
        _report(workplace, wanted, as_json, is_new=wanted in keys)
    if stopped:
        context.exit(130)
    if failures:
        raise failures.get(wanted) or next(iter(failures.values()))


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


def make_all(
    workplace: Workplace, keys: list[str], should_stop: Callable[[], bool]
) -> dict[str, Exception]:
    """Make each; what could not be made, by key."""
    from artbot.studio.batch import NOT_MADE

    workplace.keep_working()
    failures: dict[str, Exception] = {}
    for key in keys:
        try:
            _make(workplace, key, should_stop)
        except NOT_MADE as error:
            failures[key] = error
    return failures


def _make(workplace: Workplace, key: str, should_stop: Callable[[], bool]) -> None:
    from artbot.studio.batch import Listener, make_batch

    refused: list[str] = []  # held back: where none can be used, the error lists them all

    def tell_refused() -> None:
        while refused:
            say(refused.pop(0))

    with counting(f"painting {key}") as count:

        def tell_painted(_name: str, done: int, total: int) -> None:
            tell_refused()
            count(done, total)

        listener = Listener(
            on_refused=lambda name, why: refused.append(f"checkpoint {name} is refused: {why}"),
            on_painted=tell_painted,
            on_render_error=lambda name, reason: say(f"could not paint {name}: {reason}"),
            on_advanced=workplace.keep_working,
        )
        try:
            make_batch(workplace.studio, key, listener, should_stop)
        except NoCheckpoint:
            refused.clear()
            raise
        finally:
            tell_refused()


def _wait(
    workplace: Workplace, key: str, busy: WorkerBusy, should_stop: Callable[[], bool]
) -> bool:
    """Wait for the batch as long as there is a worker; whether nothing is left to do then."""
    say(
        busy_words(
            busy,
            by_daemon="It makes the batch; waiting …",
            by_another="Waiting until it has ended …",
        )
    )
    told = None
    while (waiting := _unfinished(workplace, key)) and not should_stop():
        if waiting.reason != told:
            told = waiting.reason
            say(f"{key} waits: {told}")
        time.sleep(LOOK_EVERY_S)
        if workplace.current_worker() is None:
            return False
    return True


def _unfinished(workplace: Workplace, key: str) -> Batch | None:
    """The batch, if it is not finished."""
    from sqlalchemy import select

    from artbot.domain.candidate import BatchState
    from db.models import Batch

    states = [BatchState.PLANNED, BatchState.GENERATING]
    with workplace.database.read() as session:
        return session.scalar(select(Batch).where(Batch.key == key, Batch.state.in_(states)))


def _is_begun(workplace: Workplace, key: str) -> bool:
    from sqlalchemy import select

    from db.models import Batch

    with workplace.database.read() as session:
        begun = select(Batch.key).where(Batch.key == key, Batch.checkpoint_sha256.is_not(None))
        return session.scalar(begun) is not None


def _report(workplace: Workplace, key: str, as_json: bool, is_new: bool) -> None:
    """What the batch is now. Raises ArtbotError if it is not made, RenderFailed if nothing could be painted."""
    from sqlalchemy import select

    from artbot.domain.candidate import BatchState, CandidateState
    from db.models import Batch

    with workplace.database.read() as session:
        batch = session.scalars(select(Batch).where(Batch.key == key)).one()
        own = [candidate for candidate in batch.candidates if candidate.parent_id is None]
        states = [candidate.state for candidate in own]
        checkpoint = batch.checkpoint.name if batch.checkpoint else None
        errors = [candidate.error for candidate in own if candidate.error]
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
    elif checkpoint is not None:
        painted = sum(
            state not in (CandidateState.PLANNED, CandidateState.FAILED) for state in states
        )
        if not is_new:
            say(
                f"{key} was made before, and a day has one batch: nothing is painted now (another: --extra)"
            )
        say(
            f"{key} is {batch.state}: {painted} of {batch.num_candidates} painted by {checkpoint}, in {folder}"
        )
        if pending:
            say(f"{pending} wait for you: artbot review")
    elif batch.state == BatchState.PLANNED:
        say(f"{key} is planned, nothing is painted yet: `artbot batch` or the daemon makes it")
    if batch.state == BatchState.SKIPPED:
        raise ArtbotError(f"{key} is not made: {batch.reason}")
    if batch.state == BatchState.FAILED:
        raise RenderFailed(
            f"no candidate of {key} could be painted: {errors[0] if errors else 'no reason known'}"
        )

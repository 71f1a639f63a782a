"""APScheduler as an alarm clock, and nothing more.

It only nudges: the database decides what is due (artbot.studio.planning). So the faults known of
cron triggers at clock changes, of missed runs and of jobs run twice cannot make or lose a batch; a
nudge too many finds nothing to do, a nudge too few is made up for by the daemon's own sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC

from artbot.domain.calendar import Schedule


@contextmanager
def nudging(
    schedules: Iterable[Schedule], nudge: Callable[[], None]
) -> Iterator[Callable[[], bool]]:
    """Call `nudge` (from another thread) whenever a schedule's time comes.

    Gives a function that says whether that thread still lives: an error in it ends it while the
    scheduler goes on to call itself running.
    """
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger

    scheduler = BackgroundScheduler(
        timezone=UTC,
        # Only in job_defaults does a grace time take effect; None means: late is better than never.
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    for schedule in schedules:
        scheduler.add_job(
            nudge,
            CronTrigger(
                day_of_week=",".join(str(day) for day in sorted(schedule.weekdays)),
                hour=schedule.at.hour,
                minute=schedule.at.minute,
                second=schedule.at.second,
                timezone=schedule.zone,
            ),
            id=schedule.name,
        )
    scheduler.start()
    thread = scheduler._thread
    try:
        yield thread.is_alive
    finally:
        scheduler.shutdown(wait=False)

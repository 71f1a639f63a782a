"""`artbot db backup | list | restore | check`."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from artbot.cli.common import (
    busy_words,
    json_option,
    print_json,
    say,
    this_actor,
    with_workplace,
)
from artbot.errors import ConfigError, DatabaseError, StorageFailed, WorkerBusy
from artbot.telling import local_time
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.mark import Mark

STOP_IT_FIRST = (
    "Stop it, and every daemon that stands by (sudo systemctl stop artbot, docker compose stop, or Ctrl-C where "
    "it runs); then restore, and start it again."
)


@click.group("db")
def db_command() -> None:
    """The database: back it up, restore it, check it."""


@db_command.command("backup")
@json_option
@with_workplace
def backup_command(workplace: Workplace, as_json: bool) -> None:
    """Make a checked copy of the database now. The daemon makes one every day by itself.

    The pictures are plain files in works/: back them up as files.
    """
    from artbot.upkeep.backup import make_backup

    settings = workplace.settings
    path = _sqlite_file(workplace)
    workplace.open_database()  # there is one then, and it is of this artbot's schema
    made = make_backup(path, settings.backups, workplace.clock(), settings.backup.keep)
    if as_json:
        print_json(vars(made))
    else:
        say(f"{made.path}, {made.num_bytes / 1000:.0f} kB, checked")


@db_command.command("list")
@json_option
@with_workplace
def list_command(workplace: Workplace, as_json: bool) -> None:
    """The backups, the newest first."""
    from artbot.upkeep.backup import list_backups, list_replaced

    settings = workplace.settings
    found = list_backups(settings.backups)
    if as_json:
        print_json([vars(backup) for backup in found])
        return
    if not found:
        say("no backups yet: artbot db backup")
    now = workplace.clock()
    for backup in found:
        size = f"{backup.num_bytes / 1000:.0f} kB"
        click.echo(f"{local_time(backup.made_at, now):>20}  {size:>10}  {backup.path}")
    beside = list_replaced(settings.database) if isinstance(settings.database, Path) else []
    for path in beside:
        click.echo(f"{'put aside':>20}  {path.stat().st_size / 1000:>7.0f} kB  {path}")
    if beside:
        say("what was put aside is yours to remove once you are sure that you do not need it")


@db_command.command("restore")
@click.argument("backup", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@json_option
@with_workplace
def restore_command(workplace: Workplace, backup: Path, as_json: bool) -> None:
    """Put a backup in the place of the database; the one it replaces is kept beside it. FILE is a path, or
    a name in db/backups (`artbot db list`).

    What was approved or posted after the backup is not in it. So that nothing is posted twice, deliveries
    to channels that would not recognise a repetition become uncertain and wait for you.
    """
    from artbot.domain.delivery import counted
    from artbot.publishing.channels import protections
    from artbot.upkeep.backup import give_to_owner_of, pictures_unknown_to, restore
    from artbot.worker import hold_worker

    settings = workplace.settings
    path = _sqlite_file(workplace)
    backup = _found(backup, settings.backups)
    with ExitStack() as stack:
        try:
            stack.enter_context(hold_worker(settings.lock, "db restore"))
        except WorkerBusy as busy:
            raise WorkerBusy(busy_words(busy, STOP_IT_FIRST)) from busy
        with suppress(
            PermissionError
        ):  # the lock may have been made just now, and the daemon needs it
            give_to_owner_of(settings.lock.parent, settings.lock)
        mark = _mark_or_none(settings.mark)
        replaced, num_doubtful = restore(
            backup,
            path,
            protections(settings),
            mark,
            this_actor(f"restored from {backup.name}"),
            workplace.clock(),
        )
        unknown = pictures_unknown_to(path, settings.works)
    if as_json:
        print_json(
            {
                "replaced": replaced,
                "num_uncertain": num_doubtful,
                "num_unknown_pictures": len(unknown),
            }
        )
        return
    say(f"{path} is the state of {backup.name} again")
    if replaced:
        say(f"the one it replaces is {replaced}")
    if unknown:
        say(
            f"{len(unknown)} picture{'s are' if len(unknown) > 1 else ' is'} newer than the backup, which knows "
            f"nothing of what was decided about {'them' if len(unknown) > 1 else 'it'}, from {unknown[0]} on: the "
            "files stay, and batches of the last 36 hours are made again"
        )
    if num_doubtful:
        say(f"{counted(num_doubtful)} may have been posted since: artbot deliveries list")
    say("now start the daemon again, or see what waits: artbot status")


@db_command.command("check")
@json_option
@with_workplace
def check_command(workplace: Workplace, as_json: bool) -> None:
    """Read the whole database and say whether it is sound; exit code 1 if not. Nobody at work waits for it:
    what is read is a copy."""
    from sqlalchemy.exc import SQLAlchemyError

    from artbot.upkeep.backup import check_file
    from artbot.upkeep.copying import on_a_copy
    from artbot.upkeep.doctor import check_logs

    where = workplace.settings.database
    problems = []
    try:
        with on_a_copy(workplace) as still:
            if still.database.path is not None:
                check_file(still.database.path, Path(str(where)))
            problems += check_logs(still.database)
    except DatabaseError as error:
        problems.append(str(error))
    except (sqlite3.Error, SQLAlchemyError, RuntimeError) as error:
        problems.append(
            f"{where} is damaged, or no database: {getattr(error, 'orig', None) or error}"
        )
    if as_json:
        print_json({"is_sound": not problems, "problems": problems})
    for problem in problems:
        say(problem)
    if problems:
        if not as_json:
            say("put a backup in its place: artbot db list, artbot db restore FILE")
        raise SystemExit(1)
    if not as_json:
        say("the database is sound")


def _found(backup: Path, backups: Path) -> Path:
    """What a person calls the backup: a path, or its name in db/backups."""
    named = [backups / backup.name, backups / f"{backup.name}.sqlite3"]
    candidates = [backup, *(named if len(backup.parts) == 1 else [])]
    return next((path for path in candidates if path.is_file()), backup)


def _mark_or_none(path: Path) -> Mark | None:
    """What was done last; None where nobody knows. A damaged mark is removed: without one, the next worker
    takes for doubtful what may have been posted, and with it nobody could work. Raises StorageFailed."""
    from artbot.mark import read_mark

    try:
        return read_mark(path)
    except OSError as error:
        raise StorageFailed(f"nothing restored: {path}: {error.strerror}") from error
    except ValueError:
        path.unlink()
        say(f"{path} is damaged and was removed: nobody knows what was sent last")
        return None


def _sqlite_file(workplace: Workplace) -> Path:
    path = workplace.settings.database
    if not isinstance(path, Path):
        raise ConfigError(
            "the database is on a PostgreSQL server: back it up and restore it with pg_dump and pg_restore. "
            "After a restore artbot notices by itself what may have been posted since."
        )
    return path

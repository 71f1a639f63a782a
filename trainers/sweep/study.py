"""The study: what has been tried and what came of it, in a database that several machines share."""

from __future__ import annotations

import contextlib
import fcntl
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState

from trainers.errors import SettingsError, TrainerError
from trainers.sweep.search import Search

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

RANDOM_FIRST = 5
"""So many trials are drawn blindly before Optuna's sampler learns from them."""
COMPLETE_FIRST = 4
"""So many trials are trained to the end before any is ended early ..."""
SPARED_PERCENT = 30
"""... and none before it had this much of its budget."""
HEARTBEAT_S = 60
"""A trial whose machine is silent for twice as long is begun again by another."""
MAX_TAKEOVERS = 2
"""A trial that silences one machine after the other is given up."""
BUSY_S = 60
"""SQLite: wait so long while another process writes."""


def open_study(name: str, url: str, facts: dict[str, Any], search: Search) -> optuna.Study:
    """The study of that name, begun now if there is none.

    `facts` is what decides a trial's result besides the values that are searched. Raises
    SettingsError for a database that cannot be used, and for a study begun with other facts.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its warnings show tracebacks
    sampler = optuna.samplers.TPESampler(
        # No seed: two workers, and one that goes on, would draw the same points again.
        n_startup_trials=RANDOM_FIRST,
        multivariate=True,
        constant_liar=True,  # keep away from what other machines are trying
    )
    pruner = optuna.pruners.MedianPruner(COMPLETE_FIRST, SPARED_PERCENT)
    shown = f"--storage {without_password(url)}"
    turn = Turn(url)
    try:
        turn.take()
        storage = _open_storage(url)
        try:
            study = optuna.create_study(
                storage=storage, study_name=name, sampler=sampler, pruner=pruner
            )
            study.set_user_attr("facts", facts)
            study.enqueue_trial(search.baseline)
        except DuplicatedStudyError:
            study = optuna.load_study(
                storage=storage, study_name=name, sampler=sampler, pruner=pruner
            )
        begun_with = study.user_attrs.get("facts")
        if begun_with is None and not study.get_trials(deepcopy=False):
            begun_with = facts  # another process has begun it this very moment
    except ImportError as error:
        module = getattr(error.__cause__ or error, "name", None) or "of its driver"
        raise SettingsError(
            f"{shown} needs the Python module {module}, which is not installed. PostgreSQL: pip "
            "install 'psycopg[binary]'; MySQL: pip install pymysql, and begin the URL with "
            "mysql+pymysql://."
        ) from error
    except Exception as error:  # Optuna's, SQLAlchemy's or the driver's own
        raise SettingsError(
            f"{shown} cannot be opened: {reason(error, url)}. A URL is written as SQLAlchemy does: "
            "postgresql://USER@HOST/DATABASE."
        ) from error
    finally:
        turn.pass_on()
    _check_facts(name, begun_with, facts)
    return study


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Inside, a database that does not answer any more is a TrainerError."""
    try:
        yield
    except StorageInternalError as error:
        raise TrainerError(
            f"the study's database {without_password(url)} does not answer ({reason(error, url)}). "
            "What is finished is kept; the same command goes on."
        ) from error


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Trained to the end, or ended early."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def measured(study: optuna.Study) -> list[FrozenTrial]:
    """Trained to the end and worth something, the best first."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: trial.value or 0.0)


def begin_again(study: optuna.Study, number: int) -> None:
    """Queue the values of a trial that was interrupted."""
    with _experimental():
        RetryHeartbeatStaleTrialCallback()(study, study.trials[number])


def take_over(study: optuna.Study) -> None:
    """Queue the values of trials whose machines have fallen silent."""
    with _experimental():
        optuna.storages.fail_stale_trials(study)


def without_password(url: str) -> str:
    """The URL as it may be shown: without password and options, which may hold one."""
    url = re.sub(r"://([^:@/]*):.*@", r"://\1:***@", url)
    return url.partition("?")[0]


def reason(error: BaseException, url: str) -> str:
    """What the database said, in one line, without the URL's secrets."""
    inner = error.__cause__ or error
    lines = str(getattr(inner, "orig", None) or inner).strip().splitlines()
    text = (lines[0] if lines else type(inner).__name__).rstrip(".")
    secrets = [*re.findall(r"://[^:@/]*:(.*)@", url), *re.findall(r"[?&][^=]*=([^&]+)", url)]
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


class Turn:
    """Lets one process at a time open a SQLite study, or ask it for a trial.

    SQLite has no row locks (`SELECT … FOR UPDATE`), with which Optuna keeps two from being given the
    same one elsewhere: without this, two processes were given 7 of 53 queued trials twice.
    """

    def __init__(self, url: str) -> None:
        database = _sqlite_file(url)
        # Not the database itself: closing that would take SQLite's own locks from it.
        self._path = database.with_name(f"{database.name}.lock") if database else None
        self._file: TextIO | None = None

    def take(self) -> None:
        if self._path is not None:
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115  until passed on
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def pass_on(self) -> None:
        """Also when it was passed on before."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Storage(RDBStorage):
    def record_heartbeat(self, trial_id: int) -> None:
        """Quiet: an error here would end all further heartbeats, with a traceback on the screen, and
        whether the database is there the trial itself will find out."""
        with contextlib.suppress(Exception):
            super().record_heartbeat(trial_id)


def _open_storage(url: str) -> RDBStorage:
    # A connection lost while a trial trained is noticed before it is used.
    engine: dict[str, Any] = {"pool_pre_ping": True}
    if _sqlite_file(url) is not None:
        engine["connect_args"] = {"timeout": BUSY_S}
    with _experimental():
        open_it = partial(
            _Storage,
            url,
            engine_kwargs=engine,
            heartbeat_interval=HEARTBEAT_S,
            grace_period=2 * HEARTBEAT_S,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MAX_TAKEOVERS),
        )
        try:
            return open_it()
        except Exception as error:
            if type(error).__name__ not in ("IntegrityError", "ProgrammingError"):
                raise
        # Another process was making the tables of a new database at the same moment.
        time.sleep(1)
        return open_it()


@contextmanager
def _experimental() -> Iterator[None]:
    """What Optuna calls so, since 2021, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


def _check_facts(name: str, begun_with: dict[str, Any] | None, facts: dict[str, Any]) -> None:
    """Trials can be compared only if nothing but what is searched differs between them."""
    if begun_with is None:
        raise SettingsError(
            f"study {name} was not made by artbot sweep. Choose another name with --study."
        )
    differing = [
        f"{key} {begun_with.get(key)} -> {facts.get(key)}"
        for key in sorted(begun_with | facts)
        if begun_with.get(key) != facts.get(key)
    ]
    if differing:
        raise SettingsError(
            f"study {name} was begun with other settings: {', '.join(differing)}. Use the same, or "
            "begin another study with --study NAME."
        )


def _sqlite_file(url: str) -> Path | None:
    """The file of `sqlite:///FILE`, None for another kind of database."""
    scheme, _, path = url.partition(":///")
    return Path(path.partition("?")[0]) if re.fullmatch(r"sqlite(\+\w+)?", scheme) else None

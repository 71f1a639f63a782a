"""Trains and judges one trial after the other, until a study has as many as were asked for."""

from __future__ import annotations

import dataclasses
import math
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from trainers import state
from trainers.config import NO_LIMIT_KIMG, Folders, TrainConfig, check_combination
from trainers.data.cache import PictureSet
from trainers.errors import (
    CheckpointRefused,
    OutOfMemory,
    TrainerError,
    TrainingStopped,
    in_one_line,
    is_out_of_memory,
)
from trainers.files import storage_errors
from trainers.inference import load_generator
from trainers.learner import StepMeans
from trainers.loop import TrainResult, train
from trainers.metrics.scores import Scores
from trainers.progress import Display, Pace, TickStats
from trainers.runlock import hold_run
from trainers.sweep import study as studies
from trainers.sweep.search import Search, in_words

T = TypeVar("T")

MEASURE_SHARE = 0.2
"""A trial measures more than a run does: it is there to be compared."""
NUM_MEASURED = 512
"""Pictures painted to judge a finished trial by."""
LEAST_DIVERSITY = 0.5
"""A trial below this is worth nothing, however good its KID: 50 real pictures repeated have KID 10."""
WORST_KID = 1e6
"""What a collapse is reported as on the way: of infinities the pruner cannot take the median."""
RUNGS = 10
"""Trials are compared at every tenth of their budget. At places they all pass: the pruner compares
only what was reported at exactly the same step."""
PATIENCE_S = 600.0
"""A database that does not answer for longer ends the sweep."""
LONGER_TRIALS = "another --study with a larger --kimg or --minutes has longer trials"
"""The advice where a trial is too short to be judged: none is gone on with."""
POLL_S = 5.0
"""How often it is asked again, and how often one looks after the others' last trials."""


class Meter(Protocol):
    """Measures pictures, uint8 (N, S, S, 3): a QualityMeter."""

    def measure(self, pictures: np.ndarray) -> Scores: ...


class Worthless(Exception):
    """A trial came to nothing: why, in words."""


class _Unfinished(Exception):
    """A trial was asked to stop, or not even begun."""


def worth(scores: Scores) -> float:
    """What a trial is judged by, the smaller the better: KID x 1000, infinite for a collapse."""
    is_collapse = scores.diversity_ratio < LEAST_DIVERSITY
    return math.inf if is_collapse or math.isnan(scores.kid_x1000) else scores.kid_x1000


def trial_config(run: str, size: int, settings: dict[str, Any]) -> TrainConfig:
    """A run that is looked at and measured often, and exported only at its end.

    Raises SettingsError for settings that do not go together.
    """
    config = TrainConfig(run=run, size=size, **settings)
    check_combination(config)
    rung_s = (config.minutes or math.inf) * 60 / RUNGS
    return dataclasses.replace(
        config,
        tick_kimg=min(config.tick_kimg, config.kimg / RUNGS),
        tick_s=min(config.tick_s, rung_s),
        export_kimg=NO_LIMIT_KIMG,
        measure_share=MEASURE_SHARE,
    )


@dataclass
class Sweep:
    """One process's part in a study."""

    study: optuna.Study
    storage: str
    """URL of the study's database."""
    search: Search
    num_trials: int
    """To be finished, trained to the end or ended early, by all processes together."""
    pictures: PictureSet
    size: int
    folder: Path
    """The study's: each trial is a run in it."""
    folders: Folders
    """The workplace's."""
    display: Display
    should_stop: Callable[[], bool]
    open_meter: Callable[[], Meter]

    def __post_init__(self) -> None:
        self._turn = studies.Turn(self.storage)
        self._meter: Meter | None = None
        self._number: int | None = None
        """Of this process's trial, the one that runs or ran last."""
        self._is_interrupted = False
        """Its values are to be tried again."""
        self._is_taken_over = False
        """Another process took this one for dead, and began its trial again."""
        self._unheard: dict[int, float] = {}
        """Trials that gave no sign of life yet, and since when that is known (seconds)."""
        self._noted = ""

    def run(self) -> None:
        """Train until there are enough trials, waiting for those of others, or until asked to stop.

        Raises Optuna's StorageInternalError for a database that stays away, and what training raises
        where other values would not help.
        """
        try:
            while not self.should_stop() and self._patiently(self._go_on):
                pass
        except KeyboardInterrupt:
            if not self.should_stop():
                raise

    def _go_on(self) -> bool:
        """Another trial, or a while of waiting. False when there is nothing left to do."""
        trials = self.study.get_trials(deepcopy=False)
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        num_finished = len(studies.finished(self.study))
        if num_finished >= self.num_trials:
            return False
        is_any_queued = any(trial.state is TrialState.WAITING for trial in trials)
        if is_any_queued or num_finished + len(running) < self.num_trials:
            self._try_one()
        else:
            self._look_after(running)
        return True

    # ---- one trial -------------------------------------------------------------------------------

    def _try_one(self) -> None:
        if self._meter is None:  # before the first trial, whose time it is not to cost
            self._meter = self.open_meter()
        self._number, self._is_interrupted, self._is_taken_over = None, False, False
        self._turn.take()
        try:
            self.study.optimize(self._attempt, n_trials=1, catch=_Unfinished, gc_after_trial=True)
        except ValueError:  # so Optuna says that the trial was given up by others meanwhile
            if not self._is_taken_over:
                raise
        finally:
            self._turn.pass_on()
            is_lost = self._is_interrupted and not self._is_taken_over
            if is_lost and self._number is not None:
                studies.begin_again(self.study, self._number)
        if self._is_taken_over:
            self.display.note(
                f"trial {self._number}: not heard of for long, and begun again by another process"
            )

    def _attempt(self, trial: optuna.Trial) -> float:
        """Optuna's objective. Raises TrialPruned for a trial that is worth nothing."""
        self._turn.pass_on()
        self._number = trial.number
        trial.set_user_attr("machine", platform.node())  # the first sign of life
        rank = self._rank(trial.number)
        if rank > self.num_trials:
            raise _Unfinished  # another process began the last one at the same moment
        values = self.search.suggest(trial)
        title = f"trial {trial.number} ({rank}/{self.num_trials})"
        as_it_is = ", the preset as it is" if values == self.search.baseline else ""
        self.display.note(f"{title}: {in_words(values)}{as_it_is}")
        run_folder = self.folder / f"trial-{trial.number:03d}"
        try:
            result, scores = self._train(trial, values, title, run_folder)
            facts = {"kimg": result.images_seen / 1000, "ended_early": result.ended_early}
            self._patiently(partial(trial.set_user_attr, "result", scores.as_dict() | facts))
        except Worthless as error:
            self.display.note(f"trial {trial.number} ended: {error}")
            raise optuna.TrialPruned from None
        finally:
            _drop_states(run_folder)
            self._is_taken_over |= not self._is_ours(trial.number)
        return worth(scores)

    def _train(
        self, trial: optuna.Trial, values: dict[str, float], title: str, run_folder: Path
    ) -> tuple[TrainResult, Scores]:
        """Raises Worthless, and _Unfinished when asked to stop before it was trained to its end."""
        config = trial_config(run_folder.name, self.size, self.search.base | values)
        shown = _TrialDisplay(self.display, title, partial(self._report, trial))
        in_run = dataclasses.replace(
            self.folders, checkpoints=run_folder / "checkpoints", runs=self.folder
        )
        try:
            _begin_anew(run_folder)
            result = train(
                config,
                self.pictures,
                in_run,
                shown,
                lambda: self.should_stop() or shown.is_over,
                if_too_short=LONGER_TRIALS,
            )
            if result.is_finished:
                assert result.checkpoint is not None
                return result, self._judge(result.checkpoint, trial.number)
        except (TrainingStopped, CheckpointRefused, OutOfMemory) as error:
            raise Worthless(str(error)) from error
        except (MemoryError, RuntimeError) as error:  # CUDA's own error is a RuntimeError
            if not is_out_of_memory(error):
                raise
            raise Worthless(f"out of memory ({in_one_line(error)})") from error
        except (KeyboardInterrupt, TrainerError):  # a full disk, say: not these values' fault
            self._is_interrupted = True
            raise
        if shown.is_over and not self._is_taken_over:
            seen = f"KID x 1000 {shown.best:.1f}" if shown.best < math.inf else "only a collapse"
            raise Worthless(f"{seen} after {shown.percent}% of its time; most others were better")
        self._is_interrupted = not self._is_taken_over
        raise _Unfinished

    def _report(self, trial: optuna.Trial, best: float, percent: int) -> bool:
        """Tell the study how far the trial has come; whether it is to end here."""
        try:
            trial.report(min(best, WORST_KID), percent)
            return trial.should_prune()
        except UpdateFinishedTrialError:
            self._is_taken_over = True
            return True
        except StorageInternalError:
            return False  # the database is away for a while: the next rung will do

    def _judge(self, checkpoint: Path, number: int) -> Scores:
        """By the same NUM_MEASURED seeds for every trial, the classes as often as in the pictures.

        Raises CheckpointRefused, and Worthless for a collapse.
        """
        generator = load_generator(checkpoint, self.search.base["device"])
        names = generator.manifest.class_names
        indices = self.pictures.class_indices[self.pictures.class_indices >= 0]
        painted = []
        for seed in range(NUM_MEASURED):
            self.display.preparing(f"painting with trial {number}", seed + 1, NUM_MEASURED)
            class_name = names[indices[seed % len(indices)]] if names else None
            painted.append(generator.paint(seed, class_name=class_name))
        assert self._meter is not None
        scores = self._meter.measure(np.stack(painted))
        self.display.note(
            f"trial {number}: KID x 1000 {scores.kid_x1000:.1f} ± {scores.kid_sd:.1f}, "
            f"coverage {scores.coverage:.2f}, diversity {scores.diversity_ratio:.2f}"
        )
        if worth(scores) == math.inf:
            raise Worthless(f"its pictures are too alike; diversity {LEAST_DIVERSITY} is the least")
        return scores

    # ---- other processes' trials, and the database -----------------------------------------------

    def _rank(self, number: int) -> int:
        """Its place among the trials that count, from 1: numbers are unique, whoever asks."""
        trials = self.study.get_trials(deepcopy=False)
        earlier = [t for t in trials if t.number < number and t.state is not TrialState.FAIL]
        return len(earlier) + 1

    def _is_ours(self, number: int) -> bool:
        """Whether the study still expects its result from this process."""
        try:
            return self.study.get_trials(deepcopy=False)[number].state is TrialState.RUNNING
        except StorageInternalError:
            return True

    def _look_after(self, running: list[FrozenTrial]) -> None:
        """Others are training the last trials: wait a while, and queue again what they lost."""
        where = [f"{t.number} ({t.user_attrs.get('machine', '?')})" for t in running]
        self._note_once(f"waiting for the last trials of others: {', '.join(where)}")
        self._turn.take()
        try:
            studies.take_over(self.study)
        finally:
            self._turn.pass_on()
        # Optuna does not miss the heartbeats of a trial that was killed before its first.
        now = time.monotonic()
        unheard = [trial.number for trial in running if "machine" not in trial.user_attrs]
        self._unheard = {number: self._unheard.get(number, now) for number in unheard}
        for number, since in self._unheard.items():
            if now - since > 2 * studies.HEARTBEAT_S:
                self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        self._pause(POLL_S)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """`ask()`, again and again while the database is away. Raises its StorageInternalError."""
        away_since: float | None = None
        while True:
            try:
                return ask()
            except StorageInternalError as error:
                now = time.monotonic()
                away_since = now if away_since is None else away_since
                if self.should_stop() or now - away_since > PATIENCE_S:
                    raise
                why = studies.reason(error, self.storage)
                self._note_once(f"the study's database does not answer ({why}); asking again")
                self._pause(POLL_S)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.should_stop():
            time.sleep(min(0.5, left))

    def _note_once(self, text: str) -> None:
        if text != self._noted:
            self._noted = text
            self.display.note(text)


def _begin_anew(run_folder: Path) -> None:
    """Remove what another study of that name left: training would go on with its networks.

    Raises RunBusy, StorageError.
    """
    with storage_errors(run_folder):
        if run_folder.exists():
            hold_run(run_folder).close()
            shutil.rmtree(run_folder)


def _drop_states(run_folder: Path) -> None:
    """A trial is never resumed, and sixteen trials' states can fill a disk."""
    for name in (state.STATE_FILE, state.BEST_FILE):
        (run_folder / name).unlink(missing_ok=True)


class _TrialDisplay:
    """Shows a run as a trial, and reports its best score so far at every rung it passes."""

    def __init__(self, inner: Display, title: str, report: Callable[[float, int], bool]) -> None:
        self._inner = inner
        self._title = title
        self._report = report
        self._is_measured = False
        self.best = math.inf
        self.percent = 0
        """Of the budget, where it was last reported."""
        self.is_over = False
        """It was told to end here."""

    def preparing(self, what: str, done: int, total: int) -> None:
        self._inner.preparing(what, done, total)

    def note(self, text: str) -> None:
        self._inner.note(text)

    def begin(self, config: TrainConfig, pace: Pace) -> None:
        self._inner.begin(dataclasses.replace(config, run=self._title), pace)

    def wants_losses(self, every_s: float) -> bool:
        return self._inner.wants_losses(every_s)

    def losses(self, means: StepMeans) -> None:
        self._inner.losses(means)

    def advance(self, pace: Pace) -> None:
        self._inner.advance(pace)

    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        self._inner.tick(stats, pace, None)  # its checkpoint is the sweep's own business
        if stats.scores is not None:
            self._is_measured = True
            self.best = min(self.best, worth(stats.scores))
        percent = math.floor(pace.fraction * RUNGS) * 100 // RUNGS
        if self._is_measured and self.percent < percent < 100:
            self.percent = percent
            self.is_over = self._report(self.best, percent)

    def close(self) -> None: ...

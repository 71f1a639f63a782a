"""Sweeps: what is searched, how trials are judged, kept and shared, with a training that takes no time."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import math
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy import Engine, event

from tests.trainer_fixtures import GOOD_SCORES, NotingDisplay
from trainers.config import Folders, TrainConfig, check_combination
from trainers.errors import (
    CheckpointRefused,
    OutOfMemory,
    SettingsError,
    StorageError,
    TrainerError,
    TrainingStopped,
)
from trainers.loop import TrainResult
from trainers.metrics.scores import Scores
from trainers.presets import PRESETS, as_named, resolve_preset
from trainers.progress import Display, Pace, TickStats
from trainers.sweep import study as studies
from trainers.sweep import trials
from trainers.sweep.result import preset_file, table
from trainers.sweep.search import plan_search
from trainers.sweep.study import (
    Turn,
    answering,
    finished,
    measured,
    open_study,
    reason,
    without_password,
)
from trainers.sweep.trials import Sweep, trial_config, worth


def base_of(preset: str, num_pictures: int = 100, **settings: Any) -> dict[str, Any]:
    return resolve_preset(preset, None, 64, num_pictures) | settings


def scores_of(kid: float, diversity: float = 0.9, **others: Any) -> Scores:
    values = {"kid_x1000": kid, "kid_sd": 1.0, "diversity_ratio": diversity, "coverage": 0.4}
    return dataclasses.replace(GOOD_SCORES, **(values | {"num_real": 60} | others))


# ---------------------------------------------------------------- what is searched


@pytest.mark.parametrize(
    ("preset", "num_pictures", "expected"),
    [
        ("dcgan", 100, ("lr",)),
        ("dcgan-steady", 100, ("lr", "augment_p")),
        ("projected", 100, ("gamma", "lr", "augment_p")),
        ("projected", 5000, ("lr", "augment_p")),
        ("resgan-s", 100, ("gamma", "lr", "augment_p")),
        ("resgan-s", 5000, ("gamma", "lr", "ada_target")),
    ],
)
def test_what_means_something_with_the_preset_is_searched(
    preset: str, num_pictures: int, expected: tuple[str, ...]
) -> None:
    assert plan_search(base_of(preset, num_pictures), None).over == expected


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_that_can_be_tried_makes_a_run_that_is_possible(preset: str) -> None:
    search = plan_search(base_of(preset), None)
    for ends in itertools.product(*(search.bounds(name) for name in search.over)):
        config = trial_config("t", 64, search.base | dict(zip(search.over, ends, strict=True)))
        check_combination(config)


def test_a_setting_is_searched_around_the_presets_own_value() -> None:
    search = plan_search(base_of("resgan-s", gamma=8.0, lr=1e-4), "gamma,lr")
    assert search.bounds("gamma") == (2.0, 32.0)
    assert search.bounds("lr") == pytest.approx((2.5e-5, 4e-4))
    assert search.baseline == {"gamma": 8.0, "lr": 1e-4}


def test_a_preset_outside_of_the_usual_span_is_still_tried_itself() -> None:
    assert plan_search(base_of("dcgan-steady", augment_p=0.1), "augment_p").bounds("augment_p") == (
        0.1,
        1.0,
    )


def test_names_may_be_written_with_dashes_and_more_than_once() -> None:
    search = plan_search(base_of("dcgan-steady"), "augment-p, d-lr-factor,augment_p")
    assert search.over == ("augment_p", "d_lr_factor")


@pytest.mark.parametrize(
    ("preset", "over", "message"),
    [
        ("dcgan", "gamma", "gamma weighs a penalty, and there is none"),
        ("dcgan", "lr,augment_p", "augment_p is how often diffaug acts, and augment is none"),
        ("dcgan-steady", "ada_target", "ada_target is what ada aims at, and augment is diffaug"),
        ("dcgan", "width", "width cannot be searched"),
        ("dcgan", "lr,", "nothing cannot be searched"),
    ],
)
def test_a_setting_that_means_nothing_here_is_refused_with_what_can_be_searched(
    preset: str, over: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"--over {over}: {message}") as refused:
        plan_search(base_of(preset), over)
    assert "choose from lr" in str(refused.value)


# ---------------------------------------------------------------- how a trial is run and judged


def test_a_trial_is_looked_at_at_every_tenth_of_its_budget_and_exported_only_at_its_end() -> None:
    short = trial_config("t", 64, base_of("dcgan") | {"kimg": 10.0, "minutes": 1.0})
    assert (short.tick_kimg, short.tick_s) == (1.0, 6.0)
    long = trial_config("t", 64, base_of("dcgan") | {"kimg": 1e6, "minutes": 60.0})
    assert (long.tick_kimg, long.tick_s) == (4.0, 120.0)
    assert long.export_kimg > long.kimg / 2
    assert long.measure_share == trials.MEASURE_SHARE


def test_a_collapse_is_worth_nothing_however_good_its_kid() -> None:
    assert worth(scores_of(10.0, diversity=0.49)) == math.inf
    assert worth(scores_of(10.0, diversity=0.5)) == 10.0
    assert worth(scores_of(-0.4)) == -0.4, "an unbiased estimate may fall below 0"
    assert worth(scores_of(math.nan)) == math.inf


# ---------------------------------------------------------------- a sweep whose training takes no time


Course = list[tuple[float, float, float]]
"""What is measured on the way: (fraction of the budget, KID x 1000, diversity)."""


@dataclass
class Rehearsal:
    """A study in a folder, and a stand-in for training, painting and the judge."""

    folder: Path
    course: Callable[[TrainConfig], Course | Exception] = lambda config: []
    final: Callable[[TrainConfig], Scores] = lambda config: scores_of(1e5 * config.lr)
    while_training: Callable[[], object] = lambda: None
    display: NotingDisplay = field(default_factory=NotingDisplay)
    kimg: Callable[[TrainConfig], float] = lambda config: 1.0
    ended_early: str = ""
    trained: list[TrainConfig] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    """Of each training, should it be too short to be judged."""
    url: str = ""
    is_stopped: bool = False
    """Ctrl-C was pressed."""

    def __post_init__(self) -> None:
        self.url = self.url or f"sqlite:///{self.folder / 'study.sqlite3'}"
        settings = {"kimg": 1.0, "minutes": None, "device": "cpu"}
        self.search = plan_search(base_of("dcgan-steady") | settings, "lr,augment_p")

    def open(self, **facts: Any) -> optuna.Study:
        return open_study("test", self.url, {"size": 32, **facts}, self.search)

    def sweep(self, num_trials: int, study: optuna.Study | None = None) -> Sweep:
        pictures = SimpleNamespace(class_indices=np.full(16, -1))
        folders = Folders(self.folder, self.folder, self.folder, self.folder)
        return Sweep(
            study=study or self.open(),
            storage=self.url,
            search=self.search,
            num_trials=num_trials,
            pictures=pictures,
            size=32,
            folder=self.folder,
            folders=folders,
            display=self.display,
            should_stop=lambda: self.is_stopped,
            open_meter=lambda: self,
        )

    def run(self, num_trials: int) -> optuna.Study:
        sweep = self.sweep(num_trials)
        sweep.run()
        return sweep.study

    # ---- what stands in

    def train(
        self,
        config: TrainConfig,
        pictures: object,
        folders: Folders,
        display: Display,
        should_stop: Callable[[], bool],
        if_too_short: str,
    ) -> TrainResult:
        self.trained.append(config)
        self.advice.append(if_too_short)
        pace = Pace(config, 0, 0.0)
        display.begin(config, pace)
        self.while_training()
        course = self.course(config)
        if isinstance(course, Exception):
            raise course
        for fraction, kid, diversity in course:
            if should_stop():
                return TrainResult(None, pace.images_seen, is_finished=False)
            pace.images_seen = round(fraction * config.kimg * 1000)
            measured = scores_of(kid, diversity)
            display.tick(TickStats(*[0.0] * 7, scores=measured), pace, self.folder)
        if should_stop():
            return TrainResult(None, pace.images_seen, is_finished=False)
        images = round(1000 * self.kimg(config))
        return TrainResult(folders.checkpoints / config.run, images, True, self.ended_early)

    def load_generator(self, checkpoint: Path, device: str) -> Any:
        return SimpleNamespace(
            manifest=SimpleNamespace(class_names=()),
            paint=lambda seed, class_name: np.zeros((32, 32, 3), np.uint8),
        )

    def measure(self, pictures: np.ndarray) -> Scores:
        return self.final(self.trained[-1])


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing here is about power cuts or memory, and on a busy machine each commit and each
    collection of garbage takes a second."""

    def hurry(connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    monkeypatch.setattr(gc, "collect", lambda: 0)
    event.listen(Engine, "connect", hurry)
    yield
    event.remove(Engine, "connect", hurry)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """With Optuna's tables, which take a second to make."""
    file = tmp_path_factory.mktemp("empty") / "study.sqlite3"
    optuna.storages.RDBStorage(f"sqlite:///{file}").engine.dispose()
    return file.read_bytes()


@pytest.fixture
def rehearsal(tmp_path: Path, empty_database: bytes, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    made = Rehearsal(tmp_path)
    (tmp_path / "study.sqlite3").write_bytes(empty_database)
    monkeypatch.setattr(trials, "train", made.train)
    monkeypatch.setattr(trials, "load_generator", made.load_generator)
    monkeypatch.setattr(trials, "NUM_MEASURED", 2)
    monkeypatch.setattr(trials, "POLL_S", 0.05)
    monkeypatch.setattr(studies, "HEARTBEAT_S", 1)
    return made


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def test_a_sweep_makes_as_many_trials_as_were_asked_for_and_finds_the_best(
    rehearsal: Rehearsal,
) -> None:
    study = rehearsal.run(8)
    assert states(study) == ["COMPLETE"] * 8
    rates = [config.lr for config in rehearsal.trained]
    assert len(set(rates)) == 8
    assert measured(study)[0].number == int(np.argmin(rates))
    assert [config.run for config in rehearsal.trained][:2] == ["trial-000", "trial-001"]
    assert {config.seed for config in rehearsal.trained} == {0}


def test_a_trial_too_short_to_be_judged_is_not_told_to_go_on(rehearsal: Rehearsal) -> None:
    """Its state is gone, and all trials of a study are equally long."""
    rehearsal.run(1)
    assert rehearsal.advice == [
        "another --study with a larger --kimg or --minutes has longer trials"
    ]


def test_the_first_trial_is_the_preset_as_it_is(rehearsal: Rehearsal) -> None:
    rehearsal.run(2)
    first, second = rehearsal.trained
    assert (first.lr, first.augment_p) == (2e-4, 1.0)
    assert second.lr != 2e-4
    assert rehearsal.display.notes[0] == (
        "trial 0 (1/2): lr 0.0002, augment_p 1, the preset as it is"
    )


def test_each_trial_is_told_with_its_scores(rehearsal: Rehearsal) -> None:
    rehearsal.run(2)
    assert rehearsal.display.notes[1] == (
        "trial 0: KID x 1000 20.0 ± 1.0, coverage 0.40, diversity 0.90"
    )


def test_a_study_goes_on_where_it_stopped(rehearsal: Rehearsal) -> None:
    rehearsal.run(2)
    study = rehearsal.run(3)
    assert states(study) == ["COMPLETE"] * 3
    assert len(rehearsal.trained) == 3
    rehearsal.run(3)
    assert len(rehearsal.trained) == 3, "there was nothing left to do"


def test_who_goes_on_does_not_draw_the_same_points_again(rehearsal: Rehearsal) -> None:
    """A seeded sampler would: each process begins its stream at the beginning."""
    for num_trials in (2, 3, 4, 5):
        rehearsal.run(num_trials)
    assert len({config.lr for config in rehearsal.trained}) == 5


# ---------------------------------------------------------------- hopeless trials


def after_four(course: Course) -> Callable[[TrainConfig], Course]:
    """Four good trials, then one of this course."""
    good: Course = [(0.1 * n, 100 - 10 * n, 0.9) for n in range(1, 10)]
    return lambda config: good if int(config.run[-3:]) < 4 else course


def test_a_trial_that_is_worse_than_most_were_by_then_is_ended_early(rehearsal: Rehearsal) -> None:
    rehearsal.course = after_four([(0.11 * n, 500.0, 0.9) for n in range(1, 10)])
    study = rehearsal.run(5)
    assert states(study) == ["COMPLETE"] * 4 + ["PRUNED"]
    assert rehearsal.display.notes[-1] == (
        "trial 4 ended: KID x 1000 500.0 after 30% of its time; most others were better"
    )


def test_a_trial_that_is_as_good_as_the_others_by_then_goes_on(rehearsal: Rehearsal) -> None:
    """Measured at other moments than the others were: they meet at tenths of the budget."""
    rehearsal.course = after_four([(0.035 + 0.1 * n, 95 - 10 * n, 0.9) for n in range(1, 9)])
    assert states(rehearsal.run(5)) == ["COMPLETE"] * 5


def test_nothing_is_ended_before_three_tenths_of_its_budget(rehearsal: Rehearsal) -> None:
    slow_start: Course = [(0.1, 900.0, 0.9), (0.2, 900.0, 0.9), (0.3, 10.0, 0.9), (0.9, 10.0, 0.9)]
    rehearsal.course = after_four(slow_start)
    assert states(rehearsal.run(5)) == ["COMPLETE"] * 5


def test_a_trial_that_was_good_once_is_judged_by_that(rehearsal: Rehearsal) -> None:
    """The guard exports a run's best, not its last."""
    relapse: Course = [(0.2, 5.0, 0.9), *((0.1 * n, 500.0, 0.9) for n in range(3, 10))]
    rehearsal.course = after_four(relapse)
    assert states(rehearsal.run(5)) == ["COMPLETE"] * 5


def test_a_trial_is_compared_with_the_best_the_others_had_shown_by_then(
    rehearsal: Rehearsal,
) -> None:
    relapse: Course = [(0.2, 5.0, 0.9), *((0.1 * n, 500.0, 0.9) for n in range(3, 10))]
    mediocre: Course = [(0.1 * n, 200.0, 0.9) for n in range(1, 10)]
    rehearsal.course = lambda config: relapse if int(config.run[-3:]) < 4 else mediocre
    assert states(rehearsal.run(5))[-1] == "PRUNED"


def test_a_trial_that_shows_only_a_collapse_on_the_way_is_ended_early(rehearsal: Rehearsal) -> None:
    rehearsal.course = after_four([(0.1 * n, 1.0, 0.2) for n in range(1, 10)])
    assert states(rehearsal.run(5))[-1] == "PRUNED"
    assert "only a collapse after 30% of its time" in rehearsal.display.notes[-1]


def test_collapses_among_the_first_do_not_end_the_others(rehearsal: Rehearsal) -> None:
    """As bad as the median is not worse than it; a median of infinities is no number, and a warning."""
    rehearsal.course = lambda config: [(0.1 * n, 1.0, 0.2) for n in range(1, 10)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = rehearsal.run(6)
    assert states(study) == ["COMPLETE"] * 6


@pytest.mark.parametrize(
    "failure",
    [
        TrainingStopped("trial-001 could not be mended: the pictures are alike."),
        OutOfMemory("out of memory even with 2 pictures at a time."),
        CheckpointRefused("it paints one flat colour (a collapsed or empty generator)"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError("not enough"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_a_trial_that_fails_by_its_settings_is_told_and_never_best(
    rehearsal: Rehearsal, failure: Exception
) -> None:
    rehearsal.course = lambda config: failure if config.run == "trial-001" else []
    rehearsal.final = lambda config: scores_of(10.0)
    study = rehearsal.run(3)
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert 1 not in [trial.number for trial in measured(study)]
    assert any(
        note.startswith("trial 1 ended: ") and str(failure).split(".")[0] in note
        for note in rehearsal.display.notes
    )


def test_a_trial_of_pictures_that_are_alike_is_never_best(rehearsal: Rehearsal) -> None:
    """50 real pictures repeated have a KID near 0."""
    rehearsal.final = lambda config: (
        scores_of(0.1, diversity=0.3) if config.run == "trial-001" else scores_of(200.0)
    )
    study = rehearsal.run(3)
    assert states(study) == ["COMPLETE", "PRUNED", "COMPLETE"]
    assert [trial.value for trial in measured(study)] == [200.0, 200.0]
    assert "trial 1 ended: its pictures are too alike" in "\n".join(rehearsal.display.notes)


def test_a_failure_no_other_values_would_help_against_ends_the_sweep_and_loses_no_values(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.course = lambda config: StorageError("could not write state.pt: no space left.")
    with pytest.raises(StorageError, match="no space left"):
        rehearsal.run(3)
    rehearsal.course = lambda config: []
    assert states(rehearsal.run(2)) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert [config.lr for config in rehearsal.trained[:2]] == [2e-4, 2e-4]


# ---------------------------------------------------------------- Ctrl-C


def test_a_stop_loses_only_the_running_trial_and_its_values_are_tried_again(
    rehearsal: Rehearsal,
) -> None:
    def press_ctrl_c() -> None:
        rehearsal.is_stopped = len(rehearsal.trained) == 2

    rehearsal.while_training = press_ctrl_c
    assert states(rehearsal.run(3)) == ["COMPLETE", "FAIL", "WAITING"]
    rehearsal.is_stopped = False
    assert states(rehearsal.run(3)) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert rehearsal.trained[1].lr == rehearsal.trained[2].lr


def test_a_trial_that_is_trained_when_the_stop_comes_is_still_counted(rehearsal: Rehearsal) -> None:
    def press_ctrl_c(config: TrainConfig) -> Scores:
        rehearsal.is_stopped = True
        return scores_of(50.0)

    rehearsal.final = press_ctrl_c
    assert states(rehearsal.run(3)) == ["COMPLETE"]


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_values(rehearsal: Rehearsal) -> None:
    def press_twice() -> None:
        rehearsal.is_stopped = True
        raise KeyboardInterrupt

    rehearsal.while_training = press_twice
    assert states(rehearsal.run(3)) == ["FAIL", "WAITING"]


# ---------------------------------------------------------------- folders


def test_what_another_study_of_that_name_left_is_not_gone_on_with(rehearsal: Rehearsal) -> None:
    stale = rehearsal.folder / "trial-000" / "state.pt"
    stale.parent.mkdir()
    stale.write_text("of other settings")
    seen = []
    rehearsal.while_training = lambda: seen.append(stale.exists())
    rehearsal.run(2)
    assert seen == [False, False]


def test_a_finished_trials_states_are_removed_and_its_page_stays(rehearsal: Rehearsal) -> None:
    def write() -> None:
        folder = rehearsal.folder / rehearsal.trained[-1].run
        folder.mkdir()
        for name in ("state.pt", "best.pt", "index.html"):
            (folder / name).touch()

    rehearsal.while_training = write
    rehearsal.run(2)
    assert [p.name for p in (rehearsal.folder / "trial-001").iterdir()] == ["index.html"]


# ---------------------------------------------------------------- several processes


def in_threads(*workers: Callable[[], object]) -> None:
    threads = [threading.Thread(target=worker) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_workers_of_one_study_make_together_exactly_as_many_trials_as_were_asked_for(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.while_training = lambda: time.sleep(0.02)
    study = rehearsal.open()
    sweeps = [rehearsal.sweep(7, rehearsal.open()) for _ in range(3)]
    in_threads(*(sweep.run for sweep in sweeps))
    assert len(finished(study)) == 7
    assert len(rehearsal.trained) == 7, "none was begun in vain"
    assert len({config.lr for config in rehearsal.trained}) == 7, "none was done twice"


def test_a_surplus_trial_is_not_trained(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ask for the last one in the same moment: numbers tell who was first."""
    study = rehearsal.run(2)
    late = rehearsal.sweep(2, study)
    late._meter = rehearsal
    late._try_one()
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert len(rehearsal.trained) == 2


def test_two_never_take_the_same_turn(tmp_path: Path) -> None:
    """For SQLite: see Turn."""
    url = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    inside, most = [0], [0]

    def worker() -> None:
        turn = Turn(url)
        for _ in range(20):
            turn.take()
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.0005)
            inside[0] -= 1
            turn.pass_on()

    in_threads(worker, worker, worker)
    assert most == [1]


def test_other_databases_need_no_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    turn = Turn("postgresql://somebody@host/sweeps")
    turn.take()
    turn.pass_on()
    assert list(tmp_path.iterdir()) == []


def test_the_last_trial_of_a_silent_process_is_begun_again_by_who_waits_for_it(
    rehearsal: Rehearsal,
) -> None:
    """Its process is gone: it has a heartbeat, and no further one comes."""
    study = rehearsal.open()
    storage = study._storage
    lost = _begun_by_another(study, "studio-2")
    storage.record_heartbeat(lost._trial_id)
    rehearsal.run(2)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert [config.lr for config in rehearsal.trained].count(2e-4) == 1
    assert any("waiting for the last trials of others: 0 (studio-2)" in n for n in notes(rehearsal))


def notes(rehearsal: Rehearsal) -> list[str]:
    return rehearsal.display.notes


def test_a_trial_whose_process_died_before_its_first_heartbeat_is_not_waited_for_for_ever(
    rehearsal: Rehearsal,
) -> None:
    study = rehearsal.open()
    _begun_by_another(study, machine=None)
    rehearsal.run(2)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]


def _begun_by_another(study: optuna.Study, machine: str | None) -> optuna.Trial:
    with pytest.warns(UserWarning, match="Heartbeat"):
        trial = study.ask()
    trial.suggest_float("lr", 5e-5, 8e-4, log=True)
    trial.suggest_float("augment_p", 0.2, 1.0)
    if machine is not None:
        trial.set_user_attr("machine", machine)
    return trial


@pytest.mark.parametrize("course", [[], [(0.3, 1.0, 0.9), (0.9, 1.0, 0.9)]], ids=["end", "report"])
def test_who_was_taken_for_dead_says_so_and_goes_on(rehearsal: Rehearsal, course: Course) -> None:
    """A laptop that slept: Optuna then answers `Cannot tell a FAIL trial` with a traceback."""
    study = rehearsal.open()

    def sleep() -> None:
        if len(rehearsal.trained) == 1:
            study.tell(0, state=TrialState.FAIL)
            studies.begin_again(study, 0)

    rehearsal.while_training = sleep
    rehearsal.course = lambda config: course
    rehearsal.run(2)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert (
        notes(rehearsal).count("trial 0: not heard of for long, and begun again by another process")
        == 1
    )


# ---------------------------------------------------------------- a database that is away


def test_a_database_that_is_away_for_a_moment_is_waited_for(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked while the trial trains, until after its end: its result is kept."""
    monkeypatch.setattr(studies, "BUSY_S", 0.05)

    def lock() -> None:
        if len(rehearsal.trained) > 1:
            return
        other = sqlite3.connect(rehearsal.folder / "study.sqlite3", check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.6, other.close).start()

    rehearsal.while_training = lock
    rehearsal.course = lambda config: [(0.5, 10.0, 0.9)]
    study = rehearsal.run(2)
    assert states(study) == ["COMPLETE", "COMPLETE"]
    assert (
        notes(rehearsal).count(
            "the study's database does not answer (database is locked); asking again"
        )
        == 1
    )


def test_a_missed_heartbeat_ends_neither_the_next_ones_nor_the_trial(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent from a thread, where an error would be a traceback on the screen and silence after."""
    monkeypatch.setattr(studies, "BUSY_S", 0.05)
    storage: Any = rehearsal.open()._storage
    with contextlib.closing(sqlite3.connect(rehearsal.folder / "study.sqlite3")) as other:
        other.execute("BEGIN EXCLUSIVE")
        storage.record_heartbeat(1)


def test_a_database_that_stays_away_ends_the_sweep(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "BUSY_S", 0.05)
    monkeypatch.setattr(trials, "PATIENCE_S", 0.3)
    rehearsal.course = lambda config: []
    sweep = rehearsal.sweep(2)
    with contextlib.closing(sqlite3.connect(rehearsal.folder / "study.sqlite3")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrainerError, match="not answer") as refused, answering(rehearsal.url):
            sweep.run()
    assert "the same command goes on" in str(refused.value)
    assert isinstance(refused.value.__cause__, StorageInternalError)


# ---------------------------------------------------------------- opening a study


def test_a_study_begun_with_other_settings_is_refused_with_the_differences(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.open(minutes=15.0, holdout=0.1)
    rehearsal.open(minutes=15.0, holdout=0.1)
    with pytest.raises(SettingsError) as refused:
        rehearsal.open(minutes=30.0, holdout=0.1)
    assert "study test was begun with other settings: minutes 15.0 -> 30.0." in str(refused.value)
    assert "--study NAME" in str(refused.value)


def test_a_study_of_another_program_is_refused(rehearsal: Rehearsal) -> None:
    made = optuna.create_study(study_name="test", storage=rehearsal.url)
    made.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(SettingsError, match="was not made by artbot sweep"):
        rehearsal.open()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////no/such/folder/study.sqlite3", "No such file or directory"),
        ("study.sqlite3", "Could not parse SQLAlchemy URL"),
        ("oracle+nothing://u:geheim@host/db", "nothing"),
        ("mysql+mysqldb://u:geheim@host/db?ssl_key=geheim2", "needs the Python module MySQLdb"),
    ],
)
def test_a_database_that_cannot_be_opened_is_told_without_its_password(
    rehearsal: Rehearsal, url: str, message: str
) -> None:
    rehearsal.url = url
    with pytest.raises(SettingsError, match=message) as refused:
        rehearsal.open()
    assert "geheim" not in str(refused.value)
    assert str(refused.value).startswith("--storage ")


def test_passwords_are_left_out_of_what_is_shown() -> None:
    shown = without_password("postgresql+psycopg://me:p@ss:w/rd@db.lan:5432/sweeps?sslpassword=x")
    assert shown == "postgresql+psycopg://me:***@db.lan:5432/sweeps"
    assert without_password("postgresql://me@db.lan/sweeps") == "postgresql://me@db.lan/sweeps"
    assert without_password("sqlite:////data/a.sqlite3") == "sqlite:////data/a.sqlite3"


def test_a_drivers_words_lose_the_password_and_all_lines_but_the_first() -> None:
    error = RuntimeError("password 'p@ss' refused, option hush\nand much more")
    assert reason(error, "postgresql://me:p@ss@host/db?sslpassword=hush") == (
        "password '***' refused, option ***"
    )


# ---------------------------------------------------------------- what comes of it


def test_the_preset_file_gives_the_settings_its_trial_was_trained_with(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    study = rehearsal.run(5)
    file = tmp_path / "found.toml"
    file.write_text(preset_file(study, rehearsal.search, as_named("dcgan-steady"), {"width": 32}))
    best = rehearsal.trained[measured(study)[0].number]
    found = resolve_preset(str(file), None, 64, 100)
    assert found == base_of("dcgan-steady") | {
        "width": 32,
        "lr": best.lr,
        "augment_p": best.augment_p,
    }
    comment = file.read_text().splitlines()[:2]
    assert comment == [
        f"# Found by `artbot sweep`: study test, trial {measured(study)[0].number}, the best of 5.",
        f"# KID x 1000 {1e5 * best.lr:.1f} ± 1.0, coverage 0.40, diversity 0.90, judged on 60 held-out "
        "pictures.",
    ]


def test_a_preset_file_is_itself_something_to_start_from(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(
        'preset = "dcgan-steady"\nlr = 1e-3\nflip = true\naugment_ops = "color,cutout"\nwidth = 32\n'
    )
    study = rehearsal.run(2)
    second.write_text(preset_file(study, rehearsal.search, as_named(str(first)), {}))
    found = resolve_preset(str(second), None, 64, 100)
    best = rehearsal.trained[measured(study)[0].number]
    assert (found["lr"], found["augment_p"]) == (best.lr, best.augment_p)
    assert (found["flip"], found["augment_ops"], found["width"]) == (True, "color,cutout", 32)
    assert found["d_norm"] == "spectral", "of the preset that the first file started from"


def test_the_table_shows_the_best_first_and_the_preset_among_them(rehearsal: Rehearsal) -> None:
    rehearsal.final = lambda config: scores_of({"trial-001": 20.0}.get(config.run, 60.0))
    lines = table(rehearsal.run(3), rehearsal.search, rehearsal.folder)
    assert lines[0].split() == [
        *("trial", "KID", "x", "1000", "coverage", "diversity", "kimg", "lr", "augment_p"),
    ]
    assert lines[1].split()[:7] == ["1", "20.0", "±", "1.0", "0.40", "0.90", "1.0"]
    assert lines[2].split()[0] == "0"
    assert lines[2].endswith("the preset as it is")
    assert len(lines) == 4


def test_the_table_shows_the_preset_however_many_are_better(rehearsal: Rehearsal) -> None:
    rehearsal.final = lambda config: scores_of({"trial-000": 60.0}.get(config.run, 20.0))
    lines = table(rehearsal.run(8), rehearsal.search, rehearsal.folder)
    assert len(lines) == 7
    assert lines[6].endswith("the preset as it is")


def test_a_gain_that_is_no_more_than_chance_is_not_sold_as_one(rehearsal: Rehearsal) -> None:
    rehearsal.final = lambda config: scores_of({"trial-001": 59.0}.get(config.run, 60.0))
    lines = table(rehearsal.run(3), rehearsal.search, rehearsal.folder)
    assert "The best differs from the preset as it is by no more than chance does." in lines


def test_a_preset_that_nothing_beats_is_said_to_be_the_best(rehearsal: Rehearsal) -> None:
    rehearsal.final = lambda config: scores_of({"trial-000": 50.0}.get(config.run, 60.0))
    lines = table(rehearsal.run(3), rehearsal.search, rehearsal.folder)
    assert "Nothing that was tried is better than the preset as it is." in lines


@pytest.mark.parametrize("ended_early", ["", "the pictures get no better"])
def test_trials_that_saw_much_less_than_others_are_said_not_to_compare(
    rehearsal: Rehearsal, ended_early: str
) -> None:
    """Unless the guard ended them for good: minutes are worth less on a busy machine."""
    rehearsal.kimg = lambda config: 0.7 if config.run == "trial-001" else 6.2
    rehearsal.ended_early = ended_early
    lines = table(rehearsal.run(3), rehearsal.search, rehearsal.folder)
    is_said = any("between 0.7 and 6.2 kimg" in line and "--kimg" in line for line in lines)
    assert is_said == (not ended_early)


def test_the_best_trials_page_is_named_if_it_lies_here(rehearsal: Rehearsal) -> None:
    study = rehearsal.run(2)
    assert not any("grids" in line for line in table(study, rehearsal.search, rehearsal.folder))
    page = rehearsal.folder / f"trial-{measured(study)[0].number:03d}" / "index.html"
    page.parent.mkdir(exist_ok=True)
    page.touch()
    assert table(study, rehearsal.search, rehearsal.folder)[-1] == f"its grids: {page}"

"""`artbot sweep` as a person runs it: real processes and trainings, a judge that takes no time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import sqlite3
import struct
import sys
import termios
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, event
from torch import Tensor

from tests.forks import begin_fork
from tests.trainer_fixtures import STEP_KIMG, Studio, wait_until
from trainers import observer
from trainers.__main__ import main
from trainers.errors import SettingsError, TrainerError
from trainers.metrics import meter
from trainers.metrics.pixels import thumbnails
from trainers.presets import resolve_preset
from trainers.pretrained.efficientnet_lite import NUM_FEATURES
from trainers.sweep import study as studies
from trainers.sweep import trials

TINY = 'preset = "dcgan-steady"\nwidth = 4\nz_dim = 8\nbatch = 8\nguard = false\n'
STEPS = ("--kimg", 10 * STEP_KIMG)


# ---------------------------------------------------------------- a sweep in a hurry


class QuickJudge:
    """Sees a picture as its thumbnail."""

    batch = 64
    preprocessing = "thumbnails"

    def __init__(self, name: str, device: str) -> None:
        self.name = name

    def features(self, pictures: np.ndarray, on_progress: object = None) -> Tensor:
        return torch.from_numpy(thumbnails(pictures)[:, :NUM_FEATURES] / 255)


def never_flush(connection: Any, record: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def hurry() -> None:
    """Measure little, take a silent process for dead after two seconds, and never wait for the disk:
    nothing here is about power cuts."""
    os.fsync = lambda descriptor: None
    event.listen(Engine, "connect", never_flush)
    meter.Judge = QuickJudge
    observer.EXPECTED_S_PER_PICTURE = {"cpu": 0.0}
    trials.NUM_MEASURED = 32
    trials.LEAST_DIVERSITY = 0.0  # ten steps teach no diversity
    trials.POLL_S = 0.2
    trials.RUNGS = 3
    studies.HEARTBEAT_S = 1


def sweep_in_child(path: Path, arguments: list[str], terminal: str, is_hurried: bool) -> None:
    """`python -m trainers sweep` in a process of its own, with `out` and `err` beside its work."""
    os.chdir(path)
    if terminal:
        os.setsid()
        screen = os.open(terminal, os.O_RDWR)
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        os.environ["TERM"] = "xterm"
    else:
        for number, name in ((1, "out"), (2, "err")):
            file = os.open(f"{name}-{os.getpid()}", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, number)
    torch.set_num_threads(1)
    if is_hurried:
        hurry()
    else:
        trials.NUM_MEASURED = 32
        trials.LEAST_DIVERSITY = 0.0
    try:
        main(["sweep", *arguments])
    except TrainerError as error:
        print("Error:", error, file=sys.stderr)
        sys.exit(error.exit_code)


@dataclass
class Running:
    process: BaseProcess
    path: Path

    @property
    def code(self) -> int:
        self.process.join(120)
        assert self.process.exitcode is not None, self.err
        return self.process.exitcode

    @property
    def out(self) -> str:
        return (self.path / f"out-{self.process.pid}").read_text()

    @property
    def err(self) -> str:
        return (self.path / f"err-{self.process.pid}").read_text()

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


@dataclass
class Place:
    """A folder with pictures and a tiny preset, in which sweeps are started."""

    studio: Studio

    def start(
        self, *options: object, preset: str = "tiny.toml", terminal: str = "", hurried: bool = True
    ) -> Running:
        arguments = ["--dataset", "blobs", "--size", "32", "--preset", preset, *map(str, options)]
        process = begin_fork(sweep_in_child, self.studio.path, arguments, terminal, hurried)
        return Running(process, self.studio.path)

    def sweep(self, *options: object, **how: Any) -> Running:
        """To its end."""
        running = self.start(*options, **how)
        assert running.code == 0, running.err
        assert "Traceback" not in running.err
        return running

    def trials(self, study: str = "sweep-blobs-32") -> list[FrozenTrial]:
        url = f"sqlite:///{self.folder / study / 'study.sqlite3'}"
        return optuna.load_study(study_name=study, storage=url).trials

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.trials()]

    @property
    def folder(self) -> Path:
        return self.studio.folders.runs

    def is_training(self, number: int) -> bool:
        return (self.folder / "sweep-blobs-32" / f"trial-{number:03d}" / "stats.jsonl").exists()


def place_in(path: Path) -> Place:
    studio = Studio(path)
    studio.add_pictures()
    (path / "tiny.toml").write_text(TINY)
    return Place(studio)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_in(tmp_path)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Running]:
    """A finished sweep of three trials: look, do not touch."""
    place = place_in(tmp_path_factory.mktemp("swept"))
    return place, place.sweep("--trials", 3, *STEPS, "--set", "flip=true")


Swept = tuple[Place, Running]


# ---------------------------------------------------------------- from beginning to end


def test_a_sweep_tells_which_trial_of_how_many_line_by_line(swept: Swept) -> None:
    _, ran = swept
    lines = ran.err.splitlines()
    assert "study sweep-blobs-32: 3 of 3 trials to go, each of 0.08 kimg" in lines
    assert "  lr from 5e-05 to 0.0008" in lines
    assert "  augment_p from 0.2 to 1" in lines
    assert "trial 0 (1/3): lr 0.0002, augment_p 1, the preset as it is" in lines
    assert "training trial 0 (1/3) on cpu: to 0.08 kimg" in lines
    assert any(re.match(r"trial 2 \(3/3\): lr [\d.e-]+, augment_p [\d.]+$", line) for line in lines)
    assert any(re.match(r"trial 2: KID x 1000 [\d.]+ ± [\d.]+, coverage", line) for line in lines)
    assert any(re.match(r"kimg +0\.1 +100% .* ETA 0s", line) for line in lines)


def test_the_result_stands_on_standard_output_with_the_command_that_uses_it(swept: Swept) -> None:
    _, ran = swept
    lines = ran.out.splitlines()
    assert lines[0].startswith("trial     KID x 1000  coverage  diversity")
    assert sorted(int(line.split()[0]) for line in lines[1:4]) == [0, 1, 2]
    assert "preset: sweep-blobs-32.toml" in lines
    assert "  artbot train --dataset blobs --size 32 --preset sweep-blobs-32.toml" in lines
    page = re.search(r"its grids: (.*)", ran.out)
    assert page is not None
    assert (ran.path / page[1]).exists()


def test_pictures_that_were_learned_from_are_named_as_what_they_are(swept: Swept) -> None:
    place, ran = swept
    assert "judged on 24 pictures that the trials learn from" in ran.err
    assert "the training pictures" in (place.studio.path / "sweep-blobs-32.toml").read_text()


def test_trials_never_export_into_the_workplaces_checkpoints(swept: Swept) -> None:
    place, _ = swept
    assert not place.studio.folders.checkpoints.exists()
    study = place.folder / "sweep-blobs-32"
    assert len(list(study.glob("trial-*/checkpoints/*/generator.safetensors"))) == 3


def test_trials_keep_their_pages_and_not_their_states(swept: Swept) -> None:
    place, _ = swept
    study = place.folder / "sweep-blobs-32"
    assert len(list(study.glob("trial-*/index.html"))) == 3
    assert list(study.rglob("*.pt")) == []
    assert place.studio.leftovers() == []


def test_the_preset_file_is_what_artbot_train_takes(swept: Swept) -> None:
    place, _ = swept
    file = place.studio.path / "sweep-blobs-32.toml"
    best = min((trial for trial in place.trials()), key=lambda trial: trial.value or 0)
    found = resolve_preset(str(file), None, 32, 24)
    assert found["lr"] == pytest.approx(best.params["lr"], rel=1e-5)
    assert (found["width"], found["flip"], found["d_norm"]) == (4, True, "spectral")

    ran = place.studio.cli("--preset", file, "--dry-run")
    _in_words, _, settings = ran.stdout.partition("\n\n")
    plan = dict(
        words for line in settings.splitlines() if len(words := line.split(maxsplit=1)) == 2
    )
    assert float(plan["lr"]) == found["lr"]
    assert float(plan["augment_p"]) == found["augment_p"]


def test_the_same_command_when_all_is_done_shows_the_result_again(swept: Swept) -> None:
    place, ran = swept
    again = place.sweep("--trials", 3, *STEPS, "--set", "flip=true")
    assert again.out == ran.out
    assert "0 of 3 trials to go" in again.err
    assert "training" not in again.err


def test_a_preset_file_is_something_to_start_another_sweep_from(swept: Swept) -> None:
    place, _ = swept
    place.sweep(
        *("--trials", 2, *STEPS, "--study", "finer", "--over", "d-lr-factor"),
        preset="sweep-blobs-32.toml",
    )
    first, second = (
        resolve_preset(str(place.studio.path / name), None, 32, 24)
        for name in ("sweep-blobs-32.toml", "finer.toml")
    )
    best = min(place.trials("finer"), key=lambda trial: trial.value or 0)
    assert second == first | {"d_lr_factor": pytest.approx(best.params["d_lr_factor"], 1e-5)}


def test_a_preset_file_that_changes_meanwhile_changes_nothing_of_the_sweep(place: Place) -> None:
    """Read once, at the beginning: what was trained with is what is written."""
    running = place.start("--trials", 2, "--kimg", 40 * STEP_KIMG)
    wait_until(lambda: place.is_training(0))
    (place.studio.path / "tiny.toml").write_text('preset = "mlp"\nlr = 1.0\n')
    assert running.code == 0, running.err
    found = resolve_preset(str(place.studio.path / "sweep-blobs-32.toml"), None, 32, 24)
    assert (found["arch"], found["width"], found["d_norm"]) == ("dcgan", 4, "spectral")


def test_pictures_that_were_left_out_or_enlarged_are_told_as_training_tells_them(
    place: Place,
) -> None:
    (place.studio.folders.datasets / "blobs" / "text.jpg").write_text("no picture")
    ran = place.sweep("--trials", 2, *STEPS, "--size", 64)
    lines = ran.err.splitlines()
    assert "24 pictures from datasets/blobs" in lines
    assert "  left out: text.jpg is not a picture, or of a kind that is not read" in lines
    assert any("24 of 24 are smaller than 64 px and were enlarged 1.6 times" in s for s in lines)
    assert (place.folder / "sweep-blobs-64" / "left-out.txt").exists()


def test_the_real_judge_judges(place: Place) -> None:
    ran = place.sweep("--trials", 2, *STEPS, hurried=False)
    assert len(re.findall(r"^trial \d: KID x 1000 \d+", ran.err, re.MULTILINE)) == 2
    assert {trial.user_attrs["result"]["judge"] for trial in place.trials()} == {"lite2"}


# ---------------------------------------------------------------- interrupted and shared


def test_ctrl_c_loses_only_the_running_trial_and_the_same_command_goes_on(place: Place) -> None:
    long = ("--kimg", 80 * STEP_KIMG)
    running = place.start("--trials", 2, *long)
    wait_until(lambda: place.is_training(0))
    running.send(signal.SIGINT)
    assert running.code == 130
    assert "0 of 2 trials are done; the same command goes on." in running.err
    assert "Traceback" not in running.err
    assert place.states() == ["FAIL", "WAITING"]
    assert not (place.studio.path / "sweep-blobs-32.toml").exists(), "there is nothing to write yet"

    place.sweep("--trials", 2, *long)
    assert place.states() == ["FAIL", "COMPLETE", "COMPLETE"]
    assert place.trials()[1].params == place.trials()[0].params


def test_a_trial_whose_process_was_killed_is_begun_again(place: Place) -> None:
    """By another process, with the same values, as soon as its heartbeat is stale."""
    long = ("--kimg", 40 * STEP_KIMG)
    killed = place.start("--trials", 2, *long)
    wait_until(lambda: place.is_training(0))
    killed.send(signal.SIGKILL)
    assert killed.code == -signal.SIGKILL
    assert place.states() == ["RUNNING"]
    place.sweep("--trials", 2, *long)
    trials_now = place.trials()
    assert sorted(trial.state.name for trial in trials_now) == ["COMPLETE", "COMPLETE", "FAIL"]
    assert trials_now[0].state.name == "FAIL"
    again = [t for t in trials_now[1:] if t.params == trials_now[0].params]
    assert len(again) == 1


def test_two_processes_share_a_study_and_do_no_trial_twice(place: Place) -> None:
    place.studio.pictures()
    both = [place.start("--trials", 5, *STEPS) for _ in range(2)]
    for running in both:
        assert running.code == 0, running.err
    done = [trial for trial in place.trials() if trial.state.name != "FAIL"]
    assert {trial.state.name for trial in done} <= {"COMPLETE", "PRUNED"}
    assert len(done) == 5
    assert len({trial.params["lr"] for trial in done}) == 5
    trained = "".join(running.err for running in both)
    assert len(re.findall(r"^training trial", trained, re.MULTILINE)) == 5
    assert both[0].out == both[1].out, "both see the same result"


# ---------------------------------------------------------------- a terminal


def test_on_a_terminal_the_bar_names_the_trial_and_shows_its_eta(place: Place) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    running = place.start("--trials", 2, "--kimg", 40 * STEP_KIMG, terminal=os.ttyname(theirs))
    received, deadline = b"", time.monotonic() + 120
    while running.process.is_alive() and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            with contextlib.suppress(OSError):
                received += os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    assert running.process.exitcode == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received.decode(errors="replace"))
    assert re.search(r"trial 1 \(2/2\) +━+ +\d+%.*ETA \d+s", shown), shown[-3000:]
    assert "preset: sweep-blobs-32.toml" in shown


# ---------------------------------------------------------------- mistakes


def refused(arguments: list[object], monkeypatch: pytest.MonkeyPatch, place: Place) -> str:
    monkeypatch.chdir(place.studio.path)
    with pytest.raises(SettingsError) as error:
        main(["sweep", "--dataset", "blobs", *map(str, arguments)], standalone_mode=False)
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "dcgna"], "Did you mean dcgan?"),
        (["--preset", "none.toml"], "--preset none.toml cannot be read"),
        (["--over", "gamma", "--preset", "dcgan"], "With these settings choose from lr"),
        (["--set", "kimg=3"], "--set kimg: the length of a trial is set by --kimg"),
        (["--set", "gamma=3", "--preset", "dcgan"], "weighs a penalty that is not there"),
        (["--device", "cuda:99"], "--device 'cuda:99': "),
        (["--study", "../up"], "--study ../up: use letters"),
        (["--out", "best"], "--out best: end it with .toml"),
        (["--out", "no/such/best.toml"], "there is no folder no/such"),
        (["--out", "tiny.toml", "--preset", "tiny.toml"], "is the --preset to start from"),
        (
            ["--storage", "postgresql+psycopg_none://me:geheim@host/db"],
            "--storage postgresql+psycopg_none://me:***@host/db cannot be opened",
        ),
    ],
)
def test_a_mistyped_command_is_refused_with_a_message(
    place: Place, monkeypatch: pytest.MonkeyPatch, arguments: list[object], message: str
) -> None:
    told = refused(arguments, monkeypatch, place)
    assert message in told
    assert "geheim" not in told


def test_the_storage_may_come_from_the_environment_where_no_process_list_shows_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTBOT_SWEEP_STORAGE", "mysql+mysqldb://me:geheim@host/db")
    told = refused([], monkeypatch, place)
    assert "--storage mysql+mysqldb://me:***@host/db needs the Python module MySQLdb" in told


def test_without_optuna_one_is_told_what_to_install(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert "pip install 'artbot[sweep]'" in refused([], monkeypatch, place)


def test_a_study_is_not_gone_on_with_on_other_terms(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = swept
    told = refused(
        ["--size", 32, "--preset", "tiny.toml", "--kimg", 1, "--set", "flip=true"],
        monkeypatch,
        place,
    )
    assert "study sweep-blobs-32 was begun with other settings: kimg 0.08 -> 1.0." in told


def test_trials_that_all_come_to_nothing_end_with_code_1_and_no_preset(place: Place) -> None:
    """A width of 4 at an absurd step size paints numbers that are none."""
    running = place.start("--trials", 2, *STEPS, "--set", "lr=1e30")
    assert running.code == 1
    assert "none of 2 trials came to pictures worth measuring" in running.err
    assert "Traceback" not in running.err
    assert place.states() == ["PRUNED", "PRUNED"]
    assert list(place.studio.path.glob("sweep*.toml")) == []

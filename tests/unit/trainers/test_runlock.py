"""One process per run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer_fixtures import ENVIRONMENT
from trainers.errors import RunBusy
from trainers.runlock import hold_run

HOLD = (
    "import sys, time; from pathlib import Path; from trainers.runlock import hold_run\n"
    "held = hold_run(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the run in `tmp_path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_who_holds_the_run(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(RunBusy, match=rf"{tmp_path.name} is being trained by process {holder.pid}"):
        hold_run(tmp_path)


def test_a_refused_process_does_not_spoil_the_name_of_the_holder(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    for _ in range(2):
        with pytest.raises(RunBusy, match=f"by process {holder.pid}"):
            hold_run(tmp_path)


def test_a_holder_killed_outright_lets_go(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with hold_run(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_closing_lets_go_and_the_run_can_be_held_again(tmp_path: Path) -> None:
    hold_run(tmp_path).close()
    hold_run(tmp_path).close()


def test_two_runs_do_not_hinder_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with hold_run(tmp_path / "a"), hold_run(tmp_path / "b"):
        pass

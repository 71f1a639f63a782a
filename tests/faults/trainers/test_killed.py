"""A run killed outright: the same bits as one never stopped, whenever it happens."""

from __future__ import annotations

import os
import random
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests.forks import begin_fork
from tests.trainer_fixtures import (
    STEP_KIMG,
    Studio,
    assert_same_bits,
    learned,
    remembered,
    tiny_config,
    wait_until,
)
from trainers.config import TrainConfig
from trainers.manifest import copy_verified_weights, read_manifest

LONG = {"kimg": 40 * STEP_KIMG, "tick_kimg": 5 * STEP_KIMG, "export_kimg": 20 * STEP_KIMG}
"""Forty steps, eight ticks, two checkpoints: about a second."""


def train_to_the_end(path: Path, config: TrainConfig) -> None:
    torch.set_num_threads(1)
    Studio(path).train(config)


def train_until_renaming(path: Path, config: TrainConfig, name: str, times: int) -> None:
    """Train, and die at the moment `name` is renamed into place for the n-th time."""

    def kill(event: str, args: tuple[object, ...]) -> None:
        nonlocal times
        if event == "os.rename" and name in Path(str(args[1])).name:
            times -= 1
            if times == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    train_to_the_end(path, config)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = Studio(tmp_path_factory.mktemp("uninterrupted"))
    studio.add_pictures()
    studio.train(tiny_config(**LONG))
    return studio


def killed(process: BaseProcess) -> bool:
    """End it as the kernel does when memory runs out; False if it was quicker."""
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


def assert_like_the_uninterrupted(studio: Studio, uninterrupted: Studio) -> None:
    assert_same_bits(remembered(studio.state()), remembered(uninterrupted.state()))
    last, expected = studio.checkpoints()[-1], uninterrupted.checkpoints()[-1]
    assert read_manifest(last).sha256 == read_manifest(expected).sha256
    assert [line["kimg"] for line in studio.stats()] == [
        line["kimg"] for line in uninterrupted.stats()
    ]
    for checkpoint in studio.checkpoints():
        copy_verified_weights(checkpoint, read_manifest(checkpoint), None)


def test_a_run_killed_at_any_moment_ends_with_the_same_bits_as_one_never_stopped(
    studio: Studio, uninterrupted: Studio
) -> None:
    """Killed again and again at random moments until it gets through; the seed is printed."""
    seed = random.randrange(2**32)
    print("moments drawn from seed", seed)
    moments = random.Random(seed)
    studio.pictures()
    kills = 0
    for _ in range(6):
        process = begin_fork(train_to_the_end, studio.path, tiny_config(**LONG))
        process.join(timeout=moments.uniform(0.05, 0.7))
        kills += killed(process)
    studio.train(tiny_config(**LONG))
    assert kills >= 1, "otherwise this test proves nothing"
    assert_like_the_uninterrupted(studio, uninterrupted)


@pytest.mark.parametrize(
    ("name", "times"),
    [
        pytest.param("kimg-000000.080.png", 1, id="before a grid"),
        pytest.param("best.pt", 1, id="before the state to go back to"),
        pytest.param("state.pt", 1, id="before the first state"),
        pytest.param("state.pt", 3, id="before a later state"),
        pytest.param("stats.jsonl", 1, id="before the statistics of a resumed run"),
        pytest.param("generator.safetensors", 2, id="within a checkpoint"),
        pytest.param("tiny-000000", 2, id="before a checkpoint appears"),
    ],
)
def test_a_run_killed_at_its_weakest_moments_ends_with_the_same_bits(
    studio: Studio, uninterrupted: Studio, name: str, times: int
) -> None:
    studio.pictures()
    if name == "stats.jsonl":
        studio.train(tiny_config(**LONG), stop_after_steps=7)
        (studio.run() / "stats.jsonl").write_text(
            (studio.run() / "stats.jsonl").read_text() + '{"kimg": 0.06'
        )
    process = begin_fork(train_until_renaming, studio.path, tiny_config(**LONG), name, times)
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL
    studio.train(tiny_config(**LONG))
    if name == "stats.jsonl":  # stopping at step 7 was a tick of its own
        assert studio.stats().pop(1)["kimg"] == 0.056
        assert_same_bits(learned(studio.state()), learned(uninterrupted.state()))
    else:
        assert_like_the_uninterrupted(studio, uninterrupted)


@pytest.mark.parametrize(
    ("name", "times"), [("tiny-000000", 1), ("state.pt", 3)], ids=["before it", "after it"]
)
def test_a_run_killed_around_its_last_checkpoint_ends_with_that_checkpoint_once(
    studio: Studio, name: str, times: int
) -> None:
    studio.pictures()
    process = begin_fork(train_until_renaming, studio.path, tiny_config(), name, times)
    process.join(timeout=300)
    assert process.exitcode == -signal.SIGKILL
    assert studio.state()["images_seen"] == 64, "the state of the tick before"
    assert studio.train(tiny_config()).is_finished
    [checkpoint] = studio.checkpoints()
    assert read_manifest(checkpoint).kimg == 10 * STEP_KIMG


def test_a_killed_command_lets_go_of_its_run_and_resumes_from_the_last_tick(
    studio: Studio,
) -> None:
    """The real command, killed from outside."""
    process = studio.start_cli("--kimg", 1000, "--tick-kimg", 4 * STEP_KIMG)
    wait_until(lambda: (studio.run("blobs-32") / "state.pt").exists())
    process.kill()
    process.communicate()
    seen = studio.state("blobs-32")["images_seen"]
    ran = studio.cli("--kimg", seen / 1000 + STEP_KIMG)
    assert ran.returncode == 0, ran.stderr
    assert f"resuming blobs-32 at {seen / 1000:.1f} kimg" in ran.stderr
    assert studio.state("blobs-32")["images_seen"] == seen + 8


def test_a_second_trainer_on_the_same_run_is_refused_and_told_who_trains(studio: Studio) -> None:
    first = studio.start_cli("--kimg", 1000)
    try:
        wait_until(lambda: (studio.run("blobs-32") / "lock").exists())
        wait_until(lambda: (studio.run("blobs-32") / "lock").read_text() != "")
        second = studio.cli("--kimg", 1000)
        assert second.returncode == 1
        assert f"run blobs-32 is being trained by process {first.pid}." in second.stderr
        assert "Traceback" not in second.stderr
        assert first.poll() is None, "the first goes on"
    finally:
        first.kill()
        first.communicate()

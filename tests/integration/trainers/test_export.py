"""Checkpoints: whole or not there, and never twice."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from tests.trainer_fixtures import ENVIRONMENT, STEP_KIMG, Studio, tiny_config, wait_until
from trainers.errors import StorageError
from trainers.export import export_checkpoint
from trainers.manifest import copy_verified_weights, read_manifest
from trainers.networks import Shape
from trainers.networks.dcgan import Generator


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Generator(Shape(32, 8, 4)).eval()


def export(studio: Studio, seed: int = 0, images_seen: int = 1000, doubt: str = "") -> Path:
    grid = Image.new("RGB", (96, 96), (seed % 256, 0, 0))
    return export_checkpoint(
        network(seed),
        grid,
        tiny_config(),
        studio.pictures(),
        images_seen,
        studio.folders.checkpoints,
        doubt=doubt,
    )


def test_exporting_the_same_weights_again_changes_nothing(studio: Studio) -> None:
    folder = export(studio)
    before = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.iterdir()}
    assert export(studio) == folder
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.iterdir()} == before
    assert studio.checkpoints() == [folder]


def test_a_later_verdict_reaches_the_checkpoint_that_lies_there(studio: Studio) -> None:
    folder = export(studio, doubt="too early to be judged: it is at 1 kimg")
    early = read_manifest(folder)
    assert early.doubt == "too early to be judged: it is at 1 kimg"
    assert export(studio, doubt="") == folder
    assert read_manifest(folder) == early.model_copy(update={"doubt": ""})
    assert sorted(f.name for f in folder.iterdir()) == [
        "generator.safetensors",
        "manifest.json",
        "samples.png",
    ]
    assert studio.checkpoints() == [folder]


def test_other_weights_of_that_name_get_the_next_free_name_and_overwrite_nothing(
    studio: Studio,
) -> None:
    folders = [export(studio, seed) for seed in (0, 1, 2, 1)]
    assert [f.name for f in folders] == [
        "tiny-000001",
        "tiny-000001-2",
        "tiny-000001-3",
        "tiny-000001-2",
    ]
    assert [read_manifest(f).name for f in folders] == [f.name for f in folders]


def test_something_else_of_that_name_is_left_alone(studio: Studio) -> None:
    mine = studio.folders.checkpoints / "tiny-000001"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    assert export(studio).name == "tiny-000001-2"
    assert [f.name for f in mine.iterdir()] == ["notes.txt"]


def test_a_checkpoint_does_not_depend_on_the_memory_layout_of_training(studio: Studio) -> None:
    folder = export(studio)
    again = export_checkpoint(
        network(0).to(memory_format=torch.channels_last),
        Image.new("RGB", (96, 96)),
        tiny_config(),
        studio.pictures(),
        1000,
        studio.folders.checkpoints,
    )
    assert again == folder


def test_what_a_reader_sees_is_whole_at_every_moment(studio: Studio) -> None:
    """It looks again and again while thirty checkpoints appear."""
    seen: set[str] = set()
    broken: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            for folder in studio.checkpoints():
                try:
                    copy_verified_weights(folder, read_manifest(folder), None)
                    Image.open(folder / "samples.png").verify()
                    seen.add(folder.name)
                except Exception as error:  # whatever half a checkpoint leads to
                    broken.append(f"{folder.name}: {error}")

    studio.pictures()
    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(30):
        export(studio, seed, images_seen=1000 * seed)
    wait_until(lambda: len(seen) == 30 or bool(broken))
    done.set()
    reader.join()
    assert broken == []


@pytest.mark.parametrize("moment", range(4))
def test_an_export_killed_at_any_moment_leaves_nothing_that_looks_like_a_checkpoint(
    studio: Studio, moment: int
) -> None:
    """Killed outright when the n-th of its files, and at last its folder, is about to be renamed."""
    studio.pictures()
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.integration.trainers.test_export import export\n"
        "from tests.trainer_fixtures import Studio\n"
        "countdown = int(sys.argv[2])\n"
        "def kill_at_rename(event, args):\n"
        "    global countdown\n"
        "    if event == 'os.rename' and 'checkpoints' in str(args[0]):\n"
        "        if countdown == 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        countdown -= 1\n"
        "sys.addaudithook(kill_at_rename)\n"
        "export(Studio(Path(sys.argv[1])))\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, studio.path, str(moment)], env=ENVIRONMENT
    )
    assert killed.returncode == -9
    assert studio.checkpoints() == []
    folder = export(studio)
    assert folder.name == "tiny-000001"
    copy_verified_weights(folder, read_manifest(folder), None)


def test_a_place_that_cannot_be_written_is_a_storage_error(studio: Studio) -> None:
    studio.folders.checkpoints.write_text("a file")
    with pytest.raises(StorageError, match="could not write the checkpoint"):
        export(studio)


def test_a_checkpoint_comes_at_least_every_export_kimg_and_at_the_end(studio: Studio) -> None:
    studio.train(tiny_config(kimg=10 * STEP_KIMG, tick_kimg=STEP_KIMG, export_kimg=4 * STEP_KIMG))
    assert [read_manifest(c).kimg for c in studio.checkpoints()] == [0.032, 0.064, 0.08]

"""Learning subfolders as classes, and painting by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainer_fixtures import STEP_KIMG, NotingDisplay, Studio, tiny_config, write_pictures
from trainers.errors import DatasetError, ResumeRefused
from trainers.inference import load_generator
from trainers.manifest import read_manifest

STYLES = ("cubism", "realism", "ukiyo-e")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """Twelve pictures in each of three subfolders."""
    made = Studio(tmp_path)
    for number, style in enumerate(STYLES):
        made.add_pictures(f"blobs/{style}", count=12, seed=number)
    return made


def by_class(**chosen: Any) -> Any:
    return tiny_config(classes=True, **({"kimg": 3 * STEP_KIMG} | chosen))


@pytest.mark.parametrize(
    ("arch", "settings"),
    [
        ("dcgan", {}),
        ("dcgan", {"multi_scale": True, "d_norm": "spectral", "loss": "hinge"}),
        ("mlp", {"d_norm": "none"}),
        (
            "resgan",
            {"d_norm": "none", "loss": "relativistic", "penalty": "r1+r2", "gamma": 2.0},
        ),
        ("projected", {"d_norm": "none", "loss": "hinge", "kimg": 2 * STEP_KIMG}),
    ],
    ids=["dcgan", "dcgan, multi-scale", "mlp", "resgan", "projected"],
)
def test_every_architecture_learns_and_paints_by_class(
    studio: Studio, arch: str, settings: dict[str, Any]
) -> None:
    result = studio.train(by_class(arch=arch, **settings))
    assert result.checkpoint is not None
    manifest = read_manifest(result.checkpoint)
    assert manifest.is_conditional
    assert manifest.class_names == manifest.dataset.class_names == STYLES
    generator = load_generator(result.checkpoint)
    pictures = [generator.paint(7, class_name=name) for name in STYLES]
    for index in range(len(STYLES)):
        assert not np.array_equal(pictures[index], pictures[index - 1])
        assert np.array_equal(pictures[index], generator.paint(7, class_name=STYLES[index]))


def test_where_no_class_is_asked_for_the_seed_has_its_own(studio: Studio) -> None:
    result = studio.train(by_class())
    assert result.checkpoint is not None
    generator = load_generator(result.checkpoint)
    for seed in range(4):
        own = generator.paint(seed, class_name=STYLES[seed % 3])
        assert np.array_equal(generator.paint(seed), own)


def test_without_the_option_subfolders_are_one_heap_of_pictures(studio: Studio) -> None:
    result = studio.train(tiny_config(kimg=STEP_KIMG))
    assert result.checkpoint is not None
    manifest = read_manifest(result.checkpoint)
    assert manifest.dataset.class_names == STYLES, "what there was is told all the same"
    assert not manifest.is_conditional
    assert manifest.class_names == ()


def test_in_the_grid_every_row_is_a_class(studio: Studio) -> None:
    """Eight pictures to a row, and after three rows the first class again."""
    result = studio.train(by_class())
    assert result.checkpoint is not None
    generator = load_generator(result.checkpoint)
    with Image.open(result.checkpoint / "samples.png") as opened:
        grid = np.asarray(opened).astype(int)
    for seed in (1, 8, 9, 17, 25):  # the first is seed 1
        row, column = divmod(seed - 1, 8)
        tile = grid[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32]
        painted = generator.paint(seed, class_name=STYLES[row % 3]).astype(int)
        assert abs(tile - painted).max() <= 1


# ---------------------------------------------------------------- folders that will not do


def test_a_flat_folder_has_no_classes(tmp_path: Path) -> None:
    flat = Studio(tmp_path)
    flat.add_pictures()
    with pytest.raises(
        DatasetError,
        match=r"--classes: two subfolders with usable pictures are the least, blobs has none\. "
        r"Put each class into its own subfolder, or leave --classes out\.",
    ):
        flat.train(by_class())
    assert not flat.run().exists()


def test_one_class_alone_is_none(tmp_path: Path) -> None:
    lonely = Studio(tmp_path)
    lonely.add_pictures("blobs/cubism")
    with pytest.raises(DatasetError, match=r"are the least, blobs has cubism\."):
        lonely.train(by_class())


def test_pictures_outside_the_subfolders_have_no_class(studio: Studio) -> None:
    studio.add_pictures("blobs", count=2, seed=9)
    with pytest.raises(
        DatasetError, match=r"--classes: 2 pictures of blobs outside any subfolder\. Move them"
    ):
        studio.train(by_class())


@pytest.mark.parametrize("is_dry", [True, False], ids=["dry run", "run"])
def test_a_folder_that_will_not_do_ends_the_command_with_code_1(
    studio: Studio, is_dry: bool
) -> None:
    """What the run would refuse the dry run refuses."""
    studio.add_pictures("blobs", count=1, seed=9)
    ran = studio.cli("--classes", *(["--dry-run"] if is_dry else []))
    assert ran.returncode == 1
    assert "Error: --classes: 1 picture of blobs outside any subfolder." in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_empty_or_unusable_class_folder_is_told_and_left_out(studio: Studio) -> None:
    (studio.folders.datasets / "blobs" / "dada").mkdir()
    broken = write_pictures(studio.folders.datasets / "blobs" / "fauvism", 1)
    (broken / "000.png").write_bytes(b"no picture")
    ran = studio.cli("--classes", "--kimg", STEP_KIMG)
    assert ran.returncode == 0, ran.stderr
    assert "36 pictures in 3 classes" in ran.stderr
    assert "left out: class dada, which has no usable picture" in ran.stderr
    assert "left out: class fauvism, which has no usable picture" in ran.stderr
    [checkpoint] = studio.checkpoints()
    assert read_manifest(checkpoint).class_names == STYLES


def test_a_run_is_not_resumed_with_other_classes(studio: Studio) -> None:
    studio.train(by_class(), stop_after_steps=1)
    blobs = studio.folders.datasets / "blobs"
    (blobs / "cubism").rename(blobs / "fauvism")
    with pytest.raises(
        ResumeRefused,
        match=r"learned the classes cubism, realism, ukiyo-e; the pictures now have fauvism, "
        r"realism, ukiyo-e\. Put the subfolders back, or start another run with --run NAME",
    ):
        studio.train(by_class())
    studio.add_pictures("blobs/dada", count=12, seed=5)
    with pytest.raises(ResumeRefused, match="now have dada, fauvism, realism, ukiyo-e"):
        studio.train(by_class())


def test_a_run_is_resumed_with_other_pictures_of_the_same_classes(studio: Studio) -> None:
    studio.train(by_class(), stop_after_steps=1)
    studio.add_pictures("blobs/realism", count=20, seed=5)
    display = NotingDisplay()
    assert studio.train(by_class(), display=display).is_finished
    assert any(note.startswith("the pictures changed") for note in display.notes)


def test_a_run_begun_without_classes_does_not_go_on_with_them(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=1)
    with pytest.raises(ResumeRefused, match="classes False -> True"):
        studio.train(by_class())

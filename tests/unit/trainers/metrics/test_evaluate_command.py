"""`artbot evaluate`: what it compares, what it says, what it stores, and what it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, ImageFont

from artbot.studio.registry import list_checkpoints, verify
from tests.conftest import export_tiny
from tests.unit.trainers.metrics.scenes import scenes
from trainers.data.cache import load_pictures
from trainers.data.sources import note_folder
from trainers.data.split import held_out_indices
from trainers.errors import (
    CheckpointRefused,
    DatasetNotFound,
    SettingsError,
    StorageError,
    TrainerError,
)
from trainers.evaluate import (
    CAPTION_PX,
    EVALUATION_SEED,
    HEADING_PX,
    SHOWN_PX,
    _shortened,
    evaluate_command,
)
from trainers.inference import LoadedGenerator, open_checkpoint
from trainers.manifest import MANIFEST_FILE, WEIGHTS_FILE
from trainers.metrics.meter import QualityMeter
from trainers.metrics.nearest import Nearest

NUM_PICTURES = 48


@dataclass
class Gallery:
    """`datasets/scenes` in two classes, and a checkpoint that says it learned from it."""

    root: Path
    checkpoint: Path
    fingerprint: str
    held_out: set[int]
    """With a share of a half."""

    def evaluate(self, *options: str, dataset: str | None = "scenes") -> Result:
        """Painting as little as can be measured, judged by the quicker judge."""
        folders = [
            *("--datasets-dir", str(self.root / "datasets")),
            *("--checkpoints-dir", str(self.root / "checkpoints")),
            *("--cache-dir", str(self.root / "cache")),
            *("--runs-dir", str(self.root / "runs")),
        ]
        named = [] if dataset is None else ["--dataset", dataset]
        return CliRunner().invoke(
            evaluate_command,
            [
                *(self.checkpoint.name, *named, "--num", "16", "--judge", "lite0"),
                *("--device", "cpu", *folders, *options),
            ],
        )

    def stored(self, fingerprint: str | None = None) -> dict[str, Any]:
        name = f"evaluation-lite0-{(fingerprint or self.fingerprint)[:8]}.json"
        stored: dict[str, Any] = json.loads((self.checkpoint / name).read_text())
        return stored

    def say(self, **facts: Any) -> None:
        """Change what the manifest says."""
        path = self.checkpoint / MANIFEST_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures and the cache, shared: looking at them once is enough."""
    root = tmp_path_factory.mktemp("gallery")
    for number, picture in enumerate(scenes(NUM_PICTURES, seed=1, edge_px=32)):
        folder = root / "datasets" / "scenes" / ("meadow" if number % 4 else "village")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number:03}.png")
    return root


@pytest.fixture
def gallery(datasets: Path, tmp_path: Path) -> Gallery:
    pictures = load_pictures(datasets / "datasets" / "scenes", 32, datasets / "cache")
    for name in ("datasets", "cache"):
        (tmp_path / name).symlink_to(datasets / name)
    made = Gallery(
        tmp_path,
        export_tiny(tmp_path / "checkpoints", seed=0, kimg=1),
        pictures.fingerprint,
        set(held_out_indices(pictures.images, 0.5).tolist()),
    )
    dataset = {
        "name": "scenes",
        "fingerprint": pictures.fingerprint,
        "num_pictures": NUM_PICTURES,
        "class_names": ["meadow", "village"],
    }
    made.say(dataset=dataset, holdout=0.5)
    return made


def test_it_says_what_it_found_and_stores_it_beside_the_weights(gallery: Gallery) -> None:
    result = gallery.evaluate()
    assert result.exit_code == 0, result.output
    num_held_out = len(gallery.held_out)
    against = f"against {num_held_out} pictures of scenes that it never saw"
    assert f"16 of its pictures {against}" in result.stdout
    for name in (
        "KID × 10³",
        "coverage",
        "diversity",
        "nearest",
        "FID not measured: it needs 2,048",
    ):
        assert name in result.stdout
    stored = gallery.stored()
    assert stored["scores"]["num_generated"] == 16
    assert stored["scores"]["num_real"] == num_held_out
    assert stored["scores"]["num_training"] == NUM_PICTURES - num_held_out
    assert stored["scores"]["is_held_out"] is True
    assert stored["scores"]["judge"] == "lite0"
    assert stored["fid"]["value"] is None
    assert f"{stored['scores']['kid_x1000']:.1f}" in result.stdout
    assert f"evaluation-lite0-{gallery.fingerprint[:8]}.json" in result.stderr


def test_the_checkpoint_stays_what_it_was_for_the_service(gallery: Gallery) -> None:
    weights = (gallery.checkpoint / WEIGHTS_FILE).read_bytes()
    assert gallery.evaluate().exit_code == 0
    (entry,) = list_checkpoints(gallery.checkpoint.parent)
    assert entry.refusal is None
    assert verify(entry) is None
    assert (gallery.checkpoint / WEIGHTS_FILE).read_bytes() == weights
    assert not [p for p in gallery.checkpoint.iterdir() if p.name.startswith(".")]


def test_the_nearest_training_pictures_are_shown_beside_the_generated_ones(
    gallery: Gallery,
) -> None:
    assert gallery.evaluate().exit_code == 0
    with Image.open(
        gallery.checkpoint / f"evaluation-lite0-{gallery.fingerprint[:8]}.png"
    ) as sheet:
        assert sheet.width > sheet.height * 0.9
    nearest = gallery.stored()["nearest"]
    assert nearest
    distances = [pair["distance"] for pair in nearest]
    assert distances == sorted(distances)
    shown = [pair["picture"] for pair in nearest]
    assert not gallery.held_out & set(shown)
    assert len(set(shown)) == len(shown), "each training picture once"
    datasets = gallery.root / "datasets" / "scenes"
    files = sorted(path.relative_to(datasets).as_posix() for path in datasets.rglob("*.png"))
    assert [files[number] for number in shown] == [pair["file"] for pair in nearest]


def nearest_to(monkeypatch: pytest.MonkeyPatch, indices: list[int]) -> None:
    """Let these be the training pictures nearest to the generated ones, the first the very nearest."""
    distances = torch.arange(len(indices), dtype=torch.float64)
    found = Nearest(torch.tensor(indices), distances)
    monkeypatch.setattr(QualityMeter, "nearest", lambda meter, generated: found)


def test_a_plain_picture_that_is_near_to_all_fills_no_sheet_and_is_told(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearest_to(monkeypatch, [3, 3, 3, 5, 3, 3, 3, 3, 3, 3, 0, 5, 3, 1, 3, 3])
    result = gallery.evaluate()
    stored = gallery.stored()
    assert [pair["seed"] - EVALUATION_SEED for pair in stored["nearest"]] == [0, 3, 10, 13]
    plain = stored["nearest"][0]["file"]
    told = f"12 of 16 generated pictures are nearest to one training picture, {plain}."
    assert told in result.stdout
    assert stored["nearest_to_many"] == {
        "picture": stored["nearest"][0]["picture"],
        "file": plain,
        "num": 12,
        "num_generated": 16,
    }
    with Image.open(next(gallery.checkpoint.glob("evaluation-*.png"))) as sheet:
        captions = np.asarray(sheet.convert("L"))
    for row in range(2):
        top = HEADING_PX + 12 + row * (SHOWN_PX + CAPTION_PX + 12) + SHOWN_PX
        for column in range(4):
            left = 12 + column * SHOWN_PX + column // 2 * 12
            caption = captions[top + 2 : top + CAPTION_PX, left : left + SHOWN_PX]
            assert (caption < 128).sum() > 30, "a seed or a file"


def test_nothing_is_said_where_the_nearest_pictures_are_many(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    nearest_to(monkeypatch, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 9, 9, 9])
    assert "are nearest to one" not in gallery.evaluate().stdout
    assert gallery.stored()["nearest_to_many"] is None
    assert len(gallery.stored()["nearest"]) == 8


def test_a_long_file_name_keeps_its_two_ends() -> None:
    font = ImageFont.load_default(12)
    name = "still-life/" + "very-" * 20 + "long.jpg"
    shown = _shortened(name, font, 180)
    beginning, _, end = shown.partition("…")
    assert name.startswith(beginning)
    assert name.endswith(end)
    assert len(end) > 8
    assert 150 < font.getlength(shown) <= 180
    assert _shortened("a.jpg", font, 180) == "a.jpg"


def test_the_same_question_has_the_same_answer(gallery: Gallery) -> None:
    first = json.loads(gallery.evaluate("--json").stdout)
    second = json.loads(gallery.evaluate("--json").stdout)
    assert first["scores"] == second["scores"] == gallery.stored()["scores"]
    assert first["nearest"] == second["nearest"]


def test_without_held_out_pictures_it_says_that_copying_would_look_perfect(
    gallery: Gallery,
) -> None:
    gallery.say(holdout=0.0)
    result = gallery.evaluate()
    assert f"{NUM_PICTURES} pictures of scenes, all of which it learned from" in result.stdout
    assert "--holdout" in result.stdout
    assert gallery.stored()["scores"]["is_held_out"] is False


def test_too_few_held_out_pictures_are_said_and_all_are_compared_with(gallery: Gallery) -> None:
    """A run that went on without measuring after its folder had shrunk."""
    gallery.say(holdout=0.02)
    result = gallery.evaluate()
    assert result.exit_code == 0, result.output
    assert f"{NUM_PICTURES} pictures of scenes, most of which it learned from" in result.stdout
    assert gallery.stored()["scores"]["is_held_out"] is False


def test_on_other_pictures_nothing_is_said_about_copies(gallery: Gallery) -> None:
    gallery.say(dataset={"name": "gone", "fingerprint": "0" * 64, "num_pictures": 900})
    result = gallery.evaluate()
    assert "which is not what it learned from" in result.stdout
    assert "nearest" not in result.stdout
    assert gallery.stored()["scores"]["nearest_ratio"] is None
    assert not list(gallery.checkpoint.glob("evaluation-*.png"))


def test_a_generator_that_knows_classes_is_asked_for_them_as_often_as_they_occur(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("meadow", "village")
    gallery.checkpoint = export_tiny(
        gallery.root / "checkpoints", seed=0, kimg=2, run="classes", class_names=names
    )
    dataset = {
        "name": "scenes",
        "fingerprint": gallery.fingerprint,
        "num_pictures": NUM_PICTURES,
        "class_names": names,
    }
    gallery.say(dataset=dataset, holdout=0.0)
    asked: list[str] = []
    paint = LoadedGenerator.paint

    def noting(self: LoadedGenerator, seed: int, class_name: str | None = None) -> Any:
        if class_name is not None:
            asked.append(class_name)
        return paint(self, seed, class_name=class_name)

    monkeypatch.setattr(LoadedGenerator, "paint", noting)
    assert gallery.evaluate().exit_code == 0
    assert asked[:16].count("meadow") == 12, "three quarters of the pictures"
    assert asked[:16].count("village") == 4


def test_with_no_data_set_named_it_takes_the_one_learned_from(gallery: Gallery) -> None:
    """By its name where the run noted nothing, and where the run noted its folder, from there."""
    against = f"against {len(gallery.held_out)} pictures of scenes that it never saw"
    assert against in gallery.evaluate(dataset=None).stdout
    elsewhere = gallery.root / "elsewhere" / "scenes"
    shutil.copytree(gallery.root / "datasets" / "scenes", elsewhere)
    (gallery.root / "datasets").unlink()
    note_folder(gallery.root / "runs" / "tiny", elsewhere)
    assert against in gallery.evaluate(dataset=None).stdout


def test_pictures_that_are_not_found_any_more_are_to_be_named(gallery: Gallery) -> None:
    (gallery.root / "datasets").unlink()
    note_folder(gallery.root / "runs" / "tiny", gallery.root / "unplugged")
    result = gallery.evaluate(dataset=None)
    assert isinstance(result.exception, DatasetNotFound)
    assert "the pictures it learned from, 'scenes', are neither" in str(result.exception)
    assert "--dataset NAME|PATH" in str(result.exception)


def test_the_sheet_says_which_side_was_generated(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dark letters over both columns of pictures, and the pictures below them untouched."""
    nearest_to(monkeypatch, list(range(16)))
    assert gallery.evaluate().exit_code == 0
    [path] = gallery.checkpoint.glob("evaluation-*.png")
    with Image.open(path) as sheet:
        heading = np.asarray(sheet.convert("L"))[2 : HEADING_PX + 4]
        first = sheet.crop((12, HEADING_PX + 12, 12 + SHOWN_PX, HEADING_PX + 12 + SHOWN_PX))
    for column in range(4):
        side = heading[:, 12 + column * SHOWN_PX : 12 + (column + 1) * SHOWN_PX]
        assert (side < 128).sum() > 100
    seed = gallery.stored()["nearest"][0]["seed"]
    painted = open_checkpoint(gallery.checkpoint, "cpu").paint(seed)
    assert np.array_equal(np.asarray(first)[3::6, 3::6], painted)


def test_a_checkpoint_can_be_given_by_path(gallery: Gallery) -> None:
    gallery.checkpoint = gallery.checkpoint.rename(gallery.root / "tiny-000001")
    assert gallery.evaluate().exit_code != 0
    result = CliRunner().invoke(
        evaluate_command,
        [
            *(str(gallery.checkpoint), "--dataset", str(gallery.root / "datasets" / "scenes")),
            *("--num", "16", "--judge", "lite0", "--device", "cpu", "--json"),
            *("--cache-dir", str(gallery.root / "cache")),
        ],
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["checkpoint"] == "tiny-000001"


def test_a_result_that_cannot_be_stored_is_printed_all_the_same(gallery: Gallery) -> None:
    (gallery.checkpoint / f"evaluation-lite0-{gallery.fingerprint[:8]}.json").mkdir()
    result = gallery.evaluate()
    assert "KID" in result.stdout
    assert isinstance(result.exception, StorageError)


def test_damaged_weights_are_refused(gallery: Gallery) -> None:
    with open(gallery.checkpoint / WEIGHTS_FILE, "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xff\xff\xff\xff")
    result = gallery.evaluate()
    assert isinstance(result.exception, CheckpointRefused)
    assert gallery.checkpoint.name in str(result.exception)


@pytest.mark.parametrize(
    ("options", "dataset", "expected"),
    [
        (["--judge", "lite9"], "scenes", 2),
        (["--num", "3"], "scenes", 2),
        (["--device", "abacus"], "scenes", 2),
        ([], "no-such-pictures", 2),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    gallery: Gallery, options: list[str], dataset: str, expected: int
) -> None:
    result = gallery.evaluate(*options, dataset=dataset)
    error = result.exception
    code = error.exit_code if isinstance(error, TrainerError) else result.exit_code
    assert code == expected


def test_an_unknown_checkpoint_is_answered_with_those_there_are(gallery: Gallery) -> None:
    gallery.checkpoint = gallery.root / "tiny-000002"
    result = gallery.evaluate()
    assert isinstance(result.exception, SettingsError)
    assert "tiny-000001" in str(result.exception)


def test_its_help_needs_no_torch() -> None:
    script = "import sys, trainers.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0

"""The TensorBoard writer, read back by TensorBoard's own reader."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainers.errors import SettingsError
from trainers.seeing.tensorboard import open_tensorboard


def read(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()


def points(run: Path, name: str) -> list[tuple[int, float]]:
    return [(point.step, round(point.value, 4)) for point in read(run).Scalars(name)]


def test_curves_are_drawn_over_the_pictures_seen(tmp_path: Path) -> None:
    board = open_tensorboard(tmp_path)
    board.scalars({"kimg": 4.0, "g_loss": 1.5, "coverage": 0.25}, 4.0)
    board.scalars({"kimg": 8.016, "g_loss": 1.25}, 8.016)
    board.close()
    assert sorted(read(tmp_path).Tags()["scalars"]) == ["coverage", "g_loss"]
    assert points(tmp_path, "g_loss") == [(4000, 1.5), (8016, 1.25)]
    assert points(tmp_path, "coverage") == [(4000, 0.25)]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    board = open_tensorboard(tmp_path)
    board.scalars({"g_loss": math.nan, "d_loss": math.inf, "penalty": 0.5}, 4.0)
    board.close()
    assert read(tmp_path).Tags()["scalars"] == ["penalty"]


def test_a_resumed_run_goes_on_and_later_points_are_gone(tmp_path: Path) -> None:
    board = open_tensorboard(tmp_path)
    for kimg in (4.0, 8.0, 12.0):
        board.scalars({"g_loss": kimg}, kimg)
    board.close()
    board = open_tensorboard(tmp_path)  # the state of 12 kimg was never saved
    board.scalars({"g_loss": 100.0}, 10.0)
    board.close()
    assert points(tmp_path, "g_loss") == [(4000, 4.0), (8000, 8.0), (10000, 100.0)]


def test_a_run_that_is_rolled_back_goes_on_from_there(tmp_path: Path) -> None:
    board = open_tensorboard(tmp_path)
    for kimg in (4.0, 8.0, 12.0, 8.0, 12.0):
        board.scalars({"g_loss": kimg}, kimg)
    board.close()
    assert points(tmp_path, "g_loss") == [(4000, 4.0), (8000, 8.0), (12000, 12.0)]


def test_grids_are_kept_ever_more_rarely_and_small(tmp_path: Path) -> None:
    board = open_tensorboard(tmp_path)
    for number in range(1, 101):
        board.image(Image.new("RGB", (1024, 1024)), 4.0 * number)
    board.close()
    kept = read(tmp_path).Images("grid")
    assert [image.step for image in kept[:3]] == [4000, 8000, 12000]
    assert 15 < len(kept) < 40
    assert {(image.width, image.height) for image in kept} == {(512, 512)}


def test_without_the_package_the_remedy_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingsError, match=r"pip install 'artbot\[tensorboard\]'"):
        open_tensorboard(tmp_path)

"""The demo source: what the first training run may rely on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainers.data.sources.demo import SOURCE, paint, paint_still_lifes


def pixels(seed: int, size_px: int = 64) -> np.ndarray:
    return np.asarray(paint(seed, size_px), dtype=np.float64)


def test_the_same_seed_paints_the_same_pixels() -> None:
    assert paint(7).tobytes() == paint(7).tobytes()


def test_painting_neither_uses_nor_disturbs_the_global_random_state() -> None:
    np.random.seed(1)
    expected = np.random.random()
    np.random.seed(1)
    before = paint(3, 32).tobytes()
    assert np.random.random() == expected
    assert paint(3, 32).tobytes() == before


def test_different_seeds_paint_different_pictures() -> None:
    assert len({paint(seed, 32).tobytes() for seed in range(30)}) == 30


@pytest.mark.parametrize("size_px", [32, 64, 128, 256])
def test_a_picture_is_rgb_and_as_large_as_asked(size_px: int) -> None:
    picture = paint(0, size_px)
    assert (picture.mode, picture.size) == ("RGB", (size_px, size_px))


def test_the_set_is_rich_in_colour() -> None:
    """Mean distance of two pictures in grey levels: in a dull set a collapse would look normal."""
    pictures = np.stack([pixels(seed, 32) for seed in range(40)])
    pairs = np.abs(pictures[:, None] - pictures[None]).mean(axis=(2, 3, 4))
    assert pairs[~np.eye(40, dtype=bool)].mean() > 40


def test_every_picture_has_strong_colour_and_both_light_and_shadow() -> None:
    for seed in range(40):
        picture = pixels(seed)
        assert (picture.max(-1) - picture.min(-1)).max() > 80, f"seed {seed} is grey"
        assert np.ptp(picture.mean(-1)) > 150, f"seed {seed} is flat"


def test_the_flowers_are_above_and_the_vase_stands_in_the_lower_middle() -> None:
    """One composition: away from the middle the lower half is quiet, the bouquet is lively."""
    detail = np.mean([np.abs(np.diff(pixels(s).mean(-1), axis=1)) for s in range(30)], axis=0)
    bouquet, corner = detail[12:34, 18:46].mean(), detail[52:62, 2:14].mean()
    assert bouquet > 2.5 * corner


def test_pictures_are_numbered_jpegs_and_nothing_else_is_written(tmp_path: Path) -> None:
    paint_still_lifes(tmp_path, count=3, size_px=32)
    names = [f"still-life-{index:04d}.jpg" for index in range(3)]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (32, 32))


def test_an_interrupted_call_is_continued_and_keeps_what_is_whole(tmp_path: Path) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        paint_still_lifes(tmp_path, count=5, size_px=32, on_painted=interrupt)
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(kept) == 2

    paint_still_lifes(tmp_path, count=5, size_px=32)
    assert len(list(tmp_path.iterdir())) == 5
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_what_a_killed_call_left_half_written_is_swept_away(tmp_path: Path) -> None:
    half = tmp_path / ".still-life-0001.jpg.0123abcd.tmp"
    half.write_bytes(b"\xff\xd8 half a picture")
    paint_still_lifes(tmp_path, count=2, size_px=32)
    assert not half.exists()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"mine")
    paint_still_lifes(tmp_path, count=1, size_px=32)
    assert (tmp_path / "mine.jpg").read_bytes() == b"mine"


def test_progress_counts_every_picture_also_those_already_there(tmp_path: Path) -> None:
    paint_still_lifes(tmp_path, count=2, size_px=32)
    seen: list[tuple[int, int]] = []
    paint_still_lifes(tmp_path, count=3, size_px=32, on_painted=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_source_is_named_and_free_of_licence_questions() -> None:
    assert (SOURCE.name, SOURCE.licence) == ("demo", "CC0-1.0")

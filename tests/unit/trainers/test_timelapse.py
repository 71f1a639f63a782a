"""The film of a run's grid: which grids it shows, for how long, and what it leaves out."""

from __future__ import annotations

import json
import shutil
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from trainers.errors import SettingsError, TrainerError
from trainers.seeing.timelapse import (
    HOLD_S,
    Pacing,
    choose,
    find_run,
    fit,
    list_grids,
    make_timelapse,
)

EDGE_PX = 64


def paint_grid(run: Path, kimg: float, shade: int, edge_px: int = EDGE_PX) -> Path:
    """A flat grey grid, as the loop names it."""
    path = run / "samples" / f"kimg-{kimg:010.3f}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (edge_px, edge_px), (shade, shade, shade)).save(path)
    return path


def write_stats(run: Path, *kimgs: float) -> None:
    (run / "stats.jsonl").write_text("".join(json.dumps({"kimg": k}) + "\n" for k in kimgs))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Forty grids, each a step brighter than the one before: 40, 44, … 196."""
    folder = tmp_path / "runs" / "flowers-64"
    for number in range(40):
        paint_grid(folder, 4.0 * (number + 1), 40 + 4 * number)
    return folder


small_film = partial(make_timelapse, edge_px=EDGE_PX)


def shades(path: Path) -> list[int]:
    """The grey of every frame, at its centre."""
    with av.open(path) as film:
        return [
            int(frame.to_ndarray(format="rgb24")[20, 20].mean()) for frame in film.decode(video=0)
        ]


# ---------------------------------------------------------------- which grids


@pytest.mark.parametrize("pacing", Pacing)
@pytest.mark.parametrize("num_grids", [1, 2, 15, 243, 5000])
def test_a_film_goes_from_the_first_grid_to_the_last_and_never_back(
    pacing: Pacing, num_grids: int
) -> None:
    kimgs = [4.096 * (number + 1) for number in range(num_grids)]
    chosen = choose(kimgs, 540, pacing)
    assert len(chosen) == 540
    assert chosen == sorted(chosen)
    assert chosen[-1] == num_grids - 1
    assert chosen[0] == 0


def test_evenly_paced_half_the_film_is_half_the_training() -> None:
    kimgs = [float(number) for number in range(1001)]
    assert choose(kimgs, 501, Pacing.EVEN)[250] == 500


def test_early_pacing_gives_the_beginning_most_of_the_film() -> None:
    kimgs = [float(number) for number in range(1001)]
    chosen = choose(kimgs, 501, Pacing.EARLY)
    first_tenth = sum(index <= 100 for index in chosen) / len(chosen)
    assert 0.3 < first_tenth < 0.45, "a tenth of training, over a third of the film"
    steps = [later - earlier for earlier, later in pairwise(chosen)]
    assert max(steps[:50]) <= 1, "every early grid is shown"


def test_with_few_grids_the_first_does_not_stand_still() -> None:
    chosen = choose([4.0 * (number + 1) for number in range(15)], 180, Pacing.EARLY)
    assert chosen.count(0) < 2.5 * 180 / 15


def test_grids_are_placed_by_kimg_and_not_by_number() -> None:
    """A run that was paused has ticks at odd places."""
    kimgs = [0.0, 1.0, 2.0, 3.0, 100.0]
    chosen = choose(kimgs, 101, Pacing.EVEN)
    assert chosen[2] == 2
    assert chosen[50] == 3, "at 50 kimg the last painted is that of 3"


def test_grids_are_listed_by_kimg_and_strange_files_ignored(run: Path) -> None:
    paint_grid(run, 1_000_000.5, 0)
    (run / "samples" / "kimg-notes.png").write_text("mine")
    (run / "samples" / "kimg-000004.000.png.part").write_text("")
    listed = list_grids(run)
    assert [grid.kimg for grid in listed[:2]] == [4.0, 8.0]
    assert listed[-1].kimg == 1_000_000.5
    assert len(listed) == 41


# ---------------------------------------------------------------- the film


def test_a_film_lasts_as_asked_and_holds_the_last_grid(run: Path, tmp_path: Path) -> None:
    facts = small_film(run, tmp_path / "film.mp4", seconds=10, fps=10)
    assert facts.seconds == 10
    seen = shades(tmp_path / "film.mp4")
    assert len(seen) == 100
    assert abs(seen[0] - 40) <= 3
    assert abs(np.array(seen[-round(HOLD_S * 10) :]) - 196).max() <= 3
    assert all(later >= earlier - 2 for earlier, later in pairwise(seen)), "each brighter"
    assert len(set(seen)) > 30, "and nearly every grid is shown"


def test_few_grids_make_a_shorter_film(tmp_path: Path) -> None:
    run = tmp_path / "short"
    for number in range(5):
        paint_grid(run, number + 1.0, 50 * number)
    facts = small_film(run, tmp_path / "film.mp4", seconds=20, fps=10)
    assert facts.seconds == pytest.approx(5 * 0.4 + HOLD_S)


def test_one_grid_is_a_film_too(tmp_path: Path) -> None:
    paint_grid(tmp_path / "run", 4.0, 100)
    for suffix in (".mp4", ".gif", ".webp"):
        facts = small_film(tmp_path / "run", tmp_path / f"film{suffix}")
        assert facts.num_frames > 0


def test_the_caption_stands_below_and_covers_nothing(run: Path, tmp_path: Path) -> None:
    with_caption = make_timelapse(run, tmp_path / "a.webp", seconds=1)
    without = make_timelapse(run, tmp_path / "b.webp", seconds=1, has_caption=False)
    width, height = without.size_px
    assert (width, height) == (256, 256), "64 px, enlarged four times"
    assert with_caption.size_px[0] == width
    assert 16 <= with_caption.size_px[1] - height <= 24
    with Image.open(tmp_path / "a.webp") as film:
        film.seek(film.n_frames - 1)
        frame = np.asarray(film.convert("RGB")).astype(int)
    assert abs(frame[:height] - 196).max() <= 8, "the grid is untouched"
    strip = frame[height:]
    assert strip.min() < 40, "dark"
    assert strip[:, : width // 2].max() > 110, "the run's name on the left"
    assert strip[:, width // 2 :].max() > 110, "kimg on the right"


def test_a_long_run_name_does_not_run_into_the_number(run: Path, tmp_path: Path) -> None:
    long = run.rename(run.with_name("m" * 100))
    make_timelapse(long, tmp_path / "film.webp", seconds=1)
    with Image.open(tmp_path / "film.webp") as film:
        strip = np.asarray(film.convert("L"))[256:].astype(int)
    is_text = (strip > 60).any(axis=0)
    gaps = [len(gap) for gap in "".join("x" if lit else " " for lit in is_text).split("x")]
    assert max(gaps) >= 8


def test_size_is_the_films_width(run: Path, tmp_path: Path) -> None:
    facts = make_timelapse(run, tmp_path / "film.mp4", seconds=1, edge_px=200, has_caption=False)
    assert facts.size_px == (200, 200)


def test_pixels_enlarged_whole_times_stay_squares() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    shown = np.asarray(fit(picture, 24))
    assert (shown == pixels.repeat(3, axis=0).repeat(3, axis=1)).all()
    assert fit(picture, 20).size == (20, 20)


# ---------------------------------------------------------------- what is left out


def test_damaged_grids_are_left_out_and_said(run: Path, tmp_path: Path) -> None:
    grids = [grid.path for grid in list_grids(run)]
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (EDGE_PX, EDGE_PX, 3), dtype=np.uint8))
    for damaged in (grids[0], grids[20]):
        noise.save(damaged)
        damaged.write_bytes(damaged.read_bytes()[:6000])  # a header, and half of its pixels
    grids[30].write_bytes(b"")
    notes: list[str] = []
    small_film(run, tmp_path / "film.mp4", seconds=10, fps=10, on_note=notes.append)
    assert any("1 grid(s), damaged: kimg-000124.000.png" in note for note in notes)
    assert any("2 grid(s), damaged: kimg-000004.000.png" in note for note in notes)
    seen = shades(tmp_path / "film.mp4")
    assert abs(seen[0] - 44) <= 3, "begins with the first that is whole"
    assert all(later >= earlier - 2 for earlier, later in pairwise(seen)), "no half picture"


def test_grids_of_another_size_are_left_out_and_said(run: Path, tmp_path: Path) -> None:
    paint_grid(run, 4.0, 255, edge_px=32)
    notes: list[str] = []
    small_film(run, tmp_path / "film.mp4", seconds=4, fps=10, on_note=notes.append)
    assert notes == ["left out 1 grid(s), not 64x64 px like the last: kimg-000004.000.png"]
    assert abs(shades(tmp_path / "film.mp4")[0] - 44) <= 3


def test_grids_from_before_a_roll_back_are_left_out_and_said(run: Path, tmp_path: Path) -> None:
    """The run went to 100 kimg, back to 80, and on to 160 with a tick of another length."""
    for number in range(25, 40):
        (run / "samples" / f"kimg-{4.0 * (number + 1):010.3f}.png").unlink()
    first = [4.0 * (number + 1) for number in range(25)]
    second = [80.0 + 5 * (number + 1) for number in range(16)]
    for kimg in second:
        paint_grid(run, kimg, 250)
    # As the loop leaves it: the lines after 80 are forgotten, but for the tick that was ill.
    write_stats(run, *[kimg for kimg in first if kimg <= 80], 100.0, *second)
    notes: list[str] = []
    small_film(run, tmp_path / "f.mp4", seconds=8, fps=15, pacing=Pacing.EVEN, on_note=notes.append)
    # 84, 88, 92 and 96; that of 100 was painted over.
    assert notes == ["left out 4 grid(s) that the run went back behind"]
    seen = shades(tmp_path / "f.mp4")
    assert all(later >= earlier - 2 for earlier, later in pairwise(seen))
    assert not [shade for shade in seen if 125 < shade < 240], "what was gone back on is not shown"


def test_statistics_that_tell_nothing_leave_all_grids(run: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    (run / "stats.jsonl").write_text('{"kimg": 1\nnull\n[]\n')
    small_film(run, tmp_path / "film.mp4", seconds=4, fps=10, on_note=notes.append)
    assert notes == []


def test_no_grid_that_can_be_read_is_an_error_that_keeps_the_old_film(
    run: Path, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"old")
    noise = np.random.default_rng(0).integers(0, 256, (EDGE_PX, EDGE_PX, 3), dtype=np.uint8)
    for grid in list_grids(run):
        Image.fromarray(noise).save(grid.path)
        grid.path.write_bytes(grid.path.read_bytes()[:6000])
    with pytest.raises(TrainerError, match="all are damaged"):
        small_film(run, film)
    assert film.read_bytes() == b"old"
    shutil.rmtree(run / "samples")
    (run / "samples").mkdir()
    with pytest.raises(TrainerError, match="holds no grid to show; the first comes with a tick"):
        small_film(run, film)


# ---------------------------------------------------------------- which run


def test_a_run_is_found_by_its_name_or_its_folder(run: Path) -> None:
    assert find_run("flowers-64", run.parent) == run
    assert find_run(str(run), Path("nowhere")) == run


def test_an_unknown_run_gets_the_nearest_name(run: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean flowers-64"):
        find_run("flower-64", run.parent)
    with pytest.raises(SettingsError, match="Known here: flowers-64"):
        find_run("xyz", run.parent)
    with pytest.raises(SettingsError, match="There are no runs there"):
        find_run("xyz", tmp_path / "empty")
    with pytest.raises(SettingsError):
        find_run("", run.parent)


def test_a_run_without_a_tick_is_told_apart_from_none(run: Path) -> None:
    (run.parent / "young").mkdir()
    with pytest.raises(TrainerError, match="run young has painted no grid yet"):
        find_run("young", run.parent)

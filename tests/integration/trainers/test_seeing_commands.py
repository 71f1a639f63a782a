"""`timelapse`, `walk` and the run's page, as a person meets them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from tests.contract.browser import CHROMIUM, browsing
from tests.trainer_fixtures import ENVIRONMENT, Studio, run_on_small_disk
from trainers.errors import CheckpointRefused, OutOfMemory, SettingsError, TrainerError
from trainers.loop import TrainResult
from trainers.manifest import read_manifest
from trainers.seeing.cli import timelapse_command, walk_command
from trainers.seeing.page import PageFacts, write_page

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; tests/install-browser.sh brings one"
)


def trainers(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    ran = Studio(folder).trainers(*arguments)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


def num_frames(film: Path) -> int:
    with av.open(film) as opened:
        return len(list(opened.decode(video=0)))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a run of thirty grids."""
    samples = tmp_path / "runs" / "blobs-32" / "samples"
    samples.mkdir(parents=True)
    for number in range(30):
        grid = Image.new("RGB", (64, 64), (8 * number, 100, 50))
        grid.save(samples / f"kimg-{4.0 * (number + 1):010.3f}.png")
    return tmp_path


@pytest.fixture
def checkpoint(place: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One in the place's checkpoints/; the place is where commands run."""
    monkeypatch.chdir(place)
    return Path(shutil.copytree(tiny_checkpoint, place / "checkpoints" / tiny_checkpoint.name))


# ---------------------------------------------------------------- timelapse


def test_a_timelapse_is_one_command(place: Path) -> None:
    ran = trainers(place, "timelapse", "blobs-32", "--seconds", 2, "--fps", 10, "--size", 64)
    assert ran.returncode == 0
    assert num_frames(place / "blobs-32-timelapse.mp4") == 20
    said = ran.stderr.splitlines()
    assert said[-2] == "making the film 20/20"
    assert re.fullmatch(
        r"film: blobs-32-timelapse\.mp4 \(2\.0 s, 20 frames, 64x80 px, 0\.\d MB\)", said[-1]
    )
    assert ran.stdout == ""


def test_a_timelapse_of_a_real_run_shows_its_grids(trained: tuple[Studio, TrainResult]) -> None:
    studio, _ = trained
    film = studio.path / "film.webp"
    arguments = ["tiny", "--runs-dir", str(studio.folders.runs), "--out", str(film)]
    timelapse_command.main(arguments, standalone_mode=False)
    with Image.open(film) as opened:
        assert opened.n_frames > 1
        assert opened.size[0] == 256


def test_a_film_of_the_same_name_is_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "film.gif").write_bytes(b"old")
    timelapse_command.main(
        ["blobs-32", "--out", "film.gif", "--seconds", "1"], standalone_mode=False
    )
    with Image.open(place / "film.gif") as film:
        assert film.n_frames > 5


def test_a_mistyped_run_ends_with_code_2_and_the_nearest_name(place: Path) -> None:
    ran = trainers(place, "timelapse", "blob-32")
    assert ran.returncode == 2
    assert ran.stderr.strip() == (
        "Error: there is no run 'blob-32' in runs. Did you mean blobs-32?"
    )


def test_a_full_disk_keeps_the_old_film(place: Path) -> None:
    script = (
        f"cd '{place}' && echo old > disk/film.mp4 && "
        f"'{sys.executable}' -m trainers timelapse blobs-32 --out disk/film.mp4 --seconds 2"
    )
    ran = run_on_small_disk(script, place / "disk", 8192, place / "kept")
    assert ran.returncode == 1
    assert (
        "could not write disk/film.mp4: the disk is full (No space left on device)." in ran.stderr
    )
    assert [f.name for f in (place / "kept").iterdir()] == ["film.mp4"]
    assert (place / "kept" / "film.mp4").read_text() == "old\n"


def test_seeing_a_run_needs_no_torch() -> None:
    """A page is written by training, which has it; a film of grids is made in half a second."""
    code = (
        "import sys, trainers.seeing.cli, trainers.seeing.timelapse, trainers.seeing.page, "
        "trainers.seeing.tensorboard; sys.exit('torch' in sys.modules or 'av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT).returncode == 0


# ---------------------------------------------------------------- walk


def test_a_walk_is_one_command(place: Path, checkpoint: Path) -> None:
    name = checkpoint.name
    ran = trainers(place, "walk", name, "--seconds", 1, "--fps", 12, "--size", 64, "--grid", "2x1")
    assert ran.returncode == 0, ran.stderr
    assert num_frames(place / f"{name}-walk.mp4") == 12
    with av.open(place / f"{name}-walk.mp4") as film:
        assert "; seeds 1,2,3,4,5,6,7,8; " in film.metadata["comment"]
        assert (film.streams.video[0].width, film.streams.video[0].height) == (64, 32)
    said = ran.stderr.splitlines()
    assert said[-2] == "painting 12/12"
    assert said[-1].startswith(f"film: {name}-walk.mp4 (1.0 s, 12 frames, 64x32 px")


def test_a_walk_through_a_run_goes_through_its_latest_checkpoint(
    place: Path, checkpoint: Path
) -> None:
    run = read_manifest(checkpoint).run
    ran = trainers(place, "walk", run, "--num", 2, "--seconds", 0.5, "--fps", 8, "--size", 64)
    assert ran.returncode == 0, ran.stderr
    assert f"walking through {checkpoint.name}" in ran.stderr.splitlines()
    assert (place / f"{checkpoint.name}-walk.mp4").exists()


def test_a_walk_passes_the_seeds_it_is_given(place: Path, checkpoint: Path) -> None:
    walk_command.main(
        [str(checkpoint), "--seeds", "9, 4,7", "--seconds", "0.5", "--out", "walk.webp"],
        standalone_mode=False,
    )
    with Image.open(place / "walk.webp") as film:
        assert film.info["loop"] == 0
        assert "seeds 9,4,7" in film.getexif()[0x010E]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seeds", "3"], "at least two"),
        (["--seeds", "1,2", "--num", "4"], "the same thing"),
        (["--out", "walk.avi"], "walk.avi: a film is made as"),
        (["--device", "cuda:99"], "--device 'cuda:99': "),
        (["--class", "cubism"], "knows no such class"),
    ],
)
def test_a_walk_that_cannot_be_is_refused(
    place: Path, checkpoint: Path, options: list[str], words: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        walk_command.main([checkpoint.name, *options], standalone_mode=False)
    assert not list(place.glob("*walk*"))


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA out of memory. Tried to allocate"), MemoryError()]
)
def test_memory_that_runs_out_is_told_with_the_remedy(
    place: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("trainers.seeing.walk.Walk.paint", no_room)
    with pytest.raises(OutOfMemory, match=r"out of memory \((CUDA|MemoryError).*Try --device cpu"):
        walk_command.main([checkpoint.name], standalone_mode=False)
    monkeypatch.setattr("trainers.seeing.timelapse._decode", no_room)
    with pytest.raises(OutOfMemory, match=r"Try a smaller --size, fewer --seconds or an MP4"):
        timelapse_command.main(["blobs-32"], standalone_mode=False)
    assert not list(place.glob("*.mp4"))


@pytest.mark.parametrize(
    ("command", "name"), [(walk_command, None), (timelapse_command, "blobs-32")]
)
def test_a_film_too_long_for_memory_is_refused_before_it_is_painted(
    place: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, command: Any, name: str | None
) -> None:
    monkeypatch.setattr("trainers.seeing.film.MAX_HELD_BYTES", 10_000_000)
    options = ["--out", "long.webp", "--size", "512", "--seconds", "4"]
    with pytest.raises(SettingsError, match=r"--out long\.webp: 80 frames of 512x512 px take"):
        command.main([name or checkpoint.name, *options], standalone_mode=False)


def test_damaged_weights_are_not_walked_through(checkpoint: Path) -> None:
    weights = bytearray((checkpoint / "generator.safetensors").read_bytes())
    weights[-1] ^= 1
    (checkpoint / "generator.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointRefused, match=rf"{checkpoint.name}: .*sha256 is"):
        walk_command.main([checkpoint.name], standalone_mode=False)


def test_a_folder_that_is_no_checkpoint_is_refused_by_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(TrainerError, match=r"runs: manifest\.json is missing"):
        walk_command.main(["runs"], standalone_mode=False)


# ---------------------------------------------------------------- the page


def test_training_leaves_a_page_with_all_its_ticks(trained: tuple[Studio, TrainResult]) -> None:
    studio, _ = trained
    script = (studio.run() / "data.js").read_text()
    assert (studio.run() / "stats.jsonl").read_text() in script
    assert (studio.run() / "index.html").stat().st_size > 10_000


@needs_browser
def test_the_page_opens_from_the_disk_in_a_browser(place: Path) -> None:
    run = place / "runs" / "blobs-32"
    stats = [
        {"kimg": 4.0 * number, "elapsed_s": 60.0 * number, "g_loss": 0.1 * number, "d_loss": 0.5}
        for number in range(1, 31)
    ]
    stats[9]["kid_x1000"] = 123.4
    lines = "".join(json.dumps(line) + "\n" for line in stats)
    (run / "stats.jsonl").write_text(lines + '{"kimg": 124, "g_lo')
    event = {"kimg": 60.0, "health": "warning", "words": "The discriminator <wins>."}
    (run / "guard.jsonl").write_text(json.dumps(event) + "\n")
    run = run.rename(run.with_name("blobs & <more>"))
    write_page(run, PageFacts(loss="bce"))
    ran = subprocess.run(
        [
            *(str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *("--virtual-time-budget=4000", f"--user-data-dir={place / 'browser'}"),
            (run / "index.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    page = ran.stdout
    assert "<title>blobs &amp; &lt;more&gt; · 120 kimg</title>" in page
    assert "120 kimg · 30 min 0 s of training · 30 grids" in page
    assert 'src="samples/kimg-000120.000.png"' in page
    assert "The discriminator &lt;wins&gt;." in page
    assert re.search(r'aria-label="Losses from 0.00 kimg to 120 kimg\. Last: generator 3', page)
    assert re.search(r'aria-label="KID × 10³ from .*? Last: KID 123\."', page)
    assert page.count('class="usual"') == 2, "of both losses"
    assert "usual for a plain DCGAN: discriminator 0.50 to 0.80" in page
    shown = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert re.search(r"<h2>Coverage<.*?not measured yet</span></div></figure>", shown)
    assert "Precision" not in shown, "of the further numbers only those there are"


@needs_browser
def test_the_page_shows_what_there_is_and_its_slider_is_where_its_curves_are(place: Path) -> None:
    """Before the first grid, with one, and with thirty; a grid of two classes."""
    run = place / "runs" / "blobs-32"
    index = (run / "index.html").as_uri()
    about = PageFacts(rows=(("iris",), ("rose",)), first_grid="4 kimg or 2m00s, whichever is first")

    def write(num: int) -> None:
        lines = [
            {"kimg": 4.0 * n, "g_loss": 1.0, "pixel_diversity": 0.8} for n in range(1, num + 1)
        ]
        for last in lines[-1:]:
            last["feature_diversity_ratio"] = 0.6
        (run / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        words = "Name a larger --kimg 40."
        event = {"kimg": 4.0, "health": "warning", "words": words}
        (run / "guard.jsonl").write_text(json.dumps(event) + "\n" if lines else "")
        write_page(run, about)
        page.open(index)
        page.evaluate(
            "new Promise(done => { const look = () => !ticks.length || !$('grid').hidden"
            " ? done() : setTimeout(look, 20); look(); })"
        )

    def text(of: str) -> str:
        return str(page.evaluate(f"$('{of}').innerText"))

    def is_seen(of: str) -> bool:
        return bool(page.evaluate(f"$('{of}').offsetHeight > 0"))

    controls = ("track", "play", "keys")
    with browsing(place / "browser") as page:
        page.look(1200, 900, "light")
        write(0)
        assert text("empty") == (
            "Nothing has been painted yet. The first grid comes after 4 kimg or 2m00s, "
            "whichever is first."
        )
        assert not any(is_seen(name) for name in (*controls, "scrub", "rows"))
        assert "1 kimg: a thousand training pictures" in page.evaluate("document.body.innerText")

        write(1)
        assert text("place") == "4.0 kimg"
        assert not any(is_seen(name) for name in controls)
        assert text("rows").split() == ["iris", "rose"]
        assert page.evaluate("[extent().low, extent().high]") == [0, 4]
        legend = page.evaluate("[...document.querySelectorAll('.legend')].map(e => e.innerText)")
        assert [" ".join(part.split()) for part in legend[1].splitlines()] == [
            "in pixels 0.80",
            "to the judge 0.60",
        ]
        assert page.evaluate("document.querySelector('.option').innerText") == "--kimg 40"

        write(30)
        assert all(is_seen(name) for name in controls)
        page.evaluate("$('slider').value = 41; $('slider').dispatchEvent(new Event('input'))")
        assert (text("place"), page.evaluate("$('slider').value")) == ("40.0 kimg", "40")
        knob = page.evaluate("$('slider').value / $('slider').max")
        marker = page.evaluate(
            "(drawn[0].now.getAttribute('x1') - LEFT) / (drawn[0].svg.clientWidth - LEFT - RIGHT)"
        )
        assert knob == pytest.approx(1 / 3)
        assert marker == pytest.approx(knob)
        assert not page.complaints()

"""`python -m trainers train`, as a person types it: real processes, tiny networks."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer_fixtures import ENVIRONMENT, STEP_KIMG, Studio, wait_until, write_pictures
from trainers.data.sources import learned_from
from trainers.data.split import held_out_indices
from trainers.inference import load_generator
from trainers.manifest import read_manifest

TEN_STEPS = ("--kimg", 10 * STEP_KIMG, "--tick-kimg", 4 * STEP_KIMG)
FOR_EVER = ("--kimg", 1000, "--tick-kimg", 4 * STEP_KIMG)


def said(ran: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran.stderr


# ---------------------------------------------------------------- a run from beginning to end


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Studio, subprocess.CompletedProcess[str]]:
    """Ten steps with a tick every fourth and a checkpoint at every tick."""
    studio = Studio(tmp_path_factory.mktemp("finished"))
    studio.add_pictures(count=20)
    (studio.folders.datasets / "blobs" / "text.jpg").write_text("no picture")
    ran = studio.cli(*TEN_STEPS, "--export-kimg", 0.001)
    assert ran.returncode == 0, ran.stderr
    return studio, ran


Finished = tuple[Studio, subprocess.CompletedProcess[str]]


def test_a_run_tells_what_it_does_line_by_line(finished: Finished) -> None:
    _, ran = finished
    lines = said(ran).splitlines()
    assert "20 pictures from datasets/blobs" in lines
    assert (
        "  learning from all of them; none is held out to measure with: they are fewer than 200 (--holdout)"
        in lines
    )
    assert "  left out: text.jpg is not a picture, or of a kind that is not read" in lines
    assert "training blobs-32 on cpu: to 0.08 kimg" in lines
    ticks = [line for line in lines if line.startswith("kimg ")]
    assert len(ticks) == 3
    number = r"\d+\.\d+"
    assert re.fullmatch(
        rf"kimg +0\.1  100%  {number} s/kimg  ETA 0s  G {number}  D {number}  "
        r"right \d+%  diversity \d\.\d\d  checkpoint blobs-32-000000\.08",
        ticks[-1],
    )
    assert lines[-3:] == [
        "checkpoint: checkpoints/blobs-32-000000.08",
        "its page:   runs/blobs-32/index.html",
        "finished at 0.1 kimg: its 0.08 kimg are spent. Go on with --kimg 0.16.",
    ]
    assert ran.stdout == "", "standard output is for --dry-run"


def test_a_run_writes_one_line_of_statistics_per_tick(finished: Finished) -> None:
    studio, _ = finished
    stats = studio.stats("blobs-32")
    assert [line["kimg"] for line in stats] == [0.032, 0.064, 0.08]
    for line in stats:
        assert line["sec_per_kimg"] > 0
        assert 0 <= line["d_right_on_real"] <= 1
        assert 0 < line["d_loss"] < 20
    elapsed = [line["elapsed_s"] for line in stats]
    assert elapsed == sorted(elapsed)


def test_a_run_paints_a_grid_per_tick_from_the_same_seeds(finished: Finished) -> None:
    studio, _ = finished
    grids = sorted((studio.run("blobs-32") / "samples").iterdir())
    assert [g.name for g in grids] == [
        "kimg-000000.032.png",
        "kimg-000000.064.png",
        "kimg-000000.080.png",
    ]
    with Image.open(grids[-1]) as grid:
        assert (grid.mode, grid.size) == ("RGB", (8 * 32, 8 * 32))


def test_what_was_left_out_is_listed_in_the_run(finished: Finished) -> None:
    studio, _ = finished
    listed = (studio.run("blobs-32") / "left-out.txt").read_text()
    assert listed == "text.jpg is not a picture, or of a kind that is not read\n"


def test_a_checkpoint_says_everything_about_itself(finished: Finished) -> None:
    studio, _ = finished
    assert [c.name for c in studio.checkpoints()] == [
        "blobs-32-000000.032",
        "blobs-32-000000.064",
        "blobs-32-000000.08",
    ]
    folder = studio.checkpoints()[-1]
    assert sorted(f.name for f in folder.iterdir()) == [
        "generator.safetensors",
        "manifest.json",
        "samples.png",
    ]
    weights = (folder / "generator.safetensors").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest.pop("doubt").startswith("too short to be judged: it ends at 0.08 kimg")
    created_at = datetime.fromisoformat(manifest.pop("created_at"))
    assert abs((datetime.now(UTC) - created_at).total_seconds()) < 600
    assert re.fullmatch("[0-9a-f]{64}", manifest["dataset"].pop("fingerprint"))
    assert manifest == {
        "format_version": 1,
        "name": "blobs-32-000000.08",
        "run": "blobs-32",
        "kimg": 0.08,
        "arch": "dcgan",
        "size": 32,
        "z_dim": 8,
        "width": 4,
        "blocks": 1,
        "upsampling": "transposed",
        "attention": False,
        "multi_scale": False,
        "is_conditional": False,
        "holdout": 0.0,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "num_bytes": len(weights),
        "seed": 0,
        "dataset": {
            "name": "blobs",
            "num_pictures": 20,
            "num_held_out": 0,
            "class_names": [],
        },
        "torch_version": torch.__version__,
    }


def test_a_checkpoint_paints_the_grid_that_lies_beside_it(finished: Finished) -> None:
    """Its first picture is seed 1's: training and `load_generator` show the same generator."""
    studio, _ = finished
    folder = studio.checkpoints()[-1]
    painted = load_generator(folder).paint(seed=1).astype(int)
    with Image.open(folder / "samples.png") as grid:
        shown = np.asarray(grid.crop((0, 0, 32, 32))).astype(int)
    assert abs(painted - shown).max() <= 1


def test_a_run_leaves_nothing_temporary_behind(finished: Finished) -> None:
    assert finished[0].leftovers() == []


def test_the_same_command_at_the_end_says_so_and_succeeds(finished: Finished) -> None:
    studio, _ = finished
    before = (studio.run("blobs-32") / "state.pt").read_bytes()
    again = studio.cli(*TEN_STEPS)
    assert again.returncode == 0
    assert said(again).splitlines()[-1] == (
        "blobs-32 is finished: its 0.08 kimg are spent. Go on with --kimg 0.16."
    )
    assert "training" not in said(again)
    assert (studio.run("blobs-32") / "state.pt").read_bytes() == before
    assert len(studio.checkpoints()) == 3


def test_a_dry_run_of_a_run_with_a_state_says_that_it_would_resume(finished: Finished) -> None:
    studio, _ = finished
    ran = studio.cli(*TEN_STEPS, "--dry-run")
    assert "runs/blobs-32/state.pt (resume)" in ran.stdout


# ---------------------------------------------------------------- dry run


def test_a_dry_run_prints_the_whole_configuration_and_writes_nothing(studio: Studio) -> None:
    before = sorted(studio.path.rglob("*"))
    ran = studio.cli("--kimg", 5, "--flip", "--dry-run")
    assert ran.returncode == 0
    assert said(ran) == ""
    settings = ran.stdout.partition("\n\n")[2]
    plan = dict(line.split(maxsplit=1) for line in settings.splitlines() if line)
    assert plan["pictures"] == (
        "datasets/blobs (24 files; which are usable is found out by decoding them)"
    )
    assert plan["augmentation"] == "none"
    assert plan["run"] == "blobs-32"
    assert (plan["size"], plan["z_dim"], plan["width"], plan["batch"]) == ("32", "8", "4", "8")
    assert (plan["lr"], plan["flip"], plan["kimg"], plan["minutes"]) == (
        "0.0002",
        "true",
        "5.0",
        "-",
    )
    assert plan["steps"] == "625"
    assert plan["state"] == "runs/blobs-32/state.pt (new run)"
    assert "M parameters" in plan["generator"]
    assert sorted(studio.path.rglob("*")) == before


def test_a_dry_run_of_a_source_fetches_nothing(tmp_path: Path) -> None:
    command = Studio(tmp_path).command("--dry-run", dataset="demo")
    process = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or list(tmp_path.iterdir()) != [])
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "100"], "'100' is not one of '28', '32', '64', '128', '256', '512'"),
        (["--kimg", "0"], "'--kimg'"),
        (["--batch", "1"], "'--batch'"),
        (["--lr", "-1"], "'--lr'"),
        (["--arch", "vqgan"], "'vqgan' is not"),
        (["--dataset", "blob"], "Did you mean blobs?"),
        (["--dataset", "/no/such/folder"], "there is no such folder"),
        (["--dataset", "datasets/blobs/000.png"], "that is a file"),
        (["--run", "../.."], "--run ../..: use letters, digits"),
        (["--run", "runs/up-64"], "--run runs/up-64: it is a name, no path: just up-64."),
        (["--device", "cuda:99"], "--device 'cuda:99': "),
    ],
)
def test_a_mistyped_command_ends_with_code_2_and_a_message(
    studio: Studio, options: list[str], message: str
) -> None:
    ran = studio.cli(*options)
    assert ran.returncode == 2
    assert message in said(ran)
    assert not studio.run("blobs-32").exists()


def test_pictures_that_cannot_be_trained_on_end_with_code_1_and_a_message(
    studio: Studio,
) -> None:
    (studio.folders.datasets / "empty").mkdir()
    empty = studio.cli(dataset="empty")
    assert empty.returncode == 1
    assert "datasets/empty holds no pictures" in said(empty)

    write_pictures(studio.folders.datasets / "broken", 20)
    for picture in (studio.folders.datasets / "broken").iterdir():
        picture.write_bytes(picture.read_bytes()[:100])
    broken = studio.cli(dataset="broken")
    assert broken.returncode == 1
    assert "0 usable pictures; 16 are the least. 20 left out: 000.png is damaged" in said(broken)


def test_a_place_that_cannot_be_written_is_found_out_before_training(studio: Studio) -> None:
    """/proc takes no files, not even root's. The command was typed rightly: no usage error."""
    ran = studio.cli("--runs-dir", "/proc/runs")
    assert ran.returncode == 1
    assert "cannot write to /proc/runs: No such file or directory. Free some" in said(ran)


def test_a_file_in_a_runs_place_is_told_without_a_traceback(studio: Studio) -> None:
    studio.folders.runs.mkdir()
    (studio.folders.runs / "blobs-32").write_text("a file")
    (studio.folders.datasets / "blobs" / "text.jpg").write_text("no picture")
    ran = studio.cli("--kimg", STEP_KIMG)
    assert ran.returncode == 1
    assert "blobs-32" in said(ran)


def test_where_too_few_are_usable_none_are_held_out_by_default(studio: Studio) -> None:
    """Of 200 files a tenth would be held out; 150 of them are pictures."""
    folder = studio.add_pictures(count=150)
    for number in range(50):
        (folder / f"text-{number}.jpg").write_text("no picture")
    ran = studio.cli("--kimg", STEP_KIMG)
    assert ran.returncode == 0, ran.stderr
    assert "none is held out to measure with: they are fewer than 200 (--holdout)" in said(ran)
    assert studio.state("blobs-32")["config"]["holdout"] == 0.0
    asked = studio.cli("--kimg", STEP_KIMG, "--run", "asked", "--holdout", 0.01)
    assert asked.returncode == 2
    assert "--holdout 0.01 of 200 pictures holds out 2; measuring needs 16" in said(asked)


def test_how_many_are_held_out_is_said_once_and_kept_in_the_checkpoint(studio: Studio) -> None:
    studio.add_pictures(count=60)
    held_out = len(held_out_indices(studio.pictures().images, 0.5))
    words = f"  learning from {60 - held_out} of them; {held_out} are held out, to measure with"
    asked = ("--kimg", STEP_KIMG, "--holdout", 0.5, "--set", "measure_share=0")
    ran = studio.cli(*asked)
    assert ran.returncode == 0, ran.stderr
    assert said(ran).splitlines().count(words) == 1
    [checkpoint] = studio.checkpoints()
    dataset = read_manifest(checkpoint).dataset
    assert (dataset.num_pictures, dataset.num_held_out) == (60 - held_out, held_out)
    noted = learned_from("gone", studio.run("blobs-32"), studio.path / "nowhere")
    assert noted == studio.folders.datasets / "blobs", "where the pictures lie is remembered"
    resumed = studio.cli("--kimg", 2 * STEP_KIMG)
    assert said(resumed).splitlines().count(words) == 1


def test_a_dry_run_in_minutes_counts_no_steps_that_there_may_not_be(studio: Studio) -> None:
    def steps(*options: object) -> str:
        shown = studio.cli(*options, "--dry-run").stdout.splitlines()
        return next(line.split(maxsplit=1)[1] for line in shown if line.startswith("steps"))

    assert steps("--minutes", 20) == "37,500, or as many as 20 minutes allow"
    assert steps("--kimg", 5, "--minutes", 20) == "625, or as many as 20 minutes allow"
    assert steps("--set", "kimg=1000000", "--minutes", 20) == "as many as 20 minutes allow"


def test_an_option_that_changes_nothing_is_said_to(studio: Studio) -> None:
    ran = studio.cli("--set", "real_label=0.8", "--set", "augment_p=0.5", "--dry-run")
    assert "augment_p 0.5 changes nothing here: augment is none" in said(ran)
    assert "real_label" not in said(ran)


def test_every_option_of_folders_is_heeded(studio: Studio, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_pictures(elsewhere / "sets" / "mine", 16)
    ran = studio.cli(
        *("--kimg", STEP_KIMG, "--run", "named"),
        *("--datasets-dir", elsewhere / "sets", "--checkpoints-dir", elsewhere / "checkpoints"),
        *("--runs-dir", elsewhere / "runs", "--cache-dir", elsewhere / "cache"),
        dataset="mine",
    )
    assert ran.returncode == 0, ran.stderr
    assert (elsewhere / "runs" / "named" / "state.pt").exists()
    assert (elsewhere / "checkpoints" / "named-000000.008" / "manifest.json").exists()
    assert sorted(p.name for p in studio.path.iterdir()) == ["datasets", "elsewhere"]


def test_names_from_an_old_disk_that_are_no_unicode_are_trained_on(studio: Studio) -> None:
    r"""Latin-1 folder names, as old archives unpack them: b"\xd6l" for Öl."""
    oils = os.fsencode(studio.folders.datasets / "blobs") + b"/\xd6l"
    write_pictures(Path(os.fsdecode(oils)), 16)
    (Path(os.fsdecode(oils + b"/\xff.jpg"))).write_text("no picture")
    ran = studio.cli("--kimg", STEP_KIMG)
    assert ran.returncode == 0, ran.stderr
    assert "40 pictures in 1 classes" in said(ran)
    assert load_generator(studio.checkpoints()[0]).manifest.dataset.class_names


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_saves_exports_and_says_how_to_go_on(
    studio: Studio, number: signal.Signals
) -> None:
    process = studio.start_cli(*FOR_EVER)
    wait_until(lambda: (studio.run("blobs-32") / "state.pt").exists())
    process.send_signal(number)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "saving and stopping" in told
    assert "everything is saved, the same command goes on from there." in told
    assert "Traceback" not in told

    [checkpoint] = studio.checkpoints()
    kimg = load_generator(checkpoint).manifest.kimg
    assert studio.state("blobs-32")["images_seen"] == round(kimg * 1000)
    assert studio.stats("blobs-32")[-1]["kimg"] == kimg

    if number == signal.SIGTERM:
        resumed = studio.cli("--kimg", kimg + STEP_KIMG)
        assert f"resuming blobs-32 at {kimg:.1f} kimg" in said(resumed)
        assert studio.state("blobs-32")["images_seen"] == round(kimg * 1000) + 8


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_last_tick(studio: Studio) -> None:
    process = studio.start_cli(*FOR_EVER)
    state = studio.run("blobs-32") / "state.pt"
    wait_until(state.exists)
    # Stopped in the middle, it finds both signals together and cannot finish the step in between.
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=300)
    assert process.returncode in (1, 130), told
    assert "Traceback" not in told
    assert studio.state("blobs-32")["images_seen"] % 8 == 0
    assert studio.leftovers() == []


def test_on_a_terminal_of_ordinary_width_the_bar_shows_eta_speed_and_losses(
    studio: Studio,
) -> None:
    """80 columns, a real pseudo-terminal, the real command."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        studio.command("--kimg", 150 * STEP_KIMG),
        cwd=studio.path,
        env={k: v for k, v in ENVIRONMENT.items() if k not in ("COLUMNS", "NO_COLOR")},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received, deadline = b"", time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                received += os.read(ours, 65536)
            except OSError:  # the other side has closed
                break
    os.close(ours)
    assert process.wait(timeout=300) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received.decode())
    assert "━" in shown
    assert "100%" in shown
    assert re.search(r"\d+\.\d s/kimg", shown)
    assert re.search(r"ETA \d+s", shown)
    assert re.search(r"G \d+\.\d\d D \d+\.\d\d", shown), "the losses fit in 80 columns"
    assert "Ctrl-C saves and stops" in shown
    assert "checkpoint: checkpoints/blobs-32-000001" in shown

"""A disk that fills up while training: the last state and all checkpoints stay whole."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from tests.trainer_fixtures import STEP_KIMG, Studio, run_on_small_disk, tiny_config
from trainers.errors import StorageError
from trainers.inference import load_generator


def folder_size(folder: Path) -> int:
    """Bytes on a tmpfs, which counts in pages of 4096."""
    return sum(-(-p.lstat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


def resume_on_small_disk(studio: Studio, free_bytes: int, place: str) -> tuple[int, str, Path]:
    """Go on with run `tiny` for another tick, with `place` ("runs" or "checkpoints") on a disk
    that has `free_bytes` left."""
    full, kept, saved = studio.path / place, studio.path / "kept", studio.path / "saved"
    full.mkdir(exist_ok=True)
    shutil.copytree(full, saved)
    command = shlex.join(studio.command("--run", "tiny", "--kimg", 8 * STEP_KIMG))
    ran = run_on_small_disk(
        f"cd {shlex.quote(str(studio.path))} && cp -a saved/. {place}/ && exec_status=0\n"
        f"{command} || exec_status=$?\n(exit $exec_status)",
        full,
        folder_size(saved) + free_bytes,
        kept,
    )
    return ran.returncode, ran.stderr, kept


@pytest.mark.parametrize(
    ("free_bytes", "at"),
    [(40_000, "grid"), (300_000, "state")],
    ids=["too full for the grid", "too full for the state"],
)
def test_a_full_disk_while_saving_keeps_the_old_state_and_says_what_to_do(
    studio: Studio, free_bytes: int, at: str
) -> None:
    studio.train(tiny_config(kimg=4 * STEP_KIMG))
    before = (studio.run() / "state.pt").read_bytes()
    if at == "state":  # room for a grid, none for a second state
        grid = max((studio.run() / "samples").iterdir(), key=lambda p: p.stat().st_size)
        free_bytes = grid.stat().st_size + len(before) // 2
    code, told, kept = resume_on_small_disk(studio, free_bytes, "runs")
    assert code == 1, told
    assert "could not write runs/tiny/" in told
    assert ("state.pt" in told) == (at == "state")
    assert "the disk is full (No space left on device)." in told, "not torch's words for it"
    assert "What was there before is untouched; free some space" in told
    assert "Traceback" not in told
    assert "terminate called" not in told, "torch must not take the process with it"
    assert (kept / "tiny" / "state.pt").read_bytes() == before
    assert list(kept.rglob(".*")) == []

    # With space again, the same command goes on.
    studio.train(tiny_config(kimg=8 * STEP_KIMG))
    assert studio.state()["images_seen"] == 64


def test_a_full_disk_while_exporting_leaves_no_half_checkpoint(studio: Studio) -> None:
    studio.train(tiny_config(kimg=4 * STEP_KIMG))
    code, told, kept = resume_on_small_disk(studio, 30_000, "checkpoints")
    assert code == 1, told
    assert "could not write" in told
    assert "the disk is full" in told
    assert "Traceback" not in told
    [checkpoint] = kept.iterdir()
    assert load_generator(checkpoint).manifest.kimg == pytest.approx(4 * STEP_KIMG)


@pytest.mark.parametrize("where", ["samples", "stats.jsonl"])
def test_a_run_folder_that_cannot_be_written_is_a_storage_error(studio: Studio, where: str) -> None:
    """Not only full disks: here a file stands where a folder should, and the other way round."""
    studio.run().mkdir(parents=True)
    if where == "samples":
        (studio.run() / where).write_text("a file")
    else:
        (studio.run() / where).mkdir()
    with pytest.raises(StorageError):
        studio.train(tiny_config(kimg=STEP_KIMG))

"""Resuming: the same bits as never having stopped, and an honest word about every change."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer_fixtures import (
    STEP_KIMG,
    NotingDisplay,
    Studio,
    assert_same_bits,
    learned,
    tiny_config,
    write_pictures,
)
from trainers.config import TrainConfig
from trainers.data.cache import PictureSet
from trainers.data.feed import PictureFeed
from trainers.data.split import held_out_indices
from trainers.errors import ResumeRefused
from trainers.inference import load_generator
from trainers.loop import TrainResult, train
from trainers.manifest import read_manifest
from trainers.presets import PRESETS, resolve_preset
from trainers.progress import Pace, TickStats
from trainers.state import BEST_FILE
from trainers.state import load as load_state

Trained = tuple[Studio, TrainResult]


def weights(result: TrainResult) -> bytes:
    assert result.checkpoint is not None
    return (result.checkpoint / "generator.safetensors").read_bytes()


# ---------------------------------------------------------------- exactly


@pytest.mark.parametrize("stop_after", [1, 3, 4, 7, 9])
def test_a_run_stopped_at_any_step_ends_with_the_same_bits_as_one_never_stopped(
    studio: Studio, trained: Trained, stop_after: int
) -> None:
    """Networks, average, Adam's moments, random streams, order and clocks; and what is exported."""
    uninterrupted, expected = trained
    first = studio.train(tiny_config(), stop_after_steps=stop_after)
    assert (first.is_finished, first.images_seen) == (False, 8 * stop_after)
    second = studio.train(tiny_config())
    assert (second.is_finished, second.images_seen) == (True, 80)
    assert_same_bits(learned(studio.state()), learned(uninterrupted.state()))
    assert weights(second) == weights(expected)


def test_a_run_stopped_after_every_single_step_ends_with_the_same_bits(
    studio: Studio, trained: Trained
) -> None:
    uninterrupted, expected = trained
    for _ in range(9):
        studio.train(tiny_config(), stop_after_steps=1)
    last = studio.train(tiny_config())
    assert_same_bits(learned(studio.state()), learned(uninterrupted.state()))
    assert weights(last) == weights(expected)


RECIPES: dict[str, dict[str, Any]] = {
    **{name: resolve_preset(name, None, 32, 24) for name in PRESETS if name != "resgan-m"},
    "ada": {"augment": "ada", "augment_ops": "flip,geometry,hue", "ada_target": 0.0},
    "micro-batches": {"micro_batch": 3, "augment": "diffaug"},
    "multi-scale": {"multi_scale": True, "attention": True, "d_norm": "spectral", "loss": "hinge"},
    "bfloat16": {"precision": "bf16"},
    "classes": {"classes": True},
    "mirrored": {"flip": True},
}
"""Everything that keeps something from one step to the next, and every preset (resgan-m is resgan-s
twice over)."""


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_resumes_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("trainers.learner.ADA_EVERY", 2)
    studio = Studio(tmp_path)
    for style in ("cubism", "realism"):
        studio.add_pictures(f"blobs/{style}", count=12, seed=len(style))
    tiny = {"width": 4, "z_dim": 8, "batch": 8, "kimg": 7 * STEP_KIMG, "tick_kimg": 3 * STEP_KIMG}
    settings = RECIPES[name] | tiny
    studio.train(tiny_config(run="whole", **settings))
    studio.train(tiny_config(run="parts", **settings), stop_after_steps=2)
    studio.train(tiny_config(run="parts", **settings))
    whole, parts = learned(studio.state("whole")), learned(studio.state("parts"))
    for state in (whole, parts):
        assert state["learner"]["steps"] == 7
        assert state["config"].pop("run") in ("whole", "parts")
    assert_same_bits(whole, parts)
    exported = {c.name: read_manifest(c).sha256 for c in studio.checkpoints()}
    assert exported["whole-000000.056"] == exported["parts-000000.056"]
    assert exported["parts-000000.016"] != exported["parts-000000.056"]


@pytest.mark.parametrize(
    "changed",
    [{"flip": True}, {"augment": "diffaug"}, {"loss": "hinge"}, {"micro_batch": 4}],
    ids=str,
)
def test_what_a_recipe_adds_changes_what_is_learned(
    studio: Studio, trained: Trained, changed: dict[str, Any]
) -> None:
    """Otherwise the test above would prove nothing."""
    _, expected = trained
    assert weights(studio.train(tiny_config(**changed))) != weights(expected)


def test_the_same_seed_trains_the_same_bits_and_another_seed_others(
    studio: Studio, trained: Trained
) -> None:
    _, expected = trained
    assert weights(studio.train(tiny_config())) == weights(expected)
    assert weights(studio.train(tiny_config(run="other", seed=1))) != weights(expected)


def test_how_often_it_looks_saves_and_exports_changes_nothing_of_what_is_learned(
    studio: Studio, trained: Trained
) -> None:
    uninterrupted, _ = trained
    studio.train(tiny_config(tick_kimg=STEP_KIMG, export_kimg=STEP_KIMG))
    often, seldom = studio.state(), uninterrupted.state()
    for key in ("learner", "feed"):
        assert_same_bits(often[key], seldom[key], key)


@pytest.mark.parametrize("size", [256, 512])
def test_large_pictures_train_a_step_resume_and_export(studio: Studio, size: int) -> None:
    config = tiny_config(size=size, batch=2, kimg=0.004, tick_kimg=0.002)
    studio.train(config, stop_after_steps=1)
    assert studio.train(config).is_finished
    assert len(studio.stats()) == 2
    picture = load_generator(studio.checkpoints()[-1]).paint(1)
    assert picture.shape == (size, size, 3)


# ---------------------------------------------------------------- budgets


SCHEDULED = {
    "penalty": "r1",
    "gamma": 1.0,
    "gamma_end_factor": 0.1,
    "lr_end_factor": 0.5,
    "d_norm": "none",
    "augment": "diffaug",
    "augment_fade": 0.5,
}
"""Everything that follows the share of the budget that is spent."""


def test_a_budget_that_is_not_named_again_stays_and_so_do_the_schedules(studio: Studio) -> None:
    """The command, with nothing but the data set: the same bits as never having stopped."""
    config = tiny_config(**SCHEDULED)
    studio.train(dataclasses.replace(config, run="whole"))
    studio.train(config, stop_after_steps=5)
    ran = studio.trainers("train", "--dataset", "blobs", "--size", "32", "--run", "tiny")
    assert ran.returncode == 0, ran.stderr
    assert "changed since the last session" not in ran.stderr
    whole, resumed = learned(studio.state("whole")), learned(studio.state())
    for state in (whole, resumed):
        assert state["config"].pop("run") in ("whole", "tiny")
    assert_same_bits(whole, resumed)


def test_everything_that_is_not_named_again_stays(studio: Studio) -> None:
    unusual = {"guard": False, "tick_kimg": 0.016, "tick_s": 99.0, "minutes": 7.0}
    studio.train(tiny_config(**unusual), stop_after_steps=3)
    ran = studio.trainers("train", "--dataset", "blobs", "--size", "32", "--run", "tiny")
    assert ran.returncode == 0, ran.stderr
    assert studio.state()["config"] == tiny_config(**unusual).as_dict()


def test_a_budget_named_anew_is_said_with_the_old_one(studio: Studio) -> None:
    studio.train(tiny_config(**SCHEDULED), stop_after_steps=2)
    display = NotingDisplay()
    studio.train(tiny_config(**SCHEDULED | {"kimg": 0.16, "minutes": 9.0}), display=display)
    assert "changed since the last session: kimg 0.08 -> 0.16" in display.notes
    assert "changed since the last session: minutes no limit -> 9.0" in display.notes


def test_a_finished_run_says_so_and_a_larger_budget_goes_on(studio: Studio) -> None:
    studio.train(tiny_config())
    command = ("train", "--dataset", "blobs", "--size", "32", "--run", "tiny")
    again = studio.trainers(*command)
    assert again.returncode == 0, again.stderr
    assert "tiny is finished: its 0.08 kimg are spent. Go on with --kimg 0.16." in again.stderr
    assert studio.state()["images_seen"] == 80
    minutes = (studio.state()["elapsed_s"] + 1) / 60  # of both sessions, however slow the first
    longer = studio.trainers(*command, "--minutes", minutes)
    assert longer.returncode == 0, longer.stderr
    assert "changed since the last session: kimg 0.08 -> no limit" in longer.stderr
    seen = studio.state()["images_seen"]
    assert seen > 80
    assert studio.trainers(*command, "--kimg", seen / 1000 + STEP_KIMG).returncode == 0
    assert studio.state()["images_seen"] == seen + 8


def test_a_finished_run_goes_on_when_its_budget_is_raised(studio: Studio) -> None:
    studio.train(tiny_config(kimg=4 * STEP_KIMG))
    nothing_left = studio.train(tiny_config(kimg=4 * STEP_KIMG))
    assert (nothing_left.checkpoint, nothing_left.is_finished) == (None, True)
    assert studio.train(tiny_config(kimg=6 * STEP_KIMG)).images_seen == 48


def test_minutes_end_a_run_over_all_sessions(studio: Studio) -> None:
    config = tiny_config(kimg=1000.0, minutes=1 / 60)
    studio.train(config, stop_after_steps=3)
    first = studio.state()["elapsed_s"]
    assert first > 0
    result = studio.train(config)
    assert result.is_finished
    assert result.images_seen < 100_000
    assert studio.state()["elapsed_s"] > max(first, 0.5)


class SlowDisplay(NotingDisplay):
    """Stands for a slow disk: everything a tick does is overhead."""

    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        super().tick(stats, pace, checkpoint)
        time.sleep(2.1)


def test_minutes_that_end_while_saving_end_with_a_checkpoint_too(studio: Studio) -> None:
    result = studio.train(
        tiny_config(kimg=1000.0, minutes=2 / 60, tick_kimg=STEP_KIMG), display=SlowDisplay()
    )
    assert result.is_finished
    assert result.checkpoint is not None


def test_statistics_continue_without_gap_or_repetition(studio: Studio) -> None:
    config = tiny_config(tick_kimg=2 * STEP_KIMG)
    studio.train(config, stop_after_steps=4)
    log = studio.run() / "stats.jsonl"
    # A kill between the statistics and the state leaves a line from the future, another half a line.
    log.write_text(log.read_text() + '{"kimg": 0.048}\n{"kimg": 0.0')
    studio.train(config)
    assert [line["kimg"] for line in studio.stats()] == [0.016, 0.032, 0.048, 0.064, 0.08]


# ---------------------------------------------------------------- with other settings


def test_a_changed_learning_rate_is_adopted_and_said(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    display = NotingDisplay()
    studio.train(tiny_config(lr=0.001), display=display)
    assert "changed since the last session: lr 0.0002 -> 0.001" in display.notes
    assert "resuming tiny at 0.0 kimg" in display.notes
    for optimiser in ("generator_optimiser", "discriminator_optimiser"):
        assert studio.state()["learner"][optimiser]["param_groups"][0]["lr"] == 0.001


def test_a_changed_batch_is_adopted(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    display = NotingDisplay()
    assert studio.train(tiny_config(batch=16), display=display).images_seen == 80
    assert "changed since the last session: batch 8 -> 16" in display.notes


@pytest.mark.parametrize(
    ("changed", "listed"),
    [({"width": 8}, "width 4 -> 8"), ({"size": 64, "z_dim": 9}, "size 32 -> 64, z_dim 8 -> 9")],
)
def test_what_would_not_fit_the_saved_weights_is_refused_and_listed(
    studio: Studio, changed: dict[str, int], listed: str
) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    before = (studio.run() / "state.pt").read_bytes()
    with pytest.raises(ResumeRefused, match=f"{listed}. Use the saved settings, or start another"):
        studio.train(tiny_config(**changed))
    assert (studio.run() / "state.pt").read_bytes() == before


def test_a_resume_needs_no_settings_repeated(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    studio.add_pictures(count=250, seed=1)  # so many that a new run would hold some out
    ran = studio.trainers(
        *("train", "--dataset", "blobs", "--size", "32", "--run", "tiny", "--kimg", "0.08")
    )
    assert ran.returncode == 0, ran.stderr
    assert "resuming tiny at 0.0 kimg" in ran.stderr
    assert "changed since the last session:" not in ran.stderr
    assert TrainConfig(**studio.state()["config"]) == tiny_config(kimg=0.08)


def test_a_refused_command_ends_with_code_1(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    ran = studio.cli("--run", "tiny", "--width", 8)
    assert ran.returncode == 1
    assert "width 4 -> 8" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("count", [24, 30])
def test_changed_pictures_are_noted_and_trained_on(studio: Studio, count: int) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    studio.add_pictures(count=count, seed=1)
    display = NotingDisplay()
    assert studio.train(tiny_config(), display=display).is_finished
    [note] = [n for n in display.notes if n.startswith("the pictures changed")]
    assert re.fullmatch(
        rf"the pictures changed since the last session \(24 of blobs, [0-9a-f]{{8}} -> {count} of blobs, "
        r"[0-9a-f]{8}\): going on with the new ones",
        note,
    )
    assert len(studio.state()["feed"]["order"]["permutation"]) == count


def test_changed_subfolders_are_named_with_the_numbers(studio: Studio) -> None:
    """A run that learns no classes goes on without them."""
    blobs = studio.folders.datasets / "blobs"
    studio.add_pictures("blobs/cubism", seed=2)
    studio.add_pictures("blobs/realism", seed=3)
    studio.train(tiny_config(), stop_after_steps=2)
    (blobs / "cubism").rename(blobs / "fauvism")
    studio.add_pictures("blobs/realism", count=20, seed=4)
    display = NotingDisplay()
    studio.train(tiny_config(), stop_after_steps=2, display=display)
    [note] = [n for n in display.notes if n.startswith("the pictures changed")]
    assert "(72 of blobs, " in note
    assert " -> 72 of blobs, " in note
    assert "; subfolders gone: cubism; new subfolders: fauvism): going on" in note


def test_a_state_saved_before_pictures_were_counted_is_resumed_all_the_same(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    saved = studio.state()
    del saved["dataset"]["num_pictures"]
    torch.save(saved, studio.run() / "state.pt")
    studio.add_pictures(count=30, seed=1)
    display = NotingDisplay()
    studio.train(tiny_config(), stop_after_steps=2, display=display)
    [note] = [n for n in display.notes if n.startswith("the pictures changed")]
    assert "(? of blobs, " in note
    assert " -> 30 of blobs, " in note


def test_an_unchanged_resume_notes_no_change(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=2)
    display = NotingDisplay()
    studio.train(tiny_config(), display=display)
    resuming, at_the_end = display.notes
    assert resuming == "resuming tiny at 0.0 kimg"
    assert at_the_end.startswith(
        "too short to be judged: it ends at 0.08 kimg, a run is judged from"
    )


def test_what_to_do_about_a_run_too_short_to_be_judged_is_for_the_caller_to_say(
    studio: Studio,
) -> None:
    """A sweep's trial, for one, cannot be gone on with."""
    display = NotingDisplay()
    train(
        tiny_config(),
        studio.pictures(),
        studio.folders,
        display,
        lambda: False,
        if_too_short="try a longer one",
    )
    assert display.notes[-1].endswith("Look at the grid; try a longer one")


# ---------------------------------------------------------------- with other pictures held out


def kept_aside(studio: Studio, share: float) -> set[bytes]:
    pictures = studio.pictures()
    return {pictures.images[i].tobytes() for i in held_out_indices(pictures.images, share)}


def test_a_resumed_run_learns_from_nothing_it_was_measured_with_and_the_other_way_round(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more painting moves none of the others."""
    shown: list[set[bytes]] = []

    class Watched(PictureFeed):
        def __init__(self, pictures: PictureSet, indices: np.ndarray, *args: Any) -> None:
            super().__init__(pictures, indices, *args)
            shown.append({pictures.images[i].tobytes() for i in indices})

    monkeypatch.setattr("trainers.loop.PictureFeed", Watched)
    studio.add_pictures(count=120)
    config = tiny_config(holdout=0.3)
    kept = [kept_aside(studio, 0.3)]
    studio.train(config, stop_after_steps=2)
    write_pictures(studio.folders.datasets / "blobs" / "new", 30, seed=7)
    kept.append(kept_aside(studio, 0.3))
    studio.train(config)
    assert kept[0] < kept[1]
    assert not shown[0] & kept[1]
    assert not shown[1] & kept[0]
    assert shown[0] < shown[1]


def shrunken(studio: Studio) -> TrainConfig:
    """A stopped run whose folder now holds too few to measure with."""
    folder = studio.add_pictures(count=120)
    config = tiny_config(holdout=0.2, measure_share=0.05)
    studio.train(config, stop_after_steps=2)
    for picture in sorted(folder.iterdir())[30:]:
        picture.unlink()
    return config


def test_a_folder_that_shrank_too_far_is_refused_with_the_numbers_and_the_remedies(
    studio: Studio,
) -> None:
    config = shrunken(studio)
    with pytest.raises(ResumeRefused) as refused:
        studio.train(config)
    num_kept = len(kept_aside(studio, 0.2))
    assert f"of today's 30 that is {num_kept}, and 16 are needed" in str(refused.value)
    assert "Add pictures" in str(refused.value)
    assert "--set measure_share=0" in str(refused.value)
    assert "--run NAME" in str(refused.value)


def test_each_of_these_remedies_works(studio: Studio) -> None:
    config = shrunken(studio)
    options = ("train", "--dataset", "blobs", "--size", "32", "--kimg", "0.08")
    unmeasured = studio.trainers(*options, "--run", "tiny", "--set", "measure_share=0")
    assert unmeasured.returncode == 0, unmeasured.stderr
    assert studio.state()["config"]["holdout"] == 0.2
    anew = dataclasses.replace(config, run="other", holdout=0.0)
    assert studio.train(anew).is_finished
    studio.add_pictures(count=120)
    assert studio.train(dataclasses.replace(config, kimg=0.096)).is_finished


# ---------------------------------------------------------------- a state that cannot be used


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pickle"])
def test_a_damaged_state_is_refused_with_the_remedy_and_not_overwritten(
    studio: Studio, tmp_path: Path, damage: str
) -> None:
    studio.train(tiny_config(), stop_after_steps=1)
    path = studio.run() / "state.pt"
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "pickle":
        torch.save({"version": 1, "path": tmp_path}, path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"no state")
    before = path.read_bytes()
    with pytest.raises(ResumeRefused, match=r"state\.pt cannot be read .* Move that file away"):
        studio.train(tiny_config())
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_without_its_best_state_a_run_goes_on_from_its_last_tick(
    studio: Studio, damage: str
) -> None:
    """As the message about a damaged one advises."""
    studio.train(tiny_config(), stop_after_steps=4)
    best = studio.run() / "best.pt"
    if damage == "gone":
        best.unlink()
    else:
        best.write_bytes(best.read_bytes()[:1000])
        with pytest.raises(ResumeRefused) as refused:
            load_state(studio.run(), BEST_FILE)
        assert "best.pt cannot be read" in str(refused.value)
        assert "run the same command again: it goes on from its last tick" in str(refused.value)
        best.rename(studio.run() / "damaged.pt")
    assert studio.train(tiny_config()).is_finished
    found = torch.load(best, weights_only=True)
    assert found["images_seen"] >= 32


def test_a_state_of_another_version_is_refused(studio: Studio) -> None:
    studio.train(tiny_config(), stop_after_steps=1)
    torch.save(studio.state() | {"version": 99}, studio.run() / "state.pt")
    with pytest.raises(ResumeRefused, match="another version of artbot"):
        studio.train(tiny_config())


def test_another_seed_is_another_run(studio: Studio) -> None:
    """The seed has done all it does when a run begins: adopting a new one would be a lie."""
    studio.train(tiny_config(), stop_after_steps=2)
    with pytest.raises(ResumeRefused, match="seed 0 -> 1"):
        studio.train(tiny_config(seed=1))

"""The training algorithm, top to bottom: step, look, judge, save."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from trainers import state
from trainers.config import (
    LEAKING_FROM_FLAT,
    Folders,
    OnResume,
    TrainConfig,
    as_shown,
    check_fixed_settings,
    settings_that_differ,
)
from trainers.data.augment import has_flat_background, parse_operations
from trainers.data.cache import PictureSet
from trainers.data.feed import PictureFeed
from trainers.data.folder import check_classes
from trainers.data.sources import note_folder
from trainers.data.split import MIN_HELD_OUT, check_enough, compared_with, held_out_indices
from trainers.errors import ResumeRefused, StorageError, TrainingStopped
from trainers.export import export_checkpoint, sweep_exports
from trainers.files import storage_errors, sweep_leftovers, write_atomically
from trainers.guard import (
    GO_ON,
    SKIPS_IN_A_ROW,
    Guard,
    GuardEvent,
    Health,
    Reaction,
    Signals,
    Verdict,
)
from trainers.learner import Learner, StepMeans, place
from trainers.networks import load_architecture
from trainers.networks.check import check_shape
from trainers.observer import Look, Observer
from trainers.progress import Display, Pace, TickStats, first_tick
from trainers.runlock import hold_run
from trainers.samples import png_bytes
from trainers.seeing.page import EVENTS_FILE, STATS_FILE, PageFacts, write_page
from trainers.seeing.tensorboard import open_tensorboard

DISPLAY_EVERY_S = 1.0
STEPS_BETWEEN_FAULT_CHECKS = 64
"""On a graphics card; a CPU is asked after every step, where the answer costs nothing."""


@dataclass(frozen=True)
class TrainResult:
    """How a session ended."""

    checkpoint: Path | None
    """The checkpoint written last in this session, None if there was nothing left to do."""
    images_seen: int
    is_finished: bool
    """False when the person (or the system) asked it to stop."""
    ended_early: str = ""
    """Why it was enough before the budget was spent; empty otherwise."""


def train(
    config: TrainConfig,
    pictures: PictureSet,
    folders: Folders,
    display: Display,
    should_stop: Callable[[], bool],
    if_too_short: str = GO_ON,
) -> TrainResult:
    """Train until the budget is spent or `should_stop()`; resumes the run's saved state if any.

    `if_too_short` is what to advise where the budget ends before the run can be judged.

    Raises SettingsError, DatasetError, ResumeRefused, RunBusy, OutOfMemory, StorageError, and
    TrainingStopped when the guard could not mend the run: its best checkpoint is then the latest.
    """
    run_folder = folders.runs / config.run
    shape = config.shape(pictures.class_names)
    check_shape(config.arch, shape)
    if config.classes:
        num_outside = int((pictures.class_indices < 0).sum())
        check_classes(pictures.name, pictures.class_names, num_outside)
    with ExitStack() as open_things:
        with storage_errors(run_folder):
            (run_folder / "samples").mkdir(parents=True, exist_ok=True)
            open_things.callback(hold_run(run_folder).close)
            sweep_leftovers(run_folder)
            sweep_leftovers(run_folder / "samples")
            sweep_exports(folders.checkpoints, config.run)

        # ---- who learns, from what, who watches ----------------------------------------------
        device = torch.device(config.device)
        torch.manual_seed(config.seed)
        architecture = load_architecture(config.arch)
        learner = Learner(
            place(architecture.build_generator(shape), device),
            place(architecture.build_discriminator(shape), device),
            config,
        )
        learner.on_halved = partial(_say_halved, learner, display)
        held_out = held_out_indices(pictures.images, config.holdout)
        shown = np.setdiff1d(np.arange(len(pictures)), held_out)
        learner.operations = _operations_for(config, pictures, display)
        feed = PictureFeed(pictures, shown, config, device)
        observer = Observer(config, pictures, shown, folders.cache, display)
        guard = Guard(
            has_augmentation=learner.has_augmentation,
            has_penalty=config.penalty != "none",
            if_too_short=if_too_short,
        )
        board = open_tensorboard(run_folder) if config.tensorboard else None
        if board is not None:
            open_things.callback(board.close)
        images_seen, exported_images, elapsed_s, doubt = 0, 0, 0.0, ""
        yardstick = compared_with(pictures.images, config.holdout)

        def whole_state() -> dict[str, Any]:
            return {
                "config": config.as_dict(),
                "dataset": {
                    "name": pictures.name,
                    "fingerprint": pictures.fingerprint,
                    "num_pictures": len(pictures),
                    "class_names": list(pictures.class_names),
                    "compared_with": yardstick,
                },
                "images_seen": images_seen,
                "exported_images": exported_images,
                "elapsed_s": pace.elapsed_s,
                "doubt": doubt,
                "learner": learner.state(),
                "feed": feed.state(),
                "guard": guard.state_dict(),
                "observer": observer.state(),
            }

        # ---- resume --------------------------------------------------------------------------
        saved = state.load(run_folder)
        if saved is None:
            check_enough(len(held_out), config.holdout, len(pictures))
        else:
            _check_resumable(saved, config, pictures, len(held_out), display)
            if not learner.restore(saved["learner"]):
                display.note(
                    "moved to another kind of device: the resumed run is not bit-identical"
                )
            feed.restore(saved["feed"])
            guard.load_state_dict(saved["guard"])
            if saved["dataset"]["compared_with"] != yardstick:
                guard.forget_scores()
                display.note(
                    "other pictures are compared with from now on: what was measured before is forgotten"
                )
            observer.restore(saved["observer"])
            images_seen, elapsed_s = saved["images_seen"], saved["elapsed_s"]
            exported_images = saved["exported_images"]
            display.note(f"resuming {config.run} at {images_seen / 1000:.1f} kimg")
        if pictures.folder is not None:
            note_folder(run_folder, pictures.folder)
        for log in (STATS_FILE, EVENTS_FILE):
            _forget_lines(run_folder / log, "elapsed_s", elapsed_s + 1e-3)
        learner.knobs = guard.knobs
        pace = Pace(config, images_seen, elapsed_s)
        about = PageFacts(config.loss, observer.rows, first_tick(config, pace))
        write_page(run_folder, about)  # to be opened at once, before the first tick
        has_best = saved is not None and (run_folder / state.BEST_FILE).exists()
        if saved is not None and config.guard and images_seen > 0:
            was_watched = saved["config"]["guard"] or guard.best_kimg is not None
            if not (has_best and was_watched):
                guard.begin_from(images_seen / 1000)
                display.note(
                    f"the guard has no better state to go back to than this one, of {images_seen / 1000:.1f} kimg"
                )
                has_best = False
        if not has_best:
            state.save(run_folder, whole_state(), state.BEST_FILE)

        # ---- until the budget is spent -------------------------------------------------------
        tick_images, tick_started = images_seen, elapsed_s
        checkpoint: Path | None = None
        ended_early = ""
        display.begin(config, pace)
        is_finished = pace.is_finished
        while not is_finished:
            step_started = time.monotonic()
            real, classes = feed.next(config.batch)
            images_seen += config.batch
            learner.step(real, classes, images_seen, pace.fraction)
            pace.step_done(config.batch, time.monotonic() - step_started)
            if display.wants_losses(DISPLAY_EVERY_S):
                display.losses(learner.means())
            display.advance(pace)

            # Asked once a step: minutes that run out while a tick is written end with the next one.
            is_finished, stopping = pace.is_finished, should_stop()
            is_tick = (
                images_seen - tick_images >= config.tick_kimg * 1000
                or pace.elapsed_s - tick_started >= config.tick_s
                or _is_out_of_hand(learner)
            )
            if not (is_tick or stopping or is_finished):
                continue

            # ---- a tick: look, and let the guard judge -------------------------------------------
            overhead_started = time.monotonic()
            means = learner.means()
            learner.forget()
            augment_p = learner.augment_p(pace.fraction)
            look = observer.look(learner.average, pace.elapsed_s, is_last=is_finished)
            signals = _signals(means, look, learner, images_seen, pace.fraction)
            verdict = guard.look(signals) if config.guard else None
            if verdict is None and _has_diverged(signals):
                raise TrainingStopped(_diverged_unguarded(config, tick_images, images_seen))
            is_ill = verdict is not None and verdict.health is Health.ILL
            doubt = verdict.doubt if verdict is not None else ""
            reactions = verdict.reactions if verdict is not None else ()
            gives_up = Reaction.STOP in reactions
            is_enough = gives_up or Reaction.FINISH in reactions
            is_finished = is_finished or is_enough

            # ---- keep: a checkpoint before the state, so that a run killed in between exports the
            # ---- same one again; nothing of an ill network
            exported: Path | None = None
            is_due = images_seen - exported_images >= config.export_kimg * 1000
            if (is_due or stopping or is_finished) and not is_ill:
                checkpoint = exported = export_checkpoint(
                    look.network,
                    look.grid,
                    config,
                    pictures,
                    images_seen,
                    folders.checkpoints,
                    doubt=doubt,
                )
                exported_images = images_seen
            if verdict is not None and verdict.is_best:
                state.save(run_folder, whole_state(), state.BEST_FILE)
            elif verdict is not None and is_finished:
                best = _export_best(
                    run_folder, learner, observer, config, pictures, folders, verdict
                )
                if best is not None:
                    checkpoint = exported = best
            if Reaction.ROLL_BACK in reactions or gives_up:
                earlier = _state_to_go_back_to(run_folder)
                learner.restore(earlier["learner"])
                learner.reseed(config.seed + 1000 * guard.knobs.rollbacks)
                feed.restore(earlier["feed"])
                images_seen = earlier["images_seen"]
                exported_images = min(exported_images, images_seen)
                pace = Pace(config, images_seen, pace.elapsed_s)
            if gives_up:
                # Whoever starts the run again begins at its best, with a guard that may act; it
                # would stop at once otherwise.
                guard.begin_again()
            learner.knobs = guard.knobs

            # ---- write down, save, show ----------------------------------------------------------
            stats = _stats(means, look, augment_p, signals.kimg, pace)
            event = (
                GuardEvent(signals.kimg, round(pace.elapsed_s, 3), verdict)
                if verdict is not None and verdict.is_news
                else None
            )
            _write_tick(run_folder, about, look, stats, event, images_seen / 1000)
            if board is not None:
                board.scalars(stats.as_dict(), stats.kimg)
                board.image(look.grid, stats.kimg)
            pace.overhead(time.monotonic() - overhead_started)
            overhead_started = time.monotonic()
            state.save(run_folder, whole_state())
            if event is not None:
                display.note(event.verdict.words)
            display.tick(stats, pace, exported)
            pace.overhead(time.monotonic() - overhead_started)
            tick_images, tick_started = images_seen, pace.elapsed_s
            if gives_up:
                assert verdict is not None
                kept = "No tick was good enough to keep"
                if guard.best_kimg is not None and checkpoint is not None:
                    kept = f"The best generator is checkpoint {checkpoint.name}"
                raise TrainingStopped(
                    f"{config.run} could not be mended: {verdict.words}. {kept}; "
                    f"what the guard did is in {run_folder / EVENTS_FILE}."
                )
            if is_enough:
                assert verdict is not None
                ended_early = verdict.words
            if stopping:
                return TrainResult(checkpoint, images_seen, is_finished)

        return TrainResult(checkpoint, images_seen, True, ended_early)


# ---- before the first step -----------------------------------------------------------------------


def _operations_for(config: TrainConfig, pictures: PictureSet, display: Display) -> tuple[str, ...]:
    """The augmentation's operations, without those that leak from pictures on a flat background."""
    operations = parse_operations(config.augment_ops)
    if config.augment == "none" or not has_flat_background(pictures.images):
        return operations
    safe = tuple(name for name in operations if name not in LEAKING_FROM_FLAT)
    if safe != operations:
        left_out = ", ".join(name for name in operations if name in LEAKING_FROM_FLAT)
        display.note(
            f"the pictures lie on one flat background: no augmentation by {left_out}, which would show in it"
        )
    return safe


def _check_resumable(
    saved: dict[str, Any],
    config: TrainConfig,
    pictures: PictureSet,
    num_held_out: int,
    display: Display,
) -> None:
    """Say what changed since the state was saved; refuse what would not fit the saved weights, or could
    not be measured with."""
    check_fixed_settings(saved["config"], config)
    if config.holdout and config.measure_share and num_held_out < MIN_HELD_OUT:
        raise ResumeRefused(
            f"run {config.run} holds out {config.holdout:g} of its pictures to measure with: of today's "
            f"{len(pictures)} that is {num_held_out}, and {MIN_HELD_OUT} are needed. Add pictures, go on "
            "without measuring with --set measure_share=0, or start another run with --run NAME."
        )
    for name, old, new in settings_that_differ(saved["config"], config)[OnResume.ADOPTED]:
        display.note(
            f"changed since the last session: {name} {as_shown(name, old)} -> {as_shown(name, new)}"
        )
    dataset = saved["dataset"]
    classes_then, classes_now = dataset["class_names"], list(pictures.class_names)
    if config.classes and classes_then != classes_now:
        raise ResumeRefused(
            f"run {config.run} learned the classes {', '.join(classes_then)}; the pictures now have "
            f"{', '.join(classes_now)}. Put the subfolders back, or start another run with --run NAME."
        )
    if dataset["fingerprint"] != pictures.fingerprint:
        then = f"{dataset.get('num_pictures', '?')} of {dataset['name']}"  # older states have no number
        now = f"{len(pictures)} of {pictures.name}"
        gone = ", ".join(name for name in classes_then if name not in classes_now)
        come = ", ".join(name for name in classes_now if name not in classes_then)
        display.note(
            f"the pictures changed since the last session ({then}, {dataset['fingerprint'][:8]} -> "
            f"{now}, {pictures.fingerprint[:8]}"
            + (f"; subfolders gone: {gone}" if gone else "")
            + (f"; new subfolders: {come}" if come else "")
            + "): going on with the new ones"
        )


# ---- parts of a step and of a tick ---------------------------------------------------------------


def _say_halved(learner: Learner, display: Display) -> None:
    but_for = ["rounding"]
    if learner.has_augmentation:
        but_for.append("what the augmentation draws")
    if learner.has_batch_norm:
        but_for.append("batch norm, which sees fewer together")
    display.note(
        f"out of memory: going on with {learner.micro_batch} pictures at a time, "
        f"{learner.config.batch} to a step as before (slower, the same result but for "
        f"{', '.join(but_for)})"
    )


def _is_out_of_hand(learner: Learner) -> bool:
    """Whether so many steps in a row came to nothing that the guard must look now."""
    if learner.device.type != "cpu" and learner.steps % STEPS_BETWEEN_FAULT_CHECKS:
        return False
    return learner.steps_skipped_in_a_row >= SKIPS_IN_A_ROW


def _signals(
    means: StepMeans,
    look: Look,
    learner: Learner,
    images_seen: int,
    fraction: float,
) -> Signals:
    return Signals(
        kimg=images_seen / 1000,
        fraction=fraction,
        is_finite=learner.is_finite,
        skipped_steps=means.skipped_steps,
        skipped_in_a_row=means.most_skipped_in_a_row,
        d_loss=means.d_loss,
        g_loss=means.g_loss,
        d_right=(means.d_right_on_real + means.d_right_on_fake) / 2,
        gradient_norm=means.gradient_norm,
        penalty_share=means.penalty_share,
        augment_p=learner.unfaded_p,
        pixel_diversity=look.pixel_diversity,
        dead_share=look.dead_share,
        scores=look.scores,
    )


def _stats(means: StepMeans, look: Look, augment_p: float, kimg: float, pace: Pace) -> TickStats:
    return TickStats(
        kimg=kimg,
        elapsed_s=round(pace.elapsed_s, 3),
        sec_per_kimg=round(pace.sec_per_kimg, 3),
        d_loss=means.d_loss,
        g_loss=means.g_loss,
        d_right_on_real=means.d_right_on_real,
        d_right_on_fake=means.d_right_on_fake,
        penalty=means.penalty,
        overfitting=means.overfitting,
        gradient_norm=means.gradient_norm,
        skipped_steps=means.skipped_steps,
        augment_p=augment_p,
        pixel_diversity=look.pixel_diversity,
        dead_share=look.dead_share,
        scores=look.scores,
    )


def _write_tick(
    run_folder: Path,
    about: PageFacts,
    look: Look,
    stats: TickStats,
    event: GuardEvent | None,
    goes_on_from_kimg: float,
) -> None:
    """The grid, one line of statistics, what the guard said, and the page that shows them."""
    write_atomically(
        run_folder / "samples" / f"kimg-{stats.kimg:010.3f}.png",
        partial(_write, content=png_bytes(look.grid)),
    )
    _append(run_folder / STATS_FILE, stats.as_dict())
    if event is not None:
        _append(run_folder / EVENTS_FILE, event.as_dict())
    if goes_on_from_kimg < stats.kimg:  # what was gone back on stays in the guard's words alone
        _forget_lines(run_folder / STATS_FILE, "kimg", goes_on_from_kimg)
    write_page(run_folder, about)


def _has_diverged(signals: Signals) -> bool:
    """What ends a run that nobody guards."""
    losses = (signals.d_loss, signals.g_loss)
    is_stuck = signals.skipped_in_a_row >= SKIPS_IN_A_ROW
    return is_stuck or not signals.is_finite or not all(map(math.isfinite, losses))


def _state_to_go_back_to(run_folder: Path) -> dict[str, Any]:
    best = state.load(run_folder, state.BEST_FILE)
    if best is None:
        raise StorageError(
            f"{run_folder / state.BEST_FILE}, the state to go back to, is gone. The state of the last "
            "tick is kept: the same command goes on from there."
        )
    return best


def _export_best(
    run_folder: Path,
    learner: Learner,
    observer: Observer,
    config: TrainConfig,
    pictures: PictureSet,
    folders: Folders,
    last: Verdict,
) -> Path | None:
    """The best state as the run's latest checkpoint; None if no trained state was ever worth keeping.

    What was doubted when it was the best, is doubted if the `last` verdict doubts as well.
    """
    best = state.load(run_folder, state.BEST_FILE)
    if best is None or best["images_seen"] == 0:
        return None
    look = observer.look_at(learner.averaged(best["learner"]))
    return export_checkpoint(
        look.network,
        look.grid,
        config,
        pictures,
        best["images_seen"],
        folders.checkpoints,
        is_best=True,
        doubt=best.get("doubt", "") and last.doubt,
    )


def _diverged_unguarded(config: TrainConfig, tick_images: int, images_seen: int) -> str:
    return (
        f"{config.run} diverged between {tick_images / 1000:.1f} and {images_seen / 1000:.1f} kimg: a loss, a "
        f"gradient or a weight is no longer a number. The state at {tick_images / 1000:.1f} kimg and all checkpoints are kept. "
        f"Go on from there with a smaller --lr (now {config.lr:g}), or without --no-guard."
    )


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _append(path: Path, line: dict[str, Any]) -> None:
    with storage_errors(path), open(path, "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def _forget_lines(path: Path, clock: str, limit: float) -> None:
    """Drop the lines of ticks later than `limit` on that clock: their state was never saved (killed
    in between) or was gone back on, and they will come again."""
    if not path.exists():
        return
    kept = []
    with storage_errors(path):
        for line in path.read_text("utf-8").splitlines():
            try:
                if json.loads(line)[clock] <= limit:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # a line cut short by the kill
        write_atomically(path, partial(_write, content="".join(kept).encode()))

"""The training algorithm, top to bottom."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from trainers import ema, state
from trainers.config import (
    Folders,
    OnResume,
    TrainConfig,
    check_fixed_settings,
    settings_that_differ,
)
from trainers.data.cache import PictureSet
from trainers.data.order import PictureOrder
from trainers.errors import TrainingDiverged
from trainers.export import export_checkpoint, sweep_exports
from trainers.files import storage_errors, sweep_leftovers, write_atomically
from trainers.latents import latents_for
from trainers.losses import discriminator_loss, generator_loss
from trainers.networks import Shape, load_architecture
from trainers.progress import Display, Pace, TickStats
from trainers.runlock import hold_run
from trainers.samples import grid_columns, png_bytes, render_grid

GRID_SEED = 1
SETTLING_SEED = 1_000_000
NUM_SETTLING_LATENTS = 256
"""Pictures over which the exported generator's batch-norm statistics are measured."""
SETTLING_BATCH = 32
DISPLAY_EVERY_S = 1.0
DEVICE_SHARE_FOR_PICTURES = 0.4
"""Pictures live on the graphics card when they fill at most this share of its memory."""
STATS_FILE = "stats.jsonl"


@dataclass(frozen=True)
class TrainResult:
    """How a session ended."""

    checkpoint: Path | None
    """The checkpoint written last in this session, None if there was nothing left to do."""
    images_seen: int
    is_finished: bool
    """False when the person (or the system) asked it to stop."""


def train(
    config: TrainConfig,
    pictures: PictureSet,
    folders: Folders,
    display: Display,
    should_stop: Callable[[], bool],
) -> TrainResult:
    """Train until the budget is spent or `should_stop()`; resumes the run's saved state if any.

    Raises ResumeRefused, RunBusy, TrainingDiverged, StorageError.
    """
    run_folder = folders.runs / config.run
    with storage_errors(run_folder):
        (run_folder / "samples").mkdir(parents=True, exist_ok=True)
        held = hold_run(run_folder)
        sweep_leftovers(run_folder)
        sweep_leftovers(run_folder / "samples")
        sweep_exports(folders.checkpoints, config.run)
    with closing(held):
        # ---- networks, optimisers, random streams -------------------------------------------
        device = torch.device(config.device)
        torch.manual_seed(config.seed)
        architecture = load_architecture(config.arch)
        shape = Shape(size=config.size, z_dim=config.z_dim, width=config.width)
        generator = _place(architecture.build_generator(shape), device)
        discriminator = _place(architecture.build_discriminator(shape), device)
        average = _place(architecture.build_generator(shape), device).requires_grad_(False)
        average.load_state_dict(generator.state_dict())
        generator_optimiser = _adam(generator, config)
        discriminator_optimiser = _adam(discriminator, config)
        z_stream = torch.Generator(device).manual_seed(config.seed)
        order = PictureOrder(len(pictures), config.seed)
        images_seen, exported_images, elapsed_s = 0, 0, 0.0

        # ---- resume --------------------------------------------------------------------------
        saved = state.load(run_folder)
        if saved is not None:
            _check_resumable(saved, config, pictures, display)
            generator.load_state_dict(saved["generator"])
            discriminator.load_state_dict(saved["discriminator"])
            average.load_state_dict(saved["average"])
            _restore_optimiser(generator_optimiser, saved["generator_optimiser"], config)
            _restore_optimiser(discriminator_optimiser, saved["discriminator_optimiser"], config)
            _restore_stream(z_stream, saved["z_stream"], device, config.seed, display)
            order.restore(saved["order"])
            images_seen, elapsed_s = saved["images_seen"], saved["elapsed_s"]
            exported_images = saved["exported_images"]
            display.note(f"resuming {config.run} at {images_seen / 1000:.1f} kimg")
        with storage_errors(run_folder / STATS_FILE):
            _forget_later_stats(run_folder / STATS_FILE, images_seen)

        # ---- what every step and every tick needs --------------------------------------------
        next_pictures = _picture_feed(pictures, order, device, config, z_stream)
        grid_latents = latents_for(_grid_seeds(config.size), config.z_dim).to(device)
        settling_latents = latents_for(
            [SETTLING_SEED + i for i in range(NUM_SETTLING_LATENTS)], config.z_dim
        ).to(device)
        # Sums since the last tick: d_loss, g_loss, share right on real, share right on fake.
        meters, meter_steps = torch.zeros(4, device=device), 0
        tick_images, tick_started = images_seen, elapsed_s
        checkpoint = None
        pace = Pace(config, images_seen, elapsed_s)
        display.begin(config, pace)

        is_finished = pace.is_finished
        while not is_finished:
            step_started = time.monotonic()

            # ---- one step: discriminator, then generator on the same fakes ---------------------
            real = next_pictures(config.batch)
            z = torch.randn(config.batch, config.z_dim, generator=z_stream, device=device)
            fake = generator(z)

            discriminator.requires_grad_(True)
            real_logits, fake_logits = discriminator(real), discriminator(fake.detach())
            d_loss = discriminator_loss(real_logits, fake_logits, config.real_label)
            discriminator_optimiser.zero_grad(set_to_none=True)
            d_loss.backward()
            discriminator_optimiser.step()

            # The generator's step needs no gradients of the discriminator's weights: a tenth faster.
            discriminator.requires_grad_(False)
            g_loss = generator_loss(discriminator(fake))
            generator_optimiser.zero_grad(set_to_none=True)
            g_loss.backward()
            generator_optimiser.step()

            images_seen += config.batch
            ema.update(
                average,
                generator,
                ema.decay_for(config.ema_half_life_kimg, images_seen, config.batch),
            )

            # ---- book-keeping: nothing here waits for the device ---------------------------------
            with torch.no_grad():
                right_on_real = (real_logits > 0).float().mean()
                right_on_fake = (fake_logits < 0).float().mean()
                meters += torch.stack(
                    [d_loss.detach(), g_loss.detach(), right_on_real, right_on_fake]
                )
            meter_steps += 1
            pace.step_done(config.batch, time.monotonic() - step_started)
            if display.wants_losses(DISPLAY_EVERY_S):
                display.losses(*(meters / meter_steps).tolist())
            display.advance(pace)

            # Asked once a step: minutes that run out while a tick is written end with the next one.
            is_finished, stopping = pace.is_finished, should_stop()
            is_tick = (
                images_seen - tick_images >= config.tick_kimg * 1000
                or pace.elapsed_s - tick_started >= config.tick_s
            )
            if not (is_tick or stopping or is_finished):
                continue

            # ---- a tick: look, write down, save --------------------------------------------------
            overhead_started = time.monotonic()
            means = (meters / meter_steps).tolist()
            settled = ema.settled(average, settling_latents, SETTLING_BATCH)
            # The losses are those before the last update; only the weights tell what it did.
            if not (all(map(math.isfinite, means)) and _is_finite(settled, discriminator)):
                raise TrainingDiverged(
                    f"{config.run} diverged between {tick_images / 1000:.1f} and {images_seen / 1000:.1f} "
                    f"kimg: a loss or a weight is no longer a number. The state at {tick_images / 1000:.1f} kimg and all "
                    f"checkpoints are kept. Go on from there with a smaller --lr (now {config.lr:g})."
                )
            grid = render_grid(settled, grid_latents)
            grid_path = run_folder / "samples" / f"kimg-{images_seen / 1000:010.3f}.png"
            write_atomically(grid_path, partial(_write, content=png_bytes(grid)))
            stats = TickStats(
                kimg=images_seen / 1000,
                elapsed_s=round(pace.elapsed_s, 3),
                sec_per_kimg=round(pace.sec_per_kimg, 3),
                d_loss=means[0],
                g_loss=means[1],
                d_right_on_real=means[2],
                d_right_on_fake=means[3],
            )
            # Before the state: a run killed in between exports the same checkpoint again.
            if (
                images_seen - exported_images >= config.export_kimg * 1000
                or stopping
                or is_finished
            ):
                checkpoint = export_checkpoint(
                    settled, grid, config, pictures, images_seen, folders.checkpoints
                )
                exported_images = images_seen
            with (
                storage_errors(run_folder / STATS_FILE),
                open(run_folder / STATS_FILE, "a", encoding="utf-8") as log,
            ):
                log.write(json.dumps(asdict(stats)) + "\n")
            state.save(
                run_folder,
                {
                    "config": config.as_dict(),
                    "dataset": {"name": pictures.name, "fingerprint": pictures.fingerprint},
                    "images_seen": images_seen,
                    "exported_images": exported_images,
                    "elapsed_s": pace.elapsed_s,
                    "generator": generator.state_dict(),
                    "discriminator": discriminator.state_dict(),
                    "average": average.state_dict(),
                    "generator_optimiser": generator_optimiser.state_dict(),
                    "discriminator_optimiser": discriminator_optimiser.state_dict(),
                    "z_stream": {"device": device.type, "state": z_stream.get_state()},
                    "order": order.state(),
                },
            )
            display.tick(stats, pace, checkpoint if exported_images == images_seen else None)
            meters, meter_steps = meters.zero_(), 0
            pace.overhead(time.monotonic() - overhead_started)
            tick_images, tick_started = images_seen, pace.elapsed_s
            if stopping:
                return TrainResult(checkpoint, images_seen, is_finished)

        return TrainResult(checkpoint, images_seen, is_finished=True)


def _is_finite(*networks: nn.Module) -> bool:
    return all(
        bool(torch.isfinite(tensor).all())
        for network in networks
        for tensor in network.state_dict().values()
    )


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)


def _place(network: nn.Module, device: torch.device) -> nn.Module:
    # Channels-last is how convolutions are computed anyway: 1.13x on a CPU, more on tensor cores.
    return network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _adam(network: nn.Module, config: TrainConfig) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), lr=config.lr, betas=(config.beta1, config.beta2))


def _grid_seeds(size_px: int) -> list[int]:
    return [GRID_SEED + i for i in range(grid_columns(size_px) ** 2)]


def _picture_feed(
    pictures: PictureSet,
    order: PictureOrder,
    device: torch.device,
    config: TrainConfig,
    flips: torch.Generator,
) -> Callable[[int], Tensor]:
    """A function giving the next `count` pictures: float (count, 3, size, size) in [-1, 1] on `device`."""
    on_device: Tensor | None = None
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory
        if pictures.images.nbytes <= DEVICE_SHARE_FOR_PICTURES * memory:
            on_device = torch.from_numpy(np.array(pictures.images)).to(device)

    def next_pictures(count: int) -> Tensor:
        indices = order.next(count)
        if on_device is not None:
            batch = on_device[indices.to(device)]
        else:
            batch = torch.from_numpy(pictures.images[indices.numpy()]).to(device)
        # (B, H, W, 3) seen as (B, 3, H, W) is already channels-last: no copy.
        real = batch.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        if config.flip:
            mirrored = torch.rand(count, generator=flips, device=device) < 0.5
            real = torch.where(mirrored[:, None, None, None], real.flip(3), real)
        return real

    return next_pictures


def _check_resumable(
    saved: dict[str, object], config: TrainConfig, pictures: PictureSet, display: Display
) -> None:
    """Say what changed since the state was saved; refuse what would not fit the saved weights."""
    saved_config = saved["config"]
    assert isinstance(saved_config, dict)
    check_fixed_settings(saved_config, config)
    for name, old, new in settings_that_differ(saved_config, config)[OnResume.ADOPTED]:
        display.note(f"changed since the last session: {name} {old} -> {new}")
    dataset = saved["dataset"]
    assert isinstance(dataset, dict)
    if dataset["fingerprint"] != pictures.fingerprint:
        display.note(
            f"the pictures changed since the last session ({dataset['name']} "
            f"{dataset['fingerprint'][:8]} -> {pictures.name} {pictures.fingerprint[:8]}): going on with the new ones"
        )


def _restore_optimiser(
    optimiser: torch.optim.Adam, saved: dict[str, object], config: TrainConfig
) -> None:
    optimiser.load_state_dict(saved)
    for (
        group
    ) in optimiser.param_groups:  # a changed --lr is adopted, not overwritten by the old one
        group["lr"], group["betas"] = config.lr, (config.beta1, config.beta2)


def _restore_stream(
    stream: torch.Generator,
    saved: dict[str, object],
    device: torch.device,
    seed: int,
    display: Display,
) -> None:
    if saved["device"] == device.type:
        assert isinstance(saved["state"], Tensor)
        stream.set_state(saved["state"])
    else:
        # Each device has a random stream of its own kind; beginning at the seed would repeat the z's.
        stream.manual_seed(seed + 1)
        display.note(
            f"moved from {saved['device']} to {device.type}: the resumed run is not bit-identical"
        )


def _forget_later_stats(path: Path, images_seen: int) -> None:
    """Drop the lines of ticks whose state was never saved (killed in between); they will come again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8").splitlines():
        try:
            if round(json.loads(line)["kimg"] * 1000) <= images_seen:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue  # a line cut short by the kill
    write_atomically(path, lambda file: file.write("".join(kept).encode()))

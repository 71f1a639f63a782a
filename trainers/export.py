"""Averaged generator -> `checkpoints/<run>-<kimg>/`, visible only once it is whole."""

from __future__ import annotations

import hashlib
import re
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path

import safetensors.torch
import torch
from PIL import Image
from torch import nn

from trainers.config import TrainConfig
from trainers.data.cache import PictureSet
from trainers.data.split import held_out_indices
from trainers.errors import CheckpointRefused, StorageError
from trainers.files import fsync_folder, why_not_written, write_atomically
from trainers.manifest import (
    MANIFEST_FILE,
    MAX_DOUBT,
    SAMPLES_FILE,
    WEIGHTS_FILE,
    DatasetFacts,
    Manifest,
    checkpoint_name,
    checkpoints_of_run,
    read_manifest,
)
from trainers.samples import png_bytes


def export_checkpoint(
    generator: nn.Module,
    grid: Image.Image,
    config: TrainConfig,
    pictures: PictureSet,
    images_seen: int,
    checkpoints: Path,
    is_best: bool = False,
    doubt: str = "",
) -> Path:
    """Write the checkpoint in a hidden folder, flush everything, rename it into place.

    `generator` is in inference mode. `doubt` is what the guard says against it. Exporting the same weights
    under the same name again changes nothing but a doubt that is another by now; other weights under that
    name get the next free name, and so do the best ones where something was exported since: the best is to be
    the run's latest. Raises StorageError.
    """
    kimg = images_seen / 1000
    # Contiguous: a checkpoint must not depend on the memory layout that was quickest to train in.
    tensors = {name: t.detach().cpu().contiguous() for name, t in generator.state_dict().items()}
    weights = safetensors.torch.save(tensors)
    sha256 = hashlib.sha256(weights).hexdigest()
    folder = _free_name(checkpoints, checkpoint_name(config.run, kimg, is_best), sha256, is_best)
    doubt = doubt[:MAX_DOUBT]
    if folder.exists():
        _note_doubt(folder, doubt)
        return folder
    num_held_out = len(held_out_indices(pictures.images, config.holdout))
    manifest = Manifest(
        format_version=1,
        name=folder.name,
        run=config.run,
        kimg=kimg,
        created_at=datetime.now(UTC),
        arch=config.arch,
        size=config.size,
        z_dim=config.z_dim,
        width=config.width,
        blocks=config.blocks,
        upsampling=config.upsampling,
        attention=config.attention,
        multi_scale=config.multi_scale,
        is_conditional=config.classes,
        holdout=config.holdout,
        sha256=sha256,
        num_bytes=len(weights),
        seed=config.seed,
        dataset=DatasetFacts(
            name=pictures.name,
            fingerprint=pictures.fingerprint,
            num_pictures=len(pictures) - num_held_out,
            num_held_out=num_held_out,
            class_names=pictures.class_names,
        ),
        torch_version=str(torch.__version__),
        doubt=doubt,
    )
    building = checkpoints / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        building.mkdir(parents=True)
        write_atomically(building / WEIGHTS_FILE, lambda file: file.write(weights))
        write_atomically(building / SAMPLES_FILE, lambda file: file.write(png_bytes(grid)))
        write_atomically(building / MANIFEST_FILE, lambda file: file.write(manifest.to_json()))
        building.rename(folder)
        fsync_folder(checkpoints)
    except OSError as error:
        raise StorageError(
            f"could not write the checkpoint {folder}: {why_not_written(error)}. Free some space or fix "
            "the permissions and run the same command again."
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _note_doubt(folder: Path, doubt: str) -> None:
    """The last verdict counts. Raises StorageError; the manifest is then what it was."""
    manifest = read_manifest(folder)
    if manifest.doubt != doubt:
        judged = manifest.model_copy(update={"doubt": doubt})
        write_atomically(folder / MANIFEST_FILE, lambda file: file.write(judged.to_json()))


def sweep_exports(checkpoints: Path, run: str) -> None:
    """Remove what a killed export of this run left behind. Only for the holder of the run's lock."""
    unfinished = re.compile(
        rf"\.{re.escape(run)}-\d{{6,}}(\.\d{{1,3}})?(-best)?(-\d+)?\.[0-9a-f]{{8}}\.tmp"
    )
    for leftover in checkpoints.glob(".*.tmp"):
        if unfinished.fullmatch(leftover.name):
            shutil.rmtree(leftover, ignore_errors=True)


def _free_name(checkpoints: Path, name: str, sha256: str, must_be_latest: bool) -> Path:
    """`name`, or the first of `name`-2, `name`-3, … that is free or already holds these weights."""
    folder, number = checkpoints / name, 1
    while folder.exists():
        try:
            holding = read_manifest(folder)
            is_it = holding.sha256 == sha256
            if is_it and not (must_be_latest and _is_overtaken(holding, checkpoints)):
                return folder
        except CheckpointRefused:
            pass  # something else has that name; it is not ours to remove
        number += 1
        folder = checkpoints / f"{name}-{number}"
    return folder


def _is_overtaken(manifest: Manifest, checkpoints: Path) -> bool:
    """Whether the same run exported something else after it."""
    latest = checkpoints_of_run(manifest.run, checkpoints)[:1]
    return any(other.created_at > manifest.created_at for _, other in latest)

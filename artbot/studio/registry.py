"""Which generators there are, which can be trusted, which is the latest. Loads no network.

A generator that is used is *kept*: a private copy of the very bytes whose sha256 was checked, in
`works/generators/<sha256>/`. Rendering reads only that copy, so a trainer, a file sync or a clean-up
in `checkpoints/` can neither change a picture nor make one irreproducible.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artbot.errors import NoCheckpoint
from artbot.files import fsync_folder, write_atomically
from trainers.errors import CheckpointRefused
from trainers.header import read_header
from trainers.manifest import (
    MANIFEST_FILE,
    WEIGHTS_FILE,
    Manifest,
    copy_verified_weights,
    read_manifest,
)
from trainers.networks import architecture_names

LATEST = "latest"


@dataclass(frozen=True)
class CheckpointEntry:
    """A folder in checkpoints/: usable as far as its manifest goes, or refused."""

    folder: Path
    manifest: Manifest | None
    refusal: str | None
    """Why it cannot be used, None if its manifest is in order."""


def list_checkpoints(checkpoints: Path) -> list[CheckpointEntry]:
    """Every checkpoint folder, the latest first, those without a usable manifest last.

    Hidden folders are exports in the making and are not looked at.
    """
    entries = [
        _read_entry(folder)
        for folder in (checkpoints.iterdir() if checkpoints.is_dir() else ())
        if folder.is_dir() and not folder.name.startswith(".")
    ]
    usable = [entry for entry in entries if entry.manifest]
    usable.sort(key=_age, reverse=True)
    return usable + sorted((e for e in entries if not e.manifest), key=lambda e: e.folder.name)


def verify(entry: CheckpointEntry) -> str | None:
    """Read the whole checkpoint; the reason it is refused, or None."""
    if entry.manifest is None:
        return entry.refusal
    try:
        _check_architecture(entry.manifest)
        copy_verified_weights(entry.folder, entry.manifest, destination=None)
        read_header(entry.folder)
    except CheckpointRefused as refused:
        return str(refused)
    return None


def choose(checkpoints: Path, wanted: str) -> Iterator[CheckpointEntry]:
    """Checkpoints to try, best first: all from the latest on for LATEST, else the one of that name.

    Raises NoCheckpoint when there is nothing to try.
    """
    entries = list_checkpoints(checkpoints)
    if wanted != LATEST:
        named = [entry for entry in entries if entry.folder.name == wanted]
        if not named:
            raise NoCheckpoint(f"checkpoint {wanted!r} is not in {checkpoints}")
        return iter(named)
    if not entries:
        raise NoCheckpoint(
            f"no checkpoint in {checkpoints}: train one with `artbot train --dataset NAME`"
        )
    return iter(entries)


def keep(entry: CheckpointEntry, generators: Path) -> Path:
    """The private copy of a checkpoint, made now or before. Its header can be believed; it is not loaded.

    Raises WeightsRefused (the header), CheckpointRefused, OSError (the copy cannot be written).
    """
    if entry.manifest is None:
        raise CheckpointRefused(entry.refusal or "no manifest")
    _check_architecture(entry.manifest)
    # The original is read in any case: a damaged checkpoint is reported even if a good copy exists.
    kept = generators / entry.manifest.sha256
    if kept.exists():
        copy_verified_weights(entry.folder, entry.manifest, destination=None)
        try:
            return open_kept(entry.manifest.sha256, generators)
        except CheckpointRefused:  # the copy was damaged; the original is whole
            shutil.rmtree(kept)
    building = generators / f".{entry.manifest.sha256[:12]}.{uuid.uuid4().hex[:8]}.tmp"
    building.mkdir(parents=True)
    try:
        copy_verified_weights(entry.folder, entry.manifest, building / WEIGHTS_FILE)
        read_header(building)
        write_atomically(building / MANIFEST_FILE, entry.manifest.to_json())
        building.rename(kept)
        fsync_folder(generators)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return kept


def open_kept(sha256: str, generators: Path) -> Path:
    """The kept generator of that sha256, checked again. Raises CheckpointRefused."""
    folder = generators / sha256
    manifest = read_manifest(folder)
    if manifest.sha256 != sha256:
        raise CheckpointRefused(f"{folder} holds another generator ({manifest.sha256[:12]}…)")
    copy_verified_weights(folder, manifest, destination=None)
    return folder


def _check_architecture(manifest: Manifest) -> None:
    """Said without starting a child, and not held against the weights: a later artbot may know it."""
    if manifest.arch not in architecture_names():
        raise CheckpointRefused(
            f"its architecture {manifest.arch!r} is not known to this artbot: "
            f"it knows {', '.join(architecture_names())}"
        )


def _read_entry(folder: Path) -> CheckpointEntry:
    try:
        manifest = read_manifest(folder)
    except CheckpointRefused as refused:
        return CheckpointEntry(folder, None, str(refused))
    if manifest.name != folder.name:
        return CheckpointEntry(
            folder, None, f"{MANIFEST_FILE} calls it {manifest.name!r}: renamed or copied"
        )
    return CheckpointEntry(folder, manifest, None)


def _age(entry: CheckpointEntry) -> tuple[float, float, str]:
    assert entry.manifest is not None
    return (entry.manifest.created_at.timestamp(), entry.manifest.kimg, entry.manifest.name)

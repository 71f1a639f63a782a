"""Which generators there are, which can be trusted, which is the latest. Loads no network.

A generator that is used is *kept*: a private copy of the very bytes whose sha256 was checked, in
`works/generators/<sha256>/`. Rendering reads only that copy, so a trainer, a file sync or a clean-up
in `checkpoints/` can neither change a picture nor make one irreproducible.

The same weights under another name are the same generator; read as another architecture, or with other
classes, they are another one (`identity_of`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from artbot.domain.text import is_plain, plain
from artbot.errors import NoCheckpoint
from artbot.files import fsync_folder, make_folder, sha256_of_file, write_atomically
from trainers.errors import CheckpointRefused, did_you_mean
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
MAX_NAME = 200


@dataclass(frozen=True)
class CheckpointEntry:
    """A folder in checkpoints/: usable as far as its manifest goes, or refused."""

    folder: Path
    manifest: Manifest | None
    refusal: str | None
    """Why it cannot be used, None if its manifest is in order."""

    @property
    def name(self) -> str:
        """Its folder's, to be shown: whoever made the folder chose it."""
        return plain(self.folder.name)

    @property
    def facts(self) -> str:
        """`64 px, learned from 384 pictures of flowers, 12 kimg`; empty without a usable manifest."""
        if self.manifest is None:
            return ""
        return (
            f"{self.manifest.size} px, learned from {self.manifest.learned_from}, "
            f"{self.manifest.kimg:g} kimg" + (f", {self.doubt}" if self.doubt else "")
        )

    @property
    def doubt(self) -> str:
        """`too short to be judged`: what the manifest's doubt says before its colon; empty without one."""
        said = self.manifest.doubt if self.manifest else ""
        return said.partition(":")[0] or said


class GeneratorLost(CheckpointRefused):
    """Nothing will paint with it again: its copy is damaged, and no whole original is left."""


def identity_of(manifest: Manifest) -> str:
    """Hex digest of the weights and of what painting takes from the manifest besides: all that makes a
    seed's picture the one it is."""
    facts = [manifest.sha256, manifest.arch, asdict(manifest.shape), manifest.class_names]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


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


def choose(checkpoints: Path, wanted: str, dataset: str | None = None) -> Iterator[CheckpointEntry]:
    """Checkpoints to try, best first: all from the latest without doubt on for LATEST, those with a doubt
    last; else the one of that name; of those that learned from `dataset`, if one is named.

    Raises NoCheckpoint when there is nothing to try.
    """
    entries = list_checkpoints(checkpoints)
    if wanted != LATEST:
        named = [entry for entry in entries if entry.folder.name == wanted]
        if not named:
            raise NoCheckpoint(
                f"checkpoint {wanted!r}, which the schedule asks for, is not in {checkpoints}. "
                + did_you_mean(wanted, [e.name for e in entries], "`artbot checkpoints` lists them")
            )
        return iter(named)
    if not entries:
        raise NoCheckpoint(
            f"no checkpoint in {checkpoints}: train one with `artbot train --dataset NAME`"
        )
    if dataset is not None:
        known = {entry.manifest.dataset.name for entry in entries if entry.manifest}
        if dataset not in known:
            meant = did_you_mean(dataset, known, otherwise="")
            raise NoCheckpoint(
                f"no checkpoint in {checkpoints} learned from {dataset!r}, which the schedule asks for; there "
                f"are some of {', '.join(sorted(known)) or 'no data set'}. {f'{meant} Else train' if meant else 'Train'} "
                f"one with `artbot train --dataset {dataset}`"
            )
        entries = [e for e in entries if not e.manifest or e.manifest.dataset.name == dataset]
    return iter(sorted(entries, key=lambda e: e.manifest is None or bool(e.doubt)))


def is_later(entry: CheckpointEntry, other: CheckpointEntry) -> bool:
    """Whether it was made after the other one; both have a usable manifest."""
    return _age(entry) > _age(other)


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
        if _is_kept(entry.manifest, generators):
            return kept
        shutil.rmtree(kept)  # the copy was damaged; the original is whole
    building = generators / f".{entry.manifest.sha256[:12]}.{uuid.uuid4().hex[:8]}.tmp"
    make_folder(generators)
    building.mkdir()
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


def is_damaged(sha256: str, generators: Path) -> bool:
    """Whether the kept weights were read to their end and are not what they were. What cannot be read now
    may be whole."""
    try:
        return sha256_of_file(generators / sha256 / WEIGHTS_FILE) != sha256
    except OSError:
        return False


def _is_kept(manifest: Manifest, generators: Path) -> bool:
    """Whether that very generator is kept, and whole."""
    try:
        kept = read_manifest(open_kept(manifest.sha256, generators))
    except CheckpointRefused:
        return False
    return identity_of(kept) == identity_of(manifest)


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
    if fault := _fault_in_names(manifest):
        return CheckpointEntry(folder, None, f"{MANIFEST_FILE}: {fault}")
    if manifest.name != folder.name:
        return CheckpointEntry(
            folder, None, f"{MANIFEST_FILE} calls it {manifest.name!r}: renamed or copied"
        )
    return CheckpointEntry(folder, manifest, None)


def _fault_in_names(manifest: Manifest) -> str | None:
    """What strangers may have written, and people, drafts and receivers get to read."""
    names = {
        "run": manifest.run,
        "arch": manifest.arch,
        "upsampling": manifest.upsampling,
        "torch_version": manifest.torch_version,
        "doubt": manifest.doubt,
        "dataset.name": manifest.dataset.name,
        **{f"dataset.class_names.{i}": n for i, n in enumerate(manifest.dataset.class_names)},
    }
    for where, name in names.items():
        if where != "doubt" and len(name) > MAX_NAME:
            return f"{where}: longer than {MAX_NAME} characters"
        if not is_plain(name):
            return f"{where}: {name!a} holds control characters"
    return None


def _age(entry: CheckpointEntry) -> tuple[float, float, str]:
    assert entry.manifest is not None
    return (entry.manifest.created_at.timestamp(), entry.manifest.kimg, entry.manifest.name)

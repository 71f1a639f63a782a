"""What an exported generator says about itself: `manifest.json`. Imports no torch.

A checkpoint is a folder

    checkpoints/<run>-<kimg>/
        generator.safetensors   weights of the averaged generator
        manifest.json           this file's Manifest
        samples.png             a grid, to be looked at

that appears under its final name in one rename. Whoever reads it trusts nothing: not the manifest
until it parses, not the weights until their sha256 is the manifest's, and then not what their header
says (`trainers.header`). What is refused, in which order, and why: docs/checkpoints.md.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from trainers.errors import CheckpointRefused, SettingsError, did_you_mean
from trainers.networks import Shape
from trainers.shape import SIZES_PX

FORMAT_VERSION = 1
WEIGHTS_FILE = "generator.safetensors"
MANIFEST_FILE = "manifest.json"
SAMPLES_FILE = "samples.png"
MAX_MANIFEST_BYTES = 1_000_000
MAX_WEIGHTS_BYTES = 4_000_000_000
MAX_DOUBT = 1000

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class DatasetFacts(_Part):
    """The pictures a generator learned from."""

    name: str
    fingerprint: Sha256
    """sha256 over the files' names and bytes."""
    num_pictures: int
    """That it learned from; where `num_held_out` is None, together with those held out."""
    num_held_out: int | None = Field(default=None, ge=0)
    """Pictures of the same data set that it was never shown; None in checkpoints made before this was
    counted apart."""
    class_names: tuple[str, ...] = Field(default=(), strict=False)


class Manifest(_Part):
    """Facts of one checkpoint; unknown fields of later versions are ignored."""

    format_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)
    """The checkpoint's folder name."""
    run: str
    kimg: float = Field(ge=0, allow_inf_nan=False)
    """Thousands of pictures the discriminator has been shown."""
    created_at: AwareDatetime = Field(strict=False)
    arch: str = Field(max_length=100)
    size: int
    """Edge of the pictures, px."""
    z_dim: int = Field(ge=1, le=8192)
    """Length of the latent vector."""
    width: int = Field(ge=1, le=4096)
    blocks: int = Field(default=1, ge=1, le=2)
    upsampling: str = "transposed"
    attention: bool = False
    multi_scale: bool = False
    is_conditional: bool = False
    """Whether it paints by class; `dataset.class_names` then names the classes, in order."""
    holdout: float = Field(default=0.0, ge=0, le=0.5)
    """Share of the data set it was never shown (`trainers.data.split`)."""
    sha256: Sha256
    """Of generator.safetensors."""
    num_bytes: int = Field(ge=1, le=MAX_WEIGHTS_BYTES)
    """Length of generator.safetensors."""
    seed: int
    dataset: DatasetFacts
    torch_version: str
    doubt: str = Field(default="", max_length=MAX_DOUBT)
    """Why nobody can say that it paints well, in the guard's words: `too short to be judged: …`. Empty where
    nothing is held against it, where nobody watched, and in checkpoints made before this was noted."""

    @property
    def shape(self) -> Shape:
        return Shape(
            size=self.size,
            z_dim=self.z_dim,
            width=self.width,
            blocks=self.blocks,
            upsampling=self.upsampling,
            attention=self.attention,
            multi_scale=self.multi_scale,
            num_classes=len(self.class_names),
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes a picture can be asked for; none where it was trained without."""
        return self.dataset.class_names if self.is_conditional else ()

    @property
    def learned_from(self) -> str:
        """`384 pictures of flowers (51 held out)`."""
        pictures = f"{self.dataset.num_pictures} pictures of {self.dataset.name}"
        if self.dataset.num_held_out is None:
            return (
                f"{pictures} (about {self.holdout:.0%} of them held out)"
                if self.holdout
                else pictures
            )
        held_out = self.dataset.num_held_out
        return f"{pictures} ({held_out} held out)" if held_out else pictures

    def to_json(self) -> bytes:
        return self.model_dump_json(indent=2).encode() + b"\n"


def checkpoint_name(run: str, kimg: float, is_best: bool = False) -> str:
    """`flowers-64` at 120.5 kimg -> `flowers-64-000120.5`, at 120 -> `flowers-64-000120`.

    To the single picture, so that no two moments of a run have one name; sorted as text, a run's names
    are sorted by kimg. `is_best` marks one that is exported again at the end, because nothing later was
    better.
    """
    seen = f"{kimg:010.3f}".rstrip("0").rstrip(".")
    return f"{run}-{seen}" + ("-best" if is_best else "")


def class_for(seed: int, manifest: Manifest) -> str | None:
    """The class of a seed's picture where nobody asks for one; None if the generator knows none."""
    names = manifest.class_names
    return names[seed % len(names)] if names else None


def read_manifest(folder: Path) -> Manifest:
    """Parse `folder`/manifest.json. Raises CheckpointRefused with the reason."""
    with open_plain(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES) as file:
        # And no more, should it grow meanwhile.
        text = read_some(file, MAX_MANIFEST_BYTES, MANIFEST_FILE)
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or MANIFEST_FILE
        raise CheckpointRefused(f"{MANIFEST_FILE}: {where}: {first['msg']}") from error
    if manifest.is_conditional and not manifest.dataset.class_names:
        raise CheckpointRefused(f"{MANIFEST_FILE}: it paints by class, but names no classes")
    if manifest.size not in SIZES_PX:
        raise CheckpointRefused(f"{MANIFEST_FILE}: size {manifest.size} is none of {SIZES_PX}")
    return manifest


def find_checkpoint(typed: str, checkpoints: Path) -> Path:
    """The checkpoint's folder: its name in `checkpoints`, a path, or of a run its latest one whose weights
    are whole. Raises SettingsError."""
    places = (checkpoints / typed, Path(typed).expanduser()) if typed else ()
    for folder in places:
        if (folder / MANIFEST_FILE).is_file():
            return folder
    if typed and (of_run := checkpoints_of_run(Path(typed).name, checkpoints)):
        return next(
            (folder for folder, manifest in of_run if _is_whole(folder, manifest)), of_run[0][0]
        )
    for folder in places:
        if folder.is_dir():
            return folder  # opening it tells what is missing
    known = sorted(
        path.parent.name
        for path in checkpoints.glob(f"*/{MANIFEST_FILE}")
        if not path.parent.name.startswith(".")
    )
    listed = f"The last ones there: {', '.join(known[-5:])}."
    none = "There are none there; --checkpoints-dir names another place."
    runs = {re.sub(r"-[\d.]+(-best)?$", "", name) for name in known}
    hint = did_you_mean(typed, [*known, *sorted(runs)], listed if known else none)
    raise SettingsError(f"there is no checkpoint {typed!r} in {checkpoints}. {hint}")


def checkpoints_of_run(run: str, checkpoints: Path) -> list[tuple[Path, Manifest]]:
    """Those whose manifest can be read, the latest first."""
    found = []
    for folder in checkpoints.glob("[!.]*"):
        try:
            manifest = read_manifest(folder)
        except CheckpointRefused:
            continue
        if manifest.run == run:
            found.append((folder, manifest))
    return sorted(found, key=lambda one: (one[1].created_at, one[1].kimg), reverse=True)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    try:
        copy_verified_weights(folder, manifest, None)
    except CheckpointRefused:
        return False
    return True


def copy_verified_weights(folder: Path, manifest: Manifest, destination: Path | None) -> None:
    """Read the weights once, check length and sha256, and keep the very bytes that were checked.

    `destination` gets a private copy (mode 0400, flushed to disk); None only checks. A trainer or a
    file sync may rewrite the original at any time, so nothing is ever loaded from it.
    Raises CheckpointRefused.
    """
    digest, num_bytes = hashlib.sha256(), 0
    with ExitStack() as files:
        source = files.enter_context(open_plain(folder / WEIGHTS_FILE, MAX_WEIGHTS_BYTES))
        target = None
        if destination is not None:
            descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            target = files.enter_context(open(descriptor, "wb"))
        length = os.fstat(source.fileno()).st_size
        if length != manifest.num_bytes:  # told without reading gigabytes
            raise _wrong_length(manifest, length)
        while num_bytes <= manifest.num_bytes and (
            chunk := read_some(source, 1 << 20, WEIGHTS_FILE)
        ):
            num_bytes += len(chunk)
            digest.update(chunk)
            if target:
                target.write(chunk)
        if target:
            target.flush()
            os.fsync(target.fileno())
    if num_bytes != manifest.num_bytes:
        raise _wrong_length(manifest, num_bytes)
    if digest.hexdigest() != manifest.sha256:
        raise CheckpointRefused(
            f"{WEIGHTS_FILE}: sha256 is {digest.hexdigest()[:12]}…, the manifest says {manifest.sha256[:12]}… "
            "(damaged or replaced)"
        )


def _wrong_length(manifest: Manifest, found_bytes: int) -> CheckpointRefused:
    found = "more" if found_bytes > manifest.num_bytes else f"{found_bytes:,}"
    return CheckpointRefused(
        f"{WEIGHTS_FILE}: {manifest.num_bytes:,} bytes expected, {found} found (truncated or replaced)"
    )


def read_some(file: BinaryIO, max_bytes: int, name: str) -> bytes:
    """Raises CheckpointRefused: a failing disk is the checkpoint's fault, not the copy's."""
    try:
        return file.read(max_bytes)
    except OSError as error:
        raise CheckpointRefused(f"{name} cannot be read ({error.strerror})") from error


def open_plain(path: Path, max_bytes: int) -> BinaryIO:
    """Open a plain file of bounded size: no link, no pipe that would hang, no device.

    Raises CheckpointRefused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise CheckpointRefused(f"{path.name} is missing") from error
    except OSError as error:
        raise CheckpointRefused(f"{path.name} cannot be opened ({error.strerror})") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
        os.close(descriptor)
        raise CheckpointRefused(f"{path.name} is not a plain file of at most {max_bytes:,} bytes")
    return open(descriptor, "rb")

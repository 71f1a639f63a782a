"""Read a WikiArt-style folder: flat or with class subfolders, any mixture of picture files.

A picture that cannot be used is reported with its reason and left out; it never ends the work.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from trainers.errors import DatasetError, in_one_line

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
UNREAD_SUFFIXES = frozenset(
    [
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".jp2",
        ".psd",
        ".psb",
        ".xcf",
        ".kra",
        ".ai",
        ".eps",
        ".svg",
        ".pdf",
        ".raw",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".raf",
    ]
)
"""Pictures too, of kinds that are not read: to be told of. What else lies beside pictures is not."""
PILLOW_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""JPEG opens MPO too, which many phones write under the name .jpg. All other decoders stay closed."""
MAX_PIXELS = 178_000_000
"""Larger pictures are left out: a decompression bomb would take the machine with it. Pillow itself
warns from half of this on and refuses a little above it."""
MIN_EDGE_PX = 16
"""Smaller pictures are icons and thumbnails' leftovers, not paintings."""
ALPHA_BACKGROUND = (255, 255, 255)
"""Transparent parts become white, as a viewer would show them."""


class PictureRejected(Exception):
    """Why one file is left out; the message is the reason shown to the person."""


@dataclass(frozen=True)
class PictureFile:
    """One candidate file, as listed, before anything is decoded."""

    relative: str
    """Path below the data set's folder, with forward slashes."""
    num_bytes: int
    modified_ns: int

    @property
    def class_name(self) -> str | None:
        """First-level subfolder (WikiArt's style or genre), None in a flat folder."""
        head, _, tail = self.relative.partition("/")
        return head if tail else None


def list_pictures(folder: Path) -> list[PictureFile]:
    """All picture files below `folder`, sorted by path; hidden files and folders are skipped.

    Links to folders are followed, each folder once. A subfolder that cannot be read stands in the
    list itself, to be rejected with the reason. Raises DatasetError if `folder` cannot be read.
    """
    return _list(folder, PICTURE_SUFFIXES)


def list_unread(folder: Path) -> list[PictureFile]:
    """Likewise those of kinds that are not read. Raises DatasetError if `folder` cannot be read."""
    files = _list(folder, UNREAD_SUFFIXES)
    # Without the subfolders that cannot be read, of which `list_pictures` tells.
    return [file for file in files if is_unread(file.relative)]


def is_unread(name: str) -> bool:
    return _suffix(name) in UNREAD_SUFFIXES


def told_unread(names: Collection[str]) -> str:
    """`2 files of kinds that are not read (.heic, .psd)`, of such files' names."""
    kinds = ", ".join(sorted({_suffix(name) for name in names}))
    if len(names) == 1:
        return f"1 file of a kind that is not read ({kinds})"
    return f"{len(names)} files of kinds that are not read ({kinds})"


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _list(folder: Path, suffixes: frozenset[str]) -> list[PictureFile]:
    found = []

    def on_error(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise DatasetError(f"cannot read {folder}: {error.strerror}.") from error
        found.append(PictureFile(Path(error.filename).relative_to(folder).as_posix(), 0, 0))

    visited = set()
    for root, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link that leads back
            folders[:] = []
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith(".") or _suffix(name) not in suffixes:
                continue
            path = Path(root, name)
            if not path.is_file():  # a dangling link, a folder called x.jpg
                continue
            status = path.stat()
            relative = path.relative_to(folder).as_posix()
            found.append(PictureFile(relative, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda file: file.relative)


def class_names_of(files: Sequence[PictureFile]) -> list[str]:
    """The subfolders they lie in, sorted."""
    return sorted({file.class_name for file in files if file.class_name})


def check_classes(dataset: str, class_names: Sequence[str], num_outside: int) -> None:
    """Raise DatasetError unless every picture has a class and there is something to tell apart."""
    if len(class_names) < 2:
        found = ", ".join(class_names) or "none"
        raise DatasetError(
            f"--classes: two subfolders with usable pictures are the least, {dataset} has {found}. "
            "Put each class into its own subfolder, or leave --classes out."
        )
    if num_outside:
        raise DatasetError(
            f"--classes: {num_outside} picture{'s' * (num_outside != 1)} of {dataset} outside any "
            "subfolder. Move them into one, or leave --classes out."
        )


def hash_picture(folder: Path, file: PictureFile) -> str:
    """sha256 of the file's bytes, hex; raises PictureRejected if it cannot be read."""
    try:
        with open(folder / file.relative, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise PictureRejected(f"cannot be read ({error.strerror})") from error


def decode_square(path: Path, size_px: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode, turn upright, flatten to RGB, crop the centre square, resize (Lanczos).

    Returns (uint8 array of shape (size_px, size_px, 3), (width, height) of the original in px).
    Raises PictureRejected with the reason.
    """
    try:
        if path.stat().st_size == 0:
            raise PictureRejected("is empty")
        with Image.open(path, formats=PILLOW_FORMATS) as opened:
            original_px = opened.size
            _check_dimensions(*original_px)
            # JPEG can decode at a half, a quarter or an eighth; twice the goal keeps Lanczos honest.
            opened.draft(None, (2 * size_px, 2 * size_px))
            upright = ImageOps.exif_transpose(opened)
            picture = ImageOps.fit(to_rgb(upright), (size_px, size_px), Image.Resampling.LANCZOS)
    except PictureRejected:
        raise
    except UnidentifiedImageError as error:
        raise PictureRejected("is not a picture, or of a kind that is not read") from error
    except Image.DecompressionBombError as error:
        raise PictureRejected(f"has more than {MAX_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise PictureRejected("needs more memory than there is") from error
    # Pillow's decoders raise whatever the damage leads them to.
    except Exception as error:
        raise PictureRejected(f"is damaged ({in_one_line(error)})") from error
    return np.asarray(picture, dtype=np.uint8), original_px


def to_rgb(picture: Image.Image) -> Image.Image:
    """RGB from any Pillow mode: alpha onto white, 16-bit and float grey scaled to 8 bits, CMYK converted."""
    if picture.mode.startswith("I;16") or picture.mode in ("I", "F"):
        # Pillow's own conversion clips at 255 instead of scaling.
        grey = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode != "F" else max(1.0, float(np.nanmax(grey)))
        return Image.fromarray(
            (np.clip(np.nan_to_num(grey) / top, 0, 1) * 255).round().astype(np.uint8)
        ).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        canvas = Image.new("RGBA", picture.size, (*ALPHA_BACKGROUND, 255))
        return Image.alpha_composite(canvas, picture).convert("RGB")
    return picture.convert("RGB")


def _check_dimensions(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise PictureRejected(f"has more than {MAX_PIXELS:,} pixels ({width}x{height})")
    if min(width, height) < MIN_EDGE_PX:
        raise PictureRejected(f"is too small ({width}x{height} px; {MIN_EDGE_PX} px is the least)")

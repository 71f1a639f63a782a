"""Decode a folder of pictures once, into one uint8 array on disk that every later run maps.

The array is named by the folder's fingerprint (its files' names and bytes), so an edited folder
never meets an old array. Pictures are never held as floats: 20,000 at 256 px are 3.9 GB as bytes,
15.7 GB as float32.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import shutil
import statistics
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from trainers.data import folder as pictures
from trainers.data.folder import PictureFile, PictureRejected
from trainers.data.sources import Progress
from trainers.errors import DatasetError, StorageError
from trainers.files import fsync_folder, why_not_written, write_atomically

MIN_PICTURES = 16
"""Fewer cannot be learned from, only copied."""
PREPROCESSING_VERSION = 1
"""Part of the array's name: raise it whenever `decode_square` would give other pixels."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Rejection:
    """A picture that was left out."""

    relative: str
    reason: str


@dataclass(frozen=True)
class PictureSet:
    """The decoded pictures of one folder at one size."""

    name: str
    """The folder's name, for people."""
    fingerprint: str
    """sha256 over every usable file's name and bytes, hex."""
    images: np.ndarray
    """uint8, shape (N, size, size, 3), memory-mapped read-only."""
    class_names: tuple[str, ...]
    """Subfolder names, sorted; empty for a flat folder."""
    class_indices: np.ndarray
    """int64, shape (N,): index into class_names, -1 for a picture outside any subfolder."""
    rejections: tuple[Rejection, ...]
    num_upscaled: int
    """Pictures whose short side is smaller than the size they were brought to."""
    upscaling: tuple[float, float] | None = None
    """How many times these were enlarged: the median and the most. None where there are none, or where
    the cache is older than this."""
    folder: Path | None = None
    """Where they lie; None for pictures made in memory."""
    files: tuple[str, ...] = ()
    """Their names below `folder`, for people; none for pictures made in memory."""

    def __len__(self) -> int:
        return len(self.images)


def load_pictures(
    folder: Path, size_px: int, cache: Path, on_progress: Progress | None = None
) -> PictureSet:
    """The folder's pictures as a uint8 array, decoded now or mapped from an earlier run.

    Raises DatasetError when fewer than MIN_PICTURES are usable, StorageError on a full disk.
    """
    files = pictures.list_pictures(folder)
    unread = [file.relative for file in pictures.list_unread(folder)]
    if not files:
        kinds = " ".join(sorted(pictures.PICTURE_SUFFIXES))
        others = f"; there are {pictures.told_unread(unread)}" if unread else ""
        raise DatasetError(
            f"{folder} holds no pictures (looked for {kinds}, in it and its subfolders{others}). "
            "Put your paintings there, or give another --dataset."
        )
    try:
        cache.mkdir(parents=True, exist_ok=True)
        hashes, unreadable = _content_hashes(folder, files, cache)
        key = _sha256_of(
            [
                f"{file.relative}\0{hashes[file.relative]}"
                for file in files
                if file.relative in hashes
            ]
        )
        array_folder = cache / f"{key[:20]}-{size_px}px-v{PREPROCESSING_VERSION}"
        if not _is_whole(array_folder):
            readable = [file for file in files if file.relative in hashes]
            with _building(cache):
                if not _is_whole(array_folder):  # another training may have just made it
                    _decode_all(folder, readable, size_px, array_folder, on_progress)
        unreadable += [Rejection(name, "is of a kind that is not read") for name in unread]
        return _open_cached(array_folder, folder, key, unreadable)
    except OSError as error:
        raise StorageError(
            f"could not write the picture cache {cache}: {why_not_written(error)}. "
            "Free some space or choose another place (cache in [paths], or --cache-dir)."
        ) from error


@contextmanager
def _building(cache: Path) -> Iterator[None]:
    """One builder at a time; what a killed one left behind is swept away."""
    with open(cache / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in cache.glob(".*.tmp"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
        yield


def _is_whole(array_folder: Path) -> bool:
    """A cache folder is renamed into place when finished; a wrong-sized array was tampered with."""
    try:
        index = json.loads((array_folder / "index.json").read_text("utf-8"))
        num_bytes: int = math.prod(index["shape"])
        return (array_folder / "images.u8").stat().st_size == num_bytes
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _open_cached(
    array_folder: Path, folder: Path, fingerprint: str, unreadable: list[Rejection]
) -> PictureSet:
    """Map a finished array. Files that could not be read today are no part of its fingerprint, so
    they are not in its index either."""
    index = json.loads((array_folder / "index.json").read_text("utf-8"))
    rejections = (*unreadable, *(Rejection(**entry) for entry in index["rejections"]))
    kept = index["shape"][0]
    if kept < MIN_PICTURES:
        examples = "; ".join(f"{r.relative} {r.reason}" for r in rejections[:3])
        more = " …" if len(rejections) > 3 else ""
        raise DatasetError(
            f"{folder} has {kept} usable picture{'s' * (kept != 1)}; {MIN_PICTURES} are the least. "
            + (f"{len(rejections)} left out: {examples}{more}" if rejections else "Add more.")
        )
    class_names = tuple(sorted({name for name in index["classes"] if name}))
    return PictureSet(
        name=for_people(folder.resolve().name),
        fingerprint=fingerprint,
        images=np.memmap(array_folder / "images.u8", np.uint8, "r", shape=tuple(index["shape"])),
        class_names=tuple(for_people(name) for name in class_names),
        class_indices=np.array(
            [class_names.index(name) if name else -1 for name in index["classes"]], dtype=np.int64
        ),
        rejections=rejections,
        num_upscaled=index["num_upscaled"],
        upscaling=tuple(index["upscaling"]) if index.get("upscaling") else None,
        folder=folder,
        files=tuple(map(for_people, index["files"])),
    )


def _decode_all(
    folder: Path,
    files: list[PictureFile],
    size_px: int,
    array_folder: Path,
    on_progress: Progress | None,
) -> None:
    """Fill a temporary folder with the pictures and their index, then rename it into place."""

    def decode(file: PictureFile) -> tuple[np.ndarray, tuple[int, int]] | Rejection:
        try:
            return pictures.decode_square(folder / file.relative, size_px)
        except PictureRejected as rejected:
            return Rejection(file.relative, str(rejected))

    building = array_folder.with_name(f".{array_folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    building.mkdir()
    try:
        kept: list[PictureFile] = []
        rejections: list[Rejection] = []
        factors: list[float] = []
        # Plain writes: a full disk then raises, where a writable memory map would kill the process.
        with open(building / "images.u8", "wb") as array, warnings.catch_warnings():
            # Pillow warns of odd metadata and of large pictures; `decode_square` decides both. Said
            # here, once, because Python's warning filters are shared by all threads.
            warnings.simplefilter("ignore")
            for done, (file, decoded) in enumerate(_in_threads(decode, files), start=1):
                if isinstance(decoded, Rejection):
                    rejections.append(decoded)
                else:
                    image, original_px = decoded
                    array.write(image.tobytes())
                    if min(original_px) < size_px:
                        factors.append(size_px / min(original_px))
                    kept.append(file)
                if on_progress:
                    on_progress(done, len(files))
            array.flush()
            os.fsync(array.fileno())
        index = {
            "shape": [len(kept), size_px, size_px, 3],
            "files": [file.relative for file in kept],
            "classes": [file.class_name for file in kept],
            "rejections": [vars(rejection) for rejection in rejections],
            "num_upscaled": len(factors),
            "upscaling": [statistics.median(factors), max(factors)] if factors else None,
        }
        write_atomically(building / "index.json", lambda f: f.write(json.dumps(index).encode()))
        if array_folder.exists():
            shutil.rmtree(array_folder)
        building.rename(array_folder)
        fsync_folder(array_folder.parent)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _in_threads(
    work: Callable[[PictureFile], _T], files: list[PictureFile]
) -> Iterator[tuple[PictureFile, _T]]:
    """`work` on every file, in order, on all cores (Pillow decodes without the interpreter lock).

    A few files ahead at a time: finished pictures must not pile up in memory.
    """
    waiting: deque[tuple[PictureFile, Future[_T]]] = deque()
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            for file in files:
                waiting.append((file, pool.submit(work, file)))
                if len(waiting) > 4 * (os.cpu_count() or 1):
                    done, future = waiting.popleft()
                    yield done, future.result()
            while waiting:
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _content_hashes(
    folder: Path, files: list[PictureFile], cache: Path
) -> tuple[dict[str, str], list[Rejection]]:
    """sha256 of every readable file by relative path, and those that cannot be read.

    Files whose size and time of change stand in the folder's ledger are not read again.
    """
    ledger_path = cache / f"ledger-{_sha256_of([str(folder.resolve())])[:20]}.json"
    ledger: Any = {}
    with suppress(OSError, ValueError):  # a lost ledger costs one reading of the folder
        ledger = json.loads(ledger_path.read_text("utf-8"))
    known = ledger if isinstance(ledger, dict) else {}

    def hash_once(file: PictureFile) -> str | Rejection:
        match known.get(file.relative):
            case [file.num_bytes, file.modified_ns, str(known_hash)]:
                return known_hash
        try:
            return pictures.hash_picture(folder, file)
        except PictureRejected as rejected:
            return Rejection(file.relative, str(rejected))

    hashes: dict[str, str] = {}
    unreadable: list[Rejection] = []
    for file, result in _in_threads(hash_once, files):
        if isinstance(result, Rejection):
            unreadable.append(result)
        else:
            hashes[file.relative] = result
    fresh = {
        f.relative: [f.num_bytes, f.modified_ns, hashes[f.relative]]
        for f in files
        if f.relative in hashes
    }
    if fresh != ledger:
        write_atomically(ledger_path, lambda f: f.write(json.dumps(fresh).encode()))
    return hashes, unreadable


def for_people(name: str) -> str:
    """A file name as text: old archives hold bytes that are no UTF-8, which no manifest can."""
    return os.fsencode(name).decode("utf-8", "replace")


def _sha256_of(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

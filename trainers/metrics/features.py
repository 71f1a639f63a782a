"""How a frozen network sees pictures: the numbers that all metrics are made of.

The judge is EfficientNet-Lite2 for every generator, so that numbers can be compared, and never the
network a discriminator used: whoever was trained to please Lite0 is not judged by Lite0. A metric's
value depends on the judge and on every step from a picture's bytes to its input (Parmar et al. 2022,
"On aliased resizing"): both are named in every result and in the key of every cached feature.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.data.cache import PREPROCESSING_VERSION as DECODING_VERSION
from trainers.errors import SettingsError, StorageError, is_out_of_memory
from trainers.files import write_atomically
from trainers.metrics import JUDGES
from trainers.pretrained.efficientnet_lite import NUM_FEATURES, VARIANTS, load_efficientnet_lite

PREPROCESSING_VERSION = 1
"""Raise it whenever the same picture would be shown to the judge with other values."""
BATCH_ON_CPU = 2
"""What fits into the processor's cache: 16 at a time take half as long again."""
BATCH_ON_GPU = 64
STORE_EVERY_S = 60.0
"""What a kill may cost of the work on a large set."""

Progress = Callable[[int, int], None]
"""Called with (done, total) pictures."""


def check_judge(judge: str, arch: str | None) -> None:
    """Raise SettingsError for a judge that the architecture's discriminator learned from."""
    if judge == "lite0" and arch == "projected":
        raise SettingsError(
            "--judge lite0: a `projected` generator was trained to please EfficientNet-Lite0, which "
            "would flatter it. Use --judge lite2."
        )


class Judge:
    """A frozen network and the one way pictures are shown to it."""

    def __init__(self, name: str = JUDGES[0], device: str = "cpu") -> None:
        """Raises TrainerError where the network's weights are not installed."""
        self.name = name
        self._device = torch.device(device)
        self.batch = BATCH_ON_CPU if self._device.type == "cpu" else BATCH_ON_GPU
        """Pictures at a time: only a matter of speed."""
        network = load_efficientnet_lite(name).fold_norms()
        # Channels-last: half the time on a processor, most of all in the depthwise convolutions.
        self._network = network.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._edge_px = network.resolution_px

    @property
    def preprocessing(self) -> str:
        """What is done to a picture before the judge sees it, as it stands in every result."""
        return _preprocessing(self.name)

    def features(self, pictures: np.ndarray, on_progress: Progress | None = None) -> Tensor:
        """uint8 pictures (N, S, S, 3) -> float32 features (N, 1280) on the CPU.

        Full float32 on every device: TensorFloat-32 would make the device part of the result. Where
        memory runs out, half as many pictures are looked at together from then on.
        """
        seen = torch.empty(len(pictures), NUM_FEATURES)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False),
        ):
            done = 0
            while done < len(pictures):
                part = torch.from_numpy(np.ascontiguousarray(pictures[done : done + self.batch]))
                try:
                    shown = as_input(part.to(self._device), self._edge_px)
                    seen[done : done + len(part)] = self._network.features(shown).cpu()
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error) or self.batch == 1:
                        raise
                    self.batch //= 2
                    continue
                done += len(part)
                if on_progress:
                    on_progress(done, len(pictures))
        return seen


def as_input(pictures: Tensor, edge_px: int) -> Tensor:
    """uint8 (B, S, S, 3) -> float (B, 3, edge, edge) in [-1, 1].

    Resized as Pillow's BICUBIC does: every pixel counts where pictures are reduced, first the rows and
    then the columns, with 8 bits after each. A test holds the two against each other.
    """
    shown = pictures.permute(0, 3, 1, 2).float()
    if shown.shape[-1] != edge_px:
        shown = _resized(shown, (shown.shape[-2], edge_px))
        shown = _resized(shown, (edge_px, edge_px))
    return shown.div(127.5).sub_(1).contiguous(memory_format=torch.channels_last)


def _resized(shown: Tensor, size: tuple[int, int]) -> Tensor:
    resized = F.interpolate(shown, size, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp_(0, 255).round_()


def cached_features(
    judge: Judge,
    images: np.ndarray,
    indices: np.ndarray,
    fingerprint: str,
    cache: Path,
    on_progress: Progress | None = None,
) -> Tensor:
    """Features of `images[indices]`, float32 (len(indices), 1280): each is computed once, ever.

    `images` are all pictures of the data set with this fingerprint, uint8 (N, S, S, 3). The cache
    holds one row for each of them, filled as they are asked for, so that splits and subsets share
    the work. It is a convenience: damaged or unwritable, it costs time and nothing else.
    """
    path = _cache_path(judge.name, judge.preprocessing, images, fingerprint, cache)
    rows = _read_rows(path, len(images))
    missing = np.unique(indices[np.isnan(rows[indices, 0])])
    step = 16 * judge.batch
    done, stored = 0, 0
    stored_at = time.monotonic()
    try:
        for start in range(0, len(missing), step):
            part = missing[start : start + step]
            rows[part] = judge.features(images[part]).numpy()
            done += len(part)
            if on_progress:
                on_progress(done, len(missing))
            if time.monotonic() - stored_at > STORE_EVERY_S:
                _store_rows(path, rows)
                stored, stored_at = done, time.monotonic()
    finally:  # also when it is interrupted
        if done > stored:
            _store_rows(path, rows)
    return torch.from_numpy(rows[indices])


def num_missing(
    judge: str, images: np.ndarray, indices: np.ndarray, fingerprint: str, cache: Path
) -> int:
    """How many of `images[indices]` the judge of this name has not yet looked at."""
    with suppress(OSError, ValueError, EOFError):
        path = _cache_path(judge, _preprocessing(judge), images, fingerprint, cache)
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
        if rows.shape == (len(images), NUM_FEATURES):
            return int(np.isnan(rows[indices, 0]).sum())
    return len(indices)


def _cache_path(
    judge: str, preprocessing: str, images: np.ndarray, fingerprint: str, cache: Path
) -> Path:
    facts = (
        fingerprint,
        DECODING_VERSION,
        images.shape,
        judge,
        VARIANTS[judge].sha256,
        preprocessing,
    )
    key = hashlib.sha256(repr(facts).encode()).hexdigest()
    return cache / f"features-{judge}-{key[:20]}.npy"


def _preprocessing(judge: str) -> str:
    edge_px = VARIANTS[judge].resolution_px
    return f"bicubic-antialiased-{edge_px}px-8bit-v{PREPROCESSING_VERSION}"


def _read_rows(path: Path, num_pictures: int) -> np.ndarray:
    """float32 (N, 1280); a row of NaN has not been computed yet."""
    with suppress(OSError, ValueError, EOFError):
        rows = np.load(path, allow_pickle=False)
        if rows.shape == (num_pictures, NUM_FEATURES) and rows.dtype == np.float32:
            return np.array(rows)
    return np.full((num_pictures, NUM_FEATURES), np.nan, np.float32)


def _store_rows(path: Path, rows: np.ndarray) -> None:
    """Add what is new to what another process may have stored meanwhile; without room, do without."""
    with suppress(StorageError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.parent / "features.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for leftover in path.parent.glob(".features-*.tmp"):  # of a writer that was killed
                leftover.unlink(missing_ok=True)
            merged = np.where(np.isnan(rows), _read_rows(path, len(rows)), rows)
            write_atomically(path, lambda file: np.save(file, merged))

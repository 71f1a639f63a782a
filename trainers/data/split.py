"""Which pictures of a data set are kept aside: decided by its fingerprint, found again by anyone."""

from __future__ import annotations

import hashlib

import numpy as np

from trainers.errors import SettingsError

MIN_HELD_OUT = 16
"""Fewer say nothing about a generator: the metrics look at five neighbours of each."""


def held_out_indices(num_pictures: int, share: float, fingerprint: str) -> np.ndarray:
    """Indices of the pictures never trained on: int64, sorted, round(share * num_pictures) of them.

    The same for the same pictures on every machine, in training and in `artbot evaluate`; a smaller
    share holds out some of the same pictures. `share` 0 holds out none.

    Raises SettingsError where fewer than MIN_HELD_OUT would be held out.
    """
    if share == 0:
        return np.empty(0, np.int64)
    count = round(share * num_pictures)
    if count < MIN_HELD_OUT:
        raise SettingsError(
            f"--holdout {share:g} of {num_pictures} pictures keeps {count} aside; measuring needs "
            f"{MIN_HELD_OUT}. Choose --holdout 0 or a larger share."
        )
    return drawn(np.arange(num_pictures), count, fingerprint)


def drawn(indices: np.ndarray, count: int, fingerprint: str) -> np.ndarray:
    """`count` of the indices, or all if there are fewer: int64, sorted, always the same ones.

    Ranked by a hash, not by a random generator, whose stream a new version of a library may change.
    """

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{fingerprint}:{index}".encode()).digest()

    chosen = sorted(indices.tolist(), key=rank)[:count]
    return np.array(sorted(chosen), np.int64)

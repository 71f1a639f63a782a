"""Which pictures are held out: each by its own pixels, found again by anyone.

No picture's place depends on the others. Whoever adds some or takes some away moves none: what was
trained on is never measured with later, and copies of a picture stay on one side. The pixels are
those at the size learned, which is all that a cache keeps: at another size other pictures are held out.
"""

from __future__ import annotations

import hashlib
import weakref

import numpy as np

from trainers.errors import SettingsError

MIN_HELD_OUT = 16
"""Fewer say nothing about a generator: the metrics look at five neighbours of each."""
_PLACES = 2**64
_last: list[tuple[weakref.ref[np.ndarray], np.ndarray]] = []


def places(images: np.ndarray) -> np.ndarray:
    """Where each picture falls, uint64 (N,), evenly spread over the 64 bits: the beginning of the
    sha256 of its pixels.

    `images`: uint8 (N, S, S, 3). A hash, not a random generator, whose stream a new version of a
    library may change. Of the read-only array asked for last it is remembered: a GB takes a second.
    """
    if _last and _last[0][0]() is images:
        return _last[0][1]
    digests = (hashlib.sha256(picture.tobytes()).digest() for picture in images)
    where = np.array([int.from_bytes(digest[:8], "big") for digest in digests], np.uint64)
    if not images.flags.writeable:
        _last[:] = [(weakref.ref(images), where)]
    return where


def held_out_indices(images: np.ndarray, share: float) -> np.ndarray:
    """Indices of the pictures never trained on: int64, sorted; about `share` of them, 0 to 0.5.

    The same for the same pictures on every machine, in training and in `artbot evaluate`, and whatever
    other pictures there are; a smaller share holds out some of the same. `share` 0 holds out none.
    """
    return _below(places(images), share) if share else np.empty(0, np.int64)


def check_enough(num_held_out: int, share: float, num_pictures: int) -> None:
    """Raise SettingsError where a `share` above 0 holds out too few pictures to measure with."""
    if share and num_held_out < MIN_HELD_OUT:
        raise SettingsError(
            f"--holdout {share:g} of {num_pictures} pictures holds out {num_held_out}; measuring "
            f"needs {MIN_HELD_OUT}. Choose --holdout 0 or a larger share."
        )


def share_that_can_be_measured(images: np.ndarray, share: float) -> float:
    """`share`, or 0 where it would hold out too few: for who did not ask for it."""
    return share if len(held_out_indices(images, share)) >= MIN_HELD_OUT else 0.0


def looked_at(
    images: np.ndarray, share: float, max_real: int, max_training: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pictures to compare with, and of those to look through for copies.

    The first are held out, or any where `share` is 0; both int64, sorted, no more than are asked
    for, and nearly the same ones when some pictures come or go.
    """
    where = places(images)
    held_out = _below(where, share) if share else np.empty(0, np.int64)
    shown = np.setdiff1d(np.arange(len(images)), held_out)
    real = held_out if share else shown
    return _first(real, where, max_real), _first(shown, where, max_training)


def compared_with(images: np.ndarray, share: float) -> str:
    """Names the pictures that a generator is compared with: hex, another for others.

    Scores against one set say nothing about scores against another.
    """
    where = places(images)
    held_out = _below(where, share) if share else np.arange(len(images))
    return hashlib.sha256(np.sort(where[held_out]).tobytes()).hexdigest()


def _below(where: np.ndarray, share: float) -> np.ndarray:
    return np.flatnonzero(where < np.uint64(share * _PLACES)).astype(np.int64)


def _first(indices: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """The `count` of the indices whose pictures fall first, or all if there are fewer."""
    order = np.argsort(where[indices], kind="stable")
    return np.sort(indices[order[:count]])

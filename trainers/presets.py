"""Settings for people who did not choose any: per size and number of pictures."""

from __future__ import annotations

from typing import Any

BATCH_FOR_SIZE_PX = {32: 16, 64: 16, 128: 16, 256: 16, 512: 8}
"""Many small steps rather than few large ones: measured in docs/decisions/0006-small-batches.md."""


def budget_kimg(num_pictures: int) -> float:
    """How long to train when nobody said: more pictures bear more training before they are memorised."""
    for at_most, kimg in ((300, 300.0), (1_500, 800.0), (6_000, 1_500.0)):
        if num_pictures <= at_most:
            return kimg
    return 4_000.0


def preset(size: int, num_pictures: int) -> dict[str, Any]:
    """Values for the fields of TrainConfig that depend on the pictures."""
    return {"batch": BATCH_FOR_SIZE_PX[size], "kimg": budget_kimg(num_pictures)}

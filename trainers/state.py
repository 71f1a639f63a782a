"""Exact resume: everything the next step depends on, in one file that is replaced whole.

Networks, averaged generator, both optimisers, both random generators, the order of the pictures
and the clocks. A run with a budget in pictures (`kimg`), stopped anywhere and resumed, ends on the CPU
with the same weights, bit for bit, as one that was never stopped. With a budget in minutes it follows
the clock, and no two runs have the same: gamma, step size and augmentation go by the time that is
spent. So does the guard of any run whose ticks come by seconds (`tick_s`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from trainers.errors import ResumeRefused
from trainers.files import write_atomically

STATE_FILE = "state.pt"
BEST_FILE = "best.pt"
"""The state of the best tick so far: to go back to, and to export in the end."""
STATE_VERSION = 3


def save(run_folder: Path, state: dict[str, Any], name: str = STATE_FILE) -> None:
    """Raises StorageError; the state saved before is then still there."""
    write_atomically(
        run_folder / name, lambda file: torch.save({"version": STATE_VERSION, **state}, file)
    )


def load(run_folder: Path, name: str = STATE_FILE) -> dict[str, Any] | None:
    """The saved state with its tensors on the CPU, None if the run has none yet.

    Only tensors and plain values are unpickled. Raises ResumeRefused for a damaged file.
    """
    path = run_folder / name
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the damage leads torch to raise
        remedy = "to begin the run anew; its checkpoints stay"
        if name == BEST_FILE:
            remedy = "and run the same command again: it goes on from its last tick, the best from then on"
        raise ResumeRefused(
            f"{path} cannot be read ({type(error).__name__}). Move that file away {remedy}."
        ) from error
    if not isinstance(state, dict) or state.get("version") != STATE_VERSION:
        raise ResumeRefused(
            f"{path} was written by another version of artbot. Choose another name with --run."
        )
    return state

"""Standard FID (Heusel et al. 2017), by torch-fidelity, where its network's weights lie on this machine.

They are nobody's to ship and nothing here downloads them; torch-fidelity itself puts them there when
it is used with a connection. Where anything is missing, FID is said to be not measured and why: a
FID on other features, or on a few hundred pictures, would be a number that means something else.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

WEIGHTS_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""As torch-fidelity names it: the last eight digits begin the file's sha256."""
MIN_PICTURES = 2048
"""On each side: with fewer, the covariance of Inception's 2,048 features has not even full rank."""


@dataclass(frozen=True)
class Fid:
    """A standard FID, or why there is none."""

    value: float | None
    not_measured: str = ""


def why_not(num_generated: int, num_real: int) -> str:
    """Why FID cannot be measured for so many pictures on this machine; empty if it can."""
    if min(num_generated, num_real) < MIN_PICTURES:
        return (
            f"it needs {MIN_PICTURES:,} pictures on each side, here are {num_generated:,} generated "
            f"and {num_real:,} real ones"
        )
    if importlib.util.find_spec("torch_fidelity") is None:
        return "the package torch-fidelity is not installed"
    path = weights_path()
    if not path.is_file():
        return f"Inception's weights are not on this machine ({path})"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.stem.endswith(digest[:8]):
        return f"{path} is not the file it is called (its sha256 is {digest[:12]}…)"
    return ""


def standard_fid(generated: np.ndarray, real: np.ndarray, device: str) -> Fid:
    """Of uint8 pictures (M, S, S, 3) and (N, S, S, 3)."""
    if reason := why_not(len(generated), len(real)):
        return Fid(None, reason)
    fidelity: Any = importlib.import_module("torch_fidelity")
    measured = fidelity.calculate_metrics(
        input1=_Pictures(generated),
        input2=_Pictures(real),
        fid=True,
        cuda=device.startswith("cuda"),
        feature_extractor_weights_path=str(weights_path()),
        cache=False,
        save_cpu_ram=True,  # and no worker processes: the pictures are in memory
        verbose=False,
    )
    return Fid(float(measured["frechet_inception_distance"]))


def weights_path() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_FILE


class _Pictures(Dataset[Tensor]):
    """uint8 (3, S, S), one at a time: what torch-fidelity reads."""

    def __init__(self, pictures: np.ndarray) -> None:
        self._pictures = pictures

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(np.array(self._pictures[index])).permute(2, 0, 1)

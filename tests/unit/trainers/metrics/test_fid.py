"""Standard FID is measured as everybody measures it, or not at all, with the reason."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from trainers.metrics import fid
from trainers.metrics.fid import MIN_PICTURES, standard_fid, why_not


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for downloaded weights, instead of this machine's."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_a_few_hundred_pictures_have_no_fid() -> None:
    assert "2,048" in why_not(5000, 240)
    assert "240 real" in why_not(5000, 240)


def test_missing_weights_are_named_and_nothing_is_made_up() -> None:
    few = np.zeros((16, 8, 8, 3), np.uint8)
    assert fid.WEIGHTS_FILE in why_not(MIN_PICTURES, MIN_PICTURES)
    assert standard_fid(few, few, "cpu").value is None
    assert standard_fid(few, few, "cpu").not_measured


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "torch-fidelity is not installed" in why_not(MIN_PICTURES, MIN_PICTURES)


def test_another_file_under_the_weights_name_is_not_used(hub: Path) -> None:
    (hub / fid.WEIGHTS_FILE).write_bytes(b"something else")
    assert "is not the file" in why_not(MIN_PICTURES, MIN_PICTURES)


def test_with_the_right_file_in_place_nothing_stands_against_it(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file's name ends with the beginning of its sha256."""
    content = b"weights"
    name = f"weights-inception-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(fid, "WEIGHTS_FILE", name)
    (hub / name).write_bytes(content)
    assert why_not(MIN_PICTURES, MIN_PICTURES) == ""

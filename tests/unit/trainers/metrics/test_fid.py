"""Standard FID is measured as everybody measures it, or not at all, with the reason."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

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


# ---------------------------------------------------------------- measured


class StandIn(FeatureExtractorBase):
    """In Inception's place: the weights file's matrix on a picture's 48 values. Inception takes minutes."""

    def __init__(self, name: str, features_list: list[str], **options: Any) -> None:
        super().__init__(name, features_list)
        self.matrix = torch.load(options["feature_extractor_weights_path"], weights_only=True)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("2048",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "2048"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert pictures.dtype == torch.uint8
        assert pictures.shape[1:] == (3, 4, 4)
        return (pictures.flatten(1).double() @ self.matrix,)


def frechet_distance(one: np.ndarray, other: np.ndarray) -> float:
    """|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)): Heusel et al. 2017, equation 6, by the symmetric root."""
    covariance, another = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    of_product = np.sqrt(np.linalg.eigvalsh(root @ another @ root).clip(0)).sum()
    apart = one.mean(0) - other.mean(0)
    return float(apart @ apart + np.trace(covariance + another) - 2 * of_product)


@pytest.fixture
def matrix(hub: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Stand-in weights under a name that their sha256 bears out, and a network that takes them."""
    rng = np.random.default_rng(0)
    weights = torch.from_numpy(rng.normal(size=(48, 6)) / 100)
    torch.save(weights, hub / "unnamed.pth")
    digest = hashlib.sha256((hub / "unnamed.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(fid, "WEIGHTS_FILE", f"weights-inception-{digest[:8]}.pth")
    (hub / "unnamed.pth").rename(hub / fid.WEIGHTS_FILE)
    monkeypatch.setitem(FEATURE_EXTRACTORS_REGISTRY, "inception-v3-compat", StandIn)
    return weights.numpy()


def some_pictures(count: int, seed: int, darkest: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(darkest, 256, (count, 4, 4, 3), dtype=np.uint8)


def test_with_weights_the_number_is_the_equations(matrix: np.ndarray) -> None:
    generated, real = some_pictures(MIN_PICTURES, 1, darkest=40), some_pictures(MIN_PICTURES + 7, 2)

    def features(pictures: np.ndarray) -> np.ndarray:
        return pictures.transpose(0, 3, 1, 2).reshape(len(pictures), -1) @ matrix

    measured = standard_fid(generated, real, "cpu")
    assert measured.not_measured == ""
    assert measured.value == pytest.approx(frechet_distance(features(generated), features(real)))
    assert measured.value > 0.1


@pytest.mark.usefixtures("matrix")
def test_a_set_against_itself_is_at_no_distance() -> None:
    pictures = some_pictures(MIN_PICTURES, 3)
    assert standard_fid(pictures, pictures, "cpu").value == pytest.approx(0, abs=1e-6)

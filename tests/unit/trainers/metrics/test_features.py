"""How pictures are shown to the judge, and that no picture is looked at twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.unit.trainers.metrics.scenes import scenes
from trainers.errors import SettingsError
from trainers.metrics import features
from trainers.metrics.features import Judge, as_input, cached_features, check_judge, num_missing

FINGERPRINT = "f" * 64


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge("lite0")


class CountingJudge(Judge):
    """Gives every picture its first pixel for features, and counts the pictures it was shown."""

    def __init__(self, name: str = "lite2", preprocessing: str = "as-is-v1") -> None:
        self.name, self.batch, self.num_seen = name, 2, 0
        self._preprocessing = preprocessing

    @property
    def preprocessing(self) -> str:
        return self._preprocessing

    def features(self, pictures: np.ndarray, on_progress: object = None) -> torch.Tensor:
        self.num_seen += len(pictures)
        return torch.from_numpy(pictures[:, 0, 0, :1].astype(np.float32)).repeat(1, 1280)


# ---------------------------------------------------------------- what the judge is shown


@pytest.mark.parametrize("edge_px", [32, 64, 512])
def test_pictures_are_resized_as_pillow_resizes_them(edge_px: int) -> None:
    """To the 8-bit step, but for the odd pixel that rounds to the other side, once or twice."""
    pictures = scenes(2, seed=0, edge_px=edge_px)
    pictures[1] = np.random.default_rng(0).integers(0, 256, pictures[1].shape)  # the hardest case
    for resolution in (224, 260):
        shown = as_input(torch.from_numpy(pictures), resolution).add(1).mul(127.5).round()
        by_pillow = np.stack(
            [
                np.array(Image.fromarray(p).resize((resolution,) * 2, Image.Resampling.BICUBIC))
                for p in pictures
            ]
        )
        difference = np.abs(shown.permute(0, 2, 3, 1).numpy() - by_pillow)
        assert difference.max() <= 2
        assert difference.mean() < 0.01


def test_pictures_of_the_judges_own_size_are_shown_as_they_are() -> None:
    pictures = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 2, 2, 3)
    shown = as_input(pictures, 2)
    assert shown.min() == -1
    assert shown.max() == 1
    assert torch.equal(shown[:, 0, 0, 0], torch.arange(256) / 127.5 - 1)


def test_features_do_not_depend_on_the_batch(judge: Judge) -> None:
    pictures = scenes(5, seed=0, edge_px=32)
    by_two = judge.features(pictures)
    judge.batch = 5
    try:
        at_once = judge.features(pictures)
    finally:
        judge.batch = features.BATCH_ON_CPU
    assert by_two.shape == (5, 1280)
    assert by_two.dtype == torch.float32
    torch.testing.assert_close(by_two, at_once, rtol=1e-4, atol=1e-4)


def test_looking_draws_nothing_from_the_global_random_streams(judge: Judge) -> None:
    """A run that is measured must learn the same as one that is not."""
    of_torch, of_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    judge.features(scenes(1, seed=0, edge_px=32))
    assert torch.equal(torch.get_rng_state(), of_torch)
    assert np.array_equal(np.random.get_state()[1], of_numpy)


def test_the_preprocessing_is_named_with_all_that_changes_a_value(judge: Judge) -> None:
    assert judge.preprocessing == "bicubic-antialiased-224px-8bit-v1"


def test_nobody_is_judged_by_the_network_that_taught_him() -> None:
    with pytest.raises(SettingsError, match="lite2"):
        check_judge("lite0", "projected")
    check_judge("lite2", "projected")
    check_judge("lite0", "dcgan")


# ---------------------------------------------------------------- what it has seen before


def test_every_picture_is_looked_at_once_ever(tmp_path: Path) -> None:
    images = scenes(12, seed=0, edge_px=32)
    first, second = CountingJudge(), CountingJudge()
    asked = np.array([1, 5, 5, 9])
    seen = cached_features(first, images, asked, FINGERPRINT, tmp_path / "cache")
    assert torch.equal(seen, first.features(images[asked]))
    assert first.num_seen == 3 + 4, "5 was asked for twice; the 4 are this test's"

    again = cached_features(second, images, asked, FINGERPRINT, tmp_path / "cache")
    assert second.num_seen == 0
    assert torch.equal(again, seen)

    cached_features(second, images, np.arange(12), FINGERPRINT, tmp_path / "cache")
    assert second.num_seen == 12 - 3, "another choice of pictures shares what is known"


def test_what_is_still_to_be_looked_at_can_be_asked_without_the_network(tmp_path: Path) -> None:
    images, everything = scenes(3, seed=0, edge_px=32), np.arange(3)

    def missing(name: str) -> int:
        return num_missing(name, images, everything, FINGERPRINT, tmp_path)

    assert missing("lite0") == 3
    cached_features(Judge("lite0"), images, np.array([2]), FINGERPRINT, tmp_path)
    assert (missing("lite0"), missing("lite2")) == (2, 3)


@pytest.mark.parametrize(
    "change",
    ["fingerprint", "judge", "preprocessing", "size"],
)
def test_whatever_changes_a_feature_is_looked_at_anew(tmp_path: Path, change: str) -> None:
    images, everything = scenes(4, seed=0, edge_px=32), np.arange(4)
    cached_features(CountingJudge(), images, everything, FINGERPRINT, tmp_path)
    judge = CountingJudge(
        name="lite0" if change == "judge" else "lite2",
        preprocessing="as-is-v2" if change == "preprocessing" else "as-is-v1",
    )
    fingerprint = "e" * 64 if change == "fingerprint" else FINGERPRINT
    other = scenes(4, seed=0, edge_px=64) if change == "size" else images
    cached_features(judge, other, everything, fingerprint, tmp_path)
    assert judge.num_seen == 4


@pytest.mark.parametrize("damage", ["truncated", "emptied", "replaced"])
def test_a_damaged_cache_costs_time_and_nothing_else(tmp_path: Path, damage: str) -> None:
    images, everything = scenes(4, seed=0, edge_px=32), np.arange(4)
    expected = cached_features(CountingJudge(), images, everything, FINGERPRINT, tmp_path)
    (file,) = tmp_path.glob("features-*.npy")
    whole = file.read_bytes()
    file.write_bytes({"truncated": whole[:-9], "emptied": b"", "replaced": b"no array"}[damage])
    judge = CountingJudge()
    assert torch.equal(cached_features(judge, images, everything, FINGERPRINT, tmp_path), expected)
    assert judge.num_seen == 4
    assert file.read_bytes() == whole, "mended"


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    images = scenes(3, seed=0, edge_px=32)
    seen = cached_features(CountingJudge(), images, np.arange(3), FINGERPRINT, tmp_path / "cache")
    assert len(seen) == 3


def test_an_interruption_keeps_what_was_seen_and_leaves_nothing_behind(tmp_path: Path) -> None:
    images = scenes(40, seed=0, edge_px=32)
    (tmp_path / ".features-lite2-abc.npy.12345678.tmp").write_bytes(b"of a writer that was killed")

    def interrupt(done: int, total: int) -> None:
        assert total == 40
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_features(CountingJudge(), images, np.arange(40), FINGERPRINT, tmp_path, interrupt)
    judge = CountingJudge()
    cached_features(judge, images, np.arange(40), FINGERPRINT, tmp_path)
    assert judge.num_seen == 40 - 16 * 2
    assert not list(tmp_path.glob(".*.tmp"))


def test_two_processes_add_to_one_cache(tmp_path: Path) -> None:
    """Each began before the other stored: what the first stored survives the second."""
    images = scenes(8, seed=0, edge_px=32)

    class SlowJudge(CountingJudge):
        def features(self, pictures: np.ndarray, on_progress: object = None) -> torch.Tensor:
            cached_features(CountingJudge(), images, np.arange(4), FINGERPRINT, tmp_path)
            return super().features(pictures)

    cached_features(SlowJudge(), images, np.arange(4, 8), FINGERPRINT, tmp_path)
    third = CountingJudge()
    cached_features(third, images, np.arange(8), FINGERPRINT, tmp_path)
    assert third.num_seen == 0

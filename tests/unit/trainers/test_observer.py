"""Looking at what is painted: always at the same noise, changing nothing, measuring within its share."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainer_fixtures import NotingDisplay, assert_same_bits, tiny_config
from trainers import observer
from trainers.data.cache import PictureSet
from trainers.inference import to_bytes
from trainers.latents import latents_for
from trainers.networks import Shape, load_architecture
from trainers.observer import Observer
from trainers.samples import grid_columns

NUM = 24


def picture_set() -> PictureSet:
    rng = np.random.default_rng(0)
    return PictureSet(
        name="noise",
        fingerprint="0" * 64,
        images=rng.integers(0, 256, (NUM, 32, 32, 3), dtype=np.uint8),
        class_names=("few", "many"),
        class_indices=(np.arange(NUM) >= 4).astype(np.int64),
        rejections=(),
        num_upscaled=0,
    )


def observer_of(tmp_path: Path, **settings: Any) -> Observer:
    return Observer(
        tiny_config(**settings),
        picture_set(),
        shown=np.arange(NUM),
        cache=tmp_path,
        display=NotingDisplay(),
    )


@pytest.fixture
def average() -> nn.Module:
    torch.manual_seed(0)
    network = load_architecture("dcgan").build_generator(Shape(32, 8, 4)).requires_grad_(False)
    network.get_submodule("layers")[-2].weight.mul_(20.0)
    return network


# ---------------------------------------------------------------- looking


def test_looking_changes_nothing(tmp_path: Path, average: nn.Module) -> None:
    before, random = copy.deepcopy(average.state_dict()), torch.get_rng_state()
    watching = observer_of(tmp_path)
    watching.look(average, elapsed_s=1.0, is_last=False)
    assert_same_bits(average.state_dict(), before)
    assert average.training
    assert torch.equal(torch.get_rng_state(), random)


def test_two_looks_at_the_same_network_see_the_same(tmp_path: Path, average: nn.Module) -> None:
    watching, another = observer_of(tmp_path), observer_of(tmp_path, seed=9)
    looks = [w.look(average, 1.0, is_last=False) for w in (watching, watching, another)]
    for look in looks[1:]:
        assert look.grid.tobytes() == looks[0].grid.tobytes()
        assert look.pixel_diversity == looks[0].pixel_diversity
        assert_same_bits(look.network.state_dict(), looks[0].network.state_dict())


def test_the_grid_is_what_the_shown_network_paints_from_the_first_seeds(
    tmp_path: Path, average: nn.Module
) -> None:
    look = observer_of(tmp_path).look(average, 1.0, is_last=False)
    assert not look.network.training
    with torch.no_grad():
        painted = to_bytes(look.network(latents_for([1, 9], 8)))
    grid = np.asarray(look.grid).astype(int)
    assert grid.shape == (256, 256, 3)
    assert abs(grid[:32, :32] - painted[0]).max() <= 1
    assert abs(grid[32:64, :32] - painted[1]).max() <= 1


def test_a_network_that_paints_one_picture_is_seen_to(tmp_path: Path, average: nn.Module) -> None:
    alive = observer_of(tmp_path).look(average, 1.0, is_last=False)
    average.get_submodule("layers.1").weight.zero_()
    dead = observer_of(tmp_path).look(average, 1.0, is_last=False)
    assert alive.pixel_diversity > 0.5
    assert alive.dead_share == 0
    assert dead.pixel_diversity == pytest.approx(0, abs=0.01)
    assert dead.dead_share == 1


def test_by_class_the_grid_has_a_row_for_each_and_measuring_their_real_shares(
    tmp_path: Path,
) -> None:
    """Four pictures of the one, twenty of the other."""
    watching = observer_of(tmp_path, classes=True)
    looking, measuring = watching._looking.classes, watching._measuring.classes
    assert looking is not None
    assert measuring is not None
    assert looking[:24].tolist() == [0] * 8 + [1] * 8 + [0] * 8
    one, other = picture_set().class_names
    assert watching.rows == ((one,), (other,)) * 4
    assert observer_of(tmp_path).rows == ()
    assert measuring.float().mean().item() == pytest.approx(20 / 24, abs=0.08)


@pytest.mark.parametrize(
    ("num_classes", "size", "in_grid"), [(8, 32, 8), (27, 32, 27), (27, 256, 16)]
)
def test_of_many_classes_the_grid_and_what_the_guard_looks_at_show_all_there_is_room_for(
    tmp_path: Path, num_classes: int, size: int, in_grid: int
) -> None:
    """WikiArt has 27 styles, and a grid of 64 px eight rows."""
    pictures = dataclasses.replace(
        picture_set(),
        class_names=tuple(f"style {i:02}" for i in range(num_classes)),
        class_indices=np.arange(NUM) % num_classes,
    )
    config = tiny_config(classes=True, size=size)
    watching = Observer(config, pictures, np.arange(NUM), tmp_path, NotingDisplay())
    looking = watching._looking.classes
    assert looking is not None
    grid = looking[: grid_columns(size) ** 2]
    assert len(set(grid.tolist())) == in_grid
    assert max(grid.bincount()) - min(grid.bincount()[grid.bincount() > 0]) <= 1
    assert len(set(looking.tolist())) == num_classes, "the guard sees them all"
    named = [name for names in watching.rows for name in names]
    assert set(named) == {pictures.class_names[index] for index in grid.tolist()}


# ---------------------------------------------------------------- measuring


class Clock:
    """Stands for the time module: goes only when somebody works."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class SlowMeter:
    """Stands for QualityMeter: so many seconds to prepare, so many for each measurement."""

    PREPARE_S, MEASURE_S = 6.0, 4.0
    clock: Clock

    def __init__(self, *_: object, **__: object) -> None:
        self.clock.now_s += self.PREPARE_S
        self.last_measure_s: float | None = None

    def measure(self, pictures: np.ndarray) -> str:
        assert pictures.shape == (observer.NUM_GENERATED, 32, 32, 3)
        self.clock.now_s += self.MEASURE_S
        self.last_measure_s = self.MEASURE_S
        return "scores"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(observer, "time", made)
    monkeypatch.setattr(observer, "QualityMeter", SlowMeter)
    monkeypatch.setattr(SlowMeter, "clock", made, raising=False)
    monkeypatch.setattr(observer, "NUM_SETTLING", 2)
    return made


def measured_at(watching: Observer, average: nn.Module, until_s: int, every_s: int) -> list[int]:
    """Ticks (seconds of training) at which it measured."""
    ticks = range(every_s, until_s + 1, every_s)
    return [t for t in ticks if watching.look(average, t, is_last=False).scores is not None]


def test_measuring_takes_a_twentieth_of_the_time_at_most(
    tmp_path: Path, average: nn.Module, clock: Clock
) -> None:
    watching = observer_of(tmp_path, measure_share=0.05)
    started_s = clock.now_s
    times = measured_at(watching, average, until_s=2000, every_s=40)
    assert clock.now_s - started_s <= 0.05 * 2000
    assert len(times) == (100 - 6) // 4, "and no less than it may"
    expected_s = 0.03 * (observer.NUM_GENERATED + NUM)
    assert times[0] >= expected_s / 0.05, "the first is judged by what it is expected to take"


def test_what_another_run_has_looked_at_is_not_expected_to_take_time(
    tmp_path: Path, average: nn.Module, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a sweep's short trials would never be measured."""
    monkeypatch.setattr(observer, "num_to_prepare", lambda *_, **__: 0)
    watching = observer_of(tmp_path, measure_share=0.05)
    [first, *_] = measured_at(watching, average, until_s=2000, every_s=40)
    expected_s = 0.03 * observer.NUM_GENERATED
    assert expected_s / 0.05 <= first < expected_s / 0.05 + 40


@pytest.mark.usefixtures("clock")
def test_the_end_is_measured_if_anything_was(tmp_path: Path, average: nn.Module) -> None:
    """To compare it with the best."""
    watching = observer_of(tmp_path, measure_share=0.05)
    assert watching.look(average, 10.0, is_last=True).scores is None
    assert measured_at(watching, average, until_s=400, every_s=40) != []
    assert watching.look(average, 401.0, is_last=False).scores is None
    assert watching.look(average, 401.0, is_last=True).scores is not None


@pytest.mark.usefixtures("clock")
def test_what_was_spent_is_remembered_over_sessions(tmp_path: Path, average: nn.Module) -> None:
    watching = observer_of(tmp_path, measure_share=0.05)
    assert len(measured_at(watching, average, until_s=400, every_s=40)) > 1
    resumed = observer_of(tmp_path, measure_share=0.05)
    resumed.restore(watching.state())
    assert resumed.look(average, 401.0, is_last=False).scores is None
    assert resumed.look(average, 401.0, is_last=True).scores is not None


@pytest.mark.usefixtures("clock")
def test_who_wants_no_measuring_gets_none(tmp_path: Path, average: nn.Module) -> None:
    watching = observer_of(tmp_path, measure_share=0.0)
    assert measured_at(watching, average, until_s=4000, every_s=1000) == []
    assert watching.look(average, 1e6, is_last=True).scores is None


@pytest.mark.usefixtures("clock")
def test_a_look_back_at_the_best_is_not_measured(tmp_path: Path, average: nn.Module) -> None:
    watching = observer_of(tmp_path, measure_share=0.5)
    assert watching.look(average, 1e4, is_last=False).scores is not None
    assert watching.look_at(average).scores is None

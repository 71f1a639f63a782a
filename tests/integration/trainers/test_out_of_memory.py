"""A device that cannot hold a batch: the batch is taken in pieces, and the person is told."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.trainer_fixtures import (
    STEP_KIMG,
    NotingDisplay,
    Studio,
    assert_same_bits,
    learned,
    tiny_config,
)
from trainers.errors import OutOfMemory
from trainers.networks import Architecture, load_architecture

WITHOUT_BATCH_NORM: dict[str, Any] = {"arch": "mlp", "d_norm": "none"}
CUDA_SAYS = "CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of 8 GiB"
CPU_SAYS = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"


class SmallDevice:
    """Stands for one that holds the discriminator's work on so many pictures and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holds: int, says: str = CUDA_SAYS) -> None:
        self.holds = holds
        self.refused: list[int] = []

        def load(name: str) -> Architecture:
            architecture = load_architecture(name)

            def build(shape: Any) -> nn.Module:
                network = architecture.build_discriminator(shape)
                network.register_forward_pre_hook(self.allocate)
                return network

            return dataclasses.replace(architecture, build_discriminator=build)

        monkeypatch.setattr("trainers.loop.load_architecture", load)
        self.error: Exception = RuntimeError(says)

    def allocate(self, network: nn.Module, shown: tuple[Tensor, ...]) -> None:
        if len(shown[0]) > self.holds:
            self.refused.append(len(shown[0]))
            raise self.error


@pytest.mark.parametrize("says", [CUDA_SAYS, CPU_SAYS], ids=["cuda", "cpu"])
def test_the_batch_is_halved_until_it_fits_and_that_is_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    device = SmallDevice(monkeypatch, holds=3, says=says)
    display = NotingDisplay()
    result = studio.train(tiny_config(**WITHOUT_BATCH_NORM), display=display)
    assert result.is_finished
    assert result.images_seen == 80
    assert device.refused == [8, 4]
    assert [note for note in display.notes if "memory" in note] == [
        "out of memory: going on with 4 pictures at a time, 8 to a step as before "
        "(slower, the same result but for rounding)",
        "out of memory: going on with 2 pictures at a time, 8 to a step as before "
        "(slower, the same result but for rounding)",
    ]


def test_memory_that_is_no_more_raises_a_memory_error_too(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SmallDevice(monkeypatch, holds=4)
    device.error = MemoryError()
    assert studio.train(tiny_config(**WITHOUT_BATCH_NORM)).is_finished
    assert device.refused == [8]


def test_what_smaller_pieces_change_is_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    SmallDevice(monkeypatch, holds=4)
    display = NotingDisplay()
    studio.train(tiny_config(kimg=STEP_KIMG, augment="diffaug"), display=display)
    [note] = [note for note in display.notes if "memory" in note]
    assert note.endswith(
        "(slower, the same result but for rounding, what the augmentation draws, batch norm, which "
        "sees fewer together)"
    )


EVERYTHING_A_STEP_TOUCHES: dict[str, Any] = {
    "d_norm": "spectral",
    "augment": "diffaug",
    "augment_ops": "color,translation",
}
"""A stream of random numbers, running statistics, the vectors of spectral norm."""


def without_memory_of_it(state: dict[str, Any]) -> dict[str, Any]:
    """What was learned, without how it had to be cut."""
    learnt = learned(state)
    learnt["learner"].pop("fitting_micro_batch")
    for name in ("micro_batch", "run"):
        learnt["config"].pop(name)
    return learnt


def test_a_step_in_which_memory_ran_out_is_as_if_it_had_begun_in_smaller_pieces(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bits: random streams and buffers go back to where the step began."""
    config = tiny_config(**EVERYTHING_A_STEP_TOUCHES)
    studio.train(dataclasses.replace(config, run="asked", micro_batch=4))
    device = SmallDevice(monkeypatch, holds=4)
    studio.train(config)
    assert device.refused == [8]
    assert_same_bits(
        without_memory_of_it(studio.state()), without_memory_of_it(studio.state("asked"))
    )


class NarrowForTheGenerator(SmallDevice):
    """Has room for the discriminator's half of a step: of every three looks it refuses the third."""

    looks = 0

    def allocate(self, network: nn.Module, shown: tuple[Tensor, ...]) -> None:
        self.looks += 1
        if self.looks % 3 == 0:
            super().allocate(network, shown)


def test_memory_that_runs_out_in_the_generators_half_leaves_the_discriminators_as_it_was(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has learned from this batch, and does not learn from it again."""
    config = tiny_config(kimg=STEP_KIMG, tick_kimg=STEP_KIMG, **WITHOUT_BATCH_NORM)
    studio.train(dataclasses.replace(config, run="whole"))
    device = NarrowForTheGenerator(monkeypatch, holds=4)
    studio.train(config)
    assert device.refused == [8]
    whole, cut = studio.state("whole")["learner"], studio.state()["learner"]
    for name in ("discriminator", "discriminator_optimiser"):
        assert_same_bits(whole[name], cut[name], name)
    for name, weight in whole["generator"].items():
        assert torch.allclose(weight, cut["generator"][name], atol=2e-6), name
    assert_same_bits(whole["streams"], cut["streams"])


class SmallCanvas:
    """Stands for a device that holds the painting of so many pictures, outside of a step, and no more."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holds: int) -> None:
        self.refused: list[int] = []

        def load(name: str) -> Architecture:
            architecture = load_architecture(name)

            def build(shape: Any) -> nn.Module:
                network = architecture.build_generator(shape)
                network.register_forward_pre_hook(allocate)
                return network

            return dataclasses.replace(architecture, build_generator=build)

        def allocate(network: nn.Module, z: tuple[Tensor, ...]) -> None:
            if not torch.is_grad_enabled() and len(z[0]) > holds:
                self.refused.append(len(z[0]))
                raise RuntimeError(CUDA_SAYS)

        monkeypatch.setattr("trainers.loop.load_architecture", load)


def test_memory_that_runs_out_at_a_tick_costs_smaller_looks_and_not_the_run(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    canvas = SmallCanvas(monkeypatch, holds=5)
    display = NotingDisplay()
    assert studio.train(tiny_config(), display=display).is_finished
    assert canvas.refused == [32, 16, 8], "and not once more"
    assert [note for note in display.notes if "memory" in note] == [
        f"out of memory while looking: painting {count} at a time from now on"
        for count in (16, 8, 4)
    ]
    assert len(display.ticks) == 3


def test_a_device_that_cannot_paint_a_picture_ends_the_run_with_the_remedy(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    SmallCanvas(monkeypatch, holds=1)
    with pytest.raises(OutOfMemory, match=r"painting 2 at a time for the grid .* smaller --width"):
        studio.train(tiny_config())


def test_memory_that_runs_out_while_measuring_ends_the_measuring_and_not_the_run(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRoom:
        def __init__(self, *_: Any, **__: Any) -> None:
            raise RuntimeError(CUDA_SAYS)

    monkeypatch.setattr("trainers.observer.QualityMeter", NoRoom)
    monkeypatch.setattr("trainers.observer.EXPECTED_S_PER_PICTURE", {"cpu": 0.0})
    display = NotingDisplay()
    assert studio.train(tiny_config(measure_share=0.9), display=display).is_finished
    [note] = [note for note in display.notes if "memory" in note]
    assert note.startswith("out of memory while measuring (CUDA out of memory. Tried to allocate")
    assert note.endswith("nothing more is measured in this session")


def test_a_resumed_run_does_not_try_again_what_did_not_fit(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SmallDevice(monkeypatch, holds=4)
    config = tiny_config(**WITHOUT_BATCH_NORM)
    studio.train(config, stop_after_steps=3)
    assert device.refused == [8]
    display = NotingDisplay()
    studio.train(config, display=display)
    assert device.refused == [8]
    assert not [note for note in display.notes if "memory" in note]


def test_a_run_without_batch_norm_learns_about_the_same_in_pieces(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same but for rounding: sums are taken in another order."""
    config = tiny_config(**WITHOUT_BATCH_NORM)
    asked = {"micro_batch": 2}
    studio.train(dataclasses.replace(config, run="whole"))
    studio.train(dataclasses.replace(config, run="pieces", **asked))
    networks = [studio.state(run)["learner"]["generator"] for run in ("whole", "pieces")]
    begun = load_architecture("mlp").build_generator(config.shape(())).state_dict()
    for name, whole in networks[0].items():
        assert torch.allclose(whole, networks[1][name], atol=2e-5), name
        assert not torch.allclose(whole, begun[name], atol=1e-3), "otherwise nothing was learned"


def test_a_run_killed_where_memory_ran_out_ends_with_the_same_bits(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state was saved before; the second time memory runs out at the same step."""
    config = tiny_config(**WITHOUT_BATCH_NORM)
    device = SmallDevice(monkeypatch, holds=8)

    class Narrowing(NotingDisplay):
        """After six steps another process takes its share of the memory."""

        def advance(self, pace: Any) -> None:
            super().advance(pace)
            if self.num_steps == 6:
                device.holds = 4

    studio.train(config, display=Narrowing())
    uninterrupted = learned(studio.state())

    device.holds = 8
    studio.run().rename(studio.folders.runs / "first")

    class Killed(Exception):
        pass

    class Dying(Narrowing):
        def advance(self, pace: Any) -> None:
            super().advance(pace)
            if self.num_steps == 7:
                raise Killed

    with pytest.raises(Killed):
        studio.train(config, display=Dying())
    assert studio.state()["images_seen"] == 32, "the tick after four steps"
    device.holds = 8
    assert studio.state()["learner"]["fitting_micro_batch"] is None

    class NarrowingSooner(NotingDisplay):
        def advance(self, pace: Any) -> None:
            super().advance(pace)
            if self.num_steps == 2:
                device.holds = 4

    studio.train(config, display=NarrowingSooner())
    assert_same_bits(learned(studio.state()), uninterrupted)


def test_where_even_two_pictures_do_not_fit_the_run_ends_with_the_remedy(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SmallDevice(monkeypatch, holds=1)
    with pytest.raises(OutOfMemory) as refused:
        studio.train(tiny_config())
    assert device.refused == [8, 4, 2]
    assert str(refused.value) == (
        "out of memory even with 2 pictures at a time (CUDA out of memory. Tried to allocate 2.00 "
        "GiB.). Try a smaller --width or --size."
    )
    assert refused.value.exit_code == 1


def test_another_error_of_the_device_is_not_taken_for_want_of_memory(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SmallDevice(monkeypatch, holds=4, says="CUDA error: an illegal memory access")
    with pytest.raises(RuntimeError, match="illegal memory access"):
        studio.train(tiny_config())
    assert device.refused == [8]

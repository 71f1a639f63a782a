"""The guard at work in a run: it goes back, changes something, gives up in time, keeps the best.

What it sees in numbers and what it decides is specified in unit/trainers/test_guard.py. Here a run is
really collapsed and really diverged, and the checkpoints, logs and states are looked at.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.trainer_fixtures import (
    GOOD_SCORES,
    NotingDisplay,
    Studio,
    assert_same_bits,
    learned,
    remembered,
    tiny_config,
    write_pictures,
)
from trainers import state, symptoms
from trainers.data.feed import PictureFeed
from trainers.data.split import compared_with
from trainers.errors import StorageError, TrainingStopped
from trainers.guard import (
    MAX_REMEDIES,
    Guard,
    Health,
    Knobs,
    Reaction,
    Signals,
    Verdict,
)
from trainers.inference import load_generator
from trainers.learner import Learner
from trainers.loop import TrainResult
from trainers.manifest import Manifest, read_manifest
from trainers.metrics.pixels import dead_share
from trainers.metrics.scores import Scores
from trainers.networks import Architecture, load_architecture
from trainers.observer import Observer
from trainers.progress import Pace, TickStats

BATCH = 16
TICK_KIMG = 10 * BATCH / 1000
CROSSING_KIMG = 1.0
"""From here on a doctored run goes wrong: after six good ticks."""


def config_of(**chosen: Any) -> Any:
    """Two kimg in thirteen ticks, of which every other one would export."""
    settings = {
        "batch": BATCH,
        "kimg": 2.0,
        "tick_kimg": TICK_KIMG,
        "export_kimg": 2 * TICK_KIMG,
        "ema_half_life_kimg": 0.001,  # the average is what the generator is
    }
    return tiny_config(**(settings | chosen))


@pytest.fixture(autouse=True)
def short_runs_can_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard gives young networks 12 kimg, for which no test has the time, and these networks
    paint colourful pictures from the first step on."""
    monkeypatch.setattr(symptoms, "LEAST_WARM_UP_KIMG", 0.0)

    def load(name: str) -> Architecture:
        architecture = load_architecture(name)

        def build(shape: Any) -> nn.Module:
            network = architecture.build_generator(shape)
            with torch.no_grad():
                network.get_submodule("layers")[-2].weight.mul_(20.0)
            return network

        return dataclasses.replace(architecture, build_generator=build)

    monkeypatch.setattr("trainers.loop.load_architecture", load)


@dataclass
class Witness(NotingDisplay):
    """Knows, tick by tick, what the guard saw and said and what was exported."""

    guards: list[Guard] = field(default_factory=list)
    signals: list[Signals] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    exported: list[Path | None] = field(default_factory=list)

    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        super().tick(stats, pace, checkpoint)
        self.exported.append(checkpoint)

    @property
    def kimgs(self) -> list[float]:
        return [round(signals.kimg, 3) for signals in self.signals]

    def turned(self) -> Knobs:
        """The knobs after everything that was done."""
        done = [reaction for verdict in self.verdicts for reaction in verdict.reactions]
        return functools.reduce(lambda knobs, reaction: knobs.turned(reaction), done, Knobs())

    def rolled_back(self) -> list[Verdict]:
        return [v for v in self.verdicts if Reaction.ROLL_BACK in v.reactions]


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    seen = Witness()

    class Watched(Guard):
        def __init__(self, **has: bool) -> None:
            super().__init__(**has)
            seen.guards.append(self)

        def look(self, signals: Signals) -> Verdict:
            seen.signals.append(signals)
            seen.verdicts.append(super().look(signals))
            return seen.verdicts[-1]

    monkeypatch.setattr("trainers.loop.Guard", Watched)
    return seen


def events(studio: Studio) -> list[dict[str, Any]]:
    lines = (studio.run() / "guard.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def latest(studio: Studio) -> Manifest:
    """As the service takes it."""
    return max((read_manifest(c) for c in studio.checkpoints()), key=lambda m: m.created_at)


# ---------------------------------------------------------------- a run that collapses


class Fading(Learner):
    """After CROSSING_KIMG every step fades what z does to the picture: all become one picture, and
    going back does not help."""

    def step(self, real: Tensor, classes: Tensor | None, images_seen: int, fraction: float) -> None:
        super().step(real, classes, images_seen, fraction)
        if images_seen > CROSSING_KIMG * 1000:
            with torch.no_grad():  # the gain of the batch norm right behind z
                self.generator.get_submodule("layers.1").weight.mul_(0.1)


@pytest.fixture
def a_generator_that_loses_its_z(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.loop.Learner", Fading)


@pytest.mark.usefixtures("a_generator_that_loses_its_z")
def test_a_run_that_collapses_ends_with_the_best_generator_and_an_error(
    studio: Studio, witness: Witness
) -> None:
    with pytest.raises(TrainingStopped) as stopped:
        studio.train(config_of(), display=witness)
    assert stopped.value.exit_code == 1

    # It went back to the last good tick, three times, and the fourth time it gave up.
    assert [v.back_to_kimg for v in witness.rolled_back()] == [0.96] * MAX_REMEDIES
    assert witness.verdicts[-1].reactions == (Reaction.STOP,)
    assert witness.kimgs[:8] == [0.16, 0.32, 0.48, 0.64, 0.8, 0.96, 1.12, 1.28]
    assert set(witness.kimgs[8:]) <= {1.12, 1.28, 1.44}
    assert witness.turned() == Knobs(d_rate=0.5, rate=0.25, rollbacks=3)

    # Nothing of an ill tick was exported, and the best is what a reader finds last.
    for verdict, checkpoint in zip(witness.verdicts, witness.exported, strict=True):
        is_the_end = Reaction.STOP in verdict.reactions
        assert checkpoint is None or verdict.health is not Health.ILL or is_the_end
    best = latest(studio)
    assert best.name == "tiny-000000.96-best"
    assert best.kimg == 0.96
    assert all(read_manifest(c).kimg <= 0.96 for c in studio.checkpoints())
    generator = load_generator(studio.folders.checkpoints / best.name)
    assert dead_share(np.stack([generator.paint(seed) for seed in range(20)])) < 0.1

    # It is said, to whoever looks on, in the log and at the end.
    told = events(studio)
    assert [e["words"] for e in told if e["reactions"]] == [
        v.words for v in witness.verdicts if v.reactions
    ]
    assert all(event["words"] in witness.notes for event in told)
    assert "the pictures have become alike" in told[-1]["words"]
    assert {"kimg", "elapsed_s", "health", "symptoms", "reactions"} <= told[-1].keys()
    assert "3 remedies did not help, so the run ends" in str(stopped.value)
    assert "The best generator is checkpoint tiny-000000.96-best" in str(stopped.value)
    assert "guard.jsonl" in str(stopped.value)


def test_a_run_that_was_given_up_can_be_begun_again_at_its_best(
    studio: Studio, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as doctored:
        doctored.setattr("trainers.loop.Learner", Fading)
        with pytest.raises(TrainingStopped):
            studio.train(config_of(), display=witness)
    now, best = studio.state(), torch.load(studio.run() / "best.pt", weights_only=True)
    assert now["images_seen"] == 960
    assert_same_bits(now["learner"]["generator"], best["learner"]["generator"])
    assert [line["kimg"] for line in studio.stats()] == [0.16, 0.32, 0.48, 0.64, 0.8, 0.96]
    result = studio.train(config_of(kimg=1.28, lr=1e-4))
    assert result.is_finished
    assert latest(studio).kimg == 1.28


@pytest.mark.usefixtures("a_generator_that_loses_its_z")
def test_a_run_gone_back_to_its_best_tick_is_what_it_was_there_with_other_noise(
    studio: Studio, witness: Witness
) -> None:
    class PowerCut(Exception):
        pass

    def cut(stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        if witness.rolled_back():
            raise PowerCut

    witness.tick = cut
    with pytest.raises(PowerCut):
        studio.train(config_of(), display=witness)
    now, then = studio.state(), torch.load(studio.run() / "best.pt", weights_only=True)
    assert now["images_seen"] == then["images_seen"] == 960
    for name in ("generator", "discriminator", "average", "generator_optimiser", "steps"):
        assert_same_bits(now["learner"][name], then["learner"][name], name)
    assert_same_bits(now["feed"], then["feed"])
    assert not torch.equal(now["learner"]["streams"]["z"], then["learner"]["streams"]["z"])
    assert now["elapsed_s"] > then["elapsed_s"], "time does not go back"
    assert now["guard"]["knobs"]["rollbacks"] == 1
    # What was gone back on comes again, once.
    assert [line["kimg"] for line in studio.stats()] == [0.16, 0.32, 0.48, 0.64, 0.8, 0.96]
    [back] = [event for event in events(studio) if event["reactions"]]
    assert back["kimg"] == 1.28
    assert back["reactions"] == ["roll back", "lower discriminator rate"]


@pytest.mark.usefixtures("a_generator_that_loses_its_z")
def test_augmentation_and_penalty_are_raised_before_the_rates_are_lowered(
    studio: Studio, witness: Witness
) -> None:
    with pytest.raises(TrainingStopped):
        studio.train(
            config_of(
                d_norm="none",
                penalty="r1",
                gamma=0.1,
                augment="diffaug",
                augment_p=0.2,
                augment_ops="translation",
            ),
            display=witness,
        )
    assert witness.turned() == Knobs(
        penalty=2.0, augmentation=0.2, d_rate=0.5, rate=0.5, rollbacks=3
    )
    first = witness.verdicts.index(witness.rolled_back()[0])
    assert [witness.signals[i].augment_p for i in (first, first + 1)] == pytest.approx([0.2, 0.4])


def test_the_guard_is_told_the_augmentation_before_it_fades_and_the_page_after(
    studio: Studio, witness: Witness
) -> None:
    """Decided on the faded one, a remedy that changes nothing would look like one."""
    augmented = {"augment": "diffaug", "augment_ops": "translation", "augment_p": 0.4}
    studio.train(config_of(kimg=0.64, augment_fade=1.0, **augmented), display=witness)
    assert [signals.augment_p for signals in witness.signals] == [0.4] * 4
    shown = [line["augment_p"] for line in studio.stats()]
    assert shown == pytest.approx([0.3, 0.2, 0.1, 0.0])


@pytest.mark.usefixtures("a_generator_that_loses_its_z")
def test_a_run_that_collapses_at_its_very_end_ends_with_the_best_and_an_error_too(
    studio: Studio, witness: Witness
) -> None:
    """One ill tick, no time left for a remedy."""
    with pytest.raises(TrainingStopped, match="the budget is spent"):
        studio.train(config_of(kimg=1.12), display=witness)
    assert witness.rolled_back() == []
    assert latest(studio).name == "tiny-000000.96-best"


@pytest.mark.usefixtures("a_generator_that_loses_its_z")
def test_unguarded_a_run_collapses_in_peace(studio: Studio, witness: Witness) -> None:
    assert studio.train(config_of(guard=False, kimg=1.6), display=witness).is_finished
    assert not (studio.run() / "guard.jsonl").exists()
    assert witness.verdicts == []
    assert studio.stats()[-1]["pixel_diversity"] < symptoms.COLLAPSED_DIVERSITY, "it did collapse"


@pytest.mark.usefixtures("a_generator_that_loses_its_z")
def test_the_best_state_may_be_gone_when_it_is_needed(studio: Studio) -> None:
    class Tidy(NotingDisplay):
        """A person who frees some space."""

        def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
            super().tick(stats, pace, checkpoint)
            if stats.kimg > CROSSING_KIMG:
                (studio.run() / "best.pt").unlink(missing_ok=True)

    with pytest.raises(StorageError, match=r"best\.pt, the state to go back to, is gone\. .* same"):
        studio.train(config_of(), display=Tidy())
    assert studio.state()["images_seen"] == 1120, "the last tick's state is kept"


# ---------------------------------------------------------------- a run that diverges


class Poisoned(Learner):
    """Once, a weight becomes infinite, as by a bit that fell over."""

    at_images = 0
    """0: never more."""

    def step(self, real: Tensor, classes: Tensor | None, images_seen: int, fraction: float) -> None:
        super().step(real, classes, images_seen, fraction)
        if images_seen == type(self).at_images:
            type(self).at_images = 0
            with torch.no_grad():
                next(self.generator.parameters())[0, 0, 0, 0] = math.inf


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.loop.Learner", Poisoned)
    monkeypatch.setattr(Poisoned, "at_images", 63 * BATCH)


@pytest.mark.usefixtures("poison")
def test_a_run_that_diverges_goes_back_slows_down_and_goes_on_to_the_end(
    studio: Studio, witness: Witness
) -> None:
    config = config_of(kimg=1.6, d_norm="none", penalty="r1", gamma=0.1, d_lr_factor=2.0)
    result = studio.train(config, display=witness)
    assert result.is_finished
    assert result.images_seen == 1600
    [verdict] = witness.rolled_back()
    assert verdict.back_to_kimg == 0.96
    assert "no longer a number" in verdict.words
    # At once, without waiting for the tick at 1.12: three steps in a row came to nothing.
    assert witness.kimgs[6] == pytest.approx((63 + 3) * BATCH / 1000)
    assert [line["kimg"] for line in studio.stats()] == [
        *(0.16, 0.32, 0.48, 0.64, 0.8, 0.96),
        *(1.12, 1.28, 1.44, 1.6),
    ]
    now = studio.state()
    assert now["guard"]["knobs"] == dataclasses.asdict(Knobs(rate=0.5, penalty=2.0, rollbacks=1))
    rates = [
        now["learner"][name]["param_groups"][0]["lr"]
        for name in ("generator_optimiser", "discriminator_optimiser")
    ]
    assert rates == pytest.approx([1e-4, 2e-4])
    for checkpoint in studio.checkpoints():
        load_generator(checkpoint)


@pytest.mark.usefixtures("poison")
def test_a_run_nobody_watched_goes_back_to_where_the_guard_was_switched_on(
    studio: Studio, witness: Witness
) -> None:
    """Not to its beginning, of which best.pt is until then."""
    studio.train(config_of(kimg=0.96, guard=False))
    result = studio.train(config_of(kimg=1.28), display=witness)
    assert result.is_finished
    [verdict] = witness.rolled_back()
    assert verdict.back_to_kimg == 0.96
    assert "back to 1.0 kimg" in verdict.words
    assert any("no better state to go back to than this one" in note for note in witness.notes)
    assert [line["kimg"] for line in studio.stats()] == [
        *(0.16, 0.32, 0.48, 0.64, 0.8, 0.96),
        *(1.12, 1.28),
    ]


@pytest.mark.usefixtures("poison")
def test_a_run_that_went_back_can_be_stopped_and_resumed_with_the_same_bits(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.train(config_of(kimg=1.6))
    whole = learned(studio.state())
    studio.run().rename(studio.folders.runs / "whole")
    monkeypatch.setattr(Poisoned, "at_images", 63 * BATCH)
    display = NotingDisplay()
    studio.train(config_of(kimg=1.6), stop_after_steps=63 + 3 + 7, display=display)
    assert any("back to 1.0 kimg" in note for note in display.notes)
    assert studio.state()["images_seen"] == 960 + 7 * BATCH
    studio.train(config_of(kimg=1.6))
    assert_same_bits(learned(studio.state()), whole)


@pytest.mark.usefixtures("poison")
def test_a_run_killed_while_it_goes_back_goes_back_again_with_the_same_bits(
    studio: Studio, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class PowerCut(Exception):
        pass

    def save(run_folder: Path, saved: dict[str, Any], name: str = state.STATE_FILE) -> None:
        if witness.rolled_back():
            raise PowerCut
        really_save(run_folder, saved, name)

    really_save = state.save
    with monkeypatch.context() as cut:
        cut.setattr(state, "save", save)
        with pytest.raises(PowerCut):
            studio.train(config_of(kimg=1.28), display=witness)
    assert studio.state()["images_seen"] == 960
    again = []
    for run in ("tiny", "whole"):
        monkeypatch.setattr(Poisoned, "at_images", 63 * BATCH)
        assert studio.train(config_of(run=run, kimg=1.28)).is_finished
        again.append(remembered(studio.state(run)))
        assert again[-1]["config"].pop("run") == run
    assert len(witness.rolled_back()) == 3
    assert_same_bits(*again)
    assert studio.stats("tiny")[-1].keys() == studio.stats("whole")[-1].keys()
    assert [e["kimg"] for e in events(studio)] == [pytest.approx(66 * BATCH / 1000)]


@pytest.mark.usefixtures("poison")
def test_unguarded_a_weight_that_is_no_number_ends_the_run_and_keeps_the_last_state(
    studio: Studio,
) -> None:
    with pytest.raises(
        TrainingStopped,
        match=r"tiny diverged between 1\.0 and 1\.1 kimg: .* no longer a number\. The state at "
        r"1\.0 kimg and all checkpoints are kept\. Go on from there with a smaller --lr \(now "
        r"0\.0002\), or without --no-guard\.",
    ):
        studio.train(config_of(guard=False))
    assert studio.state()["images_seen"] == 960
    assert latest(studio).kimg == 0.96
    assert studio.train(config_of(guard=False, kimg=1.2)).is_finished


class Spoilt(PictureFeed):
    """Gives pictures that are no numbers at certain steps, counted over everything."""

    steps: ClassVar[set[int]] = set()
    count = 0

    def next(self, count: int) -> tuple[Tensor, Tensor | None]:
        real, classes = super().next(count)
        type(self).count += 1
        if type(self).count in type(self).steps:
            real[0] = math.nan
        return real, classes


def spoil(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    monkeypatch.setattr("trainers.loop.PictureFeed", Spoilt)
    monkeypatch.setattr(Spoilt, "steps", set(steps))
    monkeypatch.setattr(Spoilt, "count", 0)


@pytest.mark.parametrize("loss", ["bce", "relativistic"])
def test_a_step_or_two_without_a_usable_gradient_are_thrown_away_and_told(
    studio: Studio, witness: Witness, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Of one network, or of both: here the relativistic generator looks at the broken picture too."""
    spoil(monkeypatch, 13, 14)
    assert studio.train(config_of(kimg=0.64, loss=loss), display=witness).is_finished
    assert witness.kimgs == [0.16, 0.32, 0.48, 0.64]
    assert [line["skipped_steps"] for line in studio.stats()] == [0, 2, 0, 0]
    assert witness.rolled_back() == []
    [warned] = [event for event in events(studio) if event["symptoms"]]
    assert warned["symptoms"] == ["skipping steps"]
    assert "2 steps without a usable gradient thrown away" in warned["words"]


@pytest.mark.parametrize("loss", ["bce", "relativistic"])
def test_three_such_steps_in_a_row_make_the_guard_look_at_once_and_go_back(
    studio: Studio, witness: Witness, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    spoil(monkeypatch, 13, 14, 15)
    assert studio.train(config_of(kimg=0.64, loss=loss), display=witness).is_finished
    assert witness.kimgs == [0.16, 0.24, 0.32, 0.48, 0.64]
    assert witness.verdicts[1].back_to_kimg == 0.16
    assert "3 steps in a row had no usable gradient" in witness.verdicts[1].words


def test_unguarded_three_such_steps_end_the_run(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, 13, 14, 15)
    with pytest.raises(TrainingStopped, match=r"diverged between 0\.2 and 0\.2 kimg: .*gradient"):
        studio.train(config_of(kimg=0.64, guard=False))
    assert studio.state()["images_seen"] == 160


# ---------------------------------------------------------------- a run whose pictures change


def measuring(kid_x1000: float) -> type[Observer]:
    class Measured(Observer):
        def _measure(self, network: nn.Module, elapsed_s: float, is_last: bool) -> Scores:
            return dataclasses.replace(GOOD_SCORES, kid_x1000=kid_x1000, kid_sd=0.1)

    return Measured


@pytest.mark.parametrize("is_kept_aside", [True, False])
def test_scores_are_forgotten_only_where_other_pictures_are_compared_with(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, is_kept_aside: bool
) -> None:
    studio.add_pictures(count=120)
    before = compared_with(studio.pictures().images, 0.3)
    monkeypatch.setattr("trainers.loop.Observer", measuring(20.0))
    studio.train(config_of(kimg=0.32, holdout=0.3))
    assert studio.state()["guard"]["past"]["best_kid"] == 20.0
    for seed in range(7, 99):  # until one more picture falls on the wanted side
        write_pictures(studio.folders.datasets / "blobs" / "new", 1, seed=seed)
        if (compared_with(studio.pictures().images, 0.3) != before) == is_kept_aside:
            break
    monkeypatch.setattr("trainers.loop.Observer", measuring(25.0))
    display = NotingDisplay()
    studio.train(config_of(kimg=0.64, holdout=0.3), display=display)
    assert any(note.startswith("the pictures changed") for note in display.notes)
    best_kid = studio.state()["guard"]["past"]["best_kid"]
    assert best_kid == (25.0 if is_kept_aside else 20.0)


# ---------------------------------------------------------------- a run that is good enough


def test_a_run_that_begins_to_copy_ends_early_and_well(
    studio: Studio, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Measured(Observer):
        """The third tick is the best there is, from the seventh on they are copies."""

        def _measure(self, network: nn.Module, elapsed_s: float, is_last: bool) -> Scores:
            number = len(witness.verdicts) + 1
            return dataclasses.replace(
                GOOD_SCORES,
                kid_x1000=20.0 + abs(number - 3),
                kid_sd=0.1,
                nearest_ratio=0.9 if number < 7 else 0.2,
            )

    monkeypatch.setattr("trainers.loop.Observer", Measured)
    result: TrainResult = studio.train(config_of(), display=witness)
    assert witness.verdicts[-1].reactions == (Reaction.FINISH,)
    assert len(witness.verdicts) == 9, "copies were measured three times"
    assert result.is_finished
    assert result.images_seen == 1440
    assert result.ended_early == witness.verdicts[-1].words
    assert "begin to copy training pictures" in result.ended_early
    assert result.checkpoint is not None
    assert result.checkpoint.name == latest(studio).name == "tiny-000000.48-best"
    assert latest(studio).kimg == 0.48
    assert studio.stats()[2]["kid_x1000"] == 20.0


def test_the_best_tick_of_a_longer_run_is_the_latest_checkpoint_again(
    studio: Studio, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exported at the end of the first budget, it would else be older than what came after it."""

    class Measured(Observer):
        def _measure(self, network: nn.Module, elapsed_s: float, is_last: bool) -> Scores:
            kid_x1000 = 20.0 + 0.1 * len(witness.verdicts)
            return dataclasses.replace(GOOD_SCORES, kid_x1000=kid_x1000, kid_sd=0.1)

    monkeypatch.setattr("trainers.loop.Observer", Measured)
    for kimg, name in ((0.32, "tiny-000000.16-best"), (0.64, "tiny-000000.16-best-2")):
        result = studio.train(config_of(kimg=kimg), display=witness)
        assert result.is_finished
        assert latest(studio).name == name
        assert latest(studio).kimg == 0.16
    shas = {
        read_manifest(studio.folders.checkpoints / f"tiny-000000.16-best{n}").sha256
        for n in ("", "-2")
    }
    assert len(shas) == 1


@pytest.mark.parametrize(
    ("at_its_best", "at_the_end", "told"),
    [
        ("too early to be judged", "too short to be judged", "too short to be judged"),
        ("too early to be judged", "", ""),
        ("", "the run became ill: alike", ""),
        ("too early to be judged", "the run became ill: alike", "the run became ill: alike"),
    ],
)
def test_the_best_is_doubted_if_nobody_could_judge_it_by_the_end(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, at_its_best: str, at_the_end: str, told: str
) -> None:
    from trainers import loop

    exported: dict[str, Any] = {}
    best = {"images_seen": 8, "learner": {}, "doubt": at_its_best}
    monkeypatch.setattr(loop.state, "load", lambda *_: best)
    monkeypatch.setattr(loop, "export_checkpoint", lambda *_, **named: exported.update(named))
    last = Verdict(Health.WARNING, (), (), "", False, False, None, at_the_end)
    anyone: Any = MagicMock()
    loop._export_best(studio.path, anyone, anyone, config_of(), anyone, studio.folders, last)
    assert exported == {"is_best": True, "doubt": told}

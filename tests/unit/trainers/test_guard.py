"""The guard: what it sees in a run's numbers, what it has done about it, what it says."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from trainers.guard import (
    MAX_REMEDIES,
    RULES,
    Guard,
    GuardEvent,
    Health,
    Knobs,
    Reaction,
    Verdict,
)
from trainers.symptoms import (
    LEAST_WARM_UP_KIMG,
    SEEN_WHEN,
    Reading,
    Signals,
    Symptom,
    classic_health,
)

TICK_KIMG = 4.0
BUDGET_KIMG = 300.0
NAN = math.nan


@dataclass(frozen=True)
class SomeScores:
    kid_x1000: float
    kid_sd: float = 1.0
    coverage: float = 0.5
    diversity_ratio: float = 0.9
    nearest_ratio: float | None = 1.0
    colour_distance: float = 5.0
    floor_colour_distance: float = 3.0


def tick(kimg: float, budget_kimg: float = BUDGET_KIMG, **changed: Any) -> Signals:
    """A healthy tick, but for what is changed."""
    healthy = Signals(
        kimg=kimg,
        fraction=min(1.0, kimg / budget_kimg),
        is_finite=True,
        skipped_steps=0,
        skipped_in_a_row=0,
        d_loss=0.9,
        g_loss=3.0,
        d_right=0.85,
        gradient_norm=5.0,
        penalty_share=0.1,
        augment_p=0.2,
        pixel_diversity=0.95,
        dead_share=0.0,
    )
    return replace(healthy, **changed)


def new_guard(has_augmentation: bool = True, has_penalty: bool = True) -> Guard:
    return Guard(has_augmentation=has_augmentation, has_penalty=has_penalty)


World = Callable[[float, Knobs], dict[str, Any]]
"""What a tick at so many kimg looks like, trained with those knobs."""


@dataclass(frozen=True)
class Look:
    kimg: float
    verdict: Verdict


def train(
    world: World,
    guard: Guard | None = None,
    budget_kimg: float = BUDGET_KIMG,
    tick_kimg: float = TICK_KIMG,
) -> list[Look]:
    """A run as the loop makes it: it goes back where it is told to, and ends when it is told to."""
    guard = guard or new_guard()
    looks, kimg = [], 0.0
    while kimg < budget_kimg and len(looks) < 1000:
        kimg = min(budget_kimg, kimg + tick_kimg)
        seen = tick(kimg, budget_kimg, **world(kimg, guard.knobs))
        verdict = guard.look(seen)
        looks.append(Look(kimg, verdict))
        if {Reaction.STOP, Reaction.FINISH} & set(verdict.reactions):
            break
        if verdict.back_to_kimg is not None:
            kimg = verdict.back_to_kimg
    return looks


def reactions_of(looks: Iterable[Look]) -> list[tuple[Reaction, ...]]:
    return [look.verdict.reactions for look in looks if look.verdict.reactions]


def first(looks: Iterable[Look], reaction: Reaction) -> Look:
    return next(look for look in looks if reaction in look.verdict.reactions)


# ---------------------------------------------------------------- healthy runs

SEEN = {
    # (kimg, diversity of the grid, discriminator right, d_loss, g_loss) of ticks 4 kimg apart: plain
    # DCGANs of 64 px that were trained to their end, and whose grids were looked at and found good.
    "impressionism, 16 a step": (
        (4.0, 0.68, 0.871, 0.80, 7.87),
        (8.0, 1.01, 0.827, 0.95, 4.56),
        (12.0, 0.98, 0.804, 0.97, 3.96),
        (16.0, 0.99, 0.859, 0.80, 4.20),
        (20.0, 1.13, 0.858, 0.80, 3.85),
        (24.0, 1.21, 0.871, 0.78, 4.04),
        (28.0, 1.24, 0.833, 0.88, 3.92),
        (32.0, 1.04, 0.826, 0.88, 4.03),
        (36.0, 0.91, 0.821, 0.91, 3.46),
        (40.0, 1.01, 0.865, 0.79, 3.79),
        (44.0, 0.98, 0.856, 0.81, 3.81),
        (48.0, 0.95, 0.845, 0.83, 3.75),
        (52.0, 0.90, 0.851, 0.82, 3.50),
        (56.0, 0.98, 0.854, 0.82, 3.62),
        (60.0, 0.95, 0.850, 0.83, 3.50),
        (64.0, 0.96, 0.869, 0.78, 3.47),
        (68.0, 0.95, 0.861, 0.79, 3.59),
        (72.0, 0.94, 0.873, 0.77, 3.49),
        (76.0, 0.95, 0.882, 0.75, 3.68),
        (80.0, 0.91, 0.882, 0.74, 3.67),
        (84.0, 0.93, 0.894, 0.71, 3.74),
        (88.0, 0.93, 0.884, 0.73, 3.70),
        (92.0, 0.90, 0.891, 0.72, 3.77),
    ),
    "impressionism, 64 a step": (
        (4.0, 0.13, 0.824, 0.97, 12.09),
        (8.1, 0.60, 0.825, 0.95, 4.17),
        (12.1, 0.71, 0.868, 0.81, 4.52),
        (16.1, 0.72, 0.923, 0.65, 5.82),
        (20.2, 0.95, 0.847, 0.85, 3.61),
        (24.2, 1.10, 0.785, 1.02, 3.39),
        (28.2, 1.05, 0.823, 0.90, 3.91),
        (32.3, 1.05, 0.813, 0.95, 3.74),
        (36.3, 1.02, 0.870, 0.81, 4.24),
        (40.3, 1.08, 0.904, 0.69, 4.49),
        (44.4, 1.05, 0.891, 0.73, 4.72),
        (48.4, 1.04, 0.900, 0.70, 4.77),
        (52.4, 1.01, 0.913, 0.67, 4.98),
        (56.4, 1.08, 0.888, 0.73, 4.57),
        (60.5, 1.10, 0.939, 0.60, 4.96),
        (64.5, 1.03, 0.943, 0.59, 4.93),
        (68.5, 1.04, 0.906, 0.71, 5.16),
        (72.6, 0.98, 0.945, 0.59, 4.82),
        (76.6, 1.08, 0.870, 0.77, 3.99),
        (80.6, 1.17, 0.898, 0.70, 3.81),
        (84.7, 1.22, 0.872, 0.78, 4.18),
        (88.7, 1.24, 0.878, 0.75, 4.13),
        (92.7, 1.23, 0.853, 0.81, 4.33),
        (96.8, 1.24, 0.882, 0.75, 4.17),
        (100.8, 1.22, 0.916, 0.67, 4.24),
        (104.1, 1.19, 0.876, 0.75, 4.27),
    ),
    "the demo, 16 a step": (
        (4.0, 0.23, 0.985, 0.43, 5.95),
        (8.0, 0.49, 0.979, 0.45, 5.47),
        (12.0, 0.82, 0.976, 0.47, 4.78),
        (16.0, 0.91, 0.966, 0.50, 4.61),
        (20.0, 0.96, 0.974, 0.48, 4.33),
        (24.0, 0.98, 0.965, 0.50, 4.48),
        (28.0, 0.77, 0.983, 0.43, 4.77),
        (32.0, 0.89, 0.982, 0.44, 4.52),
        (36.0, 0.99, 0.982, 0.44, 4.50),
        (40.0, 1.01, 0.975, 0.46, 4.50),
        (44.0, 0.97, 0.989, 0.42, 4.54),
    ),
    "the demo, 32 a step": (
        (4.0, 0.11, 0.982, 0.44, 6.10),
        (8.0, 0.24, 0.984, 0.44, 6.34),
        (12.0, 0.48, 0.980, 0.46, 5.30),
        (16.0, 0.63, 0.986, 0.43, 5.04),
        (20.0, 0.69, 0.987, 0.42, 4.91),
        (24.0, 0.88, 0.959, 0.56, 4.46),
        (27.5, 0.91, 0.975, 0.49, 4.31),
    ),
}


@pytest.mark.parametrize("budget", ["as it was", "ten times as long"])
@pytest.mark.parametrize("run", SEEN)
def test_good_runs_that_were_seen_are_never_touched_and_their_last_ticks_are_the_best(
    run: str, budget: str
) -> None:
    ticks = SEEN[run]
    budget_kimg = ticks[-1][0] * (1.001 if budget == "as it was" else 10)
    guard = new_guard()
    for kimg, diversity, d_right, d_loss, g_loss in ticks:
        verdict = guard.look(
            tick(
                kimg,
                budget_kimg,
                pixel_diversity=diversity,
                d_right=d_right,
                d_loss=d_loss,
                g_loss=g_loss,
            )
        )
        assert verdict.reactions == (), verdict.words
        assert verdict.health is not Health.ILL, verdict.words
    assert guard.best_kimg == ticks[-1][0]


def test_a_healthy_run_is_left_alone_to_its_end() -> None:
    looks = train(lambda kimg, knobs: {})
    assert reactions_of(looks) == []
    assert {look.verdict.health for look in looks} == {Health.HEALTHY}
    assert not any(look.verdict.is_news for look in looks)
    assert looks[-1].kimg == BUDGET_KIMG


def test_a_healthy_tick_is_told_with_its_figures() -> None:
    looks = train(lambda kimg, knobs: {})
    assert looks[0].verdict.words == (
        "too early to judge (diversity 0.95 of the real pictures'; judged from 20 kimg on)"
    )
    assert looks[-1].verdict.words == (
        "healthy (diversity 0.95 of the real pictures', discriminator right on 85%)"
    )


# ---------------------------------------------------------------- collapse


def sudden_collapse(at_kimg: float) -> World:
    """The pictures are all one from there on, unless the penalty was raised before."""
    return lambda kimg, knobs: (
        {"pixel_diversity": 0.1} if kimg >= at_kimg and knobs.penalty < 2 else {}
    )


def test_a_sudden_collapse_goes_back_to_the_best_tick_and_changes_something() -> None:
    looks = train(sudden_collapse(at_kimg=60))
    [reactions] = reactions_of(looks)
    assert reactions == (
        Reaction.ROLL_BACK,
        Reaction.RAISE_AUGMENTATION,
        Reaction.RAISE_PENALTY,
    )
    acted = first(looks, Reaction.ROLL_BACK)
    assert acted.kimg == 64, "the first sight of it is looked at once more"
    assert acted.verdict.back_to_kimg == 56
    assert acted.verdict.words == (
        "the pictures have become alike (diversity 0.10 of the real pictures'; collapse is below "
        "0.35): back to 56.0 kimg, gradient penalty x 2, augmentation p 0.20 -> 0.40 "
        "(remedy 1 of 3)"
    )
    assert looks[-1].kimg == BUDGET_KIMG, "and the run goes on to its end"
    assert looks[-1].verdict.health is Health.HEALTHY


def test_a_tick_that_looks_collapsed_is_ill_before_anything_is_done() -> None:
    """What is not exported costs nothing; a remedy does."""
    looks = train(sudden_collapse(at_kimg=60))
    suspicious = next(look for look in looks if look.kimg == 60)
    assert suspicious.verdict.health is Health.ILL
    assert suspicious.verdict.reactions == ()
    assert suspicious.verdict.is_news
    assert suspicious.verdict.words.endswith("below 0.35): watched, nothing is done yet")


def test_a_single_bad_tick_is_not_acted_upon() -> None:
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.1} if kimg == 60 else {})
    assert reactions_of(looks) == []
    after = next(look for look in looks if look.kimg == 64)
    assert after.verdict.is_news
    assert after.verdict.words.startswith("healthy again (")


def test_a_slow_collapse_is_met_with_more_augmentation_long_before_it_is_one() -> None:
    def fading(kimg: float, knobs: Knobs) -> dict[str, Any]:
        return {"pixel_diversity": max(0.05, 1.0 - kimg / 200)}

    looks = train(fading)
    met = first(looks, Reaction.RAISE_AUGMENTATION)
    assert Symptom.FADING in met.verdict.symptoms
    assert met.verdict.health is Health.WARNING
    went_back = first(looks, Reaction.ROLL_BACK)
    assert went_back.kimg > met.kimg
    assert went_back.verdict.back_to_kimg is not None
    assert went_back.verdict.back_to_kimg <= 56, "where it still had most of its diversity"


def test_a_fall_by_two_fifths_is_a_collapse_before_the_pictures_are_alike() -> None:
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.95 if kimg < 100 else 0.5})
    acted = first(looks, Reaction.ROLL_BACK)
    assert acted.kimg == 104
    assert "diversity fell from 0.95 to 0.50 of the real pictures' within 50 kimg" in (
        acted.verdict.words
    )


@pytest.mark.parametrize(("after", "is_fall"), [(0.65, False), (0.59, True)])
def test_diversity_above_the_real_pictures_is_told_as_it_is_and_losing_it_is_no_fall(
    after: float, is_fall: bool
) -> None:
    """The curve's 1.19 is the guard's 1.19; a fall is counted from 1."""
    looks = train(lambda kimg, knobs: {"pixel_diversity": 1.19 if kimg < 100 else after})
    assert "(diversity 1.19 of the real pictures', " in looks[20].verdict.words
    assert any(Reaction.ROLL_BACK in done for done in reactions_of(looks)) is is_fall
    if is_fall:
        words = first(looks, Reaction.ROLL_BACK).verdict.words
        assert "diversity fell from 1.19 to 0.59 of the real pictures'" in words


def test_the_same_fall_over_a_long_time_is_none() -> None:
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.95 - 0.35 * kimg / BUDGET_KIMG})
    assert reactions_of(looks) == []


def test_an_early_false_alarm_that_diversifies_is_waited_for() -> None:
    """projected-gan issue 34: alike for 24 kimg, and more diverse with every tick."""
    looks = train(lambda kimg, knobs: {"pixel_diversity": min(0.9, 0.02 * 1.15 ** (kimg / 4))})
    assert reactions_of(looks) == []
    assert all(look.verdict.health is not Health.ILL for look in looks)
    assert looks[-1].verdict.health is Health.HEALTHY


def test_what_once_was_diverse_and_is_alike_now_is_a_collapse_even_while_it_rises() -> None:
    def world(kimg: float, knobs: Knobs) -> dict[str, Any]:
        if kimg < 60 or knobs.rollbacks > 1:
            return {}
        return {"pixel_diversity": 0.1 * 1.2 ** ((kimg - 60) / 4) if knobs.rollbacks else 0.1}

    went_back = [look for look in train(world) if look.verdict.back_to_kimg is not None]
    assert [look.kimg for look in went_back] == [64, 76]


def test_what_never_becomes_diverse_is_a_collapse_once_the_warm_up_is_over() -> None:
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.1})
    assert first(looks, Reaction.ROLL_BACK).kimg == 24
    assert first(looks, Reaction.ROLL_BACK).verdict.back_to_kimg == 0
    assert "back to the beginning" in first(looks, Reaction.ROLL_BACK).verdict.words


@pytest.mark.parametrize(
    ("budget_kimg", "judged_from_kimg"),
    [(10, 12), (30, 12), (50, 12.5), (80, 20), (300, 20), (1000, 50)],
)
def test_the_warm_up_scales_with_the_budget_within_what_a_network_needs(
    budget_kimg: float, judged_from_kimg: float
) -> None:
    guard = new_guard()
    said = guard.look(tick(1.0, budget_kimg, pixel_diversity=0.1)).words
    assert said.endswith(f"judged from {judged_from_kimg:g} kimg on)")


def test_a_run_too_short_to_bloom_is_never_called_collapsed() -> None:
    looks = train(
        lambda kimg, knobs: {"pixel_diversity": 0.1, "dead_share": 0.5},
        budget_kimg=LEAST_WARM_UP_KIMG - 1,
        tick_kimg=1,
    )
    assert all(look.verdict.health is not Health.ILL for look in looks)
    assert all(look.verdict.health is Health.HEALTHY for look in looks[:-1])


@pytest.mark.parametrize("is_poor", [False, True], ids=["sound", "poor"])
def test_a_run_that_ends_in_its_warm_up_says_that_it_is_too_short_to_be_judged(
    is_poor: bool,
) -> None:
    looks = train(
        lambda kimg, knobs: {"pixel_diversity": 0.1} if is_poor else {},
        budget_kimg=LEAST_WARM_UP_KIMG - 1,
        tick_kimg=1,
    )
    end = looks[-1].verdict
    assert not any(look.verdict.is_news for look in looks[:-1])
    assert end.is_news, "it stands in guard.jsonl, so on the page"
    assert end.reactions == ()
    assert end.health is (Health.WARNING if is_poor else Health.HEALTHY)
    how = (
        "0.10 of the real pictures', and what it paints is poor" if is_poor else "0.95 of the real"
    )
    assert end.words.startswith(
        "too short to be judged: it ends at 11 kimg, a run is judged from 12 kimg on (diversity "
        + how
    )
    assert end.words.endswith("Look at the grid; a larger --kimg or --minutes goes on from here")
    assert end.doubt.startswith(
        "too short to be judged: it ends at 11 kimg, a run is judged from 12"
    )
    assert looks[0].verdict.doubt.startswith("too early to be judged: it is at 1 kimg, a run is")


def test_a_run_that_ends_after_its_warm_up_has_been_judged() -> None:
    looks = train(lambda kimg, knobs: {}, budget_kimg=LEAST_WARM_UP_KIMG, tick_kimg=1)
    assert looks[-1].verdict.words.startswith("healthy (")
    assert not looks[-1].verdict.is_news
    assert looks[-1].verdict.doubt == ""


def measured_young(at_kimg: float, then: dict[str, Any], **scores: float) -> World:
    """Alike from 6 kimg on; measured once, at `at_kimg`."""

    def world(kimg: float, knobs: Knobs) -> dict[str, Any]:
        measured = {"scores": SomeScores(60.0, **scores)} if kimg == at_kimg else {}
        return measured | (then if kimg >= 6 else {})

    return world


def test_what_was_measured_good_and_collapses_is_recognised_before_the_warm_up_is_over() -> None:
    """The default makes 18 kimg in 30 minutes of a processor."""
    alike = {"pixel_diversity": 0.1}
    world = measured_young(4, alike, coverage=0.5, diversity_ratio=0.9)
    looks = train(world, budget_kimg=11, tick_kimg=1)
    back = first(looks, Reaction.ROLL_BACK)
    assert back.kimg == 7
    assert back.verdict.back_to_kimg == 4
    assert back.verdict.symptoms == (Symptom.COLLAPSED,)


@pytest.mark.parametrize("scores", [{"coverage": 0.015}, {"diversity_ratio": 0.3}], ids=str)
def test_diverse_noise_that_was_measured_is_not_taken_for_blooming(
    scores: dict[str, float],
) -> None:
    looks = train(
        measured_young(4, {"pixel_diversity": 0.1}, **scores), budget_kimg=11, tick_kimg=1
    )
    assert all(look.verdict.health is not Health.ILL for look in looks)
    assert reactions_of(looks) == []


def test_what_follows_a_good_measurement_is_not_compared_with_the_noise_before_it() -> None:
    """Noise is as diverse as anything: 1.0, then good pictures of 0.62, then 0.58."""

    def world(kimg: float, knobs: Knobs) -> dict[str, Any]:
        if kimg < 4:
            return {"pixel_diversity": 1.0}
        scores = {"scores": SomeScores(60.0, diversity_ratio=0.62)} if kimg == 4 else {}
        return scores | {"pixel_diversity": 0.62 if kimg == 4 else 0.58}

    looks = train(world, budget_kimg=11, tick_kimg=1)
    assert all(look.verdict.health is not Health.ILL for look in looks)


def test_a_run_of_twenty_minutes_is_guarded_from_its_first_quarter_on() -> None:
    """50 kimg: four times 20 kimg of warm-up, window and grace would be more than there is."""
    looks = train(sudden_collapse(at_kimg=20), budget_kimg=50)
    assert first(looks, Reaction.ROLL_BACK).kimg == 24
    assert looks[-1].verdict.health is Health.HEALTHY


def test_pictures_of_one_flat_colour_are_a_collapse() -> None:
    """lightweight-gan issue 133: fading to black while the losses look stable."""
    looks = train(lambda kimg, knobs: {"dead_share": 0.4 if kimg > 100 else 0.2})
    acted = first(looks, Reaction.ROLL_BACK)
    assert acted.verdict.symptoms == (Symptom.DEAD,)
    assert "40% of the pictures are the same or one flat colour" in acted.verdict.words
    assert "above 25%" in acted.verdict.words


def test_pictures_that_differ_in_pixels_and_not_in_what_they_show_are_a_collapse() -> None:
    """The plaid of a plain DCGAN: as different from each other as real pictures, pixel by pixel."""
    looks = train(
        lambda kimg, knobs: {
            "scores": SomeScores(500 - kimg, diversity_ratio=0.3 if kimg > 100 else 0.8)
        }
    )
    assert first(looks, Reaction.ROLL_BACK).verdict.symptoms == (Symptom.ALIKE,)


# ---------------------------------------------------------------- the discriminator wins, or is blind


def won(knobs: Knobs, is_healed: bool) -> dict[str, Any]:
    return {} if is_healed else {"d_right": 0.98, "pixel_diversity": 0.55}


def test_a_winning_discriminator_is_healed_by_augmentation_alone() -> None:
    looks = train(lambda kimg, knobs: won(knobs, is_healed=knobs.augmentation > 0))
    assert reactions_of(looks) == [(Reaction.RAISE_AUGMENTATION,)]
    told = first(looks, Reaction.RAISE_AUGMENTATION).verdict.words
    assert told.startswith(
        "the discriminator wins (right on 98.0%; the limit is 95%) and the pictures get no better "
        "(diversity 0.55 of the real pictures')"
    )
    assert told.endswith(": augmentation p 0.20 -> 0.40 (remedy 1 of 3)")
    assert looks[-1].kimg == BUDGET_KIMG


def test_what_is_not_there_is_passed_over_for_the_next_remedy() -> None:
    guard = new_guard(has_augmentation=False, has_penalty=False)
    looks = train(lambda kimg, knobs: won(knobs, is_healed=knobs.d_rate < 1), guard)
    assert reactions_of(looks) == [(Reaction.LOWER_D_RATE,)]
    assert guard.knobs == Knobs(d_rate=0.5)


def test_an_augmentation_that_is_as_strong_as_it_may_be_is_not_raised() -> None:
    looks = train(lambda kimg, knobs: {"augment_p": 1.0, **won(knobs, is_healed=False)})
    assert reactions_of(looks)[0] == (Reaction.RAISE_PENALTY,)


def test_a_warning_alone_never_ends_a_run_and_leaves_the_last_remedy_for_an_illness() -> None:
    looks = train(lambda kimg, knobs: won(knobs, is_healed=False), budget_kimg=2000)
    assert reactions_of(looks) == [(Reaction.RAISE_AUGMENTATION,), (Reaction.RAISE_PENALTY,)]
    assert looks[-1].kimg == 2000
    assert MAX_REMEDIES == 3


def test_a_winning_discriminator_is_let_win_while_kid_gets_better() -> None:
    looks = train(
        lambda kimg, knobs: {"d_right": 0.99, "scores": SomeScores(500 - kimg, kid_sd=0.5)}
    )
    assert reactions_of(looks) == []


def test_a_winning_discriminator_is_not_let_win_when_kid_stands_still() -> None:
    looks = train(
        lambda kimg, knobs: {"d_right": 0.99, "scores": SomeScores(400 - min(kimg, 100))},
        budget_kimg=1000,
    )
    acted = first(looks, Reaction.RAISE_AUGMENTATION)
    assert 120 <= acted.kimg <= 140
    assert "no gain in KID at the last" in acted.verdict.words


def test_each_remedy_is_given_time_before_the_next() -> None:
    looks = train(lambda kimg, knobs: won(knobs, is_healed=False))
    at_kimg = [look.kimg for look in looks if look.verdict.reactions]
    assert at_kimg[1] - at_kimg[0] >= 20


def test_a_blind_discriminator_is_given_more_freedom_while_the_diversity_falls() -> None:
    looks = train(
        lambda kimg, knobs: {"d_right": 0.52, "pixel_diversity": max(0.65, 1 - kimg / 150)}
    )
    assert reactions_of(looks)[0] == (Reaction.LOWER_PENALTY,)
    assert "chance is 50%" in first(looks, Reaction.LOWER_PENALTY).verdict.words


def test_a_discriminator_that_cannot_tell_is_the_goal_while_the_pictures_stay_diverse() -> None:
    looks = train(lambda kimg, knobs: {"d_right": 0.5})
    assert reactions_of(looks) == []


def test_a_penalty_that_drowns_the_rest_is_quartered() -> None:
    guard = new_guard()
    looks = train(lambda kimg, knobs: {"penalty_share": 24.0 * knobs.penalty}, guard)
    assert reactions_of(looks) == [(Reaction.LOWER_PENALTY, Reaction.LOWER_PENALTY)]
    assert guard.knobs == Knobs(penalty=0.25)
    told = first(looks, Reaction.LOWER_PENALTY).verdict.words
    assert "24 times as large; the limit is 10" in told
    assert "gradient penalty x 0.25" in told


def test_a_large_gradient_is_said_and_nothing_is_done() -> None:
    looks = train(lambda kimg, knobs: {"gradient_norm": 900.0 if kimg == 100 else 5.0})
    assert reactions_of(looks) == []
    [rough] = [look for look in looks if Symptom.ROUGH_GRADIENTS in look.verdict.symptoms]
    assert "norm 900, usual 5" in rough.verdict.words


def test_gradients_that_are_always_large_are_usual() -> None:
    looks = train(lambda kimg, knobs: {"gradient_norm": 900.0})
    assert {look.verdict.health for look in looks} == {Health.HEALTHY}


# ---------------------------------------------------------------- divergence

DIVERGED: dict[str, dict[str, Any]] = {
    "a weight is no number": {"is_finite": False},
    "a loss is no number": {"d_loss": NAN},
    "the pictures are no numbers": {"pixel_diversity": NAN, "dead_share": NAN},
    "no usable gradient": {"skipped_steps": 3, "skipped_in_a_row": 3},
    "a loss beyond reason": {"g_loss": 2e4},
    "a loss beyond reason, below zero": {"d_loss": -2e4},
}


@pytest.mark.parametrize("numbers", DIVERGED.values(), ids=DIVERGED)
def test_a_divergence_goes_back_at_once_with_smaller_steps_and_a_stronger_penalty(
    numbers: dict[str, Any],
) -> None:
    guard = new_guard()
    looks = train(lambda kimg, knobs: numbers if kimg == 40 and not knobs.rollbacks else {}, guard)
    acted = first(looks, Reaction.ROLL_BACK)
    assert acted.kimg == 40
    assert acted.verdict.back_to_kimg == 36
    assert acted.verdict.symptoms == (Symptom.DIVERGED,)
    assert guard.knobs == Knobs(rate=0.5, penalty=2.0, rollbacks=1)
    assert looks[-1].verdict.health is Health.HEALTHY


def test_a_divergence_is_told_with_its_losses() -> None:
    told = new_guard().look(tick(4.0, d_loss=NAN, is_finite=False)).words
    assert told == (
        "a weight, a loss or a picture is no longer a number (discriminator's loss nan, generator's "
        "3): back to the beginning, gradient penalty x 2, both networks' step sizes x 0.5 "
        "(remedy 1 of 3)"
    )


def test_a_step_thrown_away_now_and_then_is_only_told() -> None:
    looks = train(
        lambda kimg, knobs: {"skipped_steps": 5, "skipped_in_a_row": 2} if kimg == 40 else {}
    )
    assert reactions_of(looks) == []
    [stumbled] = [look for look in looks if look.verdict.health is Health.WARNING]
    assert "5 steps without a usable gradient thrown away" in stumbled.verdict.words


def test_a_run_that_always_diverges_ends_after_three_remedies_and_does_not_loop() -> None:
    """lightweight-gan issue 92 reloads the same state for ever."""
    guard = new_guard()
    looks = train(lambda kimg, knobs: {"g_loss": NAN} if kimg > 40 else {}, guard)
    done = reactions_of(looks)
    assert len(done) == 4
    assert all(Reaction.ROLL_BACK in reactions for reactions in done[:3])
    assert done[3] == (Reaction.STOP,)
    assert guard.knobs == Knobs(rate=0.125, penalty=2.0, rollbacks=3), "never unchanged"
    assert looks[-1].verdict.words.endswith(
        "3 remedies did not help, so the run ends; the best pictures, of 40.0 kimg, are kept"
    )


def test_a_run_that_diverges_from_its_first_tick_on_ends_too_and_says_that_nothing_is_kept() -> (
    None
):
    looks = train(lambda kimg, knobs: {"is_finite": False})
    assert len(looks) == 4
    assert looks[-1].verdict.reactions == (Reaction.STOP,)
    assert looks[-1].verdict.words.endswith("no tick was good enough to keep")


def test_a_penalty_that_already_drowns_the_rest_is_not_raised() -> None:
    guard = new_guard()
    guard.look(tick(4.0, is_finite=False, penalty_share=50.0))
    assert guard.knobs == Knobs(rate=0.5, rollbacks=1)


# ---------------------------------------------------------------- the end of the means


def test_a_collapse_that_always_comes_back_ends_the_run_after_three_remedies() -> None:
    guard = new_guard()
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.2} if kimg > 60 else {}, guard)
    done = reactions_of(looks)
    assert [Reaction.ROLL_BACK in reactions for reactions in done] == [True, True, True, False]
    assert done[-1] == (Reaction.STOP,)
    assert looks[-1].verdict.health is Health.ILL
    assert guard.best_kimg == 60
    assert "the best pictures, of 60.0 kimg, are kept" in looks[-1].verdict.words


def test_a_way_back_is_given_time_before_the_next() -> None:
    """Counted in training: after going back to 60 the run collapses again at 64, and is let be."""
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.2} if kimg > 60 else {})
    went_back = [i for i, look in enumerate(looks) if look.verdict.reactions]
    assert [looks[i].kimg for i in went_back] == [68, 80, 80, 80]
    waiting = looks[went_back[0] + 2].verdict
    assert waiting.health is Health.ILL
    assert waiting.words.endswith("the last remedy is given another 12.0 kimg to take effect")


def test_after_a_way_back_nothing_is_compared_with_the_course_that_was_left() -> None:
    looks = train(
        lambda kimg, knobs: (
            {"pixel_diversity": (0.58 if knobs.rollbacks else 0.1)} if kimg > 60 else {}
        )
    )
    after = looks[looks.index(first(looks, Reaction.ROLL_BACK)) + 1]
    assert after.verdict.symptoms == (Symptom.THIN,), "not fading, not collapsed"


def test_every_way_back_changes_something_even_where_there_is_nothing_to_turn() -> None:
    guard = new_guard(has_augmentation=False, has_penalty=False)
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.2} if kimg > 60 else {}, guard)
    assert reactions_of(looks)[:3] == [
        (Reaction.ROLL_BACK, Reaction.LOWER_D_RATE),
        *[(Reaction.ROLL_BACK, Reaction.LOWER_RATES)] * 2,
    ]
    assert guard.knobs == Knobs(rate=0.25, d_rate=0.5, rollbacks=3)


def test_an_illness_goes_on_with_the_knobs_where_the_warnings_stopped() -> None:
    """Augmentation, penalty, the discriminator's rate: the order of the three remedies."""
    guard = new_guard()
    looks = train(
        lambda kimg, knobs: (
            won(knobs, is_healed=False) | ({"pixel_diversity": 0.1} if kimg > 150 else {})
        ),
        guard,
    )
    assert reactions_of(looks)[:3] == [
        (Reaction.RAISE_AUGMENTATION,),
        (Reaction.RAISE_PENALTY,),
        (Reaction.ROLL_BACK, Reaction.LOWER_D_RATE),
    ]
    assert guard.knobs == Knobs(augmentation=0.2, penalty=2.0, d_rate=0.5, rollbacks=1)


def test_a_collapse_that_comes_back_meets_every_knob_in_turn() -> None:
    guard = new_guard()
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.2} if kimg > 60 else {}, guard)
    assert reactions_of(looks)[:3] == [
        (Reaction.ROLL_BACK, Reaction.RAISE_AUGMENTATION, Reaction.RAISE_PENALTY),
        (Reaction.ROLL_BACK, Reaction.LOWER_D_RATE),
        (Reaction.ROLL_BACK, Reaction.LOWER_RATES),
    ]
    assert guard.knobs == Knobs(augmentation=0.2, penalty=2.0, d_rate=0.5, rate=0.5, rollbacks=3)


def test_two_warnings_do_not_turn_the_same_knob() -> None:
    """First the discriminator wins; later, no longer, the diversity fades."""

    def world(kimg: float, knobs: Knobs) -> dict[str, Any]:
        if kimg < 80:
            return won(knobs, is_healed=False)
        return {"pixel_diversity": max(0.4, 1.0 - (kimg - 80) / 200)}

    looks = train(world, budget_kimg=300)
    assert reactions_of(looks)[:2] == [(Reaction.RAISE_AUGMENTATION,), (Reaction.RAISE_PENALTY,)]


def test_an_illness_at_the_end_of_the_budget_is_a_bad_end() -> None:
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.2} if kimg >= BUDGET_KIMG else {})
    assert looks[-1].verdict.reactions == (Reaction.STOP,)
    assert looks[-1].verdict.words.endswith(
        "the budget is spent; the best pictures, of 296.0 kimg, are kept"
    )


# ---------------------------------------------------------------- measured quality


def test_the_best_tick_is_the_one_with_the_lowest_kid() -> None:
    kids = iter([300, 200, 120, 130, 110, 115, 140])
    looks = train(lambda kimg, knobs: {"scores": SomeScores(next(kids))}, budget_kimg=28)
    assert [look.kimg for look in looks if look.verdict.is_best] == [4, 8, 12, 20]


def test_once_kid_is_known_a_tick_without_it_is_not_the_best() -> None:
    looks = train(lambda kimg, knobs: {"scores": SomeScores(100)} if kimg == 8 else {})
    assert [look.kimg for look in looks if look.verdict.is_best] == [4, 8]


def test_without_kid_the_best_tick_is_the_latest_that_is_about_as_diverse_as_any() -> None:
    looks = train(lambda kimg, knobs: {"pixel_diversity": 0.95 if kimg < 100 else 0.7})
    assert max(look.kimg for look in looks if look.verdict.is_best) == 96


def test_without_kid_the_diverse_noise_of_the_beginning_is_not_held_against_what_follows() -> None:
    """Seen: 1.07 at 1.3 kimg, a noise; 0.73 at the end, landscapes."""
    looks = train(lambda kimg, knobs: {"pixel_diversity": 1.07 if kimg < 8 else 0.73})
    assert looks[-1].verdict.is_best


@pytest.mark.parametrize(
    "flaw",
    [{"pixel_diversity": 0.3}, {"dead_share": 0.3}, {"scores": SomeScores(1, nearest_ratio=0.4)}],
)
def test_poor_pictures_and_copies_are_not_the_best_even_in_the_warm_up(
    flaw: dict[str, Any],
) -> None:
    verdict = new_guard().look(tick(4.0, **flaw))
    assert verdict.health is not Health.ILL
    assert not verdict.is_best


def test_a_run_whose_kid_stands_still_ends_well() -> None:
    looks = train(lambda kimg, knobs: {"scores": SomeScores(max(100.0, 300 - 2 * kimg))})
    assert looks[-1].verdict.reactions == (Reaction.FINISH,)
    assert looks[-1].kimg == pytest.approx(100 + 0.2 * BUDGET_KIMG, abs=TICK_KIMG)
    assert looks[-1].verdict.health is Health.HEALTHY
    assert "KID x 1000 100.0" in looks[-1].verdict.words
    assert looks[-1].verdict.words.endswith(
        "ended here, the best pictures, of 100.0 kimg, are kept"
    )


def test_an_ill_tick_is_no_good_end() -> None:
    """The patience with KID ends at the very tick at which the pictures collapse."""
    looks = train(
        lambda kimg, knobs: {
            "scores": SomeScores(100),
            "pixel_diversity": 0.1 if kimg >= 64 and not knobs.rollbacks else 0.95,
        }
    )
    [ill, acted] = [look for look in looks if look.verdict.health is Health.ILL]
    assert ill.kimg == 64
    assert Symptom.STALLED in ill.verdict.symptoms
    assert ill.verdict.reactions == ()
    assert Reaction.ROLL_BACK in acted.verdict.reactions


def test_after_a_change_patience_begins_anew() -> None:
    looks = train(
        lambda kimg, knobs: {
            "scores": SomeScores(100),
            "is_finite": kimg != 52 or bool(knobs.rollbacks),
        }
    )
    assert first(looks, Reaction.ROLL_BACK).kimg == 52
    assert looks[-1].verdict.reactions == (Reaction.FINISH,)
    trained_kimg = TICK_KIMG * len(looks)
    assert trained_kimg == pytest.approx(52 + 0.2 * BUDGET_KIMG, abs=TICK_KIMG)


def test_a_low_kid_of_poor_pictures_is_no_measure_for_later_ones() -> None:
    """Fifty real pictures repeated score 10: in the warm-up such a tick is not ill yet."""
    looks = train(
        lambda kimg, knobs: {
            "scores": SomeScores(10 if kimg == 4 else 400 - kimg),
            "pixel_diversity": 0.3 if kimg == 4 else 0.9,
        }
    )
    assert reactions_of(looks) == []
    assert looks[-1].verdict.is_best


def test_gains_within_the_noise_are_none_and_many_small_ones_add_up() -> None:
    still = train(lambda kimg, knobs: {"scores": SomeScores(100 - kimg / 150, kid_sd=1.0)})
    assert still[-1].verdict.reactions == (Reaction.FINISH,)
    better = train(lambda kimg, knobs: {"scores": SomeScores(100 - kimg / 15, kid_sd=1.0)})
    assert reactions_of(better) == []


def test_a_few_measurements_are_not_enough_to_lose_patience() -> None:
    looks = train(lambda kimg, knobs: {"scores": SomeScores(100)} if kimg % 60 == 0 else {})
    assert reactions_of(looks) == []


def test_the_last_fifth_of_a_run_is_left_to_it() -> None:
    """Step size and augmentation fade there; what that brings comes last."""
    looks = train(lambda kimg, knobs: {"scores": SomeScores(max(100.0, 300 - kimg))})
    assert reactions_of(looks) == []
    assert looks[-1].kimg == BUDGET_KIMG


def test_a_kid_half_as_high_again_as_the_best_is_an_illness_that_stands_until_measured_again() -> (
    None
):
    def world(kimg: float, knobs: Knobs) -> dict[str, Any]:
        if kimg % 20 or knobs.rollbacks:
            return {}
        return {"scores": SomeScores(100 if kimg < 80 else 160)}

    looks = train(world)
    ill = [look.kimg for look in looks if look.verdict.health is Health.ILL]
    assert ill == [80, 84, 88, 92, 96, 100]
    acted = first(looks, Reaction.ROLL_BACK)
    assert acted.kimg == 100, "the second measurement"
    assert "KID x 1000 is 160.0, the best was 100.0; the limit is 50% more" in acted.verdict.words


def test_near_zero_a_kid_is_not_worse_within_its_noise() -> None:
    kids = iter([0.5, -0.3, 1.2, 0.9, -0.2] * 20)
    looks = train(lambda kimg, knobs: {"scores": SomeScores(next(kids), kid_sd=0.8)})
    assert all(look.verdict.health is not Health.ILL for look in looks)


def test_a_run_that_begins_to_copy_ends_well_with_what_it_had_before() -> None:
    looks = train(
        lambda kimg, knobs: {
            "scores": SomeScores(300 - kimg, nearest_ratio=1.0 if kimg < 100 else 0.3)
        }
    )
    assert looks[-1].kimg == 108, "the third measurement"
    assert looks[-1].verdict.reactions == (Reaction.FINISH,)
    assert "nearest at 0.30 of the distance" in looks[-1].verdict.words
    assert looks[-1].verdict.words.endswith("ended here, the best pictures, of 96.0 kimg, are kept")


def test_a_run_that_only_copies_does_not_run_into_an_error() -> None:
    looks = train(lambda kimg, knobs: {"scores": SomeScores(100, nearest_ratio=0.1)})
    assert looks[-1].verdict.reactions == (Reaction.FINISH,)


def test_a_narrow_generator_is_told_once() -> None:
    looks = train(
        lambda kimg, knobs: (
            {"scores": SomeScores(400 - kimg, coverage=0.015)} if kimg % 8 == 0 else {}
        )
    )
    [told] = [look for look in looks if look.verdict.is_news]
    assert "coverage 0.01; it should be above 0.3" in told.verdict.words
    assert "look at the grid" in told.verdict.words


def test_wrong_colours_are_told_once() -> None:
    looks = train(
        lambda kimg, knobs: (
            {"scores": SomeScores(400 - kimg, colour_distance=48.0)} if kimg % 8 == 0 else {}
        )
    )
    [told] = [look for look in looks if look.verdict.is_news]
    assert "the colours are off (by 48 where 10 is plainly seen" in told.verdict.words
    assert "below 13" in told.verdict.words


def test_a_kid_that_is_no_number_was_not_measured() -> None:
    looks = train(lambda kimg, knobs: {"scores": SomeScores(NAN)})
    assert {look.verdict.health for look in looks} == {Health.HEALTHY}
    assert looks[-1].verdict.is_best


# ---------------------------------------------------------------- a run that goes on otherwise


def test_a_run_nobody_watched_goes_back_to_where_the_guard_took_it_over() -> None:
    guard = new_guard()
    guard.begin_from(100.0)
    back = guard.look(tick(104.0, is_finite=False))
    assert back.back_to_kimg == 100.0
    assert guard.best_kimg == 100.0


def test_the_next_sound_tick_is_better_than_a_state_nobody_looked_at() -> None:
    guard = new_guard()
    guard.begin_from(100.0)
    assert guard.look(tick(104.0)).is_best
    assert guard.best_kimg == 104.0


def test_scores_against_other_pictures_are_no_measure_for_new_ones() -> None:
    guard = new_guard()
    train(lambda kimg, knobs: {"scores": SomeScores(20.0)}, guard, budget_kimg=40)
    guard.forget_scores()
    verdict = guard.look(tick(44.0, scores=SomeScores(80.0)))
    assert verdict.health is Health.HEALTHY, "not four times as bad as the best"
    assert verdict.is_best


def test_an_illness_that_was_measured_against_other_pictures_is_forgotten() -> None:
    guard = new_guard()
    train(lambda kimg, knobs: {"scores": SomeScores(20.0)}, guard, budget_kimg=40)
    assert guard.look(tick(44.0, scores=SomeScores(80.0))).symptoms == (Symptom.WORSENED,)
    guard.forget_scores()
    assert guard.look(tick(48.0)).health is Health.HEALTHY


# ---------------------------------------------------------------- knobs, events, classic figures


def test_augmentation_is_moved_within_what_does_not_leak() -> None:
    more = Knobs().turned(Reaction.RAISE_AUGMENTATION)
    assert more.augmented(0.2) == pytest.approx(0.4)
    assert more.augmented(0.7) == pytest.approx(0.8)
    assert more.augmented(1.0) == 1.0, "who chose 1 keeps 1"
    less = Knobs().turned(Reaction.LOWER_AUGMENTATION)
    assert less.augmented(1.0) == pytest.approx(0.8)
    assert less.augmented(0.1) == 0


def test_an_event_is_one_line_of_json() -> None:
    verdict = new_guard().look(tick(4.0, d_loss=NAN, is_finite=False))
    line = json.dumps(GuardEvent(4.0, 31.5, verdict).as_dict(), allow_nan=False)
    assert json.loads(line) == {
        "kimg": 4.0,
        "elapsed_s": 31.5,
        "health": "ill",
        "symptoms": ["diverged"],
        "reactions": ["roll back", "lower both rates", "raise penalty"],
        "words": verdict.words,
    }


@pytest.mark.parametrize(
    ("d_loss", "g_loss", "d_right", "read"),
    [
        (math.log(2), math.log(2), 0.8, ("in range", "in range", "in range")),
        (0.42, 3.75, 0.845, ("low", "high", "in range")),
        (1.0, 0.3, 0.5, ("high", "low", "low")),
        (0.21, 4.54, 0.989, ("low", "high", "high")),
    ],
)
def test_the_classic_ranges_are_of_the_mean_of_both_halves_of_the_loss(
    d_loss: float, g_loss: float, d_right: float, read: tuple[str, str, str]
) -> None:
    """A discriminator that cannot tell, ln 2, is in range; a good run of ours is not."""
    seen = classic_health(d_loss, g_loss, d_right)
    assert (seen.d_loss, seen.g_loss, seen.d_right) == tuple(map(Reading, read))


# ---------------------------------------------------------------- the table and its page


def table() -> list[str]:
    """RULES as docs/guard.md has it."""

    def steps(remedies: tuple[tuple[Reaction, ...], ...]) -> str:
        return ", then ".join(" + ".join(remedy) for remedy in remedies) or "said only"

    return [
        f"| {rule.symptom} | {SEEN_WHEN[rule.symptom]} | {rule.health} | {steps(rule.remedies)} |"
        for rule in RULES
    ]


def test_the_page_has_the_table_the_code_goes_by() -> None:
    page = (CHECKOUT / "docs/guard.md").read_text("utf-8").splitlines()
    begins = page.index("| sign | seen when | the tick is | what is done |") + 2
    assert page[begins : begins + len(RULES)] == table()
    assert page[begins + len(RULES)] == "", "and no row more"


def test_every_symptom_has_one_row_and_what_ends_a_run_badly_is_an_illness() -> None:
    assert [rule.symptom for rule in RULES] == list(Symptom)
    for rule in RULES:
        assert not any(Reaction.STOP in remedy for remedy in rule.remedies), "the guard decides it"
        if any(Reaction.ROLL_BACK in remedy for remedy in rule.remedies):
            assert rule.health is Health.ILL


def test_the_messages_the_page_quotes_are_real() -> None:
    page = (CHECKOUT / "docs/guard.md").read_text("utf-8")
    quoted = [re.sub(r"\s+", " ", text) for text in re.findall(r"^> (.*(?:\n> .*)*)", page, re.M)]
    said = {
        look.verdict.words
        for world in (
            sudden_collapse(at_kimg=60),
            lambda kimg, knobs: won(knobs, is_healed=knobs.augmentation > 0),
        )
        for look in train(world)
    }
    assert quoted
    for text in quoted:
        assert text.replace(" > ", " ") in said


def test_a_run_that_was_given_up_begins_again_at_its_best_with_nothing_tried() -> None:
    guard = new_guard()
    looks = train(lambda kimg, _: {"pixel_diversity": 0.1} if kimg >= 60 else {}, guard)
    assert looks[-1].verdict.reactions == (Reaction.STOP,)
    best_kimg = guard.best_kimg
    assert best_kimg == 56
    guard.begin_again()
    assert (guard.best_kimg, guard.remedies, guard.knobs) == (56, 0, Knobs())
    ill = [guard.look(tick(best_kimg + n * TICK_KIMG, pixel_diversity=0.1)) for n in (1, 2, 3)]
    back = next(verdict for verdict in ill if Reaction.ROLL_BACK in verdict.reactions)
    assert back.back_to_kimg == 56, "not to the beginning"

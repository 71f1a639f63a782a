"""What holds of the guard whatever a run does."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.guard import (
    MAX_REMEDIES,
    Guard,
    Health,
    Reaction,
    Verdict,
)
from trainers.symptoms import Signals, Symptom

ODD = [math.nan, math.inf, -math.inf]


@dataclass(frozen=True)
class SomeScores:
    kid_x1000: float
    kid_sd: float
    coverage: float
    diversity_ratio: float
    nearest_ratio: float | None
    colour_distance: float
    floor_colour_distance: float


def number(low: float, high: float) -> st.SearchStrategy[float]:
    """Usual; once in a while none at all."""
    usual = st.floats(low, high)
    return st.integers(0, 99).flatmap(lambda n: st.sampled_from(ODD) if n == 57 else usual)


SCORES = st.builds(
    SomeScores,
    kid_x1000=number(-5, 500),
    kid_sd=st.floats(0, 5),
    coverage=number(0, 1),
    diversity_ratio=number(0, 1.5),
    nearest_ratio=st.none() | number(0, 2),
    colour_distance=number(0, 100),
    floor_colour_distance=number(0, 100),
)


@st.composite
def ticks(draw: st.DrawFn) -> Signals:
    """A tick without its clock, which whoever plays the run sets."""
    skipped = draw(st.sampled_from([0, 0, 0, 0, 1, 2, 5]))
    return Signals(
        kimg=0.0,
        fraction=0.0,
        is_finite=draw(st.integers(0, 99)) != 57,
        skipped_steps=skipped,
        skipped_in_a_row=min(skipped, draw(st.integers(1, 3))),
        d_loss=draw(number(0, 3)),
        g_loss=draw(number(0, 12)),
        d_right=draw(number(0.3, 1)),
        gradient_norm=draw(number(0, 2000)),
        penalty_share=draw(number(0, 30)),
        augment_p=draw(st.floats(0, 1)),
        pixel_diversity=draw(number(0, 1.3)),
        dead_share=draw(number(0, 0.4)),
        scores=draw(st.none() | SCORES),
    )


PHASES = st.lists(st.tuples(ticks(), st.integers(1, 12)), min_size=1, max_size=8)
"""A run stays as it is for a while, and then is another."""
RUNS = st.tuples(
    PHASES.map(lambda phases: [now for now, times in phases for _ in range(times)]),
    st.sampled_from([20.0, 50.0, 150.0, 1000.0]),  # budget, kimg
    st.booleans(),
    st.booleans(),
)
Run = tuple[list[Signals], float, bool, bool]
"""Ticks, budget, whether it has an augmentation, whether it has a penalty."""
EXAMPLES = settings(max_examples=50, deadline=None)


def play(run: Run, resume_at: int | None = None) -> list[tuple[Verdict, float]]:
    """Every verdict and its kimg; at one tick the guard is saved as text and another goes on."""
    signals, budget_kimg, has_augmentation, has_penalty = run
    guard = Guard(has_augmentation=has_augmentation, has_penalty=has_penalty)
    played, kimg = [], 0.0
    for index, now in enumerate(signals):
        if index == resume_at:
            saved = json.dumps(guard.state_dict())
            guard = Guard(has_augmentation=has_augmentation, has_penalty=has_penalty)
            guard.load_state_dict(json.loads(saved))
            assert json.dumps(guard.state_dict()) == saved
        kimg += 4.0
        fields = {**now.__dict__, "kimg": kimg, "fraction": min(1.0, kimg / budget_kimg)}
        verdict = guard.look(Signals(**fields))
        played.append((verdict, kimg))
        if {Reaction.STOP, Reaction.FINISH} & set(verdict.reactions):
            break
        if verdict.back_to_kimg is not None:
            kimg = verdict.back_to_kimg
    return played


@EXAMPLES
@given(run=RUNS, resume_at=st.integers(0, 60))
def test_a_resumed_guard_decides_as_the_uninterrupted_one(run: Run, resume_at: int) -> None:
    assert play(run, resume_at) == play(run)


@EXAMPLES
@given(run=RUNS)
def test_there_are_never_more_than_three_remedies_and_an_end_is_the_only_reaction(
    run: Run,
) -> None:
    reactions = [verdict.reactions for verdict, _ in play(run) if verdict.reactions]
    ends = {(Reaction.STOP,), (Reaction.FINISH,)}
    assert sum(reaction not in ends for reaction in reactions) <= MAX_REMEDIES
    assert not {Reaction.STOP, Reaction.FINISH} & {
        r for reaction in reactions if reaction not in ends for r in reaction
    }


@EXAMPLES
@given(run=RUNS)
def test_the_best_tick_is_never_ill_and_a_run_only_goes_back_to_a_best_tick(run: Run) -> None:
    last_best = 0.0
    for verdict, kimg in play(run):
        if verdict.is_best:
            assert verdict.health is not Health.ILL
            last_best = kimg
        assert (verdict.back_to_kimg is not None) == (Reaction.ROLL_BACK in verdict.reactions)
        if verdict.back_to_kimg is not None:
            assert verdict.health is Health.ILL
            assert verdict.back_to_kimg == last_best
            assert len(verdict.reactions) > 1, "never back to the same without a change"


@EXAMPLES
@given(run=RUNS)
def test_only_an_illness_ends_a_run_badly_and_none_ends_it_well(run: Run) -> None:
    for verdict, _ in play(run):
        if Reaction.STOP in verdict.reactions:
            assert verdict.health is Health.ILL
        if Reaction.FINISH in verdict.reactions:
            assert verdict.health is not Health.ILL


@EXAMPLES
@given(run=RUNS)
def test_numbers_that_are_none_are_always_an_illness_acted_on_at_once(run: Run) -> None:
    signals = run[0]
    for now, (verdict, _) in zip(signals, play(run), strict=False):
        if not now.is_finite or not math.isfinite(now.d_loss):
            assert verdict.health is Health.ILL
            assert {Reaction.ROLL_BACK, Reaction.STOP} & set(verdict.reactions)


@EXAMPLES
@given(run=RUNS)
def test_words_always_name_a_value_on_one_line(run: Run) -> None:
    for verdict, _ in play(run):
        assert re.search(r"\d", verdict.words)
        assert "\n" not in verdict.words
        if Symptom.DIVERGED not in verdict.symptoms:
            assert "None" not in verdict.words


@EXAMPLES
@given(run=RUNS)
def test_no_remedy_turns_a_knob_that_is_not_there(run: Run) -> None:
    _, _, has_augmentation, has_penalty = run
    absent = set[Reaction]()
    if not has_augmentation:
        absent |= {Reaction.RAISE_AUGMENTATION, Reaction.LOWER_AUGMENTATION}
    if not has_penalty:
        absent |= {Reaction.RAISE_PENALTY, Reaction.LOWER_PENALTY}
    for verdict, _ in play(run):
        assert not absent & set(verdict.reactions)

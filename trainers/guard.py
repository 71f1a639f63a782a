"""Watches a run for collapse and divergence, and says what to do about it. Imports no torch.

The loop hands over numbers at every tick and carries out what the verdict says. Two principles:

- Only what the pictures show (or numbers that are none) can end a run. What the losses show turns
  knobs at most, and only while the pictures get no better: a discriminator that is right on 98 % is
  the normal case on a few hundred pictures, and the generator learns all the same.
- A remedy is given time, no more than three are tried, and the last of them is kept for an illness.
  After that the run ends with its best generator: better none today than a collapsed one.

What is looked for, and from which value on, is `trainers.symptoms`; what is done about it is the
table RULES. The guard does not paint, measure, save or load.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from trainers import symptoms
from trainers.symptoms import (
    COPYING_MEASUREMENTS,
    HEAVY_PENALTY,
    HEAVY_PENALTY_KIMG,
    SKIPS_IN_A_ROW,
    WINDOW_KIMG,
    WINDOW_SHARE,
    Past,
    Signals,
    Symptom,
    is_sound,
)

__all__ = [
    "SKIPS_IN_A_ROW",
    "Guard",
    "GuardEvent",
    "Health",
    "Knobs",
    "Reaction",
    "Signals",
    "Symptom",
    "Verdict",
]

MAX_REMEDIES = 3
"""Changes the guard makes to a run in all. lightweight-gan reloads for ever (its issue 92)."""
GO_ON = "a larger --kimg or --minutes goes on from here"
"""The advice where a run's budget ends before it can be judged."""
RESERVED_FOR_ILLNESS = 1
"""Of these, as many are not spent on mere warnings."""
AUGMENT_STEP, MAX_AUGMENT_P = 0.2, 0.8
"""What one remedy adds to the augmentation's p, and how far: beyond it augmentations leak into the
pictures (ADA, section 3.2; uncapped it reached 21.8, stylegan2-ada-pytorch issue 175)."""


class Health(StrEnum):
    HEALTHY = "healthy"
    WARNING = "warning"
    ILL = "ill"


class Reaction(StrEnum):
    """What the loop shall do. The knobs among them are already turned in `Guard.knobs`."""

    RAISE_AUGMENTATION = "raise augmentation"
    LOWER_AUGMENTATION = "lower augmentation"
    RAISE_PENALTY = "raise penalty"
    LOWER_PENALTY = "lower penalty"
    LOWER_D_RATE = "lower discriminator rate"
    LOWER_RATES = "lower both rates"
    ROLL_BACK = "roll back"
    """Restore the best tick whole: networks, average, optimisers, clocks; the guard's own state and
    `elapsed_s` stay. Then draw from random streams seeded anew (`Knobs.rollbacks`): what went wrong
    once from this state goes wrong again."""
    FINISH = "finish"
    """End well: nothing is gained by going on. Export the best, exit 0."""
    STOP = "stop"
    """End badly: the run could not be mended. Export the best all the same, exit 1."""


@dataclass(frozen=True)
class Knobs:
    """What the guard has changed so far. It outlives every roll back and is saved with the guard."""

    penalty: float = 1.0
    """Factor on gamma."""
    rate: float = 1.0
    """Factor on both networks' step sizes."""
    d_rate: float = 1.0
    """Further factor on the discriminator's."""
    augmentation: float = 0.0
    """Added to the augmentation's p; see `augmented`."""
    rollbacks: int = 0
    """How often the run went back: to be mixed into the seeds of its random streams."""

    def augmented(self, p: float) -> float:
        """The probability to use where the settings (or ADA's controller) say `p`."""
        return max(0.0, min(max(p, MAX_AUGMENT_P), p + self.augmentation))

    def turned(self, reaction: Reaction) -> Knobs:
        match reaction:
            case Reaction.RAISE_AUGMENTATION:
                return replace(self, augmentation=self.augmentation + AUGMENT_STEP)
            case Reaction.LOWER_AUGMENTATION:
                return replace(self, augmentation=self.augmentation - AUGMENT_STEP)
            case Reaction.RAISE_PENALTY:
                return replace(self, penalty=self.penalty * 2)
            case Reaction.LOWER_PENALTY:
                return replace(self, penalty=self.penalty / 2)
            case Reaction.LOWER_D_RATE:
                return replace(self, d_rate=self.d_rate / 2)
            case Reaction.LOWER_RATES:
                return replace(self, rate=self.rate / 2)
            case Reaction.ROLL_BACK:
                return replace(self, rollbacks=self.rollbacks + 1)
            case Reaction.FINISH | Reaction.STOP:
                return self


@dataclass(frozen=True)
class Verdict:
    """What the guard makes of a tick."""

    health: Health
    """A tick that is ill is never exported, and never the best."""
    symptoms: tuple[Symptom, ...]
    reactions: tuple[Reaction, ...]
    """To be carried out in this order, after the best state was kept."""
    words: str
    """What was seen, with value and threshold, and what is done about it: one line, for the artist."""
    is_best: bool
    """The best tick so far: the loop keeps its whole state, to go back to and to export in the end."""
    is_news: bool
    """Worth a line in the log: something is done, or other symptoms are seen than at the last tick."""
    back_to_kimg: float | None
    """With ROLL_BACK: where the best tick was; 0, the networks as the run began, if there is none."""
    doubt: str = ""
    """Why nobody can say that what it learned by now paints well; up to the colon in few words. Empty where
    it was judged and is not ill: a warning alone is no doubt."""


@dataclass(frozen=True)
class GuardEvent:
    """One line of guard.jsonl."""

    kimg: float
    elapsed_s: float
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "kimg": self.kimg,
            "elapsed_s": self.elapsed_s,
            "health": self.verdict.health.value,
            "symptoms": [symptom.value for symptom in self.verdict.symptoms],
            "reactions": [reaction.value for reaction in self.verdict.reactions],
            "words": self.verdict.words,
        }


# ---------------------------------------------------------------- what is done about it


@dataclass(frozen=True)
class Rule:
    """A row of the table: a symptom, what it means, what is done about it."""

    symptom: Symptom
    sees: Callable[[Signals, Past], str | None]
    health: Health
    remedies: tuple[tuple[Reaction, ...], ...] = ()
    """Tried one after the other. What this run has no knob for, or has done before, is left out of a
    remedy (see `Guard._is_possible`); one with nothing left, or nothing but the way back, is passed over:
    so an illness goes on with the knobs where a warning stopped."""
    ticks: int = 1
    """Nothing is done before it was seen at so many ticks (or measurements) in a row ..."""
    kimg: float = 0.0
    """... and for so long, in a short run for WINDOW_SHARE of the budget."""
    is_measured: bool = False
    """Seen in scores alone: between measurements it stands."""
    implied_by: Symptom | None = None
    """Not looked for when this was seen: it would say the same twice."""
    is_urgent: bool = False
    """Neither warm-up nor the time given to the last remedy is waited for."""

    def is_looked_for(self, past: Past) -> bool:
        """Whether the run is old enough to be judged by it."""
        is_ill = self.health is Health.ILL
        return self.is_urgent or past.is_warm or (is_ill and past.knows_illness)


R = Reaction
HOLD_THE_DISCRIMINATOR_BACK = ((R.RAISE_AUGMENTATION,), (R.RAISE_PENALTY,), (R.LOWER_D_RATE,))
START_AGAIN_FROM_BEST = (
    (R.ROLL_BACK, R.RAISE_AUGMENTATION, R.RAISE_PENALTY),
    (R.ROLL_BACK, R.LOWER_D_RATE),
    (R.ROLL_BACK, R.LOWER_RATES),
)
FINISH_WELL = ((R.FINISH,),)

RULES = (
    Rule(
        Symptom.DIVERGED,
        symptoms.diverged,
        Health.ILL,
        remedies=((R.ROLL_BACK, R.LOWER_RATES, R.RAISE_PENALTY),),
        is_urgent=True,
    ),
    Rule(
        Symptom.COLLAPSED, symptoms.collapsed, Health.ILL, remedies=START_AGAIN_FROM_BEST, ticks=2
    ),
    Rule(Symptom.DEAD, symptoms.dead, Health.ILL, remedies=START_AGAIN_FROM_BEST, ticks=2),
    Rule(
        Symptom.ALIKE,
        symptoms.alike,
        Health.ILL,
        remedies=START_AGAIN_FROM_BEST,
        ticks=2,
        is_measured=True,
    ),
    Rule(
        Symptom.WORSENED,
        symptoms.worsened,
        Health.ILL,
        remedies=START_AGAIN_FROM_BEST,
        ticks=2,
        is_measured=True,
    ),
    Rule(Symptom.SKIPPING, symptoms.skipping, Health.WARNING, is_urgent=True),
    Rule(
        Symptom.HEAVY_PENALTY,
        symptoms.heavy_penalty,
        Health.WARNING,
        remedies=((R.LOWER_PENALTY, R.LOWER_PENALTY),),  # twice a half
        ticks=2,
        kimg=HEAVY_PENALTY_KIMG,
    ),
    Rule(
        Symptom.D_WINS,
        symptoms.d_wins,
        Health.WARNING,
        remedies=HOLD_THE_DISCRIMINATOR_BACK,
        ticks=3,
        kimg=WINDOW_KIMG,
    ),
    Rule(
        Symptom.D_BLIND,
        symptoms.d_blind,
        Health.WARNING,
        remedies=((R.LOWER_PENALTY,), (R.LOWER_AUGMENTATION,)),
        ticks=3,
        kimg=WINDOW_KIMG,
    ),
    Rule(
        Symptom.FADING,
        symptoms.fading,
        Health.WARNING,
        remedies=HOLD_THE_DISCRIMINATOR_BACK,
        ticks=3,
        kimg=WINDOW_KIMG,
        implied_by=Symptom.COLLAPSED,
    ),
    Rule(Symptom.THIN, symptoms.thin, Health.WARNING, implied_by=Symptom.COLLAPSED),
    Rule(Symptom.ROUGH_GRADIENTS, symptoms.rough_gradients, Health.WARNING),
    Rule(Symptom.NARROW, symptoms.narrow, Health.WARNING, is_measured=True),
    Rule(Symptom.OFF_COLOUR, symptoms.off_colour, Health.WARNING, is_measured=True),
    Rule(
        Symptom.COPYING,
        symptoms.copying,
        Health.WARNING,
        remedies=FINISH_WELL,
        ticks=COPYING_MEASUREMENTS,
        is_measured=True,
    ),
    Rule(Symptom.STALLED, symptoms.stalled, Health.HEALTHY, remedies=FINISH_WELL),
)
"""The most serious first: at one tick, only the first symptom that is due for a remedy gets one."""


@dataclass
class Sighting:
    """A symptom that is being seen, tick after tick."""

    since_kimg: float
    """On the clock of `Past.clock_kimg`."""
    times: int
    """Ticks in a row; of a measured symptom, measurements in a row."""
    words: str


@dataclass
class Treatment:
    """What is being seen, and what was done about it. Plain values, to be saved."""

    sightings: dict[str, Sighting] = field(default_factory=dict)
    tried: dict[str, int] = field(default_factory=dict)
    """Of each symptom's remedies, how many are behind us."""
    remedies: int = 0
    grace_until_kimg: float = 0.0
    """On the clock: the last remedy is given until then."""


class Guard:
    """Looks at one tick after the other.

    `knobs` is what the loop trains with: it multiplies, it is not applied once. Save `state_dict()`
    with every training state, but never roll it back: it counts what was tried.
    """

    def __init__(
        self, *, has_augmentation: bool, has_penalty: bool, if_too_short: str = GO_ON
    ) -> None:
        """With what this run has, so that no remedy is a blank: an augmentation is one with operations.

        `if_too_short` is what to advise where the budget ends before the run can be judged."""
        self._if_too_short = if_too_short
        self._has_augmentation = has_augmentation
        self._has_penalty = has_penalty
        self._past = Past()
        self._treatment = Treatment()
        self.knobs = Knobs()

    @property
    def best_kimg(self) -> float | None:
        """Where the best tick was, None if no tick was good enough to keep."""
        return self._past.best_kimg

    @property
    def remedies(self) -> int:
        return self._treatment.remedies

    def begin_again(self) -> None:
        """Forget what was tried, but not what the best tick was: for whoever starts a run again, with
        other settings perhaps, that had to be given up."""
        past = self._past
        self._past = replace(
            past,
            kimg=past.best_kimg or 0.0,
            diversities=[],
            gradient_norms=[],
            measured_since_gain=0,
        )
        self._treatment = Treatment()
        self.knobs = Knobs()

    def begin_from(self, kimg: float) -> None:
        """Take over a run that is at `kimg` and whose state there is what one goes back to: nobody
        watched it so far, or what was its best state is gone."""
        past = self._past
        clock_kimg = past.clock_kimg + max(0.0, kimg - past.kimg)
        self._past = replace(
            past,
            clock_kimg=clock_kimg,
            kimg=kimg,
            diversities=[],
            gradient_norms=[],
            best_kimg=kimg,
            best_diversity=0.0,
        )
        self._past.forget_scores()

    def forget_scores(self) -> None:
        """The pictures that are compared with are others from now on."""
        self._past.forget_scores()
        for rule in RULES:
            if rule.is_measured:
                self._treatment.sightings.pop(rule.symptom, None)

    def look(self, signals: Signals) -> Verdict:
        """Judge a tick. To be called once for each, in order."""
        if signals.scores is not None and not math.isfinite(signals.scores.kid_x1000):
            signals = replace(signals, scores=None)  # measured on too little to mean anything
        past, sightings = self._past, self._treatment.sightings
        seen_before = set(sightings)
        past.advance(signals)
        seen = self._recognise(signals)
        past.note_gradient(signals.gradient_norm)
        health = max((rule.health for rule in seen), key=list(Health).index, default=Health.HEALTHY)
        is_best = health is not Health.ILL and past.is_best(signals)
        if is_best:
            past.note_best(signals)
        what = "; ".join(sightings[rule.symptom].words for rule in seen)
        reactions, done = self._react(signals, seen, health)
        words = f"{what}: {done}" if seen else _all_is_well(signals, past, bool(seen_before))
        is_unjudged = signals.fraction >= 1 and not past.knows_illness and health is not Health.ILL
        if is_unjudged:
            too_short = f"{_unjudged(signals, past)}. Look at the grid; {self._if_too_short}"
            words = "; ".join(filter(None, (what, too_short)))
            health = health if is_sound(signals) else Health.WARNING
        doubt = "" if past.knows_illness else _unjudged(signals, past)
        if health is Health.ILL:
            doubt = f"the run became ill: {what}"
        is_other = {rule.symptom for rule in seen} != seen_before
        return Verdict(
            health=health,
            symptoms=tuple(rule.symptom for rule in seen),
            reactions=reactions,
            words=words,
            is_best=is_best,
            is_news=bool(reactions) or is_other or is_unjudged,
            back_to_kimg=(past.best_kimg or 0.0) if Reaction.ROLL_BACK in reactions else None,
            doubt=doubt,
        )

    def state_dict(self) -> dict[str, Any]:
        """Plain values: a guard that loads them decides as this one would."""
        return {
            "past": dataclasses.asdict(self._past),
            "treatment": dataclasses.asdict(self._treatment),
            "knobs": dataclasses.asdict(self.knobs),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        state = copy.deepcopy(state)
        self._past, self.knobs = Past(**state["past"]), Knobs(**state["knobs"])
        self._treatment = Treatment(**state["treatment"])
        self._treatment.sightings = {
            symptom: Sighting(**sighting)
            for symptom, sighting in state["treatment"]["sightings"].items()
        }

    def _recognise(self, now: Signals) -> list[Rule]:
        """The rules whose symptoms are there now, the most serious first."""
        past, sightings, seen = self._past, self._treatment.sightings, list[Rule]()
        for rule in RULES:
            before = sightings.pop(rule.symptom, None)
            if any(other.symptom is rule.implied_by for other in seen):
                continue
            if rule.is_measured and now.scores is None:
                if before is None:
                    continue
                sighting = before
            else:
                words = rule.sees(now, past) if rule.is_looked_for(past) else None
                if words is None:
                    continue
                since = before.since_kimg if before else past.clock_kimg
                sighting = Sighting(since, before.times + 1 if before else 1, words)
            sightings[rule.symptom.value] = sighting
            seen.append(rule)
            if rule.symptom is Symptom.DIVERGED:
                break  # from numbers that are none, nothing else can be told
        return seen

    def _react(
        self, now: Signals, seen: list[Rule], health: Health
    ) -> tuple[tuple[Reaction, ...], str]:
        """What is done, and in which words."""
        past, treatment = self._past, self._treatment
        if past.best_kimg is None:
            kept = "no tick was good enough to keep"
        else:
            kept = f"the best pictures, of {past.best_kimg:.1f} kimg, are kept"
        if now.fraction >= 1:
            if health is Health.ILL:
                return (Reaction.STOP,), f"the budget is spent; {kept}"
            return (), "the budget is spent"

        is_in_grace = past.clock_kimg < treatment.grace_until_kimg
        due = [rule for rule in seen if self._is_due(rule)]
        for rule in due:
            if is_in_grace and not rule.is_urgent:
                continue
            if rule.remedies == FINISH_WELL:
                if health is not Health.ILL:
                    return (Reaction.FINISH,), f"ended here, {kept}"
                continue
            num_free = MAX_REMEDIES - treatment.remedies
            if rule.health is not Health.ILL:
                num_free -= RESERVED_FOR_ILLNESS
            elif num_free <= 0:
                return (Reaction.STOP,), (
                    f"{treatment.remedies} remedies did not help, so the run ends; {kept}"
                )
            if num_free > 0 and (reactions := self._next_remedy(rule, now)):
                return reactions, self._intervene(reactions, now)

        if is_in_grace and due:
            left_kimg = treatment.grace_until_kimg - past.clock_kimg
            return (), f"the last remedy is given another {left_kimg:.1f} kimg to take effect"
        if any(rule.remedies and rule not in due for rule in seen):
            return (), "watched, nothing is done yet"
        return (), "nothing is done about it, look at the grid"

    def _is_due(self, rule: Rule) -> bool:
        """Whether it was seen often and long enough for something to be done."""
        sighting = self._treatment.sightings[rule.symptom]
        lasted_kimg = self._past.clock_kimg - sighting.since_kimg
        return (
            bool(rule.remedies)
            and sighting.times >= rule.ticks
            and lasted_kimg >= self._past.span(rule.kimg, WINDOW_SHARE)
        )

    def _next_remedy(self, rule: Rule, now: Signals) -> tuple[Reaction, ...]:
        """The next one this run has knobs for; of an illness the last again, of a warning () then."""
        tried = self._treatment.tried.get(rule.symptom, 0)
        if rule.health is Health.ILL:
            tried = min(tried, len(rule.remedies) - 1)
        for position in range(tried, len(rule.remedies)):
            remedy = tuple(r for r in rule.remedies[position] if self._is_possible(r, now))
            if remedy and remedy != (Reaction.ROLL_BACK,):
                self._treatment.tried[rule.symptom.value] = position + 1
                return remedy
        return ()

    def _is_possible(self, reaction: Reaction, now: Signals) -> bool:
        """Whether it changes something, and has not been done before: the next knob has its turn first.
        Only going back and lowering both rates help as often as they are done."""
        match reaction:
            case Reaction.RAISE_AUGMENTATION:
                is_turned = self.knobs.augmentation > 0
                return self._has_augmentation and not is_turned and now.augment_p < MAX_AUGMENT_P
            case Reaction.LOWER_AUGMENTATION:
                return self._has_augmentation and now.augment_p > 0
            case Reaction.RAISE_PENALTY:  # never while it is what drowns the rest
                is_turned = self.knobs.penalty > 1
                return self._has_penalty and not is_turned and not now.penalty_share > HEAVY_PENALTY
            case Reaction.LOWER_D_RATE:
                return self.knobs.d_rate == 1
            case Reaction.LOWER_PENALTY:
                return self._has_penalty
            case _:
                return True

    def _intervene(self, reactions: tuple[Reaction, ...], now: Signals) -> str:
        """Turn the knobs and remember it; the words for it."""
        past, treatment, before = self._past, self._treatment, self.knobs
        for reaction in reactions:
            self.knobs = self.knobs.turned(reaction)
        treatment.remedies += 1
        treatment.grace_until_kimg = past.clock_kimg + past.window_kimg
        past.restart_patience()
        if Reaction.ROLL_BACK in reactions:
            past.go_back()
            treatment.sightings.clear()
        changes = ", ".join(self._changes_since(before, now))
        return f"{changes} (remedy {treatment.remedies} of {MAX_REMEDIES})"

    def _changes_since(self, before: Knobs, now: Signals) -> Iterator[str]:
        best_kimg, knobs = self._past.best_kimg, self.knobs
        if knobs.rollbacks != before.rollbacks:
            yield "back to the beginning" if best_kimg is None else f"back to {best_kimg:.1f} kimg"
        if knobs.penalty != before.penalty:
            yield f"gradient penalty x {knobs.penalty / before.penalty:g}"
        if knobs.rate != before.rate:
            yield f"both networks' step sizes x {knobs.rate / before.rate:g}"
        if knobs.d_rate != before.d_rate:
            yield f"the discriminator's step size x {knobs.d_rate / before.d_rate:g}"
        if step := knobs.augmentation - before.augmentation:
            p = Knobs(augmentation=step).augmented(now.augment_p)
            yield f"augmentation p {now.augment_p:.2f} -> {p:.2f}"


def _all_is_well(now: Signals, past: Past, has_recovered: bool) -> str:
    diversity = f"diversity {now.pixel_diversity:.2f} of the real pictures'"
    if not past.knows_illness:
        return f"too early to judge ({diversity}; judged from {past.warm_up_kimg:.3g} kimg on)"
    again = " again" if has_recovered else ""
    return f"healthy{again} ({diversity}, discriminator right on {now.d_right:.0%})"


def _unjudged(now: Signals, past: Past) -> str:
    """Of a tick in the warm-up, where the budget may end."""
    is_end = now.fraction >= 1
    begins = "too short to be judged: it ends at" if is_end else "too early to be judged: it is at"
    diversity = f"diversity {now.pixel_diversity:.2f} of the real pictures'"
    if not is_sound(now):
        diversity += ", and what it paints is poor"
    return f"{begins} {now.kimg:.3g} kimg, a run is judged from {past.warm_up_kimg:.3g} kimg on ({diversity})"

"""What can be wrong with a run, and how its numbers tell. Imports no torch.

Every symptom is a function of a tick (`Signals`) and what came before it (`Past`). What a symptom
means for the run, and what is done about it, is `trainers.guard`'s.

Sources in short: R3GAN = Huang et al. 2024; ADA = Karras et al. 2020, "Training GANs with limited
data"; ganhacks = Chintala, Denton, Arjovsky & Mathieu 2016, "How to train a GAN?"; "seen" = in the
ticks of four healthy runs of this trainer (kept in tests/unit/trainers/test_guard.py). What has no
source is an estimate, and says so.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

# ---------------------------------------------------------------- thresholds


SKIPS_IN_A_ROW = 3
"""So many steps without a usable gradient, one after the other, are a divergence. The loop makes a
tick at once when it comes to that. One alone is an accident: it is thrown away and counted."""
ABSURD_LOSS = 1e4
"""A finite loss beyond this is a divergence too: logits that large are no judgement (estimate)."""

WARM_UP_KIMG, WARM_UP_SHARE = 20.0, 0.05
"""Nothing is called a collapse before this many kimg or this share of the budget, whichever is
later: what looks collapsed may still diversify (projected-gan issue 34) ..."""
MAX_WARM_UP_SHARE = 0.25
"""... but in a short run after this share of the budget at the latest ..."""
LEAST_WARM_UP_KIMG = 12.0
"""... yet never before this: networks take so long to leave 0.35 however short the run (seen: at
8 kimg the averaged generator's diversity is anything from 0.24 to 1.01, at 12 at least 0.48). What
was measured and found good before is believed: see `Past.was_measured_good`."""

WINDOW_KIMG, WINDOW_SHARE = 20.0, 0.1
"""How long a warning must last before anything is done, and how long each remedy is given: this many
kimg, in a short run this share of the budget."""
DROP_KIMG, DROP_SHARE = 50.0, 0.25
"""The time within which a fall of the diversity is a collapse: likewise."""

COLLAPSED_DIVERSITY = 0.35
"""Averaged generator's mean pairwise distance in real pictures' below which it is a collapse
(estimate; healthy runs were seen at 0.8 to 1.2 once they had begun)."""
COLLAPSED_DROP = 0.4
"""As is a fall by this share (estimate; seen in a healthy run: 0.21 from one tick to the next)."""
THIN_DIVERSITY = 0.6
"""Below this it is worth a warning (estimate)."""
FALLING = 0.9
"""Falling: below this share of what it was a window ago."""
RISING = 1.1
"""Rising: above this share of it. What has never yet been diverse and rises is not collapsed."""
DEAD_SHARE = 0.25
"""Share of the z pairs that give the same picture, or of pictures that are one flat colour."""

WINNING_SHARE = 0.95
"""The discriminator wins if it is right on more than this (estimate; ganhacks 10 looks for a loss
near 0, but where 0 is depends on the loss). Never enough alone: the demo's healthy runs were seen at
0.954 to 0.989 from the first tick to the last."""
BLIND_MARGIN = 0.05
"""It is blind if it is right on no more than chance, 0.5, give or take this."""
HEAVY_PENALTY, HEAVY_PENALTY_KIMG = 10.0, 1.0
"""The gradient penalty is too heavy if it is so many times the adversarial term for so long
(R3GAN issue 5: gamma tuned for one discriminator can drown another)."""
ROUGH_GRADIENT, ROUGH_FACTOR = 100.0, 10.0
"""A gradient norm beyond the first (ganhacks 10) and so many times the median of recent ticks."""
ROUGH_MEMORY = 20
"""Ticks that median is taken over, at least a quarter of them."""

LEAST_COVERAGE = 0.3
"""Share of real pictures with a painted neighbour; plain DCGAN on CIFAR-10 scores 0.28 (StudioGAN)."""
OFF_COLOUR = 10.0
"""CIELAB units from the real pictures' colours, beyond their floor: seen without looking for it."""
COPYING_RATIO = 0.5
"""Median distance painting to nearest training picture, in that of training pictures to each other."""
COPYING_MEASUREMENTS = 3
WORSE_KID = 0.5
"""KID this share above the best is an illness, if it is also ..."""
NOISE_SDS = 2.0
"""... so many standard errors above it. A gain is none either if it is smaller than this."""
FRUITLESS_MEASUREMENTS = 2
"""The pictures get no better: no gain in KID at so many measurements."""
PATIENCE_SHARE, PATIENCE_MEASUREMENTS = 0.2, 4
"""No gain in KID beyond its noise for this share of the budget and so many measurements: enough."""
LATE_SHARE = 0.8
"""From here on a run is left to its end: step size, penalty and augmentation fade out there, and what
they bring comes last."""

NEAR_BEST = 0.8
"""Where no KID is known, the best tick is the latest with at least this share of the best diversity
since the warm-up: more diverse than that is no better painted, and an old state is a long way back."""


# ---------------------------------------------------------------- a tick


class Scores(Protocol):
    """Measured quality (`trainers.metrics`), always against real pictures."""

    @property
    def kid_x1000(self) -> float: ...
    @property
    def kid_sd(self) -> float:
        """Standard error of `kid_x1000`, in the same unit."""
        ...

    @property
    def coverage(self) -> float: ...
    @property
    def diversity_ratio(self) -> float:
        """Mean pairwise distance, in that of real pictures: of features or pixels, the smaller."""
        ...

    @property
    def colour_distance(self) -> float: ...
    @property
    def floor_colour_distance(self) -> float:
        """`colour_distance` of real pictures from other real ones."""
        ...

    @property
    def nearest_ratio(self) -> float | None:
        """See COPYING_RATIO; None where it cannot be told."""
        ...


@dataclass(frozen=True)
class Signals:
    """One tick of a run, as numbers."""

    kimg: float
    """Thousands of pictures shown. After a ROLL_BACK it counts on from `Verdict.back_to_kimg`."""
    fraction: float
    """Of the budget, 0 to 1."""
    is_finite: bool
    """Whether all weights and averaged weights are numbers."""
    skipped_steps: int
    """Steps thrown away in this tick because a loss or gradient was no number."""
    skipped_in_a_row: int
    """The longest row of them."""
    d_loss: float
    """Mean adversarial loss of the discriminator over the tick, without gradient penalty."""
    g_loss: float
    """Likewise of the generator."""
    d_right: float
    """Share the discriminator was right on, mean of real and fake; for relativistic losses the share
    of pairs in the right order."""
    gradient_norm: float
    """The largest of the tick, of either network."""
    penalty_share: float
    """Gradient penalty, weighted, in the adversarial term; 0 without."""
    augment_p: float
    """Probability of the augmentation now; 0 without."""
    pixel_diversity: float
    """Mean pairwise distance of some dozens of the averaged generator's pictures at 32 x 32 px, in
    that of real pictures."""
    dead_share: float
    """Share of fixed z pairs whose pictures are (nearly) the same, or of pictures that are one flat
    colour: the larger."""
    scores: Scores | None = None
    """On ticks that were measured."""


class Symptom(StrEnum):
    DIVERGED = "diverged"
    COLLAPSED = "collapsed"
    DEAD = "dead latents"
    ALIKE = "alike in what they show"
    WORSENED = "worsened"
    SKIPPING = "skipping steps"
    HEAVY_PENALTY = "heavy penalty"
    D_WINS = "discriminator wins"
    D_BLIND = "discriminator blind"
    FADING = "diversity fading"
    THIN = "little diversity"
    ROUGH_GRADIENTS = "rough gradients"
    NARROW = "narrow coverage"
    OFF_COLOUR = "off colour"
    COPYING = "copying"
    STALLED = "no longer better"


# ---------------------------------------------------------------- what came before it


@dataclass
class Past:
    """What a run did up to now, as far as a symptom depends on it. Plain values, to be saved."""

    clock_kimg: float = 0.0
    """Thousands of pictures trained on in all: unlike `kimg` it does not go back with the run."""
    kimg: float = 0.0
    """`Signals.kimg` of the last tick."""
    budget_kimg: float = math.inf
    """As far as it can be known: of a budget in minutes, what it comes to at the speed so far."""
    diversities: list[tuple[float, float]] = field(default_factory=list)
    """(clock, diversity) of the ticks a fall is looked for in, this one included."""
    has_bloomed: bool = False
    """Whether the pictures have ever been diverse."""
    was_measured_good: bool = False
    """Whether a measurement ever showed pictures that are diverse and cover LEAST_COVERAGE. Noise is
    diverse too, and covers nothing: only what was good can become ill before the warm-up is over."""
    gradient_norms: list[float] = field(default_factory=list)
    """Of the ticks before this one."""
    best_kimg: float | None = None
    best_diversity: float = 0.0
    """The highest `merit` of any tick that was the best."""
    best_kid: float | None = None
    best_kid_sd: float = 0.0
    gained_kid: float | None = None
    """KID at the last gain beyond its noise."""
    gained_kid_sd: float = 0.0
    gained_at_kimg: float = 0.0
    """On the clock."""
    measured_since_gain: int = 0

    def span(self, kimg: float, share: float) -> float:
        """`kimg`, or in a short run that share of the budget."""
        return min(kimg, share * self.budget_kimg)

    @property
    def window_kimg(self) -> float:
        return self.span(WINDOW_KIMG, WINDOW_SHARE)

    @property
    def warm_up_kimg(self) -> float:
        wanted = max(WARM_UP_KIMG, WARM_UP_SHARE * self.budget_kimg)
        return max(LEAST_WARM_UP_KIMG, min(wanted, MAX_WARM_UP_SHARE * self.budget_kimg))

    @property
    def is_warm(self) -> bool:
        return self.kimg >= self.warm_up_kimg

    @property
    def knows_illness(self) -> bool:
        """Whether what looks ill now is ill, and not merely young."""
        return self.is_warm or self.was_measured_good

    def diversity_a_window_ago(self) -> float | None:
        """None while there is no such past."""
        then = self.clock_kimg - self.window_kimg
        older = [diversity for at, diversity in self.diversities if at <= then]
        return older[-1] if older else None

    @property
    def is_falling(self) -> bool:
        before = self.diversity_a_window_ago()
        return before is not None and self.diversities[-1][1] < FALLING * merit(before)

    @property
    def is_rising(self) -> bool:
        before = self.diversity_a_window_ago()
        if before is None:  # too young to have been anything else
            before = self.diversities[0][1]
        return self.diversities[-1][1] > RISING * before

    @property
    def gets_nowhere(self) -> bool:
        """By its measurements where there are any, else by its diversity."""
        if self.gained_kid is not None:
            return self.measured_since_gain >= FRUITLESS_MEASUREMENTS
        return self.is_falling or self.diversities[-1][1] < THIN_DIVERSITY

    def is_best(self, now: Signals) -> bool:
        """Whether a tick that is not ill is the best so far."""
        if not is_sound(now):
            return False
        if now.scores is not None:
            return self.best_kid is None or now.scores.kid_x1000 < self.best_kid
        return self.best_kid is None and now.pixel_diversity >= NEAR_BEST * self.best_diversity

    def advance(self, now: Signals) -> None:
        """Take in what a tick adds to the past."""
        self.clock_kimg += now.kimg - self.kimg
        self.kimg = now.kimg
        self.budget_kimg = now.kimg / now.fraction if now.kimg and now.fraction else math.inf
        if math.isfinite(now.pixel_diversity):
            since = self.clock_kimg - self.span(DROP_KIMG, DROP_SHARE)
            recent = [(at, diversity) for at, diversity in self.diversities if at >= since]
            self.diversities = [*recent, (self.clock_kimg, now.pixel_diversity)]
            self.has_bloomed |= now.pixel_diversity >= THIN_DIVERSITY
        if now.scores is not None:
            self._note_measurement(now, now.scores)
            if not self.knows_illness and _is_good(now, now.scores):
                self.was_measured_good = True
                self.diversities = self.diversities[-1:]  # of noise, before this

    def _note_measurement(self, now: Signals, scores: Scores) -> None:
        noise = NOISE_SDS * max(scores.kid_sd, self.gained_kid_sd)
        is_gain = self.gained_kid is None or scores.kid_x1000 < self.gained_kid - noise
        if is_gain and is_sound(now):
            self.gained_kid, self.gained_kid_sd = scores.kid_x1000, scores.kid_sd
            self.gained_at_kimg, self.measured_since_gain = self.clock_kimg, 0
        else:
            self.measured_since_gain += 1

    def note_gradient(self, norm: float) -> None:
        if math.isfinite(norm):
            self.gradient_norms = [*self.gradient_norms, norm][-ROUGH_MEMORY:]

    def note_best(self, now: Signals) -> None:
        self.best_kimg = now.kimg
        if self.is_warm:  # before, it is the diversity of noise
            self.best_diversity = max(self.best_diversity, merit(now.pixel_diversity))
        if now.scores is not None:
            self.best_kid, self.best_kid_sd = now.scores.kid_x1000, now.scores.kid_sd

    def restart_patience(self) -> None:
        """Something was changed: whether it helps, the next measurements tell."""
        self.gained_at_kimg, self.measured_since_gain = self.clock_kimg, 0

    def forget_scores(self) -> None:
        """They were measured against other pictures than those to come."""
        self.best_kid, self.best_kid_sd = None, 0.0
        self.gained_kid, self.gained_kid_sd = None, 0.0
        self.restart_patience()

    def go_back(self) -> None:
        """To the best tick. What was seen since then is undone; the clock, and what was best, are not."""
        self.kimg = self.best_kimg or 0.0
        self.diversities, self.gradient_norms = [], []


def merit(diversity: float) -> float:
    """What of a diversity counts where it is compared with a later one: more difference than real
    pictures have is no merit, and losing it no fall."""
    return min(1.0, diversity)


def is_sound(now: Signals) -> bool:
    """Whether its pictures may be kept as the best: in the warm-up a tick may be poor and not ill."""
    if now.pixel_diversity < COLLAPSED_DIVERSITY or now.dead_share > DEAD_SHARE:
        return False
    if now.scores is None:
        return True
    return not now.scores.diversity_ratio < COLLAPSED_DIVERSITY and not _is_copying(now.scores)


def _is_good(now: Signals, scores: Scores) -> bool:
    is_diverse = min(now.pixel_diversity, scores.diversity_ratio) >= THIN_DIVERSITY
    return is_diverse and scores.coverage >= LEAST_COVERAGE


def _is_copying(scores: Scores) -> bool:
    return scores.nearest_ratio is not None and scores.nearest_ratio < COPYING_RATIO


# ---------------------------------------------------------------- the symptoms
# Each gives the words for what it sees, None if it sees nothing. A NaN compares as nothing.


def diverged(now: Signals, past: Past) -> str | None:
    losses = f"discriminator's loss {now.d_loss:.4g}, generator's {now.g_loss:.4g}"
    numbers = (now.d_loss, now.g_loss, now.pixel_diversity, now.dead_share)
    if not now.is_finite or not all(map(math.isfinite, numbers)):
        return f"a weight, a loss or a picture is no longer a number ({losses})"
    if now.skipped_in_a_row >= SKIPS_IN_A_ROW:
        return (
            f"{now.skipped_in_a_row} steps in a row had no usable gradient "
            f"({SKIPS_IN_A_ROW} are too many)"
        )
    if max(abs(now.d_loss), abs(now.g_loss)) > ABSURD_LOSS:
        return f"the losses have run away ({losses}; the limit is {ABSURD_LOSS:g})"
    return None


def collapsed(now: Signals, past: Past) -> str | None:
    if not past.has_bloomed and past.is_rising:
        return None
    if now.pixel_diversity < COLLAPSED_DIVERSITY:
        return (
            f"the pictures have become alike (diversity {now.pixel_diversity:.2f} of the real pictures'; "
            f"collapse is below {COLLAPSED_DIVERSITY:g})"
        )
    highest = max(diversity for _, diversity in past.diversities)
    if now.pixel_diversity < (1 - COLLAPSED_DROP) * merit(highest):
        return (
            f"the pictures are becoming alike (diversity fell from {highest:.2f} to "
            f"{now.pixel_diversity:.2f} of the real pictures' within {past.span(DROP_KIMG, DROP_SHARE):.3g} kimg; "
            f"collapse is a fall by {COLLAPSED_DROP:.0%})"
        )
    return None


def dead(now: Signals, past: Past) -> str | None:
    if now.dead_share > DEAD_SHARE:
        return (
            f"{now.dead_share:.0%} of the pictures are the same or one flat colour "
            f"(collapse is above {DEAD_SHARE:.0%})"
        )
    return None


def alike(now: Signals, past: Past) -> str | None:
    if now.scores and now.scores.diversity_ratio < COLLAPSED_DIVERSITY:
        return (
            f"what the pictures show is alike (measured diversity {now.scores.diversity_ratio:.2f} "
            f"of the real pictures'; collapse is below {COLLAPSED_DIVERSITY:g})"
        )
    return None


def worsened(now: Signals, past: Past) -> str | None:
    if now.scores is None or past.best_kid is None:
        return None
    kid, sd = now.scores.kid_x1000, now.scores.kid_sd
    noise = NOISE_SDS * math.hypot(sd, past.best_kid_sd)
    # An unbiased KID near 0 may be negative: its size is what half as much again refers to.
    if kid - past.best_kid > max(WORSE_KID * abs(past.best_kid), noise):
        return (
            f"the pictures have become worse (KID x 1000 is {kid:.1f}, the best was "
            f"{past.best_kid:.1f}; the limit is {WORSE_KID:.0%} more)"
        )
    return None


def skipping(now: Signals, past: Past) -> str | None:
    if now.skipped_steps:
        return (
            f"{now.skipped_steps} step{'s' * (now.skipped_steps > 1)} without a usable gradient "
            f"thrown away ({SKIPS_IN_A_ROW} in a row are too many)"
        )
    return None


def heavy_penalty(now: Signals, past: Past) -> str | None:
    if now.penalty_share > HEAVY_PENALTY:
        return (
            f"the gradient penalty drowns the rest of the loss ({now.penalty_share:.3g} times as "
            f"large; the limit is {HEAVY_PENALTY:g})"
        )
    return None


def d_wins(now: Signals, past: Past) -> str | None:
    if now.d_right > WINNING_SHARE and past.gets_nowhere:
        return (
            f"the discriminator wins (right on {now.d_right:.1%}; the limit is {WINNING_SHARE:.0%}) "
            f"and the pictures get no better ({_how_good(now, past)})"
        )
    return None


def d_blind(now: Signals, past: Past) -> str | None:
    if abs(now.d_right - 0.5) <= BLIND_MARGIN and past.is_falling:
        return (
            f"the discriminator is blind (right on {now.d_right:.1%}; chance is 50%) "
            f"and the diversity falls (to {now.pixel_diversity:.2f} of the real pictures')"
        )
    return None


def fading(now: Signals, past: Past) -> str | None:
    if now.pixel_diversity < THIN_DIVERSITY and past.is_falling:
        return (
            f"the pictures grow more alike (diversity {now.pixel_diversity:.2f} of the real pictures' and "
            f"falling; it should be above {THIN_DIVERSITY:g})"
        )
    return None


def thin(now: Signals, past: Past) -> str | None:
    if now.pixel_diversity < THIN_DIVERSITY and not past.is_falling:
        return (
            f"the pictures are rather alike (diversity {now.pixel_diversity:.2f} of the real pictures'; "
            f"it should be above {THIN_DIVERSITY:g})"
        )
    return None


def rough_gradients(now: Signals, past: Past) -> str | None:
    if len(past.gradient_norms) * 4 < ROUGH_MEMORY:
        return None
    usual = statistics.median(past.gradient_norms)
    if now.gradient_norm > max(ROUGH_GRADIENT, ROUGH_FACTOR * usual):
        return (
            f"a gradient was unusually large (norm {now.gradient_norm:.3g}, usual {usual:.3g}; "
            f"the limit is {ROUGH_FACTOR:g} times that and {ROUGH_GRADIENT:g})"
        )
    return None


def narrow(now: Signals, past: Past) -> str | None:
    if now.scores and now.scores.coverage < LEAST_COVERAGE:
        return (
            f"much of what the real pictures show is not painted (coverage "
            f"{now.scores.coverage:.2f}; it should be above {LEAST_COVERAGE:g})"
        )
    return None


def off_colour(now: Signals, past: Past) -> str | None:
    if now.scores is None:
        return None
    distance, floor = now.scores.colour_distance, now.scores.floor_colour_distance
    if distance > floor + OFF_COLOUR:
        return (
            f"the colours are off (by {distance:.0f} where 10 is plainly seen; it should be below "
            f"{floor + OFF_COLOUR:.0f})"
        )
    return None


def copying(now: Signals, past: Past) -> str | None:
    if now.scores and _is_copying(now.scores):
        return (
            f"the pictures begin to copy training pictures (nearest at "
            f"{now.scores.nearest_ratio:.2f} of the distance of training pictures from each other; "
            f"it should be above {COPYING_RATIO:g})"
        )
    return None


def stalled(now: Signals, past: Past) -> str | None:
    waited_kimg = past.clock_kimg - past.gained_at_kimg
    if (
        past.gained_kid is not None
        and past.measured_since_gain >= PATIENCE_MEASUREMENTS
        and waited_kimg >= PATIENCE_SHARE * past.budget_kimg
        and now.fraction < LATE_SHARE
    ):
        return (
            f"the pictures get no better (KID x 1000 {past.gained_kid:.1f}, no gain beyond its noise "
            f"in {past.measured_since_gain} measurements over {waited_kimg:.3g} kimg; the patience is "
            f"{PATIENCE_SHARE:.0%} of the budget)"
        )
    return None


def _how_good(now: Signals, past: Past) -> str:
    if past.gained_kid is not None:
        return f"no gain in KID at the last {past.measured_since_gain} measurements"
    return f"diversity {now.pixel_diversity:.2f} of the real pictures'"


SEEN_WHEN = {
    Symptom.DIVERGED: (
        f"a weight, loss or picture is no number; {SKIPS_IN_A_ROW} steps in a row without a usable "
        f"gradient; a loss beyond {ABSURD_LOSS:g}"
    ),
    Symptom.COLLAPSED: (
        f"diversity below {COLLAPSED_DIVERSITY:g}, or {COLLAPSED_DROP:.0%} less within "
        f"{DROP_KIMG:g} kimg"
    ),
    Symptom.DEAD: f"more than {DEAD_SHARE:.0%} of the pictures the same or of one colour",
    Symptom.ALIKE: f"measured diversity, of features too, below {COLLAPSED_DIVERSITY:g}",
    Symptom.WORSENED: f"KID {WORSE_KID:.0%} above the best, beyond its noise",
    Symptom.SKIPPING: "a step without a usable gradient",
    Symptom.HEAVY_PENALTY: f"gradient penalty more than {HEAVY_PENALTY:g} times the rest of the loss",
    Symptom.D_WINS: f"discriminator right on more than {WINNING_SHARE:.0%} while the pictures get no better",
    Symptom.D_BLIND: "discriminator right no more often than chance while the diversity falls",
    Symptom.FADING: f"diversity below {THIN_DIVERSITY:g} and falling",
    Symptom.THIN: f"diversity below {THIN_DIVERSITY:g}",
    Symptom.ROUGH_GRADIENTS: f"gradient norm beyond {ROUGH_GRADIENT:g} and {ROUGH_FACTOR:g} times its usual",
    Symptom.NARROW: f"coverage below {LEAST_COVERAGE:g}",
    Symptom.OFF_COLOUR: f"colours {OFF_COLOUR:g} CIELAB units further off than real pictures' are",
    Symptom.COPYING: f"nearest training picture closer than {COPYING_RATIO:g} of their own distance",
    Symptom.STALLED: (
        f"no gain in KID beyond its noise for {PATIENCE_SHARE:.0%} of the budget and "
        f"{PATIENCE_MEASUREMENTS} measurements, before {LATE_SHARE:.0%} of it is spent"
    ),
}
"""For people: docs/guard.md has these words."""


# ---------------------------------------------------------------- the classic figures, to look at

CLASSIC_D_LOSS = (0.5, 0.8)
"""Mean of the discriminator's cross-entropies on real and on fake pictures: ln 2 = 0.69 where it
cannot tell. Figures of the plain DCGAN's users (Brownlee 2019, "How to identify and diagnose GAN
failure modes")."""
CLASSIC_G_LOSS = (0.5, 2.0)
CLASSIC_D_RIGHT = (0.7, 0.9)
"""About 80 %."""
CLASSIC_RANGES = {
    "d_loss": CLASSIC_D_LOSS,
    "g_loss": CLASSIC_G_LOSS,
    "d_right_on_real": CLASSIC_D_RIGHT,
    "d_right_on_fake": CLASSIC_D_RIGHT,
}
"""By their names in stats.jsonl, of the loss `bce`."""


class Reading(StrEnum):
    LOW = "low"
    IN_RANGE = "in range"
    HIGH = "high"


@dataclass(frozen=True)
class ClassicHealth:
    d_loss: Reading
    g_loss: Reading
    d_right: Reading


def classic_health(d_loss: float, g_loss: float, d_right: float) -> ClassicHealth:
    """Where a tick of the plain `bce` loss stands in the classic ranges: to be shown, never acted on.

    `d_loss` is the mean of the real and the fake term, as the learner reports it and as the classic
    figure is. A good run on a small set may well be out of all three (seen: 0.4, 4 and 85 %).
    """
    return ClassicHealth(
        d_loss=_reading(d_loss, CLASSIC_D_LOSS),
        g_loss=_reading(g_loss, CLASSIC_G_LOSS),
        d_right=_reading(d_right, CLASSIC_D_RIGHT),
    )


def _reading(value: float, of: tuple[float, float]) -> Reading:
    low, high = of
    if value < low:
        return Reading.LOW
    return Reading.IN_RANGE if value <= high else Reading.HIGH

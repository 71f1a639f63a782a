"""How training shows itself: a bar with ETA on a terminal, plain lines everywhere else."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from trainers.config import NO_LIMIT_KIMG, TrainConfig
from trainers.symptoms import CLASSIC_D_LOSS, CLASSIC_G_LOSS, Reading, classic_health

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from trainers.learner import StepMeans
    from trainers.metrics.scores import Scores


@dataclass(frozen=True)
class TickStats:
    """One line of stats.jsonl: means over the tick."""

    kimg: float
    """Thousands of pictures shown so far."""
    elapsed_s: float
    """Seconds of training so far, over all sessions."""
    sec_per_kimg: float
    """Seconds per thousand pictures at the tick's end, smoothed, without grids and saving."""
    d_loss: float
    """Of `bce` the mean of its real and its fake half."""
    g_loss: float
    d_right_on_real: float
    """Share of real pictures the discriminator took for real."""
    d_right_on_fake: float
    """Share of fakes it took for fake."""
    penalty: float = 0.0
    """Gradient penalty, weighted."""
    overfitting: float = 0.0
    """r_t: near 1 when the discriminator knows its pictures by heart (Karras et al. 2020, ADA)."""
    gradient_norm: float = 0.0
    """The largest of the tick."""
    skipped_steps: int = 0
    """Steps thrown away because a gradient was no number."""
    augment_p: float = 0.0
    """Probability of the augmentation."""
    pixel_diversity: float = 1.0
    """How different the painted pictures are from each other, in the real ones' difference."""
    dead_share: float = 0.0
    """Share of painted pictures that look like another one, or are one flat colour."""
    scores: Scores | None = None
    """Quality, on the ticks that measured it."""

    @property
    def d_right(self) -> float:
        """Share of all pictures that it was right about."""
        return (self.d_right_on_real + self.d_right_on_fake) / 2

    def as_dict(self) -> dict[str, float]:
        """Plain numbers for a line of stats.jsonl; the scores beside the others."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "scores"}
        measured = self.scores.as_dict() if self.scores is not None else {}
        return values | {k: v for k, v in measured.items() if isinstance(v, int | float)}


class Pace:
    """How far a run is, how fast it goes, when it will be done. Pure arithmetic, no clock of its own."""

    SMOOTHING_S = 20.0
    """Speed is averaged over about this much training."""

    def __init__(self, config: TrainConfig, images_seen: int, elapsed_s: float) -> None:
        self._goal_images = config.kimg * 1000
        self._goal_s = config.minutes * 60 if config.minutes is not None else None
        self.images_seen = images_seen
        self.elapsed_s = elapsed_s
        self._recent_s = 0.0
        self._recent_images = 0.0

    def step_done(self, images: int, seconds: float) -> None:
        self.images_seen += images
        self.elapsed_s += seconds
        kept = math.exp(-seconds / self.SMOOTHING_S)
        self._recent_s = kept * self._recent_s + seconds
        self._recent_images = kept * self._recent_images + images

    def overhead(self, seconds: float) -> None:
        """Time spent on grids and saving: it counts towards --minutes, not towards the speed."""
        self.elapsed_s += seconds

    @property
    def sec_per_kimg(self) -> float:
        """Seconds per thousand pictures lately; 0 before the first step."""
        return self._recent_s / self._recent_images * 1000 if self._recent_images else 0.0

    @property
    def fraction(self) -> float:
        """0 to 1, of whichever budget is nearer its end."""
        by_images = self.images_seen / self._goal_images if self._goal_images else 1.0
        by_time = self.elapsed_s / self._goal_s if self._goal_s else 0.0
        return min(1.0, max(by_images, by_time))

    @property
    def is_finished(self) -> bool:
        return self.fraction >= 1.0

    @property
    def goal_kimg(self) -> float:
        return self._goal_images / 1000

    @property
    def remaining_s(self) -> float | None:
        """Seconds to go, None before the first step."""
        if not self.sec_per_kimg:
            return None
        by_images = (self._goal_images - self.images_seen) / 1000 * self.sec_per_kimg
        by_time = self._goal_s - self.elapsed_s if self._goal_s is not None else by_images
        return max(0.0, min(by_images, by_time))


class Display(Protocol):
    """What the loop tells about itself."""

    def preparing(self, what: str, done: int, total: int) -> None: ...
    def note(self, text: str) -> None: ...
    def begin(self, config: TrainConfig, pace: Pace) -> None: ...
    def wants_losses(self, every_s: float) -> bool:
        """Reading the losses waits for the device, so they are read only when somebody looks."""
        ...

    def losses(self, means: StepMeans) -> None: ...
    def advance(self, pace: Pace) -> None: ...
    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None: ...
    def close(self) -> None: ...


def open_display(stream: TextIO | None = None) -> Display:
    """The display that fits where `stream` (standard error by default) goes."""
    stream = stream or sys.stderr
    return TerminalDisplay(stream) if stream.isatty() else PlainDisplay(stream)


def duration(seconds: float | None) -> str:
    """`4h12m`, `3m05s`, `8s`; `-` for None."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 60}m{whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def first_tick(config: TrainConfig, pace: Pace) -> str:
    """`4 kimg or 2m00s, whichever is first`; a budget that ends sooner is sooner."""
    kimg, seconds = config.tick_kimg, config.tick_s
    kimg = min(kimg, config.kimg - pace.images_seen / 1000)
    if config.minutes is not None:
        seconds = min(seconds, config.minutes * 60 - pace.elapsed_s)
    return f"{kimg:g} kimg or {duration(seconds)}, whichever is first"


def _quality(scores: Scores | None) -> str:
    """`  KID x 1000 90 ± 3, coverage 0.49, colour 5`, nothing on a tick that was not measured."""
    if scores is None:
        return ""
    return (
        f"  KID x 1000 {scores.kid_x1000:.0f} ± {scores.kid_sd:.0f}, coverage {scores.coverage:.2f}"
        f", colour {scores.colour_distance:.0f}"
    )


def _speed(pace: Pace) -> str:
    return f"{pace.sec_per_kimg:.1f} s/kimg"


def _losses(d_loss: float, g_loss: float, d_right: float) -> str:
    return f"G {g_loss:.2f}  D {d_loss:.2f}  right {d_right:.0%}"


def _legend(loss: str) -> str:
    """What `_losses` are, and where the classic loss usually has them."""
    meaning = (
        "G and D: the losses of generator and discriminator; right: how often the discriminator is"
    )
    if loss != "bce":
        return meaning
    return (
        f"{meaning} (usual for this loss: G {_range(CLASSIC_G_LOSS)}, D {_range(CLASSIC_D_LOSS)}, "
        "right about 80%; on few pictures it is common to be outside, and no harm)"
    )


def _range(of: tuple[float, float]) -> str:
    return f"{of[0]:g} to {of[1]:g}"


class _ClassicWatch:
    """Tells, once a session, of a figure of the classic loss that stays outside its usual range.

    Not of every tick that is: on few pictures most of a healthy run's are.
    """

    AFTER_TICKS = 10

    def __init__(self, loss: str = "") -> None:
        self._is_classic = loss == "bce"
        self._outside: dict[str, tuple[Reading, int]] = {}

    def look(self, stats: TickStats) -> list[str]:
        if not self._is_classic:
            return []
        health = classic_health(stats.d_loss, stats.g_loss, stats.d_right)
        told = []
        for name, reading, usual in (
            ("G", health.g_loss, _range(CLASSIC_G_LOSS)),
            ("D", health.d_loss, _range(CLASSIC_D_LOSS)),
            ("right", health.d_right, "80%"),
        ):
            before, num = self._outside.get(name, (Reading.IN_RANGE, 0))
            if num >= self.AFTER_TICKS:
                continue
            num = num + 1 if reading is before else 1
            self._outside[name] = (reading, 0 if reading is Reading.IN_RANGE else num)
            if self._outside[name][1] == self.AFTER_TICKS:
                side = "above" if reading is Reading.HIGH else "below"
                told.append(
                    f"{name} stays {side} its usual {usual}: look whether the grid gets better"
                )
        return told


class PlainDisplay:
    """One line per event, for logs and pipes."""

    PREPARE_EVERY_S = 10.0
    SPEAKS_AFTER_S = 10.0
    """A run is heard of after so many seconds, however long its first tick is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._prepared_at = 0.0
        self._watch = _ClassicWatch()
        self._began_s, self._is_silent = 0.0, False

    def preparing(self, what: str, done: int, total: int) -> None:
        if done == total or time.monotonic() - self._prepared_at > self.PREPARE_EVERY_S:
            self._prepared_at = time.monotonic()
            self.note(f"{what} {done}/{total}")

    def note(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def begin(self, config: TrainConfig, pace: Pace) -> None:
        limits = []
        if config.kimg < NO_LIMIT_KIMG:
            limits.append(f"{pace.goal_kimg:g} kimg")
        if config.minutes is not None:
            limits.append(f"{config.minutes:g} {'minute' if config.minutes == 1 else 'minutes'}")
        until = " or ".join(limits) + (", whichever is first" if len(limits) == 2 else "")
        self.note(f"training {config.run} on {config.device}: to {until}")
        self._watch = _ClassicWatch(config.loss)
        self._began_s, self._is_silent = pace.elapsed_s, True
        if not pace.is_finished and not pace.images_seen:  # a resumed run has had them
            self.note(f"first figures and first grid after {first_tick(config, pace)}")
        if not pace.is_finished:
            self.note(_legend(config.loss))

    def wants_losses(self, every_s: float) -> bool:
        return False

    def losses(self, means: StepMeans) -> None: ...

    def advance(self, pace: Pace) -> None:
        if self._is_silent and pace.elapsed_s - self._began_s >= self.SPEAKS_AFTER_S:
            self._is_silent = False
            self.note(f"it learns: {_speed(pace)}  ETA {duration(pace.remaining_s)}")

    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        self._is_silent = False
        self.note(
            f"kimg {stats.kimg:8.1f}  {pace.fraction:4.0%}  {_speed(pace)}  ETA {duration(pace.remaining_s)}  "
            f"{_losses(stats.d_loss, stats.g_loss, stats.d_right)}  "
            f"diversity {stats.pixel_diversity:.2f}{_quality(stats.scores)}"
            + (f"  checkpoint {checkpoint.name}" if checkpoint else "")
        )
        for told in self._watch.look(stats):
            self.note(told)

    def close(self) -> None: ...


class TerminalDisplay:
    """A live bar; notes and checkpoints scroll above it."""

    WIDE_COLUMNS = 104
    """From here on there is room for everything; below, for what one looks at most."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._console = Console(file=stream)
        self._is_wide = self._console.width >= self.WIDE_COLUMNS
        self._bar: RichProgress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24 if self._is_wide else 6),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[facts]}"),
            console=self._console,
            refresh_per_second=4,
        )
        self._task: TaskID | None = None
        self._has_begun = False
        self._watch = _ClassicWatch()
        self._losses = ""
        self._losses_at = 0.0

    def preparing(self, what: str, done: int, total: int) -> None:
        self._show(what, done / total if total else 1.0, f"{done}/{total}")

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def begin(self, config: TrainConfig, pace: Pace) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._title = config.run
        self._watch = _ClassicWatch(config.loss)
        self._goal_kimg = pace.goal_kimg
        if self._has_begun:  # a sweep begins many runs
            return
        self._has_begun = True
        self.note("Ctrl-C saves and stops; the same command goes on from there.")
        self.note(_legend(config.loss))

    def wants_losses(self, every_s: float) -> bool:
        return time.monotonic() - self._losses_at > every_s

    def losses(self, means: StepMeans) -> None:
        self._losses_at = time.monotonic()
        right = (means.d_right_on_real + means.d_right_on_fake) / 2
        shown = _losses(means.d_loss, means.g_loss, right)
        if not self._is_wide:
            shown = shown.rpartition("  right")[0]
        self._losses = shown.replace("  ", " ")

    def advance(self, pace: Pace) -> None:
        eta = f"ETA {duration(pace.remaining_s)}"
        if self._is_wide:
            goal = f"/{pace.goal_kimg:g}" if pace.goal_kimg < NO_LIMIT_KIMG else ""
            seen = f"{pace.images_seen / 1000:.1f}{goal} kimg"
            self._show(self._title, pace.fraction, f"{seen}  {_speed(pace)}  {eta}  {self._losses}")
        else:
            self._show(self._title[:16], pace.fraction, f"{_speed(pace)} {eta} {self._losses}")

    def tick(self, stats: TickStats, pace: Pace, checkpoint: Path | None) -> None:
        if stats.scores is not None:
            self.note(f"at {stats.kimg:.1f} kimg:{_quality(stats.scores)}")
        if checkpoint:
            self.note(f"checkpoint {checkpoint.name} written at {stats.kimg:.1f} kimg")
        for told in self._watch.look(stats):
            self.note(told)

    def close(self) -> None:
        self._bar.stop()

    def _show(self, title: str, fraction: float, facts: str) -> None:
        if self._task is None:
            self._task = self._bar.add_task(title, total=1.0, facts=facts)
            self._bar.start()
        self._bar.update(self._task, description=title, completed=fraction, facts=facts)

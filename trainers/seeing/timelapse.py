"""The film of one fixed grid learning, from the sample grids a run has kept. No torch.

Shows what was painted and nothing else: no picture is blended with another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from trainers.errors import SettingsError, TrainerError, did_you_mean
from trainers.seeing.film import (
    FilmFacts,
    OnProgress,
    check_film,
    check_fits,
    edge_to_show,
    format_of,
    write_film,
)
from trainers.seeing.grids import Grid, list_grids, surviving
from trainers.seeing.page import STATS_FILE

HOLD_S = 2.0
"""The last grid stays to be looked at ..."""
MAX_HELD_SHARE = 0.25
"""... for at most this share of a short film."""
LONGEST_S = 0.4
"""A grid is shown this long on average, at most: a run of few grids makes a shorter film."""
EARLY = 20.0
"""How many times faster, but for one, the film moves through training at its end than at its
beginning ..."""
EARLY_PER_GRID = 1 / 12
"""... as far as there are grids for it: few would stand still at the beginning."""
STRIP_SHARE = 1 / 28
"""Height of the caption's strip, of the film's edge."""
_STRIP_COLOUR, _TEXT_COLOUR = (18, 18, 18), (154, 154, 150)

OnNote = Callable[[str], None]


class Pacing(StrEnum):
    """How the film's time goes through the training's."""

    EARLY = "early"  # longer at the beginning, where most is learned
    EVEN = "even"


def find_run(typed: str, runs: Path) -> Path:
    """The folder of the run `typed`: its name in `runs`, or a path. Raises SettingsError."""
    named = runs / typed
    for folder in (named, Path(typed).expanduser()):
        if typed and (folder / "samples").is_dir():
            return folder
    if typed and named.is_dir():
        raise TrainerError(f"run {typed} has painted no grid yet; the first comes with a tick.")
    known = sorted(folder.parent.name for folder in runs.glob("*/samples/"))
    listed = f"Known here: {', '.join(known[:10])}{' …' if known[10:] else ''}."
    none = "There are no runs there; --runs-dir names another place."
    hint = did_you_mean(typed, known, listed if known else none)
    raise SettingsError(f"there is no run {typed!r} in {runs}. {hint}")


def choose(kimgs: Sequence[float], num_frames: int, pacing: Pacing) -> list[int]:
    """Which of the grids, painted at the ascending `kimgs`, each of `num_frames` frames shows.

    The first frame is the first grid, the last the last; in between, the latest grid that had been
    painted when the film comes by. With `Pacing.EARLY` the film's place in training is exponential
    in its time, so that its beginning goes up to EARLY + 1 times as slowly as its end.
    """
    first, last = kimgs[0], kimgs[-1]
    early = min(EARLY, EARLY_PER_GRID * len(kimgs))
    chosen = []
    for frame in range(num_frames):
        share = frame / (num_frames - 1) if num_frames > 1 else 1.0
        if pacing is Pacing.EARLY:
            share = ((1 + early) ** share - 1) / early
        place = first + share * (last - first)
        # Half a picture more: the sum above may fall a rounding error short of its grid.
        chosen.append(max(0, bisect_right(kimgs, place + 0.0005) - 1))
    return chosen


def make_timelapse(
    run_folder: Path,
    out: Path,
    *,
    seconds: float = 20.0,
    fps: float | None = None,
    pacing: Pacing = Pacing.EARLY,
    edge_px: int | None = None,
    has_caption: bool = True,
    on_progress: OnProgress = lambda what, done, total: None,
    on_note: OnNote = lambda text: None,
) -> FilmFacts:
    """Write the film of `run_folder`'s grids to `out`; what is left None, the format decides.

    Grids that are damaged, or of another size than the last, are left out and said. Raises
    SettingsError, StorageError, and TrainerError when there is no grid to show.
    """
    film_format = format_of(out)
    fps = fps or film_format.fps
    check_film(out, fps)
    painted = list_grids(run_folder)
    standing = surviving(painted, run_folder / STATS_FILE)
    if len(standing) < len(painted):
        on_note(f"left out {len(painted) - len(standing)} grid(s) that the run went back behind")
    grids = _usable(standing, on_note)
    if not grids:
        raise TrainerError(
            f"{run_folder / 'samples'} holds no grid to show; the first comes with a tick."
        )
    hold_s = min(HOLD_S, MAX_HELD_SHARE * seconds)
    moving_s = min(seconds - hold_s, LONGEST_S * len(grids))
    num_moving = max(1, round(moving_s * fps))
    chosen = choose([grid.kimg for grid in grids], num_moving, pacing)
    chosen += [chosen[-1]] * round(hold_s * fps)
    edge_px = edge_px or edge_to_show(_size_of(grids[-1].path)[0], film_format)

    width, height = _size_of(grids[-1].path)
    check_fits(out, len(chosen), edge_px, edge_px * height // width)

    damaged: list[Grid] = []
    frames = _frames([grids[index] for index in chosen], edge_px, has_caption, damaged, on_progress)
    about = f"{run_folder.name}, {grids[0].kimg:g} to {grids[-1].kimg:g} kimg"
    facts = write_film(out, frames, fps, about)
    if damaged:
        on_note(_left_out(damaged, "damaged"))
    return facts


def _usable(grids: Sequence[Grid], on_note: OnNote) -> list[Grid]:
    """Those whose header can be read and which are as large as the last of them."""
    readable, damaged = [], []
    for grid in grids:
        try:
            readable.append((grid, _size_of(grid.path)))
        except OSError:
            damaged.append(grid)
    if damaged:
        on_note(_left_out(damaged, "damaged"))
    size_px = readable[-1][1] if readable else (0, 0)
    if others := [grid for grid, size in readable if size != size_px]:
        on_note(_left_out(others, f"not {size_px[0]}x{size_px[1]} px like the last"))
    return [grid for grid, size in readable if size == size_px]


def _left_out(grids: Sequence[Grid], reason: str) -> str:
    names = ", ".join(grid.path.name for grid in grids[:3]) + (" …" if grids[3:] else "")
    return f"left out {len(grids)} grid(s), {reason}: {names}"


def _size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def _frames(
    shown: Sequence[Grid],
    edge_px: int,
    has_caption: bool,
    damaged: list[Grid],
    on_progress: OnProgress,
) -> Iterator[Image.Image]:
    """The film's frames. A grid cut short is replaced by the one before and put into `damaged`."""
    caption = _Caption(edge_px) if has_caption else None
    frame: Image.Image | None = None
    drawn: Grid | None = None
    for number, grid in enumerate(shown, start=1):
        if grid is not drawn:
            drawn = grid
            try:
                picture = fit(_decode(grid.path), edge_px)
            except (OSError, SyntaxError, ValueError):  # what Pillow raises for half a PNG
                damaged.append(grid)
            else:
                name = grid.path.parents[1].name
                frame = caption.under(picture, name, grid.kimg) if caption else picture
        if frame is not None:
            yield frame
        on_progress("making the film", number, len(shown))
    if frame is None:
        raise TrainerError(f"no grid in {shown[0].path.parent} can be read; all are damaged.")


def _decode(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def fit(picture: Image.Image, edge_px: int) -> Image.Image:
    """Brought to a width of `edge_px`: pixels stay squares when they are enlarged whole times."""
    width, height = picture.size
    if width == edge_px:
        return picture
    is_whole = edge_px % width == 0
    return picture.resize(
        (edge_px, max(1, round(height * edge_px / width))),
        Image.Resampling.NEAREST if is_whole else Image.Resampling.LANCZOS,
    )


class _Caption:
    """A strip below the grid with the run's name and how much had been seen. It covers nothing."""

    def __init__(self, edge_px: int) -> None:
        self._height = max(16, 2 * round(edge_px * STRIP_SHARE / 2))
        self._font = ImageFont.load_default(size=0.5 * self._height)
        self._margin = round(0.4 * self._height)

    def under(self, picture: Image.Image, name: str, kimg: float) -> Image.Image:
        width, height = picture.size
        frame = Image.new("RGB", (width, height + self._height), _STRIP_COLOUR)
        frame.paste(picture)
        draw = ImageDraw.Draw(frame)
        middle = height + self._height / 2
        seen = f"{kimg:,.0f} kimg" if kimg >= 100 else f"{kimg:.1f} kimg"
        seen_px = draw.textlength(seen, self._font)
        draw.text((width - self._margin, middle), seen, _TEXT_COLOUR, font=self._font, anchor="rm")
        name = self._shortened(name, width - 4 * self._margin - seen_px, draw)
        draw.text((self._margin, middle), name, _TEXT_COLOUR, font=self._font, anchor="lm")
        return frame

    def _shortened(self, name: str, room_px: float, draw: ImageDraw.ImageDraw) -> str:
        if draw.textlength(name, self._font) <= room_px:
            return name
        while name and draw.textlength(name + "…", self._font) > room_px:
            name = name[:-1]
        return name + "…"

"""The commands that show what a generator learned. No torch until one needs it."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import click

from trainers import share_the_processor
from trainers.errors import SettingsError, out_of_memory_told
from trainers.options import Number, device_option, folder_option
from trainers.progress import open_display
from trainers.seeing.film import MAX_SECONDS, check_film, format_of
from trainers.seeing.timelapse import Pacing

_FILM = click.Path(path_type=Path)
_SECONDS = Number(0.5, MAX_SECONDS)
_FPS = Number(1, 120)
_EDGE_PX = Number(16, 4096, is_whole=True)
MAX_SEED = 2**53 - 1


class _Seeds(click.ParamType[tuple[int, ...]]):
    """`3,14,15`: whole numbers a picture can be painted from."""

    name = "seeds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        words = [word.strip() for word in str(value).split(",")]
        if not all(re.fullmatch(r"\d{1,16}", word, re.ASCII) for word in words):
            self.fail(f"{value!r}: seeds are whole numbers from 0, with commas between.")
        seeds = tuple(map(int, words))
        if max(seeds) > MAX_SEED:
            self.fail(f"{max(seeds)}: the largest seed is {MAX_SEED}.")
        return seeds


class _Tiles(click.ParamType[tuple[int, int]]):
    """`2x3`: columns and rows; `2` is as many of both."""

    name = "grid"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"([1-9]\d?)(?:[x×]([1-9]\d?))?", str(value), re.ASCII)
        if not found:
            self.fail(f"{value!r}: write columns and rows, such as 3x2.")
        columns = int(found[1])
        return columns, int(found[2] or columns)


@click.command("timelapse", short_help="Make the film of a run's grid learning.")
@click.argument("run")
@click.option(
    "--out",
    type=_FILM,
    metavar="FILE.mp4|.gif|.webp",
    help="The film.  [default: RUN-timelapse.mp4]",
)
@click.option(
    "--seconds",
    type=_SECONDS,
    default=20.0,
    show_default=True,
    help="Length; shorter where a run has few grids.",
)
@click.option(
    "--fps", type=_FPS, help="Frames a second.  [default: 30 for MP4, 20 for WebP, 12.5 for GIF]"
)
@click.option(
    "--pacing",
    type=click.Choice([pacing.value for pacing in Pacing]),
    default=Pacing.EARLY.value,
    show_default=True,
    help="`early` stays longer where most is learned, `even` nowhere.",
)
@click.option("--size", "edge_px", type=_EDGE_PX, help="Width, px.  [default: by grid and format]")
@click.option(
    "--caption/--no-caption",
    "has_caption",
    default=True,
    show_default=True,
    help="Name and kimg in a strip below the grid.",
)
@folder_option("runs", "Where runs keep their grids.")
def timelapse_command(
    run: str,
    out: Path | None,
    seconds: float,
    fps: float | None,
    pacing: str,
    edge_px: int | None,
    has_caption: bool,
    runs_dir: Path,
) -> None:
    """Make the film of one grid learning: the same seeds, from the first tick to the last.

    The film goes into the current folder; one of that name is replaced once the new one is whole.

    \b
        artbot timelapse flowers-64
        artbot timelapse flowers-64 --out learning.gif --seconds 8
    """
    from trainers.seeing.timelapse import find_run, make_timelapse

    run_folder = find_run(run, runs_dir)
    display = open_display()
    with closing(display), out_of_memory_told("Try a smaller --size, fewer --seconds or an MP4."):
        facts = make_timelapse(
            run_folder,
            out or Path(f"{run_folder.resolve().name}-timelapse.mp4"),
            seconds=seconds,
            fps=fps,
            pacing=Pacing(pacing),
            edge_px=edge_px,
            has_caption=has_caption,
            on_progress=display.preparing,
            on_note=display.note,
        )
    display.note(f"film: {facts}")


@click.command("walk", short_help="Make a film of a walk through what a generator can paint.")
@click.argument("checkpoint")
@click.option(
    "--seeds", type=_Seeds(), metavar="1,2,3", help="Pass the pictures of these seeds, in order."
)
@click.option(
    "--num",
    "num_seeds",
    type=Number(2, 200, is_whole=True),
    help="Pass the pictures of seeds 1 to this.  [default: 8, or one for each tile]",
)
@click.option(
    "--out",
    type=_FILM,
    metavar="FILE.mp4|.gif|.webp",
    help="The film.  [default: CHECKPOINT-walk.mp4]",
)
@click.option(
    "--seconds", type=_SECONDS, default=12.0, show_default=True, help="Once around the loop."
)
@click.option(
    "--fps", type=_FPS, help="Frames a second.  [default: 30 for MP4, 20 for WebP, 12.5 for GIF]"
)
@click.option(
    "--grid",
    "tiles",
    type=_Tiles(),
    default="1",
    show_default=True,
    metavar="1|2x2|3x2…",
    help="Columns and rows: the same loop, one tile behind the other.",
)
@click.option("--size", "edge_px", type=_EDGE_PX, help="Width, px.  [default: by size and format]")
@click.option("--class", "class_name", metavar="NAME", help="Of a generator that knows classes.")
@click.option(
    "--truncation-psi",
    type=Number(0, 2, is_above=True),
    default=1.0,
    show_default=True,
    help="Below 1 the pictures are calmer and more alike.",
)
@device_option("Where to paint.")
@folder_option("checkpoints", "Where named checkpoints lie.")
def walk_command(
    checkpoint: str,
    seeds: tuple[int, ...] | None,
    num_seeds: int | None,
    out: Path | None,
    seconds: float,
    fps: float | None,
    tiles: tuple[int, int],
    edge_px: int | None,
    class_name: str | None,
    truncation_psi: float,
    device: str,
    checkpoints_dir: Path,
) -> None:
    """Make a film that wanders through what a generator can paint and ends where it began.

    The last frame flows into the first, so a player set to repeat shows no seam. CHECKPOINT is a
    name in checkpoints/, a path, or a run, whose latest it is then. The film goes into the current
    folder; one of that name is replaced once the new one is whole.

    \b
        artbot walk flowers-64
        artbot walk flowers-64-000300 --seeds 3,14,15 --out walk.webp
        artbot walk flowers-64-000300 --grid 3x3 --size 1080
    """
    if seeds and num_seeds:
        raise SettingsError("--seeds and --num say the same thing; give one of them.")
    if seeds is not None and len(set(seeds)) < 2:
        raise SettingsError("--seeds: a walk goes from one seed to another; give at least two.")
    share_the_processor()
    from trainers.inference import open_checkpoint, resolve_device
    from trainers.manifest import class_for, find_checkpoint
    from trainers.seeing.walk import Walk, check_class, make_walk

    folder = find_checkpoint(checkpoint, checkpoints_dir)
    out = out or Path(f"{folder.resolve().name}-walk.mp4")
    check_film(out, fps or format_of(out).fps)
    try:
        resolved_device = resolve_device(device)
    except ValueError as error:
        raise SettingsError(f"--device {error}.") from error
    seeds = seeds or tuple(range(1, 1 + (num_seeds or max(8, tiles[0] * tiles[1]))))
    display = open_display()
    remedy = "Try --device cpu, a smaller --size, fewer --seconds or an MP4."
    with closing(display), out_of_memory_told(remedy):
        if folder.name != Path(checkpoint).name:
            display.note(f"walking through {folder.name}")
        generator = open_checkpoint(folder, resolved_device)
        if class_name is not None:
            check_class(generator.manifest, class_name)
        elif class_name := class_for(seeds[0], generator.manifest):
            names = ", ".join(generator.manifest.class_names)
            display.note(f"painting {class_name}; --class chooses among {names}")
        facts = make_walk(
            generator,
            Walk(seeds, truncation_psi, class_name),
            out,
            seconds=seconds,
            fps=fps,
            tiles=tiles,
            edge_px=edge_px,
            on_progress=display.preparing,
        )
    display.note(f"film: {facts}")

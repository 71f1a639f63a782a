"""The `train` command, shared by `artbot train` and `python -m trainers train`. No torch until it runs."""

from __future__ import annotations

import dataclasses
import re
import signal
import unicodedata
from pathlib import Path
from types import FrameType
from typing import Any

import click

from trainers import share_the_processor
from trainers.config import SIZES_PX, Folders, TrainConfig, check_fixed_settings
from trainers.errors import OutOfMemory, SettingsError
from trainers.files import write_atomically
from trainers.networks import architecture_names
from trainers.progress import Display, open_display

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(TrainConfig)}
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("train", short_help="Learn to paint from a folder of pictures.")
@click.option(
    "--dataset",
    required=True,
    metavar="NAME|PATH",
    help="A folder in datasets/, any folder, or a source such as `demo`.",
)
@click.option(
    "--size",
    type=click.Choice([str(s) for s in SIZES_PX]),
    default="64",
    show_default=True,
    help="Edge of the pictures, px.",
)
@click.option("--run", metavar="NAME", help="Name of the run.  [default: DATASET-SIZE]")
@click.option(
    "--kimg",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many thousand pictures.  [default: by the number of pictures]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop after so many minutes of training, over all sessions.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda[:N]",
    help="Where to compute.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**53 - 1),
    default=0,
    show_default=True,
    help="Seeds weights, picture order and noise.",
)
@click.option(
    "--arch",
    type=click.Choice(architecture_names()),
    default="dcgan",
    show_default=True,
    help="Network architecture.",
)
@click.option(
    "--width",
    type=click.IntRange(4, 512),
    default=_DEFAULTS["width"],
    show_default=True,
    help="Feature maps at half the resolution; fewer are faster and paint more simply.",
)
@click.option(
    "--z-dim",
    type=click.IntRange(2, 4096),
    default=_DEFAULTS["z_dim"],
    show_default=True,
    help="Length of the latent vector.",
)
@click.option(
    "--batch", type=click.IntRange(2, 4096), help="Pictures per step.  [default: by size]"
)
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS["lr"],
    show_default=True,
    help="Adam step size.",
)
@click.option(
    "--flip/--no-flip",
    default=False,
    show_default=True,
    help="Mirror half of the pictures (not for paintings with lettering).",
)
@click.option(
    "--tick-kimg",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS["tick_kimg"],
    show_default=True,
    help="Statistics, grid and saved state at least this often.",
)
@click.option(
    "--export-kimg",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULTS["export_kimg"],
    show_default=True,
    help="A checkpoint at least this often.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and stop.")
@click.option(
    "--datasets-dir",
    type=_FOLDER,
    default=Path("datasets"),
    show_default=True,
    help="Where named data sets lie.",
)
@click.option(
    "--checkpoints-dir",
    type=_FOLDER,
    default=Path("checkpoints"),
    show_default=True,
    help="Where checkpoints go.",
)
@click.option(
    "--runs-dir",
    type=_FOLDER,
    default=Path("runs"),
    show_default=True,
    help="Where runs keep their state and grids.",
)
@click.option(
    "--cache-dir",
    type=_FOLDER,
    default=Path("cache"),
    show_default=True,
    help="Where decoded pictures are kept.",
)
def train_command(
    dataset: str,
    size: str,
    dry_run: bool,
    datasets_dir: Path,
    checkpoints_dir: Path,
    runs_dir: Path,
    cache_dir: Path,
    **chosen: Any,
) -> None:
    """Train a generator on a folder of pictures, flat or with one subfolder per class.

    The same command again resumes where it stopped. Checkpoints appear in checkpoints/, sample
    grids and stats.jsonl in runs/NAME/.

    \b
        artbot train --dataset flowers --size 64 --minutes 20
        artbot train --dataset ~/paintings --size 256 --device cuda
    """
    share_the_processor()
    folders = Folders(datasets_dir, checkpoints_dir, runs_dir, cache_dir)
    display = open_display()
    try:
        finished = _train(dataset, int(size), folders, chosen, dry_run, display)
    except (MemoryError, RuntimeError) as error:  # CUDA's own error is a RuntimeError
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemory(
            f"out of memory ({str(error).splitlines()[0]}). "
            "Try half the --batch, or a smaller --size or --width."
        ) from error
    finally:
        display.close()
    if not finished:
        click.get_current_context().exit(130)  # the shell's code for a program ended by Ctrl-C


def _is_out_of_memory(error: Exception) -> bool:
    """Also where torch says so only in words, as its CPU allocator does."""
    words = str(error)
    is_said = "out of memory" in words or "can't allocate memory" in words
    return isinstance(error, MemoryError) or is_said


def _train(
    dataset: str,
    size: int,
    folders: Folders,
    chosen: dict[str, Any],
    dry_run: bool,
    display: Display,
) -> bool:
    """Resolve, prepare, train. True when the budget was spent, False when asked to stop."""
    from trainers.data.folder import list_pictures
    from trainers.data.sources import Source, fetch_once, find_dataset
    from trainers.presets import preset

    found = find_dataset(dataset, folders.datasets)
    if isinstance(found, Source):
        folder, num_files = folders.datasets / found.name, found.num_pictures
    else:
        folder, num_files = found, len(list_pictures(found))
    settings = {name: value for name, value in chosen.items() if value is not None}
    config = _resolve_config(folder, size, preset(size, num_files) | settings)
    if dry_run:
        _print_plan(config, folder, num_files, folders)
        _check_saved_state(config, folders)
        return True
    _check_places(folders)
    if isinstance(found, Source):
        display.note(f"{found.name}: {found.summary} ({num_files} pictures, {found.licence})")
        making = f"making {found.name}"
        fetch_once(
            found, folders.datasets, lambda done, total: display.preparing(making, done, total)
        )

    from trainers.data.cache import load_pictures

    pictures = load_pictures(
        folder,
        size,
        folders.cache,
        lambda done, total: display.preparing("preparing pictures", done, total),
    )
    _report_pictures(pictures, folder, size, folders.runs / config.run, display)
    display.note("starting torch …")
    from trainers.loop import train

    stop = _StopRequest(display)
    with stop:
        result = train(config, pictures, folders, display, stop.is_requested)
    display.close()
    kimg = f"{result.images_seen / 1000:.1f} kimg"
    if result.checkpoint is None:
        display.note(f"{config.run} is already at {kimg}; raise --kimg or --minutes to go on.")
    else:
        display.note(f"checkpoint: {result.checkpoint}")
        display.note(f"grids:      {folders.runs / config.run / 'samples'}")
        if not result.is_finished:
            display.note(
                f"stopped at {kimg}; everything is saved, the same command goes on from there."
            )
    return result.is_finished


def _resolve_config(folder: Path, size: int, settings: dict[str, Any]) -> TrainConfig:
    """Fill in the run's name and the device."""
    from trainers.inference import resolve_device

    run = settings.pop("run", None) or f"{_as_name(folder.resolve().name)}-{size}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run):
        raise SettingsError(
            f"--run {run}: use letters, digits, dots, dashes and underscores, at most 100."
        )
    try:
        device = resolve_device(settings.pop("device"))
    except ValueError as error:
        raise SettingsError(f"--device {error}.") from error
    return TrainConfig(run=run, size=size, device=device, **settings)


def _as_name(folder_name: str) -> str:
    """A folder's name as part of a run's: `Öl auf Leinwand` -> `Ol-auf-Leinwand`."""
    ascii_name = unicodedata.normalize("NFKD", folder_name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_name).strip("-._")[:80] or "pictures"


def _check_places(folders: Folders) -> None:
    """Find out now, not after the first tick, that a folder cannot be written."""
    for place in (folders.checkpoints, folders.runs, folders.cache):
        try:
            place.mkdir(parents=True, exist_ok=True)
            probe = place / ".artbot-can-write"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise SettingsError(
                f"cannot write to {place}: {error.strerror}. Choose another place."
            ) from error


def _report_pictures(
    pictures: Any, folder: Path, size: int, run_folder: Path, display: Display
) -> None:
    """How many pictures there are, which were left out and why; the whole list goes to the run."""
    classes = f" in {len(pictures.class_names)} classes" if pictures.class_names else ""
    display.note(f"{len(pictures)} pictures{classes} from {folder}")
    shown = 10
    for rejection in pictures.rejections[:shown]:
        display.note(f"  left out: {rejection.relative} {rejection.reason}")
    if pictures.rejections:
        run_folder.mkdir(parents=True, exist_ok=True)
        report = run_folder / "left-out.txt"
        lines = "".join(f"{r.relative} {r.reason}\n" for r in pictures.rejections)
        # A name on an old disk may be no UTF-8: it goes out as the bytes it came in.
        write_atomically(report, lambda file: file.write(lines.encode("utf-8", "surrogateescape")))
        if len(pictures.rejections) > shown:
            display.note(f"  … and {len(pictures.rejections) - shown} more, all in {report}")
    if pictures.num_upscaled:
        display.note(
            f"  {pictures.num_upscaled} of {len(pictures)} are smaller than {size} px and were enlarged; "
            "a smaller --size would look sharper."
        )


def _print_plan(config: TrainConfig, folder: Path, num_files: int, folders: Folders) -> None:
    """The resolved configuration, on standard output."""
    from trainers.networks import Shape, load_architecture
    from trainers.networks.cost import measure

    cost = measure(load_architecture(config.arch), Shape(config.size, config.z_dim, config.width))
    state = folders.runs / config.run / "state.pt"
    rows = [
        ("pictures", f"{folder} ({num_files} files)"),
        *((name, value) for name, value in config.as_dict().items()),
        (
            "generator",
            f"{cost.generator_parameters / 1e6:.2f} M parameters, {cost.generator_macs / 1e9:.2f} GMAC a picture",
        ),
        (
            "discriminator",
            f"{cost.discriminator_parameters / 1e6:.2f} M parameters, {cost.discriminator_macs / 1e9:.2f} GMAC a picture",
        ),
        ("steps", f"{config.kimg * 1000 / config.batch:,.0f}"),
        ("state", f"{state} ({'resume' if state.exists() else 'new run'})"),
        ("checkpoints", folders.checkpoints),
        ("cache", folders.cache),
    ]
    for name, value in rows:
        click.echo(f"{name:20} {'-' if value is None else value}")


def _check_saved_state(config: TrainConfig, folders: Folders) -> None:
    """What the real run would refuse, the dry run refuses."""
    from trainers import state

    saved = state.load(folders.runs / config.run)
    if saved is not None:
        check_fixed_settings(saved["config"], config)


class _StopRequest:
    """First Ctrl-C or SIGTERM: finish the step, save, stop. Second Ctrl-C: at once."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._requested = self._is_said = False

    def is_requested(self) -> bool:
        if self._requested and not self._is_said:
            self._is_said = True  # said here: a signal may interrupt another print
            self._display.note(
                "saving and stopping (Ctrl-C again stops at once, losing the work since the last tick) …"
            )
        return self._requested

    def __enter__(self) -> None:
        self._previous = {
            s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._requested = True

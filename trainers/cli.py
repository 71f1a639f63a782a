"""The `train` command, shared by `artbot train` and `python -m trainers train`. No torch until it runs."""

from __future__ import annotations

import dataclasses
import re
import signal
import unicodedata
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from trainers import share_the_processor
from trainers.config import (
    AUGMENTS,
    LEAKING_FROM_FLAT,
    LOSSES,
    NO_LIMIT_KIMG,
    Folders,
    TrainConfig,
    check_combination,
    check_fixed_settings,
    idle_settings,
    why_idle,
)
from trainers.errors import DatasetError, SettingsError, out_of_memory_told
from trainers.files import check_writable, storage_errors, write_atomically
from trainers.networks import architecture_names
from trainers.options import (
    ABOVE_ZERO,
    Number,
    dataset_option,
    datasets_dir_option,
    device_option,
    folder_option,
    size_option,
)
from trainers.presets import (
    DEFAULT_PRESET,
    MIN_PICTURES_TO_HOLD_OUT_OF,
    PRESETS,
    parse_setting,
    resolve_budget,
    resolve_preset,
    resolve_resumed,
)
from trainers.progress import Display, Pace, open_display
from trainers.shape import UPSAMPLINGS

if TYPE_CHECKING:
    from trainers.data.cache import PictureSet
    from trainers.data.sources import Source
    from trainers.networks.cost import Cost

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(TrainConfig)}


@click.command("train", short_help="Learn to paint from a folder of pictures.")
@dataset_option("A folder in datasets/, any folder, or a source such as `demo`.")
@size_option
@click.option("--run", metavar="NAME", help="Name of the run.  [default: DATASET-SIZE]")
@click.option(
    "--kimg",
    type=ABOVE_ZERO,
    help="Stop after so many thousand pictures.  [default: by the number of pictures]",
)
@click.option(
    "--minutes",
    type=ABOVE_ZERO,
    help="Stop after so many minutes of training, over all sessions.",
)
@device_option()
@click.option(
    "--seed",
    type=Number(0, 2**53 - 1, is_whole=True),
    help="Seeds weights, picture order and noise.  [default: 0]",
)
@click.option(
    "--preset",
    metavar="NAME|FILE",
    help="A tested combination of settings, or a file that `artbot sweep` wrote; "
    "names: " + ", ".join(PRESETS) + f".  [default: {DEFAULT_PRESET}]",
)
@click.option(
    "--arch",
    type=click.Choice(architecture_names()),
    help="Network architecture, with its preset.  [default: the preset's]",
)
@click.option(
    "--upsampling",
    type=click.Choice(UPSAMPLINGS),
    help="How dcgan doubles the resolution.  [default: the preset's]",
)
@click.option(
    "--classes", is_flag=True, default=None, help="Learn the subfolders as classes to paint by."
)
@click.option(
    "--loss", type=click.Choice(LOSSES), help="Adversarial loss.  [default: the preset's]"
)
@click.option(
    "--augment",
    type=click.Choice(AUGMENTS),
    help="Against learning few pictures by heart.  [default: the preset's]",
)
@click.option(
    "--width",
    type=Number(4, 512, is_whole=True),
    help="How wide all layers are; narrower networks are faster and paint more simply.  [default: the preset's]",
)
@click.option(
    "--batch",
    type=Number(2, 4096, is_whole=True),
    help="Pictures per step.  [default: the preset's]",
)
@click.option(
    "--lr",
    type=ABOVE_ZERO,
    help="Adam step size.  [default: the preset's]",
)
@click.option(
    "--flip/--no-flip",
    default=None,
    help="Mirror half of the pictures (not for paintings with lettering).  [default: no-flip]",
)
@click.option(
    "--holdout",
    type=Number(0, 0.5),
    help="Share of the pictures held out to measure with.  [default: 0.1 of 200 and more]",
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Any other setting, by the name --dry-run shows; may be given more than once.",
)
@click.option(
    "--tick-kimg",
    type=ABOVE_ZERO,
    help=f"Statistics, grid and saved state at least this often.  [default: {_DEFAULTS['tick_kimg']:g}]",
)
@click.option(
    "--export-kimg",
    type=ABOVE_ZERO,
    help=f"A checkpoint at least this often.  [default: {_DEFAULTS['export_kimg']:g}]",
)
@click.option(
    "--guard/--no-guard",
    default=None,
    help="Watch for collapse and divergence, and react.  [default: guard]",
)
@click.option(
    "--tensorboard", is_flag=True, default=None, help="Also write the curves for TensorBoard."
)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and stop.")
@datasets_dir_option
@folder_option("checkpoints", "Where checkpoints go.")
@folder_option("runs", "Where runs keep their state and grids.")
@folder_option("cache", "Where decoded pictures are kept.")
def train_command(
    dataset: str,
    size: str,
    preset: str | None,
    settings: tuple[str, ...],
    dry_run: bool,
    datasets_dir: Path,
    checkpoints_dir: Path,
    runs_dir: Path,
    cache_dir: Path,
    **chosen: Any,
) -> None:
    """Train a generator on a folder of pictures, flat or with one subfolder per class.

    The same command again resumes where it stopped. Checkpoints appear in checkpoints/; open
    runs/NAME/index.html to watch it learn.

    \b
        artbot train --dataset flowers --size 64 --minutes 20
        artbot train --dataset ~/paintings --size 256 --device cuda
        artbot train --dataset flowers --classes
        artbot train --dataset flowers --preset resgan-s --set gamma=8 --dry-run
    """
    share_the_processor()
    folders = Folders(datasets_dir, checkpoints_dir, runs_dir, cache_dir)
    display = open_display()
    try:
        chosen |= dict(parse_setting(text) for text in settings)
        with out_of_memory_told("Try a smaller --width or --size."):
            finished = _train(dataset, int(size), preset, folders, chosen, dry_run, display)
    finally:
        display.close()
    if not finished:
        click.get_current_context().exit(130)  # the shell's code for a program ended by Ctrl-C


def _train(
    dataset: str,
    size: int,
    preset: str | None,
    folders: Folders,
    chosen: dict[str, Any],
    dry_run: bool,
    display: Display,
) -> bool:
    """Resolve, prepare, train. True when the budget was spent, False when asked to stop."""
    from trainers.data.folder import check_classes, class_names_of, list_pictures
    from trainers.data.sources import Source, find_dataset
    from trainers.data.split import share_that_can_be_measured

    found = find_dataset(dataset, folders.datasets)
    if isinstance(found, Source):
        folder, num_files = folders.datasets / found.name, found.num_pictures
    else:
        folder, num_files = found, len(list_pictures(found))
    named = {name: value for name, value in chosen.items() if value is not None}
    run = _resolve_run(named.pop("run", None), folder, size)
    device = named.pop("device")
    if not dry_run:
        display.note("starting torch …")
    settings, saved = _settings(preset, named, size, num_files, folders.runs / run)
    is_new = saved is None
    config = TrainConfig(run=run, size=size, device=_resolve_device(device), **settings)
    check_combination(config)
    for idle in idle_settings(config, named):
        display.note(idle)
    if config.precision == "bf16" and config.device == "cpu" and not has_bf16():
        display.note("precision bf16 gains nothing on this processor, which does not compute in it")
    _check_possible(config, num_files, has_named_holdout=is_new and "holdout" in named)
    if saved is not None:
        check_fixed_settings(saved.config, config)
    if config.classes and isinstance(found, Path):
        # Pictures outside any class may turn out to be damaged, and are not held against it yet.
        check_classes(found.name, class_names_of(list_pictures(found)), num_outside=0)
    if dry_run:
        _print_plan(config, found, num_files, folders)
        return True
    if saved is not None and Pace(config, saved.images_seen, saved.elapsed_s).is_finished:
        display.note(f"{run} is finished: {_spent(config, saved.images_seen)}")
        return True
    check_writable(folders.checkpoints, folders.runs, folders.cache)
    pictures = prepare_pictures(dataset, size, folders, display)
    report = folders.runs / config.run / "left-out.txt"
    report_pictures(pictures, folder, size, config.classes, report, display)
    if is_new and "holdout" not in named:
        wanted = resolve_preset(preset, named.get("arch"), size, len(pictures))["holdout"]
        holdout = share_that_can_be_measured(pictures.images, wanted)
        config = dataclasses.replace(config, holdout=holdout)
    _say_what_is_held_out(pictures, config, is_new, display)
    from trainers.loop import train

    stop = StopRequest(display)
    with stop:
        result = train(config, pictures, folders, display, stop.is_requested)
    display.close()
    kimg = f"{result.images_seen / 1000:.1f} kimg"
    if result.checkpoint is not None:
        display.note(f"checkpoint: {result.checkpoint}")
    display.note(f"its page:   {folders.runs / config.run / 'index.html'}")
    if result.ended_early:
        display.note(f"ended at {kimg}: {result.ended_early}")
    if not result.is_finished:
        display.note(
            f"stopped at {kimg}; everything is saved, the same command goes on from there."
        )
    elif not result.ended_early:
        display.note(f"finished at {kimg}: {_spent(config, result.images_seen)}")
    return result.is_finished


def _spent(config: TrainConfig, images_seen: int) -> str:
    """`its 2.5 minutes are spent. Go on with --minutes 10.`: which budget ended the run, and a larger one."""
    if config.minutes is None or images_seen >= config.kimg * 1000:
        more = 2 * max(config.kimg, images_seen / 1000)
        return f"its {config.kimg:.10g} kimg are spent. Go on with --kimg {more:.10g}."
    more = max(10.0, 2 * config.minutes)
    minutes = "minute is" if config.minutes == 1 else "minutes are"
    return f"its {config.minutes:.10g} {minutes} spent. Go on with --minutes {more:.10g}."


CPU_FACTS = Path("/proc/cpuinfo")


def has_bf16(facts: Path = CPU_FACTS) -> bool:
    """Whether this processor multiplies in bfloat16, as Linux tells; True where nobody tells."""
    try:
        words = set(re.findall(r"\w+", facts.read_text("utf-8", "replace")))
    except OSError:
        return True
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})


def prepare_pictures(dataset: str, size: int, folders: Folders, display: Display) -> PictureSet:
    """The pictures of `--dataset` at a size, fetched and decoded now if they were not before.

    Raises DatasetNotFound, DatasetError, StorageError.
    """
    from trainers.data.cache import load_pictures
    from trainers.data.sources import Source, fetch_once, find_dataset

    found = find_dataset(dataset, folders.datasets)
    if isinstance(found, Source):
        display.note(
            f"{found.name}: {found.summary} ({found.num_pictures} pictures, {found.licence})"
        )
        folder = folders.datasets / found.name
        making = partial(display.preparing, f"making {found.name}")
        fetch_once(found, folders.datasets, making)
    else:
        folder = found
    return load_pictures(
        folder, size, folders.cache, partial(display.preparing, "preparing pictures")
    )


RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclasses.dataclass(frozen=True)
class _Saved:
    """How far a run is that has a saved state, and what it learns with."""

    config: dict[str, Any]
    images_seen: int
    elapsed_s: float


def _resolve_run(run: str | None, folder: Path, size: int) -> str:
    run = run or f"{as_name(folder.resolve().name)}-{size}"
    if not RUN_NAME.fullmatch(run):
        if RUN_NAME.fullmatch(alone := Path(run).name) and not alone.startswith("."):
            raise SettingsError(f"--run {run}: it is a name, no path: just {alone}.")
        raise SettingsError(
            f"--run {run}: use letters, digits, dots, dashes and underscores, at most 100."
        )
    return run


def _settings(
    preset: str | None, named: dict[str, Any], size: int, num_pictures: int, run_folder: Path
) -> tuple[dict[str, Any], _Saved | None]:
    """What is named, over the preset's or, of a run that has a saved state, over what it learns with so
    far; and that state."""
    arch = named.get("arch")
    settings = resolve_preset(preset, arch, size, num_pictures)  # refuses before torch is started
    from trainers import state

    if (whole := state.load(run_folder)) is None:
        return settings | named, None
    saved = _Saved(whole["config"], whole["images_seen"], whole["elapsed_s"])
    settings = resolve_resumed(preset, arch, size, num_pictures, saved.config)
    kimg, minutes = saved.images_seen / 1000, saved.elapsed_s / 60
    return resolve_budget(settings, named, kimg, minutes), saved


def _resolve_device(wanted: str) -> str:
    from trainers.inference import resolve_device

    try:
        return resolve_device(wanted)
    except ValueError as error:
        raise SettingsError(f"--device {error}.") from error


def as_name(folder_name: str) -> str:
    """A folder's name as part of a run's: `Öl auf Leinwand` -> `Ol-auf-Leinwand`."""
    ascii_name = unicodedata.normalize("NFKD", folder_name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_name).strip("-._")[:80] or "pictures"


def _check_possible(config: TrainConfig, num_files: int, has_named_holdout: bool) -> None:
    """Raise SettingsError, or TrainerError for what is not installed, now for what would else be found
    out after all pictures are prepared."""
    from trainers.data.augment import parse_operations
    from trainers.data.split import check_enough
    from trainers.metrics import JUDGES
    from trainers.networks.check import check_pretrained, check_shape
    from trainers.pretrained.efficientnet_lite import check_weights
    from trainers.seeing.tensorboard import summary_writer

    check_shape(config.arch, config.shape(()))
    check_pretrained(config.arch)
    parse_operations(config.augment_ops)
    if has_named_holdout:
        check_enough(round(config.holdout * num_files), config.holdout, num_files)
    if config.measure_share > 0:
        check_weights(JUDGES[0])
    if config.tensorboard:
        summary_writer()


def report_pictures(
    pictures: PictureSet,
    folder: Path,
    size: int,
    by_class: bool,
    report: Path,
    display: Display,
) -> None:
    """How many pictures there are, which were left out and why; the whole list goes to `report`.

    Raises StorageError.
    """
    from trainers.data.folder import is_unread, told_unread

    classes = f" in {len(pictures.class_names)} classes" if pictures.class_names else ""
    display.note(f"{len(pictures)} pictures{classes} from {folder}")
    unread = {r.relative for r in pictures.rejections if is_unread(r.relative)}
    if unread:
        display.note(f"  left out: {told_unread(unread)}")
    named = [r for r in pictures.rejections if r.relative not in unread]
    shown = 10
    for rejection in named[:shown]:
        display.note(f"  left out: {rejection.relative} {rejection.reason}")
    if pictures.rejections:
        with storage_errors(report.parent):
            report.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{r.relative} {r.reason}\n" for r in pictures.rejections)
        # A name on an old disk may be no UTF-8: it goes out as the bytes it came in.
        write_atomically(report, lambda file: file.write(lines.encode("utf-8", "surrogateescape")))
        if len(named) > shown:
            display.note(f"  … and {len(named) - shown} more, all in {report}")
    if by_class:
        from trainers.data.cache import for_people

        subfolders = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
        for name in map(for_people, subfolders):
            if name not in pictures.class_names:
                display.note(f"  left out: class {name}, which has no usable picture")
    if pictures.num_upscaled:
        factor = ""
        if pictures.upscaling is not None:
            median, most = pictures.upscaling
            factor = f" {median:.1f} times" + (f" (up to {most:.1f})" if most > median else "")
        are, were = ("is", "was") if pictures.num_upscaled == 1 else ("are", "were")
        display.note(
            f"  {pictures.num_upscaled} of {len(pictures)} {are} smaller than {size} px and {were} "
            f"enlarged{factor}; a smaller --size would look sharper."
        )


def _say_what_is_held_out(
    pictures: PictureSet, config: TrainConfig, is_new: bool, display: Display
) -> None:
    """How many of the pictures are learned from, and how many are not; a resumed run can change neither."""
    from trainers.data.split import held_out_indices

    total = len(pictures)
    if num_held_out := len(held_out_indices(pictures.images, config.holdout)):
        display.note(
            f"  learning from {total - num_held_out} of them; {num_held_out} are held out, to measure with"
        )
        return
    why = ""
    if is_new and total < MIN_PICTURES_TO_HOLD_OUT_OF:
        why = f": they are fewer than {MIN_PICTURES_TO_HOLD_OUT_OF} (--holdout)"
    display.note(f"  learning from all of them; none is held out to measure with{why}")


def _print_plan(
    config: TrainConfig, found: Path | Source, num_files: int, folders: Folders
) -> None:
    """In plain words, then the resolved configuration, on standard output; every row but the last few can
    be `--set`. What changes nothing with the other settings stands below them, for itself."""
    from trainers.data.cache import MIN_PICTURES
    from trainers.data.folder import check_classes, class_names_of, list_pictures
    from trainers.networks import load_architecture
    from trainers.networks.check import check_shape, unknown_options
    from trainers.networks.cost import measure

    if isinstance(found, Path) and num_files < MIN_PICTURES:
        raise DatasetError(
            f"{found} has {num_files} picture file{'s' * (num_files != 1)}; {MIN_PICTURES} usable ones are "
            "the least. Add more, or give another --dataset."
        )
    where = found if isinstance(found, Path) else folders.datasets / found.name
    listed = list_pictures(found) if isinstance(found, Path) else []
    class_names = class_names_of(listed)
    if config.classes and isinstance(found, Path):
        num_outside = sum(file.class_name is None for file in listed)
        check_classes(found.name, class_names, num_outside)
    shape = config.shape(class_names)
    check_shape(config.arch, shape)
    cost = measure(load_architecture(config.arch), shape)
    frozen = ""
    if cost.discriminator_frozen_parameters:
        frozen = f" and {cost.discriminator_frozen_parameters / 1e6:.2f} M frozen ones"
    steps = f"{config.kimg * 1000 / config.batch:,.0f}"
    if config.minutes is not None:
        in_time = f"as many as {config.minutes:g} minutes allow"
        steps = in_time if config.kimg >= NO_LIMIT_KIMG else f"{steps}, or {in_time}"
    state = folders.runs / config.run / "state.pt"
    idle = dict.fromkeys((*why_idle(config), *unknown_options(config.arch)))
    augmentation = config.augment_ops.replace(",", ", ") if config.augment != "none" else "none"
    if leaking := LEAKING_FROM_FLAT & set(augmentation.split(", ")):
        augmentation += (
            f" ({', '.join(sorted(leaking))} not where the pictures lie on one flat background)"
        )
    rows = [
        (
            "pictures",
            f"{where} ({num_files} files; which are usable is found out by decoding them)",
        ),
        *((name, value) for name, value in config.as_dict().items() if name not in idle),
        (
            "generator",
            f"{cost.generator_parameters / 1e6:.2f} M parameters, {cost.generator_macs / 1e9:.2f} GMAC a picture",
        ),
        (
            "discriminator",
            f"{cost.discriminator_parameters / 1e6:.2f} M parameters{frozen}, "
            f"{cost.discriminator_macs / 1e9:.2f} GMAC a picture",
        ),
        ("augmentation", augmentation),
        ("steps", steps),
        ("state", f"{state} ({'resume' if state.exists() else 'new run'})"),
        ("checkpoints", folders.checkpoints),
        ("cache", folders.cache),
    ]
    for words in _plain_words(config, where, num_files, len(class_names), cost):
        click.echo(words)
    click.echo()
    for name, value in rows:
        click.echo(f"{name:20} {_shown(value)}")
    click.echo("\nWith these settings, these change nothing:\n")
    for name in idle:
        click.echo(f"{name:20} {_shown(getattr(config, name))}")


def _plain_words(
    config: TrainConfig, where: Path, num_files: int, num_classes: int, cost: Cost
) -> Iterator[str]:
    """What a run learns, at which size, how long, how large its networks are, and what it writes."""
    by_class = f", in {num_classes} classes" if config.classes and num_classes else ""
    held_out = f", of which {config.holdout:.0%} are held out" if config.holdout else ""
    yield f"{config.run} learns from the {num_files} picture files in {where}{by_class}{held_out}."
    yield f"It paints {config.size} x {config.size} px, and learns on {config.device}."
    ends = [f"{config.kimg:.10g} kimg (thousand pictures)"]
    if config.minutes is not None:
        ends = [] if config.kimg >= NO_LIMIT_KIMG else ends
        ends.append(f"{config.minutes:.10g} minute{'s' * (config.minutes != 1)}")
    first = ", whichever is first" if len(ends) == 2 else ""
    yield f"It ends after {' or '.join(ends)}{first}, over all sessions."
    generator, discriminator = cost.generator_parameters, cost.discriminator_parameters
    yield (
        f"Its generator ({config.arch}) has {generator / 1e6:.1f} million parameters, its discriminator "
        f"{discriminator / 1e6:.1f} million that learn."
    )
    frozen = cost.discriminator_frozen_parameters
    # Both networks with Adam's two averages, the averaged generator, and the frozen part.
    state_bytes = BYTES_PER_NUMBER * (4 * generator + 3 * discriminator + frozen)
    cache_bytes = num_files * 3 * config.size**2
    yield (
        f"On disk: about {_megabytes(2 * state_bytes)} of state, {_megabytes(BYTES_PER_NUMBER * generator)} a "
        f"checkpoint, {_megabytes(cache_bytes)} of decoded pictures."
    )


BYTES_PER_NUMBER = 4


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{max(1, num_bytes / 1e6):.0f} MB"


def _shown(value: Any) -> str:
    """As `--set` takes it."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


class StopRequest:
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

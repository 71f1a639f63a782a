"""The command: prepare, try, conclude. No torch and no Optuna until it runs."""

from __future__ import annotations

import re
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainers import share_the_processor
from trainers.config import NO_LIMIT_KIMG, Folders, idle_settings
from trainers.errors import SettingsError, TrainerError, out_of_memory_told
from trainers.files import storage_errors, write_atomically
from trainers.options import (
    ABOVE_ZERO,
    Number,
    dataset_option,
    datasets_dir_option,
    device_option,
    folder_option,
    size_option,
)
from trainers.presets import DEFAULT_PRESET, PRESETS, as_named, parse_setting, resolve_preset
from trainers.progress import Display, duration, open_display
from trainers.sweep.search import Search, plan_search

if TYPE_CHECKING:
    from trainers.data.cache import PictureSet
    from trainers.metrics.meter import QualityMeter

MINUTES = 15.0
"""Length of a trial, if nobody says."""


@click.command("sweep", short_help="Find good settings by trying many.")
@dataset_option("The pictures, as for `artbot train`.")
@size_option
@click.option(
    "--trials",
    type=Number(2, 10_000, is_whole=True),
    default=16,
    show_default=True,
    help="How many to try, on all machines together.",
)
@click.option(
    "--minutes",
    type=ABOVE_ZERO,
    help=f"Length of a trial.  [default: {MINUTES:g}, unless --kimg is given]",
)
@click.option(
    "--kimg",
    type=ABOVE_ZERO,
    help="Length of a trial in thousands of pictures: fair where machines are not equally fast.",
)
@click.option(
    "--preset",
    metavar="NAME|FILE",
    help=f"What to start from: {', '.join(PRESETS)}, or a file.  [default: {DEFAULT_PRESET}]",
)
@click.option(
    "--set",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Change a setting of the preset for all trials; may be given more than once.",
)
@click.option(
    "--over",
    metavar="NAMES",
    help="What to search, comma-separated: gamma, lr, augment_p, ada_target, d_lr_factor.  "
    "[default: those of the first four that mean something with the preset]",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the preset file goes.  [default: STUDY.toml]",
)
@click.option("--study", metavar="NAME", help="Name of the study.  [default: sweep-DATASET-SIZE]")
@click.option(
    "--storage",
    metavar="URL",
    envvar="ARTBOT_SWEEP_STORAGE",
    show_envvar=True,
    help="Database that several machines share, such as postgresql://USER@HOST/DATABASE.  "
    "[default: a file in the study's folder]",
)
@device_option()
@datasets_dir_option
@folder_option("runs", "Where the study keeps its trials, in a folder of its name.")
@folder_option("cache", "Where decoded pictures are kept.")
def sweep_command(
    dataset: str,
    size: str,
    trials: int,
    minutes: float | None,
    kimg: float | None,
    preset: str | None,
    settings: tuple[str, ...],
    over: str | None,
    out: Path | None,
    study: str | None,
    storage: str | None,
    device: str,
    datasets_dir: Path,
    runs_dir: Path,
    cache_dir: Path,
) -> None:
    """Train many short runs with different settings, and keep the best as a preset file.

    The first trial is the preset as it is. Ctrl-C loses only the trial that is running: the same
    command goes on. Several machines work on one study with the same --study and --storage.

    \b
        artbot sweep --dataset flowers --trials 16 --minutes 15
        artbot train --dataset flowers --preset sweep-flowers-64.toml
        artbot sweep --dataset flowers --preset resgan-s --over gamma,lr --kimg 200
    """
    share_the_processor()
    try:
        import optuna  # noqa: F401  (only to see that it is there)
    except ImportError as error:
        raise SettingsError(
            f"sweep needs the package optuna, which does not load here ({error}). Install it with "
            "`pip install 'artbot[sweep]'`."
        ) from error
    from trainers.cli import StopRequest, as_name, prepare_pictures, report_pictures
    from trainers.data.sources import Source, find_dataset
    from trainers.data.split import check_enough, held_out_indices, share_that_can_be_measured
    from trainers.metrics import JUDGES
    from trainers.networks.check import check_pretrained
    from trainers.pretrained.efficientnet_lite import check_weights
    from trainers.sweep.result import preset_file, table
    from trainers.sweep.study import answering, finished, measured, open_study
    from trainers.sweep.trials import Sweep, trial_config

    name = study or f"sweep-{as_name(Path(dataset).expanduser().resolve().name)}-{size}"
    out = out or Path(f"{name}.toml")
    folder = runs_dir / name
    url = storage or f"sqlite:///{folder / 'study.sqlite3'}"
    on_top = _parsed(settings) | _length(kimg, minutes)
    # A typing error is told before all the rest.
    arch = (resolve_preset(preset, None, int(size), 1) | on_top)["arch"]
    _check_places(name, out, preset)
    folders = Folders(datasets_dir, Path(), runs_dir, cache_dir)
    display = open_display()
    with closing(display), out_of_memory_told("Try --device cpu or a smaller --size."):
        check_weights(JUDGES[0])
        check_pretrained(arch)
        found = find_dataset(dataset, datasets_dir)
        pictures = prepare_pictures(dataset, int(size), folders, display)
        base = resolve_preset(preset, None, int(size), len(pictures)) | on_top
        started_from = as_named(preset)  # now: the file may be another one tomorrow
        report_pictures(
            pictures,
            datasets_dir / found.name if isinstance(found, Source) else found,
            int(size),
            bool(base.get("classes")),
            folder / "left-out.txt",
            display,
        )
        if "holdout" in on_top:
            num_held_out = len(held_out_indices(pictures.images, base["holdout"]))
            check_enough(num_held_out, base["holdout"], len(pictures))
        else:
            base["holdout"] = share_that_can_be_measured(pictures.images, base["holdout"])
        search = plan_search(base | {"device": _resolved(device)}, over)
        config = trial_config("trial", int(size), search.base)
        for idle in idle_settings(config, _parsed(settings)):
            display.note(idle)
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        opened = open_study(name, url, _facts(search, int(size), pictures), search)
        with answering(url):
            _announce(name, trials - len(finished(opened)), trials, search, display)
            stop = StopRequest(display)
            sweep = Sweep(
                study=opened,
                storage=url,
                search=search,
                num_trials=trials,
                pictures=pictures,
                size=int(size),
                folder=folder,
                folders=folders,
                display=display,
                should_stop=stop.is_requested,
                open_meter=partial(_open_meter, pictures, search, cache_dir, display),
            )
            with stop:
                sweep.run()
            display.close()
            if measured(opened):
                for line in table(opened, search, folder):
                    click.echo(line)
                text = preset_file(opened, search, started_from, _parsed(settings))
                write_atomically(out, lambda file: file.write(text.encode()))
                click.echo(f"preset: {out}")
                click.echo(f"  artbot train --dataset {dataset} --size {size} --preset {out}")
            num_finished, is_any_good = len(finished(opened)), bool(measured(opened))
    if num_finished < trials:
        display.note(f"{num_finished} of {trials} trials are done; the same command goes on.")
        click.get_current_context().exit(130)  # the shell's code for a program ended by Ctrl-C
    if not is_any_good:
        raise TrainerError(
            f"none of {num_finished} trials came to pictures worth measuring; why is said above. Give "
            "them more --minutes, or start from another --preset, with another --study."
        )


def _parsed(settings: tuple[str, ...]) -> dict[str, Any]:
    parsed = dict(parse_setting(text) for text in settings)
    for name in ("kimg", "minutes"):
        if name in parsed:
            raise SettingsError(f"--set {name}: the length of a trial is set by --{name}.")
    return parsed


def _length(kimg: float | None, minutes: float | None) -> dict[str, Any]:
    if kimg is None and minutes is None:
        minutes = MINUTES
    return {"kimg": kimg or NO_LIMIT_KIMG, "minutes": minutes}


def _resolved(device: str) -> str:
    from trainers.inference import resolve_device

    try:
        return resolve_device(device)
    except ValueError as error:
        raise SettingsError(f"--device {error}.") from error


def _check_places(study: str, out: Path, preset: str | None) -> None:
    """Find out now, not after a night, that the result has no place."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", study):
        raise SettingsError(
            f"--study {study}: use letters, digits, dots, dashes and underscores, at most 100."
        )
    if out.suffix != ".toml":
        raise SettingsError(f"--out {out}: end it with .toml, as --preset expects of a file.")
    if not out.parent.is_dir():
        raise SettingsError(f"--out {out}: there is no folder {out.parent}.")
    if preset is not None and preset not in PRESETS and out.exists() and out.samefile(preset):
        raise SettingsError(
            f"--out {out} is the --preset to start from. Choose another --out, or another --study."
        )


def _facts(search: Search, size: int, pictures: PictureSet) -> dict[str, Any]:
    """What decides a trial's result besides the searched values. Not the device: machines differ."""
    facts = search.base | {
        "size": size,
        "over": ",".join(search.over),
        "pictures": pictures.fingerprint[:16],
    }
    return {name: value for name, value in facts.items() if name != "device"}


def _announce(study: str, num_left: int, num_trials: int, search: Search, display: Display) -> None:
    kimg, minutes = search.base["kimg"], search.base["minutes"]
    lengths = [f"{minutes:g} minutes"] if minutes is not None else []
    lengths += [f"{kimg:g} kimg"] if kimg < NO_LIMIT_KIMG else []
    how_long = ""
    if num_left > 0 and minutes is not None:
        how_long = f": at most {duration(num_left * minutes * 60)} of training on one machine"
    display.note(
        f"study {study}: {max(0, num_left)} of {num_trials} trials to go, each of "
        f"{' or '.join(lengths)}{how_long}"
    )
    for name in search.over:
        low, high = search.bounds(name)
        display.note(f"  {name} from {low:.3g} to {high:.3g}")


def _open_meter(
    pictures: PictureSet, search: Search, cache: Path, display: Display
) -> QualityMeter:
    from trainers.metrics.meter import QualityMeter

    meter = QualityMeter(
        pictures.images,
        pictures.fingerprint,
        cache,
        holdout=search.base.get("holdout", 0.0),
        arch=search.base["arch"],
        device=search.base["device"],
        on_progress=partial(display.preparing, "looking at the real pictures"),
    )
    judged_on = f"judged on {len(meter.real_indices)} pictures"
    if meter.is_held_out:
        display.note(f"{judged_on} that no trial learns from")
    else:
        display.note(
            f"{judged_on} that the trials learn from: there are too few to hold some out, so "
            "learning by heart looks good. Look at the grids"
        )
    return meter

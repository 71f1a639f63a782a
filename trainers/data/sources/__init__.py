"""Named sources of pictures: one file each, discovered by file name.

`resolve_dataset` turns what a person typed after `--dataset` into a folder of pictures.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import DatasetNotFound, did_you_mean
from trainers.files import storage_errors, write_atomically

FOLDER_FILE = "pictures-from.txt"
"""In a run's folder: the path of the folder it learned from, on this machine."""
Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Source:
    """Where pictures come from when the person has none in `datasets/` yet."""

    name: str
    """What is typed after `--dataset`; also the name of the folder it fills."""
    summary: str
    """One line for lists."""
    licence: str
    """SPDX expression of the pictures' licence."""
    num_pictures: int
    """How many it will have fetched."""
    fetch: Callable[[Path, Progress | None], None]
    """Fill an existing folder with pictures; called again after an interruption, it continues."""


def source_names() -> list[str]:
    """Names of all sources, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_source(name: str) -> Source:
    source = importlib.import_module(f"{__name__}.{name}").SOURCE
    assert isinstance(source, Source)
    return source


def find_dataset(typed: str, datasets: Path) -> Path | Source:
    """What is meant by `typed`: the folder `datasets/NAME`, a source not fetched yet, or a path.

    A folder that is called like a source is meant by `./NAME`.

    Raises DatasetNotFound.
    """
    if not typed:
        raise DatasetNotFound("--dataset is empty; give a name or a folder.")
    is_name = Path(typed).name == typed and typed not in (".", "..")
    named, path = datasets / typed, Path(typed).expanduser()
    if is_name and named.is_dir():
        return named
    if is_name and typed in source_names():
        return load_source(typed)
    if path.is_dir():
        return path
    if path.is_file():
        raise DatasetNotFound(
            f"--dataset {typed}: that is a file; give the folder that holds the pictures."
        )
    if not is_name:
        raise DatasetNotFound(f"--dataset {typed}: there is no such folder.")
    in_datasets = {f.name for f in datasets.glob("*/") if not f.name.startswith(".")}
    known = sorted(in_datasets | set(source_names()))
    hint = did_you_mean(typed, known, f"Known here: {', '.join(known)}.")
    raise DatasetNotFound(
        f"--dataset {typed}: no folder {named}, no folder {path}, and no source of that name. {hint} "
        f"Put your pictures into {named} or give a path."
    )


def note_folder(run_folder: Path, folder: Path) -> None:
    """Have the run remember where its pictures lie. Raises StorageError."""
    with storage_errors(run_folder):
        run_folder.mkdir(parents=True, exist_ok=True)
    path = os.fsencode(folder.resolve())
    write_atomically(run_folder / FOLDER_FILE, lambda file: file.write(path + b"\n"))


def learned_from(dataset: str, run_folder: Path, datasets: Path) -> Path | Source:
    """Where the pictures lie that a generator learned from: the folder its run noted, or else the data
    set of that name. Raises DatasetNotFound.
    """
    with suppress(OSError):
        noted = Path(os.fsdecode((run_folder / FOLDER_FILE).read_bytes().removesuffix(b"\n")))
        if noted.is_absolute() and noted.is_dir():
            return noted
    with suppress(DatasetNotFound):
        if Path(dataset).name == dataset:  # a manifest may say anything
            return find_dataset(dataset, datasets)
    raise DatasetNotFound(
        f"the pictures it learned from, {dataset!r}, are neither where the run {run_folder} noted them nor "
        f"in {datasets}. Say where they lie with --dataset NAME|PATH."
    )


def fetch_once(source: Source, datasets: Path, on_progress: Progress | None) -> Path:
    """The folder `datasets/NAME`, filled by the source; an interrupted fetch is continued."""
    folder = datasets / source.name
    partial = datasets / f".{source.name}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    source.fetch(partial, on_progress)
    if folder.exists():  # somebody else was quicker; theirs is whole as well
        shutil.rmtree(partial)
    else:
        partial.rename(folder)
    return folder

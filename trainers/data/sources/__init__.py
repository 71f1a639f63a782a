"""Named sources of pictures: one file each, discovered by file name.

`resolve_dataset` turns what a person typed after `--dataset` into a folder of pictures.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import DatasetNotFound

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
    fetch: Callable[[Path, Progress | None], None]
    """Fill an existing folder with pictures; called again after an interruption, it continues."""


def source_names() -> list[str]:
    """Names of all sources, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load_source(name: str) -> Source:
    source = importlib.import_module(f"{__name__}.{name}").SOURCE
    assert isinstance(source, Source)
    return source


def resolve_dataset(typed: str, datasets: Path, on_fetch: Callable[[Source], Progress]) -> Path:
    """The folder of pictures meant by `typed`: `datasets/NAME`, a path, or a named source.

    A source is fetched once into `datasets/NAME`. Raises DatasetNotFound.
    """
    is_name = Path(typed).name == typed and typed not in (".", "..")
    named, path = datasets / typed, Path(typed).expanduser()
    if is_name and named.is_dir():
        return named
    if path.is_dir():
        return path
    if is_name and typed in source_names():
        return _fetch_once(load_source(typed), named, on_fetch)
    if path.is_file():
        raise DatasetNotFound(
            f"--dataset {typed}: that is a file; give the folder that holds the pictures."
        )
    if not is_name:
        raise DatasetNotFound(f"--dataset {typed}: there is no such folder.")
    known = sorted({f.name for f in datasets.glob("*/")} | set(source_names()))
    close = difflib.get_close_matches(typed, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else f" Known here: {', '.join(known)}."
    raise DatasetNotFound(
        f"--dataset {typed}: no folder {named}, no folder {path}, and no source of that name.{hint} "
        f"Put your pictures into {named} or give a path."
    )


def _fetch_once(source: Source, folder: Path, on_fetch: Callable[[Source], Progress]) -> Path:
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    source.fetch(partial, on_fetch(source))
    if folder.exists():  # somebody else was quicker; theirs is whole as well
        shutil.rmtree(partial)
    else:
        partial.rename(folder)
    return folder

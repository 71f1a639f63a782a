"""The curves and now and then the grid for TensorBoard, for those who keep theirs there.

Optional: the package is looked for when a run asks for it, and never imported otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from trainers.errors import SettingsError, StorageError
from trainers.files import why_not_written

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"
FLUSH_S = 30
IMAGE_SPACING = 1.1
"""A grid only this many times later than the last one kept: TensorBoard shows a handful, and all of
a run's are in its samples/."""
IMAGE_EDGE_PX = 512


def open_tensorboard(run_folder: Path) -> TensorBoard:
    """Write to `run_folder`/tensorboard. Raises SettingsError if the package is not installed."""
    return TensorBoard(run_folder / FOLDER, summary_writer())


def summary_writer() -> type[SummaryWriter]:
    """The package's writer. Raises SettingsError if it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            f"--tensorboard needs the package tensorboard, which does not load here ({error}). "
            "Install it with `pip install 'artbot[tensorboard]'`, or leave the option away."
        ) from error
    return SummaryWriter


class TensorBoard:
    """One run's curves. The horizontal axis counts pictures: kimg × 1000.

    A run that is resumed or rolled back goes on from where it stood: what had been written of the
    time after that is marked as gone, and TensorBoard shows it no more.
    """

    def __init__(self, folder: Path, writer: type[SummaryWriter]) -> None:
        self._folder = folder
        self._open_writer = writer
        self._writer: SummaryWriter | None = None
        self._last_step = -1
        self._last_image_step = 0

    def scalars(self, values: Mapping[str, float], kimg: float) -> None:
        """Write `values` at `kimg` but for `kimg` itself and what is no number. Raises StorageError."""
        writer, step = self._writer_at(kimg)
        try:
            for name, value in values.items():
                if name != "kimg" and math.isfinite(value):
                    writer.add_scalar(name, value, step)
        except OSError as error:
            raise self._not_written(error) from error

    def image(self, grid: Image.Image, kimg: float) -> None:
        """Keep the grid at `kimg` if the last one kept is long ago. Raises StorageError."""
        writer, step = self._writer_at(kimg)
        if step < IMAGE_SPACING * self._last_image_step:
            return
        self._last_image_step = step
        shown = grid.convert("RGB")
        shown.thumbnail((IMAGE_EDGE_PX, IMAGE_EDGE_PX))
        try:
            writer.add_image("grid", np.asarray(shown), step, dataformats="HWC")
        except OSError as error:
            raise self._not_written(error) from error

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _writer_at(self, kimg: float) -> tuple[SummaryWriter, int]:
        """The writer for `kimg`, begun anew where time went back, and the step that stands for it."""
        step = round(kimg * 1000)
        if self._writer is None or step < self._last_step:
            self.close()
            try:
                self._writer = self._open_writer(
                    str(self._folder), purge_step=step, flush_secs=FLUSH_S
                )
            except OSError as error:
                raise self._not_written(error) from error
            self._last_image_step = min(self._last_image_step, step)
        self._last_step = step
        return self._writer, step

    def _not_written(self, error: OSError) -> StorageError:
        return StorageError(
            f"could not write {self._folder}: {why_not_written(error)}. Free some space or fix the permissions and "
            "run the same command again, or leave --tensorboard away."
        )

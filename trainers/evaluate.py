"""`artbot evaluate`: how good an exported generator is, in numbers and in words. No torch until it runs."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import numpy as np

from trainers import share_the_processor
from trainers.errors import SettingsError, out_of_memory_told
from trainers.files import write_atomically
from trainers.metrics import JUDGES
from trainers.options import (
    Number,
    dataset_option,
    datasets_dir_option,
    device_option,
    folder_option,
)
from trainers.progress import Display, duration, open_display

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from trainers.data.cache import PictureSet
    from trainers.data.sources import Source
    from trainers.manifest import Manifest
    from trainers.metrics.fid import Fid
    from trainers.metrics.meter import QualityMeter
    from trainers.metrics.scores import Scores

EVALUATION_SEED = 3_000_000
"""The first picture's; every generator is asked for the same seeds."""
MAX_REAL = 5000
"""Real pictures compared with, at most; training pictures are looked through to the last."""
NUM_SHOWN = 8
"""Pairs on the sheet."""
SHOWN_PX = 192
"""Edge of a picture on it."""
HEADING_PX = 24
"""Above the first row: which side is which."""
CAPTION_PX = 20
"""Below each picture: the seed, the file."""
LARGE_SHARE = 0.1
"""Of the generated pictures: so many nearest to one training picture are worth a word."""
PAINTED_AT_A_TIME = 32


@click.command("evaluate", short_help="Measure how good a trained generator is.")
@click.argument("checkpoint")
@dataset_option(
    "The real pictures to compare with.  [default: those it learned from]", is_required=False
)
@click.option(
    "--num",
    type=Number(16, 20_000, is_whole=True),
    default=1000,
    show_default=True,
    help="Pictures to paint.",
)
@click.option(
    "--judge",
    type=click.Choice(JUDGES),
    default=JUDGES[0],
    show_default=True,
    help="The network that looks: EfficientNet-Lite2, or Lite0 to compare with older figures.",
)
@device_option()
@click.option("--json", "as_json", is_flag=True, help="Print what is stored, for programs.")
@datasets_dir_option
@folder_option("checkpoints", "Where named checkpoints lie.")
@folder_option("runs", "Where runs note which pictures they learned from.")
@folder_option("cache", "Where decoded pictures, and what the judge saw in them, are kept.")
def evaluate_command(
    checkpoint: str,
    dataset: str | None,
    num: int,
    judge: str,
    device: str,
    as_json: bool,
    datasets_dir: Path,
    checkpoints_dir: Path,
    runs_dir: Path,
    cache_dir: Path,
) -> None:
    """Compare a generator's pictures with real ones it never saw, if some were held out.

    CHECKPOINT is a name in checkpoints/, a path, or a run, whose latest it is then. The numbers, and a sheet of the generated pictures
    that come nearest to a training picture, are stored in the checkpoint's folder.

    \b
        artbot evaluate flowers-64-000300
        artbot evaluate flowers-64-000300 --dataset ~/other-flowers --num 5000
    """
    share_the_processor()
    from trainers.manifest import find_checkpoint

    folder = find_checkpoint(checkpoint, checkpoints_dir)
    display = open_display()
    try:
        with out_of_memory_told("Try --device cpu or a smaller --num."):
            evaluation = evaluate(
                folder, dataset, num, judge, device, datasets_dir, runs_dir, cache_dir, display
            )
    finally:
        display.close()
    # Printed first: a folder that cannot be written to must not cost the person the result.
    click.echo(json.dumps(evaluation.as_dict(), indent=2) if as_json else evaluation.in_words())
    for path in evaluation.store(folder):
        display.note(f"stored: {path}")


@dataclass(frozen=True)
class Evaluation:
    """One generator against one data set."""

    manifest: Manifest
    dataset: str
    fingerprint: str
    compared_with: str
    """The real pictures, in words."""
    scores: Scores
    fid: Fid
    device: str
    seconds: float
    evaluated_at: datetime
    copies: list[Copy]
    """The generated pictures that come nearest to a training picture; none where it is not known
    what the generator was trained on."""
    hub: Hub | None
    """The training picture that stands nearest to a large share of the generated ones, if one does."""
    sheet_png: bytes | None
    """Those pictures, generated | training, side by side."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "checkpoint": self.manifest.name,
            "sha256": self.manifest.sha256,
            "kimg": self.manifest.kimg,
            "dataset": {"name": self.dataset, "fingerprint": self.fingerprint},
            "compared_with": self.compared_with,
            "scores": self.scores.as_dict(),
            "fid": dataclasses.asdict(self.fid),
            "first_seed": EVALUATION_SEED,
            "nearest": [dataclasses.asdict(copy) for copy in self.copies],
            "nearest_to_many": dataclasses.asdict(self.hub) if self.hub else None,
            "device": self.device,
            "seconds": round(self.seconds, 1),
            "evaluated_at": self.evaluated_at.isoformat(timespec="seconds"),
        }

    def in_words(self) -> str:
        from trainers.metrics.wording import in_words

        fid = f"not measured: {self.fid.not_measured}"
        if self.fid.value is not None:
            fid = f"{self.fid.value:.2f}"
        return (
            f"{self.manifest.name}: {self.scores.num_generated:,} of its pictures against "
            f"{self.compared_with}\n\n{in_words(self.scores)}\n\nFID {fid}."
            + (f"\n\n{self.hub.in_words()}" if self.hub else "")
        )

    def store(self, checkpoint: Path) -> list[Path]:
        """Write the numbers and the sheet beside the weights. Raises StorageError."""
        stem = f"evaluation-{self.scores.judge}-{self.fingerprint[:8]}"
        contents = {f"{stem}.json": json.dumps(self.as_dict(), indent=2).encode() + b"\n"}
        if self.sheet_png is not None:
            contents[f"{stem}.png"] = self.sheet_png
        for name, content in contents.items():
            write_atomically(checkpoint / name, partial(_write, content=content))
        return [checkpoint / name for name in contents]


@dataclass(frozen=True)
class Copy:
    """A generated picture and the training picture it resembles most."""

    seed: int
    class_name: str | None
    picture: int
    """Its number among the data set's pictures, sorted by name."""
    file: str
    """Its name below the data set's folder."""
    distance: float
    """In the judge's features."""


@dataclass(frozen=True)
class Hub:
    """A training picture that many generated ones are nearest to (Radovanović, Nanopoulos & Ivanović
    2010, "Hubs in space")."""

    picture: int
    """As `Copy` numbers it."""
    file: str
    num: int
    """Generated pictures nearest to it ..."""
    num_generated: int
    """... of so many."""

    def in_words(self) -> str:
        return (
            f"{self.num:,} of {self.num_generated:,} generated pictures are nearest to one training "
            f"picture, {self.file}. A plain or nearly empty one is near to anything; if it is neither, "
            "look whether they are copies of it."
        )


def evaluate(
    checkpoint: Path,
    dataset: str | None,
    num: int,
    judge: str,
    device: str,
    datasets: Path,
    runs: Path,
    cache: Path,
    display: Display,
) -> Evaluation:
    """Paint, look, compare, with the pictures it learned from where no `dataset` is named. Raises CheckpointRefused, DatasetError, SettingsError, TrainerError."""
    started = time.monotonic()
    from trainers.data.sources import find_dataset, learned_from
    from trainers.data.split import share_that_can_be_measured
    from trainers.inference import open_checkpoint, resolve_device
    from trainers.metrics.fid import Fid, standard_fid, why_not
    from trainers.metrics.meter import QualityMeter, joined
    from trainers.pretrained.efficientnet_lite import check_weights

    try:
        device = resolve_device(device)
    except ValueError as error:
        raise SettingsError(f"--device {error}.") from error
    check_weights(judge)
    generator = open_checkpoint(checkpoint, device)
    manifest = generator.manifest
    if dataset is None:
        source = learned_from(manifest.dataset.name, runs / manifest.run, datasets)
    else:
        source = find_dataset(dataset, datasets)
    pictures = _load_pictures(source, manifest.size, datasets, cache, display)
    is_trained_on = pictures.fingerprint == manifest.dataset.fingerprint
    holdout = share_that_can_be_measured(pictures.images, manifest.holdout if is_trained_on else 0)
    meter = QualityMeter(
        pictures.images,
        pictures.fingerprint,
        cache,
        holdout=holdout,
        arch=manifest.arch,
        judge=judge,
        device=device,
        max_real=MAX_REAL,
        max_training=len(pictures),
        is_trained_on=is_trained_on,
        on_progress=_with_eta(display, "looking at the real pictures"),
    )
    real = meter.real_indices
    compared_with = _in_words(meter, pictures, is_trained_on, manifest.holdout > 0)
    display.note(f"comparing with {compared_with}")

    classes = _classes(manifest, pictures, real, num)

    def paint(number: int) -> np.ndarray:
        """Again and again the same; one at a time, as the service paints."""
        return generator.paint(EVALUATION_SEED + number, class_name=classes[number])

    # What has been looked at is let go: 10,000 pictures of 512 px are 8 GB.
    no_fid = why_not(num, len(real))
    seen, kept = [], []
    progress = _with_eta(display, "painting and looking")
    for start in range(0, num, PAINTED_AT_A_TIME):
        numbers = range(start, min(start + PAINTED_AT_A_TIME, num))
        painted = np.stack([paint(number) for number in numbers])
        seen.append(meter.look(painted))
        if not no_fid:
            kept.append(painted)
        progress(numbers.stop, num)
    generated = joined(seen)
    scores = meter.compare(generated)
    fid = Fid(None, no_fid)
    if not no_fid:
        display.note("measuring FID …")
        fid = standard_fid(np.concatenate(kept), pictures.images[real], device)

    copies: list[Copy] = []
    hub = None
    if is_trained_on:
        found = meter.nearest(generated)
        of_each = meter.training_indices[found.indices.cpu().numpy()]
        copies = _nearest_pairs(of_each, found.distances.cpu().numpy(), pictures, classes)
        hub = _hub(of_each, pictures)
    return Evaluation(
        manifest=manifest,
        dataset=pictures.name,
        fingerprint=pictures.fingerprint,
        compared_with=compared_with,
        scores=scores,
        fid=fid,
        device=device,
        seconds=time.monotonic() - started,
        evaluated_at=datetime.now(UTC),
        copies=copies,
        hub=hub,
        sheet_png=_sheet(
            [
                (paint(copy.seed - EVALUATION_SEED), pictures.images[copy.picture])
                for copy in copies
            ],
            [(f"seed {copy.seed}", copy.file) for copy in copies],
        )
        if copies
        else None,
    )


def _nearest_pairs(
    of_each: np.ndarray,
    distances: np.ndarray,
    pictures: PictureSet,
    classes: list[str | None],
) -> list[Copy]:
    """The nearest first, each training picture once: a plain one, near to anything, would fill the sheet.

    `of_each`: int64 (M,), the training picture nearest to each generated one; `distances`: (M,) to it.
    """
    found: list[Copy] = []
    seen: set[bytes] = set()
    for number in distances.argsort(kind="stable").tolist():
        picture = int(of_each[number])
        pixels = pictures.images[picture].tobytes()  # a data set may hold one picture twice
        if pixels in seen:
            continue
        seen.add(pixels)
        found.append(
            Copy(
                seed=EVALUATION_SEED + number,
                class_name=classes[number],
                picture=picture,
                file=pictures.files[picture],
                distance=round(float(distances[number]), 4),
            )
        )
        if len(found) == NUM_SHOWN:
            break
    return found


def _hub(of_each: np.ndarray, pictures: PictureSet) -> Hub | None:
    """The training picture nearest to the most, where these are a large share and would fill the sheet."""
    counts = np.bincount(of_each)
    picture = int(counts.argmax())
    num, num_generated = int(counts[picture]), len(of_each)
    if num < max(NUM_SHOWN, LARGE_SHARE * num_generated):
        return None
    return Hub(picture, pictures.files[picture], num, num_generated)


def _load_pictures(
    found: Path | Source, size_px: int, datasets: Path, cache: Path, display: Display
) -> PictureSet:
    from trainers.data.cache import load_pictures
    from trainers.data.sources import Source, fetch_once

    if isinstance(found, Source):
        found = fetch_once(found, datasets, partial(display.preparing, f"making {found.name}"))
    preparing = partial(display.preparing, "preparing pictures")
    return load_pictures(found, size_px, cache, preparing)


def _in_words(
    meter: QualityMeter, pictures: PictureSet, is_trained_on: bool, has_held_out: bool
) -> str:
    """What is compared with, and what that means for the numbers; `has_held_out`: some, if too few."""
    count = f"{len(meter.real_indices):,}"
    if meter.is_held_out:
        return f"{count} pictures of {pictures.name} that it never saw"
    if is_trained_on:
        all_or_most = "most" if has_held_out else "all"
        return (
            f"{count} pictures of {pictures.name}, {all_or_most} of which it learned from: copying "
            "them would look perfect (--holdout when training holds out enough)"
        )
    return f"{count} pictures of {pictures.name}, which is not what it learned from"


def _classes(
    manifest: Manifest, pictures: PictureSet, real: np.ndarray, num: int
) -> list[str | None]:
    """The class of each picture to paint: as often as it occurs among the real ones. None: any.

    Otherwise a generator would be marked down for a mixture that only the asking made.
    """
    if not manifest.class_names or pictures.class_names != manifest.class_names:
        return [None] * num
    indices = pictures.class_indices[real]
    known = indices[indices >= 0]
    # The real ones lie sorted by class: evenly over all of them, not the first so many.
    evenly = known[np.arange(num) * len(known) // num]
    return [pictures.class_names[index] for index in evenly]


def _with_eta(display: Display, what: str) -> Callable[[int, int], None]:
    """Progress of one task, with the time it will still take."""
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        remaining = (time.monotonic() - started) / done * (total - done)
        eta = f", ETA {duration(remaining)}" if done < total else ""
        display.preparing(f"{what}{eta}", done, total)

    return progress


def _sheet(pairs: list[tuple[np.ndarray, np.ndarray]], names: list[tuple[str, str]]) -> bytes:
    """PNG: generated | training, named above, two pairs in a row, a gap between pairs, the `names` of
    both pictures of a pair below them."""
    from PIL import Image, ImageDraw, ImageFont

    from trainers.samples import png_bytes

    edge, gap, columns = SHOWN_PX, SHOWN_PX // 16, 2
    rows = -(-len(pairs) // columns)
    row_px = edge + CAPTION_PX + gap
    size = (columns * (2 * edge + gap) + gap, HEADING_PX + rows * row_px + gap)
    sheet = Image.new("RGB", size, "white")
    draw, font, small = (
        ImageDraw.Draw(sheet),
        ImageFont.load_default(15),
        ImageFont.load_default(12),
    )
    for column in range(min(columns, len(pairs))):
        for side, heading in enumerate(("generated", "nearest training picture")):
            middle = gap + column * (2 * edge + gap) + (side + 0.5) * edge
            draw.text((middle, (gap + HEADING_PX) / 2), heading, "black", font, anchor="mm")
    for number, (pair, captions) in enumerate(zip(pairs, names, strict=True)):
        row, column = divmod(number, columns)
        top = HEADING_PX + gap + row * row_px
        for side, (picture, caption) in enumerate(zip(pair, captions, strict=True)):
            left = gap + column * (2 * edge + gap) + side * edge
            # Small pictures are shown as they are, pixel by pixel; large ones reduced.
            is_small = len(picture) < edge
            how = Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
            sheet.paste(Image.fromarray(picture).resize((edge, edge), how), (left, top))
            below = (left + edge / 2, top + edge + CAPTION_PX / 2)
            draw.text(below, _shortened(caption, small, edge - 8), "black", small, anchor="mm")
    return png_bytes(sheet)


def _shortened(text: str, font: FreeTypeFont | ImageFont, width_px: int) -> str:
    """`text` if it is no wider, else without its middle: beginning and end tell files apart."""
    shown, kept = text, len(text)
    while font.getlength(shown) > width_px and kept > 2:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - kept + kept // 2 :]}"
    return shown


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)

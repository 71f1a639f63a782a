"""What a channel's picture costs, beside one plain JPEG of the same pixels.

    .venv/bin/python -m benchmarks.renditions --pictures FOLDER [--rounds 5]

Takes real pictures (the first JPEG or PNG files below FOLDER that are large enough), cuts squares out of
them, and makes of each what channels ask for: the painted file, a file below a limit, enlargements, a matte.
Prints what came out (format, bytes, how far its pixels are from the best there could be, in dB), the median
time, and that time as a ratio to Pillow writing the same picture once as a JPEG of quality 90.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from artbot.publishing.renditions import AS_PAINTED, PictureLimits, Presentation, rendition
from artbot.publishing.work import Generator, Picture, Work

MADE_AT = datetime(2026, 11, 22, 7, tzinfo=UTC)
MEGABYTE = 1_000_000
ANYTHING = PictureLimits()


@dataclass(frozen=True)
class Case:
    """What one channel asks for."""

    name: str
    painted_px: int
    limits: PictureLimits = ANYTHING
    presentation: Presentation = AS_PAINTED


CASES = (
    Case("64 px as painted", 64),
    Case("512 px as painted", 512),
    Case("256 px, Lanczos to 2048, 1 MB", 256, PictureLimits(max_bytes=MEGABYTE), Presentation(2048, "lanczos")),
    Case("256 px, squares to 2048, 1 MB", 256, PictureLimits(max_bytes=MEGABYTE), Presentation(2048, "pixels")),
    Case("512 px with a matte, JPEG only", 512, PictureLimits(("image/jpeg",)), Presentation(matte_percent=8)),
    Case("1024 px, 1 MB", 1024, PictureLimits(max_bytes=MEGABYTE)),
    Case("2048 px, 1 MB", 2048, PictureLimits(max_bytes=MEGABYTE)),
    Case("2048 px, 100 kB: smaller", 2048, PictureLimits(max_bytes=100_000)),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5, help="pictures per case")
    arguments = parser.parse_args()
    files = sorted(p for p in arguments.pictures.rglob("*") if p.suffix in (".jpg", ".png"))
    print("| case | comes out as | kB | dB | ms, median (worst) | times one JPEG |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        squares = list(
            islice(filter(None, (square(f, case.painted_px) for f in files)), arguments.rounds)
        )
        if len(squares) < arguments.rounds:
            sys.exit(f"{arguments.pictures} has {len(squares)} pictures of 64 px and more")
        print(row(case, squares), flush=True)


def square(file: Path, side_px: int) -> Image.Image | None:
    """The middle of that picture at `side_px`, enlarged if need be: how hard it is to write matters, not
    how sharp it is. None for one that is smaller than 64 px."""
    with Image.open(file) as opened:
        if min(opened.size) < 64:
            return None
        return ImageOps.fit(opened.convert("RGB"), (side_px, side_px), Image.Resampling.LANCZOS)


def row(case: Case, squares: list[Image.Image]) -> str:
    took, plain, made = [], [], []
    for image in squares:
        work = work_of(image)
        began = time.perf_counter()
        picture = rendition(work, case.limits, case.presentation)
        took.append(time.perf_counter() - began)
        made.append((picture, decibels(work, case, picture)))
        with Image.open(io.BytesIO(picture.content)) as opened:
            pixels = opened.convert("RGB")
        began = time.perf_counter()
        pixels.save(io.BytesIO(), "JPEG", quality=90)
        plain.append(time.perf_counter() - began)
    kinds = sorted({p.media_type.removeprefix("image/") + f" {p.width_px}" for p, _ in made})
    kilobytes = statistics.median(len(p.content) for p, _ in made) / 1000
    distance = statistics.median(db for _, db in made)
    ratio = statistics.median(a / b for a, b in zip(took, plain, strict=True))
    cells = (
        case.name,
        ", ".join(kinds),
        f"{kilobytes:,.0f}",
        "same" if distance == float("inf") else f"{distance:.1f}",
        f"{1000 * statistics.median(took):,.0f} ({1000 * max(took):,.0f})",
        f"{ratio:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def decibels(work: Work, case: Case, picture: Picture) -> float:
    """PSNR against the same picture without any limit, at the size of the one that was made."""
    best = rendition(work, PictureLimits(("image/png",)), case.presentation)
    with Image.open(io.BytesIO(best.content)) as opened:
        wanted = opened.convert("RGB").resize(
            (picture.width_px, picture.height_px), Image.Resampling.LANCZOS
        )
    with Image.open(io.BytesIO(picture.content)) as opened:
        found = opened.convert("RGB")
    error = np.square(np.asarray(wanted, dtype=float) - np.asarray(found, dtype=float)).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def work_of(image: Image.Image) -> Work:
    file = io.BytesIO()
    image.save(file, "PNG")
    content = file.getvalue()
    painted = Picture(content, "image/png", *image.size, hashlib.sha256(content).hexdigest())
    return Work(
        number=1,
        name="daily-2026-11-22-01",
        batch="daily-2026-11-22",
        local_date=MADE_AT.date(),
        seed=1,
        class_name=None,
        recipe={},
        generator=Generator("flowers-64-000120", "0" * 64, "flowers"),
        created_at=MADE_AT,
        approved_at=MADE_AT,
        title="Flowers",
        caption="",
        alt="Flowers in a vase.",
        hashtags=(),
        warning="",
        language="en",
        picture=painted,
    )


if __name__ == "__main__":
    main()

"""Pictures that move: MP4 for screens, GIF and WebP for where only a picture is taken. No torch.

A film is RGB frames of one size at one rate. It is written beside its place and renamed, so an
older film of that name is whole until the new one is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from trainers.errors import SettingsError
from trainers.files import write_atomically

if TYPE_CHECKING:
    import av as av_module

OnProgress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""
MAX_SECONDS = 600
MAX_HELD_BYTES = 2_000_000_000
"""Of a film that is held in memory while it is made: GIF and WebP."""
_BT709 = 1
_SRGB_CURVE = 13
_LIMITED_RANGE = 1
"""Codes of ISO/IEC 23091-2 that tell a player how numbers become colours. Without them players
guess from the picture's height, and small films come out with other reds and greens."""
_IMAGE_DESCRIPTION = 0x010E  # the EXIF tag


@dataclass(frozen=True)
class FilmFormat:
    """What a film's file name ending stands for, and what suits it when nobody chooses."""

    suffix: str
    fps: float
    """Frames per second by default."""
    max_fps: float
    min_edge_px: int
    """Smaller pictures are enlarged to at least this."""
    max_edge_px: int
    """Larger ones are reduced to this."""


FORMATS = {
    film_format.suffix: film_format
    for film_format in (
        FilmFormat(".mp4", fps=30, max_fps=120, min_edge_px=512, max_edge_px=1024),
        # Browsers show frames shorter than 20 ms for 100 ms. GIF compresses hardly at all.
        FilmFormat(".gif", fps=12.5, max_fps=50, min_edge_px=256, max_edge_px=512),
        FilmFormat(".webp", fps=20, max_fps=50, min_edge_px=256, max_edge_px=512),
    )
}


@dataclass(frozen=True)
class FilmFacts:
    """What was written."""

    path: Path
    num_frames: int
    """In the file: GIF and WebP hold equal frames that follow each other as one that is shown longer."""
    seconds: float
    size_px: tuple[int, int]
    num_bytes: int
    has_replaced: bool = False
    """Whether there was a file of that name."""

    def __str__(self) -> str:
        width, height = self.size_px
        return (
            f"{self.path} ({self.seconds:.1f} s, {self.num_frames} frames, {width}x{height} px, "
            f"{self.num_bytes / 1e6:.1f} MB)"
        ) + (", the one that was there is replaced" if self.has_replaced else "")


def format_of(path: Path) -> FilmFormat:
    """The format its name's ending asks for. Raises SettingsError for any other ending."""
    film_format = FORMATS.get(path.suffix.lower())
    if film_format is None:
        raise SettingsError(
            f"--out {path}: a film is made as {', '.join(FORMATS)}; end the file's name with one of these."
        )
    return film_format


def check_film(path: Path, fps: float) -> None:
    """Find out before the first frame what would fail after the last one. Raises SettingsError."""
    film_format = format_of(path)
    if path.is_dir():
        raise SettingsError(f"--out {path}: that is a folder; name a file in it.")
    if not path.parent.is_dir():
        raise SettingsError(f"--out {path}: there is no folder {path.parent}; make it first.")
    if fps > film_format.max_fps:
        raise SettingsError(
            f"--fps {fps:g}: a {film_format.suffix} shows at most {film_format.max_fps:g} frames a second."
        )
    if film_format.suffix == ".mp4":
        _import_av()


def check_fits(path: Path, num_frames: int, width: int, height: int) -> None:
    """Raise SettingsError for a film that would have to be held in memory and is too long for that."""
    held = {".gif": 1, ".webp": 3}.get(format_of(path).suffix, 0) * num_frames * width * height
    if held > MAX_HELD_BYTES:
        raise SettingsError(
            f"--out {path}: {num_frames} frames of {width}x{height} px take {held / 1e9:.1f} GB of memory, "
            f"{MAX_HELD_BYTES / 1e9:g} GB is the most. Choose fewer --seconds or --fps or a smaller --size, "
            "or end the name with .mp4, which is written as it is made."
        )


def edge_to_show(native_px: int, film_format: FilmFormat) -> int:
    """Edge a picture of `native_px` is shown at when nobody chooses: a whole multiple if enlarged."""
    if native_px >= film_format.min_edge_px:
        return min(native_px, film_format.max_edge_px)
    return native_px * -(-film_format.min_edge_px // native_px)


def write_film(path: Path, frames: Iterable[Image.Image], fps: float, about: str = "") -> FilmFacts:
    """Write RGB `frames`, all of one size, at `fps` a second; the path's ending is the format.

    GIF and WebP repeat for ever and are held in memory while they are made; MP4 is not. `about` is
    kept in the file as its comment. Raises StorageError; `path` then holds what it held before.
    """
    writers = {".mp4": _write_mp4, ".gif": _write_gif, ".webp": _write_webp}
    counted = _Counted(frames)
    has_replaced = path.exists()
    writer = writers[format_of(path).suffix]
    write_atomically(path, lambda file: writer(file, counted, fps, about))
    return FilmFacts(
        path,
        counted.num if format_of(path).suffix == ".mp4" else _num_frames_in(path),
        counted.num / fps,
        counted.size_px,
        num_bytes=path.stat().st_size,
        has_replaced=has_replaced,
    )


def _num_frames_in(path: Path) -> int:
    """Of a GIF or WebP, as a player counts them."""
    with Image.open(path) as film:
        return int(getattr(film, "n_frames", 1))


class _Counted:
    """Counts the frames that pass, and holds them to one size."""

    def __init__(self, frames: Iterable[Image.Image]) -> None:
        self._frames = frames
        self.num = 0
        self.size_px = (0, 0)

    def __iter__(self) -> Iterator[Image.Image]:
        for frame in self._frames:
            assert frame.mode == "RGB"
            assert self.num == 0 or frame.size == self.size_px
            self.num, self.size_px = self.num + 1, frame.size
            yield frame
        assert self.num, "a film of no frames"


def _import_av() -> None:
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"MP4 is made by the package av, which does not load here ({error}). Install it "
            "(`pip install av`), or choose --out FILE.webp."
        ) from error


def _write_mp4(file: BinaryIO, frames: Iterable[Image.Image], fps: float, about: str) -> None:
    """H.264 4:2:0 with the index in front: what every browser, phone and network takes."""
    import av

    # By name: to move the index to the front, FFmpeg opens the file a second time.
    with av.open(file.name, "w", format="mp4", options={"movflags": "+faststart"}) as film:
        film.metadata["comment"] = about
        stream: av_module.VideoStream | None = None
        for number, picture in enumerate(frames):
            pixels = _to_even(np.asarray(picture))
            if stream is None:
                stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = "yuv420p"
                # A whole picture every two seconds, so that a player can jump.
                stream.options = {"crf": "17", "preset": "medium", "g": str(round(2 * fps))}
                context = stream.codec_context
                context.color_primaries = context.colorspace = _BT709
                context.color_trc = _SRGB_CURVE
                context.color_range = _LIMITED_RANGE
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = number, 1 / Fraction(fps).limit_denominator(1000)
            film.mux(stream.encode(frame))
        assert stream is not None
        film.mux(stream.encode(None))


def _to_even(pixels: np.ndarray) -> np.ndarray:
    """4:2:0 halves the colours' resolution, so edges are even: the last row or column once more."""
    height, width = pixels.shape[:2]
    if height % 2 or width % 2:
        return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(pixels)


def _write_gif(file: BinaryIO, frames: Iterable[Image.Image], fps: float, about: str) -> None:
    """A palette for each frame and no dithering: nearer to the colours than one palette for all,
    and dots that dance from frame to frame are worse than a little banding."""
    first, *others = [_to_palette(frame) for frame in frames]
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=others,
        duration=_durations_ms(1 + len(others), fps, unit_ms=10),
        loop=0,
        comment=about.encode(),
    )


def _to_palette(frame: Image.Image) -> Image.Image:
    """256 colours. Each pixel takes the nearest rather than its cell's of the octree: as near to the
    picture as Pillow's median cut (rms 2.9 of 255 on portraits), in 6 ms instead of 440."""
    palette = frame.quantize(256, method=Image.Quantize.FASTOCTREE)
    return frame.quantize(palette=palette, dither=Image.Dither.NONE)


def _write_webp(file: BinaryIO, frames: Iterable[Image.Image], fps: float, about: str) -> None:
    first, *others = list(frames)
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = about
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_durations_ms(1 + len(others), fps, unit_ms=1),
        loop=0,
        quality=80,
        method=4,
        exif=exif,
    )


def _durations_ms(num_frames: int, fps: float, unit_ms: int) -> list[int]:
    """How long each frame is shown, in whole units, so that rounding never adds up."""
    ends = [round(number * 1000 / fps / unit_ms) * unit_ms for number in range(num_frames + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]

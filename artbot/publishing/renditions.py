"""The picture as a channel gets it: the painted file where it fits, else the best that does.

Best is: the painted file itself, which gets its XMP and is otherwise left alone byte by byte; else the same
pixels in another file; else the quality that comes nearest to them in as many bytes as there may be; and only
then a smaller picture. A rendition is made from the painted file, never from another rendition, and is always
the same bytes, as long as the libraries that write them are.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING, Literal

from artbot.errors import Rejected
from artbot.publishing.rehearsal import rehearsal_under_way
from artbot.publishing.work import Picture, Work
from artbot.publishing.xmp import into_png, packet

if TYPE_CHECKING:
    from PIL import Image

QUALITIES = {"image/jpeg": (75, 95), "image/webp": (75, 100)}
"""Lowest and highest. Below 75 a picture shows its blocks, and a smaller one looks better; above 95 a JPEG
grows without looking any better (Pillow's documentation says so too). JPEG first: it is written ten times
as fast."""
GOOD = 90
"""From this quality on nobody sees which of them it was, and no other is tried."""
HOPELESS = 2
"""A file without loss that is so many times too large leaves none that fits: writing another takes seconds."""
LARGE = 6_000_000
"""Pixels from which a WebP takes half a minute to write: only where no other file does."""
LOSSLESS = ("image/png", "image/webp")
SMALLEST_SIDE_PX = 64
"""What fits only when it is smaller is no picture any more."""
ROUNDING = 1e-6
"""Pixels: what is so near to a ratio has it."""
_MOST_SIDE_PX = {"image/png": 32_767, "image/webp": 16_383, "image/jpeg": 65_535}
"""Of the format, or of what reads it."""


@dataclass(frozen=True)
class PictureLimits:
    """What a channel takes; None: anything."""

    media_types: tuple[str, ...] = ("image/png", "image/webp", "image/jpeg")
    """The first is liked best."""
    max_bytes: int | None = None
    max_side_px: int | None = None
    max_pixels: int | None = None
    min_ratio: float | None = None
    """Of width to height: a narrower picture gets a matte at its sides, of Presentation.matte_colour."""
    max_ratio: float | None = None
    """A wider one gets it above and below."""


@dataclass(frozen=True)
class Presentation:
    """How a person wants the work shown on a channel, beyond what the channel takes."""

    enlarge_to_px: int = 0
    """Longer side, without the matte, that it has at least; 0: as painted."""
    enlarge_by: Literal["pixels", "lanczos"] = "pixels"
    """`pixels`: each becomes a square of so many, and the edges stay hard."""
    matte_percent: float = 0
    """Width of the matte on each side, of the picture's longer side; 0: none."""
    matte_colour: str = "#f4f1ea"


AS_PAINTED = Presentation()


def rendition(
    work: Work, limits: PictureLimits, presentation: Presentation = AS_PAINTED
) -> Picture:
    """The work's picture within the limits, saying what it is (artbot.publishing.xmp).

    Raises Rejected if there is none, Unavailable if it cannot be signed now.
    """
    taken = [kind for kind in limits.media_types if kind in _MOST_SIDE_PX]
    if not taken:
        raise Rejected(
            f"the picture would have to be {' or '.join(limits.media_types)}, and artbot writes "
            f"{', '.join(_MOST_SIDE_PX)}"
        )
    room = 0 if work.signer is None else work.signer.room_bytes
    most = None if limits.max_bytes is None else max(0, limits.max_bytes - room)
    limits = replace(limits, max_bytes=most)
    if rehearsal_under_way():
        return _rehearsed(work, taken, limits, presentation)
    unsigned = _unsigned(work, taken, limits, presentation)
    if work.signer is None:
        return unsigned
    signed = work.signer.sign(unsigned.content, unsigned.media_type)
    if len(signed) > len(unsigned.content) + room:
        raise Rejected(f"the signature takes more than the {room:,} bytes that were left for it")
    return _picture(signed, unsigned.media_type, (unsigned.width_px, unsigned.height_px))


def _unsigned(
    work: Work, taken: list[str], limits: PictureLimits, presentation: Presentation
) -> Picture:
    frame = _Frame(_painted(work), presentation, limits)
    writer = _Writer(taken, limits.max_bytes, packet(work))
    for side_px in frame.wanted():
        if frame.is_painted(side_px) and (found := writer.untouched(work.picture)):
            return found
        if found := writer.best(frame.at(side_px)):
            return found
    smaller = _largest(frame.smallest_px, side_px - 1, lambda px: writer.fits(frame.at(px)))
    if smaller is not None and (found := writer.best(frame.at(smaller))):
        return found
    raise Rejected(writer.refusal(frame.at(frame.smallest_px)))


def _rehearsed(
    work: Work, taken: list[str], limits: PictureLimits, presentation: Presentation
) -> Picture:
    """What says whether there is a rendition: the painted file if that is it, or one of its size that nobody
    writes. Raises Rejected where `_unsigned` would.

    There is one if the smallest fits, which is written quickly."""
    frame = _Frame(_painted(work), presentation, limits)
    writer = _Writer(taken, limits.max_bytes, packet(work))
    *_, last_px = sizes = list(frame.wanted())
    if frame.is_painted(sizes[0]) and (found := writer.untouched(work.picture)):
        return found
    if frame.smallest_px >= last_px:  # then none is smaller than what is wanted
        return _unsigned(work, taken, limits, presentation)
    smallest = frame.at(frame.smallest_px)
    if not writer.fits(smallest):
        raise Rejected(writer.refusal(smallest))
    width, height = frame.size(sizes[0])
    return replace(work.picture, width_px=width, height_px=height)


def _painted(work: Work) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(work.picture.content), formats=("PNG",)) as opened:
            return opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Rejected(f"the painted file of {work.name} cannot be read: {error}") from error


def _picture(content: bytes, media_type: str, size: tuple[int, int]) -> Picture:
    return Picture(content, media_type, *size, hashlib.sha256(content).hexdigest())


class _Frame:
    """The painted picture in any size, with its matte. A size is told by the picture's longer side in px."""

    def __init__(
        self, painted: Image.Image, presentation: Presentation, limits: PictureLimits
    ) -> None:
        self._painted = painted
        self._presentation = presentation
        self._limits = limits
        self.painted_px = max(painted.size)
        self.largest_px = self._largest_px()
        self.smallest_px = min(SMALLEST_SIDE_PX, self.largest_px)

    def is_painted(self, side_px: int) -> bool:
        """Whether in that size it is what the painted file holds."""
        return side_px == self.painted_px and self.size(side_px) == self._painted.size

    def wanted(self) -> Iterator[int]:
        """The sizes worth trying before the picture is made smaller, the best first."""
        wish_px = max(self._presentation.enlarge_to_px, self.painted_px)
        if self._presentation.enlarge_by == "lanczos" or self.largest_px < self.painted_px:
            yield min(wish_px, self.largest_px)
            return
        times = min(-(-wish_px // self.painted_px), self.largest_px // self.painted_px)
        yield from (self.painted_px * n for n in range(times, 0, -1))

    def size(self, side_px: int) -> tuple[int, int]:
        """Width and height with the matte."""
        width, height = self._without_matte(side_px)
        at_sides, above = self._edges(side_px)
        return width + 2 * at_sides, height + 2 * above

    def at(self, side_px: int) -> Image.Image:
        from PIL import Image

        picture = self._painted
        if side_px != self.painted_px:
            is_multiple = side_px > self.painted_px and side_px % self.painted_px == 0
            by_pixels = is_multiple and self._presentation.enlarge_by == "pixels"
            how = Image.Resampling.NEAREST if by_pixels else Image.Resampling.LANCZOS
            picture = picture.resize(self._without_matte(side_px), how)
        edges = self._edges(side_px)
        if not any(edges):
            return picture
        framed = Image.new("RGB", self.size(side_px), self._presentation.matte_colour)
        framed.paste(picture, edges)
        return framed

    def _without_matte(self, side_px: int) -> tuple[int, int]:
        width, height = self._painted.size
        scale = side_px / self.painted_px
        return max(1, round(width * scale)), max(1, round(height * scale))

    def _edges(self, side_px: int) -> tuple[int, int]:
        """How wide the matte is at each side, and above and below."""
        edge = round(side_px * self._presentation.matte_percent / 100)
        width, height = (side + 2 * edge for side in self._without_matte(side_px))
        at_sides = ceil((height * (self._limits.min_ratio or 0) - width) / 2 - ROUNDING)
        above = ceil((width / (self._limits.max_ratio or inf) - height) / 2 - ROUNDING)
        return edge + max(0, at_sides), edge + max(0, above)

    def _largest_px(self) -> int:
        """That the channel takes. Raises Rejected if it takes none."""
        wish_px = max(self._presentation.enlarge_to_px, self.painted_px)
        most_px = -(-wish_px // self.painted_px) * self.painted_px
        found = _largest(1, most_px, lambda px: self._is_taken(self.size(px)))
        if found is None:
            raise Rejected("the channel takes no picture of any size")
        return found

    def _is_taken(self, size: tuple[int, int]) -> bool:
        side, pixels = self._limits.max_side_px, self._limits.max_pixels
        return (side is None or max(size) <= side) and (
            pixels is None or size[0] * size[1] <= pixels
        )


class _Writer:
    """Writes pictures as files of the media types that are taken, in at most so many bytes."""

    def __init__(self, media_types: list[str], max_bytes: int | None, xmp: bytes) -> None:
        self._media_types = media_types
        self._max_bytes = max_bytes
        self._xmp = xmp

    def untouched(self, painted: Picture) -> Picture | None:
        """The painted file with the XMP and else as it is, where a PNG is taken and it fits."""
        if "image/png" not in self._media_types:
            return None
        content = into_png(painted.content, self._xmp)
        size = (painted.width_px, painted.height_px)
        return _picture(content, "image/png", size) if self._is_small_enough(content) else None

    def best(self, image: Image.Image) -> Picture | None:
        """The file that is nearest to the picture and fits; None if none does."""
        return self._best_without_loss(image) or self._best_with_loss(image)

    def _best_without_loss(self, image: Image.Image) -> Picture | None:
        types, is_large = self._types(image), image.width * image.height > LARGE
        for media_type in [kind for kind in types if kind in LOSSLESS]:
            if media_type == "image/webp" and is_large and len(types) > 1:
                continue
            content = self._write(image, media_type, None)
            if self._is_small_enough(content):
                return _picture(content, media_type, image.size)
            if self._max_bytes is not None and len(content) > HOPELESS * self._max_bytes:
                return None
        return None

    def _best_with_loss(self, image: Image.Image) -> Picture | None:
        found: list[Picture] = []
        for media_type in QUALITIES:
            if media_type not in self._types(image):
                continue
            quality, content = self._best_quality(image, media_type)
            if quality:
                found.append(_picture(content, media_type, image.size))
            if quality >= GOOD or (quality and image.width * image.height > LARGE):
                break
        return min(found, key=lambda picture: _error(picture, image)) if found else None

    def fits(self, image: Image.Image) -> bool:
        """Whether there is a file of it, in the lowest quality, that is small enough."""
        return any(self._is_small_enough(content) for content in self._smallest(image))

    def refusal(self, image: Image.Image) -> str:
        least = min((len(content) for content in self._smallest(image)), default=0)
        width, height = image.size
        return (
            f"the picture cannot be made to fit: with {width} x {height} px it has {least:,} bytes as "
            f"{' or '.join(self._media_types)}, and {self._max_bytes:,} it may have"
        )

    def _smallest(self, image: Image.Image) -> Iterator[bytes]:
        """What takes least time first."""
        types = self._types(image)
        for media_type in ("image/jpeg", "image/webp", "image/png"):
            if media_type in types:
                yield self._write(image, media_type, QUALITIES.get(media_type, (None,))[0])

    def _types(self, image: Image.Image) -> list[str]:
        return [kind for kind in self._media_types if max(image.size) <= _MOST_SIDE_PX[kind]]

    def _best_quality(self, image: Image.Image, media_type: str) -> tuple[int, bytes]:
        """The highest that fits, and the file; 0 if none does."""
        written: dict[int, bytes] = {}

        def is_small_enough(quality: int) -> bool:
            written[quality] = self._write(image, media_type, quality)
            return self._is_small_enough(written[quality])

        quality = _largest(*QUALITIES[media_type], is_small_enough)
        return (0, b"") if quality is None else (quality, written[quality])

    def _is_small_enough(self, content: bytes) -> bool:
        return self._max_bytes is None or len(content) <= self._max_bytes

    def _write(self, image: Image.Image, media_type: str, quality: int | None) -> bytes:
        """`quality` None: without loss."""
        from PIL import ImageFile

        buffer = io.BytesIO()
        match media_type:
            case "image/png":
                image.save(buffer, "PNG")
                return into_png(buffer.getvalue(), self._xmp)
            case "image/webp" if quality is None:
                # Higher methods and efforts take several times as long for a hundredth of the bytes.
                image.save(buffer, "WEBP", lossless=True, quality=80, method=4, xmp=self._xmp)
            case "image/webp":
                image.save(buffer, "WEBP", quality=quality, method=4, xmp=self._xmp)
            case _:
                # A progressive JPEG must fit into one buffer, which Pillow guesses too small for colours
                # that are not subsampled ("Suspension not allowed here").
                width, height = image.size
                ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 4 * width * height + len(self._xmp))
                image.save(
                    buffer,
                    "JPEG",
                    quality=quality,
                    subsampling="4:4:4",  # painted edges of red on blue are the first to suffer
                    optimize=True,
                    progressive=True,
                    xmp=self._xmp,
                )
        return buffer.getvalue()


def _error(picture: Picture, image: Image.Image) -> float:
    """How far the file's pixels are from the picture's: mean square, over all channels."""
    from PIL import Image, ImageChops, ImageStat

    with Image.open(io.BytesIO(picture.content)) as read_back:
        difference = ImageChops.difference(read_back.convert("RGB"), image)
    return sum(rms**2 for rms in ImageStat.Stat(difference).rms)


def _largest(low: int, high: int, is_possible: Callable[[int], bool]) -> int | None:
    """By bisection the largest number from `low` to `high` that is possible, if what is possible ends
    somewhere; where it does not end so neatly, one that is possible. None if `low` is not."""
    if high < low:
        return None
    if is_possible(high):
        return high
    if not is_possible(low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if is_possible(middle):
            low = middle
        else:
            high = middle
    return low

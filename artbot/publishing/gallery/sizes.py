"""The picture for screens: two sizes, whatever size it was painted in. Always the same for the same work.

Not renditions for a channel's limits (artbot.publishing.renditions): what is wanted here is few bytes. They are
signed like these all the same: they are what a visitor sees, and keeps.
"""

from __future__ import annotations

import hashlib
import io

from PIL import Image

from artbot.errors import Rejected
from artbot.publishing.work import Picture, Work
from artbot.publishing.xmp import packet

SIDES_PX = (640, 1280)
"""Longer sides: a picture on the wall, and alone on its page, each on screens of two pixels per CSS pixel."""
QUALITY = 88


def sizes_of(work: Work, *, by_pixels: bool) -> tuple[Picture, ...]:
    """Made from the painted file, never from another rendition. `by_pixels`: what is enlarged shows
    every pixel as a square; else it is smooth. Raises Rejected, Unavailable if they cannot be signed now."""
    try:
        with Image.open(io.BytesIO(work.picture.content), formats=("PNG",)) as opened:
            painted = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Rejected(f"the painted file of {work.name} cannot be read: {error}") from error
    return tuple(_resized(painted, side_px, by_pixels, work) for side_px in SIDES_PX)


def _resized(painted: Image.Image, side_px: int, by_pixels: bool, work: Work) -> Picture:
    times = side_px / max(painted.size)
    by_pixels = by_pixels and times > 1
    if by_pixels:
        times = round(times)  # squares are of one size only if the factor is whole
    width, height = (max(1, round(side * times)) for side in painted.size)
    how = Image.Resampling.NEAREST if by_pixels else Image.Resampling.LANCZOS
    file = io.BytesIO()
    painted.resize((width, height), how).save(
        file, "WEBP", lossless=by_pixels, quality=QUALITY, method=4, xmp=packet(work)
    )
    content = file.getvalue()
    if work.signer is not None:
        content = work.signer.sign(content, "image/webp")
    return Picture(content, "image/webp", width, height, hashlib.sha256(content).hexdigest())

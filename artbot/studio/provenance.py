"""What a picture says about itself: the text written into every candidate's PNG, and what it is known by."""

from __future__ import annotations

import hashlib
import io
import json
from itertools import pairwise
from typing import TYPE_CHECKING, TypedDict

from artbot.domain.likeness import COLOURS, SIDE, Likeness

if TYPE_CHECKING:
    import numpy as np  # the daemon names these types and never holds a pixel


class Origin(TypedDict):
    """Everything needed to make the picture again."""

    candidate: str
    checkpoint_sha256: str
    seed: int
    recipe: dict[str, object]


def encode_png(pixels: np.ndarray, origin: Origin) -> bytes:
    """A PNG of uint8 RGB pixels (H, W, 3) carrying its origin as text."""
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("Software", "artbot")
    text.add_itxt("artbot", json.dumps(origin, sort_keys=True))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=text, optimize=True)
    return buffer.getvalue()


def pixel_sha256(pixels: np.ndarray) -> str:
    """Hex digest of the picture itself, whatever file format, compression or text surrounds it."""
    import numpy as np

    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"RGB8 {width}x{height}\n".encode())
    digest.update(np.ascontiguousarray(pixels, dtype=np.uint8).tobytes())
    return digest.hexdigest()


def likeness(pixels: np.ndarray) -> Likeness:
    """What uint8 RGB pixels (H, W, 3) look like."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    grey, box = picture.convert("L"), Image.Resampling.BOX
    wide = grey.resize((SIDE + 1, SIDE), box).tobytes()
    rows = [wide[n : n + SIDE + 1] for n in range(0, len(wide), SIDE + 1)]
    high = grey.resize((SIDE, SIDE + 1), box).tobytes()
    columns = [high[n::SIDE] for n in range(SIDE)]
    lighter = "".join(
        "1" if after > before else "0"
        for line in (*rows, *columns)
        for before, after in pairwise(line)
    )
    return Likeness(int(lighter, 2), picture.resize((COLOURS, COLOURS), box).tobytes())

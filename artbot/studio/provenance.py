"""What a picture says about itself: the text written into every candidate's PNG."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, TypedDict

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

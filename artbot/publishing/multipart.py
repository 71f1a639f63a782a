"""Bodies of multipart/form-data, the same for the same fields (RFC 7578)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from artbot.publishing.work import Picture

SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def file_name(work: str, picture: Picture) -> str:
    """`daily-2026-11-21-03.png`."""
    return f"{work}.{SUFFIXES[picture.media_type]}"


def encode(
    fields: Mapping[str, str], files: Mapping[str, tuple[str, Picture]]
) -> tuple[bytes, str]:
    """(body, Content-Type). `files`: field -> (file name, picture)."""
    from urllib3.filepost import encode_multipart_formdata

    parts: list[tuple[str, str | tuple[str, bytes, str]]] = list(fields.items())
    parts += [(name, (file, p.content, p.media_type)) for name, (file, p) in files.items()]
    digest = hashlib.sha256(json.dumps(dict(fields), sort_keys=True).encode())
    for _, picture in files.values():
        digest.update(picture.content)
    return encode_multipart_formdata(parts, boundary=f"artbot-{digest.hexdigest()[:32]}")

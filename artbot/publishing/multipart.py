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
    fields: Mapping[str, str],
    files: Mapping[str, tuple[str, Picture]],
    json_field: str | None = None,
) -> tuple[bytes, str]:
    """(body, Content-Type). `files`: field -> (file name, picture). `json_field`: which of the fields says
    that it is JSON."""
    from urllib3.fields import RequestField
    from urllib3.filepost import encode_multipart_formdata

    parts: list[RequestField | tuple[str, str | tuple[str, bytes, str]]] = []
    for name, value in fields.items():
        field = RequestField(name, value)
        field.make_multipart(content_type="application/json" if name == json_field else None)
        parts.append(field)
    parts += [(name, (file, p.content, p.media_type)) for name, (file, p) in files.items()]
    digest = hashlib.sha256(json.dumps(dict(fields), sort_keys=True).encode())
    for _, picture in files.values():
        digest.update(picture.content)
    return encode_multipart_formdata(parts, boundary=f"artbot-{digest.hexdigest()[:32]}")

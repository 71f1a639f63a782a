"""What a published picture says of itself, as XMP: that a network painted it, which work it is, and its alt text.

The properties are those of the IPTC Photo Metadata Standard, which search engines and platforms read:
`DigitalSourceType` for machines that mark what is generated (EU AI Act, article 50), `AltTextAccessibility` for
people who do not see it. The work's name is `dc:identifier`: by it `artbot verify` finds the work again.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from artbot.domain.text import MOST_ALT
from db.types import utc_text

if TYPE_CHECKING:
    from artbot.publishing.work import Work

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC NewsCodes: made by a model that was trained on sampled content."""
MOST_ELSE = 1_000
"""Characters of one text that is no alt text. A JPEG holds 65,502 bytes of XMP in all (XMP specification,
part 3), and `&` takes five of them."""
PNG_KEYWORD = "XML:com.adobe.xmp"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, written out or not."""
# Written by us as an element; a program that wrote the packet anew may have made it an attribute.
_IDENTIFIER = re.compile(r"dc:identifier\s*(?:>|=\s*[\"'])\s*([a-z0-9][a-z0-9_-]{0,99})\s*[<\"']")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")


def packet(work: Work) -> bytes:
    """The XMP packet of the work: always the same bytes."""
    named = f"<dc:identifier>{_text(work.name)}</dc:identifier>"
    title = f"<dc:title>{_alternatives(work.title)}</dc:title>" if work.title else ""
    creator = (
        f"<dc:creator><rdf:Seq><rdf:li>{_text(work.creator)}</rdf:li></rdf:Seq></dc:creator>"
        if work.creator
        else ""
    )
    language = (
        f"<dc:language><rdf:Bag><rdf:li>{_text(work.language)}</rdf:li></rdf:Bag></dc:language>"
        if work.language
        else ""
    )
    alt = (
        f"<Iptc4xmpCore:AltTextAccessibility>{_alternatives(work.alt, MOST_ALT)}</Iptc4xmpCore:AltTextAccessibility>"
        if work.alt
        else ""
    )
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"{named}{title}{creator}{language}{alt}"
        f"<xmp:CreateDate>{utc_text(work.created_at)}</xmp:CreateDate>"
        "<xmp:CreatorTool>artbot</xmp:CreatorTool>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="r"?>'
    ).encode()


def name_in(xmp: str) -> str | None:
    """The work that a packet names. What it says may be forged, and is no XML that is to be parsed."""
    found = _IDENTIFIER.search(xmp)
    return found.group(1) if found else None


def is_name(text: str) -> bool:
    """Whether a work could be called that."""
    return _NAME.fullmatch(text) is not None


def into_png(content: bytes, xmp: bytes) -> bytes:
    """The PNG with this packet instead of any it had; every other byte as it was. Raises ValueError."""
    kept = [(kind, chunk) for kind, chunk in _chunks(content) if not _is_xmp(kind, chunk)]
    # Before the pixels, as the specification advises: it is read without reading those.
    kept.insert(1, (b"iTXt", _chunk(b"iTXt", f"{PNG_KEYWORD}\0\0\0\0\0".encode("latin-1") + xmp)))
    return PNG_SIGNATURE + b"".join(chunk for _, chunk in kept)


def _text(text: str, most: int = MOST_ELSE) -> str:
    if len(text) > most:
        text = text[: most - 1] + "…"
    return escape(_NO_XML.sub("\ufffd", text), {"\r": "&#13;"})


def _alternatives(text: str, most: int = MOST_ELSE) -> str:
    return f'<rdf:Alt><rdf:li xml:lang="x-default">{_text(text, most)}</rdf:li></rdf:Alt>'


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """(type, whole chunk) of a PNG, in its order. Raises ValueError."""
    chunks, at = [], len(PNG_SIGNATURE)
    if not content.startswith(PNG_SIGNATURE):
        raise ValueError("it is no PNG")
    while at < len(content):
        if at + 12 > len(content):
            raise ValueError("it is a PNG that breaks off")
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        end = at + 12 + length
        if end > len(content):
            raise ValueError("it is a PNG that breaks off")
        chunks.append((kind, content[at:end]))
        at = end
    if not chunks or chunks[0][0] != b"IHDR" or chunks[-1][0] != b"IEND":
        raise ValueError("it is no whole PNG")
    return chunks


def _is_xmp(kind: bytes, chunk: bytes) -> bool:
    return kind == b"iTXt" and chunk[8:].startswith(PNG_KEYWORD.encode() + b"\0")


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))
        + kind
        + payload
        + struct.pack(">I", zlib.crc32(kind + payload))
    )

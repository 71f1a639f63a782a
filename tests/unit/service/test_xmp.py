"""What every rendition says of itself, read back by others: an XML parser, and exiftool where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artbot.publishing.renditions import PictureLimits, Presentation, rendition
from artbot.publishing.work import Work
from artbot.publishing.xmp import MOST_ALT, SOURCE_TYPE, into_png, name_in, packet
from tests.unit.service.kit import png
from tests.unit.service.test_renditions import a_painting

MEDIA_TYPES = ("image/png", "image/webp", "image/jpeg")
TEXTS = {
    "plain": "Red and white flowers in a blue vase",
    "quotes": "\"Tulips\" & <b>'roses'</b> ]]> </rdf:li> &amp; %s {0}",
    "many scripts": "花 Größe 👩‍👩‍👧 שלום ﷽",
    "lines": "first\nsecond\tthird",
    "spaces": "  two before, two after  ",
}
NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "core": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "ext": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="no exiftool here; tests/install-exiftool.sh brings it"
)


def a_work_that_says(text: str) -> Work:
    return replace(a_painting(), title=text, alt=text, creator=text, language="pt-BR")


def parsed(work: Work, tag: str) -> str | None:
    """One property as an XML parser finds it."""
    found = ET.fromstring(packet(work).decode()).find(f".//{tag}", NAMES)
    assert found is not None
    inner = found.find(".//rdf:li", NAMES)
    return (found if inner is None else inner).text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_the_words_are_what_they_were(text: str) -> None:
    work = a_work_that_says(text)
    for tag in ("core:AltTextAccessibility", "dc:title", "dc:creator"):
        assert parsed(work, tag) == text
    assert parsed(work, "ext:DigitalSourceType") == SOURCE_TYPE
    assert parsed(work, "dc:identifier") == work.name
    assert parsed(work, "dc:language") == "pt-BR"


def test_characters_that_xml_cannot_hold_are_shown_as_missing() -> None:
    work = a_work_that_says("a\x00b\x1bc\ufffed\ud800e\rf")
    assert parsed(work, "core:AltTextAccessibility") == "a\ufffdb\ufffdc\ufffdd\ufffde\rf"


def test_nobody_is_named_who_is_not() -> None:
    work = replace(a_painting(), title="", creator="", language="", alt="")
    assert b"dc:creator" not in packet(work)
    assert b"dc:title" not in packet(work)
    assert b"AltText" not in packet(work)
    assert name_in(packet(work).decode()) == work.name


@pytest.mark.parametrize("character", ["&", "🌷"])
def test_words_without_end_are_cut_so_that_a_jpeg_can_hold_them(character: str) -> None:
    work = a_work_that_says(character * 100_000)
    assert parsed(work, "core:AltTextAccessibility") == character * (MOST_ALT - 1) + "…"
    assert rendition(work, PictureLimits(("image/jpeg",))).media_type == "image/jpeg"


@pytest.mark.parametrize(
    "written",
    [
        "<dc:identifier>daily-2026-11-21-03</dc:identifier>",
        "<dc:identifier>\n daily-2026-11-21-03 </dc:identifier>",
        "<rdf:Description dc:identifier='daily-2026-11-21-03'/>",
        '<rdf:Description dc:identifier = "daily-2026-11-21-03"/>',
    ],
)
def test_the_name_is_found_however_another_program_wrote_it(written: str) -> None:
    assert name_in(written) == "daily-2026-11-21-03"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "<dc:identifier></dc:identifier>",
        "<dc:identifier>../../etc/passwd</dc:identifier>",
        "<dc:identifier>uuid:7F21-AB</dc:identifier>",
        f"<dc:identifier>{'a' * 200}</dc:identifier>",
    ],
)
def test_what_cannot_be_a_works_name_is_none(written: str) -> None:
    assert name_in(written) is None


@pytest.mark.parametrize(
    "broken", [b"", b"GIF89a", png()[:40], png()[:-1], png() + b"more", png()[:8]]
)
def test_what_is_no_whole_png_gets_no_xmp(broken: bytes) -> None:
    with pytest.raises(ValueError, match="PNG"):
        into_png(broken, b"<x/>")


def exiftool(*files: Path) -> list[dict[str, Any]]:
    ran = subprocess.run(
        ["exiftool", "-json", "-struct", "-G1", "-XMP:all", "-validate", *map(str, files)],
        capture_output=True,
        check=True,
    )
    answers: list[dict[str, Any]] = json.loads(ran.stdout)
    return answers


@needs_exiftool
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_exiftool_reads_type_and_alt_text_in_every_format(text: str, tmp_path: Path) -> None:
    work = a_work_that_says(text)
    files = []
    for media_type in MEDIA_TYPES:
        for number, presentation in enumerate((Presentation(), Presentation(200, "pixels", 5))):
            sent = rendition(work, PictureLimits((media_type,)), presentation)
            files.append(tmp_path / f"{number}.{media_type.removeprefix('image/')}")
            files[-1].write_bytes(sent.content)
    for file, told in zip(files, exiftool(*files), strict=True):
        assert told["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE, file
        assert told["XMP-iptcCore:AltTextAccessibility"] == text, file
        assert told["XMP-dc:Title"] == text, file
        assert told["XMP-dc:Creator"] in (text, [text]), file
        assert told["XMP-dc:Identifier"] == work.name, file
        assert told["XMP-dc:Language"] in ("pt-BR", ["pt-BR"]), file
        assert told["ExifTool:Validate"] == "OK", file


@needs_exiftool
def test_the_name_is_found_after_exiftool_wrote_the_picture_anew(tmp_path: Path) -> None:
    from PIL import Image

    for media_type in MEDIA_TYPES:
        file = tmp_path / f"sent.{media_type.removeprefix('image/')}"
        file.write_bytes(rendition(a_painting(), PictureLimits((media_type,))).content)
        subprocess.run(
            ["exiftool", "-q", "-overwrite_original", "-XMP-dc:Rights=somebody's", str(file)],
            check=True,
        )
        with Image.open(file) as opened:
            opened.load()
            written = opened.info["xmp"]
        assert b"somebody" in written
        assert name_in(written.decode()) == "daily-2026-11-21-03"

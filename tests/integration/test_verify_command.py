"""`artbot verify` as a person meets it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Place, on_sqlite_only


def a_painted_file(place: Place) -> Path:
    return place.root / "works" / next(iter(place.files()))


def a_stranger(folder: Path) -> Path:
    path = folder / "stranger.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


def test_a_file_is_traced_to_its_work_with_what_is_known_of_it(painted: Place) -> None:
    file = a_painted_file(painted)
    told = painted.run("verify", str(file))
    told.refused(0)
    assert f"to the byte the painted file of {file.stem}" in told.out
    for words in ("pending", "tiny-000001", "seed"):
        assert words in told.out
    facts = painted.json("verify", str(file))
    assert (facts["certainty"], facts["shows_it"]) == ("exact", True)
    assert facts["says"] == facts["work"]["name"] == file.stem
    assert facts["work"]["seed"] > 0
    assert facts["work"]["deliveries"] == []


@on_sqlite_only
def test_what_a_platform_made_of_it_is_traced_too(painted: Place, tmp_path: Path) -> None:
    file = a_painted_file(painted)
    assert painted.run("approve", file.stem).code == 0
    copy = tmp_path / "copy.jpg"
    with Image.open(file) as opened:
        opened.convert("RGB").resize((128, 128), Image.Resampling.BICUBIC).save(copy, quality=85)
    told = painted.run("verify", str(copy))
    told.refused(0)
    assert f"it looks like {file.stem} (difference" in told.out
    assert painted.json("verify", str(copy))["certainty"] == "alike"


@on_sqlite_only
def test_a_strangers_picture_ends_with_1_and_says_so(painted: Place, tmp_path: Path) -> None:
    told = painted.run("verify", str(a_stranger(tmp_path)))
    told.refused(1)
    assert "no work of this workplace" in told.out
    ran = painted.run("verify", str(a_stranger(tmp_path)), "--json")
    assert ran.code == 1
    facts = json.loads(ran.out)
    assert (facts["work"], facts["certainty"], facts["shows_it"]) == (None, None, False)


@on_sqlite_only
def test_a_forged_file_ends_with_1_though_it_says_that_it_is_a_work(
    painted: Place, tmp_path: Path
) -> None:
    name = a_painted_file(painted).stem
    forged = tmp_path / "forged.webp"
    with Image.open(a_stranger(tmp_path)) as opened:
        opened.save(forged, xmp=f"<dc:identifier>{name}</dc:identifier>".encode())
    told = painted.run("verify", str(forged))
    told.refused(1)
    assert f"it says that it is {name}, and shows another picture" in told.out


@on_sqlite_only
def test_bad_files_are_told_with_2(painted: Place, tmp_path: Path) -> None:
    painted.run("verify").refused(2, "Missing argument 'FILE'")
    painted.run("verify", "nowhere.png").refused(2, "nowhere.png", "does not exist")
    painted.run("verify", str(tmp_path)).refused(2, "is a directory")
    for name, content in {"empty.png": b"", "text.jpg": b"hello", "a\x1b[2J.png": b"x"}.items():
        (tmp_path / name).write_bytes(content)
        result = painted.run("verify", str(tmp_path / name))
        result.refused(2, "is no picture that can be read")
        assert "\x1b" not in result.out + result.err


@on_sqlite_only
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(painted: Place) -> None:
    file = a_painted_file(painted)
    file.chmod(0)
    painted.run("verify", str(file)).refused(2, "not readable")

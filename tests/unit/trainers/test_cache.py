"""The picture cache: decoded once, never stale, never half there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer_fixtures import ENVIRONMENT, Studio, run_on_small_disk, write_pictures
from trainers.data.cache import PictureSet, load_pictures
from trainers.data.folder import decode_square
from trainers.errors import DatasetError


class Place:
    """A folder of pictures and a cache for it."""

    def __init__(self, path: Path) -> None:
        self.folder, self.cache = path / "pictures", path / "cache"
        write_pictures(self.folder, 20)

    def load(self, size_px: int = 32) -> PictureSet:
        self.decoded: list[tuple[int, int]] = []
        return load_pictures(
            self.folder, size_px, self.cache, lambda done, total: self.decoded.append((done, total))
        )

    def arrays(self) -> list[Path]:
        return sorted(f for f in self.cache.iterdir() if f.is_dir())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_array_holds_every_picture_in_order_of_its_path(place: Place) -> None:
    pictures = place.load()
    assert len(pictures) == 20
    assert (pictures.images.dtype, pictures.images.shape) == (np.uint8, (20, 32, 32, 3))
    for index in (0, 7, 19):
        expected, _ = decode_square(place.folder / f"{index:03d}.png", 32)
        assert np.array_equal(pictures.images[index], expected)
    assert place.decoded[-1] == (20, 20)


def test_the_array_is_mapped_from_disk_and_cannot_be_written(place: Place) -> None:
    images = place.load().images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0, 0] = 1


def test_pictures_are_decoded_once(place: Place) -> None:
    first = np.array(place.load().images)
    second = place.load()
    assert place.decoded == [], "progress is reported for decoding only"
    assert np.array_equal(first, second.images)


def test_a_file_of_known_size_and_time_is_not_even_read_again(place: Place) -> None:
    """Proved by spoiling the bytes behind the ledger's back."""
    before = place.load()
    path = place.folder / "003.png"
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = place.load()
    assert after.fingerprint == before.fingerprint
    assert after.rejections == ()


def test_another_size_is_another_array_of_the_same_pictures(place: Place) -> None:
    small, large = place.load(32), place.load(64)
    assert small.fingerprint == large.fingerprint
    assert large.images.shape == (20, 64, 64, 3)
    assert len(place.arrays()) == 2


# ---------------------------------------------------------------- the fingerprint


def test_a_touched_but_equal_file_keeps_the_fingerprint(place: Place) -> None:
    before = place.load().fingerprint
    os.utime(place.folder / "003.png", (1, 1))
    assert place.load().fingerprint == before
    assert place.decoded == []


def test_the_same_pictures_in_another_place_have_the_same_fingerprint(
    place: Place, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "copy", 20)
    assert load_pictures(tmp_path / "copy", 32, place.cache).fingerprint == place.load().fingerprint


@pytest.mark.parametrize("change", ["edited", "added", "renamed", "removed"])
def test_an_edited_folder_has_another_fingerprint_and_other_pictures(
    place: Place, change: str
) -> None:
    before = place.load()
    first = place.folder / "000.png"
    if change == "edited":
        Image.new("RGB", (40, 40), (1, 2, 3)).save(first)
    elif change == "added":
        Image.new("RGB", (40, 40)).save(place.folder / "new.png")
    elif change == "renamed":
        first.rename(place.folder / "zzz.png")
    else:
        first.unlink()
    after = place.load()
    assert after.fingerprint != before.fingerprint
    assert len(after) == {"added": 21, "removed": 19}.get(change, 20)
    assert place.decoded != []
    if change == "edited":
        assert (after.images[0] == (1, 2, 3)).all()


# ---------------------------------------------------------------- what it tells about the pictures


def test_class_folders_become_sorted_names_and_an_index_for_each_picture(place: Place) -> None:
    write_pictures(place.folder / "tulips", 2, seed=1)
    write_pictures(place.folder / "asters" / "blue", 1, seed=2)
    pictures = place.load()
    assert pictures.class_names == ("asters", "tulips")
    assert sorted(pictures.class_indices.tolist()) == [-1] * 20 + [0] + [1] * 2
    assert pictures.class_indices.dtype == np.int64


def test_a_flat_folder_has_no_classes(place: Place) -> None:
    pictures = place.load()
    assert pictures.class_names == ()
    assert (pictures.class_indices == -1).all()


def test_pictures_smaller_than_the_goal_are_counted(place: Place) -> None:
    Image.new("RGB", (31, 200)).save(place.folder / "narrow.png")
    assert place.load(32).num_upscaled == 1
    assert place.load(64).num_upscaled == 21


def test_what_was_left_out_is_reported_now_and_from_the_cache(place: Place) -> None:
    (place.folder / "text.jpg").write_text("no picture")
    Image.new("RGB", (8, 8)).save(place.folder / "icon.png")
    for _ in "now", "from the cache":
        pictures = place.load()
        assert len(pictures) == 20
        assert {r.relative: r.reason for r in pictures.rejections} == {
            "icon.png": "is too small (8x8 px; 16 px is the least)",
            "text.jpg": "is not a picture, or of a kind that is not read",
        }
    assert place.decoded == []


def test_a_file_that_cannot_be_read_is_reported_only_while_it_is_there(place: Place) -> None:
    place.load()
    bad = place.folder / "bad-sector.jpg"
    bad.symlink_to("/proc/self/mem")
    [rejection] = place.load().rejections
    assert rejection.relative == "bad-sector.jpg"
    assert rejection.reason == "cannot be read (Input/output error)"
    bad.unlink()
    assert place.load().rejections == ()


# ---------------------------------------------------------------- too few


def test_pictures_of_kinds_that_are_not_read_are_left_out_and_sidecars_are_not_told(
    place: Place,
) -> None:
    before = place.load().fingerprint
    for name in ("one.heic", "two.PSD", "notes.txt", "Thumbs.db", "a.xmp", ".hidden.heic"):
        (place.folder / name).write_bytes(b"x")
    pictures = place.load()
    assert [r.relative for r in pictures.rejections] == ["one.heic", "two.PSD"]
    assert {r.reason for r in pictures.rejections} == {"is of a kind that is not read"}
    assert (pictures.fingerprint, place.decoded) == (before, []), "nothing is decoded anew"


def test_a_folder_of_kinds_that_are_not_read_alone_says_so(tmp_path: Path) -> None:
    (tmp_path / "phone").mkdir()
    for name in ("a.heic", "b.heic"):
        (tmp_path / "phone" / name).write_bytes(b"x")
    with pytest.raises(
        DatasetError, match=r"there are 2 files of kinds that are not read \(\.heic\)"
    ):
        load_pictures(tmp_path / "phone", 32, tmp_path / "cache")


def test_an_empty_folder_is_refused_and_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty holds no pictures .*\.jpeg"):
        load_pictures(tmp_path / "empty", 32, tmp_path / "cache")


def test_sixteen_pictures_are_enough_and_fifteen_are_not(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "few", 16)
    assert len(load_pictures(folder, 32, tmp_path / "cache")) == 16
    (folder / "000.png").unlink()
    with pytest.raises(DatasetError, match="few has 15 usable pictures; 16 are the least"):
        load_pictures(folder, 32, tmp_path / "cache")


def test_too_few_usable_pictures_name_how_many_were_left_out_and_examples(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "few", 1)
    for index in range(5):
        (folder / f"text-{index}.jpg").write_text(f"no picture {index}")
    for _ in "now", "from the cache":
        with pytest.raises(DatasetError) as refused:
            load_pictures(folder, 32, tmp_path / "cache")
        assert "1 usable picture; 16 are the least. 5 left out: text-0.jpg is not" in str(
            refused.value
        )
        assert str(refused.value).endswith("…")


# ---------------------------------------------------------------- interruptions and damage


def test_an_interrupted_build_leaves_nothing_and_is_begun_anew(place: Place) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_pictures(place.folder, 32, place.cache, interrupt)
    assert place.arrays() == []
    assert len(place.load()) == 20


def test_a_build_killed_outright_leaves_nothing_that_looks_usable(place: Place) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from trainers.data.cache import load_pictures\n"
        "def kill(done, total):\n"
        "    if done == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "load_pictures(Path(sys.argv[1]), 32, Path(sys.argv[2]), kill)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, place.folder, place.cache], env=ENVIRONMENT
    )
    assert killed.returncode == -9
    assert all(f.name.startswith(".") for f in place.arrays()), "half an array stays hidden"
    assert len(place.load()) == 20
    assert place.decoded[-1] == (20, 20)


@pytest.mark.parametrize("damage", ["truncated array", "no array", "no index", "broken index"])
def test_a_damaged_array_is_built_again(place: Place, damage: str) -> None:
    before = np.array(place.load().images)
    [array] = place.arrays()
    if damage == "truncated array":
        os.truncate(array / "images.u8", 1000)
    elif damage == "no array":
        (array / "images.u8").unlink()
    elif damage == "no index":
        (array / "index.json").unlink()
    else:
        (array / "index.json").write_text('{"shape": [20')
    assert np.array_equal(place.load().images, before)
    assert place.decoded[-1] == (20, 20)
    assert place.arrays() == [array]


@pytest.mark.parametrize("damage", ["", "[1, 2]", '{"000.png": [1]}', '{"000.png": 7}'])
def test_a_damaged_ledger_costs_one_reading_and_nothing_else(place: Place, damage: str) -> None:
    before = place.load().fingerprint
    [ledger] = place.cache.glob("ledger-*.json")
    ledger.write_text(damage)
    assert place.load().fingerprint == before
    assert len(json.loads(ledger.read_text())) == 20


def test_decoding_leaves_pythons_warning_filters_as_they_were(place: Place) -> None:
    """The filters belong to the whole process; threads that each set and reset them lose them."""
    for index in range(40):
        Image.new("RGB", (40, 40)).save(place.folder / f"more-{index}.png")
    before = list(warnings.filters)
    place.load()
    assert list(warnings.filters) == before


def test_names_that_are_no_unicode_are_pictures_too(place: Place) -> None:
    source = (place.folder / "000.png").read_bytes()
    (Path(os.fsdecode(os.fsencode(place.folder) + b"/\xd6l.png"))).write_bytes(source)
    for _ in "now", "from the cache":
        assert len(place.load()) == 21


# ---------------------------------------------------------------- full disks


def test_a_full_disk_ends_with_a_message_and_leaves_nothing_half_there(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    studio.add_pictures(count=200)
    script = (
        "import sys; from pathlib import Path\n"
        "from trainers.data.cache import load_pictures; from trainers.errors import StorageError\n"
        "try: load_pictures(Path('datasets/blobs'), 64, Path('cache'))\n"
        "except StorageError as error: sys.exit(str(error))\n"
    )
    (tmp_path / "build.py").write_text(script)
    ran = run_on_small_disk(
        f"cd '{tmp_path}' && '{sys.executable}' build.py",
        tmp_path / "cache",
        num_bytes=300_000,
        kept=tmp_path / "kept",
    )
    assert ran.returncode == 1
    assert (
        "could not write the picture cache cache: the disk is full (No space left on dev"
        in ran.stderr
    )
    assert "--cache-dir" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert [f.name for f in (tmp_path / "kept").iterdir() if f.is_dir()] == []

"""What `--dataset` means: a name in datasets/, a path, or a source that is fetched once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer_fixtures import ENVIRONMENT, write_pictures
from trainers.data.sources import Source, fetch_once, find_dataset, load_source, source_names
from trainers.errors import DatasetNotFound


def test_a_name_means_the_folder_of_that_name_in_datasets(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "flowers", 1)
    assert find_dataset("flowers", tmp_path) == folder


def test_a_path_means_the_folder_there(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "elsewhere" / "mine", 1)
    assert find_dataset(str(folder), tmp_path / "datasets") == folder


def test_a_tilde_means_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "paintings").mkdir()
    assert find_dataset("~/paintings", tmp_path / "datasets") == tmp_path / "paintings"


def test_a_source_is_meant_although_a_folder_here_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make demo` leaves a folder demo/ in the checkout, which holds anything but a data set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    assert isinstance(find_dataset("demo", tmp_path / "datasets"), Source)
    assert find_dataset("./demo", tmp_path / "datasets") == Path("demo")


def test_a_name_in_datasets_comes_before_a_folder_here_and_before_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "datasets" / "demo").mkdir(parents=True)
    datasets = tmp_path / "datasets"
    assert find_dataset("demo", datasets) == datasets / "demo"


def test_a_file_is_refused_and_the_remedy_named(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    with pytest.raises(DatasetNotFound, match="that is a file; give the folder"):
        find_dataset(str(tmp_path / "000.png"), tmp_path / "datasets")


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match="gone: there is no such folder"):
        find_dataset(str(tmp_path / "gone"), tmp_path)


@pytest.mark.parametrize(("typed", "meant"), [("flowerz", "flowers"), ("dmeo", "demo")])
def test_a_name_nobody_knows_is_refused_with_the_nearest_known_one(
    tmp_path: Path, typed: str, meant: str
) -> None:
    (tmp_path / "flowers").mkdir()
    with pytest.raises(DatasetNotFound, match=rf"Did you mean {meant}\?"):
        find_dataset(typed, tmp_path)


def test_a_name_like_no_other_is_refused_with_all_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    (tmp_path / ".demo.partial").mkdir()
    (tmp_path / "a-file").touch()
    with pytest.raises(DatasetNotFound, match=r"Known here: demo, flowers\."):
        find_dataset("xyzzy", tmp_path)


def test_datasets_need_not_exist_for_a_name_to_be_refused_kindly(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFound, match=r"Known here: demo\."):
        find_dataset("xyzzy", tmp_path / "datasets")


# ---------------------------------------------------------------- sources

THREE_FILES = """
from pathlib import Path
from trainers.data.sources import Source

def _fetch(folder, on_progress):
    for index in range(3):
        path = folder / f"{index}.txt"
        if not path.exists():
            if (folder.parent / "no-network").exists() and index == 2:
                raise KeyboardInterrupt
            path.write_text("fetched")
        if on_progress:
            on_progress(index + 1, 3)

SOURCE = Source("three", "three files", "CC0-1.0", 3, _fetch)
"""


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A source of our own, added as anybody would add one: a file in the package's path."""
    import trainers.data.sources as package

    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "three.py").write_text(THREE_FILES)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "plugins")])
    yield load_source("three")
    sys.modules.pop("trainers.data.sources.three", None)
    if hasattr(package, "three"):
        del package.three


def test_a_new_file_is_a_new_source(three: Source) -> None:
    assert source_names() == ["demo", "three"]
    assert three.name == "three"


def test_a_source_is_fetched_once_into_datasets(three: Source, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    datasets = tmp_path / "datasets"
    assert find_dataset("three", datasets) == three, "asking fetches nothing"
    assert not datasets.exists()
    folder = fetch_once(three, datasets, lambda done, total: told.append((done, total)))
    assert folder == datasets / "three"
    assert sorted(f.name for f in folder.iterdir()) == ["0.txt", "1.txt", "2.txt"]
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert find_dataset("three", datasets) == folder
    assert [f.name for f in datasets.iterdir()] == ["three"], "nothing temporary stays"


def test_an_interrupted_fetch_is_no_data_set_and_is_continued(
    three: Source, tmp_path: Path
) -> None:
    datasets = tmp_path / "datasets"
    datasets.mkdir()
    (datasets / "no-network").touch()
    with pytest.raises(KeyboardInterrupt):
        fetch_once(three, datasets, None)
    assert not (datasets / "three").exists()
    [first] = datasets.rglob("0.txt")
    first.write_text("kept from the first time")

    (datasets / "no-network").unlink()
    folder = fetch_once(three, datasets, None)
    assert (folder / "0.txt").read_text() == "kept from the first time"
    assert (folder / "2.txt").read_text() == "fetched"


def test_names_of_sources_are_known_without_importing_them() -> None:
    script = (
        "import sys, trainers.data.sources as s; print(s.source_names());"
        "assert 'trainers.data.sources.demo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, check=True)

"""What the service's tests share: a tiny generator, databases, a workplace, a receiver."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db.engine import Database, open_database
from tests.forks import run_in_fork
from tests.postgresql import Server, running_server

CHECKOUT = Path(__file__).resolve().parents[1]
ARTBOT = Path(sys.executable).with_name("artbot")
CONSUMER = CHECKOUT / "deploy" / "webhook-consumer" / "consumer.py"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Fast ones first: a broken rule should not wait for a kill sweep to be told."""
    rank = {
        "unit": 0,
        "property": 1,
        "contract": 2,
        "integration": 3,
        "faults": 4,
        "e2e": 5,
        "gpu": 6,
    }
    if not os.environ.get("ARTBOT_TEST_ALL"):
        left_out = [item for item in items if _paints_on_postgresql(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _paints_on_postgresql(item)]
    items.sort(key=lambda item: rank.get(item.path.relative_to(CHECKOUT / "tests").parts[0], 9))


PAINTING = {"test_batch.py", "test_daemon.py", "test_service_faults.py", "test_whole_path.py"}
"""Each of their tests imports torch once or more often: their PostgreSQL half is `make test-postgresql`."""


def _paints_on_postgresql(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    kind = callspec.params.get("database_kind") if callspec else None
    return kind == "postgresql" and item.path.name in PAINTING


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported 32 px generator with random weights: enough to paint, quick to load."""
    return export_tiny(tmp_path_factory.mktemp("checkpoints"), seed=0, kimg=1)


def export_tiny(
    checkpoints: Path,
    seed: int,
    kimg: int,
    run: str = "tiny",
    class_names: tuple[str, ...] = (),
) -> Path:
    """A checkpoint as the trainer exports it, without the training."""
    import numpy as np
    import torch

    from trainers.config import TrainConfig
    from trainers.data.cache import PictureSet
    from trainers.export import export_checkpoint
    from trainers.networks import load_architecture
    from trainers.samples import FixedNoise, as_grid

    torch.manual_seed(seed)
    config = TrainConfig(run=run, size=32, z_dim=8, width=8, seed=seed, classes=bool(class_names))
    generator = load_architecture("dcgan").build_generator(config.shape(class_names)).eval()
    with torch.no_grad():  # random weights of the paper's size paint almost grey
        for parameter in generator.parameters():
            parameter.mul_(4.0)
    pictures = PictureSet(
        name="tests",
        fingerprint="0" * 64,
        images=np.zeros((16, 32, 32, 3), np.uint8),
        class_names=class_names,
        class_indices=np.full(16, -1),
        rejections=(),
        num_upscaled=0,
    )
    class_of = (lambda i: i % len(class_names)) if class_names else None
    noise = FixedNoise.draw(range(9), config.z_dim, torch.device("cpu"), class_of)
    grid = as_grid(noise.paint(generator), columns=3)
    checkpoints.mkdir(parents=True, exist_ok=True)
    return export_checkpoint(generator, grid, config, pictures, kimg * 1000, checkpoints)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL server; one for each process of pytest-xdist."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgresql: Server) -> str:
    """A database of that server to make others of: at HEAD, with nothing in it."""
    name = postgresql.create()
    open_database(postgresql.url(name)).close()
    return name


@pytest.fixture
def postgresql_url(postgresql: Server, migrated: str) -> Iterator[str]:
    """A database at HEAD, for this test alone."""
    name = postgresql.create(migrated)
    yield postgresql.url(name)
    postgresql.drop(name)


on_sqlite_only = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
"""For a test that speaks of SQLite itself. Every other that needs a database runs on both kinds."""


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def database_at(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path | str:
    """Where this test's database is: a file that is yet to be made, or a URL."""
    if database_kind == "sqlite":
        return tmp_path / "db" / "artbot.sqlite3"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file to make others of: at HEAD, with nothing in it."""
    path = tmp_path_factory.mktemp("migrated") / "artbot.sqlite3"
    open_database(path).close()
    return path


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One for all tests of a module, which keep out of each other's way."""
    if request.param == "sqlite":
        opened = open_database(tmp_path_factory.mktemp("shared") / "artbot.sqlite3")
    else:
        server: Server = request.getfixturevalue("postgresql")
        opened = open_database(server.url(server.create(request.getfixturevalue("migrated"))))
    yield opened
    opened.close()


@dataclass
class Place:
    """A workplace on disk, driven as a person drives it: by commands."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    url: str | None = None
    """Its database, if that is not the file it begins with."""

    @property
    def database_at(self) -> Path | str:
        return self.url or self.root / "db" / "artbot.sqlite3"

    def run(self, *arguments: str, timeout: float = 600, **environment: str) -> Result:
        """A command to its end."""
        ran = run_in_fork("artbot", arguments, self.root, self._environment(environment), timeout)
        return Result(ran.returncode, ran.stdout, ran.stderr)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """A command as the shell begins it."""
        return subprocess.Popen(
            [str(ARTBOT), *arguments],
            cwd=self.root,
            env=self._environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def json(self, *arguments: str) -> Any:
        result = self.run(*arguments, "--json")
        assert result.code == 0, result.err
        return json.loads(result.out)

    def configure(self, text: str) -> None:
        """`text` becomes its artbot.toml; where the database is need not be in it."""
        if self.url is not None and "[paths]" not in text:
            text = f'[paths]\ndatabase = "{self.url}"\n{text}'
        (self.root / "artbot.toml").write_text(text, encoding="utf-8")

    def add_checkpoint(self, folder: Path) -> Path:
        return Path(shutil.copytree(folder, self.root / "checkpoints" / folder.name))

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Ask or change its database past artbot."""
        if self.url is not None:
            with psycopg.connect(self.url) as server:
                cursor = server.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.root / "db/artbot.sqlite3")) as file, file:
            return file.execute(statement).fetchall()

    def files(self) -> dict[str, bytes]:
        """Every picture of the works folder by its path."""
        works = self.root / "works"
        return {
            str(path.relative_to(works)): path.read_bytes()
            for path in sorted(works.rglob("*.png"))
            if path.name != "contact-sheet.png"
        }

    def _environment(self, extra: dict[str, str]) -> dict[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": "1", "TZ": "UTC", **self.environment, **extra}


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    def refused(self, code: int, *words: str) -> None:
        """It ended with that code, said these words, and showed no traceback."""
        assert self.code == code, f"exit {self.code}\n{self.out}\n{self.err}"
        assert "Traceback" not in self.out + self.err
        for word in words:
            assert word in self.err, self.err


def wait_for(condition: Callable[[], object], seconds: float = 300, often_s: float = 0.2) -> None:
    """Until `condition()` is true. It is looked at often; nothing is measured."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(often_s)


SCHEDULE = """
[schedules.daily]
at = "00:00"
timezone = "UTC"
candidates = 3
"""


@pytest.fixture
def place(tmp_path: Path, database_at: Path | str) -> Place:
    """A workplace made by `artbot init`, with a schedule of three candidates due since midnight."""
    return new_place(tmp_path / "studio", database_at if isinstance(database_at, str) else None)


def new_place(root: Path, url: str | None) -> Place:
    made = Place(root, url=url)
    made.root.mkdir()
    assert made.run("init").code == 0
    made.configure(SCHEDULE)
    return made


@pytest.fixture
def painted(
    place: Place, painted_once: Callable[[bool, date], Place], request: pytest.FixtureRequest
) -> Iterator[Place]:
    """A workplace whose batch of the day is made: a copy, since painting takes seconds."""
    master = painted_once(place.url is None, datetime.now(UTC).date())
    for folder in ("checkpoints", "db", "works"):
        shutil.copytree(master.root / folder, place.root / folder, dirs_exist_ok=True)
    if master.url is None:
        yield place
        return
    server: Server = request.getfixturevalue("postgresql")
    name = server.create(master.url.partition("@/")[2].partition("?")[0])
    place.url = server.url(name)
    place.configure(SCHEDULE)
    yield place
    server.drop(name)


@pytest.fixture(scope="session")
def painted_once(
    tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path, request: pytest.FixtureRequest
) -> Callable[[bool, date], Place]:
    """The workplace that `painted` copies: one for each kind of database, and for each day, as the tests
    may run past midnight."""

    @functools.cache
    def paint(is_sqlite: bool, _today: date) -> Place:
        url = None
        if not is_sqlite:
            server: Server = request.getfixturevalue("postgresql")
            url = server.url(server.create(request.getfixturevalue("migrated")))
        made = new_place(tmp_path_factory.mktemp("painted") / "studio", url)
        made.add_checkpoint(tiny_checkpoint)
        result = made.run("batch")
        assert result.code == 0, result.err
        return made

    return paint


@dataclass
class Consumer:
    """The example receiver, really running."""

    process: subprocess.Popen[bytes]
    store: Path
    url: str

    def log(self) -> list[dict[str, Any]]:
        path = self.store / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def verdicts(self) -> list[str]:
        return [line["verdict"] for line in self.log()]

    def channel(self, undo_minutes: float = 0) -> str:
        """The tables that send to it."""
        return (
            f'\n[channels.example]\ntype = "webhook"\nurl = "{self.url}"\nallow_private = true\n'
            f'secret_file = "secrets/webhook"\n[publishing]\nundo_minutes = {undo_minutes}\n'
        )


@pytest.fixture
def consumer(place: Place, tmp_path: Path) -> Iterator[Consumer]:
    """deploy/webhook-consumer/ on a free port, knowing the workplace's secret."""
    store = tmp_path / "received"
    port_file = tmp_path / "port"
    process = subprocess.Popen(
        [
            *(sys.executable, str(CONSUMER), "--port", "0", "--port-file", str(port_file)),
            *("--secret-file", str(place.root / "secrets/webhook"), "--store", str(store)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: port_file.exists() or process.poll() is not None, often_s=0.05)
        assert process.poll() is None, "the example receiver did not start"
        port = int(port_file.read_text())
        yield Consumer(process, store, f"http://127.0.0.1:{port}/webhook")
    finally:
        process.terminate()
        process.wait(10)

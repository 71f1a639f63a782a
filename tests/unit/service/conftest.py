"""A database, a works folder and a clock for every test that asks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.engine import Database, open_database
from tests.unit.service.kit import Desk, SetClock


@pytest.fixture
def database(database_at: Path | str, migrated_file: Path) -> Iterator[Database]:
    if isinstance(database_at, Path):
        database_at.parent.mkdir()
        shutil.copy(migrated_file, database_at)
    opened = open_database(database_at)
    yield opened
    opened.close()


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Desk:
    return Desk(database, tmp_path / "works", SetClock())

"""Where a test's database is, and what an administrator does with it past artbot: copy it, put it back."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, Self

import psycopg

from tests.postgresql import Server

LEAVE_S = 30.0


def file_in(root: Path) -> Path:
    """Where a workplace has its database, unless its artbot.toml names another."""
    return root / "db/artbot.sqlite3"


class Store(Protocol):
    """One database, of whichever kind."""

    @property
    def where(self) -> Path | str:
        """As `open_database` takes it."""

    def copy(self, root: Path) -> Self:
        """Another that is as this one is now, for the workplace `root`. Nobody may be using it."""

    def put_back(self, old: Self) -> None:
        """As a person does who restores by hand: it is as `old` is, under its own name."""

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Past our own code; `values` are for the question marks."""

    def commits(self) -> object:
        """Another one after every commit."""

    def wait_until_left(self) -> None:
        """Until nobody is doing anything in it any more: a killed process may have asked for something."""

    def remove(self) -> None:
        """It is not wanted any more."""


class FileStore:
    """A SQLite file."""

    def __init__(self, path: Path) -> None:
        self.where = path

    def copy(self, root: Path) -> FileStore:
        copied = FileStore(file_in(root))
        copied.where.parent.mkdir(parents=True, exist_ok=True)
        copied.put_back(self)
        return copied

    def put_back(self, old: FileStore) -> None:
        shutil.copyfile(old.where, self.where)

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.where)) as connection:
            return connection.execute(query, values).fetchall()

    def commits(self) -> bytes:
        """SQLite's own counter (https://www.sqlite.org/fileformat2.html, 1.3.7)."""
        with open(self.where, "rb") as file:
            file.seek(24)
            return file.read(4)

    def wait_until_left(self) -> None:
        """The kernel has ended it with its process."""

    def remove(self) -> None:
        self.where.unlink(missing_ok=True)


class ServerStore:
    """A database on the tests' server."""

    def __init__(self, server: Server, name: str) -> None:
        self._server = server
        self._name = name
        self._connection: psycopg.Connection | None = None

    @property
    def where(self) -> str:
        return self._server.url(self._name)

    def copy(self, root: Path) -> ServerStore:
        self.wait_until_left()
        return ServerStore(self._server, self._server.create(self._name))

    def put_back(self, old: ServerStore) -> None:
        self.remove()
        again = old.copy(Path())
        self._server.execute(f"ALTER DATABASE {again._name} RENAME TO {self._name}")

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The connection stays: a new one costs a hundred times the question."""
        if self._connection is None:
            self._connection = self._server.connect(self._name)
        return self._connection.execute(query.replace("?", "%s").encode(), values).fetchall()

    def commits(self) -> object:
        """Every transaction that wrote ends one of the snapshot's numbers."""
        return self.ask("SELECT pg_current_snapshot()::text")

    def wait_until_left(self) -> None:
        self._hang_up()
        give_up_at = time.monotonic() + LEAVE_S
        with self._server.connect("postgres") as observer:
            present = "SELECT pid, query FROM pg_stat_activity WHERE datname = %s"
            while still := observer.execute(present, (self._name,)).fetchall():
                assert time.monotonic() < give_up_at, f"nobody ends {still}"
                time.sleep(0.005)

    def remove(self) -> None:
        self._hang_up()
        self._server.drop(self._name)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

"""Open the database and give out sessions: `read()` sees one moment, `write()` commits whole or not at all.

SQLite's rules here (docs/decisions/0002-sqlite.md): every write begins with BEGIN IMMEDIATE, so two
writers wait for each other instead of failing half-way; a commit has reached the disk when it
returns (synchronous=FULL); foreign keys are on; the rollback journal, not WAL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

HEAD = "0001"
"""The newest migration: what a database must be at before it is used."""
BUSY_TIMEOUT_S = 10.0
_READ_ONLY = "artbot_read_only"


class Database:
    """One database, brought to HEAD. Sessions keep their objects usable after the commit."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reader = engine.execution_options(**{_READ_ONLY: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent moment and is never committed."""
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the write lock from the start; commits at the end, rolls back on any error."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            # The lock is taken by the first statement; take it now, before anything is read.
            session.connection()
            yield session

    def close(self) -> None:
        self.engine.dispose()


def open_database(path: Path) -> Database:
    """Open (and create) the SQLite file at `path` and bring it to HEAD.

    Raises sqlalchemy.exc.SQLAlchemyError or OSError when that is impossible, and RuntimeError for a
    database that a newer artbot has written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    if _revision(engine) != HEAD:
        migrate(engine)
    return Database(engine)


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the migrations up to `revision`, all in one transaction."""
    # Imported here: most starts find the database at HEAD and need no alembic.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            raise RuntimeError(
                f"the database is at revision {_revision_on(connection)}, which this artbot does not know: "
                "a newer artbot has written it. Update artbot."
            ) from error


def _revision(engine: Engine) -> str | None:
    try:
        with engine.execution_options(**{_READ_ONLY: True}).connect() as connection:
            return _revision_on(connection)
    except OperationalError as error:
        if "no such table" in str(error):
            return None
        raise


def _revision_on(connection: Connection) -> str | None:
    revision: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return revision


def _prepare_connection(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # Python must not open transactions of its own: `_begin` does
    for pragma in (
        "journal_mode=DELETE",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    is_reader = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")

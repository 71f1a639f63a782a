"""Open the database and give out sessions: `read()` sees one moment, `write()` commits whole or not at all.

There is one writer at a time, on both kinds of database, from before its first look to its commit: what
a use case reads in `write()` is still so when it writes. On SQLite that is BEGIN IMMEDIATE (so two writers
wait for each other instead of failing half-way), on PostgreSQL an advisory lock. A commit has reached the
disk when it returns (docs/decisions/0002-sqlite.md, 0010-postgresql.md).

A worker's writes are *fenced*: they carry its epoch, and are refused once another worker took over.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

HEAD = "0009"
"""The newest migration: what a database must be at before it is used."""
BUSY_TIMEOUT_S = 10.0
STALLED_WRITE_S = 60.0
"""PostgreSQL takes the write lock away from who holds it for so long and says nothing: a host that was
cut off or suspended must not stop the others, and must find its transaction gone when it comes back."""
OLDEST_SQLITE = (3, 35, 0)
_READ_ONLY = "artbot_read_only"
_WRITERS_LOCK = 0x617274626F74  # "artbot": PostgreSQL's advisory locks are numbers
# For this transaction only: a pooler may give the connection to somebody else afterwards. Whoever has
# switched synchronous_commit off for the whole server did not mean a decision that says it is kept.
_BEGIN_WRITE = f"""
SET LOCAL lock_timeout = '{BUSY_TIMEOUT_S:.0f}s';
SET LOCAL idle_in_transaction_session_timeout = '{STALLED_WRITE_S:.0f}s';
SELECT set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') = 'off';
SELECT pg_advisory_xact_lock({_WRITERS_LOCK})
"""


class DatabaseUnusable(RuntimeError):
    """This process must not go on with this database: it should end, and be begun again."""


class Fenced(DatabaseUnusable):
    """Another worker has taken over."""


class Database:
    """One database, brought to HEAD. Sessions keep their objects usable after the commit."""

    epoch: int | None = None
    """Set while this process is the worker: then every write proves that it still is."""

    def __init__(self, engine: Engine, path: Path | None = None) -> None:
        """`path`: the file, if it is SQLite."""
        self.engine = engine
        self.path = path
        self._file = _identity(path)
        options: dict[str, object] = {_READ_ONLY: True}
        if not self.is_sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = engine.execution_options(**options)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent moment and is never committed."""
        self._check_file()
        with Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the write lock from the start; commits at the end, rolls back on any error.

        Raises Fenced if this process was the worker and is no more; DatabaseUnusable when the file was
        replaced, or the disk did not keep what it was given: then nobody knows what it holds but who
        reads it anew (Rebello et al., ATC 2020: no engine recovers from a failed fsync by going on).
        """
        try:
            with (
                self._turn(),
                Session(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                # The lock is taken by the first statement; take it now, before anything is read.
                session.connection()
                self._check_file()
                if self.epoch is not None:
                    current = session.scalar(text("SELECT epoch FROM workplace"))
                    if current != self.epoch:
                        raise Fenced(
                            f"another worker has taken over (epoch {current}, ours was {self.epoch})"
                        )
                yield session
        except OperationalError as error:
            if "disk I/O error" in str(error.orig):
                raise DatabaseUnusable(f"the disk failed a write: {error.orig}") from error
            raise

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait in front of SQLite's own lock, whose waiters sleep longer and longer while newcomers slip in:
        with eight writers on a slow disk some get none within ten seconds. Whoever gets no turn in
        that time (a writer was suspended) tries SQLite's lock all the same, and hears its answer."""
        self._check_file()
        if self.path is None:
            yield
            return
        with ExitStack() as stack:
            with suppress(OSError):  # nothing can be written there: SQLite will say so
                file = stack.enter_context(
                    open(self.path.with_name(f"{self.path.name}.turn"), "ab")
                )
                give_up_at = time.monotonic() + BUSY_TIMEOUT_S
                while not _try_to_lock(file) and time.monotonic() < give_up_at:
                    time.sleep(0.005)
            yield

    def _check_file(self) -> None:
        """SQLite would go on writing into a file that has lost its name, and all of it would be lost."""
        if self.path is not None and _identity(self.path) != self._file:
            raise DatabaseUnusable(
                f"{self.path} was removed or replaced while it was in use; nothing more is written to it"
            )


def open_database(where: Path | str, may_create: bool = True) -> Database:
    """Open the SQLite file or the PostgreSQL URL, and bring it to HEAD.

    A SQLite file that is not there, or is empty, is made: with `may_create` False it was lost, and
    FileNotFoundError is raised. Raises sqlalchemy.exc.SQLAlchemyError or OSError when opening is impossible,
    and RuntimeError for a database that a newer artbot has written, or a library that is missing or too old.
    """
    url = database_url(where)
    path = None
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "")
        if not may_create and not (path.exists() and path.stat().st_size):
            raise FileNotFoundError(errno.ENOENT, "there is no database", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
    engine = make_engine(url)
    if _revision(engine) != HEAD:
        migrate(engine)
    return Database(engine, path)


def database_url(where: Path | str) -> URL:
    """The SQLAlchemy URL of a file, or of a `postgresql://…` text."""
    if isinstance(where, Path):
        return URL.create("sqlite", database=str(where))
    return make_url(where).set(drivername="postgresql+psycopg")


def described(where: Path | str) -> str:
    """For a message: the file, or the URL without a password, should one have got into it."""
    if isinstance(where, Path):
        return str(where)
    return make_url(where).difference_update_query(["password"]).render_as_string()


def make_engine(url: URL) -> Engine:
    """An engine with artbot's rules; nothing is opened yet."""
    if url.get_backend_name() == "sqlite":
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            needed = ".".join(map(str, OLDEST_SQLITE))
            raise RuntimeError(
                f"Python's SQLite is {sqlite3.sqlite_version}; artbot needs {needed} or newer"
            )
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        try:
            engine = create_engine(
                url,
                # The lock is taken in one statement and what it guards is read in the next, which must
                # see the newest commit, whatever the server's own default is.
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,  # the server may have been begun anew since
                connect_args={
                    "connect_timeout": int(BUSY_TIMEOUT_S),
                    "application_name": "artbot",
                    "client_encoding": "utf8",
                    "prepare_threshold": None,  # poolers lose them; migrations outdate them
                    # A server that is gone without a word: known after a minute, not after hours.
                    "keepalives_idle": 30,
                    "keepalives_interval": 10,
                    "keepalives_count": 3,
                    "tcp_user_timeout": 60_000,
                },
            )
        except ImportError as error:
            raise RuntimeError(
                "for PostgreSQL, psycopg is needed: pip install 'artbot[postgresql]'"
            ) from error
    event.listen(engine, "begin", _begin)
    return engine


def migrate(engine: Engine, revision: str = "head") -> None:
    """Run the migrations up to `revision`, all in one transaction.

    A SQLite file that holds something is copied first, to NAME.before-REVISION beside it.
    """
    # Imported here: most starts find the database at HEAD and need no alembic.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if engine.dialect.name == "sqlite":
        ours = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        _copy_before_migrating(engine, ours - {HEAD})
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Tables are built anew and renamed; without this their rows' references would go with
            # the old ones. It takes effect only outside a transaction.
            _raw(connection).execute("PRAGMA foreign_keys=OFF")
        try:
            with connection.begin():
                if engine.dialect.name == "postgresql":
                    _check_encoding(connection)
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                if engine.dialect.name == "sqlite":
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                    assert not broken, broken
        except CommandError as error:
            raise RuntimeError(
                f"the database is at revision {_revision(engine)}, which this artbot does not know: "
                "a newer artbot has written it. Update artbot."
            ) from error
        finally:
            if engine.dialect.name == "sqlite":
                _raw(connection).execute("PRAGMA foreign_keys=ON")


def _copy_before_migrating(engine: Engine, older: set[str]) -> None:
    """People's only copy, as it was at one of the `older` revisions; one of an earlier attempt is kept."""
    path = Path(engine.url.database or "")
    copy = path.with_name(f"{path.name}.before-{HEAD}")
    building = copy.with_name(f"{copy.name}.tmp")
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as guard:
        # Nobody else copies or migrates meanwhile; VACUUM cannot run in a transaction of its own.
        guard.execute("BEGIN IMMEDIATE")
        if _revision(engine) not in older or copy.exists():
            return
        building.unlink(missing_ok=True)
        with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)) as connection:
            connection.execute("VACUUM INTO ?", (str(building),))
        with open(building, "rb") as file:
            os.fsync(file.fileno())
        building.rename(copy)


def _check_encoding(connection: Connection) -> None:
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding != "UTF8":
        raise RuntimeError(
            f"it keeps text as {encoding} and cannot hold everything people write. Make another: "
            "CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )


def _revision(engine: Engine) -> str | None:
    with engine.execution_options(**{_READ_ONLY: True}).connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        revision: str | None = connection.execute(
            text("SELECT version_num FROM alembic_version")
        ).scalar()
        return revision


def _prepare_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # Python must not open transactions of its own: `_begin` does
    for pragma in (
        "journal_mode=DELETE",
        "synchronous=EXTRA",
        "foreign_keys=ON",
        f"busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
        "trusted_schema=OFF",
        "recursive_triggers=ON",  # else INSERT OR REPLACE would remove a row past its triggers
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    is_reader = connection.get_execution_options().get(_READ_ONLY, False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")
    elif not is_reader:
        connection.exec_driver_sql(_BEGIN_WRITE)


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _try_to_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None or not path.exists():
        return None
    found = path.stat()
    return found.st_dev, found.st_ino

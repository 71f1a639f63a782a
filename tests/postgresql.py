"""A PostgreSQL server of the tests' own: made when it is first asked for, gone with who asked.

It listens on a socket in a temporary folder and keeps nothing: whatever is safe about it is switched off.
Where there is no PostgreSQL, the tests that need one fail; they are never skipped.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

ROLE = "artbot"
"""Owns the databases and may nothing else, like the role of a real workplace."""
LOCKED, PASSWORD = "locked", "correct-horse"
"""A role that is let in with its password only."""
DEBIAN = Path("/usr/lib/postgresql")
START_S = 60.0

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",  # artbot's own connections must put this right
    "autovacuum": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "timezone": "Asia/Tokyo",  # so that nobody takes the server's zone for UTC
}
_PREFIX = "artbot-postgresql-"


class Server:
    """One server in `folder`. `running_server` makes it and takes it away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._account = _account()
        self._num_databases = 0
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        folder = self.folder
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        self._as_account(
            [
                *(_program("initdb"), "--pgdata", str(folder / "data"), "--no-sync"),
                *("--username", "postgres", "--encoding", "UTF8", "--locale", "C"),
            ]
        )
        (folder / "data" / "pg_hba.conf").write_text(
            f"local all {LOCKED} scram-sha-256\nlocal all all trust\n"
        )
        self.start()
        self.execute(f"CREATE ROLE {ROLE} LOGIN")
        self.execute(f"CREATE ROLE {LOCKED} LOGIN PASSWORD '{PASSWORD}' IN ROLE {ROLE}")

    def url(self, name: str, role: str = ROLE) -> str:
        """As it stands in artbot.toml."""
        return f"postgresql://{role}@/{name}?host={self.folder}"

    def create(self, template: str = "template0") -> str:
        """A new database, as `template` is, which nobody may be using; its name."""
        self._num_databases += 1
        name = f"test_{self._num_databases}"
        with self.connect("postgres") as connection:
            # A quarter of the work, since nothing here waits for a disk. Older ones know no other way.
            how = "STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""
            made = f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template} {how}"
            connection.execute(made.encode())
        return name

    def drop(self, name: str) -> None:
        """Whoever still uses it is thrown out."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres", user: str = "postgres") -> None:
        with self.connect(database, user) as connection:
            connection.execute(statement.encode())

    def connect(self, database: str, user: str = "postgres") -> psycopg.Connection:
        """By hand, each statement its own transaction, with nothing of artbot in it."""
        return psycopg.connect(host=str(self.folder), dbname=database, user=user, autocommit=True)

    def start(self) -> None:
        command = [_program("postgres"), "-D", str(self.folder / "data"), "-k", str(self.folder)]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        if setpriv := shutil.which("setpriv"):  # Linux: it ends with this process, killed or not
            command = [setpriv, "--pdeathsig", "QUIT", *command]
        with open(self.folder / "log", "ab") as log:
            self._process = self._popen(command, log.fileno())
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self.folder / "log").read_text("utf-8", "replace")
                    raise RuntimeError(f"PostgreSQL did not start: {error}\n{said}") from error
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT: at once, losing nothing that matters here; SIGINT: in order, as systemd does."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)

    def _as_account(self, command: list[str]) -> None:
        process = self._popen(command, subprocess.PIPE)
        said, _ = process.communicate(timeout=300)
        if process.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{said.decode(errors='replace')}")

    def _popen(self, command: list[str], output: int) -> subprocess.Popen[bytes]:
        """PostgreSQL refuses to run as root."""
        account = self._account
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,  # or Ctrl-C would end it before the tests
        )


@contextmanager
def running_server() -> Iterator[Server]:
    """A server for as long as the block lasts."""
    _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    server = Server(folder)
    try:
        server.make()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _remove_leftovers() -> None:
    """Folders of test runs that were killed: nobody holds them, and they are not just being made."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            held = os.open(folder, os.O_RDONLY)
        except OSError:  # somebody else's
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - folder.stat().st_mtime > 60:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(held)


def _program(name: str) -> str:
    """`postgres` or `initdb`: on the PATH, or the newest where Debian hides them."""
    if found := shutil.which(name):
        return found
    hidden = [folder for folder in DEBIAN.glob("*/bin") if (folder / name).exists()]
    if not hidden:
        raise RuntimeError(
            f"there is no {name}: PostgreSQL's server is needed by the tests. Run "
            "tests/install-postgresql.sh, or install it and put its programs into the PATH"
        )
    return str(max(hidden, key=lambda folder: float(folder.parent.name)) / name)


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as, where this is root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")

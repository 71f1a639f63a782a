"""The process that does what is killed, and the workplaces it is killed in."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.killing import Driver, Template, make_template
from tests.faults.stores import FileStore, ServerStore, Store, file_in
from tests.postgresql import Server


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    if shutil.which("strace") is None:
        pytest.fail("strace is needed to kill at system calls: tests/install-strace.sh")
    running = Driver()
    yield running
    running.close()


@pytest.fixture(scope="session")
def template_of(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[str, str], Template]:
    """The workplace that an operation begins in, by its name and the kind of database; to be copied, not
    to be used."""

    def store_in(root: Path, kind: str) -> Store:
        if kind == "sqlite":
            return FileStore(file_in(root))
        server: Server = request.getfixturevalue("postgresql")
        return ServerStore(server, server.create(request.getfixturevalue("migrated")))

    @functools.cache
    def make(name: str, kind: str) -> Template:
        root = tmp_path_factory.mktemp(name) / "template"
        return make_template(name, root, store_in(root, kind))

    return make

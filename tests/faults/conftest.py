"""The process that does what is killed, and the workplaces it is killed in."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.killing import Driver, make_template


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    if shutil.which("strace") is None:
        pytest.fail("strace is needed to kill at system calls: tests/install-strace.sh")
    running = Driver()
    yield running
    running.close()


@pytest.fixture(scope="session")
def template_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The workplace that an operation begins in; to be copied, not to be used."""
    return functools.cache(lambda name: make_template(name, tmp_path_factory.mktemp(name)))

"""Processes that need not import first: forks of one that has imported everything (tests/preloaded.py).

To start Python and import SQLAlchemy, or torch, is nearly all that a command costs: a second, or three.
Whatever speaks of starting itself (what is imported, signals, a power cut) begins real commands instead.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

CHECKOUT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # no thread may run in the process that forks
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.preloaded"])


def begin_fork(target: Callable[..., Any], *args: Any) -> BaseProcess:
    """A fork that calls `target`; it has begun."""
    # The first one begins the process that forks, which looks for `tests` in the folder it begins in: a test
    # may be elsewhere by now, and packages of that name lie in other places too.
    with contextlib.chdir(CHECKOUT):
        forkserver.ensure_running()
    process = _FORKS.Process(target=target, args=args)
    process.start()
    return process


def run_in_fork(
    program: Literal["artbot", "trainers"],
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """`artbot`, or `python -m trainers`, with these arguments in `folder`, to its end."""
    with TemporaryDirectory() as kept:
        out, err = Path(kept) / "out", Path(kept) / "err"
        process = begin_fork(_become, program, arguments, folder, dict(environment), out, err)
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(
                arguments, timeout_s, out.read_bytes(), err.read_bytes()
            )
        return subprocess.CompletedProcess(
            [program, *arguments],
            process.exitcode,
            out.read_text(encoding="utf-8"),
            err.read_text(encoding="utf-8"),
        )


def _become(
    program: str,
    arguments: Sequence[str],
    folder: Path,
    environment: dict[str, str],
    out: Path,
    err: Path,
) -> None:
    """In the fork: be that command, as its console script would."""
    for descriptor, path in ((0, Path(os.devnull)), (1, out), (2, err)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = [program, *arguments]
    if program == "trainers":
        runpy.run_module("trainers", run_name="__main__")
    else:
        from artbot.cli.main import main

        main()

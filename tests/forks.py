"""Processes that need not import first: forks of one that has imported everything (tests/preloaded.py).

To start Python and import SQLAlchemy, or torch, is nearly all that a command costs: a second, or three.
Whatever speaks of starting itself (what is imported, signals, a power cut) begins real commands instead.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal, NoReturn

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
    timeout_s: float = 600,
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
        from artbot.studio import render

        render.subprocess = _ChildrenByFork
        main()


class _ChildrenByFork:
    """For a command's render child, what `subprocess` is: it has torch behind it already when it begins."""

    PIPE = subprocess.PIPE
    TimeoutExpired = subprocess.TimeoutExpired

    class Popen:
        def __init__(
            self,
            command: Sequence[str],
            *,
            stdin: int,
            stdout: int,
            stderr: IO[bytes],
            env: Mapping[str, str],
            start_new_session: bool,
        ) -> None:
            assert (stdin, stdout, start_new_session) == (subprocess.PIPE, subprocess.PIPE, True)
            requests, answers = os.pipe(), os.pipe()
            self.returncode: int | None = None
            self.pid = os.fork()
            if self.pid == 0:
                _be_a_render_child(command, requests[0], answers[1], stderr.fileno(), env)
            os.close(requests[0])
            os.close(answers[1])
            self.stdin = os.fdopen(requests[1], "wb")
            self.stdout = os.fdopen(answers[0], "rb")

        def kill(self) -> None:
            os.kill(self.pid, signal.SIGKILL)

        def wait(self, timeout: float = 3600) -> int:
            until = time.monotonic() + timeout
            while self.returncode is None:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    self.returncode = os.waitstatus_to_exitcode(status)
                elif time.monotonic() > until:
                    raise subprocess.TimeoutExpired("render child", timeout)
                else:
                    time.sleep(0.005)
            return self.returncode


def _be_a_render_child(
    command: Sequence[str], requests: int, answers: int, errors: int, env: Mapping[str, str]
) -> NoReturn:
    from artbot.studio import render_child

    code = 1
    try:
        os.setsid()
        for to, descriptor in enumerate((requests, answers, errors)):
            os.dup2(descriptor, to)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(env)
        module = command.index("artbot.studio.render_child")
        sys.argv = list(command[module:])
        sys.stdin = os.fdopen(0, encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
        render_child.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)

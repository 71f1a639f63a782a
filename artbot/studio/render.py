"""The parent's side of rendering: start the child, ask for pictures, give up on a child that hangs."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from artbot.domain.text import plain
from artbot.errors import ConfigError, DeviceFailed, RenderFailed, StorageFailed
from artbot.redaction import redact
from artbot.studio.provenance import Origin
from trainers.errors import CheckpointRefused, WeightsRefused

MAX_ANSWER_BYTES = 1 << 20
"""A child that says more than this in one line is not ours any more."""
MAX_WORDS_BYTES = 1 << 16
"""Read of what it wrote to standard error, from the end."""
_WHY_NOT = frozenset({"refused", "impossible", "device", "failed", "unwritable"})
_NOT_PASSED_ON = frozenset({"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"})
"""Would let torch.load execute what it reads. We never call it; nor shall anything else in the child."""

_remarked: set[str] = set()
"""What children said that they could not give up."""

log = logging.getLogger("artbot")


@dataclass(frozen=True)
class RenderOptions:
    """How the child is run."""

    device: str
    start_timeout_s: float
    picture_timeout_s: float
    environment: Mapping[str, str]
    """The child's environment variables: no secrets among them."""


@dataclass(frozen=True)
class Painting:
    """A picture that lies, flushed, at the path that was asked for."""

    image_sha256: str
    pixel_sha256: str
    num_bytes: int
    width: int
    height: int
    likeness: str | None = None
    """What it looks like (artbot.domain.likeness); None: that is not known."""


class RenderChild:
    """A child process holding one generator. Use as a context manager: leaving it ends the child."""

    def __init__(self, kept: Path, options: RenderOptions) -> None:
        self._kept = kept
        self._options = options
        self._unread = b""
        self.environment: dict[str, Any] = {}
        """torch version, device and dtype, known once entered."""

    def __enter__(self) -> Self:
        """Start, load, smoke-test.

        Raises WeightsRefused (it would be the same again), CheckpointRefused, ConfigError (there is no
        such device), DeviceFailed, RenderFailed.
        """
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [
                # -P: whatever lies in the folder we were started in is no module.
                *(sys.executable, "-P", "-m", "artbot.studio.render_child"),
                *(str(self._kept), self._options.device, str(os.getpid())),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={
                name: value
                for name, value in self._options.environment.items()
                if name not in _NOT_PASSED_ON
            },
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
        try:
            answer = self._read_answer(self._options.start_timeout_s, "starting", "ready")
            if "refused" in answer:
                kind = WeightsRefused if answer["is_final"] else CheckpointRefused
                raise kind(answer["refused"])
            if "impossible" in answer:
                raise ConfigError(answer["impossible"])
            self.environment = answer["ready"]
            for remark in answer["remarks"]:
                if remark not in _remarked:  # every child says the same
                    _remarked.add(remark)
                    log.info("the render process %s", remark)
        except BaseException:
            self._end()
            raise
        return self

    @property
    def pid(self) -> int:
        """Its process id, once entered."""
        return self._process.pid

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def paint(self, origin: Origin, path: Path) -> Painting:
        """Render one picture to `path` (temporary; the caller renames it).

        Raises RenderFailed (the picture's or the child's fault), DeviceFailed (the device's; this child
        has ended), StorageFailed (the disk's).
        """
        assert self._process.stdin is not None
        request = json.dumps({"origin": origin, "path": str(path)}).encode() + b"\n"
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended("the render process has ended") from error
        answer = self._read_answer(self._options.picture_timeout_s, "painting", "painted")
        if "unwritable" in answer:
            raise StorageFailed(f"cannot write {path.parent}: {answer['unwritable']}")
        if "failed" in answer:
            raise RenderFailed(answer["failed"])
        return Painting(**answer["painted"])

    def _read_answer(self, timeout_s: float, doing: str, wanted: str) -> dict[str, Any]:
        """What the child says next: `wanted`, or why not."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([descriptor], [], [], remaining)[0]:
                raise RenderFailed(
                    f"the render process gave no answer within {timeout_s:g} s while {doing}"
                )
            chunk = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
            if not chunk:
                raise self._ended(f"the render process ended while {doing}")
            self._unread += chunk
            if len(self._unread) > MAX_ANSWER_BYTES:
                raise RenderFailed(f"the render process gave no usable answer while {doing}")
        line, _, self._unread = self._unread.partition(b"\n")
        try:
            answer: dict[str, Any] = json.loads(line)
            is_usable = bool(answer.keys() & {wanted, *_WHY_NOT})
        except (ValueError, AttributeError):  # no JSON; no object
            is_usable = False
        if not is_usable:
            raise RenderFailed(f"the render process gave no usable answer while {doing}")
        if "device" in answer:
            raise DeviceFailed(f"the device failed while {doing}: {answer['device']}")
        return answer

    def _ended(self, when: str) -> RenderFailed:
        """SIGKILL is nothing a library does to itself: it came from the kernel, which had no memory left,
        or from a person. Neither is the picture's fault."""
        error = f"{when}: {self._last_words()}"
        if self._process.returncode == -signal.SIGKILL:
            return DeviceFailed(f"{error} (out of memory?)")
        return RenderFailed(error)

    def _last_words(self) -> str:
        """How the child ended and the last line it wrote to standard error."""
        try:
            code = self._process.wait(timeout=5)
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            how = "it closed its output and stayed"
        length = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, length - MAX_WORDS_BYTES))
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return redact(f"{how}; {plain(lines[-1])}" if lines else how)

    def _end(self) -> None:
        """Close its input and give it a moment; then kill it. Never leaves a process behind."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):  # it has ended already
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


class Devices:
    """Which device the next child is begun on: the one there is, until it fails.

    A child whose device failed is followed by one on the same device: a new process finds memory that
    the old one held, and a card that was reset. If that fails as well before it has painted anything,
    `device = "auto"` means the processor from then on, for this batch; every picture's recorded
    environment says where it was made. A device that was named is waited for instead: who names one
    wants its pixels. Pictures are painted one by one in any case, so there is no smaller batch to try.
    """

    def __init__(self, options: RenderOptions) -> None:
        self.options = options
        self._num_failures = 0

    def failed(self, error: DeviceFailed) -> None:
        """To be called before the next child is begun. Raises `error` if none should be."""
        self._num_failures += 1
        if self._num_failures == 1:
            return
        if self.options.device != "auto":
            raise error
        self.options = replace(self.options, device="cpu")
        self._num_failures = 0

    def painted(self) -> None:
        """A device that fails now and then may do so: it gets on."""
        self._num_failures = 0

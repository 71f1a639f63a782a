"""The parent's side of rendering: start the child, ask for pictures, give up on a child that hangs."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from artbot.errors import ConfigError, RenderFailed, StorageFailed
from artbot.redaction import redact
from artbot.studio.provenance import Origin
from trainers.errors import CheckpointRefused


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


class RenderChild:
    """A child process holding one generator. Use as a context manager: leaving it ends the child."""

    def __init__(self, kept: Path, options: RenderOptions) -> None:
        self._kept = kept
        self._options = options
        self._unread = b""
        self.environment: dict[str, Any] = {}
        """torch version, device and dtype, known once entered."""

    def __enter__(self) -> Self:
        """Start, load, smoke-test. Raises CheckpointRefused, ConfigError (device), RenderFailed."""
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "artbot.studio.render_child",
                str(self._kept),
                self._options.device,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=dict(self._options.environment),
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
        try:
            answer = self._read_answer(self._options.start_timeout_s, "starting")
            if "refused" in answer:
                raise CheckpointRefused(answer["refused"])
            if "impossible" in answer:
                raise ConfigError(answer["impossible"])
            self.environment = answer["ready"]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def paint(self, origin: Origin, path: Path) -> Painting:
        """Render one picture to `path` (temporary; the caller renames it).

        Raises RenderFailed (the picture's or the child's fault), StorageFailed (the disk's).
        """
        assert self._process.stdin is not None
        request = json.dumps({"origin": origin, "path": str(path)}).encode() + b"\n"
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except OSError as error:
            raise RenderFailed(f"the render process has ended: {self._last_words()}") from error
        answer = self._read_answer(self._options.picture_timeout_s, "painting")
        if "unwritable" in answer:
            raise StorageFailed(f"cannot write {path.parent}: {answer['unwritable']}")
        if "failed" in answer:
            raise RenderFailed(answer["failed"])
        return Painting(**answer["painted"])

    def _read_answer(self, timeout_s: float, doing: str) -> dict[str, Any]:
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
                raise RenderFailed(f"the render process ended while {doing}: {self._last_words()}")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        """How the child ended and the last line it wrote to standard error."""
        code = self._process.wait(timeout=5)
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return redact(f"{how}; {lines[-1]}" if lines else how)

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

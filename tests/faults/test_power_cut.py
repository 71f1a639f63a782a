"""Row 14: what a power cut could take away, read from the order of writes and flushes.

A kill leaves the kernel's cache; a power cut leaves what was flushed. strace tells in which order a
process wrote, flushed, renamed and removed; from that follows what would be missing if the power failed
when somebody was told that all is kept: at the end of a command, and when a request leaves for the world.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import ARTBOT, Place
from tests.faults.killing import Driver, Template, copied, receiving
from tests.unit.service.kit import NOON

CALLS = (
    "openat,write,pwrite64,ftruncate,fsync,fdatasync,?rename,?renameat,?renameat2,?link,?linkat,"
    "?mkdir,?mkdirat,?unlink,?unlinkat,?rmdir,sendto"
)
FOR_NOW = ("artbot.lock", ".turn", "contact-sheet.png")
"""Nothing follows from these after the machine was started anew."""


@dataclass
class Disk:
    """What is not on it yet, as far as a program can know."""

    root: Path
    known: set[str]
    """Files that were there at the beginning."""
    unflushed: set[str] = field(default_factory=set)
    """Files with bytes that a power cut takes away."""
    unsettled: set[str] = field(default_factory=set)
    """Names that were made, moved or removed, which a power cut undoes."""
    faults: list[str] = field(default_factory=list)

    def follow(self, log: str) -> None:
        for line in log.splitlines():
            found = re.match(r"(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)", line)
            if found is None or found.group(3) == "-1":
                continue
            call, arguments = found.group(1), found.group(2)
            named = re.findall(r'"([^"]*)"', arguments)
            held = re.match(r"\d+<([^>]*)>", arguments)
            path = held.group(1) if held else ""
            if call == "sendto":
                if "TCP" in path:
                    self.look("a request was sent")
            elif call == "openat":
                if "O_CREAT" in arguments and self._counts(named[0]) and named[0] not in self.known:
                    self.unsettled.add(named[0])
            elif call.startswith(("mkdir", "link")):
                if self._counts(named[-1]):
                    self.unsettled.add(named[-1])
            elif call in ("write", "pwrite64", "ftruncate"):
                if self._counts(path):
                    self.unflushed.add(path)
            elif call in ("fsync", "fdatasync"):
                self.unflushed.discard(path)
                self.unsettled = {p for p in self.unsettled if os.path.dirname(p) != path}  # noqa: PTH120
            elif call.startswith("rename"):
                if named[0] in self.unflushed:
                    self.faults.append(f"{self._name(named[0])} was renamed before it was flushed")
                self.unflushed.discard(named[0])
                self.unsettled -= {named[0]}
                self.unsettled.add(named[1])
            elif call.startswith(("unlink", "rmdir")) and self._counts(named[0]):
                if "/backups/" in named[0] or named[0] in self.unsettled:
                    self.unsettled.discard(named[0])
                    continue  # an old backup that comes back harms nobody; nor does what never was
                self.unflushed.discard(named[0])
                self.unsettled.add(named[0])

    def look(self, when: str) -> None:
        """Somebody relies on it now."""
        self.faults += [f"{when}, and {self._name(p)} is not flushed" for p in self.unflushed]
        self.faults += [f"{when}, and the name {self._name(p)} is not" for p in self.unsettled]

    def _counts(self, path: str) -> bool:
        return path.startswith(str(self.root)) and not path.endswith(FOR_NOW)

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self.root)


def files_in(root: Path) -> set[str]:
    return {str(path) for path in root.rglob("*")}


def follow(root: Path, known: set[str], log: Path) -> list[str]:
    disk = Disk(root, known)
    disk.follow(log.read_text("utf-8", "replace"))
    disk.look("the command had ended")
    return disk.faults


@pytest.mark.parametrize(
    "name", ["batch", "approve", "deliver", "deliver-unrecognised", "backup", "restore", "migrate"]
)
def test_what_is_said_to_be_kept_survives_a_power_cut(
    name: str, driver: Driver, template_of: Callable[[str, str], Template], tmp_path: Path
) -> None:
    """Row 14."""
    log = tmp_path / "calls"
    with copied(template_of(name, "sqlite"), tmp_path / "place") as found:
        with receiving(found):
            known = files_in(found.root)
            trace = ["-y", "-o", str(log), "-e", f"trace={CALLS}"]
            assert driver.run(name, found.root, NOON, trace) == 0
        assert follow(found.root, known, log) == []


def test_a_real_batch_survives_a_power_cut(
    place: Place, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Row 14: the render child flushes what it painted."""
    place.add_checkpoint(tiny_checkpoint)
    log = tmp_path / "calls"
    strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-o", str(log), "-e", f"trace={CALLS}"]
    known = files_in(place.root)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*strace, str(ARTBOT), "batch"], cwd=place.root, env=environment, check=True, timeout=300
    )
    assert follow(place.root, known, log) == []

"""SIGKILL before every system call that changes anything, in everything artbot does that must be whole.

Each operation is first done undisturbed under strace, which counts its calls. Then, in a fresh copy of the
same workplace for each, it is killed before one such call, and then before another. What is
found then must be whole; done again undisturbed, it must come out as if nothing had been. With a database
on a server, what is said to it and heard from it is among the calls.

`make test` takes one point in twenty, and the first and the last of every call; `ARTBOT_SWEEP=all` (make soak)
takes every one.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import signal
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.killing import (
    LATER,
    OPERATIONS,
    Driver,
    Found,
    Template,
    check,
    copied,
    let_time_pass,
    receiving,
)
from tests.unit.service.kit import NOON

ALL = os.environ.get("ARTBOT_SWEEP") == "all"
SAMPLE = 20
"""Of so many points one is tried in `make test`; the first and the last of each call always are."""
SAMPLE_ON_POSTGRESQL = 5
"""So many points of each operation are tried there in `make test`: files are the same on both."""
PARTS = 3
"""Tests for each operation, so that pytest-xdist can share them out."""
FIVE = ("batch", "approve", "deliver", "backup", "migrate")
"""The operations whose points are counted."""
SWEPT = {
    "sqlite": (*FIVE, "deliver-unrecognised", "restore", "put-back", "sheet", "children"),
    "postgresql": ("batch", "approve", "deliver", "deliver-unrecognised", "daemon"),
}
"""By kind of database."""
PARTS_OF = {"sqlite": PARTS, "postgresql": PARTS if ALL else 1}
# With both names where architectures differ; strace passes over those it does not know.
CALLS = (
    *("openat", "pwrite64", "write", "fsync", "fdatasync", "ftruncate", "close"),
    *(
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "link",
        "linkat",
        "mkdir",
        "mkdirat",
    ),
    *("rmdir", "fchmodat", "chmod", "flock", "connect", "sendto", "recvfrom", "exit_group"),
)


@dataclass(frozen=True)
class Point:
    """Before the nth such call."""

    call: str
    nth: int


Sweeps = Callable[[str, str], tuple[Template, list[Point]]]


@pytest.fixture(scope="session")
def sweeps(driver: Driver, template_of: Callable[[str, str], Template]) -> Sweeps:
    """For an operation and a kind of database: the workplace it begins in, and every point at which it can
    be killed."""

    @functools.cache
    def prepare(name: str, kind: str) -> tuple[Template, list[Point]]:
        template = template_of(name, kind)
        with copied(template, template.root.parent / "undisturbed") as found:
            log = template.root.parent / "calls"
            wanted = ",".join(f"?{call}" for call in CALLS)
            with receiving(found):
                code = driver.run(name, found.root, NOON, ["-o", str(log), "-e", f"trace={wanted}"])
            assert code == 0
            check(OPERATIONS[name].always, found)
        return template, points_in(log.read_text("utf-8", "replace"))

    return prepare


def points_in(log: str) -> list[Point]:
    """In their order. strace counts the calls of each thread for itself."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    points: dict[Point, None] = {}
    for line in log.splitlines():
        found = re.match(r"(\d+) +(\w+)\((.*)", line)
        if found is None:
            continue
        thread, call, arguments = found.groups()
        counts[thread, call] += 1
        if call == "openat" and "O_CREAT" not in arguments:
            continue  # it changes nothing
        if call == "close":
            continue
        points[Point(call, counts[thread, call])] = None
    return list(points)


def sampled(points: list[Point], kind: str) -> list[Point]:
    """All, or an even share; on SQLite one that has the first and the last of every call."""
    if ALL:
        return points
    if kind == "postgresql":
        share = len(points) / SAMPLE_ON_POSTGRESQL
        return [points[int(share * (i + 0.5))] for i in range(SAMPLE_ON_POSTGRESQL)]
    chosen = []
    by_call = sorted(points, key=lambda p: (p.call, p.nth))
    for _, group in itertools.groupby(by_call, key=lambda p: p.call):
        of_one_call = list(group)
        chosen += [
            point
            for i, point in enumerate(of_one_call)
            if i % SAMPLE == 0 or point is of_one_call[-1]
        ]
    return chosen


def kill_and_mend(name: str, point: Point, driver: Driver, found: Found) -> None:
    operation = OPERATIONS[name]
    inject = f"inject={point.call}:signal=SIGKILL:when={point.nth}"
    trace = ["-o", os.devnull, "-e", f"trace={point.call}", "-e", inject]
    with receiving(found):
        assert driver.run(name, found.root, NOON, trace) == -signal.SIGKILL, "it was not killed"
        check(operation.always, found)
        let_time_pass(found)
        assert driver.run(name, found.root, NOON + LATER) == 0, "it could not be done again"
    check(operation.always + operation.finally_, found)


@pytest.mark.parametrize(
    ("name", "kind", "part"),
    [
        (n, kind, part)
        for kind, names in SWEPT.items()
        for n in names
        for part in range(PARTS_OF[kind])
    ],
)
def test_wherever_it_is_killed_all_is_whole_and_the_next_run_makes_it_good(
    name: str, kind: str, part: int, driver: Driver, sweeps: Sweeps, tmp_path: Path
) -> None:
    template, points = sweeps(name, kind)
    failures = []
    for point in sampled(points, kind)[part :: PARTS_OF[kind]]:
        try:
            with copied(template, tmp_path / f"{point.call}-{point.nth}") as found:
                kill_and_mend(name, point, driver, found)
        except AssertionError as error:
            failures.append(f"{point}: {error}")
    assert not failures, "\n\n".join(failures)


def test_the_sweep_has_at_least_three_hundred_points(sweeps: Sweeps) -> None:
    counts = {name: len(sweeps(name, "sqlite")[1]) for name in FIVE}
    assert sum(counts.values()) >= 300, counts

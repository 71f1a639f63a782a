"""Every named moment in the code is one at which artbot may die."""

from __future__ import annotations

import ast
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.faults.killing import (
    LATER,
    OPERATIONS,
    Driver,
    Template,
    check,
    copied,
    let_time_pass,
    receiving,
)
from tests.unit.service.kit import NOON

FLOWS = {
    "batch.due": "daemon",
    "batch.planned": "batch",
    "batch.rendered": "batch",
    "decision.written": "approve",
    "worker.begun": "deliver",
    "worker.recovered": "deliver",
    "delivery.claimed": "deliver",
    "delivery.prepared": "deliver",
    "delivery.committing": "deliver",
    "mark.written": "deliver",
    "delivery.sent": "deliver",
    "notice.noted": "tell",
    "notice.told": "tell",
    "backup.written": "backup",
    "backup.placed": "backup",
    "restore.prepared": "restore",
    "restore.aside": "restore",
    "restore.placed": "restore",
}
"""By failpoint: the operation that comes by it."""
OF_FILES = ("backup", "restore")
"""Operations of SQLite alone."""
MOMENTS = [
    (moment, kind)
    for moment, name in FLOWS.items()
    for kind in ("sqlite", "postgresql")
    if kind == "sqlite" or name not in OF_FILES
]
NUM_CRASHES = 20


def failpoints() -> set[str]:
    """Every name that the source calls `failpoint` with."""
    names = set()
    for folder in ("artbot", "db", "trainers"):
        for path in (CHECKOUT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and ast.unparse(node.func).split(".")[-1] == "failpoint"
                ):
                    (argument,) = node.args
                    assert isinstance(argument, ast.Constant), f"{path.name}: {ast.unparse(node)}"
                    assert isinstance(argument.value, str)
                    names.add(argument.value)
    return names


def test_every_failpoint_is_one_that_these_tests_kill_at() -> None:
    assert failpoints() == set(FLOWS)


@pytest.mark.parametrize(("moment", "kind"), MOMENTS)
def test_killed_at_a_failpoint_all_is_whole_and_the_next_run_makes_it_good(
    moment: str,
    kind: str,
    driver: Driver,
    template_of: Callable[[str, str], Template],
    tmp_path: Path,
) -> None:
    """Rows 1, 2, 4, 6, 8 and 11 of the fault matrix."""
    name = FLOWS[moment]
    operation = OPERATIONS[name]
    with copied(template_of(name, kind), tmp_path / "place") as found:
        with receiving(found):
            killed = driver.run(name, found.root, NOON, failpoint=moment)
            assert killed == -signal.SIGKILL, "nothing comes by it"
            check(operation.always, found)
            let_time_pass(found)
            assert driver.run(name, found.root, NOON + LATER) == 0
        check(operation.always + operation.finally_, found)


@pytest.mark.parametrize("name", ["deliver", "deliver-unrecognised"])
def test_a_recovery_that_is_itself_killed_twenty_times_comes_to_the_same(
    name: str,
    database_kind: str,
    driver: Driver,
    template_of: Callable[[str, str], Template],
    tmp_path: Path,
) -> None:
    """Row 9."""
    operation = OPERATIONS[name]
    with copied(template_of(name, database_kind), tmp_path / "place") as found:
        with receiving(found):
            assert driver.run(name, found.root, NOON, failpoint="delivery.sent") == -signal.SIGKILL
            for crash in range(NUM_CRASHES):
                moment = "worker.begun" if crash % 2 else "worker.recovered"
                killed = driver.run(name, found.root, NOON, failpoint=moment)
                assert killed == -signal.SIGKILL
                check(operation.always, found)
            let_time_pass(found)
            assert driver.run(name, found.root, NOON + LATER) == 0
        check(operation.always + operation.finally_, found)

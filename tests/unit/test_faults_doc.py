"""docs/faults.md names a test for every fault, and each of them exists."""

from __future__ import annotations

import ast
import re

from tests.conftest import CHECKOUT

PAGE = (CHECKOUT / "docs/faults.md").read_text("utf-8")
ROWS = [line.split("|")[1:-1] for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]


def names_of_tests() -> set[str]:
    return {
        node.name
        for path in (CHECKOUT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_the_page_names_exists() -> None:
    named = {name for name in re.findall(r"`(test_\w+)`", PAGE) if f"`{name}.py`" not in PAGE}
    assert len(named) > 60
    assert named - names_of_tests() == set()


def test_every_row_of_the_matrix_is_there_once_with_a_test_or_the_reason_why_there_is_none() -> (
    None
):
    assert [int(row[0]) for row in ROWS] == list(range(1, 67))
    for number, _fault, _does, shown in ROWS:
        assert "`test_" in shown or shown.strip().startswith("none"), number


def test_every_invariant_says_where_it_is_checked() -> None:
    found = re.findall(r"^\| I(\d+) \| .+ \| (.+) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(1, 21))

"""The list of tests/mutation_proof.py fits the code: checked at every run, as the proof itself takes long."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT
from tests.mutation_proof import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.protection)
def test_what_a_mutation_takes_away_stands_in_the_code_once(mutation: Mutation) -> None:
    assert (CHECKOUT / mutation.path).read_text("utf-8").count(mutation.text) == 1
    assert mutation.instead != mutation.text


def test_the_tests_that_must_notice_them_exist(request: pytest.FixtureRequest) -> None:
    """By pytest's own word: a name that is wrong by one parameter runs nothing. A run of all tests has
    collected them already; to do it again for a run of some takes ten seconds."""
    assert all(mutation.tests for mutation in MUTATIONS)
    here = {item.nodeid for item in request.session.items}
    here |= {node.partition("[")[0] for node in here}
    named = sorted({test for mutation in MUTATIONS for test in mutation.tests} - here)
    if not named:
        return
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *named],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr

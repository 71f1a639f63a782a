"""The list of tests/mutation_proof.py fits the code: checked at every run, as the proof itself takes long."""

from __future__ import annotations

import ast

import pytest

from tests.conftest import CHECKOUT
from tests.mutation_proof import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.protection)
def test_what_a_mutation_takes_away_stands_in_the_code_once(mutation: Mutation) -> None:
    assert (CHECKOUT / mutation.path).read_text("utf-8").count(mutation.text) == 1
    assert mutation.instead != mutation.text


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.protection)
def test_the_tests_that_must_notice_it_exist(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        path, _, name = test.partition("::")
        tree = ast.parse((CHECKOUT / path).read_text("utf-8"))
        assert name.partition("[")[0] in {
            node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        }, test

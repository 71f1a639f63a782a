"""Eight people and processes decide at once: everybody gets through, and the rows agree in the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from artbot.config import TextSettings
from artbot.domain.delivery import FOR_EVER, NO_PROTECTION
from artbot.errors import NotAllowed
from artbot.publishing.interventions import Actor, retry
from artbot.review.decisions import Author, Review, approve, reject, undo
from artbot.upkeep.doctor import check_logs
from db.engine import Database, open_database
from tests.forks import begin_fork
from tests.unit.service.kit import add_works, decisions, deliveries, run_at_once

NUM_WRITERS = 8
NUM_SHARED = 4
NUM_OWN = 3


def decide_much(where: Path | str, works: Path, writer: int) -> int:
    """Everybody wants the first works; each has some of its own besides. Returns how often it was refused."""
    refused = 0
    with closing(open_database(where)) as database:
        review = a_review(database, works)
        author = Author(f"person {writer}", "test")
        own = [NUM_SHARED + NUM_OWN * writer + n + 1 for n in range(NUM_OWN)]
        for work in [*range(1, NUM_SHARED + 1), *own]:
            acts: list[Callable[[], object]] = [
                partial(approve, review, work, author),
                partial(undo, review, work, author),
                partial(reject, review, work, author),
                partial(undo, review, work, author),
                partial(approve, review, work, author),
            ]
            for act in acts:
                try:
                    act()
                except NotAllowed:
                    assert work <= NUM_SHARED, "nobody else decides about this one"
                    refused += 1
        for delivery in deliveries(database):
            with suppress(NotAllowed):
                retry(database, delivery.id, Actor(author.by, "test"), datetime.now(UTC))
    return refused


def a_review(database: Database, works: Path) -> Review:
    return Review(
        database=database,
        works=works,
        texts=TextSettings(),
        channels={"studio": FOR_EVER, "friends": NO_PROTECTION},
        undo_time=timedelta(),
        clock=lambda: datetime.now(UTC),
    )


@pytest.fixture
def works(database_at: Path | str, tmp_path: Path) -> Path:
    """The folder of those that are to be decided about."""
    with closing(open_database(database_at)) as database:
        add_works(database, tmp_path / "works", NUM_SHARED + NUM_OWN * NUM_WRITERS)
    return tmp_path / "works"


def check(where: Path | str) -> None:
    with closing(open_database(where)) as database:
        assert check_logs(database) == []
        own = [d for d in deliveries(database) if d.candidate_id > NUM_SHARED]
        assert {d.state for d in own} == {"queued"}
        assert len(own) == 2 * NUM_OWN * NUM_WRITERS
        assert len(decisions(database)) >= 5 * NUM_OWN * NUM_WRITERS


def test_eight_threads_decide_at_once_without_a_lock_error(
    database_at: Path | str, works: Path
) -> None:
    decisions_of = (partial(decide_much, database_at, works, n) for n in range(NUM_WRITERS))
    results = run_at_once(*decisions_of)
    assert all(isinstance(result, int) for result in results), results
    check(database_at)


def test_eight_processes_decide_at_once_without_a_lock_error(
    database_at: Path | str, works: Path
) -> None:
    processes = [begin_fork(decide_much, database_at, works, n) for n in range(NUM_WRITERS)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    check(database_at)

"""Eight people and processes decide at once: everybody gets through, and the rows agree in the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from artbot.config import TextSettings
from artbot.errors import NotAllowed
from artbot.publishing.interventions import Actor, retry
from artbot.review.decisions import Author, Review, approve, reject, undo
from artbot.upkeep.doctor import check_logs
from db.engine import Database, open_database
from tests.conftest import CHECKOUT
from tests.unit.service.kit import add_works, decisions, deliveries, run_at_once

NUM_WRITERS = 8
NUM_SHARED = 4
NUM_OWN = 3


def decide_much(path: Path, works: Path, writer: int) -> int:
    """Everybody wants the first works; each has some of its own besides. Returns how often it was refused."""
    refused = 0
    with closing(open_database(path)) as database:
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
        channels={"studio": timedelta.max, "friends": None},
        undo_time=timedelta(),
        clock=lambda: datetime.now(UTC),
    )


def furnish(tmp_path: Path) -> tuple[Path, Path]:
    path, works = tmp_path / "db" / "artbot.sqlite3", tmp_path / "works"
    with closing(open_database(path)) as database:
        add_works(database, works, NUM_SHARED + NUM_OWN * NUM_WRITERS)
    return path, works


def check(path: Path) -> None:
    with closing(open_database(path)) as database:
        assert check_logs(database) == []
        own = [d for d in deliveries(database) if d.candidate_id > NUM_SHARED]
        assert {d.state for d in own} == {"queued"}
        assert len(own) == 2 * NUM_OWN * NUM_WRITERS
        assert len(decisions(database)) >= 5 * NUM_OWN * NUM_WRITERS


def test_eight_threads_decide_at_once_without_a_lock_error(tmp_path: Path) -> None:
    path, works = furnish(tmp_path)
    results = run_at_once(*(partial(decide_much, path, works, n) for n in range(NUM_WRITERS)))
    assert all(isinstance(result, int) for result in results), results
    check(path)


def test_eight_processes_decide_at_once_without_a_lock_error(tmp_path: Path) -> None:
    path, works = furnish(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.integration.test_many_writers import decide_much; "
        "decide_much(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(path), str(works), str(writer)],
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for writer in range(NUM_WRITERS)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    check(path)

"""What the questions of every day cost in a workplace of many years.

    .venv/bin/python -m benchmarks.load [--candidates 100000] [--deliveries 20000]

Fills a database with so many rows (through its triggers: each begins in its first state and is moved on),
then asks what `artbot status`, `artbot review`, `artbot deliveries list` and the worker's sweep ask. Prints
median and worst time of 20 rounds, of the bare statements and of the whole question (rows made into
objects), and the plan of every statement. Exit code 1 if statements take longer than 100 ms.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.engine import Connection

from artbot.config import load_settings
from artbot.domain.candidate import CandidateState
from artbot.domain.delivery import FOR_EVER, SETTLED, DeliveryState
from artbot.domain.seeds import seed_for
from artbot.init import make_workplace
from artbot.publishing.channels import Outlet, Parcel, Post, Receipt, Sender, settings_models
from artbot.publishing.outbox import deliver_due, has_due, recover_interrupted
from artbot.publishing.reading import list_deliveries
from artbot.review.decisions import expire
from artbot.review.reading import list_candidates
from artbot.status import read_status
from artbot.workplace import Workplace
from db.engine import Database
from db.models import Candidate
from db.types import utc_text

ROUNDS = 20
LIMIT_MS = 100.0
PER_BATCH = 10
BEGUN = datetime(2000, 1, 1, 7, tzinfo=UTC)
CHANNELS = ("studio", "friends")
# As many years leave them: the last ones wait, the others are decided and settled.
PENDING_SHARE = 0.01
OPEN_DELIVERIES = ("queued", "retry_wait", "uncertain", "failed", "held", "dead")
NUM_OPEN_OF_EACH = 25

Row = dict[str, Any]


def fill(path: Path, num_candidates: int, num_deliveries: int) -> None:
    """Put so many candidates and deliveries, with their decisions and attempts, into an empty database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            'INSERT INTO checkpoints VALUES (?, \'flowers-000120\', \'{"dataset": {"name": "flowers"}}\', ?)',
            ("a" * 64, utc_text(BEGUN)),
        )
        num_batches = -(-num_candidates // PER_BATCH)
        _insert(connection, "batches", (_batch(n) for n in range(num_batches)))
        for state in ("generating", "ready"):
            connection.execute(
                "UPDATE batches SET state = ?, checkpoint_sha256 = ?", (state, "a" * 64)
            )
        _insert(connection, "candidates", (_candidate(n) for n in range(num_candidates)))
        connection.execute("UPDATE candidates SET state = 'pending'")
        states = _candidate_states(num_candidates, num_deliveries)
        _insert(connection, "decisions", _decisions(states))
        connection.executemany(
            "UPDATE candidates SET state = ?, approved_at = ? WHERE id = ?",
            (
                (state, utc_text(_at(n)) if state == "approved" else None, n + 1)
                for n, state in enumerate(states)
                if state != "pending"
            ),
        )
        _fill_deliveries(connection, states, num_deliveries)
        connection.execute(
            "INSERT INTO channels VALUES ('studio', 'active', ?, NULL, 0, NULL, NULL)",
            (utc_text(BEGUN),),
        )


def _at(candidate: int) -> datetime:
    return BEGUN + timedelta(days=candidate // PER_BATCH, seconds=candidate % PER_BATCH)


def _batch(n: int) -> Row:
    day = BEGUN + timedelta(days=n)
    return {
        "id": n + 1,
        "key": f"daily-{day:%Y-%m-%d}",
        "schedule": "daily",
        "local_date": f"{day:%Y-%m-%d}",
        "number": 0,
        "state": "planned",
        "num_candidates": PER_BATCH,
        "due_at": utc_text(day),
        "planned_at": utc_text(day),
    }


def _candidate(n: int) -> Row:
    batch, index = divmod(n, PER_BATCH)
    key = f"daily-{BEGUN + timedelta(days=batch):%Y-%m-%d}"
    name = f"{key}-{index + 1:02d}"
    return {
        "id": n + 1,
        "batch_id": batch + 1,
        "index": index + 1,
        "name": name,
        "seed": seed_for(key, index + 1),
        "checkpoint_sha256": "a" * 64,
        "recipe": '{"truncation_psi": 1.0, "version": 1}',
        "state": "planned",
        "row_version": 1,
        "planned_at": utc_text(_at(n)),
        "rendered_at": utc_text(_at(n)),
        "num_render_errors": 0,
        "path": f"{name[:-3]}/{name}.png",
        "width": 512,
        "height": 512,
        "num_bytes": len(_picture(n)),
        "image_sha256": hashlib.sha256(_picture(n)).hexdigest(),
        "pixel_sha256": f"{n:064x}",
        "environment": '{"device": "cpu", "dtype": "float32", "torch": "2.13"}',
        "title": f"No. {n}",
        "alt": f"Picture no. {n}, painted by a neural network that learned from flowers",
        "caption": "",
    }


def _picture(n: int) -> bytes:
    """The file of candidate `n`: nobody looks at it here."""
    return f"picture {n}".encode()


def _candidate_states(num_candidates: int, num_deliveries: int) -> list[str]:
    """Approved as often as deliveries need, evenly over the years; the last ones wait."""
    num_approved = -(-num_deliveries // len(CHANNELS))
    num_pending = int(num_candidates * PENDING_SHARE)
    every = max(1, (num_candidates - num_pending) // num_approved)
    states = []
    for n in range(num_candidates):
        if n >= num_candidates - num_pending:
            states.append("pending")
        elif n % every == 0 and n // every < num_approved:
            states.append("approved")
        else:
            states.append("expired" if n % 6 == 0 else "rejected")
    return states


def _decisions(states: Sequence[str]) -> Iterator[Row]:
    for n, state in enumerate(states):
        if state != "pending":
            yield {
                "candidate_id": n + 1,
                "was": "pending",
                "now": state,
                "image_sha256": hashlib.sha256(_picture(n)).hexdigest(),
                "by": "anna",
                "via": "cli",
                "at": utc_text(_at(n)),
            }


def _fill_deliveries(
    connection: sqlite3.Connection, states: Sequence[str], num_deliveries: int
) -> None:
    approved = [n for n, state in enumerate(states) if state == "approved"]
    pairs = [(n, channel) for n in approved for channel in CHANNELS][:num_deliveries]
    first_open = len(pairs) - NUM_OPEN_OF_EACH * len(OPEN_DELIVERIES)

    def rows() -> Iterator[Row]:
        for number, (n, channel) in enumerate(pairs, start=1):
            yield {
                "id": number,
                "candidate_id": n + 1,
                "channel": channel,
                "delivery_key": f"msg_{number:032x}",
                "state": "queued",
                "num_attempts": 1,
                "next_at": utc_text(_at(n)),
                "created_at": utc_text(_at(n)),
            }

    def attempts() -> Iterator[Row]:
        for number, (n, _) in enumerate(pairs, start=1):
            is_delivered = number <= first_open
            for outcome in ("unavailable", "delivered") if is_delivered else ("unavailable",):
                yield {
                    "delivery_id": number,
                    "started_at": utc_text(_at(n)),
                    "body_sha256": f"{number:064x}",
                    "finished_at": utc_text(_at(n)),
                    "outcome": outcome,
                    "epoch": 0,
                }

    _insert(connection, "deliveries", rows())
    _insert(connection, "attempts", attempts())
    connection.execute("UPDATE deliveries SET state = 'sending' WHERE id <= ?", (first_open,))
    connection.execute(
        "UPDATE deliveries SET state = 'delivered', delivered_at = next_at WHERE state = 'sending'"
    )
    for offset, state in enumerate(OPEN_DELIVERIES):
        start = first_open + offset * NUM_OPEN_OF_EACH
        if state == "queued":
            continue
        for step in ("sending", state) if state != "uncertain" else ("uncertain",):
            connection.execute(
                "UPDATE deliveries SET state = ?, last_error = 'no answer' WHERE id > ? AND id <= ?",
                (step, start, start + NUM_OPEN_OF_EACH),
            )


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    iterator = iter(rows)
    first = next(iterator)
    columns = ", ".join(f'"{name}"' for name in first)
    query = f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(first))})"  # noqa: S608
    connection.execute(query, tuple(first.values()))
    connection.executemany(query, (tuple(row.values()) for row in iterator))


# Asking


@dataclass
class Statements:
    """What was asked of a database."""

    queries: dict[str, Any] = field(default_factory=dict)
    """Parameters by statement, each statement once."""


@contextmanager
def watched(database: Database) -> Iterator[Statements]:
    """Collect every statement that `database` is given."""
    found = Statements()

    def before(
        _: Connection, __: Any, statement: str, parameters: Any, ___: Any, is_many: bool
    ) -> None:
        found.queries.setdefault(statement, parameters[0] if is_many else parameters)

    event.listen(database.engine, "before_cursor_execute", before)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", before)


def plan(path: Path, statement: str, parameters: Any) -> list[str]:
    """SQLite's plan of one statement: a line for each step."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return [str(row[3]) for row in rows]


class _Friend(Sender):
    """A receiver that takes everything at once."""

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        return Receipt(204, "")


def _deliver_one(workplace: Workplace) -> None:
    """Claim, attempt and answer of one delivery, each committed; without the network and the mark."""
    outlet = Outlet(lambda work: Post(picture=work.picture), _Friend, FOR_EVER)
    outbox = replace(
        workplace.outbox,
        outlets=dict.fromkeys(CHANNELS, outlet),
        before_send=lambda attempt_id: None,
    )
    sent: list[object] = []
    deliver_due(outbox, sent.append, lambda: bool(sent))
    assert sent


def questions(workplace: Workplace) -> dict[str, Callable[[], object]]:
    """What is asked every day, by name."""
    database = workplace.database
    names, now = list(workplace.settings.channels), workplace.clock()
    unsettled = [state for state in DeliveryState if state not in SETTLED]
    everything = [CandidateState.PENDING, CandidateState.APPROVED, CandidateState.REJECTED]
    return {
        "status": lambda: read_status(workplace),
        "review list": lambda: list_candidates(database, [CandidateState.PENDING]),
        "review list, one batch": lambda: list_candidates(
            database, everything, batch=f"daily-{BEGUN:%Y-%m-%d}"
        ),
        "deliveries list": lambda: list_deliveries(database, unsettled, 200),
        "deliveries list, all": lambda: list_deliveries(database, list(DeliveryState), 200),
        "sweep: is anything due": lambda: has_due(database, names, now),
        "sweep: nothing is due": lambda: has_due(database, names, BEGUN),
        "sweep: interrupted": lambda: recover_interrupted(database, {}, now),
        "sweep: expiry": lambda: expire(workplace.review, 36_500),
        "one delivery, claimed and recorded": lambda: _deliver_one(workplace),
    }


def measure(ask: Callable[[], object]) -> list[float]:
    """Milliseconds of each of ROUNDS askings."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        ask()
        found.append((time.perf_counter() - started) * 1000)
    return found


def query(path: Path, statements: Statements) -> None:
    """The bare statements, past SQLAlchemy, to the last row."""
    with closing(sqlite3.connect(path)) as connection:
        for statement, parameters in statements.queries.items():
            if is_select(statement):
                connection.execute(statement, parameters).fetchall()


def is_select(statement: str) -> bool:
    return statement.lstrip().startswith(("SELECT", "WITH"))


def open_filled(root: Path, num_candidates: int, num_deliveries: int) -> Workplace:
    """A workplace in an empty folder, with two channels and so many rows."""
    make_workplace(root)
    channels = "".join(
        f'[channels.{name}]\ntype = "webhook"\nurl = "https://example.org"\n'
        'secret_file = "secrets/webhook"\n'
        for name in CHANNELS
    )
    (root / "artbot.toml").write_text(
        f'[schedules.daily]\nat = "07:00"\ntimezone = "UTC"\n{channels}'
    )
    workplace = Workplace(load_settings(root, settings_models()))
    path = workplace.database.path
    assert path is not None
    fill(path, num_candidates, num_deliveries)
    with workplace.database.read() as session:
        for candidate in session.scalars(
            select(Candidate).where(Candidate.deliveries.any(state="queued"))
        ):
            assert candidate.path is not None
            picture = root / "works" / candidate.path
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(_picture(candidate.id - 1))
    return workplace


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--deliveries", type=int, default=20_000)
    given = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        workplace = open_filled(Path(folder) / "studio", given.candidates, given.deliveries)
        database = workplace.database
        assert database.path is not None
        size = database.path.stat().st_size / 1e6
        print(f"filled in {time.perf_counter() - started:.0f} s, {size:.0f} MB\n")
        print(
            "| question | queries, median | worst | whole, median | worst |\n|---|---|---|---|---|"
        )
        plans: dict[str, list[str]] = {}
        for name, ask in questions(workplace).items():
            with watched(database) as asked:
                ask()
            bare, whole = measure(partial(query, database.path, asked)), measure(ask)
            median = statistics.median(bare)
            print(
                f"| {name} | {median:.1f} ms | {max(bare):.1f} ms "
                f"| {statistics.median(whole):.1f} ms | {max(whole):.1f} ms |",
                flush=True,
            )
            if median > LIMIT_MS:
                slow.append(name)
            for statement, parameters in asked.queries.items():
                if is_select(statement):
                    plans[statement] = plan(database.path, statement, parameters)
        for statement, steps in plans.items():
            print(f"\n{' '.join(statement.split())[:400]}")
            for step in steps:
                print(f"    {step}")
        database.close()
    if slow:
        print(f"\nover {LIMIT_MS:.0f} ms: {', '.join(slow)}", file=sys.stderr)
    return int(bool(slow))


if __name__ == "__main__":
    raise SystemExit(main())

"""The log of decisions and interventions: only added to, and whoever changes it is found out."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from artbot.publishing.interventions import pause_channel, resolve, resume_channel, retry
from artbot.review.decisions import Author, Words, approve, reject, undo
from db import chain
from db.engine import Database, open_database
from db.models import Attempt, Decision, Delivery, Intervention
from tests.conftest import on_sqlite_only
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    SetClock,
    add_works,
    decisions,
    interventions,
    move,
)

TABLES: list[tuple[type[chain.Entry], str]] = [
    (Decision, "decisions"),
    (Intervention, "interventions"),
]


@pytest.fixture
def history(desk: Desk) -> Desk:
    """Five decisions and five interventions."""
    add_history(desk)
    return desk


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with such a history, to make copies of."""
    folder = tmp_path_factory.mktemp("history")
    desk = Desk(open_database(folder / "artbot.sqlite3"), folder / "works", SetClock())
    add_history(desk)
    desk.database.close()
    return folder / "artbot.sqlite3"


@pytest.fixture
def file(template: Path, tmp_path: Path) -> Path:
    """One to tamper with."""
    return Path(shutil.copy(template, tmp_path / "artbot.sqlite3"))


def add_history(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    approve(desk.review, one, ANNA, Words(title="Dämmerung", alt="x", caption='"3" \\ \n'))
    reject(desk.review, two, Author(by="ben", via="web"))
    undo(desk.review, two, ANNA)
    approve(desk.review, two, ANNA)
    with desk.database.write() as session:
        move(session, session.get_one(Delivery, 1), "uncertain")
    resolve(desk.database, 1, False, None, BEN, desk.clock())
    retry(desk.database, 1, BEN, desk.clock())
    pause_channel(desk.database, "studio", BEN, desk.clock())
    desk.clock.advance(microseconds=1)
    resume_channel(desk.database, "studio", BEN, desk.clock())
    pause_channel(desk.database, "studio", BEN, desk.clock())
    undo(desk.review, two, ANNA)


def first_broken(database: Database, kind: type[chain.Entry]) -> int | None:
    with database.read() as session:
        return chain.first_broken(session, kind)


def first_broken_after(file: Path, kind: type[chain.Entry], *statements: str) -> int | None:
    """Tampered with by somebody who knows how to take triggers and references out of the way."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount == 1
    database = open_database(file)
    try:
        return first_broken(database, kind)
    finally:
        database.close()


# What is written down


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_what_was_only_added_to_is_whole(
    history: Desk, kind: type[chain.Entry], table: str
) -> None:
    assert first_broken(history.database, kind) is None
    with history.database.read() as session:
        links = [row[0] for row in session.execute(text(f"SELECT chain FROM {table}"))]
    assert len(set(links)) == len(links) == 5
    assert all(len(link) == 64 for link in links)


def test_an_empty_log_is_whole(database: Database) -> None:
    assert [first_broken(database, kind) for kind, _ in TABLES] == [None, None]


def test_the_same_decision_has_another_link_after_another_past(desk: Desk) -> None:
    work, other = add_works(desk.database, desk.works, 2)
    reject(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    reject(desk.review, work, ANNA)
    first, _, third = decisions(desk.database)
    with desk.database.read() as session:
        assert chain.link(None, first, session) == first.chain
        assert chain.link(None, third, session) == chain.link(None, first, session)
    assert third.chain != first.chain
    assert other != work


def test_an_intervention_says_who_did_what_why_and_through_which_face(history: Desk) -> None:
    found = [
        (i.act, i.was, i.now, i.by, i.via, i.delivery_id) for i in interventions(history.database)
    ]
    assert found == [
        ("absent", "uncertain", "queued", "ben", "test", 1),
        ("retry", "queued", "queued", "ben", "test", 1),
        ("pause", "active", "paused", "ben", "test", None),
        ("resume", "paused", "active", "ben", "test", None),
        ("pause", "active", "paused", "ben", "test", None),
    ]
    assert {i.channel for i in interventions(history.database)} == {"studio"}


# What nobody can do by a statement


@pytest.mark.parametrize(("kind", "table"), TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET at = '2020-01-01T00:00:00.000000Z'",
        "UPDATE {table} SET reason_or_title = 'x'",
        "UPDATE {table} SET chain = NULL",
        "UPDATE {table} SET \"by\" = 'somebody else' WHERE id = 3",
        "DELETE FROM {table} WHERE id = 5",
        "DELETE FROM {table}",
    ],
)
def test_the_past_is_neither_changed_nor_removed(
    history: Desk, kind: type[chain.Entry], table: str, statement: str
) -> None:
    column = "title" if table == "decisions" else "reason"
    typed = statement.format(table=table).replace("reason_or_title", column)
    with (
        pytest.raises(IntegrityError, match=f"{table} are only ever added to"),
        history.database.write() as session,
    ):
        session.execute(text(typed))
    assert first_broken(history.database, kind) is None


@on_sqlite_only
@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_nor_is_it_replaced(history: Desk, kind: type[chain.Entry], table: str) -> None:
    """SQLite's REPLACE removes the old row, by default without asking the triggers."""
    columns = ", ".join(f'"{c.name}"' for c in kind.__table__.columns)
    forged = columns.replace('"by"', "'somebody else'")
    with (
        pytest.raises(IntegrityError, match=f"{table} are only ever added to"),
        history.database.write() as session,
    ):
        session.execute(
            text(f"INSERT OR REPLACE INTO {table} ({columns}) SELECT {forged} FROM {table}")
        )
    assert first_broken(history.database, kind) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE attempts SET outcome = 'rejected' WHERE id = 2",
        "UPDATE attempts SET detail = '' WHERE id = 2",
        "UPDATE attempts SET outcome = NULL WHERE id = 2",
        "UPDATE attempts SET delivery_id = 2",
        "DELETE FROM attempts WHERE id = 1",
    ],
)
def test_an_attempt_is_closed_once_and_then_stays(history: Desk, statement: str) -> None:
    def attempt(outcome: str | None) -> Attempt:
        return Attempt(delivery_id=1, started_at=NOON, body_sha256="0" * 64, outcome=outcome)

    with history.database.write() as session:
        session.add_all([attempt(None), attempt("unknown")])
    with (
        pytest.raises(IntegrityError, match=r"an attempt that ended never changes|only ever added"),
        history.database.write() as session,
    ):
        session.execute(text(statement))
    with history.database.write() as session:
        session.execute(text("UPDATE attempts SET outcome = 'unknown' WHERE id = 1"))


# What is found out all the same

FORGERIES: dict[str, dict[str, Any]] = {
    "decisions": {
        "candidate_id": 1,
        "was": "'approved'",
        "now": "'rejected'",
        "undoes": "NULL",
        "image_sha256": "'another'",
        "title": "'another'",
        "alt": "'another'",
        "caption": "'another'",
        "hashtags": "'another'",
        "warning": "'another'",
        "language": "'another'",
        "stars": 5,
        "channels": "'another'",
        '"by"': "'another'",
        "via": "'another'",
        "at": "'2026-11-21T12:00:00.000002Z'",
        "chain": "'" + "0" * 64 + "'",
    },
    "interventions": {
        "act": "'replay'",
        "channel": "'another'",
        "delivery_id": 2,
        "was": "'another'",
        "now": "'another'",
        "reason": "'another'",
        '"by"': "'another'",
        "via": "'another'",
        "at": "'2026-11-21T12:00:00.000002Z'",
        "chain": "NULL",
    },
}


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_every_column_counts(history: Desk, kind: type[chain.Entry], table: str) -> None:
    """All but the number and the link itself; a column that is added later must be added here."""
    columns = {column.name for column in kind.__table__.columns} - {"id"}
    assert {name.strip('"') for name in FORGERIES[table]} == columns


@pytest.mark.parametrize(
    ("kind", "table", "column"),
    [(kind, table, column) for kind, table in TABLES for column in FORGERIES[table]],
)
def test_a_changed_row_is_found_whatever_was_changed(
    file: Path, kind: type[chain.Entry], table: str, column: str
) -> None:
    forgery = f"UPDATE {table} SET {column} = {FORGERIES[table][column]} WHERE id = 3"
    assert first_broken_after(file, kind, forgery) == 3


@pytest.mark.parametrize(("kind", "table"), TABLES)
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_a_changed_row_is_found_wherever_it_is(
    file: Path, kind: type[chain.Entry], table: str, number: int
) -> None:
    forgery = f"UPDATE {table} SET via = 'x' WHERE id = {number}"
    assert first_broken_after(file, kind, forgery) == number


@pytest.mark.parametrize(("kind", "table"), TABLES)
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_row_taken_out_is_found_by_the_one_after_it(
    file: Path, kind: type[chain.Entry], table: str, number: int
) -> None:
    forgery = f"DELETE FROM {table} WHERE id = {number}"
    assert first_broken_after(file, kind, forgery) == number + 1


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_two_rows_that_changed_places_are_found(
    file: Path, kind: type[chain.Entry], table: str
) -> None:
    moves = ((4, 99), (5, 4), (99, 5))
    forgery = [f"UPDATE {table} SET id = {to} WHERE id = {was}" for was, to in moves]
    assert first_broken_after(file, kind, *forgery) == 4


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_links_taken_away_from_the_first_rows_are_missed_by_the_next(
    file: Path, kind: type[chain.Entry], table: str
) -> None:
    """Rows without a link are passed over at the beginning, where they are older than the chain."""
    forgery = [f"UPDATE {table} SET chain = NULL WHERE id = {number}" for number in (1, 2)]
    assert first_broken_after(file, kind, *forgery) == 3


@pytest.mark.parametrize(("kind", "table"), TABLES)
def test_a_row_slipped_in_at_the_end_without_its_link_is_found(
    history: Desk, kind: type[chain.Entry], table: str
) -> None:
    columns = [c.name for c in kind.__table__.columns if c.name not in ("id", "chain", "undoes")]
    listed = ", ".join(f'"{name}"' for name in columns)
    with history.database.write() as session:
        session.execute(
            text(f"INSERT INTO {table} ({listed}) SELECT {listed} FROM {table} WHERE id = 1")
        )
    assert first_broken(history.database, kind) == 6


def test_rows_older_than_the_chain_are_passed_over_but_only_before_its_first_link(
    desk: Desk,
) -> None:
    work, other = add_works(desk.database, desk.works, 2)

    def add_unlinked() -> None:
        with desk.database.write() as session:
            session.add(
                Decision(
                    candidate_id=work,
                    was="pending",
                    now="pending",
                    by="a",
                    via="b",
                    at=NOON - timedelta(days=1),
                )
            )

    add_unlinked()
    add_unlinked()
    reject(desk.review, other, ANNA)
    assert first_broken(desk.database, Decision) is None
    add_unlinked()
    assert first_broken(desk.database, Decision) == 4


def test_a_decision_written_twice_in_one_transaction_makes_two_links(desk: Desk) -> None:
    work, _ = add_works(desk.database, desk.works, 2)
    with desk.database.write() as session:
        for _ in range(3):
            chain.append(
                session,
                Decision(candidate_id=work, was="pending", now="pending", by="a", via="b", at=NOON),
            )
    assert first_broken(desk.database, Decision) is None
    assert len({row.chain for row in decisions(desk.database)}) == 3

"""The database: its schema, its rules, and that writers wait for each other."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError, StatementError

import db
from artbot.domain.delivery import FOR_EVER
from artbot.errors import NotAllowed, Unavailable
from artbot.publishing.acts import log_of_channel
from artbot.publishing.outbox import recover_interrupted
from artbot.publishing.standing import note_failure
from artbot.review.decisions import approve, give_stars, put_off, redo, reject, undo
from artbot.upkeep.doctor import check_logs
from db import chain
from db.engine import (
    HEAD,
    Database,
    DatabaseUnusable,
    database_url,
    make_engine,
    migrate,
    open_database,
)
from db.models import Base, Batch, Candidate, Checkpoint, Decision, Delivery, Intervention
from db.triggers import TRIGGERS, triggers_of
from tests.conftest import on_sqlite_only
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    SetClock,
    Stateful,
    a_batch,
    a_checkpoint,
    add_works,
    candidate,
    interventions,
    put,
    run_at_once,
    workplace_row,
    write_as_of,
)

MIGRATIONS = Path(db.__file__).parent / "migrations"


def pragma(database: Database, name: str) -> object:
    with database.read() as session:
        return session.execute(text(f"PRAGMA {name}")).scalar()


# Schema


def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_write_the_same_checks_as_the_models(tmp_path: Path) -> None:
    """Alembic does not compare CHECK constraints; the words of both schemas are compared here."""

    def checks(database: Database) -> dict[str, set[str]]:
        with database.read() as session:
            rows = session.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
            return {
                name: {
                    " ".join(line.strip(" ,\t").split())
                    for line in sql.splitlines()
                    if "CONSTRAINT" in line
                }
                for name, sql in rows
                if name != "alembic_version"
            }

    migrated = open_database(tmp_path / "migrated.sqlite3")
    made = open_database(tmp_path / "made.sqlite3")
    with made.engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    found = checks(migrated)
    assert found == checks(made)
    assert any("CHECK" in line for line in found["candidates"])


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_an_existing_database_is_opened_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "artbot.sqlite3"
    first = open_database(path)
    add_works(first, tmp_path, 2)
    first.close()
    again = open_database(path)
    assert candidate(again, 2).name == "daily-2026-11-21-02"


@pytest.mark.parametrize("left", [None, b""])
def test_where_one_must_be_none_is_made(tmp_path: Path, left: bytes | None) -> None:
    path = tmp_path / "artbot.sqlite3"
    if left is not None:
        path.write_bytes(left)
    with pytest.raises(FileNotFoundError, match=r"there is no database: .*artbot\.sqlite3"):
        open_database(path, may_create=False)
    assert (path.read_bytes() if path.exists() else None) == left
    open_database(path).close()
    open_database(path, may_create=False).close()


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from db.engine import open_database\n"
        "import alembic.command, alembic.config\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "open_database(Path(sys.argv[1]))"
    )
    path = tmp_path / "db" / "artbot.sqlite3"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    with open_database(path).read() as session:
        assert session.execute(text("SELECT version_num FROM alembic_version")).all() == [(HEAD,)]


def test_four_threads_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    opened = run_at_once(*[lambda: open_database(tmp_path / "artbot.sqlite3")] * 4)
    assert [o for o in opened if not isinstance(o, Database)] == []


def test_a_database_of_a_newer_artbot_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "artbot.sqlite3"
    database = open_database(path)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match=r"revision 9999.*newer artbot.*Update artbot"):
        open_database(path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.before-*")), "nothing to copy: it is not ours to migrate"


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "artbot.sqlite3"
    path.write_text("dear diary, " * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        open_database(path)
    assert path.read_text() == "dear diary, " * 100


# How it writes


@on_sqlite_only
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("foreign_keys", 1),
        ("synchronous", 3),
        ("journal_mode", "delete"),
        ("busy_timeout", 10_000),
        ("trusted_schema", 0),
        ("recursive_triggers", 1),
    ],
)
def test_every_connection_is_prepared(database: Database, name: str, expected: object) -> None:
    assert pragma(database, name) == expected


def test_eight_threads_lose_no_update_and_meet_no_lock(database: Database, tmp_path: Path) -> None:
    """On SQLite with a plain BEGIN most fail at once: a reader cannot become a writer any more."""
    (work,) = add_works(database, tmp_path)

    def raise_version() -> None:
        for _ in range(50):
            with database.write() as session:
                row = session.get_one(Candidate, work)
                row.row_version = row.row_version + 1

    assert run_at_once(*[raise_version] * 8) == [None] * 8
    assert candidate(database, work).row_version == 1 + 8 * 50


def test_an_error_takes_the_whole_transaction_back(database: Database) -> None:
    def fail_half_way() -> None:
        with database.write() as session:
            session.add(a_checkpoint())
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    with database.read() as session:
        assert session.query(Checkpoint).count() == 0


def test_a_reader_sees_one_moment_and_is_not_stopped_by_an_open_write(
    database: Database, tmp_path: Path
) -> None:
    (work,) = add_works(database, tmp_path)
    with database.write() as writing:
        writing.get_one(Candidate, work).title = "later"
        with database.read() as reading:
            assert reading.get_one(Candidate, work).title is None


def test_objects_stay_usable_after_their_session(database: Database, tmp_path: Path) -> None:
    (work,) = add_works(database, tmp_path)
    with database.write() as session:
        row = session.get_one(Candidate, work)
        row.title = "Dusk"
    assert (row.title, row.name) == ("Dusk", "daily-2026-11-21-01")


# Types


def test_a_time_comes_back_as_the_same_moment_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 29, 3, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    batch = a_batch(state="planned")
    batch.due_at = moment
    with database.write() as session:
        session.add(batch)
    with database.read() as session:
        found = session.query(Batch).one()
        stored = session.execute(text("SELECT due_at, local_date FROM batches")).one()
    assert found.due_at == moment
    assert found.due_at.utcoffset() == timedelta(0)
    assert found.local_date == date(2026, 11, 21)
    assert stored == ("2026-03-29T01:30:00.123456Z", "2026-11-21")


def test_times_sort_as_text(database: Database) -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=n) for n in (0, 1, 10**6)]
    from db.types import utc_text

    assert sorted(map(utc_text, moments)) == [utc_text(m) for m in moments]


def test_a_naive_time_is_refused(database: Database) -> None:
    batch = a_batch(state="planned")
    batch.due_at = datetime(2026, 11, 21, 7)
    with pytest.raises(StatementError, match="naive datetime"), database.write() as session:
        session.add(batch)


def test_a_naive_time_is_refused_in_a_question_too(database: Database) -> None:
    naive = datetime(2026, 11, 21, 7)
    with pytest.raises(StatementError, match="naive"), database.read() as session:
        session.query(Batch).filter(Batch.due_at < naive).all()


def test_json_comes_back_as_it_was(database: Database) -> None:
    facts: dict[str, Any] = {"z": [1, 2.5, None], "ä": {"b": True}, "seed": 2**53 - 1}
    with database.write() as session:
        session.add(Checkpoint(sha256="d" * 64, name="x", manifest=facts, first_used_at=NOON))
    with database.read() as session:
        assert session.get_one(Checkpoint, "d" * 64).manifest == facts


def test_the_largest_seed_is_kept_exactly(database: Database, tmp_path: Path) -> None:
    (work,) = add_works(database, tmp_path)
    with database.write() as session:
        first = session.get_one(Candidate, work)
        facts = {name: getattr(first, name) for name in ("batch_id", "checkpoint_sha256", "recipe")}
        put(
            session,
            Candidate(**facts, index=2, name="b", seed=2**53 - 1, state="planned", planned_at=NOON),
        )
    assert candidate(database, work + 1).seed == 2**53 - 1


# What it refuses


def refuses(database: Database, constraint: str, *rows: Base) -> None:
    """`constraint` is part of what SQLite says, or PostgreSQL."""
    with pytest.raises(IntegrityError, match=constraint):
        insert(database, *rows)


def insert(database: Database, *rows: Base) -> None:
    with database.write() as session:
        for row in rows:
            if isinstance(row, Stateful):
                put(session, row)
            else:
                session.add(row)


def test_a_schedule_has_one_batch_of_its_own_per_day(database: Database) -> None:
    with database.write() as session:
        session.add(a_batch(state="planned"))
    other = a_batch(state="planned")
    other.key = "another-key"
    refuses(database, r"\.schedule, .*\.number|uq_batches_schedule_local_date_number", other)


def test_a_skipped_day_has_a_reason(database: Database) -> None:
    batch = a_batch(state="skipped")
    batch.reason = None
    refuses(database, "skipped_has_reason", batch)


def test_a_batch_that_is_made_has_its_checkpoint(database: Database) -> None:
    batch = a_batch(state="generating")
    batch.checkpoint_sha256 = None
    refuses(database, "made_from_checkpoint", batch)


def test_a_checkpoint_that_is_named_exists(database: Database) -> None:
    refuses(database, "FOREIGN KEY|foreign key", a_batch(state="ready"))


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE candidates SET state = 'approved'", "approved_has_time"),
        ("UPDATE candidates SET state = 'published'", "no such move of a candidate"),
        ("UPDATE candidates SET path = NULL", "seen_has_picture"),
        ("UPDATE candidates SET image_sha256 = NULL", "seen_has_picture"),
        ("UPDATE batches SET state = 'done'", "no such move of a batch"),
        ('UPDATE candidates SET "index" = 7', 'candidates.index|uq_candidates_batch_id_index'),
        ("UPDATE candidates SET name = 'another'", "made from never changes"),
        ("UPDATE candidates SET seed = 1", "made from never changes"),
        ("UPDATE candidates SET checkpoint_sha256 = 'f'", "made from never changes"),
        ("UPDATE candidates SET recipe = '{}'", "made from never changes"),
        ("UPDATE candidates SET batch_id = 2", "made from never changes"),
        ("DELETE FROM candidates", "candidates are never removed"),
        ("DELETE FROM batches", "a batch that was begun is never removed"),
        ("DELETE FROM checkpoints", "FOREIGN KEY|foreign key"),
        ("INSERT INTO workplace SELECT 2, 'a', 'b', NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM workplace",
         "one_row"),
    ],
)  # fmt: skip
def test_even_a_statement_typed_by_hand_keeps_the_rules(
    database: Database, tmp_path: Path, statement: str, constraint: str
) -> None:
    add_works(database, tmp_path, 2)
    with pytest.raises(IntegrityError, match=constraint), database.write() as session:
        session.execute(text(statement))


def a_delivery(work: int, **values: object) -> Delivery:
    facts: dict[str, object] = {
        "candidate_id": work,
        "channel": "studio",
        "delivery_key": "msg_1",
        "state": "queued",
        "next_at": NOON,
        "created_at": NOON,
    }
    return Delivery(**{**facts, **values})


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"delivery_key": "msg_2"}, r"deliveries\.channel|uq_deliveries_candidate_id_channel"),
        ({"channel": "other"}, r"deliveries[._]delivery_key"),
        ({"channel": "o", "delivery_key": "k", "state": "delivered"}, "delivered_has_time"),
        ({"channel": "o", "delivery_key": "k", "candidate_id": 99}, "FOREIGN KEY|foreign key"),
    ],
)
def test_a_work_has_one_delivery_per_channel_and_each_its_key(
    database: Database, tmp_path: Path, values: dict[str, object], constraint: str
) -> None:
    (work,) = add_works(database, tmp_path)
    with database.write() as session:
        put(session, a_delivery(work))
    refuses(database, constraint, a_delivery(work, **values))


def test_a_decision_is_undone_once(database: Database, tmp_path: Path) -> None:
    (work,) = add_works(database, tmp_path)

    def decision(undoes: int | None) -> Decision:
        return Decision(
            candidate_id=work,
            was="pending",
            now="rejected",
            undoes=undoes,
            by="a",
            via="t",
            at=NOON,
        )

    with database.write() as session:
        session.add(decision(None))
        session.flush()
        session.add(decision(1))
    refuses(database, r"decisions[._]undoes", decision(1))


# Migrating what people have

ROWS_OF_0001 = """
INSERT INTO checkpoints VALUES ('aa', 'flowers', '{"dataset": {"name": "flowers"}}', '2026-11-20T07:00:00.000000Z');
INSERT INTO batches (id, key, schedule, local_date, number, state, num_candidates, due_at, planned_at, finished_at, checkpoint_sha256, reason) VALUES
    (1, 'daily-2026-11-18', 'daily', '2026-11-18', 0, 'skipped', 5, '2026-11-18T07:00:00.000000Z', '2026-11-20T07:00:00.000000Z', NULL, NULL, 'it rained'),
    (2, 'daily-2026-11-20', 'daily', '2026-11-20', 0, 'ready', 5, '2026-11-20T07:00:00.000000Z', '2026-11-20T07:00:00.000000Z', '2026-11-20T07:01:00.000000Z', 'aa', NULL);
INSERT INTO candidates (id, batch_id, "index", name, seed, checkpoint_sha256, recipe, state, row_version, planned_at, num_render_errors, path, image_sha256, pixel_sha256, rendered_at, approved_at, error) VALUES
    (1, 2, 1, 'one', 11, 'aa', '{}', 'approved', 2, '2026-11-20T07:00:00.000000Z', 0, 'b/1.png', 'i1', 'p1', '2026-11-20T07:00:01.000000Z', '2026-11-20T08:00:00.000000Z', NULL),
    (2, 2, 2, 'two', 12, 'aa', '{}', 'rejected', 4, '2026-11-20T07:00:00.000000Z', 0, 'b/2.png', 'i2', 'p2', '2026-11-20T07:00:01.000000Z', NULL, NULL),
    (3, 2, 3, 'three', 13, 'aa', '{}', 'pending', 1, '2026-11-20T07:00:00.000000Z', 0, 'b/3.png', 'i3', 'p3', '2026-11-20T07:00:01.000000Z', NULL, NULL),
    (4, 2, 4, 'four', 14, 'aa', '{}', 'failed', 1, '2026-11-20T07:00:00.000000Z', 3, NULL, NULL, NULL, NULL, NULL, 'no memory'),
    (5, 2, 5, 'five', 9007199254740991, 'aa', '{"class": "Blüte"}', 'planned', 1, '2026-11-20T07:00:00.000000Z', 0, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO decisions (id, candidate_id, was, now, undoes, "by", via, at) VALUES
    (1, 1, 'pending', 'approved', NULL, 'anna', 'cli', '2026-11-20T08:00:00.000000Z'),
    (2, 2, 'pending', 'rejected', NULL, 'anna', 'cli', '2026-11-20T08:00:01.000000Z'),
    (3, 2, 'rejected', 'pending', 2, 'anna', 'cli', '2026-11-20T08:00:02.000000Z'),
    (7, 2, 'pending', 'rejected', NULL, 'anna', 'cli', '2026-11-20T08:00:03.000000Z');
INSERT INTO deliveries (id, candidate_id, channel, delivery_key, state, num_attempts, next_at, created_at, delivered_at, last_error) VALUES
    (1, 1, 'a', 'msg_1', 'delivered', 2, '2026-11-20T08:10:00.000000Z', '2026-11-20T08:00:00.000000Z', '2026-11-20T08:10:05.000000Z', NULL),
    (2, 1, 'b', 'msg_2', 'retry_wait', 1, '2026-11-21T08:10:00.000000Z', '2026-11-20T08:00:00.000000Z', NULL, 'answered 503'),
    (3, 1, 'c', 'msg_3', 'failed', 1, '2026-11-20T08:10:00.000000Z', '2026-11-20T08:00:00.000000Z', NULL, 'answered 422'),
    (4, 1, 'd', 'msg_4', 'sending', 1, '2026-11-20T08:10:00.000000Z', '2026-11-20T08:00:00.000000Z', NULL, NULL),
    (5, 1, 'e', 'msg_5', 'cancelled', 0, '2026-11-20T08:10:00.000000Z', '2026-11-20T08:00:00.000000Z', NULL, NULL),
    (6, 1, 'f', 'msg_6', 'queued', 0, '2026-11-20T08:10:00.000000Z', '2026-11-20T08:00:00.000000Z', NULL, NULL);
INSERT INTO attempts (id, delivery_id, started_at, body_sha256, finished_at, outcome, status, detail) VALUES
    (1, 1, '2026-11-20T08:10:00.000000Z', 'x', '2026-11-20T08:10:01.000000Z', 'unknown', NULL, 'no answer'),
    (2, 1, '2026-11-20T08:10:05.000000Z', 'x', '2026-11-20T08:10:05.000000Z', 'delivered', 200, 'ok'),
    (3, 2, '2026-11-20T08:10:00.000000Z', 'x', '2026-11-20T08:10:01.000000Z', 'unavailable', 503, NULL),
    (4, 3, '2026-11-20T08:10:00.000000Z', 'x', '2026-11-20T08:10:01.000000Z', 'rejected', 422, NULL),
    (5, 4, '2026-11-20T08:10:00.000000Z', 'x', NULL, NULL, NULL, NULL);
"""
TABLES_OF_0001 = ("checkpoints", "batches", "candidates", "decisions", "deliveries", "attempts")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as the first artbot left it, with a row in every state."""
    path = tmp_path / "old" / "artbot.sqlite3"
    path.parent.mkdir()
    engine = make_engine(database_url(path))
    migrate(engine, "0001")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("PRAGMA foreign_keys=ON;" + ROWS_OF_0001)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    return path


def rows_of(path: Path, columns: dict[str, list[str]] | None = None) -> dict[str, list[object]]:
    """Every row of the first artbot's tables; of `columns`, or of all there are."""
    found: dict[str, list[object]] = {}
    with closing(sqlite3.connect(path)) as connection:
        for table in TABLES_OF_0001:
            wanted = columns[table] if columns else columns_of(connection, table)
            listed = ", ".join(f'"{column}"' for column in wanted)
            found[table] = connection.execute(f"SELECT {listed} FROM {table} ORDER BY 1").fetchall()
    return found


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def old_columns(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return {table: columns_of(connection, table) for table in TABLES_OF_0001}


def version_of(path: Path) -> object:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]


def test_a_database_of_the_first_artbot_keeps_every_row_and_every_reference(old: Path) -> None:
    columns, before = old_columns(old), rows_of(old)
    database = open_database(old)
    assert rows_of(old, columns) == before
    assert all(before.values())
    with database.write() as session:
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        assert session.get_one(Delivery, 1).candidate.decisions[0].by == "anna"
        assert session.get_one(Delivery, 4).attempts[0].epoch == 0
        assert session.query(Delivery.on_hold).distinct().all() == [(False,)]
        parents = session.query(Candidate.parent_id, Candidate.other_parent_id)
        assert parents.distinct().all() == [(None, None)]
    for table, column, bad in (
        ("attempts", "delivery_id", 99),
        ("decisions", "candidate_id", 99),
        ("candidates", "batch_id", 99),
        ("candidates", "parent_id", 99),
        ("candidates", "other_parent_id", 99),
    ):
        with closing(sqlite3.connect(old)) as connection:
            sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,))
            assert "new_" not in sql.fetchone()[0], f"{table} refers to a table that is gone"
            keys = connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
            assert column in {key[3] for key in keys}, bad


def test_what_was_decided_under_the_first_artbot_goes_on_under_this_one(old: Path) -> None:
    database = open_database(old)
    desk = Desk(database, old.parent / "works", SetClock(), channels=("a",))
    assert recover_interrupted(database, {"d": FOR_EVER}, NOON) == 1
    undo(desk.review, 2, ANNA)
    reject(desk.review, 3, ANNA)
    with pytest.raises(NotAllowed, match="already gone out to a, d"):
        undo(desk.review, 1, ANNA)
    with database.read() as session:
        states = [row.state for row in session.query(Candidate).order_by(Candidate.id)]
        assert states == ["approved", "pending", "rejected", "failed", "planned"]
        assert session.get_one(Delivery, 4).state == "retry_wait"
        assert [row.chain is None for row in session.query(Decision)] == [True] * 4 + [False] * 2
        assert chain.first_broken(session, Decision) is None


Entries = list[tuple[object, ...]]


def entries(database: Database) -> Entries:
    columns = Intervention.__table__.columns.keys()
    return [tuple(getattr(i, name) for name in columns) for i in interventions(database)]


def write_log_of_0002(where: Path | str) -> Entries:
    """A database of the second schema, in which a channel was dealt with."""
    engine = make_engine(database_url(where))
    migrate(engine, "0002")
    with closing(Database(engine)) as database:
        with database.write() as session:
            log_of_channel(session, "pause", BEN, NOON, "studio", "active", "paused")
            log_of_channel(session, "resume", BEN, NOON, "studio", "paused", "active")
        return entries(database)


def check_log_goes_on(where: Path | str, before: Entries) -> None:
    """Nothing of it is lost or can be changed, and it takes what the second schema did not know."""
    with closing(open_database(where)) as database:
        assert entries(database) == before
        with database.write() as session:
            note_failure(session, "studio", Unavailable("busy", retry_after_s=600.0), NOON)
            log_of_channel(session, "move", BEN, NOON, "studio", "active", "active")
        assert [i.act for i in interventions(database)] == ["pause", "resume", "rest", "move"]
        with database.read() as session:
            assert chain.first_broken(session, Intervention) is None
        for statement in ("UPDATE interventions SET reason = 'x'", "DELETE FROM interventions"):
            with (
                pytest.raises(IntegrityError, match="only ever added to"),
                database.write() as session,
            ):
                session.execute(text(statement))


def test_a_log_of_the_second_schema_goes_on_under_this_one(tmp_path: Path) -> None:
    path = tmp_path / "artbot.sqlite3"
    check_log_goes_on(path, write_log_of_0002(path))
    assert version_of(path) == HEAD
    assert version_of(path.with_name(f"{path.name}.before-{HEAD}")) == "0002"


def test_decisions_of_the_sixth_schema_go_on_under_this_one(
    database_kind: str, database_at: Path | str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """None of them said anything of stars and channels, and their links stay as they are."""
    if database_kind == "postgresql":
        server = request.getfixturevalue("postgresql")
        database_at = server.url(server.create())
    works = tmp_path / "works"
    with closing(open_database(tmp_path / "source.sqlite3")) as source:
        before = Desk(source, works, SetClock(), channels=("a",))
        one, two, three = add_works(source, works, 3)
        for act in (approve, undo, approve):
            act(before.review, one, ANNA)
        for act in (reject, undo):
            act(before.review, two, ANNA)
        write_as_of("0006", source, database_at)
    desk = replace(before, database=open_database(database_at))
    with closing(desk.database):
        with desk.database.read() as session:
            assert [row.stars for row in session.query(Candidate)] == [0, 0, 0]
            found = session.query(Decision).order_by(Decision.id).all()
            assert [(row.stars, row.channels) for row in found] == [(None, None)] * 5
            assert chain.first_broken(session, Decision) is None
        assert redo(desk.review, two, ANNA).state == "rejected"
        undo(desk.review, one, ANNA)
        assert redo(desk.review, one, ANNA).state == "approved"
        assert put_off(desk.review, three, ANNA).state == "later"
        assert give_stars(desk.review, one, 5, ANNA).stars == 5
        assert undo(desk.review, one, ANNA).stars == 0
        for statement, refused in (
            (f"UPDATE candidates SET stars = 6 WHERE id = {one}", "ck_candidates_stars"),
            (f"UPDATE candidates SET state = 'failed' WHERE id = {three}", "no such move"),
            ("UPDATE decisions SET stars = 1", "only ever added to"),
        ):
            with pytest.raises(IntegrityError, match=refused), desk.database.write() as session:
                session.execute(text(statement))
        assert check_logs(desk.database) == []


def test_before_it_is_migrated_a_file_is_copied_as_it_was(old: Path) -> None:
    before = rows_of(old)
    open_database(old)
    copy = old.with_name(f"artbot.sqlite3.before-{HEAD}")
    assert (version_of(copy), rows_of(copy)) == ("0001", before)
    assert version_of(old) == HEAD
    assert sorted(file.name for file in old.parent.iterdir()) == [old.name, copy.name]


def test_a_new_file_is_not_copied_and_one_at_head_neither(tmp_path: Path) -> None:
    path = tmp_path / "artbot.sqlite3"
    for _ in range(2):
        open_database(path).close()
    migrate(make_engine(database_url(path)))
    assert list(tmp_path.iterdir()) == [path]


def test_a_migration_that_fails_half_way_leaves_everything_as_it_was_and_can_be_begun_again(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(old)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Operations, "bulk_insert", fail)  # near the end of it
        with pytest.raises(OSError, match="disk full"):
            open_database(old)
    assert (version_of(old), rows_of(old)) == ("0001", before)
    with closing(sqlite3.connect(old)) as connection:
        (tables,) = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name LIKE 'new_%' OR name = 'workplace'"
        ).fetchone()
    assert tables == 0
    copy = old.with_name(f"artbot.sqlite3.before-{HEAD}")
    first_copy = copy.read_bytes()
    open_database(old)
    assert (version_of(old), copy.read_bytes()) == (HEAD, first_copy)


def test_four_threads_may_open_an_old_database_at_once_and_the_copy_is_the_old_one(
    old: Path,
) -> None:
    before = rows_of(old)
    opened = run_at_once(*[lambda: open_database(old)] * 4)
    assert [o for o in opened if not isinstance(o, Database)] == []
    copy = old.with_name(f"artbot.sqlite3.before-{HEAD}")
    assert (version_of(copy), rows_of(copy)) == ("0001", before)
    assert len(list(old.parent.iterdir())) == 2


def test_a_copy_cut_off_by_a_power_cut_is_made_anew(old: Path) -> None:
    old.with_name(f"artbot.sqlite3.before-{HEAD}.tmp").write_bytes(b"half a copy")
    before = rows_of(old)
    open_database(old)
    assert rows_of(old.with_name(f"artbot.sqlite3.before-{HEAD}")) == before
    assert len(list(old.parent.iterdir())) == 2


def test_the_workplace_has_an_identity_of_its_own_from_the_start(tmp_path: Path) -> None:
    one, two = (workplace_row(open_database(tmp_path / name)) for name in ("one", "two"))
    assert len(one.workplace_id) == 32
    assert {one.workplace_id, one.generation} & {two.workplace_id, two.generation} == set()
    assert (one.epoch, one.restored_at, one.leased_until) == (0, None, None)


# The file itself


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_is_removed_or_replaced_while_in_use_is_neither_read_nor_written(
    tmp_path: Path, replaced: bool
) -> None:
    """SQLite goes on with the nameless file: every decision from then on would be lost."""
    path = tmp_path / "artbot.sqlite3"
    database = open_database(path)
    add_works(database, tmp_path)
    path.rename(tmp_path / "away.sqlite3")
    if replaced:
        open_database(path).close()
    for session in (database.read, database.write):
        with pytest.raises(DatabaseUnusable, match=r"artbot\.sqlite3 was removed or replaced"):
            session().__enter__()


def test_a_sqlite_that_is_too_old_is_refused_before_the_file_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(RuntimeError, match=r"SQLite is 3\.34\.1; artbot needs 3\.35\.0 or newer"):
        open_database(tmp_path / "artbot.sqlite3")
    assert not (tmp_path / "artbot.sqlite3").exists()


def test_after_a_disk_that_failed_a_write_the_process_does_not_go_on(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            session.add(a_checkpoint())
            session.flush()
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    with pytest.raises(DatabaseUnusable, match="the disk failed a write: disk I/O error"):
        fail()
    with database.read() as session:
        assert session.query(Checkpoint).count() == 0


def test_a_lock_that_is_held_too_long_is_no_reason_to_give_the_database_up(
    database: Database,
) -> None:
    with (
        pytest.raises(OperationalError, match="database is locked"),
        database.write(),
    ):
        raise OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))


def test_the_list_of_triggers_is_what_the_migrations_make(database: Database) -> None:
    assert triggers_of(database) == TRIGGERS[database.engine.dialect.name]

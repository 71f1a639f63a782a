"""The database: its schema, its rules, and that writers wait for each other."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError, StatementError

import db
from db.engine import HEAD, Database, open_database
from db.models import Base, Batch, Candidate, Checkpoint, Decision, Delivery
from tests.unit.service.kit import (
    NOON,
    a_batch,
    a_checkpoint,
    add_works,
    candidate,
    run_at_once,
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
        _, errors = process.communicate(timeout=30)
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


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "artbot.sqlite3"
    path.write_text("dear diary, " * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        open_database(path)
    assert path.read_text() == "dear diary, " * 100


# How it writes


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("foreign_keys", 1),
        ("synchronous", 2),
        ("journal_mode", "delete"),
        ("busy_timeout", 10_000),
        ("trusted_schema", 0),
    ],
)
def test_every_connection_is_prepared(database: Database, name: str, expected: object) -> None:
    assert pragma(database, name) == expected


def test_eight_threads_lose_no_update_and_meet_no_lock(database: Database, tmp_path: Path) -> None:
    """With a plain BEGIN most of these fail at once: a reader cannot become a writer any more."""
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
        session.get_one(Candidate, work).seed = 2**53 - 1
    assert candidate(database, work).seed == 2**53 - 1


# What it refuses


def refuses(database: Database, constraint: str, *rows: Base) -> None:
    with pytest.raises(IntegrityError, match=constraint), database.write() as session:
        session.add_all(rows)


def test_a_schedule_has_one_batch_of_its_own_per_day(database: Database) -> None:
    with database.write() as session:
        session.add(a_batch(state="planned"))
    other = a_batch(state="planned")
    other.key = "another-key"
    refuses(database, r"batches\.schedule, batches\.local_date, batches\.number", other)


def test_a_skipped_day_has_a_reason(database: Database) -> None:
    batch = a_batch(state="skipped")
    batch.reason = None
    refuses(database, "skipped_has_reason", batch)


def test_a_batch_that_is_made_has_its_checkpoint(database: Database) -> None:
    batch = a_batch(state="generating")
    batch.checkpoint_sha256 = None
    refuses(database, "made_from_checkpoint", batch)


def test_a_checkpoint_that_is_named_exists(database: Database) -> None:
    refuses(database, "FOREIGN KEY", a_batch(state="ready"))


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE candidates SET state = 'approved'", "approved_has_time"),
        ("UPDATE candidates SET state = 'published'", "ck_candidates_state"),
        ("UPDATE candidates SET path = NULL", "seen_has_picture"),
        ("UPDATE candidates SET image_sha256 = NULL", "seen_has_picture"),
        ("UPDATE batches SET state = 'done'", "ck_batches_state"),
        ("UPDATE candidates SET name = 'one name for two'", "candidates.name"),
        ('UPDATE candidates SET "index" = 7', 'candidates.index'),
        ("DELETE FROM batches", "FOREIGN KEY"),
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
        ({"delivery_key": "msg_2"}, r"deliveries\.candidate_id, deliveries\.channel"),
        ({"channel": "other"}, r"deliveries\.delivery_key"),
        ({"channel": "o", "delivery_key": "k", "state": "lost"}, "ck_deliveries_state"),
        ({"channel": "o", "delivery_key": "k", "state": "delivered"}, "delivered_has_time"),
        ({"channel": "o", "delivery_key": "k", "candidate_id": 99}, "FOREIGN KEY"),
    ],
)
def test_a_work_has_one_delivery_per_channel_and_each_its_key(
    database: Database, tmp_path: Path, values: dict[str, object], constraint: str
) -> None:
    (work,) = add_works(database, tmp_path)
    with database.write() as session:
        session.add(a_delivery(work))
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
    refuses(database, r"decisions\.undoes", decision(1))

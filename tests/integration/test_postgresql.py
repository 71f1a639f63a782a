"""PostgreSQL: the same rules as on SQLite, and what only a server and several hosts can do."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from artbot.clock import system_boot, system_clock
from artbot.errors import WorkerBusy, WorkerElsewhere
from artbot.worker import LEASE, hold_epoch, keep_working, worker_elsewhere
from db.engine import HEAD, Database, Fenced, database_url, make_engine, migrate, open_database
from db.models import Base, Candidate, WorkplaceRow
from tests.conftest import SCHEDULE, Consumer, Place, wait_for
from tests.postgresql import LOCKED, PASSWORD, Server
from tests.unit.service.kit import add_works, candidate, run_at_once
from tests.unit.service.test_db import check_log_goes_on, write_log_of_0002


@pytest.fixture
def database_kind() -> str:
    return "postgresql"


@pytest.fixture
def open_url(postgresql_url: str) -> Iterator[Callable[[], Database]]:
    """Opens the test's database, as often as there are hosts."""
    with ExitStack() as stack:

        def opened() -> Database:
            database = open_database(postgresql_url)
            stack.callback(database.close)
            return database

        yield opened


@pytest.fixture
def database(open_url: Callable[[], Database]) -> Database:
    return open_url()


@pytest.fixture
def empty_url(postgresql: Server) -> Iterator[str]:
    """A database without a table."""
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


def name_in(url: str) -> str:
    name = database_url(url).database
    assert name is not None
    return name


def revision(url: str) -> str:
    engine = make_engine(database_url(url))
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()
    return str(found)


# Migrations


def test_the_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_four_hosts_may_open_a_new_database_at_once(empty_url: str) -> None:
    opened = run_at_once(*[lambda: open_database(empty_url)] * 4)
    databases = [found for found in opened if isinstance(found, Database)]
    for database in databases:
        database.close()
    assert len(databases) == 4, opened
    assert revision(empty_url) == HEAD


FIRST_ROWS = f"""
INSERT INTO checkpoints VALUES ('{"a" * 64}', 'flowers', '{{}}', '2026-11-20T07:00:00.000000Z');
INSERT INTO batches (key, schedule, local_date, number, state, num_candidates, due_at, planned_at,
    checkpoint_sha256) VALUES ('daily-2026-11-20', 'daily', '2026-11-20', 0, 'ready', 2,
    '2026-11-20T07:00:00.000000Z', '2026-11-20T07:00:00.000000Z', '{"a" * 64}');
INSERT INTO candidates (batch_id, index, name, seed, checkpoint_sha256, recipe, state, row_version,
    planned_at, num_render_errors, path, image_sha256, pixel_sha256, approved_at)
    SELECT 1, n, 'daily-2026-11-20-0' || n, 9007199254740991 - n, '{"a" * 64}', '{{"ä": 1}}', 'approved',
    2, '2026-11-20T07:00:00.000000Z', 0, 'p', 'i', 'x', '2026-11-20T08:00:00.000000Z'
    FROM generate_series(1, 2) AS n;
INSERT INTO decisions (candidate_id, was, now, by, via, at)
    VALUES (1, 'pending', 'approved', 'anna', 'cli', '2026-11-20T08:00:00.000000Z');
INSERT INTO deliveries (candidate_id, channel, delivery_key, state, num_attempts, next_at, created_at)
    VALUES (1, 'studio', 'msg_1', 'retry_wait', 1, '2026-11-20T09:00:00.000000Z',
    '2026-11-20T08:00:00.000000Z');
INSERT INTO attempts (delivery_id, started_at, body_sha256, outcome)
    VALUES (1, '2026-11-20T08:10:00.000000Z', 'b', 'unavailable');
"""


@pytest.fixture
def old_url(empty_url: str, postgresql: Server) -> str:
    """A database as artbot 0.1 left it."""
    engine = make_engine(database_url(empty_url))
    migrate(engine, "0001")
    engine.dispose()
    postgresql.execute(FIRST_ROWS, name_in(empty_url), user="artbot")
    return empty_url


def everything(server: Server, name: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of the first tables, in the columns they began with."""
    columns = {
        "checkpoints": "*",
        "batches": "*",
        "candidates": "id, batch_id, index, name, seed, checkpoint_sha256, recipe, state, image_sha256",
        "decisions": "id, candidate_id, was, now, undoes, image_sha256, by, via, at",
        "deliveries": "id, candidate_id, channel, delivery_key, state, num_attempts, next_at",
        "attempts": "id, delivery_id, started_at, body_sha256, finished_at, outcome",
    }
    with server.connect(name) as connection:
        return {
            table: connection.execute(
                f"SELECT {wanted} FROM {table} ORDER BY 1".encode()
            ).fetchall()
            for table, wanted in columns.items()
        }


def test_a_populated_database_is_brought_to_head_and_keeps_every_row(
    old_url: str, postgresql: Server
) -> None:
    before = everything(postgresql, name_in(old_url))
    database = open_database(old_url)
    assert everything(postgresql, name_in(old_url)) == before
    with database.write() as session:
        first = session.get_one(Candidate, 1)
        assert (first.seed, first.recipe) == (9007199254740990, {"ä": 1})
        assert (first.parent_id, first.other_parent_id) == (None, None)
        first.state = "quarantined"  # a state that the old CHECK did not know
    with pytest.raises(IntegrityError, match="no such move"), database.write() as session:
        session.execute(text("UPDATE deliveries SET state = 'delivered', delivered_at = next_at"))
    database.close()


def test_a_log_of_the_second_schema_goes_on_under_this_one(empty_url: str) -> None:
    check_log_goes_on(empty_url, write_log_of_0002(empty_url))
    assert revision(empty_url) == HEAD


STOPS = ("candidates", "decisions", "attempts", "alembic_version")


@pytest.mark.parametrize("table", STOPS)
def test_a_migration_killed_half_way_has_not_happened_and_is_made_whole_by_the_next(
    old_url: str, postgresql: Server, table: str
) -> None:
    """It is stopped by a lock on the table it wants next, and killed there."""
    name = name_in(old_url)
    before = everything(postgresql, name)
    script = "import sys; from db.engine import open_database; open_database(sys.argv[1])"
    with postgresql.connect(name) as holder:
        holder.autocommit = False
        holder.execute(f"LOCK TABLE {table} IN SHARE MODE".encode())
        migrating = subprocess.Popen([sys.executable, "-c", script, old_url])
        with postgresql.connect(name) as observer:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'artbot' AND "
            wait_for(
                lambda: observer.execute(f"{waiting} wait_event_type = 'Lock'".encode()).fetchone()
            )
            migrating.kill()
            migrating.wait()
            holder.rollback()
            wait_for(lambda: not observer.execute(f"{waiting} true".encode()).fetchone())
    assert revision(old_url) == "0001"
    assert everything(postgresql, name) == before
    open_database(old_url).close()
    assert revision(old_url) == HEAD
    assert everything(postgresql, name) == before


def test_a_database_of_a_newer_artbot_is_refused_and_left_alone(
    postgresql_url: str, postgresql: Server
) -> None:
    postgresql.execute("UPDATE alembic_version SET version_num = '9999'", name_in(postgresql_url))
    with pytest.raises(RuntimeError, match=r"revision 9999.*newer artbot.*Update artbot"):
        open_database(postgresql_url)
    assert revision(postgresql_url) == "9999"


def test_a_database_that_cannot_hold_every_letter_is_refused(postgresql: Server) -> None:
    postgresql.execute(
        "CREATE DATABASE narrow OWNER artbot TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
    )
    with pytest.raises(RuntimeError, match=r"LATIN1.*ENCODING 'UTF8'"):
        open_database(postgresql.url("narrow"))
    postgresql.drop("narrow")


# What the database refuses

PREPARATION = (
    "UPDATE candidates SET state = 'approved', approved_at = planned_at WHERE id = 1",
    "INSERT INTO decisions (candidate_id, was, now, by, via, at)"
    " VALUES (1, 'pending', 'approved', 'a', 'c', '2026-11-21T12:00:00.000000Z')",
    "INSERT INTO deliveries (candidate_id, channel, delivery_key, state, num_attempts, next_at,"
    " created_at) VALUES (1, 'studio', 'msg_1', 'queued', 0, 'x', 'x')",
    "INSERT INTO attempts (delivery_id, started_at, body_sha256, outcome, epoch)"
    " VALUES (1, 'x', 'b', 'unknown', 1)",
    "UPDATE deliveries SET on_hold = true",
    "INSERT INTO interventions (act, by, via, at) VALUES ('retry', 'b', 'c', 'x')",
    "INSERT INTO channels (name, state, changed_at, num_failures) VALUES ('studio', 'active', 'x', 0)",
    "INSERT INTO notices (key, recipient, kind, subject, data, state, created_at, next_at, num_attempts)"
    " VALUES ('msg_1', 'studio', 'batch.ready', 's', '{}', 'waiting', 'x', 'x', 0)",
    "UPDATE notices SET state = 'given_up'",
)
REFUSED = {
    "INSERT INTO batches (key, schedule, local_date, number, state, num_candidates, due_at, planned_at,"
    " reason) VALUES ('k', 's', 'd', 0, 'failed', 1, 'x', 'x', 'r')": "no such move of a batch",
    "UPDATE batches SET state = 'planned'": "no such move of a batch",
    "UPDATE candidates SET state = 'expired' WHERE id = 1": "no such move of a candidate",
    "UPDATE candidates SET state = 'published'": "no such move of a candidate",
    "UPDATE deliveries SET state = 'delivered', delivered_at = 'x'": "no such move of a delivery",
    "UPDATE channels SET state = 'gone', reason = 'r'": "no such move of a channel",
    "UPDATE notices SET state = 'waiting'": "no such move of a notice",
    "UPDATE notices SET subject = 't'": "the key of a notice never changes",
    "UPDATE candidates SET seed = 1": "what a candidate is made from never changes",
    "UPDATE candidates SET recipe = '{}'": "what a candidate is made from never changes",
    "UPDATE candidates SET name = 'x' WHERE id = 1": "what a candidate is made from never changes",
    "UPDATE deliveries SET delivery_key = 'msg_2'": "the key of a delivery never changes",
    "UPDATE deliveries SET channel = 'other'": "the key of a delivery never changes",
    "UPDATE deliveries SET state = 'sending'": "what is on hold is not sent",
    "UPDATE attempts SET outcome = 'delivered'": "an attempt that ended never changes",
    "UPDATE decisions SET now = 'rejected'": "decisions are only ever added to",
    "UPDATE interventions SET reason = 'x'": "interventions are only ever added to",
    "DELETE FROM decisions": "decisions are only ever added to",
    "DELETE FROM interventions": "interventions are only ever added to",
    "DELETE FROM attempts": "attempts are only ever added to",
    "DELETE FROM candidates": "candidates are never removed",
    "DELETE FROM deliveries": "deliveries are never removed",
    "DELETE FROM batches": "a batch that was begun is never removed",
}


def refusal(database: Database, statement: str) -> str:
    with pytest.raises(IntegrityError) as refused, database.write() as session:
        session.execute(text(statement))
    return str(refused.value.orig).splitlines()[0]


def test_both_databases_refuse_the_same_in_the_same_words(
    database: Database, tmp_path: Path
) -> None:
    sqlite = open_database(tmp_path / "artbot.sqlite3")
    for each in (database, sqlite):
        add_works(each, tmp_path / each.engine.dialect.name, 2)
        with each.write() as session:
            for statement in PREPARATION:
                session.execute(text(statement))
    assert {s: refusal(sqlite, s) for s in REFUSED} == REFUSED
    assert {s: refusal(database, s) for s in REFUSED} == REFUSED
    sqlite.close()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("decisions, interventions", "decisions are only ever added to"),
        ("attempts", "attempts are only ever added to"),
        ("batches CASCADE", "never removed"),
    ],
)
def test_a_table_is_not_emptied_past_the_triggers_of_its_rows(
    database: Database, table: str, words: str
) -> None:
    assert words in refusal(database, f"TRUNCATE {table}")


def test_the_triggers_work_without_a_search_path(
    database: Database, tmp_path: Path, postgresql: Server, postgresql_url: str
) -> None:
    """As pg_restore comes."""
    add_works(database, tmp_path)
    with postgresql.connect(name_in(postgresql_url)) as connection:
        connection.execute("SET search_path = ''")
        connection.execute("UPDATE public.candidates SET state = 'rejected'")
        assert connection.execute("SELECT state FROM public.candidates").fetchone() == ("rejected",)


# One writer at a time


def test_eight_hosts_lose_no_update_and_meet_no_lock_whatever_the_server_is_set_to(
    open_url: Callable[[], Database], tmp_path: Path, postgresql: Server, postgresql_url: str
) -> None:
    """Under REPEATABLE READ they would see the moment at which they began to wait."""
    name = name_in(postgresql_url)
    postgresql.execute(
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    )
    databases = [open_url() for _ in range(4)]
    (work,) = add_works(databases[0], tmp_path)

    def raise_version(database: Database) -> None:
        for _ in range(25):
            with database.write() as session:
                row = session.get_one(Candidate, work)
                row.row_version = row.row_version + 1

    works = [lambda database=database: raise_version(database) for database in databases * 2]
    assert run_at_once(*works) == [None] * 8
    assert candidate(databases[0], work).row_version == 1 + 8 * 25


def test_a_commit_is_on_disk_and_a_stalled_write_ends_whatever_the_server_is_set_to(
    database: Database,
) -> None:
    def shown(name: str) -> object:
        with database.write() as session:
            return session.execute(text(f"SHOW {name}")).scalar()

    assert shown("synchronous_commit") == "on"  # the tests' server says off
    assert shown("idle_in_transaction_session_timeout") == "1min"
    assert shown("lock_timeout") == "10s"


def test_a_reader_sees_one_moment_and_is_not_stopped_by_an_open_write(
    database: Database, tmp_path: Path
) -> None:
    (work,) = add_works(database, tmp_path)
    title = text("SELECT title FROM candidates")
    with database.read() as reading:
        assert reading.scalar(title) is None
        with database.write() as writing:
            writing.get_one(Candidate, work).title = "Dusk"
            writing.flush()
            with database.read() as other:
                assert other.scalar(title) is None
        assert reading.scalar(title) is None, "it was committed after this moment"
    with database.read() as reading:
        assert reading.scalar(title) == "Dusk"


def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(SQLAlchemyError, match="read-only"), database.read() as session:
        session.execute(text("UPDATE workplace SET epoch = 7"))


def test_a_host_that_stalls_in_a_write_loses_the_lock_and_the_write(
    open_url: Callable[[], Database], tmp_path: Path
) -> None:
    """The other gets its turn; what the first meant to write is refused when it wakes up."""
    stalled, other = open_url(), open_url()
    (work,) = add_works(other, tmp_path)

    def stall() -> None:
        with stalled.write() as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '500ms'"))
            session.get_one(Candidate, work).title = "from the grave"
            session.flush()
            with other.write() as session_of_other:  # waits until the first is put out
                session_of_other.get_one(Candidate, work).caption = "alive"

    with pytest.raises(SQLAlchemyError, match="idle-in-transaction"):
        stall()
    after = candidate(other, work)
    assert (after.title, after.caption) == (None, "alive")
    with stalled.write() as session:
        session.get_one(Candidate, work).title = "again"


def test_a_server_begun_anew_costs_the_next_session_nothing(
    database: Database, tmp_path: Path, postgresql: Server
) -> None:
    (work,) = add_works(database, tmp_path)
    with ExitStack() as stack:  # three connections wait in the pool
        for _ in range(3):
            stack.enter_context(database.read()).scalar(text("SELECT 1"))
    postgresql.stop(signal.SIGINT)
    postgresql.start()
    assert run_at_once(*[lambda: candidate(database, work).id] * 3) == [work] * 3
    with database.write() as session:
        session.get_one(Candidate, work).title = "after"
    assert candidate(database, work).title == "after"


def test_a_server_that_goes_away_in_a_write_takes_it_back(
    database: Database, tmp_path: Path, postgresql: Server
) -> None:
    (work,) = add_works(database, tmp_path)

    def write_and_lose_it() -> None:
        with database.write() as session:
            session.get_one(Candidate, work).title = "half"
            session.flush()
            postgresql.stop()
            postgresql.start()

    with pytest.raises(OperationalError):
        write_and_lose_it()
    assert candidate(database, work).title is None


# Two hosts


@pytest.fixture
def on_host(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def go(name: str) -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: name)

    return go


def lease_ends(database: Database, moment: datetime) -> None:
    epoch, database.epoch = database.epoch, None
    with database.write() as session:
        session.get_one(WorkplaceRow, 1).leased_until = moment
    database.epoch = epoch


def test_a_second_host_is_refused_while_the_first_lives(
    open_url: Callable[[], Database], on_host: Callable[[str], None]
) -> None:
    one, two = open_url(), open_url()
    on_host("one")
    with hold_epoch(one, "daemon", system_clock):
        assert worker_elsewhere(one, system_clock) is None
        on_host("two")
        assert "daemon" in (worker_elsewhere(two, system_clock) or "")
        with (
            pytest.raises(WorkerBusy, match=r"artbot daemon \(process \d+ on one\).*5 minutes"),
            hold_epoch(two, "batch", system_clock),
        ):
            raise AssertionError("two workers at once")
        on_host("one")
    on_host("two")
    assert worker_elsewhere(two, system_clock) is None
    with hold_epoch(two, "batch", system_clock):
        assert two.epoch == 2


def test_a_host_that_was_taken_for_dead_can_write_no_more(
    open_url: Callable[[], Database], on_host: Callable[[str], None]
) -> None:
    one, two = open_url(), open_url()
    on_host("one")
    with hold_epoch(one, "daemon", system_clock):
        lease_ends(one, datetime.now(UTC) - timedelta(seconds=1))
        on_host("two")
        with hold_epoch(two, "daemon", system_clock):
            assert (one.epoch, two.epoch) == (1, 2)
            on_host("one")
            with pytest.raises(Fenced, match="another worker has taken over"), one.write():
                raise AssertionError("an old epoch writes")
            with pytest.raises(Fenced):
                keep_working(one, system_clock, system_boot)
            on_host("two")
            with two.write() as session:
                assert session.get_one(WorkplaceRow, 1).host == "two"


def test_two_workplaces_on_one_host_are_strangers_to_each_other(
    open_url: Callable[[], Database], tmp_path: Path
) -> None:
    """Each has a lock of its own, so only the lease keeps their workers apart."""
    one, two = open_url(), open_url()
    with hold_epoch(one, "daemon", system_clock, tmp_path / "one"):
        assert worker_elsewhere(one, system_clock, tmp_path / "one") is None
        with (
            pytest.raises(WorkerElsewhere),
            hold_epoch(two, "daemon", system_clock, tmp_path / "two"),
        ):
            raise AssertionError("two workers at once")
    with hold_epoch(two, "daemon", system_clock, tmp_path / "two"):
        assert two.epoch == 2


def test_a_second_daemon_stands_by_and_takes_over(place: Place, tmp_path: Path) -> None:
    """It touches nothing meanwhile, and ends cleanly when it is told to while it waits."""
    other = Place(tmp_path / "other", url=place.url)
    other.root.mkdir()
    assert other.run("init").code == 0
    other.configure(SCHEDULE)
    first = place.start("daemon")
    wait_for(lambda: place.sql("SELECT epoch FROM workplace WHERE leased_until IS NOT NULL"))
    epoch = place.sql("SELECT epoch FROM workplace")

    def standing_by() -> subprocess.Popen[str]:
        waiting = other.start("daemon")
        assert waiting.stdout is not None
        told = waiting.stdout.readline()
        assert f"standing by: artbot daemon (process {first.pid} on" in told
        assert place.sql("SELECT epoch FROM workplace") == epoch
        return waiting

    impatient = standing_by()
    impatient.terminate()
    told, _ = impatient.communicate(timeout=300)
    assert (impatient.returncode, told.rstrip()[-12:]) == (0, "INFO stopped")

    other.run("daemon", "--once").refused(1, "is already at work", "take over in 5 minutes")

    second = standing_by()
    first.terminate()
    first.communicate(timeout=300)
    wait_for(lambda: f"process {second.pid} on" in (other.json("status")["worker"] or ""))
    second.terminate()
    told, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    assert "INFO taking over" in told


def test_the_end_of_a_fenced_worker_leaves_the_lease_of_the_next_alone(
    open_url: Callable[[], Database], on_host: Callable[[str], None]
) -> None:
    one, two = open_url(), open_url()
    with ExitStack() as second:
        on_host("one")
        with hold_epoch(one, "daemon", system_clock):
            lease_ends(one, datetime.now(UTC) - timedelta(seconds=1))
            on_host("two")
            second.enter_context(hold_epoch(two, "daemon", system_clock))
        on_host("three")
        assert "daemon" in (worker_elsewhere(open_url(), system_clock) or "")


def test_the_lease_is_measured_by_the_servers_clock(open_url: Callable[[], Database]) -> None:
    """A host whose clock is a year behind must neither lose the lease nor hold it for a year."""
    database = open_url()

    def slow() -> datetime:
        return datetime.now(UTC) - timedelta(days=365)

    with hold_epoch(database, "daemon", slow):
        for left in (LEASE / 2, LEASE - timedelta(seconds=5)):
            lease_ends(database, datetime.now(UTC) + left)
            keep_working(database, slow, system_boot)
            with database.read() as session:
                until = session.get_one(WorkplaceRow, 1).leased_until
            assert until is not None
            assert LEASE - timedelta(seconds=30) < until - datetime.now(UTC) <= LEASE


def test_a_lease_is_lengthened_long_before_it_ends_and_seldom(database: Database) -> None:
    def leased() -> datetime | None:
        with database.read() as session:
            return session.get_one(WorkplaceRow, 1).leased_until

    with hold_epoch(database, "daemon", system_clock):
        keep_working(database, system_clock, system_boot)
        begun = leased()
        keep_working(database, system_clock, system_boot)
        assert leased() == begun
        lease_ends(database, datetime.now(UTC) + LEASE / 2)
        keep_working(database, system_clock, system_boot)
        assert (leased() or datetime.min.replace(tzinfo=UTC)) > datetime.now(UTC) + LEASE * 0.9


# The commands


def settings(url: str) -> str:
    return f'{SCHEDULE}\n[paths]\ndatabase = "{url}"\n'


def test_a_work_goes_its_whole_way(
    place: Place, consumer: Consumer, tiny_checkpoint: Path, postgresql_url: str
) -> None:
    place.configure(settings(postgresql_url) + consumer.channel())
    place.add_checkpoint(tiny_checkpoint)
    for command in (("batch",), ("approve", "1", "2"), ("reject", "3"), ("undo",), ("publish",)):
        result = place.run(*command)
        assert result.code == 0, result.err
    assert consumer.verdicts() == ["stored", "stored"]
    assert [work["id"] for work in place.json("review")["candidates"]] == [3]
    sent = place.json("deliveries", "list", "--all")
    assert [delivery["state"] for delivery in sent] == ["delivered", "delivered"]
    assert place.run("status").code == 0
    assert place.run("daemon", "--once").code == 0
    assert len(consumer.verdicts()) == 2
    assert not list(place.root.rglob("*.sqlite3*"))


def test_two_workplaces_decide_at_once_in_one_database(
    place: Place, tiny_checkpoint: Path, postgresql_url: str
) -> None:
    place.configure(settings(postgresql_url))
    place.add_checkpoint(tiny_checkpoint)
    assert place.run("batch").code == 0
    processes = [
        place.start(command, "1") for command in ("approve", "reject", "approve", "reject")
    ]
    for process in processes:
        assert "Traceback" not in process.communicate(timeout=300)[0]
    decided = [process.args for process in processes if process.returncode == 0]
    assert decided
    assert place.json("show", "1")["state"] in ("approved", "rejected")


def test_a_restored_database_is_noticed_and_posts_nothing_twice(
    place: Place,
    consumer: Consumer,
    tiny_checkpoint: Path,
    postgresql: Server,
    postgresql_url: str,
) -> None:
    place.configure(settings(postgresql_url) + consumer.channel())
    place.add_checkpoint(tiny_checkpoint)
    assert place.run("batch").code == 0
    assert place.run("approve", "1").code == 0
    backup = postgresql.create(name_in(postgresql_url))
    assert place.run("publish").code == 0
    place.configure(settings(postgresql.url(backup)) + consumer.channel())
    again = place.run("publish")
    assert "the database is older than what was done last" in again.err
    assert consumer.verdicts() == ["stored", "duplicate"], "known by its key"
    place.run("db", "backup").refused(3, "pg_dump")
    postgresql.drop(backup)


def test_a_password_comes_from_the_password_file_and_is_never_shown(
    place: Place, postgresql: Server, postgresql_url: str, tmp_path: Path
) -> None:
    url = postgresql.url(name_in(postgresql_url), LOCKED)
    place.configure(settings(url))
    place.run("status").refused(1, "cannot be opened", "password")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:*:{LOCKED}:{PASSWORD}\n")
    passwords.chmod(0o600)
    assert place.run("status", PGPASSFILE=str(passwords)).code == 0
    passwords.write_text(f"*:*:*:{LOCKED}:{PASSWORD[::-1]}\n")
    refused = place.run("status", PGPASSFILE=str(passwords))
    refused.refused(1, "password authentication failed")
    assert PASSWORD[::-1] not in refused.out + refused.err


def a_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_server_that_is_not_there_is_said_so_in_one_line(place: Place, tmp_path: Path) -> None:
    nobody = f"postgresql://artbot@127.0.0.1:{a_free_port()}/studio"
    for url in (nobody, f"postgresql://artbot@/studio?host={tmp_path}"):
        place.configure(settings(url))
        for command in (("status",), ("batch",), ("approve", "1"), ("publish",)):
            result = place.run(*command)
            result.refused(1, "cannot be opened")
            assert len(result.err.splitlines()) == 1, result.err
    place.configure(settings(nobody))
    place.run("status").refused(1, f"{nobody} cannot be opened", "refused")


def test_a_daemon_that_starts_before_its_server_waits_for_it(
    place: Place, postgresql: Server, postgresql_url: str
) -> None:
    place.configure(settings(postgresql_url))
    postgresql.stop(signal.SIGINT)
    try:
        daemon = place.start("daemon")
        assert daemon.stdout is not None
        assert "ERROR standing by: the database postgresql://" in daemon.stdout.readline()
    finally:
        postgresql.start()
    assert "INFO taking over" in daemon.stdout.readline()
    wait_for(lambda: place.json("status")["worker"])
    daemon.terminate()
    daemon.communicate(timeout=300)
    assert daemon.returncode == 0


def test_a_database_that_is_not_there_is_said_so(place: Place, postgresql: Server) -> None:
    place.configure(settings(postgresql.url("elsewhere")))
    place.run("status").refused(1, 'database "elsewhere" does not exist')


def test_a_missing_psycopg_is_said_with_the_remedy(
    place: Place, postgresql_url: str, tmp_path: Path
) -> None:
    (tmp_path / "psycopg.py").write_text("raise ModuleNotFoundError('No module named psycopg')")
    place.configure(settings(postgresql_url))
    said = place.start("status", PYTHONPATH=str(tmp_path)).communicate(timeout=300)[0]
    assert "pip install 'artbot[postgresql]'" in said
    assert "Traceback" not in said


def test_the_server_of_the_tests_ends_with_them(tmp_path: Path) -> None:
    """Also when they are killed, which nobody can clean up after."""
    script = (
        "import sys, time; from tests.postgresql import running_server\n"
        "with running_server() as server: print(server.folder, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    process.kill()
    process.wait()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), 30)
    shutil.rmtree(folder)  # else the next run would

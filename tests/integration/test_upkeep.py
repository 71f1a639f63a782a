"""Backups and the way back, the check-up, the story of one work: as a person meets them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from artbot.upkeep.copying import PAGES
from db.engine import open_database
from db.models import WorkplaceRow
from tests.conftest import ARTBOT, Consumer, Place, wait_for


@pytest.fixture
def database_kind() -> str:
    """PostgreSQL brings its own tools (test_postgresql.py)."""
    return "sqlite"


def backups(place: Place) -> list[Path]:
    return sorted((place.root / "db/backups").glob("*"))


@pytest.fixture
def connected(painted: Place, consumer: Consumer) -> Place:
    """A painted batch and a receiver to send to at once."""
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    return painted


# Backups


def test_a_backup_is_a_whole_database_and_is_listed(painted: Place) -> None:
    made = painted.json("db", "backup")
    assert [b["path"] for b in painted.json("db", "list")] == [made["path"]]
    with sqlite3.connect(made["path"]) as copy:
        assert copy.execute("SELECT count(*) FROM candidates").fetchone() == (3,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_only_the_newest_backups_are_kept_and_other_files_are_left_alone(painted: Place) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + "\n[backup]\nkeep = 2\n")
    folder = painted.root / "db/backups"
    folder.mkdir()
    (folder / "my own.sqlite3").write_bytes(b"mine")
    for day in (1, 2, 3):
        (folder / f"artbot-2026110{day}T120000Z.sqlite3").write_bytes(b"old")
    painted.run("db", "backup").refused(0, "checked")
    names = [path.name for path in backups(painted)]
    assert names[0] == "artbot-20261103T120000Z.sqlite3"
    assert names[-1] == "my own.sqlite3"
    assert len(names) == 3


def test_the_daemon_makes_one_a_day(painted: Place) -> None:
    assert painted.run("daemon", "--once").code == 0
    assert len(backups(painted)) == 1
    assert painted.run("daemon", "--once").code == 0
    assert len(backups(painted)) == 1


@pytest.mark.parametrize("moment", ["backup.written", "backup.placed"])
def test_a_backup_that_is_killed_leaves_the_earlier_ones_whole(painted: Place, moment: str) -> None:
    painted.run("db", "backup").refused(0, "checked")
    time.sleep(1.1)  # their names have seconds
    assert painted.run("db", "backup", ARTBOT_FP=f"{moment}:kill").code == -9
    for backup in painted.json("db", "list"):
        with sqlite3.connect(backup["path"]) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    time.sleep(1.1)
    painted.run("db", "backup").refused(0, "checked")
    assert not list((painted.root / "db/backups").glob(".*"))


# Restoring


def test_a_restored_database_is_the_one_of_then_and_the_replaced_one_is_kept(
    painted: Place,
) -> None:
    made = painted.json("db", "backup")["path"]
    painted.run("reject", "1").refused(0)
    result = painted.json("db", "restore", made)
    assert painted.json("show", "1")["state"] == "pending"
    with sqlite3.connect(result["replaced"]) as replaced:
        assert replaced.execute("SELECT state FROM candidates WHERE id = 1").fetchone() == (
            "rejected",
        )
    painted.run("doctor", "--quick").refused(0, "")


def test_a_restored_database_posts_nothing_twice_where_repetitions_are_recognised(
    connected: Place, consumer: Consumer
) -> None:
    connected.run("approve", "1").refused(0)
    made = connected.json("db", "backup")["path"]
    assert connected.run("daemon", "--once").code == 0
    assert consumer.verdicts() == ["stored"]
    connected.run("db", "restore", made).refused(0)
    assert connected.run("daemon", "--once").code == 0
    assert consumer.verdicts() == ["stored", "duplicate"]
    assert len(list(consumer.store.glob("*.png"))) == 1


def test_a_work_approved_again_after_a_restore_has_the_key_it_had(
    connected: Place, consumer: Consumer
) -> None:
    """The backup knows nothing of the approval; the receiver knows the work."""
    made = connected.json("db", "backup")["path"]
    connected.run("approve", "1").refused(0)
    assert connected.run("daemon", "--once").code == 0
    connected.run("db", "restore", made).refused(0)
    connected.run("approve", "1").refused(0)
    assert connected.run("daemon", "--once").code == 0
    assert consumer.verdicts() == ["stored", "duplicate"]


def test_a_database_put_back_by_hand_is_noticed(connected: Place, consumer: Consumer) -> None:
    file = connected.root / "db/artbot.sqlite3"
    connected.run("approve", "1").refused(0)
    shutil.copy(file, connected.root / "old.sqlite3")
    assert connected.run("daemon", "--once").code == 0
    shutil.copy(connected.root / "old.sqlite3", file)
    # A delivery to a channel that artbot.toml no longer has: nobody can know what its receiver knows.
    connected.run("approve", "2").refused(0)
    config = (connected.root / "artbot.toml").read_text()
    connected.configure(config.replace("[channels.", "[channels.other-"))
    restarted = connected.run("daemon", "--once")
    assert "older than what was done last" in restarted.out
    assert "2 deliveries may have been posted since: artbot deliveries list" in restarted.out
    states = {row["work"][-2:]: row["state"] for row in connected.json("deliveries", "list")}
    assert states == {"01": "uncertain", "02": "uncertain"}
    again = connected.run("daemon", "--once")
    assert "older than" not in again.out


def test_where_nothing_was_to_be_sent_no_delivery_is_said_to_be_doubted(painted: Place) -> None:
    (painted.root / "works/artbot.mark").unlink()
    begun = painted.run("daemon", "--once")
    assert "it was restored, or is another one\n" in begun.out
    assert "may have been posted" not in begun.out


def test_a_lost_database_is_not_replaced_by_an_empty_one_until_a_person_says_so(
    connected: Place, consumer: Consumer
) -> None:
    """Somebody removed the file. With an empty one the same day is painted again, and the same work approved
    again: it has the key it had."""
    file = connected.root / "db/artbot.sqlite3"
    connected.run("approve", "1").refused(0)
    assert connected.run("daemon", "--once").code == 0
    for lost in (None, b""):
        file.unlink()
        if lost is not None:
            file.write_bytes(lost)
        for command in ("batch", "daemon --once", "approve 2", "status", "db backup"):
            connected.run(*command.split()).refused(1, "gone or empty", "db restore", "artbot init")
        connected.run("db", "check").refused(1, "gone or empty", "artbot db restore FILE")
        assert connected.run("doctor", "--quick").code == 3
        assert (file.read_bytes() if file.exists() else None) == lost
        (backup,) = connected.json("db", "list")
        connected.run("db", "restore", backup["path"]).refused(0)
        assert connected.json("show", "1")["state"] == "approved"
    file.unlink()
    connected.run("init").refused(
        0, "db/artbot.sqlite3 (empty)", f"artbot db restore {Path(backup['path']).name}"
    )
    connected.run("init").refused(2, "lacks nothing")
    assert connected.run("batch").code == 0
    connected.run("approve", "1").refused(0)
    assert connected.run("daemon", "--once").code == 0
    assert consumer.verdicts() == ["stored", "duplicate"]


def test_a_new_workplace_begins_with_any_command_and_with_checkpoints_already_there(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    for command in ("status", "doctor --quick", "db check"):
        (place.root / "db/artbot.sqlite3").unlink(missing_ok=True)
        assert place.run(*command.split()).code in (0, 3)
        assert place.json("status")["num_pending"] == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"dear diary", "damaged, or no database"), (b"", "no database of artbot"), (None, "no file")],
)
def test_what_is_no_backup_is_refused_and_nothing_changes(
    painted: Place, content: bytes | None, why: str
) -> None:
    before = (painted.root / "db/artbot.sqlite3").read_bytes()
    if content is not None:
        (painted.root / "b.sqlite3").write_bytes(content)
    painted.run("db", "restore", "b.sqlite3").refused(1 if content is not None else 2, why)
    assert (painted.root / "db/artbot.sqlite3").read_bytes() == before


def test_a_restore_that_is_killed_changes_nothing(painted: Place) -> None:
    made = painted.json("db", "backup")["path"]
    painted.run("reject", "1").refused(0)
    assert painted.run("db", "restore", made, ARTBOT_FP="restore.prepared:kill").code == -9
    assert painted.json("show", "1")["state"] == "rejected"
    painted.run("db", "restore", made).refused(0)
    assert painted.json("show", "1")["state"] == "pending"
    assert not list((painted.root / "db").glob(".*.tmp"))


@pytest.mark.parametrize("ending", ["", ".sqlite3"])
def test_a_backup_is_called_by_its_name_and_what_it_does_not_know_is_told(
    painted: Place, ending: str
) -> None:
    made = Path(painted.json("db", "backup")["path"])
    assert "newer than" not in painted.run("db", "restore", made.stem + ending).err
    (later,) = (painted.root / "works").glob("*/*-03.png")
    shutil.copyfile(later, later.with_name("later-04.png"))
    restored = painted.run("db", "restore", made.stem + ending)
    restored.refused(0, "1 picture is newer than the backup", "/later-04.png", "artbot status")
    assert painted.json("db", "restore", made.name)["num_unknown_pictures"] == 1
    painted.run("db", "restore", "artbot-x").refused(2, "no file artbot-x", "artbot db list")


def test_pictures_alone_show_that_there_was_a_database(painted: Place) -> None:
    shutil.rmtree(painted.root / "works/generators")
    for lost in ("works/artbot.mark", "db/artbot.sqlite3"):
        (painted.root / lost).unlink()
    painted.run("status").refused(1, "gone or empty", "artbot was at work here")


def test_a_damaged_mark_does_not_stop_a_restore(connected: Place, consumer: Consumer) -> None:
    """The same power cut may have spoilt both. What may have been posted goes out under its old key."""
    connected.run("approve", "1").refused(0)
    made = connected.json("db", "backup")["path"]
    assert connected.run("daemon", "--once").code == 0
    [mark] = connected.root.rglob("artbot.mark")
    mark.write_bytes(b"\x00" * 40)
    connected.run("db", "restore", made).refused(0, "is the state of", "damaged and was removed")
    assert not mark.exists()
    assert connected.run("daemon", "--once").code == 0
    assert consumer.verdicts() == ["stored", "duplicate"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restored_is_the_services_to_use(painted: Place) -> None:
    made = painted.json("db", "backup")["path"]
    folder = painted.root / "db"
    for path in (folder, folder / "artbot.sqlite3"):
        os.chown(path, 4711, 4711)
    (folder / "artbot.lock").unlink(missing_ok=True)
    painted.run("db", "restore", made).refused(0)
    for name in ("artbot.sqlite3", "artbot.lock"):
        assert (folder / name).stat().st_uid == 4711, name


def test_what_restoring_put_aside_is_listed_until_a_person_removes_it(painted: Place) -> None:
    made = painted.json("db", "backup")["path"]
    replaced = painted.json("db", "restore", made)["replaced"]
    listed = painted.run("db", "list")
    assert replaced in listed.out
    assert "put aside" in listed.out
    assert "yours to remove" in listed.err


def test_while_a_daemon_is_at_work_nothing_is_restored(painted: Place) -> None:
    made = painted.json("db", "backup")["path"]
    daemon = painted.start("daemon")
    try:
        wait_for(lambda: painted.json("status")["worker"])
        painted.run("db", "restore", made).refused(
            1,
            "already at work",
            "Stop it, and every daemon that stands by",
            "systemctl stop artbot",
        )
        painted.run("publish").refused(1, "sends what is due by itself: there is nothing to do")
        painted.run("daemon", "--once").refused(1, "by itself: there is nothing to do")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=300)


# The check


def test_a_sound_database_is_called_sound(painted: Place) -> None:
    painted.run("db", "check").refused(0, "sound")
    assert painted.json("db", "check") == {"is_sound": True, "problems": []}


def test_flipped_bytes_are_found_and_the_remedy_is_named(painted: Place) -> None:
    file = painted.root / "db/artbot.sqlite3"
    content = bytearray(file.read_bytes())
    for offset in range(5 * 4096, len(content), 4096):
        content[offset : offset + 64] = os.urandom(64)
    file.write_bytes(content)
    painted.run("db", "check").refused(1, "damaged", "artbot db restore FILE")


def test_a_past_that_was_rewritten_is_found(painted: Place) -> None:
    painted.run("reject", "1", "2").refused(0)
    with sqlite3.connect(painted.root / "db/artbot.sqlite3") as connection:
        connection.execute("DROP TRIGGER decisions_past")
        connection.execute("UPDATE decisions SET by = 'somebody else' WHERE id = 1")
    painted.run("db", "check").refused(1, "decisions: row 1 was changed")


# The doctor


def test_a_well_workplace_is_called_well(connected: Place) -> None:
    connected.run("approve", "1").refused(0)
    assert connected.run("daemon", "--once").code == 0
    result = connected.run("doctor")
    assert result.code == 0, result.out
    assert "ok     painted again" in result.out
    assert "WRONG" not in result.out
    assert connected.json("doctor", "--quick")["is_well"]


def test_a_missing_picture_is_found_with_its_remedy(painted: Place) -> None:
    next((painted.root / "works").rglob("*-02.png")).unlink()
    result = painted.run("doctor", "--quick")
    assert result.code == 3
    assert "WRONG  pictures" in result.out
    assert "artbot reproduce 2 --restore" in result.out
    painted.run("reproduce", "2", "--restore").refused(0, "restored")
    assert painted.run("doctor", "--quick").code == 0


def test_a_work_that_is_painted_otherwise_is_found(painted: Place) -> None:
    """As if memory or a card had failed: the bytes on disk are those that were recorded."""
    painted.sql("UPDATE candidates SET pixel_sha256 = image_sha256 WHERE id = 3")
    result = painted.run("doctor")
    assert result.code == 3
    assert "WRONG  painted again: " in result.out
    assert "-03 has other pixels when it is painted again, on the very same machine" in result.out
    assert result.out.count("WRONG") == 1
    assert "painted again" not in painted.run("doctor", "--quick").out


def test_a_secret_that_cannot_be_read_is_found(connected: Place) -> None:
    (connected.root / "secrets/webhook").chmod(0o644)
    result = connected.run("doctor", "--quick")
    assert result.code == 3
    assert "WRONG  channels' secrets" in result.out
    assert "chmod 600" in result.out


def test_a_delivery_that_needs_a_person_is_found(connected: Place, consumer: Consumer) -> None:
    connected.run("approve", "1").refused(0)
    connected.run("channels", "pause", "example", "--reason", "moving house").refused(0, "paused")
    result = connected.run("doctor", "--quick")
    assert result.code == 3
    assert "channel example is paused: moving house" in result.out


def test_a_secret_in_the_database_is_found(connected: Place) -> None:
    secret = (connected.root / "secrets/webhook").read_text().strip()
    with sqlite3.connect(connected.root / "db/artbot.sqlite3") as connection:
        connection.execute("UPDATE candidates SET title = ? WHERE id = 1", (secret,))
    result = connected.run("doctor", "--quick")
    assert result.code == 3
    assert "WRONG  secrets kept out" in result.out
    assert secret not in result.out


def test_a_row_that_no_decision_explains_is_found(painted: Place) -> None:
    painted.run("reject", "1").refused(0)
    with sqlite3.connect(painted.root / "db/artbot.sqlite3") as connection:
        connection.execute("UPDATE candidates SET state = 'pending' WHERE id = 1")
    result = painted.run("doctor", "--quick")
    assert result.code == 3
    assert "candidate 1 is pending, and the log does not say why" in result.out


def test_what_is_overdue_is_told_while_no_daemon_runs(connected: Place, consumer: Consumer) -> None:
    """It failed to start, and a monitor asks the doctor."""
    connected.run("approve", "1").refused(0)
    connected.run("doctor", "--quick").refused(0)
    connected.sql("UPDATE deliveries SET next_at = '2026-01-01T00:00:00.000000Z'")
    result = connected.run("doctor", "--quick")
    assert result.code == 3
    assert "WRONG  due work" in result.out
    assert "since 2026-01-01 00:00 UTC, and nobody is at work" in result.out
    assert "remedy: start the daemon" in result.out
    assert connected.run("daemon", "--once").code == 0
    connected.run("doctor", "--quick").refused(0)


@pytest.mark.parametrize("command", ["doctor --quick", "db backup"])
def test_nobody_who_writes_waits_for_a_long_reader(
    painted: Place, tmp_path: Path, command: str
) -> None:
    """Row 31, on a disk that takes four milliseconds for a page. Who reads the whole file in one go lets
    nobody commit meanwhile; a larger one takes longer than a writer waits, and the answer of a send is
    lost. Counted in pages that are read while the writer waits: seconds depend on what else goes on."""
    num_pages = 600
    with closing(sqlite3.connect(painted.database_at)) as connection, connection:
        connection.execute("CREATE TABLE ballast (content BLOB)")
        connection.executemany(
            "INSERT INTO ballast VALUES (randomblob(4000))", ([] for _ in range(num_pages))
        )
    reads = tmp_path / "reads"
    reads.touch()
    slowly = ["strace", "-f", "-qq", "-o", str(reads), "-P", str(painted.database_at)]
    slowly += ["-e", "trace=pread64", "-e", "inject=pread64:delay_enter=4000"]
    reading = subprocess.Popen(
        [*slowly, str(ARTBOT), *command.split()],
        cwd=painted.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def num_read() -> int:
        return reads.read_bytes().count(b"\n")

    with closing(open_database(painted.database_at)) as database:
        wait_for(lambda: num_read() > num_pages / 4 or reading.poll() is not None)
        asked = num_read()
        with database.write() as session:
            session.get_one(WorkplaceRow, 1).boot_s = 1.0
        let_in = num_read()
    said = reading.communicate()[0]
    assert reading.returncode == 0, said
    assert num_read() - let_in >= num_pages, "it was at its first copy, and has made another since"
    assert let_in - asked < 3 * PAGES, "let in between two steps"


# The story


def test_a_works_story_is_told_in_the_order_it_happened(
    connected: Place, consumer: Consumer
) -> None:
    connected.run("approve", "2").refused(0)
    connected.run("undo", "2").refused(0)
    connected.run("approve", "2").refused(0)
    assert connected.run("daemon", "--once").code == 0
    story = connected.json("explain", "2")
    assert [event["what"] for event in story["events"]] == [
        "due",
        "planned",
        "painted",
        "approved",
        "queued",
        "pending",
        "approved",
        "sent",
        "delivered",
    ]
    told = connected.run("explain", "2").out
    assert "taking back what was decided" in told
    assert "status 200" in told or "status 201" in told or "status 204" in told
    connected.run("explain", "99").refused(2, "no candidate 99")


# The clock


def test_a_clock_that_leapt_is_told_and_can_be_accepted(painted: Place) -> None:
    assert painted.run("daemon", "--once").code == 0
    painted.run("clock").refused(0, "believed")
    assert painted.json("clock")["is_believed"] is True
    with sqlite3.connect(painted.root / "db/artbot.sqlite3") as connection:
        connection.execute("UPDATE workplace SET clock_at = '2036-01-01T00:00:00.000000Z'")
    painted.run("clock").refused(1, "artbot was at work at 2036-01-01", "clock --accept")
    doubted = painted.run("clock", "--json")
    assert doubted.code == 1
    assert "clock --accept" in json.loads(doubted.out)["why_not"]
    painted.run("batch", "--extra").refused(1, "clock --accept")
    painted.run("publish").refused(1, "clock --accept")
    assert painted.run("daemon", "--once").code == 1
    result = painted.run("doctor", "--quick")
    assert result.code == 3
    assert "WRONG  clock" in result.out
    painted.run("clock", "--accept").refused(0, "believed")
    assert painted.run("daemon", "--once").code == 0

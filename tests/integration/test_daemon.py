"""The daemon as a process: what it holds in memory, when it works, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from artbot.clock import system_boot
from artbot.config import load_settings
from artbot.daemon.run import Daemon
from artbot.daemon.supervision import BEAT_EVERY_S, Supervision
from artbot.errors import SchedulerDied
from artbot.publishing.channels import settings_models
from artbot.publishing.signatures import SharedSecret
from artbot.worker import hold_worker
from artbot.workplace import Workplace
from tests.conftest import Consumer, Place, on_sqlite_only, wait_for


def test_the_idle_daemon_has_no_torch_in_its_process(painted: Place) -> None:
    daemon = painted.start("daemon")
    try:
        wait_for(lambda: painted.json("status")["worker"])
        time.sleep(3)  # a round has passed
        mapped = Path(f"/proc/{daemon.pid}/maps").read_text()
        assert ("sqlite" if painted.url is None else "libpq") in mapped
        for library in ("torch", "numpy", "/PIL/"):
            assert library not in mapped
    finally:
        daemon.terminate()
        daemon.communicate(timeout=300)


def test_systemd_hears_that_it_is_ready_that_it_lives_and_that_it_stops(painted: Place) -> None:
    address = painted.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(30)
        daemon = painted.start("daemon", NOTIFY_SOCKET=str(address), WATCHDOG_USEC="120000000")
        try:
            # The render child may take 180 s to start: systemd's 120 s would be too few.
            assert systemd.recv(1000) == b"READY=1\nWATCHDOG_USEC=240000000"
            assert [systemd.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        finally:
            daemon.terminate()
            output, _ = daemon.communicate(timeout=300)
        heard = [b"WATCHDOG=1"]
        while heard[-1] == b"WATCHDOG=1":
            heard.append(systemd.recv(1000))
        assert heard[-1] == b"STOPPING=1"
        assert "cannot tell" not in output


def test_no_sign_of_life_while_nothing_advances(
    painted: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round that hangs is not covered up by a thread that beats."""
    address = painted.root / "notify"
    hangs, released = Event(), Event()

    def hang(*_: object) -> list[object]:
        hangs.set()
        released.wait(60)
        return []

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.setblocking(False)
        monkeypatch.setattr("artbot.daemon.run.ensure_due", hang)
        supervision = Supervision({"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"})
        workplace = Workplace(load_settings(painted.root, settings_models()))
        round_ = Thread(target=Daemon(workplace, lambda: True, supervision).round)
        round_.start()
        assert hangs.wait(60)
        assert systemd.recv(1000) == b"WATCHDOG=1", "the look at the clock was some work"
        time.sleep(2 * BEAT_EVERY_S)
        with pytest.raises(BlockingIOError):
            systemd.recv(1000)
        released.set()
        round_.join()
        assert systemd.recv(1000) == b"WATCHDOG=1"


def test_it_ends_when_its_scheduler_has_died(
    painted: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """APScheduler's thread can die of an error and still be called running."""

    monkeypatch.setattr(BackgroundScheduler, "_main_loop", lambda self: None)
    workplace = Workplace(load_settings(painted.root, settings_models()))
    with pytest.raises(SchedulerDied, match="start it again"):
        Daemon(workplace, lambda: False, Supervision({})).run(Event(), Event())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_the_daemon_cleanly(painted: Place, number: signal.Signals) -> None:
    daemon = painted.start("daemon")
    wait_for(lambda: painted.json("status")["worker"])
    daemon.send_signal(number)
    output, _ = daemon.communicate(timeout=300)
    assert daemon.returncode == 0
    assert output.rstrip().endswith("INFO stopped")
    assert "Traceback" not in output


def test_a_stop_signal_while_painting_leaves_a_batch_that_can_be_finished(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    place.configure((place.root / "artbot.toml").read_text().replace("= 3", "= 200"))
    daemon = place.start("daemon")
    wait_for(lambda: place.files())
    daemon.terminate()
    output, _ = daemon.communicate(timeout=300)
    assert daemon.returncode == 0
    assert "could not paint" not in output
    assert 0 < len(place.files()) < 200
    assert place.run("daemon", "--once").code == 0
    assert place.json("status")["num_pending"] == 200


def test_the_daemon_makes_the_batch_when_its_time_comes(
    place: Place, tiny_checkpoint: Path
) -> None:
    """The schedule's clock stands a few seconds before the hour: the nudge and the sweep find it."""
    place.add_checkpoint(tiny_checkpoint)
    soon = datetime.now(UTC) + timedelta(seconds=6)
    place.configure(
        f'[schedules.soon]\nat = "{soon:%H:%M:%S}"\ncandidates = 2\nweekdays = ["{soon:%a}"]\n'.lower()
    )
    daemon = place.start("daemon")
    try:
        wait_for(lambda: place.json("status")["num_pending"] == 2)
    finally:
        daemon.terminate()
        output, _ = daemon.communicate(timeout=300)
    assert f"batch soon-{soon:%Y-%m-%d} is planned" in output
    assert datetime.now(UTC) > soon


def test_an_approval_goes_out_by_itself_while_the_daemon_runs(
    painted: Place, consumer: Consumer
) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    daemon = painted.start("daemon")
    try:
        wait_for(lambda: painted.json("status")["worker"])
        assert painted.run("approve", "1", "--alt", "Blüten, überall").code == 0
        wait_for(lambda: consumer.verdicts() == ["stored"])
    finally:
        daemon.terminate()
        output, _ = daemon.communicate(timeout=300)
    assert "to example: delivered" in output
    secret = (painted.root / "secrets/webhook").read_text().strip()
    assert secret not in output


def test_a_secret_mended_in_its_file_is_used_by_the_daemon_that_runs(
    painted: Place, consumer: Consumer
) -> None:
    """The receiver knows the right one, the daemon began with another."""
    file = painted.root / "secrets/webhook"
    right, wrong = file.read_text(), SharedSecret(bytes(32)).text
    file.write_text(wrong)
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    daemon = painted.start("daemon")
    try:
        wait_for(lambda: painted.json("status")["worker"])
        assert painted.run("approve", "1").code == 0
        wait_for(lambda: painted.json("channels", "list")[0]["state"] == "paused")
        file.write_text("half a sec")
        resumed = painted.run("channels", "resume", "example")
        resumed.refused(
            0, f"nothing can be sent yet: channels.example: line 1 of {file} must be whsec_"
        )
        wait_for(lambda: "not sent" in (painted.json("deliveries", "list")[0]["last_error"] or ""))
        file.write_text(right)
        resumed = painted.run("channels", "resume", "example")
        assert resumed.err.startswith("example is open")
        painted.run("deliveries", "retry", "1")  # unless it is on the wire by now
        wait_for(lambda: "stored" in consumer.verdicts())
    finally:
        daemon.terminate()
        output, _ = daemon.communicate(timeout=300)
    assert daemon.returncode == 0
    for secret in (right, wrong):
        assert secret.strip().removeprefix("whsec_") not in output


def test_of_a_secret_in_the_environment_resuming_says_that_the_daemon_is_to_be_restarted(
    painted: Place,
) -> None:
    channel = '\n[channels.x]\ntype = "webhook"\nurl = "https://example.org"\nsecret_env = "HOOK"\n'
    painted.configure((painted.root / "artbot.toml").read_text() + channel)
    assert painted.run("channels", "resume", "x").err == "x is open; nothing waits for it\n"
    with hold_worker(painted.root / "db/artbot.lock", "daemon"):
        painted.run("channels", "resume", "x").refused(0, "variable HOOK", "restart the daemon")


def test_batch_asks_the_running_daemon_and_waits_for_it(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    daemon = place.start("daemon")
    try:
        wait_for(lambda: place.json("status")["num_pending"] == 3)
        result = place.run("batch", "--extra")
        assert result.code == 0, result.err
        assert f"process {daemon.pid}" in result.err
        assert place.json("status")["num_pending"] == 6
    finally:
        daemon.terminate()
        daemon.communicate(timeout=300)


def test_whoever_waits_for_an_extra_batch_hears_that_the_daemon_cannot_make_it(
    place: Place, tiny_checkpoint: Path
) -> None:
    (place.add_checkpoint(tiny_checkpoint) / "generator.safetensors").write_bytes(b"half")
    daemon = place.start("daemon")
    try:
        wait_for(lambda: place.json("status")["worker"])
        place.run("batch", "--extra").refused(1, "is not made: no checkpoint can be used")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=300)
    assert place.sql("SELECT state FROM batches WHERE number = 1") == [("skipped",)]


def test_days_missed_are_recorded_and_the_recent_ones_caught_up(painted: Place) -> None:
    """Five days later, by the clock the daemon is given."""
    settings = load_settings(painted.root, settings_models())
    days = timedelta(days=5)
    later = datetime.now(UTC).replace(hour=1) + days
    boot_id, boot_s = system_boot()
    workplace = Workplace(
        settings, clock=lambda: later, boot=lambda: (boot_id, boot_s + days.total_seconds())
    )
    assert Daemon(workplace, lambda: False, Supervision({})).round()
    from sqlalchemy import select

    from db.models import Batch

    with workplace.database.read() as session:
        days = session.execute(select(Batch.local_date, Batch.state, Batch.reason)).all()
    assert [state for _, state, _ in days] == ["ready", *["skipped"] * 3, "ready", "ready"]
    dates = [day for day, _, _ in days]
    assert dates == [dates[0] + timedelta(days=n) for n in range(6)]
    assert all(reason for _, state, reason in days if state == "skipped")


# Standing by


def told(daemon: subprocess.Popen[str]) -> str:
    assert daemon.stdout is not None
    return daemon.stdout.readline()


def test_a_second_daemon_stands_by_and_begins_when_the_first_has_ended(painted: Place) -> None:
    first = painted.start("daemon")
    wait_for(lambda: painted.json("status")["worker"])
    second = painted.start("daemon")
    try:
        said = told(second)
        assert f"INFO standing by: artbot daemon (process {first.pid} on" in said
        first.kill()
        first.communicate()
        assert "INFO taking over" in told(second)
        wait_for(lambda: f"process {second.pid} on" in (painted.json("status")["worker"] or ""))
    finally:
        second.terminate()
        out, _ = second.communicate(timeout=300)
    assert second.returncode == 0
    assert out.rstrip().endswith("INFO stopped")


def test_a_daemon_that_stands_by_ends_when_it_is_told_to(painted: Place) -> None:
    with hold_worker(painted.root / "db/artbot.lock", "batch"):
        waiting = painted.start("daemon")
        assert "standing by: artbot batch" in told(waiting)
        waiting.terminate()
        out, _ = waiting.communicate(timeout=300)
    assert (waiting.returncode, out.rstrip()[-12:]) == (0, "INFO stopped")


@on_sqlite_only  # a server's database is restored with its own programs
def test_a_daemon_waits_for_its_database_while_a_person_restores_it(painted: Place) -> None:
    """It says once what is wrong, systemd hears that it lives, and it needs no new start."""
    backup = painted.json("db", "backup")["path"]
    (painted.root / "db/artbot.sqlite3").unlink()
    painted.run("daemon", "--once").refused(1, "gone or empty")
    address = painted.root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(30)
        daemon = painted.start("daemon", NOTIFY_SOCKET=str(address), WATCHDOG_USEC="120000000")
        try:
            assert re.search("ERROR standing by: the database .* gone or empty", told(daemon))
            assert systemd.recv(1000) == b"READY=1\nWATCHDOG_USEC=300000000"
            assert [systemd.recv(1000) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            painted.run("db", "restore", backup).refused(0)
            assert "INFO taking over" in told(daemon)
            wait_for(lambda: painted.json("status")["worker"])
        finally:
            daemon.terminate()
            out, _ = daemon.communicate(timeout=300)
    assert daemon.returncode == 0, out
    assert painted.json("status")["num_pending"] == 3


def test_a_batch_that_waited_too_long_for_a_generator_is_given_up_and_says_why(
    place: Place,
) -> None:
    place.run("batch").refused(1, "no checkpoint")
    later = datetime.now(UTC) + timedelta(days=2)
    settings = load_settings(place.root, settings_models())
    Daemon(Workplace(settings, clock=lambda: later), lambda: False, Supervision({})).round()
    from sqlalchemy import select

    from db.models import Batch

    with Workplace(settings).database.read() as session:
        first = session.scalars(select(Batch).order_by(Batch.local_date)).first()
    assert first is not None
    assert first.state == "skipped"
    assert first.reason is not None
    assert first.reason.startswith("not made in time: no checkpoint")


def test_a_wrong_secret_is_found_when_the_daemon_starts(painted: Place) -> None:
    channel = (
        '\n[channels.x]\ntype = "webhook"\nurl = "https://example.org"\nsecret_env = "NOT_SET"\n'
    )
    painted.configure((painted.root / "artbot.toml").read_text() + channel)
    painted.run("daemon").refused(3, "channels.x", "NOT_SET")
    assert painted.run("status").code == 0, "looking needs no secret"


def test_the_render_child_sees_no_secret(painted: Place, consumer: Consumer) -> None:
    settings = load_settings(painted.root, settings_models())
    os.environ["ARTBOT_TEST_SECRET"] = "whsec_c2VjcmV0IHRoYXQgbm9ib2R5IGtub3dzIGFib3V0"
    try:
        channel = settings_models()["webhook"].model_validate(
            {"type": "webhook", "url": "https://example.org", "secret_env": "ARTBOT_TEST_SECRET"}
        )
        with_env = settings.model_copy(update={"channels": {"x": channel}})
        assert "ARTBOT_TEST_SECRET" not in with_env.child_environment()
        assert "PATH" in with_env.child_environment()
    finally:
        del os.environ["ARTBOT_TEST_SECRET"]

"""What is killed when, and what is then found: real processes, real SIGKILL, the real receiver."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image

from artbot.domain.seeds import seed_for
from tests.conftest import ARTBOT, SCHEDULE, Consumer, Place, on_sqlite_only, wait_for

KILLED = -signal.SIGKILL


def seeds(place: Place) -> list[tuple[str, int]]:
    rows = place.sql("SELECT name, seed FROM candidates ORDER BY name")
    return [(str(name), int(str(seed))) for name, seed in rows]


def expected_seeds(place: Place, count: int = 3) -> list[tuple[str, int]]:
    key = seeds(place)[0][0].rpartition("-")[0]
    return [(f"{key}-{i:02d}", seed_for(key, i)) for i in range(1, count + 1)]


@pytest.mark.parametrize("moment", ["batch.planned", "batch.rendered"])
def test_a_batch_cut_off_by_a_kill_is_finished_as_the_same_batch(
    place: Place, tiny_checkpoint: Path, moment: str
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    assert place.run("daemon", "--once", ARTBOT_FP=f"{moment}:kill").code == KILLED
    written_down = seeds(place)
    assert len(written_down) == 3, "seeds are committed before any pixel"
    assert place.run("daemon", "--once").code == 0
    assert seeds(place) == written_down == expected_seeds(place)
    assert place.json("status")["num_pending"] == 3
    assert place.json("reproduce", "1")["is_identical"]


def test_a_batch_killed_again_and_again_at_any_moment_comes_out_as_if_it_never_was(
    place: Place, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    config = (place.root / "artbot.toml").read_text().replace("candidates = 3", "candidates = 12")
    place.configure(config)
    undisturbed = Place(Path(shutil.copytree(place.root, tmp_path / "undisturbed")))
    undisturbed.configure(SCHEDULE.replace("candidates = 3", "candidates = 12"))
    assert undisturbed.run("batch").code == 0
    rng = random.Random(20261121)
    for _ in range(6):
        process = place.start("batch")
        time.sleep(rng.uniform(0.3, 2.5))
        process.kill()
        process.communicate()
    assert place.run("batch").code == 0
    assert place.files() == undisturbed.files()
    assert seeds(place) == seeds(undisturbed)
    leftovers = [path for path in (place.root / "works").rglob(".*.tmp") if path.is_file()]
    assert not leftovers


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [
        ("delivery.claimed", "unavailable"),
        ("delivery.prepared", "unavailable"),
        ("delivery.committing", "unknown"),
        ("delivery.sent", "unknown"),
    ],
)
def test_a_work_reaches_the_receiver_once_although_the_daemon_was_killed_while_sending(
    painted: Place, consumer: Consumer, moment: str, outcome: str
) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    assert painted.run("approve", "2").code == 0
    assert painted.run("daemon", "--once", ARTBOT_FP=f"{moment}:kill").code == KILLED
    assert painted.json("show", "2")["deliveries"][0]["state"] == "sending"
    assert painted.run("daemon", "--once").code == 0
    story = painted.json("show", "2")["deliveries"][0]
    assert story["state"] == "delivered"
    assert [attempt["outcome"] for attempt in story["attempts"]] == [outcome, "delivered"]
    already_there = moment == "delivery.sent"
    assert consumer.verdicts() == (["stored", "duplicate"] if already_there else ["stored"])
    assert len({line["webhook_id"] for line in consumer.log()}) == 1
    stored = list(consumer.store.glob("*.png"))
    (picture,) = (Image.open(path).tobytes() for path in stored)
    assert picture == Image.open(painted.json("show", "2")["file"]).tobytes()


def test_a_decision_is_whole_or_absent_wherever_the_command_is_killed(
    painted: Place, consumer: Consumer
) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel(60))
    rng = random.Random(7)
    for _ in range(8):
        process = painted.start("approve", "1")
        time.sleep(rng.uniform(0.05, 0.6))
        process.kill()
        process.communicate()
        work = painted.json("show", "1")
        approved = work["state"] == "approved"
        assert len(work["deliveries"]) == approved
        assert [decision["now"] for decision in work["decisions"]] == ["approved"] * approved
    assert painted.run("approve", "1").code == 0
    assert len(painted.json("show", "1")["deliveries"]) == 1


@on_sqlite_only  # from inside the namespace the tests' server cannot be reached
def test_a_disk_that_fills_up_while_painting_loses_nothing(
    place: Place, tiny_checkpoint: Path
) -> None:
    """The works folder is a file system that holds the generator and one picture, no more."""
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(place.root / "works")]
    tried = subprocess.run(probe, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no private mount to fill: {tried.stderr.strip()}")
    place.add_checkpoint(tiny_checkpoint)
    works = place.root / "works"
    page = 4096
    pages = (tiny_checkpoint / "generator.safetensors").stat().st_size // page + 4
    mount_and_run = f"mount -t tmpfs -o size={pages * page} none {works} && {ARTBOT} batch"
    process = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount_and_run],
        cwd=place.root,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 1, process.stderr
    assert "No space left on device" in process.stderr
    assert "Traceback" not in process.stderr
    # The small disk is gone, and with it what was on it; the database knows what is to be painted.
    written_down = seeds(place)
    assert place.run("batch").code == 0
    assert seeds(place) == written_down
    assert place.json("status")["num_pending"] == 3
    assert place.files(), "what had not found room is painted now"


def test_the_second_worker_is_refused_and_told_who_the_first_one_is(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    first = place.start("daemon")
    try:
        wait_for(lambda: place.json("status")["worker"])
        place.run("daemon", "--once").refused(1, f"process {first.pid}", "already at work")
        place.run("publish").refused(1, f"process {first.pid}")
    finally:
        first.terminate()
        first.communicate(timeout=300)
    assert first.returncode == 0


def test_the_lock_of_a_killed_daemon_does_not_outlive_it(place: Place) -> None:
    first = place.start("daemon")
    wait_for(lambda: place.json("status")["worker"])
    first.kill()
    first.communicate()
    assert place.json("status")["worker"] is None
    assert place.run("publish").code == 0

"""The commands as a person meets them: words, exit codes, JSON, bad input."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import Consumer, Place, on_sqlite_only
from tests.trainer_fixtures import write_pictures


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from artbot.cli.main import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'numpy', 'PIL', 'sqlalchemy', 'requests', 'pydantic', 'rich', 'apscheduler'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert "Choose:" in process.stdout


def test_every_command_says_the_same_in_the_list_and_in_its_help() -> None:
    import importlib

    from artbot.cli.main import SECTIONS

    for entries in SECTIONS.values():
        for name, entry in entries.items():
            module = importlib.import_module(f"artbot.cli.{entry.module}")
            assert getattr(module, f"{name}_command").name == name
            assert entry.summary.endswith(".")


def test_init_makes_a_workplace_once_and_never_touches_what_is_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run("init", "studio").refused(0, "artbot.toml is written")
    studio = tmp_path / "studio"
    for name in ("artbot.toml", "datasets", "checkpoints", "db", "works", "secrets/webhook"):
        assert (studio / name).exists(), name
    assert (studio / "secrets/webhook").stat().st_mode & 0o777 == 0o600
    assert tomllib.loads((studio / "artbot.toml").read_text())["schedules"]["daily"]["candidates"]
    secret = (studio / "secrets/webhook").read_text()
    place.run("init", "studio").refused(2, "lacks nothing", "nothing was changed")
    assert (studio / "secrets/webhook").read_text() == secret


@on_sqlite_only
def test_checkpoints_are_listed_with_the_pictures_they_learned_from(
    place: Place, tiny_checkpoint: Path
) -> None:
    manifest = place.add_checkpoint(tiny_checkpoint) / "manifest.json"
    assert "16 pictures of tests  20" in place.run("checkpoints").out
    facts = json.loads(manifest.read_text())
    facts["dataset"] |= {"num_pictures": 384, "num_held_out": 51}
    manifest.write_text(json.dumps(facts))
    assert "384 pictures of tests (51 held out)  20" in place.run("checkpoints").out
    assert place.json("checkpoints")[0]["learned_from"] == "384 pictures of tests (51 held out)"
    assert "learned from 384 pictures of tests" in place.run("status").out


@on_sqlite_only
def test_a_later_checkpoint_that_could_not_be_judged_is_marked_and_told_how_to_be_used(
    place: Place, tiny_checkpoint: Path
) -> None:
    manifest = place.add_checkpoint(tiny_checkpoint) / "manifest.json"
    facts = json.loads(manifest.read_text())
    hasty = place.root / "checkpoints" / "hasty-32-000002"
    shutil.copytree(manifest.parent, hasty)
    later = {"created_at": "2099-01-01T00:00:00Z", "name": hasty.name}
    doubt = {"doubt": "too short to be judged: it ends at 2 kimg"}
    (hasty / "manifest.json").write_text(json.dumps(facts | later | doubt))
    manifest.write_text(json.dumps(facts | {"doubt": ""}))
    first, second, told = place.run("checkpoints").out.splitlines()
    assert first.startswith(hasty.name)
    assert first.endswith("2099-01-01T00:00  too short to be judged")
    assert second.startswith(facts["name"])
    assert told == (
        f"later, but too short to be judged: {hasty.name}; to use it all the same: "
        f'checkpoint = "{hasty.name}" under [schedules.daily]'
    )
    assert f"painted by {facts['name']} " in place.run("status").out


def test_a_fresh_workplace_says_what_to_do_next(place: Place) -> None:
    status = place.run("status")
    assert status.code == 0
    assert "artbot train --dataset NAME" in status.out
    place.run("review").refused(0, "nothing waits", "artbot batch")
    place.run("checkpoints").refused(0, "artbot train")
    place.run("publish").refused(0, "nothing is due")
    place.run("undo").refused(1, "no decision to undo")


def test_outside_a_workplace_every_command_says_how_to_get_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for command in (["status"], ["review"], ["daemon"], ["approve", "1"]):
        place.run(*command).refused(3, "artbot init")
    place.run("--workplace", "nowhere", "status").refused(3, "nowhere holds no artbot.toml")


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(place: Place) -> None:
    place.configure('[schedules.daily]\nat = "07:00"\ncandidate = 3\n[path]\nworks = "w"\n')
    result = place.run("status")
    result.refused(3, "schedules.daily.candidate: unknown key; did you mean candidates?")
    assert "path: unknown key; did you mean paths?" in result.err
    assert not (place.root / "db/artbot.sqlite3").exists(), "refused before the database is touched"


def test_what_does_not_exist_is_a_usage_error(painted: Place) -> None:
    painted.run("approve", "99").refused(2, "no candidate 99", "artbot review --all")
    painted.run("show", "99").refused(2, "no candidate 99")
    painted.run("approve", "1", "--channel", "nowhere").refused(2, "no channel 'nowhere'")
    painted.run("deliveries", "retry", "5").refused(2, "no delivery 5")
    painted.run("batch", "--schedule", "weekly").refused(2, "no schedule 'weekly'")
    painted.run("approve").refused(2, "ID")
    painted.run("aprove", "1").refused(2, "approve")


def test_numbers_and_words_that_nothing_can_hold_are_usage_errors(painted: Place) -> None:
    huge, foreign = "9" * 20, "caf\udce9"  # as the shell passes on a byte that is no UTF-8
    for command in ("show", "explain", "reproduce", "approve", "reject", "undo"):
        painted.run(command, huge).refused(2, "there is no candidate")
        painted.run(command, foreign).refused(2, "there is no candidate")
    painted.run("approve", "1", "--title", foreign).refused(2, "the title is no UTF-8 text")
    painted.run("review", "--batch", foreign).refused(2, "there is no batch")
    painted.run("batch", "--schedule", foreign).refused(2, "there is no schedule")
    assert painted.json("show", "1")["state"] == "pending"


def test_a_bug_is_told_without_the_secrets_it_met() -> None:
    code = (
        "import sys, threading\n"
        "from artbot.cli import main\n"
        "from artbot.redaction import register_secret\n"
        "register_secret('c2VjcmV0c2VjcmV0')\n"
        "def bug(*arguments, **options):\n"
        "    raise LookupError('c2VjcmV0c2VjcmV0')\n"
        "main.cli.main = lambda **options: (threading.Thread(target=bug).start(), bug())\n"
        "main.main()\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr.count("Traceback") == process.stderr.count("LookupError: [secret]") == 2
    assert "c2VjcmV0" not in process.stderr.replace("register_secret('c2VjcmV0c2VjcmV0')", "")


def test_a_work_may_be_called_by_its_name(painted: Place) -> None:
    name = painted.json("show", "2")["name"]
    assert painted.json("show", name)["id"] == 2
    painted.run("approve", name).refused(0, f"2 ({name}) is approved")
    painted.run("approve", "2,3").refused(2, "no candidate '2,3'", "spaces")


def test_a_workplace_that_lost_its_secret_gets_a_new_one_and_keeps_its_configuration(
    place: Place,
) -> None:
    config = (place.root / "artbot.toml").read_text()
    (place.root / "secrets/webhook").unlink()
    place.run("init").refused(0, "made again: secrets/webhook")
    assert (place.root / "secrets/webhook").stat().st_mode & 0o777 == 0o600
    assert (place.root / "artbot.toml").read_text() == config


def test_retrying_several_deliveries_does_each_that_can_be_done(
    painted: Place, consumer: Consumer
) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    painted.run("approve", "1", "2", "3")
    consumer.process.kill()
    consumer.process.wait()
    assert painted.run("publish").code == 1
    painted.run("undo", "2").refused(0, "pending again")
    result = painted.run("deliveries", "retry", "1", "2", "99", "3")
    result.refused(1, "delivery 2 is cancelled", "no delivery 99")
    assert "3: " in result.err


def test_a_work_approved_before_there_was_a_channel_is_not_forgotten(
    painted: Place, consumer: Consumer
) -> None:
    painted.run("approve", "1").refused(0, "goes nowhere yet")
    assert painted.json("status")["num_without_channel"] == 1
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    painted.run("approve", "1").refused(0, "example now")
    assert painted.run("publish").code == 0
    assert consumer.verdicts() == ["stored"]
    assert painted.json("status")["num_without_channel"] == 0


def test_several_decisions_at_once_stand_each_for_itself(painted: Place) -> None:
    result = painted.run("reject", "1", "99", "2", "--json")
    assert result.code == 2
    answer = json.loads(result.out)
    assert [c["id"] for c in answer["decided"]] == [1, 2]
    assert answer["errors"][0]["id"] == "99"


def test_the_contact_sheet_shows_what_waits(painted: Place) -> None:
    from PIL import Image

    review = painted.json("review")
    with Image.open(review["sheet"]) as sheet:
        assert sheet.width == 1280
    assert len(review["candidates"]) == 3
    assert len(painted.json("review", "--limit", "2")["candidates"]) == 2
    painted.run("review", "--limit", "2").refused(0, "older ones:    with --limit 20")
    assert "older ones" not in painted.run("review", "--limit", "3").err
    painted.run("approve", "1")
    assert len(painted.json("review")["candidates"]) == 2
    assert len(painted.json("review", "--all")["candidates"]) == 3


def test_undo_takes_back_decision_after_decision(painted: Place) -> None:
    painted.run("approve", "1")
    painted.run("reject", "2")
    painted.run("undo").refused(0, "2 (", "is pending again")
    painted.run("undo").refused(0, "1 (", "is pending again")
    painted.run("undo").refused(1, "no decision to undo")
    assert len(painted.json("review")["candidates"]) == 3


def test_which_one_is_meant_can_be_said_in_many_ways(painted: Place) -> None:
    name = painted.json("show", "2")["name"]
    for typed in (["2"], [name], ["today:2"], ["2", "of", "today"], ["2 of today"]):
        assert painted.json("show", *typed)["id"] == 2, typed
    painted.run("show", "1-3").refused(2, "'1-3' means 3 candidates. Name one of them: 1, say.")
    painted.run("show", "1", "2").refused(2, "one at a time: 1, 2 are 2.")
    painted.run("explain", name[:-2]).refused(2, "several names begin with", "Type more")
    painted.run("approve", "2-9", "5-4", "1", "of", "today", "--json").refused(2)
    assert [c["state"] for c in painted.json("review", "list", "--all")] == ["approved"] * 3
    painted.run("undo", "1-2").refused(0, "1 (", "2 (")
    painted.run("reject", "today").refused(0, "1 (", "2 (")
    painted.run("later", "today").refused(2, "nothing is undecided")


def test_later_and_stars_are_shown_and_taken_back_and_given_again(painted: Place) -> None:
    name = painted.json("show", "1")["name"]
    painted.run("later", "1").refused(0, f"1 ({name}) is put off until later")
    painted.run("star", "1", "3", "--stars", "4").refused(0, f"1 ({name}) has 4 stars")
    painted.run("star", "1").refused(2, "--stars")
    painted.run("star", "1", "--stars", "6").refused(2, "6 is not in the range")
    lines = painted.run("review", "--list").out.splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [
        ["2", "pending"],
        ["3", "pending"],
        ["1", "later"],
    ]
    assert [line.count("★") for line in lines] == [0, 4, 4]
    assert "2, and 1 put off until later (artbot review)" in painted.run("status").out
    painted.run("undo", "1").refused(0, f"1 ({name}) has no stars again")
    painted.run("undo", "1").refused(0, f"1 ({name}) is pending again")
    painted.run("redo").refused(0, f"1 ({name}) is put off until later again")
    painted.run("redo", "1").refused(0, f"1 ({name}) has 4 stars again")
    painted.run("redo").refused(1, "there is no undo to take back")
    shown = painted.run("show", "1").out
    for line in (
        "later, 4 stars",
        "put off until later, by",
        "back to no stars, by",
        "4 stars again, by",
    ):
        assert line in shown, shown
    assert painted.json("show", "1")["stars"] == 4
    assert [d["stars"] for d in painted.json("show", "1")["decisions"]] == [0, 4, 0, 0, 0, 4]
    assert "4 stars       by" in painted.run("explain", "1").out
    painted.run("star", "1", "--stars", "0").refused(0, "has no stars")


def test_the_list_and_the_sheet_can_be_had_alone(painted: Place, tmp_path: Path) -> None:
    sheet = painted.root / "works/contact-sheet.png"
    listed = painted.run("review", "list")
    listed.refused(0, "artbot later 1")
    assert len(listed.out.splitlines()) == 4
    assert not sheet.exists()
    assert painted.run("review", "sheet").out == f"{sheet}\n"
    assert painted.json("review", "sheet", "--to", str(tmp_path / "s.png"))["sheet"] == str(
        tmp_path / "s.png"
    )
    assert sheet.read_bytes() == (tmp_path / "s.png").read_bytes()
    painted.run("review", "sheet", "--to", "nowhere/s.png").refused(1, "another place with --to")
    assert painted.run("review", "show", "1").out == painted.run("show", "1").out
    painted.run("later", "1-3")
    assert len(painted.json("review", "list", "--batch", painted.json("show", "1")["batch"])) == 3
    painted.run("reject", "1-3")
    painted.run("review", "list").refused(0, "nothing waits for review")
    assert painted.json("review", "sheet") == {"sheet": None}


def test_an_approval_may_say_when(painted: Place, consumer: Consumer) -> None:
    slots = 'slots = ["daily 12:00"]\ntimezone = "Asia/Kolkata"\n'
    channel = consumer.channel(10).replace("[publishing]", f"{slots}[publishing]")
    painted.configure((painted.root / "artbot.toml").read_text() + channel)
    painted.run("approve", "1", "--at", "2099-12-24T18:00").refused(
        0, "example on 24 Dec 2099 18:00 (Asia/Kolkata)"
    )
    at = painted.json("show", "1")["deliveries"][0]["next_at"]
    assert at == "2099-12-24T12:30:00.000000Z"
    painted.run("undo").refused(0, "is pending again")
    painted.run("redo").refused(0, "is approved again: example on 24 Dec 2099 18:00 (Asia/Kolkata)")
    painted.run("approve", "2", "--at", "2099-12-24T18:00").refused(1, "is taken by delivery 1")
    painted.run("approve", "2", "--at", "soon").refused(2, "'soon' is no time. Write next", "now")
    painted.run("approve", "2", "--at", "2020-01-01T10:00").refused(2, "2020-01-01 10:00 is past")
    painted.run("approve", "2-3", "--title", "Dusk").refused(
        2, "--title describes one picture, and these are 2: approve each separately."
    )
    painted.run("approve", "2", "3", "--title", "a", "--alt", "b").refused(
        2, "--title and --alt describe"
    )
    painted.run("approve", "2", "--at", "now").refused(0, "example now")
    assert painted.run("publish").code == 0
    assert consumer.verdicts() == ["stored"]
    assert painted.run("doctor", "--quick").code == 0
    assert " move " in painted.run("explain", "1").out
    painted.run("queue", "move", "1", "--to", "now").refused(2, "artbot queue now")


def test_an_approval_waits_for_the_undo_time_and_can_be_taken_back_within_it(
    painted: Place, consumer: Consumer
) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel(10))
    painted.run("approve", "1").refused(0, "example at", "until then: artbot undo 1")
    painted.run("publish").refused(0, "nothing is due yet: 1 waiting")
    painted.run("undo", "1").refused(0, "pending again")
    assert painted.json("status")["num_waiting"] == 0
    assert consumer.verdicts() == []


def test_a_published_work_cannot_be_taken_back(painted: Place, consumer: Consumer) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    painted.run("approve", "1")
    assert painted.run("publish").code == 0
    painted.run("undo", "1").refused(1, "already gone out")
    assert painted.json("status")["num_published"] == 1


def test_json_is_all_there_is_on_standard_output(painted: Place) -> None:
    for command in (
        ["status"],
        ["review"],
        ["show", "1"],
        ["checkpoints"],
        ["deliveries", "list"],
        ["channels", "list"],
    ):
        json.loads(painted.run(*command, "--json").out)


def test_an_output_pipe_that_closes_early_is_no_traceback(painted: Place) -> None:
    from tests.conftest import ARTBOT

    process = subprocess.run(
        f"{ARTBOT} review --all --json | head -c 1",
        shell=True,
        cwd=painted.root,
        capture_output=True,
    )
    assert b"Traceback" not in process.stderr


@on_sqlite_only
@pytest.mark.parametrize("content", [b"not a database at all" * 100, b""])
def test_a_file_that_is_no_database_is_said_to_be_none(place: Place, content: bytes) -> None:
    path = place.root / "db/artbot.sqlite3"
    path.write_bytes(content)
    result = place.run("status")
    if content:
        result.refused(1, "artbot.sqlite3 cannot be opened")
        assert path.read_bytes() == content
    else:  # what sqlite makes of an empty file is a new database
        assert result.code == 0


def test_training_works_without_a_workplace_and_in_one_uses_its_folders(tmp_path: Path) -> None:
    plain = Place(tmp_path)
    write_pictures(tmp_path / "pictures")
    (tmp_path / "nothing").mkdir()
    plan = plain.run("train", "--dataset", "pictures", "--size", "32", "--dry-run")
    plan.refused(0, "no workplace here", str(tmp_path))
    assert "checkpoints          checkpoints" in plan.out
    plain.run("init", "studio")
    studio = Place(tmp_path / "studio")
    plan = studio.run("train", "--dataset", "../pictures", "--size", "32", "--dry-run")
    assert str(tmp_path / "studio/checkpoints") in plan.out
    studio.run("train", "--dataset", "missing").refused(2, "no folder", "datasets/missing")
    studio.run("train", "--dataset", "../nothing", "--size", "32").refused(1, "holds no pictures")
    studio.run("train", "--dataset", "../pictures", "--size", "100").refused(2, "--size")

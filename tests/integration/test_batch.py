"""The day's batch, made by commands in a real workplace with a real render child."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from artbot.domain.seeds import seed_for
from artbot.studio.provenance import likeness
from db.engine import open_database
from db.models import Candidate
from tests.conftest import SCHEDULE, Consumer, Place, export_tiny
from trainers.manifest import read_manifest

FLOWERS = ("rose", "tulip")


def test_a_batch_is_painted_from_the_seeds_of_its_key(painted: Place) -> None:
    batch = painted.json("batch")
    assert batch["state"] == "ready"
    assert batch["num_pending"] == 3
    candidates = painted.json("review")["candidates"]
    assert [c["seed"] for c in candidates] == [seed_for(batch["batch"], i) for i in (1, 2, 3)]
    for candidate in candidates:
        with Image.open(candidate["file"]) as picture:
            assert picture.size == (32, 32)
            origin = json.loads(picture.info["artbot"])
            looks = str(likeness(np.asarray(picture)))
        found = painted.sql(f"SELECT likeness FROM candidates WHERE id = {candidate['id']}")
        assert found == [(looks,)]
        assert origin["seed"] == candidate["seed"]
        assert origin["checkpoint_sha256"] == candidate["checkpoint"]["sha256"]


def test_asking_for_the_days_batch_again_changes_nothing(painted: Place) -> None:
    before = painted.files(), painted.sql("SELECT * FROM candidates")
    painted.run("batch").refused(
        0, "was made before", "nothing is painted now", "--extra", "3 of 3"
    )
    assert painted.run("daemon", "--once").code == 0
    assert (painted.files(), painted.sql("SELECT * FROM candidates")) == before


def test_an_extra_batch_has_its_own_name_and_other_seeds(painted: Place) -> None:
    extra = painted.json("batch", "--extra")
    assert extra["batch"].endswith("-extra-1")
    assert extra["num_pending"] == 3
    seeds = painted.sql("SELECT DISTINCT seed FROM candidates")
    assert len(seeds) == 6


def damage(checkpoint: Path) -> None:
    weights = checkpoint / "generator.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)


def batches(place: Place) -> list[tuple[object, ...]]:
    return place.sql("SELECT number, state FROM batches ORDER BY number")


def test_an_extra_batch_that_cannot_be_made_is_refused_before_anything_is_planned(
    place: Place,
) -> None:
    place.run("batch", "--extra").refused(1, "no checkpoint", "artbot train")
    flowers = export_tiny(place.root / "checkpoints", 1, 2, run="flowers", class_names=FLOWERS)
    for wanted, words in (
        ('class = "daisy"', "its classes are rose, tulip"),
        ('dataset = "fish"', "learned from 'fish'"),
        ('checkpoint = "flowrs"', "'flowrs'"),
    ):
        place.configure(SCHEDULE + wanted)
        refused = place.run("batch", "--extra")
        refused.refused(1, words)
        assert refused.err.count(words) == 1
    (flowers / "manifest.json").unlink()
    place.configure(SCHEDULE)
    place.run("batch", "--extra").refused(1, "manifest.json")
    assert batches(place) == []


def test_an_extra_batch_that_turns_out_impossible_is_skipped_and_the_days_own_waits(
    place: Place, tiny_checkpoint: Path
) -> None:
    damage(place.add_checkpoint(tiny_checkpoint))
    for command, states in (
        (("batch",), [(0, "planned")]),
        (("batch", "--extra"), [(0, "planned"), (1, "skipped")]),
    ):
        refused = place.run(*command)
        refused.refused(1, "no checkpoint can be used")
        assert refused.err.count("sha256") == 1
        assert batches(place) == states
    place.configure(SCHEDULE + '[studio]\ndevice = "cuda:9"\n')
    shutil.rmtree(place.root / "checkpoints" / tiny_checkpoint.name)
    place.add_checkpoint(tiny_checkpoint)
    place.run("batch", "--extra").refused(3, "cuda:9")
    assert batches(place) == [(0, "planned"), (1, "skipped"), (2, "skipped")]
    place.configure(SCHEDULE)
    assert place.run("daemon", "--once").code == 0
    assert batches(place) == [(0, "ready"), (1, "skipped"), (2, "skipped")]


def test_an_extra_batch_whose_command_was_killed_is_made_by_whoever_works_next(
    painted: Place,
) -> None:
    killed = painted.run("batch", "--extra", ARTBOT_FP="worker.recovered:kill")
    assert killed.code == -9
    assert batches(painted) == [(0, "ready"), (1, "planned")]
    assert painted.run("daemon", "--once").code == 0
    assert batches(painted) == [(0, "ready"), (1, "ready")]


def test_a_day_that_was_planned_keeps_its_number_of_candidates(
    place: Place, tiny_checkpoint: Path
) -> None:
    """The schedule's number is of the days that are planned from then on."""
    place.run("batch").refused(1, "no checkpoint")
    place.add_checkpoint(tiny_checkpoint)
    place.configure(SCHEDULE.replace("= 3", "= 5"))
    assert place.run("batch", ARTBOT_FP="batch.rendered:kill").code == -9
    place.configure(SCHEDULE.replace("= 3", "= 2"))
    batch = place.json("batch")
    assert (batch["num_candidates"], batch["num_pending"]) == (3, 3)
    assert place.json("batch", "--extra")["num_pending"] == 2


def test_every_work_can_be_painted_again_to_the_pixel(painted: Place) -> None:
    for number in ("1", "2", "3"):
        assert painted.json("reproduce", number)["is_identical"]


def test_a_work_is_reproducible_after_its_checkpoint_was_deleted(painted: Place) -> None:
    for folder in (painted.root / "checkpoints").iterdir():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert painted.json("reproduce", "2")["is_identical"]


def test_a_picture_painted_over_is_noticed_and_restored_to_the_byte(painted: Place) -> None:
    candidate = painted.json("review")["candidates"][0]
    path = Path(candidate["file"])
    original = path.read_bytes()
    Image.new("RGB", (32, 32), "red").save(path)
    painted.run("approve", "1").refused(1, "no longer the picture")
    painted.run("approve", "1").refused(1, "is quarantined", "artbot reproduce 1 --restore")
    painted.run("reproduce", "1").refused(0, "missing or damaged")
    assert painted.json("show", "1")["state"] == "quarantined"
    assert painted.run("reproduce", "1", "--restore").code == 0
    assert path.read_bytes() == original
    assert painted.json("show", "1")["state"] == "pending"
    assert painted.run("approve", "1").code == 0


def test_an_approved_work_whose_picture_was_swapped_is_held_and_sent_once_it_is_restored(
    painted: Place, consumer: Consumer
) -> None:
    painted.configure((painted.root / "artbot.toml").read_text() + consumer.channel())
    painted.run("approve", "1")
    Image.new("RGB", (32, 32), "red").save(painted.json("show", "1")["file"])
    assert painted.run("publish").code == 1
    assert consumer.verdicts() == []
    story = painted.json("show", "1")
    assert (story["state"], story["deliveries"][0]["state"]) == ("quarantined", "held")
    painted.run("deliveries", "retry", "1").refused(1, "waits for its picture", "--restore")
    painted.run("undo", "1").refused(1, "is quarantined", "--restore")
    assert painted.run("reproduce", "1", "--restore").code == 0
    assert painted.run("publish").code == 0
    assert consumer.verdicts() == ["stored"]
    assert [(d["was"], d["now"]) for d in painted.json("show", "1")["decisions"]] == [
        ("pending", "approved"),
        ("approved", "quarantined"),
        ("quarantined", "approved"),
    ]


def test_a_file_that_is_put_back_lets_its_work_out_though_nothing_can_paint_any_more(
    painted: Place,
) -> None:
    path = Path(painted.json("show", "1")["file"])
    elsewhere = path.rename(painted.root / "copy.png")
    painted.run("approve", "1").refused(1, "cannot be read: No such file")
    shutil.rmtree(painted.root / "checkpoints")
    shutil.rmtree(painted.root / "works/generators")
    painted.run("reproduce", "1", "--restore").refused(1, "cannot be made again")
    elsewhere.rename(path)
    assert painted.json("reproduce", "1", "--restore")["is_restored"]
    assert painted.run("approve", "1").code == 0


def test_the_same_pixels_from_another_pillow_are_taken_for_a_work_that_waits(
    painted: Place,
) -> None:
    """As if the recorded file had been written by an older one: the same pixels, compressed otherwise."""
    path = Path(painted.json("show", "1")["file"])
    with Image.open(path) as picture:
        picture.save(path, "PNG", compress_level=1)
    older = hashlib.sha256(path.read_bytes()).hexdigest()
    database = open_database(painted.database_at)
    with database.write() as session:
        session.get_one(Candidate, 1).image_sha256 = older
    database.close()
    path.unlink()
    looks = painted.sql("SELECT likeness FROM candidates WHERE id = 1")
    painted.run("reproduce", "1", "--restore").refused(0, "the same pixels in another file")
    assert painted.sql("SELECT likeness FROM candidates WHERE id = 1") == looks != [(None,)]
    story = painted.json("show", "1")
    assert story["image_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() != older
    assert [(d["was"], d["now"]) for d in story["decisions"]] == [
        ("pending", "quarantined"),
        ("quarantined", "pending"),
    ]
    assert painted.run("approve", "1").code == 0


def test_what_killed_commands_were_making_is_cleared_up_and_what_is_being_made_stays(
    painted: Place,
) -> None:
    works = painted.root / "works"
    old = [works / ".contact-sheet.png.abcd1234.tmp", works / ".daily-2026-11-21-01.abcd1234.tmp"]
    young = works / ".contact-sheet.png.1234abcd.tmp"
    for path in (*old, young):
        path.write_bytes(b"half")
    for path in old:
        os.utime(path, (0, 0))
    assert painted.run("publish").code == 0
    assert list(works.glob(".*")) == [young]


def test_a_data_set_that_a_schedule_asks_for_is_waited_for(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    place.configure(SCHEDULE + 'dataset = "fish"\n')
    place.run("batch").refused(1, "learned from 'fish'", "artbot train --dataset fish")
    assert "learned from 'fish'" in place.run("status").out
    manifest = read_manifest(tiny_checkpoint)
    place.configure(SCHEDULE + f'dataset = "{manifest.dataset.name}"\n')
    assert place.json("batch")["checkpoint"] == tiny_checkpoint.name


def test_a_damaged_checkpoint_is_refused_with_its_reason_and_the_one_before_is_used(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    newer = export_tiny(place.root / "checkpoints", seed=1, kimg=2)
    damage(newer)
    result = place.run("batch")
    assert result.code == 0, result.err
    assert f"{newer.name} is refused" in result.err
    assert "sha256" in result.err
    assert {c["checkpoint"]["name"] for c in place.json("review")["candidates"]} == {
        tiny_checkpoint.name
    }
    listed = place.run("checkpoints")
    assert listed.code == 1
    assert "refused: generator.safetensors: sha256" in listed.out


def test_a_whole_checkpoint_that_paints_one_flat_colour_is_refused(
    place: Place, tiny_checkpoint: Path
) -> None:
    import safetensors.torch

    place.add_checkpoint(tiny_checkpoint)
    newer = export_tiny(place.root / "checkpoints", seed=1, kimg=2)
    weights = newer / "generator.safetensors"
    tensors = {
        name: tensor.zero_() for name, tensor in safetensors.torch.load_file(weights).items()
    }
    content = safetensors.torch.save(tensors)
    weights.write_bytes(content)
    manifest = read_manifest(newer).model_copy(
        update={"sha256": hashlib.sha256(content).hexdigest(), "num_bytes": len(content)}
    )
    (newer / "manifest.json").write_bytes(manifest.to_json())
    result = place.run("batch")
    assert result.code == 0, result.err
    assert "one flat colour" in result.err
    assert place.json("batch")["checkpoint"] == tiny_checkpoint.name


def test_without_a_checkpoint_the_day_waits_and_is_made_when_one_comes(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.run("batch").refused(1, "no checkpoint", "artbot train")
    assert "no checkpoint" in place.run("status").out
    assert place.json("status")["unfinished_batches"]
    place.add_checkpoint(tiny_checkpoint)
    assert place.run("daemon", "--once").code == 0
    assert place.json("status")["num_pending"] == 3


def test_a_pinned_checkpoint_is_used_although_there_is_a_later_one(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    export_tiny(place.root / "checkpoints", seed=1, kimg=2)
    config = (place.root / "artbot.toml").read_text()
    place.configure(config + f'checkpoint = "{tiny_checkpoint.name}"\n')
    assert place.run("batch").code == 0
    assert place.json("batch")["checkpoint"] == tiny_checkpoint.name


def test_a_device_that_is_not_there_is_a_configuration_error(
    place: Place, tiny_checkpoint: Path
) -> None:
    place.add_checkpoint(tiny_checkpoint)
    config = (place.root / "artbot.toml").read_text()
    place.configure(config + '[studio]\ndevice = "cuda:9"\n')
    place.run("batch").refused(3, "cuda:9", "use cpu")


# ---------------------------------------------------------------- classes


def classes_of(place: Place) -> list[str]:
    recipes = place.sql('SELECT recipe FROM candidates ORDER BY "index"')
    return [json.loads(str(recipe))["class"] for (recipe,) in recipes]


def test_a_schedule_that_asks_for_a_class_gets_that_class_only(place: Place) -> None:
    export_tiny(place.root / "checkpoints", seed=1, kimg=2, run="flowers", class_names=FLOWERS)
    place.configure(SCHEDULE + 'class = "tulip"')
    assert place.json("batch")["state"] == "ready"
    assert classes_of(place) == ["tulip"] * 3
    for number in ("1", "2", "3"):
        assert place.json("reproduce", number)["is_identical"]


def test_without_asking_every_picture_says_of_which_class_it_is(place: Place) -> None:
    export_tiny(place.root / "checkpoints", seed=1, kimg=2, run="flowers", class_names=FLOWERS)
    batch = place.json("batch")
    seeds = [seed_for(batch["batch"], index) for index in (1, 2, 3)]
    assert classes_of(place) == [FLOWERS[seed % 2] for seed in seeds]


def test_a_generator_without_the_class_is_passed_over_for_one_that_has_it(place: Place) -> None:
    export_tiny(place.root / "checkpoints", seed=1, kimg=2, run="flowers", class_names=FLOWERS)
    export_tiny(place.root / "checkpoints", seed=2, kimg=3, run="plain")
    place.configure(SCHEDULE + 'class = "rose"')
    made = place.run("batch")
    assert made.code == 0
    assert "the schedule asks for class 'rose'; it was trained without classes" in made.err
    assert classes_of(place) == ["rose"] * 3


def test_a_class_nobody_learned_leaves_the_batch_waiting_and_says_so(place: Place) -> None:
    export_tiny(place.root / "checkpoints", seed=1, kimg=2, run="flowers", class_names=FLOWERS)
    place.configure(SCHEDULE + 'class = "daisy"')
    made = place.run("batch")
    assert made.code == 1
    assert "its classes are rose, tulip" in made.err

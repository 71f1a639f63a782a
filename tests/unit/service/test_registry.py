"""Which checkpoint is used, and that its bytes are the ones that were checked."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from artbot.domain.text import is_plain
from artbot.errors import NoCheckpoint
from artbot.studio.registry import (
    LATEST,
    CheckpointEntry,
    choose,
    identity_of,
    keep,
    list_checkpoints,
    open_kept,
    verify,
)
from tests.unit.service import kit
from tests.unit.service.kit import NOON
from tests.unit.trainers.test_header import safetensors_file
from trainers.errors import CheckpointRefused, WeightsRefused
from trainers.manifest import MANIFEST_FILE, WEIGHTS_FILE

WEIGHTS = safetensors_file(data=(b"weights of a small generator" * 40)[:1044])
assert len(WEIGHTS) == 1120
write_checkpoint = partial(kit.write_checkpoint, weights=WEIGHTS)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def generators(tmp_path: Path) -> Path:
    return tmp_path / "works" / "generators"


def names(entries: list[CheckpointEntry]) -> list[str]:
    return [entry.folder.name for entry in entries]


def only(checkpoints: Path) -> CheckpointEntry:
    (entry,) = list_checkpoints(checkpoints)
    return entry


def flip_a_bit(path: Path, at: int = 300) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


# Which is the latest


def test_the_latest_is_the_one_exported_last_whatever_its_name_or_folder_date(
    checkpoints: Path,
) -> None:
    write_checkpoint(checkpoints, "a-000001", NOON + timedelta(hours=1))
    write_checkpoint(checkpoints, "z-999999", NOON, kimg=999)
    write_checkpoint(checkpoints, "m-000005", NOON - timedelta(hours=1))
    (checkpoints / "m-000005" / "touched").write_text("now")
    assert names(list_checkpoints(checkpoints)) == ["a-000001", "z-999999", "m-000005"]


def test_of_two_exported_at_once_the_one_trained_longer_is_the_later(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, "b", kimg=10)
    write_checkpoint(checkpoints, "a", kimg=20)
    assert names(list_checkpoints(checkpoints)) == ["a", "b"]


def test_exports_in_the_making_and_files_are_not_looked_at(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, "whole")
    shutil.copytree(checkpoints / "whole", checkpoints / ".whole.1234abcd.tmp")
    (checkpoints / "notes.txt").write_text("try more kimg")
    assert names(list_checkpoints(checkpoints)) == ["whole"]


def test_no_folder_is_no_checkpoint(checkpoints: Path) -> None:
    assert list_checkpoints(checkpoints) == []


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (None, "manifest.json is missing"),
        ("", "manifest.json"),
        ("{}", "format_version"),
        ('{"format_version": 2}', "format_version"),
        ("[" * 100_000, "manifest.json"),
    ],
)
def test_a_folder_without_a_usable_manifest_is_listed_last_with_the_reason(
    checkpoints: Path, manifest: str | None, reason: str
) -> None:
    write_checkpoint(checkpoints, "good")
    bad = checkpoints / "bad"
    bad.mkdir()
    if manifest is not None:
        (bad / MANIFEST_FILE).write_text(manifest)
    good, refused = list_checkpoints(checkpoints)
    assert (good.refusal, refused.manifest) == (None, None)
    assert reason in (refused.refusal or "")
    assert verify(refused) == refused.refusal


def test_a_renamed_folder_is_refused(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, "flowers-000120")
    (checkpoints / "flowers-000120").rename(checkpoints / "best")
    entry = only(checkpoints)
    assert entry.manifest is None
    assert entry.refusal == "manifest.json calls it 'flowers-000120': renamed or copied"


# Which are tried


def test_latest_tries_all_from_the_latest_on(checkpoints: Path) -> None:
    for days in range(3):
        write_checkpoint(checkpoints, f"c{days}", NOON + timedelta(days=days))
    assert names(list(choose(checkpoints, LATEST))) == ["c2", "c1", "c0"]


DOUBT = "too short to be judged: it ends at 2 kimg, a run is judged from 12 kimg on"


def test_the_latest_is_the_latest_without_doubt_and_those_with_one_come_last(
    checkpoints: Path,
) -> None:
    write_checkpoint(checkpoints, "judged", NOON)
    write_checkpoint(checkpoints, "later", NOON + timedelta(days=1))
    write_checkpoint(checkpoints, "hasty", NOON + timedelta(days=2), doubt=DOUBT)
    write_checkpoint(checkpoints, "hastier", NOON + timedelta(days=3), doubt=DOUBT)
    (checkpoints / "empty").mkdir()
    tried = ["later", "judged", "hastier", "hasty", "empty"]
    assert names(list(choose(checkpoints, LATEST))) == tried
    assert names(list(choose(checkpoints, "hasty"))) == ["hasty"], "whoever names it means it"


def test_where_all_are_doubted_the_latest_of_them_is_the_latest(checkpoints: Path) -> None:
    """As on the first day, with one generator of a few minutes."""
    for days in range(2):
        write_checkpoint(checkpoints, f"c{days}", NOON + timedelta(days=days), doubt=DOUBT)
    assert names(list(choose(checkpoints, LATEST))) == ["c1", "c0"]


def test_a_doubt_makes_no_other_generator_and_is_told_in_few_words(checkpoints: Path) -> None:
    manifest = write_checkpoint(checkpoints, doubt=DOUBT)
    assert identity_of(manifest) == identity_of(manifest.model_copy(update={"doubt": ""}))
    entry = only(checkpoints)
    assert entry.doubt == "too short to be judged"
    assert entry.facts.endswith("120 kimg, too short to be judged")


def test_a_manifest_from_before_doubts_were_noted_has_none(checkpoints: Path) -> None:
    facts = json.loads(write_checkpoint(checkpoints).to_json())
    del facts["doubt"]
    (checkpoints / facts["name"] / MANIFEST_FILE).write_text(json.dumps(facts))
    assert only(checkpoints).doubt == ""


def test_a_doubt_that_could_steer_a_terminal_is_refused(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, doubt="too short\x1b[2J")
    assert only(checkpoints).refusal == (
        "manifest.json: doubt: 'too short\\x1b[2J' holds control characters"
    )


def test_a_named_checkpoint_is_the_only_one_tried(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, "old", NOON)
    write_checkpoint(checkpoints, "new", NOON + timedelta(days=1))
    assert names(list(choose(checkpoints, "old"))) == ["old"]


def test_without_a_checkpoint_the_message_says_how_to_train_one(checkpoints: Path) -> None:
    with pytest.raises(NoCheckpoint, match=r"no checkpoint in .*checkpoints.*artbot train"):
        choose(checkpoints, LATEST)


def test_a_named_checkpoint_that_is_not_there_is_named_in_the_message(checkpoints: Path) -> None:
    write_checkpoint(checkpoints, "other")
    with pytest.raises(NoCheckpoint, match=r"'best', which the schedule asks for, is not in"):
        choose(checkpoints, "best")


def learned_from(checkpoints: Path, name: str, dataset: str, days: float = 0) -> None:
    manifest = write_checkpoint(checkpoints, name, NOON + timedelta(days=days))
    facts = manifest.dataset.model_copy(update={"name": dataset})
    changed = manifest.model_copy(update={"dataset": facts})
    (checkpoints / name / MANIFEST_FILE).write_bytes(changed.to_json())


def test_of_a_data_set_only_those_that_learned_from_it_are_tried(checkpoints: Path) -> None:
    learned_from(checkpoints, "old", "flowers")
    learned_from(checkpoints, "new", "flowers", days=1)
    learned_from(checkpoints, "newest", "birds", days=2)
    assert names(list(choose(checkpoints, LATEST, "flowers"))) == ["new", "old"]
    assert names(list(choose(checkpoints, LATEST))) == ["newest", "new", "old"]


def test_a_data_set_nothing_learned_from_is_named_with_those_there_are(checkpoints: Path) -> None:
    learned_from(checkpoints, "a", "flowers")
    learned_from(checkpoints, "b", "birds")
    with pytest.raises(
        NoCheckpoint, match=r"learned from 'fish'.*some of birds, flowers.*--dataset fish"
    ):
        choose(checkpoints, LATEST, "fish")


# What strangers write


@pytest.mark.parametrize(
    "name", ["\x1b[2Jflowers", "flowers\nok", "flo\u202ewers", "\x9b31m", "x" * 201]
)
@pytest.mark.parametrize("where", ["dataset.name", "dataset.class_names.1", "run", "torch_version"])
def test_a_manifest_whose_names_could_steer_a_terminal_is_refused_in_plain_words(
    checkpoints: Path, where: str, name: str
) -> None:
    """They would stand in lists, in drafts, and in what receivers get."""
    manifest = write_checkpoint(checkpoints)
    if where == "dataset.name":
        facts = manifest.dataset.model_copy(update={"name": name})
        changes: dict[str, object] = {"dataset": facts}
    elif where == "dataset.class_names.1":
        facts = manifest.dataset.model_copy(update={"class_names": ("rose", name)})
        changes = {"dataset": facts}
    else:
        changes = {where: name}
    changed = manifest.model_copy(update=changes)
    (checkpoints / manifest.name / MANIFEST_FILE).write_bytes(changed.to_json())
    refusal = only(checkpoints).refusal or ""
    assert refusal.startswith(f"{MANIFEST_FILE}: {where}: ")
    assert is_plain(refusal)


@pytest.mark.parametrize("name", ["blüten", "花", "👩‍🎨 2026", "Rosen & Tulpen <1>"])
def test_names_in_any_script_are_names(checkpoints: Path, name: str) -> None:
    learned_from(checkpoints, "c", name)
    assert only(checkpoints).refusal is None


def test_a_folder_is_called_in_plain_words(checkpoints: Path) -> None:
    (checkpoints / "a\x1b[2Jb\udcff").mkdir(parents=True)
    assert only(checkpoints).name == "a\\x1b[2Jb\\udcff"


# Kept copies


def test_a_kept_generator_is_a_private_copy_of_the_checked_bytes(
    checkpoints: Path, generators: Path
) -> None:
    manifest = write_checkpoint(checkpoints)
    kept = keep(only(checkpoints), generators)
    copy = kept / WEIGHTS_FILE
    assert kept == generators / manifest.sha256
    assert copy.read_bytes() == WEIGHTS
    assert stat.S_IMODE(copy.stat().st_mode) == 0o400
    assert copy.stat().st_ino != (checkpoints / manifest.name / WEIGHTS_FILE).stat().st_ino
    assert (kept / MANIFEST_FILE).read_bytes() == manifest.to_json()
    assert [f.name for f in generators.iterdir()] == [manifest.sha256], "nothing is left over"


def test_keeping_again_changes_nothing(checkpoints: Path, generators: Path) -> None:
    write_checkpoint(checkpoints)
    kept = keep(only(checkpoints), generators)
    before = (kept / WEIGHTS_FILE).stat()
    assert keep(only(checkpoints), generators) == kept
    after = (kept / WEIGHTS_FILE).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_original_may_go_or_change_once_it_is_kept(checkpoints: Path, generators: Path) -> None:
    manifest = write_checkpoint(checkpoints)
    kept = keep(only(checkpoints), generators)
    shutil.rmtree(checkpoints)
    assert open_kept(manifest.sha256, generators) == kept


def damage_bit(weights: Path) -> None:
    flip_a_bit(weights)


def truncate(weights: Path) -> None:
    weights.write_bytes(WEIGHTS[:-1])


def lengthen(weights: Path) -> None:
    weights.write_bytes(WEIGHTS + b"x")


def empty(weights: Path) -> None:
    weights.write_bytes(b"")


def remove(weights: Path) -> None:
    weights.unlink()


def link(weights: Path) -> None:
    weights.rename(weights.with_name("elsewhere"))
    weights.symlink_to("elsewhere")


DAMAGES = pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_bit, "sha256 is"),
        (truncate, "1,119 found"),
        (lengthen, "more found"),
        (empty, "0 found"),
        (remove, "is missing"),
        (link, "cannot be opened"),
    ],
)


@DAMAGES
def test_a_damaged_checkpoint_is_not_kept_and_leaves_nothing_behind(
    checkpoints: Path, generators: Path, damage: Callable[[Path], None], reason: str
) -> None:
    manifest = write_checkpoint(checkpoints)
    damage(checkpoints / manifest.name / WEIGHTS_FILE)
    with pytest.raises(CheckpointRefused, match=reason):
        keep(only(checkpoints), generators)
    assert list(generators.iterdir()) == []
    assert reason in (verify(only(checkpoints)) or "")


@DAMAGES
def test_a_damaged_original_is_told_even_if_a_good_copy_is_kept(
    checkpoints: Path, generators: Path, damage: Callable[[Path], None], reason: str
) -> None:
    manifest = write_checkpoint(checkpoints)
    kept = keep(only(checkpoints), generators)
    damage(checkpoints / manifest.name / WEIGHTS_FILE)
    with pytest.raises(CheckpointRefused, match=reason):
        keep(only(checkpoints), generators)
    assert (kept / WEIGHTS_FILE).read_bytes() == WEIGHTS


def test_a_damaged_copy_is_refused(checkpoints: Path, generators: Path) -> None:
    manifest = write_checkpoint(checkpoints)
    flip_a_bit(keep(only(checkpoints), generators) / WEIGHTS_FILE)
    with pytest.raises(CheckpointRefused, match="sha256 is"):
        open_kept(manifest.sha256, generators)


def test_a_damaged_copy_is_made_anew_while_the_original_is_there(
    checkpoints: Path, generators: Path
) -> None:
    write_checkpoint(checkpoints)
    copy = keep(only(checkpoints), generators) / WEIGHTS_FILE
    flip_a_bit(copy)
    assert keep(only(checkpoints), generators) == copy.parent
    assert copy.read_bytes() == WEIGHTS
    assert len(list(generators.iterdir())) == 1


def test_a_copy_under_another_generators_name_is_refused(
    checkpoints: Path, generators: Path
) -> None:
    keep_path = write_checkpoint(checkpoints)
    kept = keep(only(checkpoints), generators)
    kept.rename(generators / ("e" * 64))
    with pytest.raises(CheckpointRefused, match=f"another generator .{keep_path.sha256[:12]}"):
        open_kept("e" * 64, generators)


def test_a_copy_that_is_gone_is_refused(generators: Path) -> None:
    with pytest.raises(CheckpointRefused, match="missing"):
        open_kept("e" * 64, generators)


def test_a_whole_checkpoint_has_nothing_to_refuse(checkpoints: Path) -> None:
    write_checkpoint(checkpoints)
    assert verify(only(checkpoints)) is None


# What is refused without a look at what it paints


def test_a_header_that_breaks_the_format_is_refused_for_good_and_nothing_is_kept(
    checkpoints: Path, generators: Path
) -> None:
    """The bytes are the manifest's, so another try would come to the same."""
    kit.write_checkpoint(checkpoints, weights=b"\x80\x04 no safetensors at all")
    with pytest.raises(WeightsRefused, match="is no safetensors file"):
        keep(only(checkpoints), generators)
    assert list(generators.iterdir()) == []
    assert "is no safetensors file" in (verify(only(checkpoints)) or "")


@DAMAGES
def test_bytes_that_are_not_the_manifests_are_not_held_against_any_weights(
    checkpoints: Path, generators: Path, damage: Callable[[Path], None], reason: str
) -> None:
    """They may be half of a file that is still being copied."""
    manifest = write_checkpoint(checkpoints)
    damage(checkpoints / manifest.name / WEIGHTS_FILE)
    with pytest.raises(CheckpointRefused, match=reason) as refused:
        keep(only(checkpoints), generators)
    assert not isinstance(refused.value, WeightsRefused)


def test_an_architecture_of_a_later_artbot_is_refused_by_name_and_not_for_good(
    checkpoints: Path, generators: Path
) -> None:
    manifest = write_checkpoint(checkpoints).model_copy(update={"arch": "stylegan9"})
    (checkpoints / manifest.name / MANIFEST_FILE).write_bytes(manifest.to_json())
    with pytest.raises(CheckpointRefused, match="'stylegan9' is not known to this artbot") as error:
        keep(only(checkpoints), generators)
    assert not isinstance(error.value, WeightsRefused)
    assert "'stylegan9'" in (verify(only(checkpoints)) or "")

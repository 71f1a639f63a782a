"""What a checkpoint says about itself, and how little of it is believed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trainers.errors import CheckpointRefused, SettingsError
from trainers.manifest import (
    MAX_MANIFEST_BYTES,
    DatasetFacts,
    Manifest,
    checkpoint_name,
    copy_verified_weights,
    find_checkpoint,
    read_manifest,
)
from trainers.networks import Shape

WEIGHTS = bytes(range(256)) * 20


def manifest() -> Manifest:
    return Manifest(
        format_version=1,
        name="flowers-64-000120",
        run="flowers-64",
        kimg=120.5,
        created_at=datetime(2026, 11, 21, 7, 0, tzinfo=UTC),
        arch="dcgan",
        size=64,
        z_dim=100,
        width=64,
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        num_bytes=len(WEIGHTS),
        seed=0,
        dataset=DatasetFacts(
            name="flowers", fingerprint="0" * 64, num_pictures=600, class_names=("asters", "Öl")
        ),
        torch_version="2.10.0",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint whose weights are any bytes: nothing here looks into them."""
    folder = tmp_path / "flowers-64-000120"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest().to_json())
    (folder / "generator.safetensors").write_bytes(WEIGHTS)
    return folder


def test_a_manifest_read_again_is_the_manifest_written(folder: Path) -> None:
    assert read_manifest(folder) == manifest()


def test_a_manifest_is_json_that_anybody_can_read(folder: Path) -> None:
    fields = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert fields["format_version"] == 1
    assert fields["created_at"] == "2026-11-21T07:00:00Z"
    assert fields["dataset"]["class_names"] == ["asters", "Öl"]


def test_fields_of_a_later_version_are_passed_over(folder: Path) -> None:
    fields = json.loads(manifest().to_json()) | {"mood": "melancholy"}
    (folder / "manifest.json").write_text(json.dumps(fields))
    assert read_manifest(folder) == manifest()


def test_a_name_says_how_much_was_seen_to_the_single_picture() -> None:
    assert checkpoint_name("flowers-64", 300) == "flowers-64-000300"
    assert checkpoint_name("flowers-64", 1.952) == "flowers-64-000001.952"
    assert checkpoint_name("flowers-64", 1.95, is_best=True) == "flowers-64-000001.95-best"


def test_names_sort_by_age() -> None:
    seen = (0, 0.008, 0.1, 0.104, 1, 1.9, 1.95, 1.952, 9, 50, 100, 120.5, 1_000, 20_000)
    names = [checkpoint_name("r", kimg, is_best) for kimg in seen for is_best in (False, True)]
    assert names == sorted(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("num_held_out", "holdout", "words"),
    [
        (51, 0.1, "600 pictures of flowers (51 held out)"),
        (0, 0.0, "600 pictures of flowers"),
        (None, 0.1, "600 pictures of flowers (about 10% of them held out)"),
        (None, 0.0, "600 pictures of flowers"),
    ],
    ids=["some held out", "none", "some, not counted by older versions", "none, older"],
)
def test_a_manifest_tells_what_was_learned_from(
    num_held_out: int | None, holdout: float, words: str
) -> None:
    """Older manifests, which know of no `num_held_out`, still say how it was."""
    fields = json.loads(manifest().to_json()) | {"holdout": holdout}
    if num_held_out is None:
        del fields["dataset"]["num_held_out"]
    else:
        fields["dataset"]["num_held_out"] = num_held_out
    assert Manifest.model_validate_json(json.dumps(fields)).learned_from == words


# ---------------------------------------------------------------- a manifest that is refused


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", 2),
        ("format_version", "1"),
        ("name", "../../etc/passwd"),
        ("name", "a/b"),
        ("name", ".hidden"),
        ("name", "new\nline"),
        ("name", "name\n"),
        ("name", ""),
        ("name", "x" * 201),
        ("kimg", -1),
        ("kimg", float("nan")),
        ("kimg", float("inf")),
        ("created_at", "2026-11-21T07:00:00"),
        ("created_at", "yesterday"),
        ("size", 100),
        ("size", 0),
        ("size", "64"),
        ("size", 64.5),
        ("z_dim", 0),
        ("z_dim", 10**9),
        ("width", 0),
        ("width", 10**9),
        ("sha256", "0" * 63),
        ("sha256", "G" * 64),
        ("num_bytes", 0),
        ("num_bytes", 10**12),
        ("dataset", None),
        ("dataset", {"name": "flowers"}),
        ("torch_version", None),
    ],
)
def test_a_field_that_cannot_be_is_refused_and_named(
    folder: Path, field: str, value: object
) -> None:
    fields = json.loads(manifest().to_json()) | {field: value}
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointRefused, match=rf"manifest\.json: {field}"):
        read_manifest(folder)


REQUIRED = sorted(name for name, field in Manifest.model_fields.items() if field.is_required())


def test_a_checkpoint_of_the_first_version_is_still_read(folder: Path) -> None:
    """It said nothing of what came later: classes, attention, held-out pictures."""
    fields: dict[str, Any] = json.loads(manifest().to_json())
    first_version = {name: value for name, value in fields.items() if name in REQUIRED}
    (folder / "manifest.json").write_text(json.dumps(first_version))
    assert read_manifest(folder).shape == Shape(
        size=first_version["size"], z_dim=first_version["z_dim"], width=first_version["width"]
    )


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_refused_and_named(folder: Path, field: str) -> None:
    fields: dict[str, Any] = json.loads(manifest().to_json())
    del fields[field]
    (folder / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointRefused, match=rf"manifest\.json: {field}: Field required"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version": 1'],
    ids=["empty", "open brace", "list", "null", "no utf-8", "deeply nested", "cut off"],
)
def test_what_is_no_manifest_at_all_is_refused(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(CheckpointRefused, match=r"^manifest\.json"):
        read_manifest(folder)


def replace_with_nothing(path: Path) -> None:
    path.unlink()


def replace_with_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def replace_with_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere")


def replace_with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def replace_with_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["manifest.json", "generator.safetensors"])
@pytest.mark.parametrize(
    "replace",
    [
        replace_with_nothing,
        replace_with_link,
        replace_with_dangling_link,
        replace_with_pipe,
        replace_with_folder,
    ],
)
def test_only_a_plain_file_is_opened_and_a_pipe_does_not_hang(
    folder: Path, name: str, replace: Callable[[Path], None]
) -> None:
    replace(folder / name)
    with pytest.raises(CheckpointRefused, match=f"^{name} (is missing|cannot be|is not a plain)"):
        copy_verified_weights(folder, read_manifest(folder), None)


def test_a_huge_manifest_is_not_read(folder: Path) -> None:
    os.truncate(folder / "manifest.json", MAX_MANIFEST_BYTES + 1)
    with pytest.raises(CheckpointRefused, match="not a plain file of at most 1,000,000 bytes"):
        read_manifest(folder)


# ---------------------------------------------------------------- weights that are refused


def test_verified_weights_are_copied_byte_for_byte_for_nobody_else_to_change(
    folder: Path, tmp_path: Path
) -> None:
    copy_verified_weights(folder, manifest(), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == WEIGHTS
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o400


def test_weights_can_be_checked_without_a_copy(folder: Path) -> None:
    copy_verified_weights(folder, manifest(), None)


def test_a_copy_never_replaces_what_is_there(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(FileExistsError):
        copy_verified_weights(folder, manifest(), tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b"", "5,120 bytes expected, 0 found"),
        (WEIGHTS[:-1], "5,120 bytes expected, 5,119 found"),
        (WEIGHTS + b"x", "5,120 bytes expected, more found"),
        (WEIGHTS[:-1] + b"\x00", "sha256 is .* the manifest says"),
        (bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:], "sha256 is .* the manifest says"),
    ],
    ids=["empty", "truncated", "longer", "last byte", "one bit"],
)
def test_damaged_weights_are_refused_with_the_reason(
    folder: Path, tmp_path: Path, damaged: bytes, reason: str
) -> None:
    (folder / "generator.safetensors").write_bytes(damaged)
    with pytest.raises(CheckpointRefused, match=rf"generator\.safetensors: {reason}"):
        copy_verified_weights(folder, manifest(), tmp_path / "copy")


def test_of_a_file_that_is_far_too_long_only_as_much_as_expected_is_read(
    folder: Path, tmp_path: Path
) -> None:
    os.truncate(folder / "generator.safetensors", 3_000_000_000)  # sparse
    with pytest.raises(CheckpointRefused, match="more found"):
        copy_verified_weights(folder, manifest(), tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size < 3 << 20


def test_a_refused_copy_can_not_pass_for_weights_later(folder: Path, tmp_path: Path) -> None:
    """Whatever bytes are left at the destination, checking them again refuses them again."""
    (folder / "generator.safetensors").write_bytes(WEIGHTS[:-1])
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(CheckpointRefused):
        copy_verified_weights(folder, manifest(), kept / "generator.safetensors")
    with pytest.raises(CheckpointRefused):
        copy_verified_weights(kept, manifest(), None)


def test_a_checkpoint_is_found_by_its_name_or_its_folder(tmp_path: Path) -> None:
    for name in ("flowers-64-000010", "flowers-64-000020", ".flowers-64-000030.abc.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    assert find_checkpoint("flowers-64-000010", tmp_path).name == "flowers-64-000010"
    assert find_checkpoint(str(tmp_path / "flowers-64-000020"), Path("no")).is_dir()
    with pytest.raises(SettingsError, match="Did you mean flowers-64-0000"):
        find_checkpoint("flower-64-000010", tmp_path)
    with pytest.raises(SettingsError, match=r"Did you mean flowers-64\?"):
        find_checkpoint("flowers-32", tmp_path)
    with pytest.raises(SettingsError, match="The last ones there: flowers-64-000010, flowers-64-0"):
        find_checkpoint("x", tmp_path)
    with pytest.raises(SettingsError, match="There are none there"):
        find_checkpoint("x", tmp_path / "none")


def test_of_a_run_the_latest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    """Not the one of the most pictures, and not one whose weights are damaged."""
    checkpoints = tmp_path / "checkpoints"
    hour = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)
    facts = {"flowers-64-000200": 1, "flowers-64-000150-best": 2, "flowers-64-000300": 3}
    for name, hours in facts.items():
        (checkpoints / name).mkdir(parents=True)
        (checkpoints / name / "generator.safetensors").write_bytes(WEIGHTS)
        made = manifest().model_copy(
            update={"name": name, "created_at": hour + timedelta(hours=hours)}
        )
        (checkpoints / name / "manifest.json").write_bytes(made.to_json())
    damaged = checkpoints / "flowers-64-000300" / "generator.safetensors"
    damaged.write_bytes(WEIGHTS[::-1])
    run = tmp_path / "runs" / "flowers-64"
    run.mkdir(parents=True)
    for typed in ("flowers-64", str(run)):
        assert find_checkpoint(typed, checkpoints).name == "flowers-64-000150-best"
    damaged.write_bytes(WEIGHTS)
    assert find_checkpoint("flowers-64", checkpoints).name == "flowers-64-000300"

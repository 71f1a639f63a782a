"""Which device is meant, and which weights are refused, before anything is shown."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer_fixtures import Studio
from trainers.descent import Breed, Descent, Vary
from trainers.errors import CheckpointRefused, DeviceFault, WeightsRefused
from trainers.inference import LoadedGenerator, load_generator, resolve_device
from trainers.latents import latent_for, latent_of
from trainers.loop import TrainResult
from trainers.manifest import copy_verified_weights, read_manifest

# ---------------------------------------------------------------- devices


def test_auto_means_the_graphics_card_if_there_is_one() -> None:
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("tpu", "'tpu' is no device: use auto, cpu, cuda or cuda:N"),
        ("", "'' is no device"),
        ("cuda:x", "'cuda:x' is no device"),
        ("cuda:-1", "'cuda:-1' is no device"),
        ("mps", "'mps' is not supported"),
        ("meta", "'meta' is not supported"),
        ("cuda:99", "'cuda:99': (there is no graphics card here|the last graphics card here is)"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_the_remedy(wanted: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        resolve_device(wanted)


# ---------------------------------------------------------------- painting

Trained = tuple[Studio, TrainResult]


@pytest.fixture
def checkpoint(trained: Trained, tmp_path: Path) -> Path:
    """A copy of a real checkpoint, to be damaged."""
    _, result = trained
    assert result.checkpoint is not None
    return Path(shutil.copytree(result.checkpoint, tmp_path / result.checkpoint.name))


def test_a_trained_checkpoint_is_verified_loaded_and_paints(checkpoint: Path) -> None:
    copy_verified_weights(checkpoint, read_manifest(checkpoint), None)
    generator = load_generator(checkpoint)
    picture = generator.paint(seed=5)
    assert (picture.shape, picture.dtype) == ((32, 32, 3), np.uint8)
    assert picture.std() > 1


def test_a_seed_paints_the_same_picture_again_whatever_was_painted_before(
    checkpoint: Path,
) -> None:
    first, second = load_generator(checkpoint), load_generator(checkpoint)
    second.paint(1)
    second.paint(2)
    assert np.array_equal(first.paint(7), second.paint(7))
    assert not np.array_equal(first.paint(7), first.paint(8))


def test_truncation_to_nothing_paints_the_average_from_every_seed(checkpoint: Path) -> None:
    generator = load_generator(checkpoint)
    assert np.array_equal(generator.paint(1, 0.0), generator.paint(2, 0.0))
    assert not np.array_equal(generator.paint(1, 0.5), generator.paint(1, 1.0))


def test_a_seed_paints_what_it_painted_before_pictures_had_parents(checkpoint: Path) -> None:
    generator = load_generator(checkpoint)
    for psi in (1.0, 0.7):
        old_way = generator.paint_latents(latent_for(7, generator.manifest.z_dim, psi)[None])[0]
        assert np.array_equal(generator.paint(7, psi), old_way)


def test_a_child_is_painted_from_its_descent_and_truncated_like_every_picture(
    checkpoint: Path,
) -> None:
    generator = load_generator(checkpoint)
    latent = Breed(0.5, (Descent(1), Descent(3, Vary(0.25, Descent(2)))))
    child = generator.paint(9, 0.8, latent=latent)
    z = latent_of(Descent(9, latent), generator.manifest.z_dim) * 0.8
    assert np.array_equal(child, generator.paint_latents(z[None])[0])
    assert not np.array_equal(child, generator.paint(9, 0.8))
    # Of a breeding the seed draws nothing; of a variation everything that is new.
    assert np.array_equal(child, generator.paint(10, 0.8, latent=latent))
    vary = Vary(0.5, Descent(1))
    assert not np.array_equal(generator.paint(9, latent=vary), generator.paint(10, latent=vary))


def test_the_environment_names_what_pixels_may_depend_on(checkpoint: Path) -> None:
    environment = load_generator(checkpoint).environment()
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert environment["dtype"] == "float32"
    assert environment["cpu_capability"]


# ---------------------------------------------------------------- refusals


def change(checkpoint: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Rewrite the weights after `edit`."""
    path = checkpoint / "generator.safetensors"
    tensors = safetensors.torch.load_file(path)
    edit(tensors)
    path.write_bytes(safetensors.torch.save(tensors))


LAST = "layers.9.weight"
"""The convolution that paints; a 32 px generator has ten layers before tanh."""

FOREIGN: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], str]] = {
    "a tensor missing": (lambda t: t.pop(LAST), rf"1 tensor\(s\) missing or foreign.*'{LAST}'"),
    "a tensor too many": (
        lambda t: t.update(extra=torch.zeros(1)),
        r"1 tensor\(s\) missing or foreign.*'extra'",
    ),
    "another shape": (
        lambda t: t.update({LAST: t[LAST][:, :, :3].contiguous()}),
        rf"tensor '{LAST}' has shape \(4, 3, 3, 4\), not \(4, 3, 4, 4\)",
    ),
    "half precision": (
        lambda t: t.update({LAST: t[LAST].half()}),
        rf"tensor '{LAST}' is torch.float16, not torch.float32",
    ),
    "a NaN": (
        lambda t: t[LAST].view(-1)[0].fill_(float("nan")),
        rf"tensor '{LAST}' holds values that are no numbers",
    ),
    "an infinity": (
        lambda t: t["layers.1.running_var"][0].fill_(float("inf")),
        "tensor 'layers.1.running_var' holds values that are no numbers",
    ),
    "zeros": (lambda t: t[LAST].zero_(), "it paints one flat colour"),
    "no influence of z": (
        lambda t: t["layers.0.weight"].zero_(),
        "it paints (one flat colour|the same picture from different seeds)",
    ),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_weights_that_cannot_be_this_generators_are_refused(checkpoint: Path, kind: str) -> None:
    edit, reason = FOREIGN[kind]
    change(checkpoint, edit)
    with pytest.raises(CheckpointRefused, match=reason):
        load_generator(checkpoint)


def test_what_only_the_card_refuses_is_the_cards_fault(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played on the processor under its other name."""
    run = LoadedGenerator._run

    def nonsense(self: LoadedGenerator, *arguments: Any) -> torch.Tensor:
        return run(self, *arguments) * (0 if self.device == "cpu:0" else 1)

    monkeypatch.setattr(LoadedGenerator, "_run", nonsense)
    assert load_generator(checkpoint, "cpu").paint(1).std() > 1
    with pytest.raises(DeviceFault, match=r"on cpu:0 it paints one flat.*on the processor"):
        load_generator(checkpoint, "cpu:0")
    change(checkpoint, lambda tensors: tensors[LAST].zero_())
    with pytest.raises(WeightsRefused, match="one flat colour"):
        load_generator(checkpoint, "cpu:0")


def test_pictures_far_outside_what_a_picture_can_hold_are_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network without tanh at its end may give anything; clamped, it would pass for contrast."""
    run = LoadedGenerator._run
    monkeypatch.setattr(LoadedGenerator, "_run", lambda *arguments: run(*arguments) * 1e6)
    with pytest.raises(WeightsRefused, match="far outside"):
        load_generator(checkpoint)


def test_an_architecture_nobody_knows_is_refused(checkpoint: Path) -> None:
    path = checkpoint / "manifest.json"
    path.write_text(path.read_text().replace('"dcgan"', '"stylegan9"'))
    with pytest.raises(CheckpointRefused, match="architecture 'stylegan9' is not known"):
        load_generator(checkpoint)


@pytest.mark.parametrize("field", ["width", "z_dim"])
def test_a_manifest_of_another_shape_is_refused(checkpoint: Path, field: str) -> None:
    path = checkpoint / "manifest.json"
    manifest = read_manifest(checkpoint)
    path.write_bytes(manifest.model_copy(update={field: 5}).to_json())
    with pytest.raises(CheckpointRefused, match="has shape"):
        load_generator(checkpoint)


class Bomb:
    """A pickle that, when loaded, makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [pickle.dumps, None], ids=["plain pickle", "torch.save"])
def test_a_pickle_under_the_weights_name_is_refused_and_never_run(
    checkpoint: Path, tmp_path: Path, write: Callable[[object], bytes] | None
) -> None:
    bomb, path = Bomb(tmp_path / "ran"), checkpoint / "generator.safetensors"
    if write:
        path.write_bytes(write(bomb))
    else:
        torch.save({"weights": bomb}, path)
    with pytest.raises(CheckpointRefused, match="is no safetensors file"):
        load_generator(checkpoint)
    assert not bomb.path.exists()


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\xff" * 8 + b"{}"])
def test_rubbish_is_refused(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "generator.safetensors").write_bytes(content)
    with pytest.raises(CheckpointRefused, match="is no safetensors file"):
        load_generator(checkpoint)


def test_every_flipped_bit_is_found_before_loading(checkpoint: Path) -> None:
    manifest, path = read_manifest(checkpoint), checkpoint / "generator.safetensors"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in (0, len(whole) - 1, *rng.integers(0, len(whole), 30).tolist()):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(CheckpointRefused, match="damaged or replaced"):
            copy_verified_weights(checkpoint, manifest, None)

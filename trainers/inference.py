"""load_generator(): the one door through which artbot sees a network.

Imports torch, so only the render child and training import this module.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import safetensors
import torch
from torch import nn

from trainers.errors import CheckpointRefused, SettingsError
from trainers.latents import latent_for
from trainers.manifest import (
    WEIGHTS_FILE,
    Manifest,
    class_for,
    copy_verified_weights,
    read_manifest,
)
from trainers.networks import load_architecture
from trainers.networks.check import check_shape
from trainers.samples import to_bytes

SMOKE_SEEDS = (1, 2, 3, 4)
MIN_SPREAD = 1.0
"""Least standard deviation, in 8-bit steps, within a smoke picture: below it the picture is one flat colour."""


class LoadedGenerator:
    """A generator ready to paint. One picture at a time, so that none depends on its neighbours."""

    def __init__(self, network: nn.Module, manifest: Manifest, device: str) -> None:
        self._network = network
        self._device = device
        self.manifest = manifest

    @property
    def device(self) -> str:
        return self._device

    def paint(
        self, seed: int, truncation_psi: float = 1.0, class_name: str | None = None
    ) -> np.ndarray:
        """uint8 RGB, shape (size, size, 3), the picture of `seed`.

        `class_name`: see `paint_latents`. Raises CheckpointRefused if the network gives numbers that
        are none.
        """
        latent = latent_for(seed, self.manifest.z_dim, truncation_psi)
        if class_name is None:
            class_name = class_for(seed, self.manifest)
        image: np.ndarray = self.paint_latents(latent[None], class_name)[0]
        return image

    @torch.inference_mode()
    def paint_latents(self, latents: torch.Tensor, class_name: str | None = None) -> np.ndarray:
        """uint8 RGB, shape (B, size, size, 3), of float latents (B, z_dim).

        `class_name` is one of the manifest's; it must be given exactly where there are any.
        """
        classes = None
        if class_name is not None:
            index = self.manifest.class_names.index(class_name)
            classes = torch.full((len(latents),), index, device=self._device)
        pictures = self._network(latents.to(self._device), classes)
        if not torch.isfinite(pictures).all():
            raise CheckpointRefused("the generator gives values that are no numbers")
        return to_bytes(pictures)

    def environment(self) -> dict[str, str]:
        """What the pixels may depend on besides checkpoint, seed and recipe."""
        device_name = "cpu"
        if self._device.startswith("cuda"):
            device_name = torch.cuda.get_device_name(self._device)
        return {
            "torch": str(torch.__version__),
            "device": device_name,
            # AVX2, AVX512 …: the same sums in another order round differently.
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "dtype": "float32",
        }


def resolve_device(wanted: str) -> str:
    """`auto` -> `cuda` if there is one, else `cpu`. Raises ValueError for a device that is not there."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return wanted
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f"{wanted!r} is no device: use auto, cpu, cuda or cuda:N") from error
    if device.type != "cuda":
        raise ValueError(f"{wanted!r} is not supported: use auto, cpu, cuda or cuda:N")
    if (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"{wanted!r}: torch sees {torch.cuda.device_count()} CUDA device(s); use cpu"
        )
    return wanted


def load_generator(folder: Path, device: str = "cpu") -> LoadedGenerator:
    """Build the network its manifest names, fill it, and paint four pictures to see that it can.

    `folder` is a private copy whose sha256 was checked (`trainers.manifest`). Names, shapes and
    types of all tensors are compared with the architecture before any of them is read.
    Raises CheckpointRefused with the reason.
    """
    manifest = read_manifest(folder)
    try:
        architecture = load_architecture(manifest.arch)
    except KeyError as error:
        raise CheckpointRefused(
            f"its architecture {manifest.arch!r} is not known to this artbot"
        ) from error
    # Of the discriminator's normalisation a checkpoint says nothing: any that exists will do.
    shape = dataclasses.replace(manifest.shape, d_norm=architecture.d_norms[0])
    try:
        check_shape(manifest.arch, shape)
    except SettingsError as error:
        raise CheckpointRefused(f"its network cannot be built: {error}") from error
    with torch.device("meta"):
        network = architecture.build_generator(shape)
    expected = {name: (tuple(t.shape), t.dtype) for name, t in network.state_dict().items()}
    tensors = _read_tensors(folder / WEIGHTS_FILE, expected)
    network.load_state_dict(tensors, strict=True, assign=True)
    loaded = LoadedGenerator(network.eval().to(device), manifest, device)
    _smoke_test(loaded)
    return loaded


def open_checkpoint(folder: Path, device: str) -> LoadedGenerator:
    """The generator in `folder`, its weights checked. Raises CheckpointRefused naming the folder."""
    try:
        copy_verified_weights(folder, read_manifest(folder), None)
        return load_generator(folder, device)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{folder}: {error}.") from error


def _read_tensors(
    path: Path, expected: dict[str, tuple[tuple[int, ...], torch.dtype]]
) -> dict[str, torch.Tensor]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = set(file.keys())
            if names != expected.keys():
                odd = sorted(names ^ expected.keys())
                raise CheckpointRefused(
                    f"{len(odd)} tensor(s) missing or foreign, the first is {odd[0]!r}"
                )
            for name, (shape, _) in expected.items():
                found = tuple(file.get_slice(name).get_shape())
                if found != shape:
                    raise CheckpointRefused(f"tensor {name!r} has shape {found}, not {shape}")
            tensors = {name: file.get_tensor(name) for name in expected}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointRefused(f"{path.name} is no safetensors file ({error})") from error
    for name, (_, dtype) in expected.items():
        if tensors[name].dtype != dtype:
            raise CheckpointRefused(f"tensor {name!r} is {tensors[name].dtype}, not {dtype}")
        if tensors[name].is_floating_point() and not torch.isfinite(tensors[name]).all():
            raise CheckpointRefused(f"tensor {name!r} holds values that are no numbers")
    return tensors


def _smoke_test(generator: LoadedGenerator) -> None:
    """Refuse a network that paints flat colour, or the same picture from every seed."""
    pictures = [generator.paint(seed).astype(np.float32) for seed in SMOKE_SEEDS]
    flattest = min(float(picture.std()) for picture in pictures)
    if not math.isfinite(flattest) or flattest < MIN_SPREAD:
        raise CheckpointRefused("it paints one flat colour (a collapsed or empty generator)")
    if all(np.array_equal(pictures[0], picture) for picture in pictures[1:]):
        raise CheckpointRefused(
            "it paints the same picture from every seed (a collapsed generator)"
        )

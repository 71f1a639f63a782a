"""load_generator(): the one door through which artbot sees a network.

Imports torch, so only the render child and training import this module.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import safetensors
import torch
from torch import nn

from trainers.descent import Breed, Descent, Vary
from trainers.errors import CheckpointRefused, DeviceFault, SettingsError, WeightsRefused
from trainers.header import read_header
from trainers.latents import latent_for, latent_of
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
MIN_DIFFERENCE = 0.5
"""Least root mean square difference, in 8-bit steps, of two smoke pictures: below it they are the same.
Networks fresh from their initialisation differ by 3 and more where they paint anything."""
WILD_VALUE, WILD_SHARE = 2.0, 0.5
"""Pictures are trained to lie in [-1, 1]. `resgan` may step over; half a picture beyond this never (estimate)."""

_DTYPES = {
    **{"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "I16": torch.int16},
    **{"I32": torch.int32, "I64": torch.int64, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F32": torch.float32, "F64": torch.float64},
}
"""What a header may name and torch has."""


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
        self,
        seed: int,
        truncation_psi: float = 1.0,
        class_name: str | None = None,
        latent: Vary | Breed | None = None,
    ) -> np.ndarray:
        """uint8 RGB, shape (size, size, 3), the picture of `seed`, or of the `latent` that descends from others.

        `class_name`: see `paint_latents`. Raises CheckpointRefused if the network gives numbers that
        are none, RecipeRefused if there is no such latent.
        """
        z = latent_of(Descent(seed, latent), self.manifest.z_dim) * truncation_psi
        if class_name is None:
            class_name = class_for(seed, self.manifest)
        image: np.ndarray = self.paint_latents(z[None], class_name)[0]
        return image

    def paint_latents(self, latents: torch.Tensor, class_name: str | None = None) -> np.ndarray:
        """uint8 RGB, shape (B, size, size, 3), of float latents (B, z_dim).

        `class_name` is one of the manifest's; it must be given exactly where there are any.
        """
        return to_bytes(self._run(latents, class_name))

    @torch.inference_mode()
    def _run(self, latents: torch.Tensor, class_name: str | None) -> torch.Tensor:
        """Float (B, 3, size, size) as the network gives it, nearly in [-1, 1]."""
        classes = None
        if class_name is not None:
            index = self.manifest.class_names.index(class_name)
            classes = torch.full((len(latents),), index, device=self._device)
        pictures: torch.Tensor = self._network(latents.to(self._device), classes)
        if not torch.isfinite(pictures).all():
            raise WeightsRefused("the generator gives values that are no numbers")
        return pictures

    def smoke_test(self) -> None:
        """Raise WeightsRefused if it paints flat colour, noise beyond all range, or one picture again and again."""
        pictures = [self._smoke_picture(seed) for seed in SMOKE_SEEDS]
        if min(float(picture.std()) for picture in pictures) < MIN_SPREAD:
            raise WeightsRefused("it paints one flat colour (a collapsed or empty generator)")
        for one, other in itertools.combinations(pictures, 2):
            if np.sqrt(np.mean((one - other) ** 2)) < MIN_DIFFERENCE:
                raise WeightsRefused(
                    "it paints the same picture from different seeds (a collapsed generator)"
                )

    def _smoke_picture(self, seed: int) -> np.ndarray:
        """8-bit values as float32, (1, size, size, 3)."""
        latent = latent_for(seed, self.manifest.z_dim, 1.0)
        values = self._run(latent[None], class_for(seed, self.manifest))
        if (values.abs() > WILD_VALUE).float().mean() > WILD_SHARE:
            raise WeightsRefused("it paints values far outside what a picture can hold")
        return to_bytes(values).astype(np.float32)

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
    if (num_cards := torch.cuda.device_count()) == 0:
        raise ValueError(f"{wanted!r}: there is no graphics card here; use cpu")
    if (device.index or 0) >= num_cards:
        raise ValueError(f"{wanted!r}: the last graphics card here is cuda:{num_cards - 1}")
    return wanted


def load_generator(folder: Path, device: str = "cpu") -> LoadedGenerator:
    """Build the network its manifest names, fill it, and paint four pictures to see that it can.

    `folder` is a private copy whose sha256 was checked (`trainers.manifest`). Names, shapes and
    types of all tensors are compared with the architecture before any of them is read.
    Raises WeightsRefused for what the weights are, CheckpointRefused for whatever else is wrong, and
    DeviceFault where only the device refuses what the processor paints.
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
    _compare_header(folder, expected)
    network.load_state_dict(_read_tensors(folder, expected), strict=True, assign=True)
    loaded = LoadedGenerator(network.eval().to(device), manifest, device)
    try:
        loaded.smoke_test()
    except WeightsRefused as refused:
        if device != "cpu":  # a failing card must not get every generator refused for good
            LoadedGenerator(network.to("cpu"), manifest, "cpu").smoke_test()
            raise DeviceFault(f"on {device} {refused}; on the processor it paints") from refused
        raise
    return loaded


def open_checkpoint(folder: Path, device: str) -> LoadedGenerator:
    """The generator in `folder`, its weights checked. Raises CheckpointRefused naming the folder."""
    try:
        copy_verified_weights(folder, read_manifest(folder), None)
        return load_generator(folder, device)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{folder}: {error}.") from error


_Expected = dict[str, tuple[tuple[int, ...], torch.dtype]]


def _compare_header(folder: Path, expected: _Expected) -> None:
    found = read_header(folder)
    odd = sorted(found.keys() ^ expected.keys())
    if odd:
        raise WeightsRefused(f"{len(odd)} tensor(s) missing or foreign, the first is {odd[0]!r}")
    for name, (shape, dtype) in expected.items():
        if found[name].shape != shape:
            raise WeightsRefused(f"tensor {name!r} has shape {found[name].shape}, not {shape}")
        found_dtype = _DTYPES.get(found[name].dtype, found[name].dtype)
        if found_dtype != dtype:
            raise WeightsRefused(f"tensor {name!r} is {found_dtype}, not {dtype}")


def _read_tensors(folder: Path, expected: _Expected) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS_FILE
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in expected}
    except safetensors.SafetensorError as error:
        raise WeightsRefused(f"{path.name} is no safetensors file ({error})") from error
    except OSError as error:
        raise CheckpointRefused(f"{path.name} cannot be read ({error.strerror})") from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsRefused(f"tensor {name!r} holds values that are no numbers")
    return tensors

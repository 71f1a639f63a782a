"""Named, tested combinations of settings, and the one that is taken when nobody chooses.

`benchmarks/RESULTS.md` has the tables that the default rests on: 64 px, a processor, half an hour. What
was not measured has its paper's value, or the nearest that one card bears. A preset can also be a file
(`--preset FILE.toml`), as `artbot sweep` writes it.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.config import NO_LIMIT_KIMG, TrainConfig
from trainers.errors import SettingsError, unknown_name
from trainers.networks import architecture_names

HOLDOUT = 0.1
MIN_PICTURES_TO_HOLD_OUT_OF = 200
"""With fewer, every picture is needed to learn from."""
FEW_PICTURES = 1000
"""Fewer than this a discriminator soon knows by heart. Against it DiffAugment's strongest policy (Zhao et
al. 2020, section 4.3) and, in `projected`, the loss with penalties (docs/decisions/0013-two-losses.md)."""

Settings = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """Settings for pictures of a size (px) and number."""

    summary: str
    settings: Callable[[int, int], Settings]


def _batch(size: int) -> int:
    """Many small steps rather than few large ones: measured in docs/decisions/0006-small-batches.md."""
    return 16 if size < 512 else 8


def _dcgan(size: int, num_pictures: int) -> Settings:
    return {"arch": "dcgan", "batch": _batch(size)}


def _dcgan_resize(size: int, num_pictures: int) -> Settings:
    return _dcgan(size, num_pictures) | {"upsampling": "resize"}


def _dcgan_steady(size: int, num_pictures: int) -> Settings:
    return _dcgan(size, num_pictures) | {
        "d_norm": "spectral",
        "loss": "hinge",
        "beta1": 0.0,
        "beta2": 0.9,
        "augment": "diffaug",
    }


def _mlp(size: int, num_pictures: int) -> Settings:
    return {"arch": "mlp", "d_norm": "none", "batch": 64}


def _resgan(size: int, num_pictures: int, blocks: int) -> Settings:
    return {
        "arch": "resgan",
        "blocks": blocks,
        "z_dim": 128,
        "d_norm": "none",
        "loss": "relativistic",
        "penalty": "r1+r2",
        "gamma": _gamma(size),
        "gamma_end_factor": 0.1,
        "penalty_every": 4,
        "batch": 64 if size <= 64 else 32 if size <= 128 else 16,
        "lr_end_factor": 0.25,
        "beta1": 0.0,
        "beta2": 0.99,
        "augment": "diffaug" if num_pictures < FEW_PICTURES else "ada",
        "augment_ops": "color,translation,cutout"
        if num_pictures < FEW_PICTURES
        else "color,translation,geometry",
    }


def _gamma(size: int) -> float:
    """R3GAN's published 2 at 64 px and 150 at 256 px, log-interpolated; four times as much per
    doubling beyond (Karras et al. 2021, StyleGAN3's documentation)."""
    if size > 256:
        return 600.0
    octaves = math.log2(size / 64)
    return round(2.0 * (150.0 / 2.0) ** (octaves / 2), 2) if octaves > 0 else 2.0


def _projected(size: int, num_pictures: int) -> Settings:
    few = num_pictures < FEW_PICTURES
    held_back: Settings = {
        "loss": "relativistic",
        "penalty": "r1+r2",
        "gamma": _gamma(size) / 2,
        "gamma_end_factor": 0.1,
        "penalty_every": 4,
        "d_norm": "none",
    }
    return {
        "arch": "projected",
        "z_dim": 128,
        "width": 32,
        **(held_back if few else {"loss": "hinge", "d_norm": "spectral"}),
        "batch": _batch(size),
        "lr": 5e-4,
        "beta1": 0.0,
        "beta2": 0.99,
        "ema_half_life_kimg": 5.0,
        # Of many pictures too, where ADA is what is recommended: docs/decisions/0013-two-losses.md.
        "augment": "diffaug",
        "augment_ops": "color,translation,cutout" if few else "color,translation",
    }


PRESETS: dict[str, Preset] = {
    "projected": Preset("sees through a pretrained network: the best pictures soonest", _projected),
    "resgan-s": Preset(
        "modern residual network, small: for a graphics card", lambda s, n: _resgan(s, n, 1)
    ),
    "resgan-m": Preset(
        "modern residual network, R3GAN's size: for a large card and a long time",
        lambda s, n: _resgan(s, n, 2),
    ),
    "dcgan-steady": Preset("DCGAN with spectral norm, hinge loss and DiffAugment", _dcgan_steady),
    "dcgan": Preset("the DCGAN paper's networks and step size, small batches", _dcgan),
    "dcgan-resize": Preset(
        "DCGAN that upsamples and convolves, keragan's way but not its widths", _dcgan_resize
    ),
    "mlp": Preset("the tutorial GAN: fully connected, 28, 32 and 64 px", _mlp),
}
DEFAULT_PRESET = "projected"
PRESET_OF_ARCH = {"resgan": "resgan-s"}
"""What `--arch` alone means, where it is not the preset of the same name."""


def budget_kimg(num_pictures: int) -> float:
    """How long to train when nobody said: more pictures bear more training before they are memorised."""
    for at_most, kimg in ((300, 300.0), (1_500, 800.0), (6_000, 1_500.0)):
        if num_pictures <= at_most:
            return kimg
    return 4_000.0


def resolve_preset(preset: str | None, arch: str | None, size: int, num_pictures: int) -> Settings:
    """Values for the fields of TrainConfig: of a named preset, of a file, of an architecture, or the
    default's.

    Raises SettingsError for an unknown name, an unreadable file, an unknown setting in it, or a
    preset of another architecture than `arch`.
    """
    if arch is not None and arch not in architecture_names():
        raise SettingsError(unknown_name("architecture", arch, architecture_names()))
    general = _by_number(num_pictures)
    if preset is not None and _is_file(preset):
        settings = _from_file(Path(preset))
        base = resolve_preset(
            settings.pop("preset", None), settings.get("arch"), size, num_pictures
        )
        settings = base | settings
    elif preset is None and arch is not None and arch not in PRESETS | PRESET_OF_ARCH:
        settings = general | {"arch": arch}  # a new architecture, of which nothing is known yet
    else:
        name = preset or PRESET_OF_ARCH.get(arch or "", arch or DEFAULT_PRESET)
        if name not in PRESETS:
            raise SettingsError(unknown_name("preset", name, PRESETS))
        settings = general | PRESETS[name].settings(size, num_pictures)
    if arch is not None and settings["arch"] != arch:
        raise SettingsError(
            f"--preset {preset} is for --arch {settings['arch']}, not {arch}. Leave one of them out."
        )
    return settings


def as_named(preset: str | None) -> Settings:
    """What `--preset` says, as a file would have it: `preset = NAME` of a named one, else the file's own
    settings. Raises SettingsError."""
    if preset is not None and _is_file(preset):
        return _from_file(Path(preset))
    return {"preset": preset or DEFAULT_PRESET}


def resolve_resumed(
    preset: str | None, arch: str | None, size: int, num_pictures: int, saved: Settings
) -> Settings:
    """Like `resolve_preset`, for a run that was `saved` with these settings.

    Everything stays as it was, the budget too and however many pictures there are by now; only a
    preset or an architecture named today brings its own values.
    """
    settings = resolve_preset(preset, arch, size, num_pictures)
    brought = set[str]()
    if preset is not None or arch is not None:
        brought = set(settings) - set(_by_number(num_pictures))
    if preset is not None and _is_file(preset):
        brought |= set(_from_file(Path(preset)))
    kept = set(_SETTABLE) & set(saved) - brought
    return settings | {name: saved[name] for name in kept}


def resolve_budget(settings: Settings, named: Settings, kimg: float, minutes: float) -> Settings:
    """`settings` of a run that has learned from `kimg` for `minutes`, with the budget `named` today.

    Where only one of the two is named and the other is spent, that one no longer counts: whoever asks
    for 60 minutes means them.
    """
    lifted: Settings = {}
    if "minutes" in named and "kimg" not in named and kimg >= settings["kimg"]:
        lifted = {"kimg": NO_LIMIT_KIMG}
    limit = settings.get("minutes")
    if "kimg" in named and "minutes" not in named and limit is not None and minutes >= limit:
        lifted = {"minutes": None}
    return settings | named | lifted


def _is_file(preset: str) -> bool:
    return preset.endswith(".toml") or "/" in preset


def _by_number(num_pictures: int) -> Settings:
    """What depends on the number of pictures alone."""
    return {
        "kimg": budget_kimg(num_pictures),
        "holdout": HOLDOUT if num_pictures >= MIN_PICTURES_TO_HOLD_OUT_OF else 0.0,
    }


def parse_setting(text: str) -> tuple[str, Any]:
    """`gamma=2.5` -> ("gamma", 2.5), by the type of TrainConfig's field. Raises SettingsError."""
    name, separator, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not separator:
        raise SettingsError(f"--set {text}: write NAME=VALUE, for example --set gamma=2.")
    return name, _checked(name, value.strip(), f"--set {text}")


_SETTABLE = {
    f.name: str(f.type)
    for f in dataclasses.fields(TrainConfig)
    if f.name not in ("run", "size", "device")
}


def _from_file(path: Path) -> Settings:
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"--preset {path} cannot be read: {error}.") from error
    base = {}
    if "preset" in found:
        base["preset"] = name = found.pop("preset")
        if name not in PRESETS:  # nor another file: one is enough to look through
            raise SettingsError(f"{path}: {unknown_name('preset', str(name), PRESETS)}")
    return base | {name: _checked(name, value, f"{path}: {name}") for name, value in found.items()}


def _checked(name: str, value: Any, where: str) -> Any:
    """`value`, a TOML value or its text, as the field's type."""
    if name not in _SETTABLE:
        raise SettingsError(f"{where}: {unknown_name('setting', name, _SETTABLE)}")
    wanted = _SETTABLE[name].removesuffix(" | None")
    try:
        if wanted == "bool":
            return {"true": True, "false": False, "1": True, "0": False}[str(value).lower()]
        if wanted == "str" and isinstance(value, str):
            return value
        number = {"int": int, "float": float}[wanted](value)
        if isinstance(value, bool) or not math.isfinite(number) or number != float(value):
            raise ValueError
        return number
    except (KeyError, ValueError, TypeError):
        raise SettingsError(f"{where}: {value!r} is no {_WORDS[wanted]}.") from None


_WORDS = {"bool": "true or false", "int": "whole number", "float": "number", "str": "text"}

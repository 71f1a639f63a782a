"""Everything a training run is told, in one frozen value. Imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainers.errors import ResumeRefused, SettingsError
from trainers.shape import D_NORMS, UPSAMPLINGS, Shape

LOSSES = ("bce", "hinge", "relativistic")
PENALTIES = ("none", "r1", "r1+r2")
PRECISIONS = ("fp32", "bf16")
LEAKING_WHEN_CERTAIN = frozenset({"flip", "geometry", "hue"})
"""Augmentations that must not happen to every picture: mirrored or turned by any angle once more, an
augmented picture looks like an augmented one, so nothing tells the generator which way is up, or
which colour is which (Karras et al. 2020, ADA, section 2.2). Measured in tests/."""
MAX_LEAK_FREE_P = 0.8
"""Up to this probability no operation leaks in practice (the same section)."""
LEAKING_FROM_FLAT = frozenset({"cutout"})
"""Operations whose traces a generator of pictures on a flat background paints (lightweight-gan 107)."""
NO_LIMIT_KIMG = 1e6
"""A budget nobody reaches: only the minutes count."""
AUGMENTS = ("none", "diffaug", "ada")


class OnResume(StrEnum):
    """What a changed setting means for a run that already has a saved state."""

    FIXED = "fixed"  # it decided how the run began, or the shape of its networks
    ADOPTED = "adopted"  # training can go on with the new value, and says so
    FREE = "free"  # it does not touch what is learned


def _setting(on_resume: OnResume, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"on_resume": on_resume})


@dataclass(frozen=True)
class TrainConfig:
    """One run's settings. `trainers.presets` fills those nobody chose."""

    run: str = _setting(OnResume.FREE)
    """Name of the run: its folder in `runs/` and the first part of its checkpoints' names."""
    size: int = _setting(OnResume.FIXED)
    """Edge of the square pictures, px; one of SIZES_PX."""
    arch: str = _setting(OnResume.FIXED, "dcgan")
    """Network architecture: a module of `trainers.networks`."""
    z_dim: int = _setting(OnResume.FIXED, 100)
    """Length of the latent vector z ~ N(0, I). 100 in the DCGAN paper."""
    width: int = _setting(OnResume.FIXED, 64)
    """How wide the networks are: every layer's feature maps (of `mlp`, its units) are in proportion to
    it. Of `dcgan` it is the number at half the picture's resolution."""
    blocks: int = _setting(OnResume.FIXED, 1)
    """Residual blocks per resolution (`resgan`: 1 is its size S, 2 its size M)."""
    upsampling: str = _setting(OnResume.FIXED, "transposed")
    """How `dcgan` doubles the resolution: one of UPSAMPLINGS."""
    attention: bool = _setting(OnResume.FIXED, False)
    """One self-attention layer in each network (Zhang et al. 2019, SAGAN, section 3)."""
    multi_scale: bool = _setting(OnResume.FIXED, False)
    """Show the discriminator every resolution of a picture (Karnewar & Wang 2020, MSG-GAN)."""
    d_norm: str = _setting(OnResume.FIXED, "batch")
    """Normalisation in the discriminator: one of D_NORMS."""
    classes: bool = _setting(OnResume.FIXED, False)
    """Learn the subfolders as classes: a picture can then be asked for by class."""
    holdout: float = _setting(OnResume.FIXED, 0.0)
    """Share of the pictures never trained on, kept to measure with; 0 to 0.5."""

    loss: str = _setting(OnResume.ADOPTED, "bce")
    """Adversarial loss: one of LOSSES (`trainers.losses`)."""
    real_label: float = _setting(OnResume.ADOPTED, 0.9)
    """Target for real pictures in `bce`: one-sided label smoothing (Salimans et al. 2016, section 3.4)."""
    penalty: str = _setting(OnResume.ADOPTED, "none")
    """Zero-centred gradient penalty of the discriminator: one of PENALTIES."""
    gamma: float = _setting(OnResume.ADOPTED, 0.0)
    """Weight of the gradient penalty at the beginning."""
    gamma_end_factor: float = _setting(OnResume.ADOPTED, 1.0)
    """What is left of gamma at the end of the budget (R3GAN: 0.1), along half a cosine."""
    penalty_every: int = _setting(OnResume.ADOPTED, 1)
    """Lazy penalty: every so many steps, so many times as heavy (Karras et al. 2020, appendix B)."""

    batch: int = _setting(OnResume.ADOPTED, 16)
    """Pictures per step."""
    micro_batch: int = _setting(OnResume.ADOPTED, 0)
    """Pictures at a time where a whole batch does not fit into memory; 0: all at once."""
    lr: float = _setting(OnResume.ADOPTED, 2e-4)
    """Adam step size of the generator (DCGAN paper, section 4)."""
    d_lr_factor: float = _setting(OnResume.ADOPTED, 1.0)
    """The discriminator's step size as a multiple of `lr`: TTUR (Heusel et al. 2017)."""
    lr_end_factor: float = _setting(OnResume.ADOPTED, 1.0)
    """What is left of the step size at the end of the budget, along half a cosine."""
    beta1: float = _setting(OnResume.ADOPTED, 0.5)
    """Adam first-moment decay (DCGAN paper, section 4: 0.9 made training oscillate)."""
    beta2: float = _setting(OnResume.ADOPTED, 0.999)
    """Adam second-moment decay."""
    ema_half_life_kimg: float = _setting(OnResume.ADOPTED, 10.0)
    """Half-life of the averaged generator, thousands of pictures."""
    precision: str = _setting(OnResume.ADOPTED, "fp32")
    """Arithmetic of the networks: one of PRECISIONS. Weights, penalties and averages stay float32."""

    augment: str = _setting(OnResume.ADOPTED, "none")
    """What the discriminator is shown instead of the pictures: one of AUGMENTS."""
    augment_ops: str = _setting(OnResume.ADOPTED, "color,translation")
    """Operations of the augmentation, comma-separated: of `trainers.data.augment`'s OPERATIONS."""
    augment_p: float = _setting(OnResume.ADOPTED, 1.0)
    """Probability of each operation; `ada` begins at 0 and finds its own, up to this."""
    ada_target: float = _setting(OnResume.ADOPTED, 0.6)
    """`ada`: the overfitting signal r_t that is aimed at (Karras et al. 2020, ADA, section 3)."""
    augment_fade: float = _setting(OnResume.ADOPTED, 0.1)
    """Share of the budget, at its end, during which the augmentation is faded out."""
    flip: bool = _setting(OnResume.ADOPTED, False)
    """Mirror half of the pictures. Off: paintings carry signatures, lettering, a light from the left."""

    seed: int = _setting(OnResume.FIXED, 0)
    """Seeds the initial weights, the order of the pictures and every z: all drawn when a run begins."""
    kimg: float = _setting(OnResume.ADOPTED, 300.0)
    """Budget: thousands of pictures shown to the discriminator, over all sessions of the run. Gamma, step
    size and augmentation follow the share of it that is spent."""
    minutes: float | None = _setting(OnResume.ADOPTED, None)
    """Budget: minutes of training, over all sessions of the run. Whichever budget ends first."""
    tick_kimg: float = _setting(OnResume.FREE, 4.0)
    """A tick (statistics, sample grid, saved state) at least this often, thousands of pictures ..."""
    tick_s: float = _setting(OnResume.FREE, 120.0)
    """... or this often, seconds of training, whichever comes first."""
    export_kimg: float = _setting(OnResume.FREE, 50.0)
    """A checkpoint at least this often, thousands of pictures; one more when the run stops."""
    guard: bool = _setting(OnResume.FREE, True)
    """Watch for collapse and divergence, and react (`trainers.guard`)."""
    measure_share: float = _setting(OnResume.FREE, 0.05)
    """Share of the time that may go into measuring the pictures' quality (`trainers.metrics`), but for one
    measurement at the end; 0: none."""
    tensorboard: bool = _setting(OnResume.FREE, False)
    """Also write the curves for TensorBoard."""
    device: str = _setting(OnResume.FREE, "cpu")
    """Torch device, already resolved: `cpu`, `cuda`, `cuda:1`."""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def shape(self, class_names: Sequence[str]) -> Shape:
        """What decides the networks' tensors, for pictures of these classes."""
        return Shape(
            size=self.size,
            z_dim=self.z_dim,
            width=self.width,
            blocks=self.blocks,
            upsampling=self.upsampling,
            attention=self.attention,
            multi_scale=self.multi_scale,
            d_norm=self.d_norm,
            num_classes=len(class_names) if self.classes else 0,
        )


@dataclass(frozen=True)
class Folders:
    """Where training reads and writes; `artbot` fills these from artbot.toml."""

    datasets: Path
    """Holds one folder of pictures per data set name."""
    checkpoints: Path
    """Exported generators go here, one folder each."""
    runs: Path
    """Training states, statistics and sample grids, one folder per run."""
    cache: Path
    """Decoded pictures, safe to delete at any time."""


def check_combination(config: TrainConfig) -> None:
    """Raise SettingsError for settings that are possible one by one but not together, or that name
    a choice that there is none of."""
    choices = {
        "upsampling": UPSAMPLINGS,
        "d_norm": D_NORMS,
        "loss": LOSSES,
        "penalty": PENALTIES,
        "augment": AUGMENTS,
        "precision": PRECISIONS,
    }
    for name, known in choices.items():
        if (value := getattr(config, name)) not in known:
            raise SettingsError(f"{name} {value!r}: choose one of {', '.join(known)}.")
    ranges = {
        "batch": (2, 4096),
        "micro_batch": (0, 4096),
        "z_dim": (2, 4096),
        "width": (4, 512),
        "blocks": (1, 8),
        "penalty_every": (1, 64),
        "holdout": (0.0, 0.5),
        "measure_share": (0.0, 0.9),
        "real_label": (0.5, 1.0),
        "augment_p": (0.0, 1.0),
        "augment_fade": (0.0, 1.0),
        "beta1": (0.0, 0.999),
        "beta2": (0.0, 0.99999),
        "lr_end_factor": (0.0, 1.0),
        "gamma_end_factor": (0.0, 1.0),
        "gamma": (0.0, 1e6),
        "ada_target": (0.0, 1.0),
        "seed": (0, 2**53 - 1),
    }
    for name, (low, high) in ranges.items():
        if not low <= (value := getattr(config, name)) <= high:
            raise SettingsError(f"{name} {value}: choose from {low} to {high}.")
    for name in (
        "lr",
        "d_lr_factor",
        "kimg",
        "minutes",
        "tick_kimg",
        "tick_s",
        "export_kimg",
        "ema_half_life_kimg",
    ):
        if (value := getattr(config, name)) is not None and not 0 < value < math.inf:
            raise SettingsError(f"{name} {value}: choose a number above 0.")
    if config.penalty != "none" and config.d_norm == "batch":
        raise SettingsError(
            f"penalty {config.penalty} asks for each picture's own gradient, which batch norm mixes with its "
            "neighbours'. Add --set d_norm=none (or spectral), or leave the penalty out."
        )
    if config.penalty == "none" and config.gamma > 0:
        raise SettingsError(
            f"gamma {config.gamma:g} weighs a penalty that is not there: add --set penalty=r1+r2, or "
            "--set gamma=0."
        )
    leaking = sorted(LEAKING_WHEN_CERTAIN & set(config.augment_ops.replace(" ", "").split(",")))
    if config.augment == "diffaug" and config.augment_p > MAX_LEAK_FREE_P and leaking:
        raise SettingsError(
            f"augment_p {config.augment_p:g} with {', '.join(leaking)}: the generator would learn to paint "
            f"augmented pictures. Add --set augment_p={MAX_LEAK_FREE_P:g}, or leave {' and '.join(leaking)} out."
        )
    if config.penalty != "none" and config.gamma == 0:
        raise SettingsError(f"penalty {config.penalty} has no weight: add --set gamma=2.")


def idle_settings(config: TrainConfig, named: Collection[str]) -> list[str]:
    """A sentence for each of the `named` settings that changes nothing with the others as they are."""
    return [
        f"{name} {getattr(config, name)} changes nothing here: {why}"
        for name, why in why_idle(config).items()
        if name in named
    ]


def why_idle(config: TrainConfig) -> dict[str, str]:
    """The settings that change nothing with the others as they are, each with the one it is due to. Those
    that an architecture does not know are refused instead (`trainers.networks.check`)."""
    augments_by = f"augment is {config.augment}"
    idle = {}
    if config.augment != "ada":
        idle["ada_target"] = augments_by
    if config.augment == "none":
        idle |= dict.fromkeys(("augment_p", "augment_ops", "augment_fade"), augments_by)
    if config.loss != "bce":
        idle["real_label"] = f"loss is {config.loss}"
    if config.penalty == "none":
        idle |= dict.fromkeys(("penalty_every", "gamma_end_factor"), "penalty is none")
    return idle


def as_shown(name: str, value: Any) -> str:
    """A setting's value, for people."""
    if value is None or (name == "kimg" and value >= NO_LIMIT_KIMG):
        return "no limit" if name in ("kimg", "minutes") else "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_fixed_settings(saved: dict[str, Any], config: TrainConfig) -> None:
    """Raise ResumeRefused, listing what differs, if these settings do not fit the saved run."""
    if fixed := settings_that_differ(saved, config)[OnResume.FIXED]:
        listed = ", ".join(f"{name} {old} -> {new}" for name, old, new in fixed)
        raise ResumeRefused(
            f"run {config.run} has a saved state that these settings do not fit: {listed}. "
            "Use the saved settings, or start another run with --run NAME."
        )


def settings_that_differ(
    saved: dict[str, Any], config: TrainConfig
) -> dict[OnResume, list[tuple[str, Any, Any]]]:
    """Compare a saved run's settings with today's: (name, saved value, new value) by consequence."""
    differing: dict[OnResume, list[tuple[str, Any, Any]]] = {kind: [] for kind in OnResume}
    for setting in dataclasses.fields(TrainConfig):
        old, new = saved.get(setting.name), getattr(config, setting.name)
        if setting.name in saved and old != new:
            differing[setting.metadata["on_resume"]].append((setting.name, old, new))
    return differing

"""Everything a training run is told, in one frozen value. Imports no torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainers.errors import ResumeRefused

SIZES_PX = (32, 64, 128, 256, 512)
"""Edge lengths a network can be built for: 4 px doubled three to seven times."""


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
    """Feature maps at half the picture's resolution; doubled at every halving, up to 8 times this."""
    batch: int = _setting(OnResume.ADOPTED, 16)
    """Pictures per step."""
    lr: float = _setting(OnResume.ADOPTED, 2e-4)
    """Adam step size of both networks (DCGAN paper, section 4)."""
    beta1: float = _setting(OnResume.ADOPTED, 0.5)
    """Adam first-moment decay (DCGAN paper, section 4: 0.9 made training oscillate)."""
    beta2: float = _setting(OnResume.ADOPTED, 0.999)
    """Adam second-moment decay."""
    real_label: float = _setting(OnResume.ADOPTED, 0.9)
    """Target for real pictures: one-sided label smoothing (Salimans et al. 2016, section 3.4)."""
    ema_half_life_kimg: float = _setting(OnResume.ADOPTED, 10.0)
    """Half-life of the averaged generator, thousands of pictures."""
    flip: bool = _setting(OnResume.ADOPTED, False)
    """Mirror half of the pictures. Off: paintings carry signatures, lettering, a light from the left."""
    seed: int = _setting(OnResume.FIXED, 0)
    """Seeds the initial weights, the order of the pictures and every z: all drawn when a run begins."""
    kimg: float = _setting(OnResume.FREE, 300.0)
    """Budget: thousands of pictures shown to the discriminator, over all sessions of the run."""
    minutes: float | None = _setting(OnResume.FREE, None)
    """Budget: minutes of training, over all sessions of the run. Whichever budget ends first."""
    tick_kimg: float = _setting(OnResume.FREE, 4.0)
    """A tick (statistics, sample grid, saved state) at least this often, thousands of pictures ..."""
    tick_s: float = _setting(OnResume.FREE, 120.0)
    """... or this often, seconds of training, whichever comes first."""
    export_kimg: float = _setting(OnResume.FREE, 50.0)
    """A checkpoint at least this often, thousands of pictures; one more when the run stops."""
    device: str = _setting(OnResume.FREE, "cpu")
    """Torch device, already resolved: `cpu`, `cuda`, `cuda:1`."""

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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

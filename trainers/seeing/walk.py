"""A walk through the latent space that ends where it began, as a film that can be looped unseen.

The way passes the latent of every seed and is smooth everywhere. On it, every latent is one the
generator was trained on: weights whose squares sum to 1 make a sum of independent N(0, I) vectors
N(0, I) again, while straight lines cut through the middle of the space, where no training latent
ever lay (White 2016, "Sampling Generative Networks", arXiv:1609.04468, section 2.1). His spherical
interpolation keeps the norm too, but turns a corner at every seed; here the weights are those of
trigonometric interpolation, which has no corners.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from trainers.errors import SettingsError, did_you_mean
from trainers.inference import LoadedGenerator
from trainers.latents import latent_for
from trainers.manifest import Manifest
from trainers.samples import as_grid
from trainers.seeing.film import (
    FilmFacts,
    OnProgress,
    check_film,
    check_fits,
    edge_to_show,
    format_of,
    write_film,
)

PAINT_AT_A_TIME = 16
MEASURED_PER_SEED = 12
"""Pictures painted between two seeds to find out how fast the pictures change there."""
MEASURED_EDGE_PX = 32
"""Pictures are compared at this size: how far they look apart, not how their grain differs."""
LEAST_SPEED = 0.1
"""Share of the mean below which a speed is not believed, so that no place is passed in a leap."""
MAX_KEPT_BYTES = 4_000_000_000


# ---------------------------------------------------------------- the way


def loop_weights(places: np.ndarray, num_seeds: int) -> np.ndarray:
    """Weights of the seeds' latents at `places` of the loop, float64 (P, num_seeds).

    Place k is seed k's, place `num_seeds` is place 0 again. The weights are the Dirichlet kernel of
    the place's distance to each seed: trigonometric interpolation through equispaced points
    (Henrici 1979, "Barycentric formulas for interpolating trigonometric polynomials"). Their squares
    sum to 1, for even numbers of seeds all but, which `closed_way` mends.
    """
    half_angle = np.pi * (places[:, None] - np.arange(num_seeds)) / num_seeds
    # 1 + 2 cos x + 2 cos 2x + … in closed form; an even number of seeds leaves half of its last term.
    below = np.tan(half_angle) if num_seeds % 2 == 0 else np.sin(half_angle)
    is_there = np.abs(np.sin(half_angle)) < 1e-9
    above = np.sin(num_seeds * half_angle)
    weights: np.ndarray = np.where(
        is_there, 1.0, above / np.where(is_there, 1.0, num_seeds * below)
    )
    return weights


def closed_way(seeds: Sequence[int], z_dim: int, places: np.ndarray) -> Tensor:
    """Latents at `places` of the loop through `seeds`, float32 (P, z_dim), distributed as N(0, I).

    A seed may come more than once; there must be two different ones.
    """
    different = list(dict.fromkeys(seeds))
    weights = loop_weights(places, len(seeds))
    # What a seed that comes twice contributes is one vector, so its weights add up before squaring.
    belongs = np.array([[seed == one for one in different] for seed in seeds], dtype=np.float64)
    weights = weights @ belongs
    weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
    latents = torch.stack([latent_for(seed, z_dim) for seed in different])
    return torch.from_numpy(weights).float() @ latents


def evenly_seen(steps: np.ndarray, num_frames: int, num_seeds: int) -> np.ndarray:
    """Places of `num_frames` frames on the loop, so that the pictures change at one speed.

    `steps`, float (M,): how far the picture at place i * num_seeds / M looks from the next one's.
    The first frame is at place 0; after the last comes the first again.
    """
    num_steps = len(steps)
    speed = np.maximum(steps, LEAST_SPEED * steps.mean()) if steps.any() else np.ones(num_steps)
    # Measured between two pictures, so true in the middle between them; a straight line to the next
    # middle keeps the speed from jumping.
    fine = (np.arange(num_steps * 32) + 0.5) / 32
    fine_speed = np.interp(fine, np.arange(num_steps) + 0.5, speed, period=num_steps)
    gone = np.concatenate([[0.0], np.cumsum(fine_speed)])
    wanted = np.arange(num_frames) * gone[-1] / num_frames
    places: np.ndarray = np.interp(wanted, gone, np.arange(len(gone)) / 32)
    return places * (num_seeds / num_steps)


# ---------------------------------------------------------------- the pictures on it


def check_class(manifest: Manifest, name: str) -> None:
    """Raises SettingsError if the generator knows no class called `name`."""
    names = manifest.class_names
    if name in names:
        return
    listed = f"It knows {', '.join(names)}."
    hint = did_you_mean(name, names, listed if names else "It was trained without classes.")
    raise SettingsError(f"--class {name}: {manifest.name} knows no such class. {hint}")


@dataclass(frozen=True)
class Walk:
    """What a walk shows."""

    seeds: tuple[int, ...]
    """Passed in this order, at place 0, 1, 2, … of the loop."""
    truncation_psi: float = 1.0
    """Scales every latent towards 0: calmer, more alike pictures below 1."""
    class_name: str | None = None
    """What is painted all along, by a generator that knows classes."""

    def paint(self, generator: LoadedGenerator, places: np.ndarray) -> Iterator[np.ndarray]:
        """The pictures at `places`, uint8 (size, size, 3) each."""
        latents = closed_way(self.seeds, generator.manifest.z_dim, places) * self.truncation_psi
        for part in latents.split(PAINT_AT_A_TIME):
            yield from generator.paint_latents(part, self.class_name)

    def places(
        self, generator: LoadedGenerator, num_frames: int, on_progress: OnProgress
    ) -> np.ndarray:
        """Where on the loop each frame is, so that the pictures change at one speed."""
        num_seeds = len(self.seeds)
        num_measured = num_seeds * MEASURED_PER_SEED
        measured = np.arange(num_measured) * num_seeds / num_measured
        small = []
        for picture in self.paint(generator, measured):
            small.append(_small(picture))
            on_progress("measuring the way", len(small), num_measured)
        return evenly_seen(distances(np.stack(small)), num_frames, num_seeds)


def _small(picture: np.ndarray) -> np.ndarray:
    """uint8 (S, S, 3) -> float32 (3, MEASURED_EDGE_PX, MEASURED_EDGE_PX), each a mean."""
    pixels = torch.from_numpy(picture).permute(2, 0, 1).float()
    small: np.ndarray = F.adaptive_avg_pool2d(pixels, MEASURED_EDGE_PX).numpy()
    return small


def distances(pictures: np.ndarray) -> np.ndarray:
    """Root mean square difference of each of the pictures (M, …) to the next, the last to the first."""
    difference = pictures.astype(np.float32) - np.roll(pictures, -1, axis=0).astype(np.float32)
    far: np.ndarray = np.sqrt((difference**2).mean(axis=tuple(range(1, pictures.ndim))))
    return far


# ---------------------------------------------------------------- the film


def make_walk(
    generator: LoadedGenerator,
    walk: Walk,
    out: Path,
    *,
    seconds: float = 12.0,
    fps: float | None = None,
    tiles: tuple[int, int] = (1, 1),
    edge_px: int | None = None,
    on_progress: OnProgress = lambda what, done, total: None,
) -> FilmFacts:
    """Write the film of `walk` to `out`; what is left None, the format decides.

    `tiles` (columns, rows) show the same loop, each as far behind the one before it as the last is
    before the first: every picture is painted once, and every tile loops as the whole does.
    Raises SettingsError, CheckpointRefused, StorageError.
    """
    film_format = format_of(out)
    fps = fps or film_format.fps
    check_film(out, fps)
    if len(set(walk.seeds)) < 2:
        raise SettingsError("a walk needs at least two different seeds to go from one to another.")
    columns, rows = tiles
    num_tiles = columns * rows
    size_px = generator.manifest.size
    # A whole number of frames between two tiles.
    num_frames = max(2, num_tiles * round(seconds * fps / num_tiles))
    if num_tiles > 1 and num_frames * size_px**2 * 3 > MAX_KEPT_BYTES:
        raise SettingsError(
            f"{num_frames} pictures of {size_px} px do not fit into memory for a grid; "
            "choose fewer --seconds or --fps, or --grid 1."
        )
    tile_px = (edge_px or edge_to_show(size_px * columns, film_format)) // columns
    if tile_px < 1:
        raise SettingsError(f"--size {edge_px}: that is too small for {columns} columns.")
    check_fits(out, num_frames, columns * tile_px, rows * tile_px)
    places = walk.places(generator, num_frames, on_progress)
    painted = _watched(walk.paint(generator, places), num_frames, on_progress)
    return write_film(out, _frames(painted, tiles, tile_px), fps, _about(generator, walk))


def _watched(
    pictures: Iterator[np.ndarray], total: int, on_progress: OnProgress
) -> Iterator[np.ndarray]:
    for number, picture in enumerate(pictures, start=1):
        yield picture
        on_progress("painting", number, total)


def _frames(
    painted: Iterator[np.ndarray], tiles: tuple[int, int], tile_px: int
) -> Iterator[Image.Image]:
    columns, rows = tiles
    num_tiles = columns * rows
    if num_tiles == 1:
        for picture in painted:
            yield Image.fromarray(_brought_to(picture, tile_px))
        return
    pictures = np.stack(list(painted))
    behind = len(pictures) // num_tiles
    for number in range(len(pictures)):
        shown = [pictures[(number + tile * behind) % len(pictures)] for tile in range(num_tiles)]
        yield as_grid(np.stack([_brought_to(picture, tile_px) for picture in shown]), columns)


def _brought_to(picture: np.ndarray, edge_px: int) -> np.ndarray:
    """Each tile by itself, so that none runs into its neighbour."""
    if len(picture) == edge_px:
        return picture
    resized = Image.fromarray(picture).resize((edge_px, edge_px), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def _about(generator: LoadedGenerator, walk: Walk) -> str:
    """What this film could be painted again from; kept in the file."""
    manifest = generator.manifest
    facts = [
        f"latent walk of {manifest.name}",
        f"weights sha256 {manifest.sha256}",
        f"seeds {','.join(map(str, walk.seeds))}",
        f"truncation_psi {walk.truncation_psi:g}",
    ]
    if walk.class_name is not None:
        facts.append(f"class {walk.class_name}")
    return "; ".join(facts)

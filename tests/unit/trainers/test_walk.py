"""The closed walk through latent space: where it goes, how fast it looks, that it has no seam."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainers.errors import SettingsError
from trainers.inference import LoadedGenerator
from trainers.latents import latent_for
from trainers.manifest import DatasetFacts, Manifest
from trainers.seeing.walk import (
    Walk,
    check_class,
    closed_way,
    distances,
    evenly_seen,
    loop_weights,
    make_walk,
)

Z_DIM, SIZE_PX = 64, 32


class Painter(nn.Module):
    """Smooth in z, but much quicker where z's first number is near 0, as real generators are uneven."""

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(0)
        self.mix = torch.randn(Z_DIM, 3 * 8 * 8, generator=stream) / Z_DIM**0.5
        self.classes_seen: list[Tensor | None] = []

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        self.classes_seen.append(classes)
        coarse = torch.tanh(z @ self.mix + 2 * torch.tanh(4 * z[:, :1])).reshape(-1, 3, 8, 8)
        return nn.functional.interpolate(coarse, size=SIZE_PX, mode="bilinear")


def loaded(class_names: tuple[str, ...] = ()) -> LoadedGenerator:
    manifest = Manifest(
        format_version=1,
        name="painter-000001",
        run="painter",
        kimg=1.0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        arch="dcgan",
        size=SIZE_PX,
        z_dim=Z_DIM,
        width=4,
        is_conditional=bool(class_names),
        sha256="a" * 64,
        num_bytes=1,
        seed=0,
        dataset=DatasetFacts(
            name="x", fingerprint="0" * 64, num_pictures=16, class_names=class_names
        ),
        torch_version="2",
    )
    return LoadedGenerator(Painter(), manifest, "cpu")


def decoded(path: Path) -> np.ndarray:
    with av.open(path) as film:
        return np.stack([f.to_ndarray(format="rgb24") for f in film.decode(video=0)])


# ---------------------------------------------------------------- the way


@pytest.mark.parametrize("num_seeds", [2, 3, 4, 7, 8, 31])
def test_at_a_seeds_place_there_is_that_seed_alone_and_the_end_is_the_beginning(
    num_seeds: int,
) -> None:
    weights = loop_weights(np.arange(num_seeds + 1.0), num_seeds)
    np.testing.assert_allclose(weights[:-1], np.eye(num_seeds), atol=1e-9)
    np.testing.assert_allclose(weights[-1], weights[0], atol=1e-9)


@pytest.mark.parametrize("num_seeds", [3, 5, 9])
def test_the_kernel_is_a_sum_of_cosines(num_seeds: int) -> None:
    """The closed form against the Dirichlet kernel's definition."""
    places = np.linspace(0, num_seeds, 101)
    angle = 2 * np.pi * places / num_seeds
    summed = 1 + 2 * sum(np.cos(m * angle) for m in range(1, num_seeds // 2 + 1))
    np.testing.assert_allclose(loop_weights(places, num_seeds)[:, 0], summed / num_seeds, atol=1e-9)


@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_everywhere_the_latents_are_distributed_as_in_training(num_seeds: int) -> None:
    """Mean 0 and variance 1 in every place, over many sets of seeds; a straight line falls to 0.5."""
    places = np.linspace(0, num_seeds, 9)
    walks = torch.stack(
        [
            closed_way(range(start, start + num_seeds), 256, places)
            for start in range(0, 800, num_seeds)
        ]
    )
    variances = walks.var(dim=(0, 2))
    assert walks.mean(dim=(0, 2)).abs().max() < 0.03
    assert (variances - 1).abs().max() < 0.05


def test_the_way_passes_every_seeds_own_picture() -> None:
    way = closed_way([7, 3, 11], Z_DIM, np.arange(3.0))
    for latent, seed in zip(way, [7, 3, 11], strict=True):
        torch.testing.assert_close(latent, latent_for(seed, Z_DIM))


def test_the_way_turns_no_corner_at_a_seed() -> None:
    """Seen a hundredth of the way before and after a seed, the direction is the same; spherical
    interpolation from seed to seed turns there by about a right angle."""
    way = closed_way([1, 2, 3, 4, 5], Z_DIM, np.array([1.99, 2.0, 2.01]))
    before, after = way[1] - way[0], way[2] - way[1]
    assert torch.cosine_similarity(before, after, dim=0) > 0.99


def test_a_seed_may_come_twice() -> None:
    places = np.linspace(0, 4, 41)
    norms = closed_way([1, 2, 1, 3], 512, places).norm(dim=1)
    assert norms.min() > 0.9 * 512**0.5
    assert norms.max() < 1.1 * 512**0.5


# ---------------------------------------------------------------- the speed


def test_where_pictures_change_quickly_the_frames_lie_closer() -> None:
    steps = np.repeat([1.0, 4.0], 16)
    places = evenly_seen(steps, 100, 8)
    assert (np.diff(places) > 0).all()
    assert places[0] == 0
    assert places[-1] < 8
    in_the_quick_half = (places >= 4).mean()
    assert in_the_quick_half == pytest.approx(0.8, abs=0.03)


def test_a_speed_of_nothing_is_walked_evenly() -> None:
    np.testing.assert_allclose(evenly_seen(np.zeros(6), 12, 3), np.arange(12) * 0.25, atol=1e-9)


def test_no_place_is_passed_in_a_leap() -> None:
    """Where nothing seems to move, the walk is at most ten times as fast as on average."""
    steps = np.array([0.0, 0, 0, 0, 1, 1, 1, 1])
    assert np.diff(evenly_seen(steps, 400, 8)).max() < 11 * 8 / 400


def test_pictures_change_at_one_speed_and_the_seam_is_like_any_other_place() -> None:
    generator, walk = loaded(), Walk((1, 2, 3, 4))
    places = walk.places(generator, 120, lambda what, done, total: None)
    even = distances(np.stack(list(walk.paint(generator, places))))
    plain = distances(np.stack(list(walk.paint(generator, np.arange(120) * 4 / 120))))
    assert even.std() / even.mean() < 0.5 * plain.std() / plain.mean()
    assert even.min() <= even[-1] <= even.max()
    assert even[-1] == pytest.approx(even.mean(), rel=0.3)


# ---------------------------------------------------------------- the film


def test_the_films_last_frame_flows_into_its_first(tmp_path: Path) -> None:
    facts = make_walk(loaded(), Walk((1, 2, 3)), tmp_path / "walk.mp4", seconds=4, fps=15)
    assert (facts.num_frames, facts.seconds, facts.size_px) == (60, 4.0, (512, 512))
    frames = decoded(tmp_path / "walk.mp4")
    assert len(frames) == 60
    steps = distances(frames[:, ::8, ::8])
    assert steps[-1] < 1.5 * np.median(steps), "no jump"
    assert steps[-1] > 0.5 * np.median(steps), "and no frame twice"


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_gif_or_webp_walk_repeats_for_ever(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"walk{suffix}"
    facts = make_walk(loaded(), Walk((1, 2)), path, seconds=2, fps=10)
    assert facts.num_frames == 20
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        assert film.size == (256, 256)


def test_the_film_begins_with_the_first_seeds_picture(tmp_path: Path) -> None:
    generator = loaded()
    make_walk(generator, Walk((5, 6)), tmp_path / "walk.mp4", seconds=1, fps=8, edge_px=SIZE_PX)
    expected = generator.paint(5).astype(int)
    assert np.abs(decoded(tmp_path / "walk.mp4")[0].astype(int) - expected).mean() < 6


def test_the_tiles_of_a_grid_walk_one_loop_behind_each_other(tmp_path: Path) -> None:
    generator = loaded()
    walk, path = Walk((1, 2, 3, 4)), tmp_path / "walk.mp4"
    facts = make_walk(generator, walk, path, seconds=2, fps=10, tiles=(2, 2), edge_px=2 * SIZE_PX)
    assert facts.num_frames == 20
    frames = decoded(path).astype(int)
    tiles = frames.reshape(20, 2, SIZE_PX, 2, SIZE_PX, 3).transpose(1, 3, 0, 2, 4, 5)
    tiles = tiles.reshape(4, 20, SIZE_PX, SIZE_PX, 3)
    for tile in range(1, 4):
        behind = np.roll(tiles[0], -5 * tile, axis=0)
        assert np.abs(tiles[tile] - behind).mean() < 6, "the same pictures, five frames on"
    assert np.abs(tiles[1] - tiles[0]).mean() > 15


def test_a_grid_paints_every_picture_once(tmp_path: Path) -> None:
    walk, num_painted = Walk((1, 2, 3)), []
    for tiles in [(1, 1), (3, 2)]:
        done: list[tuple[str, int, int]] = []
        make_walk(
            loaded(),
            walk,
            tmp_path / "walk.gif",
            seconds=2,
            fps=9,
            tiles=tiles,
            on_progress=lambda *progress, done=done: done.append(progress),
        )
        num_painted.append(sum(what == "painting" for what, *_ in done))
    assert num_painted == [18, 18]


def test_the_frames_of_a_grid_can_be_divided_among_its_tiles(tmp_path: Path) -> None:
    """Seven tiles: 21 frames instead of 20, or one of them would lag by less than the others."""
    facts = make_walk(
        loaded(), Walk((1, 2)), tmp_path / "walk.gif", seconds=2, fps=10, tiles=(7, 1)
    )
    assert facts.num_frames == 21


def test_truncation_makes_the_pictures_more_alike() -> None:
    generator = loaded()
    places = np.arange(0, 4, 0.25)
    spreads = []
    for psi in (1.0, 0.01):
        pictures = np.stack(list(Walk((1, 2, 3, 4), psi).paint(generator, places)))
        spreads.append(pictures.std(axis=0).mean())
    assert spreads[1] < 0.3 * spreads[0]


def test_the_film_says_what_it_could_be_painted_again_from(tmp_path: Path) -> None:
    generator = loaded(("dawn", "dusk"))
    make_walk(generator, Walk((4, 9), 0.7, "dusk"), tmp_path / "walk.mp4", seconds=1, fps=8)
    with av.open(tmp_path / "walk.mp4") as film:
        assert film.metadata["comment"] == (
            f"latent walk of painter-000001; weights sha256 {'a' * 64}; seeds 4,9; "
            "truncation_psi 0.7; class dusk"
        )
    assert all((seen == 1).all() for seen in generator._network.classes_seen)


# ---------------------------------------------------------------- mistakes


def test_one_seed_is_no_walk(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two different seeds"):
        make_walk(loaded(), Walk((3, 3)), tmp_path / "walk.gif")


def test_a_grid_that_does_not_fit_into_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"do not fit into memory.*fewer --seconds"):
        make_walk(loaded(), Walk((1, 2)), tmp_path / "w.mp4", seconds=20_000, fps=120, tiles=(2, 2))


def test_an_unknown_class_gets_the_nearest_name() -> None:
    manifest = loaded(("impressionism", "cubism")).manifest
    check_class(manifest, "cubism")
    with pytest.raises(SettingsError, match="Did you mean impressionism"):
        check_class(manifest, "impresionism")
    with pytest.raises(SettingsError, match="It knows impressionism, cubism"):
        check_class(manifest, "xyz")
    with pytest.raises(SettingsError, match="trained without classes"):
        check_class(loaded().manifest, "cubism")

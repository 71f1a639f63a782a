"""Grids, and from the network's numbers to bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from trainers.latents import latent_for
from trainers.samples import FixedNoise, as_grid, grid_columns, png_bytes, to_bytes


def test_minus_one_is_black_one_is_white_and_rounding_is_to_the_nearest() -> None:
    values = torch.tensor([-1.0, 1.0, 0.0, 10 / 127.5 - 1 + 1e-3, -7.0, 7.0])
    pictures = values.reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert to_bytes(pictures)[0, 0, :, 0].tolist() == [0, 255, 128, 10, 0, 255]


def test_every_byte_survives_the_way_to_the_network_and_back() -> None:
    every = torch.arange(256).float().div(127.5).sub(1).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert to_bytes(every)[0, :, :, 0].flatten().tolist() == list(range(256))


def test_bytes_have_colour_last() -> None:
    assert to_bytes(torch.zeros(2, 3, 4, 6)).shape == (2, 4, 6, 3)


@pytest.mark.parametrize(("size_px", "columns"), [(32, 8), (64, 8), (128, 8), (256, 4), (512, 3)])
def test_a_grid_is_about_a_thousand_pixels_wide_and_at_least_three_by_three(
    size_px: int, columns: int
) -> None:
    assert grid_columns(size_px) == columns


class Flat(nn.Module):
    """Paints each z's first number as one flat colour; its class, where there is one, in green."""

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        pictures = z[:, :1, None, None].repeat(1, 3, 4, 4)
        if classes is not None:
            pictures[:, 1] = (classes.float() / 10)[:, None, None]
        return pictures


def test_a_grid_reads_like_a_page_from_left_to_right_and_down() -> None:
    noise = FixedNoise(torch.linspace(-1, 1, 12)[:, None], classes=None)
    painted = noise.paint(Flat(), at_a_time=5)
    assert (painted.shape, painted.dtype) == ((12, 4, 4, 3), np.uint8)
    grid = np.asarray(as_grid(painted, columns=4))
    assert grid.shape == (12, 16, 3)
    read = grid[::4, ::4, 0].flatten().tolist()
    assert read == sorted(read)
    assert (read[0], read[-1]) == (0, 255)


def test_noise_is_that_of_its_seeds() -> None:
    noise = FixedNoise.draw([7, 3], 5, torch.device("cpu"))
    assert torch.equal(noise.latents, torch.stack([latent_for(7, 5), latent_for(3, 5)]))
    assert noise.classes is None
    assert [(z.shape, c) for z, c in noise.parts(1)] == [((1, 5), None), ((1, 5), None)]


def test_every_picture_of_the_noise_keeps_its_class_however_many_are_painted_at_a_time() -> None:
    noise = FixedNoise.draw(range(7), 5, torch.device("cpu"), class_of=lambda i: i % 3)
    at_once, in_parts = noise.paint(Flat(), at_a_time=7), noise.paint(Flat(), at_a_time=2)
    assert np.array_equal(at_once, in_parts)
    assert in_parts[:, 0, 0, 1].tolist() == [to_byte(i % 3 / 10) for i in range(7)]


def to_byte(value: float) -> int:
    return round((value + 1) * 127.5)


def test_png_keeps_every_pixel() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8))
    with Image.open(io.BytesIO(png_bytes(picture))) as again:
        assert again.tobytes() == picture.tobytes()

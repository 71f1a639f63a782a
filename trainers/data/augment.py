"""What the discriminator is shown instead of the pictures, real and generated alike.

A discriminator that sees few pictures learns them by heart; one that never sees the same picture
twice cannot. Because the generated pictures go through the same random transformations, the
generator is not to learn them: it wins only with pictures that look right *after* transforming, and
as long as the transformations lose no information about the distribution, these are pictures that
look right before (Karras et al. 2020, arXiv:2006.06676, section 2.2). That holds while a good share
of the pictures passes untouched; `MAX_P` is where the paper saw leaks begin in practice.

Two papers supply the operations. From DiffAugment (Zhao et al. 2020, arXiv:2006.10738): `color`,
`translation` and `cutout`, in that order and with the paper's ranges; with probability 1 they are
that paper's policy, but for a mirror where it lets grey in. From ADA (Karras et al. 2020, appendix B): `flip`, `geometry` and `hue`, with
that paper's distributions, and its rule that every transformation is drawn for every picture anew.

Left out of ADA: quarter turns and the luma flip (paintings have a top, and light is not dark;
`geometry` turns by any angle already); integer translation, brightness, contrast and saturation,
for which DiffAugment's are here; the band filters and the noise, which the paper found to help
little. Its wavelet resampling is bilinear here: real and generated pictures are blurred alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trainers.config import LEAKING_WHEN_CERTAIN, MAX_LEAK_FREE_P
from trainers.errors import SettingsError, unknown_name

__all__ = [
    "LEAKING_WHEN_CERTAIN",
    "MAX_P",
    "OPERATIONS",
    "AdaController",
    "augment",
    "fade",
    "has_flat_background",
    "parse_operations",
]

MAX_P = MAX_LEAK_FREE_P
BACKGROUND_TOLERANCE = 12
"""Levels of 255 a background may vary by: compression, and resizing at a figure's edge."""

Transformation = Callable[[Tensor], Tensor]
"""Pictures (B, 3, S, S) of any S to pictures of the same shape; its random numbers are drawn."""


# ---- which operations ----------------------------------------------------------------------------


def parse_operations(text: str) -> tuple[str, ...]:
    """`"color, translation"` -> the names, each once, in the order they are applied in.

    Raises SettingsError for a name that is none of OPERATIONS, or no name at all.
    """
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if not names:
        raise SettingsError(
            f"the augmentation names no operation: {text!r}. Choose from {', '.join(OPERATIONS)}, "
            "comma-separated, or train without (augment none)."
        )
    for name in names:
        if name not in OPERATIONS:
            raise SettingsError(unknown_name("augmentation", name, OPERATIONS))
    return tuple(operation for operation in OPERATIONS if operation in names)


def has_flat_background(images: np.ndarray) -> bool:
    """Whether most pictures show one and the same colour along most of their border.

    `images`: uint8 (N, S, S, 3). Of 256 of them at most, evenly spaced, 128 pixels each are looked
    at, a little inside the edge.
    """
    chosen = np.linspace(0, len(images) - 1, min(len(images), 256)).astype(np.int64)
    step = max(1, images.shape[1] // 32)
    first = step // 2
    sides = (
        images[chosen, first, first::step],
        images[chosen, -1 - first, first::step],
        images[chosen, first::step, first],
        images[chosen, first::step, -1 - first],
    )
    border = np.concatenate(sides, axis=1)
    # Medians twice: a figure that touches the border, or a few framed pictures, move neither.
    background = np.median(np.median(border, axis=1), axis=0)
    is_background = np.abs(border - background).max(axis=2) <= BACKGROUND_TOLERANCE
    return bool((is_background.mean(axis=1) >= 0.5).mean() >= 0.5)


# ---- applying them -------------------------------------------------------------------------------


def augment(
    pictures: Sequence[Tensor],
    operations: Sequence[str],
    p: Tensor | float,
    stream: torch.Generator,
) -> list[Tensor]:
    """The same random transformation of every resolution of a batch of pictures.

    `pictures`: the batch at one or more resolutions, finest first, each float (B, 3, S, S) in
    [-1, 1] on the stream's device. The result has the same shapes and dtypes, laid out
    channels-last; colours may leave [-1, 1], as in both papers. Lengths are drawn in units of the
    edge; whole-pixel shifts are rounded at each resolution by itself.

    `p` is the probability of each transformation of each picture: a number, or a tensor of no
    dimensions on the device. With p = 0 the pictures come back as they were, bit for bit. What is
    drawn from the stream depends on the operations and the batch size only, never on p.

    The generator learns through it, so it is differentiable in the pictures; gradient penalties are taken
    on what comes out of it (`losses.zero_centred_penalty`). Never waits for the device.
    """
    draw = _Draw(len(pictures[0]), p, stream)
    augmented = list(pictures)
    for operation in OPERATIONS:
        if operation in operations:
            transform = _OPERATIONS[operation](draw)
            augmented = [transform(resolution) for resolution in augmented]
    return augmented


class _Draw:
    """Random numbers, one per picture, shape (B, 1, 1, 1), float32 whatever the pictures are."""

    def __init__(self, num_pictures: int, p: Tensor | float, stream: torch.Generator) -> None:
        self.p = p
        self._shape = (num_pictures, 1, 1, 1)
        self._stream = stream

    def uniform(self, low: float, high: float) -> Tensor:
        unit = torch.rand(self._shape, generator=self._stream, device=self._stream.device)
        return unit * (high - low) + low

    def normal(self, sd: float) -> Tensor:
        return torch.randn(self._shape, generator=self._stream, device=self._stream.device) * sd

    def maybe(self, drawn: Tensor, neutral: float, p: Tensor | float | None = None) -> Tensor:
        """`drawn` for the pictures it happens to (each with probability p), `neutral` for others."""
        happens = self.uniform(0, 1) < (self.p if p is None else p)
        return torch.where(happens, drawn, neutral)


def _flip(draw: _Draw) -> Transformation:
    """Mirrored left to right, half of the time (ADA: "x-flip")."""
    mirrored = draw.maybe(draw.uniform(0, 1), 1.0) < 0.5
    return lambda x: torch.where(mirrored, x.flip(3), x)


def _geometry(draw: _Draw) -> Transformation:
    """Scaling, rotation, stretching in any direction, and shifting; bilinear, mirrored at the edges.

    The order and the distributions of ADA's appendix B: the scales are log-normal with sd 0.2 octave,
    the angles uniform over the circle, the shifts normal with sd 1/8 of the edge.
    """
    octave_fifth = 0.2 * math.log(2)
    # Before and after stretching; the two together happen with probability p.
    p_rotation = 1 - (1 - draw.p) ** 0.5
    scale = draw.maybe(draw.normal(octave_fifth).exp(), 1.0)
    before = draw.maybe(draw.uniform(-math.pi, math.pi), 0.0, p_rotation)
    stretch = draw.maybe(draw.normal(octave_fifth).exp(), 1.0)
    after = draw.maybe(draw.uniform(-math.pi, math.pi), 0.0, p_rotation)
    happens = draw.uniform(0, 1) < draw.p
    shift_x = torch.where(happens, draw.normal(1 / 8), 0.0)
    shift_y = torch.where(happens, draw.normal(1 / 8), 0.0)
    untouched = (scale == 1) & (before == 0) & (stretch == 1) & (after == 0) & ~happens

    def transform(x: Tensor) -> Tensor:
        edge = x.shape[2]
        # Where each pixel of the result comes from, in edges from the middle: the inverse of
        # shift, rotate, stretch, rotate, scale.
        position = torch.arange(edge, device=x.device, dtype=torch.float32)
        centred = (position + 0.5) / edge - 0.5
        u, v = centred[None, None, None, :] - shift_x, centred[None, None, :, None] - shift_y
        u, v = after.cos() * u + after.sin() * v, after.cos() * v - after.sin() * u
        u, v = u / (scale * stretch), v * stretch / scale
        u, v = before.cos() * u + before.sin() * v, before.cos() * v - before.sin() * u
        # Untouched pictures take their pixels from exactly where they are, not from 1e-7 beside.
        column = torch.where(untouched, position[None, None, None, :], (u + 0.5) * edge - 0.5)
        row = torch.where(untouched, position[None, None, :, None], (v + 0.5) * edge - 0.5)
        return _bilinear(x, row, column)

    return transform


def _color(draw: _Draw) -> Transformation:
    """Brightness ±0.5, saturation 0 to 2 times, contrast 0.5 to 1.5 times (DiffAugment).

    Saturation is about the pixel's grey (the mean of its channels), contrast about the picture's
    mean, which brightness has moved before: so that neither changes what the other is about.
    """
    brightness = draw.maybe(draw.uniform(-0.5, 0.5), 0.0)
    saturation = draw.maybe(draw.uniform(0, 2), 1.0)
    contrast = draw.maybe(draw.uniform(0.5, 1.5), 1.0)
    # The three in one pass. A neutral draw leaves 1 * x + 0 * grey + 0, which is x exactly.
    of_pixel, of_grey = contrast * saturation, contrast * (1 - saturation)

    def transform(x: Tensor) -> Tensor:
        grey = x.mean(1, keepdim=True)
        mean = grey.mean((2, 3), keepdim=True)
        added = of_grey.to(x) * grey + ((1 - contrast).to(x) * mean + brightness.to(x))
        return of_pixel.to(x) * x + added

    return transform


def _hue(draw: _Draw) -> Transformation:
    """Colours turned about the grey axis by any angle (ADA: "hue rotation")."""
    angle = draw.maybe(draw.uniform(-math.pi, math.pi), 0.0)
    cos, sin = angle.cos(), angle.sin() / math.sqrt(3)

    def transform(x: Tensor) -> Tensor:
        # Rodrigues' rotation formula: the axis is (1, 1, 1) / sqrt(3), and its cross product with
        # a colour (r, g, b) is (b - g, r - b, g - r) / sqrt(3).
        across = x.roll(1, 1) - x.roll(-1, 1)
        return cos.to(x) * x + (1 - cos).to(x) * x.mean(1, keepdim=True) + sin.to(x) * across

    return transform


def _translation(draw: _Draw) -> Transformation:
    """Shifted by up to 1/8 of the edge each way, in whole pixels (DiffAugment).

    What moves in is the picture's mirror image, not the paper's mid-grey, which generators had begun
    to paint as thin frames (docs/decisions/0008-a-faster-generator.md).
    """
    happens = draw.uniform(0, 1) < draw.p
    shift_x = torch.where(happens, draw.uniform(-1 / 8, 1 / 8), 0.0)
    shift_y = torch.where(happens, draw.uniform(-1 / 8, 1 / 8), 0.0)

    def transform(x: Tensor) -> Tensor:
        edge = x.shape[2]
        position = torch.arange(edge, device=x.device)
        row = position[None, None, :, None] - (shift_y * edge).round().long()
        column = position[None, None, None, :] - (shift_x * edge).round().long()
        return _pixels(x, _mirrored(row, edge), _mirrored(column, edge))

    return transform


def _cutout(draw: _Draw) -> Transformation:
    """A square of half the edge, anywhere and cut off at the border, is mid-grey (DiffAugment)."""
    # Far outside, a square hides nothing.
    centre_x = draw.maybe(draw.uniform(0, 1), 2.0)
    centre_y = draw.uniform(0, 1)

    def transform(x: Tensor) -> Tensor:
        edge = x.shape[2]
        position = (torch.arange(edge, device=x.device) + 0.5) / edge
        is_hidden = ((position[None, None, None, :] - centre_x).abs() < 0.25) & (
            (position[None, None, :, None] - centre_y).abs() < 0.25
        )
        return x * (~is_hidden).to(x)

    return transform


# In the order they are applied: grey that moves in or covers stays grey, whatever colours do.
_OPERATIONS: dict[str, Callable[[_Draw], Transformation]] = {
    "flip": _flip,
    "geometry": _geometry,
    "color": _color,
    "hue": _hue,
    "translation": _translation,
    "cutout": _cutout,
}
OPERATIONS = tuple(_OPERATIONS)


def _pixels(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """x[b, :, row[b], column[b]]: both int64 in [0, S), together broadcast to (B, 1, S, S)."""
    num_pictures, channels, edge, _ = x.shape
    first = torch.arange(num_pictures, device=x.device)[:, None, None, None] * (edge * edge)
    index = ((first + row * edge) + column).flatten()
    # Rows of three channels: whole pixels, bit for bit. F.grid_sample, the usual way, interpolates.
    colours = x.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, index)
    return colours.view(num_pictures, edge, edge, channels).permute(0, 3, 1, 2)


def _mirrored(position: Tensor, edge: int) -> Tensor:
    """Whole positions up to an edge outside, int64, as those inside that a mirror shows there."""
    inside = torch.where(position < 0, -1 - position, position)
    return torch.where(inside >= edge, 2 * edge - 1 - inside, inside)


def _bilinear(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """x at fractional positions, float (B, 1, S, S); beyond the edges x goes on as in a mirror."""
    top, bottom, down = _neighbours(row, x.shape[2])
    left, right, across = _neighbours(column, x.shape[3])
    down, across = down.to(x), across.to(x)
    return torch.lerp(
        torch.lerp(_pixels(x, top, left), _pixels(x, top, right), across),
        torch.lerp(_pixels(x, bottom, left), _pixels(x, bottom, right), across),
        down,
    )


def _neighbours(position: Tensor, edge: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels before and after any fractional position, int64 in [0, edge), and how far it lies
    from the one towards the other, in [0, 1)."""
    # A triangle wave over the pixels' outer edges. Half a pixel beyond the middle of the outermost
    # pixel its mirror image begins, which looks the same: so clamping is mirroring there.
    inside = edge - ((position + 0.5).remainder(2 * edge) - edge).abs() - 0.5
    before = inside.floor()
    index = before.long()
    return index.clamp(min=0), (index + 1).clamp(max=edge - 1), inside - before


# ---- how often -----------------------------------------------------------------------------------


class AdaController:
    """Moves p so that the discriminator overfits as much as it is allowed to, and no more.

    r_t, the mean of sign(D(real)), is 0 for a discriminator that cannot tell and 1 for one that is
    right about every training picture; a relativistic one is judged by sign(D(real) - D(fake))
    (Karras et al. 2020, eq. 1 and section 3).
    """

    def __init__(self, target: float = 0.6, max_p: float = MAX_P, speed_kimg: float = 500) -> None:
        """`speed_kimg`: pictures, in thousands, over which p can climb from 0 to 1.

        p never passes MAX_P, whatever `max_p` says: uncapped it ends in augmented samples.
        """
        self._target = target
        self._max_p = min(max_p, MAX_P)
        self._speed_kimg = speed_kimg
        self.p = 0.0

    def adjust(self, r_t: float, images: int) -> float:
        """The new p, after `images` pictures whose mean sign was `r_t`."""
        step = images / (self._speed_kimg * 1000)
        if r_t > self._target:
            self.p = min(self.p + step, self._max_p)
        elif r_t < self._target:
            self.p = max(self.p - step, 0.0)
        return self.p

    def state_dict(self) -> dict[str, float]:
        return {"p": self.p}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a saved p, or from today's cap where that is lower."""
        self.p = min(state["p"], self._max_p)


def fade(p: float, fraction_of_budget: float, fade_share: float) -> float:
    """p until the last `fade_share` of the budget, from there down to 0 in a straight line.

    What leaked is unlearned there: the generator ends on pictures nobody touched.
    """
    if fraction_of_budget <= 1 - fade_share:
        return p
    return p * max(0.0, 1 - fraction_of_budget) / fade_share if fade_share else p

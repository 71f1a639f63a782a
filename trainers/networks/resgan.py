"""A residual network without normalisation: the modern baseline of R3GAN, in two sizes.

After Huang et al. 2024 (arXiv:2501.05441, section 4, "config E"): ResNeXt blocks with an inverted
bottleneck, nothing normalised anywhere, so that a picture never depends on its batch and batches
can be split at will, and weights drawn so that every block begins as the identity (Zhang, Dauphin &
Ma 2019, "Fixup"). The generator ends without tanh: pictures are only trained to lie in [-1, 1].

    generator      z -> linear -> x learned 4x4 basis -> per resolution [1x1 if the width changes ->
                   2x bilinear -> blocks] -> 1x1 to RGB
    discriminator  1x1 from RGB -> per resolution [blocks -> 2x average -> 1x1 if the width changes]
                   -> 4x4 depthwise -> linear to one logit
    block of C     1x1 C -> 2C, bias, LeakyReLU 0.2 -> 3x3 in groups of 16, bias, LeakyReLU 0.2 ->
                   1x1 2C -> C, added to what came in

`blocks=1` is size S, for small sets and small machines, with widths of our own; `blocks=2` is size
M, the paper's FFHQ-256 network. R3GAN resamples with a [1, 3, 3, 1] filter; bilinear enlarging is
that filter, and the plain average is its cheaper neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainers.networks import Architecture, Shape
from trainers.networks.layers import (
    ATTENTION_PX,
    ClassLatent,
    ClassProjection,
    SelfAttention,
    full_precision,
    normalise_spectrally,
)

CHANNELS = {
    1: {4: 512, 8: 512, 16: 512, 32: 384, 64: 256, 128: 128, 256: 48, 512: 24},
    2: {4: 768, 8: 768, 16: 768, 32: 768, 64: 384, 128: 192, 256: 96, 512: 48},
}
"""Feature maps at each resolution, px, by the number of blocks, at `width` 64. M at 512 px goes on
where the paper ends."""
REFERENCE_WIDTH = 64
COARSEST_PX = 4
GROUP = 16
"""Feature maps per group of the 3x3 convolutions."""
EXPANSION = 2
SLOPE = 0.2
NUM_BFLOAT16_STAGES = 4
"""Under autocast so many of the finest resolutions, where the time goes, are computed in bfloat16;
the coarser ones and what comes out stay float32, as R3GAN has it."""


def _channels(shape: Shape) -> dict[int, int]:
    """Feature maps at each resolution up to the picture's, 4 px first.

    `width` scales the table by width / 64, rounded so that the expanded maps are whole groups of
    16, at least one: C is a multiple of 8.
    """
    step = GROUP // EXPANSION
    scale = shape.width / REFERENCE_WIDTH
    return {
        px: max(step, round(channels * scale / step) * step)
        for px, channels in CHANNELS[shape.blocks].items()
        if px <= shape.size
    }


def _gain(shape: Shape) -> float:
    """Of a block's inner convolutions: LeakyReLU's (He et al. 2015, section 2.2) times Fixup's
    L^(-1 / (2m - 2)), m = 3 convolutions in each of the network's L blocks."""
    num_blocks = shape.blocks * len(_channels(shape))
    gain: float = (2 / (1 + SLOPE**2)) ** 0.5 * num_blocks**-0.25
    return gain


class Generator(nn.Module):
    """z (B, z_dim), classes (B,) or None -> pictures (B, 3, size, size), trained to lie in [-1, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        channels, gain = _channels(shape), _gain(shape)
        self._float32_px = shape.size >> NUM_BFLOAT16_STAGES
        self.latent = ClassLatent(shape)
        inputs = channels[COARSEST_PX]
        self.from_z = nn.Linear(self.latent.num_features, inputs, bias=False)
        nn.init.normal_(self.from_z.weight, 0.0, self.latent.num_features**-0.5)
        self.basis = nn.Parameter(torch.randn(inputs, COARSEST_PX, COARSEST_PX))
        self.stages = nn.ModuleDict()
        for px, outputs in channels.items():
            layers: list[nn.Module] = []
            if px > COARSEST_PX:
                # First the width, then the resolution: a quarter of the work.
                layers += [_convolution(inputs, outputs)] if inputs != outputs else []
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
            layers += [_Block(outputs, gain) for _ in range(shape.blocks)]
            if shape.attention and px == ATTENTION_PX:
                layers.append(SelfAttention(outputs))
            self.stages[str(px)] = nn.Sequential(*layers)
            inputs = outputs
        self.to_rgb = _convolution(inputs, 3)

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        with full_precision(z):
            maps = self.from_z(self.latent(z, classes))[:, :, None, None] * self.basis
        for px, stage in self.stages.items():
            maps = _run(stage, maps, is_float32=int(px) <= self._float32_px)
        return _run(self.to_rgb, maps, is_float32=True)


class Discriminator(nn.Module):
    """Pictures (B, 3, size, size), classes (B,) or None -> logits (B, 1): high for real."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        assert shape.d_norm != "batch", shape.d_norm
        channels, gain = _channels(shape), _gain(shape)
        # A weight of 0 has no direction that dividing by its spectral norm could keep.
        last_gain = gain if shape.d_norm == "spectral" else 0.0
        self._float32_px = shape.size >> NUM_BFLOAT16_STAGES
        self.from_rgb = _convolution(3, channels[shape.size])
        self.stages = nn.ModuleDict()
        for px, inputs in reversed(channels.items()):
            layers: list[nn.Module] = [_Block(inputs, gain, last_gain) for _ in range(shape.blocks)]
            if shape.attention and px == ATTENTION_PX:
                layers.append(SelfAttention(inputs))
            if px > COARSEST_PX:
                outputs = channels[px // 2]
                layers.append(nn.AvgPool2d(2))
                layers += [_convolution(inputs, outputs)] if inputs != outputs else []
            self.stages[str(px)] = nn.Sequential(*layers)
        coarsest = channels[COARSEST_PX]
        self.to_features = _convolution(coarsest, coarsest, COARSEST_PX, groups=coarsest)
        self.to_logit = nn.Linear(coarsest, 1, bias=False)
        nn.init.normal_(self.to_logit.weight, 0.0, coarsest**-0.5)
        has_classes = shape.num_classes > 0
        self.projection = ClassProjection(shape.num_classes, coarsest) if has_classes else None
        if shape.d_norm == "spectral":
            normalise_spectrally(self)

    def forward(
        self, pictures: Tensor, classes: Tensor | None = None, coarser: Sequence[Tensor] = ()
    ) -> Tensor:
        assert not coarser
        maps = self.from_rgb(pictures)
        for px, stage in self.stages.items():
            maps = _run(stage, maps, is_float32=int(px) <= self._float32_px)
        features = _run(self.to_features, maps, is_float32=True).flatten(1)
        logits = _run(self.to_logit, features, is_float32=True)
        if self.projection is not None:
            logits = logits + self.projection(features, classes)
        return logits


class _Block(nn.Module):
    """Maps (B, C, H, W) keep their shape; the identity until `last_gain` or training says otherwise."""

    def __init__(self, channels: int, gain: float, last_gain: float = 0.0) -> None:
        super().__init__()
        inner = channels * EXPANSION
        self.layers = nn.Sequential(
            _convolution(channels, inner, gain=gain, bias=True),
            nn.LeakyReLU(SLOPE, inplace=True),
            _convolution(inner, inner, 3, gain=gain, groups=inner // GROUP, bias=True),
            nn.LeakyReLU(SLOPE, inplace=True),
            _convolution(inner, channels, gain=last_gain),
        )

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = maps + self.layers(maps)
        return changed


def _convolution(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    gain: float = 1.0,
    groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:
    """Weights from N(0, gain / sqrt(fan_in)), bias 0. A 4x4 kernel is meant for 4x4 maps alone."""
    padding = 1 if kernel == 3 else 0
    made = nn.Conv2d(inputs, outputs, kernel, padding=padding, groups=groups, bias=bias)
    fan_in = inputs // groups * kernel**2
    nn.init.normal_(made.weight, 0.0, gain * fan_in**-0.5)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


def _run(layers: nn.Module, maps: Tensor, is_float32: bool) -> Tensor:
    """`layers(maps)`, in float32 if `is_float32`, else as autocast says."""
    if not is_float32:
        as_autocast_says: Tensor = layers(maps)
        return as_autocast_says
    with full_precision(maps):
        exact: Tensor = layers(maps.float() if maps.dtype is torch.bfloat16 else maps)
    return exact


ARCHITECTURE = Architecture(
    name="resgan",
    summary="the modern residual network without normalisation; its sizes are the presets resgan-s and resgan-m",
    build_generator=Generator,
    build_discriminator=Discriminator,
    options=frozenset({"blocks", "attention"}),
    d_norms=("none", "spectral"),
)

"""DCGAN by the rules of Radford, Metz & Chintala 2016 (arXiv:1511.06434, section 3), at any size.

Strided and transposed convolutions instead of pooling, batch normalisation everywhere but the
generator's output and the discriminator's input, ReLU in the generator with tanh at its end,
LeakyReLU 0.2 in the discriminator, no hidden dense layers, all weights drawn from N(0, 0.02).

The paper's network makes 64 px. Larger sizes add stages at the *coarse* end's width: feature maps
double at every halving of the resolution and stop growing at eight times `width`, so a stage costs
about the same at every resolution.

Options that leave the paper:

- `upsampling="resize"`, keragan's way of enlarging and halving: the generator enlarges (nearest
  neighbour), then convolves 3x3, which cannot paint a checkerboard (Odena et al. 2016, "Deconvolution
  and Checkerboard Artifacts"), and ends with feature maps at full resolution; the discriminator
  convolves 3x3 with stride 1, then average-pools. The widths are the paper's as above, not keragan's:
  at 512 px keragan has 12.9 M and 6.4 M parameters and takes 7.4 and 6.3 GMAC, this has 9.5 M and
  8.6 M at the default width of 64 and takes 22.7 and 18.1.
- `attention`: one self-attention layer in each network, on the 32 px maps (16 px in 32 px pictures).
- `multi_scale`: MSG-GAN (Karnewar & Wang 2020, arXiv:1903.06048): the generator paints
  every resolution by a 1x1 convolution, and the discriminator concatenates each coarser picture to
  its feature maps of that resolution (their phi_simple).
- `d_norm`: batch normalisation in the discriminator, spectral normalisation of all its layers, or
  none.
- classes: a learned vector beside z, and a projection discriminator.
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
    normalise_spectrally,
)

COARSEST_PX = 4
MAX_WIDENING = 8
RGB = 3


def _channels(shape: Shape) -> list[int]:
    """Feature maps per stage, finest (half the picture's resolution) first, 4 px last."""
    num_stages = (shape.size // COARSEST_PX).bit_length() - 1
    return [shape.width * min(2**stage, MAX_WIDENING) for stage in range(num_stages)]


def _is_attended(px: int, shape: Shape) -> bool:
    """Whether the maps of `px` get the attention layer: 32 px, or the finest there are."""
    return shape.attention and px == min(ATTENTION_PX, shape.size // 2)


class Generator(nn.Module):
    """z (B, z_dim), classes (B,) or None -> pictures (B, 3, size, size) in [-1, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        *finer, coarsest = _channels(shape)
        self.latent = ClassLatent(shape)
        layers: list[nn.Module] = [
            # A 1x1 "picture" of z_dim channels, unfolded to 4x4: the paper's projection.
            nn.ConvTranspose2d(self.latent.num_features, coarsest, 4, 1, 0, bias=False),
            nn.BatchNorm2d(coarsest),
            nn.ReLU(inplace=True),
        ]
        self._stage_ends = [len(layers) - 1]
        inputs, px = coarsest, COARSEST_PX
        for outputs in reversed(finer):
            px *= 2
            layers += _doubled(inputs, outputs, shape, bias=False)
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            if _is_attended(px, shape):
                layers.append(SelfAttention(outputs))
            self._stage_ends.append(len(layers) - 1)
            inputs = outputs
        if shape.upsampling == "resize":
            outputs = max(1, inputs // 2)
            layers += _doubled(inputs, outputs, shape, bias=False)
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            layers.append(nn.Conv2d(outputs, RGB, 3, padding=1))
        else:
            layers += _doubled(inputs, RGB, shape, bias=True)
        layers.append(nn.Tanh())
        self.layers = nn.Sequential(*layers)
        if shape.multi_scale:
            self.to_rgb = nn.ModuleList(
                nn.Conv2d(channels, RGB, 1) for channels in reversed(_channels(shape))
            )
        self.apply(_initialise)

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        pictures: Tensor = self.layers(self.latent(z, classes)[:, :, None, None])
        return pictures

    def pyramid(self, z: Tensor, classes: Tensor | None = None) -> list[Tensor]:
        """The same pictures at size, size/2, ... 4 px, each in [-1, 1]. With `multi_scale` only."""
        maps = self.latent(z, classes)[:, :, None, None]
        coarser: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            maps = layer(maps)
            if index in self._stage_ends:
                coarser.append(torch.tanh(self.to_rgb[len(coarser)](maps)))
        return [maps, *reversed(coarser)]


class Discriminator(nn.Module):
    """Pictures (B, 3, size, size) in [-1, 1], classes (B,) or None, and with `multi_scale` the same
    pictures at size/2, ... 4 px -> logits (B, 1): high for real."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self._stage_ends: list[int] = []
        inputs, px = RGB, shape.size
        for outputs in _channels(shape):
            px //= 2
            has_batch_norm = shape.d_norm == "batch" and bool(layers)
            layers += _halved(inputs, outputs, shape, bias=not has_batch_norm)
            if has_batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            if _is_attended(px, shape):
                layers.append(SelfAttention(outputs))
            self._stage_ends.append(len(layers) - 1)
            inputs = outputs + (RGB if shape.multi_scale else 0)
        layers.append(nn.Conv2d(inputs, 1, COARSEST_PX, stride=1, padding=0))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise_unnormalised if shape.d_norm == "none" else _initialise)
        has_classes = shape.num_classes > 0
        self.projection = ClassProjection(shape.num_classes, inputs) if has_classes else None
        if shape.d_norm == "spectral":
            normalise_spectrally(self)

    def forward(
        self, pictures: Tensor, classes: Tensor | None = None, coarser: Sequence[Tensor] = ()
    ) -> Tensor:
        *layers, to_logit = self.layers
        waiting = list(coarser)
        maps = pictures
        for index, layer in enumerate(layers):
            maps = layer(maps)
            if index in self._stage_ends and waiting:
                maps = torch.cat([maps, waiting.pop(0)], 1)
        logits: Tensor = to_logit(maps).flatten(1)
        if self.projection is not None:
            # The paper sums over places; the mean is as large whatever the resolution.
            logits = logits + self.projection(maps.mean(dim=(2, 3)), classes)
        return logits


def _doubled(inputs: int, outputs: int, shape: Shape, bias: bool) -> list[nn.Module]:
    """Layers to twice the resolution."""
    if shape.upsampling == "resize":
        return [
            nn.Upsample(scale_factor=2, mode="nearest"),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias),
        ]
    return [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)]


def _halved(inputs: int, outputs: int, shape: Shape, bias: bool) -> list[nn.Module]:
    """Layers to half the resolution."""
    if shape.upsampling == "resize":
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias), nn.AvgPool2d(2)]
    return [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)]


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions; batch norm's gain N(1, 0.02), as the authors' code has it."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def _initialise_unnormalised(module: nn.Module) -> None:
    """He et al. 2015, section 2.2: without a norm to restore it, 0.02 would let the signal halve at every
    layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, a=0.2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


ARCHITECTURE = Architecture(
    name="dcgan",
    summary="the DCGAN paper's network, generalised to 32-512 px",
    build_generator=Generator,
    build_discriminator=Discriminator,
    options=frozenset({"upsampling", "attention", "multi_scale"}),
)

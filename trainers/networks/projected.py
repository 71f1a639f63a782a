"""A discriminator that looks through a frozen, pretrained network, and a light generator for it.

Projected GAN (Sauer et al. 2021, arXiv:2111.01007): real and generated pictures are passed through
a frozen EfficientNet-Lite0; its features at four strides are mixed by frozen random convolutions,
across channels (CCM, section 3.2) and across scales (CSM), and one small discriminator judges each
scale. What a picture consists of need not be learned from a few hundred paintings: the discriminator
brings it along, and cannot learn the pictures by heart so easily.

One more discriminator looks at the pixels themselves, as in Vision-aided GAN (Kumari et al. 2022,
arXiv:2112.09130): of tone and colour, features learned for naming things say little.

The generator is FastGAN's (Liu et al. 2021, arXiv:2101.04775) without its noise inputs, so that a
picture depends on its seed alone: nearest-neighbour upsampling, 3x3 convolutions with batch
normalisation and gated linear units, and skip-layer excitation gates from coarse to fine scales.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.networks import Architecture, Shape
from trainers.networks.layers import (
    ClassLatent,
    ClassProjection,
    EnlargingConv2d,
    normalise_spectrally,
)
from trainers.pretrained.efficientnet_lite import build_efficientnet_lite, load_efficientnet_lite

TRUNK = "lite0"
TRUNK_CHANNELS = (24, 40, 112, 320)
"""Feature maps of the frozen network at strides 4, 8, 16 and 32."""
MIN_TRUNK_PX = 128
"""Smaller pictures are enlarged for the frozen network, which was trained at 224 px."""
MAX_TRUNK_PX = 256
COARSEST_PX = 4

GENERATOR_WIDENING = {4: 16, 8: 8, 16: 4, 32: 2, 64: 2, 128: 1, 256: 0.5, 512: 0.25}
"""Feature maps at each resolution as multiples of `width` (FastGAN's table)."""


class Generator(nn.Module):
    """z (B, z_dim) -> pictures (B, 3, size, size), only trained to lie in [-1, 1].

    No tanh: it saturates where a whole background is one colour, lets no gradient through there, and a
    flat background stays yellow though every discriminator sees that it should be beige (measured on 435
    portraits, docs/decisions/0011-no-tanh.md).
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.latent = ClassLatent(shape)
        sizes = [px for px in GENERATOR_WIDENING if px <= shape.size]
        channels = {px: max(4, round(shape.width * GENERATOR_WIDENING[px])) for px in sizes}
        self.first = nn.Sequential(
            nn.ConvTranspose2d(
                self.latent.num_features, channels[COARSEST_PX] * 2, COARSEST_PX, bias=False
            ),
            nn.BatchNorm2d(channels[COARSEST_PX] * 2),
            _Gated(),
        )
        self.stages = nn.ModuleDict(
            {str(px): _Enlarge(channels[px // 2], channels[px]) for px in sizes[1:]}
        )
        # A gate four doublings apart: 4 -> 64, 8 -> 128, 16 -> 256, 32 -> 512.
        self.gates = nn.ModuleDict(
            {
                str(px): _SkipExcitation(channels[px // 16], channels[px])
                for px in sizes
                if px // 16 in channels
            }
        )
        self.to_rgb = nn.Conv2d(channels[sizes[-1]], 3, 3, padding=1)
        self.apply(_initialise)

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        latent = self.latent(z, classes)
        features: dict[str, Tensor] = {}
        x = features["4"] = self.first(latent[:, :, None, None])
        for px, stage in self.stages.items():
            x = stage(x)
            if px in self.gates:
                x = self.gates[px](features[str(int(px) // 16)], x)
            features[px] = x
        pictures: Tensor = self.to_rgb(x)
        return pictures


class _Enlarge(nn.Sequential):
    """Twice the edge: nearest neighbour, 3x3 convolution, batch norm, gated linear unit."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            EnlargingConv2d(inputs, outputs * 2),
            nn.BatchNorm2d(outputs * 2),
            _Gated(),
        )


class _Gated(nn.Module):
    """Half of the channels times the sigmoid of the other half: a gated linear unit.

    Written out, because the gradient of nn.GLU leaves the channels-last layout and the batch norm
    before it then takes six times as long (measured on a CPU).
    """

    def forward(self, x: Tensor) -> Tensor:
        values, gates = x.chunk(2, dim=1)
        return values * torch.sigmoid(gates)


class _SkipExcitation(nn.Module):
    """Channels of a fine feature map scaled by a coarse one (FastGAN, section 3.1, eq. 1)."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(coarse, fine, 4, bias=False),
            nn.SiLU(),
            nn.Conv2d(fine, fine, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        gated: Tensor = fine * self.gate(coarse)
        return gated


class Discriminator(nn.Module):
    """Pictures (B, 3, size, size) in [-1, 1] -> logits (B, K), one per patch and scale."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._trunk_px = min(MAX_TRUNK_PX, max(MIN_TRUNK_PX, shape.size))
        is_only_counted = torch.empty(0).is_meta
        trunk = build_efficientnet_lite(TRUNK) if is_only_counted else load_efficientnet_lite(TRUNK)
        self.trunk = trunk.fold_norms().requires_grad_(False)
        mixed = [max(4, shape.width * 2**scale) for scale in range(4)]
        self.mixing = _FrozenMixing(mixed).requires_grad_(False)
        self.heads = nn.ModuleList(
            _Head(channels, self._trunk_px // (4 * 2**scale), shape, "batch")
            for scale, channels in enumerate(_FrozenMixing.outputs(mixed))
        )
        self.pixels = _Head(3, shape.size, shape, shape.d_norm)

    def forward(
        self, pictures: Tensor, classes: Tensor | None = None, coarser: tuple[Tensor, ...] = ()
    ) -> Tensor:
        assert not coarser
        return self.judge(self.see(pictures), classes)

    def see(self, pictures: Tensor) -> list[Tensor]:
        """The pictures, and the frozen features of four scales, finest first."""
        shown = pictures
        if pictures.shape[-1] != self._trunk_px:
            # A CPU has no antialiased resizing of bfloat16.
            shown = F.interpolate(
                pictures.to(torch.promote_types(pictures.dtype, torch.float32)),
                size=self._trunk_px,
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
        return [pictures, *self.mixing(self.trunk.taps(shown))]

    def judge(self, seen: list[Tensor], classes: Tensor | None = None) -> Tensor:
        """What `see` gave -> logits (B, K)."""
        pictures, *features = seen
        of_features = [head(x, classes) for head, x in zip(self.heads, features, strict=True)]
        return torch.cat([*of_features, self.pixels(pictures, classes)], 1)


class _FrozenMixing(nn.Module):
    """CCM and CSM: random 1x1 convolutions, then random 3x3 ones from the coarse scales down."""

    def __init__(self, mixed: list[int]) -> None:
        super().__init__()
        self.across_channels = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1)
            for inputs, outputs in zip(TRUNK_CHANNELS, mixed, strict=True)
        )
        self.across_scales = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1)
            for inputs, outputs in zip(mixed, self.outputs(mixed), strict=True)
        )
        for convolution in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
            nn.init.zeros_(convolution.bias)

    @staticmethod
    def outputs(mixed: list[int]) -> list[int]:
        """Each scale leaves with as many channels as the next finer one mixes."""
        return [mixed[0], *mixed[:-1]]

    def forward(self, taps: tuple[Tensor, ...]) -> list[Tensor]:
        scales: list[Tensor] = []
        coarser: Tensor | None = None
        for index in reversed(range(len(taps))):
            x = self.across_channels[index](taps[index])
            if coarser is not None:
                x = x + F.interpolate(coarser, scale_factor=2, mode="bilinear", align_corners=False)
            coarser = self.across_scales[index](x)
            scales.insert(0, coarser)
        return scales


class _Head(nn.Module):
    """One scale's discriminator: strided 4x4 convolutions down to 4 px, then a 3x3 one to the logit(s).

    `norm` "batch" is Projected GAN's, batch norm and spectral norm; "none" and "spectral" leave each
    picture's logits to itself, which a gradient penalty needs.
    """

    def __init__(self, inputs: int, size_px: int, shape: Shape, norm: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while size_px > COARSEST_PX:
            # As wide as fits the resolution: 4 times `width` up to 16 px, half as much per doubling.
            outputs = max(8, min(shape.width * 4, shape.width * 128 // size_px))
            layers.append(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=norm != "batch"))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs, size_px = outputs, size_px // 2
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(inputs, 1, 3, padding=1)
        self.fit = ClassProjection(shape.num_classes, inputs) if shape.num_classes else None
        if norm != "none":
            normalise_spectrally(self)

    def forward(self, x: Tensor, classes: Tensor | None) -> Tensor:
        x = self.body(x)
        logits: Tensor = self.last(x)
        if self.fit is not None:
            logits = logits + self.fit(x.mean((2, 3)), classes)[:, :, None, None]
        return logits.flatten(1)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


ARCHITECTURE = Architecture(
    name="projected",
    summary="a discriminator with ImageNet's eyes (EfficientNet-Lite0), FastGAN's light generator",
    build_generator=Generator,
    build_discriminator=Discriminator,
    d_norms=("none", "spectral"),  # of the head over the pixels
    pretrained=(TRUNK,),
)

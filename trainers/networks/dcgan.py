"""DCGAN by the rules of Radford, Metz & Chintala 2016 (arXiv:1511.06434, section 3), at any size.

Strided and transposed convolutions instead of pooling, batch normalisation everywhere but the
generator's output and the discriminator's input, ReLU in the generator with tanh at its end,
LeakyReLU 0.2 in the discriminator, no hidden dense layers, all weights drawn from N(0, 0.02).

The paper's network makes 64 px. Larger sizes add stages at the *coarse* end's width: feature maps
double at every halving of the resolution and stop growing at eight times `width`, so a stage costs
about the same at every resolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from trainers.networks import Architecture, Shape

COARSEST_PX = 4
MAX_WIDENING = 8


def _channels(shape: Shape) -> list[int]:
    """Feature maps per stage, finest (half the picture's resolution) first, 4 px last."""
    num_stages = (shape.size // COARSEST_PX).bit_length() - 1
    return [shape.width * min(2**stage, MAX_WIDENING) for stage in range(num_stages)]


class Generator(nn.Module):
    """z (B, z_dim) -> pictures (B, 3, size, size) in [-1, 1]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        *finer, coarsest = _channels(shape)
        layers: list[nn.Module] = [
            # A 1x1 "picture" of z_dim channels, unfolded to 4x4: the paper's projection.
            nn.ConvTranspose2d(shape.z_dim, coarsest, 4, stride=1, padding=0, bias=False),
            nn.BatchNorm2d(coarsest),
            nn.ReLU(inplace=True),
        ]
        inputs = coarsest
        for outputs in reversed(finer):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
            inputs = outputs
        layers += [nn.ConvTranspose2d(inputs, 3, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, z: Tensor) -> Tensor:
        pictures: Tensor = self.layers(z[:, :, None, None])
        return pictures


class Discriminator(nn.Module):
    """Pictures (B, 3, size, size) in [-1, 1] -> logits (B,): high for real."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        finest, *coarser = _channels(shape)
        layers: list[nn.Module] = [
            nn.Conv2d(3, finest, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        inputs = finest
        for outputs in coarser:
            layers += [
                nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            inputs = outputs
        layers += [nn.Conv2d(inputs, 1, 4, stride=1, padding=0)]
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.layers(pictures).flatten()
        return logits


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02) for convolutions; batch norm's gain N(1, 0.02), as the authors' code has it."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


ARCHITECTURE = Architecture(
    name="dcgan",
    summary="the DCGAN paper's network, generalised to 32-512 px",
    build_generator=Generator,
    build_discriminator=Discriminator,
)

"""What several architectures are built of: class conditioning, attention, spectral normalisation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.shape import Shape

ATTENTION_PX = 32
"""Resolution of the feature maps that attention looks at (Zhang et al. 2019, table 1: the best FID)."""
FIRST_POWER_ITERATIONS = 15
"""At the beginning sigma must be right at once; later one iteration a step keeps up with training."""

MIN_ENLARGED_PX = 8
"""Of smaller maps with many channels the plain way was measured faster."""


class ClassLatent(nn.Module):
    """What a generator starts from: z, followed by a learned vector of the class if there are any.

    Concatenating the condition to z is the conditional GAN of Mirza & Osindero 2014 (figure 1). The
    vector is as long as z and begins drawn like it, so that neither drowns the other.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        has_classes = shape.num_classes > 0
        self.embedding = nn.Embedding(shape.num_classes, shape.z_dim) if has_classes else None
        self.num_features = shape.z_dim * (2 if has_classes else 1)

    def forward(self, z: Tensor, classes: Tensor | None) -> Tensor:
        """Float (B, z_dim) and int64 (B,) or None -> float (B, num_features)."""
        assert (classes is not None) == (self.embedding is not None), "classes, as the shape says"
        return z if self.embedding is None else torch.cat([z, self.embedding(classes)], 1)


class ClassProjection(nn.Module):
    """How well features fit a class: their inner product with its learned vector.

    The projection discriminator adds this to its logit (Miyato & Koyama 2018, section 3).
    """

    def __init__(self, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, num_features)
        # The inner product then begins as large as the features are.
        nn.init.normal_(self.embedding.weight, 0.0, num_features**-0.5)

    def forward(self, features: Tensor, classes: Tensor | None) -> Tensor:
        """Float (B, num_features) and int64 (B,) -> float (B, 1)."""
        assert classes is not None, "this discriminator was built for classes"
        fit: Tensor = (self.embedding(classes) * features).sum(1, keepdim=True)
        return fit


class SelfAttention(nn.Module):
    """Every place of a feature map looks at every other (Zhang et al. 2019, SAGAN, eq. 1-3).

    Maps (B, C, H, W), H and W even, keep their shape. As in the authors' released code, queries and
    keys have C/8 maps, values C/2, and what is looked at is max-pooled by two: a quarter of the
    work. Written out instead of calling `scaled_dot_product_attention`, whose fast kernels cannot
    be differentiated twice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow, wide = max(1, channels // 8), max(1, channels // 2)
        self.query = nn.Linear(channels, narrow, bias=False)
        self.key = nn.Linear(channels, narrow, bias=False)
        self.value = nn.Linear(channels, wide, bias=False)
        self.widen = nn.Linear(wide, channels, bias=False)
        for linear in (self.query, self.key, self.value, self.widen):
            nn.init.normal_(linear.weight, 0.0, linear.in_features**-0.5)
        # 0: the network first learns what is near, then lets in what is far (eq. 3).
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        edges = maps.shape[2:]
        places = maps.flatten(2).transpose(1, 2)  # (B, H*W, C)
        keys, values = (_pooled(part(places), edges) for part in (self.key, self.value))
        scores = self.query(places) @ keys  # (B, H*W, H*W/4)
        seen = self.widen(scores.softmax(dim=2) @ values.transpose(1, 2))
        attended: Tensor = maps + self.gamma * seen.unflatten(1, edges).permute(0, 3, 1, 2)
        return attended


def _pooled(places: Tensor, edges: torch.Size) -> Tensor:
    """(B, H*W, C) -> (B, C, H*W/4): the largest of each 2x2 places."""
    return F.max_pool2d(places.transpose(1, 2).unflatten(2, edges), 2).flatten(2)


class EnlargingConv2d(nn.Conv2d):
    """Twice the edge by nearest neighbour, then a 3x3 convolution: (B, C, H, W) -> (B, D, 2H, 2W).

    Computed as the one transposed 4x4 convolution that it equals: each output sees only 2x2 different
    inputs, so 16 products do for 36. On a CPU a step of the generator takes half of the time.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if maps.shape[-1] < MIN_ENLARGED_PX:
            return super().forward(F.interpolate(maps, scale_factor=2, mode="nearest"))
        # What falls on one input is summed: along each axis (a, b, c) becomes (a, a+b, b+c, c).
        kernel = F.avg_pool2d(F.pad(self.weight, (1, 1, 1, 1)), 2, stride=1) * 4
        return F.conv_transpose2d(maps, kernel.flip(2, 3).transpose(0, 1), stride=2, padding=1)


class SpectralNorm(nn.Module):
    """W -> W / sigma(W), its largest singular value (Miyato et al. 2018, algorithm 1).

    A convolution's weight is taken as a matrix with one row per output; one in groups is a matrix
    of such blocks along the diagonal, and its sigma the largest of theirs. sigma is followed by one
    power iteration per forward pass in training mode, and stands still in inference mode.

    torch's own `spectral_norm` knows no groups, and under autocast computes sigma with bfloat16's
    eight bits.
    """

    u: Tensor
    v: Tensor

    def __init__(self, weight: Tensor, groups: int = 1) -> None:
        super().__init__()
        self._groups = groups
        blocks = self._blocks(weight.detach())
        self.register_buffer("u", F.normalize(torch.randn(groups, blocks.shape[1], 1), dim=1))
        self.register_buffer("v", F.normalize(torch.randn(groups, blocks.shape[2], 1), dim=1))
        if not blocks.is_meta:  # where nothing is computed, and that slowly
            for _ in range(FIRST_POWER_ITERATIONS):
                self._iterate(blocks)

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight):
            blocks = self._blocks(weight)
            if self.training:
                self._iterate(blocks.detach())
            # Copies: the next forward pass changes u and v before this one was differentiated.
            sigmas = (self.u.clone() * (blocks @ self.v.clone())).sum(dim=1)
            normalised: Tensor = weight / sigmas.max()
        return normalised

    def _blocks(self, weight: Tensor) -> Tensor:
        """The weight as (groups, outputs per group, inputs per group and place)."""
        return weight.reshape(self._groups, weight.shape[0] // self._groups, -1)

    def _iterate(self, blocks: Tensor) -> None:
        self.v.copy_(F.normalize(blocks.transpose(1, 2) @ self.u, dim=1))
        self.u.copy_(F.normalize(blocks @ self.v, dim=1))


def normalise_spectrally(network: nn.Module) -> None:
    """Put SpectralNorm on the weight of every layer of `network`, as its weights are now."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding):
            groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
            norm = SpectralNorm(layer.weight, groups)
            parametrize.register_parametrization(layer, "weight", norm)


def full_precision(near: Tensor) -> AbstractContextManager[object]:
    """Inside, autocast is off on the device of `near`; tensors that are already short stay so."""
    if near.is_meta:  # has no arithmetic, and torch.autocast refuses it
        return nullcontext()
    return torch.autocast(near.device.type, enabled=False)

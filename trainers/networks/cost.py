"""What a network weighs and what one picture costs, without allocating either."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainers.networks import Architecture, Shape


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates of one picture's forward pass."""

    generator_parameters: int
    discriminator_parameters: int
    """Those that learn."""
    discriminator_frozen_parameters: int
    """Those of a pretrained or random part that never learns."""
    generator_macs: int
    discriminator_macs: int
    """With the frozen part, which has to be passed all the same."""


def measure(architecture: Architecture, shape: Shape) -> Cost:
    """Counted on torch's meta device: tensors with a shape and no memory."""
    with torch.device("meta"):
        generator = architecture.build_generator(shape).eval()
        discriminator = architecture.build_discriminator(shape).eval()
        z = torch.empty(1, shape.z_dim)
        classes = torch.empty(1, dtype=torch.int64) if shape.num_classes else None
        with FlopCounterMode(display=False) as generator_flops:
            if shape.multi_scale:
                picture, *coarser = generator.pyramid(z, classes)  # type: ignore[operator]
            else:
                picture, coarser = generator(z, classes), []
        with FlopCounterMode(display=False) as discriminator_flops:
            discriminator(picture, classes, tuple(coarser))
    return Cost(
        generator_parameters=_num_parameters(generator, is_trained=True),
        discriminator_parameters=_num_parameters(discriminator, is_trained=True),
        discriminator_frozen_parameters=_num_parameters(discriminator, is_trained=False),
        generator_macs=generator_flops.get_total_flops() // 2,
        discriminator_macs=discriminator_flops.get_total_flops() // 2,
    )


def _num_parameters(network: nn.Module, is_trained: bool) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad is is_trained)

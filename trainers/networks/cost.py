"""What a network weighs and what one picture costs, without allocating either."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainers.networks import Architecture, Shape


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulates of one picture's forward pass."""

    generator_parameters: int
    discriminator_parameters: int
    generator_macs: int
    discriminator_macs: int


def measure(architecture: Architecture, shape: Shape) -> Cost:
    """Counted on torch's meta device: tensors with a shape and no memory."""
    with torch.device("meta"):
        generator = architecture.build_generator(shape).eval()
        discriminator = architecture.build_discriminator(shape).eval()
        with FlopCounterMode(display=False) as generator_flops:
            picture = generator(torch.empty(1, shape.z_dim))
        with FlopCounterMode(display=False) as discriminator_flops:
            discriminator(picture)
    return Cost(
        generator_parameters=sum(p.numel() for p in generator.parameters()),
        discriminator_parameters=sum(p.numel() for p in discriminator.parameters()),
        generator_macs=generator_flops.get_total_flops() // 2,
        discriminator_macs=discriminator_flops.get_total_flops() // 2,
    )

"""What decides the tensors of a network. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

DOUBLED_SIZES_PX = (32, 64, 128, 256, 512)
"""4 px doubled three to seven times: what a network that doubles the resolution can be built for."""
SIZES_PX = (28, *DOUBLED_SIZES_PX)
"""Every edge length that some network can be built for; 28 px is the tutorials' (`mlp`)."""
UPSAMPLINGS = ("transposed", "resize")
"""The paper's transposed convolutions, or nearest-neighbour enlarging followed by a convolution."""
D_NORMS = ("batch", "spectral", "none")


@dataclass(frozen=True)
class Shape:
    """What decides the tensors of a network; stored in every checkpoint's manifest."""

    size: int
    """Edge of the pictures, px."""
    z_dim: int
    """Length of the latent vector."""
    width: int
    """Feature maps at half the picture's resolution; the other layers' widths follow it."""
    blocks: int = 1
    """Residual blocks per resolution (`resgan`)."""
    upsampling: str = "transposed"
    """How `dcgan` doubles the resolution: `transposed` or `resize`."""
    attention: bool = False
    """One self-attention layer in each network."""
    multi_scale: bool = False
    """The generator gives, and the discriminator takes, every resolution of a picture."""
    d_norm: str = "batch"
    """Normalisation in the discriminator: `batch`, `spectral` or `none`."""
    num_classes: int = 0
    """Classes a picture can be asked for; 0: the networks know none."""

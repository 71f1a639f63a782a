"""Adversarial losses. Each cites its equation; all take logits, never probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, real_label: float) -> Tensor:
    """Binary cross-entropy of Goodfellow et al. 2014, eq. 1, as a mean over the batch (scalar).

    `real_label` < 1 smooths the target of real pictures only (Salimans et al. 2016, section 3.4):
    smoothing the fakes as well would reward the generator's present mistakes.
    """
    real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, real_label))
    fake = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
    return real + fake


def generator_loss(fake_logits: Tensor) -> Tensor:
    """The non-saturating loss -log D(G(z)) (Goodfellow et al. 2014, section 3), a scalar.

    Its gradient stays strong while the discriminator still tells every fake, where log(1 - D(G(z)))
    goes flat.
    """
    return F.softplus(-fake_logits).mean()

"""Adversarial losses and gradient penalties. Each cites its equation; all take logits, never probabilities.

Logits have shape (B, K): K = 1 for a discriminator that judges whole pictures, more for one that
judges patches. Every loss is a mean over B and K, a float scalar.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(
    loss: str, real_logits: Tensor, fake_logits: Tensor, real_label: float = 1.0
) -> Tensor:
    """What the discriminator minimises, without penalties.

    - `bce`: binary cross-entropy (Goodfellow et al. 2014, eq. 1). `real_label` < 1 smooths the
      target of real pictures only (Salimans et al. 2016, section 3.4): smoothing the fakes as well
      would reward the generator's present mistakes.
    - `hinge`: Lim & Ye 2017, section 4; Miyato et al. 2018, eq. 16.
    - `relativistic`: softplus(-(D(x) - D(G(z)))), each real picture against one fake
      (Jolicoeur-Martineau 2019, eq. 8; as R3GAN, Huang et al. 2024, eq. 2, has it).
    """
    if loss == "bce":
        target = torch.full_like(real_logits, real_label)
        real = F.binary_cross_entropy_with_logits(real_logits, target)
        return real + F.softplus(fake_logits).mean()
    if loss == "hinge":
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
    assert loss == "relativistic", loss
    return F.softplus(fake_logits - real_logits).mean()


def generator_loss(loss: str, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
    """What the generator minimises; only `relativistic` looks at `real_logits`.

    - `bce`: the non-saturating -log D(G(z)) (Goodfellow et al. 2014, section 3). Its gradient stays
      strong while the discriminator still tells every fake, where log(1 - D(G(z))) goes flat.
    - `hinge`: -D(G(z)) (Miyato et al. 2018, eq. 17).
    - `relativistic`: softplus(-(D(G(z)) - D(x))), the discriminator's loss with the roles exchanged.
    """
    if loss == "bce":
        return F.softplus(-fake_logits).mean()
    if loss == "hinge":
        return -fake_logits.mean()
    assert loss == "relativistic", loss
    assert real_logits is not None
    return F.softplus(real_logits - fake_logits).mean()


def zero_centred_penalty(logits: Tensor, pictures: Sequence[Tensor]) -> Tensor:
    """E[|grad D|^2] over the batch: R1 on real pictures, R2 on fakes (Mescheder et al. 2018, eq. 9-10).

    D is the mean over a picture's K logits, as it is in the loss: of their sum the penalty would be K^2
    times as strong, and a discriminator of patches as good as dumb (docs/decisions/0012-the-penalty-of-patches.md).

    `pictures` are the leaves the logits were computed from, one per resolution, as the discriminator
    was shown them, so after any augmentation, where R3GAN takes the pictures before it
    (docs/decisions/0008-a-faster-generator.md); the gradients of all of them are summed. To be weighted
    with gamma / 2.
    """
    gradients = torch.autograd.grad(logits.mean(1).sum(), list(pictures), create_graph=True)
    return torch.stack([g.square().flatten(1).sum(1) for g in gradients]).sum(0).mean()


def shares_right(loss: str, real_logits: Tensor, fake_logits: Tensor) -> tuple[Tensor, Tensor]:
    """How often the discriminator is right, on real pictures and on fakes: two scalars in [0, 1].

    The relativistic one knows no "real", only "more real than": both are then the share of pairs
    that it orders rightly.
    """
    if loss == "relativistic":
        right = (real_logits > fake_logits).float().mean()
        return right, right
    return (real_logits > 0).float().mean(), (fake_logits < 0).float().mean()


def overfitting_signal(loss: str, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """r_t = E[sign D(x)] (Karras et al. 2020, ADA, eq. 1), a scalar in [-1, 1]; near 1 when the
    discriminator knows its pictures by heart. Of the difference for the relativistic loss."""
    if loss == "relativistic":
        return (real_logits - fake_logits).sign().mean()
    return real_logits.sign().mean()

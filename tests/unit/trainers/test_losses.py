"""The losses against their equations, worked out independently."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trainers.losses import discriminator_loss, generator_loss


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def test_the_discriminators_loss_is_binary_cross_entropy_with_smoothed_reals_only() -> None:
    real, fake = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 0.7])
    entropy = nn.BCEWithLogitsLoss()
    expected = entropy(real, torch.full((3,), 0.9)) + entropy(fake, torch.zeros(2))
    assert discriminator_loss(real, fake, 0.9).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_discriminators_loss_is_what_goodfellows_equation_gives() -> None:
    """-[t log D + (1-t) log(1-D)] for reals at t = 0.9, -log(1-D) for fakes; 1 - s(x) = s(-x)."""
    real = -(0.9 * log_sigmoid(2.0) + 0.1 * log_sigmoid(-2.0))
    fake = -log_sigmoid(3.0)
    loss = discriminator_loss(torch.tensor([2.0]), torch.tensor([-3.0]), 0.9)
    assert loss.item() == pytest.approx(real + fake, rel=1e-6)


def test_an_undecided_discriminator_loses_two_log_two() -> None:
    loss = discriminator_loss(torch.zeros(4), torch.zeros(4), 1.0)
    assert loss.item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_smoothing_keeps_the_discriminator_from_being_infinitely_sure() -> None:
    """With target 0.9 the best logit for a real picture is log(9), not infinity."""
    logit = torch.tensor([math.log(9)], requires_grad=True)
    discriminator_loss(logit, torch.tensor([-50.0]), 0.9).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0, abs=1e-6)


def test_the_generators_loss_is_minus_log_of_being_believed() -> None:
    logits = torch.tensor([-2.0, 0.0, 3.0])
    expected = -sum(log_sigmoid(x) for x in (-2.0, 0.0, 3.0)) / 3
    assert generator_loss(logits).item() == pytest.approx(expected, rel=1e-6)


def test_the_generator_still_learns_when_every_fake_is_found_out() -> None:
    """The reason for the non-saturating form: at logit -20 its gradient is -1, the other's 2e-9."""
    logit = torch.tensor([-20.0], requires_grad=True)
    generator_loss(logit).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_give_finite_losses(extreme: float) -> None:
    logits = torch.full((3,), extreme)
    assert torch.isfinite(discriminator_loss(logits, logits, 0.9))
    assert torch.isfinite(generator_loss(logits))

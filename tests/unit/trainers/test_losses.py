"""The losses against their equations, worked out independently."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from trainers.config import LOSSES
from trainers.losses import (
    discriminator_loss,
    generator_loss,
    overfitting_signal,
    shares_right,
    zero_centred_penalty,
)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


# ---------------------------------------------------------------- binary cross-entropy


def test_the_discriminators_loss_is_binary_cross_entropy_with_smoothed_reals_only() -> None:
    real, fake = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([-3.0, 0.7])
    entropy = nn.BCEWithLogitsLoss()
    expected = entropy(real, torch.full((3,), 0.9)) + entropy(fake, torch.zeros(2))
    loss = discriminator_loss("bce", real, fake, 0.9)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_discriminators_loss_is_what_goodfellows_equation_gives() -> None:
    """-[t log D + (1-t) log(1-D)] for reals at t = 0.9, -log(1-D) for fakes; 1 - s(x) = s(-x)."""
    real = -(0.9 * log_sigmoid(2.0) + 0.1 * log_sigmoid(-2.0))
    fake = -log_sigmoid(3.0)
    loss = discriminator_loss("bce", torch.tensor([2.0]), torch.tensor([-3.0]), 0.9)
    assert loss.item() == pytest.approx(real + fake, rel=1e-6)


def test_an_undecided_discriminator_loses_two_log_two() -> None:
    loss = discriminator_loss("bce", torch.zeros(4), torch.zeros(4), 1.0)
    assert loss.item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_smoothing_keeps_the_discriminator_from_being_infinitely_sure() -> None:
    """With target 0.9 the best logit for a real picture is log(9), not infinity."""
    logit = torch.tensor([math.log(9)], requires_grad=True)
    discriminator_loss("bce", logit, torch.tensor([-50.0]), 0.9).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0, abs=1e-6)


def test_the_generators_loss_is_minus_log_of_being_believed() -> None:
    logits = torch.tensor([-2.0, 0.0, 3.0])
    expected = -sum(log_sigmoid(x) for x in (-2.0, 0.0, 3.0)) / 3
    assert generator_loss("bce", logits).item() == pytest.approx(expected, rel=1e-6)


def test_the_generator_still_learns_when_every_fake_is_found_out() -> None:
    """The reason for the non-saturating form: at logit -20 its gradient is -1, the other's 2e-9."""
    logit = torch.tensor([-20.0], requires_grad=True)
    generator_loss("bce", logit).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(-1.0, abs=1e-6)


# ---------------------------------------------------------------- hinge


def test_the_hinge_asks_for_a_margin_of_one_on_either_side_and_no_more() -> None:
    """E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]."""
    real, fake = torch.tensor([[3.0], [0.5], [-2.0]]), torch.tensor([[-4.0], [0.25], [-0.5]])
    expected = (0 + 0.5 + 3) / 3 + (0 + 1.25 + 0.5) / 3
    assert discriminator_loss("hinge", real, fake).item() == pytest.approx(expected)


def test_a_picture_judged_with_the_margin_teaches_a_hinged_discriminator_nothing() -> None:
    real, fake = torch.tensor([1.5, 0.5], requires_grad=True), torch.tensor([-3.0, -3.0])
    discriminator_loss("hinge", real, fake).backward()
    assert real.grad is not None
    assert real.grad.tolist() == [0.0, -0.5]


def test_a_hinged_generator_raises_its_logits_without_end() -> None:
    assert generator_loss("hinge", torch.tensor([2.0, -5.0])).item() == pytest.approx(1.5)


# ---------------------------------------------------------------- relativistic


def test_relativistic_losses_look_at_pairs_and_mirror_each_other() -> None:
    """-log s(D(x) - D(G(z))) for the discriminator, -log s(D(G(z)) - D(x)) for the generator."""
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[-0.5], [3.0]])
    of_discriminator = -(log_sigmoid(2.5) + log_sigmoid(-4.0)) / 2
    of_generator = -(log_sigmoid(-2.5) + log_sigmoid(4.0)) / 2
    assert discriminator_loss("relativistic", real, fake).item() == pytest.approx(of_discriminator)
    assert generator_loss("relativistic", fake, real).item() == pytest.approx(of_generator)


@pytest.mark.parametrize("shift", [-7.0, 100.0])
def test_a_relativistic_judgement_knows_no_zero(shift: float) -> None:
    """Only differences count: what real pictures themselves score is nowhere pinned down."""
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[-0.5], [3.0]])
    for there, here in (
        (
            discriminator_loss("relativistic", real + shift, fake + shift),
            discriminator_loss("relativistic", real, fake),
        ),
        (
            generator_loss("relativistic", fake + shift, real + shift),
            generator_loss("relativistic", fake, real),
        ),
    ):
        assert there.item() == pytest.approx(here.item(), rel=1e-5)


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("loss", LOSSES)
def test_patches_weigh_as_much_as_pictures(loss: str) -> None:
    """Logits (B, K): the mean over both."""
    real, fake = torch.randn(4, 6), torch.randn(4, 6)
    whole = discriminator_loss(loss, real, fake, 0.9)
    by_patch = [discriminator_loss(loss, real[:, k], fake[:, k], 0.9) for k in range(6)]
    assert whole.item() == pytest.approx(torch.stack(by_patch).mean().item(), rel=1e-6)
    whole = generator_loss(loss, fake, real)
    by_patch = [generator_loss(loss, fake[:, k], real[:, k]) for k in range(6)]
    assert whole.item() == pytest.approx(torch.stack(by_patch).mean().item(), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_generator_wants_what_the_discriminator_does_not(loss: str) -> None:
    real = torch.zeros(1, 1)
    fake = torch.zeros(1, 1, requires_grad=True)
    [down] = torch.autograd.grad(discriminator_loss(loss, real, fake, 0.9), fake)
    [up] = torch.autograd.grad(generator_loss(loss, fake, real), fake)
    assert down > 0 > up


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_give_finite_losses(loss: str, extreme: float) -> None:
    logits, others = torch.full((3,), extreme), torch.full((3,), -extreme)
    assert torch.isfinite(discriminator_loss(loss, logits, others, 0.9))
    assert torch.isfinite(generator_loss(loss, logits, others))


# ---------------------------------------------------------------- gradient penalty


class Quadratic(nn.Module):
    """D(x) = a/2 |x|^2 + b sum(x): its gradient in x is a x + b, known without differentiating."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return (self.a / 2 * flat.square() + self.b * flat).sum(1, keepdim=True)


def test_the_penalty_is_the_mean_squared_length_of_each_pictures_own_gradient() -> None:
    pictures = torch.randn(5, 3, 4, 4, generator=torch.manual_seed(0)).requires_grad_()
    discriminator = Quadratic(1.5, -0.25)
    penalty = zero_centred_penalty(discriminator(pictures), [pictures])
    expected = [(1.5 * picture - 0.25).square().sum().item() for picture in pictures.detach()]
    assert penalty.item() == pytest.approx(sum(expected) / 5, rel=1e-5)


def test_the_penalty_teaches_the_discriminator_by_its_second_derivatives() -> None:
    """d/da of E|ax + b|^2 = E[2 x.(ax + b)]; d/db likewise without the x."""
    pictures = torch.randn(5, 3, 4, 4, generator=torch.manual_seed(0)).requires_grad_()
    discriminator = Quadratic(1.5, -0.25)
    zero_centred_penalty(discriminator(pictures), [pictures]).backward()
    x = pictures.detach()
    gradient = 1.5 * x - 0.25
    assert discriminator.a.grad is not None
    assert discriminator.b.grad is not None
    expected_a = 2 * (x * gradient).flatten(1).sum(1).mean().item()
    expected_b = 2 * gradient.flatten(1).sum(1).mean().item()
    assert discriminator.a.grad.item() == pytest.approx(expected_a, rel=1e-5)
    assert discriminator.b.grad.item() == pytest.approx(expected_b, rel=1e-5)


def test_a_discriminator_that_is_flat_everywhere_pays_nothing() -> None:
    pictures = torch.randn(5, 3, 4, 4).requires_grad_()
    assert zero_centred_penalty(Quadratic(0.0, 0.0)(pictures), [pictures]).item() == 0


def test_the_gradients_of_all_resolutions_add_up() -> None:
    fine = torch.randn(2, 3, 4, 4).requires_grad_()
    coarse = torch.randn(2, 3, 2, 2).requires_grad_()
    discriminator = Quadratic(1.0, 0.0)
    logits = discriminator(fine) + discriminator(coarse)
    expected = (fine.square().flatten(1).sum(1) + coarse.square().flatten(1).sum(1)).mean()
    penalty = zero_centred_penalty(logits, [fine, coarse])
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_discriminator_of_patches_pays_for_its_mean_as_the_loss_counts_it() -> None:
    """Sixteen patches that say the same are one opinion: paying for their sum would be 256 times as much."""
    pictures = torch.randn(5, 3, 4, 4).requires_grad_()
    one = Quadratic(1.5, -0.25)(pictures)
    of_patches = one.reshape(5, 1).expand(5, 16)
    alone = zero_centred_penalty(one.reshape(5, 1), [pictures])
    assert zero_centred_penalty(of_patches, [pictures]).item() == pytest.approx(alone.item())


# ---------------------------------------------------------------- how often it is right


@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_real_pictures_above_zero_and_fakes_below_it_are_judged_rightly(loss: str) -> None:
    real, fake = torch.tensor([[2.0], [0.1], [-1.0], [3.0]]), torch.tensor([[-2.0], [5.0]])
    right_on_real, right_on_fake = shares_right(loss, real, fake)
    assert (right_on_real.item(), right_on_fake.item()) == (0.75, 0.5)


def test_a_relativistic_discriminator_is_right_on_pairs() -> None:
    real, fake = torch.tensor([[9.0], [8.0], [1.0]]), torch.tensor([[7.0], [7.0], [7.0]])
    on_real, on_fake = shares_right("relativistic", real, fake)
    assert on_real.item() == on_fake.item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("loss", ["bce", "hinge"])
def test_overfitting_is_how_surely_training_pictures_are_taken_for_real(loss: str) -> None:
    """The mean sign: 1 when all are, 0 when half are, whatever is thought of the fakes."""
    real = torch.tensor([[0.1], [20.0], [3.0], [-1.0]])
    for fake in (torch.full((4, 1), 30.0), torch.full((4, 1), -30.0)):
        assert overfitting_signal(loss, real, fake).item() == 0.5


def test_relativistic_overfitting_is_the_mean_sign_of_the_difference() -> None:
    real, fake = torch.tensor([[-4.0], [-5.0], [2.0]]), torch.tensor([[-6.0], [-6.0], [3.0]])
    assert overfitting_signal("relativistic", real, fake).item() == pytest.approx(1 / 3)

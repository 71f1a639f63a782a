"""One step of training: what is computed, what is thrown away, what is remembered."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.trainer_fixtures import assert_same_bits, tiny_config
from trainers.config import LOSSES
from trainers.guard import Knobs
from trainers.learner import ADA_EVERY, Learner, half_cosine
from trainers.losses import discriminator_loss, generator_loss, zero_centred_penalty
from trainers.networks import Shape, load_architecture

Z_DIM, EDGE_PX, BATCH = 6, 4, 8
STANDS_STILL = 1e-30
"""A step size that moves no float32 weight."""


class Painter(nn.Module):
    """The simplest generator: one matrix, tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(Z_DIM, 3 * EDGE_PX**2)

    def forward(self, z: Tensor, classes: Tensor | None = None) -> Tensor:
        return torch.tanh(self.layer(z)).unflatten(1, (3, EDGE_PX, EDGE_PX))

    def pyramid(self, z: Tensor, classes: Tensor | None = None) -> list[Tensor]:
        """Pictures of 8 and 4 px."""
        coarse = self(z)
        return [F.interpolate(coarse, scale_factor=2), coarse]


class Critic(nn.Module):
    """One hidden layer, no norm, and a frozen weight; notes what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(3 * EDGE_PX**2, 5)
        self.last = nn.Linear(5, 1)
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.shown: list[list[Tensor]] = []
        self.is_short: list[bool] = []

    def forward(
        self, pictures: Tensor, classes: Tensor | None = None, coarser: tuple[Tensor, ...] = ()
    ) -> Tensor:
        self.shown.append([pictures.detach(), *(view.detach() for view in coarser)])
        self.is_short.append(torch.is_autocast_enabled("cpu"))
        small = F.adaptive_avg_pool2d(pictures, EDGE_PX).flatten(1)
        logits: Tensor = self.last(F.leaky_relu(self.hidden(small), 0.2)) * self.frozen
        return logits


class Straight(nn.Module):
    """D(x) = w.x: its gradient is w everywhere, so the penalty is |w|^2."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * EDGE_PX**2, 1, bias=False)

    def forward(
        self, pictures: Tensor, classes: Tensor | None = None, coarser: tuple[Tensor, ...] = ()
    ) -> Tensor:
        logits: Tensor = self.layer(pictures.flatten(1))
        return logits


def learner_of(discriminator: nn.Module | None = None, **settings: Any) -> Learner:
    torch.manual_seed(0)
    painter, critic = Painter(), Critic() if discriminator is None else discriminator
    return Learner(painter, critic, tiny_config(z_dim=Z_DIM, **settings))


def pictures(seed: int = 0, count: int = BATCH) -> Tensor:
    return torch.rand(count, 3, EDGE_PX, EDGE_PX, generator=torch.manual_seed(seed)) * 2 - 1


def steps(learner: Learner, count: int, fraction: float = 0.0) -> None:
    for _ in range(count):
        number = learner.steps
        learner.step(pictures(number), None, images_seen=BATCH * (number + 1), fraction=fraction)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(network.state_dict())


def gradients(network: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def group(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    [only] = optimiser.param_groups
    return only


# ---------------------------------------------------------------- a step


@pytest.mark.parametrize("loss", LOSSES)
def test_first_the_discriminator_learns_then_the_generator_from_the_same_fakes(loss: str) -> None:
    """Both gradients, computed here a second time by hand."""
    learner = learner_of(loss=loss)
    painter, critic = copy.deepcopy(learner.generator), copy.deepcopy(learner.discriminator)
    real = pictures()
    z = torch.randn(BATCH, Z_DIM, generator=torch.Generator().manual_seed(0))
    learner.step(real, None, images_seen=BATCH, fraction=0.0)

    fake = painter(z)
    discriminator_loss(loss, critic(real), critic(fake.detach()), 0.9).backward()
    for one, other in zip(gradients(critic), gradients(learner.discriminator), strict=True):
        assert torch.allclose(one, other, atol=1e-7)
    critic.load_state_dict(learner.discriminator.state_dict())  # it has learned by now
    generator_loss(loss, critic(fake), critic(real)).backward()
    for one, other in zip(gradients(painter), gradients(learner.generator), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def test_what_is_frozen_stays_frozen() -> None:
    learner = learner_of(lr=0.1)
    critic = learner.discriminator
    assert isinstance(critic, Critic)
    before = weights(critic)
    steps(learner, 3)
    after = weights(critic)
    assert torch.equal(before["frozen"], after["frozen"])
    assert not torch.equal(before["last.weight"], after["last.weight"])
    assert not critic.frozen.requires_grad


def test_the_average_follows_the_generator() -> None:
    learner = learner_of(lr=0.01, ema_half_life_kimg=10.0)
    before = weights(learner.average)
    learner.step(pictures(), None, images_seen=100_000, fraction=0.0)
    decay = 0.5 ** (BATCH / 5000)  # a twentieth of what was seen
    name = "layer.weight"
    expected = decay * before[name] + (1 - decay) * learner.generator.state_dict()[name]
    assert torch.allclose(learner.average.state_dict()[name], expected, atol=1e-7)
    assert not torch.equal(before[name], expected)


def test_with_multi_scale_the_discriminator_sees_every_resolution_of_both() -> None:
    """Real ones averaged down, fakes as the generator paints them."""
    learner = learner_of(multi_scale=True)
    critic = learner.discriminator
    assert isinstance(critic, Critic)
    real = torch.randn(BATCH, 3, 8, 8)
    learner.step(real, None, images_seen=BATCH, fraction=0.0)
    of_real, of_fake, again_of_fake = critic.shown
    assert torch.equal(of_real[0], real)
    assert torch.equal(of_real[1], F.avg_pool2d(real, 2))
    assert [view.shape[-1] for view in of_fake] == [8, 4]
    assert_same_bits(of_fake, again_of_fake)


def test_means_are_means_and_begin_anew_when_forgotten() -> None:
    learner = learner_of(lr=STANDS_STILL, loss="hinge")
    singles = []
    for _ in range(3):
        steps(learner, 1)
        singles.append(learner.means())
        learner.forget()
    again = learner_of(lr=STANDS_STILL, loss="hinge")
    steps(again, 3)
    together = again.means()
    for name in ("d_loss", "g_loss", "d_right_on_real", "d_right_on_fake", "overfitting"):
        mean = sum(getattr(one, name) for one in singles) / 3
        assert getattr(together, name) == pytest.approx(mean, rel=1e-5)
    assert together.gradient_norm == pytest.approx(max(one.gradient_norm for one in singles))
    assert len({one.d_loss for one in singles}) == 3, "otherwise this test proves nothing"


# ---------------------------------------------------------------- schedules


def test_half_a_cosine_begins_at_one_ends_at_its_end_and_is_half_way_in_the_middle() -> None:
    assert half_cosine(0.1, 0.0) == 1.0
    assert half_cosine(0.1, 0.5) == pytest.approx(0.55)
    assert half_cosine(0.1, 1.0) == pytest.approx(0.1)
    assert half_cosine(0.1, 1.5) == pytest.approx(0.1), "a budget may be overdrawn by a step"
    assert half_cosine(1.0, 0.7) == pytest.approx(1.0)
    falling = [half_cosine(0.0, f / 10) for f in range(11)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize(("fraction", "left"), [(0.0, 1.0), (0.5, 0.625), (1.0, 0.25)])
def test_step_sizes_reach_the_optimisers(fraction: float, left: float) -> None:
    """Schedule, two time scales, and what the guard has turned."""
    learner = learner_of(lr=1e-3, d_lr_factor=2.0, lr_end_factor=0.25)
    learner.knobs = Knobs(rate=0.5, d_rate=0.25)
    steps(learner, 1, fraction)
    assert group(learner._g_optimiser)["lr"] == pytest.approx(1e-3 * left * 0.5)
    assert group(learner._d_optimiser)["lr"] == pytest.approx(1e-3 * left * 0.5 * 2.0 * 0.25)


def test_two_time_scales_move_the_discriminator_further() -> None:
    """Adam's first step is the step size itself, whatever the gradient."""
    learner = learner_of(lr=1e-3, d_lr_factor=4.0)
    before = (weights(learner.generator), weights(learner.discriminator))
    steps(learner, 1)
    moved = [
        (network.state_dict()[name] - old[name]).abs().median().item()
        for network, old, name in (
            (learner.generator, before[0], "layer.weight"),
            (learner.discriminator, before[1], "hidden.weight"),
        )
    ]
    assert moved == pytest.approx([1e-3, 4e-3], rel=1e-2)


# ---------------------------------------------------------------- penalty


def penalised(every: int = 1, **settings: Any) -> Learner:
    chosen: dict[str, Any] = {"penalty": "r1+r2", "gamma": 3.0, "loss": "relativistic"}
    torch.manual_seed(0)
    return learner_of(
        Straight(), lr=STANDS_STILL, d_norm="none", penalty_every=every, **(chosen | settings)
    )


def square(learner: Learner) -> float:
    """|w|^2 of a straight discriminator."""
    return sum(p.square().sum().item() for p in learner.discriminator.parameters())


@pytest.mark.parametrize(("penalty", "times"), [("r1", 1), ("r1+r2", 2)])
def test_half_of_gamma_times_the_squared_gradient_is_paid_for_reals_and_for_fakes(
    penalty: str, times: int
) -> None:
    learner = penalised(penalty=penalty)
    steps(learner, 2)
    assert learner.means().penalty == pytest.approx(times * 3.0 / 2 * square(learner), rel=1e-5)


def test_the_penalty_is_taken_on_pictures_as_the_discriminator_is_shown_them() -> None:
    """After the augmentation, which no penalty passes through."""
    learner = learner_of(
        augment="diffaug", augment_ops="color", penalty="r1", gamma=2.0, lr=STANDS_STILL
    )
    critic = learner.discriminator
    assert isinstance(critic, Critic)
    real = pictures()
    learner.step(real, None, images_seen=BATCH, fraction=0.0)
    shown, untouched = critic.shown[0][0].requires_grad_(), real.requires_grad_()
    of_shown, of_untouched = (
        zero_centred_penalty(critic(view), [view]).item() for view in (shown, untouched)
    )
    assert learner.means().penalty == pytest.approx(of_shown, rel=1e-5)
    assert of_shown != pytest.approx(of_untouched, rel=1e-3), "otherwise this test proves nothing"


@pytest.mark.parametrize(("fraction", "left"), [(0.0, 1.0), (1.0, 0.1)])
def test_gamma_fades_and_the_guard_may_turn_it(fraction: float, left: float) -> None:
    learner = penalised(gamma_end_factor=0.1)
    learner.knobs = Knobs(penalty=2.0)
    steps(learner, 1, fraction)
    assert learner.means().penalty == pytest.approx(left * 2.0 * 3.0 * square(learner), rel=1e-5)


def test_a_lazy_penalty_comes_every_few_steps_as_many_times_as_heavy() -> None:
    """The mean gradient is the same: (L + 4P) + L + L + L = 4 (L + P)."""
    every_step, lazy = penalised(every=1), penalised(every=4)
    without = penalised(gamma=0.0, penalty="none")
    sums = [torch.zeros(3 * EDGE_PX**2) for _ in range(3)]
    for _ in range(4):
        for learner, total in zip((every_step, lazy, without), sums, strict=True):
            steps(learner, 1)
            total += gradients(learner.discriminator)[0].flatten()
    eager_sum, lazy_sum, unpenalised_sum = sums
    assert torch.allclose(eager_sum, lazy_sum, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(eager_sum, unpenalised_sum, rtol=1e-2)


def test_a_lazy_penalty_is_shown_as_it_is_when_it_comes() -> None:
    """Not diluted by the steps without, nor multiplied as its gradient is."""
    lazy = penalised(every=4)
    steps(lazy, 8)
    assert lazy.means().penalty == pytest.approx(3.0 * square(lazy), rel=1e-5)
    lazy.forget()
    assert lazy.means().penalty == 0


def test_a_lazy_penalty_keeps_its_rhythm_over_a_resume() -> None:
    learner = penalised(every=4)
    steps(learner, 3)
    resumed = penalised(every=4)
    resumed.restore(learner.state())
    steps(resumed, 1)
    assert resumed.means().penalty == 0, "the fifth step has one, the fourth has not"
    steps(resumed, 1)
    assert resumed.means().penalty > 0


class Looking(nn.Module):
    """D(x) = w.x + v.f(x), f frozen; counts how often it looks."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = nn.Linear(3 * EDGE_PX**2, 1, bias=False)
        self.frozen = nn.Linear(3 * EDGE_PX**2, 4).requires_grad_(False)
        self.features = nn.Linear(4, 1, bias=False)
        self.num_looks = 0

    def see(self, pictures: Tensor) -> list[Tensor]:
        self.num_looks += 1
        return [pictures, self.frozen(pictures.flatten(1))]

    def judge(self, seen: list[Tensor], classes: Tensor | None = None) -> Tensor:
        logits: Tensor = self.pixels(seen[0].flatten(1)) + self.features(seen[1])
        return logits


def test_a_penalty_is_about_the_pictures_not_what_a_frozen_part_tells_of_them() -> None:
    looking = Looking()
    learner = learner_of(
        looking, lr=STANDS_STILL, d_norm="none", penalty="r1", gamma=2.0, loss="relativistic"
    )
    steps(learner, 1)
    of_pixels = looking.pixels.weight.square().sum().item()
    assert learner.means().penalty == pytest.approx(of_pixels, rel=1e-5)


@pytest.mark.parametrize(("micro_batch", "looks"), [(0, 2), (BATCH // 2, 8)])
def test_a_step_looks_through_the_frozen_part_once_at_each_picture_unless_memory_is_short(
    micro_batch: int, looks: int
) -> None:
    looking = Looking()
    learner = learner_of(looking, loss="relativistic", micro_batch=micro_batch)
    before = weights(learner.generator)
    steps(learner, 1)
    assert looking.num_looks == looks
    assert any(not torch.equal(w, before[n]) for n, w in learner.generator.state_dict().items())


# ---------------------------------------------------------------- precision


def test_in_bfloat16_weights_losses_and_averages_stay_float32() -> None:
    learner = learner_of(precision="bf16")
    critic = learner.discriminator
    assert isinstance(critic, Critic)
    steps(learner, 2)
    assert all(critic.is_short)
    tensors = [learner.generator.state_dict(), critic.state_dict(), learner.average.state_dict()]
    assert {t.dtype for state in tensors for t in state.values()} == {torch.float32}
    assert math.isfinite(learner.means().d_loss)


def test_a_step_with_a_penalty_judges_in_full_precision_and_the_next_one_does_not() -> None:
    """Gradients of gradients need it. The generator's own step never has one."""
    learner = learner_of(
        precision="bf16", penalty="r1+r2", gamma=1.0, d_norm="none", penalty_every=2
    )
    critic = learner.discriminator
    assert isinstance(critic, Critic)
    steps(learner, 2)
    assert critic.is_short == [False, False, True, True, True, True]


# ---------------------------------------------------------------- augmentation


def test_the_discriminator_sees_augmented_pictures_and_the_generator_learns_through_them() -> None:
    plain, augmented = learner_of(), learner_of(augment="diffaug", augment_ops="color")
    real = pictures()
    for learner in (plain, augmented):
        learner.step(real, None, images_seen=BATCH, fraction=0.0)
    one, other = plain.discriminator, augmented.discriminator
    assert isinstance(one, Critic)
    assert isinstance(other, Critic)
    assert torch.equal(one.shown[0][0], real)
    for shown in other.shown:
        assert not torch.equal(shown[0], real)
    of_d, of_g = other.shown[1][0], other.shown[2][0]
    assert torch.equal(of_d, of_g), "the generator learns from the very view that was judged"
    assert all(g.abs().sum() > 0 for g in gradients(augmented.generator))


def test_the_augmentation_fades_at_the_end_and_the_guard_may_raise_it() -> None:
    learner = learner_of(augment="diffaug", augment_p=0.4, augment_fade=0.2)
    assert learner.augment_p(0.5) == 0.4
    assert learner.augment_p(0.9) == pytest.approx(0.2)
    assert learner.augment_p(1.0) == 0
    learner.knobs = Knobs(augmentation=0.2)
    assert learner.augment_p(0.5) == pytest.approx(0.6)
    assert learner_of().augment_p(0.5) == 0, "without augmentation there is nothing to raise"


def test_what_the_guard_decides_on_is_not_faded_and_needs_an_operation() -> None:
    """In the fade-out p sinks towards 0, and yet there is nothing left to raise."""
    learner = learner_of(augment="diffaug", augment_p=1.0, augment_fade=0.2)
    assert learner.augment_p(0.95) == pytest.approx(0.25)
    assert learner.unfaded_p == 1.0
    assert learner.has_augmentation
    learner.operations = ()  # cutout alone, on a flat background
    assert not learner.has_augmentation
    assert learner.unfaded_p == learner.augment_p(0.0) == 0.0
    assert not learner_of().has_augmentation


def test_the_classic_loss_is_told_as_the_mean_of_its_two_halves() -> None:
    """ln 2 where the discriminator cannot tell, as everybody's figures are."""
    critic = Critic()
    for weight in (critic.last.weight, critic.last.bias):
        nn.init.zeros_(weight)
    learner = learner_of(critic, loss="bce", real_label=1.0, lr=STANDS_STILL)
    steps(learner, 1)
    assert learner.means().d_loss == pytest.approx(math.log(2))


def test_the_penaltys_share_is_of_the_loss_that_is_trained_on() -> None:
    learner = learner_of(loss="bce", penalty="r1", gamma=2.0, lr=STANDS_STILL)
    steps(learner, 1)
    means = learner.means()
    assert means.penalty_share == pytest.approx(means.penalty / (2 * means.d_loss), rel=1e-5)


def test_the_adaptive_augmentation_waits_some_steps_and_then_follows_what_it_saw() -> None:
    """r_t is 1 for a discriminator that always says "real": p must rise, at 500 kimg per unit."""
    learner = learner_of(augment="ada", ada_target=0.6, lr=STANDS_STILL)
    with torch.no_grad():
        for p in learner.discriminator.parameters():
            p.mul_(1e-3)
        learner.discriminator.last.bias.fill_(1.0)
    steps(learner, ADA_EVERY - 1)
    assert learner.augment_p(0.0) == 0
    steps(learner, 1)
    assert learner.augment_p(0.0) == pytest.approx(ADA_EVERY * BATCH / 500_000)
    steps(learner, ADA_EVERY)
    assert learner.augment_p(0.0) == pytest.approx(2 * ADA_EVERY * BATCH / 500_000)


# ---------------------------------------------------------------- gradients that are no numbers


def broken() -> Tensor:
    real = pictures()
    real[3, 1, 2, 2] = math.nan
    return real


def broken_steps(learner: Learner, count: int) -> None:
    for _ in range(count):
        learner.step(broken(), None, images_seen=80, fraction=0.0)


def test_a_step_without_a_usable_gradient_is_thrown_away_and_counted() -> None:
    """With a relativistic loss one broken picture reaches both networks."""
    learner = learner_of(loss="relativistic", lr=0.01)
    steps(learner, 2)
    before = copy.deepcopy(learner.state())
    broken_steps(learner, 1)
    after = learner.state()
    for name in ("generator", "discriminator", "generator_optimiser", "discriminator_optimiser"):
        assert_same_bits(after[name], before[name], name)
    assert learner.is_finite
    means = learner.means()
    assert (means.skipped_steps, means.most_skipped_in_a_row) == (1, 1)
    assert math.isfinite(means.gradient_norm)
    steps(learner, 1)
    assert not torch.equal(
        learner.state()["generator"]["layer.weight"], before["generator"]["layer.weight"]
    )


def test_a_step_of_which_one_half_is_thrown_away_counts_once() -> None:
    """With a plain loss the generator does not look at the broken picture; it learns all the same."""
    learner = learner_of(loss="bce", lr=0.01)
    before = weights(learner.discriminator), weights(learner.generator)
    broken_steps(learner, 2)
    assert_same_bits(weights(learner.discriminator), before[0])
    assert not torch.equal(weights(learner.generator)["layer.weight"], before[1]["layer.weight"])
    assert learner.means().skipped_steps == 2
    assert learner.steps_skipped_in_a_row == 2


@pytest.mark.parametrize("loss", ["bce", "relativistic"])
def test_skipped_steps_are_counted_in_a_row_until_one_is_taken(loss: str) -> None:
    learner = learner_of(loss=loss)
    rows = []
    for is_broken in (False, True, True, True, False, True):
        if is_broken:
            broken_steps(learner, 1)
        else:
            steps(learner, 1)
        rows.append(learner.steps_skipped_in_a_row)
    assert rows == [0, 1, 2, 3, 0, 1]
    assert learner.means().most_skipped_in_a_row == 3
    learner.forget()
    assert learner.means().most_skipped_in_a_row == 0


def test_one_broken_step_does_not_make_a_network_with_batch_norm_ill() -> None:
    """Its running statistics are spoilt, which nothing reads; its weights are what they were."""
    shape = Shape(32, 8, 4)
    torch.manual_seed(0)
    dcgan = load_architecture("dcgan")
    learner = Learner(
        dcgan.build_generator(shape), dcgan.build_discriminator(shape), tiny_config(width=4)
    )
    real = torch.zeros(BATCH, 3, 32, 32)
    real[0, 0, 0, 0] = math.nan
    learner.step(real, None, images_seen=BATCH, fraction=0.0)
    assert learner.is_finite
    learner.step(torch.randn(BATCH, 3, 32, 32), None, images_seen=2 * BATCH, fraction=0.0)
    assert learner.means().skipped_steps == 1
    assert math.isfinite(learner.means().gradient_norm)


@pytest.mark.parametrize("network", ["generator", "discriminator", "average"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_found_wherever_it_is(network: str, value: float) -> None:
    learner = learner_of()
    assert learner.is_finite
    with torch.no_grad():
        list(getattr(learner, network).parameters())[-1].view(-1)[-1] = value
    assert not learner.is_finite


# ---------------------------------------------------------------- in pieces


@pytest.fixture(params=["mlp", "resgan"])
def real_networks(request: pytest.FixtureRequest) -> tuple[nn.Module, nn.Module]:
    """Small ones without batch norm, their weights moved away from the zeros they begin with."""
    torch.manual_seed(0)
    shape = Shape(32, Z_DIM, 4, d_norm="none")
    architecture = load_architecture(request.param)
    networks = architecture.build_generator(shape), architecture.build_discriminator(shape)
    with torch.no_grad():
        for network in networks:
            for p in network.parameters():
                p.add_(torch.randn_like(p) * 0.05)
    return networks


@pytest.mark.parametrize("at_a_time", [2, 3, 4])
@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "bce"},
        {"loss": "hinge"},
        {"loss": "relativistic", "penalty": "r1+r2", "gamma": 2.0, "d_norm": "none"},
    ],
    ids=["bce", "hinge", "relativistic"],
)
def test_a_step_in_pieces_has_the_gradients_of_one_at_once(
    real_networks: tuple[nn.Module, nn.Module], settings: dict[str, Any], at_a_time: int
) -> None:
    """Eight pictures, also where they do not come out even: 3 + 3 + 2."""
    real = torch.rand(BATCH, 3, 32, 32, generator=torch.manual_seed(1)) * 2 - 1
    whole, pieces = (
        Learner(*copy.deepcopy(real_networks), tiny_config(z_dim=Z_DIM, lr=STANDS_STILL, **chosen))
        for chosen in (settings, settings | {"micro_batch": at_a_time})
    )
    for learner in (whole, pieces):
        learner.step(real, None, images_seen=BATCH, fraction=0.0)
    for name in ("discriminator", "generator"):
        pairs = zip(gradients(getattr(whole, name)), gradients(getattr(pieces, name)), strict=True)
        for one, other in pairs:
            scale = one.abs().max().item()
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-4 * scale), name
            assert scale > 0 or one.numel() == 1
    a, b = whole.means(), pieces.means()
    for measure in ("d_loss", "g_loss", "penalty", "overfitting", "d_right_on_real"):
        assert getattr(a, measure) == pytest.approx(getattr(b, measure), rel=1e-3), measure


def test_classes_are_cut_into_the_same_pieces_as_their_pictures() -> None:
    seen: list[tuple[list[float], list[int]]] = []

    class Labelled(Critic):
        def forward(
            self, pictures: Tensor, classes: Tensor | None = None, coarser: tuple[Tensor, ...] = ()
        ) -> Tensor:
            assert classes is not None
            seen.append((pictures[:, 0, 0, 0].tolist(), classes.tolist()))
            return super().forward(pictures)

    learner = learner_of(Labelled(), micro_batch=3)
    classes = torch.arange(BATCH)
    real = classes.float()[:, None, None, None].expand(-1, 3, EDGE_PX, EDGE_PX)
    learner.step(real.contiguous(), classes, images_seen=BATCH, fraction=0.0)
    of_reals = seen[0:6:2]
    assert [labels for _, labels in of_reals] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert all(shown == labels for shown, labels in of_reals)


# ---------------------------------------------------------------- saving


def test_a_restored_learner_goes_on_with_the_same_bits() -> None:
    settings: dict[str, Any] = {
        "augment": "ada",
        "augment_ops": "color,translation",
        "ada_target": -0.9,  # so that p rises at once
        "loss": "relativistic",
        "lr": 0.01,
    }
    learner = learner_of(**settings)
    steps(learner, ADA_EVERY + 3)
    saved = copy.deepcopy(learner.state())
    resumed = learner_of(seed=9, **settings)
    assert resumed.restore(saved)
    for either in (learner, resumed):
        steps(either, ADA_EVERY)
    assert_same_bits(resumed.state(), learner.state())
    assert learner.augment_p(0.0) > 0, "otherwise this test proves less"


def test_a_changed_beta_is_adopted() -> None:
    learner = learner_of()
    steps(learner, 1)
    resumed = learner_of(beta1=0.0, beta2=0.9)
    resumed.restore(learner.state())
    assert group(resumed._g_optimiser)["betas"] == (0.0, 0.9)
    assert group(resumed._d_optimiser)["betas"] == (0.0, 0.9)


def test_the_kernel_is_the_devices_own_wherever_the_state_was_saved() -> None:
    """A graphics card's fused kernel was asked for there, and is not known to be as quick here."""
    learner = learner_of()
    steps(learner, 1)
    state = copy.deepcopy(learner.state())
    for name in ("generator_optimiser", "discriminator_optimiser"):
        state[name]["param_groups"][0]["fused"] = True
    resumed = learner_of()
    resumed.restore(state)
    assert group(resumed._g_optimiser)["fused"] is group(learner._g_optimiser)["fused"] is False
    for either in (learner, resumed):
        steps(either, 1)
    assert_same_bits(resumed.state(), learner.state())


def test_streams_of_another_kind_of_device_are_begun_anew_and_that_is_said() -> None:
    learner = learner_of()
    steps(learner, 1)
    state = copy.deepcopy(learner.state())
    state["streams"]["device"] = "cuda"
    resumed = learner_of()
    assert not resumed.restore(state)
    assert not torch.equal(resumed.state()["streams"]["z"], learner_of().state()["streams"]["z"])


def test_a_reseeded_learner_draws_other_noise() -> None:
    learner, reseeded = learner_of(), learner_of()
    reseeded.reseed(1000)
    for either in (learner, reseeded):
        steps(either, 1)
    assert not torch.equal(
        learner.generator.state_dict()["layer.weight"],
        reseeded.generator.state_dict()["layer.weight"],
    )


def test_the_average_of_a_saved_state_is_given_without_touching_the_present_one() -> None:
    learner = learner_of(lr=0.1)
    earlier = copy.deepcopy(learner.state())
    steps(learner, 2)
    present = weights(learner.average)
    network = learner.averaged(earlier)
    assert_same_bits(network.state_dict(), earlier["average"])
    assert_same_bits(learner.average.state_dict(), present)
    assert not torch.equal(present["layer.weight"], earlier["average"]["layer.weight"])


def test_pieces_that_had_to_be_halved_are_remembered_and_those_asked_for_are_not() -> None:
    asked = learner_of(micro_batch=4)
    assert asked.micro_batch == 4
    tomorrow = learner_of(micro_batch=0)
    tomorrow.restore(asked.state())
    assert tomorrow.micro_batch == BATCH

    halved = learner_of()
    halved.halve_micro_batch(at_least=2)
    assert halved.micro_batch == 4
    tomorrow = learner_of(batch=16)
    tomorrow.restore(halved.state())
    assert tomorrow.micro_batch == 4
    day_after = learner_of(batch=16)
    day_after.restore(tomorrow.state())
    assert day_after.micro_batch == 4
    for expected in (2, 2):
        halved.halve_micro_batch(at_least=2)
        assert halved.micro_batch == expected

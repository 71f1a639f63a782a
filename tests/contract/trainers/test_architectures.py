"""What every architecture must do, whatever file it comes from, with every option it says it knows.

A new file in `trainers/networks/` is tested by all of this without another line here.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
from collections.abc import Iterator
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.trainer_fixtures import assert_same_bits
from trainers.errors import SettingsError
from trainers.networks import Shape, architecture_names, load_architecture
from trainers.networks.check import check_shape
from trainers.networks.cost import measure
from trainers.shape import D_NORMS, SIZES_PX

CHOICES: dict[str, object] = {
    "blocks": 2,
    "upsampling": "resize",
    "attention": True,
    "multi_scale": True,
}
"""Of each option a value that is not the default."""
NUM_CLASSES = 3
BATCH = NUM_CLASSES


@dataclasses.dataclass(frozen=True)
class Case:
    """An architecture and a tiny shape of it."""

    arch: str
    shape: Shape
    label: str

    def build(self, seed: int = 0) -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(seed)
        architecture = load_architecture(self.arch)
        return (
            architecture.build_generator(self.shape),
            architecture.build_discriminator(self.shape),
        )

    def build_generator(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return load_architecture(self.arch).build_generator(self.shape)

    def z(self, seed: int = 1) -> Tensor:
        return torch.randn(BATCH, self.shape.z_dim, generator=torch.Generator().manual_seed(seed))

    @property
    def classes(self) -> Tensor | None:
        return torch.arange(BATCH) % NUM_CLASSES if self.shape.num_classes else None

    def views(self, seed: int = 2) -> list[Tensor]:
        """Pictures of noise, at every resolution that the discriminator is shown."""
        random = torch.Generator().manual_seed(seed)
        size = self.shape.size
        views = [torch.rand(BATCH, 3, size, size, generator=random) * 2 - 1]
        while self.shape.multi_scale and views[-1].shape[-1] > 4:
            views.append(F.avg_pool2d(views[-1], 2))
        return views

    def paint(self, generator: nn.Module, z: Tensor) -> list[Tensor]:
        if self.shape.multi_scale:
            return list(generator.pyramid(z, self.classes))
        return [generator(z, self.classes)]

    def judge(self, discriminator: nn.Module, views: list[Tensor]) -> Tensor:
        logits: Tensor = discriminator(views[0], self.classes, tuple(views[1:]))
        return logits

    def judge_by_pictures(self, discriminator: nn.Module, views: list[Tensor]) -> Tensor:
        """As far as it looks at the pictures themselves, which is what a penalty is about."""
        if not hasattr(discriminator, "see"):
            return self.judge(discriminator, views)
        [pictures] = views
        with torch.no_grad():
            _, *features = discriminator.see(pictures)
        logits: Tensor = discriminator.judge([pictures, *features], self.classes)
        return logits


@cache
def cases() -> list[Case]:
    """Every architecture plain, with each option, each norm, classes, and with everything at once."""
    found = []
    for name in architecture_names():
        architecture = load_architecture(name)
        plain = Shape(architecture.sizes[0], 8, 4, d_norm=architecture.d_norms[0])
        options = {option: CHOICES[option] for option in sorted(architecture.options)}
        last_norm = architecture.d_norms[-1]
        variants: dict[str, dict[str, object]] = {
            "plain": {},
            "all": {**options, "d_norm": last_norm, "num_classes": NUM_CLASSES},
        }
        variants |= {option: {option: value} for option, value in options.items()}
        variants |= {f"d_norm {norm}": {"d_norm": norm} for norm in architecture.d_norms[1:]}
        if options or architecture.d_norms[1:]:
            variants |= {"classes": {"num_classes": NUM_CLASSES}}
        found += [
            Case(name, dataclasses.replace(plain, **chosen), f"{name} {label}")
            for label, chosen in variants.items()
        ]
    return found


def every_case() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases(), ids=lambda case: case.label)


def every_case_without_batch_norm() -> pytest.MarkDecorator:
    """Where R1 and R2 may be asked for, and a micro-batch is as good as a batch."""
    without = [case for case in cases() if case.shape.d_norm != "batch"]
    return pytest.mark.parametrize("case", without, ids=lambda case: case.label)


def named_parameters(*networks: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for network in networks:
        for name, parameter in network.named_parameters():
            yield f"{type(network).__name__}.{name}", parameter


def d_loss(real: Tensor, fake: Tensor) -> Tensor:
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def step(case: Case, generator: nn.Module, discriminator: nn.Module) -> None:
    """Gradients of both losses into both networks, as training computes them."""
    generator.zero_grad()
    discriminator.zero_grad()
    fake = case.paint(generator, case.z())
    F.softplus(-case.judge(discriminator, fake)).mean().backward()
    discriminator.zero_grad()
    real_logits = case.judge(discriminator, case.views())
    fake_logits = case.judge(discriminator, [view.detach() for view in fake])
    d_loss(real_logits, fake_logits).backward()


# ---------------------------------------------------------------- the family


def test_the_four_architectures_are_found_by_their_file_names() -> None:
    assert {"dcgan", "mlp", "projected", "resgan"} <= set(architecture_names())


@pytest.mark.parametrize("name", ["", "cost", "layers", "check", "dcgan.Generator", "../dcgan"])
def test_a_name_that_is_no_architecture_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        load_architecture(name)


@pytest.mark.parametrize("name", architecture_names())
def test_an_architecture_says_what_it_is_and_what_it_knows(name: str) -> None:
    architecture = load_architecture(name)
    assert architecture.name == name
    assert architecture.summary
    assert set(architecture.sizes) <= set(SIZES_PX)
    assert set(architecture.d_norms) <= set(D_NORMS)
    assert architecture.options <= set(CHOICES)


def test_every_field_of_a_shape_is_tried_here() -> None:
    fields = {field.name for field in dataclasses.fields(Shape)}
    assert fields == {"size", "z_dim", "width", "d_norm", "num_classes"} | set(CHOICES)


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("case", "size"),
    [
        (case, size)
        for case in cases()
        for size in load_architecture(case.arch).sizes
        if size == case.shape.size or case.label.endswith(" all")
    ],
    ids=lambda value: value.label if isinstance(value, Case) else str(value),
)
def test_z_becomes_pictures_and_pictures_become_logits_at_every_size(case: Case, size: int) -> None:
    case = dataclasses.replace(case, shape=dataclasses.replace(case.shape, size=size))
    with torch.device("meta"):  # shapes without memory
        generator, discriminator = (network.eval() for network in case.build())
        pictures = case.paint(generator, torch.empty(BATCH, case.shape.z_dim))
        logits = case.judge(discriminator, pictures)
    edges = [size]
    while case.shape.multi_scale and edges[-1] > 4:
        edges.append(edges[-1] // 2)
    assert [p.shape for p in pictures] == [(BATCH, 3, edge, edge) for edge in edges]
    assert logits.ndim == 2
    assert logits.shape[0] == BATCH
    assert {p.dtype for p in pictures} | {logits.dtype} == {torch.float32}


@every_case()
def test_z_decides_the_picture(case: Case) -> None:
    generator = case.build_generator().eval()
    with torch.no_grad():
        pictures = generator(case.z(), case.classes)
    assert torch.isfinite(pictures).all()
    for one, other in itertools.combinations(pictures, 2):
        assert not torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.shape.num_classes], ids=lambda case: case.label
)
def test_the_class_decides_with_it(case: Case) -> None:
    """Of one z, and of one picture."""
    generator, discriminator = (network.eval() for network in case.build())
    z, views = case.z()[:1], [view[:1] for view in case.views()]
    with torch.no_grad():
        pictures = [generator(z, torch.tensor([c])) for c in range(NUM_CLASSES)]
        logits = [
            discriminator(views[0], torch.tensor([c]), tuple(views[1:])) for c in range(NUM_CLASSES)
        ]
    for one, other in itertools.combinations(pictures, 2):
        assert not torch.allclose(one, other, atol=1e-6)
    assert len({tuple(logit.flatten().tolist()) for logit in logits}) == NUM_CLASSES


@pytest.mark.parametrize(
    "case", [case for case in cases() if case.shape.multi_scale], ids=lambda case: case.label
)
def test_the_finest_of_a_pyramid_is_the_picture(case: Case) -> None:
    generator = case.build_generator().eval()
    with torch.no_grad():
        finest, *coarser = case.paint(generator, case.z())
        assert torch.equal(finest, generator(case.z(), case.classes))
    assert all(picture.abs().max() <= 1 for picture in coarser)


# ---------------------------------------------------------------- independence


@every_case()
def test_in_inference_a_picture_does_not_depend_on_its_neighbours(case: Case) -> None:
    generator = case.build_generator().eval()
    classes = case.classes
    with torch.no_grad():
        together = generator(case.z(), classes)
        alone = generator(case.z()[2:3], None if classes is None else classes[2:3])
    assert torch.allclose(together[2:3], alone, atol=1e-5)


@every_case_without_batch_norm()
def test_without_batch_norm_a_logit_does_not_depend_on_the_neighbours(case: Case) -> None:
    """In training mode: what lets a batch be split, and a penalty be taken per picture."""
    _, discriminator = case.build()
    views = [view.requires_grad_() for view in case.views()]
    logits = case.judge_by_pictures(discriminator, views)
    gradients = torch.autograd.grad(logits[2].sum(), views)
    for gradient in gradients:
        assert gradient[2].abs().sum() > 0
        assert not gradient[torch.arange(BATCH) != 2].any()


@every_case()
def test_a_discriminator_in_two_halves_judges_what_it_saw_as_the_whole_does(case: Case) -> None:
    _, discriminator = case.build()
    if not hasattr(discriminator, "see"):
        assert not hasattr(discriminator, "judge")
        return
    discriminator.eval()
    [pictures] = case.views()
    seen = discriminator.see(pictures)
    assert torch.equal(seen[0], pictures)
    halves = discriminator.judge(seen, case.classes)
    assert torch.equal(halves, case.judge(discriminator, [pictures]))


@every_case()
def test_a_forward_pass_draws_no_random_numbers(case: Case) -> None:
    """A picture depends on its seed alone, and a resumed run on its own streams alone."""
    generator, discriminator = case.build()
    before = torch.get_rng_state()
    case.judge(discriminator, case.paint(generator, case.z()))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- learning


@every_case()
def test_gradients_reach_every_parameter_that_learns(case: Case) -> None:
    """After one update: what begins at zero (Fixup, attention's gamma) opens the way for the rest."""
    generator, discriminator = case.build()
    step(case, generator, discriminator)
    with torch.no_grad():
        for _, parameter in named_parameters(generator, discriminator):
            if parameter.grad is not None:
                parameter -= 0.01 * parameter.grad
    step(case, generator, discriminator)
    # The generator's gradients are those of its own loss: the discriminator's came afterwards.
    for name, parameter in named_parameters(generator, discriminator):
        if not parameter.requires_grad:
            assert parameter.grad is None, name
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_case_without_batch_norm()
def test_a_gradient_penalty_can_be_differentiated(case: Case) -> None:
    """R1 and R2 differentiate twice: compared with finite differences along a random direction."""
    _, discriminator = case.build()
    discriminator.double().eval()
    views = [view.double().requires_grad_() for view in case.views()]
    random = torch.Generator().manual_seed(3)
    parameters = [p for p in discriminator.parameters() if p.requires_grad]
    directions = [
        torch.randn(p.shape, generator=random, dtype=torch.float64) * 0.1 for p in parameters
    ]

    @torch.no_grad()
    def move(distance: float) -> None:
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter += distance * direction

    def penalty() -> Tensor:
        logits = case.judge_by_pictures(discriminator, views)
        gradients = torch.autograd.grad(logits.sum(), views, create_graph=True)
        return torch.stack([g.square().sum() for g in gradients]).sum() / BATCH

    move(1.0)  # away from the zeros that some weights begin with
    by_autograd = sum(
        float((gradient * direction).sum())
        for gradient, direction in zip(
            torch.autograd.grad(penalty(), parameters, allow_unused=True), directions, strict=True
        )
        if gradient is not None  # a bias: it bends nothing
    )
    nearby = 1e-8  # so near that no LeakyReLU changes its side
    move(nearby)
    ahead = penalty().item()
    move(-2 * nearby)
    behind = penalty().item()
    assert by_autograd != 0
    assert (ahead - behind) / (2 * nearby) == pytest.approx(by_autograd, rel=1e-4)


@every_case()
def test_bfloat16_stays_finite_forwards_and_backwards(case: Case) -> None:
    generator, discriminator = case.build()
    with torch.autocast("cpu", torch.bfloat16):
        fake = case.paint(generator, case.z())
        fake_logits = case.judge(discriminator, fake)
        real_logits = case.judge(discriminator, case.views())
    (d_loss(real_logits.float(), fake_logits.float())).backward()
    assert all(torch.isfinite(view).all() for view in fake)
    for name, parameter in named_parameters(generator, discriminator):
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.dtype == torch.float32, name
            assert torch.isfinite(parameter.grad).all(), name


# ---------------------------------------------------------------- saving


@every_case()
def test_the_same_seed_builds_the_same_weights_and_another_others(case: Case) -> None:
    for one, same, other in zip(case.build(5), case.build(5), case.build(6), strict=True):
        assert_same_bits(one.state_dict(), same.state_dict())
        assert any(
            not torch.equal(one.state_dict()[name], tensor)
            for name, tensor in other.state_dict().items()
        )


@every_case()
def test_a_network_filled_from_a_saved_one_gives_the_same_bits(case: Case) -> None:
    generator, discriminator = case.build(5)
    step(case, generator, discriminator)  # statistics and power iterations have moved
    restored_generator, restored_discriminator = case.build(6)
    restored_generator.load_state_dict(generator.state_dict())
    restored_discriminator.load_state_dict(discriminator.state_dict())
    with torch.no_grad():
        # In training mode too: whatever moves then was saved as well.
        for _ in range(2):
            fake = case.paint(generator, case.z())
            restored_fake = case.paint(restored_generator, case.z())
            assert_same_bits(fake, restored_fake)
            assert torch.equal(
                case.judge(discriminator, fake), case.judge(restored_discriminator, fake)
            )


@every_case()
def test_a_generator_built_without_memory_can_be_filled(case: Case) -> None:
    """As `trainers.inference` does: nothing that decides a picture lies outside the state_dict."""
    generator = case.build_generator().eval()
    with torch.device("meta"):
        empty = case.build_generator().eval()
    empty.load_state_dict(copy.deepcopy(generator.state_dict()), strict=True, assign=True)
    with torch.no_grad():
        assert torch.equal(generator(case.z(), case.classes), empty(case.z(), case.classes))


@every_case()
def test_a_generator_can_be_copied_for_its_average(case: Case) -> None:
    generator = case.build_generator()
    average = copy.deepcopy(generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
    assert_same_bits(average.state_dict(), case.build_generator().state_dict())


@pytest.mark.parametrize(
    "case",
    [case for case in cases() if case.label.endswith((" plain", " all"))],
    ids=lambda case: case.label,
)
def test_what_it_costs_can_be_told(case: Case) -> None:
    generator, discriminator = case.build()
    cost = measure(load_architecture(case.arch), case.shape)
    sizes = [[p.numel() for p in network.parameters()] for network in (generator, discriminator)]
    assert cost.generator_parameters == sum(sizes[0])
    assert cost.discriminator_parameters + cost.discriminator_frozen_parameters == sum(sizes[1])
    frozen = [p.numel() for p in discriminator.parameters() if not p.requires_grad]
    assert cost.discriminator_frozen_parameters == sum(frozen)
    assert cost.generator_macs > 0
    assert cost.discriminator_macs > 0


# ---------------------------------------------------------------- refusals


@every_case()
def test_what_an_architecture_says_it_knows_is_allowed(case: Case) -> None:
    check_shape(case.arch, case.shape)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option)
        for name in architecture_names()
        for option in CHOICES
        if option not in load_architecture(name).options
    ],
)
def test_an_option_it_does_not_know_is_refused_by_name(name: str, option: str) -> None:
    architecture = load_architecture(name)
    plain = Shape(architecture.sizes[0], 8, 4, d_norm=architecture.d_norms[0])
    value = CHOICES[option]
    typed = str(value).lower() if value is True else value
    said = f"--upsampling {value}" if option == "upsampling" else f"--set {option}={typed}"
    with pytest.raises(SettingsError, match=f"^{said}: {name} has no such option. Leave it out"):
        check_shape(name, dataclasses.replace(plain, **{option: value}))


@pytest.mark.parametrize("name", architecture_names())
def test_a_norm_or_a_size_it_cannot_have_is_refused_with_those_it_can(name: str) -> None:
    architecture = load_architecture(name)
    plain = Shape(architecture.sizes[0], 8, 4, d_norm=architecture.d_norms[0])
    for norm in {*D_NORMS, "layer"} - set(architecture.d_norms):
        with pytest.raises(
            SettingsError, match=rf"--set d_norm={norm}: .*d_norm={architecture.d_norms[0]}"
        ):
            check_shape(name, dataclasses.replace(plain, d_norm=norm))
    for size in {*SIZES_PX, 30} - set(architecture.sizes):
        with pytest.raises(SettingsError, match=rf"--size {size}: .* {architecture.sizes[0]}"):
            check_shape(name, dataclasses.replace(plain, size=size))

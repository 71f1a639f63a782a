"""The DCGAN network against its paper (arXiv:1511.06434), at every size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.networks import Shape
from trainers.networks.cost import measure
from trainers.networks.dcgan import ARCHITECTURE, Discriminator, Generator
from trainers.networks.layers import SelfAttention
from trainers.shape import DOUBLED_SIZES_PX

PAPER = Shape(size=64, z_dim=100, width=64)


def num_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("size", DOUBLED_SIZES_PX)
@pytest.mark.parametrize("width", [64, 7])
def test_z_becomes_pictures_and_pictures_become_logits_at_every_size(size: int, width: int) -> None:
    shape = Shape(size=size, z_dim=100, width=width)
    with torch.device("meta"):  # shapes without memory
        pictures = Generator(shape)(torch.empty(5, 100))
        logits = Discriminator(shape)(pictures)
    assert pictures.shape == (5, 3, size, size)
    assert logits.shape == (5, 1)


@pytest.mark.parametrize("size", DOUBLED_SIZES_PX)
def test_gradients_reach_every_parameter_at_every_size(size: int) -> None:
    torch.manual_seed(0)
    shape = Shape(size=size, z_dim=8, width=4)
    generator, discriminator = Generator(shape), Discriminator(shape)
    discriminator(generator(torch.randn(4, 8))).square().sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_pictures_lie_between_minus_one_and_one_however_large_z_is() -> None:
    torch.manual_seed(0)
    pictures = Generator(Shape(32, 8, 4))(1000 * torch.randn(16, 8))
    assert pictures.abs().max() <= 1
    assert pictures.min() < -0.01 < 0.01 < pictures.max()


def test_logits_are_no_probabilities() -> None:
    torch.manual_seed(0)
    logits = Discriminator(Shape(32, 8, 4))(torch.randn(64, 3, 32, 32))
    assert logits.min() < 0, "a sigmoid would be positive"


def test_at_the_papers_size_both_networks_have_the_papers_weights() -> None:
    """4x4x(100*512 + 512*256 + 256*128 + 128*64 + 64*3) + batch norms + bias of the last layer."""
    generator = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    generator += 2 * (512 + 256 + 128 + 64) + 3
    discriminator = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 1)
    discriminator += 2 * (128 + 256 + 512) + 64 + 1
    assert num_parameters(Generator(PAPER)) == generator == 3_576_707  # 3.58 M
    assert num_parameters(Discriminator(PAPER)) == discriminator == 2_765_633  # 2.77 M


def test_maps_double_at_every_halving_and_stop_at_eight_times_the_width() -> None:
    with torch.device("meta"):
        discriminator = Discriminator(Shape(size=512, z_dim=8, width=10))
    maps = [m.out_channels for m in discriminator.layers if isinstance(m, nn.Conv2d)]
    assert maps == [10, 20, 40, 80, 80, 80, 80, 1]


@pytest.mark.parametrize("size", DOUBLED_SIZES_PX)
def test_batch_norm_follows_every_convolution_but_the_ends_the_paper_excepts(size: int) -> None:
    shape = Shape(size, 8, 4)
    with torch.device("meta"):
        generator, discriminator = Generator(shape).layers, Discriminator(shape).layers
    *inner, last, squash = generator
    assert isinstance(last, nn.ConvTranspose2d)
    assert isinstance(squash, nn.Tanh), "nothing normalises what the generator shows"
    kinds = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(m) for m in inner] == kinds * (len(inner) // 3)

    first, slope, *inner, last = discriminator
    assert isinstance(first, nn.Conv2d)
    assert isinstance(slope, nn.LeakyReLU), "nothing normalises what the discriminator sees"
    assert isinstance(last, nn.Conv2d)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert [type(m) for m in inner] == kinds * (len(inner) // 3)
    assert {m.negative_slope for m in discriminator if isinstance(m, nn.LeakyReLU)} == {0.2}


@pytest.mark.parametrize("build", [Generator, Discriminator])
def test_weights_begin_as_the_paper_says(build: type[nn.Module]) -> None:
    """N(0, 0.02) for convolutions, N(1, 0.02) for batch norm's gain, biases 0."""
    torch.manual_seed(0)
    for name, module in build(PAPER).named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.mean().item() == pytest.approx(0, abs=2e-3), name
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05), name
            assert module.bias is None or not module.bias.any(), name
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1, abs=0.01), name
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.3), name
            assert not module.bias.any(), name


def test_in_inference_a_picture_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    generator = Generator(Shape(32, 8, 4)).eval()
    z = torch.randn(6, 8)
    with torch.no_grad():
        assert torch.allclose(generator(z)[2:3], generator(z[2:3]), atol=1e-6)


def test_checkpoints_and_runs_from_before_the_options_still_fit() -> None:
    """Names and shapes of all tensors, for the shape that every option leaves alone."""
    norm = {"weight": (4,), "bias": (4,), "running_mean": (4,), "running_var": (4,)}
    norm |= {"num_batches_tracked": ()}

    def of_norm(index: int, channels: int) -> dict[str, tuple[int, ...]]:
        return {
            f"layers.{index}.{name}": (channels,) if shape else () for name, shape in norm.items()
        }

    generator = {"layers.0.weight": (8, 16, 4, 4), **of_norm(1, 16)}
    generator |= {"layers.3.weight": (16, 8, 4, 4), **of_norm(4, 8)}
    generator |= {"layers.6.weight": (8, 4, 4, 4), **of_norm(7, 4)}
    generator |= {"layers.9.weight": (4, 3, 4, 4), "layers.9.bias": (3,)}
    discriminator = {"layers.0.weight": (4, 3, 4, 4), "layers.0.bias": (4,)}
    discriminator |= {"layers.2.weight": (8, 4, 4, 4), **of_norm(3, 8)}
    discriminator |= {"layers.5.weight": (16, 8, 4, 4), **of_norm(6, 16)}
    discriminator |= {"layers.8.weight": (1, 16, 4, 4), "layers.8.bias": (1,)}
    shape = Shape(32, 8, 4)
    for network, expected in ((Generator(shape), generator), (Discriminator(shape), discriminator)):
        assert {n: tuple(t.shape) for n, t in network.state_dict().items()} == expected


# ---------------------------------------------------------------- resize


@pytest.mark.parametrize("build", [Generator, Discriminator])
def test_resizing_leaves_no_strided_convolution(build: type[nn.Module]) -> None:
    with torch.device("meta"):
        network = build(Shape(64, 8, 8, upsampling="resize"))
    projection, *others = [
        m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]
    if build is Discriminator:
        others.insert(0, projection)
        others.pop()  # to the logit
    for convolution in others:
        assert type(convolution) is nn.Conv2d
        assert convolution.kernel_size == (3, 3)
        assert convolution.stride == (1, 1)


def middle_phases(pictures: Tensor) -> Tensor:
    """Mean of each of the four places in a 2x2 cell, away from the border."""
    middle = pictures.detach()[:, :, 8:-8, 8:-8]
    return torch.stack([middle[:, :, y::2, x::2].mean() for y in (0, 1) for x in (0, 1)])


def test_a_resizing_layer_cannot_paint_a_checkerboard() -> None:
    """On a flat surface every pixel is painted alike; a transposed convolution paints four kinds."""
    torch.manual_seed(0)
    flat = torch.ones(1, 4, 16, 16)
    resized = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(4, 3, 3, padding=1))
    transposed = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)
    assert middle_phases(resized(flat)).std() < 1e-6 < middle_phases(transposed(flat)).std()


def test_the_resizing_generator_ends_with_maps_at_full_resolution() -> None:
    with torch.device("meta"):
        *_, last, squash = Generator(Shape(64, 8, 16, upsampling="resize")).layers
    assert isinstance(last, nn.Conv2d)
    assert last.in_channels == 8, "half of what it has at half the resolution"
    assert isinstance(squash, nn.Tanh)


# ---------------------------------------------------------------- attention


@pytest.mark.parametrize(("size", "attended_px"), [(32, 16), (64, 32), (256, 32)])
@pytest.mark.parametrize("build", [Generator, Discriminator])
def test_attention_sits_on_the_maps_of_32_px_or_the_finest_there_are(
    build: type[nn.Module], size: int, attended_px: int
) -> None:
    shape = Shape(size, 8, 4, attention=True)
    with torch.device("meta"):
        network = build(shape)
        (attention,) = [m for m in network.modules() if isinstance(m, SelfAttention)]
        edges: list[int] = []
        attention.register_forward_hook(lambda *seen: edges.append(seen[2].shape[-1]))
        is_generator = build is Generator
        network(torch.empty((2, 8) if is_generator else (2, 3, size, size)))
    assert edges == [attended_px]


# ---------------------------------------------------------------- multi-scale


def test_every_resolution_reaches_the_logit_and_comes_from_z() -> None:
    torch.manual_seed(0)
    shape = Shape(64, 8, 4, multi_scale=True)
    generator, discriminator = Generator(shape), Discriminator(shape)
    z = torch.randn(3, 8, requires_grad=True)
    for level, picture in enumerate(generator.pyramid(z)):
        (gradient,) = torch.autograd.grad(picture.square().sum(), z, retain_graph=True)
        assert gradient.abs().sum() > 0, level
    views = [picture.detach().requires_grad_() for picture in generator.pyramid(z)]
    finest, *coarser = views
    for gradient in torch.autograd.grad(discriminator(finest, None, coarser).sum(), views):
        assert gradient.abs().sum() > 0


def test_each_coarser_picture_joins_the_maps_of_its_own_resolution() -> None:
    """The simplest way to combine: three more maps into the next layer."""
    with torch.device("meta"):
        discriminator = Discriminator(Shape(64, 8, 4, multi_scale=True))
    convolutions = [m for m in discriminator.layers if isinstance(m, nn.Conv2d)]
    assert [m.in_channels for m in convolutions] == [3, 4 + 3, 8 + 3, 16 + 3, 32 + 3]


def test_coarser_pictures_can_make_the_difference() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(Shape(32, 8, 4, multi_scale=True, d_norm="none"))
    real = torch.randn(2, 3, 32, 32)
    coarser = [F.avg_pool2d(real, 2**level) for level in (1, 2, 3)]
    for level in range(3):
        other = [-c if index == level else c for index, c in enumerate(coarser)]
        assert not torch.allclose(
            discriminator(real, None, coarser), discriminator(real, None, other)
        )


# ---------------------------------------------------------------- norms of the discriminator


@pytest.mark.parametrize("d_norm", ["spectral", "none"])
def test_without_batch_norm_every_convolution_has_a_bias(d_norm: str) -> None:
    discriminator = Discriminator(Shape(32, 8, 4, d_norm=d_norm))
    for module in discriminator.modules():
        assert not isinstance(module, nn.BatchNorm2d)
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None


def test_spectral_normalisation_is_on_every_layer_of_the_discriminator_and_on_none_before() -> None:
    shape = Shape(64, 8, 4, d_norm="spectral", attention=True, num_classes=3)
    weighted = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)
    layers = [m for m in Discriminator(shape).modules() if isinstance(m, weighted)]
    assert len(layers) == 5 + 4 + 1, "convolutions, attention's matrices, the classes"
    assert all(parametrize.is_parametrized(layer, "weight") for layer in layers)
    assert not any(parametrize.is_parametrized(m) for m in Generator(shape).modules())


def test_without_any_norm_the_signal_survives_to_the_logit() -> None:
    """With the paper's 0.02 an eight-layer discriminator would see next to nothing."""
    torch.manual_seed(0)
    discriminator = Discriminator(Shape(256, 8, 8, d_norm="none"))
    with torch.no_grad():
        logits = discriminator(torch.randn(16, 3, 256, 256))
    assert 0.1 < logits.std() < 10


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize("option", ["plain", "attention", "multi_scale"])
def test_at_64_px_it_weighs_and_costs_what_was_planned(option: str) -> None:
    """3.6 M and 2.8 M parameters, 0.10 GMAC; what is added stays small."""
    chosen = {} if option == "plain" else {option: True}
    cost = measure(ARCHITECTURE, Shape(64, 100, 64, **chosen))
    assert round(cost.generator_parameters / 1e6, 1) == 3.6
    assert round(cost.discriminator_parameters / 1e6, 1) == 2.8
    assert 0.10 <= cost.generator_macs / 1e9 < 0.13
    assert 0.10 <= cost.discriminator_macs / 1e9 < 0.13


def test_with_resize_it_enlarges_as_keragan_does_but_has_widths_of_its_own() -> None:
    """keragan at 512 px: 12.9 M and 6.4 M parameters, 7.4 and 6.3 GMAC."""
    cost = measure(ARCHITECTURE, Shape(512, 100, 64, upsampling="resize"))
    assert cost.generator_parameters == 9_469_731
    assert cost.discriminator_parameters == 8_641_025
    assert round(cost.generator_macs / 1e9, 1) == 22.7
    assert round(cost.discriminator_macs / 1e9, 1) == 18.1

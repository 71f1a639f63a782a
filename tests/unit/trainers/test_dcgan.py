"""The DCGAN network against its paper (arXiv:1511.06434), at every size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainers.config import SIZES_PX
from trainers.networks import Shape, architecture_names, load_architecture
from trainers.networks.dcgan import ARCHITECTURE, Discriminator, Generator

PAPER = Shape(size=64, z_dim=100, width=64)


def num_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_dcgan_is_found_by_its_file_name() -> None:
    assert architecture_names() == ["dcgan"]
    assert load_architecture("dcgan") is ARCHITECTURE


@pytest.mark.parametrize("name", ["", "cost", "resgan", "dcgan.Generator", "../dcgan"])
def test_a_name_that_is_no_architecture_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        load_architecture(name)


@pytest.mark.parametrize("size", SIZES_PX)
@pytest.mark.parametrize("width", [64, 7])
def test_z_becomes_pictures_and_pictures_become_logits_at_every_size(size: int, width: int) -> None:
    shape = Shape(size=size, z_dim=100, width=width)
    with torch.device("meta"):  # shapes without memory
        pictures = Generator(shape)(torch.empty(5, 100))
        logits = Discriminator(shape)(pictures)
    assert pictures.shape == (5, 3, size, size)
    assert logits.shape == (5,)


@pytest.mark.parametrize("size", SIZES_PX)
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


@pytest.mark.parametrize("size", SIZES_PX)
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

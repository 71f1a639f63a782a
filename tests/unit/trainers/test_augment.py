"""What the discriminator is shown: what the operations do, that they can be differentiated twice,
and that the generator does not learn them."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.data.augment import (
    LEAKING_WHEN_CERTAIN,
    MAX_P,
    OPERATIONS,
    AdaController,
    _bilinear,
    augment,
    fade,
    has_flat_background,
    parse_operations,
)
from trainers.errors import SettingsError


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 4, edge: int = 16, seed: int = 0) -> Tensor:
    """Pictures in [-1, 1] in which every pixel is another."""
    return torch.rand(count, 3, edge, edge, generator=stream(seed)) * 2 - 1


def one(pictures: Tensor, operations: str, p: Tensor | float = 1.0, seed: int = 0) -> Tensor:
    """`augment` of a single resolution, with a stream of its own."""
    [augmented] = augment([pictures], parse_operations(operations), p, stream(seed))
    return augmented


def is_touched(before: Tensor, after: Tensor) -> Tensor:
    return (before != after).flatten(1).any(1)


# ---------------------------------------------------------------- names


def test_operations_are_named_with_commas_and_applied_in_a_fixed_order() -> None:
    assert parse_operations("cutout, color,translation") == ("color", "translation", "cutout")
    assert parse_operations("color,color,") == ("color",)
    assert parse_operations(",".join(OPERATIONS)) == OPERATIONS


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("colour", "no augmentation is called 'colour'. Did you mean color?"),
        ("color,translate", "Did you mean translation?"),
        ("blur", "no augmentation is called 'blur'. Known: flip, geometry, color, hue"),
        ("", "the augmentation names no operation: ''. Choose from flip, geometry"),
        (" , ", "names no operation"),
    ],
)
def test_an_unknown_operation_is_refused_with_the_known_ones(typed: str, said: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_operations(typed)
    assert said in str(refusal.value)
    assert ", ".join(OPERATIONS) in str(refusal.value)


# ---------------------------------------------------------------- what each operation does


def test_color_moves_brightness_by_up_to_half_and_scales_saturation_and_contrast() -> None:
    """DiffAugment's ranges: recovered from pictures as three numbers each, exactly."""
    pictures = noise(2000, 4)
    after = one(pictures, "color")
    grey, grey_after = pictures.mean(1), after.mean(1)
    brightness = (grey_after - grey).mean((1, 2))
    contrast = grey_after.std((1, 2)) / grey.std((1, 2))
    chroma = (pictures - grey[:, None]).flatten(1).norm(dim=1)
    saturation = (after - grey_after[:, None]).flatten(1).norm(dim=1) / chroma / contrast
    for drawn, low, high in ((brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5)):
        assert low - 1e-3 <= drawn.min() < low + 0.05
        assert high - 0.05 < drawn.max() <= high + 1e-3
        assert drawn.mean().item() == pytest.approx((low + high) / 2, abs=0.05)
        assert drawn.std().item() == pytest.approx((high - low) / math.sqrt(12), rel=0.05)


def test_color_is_brightness_then_saturation_then_contrast() -> None:
    """The three of DiffAugment one after the other, written out, give what the one pass gives."""
    pictures = noise(8, 6)
    after = one(pictures, "color")
    grey, grey_after = pictures.mean(1), after.mean(1)
    b = (grey_after - grey).mean((1, 2))[:, None, None, None]
    c = (grey_after.std((1, 2)) / grey.std((1, 2)))[:, None, None, None]
    chroma = (pictures - grey[:, None]).flatten(1).norm(dim=1)
    s = (after - grey_after[:, None]).flatten(1).norm(dim=1)[:, None, None, None]
    s = s / chroma[:, None, None, None] / c
    expected = pictures + b
    expected = (expected - expected.mean(1, keepdim=True)) * s + expected.mean(1, keepdim=True)
    mean = expected.mean((1, 2, 3), keepdim=True)
    expected = (expected - mean) * c + mean
    assert torch.allclose(after, expected, atol=1e-5)


def test_hue_turns_colours_and_keeps_their_greyness_and_their_strength() -> None:
    pictures = noise(500, 4)
    after = one(pictures, "hue")
    assert torch.allclose(after.mean(1), pictures.mean(1), atol=1e-6)
    assert torch.allclose(after.norm(dim=1), pictures.norm(dim=1), atol=1e-5)
    red = torch.tensor([1.0, -0.5, -0.5]).view(1, 3, 1, 1).expand(4000, 3, 2, 2)
    turned = one(red, "hue")[:, :, 0, 0]
    angle = torch.atan2((turned[:, 1] - turned[:, 2]) / math.sqrt(3), turned[:, 0])
    assert angle.histc(8, -math.pi, math.pi) / 4000 == pytest.approx([1 / 8] * 8, abs=0.025)


def test_translation_moves_whole_pixels_by_up_to_an_eighth_and_mirrors_what_moves_in() -> None:
    pictures = noise(400, 16)
    after = one(pictures, "translation")
    shifts = list(itertools.product(range(-2, 3), repeat=2))
    padded = F.pad(torch.arange(256.0).view(1, 1, 16, 16), (2, 2, 2, 2), mode="replicate")
    # Two pixels of a mirror: the outermost is next to itself, the one inside of it comes after.
    padded[..., 0, :], padded[..., -1, :] = padded[..., 3, :].clone(), padded[..., -4, :].clone()
    padded[..., :, 0], padded[..., :, -1] = padded[..., :, 3].clone(), padded[..., :, -4].clone()
    sources = [padded[0, 0, 2 - y : 18 - y, 2 - x : 18 - x].long().flatten() for x, y in shifts]
    seen = set()
    for before, moved in zip(pictures, after, strict=True):
        [shift] = [
            shift
            for shift, source in zip(shifts, sources, strict=True)
            if torch.equal(before.flatten(1)[:, source], moved.flatten(1))
        ]
        seen.add(shift)
    assert seen == set(shifts)


def test_cutout_hides_a_square_of_half_the_edge_wherever_its_middle_falls() -> None:
    hidden = one(torch.ones(2000, 3, 16, 16), "cutout") == 0
    assert hidden.any(1).equal(hidden.all(1))
    share = hidden[:, 0].float().mean((1, 2))
    assert share.max() == 0.25
    assert share.min() < 0.1  # a corner: a quarter of the square
    # Each way, half of the middles leave 1/2 of the edge hidden, the others 1/4 to 1/2: 7/16 in all.
    assert share.mean().item() == pytest.approx((7 / 16) ** 2, abs=0.01)
    filled = hidden[:, 0].any(1).sum(1) * hidden[:, 0].any(2).sum(1)
    assert filled.equal(hidden[:, 0].sum((1, 2)))  # always a rectangle


def test_flip_mirrors_half_of_the_pictures() -> None:
    pictures = noise(1000, 4)
    after = one(pictures, "flip")
    mirrored = is_touched(pictures, after)
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(after[mirrored], pictures[mirrored].flip(3))


def test_geometry_scales_turns_stretches_and_shifts_as_the_paper_draws_them() -> None:
    """The affine map of each picture is read off a picture of its own coordinates."""
    edge, count = 17, 3000
    at = (torch.arange(edge) + 0.5) / edge - 0.5
    ramp = torch.stack(
        [at.expand(edge, edge), at[:, None].expand(edge, edge), torch.zeros(edge, edge)]
    )
    # A tiny neighbourhood of the middle, so that hardly a picture has a mirrored edge in it.
    after = one(ramp.expand(count, 3, edge, edge), "geometry")[:, :2]
    m = edge // 2
    middle = after[:, :, m, m]
    by_x = (after[:, :, m, m + 1] - after[:, :, m, m - 1]) * edge / 2
    by_y = (after[:, :, m + 1, m] - after[:, :, m - 1, m]) * edge / 2
    inverse = torch.stack([by_x, by_y], dim=2)
    unmirrored = (middle.abs() < 0.38).all(1)
    assert unmirrored.float().mean() > 0.9
    inverse, middle = inverse[unmirrored], middle[unmirrored]
    octave_fifth = 0.2 * math.log(2)
    log_scale = -torch.linalg.det(inverse).log() / 2
    assert log_scale.mean().item() == pytest.approx(0, abs=0.01)
    assert log_scale.std().item() == pytest.approx(octave_fifth, rel=0.1)
    # Singular values s*a and s/a: half the log of their ratio is |log a|, a half-normal.
    singular = torch.linalg.svdvals(inverse)
    log_stretch = (singular[:, 0] / singular[:, 1]).log() / 2
    assert log_stretch.square().mean().sqrt().item() == pytest.approx(octave_fifth, rel=0.1)
    angle = torch.atan2(inverse[:, 1, 0] - inverse[:, 0, 1], inverse[:, 0, 0] + inverse[:, 1, 1])
    assert angle.histc(4, -math.pi, math.pi) / len(angle) == pytest.approx([1 / 4] * 4, abs=0.04)
    # Where the middle comes from: the shift, scaled by the inverse of about 1.
    assert middle.std(0).numpy() == pytest.approx([1 / 8, 1 / 8], rel=0.15)


def test_geometry_mirrors_the_picture_at_its_edges() -> None:
    """Nothing moves in: a picture of one colour stays it, and no value lies outside the old ones."""
    flat = torch.full((64, 3, 16, 16), 0.3)
    assert torch.allclose(one(flat, "geometry"), flat)
    pictures = noise(64, 16)
    assert one(pictures, "geometry").abs().max() <= pictures.abs().max()


def test_between_pixels_and_beyond_the_edges_it_agrees_with_grid_sample() -> None:
    """Torch's own sampling, which cannot be differentiated twice, is right about everything else."""
    pictures = noise(8, 9).double()
    row, column = (
        torch.rand(8, 1, 9, 9, generator=stream(seed)).double() * 40 - 15 for seed in (1, 2)
    )
    grid = torch.stack([column[:, 0], row[:, 0]], dim=3).add(0.5).mul(2 / 9).sub(1)
    expected = F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)
    assert torch.allclose(_bilinear(pictures, row, column), expected)


# ---------------------------------------------------------------- how often


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_with_p_zero_every_bit_stays(operation: str, dtype: torch.dtype) -> None:
    pyramid = [noise(64, edge).to(dtype) for edge in (32, 28, 7)]
    for p in (0.0, torch.zeros(())):
        for before, after in zip(pyramid, augment(pyramid, (operation,), p, stream()), strict=True):
            assert after.dtype == before.dtype
            assert torch.equal(after, before)


@pytest.mark.parametrize(
    ("operation", "transformations"),
    [("flip", 1), ("geometry", 4), ("color", 3), ("hue", 1), ("translation", 1), ("cutout", 1)],
)
def test_each_transformation_happens_to_each_picture_with_probability_p(
    operation: str, transformations: int
) -> None:
    pictures = noise(4000, 12)
    touched = is_touched(pictures, one(pictures, operation, 0.3)).float().mean().item()
    happens = 1 - 0.7**transformations
    if operation == "flip":  # half of those it happens to stay as they were
        happens /= 2
    if operation == "translation":  # and a shift of less than half a pixel each way is none
        happens *= 1 - (0.5 / 1.5) ** 2
    assert touched == pytest.approx(happens, abs=0.025)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_untouched_pictures_beside_touched_ones_keep_every_bit(operation: str) -> None:
    pictures = noise(256, 16)
    after = one(pictures, operation, 0.3)
    untouched = ~is_touched(pictures, after)
    close = (pictures - after).abs().flatten(1).amax(1) < 1e-4
    assert 0 < untouched.sum() < 256
    assert torch.equal(untouched, close)


def test_p_on_the_device_does_what_the_number_does() -> None:
    pictures = noise(32)
    expected = augment([pictures], OPERATIONS, 0.6, stream())
    assert torch.equal(augment([pictures], OPERATIONS, torch.tensor(0.6), stream())[0], expected[0])


# ---------------------------------------------------------------- randomness


def test_the_same_stream_draws_the_same_and_goes_on_where_it_was_saved() -> None:
    pictures, first = noise(8), stream()
    augment([pictures], OPERATIONS, 0.8, first)
    saved = first.get_state()
    expected = augment([pictures], OPERATIONS, 0.8, first)[0]
    resumed = torch.Generator()
    resumed.set_state(saved)
    assert torch.equal(augment([pictures], OPERATIONS, 0.8, resumed)[0], expected)
    assert not torch.equal(augment([pictures], OPERATIONS, 0.8, resumed)[0], expected)


def test_what_is_drawn_does_not_depend_on_p_or_on_the_resolutions() -> None:
    after = []
    for pictures, p in (([noise(8)], 0.0), ([noise(8)], 1.0), ([noise(8, 32), noise(8)], 0.5)):
        used = stream()
        augment(pictures, OPERATIONS, p, used)
        after.append(used.get_state())
    assert torch.equal(after[0], after[1])
    assert torch.equal(after[0], after[2])


def test_the_global_random_stream_is_left_alone() -> None:
    before = torch.get_rng_state()
    one(noise(), ",".join(OPERATIONS))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------- pyramids


@pytest.mark.parametrize("operation", [*OPERATIONS, ",".join(OPERATIONS)])
def test_every_resolution_gets_the_same_transformation(operation: str) -> None:
    """A smooth pyramid stays one: the coarse pictures are still the fine ones made small."""
    fine = F.interpolate(noise(64, 4), size=(64, 64), mode="bicubic")
    pyramid = [fine, F.avg_pool2d(fine, 2), F.avg_pool2d(fine, 4)]
    augmented = augment(pyramid, parse_operations(operation), 1.0, stream())
    others = augment(pyramid, parse_operations(operation), 1.0, stream(1))
    for level, shrink in ((1, 2), (2, 4)):
        made_small = F.avg_pool2d(augmented[0], shrink)
        # Rounding to whole pixels differs by up to half a coarse pixel.
        difference = (augmented[level] - made_small).abs().flatten(1).mean(1)
        by_chance = (others[level] - made_small).abs().flatten(1).mean(1)
        assert difference.mean() < 0.25 * by_chance.mean()
        assert difference.median() < 0.06


def test_a_shift_by_whole_coarse_pixels_is_exact_at_every_resolution() -> None:
    fine = noise(500, 32)
    pyramid = [fine, F.avg_pool2d(fine, 2)]
    augmented = augment(pyramid, ("translation",), 1.0, stream())
    exact = (F.avg_pool2d(augmented[0], 2) - augmented[1]).abs().flatten(1).amax(1) < 1e-6
    assert exact.float().mean() > 0.15  # even shifts both ways


def test_the_result_is_channels_last_whatever_came() -> None:
    for pictures in (noise(), noise().to(memory_format=torch.channels_last)):
        after = one(pictures, "geometry,color,translation")
        assert after.shape == pictures.shape
        assert after.is_contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("operation", [*OPERATIONS, "color,translation,cutout"])
def test_the_generator_learns_through_it(operation: str) -> None:
    """Against finite differences."""
    pictures = noise(1, 6).double().requires_grad_()
    if operation != "flip":
        assert is_touched(pictures, one(pictures, operation, 1.0, seed=4)).all()
    shown = partial(one, operations=operation, p=1.0, seed=4)
    assert torch.autograd.gradcheck(shown, (pictures,), fast_mode=True)


def test_no_operation_waits_for_the_device() -> None:
    """Tensors without values: whatever asked for one (`.item()`, an `if`) would fail."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        pyramid = [torch.rand(4, 3, edge, edge) for edge in (16, 8)]
        augmented = augment(pyramid, OPERATIONS, torch.rand(()), torch.Generator())
        assert [tuple(a.shape) for a in augmented] == [(4, 3, 16, 16), (4, 3, 8, 8)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_operation_waits_for_a_graphics_card() -> None:
    pyramid = [noise(8, edge).cuda() for edge in (32, 16)]
    p, cuda_stream = torch.tensor(0.8, device="cuda"), torch.Generator("cuda").manual_seed(0)
    augment(pyramid, OPERATIONS, p, cuda_stream)
    torch.cuda.set_sync_debug_mode("error")
    try:
        augmented = augment(pyramid, OPERATIONS, p, cuda_stream)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert augmented[0].device == pyramid[0].device
    untouched = augment(pyramid, OPERATIONS, torch.zeros((), device="cuda"), cuda_stream)
    assert all(map(torch.equal, untouched, pyramid))


# ---------------------------------------------------------------- leaking


def ramps(edge: int = 8) -> Tensor:
    """Four pictures, strong to weak, with a left, a top and colours of their own."""
    across = torch.linspace(-0.6, 0.6, edge).expand(edge, edge)
    down = across.T.flip(0)
    return torch.stack(
        [
            torch.stack([across, down * s, torch.full((edge, edge), 0.3 * s)])
            for s in (1, 0.7, 0.4, 0.1)
        ]
    )


def small_discriminator(edge: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(3 * edge * edge, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)
    )


def learnt_share_of_augmented(operation: str, p: float) -> float:
    """What becomes of a generator that paints augmented-looking pictures half of the time.

    It has one parameter: with probability `share` it paints a real picture to which the operation
    was already done, else a plain one. Everything it paints is augmented with p before a
    discriminator sees it, as the reals are. The loss is exact in `share` (both kinds are shown and
    weighted), so that only the discriminator's opinion moves it.
    """
    torch.manual_seed(0)
    pictures, random = ramps(), stream()
    discriminator = small_discriminator()
    d_optimiser = torch.optim.Adam(discriminator.parameters(), 3e-3, (0.5, 0.99))
    logit = torch.zeros((), requires_grad=True)
    g_optimiser = torch.optim.SGD([logit], 10.0)

    def shown(probability: float, x: Tensor | None = None) -> Tensor:
        x = pictures[torch.randint(4, (64,), generator=random)] if x is None else x
        return augment([x], (operation,), probability, random)[0]

    for _ in range(200):
        real = discriminator(shown(p))
        plain = discriminator(shown(p))
        augmented = discriminator(shown(p, shown(1.0)))
        share = logit.sigmoid()
        fake_loss = (1 - share.detach()) * F.softplus(plain) + share.detach() * F.softplus(
            augmented
        )
        d_optimiser.zero_grad()
        (F.softplus(-real) + fake_loss).mean().backward()
        d_optimiser.step()
        g_loss = (1 - share) * F.softplus(-plain.detach()) + share * F.softplus(-augmented.detach())
        g_optimiser.zero_grad()
        g_loss.mean().backward()
        g_optimiser.step()
    return logit.sigmoid().item()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_up_to_max_p_augmented_looking_pictures_die_out(operation: str) -> None:
    assert learnt_share_of_augmented(operation, MAX_P) < 0.2


@pytest.mark.parametrize("operation", sorted(set(OPERATIONS) - LEAKING_WHEN_CERTAIN))
def test_diffaugments_operations_do_not_leak_even_when_certain(operation: str) -> None:
    """Two holes or borders are not one: the discriminator knows what was done twice."""
    assert learnt_share_of_augmented(operation, 1.0) < 0.1


@pytest.mark.parametrize("operation", ["flip", "hue"])
def test_what_looks_the_same_done_twice_leaks_when_certain(operation: str) -> None:
    """The reason for MAX_P, and the proof that the tests above can fail."""
    assert 0.3 < learnt_share_of_augmented(operation, 1.0) < 0.7


def distance_learnt(operations: str, p: float) -> tuple[float, float]:
    """Root mean square distance from the real picture, before and after learning to paint it.

    The generator is one picture, learnt pixel by pixel through the augmentation, against a
    discriminator with R1 penalty. It begins as one that the operation may have made of the
    real one: upside down for `geometry`, else with its channels exchanged, a turn of the hue.
    """
    torch.manual_seed(0)
    real, random = ramps()[:1], stream()
    wrong = real.rot90(2, (2, 3)) if operations == "geometry" else real.roll(1, 1)
    painted = wrong.clone().requires_grad_()
    discriminator = small_discriminator()
    d_optimiser = torch.optim.Adam(discriminator.parameters(), 2e-3, (0.0, 0.99))
    g_optimiser = torch.optim.Adam([painted], 0.03, (0.0, 0.99))
    batch = real.repeat(32, 1, 1, 1).requires_grad_()

    def judged(x: Tensor) -> Tensor:
        logits: Tensor = discriminator(augment([x], parse_operations(operations), p, random)[0])
        return logits

    def distance() -> float:
        return (painted - real).square().mean().sqrt().item()

    before = distance()
    for _ in range(250):
        fakes = painted.expand(32, -1, -1, -1)
        real_logits, fake_logits = judged(batch), judged(fakes.detach())
        (slope,) = torch.autograd.grad(real_logits.sum(), batch, create_graph=True)
        d_loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        d_optimiser.zero_grad()
        (d_loss + 0.5 * slope.square().sum((1, 2, 3)).mean()).backward()
        d_optimiser.step()
        g_optimiser.zero_grad()
        F.softplus(-judged(fakes)).mean().backward()
        g_optimiser.step()
    return before, distance()


@pytest.mark.parametrize("operations", ["hue", "geometry", "color,translation,cutout"])
def test_a_generator_learns_the_untouched_picture_through_the_augmentation(operations: str) -> None:
    before, after = distance_learnt(operations, MAX_P)
    assert after < 0.3 * before


@pytest.mark.parametrize("operation", ["hue", "geometry"])
def test_what_is_always_turned_is_never_learnt(operation: str) -> None:
    before, after = distance_learnt(operation, 1.0)
    assert after > 0.7 * before


# ---------------------------------------------------------------- the controller


def test_p_climbs_from_nothing_to_its_cap_over_500_kimg_of_overfitting() -> None:
    controller = AdaController()
    assert controller.adjust(1.0, 64) == pytest.approx(64 / 500_000)
    for _ in range(390_000 // 64):
        controller.adjust(0.9, 64)
    assert controller.p == pytest.approx(0.78, abs=0.001)
    for _ in range(200_000 // 64):
        controller.adjust(0.9, 64)
    assert controller.p == MAX_P


def test_p_falls_back_when_the_discriminator_stops_overfitting_and_never_below_zero() -> None:
    controller = AdaController()
    controller.load_state_dict({"p": 0.5})
    assert controller.adjust(0.2, 50_000) == pytest.approx(0.4)
    assert controller.adjust(0.6, 50_000) == pytest.approx(0.4)  # on target: nothing to do
    for _ in range(20):
        controller.adjust(-0.3, 50_000)
    assert controller.p == 0.0


def test_target_speed_and_cap_can_be_chosen_but_the_cap_not_raised() -> None:
    eager = AdaController(target=0.3, max_p=0.5, speed_kimg=100)
    assert eager.adjust(0.4, 10_000) == pytest.approx(0.1)
    assert eager.adjust(0.4, 90_000) == 0.5
    assert AdaController(max_p=1.0).adjust(0.9, 10_000_000) == MAX_P


def test_a_signal_that_is_no_number_moves_nothing() -> None:
    controller = AdaController()
    controller.load_state_dict({"p": 0.3})
    assert controller.adjust(math.nan, 1000) == 0.3


def test_the_controller_goes_on_where_it_was_saved() -> None:
    whole, first, second = AdaController(), AdaController(), AdaController()
    signals = [0.9, 0.7, 0.1, 0.65, 0.8]
    for r_t in signals:
        whole.adjust(r_t, 1000)
    for r_t in signals[:2]:
        first.adjust(r_t, 1000)
    second.load_state_dict(first.state_dict())
    for r_t in signals[2:]:
        second.adjust(r_t, 1000)
    assert second.state_dict() == whole.state_dict()
    lower_cap = AdaController(max_p=0.2)
    lower_cap.load_state_dict({"p": 0.7})
    assert lower_cap.p == 0.2


def test_the_controller_finds_the_p_at_which_overfitting_is_on_target() -> None:
    """A discriminator whose r_t falls as p rises, crossing the target at p = 0.4."""
    controller = AdaController(speed_kimg=100)
    for _ in range(2000):
        controller.adjust(1.0 - controller.p, 64)
    assert controller.p == pytest.approx(0.4, abs=0.005)


# ---------------------------------------------------------------- fading out


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 1.0])
def test_p_is_whole_until_the_fade_and_nothing_at_the_end(share: float) -> None:
    assert fade(0.7, 0.0, share) == 0.7
    assert fade(0.7, 1 - share, share) == 0.7
    assert fade(0.7, 1 - share / 2, share) == pytest.approx(0.35)
    assert fade(0.7, 1.0, share) == 0.0
    assert fade(0.7, 1.01, share) == 0.0  # the last batch may pass the budget
    course = [fade(0.7, i / 1000, share) for i in range(1001)]
    steps = np.diff(course)
    assert (steps <= 0).all()
    assert -steps.min() <= 0.7 / (share * 1000) * 1.001  # no jump


def test_without_a_fade_p_stays() -> None:
    assert fade(0.7, 0.5, 0.0) == fade(0.7, 1.0, 0.0) == fade(0.7, 1.2, 0.0) == 0.7


# ---------------------------------------------------------------- flat backgrounds


def figures(
    count: int, background: int | tuple[int, int, int], seed: int = 0, edge: int = 64
) -> np.ndarray:
    """Textured boxes standing on `background`, as high as the picture and cut off below."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, edge, edge, 3), np.uint8)
    images[:] = background
    for image in images:
        left, width = rng.integers(4, edge // 2), rng.integers(10, edge // 2 - 4)
        top = rng.integers(3, edge // 2)
        image[top:, left : left + width] = rng.integers(0, 256, (edge - top, width, 3))
    return images


def test_figures_on_one_colour_have_a_flat_background() -> None:
    paper = figures(100, (236, 225, 203)).astype(np.int16)
    compressed = paper + np.random.default_rng(1).integers(-6, 7, paper.shape)
    assert has_flat_background(compressed.clip(0, 255).astype(np.uint8))
    assert has_flat_background(figures(100, 255))
    assert has_flat_background(figures(16, 0, edge=32))


def test_some_full_pictures_among_them_change_nothing() -> None:
    rng = np.random.default_rng(0)
    full = rng.integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)
    assert has_flat_background(np.concatenate([full, figures(70, 255)]))
    assert not has_flat_background(np.concatenate([figures(30, 255), *[full] * 3]))


def test_pictures_to_their_edges_have_none() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (100, 4, 4, 3))
    assert not has_flat_background(coarse.repeat(16, 1).repeat(16, 2).astype(np.uint8))
    # Plain pictures, each in another colour: there is no background to be told apart from.
    plain = np.broadcast_to(rng.integers(0, 256, (100, 1, 1, 3), dtype=np.uint8), (100, 32, 32, 3))
    assert not has_flat_background(plain)

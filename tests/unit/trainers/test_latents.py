"""From a seed to a latent vector."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from tests.trainer_fixtures import ENVIRONMENT
from trainers.descent import MAX_GENERATION, Breed, Descent, Vary
from trainers.errors import RecipeRefused
from trainers.latents import bred, latent_for, latent_of, latents_for, varied


def test_a_seed_gives_the_same_vector_in_any_company() -> None:
    alone = latent_for(7, 100)
    assert torch.equal(latents_for([1, 7, 9], 100)[1], alone)
    torch.manual_seed(1)
    torch.randn(10)
    assert torch.equal(latent_for(7, 100), alone)


def test_drawing_leaves_the_global_random_stream_alone() -> None:
    before = torch.get_rng_state()
    latent_for(7, 100)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_process_draws_the_same_bits() -> None:
    script = "from trainers.latents import latent_for; print(latent_for(123456789, 5).tolist())"
    told = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == str(latent_for(123456789, 5).tolist())


def test_published_seeds_keep_their_vectors() -> None:
    """Works are reproduced from seeds for years: should torch change its stream, we must know."""
    assert latent_for(1, 3).tolist() == pytest.approx([0.66135216, 0.26692411, 0.06167726])


def test_vectors_are_standard_normal() -> None:
    z = latents_for(list(range(400)), 100)
    assert (z.shape, z.dtype) == ((400, 100), torch.float32)
    assert z.mean().item() == pytest.approx(0, abs=0.02)
    assert z.std().item() == pytest.approx(1, abs=0.02)


def test_truncation_scales_towards_the_middle() -> None:
    assert torch.allclose(latent_for(7, 50, 0.5), latent_for(7, 50) / 2)
    assert not latent_for(7, 50, 0.0).any()


@pytest.mark.parametrize("seed", [0, 2**31, 2**53 - 1, 2**63 - 1])
def test_large_seeds_work_and_differ(seed: int) -> None:
    assert torch.isfinite(latent_for(seed, 4)).all()
    assert not torch.equal(latent_for(seed, 4), latent_for(seed + 1 if seed == 0 else 0, 4))


# ---------------------------------------------------------------- children


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.double(), other.double(), dim=0))


@pytest.mark.parametrize(("strength", "expected"), [(0.1, 1.00), (0.25, 0.97), (0.5, 0.87)])
def test_a_variation_is_as_near_to_its_parent_as_its_strength_says(
    strength: float, expected: float
) -> None:
    found = [
        cosine(
            latent_for(seed, 256),
            varied(latent_for(seed, 256), latent_for(9000 + seed, 256), strength),
        )
        for seed in range(200)
    ]
    assert sum(found) / len(found) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("strength", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_variations_have_the_spread_of_what_the_generator_was_trained_on(strength: float) -> None:
    children = torch.stack(
        [varied(latent_for(n, 256), latent_for(9000 + n, 256), strength) for n in range(400)]
    )
    assert children.dtype == torch.float32
    assert children.var().item() == pytest.approx(1, abs=0.02)
    assert children.mean().item() == pytest.approx(0, abs=0.02)


def test_so_have_the_variations_of_variations_down_to_the_last_generation() -> None:
    def line(seed: int) -> Descent:
        descent = Descent(seed)
        for step in range(MAX_GENERATION):
            descent = Descent(1000 * (step + 1) + seed, Vary(0.5, descent))
        return descent

    last = torch.stack([latent_of(line(seed), 256) for seed in range(200)])
    assert last.var().item() == pytest.approx(1, abs=0.03)
    near = [cosine(latent_of(line(seed), 256), latent_for(seed, 256)) for seed in range(50)]
    assert sum(near) / len(near) == pytest.approx(math.sqrt(0.75) ** MAX_GENERATION, abs=0.03)


def test_nothing_of_a_parent_is_changed_at_strength_0_and_left_at_1() -> None:
    z, noise = latent_for(1, 100), latent_for(2, 100)
    assert torch.equal(varied(z, noise, 0.0), z)
    assert torch.equal(varied(z, noise, 1.0), noise)


def test_breeding_ends_at_each_parent_to_the_bit() -> None:
    one, other = latent_for(1, 256), latent_for(2, 256)
    assert torch.equal(bred(one, other, 0.0), one)
    assert torch.equal(bred(one, other, 1.0), other)


@pytest.mark.parametrize("share", [0.35, 0.5, 0.65])
def test_what_is_bred_is_as_long_as_its_parents_and_turned_by_its_share(share: float) -> None:
    for seed in range(100):
        one, other = latent_for(seed, 256), latent_for(9000 + seed, 256)
        child = bred(one, other, share)
        length = (1 - share) * one.double().norm() + share * other.double().norm()
        assert child.double().norm().item() == pytest.approx(length.item(), rel=1e-6)
        whole = math.acos(cosine(one, other))
        assert math.acos(cosine(one, child)) == pytest.approx(share * whole, abs=1e-5)
        assert math.acos(cosine(child, other)) == pytest.approx((1 - share) * whole, abs=1e-5)


def test_breeding_the_other_way_round_is_the_same_way_back() -> None:
    one, other = latent_for(1, 64), latent_for(2, 64)
    assert torch.allclose(bred(one, other, 0.35), bred(other, one, 0.65), rtol=0, atol=1e-6)


def test_parents_that_point_the_same_way_have_children_there_and_opposites_have_none() -> None:
    z = latent_for(1, 64)
    assert torch.allclose(bred(z, z, 0.35), z)
    assert torch.allclose(bred(z, 3 * z, 0.5), 2 * z)
    with pytest.raises(RecipeRefused, match="opposites"):
        bred(z, -z, 0.5)


def test_a_latent_follows_from_its_descent_alone() -> None:
    varied_once = Descent(8, Vary(0.25, Descent(7)))
    child = Descent(10, Breed(0.35, (varied_once, Descent(3))))
    expected = bred(varied(latent_for(7, 16), latent_for(8, 16), 0.25), latent_for(3, 16), 0.35)
    assert torch.equal(latent_of(child, 16), expected)
    assert torch.equal(latent_of(Descent(7), 16), latent_for(7, 16))


def test_published_children_keep_their_vectors() -> None:
    """As above, and the arithmetic besides."""
    child = Descent(5, Breed(0.35, (Descent(4, Vary(0.25, Descent(1))), Descent(2))))
    assert latent_of(child, 3).tolist() == pytest.approx([0.57572407, 0.11435425, 0.32687607])

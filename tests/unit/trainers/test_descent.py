"""What a recipe says of a picture's parents."""

from __future__ import annotations

import json

import pytest

from trainers.descent import MAX_GENERATION, Breed, Descent, Vary, latent_to_json, read_descent
from trainers.errors import RecipeRefused

FAMILY = Descent(9, Breed(0.35, (Descent(8, Vary(0.25, Descent(7))), Descent(3))))
AS_JSON = {
    "breed": 0.35,
    "of": [{"seed": 8, "latent": {"vary": 0.25, "of": {"seed": 7}}}, {"seed": 3}],
}


def test_a_descent_is_written_into_a_recipe_and_read_from_it() -> None:
    assert FAMILY.latent is not None
    assert latent_to_json(FAMILY.latent) == AS_JSON
    assert read_descent(9, json.loads(json.dumps(AS_JSON))) == FAMILY
    assert read_descent(7, None) == Descent(7)


def test_a_generation_is_one_more_than_the_elder_parents() -> None:
    assert [d.generation for d in (Descent(7), *FAMILY.parents, FAMILY)] == [0, 1, 0, 2]


def bred_down_to(generation: int) -> Descent:
    descent = Descent(2**53 - 1)
    for _ in range(generation):
        descent = Descent(2**53 - 1, Breed(0.35, (descent, descent)))
    return descent


def test_the_last_generation_is_read_whole_and_no_larger_than_a_receiver_takes() -> None:
    last = bred_down_to(MAX_GENERATION)
    assert last.latent is not None
    written = json.dumps(latent_to_json(last.latent))
    assert len(written) < 32_000
    assert read_descent(last.seed, json.loads(written)) == last
    beyond = Descent(1, Vary(0.25, last))
    assert beyond.latent is not None
    with pytest.raises(RecipeRefused, match="more than 8 generations"):
        read_descent(1, latent_to_json(beyond.latent))


@pytest.mark.parametrize(
    ("seed", "latent", "words"),
    [
        ("7", None, "a seed that is none: '7'"),
        (True, None, "a seed that is none: True"),
        (-1, None, "a seed that is none: -1"),
        (2**63, None, "a seed that is none"),
        (7, {}, "a latent that this artbot does not know: {}"),
        (7, [], "a latent that this artbot does not know"),
        (7, {"vary": 0.25}, "a latent that this artbot does not know"),
        (7, {"vary": "0.25", "of": {"seed": 1}}, "a latent that this artbot does not know"),
        (
            7,
            {"vary": 0.25, "of": {"seed": 1}, "by": "w"},
            "a latent that this artbot does not know",
        ),
        (7, {"vary": 1.5, "of": {"seed": 1}}, "not within 0 and 1: 1.5"),
        (7, {"vary": float("nan"), "of": {"seed": 1}}, "not within 0 and 1: nan"),
        (7, {"vary": 0.25, "of": {}}, "a seed that is none: None"),
        (7, {"vary": 0.25, "of": {"seed": 1, "psi": 1}}, "of a parent that is not known: 'psi'"),
        (7, {"breed": 0.5, "of": [{"seed": 1}]}, "a latent that this artbot does not know"),
        (7, {"breed": 0.5, "of": [{"seed": 1}] * 3}, "a latent that this artbot does not know"),
    ],
)
def test_what_is_no_descent_is_refused_by_name(seed: object, latent: object, words: str) -> None:
    with pytest.raises(RecipeRefused) as refused:
        read_descent(seed, latent)
    assert words in str(refused.value)

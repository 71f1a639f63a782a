"""How a latent came to be: drawn from a seed, varied from another one, or bred from two.

A recipe holds it as JSON, nested as deep as the family is, so that no other row is needed to paint again:

    {"seed": 7}
    {"seed": 8, "latent": {"vary": 0.25, "of": {"seed": 7}}}
    {"seed": 9, "latent": {"breed": 0.5, "of": [{"seed": 7}, {"seed": 3}]}}

Says what is to be computed; `trainers.latents` does it. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainers.errors import RecipeRefused

MAX_GENERATION = 8
"""The children of a drawn latent are generation 1. A breeding takes in two whole families: those of the eighth
generation hold up to 256 seeds, 23 kB that every copy of the recipe carries. After eight strong variations a
latent is no nearer to the first one (cosine 0.32) than most people would call alike."""


@dataclass(frozen=True)
class Vary:
    """Near another latent: sqrt(1 - strength²) of it and `strength` of the noise of one's own seed."""

    strength: float
    """0: the same, 1: nothing of it is left."""
    of: Descent


@dataclass(frozen=True)
class Breed:
    """Between two latents."""

    share: float
    """Of the way from the first to the second, 0 to 1."""
    of: tuple[Descent, Descent]


@dataclass(frozen=True)
class Descent:
    """Where one latent comes from."""

    seed: int
    """Draws the latent itself, or the noise of `vary`; `breed` draws nothing."""
    latent: Vary | Breed | None = None
    """None: drawn."""

    @property
    def parents(self) -> tuple[Descent, ...]:
        """None, one or two."""
        if self.latent is None:
            return ()
        return (self.latent.of,) if isinstance(self.latent, Vary) else self.latent.of

    @property
    def generation(self) -> int:
        """0 if it was drawn, else one more than its parents."""
        return max((1 + parent.generation for parent in self.parents), default=0)

    def to_json(self) -> dict[str, object]:
        if self.latent is None:
            return {"seed": self.seed}
        return {"seed": self.seed, "latent": latent_to_json(self.latent)}


def latent_to_json(latent: Vary | Breed) -> dict[str, object]:
    """What a recipe holds under "latent"."""
    if isinstance(latent, Vary):
        return {"vary": latent.strength, "of": latent.of.to_json()}
    return {"breed": latent.share, "of": [parent.to_json() for parent in latent.of]}


def read_descent(seed: object, latent: object) -> Descent:
    """Of a seed and what its recipe holds under "latent", None if it holds nothing.

    Raises RecipeRefused for what is none, and for a generation beyond MAX_GENERATION.
    """
    return _read(seed, latent, MAX_GENERATION)


def _read(seed: object, latent: object, generations_left: int) -> Descent:
    # JSON's true is no seed, though Python takes it for 1.
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise RecipeRefused(f"the recipe has a seed that is none: {seed!r}")
    if latent is None:
        return Descent(seed)
    if generations_left == 0:
        raise RecipeRefused(f"the recipe goes back more than {MAX_GENERATION} generations")
    match latent:
        case {"vary": int() | float() as strength, "of": {**node}, **rest} if not rest:
            return Descent(seed, Vary(_share(strength), _read_node(node, generations_left - 1)))
        case {"breed": int() | float() as share, "of": [{**one}, {**other}], **rest} if not rest:
            parents = (
                _read_node(one, generations_left - 1),
                _read_node(other, generations_left - 1),
            )
            return Descent(seed, Breed(_share(share), parents))
    raise RecipeRefused(f"the recipe has a latent that this artbot does not know: {latent!r}"[:200])


def _read_node(node: dict[object, object], generations_left: int) -> Descent:
    if odd := [key for key in node if key not in ("seed", "latent")]:
        raise RecipeRefused(f"the recipe says something of a parent that is not known: {odd[0]!r}")
    return _read(node.get("seed"), node.get("latent"), generations_left)


def _share(number: float) -> float:
    if not 0 <= number <= 1:
        raise RecipeRefused(f"the recipe has a share that is not within 0 and 1: {number!r}")
    return float(number)

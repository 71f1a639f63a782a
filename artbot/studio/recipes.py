"""A candidate's recipe: with the seed, all that its picture depends on besides the generator.

    version 1   {"version": 1, "truncation_psi": 1.0, "class": "rose"}: its latent is drawn from its seed
    version 2   the same, and "latent": it descends from others, as `trainers.descent` says

`class` is there where the generator knows classes. What was written once is read so for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trainers.descent import Descent, latent_to_json, read_descent
from trainers.errors import RecipeRefused


@dataclass(frozen=True)
class Recipe:
    """With the seed, which is the descent's own."""

    descent: Descent
    truncation_psi: float
    class_name: str | None
    """None: the generator knows no classes (or an older artbot wrote it: the seed gives the class)."""

    def to_json(self) -> dict[str, object]:
        """What stands in the candidate's row, in its file and in what is sent of it."""
        latent = self.descent.latent
        written: dict[str, object] = {
            "version": 1 if latent is None else 2,
            "truncation_psi": self.truncation_psi,
        }
        if self.class_name:
            written["class"] = self.class_name
        if latent is not None:
            written["latent"] = latent_to_json(latent)
        return written


def read_recipe(seed: int, written: Mapping[str, object]) -> Recipe:
    """Raises RecipeRefused."""
    version, psi = written.get("version", 1), written.get("truncation_psi")
    class_name = written.get("class")
    if version not in (1, 2):
        raise RecipeRefused(f"the recipe has version {version!r}; this artbot knows 1 and 2")
    if not isinstance(psi, int | float):
        raise RecipeRefused(f"the recipe has a truncation_psi that is none: {psi!r}")
    if class_name is not None and not isinstance(class_name, str):
        raise RecipeRefused(f"the recipe has a class that is none: {class_name!r}")
    latent = written.get("latent") if version == 2 else None
    if version == 2 and latent is None:
        raise RecipeRefused("the recipe has version 2 and no latent")
    return Recipe(read_descent(seed, latent), psi, class_name)

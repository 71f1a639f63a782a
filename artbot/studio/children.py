"""More like this: a picture that somebody likes gets children. Plans them; artbot.studio.batch paints them.

A child is a candidate of its (first) parent's batch, painted by its parent's generator. Its recipe holds the whole
descent, so it can be painted again whatever becomes of the parents. Nothing is planned that could not be painted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session, joinedload

from artbot.domain.candidate import CANDIDATE, CandidateState
from artbot.domain.seeds import seed_for
from artbot.errors import NotAllowed, UsageError
from artbot.studio.batch import Studio, kept_generator
from artbot.studio.recipes import Recipe, read_recipe
from db.models import Candidate
from trainers.descent import MAX_GENERATION, Breed, Descent, Vary
from trainers.errors import CheckpointRefused, RecipeRefused
from trainers.manifest import Manifest, class_for, read_manifest


class Strength(StrEnum):
    """How far a variation goes."""

    SUBTLE = "subtle"
    STRONG = "strong"


STRENGTHS = {Strength.SUBTLE: 0.25, Strength.STRONG: 0.5}
"""As `vary` takes them: a latent whose cosine to its parent's is 0.97, or 0.87."""
SHARES = (0.35, 0.5, 0.65)
"""Of the way from one parent to the other: two that take after one, and one between them."""
MOST_AT_ONCE = 24
"""Of one wish: as many as a day's batch has."""


def vary(studio: Studio, candidate_id: int, strength: Strength, count: int) -> list[Candidate]:
    """Plan `count` variations of a candidate; asked again, as many others.

    Raises UsageError (no such candidate, too many at once), NotAllowed (it has no picture, is of the last
    generation, or its generator cannot be used).
    """
    if not 1 <= count <= MOST_AT_ONCE:
        raise UsageError(f"{count} variations: ask for 1 to {MOST_AT_ONCE} at once.")
    parent = _painted(studio, candidate_id)
    recipe = _recipe_of(parent, _generator_of(studio, parent))
    latent = Vary(STRENGTHS[strength], recipe.descent)
    with studio.database.write() as session:
        now = studio.clock()
        return [_plan(session, [parent], recipe, latent, now) for _ in range(count)]


def breed(studio: Studio, one_id: int, other_id: int) -> list[Candidate]:
    """Plan the children of two candidates, one for each of SHARES. Those that they have already are returned
    instead of planned again: there is no chance in it.

    Raises as `vary` does, UsageError also for one and the same, NotAllowed also for works of two generators.
    """
    parents = [_painted(studio, number) for number in (one_id, other_id)]
    one, other = parents
    if one.id == other.id:
        raise UsageError(f"{_called(one)} cannot be bred with itself: name two works.")
    if one.checkpoint_sha256 != other.checkpoint_sha256:
        raise NotAllowed(
            f"{_called(one)} was painted by {one.checkpoint.name}, {_called(other)} by {other.checkpoint.name}: "
            "what a latent means to one generator it does not mean to another. Breed two works of one generator "
            f"(artbot show tells which it was), or vary one: artbot vary {one.id}"
        )
    generator = _generator_of(studio, one)
    recipe, other_recipe = (_recipe_of(parent, generator) for parent in parents)
    descents = (recipe.descent, other_recipe.descent)
    with studio.database.write() as session:
        there, now = _bred_before(session, one, other, recipe), studio.clock()
        return [
            there.get(share) or _plan(session, parents, recipe, Breed(share, descents), now)
            for share in SHARES
        ]


def seed_of_child(parents: Sequence[str], latent: Vary | Breed, index: int) -> int:
    """The seed of the child of these parents, given by name, that is `index`-th in its batch."""
    method = f"vary {latent.strength}" if isinstance(latent, Vary) else f"breed {latent.share}"
    return seed_for(" ".join((method, *parents)), index)


def is_of_last_generation(candidate: Candidate) -> bool:
    """Whether no recipe could hold the descent of its children; also if its own cannot be read."""
    try:
        return read_recipe(candidate.seed, candidate.recipe).descent.generation >= MAX_GENERATION
    except RecipeRefused:
        return True


def fault_in_descent(child: Candidate, parents: Sequence[Candidate]) -> str | None:
    """Why this child cannot have been made from these parents; None if all follows from them."""
    try:
        descent = read_recipe(child.seed, child.recipe).descent
        descents = tuple(read_recipe(one.seed, one.recipe).descent for one in parents)
    except RecipeRefused as refused:
        return f"{child.name}: {refused}"
    if descent.latent is None or descent.parents != descents:
        return f"{child.name} has other parents in its recipe than in its row"
    if child.seed != seed_of_child([one.name for one in parents], descent.latent, child.index):
        return f"{child.name} has a seed that its parents do not give it"
    if child.batch_id != parents[0].batch_id:
        return f"{child.name} is in another batch than its parent"
    if any(one.checkpoint_sha256 != child.checkpoint_sha256 for one in parents):
        return f"{child.name} has another generator than its parents"
    return None


def _called(candidate: Candidate) -> str:
    return f"{candidate.id} ({candidate.name})"


def _painted(studio: Studio, candidate_id: int) -> Candidate:
    """One that has a picture which somebody may like."""
    with studio.database.read() as session:
        wanted = [joinedload(Candidate.checkpoint), joinedload(Candidate.batch)]
        candidate = session.get(Candidate, candidate_id, options=wanted)
    if candidate is None:
        raise UsageError(f"there is no candidate {candidate_id}. `artbot review --all` lists them.")
    if candidate.path is None:
        is_failed = candidate.state == CandidateState.FAILED
        why = "it could not be painted" if is_failed else "it is not painted yet"
        raise NotAllowed(f"{_called(candidate)} has no picture that others could be like: {why}.")
    return candidate


def _generator_of(studio: Studio, candidate: Candidate) -> Manifest:
    """Raises NotAllowed if what painted it can paint no more, now or for ever."""
    try:
        return read_manifest(kept_generator(studio, candidate.checkpoint_sha256))
    except CheckpointRefused as refused:
        raise NotAllowed(
            f"{_called(candidate)} can have no children now, as its generator {candidate.checkpoint.name} cannot "
            f"be used: {refused}. Put that checkpoint back into {studio.checkpoints}."
        ) from refused


def _recipe_of(candidate: Candidate, generator: Manifest) -> Recipe:
    """What its children take after; the class is named where the generator knows classes."""
    try:
        recipe = read_recipe(candidate.seed, candidate.recipe)
    except RecipeRefused as refused:
        raise NotAllowed(f"{_called(candidate)} can have no children: {refused}.") from refused
    if recipe.descent.generation >= MAX_GENERATION:
        raise NotAllowed(
            f"{_called(candidate)} is of generation {MAX_GENERATION}, and no recipe reaches back further. Go on "
            f"from one that came before it: artbot family {candidate.id}"
        )
    return replace(recipe, class_name=recipe.class_name or class_for(candidate.seed, generator))


def _bred_before(
    session: Session, one: Candidate, other: Candidate, recipe: Recipe
) -> dict[float, Candidate]:
    """The children that both have and that are what they would get now, by their share of the way from `one`."""
    children = session.scalars(
        select(Candidate).where(
            or_(
                and_(Candidate.parent_id == one.id, Candidate.other_parent_id == other.id),
                and_(Candidate.parent_id == other.id, Candidate.other_parent_id == one.id),
            ),
            Candidate.state != CandidateState.FAILED,
        )
    )
    there = {}
    for child in children:
        found = read_recipe(child.seed, child.recipe)
        looks = (found.truncation_psi, found.class_name)
        if isinstance(found.descent.latent, Breed) and looks == (
            recipe.truncation_psi,
            recipe.class_name,
        ):
            share = found.descent.latent.share
            there[share if child.parent_id == one.id else round(1 - share, 6)] = child
    return there


def _plan(
    session: Session,
    parents: Sequence[Candidate],
    recipe: Recipe,
    latent: Vary | Breed,
    now: datetime,
) -> Candidate:
    """Write down what the child is made from; `recipe` is its first parent's."""
    first = parents[0]
    last = session.scalars(
        select(func.max(Candidate.index)).where(Candidate.batch_id == first.batch_id)
    ).one()
    assert last is not None
    index = last + 1
    seed = seed_of_child([parent.name for parent in parents], latent, index)
    child = Candidate(
        batch_id=first.batch_id,
        index=index,
        name=f"{first.batch.key}-{index:02d}",
        seed=seed,
        checkpoint_sha256=first.checkpoint_sha256,
        recipe=replace(recipe, descent=Descent(seed, latent)).to_json(),
        parent_id=first.id,
        other_parent_id=parents[1].id if len(parents) == 2 else None,
        state=CANDIDATE.begin(CandidateState.PLANNED),
        planned_at=now,
    )
    session.add(child)
    session.flush()
    return child

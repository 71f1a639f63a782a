"""Who descends from whom: a work's ancestors and all that came of it. Asks and changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from artbot.studio.children import STRENGTHS
from db.engine import Database
from db.models import Candidate


@dataclass(frozen=True)
class Relative:
    """One work of a family."""

    id: int
    name: str
    state: str
    parent_ids: tuple[int, ...]
    """None, one or two; the first parent first."""
    method: str
    """`subtle variation`, `bred at 0.35`; empty where it has no parents."""


def family_of(database: Database, candidate_id: int) -> list[Relative]:
    """The work, its ancestors and all that descends from it, the oldest first; empty if there is no such work.
    Brothers and sisters are of its parents' families."""
    with database.read() as session:
        family: dict[int, Candidate] = {}
        up = _with_ids(session, {candidate_id})
        while up:
            family |= {work.id: work for work in up}
            up = _with_ids(session, {n for work in up for n in parents_of(work)} - family.keys())
        down = {candidate_id}
        while down:
            born = [child for child in children_of(session, down) if child.id not in family]
            family |= {work.id: work for work in born}
            down = {work.id for work in born}
    return [
        Relative(n, work.name, work.state, parents_of(work), method_of(work))
        for n, work in sorted(family.items())
    ]


def parents_of(candidate: Candidate) -> tuple[int, ...]:
    """Their numbers: none, one or two."""
    both = (candidate.parent_id, candidate.other_parent_id)
    return tuple(number for number in both if number is not None)


def children_of(session: Session, candidate_ids: Collection[int]) -> Sequence[Candidate]:
    """The children of any of these, in the order of their numbers."""
    is_child = or_(
        Candidate.parent_id.in_(candidate_ids), Candidate.other_parent_id.in_(candidate_ids)
    )
    return session.scalars(select(Candidate).where(is_child).order_by(Candidate.id)).all()


def method_of(candidate: Candidate) -> str:
    """How it came from its parents; empty where it has none."""
    match candidate.recipe.get("latent"):
        case {"vary": strength}:
            named = {number: name for name, number in STRENGTHS.items()}
            return f"{named.get(strength, strength)} variation"
        case {"breed": share}:
            return f"bred at {share}"
    return ""


def descent_words(session: Session, candidate: Candidate) -> str:
    """`subtle variation of daily-2026-11-21-03`; empty where it has no parents."""
    if not (parents := parents_of(candidate)):
        return ""
    names = " and ".join(work.name for work in _with_ids(session, parents))
    return f"{method_of(candidate)} {'of' if len(parents) == 1 else 'from'} {names}"


def _with_ids(session: Session, ids: Collection[int]) -> Sequence[Candidate]:
    """In the order in which they are named, should there be one."""
    found = session.scalars(select(Candidate).where(Candidate.id.in_(ids))).all()
    order = list(ids)
    return sorted(found, key=lambda work: order.index(work.id))

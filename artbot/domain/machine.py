"""State machines as data: which state may follow which, and what makes it so.

One table per kind of row. Use cases change a state by `Machine.begin` and `Machine.move` and in no other
way, the database holds the same moves and refuses others (migrations 0002, 0006 and 0007), and docs/states.md is drawn
from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

State = TypeVar("State", bound=StrEnum)


@dataclass(frozen=True)
class Move(Generic[State]):
    """One arrow."""

    was: State | None
    """None: the row is made in state `now`."""
    now: State
    when: str
    """What makes it so, in a few words."""


class Row(Protocol):
    """What has such a life."""

    state: str


@dataclass(frozen=True)
class Machine(Generic[State]):
    """The whole life of one kind of row."""

    name: str
    moves: tuple[Move[State], ...]

    def allows(self, was: State | str | None, now: State | str) -> bool:
        return any(move.was == was and move.now == now for move in self.moves)

    def begin(self, state: State) -> State:
        """For a row that is made in `state`. Raises AssertionError if none begins so."""
        self.require(None, state, "new")
        return state

    def move(self, row: Row, to: State) -> None:
        """Put `row` into state `to`. Raises AssertionError if no move leads there: what a person can
        cause is asked before, with `allows`."""
        self.require(row.state, to, getattr(row, "id", row))
        row.state = to

    def require(self, was: State | str | None, now: State | str, which: object) -> None:
        """For moves of ours that only a bug could make wrong. Raises AssertionError."""
        assert self.allows(was, now), f"{self.name} {which}: {was} -> {now}"

    def pairs(self) -> list[tuple[str, str]]:
        """(was, now) of every move, `was` empty for the first state; sorted."""
        return sorted((move.was or "", str(move.now)) for move in self.moves)


def draw(machines: Iterable[Machine[StrEnum]]) -> str:
    """docs/states.md: a Mermaid diagram and a table for each machine."""
    parts = [_HEADER]
    for machine in machines:
        arrows = [f"    {m.was or '[*]'} --> {m.now}" for m in machine.moves]
        rows = [f"| {m.was or '–'} | {m.now} | {m.when} |" for m in machine.moves]
        parts.append(
            f"## {machine.name.capitalize()}\n\n"
            + "\n".join(["```mermaid", "stateDiagram-v2", *arrows, "```"])
            + "\n\n"
            + "\n".join(["| from | to | when |", "|---|---|---|", *rows])
            + "\n"
        )
    return "\n".join(parts)


_HEADER = """# The life of a batch, a candidate, a delivery, a channel, a notice

Written by `make docs` from the tables in `artbot/domain/`; do not edit it here. The database refuses
every other move (a trigger on each table looks it up in `transitions`), whoever makes it.
"""

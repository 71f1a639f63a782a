"""The state machines: what they draw, and that the database holds everybody to them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from artbot import domain
from artbot.domain.candidate import BATCH, CANDIDATE, CandidateState
from artbot.domain.delivery import DELIVERY
from artbot.domain.machine import Machine, draw
from db.engine import Database
from db.models import (
    Batch,
    Candidate,
    ChannelStatus,
    Delivery,
    Notice,
    Transition,
)
from tests.unit.service.kit import (
    CHECKPOINT,
    NOON,
    SATURDAY,
    Stateful,
    a_checkpoint,
    put,
    route,
)

ALL: list[Machine[Any]] = list(domain.MACHINES)
CODE = Path(domain.__file__).parents[1]
DRAWN = Path(__file__).parents[3] / "docs" / "states.md"
STATES = {machine.name: sorted({str(move.now) for move in machine.moves}) for machine in ALL}
PAIRS = [
    (machine.name, was, now)
    for machine in ALL
    for was in STATES[machine.name]
    for now in STATES[machine.name]
    if was != now
]
BY_NAME = {machine.name: machine for machine in ALL}
TABLES = {"batch": "batches", "candidate": "candidates", "delivery": "deliveries", "channel": "channels", "notice": "notices"}  # fmt: skip


# The machines themselves


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_every_state_can_be_reached(machine: Machine[Any]) -> None:
    (state_type,) = {type(move.now) for move in machine.moves}
    for state in state_type:
        assert route(machine, state)[-1] == state


@pytest.mark.parametrize("machine", ALL, ids=lambda machine: machine.name)
def test_no_move_is_there_twice_and_each_says_what_makes_it_so(machine: Machine[Any]) -> None:
    pairs = machine.pairs()
    assert len(pairs) == len(set(pairs))
    assert all(move.when for move in machine.moves)
    assert all(move.was != move.now for move in machine.moves)


def assignments(path: Path) -> Iterator[int]:
    """Lines that put something into an attribute `state`."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "state"
            and isinstance(node.ctx, ast.Store)
        ):
            yield node.lineno


MADE = ("Batch", "Candidate", "Delivery", "ChannelStatus", "Notice")


def beginnings(path: Path) -> Iterator[tuple[str, str]]:
    """The rows that have a life, where they are made, and with which state."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in MADE:
            kind = ast.unparse(node.func)
            yield from ((kind, ast.unparse(k.value)) for k in node.keywords if k.arg == "state")


def test_every_use_case_moves_a_row_by_its_machine_and_in_no_other_way() -> None:
    """The database's own triggers are asked besides."""
    found = {
        f"{path.relative_to(CODE)}:{line}"
        for path in CODE.rglob("*.py")
        for line in assignments(path)
        if path.name != "machine.py"
    }
    assert found == set()
    begun = [made for path in CODE.rglob("*.py") for made in beginnings(path)]
    assert {kind for kind, _ in begun} == set(MADE)
    assert all(".begin(" in words for _, words in begun)


def test_a_machine_moves_a_row_and_refuses_what_no_arrow_leads_to() -> None:
    row = a_candidate(CANDIDATE.begin(CandidateState.PLANNED))
    CANDIDATE.move(row, CandidateState.PENDING)
    assert row.state == "pending"
    with pytest.raises(AssertionError, match=r"candidate .*: pending -> failed"):
        CANDIDATE.move(row, CandidateState.FAILED)
    assert row.state == "pending"
    with pytest.raises(AssertionError, match="candidate new: None -> approved"):
        CANDIDATE.begin(CandidateState.APPROVED)


def test_a_machine_answers_by_its_table_and_knows_words_as_well_as_states() -> None:
    assert CANDIDATE.allows(CandidateState.PENDING, CandidateState.APPROVED)
    assert CANDIDATE.allows("pending", "approved")
    assert CANDIDATE.allows(None, "planned")
    assert not CANDIDATE.allows(None, "pending")
    assert not CANDIDATE.allows("rejected", "approved")
    assert not CANDIDATE.allows("pending", "pending")


def test_a_move_that_only_a_bug_could_make_names_the_row() -> None:
    CANDIDATE.require("pending", "approved", 7)
    with pytest.raises(AssertionError, match="candidate 7: rejected -> approved"):
        CANDIDATE.require("rejected", "approved", 7)


def test_the_drawing_has_every_move_as_an_arrow_and_as_a_row_with_its_reason() -> None:
    drawn = draw(ALL)
    assert drawn.count("stateDiagram-v2") == len(ALL)
    for machine in ALL:
        _, _, part = drawn.partition(f"## {machine.name.capitalize()}\n")
        part = part.partition("\n## ")[0]
        for move in machine.moves:
            assert f"    {move.was or '[*]'} --> {move.now}\n" in part
            assert f"| {move.was or '–'} | {move.now} | {move.when} |\n" in part
        assert part.count("-->") == part.count("\n| ") - 1 == len(machine.moves)


def test_the_documented_drawing_is_of_these_machines() -> None:
    assert DRAWN.read_text("utf-8") == draw(ALL), "run `make docs`"


# The database


def test_a_fresh_database_knows_exactly_the_moves_of_the_domain(database: Database) -> None:
    with database.read() as session:
        rows = session.scalars(select(Transition)).all()
    for machine in ALL:
        stored = sorted((row.was, row.now) for row in rows if row.entity == machine.name)
        assert stored == machine.pairs(), machine.name
    assert {row.entity for row in rows} == set(BY_NAME)


@pytest.fixture(scope="module")
def shared(shared_database: Database) -> Database:
    """One database for hundreds of refusals; every example is rolled back."""
    with shared_database.write() as session:
        session.add(a_checkpoint())
        put(session, a_batch("planned", "for candidates"))
        session.flush()
        put(session, a_candidate("planned", index=1))
    return shared_database


def a_batch(state: str, key: str = "b") -> Batch:
    """With everything that any state asks for."""
    return Batch(
        key=key,
        schedule=key,
        local_date=SATURDAY,
        number=0,
        state=state,
        reason="it rained",
        num_candidates=1,
        due_at=NOON,
        planned_at=NOON,
        checkpoint_sha256=CHECKPOINT,
    )


def a_candidate(state: str, index: int = 2) -> Candidate:
    return Candidate(
        batch_id=1,
        index=index,
        name=f"c{index}",
        seed=1,
        checkpoint_sha256=CHECKPOINT,
        recipe={},
        state=state,
        planned_at=NOON,
        path="p",
        image_sha256="i",
        pixel_sha256="x",
        approved_at=NOON,
    )


def a_delivery(state: str) -> Delivery:
    return Delivery(
        candidate_id=1,
        channel="studio",
        delivery_key="msg_1",
        state=state,
        next_at=NOON,
        created_at=NOON,
        delivered_at=NOON,
    )


def a_channel(state: str) -> ChannelStatus:
    return ChannelStatus(name="studio", state=state, changed_at=NOON, reason="because")


def a_notice(state: str) -> Notice:
    return Notice(
        key="msg_1",
        recipient="studio",
        kind="batch.ready",
        subject="daily-2026-11-21",
        data={},
        state=state,
        created_at=NOON,
        next_at=NOON,
        sent_at=NOON,
    )


MAKE: dict[str, Callable[[str], Stateful]] = {
    "batch": a_batch,
    "candidate": a_candidate,
    "delivery": a_delivery,
    "channel": a_channel,
    "notice": a_notice,
}


class Undone(Exception):
    """Ends a transaction whose rows nobody wants."""


def moved_by_hand(session: Session, machine: str, was: str, now: str) -> str:
    """A row in state `was`, and then the bare statement that puts it into `now`."""
    row = MAKE[machine](was)
    put(session, row)
    table = TABLES[machine]
    key = "name" if machine == "channel" else "id"
    session.execute(
        text(f"UPDATE {table} SET state = :now WHERE {key} = :key"),
        {"now": now, "key": row.name if isinstance(row, ChannelStatus) else row.id},
    )
    session.refresh(row)
    state: str = row.state
    return state


@pytest.mark.parametrize(("machine", "was", "now"), PAIRS)
def test_a_statement_typed_by_hand_makes_the_moves_of_the_machine_and_no_other(
    shared: Database, machine: str, was: str, now: str
) -> None:
    def try_it() -> None:
        with shared.write() as session:
            assert moved_by_hand(session, machine, was, now) == now
            raise Undone

    if BY_NAME[machine].allows(was, now):
        with pytest.raises(Undone):
            try_it()
    else:
        with pytest.raises(IntegrityError, match=f"no such move of a {machine}"):
            try_it()


@pytest.mark.parametrize(
    ("machine", "state"),
    [(machine.name, state) for machine in ALL for state in STATES[machine.name]],
)
def test_a_row_begins_where_the_machine_begins_and_nowhere_else(
    shared: Database, machine: str, state: str
) -> None:
    def insert() -> None:
        with shared.write() as session:
            session.add(MAKE[machine](state))
            session.flush()
            raise Undone

    if BY_NAME[machine].allows(None, state):
        with pytest.raises(Undone):
            insert()
    else:
        with pytest.raises(IntegrityError, match=f"no such move of a {machine}"):
            insert()


@pytest.mark.parametrize("machine", sorted(BY_NAME))
def test_a_state_nobody_knows_is_refused(shared: Database, machine: str) -> None:
    first = route(BY_NAME[machine], STATES[machine][0])[0]

    def misspell() -> None:
        with shared.write() as session:
            moved_by_hand(session, machine, first, "aproved")

    with pytest.raises(IntegrityError, match=f"no such move of a {machine}"):
        misspell()


@pytest.mark.parametrize(("machine", "state"), [("candidate", "pending"), ("delivery", "queued")])
def test_everything_but_the_state_may_change_while_it_stays(
    shared: Database, machine: str, state: str
) -> None:
    def touch() -> None:
        with shared.write() as session:
            assert moved_by_hand(session, machine, state, state) == state
            raise Undone

    with pytest.raises(Undone):
        touch()


@pytest.mark.parametrize(
    "assignment",
    ["candidate_id = 2", "channel = 'other'", "delivery_key = 'msg_2'"],
)
def test_the_key_of_a_delivery_is_for_life(shared: Database, assignment: str) -> None:
    def change() -> None:
        with shared.write() as session:
            put(session, a_candidate("pending"))
            put(session, a_delivery("queued"))
            session.execute(text(f"UPDATE deliveries SET {assignment}"))

    with pytest.raises(IntegrityError, match="the key of a delivery never changes"):
        change()


@pytest.mark.parametrize(
    "assignment",
    ["key = 'msg_2'", "recipient = 'other'", "kind = 'x'", "subject = 'x'"],
)
def test_the_key_of_a_notice_is_for_life(shared: Database, assignment: str) -> None:
    def change() -> None:
        with shared.write() as session:
            put(session, a_notice("waiting"))
            session.execute(text(f"UPDATE notices SET {assignment}"))

    with pytest.raises(IntegrityError, match="the key of a notice never changes"):
        change()


def test_a_delivery_is_never_removed(shared: Database) -> None:
    def remove() -> None:
        with shared.write() as session:
            put(session, a_delivery("queued"))
            session.execute(text("DELETE FROM deliveries"))

    with pytest.raises(IntegrityError, match="deliveries are never removed"):
        remove()


def test_a_batch_of_which_nothing_was_made_may_be_removed(shared: Database) -> None:
    """A clock that ran far ahead leaves days behind that are planned anew."""
    with shared.write() as session:
        for state in ("planned", "skipped"):
            put(session, a_batch(state, key=state))
        session.execute(text("DELETE FROM batches WHERE key IN ('planned', 'skipped')"))
        assert session.query(Batch).count() == 1


def test_the_way_to_a_state_is_the_shortest_legal_one() -> None:
    assert route(DELIVERY, "dead") == ["queued", "sending", "dead"]
    assert route(DELIVERY, "retry_wait", "dead") == ["queued", "sending", "retry_wait"]
    with pytest.raises(AssertionError, match="no way leads a batch from ready to planned"):
        route(BATCH, "planned", "ready")

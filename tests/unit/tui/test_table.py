"""The pictures as they lie: what moves, and what stays where it is."""

from dataclasses import replace
from pathlib import Path

from artbot.desk import Sheet, Show, Stack, Tile
from artbot.domain.candidate import CandidateState
from artbot.review.decisions import Seen
from artbot.tui.table import LightTable

PENDING, LATER, REJECTED = CandidateState.PENDING, CandidateState.LATER, CandidateState.REJECTED


def a_tile(
    number: int, state: CandidateState = PENDING, version: int = 1, parents: tuple[int, ...] = ()
) -> Tile:
    seen = Seen("a" * 64, version)
    name = f"daily-{number}"
    return Tile(number, name, "daily", number, state, 0, 64, 64, seen, Path(name), parents, "")


def a_sheet(*stacks: Tile | tuple[Tile, ...]) -> Sheet:
    laid = tuple(Stack(stack if isinstance(stack, tuple) else (stack,)) for stack in stacks)
    return Sheet(Show.UNDECIDED, None, laid, {}, (), False)


def a_table(count: int) -> LightTable:
    return LightTable(a_sheet(*(a_tile(number) for number in range(1, count + 1))))


def order(table: LightTable) -> list[int]:
    return [tile.id for tile in table.tiles]


def here(table: LightTable) -> int:
    assert table.current is not None
    return table.current.id


def test_deciding_goes_to_the_next_undecided_one_and_round_to_the_first() -> None:
    table = a_table(3)
    table.go_to(2)
    table.put(a_tile(2, REJECTED, 2))
    table.put(a_tile(3, REJECTED, 2))
    assert table.next_undecided()
    assert here(table) == 1
    table.being_decided.add(1)
    assert not table.next_undecided()


def test_what_is_decided_stays_until_the_next_look() -> None:
    table = a_table(3)
    table.put(a_tile(1, REJECTED, 2))
    table.merge(a_sheet(a_tile(2), a_tile(3)), [a_tile(1, REJECTED, 2)])
    assert order(table) == [1, 2, 3]
    table.lay(a_sheet(a_tile(2), a_tile(3)))
    assert order(table) == [2, 3]


def test_children_lie_beside_their_parent_and_the_selection_does_not_move() -> None:
    table = a_table(3)
    table.go_to(3)
    child, other = a_tile(10, parents=(1,)), a_tile(11, parents=(1,))
    new = table.merge(a_sheet(a_tile(1), a_tile(2), a_tile(3), child, other))
    assert [tile.id for tile in new] == [10, 11]
    assert order(table) == [1, 10, 11, 2, 3]
    assert here(table) == 3


def test_what_is_new_lies_where_it_is_laid_out() -> None:
    table = LightTable(a_sheet(a_tile(1), a_tile(3)))
    table.merge(a_sheet(a_tile(7), a_tile(1), a_tile(2), a_tile(3)))
    assert order(table) == [7, 1, 2, 3]


def test_what_is_older_than_what_is_here_is_not_taken_over() -> None:
    table = a_table(1)
    table.put(a_tile(1, LATER, 5))
    table.put(a_tile(1, PENDING, 4))
    assert table.tiles[0].state == LATER


def test_a_new_look_keeps_the_picture_before_the_person_if_it_is_there() -> None:
    table = a_table(4)
    table.go_to(3)
    table.lay(a_sheet(a_tile(2), a_tile(3)))
    assert here(table) == 3
    table.lay(a_sheet(a_tile(8, REJECTED), a_tile(9)))
    assert here(table) == 9


def test_those_that_look_alike_lie_together_and_say_so() -> None:
    table = LightTable(a_sheet(a_tile(1), (a_tile(2), a_tile(5)), a_tile(3)))
    assert order(table) == [1, 2, 5, 3]
    assert table.alike(table.tiles[2]) == (2, 2)
    assert table.alike(table.tiles[0]) is None


def test_nothing_to_show_is_no_error() -> None:
    table = LightTable(a_sheet())
    assert table.current is None
    assert not table.step(1)
    assert not table.next_undecided()
    assert table.merge(a_sheet(replace(a_tile(1)))) == [a_tile(1)]

"""Does what the person decides, one after the other in the order of the keys, in a thread of its own: the screen never
waits, and nothing is lost when it closes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from artbot.desk import AltTextWanted, Desk, Tile
from artbot.errors import ArtbotError
from artbot.review.decisions import Seen, Words


@dataclass(frozen=True)
class Outcome:
    """What became of one act."""

    act: str
    """As in `artbot.domain.keys.ACTIONS`; `undo-rest` takes back `reject-rest`."""
    about: int | None
    """The candidate; None: the last that was decided about, or several."""
    tiles: tuple[Tile, ...] = ()
    """As they are now."""
    children: tuple[int, ...] = ()
    refusal: str | None = None
    wants_alt: bool = False
    failure: Exception | None = None
    """What is nobody's refusal: the database cannot be written, or a bug of ours."""


class Clerk:
    """Remembers what was decided here, so that undo takes back one's own."""

    def __init__(self, desk: Desk, tell: Callable[[Outcome], None]) -> None:
        """`tell` is called from the clerk's thread."""
        self._desk = desk
        self._tell = tell
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clerk")
        self._newest: dict[int, Seen] = {}
        """What this person's own acts made of each: seen, even if the next key came before the screen showed it."""
        self._done: list[tuple[int, ...]] = []
        self._undone: list[tuple[int, ...]] = []

    def close(self) -> None:
        """After what is still to be done."""
        self._pool.shutdown(wait=True)

    def approve(
        self,
        tile: Tile,
        words: Words | None,
        channels: Sequence[str] | None,
        when: str,
        is_draft_fine: bool,
    ) -> None:
        def act(seen: Seen) -> Tile:
            return self._desk.approve(tile.id, seen, words, channels, when, is_draft_fine)

        self._decide("approve", tile, act)

    def reject(self, tile: Tile) -> None:
        self._decide("reject", tile, lambda seen: self._desk.reject(tile.id, seen))

    def put_off(self, tile: Tile) -> None:
        self._decide("later", tile, lambda seen: self._desk.put_off(tile.id, seen))

    def give_stars(self, tile: Tile, stars: int) -> None:
        act = f"star{stars}"
        self._decide(act, tile, lambda seen: self._desk.give_stars(tile.id, stars, seen))

    def _decide(self, act: str, tile: Tile, do: Callable[[Seen], Tile]) -> None:
        def work() -> Outcome:
            seen = self._seen(tile)
            now = do(seen)
            if now.seen != seen:  # else it was so already, and there is nothing to undo
                self._note((tile.id,))
            return Outcome(act, tile.id, (now,))

        self._submit(act, tile.id, work)

    def reject_rest(self, tiles: Sequence[Tile]) -> None:
        def work() -> Outcome:
            rejected = self._desk.reject_rest({tile.id: self._seen(tile) for tile in tiles})
            if rejected:
                self._note(tuple(tile.id for tile in rejected))
            return Outcome("reject-rest", None, tuple(rejected))

        self._submit("reject-rest", None, work)

    def undo(self) -> None:
        """What was decided here last; when all of that is taken back, what anybody decided last."""

        def work() -> Outcome:
            ids = (
                self._done.pop() if self._done else ()
            )  # if it is refused, the next u takes the one before
            if len(ids) > 1:
                tiles = tuple(self._desk.undo_each(ids))
            elif ids:
                tiles = (self._desk.undo(ids[0], self._newest.get(ids[0])),)
            else:
                tiles = (self._desk.undo(),)
            self._undone.append(tuple(tile.id for tile in tiles))
            return Outcome("undo-rest" if len(ids) > 1 else "undo", None, tiles)

        self._submit("undo", None, work)

    def redo(self) -> None:
        def work() -> Outcome:
            ids = self._undone.pop() if self._undone else ()
            if ids:
                tiles = tuple(self._desk.redo(number, self._newest.get(number)) for number in ids)
            else:
                tiles = (self._desk.redo(),)
            self._done.append(tuple(tile.id for tile in tiles))
            return Outcome("redo", None, tiles)

        self._submit("redo", None, work)

    def vary(self, tile: Tile, strength: str) -> None:
        def work() -> Outcome:
            children = self._desk.vary(tile.id, strength)
            return Outcome(f"vary-{strength}", tile.id, children=tuple(children))

        self._submit(f"vary-{strength}", tile.id, work)

    def breed(self, one_id: int, other_id: int) -> None:
        def work() -> Outcome:
            children = self._desk.breed(one_id, other_id)
            return Outcome("breed", one_id, children=tuple(children))

        self._submit("breed", one_id, work)

    def _seen(self, tile: Tile) -> Seen:
        own = self._newest.get(tile.id)
        return own if own and own.row_version > tile.seen.row_version else tile.seen

    def _note(self, ids: tuple[int, ...]) -> None:
        self._done.append(ids)
        self._undone.clear()

    def _submit(self, act: str, about: int | None, work: Callable[[], Outcome]) -> None:
        def do() -> None:
            try:
                outcome = work()
            except AltTextWanted as error:
                outcome = Outcome(
                    act, about, self._as_it_is(about), refusal=str(error), wants_alt=True
                )
            except ArtbotError as error:
                outcome = Outcome(act, about, self._as_it_is(about), refusal=str(error))
            except Exception as error:
                outcome = Outcome(act, about, failure=error)
            for tile in outcome.tiles:
                if outcome.refusal is None:
                    self._newest[tile.id] = tile.seen
            self._tell(outcome)

        self._pool.submit(do)

    def _as_it_is(self, candidate_id: int | None) -> tuple[Tile, ...]:
        if candidate_id is None:
            return ()
        try:
            return (self._desk.tile(candidate_id),)
        except ArtbotError:  # it has no picture any more
            return ()

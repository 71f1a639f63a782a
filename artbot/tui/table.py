"""The pictures as they lie, which one is looked at, and which are marked: what a person moves through."""

from __future__ import annotations

from collections.abc import Iterable

from artbot.desk import Sheet, Tile
from artbot.domain.candidate import UNDECIDED


class LightTable:
    """Decided pictures stay where they lie until the next look (`lay`); new ones are put in (`merge`)."""

    def __init__(self, sheet: Sheet) -> None:
        self.tiles: list[Tile] = []
        self.position = 0
        self.marked: list[int] = []
        """In the order of marking."""
        self.being_decided: set[int] = set()
        """Decided by a key, and not written down yet."""
        self._alike: dict[int, tuple[int, int]] = {}
        self.lay(sheet)

    @property
    def current(self) -> Tile | None:
        return self.tiles[self.position] if self.tiles else None

    @property
    def num_undecided(self) -> int:
        return sum(self.is_undecided(tile) for tile in self.tiles)

    def is_undecided(self, tile: Tile) -> bool:
        return tile.state in UNDECIDED and tile.id not in self.being_decided

    def get(self, candidate_id: int) -> Tile | None:
        return next((tile for tile in self.tiles if tile.id == candidate_id), None)

    def alike(self, tile: Tile) -> tuple[int, int] | None:
        """Which it is of how many that look alike; None: nothing here is like it."""
        return self._alike.get(tile.id)

    def lay(self, sheet: Sheet) -> None:
        """Lay out anew. The same picture stays before the person if it is still there."""
        before = self.current
        self.sheet = sheet
        self.tiles = [tile for stack in sheet.stacks for tile in stack.tiles]
        self._note_alike(sheet)
        self.marked = [number for number in self.marked if self.get(number)]
        self.position = 0
        if not (before and self.go_to(before.id)) and self.tiles:
            self._go_to_undecided(range(len(self.tiles)))

    def merge(self, sheet: Sheet, others: Iterable[Tile] = ()) -> list[Tile]:
        """Take over what was decided elsewhere and what is new; the new ones. Nothing goes away, and the same
        picture stays before the person."""
        self.sheet = sheet
        before = self.current
        new = []
        previous: Tile | None = None
        for tile in (tile for stack in sheet.stacks for tile in stack.tiles):
            if not self.put(tile):
                self.tiles.insert(self._place_of(tile, previous), tile)
                new.append(tile)
            previous = tile
        for tile in others:
            self.put(tile)
        self._note_alike(sheet)
        if before:
            self.go_to(before.id)
        return new

    def put(self, tile: Tile) -> bool:
        """Show it as it is now, unless what is here is newer; whether it lies here."""
        for index, here in enumerate(self.tiles):
            if here.id == tile.id:
                if tile.seen.row_version >= here.seen.row_version:
                    self.tiles[index] = tile
                return True
        return False

    def add(self, tile: Tile) -> None:
        """Put it here, if it does not lie here: what was taken back may have gone with an earlier look."""
        if not self.put(tile):
            self.tiles.insert(min(self.position + 1, len(self.tiles)), tile)

    def go_to(self, candidate_id: int) -> bool:
        for index, tile in enumerate(self.tiles):
            if tile.id == candidate_id:
                self.position = index
                return True
        return False

    def step(self, by: int) -> bool:
        """So many on, or back; False: there is none."""
        wanted = self.position + by
        if not 0 <= wanted < len(self.tiles):
            return False
        self.position = wanted
        return True

    def next_undecided(self) -> bool:
        """The next one after this, then from the beginning. False: nothing is left."""
        count = len(self.tiles)
        return self._go_to_undecided((self.position + n) % count for n in range(1, count + 1))

    def upcoming(self, count: int) -> list[Tile]:
        """The undecided ones that come next."""
        after = self.tiles[self.position + 1 :] + self.tiles[: self.position]
        return [tile for tile in after if self.is_undecided(tile)][:count]

    def toggle_mark(self, candidate_id: int) -> bool:
        """Whether it is marked now."""
        if candidate_id in self.marked:
            self.marked.remove(candidate_id)
            return False
        self.marked.append(candidate_id)
        return True

    def _go_to_undecided(self, order: Iterable[int]) -> bool:
        for index in order:
            if self.is_undecided(self.tiles[index]):
                self.position = index
                return True
        return False

    def _place_of(self, tile: Tile, previous: Tile | None) -> int:
        """Beside its parent and the other children, else after the one that it is laid out after."""
        family = [
            index
            for index, here in enumerate(self.tiles)
            if here.id in tile.parent_ids[:1]
            or (tile.parent_ids and here.parent_ids == tile.parent_ids)
        ]
        if family:
            return family[-1] + 1
        if previous:
            here = [index for index, each in enumerate(self.tiles) if each.id == previous.id]
            return here[0] + 1
        return 0

    def _note_alike(self, sheet: Sheet) -> None:
        for stack in sheet.stacks:
            if len(stack.tiles) > 1:
                for index, tile in enumerate(stack.tiles, 1):
                    self._alike[tile.id] = (index, len(stack.tiles))

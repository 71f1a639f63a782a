"""Whether two pictures look alike, told by the likeness of each (docs/decisions/0020-pictures-that-are-alike.md).

A likeness says where a picture grows lighter (Krawetz, "Kind of Like That", 2013: the difference hash, here along
rows and along columns) and, coarsely, which colours it has where. It is made with the picture (artbot.studio.provenance)
and compared with those of its own batch.
"""

from __future__ import annotations

from dataclasses import dataclass

SIDE = 8
"""Differences along each row and each column: 128 in all."""
COLOURS = 3
"""Squares along each side, each with its mean colour."""
MOST_BITS = 12
"""So many of the 128 may differ. Of 264 pairs of drawn pictures the nearest differ in 21; of a copy in a poorer
JPEG none differs in more."""
MOST_COLOUR = 24
"""So far, of 255, may any channel of a square's colour be off."""


@dataclass(frozen=True)
class Likeness:
    """What a picture looks like."""

    lighter: int
    """A bit for each difference."""
    colours: bytes
    """Red, green and blue of each square."""

    def __str__(self) -> str:
        """As it stands in the database."""
        return f"{self.lighter:0{2 * SIDE * SIDE // 4}x}{self.colours.hex()}"

    def is_like(self, other: Likeness) -> bool:
        if (self.lighter ^ other.lighter).bit_count() > MOST_BITS:
            return False
        pairs = zip(self.colours, other.colours, strict=True)
        return all(abs(here - there) <= MOST_COLOUR for here, there in pairs)


def read_likeness(written: str) -> Likeness:
    """Of what stands in the database."""
    num_digits = 2 * SIDE * SIDE // 4
    return Likeness(int(written[:num_digits], 16), bytes.fromhex(written[num_digits:]))

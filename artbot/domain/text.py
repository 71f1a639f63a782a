"""Which characters of a stranger may be shown as they are."""

from __future__ import annotations

import unicodedata

_TURNS_THE_LINE = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks of writing direction: what follows is shown in another order than it is written in."""


def is_plain(text: str) -> bool:
    """Whether it can neither steer a terminal, nor begin a line, nor show as something else than it is."""
    return not any(map(_is_steering, text))


def plain(text: str) -> str:
    """The same, with what steers written as an escape."""
    return "".join(ascii(c)[1:-1] if _is_steering(c) else c for c in text)


def _is_steering(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS_THE_LINE

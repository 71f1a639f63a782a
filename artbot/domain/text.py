"""What a text may be: shown as it is, a hashtag, the tag of a language, a template to be filled in."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping

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


_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


def check_hashtag(tag: str) -> str:
    """The tag, which stands without #: letters, digits and _ of any script, and not only digits, as the
    platforms read it. Raises ValueError."""
    if not re.fullmatch(r"\w+", tag) or tag.isdigit():
        raise ValueError(
            f"{tag!r} is no hashtag; write one word of letters, digits and _, with a letter in it"
        )
    return tag


def check_language(tag: str) -> str:
    """The tag of a language (BCP 47), or nothing. Raises ValueError."""
    if tag and not _LANGUAGE.fullmatch(tag):
        raise ValueError(f"{tag!r} is no language; write a tag like en, de or pt-BR")
    return tag


def check_template(template: str, samples: Mapping[str, object]) -> str:
    """The template, which may name the samples in braces, and can be filled in with them. Raises ValueError
    naming what is wrong with it."""
    try:
        named = [
            field for _, field, _, _ in string.Formatter().parse(template) if field is not None
        ]
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for plain braces") from error
    for field in named:
        if field not in samples:
            raise ValueError(f"unknown field {{{field}}}; known are {', '.join(samples)}")
    try:
        template.format(**samples)
    except (ValueError, LookupError) as error:
        raise ValueError(f"{template!r} cannot be filled in: {error}") from error
    return template

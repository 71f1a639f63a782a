"""What a text may be: shown as it is, a hashtag, the tag of a language, a template to be filled in."""

from __future__ import annotations

import difflib
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


SHORT = 110
"""Characters of a reason, or a title, in a list: it stands whole where one of them is shown."""


def shortened(text: str, most: int = SHORT) -> str:
    """The text on one line, cut between words if it has more characters than `most`."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    cut = line[: most - 1]
    return (cut.rpartition(" ")[0] or cut).rstrip(" ,;:(") + "…"


MOST_TITLE, MOST_ALT = 1_000, 10_000
"""Characters: what a picture says of itself at most (XMP), and more than any platform takes."""


def check_title_and_alt(title: str, alt: str) -> None:
    """Whether a work may go out with them, whatever the channel. Raises ValueError."""
    if not alt.strip():
        raise ValueError("the alt text is missing, which people need who do not see the picture")
    for what, text, most in (("title", title, MOST_TITLE), ("alt text", alt, MOST_ALT)):
        if len(text) > most:
            raise ValueError(
                f"the {what} has {len(text):,} characters, {len(text) - most:,} more than the {most:,} it "
                "may have"
            )


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
        parts = [part for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for plain braces") from error
    for _, name, form, conversion in parts:
        field = name or ""
        if field not in samples:
            close = difflib.get_close_matches(field, samples, n=1, cutoff=0.5)
            helps = f"did you mean {{{close[0]}}}?" if close else f"known are {', '.join(samples)}"
            raise ValueError(f"unknown field {{{field}}}; {helps}")
        written = f"{{{field}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}}}"
        try:
            written.format(**samples)
        except (ValueError, LookupError) as error:
            fits = "{seed:06d}" if isinstance(samples[field], int) else "{date:>12}"
            raise ValueError(
                f"{written} cannot be filled in; write {{{field}}}, or a format that fits, as in {fits}"
            ) from error
    return template

"""What is said with a work on a channel, and whether it fits there, counted as the channel counts.

Platforms count differently: Mastodon any URL as 23 characters (docs.joinmastodon.org, "Posting to your
profile"), Bluesky graphemes and bytes (lexicon app.bsky.feed.post), Discord and Telegram UTF-16 code units.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from artbot.domain import text
from artbot.errors import Rejected
from artbot.publishing.rehearsal import Count, rehearsal_under_way

if TYPE_CHECKING:
    from artbot.publishing.work import Work

FIELDS = (
    "title",
    "caption",
    "alt",
    "hashtags",
    "number",
    "name",
    "date",
    "dataset",
    "class",
    "checkpoint",
    "seed",
    "batch",
)
"""What the `text` of a channel may name in braces."""
URL_WEIGHT = 23
_URL = re.compile(r"https?://\S+")
_EMPTY_LINES = re.compile(r"\n{3,}")


class Unit(StrEnum):
    """What a platform counts."""

    CHARACTERS = "characters"  # Unicode code points
    GRAPHEMES = "characters as a reader counts them"  # extended grapheme clusters, UAX #29
    BYTES = "bytes"  # UTF-8
    UTF16 = "UTF-16 units"
    URL_WEIGHTED = "characters, a link as 23"


@dataclass(frozen=True)
class Limit:
    """The most of one unit that a text may have."""

    most: int
    unit: Unit = Unit.CHARACTERS


def count(text: str, unit: Unit) -> int:
    """How many of `unit` the text has."""
    match unit:
        case Unit.GRAPHEMES:
            import regex  # the standard library knows no grapheme clusters

            return len(regex.findall(r"\X", text))
        case Unit.BYTES:
            return len(text.encode())
        case Unit.UTF16:
            return len(text.encode("utf-16-le")) // 2
        case Unit.URL_WEIGHTED:
            return len(_URL.sub("x" * URL_WEIGHT, text))
    return len(text)


def check(what: str, text: str, limits: Sequence[Limit]) -> None:
    """Raises Rejected for a text that has too many of anything; in a rehearsal (artbot.publishing.rehearsal) it tells the
    counts instead."""
    tried = rehearsal_under_way()
    for limit in limits:
        has = count(text, limit.unit)
        if tried is not None:
            tried.counts.append(Count(what, has, limit.most, limit.unit))
        if has > limit.most:
            refusal = (
                f"the {what} has {has:,} {limit.unit}, {has - limit.most:,} more than the {limit.most:,} it "
                "may have"
            )
            if tried is None:
                raise Rejected(refusal)
            tried.refuse(refusal)


def check_template(template: str) -> str:
    """The template of a post's text, for a settings model. Raises ValueError naming what is wrong with it."""
    return text.check_template(template, {**dict.fromkeys(FIELDS, ""), "number": 1, "seed": 1})


def fill_in(template: str, work: Work) -> str:
    """The text of a post. Fields that are empty leave no gap: at most one empty line in a row, none at the
    ends."""
    said = template.format(
        **{
            "title": work.title,
            "caption": work.caption,
            "alt": work.alt,
            "hashtags": " ".join(f"#{tag}" for tag in work.hashtags),
            "number": work.number,
            "name": work.name,
            "date": work.local_date.isoformat(),
            "dataset": work.generator.dataset,
            "class": work.class_name or "",
            "checkpoint": work.generator.name,
            "seed": work.seed,
            "batch": work.batch,
        }
    )
    lines = "\n".join(line.rstrip() for line in said.splitlines())
    return _EMPTY_LINES.sub("\n\n", lines).strip()

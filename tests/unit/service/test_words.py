"""What is said with a work: filled in from its facts, and counted as each platform counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from artbot.errors import Rejected
from artbot.publishing.posting import DEFAULT_TEXT
from artbot.publishing.words import FIELDS, Limit, Unit, check, check_template, count, fill_in
from tests.unit.service.kit import a_work

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
"""Three people, two joiners: one picture to a reader."""


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("", Unit.GRAPHEMES, 0),
        ("Größe", Unit.CHARACTERS, 5),
        ("Größe", Unit.BYTES, 7),
        ("e\u0301", Unit.CHARACTERS, 2),
        ("e\u0301", Unit.GRAPHEMES, 1),
        (FAMILY, Unit.CHARACTERS, 5),
        (FAMILY, Unit.GRAPHEMES, 1),
        (FAMILY, Unit.UTF16, 8),
        (FAMILY, Unit.BYTES, 18),
        ("\r\n", Unit.GRAPHEMES, 1),
        ("see https://example.org/a/very/long/path?with=words now", Unit.URL_WEIGHTED, 31),
        ("https://a.b https://c.d", Unit.URL_WEIGHTED, 47),
    ],
)
def test_a_text_is_counted_as_the_platform_counts(text: str, unit: Unit, expected: int) -> None:
    assert count(text, unit) == expected


def test_what_is_at_the_limit_passes_and_what_is_over_is_told_by_how_much() -> None:
    limits = [Limit(300, Unit.GRAPHEMES), Limit(3000, Unit.BYTES)]
    check("text", "a" * 300, limits)
    with pytest.raises(Rejected, match=r"^the text has 312 characters as a reader.*, 12 more than"):
        check("text", "a" * 312, limits)
    with pytest.raises(Rejected, match=r"3,006 bytes, 6 more than the 3,000"):
        check("text", FAMILY * 167, limits)


def test_a_text_is_filled_in_from_the_works_facts() -> None:
    every = " | ".join(f"{{{field}}}" for field in FIELDS)
    said = fill_in(every, replace(a_work(), class_name="tulips"))
    assert said == (
        "No. 3 | After the rain | Red and white flowers in a blue vase | #flowers #generativeart | 3 | daily-2026-11-21-03 | 2026-11-21 | "
        "flowers | tulips | flowers-000012 | 1 | daily-2026-11-21"
    )


@pytest.mark.parametrize(
    ("caption", "hashtags", "expected"),
    [
        ("After the rain", ("a",), "No. 3\n\nAfter the rain\n\n#a"),
        ("", ("a", "b"), "No. 3\n\n#a #b"),
        ("After the rain", (), "No. 3\n\nAfter the rain"),
        ("", (), "No. 3"),
        ("two  \nlines", (), "No. 3\n\ntwo\nlines"),
    ],
)
def test_what_is_empty_leaves_no_gap(
    caption: str, hashtags: tuple[str, ...], expected: str
) -> None:
    work = replace(a_work(), caption=caption, hashtags=hashtags)
    assert fill_in(DEFAULT_TEXT, work) == expected


def test_braces_in_the_words_of_a_person_are_only_braces() -> None:
    assert fill_in("{title}", replace(a_work(), title="{seed} {0}")) == "{seed} {0}"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{titel}", r"unknown field \{titel\}; did you mean \{title\}\?"),
        ("{title", r"write \{\{ and \}\} for plain braces"),
        ("{}", r"unknown field \{\}"),
        ("{number:%d.%m.}", "cannot be filled in"),
        ("{title.__class__}", r"unknown field \{title\.__class__\}"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(template: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_template(template)

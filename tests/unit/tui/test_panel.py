"""What stands beside a picture, above and below."""

import pytest

from artbot.desk import AltRemark, Checked, Count, Fit, Summary
from artbot.domain.keys import keymap
from artbot.tui.panel import checked_lines, end_card, footer


def test_words_are_counted_for_each_channel_and_what_does_not_fit_comes_first() -> None:
    fits = (
        Fit("hook", (), None),
        Fit("diary", (Count("text", 12, 500, "characters"),), None),
        Fit("tiny", (Count("text", 12, 10, "letters"),), "2 letters too many"),
    )
    told = checked_lines(Checked(AltRemark.DRAFT, "This is the draft.", fits)).plain
    assert told.splitlines() == [
        "! This is the draft.",
        "tiny  text 12 of 10 letters",
        "! 2 letters too many",
        "diary  text 12 of 500 characters",
    ]


@pytest.mark.parametrize("width", [58, 78, 118])
@pytest.mark.parametrize("is_sheet", [False, True])
def test_the_keys_fit_the_window_and_the_way_out_is_always_among_them(
    width: int, is_sheet: bool
) -> None:
    lines = footer(keymap(), is_sheet, width).plain.splitlines()
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("a approve  x reject  space later  u undo  e words")
    assert lines[1].endswith("? help  q quit")
    assert ("enter loupe" if is_sheet else "g sheet") in lines[1]


def test_the_keys_are_those_of_the_person() -> None:
    told = footer(keymap({"reject": "backspace", "approve": ()}), False, 200).plain
    assert "backspace reject" in told
    assert "approve" not in told


def test_the_end_says_what_became_of_the_day_and_what_wants_a_person() -> None:
    summary = Summary(
        3, 8, 1, 4, None, ("mastodon is paused: artbot channels resume mastodon",), "tomorrow 07:00"
    )
    told = end_card(summary, 1, "until Thu 26 Nov 18:30", keymap()).plain
    for words in (
        "3 approved · 8 rejected · 1 put off until later",
        "4 children are being painted",
        "until Thu 26 Nov 18:30",
        "a new batch: tomorrow 07:00",
        "! mastodon is paused",
        "u takes back the last one · q leaves",
    ):
        assert words in told

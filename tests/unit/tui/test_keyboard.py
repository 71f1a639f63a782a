"""What a terminal says by itself is no key, however late it comes and wherever it is cut."""

import pytest

from artbot.tui.keyboard import AFTER_ALONE_S, ALONE_S, UNFINISHED_S, KeyFilter

ANSWERS = {
    "device attributes": "\x1b[?62;4;22c",
    "secondary attributes": "\x1b[>41;354;0c",
    "cell size": "\x1b[6;20;10t",
    "status": "\x1b[0n",
    "cursor": "\x1b[24;80R",
    "kitty graphics": "\x1b_Gi=31;OK\x1b\\",
    "kitty keys": "\x1b[?1u",
    "version": "\x1bP>|xterm(379)\x1b\\",
    "background": "\x1b]11;rgb:1a1a/1a1a/1a1a\x07",
    "a mouse as of old": "\x1b[M ax",
    "a mouse": "\x1b[<0;12;5M",
}
DELAYS_S = (0.02, 0.4, 1.2)


class SetClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def passed(pieces: list[str], delay_s: float) -> str:
    """What is left of the pieces, each of which comes so much later than the one before."""
    clock = SetClock()
    keys = KeyFilter(clock)
    found = ""
    for piece in pieces:
        found += keys.feed(piece)
        for _ in range(10):
            clock.now += delay_s / 10
            found += keys.tick()
    return found


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_an_answer_is_no_key_wherever_it_is_cut_and_however_late_the_rest_comes(
    answer: str,
) -> None:
    for delay_s in DELAYS_S:
        assert passed([answer], delay_s) == ""
        assert passed(list(answer), delay_s).replace("\x1b", "") == ""
        for cut in range(1, len(answer)):
            assert passed([answer[:cut], answer[cut:]], delay_s).replace("\x1b", "") == ""


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=list(ANSWERS))
def test_what_is_typed_before_and_after_an_answer_stays(answer: str) -> None:
    assert passed([f"a{answer}x"], 0.02) == "ax"


@pytest.mark.parametrize(
    "key",
    [
        "a",
        "X",
        "é",
        "★",
        "\x1b[A",
        "\x1bOP",
        "\x1b[3~",
        "\x1b[1;5C",
        "\x1ba",
        "\x1b[97;1;97u",
        "\x1b[I",
    ],
)
def test_a_key_is_passed_on_whole(key: str) -> None:
    assert passed([key], 0.02) == key
    if len(key) > 2:
        assert passed([key[:2], key[2:]], 0.4) == key


def test_what_textual_asks_for_is_passed_on() -> None:
    for answer in ("\x1b[?2026;2$y", "\x1b[?2048;0$y", "\x1b[48;24;80;480;800t"):
        assert passed([answer], 0.02) == answer


def test_escape_alone_is_the_escape_key() -> None:
    assert passed(["\x1b"], 2 * ALONE_S) == "\x1b"
    assert passed(["\x1b", "a"], 2 * ALONE_S) == "\x1ba"
    assert passed(["\x1b\x1b"], 2 * ALONE_S) == "\x1b\x1b"


def test_the_rest_of_a_sequence_whose_escape_was_taken_for_a_key_is_forgotten() -> None:
    assert passed(["\x1b", "[?62;4c"], 1.2) == "\x1b"
    assert passed(["\x1b", "_Gi=31;OK\x1b\\"], 1.2) == "\x1b"


def test_much_later_the_same_characters_are_keys() -> None:
    assert passed(["\x1b", "O"], 2 * AFTER_ALONE_S) == "\x1bO"


def test_a_sequence_that_never_ends_is_given_up() -> None:
    assert passed(["\x1b[12", "a"], 2 * UNFINISHED_S) == "a"
    assert passed(["\x1b_Gi=31", "a"], 2 * UNFINISHED_S) == "a"


def test_a_paste_is_passed_on_as_one_wherever_it_is_cut_and_without_escapes() -> None:
    paste = "\x1b[200~x a \x1b[31m 5\x1b[201~"
    for cut in range(1, len(paste)):
        assert passed([paste[:cut], paste[cut:] + "u"], 0.02) == "\x1b[200~x a [31m 5\x1b[201~u"

"""What every face of the review does at the press of a key, and how `[keys]` changes that.

A key is what it types (`a`, `X`, `?`), or the name of one that types nothing to be seen (`space`, `left`). Capital
letters are keys of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NAMED_KEYS = (
    "space",
    "enter",
    "tab",
    "escape",
    "backspace",
    "delete",
    "insert",
    "left",
    "right",
    "up",
    "down",
    "home",
    "end",
    "pageup",
    "pagedown",
)


@dataclass(frozen=True)
class Action:
    """What a face can do."""

    keys: tuple[str, ...]
    """Unless `[keys]` says otherwise."""
    words: str
    """For the help page."""


ACTIONS: dict[str, Action] = {
    "approve": Action(("a", "p"), "approve, and go to the next undecided one"),
    "reject": Action(("x",), "reject, and go to the next undecided one"),
    "later": Action(("space",), "put off until later, and go to the next undecided one"),
    "undo": Action(("u",), "take back the last decision"),
    "redo": Action(("U",), "bring back what was undone last"),
    "next": Action(("right", "l"), "go to the next one, and decide nothing"),
    "previous": Action(("left", "h"), "go back one, and decide nothing"),
    "up": Action(("up", "k"), "go up a row"),
    "down": Action(("down", "j"), "go down a row"),
    "star0": Action(("0",), "no stars"),
    "star1": Action(("1",), "1 star"),
    "star2": Action(("2",), "2 stars"),
    "star3": Action(("3",), "3 stars"),
    "star4": Action(("4",), "4 stars"),
    "star5": Action(("5",), "5 stars"),
    "mark": Action(("v",), "mark it, to compare or to breed"),
    "reject-rest": Action(("X",), "reject all that are still pending here, after a question"),
    "sheet": Action(("g",), "all pictures beside each other"),
    "loupe": Action(("enter",), "one picture, large"),
    "compare": Action(("c",), "compare the 2 to 4 that are marked"),
    "zoom": Action(("z",), "every pixel as it is; compared ones move together"),
    "facts": Action(("i",), "seed, generator, parents and children"),
    "vary-subtle": Action(("m",), "4 variations of it, close to it"),
    "vary-strong": Action(("M",), "4 variations of it, further away"),
    "breed": Action(("b",), "breed the two that are marked"),
    "words": Action(("e",), "write its alt text and caption"),
    "channels": Action(("s",), "choose its channels and their time"),
    "full": Action(("o",), "open the picture in its full size"),
    "help": Action(("?",), "show the keys"),
    "quit": Action(("q",), "leave; everything is saved"),
}


def keymap(changed: Mapping[str, str | Sequence[str]] = {}) -> dict[str, str]:
    """The action of every key. `changed`: the key or the keys that an action has instead of its own; none: it is
    not to be had by key.

    Raises ValueError for what is no action or no key, and for a key of two actions.
    """
    for name in changed:
        if name not in ACTIONS:
            raise ValueError(f"there is no action {name!r}. Actions: {', '.join(ACTIONS)}.")
    found: dict[str, str] = {}
    for name, action in ACTIONS.items():
        wanted = changed.get(name, action.keys)
        for key in (wanted,) if isinstance(wanted, str) else wanted:
            checked = _checked(key)
            other = found.setdefault(checked, name)
            if other != name:
                raise ValueError(
                    f"the key {checked!r} would both {other!r} and {name!r}. Give one of them another key."
                )
    return found


def _checked(key: str) -> str:
    """Raises ValueError."""
    if key == " ":
        return "space"
    if len(key) == 1 and key.isprintable():
        return key
    if key.lower() in NAMED_KEYS:
        return key.lower()
    raise ValueError(
        f'{key!r} is no key. Write what it types, like "a" or "A", or one of {", ".join(NAMED_KEYS)}.'
    )

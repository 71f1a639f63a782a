"""What comes from the terminal, without what nobody typed.

Terminals answer questions (Textual's, and those of programs before it) on the same line as the keys, over SSH a second
late and in pieces. Textual waits a tenth of a second for the rest of an escape sequence and then takes its letters for
keys: a late `ESC [ ? 6 2 ; 4 c` would give four stars. Here a sequence that was begun is never a key: it is passed on
when it is whole and a key, and else forgotten.
"""

from __future__ import annotations

import re
import selectors
import time
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterable
from os import read

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

ESC = "\x1b"
ALONE_S = 0.1
"""After so long without more, an ESC was the Escape key."""
AFTER_ALONE_S = 3.0
"""What follows it within so long and looks like the rest of a sequence is that, on a slow line."""
UNFINISHED_S = 5.0
"""A sequence to which nothing came for so long is given up."""
_STRINGS = "P]_^"
"""After ESC: a text up to ST follows (DCS, OSC, APC, PM)."""
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_TO_PASS_ON = re.compile(
    r"\x1b\[(?:"
    r"[0-9;:]*[A-HPQSZ~u]"  # keys; with parameters also in kitty's protocol
    r"|1;[0-9:]+R"  # F3 with Shift and the like; else R tells where the cursor is
    r"|[IO]"  # focus
    r"|\?20(?:26|48);[0-4]\$y"  # what Textual asks for
    r"|48;[0-9;:]+t"  # the window's size
    r")"
)


class KeyFilter:
    """Text from the terminal -> the same without answers. Fed with what comes, and asked now and then (`tick`)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held = ""
        self._at = clock()
        """When the last character came."""
        self._alone_until = 0.0
        self._is_pasting = False

    def feed(self, text: str) -> str:
        passed = self.tick()
        for character in text:
            passed += self._take(character)
        self._at = self._clock()
        return passed

    def tick(self) -> str:
        """What turned out to be whole, because nothing more came."""
        waited = self._clock() - self._at
        if self._held == ESC and waited >= ALONE_S:
            self._held = ""
            self._alone_until = self._clock() + AFTER_ALONE_S
            return ESC
        if self._held and waited >= UNFINISHED_S:
            self._held = ""
        return ""

    def _take(self, character: str) -> str:
        if self._is_pasting:
            return self._take_pasted(character)
        if not self._held:
            if character == ESC:
                self._held = ESC
                return ""
            if self._clock() < self._alone_until and character in "[O" + _STRINGS:
                self._held = "\0" + character  # never passed on: its ESC was
                return ""
            self._alone_until = 0.0
            return character
        if character == ESC and not self._is_in_string:
            before, self._held = self._held, ESC
            return ESC if before == ESC else ""
        self._held += character
        if not _is_whole(self._held):
            return ""
        whole, self._held = self._held, ""
        self._alone_until = 0.0
        if whole == _PASTE:
            self._is_pasting = True
        return whole if _is_typed(whole) else ""

    @property
    def _is_in_string(self) -> bool:
        return len(self._held) > 1 and self._held[1] in _STRINGS

    def _take_pasted(self, character: str) -> str:
        # Held: so that the end of the paste can be seen, however it is cut.
        self._held += character
        if _PASTED.startswith(self._held):
            if self._held == _PASTED:
                self._is_pasting, self._held = False, ""
                return _PASTED
            return ""
        passed, self._held = self._held.replace(ESC, ""), ""
        if passed and character == ESC:
            self._held = ESC
        return passed


def _is_whole(sequence: str) -> bool:
    kind, last = sequence[1], sequence[-1]
    if kind == "[":
        if sequence[2:3] == "M":  # a mouse as of old: three more characters
            return len(sequence) == 6
        return len(sequence) > 2 and not " " <= last <= "?"
    if kind == "O":
        return len(sequence) == 3
    if kind in _STRINGS:
        return last == "\x07" or sequence.endswith(ESC + "\\")
    return True


def _is_typed(sequence: str) -> bool:
    if sequence[0] != ESC:
        return False
    if sequence[1] == "[":
        return bool(_TO_PASS_ON.fullmatch(sequence))
    return sequence[1] not in _STRINGS


class QuietDriver(LinuxDriver):
    """Textual's driver, with the filter before its parser."""

    def run_input_thread(self) -> None:
        # As LinuxDriver's, Textual 8.
        parser, keys = XTermParser(self._debug), KeyFilter()
        decode = getincrementaldecoder("utf-8")("replace").decode

        def tell(messages: Iterable[Message]) -> None:
            for message in messages:
                self.process_message(message)

        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                passed = ""
                if selector.select(0.05):
                    received = read(self.fileno, 4096)
                    if not received:  # the terminal is gone
                        self._app.call_later(self._app.exit)
                        break
                    passed = keys.feed(decode(received))
                else:
                    passed = keys.tick()
                if passed:
                    tell(parser.feed(passed))
                tell(parser.tick())

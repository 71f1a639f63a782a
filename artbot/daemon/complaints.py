"""What goes on failing is said once, not every time it is tried."""

from __future__ import annotations

import logging
import time

from artbot.redaction import redact

SAY_AGAIN_S = 3600.0
"""What goes on failing for the same reason is said again after this."""

log = logging.getLogger("artbot")


class Complaints:
    """The reasons that were said last, by what they are about."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, float]] = {}

    def say(self, what: str, error: Exception, level: int = logging.ERROR) -> bool:
        """Log it, unless it is as it was within the last hour; whether it was said."""
        reason = redact(" ".join(str(getattr(error, "orig", None) or error).split()))
        said, at = self._said.get(what, ("", 0.0))
        if reason == said and time.monotonic() - at < SAY_AGAIN_S:
            return False
        self._said[what] = (reason, time.monotonic())
        log.log(level, "%s: %s", what, reason)
        return True

    def settled(self, what: str) -> bool:
        """It is well again; whether anything had been said."""
        return self._said.pop(what, None) is not None

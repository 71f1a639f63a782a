"""Named places where a test can end the process as a power cut would: ARTBOT_FP=name:kill.

Unset in production; then a call is one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "ARTBOT_FP"


def failpoint(name: str) -> None:
    """Kill this process, uncatchably, if the environment asks for it here."""
    if os.environ.get(VARIABLE) == f"{name}:kill":
        os.kill(os.getpid(), signal.SIGKILL)

"""The offline trainer: a folder of pictures becomes a generator. Knows nothing of `artbot` or `db`."""

from __future__ import annotations

import os


def share_the_processor() -> None:
    """Let torch's threads sleep while they wait for each other. Call before torch is imported.

    OpenMP's threads wait by spinning. As soon as anything else runs on the machine they spin for a
    thread that is not running. Sleeping takes 0.73 of the time beside one busy process on two cores
    and 1.07 of it alone (benchmarks/contention.py); set OMP_WAIT_POLICY=ACTIVE to spin.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

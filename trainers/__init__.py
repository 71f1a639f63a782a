"""The offline trainer: a folder of pictures becomes a generator. Knows nothing of `artbot` or `db`."""

from __future__ import annotations

import os


def share_the_processor() -> None:
    """Let torch's threads sleep while they wait for each other. Call before torch is imported.

    OpenMP's threads wait by spinning. As soon as anything else runs on the machine they spin for a
    thread that is not running: with one other busy process on two cores, training went from 23 to
    15 s/kimg by this setting, and lost nothing on an idle machine (benchmarks/RESULTS.md).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

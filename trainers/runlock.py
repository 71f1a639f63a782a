"""One process per run: two writing the same state would lose both."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TextIO

from trainers.errors import RunBusy


def hold_run(run_folder: Path) -> TextIO:
    """Lock the run until the returned file is closed or the process ends, however it ends.

    Raises RunBusy naming the process that holds it.
    """
    file = open(run_folder / "lock", "a+", encoding="utf-8")  # noqa: SIM115  the caller closes it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise RunBusy(
            f"run {run_folder.name} is being trained by process {holder}. "
            "Wait for it, stop it, or choose another name with --run."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file

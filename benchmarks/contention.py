"""What waiting threads cost when the machine does something else besides.

    .venv/bin/python benchmarks/contention.py

Trains the same few steps with OpenMP's threads spinning while they wait (its default) and sleeping
(artbot's), alternately, on an idle machine and beside one busy process. Prints the rows of
benchmarks/RESULTS.md.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ARTBOT = str(Path(sys.executable).with_name("artbot"))
ROUNDS = 2
TRAINING = (
    *("--dataset", "demo", "--size", "64", "--preset", "dcgan", "--width", "64", "--batch", "16"),
    *("--kimg", "1.5", "--tick-kimg", "1.5"),
)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ARTBOT, "init", folder], check=True, capture_output=True)
        sec_per_kimg(folder, "ACTIVE", "warm-up")
        print("| s/kimg, median | spinning | sleeping | ratio |\n|---|---|---|---|")
        for name, beside in (("alone", idle), ("beside one busy process", busy)):
            with beside():
                spinning, sleeping = [], []
                for number in range(ROUNDS):
                    spinning.append(sec_per_kimg(folder, "ACTIVE", f"{number}-spin-{len(name)}"))
                    sleeping.append(sec_per_kimg(folder, "PASSIVE", f"{number}-sleep-{len(name)}"))
            slow, quick = statistics.median(spinning), statistics.median(sleeping)
            print(f"| {name} | {slow:.1f} | {quick:.1f} | {quick / slow:.2f} |", flush=True)


def sec_per_kimg(folder: str, wait_policy: str, run: str) -> float:
    process = subprocess.run(
        [ARTBOT, "train", *TRAINING, "--run", run],
        cwd=folder,
        env={**os.environ, "OMP_WAIT_POLICY": wait_policy},
        check=True,
        capture_output=True,
        text=True,
    )
    return float(re.findall(r"([\d.]+) s/kimg", process.stderr)[-1])


@contextmanager
def idle() -> Iterator[None]:
    yield


@contextmanager
def busy() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()

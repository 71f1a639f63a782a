"""How quick the commands start and how little the idle daemon holds, beside a bare Python.

    .venv/bin/python benchmarks/footprint.py

Ratios against `python -c pass`, run alternately on the same machine, so that a slow or busy machine
moves both. Prints the rows of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARTBOT = str(Path(sys.executable).with_name("artbot"))
BARE = [sys.executable, "-c", "pass"]
RUNS = 15
SETTLE_S = 10.0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ARTBOT, "init", folder], check=True, capture_output=True)
        print("| what | median | bare Python beside it | ratio |\n|---|---|---|---|")
        for command in (["--help"], ["status"], ["review"]):
            ours, bare = medians([ARTBOT, *command], folder)
            name = f"`artbot {' '.join(command)}`, wall time"
            print(f"| {name} | {ours * 1000:.0f} ms | {bare * 1000:.0f} ms | {ours / bare:.1f} |")
        ours_mb = idle_megabytes([ARTBOT, "daemon"], folder)
        bare_mb = idle_megabytes([sys.executable, "-c", "import time; time.sleep(60)"], folder)
        print(
            f"| idle `artbot daemon`, resident | {ours_mb:.0f} MB | {bare_mb:.0f} MB "
            f"| {ours_mb / bare_mb:.1f} |"
        )


def medians(command: list[str], folder: str) -> tuple[float, float]:
    """Median wall seconds of `command` and of a bare Python, run in turn."""
    ours, bare = [], []
    for _ in range(RUNS):
        ours.append(wall_s(command, folder))
        bare.append(wall_s(BARE, folder))
    return statistics.median(ours), statistics.median(bare)


def wall_s(command: list[str], folder: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def idle_megabytes(command: list[str], folder: str) -> float:
    """Resident memory after the process has settled, 10^6 bytes."""
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        time.sleep(SETTLE_S)
        status = Path(f"/proc/{process.pid}/status").read_text()
    finally:
        process.terminate()
        process.wait()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()

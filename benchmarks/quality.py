"""Recipes side by side: the same pictures, the same clock, judged on pictures none of them saw.

    python -m benchmarks.quality --dataset PATH --size 64 --minutes 30 --at-once 2 \\
        "dcgan: --preset dcgan" "default:" "hinge: --loss hinge"

Each recipe is a name and options of `artbot train`, which is what runs them; `--at-once` gives each of
so many its own equal share of the processor. Where other work must go on beside them, give each recipe
the `--kimg` it manages in the time on an idle core, and enough minutes. Then the measurements of `artbot evaluate` are printed
as a table. A tenth of the pictures is held out from all of them (the same tenth). Runs and grids
stay in --out, to be looked at; a run that is already finished there is not trained again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from trainers.data.cache import load_pictures
from trainers.inference import load_generator
from trainers.manifest import read_manifest
from trainers.metrics.meter import QualityMeter
from trainers.metrics.scores import Scores

NUM_GENERATED = 1000
FIRST_SEED = 10_000_000
COLUMNS = (
    ("kid_x1000", "KID x 1000", "{:.0f}"),
    ("kid_sd", "±", "{:.0f}"),
    ("coverage", "coverage", "{:.2f}"),
    ("density", "density", "{:.2f}"),
    ("diversity_ratio", "diversity", "{:.2f}"),
    ("colour_distance", "colour", "{:.0f}"),
    ("nearest_ratio", "nearest", "{:.2f}"),
)


def train(
    name: str, options: list[str], arguments: argparse.Namespace, seed: int, cores: list[int]
) -> Path:
    """Train one recipe on these cores; returns its latest checkpoint."""
    out: Path = arguments.out
    run = f"{name}-s{seed}"
    if not (found := list(out.glob(f"checkpoints/{run}-*"))):
        command = [sys.executable, "-m", "trainers", "train", "--kimg", "100000", *options]
        command += ["--dataset", str(arguments.dataset), "--size", str(arguments.size)]
        command += ["--minutes", str(arguments.minutes)]
        command += ["--run", run, "--seed", str(seed), "--holdout", "0.1"]
        command += ["--device", arguments.device, "--export-kimg", "100000", "--tick-kimg", "1000"]
        on_its_cores = ["taskset", "--cpu-list", ",".join(map(str, cores)), *command]
        threads = {"OMP_NUM_THREADS": str(len(cores))}
        with open(out / f"{run}.log", "w") as log:
            subprocess.run(
                on_its_cores, cwd=out, env=os.environ | threads, stdout=log, stderr=log, check=False
            )
        found = list(out.glob(f"checkpoints/{run}-*"))
    if not found:
        raise SystemExit(f"{run} left no checkpoint; see {out / f'{run}.log'}")
    return max(found, key=lambda folder: read_manifest(folder).created_at)


def measure(checkpoint: Path, meter: QualityMeter) -> Scores:
    generator = load_generator(checkpoint)
    return meter.measure(np.stack([generator.paint(FIRST_SEED + i) for i in range(NUM_GENERATED)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="+", metavar="NAME: OPTIONS")
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--judge", default="lite2")
    parser.add_argument("--out", type=Path, default=Path("quality"))
    arguments = parser.parse_args()
    arguments.dataset, arguments.out = arguments.dataset.resolve(), arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures = load_pictures(arguments.dataset, arguments.size, arguments.out / "cache")
    cores = sorted(os.sched_getaffinity(0))
    share = len(cores) // arguments.at_once
    free: SimpleQueue[list[int]] = SimpleQueue()
    for number in range(arguments.at_once):
        free.put(cores[number * share : (number + 1) * share])

    def trained(job: tuple[str, int]) -> tuple[str, int, Path]:
        (name, _, options), seed = job[0].partition(":"), job[1]
        mine = free.get()
        try:
            return name, seed, train(name, shlex.split(options), arguments, seed, mine)
        finally:
            free.put(mine)

    # One seed of all recipes after the other: what runs side by side is compared with each other.
    jobs = [(r, s) for s, r in itertools.product(arguments.seeds.split(","), arguments.recipes)]
    with ThreadPoolExecutor(arguments.at_once) as pool:
        results = list(pool.map(trained, [(recipe, int(seed)) for recipe, seed in jobs]))

    meter = QualityMeter(
        pictures.images,
        pictures.fingerprint,
        arguments.out / "cache",
        holdout=0.1,
        judge=arguments.judge,
    )
    print("| recipe | seed | kimg | " + " | ".join(title for _, title, _ in COLUMNS) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|", flush=True)
    for name, seed, checkpoint in results:
        scores = measure(checkpoint, meter).as_dict()
        cells = [form.format(scores[key]) for key, _, form in COLUMNS if scores[key] is not None]
        kimg = read_manifest(checkpoint).kimg
        print(f"| {name} | {seed} | {kimg:.0f} | " + " | ".join(cells) + " |", flush=True)
    floor = f"KID x 1000 {scores['floor_kid_x1000']:.1f}, coverage {scores['floor_coverage']:.2f}"
    floor += f", colour {scores['floor_colour_distance']:.0f}"
    print(f"\nreal against real: {floor}")


if __name__ == "__main__":
    main()

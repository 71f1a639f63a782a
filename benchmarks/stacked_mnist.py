"""StackedMNIST: how many of 1,000 modes a recipe paints.

Three random digits as the red, green and blue of one picture (Metz et al. 2017; protocol of PacGAN,
Lin et al. 2018, section 4.2, and R3GAN, Huang et al. 2024, section 3.3): a classifier reads the three
digits of 26,000 painted pictures; reported are the distinct triples and the KL divergence of their
frequencies from the uniform distribution.

    python -m benchmarks.stacked_mnist --mnist DIR --minutes 15 \\
        dcgan "dcgan loss=relativistic penalty=r1+r2 gamma=1 d_norm=none beta1=0" resgan-s

DIR holds MNIST/raw/*.gz, as torchvision downloads them. A recipe is a preset of the trainer, at 32 px,
with settings that replace its own; `width=16` makes its networks smaller, which a CPU needs: say so
beside the result.
"""

from __future__ import annotations

import argparse
import gzip
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.config import TrainConfig
from trainers.learner import Learner, place
from trainers.networks import load_architecture
from trainers.presets import parse_setting, resolve_preset

NUM_MODES = 1000
NUM_PAINTED = 26_000
SIZE_PX = 32


def read_mnist(folder: Path) -> tuple[Tensor, Tensor]:
    """All 60,000 training digits: float (N, 32, 32) in [-1, 1], and their labels."""
    raw = folder / "MNIST" / "raw"
    # The IDX format: a header of 16 bytes before the pictures, of 8 before the labels.
    pictures = gzip.decompress((raw / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((raw / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    values = torch.frombuffer(bytearray(pictures), dtype=torch.uint8).view(-1, 28, 28)
    digits = F.pad(values.float() / 127.5 - 1, (2, 2, 2, 2), value=-1.0)
    return digits, torch.frombuffer(bytearray(labels), dtype=torch.uint8).long()


class Reader(nn.Sequential):
    """A classifier of single digits: (B, 1, 32, 32) -> (B, 10)."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(64 * 16, 10)),
        )


def train_reader(digits: Tensor, labels: Tensor, epochs: int = 2) -> Reader:
    """Trained on all but 5,000 digits, on which its accuracy is printed."""
    torch.manual_seed(0)
    reader = Reader().to(digits.device)
    optimiser = torch.optim.Adam(reader.parameters(), lr=2e-3)
    order = torch.randperm(len(digits))
    shown, kept = order[5000:], order[:5000]
    for _ in range(epochs):
        for part in shown[torch.randperm(len(shown))].split(128):
            loss = F.cross_entropy(reader(digits[part, None]), labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    reader.eval()
    with torch.no_grad():
        right = (reader(digits[kept, None]).argmax(1) == labels[kept]).float().mean()
    print(f"reader: {right:.2%} of 5,000 digits it never saw read rightly", flush=True)
    return reader


@torch.no_grad()
def count_modes(pictures: Tensor, reader: Reader) -> tuple[int, float]:
    """Distinct triples, and KL(painted || uniform) in nats."""
    read = torch.stack(
        [reader(pictures[:, channel : channel + 1]).argmax(1) for channel in range(3)], 1
    )
    triples = read[:, 0] * 100 + read[:, 1] * 10 + read[:, 2]
    share = torch.bincount(triples, minlength=NUM_MODES).double() / len(triples)
    present = share[share > 0]
    return len(present), float((present * (present * NUM_MODES).log()).sum())


def paint(learner: Learner) -> Tensor:
    stream = torch.Generator(learner.device).manual_seed(1)
    z = torch.randn(NUM_PAINTED, learner.config.z_dim, generator=stream, device=learner.device)
    network = learner.average.train()  # batch norm by the batch, as in training
    with torch.no_grad():
        return torch.cat([network(part, None).clamp(-1, 1) for part in z.split(500)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("recipes", nargs="+", metavar="PRESET [NAME=VALUE ...]")
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--kimg", type=float, default=10_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="a limit for each recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    digits, labels = (t.to(arguments.device) for t in read_mnist(arguments.mnist))
    reader = train_reader(digits, labels)
    for recipe in arguments.recipes:
        preset, *changes = recipe.split()
        settings = resolve_preset(preset, None, SIZE_PX, len(digits)) | {
            "batch": 64,
            "augment": "none",  # a shifted or recoloured digit would be another mode
            "kimg": arguments.kimg,
            "seed": arguments.seed,
            "device": arguments.device,
        }
        settings |= dict(map(parse_setting, changes))
        config = TrainConfig(run=preset, size=SIZE_PX, **settings)
        torch.manual_seed(config.seed)
        architecture, shape = load_architecture(config.arch), config.shape(())
        device = torch.device(config.device)
        learner = Learner(
            place(architecture.build_generator(shape), device),
            place(architecture.build_discriminator(shape), device),
            config,
        )
        rng = np.random.default_rng(config.seed)
        seen, started = 0, time.monotonic()
        while (fraction := seen / (config.kimg * 1000)) < 1:
            elapsed_s = time.monotonic() - started
            fraction = max(fraction, elapsed_s / 60 / arguments.minutes)
            if fraction >= 1:
                break
            chosen = torch.from_numpy(rng.integers(len(digits), size=(config.batch, 3)))
            seen += config.batch
            learner.step(digits[chosen.to(config.device)], None, seen, fraction)
        seconds = time.monotonic() - started
        modes, divergence = count_modes(paint(learner), reader)
        print(
            f"{recipe}, seed {config.seed}: {seen / 1000:.0f} kimg in {seconds:.0f} s, "
            f"{modes} of {NUM_MODES} modes, KL {divergence:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""The trainer's commands, by the module that holds `NAME_command`. Imports none of them."""

from __future__ import annotations

TRAINER_COMMANDS = {
    "train": "trainers.cli",
    "evaluate": "trainers.evaluate",
    "timelapse": "trainers.seeing.cli",
    "walk": "trainers.seeing.cli",
    "sweep": "trainers.sweep",
}

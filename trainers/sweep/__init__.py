"""`artbot sweep`: many short runs on Optuna, to find settings that suit a folder of pictures.

Each trial trains like any run, from the same preset and seed, with other values of a few settings,
and is judged by KID, on held-out pictures where there are enough. Hopeless ones are ended early.
Several machines may work on one study, through a database that all of them reach. The result is a
preset file for `artbot train --preset FILE`. Trials never export into checkpoints/: the service
would paint with them.

search.py    what is tried              study.py     what the trials' results are kept in
trials.py    training and judging them  result.py    the best as a table and a preset file
"""

from trainers.sweep.cli import sweep_command

__all__ = ["sweep_command"]

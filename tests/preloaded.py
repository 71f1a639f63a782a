"""Everything, imported once: what the processes of `tests.forks` have behind them when they begin."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import pkgutil

import pytest  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401
import torch._dynamo  # noqa: F401
from PIL import PngImagePlugin  # noqa: F401

import artbot
import db
import trainers

for package in (artbot, db, trainers):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
gc.freeze()  # or the first collection of every fork would copy all of it
atexit.register(os._exit, 0)  # in the process that forks: Triton would list there what it leaks

"""Settings, presets, and what a changed setting means for a saved run."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys

import pytest

from tests.trainer_fixtures import ENVIRONMENT, tiny_config
from trainers import config as config_module
from trainers.config import SIZES_PX, OnResume, TrainConfig, settings_that_differ
from trainers.presets import preset


def test_equal_settings_do_not_differ() -> None:
    config = tiny_config()
    assert settings_that_differ(config.as_dict(), config) == {kind: [] for kind in OnResume}


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("size", 64, OnResume.FIXED),
        ("arch", "other", OnResume.FIXED),
        ("z_dim", 16, OnResume.FIXED),
        ("width", 8, OnResume.FIXED),
        ("lr", 1e-3, OnResume.ADOPTED),
        ("batch", 16, OnResume.ADOPTED),
        ("flip", True, OnResume.ADOPTED),
        ("kimg", 99.0, OnResume.FREE),
        ("minutes", 1.0, OnResume.FREE),
        ("device", "cuda", OnResume.FREE),
    ],
)
def test_a_changed_setting_is_listed_under_its_consequence(
    name: str, value: object, kind: OnResume
) -> None:
    saved = tiny_config()
    differing = settings_that_differ(saved.as_dict(), dataclasses.replace(saved, **{name: value}))
    assert differing.pop(kind) == [(name, getattr(saved, name), value)]
    assert not any(differing.values())


def test_a_state_saved_before_a_setting_existed_does_not_differ_in_it() -> None:
    saved = tiny_config().as_dict()
    del saved["flip"]
    assert not any(settings_that_differ(saved, tiny_config(flip=True)).values())


def test_every_setting_says_what_it_means_and_what_changing_it_does() -> None:
    [settings] = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(config_module)))
        if isinstance(node, ast.ClassDef) and node.name == "TrainConfig"
    ]
    documented = [
        before.target.id
        for before, after in zip(settings.body, settings.body[1:], strict=False)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
    ]
    fields = dataclasses.fields(TrainConfig)
    assert documented == [f.name for f in fields]
    assert all(isinstance(f.metadata["on_resume"], OnResume) for f in fields)


def test_every_size_has_a_preset_that_makes_a_config() -> None:
    for size in SIZES_PX:
        config = TrainConfig(run="r", size=size, **preset(size, 100))
        assert config.batch >= 8
        assert config.kimg > 0


def test_larger_pictures_come_in_smaller_batches() -> None:
    batches = [preset(size, 100)["batch"] for size in SIZES_PX]
    assert batches == sorted(batches, reverse=True)


def test_more_pictures_bear_more_training() -> None:
    budgets = [preset(64, count)["kimg"] for count in (16, 300, 301, 1_500, 6_000, 10**6)]
    assert budgets == sorted(budgets)
    assert budgets == [300, 300, 800, 800, 1_500, 4_000]


def test_asking_for_help_or_settings_does_not_load_torch() -> None:
    script = (
        "import sys, trainers.cli, trainers.config, trainers.presets, trainers.manifest;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, check=True)

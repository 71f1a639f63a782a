"""Settings: which go together, and what a changed one means for a saved run."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import subprocess
import sys
from typing import Any

import pytest

from tests.trainer_fixtures import ENVIRONMENT, tiny_config
from trainers import config as config_module
from trainers.config import (
    OnResume,
    TrainConfig,
    check_combination,
    check_fixed_settings,
    idle_settings,
    settings_that_differ,
)
from trainers.errors import ResumeRefused, SettingsError


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
        ("classes", True, OnResume.FIXED),
        ("holdout", 0.1, OnResume.FIXED),
        ("d_norm", "spectral", OnResume.FIXED),
        ("loss", "hinge", OnResume.ADOPTED),
        ("micro_batch", 4, OnResume.ADOPTED),
        ("lr", 1e-3, OnResume.ADOPTED),
        ("batch", 16, OnResume.ADOPTED),
        ("flip", True, OnResume.ADOPTED),
        ("kimg", 99.0, OnResume.ADOPTED),
        ("minutes", 1.0, OnResume.ADOPTED),
        ("guard", False, OnResume.FREE),
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


def test_what_does_not_fit_a_saved_run_is_listed_with_both_values() -> None:
    saved = tiny_config().as_dict()
    with pytest.raises(ResumeRefused) as refused:
        check_fixed_settings(saved, tiny_config(width=8, classes=True, lr=1.0))
    assert str(refused.value) == (
        "run tiny has a saved state that these settings do not fit: width 4 -> 8, "
        "classes False -> True. Use the saved settings, or start another run with --run NAME."
    )


# ---------------------------------------------------------------- what goes together


def test_the_defaults_go_together() -> None:
    check_combination(TrainConfig(run="r", size=64))


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"loss": "wgan"}, "loss 'wgan': choose one of bce, hinge, relativistic."),
        ({"penalty": "r2"}, "penalty 'r2': choose one of none, r1, r1+r2."),
        ({"augment": "apa"}, "augment 'apa': choose one of none, diffaug, ada."),
        ({"precision": "fp16"}, "precision 'fp16': choose one of fp32, bf16."),
        ({"d_norm": "layer"}, "d_norm 'layer': choose one of batch, spectral, none."),
        ({"upsampling": "cubic"}, "upsampling 'cubic': choose one of transposed, resize."),
        ({"batch": 1}, "batch 1: choose from 2 to 4096."),
        ({"micro_batch": -1}, "micro_batch -1: choose from 0 to 4096."),
        ({"z_dim": 0}, "z_dim 0: choose from 2 to 4096."),
        ({"width": 1024}, "width 1024: choose from 4 to 512."),
        ({"blocks": 0}, "blocks 0: choose from 1 to 8."),
        ({"penalty_every": 0}, "penalty_every 0: choose from 1 to 64."),
        ({"holdout": 0.6}, "holdout 0.6: choose from 0.0 to 0.5."),
        ({"measure_share": 1.0}, "measure_share 1.0: choose from 0.0 to 0.9."),
        ({"real_label": 0.1}, "real_label 0.1: choose from 0.5 to 1.0."),
        ({"augment_p": 1.5}, "augment_p 1.5: choose from 0.0 to 1.0."),
        ({"augment_fade": -0.1}, "augment_fade -0.1: choose from 0.0 to 1.0."),
        ({"ada_target": 2.0}, "ada_target 2.0: choose from 0.0 to 1.0."),
        ({"beta1": 1.0}, "beta1 1.0: choose from 0.0 to 0.999."),
        ({"beta2": 1.0}, "beta2 1.0: choose from 0.0 to 0.99999."),
        ({"gamma": -1.0}, "gamma -1.0: choose from 0.0 to 1000000.0."),
        ({"gamma": math.nan}, "gamma nan: choose from 0.0 to 1000000.0."),
        ({"seed": -1}, "seed -1: choose from 0 to 9007199254740991."),
        ({"lr": 0.0}, "lr 0.0: choose a number above 0."),
        ({"lr": math.nan}, "lr nan: choose a number above 0."),
        ({"kimg": math.inf}, "kimg inf: choose a number above 0."),
        ({"minutes": -5.0}, "minutes -5.0: choose a number above 0."),
        ({"d_lr_factor": -1.0}, "d_lr_factor -1.0: choose a number above 0."),
        ({"ema_half_life_kimg": 0.0}, "ema_half_life_kimg 0.0: choose a number above 0."),
        (
            {"penalty": "r1", "gamma": 2.0},
            "penalty r1 asks for each picture's own gradient, which batch norm mixes with its "
            "neighbours'. Add --set d_norm=none (or spectral), or leave the penalty out.",
        ),
        (
            {"gamma": 2.0},
            "gamma 2 weighs a penalty that is not there: add --set penalty=r1+r2, or --set gamma=0.",
        ),
        (
            {"penalty": "r1+r2", "d_norm": "none"},
            "penalty r1+r2 has no weight: add --set gamma=2.",
        ),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_by_name_with_its_value_and_what_can(
    chosen: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_combination(TrainConfig(run="r", size=64, **chosen))
    assert str(refused.value) == said
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "chosen",
    [
        {"penalty": "r1", "gamma": 2.0, "d_norm": "spectral"},
        {"penalty": "r1+r2", "gamma": 150.0, "d_norm": "none", "penalty_every": 16},
        {"micro_batch": 4096, "batch": 2},
        {"minutes": 0.5},
        {"beta1": 0.0, "holdout": 0.5},
    ],
    ids=str,
)
def test_what_can_work_is_not_refused(chosen: dict[str, Any]) -> None:
    check_combination(TrainConfig(run="r", size=64, **chosen))


@pytest.mark.parametrize(
    ("chosen", "idle"),
    [
        (
            {"augment": "diffaug", "ada_target": 0.5},
            "ada_target 0.5 changes nothing here: augment is diffaug",
        ),
        (
            {"loss": "hinge", "real_label": 0.8},
            "real_label 0.8 changes nothing here: loss is hinge",
        ),
        ({"augment_p": 0.5}, "augment_p 0.5 changes nothing here: augment is none"),
        ({"penalty_every": 4}, "penalty_every 4 changes nothing here: penalty is none"),
    ],
    ids=str,
)
def test_a_setting_that_changes_nothing_is_told_if_it_was_named(
    chosen: dict[str, Any], idle: str
) -> None:
    config = TrainConfig(run="r", size=64, **chosen)
    assert idle_settings(config, chosen) == [idle]
    assert idle_settings(config, ["augment"]) == []


@pytest.mark.parametrize(
    "chosen",
    [
        {"augment": "ada", "ada_target": 0.5, "augment_p": 0.5},
        {"real_label": 0.8},
        {"penalty": "r1", "gamma": 1.0, "penalty_every": 4},
    ],
    ids=str,
)
def test_a_setting_that_does_something_is_not(chosen: dict[str, Any]) -> None:
    assert idle_settings(TrainConfig(run="r", size=64, **chosen), chosen) == []


# ---------------------------------------------------------------- without torch


def test_asking_for_help_or_settings_does_not_load_torch() -> None:
    script = (
        "import sys, trainers.cli, trainers.config, trainers.presets, trainers.manifest;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], env=ENVIRONMENT, check=True)

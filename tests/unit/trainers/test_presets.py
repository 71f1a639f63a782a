"""Named combinations of settings, preset files, and `--set`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import presets
from trainers.config import NO_LIMIT_KIMG, TrainConfig, check_combination
from trainers.data.augment import parse_operations
from trainers.errors import SettingsError
from trainers.networks import architecture_names, load_architecture
from trainers.networks.check import check_shape
from trainers.presets import (
    DEFAULT_PRESET,
    PRESETS,
    budget_kimg,
    parse_setting,
    resolve_budget,
    resolve_preset,
    resolve_resumed,
)
from trainers.shape import SIZES_PX

FEW, SOME, MANY = 100, 999, 20_000
"""Pictures: on both sides of every number that a preset makes a difference at."""


def config_of(preset: str | None, size: int, num_pictures: int) -> TrainConfig:
    return TrainConfig(run="r", size=size, **resolve_preset(preset, None, size, num_pictures))


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("num_pictures", [FEW, SOME, MANY])
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_can_be_built_at_every_size_its_architecture_can(
    name: str, num_pictures: int
) -> None:
    arch = config_of(name, 64, num_pictures).arch
    for size in load_architecture(arch).sizes:
        config = config_of(name, size, num_pictures)
        check_combination(config)
        check_shape(config.arch, config.shape(()))
        assert parse_operations(config.augment_ops)


@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_networks_fit_together(name: str) -> None:
    config = config_of(name, 64, FEW)
    architecture, shape = load_architecture(config.arch), config.shape(())
    with torch.device("meta"):
        pictures = architecture.build_generator(shape)(torch.empty(2, config.z_dim), None)
        assert pictures.shape == (2, 3, 64, 64)
        assert len(architecture.build_discriminator(shape)(pictures, None, ())) == 2


def test_every_architecture_has_a_preset() -> None:
    for arch in architecture_names():
        assert resolve_preset(None, arch, 64, FEW)["arch"] == arch


def test_nobodys_choice_is_the_default_preset() -> None:
    assert resolve_preset(None, None, 64, FEW) == resolve_preset(DEFAULT_PRESET, None, 64, FEW)


def test_a_preset_sets_nothing_that_is_no_setting() -> None:
    names = {f.name for f in dataclasses.fields(TrainConfig)}
    for name in PRESETS:
        assert resolve_preset(name, None, 64, FEW).keys() <= names


def test_larger_pictures_come_in_smaller_batches() -> None:
    for name in PRESETS:
        batches = [resolve_preset(name, None, size, FEW)["batch"] for size in SIZES_PX]
        assert batches == sorted(batches, reverse=True)


def test_larger_pictures_need_a_heavier_penalty() -> None:
    """R3GAN's 2 at 64 px and 150 at 256 px, as published."""
    gammas = {size: resolve_preset("resgan-s", None, size, FEW)["gamma"] for size in SIZES_PX}
    assert (gammas[64], gammas[256]) == (2.0, 150.0)
    assert list(gammas.values()) == sorted(gammas.values())


def test_more_pictures_bear_more_training() -> None:
    budgets = [budget_kimg(count) for count in (16, 300, 301, 1_500, 6_000, 10**6)]
    assert budgets == [300, 300, 800, 800, 1_500, 4_000]
    assert [resolve_preset("mlp", None, 64, n)["kimg"] for n in (16, 10**6)] == [300, 4_000]


def test_of_few_pictures_none_is_held_out() -> None:
    assert resolve_preset(None, None, 64, 199)["holdout"] == 0
    assert resolve_preset(None, None, 64, 200)["holdout"] == 0.1


def test_few_pictures_are_cut_into_and_many_are_not() -> None:
    for name in ("projected", "resgan-s", "resgan-m"):
        assert "cutout" in resolve_preset(name, None, 64, SOME)["augment_ops"]
        assert "cutout" not in resolve_preset(name, None, 64, MANY)["augment_ops"]


def test_few_pictures_have_a_loss_that_holds_the_discriminator_back() -> None:
    few, many = (config_of("projected", 64, count) for count in (999, 1000))
    assert (few.loss, few.penalty, few.d_norm) == ("relativistic", "r1+r2", "none")
    assert (many.loss, many.penalty, many.d_norm) == ("hinge", "none", "spectral")


def test_paintings_are_mirrored_by_no_preset() -> None:
    for name in PRESETS:
        for size in SIZES_PX:
            assert not config_of(name, size, FEW).flip


@pytest.mark.parametrize(
    ("preset", "arch", "said"),
    [
        ("dcgna", None, "no preset is called 'dcgna'. Did you mean dcgan? Known: projected, "),
        ("stylegan", None, "no preset is called 'stylegan'."),
        (None, "resnet", "no architecture is called 'resnet'. Did you mean resgan? Known: dcgan,"),
        ("resgan-s", "dcgan", "--preset resgan-s is for --arch resgan, not dcgan. Leave one of"),
    ],
)
def test_a_name_that_is_none_and_two_that_contradict_each_other_are_refused(
    preset: str | None, arch: str | None, said: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        resolve_preset(preset, arch, 64, FEW)
    assert str(refused.value).startswith(said)
    assert refused.value.exit_code == 2


def test_a_preset_and_its_own_architecture_do_not_contradict_each_other() -> None:
    assert resolve_preset("resgan-m", "resgan", 64, FEW)["blocks"] == 2


def test_a_new_architecture_needs_no_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """One file in trainers/networks is all it takes to write one."""
    monkeypatch.setattr(presets, "architecture_names", lambda: ["mine"])
    settings = resolve_preset(None, "mine", 64, FEW)
    assert settings == {"arch": "mine", "kimg": 300.0, "holdout": 0.0}


# ---------------------------------------------------------------- files


def file_of(folder: Path, text: str) -> str:
    path = folder / "found.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_file_changes_some_settings_of_the_preset_it_names(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'preset = "resgan-s"\ngamma = 8\naugment = "none"\nflip = true\n')
    settings = resolve_preset(path, None, 64, FEW)
    base = resolve_preset("resgan-s", None, 64, FEW)
    assert settings == base | {"gamma": 8.0, "augment": "none", "flip": True}
    assert isinstance(settings["gamma"], float), "8 is a number like any other"


def test_a_file_without_a_preset_builds_on_its_architectures_or_on_the_default(
    tmp_path: Path,
) -> None:
    on_mlp = resolve_preset(file_of(tmp_path, 'arch = "mlp"\nlr = 1e-3\n'), None, 64, FEW)
    assert on_mlp == resolve_preset("mlp", None, 64, FEW) | {"lr": 1e-3}
    on_default = resolve_preset(file_of(tmp_path, "lr = 1e-3\n"), None, 64, FEW)
    assert on_default == resolve_preset(None, None, 64, FEW) | {"lr": 1e-3}


def test_a_file_may_say_everything_there_is_to_set(tmp_path: Path) -> None:
    config = dataclasses.replace(config_of("resgan-s", 64, FEW), minutes=3.0, classes=True)
    said = {k: v for k, v in config.as_dict().items() if k not in ("run", "size", "device")}
    lines = [f"{k} = {str(v).lower() if isinstance(v, bool) else repr(v)}" for k, v in said.items()]
    settings = resolve_preset(file_of(tmp_path, "\n".join(lines)), None, 64, FEW)
    assert TrainConfig(run="r", size=64, **settings) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gama = 8", "gama: no setting is called 'gama'. Did you mean gamma? Known: arch, "),
        ('run = "mine"', "run: no setting is called 'run'."),
        ('gamma = "eight"', "gamma: 'eight' is no number."),
        ("batch = 8.5", "batch: 8.5 is no whole number."),
        ("batch = true", "batch: True is no whole number."),
        ("lr = nan", "lr: nan is no number."),
        ("flip = 2", "flip: 2 is no true or false."),
        ("loss = 3", "loss: 3 is no text."),
        ("gamma = [1, 2]", "gamma: [1, 2] is no number."),
        ("[training]\ngamma = 8", "training: no setting is called 'training'."),
        ('preset = "resgan"', "no preset is called 'resgan'. Did you mean resgan-s?"),
        ('preset = "found.toml"', "no preset is called 'found.toml'."),
        ("preset = 3", "no preset is called '3'."),
        ("gamma = ", "cannot be read: Invalid value"),
    ],
)
def test_what_a_file_cannot_say_is_refused_with_the_place_and_the_reason(
    tmp_path: Path, text: str, said: str
) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        resolve_preset(path, None, 64, FEW)
    assert path in str(refused.value)
    assert said in str(refused.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml cannot be read: .*No such file"):
        resolve_preset(str(tmp_path / "nowhere.toml"), None, 64, FEW)
    (tmp_path / "found.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"found\.toml cannot be read"):
        resolve_preset(str(tmp_path / "found.toml"), None, 64, FEW)


def test_a_file_for_another_architecture_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    path = file_of(tmp_path, 'preset = "mlp"\n')
    with pytest.raises(SettingsError, match=r"found\.toml is for --arch mlp, not dcgan"):
        resolve_preset(path, "dcgan", 64, FEW)


# ---------------------------------------------------------------- --set


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("gamma=2.5", ("gamma", 2.5)),
        ("gamma=2", ("gamma", 2.0)),
        ("lr=1e-3", ("lr", 1e-3)),
        ("penalty_every=4", ("penalty_every", 4)),
        ("penalty-every = 4", ("penalty_every", 4)),
        ("penalty=r1+r2", ("penalty", "r1+r2")),
        ("augment_ops=color,cutout", ("augment_ops", "color,cutout")),
        ("attention=true", ("attention", True)),
        ("guard=False", ("guard", False)),
        ("minutes=5", ("minutes", 5.0)),
    ],
)
def test_a_setting_is_read_as_its_field_has_it(text: str, setting: tuple[str, Any]) -> None:
    name, value = parse_setting(text)
    assert (name, value) == setting
    assert type(value) is type(setting[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gamma", "--set gamma: write NAME=VALUE, for example --set gamma=2."),
        ("gama=2", "--set gama=2: no setting is called 'gama'. Did you mean gamma? Known: arch"),
        ("size=64", "--set size=64: no setting is called 'size'."),
        ("gamma=", "--set gamma=: '' is no number."),
        ("gamma=two", "--set gamma=two: 'two' is no number."),
        ("gamma=inf", "--set gamma=inf: 'inf' is no number."),
        ("batch=8.0", "--set batch=8.0: '8.0' is no whole number."),
        ("flip=maybe", "--set flip=maybe: 'maybe' is no true or false."),
    ],
)
def test_a_setting_that_cannot_be_read_is_refused_as_it_was_written(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_setting(text)
    assert str(refused.value).startswith(said)
    assert refused.value.exit_code == 2


# ---------------------------------------------------------------- a run that was saved


def test_a_resumed_run_keeps_what_it_learns_with_however_many_pictures_there_are_by_now() -> None:
    saved = TrainConfig(
        run="r", size=64, **(resolve_preset("dcgan", None, 64, 100) | {"lr": 0.001, "seed": 7})
    )
    resumed = resolve_resumed(None, None, 64, 5_000, saved.as_dict())
    config = TrainConfig(run="r", size=64, **resumed)
    assert config == saved
    assert config.holdout == 0.0, "5,000 new pictures would have some held out"
    assert config.kimg == budget_kimg(100), "and a longer budget"


def test_a_preset_file_named_today_brings_the_budget_it_names(tmp_path: Path) -> None:
    saved = TrainConfig(run="r", size=64, **resolve_preset("dcgan", None, 64, 100)).as_dict()
    named = resolve_resumed(
        file_of(tmp_path, 'preset = "dcgan"\nkimg = 9.0\n'), None, 64, 100, saved
    )
    assert named["kimg"] == 9.0
    assert resolve_resumed("dcgan", None, 64, 5_000, saved)["kimg"] == budget_kimg(100)


@pytest.mark.parametrize(
    ("named", "budget"),
    [
        ({}, (100.0, 20.0)),
        ({"kimg": 200.0}, (200.0, None)),
        ({"minutes": 60.0}, (NO_LIMIT_KIMG, 60.0)),
        ({"kimg": 200.0, "minutes": 60.0}, (200.0, 60.0)),
    ],
    ids=str,
)
def test_a_budget_that_is_spent_does_not_hold_back_the_one_that_is_named(
    named: dict[str, Any], budget: tuple[float, float | None]
) -> None:
    settings = {"kimg": 100.0, "minutes": 20.0}
    resolved = resolve_budget(settings, named, kimg=100.0, minutes=20.0)
    assert (resolved["kimg"], resolved["minutes"]) == budget
    young = resolve_budget(settings, named, kimg=5.0, minutes=1.0)
    assert young == settings | named, "what is not spent still counts"


def test_a_preset_named_today_brings_its_own_values_and_only_these() -> None:
    saved = TrainConfig(run="r", size=64, **(resolve_preset("dcgan", None, 64, 100) | {"seed": 7}))
    resumed = resolve_resumed("dcgan-steady", None, 64, 5_000, saved.as_dict())
    assert resumed["d_norm"] == "spectral"
    assert (resumed["seed"], resumed["holdout"]) == (7, 0.0)

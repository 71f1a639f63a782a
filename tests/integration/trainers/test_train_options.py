"""What a person can choose: presets, files and settings, and what is refused before anything is done."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.trainer_fixtures import STEP_KIMG, NotingDisplay, Studio, write_pictures
from trainers import state
from trainers.cli import has_bf16, report_pictures, train_command
from trainers.config import TrainConfig
from trainers.data.cache import Rejection
from trainers.errors import SettingsError, TrainerError
from trainers.inference import load_generator
from trainers.presets import PRESETS
from trainers.pretrained.efficientnet_lite import VARIANTS

SETTABLE = {f.name for f in dataclasses.fields(TrainConfig)} - {"run", "size", "device"}


@pytest.fixture
def place(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A studio one stands in."""
    monkeypatch.chdir(studio.path)
    return studio


def command(*options: object) -> Result:
    """The command in this process; nothing is trained unless the options say so."""
    arguments = ["--dataset", "blobs", "--size", "32", "--device", "cpu", *map(str, options)]
    return CliRunner().invoke(train_command, arguments, prog_name="train")


def plan(*options: object) -> dict[str, str]:
    ran = command(*options, "--dry-run")
    assert ran.exception is None, ran.exception
    settings = ran.stdout.partition("\n\n")[2]  # below the plain words
    rows = (line.split(maxsplit=1) for line in settings.splitlines() if line)
    return {name: value[0] if value else "" for name, *value in rows}


def refusal(*options: object) -> TrainerError:
    ran = command(*options)
    assert isinstance(ran.exception, TrainerError), (ran.exception, ran.output)
    return ran.exception


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--kimg", "0", "0: choose a number above 0."),
        ("--kimg", "inf", "inf: choose a number above 0."),
        ("--lr", "nan", "nan: choose a number above 0."),
        ("--minutes", "soon", "'soon' is no number. Choose a number above 0."),
        ("--holdout", "0.9", "0.9: choose a number from 0 to 0.5."),
        ("--batch", "1", "1: choose a whole number from 2 to 4096."),
        ("--width", "6.5", "'6.5' is no whole number. Choose a whole number from 4 to 512."),
        ("--seed", "-1", "-1: choose a whole number from 0 to 9007199254740991."),
    ],
)
def test_a_number_out_of_its_bounds_is_refused_in_plain_words(
    place: Studio, option: str, value: str, words: str
) -> None:
    ran = command(option, value)
    assert ran.exit_code == 2
    assert f"Error: Invalid value for '{option}': {words}" in ran.output


# ---------------------------------------------------------------- a dry run


def test_a_dry_run_shows_every_name_that_can_be_set(place: Studio) -> None:
    assert plan().keys() >= SETTABLE


def test_what_a_dry_run_shows_can_be_set_as_it_is_shown(place: Studio) -> None:
    wanted = plan("--preset", "resgan-s", "--set", "attention=true", "--minutes", "7", "--no-guard")
    told = [f"--set={name}={wanted[name]}" for name in sorted(SETTABLE - {"arch"})]
    again = plan("--arch", "resgan", "--preset", "resgan-m", *told)
    assert again == wanted


def test_a_dry_run_tells_what_the_networks_weigh_and_cost(place: Studio) -> None:
    """Counted without the pretrained weights being read."""
    shown = plan("--preset", "projected")
    assert "M parameters, " in shown["generator"]
    assert "GMAC a picture" in shown["generator"]
    assert "M frozen ones" in shown["discriminator"]


def test_a_dry_run_begins_in_plain_words(place: Studio) -> None:
    ran = command("--preset", "dcgan", "--kimg", 5, "--minutes", 2.5, "--dry-run")
    words, _, settings = ran.stdout.partition("\n\n")
    first, second, third, fourth, fifth = words.splitlines()
    assert first == "blobs-32 learns from the 24 picture files in datasets/blobs."
    assert second == "It paints 32 x 32 px, and learns on cpu."
    assert third == (
        "It ends after 5 kimg (thousand pictures) or 2.5 minutes, whichever is first, over all sessions."
    )
    assert fourth.startswith("Its generator (dcgan) has ")
    assert fourth.endswith(" million that learn.")
    assert fifth.startswith("On disk: about ")
    assert settings.startswith("pictures ")


def test_a_dry_run_lists_what_changes_nothing_apart(place: Studio) -> None:
    def idle(*options: object) -> set[str]:
        tail = command(*options, "--dry-run").stdout.partition("these change nothing:")[2]
        return {line.split()[0] for line in tail.splitlines() if line}

    of_projected = idle("--preset", "projected", "--augment", "none")
    assert of_projected >= {"upsampling", "blocks", "real_label", "augment_p", "ada_target"}
    assert "augment_p" not in idle("--preset", "dcgan-steady")
    assert "upsampling" not in idle("--preset", "dcgan")


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        ("flags : fpu avx512f avx512_bf16 sse", True),
        ("Features : fp asimd bf16", True),
        ("flags : fpu avx2 sse", False),
        (None, True),
    ],
)
def test_a_processor_that_computes_in_bf16_is_known_by_its_flags(
    tmp_path: Path, facts: str | None, has: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if facts is not None:
        cpuinfo.write_text(facts)
    assert has_bf16(cpuinfo) is has


def test_bf16_on_a_processor_that_gains_nothing_by_it_is_remarked(
    place: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.cli.has_bf16", lambda: False)
    words = "precision bf16 gains nothing on this processor"
    assert words in command("--set", "precision=bf16", "--dry-run").stderr
    assert words not in command("--dry-run").stderr


def reported(place: Studio, **facts: Any) -> list[str]:
    pictures = dataclasses.replace(place.pictures(), **facts)
    display = NotingDisplay()
    report = place.path / "left-out.txt"
    report_pictures(pictures, pictures.folder or place.path, 32, False, report, display)
    return display.notes


def test_pictures_of_kinds_that_are_not_read_are_counted_and_all_listed(place: Studio) -> None:
    left_out = (
        Rejection("a.HEIC", "is of a kind that is not read"),
        Rejection("sub/b.psd", "is of a kind that is not read"),
        Rejection("text.jpg", "is not a picture"),
    )
    notes = reported(place, rejections=left_out)
    assert notes[1:] == [
        "  left out: 2 files of kinds that are not read (.heic, .psd)",
        "  left out: text.jpg is not a picture",
    ]
    assert (place.path / "left-out.txt").read_text() == (
        "a.HEIC is of a kind that is not read\nsub/b.psd is of a kind that is not read\n"
        "text.jpg is not a picture\n"
    )


def test_one_picture_that_is_smaller_is_one(place: Studio) -> None:
    assert reported(place, num_upscaled=1, upscaling=(1.6, 1.6))[-1] == (
        "  1 of 24 is smaller than 32 px and was enlarged 1.6 times; a smaller --size would look sharper."
    )


# ---------------------------------------------------------------- a run that has a saved state


def save_state(place: Studio, **how_far: float) -> None:
    """As if the run had learned so far; nothing but what the command looks at."""
    run = place.path / "runs" / "blobs-32"
    run.mkdir(parents=True)
    config = TrainConfig(run="blobs-32", size=32, kimg=800.0, minutes=2.5)
    seen = {"images_seen": 2300, "elapsed_s": 60.0, **how_far}
    state.save(run, {"config": config.as_dict(), **seen})


@pytest.fixture
def nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("pictures are decoded")

    monkeypatch.setattr("trainers.cli.prepare_pictures", decode)


@pytest.mark.usefixtures("nothing_is_decoded")
@pytest.mark.parametrize(
    ("options", "differs"),
    [
        (("--width", 8), "width 64 -> 8"),
        (("--size", 64, "--run", "blobs-32"), "size 32 -> 64"),
        (("--seed", 3), "seed 0 -> 3"),
    ],
)
def test_what_does_not_fit_a_saved_run_is_refused_before_a_picture_is_decoded(
    place: Studio, options: tuple[object, ...], differs: str
) -> None:
    save_state(place)
    assert f"has a saved state that these settings do not fit: {differs}" in str(refusal(*options))
    assert not (place.path / "cache").exists()


@pytest.mark.usefixtures("nothing_is_decoded")
def test_classes_of_a_flat_folder_are_refused_before_a_picture_is_decoded(place: Studio) -> None:
    assert "--classes: two subfolders" in str(refusal(*TINY, "--classes"))


@pytest.mark.usefixtures("nothing_is_decoded")
@pytest.mark.parametrize(
    ("how_far", "words"),
    [
        ({"elapsed_s": 151.0}, "its 2.5 minutes are spent. Go on with --minutes 10."),
        ({"images_seen": 800_000}, "its 800 kimg are spent. Go on with --kimg 1600."),
    ],
    ids=["minutes", "kimg"],
)
def test_a_finished_run_says_at_once_which_budget_ended_it_and_how_to_go_on(
    place: Studio, how_far: dict[str, float], words: str
) -> None:
    save_state(place, **how_far)
    ran = command()
    assert ran.exit_code == 0
    assert ran.stderr.splitlines() == ["starting torch …", f"blobs-32 is finished: {words}"]


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_planned_by_name(place: Studio, name: str) -> None:
    shown = plan("--preset", name)
    assert shown["arch"] in name
    assert shown["augment"] in ("none", "diffaug", "ada")


# ---------------------------------------------------------------- who has the last word


def test_an_option_beats_the_preset_and_a_setting_beats_both(place: Studio) -> None:
    assert plan("--preset", "dcgan-steady")["loss"] == "hinge"
    assert plan("--preset", "dcgan-steady", "--loss", "bce")["loss"] == "bce"
    both = plan("--preset", "dcgan-steady", "--loss", "bce", "--set", "loss=relativistic")
    assert both["loss"] == "relativistic"


def test_a_preset_file_decides_what_no_option_says(place: Studio) -> None:
    """Also what the options have a default for: the default is what nobody chose."""
    found = {
        "preset": '"dcgan"',
        "seed": "7",
        "guard": "false",
        "tick_kimg": "8.0",
        "export_kimg": "99.0",
        "tensorboard": "true",
        "kimg": "12.0",
        "flip": "true",
    }
    (place.path / "found.toml").write_text("".join(f"{k} = {v}\n" for k, v in found.items()))
    shown = plan("--preset", "found.toml")
    assert {name: shown[name] for name in found if name != "preset"} == {
        name: value for name, value in found.items() if name != "preset"
    }
    over = plan("--preset", "found.toml", "--seed", 1, "--guard", "--tick-kimg", 2, "--no-flip")
    assert [over[name] for name in ("seed", "guard", "tick_kimg", "flip")] == [
        *("1", "true", "2.0", "false")
    ]


def test_without_a_choice_everything_is_the_default_presets(place: Studio) -> None:
    shown, by_name = plan(), plan("--preset", next(iter(PRESETS)))
    assert shown == by_name
    assert (shown["seed"], shown["guard"], shown["tensorboard"]) == ("0", "true", "false")
    assert (float(shown["tick_kimg"]), float(shown["export_kimg"])) == (4.0, 50.0)


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "dcgna"], ["no preset is called 'dcgna'", "Did you mean dcgan?"]),
        (["--preset", "nowhere.toml"], ["--preset nowhere.toml cannot be read", "No such file"]),
        (
            ["--preset", "resgan-s", "--arch", "mlp"],
            ["--preset resgan-s is for --arch resgan, not mlp", "Leave one of them out"],
        ),
        (["--set", "gamma"], ["--set gamma: write NAME=VALUE"]),
        (["--set", "gama=2"], ["--set gama=2: no setting is called 'gama'", "mean gamma?"]),
        (["--set", "arch=resnet"], ["no architecture is called 'resnet'", "mean resgan?"]),
        (["--set", "minutes=-1"], ["minutes -1.0: choose a number above 0"]),
        (["--set", "lr=1e400"], ["--set lr=1e400: '1e400' is no number"]),
        (
            ["--preset", "dcgan", "--set", "penalty=r1", "--set", "gamma=2"],
            ["penalty r1", "--set d_norm=none", "leave the penalty out"],
        ),
        (
            ["--preset", "resgan-s", "--set", "penalty=none"],
            ["gamma 2 weighs a penalty that is not there", "--set gamma=0"],
        ),
        (
            ["--preset", "dcgan", "--set", "d_norm=none", "--set", "penalty=r1"],
            ["penalty r1 has no weight", "--set gamma=2"],
        ),
        (["--preset", "dcgan", "--set", "blocks=2"], ["--set blocks=2: dcgan has no such option"]),
        (
            ["--preset", "mlp", "--set", "attention=true"],
            ["--set attention=true: mlp has no such option"],
        ),
        (
            ["--preset", "resgan-s", "--upsampling", "resize"],
            ["--upsampling resize: resgan has no such option"],
        ),
        (
            ["--preset", "mlp", "--size", "128"],
            ["--size 128: mlp cannot be built so", "--size 28 or --size 32 or --size 64"],
        ),
        (["--augment", "ada", "--set", "augment_ops=blur"], ["no augmentation is called 'blur'"]),
        (["--holdout", "0.1", "--preset", "dcgan"], ["--holdout 0.1 of 24 pictures", "0 or a la"]),
    ],
    ids=" ".join,
)
def test_what_does_not_go_together_is_refused_by_name_with_the_remedy(
    place: Studio, options: list[str], words: list[str]
) -> None:
    for dry_run in ([], ["--dry-run"]):
        error = refusal("--kimg", STEP_KIMG, *options, *dry_run)
        assert isinstance(error, SettingsError)
        assert error.exit_code == 2
        for word in words:
            assert word in str(error)
    assert sorted(p.name for p in place.path.iterdir()) == ["datasets"], "nothing was prepared"


# ---------------------------------------------------------------- pictures

TINY = ("--preset", "dcgan", "--set", "z_dim=8", "--set", "width=4", "--batch", 8)


@pytest.mark.parametrize(("count", "is_enough"), [(15, False), (16, True)])
def test_sixteen_usable_pictures_are_the_least(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, is_enough: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "datasets" / "blobs", count)
    (tmp_path / "datasets" / "blobs" / "text.jpg").write_text("no picture")
    ran = command(*TINY, "--kimg", STEP_KIMG, "--set", "measure_share=0")
    if is_enough:
        assert ran.exception is None, ran.exception
    else:
        assert isinstance(ran.exception, TrainerError)
        assert ran.exception.exit_code == 1
        assert "15 usable pictures; 16 are the least. 1 left out: text.jpg is not a" in str(
            ran.exception
        )


def test_a_dry_run_too_refuses_too_few_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "datasets" / "blobs", 15)
    error = refusal(*TINY, "--dry-run")
    assert str(error).startswith(
        "datasets/blobs has 15 picture files; 16 usable ones are the least."
    )
    assert error.exit_code == 1


def test_the_tutorial_network_learns_at_the_tutorials_28_px_and_no_other_does(
    place: Studio,
) -> None:
    ran = command("--preset", "mlp", "--size", 28, "--kimg", 0.128, "--set", "measure_share=0")
    assert ran.exception is None, ran.output
    [checkpoint] = place.checkpoints()
    assert checkpoint.name == "blobs-28-000000.128"
    assert load_generator(checkpoint).paint(seed=1).shape == (28, 28, 3)
    refused = refusal("--preset", "dcgan", "--size", 28)
    assert str(refused).startswith("--size 28: dcgan cannot be built so. Use --size 32 or")


def test_what_is_not_installed_is_found_out_before_anything_is_prepared(
    place: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = dataclasses.replace(VARIANTS["lite2"], wheel="efficientnet-lite9-no-model")
    with monkeypatch.context() as without_judge:
        without_judge.setitem(VARIANTS, "lite2", missing)
        assert "efficientnet-lite9-no-model" in str(refusal(*TINY, "--kimg", STEP_KIMG))
        command(*TINY, "--set", "measure_share=0", "--dry-run")  # who does not measure needs none
    unseen = dataclasses.replace(VARIANTS["lite0"], wheel="efficientnet-lite9-no-model")
    with monkeypatch.context() as without_trunk:
        without_trunk.setitem(VARIANTS, "lite0", unseen)
        blind = ("--preset", "projected", "--set", "measure_share=0", "--kimg", STEP_KIMG)
        assert "efficientnet-lite9-no-model" in str(refusal(*blind))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    error = refusal(*TINY, "--kimg", STEP_KIMG, "--tensorboard")
    assert "--tensorboard needs the package tensorboard" in str(error)
    assert sorted(p.name for p in place.path.iterdir()) == ["datasets"], "nothing was prepared"


def test_pictures_too_small_for_the_size_are_enlarged_and_that_is_said(place: Studio) -> None:
    """They are 40 px."""
    small = command(*TINY, "--kimg", STEP_KIMG, "--set", "measure_share=0", "--size", 64)
    assert small.exception is None, small.exception
    assert (
        "24 of 24 are smaller than 64 px and were enlarged 1.6 times; a smaller --size would look sharper."
        in small.stderr
    )
    fitting = command(*TINY, "--kimg", STEP_KIMG, "--set", "measure_share=0")
    assert "enlarged" not in fitting.stderr


def test_a_run_stopped_at_an_ill_tick_is_not_said_to_be_done(
    place: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It exported nothing, and there is something left to do."""
    import trainers.loop
    from trainers.loop import TrainResult

    def train(*_: Any) -> TrainResult:
        return TrainResult(checkpoint=None, images_seen=8, is_finished=False)

    monkeypatch.setattr(trainers.loop, "train", train)
    ran = command(*TINY, "--kimg", 1)
    assert ran.exit_code == 130
    assert "are spent" not in ran.stderr
    assert "everything is saved, the same command goes on from there" in ran.stderr

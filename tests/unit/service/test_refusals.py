"""Which refusals are remembered, what becomes of the batch, and whom is told how often. No torch here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import time, timedelta
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pytest

from artbot.config import ScheduleSettings
from artbot.domain.candidate import BatchState
from artbot.errors import DeviceFailed, NoCheckpoint, RenderFailed
from artbot.pictures import fault_of
from artbot.studio import batch as batches
from artbot.studio.batch import Listener, Studio, make_batch
from artbot.studio.provenance import Origin
from artbot.studio.refusals import refused_for_good, release
from artbot.studio.registry import identity_of
from artbot.studio.render import Devices, Painting, RenderChild, RenderOptions
from artbot.worker import hold_epoch
from db.engine import Database, Fenced, open_database
from db.models import Batch, Checkpoint
from tests.unit.service.kit import NOON, SATURDAY, SetClock, a_batch, write_checkpoint
from tests.unit.trainers.test_header import safetensors_file
from trainers.errors import CheckpointRefused, WeightsRefused
from trainers.manifest import DatasetFacts, Manifest, read_manifest

OPTIONS = RenderOptions("auto", 1, 1, {})


@dataclass
class Shop:
    """A studio with one batch to make, whose children are played by `start`."""

    studio: Studio
    refused: list[tuple[str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    """`NAME on DEVICE` of every child that was started."""

    def make(self, key: str = "daily-2026-11-21") -> BatchState:
        listener = Listener(
            on_refused=lambda name, reason: self.refused.append((name, reason)),
            on_painted=lambda name, done, total: None,
            on_render_error=lambda name, reason: self.errors.append(reason),
        )
        return make_batch(self.studio, key, listener, lambda: False)

    def add(self, name: str, days: float = 0, weights: bytes | None = None) -> Manifest:
        created_at = NOON + timedelta(days=days)
        content = weights or safetensors_file(data=name.encode())
        return write_checkpoint(self.studio.checkpoints, name, created_at, content)

    def batch(self) -> Batch:
        with self.studio.database.read() as session:
            batch = session.query(Batch).one()
            assert batch.candidates is not None  # loaded while the session is there
            return batch

    def reasons(self) -> dict[str, str]:
        return {row.name: row.reason for row in refused_for_good(self.studio.database)}

    def kept(self) -> list[str]:
        folder = self.studio.generators
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


Start = Callable[[str, str], None]
"""(checkpoint name, device): raises what the child would say."""


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Shop:
    studio = Studio(
        database=database,
        checkpoints=tmp_path / "checkpoints",
        works=tmp_path / "works",
        schedules={},
        truncation_psi=1.0,
        render_options=OPTIONS,
        clock=SetClock(),
    )
    with studio.database.write() as session:
        wanted = a_batch(state=BatchState.PLANNED)
        wanted.num_candidates = 2
        session.add(wanted)
    return Shop(studio)


def play(shop: Shop, monkeypatch: pytest.MonkeyPatch, start: Start, paint: Start) -> None:
    """Let `start` and `paint` say what a child does; those that raise nothing paint."""

    class PlayedChild:
        def __init__(self, kept: Path, options: RenderOptions) -> None:
            self.environment = {"torch": "none"}
            self.name, self.device = read_manifest(kept).name, options.device

        def __enter__(self) -> Self:
            shop.started.append(f"{self.name} on {self.device}")
            start(self.name, self.device)
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None: ...

        def paint(self, origin: Origin, path: Path) -> Painting:
            paint(self.name, self.device)
            path.write_bytes(b"a picture")
            return Painting("1" * 64, "2" * 64, 9, 32, 32)

    monkeypatch.setattr(batches, "RenderChild", PlayedChild)


def well(_name: str, _device: str) -> None:
    """Nothing goes wrong."""


def failing(**errors: Exception) -> Start:
    """Those named fail so, always."""

    def start(name: str, _device: str) -> None:
        if name in errors:
            raise errors[name]

    return start


# ---------------------------------------------------------------- for good


def test_weights_that_were_refused_are_not_tried_again_and_the_one_before_paints(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = shop.add("good"), shop.add("bad", days=1)
    play(shop, monkeypatch, failing(bad=WeightsRefused("it paints one flat colour")), well)
    assert shop.make() == BatchState.READY
    assert shop.started == ["bad on auto", "good on auto"]
    assert shop.refused == [("bad", "it paints one flat colour")]
    assert shop.reasons() == {"bad": "it paints one flat colour"}
    held = refused_for_good(shop.studio.database).of(bad)
    assert held is not None
    assert held.refused_at == NOON
    assert shop.kept() == [good.sha256], "nothing was painted by the other"


def test_what_was_refused_is_told_once_and_starts_no_child_however_often_the_daemon_looks(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add("bad")
    shop.add("broken", days=1, weights=b"no safetensors")
    shop.add("half", days=2)
    (shop.studio.checkpoints / "half" / "generator.safetensors").write_bytes(b"half")
    play(shop, monkeypatch, failing(bad=WeightsRefused("it paints one flat colour")), well)
    for _ in range(3):
        with pytest.raises(NoCheckpoint, match=r"half: .*; broken: .*; bad: it paints one flat"):
            shop.make()
    assert shop.started == ["bad on auto"]
    assert [name for name, _ in shop.refused] == ["half", "broken", "bad"]
    assert shop.reasons().keys() == {"bad", "broken"}, "half of a file may become a whole one"
    assert shop.batch().state == BatchState.PLANNED
    assert "bad: it paints one flat colour" in (shop.batch().reason or "")


def test_another_generator_under_the_same_name_is_tried(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add("bad", weights=b"no safetensors")
    play(shop, monkeypatch, well, well)
    with pytest.raises(NoCheckpoint):
        shop.make()
    for file in (shop.studio.checkpoints / "bad").iterdir():
        file.unlink()
    (shop.studio.checkpoints / "bad").rmdir()
    shop.add("bad")
    assert shop.make() == BatchState.READY
    assert shop.batch().reason is None, "it waits for nothing any more"


def test_the_same_weights_under_another_name_are_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = safetensors_file()
    shop.add("bad", weights=weights)
    play(shop, monkeypatch, failing(bad=WeightsRefused("it paints one flat colour")), well)
    with pytest.raises(NoCheckpoint):
        shop.make()
    (shop.studio.checkpoints / "bad").rename(shop.studio.checkpoints / "gone")
    shop.add("again", weights=weights)
    with pytest.raises(NoCheckpoint, match="again: it paints one flat colour"):
        shop.make()
    assert shop.started == ["bad on auto"]


def test_what_a_person_releases_is_tried_again_and_told_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = shop.add("bad")
    play(shop, monkeypatch, failing(bad=WeightsRefused("it paints one flat colour")), well)
    for _ in range(2):
        with pytest.raises(NoCheckpoint):
            shop.make()
    (released,) = release(shop.studio.database, "bad", manifest)
    assert released.sha256 == identity_of(manifest)
    assert release(shop.studio.database, "bad", manifest) == []
    with pytest.raises(NoCheckpoint):
        shop.make()
    assert len(shop.started) == len(shop.refused) == 2


def test_a_generator_that_painted_before_is_kept_although_it_is_refused_now(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = shop.add("bad")
    with shop.studio.database.write() as session:
        session.add(Checkpoint(sha256=manifest.sha256, name="bad", manifest={}, first_used_at=NOON))
    play(shop, monkeypatch, failing(bad=WeightsRefused("no numbers")), well)
    with pytest.raises(NoCheckpoint):
        shop.make()
    assert shop.kept() == [manifest.sha256]


# ---------------------------------------------------------------- for now


CIRCUMSTANCES = {
    "a child that died": RenderFailed("the render process ended while starting: signal 7"),
    "a device without memory": DeviceFailed("the device failed while starting: out of memory"),
    "a file that cannot be read": CheckpointRefused("generator.safetensors cannot be read"),
}


@pytest.mark.parametrize("kind", CIRCUMSTANCES)
def test_what_lies_in_circumstances_is_passed_over_and_held_against_nobody(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    shop.add("good")
    shop.add("unlucky", days=1)
    play(shop, monkeypatch, failing(unlucky=CIRCUMSTANCES[kind]), well)
    assert shop.make() == BatchState.READY
    assert shop.reasons() == {}
    assert [name for name, _ in shop.refused] == ["unlucky"]
    assert str(CIRCUMSTANCES[kind]) in shop.refused[0][1]
    assert shop.batch().checkpoint_sha256 == read_manifest(shop.studio.checkpoints / "good").sha256


def test_a_copy_that_was_damaged_before_it_was_loaded_is_not_held_against_the_weights(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = shop.add("unlucky")
    weights = shop.studio.generators / manifest.sha256 / "generator.safetensors"

    def damaged_once(_name: str, _device: str) -> None:
        if len(shop.started) == 1:
            weights.chmod(0o600)
            weights.write_bytes(b"half")
            raise WeightsRefused("generator.safetensors is no safetensors file")

    play(shop, monkeypatch, damaged_once, well)
    with pytest.raises(NoCheckpoint, match="is no safetensors file"):
        shop.make()
    assert shop.reasons() == {}
    assert shop.make() == BatchState.READY
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == manifest.sha256


def test_a_machine_that_loads_nothing_is_not_asked_for_ever_older_generators(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(5):
        shop.add(f"c{day}", days=day)
    died = RenderFailed("the render process ended while starting: signal 9")
    play(shop, monkeypatch, failing(**{f"c{day}": died for day in range(5)}), well)
    for times in (1, 2):
        with pytest.raises(NoCheckpoint, match=r"c4: the render process ended.*; c3: the render"):
            shop.make()
        assert shop.started == ["c4 on auto", "c3 on auto"] * times
        assert len(shop.refused) == 2 * times, "each took its time, and the worker lives"
    assert "c4: the render process ended" in (shop.batch().reason or "")


# ---------------------------------------------------------------- the same weights, another manifest


def lay_over(shop: Shop, name: str, days: float, weights: bytes, **changes: object) -> Manifest:
    """A checkpoint of these weights whose manifest says something else about them."""
    manifest = shop.add(name, days, weights).model_copy(update=changes)
    (shop.studio.checkpoints / name / "manifest.json").write_bytes(manifest.to_json())
    return manifest


def another_batch(shop: Shop) -> None:
    with shop.studio.database.write() as session:
        wanted = a_batch(state=BatchState.PLANNED, day=SATURDAY + timedelta(days=1))
        wanted.num_candidates = 1
        session.add(wanted)


def test_a_wrong_manifest_over_good_weights_is_refused_without_them(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = shop.add("good", weights=safetensors_file())
    wrong = lay_over(shop, "wrong", 1, safetensors_file(), width=16)
    assert wrong.sha256 == good.sha256
    play(shop, monkeypatch, failing(wrong=WeightsRefused("tensor has shape")), well)
    assert shop.make() == BatchState.READY
    assert shop.started == ["wrong on auto", "good on auto"]
    known = refused_for_good(shop.studio.database)
    assert (known.of(wrong) is not None, known.of(good)) == (True, None)
    assert read_manifest(shop.studio.generators / good.sha256) == good


def test_a_wrong_manifest_over_weights_that_painted_starts_no_child_and_changes_no_copy(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tensors of two classes fit whatever the classes are called."""
    learned = DatasetFacts(
        name="flowers", fingerprint="c" * 64, num_pictures=500, class_names=("rose", "tulip")
    )
    good = lay_over(shop, "good", 0, safetensors_file(), is_conditional=True, dataset=learned)
    play(shop, monkeypatch, well, well)
    assert shop.make() == BatchState.READY
    swapped = learned.model_copy(update={"class_names": ("tulip", "rose")})
    lay_over(shop, "wrong", 1, safetensors_file(), is_conditional=True, dataset=swapped)
    another_batch(shop)
    assert shop.make("daily-2026-11-22") == BatchState.READY
    assert shop.started == ["good on auto", "good on auto"]
    assert shop.refused == [
        (
            "wrong",
            "its weights painted before, with another manifest (architecture, shape or classes)",
        )
    ]
    assert shop.reasons() == {}
    assert read_manifest(shop.studio.generators / good.sha256) == good


def test_an_original_with_another_manifest_does_not_take_the_place_of_a_damaged_copy(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = shop.add("good", weights=safetensors_file())
    play(shop, monkeypatch, well, well)
    assert shop.make() == BatchState.READY
    lay_over(shop, "wrong", 1, safetensors_file(), width=16)
    shutil.rmtree(shop.studio.checkpoints / "good")
    shutil.rmtree(shop.studio.generators)
    with pytest.raises(CheckpointRefused, match="holds no whole checkpoint"):
        batches.kept_generator(shop.studio, good.sha256)


# ---------------------------------------------------------------- a schedule that names a data set


def test_a_schedule_that_names_a_data_set_waits_for_a_generator_that_learned_from_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules = {"daily": ScheduleSettings(at=time(7), dataset="fish")}
    shop = Shop(batches.Studio(**{**vars(shop.studio), "schedules": schedules}))
    shop.add("flowers", days=2)
    play(shop, monkeypatch, well, well)
    with pytest.raises(NoCheckpoint, match="learned from 'fish', which the schedule asks for"):
        shop.make()
    waiting = shop.batch()
    assert (waiting.state, waiting.candidates) == (BatchState.PLANNED, [])
    assert "there are some of flowers" in (waiting.reason or "")
    learned = DatasetFacts(name="fish", fingerprint="d" * 64, num_pictures=500)
    fish = lay_over(shop, "fish", 1, safetensors_file(data=b"fish"), dataset=learned)
    assert shop.make() == BatchState.READY
    assert shop.batch().checkpoint_sha256 == fish.sha256


# ---------------------------------------------------------------- the generator of a begun batch


def begin(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """One of two is painted when the machine is switched off; the original is pruned meanwhile."""
    manifest = shop.add("good")
    left = [1]

    def stops(_name: str, _device: str) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1

    play(shop, monkeypatch, well, stops)
    with pytest.raises(KeyboardInterrupt):
        shop.make()
    shutil.rmtree(shop.studio.checkpoints / "good")
    shop.add("other")
    play(shop, monkeypatch, well, well)
    return manifest


def states(shop: Shop) -> list[str]:
    return [candidate.state for candidate in shop.batch().candidates]


def test_while_its_generator_cannot_be_read_a_begun_batch_waits_and_nothing_of_it_fails(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(shop, monkeypatch)
    elsewhere = shop.studio.works.rename(shop.studio.works.with_name("elsewhere"))
    with pytest.raises(NoCheckpoint, match=r"cannot be used now: manifest\.json is missing"):
        shop.make()
    assert states(shop) == ["pending", "planned"]
    assert "manifest.json is missing" in (shop.batch().reason or "")
    elsewhere.rename(shop.studio.works)
    assert shop.make() == BatchState.READY


def test_where_nothing_will_ever_paint_the_rest_it_fails_and_what_is_painted_stays(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = begin(shop, monkeypatch)
    weights = shop.studio.generators / manifest.sha256 / "generator.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(b"half")
    assert shop.make() == BatchState.PARTIAL
    assert states(shop) == ["pending", "failed"]
    assert "its generator cannot be used" in (shop.batch().candidates[1].error or "")


def test_a_damaged_copy_is_final_only_while_the_checkpoints_are_there_to_look_at(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = begin(shop, monkeypatch)
    weights = shop.studio.generators / manifest.sha256 / "generator.safetensors"
    weights.chmod(0o600)
    weights.write_bytes(b"half")
    shop.studio.checkpoints.rename(shop.studio.checkpoints.with_name("elsewhere"))
    with pytest.raises(NoCheckpoint):
        shop.make()
    assert states(shop) == ["pending", "planned"]


def test_a_begun_batch_whose_weights_are_refused_now_fails_the_rest(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(shop, monkeypatch)
    play(shop, monkeypatch, failing(good=WeightsRefused("values that are no numbers")), well)
    assert shop.make() == BatchState.PARTIAL


# ---------------------------------------------------------------- two workers


def test_a_worker_that_was_replaced_while_it_painted_touches_nothing_of_its_successors(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, database_at: Path | str
) -> None:
    """It paints other bytes, as another device would, and is done last."""
    shop.add("good")
    others = open_database(database_at)
    successor = Shop(batches.Studio(**{**vars(shop.studio), "database": others}))
    painters = []

    class Painter:
        environment: ClassVar[dict[str, object]] = {}

        def __init__(self, kept: Path, options: RenderOptions) -> None:
            self.words = f"by worker {len(painters)}".encode()
            painters.append(self)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *error: object) -> None: ...

        def paint(self, origin: Origin, path: Path) -> Painting:
            path.write_bytes(self.words)
            if self is painters[0]:
                with hold_epoch(others, "successor", SetClock()):
                    assert successor.make() == BatchState.READY
            return Painting(hashlib.sha256(self.words).hexdigest(), "2" * 64, 11, 32, 32)

    monkeypatch.setattr(batches, "RenderChild", Painter)
    with (
        pytest.raises(Fenced, match="another worker has taken over"),
        hold_epoch(shop.studio.database, "first", SetClock()),
    ):
        shop.make()
    others.close()
    for candidate in shop.batch().candidates:
        assert fault_of(shop.studio.works, candidate) is None
    left = {path.name for path in shop.studio.works.rglob("*") if path.is_file()}
    assert left == {"generator.safetensors", "manifest.json"} | {
        f"{candidate.name}.png" for candidate in shop.batch().candidates
    }


def test_what_an_earlier_worker_left_half_painted_goes_and_a_later_workers_stays(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add("good")
    folder = shop.studio.works / "daily-2026-11-21"
    folder.mkdir(parents=True)
    names = [f".daily-2026-11-21-01.png{whose}.tmp" for whose in ("", ".1", ".99")]
    for name in names:
        (folder / name).write_bytes(b"half")
    play(shop, monkeypatch, well, well)
    with hold_epoch(shop.studio.database, "later", SetClock()):
        pass
    with hold_epoch(shop.studio.database, "later still", SetClock()):
        assert shop.make() == BatchState.READY
    assert [path.name for path in folder.glob(".*")] == [names[-1]]


# ---------------------------------------------------------------- devices


def lost(*devices: str, times: int = 10**9) -> Start:
    """A start or a painting that the device fails, so many times."""
    left = [times]

    def act(_name: str, device: str) -> None:
        if device in devices and left[0]:
            left[0] -= 1
            raise DeviceFailed("the device failed while painting: CUDA out of memory")

    return act


def test_a_device_that_fails_once_is_tried_again_in_a_new_process(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add("good")
    play(shop, monkeypatch, well, lost("auto", times=1))
    assert shop.make() == BatchState.READY
    assert shop.started == ["good on auto", "good on auto"]
    assert [candidate.num_render_errors for candidate in shop.batch().candidates] == [0, 0]


@pytest.mark.parametrize("when", ["starting", "painting"])
def test_where_any_device_will_do_the_processor_paints_when_the_card_fails_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    shop.add("good")
    play(shop, monkeypatch, *((lost("auto"), well) if when == "starting" else (well, lost("auto"))))
    assert shop.make() == BatchState.READY
    assert shop.started == ["good on auto", "good on auto", "good on cpu"]


def test_a_device_that_was_named_is_waited_for_and_no_picture_pays_for_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.add("good")
    options = RenderOptions("cuda", 1, 1, {})
    named = Shop(batches.Studio(**{**vars(shop.studio), "render_options": options}))
    play(named, monkeypatch, well, lost("cuda"))
    for times in (1, 2):
        with pytest.raises(DeviceFailed, match="CUDA out of memory"):
            named.make()
        assert named.started == ["good on cuda", "good on cuda"] * times
    waiting = named.batch()
    assert (waiting.state, [c.state for c in waiting.candidates]) == ("generating", ["planned"] * 2)
    assert "CUDA out of memory" in (waiting.reason or "")
    assert [candidate.num_render_errors for candidate in waiting.candidates] == [0, 0]
    seeds = [candidate.seed for candidate in waiting.candidates]
    play(named, monkeypatch, well, well)
    assert named.make() == BatchState.READY
    assert [candidate.seed for candidate in named.batch().candidates] == seeds
    assert named.batch().reason is None


def test_a_device_that_fails_after_every_picture_still_gets_on() -> None:
    devices = Devices(OPTIONS)
    for _ in range(20):
        devices.failed(DeviceFailed("now and then"))
        devices.painted()
    assert devices.options == OPTIONS


def test_the_processor_that_fails_as_well_is_waited_for() -> None:
    devices, error = Devices(OPTIONS), DeviceFailed("no memory")
    for _ in range(3):
        devices.failed(error)
    assert devices.options.device == "cpu"
    with pytest.raises(DeviceFailed):
        devices.failed(error)


# ---------------------------------------------------------------- a child that is not ours any more


def saying(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str) -> RenderChild:
    """A child that writes `words` (a Python expression for bytes) and waits to be ended."""
    program = tmp_path / "child"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdout.buffer.write({words})\n"
        "sys.stdout.flush()\nsys.stdin.read()\n"
    )
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    return RenderChild(tmp_path, RenderOptions("cpu", 30, 30, dict(os.environ)))


@pytest.mark.parametrize(
    "words",
    ["b'x' * (2 << 20)", "b'no json\\n'", "b'[1]\\n'", "b'{}\\n'"],
    ids=["no end", "no JSON", "a list", "an answer to nothing"],
)
def test_an_answer_that_is_none_ends_the_child_and_not_the_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: str
) -> None:
    child = saying(monkeypatch, tmp_path, words)
    with pytest.raises(RenderFailed, match="no usable answer while starting"), child:
        pass
    assert not Path(f"/proc/{child.pid}").exists()


@pytest.mark.parametrize(("is_final", "kind"), [(True, WeightsRefused), (False, CheckpointRefused)])
def test_the_child_says_which_refusals_are_for_good(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_final: bool, kind: type[CheckpointRefused]
) -> None:
    answer = json.dumps({"refused": "it is grey", "is_final": is_final}).encode() + b"\n"
    with pytest.raises(CheckpointRefused, match="it is grey") as refused:
        saying(monkeypatch, tmp_path, repr(answer)).__enter__()
    assert type(refused.value) is kind

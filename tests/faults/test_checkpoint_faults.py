"""Rows 33 to 42 of the fault matrix: what a checkpoint, or the device that paints it, can do to a batch.

Real checkpoints, real children. Where a child has to fail in a certain moment, a `sitecustomize` in its
path (`Mishap`) makes its own library do so. Which refusals are remembered, and what is told, is told
without children in unit/service/test_refusals.py; hostile headers in unit/trainers/test_header.py.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from artbot.domain.candidate import BatchState
from artbot.errors import DeviceFailed, NoCheckpoint
from artbot.studio import registry
from artbot.studio.batch import Listener, Studio, make_batch
from artbot.studio.confinement import MAX_FILE_BYTES, MAX_OPEN_FILES, SPARE_MEMORY_BYTES
from artbot.studio.provenance import Origin
from artbot.studio.refusals import refused_for_good
from artbot.studio.render import RenderChild, RenderOptions
from db.engine import open_database
from db.models import Batch
from tests.conftest import Place, export_tiny, wait_for
from tests.unit.service.kit import SetClock, a_batch
from trainers.errors import CheckpointRefused, WeightsRefused
from trainers.manifest import MANIFEST_FILE, WEIGHTS_FILE, read_manifest

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PATIENCE_S = 180.0
"""For what a busy machine takes."""
KEY = "daily-2026-11-21"


@dataclass
class Workshop:
    """A studio with a batch of two to make, and what it told while it was made."""

    studio: Studio
    refused: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    num_painted: int = 0
    stop_after: int = 10**9
    """As if the person had pressed Ctrl-C after so many pictures."""

    def make(self) -> BatchState:
        listener = Listener(
            on_refused=self.refused.__setitem__,
            on_painted=lambda name, done, total: self._painted(),
            on_render_error=lambda name, reason: self.errors.append(reason),
        )
        return make_batch(self.studio, KEY, listener, lambda: self.num_painted >= self.stop_after)

    def _painted(self) -> None:
        self.num_painted += 1

    def having(self, **environment: str) -> Workshop:
        """The same studio, whose children find these variables."""
        options = self.studio.render_options
        changed = replace(options, environment={**options.environment, **environment})
        return Workshop(replace(self.studio, render_options=changed))

    def batch(self) -> Batch:
        with self.studio.database.read() as session:
            batch = session.query(Batch).one()
            assert batch.candidates is not None  # loaded while the session is there
            return batch

    def seeds(self) -> list[int]:
        return [candidate.seed for candidate in self.batch().candidates]

    def painter(self) -> str:
        """The name of the checkpoint whose pictures these are."""
        sha256 = self.batch().checkpoint_sha256
        entries = registry.list_checkpoints(self.studio.checkpoints)
        return next(e.folder.name for e in entries if e.manifest and e.manifest.sha256 == sha256)

    def refused_for_good(self) -> set[str]:
        return {row.name for row in refused_for_good(self.studio.database)}

    def newer(self, run: str, seed: int = 1) -> Path:
        """A whole checkpoint that is later than all there are."""
        return export_tiny(self.studio.checkpoints, seed=seed, kimg=2, run=run)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    studio = Studio(
        database=open_database(tmp_path / "artbot.sqlite3"),
        checkpoints=tmp_path / "checkpoints",
        works=tmp_path / "works",
        schedules={},
        truncation_psi=1.0,
        render_options=RenderOptions("cpu", PATIENCE_S, PATIENCE_S, ENVIRONMENT),
        clock=SetClock(),
    )
    with studio.database.write() as session:
        wanted = a_batch(state=BatchState.PLANNED)
        wanted.num_candidates = 2
        session.add(wanted)
    return Workshop(studio)


@pytest.fixture
def good(workshop: Workshop, tiny_checkpoint: Path) -> str:
    """The name of a checkpoint to fall back to."""
    shutil.copytree(tiny_checkpoint, workshop.studio.checkpoints / tiny_checkpoint.name)
    return tiny_checkpoint.name


def set_weights(folder: Path, content: bytes) -> None:
    """Other bytes, with a manifest that vouches for them."""
    sha256 = hashlib.sha256(content).hexdigest()
    changed = {"sha256": sha256, "num_bytes": len(content)}
    (folder / MANIFEST_FILE).write_bytes(read_manifest(folder).model_copy(update=changed).to_json())
    (folder / WEIGHTS_FILE).write_bytes(content)


Edit = Callable[[dict[str, torch.Tensor]], object]


def edit_tensors(folder: Path, edit: Edit) -> None:
    tensors = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    edit(tensors)
    set_weights(folder, safetensors.torch.save(tensors))


LAST = "layers.9.weight"
"""The convolution that paints."""


def origin(seed: int = 7) -> Origin:
    recipe: dict[str, object] = {"version": 1, "truncation_psi": 1.0}
    return Origin(candidate="work", checkpoint_sha256="a" * 64, seed=seed, recipe=recipe)


# ---------------------------------------------------------------- rows 33 and 34: damaged


def test_a_truncated_and_a_flipped_checkpoint_are_told_and_the_one_before_paints(
    workshop: Workshop, good: str
) -> None:
    """Rows 33 and 34. Neither is held against any weights: it may still be being copied."""
    truncated, flipped = workshop.newer("truncated"), workshop.newer("flipped", seed=2)
    whole = (truncated / WEIGHTS_FILE).read_bytes()
    (truncated / WEIGHTS_FILE).write_bytes(whole[: len(whole) // 2])
    content = bytearray((flipped / WEIGHTS_FILE).read_bytes())
    content[len(content) // 2] ^= 4
    (flipped / WEIGHTS_FILE).write_bytes(content)
    assert workshop.make() == BatchState.READY
    assert workshop.painter() == good
    assert "truncated or replaced" in workshop.refused[truncated.name]
    assert "damaged or replaced" in workshop.refused[flipped.name]
    assert workshop.refused_for_good() == set()


def refusals(workshop: Workshop, folder: Path, contents: list[bytes]) -> int:
    """How many of these weights are refused; of those, no copy is left."""
    (entry,) = registry.list_checkpoints(folder.parent)
    num_refused = 0
    for content in contents:
        (folder / WEIGHTS_FILE).write_bytes(content)
        try:
            registry.keep(entry, workshop.studio.generators)
        except CheckpointRefused:
            num_refused += 1
    assert list(workshop.studio.generators.iterdir()) == []
    return num_refused


def test_of_a_hundred_truncations_all_are_refused(workshop: Workshop, good: str) -> None:
    """Row 33, anywhere: within the header's length, the header, a tensor, and by one byte."""
    folder = workshop.studio.checkpoints / good
    whole = (folder / WEIGHTS_FILE).read_bytes()
    rng = random.Random(33)
    lengths = [0, 1, 7, 8, 9, len(whole) - 1, *(rng.randrange(len(whole)) for _ in range(94))]
    assert refusals(workshop, folder, [whole[:length] for length in lengths]) == 100


def test_of_three_hundred_flipped_bits_all_are_refused(workshop: Workshop, good: str) -> None:
    """Row 34. Of these, safetensors itself notices none that lies in a tensor."""
    folder = workshop.studio.checkpoints / good
    whole = (folder / WEIGHTS_FILE).read_bytes()
    rng = random.Random(34)
    flipped = []
    for _ in range(300):
        content = bytearray(whole)
        content[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        flipped.append(bytes(content))
    assert refusals(workshop, folder, flipped) == 300


# ---------------------------------------------------------------- row 35: whole, and useless


USELESS: dict[str, tuple[Edit, str]] = {
    "nan": (
        lambda t: t[LAST].view(-1)[0].fill_(float("nan")),
        f"tensor '{LAST}' holds values that are no numbers",
    ),
    "overflow": (lambda t: t["layers.6.weight"].fill_(3e38), "values that are no numbers"),
    "constant": (lambda t: t[LAST].zero_(), "it paints one flat colour"),
    # The same picture whatever z is; a second layer that z cannot reach makes it no flat one.
    "collapsed": (
        lambda t: (t["layers.0.weight"].zero_(), t["layers.1.bias"].normal_()),
        "it paints the same picture from different seeds",
    ),
}


def test_weights_that_paint_nothing_are_refused_for_good_each_with_its_reason(
    workshop: Workshop, good: str
) -> None:
    """Row 35."""
    folders = {kind: workshop.newer(kind) for kind in USELESS}
    torch.manual_seed(0)
    for kind, (edit, _) in USELESS.items():
        edit_tensors(folders[kind], edit)
    assert workshop.make() == BatchState.READY
    assert workshop.painter() == good
    for kind, (_, reason) in USELESS.items():
        assert reason in workshop.refused[folders[kind].name]
    assert workshop.refused_for_good() == {folder.name for folder in folders.values()}
    kept = {folder.name for folder in workshop.studio.generators.iterdir()}
    assert kept == {workshop.batch().checkpoint_sha256}


def test_a_person_sees_what_was_refused_and_has_it_tried_again(place: Place) -> None:
    """Row 35, by commands."""
    folder = export_tiny(place.root / "checkpoints", seed=1, kimg=2)
    edit_tensors(folder, lambda tensors: tensors[LAST].zero_())
    place.run("batch").refused(1, f"{folder.name}: it paints one flat colour")
    listed = place.run("checkpoints")
    assert listed.code == 1
    assert "refused: it paints one flat colour (a collapsed" in listed.out
    assert "(not tried since 20" in listed.out
    status = place.run("status").out
    assert f"{folder.name} is refused: it paints one flat colour" in status
    assert "generator   none yet" in status
    assert "no checkpoint can be used" in status
    place.run("checkpoints", "--retry", "nobody").refused(2, f"Refused are {folder.name}.")
    retried = place.run("checkpoints", "--retry", folder.name)
    assert retried.code == 0, "as far as reading goes, it is whole"
    assert "will be tried again" in retried.err
    assert "refused" not in retried.out
    place.run("batch").refused(1, "it paints one flat colour")
    place.run("checkpoints").refused(1)


# ---------------------------------------------------------------- rows 36 and 37: hostile


class Bomb:
    """A pickle that, when loaded, makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_under_the_weights_name_is_never_run(
    workshop: Workshop, good: str, tmp_path: Path
) -> None:
    """Row 36, also where the environment would have torch run what it loads."""
    canary = tmp_path / "ran"
    plain, saved = workshop.newer("plain"), workshop.newer("saved")
    set_weights(plain, pickle.dumps(Bomb(canary)))
    torch.save({"weights": Bomb(canary)}, tmp_path / "saved.pt")
    set_weights(saved, (tmp_path / "saved.pt").read_bytes())
    workshop = workshop.having(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")
    assert workshop.make() == BatchState.READY
    assert workshop.painter() == good
    for folder in (plain, saved):
        assert "is no safetensors file" in workshop.refused[folder.name]
    assert workshop.refused_for_good() == {plain.name, saved.name}
    assert not canary.exists()


def test_a_hostile_header_and_foreign_tensors_are_refused_for_good(
    workshop: Workshop, good: str
) -> None:
    """Row 37. The header breaks the format before any child; the shapes are another network's."""
    huge, foreign = workshop.newer("huge"), workshop.newer("foreign")
    set_weights(huge, (10**8).to_bytes(8, "little") + b"{" * 10_000)
    edit_tensors(foreign, lambda t: t.update({LAST: t[LAST].repeat(1, 2, 1, 1)}))
    assert workshop.make() == BatchState.READY
    assert workshop.painter() == good
    assert "claims a header of 100,000,000 bytes" in workshop.refused[huge.name]
    assert f"tensor '{LAST}' has shape" in workshop.refused[foreign.name]
    assert workshop.refused_for_good() == {huge.name, foreign.name}


# ---------------------------------------------------------------- row 38: truncated while loading


@dataclass(frozen=True)
class Mishap:
    """What happens in a child to which `environment` is given."""

    folder: Path

    def happens(self, code: str) -> dict[str, str]:
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": str(self.folder)}


@pytest.fixture
def mishap(tmp_path: Path) -> Mishap:
    return Mishap(tmp_path / "mishap")


TRUNCATES = """
import os, safetensors, sys
original = safetensors.safe_open
class Truncated:
    def __init__(self, path, framework):
        self._path, self._file = path, original(path, framework=framework)
    def __enter__(self):
        file = self._file.__enter__()
        if os.environ["TRUNCATED"] in str(self._path):
            os.truncate(self._path, 4096)  # it is mapped by now
        return file
    def __exit__(self, *error):
        return self._file.__exit__(*error)
safetensors.safe_open = Truncated
"""


def test_a_file_truncated_under_the_child_ends_the_child_alone(
    workshop: Workshop, good: str, mishap: Mishap
) -> None:
    """Row 38, at the worst moment and to the private copy itself: nothing is held against the weights."""
    newer = workshop.newer("unlucky")
    sha256 = read_manifest(newer).sha256
    workshop = workshop.having(TRUNCATED=sha256, **mishap.happens(TRUNCATES))
    assert workshop.make() == BatchState.READY
    assert workshop.painter() == good
    assert "nothing is held against it" in workshop.refused[newer.name]
    assert f"killed by signal {signal.SIGBUS}" in workshop.refused[newer.name]
    assert workshop.refused_for_good() == set()


def test_what_the_trainer_does_to_the_original_reaches_no_child(
    workshop: Workshop, good: str, tmp_path: Path
) -> None:
    """Row 38: truncated, and then removed, between the check and the loading."""
    (entry,) = registry.list_checkpoints(workshop.studio.checkpoints)
    kept = registry.keep(entry, workshop.studio.generators)
    os.truncate(entry.folder / WEIGHTS_FILE, 100)
    with RenderChild(kept, workshop.studio.render_options) as child:
        shutil.rmtree(entry.folder)
        assert child.paint(origin(), tmp_path / "work.png").width == 32


# ---------------------------------------------------------------- row 39: something else in its place


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def link_to_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, 0o20600, os.makedev(1, 5))  # /dev/zero, which has no end
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("name", [MANIFEST_FILE, WEIGHTS_FILE])
@pytest.mark.parametrize("put", [link, link_to_device, pipe, folder, device])
def test_what_is_no_plain_file_is_refused_at_once(
    workshop: Workshop, good: str, put: Callable[[Path], None], name: str
) -> None:
    """Row 39. A pipe that nobody writes to would be waited for, a device read without end."""
    put(workshop.studio.checkpoints / good / name)
    begun = time.process_time()
    with pytest.raises(NoCheckpoint, match=rf"{name} (cannot be opened|is not a plain file)"):
        workshop.make()
    assert time.process_time() - begun < 1
    assert workshop.refused_for_good() == set()


# ---------------------------------------------------------------- row 40: none


def test_where_none_can_be_used_the_batch_waits_and_says_for_what(
    workshop: Workshop, good: str
) -> None:
    """Row 40. Once one can be, the batch is made."""
    other = workshop.newer("other")
    originals = {}
    for name in (good, other.name):
        path = workshop.studio.checkpoints / name / WEIGHTS_FILE
        originals[path] = path.read_bytes()
        path.write_bytes(originals[path][:-1])
    for _ in range(2):
        with pytest.raises(NoCheckpoint, match="truncated or replaced"):
            workshop.make()
    waiting = workshop.batch()
    assert (waiting.state, waiting.candidates) == (BatchState.PLANNED, [])
    for name in (good, other.name):
        assert f"{name}: {WEIGHTS_FILE}" in (waiting.reason or "")
    for path, content in originals.items():
        path.write_bytes(content)
    assert workshop.make() == BatchState.READY
    assert workshop.batch().reason is None


def test_a_checkpoint_deleted_after_the_seeds_were_written_down_is_not_missed(
    workshop: Workshop, good: str
) -> None:
    """Row 40. A better one that came meanwhile is not used either: the batch is what it was."""
    workshop.stop_after = 1
    assert workshop.make() == BatchState.GENERATING
    seeds, sha256 = workshop.seeds(), workshop.batch().checkpoint_sha256
    shutil.rmtree(workshop.studio.checkpoints)
    workshop.newer("better")
    workshop.stop_after = 10**9
    assert workshop.make() == BatchState.READY
    assert (workshop.seeds(), workshop.batch().checkpoint_sha256) == (seeds, sha256)


# ---------------------------------------------------------------- row 41: the device fails


FAILS_ON = """
import os, sys, torch
from trainers.inference import LoadedGenerator
original = LoadedGenerator.paint
def paint(self, *arguments):
    if sys.argv[2] == os.environ["FAILS_ON"]:
        if os.environ["FAILS_WITH"] == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\\nCUDA kernel errors …")
    return original(self, *arguments)
LoadedGenerator.paint = paint
"""


def test_a_card_without_memory_leaves_the_batch_to_the_processor(
    workshop: Workshop, good: str, mishap: Mishap
) -> None:
    """Row 41. Every picture's environment says where it was made."""
    failing = {"FAILS_ON": "auto", "FAILS_WITH": "memory", **mishap.happens(FAILS_ON)}
    workshop = workshop.having(**failing)
    options = replace(workshop.studio.render_options, device="auto")
    workshop.studio = replace(workshop.studio, render_options=options)
    assert workshop.make() == BatchState.READY
    assert len(workshop.errors) == 2
    assert "the device failed while painting: OutOfMemoryError: CUDA out" in workshop.errors[0]
    for candidate in workshop.batch().candidates:
        assert candidate.num_render_errors == 0
        assert candidate.environment is not None
        assert candidate.environment["device"] == "cpu"


def test_a_lost_card_that_was_named_is_waited_for_and_no_seed_is_lost(
    workshop: Workshop, good: str, mishap: Mishap
) -> None:
    """Row 41."""
    failing = {"FAILS_ON": "cpu", "FAILS_WITH": "loss", **mishap.happens(FAILS_ON)}
    broken = workshop.having(**failing)
    with pytest.raises(DeviceFailed, match="AcceleratorError: CUDA error: unspecified launch"):
        broken.make()
    waiting = workshop.batch()
    assert waiting.state == BatchState.GENERATING
    assert waiting.reason is not None
    assert "CUDA error" in waiting.reason
    assert "\n" not in waiting.reason
    seeds = workshop.seeds()
    assert workshop.make() == BatchState.READY, "the card is back"
    assert workshop.seeds() == seeds
    assert [c.num_render_errors for c in workshop.batch().candidates] == [0, 0]


# ---------------------------------------------------------------- row 42: the render hangs


HANGS_ONCE = """
import os, time
from trainers.inference import LoadedGenerator
original = LoadedGenerator.paint
def paint(self, *arguments):
    try:
        with open(os.environ["HANGS"], "x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        return original(self, *arguments)
    time.sleep(3600)
LoadedGenerator.paint = paint
"""


def is_alive(pid: int) -> bool:
    """Not counting a process that has ended and whose parent has not looked yet."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_child_that_hangs_is_killed_at_its_timeout_and_another_one_goes_on(
    workshop: Workshop, good: str, mishap: Mishap, tmp_path: Path
) -> None:
    """Row 42. That attempt counts against the picture; the next one paints it."""
    hung = tmp_path / "hung"
    workshop = workshop.having(HANGS=str(hung), **mishap.happens(HANGS_ONCE))
    options = replace(workshop.studio.render_options, picture_timeout_s=5.0)
    workshop.studio = replace(workshop.studio, render_options=options)
    assert workshop.make() == BatchState.READY
    assert workshop.errors == ["the render process gave no answer within 5 s while painting"]
    assert [c.num_render_errors for c in workshop.batch().candidates] == [1, 0]
    assert not is_alive(int(hung.read_text()))


KILLED_ONCE = """
import os, signal
from trainers.inference import LoadedGenerator
original = LoadedGenerator.paint
def paint(self, *arguments):
    try:
        open(os.environ["KILLED"], "x").close()
    except FileExistsError:
        return original(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
LoadedGenerator.paint = paint
"""


def test_a_child_that_the_kernel_kills_for_want_of_memory_costs_no_picture_anything(
    workshop: Workshop, good: str, mishap: Mishap, tmp_path: Path
) -> None:
    """Row 42. Three such nights would otherwise fail the first picture, and then the next."""
    workshop = workshop.having(KILLED=str(tmp_path / "killed"), **mishap.happens(KILLED_ONCE))
    assert workshop.make() == BatchState.READY
    assert len(workshop.errors) == 1
    assert "killed by signal 9 (out of memory?)" in workshop.errors[0]
    assert [c.num_render_errors for c in workshop.batch().candidates] == [0, 0]


DIES_WHILE_ITS_CHILD_HANGS = """
import os, sys
from pathlib import Path
from artbot.studio.render import RenderChild, RenderOptions
options = RenderOptions("cpu", 600, 600, os.environ)
with RenderChild(Path(sys.argv[1]), options) as child:
    origin = {"candidate": "x", "checkpoint_sha256": "a", "seed": 1, "recipe": {"truncation_psi": 1.0}}
    child.paint(origin, Path(sys.argv[1]) / "never.png")
"""


def test_a_child_that_hangs_does_not_outlive_a_killed_worker(
    tiny_checkpoint: Path, mishap: Mishap, tmp_path: Path
) -> None:
    """Row 42. Its input has ended, but it does not look there any more."""
    hung = tmp_path / "hung"
    worker = subprocess.Popen(
        [sys.executable, "-c", DIES_WHILE_ITS_CHILD_HANGS, str(tiny_checkpoint)],
        env={**ENVIRONMENT, "HANGS": str(hung), **mishap.happens(HANGS_ONCE)},
    )
    try:
        wait_for(lambda: hung.exists() and hung.read_text(), PATIENCE_S)
        child = int(hung.read_text())
        assert is_alive(child)
    finally:
        worker.kill()
        worker.wait()
    wait_for(lambda: not is_alive(child), 10)


# ---------------------------------------------------------------- what a child cannot do


TRIES_THE_NETWORK = """
import ctypes, os, socket, sys
from trainers.inference import LoadedGenerator
original = LoadedGenerator.paint
def attempt(make):
    try:
        make()
    except OSError as error:
        return error.strerror
    return "made"
def call(number, *arguments):
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def paint(self, *arguments):
    said = [
        attempt(lambda: socket.socket(family, socket.SOCK_DGRAM)) for family in (2, 10, 1, 16)
    ]
    said += [attempt(lambda: call(425, 4, ctypes.create_string_buffer(256)))]
    said += [attempt(lambda: call(0x40000000 | 41, 2, 1, 0))]
    with open(os.environ["SAID"], "w") as file:
        file.write(chr(10).join(said))
    return original(self, *arguments)
LoadedGenerator.paint = paint
"""


@pytest.mark.parametrize(("device", "is_local_made"), [("cpu", False), ("card", True)])
def test_a_child_can_make_no_socket_and_no_way_around_one(
    workshop: Workshop,
    good: str,
    mishap: Mishap,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    device: str,
    is_local_made: bool,
) -> None:
    """IPv4, IPv6, another program, the kernel; then a ring, and the same call by its other number. Where a
    card is in play, its driver may talk to programs of this machine."""
    said = tmp_path / "said"
    code = TRIES_THE_NETWORK
    if device == "card":  # as if one were there
        code = "import pathlib\nglob = pathlib.Path.glob\n" + (
            "pathlib.Path.glob = lambda self, pattern: "
            "[pathlib.Path('/dev/null')] if pattern == 'kfd' else glob(self, pattern)\n"
        )
        code += TRIES_THE_NETWORK
    workshop = workshop.having(SAID=str(said), **mishap.happens(code))
    options = replace(workshop.studio.render_options, device="auto" if device == "card" else "cpu")
    (entry,) = registry.list_checkpoints(workshop.studio.checkpoints)
    kept = registry.keep(entry, workshop.studio.generators)
    caplog.set_level("INFO", "artbot")
    with RenderChild(kept, options) as child:
        child.paint(origin(), tmp_path / "work.png")
    refused, local = "Permission denied", "made" if is_local_made else "Permission denied"
    assert said.read_text().splitlines() == [refused, refused, local, local, refused, refused]
    assert "the render process keeps the network" not in caplog.text


def test_a_child_has_no_more_rights_files_and_memory_than_it_takes(
    workshop: Workshop, good: str
) -> None:
    """Rows 36 to 38: should the checks be wrong, this bounds what it costs."""
    (entry,) = registry.list_checkpoints(workshop.studio.checkpoints)
    kept = registry.keep(entry, workshop.studio.generators)
    options = workshop.having(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1").studio.render_options
    with RenderChild(kept, options) as child:
        process = Path(f"/proc/{child.pid}")
        assert b"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in (process / "environ").read_bytes()
        assert "NoNewPrivs:\t1" in (process / "status").read_text()
        limits = {
            kind: resource.prlimit(child.pid, kind)
            for kind in (resource.RLIMIT_CORE, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
        }
        assert limits == {
            resource.RLIMIT_CORE: (0, 0),
            resource.RLIMIT_NOFILE: (MAX_OPEN_FILES, MAX_OPEN_FILES),
            resource.RLIMIT_FSIZE: (MAX_FILE_BYTES, MAX_FILE_BYTES),
        }
        soft, hard = resource.prlimit(child.pid, resource.RLIMIT_DATA)
        assert SPARE_MEMORY_BYTES < soft == hard < 3 * SPARE_MEMORY_BYTES
        assert "Seccomp:\t2" in (process / "status").read_text()


GREEDY = """
import trainers.inference, torch
def paint(self, *arguments):
    return torch.empty(50 << 30, dtype=torch.uint8).fill_(1)
trainers.inference.LoadedGenerator.paint = paint
"""


def test_a_generator_that_wants_all_memory_gets_an_error_and_the_machine_keeps_its_own(
    workshop: Workshop, good: str, mishap: Mishap
) -> None:
    """Row 37, and 41 on the processor: 50 GB are refused by the child's limit, not by the machine."""
    workshop = workshop.having(**mishap.happens(GREEDY))
    with pytest.raises(DeviceFailed, match="allocate"):
        workshop.make()
    assert workshop.batch().state == BatchState.GENERATING


def test_a_refusal_that_is_for_good_is_told_apart_by_the_child(
    workshop: Workshop, good: str
) -> None:
    """Row 35: through the pipe, by its class."""
    folder = workshop.studio.checkpoints / good
    edit_tensors(folder, lambda tensors: tensors[LAST].zero_())
    with (
        pytest.raises(WeightsRefused, match="flat colour"),
        RenderChild(folder, workshop.studio.render_options),
    ):
        pass

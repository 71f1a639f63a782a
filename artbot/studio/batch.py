"""Make a batch: choose the generator, write the seeds down, then paint, one committed picture at a time.

Children that its pictures get later (artbot.studio.children) are painted by the same steps, and leave the batch's
own state as it is.

The order is the promise. Checkpoint sha256, seed and recipe of every candidate are committed before
any pixel exists; a picture's row is committed after its file is on disk. So whatever is killed
when, the next call finds a batch it can finish, and finishes the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from sqlalchemy import Select, func, or_, select
from sqlalchemy.exc import SQLAlchemyError

from artbot.clock import Clock
from artbot.config import ScheduleSettings
from artbot.domain.candidate import (
    BATCH,
    CANDIDATE,
    MAX_RENDER_ATTEMPTS,
    BatchState,
    CandidateState,
)
from artbot.domain.seeds import seed_for
from artbot.errors import ConfigError, DeviceFailed, NoCheckpoint, RenderFailed, StorageFailed
from artbot.failpoints import failpoint
from artbot.files import make_folder, move_into_place, sha256_of_file
from artbot.pictures import Requeue
from artbot.studio import registry
from artbot.studio.choice import choices, is_as_recorded
from artbot.studio.provenance import Origin
from artbot.studio.recipes import Recipe
from artbot.studio.refusals import MAX_REASON, refuse_for_good
from artbot.studio.registry import CheckpointEntry
from artbot.studio.render import Devices, Painting, RenderChild, RenderOptions
from db.engine import Database
from db.models import Batch, Candidate, Checkpoint
from trainers.descent import Descent
from trainers.errors import CheckpointRefused, WeightsRefused
from trainers.manifest import class_for

MAX_FAILED_STARTS = 2
"""When so many checkpoints could not be loaded although nothing is known against them, it is the machine:
the batch waits, instead of being painted by ever older generators or keeping the worker for hours."""
ASIDE = "found"
"""Folder in works/ for pictures that the database knows nothing of, and whose name another one gets."""
NOT_MADE = (NoCheckpoint, RenderFailed, ConfigError, StorageFailed, OSError)
"""Why one batch cannot be made or finished now. It keeps no other from being made."""


@dataclass(frozen=True)
class Studio:
    """What making batches needs."""

    database: Database
    checkpoints: Path
    works: Path
    schedules: dict[str, ScheduleSettings]
    truncation_psi: float
    render_options: RenderOptions
    clock: Clock
    requeue: Requeue = lambda session, delivery, now: None
    """Of what was held for its picture."""
    told: set[tuple[str, str]] = field(default_factory=set, compare=False)
    """(checkpoint name, reason) of what was passed over: said once, not at every look."""

    @property
    def generators(self) -> Path:
        """Private copies of every generator that was used."""
        return self.works / "generators"


@dataclass(frozen=True)
class Listener:
    """Whom to tell while a batch is made."""

    on_refused: Callable[[str, str], None]
    """(checkpoint name, reason): a checkpoint that was passed over, when that is news."""
    on_painted: Callable[[str, int, int], None]
    """(candidate name, how many are painted, how many there will be)."""
    on_render_error: Callable[[str, str], None]
    """(candidate name, reason)."""
    on_advanced: Callable[[], None] = lambda: None
    """A child was started or a picture painted, or neither: what may take its whole time limit has ended.
    May raise; then nothing more is begun."""


def unfinished_batches(database: Database, schedule: str | None = None) -> list[str]:
    """Keys of the batches (of one schedule) that wait to be made or finished, or have children that wait to be
    painted; oldest first."""
    unpainted = select(Candidate.batch_id).where(Candidate.state == CandidateState.PLANNED)
    query = (
        select(Batch.key)
        .where(
            or_(
                Batch.state.in_([BatchState.PLANNED, BatchState.GENERATING]),
                Batch.id.in_(unpainted),
            )
        )
        .order_by(Batch.due_at, Batch.number)
    )
    if schedule is not None:
        query = query.where(Batch.schedule == schedule)
    with database.read() as session:
        return list(session.scalars(query))


def make_batch(
    studio: Studio, key: str, listener: Listener, should_stop: Callable[[], bool]
) -> BatchState:
    """Make or finish the batch of that key, and paint its pictures' children; returns the state it is in
    afterwards.

    Only the holder of the worker lock may call this. Raises NOT_MADE: a day's own batch waits then, and its
    `reason` says for what. An extra one that was not begun is skipped, unless this was told to stop: who asked
    for it hears why, and asks again.
    """
    try:
        _make(studio, key, listener, should_stop)
    except NOT_MADE as error:
        with suppress(SQLAlchemyError):  # a full disk may be its disk, too
            _note_failure(studio.database, key, error, was_stopped=should_stop())
        raise
    return _finish(studio, key)


def _make(studio: Studio, key: str, listener: Listener, should_stop: Callable[[], bool]) -> None:
    devices = Devices(studio.render_options)
    batch = _load(studio.database, key)
    if batch.state == BatchState.PLANNED:
        with _best_generator(studio, batch.schedule, listener, devices) as (entry, child):
            _write_plan(studio, key, entry)
            failpoint("batch.planned")
            _paint_all(studio, key, child, listener, devices, should_stop)
    while not should_stop() and _unpainted(studio.database, key):
        sha256 = _load(studio.database, key).checkpoint_sha256
        assert sha256 is not None
        with ExitStack() as stack:
            try:
                child = _start(stack, kept_generator(studio, sha256), devices, listener)
            except (WeightsRefused, registry.GeneratorLost) as final:
                _fail_rest(studio.database, key, f"its generator cannot be used: {final}")
                return
            except CheckpointRefused as refused:  # the disk it lies on may be back tomorrow
                raise NoCheckpoint(f"its generator cannot be used now: {refused}") from refused
            _paint_all(studio, key, child, listener, devices, should_stop)


def kept_generator(studio: Studio, sha256: str) -> Path:
    """The kept copy of a generator that was used before; a damaged one is taken anew from checkpoints/.

    Raises GeneratorLost when neither is whole, CheckpointRefused when nobody can know now.
    """
    try:
        return registry.open_kept(sha256, studio.generators)
    except CheckpointRefused as refused:
        entries = registry.list_checkpoints(studio.checkpoints)
        for entry in entries:
            if (
                entry.manifest
                and entry.manifest.sha256 == sha256
                and is_as_recorded(studio.database, entry.manifest)
                and registry.verify(entry) is None
            ):
                return registry.keep(entry, studio.generators)
        # Where there is no checkpoint at all, that disk may be the one that is away.
        is_lost = bool(entries) and registry.is_damaged(sha256, studio.generators)
        raise (registry.GeneratorLost if is_lost else CheckpointRefused)(
            f"{refused}, and {studio.checkpoints} holds no whole checkpoint with sha256 {sha256[:12]}…"
        ) from refused


@contextmanager
def _best_generator(
    studio: Studio, schedule: str, listener: Listener, devices: Devices
) -> Iterator[tuple[CheckpointEntry, RenderChild]]:
    """The best checkpoint that can really paint, loaded. Raises NoCheckpoint listing every refusal."""
    settings = studio.schedules.get(schedule)
    refusals, num_failed_starts = [], 0
    for choice in choices(studio.database, studio.checkpoints, settings):
        if num_failed_starts == MAX_FAILED_STARTS:
            break
        entry = choice.entry
        name = entry.name
        with ExitStack() as stack:
            try:
                if choice.refusal is not None:
                    raise CheckpointRefused(choice.refusal)
                kept = registry.keep(entry, studio.generators)
                child = _start(stack, kept, devices, listener)
            except CheckpointRefused as refused:
                reason = str(refused)[:MAX_REASON]
                if entry.manifest and _lies_in_the_weights(studio, entry.manifest.sha256, refused):
                    refuse_for_good(
                        studio.database, entry.manifest, reason, studio.generators, studio.clock()
                    )
                    studio.told.discard((name, reason))  # a person had it tried again
                if (name, reason) not in studio.told:
                    studio.told.add((name, reason))
                    listener.on_refused(name, reason)
                refusals.append(f"{name}: {reason}")
                continue
            except RenderFailed as error:
                num_failed_starts += 1
                # Said every time: it took its time, and the worker must be seen to live.
                listener.on_refused(name, f"{error}; nothing is held against it")
                refusals.append(f"{name}: {error}")
                continue
            yield entry, child
            return
    raise NoCheckpoint("no checkpoint can be used: " + "; ".join(refusals))


def _lies_in_the_weights(studio: Studio, sha256: str, refused: CheckpointRefused) -> bool:
    """Whether another try comes to the same: unless the copy was damaged between check and loading."""
    if not isinstance(refused, WeightsRefused):
        return False
    try:
        if (studio.generators / sha256).exists():
            registry.open_kept(sha256, studio.generators)
    except CheckpointRefused:
        return False
    return True


def _start(stack: ExitStack, kept: Path, devices: Devices, listener: Listener) -> RenderChild:
    """A child with that generator loaded, ended with `stack`. Raises as RenderChild does."""
    while True:
        try:
            return stack.enter_context(RenderChild(kept, devices.options))
        except DeviceFailed as error:
            devices.failed(error)
        finally:
            listener.on_advanced()


def _write_plan(studio: Studio, key: str, entry: CheckpointEntry) -> None:
    """Commit generator, seeds and recipes. After this the batch is what it is."""
    assert entry.manifest is not None
    manifest = entry.manifest
    now = studio.clock()
    with studio.database.write() as session:
        batch = session.scalars(select(Batch).where(Batch.key == key)).one()
        if session.get(Checkpoint, manifest.sha256) is None:
            session.add(
                Checkpoint(
                    sha256=manifest.sha256,
                    name=manifest.name,
                    manifest=manifest.model_dump(mode="json"),
                    first_used_at=now,
                )
            )
            session.flush()
        BATCH.move(batch, BatchState.GENERATING)
        batch.checkpoint_sha256 = manifest.sha256
        batch.reason = None
        settings = studio.schedules.get(batch.schedule)
        wanted_class = settings.class_name if settings else None
        for index in range(1, batch.num_candidates + 1):
            seed = seed_for(key, index)
            session.add(
                Candidate(
                    batch_id=batch.id,
                    index=index,
                    name=f"{key}-{index:02d}",
                    seed=seed,
                    checkpoint_sha256=manifest.sha256,
                    recipe=Recipe(
                        Descent(seed),
                        studio.truncation_psi,
                        wanted_class or class_for(seed, manifest),
                    ).to_json(),
                    state=CANDIDATE.begin(CandidateState.PLANNED),
                    planned_at=now,
                )
            )


def _paint_all(
    studio: Studio,
    key: str,
    child: RenderChild,
    listener: Listener,
    devices: Devices,
    should_stop: Callable[[], bool],
) -> None:
    """Paint what is not painted yet; returns early after an error, when the child is to be replaced.

    Raises DeviceFailed when no other child would do better; nothing is held against any picture. Fenced
    when another worker took over.
    """
    waiting = _unpainted(studio.database, key)
    total = _num_candidates(studio.database, key)
    folder = studio.works / key
    epoch = studio.database.epoch or 0
    make_folder(folder)
    _remove_left_overs(folder, epoch)
    for done, candidate in enumerate(waiting, start=total - len(waiting) + 1):
        if should_stop():
            return
        path = folder / f"{candidate.name}.png"
        # A name of this worker's own: one that was replaced may be painting the same picture.
        temporary = path.with_name(f".{path.name}.{epoch}.tmp")
        try:
            painting = child.paint(origin_of(candidate), temporary)
            _record_painting(studio, candidate.id, temporary, path, painting, child)
        except DeviceFailed as error:
            listener.on_render_error(candidate.name, str(error))
            listener.on_advanced()
            devices.failed(error)
            return
        except RenderFailed as error:
            if not should_stop():
                listener.on_render_error(candidate.name, str(error))
                _record_error(studio.database, candidate.id, str(error))
            listener.on_advanced()
            return
        finally:
            with suppress(OSError):  # of a disk that takes nothing away either
                temporary.unlink(missing_ok=True)
        devices.painted()
        listener.on_painted(candidate.name, done, total)
        listener.on_advanced()


def _remove_left_overs(folder: Path, epoch: int) -> None:
    """What workers before this one were painting when they ended."""
    for path in folder.glob(".*.png*.tmp"):
        *_, whose, _ = path.name.split(".")
        if not whose.isdigit() or int(whose) < epoch:
            path.unlink(missing_ok=True)


def _keep_what_lies_there(works: Path, path: Path, painting: Painting) -> None:
    """A picture of that name which the database knows nothing of: the same one, painted before a crash; or
    another, which an older database was restored over. That one may have been published, so it is kept."""
    if path.exists() and (found := sha256_of_file(path)) != painting.image_sha256:
        aside = works / ASIDE / f"{path.stem}-{found[:8]}{path.suffix}"
        make_folder(aside.parent)
        move_into_place(path, aside)


def origin_of(candidate: Candidate) -> Origin:
    """What makes this picture, as the render child wants it."""
    return Origin(
        candidate=candidate.name,
        checkpoint_sha256=candidate.checkpoint_sha256,
        seed=candidate.seed,
        recipe=cast(dict[str, object], candidate.recipe),
    )


def _record_painting(
    studio: Studio,
    candidate_id: int,
    temporary: Path,
    path: Path,
    painting: Painting,
    child: RenderChild,
) -> None:
    """Put the picture in its place and write it down.

    Both under the lock, which only the worker gets (Fenced): one that was replaced while it painted must
    not touch what its successor has put there.
    """
    with studio.database.write() as session:
        candidate = session.get_one(Candidate, candidate_id)
        CANDIDATE.move(candidate, CandidateState.PENDING)
        _keep_what_lies_there(studio.works, path, painting)
        move_into_place(temporary, path)
        failpoint("batch.rendered")
        candidate.rendered_at = studio.clock()
        candidate.path = path.relative_to(studio.works).as_posix()
        candidate.image_sha256 = painting.image_sha256
        candidate.pixel_sha256 = painting.pixel_sha256
        candidate.num_bytes = painting.num_bytes
        candidate.width, candidate.height = painting.width, painting.height
        candidate.likeness = painting.likeness
        candidate.environment = child.environment
        candidate.error = None


def _record_error(database: Database, candidate_id: int, error: str) -> None:
    with database.write() as session:
        candidate = session.get_one(Candidate, candidate_id)
        candidate.num_render_errors += 1
        candidate.error = error
        if candidate.num_render_errors >= MAX_RENDER_ATTEMPTS:
            CANDIDATE.move(candidate, CandidateState.FAILED)


def _fail_rest(database: Database, key: str, error: str) -> None:
    with database.write() as session:
        for candidate in session.scalars(_unpainted_query(key)):
            CANDIDATE.move(candidate, CandidateState.FAILED)
            candidate.error = error


def _finish(studio: Studio, key: str) -> BatchState:
    """Close the batch if nothing of its own is left to paint."""
    with studio.database.write() as session:
        batch = session.scalars(select(Batch).where(Batch.key == key)).one()
        states = [candidate.state for candidate in batch.candidates if not candidate.parent_id]
        if batch.state == BatchState.GENERATING and CandidateState.PLANNED not in states:
            failed = states.count(CandidateState.FAILED)
            state = BatchState.PARTIAL if failed < len(states) else BatchState.FAILED
            BATCH.move(batch, state if failed else BatchState.READY)
            batch.finished_at = studio.clock()
        if states and all(c.state != CandidateState.PLANNED for c in batch.candidates):
            batch.reason = None  # what it waited for, if it did
        return BatchState(batch.state)


def _note_failure(database: Database, key: str, error: Exception, was_stopped: bool) -> None:
    """What the batch waits for, or its children. An extra one does not wait: hours later nobody would expect it any more."""
    with database.write() as session:
        batch = session.scalars(select(Batch).where(Batch.key == key)).one()
        batch.reason = str(error)
        if batch.number and batch.state == BatchState.PLANNED and not was_stopped:
            BATCH.move(batch, BatchState.SKIPPED)


def _load(database: Database, key: str) -> Batch:
    with database.read() as session:
        return session.scalars(select(Batch).where(Batch.key == key)).one()


def _num_candidates(database: Database, key: str) -> int:
    with database.read() as session:
        of_batch = select(func.count(Candidate.id)).join(Candidate.batch).where(Batch.key == key)
        return session.scalars(of_batch).one()


def _unpainted(database: Database, key: str) -> list[Candidate]:
    with database.read() as session:
        return list(session.scalars(_unpainted_query(key)))


def _unpainted_query(key: str) -> Select[Candidate]:
    return (
        select(Candidate)
        .join(Candidate.batch)
        .where(Batch.key == key, Candidate.state == CandidateState.PLANNED)
        .order_by(Candidate.index)
    )

"""Make a batch: choose the generator, write the seeds down, then paint, one committed picture at a time.

The order is the promise. Checkpoint sha256, seed and recipe of every candidate are committed before
any pixel exists; a picture's row is committed after its file is on disk. So whatever is killed
when, the next call finds a batch it can finish, and finishes the same one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sqlalchemy import Select, select

from artbot.clock import Clock
from artbot.config import ScheduleSettings
from artbot.domain.candidate import MAX_RENDER_ATTEMPTS, BatchState, CandidateState
from artbot.domain.seeds import seed_for
from artbot.errors import NoCheckpoint, RenderFailed
from artbot.failpoints import failpoint
from artbot.files import move_into_place
from artbot.studio import registry
from artbot.studio.provenance import Origin
from artbot.studio.registry import CheckpointEntry
from artbot.studio.render import Painting, RenderChild, RenderOptions
from db.engine import Database
from db.models import Batch, Candidate, Checkpoint
from trainers.errors import CheckpointRefused
from trainers.manifest import class_for

RECIPE_VERSION = 1


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

    @property
    def generators(self) -> Path:
        """Private copies of every generator that was used."""
        return self.works / "generators"


@dataclass(frozen=True)
class Listener:
    """Whom to tell while a batch is made."""

    on_refused: Callable[[str, str], None]
    """(checkpoint name, reason): a checkpoint that was passed over."""
    on_painted: Callable[[str, int, int], None]
    """(candidate name, how many are painted, how many there will be)."""
    on_render_error: Callable[[str, str], None]
    """(candidate name, reason)."""


def unfinished_batches(database: Database, schedule: str | None = None) -> list[str]:
    """Keys of the batches (of one schedule) that wait to be made or finished, oldest first."""
    query = (
        select(Batch.key)
        .where(Batch.state.in_([BatchState.PLANNED, BatchState.GENERATING]))
        .order_by(Batch.due_at, Batch.number)
    )
    if schedule is not None:
        query = query.where(Batch.schedule == schedule)
    with database.read() as session:
        return list(session.scalars(query))


def make_batch(
    studio: Studio, key: str, listener: Listener, should_stop: Callable[[], bool]
) -> BatchState:
    """Make or finish the batch of that key; returns the state it is in afterwards.

    Only the holder of the worker lock may call this. Raises NoCheckpoint (the batch stays planned,
    its `reason` says what it waits for), RenderFailed, StorageFailed.
    """
    batch = _load(studio.database, key)
    if batch.state == BatchState.PLANNED:
        try:
            with _best_generator(studio, batch.schedule, listener) as (entry, child):
                _write_plan(studio, key, entry)
                failpoint("batch.planned")
                _paint_all(studio, key, child, listener, should_stop)
        except NoCheckpoint as error:
            _note_reason(studio.database, key, str(error))
            raise
    while not should_stop() and _unpainted(studio.database, key):
        sha256 = _load(studio.database, key).checkpoint_sha256
        assert sha256 is not None
        try:
            with RenderChild(kept_generator(studio, sha256), studio.render_options) as child:
                _paint_all(studio, key, child, listener, should_stop)
        except CheckpointRefused as refused:
            _fail_rest(studio.database, key, f"its generator is gone: {refused}")
    return _finish(studio, key)


def kept_generator(studio: Studio, sha256: str) -> Path:
    """The kept copy of a generator that was used before; a damaged one is taken anew from checkpoints/.

    Raises CheckpointRefused when neither is whole.
    """
    try:
        return registry.open_kept(sha256, studio.generators)
    except CheckpointRefused as refused:
        for entry in registry.list_checkpoints(studio.checkpoints):
            if (
                entry.manifest
                and entry.manifest.sha256 == sha256
                and registry.verify(entry) is None
            ):
                shutil.rmtree(studio.generators / sha256, ignore_errors=True)
                return registry.keep(entry, studio.generators)
        raise CheckpointRefused(
            f"{refused}, and {studio.checkpoints} holds no whole checkpoint with sha256 {sha256[:12]}…"
        ) from refused


@contextmanager
def _best_generator(
    studio: Studio, schedule: str, listener: Listener
) -> Iterator[tuple[CheckpointEntry, RenderChild]]:
    """The best checkpoint that can really paint, loaded. Raises NoCheckpoint listing every refusal."""
    settings = studio.schedules.get(schedule)
    wanted = settings.checkpoint if settings else registry.LATEST
    refusals = []
    for entry in registry.choose(studio.checkpoints, wanted):
        with ExitStack() as stack:
            try:
                _check_class(entry, settings.class_name if settings else None)
                kept = registry.keep(entry, studio.generators)
                child = stack.enter_context(RenderChild(kept, studio.render_options))
            except CheckpointRefused as refused:
                listener.on_refused(entry.folder.name, str(refused))
                refusals.append(f"{entry.folder.name}: {refused}")
                continue
            yield entry, child
            return
    raise NoCheckpoint("no checkpoint can be used: " + "; ".join(refusals))


def _check_class(entry: CheckpointEntry, class_name: str | None) -> None:
    """Raise CheckpointRefused if the schedule asks for a class that the generator never learned."""
    known = entry.manifest.class_names if entry.manifest else ()
    if class_name is not None and entry.manifest is not None and class_name not in known:
        listed = (
            f"its classes are {', '.join(known)}" if known else "it was trained without classes"
        )
        raise CheckpointRefused(f"the schedule asks for class {class_name!r}; {listed}")


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
        batch.state = BatchState.GENERATING
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
                    recipe=_recipe(studio, wanted_class or class_for(seed, manifest)),
                    state=CandidateState.PLANNED,
                    planned_at=now,
                )
            )


def _recipe(studio: Studio, class_name: str | None) -> dict[str, object]:
    """How a seed becomes a picture, besides the generator."""
    recipe: dict[str, object] = {
        "version": RECIPE_VERSION,
        "truncation_psi": studio.truncation_psi,
    }
    return recipe | ({"class": class_name} if class_name else {})


def _paint_all(
    studio: Studio,
    key: str,
    child: RenderChild,
    listener: Listener,
    should_stop: Callable[[], bool],
) -> None:
    """Paint what is not painted yet; returns early after an error, when the child is to be replaced."""
    waiting = _unpainted(studio.database, key)
    total = _load(studio.database, key).num_candidates
    folder = studio.works / key
    folder.mkdir(parents=True, exist_ok=True)
    for done, candidate in enumerate(waiting, start=total - len(waiting) + 1):
        if should_stop():
            return
        path = folder / f"{candidate.name}.png"
        temporary = path.with_name(
            f".{path.name}.tmp"
        )  # one name per picture: a restart overwrites it
        try:
            painting = child.paint(origin_of(candidate), temporary)
        except RenderFailed as error:
            if not should_stop():
                listener.on_render_error(candidate.name, str(error))
                _record_error(studio.database, candidate.id, str(error))
            return
        move_into_place(temporary, path)
        failpoint("batch.rendered")
        _record_painting(studio, candidate.id, path, painting, child)
        listener.on_painted(candidate.name, done, total)


def origin_of(candidate: Candidate) -> Origin:
    """What makes this picture, as the render child wants it."""
    return Origin(
        candidate=candidate.name,
        checkpoint_sha256=candidate.checkpoint_sha256,
        seed=candidate.seed,
        recipe=cast(dict[str, object], candidate.recipe),
    )


def _record_painting(
    studio: Studio, candidate_id: int, path: Path, painting: Painting, child: RenderChild
) -> None:
    with studio.database.write() as session:
        candidate = session.get_one(Candidate, candidate_id)
        candidate.state = CandidateState.PENDING
        candidate.rendered_at = studio.clock()
        candidate.path = path.relative_to(studio.works).as_posix()
        candidate.image_sha256 = painting.image_sha256
        candidate.pixel_sha256 = painting.pixel_sha256
        candidate.num_bytes = painting.num_bytes
        candidate.width, candidate.height = painting.width, painting.height
        candidate.environment = child.environment
        candidate.error = None


def _record_error(database: Database, candidate_id: int, error: str) -> None:
    with database.write() as session:
        candidate = session.get_one(Candidate, candidate_id)
        candidate.num_render_errors += 1
        candidate.error = error
        if candidate.num_render_errors >= MAX_RENDER_ATTEMPTS:
            candidate.state = CandidateState.FAILED


def _fail_rest(database: Database, key: str, error: str) -> None:
    with database.write() as session:
        for candidate in session.scalars(_unpainted_query(key)):
            candidate.state, candidate.error = CandidateState.FAILED, error


def _finish(studio: Studio, key: str) -> BatchState:
    """Close the batch if nothing is left to paint."""
    with studio.database.write() as session:
        batch = session.scalars(select(Batch).where(Batch.key == key)).one()
        states = [candidate.state for candidate in batch.candidates]
        if batch.state == BatchState.GENERATING and CandidateState.PLANNED not in states:
            failed = states.count(CandidateState.FAILED)
            batch.state = (
                BatchState.READY
                if not failed
                else BatchState.FAILED
                if failed == len(states)
                else BatchState.PARTIAL
            )
            batch.finished_at = studio.clock()
        return BatchState(batch.state)


def _note_reason(database: Database, key: str, reason: str) -> None:
    with database.write() as session:
        session.scalars(select(Batch).where(Batch.key == key)).one().reason = reason


def _load(database: Database, key: str) -> Batch:
    with database.read() as session:
        return session.scalars(select(Batch).where(Batch.key == key)).one()


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

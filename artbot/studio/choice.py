"""Which generator a schedule's next batch is painted with: decided here, for the worker and for who asks.

Reads manifests and what is remembered of generators, no weights. One that is chosen here may still turn
out damaged when it is loaded; then the worker takes the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from artbot.config import ScheduleSettings
from artbot.errors import NoCheckpoint
from artbot.studio import registry
from artbot.studio.refusals import Refusals, refused_for_good
from artbot.studio.registry import CheckpointEntry
from db.engine import Database
from db.models import Checkpoint
from trainers.errors import did_you_mean
from trainers.manifest import Manifest


@dataclass(frozen=True)
class Choice:
    """A checkpoint that fits what a schedule asks for, or is passed over."""

    entry: CheckpointEntry
    refusal: str | None
    """Why it is passed over, as far as is known without reading its weights."""


def choices(
    database: Database, checkpoints: Path, settings: ScheduleSettings | None
) -> Iterator[Choice]:
    """What a schedule can be painted with, best first; None: a schedule that artbot.toml no longer has.

    Raises NoCheckpoint when there is nothing to try.
    """
    wanted = settings.checkpoint if settings else registry.LATEST
    class_name = settings.class_name if settings else None
    known = refused_for_good(database)
    for entry in registry.choose(checkpoints, wanted, settings.dataset if settings else None):
        yield Choice(entry, _refusal_of(entry, class_name, database, known))


def generator_of(
    database: Database, checkpoints: Path, settings: ScheduleSettings | None
) -> CheckpointEntry:
    """The one that the next batch is painted with. Raises NoCheckpoint saying why there is none."""
    refused = []
    for choice in choices(database, checkpoints, settings):
        if choice.refusal is None:
            return choice.entry
        refused.append(choice)
    told = refused[0]
    if settings and settings.class_name is not None:  # one with classes has more to say of that
        told = next((c for c in refused if c.entry.manifest and c.entry.manifest.class_names), told)
    others = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    raise NoCheckpoint(f"no checkpoint can be used: {told.entry.name}: {told.refusal}{others}")


def passed_over(
    database: Database,
    checkpoints: Path,
    schedules: Mapping[str, ScheduleSettings],
    schedule: str,
    chosen: CheckpointEntry,
) -> str | None:
    """Which one would paint instead of the `chosen` one, were it not doubted, and how to have it so."""
    for choice in choices(database, checkpoints, schedules[schedule]):
        entry = choice.entry
        is_doubted = choice.refusal is None and entry.doubt and not chosen.doubt
        if is_doubted and registry.is_later(entry, chosen):
            return (
                f"later, but {entry.doubt}: {entry.name}; to use it all the same: "
                f'checkpoint = "{entry.name}" under [schedules.{schedule}]'
            )
    return None


def is_as_recorded(database: Database, manifest: Manifest) -> bool:
    """Whether these weights, if they ever painted, painted as that very generator."""
    with database.read() as session:
        row = session.get(Checkpoint, manifest.sha256)
    if row is None:
        return True
    try:
        recorded = Manifest.model_validate(row.manifest)
    except ValidationError:  # written by another artbot
        return True
    return registry.identity_of(recorded) == registry.identity_of(manifest)


def _refusal_of(
    entry: CheckpointEntry, class_name: str | None, database: Database, known: Refusals
) -> str | None:
    """One whose works could never be painted again is refused as well: its weights are those of another."""
    if entry.manifest is None:
        return entry.refusal or "no manifest"
    if class_name is not None and class_name not in entry.manifest.class_names:
        return _never_learned(class_name, entry.manifest.class_names)
    if held := known.of(entry.manifest):
        return held.reason
    if not is_as_recorded(database, entry.manifest):
        return "its weights painted before, with another manifest (architecture, shape or classes)"
    return None


def _never_learned(class_name: str, known: tuple[str, ...]) -> str:
    asks = f"the schedule asks for class {class_name!r}; "
    if not known:
        return asks + "it was trained without classes"
    meant = did_you_mean(class_name, known, otherwise="")
    return asks + f"its classes are {', '.join(known)}" + (f". {meant}" if meant else "")

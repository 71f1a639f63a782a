"""Generators that are not tried again: refused for what they are, and known by that.

A refusal comes here when another try could only come to the same: a header that breaks the format,
tensors that are not the architecture's, values that are no numbers, a network that paints one flat
colour. They are known by their weights and by what the manifest says about painting with them
(`registry.identity_of`): a generator trained anew under the same name is another one, the same one under
another name is not, and weights that a wrong manifest lay over are not refused with it.

What lies in circumstances never comes here: a file that cannot be read, a disk that is full, a device
without memory, a child that died or hung, and bytes that are not the manifest's. The last are often
half of a file that is still being copied; and the sha256 they have may be that of a good generator
that was copied over this one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from sqlalchemy import or_, select

from artbot.studio.registry import identity_of
from db.engine import Database
from db.models import Checkpoint, RefusedCheckpoint
from trainers.manifest import Manifest

MAX_REASON = 500


class Refusals:
    """What is not tried again."""

    def __init__(self, rows: Iterable[RefusedCheckpoint]) -> None:
        self._by_identity = {row.sha256: row for row in rows}

    def of(self, manifest: Manifest) -> RefusedCheckpoint | None:
        """What is held against that generator, if anything is."""
        return self._by_identity.get(identity_of(manifest))

    def __iter__(self) -> Iterator[RefusedCheckpoint]:
        return iter(self._by_identity.values())


def refused_for_good(database: Database) -> Refusals:
    """What is not tried again."""
    with database.read() as session:
        return Refusals(session.scalars(select(RefusedCheckpoint)))


def refuse_for_good(
    database: Database, manifest: Manifest, reason: str, generators: Path, now: datetime
) -> None:
    """Write the refusal down, and remove the private copy unless some work was painted by it."""
    identity = identity_of(manifest)
    with database.write() as session:
        if session.get(RefusedCheckpoint, identity) is None:
            session.add(
                RefusedCheckpoint(
                    sha256=identity,
                    name=manifest.name,
                    reason=reason[:MAX_REASON],
                    refused_at=now,
                )
            )
        was_used = session.get(Checkpoint, manifest.sha256) is not None
    if not was_used:
        shutil.rmtree(generators / manifest.sha256, ignore_errors=True)


def release(
    database: Database, name: str, manifest: Manifest | None = None
) -> list[RefusedCheckpoint]:
    """Forget what was held against the checkpoint called `name`, or the same one under another name;
    returns what was."""
    identity = identity_of(manifest) if manifest else None
    with database.write() as session:
        rows = session.scalars(
            select(RefusedCheckpoint).where(
                or_(RefusedCheckpoint.name == name, RefusedCheckpoint.sha256 == identity)
            )
        ).all()
        for row in rows:
            session.delete(row)
        return list(rows)

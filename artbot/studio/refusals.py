"""Generators that are not tried again: refused for what their weights are, and known by those.

A refusal comes here when another try could only come to the same: a header that breaks the format,
tensors that are not the architecture's, values that are no numbers, a network that paints one flat
colour. The sha256 is the manifest's, which the bytes were seen to have; so a generator trained anew
under the same name is another one, and the same one under another name is not.

What lies in circumstances never comes here: a file that cannot be read, a disk that is full, a device
without memory, a child that died or hung, and bytes that are not the manifest's. The last are often
half of a file that is still being copied; and the sha256 they have may be that of a good generator
that was copied over this one.
"""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from sqlalchemy import or_, select

from db.engine import Database
from db.models import Checkpoint, RefusedCheckpoint
from trainers.manifest import Manifest

MAX_REASON = 500


def refused_for_good(database: Database) -> dict[str, RefusedCheckpoint]:
    """What is not tried again, by the sha256 of the weights."""
    with database.read() as session:
        return {row.sha256: row for row in session.scalars(select(RefusedCheckpoint))}


def refuse_for_good(
    database: Database, manifest: Manifest, reason: str, generators: Path, now: datetime
) -> None:
    """Write the refusal down, and remove the private copy unless some work was painted by it."""
    with database.write() as session:
        if session.get(RefusedCheckpoint, manifest.sha256) is None:
            session.add(
                RefusedCheckpoint(
                    sha256=manifest.sha256,
                    name=manifest.name,
                    reason=reason[:MAX_REASON],
                    refused_at=now,
                )
            )
        was_used = session.get(Checkpoint, manifest.sha256) is not None
    if not was_used:
        shutil.rmtree(generators / manifest.sha256, ignore_errors=True)


def release(database: Database, name: str, sha256: str | None) -> list[RefusedCheckpoint]:
    """Forget what was held against the checkpoint called `name`, or its weights; returns what was."""
    with database.write() as session:
        rows = session.scalars(
            select(RefusedCheckpoint).where(
                or_(RefusedCheckpoint.name == name, RefusedCheckpoint.sha256 == sha256)
            )
        ).all()
        for row in rows:
            session.delete(row)
        return list(rows)

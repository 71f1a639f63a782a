"""A hash chain over an append-only table: whoever changes an old row breaks every later one.

    chain = sha256(chain of the row before + canonical JSON of this row's own columns)

It shows tampering and torn restores; it is no signature, and protects nothing from who can recompute it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Decision, Intervention

Entry = Decision | Intervention
_NOT_HASHED = ("id", "chain")
_ADDED_LATER = ("hashtags", "warning", "language", "stars", "channels")
"""Columns that rows older than migrations 0004 and 0007 do not have: part of the link only where they say something."""


def append(session: Session, entry: Entry) -> None:
    """Add `entry` as the last link, in a session of `Database.write()`: nobody else can add one now."""
    kind = type(entry)
    session.flush()  # links added before this one must have their numbers
    before = session.scalar(select(kind.chain).order_by(kind.id.desc()).limit(1))
    entry.chain = link(before, entry, session)
    session.add(entry)
    session.flush()


def link(before: str | None, entry: Entry, session: Session) -> str:
    """The chain value of a row that follows one whose value is `before`."""
    dialect = session.get_bind().dialect
    stored = {}
    for column in type(entry).__table__.columns:
        if column.name not in _NOT_HASHED:
            value = getattr(entry, column.name)
            if value is None and column.name in _ADDED_LATER:
                continue
            bind = column.type.bind_processor(dialect)
            stored[column.name] = bind(value) if bind else value
    content = (before or "") + json.dumps(stored, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def first_broken(session: Session, kind: type[Entry]) -> int | None:
    """The id of the first row that does not follow from the one before; None if all do.

    Rows older than the chain come first and carry no value.
    """
    before: str | None = None
    rows: Iterable[Entry] = session.scalars(
        select(kind).order_by(kind.id).execution_options(yield_per=1000)
    )
    for row in rows:
        if row.chain is None and before is None:
            continue
        if row.chain != link(before, row, session):
            return row.id
        before = row.chain
    return None

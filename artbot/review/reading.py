"""What there is to look at: candidates by state, and one candidate's whole story."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from artbot.domain.candidate import CandidateState
from artbot.errors import UsageError
from db.engine import Database
from db.models import Batch, Candidate, Delivery


def list_candidates(
    database: Database,
    states: Sequence[CandidateState],
    batch: str | None = None,
    limit: int | None = None,
) -> list[Candidate]:
    """Candidates in `states`, newest batch first, in the batch's order; with batch and checkpoint."""
    query = (
        select(Candidate)
        .join(Candidate.batch)
        .where(Candidate.state.in_(states))
        .options(joinedload(Candidate.batch), joinedload(Candidate.checkpoint))
        .order_by(Batch.due_at.desc(), Batch.id.desc(), Candidate.index)
        .limit(limit)
    )
    if batch is not None:
        query = query.where(Batch.key == batch)
    with database.read() as session:
        return list(session.scalars(query))


def has_batch(database: Database, key: str) -> bool:
    if not key.isprintable():  # no database could be asked for it
        return False
    with database.read() as session:
        return session.scalar(select(Batch.id).where(Batch.key == key)) is not None


LARGEST_ID = 2**31 - 1
"""PostgreSQL keeps no larger one; whoever types more has mistyped."""


def find_candidate(database: Database, typed: str) -> int:
    """The id of the candidate a person means: its number, or its name. Raises UsageError."""
    found: int | None = None
    if typed.isascii() and typed.isdigit():
        found = int(typed[:20])  # Python turns 4,300 digits into a number, and no more
    elif typed.isprintable():  # else no database could be asked for it
        with database.read() as session:
            found = session.scalar(select(Candidate.id).where(Candidate.name == typed))
    if found is None or found > LARGEST_ID:
        raise UsageError(
            f"there is no candidate {typed!r}. Give numbers with spaces between them, or names; "
            "`artbot review --all` lists both."
        )
    return found


def get_candidate(database: Database, candidate_id: int) -> Candidate:
    """One candidate with batch, checkpoint, decisions, deliveries and attempts. Raises UsageError."""
    with database.read() as session:
        candidate = session.get(
            Candidate,
            candidate_id,
            options=[
                joinedload(Candidate.batch),
                joinedload(Candidate.checkpoint),
                selectinload(Candidate.decisions),
                selectinload(Candidate.deliveries).selectinload(Delivery.attempts),
            ],
        )
    if candidate is None:
        raise UsageError(f"there is no candidate {candidate_id}. `artbot review --all` lists them.")
    return candidate

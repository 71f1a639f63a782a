"""What there is to look at: candidates by state, one with all that belongs to it, and which one a person means."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, contains_eager, joinedload, selectinload

from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.errors import UsageError
from db.engine import Database
from db.models import Batch, Candidate, Delivery

MOST_IN_A_QUESTION = 1000
"""Batches: no database takes any number of them at once."""


def list_candidates(
    database: Database,
    states: Sequence[CandidateState],
    batch: str | None = None,
    limit: int | None = None,
) -> list[Candidate]:
    """Candidates in `states`, newest batch first, in the batch's order; with batch and checkpoint. Of what is
    undecided the pending ones come first, as nobody has looked at them."""
    unseen_first = set(states) == set(UNDECIDED)
    found: list[Candidate] = []
    with database.read() as session:
        for together in [[state] for state in UNDECIDED] if unseen_first else [states]:
            room = None if limit is None else limit - len(found)
            if room is None or room > 0:
                found += _newest_first(session, together, batch, room)
    return found


def _newest_first(
    session: Session, states: Sequence[CandidateState], batch: str | None, limit: int | None
) -> Sequence[Candidate]:
    """First which batches they are in: there are few of those, and candidates are many."""
    number_there = (
        select(func.count(Candidate.id))
        .where(Candidate.state.in_(states), Candidate.batch_id == Batch.id)
        .correlate(Batch)
        .scalar_subquery()
    )
    batches = (
        select(Batch.id, number_there)
        .where(number_there > 0)
        .order_by(Batch.due_at.desc(), Batch.id.desc())
        .limit(limit)
    )
    if batch is not None:
        batches = batches.where(Batch.key == batch)
    wanted: list[int] = []
    num_found = 0
    for number, count in session.execute(batches):
        if limit is not None and num_found >= limit:
            break
        wanted.append(number)
        num_found += count
    found: list[Candidate] = []
    for begin in range(0, len(wanted), MOST_IN_A_QUESTION):
        some = wanted[begin : begin + MOST_IN_A_QUESTION]
        found += session.scalars(
            select(Candidate)
            .join(Candidate.batch)
            .where(Candidate.state.in_(states), Candidate.batch_id.in_(some))
            .options(contains_eager(Candidate.batch), selectinload(Candidate.checkpoint))
            .order_by(Batch.due_at.desc(), Batch.id.desc(), Candidate.index)
            .limit(None if limit is None else limit - len(found))
        )
    return found


def has_batch(database: Database, key: str) -> bool:
    if not key.isprintable():  # no database could be asked for it
        return False
    with database.read() as session:
        return session.scalar(select(Batch.id).where(Batch.key == key)) is not None


LARGEST_ID = 2**31 - 1
"""PostgreSQL keeps no larger one; whoever types more has mistyped."""


_NUMBERS = re.compile(r"([0-9]{1,10})(?: *- *([0-9]{1,10}))?")
_OF_TODAY = re.compile(r"today:(.*)|(.*) +of +today")
MOST_NAMED = 3


def split_typed(arguments: Sequence[str]) -> list[str]:
    """What a person typed after a command, one text for each thing that is meant: `3 of today` needs no quotes."""
    words = list(arguments)
    split: list[str] = []
    while words:
        is_of_today = [word.lower() for word in words[1:3]] == ["of", "today"]
        taken = 3 if is_of_today else 1
        split.append(" ".join(words[:taken]))
        words = words[taken:]
    return split


def find_candidate(database: Database, typed: str) -> int:
    """The id of the one candidate a person means. Raises UsageError."""
    found = find_candidates(database, typed)
    if len(found) > 1:
        raise UsageError(
            f"{typed!r} means {len(found)} candidates. Name one of them: {found[0]}, say."
        )
    return found[0]


def find_candidates(database: Database, typed: str) -> list[int]:
    """The ids of the candidates a person means, at least one: by number (`12`), range (`3-5`), name or the beginning
    of one, by their place in the newest batch (`today:3`, `3 of today`, `today:3-5`), or all of it that is
    undecided (`today`).

    Raises UsageError. Whether a single number is one of a candidate is not asked.
    """
    text = typed.strip()
    if text.lower() == "today":
        return _of_newest_batch(database, typed, None)
    if of_today := _OF_TODAY.fullmatch(text.lower()):
        return _of_newest_batch(database, typed, "".join(of_today.groups("")))
    if numbers := _numbers(text):
        first, last = numbers
        if first > LARGEST_ID:
            raise _no_candidate(typed)
        if first == last:
            return [first]
        return _some(database, typed, Candidate.id.between(first, min(last, LARGEST_ID)))
    return [_by_name(database, typed, text)]


def _numbers(text: str) -> tuple[int, int] | None:
    """Of `3` or `3-5`. Raises UsageError for a range that runs backwards."""
    if (found := _NUMBERS.fullmatch(text)) is None:
        return None
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise UsageError(f"{text!r} runs backwards. Write {last}-{first}.")
    return first, last


def _of_newest_batch(database: Database, typed: str, places: str | None) -> list[int]:
    with database.read() as session:
        newest = session.scalar(
            select(Batch)
            .where(Batch.checkpoint_sha256.is_not(None))
            .order_by(Batch.due_at.desc(), Batch.id.desc())
            .limit(1)
        )
    if newest is None:
        raise UsageError("there is no batch yet. `artbot batch` makes one.")
    of_it = Candidate.batch_id == newest.id
    if places is None:
        undecided = of_it & Candidate.state.in_(UNDECIDED)
        return _some(database, typed, undecided, f"of {newest.key} nothing is undecided")
    if (numbers := _numbers(places.strip())) is None:
        raise _no_candidate(typed)
    first, last = (min(number, LARGEST_ID) for number in numbers)
    nobody = f"{newest.key}, the newest batch, has no {places.strip()}"
    return _some(database, typed, of_it & Candidate.index.between(first, last), nobody)


def _some(
    database: Database, typed: str, condition: ColumnElement[bool], nobody: str | None = None
) -> list[int]:
    with database.read() as session:
        found = list(session.scalars(select(Candidate.id).where(condition).order_by(Candidate.id)))
    if not found:
        raise UsageError(f"{nobody}. {_LISTED}") if nobody else _no_candidate(typed)
    return found


def _by_name(database: Database, typed: str, text: str) -> int:
    """The whole name, or a beginning that no other has."""
    if not text or not text.isprintable():  # no database could be asked for it
        raise _no_candidate(typed)
    with database.read() as session:
        exact = session.scalar(select(Candidate.id).where(Candidate.name == text))
        if exact is not None:
            return exact
        # LIKE knows no case on SQLite, and knows it on PostgreSQL.
        begins = func.substr(Candidate.name, 1, len(text)) == text
        beginning = select(Candidate.id, Candidate.name).where(begins)
        found = session.execute(beginning.order_by(Candidate.name).limit(MOST_NAMED + 1)).all()
    if not found:
        raise _no_candidate(typed)
    if len(found) > 1:
        names = ", ".join(name for _, name in found[:MOST_NAMED])
        more = " and more" if len(found) > MOST_NAMED else ""
        raise UsageError(
            f"several names begin with {typed!r}: {names}{more}. Type more of the one you mean."
        )
    number: int = found[0].id
    return number


def _no_candidate(typed: str) -> UsageError:
    return UsageError(
        f"there is no candidate {typed!r}. Give numbers (12, 3-5) with spaces between them, names or the beginning of one, today:3 for the "
        f"third of the newest batch, or today for all of it that is undecided. {_LISTED}"
    )


_LISTED = "`artbot review --all` lists them."


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
        raise UsageError(f"there is no candidate {candidate_id}. {_LISTED}")
    return candidate

"""The life of a batch and of a candidate, as data.

Batch      planned -> generating -> ready | partial | failed;  planned -> skipped
Candidate  planned -> pending -> approved | rejected;  undo leads back to pending
"""

from __future__ import annotations

from enum import StrEnum


class BatchState(StrEnum):
    PLANNED = "planned"  # the day has its row; nothing is rendered yet
    GENERATING = "generating"  # generator chosen, seeds written down
    READY = "ready"  # every candidate has its picture
    PARTIAL = "partial"  # some candidates failed for good
    FAILED = "failed"  # all of them did
    SKIPPED = "skipped"  # the day passed without a batch; `reason` says why


class CandidateState(StrEnum):
    PLANNED = "planned"  # (checkpoint, seed, recipe) are known, the picture is not
    PENDING = "pending"  # waits for a person
    APPROVED = "approved"
    REJECTED = "rejected"
    FAILED = "failed"  # could not be rendered


BATCH_MOVES: dict[BatchState, frozenset[BatchState]] = {
    BatchState.PLANNED: frozenset({BatchState.GENERATING, BatchState.SKIPPED}),
    BatchState.GENERATING: frozenset({BatchState.READY, BatchState.PARTIAL, BatchState.FAILED}),
    BatchState.READY: frozenset(),
    BatchState.PARTIAL: frozenset(),
    BatchState.FAILED: frozenset(),
    BatchState.SKIPPED: frozenset(),
}

CANDIDATE_MOVES: dict[CandidateState, frozenset[CandidateState]] = {
    CandidateState.PLANNED: frozenset({CandidateState.PENDING, CandidateState.FAILED}),
    CandidateState.PENDING: frozenset({CandidateState.APPROVED, CandidateState.REJECTED}),
    CandidateState.APPROVED: frozenset({CandidateState.PENDING}),  # undo, while nothing was sent
    CandidateState.REJECTED: frozenset({CandidateState.PENDING}),  # undo
    CandidateState.FAILED: frozenset(),
}

MAX_RENDER_ATTEMPTS = 3
"""A candidate that could not be rendered so many times is failed."""

"""A batch's seeds follow from its key, so a batch begun again after a crash is the same batch."""

from __future__ import annotations

import hashlib

SEED_BITS = 53
"""Every JSON reader keeps integers of this size exact (RFC 8259, section 6)."""


def seed_for(batch_key: str, index: int) -> int:
    """The seed of the `index`-th candidate (from 1) of a batch: 0 <= seed < 2**53."""
    digest = hashlib.sha256(f"{batch_key}|{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)

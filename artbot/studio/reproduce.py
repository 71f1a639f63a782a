"""Make a picture again from its (checkpoint sha256, seed, recipe), and put back a file that is lost."""

from __future__ import annotations

import tempfile
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.errors import NotAllowed, RenderFailed
from artbot.files import make_folder, move_into_place
from artbot.pictures import fault_of, quarantine, reinstate
from artbot.studio.batch import Studio, kept_generator, origin_of
from artbot.studio.provenance import pixel_sha256
from artbot.studio.render import Painting, RenderChild
from db.models import Candidate
from trainers.errors import CheckpointRefused


@dataclass(frozen=True)
class Reproduction:
    """How the picture made now compares with the one made then."""

    is_identical: bool
    num_differing: int | None
    """Pixels that differ in any channel; None if the file of then cannot be read."""
    largest_difference: int | None
    """In 8-bit steps; None likewise."""
    environment_then: dict[str, Any]
    environment_now: dict[str, Any]
    is_file_intact: bool
    """The file in works/ still holds the pixels that were recorded."""


def reproduce(studio: Studio, candidate: Candidate, output: Path | None = None) -> Reproduction:
    """Render `candidate` again, beside the works, or to `output` if given.

    Raises NotAllowed (it has no picture yet), RenderFailed (the generator is gone or refuses).
    """
    if candidate.pixel_sha256 is None or candidate.path is None:
        raise NotAllowed(f"{candidate.name} has no picture yet: it is {candidate.state}.")
    with tempfile.TemporaryDirectory() as folder:
        path = output or Path(folder) / "again.png"
        painting, environment_now = _paint(studio, candidate, path)
        then, now = _pixels(studio.works / candidate.path), _pixels(path)
    num_differing = largest = None
    if then is not None and now is not None and then.shape == now.shape:
        difference = np.abs(then.astype(np.int16) - now.astype(np.int16))
        num_differing, largest = int(difference.any(axis=2).sum()), int(difference.max())
    return Reproduction(
        is_identical=painting.pixel_sha256 == candidate.pixel_sha256,
        num_differing=num_differing,
        largest_difference=largest,
        environment_then=candidate.environment or {},
        environment_now=environment_now,
        is_file_intact=then is not None and pixel_sha256(then) == candidate.pixel_sha256,
    )


def _pixels(path: Path) -> np.ndarray | None:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError):  # what Pillow raises for missing and damaged files
        return None


class Restoration(StrEnum):
    """What came of putting a picture's file back."""

    WHOLE = "whole"  # to the byte the recorded one: it was so already, or it is again
    SAME_PIXELS = (
        "same_pixels"  # the picture, in another file, whose sha256 is now the recorded one
    )
    OTHER_BYTES = "other_bytes"  # the picture, but it was approved or decided about in another file
    OTHER_PIXELS = "other_pixels"  # another picture


def restore_file(studio: Studio, candidate_id: int) -> Restoration:
    """See that the candidate's file is whole, painting it anew if it must be; who was quarantined is then
    what it was before.

    An approval stands for the bytes that were approved, so a file with other bytes is taken only for a
    work that waits to be decided about and that no delivery knows. Two libraries can write the same
    pixels as different files. Otherwise nothing is put in its place.

    Raises StorageFailed (the file cannot be read now), RenderFailed (it cannot be painted).
    """
    if _reinstate_if_whole(studio, candidate_id):
        return Restoration.WHOLE
    with studio.database.read() as session:
        candidate = session.get_one(Candidate, candidate_id)
    assert candidate.path is not None
    # Not in its batch's folder, which may be gone; what a killed command leaves here is swept.
    temporary = studio.works / f".{candidate.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        painting, environment = _paint(studio, candidate, temporary)
        if painting.pixel_sha256 != candidate.pixel_sha256:
            return Restoration.OTHER_PIXELS
        with studio.database.write() as session:
            candidate = session.get_one(Candidate, candidate_id)
            return _put_back(studio, session, candidate, temporary, painting, environment)
    finally:
        temporary.unlink(missing_ok=True)


def _put_back(
    studio: Studio,
    session: Session,
    candidate: Candidate,
    temporary: Path,
    painting: Painting,
    environment: dict[str, Any],
) -> Restoration:
    """Under the lock: whoever decides about the candidate does so before or after."""
    assert candidate.path is not None
    path, now = studio.works / candidate.path, studio.clock()
    is_same_file = painting.image_sha256 == candidate.image_sha256
    if not is_same_file:
        waits = candidate.state in (*UNDECIDED, CandidateState.QUARANTINED)
        if not waits or candidate.deliveries or candidate.approved_at is not None:
            return Restoration.OTHER_BYTES
        if candidate.state in UNDECIDED:  # so that the log tells which file was when
            quarantine(session, candidate, f"{path} was lost", "studio", now)
        candidate.image_sha256 = painting.image_sha256
        candidate.num_bytes = painting.num_bytes
        candidate.environment = environment
    make_folder(path.parent)
    move_into_place(temporary, path)
    if candidate.state == CandidateState.QUARANTINED:
        reinstate(session, candidate, "studio", now, studio.requeue)
    return Restoration.WHOLE if is_same_file else Restoration.SAME_PIXELS


def _reinstate_if_whole(studio: Studio, candidate_id: int) -> bool:
    with studio.database.write() as session:
        candidate = session.get_one(Candidate, candidate_id)
        # A folder that is gone is made anew: a person says that `works` is where it should be.
        if (studio.works / (candidate.path or "")).parent.exists() and fault_of(
            studio.works, candidate
        ) is None:
            if candidate.state == CandidateState.QUARANTINED:
                reinstate(session, candidate, "studio", studio.clock(), studio.requeue)
            return True
    return False


def _paint(studio: Studio, candidate: Candidate, path: Path) -> tuple[Painting, dict[str, Any]]:
    """Paint the candidate to `path`; also the environment it was painted in."""
    try:
        with RenderChild(
            kept_generator(studio, candidate.checkpoint_sha256), studio.render_options
        ) as child:
            return child.paint(origin_of(candidate), path), child.environment
    except CheckpointRefused as refused:
        raise RenderFailed(f"{candidate.name} cannot be made again: {refused}.") from refused

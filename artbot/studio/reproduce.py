"""Make a picture again from its (checkpoint sha256, seed, recipe) and compare the pixels."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artbot.domain.candidate import CandidateState
from artbot.errors import NotAllowed, RenderFailed
from artbot.files import move_into_place
from artbot.pictures import reinstate
from artbot.studio.batch import Studio, kept_generator, origin_of
from artbot.studio.provenance import pixel_sha256
from artbot.studio.render import RenderChild
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
        try:
            with RenderChild(
                kept_generator(studio, candidate.checkpoint_sha256), studio.render_options
            ) as child:
                painting = child.paint(origin_of(candidate), path)
                environment_now = child.environment
        except CheckpointRefused as refused:
            raise RenderFailed(f"{candidate.name} cannot be made again: {refused}.") from refused
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


def restore_file(studio: Studio, candidate: Candidate) -> bool:
    """Paint the candidate's file anew; True if it is, to the byte, the one that was recorded. A
    quarantined candidate is then what it was before.

    Otherwise nothing is put in its place: an approval must stand for the picture that was seen.
    """
    assert candidate.path is not None
    path = studio.works / candidate.path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.restored.tmp")
    try:
        with RenderChild(
            kept_generator(studio, candidate.checkpoint_sha256), studio.render_options
        ) as child:
            painting = child.paint(origin_of(candidate), temporary)
        if painting.image_sha256 != candidate.image_sha256:
            return False
        move_into_place(temporary, path)
        _reinstate(studio, candidate.id)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _reinstate(studio: Studio, candidate_id: int) -> None:
    with studio.database.write() as session:
        candidate = session.get_one(Candidate, candidate_id)
        if candidate.state == CandidateState.QUARANTINED:
            reinstate(session, candidate, "studio", studio.clock())

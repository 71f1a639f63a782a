"""A picture's file: gone, another one, back again, or not to be read for a moment."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pytest
from PIL import Image

from artbot.errors import PictureChanged, RenderFailed, StorageFailed
from artbot.pictures import fault_of, quarantine
from artbot.review.decisions import approve, put_off, undo
from artbot.studio import reproduce
from artbot.studio.batch import Studio
from artbot.studio.provenance import Origin, pixel_sha256
from artbot.studio.render import Painting, RenderOptions
from artbot.studio.reproduce import Restoration, restore_file
from db.models import Candidate
from tests.unit.service.kit import (
    ANNA,
    Desk,
    add_works,
    answers,
    attempts,
    candidate,
    decisions,
    deliveries,
    http_answer,
    picture_of,
    serve,
)

OK = http_answer(204)


def unmount(works: Path) -> Path:
    """What is left is an empty folder; returns where the works are meanwhile."""
    elsewhere = works.with_name("elsewhere")
    works.rename(elsewhere)
    works.mkdir()
    return elsewhere


def mount(works: Path, elsewhere: Path) -> None:
    works.rmdir()
    elsewhere.rename(works)


# ---------------------------------------------------------------- not to be read for a moment


def test_while_works_is_not_mounted_no_approved_work_is_put_aside_and_all_go_out_later(
    desk: Desk,
) -> None:
    works = add_works(desk.database, desk.works, 3)
    for work in works:
        approve(desk.review, work, ANNA)
    elsewhere = unmount(desk.works)
    with serve(answers(OK)) as server:
        put_off = desk.send(server.url)
        assert [sent.state for sent in put_off] == ["queued"] * 3
        assert all("cannot be read: No such file" in sent.detail for sent in put_off)
        assert all(sent.next_at and sent.next_at > desk.clock() for sent in put_off)
        assert desk.send(server.url) == [], "and they are not asked for without a pause"
        assert {candidate(desk.database, work).state for work in works} == {"approved"}
        assert (attempts(desk.database), server.num_connections) == ([], 0)
        mount(desk.works, elsewhere)
        desk.clock.advance(minutes=5)
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"] * 3
    assert [d.last_error for d in deliveries(desk.database)] == [None] * 3


def test_a_file_that_cannot_be_read_holds_up_no_other(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    for work in (one, two):
        approve(desk.review, work, ANNA)
    picture = picture_of(desk.database, desk.works, one)
    original = picture.read_bytes()
    picture.unlink()
    picture.symlink_to(picture)  # the kernel: too many levels of symbolic links
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["queued", "delivered"]
        picture.unlink()
        picture.write_bytes(original)
        desk.clock.advance(minutes=5)
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"]


def test_a_work_withdrawn_while_its_picture_cannot_be_read_stays_withdrawn(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    approve(desk.review, work, ANNA)
    unmount(desk.works)
    with serve(answers(OK)) as server:
        desk.send(server.url)
    undo(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == ["cancelled"]


def test_what_cannot_be_read_now_is_neither_approved_nor_put_aside(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    elsewhere = unmount(desk.works)
    with pytest.raises(StorageFailed, match="cannot be read"):
        approve(desk.review, work, ANNA)
    assert (candidate(desk.database, work).state, decisions(desk.database)) == ("pending", [])
    mount(desk.works, elsewhere)
    assert approve(desk.review, work, ANNA).state == "approved"


def test_a_file_missing_from_its_folder_is_gone(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    picture_of(desk.database, desk.works, work).unlink()
    assert "No such file" in (fault_of(desk.works, candidate(desk.database, work)) or "")


def test_a_folder_in_the_place_of_a_picture_is_not_the_picture(desk: Desk) -> None:
    (work,) = add_works(desk.database, desk.works)
    picture = picture_of(desk.database, desk.works, work)
    picture.unlink()
    picture.mkdir()
    with pytest.raises(PictureChanged, match="Is a directory"):
        approve(desk.review, work, ANNA)


# ---------------------------------------------------------------- back again


@pytest.fixture
def studio(desk: Desk, tmp_path: Path) -> Studio:
    """It has no generator at all, so that it cannot paint."""
    return Studio(
        database=desk.database,
        checkpoints=tmp_path / "checkpoints",
        works=desk.works,
        schedules={},
        truncation_psi=1.0,
        render_options=RenderOptions("cpu", 1, 1, {}),
        clock=desk.clock,
    )


def put_aside(desk: Desk, work: int) -> None:
    with desk.database.write() as session:
        quarantine(session, session.get_one(Candidate, work), "gone", "test", desk.clock())


@pytest.mark.parametrize("was_approved", [False, True])
def test_a_file_that_is_whole_again_is_believed_without_painting(
    desk: Desk, studio: Studio, was_approved: bool
) -> None:
    (work,) = add_works(desk.database, desk.works)
    if was_approved:
        approve(desk.review, work, ANNA)
    put_aside(desk, work)
    assert restore_file(studio, work) == Restoration.WHOLE
    assert candidate(desk.database, work).state == ("approved" if was_approved else "pending")
    assert {d.state for d in deliveries(desk.database)} == ({"queued"} if was_approved else set())


def test_what_is_whole_and_was_never_put_aside_stays_as_it_is(desk: Desk, studio: Studio) -> None:
    (work,) = add_works(desk.database, desk.works)
    assert restore_file(studio, work) == Restoration.WHOLE
    assert decisions(desk.database) == []


def test_without_a_generator_what_is_gone_stays_gone(desk: Desk, studio: Studio) -> None:
    (work,) = add_works(desk.database, desk.works)
    picture_of(desk.database, desk.works, work).unlink()
    with pytest.raises(RenderFailed, match="cannot be made again"):
        restore_file(studio, work)


# ---------------------------------------------------------------- the same pixels in other bytes


@pytest.fixture
def repainting(desk: Desk, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A child that paints what was painted, and writes it as a later Pillow would: not compressed."""

    class LaterChild:
        def __init__(self, kept: Path, options: RenderOptions) -> None:
            self.environment = {"torch": "2.14"}

        def __enter__(self) -> Self:
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None: ...

        def paint(self, origin: Origin, path: Path) -> Painting:
            pixels = pixels_of(origin["candidate"])
            Image.fromarray(pixels).save(path, "PNG", compress_level=0)
            content = path.read_bytes()
            return Painting(
                hashlib.sha256(content).hexdigest(), pixel_sha256(pixels), len(content), 8, 8
            )

    monkeypatch.setattr(reproduce, "RenderChild", LaterChild)
    monkeypatch.setattr(reproduce, "kept_generator", lambda studio, sha256: Path())
    return studio


def pixels_of(name: str) -> np.ndarray:
    return np.full((8, 8, 3), int(name[-2:]), np.uint8)


def lose(desk: Desk, work: int) -> Path:
    """The file of a work whose recorded pixels are the ones that are painted again."""
    picture = picture_of(desk.database, desk.works, work)
    with desk.database.write() as session:
        row = session.get_one(Candidate, work)
        row.pixel_sha256 = pixel_sha256(pixels_of(row.name))
    picture.unlink()
    return picture


@pytest.mark.parametrize("was_noticed", [False, True])
def test_of_a_work_that_waits_the_same_pixels_in_another_file_are_taken_and_said_so(
    desk: Desk, repainting: Studio, was_noticed: bool
) -> None:
    (work,) = add_works(desk.database, desk.works)
    before = candidate(desk.database, work).image_sha256
    picture = lose(desk, work)
    if was_noticed:
        put_aside(desk, work)
    assert restore_file(repainting, work) == Restoration.SAME_PIXELS
    after = candidate(desk.database, work)
    assert after.image_sha256 == hashlib.sha256(picture.read_bytes()).hexdigest() != before
    assert (after.state, after.num_bytes, after.environment) == (
        "pending",
        picture.stat().st_size,
        {"torch": "2.14"},
    )
    told = [(d.was, d.now, d.image_sha256) for d in decisions(desk.database)]
    assert told == [
        ("pending", "quarantined", before),
        ("quarantined", "pending", after.image_sha256),
    ]
    with Image.open(io.BytesIO(picture.read_bytes())) as opened:
        assert np.array_equal(np.asarray(opened), pixels_of(after.name))
    assert approve(desk.review, work, ANNA).state == "approved"


def test_what_was_put_off_waits_too_and_is_put_off_again(desk: Desk, repainting: Studio) -> None:
    (work,) = add_works(desk.database, desk.works)
    put_off(desk.review, work, ANNA)
    lose(desk, work)
    assert restore_file(repainting, work) == Restoration.SAME_PIXELS
    assert candidate(desk.database, work).state == "later"


@pytest.mark.parametrize("is_undone", [False, True])
def test_of_a_work_that_was_approved_only_the_very_bytes_are_taken(
    desk: Desk, repainting: Studio, is_undone: bool
) -> None:
    """A receiver may have been shown them, and the approval names them."""
    (work,) = add_works(desk.database, desk.works)
    approve(desk.review, work, ANNA)
    if is_undone:
        undo(desk.review, work, ANNA)
    picture = lose(desk, work)
    put_aside(desk, work)
    before = candidate(desk.database, work)
    assert restore_file(repainting, work) == Restoration.OTHER_BYTES
    assert not picture.exists()
    after = candidate(desk.database, work)
    assert (after.state, after.image_sha256) == ("quarantined", before.image_sha256)


def test_other_pixels_are_never_taken_and_nothing_half_made_stays(
    desk: Desk, repainting: Studio
) -> None:
    (work,) = add_works(desk.database, desk.works)
    picture = lose(desk, work)
    with desk.database.write() as session:
        session.get_one(Candidate, work).pixel_sha256 = "e" * 64
    assert restore_file(replace(repainting), work) == Restoration.OTHER_PIXELS
    assert not picture.exists()
    assert list(desk.works.glob(".*")) == []


def test_a_batchs_folder_that_is_gone_is_made_anew(desk: Desk, repainting: Studio) -> None:
    (work,) = add_works(desk.database, desk.works)
    picture = lose(desk, work)
    picture.parent.rmdir()
    assert restore_file(repainting, work) == Restoration.SAME_PIXELS
    assert picture.exists()

"""Approve, reject, put off, give stars, undo, redo, expire: what is decided happens once, whole, and is written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from artbot.config import TextSettings
from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.domain.delivery import DeliveryState, delivery_key
from artbot.domain.slots import Timetable, Turn, When, parse_slot
from artbot.errors import NotAllowed, PictureChanged, Stale, UsageError
from artbot.mark import Mark
from artbot.pictures import quarantine, reinstate
from artbot.publishing.interventions import doubt_after_restore, pause_channel, resolve, withdraw
from artbot.publishing.queue import hold, was_asked_for, was_moved
from artbot.review import decisions as acts
from artbot.review.decisions import (
    Author,
    Review,
    Seen,
    Words,
    approve,
    expire,
    give_stars,
    put_off,
    redo,
    reject,
    undo,
)
from artbot.review.reading import (
    find_candidate,
    find_candidates,
    get_candidate,
    has_batch,
    list_candidates,
    split_typed,
)
from db.engine import open_database
from db.models import Attempt, Candidate, Delivery
from tests.unit.service.kit import (
    ANNA,
    CHECKPOINT,
    NOON,
    SATURDAY,
    Desk,
    SetClock,
    a_batch,
    add_works,
    candidate,
    decisions,
    deliveries,
    interventions,
    move,
    picture_of,
    png,
    put,
    run_at_once,
)
from tests.unit.service.kit import (
    BEN as RESOLVER,
)

BEN = Author(by="ben", via="other")


def a_work(desk: Desk) -> int:
    (work,) = add_works(desk.database, desk.works)
    return work


def state(desk: Desk, work: int) -> str:
    return candidate(desk.database, work).state


def log(desk: Desk) -> list[tuple[str, str]]:
    return [(d.was, d.now) for d in decisions(desk.database)]


# Approve


def test_an_approval_queues_one_delivery_per_channel(desk: Desk) -> None:
    desk.channels = ("studio", "friends")
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    assert state(desk, work) == "approved"
    queued = deliveries(desk.database)
    assert [(d.candidate_id, d.channel, d.state, d.num_attempts) for d in queued] == [
        (work, "studio", "queued", 0),
        (work, "friends", "queued", 0),
    ]
    assert len({d.delivery_key for d in queued}) == 2


def test_a_delivery_waits_for_the_time_in_which_it_can_be_undone(desk: Desk) -> None:
    desk.undo_time = timedelta(minutes=10)
    approve(desk.review, a_work(desk), ANNA)
    (delivery,) = deliveries(desk.database)
    assert (delivery.created_at, delivery.next_at) == (NOON, NOON + timedelta(minutes=10))


def test_approving_for_some_channels_queues_only_those(desk: Desk) -> None:
    desk.channels = ("a", "b", "c")
    approve(desk.review, a_work(desk), ANNA, channels=["c", "a", "c"])
    assert [d.channel for d in deliveries(desk.database)] == ["c", "a"]


def test_approving_for_no_channel_is_an_approval_all_the_same(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA, channels=[])
    assert state(desk, work) == "approved"
    assert deliveries(desk.database) == []


def test_an_unknown_channel_is_refused_and_nothing_happens(desk: Desk) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    with pytest.raises(UsageError, match=r"no channel 'c'\. Channels: a, b\."):
        approve(desk.review, work, ANNA, channels=["a", "c"])
    assert (state(desk, work), log(desk), deliveries(desk.database)) == ("pending", [], [])


def test_without_channels_the_message_says_how_to_make_one(desk: Desk) -> None:
    desk.channels = ()
    with pytest.raises(UsageError, match=r"add a \[channels\.NAME\] table"):
        approve(desk.review, a_work(desk), ANNA, channels=["studio"])


def test_what_a_channel_could_never_take_is_refused_now_and_not_at_midnight(desk: Desk) -> None:
    desk.channels = ("short", "long")

    def refusals(work: Candidate, channels: Sequence[str]) -> dict[str, str]:
        assert (work.title, work.caption) == ("No. 1, 2026-11-21", "Far too long")
        return {"short": "the text has 12 characters"} if "short" in channels else {}

    desk.refusals = refusals
    work = a_work(desk)
    words = Words(caption="Far too long")
    with pytest.raises(NotAllowed, match=r"short: the text has 12 characters.*--channel"):
        approve(desk.review, work, ANNA, words)
    assert (state(desk, work), log(desk), deliveries(desk.database)) == ("pending", [], [])
    assert candidate(desk.database, work).title is None
    approve(desk.review, work, ANNA, words, channels=["long"])
    assert [d.channel for d in deliveries(desk.database)] == ["long"]


@pytest.mark.parametrize("channels", [None, []], ids=["every channel", "no channel"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (Words(alt=""), "the alt text is missing"),
        (Words(alt=" \n"), "the alt text is missing"),
        (Words(alt="x" * 10_001), "the alt text has 10,001 characters, 1 more than the 10,000"),
        (Words(title="x" * 1_001), "the title has 1,001 characters, 1 more than the 1,000 it may have"),
    ],
)  # fmt: skip
def test_whatever_the_channel_no_work_goes_out_without_an_alt_text_or_with_endless_words(
    desk: Desk, words: Words, told: str, channels: list[str] | None
) -> None:
    work = a_work(desk)
    with pytest.raises(NotAllowed, match=rf"{told}.*artbot approve {work} --title … --alt …"):
        approve(desk.review, work, ANNA, words, channels)
    longest = Words(title="x" * 1_000, alt="x" * 10_000)
    assert approve(desk.review, work, ANNA, longest, channels).state == "approved"


def test_hashtags_warning_and_language_are_frozen_with_the_approval(desk: Desk) -> None:
    work = a_work(desk)
    words = Words(
        hashtags="#flowers  generative_art 花", warning="flashing colours", language="pt-BR"
    )
    approve(desk.review, work, ANNA, words)
    frozen = candidate(desk.database, work)
    assert (frozen.hashtags, frozen.warning, frozen.language) == (
        "flowers generative_art 花",
        "flashing colours",
        "pt-BR",
    )
    assert decisions(desk.database)[-1].hashtags == "flowers generative_art 花"
    undo(desk.review, work, ANNA)
    taken_back = candidate(desk.database, work)
    assert (taken_back.hashtags, taken_back.warning, taken_back.language) == (None, None, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (Words(hashtags="still life-ish"), "'life-ish' is no hashtag"),
        (Words(hashtags="#2026"), "'2026' is no hashtag"),
        (Words(hashtags="##a"), "'#a' is no hashtag"),
        (Words(language="english please"), "'english please' is no language; write a tag like en"),
    ],
)
def test_words_that_no_platform_would_read_as_such_are_refused(
    desk: Desk, words: Words, said: str
) -> None:
    work = a_work(desk)
    with pytest.raises(UsageError, match=re.escape(said)):
        approve(desk.review, work, ANNA, words)
    assert state(desk, work) == "pending"


def test_approval_and_deliveries_are_one_transaction(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between the two, neither is there."""

    def fail(*_: object) -> None:
        raise OSError("disk full")

    work = a_work(desk)
    monkeypatch.setattr(acts, "_queue", fail)
    with pytest.raises(OSError, match="disk full"):
        approve(desk.review, work, ANNA)
    assert (state(desk, work), log(desk), deliveries(desk.database)) == ("pending", [], [])
    assert candidate(desk.database, work).title is None
    assert candidate(desk.database, work).row_version == 1


def test_a_database_that_refuses_the_second_delivery_has_neither_nor_the_approval(
    desk: Desk,
) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    with desk.database.write() as session:
        session.execute(text("CREATE UNIQUE INDEX only_one ON deliveries (candidate_id)"))
    with pytest.raises(IntegrityError):
        approve(desk.review, work, ANNA)
    assert (state(desk, work), log(desk), deliveries(desk.database)) == ("pending", [], [])


def test_approving_twice_is_approving_once(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA, Words(title="First"))
    approve(desk.review, work, BEN)
    approve(desk.review, work, BEN, Words(title="First"), channels=["studio"])
    assert log(desk) == [("pending", "approved")]
    assert len(deliveries(desk.database)) == 1
    assert candidate(desk.database, work).title == "First"


@pytest.mark.parametrize(
    ("words", "channels", "changed"),
    [
        (Words(title="Second"), None, "title"),
        (Words(), ["friends"], "channels"),
        (Words(caption="x"), [], "caption and channels"),
    ],
)
def test_a_second_approval_that_would_change_something_is_refused_not_swallowed(
    desk: Desk, words: Words, channels: list[str] | None, changed: str
) -> None:
    desk.channels = ("studio", "friends")
    work = a_work(desk)
    approve(desk.review, work, ANNA, Words(title="First"))
    with pytest.raises(NotAllowed, match=f"with other {changed}.*artbot undo {work}"):
        approve(desk.review, work, BEN, words, channels)
    assert log(desk) == [("pending", "approved")]
    assert candidate(desk.database, work).title == "First"


@pytest.mark.parametrize(
    ("was", "message"),
    [
        ("rejected", r"is rejected\. Take that back first: artbot undo 1"),
        ("failed", r"is failed\. It could not be rendered\."),
        ("planned", r"is planned\. Its picture is not made yet\."),
        ("expired", r"is expired\. To decide after all: artbot undo 1"),
    ],
)
def test_only_a_pending_work_can_be_approved(desk: Desk, was: str, message: str) -> None:
    (work,) = add_works(desk.database, desk.works, state=was)
    with pytest.raises(NotAllowed, match=message):
        approve(desk.review, work, ANNA)
    assert (state(desk, work), log(desk), deliveries(desk.database)) == (was, [], [])


@pytest.mark.parametrize("act", [approve, reject])
def test_a_work_that_does_not_exist_is_told(
    desk: Desk, act: Callable[[Review, int, Author], object]
) -> None:
    with pytest.raises(UsageError, match=r"no candidate 99.*artbot review --all"):
        act(desk.review, 99, ANNA)


# The picture


def test_a_picture_that_was_swapped_cannot_be_approved(desk: Desk) -> None:
    work = a_work(desk)
    picture_of(desk.database, desk.works, work).write_bytes(png((0, 0, 0)))
    with pytest.raises(
        PictureChanged, match=r"no longer the picture.*artbot reproduce 1 --restore"
    ):
        approve(desk.review, work, ANNA)
    put_aside = candidate(desk.database, work)
    assert put_aside.state == "quarantined"
    assert "no longer the picture that was made" in (put_aside.error or "")
    assert (log(desk), deliveries(desk.database)) == ([("pending", "quarantined")], [])
    assert (decisions(desk.database)[0].by, decisions(desk.database)[0].via) == ("artbot", "test")


def test_a_picture_that_is_gone_cannot_be_approved_and_its_work_is_put_aside(desk: Desk) -> None:
    work = a_work(desk)
    picture_of(desk.database, desk.works, work).unlink()
    with pytest.raises(PictureChanged, match=r"cannot be read: No such file.*artbot reproduce"):
        approve(desk.review, work, ANNA)
    assert state(desk, work) == "quarantined"


def test_a_work_whose_picture_is_gone_may_still_be_rejected(desk: Desk) -> None:
    work = a_work(desk)
    picture_of(desk.database, desk.works, work).unlink()
    reject(desk.review, work, ANNA)
    assert state(desk, work) == "rejected"


@pytest.mark.parametrize("act", [approve, reject])
@pytest.mark.parametrize("was_approved", [False, True])
def test_in_quarantine_a_work_is_not_decided_about(
    desk: Desk, act: Callable[[Review, int, Author], object], was_approved: bool
) -> None:
    """Not even if somebody has put the file back: only who looks at its bytes lets it out."""
    work = a_work(desk)
    if was_approved:
        approve(desk.review, work, ANNA)
    picture = picture_of(desk.database, desk.works, work)
    original = picture.read_bytes()
    put_aside(desk, work)
    for content in (b"something else", original):
        picture.write_bytes(content)
        with pytest.raises(NotAllowed, match=r"quarantined\. gone\. .*reproduce 1 --restore"):
            act(desk.review, work, ANNA)
    assert state(desk, work) == "quarantined"


def put_aside(desk: Desk, work: int, reason: str = "gone") -> None:
    with desk.database.write() as session:
        quarantine(session, session.get_one(Candidate, work), reason, "test", desk.clock())


def put_right(desk: Desk, work: int) -> None:
    with desk.database.write() as session:
        reinstate(session, session.get_one(Candidate, work), "test", desk.clock(), desk.requeue)


@pytest.mark.parametrize("was_approved", [False, True])
def test_out_of_quarantine_a_work_is_what_it_was_before(desk: Desk, was_approved: bool) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    if was_approved:
        approve(desk.review, work, ANNA, Words(title="Dusk"))
    before = candidate(desk.database, work)
    put_aside(desk, work)
    assert {d.state for d in deliveries(desk.database)} <= {"held"}
    assert candidate(desk.database, work).error == "gone"
    desk.clock.advance(hours=1)
    put_right(desk, work)
    after = candidate(desk.database, work)
    assert (after.state, after.title, after.error) == (before.state, before.title, None)
    assert after.row_version == before.row_version + 2
    for delivery in deliveries(desk.database):
        assert (delivery.state, delivery.next_at, delivery.last_error) == ("queued", NOON, None)
    assert log(desk)[-2:] == [(before.state, "quarantined"), ("quarantined", before.state)]


def test_quarantine_is_nothing_to_undo(desk: Desk) -> None:
    """Undo takes back what a person did: not that a file is gone, nor that it is back."""
    one, two = add_works(desk.database, desk.works, 2)
    reject(desk.review, two, ANNA)
    put_aside(desk, one)
    with pytest.raises(NotAllowed, match="no decision to undo: it is quarantined"):
        undo(desk.review, one, ANNA)
    assert undo(desk.review, None, ANNA).id == two
    put_right(desk, one)
    with pytest.raises(NotAllowed, match="no decision to undo"):
        undo(desk.review, None, ANNA)
    assert (state(desk, one), state(desk, two)) == ("pending", "pending")


def test_an_approval_is_not_undone_in_quarantine_but_after_it(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    put_aside(desk, work)
    with pytest.raises(NotAllowed, match=r"is quarantined\. gone\. .*artbot reproduce 1 --restore"):
        undo(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == ["held"]
    put_right(desk, work)
    undo(desk.review, work, ANNA)
    assert state(desk, work) == "pending"
    assert [d.state for d in deliveries(desk.database)] == ["cancelled"]


@pytest.mark.parametrize("words", [Words(title="caf\udce9"), Words(alt="\ud800")])
def test_words_in_another_encoding_are_refused_before_anything_is_decided(
    desk: Desk, words: Words
) -> None:
    """What a terminal that does not speak UTF-8 sends arrives as half characters."""
    work = a_work(desk)
    with pytest.raises(UsageError, match="is no UTF-8 text"):
        approve(desk.review, work, ANNA, words)
    assert (state(desk, work), log(desk)) == ("pending", [])


# Reject


def test_a_rejected_work_keeps_its_file_and_goes_nowhere(desk: Desk) -> None:
    work = a_work(desk)
    reject(desk.review, work, ANNA)
    assert state(desk, work) == "rejected"
    assert picture_of(desk.database, desk.works, work).is_file()
    assert deliveries(desk.database) == []


def test_rejecting_twice_is_rejecting_once(desk: Desk) -> None:
    work = a_work(desk)
    reject(desk.review, work, ANNA)
    reject(desk.review, work, BEN)
    assert log(desk) == [("pending", "rejected")]


def test_an_approved_work_is_not_rejected_in_passing(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    with pytest.raises(NotAllowed, match="artbot undo 1"):
        reject(desk.review, work, ANNA)
    assert state(desk, work) == "approved"
    assert [d.state for d in deliveries(desk.database)] == ["queued"]


# Undo


def test_undoing_an_approval_cancels_what_is_queued(desk: Desk) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    approve(desk.review, work, ANNA, Words(title="Dusk"))
    undo(desk.review, work, BEN)
    taken_back = candidate(desk.database, work)
    assert (taken_back.state, taken_back.approved_at, taken_back.title) == ("pending", None, None)
    assert [d.state for d in deliveries(desk.database)] == ["cancelled", "cancelled"]
    assert log(desk) == [("pending", "approved"), ("approved", "pending")]
    assert decisions(desk.database)[1].undoes == 1


def test_approved_again_a_work_keeps_its_delivery_key_and_waits_anew(desk: Desk) -> None:
    desk.undo_time = timedelta(minutes=10)
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    (first,) = deliveries(desk.database)
    undo(desk.review, work, ANNA)
    desk.clock.advance(hours=1)
    approve(desk.review, work, ANNA, Words(title="Better"))
    (second,) = deliveries(desk.database)
    assert (second.id, second.delivery_key) == (first.id, first.delivery_key)
    assert (second.state, second.next_at) == ("queued", NOON + timedelta(minutes=70))
    assert candidate(desk.database, work).title == "Better"


def test_approved_again_for_fewer_channels_the_others_stay_cancelled(desk: Desk) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    approve(desk.review, work, ANNA, channels=["b"])
    assert {d.channel: d.state for d in deliveries(desk.database)} == {
        "a": "cancelled",
        "b": "queued",
    }


def test_undoing_a_rejection_makes_the_work_pending(desk: Desk) -> None:
    work = a_work(desk)
    reject(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    assert state(desk, work) == "pending"
    approve(desk.review, work, ANNA)
    assert state(desk, work) == "approved"


@pytest.mark.parametrize(
    "begun", ["sending", "retry_wait", "uncertain", "delivered", "held", "failed", "dead"]
)
def test_an_approval_is_final_once_one_of_its_deliveries_was_begun(desk: Desk, begun: str) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    with desk.database.write() as session:
        delivery = session.get_one(Delivery, 1)
        delivery.delivered_at = NOON
        move(session, delivery, begun)
        session.add(Attempt(delivery_id=1, started_at=NOON, body_sha256="0" * 64))
    with pytest.raises(NotAllowed, match="already gone out to a, or may have") as refusal:
        undo(desk.review, work, ANNA)
    assert str(refusal.value).endswith("To b it has not gone: artbot deliveries withdraw 2")
    assert state(desk, work) == "approved"
    assert [d.state for d in deliveries(desk.database)] == [begun, "queued"]


def test_an_approval_whose_picture_was_gone_before_anything_was_sent_can_be_taken_back(
    desk: Desk,
) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    with desk.database.write() as session:
        move(session, session.get_one(Delivery, 1), "failed")
    undo(desk.review, work, ANNA)
    assert state(desk, work) == "pending"
    assert [d.state for d in deliveries(desk.database)] == ["cancelled"]


def test_an_approval_that_no_receiver_has_taken_can_be_taken_back_and_given_anew(
    desk: Desk,
) -> None:
    """Refused connections and refusals: whoever approved by mistake need not wait three days."""
    desk.channels = ("a", "b")
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    key = deliveries(desk.database)[0].delivery_key
    with desk.database.write() as session:
        for number, now, outcome in ((1, "retry_wait", "unavailable"), (2, "failed", "rejected")):
            delivery = session.get_one(Delivery, number)
            delivery.num_attempts = 1
            move(session, delivery, now)
            session.add(
                Attempt(delivery_id=number, started_at=NOON, body_sha256="0" * 64, outcome=outcome)
            )
    undo(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == ["cancelled", "cancelled"]
    approve(desk.review, work, ANNA)
    again = deliveries(desk.database)
    assert [(d.state, d.num_attempts) for d in again] == [("queued", 0), ("queued", 0)]
    assert again[0].delivery_key == key


def test_a_work_approved_before_there_was_a_channel_goes_out_when_approved_again(
    desk: Desk,
) -> None:
    desk.channels = ()
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    assert deliveries(desk.database) == []
    desk.channels = ("a",)
    approve(desk.review, work, ANNA)
    approve(desk.review, work, ANNA)
    assert [(d.channel, d.state) for d in deliveries(desk.database)] == [("a", "queued")]


def test_a_delivery_queued_again_after_an_attempt_still_counts_as_begun(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    with desk.database.write() as session:
        session.add(Attempt(delivery_id=1, started_at=NOON, body_sha256="0" * 64))
    with pytest.raises(NotAllowed, match="may have"):
        undo(desk.review, work, ANNA)


def test_undo_without_a_number_takes_back_the_last_decision_then_the_one_before(
    desk: Desk,
) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    approve(desk.review, one, ANNA)
    reject(desk.review, two, ANNA)
    assert undo(desk.review, None, ANNA).id == two
    assert undo(desk.review, None, ANNA).id == one
    with pytest.raises(NotAllowed, match="no decision to undo"):
        undo(desk.review, None, ANNA)
    assert (state(desk, one), state(desk, two)) == ("pending", "pending")


def test_undo_with_a_number_leaves_the_others_alone(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    reject(desk.review, one, ANNA)
    reject(desk.review, two, ANNA)
    undo(desk.review, one, ANNA)
    assert (state(desk, one), state(desk, two)) == ("pending", "rejected")


def test_an_undo_is_not_undone_but_redone(desk: Desk) -> None:
    work = a_work(desk)
    reject(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    with pytest.raises(NotAllowed, match="no decision to undo: it is pending"):
        undo(desk.review, work, ANNA)
    assert redo(desk.review, work, ANNA).state == "rejected"


# Redo


def test_a_redo_takes_back_the_last_undo_then_the_one_before_and_can_be_undone(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    reject(desk.review, one, ANNA)
    put_off(desk.review, two, ANNA)

    def states() -> tuple[str, str]:
        return state(desk, one), state(desk, two)

    for _ in range(3):  # however often
        assert [undo(desk.review, None, BEN).id for _ in range(2)] == [two, one]
        assert states() == ("pending", "pending")
        assert [redo(desk.review, None, BEN).id for _ in range(2)] == [one, two]
        assert states() == ("rejected", "later")
    with pytest.raises(NotAllowed, match="there is no undo to take back"):
        redo(desk.review, None, ANNA)
    undo(desk.review, None, ANNA)
    assert states() == ("rejected", "pending")


def test_a_redone_approval_has_its_words_its_channels_and_its_key_again(desk: Desk) -> None:
    desk.channels = ("a", "b", "c")
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    approve(desk.review, work, ANNA, Words(title="Dusk", hashtags="flowers"), ["a", "b"])
    withdraw(desk.database, 2, RESOLVER, desk.clock())
    before = {d.channel: (d.state, d.delivery_key) for d in deliveries(desk.database)}
    assert [s for s, _ in before.values()] == ["queued", "cancelled", "cancelled"]
    undo(desk.review, work, BEN)
    desk.clock.advance(minutes=1)
    again = redo(desk.review, work, BEN)
    assert (again.title, again.hashtags, again.approved_at) == ("Dusk", "flowers", desk.clock())
    assert {d.channel: (d.state, d.delivery_key) for d in deliveries(desk.database)} == before
    assert [d.channels for d in decisions(desk.database)] == [*["a b c"] * 2, "a b", "a", "a"]


def test_a_redone_approval_goes_out_when_it_was_to_unless_that_is_past_or_taken(desk: Desk) -> None:
    desk.undo_time = timedelta(minutes=10)
    desk.timetables = {"studio": NOONS}
    one, two = add_works(desk.database, desk.works, 2)
    approve(desk.review, one, ANNA, when=datetime(2026, 11, 23, 8, 15))
    undo(desk.review, one, ANNA)
    desk.clock.advance(seconds=1)
    redo(desk.review, one, ANNA)
    assert next_ats(desk) == [datetime(2026, 11, 23, 8, 15, tzinfo=UTC)]
    with desk.database.read() as session:
        assert was_moved(session.get_one(Delivery, 1)), "a clock that was wrong would have it moved"
    undo(desk.review, one, ANNA)
    approve(desk.review, two, ANNA, when=datetime(2026, 11, 23, 8, 15))
    redo(desk.review, one, ANNA)
    assert next_ats(desk)[0] == NOON + timedelta(days=1)
    undo(desk.review, one, ANNA)
    desk.clock.advance(days=1)
    redo(desk.review, one, ANNA)
    assert next_ats(desk)[0] == NOON + timedelta(days=2)


def test_no_time_of_a_wrong_clock_comes_back_with_a_redo(desk: Desk) -> None:
    desk.clock.advance(days=365)
    work = desk.approve_one()
    undo(desk.review, work, ANNA)
    desk.clock.now = NOON
    redo(desk.review, work, ANNA)
    assert next_ats(desk) == [NOON]


def test_what_was_on_hold_when_it_was_undone_is_not_when_it_is_redone(desk: Desk) -> None:
    work = desk.approve_one()
    hold(desk.database, 1, RESOLVER, desk.clock())
    undo(desk.review, work, ANNA)
    redo(desk.review, work, ANNA)
    assert [(d.state, d.on_hold) for d in deliveries(desk.database)] == [("queued", False)]


def test_after_something_else_was_decided_there_is_nothing_to_redo(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    reject(desk.review, one, ANNA)
    undo(desk.review, one, ANNA)
    give_stars(desk.review, two, 3, ANNA)
    said = rf"was decided since the last undo \(.*-02: 3 stars\).* artbot redo {one}"
    with pytest.raises(NotAllowed, match=said):
        redo(desk.review, None, ANNA)
    assert redo(desk.review, one, ANNA).state == "rejected"  # about that one nothing was
    undo(desk.review, one, ANNA)
    put_off(desk.review, one, BEN)
    for which in (one, None):
        with pytest.raises(NotAllowed, match=r"-01: put off until later\), so there is nothing to"):
            redo(desk.review, which, ANNA)
    assert (state(desk, one), state(desk, two)) == ("later", "pending")


def test_a_redo_refuses_what_the_approval_would_refuse_now(desk: Desk) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    desk.channels = ("a",)
    with pytest.raises(NotAllowed, match=r"approved for a, b, and artbot.toml has no b any more"):
        redo(desk.review, work, ANNA)
    desk.channels = ("a", "b")
    desk.refusals = lambda candidate, channels: {"b": "too long"} if candidate.title else {}
    with pytest.raises(NotAllowed, match="cannot go out like this: b: too long"):
        redo(desk.review, work, ANNA)
    desk.refusals = lambda candidate, channels: {}
    picture_of(desk.database, desk.works, work).write_bytes(png((0, 0, 0)))
    with pytest.raises(PictureChanged, match="no longer the picture"):
        redo(desk.review, work, ANNA)
    assert state(desk, work) == "quarantined"


def test_an_approval_that_an_older_artbot_took_back_is_given_anew(desk: Desk) -> None:
    """It did not note for which channels it was."""
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    with desk.database.write() as session:
        drop = " ON decisions" if not desk.database.is_sqlite else ""
        session.execute(text(f"DROP TRIGGER decisions_past{drop}"))
        session.execute(text("UPDATE decisions SET channels = NULL"))
    with pytest.raises(NotAllowed, match=rf"older artbot .* artbot approve {work}"):
        redo(desk.review, work, ANNA)


def test_an_expiry_that_was_undone_by_mistake_can_be_redone(desk: Desk) -> None:
    work = a_work(desk)
    desk.clock.advance(days=8)
    expire(desk.review, 7)
    undo(desk.review, work, ANNA)
    assert redo(desk.review, work, ANNA).state == "expired"
    assert undo(desk.review, work, ANNA).state == "pending"


# Later


def test_what_is_put_off_is_decided_another_time(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    for work in (one, two):
        put_off(desk.review, work, ANNA)
        put_off(desk.review, work, BEN)
    assert log(desk) == [("pending", "later")] * 2
    assert deliveries(desk.database) == []
    approve(desk.review, one, ANNA)
    reject(desk.review, two, ANNA)
    assert (state(desk, one), state(desk, two)) == ("approved", "rejected")


def test_an_undo_leads_back_to_what_it_was_before(desk: Desk) -> None:
    work = a_work(desk)
    put_off(desk.review, work, ANNA)
    for act in (approve, reject):
        act(desk.review, work, ANNA)
        assert undo(desk.review, work, ANNA).state == "later"
    assert [d.state for d in deliveries(desk.database)] == ["cancelled"]
    assert undo(desk.review, work, ANNA).state == "pending"


@pytest.mark.parametrize("was", ["approved", "rejected", "expired", "planned", "failed"])
def test_what_is_decided_is_not_put_off_in_passing(desk: Desk, was: str) -> None:
    """The machine has those moves: undo makes them."""
    (work,) = add_works(desk.database, desk.works, state=was)
    with pytest.raises(NotAllowed, match=rf"is {was}\."):
        put_off(desk.review, work, ANNA)
    assert (state(desk, work), log(desk)) == (was, [])


def test_out_of_quarantine_it_is_put_off_as_before(desk: Desk) -> None:
    work = a_work(desk)
    put_off(desk.review, work, ANNA)
    put_aside(desk, work)
    with pytest.raises(NotAllowed, match=r"quarantined\. gone"):
        put_off(desk.review, work, ANNA)
    put_right(desk, work)
    assert state(desk, work) == "later"
    assert undo(desk.review, work, ANNA).state == "pending"


# Stars


def test_stars_are_a_decision_of_their_own_and_change_nothing_else(desk: Desk) -> None:
    work = a_work(desk)
    give_stars(desk.review, work, 4, ANNA)
    give_stars(desk.review, work, 4, BEN)
    approve(desk.review, work, ANNA, Words(title="Dusk"))
    given = give_stars(desk.review, work, 5, BEN)
    assert (given.state, given.stars, given.title) == ("approved", 5, "Dusk")
    told = [(d.was, d.now, d.stars) for d in decisions(desk.database)]
    assert told == [
        ("pending", "pending", 4),
        ("pending", "approved", 4),
        ("approved", "approved", 5),
    ]
    assert [d.state for d in deliveries(desk.database)] == ["queued"]
    assert given.row_version == 4


def test_undo_takes_stars_back_one_by_one_and_redo_gives_them_again(desk: Desk) -> None:
    work = a_work(desk)
    give_stars(desk.review, work, 2, ANNA)
    approve(desk.review, work, ANNA, Words(title="Dusk"))
    give_stars(desk.review, work, 5, ANNA)

    def told() -> tuple[str, int, str | None]:
        found = candidate(desk.database, work)
        return found.state, found.stars, found.title

    steps = [("approved", 2, "Dusk"), ("pending", 2, None), ("pending", 0, None)]
    for step in steps:
        undo(desk.review, work, ANNA)
        assert told() == step
    for step in [*reversed(steps[:-1]), ("approved", 5, "Dusk")]:
        redo(desk.review, work, ANNA)
        assert told() == step
    assert [d.state for d in deliveries(desk.database)] == ["queued"]


def test_stars_of_a_work_that_has_gone_out_can_be_given_and_taken_back(desk: Desk) -> None:
    work = desk.approve_one()
    with desk.database.write() as session:
        delivery = session.get_one(Delivery, 1)
        delivery.delivered_at = NOON
        move(session, delivery, "delivered")
    give_stars(desk.review, work, 3, ANNA)
    assert undo(desk.review, work, ANNA).stars == 0
    assert [d.state for d in deliveries(desk.database)] == ["delivered"]


@pytest.mark.parametrize("stars", [-1, 6, 99])
def test_there_are_five_stars_and_no_more(desk: Desk, stars: int) -> None:
    work = a_work(desk)
    with pytest.raises(UsageError, match=rf"{stars} is no number of stars\. Give 1 to 5, or 0"):
        give_stars(desk.review, work, stars, ANNA)
    with (
        pytest.raises(IntegrityError, match="ck_candidates_stars"),
        desk.database.write() as session,
    ):
        session.get_one(Candidate, work).stars = stars


@pytest.mark.parametrize("was", ["planned", "failed", "quarantined"])
def test_what_has_no_picture_gets_no_stars(desk: Desk, was: str) -> None:
    (work,) = add_works(desk.database, desk.works, state=was)
    with pytest.raises(NotAllowed, match=rf"is {was}\."):
        give_stars(desk.review, work, 3, ANNA)
    assert candidate(desk.database, work).stars == 0


# What the person saw

Act = Callable[[Review, int, Author, Seen], Candidate]
ACTS: dict[str, Act] = {
    "approve": lambda review, work, who, seen: approve(review, work, who, seen=seen),
    "reject": reject,
    "put off": put_off,
    "give stars": lambda review, work, who, seen: give_stars(review, work, 3, who, seen),
    "undo": undo,
    "redo": redo,
}


def seen_now(desk: Desk, work: int) -> Seen:
    found = candidate(desk.database, work)
    assert found.image_sha256 is not None
    return Seen(found.image_sha256, found.row_version)


def prepared(desk: Desk) -> dict[str, int]:
    """By act: a work about which this can be done."""
    works = dict(zip(ACTS, add_works(desk.database, desk.works, len(ACTS)), strict=True))
    for act in ("undo", "redo"):
        give_stars(desk.review, works[act], 1, ANNA)
    undo(desk.review, works["redo"], ANNA)
    return works


def test_who_decides_about_what_lies_before_them_decides(desk: Desk) -> None:
    for act, work in prepared(desk).items():
        num_before = len(log(desk))
        ACTS[act](desk.review, work, ANNA, seen_now(desk, work))
        assert len(log(desk)) == num_before + 1, act


def test_who_was_overtaken_is_told_by_whom_and_nothing_is_overwritten(desk: Desk) -> None:
    for act, work in prepared(desk).items():
        seen = seen_now(desk, work)
        desk.clock.advance(minutes=3)
        put_off(desk.review, work, BEN)
        before = log(desk)
        at = f"{desk.clock().astimezone():%Y-%m-%d at %H:%M:%S}"
        what = rf"put off until later, by ben \(other\) on {at}\. Nothing was changed"
        with pytest.raises(Stale, match=rf"^{work} \(.*-0{work}\) .*{what}"):
            ACTS[act](desk.review, work, ANNA, seen)
        assert (log(desk), state(desk, work)) == (before, "later"), act


def test_another_picture_than_the_one_that_was_shown_is_not_decided_about(desk: Desk) -> None:
    for act, work in prepared(desk).items():
        before = log(desk)
        seen = replace(seen_now(desk, work), image_sha256="c" * 64)
        with pytest.raises(Stale, match=rf"another picture than .* artbot show {work}"):
            ACTS[act](desk.review, work, ANNA, seen)
        assert log(desk) == before, act


def test_also_who_meant_the_same_is_told_that_it_is_done_already(desk: Desk) -> None:
    work = a_work(desk)
    seen = seen_now(desk, work)
    approve(desk.review, work, BEN, seen=seen)
    undo(desk.review, work, BEN)
    with pytest.raises(Stale, match=r"pending again, by ben \(other\)"):
        approve(desk.review, work, ANNA, seen=seen)
    redo(desk.review, work, BEN)
    with pytest.raises(Stale, match=r"approved again, by ben"):
        approve(desk.review, work, ANNA, seen=seen)
    assert len(deliveries(desk.database)) == 1


# When it goes out

NOONS = Timetable((parse_slot("daily 12:00"),), ZoneInfo("UTC"))
EVENINGS = Timetable((parse_slot("daily 18:30"),), ZoneInfo("Europe/Berlin"))


def next_ats(desk: Desk) -> list[datetime]:
    return [d.next_at for d in deliveries(desk.database)]


@pytest.mark.parametrize(
    ("when", "no_slots", "evenings"),
    [
        (Turn.NEXT, "2026-11-21T12:10", "2026-11-21T17:30"),
        (Turn.NOW, "2026-11-21T12:00", "2026-11-21T12:00"),
        (parse_slot("daily 12:05"), "2026-11-21T12:05", "2026-11-22T11:05"),
        (parse_slot("thu 18:30"), "2026-11-26T18:30", "2026-11-26T17:30"),
        (datetime(2026, 12, 24, 18), "2026-12-24T18:00", "2026-12-24T17:00"),
    ],
)
def test_an_approval_says_when_on_every_channel_by_the_clock_of_each(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, when: When, no_slots: str, evenings: str
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    desk.undo_time = timedelta(minutes=10)
    desk.channels = ("plain", "studio")
    desk.timetables = {"studio": EVENINGS}
    approve(desk.review, a_work(desk), ANNA, when=when)
    assert [f"{at:%Y-%m-%dT%H:%M}" for at in next_ats(desk)] == [no_slots, evenings]
    acts_of_it = [(i.act, i.by, i.via) for i in interventions(desk.database)]
    act = "retry" if when == Turn.NOW else "move"
    assert acts_of_it == [(act, "anna", "test")] * (0 if when == Turn.NEXT else 2)
    with desk.database.read() as session:
        for delivery in session.query(Delivery):
            assert was_asked_for(delivery) == (when == Turn.NOW)
            assert was_moved(delivery) == (act == "move" and when != Turn.NEXT)


@pytest.mark.parametrize(
    ("when", "error", "said"),
    [
        (datetime(2026, 11, 21, 6), UsageError, "2026-11-21 06:00 is past: give a time to come"),
        (datetime(9999, 12, 31, 23), UsageError, "no such time in UTC"),
        (datetime(2026, 11, 22, 12), NotAllowed, r"studio is taken by delivery 1 \(.*-01\)"),
    ],
)
def test_a_time_that_cannot_be_had_is_refused_with_the_approval(
    desk: Desk, when: When, error: type[Exception], said: str
) -> None:
    desk.timetables = {"studio": Timetable(NOONS.slots, ZoneInfo("America/New_York"))}
    one, two = add_works(desk.database, desk.works, 2)
    approve(desk.review, one, ANNA, when=datetime(2026, 11, 22, 12))
    with pytest.raises(error, match=said):
        approve(desk.review, two, ANNA, when=when)
    assert (state(desk, two), len(deliveries(desk.database))) == ("pending", 1)
    assert len(log(desk)) == len(interventions(desk.database)) == 1


def test_nothing_is_approved_to_go_out_now_through_a_channel_that_is_stopped(desk: Desk) -> None:
    work = a_work(desk)
    pause_channel(desk.database, "studio", RESOLVER, desk.clock())
    with pytest.raises(NotAllowed, match=r"studio is paused.*artbot channels resume studio"):
        approve(desk.review, work, ANNA, when=Turn.NOW)
    assert state(desk, work) == "pending"
    approve(desk.review, work, ANNA)
    assert state(desk, work) == "approved"


def test_an_approved_work_gets_another_time_in_the_queue_and_not_by_approving_it_again(
    desk: Desk,
) -> None:
    work = desk.approve_one()
    with pytest.raises(NotAllowed, match=r"approved already.* artbot queue move 1 --to TIME"):
        approve(desk.review, work, ANNA, when=Turn.NOW)
    assert interventions(desk.database) == []
    withdraw(desk.database, 1, RESOLVER, desk.clock())
    with pytest.raises(NotAllowed, match=rf"approved already.* back first: artbot undo {work}"):
        approve(desk.review, work, ANNA, when=Turn.NOW)


def test_a_work_approved_before_there_was_a_channel_goes_out_when_it_is_said(desk: Desk) -> None:
    desk.channels = ()
    work = desk.approve_one()
    desk.channels = ("a",)
    approve(desk.review, work, ANNA, when=parse_slot("daily 12:05"))
    assert next_ats(desk) == [NOON + timedelta(minutes=5)]


def test_what_may_be_out_already_is_given_no_time(desk: Desk) -> None:
    desk.recognises_for = None
    work = a_work(desk)
    restore(desk)
    approve(desk.review, work, ANNA, when=datetime(2026, 12, 24, 18))
    assert [d.state for d in deliveries(desk.database)] == ["uncertain"]
    assert "move" not in [entry.act for entry in interventions(desk.database)]


# Expire


def test_what_nobody_decided_about_for_long_enough_expires(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    reject(desk.review, two, ANNA)
    desk.clock.advance(days=7)
    assert expire(desk.review, 7) == []
    desk.clock.advance(seconds=1)
    assert expire(desk.review, 7) == ["daily-2026-11-21-01"]
    assert expire(desk.review, 7) == []
    assert (state(desk, one), state(desk, two)) == ("expired", "rejected")
    last = decisions(desk.database)[-1]
    assert (last.was, last.now, last.by, last.via) == ("pending", "expired", "artbot", "daemon")


def test_also_what_was_put_off_expires_and_comes_back_put_off(desk: Desk) -> None:
    """Whoever looks at a work begins its wait anew."""
    one, two = add_works(desk.database, desk.works, 2)
    desk.clock.advance(days=6)
    put_off(desk.review, one, ANNA)
    give_stars(desk.review, two, 1, ANNA)
    desk.clock.advance(days=7)
    assert expire(desk.review, 7) == []
    desk.clock.advance(seconds=1)
    assert len(expire(desk.review, 7)) == 2
    for _ in range(
        2
    ):  # of what expired, nothing is taken back but the expiry, and that by name alone
        with pytest.raises(NotAllowed, match=r"there is no (decision to undo|undo to take back)\."):
            undo(desk.review, None, ANNA)
    assert [undo(desk.review, work, ANNA).state for work in (one, two)] == ["later", "pending"]
    assert undo(desk.review, None, ANNA).stars == 0
    assert undo(desk.review, None, ANNA).id == one


def test_unless_told_otherwise_nothing_ever_expires(desk: Desk) -> None:
    work = a_work(desk)
    desk.clock.advance(days=36_500)
    assert expire(desk.review, 0) == []
    assert state(desk, work) == "pending"


def test_an_expiry_can_be_undone_and_the_wait_begins_anew(desk: Desk) -> None:
    work = a_work(desk)
    desk.clock.advance(days=8)
    expire(desk.review, 7)
    undo(desk.review, work, ANNA)
    assert expire(desk.review, 7) == [], "the very next round took it away again"
    assert state(desk, work) == "pending"
    desk.clock.advance(days=7, seconds=1)
    assert len(expire(desk.review, 7)) == 1


def test_undo_without_a_number_takes_back_what_a_person_did_not_what_expired(desk: Desk) -> None:
    one, two = add_works(desk.database, desk.works, 2)
    reject(desk.review, one, ANNA)
    desk.clock.advance(days=8)
    expire(desk.review, 7)
    assert undo(desk.review, None, ANNA).id == one
    assert state(desk, two) == "expired"


# After an old database was restored


def restore(desk: Desk, mark: Mark | None = None, **ago: float) -> None:
    """As if this database were a backup, put back so long ago."""
    at = desk.clock() - timedelta(**ago)
    doubt_after_restore(desk.database, desk.protections, None, mark, RESOLVER, at)


@pytest.mark.parametrize("recognises_for", [None, timedelta(hours=1)])
def test_an_older_work_approved_after_a_restore_may_be_out_already_and_waits_for_a_person(
    desk: Desk, recognises_for: timedelta | None
) -> None:
    """The approval and the post may have been in what was lost."""
    desk.recognises_for = recognises_for
    work = a_work(desk)
    restore(desk)
    approve(desk.review, work, ANNA)
    (delivery,) = deliveries(desk.database)
    assert delivery.state == "uncertain"
    assert "after an old database was restored" in (delivery.last_error or "")
    with pytest.raises(NotAllowed, match="may have been on the wire 0 s ago and may yet appear"):
        resolve(desk.database, 1, False, None, RESOLVER, desk.clock())
    desk.clock.advance(minutes=15)  # what was lost may have ended in an attempt
    resolve(desk.database, 1, False, None, RESOLVER, desk.clock())
    assert deliveries(desk.database)[0].state == "queued"


def test_where_every_repetition_is_recognised_it_is_simply_sent(desk: Desk) -> None:
    work = a_work(desk)
    restore(desk)
    approve(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == ["queued"]


@pytest.mark.parametrize(("hours", "state"), [(26, "uncertain"), (26.1, "queued")])
def test_a_work_whose_day_had_begun_nowhere_when_the_database_was_restored_cannot_be_out(
    desk: Desk, hours: float, state: str
) -> None:
    """Easternmost is fourteen hours ahead; a batch may be made before it is due, not before its day."""
    desk.recognises_for = None
    work = a_work(desk)
    restore(desk, hours=hours)
    approve(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == [state]


@pytest.mark.parametrize(
    ("latest_day", "state"),
    [("2026-11-20", "queued"), ("2026-11-21", "uncertain"), ("2026-11-23", "uncertain")],
)
def test_a_day_that_a_clock_made_too_early_may_be_out_when_it_comes_again(
    desk: Desk, latest_day: str, state: str
) -> None:
    """The clock leapt ahead, the batch of the day after tomorrow went out, the clock was set right, and an
    older database was put back: the mark remembers of which days something was sent."""
    desk.recognises_for = None
    work = a_work(desk)
    mark = Mark("w", "g", 1, 7, "of delivery 3", latest_day)
    restore(desk, mark, days=2)
    approve(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == [state]


def test_a_delivery_cancelled_before_the_backup_may_have_been_sent_after_it(desk: Desk) -> None:
    desk.recognises_for = None
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    undo(desk.review, work, ANNA)
    restore(desk)
    approve(desk.review, work, ANNA)
    assert [d.state for d in deliveries(desk.database)] == ["uncertain"]


# The key


def test_the_same_work_has_the_same_delivery_key_in_a_database_that_never_saw_the_first_approval(
    tmp_path: Path,
) -> None:
    """A backup, an approval, the backup put back, the same approval: the receiver knows it by its key."""
    file = tmp_path / "artbot.sqlite3"
    desk = Desk(open_database(file), tmp_path / "works", SetClock())
    work = a_work(desk)
    desk.database.close()
    backup = file.read_bytes()

    def approved_key() -> str:
        database = open_database(file)
        approve(replace(desk.review, database=database), work, ANNA)
        (delivery,) = deliveries(database)
        database.close()
        return delivery.delivery_key

    first = approved_key()
    file.write_bytes(backup)
    assert approved_key() == first


def test_another_picture_channel_work_or_workplace_has_another_key() -> None:
    facts = {"workplace_id": "w", "work": "a", "image_sha256": "f" * 64, "channel": "studio"}
    keys = {delivery_key(**facts)}
    for name in facts:
        keys.add(delivery_key(**{**facts, name: "other"}))
    assert len(keys) == 5
    assert all(re.fullmatch(r"msg_[0-9a-f]{32}", key) for key in keys)


# The log


def test_the_log_says_who_did_what_when_through_which_face_to_which_picture(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA, Words(title="Dusk", alt="A vase", caption=""))
    desk.clock.advance(minutes=1)
    undo(desk.review, work, BEN)
    shown = candidate(desk.database, work).image_sha256
    first, second = decisions(desk.database)
    assert (first.was, first.now, first.by, first.via, first.at, first.image_sha256) == (
        "pending",
        "approved",
        "anna",
        "test",
        NOON,
        shown,
    )
    assert (first.title, first.alt, first.caption) == ("Dusk", "A vase", "")
    assert (second.was, second.now, second.by, second.via, second.at, second.image_sha256) == (
        "approved",
        "pending",
        "ben",
        "other",
        NOON + timedelta(minutes=1),
        shown,
    )


def test_the_log_is_only_added_to(desk: Desk) -> None:
    work = a_work(desk)

    def rows() -> list[tuple[object, ...]]:
        with desk.database.read() as session:
            return [tuple(r) for r in session.execute(text("SELECT * FROM decisions ORDER BY id"))]

    before: list[tuple[object, ...]] = []
    for act in (approve, undo, reject, undo, approve):
        act(desk.review, work, ANNA)
        after = rows()
        assert after[:-1] == before
        before = after
    assert candidate(desk.database, work).row_version == 6


# Words


def test_words_that_were_not_written_are_drafted_from_the_works_facts(desk: Desk) -> None:
    work = a_work(desk)
    approved = approve(desk.review, work, ANNA, Words(caption="Mine"))
    assert approved.title == "No. 1, 2026-11-21"
    assert approved.alt == ("Picture no. 1, painted by a neural network that learned from flowers")
    assert approved.caption == "Mine"


def test_an_empty_text_is_a_text_and_not_a_wish_for_a_draft(desk: Desk) -> None:
    assert approve(desk.review, a_work(desk), ANNA, Words(title="", caption="")).title == ""


def test_every_field_may_stand_in_a_draft(desk: Desk) -> None:
    work = a_work(desk)
    texts = TextSettings(title="{number}|{date}|{dataset}|{checkpoint}|{seed}|{{}}")
    with desk.database.read() as session:
        row = session.get_one(Candidate, work)
        drafted = acts.draft_words(texts, row)
    assert drafted["title"] == f"1|2026-11-21|flowers|flowers-000120|{row.seed}|{{}}"


# Races


def test_two_people_approving_at_once_make_one_decision(desk: Desk) -> None:
    desk.channels = ("a", "b")
    work = a_work(desk)
    review = desk.review
    results = run_at_once(*[lambda: approve(review, work, ANNA)] * 6)
    assert [r for r in results if isinstance(r, Exception)] == []
    assert log(desk) == [("pending", "approved")]
    assert len(deliveries(desk.database)) == 2


def test_of_an_approval_and_a_rejection_at_once_exactly_one_wins_and_the_loser_is_told(
    desk: Desk,
) -> None:
    works = add_works(desk.database, desk.works, 12)
    review: Review = desk.review
    for work in works:
        results = run_at_once(
            lambda work=work: approve(review, work, ANNA),
            lambda work=work: reject(review, work, BEN),
        )
        assert [type(r) for r in results if isinstance(r, Exception)] == [NotAllowed]
        queued = [d for d in deliveries(desk.database) if d.candidate_id == work]
        assert len(queued) == (state(desk, work) == "approved")
    assert len(log(desk)) == len(works)


@pytest.mark.parametrize(("one", "other"), [("approve", "reject"), ("put off", "give stars")])
def test_of_two_faces_that_show_the_same_exactly_one_decides_and_the_other_is_told(
    desk: Desk, one: str, other: str
) -> None:
    review: Review = desk.review
    works = add_works(desk.database, desk.works, 6)
    for work in works:
        seen = seen_now(desk, work)
        results = run_at_once(
            lambda work=work, seen=seen: ACTS[one](review, work, ANNA, seen),
            lambda work=work, seen=seen: ACTS[other](review, work, BEN, seen),
        )
        (told,) = [result for result in results if isinstance(result, Exception)]
        winner = "ben" if results[0] is told else "anna"
        assert isinstance(told, Stale)
        assert f"by {winner} (" in str(told)
    assert len(log(desk)) == len(works)


def test_an_undo_is_redone_once_however_many_ask_at_once(desk: Desk) -> None:
    review: Review = desk.review
    work = desk.approve_one()
    for _ in range(4):
        undo(review, work, ANNA)
        num_before = len(log(desk))
        results = run_at_once(
            *[lambda: redo(review, work, ANNA), lambda: redo(review, None, BEN)] * 2
        )
        told = [result for result in results if isinstance(result, Exception)]
        assert (len(told), {type(one) for one in told} <= {NotAllowed, Stale}) == (3, True), told
        assert (len(log(desk)), state(desk, work)) == (num_before + 1, "approved")
    assert [d.state for d in deliveries(desk.database)] == ["queued"]


# Looking


def test_what_is_undecided_is_listed_with_what_nobody_has_looked_at_first(desk: Desk) -> None:
    one, two, three = add_works(desk.database, desk.works, 3)
    put_off(desk.review, one, ANNA)
    assert [c.id for c in list_candidates(desk.database, UNDECIDED)] == [two, three, one]
    everything = list_candidates(desk.database, list(CandidateState))
    assert [c.id for c in everything] == [one, two, three]


# Which one a person means


@pytest.fixture
def two_batches(desk: Desk) -> Desk:
    """Works 1 to 4 of yesterday, 5 to 7 of today."""
    add_works(desk.database, desk.works, 4)
    with desk.database.write() as session:
        today = a_batch(day=SATURDAY + timedelta(days=1))
        today.due_at = NOON + timedelta(days=1)
        put(session, today)
        tomorrow = a_batch(day=SATURDAY + timedelta(days=2), state="planned")
        tomorrow.due_at = NOON + timedelta(days=2)
        put(session, tomorrow)
        for index in (1, 2, 3):
            row = Candidate(
                batch_id=today.id,
                index=index,
                name=f"{today.key}-{index:02d}",
                seed=index,
                checkpoint_sha256=CHECKPOINT,
                recipe={},
                state="pending",
                planned_at=NOON,
                path="p",
                image_sha256="i",
                pixel_sha256="x",
            )
            put(session, row)
    return desk


def test_which_ones_a_person_means(two_batches: Desk) -> None:
    reject(two_batches.review, 6, ANNA)
    for typed, meant in {
        "3": [3],
        " 3 ": [3],
        "003": [3],
        "3-5": [3, 4, 5],
        "3 - 5": [3, 4, 5],
        "6-99": [6, 7],
        "4-4": [4],
        "daily-2026-11-21-02": [2],
        "daily-2026-11-22-02 ": [6],
        "today:3": [7],
        "Today:3": [7],
        "3 of today": [7],
        "2-3 of today": [6, 7],
        "today:1-2": [5, 6],
        "today": [5, 7],
        "TODAY": [5, 7],
    }.items():
        assert find_candidates(two_batches.database, typed) == meant, typed


def test_the_beginning_of_a_name_will_do_where_no_other_begins_so(desk: Desk) -> None:
    add_works(desk.database, desk.works, 10)
    assert find_candidate(desk.database, "daily-2026-11-21-1") == 10
    with pytest.raises(UsageError, match=r"-01, .*-02, .*-03 and more"):
        find_candidate(desk.database, "daily-2026-11-21-0")


def test_what_means_none_or_several_is_said_so(two_batches: Desk) -> None:
    for typed, said in {
        "5-3": r"'5-3' runs backwards\. Write 3-5\.",
        "50-60": "there is no candidate '50-60'",
        "Daily-2026-11-21-01": "there is no candidate 'Daily",
        "daily": r"several names begin with 'daily': .*-01, .*-02, .*-03 and more\. Type more",
        "daily-2026-11-22-": r"several names begin with .*: .*-01, .*-02, .*-03\. Type more",
        "": "there is no candidate ''",
        "today:": "there is no candidate 'today:'",
        "today:x": "there is no candidate 'today:x'",
        "today:9": r"daily-2026-11-22, the newest batch, has no 9\. `artbot review --all`",
        "today:9999999999": r"the newest batch, has no 9999999999\.",
        "x of today": "there is no candidate 'x of today'",
        "today-": "there is no candidate 'today-'",
        "daily-2026-11-2%": "there is no candidate",
        "3-": "there is no candidate '3-'",
        "٣": "there is no candidate",
    }.items():
        with pytest.raises(UsageError, match=said):
            find_candidates(two_batches.database, typed)


def test_a_command_for_one_is_told_that_several_are_meant(two_batches: Desk) -> None:
    assert find_candidate(two_batches.database, "today:3") == 7
    for typed in ("3-5", "today"):
        with pytest.raises(UsageError, match=rf"'{typed}' means 3 candidates\. Name one of them: "):
            find_candidate(two_batches.database, typed)


def test_today_is_told_to_have_nothing_left_or_not_to_be_there(two_batches: Desk) -> None:
    for work in find_candidates(two_batches.database, "today"):
        reject(two_batches.review, work, ANNA)
    with pytest.raises(UsageError, match="of daily-2026-11-22 nothing is undecided"):
        find_candidates(two_batches.database, "today")


def test_without_a_batch_today_means_nothing(desk: Desk) -> None:
    with pytest.raises(UsageError, match="there is no batch yet"):
        find_candidates(desk.database, "today:1")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["3", "of", "today"], ["3 of today"]),
        (["1", "3", "Of", "Today", "x"], ["1", "3 Of Today", "x"]),
        (["3 of today", "of"], ["3 of today", "of"]),
        (["of", "today"], ["of", "today"]),
        ([], []),
    ],
)
def test_three_of_today_needs_no_quotes(arguments: list[str], meant: list[str]) -> None:
    assert split_typed(arguments) == meant


def test_works_are_listed_newest_batch_first_in_their_batchs_order(desk: Desk) -> None:
    works = add_works(desk.database, desk.works, 3)
    reject(desk.review, works[1], ANNA)
    found = list_candidates(desk.database, [CandidateState.PENDING])
    assert [c.id for c in found] == [works[0], works[2]]
    assert found[0].batch.key == "daily-2026-11-21"


def test_one_work_comes_with_its_whole_story(desk: Desk) -> None:
    work = a_work(desk)
    approve(desk.review, work, ANNA)
    story = get_candidate(desk.database, work)
    assert (story.checkpoint.name, len(story.decisions)) == ("flowers-000120", 1)
    assert [(d.state, d.attempts) for d in story.deliveries] == [(DeliveryState.QUEUED, [])]
    with pytest.raises(UsageError, match="no candidate 99"):
        get_candidate(desk.database, 99)


def test_pictures_are_found_relative_to_the_works_folder(desk: Desk) -> None:
    """The workplace may be moved: no absolute path is stored."""
    path = candidate(desk.database, a_work(desk)).path
    assert path is not None
    assert not Path(path).is_absolute()


@pytest.mark.parametrize(
    "typed", ["99", "2147483648", "9" * 20, "9" * 5000, "caf\udce9", "a\0b", "\ud800"]
)
def test_what_no_candidate_is_called_is_said_so_whatever_was_typed(desk: Desk, typed: str) -> None:
    a_work(desk)
    with pytest.raises(UsageError, match="there is no candidate"):
        get_candidate(desk.database, find_candidate(desk.database, typed))


def test_a_batch_that_cannot_be_called_so_is_not_there(desk: Desk) -> None:
    assert not has_batch(desk.database, "daily-\udce9")

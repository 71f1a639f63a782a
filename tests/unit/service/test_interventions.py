"""What a person may do to deliveries and channels, and what is refused because it could post twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from artbot.domain.delivery import LATE_EFFECT
from artbot.errors import NotAllowed, UsageError
from artbot.pictures import quarantine
from artbot.publishing.interventions import (
    Actor,
    pause_channel,
    replay,
    resolve,
    resume_channel,
    retry,
    withdraw,
)
from artbot.publishing.reading import get_delivery
from artbot.review.decisions import approve, undo
from db import chain
from db.models import Attempt, Candidate, Delivery, Intervention
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    add_works,
    answers,
    candidate,
    deliveries,
    http_answer,
    interventions,
    move,
    serve,
    standing,
)

OK = http_answer(200, b"thanks")
BUSY = http_answer(503)
BROKEN = http_answer(500)
REFUSED = http_answer(422)
UNAUTHORIZED = http_answer(401)


def a_delivery(
    desk: Desk, state: str, outcome: str | None = "", at: datetime = NOON, **columns: object
) -> int:
    """One in that state, with one attempt that ended so ("": with none)."""
    desk.approve_one()
    with desk.database.write() as session:
        delivery = session.get_one(Delivery, 1)
        delivery.delivered_at = NOON if state == "delivered" else None
        for name, value in columns.items():
            setattr(delivery, name, value)
        move(session, delivery, state)
        if outcome != "":
            delivery.num_attempts = 1
            session.add(
                Attempt(delivery_id=1, started_at=at, body_sha256="0" * 64, outcome=outcome)
            )
    return 1


def now_of(desk: Desk) -> Delivery:
    return get_delivery(desk.database, 1)


def log(desk: Desk) -> list[tuple[str, str | None, str | None]]:
    return [(entry.act, entry.was, entry.now) for entry in interventions(desk.database)]


def untouched(desk: Desk, state: str) -> bool:
    """Refused is refused: no other state, nothing in the log."""
    return (now_of(desk).state, log(desk)) == (state, [])


# Retry


@pytest.mark.parametrize("state", ["held", "failed", "dead"])
def test_what_was_given_up_is_due_now_and_has_all_its_attempts_before_it(
    desk: Desk, state: str
) -> None:
    a_delivery(desk, state, "unavailable")
    desk.clock.advance(days=3)
    asked = retry(desk.database, 1, BEN, desk.clock())
    assert (asked.state, asked.num_attempts, asked.next_at) == ("queued", 0, desk.clock())
    assert log(desk) == [("retry", state, "queued")]


@pytest.mark.parametrize("state", ["queued", "retry_wait"])
def test_what_waits_is_due_now_and_keeps_count(desk: Desk, state: str) -> None:
    a_delivery(desk, state, "unavailable", next_at=NOON + timedelta(days=1))
    asked = retry(desk.database, 1, BEN, desk.clock())
    assert (asked.state, asked.num_attempts, asked.next_at) == (state, 1, NOON)


def test_who_asks_for_a_retry_ends_the_channels_rest(desk: Desk) -> None:
    for work in add_works(desk.database, desk.works, 5):
        approve(desk.review, work, ANNA)
    with serve(answers(BUSY)) as server:
        desk.send(server.url)
        retry(desk.database, 1, BEN, desk.clock())
        assert len(desk.send(server.url)) == 1


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("sending", r"delivery 1 is on the wire: there is nothing to retry\."),
        ("delivered", r"delivery 1 is delivered: there is nothing to retry\."),
        ("cancelled", r"delivery 1 is cancelled: there is nothing to retry\."),
        (
            "uncertain",
            r"delivery 1 is uncertain: it may have been posted\. Look at studio, then say "
            r"`artbot deliveries resolve 1 --posted` or `--absent`\.",
        ),
    ],
)
def test_what_is_done_or_may_be_done_is_not_tried_again(
    desk: Desk, state: str, message: str
) -> None:
    a_delivery(desk, state)
    with pytest.raises(NotAllowed, match=f"^{message}$"):
        retry(desk.database, 1, BEN, desk.clock())
    assert untouched(desk, state)


@pytest.mark.parametrize(
    ("answer", "state"), [(UNAUTHORIZED, "paused"), (http_answer(410), "disabled")]
)
def test_through_a_channel_that_is_stopped_nothing_is_retried_until_that_is_resumed(
    desk: Desk, answer: bytes, state: str
) -> None:
    desk.approve_one()
    with serve(answers(answer)) as server:
        desk.send(server.url)
    before, logged = now_of(desk).state, log(desk)
    with pytest.raises(
        NotAllowed,
        match=rf"daily-2026-11-21-01 waits for its channel: studio is {state}, it .*: artbot channels resume studio",
    ):
        retry(desk.database, 1, BEN, desk.clock())
    assert (now_of(desk).state, log(desk)) == (before, logged)


def test_of_a_work_in_quarantine_nothing_is_retried(desk: Desk) -> None:
    work = desk.approve_one()
    with desk.database.write() as session:
        quarantine(session, session.get_one(Candidate, work), "it is gone", "test", NOON)
    with pytest.raises(
        NotAllowed,
        match=r"waits for its picture: it is gone\. Make it again: artbot reproduce 1 --restore",
    ):
        retry(desk.database, 1, BEN, desk.clock())
    assert untouched(desk, "held")


# Resolve


def test_it_was_posted_makes_it_delivered_with_where_it_can_be_seen(desk: Desk) -> None:
    a_delivery(desk, "uncertain", "unknown")
    resolve(desk.database, 1, True, "https://example.org/1", BEN, desk.clock())
    found = now_of(desk)
    assert (found.state, found.delivered_at, found.remote_url, found.last_error) == (
        "delivered",
        NOON,
        "https://example.org/1",
        None,
    )
    assert log(desk) == [("posted", "uncertain", "delivered")]


def test_what_was_posted_after_all_is_a_success_of_its_channel(desk: Desk) -> None:
    """An answer lost every day for a week, each work found posted: something got through."""
    desk.recognises_for = None
    works = add_works(desk.database, desk.works, 9)
    with serve(answers(BROKEN)) as server:
        for work in works:
            approve(desk.review, work, ANNA)
            (sent,) = desk.send(server.url)
            assert sent.state == "uncertain"
            assert standing(desk.database).num_failures == 1
            resolve(desk.database, deliveries(desk.database)[-1].id, True, None, BEN, desk.clock())
            assert standing(desk.database).num_failures == 0
            desk.clock.advance(days=1)
    assert standing(desk.database).state == "active"


def test_it_was_not_posted_is_believed_a_quarter_of_an_hour_after_the_last_attempt(
    desk: Desk,
) -> None:
    """A request that timed out may still take effect: so long nobody can know that it did not."""
    a_delivery(desk, "uncertain", "unknown")
    desk.clock.advance(seconds=100)
    with pytest.raises(
        NotAllowed,
        match=r"delivery 1 was on the wire 100 s ago and may yet appear\. Look again in 14 minutes\.",
    ):
        resolve(desk.database, 1, False, None, BEN, desk.clock())
    desk.clock.now = NOON + LATE_EFFECT - timedelta(seconds=1)
    with pytest.raises(NotAllowed, match="Look again in 1 minutes"):
        resolve(desk.database, 1, False, None, BEN, desk.clock())
    assert untouched(desk, "uncertain")
    desk.clock.now = NOON + LATE_EFFECT
    found = resolve(desk.database, 1, False, None, BEN, desk.clock())
    assert (found.state, found.num_attempts, found.next_at, found.last_error) == (
        "queued",
        0,
        desk.clock(),
        None,
    )
    assert log(desk) == [("absent", "uncertain", "queued")]


def test_that_it_was_posted_is_believed_at_once(desk: Desk) -> None:
    a_delivery(desk, "uncertain", "unknown")
    assert resolve(desk.database, 1, True, None, BEN, desk.clock()).state == "delivered"


def test_what_never_was_on_the_wire_need_not_wait(desk: Desk) -> None:
    """Uncertain from its approval on, after a restore."""
    a_delivery(desk, "uncertain")
    assert resolve(desk.database, 1, False, None, BEN, desk.clock()).state == "queued"


WORDS = {"queued": "waiting", "retry_wait": "not yet delivered", "sending": "on the wire"}
"""For states whose own name is no word of people."""


@pytest.mark.parametrize("was_posted", [True, False])
@pytest.mark.parametrize(
    "state", ["queued", "sending", "retry_wait", "delivered", "held", "failed", "dead", "cancelled"]
)
def test_only_what_is_uncertain_is_resolved(desk: Desk, state: str, was_posted: bool) -> None:
    a_delivery(desk, state)
    words = WORDS.get(state, state)
    with pytest.raises(
        NotAllowed, match=rf"^delivery 1 is {words}: there is nothing to resolve\.$"
    ):
        resolve(desk.database, 1, was_posted, None, BEN, desk.clock())
    assert untouched(desk, state)


# Withdraw


@pytest.mark.parametrize("state", ["queued", "retry_wait", "held", "failed", "dead"])
@pytest.mark.parametrize("outcome", ["", "unavailable", "rejected"])
def test_what_nobody_can_have_is_withdrawn_and_its_work_stays_approved(
    desk: Desk, state: str, outcome: str
) -> None:
    a_delivery(desk, state, outcome, last_error="answered 503")
    withdraw(desk.database, 1, BEN, desk.clock())
    assert (now_of(desk).state, now_of(desk).last_error) == ("cancelled", None)
    assert candidate(desk.database, 1).state == "approved"
    assert log(desk) == [("withdraw", state, "cancelled")]


@pytest.mark.parametrize("state", ["queued", "retry_wait", "held", "failed", "dead"])
@pytest.mark.parametrize("outcome", [None, "unknown", "delivered"])
def test_what_somebody_may_have_cannot_be_withdrawn(
    desk: Desk, state: str, outcome: str | None
) -> None:
    a_delivery(desk, state, outcome)
    words = WORDS.get(state, state)
    with pytest.raises(NotAllowed, match=f"delivery 1 is {words}: studio has it, or may have"):
        withdraw(desk.database, 1, BEN, desk.clock())
    assert untouched(desk, state)


@pytest.mark.parametrize("state", ["sending", "uncertain", "delivered"])
def test_nor_what_is_on_the_wire_uncertain_or_there(desk: Desk, state: str) -> None:
    a_delivery(desk, state)
    with pytest.raises(NotAllowed, match="cannot be taken back from here"):
        withdraw(desk.database, 1, BEN, desk.clock())
    assert untouched(desk, state)


def test_what_was_found_absent_may_be_withdrawn(desk: Desk) -> None:
    a_delivery(desk, "uncertain", "unknown")
    desk.clock.advance(hours=1)
    resolve(desk.database, 1, False, None, BEN, desk.clock())
    assert withdraw(desk.database, 1, BEN, desk.clock()).state == "cancelled"


def test_withdrawing_twice_is_withdrawing_once(desk: Desk) -> None:
    a_delivery(desk, "queued")
    for _ in range(2):
        withdraw(desk.database, 1, BEN, desk.clock())
    assert log(desk) == [("withdraw", "queued", "cancelled")]


# Replay


def three_delivered(desk: Desk) -> None:
    """At noon, at one, and at two o'clock."""
    works = add_works(desk.database, desk.works, 3)
    with serve(answers(OK)) as server:
        for work in works:
            approve(desk.review, work, ANNA)
            desk.send(server.url)
            desk.clock.advance(hours=1)


def test_a_replay_sends_what_was_delivered_since_then_under_the_old_keys(desk: Desk) -> None:
    three_delivered(desk)
    keys = [delivery.delivery_key for delivery in deliveries(desk.database)]
    since = NOON + timedelta(hours=1)
    again = replay(desk.database, "studio", desk.protections, since, BEN, desk.clock())
    assert [delivery.candidate.name[-2:] for delivery in again] == ["02", "03"]
    assert [d.state for d in deliveries(desk.database)] == ["delivered", "queued", "queued"]
    with serve(answers(OK)) as server:
        assert [sent.state for sent in desk.send(server.url)] == ["delivered"] * 2
    assert [request.headers["webhook-id"] for request in server.requests] == keys[1:]
    assert log(desk) == [("replay", "delivered", "queued")] * 2


def test_a_replay_leaves_other_channels_and_other_states_alone(desk: Desk) -> None:
    desk.channels = ("studio", "other", "third")
    desk.approve_one()
    with serve(answers(OK, OK, REFUSED)) as server:
        desk.send(server.url)
    assert len(replay(desk.database, "studio", desk.protections, NOON, BEN, NOON)) == 1
    assert replay(desk.database, "third", desk.protections, NOON, BEN, NOON) == []
    assert [d.state for d in deliveries(desk.database)] == ["queued", "delivered", "failed"]


@pytest.mark.parametrize("recognises_for", [None, timedelta(days=3650)])
def test_a_channel_that_may_show_a_work_twice_is_not_replayed_to(
    desk: Desk, recognises_for: timedelta | None
) -> None:
    """However long its memory: who asks for a replay may ask for what is older."""
    three_delivered(desk)
    desk.recognises_for = recognises_for
    with pytest.raises(
        NotAllowed, match=r"studio does not recognise a work it already has: .* a second time"
    ):
        replay(desk.database, "studio", desk.protections, NOON, BEN, desk.clock())
    assert untouched(desk, "delivered")


def test_a_replay_to_nobody_names_who_there_is(desk: Desk) -> None:
    with pytest.raises(UsageError, match=r"no channel 'x'\. Channels: studio\."):
        replay(desk.database, "x", desk.protections, NOON, BEN, NOON)
    with pytest.raises(UsageError, match=r"no channel 'x'\. Channels: none\."):
        replay(desk.database, "x", {}, NOON, BEN, NOON)


def test_a_replay_that_fails_is_tried_again_and_never_cancelled(desk: Desk) -> None:
    three_delivered(desk)
    replay(desk.database, "studio", desk.protections, NOON, BEN, desk.clock())
    with serve(answers(BUSY)) as server:
        desk.send(server.url)
    with pytest.raises(NotAllowed, match="studio has it, or may have"):
        withdraw(desk.database, 1, BEN, desk.clock())
    with pytest.raises(NotAllowed, match="already gone out"):
        undo(desk.review, 1, ANNA)


# Pause and resume


def test_a_pause_says_who_and_why(desk: Desk) -> None:
    pause_channel(desk.database, "studio", Actor("anna", "cli", "the server moves"), NOON)
    row = standing(desk.database)
    assert (row.state, row.reason, row.changed_at) == ("paused", "the server moves", NOON)
    (entry,) = interventions(desk.database)
    assert (entry.act, entry.channel, entry.was, entry.now, entry.reason, entry.by, entry.via) == (
        "pause",
        "studio",
        "active",
        "paused",
        "the server moves",
        "anna",
        "cli",
    )


def test_a_pause_without_a_reason_says_at_least_who(desk: Desk) -> None:
    pause_channel(desk.database, "studio", BEN, NOON)
    assert standing(desk.database).reason == "paused by ben"


def test_a_disabled_channel_stays_disabled_when_it_is_paused(desk: Desk) -> None:
    pause_channel(desk.database, "studio", BEN, NOON)
    with desk.database.write() as session:
        row = standing(desk.database)
        session.add(row)
        row.state = "active"
        session.flush()
        row.state, row.reason = "disabled", "410 Gone"
    assert pause_channel(desk.database, "studio", BEN, NOON) == "disabled"
    assert standing(desk.database).reason == "410 Gone"


def test_resumed_a_channel_begins_with_a_clean_slate(desk: Desk) -> None:
    pause_channel(desk.database, "studio", BEN, NOON)
    with desk.database.write() as session:
        row = standing(desk.database)
        session.add(row)
        row.num_failures, row.failing_since, row.rests_until = 9, NOON, NOON + timedelta(hours=1)
    assert resume_channel(desk.database, "studio", BEN, NOON + timedelta(minutes=1)) == 0
    row = standing(desk.database)
    assert (row.state, row.reason, row.num_failures, row.failing_since, row.rests_until) == (
        "active",
        None,
        0,
        None,
        None,
    )
    assert log(desk) == [("pause", "active", "paused"), ("resume", "paused", "active")]


@pytest.mark.parametrize("answer", [UNAUTHORIZED, http_answer(410)])
def test_a_channel_that_stopped_itself_is_resumed_by_a_person(desk: Desk, answer: bytes) -> None:
    desk.approve_one()
    with serve(answers(answer)) as server:
        desk.send(server.url)
    stopped = interventions(desk.database)[0]
    assert (stopped.act, stopped.by, stopped.channel) == ("pause", "artbot", "studio")
    assert (stopped.was, stopped.now) == ("active", standing(desk.database).state)
    assert stopped.reason == standing(desk.database).reason
    resume_channel(desk.database, "studio", BEN, desk.clock())
    assert standing(desk.database).state == "active"


def test_what_is_held_with_its_channel_and_queued_with_it_has_both_in_its_log(desk: Desk) -> None:
    """So that `artbot explain` can tell why it waited, and why it went out."""
    desk.approve_one()
    with serve(answers(UNAUTHORIZED)) as server:
        desk.send(server.url)
    resume_channel(desk.database, "studio", BEN, desk.clock())
    entries = get_delivery(desk.database, 1).interventions
    assert [(entry.act, entry.was, entry.now, entry.by) for entry in entries] == [
        ("pause", "sending", "held", "artbot"),
        ("resume", "held", "queued", "ben"),
    ]
    assert "answered 401" in (entries[0].reason or "")


def test_resuming_an_open_channel_ends_its_rest(desk: Desk) -> None:
    for work in add_works(desk.database, desk.works, 5):
        approve(desk.review, work, ANNA)
    with serve(answers(BUSY)) as server:
        desk.send(server.url)
    assert standing(desk.database).rests_until is not None
    resume_channel(desk.database, "studio", BEN, desk.clock())
    assert standing(desk.database).rests_until is None
    assert log(desk) == [("rest", "active", "active"), ("resume", "active", "active")]


def test_resuming_queues_what_the_channel_held_with_all_attempts_before_it(desk: Desk) -> None:
    desk.channels = ("studio", "other")
    for work in add_works(desk.database, desk.works, 2):
        approve(desk.review, work, ANNA)
    with desk.database.write() as session:
        for number in (1, 2, 3):  # two works to the one, one of them to the other
            delivery = session.get_one(Delivery, number)
            delivery.num_attempts = 7
            move(session, delivery, "held")
    desk.clock.advance(hours=1)
    assert resume_channel(desk.database, "studio", BEN, desk.clock()) == 2
    found = deliveries(desk.database)
    assert [(d.channel, d.state, d.num_attempts) for d in found] == [
        ("studio", "queued", 0),
        ("other", "held", 7),
        ("studio", "queued", 0),
        ("other", "queued", 0),
    ]
    assert found[0].next_at == desk.clock()


def test_resuming_leaves_what_is_held_for_its_picture_and_what_has_failed(desk: Desk) -> None:
    one, two, three = add_works(desk.database, desk.works, 3)
    for work in (one, two, three):
        approve(desk.review, work, ANNA)
    with desk.database.write() as session:
        quarantine(session, session.get_one(Candidate, one), "gone", "test", NOON)
        move(session, session.get_one(Delivery, 2), "held")
        move(session, session.get_one(Delivery, 3), "failed")
    assert resume_channel(desk.database, "studio", BEN, desk.clock()) == 1
    assert [d.state for d in deliveries(desk.database)] == ["held", "queued", "failed"]


# All of them


@pytest.mark.parametrize(
    "act",
    [
        lambda desk, number: retry(desk.database, number, BEN, NOON),
        lambda desk, number: resolve(desk.database, number, True, None, BEN, NOON),
        lambda desk, number: withdraw(desk.database, number, BEN, NOON),
        lambda desk, number: get_delivery(desk.database, number),
    ],
    ids=["retry", "resolve", "withdraw", "show"],
)
@pytest.mark.parametrize("number", [99, 0, -1, 2**31 - 1, 2**31, -(10**20)])
def test_a_delivery_that_does_not_exist_is_told_with_where_to_look(
    desk: Desk, act: Callable[[Desk, int], object], number: int
) -> None:
    with pytest.raises(
        UsageError, match=rf"no delivery {number}\. `artbot deliveries list` shows them\."
    ):
        act(desk, number)
    assert interventions(desk.database) == []


def test_act_and_log_are_one_transaction(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    a_delivery(desk, "failed")
    monkeypatch.setattr(chain, "append", fail)
    for act in (retry, withdraw):
        with pytest.raises(OSError, match="disk full"):
            act(desk.database, 1, BEN, desk.clock())
    assert untouched(desk, "failed")


def test_the_log_of_what_people_did_is_a_chain(desk: Desk) -> None:
    a_delivery(desk, "failed")
    retry(desk.database, 1, BEN, desk.clock())
    withdraw(desk.database, 1, BEN, desk.clock())
    with desk.database.read() as session:
        assert chain.first_broken(session, Intervention) is None
    assert all(entry.chain for entry in interventions(desk.database))

"""What is told besides works: noted once from what the database says, told at least once, never in a work's way."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy import column, inspect, select, table, text
from sqlalchemy.exc import IntegrityError

from artbot.domain.candidate import BatchState, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import DeliveryState
from artbot.domain.notice import (
    ALERTS,
    LASTS,
    NoticeKind,
    NoticeState,
    next_try,
    notice_key,
)
from artbot.errors import (
    ConfigError,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from artbot.publishing.alerts import Fared, Message, Sheet, Told, message_of
from artbot.publishing.channels import Parcel, Receipt, Sender
from artbot.publishing.interventions import pause_channel, resume_channel, retry
from artbot.publishing.notices import (
    NoticeFared,
    Notices,
    Operator,
    Subscriber,
    list_notices,
    note,
    tell_due,
)
from artbot.publishing.outbox import deliver_due
from artbot.redaction import REDACTED, register_secret
from artbot.review.decisions import approve, give_stars, put_off, reject
from db.engine import Database, Fenced, database_url, make_engine, open_database
from db.models import Batch, Candidate, ChannelStatus, Notice
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    Desk,
    SetClock,
    a_batch,
    add_works,
    deliveries,
    notices,
    put,
    workplace_row,
    write_as_of,
)

ALL = frozenset(NoticeKind)
EVENTS = frozenset({NoticeKind.BATCH_READY, NoticeKind.DELIVERY_FAILED})


@dataclass
class Ear:
    """A receiver of notices: hears, or fails as told."""

    failures: list[DeliveryError] = field(default_factory=list)
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    num_asked: int = 0

    def tell(self, message_id: str, event: BaseModel, now: datetime) -> Receipt:
        self.num_asked += 1
        if self.failures:
            raise self.failures.pop(0)
        self.heard.append((message_id, event.model_dump()))
        return Receipt(204, "")


@dataclass
class Telephone:
    """The operator's."""

    fares: list[Sequence[Fared] | DeliveryError] = field(default_factory=list)
    """How the next messages fare; then all is well."""
    messages: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> Sequence[Fared]:
        fare = self.fares.pop(0) if self.fares else [Fared(1, "Telegram", True, "")]
        if isinstance(fare, DeliveryError):
            raise fare
        self.messages.append(message)
        return fare


@dataclass
class Round:
    """A worker's rounds in the workplace of a desk."""

    desk: Desk
    ears: dict[str, Ear] = field(default_factory=lambda: {"friends": Ear()})
    telephone: Telephone = field(default_factory=Telephone)
    kinds: frozenset[str] = ALL
    days: int = 3
    is_operator_told: bool = True
    unopened: dict[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> Notices:
        return Notices(
            database=self.desk.database,
            clock=self.desk.clock,
            random_share=lambda: 0.0,
            channels={
                name: Subscriber(EVENTS, partial(self.ears.__getitem__, name)) for name in self.ears
            },
            operator=Operator(self.kinds, self.days, self.telephone.send)
            if self.is_operator_told
            else None,
            unopened=lambda: self.unopened,
        )

    def go(self) -> list[NoticeFared]:
        note(self.needs)
        return self.tell()

    def tell(self) -> list[NoticeFared]:
        fared: list[NoticeFared] = []
        tell_due(self.needs, fared.append, lambda: False)
        return fared

    @property
    def bodies(self) -> list[str]:
        return [message.body for message in self.telephone.messages]


@pytest.fixture
def round_(desk: Desk) -> Round:
    desk.channels = ("studio",)
    return Round(desk)


class Refuses(Sender):
    """A channel whose receiver answers every work so."""

    def __init__(self, failure: DeliveryError) -> None:
        self._failure = failure

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        raise self._failure


def paint(
    database: Database, day: int = 21, state: str = BatchState.READY, at: datetime = NOON
) -> str:
    """A batch that was finished `at`; its works are another matter."""
    with database.write() as session:
        batch = a_batch(day=date(2026, 11, day), state=state)
        batch.finished_at = at
        put(session, batch)
        return batch.key


def ready(desk: Desk, count: int = 2) -> list[int]:
    """A batch of so many works, finished at noon."""
    works = add_works(desk.database, desk.works, count)
    with desk.database.write() as session:
        session.query(Batch).one().finished_at = NOON
    return works


def fail(desk: Desk, failure: DeliveryError, count: int = 1) -> None:
    """So many works are approved, and their receiver answers so."""
    for work in add_works(desk.database, desk.works, count):
        approve(desk.review, work, ANNA)
    send(desk, failure)


def send(desk: Desk, failure: DeliveryError) -> None:
    deliver_due(desk.outbox_to(Refuses(failure)), lambda _: None, lambda: False)


REFUSED = Rejected("answered 422: too long", status=422)
FORBIDDEN = Rejected("answered 401", status=401)
GONE = Rejected("answered 410", status=410)
BUSY = Unavailable("answered 503")


# Noting


def test_a_batch_that_is_ready_is_told_once_to_everybody_who_wants_to_know(round_: Round) -> None:
    ready(round_.desk)
    for _ in range(3):
        round_.go()
        round_.desk.clock.advance(hours=1)
    ((key, event),) = round_.ears["friends"].heard
    assert event == {
        "type": "batch.ready",
        "timestamp": "2026-11-21T12:00:00.000000Z",
        "data": {
            "batch": {
                "id": "daily-2026-11-21",
                "schedule": "daily",
                "date": "2026-11-21",
                "state": "ready",
                "painted": 24,
                "failed": 0,
                "generator": {"name": "flowers-000120", "sha256": "a" * 64, "dataset": "flowers"},
            },
            "waiting": 2,
        },
    }
    assert round_.bodies == [
        "24 new pictures are ready (daily-2026-11-21), 2 pictures wait for review: artbot review"
    ]
    assert [(n.recipient, n.state) for n in notices(round_.desk.database)] == [
        ("friends", "sent"),
        (ALERTS, "sent"),
    ]
    assert key == notices(round_.desk.database)[0].key


def test_who_asks_for_alerts_today_hears_nothing_of_what_was_chosen_from_already(
    round_: Round,
) -> None:
    for work in ready(round_.desk):
        reject(round_.desk.review, work, ANNA)
    round_.go()
    assert round_.bodies == []
    assert len(round_.ears["friends"].heard) == 1, "a receiver hears of every batch"


def test_several_batches_are_told_of_with_one_word_of_what_waits() -> None:
    batch = {"painted": 2, "failed": 0}
    told = [
        Told(NoticeKind.BATCH_READY, {"batch": {**batch, "id": key}, "waiting": 3})
        for key in ("a", "b")
    ]
    assert message_of(told).body == (
        "2 new pictures are ready (a)\n\n"
        "2 new pictures are ready (b), 3 pictures wait for review: artbot review"
    )


def test_a_batch_is_told_of_with_its_address_and_the_newest_with_its_sheet() -> None:
    batch = {"painted": 2, "failed": 0}
    told = [
        Told(NoticeKind.BATCH_READY, {"batch": {**batch, "id": key}, "waiting": 3})
        for key in ("a", "b")
    ]
    told.append(Told(NoticeKind.NOTHING_APPROVED, {"waiting": 3, "days": 3, "ever": True}))
    message = message_of(
        told, lambda key: f"https://r.example/?batch={key}", lambda key: Sheet(key, b"jpeg")
    )
    first, second, third = message.body.split("\n\n")
    assert first == "2 new pictures are ready (a)\nhttps://r.example/?batch=a"
    assert second.endswith(": artbot review\nhttps://r.example/?batch=b")
    assert "https" not in third
    assert message.sheet == Sheet("b", b"jpeg")
    assert message_of(told[2:], sheet_of=lambda key: Sheet(key, b"jpeg")).sheet is None


def test_what_an_address_took_without_its_sheet_is_noted_and_told_all_the_same(
    round_: Round,
) -> None:
    ready(round_.desk)
    said = "without the contact sheet: too large"
    round_.telephone.fares = [[Fared(2, "Telegram", True, said)]]
    round_.go()
    (notice,) = [n for n in notices(round_.desk.database) if n.recipient == ALERTS]
    assert (notice.state, notice.last_error) == ("sent", f"line 2 (Telegram): {said}")


def test_what_failed_in_a_batch_is_said(round_: Round) -> None:
    ready(round_.desk, 3)
    with round_.desk.database.write() as session:
        batch = session.query(Batch).one()
        batch.num_candidates = 4
        failed = Candidate(
            batch_id=batch.id,
            index=4,
            name=f"{batch.key}-04",
            seed=1,
            checkpoint_sha256="a" * 64,
            recipe={},
            state=CandidateState.FAILED,
            planned_at=NOON,
        )
        put(session, failed)
    round_.go()
    ((_, event),) = round_.ears["friends"].heard
    assert (event["data"]["batch"]["painted"], event["data"]["batch"]["failed"]) == (3, 1)
    assert "; 1 could not be painted)" in round_.bodies[0]


@pytest.mark.parametrize(
    ("state", "at"),
    [
        (BatchState.GENERATING, None),
        (BatchState.FAILED, NOON),
        (BatchState.SKIPPED, None),
        (BatchState.READY, NOON - timedelta(hours=25)),
    ],
)
def test_a_batch_with_nothing_new_in_it_is_told_of_by_nobody(
    round_: Round, state: str, at: datetime | None
) -> None:
    ready(round_.desk)
    with round_.desk.database.write() as session:
        session.query(Batch).one().finished_at = NOON - timedelta(days=2)
        batch = a_batch("other", state=state)
        batch.finished_at = at
        put(session, batch)
    assert round_.go() == []


def test_who_asks_for_nothing_is_told_nothing_and_nothing_is_noted(round_: Round) -> None:
    ready(round_.desk)
    round_.ears = {}
    round_.is_operator_told = False
    assert round_.go() == []
    assert notices(round_.desk.database) == []


def test_only_the_kinds_that_were_asked_for_are_noted(round_: Round) -> None:
    fail(round_.desk, REFUSED)
    round_.ears = {}
    round_.kinds = frozenset({NoticeKind.BATCH_READY})
    assert round_.go() == []


@pytest.mark.parametrize(
    ("failure", "state", "words"),
    [
        (REFUSED, "failed", "it was refused: answered 422: too long. Once that is mended: artbot deliveries retry 1"),
        (FORBIDDEN, "held", "Channel studio is paused: it refuses our credentials: answered 401"),
        (GONE, "failed", "Once that is mended: artbot channels resume studio"),
        (OutcomeUnknown("no answer"), "uncertain", "artbot deliveries resolve 1 --posted, or --absent"),
    ],
)  # fmt: skip
def test_a_delivery_that_waits_for_a_person_is_told_of_to_all_but_its_own_channel(
    round_: Round, failure: DeliveryError, state: str, words: str
) -> None:
    round_.desk.recognises_for = None
    round_.ears["studio"] = Ear()
    fail(round_.desk, failure)
    round_.go()
    round_.go()
    ((_, event),) = round_.ears["friends"].heard
    assert event["type"] == "delivery.failed"
    assert event["data"]["artwork"]["id"] == "daily-2026-11-21-01"
    delivery = event["data"]["delivery"]
    assert (delivery["number"], delivery["channel"], delivery["state"]) == (1, "studio", state)
    assert str(failure) in delivery["reason"]
    assert round_.ears["studio"].num_asked == 0, "a channel is not told of its own failures"
    assert words in "\n".join(round_.bodies)


def test_a_delivery_that_is_tried_again_by_itself_is_no_news(round_: Round) -> None:
    fail(round_.desk, BUSY)
    assert deliveries(round_.desk.database)[0].state == DeliveryState.RETRY_WAIT
    assert round_.go() == []


def test_one_that_fails_anew_after_a_person_asked_for_it_is_told_anew(round_: Round) -> None:
    fail(round_.desk, REFUSED)
    round_.go()
    round_.desk.clock.advance(minutes=5)
    retry(round_.desk.database, 1, BEN, round_.desk.clock())
    round_.go()
    send(round_.desk, REFUSED)
    round_.go()
    keys = [key for key, _ in round_.ears["friends"].heard]
    assert len(keys) == len(set(keys)) == 2


def test_what_a_stopped_channel_holds_is_told_with_the_channel_unless_nobody_tells_of_that(
    round_: Round,
) -> None:
    fail(round_.desk, FORBIDDEN)
    round_.go()
    (body,) = round_.bodies
    assert body.startswith("Channel studio is paused")
    other = Round(round_.desk, ears={}, kinds=frozenset({NoticeKind.DELIVERY_FAILED}))
    other.go()
    (body,) = other.bodies
    assert body.startswith("daily-2026-11-21-01 waits for studio: answered 401")


def test_a_channel_that_a_person_paused_is_no_news_to_persons(round_: Round) -> None:
    pause_channel(round_.desk.database, "studio", BEN, NOON)
    assert round_.go() == []


def test_a_channel_whose_secret_is_missing_is_told_once_while_works_wait_for_it(
    round_: Round,
) -> None:
    desk = round_.desk
    round_.unopened = {"studio": "channels.studio: secrets/studio cannot be read"}
    assert round_.go() == []
    for work in add_works(desk.database, desk.works, 2):
        approve(desk.review, work, ANNA)
    for _ in range(3):
        round_.go()
        desk.clock.advance(hours=13)
    assert round_.bodies == [
        "Channel studio cannot be opened: channels.studio: secrets/studio cannot be read. What is approved for "
        "it waits, and goes out by itself once that is mended: artbot doctor"
    ]
    round_.unopened = {"studio": "channels.studio: secrets/studio is empty"}
    round_.go()
    assert "is empty" in round_.bodies[-1]
    pause_channel(desk.database, "studio", BEN, desk.clock())
    round_.unopened = {"studio": "another reason"}
    assert round_.go() == []


def test_a_channel_that_stops_again_is_told_again(round_: Round) -> None:
    desk = round_.desk
    round_.ears = {}
    fail(desk, FORBIDDEN)
    round_.go()
    desk.clock.advance(minutes=1)
    resume_channel(desk.database, "studio", BEN, desk.clock())
    round_.go()
    send(desk, FORBIDDEN)
    round_.go()
    assert [body[:24] for body in round_.bodies] == ["Channel studio is paused"] * 2


def test_no_secret_gets_into_a_notice(round_: Round) -> None:
    register_secret("hunter2-hunter2")
    fail(round_.desk, Rejected("answered 422: hunter2-hunter2", status=422))
    round_.go()
    stored = json.dumps([n.data for n in notices(round_.desk.database)])
    assert "hunter2" not in stored + "".join(round_.bodies)
    assert REDACTED in stored


# Nothing approved


def days_of(round_: Round, num_days: int, first: int = 21) -> list[int]:
    """Rounds at noon, a new batch each day; the days since the first on which the operator was told."""
    told = []
    for day in range(num_days):
        if day:
            paint(round_.desk.database, first + day, at=round_.desk.clock())
        before = len(round_.telephone.messages)
        round_.go()
        if len(round_.telephone.messages) > before:
            told.append(day)
        round_.desk.clock.advance(days=1)
    return told


@pytest.fixture
def idle(round_: Round) -> Round:
    """Told of nothing but that nothing is approved."""
    round_.kinds = frozenset({NoticeKind.NOTHING_APPROVED})
    round_.ears = {}
    ready(round_.desk, 3)
    return round_


def test_nothing_approved_is_told_after_so_many_days_and_again_after_as_many(idle: Round) -> None:
    assert days_of(idle, 8) == [3, 6]
    assert (
        idle.bodies
        == ["Nothing has been approved yet, and 3 pictures wait for review: artbot review"] * 2
    )


def test_an_approval_begins_the_days_anew_from_the_next_batch(idle: Round) -> None:
    """What is left over from the day that was looked at needs nobody."""
    approve(idle.desk.review, 1, ANNA)
    assert days_of(idle, 6) == [4]
    assert idle.bodies == [
        "Nothing has been approved for 4 days, and 2 pictures wait for review: artbot review"
    ]


def test_without_a_new_batch_there_is_nothing_to_approve(idle: Round) -> None:
    approve(idle.desk.review, 1, ANNA)
    idle.desk.clock.advance(days=20)
    assert idle.go() == []


def test_what_is_all_decided_waits_for_nobody(idle: Round) -> None:
    for work in (1, 2, 3):
        reject(idle.desk.review, work, ANNA)
    idle.desk.clock.advance(days=20)
    assert idle.go() == []


def test_stars_approve_nothing_and_what_is_put_off_waits_all_the_same(idle: Round) -> None:
    approve(idle.desk.review, 1, ANNA)
    assert days_of(idle, 3) == []
    give_stars(idle.desk.review, 1, 5, ANNA)
    for work in (2, 3):
        put_off(idle.desk.review, work, ANNA)
    assert idle.go() == []
    idle.desk.clock.advance(days=1)
    assert [one.state for one in idle.go()] == ["sent"]
    assert idle.bodies == [
        "Nothing has been approved for 4 days, and 2 pictures wait for review: artbot review"
    ]


def test_0_days_mean_never(idle: Round) -> None:
    idle.days = 0
    assert days_of(idle, 5) == []


# Telling


def test_what_was_noted_and_not_told_is_told_by_the_next_worker_under_the_same_key(
    round_: Round,
) -> None:
    ready(round_.desk)
    note(round_.needs)
    keys = [n.key for n in notices(round_.desk.database)]
    again = Round(round_.desk)
    assert note(again.needs) == 0
    again.tell()
    assert [key for key, _ in again.ears["friends"].heard] == keys[:1]


def test_killed_between_telling_and_writing_it_down_it_is_told_again_under_the_same_key(
    round_: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == "notice.told":
            raise Killed

    ready(round_.desk)
    round_.is_operator_told = False
    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr("artbot.publishing.notices.failpoint", kill)
        round_.go()
    round_.go()
    (first, second) = round_.ears["friends"].heard
    assert first == second
    assert [n.state for n in notices(round_.desk.database)] == ["sent"]


def test_a_restored_database_tells_the_same_under_the_same_key(
    round_: Round,
) -> None:
    """The workplace keeps its id through a restore; the notice itself may be forgotten."""
    fail(round_.desk, REFUSED)
    round_.go()
    told = {n.recipient: n.key for n in notices(round_.desk.database)}
    with round_.desk.database.write() as session:
        session.query(Notice).delete()
    round_.go()
    assert {n.recipient: n.key for n in notices(round_.desk.database)} == told
    workplace_id = workplace_row(round_.desk.database).workplace_id
    (notice, _) = notices(round_.desk.database)
    assert notice.key == notice_key(workplace_id, notice.recipient, notice.kind, notice.subject)
    assert notice.key != notice_key("another", notice.recipient, notice.kind, notice.subject)
    assert notice.key.startswith("msg_")
    assert len(notice.key) == 36


def test_a_notice_that_fails_waits_by_the_schedule_and_its_recipients_others_with_it(
    round_: Round,
) -> None:
    ear = round_.ears["friends"]
    ready(round_.desk)
    paint(round_.desk.database, 20, at=NOON - timedelta(hours=1))
    round_.is_operator_told = False
    ear.failures = [BUSY, Unavailable("answered 429", retry_after_s=600), OutcomeUnknown("reset")]
    asked = []
    for wait_s in (0, 4, 2, 594, 10, 1800):
        round_.desk.clock.advance(seconds=wait_s)
        round_.go()
        asked.append(ear.num_asked)
    assert asked == [1, 1, 2, 2, 3, 5], "one of the two tries for both"
    assert [n.num_attempts for n in notices(round_.desk.database)] in ([4, 1], [1, 4])
    assert {n.state for n in notices(round_.desk.database)} == {"sent"}


def test_a_failed_notice_pauses_and_rests_no_channel(round_: Round) -> None:
    ear = round_.ears["friends"]
    ear.failures = [FORBIDDEN, *[BUSY] * 9]
    ready(round_.desk)
    for _ in range(9):
        round_.go()
        round_.desk.clock.advance(hours=6)
    with round_.desk.database.read() as session:
        assert session.query(ChannelStatus).all() == []


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (REFUSED, "given_up"),
        (GONE, "given_up"),
        (FORBIDDEN, "waiting"),
        (Rejected("answered 403", status=403), "waiting"),
        (BUSY, "waiting"),
        (OutcomeUnknown("no answer"), "waiting"),
    ],
)
def test_what_a_receiver_refuses_for_good_is_given_up_and_a_wrong_secret_may_be_mended(
    round_: Round, failure: DeliveryError, state: str
) -> None:
    ready(round_.desk)
    round_.is_operator_told = False
    round_.ears["friends"].failures = [failure]
    (fared,) = round_.go()
    (notice,) = notices(round_.desk.database)
    assert (fared.state, notice.state, notice.last_error) == (state, state, str(failure))
    assert (fared.next_at is None) == (state == "given_up")


def test_a_notice_is_given_up_when_it_is_news_no_longer(round_: Round) -> None:
    ready(round_.desk)
    round_.is_operator_told = False
    ear = round_.ears["friends"]
    ear.failures = [BUSY] * 99
    fared: list[NoticeFared] = []
    while not fared or fared[-1].state == NoticeState.WAITING:
        fared += round_.go()
        round_.desk.clock.advance(minutes=30)
        assert round_.desk.clock() < NOON + LASTS + timedelta(days=1)
    assert 8 <= ear.num_asked <= 10
    assert fared[-1].detail == "answered 503"
    ear.failures = []
    assert round_.go() == [], "given up for good"


def test_a_stopped_channel_is_told_nothing_until_it_is_resumed(round_: Round) -> None:
    desk = round_.desk
    round_.is_operator_told = False
    pause_channel(desk.database, "friends", BEN, NOON)
    ready(desk)
    round_.go()
    desk.clock.advance(days=2)
    round_.go()
    assert round_.ears["friends"].num_asked == 0
    resume_channel(desk.database, "friends", BEN, desk.clock())
    round_.go()
    assert len(round_.ears["friends"].heard) == 1


def test_and_what_is_older_than_three_days_by_then_is_not_told(round_: Round) -> None:
    desk = round_.desk
    round_.is_operator_told = False
    pause_channel(desk.database, "friends", BEN, NOON)
    ready(desk)
    round_.go()
    desk.clock.advance(days=3, seconds=1)
    (fared,) = round_.go()
    assert (fared.state, fared.detail) == ("given_up", "it is news no longer")
    resume_channel(desk.database, "friends", BEN, desk.clock())
    assert round_.go() == []


def test_a_channel_that_rests_is_left_in_peace(round_: Round) -> None:
    ready(round_.desk)
    round_.is_operator_told = False
    with round_.desk.database.write() as session:
        put(
            session,
            ChannelStatus(
                name="friends",
                state=ChannelState.ACTIVE,
                changed_at=NOON,
                num_failures=5,
                rests_until=NOON + timedelta(minutes=1),
            ),
        )
    assert round_.go() == []
    round_.desk.clock.advance(minutes=1)
    assert [one.state for one in round_.go()] == ["sent"]


def test_a_recipient_that_is_gone_from_artbot_toml_is_forgotten_in_time(round_: Round) -> None:
    ready(round_.desk)
    note(round_.needs)
    round_.ears = {}
    round_.is_operator_told = False
    assert round_.tell() == []
    round_.desk.clock.advance(days=4)
    assert [one.state for one in round_.tell()] == ["given_up"] * 2


def test_a_channel_whose_secret_cannot_be_read_is_tried_again(round_: Round) -> None:
    def unreadable() -> object:
        raise ConfigError("secret_file secrets/webhook cannot be read")

    ready(round_.desk)
    round_.is_operator_told = False
    needs = dataclasses.replace(round_.needs, channels={"friends": Subscriber(EVENTS, unreadable)})
    note(needs)
    fared: list[NoticeFared] = []
    tell_due(needs, fared.append, lambda: False)
    assert [(one.state, one.detail) for one in fared] == [
        ("waiting", "secret_file secrets/webhook cannot be read")
    ]


def test_a_fault_of_ours_in_one_recipient_does_not_hold_up_the_others(round_: Round) -> None:
    class Broken(Ear):
        def tell(self, message_id: str, event: BaseModel, now: datetime) -> Receipt:
            raise KeyError("oops")

    round_.ears = {"broken": Broken(), "friends": Ear()}
    ready(round_.desk)
    fared = round_.go()
    assert [(one.recipient, one.state) for one in fared] == [
        ("broken", "waiting"),
        ("friends", "sent"),
        (ALERTS, "sent"),
    ]
    assert fared[0].detail == "unexpected KeyError: 'oops'"


def test_who_is_the_worker_no_more_tells_nothing_more(round_: Round) -> None:
    def replaced() -> None:
        raise Fenced("another worker has taken over")

    round_.ears = {"friends": Ear(), "others": Ear()}
    ready(round_.desk)
    note(round_.needs)
    with pytest.raises(Fenced):
        tell_due(dataclasses.replace(round_.needs, alive=replaced), lambda _: None, lambda: False)
    assert round_.ears["friends"].num_asked + round_.ears["others"].num_asked == 1


def test_telling_stops_where_it_is_asked_to(round_: Round) -> None:
    round_.ears = {"friends": Ear(), "others": Ear()}
    ready(round_.desk)
    note(round_.needs)
    fared: list[NoticeFared] = []
    tell_due(round_.needs, fared.append, lambda: bool(fared))
    assert len(fared) == 1
    assert len(round_.tell()) == 2


def test_a_notice_that_a_clock_ahead_has_dated_is_told_now_and_given_up_in_time(
    round_: Round,
) -> None:
    ready(round_.desk)
    round_.is_operator_told = False
    round_.ears["friends"].failures = [BUSY] * 99
    note(round_.needs)
    with round_.desk.database.write() as session:
        notice = session.query(Notice).one()
        notice.created_at = notice.next_at = NOON + timedelta(days=365)
    (fared,) = round_.tell()
    assert fared.next_at == NOON + timedelta(seconds=5)
    round_.desk.clock.advance(days=4)
    assert [one.state for one in round_.tell()] == ["given_up"]


# To the operator


def test_the_operator_gets_one_message_about_all_that_is_due(round_: Round) -> None:
    round_.desk.recognises_for = None
    fail(round_.desk, REFUSED, count=7)
    round_.ears = {}
    fared = round_.go()
    assert [one.state for one in fared] == ["sent"] * 7
    (message,) = round_.telephone.messages
    assert message.title == "artbot: 7 things to know"
    assert message.body.count("was refused") == 5
    assert message.body.endswith("And 2 more: artbot status")


def test_one_address_that_takes_it_is_enough_and_the_others_are_complained_of(
    round_: Round,
) -> None:
    ready(round_.desk)
    round_.ears = {}
    round_.telephone.fares = [
        [Fared(1, "Telegram", True, ""), Fared(3, "Discord", False, "no answer within 30 s")]
    ]
    (fared,) = round_.go()
    assert (fared.state, fared.detail) == ("sent", "line 3 (Discord): no answer within 30 s")
    (notice,) = notices(round_.desk.database)
    assert notice.last_error == "line 3 (Discord): no answer within 30 s"
    assert round_.go() == []


def test_while_no_address_takes_it_the_operator_is_tried_again(round_: Round) -> None:
    ready(round_.desk)
    round_.ears = {}
    round_.telephone.fares = [
        [Fared(1, "Telegram", False, "error=401")],
        Unavailable("alerts.urls_file cannot be read"),
    ]
    (first,) = round_.go()
    round_.desk.clock.advance(seconds=5)
    (second,) = round_.go()
    round_.desk.clock.advance(minutes=5)
    (third,) = round_.go()
    assert [one.state for one in (first, second, third)] == ["waiting", "waiting", "sent"]
    assert first.detail == "line 1 (Telegram): error=401"


def test_the_newest_notices_are_listed_first(round_: Round) -> None:
    ready(round_.desk)
    round_.go()
    listed = list_notices(round_.desk.database, 1)
    assert [notice.recipient for notice in listed] == [ALERTS]


# The rule


@pytest.mark.parametrize(
    ("num_attempts", "hours_later", "waits_s"),
    [(1, 0, 5), (4, 0, 7200), (9, 0, 86400), (1, 71.9, 5), (3, 71.9, None), (20, 0, None)],
)
def test_when_it_is_tried_again(
    num_attempts: int, hours_later: float, waits_s: float | None
) -> None:
    now = NOON + timedelta(hours=hours_later)
    again = next_try(NOON, now, num_attempts, 0.0, None)
    assert again == (None if waits_s is None else now + timedelta(seconds=waits_s))


def test_a_receiver_that_asks_for_more_time_than_there_is_is_given_up() -> None:
    now = NOON + timedelta(days=2, hours=12)
    assert next_try(NOON, now, 1, 0.0, 3600) == now + timedelta(hours=1)
    assert next_try(NOON, now, 1, 0.0, 86_400) is None


# The table


@pytest.fixture
def before_0006(
    database_kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Path | str]:
    """A database of the fifth schema, in which much has happened."""
    where: Path | str = tmp_path / "artbot.sqlite3"
    name = ""
    if database_kind == "postgresql":
        server = request.getfixturevalue("postgresql")
        where = server.url(name := server.create())
    with closing(open_database(tmp_path / "source.sqlite3")) as source:
        fail(Desk(source, tmp_path / "works", SetClock()), REFUSED, count=3)
        write_as_of("0005", source, where)
    yield where
    if name:
        request.getfixturevalue("postgresql").drop(name)


def rows(database: Database, columns: dict[str, list[str]]) -> dict[str, list[object]]:
    with database.read() as session:
        return {
            name: sorted(
                map(repr, session.execute(select(*map(column, of_it)).select_from(table(name))))
            )
            for name, of_it in columns.items()
        }


def test_a_populated_database_of_the_fifth_schema_keeps_every_row_and_tells_from_now_on(
    before_0006: Path | str, tmp_path: Path
) -> None:
    engine = make_engine(database_url(before_0006))
    columns = {
        name: [str(found["name"]) for found in inspect(engine).get_columns(name)]
        for name in inspect(engine).get_table_names()
        if name not in ("transitions", "alembic_version")
    }
    with closing(Database(engine)) as old:
        before = rows(old, columns)
    with closing(open_database(before_0006)) as database:
        assert rows(database, columns) == before
        assert len(before["deliveries"]) == 3
        assert notices(database) == []
        round_ = Round(Desk(database, tmp_path / "works", SetClock()))
        assert [one.state for one in round_.go()] == ["sent"] * 6
        for change, refused in (
            ("state = 'waiting'", "no such move of a notice"),
            ("subject = 'another'", "the key of a notice never changes"),
        ):
            with pytest.raises(IntegrityError, match=refused), database.write() as session:
                session.execute(text(f"UPDATE notices SET {change}"))

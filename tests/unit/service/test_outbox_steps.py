"""A delivery in steps: looked for, prepared, committed. What each leaves in the database, and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from artbot.domain.delivery import LATE_EFFECT, NO_PROTECTION, Protection
from artbot.errors import (
    ClockDoubted,
    ConfigError,
    DeliveryError,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from artbot.publishing.channels import Outlet, Parcel, Post, Receipt, Sender
from artbot.publishing.interventions import resolve
from artbot.publishing.outbox import Outbox, Sent, deliver_due, recover_interrupted
from artbot.publishing.work import Work
from artbot.review.decisions import Words, approve, undo
from db.models import Delivery
from tests.unit.service.kit import ANNA, BEN, Desk, attempts, deliveries

LOOKS = Protection(looks=True)
SEEN = "https://studio.example/works/1"


class PowerCut(BaseException):
    pass


@dataclass
class Gallery(Sender):
    """A receiver that takes a picture first and shows it when told to; what was asked of it stays."""

    desk: Desk
    on: dict[str, list[BaseException | None]] = field(default_factory=dict)
    """What a step raises, one after the other: `prepare`, `commit`, `answer` (it acted, then this)."""
    asked: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)

    def compose(self, work: Work) -> Post:
        self._meet("compose")
        return Post(work.title, work.alt, work.picture)

    def prepare(self, parcel: Parcel, now: datetime) -> None:
        self._meet("prepare")
        if parcel.handles.get("picture") is None:
            self.uploads.append(f"picture-{len(self.uploads) + 1}")
            parcel.handles.keep(picture=self.uploads[-1])
        self._meet("prepared")

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        self._meet("commit")
        (attempt,) = attempts(self.desk.database)[-1:]
        assert attempt.committing_at is not None, "written down before anything is public"
        kept = deliveries(self.desk.database)[0].handles
        assert kept is not None
        assert kept["picture"] == parcel.handles.get("picture")
        self.shown.append(kept["picture"])
        self._meet("answer")
        return Receipt(200, "shown", url=SEEN)

    def reconcile(self, parcel: Parcel, now: datetime) -> Receipt | None:
        self._meet("reconcile")
        if parcel.handles.get("picture") in self.shown:
            return Receipt(200, "found", url=SEEN)
        return None

    def _meet(self, step: str) -> None:
        if step not in ("prepared", "answer"):
            self.asked.append(step)
        fates = self.on.get(step, [])
        if fates and (fate := fates.pop(0)) is not None:
            raise fate


def outbox_to(gallery: Gallery, protection: Protection = NO_PROTECTION) -> Outbox:
    outlet = Outlet(gallery.compose, lambda: gallery, protection)
    return replace(gallery.desk.outbox_to(gallery), outlets={"studio": outlet})


def send(gallery: Gallery, protection: Protection = NO_PROTECTION) -> list[Sent]:
    sent: list[Sent] = []
    deliver_due(outbox_to(gallery, protection), sent.append, lambda: False)
    return sent


def recover(gallery: Gallery, protection: Protection = NO_PROTECTION) -> None:
    desk = gallery.desk
    assert recover_interrupted(desk.database, {"studio": protection}, desk.clock()) == 1


def the_delivery(desk: Desk) -> Delivery:
    (delivery,) = deliveries(desk.database)
    return delivery


@pytest.fixture
def gallery(desk: Desk) -> Gallery:
    desk.approve_one()
    return Gallery(desk)


def test_a_work_is_composed_prepared_and_shown_in_this_order(gallery: Gallery) -> None:
    (sent,) = send(gallery)
    assert sent.state == "delivered"
    assert gallery.asked == ["compose", "prepare", "commit"]
    assert the_delivery(gallery.desk).remote_url == SEEN


@pytest.mark.parametrize("step", ["prepare", "prepared"])
def test_an_outcome_that_is_unknown_while_preparing_showed_nothing(
    gallery: Gallery, step: str
) -> None:
    """Nobody need look, even where a repetition would be a second post."""
    gallery.on = {step: [OutcomeUnknown("no answer")]}
    (sent,) = send(gallery)
    assert sent.state == "retry_wait"
    assert [a.outcome for a in attempts(gallery.desk.database)] == ["unavailable"]
    gallery.desk.clock.advance(seconds=5)
    assert [one.state for one in send(gallery)] == ["delivered"]
    assert len(gallery.shown) == 1


def test_killed_while_preparing_it_showed_nothing_either(gallery: Gallery) -> None:
    gallery.on = {"prepared": [PowerCut()]}
    with pytest.raises(PowerCut):
        send(gallery)
    recover(gallery)
    assert the_delivery(gallery.desk).state == "retry_wait"
    (attempt,) = attempts(gallery.desk.database)
    assert (attempt.outcome, attempt.detail) == (
        "unavailable",
        "artbot was ended before anything was shown",
    )
    assert [one.state for one in send(gallery)] == ["delivered"]
    assert gallery.uploads == ["picture-1"], "what was uploaded is used, not uploaded again"


@pytest.mark.parametrize("step", ["commit", "answer"])
def test_killed_while_committing_a_person_is_asked_where_nobody_can_look(
    gallery: Gallery, step: str
) -> None:
    gallery.on = {step: [PowerCut()]}
    with pytest.raises(PowerCut):
        send(gallery)
    recover(gallery)
    gallery.desk.clock.advance(days=1)
    assert send(gallery) == []
    assert the_delivery(gallery.desk).state == "uncertain"


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer"), ValueError("a fault of ours")])
def test_where_the_channel_can_look_it_looks_and_finds_what_was_shown(
    gallery: Gallery, error: Exception
) -> None:
    gallery.on = {"answer": [error]}
    (sent,) = send(gallery, LOOKS)
    assert sent.state == "retry_wait"
    gallery.desk.clock.advance(seconds=5)
    (sent,) = send(gallery, LOOKS)
    assert (sent.state, sent.detail) == ("delivered", "found")
    assert gallery.asked[-1] == "reconcile"
    assert len(gallery.shown) == 1
    assert the_delivery(gallery.desk).remote_url == SEEN


def test_what_is_not_there_is_shown_again_only_when_no_earlier_attempt_can_come_late(
    gallery: Gallery,
) -> None:
    gallery.on = {"commit": [OutcomeUnknown("no answer")]}
    send(gallery, LOOKS)
    desk = gallery.desk
    desk.clock.advance(seconds=5)
    (sent,) = send(gallery, LOOKS)
    assert "may yet take effect" in sent.detail
    assert sent.next_at is not None
    assert sent.next_at - desk.clock() == LATE_EFFECT - timedelta(seconds=5)
    desk.clock.now = sent.next_at
    (sent,) = send(gallery, LOOKS)
    assert sent.state == "delivered"
    assert gallery.shown == ["picture-1"]


def test_where_it_is_recognised_as_well_it_is_not_waited_for(gallery: Gallery) -> None:
    gallery.on = {"commit": [OutcomeUnknown("no answer")]}
    for_an_hour = Protection(timedelta(hours=1), looks=True)
    send(gallery, for_an_hour)
    gallery.desk.clock.advance(seconds=5)
    assert [one.state for one in send(gallery, for_an_hour)] == ["delivered"]
    assert gallery.asked[-3:] == ["reconcile", "prepare", "commit"]


def test_who_cannot_look_now_shows_nothing_now(gallery: Gallery) -> None:
    gallery.on = {"answer": [OutcomeUnknown("")], "reconcile": [OutcomeUnknown("garbage")] * 3}
    send(gallery, LOOKS)
    for _ in range(3):
        gallery.desk.clock.advance(days=1)
        assert [one.state for one in send(gallery, LOOKS)] == ["retry_wait"]
    gallery.desk.clock.advance(days=1)
    assert [one.state for one in send(gallery, LOOKS)] == ["delivered"]
    assert len(gallery.shown) == 1


@pytest.mark.parametrize("step", ["compose", "prepare", "reconcile"])
@pytest.mark.parametrize("error", [Rejected("too large", status=413), Unavailable("not now")])
def test_a_refusal_at_any_step_is_told_as_such(
    gallery: Gallery, step: str, error: DeliveryError
) -> None:
    if step == "reconcile":
        gallery.on = {"commit": [OutcomeUnknown("no answer")]}
        send(gallery, LOOKS)
        gallery.desk.clock.advance(seconds=5)
    gallery.on = {step: [error]}
    (sent,) = send(gallery, LOOKS)
    assert sent.state == ("failed" if isinstance(error, Rejected) else "retry_wait")
    assert gallery.shown == []


def test_a_fault_of_ours_while_composing_holds_up_nobody_else(gallery: Gallery) -> None:
    gallery.on = {"compose": [ValueError("a fault of ours")]}
    (sent,) = send(gallery)
    assert (sent.state, sent.detail) == ("failed", "unexpected ValueError: a fault of ours")


def test_what_was_prepared_for_other_words_is_not_used(gallery: Gallery) -> None:
    gallery.on = {"prepared": [Unavailable("not now")]}
    send(gallery)
    desk = gallery.desk
    undo(desk.review, 1, ANNA)
    approve(desk.review, 1, ANNA, Words(alt="Other words"))
    assert [one.state for one in send(gallery)] == ["delivered"]
    assert gallery.shown == ["picture-2"]


def test_after_a_person_found_nothing_it_is_not_looked_for_again(gallery: Gallery) -> None:
    gallery.on = {"commit": [OutcomeUnknown("no answer")]}
    send(gallery)
    desk = gallery.desk
    desk.clock.advance(minutes=20)
    resolve(desk.database, 1, False, None, BEN, desk.clock())
    assert [one.state for one in send(gallery, LOOKS)] == ["delivered"]
    assert "reconcile" not in gallery.asked


def test_between_two_steps_the_worker_says_that_it_lives_and_may_learn_that_it_must_end(
    gallery: Gallery,
) -> None:
    def alive() -> None:
        raise ClockDoubted("the clock went back")

    outbox = replace(outbox_to(gallery), alive=alive)
    with pytest.raises(ClockDoubted):
        deliver_due(outbox, lambda _: None, lambda: False)
    assert gallery.shown == []
    assert [a.outcome for a in attempts(gallery.desk.database)] == ["unavailable"]
    assert [one.state for one in send(gallery)] == []
    gallery.desk.clock.advance(seconds=5)
    assert [one.state for one in send(gallery)] == ["delivered"]


def _put_back(desk: Desk) -> None:
    with desk.database.write() as session:
        for attempt in attempts(desk.database):
            session.merge(attempt).outcome = "unknown"


def _forgotten(desk: Desk) -> None:
    with desk.database.write() as session:
        session.get_one(Delivery, 1).state = "retry_wait"


@pytest.mark.parametrize("change", [_put_back, _forgotten])
def test_a_database_put_back_while_it_prepares_ends_the_worker_before_anything_is_shown(
    gallery: Gallery, change: Callable[[Desk], None]
) -> None:
    from db.engine import DatabaseUnusable

    outbox = replace(outbox_to(gallery), alive=lambda: change(gallery.desk))
    with pytest.raises(DatabaseUnusable, match="was put back"):
        deliver_due(outbox, lambda _: None, lambda: False)
    assert gallery.shown == []


def test_a_secret_that_is_spoilt_meanwhile_makes_the_work_wait(gallery: Gallery) -> None:
    """It is mended in a file; the next attempt finds it as it is then."""

    def spoilt() -> Sender:
        raise ConfigError("channels.studio: the secret file is empty")

    outbox = outbox_to(gallery)
    broken = replace(outbox.outlets["studio"], open=spoilt)
    sent: list[Sent] = []
    deliver_due(replace(outbox, outlets={"studio": broken}), sent.append, lambda: False)
    assert [(one.state, one.detail) for one in sent] == [
        ("retry_wait", "not sent: channels.studio: the secret file is empty")
    ]
    gallery.desk.clock.advance(seconds=5)
    assert [one.state for one in send(gallery)] == ["delivered"]

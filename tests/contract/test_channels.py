"""What every channel promises, held against its peer: shown once, as composed, whatever happens on the way.

For a channel without protection: at most once by itself, and a person is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from artbot.config import Settings
from artbot.domain.delivery import WAITING, DeliveryState
from artbot.publishing import http
from artbot.publishing.channels import Channel, Outlet, channel_kinds, outlets
from artbot.publishing.outbox import Outbox, deliver_due, recover_interrupted
from artbot.publishing.work import approved_work
from artbot.review.decisions import Words, approve
from db.engine import open_database
from db.models import Candidate, ChannelStatus, Delivery
from tests.contract.peers import Peer, Running, Seen, peers
from tests.contract.peers.proxy import Fault, Proxy, Request, proxy_to
from tests.unit.service.kit import ANNA, Desk, SetClock, a_work, add_works, deliveries

CHANNEL = "studio"
ROUNDS = 40
NUM_WORKS = 20
WORDS = Words(
    title="No. 3",
    caption="Größe, 花 & <b>tulips</b> 🌷",
    alt='Red "tulips" in a blue vase, 花',
    hashtags="flowers generativeart",
    language="en",
)


class PowerCut(BaseException):
    pass


@dataclass
class Stage:
    """A peer behind a proxy, and a desk that sends to it."""

    peer: Peer
    running: Running
    proxy: Proxy
    kind: Channel
    desk: Desk
    settings: Settings
    root: Path
    works: list[int]
    """Not approved yet."""

    @property
    def outlet(self) -> Outlet:
        return outlets(self.settings)[CHANNEL]

    @property
    def outbox(self) -> Outbox:
        outbox = self.desk.outbox("http://127.0.0.1:1/")
        return replace(outbox, outlets={CHANNEL: self.outlet})

    def approve(self) -> Seen:
        """Another work; how the public should see it."""
        work = self.works.pop(0)
        approve(self.desk.review, work, ANNA, replace(WORDS, title=f"No. {work}"))
        with self.desk.database.read() as session:
            approved = approved_work(session.get_one(Candidate, work), self.desk.works)
            return self.peer.sees(self.outlet.compose(approved))

    def deliver(self) -> DeliveryState:
        """Until nothing waits any more; how the newest delivery stands then."""
        for _ in range(ROUNDS):
            deliver_due(self.outbox, lambda _: None, lambda: False)
            if not self.pass_time():
                break
        return DeliveryState(deliveries(self.desk.database)[-1].state)

    def pass_time(self) -> bool:
        """To when the next is due; False if nothing waits."""
        with self.desk.database.read() as session:
            waiting = [d.next_at for d in session.query(Delivery) if d.state in WAITING]
            standing = session.get(ChannelStatus, CHANNEL)
            rests = standing.rests_until if standing else None
        if not waiting:
            return False
        clock = self.desk.clock
        clock.now = max(clock.now, min(waiting), rests or clock.now)
        return True

    def recover(self) -> None:
        protections = {CHANNEL: self.kind.protection}
        recover_interrupted(self.desk.database, protections, self.desk.clock())

    def disturb(self, fault_of: Callable[[int, Request], Fault | None]) -> None:
        """From now on, counting from 0 again."""
        self.proxy.requests.clear()
        self.proxy.fault_of = fault_of

    def seen(self) -> list[Seen]:
        return self.running.posts()


@pytest.fixture(scope="module", params=peers(), ids=lambda peer: peer.kind)
def receiver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Peer, Running]]:
    peer: Peer = request.param
    with peer.run(tmp_path_factory.mktemp("peer")) as running:
        yield peer, running


@pytest.fixture
def stage(
    receiver: tuple[Peer, Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 1.0)
    monkeypatch.setattr(http, "DEADLINE_S", 2.0)
    with staged(*receiver, tmp_path) as made:
        yield made


@contextmanager
def staged(peer: Peer, running: Running, folder: Path) -> Iterator[Stage]:
    kind = channel_kinds()[peer.kind]
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_to(running.url))
        database = stack.enter_context(closing(open_database(folder / "artbot.sqlite3")))
        desk = Desk(database, folder / "works", SetClock(datetime.now(UTC)), (CHANNEL,))
        tables = {CHANNEL: running.table(proxy.url, folder), **peer.others(running, folder)}
        channels = {
            name: channel_kinds()[table["type"]].settings_model.model_validate(table)
            for name, table in tables.items()
        }
        settings = Settings(channels=channels, root=folder)
        works = add_works(database, desk.works, NUM_WORKS)
        yield Stage(peer, running, proxy, kind, desk, settings, folder, works)


def test_every_channel_has_a_peer() -> None:
    assert {peer.kind for peer in peers()} == set(channel_kinds())


def test_a_work_is_shown_once_as_it_was_composed(stage: Stage) -> None:
    before = stage.seen()
    expected = stage.approve()
    assert stage.deliver() == "delivered"
    assert stage.seen() == [*before, expected]


def test_the_public_act_is_one_request(stage: Stage) -> None:
    """What `Peer.is_commit` names, and nothing else, shows the work."""
    stage.approve()
    stage.deliver()
    commits = [r for r in stage.proxy.requests if stage.peer.is_commit(r.method, r.path)]
    assert len(commits) == 1


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_whatever_becomes_of_one_request_the_work_is_shown_once(stage: Stage, fault: Fault) -> None:
    """Each request of the way in turn. Where nobody can know and nobody can look, a person is asked."""
    stage.approve()
    stage.deliver()
    for number in range(len(stage.proxy.requests)):
        before = stage.seen()
        expected = stage.approve()
        stage.disturb(lambda n, _, at=number: fault if n == at else None)
        state = stage.deliver()
        new = stage.seen()[len(before) :]
        hit = stage.proxy.requests[number]
        if state == "uncertain":
            assert not _is_protected(stage)
            assert stage.peer.is_commit(hit.method, hit.path), f"{fault} at {hit.method} {hit.path}"
            assert len(new) <= 1
        else:
            assert (state, new) == ("delivered", [expected]), f"{fault} at {hit.method} {hit.path}"


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_request_the_work_is_shown_once(
    stage: Stage, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.approve()
    stage.deliver()
    ask = http.Door.request
    for number in range(len(stage.proxy.requests)):
        stage.disturb(lambda n, _: None)
        before = stage.seen()
        expected = stage.approve()

        def dies(door: http.Door, *args: Any, at: int = number, **more: Any) -> http.Answer:
            if when == "before" and len(stage.proxy.requests) == at:
                raise PowerCut
            try:
                return ask(door, *args, **more)
            finally:
                if when == "after" and len(stage.proxy.requests) == at + 1:
                    raise PowerCut

        with monkeypatch.context() as patch:
            patch.setattr(http.Door, "request", dies)
            with pytest.raises(PowerCut):
                deliver_due(stage.outbox, lambda _: None, lambda: False)
        stage.recover()
        state = stage.deliver()
        new = stage.seen()[len(before) :]
        if state == "uncertain":
            assert not _is_protected(stage)
            assert len(new) <= 1
        else:
            assert (state, new) == ("delivered", [expected])


def test_what_goes_wrong_for_days_is_shown_once_in_the_end(stage: Stage) -> None:
    """The peer acts every time and is never heard. Without protection a person is asked after the first."""
    before = stage.seen()
    expected = stage.approve()
    is_commit = stage.peer.is_commit
    stage.disturb(lambda n, r: Fault.DROP_ANSWER if n < 6 and is_commit(r.method, r.path) else None)
    assert stage.deliver() == ("delivered" if _is_protected(stage) else "uncertain")
    assert stage.seen() == [*before, expected]


def test_its_credentials_are_proved_without_showing_anything(stage: Stage) -> None:
    before = stage.seen()
    sender, now = stage.outlet.open(), stage.desk.clock()
    assert sender.check(now)
    assert sender.test(now)
    sender.remarks(now)
    assert stage.seen() == before


def test_the_secret_is_in_no_url_that_is_logged_and_in_no_row(stage: Stage) -> None:
    stage.approve()
    stage.disturb(lambda n, r: Fault.ERROR_AFTER)
    deliver_due(stage.outbox, lambda _: None, lambda: False)
    secret = (stage.root / "secret").read_text().strip()
    with stage.desk.database.read() as session:
        rows = [
            (d.last_error, d.handles, [a.detail for a in d.attempts])
            for d in session.query(Delivery)
        ]
    assert secret not in str(rows)


@pytest.mark.parametrize(
    ("table", "shows"),
    [
        ({"type": "bluesky", "account": "painter.example.org"}, {"language"}),
        ({"type": "discord"}, set()),
        ({"type": "gallery", "url": "https://a.example.org"}, {"title", "hashtags", "language"}),
        ({"type": "instagram", "picture_from": "gallery"}, set()),
        ({"type": "mastodon", "url": "https://a.example.org"}, {"language"}),
        ({"type": "matrix", "url": "https://a.example.org", "room": "!a:example.org"}, set()),
        ({"type": "s3", "bucket": "art", "access_key_id": "A"}, {"title", "hashtags", "language"}),
        ({"type": "slack", "channel": "C0123456789"}, {"title"}),
        ({"type": "telegram", "chat": "@paintings"}, set()),
        ({"type": "tumblr", "blog": "paintings"}, {"hashtags"}),
    ],
    ids=lambda given: given["type"] if isinstance(given, dict) else "",
)
def test_what_a_channel_shows_beside_the_text_makes_another_post(
    table: dict[str, Any], shows: set[str]
) -> None:
    """So that an upload that was made for other words is not used. Every channel shows a content warning."""
    kind = channel_kinds()[table["type"]]
    where = {"path": "site"} if kind.name == "gallery" else {"secret_env": "X"}
    settings = kind.settings_model.model_validate({"text": "{caption}", **table, **where})
    painted = a_work()
    work = replace(painted, public_picture=replace(painted.picture, url="https://a.example.org/p"))
    post = kind.compose(settings, work)
    for name, value in (
        ("title", "No. 4"),
        ("hashtags", ("art",)),
        ("language", "de"),
        ("warning", "Flashing colours"),
    ):
        composed = kind.compose(settings, replace(work, **{name: value}))
        other = replace(composed, picture=post.picture)  # whose file names title and language too
        assert (other.sha256 != post.sha256) == (name in {*shows, "warning"}), name


def _is_protected(stage: Stage) -> bool:
    protection = stage.kind.protection
    return protection.looks or protection.recognises_for is not None

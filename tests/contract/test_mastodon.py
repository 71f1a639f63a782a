"""What is Mastodon's own: pictures that are processed, ids that are attached once, looking for what was posted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Handles, Outlet, Parcel
from artbot.publishing.channels import mastodon as channel
from artbot.publishing.channels.mastodon import MastodonSender, MastodonSettings, compose
from artbot.publishing.outbox import deliver_due
from artbot.publishing.work import Work
from artbot.review.decisions import Words, approve
from db.engine import open_database
from tests.contract.peers.fediverse import ME, TOKEN, Fediverse, Manner, Media
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Part, Response, as_json, serving
from tests.unit.service import kit
from tests.unit.service.kit import NOON, SetClock, a_work


@dataclass
class Desk:
    """A sender and what it did."""

    server: Fediverse
    settings: MastodonSettings
    work: Work = field(default_factory=a_work)
    token: str = TOKEN
    kept: dict[str, str] = field(default_factory=dict)
    """What is in the database."""
    slept: list[float] = field(default_factory=list)
    signs_of_life: int = 0

    @property
    def sender(self) -> MastodonSender:
        return MastodonSender(self.token, self.settings, self.slept.append)

    @property
    def parcel(self) -> Parcel:
        handles = Handles(dict(self.kept), self.kept.update)
        post = compose(self.settings, self.work)
        return Parcel("msg_1", self.work, post, handles, self._live)

    def _live(self) -> None:
        self.signs_of_life += 1

    def prepare(self) -> None:
        self.sender.prepare(self.parcel, NOON)

    def post(self) -> dict[str, Any]:
        """One whole attempt; the status."""
        self.prepare()
        self.sender.commit(self.parcel, NOON)
        return self.server.statuses[-1]

    def look(self) -> str | None:
        found = self.sender.reconcile(self.parcel, NOON)
        return found and found.url


@pytest.fixture(params=[Manner.MASTODON])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    server = Fediverse(request.param)
    channel.known_limits.clear()
    with serving(lambda said: server.answer(said)) as server.url:
        table = server.table(server.url, tmp_path)
        yield Desk(server, MastodonSettings.model_validate(table))


def test_what_is_told_of_a_work(desk: Desk) -> None:
    desk.settings = desk.settings.model_copy(update={"visibility": "unlisted"})
    desk.work = replace(a_work(), warning="Flashing colours", language="pt-BR")
    assert desk.post()["said"] == {
        "status": "No. 3\n\nAfter the rain\n\n#flowers #generativeart",
        "media_ids": ["1000"],
        "visibility": "unlisted",
        "sensitive": True,
        "spoiler_text": "Flashing colours",
        "language": "pt-BR",
    }
    assert desk.server.media["1000"].description == "Red and white flowers in a blue vase"
    assert list(desk.server.keys) == ["msg_1"]


def test_the_status_has_an_address(desk: Desk) -> None:
    desk.prepare()
    receipt = desk.sender.commit(desk.parcel, NOON)
    assert receipt.url == f"{desk.server.url}/@painter/1"


class TestProcessing:
    def test_a_picture_is_waited_for_while_artbot_lives(self, desk: Desk) -> None:
        desk.server.looks_until_processed = 4
        desk.post()
        assert desk.slept == [1, 1, 2]
        assert desk.signs_of_life > 2 * len(desk.slept)

    def test_one_that_takes_too_long_is_taken_up_again_not_uploaded_again(self, desk: Desk) -> None:
        desk.server.looks_until_processed = 12
        with pytest.raises(Unavailable, match="still processing"):
            desk.prepare()
        assert sum(desk.slept) < 60  # a fraction of what one attempt may take
        assert desk.post()["media"] == "1000"
        assert len(desk.server.media) == 1

    def test_a_status_that_is_refused_for_it_was_certainly_not_posted(self, desk: Desk) -> None:
        desk.prepare()
        desk.server.media["1000"].looks_until_processed = 2
        with pytest.raises(Unavailable, match="still processing"):
            desk.sender.commit(desk.parcel, NOON)
        desk.post()
        assert len(desk.server.statuses) == 1


class TestAttached:
    """A picture goes with one status: Mastodon since 4.3 says 422 to a second one, in the account's language."""

    def test_refused_because_it_is_attached_means_look(self, desk: Desk) -> None:
        desk.post()
        desk.server.keys.clear()  # an hour later
        with pytest.raises(OutcomeUnknown, match="bereits"):
            desk.sender.commit(desk.parcel, NOON)
        assert desk.look() == f"{desk.server.url}/@painter/1"

    def test_it_is_not_uploaded_again_when_it_turns_out_to_be_posted(self, desk: Desk) -> None:
        desk.post()
        with pytest.raises(Unavailable, match=r"posted already, .*/@painter/1"):
            desk.prepare()
        assert len(desk.server.media) == 1

    def test_one_that_the_server_forgot_is_uploaded_anew(self, desk: Desk) -> None:
        desk.prepare()
        desk.server.media["1000"] = replace(desk.server.media["1000"], is_attached=True)
        assert desk.post()["media"] == "1001"

    def test_every_id_it_had_is_looked_for(self, desk: Desk) -> None:
        desk.prepare()
        earlier = desk.parcel
        desk.server.media["1000"].is_attached = True
        desk.prepare()
        desk.server.media["1000"].is_attached = False
        desk.sender.commit(earlier, NOON)  # it came through late
        assert desk.look() == f"{desk.server.url}/@painter/1"

    def test_another_account_uploads_its_own(self, desk: Desk) -> None:
        """The token was exchanged before anything was posted."""
        desk.prepare()
        desk.kept["account"] = "7"
        del desk.server.media["1000"]
        desk.server.media["2"] = desk.server.media["1"] = Media(Part(b"", None, ""), "", 0)
        assert desk.post()["media"] == "1002"
        assert desk.kept["account"] == ME

    def test_other_words_are_uploaded_with_the_picture(self, desk: Desk) -> None:
        desk.prepare()
        desk.work = replace(desk.work, alt="A blue vase")
        assert desk.server.media[desk.post()["media"]].description == "A blue vase"


@pytest.mark.parametrize("desk", [Manner.PIXELFED], indirect=True)
def test_at_pixelfed_a_key_that_was_used_means_look(desk: Desk) -> None:
    desk.post()
    with pytest.raises(OutcomeUnknown, match="Duplicate"):
        desk.sender.commit(desk.parcel, NOON)
    assert desk.look() == f"{desk.server.url}/@painter/1"


@pytest.mark.parametrize("desk", [Manner.SNAC], indirect=True)
def test_where_a_picture_gets_another_id_in_its_status_its_address_is_looked_for(
    desk: Desk,
) -> None:
    desk.post()
    assert desk.look() == f"{desk.server.url}/@painter/1"


class TestLooking:
    def others(self, desk: Desk, num: int, age: timedelta = timedelta()) -> None:
        """Statuses that the account has besides."""
        desk.server.media["1"] = desk.server.media["1000"]
        for _ in range(num):
            number = str(len(desk.server.statuses) + 1)
            first = desk.server.statuses[0]
            at = datetime.fromisoformat(first["created_at"]) - age
            desk.server.statuses.append(
                {**first, "id": number, "media": "1", "created_at": at.isoformat()}
            )

    def test_pages_back_to_before_the_first_attempt(self, desk: Desk) -> None:
        desk.post()
        self.others(desk, 100)
        assert desk.look() == f"{desk.server.url}/@painter/1"

    def test_what_is_not_there_is_not_there(self, desk: Desk) -> None:
        desk.post()
        self.others(desk, 100)
        desk.server.statuses[0]["media"] = "1"
        assert desk.look() is None

    def test_nothing_older_than_the_upload_is_asked_for(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.post()
        self.others(desk, 100, age=timedelta(minutes=6))
        desk.server.statuses = desk.server.statuses[1:]
        monkeypatch.setattr(channel, "MAX_PAGES", 1)
        assert desk.look() is None

    def test_too_many_later_ones_leave_it_unknown(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.post()
        self.others(desk, 100)
        monkeypatch.setattr(channel, "MAX_PAGES", 2)
        with pytest.raises(OutcomeUnknown, match="last 80 statuses"):
            desk.look()

    def test_a_server_that_does_not_page_leaves_it_unknown(self, desk: Desk) -> None:
        desk.post()
        self.others(desk, 41)
        listed = desk.server._listed
        desk.server._listed = lambda query: listed({})
        with pytest.raises(OutcomeUnknown, match="same statuses again"):
            desk.look()

    def test_a_server_that_lists_nothing_leaves_it_unknown(self, desk: Desk) -> None:
        desk.post()
        desk.server._listed = lambda query: []
        with pytest.raises(OutcomeUnknown, match="lists no status"):
            desk.look()

    def test_another_accounts_token_leaves_it_unknown(self, desk: Desk) -> None:
        desk.post()
        desk.kept["account"] = "7"
        with pytest.raises(OutcomeUnknown, match="@painter's"):
            desk.look()

    def test_without_what_was_uploaded_nothing_can_be_said(self, desk: Desk) -> None:
        desk.post()
        desk.kept.clear()
        with pytest.raises(OutcomeUnknown, match="not in the database"):
            desk.look()

    def test_a_list_of_nonsense_leaves_it_unknown(self, desk: Desk) -> None:
        desk.post()
        desk.server._listed = lambda query: [{"id": "1"}]
        with pytest.raises(OutcomeUnknown, match="no status"):
            desk.look()


class TestLimits:
    def test_the_servers_own_name_the_key_to_set(self, desk: Desk) -> None:
        desk.server.max_chars = 20
        with pytest.raises(Rejected, match=r"has 46 characters.* takes 20: say max_chars = 20"):
            desk.prepare()
        assert not desk.server.media

    def test_are_asked_for_once_a_day(self, desk: Desk) -> None:
        asked: list[Request] = []
        answer = desk.server.answer
        desk.server.answer = lambda said: asked.append(said) or answer(said)
        for hours in (0, 1, 23, 25):
            desk.sender.prepare(desk.parcel, NOON + timedelta(hours=hours))
        assert [r.path for r in asked].count("/api/v2/instance") == 2

    def test_where_the_server_tells_none_the_tables_own_hold(self, desk: Desk) -> None:
        desk.server._instance = lambda: {"configuration": {"statuses": []}}
        desk.post()

    def test_a_picture_of_too_many_pixels(self, desk: Desk) -> None:
        picture = replace(desk.work.picture, width_px=8_000, height_px=8_000)
        desk.work = replace(desk.work, picture=picture)
        with pytest.raises(Rejected, match="64,000,000"):
            desk.prepare()

    def test_a_link_counts_as_23(self, desk: Desk) -> None:
        link = f"https://example.org/{'x' * 600}"
        assert link in compose(desk.settings, replace(a_work(), caption=link)).text

    def test_the_warning_counts_with_the_text(self, desk: Desk) -> None:
        work = replace(a_work(), warning="W" * 460)
        with pytest.raises(Rejected, match="together with the content warning has 506"):
            compose(desk.settings, work)

    def test_what_the_server_refuses_by_itself_is_refused_for_good(self, desk: Desk) -> None:
        desk.prepare()
        desk.server.max_chars = 20
        with pytest.raises(Rejected, match="zu lang"):
            desk.sender.commit(desk.parcel, NOON)


def test_too_many_requests_say_until_when(desk: Desk) -> None:
    """X-RateLimit-Reset is a time, by the server's clock; there is no Retry-After."""

    def answer(said: Request) -> Response:
        return as_json(
            429,
            {"error": "Too many requests"},
            X_RateLimit_Reset="2026-11-20T12:05:00.000000Z",
            Date="Fri, 20 Nov 2026 12:00:30 GMT",
        )

    desk.server.answer = answer
    with pytest.raises(Unavailable) as refused:
        desk.prepare()
    assert refused.value.retry_after_s == 270


def test_a_wrong_token_says_what_is_needed(desk: Desk) -> None:
    desk.token = "wrong-token"
    with pytest.raises(Rejected, match="write:statuses") as refused:
        desk.prepare()
    assert refused.value.status == 401


class TestChecking:
    def test_says_whose_account_it_is_and_that_it_should_be_marked(self, desk: Desk) -> None:
        assert desk.sender.check(NOON) == f"posts as @painter, {desk.server.url}/@painter"
        (remark,) = desk.sender.remarks(NOON)
        assert 'tick "This is an automated account" in Preferences, Public profile' in remark
        desk.server.bot = True
        assert desk.sender.remarks(NOON) == []

    def test_asks_for_no_mark_where_there_is_none(self, desk: Desk) -> None:
        desk.server.version = "3.5.3 (compatible; Pixelfed 0.12.5)"
        assert desk.sender.remarks(NOON) == []

    def test_compares_the_table_with_the_server(self, desk: Desk) -> None:
        desk.server.bot, desk.server.max_chars = True, 300
        (remark,) = desk.sender.remarks(NOON)
        assert remark.endswith("write max_chars = 300")


def test_a_request_that_takes_effect_late_is_not_repeated_where_keys_are_unknown(
    tmp_path: Path,
) -> None:
    """Looked for too early, it is not there. That alone must not be a reason to post again."""
    server = Fediverse(Manner.SNAC)
    late: list[Request] = []

    def answer(request: Request) -> Response:
        if request.path == "/api/v1/statuses" and not late:
            late.append(request)
            return Response(504)
        return server.answer(request)

    with (
        serving(answer) as server.url,
        closing(open_database(tmp_path / "artbot.sqlite3")) as database,
    ):
        clock = SetClock(datetime.now(UTC))
        desk = kit.Desk(database, tmp_path / "works", clock, ("fediverse",))
        settings = MastodonSettings.model_validate(server.table(server.url, tmp_path))
        outlet = Outlet(
            partial(compose, settings),
            partial(channel.CHANNEL.open, settings, tmp_path),
            channel.CHANNEL.protection,
        )
        outbox = replace(desk.outbox("http://127.0.0.1:1/"), outlets={"fediverse": outlet})
        (work,) = kit.add_works(database, desk.works)
        approve(desk.review, work, kit.ANNA, Words(title="No. 1", alt="A vase"))

        def deliver() -> kit.Delivery:
            clock.now = kit.deliveries(database)[0].next_at
            deliver_due(outbox, lambda _: None, lambda: False)
            return kit.deliveries(database)[0]

        assert deliver().state == "retry_wait"
        looked = deliver()
        assert looked.state == "retry_wait"
        assert "may yet take effect" in (looked.last_error or "")
        server.answer(late[0])
        posted = deliver()
    assert posted.state == "delivered"
    assert posted.remote_url == f"{server.url}/@painter/1"
    assert len(server.statuses) == 1


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"url": "mastodon.example"}, "no web address"),
        ({"url": "https://user:word@mastodon.example"}, "user name or password"),
        ({"url": "https://mastodon.example/@painter"}, "more than a server's address"),
        ({"url": "http://mastodon.example"}, "not encrypted"),
        ({"url": "https://10.0.0.7"}, "in a private network .* say allow_private = true"),
        ({"url": "https://mastodon.example", "visibility": "direct"}, "'public', 'unlisted'"),
        ({"url": "https://mastodon.example:99999"}, "no web address"),
    ],
)
def test_a_table_that_cannot_be_meant(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MastodonSettings.model_validate({"type": "mastodon", "secret_env": "TOKEN", **table})


def test_a_server_may_end_in_a_slash(desk: Desk) -> None:
    desk.settings = desk.settings.model_copy(update={"url": f"{desk.server.url}/"})
    desk.post()

"""What is Matrix's own, at a real Synapse: one text for everybody, transaction ids, rooms that are encrypted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Handles, Parcel, Receipt
from artbot.publishing.channels import matrix as channel
from artbot.publishing.channels.matrix import MatrixSender, MatrixSettings, compose
from artbot.publishing.work import Work
from tests.contract.peers.matrix import SERVER, Account, Synapse, run
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, as_json, serving
from tests.unit.service.kit import NOON, a_work


@dataclass
class Desk:
    """A sender and what it did."""

    settings: MatrixSettings
    token: str
    work: Work = field(default_factory=a_work)
    key: str = "msg_1"
    kept: dict[str, str] = field(default_factory=dict)
    """What is in the database."""

    @property
    def sender(self) -> MatrixSender:
        return MatrixSender(self.token, self.settings)

    @property
    def parcel(self) -> Parcel:
        handles = Handles(dict(self.kept), self.kept.update)
        return Parcel(self.key, self.work, compose(self.settings, self.work), handles)

    def prepare(self) -> None:
        self.sender.prepare(self.parcel, NOON)

    def commit(self) -> Receipt:
        return self.sender.commit(self.parcel, NOON)

    def look(self) -> str | None:
        found = self.sender.reconcile(self.parcel, NOON)
        return found and found.url


@pytest.fixture(scope="module")
def synapse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Synapse]:
    with run(tmp_path_factory.mktemp("synapse")) as running:
        yield running


@pytest.fixture
def desk(synapse: Synapse, tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    channel.known_limits.clear()
    table = synapse.table(synapse.url, tmp_path)
    settings = MatrixSettings.model_validate(table)
    return Desk(settings, synapse.painter.token, key=f"msg_{abs(hash(request.node.name))}")


def test_what_is_told_of_a_work(desk: Desk, synapse: Synapse) -> None:
    desk.work = replace(a_work(), warning="Flashing colours")
    desk.prepare()
    desk.commit()
    content = synapse.events()[-1]["content"]
    assert content.pop("url") == desk.kept["media"]
    assert content == {
        "msgtype": "m.image",
        "body": "Flashing colours\n\nNo. 3\n\nAfter the rain\n\n#flowers #generativeart\n\n"
        "Red and white flowers in a blue vase",
        "filename": "daily-2026-11-21-03.png",
        "info": {
            "w": 8,
            "h": 8,
            "size": len(synapse.posts()[-1].picture or b""),
            "mimetype": "image/png",
        },
        "m.mentions": {},
    }


def test_the_alt_text_stands_where_the_template_has_it(desk: Desk) -> None:
    settings = desk.settings.model_copy(update={"text": "{alt}\n\n{title}"})
    text = compose(settings, a_work()).text
    assert text == "Red and white flowers in a blue vase\n\nNo. 3"


def test_the_event_has_an_address(desk: Desk, synapse: Synapse) -> None:
    desk.prepare()
    receipt = desk.commit()
    event = synapse.events()[-1]["event_id"]
    assert receipt.url == f"https://matrix.to/#/{desk.kept['room'].replace(':', '%3A')}/{event}"
    assert desk.look() == receipt.url


def test_synapse_recognises_a_repetition(desk: Desk, synapse: Synapse) -> None:
    desk.prepare()
    before = len(synapse.events())
    assert len({desk.commit().url for _ in range(3)}) == 1
    assert len(synapse.events()) == before + 1


class TestLooking:
    def test_what_is_not_there_is_not_there(self, desk: Desk) -> None:
        desk.prepare()
        assert desk.look() is None

    def test_pages_back(
        self, desk: Desk, synapse: Synapse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.prepare()
        desk.commit()
        for number in range(3):
            other = replace(desk, key=f"{desk.key}_{number}", kept=dict(desk.kept))
            other.kept |= {"media": "mxc://matrix.test/another"}
            other.commit()
        monkeypatch.setattr(channel, "PAGE", 1)
        assert desk.look() is not None
        monkeypatch.setattr(channel, "MAX_PAGES", 2)
        with pytest.raises(OutcomeUnknown, match="last 2 pages"):
            desk.look()

    def test_nothing_older_than_the_upload_is_asked_for(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.prepare()
        desk.commit()
        desk.kept["uploaded"] = "mxc://matrix.test/another"
        since = channel.datetime.fromisoformat(desk.kept["since"]) + timedelta(minutes=6)
        desk.kept["since"] = since.isoformat()
        desk.key = "msg_other"
        monkeypatch.setattr(channel, "MAX_PAGES", 1)
        monkeypatch.setattr(channel, "PAGE", 1)
        assert desk.look() is None

    def test_one_that_somebody_removed_since_was_posted(self, desk: Desk, synapse: Synapse) -> None:
        desk.prepare()
        desk.commit()
        event = synapse.events()[-1]["event_id"]
        where = f"/_matrix/client/v3/rooms/{synapse.room}/redact/{event}/{desk.key}_away"
        synapse.painter.ask("PUT", where, {})
        assert synapse.events()[-1]["content"] == {}
        assert desk.look() is not None

    def test_a_room_that_the_alias_no_longer_leads_to_is_looked_into(
        self, desk: Desk, synapse: Synapse
    ) -> None:
        desk.prepare()
        first = desk.commit()
        other = synapse.painter.create_room("elsewhere")
        desk.settings = desk.settings.model_copy(update={"room": other})
        desk.prepare()
        assert desk.kept["room"] == other
        assert desk.look() == first.url

    def test_without_what_was_uploaded_nothing_can_be_said(self, desk: Desk) -> None:
        with pytest.raises(OutcomeUnknown, match="not in the database"):
            desk.look()


class TestRooms:
    def test_one_that_is_encrypted_is_refused_and_nothing_uploaded(
        self, desk: Desk, synapse: Synapse
    ) -> None:
        synapse.painter.create_room("secret", is_encrypted=True)
        room = f"#secret:{SERVER}"
        desk.settings = desk.settings.model_copy(update={"room": room})
        with pytest.raises(Rejected, match=r"#secret:.* is encrypted") as refused:
            desk.prepare()
        assert refused.value.status == 403  # pauses the channel
        assert not desk.kept

    def test_one_that_is_not_there(self, desk: Desk) -> None:
        desk.settings = desk.settings.model_copy(update={"room": f"#nowhere:{SERVER}"})
        with pytest.raises(Rejected, match="knows no room #nowhere"):
            desk.prepare()

    def test_one_may_be_named_by_its_id(self, desk: Desk, synapse: Synapse) -> None:
        desk.settings = desk.settings.model_copy(update={"room": synapse.room})
        desk.prepare()
        assert desk.commit().url

    def test_one_that_the_account_is_not_in(self, desk: Desk, synapse: Synapse) -> None:
        stranger = Account(synapse.url, "stranger")
        desk.token = stranger.token
        with pytest.raises(Rejected, match="in the room") as refused:
            desk.prepare()
        assert refused.value.status == 403


class TestChecking:
    def test_says_who_may_post_where(self, desk: Desk) -> None:
        said = desk.sender.check(NOON)
        assert said == "@painter:matrix.test is in #paintings:matrix.test, which is not encrypted"

    def test_a_wrong_token(self, desk: Desk) -> None:
        desk.token = "wrong-token"
        with pytest.raises(Rejected, match="is the access token right") as refused:
            desk.sender.check(NOON)
        assert refused.value.status == 401


def test_a_picture_over_the_servers_limit_is_not_sent(desk: Desk) -> None:
    parcel = desk.parcel
    assert parcel.post.picture is not None
    picture = replace(parcel.post.picture, content=bytes(1024 * 1024 + 1))
    parcel = replace(parcel, post=replace(parcel.post, picture=picture))
    with pytest.raises(Rejected, match=r"1,048,577 bytes.* say max_bytes = 1048576 for"):
        desk.sender.prepare(parcel, NOON)
    assert not desk.kept


def test_too_many_messages_say_until_when(desk: Desk, synapse: Synapse) -> None:
    hasty = Account(synapse.url, "hasty")
    hasty.ask("POST", f"/_matrix/client/v3/join/{synapse.room}", {})
    synapse.painter.limit_rate(1, 1, hasty.user)
    desk.token = hasty.token
    desk.prepare()

    def send_many() -> None:
        for number in range(20):
            replace(desk, key=f"{desk.key}_{number}").commit()

    with pytest.raises(Unavailable, match="M_LIMIT_EXCEEDED") as refused:
        send_many()
    assert refused.value.retry_after_s is not None
    assert 0 < refused.value.retry_after_s < 5


def test_a_server_that_says_it_in_milliseconds_alone(desk: Desk) -> None:
    """Retry-After came with Matrix 1.10."""

    def answer(said: Request) -> Response:
        return as_json(429, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500})

    with serving(answer) as url:
        desk.settings = desk.settings.model_copy(update={"url": url})
        with pytest.raises(Unavailable) as refused:
            desk.prepare()
    assert refused.value.retry_after_s == 2.5


def test_a_404_that_is_not_the_homeservers_does_not_mean_not_encrypted(desk: Desk) -> None:
    def answer(said: Request) -> Response:
        if "encryption" in said.path:
            return Response(404, b"<h1>Not Found</h1>")
        return as_json(200, {"user_id": "@painter:x", "room_id": "!a", "m.upload.size": 10**6})

    with serving(answer) as url:
        desk.settings = desk.settings.model_copy(update={"url": url})
        with pytest.raises(Rejected, match="Not Found"):
            desk.prepare()


def test_a_server_before_matrix_1_11_is_asked_the_old_way(desk: Desk) -> None:
    asked = []

    def answer(said: Request) -> Response:
        asked.append(said.path)
        if said.path.startswith("/_matrix/client/v1/media/config"):
            return as_json(404, {"errcode": "M_UNRECOGNIZED"})
        return as_json(200, {"m.upload.size": 10})

    with serving(answer) as url:
        desk.settings = desk.settings.model_copy(update={"url": url})
        with pytest.raises(Rejected, match="takes 10"):
            desk.prepare()
    assert asked[-1] == "/_matrix/media/v3/config"


def test_an_answer_that_is_nonsense_leaves_it_unknown(desk: Desk) -> None:
    desk.prepare()
    nonsense = json.dumps({"chunk": ["?"]}).encode()
    with serving(lambda said: Response(200, nonsense)) as url:
        desk.settings = desk.settings.model_copy(update={"url": url})
        with pytest.raises(OutcomeUnknown, match="no events"):
            desk.look()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"room": "paintings"}, "is no room"),
        ({"room": "#paintings"}, "is no room"),
        ({"url": "http://matrix.example"}, "not encrypted"),
        ({"url": "https://matrix.example/_matrix"}, "more than a server's address"),
    ],
)
def test_a_table_that_cannot_be_meant(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MatrixSettings.model_validate(
            {
                "type": "matrix",
                "url": "https://matrix.example",
                "room": "!a:matrix.example",
                "secret_env": "TOKEN",
                **table,
            }
        )


def test_a_text_too_long_for_an_event_is_refused(desk: Desk) -> None:
    with pytest.raises(Rejected, match="bytes"):
        compose(desk.settings, replace(a_work(), caption="ä" * 15_000))

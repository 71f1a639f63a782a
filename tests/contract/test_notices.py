"""What is told besides works, on real sockets: events as their receivers verify them, alerts as Apprise sends them."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from standardwebhooks.webhooks import Webhook

from artbot.clock import Clock
from artbot.config import AlertAddress, AlertSettings, load_settings
from artbot.errors import ConfigError, Unavailable
from artbot.publishing import alerts
from artbot.publishing.alerts import TEST, Fared, Message, Sheet, send, understood
from artbot.publishing.channels import settings_models
from artbot.publishing.event import event_schema
from artbot.publishing.notices import NoticeFared, note, tell_due
from artbot.publishing.outbox import deliver_due
from artbot.redaction import known_secrets, redact
from artbot.review.decisions import approve
from artbot.workplace import Workplace
from db.models import Batch
from tests.conftest import CHECKOUT
from tests.unit.service.kit import (
    ANNA,
    SECRET,
    Desk,
    Request,
    SetClock,
    add_works,
    answers,
    http_answer,
    notices,
    serve,
)

TOKEN = "s3cr3t-t0k3n-of-anna"
FORMATS = {"standard": "application/json", "cloudevents": "application/cloudevents+json"}


# Events


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    secret = tmp_path / "secrets" / "webhook"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return tmp_path


def opened(root: Path, clock: Clock, *tables: str) -> Workplace:
    (root / "artbot.toml").write_text("\n".join(tables))
    return Workplace(load_settings(root, settings_models()), clock)


def channel(name: str, url: str, more: str = "") -> str:
    return (
        f'[channels.{name}]\ntype = "webhook"\nurl = "{url}"\nallow_private = true\n'
        f'secret_file = "secrets/webhook"\n{more}\n'
    )


def happen(place: Workplace) -> None:
    """A batch is ready, and a work of it is refused on the way to `studio`."""
    database, works = place.database, place.settings.works
    (work,) = add_works(database, works)
    with database.write() as session:
        session.query(Batch).one().finished_at = place.clock()
    desk = Desk(database, works, SetClock(place.clock()))
    approve(desk.review, work, ANNA)
    with serve(answers(http_answer(422, b"too long"))) as server:
        deliver_due(desk.outbox(server.url), lambda _: None, lambda: False)


def told(place: Workplace) -> list[NoticeFared]:
    fared: list[NoticeFared] = []
    note(place.notices)
    tell_due(place.notices, fared.append, lambda: False)
    return fared


@pytest.mark.parametrize("form", FORMATS)
def test_events_are_verified_by_an_independent_library_and_follow_the_schema(
    root: Path, form: str
) -> None:
    """The library believes only the present: the first try, which fails, was an hour ago."""
    more = f'notices = ["batch.ready", "delivery.failed"]\nformat = "{form}"'
    hour_ago = SetClock(datetime.now(UTC) - timedelta(hours=1))
    with serve(answers(http_answer(503), http_answer(204))) as server:
        place = opened(
            root, hour_ago, channel("studio", server.url), channel("friends", server.url, more)
        )
        happen(place)
        first = told(place)
        second = told(Workplace(place.settings))
    assert [one.state for one in first] == ["waiting"]
    assert [one.state for one in second] == ["sent", "sent"]
    tried, *requests = server.requests
    events = {event["type"]: event for event in (verified(r, form) for r in requests)}
    failed, ready = events["delivery.failed"]["data"], events["batch.ready"]["data"]
    assert failed["delivery"]["reason"].startswith("answered 422")
    assert failed["artwork"]["id"] == ready["batch"]["id"] + "-01"
    assert ready["waiting"] == 0
    again = next(r for r in requests if r.headers["webhook-id"] == tried.headers["webhook-id"])
    assert again.body == tried.body, "a repetition is known by its id, and says the same"
    keys = {notice.key for notice in notices(place.database)}
    assert {request.headers["webhook-id"] for request in requests} == keys


def verified(request: Request, form: str) -> dict[str, Any]:
    """The event, as a receiver of Standard Webhooks takes it."""
    assert request.headers["content-type"] == FORMATS[form]
    said: dict[str, Any] = Webhook(SECRET).verify(request.body.decode(), request.headers)
    if form == "cloudevents":
        assert (said["specversion"], said["id"]) == ("1.0", request.headers["webhook-id"])
        said = {"type": said["type"], "timestamp": said["time"], "data": said["data"]}
    jsonschema.Draft202012Validator(json.loads(event_schema())).validate(said)
    return said


def test_the_operator_is_told_of_a_secret_that_is_missing(root: Path) -> None:
    clock = SetClock()
    place = opened(
        root,
        clock,
        channel("studio", "https://studio.example", "").replace("secrets/webhook", "secrets/gone"),
        channel("other", "https://other.example"),
        '[alerts]\nurls_file = "secrets/alerts"\n',
    )
    (work,) = add_works(place.database, place.settings.works)
    approve(place.review, work, ANNA)
    note(place.notices)
    (found,) = notices(place.database)
    assert found.kind == "channel.stopped"
    assert found.data["data"]["channel"] == "studio"
    assert "secrets/gone" in found.data["data"]["reason"]


def test_the_events_in_the_documents_follow_the_schema() -> None:
    page = (CHECKOUT / "docs/webhooks.md").read_text("utf-8").partition("### Notices")[2]
    page = page.partition("## The picture")[0]
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.S)]
    assert [example["type"] for example in examples] == ["batch.ready", "delivery.failed"]
    for example in examples:
        jsonschema.Draft202012Validator(json.loads(event_schema())).validate(example)


# Alerts


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home of its own, with a password for this machine; and a proxy that is not there."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("default login anna password netrc-password\n")
    (home / ".netrc").chmod(0o600)
    return {**os.environ, "HOME": str(home), "http_proxy": "http://127.0.0.1:9"}


def local(url: str, more: str = "") -> str:
    """What Apprise calls this address of a server of ours."""
    return url.replace("http://", "json://").replace("/hook", f"/{TOKEN}") + more


def test_apprise_tells_every_address_and_each_fares_on_its_own(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (
        serve(answers(http_answer(200))) as well,
        serve(answers(http_answer(401))) as ill,
        serve(answers(http_answer(302, Location="http://127.0.0.1:9/"))) as moved,
    ):
        addresses = [
            AlertAddress(1, local(well.url)),
            AlertAddress(3, local(ill.url)),
            AlertAddress(4, local(moved.url)),
            AlertAddress(5, f"jsson://127.0.0.1/{TOKEN}"),
            AlertAddress(6, f"discord://{TOKEN}"),
        ]
        fared = send(addresses, TEST, environment)
    (request,) = well.requests
    said = json.loads(request.body)
    assert (said["title"], said["message"]) == (TEST.title, TEST.body)
    assert "authorization" not in request.headers, "no password of .netrc"
    assert [(one.line, one.service, one.ok) for one in fared] == [
        (1, "JSON", True),
        (3, "JSON", False),
        (4, "JSON", False),
        (5, None, False),
        (6, None, False),
    ]
    assert "error=401" in fared[1].detail
    assert "error=302" in fared[2].detail, "it goes nowhere else than it was told"
    assert TOKEN not in repr((fared, addresses))
    assert sorted(path.name for path in (tmp_path / "home").rglob("*")) == [".netrc"]


def test_a_contact_sheet_goes_beside_the_words_where_the_service_takes_it(
    environment: dict[str, str],
) -> None:
    def wants_no_sheet(connection: socket.socket, request: Request) -> None:
        has_sheet = bool(json.loads(request.body)["attachments"])
        connection.sendall(http_answer(413 if has_sheet else 200))

    message = Message("New pictures", "24 of them", Sheet("daily.jpg", b"\xff\xd8 a JPEG"))
    with (
        serve(answers(http_answer(200))) as takes_it,
        serve(wants_no_sheet) as refuses_it,
        serve(answers(http_answer(200, b"{}"))) as knows_none,
    ):
        gotify = knows_none.url.replace("http://", "gotify://").replace("/hook", f"/{TOKEN}")
        addresses = [
            AlertAddress(1, local(takes_it.url)),
            AlertAddress(2, local(refuses_it.url)),
            AlertAddress(3, gotify),
        ]
        fared = send(addresses, message, environment)
    (request,) = takes_it.requests
    (sheet,) = json.loads(request.body)["attachments"]
    assert (sheet["filename"], sheet["mimetype"]) == ("daily.jpg", "image/jpeg")
    assert base64.b64decode(sheet["base64"]) == b"\xff\xd8 a JPEG"
    first, second = (json.loads(one.body) for one in refuses_it.requests)
    assert first["message"] == second["message"] == "24 of them"
    (words,) = knows_none.requests
    assert json.loads(words.body)["message"] == "24 of them"
    assert [one.ok for one in fared] == [True, True, True]
    assert fared[1].detail.startswith("without the contact sheet: ")
    assert "error=413" in fared[1].detail
    assert [fared[0].detail, fared[2].detail] == ["", ""]


def test_whoever_takes_too_long_is_cut_off_and_the_others_were_told(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "DEADLINE_S", 20.0)
    with (
        serve(answers(http_answer(200))) as well,
        serve(lambda connection, _: hangs.closing.wait(300)) as hangs,
    ):
        addresses = [
            AlertAddress(1, local(hangs.url, "?rto=60")),
            AlertAddress(2, local(well.url)),
        ]
        slow, quick = send(addresses, TEST, environment)
    assert (slow.ok, slow.detail) == (False, "no answer within 20 s")
    assert quick.ok


def test_what_apprise_understands_can_be_asked_without_telling_anybody(
    environment: dict[str, str],
) -> None:
    with serve(answers(http_answer(200))) as server:
        fared = understood(
            [AlertAddress(2, local(server.url)), AlertAddress(7, "nonsense")], environment
        )
    assert server.requests == []
    assert fared == [
        Fared(2, "JSON", True, ""),
        Fared(7, None, False, "it is no address: Apprise reads SERVICE://... (docs/alerts.md)"),
    ]


def test_without_apprise_it_is_said_what_is_missing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError('none', name='apprise')")
    with pytest.raises(Unavailable, match=r"apprise is missing.*pip install apprise"):
        send([AlertAddress(1, "json://x")], TEST, {**environment, "PYTHONPATH": str(tmp_path)})


def test_only_the_process_that_sends_an_alert_imports_apprise() -> None:
    code = (
        "import sys, artbot.cli.daemon, artbot.cli.publish, artbot.cli.alerts, artbot.daemon.run, "
        "artbot.publishing.alerts, artbot.publishing.notices, artbot.upkeep.doctor, artbot.status\n"
        "sys.exit('apprise' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The file of addresses


def addresses_file(root: Path, text: str, mode: int = 0o600) -> AlertSettings:
    path = root / "addresses"
    path.write_text(text)
    path.chmod(mode)
    return AlertSettings(urls_file=Path("addresses"))


def test_addresses_stand_one_on_a_line_and_are_secrets(tmp_path: Path) -> None:
    settings = addresses_file(
        tmp_path, f"\n# to my telephone\n  tgram://{TOKEN}/123\r\n\nntfys://example.org/short\n"
    )
    found = settings.read_addresses(tmp_path)
    assert [(a.line, a.url) for a in found] == [
        (3, f"tgram://{TOKEN}/123"),
        (5, "ntfys://example.org/short"),
    ]
    assert {a.url for a in found} <= known_secrets()
    assert TOKEN not in redact(f"error at {TOKEN}: no")
    assert "example.org" in redact("example.org"), "a host is told in other words as well"


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        ("# nobody\n\n", 0o600, "holds no address"),
        (f"json://{TOKEN}", 0o644, "can be read by others. Run: chmod 600"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_remedy(
    tmp_path: Path, text: str, mode: int, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        addresses_file(tmp_path, text, mode).read_addresses(tmp_path)
    assert TOKEN not in str(error.value)

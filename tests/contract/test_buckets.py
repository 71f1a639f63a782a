"""S3-compatible storage: signatures by the published examples and by Amazon's own signer, conditions, errors."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from artbot.errors import DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing import buckets
from artbot.publishing.buckets import Bucket, sign
from artbot.publishing.channels import Handles, Parcel
from artbot.publishing.channels import s3 as channel
from artbot.publishing.http import Door
from tests.contract.peers.proxy import Request
from tests.contract.peers.serving import Response, serving
from tests.contract.peers.store import BUCKET, REGION, Store, storing
from tests.unit.service.kit import NOON, a_work, png

NOTHING = hashlib.sha256(b"").hexdigest()
EXAMPLE = {
    "region": "us-east-1",
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "secret": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
IN_2013 = datetime(2013, 5, 24, tzinfo=UTC)
HOST = "https://examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "signature"),
    [
        (
            *("GET", f"{HOST}/test.txt", {"Range": "bytes=0-9"}, b""),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            *("PUT", f"{HOST}/test%24file.text"),
            {
                "Date": "Fri, 24 May 2013 00:00:00 GMT",
                "x-amz-storage-class": "REDUCED_REDUNDANCY",
            },
            b"Welcome to Amazon S3.",
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            *("GET", f"{HOST}/?lifecycle", {}, b""),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            *("GET", f"{HOST}/?max-keys=2&prefix=J", {}, b""),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
    ids=["get", "put", "lifecycle", "list"],
)
def test_requests_are_signed_as_in_amazons_examples(
    method: str, url: str, headers: dict[str, str], body: bytes, signature: str
) -> None:
    """Amazon S3 API reference, "Examples: Signature Calculations" of Signature Version 4."""
    body_sha256 = hashlib.sha256(body).hexdigest()
    signed = sign(method, url, headers, body_sha256, IN_2013, **EXAMPLE)
    assert signed["Authorization"].endswith(f"Signature={signature}")


def test_amazons_own_signer_signs_the_same() -> None:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = "http://127.0.0.1:9000/art/folder/works/daily-2026-11-21-03.json?list-type=2&prefix=a%2Fb%20c~"
    headers = {
        "Content-Type": "application/json",
        "If-None-Match": "*",
        "Cache-Control": "no-cache",
    }
    body = "Größe".encode()
    now = datetime.now(UTC)
    ours = sign("PUT", url, headers, hashlib.sha256(body).hexdigest(), now, **EXAMPLE)
    theirs = AWSRequest(method="PUT", url=url, headers=headers, data=body)
    signer = auth.S3SigV4Auth(
        Credentials(EXAMPLE["access_key_id"], EXAMPLE["secret"]), "s3", EXAMPLE["region"]
    )
    theirs.context["timestamp"] = ours["x-amz-date"]
    theirs.headers["X-Amz-Content-SHA256"] = ours["x-amz-content-sha256"]
    theirs.headers["X-Amz-Date"] = ours["x-amz-date"]
    names = ours["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert set(names) == {
        *(h.lower() for h in headers),
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
    }
    canonical = signer.canonical_request(theirs)
    signature = signer.signature(signer.string_to_sign(theirs, canonical), theirs)
    assert ours["Authorization"].endswith(f"Signature={signature}")


# ---------------------------------------------------------------- a store by somebody else


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with storing() as store:
        yield store


def bucket_at(url: str, prefix: str = "", **more: Any) -> Bucket:
    known = {"region": REGION, "access_key_id": "key", "secret": "secret", **more}
    return Bucket(
        address=f"{url}/{BUCKET}",
        prefix=prefix,
        door=Door(allow_private=True),
        now=datetime.now(UTC),
        began_s=time.monotonic(),
        **known,
    )


def mine(store: Store, prefix: str) -> Bucket:
    return bucket_at(store.url, prefix, access_key_id=store.access_key_id, secret=store.secret)


def test_what_is_there_stays_and_is_listed_by_the_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = mine(store, "listed/")
    assert bucket.get("works/a.json") is None
    names = [f"works/{number} & more.json" for number in range(5)]
    for name in names:
        assert bucket.put_new(name, name.encode(), "application/json", "no-cache")
    assert not bucket.put_new(names[0], b"other", "application/json", "no-cache")
    assert bucket.get(names[0]) == names[0].encode()
    bucket.put("top.json", b"{}", "application/json", "no-cache")
    monkeypatch.setattr(buckets, "MAX_KEYS", 2)
    assert [item.key for item in bucket.listed("works/")] == names
    assert [item.key for item in bucket.listed("")] == ["top.json"]
    assert bucket.listed("works/")[0].etag == hashlib.md5(names[0].encode()).hexdigest()
    bucket.delete(names[0])
    bucket.delete(names[0])
    assert bucket.get(names[0]) is None


def test_every_file_is_what_a_browser_is_told_it_is(store: Store) -> None:
    mine(store, "typed/").put("x.json", b"{}", "application/json", "no-cache")
    told = store.client.get_object(Bucket=BUCKET, Key="typed/x.json")
    assert (told["ContentType"], told["CacheControl"]) == ("application/json", "no-cache")


def test_a_wrong_secret_is_refused_with_what_to_look_at(store: Store) -> None:
    wrong = replace(mine(store, "x/"), secret="wrong")
    with pytest.raises(Rejected, match="is the secret that of access_key_id") as refused:
        wrong.put("x.json", b"{}", "application/json", "no-cache")
    assert refused.value.status == 403
    with pytest.raises(Rejected, match="knows no such access_key_id"):
        replace(mine(store, "x/"), access_key_id="AKIANOBODY").check()


def test_a_bucket_that_is_not_there_is_named(store: Store) -> None:
    lost = replace(mine(store, ""), address=f"{store.url}/nowhere-else")
    for ask in (lost.check, lambda: lost.get("x"), lambda: lost.put("x", b"", "text/plain", "")):
        with pytest.raises(Rejected, match="make the bucket, or mend `bucket`"):
            ask()


# ---------------------------------------------------------------- answers of other stores


def answering(*answers: Response) -> Any:
    waiting = list(answers)
    asked: list[Request] = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return answer, asked


def failure(status: int, code: str) -> Response:
    said = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'
    return Response(status, said.encode(), {"Content-Type": "application/xml"})


def test_a_store_without_conditions_is_asked_without_them() -> None:
    answer, asked = answering(failure(501, "NotImplemented"), Response(200, b"", {"ETag": '"e"'}))
    with serving(answer) as url:
        assert bucket_at(url).put_new("x.png", b"x", "image/png", "no-cache")
    assert ["If-None-Match" in request.headers for request in asked] == [True, False]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (failure(403, "RequestTimeTooSkewed"), Unavailable, "clock"),
        (failure(409, "ConditionalRequestConflict"), Unavailable, "409"),
        (failure(503, "SlowDown"), Unavailable, "SlowDown"),
        (failure(400, "RequestTimeout"), Unavailable, "RequestTimeout"),
        (failure(500, "InternalError"), OutcomeUnknown, "InternalError"),
        (failure(301, "PermanentRedirect"), Rejected, "is `region` the bucket's"),
        (failure(400, "AuthorizationHeaderMalformed"), Rejected, "is `region` the bucket's"),
        (failure(403, "AccessDenied"), Rejected, "may this key put"),
        (failure(411, "MissingContentLength"), Rejected, "411"),
        (Response(200, b"<h1>Welcome</h1>"), OutcomeUnknown, "none of a store"),
    ],
    ids=lambda value: None if isinstance(value, str | type) else value.content[:70].decode()[27:],
)
def test_what_an_answer_means(answer: Response, kind: type[DeliveryError], said: str) -> None:
    with serving(lambda _: answer) as url, pytest.raises(kind, match=said):
        bucket_at(url).put("x.json", b"{}", "application/json", "no-cache")


@pytest.mark.parametrize(
    "listing", [b"", b"<html>", b"<ListBucket/>", b"\xff\x00", b"<a/>" * 3], ids=repr
)
def test_a_listing_that_is_none_says_nothing(listing: bytes) -> None:
    with serving(lambda _: Response(200, listing)) as url, pytest.raises(OutcomeUnknown):
        bucket_at(url).listed("")


# ---------------------------------------------------------------- the channel


def parcel_of(work: Any, settings: channel.S3Settings) -> Parcel:
    return Parcel("key", work, channel.compose(settings, work), Handles({}, lambda _: None))


def test_the_first_words_of_a_work_stay_and_another_work_of_its_name_is_refused(
    store: Store, tmp_path: Path
) -> None:
    table = {
        "type": "s3",
        **store.table(store.url, tmp_path),
        "url": "https://cdn.example.org/art/",
    }
    settings = channel.S3Settings.model_validate(table)
    now = datetime.now(UTC)

    def send(work: Any) -> Any:
        sender = channel.CHANNEL.open(settings, tmp_path)
        sender.prepare(parcel_of(work, settings), now)
        return sender.commit(parcel_of(work, settings), now)

    receipt = send(a_work())
    assert receipt.detail.startswith("put ")
    assert receipt.url == f"https://cdn.example.org/art/works/{a_work().name}.json"
    again = send(replace(a_work(), title="Other words"))
    assert "stays as it is" in again.detail
    record = json.loads(store.files()[f"works/{a_work().name}.json"])
    assert record["title"] == a_work().title
    assert record["digital_source_type"].endswith("trainedAlgorithmicMedia")
    assert record["generator"]["dataset"] == "flowers"
    with pytest.raises(Rejected, match="two workplaces write there"):
        send(a_work(png((1, 2, 3))))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"bucket": None}, "bucket and access_key_id are both needed"),
        ({"access_key_id": None}, "bucket and access_key_id are both needed"),
        ({"bucket": "My Bucket"}, "should match pattern"),
        ({"prefix": "../up"}, "should match pattern"),
        ({"prefix": "/"}, "should match pattern"),
        ({"secret_file": None}, "exactly one of secret_file and secret_env"),
        ({"endpoint": "s3.example.org"}, "endpoint 's3.example.org' is no address of a store"),
        ({"endpoint": "https://s3.example.org/art"}, "without the bucket"),
        ({"endpoint": "https://anna:pa55word@s3.example.org"}, "a user name or a password"),
        ({"endpoint": "http://s3.example.org"}, "is not encrypted"),
        ({"endpoint": "https://10.0.0.7"}, "in a private network or on this machine"),
        ({"proxy": "localhost:3128"}, "proxy 'localhost:3128' is no address"),
    ],
    ids=lambda value: None if isinstance(value, str) else ", ".join(map(str, value)),
)
def test_a_table_that_cannot_be_is_refused_by_name(table: dict[str, Any], said: str) -> None:
    good = {
        "type": "s3",
        "bucket": "art",
        "access_key_id": "AKIA",
        "secret_file": "secret",
        "endpoint": "https://s3.example.org",
    }
    channel.S3Settings.model_validate(good)
    with pytest.raises(ValueError, match="validation error") as refused:
        channel.S3Settings.model_validate({**good, **table})
    assert said in str(refused.value)


def test_amazon_is_meant_where_no_endpoint_is_named() -> None:
    settings = channel.S3Settings.model_validate(
        {
            "type": "s3",
            "bucket": "art",
            "access_key_id": "AKIA",
            "secret_env": "KEY",
            "region": "eu-west-1",
            "prefix": "flowers",
        }
    )
    bucket = buckets.open_bucket(settings, "secret", NOON)
    assert bucket.address == "https://s3.eu-west-1.amazonaws.com/art"
    assert bucket.prefix == "flowers/"

"""What is Tumblr's own: drafts that become posts of another id, paragraphs, four keys, daily limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from artbot.errors import ConfigError, DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Handles, Parcel, Receipt
from artbot.publishing.channels.tumblr import (
    CHANNEL,
    Keys,
    TumblrSender,
    TumblrSettings,
    compose,
    parse_keys,
)
from artbot.publishing.work import Work
from tests.contract.peers.serving import Response
from tests.contract.peers.tumblr import KEYS, Tumblr, run, said
from tests.unit.service.kit import NOON, a_work

NOWHERE = TumblrSettings(type="tumblr", blog="paintings", secret_env="X")


@pytest.fixture
def tumblr(tmp_path: Path) -> Iterator[Tumblr]:
    with run(tmp_path) as running:
        yield running


def opened(tumblr: Tumblr, workplace: Path, **more: Any) -> tuple[TumblrSettings, TumblrSender]:
    settings = TumblrSettings.model_validate(tumblr.table(tumblr.url, workplace) | more)
    sender = CHANNEL.open(settings, workplace)
    assert isinstance(sender, TumblrSender)
    return settings, sender


def a_parcel(settings: TumblrSettings, work: Work, **known: str) -> Parcel:
    handles = Handles(dict(known), lambda _: None)
    return Parcel("msg_0123456789abcdef", work, compose(settings, work), handles)


def send(tumblr: Tumblr, workplace: Path, work: Work, **more: Any) -> Receipt:
    settings, sender = opened(tumblr, workplace, **more)
    parcel = a_parcel(settings, work)
    sender.prepare(parcel, NOON)
    return sender.commit(parcel, NOON)


def test_a_post_has_tags_a_source_and_an_address_that_names_the_work(
    tumblr: Tumblr, tmp_path: Path
) -> None:
    receipt = send(tumblr, tmp_path, a_work(), source_url="https://art.example.org/")
    (post,) = tumblr.published
    assert post["tags"] == "flowers,generativeart"
    assert post["source_url"] == "https://art.example.org"
    assert [block["type"] for block in post["content"]] == ["image", "text", "text"]
    assert receipt.url == (
        "https://paintings.tumblr.com/post/800000000000000000/daily-2026-11-21-03-89abcdef"
    )


def test_a_warning_stands_before_the_picture(tumblr: Tumblr, tmp_path: Path) -> None:
    """Community labels cannot be set by the API."""
    send(tumblr, tmp_path, replace(a_work(), warning="Flashing\n\ncolours"))
    (post,) = tumblr.published
    blocks = [block.get("text", "the picture") for block in post["content"]]
    assert blocks == ["Flashing", "colours", "the picture", "No. 3", "After the rain"]


def test_a_draft_whose_answer_was_lost_is_taken_up_again(tumblr: Tumblr, tmp_path: Path) -> None:
    settings, sender = opened(tumblr, tmp_path)
    first = a_parcel(settings, a_work())
    sender.prepare(first, NOON)
    again = a_parcel(settings, a_work(), made_of=first.handles.known["made_of"])
    sender.prepare(again, NOON)
    sender.commit(again, NOON)
    assert (len(tumblr.published), tumblr.drafts()) == (1, [])


def test_a_draft_that_a_person_published_is_not_posted_again(
    tumblr: Tumblr, tmp_path: Path
) -> None:
    settings, sender = opened(tumblr, tmp_path)
    parcel = a_parcel(settings, a_work())
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    _, later = opened(tumblr, tmp_path)
    later.prepare(parcel, NOON)
    assert (later.commit(parcel, NOON).url or "").startswith("https://paintings.tumblr.com/post/8")
    assert len(tumblr.published) == 1


def test_a_draft_that_a_person_deleted_is_made_again(tumblr: Tumblr, tmp_path: Path) -> None:
    settings, sender = opened(tumblr, tmp_path)
    parcel = a_parcel(settings, a_work())
    sender.prepare(parcel, NOON)
    tumblr.posts_by_id.clear()
    _, later = opened(tumblr, tmp_path)
    later.prepare(parcel, NOON)
    later.commit(parcel, NOON)
    assert len(tumblr.published) == 1


def test_a_draft_of_other_words_is_not_published(tumblr: Tumblr, tmp_path: Path) -> None:
    settings, sender = opened(tumblr, tmp_path)
    first = a_parcel(settings, a_work())
    sender.prepare(first, NOON)
    work = replace(a_work(), caption="Before the rain")
    again = a_parcel(settings, work, **first.handles.known)
    sender.prepare(again, NOON)
    sender.commit(again, NOON)
    (post,) = tumblr.published
    assert post["content"][-1]["text"] == "Before the rain"
    assert len(tumblr.drafts()) == 1
    lost = a_parcel(settings, a_work(), **{**first.handles.known, "draft": "", "made_of": "others"})
    sender.prepare(lost, NOON)
    assert lost.handles.get("draft")


def test_publishing_twice_is_one_post_and_the_second_is_looked_for(
    tumblr: Tumblr, tmp_path: Path
) -> None:
    settings, sender = opened(tumblr, tmp_path)
    parcel = a_parcel(settings, a_work())
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    with pytest.raises(OutcomeUnknown, match="published already, or deleted"):
        sender.commit(parcel, NOON)
    assert sender.reconcile(parcel, NOON) is not None
    assert len(tumblr.published) == 1


@pytest.mark.parametrize(("genesis", "slugs"), [(True, False), (False, True)])
def test_either_mark_of_a_post_is_enough_to_find_it_among_others(
    tumblr: Tumblr, tmp_path: Path, genesis: bool, slugs: bool
) -> None:
    settings, sender = opened(tumblr, tmp_path)
    parcel = a_parcel(settings, a_work())
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    for number in range(3):
        other = replace(a_work(), name=f"daily-2026-11-22-0{number}")
        send(tumblr, tmp_path, other)
    tumblr.tells_genesis, tumblr.keeps_slugs, tumblr.page = genesis, slugs, 2
    for at, post in enumerate(tumblr.published):
        post["timestamp"] += at  # one after the other
    found = sender.reconcile(parcel, NOON)
    assert found is not None
    assert "/post/800000000000000000/" in (found.url or "")


def test_what_cannot_be_looked_for_is_not_called_absent(tumblr: Tumblr, tmp_path: Path) -> None:
    settings, sender = opened(tumblr, tmp_path)
    parcel = a_parcel(settings, a_work())
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    tumblr.blogs.remove("paintings")
    with pytest.raises(OutcomeUnknown, match="may not post to paintings"):
        sender.reconcile(parcel, NOON)
    _, elsewhere = opened(tumblr, tmp_path, blog="sketches")
    with pytest.raises(OutcomeUnknown, match="put that one back"):
        elsewhere.reconcile(parcel, NOON)


def test_a_draft_that_is_still_one_is_absent(tumblr: Tumblr, tmp_path: Path) -> None:
    settings, sender = opened(tumblr, tmp_path)
    parcel = a_parcel(settings, a_work())
    assert sender.reconcile(parcel, NOON) is None
    sender.prepare(parcel, NOON)
    assert sender.reconcile(parcel, NOON) is None


def test_paragraphs_are_counted_in_code_points() -> None:
    settings = NOWHERE.model_copy(update={"text": "{caption}"})
    compose(settings, replace(a_work(), caption=f"{'🌷' * 4096}\n\n{'🌷' * 4096}"))
    with pytest.raises(Rejected, match="paragraph of the text has 4,097 characters"):
        compose(settings, replace(a_work(), caption="🌷" * 4097))
    with pytest.raises(Rejected, match="1,000 paragraphs"):
        compose(settings, replace(a_work(), caption="\n\n".join("x" * 1000)))
    with pytest.raises(Rejected, match="alt text has 4,097"):
        compose(settings, replace(a_work(), alt="x" * 4097))


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (said(403, code=8023), (Unavailable, None, 3600.0)),
        (said(403, code=8004), (Unavailable, None, 3600.0)),
        (said(403), (Rejected, 403, None)),
        (said(401), (Rejected, 401, None)),
        (said(404), (Rejected, 403, None)),
        (said(400, code=8005), (Rejected, 400, None)),
        (said(400, code=0), (OutcomeUnknown, 400, None)),
        (said(503), (Unavailable, 503, None)),
        (
            said(429, X_Ratelimit_Perday_Remaining="0", X_Ratelimit_Perday_Reset="4000"),
            (Unavailable, 429, 4000.0),
        ),
    ],
)
def test_its_refusals_are_understood(
    tumblr: Tumblr,
    tmp_path: Path,
    refusal: Response,
    expected: tuple[type, int | None, float | None],
) -> None:
    tumblr.refusal = refusal
    with pytest.raises(DeliveryError) as refused:
        send(tumblr, tmp_path, a_work())
    error = refused.value
    assert (type(error), error.status, error.retry_after_s) == expected


def test_keys_are_proved_and_those_of_another_account_are_told(
    tumblr: Tumblr, tmp_path: Path
) -> None:
    _, sender = opened(tumblr, tmp_path)
    assert sender.check(NOON) == "posts as painter to https://paintings.tumblr.com/"
    _, other = opened(tumblr, tmp_path, blog="someone-elses.tumblr.com")
    with pytest.raises(Rejected, match="may not post to someone-elses") as refused:
        other.check(NOON)
    assert refused.value.status == 403
    _, wrong = opened(tumblr, tmp_path)
    wrong._keys = replace(wrong._keys, token_secret="wrong")
    with pytest.raises(Rejected, match="are all four keys right"):
        wrong.check(NOON)


@pytest.mark.parametrize(
    "line",
    ['{} = "{}"\n', "{}: {}\n", "  {}: '{}',\n", '"{}": "{}",\n', "{}={} "],
    ids=["toml", "yaml", "javascript", "json", "one line"],
)
def test_the_keys_are_read_as_the_console_shows_them(line: str) -> None:
    assert parse_keys("".join(line.format(*pair) for pair in KEYS.items())) == Keys(**KEYS)
    named = {"oauth_token": KEYS["token"], "oauth_token_secret": KEYS["token_secret"]}
    both = {**KEYS, **named}
    assert parse_keys("".join(line.format(*pair) for pair in both.items())) == Keys(**KEYS)


def test_keys_that_are_missing_are_named_and_none_is_quoted() -> None:
    with pytest.raises(ConfigError, match="lacks consumer_secret, token_secret") as refused:
        parse_keys(f"consumer_key = {KEYS['consumer_key']}\ntoken = {KEYS['token']}")
    assert KEYS["token"] not in str(refused.value)


def test_what_cannot_be_right_is_refused() -> None:
    assert TumblrSettings(type="tumblr", blog="a.tumblr.com", secret_env="X").blog == "a"
    for blog in ("https://paintings.tumblr.com", "@paintings", "a b", ""):
        with pytest.raises(ValidationError, match='write "paintings"'):
            TumblrSettings(type="tumblr", blog=blog, secret_env="X")
    with pytest.raises(ValidationError, match="the token would be read on the way"):
        TumblrSettings(type="tumblr", blog="a", secret_env="X", api="http://api.tumblr.com")

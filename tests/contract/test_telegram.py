"""What is Telegram's own: the token is in the path, captions are counted in UTF-16, there is no alt text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from artbot.errors import ConfigError, DeliveryError, Rejected, Unavailable
from artbot.publishing.channels import Parcel, Receipt
from artbot.publishing.channels.telegram import CHANNEL, TelegramSettings, compose
from artbot.publishing.work import Work
from tests.contract.peers.serving import as_json, serving
from tests.contract.peers.telegram import TOKEN, Telegram, run
from tests.unit.service.kit import NOON, a_work, png


@pytest.fixture
def telegram(tmp_path: Path) -> Iterator[Telegram]:
    with run(tmp_path) as running:
        yield running


def send(telegram: Telegram, workplace: Path, work: Work, **more: Any) -> Receipt:
    settings = TelegramSettings.model_validate(telegram.table(telegram.url, workplace) | more)
    parcel = Parcel("key", work, compose(settings, work))
    return CHANNEL.open(settings, workplace).commit(parcel, NOON)


def test_a_public_channels_post_has_an_address(telegram: Telegram, tmp_path: Path) -> None:
    assert send(telegram, tmp_path, a_work()).url == "https://t.me/paintings/1"


def test_as_a_document_the_very_file_arrives(telegram: Telegram, tmp_path: Path) -> None:
    work = a_work()
    send(telegram, tmp_path, work, send_as="document", silent=True)
    (message,) = telegram.messages
    assert message["file"].media_type == "image/png"
    assert message["silent"]


def test_a_warning_hides_the_photo_and_begins_the_caption(
    telegram: Telegram, tmp_path: Path
) -> None:
    send(telegram, tmp_path, replace(a_work(), warning="Flashing colours"))
    (message,) = telegram.messages
    assert message["spoiler"]
    assert message["caption"].startswith("Flashing colours\n\n")


def test_the_alt_text_can_stand_in_the_caption(telegram: Telegram, tmp_path: Path) -> None:
    send(telegram, tmp_path, a_work(), text="{title}: {alt}")
    assert telegram.messages[0]["caption"] == "No. 3: Red and white flowers in a blue vase"


def test_a_caption_is_counted_in_utf16() -> None:
    settings = TelegramSettings(type="telegram", chat="@a", text="{caption}", secret_env="X")
    compose(settings, replace(a_work(), caption="🌷" * 512))
    with pytest.raises(Rejected, match="1,026 UTF-16 units"):
        compose(settings, replace(a_work(), caption="🌷" * 513))


def test_a_photo_that_is_too_narrow_is_refused_and_a_document_is_not() -> None:
    content = png()
    narrow = replace(a_work(content).picture, width_px=100, height_px=2001)
    work = replace(a_work(content), picture=narrow)
    with pytest.raises(Rejected, match='say send_as = "document"'):
        compose(TelegramSettings(type="telegram", chat="@a", secret_env="X"), work)
    compose(TelegramSettings(type="telegram", chat="@a", send_as="document", secret_env="X"), work)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (
            429,
            {"description": "Too Many", "parameters": {"retry_after": 35}},
            (Unavailable, 429, 35.0),
        ),
        (400, {"description": "Bad Request: chat not found"}, (Rejected, 403, None)),
        (
            400,
            {"description": "Bad Request: not enough rights to send photos"},
            (Rejected, 403, None),
        ),
        (400, {"description": "Bad Request: IMAGE_PROCESS_FAILED"}, (Rejected, 400, None)),
        (401, {"description": "Unauthorized"}, (Rejected, 401, None)),
        (404, {"description": "Not Found"}, (Rejected, 401, None)),
        (403, {"description": "Forbidden: bot was kicked"}, (Rejected, 403, None)),
    ],
)
def test_its_refusals_are_understood(
    tmp_path: Path, status: int, said: dict[str, Any], expected: tuple[type, int, float | None]
) -> None:
    refusing = Telegram()
    answer = as_json(status, {"ok": False, **said})
    with serving(lambda _: answer) as refusing.url, pytest.raises(DeliveryError) as refused:
        send(refusing, tmp_path, a_work())
    error = refused.value
    assert (type(error), error.status, error.retry_after_s) == expected
    assert TOKEN not in str(error)


def test_a_bot_that_was_thrown_out_is_told_before_anything_is_sent(
    telegram: Telegram, tmp_path: Path
) -> None:
    telegram.standing = "kicked"
    settings = TelegramSettings.model_validate(telegram.table(telegram.url, tmp_path))
    with pytest.raises(Rejected, match="make it an administrator"):
        CHANNEL.open(settings, tmp_path).check(NOON)


@pytest.mark.parametrize("token", ["", "abc", "12345", "abc:def", "123:a b", "https://t.me/x"])
def test_a_secret_that_is_no_token_is_refused(tmp_path: Path, token: str) -> None:
    (tmp_path / "secret").write_text(token)
    (tmp_path / "secret").chmod(0o600)
    settings = TelegramSettings(type="telegram", chat="@a", secret_file=Path("secret"))
    with pytest.raises(ConfigError):
        CHANNEL.open(settings, tmp_path)


def test_a_chat_is_a_name_with_an_at_or_a_number() -> None:
    TelegramSettings(type="telegram", chat="-1001234567890", secret_env="X")
    with pytest.raises(ValidationError, match='write "@name"'):
        TelegramSettings(type="telegram", chat="paintings", secret_env="X")

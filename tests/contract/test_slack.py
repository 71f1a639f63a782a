"""What is Slack's own: 200 for every refusal, uploads to where it says, files that are shared or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from artbot.errors import ConfigError, DeliveryError, OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Parcel
from artbot.publishing.channels.slack import CHANNEL, SlackSender, SlackSettings, compose
from artbot.publishing.work import Work
from tests.contract.peers.serving import as_json, serving
from tests.contract.peers.slack import CHANNEL_ID, Slack, run
from tests.unit.service.kit import NOON, a_work


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[Slack]:
    with run(tmp_path) as running:
        yield running


def opened(slack: Slack, workplace: Path) -> tuple[SlackSettings, SlackSender]:
    settings = SlackSettings.model_validate(slack.table(slack.url, workplace))
    sender = CHANNEL.open(settings, workplace)
    assert isinstance(sender, SlackSender)
    return settings, sender


def a_parcel(settings: SlackSettings, work: Work) -> Parcel:
    return Parcel("key", work, compose(settings, work))


def test_slacks_markup_in_a_title_is_only_text(slack: Slack, tmp_path: Path) -> None:
    settings, sender = opened(slack, tmp_path)
    parcel = a_parcel(settings, replace(a_work(), title="<!channel> A & B"))
    sender.prepare(parcel, NOON)
    receipt = sender.commit(parcel, NOON)
    assert slack.messages[0][0].startswith("&lt;!channel&gt; A &amp; B")
    assert (receipt.url or "").startswith("https://studio.slack.com/files/")


def test_a_file_that_waited_too_long_to_be_shared_is_uploaded_anew(
    slack: Slack, tmp_path: Path
) -> None:
    settings, sender = opened(slack, tmp_path)
    parcel = a_parcel(settings, a_work())
    sender.prepare(parcel, NOON)
    slack.files.clear()
    with pytest.raises(Unavailable, match="file_not_found"):
        sender.commit(parcel, NOON)
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    assert len(slack.messages) == 1


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ("invalid_auth", Rejected, 403),
        ("not_in_channel", Rejected, 403),
        ("missing_scope", Rejected, 403),
        ("ratelimited", Unavailable, None),
        ("internal_error", OutcomeUnknown, None),
        ("invalid_arguments", Rejected, 400),
    ],
)
def test_its_refusals_are_understood(
    slack: Slack, tmp_path: Path, error: str, kind: type[DeliveryError], status: int | None
) -> None:
    _, sender = opened(slack, tmp_path)
    slack.error = error
    with pytest.raises(kind, match=error) as refused:
        sender.check(NOON)
    assert refused.value.status == status


def test_a_picture_is_uploaded_to_slack_only(tmp_path: Path) -> None:
    elsewhere = {"ok": True, "upload_url": "https://example.org/upload", "file_id": "F1"}
    lying = Slack()
    with serving(lambda _: as_json(200, elsewhere)) as lying.url:
        settings, sender = opened(lying, tmp_path)
        with pytest.raises(Unavailable, match=r"example\.org, which is not Slack's"):
            sender.prepare(a_parcel(settings, a_work()), NOON)


def test_what_cannot_be_right_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match='write it like "C0123456789"'):
        SlackSettings(type="slack", channel="#paintings", secret_env="X")
    (tmp_path / "secret").write_text("https://hooks.slack.com/services/a/b/c")
    (tmp_path / "secret").chmod(0o600)
    settings = SlackSettings(type="slack", channel=CHANNEL_ID, secret_file=Path("secret"))
    with pytest.raises(ConfigError, match="bot token"):
        CHANNEL.open(settings, tmp_path)

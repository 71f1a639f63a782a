"""[web] and [keys] in artbot.toml: what they mean, and what is refused before anything listens."""

from __future__ import annotations

from pathlib import Path

import pytest

from artbot.config import Settings, load_settings
from artbot.domain.keys import ACTIONS
from artbot.errors import ConfigError
from artbot.publishing.channels import settings_models
from artbot.worker import hold_worker
from artbot.workplace import Workplace


def load(folder: Path, text: str) -> Settings:
    (folder / "artbot.toml").write_text(text, encoding="utf-8")
    return load_settings(folder, settings_models())


def test_the_page_is_for_this_machine_unless_artbot_toml_says_otherwise(tmp_path: Path) -> None:
    web = load(tmp_path, "").web
    assert (web.serve, web.host, web.is_loopback) == (False, "127.0.0.1", True)
    assert web.origins(8420) == {
        "127.0.0.1:8420": "http://127.0.0.1:8420",
        "localhost:8420": "http://localhost:8420",
        "[::1]:8420": "http://[::1]:8420",
    }
    assert web.address(8420) == "http://127.0.0.1:8420/"


def test_behind_a_proxy_its_name_is_answered_over_https(tmp_path: Path) -> None:
    web = load(tmp_path, '[web]\nallow_hosts = ["review.example.org"]\n').web
    assert web.address(8420) == "https://review.example.org/"
    assert "127.0.0.1:8420" in web.origins(8420)


def test_in_a_container_this_machines_name_is_answered_over_http(tmp_path: Path) -> None:
    web = load(tmp_path, '[web]\nhost = "0.0.0.0"\nallow_hosts = ["127.0.0.1:8420"]\n').web
    assert web.origins(8420) == {"127.0.0.1:8420": "http://127.0.0.1:8420"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('host = "0.0.0.0"', "without encryption"),
        ('host = "::"', "without encryption"),
        ('host = "192.168.1.7"', "without encryption"),
        ('host = "studio.local"', "is no address"),
        ("port = 0", "web.port: 0 is too small"),
        ("port = 65536", "too large"),
        ('allow_hosts = ["https://review.example.org"]', "is no name"),
        ('allow_hosts = ["review.example.org/"]', "is no name"),
        ('allow_hosts = ["*"]', "is no name"),
        ('allow_hosts = ["Review.example.org"]', "lower case"),
        ('serve = "yes please"', "neither true nor false"),
        ("prot = 8420", "did you mean port?"),
    ],
)
def test_what_the_page_cannot_be_is_refused(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, f"[web]\n{table}\n")
    assert words in str(error.value)


def test_keys_are_changed_by_action(tmp_path: Path) -> None:
    keys = load(tmp_path, '[keys]\napprove = "y"\nlater = ["space", "n"]\nfull = []\n').keys
    assert keys.of_keys["y"] == "approve"
    assert "a" not in keys.of_keys
    assert [key for key, action in keys.of_keys.items() if action == "later"] == ["space", "n"]
    assert "full" not in keys.of_keys.values()
    assert not keys.off
    assert load(tmp_path, "[keys]\noff = true\n").keys.off
    assert len(load(tmp_path, "").keys.of_keys) == sum(len(one.keys) for one in ACTIONS.values())


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('aprove = "y"', "keys: there is no action aprove; did you mean approve?"),
        ('approve = "x"', "the key 'x' would both 'approve' and 'reject'"),
        ("approve = 3", 'approve = 3 is no key; write approve = "a"'),
        ('approve = ["y", 3]', "is no key"),
        ('approve = "ctrl+a"', "'ctrl+a' is no key"),
        ("off = 3", "keys.off: 3 is neither true nor false"),
    ],
)
def test_what_no_key_can_be_is_refused(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, f"[keys]\n{table}\n")
    assert words in str(error.value)


def test_a_channel_that_needs_no_secret_is_no_trouble_while_a_daemon_runs(tmp_path: Path) -> None:
    from artbot.upkeep.needs import missing_secrets

    settings = load(
        tmp_path, '[channels.wall]\ntype = "gallery"\npath = "site"\nurl = "https://a.example"\n'
    )
    with hold_worker(settings.lock, "daemon"):
        assert missing_secrets(Workplace(settings), is_daemon_trusted=True) == []

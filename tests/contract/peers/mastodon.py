"""mastodon_mock: somebody else's stateful Mastodon API, read back by Mastodon.py.

It is kinder than Mastodon: it takes anything for a picture, gives every attachment away twice, and
processes nothing. fediverse.py is not.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from artbot.publishing.channels import Post
from artbot.publishing.channels.mastodon import known_limits
from tests.contract.peers import Peer, Seen
from tests.contract.peers.process import free_port, serving_process

TOKEN = "painter-token"
CONFIGURATION = f"""
[[seed.accounts]]
username = "painter"
access_token = "{TOKEN}"
"""


class Account:
    """What it shows of @painter."""

    def __init__(self, url: str) -> None:
        from mastodon import Mastodon

        self.url = url
        self._reader = Mastodon(access_token=TOKEN, api_base_url=url)
        self._me = self._reader.me()
        self._newest: str | None = None
        self._seen: list[Seen] = []

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(TOKEN)
        (workplace / "secret").chmod(0o600)
        return {"type": "mastodon", "url": url, "secret_file": "secret", "allow_private": True}

    def posts(self) -> list[Seen]:
        known_limits.clear()  # so that every delivery asks for them, and that can go wrong too
        page = self._reader.account_statuses(self._me, since_id=self._newest, limit=40)
        self._seen += [self._look_at(status) for status in reversed(page)]
        self._newest = page[0].id if page else self._newest
        return list(self._seen)

    def _look_at(self, status: Any) -> Seen:
        (picture,) = status.media_attachments
        where = urlsplit(picture.url).path  # its address names the proxy
        return Seen(
            self._reader.status_source(status).text,
            picture.description,
            requests.get(self.url + where, timeout=10).content,
        )


@contextmanager
def run(folder: Path) -> Iterator[Account]:
    for package in ("mastodon_mock", "mastodon"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install -e .[peers]")
    config = folder / "mock.toml"
    config.write_text(CONFIGURATION)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mastodon_mock", "serve", "--in-memory"]
    command += ["--config", str(config), "--port", str(port)]
    with serving_process(command, f"{url}/api/v1/instance", folder):
        yield Account(url)


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


def is_commit(method: str, path: str) -> bool:
    return method == "POST" and path == "/api/v1/statuses"


PEER = Peer("mastodon", run, is_commit, sees)

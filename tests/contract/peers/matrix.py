"""Matrix Synapse, the homeserver of matrix.org, on SQLite; a visitor reads the room back."""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from artbot.publishing.channels import Post
from artbot.publishing.channels.matrix import known_limits
from tests.contract.peers import Peer, Seen
from tests.contract.peers.process import free_port, serving_process

SERVER = "matrix.test"
SHARED_SECRET = "registers users"
MAX_UPLOAD_BYTES = 1024 * 1024


class Account:
    """Somebody with a token."""

    def __init__(self, url: str, user: str, is_admin: bool = False) -> None:
        """Registers them, as `register_new_matrix_user` does."""
        self.url, self.user = url, f"@{user}:{SERVER}"
        where = f"{url}/_synapse/admin/v1/register"
        nonce = requests.get(where, timeout=30).json()["nonce"]
        admin = "admin" if is_admin else "notadmin"
        said = "\0".join((nonce, user, "a long password", admin)).encode()
        answer = requests.post(
            where,
            json={
                "nonce": nonce,
                "username": user,
                "password": "a long password",
                "admin": is_admin,
                "mac": hmac.new(SHARED_SECRET.encode(), said, hashlib.sha1).hexdigest(),
            },
            timeout=30,
        )
        self.token: str = answer.json()["access_token"]

    def ask(self, method: str, path: str, said: object = None) -> requests.Response:
        answer = requests.request(
            method,
            f"{self.url}{path}",
            json=said,
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=30,
        )
        assert answer.ok, answer.text
        return answer

    def create_room(self, alias: str, *, is_encrypted: bool = False) -> str:
        """A public one; its id."""
        encryption = {
            "type": "m.room.encryption",
            "state_key": "",
            "content": {"algorithm": "m.megolm.v1.aes-sha2"},
        }
        said = {
            "preset": "public_chat",
            "room_alias_name": alias,
            "initial_state": [encryption] if is_encrypted else [],
        }
        room: str = self.ask("POST", "/_matrix/client/v3/createRoom", said).json()["room_id"]
        return room

    def limit_rate(self, per_second: int, burst: int, of: str) -> None:
        """0 and 0: none. Only an admin may."""
        where = f"/_synapse/admin/v1/users/{of}/override_ratelimit"
        self.ask("POST", where, {"messages_per_second": per_second, "burst_count": burst})


class Synapse:
    """A homeserver with a room."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.painter = Account(url, "painter", is_admin=True)
        self.painter.limit_rate(0, 0, self.painter.user)
        self.visitor = Account(url, "visitor")
        self.room = self.painter.create_room("paintings")
        self.visitor.ask("POST", f"/_matrix/client/v3/join/{quote(self.room)}", {})
        self._seen: dict[str, Seen] = {}

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        (workplace / "secret").write_text(self.painter.token)
        (workplace / "secret").chmod(0o600)
        return {
            "type": "matrix",
            "url": url,
            "room": f"#paintings:{SERVER}",
            "secret_file": "secret",
            "allow_private": True,
        }

    def events(self) -> list[dict[str, Any]]:
        """The room's messages, the oldest first."""
        found: list[dict[str, Any]] = []
        where = f"/_matrix/client/v3/rooms/{quote(self.room)}/messages?dir=f&limit=1000"
        start = ""
        while True:
            page = self.visitor.ask("GET", f"{where}{start}").json()
            found += [event for event in page["chunk"] if event["type"] == "m.room.message"]
            if not page.get("end"):
                return found
            start = f"&from={page['end']}"

    def posts(self) -> list[Seen]:
        known_limits.clear()  # so that every delivery asks for them, and that can go wrong too
        for event in (events := self.events()):
            if event["event_id"] not in self._seen:
                self._seen[event["event_id"]] = self._look_at(event["content"])
        return [self._seen[event["event_id"]] for event in events]

    def _look_at(self, content: dict[str, Any]) -> Seen:
        where = content["url"].removeprefix("mxc://")
        picture = self.visitor.ask("GET", f"/_matrix/client/v1/media/download/{where}").content
        return Seen(content["body"], None, picture)


@contextmanager
def run(folder: Path) -> Iterator[Synapse]:
    if importlib.util.find_spec("synapse") is None:
        pytest.skip("matrix-synapse is not installed: pip install -e .[peers]")
    port = free_port()
    config = folder / "homeserver.yaml"
    config.write_text(json.dumps(_configuration(folder, port)))  # JSON is YAML
    command = [sys.executable, "-m", "synapse.app.homeserver", "--config-path", str(config)]
    subprocess.run([*command, "--generate-keys"], check=True, cwd=folder, capture_output=True)
    url = f"http://127.0.0.1:{port}"
    with serving_process(command, f"{url}/health", folder):
        yield Synapse(url)


def _configuration(folder: Path, port: int) -> dict[str, Any]:
    listener = {
        "port": port,
        "type": "http",
        "tls": False,
        "bind_addresses": ["127.0.0.1"],
        "resources": [{"names": ["client"]}],
    }
    return {
        "server_name": SERVER,
        "report_stats": False,
        "listeners": [listener],
        "database": {"name": "sqlite3", "args": {"database": str(folder / "homeserver.db")}},
        "media_store_path": str(folder / "media"),
        "signing_key_path": str(folder / "signing.key"),
        "trusted_key_servers": [],
        "registration_shared_secret": SHARED_SECRET,
        "macaroon_secret_key": "signs tokens",
        "form_secret": "signs forms",
        "max_upload_size": "1M",
    }


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, None, post.picture.content)  # the alt text is in the text


PEER = Peer("matrix", run, lambda method, path: method == "PUT" and "/send/" in path, sees)

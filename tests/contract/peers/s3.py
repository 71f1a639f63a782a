"""A bucket of moto's server; what the public sees of a work are its facts, and the picture they name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artbot.publishing.channels import Post
from tests.contract.peers import Peer, Seen
from tests.contract.peers.store import Store, storing


@dataclass
class Bucket:
    store: Store

    @property
    def url(self) -> str:
        return self.store.url

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        return {"type": "s3", **self.store.table(url, workplace)}

    def posts(self) -> list[Seen]:
        files = self.store.files()
        records = [json.loads(files[key]) for key in files if key.startswith("works/")]
        return [
            Seen(record["text"], record["alt"], files[record["picture"]["file"]])
            for record in sorted(
                records, key=lambda record: (record["approved_at"], record["name"])
            )
        ]


@contextmanager
def run(folder: Path) -> Iterator[Bucket]:
    with storing() as store:
        yield Bucket(store)


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


PEER = Peer(
    "s3", run, is_commit=lambda method, path: method == "PUT" and "/works/" in path, sees=sees
)

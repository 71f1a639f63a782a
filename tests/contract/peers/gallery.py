"""The gallery in a bucket of moto's server, read as a visitor reads it: from the first page on, by its links."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

import pytest

from artbot.publishing.channels import Post
from artbot.publishing.gallery import sizes
from tests.contract.peers import Peer, Seen
from tests.contract.peers.store import Store, storing

ADDRESS = "https://art.example.org"


class Visit(HTMLParser):
    """What is on one page: links, pictures with their alt texts, and the text under the title."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__()
        self._folder = dirname(name)
        self.links: list[str] = []
        self.alts: list[str] = []
        self.older: str | None = None
        self.paragraphs: list[str] = []
        self._depth = 0
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = dict(attrs)
        if tag == "a" and (href := about.get("href")):
            link = normpath(f"{self._folder}/{href}".lstrip("/"))
            self.links.append(link)
            if about.get("rel") == "next":
                self.older = link
        if tag == "img":
            self.alts.append(about["alt"] or "")
        if tag == "div" and (self._depth or about.get("class") == "text"):
            self._depth += 1
        if self._depth and tag == "p":
            self.paragraphs.append("")
        if self._depth and tag == "br":
            self.paragraphs[-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag == "div" and self._depth:
            self._depth -= 1

    def handle_data(self, data: str) -> None:
        if self._depth and self.paragraphs:
            self.paragraphs[-1] += data

    @property
    def works(self) -> list[str]:
        """Pages of works that are linked to, in their order."""
        found = [
            link for link in self.links if link.startswith("works/") and link.endswith(".html")
        ]
        return list(dict.fromkeys(found))


def works_on_the_wall(read: Any) -> list[str]:
    """Their pages as the wall links to them, the oldest first. `read(name)` brings a file."""
    found: list[str] = []
    page: str | None = "index.html"
    while page is not None:
        visit = Visit(page, read(page))
        found += visit.works
        page = visit.older
    return found[::-1]


def seen_on(name: str, read: Any) -> Seen:
    """A work as its page shows it."""
    visit = Visit(name, read(name))
    (original,) = [link for link in visit.links if link.startswith("pictures/")]
    (alt,) = visit.alts
    return Seen("\n\n".join(visit.paragraphs), alt, read(original))


@dataclass
class Site:
    store: Store

    @property
    def url(self) -> str:
        return self.store.url

    def table(self, url: str, workplace: Path) -> dict[str, Any]:
        return {"type": "gallery", "url": ADDRESS, **self.store.table(url, workplace)}

    def posts(self) -> list[Seen]:
        files = self.store.files()
        if not files:
            return []
        return [seen_on(page, files.__getitem__) for page in works_on_the_wall(files.__getitem__)]


@contextmanager
def run(folder: Path) -> Iterator[Site]:
    with storing() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sizes, "SIDES_PX", (16, 32)
        )  # large pictures take long, and are not looked at here
        yield Site(store)


def sees(post: Post) -> Seen:
    assert post.picture is not None
    return Seen(post.text, post.alt, post.picture.content)


def is_commit(method: str, path: str) -> bool:
    """The record: whoever hangs a work next shows all that have one."""
    return method == "PUT" and "/works/" in path and path.endswith(".json")


PEER = Peer("gallery", run, is_commit=is_commit, sees=sees)

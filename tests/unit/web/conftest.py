"""A real server of the review page on a real socket, and a browser that does what a test says."""

from __future__ import annotations

import http.client
import itertools
import json
import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from artbot.config import WebSettings
from artbot.desk import Desk, Tile
from artbot.review.decisions import Author
from artbot.web.logins import give_code
from artbot.web.serving import serve
from artbot.workplace import Workplace, open_workplace
from db.models import Decision
from tests.unit.service.kit import add_works

CONFIG = """
[channels.wall]
type = "gallery"
path = "site"
url = "https://example.org/wall"
slots = ["daily 12:00"]
"""
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Sends what it is told to; a header that is None is left out."""

    port: int
    host: str = ""
    cookie: str = ""
    csrf: str = ""

    @property
    def own(self) -> str:
        """The Host that it asks for."""
        return self.host or f"127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str | None] = {},
        body: bytes | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            sent: dict[str, str | None] = {"Host": self.own, "Cookie": self.cookie or None}
            if body is not None:
                sent["Content-Length"] = str(len(body))
            for name, value in {**sent, **headers}.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.msg, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", path, named)

    def post(self, path: str, form: Mapping[str, object] = {}, **headers: str | None) -> Answer:
        """As a page of ours does, without JavaScript. A list in the form is a repeated field."""
        scheme = "http" if not self.host else "https"
        usual: dict[str, str | None] = {
            "Origin": f"{scheme}://{self.own}",
            "Content-Type": FORM,
        }
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        fields = ({"csrf": self.csrf} if self.csrf else {}) | dict(form)
        return self.ask("POST", path, usual | named, urlencode(fields, doseq=True).encode())

    def act(self, path: str, form: Mapping[str, object] = {}) -> Answer:
        """As its JavaScript does."""
        return self.post(path, form, Accept=JSON)

    def log_in(self, code: str) -> Answer:
        answer = self.post("/login", {"token": code})
        assert answer.status == 303, answer.text
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        found = re.search(r'name="csrf" value="(\w+)"', self.get("/help").text)
        assert found
        self.csrf = found[1]
        return answer


@dataclass
class House:
    """A workplace with works to decide on, and its page."""

    workplace: Workplace
    port: int
    lines: list[str] = field(default_factory=list)
    """What was logged."""
    fresh: Iterator[int] = field(default_factory=itertools.count)
    """Works that no test has touched yet."""

    def browser(self, host: str = "") -> Browser:
        return Browser(self.port, host)

    def code(self, by: str = "anna") -> str:
        return give_code(self.workplace.settings.web_logins, by)

    def logged_in(self, by: str = "anna") -> Browser:
        browser = self.browser()
        browser.log_in(self.code(by))
        return browser

    @property
    def desk(self) -> Desk:
        """Of somebody at another face."""
        return Desk(self.workplace, Author("ben", "cli"))

    def tile(self, candidate_id: int | None = None) -> Tile:
        return self.desk.tile(next(self.fresh) if candidate_id is None else candidate_id)

    def decisions(self) -> list[tuple[int, str, str, str]]:
        with self.workplace.database.read() as session:
            rows = session.query(Decision).order_by(Decision.id)
            return [(row.candidate_id, row.now, row.by, row.via) for row in rows]


def seen(tile: Tile) -> dict[str, object]:
    """The fields that say what lay before the person."""
    return {"image_sha256": tile.seen.image_sha256, "row_version": tile.seen.row_version}


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


@contextmanager
def serving(workplace: Workplace, web: WebSettings) -> Iterator[House]:
    """Its page on a free port, in a thread; the house's log is what the process would write."""
    from artbot.redaction import RedactingFormatter

    ready, stops = threading.Event(), []
    addresses: list[str] = []

    def on_ready(address: str) -> None:
        addresses.append(address)
        ready.set()

    thread = threading.Thread(target=serve, args=(workplace, web, 0, on_ready, stops.append))
    thread.start()
    assert ready.wait(20)
    listens_at = workplace.settings.web_lock.read_text().splitlines()[1]
    house = House(workplace, urlsplit(listens_at).port or 0)
    handler = _Lines(house.lines)
    handler.setFormatter(RedactingFormatter("%(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("artbot", "uvicorn.error")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield house
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        stops[0]()
        thread.join(20)
        assert not thread.is_alive()


def make_house(root: Path, migrated: Path, count: int) -> tuple[Workplace, list[int]]:
    (root / "db").mkdir(parents=True)
    shutil.copy(migrated, root / "db" / "artbot.sqlite3")
    (root / "artbot.toml").write_text(CONFIG)
    workplace = open_workplace(root)
    return workplace, add_works(workplace.database, root / "works", count)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[House]:
    """One for all tests of a module: each takes works of its own (`house.tile()`)."""
    root = tmp_path_factory.mktemp("house") / "studio"
    workplace, ids = make_house(root, migrated_file, 120)
    with serving(workplace, WebSettings()) as opened:
        opened.fresh = iter(ids)
        yield opened
    workplace.close()


@pytest.fixture(scope="module")
def _anna(house: House) -> Browser:
    return house.logged_in()


@pytest.fixture
def anna(_anna: Browser) -> Browser:
    """Logged in; a copy, so that a test can make it forget something."""
    return Browser(_anna.port, _anna.host, _anna.cookie, _anna.csrf)


@pytest.fixture
def own_house(tmp_path: Path, migrated_file: Path) -> Iterator[Callable[..., House]]:
    """A house of this test's own; called with what [web] says."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def open_house(count: int = 3, **web: object) -> House:
            workplace, ids = make_house(tmp_path / "studio", migrated_file, count)
            stack.callback(workplace.close)
            opened = stack.enter_context(serving(workplace, WebSettings.model_validate(web)))
            opened.fresh = iter(ids)
            return opened

        yield open_house

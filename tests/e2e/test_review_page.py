"""A day at the review page, in a real browser: by keys alone, by touch, without JavaScript, and with somebody else at it.

One server, one browser; every story has a batch of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from sqlalchemy import select
from sqlalchemy.orm import Session

from artbot.config import load_settings
from artbot.desk import Desk, Show, Tile
from artbot.domain.candidate import CandidateState
from artbot.init import make_workplace
from artbot.publishing.channels import settings_models
from artbot.review.decisions import Author, Words
from artbot.studio.provenance import likeness
from artbot.web.logins import give_code
from artbot.web.serving import serve
from artbot.workplace import Workplace
from db.models import Batch, Candidate
from tests.unit.service.kit import CHECKPOINT, a_batch, a_checkpoint, put
from trainers.data.sources.demo import paint_still_lifes

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CHECKOUT = Path(__file__).resolve().parents[2]
AXE = CHECKOUT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
DESK, PHONE = (1280, 800), (390, 844)
SOON_MS = 60_000
"""Far longer than anything here takes; nothing waits for it to pass."""
expect.set_options(timeout=SOON_MS)
ALT = "White and red tulips in a round vase, in front of a green wall"
CHANNELS = """
[channels.studio]
type = "webhook"
url = "https://example.org"
secret_file = "secrets/webhook"
slots = ["daily 18:30"]
timezone = "Europe/Berlin"

[channels.toots]
type = "mastodon"
url = "https://example.org"
secret_file = "secrets/toots"
"""


@dataclass
class Studio:
    """A workplace whose page is served, and a browser."""

    workplace: Workplace
    url: str
    browser: Browser
    paintings: list[Path]
    complaints: list[str] = field(default_factory=list)
    """What browsers had to say of the pages: a broken rule of the Content-Security-Policy, an error of ours."""
    num_batches: int = 0

    @property
    def ben(self) -> Desk:
        """Somebody else, at another face."""
        return Desk(self.workplace, Author("ben", "tui"))

    def lay(self, count: int, num_alike: int = 0) -> tuple[str, list[int]]:
        """A new batch with so many pictures of the demo's still lifes; its key and their ids. The last
        `num_alike` look the same."""
        self.num_batches += 1
        first_alike = count - num_alike + 1
        with self.workplace.database.write() as session:
            batch = a_batch(day=date(2026, 1, 1) + timedelta(days=self.num_batches))
            put(session, batch)
            ids = [
                self._paint(session, batch, index, min(index, first_alike))
                for index in range(1, count + 1)
            ]
        return batch.key, ids

    def add_to(self, key: str, index: int) -> int:
        """One more picture in a batch, as the daemon adds children."""
        with self.workplace.database.write() as session:
            batch = session.scalars(select(Batch).where(Batch.key == key)).one()
            return self._paint(session, batch, index, index)

    def _paint(self, session: Session, batch: Batch, index: int, looks: int) -> int:
        painting = self.paintings[(looks - 1) % len(self.paintings)]
        content, path = painting.read_bytes(), f"{batch.key}/{index:03d}.png"
        file = self.workplace.settings.works / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        row = Candidate(
            batch_id=batch.id,
            index=index,
            name=f"{batch.key}-{index:03d}",
            seed=index,
            checkpoint_sha256=CHECKPOINT,
            recipe={"version": 1, "truncation_psi": 1.0},
            state=CandidateState.PENDING,
            planned_at=datetime.now(UTC),
            rendered_at=datetime.now(UTC),
            path=path,
            width=96,
            height=96,
            num_bytes=len(content),
            image_sha256=hashlib.sha256(content).hexdigest(),
            pixel_sha256="b" * 64,
            environment={"torch": "2.13"},
            likeness=str(likeness(np.asarray(Image.open(painting)))),
        )
        put(session, row)
        return row.id

    def tile(self, number: int) -> Tile:
        return self.ben.tile(number)

    @contextmanager
    def visiting(
        self, size: tuple[int, int] = DESK, *, is_logged_in: bool = True, **how: Any
    ) -> Iterator[Page]:
        """A tab of a browser of its own."""
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            base_url=self.url,
            is_mobile=size == PHONE,
            has_touch=size == PHONE,
            **how,
        )
        context.set_default_timeout(SOON_MS)
        try:
            page = self.tab(context)
            if is_logged_in:
                self.log_in(page)
            yield page
        finally:
            context.close()

    def tab(self, context: BrowserContext) -> Page:
        page = context.new_page()
        page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type == "error" else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return page

    def log_in(self, page: Page) -> None:
        page.goto(f"/login#{give_code(self.workplace.settings.web_logins, 'anna')}")
        page.wait_for_url("**/")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    if CHROMIUM is None:
        pytest.skip("no chromium here; tests/install-browser.sh brings one")
    root = tmp_path_factory.mktemp("studio")
    make_workplace(root)
    (root / "artbot.toml").write_text(CHANNELS)
    paintings = root / "paintings"
    paintings.mkdir()
    paint_still_lifes(paintings, count=8, size_px=96)
    workplace = Workplace(load_settings(root, settings_models()))
    with workplace.database.write() as session:
        session.add(a_checkpoint())
    with serving(workplace) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield Studio(workplace, url, browser, as_png(paintings))
        browser.close()
    workplace.close()


def as_png(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.iterdir()):
        Image.open(path).save(path.with_suffix(".png"))
        found.append(path.with_suffix(".png"))
    return found


@contextmanager
def serving(workplace: Workplace) -> Iterator[str]:
    """The page, as `artbot review --web` serves it, on any free port."""
    told: list[str] = []
    stops: list[Callable[[], None]] = []
    is_ready = threading.Event()

    def on_ready(url: str) -> None:
        told.append(url)
        is_ready.set()

    thread = threading.Thread(
        target=serve, args=(workplace, workplace.settings.web, 0, on_ready, stops.append)
    )
    thread.start()
    try:
        assert is_ready.wait(300)
        yield told[0]
    finally:
        stops[0]()
        thread.join(300)


@pytest.fixture(autouse=True)
def _no_browser_complains(studio: Studio) -> Iterator[None]:
    studio.complaints.clear()
    yield
    refusals = ("422 (", "404 (", "409 (", "403 (", "401 (", "400 (", "ERR_INTERNET_DISCONNECTED")
    assert [each for each in studio.complaints if not any(word in each for word in refusals)] == []


def tile_of(page: Page, number: int) -> Locator:
    return page.locator(f"#tile-{number}")


def shown(page: Page) -> int:
    """The picture in the loupe."""
    return int(page.locator("#card").get_attribute("data-id") or 0)


def all_sent(page: Page) -> None:
    """Everything that was decided has its answer."""
    expect(page.locator("body")).to_have_attribute("data-waiting", "0")


def expect_shown(page: Page, number: int) -> None:
    expect(page.locator("#card")).to_have_attribute("data-id", str(number))
    expect(page.locator("#card[data-waits]")).to_have_count(0)
    expect(page.locator("#card img.work")).to_have_attribute("src", _ending(number))


def _ending(number: int) -> re.Pattern[str]:
    return re.compile(rf"^/pictures/{number}/[0-9a-f]{{64}}\.png$")


# ---------------------------------------------------------------- by keys alone


def test_a_day_by_keys_alone(studio: Studio) -> None:
    key, ids = studio.lay(8)
    with studio.visiting((1200, 800)) as page:
        page.goto(f"/?batch={key}")
        press = page.keyboard.press
        expect(tile_of(page, ids[0])).to_have_class("tile selected")
        expect(page.locator("h1")).to_contain_text("8 pictures wait")

        # In the grid: what is decided dims and stays, the next one is selected, nothing else moves.
        press("x")
        expect(tile_of(page, ids[0])).to_have_class("tile decided")
        expect(tile_of(page, ids[0])).to_contain_text("rejected")
        expect(tile_of(page, ids[1]).locator(".open")).to_be_focused()
        expect(page.locator("h1")).to_contain_text("7 pictures wait")
        press("3")
        expect(tile_of(page, ids[1]).locator(".stars")).to_be_visible()
        press("ArrowRight")
        expect(tile_of(page, ids[2]).locator(".open")).to_be_focused()
        press("h")
        expect(tile_of(page, ids[1]).locator(".open")).to_be_focused()

        # An approval wants an alt text, and says so; Enter approves with it.
        press("Enter")
        expect_shown(page, ids[1])
        for name in ("Approve", "Later", "Reject"):
            box = page.get_by_role("button", name=name).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= 800, f"{name} is below the fold"
        press("a")
        expect(page.locator("#alt")).to_be_focused()
        expect(page.locator("#alt-words")).to_be_visible()
        page.keyboard.insert_text(ALT)
        press("x")  # somebody writes: no picture is rejected
        press("Backspace")
        expect(page.locator("#fits")).to_contain_text(f"{len(ALT)} of 1500")
        press("Enter")
        expect_shown(page, ids[2])
        expect(page.locator("#toast")).to_contain_text("Approved")
        approved = studio.ben.open(ids[1])
        assert (approved.tile.state, approved.words.alt, approved.tile.stars) == (
            "approved",
            ALT,
            3,
        )
        assert [delivery.channel for delivery in approved.deliveries] == ["studio", "toots"]

        # In the grid as well; then the grid is there again.
        press("g")
        expect(tile_of(page, ids[2]).locator(".open")).to_be_focused()
        press("a")
        expect(page.locator("#alt")).to_be_focused()
        page.keyboard.insert_text(ALT + ", seen from the side")
        press("Enter")
        expect(tile_of(page, ids[3]).locator(".open")).to_be_focused()
        expect(tile_of(page, ids[2])).to_contain_text("approved")
        press("u")
        expect(tile_of(page, ids[2])).to_contain_text("pending")
        press("Enter")
        expect_shown(page, ids[2])

        # Later, undo as far as one likes, redo; the selection goes along.
        press("Space")
        expect_shown(page, ids[3])
        press("x")
        expect_shown(page, ids[4])
        for number in (ids[3], ids[2], ids[1]):
            press("u")
            expect_shown(page, number)
            expect(page.locator("#channels")).to_contain_text("Goes to")
        expect(page.locator("#alt")).to_have_value(ALT)  # what was written outlives its approval
        expect(page.locator("#card .state")).to_contain_text("pending")
        press("u")  # the three stars
        expect(page.get_by_role("button", name="3 stars")).to_have_attribute(
            "aria-pressed", "false"
        )
        for _ in range(3):
            press("U")
        expect_shown(page, ids[2])
        expect(page.locator("#card .state")).to_contain_text("later")
        all_sent(page)
        assert [studio.tile(n).state for n in ids[:4]] == [
            "rejected",
            "approved",
            "later",
            "pending",
        ]

        # What is left is rejected together, after a question, and comes back together.
        press("g")
        expect(tile_of(page, ids[2])).to_be_visible()
        press("X")
        expect(page.locator("#ask")).to_contain_text("all 5")
        press("Tab")
        press("Enter")
        expect(tile_of(page, ids[7])).to_contain_text("rejected")
        expect(page.locator("#toast")).to_contain_text("Rejected 5")
        press("u")
        expect(tile_of(page, ids[7])).to_contain_text("pending")
        all_sent(page)
        assert {studio.tile(n).state for n in ids[3:]} == {"pending"}

        # All decided: how the day stands, and what comes. Even that can be taken back.
        expect(page.locator("#end")).to_have_count(0)
        page.goto(f"/works/{ids[3]}?batch={key}")
        for number in [*ids[3:], ids[2]]:
            expect_shown(page, number)
            press("x")
        expect(page.locator("#end")).to_contain_text("approved")
        assert {studio.tile(n).state for n in ids[2:]} == {"rejected"}
        press("u")
        expect(tile_of(page, ids[2]).locator(".open")).to_be_focused()
        expect(page.locator("#end")).to_have_count(0)
        assert studio.tile(ids[2]).state == "later"


def test_keys_are_silent_where_they_are_switched_off(studio: Studio) -> None:
    key, ids = studio.lay(2)
    with studio.visiting() as page:
        page.goto(f"/?batch={key}")
        page.keyboard.press("?")
        page.wait_for_url("**/help")
        page.get_by_role("button", name="Switch them off").click()
        expect(page.get_by_role("button", name="Switch them on")).to_be_visible()
        page.goto(f"/works/{ids[0]}?batch={key}")
        page.keyboard.press("x")
        page.get_by_role("button", name="Later").click()
        expect_shown(page, ids[1])
        all_sent(page)
        assert studio.tile(ids[0]).state == "later"


def test_side_by_side_and_the_winner_stays(studio: Studio) -> None:
    key, ids = studio.lay(6)
    with studio.visiting() as page:
        page.goto(f"/?batch={key}")
        expect(tile_of(page, ids[0])).to_have_class("tile selected")
        for _ in range(3):
            page.keyboard.press("v")
            page.keyboard.press("l")
        page.keyboard.press("c")
        page.wait_for_url("**/compare?*")
        panes = page.locator(".pane img.work")
        expect(panes).to_have_count(3)
        page.locator(".pane .frame").first.hover()
        page.mouse.wheel(0, -600)
        styles = [pane.evaluate("image => image.style.transform") for pane in panes.all()]
        assert len(set(styles)) == 1
        assert "scale(2." in styles[0], "all of them are zoomed alike"
        page.keyboard.press("l")
        page.keyboard.press("x")
        expect(page.locator(f'.pane[data-id="{ids[1]}"] .state')).to_contain_text("rejected")

        query = "&".join(f"id={number}" for number in [ids[0], *ids[2:]])
        page.goto(f"/compare?finals=1&{query}")
        expect(page.locator(".pane:visible")).to_have_count(2)
        page.keyboard.press("ArrowLeft")  # 0 before 2
        page.keyboard.press("ArrowRight")  # 3 before 0
        page.keyboard.press("u")
        page.keyboard.press("ArrowDown")  # 0 and 3
        page.keyboard.press("ArrowLeft")  # 0 before 4
        page.keyboard.press("ArrowLeft")  # 0 before 5
        expect(page.locator("#won li")).to_have_count(2)
        expect(page.locator("#won")).to_contain_text(f"{ids[0]}")
        expect(page.locator("#toast")).to_contain_text("the last")
        all_sent(page)
        page.get_by_role("link", name=str(ids[3])).click()
        expect_shown(page, ids[3])
        states = [studio.tile(number).state for number in ids]
        assert states == ["pending", "rejected", "later", "pending", "later", "later"]


# ---------------------------------------------------------------- by touch


def test_a_day_by_touch(studio: Studio) -> None:
    key, ids = studio.lay(6, num_alike=3)
    with studio.visiting(PHONE) as page:
        page.goto(f"/?batch={key}")
        tile_of(page, ids[0]).locator(".open").tap()
        expect_shown(page, ids[0])
        swipe(page, -160, 0)
        expect_shown(page, ids[1])
        swipe(page, 0, -160)
        expect_shown(page, ids[2])
        all_sent(page)
        assert [studio.tile(n).state for n in ids[:3]] == ["rejected", "later", "pending"]
        page.locator("#toast").get_by_role("button", name="Undo").tap()
        expect_shown(page, ids[1])
        expect(page.locator("#card .state")).to_contain_text("pending")
        swipe(page, 30, 10)  # not far enough to mean anything
        assert studio.tile(ids[1]).state == "pending"

        swipe(page, 160, 0)
        expect(page.locator("#alt")).to_be_focused()
        page.locator("#alt").fill(ALT + " by touch")
        page.get_by_role("button", name="Approve").tap()
        expect_shown(page, ids[2])
        expect(page.locator("#toast")).to_contain_text("Approved")
        assert studio.tile(ids[1]).state == "approved"
        page.get_by_role("button", name="4 stars").tap()
        expect(page.get_by_role("button", name="4 stars")).to_have_attribute("aria-pressed", "true")
        page.get_by_role("button", name="Mark").tap()
        page.get_by_role("link", name="All pictures").tap()
        expect(page.locator("#marks")).to_contain_text("1 marked")
        tile_of(page, ids[2]).get_by_role("button", name="Later").tap()
        expect(tile_of(page, ids[2])).to_contain_text("later")

        # Those that look alike lie under each other until they are looked at.
        expect(tile_of(page, ids[4])).to_be_hidden()
        page.get_by_text("+2").tap()
        expect(tile_of(page, ids[5])).to_be_visible()
        tile_of(page, ids[5]).get_by_role("button", name="Reject").tap()
        expect(tile_of(page, ids[5])).to_contain_text("rejected")


def swipe(page: Page, x: int, y: int) -> None:
    """One finger over the picture, as a phone tells it."""
    box = page.locator("#stage").bounding_box()
    assert box
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    session = page.context.new_cdp_session(page)
    ask = session.send
    ask("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    for part in (0.3, 0.6, 1):
        moved = {"x": at["x"] + x * part, "y": at["y"] + y * part}
        ask("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [moved]})
    ask("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    session.detach()


# ---------------------------------------------------------------- without JavaScript


def test_a_day_without_javascript(studio: Studio) -> None:
    key, ids = studio.lay(4)
    with studio.visiting(PHONE, is_logged_in=False, java_script_enabled=False) as page:
        page.goto(f"/?batch={key}")
        page.get_by_label("Code").fill(give_code(studio.workplace.settings.web_logins, "anna"))
        page.get_by_role("button", name="Open").click()
        tile_of(page, ids[0]).get_by_role("button", name="Reject").click()
        expect(page.locator("#notice")).to_contain_text("Rejected")
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("#notice")).to_contain_text("pending again")
        tile_of(page, ids[0]).locator(".open").click()
        page.get_by_role("button", name="2 stars").click()
        page.get_by_role("button", name="Approve").click()
        expect(page.locator("#notice")).to_contain_text("draft")
        page.get_by_label("Alt text").fill(ALT + " without")
        page.locator("details.more summary").click()
        page.get_by_label("Title").fill("Tulips")
        page.get_by_label("studio").uncheck()
        page.get_by_role("button", name="Approve").click()
        expect(page.locator("#notice")).to_contain_text("Approved")
        assert shown(page) == ids[1], "the next one lies there"
        page.get_by_role("button", name="Later").click()
        assert shown(page) == ids[2]
        page.get_by_role("button", name="Reject").click()
        assert shown(page) == ids[3]
        card = studio.ben.open(ids[0])
        assert (card.words.title, card.words.alt, card.tile.stars) == (
            "Tulips",
            ALT + " without",
            2,
        )
        assert [delivery.channel for delivery in card.deliveries] == ["toots"]
        assert [studio.tile(n).state for n in ids] == ["approved", "later", "rejected", "pending"]


# ---------------------------------------------------------------- with others, and without a line


def test_who_is_overtaken_is_told_and_nothing_is_overwritten(studio: Studio) -> None:
    key, ids = studio.lay(4)
    with studio.visiting() as page:
        page.goto(f"/works/{ids[0]}?batch={key}")
        expect_shown(page, ids[0])
        studio.ben.reject(ids[0], studio.tile(ids[0]).seen)
        page.keyboard.press("Space")
        expect_shown(page, ids[1])  # at once
        expect(page.locator("#alarm")).to_contain_text("ben")
        page.locator("#alarm").get_by_role("button", name="Show it").click()
        expect_shown(page, ids[0])
        expect(page.locator("#card .state")).to_contain_text("rejected")
        assert studio.tile(ids[0]).state == "rejected"

        # What others decide is seen without an act of one's own, and so is what comes.
        page.keyboard.press("g")
        studio.ben.reject(ids[2], studio.tile(ids[2]).seen)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(tile_of(page, ids[2])).to_have_class("tile decided")
        expect(tile_of(page, ids[2]).locator(".reason")).to_contain_text("ben")
        born = studio.add_to(key, 5)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(tile_of(page, born)).to_be_visible()
        expect(page.locator(".chip[aria-current]")).to_contain_text("3")

    with studio.visiting() as one, studio.visiting() as other:
        for page in (one, other):
            page.goto(f"/?batch={key}")
            expect(tile_of(page, ids[1])).to_have_class("tile selected")
        one.keyboard.press("x")
        expect(tile_of(one, ids[1])).to_contain_text("rejected")
        expect(one.locator("#toast")).to_contain_text("rejected")
        all_sent(one)
        other.keyboard.press("Space")
        expect(other.locator("#alarm")).to_contain_text("anna")
        expect(tile_of(other, ids[1])).to_contain_text("rejected")


def test_what_is_decided_without_a_line_is_sent_when_there_is_one(studio: Studio) -> None:
    key, ids = studio.lay(4)
    with studio.visiting() as page:
        page.goto(f"/?batch={key}")
        expect(tile_of(page, ids[0])).to_have_class("tile selected")
        page.context.set_offline(True)
        page.keyboard.press("x")
        page.keyboard.press("4")
        page.keyboard.press("Space")
        expect(page.locator("#offline")).to_contain_text("3 decisions wait")
        assert studio.tile(ids[0]).state == "pending"
        page.context.set_offline(False)
        page.evaluate("dispatchEvent(new Event('online'))")
        expect(page.locator("#offline")).to_be_hidden()
        all_sent(page)
        expect(page.locator("h1")).to_contain_text("3 pictures wait")
        page.goto(f"/?batch={key}")
        told = [(studio.tile(n).state, studio.tile(n).stars) for n in ids[:3]]
        assert told == [("rejected", 0), ("later", 4), ("pending", 0)]


# ---------------------------------------------------------------- the other pages


def test_the_queue_is_put_in_order_by_buttons(studio: Studio) -> None:
    _, ids = studio.lay(1)
    studio.ben.approve(
        ids[0], studio.tile(ids[0]).seen, Words(alt=ALT + " that wait", title="Wait")
    )
    with studio.visiting() as page:
        page.goto("/queue")
        line = page.locator("#channel-studio .entry").filter(has_text="Wait")
        line.get_by_text("Move", exact=True).click()
        line.get_by_label("To").fill("23:55")
        line.get_by_role("button", name="Move it").click()
        expect(page.locator("#notice")).to_be_visible()
        expect(line.locator(".time")).to_have_text("23:55")
        line.get_by_role("button", name="Hold").click()
        expect(line.locator(".time")).to_have_text("held")
        line.get_by_role("button", name="Let it go").click()
        expect(line.get_by_role("button", name="Hold")).to_be_visible()
        expect(page.locator("#channel-studio .gap").first).to_contain_text("free")


# ---------------------------------------------------------------- for everybody


@pytest.fixture(scope="module")
def pages(studio: Studio) -> dict[str, str]:
    """An address for every page."""
    key, ids = studio.lay(8, num_alike=2)
    ben = studio.ben
    ben.give_stars(ids[0], 3, studio.tile(ids[0]).seen)
    ben.reject(ids[1], studio.tile(ids[1]).seen)
    ben.put_off(ids[2], studio.tile(ids[2]).seen)
    ben.approve(ids[5], studio.tile(ids[5]).seen, Words(alt=ALT + " for all"))
    grids = studio.workplace.settings.runs / "tulips" / "samples"
    grids.mkdir(parents=True)
    for kimg in (4, 8):
        shutil.copy(studio.paintings[0], grids / f"kimg-{kimg:010.3f}.png")
    (grids.parent / "stats.jsonl").write_text('{"kimg": 4.0}\n{"kimg": 8.0, "kid_x1000": 31.5}\n')
    empty, [only] = studio.lay(1)
    ben.reject(only, studio.tile(only).seen)
    assert ben.lay_out(Show.UNDECIDED, empty).counts[Show.UNDECIDED] == 0
    return {
        "the sheet": f"/?show=all&batch={key}",
        "nothing left": f"/?batch={empty}",
        "a picture": f"/works/{ids[0]}?batch={key}",
        "a decided one": f"/works/{ids[1]}?batch={key}&show=all",
        "side by side": f"/compare?id={ids[0]}&id={ids[3]}&id={ids[4]}",
        "the final": f"/compare?finals=1&id={ids[0]}&id={ids[3]}&id={ids[4]}",
        "the queue": "/queue",
        "the runs": "/runs",
        "a run": "/runs/tulips",
        "the keys": "/help",
        "an error": "/works/999999",
        "the door": "/login",
    }


def test_the_grids_of_a_run_go_by_under_a_key(studio: Studio, pages: dict[str, str]) -> None:
    with studio.visiting() as page:
        page.goto(pages["a run"])
        expect(page.locator("#at")).to_have_text("8 kimg")
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#at")).to_have_text("4 kimg")
        expect(page.locator("#grid")).to_have_attribute("src", re.compile(r"kimg-000004"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_on_a_page_keeps_anybody_from_it(
    studio: Studio, pages: dict[str, str], size: tuple[int, int], scheme: str
) -> None:
    """By axe-core's rules for WCAG 2.2 A and AA, and its best practices; nothing lies off to the side."""
    if not AXE.is_file():
        pytest.skip("no axe-core here; tests/install-axe.sh brings it")
    found: dict[str, object] = {}
    with (
        studio.visiting(size, color_scheme=scheme) as inside,
        studio.visiting(size, color_scheme=scheme, is_logged_in=False) as outside,
    ):
        for name, address in pages.items():
            page = outside if name == "the door" else inside
            page.goto(address)
            page.evaluate(
                "document.querySelectorAll('details').forEach(each => { each.open = true })"
            )
            page.evaluate(AXE.read_text())
            said = json.loads(page.evaluate(_AXE_RUN))
            if said["violations"]:
                found[name] = [
                    (v["id"], [n["html"] for n in v["nodes"]][:3]) for v in said["violations"]
                ]
            assert {"color-contrast", "bypass"} <= {rule["id"] for rule in said["passes"]}
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                found[f"{name}, sideways"] = page.evaluate("document.documentElement.scrollWidth")
            small = page.evaluate(_SMALL)
            if small:
                found[f"{name}, small"] = small
    assert found == {}


_AXE_RUN = "axe.run({resultTypes: ['violations']}).then(found => JSON.stringify(found))"
_SMALL = """[...document.querySelectorAll('button, input, select, textarea, summary, nav a')]
    .filter(each => each.offsetParent && each.type !== 'checkbox' && each.type !== 'range')
    .map(each => [each.outerHTML.slice(0, 90), each.getBoundingClientRect()])
    .filter(([, box]) => box.height < 43.5 || box.width < 43.5).map(([html]) => html)"""
"""What can be pressed, and is smaller than 44 px."""

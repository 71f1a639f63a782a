"""The gallery as a site: whole at every moment, knows its own works, can be read by everybody and every reader.

That each work is shown once, in a bucket, whatever becomes of the requests: test_channels.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from posixpath import normpath
from typing import Any

import jsonschema
import pytest
from PIL import Image

from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.publishing.channels import Handles, Outlet, Parcel, public_picture
from artbot.publishing.channels.gallery import CHANNEL, GallerySettings
from artbot.publishing.gallery import places, sizes
from artbot.publishing.gallery.records import Record, read_record
from artbot.publishing.gallery.site import PER_PAGE
from artbot.publishing.outbox import Outbox, deliver_due, recover_interrupted
from artbot.publishing.work import Picture, Work
from artbot.publishing.xmp import SOURCE_TYPE
from artbot.review.decisions import Words, approve
from db.engine import open_database
from tests.conftest import CHECKOUT
from tests.contract.browser import CHROMIUM, Page, browsing
from tests.contract.peers.gallery import Visit, seen_on, works_on_the_wall
from tests.contract.peers.serving import Response, serving
from tests.unit.service.kit import ANNA, NOON, Desk, SetClock, a_work, add_works, deliveries

URL = "https://art.example.org/flowers"
AXE = CHECKOUT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
STRICT = "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'"
JSON_FEED = {
    # jsonfeed.org/version/1.1, "Top-level" and "Items": what is required, and of what type the rest is.
    "type": "object",
    "required": ["version", "title", "items"],
    "properties": {
        "version": {"const": "https://jsonfeed.org/version/1.1"},
        "title": {"type": "string"},
        "home_page_url": {"type": "string", "format": "uri"},
        "feed_url": {"type": "string", "format": "uri"},
        "description": {"type": "string"},
        "language": {"type": "string"},
        "authors": {
            "type": "array",
            "items": {"type": "object", "anyOf": [{"required": [k]} for k in ("name", "url")]},
        },
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id"],
                "anyOf": [{"required": ["content_html"]}, {"required": ["content_text"]}],
                "properties": {
                    "id": {"type": "string", "minLength": 1},
                    "url": {"type": "string", "format": "uri"},
                    "title": {"type": "string"},
                    "content_html": {"type": "string"},
                    "image": {"type": "string", "format": "uri"},
                    "date_published": {"type": "string", "format": "date-time"},
                    "date_modified": {"type": "string", "format": "date-time"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "language": {"type": "string"},
                    "attachments": {
                        "type": "array",
                        "items": {"type": "object", "required": ["url", "mime_type"]},
                    },
                },
            },
        },
    },
}


class PowerCut(BaseException):
    pass


def settings_of(**table: Any) -> GallerySettings:
    return GallerySettings.model_validate({"type": "gallery", "url": URL, "path": "site", **table})


def hang(
    root: Path, work: Work, is_too_late: Callable[[], bool] = lambda: False, **table: Any
) -> None:
    """In the site below `root`, as a delivery does."""
    settings = settings_of(**table)
    sender = CHANNEL.open(settings, root)
    post = CHANNEL.compose(settings, work)
    parcel = Parcel("key", work, post, Handles({}, lambda _: None), is_too_late=is_too_late)
    sender.prepare(parcel, NOON)
    receipt = sender.commit(parcel, NOON)
    assert receipt.url == f"{URL}/works/{work.name}.html"


def painted(number: int, width: int = 8, height: int = 8) -> Picture:
    buffer = io.BytesIO()
    colour = (37 * number % 256, 91 * number % 256, 160)
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    content = buffer.getvalue()
    return Picture(content, "image/png", width, height, hashlib.sha256(content).hexdigest())


def work_of(number: int, **words: Any) -> Work:
    """One a day, the newest with the highest number."""
    at = NOON + timedelta(days=number)
    return replace(
        a_work(),
        number=number,
        name=f"daily-{at.date()}-01",
        local_date=at.date(),
        approved_at=at,
        title=f"No. {number}",
        picture=painted(number),
        **words,
    )


def files_of(site: Path) -> dict[str, bytes]:
    return {
        path.relative_to(site).as_posix(): path.read_bytes()
        for path in site.rglob("*")
        if path.is_file()
    }


def check_whole(files: dict[str, bytes]) -> None:
    """Every page is a whole one, and whatever it links to or shows is there."""
    for name, content in files.items():
        if name.endswith(".html"):
            assert content.endswith(b"</html>\n"), name
            for link in Everything(name, content).links:
                assert link in files, f"{name} links to {link}"
        if name.endswith(".json"):
            json.loads(content)


class Everything(Visit):
    """Also what a page shows and refers to in its head."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        assert tag not in ("script", "style", "iframe"), "a page needs none"
        for key, value in attrs:
            assert not key.startswith("on")
            assert key != "style"
            found = [value or ""] if key in ("src", "href") and tag != "a" else []
            if key == "srcset":
                found = [choice.split()[0] for choice in (value or "").split(",")]
            folder = f"{self._folder}/" if self._folder else ""
            self.links += [normpath(f"{folder}{link}") for link in found if "://" not in link]
        self.links = [link for link in self.links if not link.startswith(("#", "works/#"))]


# ---------------------------------------------------------------- exactly once, and always whole


@dataclass
class House:
    """A desk whose channel is a gallery in a folder."""

    desk: Desk
    root: Path
    works: list[int]

    @property
    def site(self) -> Path:
        return self.root / "site"

    @property
    def outbox(self) -> Outbox:
        settings = settings_of()
        outlet = Outlet(
            partial(CHANNEL.compose, settings),
            partial(CHANNEL.open, settings, self.root),
            CHANNEL.protection,
        )
        return replace(self.desk.outbox("http://127.0.0.1:1/"), outlets={"studio": outlet})

    def approve(self) -> str:
        """Another work; its title."""
        number = self.works.pop(0)
        approve(self.desk.review, number, ANNA, Words(title=f"No. {number}", alt="Red flowers"))
        return f"No. {number}"

    def deliver(self) -> str:
        """How the newest delivery stands once nothing is to be done for a while."""
        deliver_due(self.outbox, lambda _: None, lambda: False)
        return deliveries(self.desk.database)[-1].state

    def recover(self) -> None:
        recover_interrupted(self.desk.database, {"studio": CHANNEL.protection}, self.desk.clock())

    def titles(self) -> list[str]:
        """On the wall, the oldest first."""
        files = files_of(self.site)
        if "index.html" not in files:
            return []
        pages = works_on_the_wall(files.__getitem__)
        return [read_record(files[page.replace(".html", ".json")]).title for page in pages]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(
        sizes, "SIDES_PX", (16, 32)
    )  # large pictures take long, and are not looked at
    with closing(open_database(tmp_path / "artbot.sqlite3")) as database:
        desk = Desk(database, tmp_path / "works", SetClock(datetime.now(UTC)))
        yield House(desk, tmp_path, add_works(database, desk.works, 40))


class Dying:
    """Writes files as usual, until the process is killed at one of them: before it, with half of it in a file
    of another name, or after it."""

    def __init__(self, at: int, when: str) -> None:
        self.num_written = 0
        self._at = at
        self._when = when
        self._write = places.put_in_place

    def __call__(self, path: Path, content: bytes) -> None:
        if (self._when, self.num_written) == ("before", self._at):
            path.with_name(f".{path.name}.1234.tmp").write_bytes(content[: len(content) // 2])
            raise PowerCut
        self._write(path, content)
        self.num_written += 1
        if (self._when, self.num_written - 1) == ("after", self._at):
            raise PowerCut


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_between_any_two_files_the_site_is_whole_and_shows_the_work_once(
    house: House, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [house.approve()]
    house.deliver()
    shown.append(house.approve())
    undisturbed = Dying(-1, "never")
    with monkeypatch.context() as patch:
        patch.setattr(places, "put_in_place", undisturbed)
        assert house.deliver() == "delivered"
    assert undisturbed.num_written == 11
    for at in range(undisturbed.num_written):
        shown.append(house.approve())
        with monkeypatch.context() as patch:
            patch.setattr(places, "put_in_place", Dying(at, when))
            with pytest.raises(PowerCut):
                house.deliver()
        check_whole(files_of(house.site))
        assert house.titles() in (shown[:-1], shown)
        house.recover()
        assert house.deliver() == "delivered"
        check_whole(files_of(house.site))
        assert house.titles() == shown


def test_a_work_that_was_cut_off_after_its_record_is_shown_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang(tmp_path, work_of(1))
    write = places.put_in_place

    def dies(path: Path, content: bytes) -> None:
        write(path, content)
        if path.parent.name == "works":
            raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(places, "put_in_place", dies)
        with pytest.raises(PowerCut):
            hang(tmp_path, work_of(2))
    hang(tmp_path, work_of(3))
    files = files_of(tmp_path / "site")
    assert len(works_on_the_wall(files.__getitem__)) == 3


def test_what_is_hung_again_is_the_same_to_the_byte(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        hang(tmp_path, work_of(number))
    before = files_of(tmp_path / "site")
    hang(tmp_path, work_of(2))
    after = files_of(tmp_path / "site")
    del before["site.json"], after["site.json"]  # knows when the record was written
    assert after == before


@pytest.mark.parametrize("memory", [None, b"", b'{"files": 3}', b"\xff"])
def test_the_site_is_made_again_from_its_records_alone(
    tmp_path: Path, memory: bytes | None
) -> None:
    for number in (1, 2, 3):
        hang(tmp_path, work_of(number))
    site = tmp_path / "site"
    before = files_of(site)
    for path in site.rglob("*.html"):
        path.unlink()
    (site / "site.json").unlink() if memory is None else (site / "site.json").write_bytes(memory)
    hang(tmp_path, work_of(3))
    after = files_of(site)
    del before["site.json"], after["site.json"]
    assert after == before


def test_a_work_whose_record_a_person_deletes_stays_away(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        hang(tmp_path, work_of(number))
    site = tmp_path / "site"
    gone = read_record((site / "works" / f"{work_of(2).name}.json").read_bytes())
    (site / gone.file).unlink()
    hang(tmp_path, work_of(4))
    files = files_of(site)
    check_whole(files)
    assert [name for name in files if gone.name in name] == []
    assert not {picture.file for picture in gone.pictures} & files.keys()
    assert gone.name.encode() not in b"".join(files.values())
    assert len(works_on_the_wall(files.__getitem__)) == 3


def test_what_a_person_mends_in_a_record_is_shown_with_the_next_work(tmp_path: Path) -> None:
    hang(tmp_path, work_of(1))
    record = tmp_path / "site" / "works" / f"{work_of(1).name}.json"
    record.write_text(record.read_text().replace('"No. 1"', '"Tulips"'))
    hang(tmp_path, work_of(2))
    assert b">Tulips<" in (tmp_path / "site" / "index.html").read_bytes()


def test_a_record_that_is_none_is_told_by_its_name_and_nothing_is_lost(house: House) -> None:
    shown = [house.approve()]
    house.deliver()
    broken = house.site / "works" / "holiday.json"
    broken.write_text('{"name": "holiday"}')
    shown.append(house.approve())
    assert house.deliver() == "retry_wait"
    error = deliveries(house.desk.database)[-1].last_error
    assert error is not None
    assert "works/holiday.json" in error
    assert "delete it to take the work down" in error
    broken.unlink()
    house.desk.clock.advance(minutes=10)
    assert house.deliver() == "delivered"
    assert house.titles() == shown


def test_two_workplaces_do_not_write_over_each_other(tmp_path: Path) -> None:
    hang(tmp_path, work_of(1))
    before = files_of(tmp_path / "site")
    with pytest.raises(Rejected, match="another work of this name: two workplaces"):
        hang(tmp_path, replace(work_of(1), picture=painted(77)))
    assert files_of(tmp_path / "site") == before


def test_a_work_approved_anew_keeps_its_id_in_the_feeds_even_at_another_address(
    tmp_path: Path,
) -> None:
    hang(tmp_path, work_of(1))
    settings = settings_of(url="https://elsewhere.example")
    sender = CHANNEL.open(settings, tmp_path)
    work = work_of(1, caption="In other words")
    parcel = Parcel("key", work, CHANNEL.compose(settings, work))
    sender.prepare(parcel, NOON)
    sender.commit(parcel, NOON)
    (item,) = json.loads((tmp_path / "site" / "feed.json").read_bytes())["items"]
    assert item["id"] == f"tag:art.example.org,{work.local_date}:{work.name}"
    assert item["url"].startswith("https://elsewhere.example/works/")
    assert "In other words" in item["content_html"]


def test_what_comes_too_late_is_not_hung(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="too much time"):
        hang(tmp_path, work_of(1), lambda: True)
    assert not list((tmp_path / "site").rglob("*.json"))


def test_a_full_disk_is_no_refusal_and_after_the_record_nobody_says_it_was_not_hung(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = places.put_in_place

    def full(path: Path, content: bytes, suffix: str = ".webp") -> None:
        if path.suffix == suffix:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(places, "put_in_place", full)
    with pytest.raises(Unavailable, match="No space left"):
        hang(tmp_path, work_of(1))
    monkeypatch.setattr(places, "put_in_place", partial(full, suffix=".html"))
    with pytest.raises(OutcomeUnknown, match="the work hangs, but not all pages could be made"):
        hang(tmp_path, work_of(1))


def test_a_web_server_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    """deploy/systemd/artbot.service says 0077."""
    before = os.umask(0o077)
    try:
        hang(tmp_path, work_of(1))
    finally:
        os.umask(before)
    site = tmp_path / "site"
    for path in (site, *site.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_a_folder_that_cannot_be_written_to_is_told_by_the_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    # No permissions: in /proc nobody can make anything, not even root.
    for path in ("file", "file/site", "/proc/site"):
        sender = CHANNEL.open(settings_of(path=path), tmp_path)
        with pytest.raises(Rejected, match=r"cannot write to .*site|file .*another `path`"):
            sender.check(NOON)
    said = CHANNEL.open(settings_of(path="new/site"), tmp_path).check(NOON)
    assert f"{tmp_path / 'new' / 'site'}, which it makes" in said
    assert not (tmp_path / "new").exists()
    hang(tmp_path, work_of(1))
    before = files_of(tmp_path / "site")
    assert CHANNEL.open(settings_of(), tmp_path).check(NOON).endswith("/site")
    assert files_of(tmp_path / "site") == before
    with pytest.raises(Unavailable, match="see that this user can write to /proc/site, or give"):
        hang(tmp_path, work_of(1), path="/proc/site")


@pytest.mark.parametrize("name", ["index.html", "style.css", "site.json", "works/package.json"])
def test_a_site_that_artbot_did_not_write_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    mine = tmp_path / "site" / name
    mine.parent.mkdir(parents=True)
    mine.write_text('{"files": "mine"}')
    with pytest.raises(Rejected, match=f'holds {name}, .* empty folder .path = "site/art"'):
        CHANNEL.open(settings_of(), tmp_path).check(NOON)
    with pytest.raises(Rejected, match=f"holds {name}, which artbot did not write"):
        hang(tmp_path, work_of(1))
    assert [path for path in (tmp_path / "site").rglob("*") if path.is_file()] == [mine]
    assert mine.read_text() == '{"files": "mine"}'


def test_beside_other_files_and_where_it_took_its_works_down_the_gallery_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.html").write_text("mine")
    hang(tmp_path, work_of(1))
    (record,) = (tmp_path / "site" / "works").glob("*.json")
    (tmp_path / "site" / "site.json").unlink()
    CHANNEL.open(settings_of(), tmp_path).check(NOON)
    hang(tmp_path, work_of(1))
    record.unlink()
    CHANNEL.open(settings_of(), tmp_path).check(NOON)
    hang(tmp_path, work_of(2))
    assert (tmp_path / "site" / "mine.html").read_text() == "mine"


# ---------------------------------------------------------------- what it shows


def test_a_visitor_finds_the_work_with_its_words_and_the_very_file(tmp_path: Path) -> None:
    work = work_of(1, caption="Größe & <b>tulips</b>\nin two lines\n\nand two parts 🌷")
    hang(tmp_path, work)
    files = files_of(tmp_path / "site")
    (page,) = works_on_the_wall(files.__getitem__)
    seen = seen_on(page, files.__getitem__)
    assert (seen.text, seen.alt) == (work.caption, work.alt)
    picture = CHANNEL.compose(settings_of(), work).picture
    assert picture is not None
    assert seen.picture == picture.content
    assert (
        public_picture(CHANNEL, settings_of(), work).url == f"{URL}/pictures/{picture.sha256}.png"
    )
    assert f"pictures/{picture.sha256}.png" in files


def test_no_word_of_a_work_becomes_markup(tmp_path: Path) -> None:
    evil = "\"><script>alert(1)</script>'&amp;\u202e\x0b"
    hang(
        tmp_path,
        replace(work_of(1), title=evil, caption=evil, alt=evil, hashtags=("a_b",)),
        title=evil,
        author=evil,
        about=evil,
    )
    hang(tmp_path, replace(work_of(2), title=evil, alt=evil, warning=evil))
    files = files_of(tmp_path / "site")
    check_whole(files)
    assert not [
        name for name, content in files.items() if b"<script" in content and ".json" not in name
    ]
    feedparser = pytest.importorskip("feedparser")
    parsed = feedparser.parse(files["feed.atom"], sanitize_html=False)
    assert not parsed.bozo, parsed.get("bozo_exception")


def test_a_work_without_a_title_is_called_by_its_name(tmp_path: Path) -> None:
    work = replace(work_of(1), title="", caption="", hashtags=(), language="")
    hang(tmp_path, work)
    files = files_of(tmp_path / "site")
    assert f">{work.name}</h2>".encode() in files[f"works/{work.name}.html"]
    assert f">{work.name}</span>".encode() in files["index.html"]


def test_a_work_with_a_warning_is_shown_only_to_who_asks(tmp_path: Path) -> None:
    hang(tmp_path, work_of(1, warning="Spiders"))
    site = tmp_path / "site"
    for name in ("index.html", "year-2026.html"):
        assert b"<img" not in (site / name).read_bytes()
    page = (site / "works" / f"{work_of(1).name}.html").read_text()
    assert page.index("<details") < page.index("Spiders") < page.index("<img")
    assert "og:image" not in page
    (item,) = json.loads((site / "feed.json").read_bytes())["items"]
    assert "Spiders" in item["content_html"]
    assert "pictures/" not in json.dumps(item)
    assert b"pictures/" not in (site / "feed.atom").read_bytes()


def test_pictures_for_screens_are_two_whatever_size_was_painted_and_say_what_they_are(
    tmp_path: Path,
) -> None:
    work = work_of(1)
    tall = replace(work, picture=painted(5, 96, 128))
    made = sizes.sizes_of(tall, by_pixels=False)
    assert [(size.width_px, size.height_px) for size in made] == [(480, 640), (960, 1280)]
    assert made == sizes.sizes_of(tall, by_pixels=False)
    for size in made:
        with Image.open(io.BytesIO(size.content)) as opened:
            assert opened.size == (size.width_px, size.height_px)
            assert SOURCE_TYPE in opened.info["xmp"].decode()
            assert work.alt in opened.info["xmp"].decode()
    huge = replace(work, picture=painted(5, 3000, 1500))
    assert [size.width_px for size in sizes.sizes_of(huge, by_pixels=True)] == [640, 1280]


def test_pixels_become_squares_of_one_size_where_that_is_wanted() -> None:
    buffer = io.BytesIO()
    chequered = Image.effect_noise((48, 48), 90).convert("RGB")
    chequered.save(buffer, "PNG")
    content = buffer.getvalue()
    picture = Picture(content, "image/png", 48, 48, hashlib.sha256(content).hexdigest())
    for size, times in zip(
        sizes.sizes_of(replace(work_of(1), picture=picture), by_pixels=True), (13, 27), strict=True
    ):
        with Image.open(io.BytesIO(size.content)) as opened:
            assert opened.size == (48 * times, 48 * times)
            again = opened.convert("RGB").resize((48, 48), Image.Resampling.NEAREST)
        assert again.tobytes() == chequered.tobytes()


def test_the_site_speaks_german_where_it_is_told_to(tmp_path: Path) -> None:
    hang(tmp_path, work_of(1, language="de"), language="de", author="Anna")
    page = (tmp_path / "site" / "works" / f"{work_of(1).name}.html").read_text()
    assert '<html lang="de">' in page
    assert "22. November 2026" in page
    assert "Das Bild in Worten" in page
    assert "von Anna" in page


# ---------------------------------------------------------------- feeds


def test_an_independent_reader_understands_the_atom_feed(tmp_path: Path) -> None:
    feedparser = pytest.importorskip("feedparser")
    for number in range(3):
        hang(tmp_path, work_of(number), title="Flowers", author="Anna Weber")
    parsed = feedparser.parse((tmp_path / "site" / "feed.atom").read_bytes())
    assert not parsed.bozo, parsed.get("bozo_exception")
    assert parsed.version == "atom10"
    assert (parsed.feed.title, parsed.feed.author) == ("Flowers", "Anna Weber")
    assert [entry.title for entry in parsed.entries] == ["No. 2", "No. 1", "No. 0"]
    entry = parsed.entries[0]
    work = work_of(2)
    assert entry.id == f"tag:art.example.org,{work.local_date}:{work.name}"
    assert entry.link == f"{URL}/works/{work.name}.html"
    assert datetime(*entry.published_parsed[:6], tzinfo=UTC) == work.approved_at
    assert [tag.term for tag in entry.tags] == list(work.hashtags)
    assert f'alt="{work.alt}"' in entry.content[0].value
    (enclosure,) = entry.enclosures
    assert enclosure.href == public_picture(CHANNEL, settings_of(), work).url
    assert enclosure.type == "image/png"


def test_the_json_feed_keeps_the_rules_of_its_version(tmp_path: Path) -> None:
    for number in range(3):
        hang(tmp_path, work_of(number), about="Every morning one.")
    feed = json.loads((tmp_path / "site" / "feed.json").read_bytes())
    jsonschema.validate(feed, JSON_FEED, format_checker=jsonschema.FormatChecker())
    assert [item["title"] for item in feed["items"]] == ["No. 2", "No. 1", "No. 0"]
    assert feed["feed_url"] == f"{URL}/feed.json"
    assert len({item["id"] for item in feed["items"]}) == 3


# ---------------------------------------------------------------- a thousand works, in a browser


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with 1,000 works over three years; the folder it lies in."""
    root = tmp_path_factory.mktemp("thousand")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # nothing is to survive here
        hang(root, work_of(0))
        record = read_record((root / "site" / "works" / f"{work_of(0).name}.json").read_bytes())
        alt = (
            "Red and white tulips in a blue vase on a table before a dark window, painted softly. "
        )
        for number in range(1, 999):
            made = _another(record, number, alt, warning="Spiders" if number == 990 else "")
            (root / "site" / made.file).write_bytes(made.to_json())
        hang(root, work_of(999), title="Flowers", author="Anna Weber", about="Every morning one.")
    return root


def _another(record: Record, number: int, alt: str, warning: str) -> Record:
    work = work_of(number)
    return record.model_copy(
        update={
            "id": f"tag:art.example.org,{work.local_date}:{work.name}",
            "name": work.name,
            "title": f"No. {number}, {work.local_date}, with a title of some length",
            "alt": alt + alt,
            "warning": warning,
            "language": "de" if number % 7 == 0 else "en",
            "date": work.local_date,
            "approved_at": work.approved_at,
        }
    )


def test_a_thousand_works_hang_each_once_and_the_first_page_is_light(thousand: Path) -> None:
    files = files_of(thousand / "site")
    check_whole(files)
    on_the_wall = works_on_the_wall(files.__getitem__)
    assert on_the_wall == [f"works/{work_of(n).name}.html" for n in range(1000)]
    in_the_years = [
        page
        for year in (2029, 2028, 2027, 2026)
        for page in Visit("year", files.get(f"year-{year}.html", b"")).works
    ]
    assert sorted(in_the_years) == sorted(on_the_wall)
    assert len(files["index.html"]) + len(files["style.css"]) < 200_000
    assert max(len(files[f"year-{year}.html"]) for year in (2027, 2028)) < 400_000


def test_one_more_work_changes_a_handful_of_files(thousand: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.symlink_to(thousand / "site")
    before = files_of(thousand / "site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        hang(
            tmp_path,
            work_of(1000),
            title="Flowers",
            author="Anna Weber",
            about="Every morning one.",
        )
    after = files_of(thousand / "site")
    changed = {name for name, content in after.items() if before.get(name) != content}
    assert {name for name in changed if "pictures/" not in name} == {
        f"works/{work_of(1000).name}.json",
        f"works/{work_of(1000).name}.html",
        f"works/{work_of(999).name}.html",  # knows who is next to it now
        "year-2029.html",
        "feed.atom",
        "feed.json",
        "index.html",
        "site.json",
    }


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium here; tests/install-browser.sh brings one")
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def served(thousand: Path) -> Iterator[str]:
    """The site as a web server shows it that trusts no page."""

    def answer(request: Any) -> Response:
        name = request.path.lstrip("/") or "index.html"
        path = thousand / "site" / name
        if not path.is_file():
            return Response(404)
        headers = {"Content-Type": places.media_type(name), "Content-Security-Policy": STRICT}
        return Response(200, path.read_bytes(), headers)

    with serving(answer) as url:
        yield url


PAGES = {
    "the wall": "index.html",
    "an older wall": f"wall-{999 // PER_PAGE - 1}.html",
    "a year": "year-2029.html",
    "a work": f"works/{work_of(500).name}.html",
    "a work with a warning": f"works/{work_of(990).name}.html",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)], ids=["desk", "phone"])
@pytest.mark.parametrize("name", PAGES.values(), ids=PAGES)
def test_nothing_on_a_page_keeps_anybody_from_it(
    tab: Page, served: str, name: str, width: int, height: int, scheme: str
) -> None:
    """By axe-core's rules for WCAG 2.2 A and AA, and its best practices."""
    if not AXE.is_file():
        pytest.skip("no axe-core here; tests/install-axe.sh brings it")
    tab.look(width, height, scheme)
    tab.open(f"{served}/{name}")
    assert tab.complaints() == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it must be scrolled"
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(26, 25, 23)"
    assert dark == (scheme == "dark")
    tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    tab.evaluate(AXE.read_text())
    found = json.loads(tab.evaluate("axe.run().then(found => JSON.stringify(found))"))
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []
    assert {"color-contrast", "image-alt", "bypass"} <= {rule["id"] for rule in found["passes"]}


def test_who_uses_the_keyboard_comes_past_the_header_at_once(tab: Page, served: str) -> None:
    tab.look(1280, 900, "light")
    tab.open(f"{served}/index.html")
    tab.ask("Input.dispatchKeyEvent", type="keyDown", key="Tab", windowsVirtualKeyCode=9)
    assert tab.evaluate("document.activeElement.getAttribute('href')") == "#works"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left") == 0


def test_the_site_opens_from_a_disk(tab: Page, thousand: Path) -> None:
    tab.look(1280, 900, "light")
    tab.open((thousand / "site" / "index.html").as_uri())
    assert tab.complaints() == []
    assert tab.evaluate("document.styleSheets.length") == 1
    assert tab.evaluate("document.images[0].decode().then(() => document.images[0].naturalWidth)")


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"path": None}, "give exactly one of path"),
        ({"bucket": "art"}, "give exactly one of path"),
        ({"secret_file": "secret"}, "a folder needs no"),
        ({"path": None, "bucket": "art", "secret_file": "s"}, "a bucket needs access_key_id"),
        ({"path": None, "bucket": "art", "access_key_id": "k"}, "a bucket needs access_key_id"),
        ({"url": "art.example.org"}, "write https://HOST/PATH"),
        ({"url": "https://anna:pa55word@art.example.org"}, "holds a user name or password"),
        ({"url": "https://art.example.org/?page=1"}, "no address of a site"),
        ({"language": "tlh"}, "'en' or 'de'"),
        ({"text": "{colour}"}, "unknown field {colour}"),
    ],
)
def test_a_table_that_cannot_be_is_refused_by_name(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="validation error") as refused:
        settings_of(**table)
    assert said in str(refused.value)
    if "pa55word" in str(table):
        assert "holds" in str(refused.value)

"""A run's page: it holds what the logs hold, takes anything for text, and stays quick."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from trainers.errors import StorageError
from trainers.progress import TickStats
from trainers.seeing.page import MAX_TICKS, PageFacts, write_page


def read_data(run: Path) -> dict[str, Any]:
    """data.js, read by the two rules of JavaScript it uses: JSON, and plain template literals."""
    script = (run / "data.js").read_bytes().decode("utf-8", errors="replace")
    found = re.fullmatch(
        r"artbotRun\(\{\.\.\.(\{.*?\}),\nstats: (.*),\nguard: (.*)\}\);\n", script, re.S
    )
    assert found, script[:200]
    data: dict[str, Any] = json.loads(found[1])
    for name, literal in (("stats", found[2]), ("guard", found[3])):
        if literal.startswith("`"):
            assert not re.search(r"[`\\$]", literal[1:-1]), "would be more than text"
            data[name] = literal[1:-1]
        else:
            data[name] = json.loads(literal)
    return data


def tick(kimg: float, **more: float) -> str:
    return json.dumps({"kimg": kimg, "elapsed_s": kimg, "g_loss": 1.0, **more}) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "flowers-64"
    folder.mkdir()
    return folder


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


# ---------------------------------------------------------------- what it holds


def test_the_page_holds_what_the_logs_hold(run: Path) -> None:
    stats = tick(4) + tick(8, kid_x1000=210.5, coverage=0.25)
    guard = json.dumps({"kimg": 8, "health": "warning", "words": "Ümlaut: p raised"}) + "\n"
    (run / "stats.jsonl").write_text(stats)
    (run / "guard.jsonl").write_text(guard)
    write_page(run)
    data = read_data(run)
    assert (data["name"], data["every"]) == ("flowers-64", 1)
    assert data["stats"] == stats
    assert data["guard"] == guard
    assert sorted(f.name for f in run.iterdir()) == [
        "data.js",
        "guard.jsonl",
        "index.html",
        "stats.jsonl",
    ], "and nothing temporary"


def test_a_tick_later_the_page_holds_one_more(run: Path) -> None:
    for kimg in (4, 8, 12):
        with open(run / "stats.jsonl", "a") as log:
            log.write(tick(kimg))
        write_page(run)
        assert read_data(run)["stats"].count("\n") == kimg / 4


def test_a_run_without_a_tick_has_a_page(run: Path) -> None:
    write_page(run, PageFacts(first_grid="4 kimg or 2m00s, whichever is first"))
    data = read_data(run)
    assert (data["stats"], data["guard"]) == ("", "")
    assert data["first_grid"] == "4 kimg or 2m00s, whichever is first"
    assert "Nothing has been painted yet" in (run / "index.html").read_text()


def test_the_page_knows_the_classes_of_each_row(run: Path) -> None:
    write_page(run, PageFacts(rows=(("iris",), ("rose",))))
    assert read_data(run)["rows"] == [["iris"], ["rose"]]


@pytest.mark.parametrize(
    "name", ["a<b>&\"'", "back`tick${1}", "back\\slash", "Öl – 油", "<script>x"]
)
def test_a_strange_run_name_is_text_and_nothing_more(tmp_path: Path, name: str) -> None:
    run = tmp_path / name
    run.mkdir()
    write_page(run)
    assert read_data(run)["name"] == name
    assert name not in (run / "index.html").read_text(), "it comes with the data"


@pytest.mark.parametrize(
    "line",
    [
        '{"kimg": 4, "g_lo',
        "`); alert(1); (`",
        "${alert(1)}",
        "\\u0060\\",
        '"}); alert(1); ({"',
        "\0",
    ],
)
def test_a_damaged_or_hostile_line_is_text_and_nothing_more(run: Path, line: str) -> None:
    (run / "stats.jsonl").write_text(tick(4) + line)
    (run / "guard.jsonl").write_bytes(line.encode() + b"\xff\xfe")
    write_page(run)
    data = read_data(run)
    assert data["stats"] == tick(4) + line
    assert data["guard"].startswith(line)


def test_the_classic_ranges_come_with_the_classic_loss_alone(run: Path) -> None:
    write_page(run, PageFacts(loss="bce"))
    usual = read_data(run)["usual"]
    assert usual["d_loss"] == [0.5, 0.8]
    assert usual["g_loss"] == [0.5, 2.0]
    assert usual.keys() <= set(TickStats.__dataclass_fields__), "by their names in stats.jsonl"
    write_page(run, PageFacts(loss="hinge"))
    assert read_data(run)["usual"] == {}


# ---------------------------------------------------------------- what it is


def test_the_page_needs_no_network_and_no_other_file_than_its_data(run: Path) -> None:
    write_page(run)
    page = (run / "index.html").read_text()
    sources = [
        attributes[name]
        for _, attributes in Tags(page).tags
        for name in ("src", "href", "action", "data", "srcset")
        if name in attributes
    ]
    assert sorted(filter(None, sources)) == ["data.js", "data:,"]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|@import|url\((?!#)|import\(", page)
    assert set(re.findall(r"https?://[^\"'\s]+", page)) == {"http://www.w3.org/2000/svg"}


def test_the_page_can_be_used_without_seeing_or_pointing(run: Path) -> None:
    write_page(run)
    page = (run / "index.html").read_text()
    tags = Tags(page).tags
    assert dict(tags)["html"]["lang"] == "en"
    for tag, attributes in tags:
        if tag in {"button", "input"}:
            assert attributes.get("aria-label"), attributes
        if tag == "section":
            assert attributes.keys() & {"aria-label", "aria-labelledby"}
        if tag == "img":
            assert "alt" in attributes
    for needed in ("aria-valuetext", "grid.alt = ", "ArrowLeft", "prefers-color-scheme: dark"):
        assert needed in page


def test_colours_of_text_stand_out_in_light_and_dark(run: Path) -> None:
    """WCAG 2.2, criterion 1.4.3: at least 4.5 to 1 against the paper and what lies raised on it."""
    write_page(run)
    light, dark = re.findall(r":root \{(.*?)\}", (run / "index.html").read_text(), re.S)

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", scheme))
        for ground in ("paper", "raised"):
            for ink in ("ink", "quiet", "a", "b", "warning", "ill"):
                low, high = sorted([luminance(colours[ground]), luminance(colours[ink])])
                assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, ground)


def test_the_page_of_an_older_artbot_is_renewed_and_a_current_one_left_alone(run: Path) -> None:
    (run / "index.html").write_text("old")
    write_page(run)
    written = (run / "index.html").stat()
    assert written.st_size > 10_000
    write_page(run)
    assert (run / "index.html").stat().st_mtime_ns == written.st_mtime_ns


# ---------------------------------------------------------------- how large, how quick


def test_thousands_of_ticks_stay_small_and_what_was_measured_stays(run: Path) -> None:
    facts = {f"number_{index}": 0.123456789012345 for index in range(16)}
    lines = [
        tick(number + 1.0, **facts, **({"kid_x1000": 1.0} if number % 97 == 0 else {}))
        for number in range(20_000)
    ]
    (run / "stats.jsonl").write_text("".join(lines))
    write_page(run)
    data = read_data(run)
    kept = data["stats"].splitlines(keepends=True)
    assert data["every"] == 16
    assert MAX_TICKS / 2 < len(kept) <= 1.25 * MAX_TICKS
    assert kept[-1] == lines[-1], "the latest is always there"
    assert sum("kid" in line for line in kept) == sum("kid" in line for line in lines)
    assert (run / "data.js").stat().st_size < 1_500_000
    assert (run / "index.html").stat().st_size < 40_000


def test_up_to_the_limit_every_tick_is_there(run: Path) -> None:
    for num, every in [
        (MAX_TICKS, 1),
        (MAX_TICKS + 1, 2),
        (2 * MAX_TICKS, 2),
        (2 * MAX_TICKS + 1, 4),
    ]:
        (run / "stats.jsonl").write_text("".join(tick(n + 1.0) for n in range(num)))
        write_page(run)
        assert read_data(run)["every"] == every


def test_a_tick_of_a_long_run_costs_milliseconds(run: Path) -> None:
    facts = {f"number_{index}": 0.123456789012345 for index in range(16)}
    (run / "stats.jsonl").write_text("".join(tick(n + 1.0, **facts) for n in range(5000)))
    write_page(run)
    began = time.process_time()
    for _ in range(10):
        write_page(run)
    assert (time.process_time() - began) / 10 < 0.03, "seen: 0.004 s"


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"index\.html"):
        write_page(tmp_path / "no such run")

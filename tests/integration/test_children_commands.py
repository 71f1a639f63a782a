"""More like this, as a person asks for it: real commands, a real render child."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from artbot.worker import hold_worker
from tests.conftest import Place, on_sqlite_only

pytestmark = on_sqlite_only
TODAY = f"daily-{datetime.now(UTC):%Y-%m-%d}"


def distance(one: str, other: str) -> float:
    """Root mean square of the difference of two pictures, of 255."""
    pictures = [np.asarray(Image.open(path).convert("RGB"), np.float64) for path in (one, other)]
    return float(np.sqrt(np.mean((pictures[0] - pictures[1]) ** 2)))


def test_a_picture_gets_children_at_once_that_look_like_it_and_can_be_painted_again(
    painted: Place,
) -> None:
    before = painted.files()
    asked = painted.run("vary", "2", "--count", "2")
    asked.refused(0, f"4 5 of {TODAY} will be subtle variations of 2", "4 5 are painted")
    strong = painted.json("vary", "2", "--strength", "strong", "--count", "2")
    assert strong["left_to"] is None
    assert [(c["state"], c["parent_ids"]) for c in strong["children"]] == [("pending", [2])] * 2
    bred = painted.json("breed", "4", "1")["children"]
    assert [(c["parent_ids"], c["recipe"]["latent"]["breed"]) for c in bred] == [
        ([4, 1], 0.35),
        ([4, 1], 0.5),
        ([4, 1], 0.65),
    ]
    assert painted.files().items() >= before.items(), "nobody's picture has changed"
    works = {c["id"]: c for c in painted.json("review")["candidates"]}
    assert sorted(works) == list(range(1, 11))
    files = {number: work["file"] for number, work in works.items()}
    near = [distance(files[2], files[child]) for child in (4, 5)]
    further = [distance(files[2], files[child]) for child in (6, 7)]
    assert 0 < max(near) < min(further) < distance(files[2], files[3])
    assert distance(files[4], files[8]) < distance(files[1], files[8])
    assert distance(files[4], files[10]) > distance(files[1], files[10])
    for number in (4, 6, 8, 10):
        assert painted.json("reproduce", str(number))["is_identical"]
    with Image.open(files[8]) as picture:
        origin = json.loads(picture.info["artbot"])
    assert origin["recipe"] == works[8]["recipe"], "the file alone tells how it was made"
    assert painted.json("verify", files[8])["work"]["parent_ids"] == [4, 1]
    assert painted.run("doctor").code == 0


def test_a_child_whose_file_is_lost_is_painted_again_to_the_byte(painted: Place) -> None:
    (child,) = painted.json("vary", "1", "--count", "1")["children"]
    path = Path(child["file"])
    was = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    assert painted.json("reproduce", str(child["id"]), "--restore")["restoration"] == "whole"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == was


def test_where_somebody_is_at_work_the_children_are_left_to_them(painted: Place) -> None:
    lock = painted.root / "db/artbot.lock"
    with hold_worker(lock, "daemon"):
        asked = painted.run("vary", "1", "--count", "2")
        asked.refused(0, "4 5 of", "artbot daemon (process", "It paints them next")
        left = painted.json("breed", "today:1", "2", "of", "today")
        assert left["left_to"].startswith("artbot daemon (process")
        assert {child["state"] for child in left["children"]} == {"planned"}
        told = painted.run("status").out
        assert "5 asked for by `artbot vary` or `artbot breed`; the worker makes them" in told
    with hold_worker(lock, "publish"):
        painted.run("vary", "1", "--count", "1").refused(0, "Once it has ended", "daemon --once")
    assert "nobody is at work: `artbot daemon --once` makes them now" in painted.run("status").out
    assert painted.run("show", "4").out.count("not painted yet") == 1
    assert painted.run("daemon", "--once").code == 0
    assert {c["state"] for c in painted.json("review")["candidates"]} == {"pending"}
    again = painted.run("breed", "2", "1")
    again.refused(0, "8 7 6 are painted already, children of 2 and 1")
    assert painted.json("status")["num_unpainted"] == 0


def test_what_is_asked_for_in_vain_says_why_and_what_helps(painted: Place) -> None:
    painted.run("vary", "99").refused(2, "there is no candidate 99")
    painted.run("vary", "1", "--count", "0").refused(2, "0 variations: ask for 1 to 24")
    painted.run("vary", "1", "--strength", "wild").refused(2, "'wild' is not one of")
    painted.run("breed", "1", "1").refused(2, "cannot be bred with itself")
    painted.run("breed", "1").refused(2, "breed takes two works, and 1 means 1")
    painted.run("breed", "1-3").refused(2, "breed takes two works, and 1-3 means 3")
    painted.run("vary", "1", "2").refused(2, "one at a time")
    painted.run("family", "99").refused(2, "there is no candidate 99")


def test_its_story_tells_where_a_child_comes_from(painted: Place) -> None:
    painted.json("vary", "1", "--count", "1")
    painted.json("breed", "4", "2")
    batch = TODAY
    shown = painted.run("show", "4").out
    assert f"  descent    subtle variation of {batch}-01\n" in shown
    assert "  children   5 6 7 (artbot family 4)\n" in shown
    assert "latent" not in shown
    assert painted.json("show", "4")["child_ids"] == [5, 6, 7]
    assert (
        f"bred at 0.5 from {batch}-04 and {batch}-02, into batch" in painted.run("explain", "6").out
    )
    assert f"more like it  {batch}-04 (subtle variation)" in painted.run("explain", "1").out
    assert painted.run("family", "5").out.splitlines() == [
        f"1  {batch}-01  pending",
        f"└─ 4  {batch}-04  subtle variation, pending",
        f"   └─ 5  {batch}-05  bred at 0.35, with 2, pending  <",
        f"2  {batch}-02  pending",
        f"└─ 5  {batch}-05  bred at 0.35, with 4, as above  <",
    ]
    told = painted.json("family", "4")
    assert [relative["id"] for relative in told["family"]] == [1, 4, 5, 6, 7]
    assert painted.run("family", "3").out == f"3  {batch}-03  pending  <\n"

"""What is decided on the page, and what a page says when it cannot be: with JavaScript and without."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from artbot.desk import Tile
from artbot.web.acts import next_undecided
from db.models import Intervention
from tests.unit.web.conftest import Browser, House, seen

ALT = "Red dots over a blue field"


def works(tile: Tile, act: str) -> str:
    return f"/works/{tile.id}/{act}"


# With JavaScript: the tile as it is now


def test_every_verb_is_one_line_in_the_log_by_who_did_it(house: House, anna: Browser) -> None:
    before = len(house.decisions())
    tile = house.tile()
    for act, state in (("later", "later"), ("reject", "rejected"), ("undo", "later")):
        answer = anna.act(works(tile, act), seen(tile))
        assert answer.status == 200, answer.text
        assert answer.json()["tile"]["state"] == state
        tile = house.tile(tile.id)
        assert answer.json()["tile"]["seen"] == seen(tile)
    answer = anna.act(works(tile, "redo"), seen(tile))
    assert answer.json()["tile"]["state"] == "rejected"
    anna.act("/undo")
    tile = house.tile(tile.id)
    starred = anna.act(works(tile, "stars"), {**seen(tile), "stars": 4}).json()
    assert (starred["tile"]["stars"], starred["message"]) == (4, f"{tile.name} has 4 stars.")
    assert [(now, by, via) for _, now, by, via in house.decisions()[before:]] == [
        (state, "anna", "web")
        for state in ("later", "rejected", "later", "rejected", "later", "later")
    ]


def test_an_approval_carries_words_channels_and_time(house: House, anna: Browser) -> None:
    tile = house.tile()
    form = {
        **seen(tile),
        "title": "Field",
        "alt": ALT,
        "caption": "Two lines\r\nof it",
        "hashtags": "#dots field",
        "channels_chosen": "1",
        "channel": ["wall"],
        "when": "2027-01-02T03:04",
    }
    answer = anna.act(works(tile, "approve"), form)
    assert answer.status == 200, answer.text
    assert "2 Jan 2027 03:04" in answer.json()["message"]
    card = house.desk.open(tile.id)
    assert (card.words.alt, card.words.caption) == (ALT, "Two lines\nof it")
    assert card.words.hashtags == "dots field"
    assert [line.channel for line in card.deliveries] == ["wall"]


def test_no_channel_ticked_is_no_channel(house: House, anna: Browser) -> None:
    tile = house.tile()
    form = {**seen(tile), "alt": f"{ALT}, once more", "channels_chosen": "1"}
    answer = anna.act(works(tile, "approve"), form)
    assert answer.status == 200, answer.text
    assert house.desk.open(tile.id).deliveries == ()
    assert "no channel gets it" in answer.json()["message"]


def test_who_was_overtaken_is_told_and_sees_the_work_as_it_is_now(
    house: House, anna: Browser
) -> None:
    tile = house.tile()
    house.desk.reject(tile.id, tile.seen)
    for act in ("approve", "reject", "later", "stars", "undo"):
        form = {**seen(tile), "alt": ALT, "stars": 1}
        answer = anna.act(works(tile, act), form)
        assert (answer.status, answer.json()["kind"]) == (409, "stale"), act
        assert "by ben (cli)" in answer.json()["error"]
        assert answer.json()["tile"]["state"] == "rejected"
        assert answer.json()["tile"]["seen"] == seen(house.tile(tile.id))
    page = anna.post(works(tile, "reject"), seen(tile))
    assert page.status == 409
    assert "by ben (cli)" in page.text
    assert f'href="/works/{tile.id}"' in page.text
    assert house.tile(tile.id).state == "rejected"


def test_of_two_browsers_one_decides(house: House, anna: Browser) -> None:
    ben, tile = house.logged_in("ben"), house.tile()
    assert anna.act(works(tile, "later"), seen(tile)).status == 200
    assert ben.act(works(tile, "reject"), seen(tile)).status == 409
    assert house.tile(tile.id).state == "later"


@pytest.mark.parametrize("alt", [None, "", "  \n"])
def test_without_an_alt_text_nothing_is_approved(
    house: House, anna: Browser, alt: str | None
) -> None:
    tile = house.tile()
    form = {**seen(tile)} | ({} if alt is None else {"alt": alt})
    answer = anna.act(works(tile, "approve"), form)
    assert (answer.status, answer.json()["kind"]) == (422, "alt-text")
    assert answer.json()["field"] == "alt"
    assert answer.json()["tile"]["seen"] == seen(tile)
    assert house.tile(tile.id) == tile


def test_the_draft_will_do_if_a_person_says_so(house: House, anna: Browser) -> None:
    tile = house.tile()
    answer = anna.act(works(tile, "approve"), {**seen(tile), "draft_is_fine": "1"})
    assert answer.json()["tile"]["state"] == "approved"


@pytest.mark.parametrize(
    ("act", "form", "words"),
    [
        ("stars", {"stars": "6"}, "6 is no number of stars"),
        ("stars", {"stars": "many"}, "'many' is no number"),
        ("stars", {"stars": "٣"}, "is no number"),
        ("reject", {"row_version": ""}, "'' is no number"),
        ("reject", {"image_sha256": "0"}, "is no sha256"),
        ("approve", {"alt": "One", "channel": "nowhere"}, "there is no channel 'nowhere'"),
        ("approve", {"alt": "One", "when": "soon"}, "soon"),
        ("approve", {"alt": "One", "when": "2001-01-01T00:00"}, "is past"),
        ("approve", {"alt": "One", "language": "klingon!"}, "is no language"),
        ("vary", {"strength": "brutal"}, "there is no strength 'brutal'"),
    ],
)
def test_what_cannot_be_meant_is_told(
    house: House, anna: Browser, act: str, form: dict[str, str], words: str
) -> None:
    tile = house.tile()
    answer = anna.act(works(tile, act), {**seen(tile), **form})
    assert answer.status == 400, answer.text
    assert words in answer.json()["error"]
    assert house.tile(tile.id) == tile


def test_a_work_that_is_in_another_state_is_refused(house: House, anna: Browser) -> None:
    tile = house.tile()
    house.desk.reject(tile.id, tile.seen)
    now = house.tile(tile.id)
    answer = anna.act(works(tile, "later"), seen(now))
    assert (answer.status, answer.json()["kind"]) == (409, "refused")
    assert "Take that back first" in answer.json()["error"]
    for act in ("reject", "check", "vary", "undo"):
        assert anna.act(f"/works/99999/{act}", seen(now)).status == 404, act


# Several at once


def test_the_rest_is_rejected_at_once_and_taken_back_at_once(house: House, anna: Browser) -> None:
    tiles = [house.tile() for _ in range(3)]
    house.desk.put_off(tiles[0].id, tiles[0].seen)
    told = [f"{t.id}:{t.seen.row_version}:{t.seen.image_sha256}" for t in tiles]
    answer = anna.act("/reject-rest", {"seen": told}).json()
    assert answer["message"] == "rejected 2."
    ids = [tile["id"] for tile in answer["tiles"]]
    assert ids == [tile.id for tile in tiles[1:]]
    undone = anna.act("/undo-each", {"id": ids}).json()
    assert {tile["state"] for tile in undone["tiles"]} == {"pending"}
    for wrong in ("1", "1:2", "x:1:" + "a" * 64, "::"):
        assert anna.act("/reject-rest", {"seen": wrong}).status == 400
    assert anna.act("/breed", {"id": ["1"]}).status == 400


# The words as they are typed


def test_words_are_checked_as_they_are_typed(house: House, anna: Browser) -> None:
    tile = house.tile()
    draft = anna.act(works(tile, "check")).json()
    assert draft["alt"] == "draft"
    assert draft["alt_words"]
    assert anna.act(works(tile, "check"), {"alt": "A quiet grey morning"}).json()["alt"] is None
    assert anna.act(works(tile, "check"), {"alt": " "}).json()["alt"] == "missing"
    assert house.tile(tile.id) == tile


# Without JavaScript


def test_a_decision_leads_on_to_the_next_undecided_one(house: House, anna: Browser) -> None:
    sheet = house.desk.lay_out()
    ids = [tile.id for stack in sheet.stacks for tile in stack.tiles]
    tile = house.tile()
    follows = next_undecided(sheet, tile.id)
    assert follows == ids[ids.index(tile.id) + 1]
    here = f"/works/{tile.id}?show=undecided"
    answer = anna.post(works(tile, "reject"), {**seen(tile), "return_to": here})
    assert answer.status == 303
    assert answer.headers["Location"] == f"/works/{follows}?show=undecided"
    page = anna.get(answer.headers["Location"])
    assert f"ejected {tile.name}." in page.text
    assert f"ejected {tile.name}." not in anna.get("/help").text, "it is told once"


def test_a_decision_in_the_sheet_leads_back_to_the_sheet(house: House, anna: Browser) -> None:
    tile = house.tile()
    sheet = f"/?show=pending&batch={tile.batch}"
    answer = anna.post(works(tile, "later"), {**seen(tile), "return_to": sheet})
    assert (answer.status, answer.headers["Location"]) == (303, sheet)
    undone = anna.post("/undo", {"return_to": f"/works/{tile.id}"})
    assert undone.headers["Location"] == f"/works/{tile.id}"
    elsewhere = anna.post("/redo", {"return_to": "https://evil.example/"})
    assert elsewhere.headers["Location"] == "/"


def test_a_refused_approval_keeps_what_was_typed(house: House, anna: Browser) -> None:
    tile = house.tile()
    form = {**seen(tile), "alt": "", "caption": "Typed with care"}
    page = anna.post(works(tile, "approve"), form)
    assert page.status == 422
    assert "Typed with care" in page.text
    wrong = anna.post(works(tile, "approve"), {**form, "alt": ALT, "when": "soon"})
    assert wrong.status == 400
    assert "Typed with care" in wrong.text
    assert ALT in wrong.text


def test_keys_are_switched_off_in_one_browser(house: House, anna: Browser) -> None:
    ben = house.logged_in("ben")
    assert anna.post("/help", {"keys": "off"}).status == 303
    assert "data-keys-off" in anna.get("/").text
    assert "data-keys-off" not in ben.get("/").text
    assert anna.post("/help", {"keys": "on"}).status == 303
    assert "data-keys-off" not in anna.get("/").text
    assert anna.post("/help", {"keys": "sometimes"}).status == 400


# What others do shows


def test_a_page_that_asks_again_hears_of_a_change_and_of_nothing_else(
    house: House, anna: Browser
) -> None:
    tile = house.tile()
    for path in ("/sheet.json", f"/works/{tile.id}/card.json"):
        first = anna.get(path)
        assert str(house.workplace.settings.root) not in first.text
        assert anna.get(path, If_None_Match=first.headers["ETag"]).status == 304
        house.desk.give_stars(tile.id, 1, house.tile(tile.id).seen)
        assert anna.get(path, If_None_Match=first.headers["ETag"]).status == 200
        house.desk.give_stars(tile.id, 0, house.tile(tile.id).seen)


# The queue


def test_deliveries_are_moved_held_released_and_let_go(house: House, anna: Browser) -> None:
    tile = house.tile()
    form = {**seen(tile), "alt": "Rain on a tin roof", "channel": "wall"}
    anna.act(works(tile, "approve"), form)
    [line] = house.desk.open(tile.id).deliveries
    path = f"/deliveries/{line.id}"
    moved = anna.act(f"{path}/move", {"to": "2027-02-03T04:05"})
    assert "3 Feb 2027 04:05" in moved.json()["message"]
    assert anna.act(f"{path}/hold").json()["message"].endswith("to wall is on hold.")
    assert tile.name in anna.get("/queue").text
    assert anna.act(f"{path}/release").status == 200
    page = anna.post(f"{path}/now")
    assert (page.status, page.headers["Location"]) == (303, "/queue")
    assert "was let go, and goes out now" in anna.get("/queue").text
    assert anna.act(f"{path}/move", {"to": "now"}).status == 400
    assert anna.act(f"{path}/move", {"to": "whenever"}).status == 400
    assert anna.act(f"{path}/hold", {"csrf": "x"}).status == 403
    assert anna.act("/deliveries/99999/hold").status == 404
    with house.workplace.database.read() as session:
        acts = session.query(Intervention).filter_by(delivery_id=line.id)
        told = [(act.act, act.by, act.via) for act in acts.order_by(Intervention.id)]
    assert told == [(act, "anna", "web") for act in ("move", "hold", "release", "retry")]


# The runs


def test_a_runs_grids_are_shown_and_nothing_beside_them(house: House, anna: Browser) -> None:
    run = house.workplace.settings.runs / "flowers 64"
    (run / "samples").mkdir(parents=True)
    for kimg in (1.008, 2.016, 3.024):
        (run / "samples" / f"kimg-{kimg:010.3f}.png").write_bytes(b"PNG %f" % kimg)
    (run / "stats.jsonl").write_text(
        '{"kimg": 1.008, "g_loss": 3.5}\n'
        '{"kimg": 3.024, "elapsed_s": 90.4, "g_loss": 2.5, "kid_x1000": 20.25, "coverage": 0.5}\n'
        '{"kimg": 2.016, "elapsed_s": 120.4, "g_loss": 3.25, "kid_x1000": 30.5, "coverage": 0.25}\n'
        '{"kimg": 4.0'
    )
    (run / "state.pt").write_bytes(b"weights")
    assert "flowers 64" in anna.get("/runs").text
    page = anna.get("/runs/flowers%2064").text
    assert "30.5 at 2.016 kimg; the best was 20.2 at 3.024 kimg" in page
    assert "2.016 kimg in 0:02:00" in page
    grid = anna.get("/runs/flowers%2064/grids/kimg-000002.016.png")
    assert grid.body == b"PNG 2.016000"
    assert grid.headers["Content-Type"] == "image/png"
    assert "kimg-000003.024.png" not in page, "the run was rolled back from there"
    for path in (
        "/runs/nothing",
        "/runs/..%2fworks",
        "/runs/flowers%2064/grids/state.pt",
        "/runs/flowers%2064/grids/..%2fstate.pt",
        "/runs/flowers%2064/grids/kimg-000099.000.png",
    ):
        assert anna.get(path).status == 404, path


def test_a_workplace_with_nothing_in_it_has_every_page(own_house: Callable[..., House]) -> None:
    browser = own_house(count=0).logged_in()
    for path in ("/", "/queue", "/runs", "/help", "/sheet.json"):
        assert browser.get(path).status == 200, path
    assert browser.act("/undo").status == 409

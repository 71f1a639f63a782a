"""The desk: what lies before the person who chooses, and what they can do with it, the same for every face."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from sqlalchemy import event

from artbot.config import load_settings
from artbot.desk import AltRemark, AltTextWanted, Count, Desk, Fit, Show, Tile
from artbot.domain.candidate import CandidateState
from artbot.domain.likeness import Likeness
from artbot.errors import NotAllowed, PictureChanged, Stale, UsageError
from artbot.init import make_workplace
from artbot.publishing.channels import settings_models
from artbot.publishing.interventions import pause_channel
from artbot.review.decisions import Author, Seen, Words
from artbot.studio.provenance import likeness
from artbot.studio.recipes import Recipe
from artbot.workplace import Workplace
from db.engine import Database
from db.models import Candidate, WorkplaceRow
from tests.unit.service.kit import (
    BEN,
    NOON,
    SATURDAY,
    SetClock,
    a_batch,
    add_works,
    candidate,
    decisions,
    deliveries,
    move,
    put,
)
from trainers.descent import Breed, Descent, Vary

ALT = "Two red poppies lean over a green field"
CHANNELS = """
[channels.toots]
type = "mastodon"
url = "https://example.org"
secret_file = "secrets/toots"
slots = ["daily 18:30"]
timezone = "Europe/Berlin"

[channels.studio]
type = "webhook"
url = "https://example.org"
secret_file = "secrets/webhook"
"""


class Room:
    """A workplace with works in it, and two who sit at it."""

    def __init__(self, root: Path, database_at: Path | str, clock: SetClock) -> None:
        make_workplace(root)
        self.root, self.clock = root, clock
        self.paths = f'[paths]\ndatabase = "{database_at}"\n'
        self.configure(CHANNELS)

    def configure(self, words: str) -> None:
        (self.root / "artbot.toml").write_text(self.paths + words)
        settings = load_settings(self.root, settings_models())
        self.workplace = Workplace(
            settings, self.clock, lambda: ("boot", self.clock.now.timestamp())
        )
        self.desk = Desk(self.workplace, Author("anna", "web"))
        self.other = Desk(self.workplace, Author("ben", "tui"))

    @property
    def database(self) -> Database:
        return self.workplace.database

    def add(self, count: int = 1, state: str = CandidateState.PENDING) -> list[int]:
        return add_works(self.database, self.workplace.settings.works, count, state)

    def child(
        self, parent: int, other: int | None = None, state: str = CandidateState.PENDING
    ) -> int:
        """One more in the batch of its parent, painted."""
        with self.database.write() as session:
            first = session.get_one(Candidate, parent)
            index = session.query(Candidate).filter_by(batch_id=first.batch_id).count() + 1
            latent = (
                Vary(0.25, Descent(first.seed))
                if other is None
                else Breed(0.35, (Descent(first.seed), Descent(1)))
            )
            born = Candidate(
                **{
                    column: getattr(first, column)
                    for column in (
                        "batch_id",
                        "checkpoint_sha256",
                        "planned_at",
                        "rendered_at",
                        "path",
                        "width",
                        "height",
                        "num_bytes",
                        "image_sha256",
                        "pixel_sha256",
                    )
                },
                index=index,
                name=f"{first.batch.key}-{index:02d}",
                seed=7,
                recipe=Recipe(Descent(7, latent), 1.0, None).to_json(),
                parent_id=parent,
                other_parent_id=other,
                state=state,
            )
            put(session, born)
            return born.id

    def seen(self, number: int) -> Seen:
        return self.desk.tile(number).seen

    def approve(self, number: int, alt: str = ALT) -> Tile:
        return self.desk.approve(number, self.seen(number), Words(alt=alt))

    def laid(self, show: Show = Show.UNDECIDED) -> list[int]:
        """Numbers in the order in which they lie."""
        return [tile.id for stack in self.desk.lay_out(show).stacks for tile in stack.tiles]

    def stacks(self) -> list[list[int]]:
        return [[tile.id for tile in stack.tiles] for stack in self.desk.lay_out().stacks]

    def looks(self, number: int, picture: Image.Image) -> None:
        with self.database.write() as session:
            row = session.get_one(Candidate, number)
            row.likeness = str(likeness(np.asarray(picture)))


def _scene(seed: int = 7) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((96, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def room(database_at: Path | str, database: Database, tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "workplace", database_at, SetClock())
    yield made
    made.workplace.close()


# The sheet


def test_what_nobody_has_looked_at_lies_first_and_what_was_put_off_last(room: Room) -> None:
    one, two, three = room.add(3)
    room.desk.put_off(one, room.seen(one))
    assert room.laid() == [two, three, one]
    assert room.laid(Show.LATER) == [one]
    assert room.laid(Show.ALL) == [one, two, three]


def test_a_tile_says_all_that_a_face_shows_of_it(room: Room) -> None:
    _, number = room.add(2)
    (tile,) = (t for s in room.desk.lay_out().stacks for t in s.tiles if t.id == number)
    row = candidate(room.database, number)
    assert (tile.name, tile.batch, tile.place) == (row.name, "daily-2026-11-21", 2)
    assert (tile.state, tile.stars, tile.width_px, tile.height_px) == ("pending", 0, 8, 8)
    assert tile.seen == Seen(row.image_sha256 or "", row.row_version)
    assert tile.path.read_bytes()
    assert (tile.parent_ids, tile.method) == ((), "")


def test_children_lie_beside_their_parent_also_while_that_is_not_on_the_sheet(room: Room) -> None:
    one, two, three = room.add(3)
    child = room.child(one)
    grandchild, bred = room.child(child), room.child(two, one)
    assert room.laid() == [one, child, grandchild, two, bred, three]
    room.approve(one)
    assert room.laid() == [child, grandchild, two, bred, three]
    tile = room.desk.tile(bred)
    assert (tile.parent_ids, tile.method) == ((two, one), "bred at 0.35")


def test_the_sheet_counts_what_lies_on_the_others_and_lists_the_batches(room: Room) -> None:
    one, two, three, _ = room.add(4)
    room.approve(one)
    room.desk.reject(two, room.seen(two))
    room.desk.put_off(three, room.seen(three))
    with room.database.write() as session:
        for days in range(12):
            put(session, a_batch("older", SATURDAY - timedelta(days=days)))
    sheet = room.desk.lay_out(batch="daily-2026-11-21")
    assert sheet.counts == {
        Show.UNDECIDED: 2,
        Show.PENDING: 1,
        Show.LATER: 1,
        Show.APPROVED: 1,
        Show.REJECTED: 1,
        Show.ALL: 4,
    }
    assert not sheet.has_more
    assert len(sheet.batches) == 11, "ten newest, and one with something undecided"
    (line,) = [line for line in sheet.batches if line.num_undecided]
    assert (line.key, line.num_undecided, line.num_painted) == ("daily-2026-11-21", 2, 4)
    empty = room.desk.lay_out(batch="older-2026-11-21")
    assert (empty.stacks, empty.counts[Show.ALL]) == ((), 0)
    with pytest.raises(UsageError, match="no batch 'nonesuch'"):
        room.desk.lay_out(batch="nonesuch")


def test_what_expired_lies_among_all_and_not_among_the_undecided(room: Room) -> None:
    (number,) = room.add()
    with room.database.write() as session:
        move(session, session.get_one(Candidate, number), "expired")
    assert (room.laid(), room.laid(Show.ALL)) == ([], [number])


def test_pictures_that_are_alike_lie_in_one_stack_where_the_first_of_them_is(room: Room) -> None:
    one, two, three, four, five = room.add(5)
    child = room.child(one)
    scene, other = _scene(), _scene(seed=8)
    room.looks(one, scene)
    room.looks(two, other)
    room.looks(three, ImageEnhance.Brightness(scene).enhance(1.04))
    room.looks(child, other)
    assert room.stacks() == [[one, three], [child, two], [four], [five]]
    room.desk.put_off(three, room.seen(three))
    assert room.stacks() == [[one], [child, two], [four], [five], [three]]
    room.approve(child)
    assert room.stacks()[:2] == [[one], [two]]


def test_a_picture_is_like_its_own_copies_and_like_no_other() -> None:
    scene = _scene()

    def looks(picture: Image.Image) -> Likeness:
        return likeness(np.asarray(picture))

    copy = io.BytesIO()
    scene.save(copy, "JPEG", quality=40)
    for alike in (
        Image.open(copy),
        scene.resize((48, 48)),
        scene.filter(ImageFilter.GaussianBlur(2)),
        ImageEnhance.Brightness(scene).enhance(1.05),
    ):
        assert looks(scene).is_like(looks(alike))
    for other in (_scene(8), ImageOps.mirror(scene), ImageOps.invert(scene)):
        assert not looks(scene).is_like(looks(other))
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ("red", "blue"))
    assert not looks(red).is_like(looks(blue)), "nothing grows lighter in either"
    assert looks(red).is_like(looks(red.resize((64, 32))))


def test_works_of_before_say_nothing_of_how_they_look_and_stand_alone(room: Room) -> None:
    numbers = room.add(3)
    assert candidate(room.database, numbers[0]).likeness is None
    assert room.stacks() == [[number] for number in numbers]


def test_the_number_of_questions_does_not_grow_with_the_sheet(room: Room) -> None:
    few = room.add(2)
    room.child(few[0])
    with _questions(room.database) as first:
        room.desk.lay_out()
    for _ in range(20):
        room.child(room.child(few[1]))
    with _questions(room.database) as second:
        assert len(room.laid()) == 43
    assert len(first) == len(second) <= 10


@contextmanager
def _questions(database: Database) -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    said: list[str] = []

    def note(*given: object) -> None:
        if str(given[2]).startswith("SELECT"):
            said.append(str(given[2]))

    event.listen(database.engine, "before_cursor_execute", note)
    yield said
    event.remove(database.engine, "before_cursor_execute", note)


# The card


def test_a_card_tells_all_that_belongs_to_the_picture(room: Room) -> None:
    one, two = room.add(2)
    child = room.child(one)
    room.clock.now = NOON + timedelta(hours=2)
    room.other.give_stars(one, 4, room.seen(one))
    card = room.desk.open(one)
    assert card.tile == room.desk.tile(one)
    facts = dict(card.facts)
    assert facts["seed"] == str(candidate(room.database, one).seed)
    assert facts["batch"] == "daily-2026-11-21, no. 1"
    assert facts["size"] == "8 x 8 px"
    assert "flowers-000120" in facts["generator"]
    assert card.words.title == f"No. {one}, 2026-11-21"
    assert (card.words.caption, card.words.language) == ("", "en")
    assert [(c.id, c.state, c.method) for c in card.children] == [
        (child, "pending", "subtle variation")
    ]
    assert card.history == (f"{room.clock.now.astimezone():%H:%M}  4 stars, by ben (tui)",)
    assert card.can_have_children
    assert [p.id for p in room.desk.open(child).parents] == [one]
    assert room.desk.open(two).children == ()


def test_a_card_says_when_a_work_would_go_out_and_takes_nothing_by_it(room: Room) -> None:
    one, two = room.add(2)
    by_name = {line.name: line for line in room.desk.open(one).channels}
    assert by_name["toots"].goes_out in (
        "at 18:30 (Europe/Berlin)",
        "tomorrow 18:30 (Europe/Berlin)",
    )
    assert by_name["toots"].kind == "mastodon"
    assert by_name["studio"].goes_out == f"at {(NOON + timedelta(minutes=10)).astimezone():%H:%M}"
    assert room.desk.open(one).channels == room.desk.open(two).channels
    room.approve(one)
    after = {line.name: line for line in room.desk.open(two).channels}
    assert after["toots"].goes_out != by_name["toots"].goes_out
    lines = {line.channel: line.words for line in room.desk.open(one).deliveries}
    assert lines["toots"] == f"goes out {by_name['toots'].goes_out}"
    room.desk.undo(one)
    assert room.desk.open(one).deliveries == ()


def test_a_channel_that_is_paused_says_so_and_so_does_what_waits_for_it(room: Room) -> None:
    (one,) = room.add()
    room.approve(one)
    pause_channel(room.database, "studio", BEN, NOON)
    card = room.desk.open(one)
    (line,) = [line for line in card.channels if line.name == "studio"]
    assert line.trouble is not None
    assert "artbot channels resume studio" in line.trouble
    (delivery,) = [line for line in card.deliveries if line.channel == "studio"]
    assert delivery.words.startswith("waits: studio is paused")


def test_what_may_have_been_posted_before_a_restore_is_told_before_it_is_approved(
    room: Room,
) -> None:
    (one,) = room.add()
    with room.database.write() as session:
        session.get_one(WorkplaceRow, 1).doubted_until = SATURDAY
    troubles = {line.name: line.trouble for line in room.desk.open(one).channels}
    room.approve(one)
    uncertain = {d.channel for d in deliveries(room.database) if d.state == "uncertain"}
    assert {name for name, trouble in troubles.items() if trouble} == uncertain != set()


def test_what_has_no_picture_has_no_card_and_no_tile(room: Room) -> None:
    (number,) = room.add(state=CandidateState.PLANNED)
    for look in (room.desk.open, room.desk.tile):
        with pytest.raises(NotAllowed, match="not made yet"):
            look(number)
        with pytest.raises(UsageError, match="no candidate 4711"):
            look(4711)


# The alt text


def test_an_approval_wants_an_alt_text_that_somebody_wrote(room: Room) -> None:
    (one,) = room.add()
    with pytest.raises(AltTextWanted, match="draft"):
        room.desk.approve(one, room.seen(one))
    assert candidate(room.database, one).state == "pending"
    assert room.approve(one).state == "approved"
    assert candidate(room.database, one).alt == ALT


def test_a_draft_goes_out_once_a_person_says_that_it_will_do(room: Room) -> None:
    (one,) = room.add()
    assert room.desk.approve(one, room.seen(one), is_draft_fine=True).state == "approved"


def test_without_any_alt_text_nothing_goes_out_whoever_says_that_it_may(room: Room) -> None:
    (one,) = room.add()
    with pytest.raises(AltTextWanted, match="in a sentence"):
        room.desk.approve(one, room.seen(one), Words(alt=" \n"), is_draft_fine=True)
    assert decisions(room.database) == []


def test_an_alt_text_that_was_said_before_is_told_with_who_has_it(room: Room) -> None:
    one, two, three = room.add(3)
    room.approve(one)
    checked = room.desk.check(two, Words(alt=f"  {ALT.upper()}\n"))
    assert checked.alt is AltRemark.REPEATED
    assert f"{one} (daily-2026-11-21-01)" in checked.alt_words
    with pytest.raises(AltTextWanted, match="same alt text"):
        room.approve(two)
    room.desk.undo(one)
    assert room.desk.check(two, Words(alt=ALT)).alt is None
    assert room.desk.check(three, Words(alt="")).alt is AltRemark.MISSING
    assert room.desk.check(three, Words()).alt is AltRemark.DRAFT
    assert room.desk.check(three, Words(alt=ALT)).alt_words == ""


def test_only_the_last_thirty_approved_are_looked_at(room: Room) -> None:
    numbers = room.add(32)
    for number in numbers[:31]:
        room.desk.approve(number, room.seen(number), Words(alt=f"Picture {number}"), channels=[])
    first, second = numbers[:2]
    assert room.desk.check(numbers[31], Words(alt=f"picture {first}")).alt is None
    assert room.desk.check(numbers[31], Words(alt=f"picture {second}")).alt is AltRemark.REPEATED


# How it fits


def test_every_text_is_counted_as_its_channel_counts_it(room: Room) -> None:
    (one,) = room.add()
    words = Words(
        title="Poppies", alt=ALT, caption="see https://example.org/a/long/way", hashtags=""
    )
    toots, studio = room.desk.check(one, words).fits
    # A link counts as 23.
    assert toots.counts == (
        Count("text", len("Poppies\n\nsee ") + 23, 500, "characters, a link as 23"),
        Count("alt text", len(ALT), 1500, "characters"),
    )
    assert (toots.channel, toots.refusal, studio) == ("toots", None, Fit("studio", (), None))
    warned = room.desk.check(one, replace(words, warning="Flashing")).fits[0]
    assert warned.counts[-1] == Count(
        "text together with the content warning",
        len("FlashingPoppies\n\nsee ") + 23,
        500,
        "characters, a link as 23",
    )


def test_words_that_would_be_refused_are_refused_in_the_same_words(room: Room) -> None:
    (one,) = room.add()
    words = Words(alt="a" * 1501, caption="b" * 600)
    toots, studio = room.desk.check(one, words).fits
    assert [(count.what, count.has > count.most) for count in toots.counts] == [
        ("text", True),
        ("alt text", True),
    ]
    assert toots.refusal is not None
    assert studio.refusal is None
    with pytest.raises(NotAllowed) as refused:
        room.desk.approve(one, room.seen(one), words)
    assert f"toots: {toots.refusal}" in str(refused.value)
    nothing = room.desk.check(one, Words(alt=" "))
    assert {fit.refusal for fit in nothing.fits} == {
        "the alt text is missing, which people need who do not see the picture"
    }


def test_a_picture_that_could_never_go_out_is_refused_without_making_one(room: Room) -> None:
    room.configure(
        CHANNELS.replace("[channels.studio]", "[channels.studio]\ninline_limit_bytes = 70")
    )
    (one,) = room.add()
    refusals = {fit.channel: fit.refusal for fit in room.desk.check(one, Words(alt=ALT)).fits}
    assert refusals["toots"] is None
    assert "inline_limit_bytes is 70" in (refusals["studio"] or "")
    with pytest.raises(NotAllowed) as refused:
        room.approve(one)
    assert f"studio: {refusals['studio']}" in str(refused.value)


def test_a_picture_that_is_gone_is_told_by_every_channel(room: Room) -> None:
    (one,) = room.add()
    room.desk.tile(one).path.unlink()
    assert all("cannot be read" in (fit.refusal or "") for fit in room.desk.open(one).checked.fits)


def test_words_that_are_no_text_are_refused(room: Room) -> None:
    (one,) = room.add()
    with pytest.raises(UsageError, match="no hashtag"):
        room.desk.check(one, Words(hashtags="a-b"))


# Deciding


def test_two_at_two_desks_and_the_second_is_told_before_anything_else(room: Room) -> None:
    (one,) = room.add()
    seen = room.seen(one)
    assert room.other.put_off(one, seen).state == "later"
    for act in (
        lambda: room.desk.approve(one, seen),
        lambda: room.desk.reject(one, seen),
        lambda: room.desk.give_stars(one, 3, seen),
        lambda: room.desk.undo(one, seen),
    ):
        with pytest.raises(Stale, match=r"put off until later, by ben \(tui\)"):
            act()
    assert room.desk.tile(one).state == "later"


def test_every_act_returns_the_picture_as_it_is_now(room: Room) -> None:
    (one,) = room.add()
    acts: list[tuple[Callable[[Seen], Tile], str, int]] = [
        (lambda seen: room.desk.give_stars(one, 5, seen), "pending", 5),
        (lambda seen: room.desk.put_off(one, seen), "later", 5),
        (lambda seen: room.desk.reject(one, seen), "rejected", 5),
        (lambda seen: room.desk.undo(one, seen), "later", 5),
        (lambda seen: room.desk.redo(one, seen), "rejected", 5),
        (lambda seen: room.desk.undo(), "later", 5),
    ]
    seen = room.seen(one)
    for act, state, stars in acts:
        tile = act(seen)
        assert (tile.state, tile.stars) == (state, stars)
        assert tile.seen.row_version == seen.row_version + 1
        seen = tile.seen
    assert {(d.by, d.via) for d in decisions(room.database)} == {("anna", "web")}


def test_the_time_is_written_as_people_write_it(room: Room) -> None:
    (one,) = room.add()
    with pytest.raises(UsageError, match="'soonish' is no time"):
        room.desk.approve(one, room.seen(one), Words(alt=ALT), when="soonish")
    room.desk.approve(
        one, room.seen(one), Words(alt=ALT), channels=["toots"], when="2026-11-24T09:15"
    )
    (delivery,) = deliveries(room.database)
    assert delivery.next_at.astimezone(UTC).isoformat() == "2026-11-24T08:15:00+00:00"


def test_a_picture_that_was_changed_is_told_and_is_no_tile_any_more(room: Room) -> None:
    (one,) = room.add()
    tile = room.desk.tile(one)
    tile.path.write_bytes(b"something else")
    with pytest.raises(PictureChanged, match="--restore"):
        room.approve(one)
    with pytest.raises(NotAllowed, match="quarantined"):
        room.desk.tile(one)
    assert room.laid() == []


def test_the_rest_is_rejected_at_once_and_comes_back_at_once(room: Room) -> None:
    one, two, three, four, five = room.add(5)
    saw = {tile.id: tile.seen for s in room.desk.lay_out().stacks for tile in s.tiles}
    room.other.give_stars(two, 2, saw[two])
    room.other.approve(three, saw[three], Words(alt=ALT))
    room.desk.put_off(four, saw[four])
    rejected = room.desk.reject_rest(saw)
    assert [(tile.id, tile.state) for tile in rejected] == [(one, "rejected"), (five, "rejected")]
    assert room.laid() == [two, four]
    room.other.undo(five)
    room.other.approve(five, room.seen(five), Words(alt="Fog over a lake"))
    room.other.give_stars(one, 1, room.seen(one))
    back = room.desk.undo_each([one, five])
    assert [(tile.id, tile.state) for tile in back] == [(one, "pending")]
    assert room.desk.tile(five).state == "approved", "somebody else has decided since"
    assert room.desk.undo_each([one, five]) == []


def test_of_the_rest_all_are_rejected_or_none(room: Room) -> None:
    (one,) = room.add()
    seen = room.seen(one)
    with pytest.raises(UsageError, match="no candidate 4711"):
        room.desk.reject_rest({one: seen, 4711: seen})
    assert (room.laid(), decisions(room.database)) == ([one], [])


# More like this


def test_children_need_a_strength_that_there_is(room: Room) -> None:
    (one,) = room.add()
    with pytest.raises(UsageError, match=r"'wild'.*subtle or strong"):
        room.desk.vary(one, "wild")
    with pytest.raises(NotAllowed, match="generator flowers-000120"):
        room.desk.vary(one, "subtle")
    with pytest.raises(UsageError, match="bred with itself"):
        room.desk.breed(one, one)


# The end of the day


def test_the_summary_tells_what_was_done_today_and_what_waits(room: Room) -> None:
    room.configure(CHANNELS + '[schedules.daily]\nat = "07:00"\ntimezone = "UTC"\n')
    one, two, three, four = room.add(4)
    room.desk.reject(four, room.seen(four))
    room.clock.now = NOON + timedelta(days=1)
    room.approve(one)
    room.desk.reject(two, room.seen(two))
    room.desk.undo()
    room.desk.redo()
    room.desk.put_off(three, room.seen(three))
    room.child(one, state=CandidateState.PLANNED)
    summary = room.desk.summary()
    assert (summary.num_approved, summary.num_rejected, summary.num_later) == (1, 1, 1)
    assert summary.num_being_painted == 1
    assert summary.queued_until == max(d.next_at for d in deliveries(room.database))
    assert summary.troubles == ()
    assert summary.next_batch is not None
    pause_channel(room.database, "toots", BEN, room.clock.now)
    (trouble,) = room.desk.summary().troubles
    assert "channel toots is paused" in trouble
    assert "artbot channels resume toots" in trouble


def test_nothing_waits_where_there_is_nothing(room: Room) -> None:
    summary = room.desk.summary()
    assert (summary.queued_until, summary.next_batch, summary.num_approved) == (None, None, 0)

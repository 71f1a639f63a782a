"""More like this: what is planned, who paints it, what it follows from. No torch here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from artbot.cli.children import tree
from artbot.domain.candidate import BatchState, CandidateState
from artbot.domain.seeds import seed_for
from artbot.errors import NoCheckpoint, NotAllowed, RenderFailed, UsageError
from artbot.studio.batch import Listener, Studio, make_batch, unfinished_batches
from artbot.studio.children import (
    MOST_AT_ONCE,
    SHARES,
    Strength,
    _recipe_of,
    breed,
    fault_in_descent,
    vary,
)
from artbot.studio.family import Relative, family_of
from artbot.studio.provenance import Origin
from artbot.studio.recipes import read_recipe
from artbot.studio.render import Painting, RenderOptions
from artbot.upkeep.doctor import check_logs
from artbot.upkeep.story import tell
from db.engine import Database
from db.models import Batch, Candidate
from tests.faults.kill_driver import Brush
from tests.unit.service.kit import NOON, SetClock, a_batch, candidate, run_at_once, write_checkpoint
from tests.unit.service.test_doctor import change as change_anyway
from tests.unit.trainers.test_header import safetensors_file
from trainers.descent import MAX_GENERATION, Breed, Descent, Vary
from trainers.manifest import MANIFEST_FILE

KEY = "daily-2026-11-21"


@dataclass
class Atelier:
    """A studio whose batch of three is painted; `fails` says of which candidates painting fails."""

    studio: Studio
    fails: Callable[[str], bool] = lambda name: False
    painted: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def database(self) -> Database:
        return self.studio.database

    def make(self, key: str = KEY, stop_after: int | None = None) -> BatchState:
        listener = Listener(
            on_refused=lambda name, reason: None,
            on_painted=lambda name, done, total: self.painted.append(f"{name} {done}/{total}"),
            on_render_error=lambda name, reason: self.errors.append(name),
        )
        return make_batch(
            self.studio, key, listener, lambda: len(self.painted) == (stop_after or -1)
        )

    def batch(self) -> Batch:
        with self.database.read() as session:
            return session.query(Batch).filter_by(key=KEY).one()

    def states(self) -> dict[int, str]:
        with self.database.read() as session:
            return {c.index: c.state for c in session.query(Candidate).order_by(Candidate.index)}


@pytest.fixture
def atelier(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Atelier:
    studio = Studio(
        database=database,
        checkpoints=tmp_path / "checkpoints",
        works=tmp_path / "works",
        schedules={},
        truncation_psi=0.8,
        render_options=RenderOptions("cpu", 1, 1, {}),
        clock=SetClock(),
    )
    made = Atelier(studio)

    class Clumsy(Brush):
        def paint(self, origin: Origin, path: Path) -> Painting:
            if made.fails(origin["candidate"]):
                raise RenderFailed("the brush broke")
            return super().paint(origin, path)

    monkeypatch.setattr("artbot.studio.batch.RenderChild", Clumsy)
    write_checkpoint(studio.checkpoints, weights=safetensors_file())
    with database.write() as session:
        wanted = a_batch(state=BatchState.PLANNED)
        wanted.num_candidates = 3
        session.add(wanted)
    assert made.make() == BatchState.READY
    made.painted.clear()
    return made


def numbers(children: list[Candidate]) -> list[int]:
    return [child.id for child in children]


# What is planned


def test_variations_join_their_parents_batch_and_say_all_that_they_are_made_from(
    atelier: Atelier,
) -> None:
    parent = candidate(atelier.database, 2)
    children = vary(atelier.studio, 2, Strength.STRONG, 2)
    assert [(c.name, c.index, c.parent_id, c.other_parent_id, c.state) for c in children] == [
        (f"{KEY}-04", 4, 2, None, "planned"),
        (f"{KEY}-05", 5, 2, None, "planned"),
    ]
    for child in children:
        assert child.checkpoint_sha256 == parent.checkpoint_sha256
        assert child.seed == seed_for(f"vary 0.5 {parent.name}", child.index)
        assert child.recipe == {
            "version": 2,
            "truncation_psi": 0.8,
            "latent": {"vary": 0.5, "of": {"seed": parent.seed}},
        }
    assert len({child.seed for child in children}) == 2
    assert check_logs(atelier.database) == []


def test_asked_again_there_are_other_variations(atelier: Atelier) -> None:
    first = vary(atelier.studio, 1, Strength.SUBTLE, 2)
    second = vary(atelier.studio, 1, Strength.SUBTLE, 2)
    assert len({child.seed for child in first + second}) == 4


def test_a_child_keeps_the_truncation_of_its_parent_whatever_the_settings_say_now(
    atelier: Atelier,
) -> None:
    object.__setattr__(atelier.studio, "truncation_psi", 0.5)
    (child,) = vary(atelier.studio, 1, Strength.SUBTLE, 1)
    assert child.recipe["truncation_psi"] == 0.8


def test_children_of_a_generator_with_classes_have_their_first_parents_class(
    atelier: Atelier,
) -> None:
    """Also where an older artbot left it to the seed, and wrote none down."""
    weights = safetensors_file(data=b"with classes")
    folder = atelier.studio.checkpoints / "roses-000200"
    plain = write_checkpoint(folder.parent, folder.name, NOON + timedelta(1), weights)
    dataset = plain.dataset.model_copy(update={"class_names": ("rose", "tulip")})
    changed = plain.model_copy(update={"dataset": dataset, "is_conditional": True})
    (folder / MANIFEST_FILE).write_bytes(changed.to_json())
    with atelier.database.write() as session:
        wanted = a_batch("weekly", state=BatchState.PLANNED)
        wanted.num_candidates = 2
        session.add(wanted)
    atelier.make("weekly-2026-11-21")
    classes = {n: candidate(atelier.database, n).recipe["class"] for n in (4, 5)}
    assert [child.recipe["class"] for child in breed(atelier.studio, 4, 5)] == [classes[4]] * 3
    if classes[4] != classes[5]:
        assert breed(atelier.studio, 5, 4)[0].id == 9, "they have another class, and are others"
    parent = candidate(atelier.database, 5)
    del parent.recipe["class"]
    assert _recipe_of(parent, changed).class_name == classes[5]


def test_two_are_bred_once_at_three_places_between_them(atelier: Atelier) -> None:
    one, other = (candidate(atelier.database, number) for number in (3, 1))
    children = breed(atelier.studio, 3, 1)
    assert [(c.parent_id, c.other_parent_id) for c in children] == [(3, 1)] * 3
    for share, child in zip(SHARES, children, strict=True):
        latent = {"breed": share, "of": [{"seed": one.seed}, {"seed": other.seed}]}
        assert child.recipe["latent"] == latent
        assert child.seed == seed_for(f"breed {share} {one.name} {other.name}", child.index)
    assert numbers(breed(atelier.studio, 3, 1)) == numbers(children)
    there_and_back = numbers(breed(atelier.studio, 1, 3))
    assert there_and_back == numbers(children)[::-1], "nearest to the first comes first"
    assert check_logs(atelier.database) == []


def test_a_bred_child_that_could_not_be_painted_is_bred_again(atelier: Atelier) -> None:
    children = breed(atelier.studio, 1, 2)
    atelier.fails = lambda name: name == children[1].name
    atelier.make()
    again = breed(atelier.studio, 1, 2)
    assert (again[0].id, again[2].id) == (children[0].id, children[2].id)
    assert again[1].id > children[2].id
    atelier.fails = lambda name: False
    atelier.make()
    assert candidate(atelier.database, again[1].id).state == "pending"


def test_a_child_can_have_children_and_its_recipe_reaches_back_to_the_first(
    atelier: Atelier,
) -> None:
    (child,) = vary(atelier.studio, 1, Strength.SUBTLE, 1)
    atelier.make()
    grandchildren = breed(atelier.studio, child.id, 2)
    atelier.make()
    seeds = [candidate(atelier.database, number).seed for number in (1, 2)]
    expected = Breed(0.35, (Descent(child.seed, Vary(0.25, Descent(seeds[0]))), Descent(seeds[1])))
    found = read_recipe(grandchildren[0].seed, grandchildren[0].recipe).descent
    assert found == Descent(grandchildren[0].seed, expected)
    assert check_logs(atelier.database) == []


def test_two_who_ask_at_once_get_different_children_and_breed_once(atelier: Atelier) -> None:
    def once(ask: Callable[[], list[Candidate]]) -> list[list[int]]:
        asked: list[list[int]] = []
        assert run_at_once(*[lambda: asked.append(numbers(ask()))] * 4) == [None] * 4
        return asked

    varied = once(lambda: vary(atelier.studio, 1, Strength.SUBTLE, 3))
    assert len({number for some in varied for number in some}) == 12
    assert sorted(atelier.states()) == list(range(1, 16))
    bred = once(lambda: breed(atelier.studio, 1, 2))
    assert bred == [bred[0]] * 4


# What is refused, and what helps


def test_what_has_no_picture_has_no_children(atelier: Atelier) -> None:
    (child,) = vary(atelier.studio, 1, Strength.SUBTLE, 1)
    with pytest.raises(NotAllowed, match=rf"{child.id} .* has no picture .* not painted yet"):
        vary(atelier.studio, child.id, Strength.SUBTLE, 1)
    atelier.fails = lambda name: True
    atelier.make()
    with pytest.raises(NotAllowed, match="could not be painted"):
        breed(atelier.studio, 1, child.id)
    with pytest.raises(UsageError, match=r"there is no candidate 99.*artbot review --all"):
        vary(atelier.studio, 99, Strength.SUBTLE, 1)


def test_a_number_of_children_that_nobody_can_mean_is_refused(atelier: Atelier) -> None:
    for count in (0, -1, MOST_AT_ONCE + 1):
        with pytest.raises(UsageError, match=f"{count} variations: ask for 1 to 24"):
            vary(atelier.studio, 1, Strength.SUBTLE, count)


def test_works_of_two_generators_and_one_and_the_same_are_not_bred(atelier: Atelier) -> None:
    with pytest.raises(UsageError, match="cannot be bred with itself"):
        breed(atelier.studio, 1, 1)
    weights = safetensors_file(data=b"other")
    write_checkpoint(atelier.studio.checkpoints, "roses-000200", NOON + timedelta(1), weights)
    with atelier.database.write() as session:
        session.add(a_batch("weekly", state=BatchState.PLANNED))
    atelier.make("weekly-2026-11-21")
    with pytest.raises(NotAllowed, match=r"by flowers-000120, .* by roses-000200.*artbot vary 1"):
        breed(atelier.studio, 1, 4)


def test_the_last_generation_is_told_where_to_go_on_from(atelier: Atelier) -> None:
    number = 1
    for _ in range(MAX_GENERATION):
        ((number),) = numbers(vary(atelier.studio, number, Strength.SUBTLE, 1))
        atelier.make()
    with pytest.raises(NotAllowed, match=f"{number} .*generation 8.*artbot family {number}"):
        vary(atelier.studio, number, Strength.SUBTLE, 1)
    assert len(family_of(atelier.database, number)) == 1 + MAX_GENERATION


def test_nothing_is_planned_that_no_generator_could_paint(atelier: Atelier) -> None:
    shutil.rmtree(atelier.studio.generators)
    assert len(vary(atelier.studio, 1, Strength.SUBTLE, 1)) == 1, "checkpoints/ has it still"
    shutil.rmtree(atelier.studio.generators)
    shutil.rmtree(atelier.studio.checkpoints)
    before = atelier.states()
    with pytest.raises(NotAllowed, match=r"flowers-000120 cannot be used.*Put that checkpoint"):
        vary(atelier.studio, 1, Strength.SUBTLE, 1)
    assert atelier.states() == before


def test_a_recipe_of_a_newer_artbot_is_refused_by_its_version(atelier: Atelier) -> None:
    with atelier.database.write() as session:
        first = session.get_one(Candidate, 1)
        facts = {n: getattr(first, n) for n in ("batch_id", "seed", "checkpoint_sha256")}
        facts |= {n: getattr(first, n) for n in ("path", "image_sha256", "pixel_sha256")}
        newer = Candidate(
            **facts, index=9, name="x", recipe={"version": 3}, state="planned", planned_at=NOON
        )
        session.add(newer)
        session.flush()
        newer.state = "pending"
    with pytest.raises(NotAllowed, match="version 3; this artbot knows 1 and 2"):
        vary(atelier.studio, 4, Strength.SUBTLE, 1)


# Painting them


def test_children_are_painted_though_their_batch_is_made_and_it_stays_as_it_is(
    atelier: Atelier,
) -> None:
    was = atelier.batch()
    assert unfinished_batches(atelier.database) == []
    vary(atelier.studio, 1, Strength.SUBTLE, 2)
    assert unfinished_batches(atelier.database) == [KEY]
    assert atelier.make() == BatchState.READY
    assert atelier.painted == [f"{KEY}-04 4/5", f"{KEY}-05 5/5"]
    assert unfinished_batches(atelier.database) == []
    now = atelier.batch()
    assert (now.state, now.finished_at, now.num_candidates) == ("ready", was.finished_at, 3)
    assert (now.reason, set(atelier.states().values())) == (None, {"pending"})


def test_a_child_that_fails_three_times_has_failed_and_the_batch_is_none_the_worse(
    atelier: Atelier,
) -> None:
    children = vary(atelier.studio, 1, Strength.SUBTLE, 2)
    atelier.fails = lambda name: name == children[0].name
    assert atelier.make() == BatchState.READY
    assert atelier.errors == [children[0].name] * 3
    assert atelier.states() == {1: "pending", 2: "pending", 3: "pending", 4: "failed", 5: "pending"}


def test_a_child_of_a_batch_that_is_still_painted_keeps_it_from_nothing(atelier: Atelier) -> None:
    """It is asked for after the first of three, and cannot be painted when the batch is done."""
    with atelier.database.write() as session:
        wanted = a_batch("weekly", state=BatchState.PLANNED)
        wanted.num_candidates = 3
        session.add(wanted)
    key = "weekly-2026-11-21"
    assert atelier.make(key, stop_after=1) == BatchState.GENERATING
    vary(atelier.studio, 4, Strength.SUBTLE, 1)
    assert atelier.make(key, stop_after=3) == BatchState.READY
    assert unfinished_batches(atelier.database) == [key]
    atelier.fails = lambda name: True
    assert atelier.make(key) == BatchState.READY


def test_what_keeps_children_from_being_painted_is_noted_until_they_are(atelier: Atelier) -> None:
    vary(atelier.studio, 1, Strength.SUBTLE, 1)
    kept, away = atelier.studio.generators, atelier.studio.works / "away"
    kept.rename(away)
    checkpoints = atelier.studio.checkpoints
    checkpoints.rename(checkpoints.with_name("gone"))
    with pytest.raises(NoCheckpoint, match="cannot be used now"):
        atelier.make()
    assert "cannot be used now" in str(atelier.batch().reason)
    assert atelier.states()[4] == CandidateState.PLANNED
    away.rename(kept)
    atelier.make()
    assert (atelier.batch().reason, atelier.states()[4]) == (None, CandidateState.PENDING)


# What the database refuses


ORIGIN, ORDER, TWO = "made from never changes", "parents_came_before", "parents_are_two"


def test_parents_are_there_before_their_child_are_two_and_never_change(atelier: Atelier) -> None:
    vary(atelier.studio, 1, Strength.SUBTLE, 1)
    insert = (
        'INSERT INTO candidates (id, batch_id, "index", name, seed, checkpoint_sha256, recipe, state, '
        "row_version, planned_at, num_render_errors, parent_id, other_parent_id) SELECT 5, batch_id, "
        "5, 'x', 1, checkpoint_sha256, '{}', 'planned', 1, planned_at, 0, %s FROM candidates WHERE id = 1"
    )
    for change, why in (
        ("UPDATE candidates SET parent_id = 2 WHERE id = 4", ORIGIN),
        ("UPDATE candidates SET parent_id = NULL WHERE id = 4", ORIGIN),
        ("UPDATE candidates SET other_parent_id = 2 WHERE id = 4", ORIGIN),
        ("UPDATE candidates SET parent_id = 1 WHERE id = 3", ORIGIN),
        ("UPDATE candidates SET recipe = '{}' WHERE id = 3", ORIGIN),
        (insert % "5, NULL", ORDER),
        (insert % "9, NULL", ORDER),
        (insert % "1, 9", ORDER),
        (insert % "1, 1", TWO),
        (insert % "NULL, 1", TWO),
    ):
        with pytest.raises(IntegrityError, match=why), atelier.database.write() as session:
            session.execute(text(change))


# What is told of it


def test_the_doctor_sees_a_child_that_does_not_follow_from_its_parents(atelier: Atelier) -> None:
    (child,) = vary(atelier.studio, 1, Strength.SUBTLE, 1)
    parent, stranger = (candidate(atelier.database, number) for number in (1, 2))
    assert fault_in_descent(child, [parent]) is None
    assert "other parents in its recipe" in str(fault_in_descent(child, [stranger]))
    assert "other parents in its recipe" in str(fault_in_descent(child, [parent, stranger]))
    for change, words in (
        ({"seed": 1}, "a seed that its parents do not give it"),
        ({"index": 7}, "a seed that its parents do not give it"),
        ({"batch_id": 7}, "in another batch"),
        ({"checkpoint_sha256": "e" * 64}, "another generator"),
        ({"recipe": {"version": 9}}, "version 9"),
    ):
        was = {name: getattr(child, name) for name in change}
        vars(child).update(change)
        assert words in str(fault_in_descent(child, [parent]))
        vars(child).update(was)
    change_anyway(atelier.database, "UPDATE candidates SET seed = 1 WHERE id = 4")
    assert check_logs(atelier.database) == [
        f"{child.name} has a seed that its parents do not give it"
    ]


def test_the_story_of_a_child_begins_with_its_parents_and_theirs_tells_of_it(
    atelier: Atelier,
) -> None:
    vary(atelier.studio, 1, Strength.STRONG, 2)
    atelier.make()
    bred = breed(atelier.studio, 4, 2)
    _, events = tell(atelier.database, 4)
    assert [event.what for event in events] == ["planned", "painted", "more like it"]
    assert events[0].words.startswith(f"strong variation of {KEY}-01, into batch {KEY}")
    assert events[2].words == ", ".join(
        f"{child.name} (bred at {share})" for child, share in zip(bred, SHARES, strict=True)
    )
    _, events = tell(atelier.database, 1)
    told = f"{KEY}-04 (strong variation), {KEY}-05 (strong variation)"
    assert (events[-1].what, events[-1].words) == ("more like it", told)
    _, events = tell(atelier.database, bred[0].id)
    assert events[0].words.startswith(f"bred at 0.35 from {KEY}-04 and {KEY}-02, into batch")


def test_a_tree_shows_everybody_once_with_all_that_descends_from_them() -> None:
    def one(number: int, *parents: int, method: str = "subtle variation") -> Relative:
        return Relative(number, f"n{number}", "pending", parents, method if parents else "")

    family = [one(1), one(2), one(3, 1), one(4, 1), one(5, 3, 2, method="bred at 0.5"), one(6, 5)]
    assert tree(family, 4) == [
        "1  n1  pending",
        "├─ 3  n3  subtle variation, pending",
        "│  └─ 5  n5  bred at 0.5, with 2, pending",
        "│     └─ 6  n6  subtle variation, pending",
        "└─ 4  n4  subtle variation, pending  <",
        "2  n2  pending",
        "└─ 5  n5  bred at 0.5, with 3, as above",
    ]

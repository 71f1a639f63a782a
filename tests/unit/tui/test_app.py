"""A person sits before the screen: what every key does, and what is written down."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input, TextArea

from artbot.desk import Desk, Tile
from artbot.errors import UsageError
from artbot.review.decisions import Seen
from artbot.tui import app as app_module
from artbot.tui import check_terminal
from artbot.tui import dialogs as dialogs_module
from artbot.tui.compare import Compare
from artbot.tui.dialogs import ChannelsDialog, Message, Question, WordsDialog, in_editor
from tests.unit.tui.kit import ANNA, BEN, Sitting, new_workplace, sit_down, states


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "QUIET_S", 0.0)
    monkeypatch.setattr(app_module, "LOOK_EVERY_S", 3600.0)
    monkeypatch.setattr(dialogs_module, "UNREAD_S", 0.0)
    monkeypatch.setattr(dialogs_module, "CHECK_AFTER_S", 0.01)


def decided(app: app_module.ReviewApp, number: int, state: str) -> bool:
    tile = app.table.get(number)
    return tile is not None and tile.state == state


def test_a_day_is_chosen_by_single_keys(tmp_path: Path, migrated_file: Path) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 4)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("a")
        await person.until(lambda: isinstance(app.screen, WordsDialog))
        assert "would do for any picture" in person.told
        await person.press(*"A red field", "ctrl+s")
        await person.sees(2)
        await person.press("4", "x")
        await person.sees(3)
        await person.press("space")
        await person.sees(4)
        await person.press("x")
        await person.until(lambda: isinstance(app.screen, Message))
        await person.sees_words("1 approved · 2 rejected · 1 put off until later")
        await person.press("q")

    app = sit_down(workplace, choose)
    assert states(workplace) == {1: "approved", 2: "rejected", 3: "later", 4: "rejected"}
    card = Desk(workplace, BEN).open(1)
    assert card.words.alt == "A red field"
    assert Desk(workplace, BEN).tile(2).stars == 4
    assert [line.rpartition("  ")[2] for line in card.history] == ["approved, by anna (terminal)"]
    assert app.last_words[0] == "1 approved, 2 rejected, 1 put off until later; all is saved."
    workplace.close()


def test_undo_takes_back_what_was_decided_here_and_redo_brings_it_back(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 3)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("x")
        await person.sees(2)
        await person.press("x")
        await person.sees(3)
        # Somebody else decides last: that is not taken back.
        Desk(workplace, BEN).put_off(3, Desk(workplace, BEN).tile(3).seen)
        await person.press("u")
        await person.sees_words("taken back: 2 is pending again")
        await person.sees(2)
        await person.press("u")
        await person.sees_words("taken back: 1 is pending again")
        await person.press("U", "U")
        await person.until(lambda: decided(app, 1, "rejected") and decided(app, 2, "rejected"))

    sit_down(workplace, choose)
    assert states(workplace) == {1: "rejected", 2: "rejected", 3: "later"}
    workplace.close()


def test_words_outlive_an_approval_that_is_taken_back(tmp_path: Path, migrated_file: Path) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("e")
        await person.until(lambda: isinstance(app.screen, WordsDialog))
        await person.press(*"A red field", "ctrl+s")  # the draft is selected: this takes its place
        await person.until(lambda: decided(app, 1, "approved"))
        await person.press("u")
        await person.sees_words("taken back: 1 is pending again")
        assert Desk(workplace, BEN).open(1).words.alt != "A red field"
        await person.sees(1)
        await person.press("a")
        await person.until(lambda: decided(app, 1, "approved"))
        await person.press("x")
        await person.until(lambda: decided(app, 2, "rejected"))
        await person.until(lambda: isinstance(app.screen, Message))
        await person.press("u")
        await person.until(lambda: decided(app, 2, "pending"))
        await person.press("q")

    app = sit_down(workplace, choose)
    assert Desk(workplace, BEN).open(1).words.alt == "A red field"
    assert app.last_words[0] == "1 approved; all is saved.", "what was taken back is not counted"
    workplace.close()


def test_keys_faster_than_the_database_are_done_in_their_order(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        await person.press("3", "5", "space", "left", "1", "u", "u")
        await person.until(lambda: len(Desk(workplace, BEN).open(1).history) == 6)

    sit_down(workplace, choose)
    tile = Desk(workplace, BEN).tile(1)
    assert (tile.state, tile.stars) == ("pending", 5)
    workplace.close()


def test_leaving_at_once_loses_no_key(tmp_path: Path, migrated_file: Path) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        await person.press("x", "q")

    sit_down(workplace, choose)
    assert states(workplace) == {1: "rejected", 2: "pending"}
    workplace.close()


def test_who_was_overtaken_is_told_and_nothing_is_overwritten(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 3)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        Desk(workplace, BEN).reject(1, Desk(workplace, BEN).tile(1).seen)
        await person.press("space")
        await person.until(lambda: isinstance(app.screen, Message))
        assert "ben" in person.told
        assert "rejected" in person.told
        await person.pilot.pause(0.1)
        assert isinstance(app.screen, Message)  # it stays
        await person.press("x")  # this key only puts the message away
        await person.sees(1)
        assert decided(app, 1, "rejected")

    sit_down(workplace, choose)
    assert states(workplace) == {1: "rejected", 2: "pending", 3: "pending"}
    workplace.close()


def test_a_message_is_not_put_away_by_a_key_that_was_meant_for_a_picture(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialogs_module, "UNREAD_S", 3600.0)
    workplace = new_workplace(tmp_path / "studio", migrated_file, 3)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        Desk(workplace, BEN).reject(1, Desk(workplace, BEN).tile(1).seen)
        await person.press("space")
        await person.until(lambda: isinstance(person.app.screen, Message))
        await person.press("x", "a", "enter")
        assert isinstance(person.app.screen, Message)

    sit_down(workplace, choose)
    assert states(workplace)[2] == "pending"
    workplace.close()


def test_what_is_decided_elsewhere_shows_and_the_picture_stays(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "LOOK_EVERY_S", 0.1)
    workplace = new_workplace(tmp_path / "studio", migrated_file, 3)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        Desk(workplace, BEN).reject(1, Desk(workplace, BEN).tile(1).seen)
        await person.sees_words("decided elsewhere: 1 is rejected")
        assert person.app._shown == 1

    sit_down(workplace, choose)
    workplace.close()


def test_the_rest_is_rejected_after_a_question_and_one_undo_brings_it_back(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 4)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("space")
        await person.sees(2)
        await person.press("X")
        await person.until(lambda: isinstance(app.screen, Question))
        assert "Reject the 3 that are still pending here (2 3 4)?" in person.told
        await person.press("n")
        assert states(workplace)[3] == "pending"
        await person.press("X", "y")
        await person.until(lambda: isinstance(app.screen, Message))
        assert list(states(workplace).values()) == ["later", "rejected", "rejected", "rejected"]
        await person.press("u")
        await person.sees_words("taken back: 2 3 4 are pending again")

    sit_down(workplace, choose)
    assert list(states(workplace).values()) == ["later", "pending", "pending", "pending"]
    workplace.close()


def test_nothing_is_decided_before_the_first_picture_is_there(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "QUIET_S", 3600.0)
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        await person.press("x", "1")
        await person.sees(1)
        await person.press("x", "1")
        await person.pilot.pause(0.1)

    sit_down(workplace, choose)
    assert states(workplace) == {1: "pending", 2: "pending"}
    assert Desk(workplace, BEN).tile(1).stars == 0
    workplace.close()


def test_a_picture_that_is_another_one_now_is_not_shown(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)
    Desk(workplace, BEN).tile(1).path.write_bytes(Desk(workplace, BEN).tile(2).path.read_bytes())

    async def choose(person: Sitting) -> None:
        await person.sees_words("is no longer the picture that was made")

    sit_down(workplace, choose)
    workplace.close()


def test_words_are_kept_when_the_dialog_is_left_and_go_with_the_approval(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("e")
        await person.until(lambda: isinstance(app.screen, WordsDialog))
        app.screen.query_one("#alt", TextArea).load_text("A green wave")
        app.screen.query_one("#title", Input).value = "Wave"
        await person.press("escape")
        await person.until(lambda: "A green wave" in person.told)
        await person.press("q")  # asks: words would be lost
        await person.until(lambda: isinstance(app.screen, Question))
        assert "You wrote words for 1" in person.told
        await person.press("n", "a")
        await person.sees(2)

    sit_down(workplace, choose)
    words = Desk(workplace, BEN).open(1).words
    assert (words.title, words.alt) == ("Wave", "A green wave")
    workplace.close()


def test_an_alt_text_that_was_said_before_is_remarked_on_as_it_is_typed(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)
    desk = Desk(workplace, ANNA)
    desk.approve(1, desk.tile(1).seen, app_module.Words(alt="A wave"))

    async def choose(person: Sitting) -> None:
        await person.sees(2)
        await person.press("e")
        await person.until(lambda: isinstance(person.app.screen, WordsDialog))
        person.app.screen.query_one("#alt", TextArea).load_text("A wave")
        await person.sees_words("has the same alt text")
        person.app.screen.query_one("#alt", TextArea).load_text("Another wave")
        await person.until(lambda: "has the same alt text" not in person.told)

    sit_down(workplace, choose)
    workplace.close()


def test_a_gate_that_is_met_late_opens_the_words_and_says_why(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        tile = app.table.current
        assert tile is not None
        app._decided(
            app_module.Outcome("approve", 1, (tile,), refusal="Say what is seen.", wants_alt=True)
        )
        await person.sees_words("Say what is seen.")
        assert isinstance(app.screen, WordsDialog)

    sit_down(workplace, choose)
    workplace.close()


def test_two_keys_at_once_close_a_message_once(tmp_path: Path, migrated_file: Path) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        for opened in ("?", "X"):
            await person.press(opened)
            await person.until(lambda: len(app.screen_stack) == 2)
            screen = app.screen
            for key in ("b", "n"):  # both wait before the first is looked at
                screen.post_message(Key(key, key))
            await person.until(lambda: len(app.screen_stack) == 1)
            await person.pilot.pause(0.05)

    sit_down(workplace, choose)
    assert states(workplace) == {1: "pending", 2: "pending"}
    workplace.close()


def test_what_is_refused_after_the_person_has_left_is_told_all_the_same(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)
    has_left, put_off = threading.Event(), Desk.put_off

    def slowly(desk: Desk, number: int, seen: Seen) -> Tile:
        assert has_left.wait(20)
        return put_off(desk, number, seen)

    monkeypatch.setattr(Desk, "put_off", slowly)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        Desk(workplace, BEN).reject(1, Desk(workplace, BEN).tile(1).seen)
        await person.press("space", "q")
        has_left.set()

    (told,) = sit_down(workplace, choose).refusals_untold()
    assert told.startswith("1 later: ")
    assert "ben" in told
    workplace.close()


def test_the_editor_of_the_person_writes_a_field(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "A hill\\n" > "$2"\n', encoding="utf-8")
    editor.chmod(0o755)
    assert in_editor("draft", {"EDITOR": f"{editor} --wait"}) == "A hill"
    assert in_editor("draft", {"EDITOR": "false"}) == "draft"
    with pytest.raises(OSError, match="no-such-editor"):
        in_editor("draft", {"EDITOR": "no-such-editor"})


def test_channels_and_time_are_chosen_for_the_approval(tmp_path: Path, migrated_file: Path) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("s")
        await person.until(lambda: isinstance(app.screen, ChannelsDialog))
        assert "hook" in person.told
        await person.press("space", "enter")
        await person.sees_words("it must go somewhere")
        app.screen.query_one(Input).value = "soon"
        app.screen.query_one(dialogs_module.Box).value = True
        await person.press("enter")
        await person.sees_words("'soon' is no time")
        app.screen.query_one(Input).value = "2031-12-24T18:00"
        await person.press("enter")
        await person.until(lambda: "2031-12-24T18:00" in person.told)
        await person.press("a")
        await person.until(lambda: isinstance(app.screen, WordsDialog))
        await person.press("ctrl+s")
        await person.sees(2)

    sit_down(workplace, choose)
    (delivery,) = Desk(workplace, BEN).open(1).deliveries
    assert "24 Dec 2031" in delivery.words
    workplace.close()


def test_marked_ones_are_compared_side_by_side_and_decided_there(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 4)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("c")
        await person.sees_words("mark 2 to 4 to compare (v); 0 are marked")
        await person.press("v", "right", "v", "right", "v", "c")
        await person.until(lambda: isinstance(app.screen, Compare))
        await person.press("right", "3", "x", "left", "z", "right", "z", "space")
        await person.until(lambda: decided(app, 2, "rejected") and decided(app, 1, "later"))
        assert isinstance(app.screen, Compare)
        await person.press("escape")
        await person.sees(1)

    sit_down(workplace, choose)
    assert list(states(workplace).values()) == ["later", "rejected", "pending", "pending"]
    workplace.close()


def test_the_sheet_shows_all_of_them_and_takes_the_same_keys(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 12)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("g", "down", "x")
        columns = app.screen.query_one(app_module.SheetView).num_columns
        await person.until(lambda: decided(app, 1 + columns, "rejected"))
        await person.press("enter")
        await person.sees(2 + columns)
        await person.press("i")
        await person.until(lambda: "generator" in person.told)

    sit_down(workplace, choose)
    workplace.close()


def test_others_are_shown_by_tab_and_the_same_picture_stays_where_it_can(
    tmp_path: Path, migrated_file: Path
) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 3)

    async def choose(person: Sitting) -> None:
        app = person.app
        await person.sees(1)
        await person.press("x")
        await person.sees(2)
        await person.press("shift+tab")  # all
        await person.until(lambda: "all (tab)" in person.told)
        assert [tile.id for tile in app.table.tiles] == [1, 2, 3]
        await person.sees(2)
        await person.press("shift+tab")  # rejected
        await person.sees(1)
        await person.press("e")
        await person.sees_words("its words stand")

    sit_down(workplace, choose)
    workplace.close()


def test_keys_are_those_of_the_person(tmp_path: Path, migrated_file: Path) -> None:
    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        await person.press("x")
        await person.press("backspace")
        await person.sees(2)
        await person.press("?")
        await person.until(lambda: isinstance(person.app.screen, Message))

    sit_down(workplace, choose, reject="backspace")
    assert states(workplace) == {1: "rejected", 2: "pending"}
    workplace.close()


def test_a_failure_of_the_database_is_told_and_the_next_key_works(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    workplace = new_workplace(tmp_path / "studio", migrated_file, 2)
    reject, times = Desk.reject, iter([True])

    def full(desk: Desk, number: int, seen: Seen) -> Tile:
        if next(times, False):
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        return reject(desk, number, seen)

    monkeypatch.setattr(Desk, "reject", full)

    async def choose(person: Sitting) -> None:
        await person.sees(1)
        await person.press("x")
        await person.sees_words("Nothing was written down: database or disk is full")
        await person.press("enter")
        await person.sees(1)
        await person.press("x")
        await person.sees(2)

    sit_down(workplace, choose)
    assert states(workplace) == {1: "rejected", 2: "pending"}
    workplace.close()


def test_where_nothing_can_be_drawn_it_says_so_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match=r"needs a terminal.*artbot review --list"):
        check_terminal({"TERM": "xterm"})
    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(f"sys.{stream}.isatty", lambda: True)
    with pytest.raises(UsageError, match="TERM is 'dumb'"):
        check_terminal({"TERM": "dumb"})
    monkeypatch.setattr("shutil.get_terminal_size", lambda: (59, 24))
    with pytest.raises(UsageError, match=r"59 columns and 24 rows.*60 and 16.*larger"):
        check_terminal({"TERM": "xterm"})

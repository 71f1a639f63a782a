"""How training shows itself: the arithmetic of its pace, lines for logs, a bar for people."""

from __future__ import annotations

import dataclasses
import fcntl
import io
import os
import pty
import re
import struct
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer_fixtures import tiny_config
from trainers.learner import StepMeans
from trainers.progress import (
    Display,
    Pace,
    PlainDisplay,
    TerminalDisplay,
    TickStats,
    duration,
    open_display,
)

STATS = TickStats(
    kimg=1.0,
    elapsed_s=8.0,
    sec_per_kimg=8.0,
    d_loss=0.62,
    g_loss=0.75,
    d_right_on_real=0.8,
    d_right_on_fake=0.6,
)

MEANS = StepMeans(
    d_loss=0.62,
    g_loss=0.75,
    d_right_on_real=0.8,
    d_right_on_fake=0.6,
    penalty=0.1,
    penalty_share=0.1,
    overfitting=0.6,
    gradient_norm=3.0,
    skipped_steps=0,
    most_skipped_in_a_row=0,
)


def pace(
    kimg: float = 4.0, minutes: float | None = None, images_seen: int = 0, elapsed_s: float = 0.0
) -> Pace:
    return Pace(tiny_config(kimg=kimg, minutes=minutes), images_seen, elapsed_s)


# ---------------------------------------------------------------- pace


def test_before_the_first_step_nothing_is_said_about_the_time_left() -> None:
    assert pace().remaining_s is None
    assert pace().fraction == 0


def test_at_a_steady_speed_the_time_left_is_pictures_left_times_speed() -> None:
    going = pace(kimg=4.0)
    for _ in range(100):
        going.step_done(10, 0.08)
    assert going.sec_per_kimg == pytest.approx(8.0)
    assert going.remaining_s == pytest.approx(3 * 8.0)
    assert going.fraction == pytest.approx(0.25)
    assert going.elapsed_s == pytest.approx(8.0)


def test_of_two_budgets_the_nearer_end_counts() -> None:
    by_time = pace(kimg=4.0, minutes=0.2)
    by_time.step_done(1000, 6.0)
    assert by_time.fraction == pytest.approx(0.5)
    assert by_time.remaining_s == pytest.approx(6.0)

    by_pictures = pace(kimg=2.0, minutes=60)
    by_pictures.step_done(1000, 6.0)
    assert by_pictures.fraction == pytest.approx(0.5)
    assert by_pictures.remaining_s == pytest.approx(6.0)


def test_a_run_is_finished_when_either_budget_is_spent_and_never_beyond_the_whole() -> None:
    by_pictures = pace(kimg=1.0, minutes=60)
    by_pictures.step_done(1001, 1.0)
    assert by_pictures.is_finished
    assert by_pictures.fraction == 1.0
    assert by_pictures.remaining_s == 0

    by_time = pace(kimg=100, minutes=0.1)
    by_time.step_done(8, 6.0)
    assert by_time.is_finished
    assert by_time.remaining_s == 0


def test_budgets_count_over_all_sessions() -> None:
    resumed = pace(kimg=4.0, minutes=1.0, images_seen=1000, elapsed_s=45.0)
    assert resumed.fraction == pytest.approx(0.75)
    resumed.step_done(1000, 15.0)
    assert resumed.is_finished


def test_grids_and_saving_count_towards_the_minutes_and_not_towards_the_speed() -> None:
    going = pace(minutes=1.0)
    going.step_done(1000, 8.0)
    going.overhead(22.0)
    assert going.sec_per_kimg == pytest.approx(8.0)
    assert going.fraction == pytest.approx(0.5)


def test_the_speed_follows_when_the_machine_gets_slower() -> None:
    going = pace(kimg=1000.0)
    for _ in range(100):
        going.step_done(10, 0.08)
    for _ in range(1000):
        going.step_done(10, 0.16)
    assert going.sec_per_kimg == pytest.approx(16.0, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0, "0s"),
        (8.4, "8s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3599.6, "1h00m"),
        (15_120, "4h12m"),
    ],
)
def test_durations_are_short(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


# ---------------------------------------------------------------- lines


def one_session(display: Display) -> None:
    """What the loop tells a display, from the first picture to the last."""
    config = tiny_config(run="flowers-64", kimg=4.0)
    going = pace(kimg=4.0)
    display.preparing("preparing pictures", 1, 2)
    display.preparing("preparing pictures", 2, 2)
    display.note("24 pictures from [datasets]/flowers")
    display.begin(config, going)
    going.step_done(1000, 8.0)
    if display.wants_losses(1.0):
        display.losses(MEANS)
    display.advance(going)
    display.tick(STATS, going, Path("checkpoints/flowers-64-000001"))
    display.close()


def test_without_a_terminal_every_event_is_one_plain_line() -> None:
    stream = io.StringIO()
    display = open_display(stream)
    assert isinstance(display, PlainDisplay)
    one_session(display)
    assert stream.getvalue().splitlines() == [
        "preparing pictures 1/2",
        "preparing pictures 2/2",
        "24 pictures from [datasets]/flowers",
        "training flowers-64 on cpu: to 4 kimg",
        "first figures and first grid after 0.032 kimg or 2m00s, whichever is first",
        "G and D: the losses of generator and discriminator; right: how often the discriminator is "
        "(usual for this loss: G 0.5 to 2, D 0.5 to 0.8, right about 80%; "
        "on few pictures it is common to be outside, and no harm)",
        "kimg      1.0   25%  8.0 s/kimg  ETA 24s  G 0.75  D 0.62  right 70%  "
        "diversity 1.00  checkpoint flowers-64-000001",
    ]


@pytest.mark.parametrize(
    ("kimg", "minutes", "first"),
    [
        (300.0, None, "4 kimg or 2m00s, whichever is first"),
        (300.0, 1.5, "4 kimg or 1m30s, whichever is first"),
        (2.5, None, "2.5 kimg or 2m00s, whichever is first"),
    ],
)
def test_a_log_says_when_it_will_say_more_and_is_not_silent_until_then(
    kimg: float, minutes: float | None, first: str
) -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    config = tiny_config(kimg=kimg, minutes=minutes, tick_kimg=4.0)
    going = pace(kimg=kimg, minutes=minutes)
    display.begin(config, going)
    for _ in range(30):
        going.step_done(16, 1.0)
        display.advance(going)
    lines = stream.getvalue().splitlines()
    assert lines[1] == f"first figures and first grid after {first}"
    assert [line.partition("  ETA")[0] for line in lines[3:]] == ["it learns: 62.5 s/kimg"]


def test_a_log_is_not_flooded_while_pictures_are_prepared() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    for done in range(1, 1001):
        display.preparing("preparing pictures", done, 1000)
    assert stream.getvalue().splitlines() == [
        "preparing pictures 1/1000",
        "preparing pictures 1000/1000",
    ]


def test_a_log_does_not_ask_for_losses_between_ticks() -> None:
    """Reading them would make the graphics card wait."""
    assert not PlainDisplay(io.StringIO()).wants_losses(0.0)


# ---------------------------------------------------------------- a bar


def on_a_terminal(show: Callable[[Display], None], columns: int = 120) -> str:
    """What a real terminal of that width receives, colours removed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with open(theirs, "w", encoding="utf-8") as stream:
        display = open_display(stream)
        assert isinstance(display, TerminalDisplay)
        show(display)
        stream.flush()
        os.set_blocking(ours, False)
        received = b""
        time.sleep(0.05)
        while True:
            try:
                received += os.read(ours, 65536)
            except BlockingIOError:
                break
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received.decode())


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("wide")
def test_on_a_terminal_there_is_a_bar_with_speed_eta_and_losses() -> None:
    shown = on_a_terminal(one_session)
    assert "preparing pictures" in shown
    assert "flowers-64" in shown
    assert "━" in shown, "the bar"
    assert "25%" in shown
    assert "1.0/4 kimg" in shown
    assert "8.0 s/kimg" in shown
    assert "ETA 24s" in shown
    assert "G 0.75 D 0.62 right 70%" in shown


@pytest.mark.usefixtures("wide")
def test_notes_and_checkpoints_scroll_by_above_the_bar_and_are_shown_as_written() -> None:
    shown = on_a_terminal(one_session)
    assert "24 pictures from [datasets]/flowers" in shown, "brackets are no markup"
    assert "Ctrl-C saves and stops" in shown
    assert "checkpoint flowers-64-000001 written at 1.0 kimg" in shown


@pytest.mark.usefixtures("wide")
def test_a_bar_asks_for_losses_at_most_every_so_often() -> None:
    def show(display: Display) -> None:
        assert display.wants_losses(60.0)
        display.losses(MEANS)
        assert not display.wants_losses(60.0)

    on_a_terminal(show)


@pytest.mark.usefixtures("wide")
def test_closing_twice_or_without_beginning_does_no_harm() -> None:
    def show(display: Display) -> None:
        display.close()
        display.close()

    assert on_a_terminal(show).strip() == ""


def test_bar_and_losses_are_seen_on_a_terminal_of_ordinary_width(
    monkeypatch: pytest.MonkeyPatch, wide: None
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    def show(display: Display) -> None:
        going = pace(kimg=300, images_seen=120_500)
        display.begin(tiny_config(run="flowers-64", kimg=300), going)
        going.step_done(64, 1.3)
        display.losses(MEANS)
        display.advance(going)
        display.close()

    shown = on_a_terminal(show, columns=80)
    assert "G 0.75 D 0.62" in shown
    assert "━" in shown


def test_a_slow_first_step_does_not_spoil_the_estimate_for_long() -> None:
    """The first step pays for warming up: 2 s here, then a thousand of 10 ms."""
    going = pace(kimg=1000)
    going.step_done(10, 2.0)
    for _ in range(1000):
        going.step_done(10, 0.01)
    assert going.sec_per_kimg < 2.0, "1.0 from then on; 1.2 over all"


def told_after(ticks: list[TickStats], loss: str) -> list[str]:
    stream = io.StringIO()
    display = open_display(stream)
    going = pace(kimg=4, images_seen=1000)
    display.begin(tiny_config(loss=loss), going)
    for stats in ticks:
        display.tick(stats, going, None)
    return stream.getvalue().splitlines()


def test_the_classic_loss_is_shown_with_what_is_usual_and_told_once_where_it_stays_outside() -> (
    None
):
    """A tick or nine outside are no news: on few pictures a healthy run has them."""
    outside = dataclasses.replace(STATS, g_loss=3.9, d_loss=0.35)
    inside = dataclasses.replace(STATS, g_loss=1.0, d_loss=0.6)
    lines = told_after([*[outside] * 9, inside, *[outside] * 30], "bce")
    assert "usual for this loss: G 0.5 to 2, D 0.5 to 0.8, right about 80%" in lines[1]
    assert "  G 3.90  D 0.35  right 70%  " in lines[2]
    told = [line for line in lines[2:] if not line.startswith("kimg")]
    assert told == [
        "G stays above its usual 0.5 to 2: look whether the grid gets better",
        "D stays below its usual 0.5 to 0.8: look whether the grid gets better",
    ]
    assert lines.index(told[0]) == 2 + 9 + 1 + 10, "after ten in a row"


def test_a_classic_figure_that_swings_from_side_to_side_does_not_stay_outside() -> None:
    high = dataclasses.replace(STATS, g_loss=3.9)
    low = dataclasses.replace(STATS, g_loss=0.1)
    lines = told_after([high, low] * 20, "bce")
    assert not any("stays" in line for line in lines)


def test_other_losses_have_no_usual_range() -> None:
    lines = told_after([dataclasses.replace(STATS, g_loss=3.9, d_loss=0.7)] * 20, "hinge")
    assert "G 3.90  D 0.70  right 70%  " in lines[2]
    assert "G and D: the losses of generator and discriminator" in lines[1]
    assert "usual" not in "".join(lines)


def test_a_resumed_run_is_not_promised_its_first_grid_again() -> None:
    stream = io.StringIO()
    PlainDisplay(stream).begin(tiny_config(kimg=300.0), pace(kimg=300, images_seen=2000))
    assert "first" not in stream.getvalue()

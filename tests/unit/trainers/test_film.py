"""Films, read back by PyAV's decoder and by Pillow as a player would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from trainers.errors import SettingsError
from trainers.seeing.film import (
    FORMATS,
    check_film,
    check_fits,
    edge_to_show,
    format_of,
    write_film,
)

COLOURS = [(200, 30, 40), (20, 160, 60), (30, 60, 220), (128, 128, 128)]
ANIMATED = [".gif", ".webp"]


def flat_frames(
    num: int, width: int = 32, height: int = 32, start: int = 0
) -> Iterator[Image.Image]:
    for number in range(start, start + num):
        yield Image.new("RGB", (width, height), COLOURS[number % len(COLOURS)])


def shown_ms(path: Path) -> list[int]:
    """How long each frame of a GIF or WebP is shown."""
    with Image.open(path) as film:
        durations = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            durations.append(film.info["duration"])
        return durations


# ---------------------------------------------------------------- how long

LONG_AND_LARGE = (30_000, 512, 512)
"""Ten minutes at the highest rate: 23.6 GB as RGB."""


@pytest.mark.parametrize(("suffix", "gigabytes"), [(".webp", "23.6"), (".gif", "7.9")])
def test_a_film_that_would_be_held_in_memory_is_refused_with_what_fits(
    tmp_path: Path, suffix: str, gigabytes: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        check_fits(tmp_path / f"film{suffix}", *LONG_AND_LARGE)
    assert f"30000 frames of 512x512 px take {gigabytes} GB of memory, 2 GB is" in str(
        refused.value
    )
    assert "fewer --seconds or --fps or a smaller --size, or end the name with .mp4" in str(
        refused.value
    )


def test_an_mp4_of_any_length_and_a_usual_webp_are_not(tmp_path: Path) -> None:
    check_fits(tmp_path / "film.mp4", *LONG_AND_LARGE)
    check_fits(tmp_path / "film.webp", 12 * 20, 512, 512)


# ---------------------------------------------------------------- MP4


def test_an_mp4_is_what_every_browser_plays(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, flat_frames(45), fps=30)
    with av.open(path) as film:
        [stream] = film.streams
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 30
        assert film.duration == pytest.approx(1.5e6, abs=1e4)
        assert len(list(film.decode(video=0))) == 45
    written = path.read_bytes()
    assert written.index(b"moov") < written.index(b"mdat"), "plays before it is loaded whole"


def test_an_mp4_keeps_the_colours(tmp_path: Path) -> None:
    """Within what 4:2:0 at 8 bits rounds; a wrong matrix is off by 15 and more."""
    path = tmp_path / "film.mp4"
    write_film(path, flat_frames(4), fps=4)
    with av.open(path) as film:
        stream = film.streams.video[0]
        assert stream.codec_context.colorspace == 1, "BT.709, and said so"
        assert stream.codec_context.color_range == 1
        for frame, colour in zip(film.decode(stream), COLOURS, strict=True):
            centre = frame.to_ndarray(format="rgb24")[16, 16].astype(int)
            assert abs(centre - colour).max() <= 4


def test_odd_edges_are_made_even_by_repeating_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, flat_frames(2, width=33, height=35), fps=2)
    with av.open(path) as film:
        frame = next(film.decode(video=0))
        assert (frame.width, frame.height) == (34, 36)
        pixels = frame.to_ndarray(format="rgb24").astype(int)
        assert abs(pixels - COLOURS[0]).max() <= 4


def test_a_rate_that_is_no_whole_number_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, flat_frames(25), fps=12.5)
    with av.open(path) as film:
        assert float(film.streams.video[0].average_rate) == 12.5
        assert film.duration == pytest.approx(2e6, abs=1e4)


# ---------------------------------------------------------------- GIF and WebP


@pytest.mark.parametrize("suffix", ANIMATED)
def test_a_gif_and_a_webp_repeat_for_ever_at_their_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    write_film(path, flat_frames(8, width=40, height=24), fps=10)
    with Image.open(path) as film:
        assert film.size == (40, 24)
        assert film.info["loop"] == 0
        assert film.n_frames == 8
    assert sum(shown_ms(path)) == 800


@pytest.mark.parametrize("suffix", ANIMATED)
@pytest.mark.parametrize("fps", [7, 12.5, 24, 30, 50])
def test_rounded_frame_times_never_add_up(tmp_path: Path, suffix: str, fps: float) -> None:
    """30 a second is 33.3 ms, which neither format can say; 3 s remain 3 s."""
    path = tmp_path / f"film{suffix}"
    num = round(3 * fps)
    facts = write_film(path, flat_frames(num, 16, 16), fps)
    durations = shown_ms(path)
    assert abs(sum(durations) - 1000 * num / fps) <= 5
    assert min(durations) >= 20, "browsers show less than 20 ms for 100 ms"
    assert facts.seconds == pytest.approx(3, abs=0.05)


def test_a_gif_keeps_a_picture_near_its_colours(tmp_path: Path) -> None:
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    pixels = np.stack([x * 4, y * 4, 255 - x * 2 - y * 2], axis=2).astype(np.uint8)
    path = tmp_path / "film.gif"
    write_film(path, [Image.fromarray(pixels), Image.fromarray(pixels[::-1])], fps=2)
    with Image.open(path) as film:
        shown = np.asarray(film.convert("RGB")).astype(float)
    assert np.sqrt(((shown - pixels) ** 2).mean()) < 12


@pytest.mark.parametrize("suffix", ANIMATED)
def test_held_frames_make_the_film_as_long_as_different_ones(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    still = Image.new("RGB", (16, 16), COLOURS[0])
    facts = write_film(path, [*flat_frames(3, 16, 16, start=1), *[still] * 7], fps=10)
    assert sum(shown_ms(path)) == 1000
    assert facts.seconds == 1.0
    assert facts.num_frames == len(shown_ms(path)) < 10, "what is told is what is in the file"


@pytest.mark.parametrize("suffix", ANIMATED)
def test_a_film_of_one_picture_is_one_frame(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    still = Image.new("RGB", (16, 16), COLOURS[0])
    assert "(0.5 s, 1 frames, 16x16 px" in str(write_film(path, [still] * 5, fps=10))


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_film_carries_what_it_is_made_of(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    write_film(path, flat_frames(3), fps=3, about="seeds 1,2,3")
    if suffix == ".mp4":
        with av.open(path) as film:
            assert film.metadata["comment"] == "seeds 1,2,3"
    else:
        with Image.open(path) as film:
            said = film.info["comment"].decode() if suffix == ".gif" else film.getexif()[0x010E]
        assert said == "seeds 1,2,3"


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_facts_are_the_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    facts = write_film(path, flat_frames(20, 48, 32), fps=10)
    assert (facts.num_frames, facts.seconds, facts.size_px) == (20, 2.0, (48, 32))
    assert facts.num_bytes == path.stat().st_size
    assert f"{path} (2.0 s, 20 frames, 48x32 px" in str(facts)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_older_film_is_whole_until_the_new_one_is(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    first = write_film(path, flat_frames(3), fps=3)
    assert "replaced" not in str(first)
    old = path.read_bytes()

    def broken() -> Iterator[Image.Image]:
        yield from flat_frames(2)
        assert path.read_bytes() == old
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_film(path, broken(), fps=3)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path], "nothing temporary stays"
    second = write_film(path, flat_frames(9), fps=3)
    assert path.read_bytes() != old
    assert str(second).endswith("MB), the one that was there is replaced")


def test_what_cannot_work_is_said_before_the_first_frame(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    for name, fps, words in [
        ("film.avi", 30, "film.avi: a film is made as .mp4, .gif, .webp"),
        ("film", 30, "end the file's name with one of these"),
        ("folder.mp4", 30, "that is a folder"),
        ("no/film.mp4", 30, "there is no folder"),
        ("film.gif", 60, "--fps 60: a .gif shows at most 50 frames a second"),
    ]:
        with pytest.raises(SettingsError, match=words):
            check_film(tmp_path / name, fps)
    check_film(tmp_path / "FILM.MP4", 30)


def test_without_av_an_mp4_is_refused_with_the_remedy_and_a_gif_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(SettingsError, match=r"pip install av.*--out FILE\.webp"):
        check_film(tmp_path / "film.mp4", 30)
    check_film(tmp_path / "film.gif", 10)


@pytest.mark.parametrize(
    ("native", "suffix", "shown"),
    [
        (32, ".mp4", 512),
        (96, ".mp4", 576),
        (256, ".mp4", 512),
        (768, ".mp4", 768),
        (1536, ".mp4", 1024),
        (256, ".gif", 256),
        (1024, ".gif", 512),
        (100, ".webp", 300),
    ],
)
def test_small_pictures_are_enlarged_whole_times_and_large_ones_reduced(
    native: int, suffix: str, shown: int
) -> None:
    assert edge_to_show(native, format_of(Path(f"film{suffix}"))) == shown

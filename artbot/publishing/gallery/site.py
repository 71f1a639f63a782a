"""Which files there should be, made from the works that hang, and how they come to be there.

A work hangs if, and only if, its record lies in works/. All else is made from the records, and always the same:
so whatever was interrupted is made good by the next who hangs a work, and nothing is remembered anywhere but
in the site itself. site.json only saves work: what was read and written last, each with its version at the
place. Without it everything is read and written anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from pydantic import BaseModel, ValidationError

from artbot.errors import Rejected, Unavailable
from artbot.publishing.gallery.feeds import NUM_ENTRIES, atom_feed, json_feed
from artbot.publishing.gallery.pages import Look, wall_page, work_page, year_page
from artbot.publishing.gallery.places import Place
from artbot.publishing.gallery.records import FOLDER, Record, as_json, read_record
from artbot.publishing.gallery.style import ICON, STYLE

PER_PAGE = 60
MEMORY = "site.json"
_MADE = re.compile(
    r"index\.html|style\.css|icon\.svg|feed\.atom|feed\.json|site\.json|wall-\d+\.html|year-\d+\.html"
)
"""What is written over right in the place."""


class _Read(BaseModel):
    version: str
    record: Record


class _Written(BaseModel):
    version: str
    sha256: str


class _Memory(BaseModel):
    """What the site is known to be like."""

    records: dict[str, _Read] = {}
    """By file."""
    files: dict[str, _Written] = {}
    """What was made from them."""


def hang(place: Place, look: Look, newest: Record) -> None:
    """Make every file of the site what it should be, now that `newest` is there. Raises DeliveryError."""
    there = {**place.listed(""), **place.listed(FOLDER)}
    memory = _remembered(place) if MEMORY in there else _Memory()
    records = {
        name: read
        for name, version in there.items()
        if name.startswith(FOLDER) and name.endswith(".json")
        if (read := _read(place, name, version, memory)) is not None
    }
    # A store may list what was just written a moment later.
    records.setdefault(newest.file, _Read(version="", record=newest))
    works = sorted(
        (known.record for known in records.values()),
        key=lambda work: (work.approved_at, work.name),
        reverse=True,
    )
    files = {}
    for name, content in site_files(look, works):
        sha256 = hashlib.sha256(content).hexdigest()
        written = memory.files.get(name)
        if written is None or (written.sha256, written.version) != (sha256, there.get(name)):
            written = _Written(version=place.write(name, content), sha256=sha256)
        files[name] = written
    for name in _left_over(memory, works, files):
        place.remove(name)
    now = _Memory(records=records, files=files)
    if now != memory:
        place.write(MEMORY, as_json(now.model_dump(mode="json")))


def check_ours(place: Place, remedy: str) -> None:
    """Nothing is written over that artbot did not write: a place with a site in it has the record of a work, or
    what was remembered of those that were taken down. Raises Rejected, Unavailable."""
    there, works = place.listed(""), [n for n in place.listed(FOLDER) if n.endswith(".json")]
    foreign = [name for name in there if _MADE.fullmatch(name)] + works
    if not foreign or any(_is_record(place, name) for name in works):
        return
    if MEMORY in there and _remembered(place).files:
        return
    told = "index.html" if "index.html" in foreign else foreign[0]
    raise Rejected(f"{place.where} holds {told}, which artbot did not write: {remedy}")


def _is_record(place: Place, name: str) -> bool:
    try:
        read_record(place.read(name) or b"")
    except ValueError:
        return False
    return True


def site_files(look: Look, works: Sequence[Record]) -> Iterator[tuple[str, bytes]]:
    """Every file that is made from the records, in the order to write them in: what is linked to before what
    links to it, the first page last. `works`: the newest first."""
    years = sorted({work.date.year for work in works}, reverse=True)
    yield "icon.svg", ICON.encode()
    yield "style.css", STYLE.encode()
    for at, work in enumerate(works):
        newer = works[at - 1] if at > 0 else None
        older = works[at + 1] if at + 1 < len(works) else None
        yield work.page, work_page(look, work, newer, older, years)
    yield from _year_pages(look, works, years)
    newest = works[:NUM_ENTRIES]
    yield "feed.atom", atom_feed(look, newest)
    yield "feed.json", json_feed(look, newest)
    yield from _wall_pages(look, works, years)


def _wall_pages(
    look: Look, works: Sequence[Record], years: Sequence[int]
) -> Iterator[tuple[str, bytes]]:
    """Pages are filled from the oldest work on, so that a full one stays as it is. The first page shows the
    newest works that fill none, and those of the last full page."""
    num_older = max(0, len(works) // PER_PAGE - 1)
    names = [f"wall-{number}.html" for number in range(1, num_older + 1)]
    for number, name in enumerate(names, 1):
        end = len(works) - PER_PAGE * (number - 1)
        newer = names[number] if number < num_older else "index.html"
        older = names[number - 2] if number > 1 else None
        yield (
            name,
            wall_page(look, name, works[end - PER_PAGE : end], years, newer, older),
        )
    first = works[: len(works) - PER_PAGE * num_older]
    older = names[-1] if names else None
    yield "index.html", wall_page(look, "index.html", first, years, None, older)


def _year_pages(
    look: Look, works: Sequence[Record], years: Sequence[int]
) -> Iterator[tuple[str, bytes]]:
    by_date = sorted(works, key=lambda work: (work.date, work.approved_at, work.name), reverse=True)
    for year, of_year in groupby(by_date, key=lambda work: work.date.year):
        yield f"year-{year}.html", year_page(look, year, list(of_year), years)


def _remembered(place: Place) -> _Memory:
    content = place.read(MEMORY)
    try:
        return _Memory() if content is None else _Memory.model_validate_json(content)
    except ValidationError:
        return _Memory()


def _read(place: Place, name: str, version: str, memory: _Memory) -> _Read | None:
    """The record, from memory if it is still the same; None if it has gone meanwhile. Raises Unavailable for
    what is none."""
    known = memory.records.get(name)
    if known is not None and known.version == version:
        return known
    content = place.read(name)
    if content is None:
        return None
    try:
        record = read_record(content)
        if record.file != name:
            raise ValueError(f"name: it calls itself {record.name}")
    except ValueError as error:
        raise Unavailable(
            f"{name} at {place.where} is no record of a work: {error}. Mend it, or delete it to take the work down"
        ) from error
    return _Read(version=version, record=record)


def _left_over(
    memory: _Memory, works: Sequence[Record], files: dict[str, _Written]
) -> Iterator[str]:
    """What we wrote and nothing needs any more: of works whose records somebody has deleted."""
    needed = {picture.file for work in works for picture in work.pictures}
    for known in memory.records.values():
        for picture in known.record.pictures:
            if picture.file not in needed:
                needed.add(picture.file)
                yield picture.file
    yield from (name for name in memory.files if name not in files)

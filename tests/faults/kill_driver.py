"""Does one operation in one workplace, in a process of its own that somebody traces and kills.

A server on standard input and output: it has imported everything (so also what nothing here names) and
forks a child for each request, so that a kill costs a tenth of a second. The child waits until it is let go (by then strace holds it), so
what strace counts are the calls of the operation alone.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import alembic.command
import alembic.config
import alembic.script  # noqa: F401
import numpy as np
import psycopg  # noqa: F401
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401
from PIL import PngImagePlugin  # noqa: F401

import artbot.publishing.channels as channels
import artbot.publishing.channels.webhook
import artbot.studio.batch as studio_batch
import artbot.studio.reproduce as studio_reproduce
from artbot import failpoints
from artbot.config import load_settings
from artbot.daemon.run import Daemon
from artbot.daemon.supervision import Supervision
from artbot.domain.candidate import BatchState
from artbot.domain.delivery import NO_PROTECTION
from artbot.mark import read_mark
from artbot.publishing.channels import open_channel, protections, settings_models
from artbot.publishing.interventions import Actor
from artbot.publishing.notices import Subscriber, note, tell_due
from artbot.publishing.outbox import deliver_due
from artbot.review.decisions import Author, Words, approve
from artbot.review.sheet import Tile, write_sheet
from artbot.studio.batch import Listener, make_batch, unfinished_batches
from artbot.studio.children import Strength, vary
from artbot.studio.planning import ensure_today
from artbot.studio.provenance import Origin, encode_png, pixel_sha256
from artbot.studio.render import Painting, RenderOptions
from artbot.studio.reproduce import Restoration, restore_file
from artbot.upkeep.backup import list_backups, make_backup, restore
from artbot.worker import hold_worker
from artbot.workplace import Workplace
from db.engine import open_database
from db.models import Candidate

BOOT = datetime(2026, 11, 1, tzinfo=UTC)
"""When the machine of these tests was started."""
KEEP = 2


class Brush:
    """In the place of the render child: paints without a network, writes as the child does."""

    environment: ClassVar[dict[str, Any]] = {"torch": "none"}

    def __init__(self, kept: Path, options: RenderOptions) -> None:
        assert kept.is_dir()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def paint(self, origin: Origin, path: Path) -> Painting:
        pixels = np.random.default_rng(origin["seed"]).integers(0, 256, (16, 16, 3), np.uint8)
        png = encode_png(pixels, origin)
        with open(path, "wb", buffering=0) as file:
            for begin in range(0, len(png), 400):  # in pieces, so that there is a half to be left
                file.write(png[begin : begin + 400])
            os.fsync(file.fileno())
        return Painting(hashlib.sha256(png).hexdigest(), pixel_sha256(pixels), len(png), 16, 16)


def open_place(root: Path, now: datetime) -> Workplace:
    """The workplace at a moment that stands still."""
    settings = load_settings(root, settings_models())
    return Workplace(settings, lambda: now, lambda: ("boot", (now - BOOT).total_seconds()))


def paint(place: Workplace) -> None:
    with place.work("batch"):
        (name,) = place.settings.schedules
        key = ensure_today(place.database, name, place.settings.schedules[name], place.clock())
        listener = Listener(lambda *_: None, lambda *_: None, lambda *_: None)
        assert make_batch(place.studio, key, listener, lambda: False) == BatchState.READY


def have_children(place: Workplace) -> None:
    """Ask for two like the first work, unless that is done, and paint them."""
    with place.database.read() as session:
        asked = session.query(Candidate).filter(Candidate.parent_id == 1).count()
    if not asked:
        vary(place.studio, 1, Strength.SUBTLE, 2)
    with place.work("vary"):
        for key in unfinished_batches(place.database):
            listener = Listener(lambda *_: None, lambda *_: None, lambda *_: None)
            assert make_batch(place.studio, key, listener, lambda: False) == BatchState.READY


def decide(place: Workplace) -> None:
    approve(place.review, 1, Author("anna", "test"), Words(title="A title"))


def deliver(place: Workplace) -> None:
    with place.work("publish"):
        deliver_due(place.outbox, lambda _: None, lambda: False)


def deliver_to_the_forgetful(place: Workplace) -> None:
    """To a receiver that recognises no repetition."""
    with _nothing_is_recognised():
        deliver(place)


def tell(place: Workplace) -> None:
    """Tell the receiver of works that a batch is ready."""
    open_it = partial(open_channel, place.settings, "studio")
    subscribers = {"studio": Subscriber(frozenset({"batch.ready"}), open_it)}
    notices = replace(place.notices, channels=subscribers)
    with place.work("publish"):
        note(notices)
        tell_due(notices, lambda _: None, lambda: False)


def back_up(place: Workplace) -> None:
    settings = place.settings
    assert isinstance(settings.database, Path)
    make_backup(settings.database, settings.backups, place.clock(), KEEP)


def put_back(place: Workplace) -> None:
    settings = place.settings
    assert isinstance(settings.database, Path)
    backup = list_backups(settings.backups)[-1].path
    with hold_worker(settings.lock, "db restore"):
        restore(
            backup,
            settings.database,
            protections(settings),
            read_mark(settings.mark),
            Actor("anna", "test"),
            place.clock(),
        )


def put_back_a_picture(place: Workplace) -> None:
    """The file of the first work is painted again. Whoever works next clears up."""
    assert restore_file(place.studio, 1) == Restoration.WHOLE
    with place.work("publish"):
        pass


def show_all(place: Workplace) -> None:
    """Make the contact sheet. Whoever works next clears up."""
    works = place.settings.works
    tiles = [Tile(path, path.stem, "") for path in sorted(works.glob("*/*.png"))]
    write_sheet(tiles, "all", works / "contact-sheet.png")
    with place.work("publish"):
        pass


def live(place: Workplace) -> None:
    """One round of the daemon: plan, paint, send, back up."""
    with place.work("daemon"):
        assert Daemon(place, lambda: False, Supervision({})).round()


def migrate(place: Workplace) -> None:
    assert isinstance(place.settings.database, Path)
    open_database(place.settings.database).close()


OPERATIONS: dict[str, Callable[[Workplace], None]] = {
    "batch": paint,
    "approve": decide,
    "deliver": deliver,
    "tell": tell,
    "deliver-unrecognised": deliver_to_the_forgetful,
    "backup": back_up,
    "restore": put_back,
    "migrate": migrate,
    "daemon": live,
    "put-back": put_back_a_picture,
    "sheet": show_all,
    "children": have_children,
}


@contextmanager
def _nothing_is_recognised() -> Iterator[None]:
    known = channels.protections
    vars(channels)["protections"] = lambda settings: dict.fromkeys(known(settings), NO_PROTECTION)
    try:
        yield
    finally:
        vars(channels)["protections"] = known


def serve() -> None:
    """One line a request, `{operation, root, now, at}`; answers with the child's pid; the next line lets it
    go; then answers with its wait status."""
    vars(studio_batch)["RenderChild"] = vars(studio_reproduce)["RenderChild"] = Brush
    for line in sys.stdin:
        request = json.loads(line)
        gate, opener = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(opener)
            _be_the_child(request, gate)
        os.close(gate)
        print(child, flush=True)
        sys.stdin.readline()
        os.close(opener)
        print(os.waitpid(child, 0)[1], flush=True)


def _be_the_child(request: dict[str, str], gate: int) -> None:
    code = 1
    try:
        # Any process may trace this one: where Yama is at work, only ancestors might.
        ctypes.CDLL(None).prctl(ctypes.c_int(0x59616D61), ctypes.c_ulong(2**64 - 1))
        os.read(gate, 1)
        os.environ[failpoints.VARIABLE] = f"{request['at']}:kill"
        now = datetime.fromisoformat(request["now"])
        OPERATIONS[request["operation"]](open_place(Path(request["root"]), now))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    assert artbot.publishing.channels.webhook.CHANNEL.protection.is_for_ever
    serve()

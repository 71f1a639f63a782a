"""What is asked every day or every few seconds finds its rows by an index, however many there are.

The plans are SQLite's own words. The times are measured in benchmarks/load.py. What reads everything because
that is its purpose (a backup, the doctor, `db check`) does so in a copy: tests/integration/test_upkeep.py.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from artbot.config import AlertSettings, ScheduleSettings
from artbot.desk import Desk, Show
from artbot.domain.candidate import UNDECIDED, CandidateState
from artbot.domain.channel import ChannelState
from artbot.domain.delivery import FOR_EVER, SETTLED, DeliveryState
from artbot.domain.notice import NoticeKind
from artbot.domain.slots import Timetable, parse_slot
from artbot.errors import ConfigError, UsageError
from artbot.mark import write_mark
from artbot.publishing.acts import log_of_channel
from artbot.publishing.alerts import Fared
from artbot.publishing.channels import Outlet, Parcel, Post, Receipt, Sender
from artbot.publishing.interventions import Actor, replay
from artbot.publishing.notices import Notices, Operator, Subscriber, list_notices, note, tell_due
from artbot.publishing.outbox import Outbox, deliver_due, has_due, recover_interrupted
from artbot.publishing.queue import hold, move, read_queue, rearrange, release, spread
from artbot.publishing.reading import count_by_state, get_delivery, list_deliveries
from artbot.publishing.standing import get_standing, stop
from artbot.review.decisions import (
    Author,
    Words,
    approve,
    expire,
    give_stars,
    put_off,
    redo,
    reject,
    undo,
)
from artbot.review.reading import (
    find_candidate,
    find_candidates,
    get_candidate,
    list_candidates,
)
from artbot.status import read_status
from artbot.studio.batch import unfinished_batches
from artbot.studio.family import family_of
from artbot.studio.planning import ensure_due, give_up_on_old
from artbot.upkeep.needs import unheard_alerts
from artbot.upkeep.story import tell
from artbot.workplace import Workplace
from benchmarks.load import open_filled, plan, watched
from db.models import Batch
from tests.unit.service.kit import png

ANNA = Author("anna", "test")
LARGE = ("candidates", "deliveries", "decisions", "attempts", "notices")


class Takes(Sender):
    """A receiver that takes everything."""

    def commit(self, parcel: Parcel, now: datetime) -> Receipt:
        return Receipt(200, "")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    workplace = open_filled(tmp_path_factory.mktemp("load") / "studio", 2000, 400)
    write_mark(workplace.settings.mark, workplace._where_it_stands())
    yield workplace
    workplace.database.close()


def path_of(workplace: Workplace) -> Path:
    path = workplace.database.path
    assert path is not None
    return path


def paint_what_is_due(workplace: Workplace) -> None:
    """Without its picture a work is not sent."""
    content = png()
    with closing(sqlite3.connect(path_of(workplace))) as connection, connection:
        rows = connection.execute(
            "SELECT c.id, c.path FROM candidates c JOIN deliveries d ON d.candidate_id = c.id "
            "WHERE d.state IN ('queued', 'retry_wait') UNION "
            "SELECT id, path FROM candidates WHERE state = 'pending'"
        ).fetchall()
        for number, name in rows:
            path = workplace.settings.works / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            connection.execute(
                "UPDATE candidates SET image_sha256 = ? WHERE id = ?",
                (hashlib.sha256(content).hexdigest(), number),
            )


def send(workplace: Workplace) -> None:
    paint_what_is_due(workplace)
    outlet = Outlet(lambda work: Post(work.title, work.alt), Takes, FOR_EVER)
    outbox = Outbox(
        workplace.database,
        workplace.settings.works,
        dict.fromkeys(workplace.settings.channels, outlet),
        workplace.clock,
        lambda: 0.0,
        workplace.outbox.before_send,
    )
    with workplace.work("test"):
        assert deliver_due(outbox, lambda sent: None, lambda: False)


def interrupt_and_recover(workplace: Workplace) -> None:
    with closing(sqlite3.connect(path_of(workplace))) as connection, connection:
        connection.execute("UPDATE deliveries SET state = 'queued' WHERE state = 'failed'")
        connection.execute("UPDATE deliveries SET state = 'sending' WHERE state = 'queued'")
    assert recover_interrupted(workplace.database, {}, workplace.clock())


def decide(workplace: Workplace) -> None:
    """Approve, reject, give stars, undo, redo, as people do."""
    paint_what_is_due(workplace)
    one, two = (c.id for c in list_candidates(workplace.database, [CandidateState.PENDING])[:2])
    approve(workplace.review, one, ANNA)
    reject(workplace.review, two, ANNA)
    for which in (one, None):
        undo(workplace.review, which, ANNA)
        redo(workplace.review, which, ANNA)
        undo(workplace.review, which, ANNA)
    put_off(workplace.review, one, ANNA)
    give_stars(workplace.review, two, 3, ANNA)


def sit_at_the_desk(workplace: Workplace) -> None:
    """Look at every sheet, at a card and its words, at the end of the day."""
    desk = Desk(workplace, ANNA)
    for show in Show:
        desk.lay_out(show)
    desk.lay_out(Show.ALL, "daily-2000-01-01")
    first, second = (stack.tiles[0] for stack in desk.lay_out().stacks[:2])
    desk.open(first.id)
    desk.check(first.id, Words(alt="Fog over a lake"))
    desk.undo_each(
        [tile.id for tile in desk.reject_rest({first.id: first.seen, second.id: second.seen})]
    )
    desk.summary()


def send_again(workplace: Workplace) -> None:
    """The last day's, to a receiver that lost it."""
    since = workplace.clock() - timedelta(days=1)
    actor = Actor("anna", "test")
    replay(workplace.database, "studio", {"studio": FOR_EVER}, since, actor, workplace.clock())


def find_by_beginning(workplace: Workplace) -> None:
    name = get_candidate(workplace.database, 1).name
    with pytest.raises(UsageError, match="several names begin with"):
        find_candidate(workplace.database, name[:-1])


TIMETABLES = {"studio": Timetable((parse_slot("daily 12:00"),), ZoneInfo("UTC"))}


def use_the_queue(workplace: Workplace) -> None:
    """Look, move, hold back, let go."""
    database, now = workplace.database, workplace.clock()
    with closing(sqlite3.connect(path_of(workplace))) as connection, connection:
        (number,) = connection.execute(
            "SELECT min(id) FROM deliveries WHERE state IN ('queued', 'failed') AND channel = 'studio'"
        ).fetchone()
        connection.execute("UPDATE deliveries SET state = 'queued' WHERE id = ?", (number,))
    actor = Actor("anna", "test")
    move(database, TIMETABLES, number, None, actor, now)
    move(database, TIMETABLES, number, now + timedelta(days=400), actor, now)
    hold(database, number, actor, now)
    release(database, TIMETABLES, number, actor, now)
    read_queue(database, ["studio", "friends"], TIMETABLES, now, 14)


def miss_slots(workplace: Workplace) -> None:
    with closing(sqlite3.connect(path_of(workplace))) as connection, connection:
        connection.execute(
            "UPDATE deliveries SET state = 'queued', next_at = delivered_at WHERE id IN (SELECT id FROM "
            "deliveries WHERE state = 'delivered' AND channel = 'studio' ORDER BY id LIMIT 3)"
        )
    assert spread(workplace.database, TIMETABLES, workplace.clock())
    with workplace.database.write() as session:
        rearrange(session, "studio", TIMETABLES["studio"], workplace.clock(), workplace.clock())


def begin_work(workplace: Workplace) -> None:
    with workplace.work("test"):
        workplace.keep_working()


def tell_everybody(workplace: Workplace) -> None:
    """All that can be told, to the operator and to a webhook that is not there."""
    kinds = frozenset(NoticeKind)

    def hang_up() -> Sender:
        raise ConfigError("nobody is there")

    needs = Notices(
        workplace.database,
        workplace.clock,
        lambda: 0.0,
        {"friends": Subscriber(kinds - {"channel.stopped", "nothing.approved"}, hang_up)},
        Operator(kinds, 3, lambda message: [Fared(1, "JSON", True, "")]),
    )
    with workplace.database.write() as session:
        day = session.query(Batch).order_by(Batch.id.desc()).limit(1).one()
        day.finished_at = workplace.clock()
        standing = get_standing(session, "friends", workplace.clock())
        stop(standing, ChannelState.PAUSED, "it is gone", workplace.clock())
        log_of_channel(
            session, "pause", Actor("artbot", "test"), workplace.clock(), "friends", "", "paused"
        )
    assert note(needs)
    assert tell_due(needs, lambda one: None, lambda: False)
    alerts = AlertSettings(urls_file=Path("secrets/alerts"))
    settings = workplace.settings.model_copy(update={"alerts": alerts})
    assert unheard_alerts(replace(workplace, settings=settings)) == []
    assert list_notices(workplace.database, 20)


ASKED: dict[str, Callable[[Workplace], object]] = {
    "status": read_status,
    "review": lambda w: list_candidates(w.database, UNDECIDED),
    "review of all": lambda w: list_candidates(
        w.database, [CandidateState.PENDING, CandidateState.APPROVED, CandidateState.REJECTED]
    ),
    "review of a batch": lambda w: list_candidates(
        w.database, [CandidateState.PENDING], batch="daily-2000-01-01"
    ),
    "a candidate by its name": lambda w: find_candidate(w.database, "daily-2000-01-01-01"),
    "a candidate by the beginning of its name": find_by_beginning,
    "candidates of today": lambda w: find_candidates(w.database, "today:1-3"),
    "what is undecided of today": lambda w: find_candidates(w.database, "today"),
    "a range of candidates": lambda w: find_candidates(w.database, "3-5"),
    "a candidate": lambda w: get_candidate(w.database, 1),
    "deliveries": lambda w: list_deliveries(
        w.database, [state for state in DeliveryState if state not in SETTLED], 200
    ),
    "all deliveries": lambda w: list_deliveries(w.database, list(DeliveryState), 200),
    "a delivery": lambda w: get_delivery(w.database, 1),
    "how many deliveries": lambda w: count_by_state(w.database),
    "whether something is due": lambda w: has_due(w.database, ["studio", "friends"], w.clock()),
    "sending": send,
    "recovery": interrupt_and_recover,
    "replay": send_again,
    "the queue": use_the_queue,
    "missed slots": miss_slots,
    "a work's story": lambda w: tell(w.database, 1),
    "decisions": decide,
    "the desk": sit_at_the_desk,
    "planning": lambda w: ensure_due(
        w.database, {"nightly": ScheduleSettings.model_validate({"at": "23:00"})}, w.clock()
    ),
    "what is to be painted": lambda w: unfinished_batches(w.database),
    "a family": lambda w: family_of(w.database, 1),
    "giving up": lambda w: give_up_on_old(w.database, w.clock()),
    "notices": tell_everybody,
    "expiry": lambda w: expire(w.review, 30),
    "the worker's start": begin_work,
}


@pytest.mark.parametrize("what", ASKED)
def test_it_reads_no_large_table_from_end_to_end(filled: Workplace, what: str) -> None:
    with watched(filled.database) as asked:
        ASKED[what](filled)
    statements = {
        statement: parameters
        for statement, parameters in asked.queries.items()
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE"))
    }
    assert statements
    for statement, parameters in statements.items():
        steps = plan(path_of(filled), statement, parameters)
        scans = [step for step in steps if is_scan(step) and not stops_early(statement, steps)]
        assert not scans, f"{scans}\n{statement}"


def is_scan(step: str) -> bool:
    """A look at every row of a large table. Counting the entries of an index is none: `status` counts
    candidates by state, which is a hundredth of their bytes. An index that does not cover the question sends
    SQLite to every row all the same."""
    found = re.match(r"SCAN (\w+?)(_\d+)?( USING COVERING INDEX.*)?( USING .*INDEX.*)?$", step)
    return found is not None and found[1] in LARGE and not found[3]


def stops_early(statement: str, steps: list[str]) -> bool:
    """It goes from the newest row backwards and stops after so many: the last link of a chain, the last
    decision to undo, the newest deliveries. Sorting would show as a temporary B-tree."""
    ends = "LIMIT" in statement and re.search(r"ORDER BY \w+\.id DESC", statement)
    return bool(ends) and not any("TEMP B-TREE FOR ORDER BY" in step for step in steps)

"""What the service's tests build with: a clock to set, works to decide on, a server to be unkind.

The works are real rows and real PNG files, the server is a real socket.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from sqlalchemy import MetaData, select, text
from sqlalchemy.orm import Session

from artbot.config import TextSettings
from artbot.domain.candidate import BATCH, CANDIDATE, BatchState, CandidateState
from artbot.domain.channel import CHANNEL
from artbot.domain.delivery import DELIVERY, Protection
from artbot.domain.machine import Machine
from artbot.domain.notice import NOTICE
from artbot.domain.seeds import seed_for
from artbot.domain.slots import Timetable
from artbot.publishing.channels import Outlet, Post, Sender
from artbot.publishing.channels.webhook import CHANNEL as WEBHOOK
from artbot.publishing.channels.webhook import WebhookSender, WebhookSettings
from artbot.publishing.interventions import Actor
from artbot.publishing.outbox import Outbox, Sent, deliver_due
from artbot.publishing.queue import come_back, place
from artbot.publishing.signatures import SharedSecret
from artbot.publishing.work import Generator, Picture, Work
from artbot.review.decisions import Author, Review, approve
from db import chain
from db.engine import Database, database_url, make_engine, migrate
from db.models import (
    Attempt,
    Base,
    Batch,
    Candidate,
    ChannelStatus,
    Checkpoint,
    Decision,
    Delivery,
    Intervention,
    Notice,
    WorkplaceRow,
)
from trainers.manifest import MANIFEST_FILE, WEIGHTS_FILE, DatasetFacts, Manifest

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SATURDAY = date(2026, 11, 21)
ANNA = Author(by="anna", via="test")
BEN = Actor(by="ben", via="test")
KEY = SharedSecret(bytes(range(32)))
"""Signs the webhooks of these tests."""
SECRET = KEY.text
CHECKPOINT = "a" * 64


@dataclass
class SetClock:
    """Shows the time it is set to."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **elapsed: float) -> None:
        self.now += timedelta(**elapsed)


def png(colour: tuple[int, int, int] = (200, 30, 90), size_px: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size_px, size_px), colour).save(buffer, "PNG")
    return buffer.getvalue()


def a_batch(schedule: str = "daily", day: date = SATURDAY, state: str = BatchState.READY) -> Batch:
    is_made = state not in (BatchState.PLANNED, BatchState.SKIPPED)
    return Batch(
        key=f"{schedule}-{day}",
        schedule=schedule,
        local_date=day,
        number=0,
        state=state,
        reason="it rained" if state == BatchState.SKIPPED else None,
        num_candidates=24,
        due_at=NOON,
        planned_at=NOON,
        checkpoint_sha256=CHECKPOINT if is_made else None,
    )


Stateful = Batch | Candidate | Delivery | ChannelStatus | Notice
MACHINES: dict[type[Stateful], Machine[Any]] = {
    Batch: BATCH,
    Candidate: CANDIDATE,
    Delivery: DELIVERY,
    ChannelStatus: CHANNEL,
    Notice: NOTICE,
}


def route(machine: Machine[Any], to: str, was: str | None = None) -> list[str]:
    """The states on a shortest way to `to`: from the row's beginning, or from state `was`."""
    ways: deque[tuple[str | None, list[str]]] = deque([(was, [])])
    seen = {was}
    while ways:
        here, way = ways.popleft()
        if here == to:
            return way
        for move in machine.moves:
            if move.was == here and move.now not in seen:
                seen.add(move.now)
                ways.append((move.now, [*way, str(move.now)]))
    raise AssertionError(f"no way leads a {machine.name} from {was} to {to}")


def put(session: Session, row: Stateful) -> None:
    """Insert `row` as the machine begins it, and walk it to the state it is wanted in."""
    first, *rest = route(MACHINES[type(row)], row.state)
    row.state = first
    session.add(row)
    session.flush()
    for state in rest:
        row.state = state
        session.flush()


def move(session: Session, row: Stateful, to: str) -> None:
    """Walk a row that is there to another state."""
    for state in route(MACHINES[type(row)], to, row.state):
        row.state = state
        session.flush()


def a_checkpoint() -> Checkpoint:
    return Checkpoint(
        sha256=CHECKPOINT,
        name="flowers-000120",
        manifest={"dataset": {"name": "flowers"}},
        first_used_at=NOON,
    )


def add_works(
    database: Database, works: Path, count: int = 1, state: str = CandidateState.PENDING
) -> list[int]:
    """A batch of painted candidates, as the studio leaves them; returns their ids."""
    added = []
    with database.write() as session:
        session.add(a_checkpoint())
        session.flush()
        batch = a_batch()
        put(session, batch)
        (works / batch.key).mkdir(parents=True)
        for index in range(1, count + 1):
            name = f"{batch.key}-{index:02d}"
            content = png((index % 256, 80, 120))
            (works / batch.key / f"{name}.png").write_bytes(content)
            candidate = Candidate(
                batch_id=batch.id,
                index=index,
                name=name,
                seed=seed_for(batch.key, index),
                checkpoint_sha256=CHECKPOINT,
                recipe={"version": 1, "truncation_psi": 1.0},
                state=state,
                planned_at=NOON,
                rendered_at=NOON,
                path=f"{batch.key}/{name}.png",
                width=8,
                height=8,
                num_bytes=len(content),
                image_sha256=hashlib.sha256(content).hexdigest(),
                pixel_sha256="b" * 64,
                environment={"torch": "2.13"},
                approved_at=NOON if state == CandidateState.APPROVED else None,
            )
            put(session, candidate)
            added.append(candidate.id)
    return added


def picture_of(database: Database, works: Path, candidate_id: int) -> Path:
    path = candidate(database, candidate_id).path
    assert path is not None
    return works / path


def candidate(database: Database, candidate_id: int) -> Candidate:
    with database.read() as session:
        return session.get_one(Candidate, candidate_id)


def decisions(database: Database) -> list[Decision]:
    with database.read() as session:
        return list(session.query(Decision).order_by(Decision.id))


def deliveries(database: Database) -> list[Delivery]:
    with database.read() as session:
        return list(session.query(Delivery).order_by(Delivery.id))


def attempts(database: Database) -> list[Attempt]:
    with database.read() as session:
        return list(session.query(Attempt).order_by(Attempt.id))


def interventions(database: Database) -> list[Intervention]:
    with database.read() as session:
        return list(session.query(Intervention).order_by(Intervention.id))


def notices(database: Database) -> list[Notice]:
    with database.read() as session:
        return list(session.query(Notice).order_by(Notice.id))


def workplace_row(database: Database) -> WorkplaceRow:
    with database.read() as session:
        return session.get_one(WorkplaceRow, 1)


def standing(database: Database, channel: str = "studio") -> ChannelStatus:
    with database.read() as session:
        return session.get_one(ChannelStatus, channel)


def write_checkpoint(
    checkpoints: Path,
    name: str = "flowers-000120",
    created_at: datetime = NOON,
    weights: bytes = b"weights of a small generator" * 40,
    kimg: float = 120.0,
    doubt: str = "",
) -> Manifest:
    """A checkpoint folder as the trainer exports it. The weights are bytes; no network is loaded."""
    manifest = Manifest(
        format_version=1,
        name=name,
        run="flowers",
        kimg=kimg,
        created_at=created_at,
        arch="dcgan",
        size=64,
        z_dim=64,
        width=32,
        sha256=hashlib.sha256(weights).hexdigest(),
        num_bytes=len(weights),
        seed=7,
        dataset=DatasetFacts(name="flowers", fingerprint="c" * 64, num_pictures=500),
        torch_version="2.13",
        doubt=doubt,
    )
    folder = checkpoints / name
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_bytes(weights)
    (folder / MANIFEST_FILE).write_bytes(manifest.to_json())
    return manifest


def write_as_of(revision: str, source: Database, where: Path | str) -> dict[str, list[str]]:
    """A new database of an older schema with what `source` holds, as the artbot of then would have written it:
    without the columns and tables that came later, and with its own links in the logs. Returns its columns."""
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
    engine = make_engine(database_url(where))
    migrate(engine, revision)
    with closing(Database(engine)) as old:
        known = MetaData()
        known.reflect(engine)
        columns = {
            table.name: known.tables[table.name].columns.keys()
            for table in Base.metadata.sorted_tables
            if table.name in known.tables and table.name != "transitions"
        }
        with old.write() as target, source.read() as session, _without_triggers(target):
            for name, there in columns.items():
                table = known.tables[name]
                listed = ", ".join(f'"{column}"' for column in there)
                found = session.execute(text(f"SELECT {listed} FROM {name} ORDER BY 1"))
                target.execute(table.delete())  # the workplace's row is made by a migration
                if rows := [dict(row) for row in found.mappings()]:
                    target.execute(table.insert(), rows)
                if not old.is_sqlite and "id" in there:
                    numbers = f"pg_get_serial_sequence('{name}', 'id')"
                    target.execute(text(f"SELECT setval({numbers}, max(id)) FROM {name}"))
            _link_anew(session, target, Decision, columns["decisions"])
            _link_anew(session, target, Intervention, columns["interventions"])
    return columns


_Entry = TypeVar("_Entry", Decision, Intervention)


def _link_anew(source: Session, target: Session, kind: type[_Entry], columns: list[str]) -> None:
    before = None
    for row in source.scalars(select(kind).order_by(kind.id)):
        entry = kind(
            **{name: getattr(row, name) for name in columns if name not in ("id", "chain")}
        )
        before = chain.link(before, entry, target)
        update = text(f"UPDATE {kind.__tablename__} SET chain = :link WHERE id = :id")
        target.execute(update, {"link": before, "id": row.id})


@contextmanager
def _without_triggers(session: Session) -> Iterator[None]:
    if session.get_bind().dialect.name == "sqlite":
        triggers = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        found = session.execute(triggers).all()
        for trigger in found:
            session.execute(text(f"DROP TRIGGER {trigger.name}"))
        yield
        for trigger in found:
            session.connection().exec_driver_sql(trigger.sql)
        return
    tables = session.execute(
        text("SELECT DISTINCT event_object_table FROM information_schema.triggers")
    )
    names = tables.scalars().all()
    for name in names:
        session.execute(text(f"ALTER TABLE {name} DISABLE TRIGGER USER"))
    yield
    for name in names:
        session.execute(text(f"ALTER TABLE {name} ENABLE TRIGGER USER"))


def run_at_once(*works: Callable[[], object]) -> list[object]:
    """Run all from one starting line, each in its thread; returns results or exceptions, in order."""
    barrier = threading.Barrier(len(works))
    results: list[object] = [None] * len(works)

    def run(index: int, work: Callable[[], object]) -> None:
        barrier.wait()
        try:
            results[index] = work()
        except Exception as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=item) for item in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert not any(thread.is_alive() for thread in threads)
    return results


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    head: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


Answer = Callable[[socket.socket, Request], None]
"""Writes whatever it likes to the connection, which is closed afterwards."""


@dataclass
class Server:
    """Listens on 127.0.0.1, writes down every request, answers as told."""

    answer: Answer
    listener: socket.socket
    requests: list[Request] = field(default_factory=list)
    num_connections: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    """Set at the end of the test."""
    wrap: Callable[[socket.socket], socket.socket] = lambda raw: raw
    """Puts TLS around a connection."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/hook"

    def serve(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.num_connections += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), self.wrap(connection) as wrapped:
            # An OSError: the other side had enough.
            request = _read_request(wrapped)
            if request is not None:
                self.requests.append(request)
                self.answer(wrapped, request)


@contextmanager
def serve(answer: Answer) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(answer, listener)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)


def _read_request(connection: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return Request(first, headers, body)


def http_answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Some Reason", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def answers(*each: bytes) -> Answer:
    """The first request gets the first answer, and so on; the last answer goes on for ever."""
    waiting = list(each)
    lock = threading.Lock()

    def answer(connection: socket.socket, _: Request) -> None:
        with lock:
            content = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        connection.sendall(content)

    return answer


def a_work(picture: bytes | None = None) -> Work:
    """An approved work; `picture` are the bytes of its file, a real PNG unless given."""
    content = png() if picture is None else picture
    return Work(
        number=3,
        name="daily-2026-11-21-03",
        batch="daily-2026-11-21",
        local_date=date(2026, 11, 21),
        seed=1,
        class_name=None,
        recipe={"version": 1, "truncation_psi": 1.0},
        generator=Generator(name="flowers-000012", sha256="0" * 64, dataset="flowers"),
        created_at=NOON - timedelta(hours=1),
        approved_at=NOON,
        title="No. 3",
        caption="After the rain",
        alt="Red and white flowers in a blue vase",
        hashtags=("flowers", "generativeart"),
        warning="",
        language="en",
        picture=Picture(
            content=content,
            media_type="image/png",
            width_px=8,
            height_px=8,
            sha256=hashlib.sha256(content).hexdigest(),
        ),
    )


def compose_for_webhook(work: Work) -> Post:
    settings = WebhookSettings(type="webhook", url="https://example.org/", secret_env="NONE")
    return WEBHOOK.compose(settings, work)


@dataclass
class Desk:
    """A person's and a daemon's place of work: decide here, send from here."""

    database: Database
    works: Path
    clock: SetClock
    channels: tuple[str, ...] = ("studio",)
    recognises_for: timedelta | None = timedelta.max
    """How long the receivers of these channels recognise a repetition; None: never."""
    undo_time: timedelta = timedelta()
    random_share: float = 0.0
    refusals: Callable[[Candidate, Sequence[str]], Mapping[str, str]] = lambda candidate, channels: {}
    timetables: dict[str, Timetable] = field(default_factory=dict)
    """Of those channels that have slots."""

    @property
    def review(self) -> Review:
        return Review(
            database=self.database,
            works=self.works,
            texts=TextSettings(),
            channels=self.protections,
            undo_time=self.undo_time,
            clock=self.clock,
            refusals=self.refusals,
            place=lambda session, delivery, when, not_before, author, now: place(
                self.timetables,
                session,
                delivery,
                when,
                not_before,
                Actor(author.by, author.via),
                now,
            ),
        )

    def requeue(self, session: Session, delivery: Delivery, now: datetime) -> None:
        come_back(self.timetables, session, delivery, now)

    @property
    def protections(self) -> dict[str, Protection]:
        return dict.fromkeys(self.channels, Protection(self.recognises_for))

    def approve_one(self) -> int:
        (work,) = add_works(self.database, self.works)
        approve(self.review, work, ANNA)
        return work

    def outbox(self, url: str) -> Outbox:
        return self.outbox_to(WebhookSender(url, KEY, allow_private=True))

    def outbox_to(self, sender: Sender) -> Outbox:
        """Every channel of the desk is this one's."""
        outlet = Outlet(compose_for_webhook, lambda: sender, Protection(self.recognises_for))
        return Outbox(
            self.database,
            self.works,
            dict.fromkeys(self.channels, outlet),
            self.clock,
            lambda: self.random_share,
            timetables=self.timetables,
        )

    def send(self, url: str) -> list[Sent]:
        """Send what is due now."""
        sent: list[Sent] = []
        deliver_due(self.outbox(url), sent.append, lambda: False)
        return sent

"""Kill artbot at random moments, thousands of times, and look whether it ever broke its promise.

    .venv/bin/python -m tests.soak.soak [--cycles 2000] [--minutes N] [--seed N]

Each cycle: `artbot approve`, two `artbot daemon` on one workplace, SIGKILL for both at a random moment
(sometimes for the approving command as well). The receiver takes what it gets and often drops the answer;
one channel's receiver knows a repetition, the other's shows it as a second post. After every cycle the
rows must agree with each other and with what the receiver saw; at the end of each workplace everything
approved must be out, once.

Every command is a process of its own with its own lock, connections and memory. They are forked from this
one, which has imported everything and opened nothing: starting Python anew is what would take the time.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, NoReturn

from artbot.cli import main as command_line
from artbot.domain.delivery import LATE_EFFECT
from artbot.init import make_workplace
from artbot.publishing import channels
from artbot.publishing.interventions import Actor, resolve
from artbot.upkeep.doctor import check_logs
from db.engine import open_database
from tests.unit.service.kit import add_works

CYCLES_PER_WORKPLACE = 200
SAY_EVERY = 25
# What the commands import late: before the first fork, so that no process does it again.
IMPORTED_LATE = (
    "alembic.config",
    "apscheduler.schedulers.background",
    "apscheduler.triggers.cron",
    "artbot.cli.channels",
    "artbot.cli.daemon",
    "artbot.cli.decide",
    "artbot.cli.deliveries",
    "artbot.daemon.run",
    "artbot.publishing.channels.webhook",
    "artbot.publishing.http",
    "artbot.review.decisions",
    "artbot.workplace",
    "requests",
)
FORGETFUL = '''"""As a webhook, but its receiver would show a repetition: for the soak only."""

from artbot.domain.delivery import NO_PROTECTION
from artbot.publishing.channels import Channel, webhook

CHANNEL = Channel(
    name="forgetful",
    settings_model=type("ForgetfulSettings", (webhook.WebhookSettings,), {"__annotations__": {"type": str}}),
    compose=webhook.CHANNEL.compose,
    open=webhook.CHANNEL.open,
    protection=NO_PROTECTION,
)
'''
SETTINGS = """
[publishing]
undo_minutes = 0
[backup]
every_hours = 0
[channels.remembers]
type = "webhook"
url = "{url}/remembers"
allow_private = true
secret_file = "secrets/webhook"
[channels.forgets]
type = "forgetful"
url = "{url}/forgets"
allow_private = true
secret_file = "secrets/webhook"
"""
FATES = {
    "answered": 0.55,
    "dropped": 0.2,  # taken, and the connection closed without a word
    "slow": 0.1,  # taken, and answered after a while
    "failed after": 0.05,  # taken, and answered 500
    "busy": 0.07,  # not taken, 503
    "vanished": 0.03,  # not taken, and the connection closed without a word
}
TAKEN = ("answered", "dropped", "slow", "failed after")
KIND = "kind"
"""While there is a file of this name, every request is taken and answered."""


# The receiver


def serve(listener: socket.socket, root: Path, seed: int) -> NoReturn:
    """In a process of its own, which nobody kills. It writes down what it takes before it answers."""
    lock, rng = Lock(), random.Random(seed)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            number, channel = self.path.strip("/").split("/")
            key = self.headers["webhook-id"]
            with lock:
                (fate,) = rng.choices(list(FATES), list(FATES.values()))
                if (root / KIND).exists():
                    fate = "answered"
                entry = {
                    "workplace": number,
                    "channel": channel,
                    "key": key,
                    "work": json.loads(body)["data"]["artwork"]["id"],
                    "fate": fate,
                    "is_meant": is_meant(root / number / "db/artbot.sqlite3", key),
                }
                with open(root / "received.jsonl", "a") as file:
                    file.write(json.dumps(entry) + "\n")
            if fate == "slow":
                time.sleep(rng.uniform(0.05, 0.5))
            if fate not in ("dropped", "vanished"):
                status = {"failed after": 500, "busy": 503}.get(fate, 204)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()
    raise AssertionError


def is_meant(database: Path, key: str) -> bool:
    """I10: an attempt was committed before."""
    with closing(
        sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)
    ) as connection:
        query = "SELECT 1 FROM attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE d.delivery_key = ?"
        return connection.execute(query, (key,)).fetchone() is not None


# The driver


@dataclass
class Command:
    """`artbot …` as a process of its own."""

    pid: int
    status: int | None = None

    @classmethod
    def start(cls, workplace: Path, *arguments: str) -> Command:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            become(workplace, arguments)
        return cls(pid)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """The exit code; minus the signal if one ended it."""
        if self.status is None:
            _, status = os.waitpid(self.pid, 0)
            self.status = os.waitstatus_to_exitcode(status)
        return self.status


def become(workplace: Path, arguments: tuple[str, ...]) -> NoReturn:
    """What the console script does, in a child."""
    code = 70
    try:
        log = os.open(workplace / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(workplace)
        random.seed()
        sys.argv = ["artbot", *arguments]
        command_line.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Soak:
    """The whole run."""

    root: Path
    url: str
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    offset: int = 0
    """So much of what was received has been read."""
    taken: defaultdict[tuple[str, str, str], list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By workplace, channel and work: the key of every time it was taken."""
    span_s: float = 1.0
    """Kills come up to so long after the start; adapted to the machine."""

    def run(self, num_cycles: int, minutes: float) -> None:
        began = time.monotonic()

        def is_over() -> bool:
            return time.monotonic() - began > minutes * 60

        for number in range(-(-num_cycles // CYCLES_PER_WORKPLACE)):
            cycles = min(CYCLES_PER_WORKPLACE, num_cycles - number * CYCLES_PER_WORKPLACE)
            if is_over():
                break
            workplace = self.furnish(number, cycles)
            for _ in range(cycles):
                if is_over():
                    break
                self.cycle(workplace)
                self.counts["cycles"] += 1
                if self.counts["cycles"] % SAY_EVERY == 0:
                    self.say(began)
            self.finish(workplace)
        self.say(began)

    def say(self, began: float) -> None:
        per_cycle = (time.monotonic() - began) / self.counts["cycles"]
        print(
            f"{datetime.now(UTC):%H:%M:%S}  {self.counts['cycles']} cycles, {per_cycle:.2f} s each, "
            f"kills within {self.span_s:.1f} s, {len(self.violations)} violations",
            flush=True,
        )

    def furnish(self, number: int, num_works: int) -> Path:
        """A workplace with painted works that wait for a person."""
        workplace = self.root / str(number)
        make_workplace(workplace)
        (workplace / "artbot.toml").write_text(SETTINGS.format(url=f"{self.url}/{number}"))
        database = open_database(workplace / "db/artbot.sqlite3")
        with closing(database):
            add_works(database, workplace / "works", num_works + 1)
        return workplace

    def cycle(self, workplace: Path) -> None:
        self.approve_one(workplace)
        if self.rng.random() < 0.6:
            self.intervene(workplace)
        before = self.standing(workplace)
        daemons = [Command.start(workplace, "daemon") for _ in range(2)]
        started = time.monotonic()
        kill_at = started + self.rng.uniform(0, self.span_s)
        if self.rng.random() < 0.2:
            self.intervene(workplace)
        time.sleep(max(0.0, kill_at - time.monotonic()))
        if (
            self.rng.random() < 0.2
        ):  # the one that works dies first; the other has refused, or takes over
            self.rng.choice(daemons).kill()
            time.sleep(self.rng.uniform(0, 0.2))
        for daemon in daemons:
            with suppress(ProcessLookupError):
                daemon.kill()
        codes = [daemon.wait() for daemon in daemons]
        self.counts["kills"] += codes.count(-signal.SIGKILL)
        self.counts["second daemon refused"] += codes.count(1)
        self.classify(workplace, before)
        if any(code not in (1, -signal.SIGKILL) for code in codes):
            self.violation(f"a daemon ended with {codes}")
        self.check(workplace)

    def approve_one(self, workplace: Path) -> None:
        pending = self.ask(
            workplace, "SELECT id FROM candidates WHERE state = 'pending' ORDER BY id"
        )
        if not pending:
            return
        work = pending[0][0]
        command = Command.start(workplace, "approve", str(work))
        is_killed = self.rng.random() < 0.15
        if is_killed:
            time.sleep(self.rng.uniform(0, 0.3))
            command.kill()
        code = command.wait()
        self.counts["approvals killed" if code < 0 else "approvals"] += 1
        ((state, num_deliveries),) = self.ask(
            workplace,
            "SELECT state, (SELECT count(*) FROM deliveries WHERE candidate_id = c.id) "
            "FROM candidates c WHERE id = ?",
            work,
        )
        found = (state, num_deliveries)
        if found != ("approved", 2) and (code >= 0 or found != ("pending", 0)):
            self.violation(f"approve {work} ended with {code}, and it is {found}")
        if code > 0:
            self.violation(f"approve {work} ended with {code}")

    def intervene(self, workplace: Path) -> None:
        """A person, meanwhile: what waits is due now, what was seen was posted."""
        self.read_received()
        waiting = self.ask(
            workplace,
            "SELECT id FROM deliveries WHERE state IN ('queued', 'retry_wait', 'failed', 'dead')",
        )
        seen = [
            number
            for number, channel, work in self.uncertain(workplace)
            if self.taken[workplace.name, channel, work]
        ]
        for what, numbers in (
            (["deliveries", "retry"], [str(n) for (n,) in waiting[:20]]),
            (["deliveries", "resolve", "--posted"], [str(n) for n in seen[:20]]),
        ):
            if numbers:
                code = Command.start(workplace, *what, *numbers).wait()
                self.counts[" ".join(what)] += 1
                if code not in (0, 1):  # 1: the daemon was quicker
                    self.violation(f"{what} ended with {code}")

    def classify(self, workplace: Path, before: tuple[int, int]) -> None:
        """What the kill came into. Kills are moved to where most of them meet something to break."""
        epoch, newest = self.standing(workplace)
        is_open = self.ask(
            workplace, "SELECT 1 FROM attempts WHERE outcome IS NULL AND id > ?", before[1]
        )
        if is_open:
            moment = "during an attempt"
        elif newest > before[1]:
            moment = "after an attempt"
        elif epoch > before[0]:
            moment = "at work, before an attempt"
        else:
            moment = "before the work began"
        self.counts[f"killed {moment}"] += 1
        self.span_s *= 0.96 if newest > before[1] else 1.05
        self.span_s = min(max(self.span_s, 0.1), 10.0)

    def check(self, workplace: Path) -> None:
        """The invariants, after every cycle."""
        self.read_received()
        for (_, channel, work), keys in self.taken.items():
            if len(set(keys)) > 1:
                self.violation(f"{work} came to {channel} under {len(set(keys))} keys")
            if channel == "forgets" and len(keys) > 1:
                self.violation(f"{work} was shown {len(keys)} times on {channel}")
        for problem in with_database(workplace, check_logs):
            self.violation(problem)
        log = workplace / "log"
        said = log.read_text() if log.exists() else ""
        for word in ("Traceback", "locked", "unexpected"):
            if word in said:
                self.violation(f"the log says {word}: {said[-2000:]}")
        log.unlink(missing_ok=True)

    def finish(self, workplace: Path) -> None:
        """No more faults: everything approved goes out, or a person was told, and then it does."""
        (self.root / KIND).touch()
        for _ in range(3):
            self.settle(workplace)
        self.read_received()
        later = datetime.now(UTC) + LATE_EFFECT + timedelta(minutes=1)
        for number, channel, work in self.uncertain(workplace):
            was_posted = bool(self.taken[workplace.name, channel, work])
            self.counts["asked in the end: " + ("posted" if was_posted else "absent")] += 1
            actor = Actor("soak", "soak")
            with closing(open_database(workplace / "db/artbot.sqlite3")) as database:
                resolve(database, number, was_posted, None, actor, later)
        for _ in range(2):
            self.settle(workplace)
        left = self.ask(
            workplace, "SELECT id, channel, state FROM deliveries WHERE state <> 'delivered'"
        )
        if left:
            self.violation(f"in the end {left} are not delivered")
        self.check(workplace)
        for work, channel in self.ask(
            workplace,
            "SELECT c.name, d.channel FROM deliveries d JOIN candidates c ON c.id = d.candidate_id",
        ):
            self.counts["deliveries"] += 1
            if not self.taken[workplace.name, channel, work]:
                self.violation(f"{work} never came to {channel}")
        for outcome, count in self.ask(
            workplace, "SELECT outcome, count(*) FROM attempts GROUP BY outcome"
        ):
            self.counts[f"attempts {outcome}"] += count
        (self.root / KIND).unlink()

    def settle(self, workplace: Path) -> None:
        """A person makes everything due that waits; a daemon does one round."""
        numbers = [
            str(number)
            for (number,) in self.ask(
                workplace,
                "SELECT id FROM deliveries WHERE state IN ('retry_wait', 'held', 'failed', 'dead', 'queued')",
            )
        ]
        if numbers:
            Command.start(workplace, "deliveries", "retry", *numbers).wait()
        Command.start(workplace, "daemon", "--once").wait()

    def read_received(self) -> None:
        path = self.root / "received.jsonl"
        if not path.exists():
            return
        with open(path, "rb") as file:
            file.seek(self.offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self.offset += len(whole + newline)
        for line in whole.splitlines():
            entry = json.loads(line)
            self.counts[f"requests {entry['fate']}"] += 1
            if not entry["is_meant"]:
                self.violation(f"a request without an attempt: {entry}")
            if entry["fate"] in TAKEN:
                keys = self.taken[entry["workplace"], entry["channel"], entry["work"]]
                if keys and entry["channel"] == "remembers":
                    self.counts["repetitions recognised by their key"] += 1
                keys.append(entry["key"])

    def violation(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)
            print(f"VIOLATION in cycle {self.counts['cycles']}: {what}", flush=True)

    def uncertain(self, workplace: Path) -> list[tuple[Any, ...]]:
        return self.ask(
            workplace,
            "SELECT d.id, d.channel, c.name FROM deliveries d JOIN candidates c ON c.id = d.candidate_id "
            "WHERE d.state = 'uncertain'",
        )

    def standing(self, workplace: Path) -> tuple[int, int]:
        """The worker's epoch and the newest attempt."""
        query = "SELECT epoch, (SELECT coalesce(max(id), 0) FROM attempts) FROM workplace"
        ((epoch, newest),) = self.ask(workplace, query)
        return int(epoch), int(newest)

    @staticmethod
    def ask(workplace: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(workplace / "db/artbot.sqlite3", timeout=30)) as connection:
            return connection.execute(query, values).fetchall()


def with_database(workplace: Path, ask: Callable[[Any], list[str]]) -> list[str]:
    with closing(open_database(workplace / "db/artbot.sqlite3")) as database:
        return ask(database)


def add_forgetful_channel(folder: Path) -> ModuleType:
    """A kind of channel that the product does not have, whose receiver recognises nothing."""
    (folder / "forgetful.py").write_text(FORGETFUL)
    channels.__path__.append(str(folder))
    return importlib.import_module(f"{channels.__name__}.forgetful")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    given = parser.parse_args()
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    with tempfile.TemporaryDirectory(prefix="artbot-soak-", ignore_cleanup_errors=True) as folder:
        root = Path(folder)
        (root / "kinds").mkdir()
        add_forgetful_channel(root / "kinds")
        listener = socket.create_server(("127.0.0.1", 0))
        receiver = os.fork()
        if receiver == 0:
            serve(listener, root, given.seed)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        print(f"seed {given.seed}", flush=True)
        soak = Soak(root, url, random.Random(given.seed))
        try:
            soak.run(given.cycles, given.minutes)
        finally:
            os.kill(receiver, signal.SIGKILL)
            os.waitpid(receiver, 0)
    for name, count in sorted(soak.counts.items()):
        print(f"{count:8}  {name}")
    print(f"{len(soak.violations):8}  violations")
    return int(bool(soak.violations))


if __name__ == "__main__":
    raise SystemExit(main())

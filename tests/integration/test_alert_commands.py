"""`artbot alerts`, and what the daemon, `publish`, `status` and `doctor` say of what is told."""

from __future__ import annotations

import base64
import io
import json
import socket
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from PIL import Image

from artbot.config import load_settings
from artbot.daemon.run import Daemon
from artbot.daemon.supervision import Supervision
from artbot.publishing.channels import settings_models
from artbot.workplace import Workplace
from db.engine import open_database
from db.models import Batch, Notice
from tests.conftest import Place, on_sqlite_only
from tests.unit.service.kit import Request, Server, add_works, answers, http_answer, put, serve

TOKEN = "s3cr3t-t0k3n-of-anna"
pytestmark = on_sqlite_only


@pytest.fixture
def telephone() -> Iterator[Server]:
    with serve(answers(http_answer(200))) as server:
        yield server


@pytest.fixture
def ready(place: Place) -> Place:
    """A batch has just been painted."""
    with closing(open_database(place.database_at)) as database:
        add_works(database, place.root / "works", 2)
        with database.write() as session:
            session.query(Batch).one().finished_at = datetime.now(UTC)
    return place


def address(server: Server) -> str:
    return server.url.replace("http://", "json://").replace("/hook", f"/{TOKEN}")


def configure(place: Place, addresses: str, more: str = "") -> None:
    place.configure(f'[alerts]\nurls_file = "secrets/alerts"\n{more}')
    file = place.root / "secrets" / "alerts"
    file.write_text(addresses)
    file.chmod(0o600)


def add_notice(place: Place, state: str, at: datetime, error: str | None = None) -> None:
    with closing(open_database(place.database_at)) as database, database.write() as session:
        number = session.query(Notice).count()
        notice = Notice(
            key=f"msg_{number}",
            recipient="[alerts]",
            kind="batch.ready",
            subject=f"batch {number}",
            data={
                "timestamp": "2026-11-21T12:00:00.000000Z",
                "data": {"batch": {"id": f"daily-{number}"}},
            },
            state=state,
            created_at=at,
            next_at=at,
            num_attempts=1,
            sent_at=at if state == "sent" else None,
            last_error=error,
        )
        put(session, notice)


def test_a_test_says_how_each_address_fared_and_shows_none(place: Place, telephone: Server) -> None:
    lines = (
        address(telephone),
        f"nonsense://{TOKEN}",
        f"{TOKEN} is mine",
        "mailtos://",
    )
    configure(place, "\n".join(("# mine", *lines)))
    result = place.run("alerts", "test")
    assert result.code == 1
    assert result.out.splitlines() == [
        "line 2    JSON                  ok",
        "line 3    unknown               failed: Apprise does not know it",
        "line 4    unknown               failed: it is no address: Apprise reads SERVICE://... "
        "(docs/alerts.md)",
        "line 5    unknown               failed: mailtos is known, but the rest is incomplete or not as "
        "Apprise reads it (docs/alerts.md)",
    ]
    assert json.loads(telephone.requests[0].body)["title"] == "artbot: a test"
    shown = json.loads(place.run("alerts", "test", "--json").out)
    assert [one["ok"] for one in shown] == [True, False, False, False]
    assert TOKEN not in json.dumps(shown) + result.out + result.err


def test_without_addresses_the_remedy_is_named(place: Place) -> None:
    place.run("alerts", "test").refused(3, 'write urls_file = "secrets/alerts"')
    configure(place, "# nobody yet\n")
    place.run("alerts", "test").refused(3, "holds no address", "docs/alerts.md")
    (place.root / "secrets/alerts").unlink()
    missing = "cannot be read: No such file or directory"
    make = "make it, with an address on each line and chmod 600 (docs/alerts.md)"
    place.run("alerts", "test").refused(3, f"{missing}; {make}")
    assert f"remedy: {make}" in place.run("doctor", "--quick").out
    place.configure("[alerts]\nnothing_approved_days = 5\n")
    place.run("alerts", "list").refused(
        3, 'alerts: nobody is told; write urls_file = "secrets/alerts"'
    )
    place.configure('[alerts]\nurls_file = "x"\ntell = ["batch.redy"]\n')
    place.run("alerts", "list").refused(3, "batch.redy", "batch.ready")


@pytest.mark.parametrize("command", [("daemon", "--once"), ("publish",)])
def test_the_worker_tells_what_happened_and_the_list_shows_it(
    ready: Place, telephone: Server, command: tuple[str, ...]
) -> None:
    ready.run("alerts", "list").refused(0, "nothing was told so far")
    configure(ready, address(telephone))
    result = ready.run(*command)
    result.refused(0)
    assert "batch.ready to [alerts]: sent" in result.out + result.err
    (request,) = telephone.requests
    assert "2 pictures wait for review: artbot review" in json.loads(request.body)["message"]
    (line,) = ready.run("alerts", "list").out.splitlines()
    assert line.split()[1:] == ["batch.ready", "daily-2026-11-21", "[alerts]", "sent"]
    (shown,) = ready.json("alerts", "list")
    assert (shown["kind"], shown["state"], shown["error"]) == ("batch.ready", "sent", None)
    assert shown["data"]["batch"]["id"] == "daily-2026-11-21"
    assert TOKEN not in json.dumps(shown) + result.out + result.err
    assert ready.run(*command).code == 0
    assert len(telephone.requests) == 1


def test_a_batch_is_told_of_with_its_pictures_and_a_link_that_opens_it(
    ready: Place, telephone: Server
) -> None:
    served = '[web]\nserve = true\nallow_hosts = ["review.example.org"]\n'
    configure(ready, address(telephone), served)
    ready.run("publish").refused(0)
    (request,) = telephone.requests
    said = json.loads(request.body)
    assert said["message"].splitlines()[1:] == [
        "https://review.example.org/?batch=daily-2026-11-21"
    ]
    (sheet,) = said["attachments"]
    assert sheet["filename"] == "daily-2026-11-21.jpg"
    with Image.open(io.BytesIO(base64.b64decode(sheet["base64"]))) as picture:
        assert (picture.format, picture.width) == ("JPEG", 1280)


def test_a_notice_that_fails_is_no_failure_of_the_round(ready: Place) -> None:
    with serve(answers(http_answer(500))) as server:
        configure(ready, address(server))
        result = ready.run("daemon", "--once")
    result.refused(0)
    assert "WARNING batch.ready to [alerts]: waiting (line 1 (JSON): " in result.out
    assert TOKEN not in result.out
    (line,) = ready.run("alerts", "list").out.splitlines()
    assert "waiting, next try" in line


def test_the_doctor_names_the_line_that_apprise_does_not_understand(
    place: Place, telephone: Server
) -> None:
    configure(place, f"{address(telephone)}\n")
    assert "alerts" in place.run("doctor", "--quick").out
    configure(place, f"{address(telephone)}\ntelegramm://{TOKEN}\n")
    result = place.run("doctor", "--quick")
    assert result.code == 3
    assert "secrets/alerts, line 2: Apprise does not know it" in result.out
    (place.root / "secrets/alerts").unlink()
    assert "alerts cannot be read" in place.run("doctor", "--quick").out
    assert telephone.requests == []
    assert TOKEN not in result.out + result.err


def test_status_says_when_alerts_were_lost_until_one_gets_through(
    place: Place, telephone: Server
) -> None:
    configure(place, address(telephone))
    now = datetime.now(UTC)
    add_notice(place, "given_up", now - timedelta(days=30), "long ago")
    add_notice(place, "sent", now - timedelta(days=2))
    assert "did not reach you" not in place.run("status").out
    for _ in range(2):
        add_notice(place, "given_up", now, "line 1 (JSON): error=500")
    need = "2 alerts did not reach you: line 1 (JSON): error=500 (artbot alerts test)"
    assert need in place.run("status").out
    add_notice(place, "sent", now)
    assert "did not reach you" not in place.run("status").out


def test_a_daemon_that_can_alert_nobody_says_so_when_it_begins_and_goes_on(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    configure(place, "")
    workplace = Workplace(load_settings(place.root, settings_models()))
    stop = Event()
    stop.set()
    with closing(workplace):
        Daemon(workplace, lambda: True, Supervision({})).run(stop, Event())
    assert "nobody can be alerted: alerts.urls_file" in caplog.text
    assert "holds no address" in caplog.text


def test_a_work_that_is_approved_while_notices_are_told_goes_first(ready: Place) -> None:
    """Two are to be told; while the first one is, a person approves a work."""
    said: list[str] = []

    def approve_meanwhile(connection: socket.socket, request: Request) -> None:
        said.append(json.loads(request.body)["type"])
        if said == ["batch.ready"]:
            assert ready.run("approve", "1").code == 0
        connection.sendall(http_answer(204))

    with serve(approve_meanwhile) as server:
        ready.configure(
            "[publishing]\nundo_minutes = 0\n"
            + "".join(
                f'[channels.{name}]\ntype = "webhook"\nurl = "{server.url}"\nallow_private = true\n'
                f'secret_file = "secrets/webhook"\nnotices = ["batch.ready"]\n'
                for name in ("one", "two")
            )
        )
        workplace = Workplace(load_settings(ready.root, settings_models()))
        daemon = Daemon(workplace, lambda: False, Supervision({}))
        with closing(workplace), workplace.work("daemon"):
            assert daemon.round()
            assert said == ["batch.ready"]
            assert daemon.round()
    assert said == ["batch.ready", "artwork.published", "artwork.published", "batch.ready"]

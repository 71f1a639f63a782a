"""The review page as processes: `artbot review --web`, the daemon's child, how each begins and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from artbot.config import load_settings
from artbot.publishing.channels import settings_models
from artbot.upkeep import served
from artbot.upkeep.served import page_problems, served_at
from artbot.web.logins import give_code
from artbot.worker import hold_worker
from artbot.workplace import Workplace
from tests.conftest import Place, on_sqlite_only, wait_for
from tests.unit.web.conftest import Browser

LINK = re.compile(r"http://127\.0\.0\.1:(\d+)/login(\S*)#([\w-]{43})")


@contextmanager
def running(place: Place, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command that serves, until the end of the test at the latest."""
    process = place.start(*arguments, **environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=300)


def a_link(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The port and the code of the link that it prints first."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = LINK.fullmatch(line.strip())
    assert found, line
    return int(found[1]), found[3]


def lock(place: Place) -> Path:
    return place.root / "db" / "web.lock"


@on_sqlite_only
def test_review_web_prints_a_link_that_lets_in_and_ends_with_ctrl_c(painted: Place) -> None:
    with running(painted, "review", "--web", SSH_CONNECTION="", DISPLAY=":1") as page:
        port, code = a_link(page)
        browser = Browser(port)
        browser.log_in(code)
        assert browser.get("/").status == 200
        assert painted.json("status")["review_page"] == f"http://127.0.0.1:{port}/"
        second = painted.run(
            "review", "--web", "--batch", painted.json("review")["candidates"][0]["batch"]
        )
        assert second.code == 0
        found = LINK.search(second.out)
        assert found
        assert found[2].startswith("?next=%2F%3Fbatch%3Ddaily-")
        Browser(int(found[1])).log_in(found[3])
        painted.run("review", "--web", "--port", str(port)).refused(1, "served already")
        page.send_signal(signal.SIGINT)
        rest, _ = page.communicate(timeout=300)
        assert page.returncode == 0
        assert "Traceback" not in rest
        assert code not in rest
    assert served_at(lock(painted)) is None
    assert painted.json("status")["review_page"] is None


@on_sqlite_only
def test_more_like_this_is_planned_from_the_page(painted: Place) -> None:
    with running(painted, "review", "--web") as page:
        port, code = a_link(page)
        browser = Browser(port)
        browser.log_in(code)
        stacks = browser.get("/sheet.json").json()["sheet"]["stacks"]
        one, other = (stack["tiles"][0] for stack in stacks[:2])
        varied = browser.act(f"/works/{one['id']}/vary", {**one["seen"], "strength": "strong"})
        assert varied.json()["children"] == [4, 5, 6, 7]
        assert varied.json()["message"] == "4 strong variations will be painted."
        bred = browser.act("/breed", {"id": [one["id"], other["id"]]})
        assert bred.json()["children"] == [8, 9, 10]
        assert browser.act("/works/4/reject", one["seen"]).status == 409, "it is not painted yet"
        assert browser.get("/works/4").status == 409


@on_sqlite_only
def test_over_ssh_the_tunnel_is_told(painted: Place) -> None:
    with running(painted, "review", "--web", SSH_CONNECTION="10.0.0.9 5000 10.0.0.7 22") as page:
        port, _ = a_link(page)
        assert page.stdout is not None
        told = "".join(page.stdout.readline() for _ in range(3))
        assert re.search(rf"ssh -N -L {port}:127\.0\.0\.1:{port} \S+@10\.0\.0\.7\n", told)


@on_sqlite_only
def test_what_the_page_and_the_list_take(painted: Place) -> None:
    painted.run("review", "--port", "9000").refused(2, "artbot review --web --port")
    painted.run("review", "--web", "--json").refused(2, "leave one out")
    painted.run("review", "--web", "--batch", "none").refused(2, "there is no batch")
    painted.configure("[web]\nhost = '0.0.0.0'\n")
    painted.run("review", "--web").refused(3, "allow_hosts", "docs/web.md")


@on_sqlite_only
def test_a_port_that_is_taken_is_told(painted: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        painted.run("review", "--web", "--port", str(port)).refused(1, f"port {port}", "--port")
        painted.configure(f"[web]\nserve = true\nport = {port}\n")
        workplace = Workplace(load_settings(painted.root, settings_models()))
        [problem] = page_problems(workplace)
        assert f"another program has port {port}" in problem.what
        told = painted.run("doctor", "--quick")
        assert told.code == 3
        assert problem.what in told.out


@on_sqlite_only
def test_the_daemon_serves_the_page_and_begins_it_again_when_it_dies(painted: Place) -> None:
    port = free_port()
    painted.configure(f"[web]\nserve = true\nport = {port}\n")
    address = f"http://127.0.0.1:{port}/"
    with running(painted, "daemon") as daemon:
        wait_for(lambda: served_at(lock(painted)) == address)
        wait_for(lambda: painted.json("status")["worker"])
        assert painted.json("status")["needs_you"] == []
        linked = painted.run("review", "--web")
        found = LINK.search(linked.out)
        assert found
        browser = Browser(port)
        browser.log_in(found[3])
        first = child_of(daemon.pid)
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: (child := child_of(daemon.pid)) and child != first)
        wait_for(lambda: served_at(lock(painted)) == address)
        assert browser.get("/").status == 200, "who was logged in still is"
        mapped = Path(f"/proc/{child_of(daemon.pid)}/maps").read_text()
        for library in ("torch", "numpy", "av.libs"):
            assert library not in mapped
        tile = browser.get("/sheet.json").json()["sheet"]["stacks"][0]["tiles"][0]
        assert browser.act(f"/works/{tile['id']}/reject", tile["seen"]).status == 200
        daemon.terminate()
        log, _ = daemon.communicate(timeout=300)
    assert daemon.returncode == 0
    assert "the review page has ended (signal 9); it is begun again in 1 s" in log
    assert f"POST /works/{tile['id']}/reject 200" in log
    assert found[3] not in log
    assert served_at(lock(painted)) is None


@on_sqlite_only
def test_a_page_that_cannot_be_served_stops_no_daemon(painted: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        painted.configure(f"[web]\nserve = true\nport = {taken.getsockname()[1]}\n")
        with running(painted, "daemon") as daemon:
            wait_for(lambda: painted.json("status")["worker"])
            [need] = painted.json("status")["needs_you"]
            assert "cannot be served" in need["what"]
            assert daemon.stdout is not None
            log = ""
            while "the review page has ended" not in log:
                log += daemon.stdout.readline()
            daemon.terminate()
            log += daemon.communicate(timeout=300)[0]
    assert daemon.returncode == 0
    assert "cannot listen on 127.0.0.1" in log
    assert "the review page has ended (exit code 1)" in log
    assert log.rstrip().endswith("INFO stopped")


@on_sqlite_only
def test_a_daemon_that_is_killed_takes_the_page_with_it(painted: Place) -> None:
    painted.configure(f"[web]\nserve = true\nport = {free_port()}\n")
    with running(painted, "daemon") as daemon:
        wait_for(lambda: served_at(lock(painted)))
        daemon.kill()
        wait_for(lambda: served_at(lock(painted)) is None)


@on_sqlite_only
def test_a_page_that_does_not_answer_is_told(
    painted: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted.configure(f"[web]\nserve = true\nport = {free_port()}\n")
    workplace = Workplace(load_settings(painted.root, settings_models()))
    with running(painted, "daemon") as daemon:
        wait_for(lambda: served_at(lock(painted)))
        wait_for(lambda: page_problems(workplace) == [])
        child = child_of(daemon.pid)
        monkeypatch.setattr(served, "ANSWER_S", 0.3)
        os.kill(child, signal.SIGSTOP)
        try:
            [problem] = page_problems(workplace)
            assert "does not answer" in problem.what
        finally:
            os.kill(child, signal.SIGCONT)
    with hold_worker(painted.root / "db" / "artbot.lock", "daemon"):
        [problem] = page_problems(workplace)
        assert "does not serve" in problem.what


@on_sqlite_only
def test_nothing_heavy_is_imported_to_serve(painted: Place) -> None:
    port = free_port()
    painted.configure(f"[web]\nport = {port}\n")
    log = painted.root / "imported"
    with (
        open(log, "wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "artbot.web", str(painted.root)],
            stdin=subprocess.PIPE,
            stderr=stderr,
        ) as page,
    ):
        assert page.stdin is not None
        wait_for(lambda: served_at(lock(painted)))
        browser = Browser(port)
        browser.log_in(give_code(painted.root / "db" / "web", "anna"))
        for path in ("/", "/works/1", "/queue", "/runs", "/compare?id=1&id=2"):
            assert browser.get(path).status == 200
        tile = browser.get("/sheet.json").json()["sheet"]["stacks"][0]["tiles"][0]
        form = {**tile["seen"], "draft_is_fine": "1"}
        assert browser.act(f"/works/{tile['id']}/approve", form).status == 200
        assert browser.act(f"/works/{tile['id']}/vary", {"strength": "subtle"}).status == 200
        page.stdin.close()
        assert page.wait(30) == 0, "it ends when whoever began it is gone"
    loaded = {line.rpartition("|")[2].strip() for line in log.read_text().splitlines()}
    assert "artbot.web.acts" in loaded
    for heavy in ("torch", "torchvision", "numpy", "av", "apprise", "alembic", "rich", "textual"):
        assert heavy not in loaded, heavy


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def child_of(pid: int) -> int:
    """0 while there is none."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for thread in threads for child in thread.read_text().split()]
    return children[0] if children else 0

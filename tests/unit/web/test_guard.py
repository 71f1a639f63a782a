"""The security list (docs/web.md): everything that is refused, provoked, on a real socket."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from artbot.config import WebSettings
from artbot.desk import Desk
from artbot.errors import WorkerBusy
from artbot.upkeep.served import served_at
from artbot.web import guard, logins
from artbot.web.facts import local_path
from artbot.web.logins import IDLE_S, LONGEST_S, MOST_WRONG, Logins, Throttled, give_code
from artbot.web.serving import serve
from artbot.web.site import HERE
from tests.conftest import wait_for
from tests.unit.web.conftest import FORM, JSON, Browser, House, seen

PAGES = ("/", "/sheet.json", "/works/1", "/works/1/card.json", "/queue", "/runs", "/help")


# Who is asked: DNS rebinding


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1",  # without its port: another one's page
        "127.0.0.1:1",
        "localhost.evil.example:{port}",
        "127.0.0.1:{port}.evil.example",
        "0.0.0.0:{port}",
        "127.1:{port}",
        "",
    ],
)
def test_a_host_that_is_not_on_the_list_is_not_answered(
    house: House, anna: Browser, host: str
) -> None:
    for path in ("/", "/login", "/static/style.css"):
        answer = anna.get(path, Host=host.format(port=house.port))
        assert answer.status in (400, 421), answer.text
        assert anna.csrf not in answer.text
    tile = house.tile()
    refused = anna.post(f"/works/{tile.id}/reject", seen(tile), Host=host.format(port=house.port))
    assert refused.status in (400, 421)
    assert house.tile(tile.id) == tile


def test_this_machines_own_names_are_answered(house: House) -> None:
    for name in ("127.0.0.1", "localhost", "[::1]"):
        assert house.browser(f"{name}:{house.port}").get("/login").status == 200


def test_two_hosts_in_one_request_are_none(house: House) -> None:
    host = f"Host: 127.0.0.1:{house.port}\r\n"
    answer = raw(house, f"GET /login HTTP/1.1\r\n{host}{host}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 4")


# Where it comes from: CSRF


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (None, None),
        ("http://evil.example", None),
        ("http://127.0.0.1:1", None),
        ("https://127.0.0.1:{port}", None),
        ("http://localhost:{port}", None),  # another name than the one that was asked
        ("null", None),
        ("null", "cross-site"),
        ("http://127.0.0.1:{port}", "cross-site"),
        ("http://127.0.0.1:{port}", "same-site"),
        ("http://evil.example", "same-origin"),
        (None, "same-site"),
        (None, "none"),
    ],
)
def test_a_post_of_another_origin_or_of_none_is_refused(
    house: House, anna: Browser, origin: str | None, site: str | None
) -> None:
    tile = house.tile()
    headers = {
        "Origin": origin and origin.format(port=house.port),
        "Sec_Fetch_Site": site,
    }
    answer = anna.post(f"/works/{tile.id}/reject", seen(tile), **headers)
    assert answer.status == 403
    assert house.tile(tile.id) == tile
    assert house.browser().post("/login", {"token": house.code()}, **headers).status == 403


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("http://127.0.0.1:{port}", None),
        ("http://127.0.0.1:{port}", "same-origin"),
        ("null", "same-origin"),  # a form of a page with no-referrer
        (None, "same-origin"),
    ],
)
def test_a_post_of_our_own_page_is_taken(
    house: House, anna: Browser, origin: str | None, site: str | None
) -> None:
    tile = house.tile()
    headers = {"Origin": origin and origin.format(port=house.port), "Sec_Fetch_Site": site}
    answer = anna.post(f"/works/{tile.id}/reject", seen(tile), **headers)
    assert answer.status == 303
    assert house.tile(tile.id).state == "rejected"


def test_an_act_without_the_token_of_its_session_is_refused(house: House, anna: Browser) -> None:
    tile, ben = house.tile(), house.logged_in("ben")
    for token in ("", "0" * 64, ben.csrf):
        answer = anna.act(f"/works/{tile.id}/reject", {**seen(tile), "csrf": token})
        assert (answer.status, answer.json()["kind"]) == (403, "forbidden")
    for path in ("/undo", "/redo", "/breed", "/reject-rest", "/undo-each", "/logout", "/help"):
        assert anna.act(path, {"csrf": ben.csrf}).status == 403
    assert house.tile(tile.id) == tile


def test_no_other_site_may_read_an_answer(house: House, anna: Browser) -> None:
    asked = anna.get("/sheet.json", Origin="https://evil.example")
    preflight = anna.ask(
        "OPTIONS",
        "/undo",
        {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status == 403
    for answer in (asked, preflight):
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


# Who may come in: the login


def test_nothing_but_the_login_is_shown_to_who_has_no_session(house: House) -> None:
    tile, stranger = house.tile(), house.browser()
    for path in (*PAGES, f"/pictures/{tile.id}/{tile.seen.image_sha256}.png", "/nowhere"):
        answer = stranger.get(path)
        assert answer.status == 401
        assert tile.name not in answer.text
    assert stranger.post(f"/works/{tile.id}/reject", seen(tile)).status == 401
    assert stranger.act("/undo").json()["kind"] == "login"
    forged = Browser(house.port, cookie=f"artbot-{house.port}={'x' * 43}")
    assert forged.get("/").status == 401
    assert house.tile(tile.id) == tile


def test_who_has_no_session_is_asked_for_a_code_and_then_led_on(house: House) -> None:
    stranger = house.browser()
    asked = stranger.get("/works/1?show=all")
    assert 'name="next" value="/works/1?show=all"' in asked.text
    let_in = stranger.post("/login", {"token": house.code(), "next": "/works/1?show=all"})
    assert (let_in.status, let_in.headers["Location"]) == (303, "/works/1?show=all")


def test_a_link_in_another_page_is_followed_once_more_for_the_cookie(house: House) -> None:
    """Browsers keep a strict cookie back from what another site began."""
    stranger = house.browser()
    assert stranger.get("/?show=all", Sec_Fetch_Site="cross-site").headers["Refresh"] == (
        "0; url=/?show=all"
    )
    assert stranger.get("/", Sec_Fetch_Site="same-origin").headers["Refresh"] is None
    assert stranger.get("/", Sec_Fetch_Site="none").headers["Refresh"] is None


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example/",
        "\\/evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=y",
        "/a\tb",
        "",
    ],
)
def test_the_login_leads_to_no_other_site(house: House, wanted: str) -> None:
    assert local_path(wanted) == "/"
    answer = house.browser().post("/login", {"token": house.code(), "next": wanted})
    assert (answer.status, answer.headers["Location"]) == (303, "/")


def test_a_code_lets_in_once(house: House) -> None:
    code = house.code()
    house.browser().log_in(code)
    again = house.browser().post("/login", {"token": code})
    assert again.status == 403
    assert "each does once" in again.text
    assert "Set-Cookie" not in again.headers


def test_a_code_is_good_for_a_quarter_of_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, now = give_code(tmp_path, "anna"), time.time()
    monkeypatch.setattr(logins.time, "time", lambda: now + logins.CODE_S + 1)
    assert Logins(tmp_path).log_in(code) is None


def test_wrong_codes_are_throttled(tmp_path: Path) -> None:
    door = Logins(tmp_path)
    for _ in range(MOST_WRONG):
        assert door.log_in("guess") is None
    with pytest.raises(Throttled):
        door.log_in(give_code(tmp_path, "anna"))


def test_the_page_says_how_long_wrong_codes_have_to_wait(
    own_house: Callable[..., House],
) -> None:
    stranger = own_house().browser()
    for _ in range(MOST_WRONG):
        assert stranger.act("/login", {"token": "../../etc/passwd"}).status == 403
    answer = stranger.act("/login", {"token": "guess"})
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 60


def test_the_cookie_is_for_this_page_alone(house: House) -> None:
    cookie = house.browser().log_in(house.code()).headers["Set-Cookie"]
    name, *flags = cookie.split("; ")
    assert re.fullmatch(rf"artbot-{house.port}=[\w-]{{43}}", name)
    assert {flag.lower() for flag in flags} == {
        "httponly",
        "samesite=strict",
        "path=/",
        f"max-age={LONGEST_S:.0f}",
    }


def test_over_https_the_cookie_is_bound_to_the_host(own_house: Callable[..., House]) -> None:
    house = own_house(allow_hosts=["review.example.org"])
    browser = house.browser("review.example.org")
    answer = browser.log_in(house.code())
    name, *flags = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith("__Host-artbot=")
    assert "Secure" in flags
    assert not any(flag.lower().startswith("domain") for flag in flags)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert browser.get("/").status == 200
    assert browser.post("/undo", Origin="http://review.example.org").status == 403
    assert house.browser().get("/login").headers["Strict-Transport-Security"] is None


def test_a_login_begins_a_new_session_and_ends_the_old_one(house: House) -> None:
    browser = house.logged_in()
    old = browser.cookie
    browser.log_in(house.code())
    assert browser.cookie != old
    assert Browser(house.port, cookie=old).get("/").status == 401


def test_who_logs_out_is_out(house: House) -> None:
    browser = house.logged_in()
    answer = browser.post("/logout")
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert browser.get("/").status == 401


def test_a_session_ends_when_it_was_idle_and_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, began = Logins(tmp_path), time.time()
    let_in = door.log_in(give_code(tmp_path, "anna"))
    assert let_in
    at = began
    monkeypatch.setattr(logins.time, "time", lambda: at)
    while at - began < LONGEST_S - IDLE_S:  # used now and then
        at += IDLE_S - 1
        assert door.find(let_in[0])
    at = began + LONGEST_S + 1
    assert door.find(let_in[0]) is None
    later = door.log_in(give_code(tmp_path, "anna"))
    assert later
    at += IDLE_S + 1
    assert door.find(later[0]) is None


def test_a_session_outlives_the_process_and_no_secret_is_on_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "web"
    code = give_code(folder, "anna")
    let_in = Logins(folder).log_in(code)
    waiting = give_code(folder, "ben")
    assert let_in
    found = Logins(folder).find(let_in[0])
    assert found is not None
    assert (found.by, found.csrf) == ("anna", let_in[1].csrf)
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        for secret in (code, waiting, let_in[0], found.csrf):
            assert secret not in path.name + path.read_text()


# What goes out


def test_every_answer_tells_the_browser_what_it_may_not_do(house: House, anna: Browser) -> None:
    tile = house.tile()
    answers = [
        *(anna.get(path) for path in PAGES),
        anna.get(f"/pictures/{tile.id}/{tile.seen.image_sha256}.png"),
        anna.get("/static/style.css"),
        anna.get("/nowhere"),
        anna.get("/", Host="evil.example"),
        anna.act(f"/works/{tile.id}/reject", {"csrf": "none"}),
        anna.post(f"/works/{tile.id}/reject", seen(tile)),
        house.browser().get("/"),
    ]
    assert {answer.status for answer in answers} == {200, 303, 401, 403, 404, 421}
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        for rule in ("form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert rule in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Server"] is None
        kind = (answer.headers["Content-Type"] or "").partition(";")[0]
        if kind in ("text/html", JSON):
            stored = answer.headers["Cache-Control"]
            assert stored in ("no-store", "private, no-cache")


def test_templates_hold_nothing_that_the_policy_would_stop() -> None:
    for path in (HERE / "templates").glob("*.html"):
        html = path.read_text()
        assert not re.search(
            r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html
        )
        assert not re.search(r'(src|href|action)="(https?:)?//', html), path.name
        for name in re.findall(r"static\('([^']+)'\)", html):
            assert (HERE / "static" / name).is_file(), f"{path.name}: {name}"
        assert "| safe" not in html


def test_what_people_write_is_text_and_no_markup(house: House, anna: Browser) -> None:
    tile = house.tile()
    evil = "<script>alert(1)</script>\"'><img src=x>"
    form = {**seen(tile), "alt": evil, "title": evil, "caption": evil}
    assert anna.act(f"/works/{tile.id}/approve", form).status == 200
    for page in (f"/works/{tile.id}", "/queue", "/?show=all", f"/?batch={evil}"):
        text = anna.get(page.replace(" ", "%20")).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text


# What must not come in


def test_only_what_is_asked_for_is_answered(house: House, anna: Browser) -> None:
    tile = house.tile()
    assert anna.get(f"/works/{tile.id}/approve").status == 405
    for method in ("PUT", "DELETE", "PATCH"):
        answer = anna.ask(method, f"/works/{tile.id}", {"Origin": f"http://{anna.own}"})
        assert answer.status == 405
    for path in ("/works/99999", "/works/-1", "/works/1e3", "/works/1%00", "/works/9999999999"):
        assert anna.get(path).status == 404, path
    for path in ("/../artbot.toml", "/static/../app.py", "/static/%2e%2e%2fapp.py"):
        assert anna.get(path).status == 404, path
    for path in ("/?show=everything", "/?batch=none", "/compare?id=1", "/compare?id=1&id=x"):
        assert anna.get(path).status == 400, path
    assert house.tile(tile.id) == tile


def test_a_picture_is_asked_for_by_number_and_sha256_and_by_no_path(
    house: House, anna: Browser
) -> None:
    tile, other = house.tile(), house.tile()
    sha256 = tile.seen.image_sha256
    answer = anna.get(f"/pictures/{tile.id}/{sha256}.png")
    assert answer.body == tile.path.read_bytes()
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    for path in (
        f"/pictures/{tile.id}/{other.seen.image_sha256}.png",
        f"/pictures/{tile.id}/{sha256.upper()}.png",
        f"/pictures/99999/{sha256}.png",
        f"/pictures/{tile.id}/../{tile.id}/{sha256}.png",
        f"/pictures/{tile.id}/..%2f..%2fartbot.png",
        f"/pictures/..%2f{tile.path.name}",
        f"/pictures/{tile.path}",
    ):
        assert anna.get(path).status == 404, path


def test_a_file_that_is_another_picture_is_not_shown_and_not_approved(
    house: House, anna: Browser
) -> None:
    tile, other = house.tile(), house.tile()
    tile.path.write_bytes(other.path.read_bytes())
    assert anna.get(f"/pictures/{tile.id}/{tile.seen.image_sha256}.png").status == 409
    approval = anna.act(f"/works/{tile.id}/approve", {**seen(tile), "alt": "A field"})
    assert (approval.status, approval.json()["kind"]) == (409, "refused")
    assert "artbot reproduce" in approval.json()["error"]


@pytest.mark.parametrize("length", [str(guard.MOST_BYTES + 1), "9" * 30])
def test_a_large_form_is_refused_before_it_is_read(
    house: House, anna: Browser, length: str
) -> None:
    head = (
        f"POST /undo HTTP/1.1\r\nHost: {anna.own}\r\nOrigin: http://{anna.own}\r\n"
        f"Cookie: {anna.cookie}\r\nContent-Type: {FORM}\r\nContent-Length: {length}\r\n\r\n"
    )
    assert raw(house, head.encode()).startswith((b"HTTP/1.1 413", b"HTTP/1.1 400"))


def test_a_form_that_grows_too_large_is_refused(house: House, anna: Browser) -> None:
    head = (
        f"POST /undo HTTP/1.1\r\nHost: {anna.own}\r\nOrigin: http://{anna.own}\r\n"
        f"Cookie: {anna.cookie}\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"%x\r\n%s\r\n" % (65_536, b"a" * 65_536)
    assert raw(house, head.encode() + 5 * chunk).startswith(b"HTTP/1.1 413")


def test_a_form_that_does_not_arrive_is_given_up(
    house: House, anna: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_S", 0.1)
    head = (
        f"POST /undo HTTP/1.1\r\nHost: {anna.own}\r\nOrigin: http://{anna.own}\r\n"
        f"Cookie: {anna.cookie}\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\ncsrf="
    )
    assert raw(house, head.encode()).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data; boundary=x", b"--x--", 415),
        ("application/json", b"{}", 415),
        ("text/plain", b"csrf=x", 415),
        (FORM, b"csrf=%ff", 400),
        (FORM, b"csrf=\xff", 400),
        (FORM, b"&".join([b"a=b"] * 2_001), 400),
    ],
)
def test_what_is_no_form_of_ours_is_refused(
    anna: Browser, kind: str, body: bytes, status: int
) -> None:
    headers = {"Origin": f"http://{anna.own}", "Content-Type": kind}
    assert anna.ask("POST", "/undo", headers, body).status == status


def test_what_is_no_http_is_refused(house: House) -> None:
    assert raw(house, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400")
    too_long = b"GET /login HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"
    assert raw(house, too_long).startswith(b"HTTP/1.1 4")


# What the log holds


def test_the_log_holds_no_secret_and_no_line_that_somebody_else_wrote(house: House) -> None:
    del house.lines[:]
    code = house.code()
    browser = house.browser()
    browser.log_in(code)
    tile = house.tile()
    browser.act(f"/works/{tile.id}/reject", seen(tile))
    browser.get("/nowhere%0aINFO%20POST%20/works/1/approve%20200%1b[2J?token=SECRET")
    browser.post("/login", {"token": "WRONG-CODE"})
    written = "\n".join(house.lines)
    assert f"POST /works/{tile.id}/reject 200 by anna" in written
    for secret in (code, browser.cookie.partition("=")[2], browser.csrf, "SECRET", "WRONG-CODE"):
        assert secret not in written
    assert "\x1b" not in written
    assert not [line for line in written.splitlines() if line.startswith("INFO POST /works/1/")]


def test_a_bug_of_ours_is_told_to_the_log_alone(
    house: House, anna: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(Desk, "lay_out", broken)
    for answer in (anna.get("/"), anna.get("/sheet.json")):
        assert answer.status == 500
        assert "hunter2" not in answer.text
        assert "Traceback" not in answer.text
        assert "omething went wrong" in answer.text
        assert answer.headers["Content-Security-Policy"]
    assert any("hunter2" in line for line in house.lines)


def test_a_database_that_takes_nothing_now_is_told_and_the_page_goes_on(
    house: House, anna: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise OperationalError("UPDATE secret_words", {}, Exception("database is locked"))

    tile = house.tile()
    with monkeypatch.context() as broken:
        broken.setattr(Desk, "reject", locked)
        answer = anna.act(f"/works/{tile.id}/reject", seen(tile))
    assert (answer.status, answer.json()["kind"]) == (503, "failed")
    assert "nothing is half done" in answer.json()["error"]
    assert "secret_words" not in answer.text
    assert anna.act(f"/works/{tile.id}/reject", seen(tile)).status == 200


def test_a_page_whose_database_was_replaced_ends(own_house: Callable[..., House]) -> None:
    house = own_house()
    browser = house.logged_in()
    database = house.workplace.settings.database
    assert isinstance(database, Path)
    database.rename(database.with_name("away"))
    assert browser.get("/").status == 503
    wait_for(lambda: served_at(house.workplace.settings.web_lock) is None, often_s=0.05)
    database.with_name("away").rename(database)


# Where it listens


def test_it_listens_on_this_machine_alone(house: House) -> None:
    assert WebSettings().is_loopback
    with socket.create_connection(("127.0.0.1", house.port), 5):
        pass
    own = socket.gethostbyname(socket.gethostname())
    if not own.startswith("127."):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((own, house.port), 5)


def test_two_workplaces_beside_each_other_do_not_log_each_other_out(
    house: House, own_house: Callable[..., House]
) -> None:
    one, other = house.logged_in(), own_house().logged_in()
    both = f"{one.cookie}; {other.cookie}"
    assert Browser(one.port, cookie=both).get("/").status == 200
    assert Browser(other.port, cookie=both).get("/").status == 200


def test_one_page_is_served_at_a_time(house: House) -> None:
    with pytest.raises(WorkerBusy, match=str(house.port)):
        serve(house.workplace, WebSettings(), 0, lambda _: None)


def raw(house: House, content: bytes) -> bytes:
    """What is answered to these bytes."""
    with socket.create_connection(("127.0.0.1", house.port), 10) as connection:
        connection.sendall(content)
        received = b""
        try:
            while chunk := connection.recv(65_536):
                received += chunk
                if b"\r\n\r\n" in received:
                    break
        except ConnectionResetError:
            pass
    return received

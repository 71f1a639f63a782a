"""Who may see the page: one-time codes that `artbot review --web` gives out, and the sessions that they open.

A code goes from one process to another as a file that is named by its hash: whoever removes it has used it, and
nobody else can. Codes and session ids are 256 random bits; the disk holds their hashes alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock

from artbot.files import write_atomically

CODE_S = 900.0
"""A code is good for so long."""
IDLE_S = 7 * 86_400.0
"""A session that nobody used for so long has ended."""
LONGEST_S = 30 * 86_400.0
"""So has every session after this."""
MOST_WRONG, WRONG_WITHIN_S = 10, 60.0
"""After so many wrong codes within that time none is looked at until it is over."""
_NOTED_EVERY_S = 300.0
"""When a session was last used is written down after at most this."""
_NUM_BYTES = 32


@dataclass(frozen=True)
class Session:
    """Somebody who was let in."""

    by: str
    """Who asked for the code."""
    began_s: float
    used_s: float
    is_keys_off: bool | None = None
    """Of the single keys in that browser; None: as artbot.toml has it."""
    id_hash: str = ""
    csrf: str = ""
    """To be given back with every act; known only to who knows the id."""

    def is_over(self, now_s: float) -> bool:
        return now_s - self.used_s > IDLE_S or now_s - self.began_s > LONGEST_S


class Throttled(Exception):
    """Too many wrong codes; `wait_s` until the next is looked at."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong codes: try again in {wait_s:.0f} seconds")
        self.wait_s = wait_s


def give_code(folder: Path, by: str) -> str:
    """A code that lets `by` in, once, within a quarter of an hour. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear_up(folder)
    code = secrets.token_urlsafe(_NUM_BYTES)
    content = json.dumps({"by": by, "until_s": time.time() + CODE_S})
    write_atomically(_file_of(folder, code), content.encode(), mode=0o600)
    return code


def _clear_up(folder: Path) -> None:
    for path in folder.glob("code-*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > CODE_S:
                path.unlink()


def _file_of(folder: Path, code: str) -> Path:
    return folder / f"code-{_hash(code)}"


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass
class Logins:
    """The sessions of one page. They outlive the process that serves it."""

    folder: Path
    _sessions: dict[str, Session] = field(default_factory=dict)
    """By the hash of their id."""
    _notices: dict[str, str] = field(default_factory=dict)
    _wrong: deque[float] = field(default_factory=deque)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        with suppress(OSError, ValueError, TypeError):  # nobody is logged in then
            kept = json.loads(self._file.read_text("utf-8"))
            self._sessions = {each["id_hash"]: Session(**each) for each in kept}

    def log_in(self, code: str) -> tuple[str, Session] | None:
        """A new session's id and the session; None for a code that is none, was used, or is too old.

        Raises Throttled.
        """
        now_s = time.time()
        with self._lock:
            while self._wrong and now_s - self._wrong[0] > WRONG_WITHIN_S:
                self._wrong.popleft()
            if len(self._wrong) >= MOST_WRONG:
                raise Throttled(WRONG_WITHIN_S - (now_s - self._wrong[0]))
            if (by := self._used(code, now_s)) is None:
                self._wrong.append(now_s)
                return None
            session_id = secrets.token_urlsafe(_NUM_BYTES)
            session = Session(by, now_s, now_s, id_hash=_hash(session_id))
            self._sessions[session.id_hash] = session
            self._keep(now_s)
        return session_id, _with_csrf(session, session_id)

    def find(self, session_id: str) -> Session | None:
        """The session of that id, if it goes on."""
        now_s = time.time()
        with self._lock:
            session = self._sessions.get(_hash(session_id))
            if session is None or session.is_over(now_s):
                return None
            if now_s - session.used_s > _NOTED_EVERY_S:
                session = self._sessions[session.id_hash] = replace(session, used_s=now_s)
                self._keep(now_s)
        return _with_csrf(session, session_id)

    def log_out(self, session: Session) -> None:
        with self._lock:
            self._sessions.pop(session.id_hash, None)
            self._notices.pop(session.id_hash, None)
            self._keep(time.time())

    def switch_keys(self, session: Session, is_off: bool) -> None:
        with self._lock:
            if (kept := self._sessions.get(session.id_hash)) is not None:
                self._sessions[session.id_hash] = replace(kept, is_keys_off=is_off)
                self._keep(time.time())

    def tell(self, session: Session, notice: str) -> None:
        """To be shown on the next page."""
        self._notices[session.id_hash] = notice

    def take_notice(self, session: Session) -> str:
        return self._notices.pop(session.id_hash, "")

    def _used(self, code: str, now_s: float) -> str | None:
        """Whom the code lets in; it is used up."""
        path = _file_of(self.folder, code)
        try:
            told = json.loads(path.read_text("utf-8"))
            path.unlink()  # of two at once, one gets FileNotFoundError
            return str(told["by"]) if now_s <= told["until_s"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def _file(self) -> Path:
        return self.folder / "sessions.json"

    def _keep(self, now_s: float) -> None:
        """Write down who is in. A disk that takes nothing ends no session."""
        self._sessions = {h: s for h, s in self._sessions.items() if not s.is_over(now_s)}
        content = json.dumps([asdict(session) for session in self._sessions.values()])
        with suppress(OSError):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._file, content.encode(), mode=0o600)


def _with_csrf(session: Session, session_id: str) -> Session:
    return replace(session, csrf=_hash(f"csrf {session_id}"))


def is_same(one: str, other: str) -> bool:
    """In a time that tells nothing."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))

"""Where the files of a site lie: in a folder, or in a bucket. Every file is replaced as a whole."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from artbot.errors import OutcomeUnknown, Rejected, Unavailable
from artbot.files import fsync_folder, make_folder, move_into_place

if TYPE_CHECKING:
    from artbot.publishing.buckets import Bucket

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "atom": "application/atom+xml; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "webp": "image/webp",
    "jpg": "image/jpeg",
}
FEED_JSON = "application/feed+json"
FOR_EVER = "public, max-age=31536000, immutable"
"""Of a file that is named by its content."""
ASK_AGAIN = "no-cache"
"""Kept by a browser, but used only after a question whether it is still so."""


class Place(Protocol):
    """Names are relative, with /. Every method raises DeliveryError."""

    @property
    def where(self) -> str:
        """For messages."""
        ...

    def listed(self, folder: str) -> dict[str, str]:
        """The files right in `folder` (empty, or ending with /): by name, what changes with their content."""
        ...

    def read(self, name: str) -> bytes | None:
        """None: there is no such file."""
        ...

    def write(
        self, name: str, content: bytes, is_too_late: Callable[[], bool] = lambda: False
    ) -> str:
        """Replace it; returns what `listed` will say of it. `is_too_late`: then nothing is written."""
        ...

    def write_picture(self, name: str, content: bytes) -> None:
        """A file named by its content: put there unless it is there."""
        ...

    def remove(self, name: str) -> None: ...

    def check(self) -> str:
        """In words who may write here, as far as can be told without leaving anything."""
        ...


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path
    alive: Callable[[], None] = lambda: None
    """Called after each change."""

    @property
    def where(self) -> str:
        return str(self.root)

    def listed(self, folder: str) -> dict[str, str]:
        try:
            return {
                folder + entry.name: _version(entry.stat())
                for entry in os.scandir(self.root / folder)
                if entry.is_file() and not entry.name.startswith(".")
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unusable(folder, error) from error

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(name, error) from error

    def write(
        self, name: str, content: bytes, is_too_late: Callable[[], bool] = lambda: False
    ) -> str:
        path = self.root / name
        try:
            _make_open_folder(path.parent)
            if is_too_late():
                raise Unavailable("not written: too much time had gone by since the claim")
            put_in_place(path, content)
            version = _version(path.stat())
        except OSError as error:
            failure = self._unusable(name, error)
            if _may_hold(path, content):
                raise OutcomeUnknown(str(failure)) from error
            raise failure from error
        self.alive()
        return version

    def write_picture(self, name: str, content: bytes) -> None:
        if self.read(name) != content:
            self.write(name, content)

    def remove(self, name: str) -> None:
        path = self.root / name
        try:
            path.unlink(missing_ok=True)
            fsync_folder(path.parent)
        except OSError as error:
            raise self._unusable(name, error) from error
        self.alive()

    def check(self) -> str:
        """Whether files, or the folder itself, can be made here is tried: permissions alone do not tell."""
        there = next(path for path in (self.root, *self.root.parents) if path.exists())
        try:
            with tempfile.TemporaryDirectory(prefix=".artbot-", dir=there):
                pass
            for folder in filter(Path.is_dir, (self.root / "works", self.root / "pictures")):
                with tempfile.NamedTemporaryFile(prefix=".artbot-", dir=folder):
                    pass
        except OSError as error:
            raise Rejected(
                f"artbot cannot write to {self.root} ({error.strerror or error}): {self._remedy}"
            ) from error
        is_new = "" if there == self.root else ", which it makes with the first work"
        return f"artbot may write to {self.root}{is_new}"

    @property
    def _remedy(self) -> str:
        return f"see that this user can write to {self.root}, or give the gallery another `path`"

    def _unusable(self, name: str, error: OSError) -> Unavailable:
        why = f"{self.root / name}: {error.strerror or error}"
        return Unavailable(f"{why}; {self._remedy}")


def put_in_place(path: Path, content: bytes) -> None:
    """Like artbot.files.write_atomically, but everybody may read it, whatever the umask: a web server is
    somebody else."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _make_open_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_open_folder(folder.parent)
        make_folder(folder)
        folder.chmod(0o755)


def _may_hold(path: Path, content: bytes) -> bool:
    """Whether it came to lie there, and what failed is only to make that last."""
    try:
        return path.read_bytes() == content
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _version(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns}.{status.st_size}"


@dataclass(frozen=True)
class InBucket:
    """A bucket, or a folder of one."""

    bucket: Bucket
    alive: Callable[[], None] = lambda: None
    """Called after each request."""

    @property
    def where(self) -> str:
        return f"{self.bucket.address}/{self.bucket.prefix}"

    def listed(self, folder: str) -> dict[str, str]:
        found = {item.key: item.etag for item in self.bucket.listed(folder)}
        self.alive()
        return found

    def read(self, name: str) -> bytes | None:
        content = self.bucket.get(name)
        self.alive()
        return content

    def write(
        self, name: str, content: bytes, is_too_late: Callable[[], bool] = lambda: False
    ) -> str:
        etag = self.bucket.put(name, content, media_type(name), ASK_AGAIN, is_too_late=is_too_late)
        self.alive()
        return etag

    def write_picture(self, name: str, content: bytes) -> None:
        self.bucket.put_new(name, content, media_type(name), FOR_EVER)
        self.alive()

    def remove(self, name: str) -> None:
        self.bucket.delete(name)
        self.alive()

    def check(self) -> str:
        return self.bucket.check()


def media_type(name: str) -> str:
    """What a web server should say that a file of the site is."""
    if name == "feed.json":
        return FEED_JSON
    return MEDIA_TYPES[PurePosixPath(name).suffix.removeprefix(".")]

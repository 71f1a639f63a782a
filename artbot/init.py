"""Make a workplace: a folder to run in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from zoneinfo import available_timezones

from artbot.config import CONFIG_FILE
from artbot.errors import ConfigError, UsageError
from artbot.files import write_atomically

FOLDERS = ("datasets", "checkpoints", "db", "works")
SECRET_FILE = Path("secrets/webhook")
EMPTY = " (empty)"
TEMPLATE = Path(__file__).with_name("artbot.example.toml")


def make_workplace(folder: Path) -> list[str]:
    """Fill `folder` (made if need be) with what it lacks; returns what was made, relative to it.

    Nothing that is there is changed. A database that was lost is replaced by an empty one, which a backup can
    still take the place of (`backup_of_lost`). Raises UsageError if it lacks nothing, or cannot be written.
    """
    try:
        made = [f"{name}/" for name in FOLDERS if not (folder / name).is_dir()]
        for name in made:
            (folder / name).mkdir(parents=True)
        secret = folder / SECRET_FILE
        if not secret.exists():
            # Imported late: signatures know the form of their secrets.
            from artbot.publishing.signatures import add_secret

            secret.parent.mkdir(mode=0o700, exist_ok=True)
            add_secret(secret, "v1")
            made.append(str(SECRET_FILE))
        config = folder / CONFIG_FILE
        if not config.exists():
            text = TEMPLATE.read_text("utf-8").replace("@TIMEZONE@", local_timezone())
            write_atomically(config, text.encode())
            made.append(CONFIG_FILE)
        elif anew := _begin_anew(folder):
            made.append(f"{anew}{EMPTY}")
    except OSError as error:
        raise UsageError(
            f"cannot make a workplace in {folder}: {error.strerror} ({error.filename})."
        ) from error
    if not made:
        raise UsageError(f"{folder} is a workplace already and lacks nothing; nothing was changed.")
    return made


def backup_of_lost(folder: Path, made: Sequence[str]) -> Path | None:
    """The newest backup of the database in whose place make_workplace has just made an empty one, if that is
    what happened."""
    if not any(thing.endswith(EMPTY) for thing in made):
        return None
    from artbot.upkeep.backup import newest_backup
    from artbot.workplace import open_workplace

    workplace = open_workplace(folder)
    newest = newest_backup(workplace.settings.backups, workplace.clock())
    return newest.path if newest else None


def _begin_anew(folder: Path) -> Path | None:
    """The empty database that was made in the place of a lost one, if one was."""
    from artbot.workplace import open_workplace

    try:
        return open_workplace(folder).begin_anew()
    except ConfigError:  # every other command tells of it, and nobody knows where the database is
        return None


def local_timezone() -> str:
    """The machine's IANA zone, `UTC` if it does not say."""
    named = os.environ.get("TZ", "").removeprefix(":")
    try:
        linked = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")[2]
    except OSError:
        linked = ""
    try:
        written = Path("/etc/timezone").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        written = ""
    known = available_timezones()
    return next((zone for zone in (named, linked, written) if zone in known), "UTC")

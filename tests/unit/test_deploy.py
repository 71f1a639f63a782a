"""The unit and the container file start what exists, where artbot looks, and stop as it stops."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from artbot.config import WORKPLACE_VARIABLE
from artbot.errors import ConfigError, UsageError
from tests.conftest import ARTBOT, CHECKOUT

UNIT = CHECKOUT / "deploy/systemd/artbot.service"
CONTAINERFILE = CHECKOUT / "deploy/container/Containerfile"
README = (CHECKOUT / "deploy/README.md").read_text("utf-8")
COMMANDS_AS_ARTBOT = re.findall(r"sudo -u artbot (?:\S+=\S+ )?artbot .*", README)
TAR = " ".join(README.replace("\\\n", " ").split())
"""Every command on one line."""


def test_the_unit_does_not_restart_what_a_restart_cannot_mend() -> None:
    text = UNIT.read_text()
    codes = f"{UsageError.exit_code} {ConfigError.exit_code}"
    assert f"RestartPreventExitStatus={codes}\n" in text
    assert re.search(r"^ExecStart=\S+/artbot daemon$", text, re.M)
    assert "KillSignal=SIGTERM" in text


def test_the_daemon_is_never_given_up_for_good() -> None:
    """A database server that came ten minutes after it must not leave the bot down for weeks."""
    lines = UNIT.read_text().splitlines()
    assert "StartLimitIntervalSec=0" in lines
    assert not [line for line in lines if line.startswith("StartLimitBurst")]
    assert "Restart=on-failure" in lines
    compose = (CHECKOUT / "deploy/container/compose.yaml").read_text()
    assert "restart: unless-stopped" in compose


@pytest.mark.parametrize("line", COMMANDS_AS_ARTBOT)
def test_a_command_typed_for_the_service_names_its_workplace(line: str) -> None:
    """The administrator stands in the checkout, where it would be another one or none."""
    assert "artbot --workplace /var/lib/artbot" in line or "artbot init /var/lib/artbot" in line


def test_an_archive_of_the_folder_holds_no_half_database_and_no_mark(tmp_path: Path) -> None:
    """Unpacked, a journal would be played into the restored database, and a mark of then notices nothing."""
    workplace = tmp_path / "workplace"
    wanted = {"artbot.toml", "db/backups/artbot-1.sqlite3", "works/a/a-01.png", "checkpoints/a/x"}
    unwanted = {
        f"db/{name}" for name in ("artbot.sqlite3", "artbot.sqlite3-journal", "artbot.sqlite3.turn")
    } | {"works/artbot.mark", "works/.artbot.mark.3.tmp"}
    for name in (*wanted, *unwanted):
        path = workplace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    commands = re.findall(r"tar --create (.*?) (?:--directory|artbot\.toml)", TAR)
    assert len(commands) == 2
    for options in re.findall(r"(?:--exclude \S+ ?)+", TAR):
        archive = tmp_path / "archive.tar"
        words = shlex.split(options)
        subprocess.run(
            [
                *("tar", "--create", "--file", archive, "--directory", workplace, *words),
                *("artbot.toml", "db", "works", "checkpoints"),
            ],
            check=True,
        )
        listed = subprocess.run(
            ["tar", "--list", "--file", archive], capture_output=True, text=True
        )
        assert {name for name in listed.stdout.split() if not name.endswith("/")} == wanted


@pytest.mark.parametrize("path", [UNIT, CONTAINERFILE, CHECKOUT / "deploy/artbot.env.example"])
def test_the_workplace_is_named_by_the_variable_artbot_reads(path: Path) -> None:
    assert f"{WORKPLACE_VARIABLE}=" in path.read_text()


def test_the_container_copies_what_there_is_and_nothing_of_a_workplace() -> None:
    sources = set()
    for line in CONTAINERFILE.read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            sources |= set(line.split()[1:-1])
    assert {"artbot", "trainers", "db", "pyproject.toml"} <= sources
    for source in sources:
        assert (CHECKOUT / source).exists(), source
    assert not sources & {"secrets", "works", "datasets", "runs", "checkpoints", "."}


def test_systemd_finds_no_fault_in_the_unit_and_little_to_attack(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "artbot.service"  # with a program that exists here
    text = UNIT.read_text().replace("/opt/artbot/venv/bin/artbot", str(ARTBOT))
    version = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True)
    if int(version.stdout.split()[1]) < 254:  # it would only say that it does not know these yet
        text = re.sub(r"^Restart(Steps|MaxDelaySec)=.*\n", "", text, flags=re.M)
    unit.write_text(text)
    verify = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "artbot.service" not in verify.stderr, verify.stderr
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit]
    exposure = subprocess.run(security, capture_output=True, text=True)
    if "Unknown" in exposure.stderr or "unrecognized" in exposure.stderr:
        pytest.skip(f"this systemd-analyze is too old: {exposure.stderr.strip()}")
    assert exposure.returncode == 0, exposure.stdout[-500:]

"""The unit and the container file start what exists, where artbot looks, and stop as it stops."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from artbot.config import WORKPLACE_VARIABLE
from artbot.errors import ConfigError, UsageError
from tests.conftest import ARTBOT, CHECKOUT

UNIT = CHECKOUT / "deploy/systemd/artbot.service"
CONTAINERFILE = CHECKOUT / "deploy/container/Containerfile"


def test_the_unit_does_not_restart_what_a_restart_cannot_mend() -> None:
    text = UNIT.read_text()
    codes = f"{UsageError.exit_code} {ConfigError.exit_code}"
    assert f"RestartPreventExitStatus={codes}\n" in text
    assert re.search(r"^ExecStart=\S+/artbot daemon$", text, re.M)
    assert "KillSignal=SIGTERM" in text


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
    unit.write_text(UNIT.read_text().replace("/opt/artbot/venv/bin/artbot", str(ARTBOT)))
    verify = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert "artbot.service" not in verify.stderr, verify.stderr
    security = ["systemd-analyze", "security", "--offline=true", "--threshold=15", unit]
    exposure = subprocess.run(security, capture_output=True, text=True)
    if "Unknown" in exposure.stderr or "unrecognized" in exposure.stderr:
        pytest.skip(f"this systemd-analyze is too old: {exposure.stderr.strip()}")
    assert exposure.returncode == 0, exposure.stdout[-500:]

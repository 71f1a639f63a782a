"""The documents say what is so: commands and options exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from artbot.cli.main import cli
from tests.conftest import CHECKOUT
from tests.unit.service.kit import a_work

DOCUMENTS = sorted(
    path
    for path in CHECKOUT.rglob("*.md")
    if not set(path.relative_to(CHECKOUT).parts) & {".venv", "demo", "works", ".git", "datasets"}
)
NAMES = [str(path.relative_to(CHECKOUT)) for path in DOCUMENTS]


def commands_in(path: Path) -> Iterator[str]:
    """Every `artbot …` in code, block or inline."""
    language = None
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("```"):
            language = None if language is not None else line[3:]
        elif language is None:
            yield from re.findall(r"`(artbot [a-z][^`]*)`", line)
        elif language in ("sh", "console", ""):
            found = re.match(r"(?:\$ |sudo -u artbot |dc .*? artbot )?(artbot [a-z-].*)", line)
            if found:
                yield found.group(1).split("#")[0].strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_command_in_the_documents_exists_with_its_options(document: Path) -> None:
    context = click.Context(cli)
    for text in commands_in(document):
        words = [
            word
            for word in shlex.split(text.replace("…", " ").replace("[", " ").replace("]", " "))[1:]
            if word not in {"/", "|"}
        ]
        while words and words[0].startswith("--"):  # options of artbot itself
            assert words[0] in {option for p in cli.params for option in p.opts}, text
            words = words[2:]
        command = cli.get_command(context, words[0])
        assert command is not None, f"{document.name}: {text}"
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.get_command(context, words[1])
            assert command is not None, f"{document.name}: {text}"
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in known, f"{document.name}: {text}: {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_link_in_the_documents_leads_to_something_in_the_repository(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_lists_every_command() -> None:
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    for name in cli.list_commands(click.Context(cli)):
        assert f"`artbot {name}" in readme, name


def test_the_readme_begins_with_the_two_commands_that_do_all_the_set_up() -> None:
    first_screen = (CHECKOUT / "README.md").read_text("utf-8").splitlines()[:20]
    for command in ("make demo", "make test"):
        assert any(line.startswith(command) for line in first_screen)


def test_every_word_of_the_glossary_stands_there_once() -> None:
    lines = (CHECKOUT / "docs/glossary.md").read_text("utf-8").splitlines()
    words = [line.split("|")[1].strip() for line in lines if line.startswith("| ")][1:]
    assert len(words) > 15
    assert len(words) == len(set(words))


def test_the_channel_in_the_documents_is_a_whole_channel(tmp_path: Path) -> None:
    """Taken from the page, put where it says, used as artbot uses one."""
    import hashlib
    import sys
    import types
    from datetime import UTC, datetime

    import artbot.publishing.channels as channels
    from artbot.config import load_settings

    page = (CHECKOUT / "docs/architecture.md").read_text("utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.S)
    assert code is not None
    imports = (
        "from datetime import datetime\n"
        "from pathlib import Path\n"
        "from typing import Literal\nfrom artbot.config import ChannelSettings\n"
        "from artbot.errors import Unavailable\nfrom artbot.files import write_atomically\n"
        "from artbot.domain.delivery import FOR_EVER\n"
        "from artbot.publishing.channels import Channel, Parcel, Post, Receipt, Sender\n"
        "from artbot.publishing.work import Work\n"
    )
    module = types.ModuleType("folder_channel")
    sys.modules["folder_channel"] = module
    exec(imports + code.group(1), module.__dict__)

    (tmp_path / "artbot.toml").write_text('[channels.copy]\ntype = "folder"\npath = "out"\n')
    settings = load_settings(tmp_path, {"folder": module.FolderSettings})
    sender = module.CHANNEL.open(settings.channels["copy"], settings.root)
    work = a_work(b"a picture")
    parcel = channels.Parcel("msg_1", work, module.compose(settings.channels["copy"], work))
    (tmp_path / "out").mkdir()
    for _ in range(2):
        assert sender.commit(parcel, datetime.now(UTC)).detail == "written"
    [written] = (tmp_path / "out").iterdir()
    assert written.read_bytes() == work.picture.content
    assert written.stem == hashlib.sha256(b"a picture").hexdigest()


def test_the_states_are_drawn_from_the_code() -> None:
    from artbot.domain import MACHINES
    from artbot.domain.machine import draw

    drawn = (CHECKOUT / "docs/states.md").read_text("utf-8")
    assert drawn == draw(MACHINES), "write it anew: make docs"

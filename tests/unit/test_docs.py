"""The documents say what is so: commands and options exist, links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest

from artbot.cli.main import cli
from artbot.config import Settings
from tests.conftest import CHECKOUT
from tests.contract.peers import Peer
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
        if isinstance(command, click.Group) and len(words) > 1 and words[1][0] != "-":
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


@pytest.fixture
def webdav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """The channel of docs/channels/your-own.md and its peer, taken from the page and put where it says."""
    import artbot.publishing.channels as channels
    import tests.contract.peers as peers

    page = (CHECKOUT / "docs/channels/your-own.md").read_text("utf-8")
    blocks = re.findall(r"As `(\S+)`:\n\n```python\n(.*?)```", page, re.S)
    assert [where for where, _ in blocks] == [
        "artbot/publishing/channels/webdav.py",
        "tests/contract/peers/webdav.py",
    ]
    for package, (where, code) in zip((channels, peers), blocks, strict=True):
        file = tmp_path / "put" / where
        file.parent.mkdir(parents=True)
        file.write_text(code, "utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
        monkeypatch.delitem(sys.modules, f"{package.__name__}.webdav", raising=False)
    (found,) = (peer for peer in peers.peers() if peer.kind == "webdav")
    return found


def test_the_channel_in_the_documents_keeps_the_contract(webdav: Peer, tmp_path: Path) -> None:
    """Shown once, proved without a trace, and repeated when an answer was lost. Its code is on the page, which
    says how to run the rest."""
    from tests.contract import test_channels as contract
    from tests.contract.peers.proxy import Fault

    with webdav.run(tmp_path) as peer, contract.staged(webdav, peer, tmp_path) as stage:
        contract.test_a_work_is_shown_once_as_it_was_composed(stage)
        stage.proxy.requests.clear()
        contract.test_the_public_act_is_one_request(stage)
        contract.test_its_credentials_are_proved_without_showing_anything(stage)
        stage.proxy.requests.clear()
        contract.test_whatever_becomes_of_one_request_the_work_is_shown_once(
            stage, Fault.DROP_ANSWER
        )


def test_the_channel_in_the_documents_says_what_is_wrong(webdav: Peer, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from artbot.config import load_settings
    from artbot.errors import ConfigError, Rejected
    from artbot.publishing.channels import open_channel, outlets, settings_models

    def load(table: dict[str, object]) -> Settings:
        lines = (f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        (tmp_path / "artbot.toml").write_text("[channels.cloud]\n" + "".join(lines))
        return load_settings(tmp_path, settings_models())

    with webdav.run(tmp_path) as peer:
        table = peer.table(peer.url, tmp_path)
        settings = load(table)
        (tmp_path / "secret").write_text("roses")
        with pytest.raises(Rejected, match="answered 401") as refused:
            open_channel(settings, "cloud").check(datetime.now(UTC))
        assert refused.value.status == 401
        with pytest.raises(Rejected, match="no place for a content warning"):
            outlets(settings)["cloud"].compose(replace(a_work(), warning="Flashing colours"))
    with pytest.raises(ConfigError, match="is not encrypted, and the password would be read"):
        load({**table, "url": "http://cloud.example.org/art", "allow_private": False})


def test_the_states_are_drawn_from_the_code() -> None:
    from artbot.domain import MACHINES
    from artbot.domain.machine import draw

    drawn = (CHECKOUT / "docs/states.md").read_text("utf-8")
    assert drawn == draw(MACHINES), "write it anew: make docs"

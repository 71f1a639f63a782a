"""`artbot channels list | test | preview | secret | pause | resume`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from artbot.cli.common import (
    ID_HELP,
    WORDS,
    id_argument,
    json_option,
    print_json,
    say,
    the_one,
    this_actor,
    with_workplace,
)
from artbot.cli.deliveries import say_what_helps
from artbot.domain.candidate import CandidateState
from artbot.domain.delivery import WAITING, counted
from artbot.domain.text import plain
from artbot.errors import ConfigError, NoSecret, NotAllowed, StorageFailed, UsageError
from artbot.telling import at_words, local_time, zone_named, zone_words
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.publishing.channels.webhook import WebhookSettings
    from artbot.publishing.signatures import Scheme, Secret


_F = TypeVar("_F", bound=Callable[..., Any])


@click.group("channels")
def channels_command() -> None:
    """Channels: where approved works go."""


@channels_command.command("list")
@json_option
@with_workplace
def list_command(workplace: Workplace, as_json: bool) -> None:
    """Every channel of artbot.toml, and how it stands."""
    from artbot.publishing.reading import channel_standings
    from artbot.upkeep.needs import missing_secrets

    now = workplace.clock()
    standings = channel_standings(workplace.database)
    rows: list[dict[str, Any]] = []
    for name, settings in workplace.settings.channels.items():
        standing = standings.get(name)
        is_resting = bool(standing and standing.rests_until and standing.rests_until > now)
        rows.append(
            {
                "name": name,
                "type": settings.type,
                "slots": list(settings.slots),
                "timezone": _zone_of_slots(workplace, name),
                "state": standing.state if standing else "active",
                "reason": standing.reason if standing else None,
                "since": standing.changed_at if standing and standing.reason else None,
                "num_failures": standing.num_failures if standing else 0,
                "rests_until": standing.rests_until if standing and is_resting else None,
            }
        )
    if as_json:
        print_json(rows)
        return
    if not rows:
        say("no channels: add a [channels.NAME] table to artbot.toml")
    for row in rows:
        words = row["state"]
        if row["reason"]:
            words += f" since {local_time(row['since'], now)}: {row['reason']}"
        elif row["rests_until"]:
            words += (
                f", {row['num_failures']} failures in a row: "
                f"tries again at {local_time(row['rests_until'], now)}"
            )
        if row["state"] == "active":
            slots = ", ".join(row["slots"])
            words += f"; sends {slots} ({row['timezone']})" if slots else "; sends at once"
        click.echo(f"{row['name']:16}  {row['type']:10}  {words}")
    for row in rows:
        if row["state"] != "active":
            say(f"when that is mended: artbot channels resume {row['name']}")
    for missing in missing_secrets(workplace, is_daemon_trusted=True):
        say(f"nothing can be sent there yet: {missing.what}; {missing.remedy}")


@channels_command.command("test")
@click.argument("names", metavar="CHANNEL…", nargs=-1)
@json_option
@with_workplace
def test_command(workplace: Workplace, names: tuple[str, ...], as_json: bool) -> None:
    """Prove a channel's credentials (all channels', if none is named) without showing anything to anybody.

    A webhook is sent a `test` event, which its receiver may ignore; elsewhere artbot only asks who it is. Every channel
    is tried; the exit code is 1 if one of them failed, whatever the reason.
    """
    from artbot.errors import DeliveryError
    from artbot.publishing.channels import open_channel

    for name in names:
        check_known(workplace, name)
    rows: list[dict[str, Any]] = []
    for name in names or workplace.settings.channels:
        try:
            sender = open_channel(workplace.settings, name)
            said = sender.test(workplace.clock())
            remarks = sender.remarks(workplace.clock())
        except (DeliveryError, ConfigError) as error:
            is_ok, said, remarks = False, str(error), []
        else:
            is_ok = True
        rows.append({"name": name, "is_ok": is_ok, "detail": said, "remarks": remarks})
        if not as_json:  # at once: a receiver that does not answer is waited for
            click.echo(f"{name:16}  {'ok' if is_ok else 'failed'}: {plain(said)}")
            for remark in remarks:
                click.echo(f"{'':16}  note: {plain(remark)}")
    if as_json:
        print_json(rows)
    if not workplace.settings.channels:
        say("no channels: add a [channels.NAME] table to artbot.toml")
    if not all(row["is_ok"] for row in rows):
        raise SystemExit(1)


def _words_options(command: _F) -> _F:
    """The words of an approval."""
    for name in reversed(WORDS):
        told = f"With this {name}.  [default: the one it has, or the draft]"
        command = click.option(f"--{name}", help=told)(command)
    return command


@channels_command.command("preview", epilog=ID_HELP)
@id_argument
@_words_options
@click.option(
    "--channel", "names", multiple=True, metavar="CHANNEL", help="Only this one; again for more."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Put each channel's picture, and the event that a webhook gets, into this folder, to look at.",
)
@json_option
@with_workplace
def preview_command(
    workplace: Workplace,
    typed: tuple[str, ...],
    names: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    **words: str | None,
) -> None:
    """Show exactly what each channel would get of a work: its words, its picture. Nothing is sent, and nothing
    decided: with --alt, --title and so on it is shown as `artbot approve` with the same options would have it.

    The exit code is 1 if one of them could not take it like this.
    """
    from artbot.publishing.channels import outlets
    from artbot.publishing.previews import preview
    from artbot.publishing.work import approved_work
    from artbot.review.decisions import Words, as_approved

    for name in names:
        check_known(workplace, name)
    settings = workplace.settings
    number = the_one(workplace, typed)
    candidate = as_approved(workplace.review, number, Words(**words))
    is_approved = candidate.state == CandidateState.APPROVED
    if is_approved and any(text is not None for text in words.values()):
        raise NotAllowed(
            f"{number} ({candidate.name}) is approved, and goes out with the words it has. To change them, take "
            f"the approval back first: artbot undo {number}"
        )
    if candidate.image_sha256 is None:
        raise NotAllowed(f"{number} ({candidate.name}) has no picture: it is {candidate.state}.")
    work = approved_work(candidate, settings.works)
    found = preview(work, outlets(settings), names or tuple(settings.channels), is_approved)
    if out is not None:
        found = [one.written(out) for one in found]
    if as_json:
        print_json([one.facts() for one in found])
    else:
        for one in found:
            click.echo(one.describe())
    if not found:
        say("no channels: add a [channels.NAME] table to artbot.toml")
    if any(one.refusal for one in found):
        raise SystemExit(1)


@channels_command.command("secret")
@click.argument("name", metavar="CHANNEL")
@click.option(
    "--add",
    "scheme",
    type=click.Choice(["v1", "v1a"]),
    help="Make another: v1, which the receiver has as well; v1a, of which it has the public key.",
)
@json_option
@with_workplace
def secret_command(workplace: Workplace, name: str, scheme: Scheme | None, as_json: bool) -> None:
    """What a webhook signs with. Shows public keys and what tells secrets apart, but no secret.

    Each request carries a signature by every secret there is. To change one: --add another, give it to the
    receiver (of v1a the public key), take the old one out of the file.
    """
    from artbot.publishing.channels.webhook import WebhookSettings
    from artbot.publishing.signatures import numbered_secrets

    check_known(workplace, name)
    settings, root = workplace.settings.channels[name], workplace.settings.root
    if not isinstance(settings, WebhookSettings):
        raise UsageError(
            f"{name} is of type {settings.type}, which signs nothing: its secret is given to you there"
        )
    if scheme is not None:
        _add_secret(settings, root, scheme)
    place = settings.secret_place(root)
    try:
        found = numbered_secrets(settings.read_lines(root), place)
    except NoSecret as error:
        raise NoSecret(error.what, settings.to_have_a_secret(name, root)) from error
    new = found[-1][0] if scheme is not None else None
    if as_json:
        print_json({"name": name, "place": place, "secrets": _facts_of_secrets(found, new)})
    else:
        _show_secrets(found, new, place)


def _facts_of_secrets(found: list[tuple[int, Secret]], new: int | None) -> list[dict[str, Any]]:
    from artbot.publishing.signatures import PrivateKey

    return [
        {
            "line": number,
            "scheme": secret.scheme,
            "fingerprint": None if isinstance(secret, PrivateKey) else secret.fingerprint,
            "public_key": secret.public_key if isinstance(secret, PrivateKey) else None,
            "is_new": number == new,
        }
        for number, secret in found
    ]


def _show_secrets(found: list[tuple[int, Secret]], new: int | None, place: str) -> None:
    for row in _facts_of_secrets(found, new):
        words = row["public_key"] or f"fingerprint {row['fingerprint']}"
        is_new = "  new" if row["is_new"] else ""
        click.echo(f"line {row['line']}  {row['scheme']:3}  {words}{is_new}")
    say(f"from {place}")
    first: dict[Secret, int] = {}
    for number, secret in found:
        if first.setdefault(secret, number) != number:
            say(f"lines {first[secret]} and {number} are the same: one of them is enough")
    if new is not None:
        given = (
            "its public key, which is no secret"
            if found[-1][1].scheme == "v1a"
            else f"that line as it is, on a way that nobody else reads: tail -n 1 {place}"
        )
        say(f"line {new} is new: give the receiver {given}")
    if len(found) > 1:
        say(
            "each request is signed with all of them: when the receiver has the new one, take out the old"
        )


def _add_secret(settings: WebhookSettings, root: Path, scheme: Scheme) -> None:
    from artbot.publishing.signatures import PRIVATE_PREFIX, SHARED_PREFIX, add_secret

    if (copy := settings.handed_over_as(root)) is not None:
        prefix = SHARED_PREFIX if scheme == "v1" else PRIVATE_PREFIX
        raise UsageError(
            f"the secret comes from {copy}, which is not artbot's to change. This makes another line for it: "
            f'printf "{prefix}%s\\n" "$(head -c 32 /dev/urandom | base64)"'
        )
    assert settings.secret_file is not None
    path = root / settings.secret_file.expanduser()
    try:
        add_secret(path, scheme)
    except OSError as error:
        raise StorageFailed(f"cannot write {error.filename or path}: {error.strerror}.") from error


@channels_command.command("pause")
@click.argument("name", metavar="CHANNEL")
@click.option("--reason", help="Why, for the log.")
@with_workplace
def pause_command(workplace: Workplace, name: str, reason: str | None) -> None:
    """Send nothing through a channel until it is resumed; what is approved waits."""
    from artbot.publishing.interventions import pause_channel

    check_known(workplace, name)
    state = pause_channel(workplace.database, name, this_actor(reason), workplace.clock())
    say(f"{name} is {state}; on again with: artbot channels resume {name}")


@channels_command.command("resume")
@click.argument("name", metavar="CHANNEL")
@click.option("--reason", help="Why, for the log.")
@with_workplace
def resume_command(workplace: Workplace, name: str, reason: str | None) -> None:
    """Open a paused, disabled or resting channel again, and queue what it held.

    Through a channel with slots what it held takes the next free ones; of what missed its time meanwhile one work
    goes out now, and the others get new slots. What failed for good does not go by itself.
    """
    from artbot.publishing.channels import timetables
    from artbot.publishing.interventions import resume_channel

    check_known(workplace, name)
    slots = timetables(workplace.settings)
    resume_channel(workplace.database, name, this_actor(reason), workplace.clock(), slots)
    _say_what_goes_and_what_does_not(workplace, name)
    _say_of_its_secret(workplace, name)


def _say_what_goes_and_what_does_not(workplace: Workplace, name: str) -> None:
    """Of all that is for the channel and not done, whether it held it or not."""
    from artbot.publishing.reading import unsettled_of

    now, zone = workplace.clock(), zone_named(_zone_of_slots(workplace, name))
    rows = unsettled_of(workplace.database, name)
    going = [row for row in rows if row.state in WAITING and not row.on_hold]
    later = sorted(row.next_at for row in going if row.next_at > now)
    num_due = len(going) - len(later)
    words = [f"{counted(num_due)} {'is' if num_due == 1 else 'are'} due now"] if num_due else []
    if later:
        told = at_words(later[0], now, zone) + zone_words(later[0], zone)
        when = f"goes out {told}" if len(later) == 1 else f"wait, the first goes out {told}"
        also = f"{len(later)} more" if num_due else counted(len(later))
        words.append(f"{also} {when}: artbot queue")
    say(f"{name} is open; {'; '.join(words) or 'nothing waits for it'}")
    if on_hold := [str(row.id) for row in rows if row.state in WAITING and row.on_hold]:
        say(f"on hold until you let go: artbot queue release {' '.join(on_hold)}")
    say_what_helps(rows)


def _zone_of_slots(workplace: Workplace, name: str) -> str | None:
    settings = workplace.settings.channels[name]
    return settings.timezone if settings.slots else None


def _say_of_its_secret(workplace: Workplace, name: str) -> None:
    """Whoever resumes may just have mended it."""
    from artbot.config import SecretReference
    from artbot.publishing.channels import open_channel

    settings = workplace.settings.channels[name]
    if isinstance(settings, SecretReference) and (
        held := settings.handed_over_as(workplace.settings.root)
    ):
        if workplace.current_worker() is not None:
            say(
                f"a running daemon has its secret from {held}, as it was when the daemon began: "
                "if you changed it, restart the daemon"
            )
        return
    try:
        open_channel(workplace.settings, name)
    except ConfigError as error:
        say(f"nothing can be sent yet: {error}")


def check_known(workplace: Workplace, name: str) -> None:
    known = workplace.settings.channels
    if name not in known:
        listed = ", ".join(known) or "none; add a [channels.NAME] table to artbot.toml"
        raise UsageError(f"there is no channel {name!r}. Channels: {listed}.")

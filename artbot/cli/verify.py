"""`artbot verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from artbot.cli.common import (
    candidate_facts,
    json_option,
    print_json,
    with_workplace,
)
from artbot.domain.delivery import delivery_words
from artbot.domain.text import plain
from artbot.telling import local_time
from artbot.workplace import Workplace

if TYPE_CHECKING:
    from artbot.upkeep.verify import Verdict
    from db.models import Candidate


@click.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@with_workplace
def verify_command(workplace: Workplace, file: Path, as_json: bool) -> None:
    """Which work a published picture is, and how sure that is.

    It is compared with what was painted and with what the channels get of it. What the file says of
    itself is only where to look first: platforms remove it, and anybody can write it.

    Exit code 1 if it shows no work of this workplace, whatever it says.
    """
    from artbot.review.reading import get_candidate
    from artbot.upkeep.verify import verify

    verdict = verify(workplace, file)
    work = (
        get_candidate(workplace.database, verdict.candidate_id)
        if verdict.candidate_id is not None
        else None
    )
    if as_json:
        print_json(_facts(workplace, file, verdict, work))
    else:
        click.echo(f"{plain(str(file))}: {_sentence(verdict, work)}")
        if work is not None:
            _tell(workplace, work)
    if not verdict.shows_it:
        raise SystemExit(1)


def _facts(
    workplace: Workplace, file: Path, verdict: Verdict, work: Candidate | None
) -> dict[str, Any]:
    return {
        "file": str(file),
        "sha256": verdict.sha256,
        "shows_it": verdict.shows_it,
        "certainty": verdict.certainty,
        "says": verdict.says,
        "channels": list(verdict.channels),
        "size_px": verdict.size_px,
        "difference": verdict.difference,
        "also_like": list(verdict.also),
        "obstacle": verdict.obstacle,
        "work": None
        if work is None
        else {
            **candidate_facts(work, workplace),
            "deliveries": [
                {
                    "channel": delivery.channel,
                    "state": delivery.state,
                    "delivered_at": delivery.delivered_at,
                    "url": delivery.remote_url,
                }
                for delivery in work.deliveries
            ],
        },
    }


def _sentence(verdict: Verdict, work: Candidate | None) -> str:
    from artbot.upkeep.verify import Certainty

    if work is None:
        if verdict.says is None:
            return (
                "no work of this workplace, as far as can be seen, and it does not say what it is"
            )
        return (
            f"no work of this workplace; it says that it is {verdict.says}, which nobody here knows"
        )
    name = work.name
    other = f"; it says that it is {verdict.says}" if verdict.says not in (None, name) else ""
    whose = " and ".join(verdict.channels)
    gets = f"what {whose} gets of {name}"
    if verdict.size_px is not None:
        gets = f"what {whose} shows of {name} on its pages ({verdict.size_px} px)"
    match verdict.certainty:
        case Certainty.EXACT if whose:
            return f"to the byte {gets}"
        case Certainty.EXACT if verdict.sha256 == work.image_sha256:
            return f"to the byte the painted file of {name}{other}"
        case Certainty.EXACT:
            return f"to the byte the painted file of {name} with the words of its approval"
        case Certainty.SAME_PIXELS:
            return f"all pixels are those of {gets if whose else name}; the file was written anew{other}"
        case Certainty.ALIKE:
            also = f", and like {', '.join(verdict.also)}" if verdict.also else ""
            return (
                f"it looks like {name}{also} (difference {verdict.difference} of 255): probably that picture, "
                f"written anew{other}"
            )
        case Certainty.UNCHECKED:
            return f"it says that it is {name}, and nobody can compare them: {verdict.obstacle}"
    return f"it says that it is {name}, and shows another picture"


def _tell(workplace: Workplace, work: Candidate) -> None:
    from artbot.studio.family import descent_words

    now = workplace.clock()
    with workplace.database.read() as session:
        descent = descent_words(session, work)
    lines = [
        ("work", f"{work.id}, {work.state}"),
        ("title", work.title or ""),
        ("alt", work.alt or ""),
        ("generator", f"{work.checkpoint.name} (sha256 {work.checkpoint_sha256[:16]}…)"),
        ("seed", str(work.seed)),
        ("descent", descent),
        ("painted", local_time(work.rendered_at, now) if work.rendered_at else ""),
        ("approved", local_time(work.approved_at, now) if work.approved_at else ""),
    ]
    for name, value in lines:
        if value:
            click.echo(f"  {name:10} {plain(value)}")
    for delivery in work.deliveries:
        where = f", {delivery.remote_url}" if delivery.remote_url else ""
        click.echo(f"  to {delivery.channel}: {delivery_words(delivery.state)}{plain(where)}")

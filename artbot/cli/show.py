"""`artbot show`."""

from __future__ import annotations

import click

from artbot.cli.common import (
    ID_HELP,
    WORDS,
    candidate_facts,
    id_argument,
    json_option,
    print_json,
    the_one,
    with_workplace,
)
from artbot.domain.candidate import stars_words
from artbot.domain.delivery import WAITING
from artbot.telling import history_of, local_time, state_words
from artbot.workplace import Workplace


@click.command("show", epilog=ID_HELP)
@id_argument
@json_option
@with_workplace
def show_command(workplace: Workplace, typed: tuple[str, ...], as_json: bool) -> None:
    """What one candidate is: how it was painted, its words, what was decided, how each delivery stands.

    What happened to it step by step, with all that was done to its channels: artbot explain.
    """
    from artbot.review.reading import get_candidate
    from artbot.studio.family import children_of, descent_words

    candidate = get_candidate(workplace.database, the_one(workplace, typed))
    with workplace.database.read() as session:
        descent = descent_words(session, candidate)
        child_ids = [child.id for child in children_of(session, [candidate.id])]
    if as_json:
        print_json(
            {
                **candidate_facts(candidate, workplace),
                "child_ids": child_ids,
                "environment": candidate.environment,
                "error": candidate.error,
                "decisions": [
                    {
                        "at": d.at,
                        "was": d.was,
                        "now": d.now,
                        "by": d.by,
                        "via": d.via,
                        "undoes": d.undoes,
                        "stars": d.stars,
                    }
                    for d in candidate.decisions
                ],
                "deliveries": [
                    {
                        "id": d.id,
                        "channel": d.channel,
                        "state": d.state,
                        "delivery_key": d.delivery_key,
                        "next_at": d.next_at,
                        "on_hold": d.on_hold,
                        "delivered_at": d.delivered_at,
                        "remote_url": d.remote_url,
                        "last_error": d.last_error,
                        "attempts": [
                            {
                                "at": a.started_at,
                                "outcome": a.outcome,
                                "status": a.status,
                                "detail": a.detail,
                            }
                            for a in d.attempts
                        ],
                    }
                    for d in candidate.deliveries
                ],
            }
        )
        return

    now = workplace.clock()
    facts = candidate_facts(candidate, workplace)
    environment = candidate.environment or {}
    kin = [("descent", descent)] if descent else []
    if child_ids:
        listed = " ".join(map(str, child_ids))
        kin.append(("children", f"{listed} (artbot family {candidate.id})"))
    lines = [
        (
            "state",
            candidate.state + (f", {stars_words(candidate.stars)}" if candidate.stars else ""),
        ),
        ("file", facts["file"] or "not painted yet"),
        ("size", f"{candidate.width} x {candidate.height} px" if candidate.width else "-"),
        ("batch", candidate.batch.key),
        ("seed", candidate.seed),
        ("recipe", ", ".join(f"{k} {v}" for k, v in candidate.recipe.items() if k != "latent")),
        *kin,
        ("generator", f"{candidate.checkpoint.name} (sha256 {candidate.checkpoint_sha256[:16]}…)"),
        ("painted", local_time(candidate.rendered_at, now) if candidate.rendered_at else "-"),
        ("with", ", ".join(f"{k} {v}" for k, v in environment.items()) or "-"),
    ]
    lines += [(name, facts[name]) for name in WORDS if facts[name]]
    if candidate.error:
        lines.append(("error", candidate.error))
    click.echo(f"{candidate.id}  {candidate.name}")
    for name, value in lines:
        click.echo(f"  {name:10} {value}")
    for at, what in history_of(candidate.decisions, now):
        click.echo(f"  {at:>16}  {what}")
    for delivery in candidate.deliveries:
        due = (
            f", next try {local_time(delivery.next_at, now)}"
            if delivery.state in WAITING and not delivery.on_hold
            else ""
        )
        click.echo(
            f"  to {delivery.channel}: {state_words(delivery)}{due} (delivery {delivery.id}, {delivery.delivery_key})"
        )
        if delivery.remote_url:
            click.echo(f"  {'seen at':>16}  {delivery.remote_url}")
        for attempt in delivery.attempts:
            detail = f": {attempt.detail}" if attempt.detail else ""
            click.echo(
                f"  {local_time(attempt.started_at, now):>16}  {attempt.outcome or 'on the wire'}{detail}"
            )

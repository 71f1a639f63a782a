"""What several commands share: the workplace, output as JSON, who sits there, which candidate is meant."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from artbot.errors import UsageError

if TYPE_CHECKING:
    from artbot.errors import WorkerBusy
    from artbot.publishing.interventions import Actor
    from artbot.review.decisions import Author
    from artbot.workplace import Workplace
    from db.models import Candidate

_F = TypeVar("_F", bound=Callable[..., Any])

WORDS = ("title", "alt", "caption", "hashtags", "warning", "language")
"""What an approval freezes."""


def with_workplace(command: _F) -> Callable[..., Any]:
    """Pass the opened workplace as the first argument."""
    from functools import wraps

    @click.pass_context
    @wraps(command)
    def wrapper(context: click.Context, *args: Any, **kwargs: Any) -> Any:
        from artbot.workplace import open_workplace

        return command(open_workplace(context.find_root().obj), *args, **kwargs)

    return wrapper


def json_option(command: _F) -> _F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(
        command
    )


def print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=_jsonable, ensure_ascii=False))


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        from db.types import utc_text  # brings in sqlalchemy

        return utc_text(value)
    return str(value)


def say(text: str) -> None:
    """A message for the person, on standard error; data goes to standard output."""
    click.echo(text, err=True)


def busy_words(
    busy: WorkerBusy, by_daemon: str, by_another: str = "Try again when it has ended."
) -> str:
    """Who is at work, and what to do about it: that depends on whether it is the daemon."""
    is_daemon = str(busy).startswith("artbot daemon ")
    return f"{busy} {by_daemon if is_daemon else by_another}"


IDS_HELP = (
    "An ID is a number (12), a range (3-5), a name or the beginning of one; today:3, or 3 of today, is the third of "
    "the newest batch, and today all of it that is undecided."
)


ID_HELP = "An ID is a number (12), a name or the beginning of one, or today:3 (3 of today), the third of the newest batch."


def id_argument(command: _F) -> _F:
    """One candidate, as `typed`: some words, of which `the_one` makes its number."""
    return click.argument("typed", metavar="ID", nargs=-1, required=True)(command)


def the_one(workplace: Workplace, typed: Sequence[str]) -> int:
    """The candidate that is meant by what follows a command for one. Raises UsageError."""
    from artbot.review.reading import find_candidate, split_typed

    meant = split_typed(typed)
    if len(meant) > 1:
        raise UsageError(f"one at a time: {', '.join(meant)} are {len(meant)}.")
    return find_candidate(workplace.database, meant[0])


def this_author() -> Author:
    """Who sits at this terminal, as far as the machine knows."""
    from artbot.review.decisions import Author

    return Author(by=_this_user(), via="cli")


def this_actor(reason: str | None) -> Actor:
    """Likewise, for what is done to deliveries and channels."""
    from artbot.publishing.interventions import Actor

    return Actor(by=_this_user(), via="cli", reason=reason)


def _this_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container user without a name
        return "unknown"


def candidate_facts(candidate: Candidate, workplace: Workplace) -> dict[str, Any]:
    """One candidate for --json."""
    return {
        "id": candidate.id,
        "name": candidate.name,
        "state": candidate.state,
        "stars": candidate.stars,
        "batch": candidate.batch.key,
        "file": str(workplace.settings.works / candidate.path) if candidate.path else None,
        "seed": candidate.seed,
        "recipe": candidate.recipe,
        "parent_ids": [n for n in (candidate.parent_id, candidate.other_parent_id) if n],
        "checkpoint": {"name": candidate.checkpoint.name, "sha256": candidate.checkpoint_sha256},
        "image_sha256": candidate.image_sha256,
        "width": candidate.width,
        "height": candidate.height,
        "rendered_at": candidate.rendered_at,
        "approved_at": candidate.approved_at,
        **{name: getattr(candidate, name) for name in WORDS},
        "row_version": candidate.row_version,
    }

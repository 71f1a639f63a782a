"""`artbot`: the list of commands, each imported when it is called, and the way every error ends.

Exit codes: 0 done, 1 failed, 2 usage, 3 configuration, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import click

from artbot import __version__
from artbot.errors import ArtbotError, UsageError
from artbot.redaction import redact


@dataclass(frozen=True)
class _Entry:
    """Where a command lives and what it says about itself in the list."""

    module: str
    summary: str


SECTIONS: dict[str, dict[str, _Entry]] = {
    "Begin": {
        "init": _Entry("init", "Make a workplace: a folder to run in."),
        "status": _Entry("status", "What waits, what went out, what needs you."),
    },
    "Paint": {
        "train": _Entry("train", "Learn to paint from a folder of pictures."),
        "evaluate": _Entry("train", "Measure how good a trained generator is."),
        "timelapse": _Entry("train", "Film a run's grid as it learned."),
        "walk": _Entry("train", "Film a walk through what a generator can paint."),
        "sweep": _Entry("train", "Find good settings by trying many."),
        "checkpoints": _Entry("checkpoints", "List the trained generators."),
        "batch": _Entry("batch", "Make today's candidates now."),
        "reproduce": _Entry("reproduce", "Paint a work again and compare the pixels."),
    },
    "Choose": {
        "review": _Entry("review", "Choose: in the terminal, on a page (--web), or from a list."),
        "show": _Entry("show", "What one candidate is, and how it stands."),
        "approve": _Entry("decide", "Approve candidates: they will be published."),
        "reject": _Entry("decide", "Reject candidates; their files stay."),
        "later": _Entry("decide", "Put candidates off: decide another time."),
        "star": _Entry("decide", "Give candidates stars."),
        "undo": _Entry("decide", "Take back the last decision."),
        "redo": _Entry("decide", "Take back the last undo."),
        "vary": _Entry("children", "More like this: variations of a candidate."),
        "breed": _Entry("children", "Pictures between two candidates."),
        "family": _Entry("children", "Where a candidate comes from, and what came of it."),
    },
    "Publish": {
        "queue": _Entry("queue", "What goes out when; move, hold back, send now."),
        "publish": _Entry("publish", "Send what is due now."),
        "deliveries": _Entry("deliveries", "What goes where; retry, resolve, withdraw, replay."),
        "channels": _Entry("channels", "How the channels stand; pause and resume them."),
        "alerts": _Entry("alerts", "How artbot tells you that something wants attention."),
        "daemon": _Entry("daemon", "Do all of this on schedule, until stopped."),
    },
    "Look after": {
        "doctor": _Entry("doctor", "Check everything; say what helps where something is wrong."),
        "explain": _Entry("explain", "What happened to one work, step by step."),
        "verify": _Entry("verify", "Which work a published picture is, and how sure that is."),
        "db": _Entry("db", "Back up, restore and check the database."),
        "clock": _Entry("clock", "Whether the clock is believed; say that it is right."),
    },
}


class _LazyGroup(click.Group):
    """Knows its commands by name; imports one only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for entries in SECTIONS.values() for name in entries]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for entries in SECTIONS.values():
            if cmd_name in entries:
                module = importlib.import_module(f"artbot.cli.{entries[cmd_name].module}")
                command = getattr(module, f"{cmd_name}_command")
                assert isinstance(command, click.Command)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:  # click offers only commands it has imported
            known = self.list_commands(ctx)
            raise click.NoSuchCommand(error.command_name, possibilities=known, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, entries in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, entry.summary) for name, entry in entries.items()])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="artbot")
@click.option(
    "--workplace",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of artbot.toml.  [default: $ARTBOT_WORKPLACE, else here or above]",
)
@click.pass_context
def cli(context: click.Context, workplace: Path | None) -> None:
    """artbot learns to paint from your pictures, proposes a batch every day, publishes what you choose.

    \b
    A first day:
        artbot init studio && cd studio
        artbot train --dataset demo --size 64 --preset dcgan --width 32 --minutes 5
        artbot batch
        artbot review
        artbot approve 3
        artbot daemon
    """
    context.obj = workplace


def main() -> None:
    """Entry point of the console script."""
    sys.excepthook = _say_traceback
    threading.excepthook = lambda hook: _say_traceback(
        hook.exc_type, hook.exc_value, hook.exc_traceback
    )
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except ArtbotError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `artbot review --json | head`
        sys.stderr.close()
        sys.exit(1)
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        _say(f"{error.object!a} is no UTF-8 text. Type it in a terminal that speaks UTF-8.")
        sys.exit(UsageError.exit_code)
    except Exception as error:
        if (message := _known_failure(error)) is None:
            raise
        _say(message)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _known_failure(error: Exception) -> str | None:
    """The message for a failure of the machine rather than of artbot; None for our own bugs."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
    engine = sys.modules.get("db.engine")
    if engine and isinstance(error, engine.DatabaseUnusable):
        return f"{error}. This process ends; begin it again, and look with `artbot doctor`."
    sqlalchemy_errors = sys.modules.get("sqlalchemy.exc")
    if sqlalchemy_errors and isinstance(error, sqlalchemy_errors.DBAPIError):
        return (
            f"the database answered: {error.orig}. Nothing is half done: look with "
            "`artbot status`, and try again."
        )
    return None


def _say_traceback(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """A bug of ours, told without the secrets that it may have met."""
    sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))


def _say(message: str) -> None:
    click.echo(f"Error: {redact(message)}", err=True)

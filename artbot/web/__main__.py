"""`python -m artbot.web`: serve the review page as `[web]` in artbot.toml says, until told to stop or until standard
input closes. The daemon's child; people say `artbot review --web`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from artbot.errors import ArtbotError
from artbot.web.serving import log_to_stderr, serve, when_stdin_closes
from artbot.workplace import open_workplace


def main() -> int:
    log_to_stderr()
    log = logging.getLogger("artbot.web")
    try:
        workplace = open_workplace(Path(sys.argv[1]) if sys.argv[1:] else None)
        workplace.open_database()
        web = workplace.settings.web
        serve(
            workplace,
            web,
            web.port,
            lambda address: log.info("the review page is at %s", address),
            when_stdin_closes,
        )
    except ArtbotError as error:
        log.error("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A workplace with painted works, and the review opened in a terminal that is none."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Static

from artbot.desk import Desk
from artbot.domain.keys import keymap
from artbot.review.decisions import Author
from artbot.tui import app as app_module
from artbot.tui.app import ReviewApp
from artbot.tui.graphics import Chosen, Graphics
from artbot.tui.table import LightTable
from artbot.workplace import Workplace, open_workplace
from tests.unit.service.kit import SECRET, add_works

ANNA = Author("anna", "terminal")
BEN = Author("ben", "web")
BLOCKS = Chosen(Graphics.BLOCKS, "this is a test", (10, 20))
CHANNEL = """
[channels.hook]
type = "webhook"
url = "https://example.org/hook"
secret_file = "secret"
"""


def new_workplace(root: Path, migrated_file: Path, count: int) -> Workplace:
    """Works 1 to `count`, all pending, and a channel."""
    (root / "db").mkdir(parents=True)
    shutil.copy(migrated_file, root / "db" / "artbot.sqlite3")
    (root / "artbot.toml").write_text(CHANNEL, encoding="utf-8")
    (root / "secret").write_text(SECRET, encoding="utf-8")
    (root / "secret").chmod(0o600)
    workplace = open_workplace(root)
    add_works(workplace.database, workplace.settings.works, count)
    return workplace


def states(workplace: Workplace) -> dict[int, str]:
    """What is written down, by number."""
    sheet = Desk(workplace, BEN).lay_out(app_module.Show.ALL)
    return {tile.id: str(tile.state) for stack in sheet.stacks for tile in stack.tiles}


class Sitting:
    """A person before the screen."""

    def __init__(self, app: ReviewApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, is_so: Callable[[], object], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, self.told
            await self.pilot.pause(0.01)

    async def sees(self, number: int) -> None:
        """Its picture is on the screen, and what goes out with it."""
        await self.until(lambda: self.app._shown == number and number in self.app._cards)

    async def sees_words(self, words: str) -> None:
        await self.until(lambda: words in self.told)

    @property
    def told(self) -> str:
        """All text on the screen, but for pictures."""
        found = []
        for widget in self.app.screen.query(Static):
            found.append(str(widget.render()))
        return "\n".join(found)


def sit_down(
    workplace: Workplace,
    do: Callable[[Sitting], Awaitable[None]],
    size: tuple[int, int] = (100, 30),
    **keys: str,
) -> ReviewApp:
    """Open the review, and do that."""
    desk = Desk(workplace, ANNA)
    app = ReviewApp(desk, keymap(keys), BLOCKS, LightTable(desk.lay_out()))

    async def sitting() -> None:
        async with app.run_test(size=size) as pilot:
            await do(Sitting(app, pilot))

    asyncio.run(sitting())
    workplace.close()
    return app

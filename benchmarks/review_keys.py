"""How long after a key the next picture is painted, with two hundred candidates.

    .venv/bin/python benchmarks/review_keys.py

Serves the workplace of benchmarks/review_page.py to a real browser and decides with real keys, in the loupe and on the
sheet: at a person's pace, and as fast as pictures come. The page itself takes the time, from the key's event to the
second animation frame in which the next picture is there, decoded. Prints the rows of benchmarks/RESULTS.md.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from review_page import Browser, fill, free_port

from artbot.web.logins import give_code

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
KEYS = 40
PACE_MS = 400
"""Between two decisions of somebody quick."""

_LISTEN = """() => {
    window.times = [];
    const place = () => document.querySelector("#card, .tile.selected");
    const frame = () => new Promise(requestAnimationFrame);
    document.addEventListener("keydown", async (event) => {
        const was = place().dataset.id;
        const isThere = () => place().dataset.id !== was && [...place().querySelectorAll("img")].every(
            (image) => image.complete && image.naturalWidth);
        do await frame(); while (!isThere());
        await frame();
        window.times.push(performance.now() - event.timeStamp);
    }, { capture: true });
}"""

_WAIT = """number => new Promise((done) => {
    const look = () => (window.times.length >= number ? done() : setTimeout(look, 5));
    look();
})"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root, port = Path(folder) / "studio", free_port()
        fill(root, port)
        process = subprocess.Popen(
            [sys.executable, "-m", "artbot.web", str(root)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            Browser(port).wait()
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"http://127.0.0.1:{port}/login#{give_code(root / 'db' / 'web', 'bench')}")
            page.wait_for_selector(".tile.selected")
            page.evaluate(_LISTEN)
            report("on the sheet, at a person's pace", page, PACE_MS)
            page.keyboard.press("Enter")
            page.wait_for_selector("#card")
            page.wait_for_timeout(1000)
            page.evaluate("window.times.length = 0")
            report("in the loupe, at a person's pace", page, PACE_MS)
            report("in the loupe, as fast as pictures come", page, 0)
        finally:
            browser.close()
            process.terminate()
            process.wait(10)


def report(what: str, page: Page, pace_ms: float) -> None:
    for number in range(1, KEYS + 1):
        page.keyboard.press("x" if number % 2 else "Space")
        page.evaluate(_WAIT, number)
        page.wait_for_timeout(pace_ms)
    times = sorted(page.evaluate("window.times.splice(0)"))
    middle, late = statistics.median(times), times[int(0.95 * len(times))]
    print(
        f"| {what}: key to next picture painted, {KEYS} keys | median {middle:.0f} ms, "
        f"95 % within {late:.0f} ms |",
        flush=True,
    )


if __name__ == "__main__":
    main()

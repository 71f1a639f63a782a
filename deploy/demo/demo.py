"""`make demo`: the whole path once, with the commands a person would type.

Paints its own data set, trains a small generator on it, makes the day's batch, approves one work and
publishes it to the example receiver. Everything it makes is in demo/, everything it starts it stops.
Run again, it begins anew.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
WORKPLACE = CHECKOUT / "demo"
MARKER = WORKPLACE / ".made-by-make-demo"
ARTBOT = Path(sys.executable).with_name("artbot")
CONSUMER = CHECKOUT / "deploy" / "webhook-consumer" / "consumer.py"
RECEIVED = WORKPLACE / "received"
APPROVED = "3"
INTERRUPTED = 130

TRAINING = ("--dataset", "demo", "--size", "64", "--kimg", "40", "--minutes", "2.5")
QUICK = ("--preset", "dcgan", "--width", "32")


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    started = time.monotonic()
    begin_anew()
    with start_consumer() as consumer:
        try:
            configure(wait_for_port(consumer))
            walk_the_path()
        finally:
            consumer.terminate()
    show_what_arrived()
    minutes, seconds = divmod(round(time.monotonic() - started), 60)
    say(f"done in {minutes} min {seconds} s; the receiver is stopped, nothing is left running")


def begin_anew() -> None:
    """An empty demo/: one from an earlier run goes, anything else stays and ends the demo."""
    if WORKPLACE.exists():
        if not MARKER.exists():
            sys.exit(
                f"{WORKPLACE} was not made by this demo; move it away and run `make demo` again."
            )
        shutil.rmtree(WORKPLACE)
    WORKPLACE.mkdir()
    MARKER.touch()
    step("A workplace: a folder with artbot.toml and a place for everything")
    artbot("init", "demo", where=CHECKOUT)


def start_consumer() -> subprocess.Popen[bytes]:
    """The example receiver, on any free port of this machine."""
    RECEIVED.mkdir()
    arguments = ["--secret-file", str(WORKPLACE / "secrets" / "webhook"), "--store", str(RECEIVED)]
    arguments += ["--port", "0", "--port-file", str(RECEIVED / "port")]
    with open(RECEIVED / "consumer.log", "wb") as log:
        return subprocess.Popen(
            [sys.executable, str(CONSUMER), *arguments], stdout=log, stderr=subprocess.STDOUT
        )


def wait_for_port(consumer: subprocess.Popen[bytes]) -> int:
    port_file = RECEIVED / "port"
    for _ in range(100):
        if port_file.exists() and (text := port_file.read_text().strip()):
            return int(text)
        if consumer.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(f"the example receiver did not start; see {RECEIVED / 'consumer.log'}")


def configure(port: int) -> None:
    added = f"""
# Added by the demo: the example receiver on this machine, and no time to change one's mind.
[channels.example]
type = "webhook"
url = "http://127.0.0.1:{port}/webhook"
allow_private = true
secret_file = "secrets/webhook"

[publishing]
undo_minutes = 0
"""
    with open(WORKPLACE / "artbot.toml", "a", encoding="utf-8") as file:
        file.write(added)
    step("A channel, added to demo/artbot.toml: the example receiver of deploy/webhook-consumer/")
    print(added)


def walk_the_path() -> None:
    step(
        "Learn: paint 600 flower still lifes, then train a generator on them (two to three minutes)"
    )
    artbot("train", *TRAINING, *QUICK)
    step("Make the day's batch, as the daemon does every morning")
    artbot("daemon", "--once")
    step("Look: the contact sheet")
    artbot("review")
    step(f"Choose. In real life this is yours to do; the demo takes number {APPROVED}")
    artbot("approve", APPROVED, "--alt", "A bunch of flowers in a vase on a table, loosely painted")
    step("Publish: the daemon sends what is approved")
    artbot("daemon", "--once")
    artbot("status")


def show_what_arrived() -> None:
    step("What the receiver says: signature verified, picture checked, stored once")
    print((RECEIVED / "consumer.log").read_text().rstrip())
    step("Where to look")
    print(f"  the generator learning   {WORKPLACE / 'runs' / 'demo-64' / 'index.html'} (a page)")
    print(f"  today's contact sheet    {WORKPLACE / 'works' / 'contact-sheet.png'}")
    for picture in RECEIVED.glob("*.png"):
        print(f"  the published work       {picture} (64 x 64 pixels: enlarge it)")
    print(f"\n  go on from here          cd demo && {ARTBOT} review")


def artbot(*arguments: str, where: Path = WORKPLACE) -> None:
    """Run one command as a person would, showing it; a failure ends the demo."""
    print(f"  $ artbot {' '.join(f'{a!r}' if ' ' in a else a for a in arguments)}\n", flush=True)
    process = subprocess.Popen([str(ARTBOT), *arguments], cwd=where)
    try:
        code = process.wait()
    except KeyboardInterrupt:  # the command has seen it too: let it save and end by itself
        process.wait()
        raise
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        sys.exit(f"`artbot {arguments[0]}` ended with exit code {code}")


def step(text: str) -> None:
    print(f"\n── {text}\n", flush=True)


def say(text: str) -> None:
    print(f"\n{text}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        say("stopped, nothing is left running; `make demo` begins anew")
        sys.exit(INTERRUPTED)

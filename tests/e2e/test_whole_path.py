"""Pictures in, a signed and stored work out: the product in its shortest true form."""

from __future__ import annotations

import hashlib
import io
import json

from PIL import Image

from tests.conftest import Consumer, Place
from trainers.data.sources.demo import paint_still_lifes


def test_a_folder_of_paintings_becomes_a_published_work(place: Place, consumer: Consumer) -> None:
    place.configure((place.root / "artbot.toml").read_text() + consumer.channel())
    (place.root / "datasets/flowers").mkdir()
    paint_still_lifes(place.root / "datasets/flowers", count=24, size_px=64)

    options = ["--size", "32", "--width", "8", "--batch", "8", "--kimg", "0.4"]
    trained = place.run("train", "--dataset", "flowers", *options)
    assert trained.code == 0, trained.err
    assert "paints next: flowers-32-" in trained.err
    assert place.run("daemon", "--once").code == 0

    candidate = place.json("review")["candidates"][1]
    alt = "Blumen in einer Vase — painted by a machine"
    assert place.run("approve", str(candidate["id"]), "--alt", alt).code == 0
    assert place.run("daemon", "--once").code == 0

    assert consumer.verdicts() == ["stored"]
    picture = (consumer.store / f"{candidate['name']}.png").read_bytes()
    assert Image.open(io.BytesIO(picture)).tobytes() == Image.open(candidate["file"]).tobytes()
    assert place.run("verify", str(consumer.store / f"{candidate['name']}.png")).code == 0
    event = json.loads((consumer.store / f"{candidate['name']}.json").read_text("utf-8"))
    assert hashlib.sha256(picture).hexdigest() == event["data"]["image"]["sha256"]
    assert event["data"]["image"]["alt"] == alt
    assert event["data"]["artwork"]["seed"] == candidate["seed"]
    status = place.json("status")
    assert (status["num_published"], status["num_pending"]) == (1, 2)
    assert place.run("daemon", "--once").code == 0
    assert consumer.verdicts() == ["stored"], "nothing is sent twice"

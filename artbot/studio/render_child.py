"""The render child: the only part of the service that imports torch.

Started by `artbot.studio.render` as `python -m artbot.studio.render_child FOLDER DEVICE`. It loads
the kept generator in FOLDER, says whether it can paint, then answers one request per line of
standard input with one line of standard output, both JSON. It ends when its input ends, so it never
outlives the process that started it. It sees neither the database nor the configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any


def main() -> None:
    # A stop request goes to the parent, which closes our input when it has what it wants.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = _private_stdout()
    folder, device = Path(sys.argv[1]), sys.argv[2]

    from trainers import share_the_processor
    from trainers.errors import CheckpointRefused

    share_the_processor()

    try:
        from trainers.inference import load_generator, resolve_device

        generator = load_generator(folder, resolve_device(device))
    except CheckpointRefused as refused:
        _answer(answers, {"refused": str(refused)})
        return
    except ValueError as error:  # the device
        _answer(answers, {"impossible": f"[studio] device: {error}"})
        return
    _answer(answers, {"ready": generator.environment()})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            _answer(answers, _paint(generator, request))
        except CheckpointRefused as refused:
            _answer(answers, {"failed": str(refused)})
        except OSError as error:
            _answer(answers, {"unwritable": str(error)})
        except (MemoryError, RuntimeError) as error:
            _answer(answers, {"failed": f"{type(error).__name__}: {error}"})


def _paint(generator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Render one seed; write the PNG, flushed, to the temporary path the parent chose."""
    from artbot.studio.provenance import encode_png, pixel_sha256

    origin = request["origin"]
    recipe = origin["recipe"]
    pixels = generator.paint(origin["seed"], recipe["truncation_psi"], recipe.get("class"))
    png = encode_png(pixels, origin)
    with open(request["path"], "wb") as file:
        file.write(png)
        file.flush()
        os.fsync(file.fileno())
    return {
        "painted": {
            "image_sha256": hashlib.sha256(png).hexdigest(),
            "pixel_sha256": pixel_sha256(pixels),
            "num_bytes": len(png),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
        }
    }


def _private_stdout() -> IO[str]:
    """Keep the pipe to the parent for answers alone; whatever a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(answers: IO[str], message: dict[str, Any]) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()

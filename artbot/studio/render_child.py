"""The render child: the only part of the service that imports torch.

Started by `artbot.studio.render` as `python -m artbot.studio.render_child FOLDER DEVICE PARENT`. It
gives up what it does not need (`artbot.studio.confinement`), loads the kept generator in FOLDER, says
whether it can paint, then answers one request per line of standard input with one line of standard
output, both JSON. It ends when its input ends or when PARENT, a process id, does. It sees neither the
database nor the configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any

from artbot.studio.confinement import confine, limit_memory


def main() -> None:
    # A stop request goes to the parent, which closes our input when it has what it wants.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = _private_stdout()
    folder, device, parent = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    remarks = confine(parent, device)

    from trainers import share_the_processor
    from trainers.errors import CheckpointRefused, DeviceFault, RecipeRefused, WeightsRefused

    share_the_processor()

    from trainers.inference import load_generator, resolve_device
    from trainers.manifest import read_manifest

    try:
        device = resolve_device(device)
    except ValueError as error:
        _answer(answers, {"impossible": f"[studio] device: {error}"})
        return
    try:
        if device == "cpu":
            limit_memory(read_manifest(folder).num_bytes)
        generator = load_generator(folder, device)
    except CheckpointRefused as refused:
        is_final = isinstance(refused, WeightsRefused)
        _answer(answers, {"refused": str(refused), "is_final": is_final})
        return
    except (MemoryError, RuntimeError, DeviceFault) as error:
        if not _is_the_devices_fault(error):
            raise
        _answer(answers, {"device": _words(error)})
        return
    _answer(answers, {"ready": generator.environment(), "remarks": remarks})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            _answer(answers, _paint(generator, request))
        except (CheckpointRefused, RecipeRefused) as refused:
            _answer(answers, {"failed": str(refused)})
        except OSError as error:
            _answer(answers, {"unwritable": str(error)})
        except (MemoryError, RuntimeError) as error:
            if _is_the_devices_fault(error):
                _answer(answers, {"device": _words(error)})
                return  # after a CUDA error nothing works in this process any more
            _answer(answers, {"failed": _words(error)})


def _is_the_devices_fault(error: Exception) -> bool:
    """No memory left, or a card that fell off the bus: not the picture's fault, nor the generator's."""
    from trainers.errors import DeviceFault, is_out_of_memory

    said = ("CUDA error", "CUDA driver", "CUDNN_STATUS", "CUBLAS_STATUS")
    return (
        isinstance(error, DeviceFault)
        or is_out_of_memory(error)
        or type(error).__name__ == "AcceleratorError"
        or any(words in str(error) for words in said)
    )


def _words(error: Exception) -> str:
    """On one line: CUDA's own messages go on with advice about debugging it."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}"


def _paint(generator: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Render one seed; write the PNG, flushed, to the temporary path the parent chose."""
    from artbot.studio.provenance import encode_png, likeness, pixel_sha256
    from artbot.studio.recipes import read_recipe

    origin = request["origin"]
    recipe = read_recipe(origin["seed"], origin["recipe"])
    pixels = generator.paint(
        recipe.descent.seed, recipe.truncation_psi, recipe.class_name, recipe.descent.latent
    )
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
            "likeness": str(likeness(pixels)),
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

"""The header of a safetensors file, read and doubted before anything else looks into it. Imports no torch.

    8 bytes      length of the header, little-endian
    header       JSON: {name: {"dtype": "F32", "shape": [64, 3], "data_offsets": [begin, end]}, …}
    data         the tensors, one after the other

The format forbids duplicate names, overlapping tensors and holes, and its readers have not all been
strict (Trail of Bits' review of 2023; zero-size tensors with foreign offsets since). A hostile header
is refused here in milliseconds and a few megabytes, in whatever process asks, since nothing is believed
before it is bounded.

It does not ask whether these are the tensors of the architecture that the manifest names. Only the
architecture knows, and it needs torch: `trainers.inference` compares the two before any tensor is read.
A table in the manifest would be quicker to compare with and prove nothing, as it comes from the same
hand as the weights.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.errors import WeightsRefused
from trainers.manifest import MAX_WEIGHTS_BYTES, WEIGHTS_FILE, open_plain, read_some

MAX_HEADER_BYTES = 1_000_000
"""A hundred times the longest there is (92 tensors, resgan 512 px)."""
MAX_TENSORS = 10_000
MAX_NAME = 200
MAX_DIMENSIONS = 8
ITEM_BYTES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8},
    **{"F8_E4M3": 1, "F8_E5M2": 1, "F16": 2, "BF16": 2, "F32": 4, "F64": 8},
}
"""The format's types by their size; another one is refused."""


@dataclass(frozen=True)
class TensorFacts:
    """What the header says about one tensor."""

    dtype: str
    """A key of ITEM_BYTES."""
    shape: tuple[int, ...]


def read_header(folder: Path) -> dict[str, TensorFacts]:
    """The tensors of `folder`/generator.safetensors by name; of the data nothing is read.

    Raises WeightsRefused for a header that breaks the format, CheckpointRefused where the file cannot
    be read.
    """
    with open_plain(folder / WEIGHTS_FILE, MAX_WEIGHTS_BYTES) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        prefix = read_some(file, 8, WEIGHTS_FILE)
        length = int.from_bytes(prefix, "little")
        _require(len(prefix) == 8, "it is too short")
        _require(
            length <= min(MAX_HEADER_BYTES, num_bytes - 8),
            f"it claims a header of {length:,} bytes",
        )
        text = read_some(file, length, WEIGHTS_FILE)
    _require(len(text) == length, "it ends within its header")
    return _check_tensors(_parse(text), num_bytes - 8 - length)


def _parse(text: bytes) -> dict[str, Any]:
    # The format has the header begin with a brace; json would also take other encodings and spaces.
    _require(text.startswith(b"{"), "its header is no JSON object")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _refused("its header is no JSON") from error
    assert isinstance(header, dict)
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    _require(len(found) == len(pairs), "its header names something twice")
    return found


def _check_tensors(header: dict[str, Any], data_bytes: int) -> dict[str, TensorFacts]:
    """Every byte of the data belongs to exactly one tensor, as long as its shape and type say."""
    header.pop("__metadata__", None)
    _require(0 < len(header) <= MAX_TENSORS, f"it lists {len(header):,} tensors")
    tensors, spans = {}, []
    for name, entry in header.items():
        _require(0 < len(name) <= MAX_NAME, f"it has a tensor name of {len(name):,} letters")
        tensors[name], span = _read_entry(name, entry)
        spans.append((*span, name))
    position = 0
    for begin, end, name in sorted(spans):
        _require(begin == position, f"tensor {name!r} overlaps another or leaves a hole before it")
        position = end
    _require(position == data_bytes, f"its tensors take {position:,} bytes of {data_bytes:,}")
    return tensors


def _read_entry(name: str, entry: Any) -> tuple[TensorFacts, tuple[int, int]]:
    _require(
        isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"},
        f"tensor {name!r} is not described by dtype, shape and data_offsets",
    )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    _require(
        isinstance(dtype, str) and dtype in ITEM_BYTES, f"tensor {name!r} has a type of its own"
    )
    _require(
        _are_sizes(shape, MAX_DIMENSIONS, least=1), f"the shape of tensor {name!r} cannot be one"
    )
    _require(
        _are_sizes(offsets, 2, least=0) and len(offsets) == 2,
        f"the data_offsets of tensor {name!r} cannot be some",
    )
    begin, end = offsets
    expected = math.prod(shape) * ITEM_BYTES[dtype]
    _require(
        end - begin == expected,
        f"tensor {name!r} takes {end - begin:,} bytes where its shape and type make {expected:,}",
    )
    return TensorFacts(dtype, tuple(shape)), (begin, end)


def _are_sizes(value: Any, max_count: int, least: int) -> bool:
    """A short list of whole numbers that may be lengths within a file of ours."""
    return (
        isinstance(value, list)
        and len(value) <= max_count
        and all(type(item) is int and least <= item <= MAX_WEIGHTS_BYTES for item in value)
    )


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise _refused(otherwise)


def _refused(reason: str) -> WeightsRefused:
    return WeightsRefused(f"{WEIGHTS_FILE} is no safetensors file ({reason})")

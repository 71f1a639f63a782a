"""The header of a weights file: what the format forbids is refused before anything is believed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from trainers.errors import CheckpointRefused, WeightsRefused
from trainers.header import MAX_HEADER_BYTES, TensorFacts, read_header
from trainers.manifest import WEIGHTS_FILE


def safetensors_file(header: str | bytes | None = None, data: bytes = b"12345678") -> bytes:
    """A weights file with that header, or with a right one for one tensor that is all of `data`."""
    if header is None:
        header = json.dumps({"all": entry(len(data))})
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + data


def entry(num_bytes: int, begin: int = 0) -> dict[str, object]:
    return {"dtype": "U8", "shape": [num_bytes], "data_offsets": [begin, begin + num_bytes]}


def changed(**fields: object) -> str:
    """The header of eight bytes with some fields of its only entry replaced."""
    return json.dumps({"all": entry(8) | fields})


def read(tmp_path: Path, content: bytes) -> dict[str, TensorFacts]:
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    return read_header(tmp_path)


def test_what_the_library_writes_is_read_as_it_was_meant(tmp_path: Path) -> None:
    tensors = {
        "layers.0.weight": torch.zeros(4, 3, 2, 2),
        "layers.1.num_batches_tracked": torch.tensor(7),
        "half": torch.zeros(5, dtype=torch.float16),
    }
    content = safetensors.torch.save(tensors, metadata={"format": "pt"})
    assert read(tmp_path, content) == {
        "layers.0.weight": TensorFacts("F32", (4, 3, 2, 2)),
        "layers.1.num_batches_tracked": TensorFacts("I64", ()),
        "half": TensorFacts("F16", (5,)),
    }


OVERLAPPING = json.dumps({"a": entry(6), "b": entry(4, begin=4)})
WITH_A_HOLE = json.dumps({"a": entry(3), "b": entry(4, begin=4)})
TWICE = changed()[:-1] + ", " + changed()[1:]
TWICE_WITHIN = '{"all": {"dtype": "U8", "dtype": "I8", "shape": [8], "data_offsets": [0, 8]}}'
TWO_SEES = json.dumps({"a": entry(8), "b": entry(8)})

HOSTILE = {
    "empty": (b"", "too short"),
    "cut off in the length": (b"\x10\x00\x00", "too short"),
    "cut off in the header": (safetensors_file(data=b"")[:-5], "claims a header of"),
    "a length beyond all files": (b"\xff" * 8 + b"{}", "claims a header of 18,446"),
    "a huge header": (
        safetensors_file(b"{" + b" " * MAX_HEADER_BYTES + b"}"),
        "claims a header of 1,000,002 bytes",
    ),
    "no JSON": (safetensors_file("{no}"), "its header is no JSON"),
    "a list": (safetensors_file("[1]"), "its header is no JSON object"),
    "another encoding": (safetensors_file('{"é": 1}'.encode("latin-1")), "no JSON"),
    "nested without end": (safetensors_file('{"a":' * 90_000), "no JSON"),
    "a number of a million digits": (
        safetensors_file(changed(shape=8)[:-2] + "9" * 99_999),
        "JSON",
    ),
    "nothing in it": (safetensors_file("{}"), "it lists 0 tensors"),
    "too many tensors": (
        safetensors_file(json.dumps({str(i): 0 for i in range(70_000)})),
        "it lists 70,000 tensors",
    ),
    "a name twice": (safetensors_file(TWICE), "names something twice"),
    "a field twice": (safetensors_file(TWICE_WITHIN), "names something twice"),
    "a name without end": (
        safetensors_file(json.dumps({"n" * 5_000: entry(8)})),
        "a tensor name of 5,000 letters",
    ),
    "overlapping": (safetensors_file(OVERLAPPING), "'b' overlaps another"),
    "the same bytes twice": (safetensors_file(TWO_SEES), "'b' overlaps another"),
    "a hole": (safetensors_file(WITH_A_HOLE), "'b' overlaps another or leaves a hole"),
    "more data than tensors": (safetensors_file() + b"x", "take 8 bytes of 9"),
    "beyond the end": (safetensors_file()[:-1], "take 8 bytes of 7"),
    "backwards": (safetensors_file(changed(data_offsets=[8, 0])), "takes -8 bytes"),
    "negative": (safetensors_file(changed(data_offsets=[-8, 0])), "cannot be some"),
    "one offset": (safetensors_file(changed(data_offsets=[0])), "cannot be some"),
    "offsets that are none": (safetensors_file(changed(data_offsets=[0, 8.0])), "cannot be some"),
    "true for one": (safetensors_file(changed(data_offsets=[False, 8])), "cannot be some"),
    "offsets beyond 64 bits": (safetensors_file(changed(data_offsets=[0, 2**70])), "cannot be"),
    "a shape that is too large": (safetensors_file(changed(shape=[9])), "make 9"),
    "a shape that overflows": (safetensors_file(changed(shape=[2**32 - 1] * 8)), "cannot be|make"),
    "a shape of zero": (
        safetensors_file(changed(shape=[0], data_offsets=[3, 3])),
        "shape of tensor 'all' cannot be one",
    ),
    "too many dimensions": (safetensors_file(changed(shape=[1] * 9)), "cannot be one"),
    "a type of its own": (safetensors_file(changed(dtype="F128")), "a type of its own"),
    "a type that is no name": (safetensors_file(changed(dtype=["F32"])), "a type of its own"),
    "a field too many": (safetensors_file(changed(more=1)), "is not described by"),
    "no description": (safetensors_file('{"all": 8}'), "is not described by"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_header_that_breaks_the_format_is_refused_with_the_reason(
    tmp_path: Path, kind: str
) -> None:
    content, reason = HOSTILE[kind]
    with pytest.raises(
        WeightsRefused, match=f"^generator.safetensors is no safetensors.*({reason})"
    ):
        read(tmp_path, content)


def test_a_file_that_cannot_be_opened_is_not_held_against_its_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointRefused, match="is missing") as refused:
        read_header(tmp_path)
    assert not isinstance(refused.value, WeightsRefused)


MEASURED = """
import sys, time
from pathlib import Path
from trainers.errors import WeightsRefused
from trainers.header import read_header
begun = time.process_time()
try:
    read_header(Path(sys.argv[1]))
except WeightsRefused:
    assert "torch" not in sys.modules
    # Not ru_maxrss, which begins at what the process that started this one took.
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(line.split() for line in lines if line.startswith("VmHWM"))
    print(time.process_time() - begun, int(most[1]) / 1024)
"""


def worst() -> list[tuple[str, bytes]]:
    """As large as a header may be, and as dear to read as JSON gets."""
    many = json.dumps({f"t{i:05d}": entry(1, begin=i) for i in range(9_990)}, separators=(",", ":"))
    assert MAX_HEADER_BYTES * 0.5 < len(many) <= MAX_HEADER_BYTES
    lists = '{"a":[' + ",".join(["[]"] * 330_000) + "]}"
    return [
        ("a length beyond all files", b"\xff" * 8),
        ("many tensors", safetensors_file(many, data=b"")),
        ("many lists", safetensors_file(lists)),
        ("many names", safetensors_file(json.dumps({str(i): 0 for i in range(70_000)}))),
        ("deep", safetensors_file('{"a":' * 190_000)),
    ]


@pytest.mark.parametrize(("kind", "content"), worst(), ids=[kind for kind, _ in worst()])
def test_the_worst_headers_are_refused_in_a_second_and_200_mb(
    tmp_path: Path, kind: str, content: bytes
) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, ran.stdout.split())
    assert seconds < 1, "of processor time"
    assert megabytes < 200

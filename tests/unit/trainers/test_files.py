"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.errors import StorageError
from trainers.files import write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_atomically(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError("disk"), RuntimeError("torch's disk")])
def test_a_failed_write_keeps_the_old_file_and_says_so(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(file: object) -> None:
        raise error

    with pytest.raises(StorageError, match="What was there before is untouched"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_keeps_the_old_file_and_passes_on(tmp_path: Path) -> None:
    def interrupt(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        write_atomically(tmp_path / "gone" / "file", lambda file: file.write(b""))


def test_a_full_device_is_a_storage_error_also_when_torch_writes() -> None:
    """/dev/full answers every write with "no space left"."""
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises((OSError, RuntimeError)):
        torch.save({"weights": torch.zeros(1000)}, full)


class FullDisk(io.RawIOBase):
    """Takes `room_bytes`, then answers as a disk that is full."""

    def __init__(self, room_bytes: int) -> None:
        self._room_bytes = room_bytes

    def write(self, content: Any) -> int:
        num_bytes = memoryview(content).nbytes
        if num_bytes > self._room_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._room_bytes -= num_bytes
        return num_bytes


@pytest.mark.parametrize("room_bytes", [0, 100, 20_000])
def test_a_disk_that_fills_up_while_torch_writes_is_called_full(
    tmp_path: Path, room_bytes: int
) -> None:
    """What torch says of it is "[enforce fail at inline_container.cc:671] . unexpected pos"."""
    path = tmp_path / "state.pt"
    path.write_bytes(b"old")
    weights = {"one": torch.zeros(1000), "another": torch.zeros(10_000)}
    with pytest.raises(StorageError) as raised:
        write_atomically(path, lambda _: torch.save(weights, FullDisk(room_bytes)))
    assert str(raised.value) == (
        f"could not write {path}: the disk is full (No space left on device). What was there before is "
        "untouched; free some space or fix the permissions and run the same command again."
    )
    assert path.read_bytes() == b"old"


def test_a_reader_never_meets_half_a_file(tmp_path: Path) -> None:
    path, done, odd = tmp_path / "file", threading.Event(), []
    path.write_bytes(b"0" * 50_000)

    def read() -> None:
        while not done.is_set():
            content = path.read_bytes()
            if content != content[:1] * 50_000:
                odd.append(content)

    reader = threading.Thread(target=read)
    reader.start()
    for digit in b"123456789" * 3:
        write_atomically(path, lambda file, digit=digit: file.write(bytes([digit]) * 50_000))
    done.set()
    reader.join()
    assert odd == []

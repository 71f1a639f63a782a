"""Writing files whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

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

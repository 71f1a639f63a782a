"""What the render child gives up before it opens a checkpoint. Needs no privilege and no torch.

Weights are numbers and are read as numbers (`trainers.header`), so nothing here is expected to be
needed. It bounds what a mistake in a library could cost: no network, no core file, no more memory,
open files or file sizes than painting takes, no new privileges, no life of its own.

The network is given up by a filter of system calls, which needs no rights and works where namespaces are
forbidden, as they are by Docker and by artbot's systemd unit: no socket can be made any more. The kernel
reads the filter before each call (seccomp(2), `Documentation/userspace-api/seccomp_filter.rst`).

What the kernel refuses is said and done without: painting matters more. Elsewhere than on Linux only the
limits of `resource` are set.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

MAX_OPEN_FILES = 256
"""Painting was seen with 6; CUDA opens some per card."""
MAX_FILE_BYTES = 64 << 20
"""Of what it writes: one PNG, three quarters of a MB at 512 px, and its words on standard error."""
SPARE_MEMORY_BYTES = 4 << 30
"""Beyond what torch itself took and four times the weights. The largest generators (512 px, 92 MB of
weights) were seen to take 0.3 GB beyond torch, with two threads."""

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_SECCOMP_MODE_FILTER = 2
_LOAD_WORD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of the classic BPF that a filter is written in (linux/bpf_common.h)."""
_ALLOW = struct.pack("=HBBI", _RETURN, 0, 0, 0x7FFF0000)
_REFUSE = struct.pack("=HBBI", _RETURN, 0, 0, 0x00050000 | errno.EACCES)
"""SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with what the call then fails with (linux/seccomp.h)."""
_LOCAL = (socket.AF_UNIX, getattr(socket, "AF_NETLINK", 16))
"""Families of sockets that lead no further than this machine's programs and kernel."""
_NUMBER_AT, _ARCHITECTURE_AT, _FAMILY_AT = 0, 4, 16
"""Where in `struct seccomp_data` stand the call's number, the machine's and the lower half of the first
argument, little-endian (linux/seccomp.h)."""
_IO_URING_SETUP = 425
"""On every machine: a ring of its own could make sockets past the filter."""
_X32_CALLS = 0x40000000
"""From here on x86_64 has every call a second time, with other numbers."""


@dataclass(frozen=True)
class _Machine:
    """What a filter must know of a processor."""

    audit: int
    """AUDIT_ARCH_* (linux/audit.h)."""
    socket: int
    """Number of socket(2)."""


_MACHINES = {
    "x86_64": _Machine(audit=0xC000003E, socket=41),
    "aarch64": _Machine(audit=0xC00000B7, socket=198),
}


def confine(parent: int, device: str) -> list[str]:
    """Give up what no painting needs; returns, in words, what could not be given up.

    `parent`: the process to die with. `device`: as in `[studio]`. To be called before anything starts
    a thread, which would not be held to the filter.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    if sys.platform != "linux":
        return [f"{sys.platform} has no limits but those of resource"]
    remarks = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, "to die with its parent")
    remarks += _prctl(_PR_SET_NO_NEW_PRIVS, 1, "to gain no privileges")
    # After that, which allows a filter to who is not root. Drivers of cards talk to their services on
    # this machine.
    remarks += _give_up_sockets(but_local=_may_use_a_card(device))
    if os.getppid() != parent:  # it died before we asked
        sys.exit("the process that wanted pictures has ended")
    return remarks


def limit_memory(weights_bytes: int) -> None:
    """Bound what painting on the processor may allocate. To be called when torch is imported.

    RLIMIT_DATA, not RLIMIT_AS: of the address space torch's libraries alone take 3 GB, and CUDA
    reserves as much of it as the machine has memory. Where a card paints nothing is bounded.
    """
    if sys.platform != "linux":
        return
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    taken_bytes = int(fields["VmData"].split()[0]) * 1024
    _lower(resource.RLIMIT_DATA, taken_bytes + 4 * weights_bytes + SPARE_MEMORY_BYTES)


def _lower(limit: int, value: int) -> None:
    """Never raises a limit that is lower already."""
    _, hard = resource.getrlimit(limit)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(limit, (value, value))


def _may_use_a_card(device: str) -> bool:
    """NVIDIA's, AMD's or WSL's device files tell without torch."""
    if device == "auto":
        found = [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("kfd"), Path("/dev/dxg")]
        return any(path.exists() for path in found)
    return device != "cpu"


def _give_up_sockets(but_local: bool) -> list[str]:
    """No socket from here on, for this process and those it starts; `but_local`: none but to this machine."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or sys.maxsize < 2**32:
        return [f"keeps the network: no filter of system calls is written for {platform.machine()}"]
    program = (
        _load(_ARCHITECTURE_AT),
        *_unless(
            machine.audit, _REFUSE
        ),  # the processor's other modes number their calls otherwise
        _load(_NUMBER_AT),
        *_if(_AT_LEAST, _X32_CALLS, _REFUSE),
        *_if(_EQUAL, _IO_URING_SETUP, _REFUSE),
        *_unless(machine.socket, _ALLOW),
        _load(_FAMILY_AT),
        *(step for family in _LOCAL if but_local for step in _if(_EQUAL, family, _ALLOW)),
        _REFUSE,
    )
    steps = ctypes.create_string_buffer(b"".join(program))
    given = struct.pack("@HP", len(program), ctypes.addressof(steps))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    if libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), mode, ctypes.c_char_p(given)) != 0:
        return [f"keeps the network: {os.strerror(ctypes.get_errno())}"]
    return []


def _step(code: int, if_so: int, if_not: int, value: int) -> bytes:
    """One instruction (struct sock_filter); a jump passes over so many of the next."""
    return struct.pack("=HBBI", code, if_so, if_not, value)


def _load(offset: int) -> bytes:
    return _step(_LOAD_WORD, 0, 0, offset)


def _if(comparison: int, value: int, then: bytes) -> tuple[bytes, bytes]:
    return _step(comparison, 0, 1, value), then


def _unless(value: int, then: bytes) -> tuple[bytes, bytes]:
    return _step(_EQUAL, 1, 0, value), then


def _prctl(option: int, value: int, purpose: str) -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        return [f"could not ask {purpose}: {os.strerror(ctypes.get_errno())}"]
    return []

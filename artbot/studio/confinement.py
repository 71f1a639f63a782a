"""What the render child gives up before it opens a checkpoint. Needs no privilege and no torch.

Weights are numbers and are read as numbers (`trainers.header`), so nothing here is expected to be
needed. It bounds what a mistake in a library could cost: no network, no core file, no more memory,
open files or file sizes than painting takes, no new privileges, no life of its own.

What the kernel refuses is said and done without: containers forbid some of it, and painting matters more.
Elsewhere than on Linux only the limits of `resource` are set.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

MAX_OPEN_FILES = 256
"""Painting was seen with 6; CUDA opens some per card."""
MAX_FILE_BYTES = 64 << 20
"""Of what it writes: one PNG, three quarters of a MB at 512 px, and its words on standard error."""
SPARE_MEMORY_BYTES = 4 << 30
"""Beyond what torch itself took and four times the weights. The largest generators (512 px, 92 MB of
weights) were seen to take 0.3 GB beyond torch, with two threads."""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def confine(parent: int, device: str) -> list[str]:
    """Give up what no painting needs; returns, in words, what could not be given up.

    `parent`: the process to die with. `device`: as in `[studio]`. To be called before anything starts
    a thread: a process of several threads cannot leave its user namespace.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _lower(resource.RLIMIT_FSIZE, MAX_FILE_BYTES)
    if sys.platform != "linux":
        return [f"{sys.platform} has no limits but those of resource"]
    remarks = []
    if _may_use_a_card(device):
        remarks.append("keeps the network: there may be a graphics card to talk to")
    else:
        remarks += _leave_the_network()
    # After the namespace, as a change of rights clears the first.
    remarks += _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, "to die with its parent")
    remarks += _prctl(_PR_SET_NO_NEW_PRIVS, 1, "to gain no privileges")
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


def _leave_the_network() -> list[str]:
    """A namespace of its own holds not even a loopback that is up."""
    user, group = os.geteuid(), os.getegid()
    # Root leaves only the network: in a user namespace it could no longer write into others' folders.
    flags = _CLONE_NEWNET if user == 0 else _CLONE_NEWNET | _CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(ctypes.c_int(flags)) != 0:
        return [f"keeps the network: {os.strerror(ctypes.get_errno())}"]
    if user != 0:
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        except OSError as error:  # files are still ours; only our names for us are not
            return [f"has no names for its user and group: {error.strerror}"]
    return []


def _prctl(option: int, value: int, purpose: str) -> list[str]:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero) != 0:
        return [f"could not ask {purpose}: {os.strerror(ctypes.get_errno())}"]
    return []

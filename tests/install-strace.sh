#!/bin/sh
# strace for the tests that kill at system calls and make them fail. Where it cannot be installed, or may
# not trace, this fails: that nothing is lost would be unproved.
set -eu

works() {
    command -v strace >/dev/null && strace -qq -e trace=none true 2>/dev/null
}

if works; then exit 0; fi
as_root=
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if ! command -v strace >/dev/null && command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    echo "installing strace for the kill sweep"
    export DEBIAN_FRONTEND=noninteractive
    $as_root apt-get -qq update || true
    $as_root apt-get -qq install -y --no-install-recommends strace >/dev/null || true
fi
if works; then exit 0; fi
cat >&2 <<END
The tests need strace 5 or newer on Linux, and to be allowed to trace.
  Debian, Ubuntu:  sudo apt-get install strace
  Fedora:          sudo dnf install strace
  in a container:  start it with --cap-add=SYS_PTRACE
END
exit 1

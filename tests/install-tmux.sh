#!/bin/sh
# tmux for the tests that sit before the review as a person does. Where it cannot be installed, they are skipped.
set -eu
if command -v tmux >/dev/null; then exit 0; fi
as_root=
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    echo "installing tmux for the tests of the review in the terminal"
    export DEBIAN_FRONTEND=noninteractive
    if $as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends tmux >/dev/null; then
        exit 0
    fi
fi
echo "no tmux, and it could not be installed: the tests of the review in a real terminal will be skipped" >&2

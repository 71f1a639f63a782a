#!/bin/sh
# A browser for the tests that open our pages in one. Where none can be installed, they are skipped.
set -eu
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
as_root=
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    echo "installing chromium for the tests of the pages"
    export DEBIAN_FRONTEND=noninteractive
    if $as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends chromium >/dev/null; then
        exit 0
    fi
fi
echo "no chromium, and none could be installed: the tests that need a browser will be skipped" >&2

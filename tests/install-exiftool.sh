#!/bin/sh
# exiftool for the tests that have somebody else read what our pictures say of themselves. Where it cannot
# be installed, they are skipped.
set -eu
if command -v exiftool >/dev/null; then exit 0; fi
as_root=
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    echo "installing exiftool for the tests of what pictures say"
    export DEBIAN_FRONTEND=noninteractive
    if $as_root apt-get -qq update && $as_root apt-get -qq install -y --no-install-recommends libimage-exiftool-perl >/dev/null; then
        exit 0
    fi
fi
echo "no exiftool, and it could not be installed: the tests that read pictures with it will be skipped" >&2

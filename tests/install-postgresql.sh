#!/bin/sh
# PostgreSQL's programs for the tests, which start a server of their own (tests/postgresql.py).
# Where they cannot be installed, this fails: half of the service's tests would be missing.
set -eu

is_installed() {
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

if is_installed; then exit 0; fi
as_root=
if [ "$(id -u)" != 0 ]; then as_root="sudo -n"; fi
if command -v apt-get >/dev/null && $as_root true 2>/dev/null; then
    echo "installing postgresql for the tests"
    export DEBIAN_FRONTEND=noninteractive
    # Debian makes and starts a server with the package. Nobody here has asked for one.
    settings=/etc/postgresql-common/createcluster.d
    forget() { $as_root rm -f $settings/artbot.conf && $as_root rmdir $settings 2>/dev/null || true; }
    trap forget EXIT
    $as_root mkdir -p $settings
    echo "create_main_cluster = false" | $as_root tee $settings/artbot.conf >/dev/null
    $as_root apt-get -qq update || true
    $as_root apt-get -qq install -y --no-install-recommends postgresql >/dev/null || true
fi
if is_installed; then exit 0; fi
cat >&2 <<END
The tests need PostgreSQL's server, 13 or newer, and it could not be installed from here.
  Debian, Ubuntu:  sudo tests/install-postgresql.sh
  Fedora:          sudo dnf install postgresql-server
  macOS:           brew install postgresql@17, and put its bin folder into the PATH
A server need not run: the tests start one of their own.
END
exit 1

#!/bin/sh
# axe-core (Deque, MPL-2.0), which looks for what keeps people from reading our pages. One file of JavaScript, for
# tests only; where it cannot be had, they are skipped.
set -eu
into=${1:-.venv/axe}
if [ -f "$into/node_modules/axe-core/axe.min.js" ]; then exit 0; fi
if command -v npm >/dev/null; then
    echo "installing axe-core for the tests of the pages"
    if npm install --prefix "$into" --no-save --no-audit --no-fund --ignore-scripts --silent axe-core@4 2>/dev/null; then
        exit 0
    fi
fi
echo "no axe-core, and it could not be installed: the test that needs it will be skipped" >&2

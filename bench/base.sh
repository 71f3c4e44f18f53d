#!/usr/bin/env bash
# Builds another commit of edge-chat, once, into .data/bench-builds/<commit>, and prints where: `bench/base.sh REF`.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --short "$1^{commit}")
build=$PWD/.data/bench-builds/$commit
if [ ! -e "$build/index_bg.wasm" ]; then
    source=$PWD/.data/bench-source
    trap 'rm -rf "$source"' EXIT
    rm -rf "$source"
    mkdir -p "$source" "${build%/*}"
    git archive "$commit" | tar -x -C "$source"
    ln -s "$PWD/node_modules" "$source/node_modules"
    # What the two have in common is compiled once.
    CARGO_TARGET_DIR=$PWD/target "$source/scripts/build.sh" >&2
    mv "$source/build" "$build"
fi
echo "$build"

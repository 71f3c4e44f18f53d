#!/usr/bin/env bash
# Installs what the build needs and this machine lacks, into the tools' usual places: the wasm target (rustup),
# worker-build and wasm-bindgen's CLI (cargo's bin directory), npm packages (node_modules). Says what takes long.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "edge-chat: $1" >&2; exit 1; }
say() { echo "edge-chat: $1" >&2; }
locked() { awk -v name="\"$1\"" '$1 == "name" && $3 == name { found = 1 } found && $1 == "version" { gsub(/"/, "", $3); print $3; exit }' Cargo.lock; }

command -v cargo >/dev/null || die "cargo is missing; install Rust with rustup: https://rustup.rs"
command -v npm >/dev/null || die "npm is missing; install Node.js 20 or newer: https://nodejs.org"
command -v cc >/dev/null || die "a C compiler is missing, which cargo links with (Debian: apt install gcc libc6-dev)"
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || die "Node.js 20 or newer is needed, this is $(node --version)"

# Cargo's own target directory is shared by both tools, and what they have in common is compiled once.
tool() { # crate, command, version
    [ "$("$2" --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+\.[0-9]+' | head -n 1)" = "$3" ] && return
    say "installing $1 $3 with cargo, once per machine: two minutes or so"
    cargo install --quiet --debug "$1" --version "$3" --target-dir target/tools || die "could not install $1 $3"
}

if [ ! -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ]; then
    command -v rustup >/dev/null || die "the target wasm32-unknown-unknown is missing and there is no rustup to add it"
    say "adding the target wasm32-unknown-unknown"
    rustup --quiet target add wasm32-unknown-unknown
fi

if ! cmp -s package-lock.json node_modules/.edge-chat-lock; then
    say "installing npm packages, half a minute or so"
    # Not `npm ci`: it fails where a registry lacks some other platform's build of an optional package.
    npm install --no-save --no-audit --no-fund --loglevel=error >&2
    cp package-lock.json node_modules/.edge-chat-lock
fi

tool worker-build worker-build "$(locked worker)"
tool wasm-bindgen-cli wasm-bindgen "$(locked wasm-bindgen)"
rm -rf target/tools

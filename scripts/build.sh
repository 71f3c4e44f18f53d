#!/usr/bin/env bash
# Builds the Worker into build/. Wrangler calls it (wrangler.toml) before `dev` and `deploy`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Without these, worker-build would download its own copies of each.
export WASM_BINDGEN_BIN=wasm-bindgen
export WASM_OPT_BIN="$PWD/node_modules/.bin/wasm-opt"
export ESBUILD_BIN="$PWD/node_modules/.bin/esbuild"
command -v worker-build wasm-bindgen >/dev/null && [ -x "$WASM_OPT_BIN" ] || {
    echo "edge-chat: the build's tools are missing; run \`make setup\`" >&2
    exit 1
}
worker-build --release
# Function names are a seventh of the file and serve nobody at the edge; worker-build has no way to leave them out.
"$WASM_OPT_BIN" --all-features --strip-debug build/index_bg.wasm --output build/index_bg.wasm

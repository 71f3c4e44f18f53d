#!/usr/bin/env bash
# Builds the Worker into build/, and its static assets into build/assets/. Wrangler calls it (wrangler.toml) before `dev`
# and `deploy`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Without these, worker-build would download its own copies of each.
export WASM_BINDGEN_BIN=wasm-bindgen ESBUILD_BIN="$PWD/node_modules/.bin/esbuild"
wasm_opt="$PWD/node_modules/.bin/wasm-opt"
command -v worker-build wasm-bindgen >/dev/null && [ -x "$wasm_opt" ] || {
    echo "edge-chat: the build's tools are missing; run \`make setup\`" >&2
    exit 1
}
# wasm-opt's passes would take 20 s, save 8 % of the file and nothing of it compressed: LLVM has done the work. Function
# names are a seventh of the file and serve nobody at the edge, and only wasm-opt can leave them out.
worker-build --release --no-opt
"$wasm_opt" --all-features --strip-debug build/index_bg.wasm --output build/index_bg.wasm

node scripts/web.js

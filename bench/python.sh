#!/usr/bin/env bash
# Installs what the benchmark needs of Python (the FastAPI peer and the plots) into .data/bench-python.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=.data/bench-python
wanted=$(cat bench/fastapi/requirements.txt bench/plots/requirements.txt)

[ "$wanted" = "$(cat "$environment/installed" 2>/dev/null)" ] && exit
command -v python3 >/dev/null || { echo "edge-chat: python3 is missing (Debian: apt install python3 python3-venv)" >&2; exit 1; }
echo "edge-chat: installing FastAPI and matplotlib from PyPI into $environment, half a minute or so" >&2
rm -rf "$environment"
python3 -m venv "$environment" || { echo "edge-chat: python3 has no venv (Debian: apt install python3-venv)" >&2; exit 1; }
"$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary=:all: --no-deps -r bench/fastapi/requirements.txt -r bench/plots/requirements.txt
"$environment/bin/pip" check --disable-pip-version-check >&2
echo "$wanted" >"$environment/installed"

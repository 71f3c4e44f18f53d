"""Streams one reply with httpx-sse: URL and message as arguments, the reply on standard output."""
import sys

import httpx
from httpx_sse import connect_sse

url, content = sys.argv[1:]
with httpx.Client(timeout=20) as client:
    with connect_sse(client, "POST", url, json={"content": content}) as source:
        events = [(event.id, event.event, event.json()) for event in source.iter_sse()]

turn = events[0][0].split(".")[0]
assert all(name == "message" and identifier.startswith(turn) for identifier, name, _ in events), events
assert [data["is_final"] for _, _, data in events].count(True) == 1 and events[-1][2]["is_final"], events
assert events[-1][0] == f"{turn}.end", events
sys.stdout.buffer.write("".join(data["content"] for _, _, data in events).encode())

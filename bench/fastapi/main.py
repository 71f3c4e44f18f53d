"""The chat of the integration guide as a FastAPI service: asyncpg's pool, httpx for the model, one event for each token.

httpx rather than the openai package, which builds a pydantic object for each token and would only make this slower.
"""

import json
import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timezone

import asyncpg
import httpx
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

INSTRUCTIONS = (
    "You are Anna, the consultation assistant of Istanbul Medic. Schedule free, no-obligation online consultations. "
    "Never give medical advice."
)
COMPLETIONS_URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
MODEL = os.environ["OPENAI_MODEL"]

logging.basicConfig(level=logging.INFO)
logging.getLogger("httpx").setLevel(logging.WARNING)
logger = logging.getLogger("chat")


class ChatMessageRequest(BaseModel):
    content: str
    user_id: str = Field(default_factory=lambda: str(uuid.uuid4()), min_length=1, max_length=128)
    media_urls: list[str] = []
    audio_urls: list[str] = []


class HistoryService:
    """Users and messages in PostgreSQL. The pool keeps its statements prepared."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def record_incoming(self, phone_number: str, body: str, media_url: str | None) -> uuid.UUID:
        async with self.pool.acquire() as connection:
            user = await connection.fetchval(
                "INSERT INTO users (id, phone_number) VALUES ($1, $2)"
                " ON CONFLICT (phone_number) DO UPDATE SET phone_number = excluded.phone_number RETURNING id",
                uuid.uuid4(), phone_number,
            )
            await connection.execute(
                "INSERT INTO messages (id, user_id, direction, body, media_url) VALUES ($1, $2, 'incoming', $3, $4)",
                uuid.uuid4(), user, body, media_url,
            )
            return user

    async def record_outgoing(self, user: uuid.UUID, body: str) -> None:
        async with self.pool.acquire() as connection:
            await connection.execute(
                "INSERT INTO messages (id, user_id, direction, body) VALUES ($1, $2, 'outgoing', $3)",
                uuid.uuid4(), user, body,
            )


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with (
        asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=5, max_size=20) as pool,
        httpx.AsyncClient(
            headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
            # By default no more than 100 replies could be under way.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            # The benchmark's growing replies stay silent for long before their last word.
            timeout=httpx.Timeout(120, connect=5),
        ) as client,
    ):
        app.state.history = HistoryService(pool)
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


def event(content: str, is_final: bool) -> str:
    timestamp = datetime.now(timezone.utc).isoformat()
    return f"data: {json.dumps({'content': content, 'timestamp': timestamp, 'is_final': is_final})}\n\n"


async def stream_reply(history: HistoryService, user: uuid.UUID, completion: httpx.Response) -> AsyncIterator[str]:
    pieces = []
    try:
        async for line in completion.aiter_lines():
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            choices = json.loads(line[6:])["choices"]
            content = choices[0]["delta"].get("content") if choices else None
            if content:
                pieces.append(content)
                yield event(content, is_final=False)
    finally:
        await completion.aclose()
    reply = "".join(pieces)
    await history.record_outgoing(user, reply)
    yield event("", is_final=True)
    logger.info("📩 Chat streaming message: %d characters", len(reply))


@app.post("/chat/stream")
async def chat_stream(request: Request, message: ChatMessageRequest) -> StreamingResponse:
    history: HistoryService = request.app.state.history
    client: httpx.AsyncClient = request.app.state.client
    media_url = message.media_urls[0] if message.media_urls else None
    user = await history.record_incoming(f"chat_{message.user_id}", message.content, media_url)
    body = {
        "model": MODEL,
        "stream": True,
        "messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": message.content}],
    }
    completion = await client.send(client.build_request("POST", COMPLETIONS_URL, json=body), stream=True)
    if completion.status_code != 200:
        await completion.aclose()
        raise HTTPException(503, "The assistant is not available.")
    return StreamingResponse(
        stream_reply(history, user, completion),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )

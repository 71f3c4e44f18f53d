// The chat of the integration guide as a TypeScript Worker, the way the documentation of its libraries has it: Hono's
// `streamSSE`, postgres.js over Hyperdrive with the options that Cloudflare recommends, eventsource-parser for the model.
import { createParser } from "eventsource-parser";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import { validator } from "hono/validator";
import postgres from "postgres";

type Bindings = { HYPERDRIVE: { connectionString: string }; OPENAI_BASE_URL: string; OPENAI_API_KEY: string; OPENAI_MODEL: string };
type ChatMessage = { content: string; user_id: string; media_urls: string[]; audio_urls: string[] };

const INSTRUCTIONS =
  "You are Anna, the consultation assistant of Istanbul Medic. Schedule free, no-obligation online consultations. Never give medical advice.";

const app = new Hono<{ Bindings: Bindings }>();

const chatMessage = validator("json", (value, c): ChatMessage | Response => {
  const { content, user_id = crypto.randomUUID(), media_urls, audio_urls } = value;
  if (typeof content !== "string" || typeof user_id !== "string") return c.json({ detail: "content must be a string" }, 400);
  return { content, user_id, media_urls: media_urls ?? [], audio_urls: audio_urls ?? [] };
});

app.post("/chat/stream", chatMessage, async (c) => {
  const message = c.req.valid("json");
  // https://developers.cloudflare.com/hyperdrive/examples/connect-to-postgres/postgres-drivers-and-libraries/postgres-js/
  const sql = postgres(c.env.HYPERDRIVE.connectionString, { max: 5, fetch_types: false });
  const [user] = await sql`
    INSERT INTO users (id, phone_number) VALUES (${crypto.randomUUID()}, ${`chat_${message.user_id}`})
    ON CONFLICT (phone_number) DO UPDATE SET phone_number = excluded.phone_number
    RETURNING id`;
  await sql`
    INSERT INTO messages (id, user_id, direction, body, media_url)
    VALUES (${crypto.randomUUID()}, ${user.id}, 'incoming', ${message.content}, ${message.media_urls[0] ?? null})`;

  const completion = await fetch(`${c.env.OPENAI_BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${c.env.OPENAI_API_KEY}` },
    body: JSON.stringify({
      model: c.env.OPENAI_MODEL,
      stream: true,
      messages: [{ role: "system", content: INSTRUCTIONS }, { role: "user", content: message.content }],
    }),
  });
  if (!completion.ok) {
    c.executionCtx.waitUntil(sql.end());
    return c.json({ detail: "The assistant is not available." }, 503);
  }

  return streamSSE(c, async (stream) => {
    const send = (content: string, isFinal: boolean) =>
      stream.writeSSE({ data: JSON.stringify({ content, timestamp: new Date().toISOString(), is_final: isFinal }) });
    let reply = "";
    let pieces: string[] = [];
    const parser = createParser({
      onEvent({ data }) {
        const content = data === "[DONE]" ? undefined : JSON.parse(data).choices[0]?.delta.content;
        if (content) pieces.push(content);
      },
    });
    const decoder = new TextDecoder();
    for await (const bytes of completion.body!) {
      parser.feed(decoder.decode(bytes, { stream: true }));
      for (const piece of pieces) {
        reply += piece;
        await send(piece, false);
      }
      pieces = [];
    }
    await sql`
      INSERT INTO messages (id, user_id, direction, body) VALUES (${crypto.randomUUID()}, ${user.id}, 'outgoing', ${reply})`;
    await send("", true);
    c.executionCtx.waitUntil(sql.end());
    console.log(`📩 Chat streaming message: ${reply.length} characters`);
  });
});

export default app;

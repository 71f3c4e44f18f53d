// Whoever comes back finds the reply: GET /chat/stream, live or stored, from behind what was seen.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { sleep, startModel } from "./helpers/model.js";
import { readEvents, startService, until } from "./helpers/service.js";

const REPLY = "Grüße aus İstanbul, 😀 und bis bald.";

let model;
let service;
before(async () => {
  model = await startModel();
  service = await startService({ model, vars: { DISCONNECT_GRACE_MS: "2500" } });
});
after(async () => {
  await service.stop();
  model.stop();
});
beforeEach(async () => {
  await service.sql`TRUNCATE users CASCADE`;
  model.reply = (reply) => reply.say(REPLY);
});

/** GET /chat/stream of a visitor: status, and the events with their text. */
async function listen(headers, { at = service, query = "" } = {}) {
  const response = await at.fetch(`/chat/stream${query}`, { headers });
  if (response.status !== 200) return { status: response.status, body: await response.text() };
  const events = await Array.fromAsync(readEvents(response));
  return { status: 200, events, text: events.map((event) => event.data.content).join("") };
}

async function visitor() {
  const { headers } = await service.chat({ content: "Hi" });
  return {
    token: { "X-Chat-Token": headers.get("x-chat-token") },
    cookie: { Cookie: headers.get("set-cookie").split(";")[0] },
    ticket: headers.get("x-chat-ticket"),
  };
}

test("the newest reply, by cookie or by header, in the same events", async () => {
  const { token, cookie } = await visitor();
  for (const headers of [token, cookie]) {
    const { text, events } = await listen(headers);
    assert.equal(text, REPLY);
    assert.deepEqual(Object.keys(events[0].data), ["content", "timestamp", "is_final"]);
    assert.equal(events.filter((event) => event.data.is_final).length, 1);
    const [turn] = await service.turns();
    assert.equal(events.at(-1).id, `${turn.incoming_id}.end`);
  }
  model.reply = (reply) => reply.say("Newer.");
  await service.chat({ content: "And?" }, token);
  assert.equal((await listen(cookie)).text, "Newer.");
});

test("Last-Event-ID goes on behind the last character seen, wherever that is", async () => {
  const { token } = await visitor();
  const [turn] = await service.turns();
  const bytes = Buffer.from(REPLY);
  for (let seen = 0; seen <= bytes.length; seen += 1) {
    const { text, events } = await listen({ ...token, "Last-Event-ID": `${turn.incoming_id}.${seen}` });
    // Within a character nothing of it was seen.
    let from = seen;
    while (from < bytes.length && (bytes[from] & 0xc0) === 0x80) from -= 1;
    assert.equal(text, bytes.subarray(from).toString(), `from ${seen}`);
    assert.equal(events.at(-1).data.is_final, true);
  }
});

test("204 when there is nothing left to show", async () => {
  const { token } = await visitor();
  const [turn] = await service.turns();
  for (const headers of [
    {},
    { "X-Chat-Token": (await service.fetch("/chat/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" })).headers.get("x-chat-token") },
    { Cookie: "edge_chat=nonsense" },
    { ...token, "Last-Event-ID": `${turn.incoming_id}.end` },
  ]) {
    assert.deepEqual(await listen(headers), { status: 204, body: "" });
  }
  // Ids of other replies, and nonsense, mean that nothing of this one was seen.
  for (const id of [`${randomUUID()}.end`, `${randomUUID()}.3`, "nonsense", `${turn.incoming_id}.x`]) {
    assert.equal((await listen({ ...token, "Last-Event-ID": id })).text, REPLY);
  }
});

test("a user_id opens nothing", async () => {
  const { headers } = await service.chat({ user_id: "named", content: "Hi" });
  assert.equal(headers.get("x-chat-token"), null);
  assert.equal(headers.get("x-chat-ticket"), null);
});

test("a ticket is good once, and not for long", async () => {
  const { ticket } = await visitor();
  assert.equal((await listen({}, { query: `?ticket=${ticket}` })).text, REPLY);
  assert.equal((await listen({}, { query: `?ticket=${ticket}` })).status, 204);
  const late = (await visitor()).ticket;
  await service.sql`UPDATE chat_turns SET created_at = created_at - interval '301 seconds'`;
  assert.equal((await listen({}, { query: `?ticket=${late}` })).status, 204);
  for (const wrong of [randomUUID(), "", "x"]) assert.equal((await listen({}, { query: `?ticket=${wrong}` })).status, 204);
});

test("a reply that is being written is followed live", async () => {
  let goOn;
  const isSeen = new Promise((resolve) => { goOn = resolve; });
  model.reply = async (reply) => {
    await reply.token("First ");
    await isSeen;
    await reply.token("second.");
    await reply.finish();
  };
  const post = await service.post("/chat/stream", { content: "Hi" });
  const get = await service.fetch("/chat/stream", { headers: { "X-Chat-Token": post.headers.get("x-chat-token") } });
  const [posted, followed] = [readEvents(post), readEvents(get)];
  assert.equal((await posted.next()).value.data.content, "First ");
  assert.equal((await followed.next()).value.data.content, "First ");
  goOn();
  for (const events of [posted, followed]) {
    const rest = await Array.fromAsync(events);
    assert.equal(rest.map((event) => event.data.content).join(""), "second.");
    assert.equal(rest.at(-1).data.is_final, true);
  }
});

test("after a disconnect the reply is seen from elsewhere within a second, and to its end", async () => {
  const elsewhere = await startService({ model, database: service.database });
  try {
    let isBack = false;
    model.reply = async (reply) => {
      // A client that closed its connection is noticed when something is written to it.
      while (!isBack) {
        await reply.token("Still here. ");
        await sleep(50);
      }
      await reply.token("Welcome back.");
      await reply.finish();
    };
    const abort = new AbortController();
    const post = await service.post("/chat/stream", { content: "Hi" }, {}, { signal: abort.signal });
    await readEvents(post).next();
    const token = { "X-Chat-Token": post.headers.get("x-chat-token") };
    assert.equal((await service.turns())[0].progress, null);
    abort.abort();
    await until(async () => (await service.turns())[0].progress?.startsWith("Still here. "), { seconds: 1 });
    const events = readEvents(await elsewhere.fetch("/chat/stream", { headers: token }));
    const first = (await events.next()).value.data.content;
    assert.match(first, /^(Still here. )+$/);
    isBack = true;
    const text = first + (await Array.fromAsync(events)).map((event) => event.data.content).join("");
    assert.match(text, /^(Still here. )+Welcome back\.$/);
    assert.equal((await service.messages())[1].body, text);
    assert.partialDeepStrictEqual((await service.turns())[0], { state: "complete", progress: null });
  } finally {
    await elsewhere.stop();
  }
});

test("a reply that takes too long after its visitor left is stored as partial", async () => {
  model.reply = async (reply) => {
    for (;;) {
      await reply.token("more ");
      await sleep(200);
      if (reply.outgoing.destroyed) return;
    }
  };
  const abort = new AbortController();
  const events = readEvents(await service.post("/chat/stream", { content: "Hi" }, {}, { signal: abort.signal }));
  await events.next();
  abort.abort();
  const turn = await until(async () => (await service.turns()).find(({ state }) => state !== "running"));
  assert.partialDeepStrictEqual(turn, { state: "partial", error: "out_of_time" });
  assert.match((await service.messages())[1].body, /^(more ){8,20}$/);
});

test("a reply whose Worker died ends with an error for those who follow it", async () => {
  const { token } = await visitor();
  await service.sql`DELETE FROM messages WHERE direction = 'outgoing'`;
  await service.sql`
    UPDATE chat_turns SET state = 'running', progress = 'Half', progress_at = now() - interval '91 seconds'`;
  const { text, events } = await listen(token);
  assert.equal(text, "Half");
  assert.equal(events.at(-1).data.error.code, "reply_interrupted");
});

// What is stored of a visitor is theirs: to see, to take along, to have erased; and it is forgotten in time.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { startModel } from "./helpers/model.js";
import { startProxy } from "./helpers/proxy.js";
import { newDatabase, proven, readEvents, startService, until, workerUrl } from "./helpers/service.js";

const WHATSAPP = "+905551112233";

let model;
let service;
before(async () => {
  model = await startModel();
  service = await startService({ model, vars: { RETENTION_DAYS: "30" } });
});
after(async () => {
  await service.stop();
  model.stop();
});
beforeEach(async () => {
  await service.sql`TRUNCATE users, chat_budgets, chat_erasures CASCADE`;
  model.reply = (reply) => reply.say("Hello there, visitor.");
  // The WhatsApp agent's.
  const [{ id }] = await service.sql`INSERT INTO users VALUES (gen_random_uuid(), ${WHATSAPP}, 'Jane', now() - interval '3 years') RETURNING id`;
  await service.sql`INSERT INTO messages VALUES (gen_random_uuid(), ${id}, 'incoming', 'By WhatsApp', NULL, now() - interval '3 years')`;
  await service.sql`INSERT INTO users VALUES (gen_random_uuid(), '+905550000000', NULL, now() - interval '3 years')`;
});

async function visitor(body = {}) {
  const { headers } = await service.chat({ content: "My name is Jane Roe and my knee hurts", media_urls: ["https://a.test/1.jpg"], ...body });
  return { "X-Chat-Token": headers.get("x-chat-token") };
}

async function rows() {
  const counts = {};
  for (const table of ["users", "messages", "chat_turns", "chat_attachments", "chat_idempotency_keys", "chat_budgets"]) {
    counts[table] = (await service.sql`SELECT count(*)::int FROM ${service.sql(table)}`)[0].count;
  }
  return counts;
}
const OTHERS = { users: 2, messages: 1, chat_turns: 0, chat_attachments: 0, chat_idempotency_keys: 0 };

test("GET /chat/me: everything, as JSON to keep", async () => {
  const headers = await visitor();
  const response = await service.fetch("/chat/me", { headers });
  assert.equal(response.headers.get("content-disposition"), 'attachment; filename="chat.json"');
  const { visitor: who, messages } = await response.json();
  assert.match(who.id, /^chat_visitor_/);
  assert.equal(who.name, "Jane Roe");
  assert.equal(messages.length, 2);
  assert.partialDeepStrictEqual(messages[0], { direction: "incoming", content: "My name is Jane Roe and my knee hurts", media_urls: ["https://a.test/1.jpg"], audio_urls: [], state: "complete", is_proven: true });
  assert.partialDeepStrictEqual(messages[1], { direction: "outgoing", content: "Hello there, visitor.", provider: "openai", model: "stand-in" });
  // Of somebody who has said nothing there is nothing.
  const { headers: fresh } = await service.post("/chat/session", {});
  const empty = await service.fetch("/chat/me", { headers: { "X-Chat-Token": fresh.get("x-chat-token") } });
  assert.deepEqual(await empty.json(), { visitor: null, messages: [] });
});

test("a user's export has what others wrote in their name, and says so", async () => {
  await service.chat({ user_id: "u", content: "Unproven words" });
  const headers = await visitor(proven("u"));
  const { messages } = await (await service.fetch("/chat/me", { headers })).json();
  assert.deepEqual(messages.filter(({ direction }) => direction === "incoming").map(({ content, is_proven }) => [content, is_proven]), [
    ["Unproven words", false], ["My name is Jane Roe and my knee hurts", true],
  ]);
});

test("DELETE /chat/me: everything of theirs, and nothing of anybody else's", async () => {
  const other = await visitor({ content: "Another visitor's words" });
  const before = await rows();
  const headers = await visitor();
  await service.chat({ content: "Once more" }, { ...headers, "Idempotency-Key": "k" });
  const response = await service.fetch("/chat/me", { method: "DELETE", headers });
  assert.equal(response.status, 204);
  assert.match(response.headers.get("set-cookie"), /Max-Age=0/);
  // What they have spent today stays spent, under a name that is nobody's.
  assert.partialDeepStrictEqual(await rows(), { ...before, chat_budgets: 2 });
  assert.equal((await service.fetch("/chat/stream", { headers })).status, 204);
  assert.deepEqual((await (await service.fetch("/chat/history", { headers })).json()).messages, []);
  assert.equal((await (await service.fetch("/chat/history", { headers: other })).json()).messages.length, 2);
  // Erasing nothing is no error, and whoever writes again is somebody new.
  assert.equal((await service.fetch("/chat/me", { method: "DELETE", headers })).status, 204);
  assert.equal((await service.chat({ content: "Back again" }, headers)).status, 200);
  assert.equal((await (await service.fetch("/chat/history", { headers })).json()).messages.length, 2);
  assert.equal((await service.fetch("/chat/me", { method: "DELETE" })).status, 401);
});

test("a reply that is being written while its visitor is erased is stored nowhere, by them or by the queue", async () => {
  const outboxed = await startService({ model, database: service.database, outbox: true });
  try {
    let goOn;
    const erased = new Promise((resolve) => { goOn = resolve; });
    model.reply = async (reply) => {
      await reply.token("Half ");
      await erased;
      await reply.token("and half.");
      await reply.finish();
    };
    const post = await outboxed.post("/chat/stream", { content: "I have a secret" });
    const headers = { "X-Chat-Token": post.headers.get("x-chat-token") };
    const events = readEvents(post);
    await events.next();
    assert.equal((await outboxed.fetch("/chat/me", { method: "DELETE", headers })).status, 204);
    goOn();
    const rest = await Array.fromAsync(events);
    assert.equal(rest.at(-1).data.error.code, "erased");
    assert.partialDeepStrictEqual(await rows(), OTHERS);
    assert.deepEqual(outboxed.logged("❌ Error"), []);
  } finally {
    await outboxed.stop();
  }
});

test("a first message that is being recorded while its visitor is erased goes as well", async () => {
  let goOn;
  const held = new Promise((resolve) => { goOn = resolve; });
  model.reply = async (reply) => { await reply.token("Half "); await held; await reply.finish(); };
  const { headers } = await service.post("/chat/session", {});
  const session = { "X-Chat-Token": headers.get("x-chat-token") };
  const reply = service.stream({ content: "My name is Jane Roe and I have a secret" }, session);
  const [turn] = await until(async () => { const turns = await service.turns(); return turns.length && turns; });
  // As if neither had seen the other: the mark of the erasure alone.
  const [{ phone_number }] = await service.sql`SELECT phone_number FROM users WHERE id = ${turn.user_id}`;
  await service.sql`INSERT INTO chat_erasures VALUES (sha256(convert_to(${phone_number}, 'UTF8')), now())`;
  goOn();
  assert.equal((await reply).events.at(-1).data.error.code, "erased");
  assert.deepEqual((await service.messages()).map(({ body }) => body), ["By WhatsApp"]);
});

test("what is still in the queue is erased as well", async () => {
  const database = await newDatabase();
  const proxy = await startProxy(workerUrl(database));
  const outboxed = await startService({ model, database: proxy.url, auditDatabase: database, outbox: true, vars: { DATABASE_TIMEOUT_MS: "500" } });
  try {
    const { headers } = await outboxed.post("/chat/session", {});
    const session = { "X-Chat-Token": headers.get("x-chat-token") };
    proxy.fault = { step: "connect", kind: "cut", times: Infinity };
    assert.equal((await outboxed.chat({ content: "A secret from the outage" }, session)).status, 200);
    await until(() => outboxed.logged("❌ Error").some(({ code }) => code === "queued"));
    // By another way to the same database, while the queue still waits.
    const elsewhere = await startService({ model, database, auditDatabase: database });
    assert.equal((await elsewhere.fetch("/chat/me", { method: "DELETE", headers: session })).status, 204);
    await elsewhere.stop();
    proxy.fault = undefined;
    await until(() => outboxed.logged("📬 Turn delivered").length, { seconds: 20 });
    assert.equal((await outboxed.sql`SELECT FROM messages`).length, 0);
    assert.equal((await outboxed.sql`SELECT FROM users`).length, 0);
  } finally {
    await outboxed.stop();
    proxy.stop();
  }
});

const runCron = async (at) => (await at.miniflare.getWorker("edge-chat")).scheduled({ cron: "17 3 * * *" });

test("after RETENTION_DAYS the chat's messages are deleted, and never the WhatsApp agent's", async () => {
  const old = await visitor({ content: "Old words" });
  await service.sql`UPDATE messages SET created_at = created_at - interval '31 days' WHERE body <> 'By WhatsApp'`;
  await service.sql`UPDATE users SET created_at = created_at - interval '31 days' WHERE phone_number LIKE 'chat%'`;
  // As the service before this one left them: without a turn.
  const [{ id }] = await service.sql`INSERT INTO users VALUES (gen_random_uuid(), 'chat_legacy', NULL, now() - interval '2 years') RETURNING id`;
  await service.sql`INSERT INTO messages SELECT gen_random_uuid(), ${id}, 'incoming', 'Legacy words', NULL, now() - interval '2 years' FROM generate_series(1, 4500)`;
  const recent = await visitor({ content: "Recent words" });
  await runCron(service);
  await until(() => service.logged("🧹 Tidied up").length);
  assert.deepEqual((await service.sql`SELECT body FROM messages ORDER BY created_at`).map(({ body }) => body), [
    "By WhatsApp", "Recent words", "Hello there, visitor.",
  ]);
  assert.equal((await service.sql`SELECT FROM users`).length, 3);
  assert.partialDeepStrictEqual(service.logged("🧹 Tidied up").at(-1), { messages: 4502, users: 2 });
  assert.deepEqual((await (await service.fetch("/chat/history", { headers: old })).json()).messages, []);
  assert.equal((await (await service.fetch("/chat/history", { headers: recent })).json()).messages.length, 2);
});

test("without RETENTION_DAYS messages stay; what is only kept for a while goes", async () => {
  const forever = await startService({ model, database: service.database });
  try {
    await visitor();
    await service.chat({ content: "Keyed" }, { "Idempotency-Key": randomUUID() });
    await service.sql`UPDATE messages SET created_at = created_at - interval '10 years'`;
    await service.sql`UPDATE chat_idempotency_keys SET created_at = created_at - interval '25 hours'`;
    await service.sql`UPDATE chat_budgets SET day = day - 2`;
    await service.sql`INSERT INTO chat_erasures VALUES ('old', now() - interval '31 days'), ('new', now())`;
    // What an erasure has missed.
    const [{ id }] = await service.sql`INSERT INTO users VALUES (gen_random_uuid(), 'chat_missed') RETURNING id`;
    await service.sql`INSERT INTO messages VALUES (gen_random_uuid(), ${id}, 'incoming', 'Missed words', NULL, now() - interval '1 hour')`;
    await service.sql`INSERT INTO chat_erasures VALUES (sha256('chat_missed'), now())`;
    await service.chat({ content: "Today" }, { "Idempotency-Key": randomUUID() });
    await runCron(forever);
    await until(() => forever.logged("🧹 Tidied up").length);
    assert.partialDeepStrictEqual(await rows(), { messages: 7, chat_turns: 3, chat_idempotency_keys: 1 });
    assert.equal((await service.sql`SELECT DISTINCT day FROM chat_budgets`).length, 1);
    assert.equal((await service.sql`SELECT FROM chat_erasures`).length, 2);
    assert.ok(!(await service.messages()).some(({ body }) => body === "Missed words"));
  } finally {
    await forever.stop();
  }
});

test("a tidying-up that fails says so", async () => {
  const broken = await startService({ model, database: service.database.replace(/[^/]+$/, "no_such_database"), auditDatabase: service.database, vars: { DATABASE_TIMEOUT_MS: "500" } });
  try {
    await runCron(broken);
    await until(() => broken.logged("❌ Error").some(({ code }) => code === "not_tidied_up"));
  } finally {
    await broken.stop();
  }
});

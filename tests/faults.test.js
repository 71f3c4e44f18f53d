// Faults at every step of a turn: nothing is lost, nothing doubled, nothing out of order, nothing marked wrongly.
// SOAK_SECONDS makes the last test, of random faults, that long (`make soak`).
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { audit } from "./helpers/auditor.js";
import { sleep, startModel } from "./helpers/model.js";
import { startProxy } from "./helpers/proxy.js";
import { newDatabase, readEvents, startService, until, workerUrl } from "./helpers/service.js";

const SOAK_SECONDS = Math.min(Number(process.env.SOAK_SECONDS ?? 6), 570);
const VARS = { DATABASE_TIMEOUT_MS: "600", LLM_PROVIDERS: "openai", LLM_FIRST_TOKEN_TIMEOUT_MS: "3000", LLM_IDLE_TIMEOUT_MS: "1000" };

let model;
let proxy;
let service;
before(async () => {
  const database = await newDatabase();
  model = await startModel();
  proxy = await startProxy(workerUrl(database));
  // The Worker reaches the database through the proxy, the auditor does not.
  service = await startService({ model, database: proxy.url, auditDatabase: database, outbox: true, vars: VARS });
});
after(async () => {
  await service.stop();
  proxy.stop();
  model.stop();
});
beforeEach(() => {
  proxy.fault = undefined;
  model.reply = answer;
});

/** The reply to each message is its own. */
async function answer(reply, { body }) {
  for (const word of replyTo(body.messages.at(-1).content).match(/\S+\s*/g)) {
    await reply.token(word);
    await sleep(3);
  }
  await reply.finish();
}
const replyTo = (content) => `This is what there is to say about ${content} today.`;

let count = 0;
/** What an earlier test left in the outbox may still arrive: each test has visitors of its own. */
const newVisitor = () => `visitor-${(count += 1)}`;

/** Sends one message and returns what the client was told. */
async function send(user_id, { at = service, path = count % 2 ? "/chat/" : "/chat/stream", headers, content = `message-${(count += 1)}` } = {}) {
  const told = { user_id, content, outcome: "unknown", reply: "" };
  try {
    const response = await at.post(path, { user_id, content }, headers);
    if (path === "/chat/") {
      const json = await response.json();
      told.reply = json.content ?? "";
      told.status = response.status;
      told.outcome = { 200: "complete", 502: "partial" }[response.status] ?? "refused";
    } else if (response.status !== 200) {
      told.status = response.status;
      told.outcome = "refused";
      await response.arrayBuffer();
    } else {
      for await (const { data } of readEvents(response)) {
        told.reply += data.content;
        if (data.is_final) {
          told.error = data.error?.code;
          told.outcome = data.error === undefined ? "complete" : data.error.code === "reply_interrupted" ? "partial" : "refused";
        }
      }
    }
  } catch {
    // The connection broke: whatever happened, nobody was told.
  }
  return told;
}

/** Several visitors at once, each with several messages one after the other. */
async function visit({ visitors = 3, messages = 2, ...options } = {}) {
  const runs = Array.from({ length: visitors }, async () => {
    const told = [];
    const visitor = newVisitor();
    for (let message = 0; message < messages; message += 1) told.push(await send(visitor, options));
    return told;
  });
  return (await Promise.all(runs)).flat();
}

/** Waits until the outbox has delivered everything, and lets the auditor speak. */
async function assertNothingLost(told, { seconds = 30 } = {}) {
  proxy.fault = undefined;
  let complaints = [];
  await until(async () => (complaints = await audit(service.sql, told)).length === 0, { seconds }).catch(() => {});
  assert.deepEqual(complaints, []);
}

for (const step of ["connect", "open", "opened", "close", "closed"]) {
  for (const kind of ["cut", "blackhole", "delay"]) {
    test(`${kind} at ${step}, now and then: everybody is answered, everything is stored`, async () => {
      const injected = proxy.injected;
      proxy.fault = { step, kind, times: 3 };
      const told = await visit();
      assert.equal(proxy.injected, injected + 3);
      assert.deepEqual(told.map(({ outcome, reply }) => [outcome, reply]), told.map(({ content }) => ["complete", replyTo(content)]));
      await assertNothingLost(told);
    });
  }
  for (const kind of ["cut", "blackhole"]) {
    test(`${kind} at ${step}, always: everybody is answered, everything is stored later`, async () => {
      const undelivered = () => service.logged("❌ Error").filter(({ code }) => code === "not_delivered").length;
      const before = undelivered();
      proxy.fault = { step, kind, times: Infinity };
      const told = await visit({ visitors: 3, messages: 1 });
      assert.deepEqual(told.map(({ outcome, reply }) => [outcome, reply]), told.map(({ content }) => ["complete", replyTo(content)]));
      // A consumer that met the fault is not held by it, and comes back.
      if (kind === "blackhole") await until(() => undelivered() > before, { seconds: 30 });
      await assertNothingLost(told);
    });
  }
}

test("connections that break between two tokens", async () => {
  model.reply = async (reply, request) => {
    await reply.token("This ");
    proxy.cutAll();
    await sleep(20);
    for (const word of replyTo(request.body.messages.at(-1).content).match(/\S+\s*/g).slice(1)) await reply.token(word);
    await reply.finish();
  };
  const told = await visit({ visitors: 1, messages: 4 });
  assert.deepEqual(told.map(({ outcome, reply }) => [outcome, reply]), told.map(({ content }) => ["complete", replyTo(content)]));
  await assertNothingLost(told);
});

test("a visitor leaves while the database is down", async () => {
  proxy.fault = { step: "connect", kind: "cut", times: Infinity };
  const abort = new AbortController();
  const [user_id, content] = [newVisitor(), "left-in-an-outage"];
  const response = await service.post("/chat/stream", { user_id, content }, {}, { signal: abort.signal });
  await readEvents(response).next();
  abort.abort();
  await until(() => service.logged("📩 Chat streaming message").some(({ queued, state }) => queued && state === "complete"));
  assert.ok(service.logged("❌ Error").some(({ code, error }) => code === "queued" && error === "the connection to the database failed"));
  await assertNothingLost([{ user_id, content, outcome: "complete", reply: replyTo(content) }]);
});

test("models that break off while the database does too", async () => {
  model.reply = async (reply) => {
    await reply.token("Half");
    await sleep(20);
    reply.cut();
  };
  proxy.fault = { step: "close", kind: "cut", times: Infinity };
  const told = await visit({ messages: 1 });
  assert.deepEqual(told.map(({ outcome, reply }) => [outcome, reply]), Array(3).fill(["partial", "Half"]));
  await assertNothingLost(told);
});

test("repetitions with one key in an outage are one message in the end", async () => {
  const headers = { "Idempotency-Key": randomUUID() };
  proxy.fault = { step: "connect", kind: "cut", times: Infinity };
  const [visitor, content] = [newVisitor(), "said-once"];
  const first = await send(visitor, { headers, content, path: "/chat/stream" });
  const second = await send(visitor, { headers, content, path: "/chat/" });
  assert.deepEqual([first.outcome, second.outcome], ["complete", "complete"]);
  await assertNothingLost([first]);
});

test("a repetition that was answered in an outage gives its reply to the turn that has none", async () => {
  const [visitor, content] = [newVisitor(), "answered-the-second-time"];
  const headers = { "Idempotency-Key": randomUUID() };
  model.reply = (reply) => reply.status(500);
  assert.equal((await send(visitor, { headers, content })).status, 503);
  model.reply = answer;
  proxy.fault = { step: "connect", kind: "cut", times: Infinity };
  const told = await send(visitor, { headers, content, path: "/chat/stream" });
  assert.equal(told.outcome, "complete");
  await assertNothingLost([told]);
});

test("without an outbox an outage is 503, and nothing is said to be stored", async () => {
  const bare = await startService({ model, database: proxy.url, auditDatabase: service.auditDatabase, vars: VARS });
  try {
    for (const [step, kind] of [["connect", "cut"], ["connect", "blackhole"], ["open", "cut"], ["opened", "blackhole"], ["close", "cut"]]) {
      proxy.fault = { step, kind, times: Infinity };
      const told = await visit({ visitors: 4, messages: 1, at: bare });
      for (const { status, error, outcome, reply } of told) {
        assert.equal(outcome, "refused");
        // The model has long finished by then: nothing of what it said is shown before the message is recorded.
        if (step !== "close") assert.deepEqual([status, reply], [503, ""], `${kind} at ${step}`);
        else assert.ok(status === 503 || error === "storage_unavailable", `${status} ${error}`);
      }
    }
    proxy.fault = undefined;
    const rows = await service.sql`SELECT body, count(*)::int FROM messages WHERE direction = 'incoming' GROUP BY body HAVING count(*) > 1`;
    assert.deepEqual([...rows], []);
  } finally {
    await bare.stop();
  }
});

test("what cannot be delivered comes to rest with the dead letters, and is not retried for ever", async () => {
  await service.miniflare.getQueueProducer("OUTBOX").then((queue) => queue.send("nonsense", { contentType: "text" }));
  await until(() => service.logged("❌ Error").some(({ code }) => code === "not_delivered"));
});

test("one visitor's parallel messages have a strict order, and no reply sorts before its question", async () => {
  const visitor = newVisitor();
  const told = await Promise.all(Array.from({ length: 16 }, () => send(visitor)));
  const messages = (await service.messages()).filter(({ phone_number }) => phone_number === `chat_${visitor}`);
  assert.equal(messages.length, 32);
  const keys = messages.map(({ created_at, id }) => `${created_at.toISOString()} ${id}`);
  assert.equal(new Set(keys).size, 32);
  const sent = messages.filter(({ direction }) => direction === "incoming").map(({ body }) => body);
  await assertNothingLost(sent.map((body) => told.find(({ content }) => content === body)));
});

test("the auditor complains about whatever is wrong", async () => {
  const told = await visit({ visitors: 2, messages: 2 });
  assert.deepEqual(await audit(service.sql, told), []);
  const [{ content }] = told;
  for (const [harm, complaint] of [
    [(sql) => sql`DELETE FROM messages WHERE body = ${content}`, /lost/],
    [(sql) => sql`DELETE FROM messages WHERE body = ${replyTo(content)}`, /the reply is lost/],
    [(sql) => sql`DELETE FROM chat_turns`, /no turn/],
    [(sql) => sql`INSERT INTO messages SELECT gen_random_uuid(), user_id, direction, body, media_url, created_at FROM messages WHERE body = ${content}`, /stored 2 times/],
    [(sql) => sql`INSERT INTO messages SELECT gen_random_uuid(), user_id, direction, body, media_url, created_at FROM messages WHERE body = ${replyTo(content)}`, /has \d+ replies for \d+ turns/],
    [(sql) => sql`INSERT INTO messages SELECT gen_random_uuid(), user_id, 'incoming', 'invented', NULL, created_at FROM messages WHERE body = ${content}`, /nobody sent it/],
    [(sql) => sql`UPDATE messages SET body = 'x' WHERE body = ${replyTo(content)}`, /stored as "x"/],
    [(sql) => sql`UPDATE messages SET created_at = created_at - interval '1 hour' WHERE body = ${replyTo(content)}`, /sorts before its question/],
    [(sql) => sql`UPDATE messages SET created_at = created_at + interval '1 hour' WHERE body = ${content}`, /out of order/],
    [(sql) => sql`UPDATE chat_turns SET state = 'partial'`, /marked partial/],
    [(sql) => sql`UPDATE chat_turns SET state = 'running'`, /still running/],
  ]) {
    await assert.rejects(service.sql.begin(async (sql) => {
      await harm(sql);
      const complaints = await audit(sql, told);
      assert.ok(complaints.some((line) => complaint.test(line)), `${complaint}: ${complaints}`);
      throw new Error("rolled back");
    }), /rolled back/);
  }
});

test(`random faults of the database, the model and the clients for ${SOAK_SECONDS} s`, { timeout: 600_000 }, async (t) => {
  const end = Date.now() + SOAK_SECONDS * 1000;
  const random = (items) => items[Math.floor(Math.random() * items.length)];
  const faults = {};
  model.reply = async (reply, request) => {
    const mood = Math.random();
    if (mood < 0.05) return reply.status(500);
    if (mood < 0.08) return reply.cut();
    if (mood < 0.13) {
      await reply.token("Half");
      await sleep(20);
      return reply.cut();
    }
    return answer(reply, request);
  };
  const chaos = (async () => {
    while (Date.now() < end) {
      proxy.fault = {
        step: random(["connect", "open", "opened", "close", "closed"]),
        kind: random(["cut", "cut", "blackhole", "delay"]),
        times: random([1, 2, 5, 50]),
      };
      const name = `${proxy.fault.kind} at ${proxy.fault.step}`;
      faults[name] = (faults[name] ?? 0) + 1;
      if (Math.random() < 0.1) proxy.cutAll();
      await sleep(100 + Math.random() * 500);
    }
    proxy.fault = undefined;
  })();
  const visitor = async (name) => {
    const told = [];
    while (Date.now() < end) {
      // As a good client does: the same key until there is an answer.
      const headers = { "Idempotency-Key": randomUUID() };
      const content = `soak-${(count += 1)}`;
      let result;
      let tries = 0;
      do {
        result = await send(name, { headers, content, path: random(["/chat/", "/chat/stream"]) });
        tries += 1;
      } while (["refused", "unknown"].includes(result.outcome) && tries < 5 && Date.now() < end);
      told.push(result);
    }
    return told;
  };
  const told = (await Promise.all(Array.from({ length: 8 }, (_, index) => visitor(`soaked-${index}`)))).flat();
  await chaos;
  const outcomes = Object.groupBy(told, ({ outcome }) => outcome);
  t.diagnostic(`${told.length} messages: ${Object.entries(outcomes).map(([name, list]) => `${list.length} ${name}`).join(", ")}`);
  t.diagnostic(`faults: ${JSON.stringify(faults)}`);
  assert.ok((outcomes.complete?.length ?? 0) > told.length / 2);
  // A turn that waited long in the outbox waits as long again.
  await assertNothingLost(told, { seconds: 30 + 2 * SOAK_SECONDS });
});

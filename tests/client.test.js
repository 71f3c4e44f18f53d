// web/client.ts, as other front ends use it: in Node, over a line that is cut.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, beforeEach, test } from "node:test";
import { ChatClient, ChatError } from "../build/assets/client.js";
import { startLine } from "./helpers/line.js";
import { startModel } from "./helpers/model.js";
import { proven, startService, until } from "./helpers/service.js";

const REPLY = "Grüße aus İstanbul, 😀 und bis bald.";

let model;
let service;
let line;
let token;
let client;
before(async () => {
  model = await startModel();
  service = await startService({ model });
  line = await startLine(service.url);
});
after(async () => {
  line.stop();
  await service.stop();
  model.stop();
});
beforeEach(async () => {
  await service.sql`TRUNCATE users CASCADE`;
  line.isDown = false;
  model.reply = (reply) => reply.say(REPLY);
  token = null;
  client = new ChatClient({ endpoint: `${line.url}/`, storage: { get: () => token, set: (value) => { token = value; } } });
});

const bodies = async () => (await service.messages()).map(({ body }) => body);

async function read(events) {
  const all = await Array.fromAsync(events);
  return { text: all.map(({ type, content }) => (type === "text" ? content : "")).join(""), types: all.map(({ type }) => type), last: all.at(-1) };
}

test("send: the whole reply, and a session that goes on", async () => {
  assert.equal(await client.send("Hello"), REPLY);
  assert.equal(await client.send({ content: "Again", media_urls: ["https://a.test/1.jpg"] }), REPLY);
  assert.equal((await service.sql`SELECT count(*)::int AS users FROM users`)[0].users, 1);
  assert.ok(token);
});

test("stream: pieces, then the end", async () => {
  const { text, types, last } = await read(client.stream("Hello"));
  assert.equal(text, REPLY);
  assert.deepEqual([...new Set(types)], ["text", "end"]);
  assert.equal(last.turn, (await service.turns())[0].incoming_id);
});

test("a stream that is cut at every event is whole", async () => {
  const script = Promise.withResolvers();
  model.reply = async (reply) => {
    await reply.token("Grüße ");
    await script.promise;
    await reply.token("aus İstanbul 😀");
    await reply.finish();
  };
  let text = "";
  let cuts = 0;
  for await (const event of client.stream("Hello")) {
    if (event.type === "text") text += event.content;
    if (event.type === "text" || event.type === "reconnected") {
      if (cuts < 3) { line.cut(); cuts += 1; } else script.resolve();
    }
  }
  assert.equal(text, "Grüße aus İstanbul 😀");
  assert.equal(cuts, 3);
  assert.deepEqual(await bodies(), ["Hello", text]);
});

test("send and stream repeat what got lost with the same key", async () => {
  for (const say of [() => client.send("Hello"), async () => (await read(client.stream("Hello"))).text]) {
    await service.sql`TRUNCATE users CASCADE`;
    const isAsked = Promise.withResolvers();
    const isCut = Promise.withResolvers();
    model.reply = async (reply) => { isAsked.resolve(); await isCut.promise; await reply.say(REPLY); };
    const said = say();
    await isAsked.promise;
    line.cut();
    isCut.resolve();
    assert.equal(await said, REPLY);
    await until(async () => (await bodies()).length === 2);
    assert.deepEqual(await bodies(), ["Hello", REPLY]);
  }
});

test("abort ends the stream at once, and the reply is found by follow", async () => {
  const goOn = Promise.withResolvers();
  model.reply = async (reply) => { await reply.token("First "); await goOn.promise; await reply.token("last."); await reply.finish(); };
  const abort = new AbortController();
  await assert.rejects(async () => {
    for await (const { type } of client.stream("Hello", { signal: abort.signal })) if (type === "text") abort.abort();
  }, { name: "AbortError" });
  const followed = read(client.follow());
  goOn.resolve();
  assert.equal((await followed).text, "First last.");
});

test("errors have the service's words; a fault in mid-reply is in the end", async () => {
  await assert.rejects(client.send(""), (error) => {
    assert.ok(error instanceof ChatError);
    assert.deepEqual([error.status, error.code, error.retryable], [400, "invalid_request", false]);
    assert.ok(error.requestId);
    return true;
  });
  model.reply = (reply) => reply.status(500);
  await assert.rejects(read(client.stream("Hello")), { status: 503, code: "assistant_unavailable", retryable: true, retryAfter: 5 });
  model.reply = async (reply) => { await reply.token("Half"); reply.cut(); };
  const { text, last } = await read(client.stream("Hello"));
  assert.deepEqual([text, last.error.code], ["Half", "reply_interrupted"]);
  await assert.rejects(client.send("Hello"), { status: 502, code: "reply_interrupted", content: "Half" });
  line.isDown = true;
  line.cut();
  await assert.rejects(new ChatClient({ endpoint: line.url, retries: 0 }).send("Hello"), { status: 0, code: "network" });
});

test("history, export, identify, erase", async () => {
  assert.deepEqual(await client.history(), { messages: [], next: null });
  for (const text of ["One", "Two", "Three"]) await client.send(text);
  const { messages, next } = await client.history({ limit: 4 });
  assert.deepEqual(messages.map(({ direction, content, state }) => [direction, content, state]),
    ["Two", "Three"].flatMap((text) => [["incoming", text, "complete"], ["outgoing", REPLY, "complete"]]));
  assert.deepEqual((await client.history({ limit: 4, before: next })).messages.map(({ content }) => content), ["One", REPLY]);
  assert.match(JSON.stringify(await client.export()), /Three/);
  await client.erase();
  assert.equal(token, null);
  assert.deepEqual(await bodies(), []);
  await client.identify(proven("user_123"));
  await client.send("It is me");
  assert.equal((await service.messages())[0].phone_number, "chat_user_123");
});

test("a token that is not taken any more is replaced", async () => {
  token = "nonsense";
  assert.deepEqual(await client.history(), { messages: [], next: null });
  token = "nonsense";
  assert.equal((await read(client.stream("Hello"))).text, REPLY);
  assert.notEqual(token, "nonsense");
  // Nobody is told that their data is gone when it is not.
  token = "nonsense";
  await assert.rejects(client.erase(), { status: 401, code: "session_required" });
});

test("a user stays that user when their session ends", async () => {
  await client.identify(proven("user_123"));
  for (const act of [() => client.send("It is me"), () => client.history()]) {
    token = "nonsense";
    await act();
    assert.equal((await client.history()).messages[0].content, "It is me");
  }
  const [{ users }] = await service.sql`SELECT count(*)::int AS users FROM users`;
  assert.equal(users, 1);
  token = "nonsense";
  await client.erase();
  assert.deepEqual(await bodies(), []);
  client.reset();
  assert.equal(token, null);
  assert.deepEqual(await client.history(), { messages: [], next: null });
});

/** A service whose answers to the POST are these streams of events, one after the other. */
async function standIn(...streams) {
  const server = createServer((request, response) => {
    if (request.url.endsWith("session")) return response.setHeader("X-Chat-Token", "t").end("{}");
    response.setHeader("Content-Type", "text/event-stream");
    const [events, isWhole = true] = streams.shift();
    response.write(events);
    if (isWhole) response.end();
    else if (isWhole !== null) setImmediate(() => response.destroy());
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => { server.closeAllConnections(); server.close(); } };
}

const turn = randomUUID();
const event = (place, content) => `id: ${turn}.${place}\ndata: ${JSON.stringify({ content, is_final: place === "end" })}\n\n`;

test("a reply that another Worker began anew replaces what was shown", async () => {
  for (const [streams, expected] of [
    [[[event(5, "Hello"), false], [event(2, "He") + event(7, "y you") + event("end", "")]], "Hey you"],
    [[[event(5, "Hello"), false], [event(2, "He") + event("end", "")]], "He"],
    [[[event(6, "aé😀".slice(0, 2) + "xyz"), false], [event(3, "aé") + event(8, "xyz!!") + event("end", "")]], "aéxyz!!"],
  ]) {
    const stand = await standIn(...streams);
    let text = "";
    for await (const { type, content } of new ChatClient({ endpoint: stand.url }).stream("Hi")) {
      if (type === "text") text += content;
      if (type === "replace") text = content;
    }
    stand.stop();
    assert.equal(text, expected);
  }
});

test("CRLF, comments, foreign fields and a connection that goes silent", async () => {
  const crlf = `: hi\r\nevent: message\r\nretry: 3\r\n${event(2, "Hi").replaceAll("\n", "\r\n")}`;
  const stand = await standIn([crlf, null], [event(2, "Hi") + event(3, "!") + event("end", "")]);
  const { text, types } = await read(new ChatClient({ endpoint: stand.url, silence: 100 }).stream("Hi"));
  stand.stop();
  assert.equal(text, "Hi!");
  assert.deepEqual(types, ["text", "reconnecting", "reconnected", "text", "end"]);
});

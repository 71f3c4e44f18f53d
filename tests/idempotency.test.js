// A request that is repeated with its Idempotency-Key takes effect once.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { sleep, startModel } from "./helpers/model.js";
import { proven, startService, until } from "./helpers/service.js";

let model;
let service;
before(async () => {
  model = await startModel();
  service = await startService({ model });
});
after(async () => {
  await service.stop();
  model.stop();
});
beforeEach(async () => {
  await service.sql`TRUNCATE users CASCADE`;
  model.reply = (reply, { body }) => reply.say(`You said ${body.messages.at(-1).content.split("\n")[0]}.`);
});

const bodies = async () => (await service.messages()).map(({ body }) => body);

test("a repetition gets the stored reply, as JSON and as events, quoted or bare", async () => {
  const key = randomUUID();
  const request = { ...proven("u"), content: "Hi", media_urls: ["https://a.test/1.jpg"], audio_urls: ["https://a.test/2.mp3"] };
  const first = await service.stream(request, { "Idempotency-Key": key });
  const again = await service.stream(request, { "Idempotency-Key": `"${key}"` });
  const joined = await service.chat(request, { "Idempotency-Key": key });
  assert.match(first.text, /^You said Hi/);
  assert.equal(again.text, first.text);
  assert.equal(again.events.at(-1).id, first.events.at(-1).id);
  assert.deepEqual([joined.status, joined.json.content], [200, first.text]);
  assert.deepEqual(await bodies(), ["Hi", first.text]);
});

test("a repetition follows the reply that is being written", async () => {
  let goOn;
  const held = new Promise((resolve) => { goOn = resolve; });
  let asked = 0;
  model.reply = async (reply) => {
    asked += 1;
    if (asked > 1) return reply.isClosed;
    await reply.token("Half ");
    await held;
    await reply.token("and half.");
    await reply.finish();
  };
  const headers = { "Idempotency-Key": "k" };
  const first = service.stream({ ...proven("u"), content: "Hi" }, headers);
  await until(async () => (await service.turns()).length);
  const others = [service.stream({ ...proven("u"), content: "Hi" }, headers), service.chat({ ...proven("u"), content: "Hi" }, headers)];
  await sleep(300);
  goOn();
  assert.equal((await first).text, "Half and half.");
  assert.equal((await others[0]).text, "Half and half.");
  assert.equal((await others[1]).json.content, "Half and half.");
  assert.deepEqual(await bodies(), ["Hi", "Half and half."]);
});

test("many at once with one key are one message", async () => {
  const replies = await Promise.all(Array.from({ length: 12 }, (_, index) =>
    index % 2
      ? service.chat({ ...proven("u"), content: "Hi" }, { "Idempotency-Key": "k" }).then(({ json }) => json.content)
      : service.stream({ ...proven("u"), content: "Hi" }, { "Idempotency-Key": "k" }).then(({ text }) => text)));
  assert.deepEqual(new Set(replies), new Set(["You said Hi."]));
  assert.deepEqual(await bodies(), ["Hi", "You said Hi."]);
});

test("without a key nothing is guessed", async () => {
  for (let round = 0; round < 2; round += 1) await service.chat({ ...proven("u"), content: "yes" });
  assert.deepEqual(await bodies(), ["yes", "You said yes.", "yes", "You said yes."]);
});

test("a key belongs to one visitor", async () => {
  for (const user_id of ["a", "b"]) await service.chat({ ...proven(user_id), content: "Hi" }, { "Idempotency-Key": "k" });
  assert.equal((await bodies()).length, 4);
});

test("another message with the same key is refused, and stored nowhere", async () => {
  const headers = { "Idempotency-Key": "k" };
  const request = { ...proven("u"), content: "Hi", media_urls: ["https://a.test/1"] };
  await service.chat(request, headers);
  for (const other of [{ content: "Ho" }, { media_urls: [] }, { media_urls: [], audio_urls: request.media_urls }]) {
    for (const path of ["/chat/", "/chat/stream"]) {
      const response = await service.post(path, { ...request, ...other }, headers);
      assert.equal(response.status, 422);
      assert.equal((await response.json()).code, "key_reused");
    }
  }
  assert.deepEqual(await bodies(), ["Hi", "You said Hi."]);
});

test("a key is free again after 24 hours", async () => {
  const headers = { "Idempotency-Key": "k" };
  await service.chat({ ...proven("u"), content: "Hi" }, headers);
  await service.sql`UPDATE chat_idempotency_keys SET created_at = created_at - interval '24 hours 1 second'`;
  assert.equal((await service.chat({ ...proven("u"), content: "Ho" }, headers)).json.content, "You said Ho.");
  assert.equal((await service.chat({ ...proven("u"), content: "Ho" }, headers)).json.content, "You said Ho.");
  assert.deepEqual(await bodies(), ["Hi", "You said Hi.", "Ho", "You said Ho."]);
});

test("a repetition after every model was down asks again, in the same turn", async () => {
  const headers = { "Idempotency-Key": "k" };
  model.reply = (reply) => reply.status(500);
  assert.equal((await service.chat({ ...proven("u"), content: "Hi" }, headers)).status, 503);
  model.reply = (reply) => reply.say("Back again.");
  assert.equal((await service.stream({ ...proven("u"), content: "Hi" }, headers)).text, "Back again.");
  assert.deepEqual(await bodies(), ["Hi", "Back again."]);
  assert.deepEqual((await service.turns()).map(({ state, error }) => [state, error]), [["complete", null]]);
});

test("a repetition takes over from a Worker that died, once", async () => {
  const headers = { "Idempotency-Key": "k" };
  await service.chat({ ...proven("u"), content: "Hi" }, headers);
  await service.sql`
    UPDATE chat_turns SET state = 'running', outgoing_id = NULL, created_at = created_at - interval '10 minutes'`;
  await service.sql`DELETE FROM messages WHERE direction = 'outgoing'`;
  const again = await Promise.all(Array.from({ length: 4 }, () => service.chat({ ...proven("u"), content: "Hi" }, headers)));
  assert.deepEqual(again.map(({ json }) => json.content), Array(4).fill("You said Hi."));
  assert.deepEqual(await bodies(), ["Hi", "You said Hi."]);
});

test("a partial reply is repeated as what it is", async () => {
  model.reply = async (reply) => {
    await reply.token("Half");
    reply.cut();
  };
  const headers = { "Idempotency-Key": "k" };
  await service.stream({ ...proven("u"), content: "Hi" }, headers);
  const again = await service.stream({ ...proven("u"), content: "Hi" }, headers);
  assert.equal(again.text, "Half");
  assert.equal(again.events.at(-1).data.error.code, "reply_interrupted");
  const joined = await service.chat({ ...proven("u"), content: "Hi" }, headers);
  assert.deepEqual([joined.status, joined.json.content], [502, "Half"]);
});

test("keys that cannot be used", async () => {
  for (const key of ["", '""', '"open', "x".repeat(256)]) {
    const { status, json } = await service.chat({ content: "Hi" }, { "Idempotency-Key": key });
    assert.equal(status, 400, key);
    assert.match(json.detail, /^`Idempotency-Key` must be 1 to 255 printable ASCII characters/);
  }
});

// Who is whom: sessions and proofs, and what those see who have neither.
import assert from "node:assert/strict";
import { createHmac, randomUUID } from "node:crypto";
import { after, before, beforeEach, test } from "node:test";
import { startModel } from "./helpers/model.js";
import { SESSION_KEYS, TOKEN_SECRET, proven, readEvents, startService, until } from "./helpers/service.js";

const REPLY = "A confidential answer for one visitor.";
const NEVER = "01a203d5-a32b-7568-be29-c2c5b22c7b3e";

let model;
let service;
before(async () => {
  model = await startModel();
  service = await startService({ model, vars: { CHAT_HISTORY_MESSAGES: "20" } });
});
after(async () => {
  await service.stop();
  model.stop();
});
beforeEach(async () => {
  await service.sql`TRUNCATE users CASCADE`;
  model.reply = (reply) => reply.say(REPLY);
});

const secretOf = (id) => Object.fromEntries(SESSION_KEYS.split(",").map((key) => key.split(":")))[id];
const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

/** A token made by hand: with a good key unless told otherwise. */
function token(claims, { header = { alg: "HS256", kid: "new" }, secret = secretOf("new") } = {}) {
  const signed = `${part(header)}.${part(claims)}`;
  return `${signed}.${createHmac("sha256", secret).update(signed).digest("base64url")}`;
}
const now = () => Math.floor(Date.now() / 1000);
const claims = (changes) => ({ v: 1, site: "default", sub: { visitor: randomUUID() }, iat: now() - 10, exp: now() + 1000, ...changes });
const claimsOf = (session) => JSON.parse(Buffer.from(session.split(".")[1], "base64url"));

async function session(body = {}) {
  const response = await service.post("/chat/session", body);
  assert.equal(response.status, 200);
  return { token: response.headers.get("x-chat-token"), cookie: response.headers.get("set-cookie"), json: await response.json() };
}

/** A visitor with one message, and all that is theirs. */
async function visitor(body = {}) {
  const key = randomUUID();
  const { token } = await session(body);
  const chat = await service.chat({ content: "My knee hurts", ...body }, { "X-Chat-Token": token, "Idempotency-Key": key });
  assert.equal(chat.status, 200);
  const [turn] = (await service.turns()).slice(-1);
  return { token, headers: { "X-Chat-Token": token }, ticket: chat.headers.get("x-chat-ticket"), key, turn: turn.incoming_id };
}

/** Everything that reads, with these headers: the texts of the answers. */
async function readAll(headers, query = "") {
  return Promise.all(["/chat/stream", "/chat/history", "/chat/me"].map(async (path) => {
    const response = await service.fetch(path + query, { headers });
    return { status: response.status, text: await response.text() };
  }));
}

async function assertSeesNothing(headers, query) {
  for (const { status, text } of await readAll(headers, query)) {
    assert.ok([200, 204, 401].includes(status));
    assert.doesNotMatch(text, /confidential|knee/);
  }
}

test("a session reads its own, everywhere", async () => {
  const { headers } = await visitor();
  for (const { status, text } of await readAll(headers)) {
    assert.equal(status, 200);
    assert.match(text, /confidential/);
  }
});

test("a session before the first message: by header and cookie, and when it ends", async () => {
  const { token, cookie, json } = await session();
  assert.ok(cookie.startsWith(`edge_chat=${token}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax`));
  assert.equal(Date.parse(json.expires), claimsOf(token).exp * 1000);
  assert.partialDeepStrictEqual(claimsOf(token), { v: 1, site: "default" });
  await service.chat({ content: "Hello" }, { "X-Chat-Token": token });
  const [{ phone_number }] = await service.messages();
  assert.equal(phone_number, `chat_visitor_${claimsOf(token).sub.visitor}`);
  // Asked again with it, it is made longer for the same visitor.
  const again = await service.post("/chat/session", {}, { "X-Chat-Token": token });
  assert.deepEqual(claimsOf(again.headers.get("x-chat-token")).sub, claimsOf(token).sub);
});

test("a token past half of its time is renewed, without a new visitor", async () => {
  const old = claims({ iat: now() - 1000, exp: now() + 900 });
  const response = await service.chat({ content: "Hello" }, { "X-Chat-Token": token(old) });
  const renewed = claimsOf(response.headers.get("x-chat-token"));
  assert.deepEqual(renewed.sub, old.sub);
  assert.ok(renewed.exp > now() + 29 * 24 * 3600);
});

test("a token of the older key is good, one of a third is not", async () => {
  const older = token(claims(), { header: { alg: "HS256", kid: "old" }, secret: secretOf("old") });
  assert.equal((await service.chat({ content: "Hello" }, { "X-Chat-Token": older })).status, 200);
});

test("forged, expired, swapped, truncated and wrongly keyed tokens open nothing, and store nothing", async () => {
  const victim = await visitor();
  const good = claimsOf(victim.token);
  const [header, body, signature] = victim.token.split(".");
  const other = (await session()).token.split(".");
  const attacks = {
    nonsense: "nonsense",
    "an id alone": good.sub.visitor,
    "only dots": "..",
    "without a signature": `${header}.${body}.`,
    "truncated by a character": victim.token.slice(0, -1),
    "truncated by a part": `${header}.${body}`,
    "the signature of another": `${header}.${body}.${other[2]}`,
    "the claims of another": `${other[0]}.${body}.${other[2]}`,
    "no algorithm": `${part({ alg: "none" })}.${body}.`,
    "another algorithm": token(good, { header: { alg: "HS512", kid: "new" } }),
    "a key nobody knows": token(good, { secret: "x".repeat(32) }),
    "the older key by the newer name": token(good, { secret: secretOf("old") }),
    "a key id that is not there": token(good, { header: { alg: "HS256", kid: "third" } }),
    "no key id": token(good, { header: { alg: "HS256" } }),
    "an expired one": token({ ...good, exp: now() - 1 }),
    "one from the future": token({ ...good, iat: now() + 3600 }),
    "another site's": token({ ...good, site: "other" }),
    "another version": token({ ...good, v: 2 }),
    "one that never ends": token({ ...good, exp: "never" }),
    "the site's token for its user": token({ sub: "u", exp: now() + 1000 }, { header: { alg: "HS256", kid: "new" }, secret: TOKEN_SECRET }),
    "a long one": "x".repeat(5000),
  };
  const stored = (await service.messages()).length;
  for (const [name, attack] of Object.entries(attacks)) {
    for (const path of ["/chat/stream", "/chat/history", "/chat/me"]) {
      const response = await service.fetch(path, { headers: { "X-Chat-Token": attack } });
      assert.equal(response.status, 401, `${name}: ${path}`);
      assert.equal((await response.json()).code, "invalid_token", name);
    }
    const post = await service.chat({ content: "Hello" }, { "X-Chat-Token": attack });
    assert.deepEqual([post.status, post.json.code], [401, "invalid_token"], name);
    assert.equal((await service.fetch("/chat/me", { method: "DELETE", headers: { "X-Chat-Token": attack } })).status, 401, name);
    await assertSeesNothing({ Cookie: `edge_chat=${attack}; __Host-edge_chat=${attack}` });
  }
  assert.equal((await service.messages()).length, stored);
});

test("a cookie that is not valid is replaced, for a page cannot take it back", async () => {
  const response = await service.chat({ content: "Hello" }, { Cookie: "edge_chat=old-nonsense" });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("set-cookie"), /^edge_chat=ey/);
});

test("a token in the URL is no session", async () => {
  const { token } = await visitor();
  await assertSeesNothing({}, `?token=${token}&X-Chat-Token=${token}&edge_chat=${token}`);
});

test("another visitor's ids, key and ticket open nothing", async () => {
  const victim = await visitor();
  const attacker = await session();
  const headers = { "X-Chat-Token": attacker.token };
  model.reply = (reply) => reply.say("Nothing of note.");
  await service.chat({ content: "I am somebody else" }, headers);
  await assertSeesNothing({ ...headers, "Last-Event-ID": `${victim.turn}.0` });
  await assertSeesNothing(headers, `?before=${NEVER}`);
  await assertSeesNothing(headers, `?before=${victim.turn}`);
  // With the victim's key, the attacker's message is one of their own.
  model.reply = (reply) => reply.say("Something else.");
  const repeated = await service.chat({ content: "My knee hurts" }, { ...headers, "Idempotency-Key": victim.key });
  assert.equal(repeated.json.content, "Something else.");
  const listen = (headers) => service.fetch(`/chat/stream?ticket=${victim.ticket}`, { headers });
  assert.equal((await listen(headers)).status, 204);
  // It was not used up by that, and is good once.
  assert.match(await (await listen({})).text(), /confidential/);
  assert.equal((await listen({})).status, 204);
  assert.equal((await listen(victim.headers)).status, 204);
});

test("whoever only names a user sees nothing of theirs", async () => {
  const user = proven("jane@clinic.test");
  await visitor(user);
  const { user_id } = user;
  model.reply = (reply, { body }) => reply.say(`The model saw ${body.messages.length} messages.`);
  for (const path of ["/chat/", "/chat/stream"]) {
    const response = await service.post(path, { user_id, content: "Hello" });
    assert.equal(response.status, 200);
    // The instructions and this message.
    assert.match((await response.text()).replace(/[^]*?"content":"([^"]*)"[^"]*/g, "$1"), /saw 2 messages|The model/);
    for (const header of ["x-chat-token", "x-chat-ticket", "set-cookie"]) assert.equal(response.headers.get(header), null);
  }
  assert.deepEqual(model.requests.slice(-2).map(({ body }) => body.messages.length), [2, 2]);
  // Both of them are stored for the user, and are not the user's words: neither they nor a model take them for those.
  const rows = await service.sql`SELECT DISTINCT phone_number FROM users`;
  assert.deepEqual(rows.map(({ phone_number }) => phone_number), ["chat_jane@clinic.test"]);
  await service.chat({ ...user, content: "And now?" });
  assert.equal(model.requests.at(-1).body.messages.length, 4);
  const { token } = await session(user);
  const page = await (await service.fetch("/chat/history", { headers: { "X-Chat-Token": token } })).json();
  assert.deepEqual(page.messages.filter(({ direction }) => direction === "incoming").map(({ content }) => content), ["My knee hurts", "And now?"]);
});

test("whoever only names a user gets no reply a second time, whatever key they use", async () => {
  const user = proven("jane");
  const { key } = await visitor(user);
  model.reply = (reply) => reply.say("Something else.");
  // The user's own key means nothing here.
  const taken = await service.chat({ user_id: "jane", content: "My knee hurts" }, { "Idempotency-Key": key });
  assert.deepEqual(taken.json, { content: "Something else." });
  for (const path of ["/chat/", "/chat/stream"]) {
    const response = await service.post(path, { user_id: "jane", content: "My knee hurts" }, { "Idempotency-Key": key });
    assert.equal(response.status, 409);
    const problem = await response.json();
    assert.equal(problem.code, "already_received");
    assert.equal(problem.content, undefined);
  }
  assert.equal((await service.messages()).length, 4);
  // The user's own repetition still works, and did not notice.
  assert.equal((await service.chat({ ...user, content: "My knee hurts" }, { "Idempotency-Key": key })).json.content, REPLY);
});

test("a user without proof whose model was down may ask again", async () => {
  const headers = { "Idempotency-Key": "k" };
  model.reply = (reply) => reply.status(500);
  assert.equal((await service.chat({ user_id: "u", content: "Hi" }, headers)).status, 503);
  model.reply = (reply) => reply.say("Back again.");
  assert.equal((await service.chat({ user_id: "u", content: "Hi" }, headers)).json.content, "Back again.");
  assert.equal((await service.messages()).length, 2);
});

test("a name that only somebody unproven gives does not rename a proven user", async () => {
  const name = async () => (await service.sql`SELECT name FROM users`)[0].name;
  await service.chat({ user_id: "u", content: "My name is Jon Doe" });
  await service.chat({ user_id: "u", content: "Sorry, my name is John Doe" });
  assert.equal(await name(), "John Doe");
  await service.chat({ ...proven("u"), content: "My name is Jane Doe" });
  await service.chat({ user_id: "u", content: "My name is Mallory" });
  assert.equal(await name(), "Jane Doe");
});

test("a proof makes a session for its user, by hash or by token", async () => {
  const user = proven("jane@clinic.test");
  const byHash = await session(user);
  const user_token = token({ sub: user.user_id, exp: now() + 60 }, { header: { alg: "HS256", typ: "JWT" }, secret: TOKEN_SECRET });
  const byToken = await session({ user_token });
  await visitor(user);
  for (const { token } of [byHash, byToken]) {
    assert.deepEqual(claimsOf(token).sub, { user: user.user_id });
    for (const { text } of await readAll({ "X-Chat-Token": token })) assert.match(text, /confidential/);
  }
});

test("a wrong proof is refused, even where none is needed", async () => {
  const user_token = (body, options) => ({ user_token: token(body, { header: { alg: "HS256" }, secret: TOKEN_SECRET, ...options }) });
  for (const [proof, detail] of [
    [{ ...proven("a"), user_id: "b" }, /^`user_hash` must be the HMAC-SHA256/],
    [{ user_id: "a", user_hash: "" }, /^`user_hash` must be/],
    [{ user_id: "a", user_hash: proven("a").user_hash.slice(2) }, /^`user_hash` must be/],
    [user_token({ sub: "a", exp: now() - 100 }), /^`user_token` must be/],
    [user_token({ sub: "a" }), /^`user_token` must be/],
    [user_token({ sub: "a", exp: now() + 60 }, { secret: "guessed" }), /^`user_token` must be/],
    [{ user_token: `${part({ alg: "none" })}.${part({ sub: "a", exp: now() + 60 })}.` }, /^`user_token` must be/],
    [{ ...user_token({ sub: "a", exp: now() + 60 }), user_id: "b" }, /^`user_token` is for another user/],
  ]) {
    for (const path of ["/chat/", "/chat/stream", "/chat/session"]) {
      const response = await service.post(path, { content: "Hello", ...proof });
      assert.equal(response.status, 401);
      assert.ok(response.headers.get("www-authenticate"));
      const problem = await response.json();
      assert.equal(problem.code, "unproven_identity");
      assert.match(problem.detail, detail);
    }
  }
  assert.equal((await service.messages()).length, 0);
});

test("nobody can call themselves by a visitor's id", async () => {
  const { token } = await visitor();
  const { status } = await service.chat({ user_id: `visitor_${claimsOf(token).sub.visitor}`, content: "Hello" });
  assert.equal(status, 400);
});

test("IDENTITY=verified wants proof of every user_id", async () => {
  const strict = await startService({ model, database: service.database, vars: { IDENTITY: "verified" } });
  try {
    for (const path of ["/chat/", "/chat/stream", "/chat/session"]) {
      const response = await strict.post(path, { user_id: "a", content: "Hello" });
      assert.equal(response.status, 401);
      assert.equal((await response.json()).code, "unproven_identity");
    }
    assert.equal((await strict.chat({ ...proven("a"), content: "Hello" })).status, 200);
    // The session that a proof made stands for the user; visitors without an id have their own.
    const { token } = await session(proven("a"));
    assert.equal((await strict.chat({ user_id: "a", content: "Hello" }, { "X-Chat-Token": token })).status, 200);
    assert.equal((await strict.chat({ user_id: "b", content: "Hello" }, { "X-Chat-Token": token })).status, 401);
    assert.equal((await strict.chat({ content: "Hello" })).status, 200);
  } finally {
    await strict.stop();
  }
});

test("a proof where there are no secrets is an answer, not a fault", async () => {
  const open = await startService({ vars: { USER_HASH_SECRETS: "" } });
  try {
    const { status, json } = await open.chat({ ...proven("a"), content: "Hello" });
    assert.deepEqual([status, json.code], [401, "unproven_identity"]);
    assert.match(json.detail, /has no `USER_HASH_SECRETS`/);
    const session = await open.post("/chat/session", { user_id: "a" });
    assert.equal(session.status, 401);
  } finally {
    await open.stop();
  }
});

test("DELETE /chat/session makes the browser forget, and keeps what was said", async () => {
  const { headers } = await visitor();
  const response = await service.fetch("/chat/session", { method: "DELETE", headers });
  assert.equal(response.status, 204);
  assert.match(response.headers.get("set-cookie"), /^edge_chat=; Path=\/; Max-Age=0; /);
  assert.equal((await service.messages()).length, 2);
});

test("a cookie that another host of the site can set counts for nothing over HTTPS, and hides nothing", async () => {
  const [victim, attacker] = [await visitor(), await visitor({ content: "The attacker's" })];
  const read = async (Cookie) => {
    const response = await service.miniflare.dispatchFetch("https://chat.example.com/chat/history", { headers: { Cookie } });
    return { status: response.status, text: await response.text() };
  };
  assert.match((await read(`edge_chat=${attacker.token}; __Host-edge_chat=${victim.token}`)).text, /knee/);
  assert.match((await read(`__Host-edge_chat=stale; __Host-edge_chat=${victim.token}`)).text, /knee/);
  assert.equal((await read(`edge_chat=${attacker.token}`)).status, 401);
});

test("a user's session is not made longer by showing it", async () => {
  const [good] = (await session(proven("jane"))).token.split(".");
  assert.ok(good);
  const old = token({ ...claims({ iat: now() - 1000, exp: now() + 5 }), sub: { user: "jane" } });
  const response = await service.post("/chat/session", {}, { "X-Chat-Token": old });
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("x-chat-token"), null);
  assert.ok(Date.parse((await response.json()).expires) <= Date.now() + 6000);
});

test("the hash of an id is no token's signature", async () => {
  // An id that a user may choose, where a site lets them: its hash is what would sign this token with the same secret.
  const id = `${part({ alg: "HS256" })}.${part({ sub: "jane", exp: 9e9 })}`;
  const signature = Buffer.from(proven(id).user_hash, "hex").toString("base64url");
  const { status } = await service.chat({ content: "Hello", user_token: `${id}.${signature}` });
  assert.equal(status, 401);
});

test("fetch-event-source's repetition goes on behind the last event, unless the reply is begun anew", async () => {
  const headers = { "Idempotency-Key": randomUUID(), "X-Chat-Token": (await session()).token };
  const first = await service.stream({ content: "Hello" }, headers);
  const [, second] = first.events;
  const again = await service.stream({ content: "Hello" }, { ...headers, "Last-Event-ID": second.id });
  assert.equal(again.text, REPLY.slice(Number(second.id.split(".")[1])));
  const over = await service.stream({ content: "Hello" }, { ...headers, "Last-Event-ID": first.events.at(-1).id });
  assert.deepEqual([over.text, over.events.length], ["", 1]);
  await service.sql`UPDATE chat_turns SET state = 'failed', outgoing_id = NULL`;
  const anew = await service.stream({ content: "Hello" }, { ...headers, "Last-Event-ID": second.id });
  assert.equal(anew.text, REPLY);
});

test("a stopped reply ends, and what there is of it is kept", async () => {
  model.reply = async (reply) => {
    while (!reply.outgoing.destroyed) {
      await reply.token("word ");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  const errors = service.logged("❌ Error").length;
  const elsewhere = await startService({ model, database: service.database });
  try {
    for (const at of [service, elsewhere]) {
      const { token } = await session();
      const abort = new AbortController();
      const post = await service.post("/chat/stream", { content: "Hello" }, { "X-Chat-Token": token }, { signal: abort.signal });
      await readEvents(post).next();
      abort.abort();
      const stopped = await at.fetch("/chat/stream", { method: "DELETE", headers: { "X-Chat-Token": token } });
      assert.equal(stopped.status, 204);
      const turn = await until(async () => (await service.turns()).find(({ state }) => state !== "running"));
      assert.partialDeepStrictEqual(turn, { state: "partial", error: "stopped" });
      assert.match((await service.messages()).at(-1).body, /^(word )+$/);
      // Nothing is running any more.
      assert.equal((await at.fetch("/chat/stream", { method: "DELETE", headers: { "X-Chat-Token": token } })).status, 204);
      await service.sql`TRUNCATE users CASCADE`;
    }
    assert.equal((await service.fetch("/chat/stream", { method: "DELETE" })).status, 401);
  } finally {
    await elsewhere.stop();
  }
  assert.equal(service.logged("❌ Error").length, errors);
});

test("nobody stops another's reply, and one that is asked for again is not stopped by what was before", async () => {
  let goOn;
  let held = new Promise((resolve) => { goOn = resolve; });
  model.reply = async (reply) => { await reply.token("Half "); await held; await reply.token("and half."); await reply.finish(); };
  const headers = { "X-Chat-Token": (await session()).token, "Idempotency-Key": "k" };
  const reply = service.stream({ content: "Hello" }, headers);
  await until(async () => (await service.turns()).length);
  const other = { "X-Chat-Token": (await session()).token };
  assert.equal((await service.fetch("/chat/stream", { method: "DELETE", headers: other })).status, 204);
  assert.equal((await service.turns())[0].is_stopped, false);
  goOn();
  assert.equal((await reply).text, "Half and half.");
  await service.sql`UPDATE chat_turns SET state = 'failed', outgoing_id = NULL, is_stopped = true`;
  held = undefined;
  assert.equal((await service.stream({ content: "Hello" }, headers)).text, "Half and half.");
});

test("a reply that is stopped before its first word ends with it", async () => {
  let goOn;
  const held = new Promise((resolve) => { goOn = resolve; });
  model.reply = async (reply) => { await held; await reply.token("One "); await reply.isClosed; };
  const headers = { "X-Chat-Token": (await session()).token };
  const reply = service.stream({ content: "Hello" }, headers);
  await until(async () => (await service.turns()).length);
  assert.equal((await service.fetch("/chat/stream", { method: "DELETE", headers })).status, 204);
  goOn();
  await reply;
  assert.partialDeepStrictEqual((await service.turns())[0], { state: "partial", error: "stopped" });
  assert.equal((await service.messages())[1].body, "One ");
});

test("history: the visitor's own, in pages of whole turns", async () => {
  const { token } = await session();
  const headers = { "X-Chat-Token": token };
  for (const index of [1, 2, 3]) await service.chat({ content: `Question ${index}`, media_urls: ["https://a.test/1.jpg"], audio_urls: ["https://a.test/1.mp3"] }, headers);
  model.reply = async (reply) => { await reply.token("Half"); reply.cut(); };
  await service.chat({ content: "Question 4" }, headers);
  model.reply = (reply) => reply.status(500);
  await service.chat({ content: "Question 5" }, headers);

  const page = async (query) => (await service.fetch(`/chat/history${query}`, { headers })).json();
  const all = await page("");
  assert.deepEqual(all.messages.map(({ content, state }) => [content, state]), [
    ["Question 1", "complete"], [REPLY, "complete"], ["Question 2", "complete"], [REPLY, "complete"],
    ["Question 3", "complete"], [REPLY, "complete"], ["Question 4", "partial"], ["Half", "partial"], ["Question 5", "failed"],
  ]);
  assert.equal(all.next, null);
  assert.partialDeepStrictEqual(all.messages[0], { direction: "incoming", media_urls: ["https://a.test/1.jpg"], audio_urls: ["https://a.test/1.mp3"] });
  assert.match(all.messages[1].timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/);
  let pages = await page("?limit=4");
  let seen = pages.messages;
  assert.equal(seen.length, 3);
  while (pages.next) {
    pages = await page(`?limit=4&before=${pages.next}`);
    seen = [...pages.messages, ...seen];
  }
  assert.deepEqual(seen, all.messages);
  for (const query of ["?limit=1", "?limit=101", "?limit=x", "?before=x", "?limit="]) {
    const response = await service.fetch(`/chat/history${query}`, { headers });
    assert.equal(response.status, 400);
    assert.equal((await response.json()).code, "invalid_request");
  }
  const nobody = await service.fetch("/chat/history");
  assert.deepEqual([nobody.status, (await nobody.json()).code], [401, "session_required"]);
  const empty = await service.fetch("/chat/history", { headers: { "X-Chat-Token": (await session()).token } });
  assert.deepEqual(await empty.json(), { messages: [], next: null });
});

// Only as much as one may: rate limits, budgets of tokens, first contact, origins.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startModel } from "./helpers/model.js";
import { proven, startService, until } from "./helpers/service.js";

let model;
before(async () => {
  model = await startModel();
  model.reply = (reply) => reply.say("Hello there, visitor.");
});
after(() => model.stop());

async function withService(options, run) {
  const service = await startService({ model, ...options });
  // Miniflare counts by the clock's minutes: none must end in between.
  const left = 60_000 - (Date.now() % 60_000);
  if (options.rateLimits && left < 15_000) await sleep(left);
  try {
    return await run(service);
  } finally {
    await service.stop();
  }
}
const from = (address) => ({ "CF-Connecting-IP": address });
const limiter = (limit) => ({ namespace_id: "1", simple: { limit, period: 60 } });
const isSpent = (text) => /as many messages as I can for today/.test(text);

test("an address may send so many requests, whatever it calls itself", async () => {
  await withService({ rateLimits: { IP_RATE_LIMITER: limiter(5) } }, async (service) => {
    const dodges = [
      [{ content: "1" }, {}], [{ content: "2", user_id: "a" }, {}], [{ content: "3", ...proven("b") }, {}],
      [{ content: "4" }, { "X-Forwarded-For": "1.1.1.1" }], [{ content: "5" }, { "X-Real-IP": "2.2.2.2", "True-Client-IP": "3.3.3.3" }],
    ];
    for (const [body, headers] of dodges) {
      assert.equal((await service.chat(body, { ...headers, ...from("203.0.113.7") })).status, 200);
    }
    for (const [path, init] of [
      ["/chat/", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"6","user_id":"c"}' }],
      ["/chat/stream", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"6"}' }],
      ["/chat/history", {}], ["/chat/me", {}], ["/chat/me", { method: "DELETE" }], ["/health", {}],
      ["/chat/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" }],
    ]) {
      const response = await service.fetch(path, { ...init, headers: { ...init.headers, ...from("203.0.113.7"), Origin: "https://www.example.com" } });
      assert.equal(response.status, 429, path);
      assert.equal(response.headers.get("retry-after"), "60");
      assert.equal(response.headers.get("access-control-allow-origin"), "*");
      assert.partialDeepStrictEqual(await response.json(), { code: "rate_limited", status: 429 });
    }
    // To an EventSource any other status would be the end for good.
    const listening = await service.fetch("/chat/stream", { headers: { ...from("203.0.113.7"), Accept: "text/event-stream" } });
    assert.deepEqual([listening.status, listening.headers.get("content-type")], [200, "text/event-stream; charset=utf-8"]);
    const event = await listening.text();
    assert.match(event, /^retry: 60000\ndata: /);
    assert.partialDeepStrictEqual(JSON.parse(event.split("data: ")[1]), { content: "", is_final: true, error: { code: "rate_limited", retryable: true } });
    assert.equal((await service.fetch("/chat/stream", { headers: from("203.0.113.7") })).status, 429);
    // A preflight costs nothing, and the neighbours are not to blame.
    assert.equal((await service.fetch("/chat/", { method: "OPTIONS", headers: from("203.0.113.7") })).status, 204);
    assert.equal((await service.chat({ content: "7" }, from("203.0.113.8"))).status, 200);
    assert.equal((await service.messages()).filter(({ body }) => body === "6").length, 0);
  });
});

test("of IPv6, a subscriber's whole /64 is one address", async () => {
  await withService({ rateLimits: { IP_RATE_LIMITER: limiter(2) } }, async (service) => {
    const statuses = [];
    for (const address of ["2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8::3", "2001:db8:0:1::1"]) {
      statuses.push((await service.chat({ content: "Hi" }, from(address))).status);
    }
    assert.deepEqual(statuses, [200, 200, 429, 200]);
  });
});

test("a visitor may send so many messages, from wherever; naming a user does not use up theirs", async () => {
  await withService({ rateLimits: { VISITOR_RATE_LIMITER: limiter(2) } }, async (service) => {
    const { headers } = await service.chat({ content: "1" }, from("203.0.113.1"));
    const session = { "X-Chat-Token": headers.get("x-chat-token") };
    assert.equal((await service.chat({ content: "2" }, { ...session, ...from("203.0.113.2") })).status, 200);
    assert.equal((await service.chat({ content: "3" }, { ...session, ...from("203.0.113.3") })).status, 429);
    for (const status of [200, 200, 429]) assert.equal((await service.chat({ content: "Hi", user_id: "jane" })).status, status);
    assert.equal((await service.chat({ content: "Hi", ...proven("jane") })).status, 200);
    // New names are no new visitors.
    const known = { "X-Chat-Token": (await service.chat({ content: "Hi" })).headers.get("x-chat-token") };
    assert.equal((await service.chat({ content: "Hi", user_id: "name-1" }, known)).status, 200);
    assert.equal((await service.chat({ content: "Hi", user_id: "name-2" }, known)).status, 429);
    // Reading is not a message.
    assert.equal((await service.fetch("/chat/history", { headers: session })).status, 200);
  });
});

// The stand-in counts 18 tokens for every reply. The instructions alone are some 600.
test("a visitor's budget: a polite answer when it is spent, and nothing for the model", async () => {
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "30", DAILY_TOKENS_PER_IP: "0" } }, async (service) => {
    const { headers } = await service.chat({ content: "1" });
    const session = { "X-Chat-Token": headers.get("x-chat-token") };
    assert.equal((await service.chat({ content: "2" }, session)).json.content, "Hello there, visitor.");
    const [{ tokens }] = await service.sql`SELECT tokens::int FROM chat_budgets`;
    assert.equal(tokens, 36);
    assert.ok(isSpent((await service.stream({ content: "3" }, session)).text));
    const asked = model.requests.length;
    // From now on the database is asked first.
    assert.ok(isSpent((await service.chat({ content: "4" }, session)).json.content));
    assert.equal(model.requests.length, asked);
    const turns = await service.turns();
    assert.deepEqual(turns.map(({ state, provider, charged }) => [state, provider, charged]), [
      ["complete", "openai", 18], ["complete", "openai", 18], ["complete", "scripted", 0], ["complete", "scripted", 0],
    ]);
    assert.equal((await service.messages()).length, 8);
    assert.equal((await service.chat({ content: "Somebody else" })).json.content, "Hello there, visitor.");
    // Tomorrow is another day.
    await service.sql`UPDATE chat_budgets SET day = day - 1`;
    assert.equal((await service.chat({ content: "5" }, session)).json.content, "Hello there, visitor.");
  });
});

test("an address's budget is not dodged by new names, nor is the address stored", async () => {
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "0", DAILY_TOKENS_PER_IP: "30" } }, async (service) => {
    const say = async (body, address) => (await service.chat({ content: "Hi", ...body }, from(address))).json.content;
    await say({}, "2001:db8::1");
    await say({ user_id: "a" }, "2001:db8::2");
    for (const body of [{}, { user_id: "b" }, proven("c")]) assert.ok(isSpent(await say(body, "2001:db8::3")));
    assert.ok(!isSpent(await say({}, "2001:db8:1::1")));
    const rows = await service.sql`SELECT scope, key FROM chat_budgets WHERE scope = 'ip'`;
    assert.equal(rows.length, 2);
    for (const { key } of rows) assert.match(key, /^[0-9a-f]{64}$/);
  });
});

test("everybody's budget; one who has spent their own takes nothing from it", async () => {
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "10", DAILY_TOKENS_PER_IP: "0", DAILY_TOKENS: "60" } }, async (service) => {
    const say = async (body) => (await service.chat({ content: "Hi", ...body })).json.content;
    for (let round = 0; round < 5; round += 1) await say(proven("greedy"));
    const total = async () => (await service.sql`SELECT tokens::int FROM chat_budgets WHERE scope = 'total'`)[0].tokens;
    assert.equal(await total(), 18);
    for (const user of ["a", "b", "c"]) assert.ok(!isSpent(await say(proven(user))));
    assert.equal(await total(), 72);
    assert.ok(isSpent(await say(proven("d"))));
    assert.ok(isSpent(await say({})));
  });
});

test("fifty requests at once cannot spend the same tokens", async () => {
  const budget = 4000;
  for (const vars of [{ DAILY_TOKENS_PER_VISITOR: String(budget) }, { DAILY_TOKENS_PER_IP: String(budget) }, { DAILY_TOKENS: String(budget) }]) {
    await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "0", DAILY_TOKENS_PER_IP: "0", LLM_MAX_TOKENS: "500", ...vars } }, async (service) => {
      let goOn;
      const held = new Promise((resolve) => { goOn = resolve; });
      // No reply ends before all are decided.
      model.reply = async (reply) => { await held; await reply.say("Hello there, visitor."); };
      const replies = Promise.all(Array.from({ length: 50 }, () => service.chat({ content: "Hi", ...proven("u") }, from("203.0.113.7"))));
      await until(async () => (await service.turns()).length === 50);
      await until(async () => (await service.sql`SELECT FROM chat_turns WHERE provider = 'scripted'`).length > 0);
      const [{ reserved }] = await service.sql`SELECT max(charged) AS reserved FROM chat_turns`;
      goOn();
      const spent = (await replies).filter(({ json }) => isSpent(json.content)).length;
      // The last one may overdraw it.
      assert.equal(50 - spent, Math.ceil(budget / reserved), JSON.stringify(vars));
      const [{ tokens }] = await service.sql`SELECT max(tokens)::int AS tokens FROM chat_budgets`;
      assert.equal(tokens, (50 - spent) * 18);
    });
  }
  model.reply = (reply) => reply.say("Hello there, visitor.");
});

const spent = (service) => service.sql`SELECT scope, sum(tokens)::int AS tokens FROM chat_budgets GROUP BY scope ORDER BY scope`
  .then((rows) => Object.fromEntries(rows.map(({ scope, tokens }) => [scope, tokens])));

test("who has paid gets back what was not used, and nobody else", async () => {
  // The address's budget is spent: the visitor's is left alone.
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "100000", DAILY_TOKENS_PER_IP: "10" } }, async (service) => {
    for (let round = 0; round < 4; round += 1) await service.chat({ content: "Hi", ...proven("u") }, from("203.0.113.7"));
    assert.deepEqual(await spent(service), { ip: 18, visitor: 18 });
  });
  // A budget that there is not is not kept either.
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "100000", DAILY_TOKENS_PER_IP: "0" } }, async (service) => {
    await service.chat({ content: "Hi", ...proven("u") }, from("203.0.113.7"));
    assert.deepEqual(await spent(service), { visitor: 18 });
  });
  // Another address takes over: it pays, and the first one has paid for what it got.
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "0", DAILY_TOKENS_PER_IP: "100000" } }, async (service) => {
    const message = [{ content: "Hi", ...proven("u") }, "k"];
    const say = ([body, key], address) => service.chat(body, { "Idempotency-Key": key, ...from(address) });
    model.reply = (reply) => reply.status(500);
    await say(message, "203.0.113.7");
    model.reply = (reply) => reply.say("Hello there, visitor.");
    await say(message, "203.0.113.8");
    const tokens = await service.sql`SELECT tokens::int FROM chat_budgets ORDER BY tokens`;
    assert.deepEqual(tokens.map(({ tokens }) => tokens), [0, 18]);
  });
});

test("a retry after an outage needs a budget like any other message", async () => {
  await withService({ vars: { DAILY_TOKENS_PER_VISITOR: "30", DAILY_TOKENS_PER_IP: "0" } }, async (service) => {
    model.reply = (reply) => reply.status(500);
    for (const key of ["1", "2", "3", "4"]) await service.chat({ content: "Hi", ...proven("u") }, { "Idempotency-Key": key });
    model.reply = (reply) => reply.say("Hello there, visitor.");
    const replies = [];
    for (const key of ["1", "2", "3", "4"]) replies.push((await service.chat({ content: "Hi", ...proven("u") }, { "Idempotency-Key": key })).json.content);
    assert.deepEqual(replies.map(isSpent), [false, false, true, true]);
    assert.deepEqual(await spent(service), { visitor: 36 });
  });
});

test("a message that is sent again and again asks the model once, or twice", async () => {
  await withService({}, async (service) => {
    const asked = model.requests.length;
    for (let round = 0; round < 10; round += 1) {
      assert.equal((await service.chat({ content: "Hi", ...proven("u") }, { "Idempotency-Key": "k" })).status, 200);
      assert.equal((await service.chat({ content: `Other ${round}`, ...proven("u") }, { "Idempotency-Key": "k" })).status, 422);
    }
    assert.ok(model.requests.length - asked <= 2, `${model.requests.length - asked} times`);
  });
});

test("a model that is asked for nothing and says nothing costs what it read", async () => {
  await withService({ vars: { LLM_PROVIDERS: "openai,scripted" } }, async (service) => {
    model.reply = (reply) => reply.finish();
    await service.chat({ content: "Say nothing" });
    const [turn] = await service.turns();
    assert.equal(turn.provider, "scripted");
    assert.ok(turn.charged > 300);
    model.reply = (reply) => reply.say("Hello there, visitor.");
  });
});

test("URLs count, and so does a message that was erased meanwhile", async () => {
  await withService({}, async (service) => {
    model.reply = async (reply) => { await reply.token("Short."); reply.cut(); };
    await service.chat({ content: "Hi" });
    await service.chat({ content: "Hi", media_urls: Array.from({ length: 20 }, (_, index) => `https://a.test/${index}?${"x".repeat(1500)}`) });
    const [without, withUrls] = (await service.turns()).map(({ charged }) => charged);
    assert.ok(withUrls > without + 7000, `${without}, ${withUrls}`);

    let goOn;
    const held = new Promise((resolve) => { goOn = resolve; });
    model.reply = async (reply) => { await reply.token("Half "); await held; await reply.finish(); };
    const { headers } = await service.post("/chat/session", {});
    const session = { "X-Chat-Token": headers.get("x-chat-token") };
    const reply = service.stream({ content: "Hi" }, { ...session, ...from("203.0.113.7") });
    await until(async () => (await service.turns()).length === 3);
    await service.fetch("/chat/me", { method: "DELETE", headers: session });
    assert.equal((await service.sql`SELECT tokens::int FROM chat_budgets WHERE scope = 'ip'`)[0].tokens, 0);
    goOn();
    await reply;
    model.reply = (reply) => reply.say("Hello there, visitor.");
  });
});

test("statements that are repeated while the first try is still at work pay and settle once", async () => {
  await withService({ vars: { DATABASE_TIMEOUT_MS: "600" } }, async (service) => {
    const user = proven("slow");
    const say = () => service.chat({ content: "Hi", ...user }, from("203.0.113.7"));
    await say();
    // Whoever wants the visitor's budget has to wait for longer than the service does.
    const hold = async (milliseconds) => service.sql.begin(async (sql) => {
      await sql`SELECT FROM chat_budgets FOR UPDATE`;
      await sleep(milliseconds);
    });
    for (const delay of [0, 60]) {
      let goOn;
      const held = new Promise((resolve) => { goOn = resolve; });
      model.reply = async (reply) => { await reply.token("Hello "); await held; await reply.finish(); };
      if (delay === 0) {
        // The opening statement waits.
        const holding = hold(900);
        const reply = say();
        setTimeout(goOn, 1500);
        await Promise.all([holding, reply]);
      } else {
        const reply = say();
        await until(async () => (await service.turns()).some(({ state }) => state === "running"));
        const holding = hold(900);
        setTimeout(goOn, 100);
        await Promise.all([holding, reply]);
      }
    }
    await until(async () => (await service.turns()).every(({ state }) => state !== "running"));
    const charged = (await service.turns()).reduce((sum, turn) => sum + turn.charged, 0);
    assert.deepEqual(await spent(service), { ip: charged, visitor: charged });
    model.reply = (reply) => reply.say("Hello there, visitor.");
  });
});

test("what a model does not count is estimated; what the script says is free", async () => {
  await withService({ vars: { LLM_PROVIDERS: "openai,scripted" } }, async (service) => {
    model.reply = async (reply) => {
      await reply.token("x".repeat(400));
      await reply.write('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
      reply.end();
    };
    await service.chat({ content: "Hi" });
    model.reply = (reply) => reply.status(500);
    await service.chat({ content: "Hi" });
    const [counted, free] = await service.turns();
    assert.ok(counted.charged > 100 && counted.charged < 2000);
    assert.equal(free.charged, 0);
    model.reply = (reply) => reply.say("Hello there, visitor.");
  });
});

async function startTurnstile() {
  const turnstile = { asked: [], answer: (response) => response.end('{"success":true}') };
  const server = createServer(async (request, response) => {
    turnstile.asked.push(JSON.parse(Buffer.concat(await Array.fromAsync(request))));
    turnstile.answer(response.setHeader("Content-Type", "application/json"));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  turnstile.url = `http://127.0.0.1:${server.address().port}/siteverify`;
  turnstile.stop = () => { server.closeAllConnections(); server.close(); };
  return turnstile;
}

test("Turnstile: asked at first contact, and before anything costs", async () => {
  const turnstile = await startTurnstile();
  const vars = { TURNSTILE_SECRET_KEY: "turnstile-secret", TURNSTILE_URL: turnstile.url };
  await withService({ vars }, async (service) => {
    const asked = model.requests.length;
    for (const path of ["/chat/", "/chat/stream", "/chat/session"]) {
      for (const body of [{ content: "Hi" }, { content: "Hi", turnstile_token: "" }, { content: "Hi", turnstile_token: null }]) {
        const response = await service.post(path, body);
        assert.deepEqual([response.status, (await response.json()).code], [403, "turnstile_required"]);
      }
    }
    assert.equal((await (await service.post("/chat/", { content: "Hi", user_id: "a" })).json()).code, "turnstile_required");
    turnstile.answer = (response) => response.end('{"success":false,"error-codes":["invalid-input-response"]}');
    const refused = await service.chat({ content: "Hi", turnstile_token: "bad-turnstile" });
    assert.deepEqual([refused.status, refused.json.code], [403, "turnstile_failed"]);
    assert.deepEqual(turnstile.asked, [{ secret: "turnstile-secret", response: "bad-turnstile" }]);
    assert.equal((await service.chat({ content: "Hi", turnstile_token: "x".repeat(3000) })).json.code, "turnstile_failed");
    assert.equal(turnstile.asked.length, 1);
    for (const answer of [(response) => response.end("<html>"), (response) => response.destroy(), (response) => response.writeHead(500).end("{}")]) {
      turnstile.answer = answer;
      const response = await service.post("/chat/", { content: "Hi", turnstile_token: "good-turnstile" });
      assert.deepEqual([response.status, (await response.json()).code], [503, "turnstile_unavailable"]);
    }
    assert.equal((await service.messages()).length, 0);
    assert.equal(model.requests.length, asked);

    turnstile.answer = (response) => response.end('{"success":true}');
    const first = await service.chat({ content: "Hi", turnstile_token: "good-turnstile" });
    assert.equal(first.status, 200);
    const count = turnstile.asked.length;
    const session = { "X-Chat-Token": first.headers.get("x-chat-token") };
    // Whoever has a session, or whom the site knows, is no stranger.
    assert.equal((await service.chat({ content: "Hi" }, session)).status, 200);
    assert.equal((await service.chat({ content: "Hi", user_id: "a" }, session)).status, 200);
    assert.equal((await service.chat({ content: "Hi", ...proven("b") })).status, 200);
    assert.equal(turnstile.asked.length, count);
  });
  turnstile.stop();
});

test("REQUESTS_WITHOUT_ORIGIN=refuse: only pages, and monitors", async () => {
  const vars = { REQUESTS_WITHOUT_ORIGIN: "refuse", ALLOWED_ORIGINS: "https://www.example.com" };
  await withService({ vars }, async (service) => {
    const refused = async (response) => assert.deepEqual([response.status, (await response.json()).code], [403, "origin_required"]);
    for (const path of ["/chat/", "/chat/stream", "/chat/session"]) {
      await refused(await service.post(path, { content: "Hi" }));
      await refused(await service.post(path, { content: "Hi" }, { "Sec-Fetch-Site": "same-origin" }));
      assert.equal((await service.post(path, { content: "Hi" }, { Origin: "https://www.example.com" })).status, 200);
      assert.equal((await service.post(path, { content: "Hi" }, { Origin: service.url })).status, 200);
    }
    await refused(await service.fetch("/chat/stream"));
    await refused(await service.fetch("/chat/me", { method: "DELETE" }));
    // A page of the same site reads without naming its origin.
    assert.equal((await service.fetch("/chat/stream", { headers: { "Sec-Fetch-Site": "same-origin" } })).status, 204);
    await refused(await service.fetch("/chat/stream", { headers: { "Sec-Fetch-Site": "same-site" } }));
    assert.equal((await service.fetch("/health")).status, 200);
  });
});

test("a foreign origin is refused on every path and method, before the model is asked", async () => {
  await withService({ vars: { ALLOWED_ORIGINS: "https://www.example.com" } }, async (service) => {
    const asked = model.requests.length;
    for (const path of ["/chat/", "/chat/stream", "/chat/history", "/chat/me", "/chat/session", "/health", "/nothing"]) {
      for (const method of ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"]) {
        const response = await service.fetch(path, {
          method, headers: { Origin: "https://evil.test", "Content-Type": "application/json" },
          ...(["POST", "PUT"].includes(method) && { body: '{"content":"Hi"}' }),
        });
        assert.equal(response.status, 403, `${method} ${path}`);
        assert.equal(response.headers.get("access-control-allow-origin"), null);
      }
    }
    assert.equal(model.requests.length, asked);
    assert.equal((await service.messages()).length, 0);
  });
});

test("no content type that a page may send without a preflight is taken", async () => {
  await withService({}, async (service) => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain; application/json", ""]) {
      const response = await service.post("/chat/", '{"content":"Hi"}', { "Content-Type": type });
      assert.equal(response.status, 415, type);
    }
  });
});

test("every answer has the headers that keep it to itself", async () => {
  await withService({}, async (service) => {
    const { headers } = await service.chat({ content: "Hi" });
    const session = { "X-Chat-Token": headers.get("x-chat-token") };
    const answers = [
      await service.post("/chat/", { content: "Hi" }), await service.post("/chat/stream", { content: "Hi" }),
      await service.fetch("/chat/stream", { headers: session }), await service.fetch("/chat/history", { headers: session }),
      await service.fetch("/chat/me", { headers: session }), await service.post("/chat/", "{"), await service.fetch("/nothing"),
      await service.fetch("/health"), await service.fetch("/chat/", { method: "OPTIONS" }),
    ];
    for (const { headers, url } of answers) {
      assert.equal(headers.get("x-content-type-options"), "nosniff", url);
      assert.equal(headers.get("referrer-policy"), "no-referrer");
      assert.equal(headers.get("cross-origin-resource-policy"), "same-origin");
      assert.equal(headers.get("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
      assert.match(headers.get("cache-control"), /\bno-store\b/);
      // Plain http is for localhost.
      assert.equal(headers.get("strict-transport-security"), null);
    }
    await Promise.all(answers.map((answer) => answer.body?.cancel()));
  });
});

test("nothing that a client sends becomes a header of the answer", async () => {
  await withService({ vars: { ALLOWED_ORIGINS: "https://*.example.com" } }, async (service) => {
    const { headers } = await service.chat({ content: "Hi" });
    const evil = "evil%0d%0aSet-Cookie:%20a=b";
    for (const sent of [
      { Origin: `https://${evil}.example.com` }, { "X-Request-Id": evil }, { "Last-Event-ID": evil }, { "Idempotency-Key": evil },
      { "X-Chat-Token": evil }, { Cookie: `edge_chat=${evil}` }, { "Access-Control-Request-Headers": evil },
    ]) {
      for (const response of [
        await service.post("/chat/stream", { content: evil, user_id: evil }, sent),
        await service.fetch(`/chat/stream?ticket=${evil}&before=${evil}&limit=${evil}`, { headers: sent }),
        await service.fetch(`/chat/history?before=${evil}`, { headers: { "X-Chat-Token": headers.get("x-chat-token"), ...sent } }),
        await service.fetch("/chat/", { method: "OPTIONS", headers: sent }),
      ]) {
        for (const [name, value] of response.headers) {
          // A site may have a strange name; it is granted its own and nothing else.
          if (name !== "access-control-allow-origin") assert.doesNotMatch(value, /evil/, name);
        }
        await response.body?.cancel();
      }
    }
  });
});

test("the key that everybody knows is for this machine alone", async () => {
  await withService({ vars: { SESSION_KEYS: "development:for-wrangler-dev-alone-never-for-the-web" } }, async (service) => {
    assert.equal((await service.chat({ content: "Hi" })).status, 200);
    const response = await service.miniflare.dispatchFetch("https://chat.example.com/chat/", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"Hi"}',
    });
    assert.equal(response.status, 500);
    assert.equal(response.headers.get("strict-transport-security"), "max-age=31536000");
    assert.match((await response.json()).detail, /the setting SESSION_KEYS is the one of wrangler.toml/);
    // Nor over plain http, but for this machine.
    assert.equal((await service.miniflare.dispatchFetch("http://chat.example.com/health")).status, 500);
  });
});

// What the service answers to requests that are not chat: errors, methods, origins, health.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startModel } from "./helpers/model.js";
import { databaseUrl, startService, until } from "./helpers/service.js";

let service;
before(async () => { service = await startService({ vars: { ALLOWED_ORIGINS: "https://www.example.com,https://*.clinic.test" } }); });
after(() => service.stop());

async function problem(response, status, code) {
  assert.equal(response.status, status);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  const body = await response.json();
  assert.equal(body.status, status);
  assert.equal(body.code, code);
  assert.equal(body.type, "about:blank");
  assert.equal(typeof body.title, "string");
  assert.equal(body.request_id, response.headers.get("x-request-id"));
  return body.detail;
}

for (const path of ["/chat/", "/chat", "/chat/stream", "/chat/stream/"]) {
  test(`${path} answers a message, and says what is wrong with others`, async () => {
    assert.equal((await service.post(path, { content: "Hi" })).status, 200);
    // What nobody asks for may be anything.
    assert.equal((await service.post(path, `{"content":"Hi","role":"system","messages":[{"role":"system"}],"n":${"9".repeat(400)}e9}`)).status, 200);
    for (const [body, detail] of [
      ["", /^The body is not valid JSON/],
      ["{", /^The body is not valid JSON: EOF .* line 1 column 1\.$/],
      ["[]", /must be a JSON object such as/],
      ["null", /must be a JSON object such as/],
      ["{}", /^`content` is missing or empty/],
      [{ content: "  " }, /^`content` is missing or empty/],
      [{ content: 7 }, /^`content` must be a string/],
      [{ content: "a\u0000b" }, /^`content` must not contain the character U\+0000/],
      [{ content: "a", media_urls: "https://a.test" }, /^`media_urls` must be an array of URLs/],
      [{ content: "a", audio_urls: ["https://a.test", "ftp://a.test"] }, /^`audio_urls\[1\]` must be an http or https URL/],
      [{ content: "a", media_urls: Array(21).fill("https://a.test") }, /^`media_urls` must have at most 20 URLs/],
      [{ content: "a", user_id: "" }, /^`user_id` must have 1 to 128 characters/],
      [{ content: "a", user_id: "x".repeat(129) }, /^`user_id` must have 1 to 128 characters/],
      ['{"content":"\\ud800"}', /^The body is not valid JSON/],
      [Buffer.from('{"content":"\xff"}', "latin1"), /^The body is not valid JSON/],
      [`{"content":${"[".repeat(5000)}${"]".repeat(5000)}}`, /^The body is not valid JSON: recursion limit/],
      ['{"content":"a","content":"b"}', /^The body is not valid JSON: duplicate field `content`/],
      [`{"content":${"9".repeat(400)}}`, /^The body is not valid JSON: number out of range|^`content` must be a string/],
      [{ content: "a", user_id: "a\u0000b" }, /^`user_id` must have/],
      [{ content: "a", user_id: "a\r\nSet-Cookie: b" }, /^`user_id` must have/],
      [{ content: "a", user_hash: "00" }, /^`user_hash` proves a `user_id`/],
      [{ content: "a", user_token: {} }, /^`user_token` must be a string/],
      ["[".repeat(1000), /^The body must be a JSON object|^The body is not valid JSON/],
    ]) {
      assert.match(await problem(await service.post(path, body), 400, "invalid_request"), detail);
    }
  });
}

test("a body that is too large is refused, declared or not", async () => {
  const large = JSON.stringify({ content: "x".repeat(64 * 1024) });
  assert.match(await problem(await service.post("/chat/", large), 413, "too_large"), /larger than 65536 bytes/);
  const undeclared = (body) => service.post("/chat/", "", {}, {
    body: new ReadableStream({
      start(controller) {
        for (let at = 0; at < body.length; at += 4096) controller.enqueue(Buffer.from(body.slice(at, at + 4096)));
        controller.close();
      },
    }),
    duplex: "half",
  });
  await problem(await undeclared(large), 413, "too_large");
  const ofLength = (length) => {
    const empty = JSON.stringify({ content: "Hi", ignored: "" });
    return empty.replace('""', `"${"x".repeat(length - empty.length)}"`);
  };
  for (const post of [(body) => service.post("/chat/", body), undeclared]) {
    assert.equal((await post(ofLength(64 * 1024))).status, 200);
    await problem(await post(ofLength(64 * 1024 + 1)), 413, "too_large");
  }
  const detail = await problem(await service.post("/chat/", { content: "ü".repeat(8001) }), 400, "invalid_request");
  assert.equal(detail, "`content` must have at most 8000 characters: send a shorter message.");
});

test("only JSON is taken", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]) {
    const response = await service.post("/chat/", '{"content":"Hi"}', { "Content-Type": type });
    assert.match(await problem(response, 415, "unsupported_media_type"), /Content-Type: application\/json/);
  }
  assert.equal((await service.post("/chat/", { content: "Hi" }, { "Content-Type": "Application/JSON; charset=utf-8" })).status, 200);
});

test("unknown paths and methods", async () => {
  for (const path of ["/nothing", "/chat/streams", "/chat//", "/CHAT/"]) await problem(await service.fetch(path), 404, "not_found");
  for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
    const response = await service.fetch("/chat/", { method });
    assert.equal(response.headers.get("allow"), "POST, OPTIONS");
    assert.equal((await service.fetch("/chat/stream", { method: "PATCH" })).headers.get("allow"), "GET, POST, DELETE, OPTIONS");
    await problem(response, 405, "method_not_allowed");
  }
  const response = await service.fetch("/health", { method: "POST" });
  assert.equal(response.headers.get("allow"), "GET, HEAD, OPTIONS");
});

test("listed origins are allowed with credentials, on every kind of answer", async () => {
  for (const origin of ["https://www.example.com", "https://ankara.clinic.test"]) {
    const answers = [
      await service.post("/chat/", { content: "Hi" }, { Origin: origin }),
      await service.post("/chat/stream", { content: "Hi" }, { Origin: origin }),
      await service.post("/chat/", "{", { Origin: origin }),
      await service.fetch("/nothing", { headers: { Origin: origin } }),
      await service.fetch("/chat/", { headers: { Origin: origin } }),
      await service.fetch("/health", { headers: { Origin: origin } }),
    ];
    for (const { headers } of answers) {
      assert.equal(headers.get("access-control-allow-origin"), origin);
      assert.equal(headers.get("access-control-allow-credentials"), "true");
      assert.equal(headers.get("access-control-expose-headers"), "X-Chat-Token, X-Chat-Ticket, X-Request-Id, Retry-After");
      assert.equal(headers.get("vary"), "Origin");
      assert.equal(headers.get("x-content-type-options"), "nosniff");
    }
    await Promise.all(answers.map((answer) => answer.body?.cancel()));
  }
});

test("a preflight is answered for both spellings, and can be remembered", async () => {
  for (const path of ["/chat/", "/chat", "/chat/stream", "/chat/stream/"]) {
    const response = await service.fetch(path, {
      method: "OPTIONS",
      headers: { Origin: "https://www.example.com", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type" },
    });
    assert.equal(response.status, 204);
    assert.equal(await response.text(), "");
    assert.equal(response.headers.get("access-control-allow-origin"), "https://www.example.com");
    assert.equal(response.headers.get("access-control-allow-methods"), path.includes("stream") ? "GET, POST, DELETE, OPTIONS" : "POST, OPTIONS");
    assert.equal(response.headers.get("access-control-allow-headers"), "Content-Type, Idempotency-Key, Last-Event-ID, X-Chat-Token");
    assert.equal(response.headers.get("access-control-max-age"), "7200");
  }
});

test("a foreign origin is refused before anything is stored", async () => {
  const received = async () => (await service.messages()).filter(({ direction }) => direction === "incoming").length;
  const before = await received();
  for (const origin of ["https://evil.test", "https://www.example.com.evil.test", "http://www.example.com", "https://clinic.test", "null"]) {
    for (const method of ["POST", "OPTIONS"]) {
      const response = await service.fetch("/chat/", {
        method, headers: { Origin: origin, "Content-Type": "application/json" }, ...(method === "POST" && { body: '{"content":"Hi"}' }),
      });
      assert.equal(response.headers.get("access-control-allow-origin"), null);
      assert.equal(response.headers.get("vary"), "Origin");
      await problem(response, 403, "forbidden_origin");
    }
  }
  assert.equal(await received(), before);
});

test("the service's own pages and programs without an origin need no listing", async () => {
  for (const headers of [{}, { Origin: service.url }]) {
    const response = await service.post("/chat/", { content: "Hi" }, headers);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("access-control-allow-origin"), null);
  }
});

test("a session comes back by header or by cookie", async () => {
  const first = await service.chat({ content: "Hi" });
  const session = first.headers.get("x-chat-token");
  for (const headers of [{ "X-Chat-Token": session }, { Cookie: `other=1; edge_chat=${session}` }]) {
    const again = await service.chat({ content: "Hi again" }, headers);
    assert.equal(again.headers.get("x-chat-token"), null);
    assert.equal(again.headers.get("set-cookie"), null);
  }
  const users = await service.sql`SELECT FROM users JOIN messages ON messages.user_id = users.id WHERE body = 'Hi again' GROUP BY users.id`;
  assert.equal(users.length, 1);
  assert.equal((await service.chat({ content: "Hi", user_id: "named" })).headers.get("x-chat-token"), null);
});

test("health: everything works", async () => {
  const response = await service.fetch("/health");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("cache-control"), "no-store");
  assert.deepEqual(await response.json(), { status: "ok", database: "ok", providers: { scripted: "ok" } });
  const head = await service.fetch("/health", { method: "HEAD" });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
});

test("health: a database that is not migrated to this version", async () => {
  const late = await startService();
  try {
    assert.equal((await late.fetch("/health")).status, 200);
    await late.sql`DROP FUNCTION chat_close_turn`;
    const response = await late.fetch("/health");
    assert.equal(response.status, 503);
    assert.equal((await response.json()).database, "unavailable");
  } finally {
    await late.stop();
  }
});

test("health: what is missing", async () => {
  const model = await startModel();
  const vars = { LLM_PROVIDERS: "openai,workers-ai", DATABASE_TIMEOUT_MS: "500" };
  const broken = await startService({ model, ai: false, database: databaseUrl("no_such_database"), vars });
  try {
    let response = await broken.fetch("/health");
    assert.equal(response.status, 503);
    assert.deepEqual(await response.json(), {
      status: "unavailable", database: "unavailable", providers: { openai: "ok", "workers-ai": "unavailable" },
    });
    response = await broken.post("/chat/stream", { content: "Hi" });
    assert.equal(response.headers.get("retry-after"), "5");
    assert.match(await problem(response, 503, "storage_unavailable"), /try again soon/);
    await until(() => broken.logged("📩 Chat streaming message").length);
    const [line, ...others] = broken.logged("❌ Error").map(({ error }) => error);
    // A pooler may look for the database for longer than we wait.
    assert.match(line, /^the database (refused the statement: SQLSTATE [0-9A-Z]{5}|did not answer in time)$/);
    assert.deepEqual(others, []);
    assert.doesNotMatch(JSON.stringify(broken.logs), /no_such_database/);
  } finally {
    await broken.stop();
    model.stop();
  }
});

test("a setting that cannot be used is named, at the first request", async () => {
  const wrong = await startService({ vars: { LLM_MAX_TOKENS: "lots-of-them" } });
  try {
    const response = await wrong.post("/chat/", { content: "Hi" }, { Origin: "https://www.example.com" });
    assert.equal(response.headers.get("access-control-allow-origin"), "*");
    const detail = await problem(response, 500, "misconfigured");
    assert.equal(detail, "The service is not set up correctly: the setting LLM_MAX_TOKENS must be a whole number from 1 to 100000.");
    assert.doesNotMatch(JSON.stringify(wrong.logs), /lots-of-them/);
  } finally {
    await wrong.stop();
  }
});

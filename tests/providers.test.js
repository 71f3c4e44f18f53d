// The ordered list of providers: who is asked, who takes over, and what a visitor sees when nobody answers.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { sleep, startModel, token } from "./helpers/model.js";
import { startService, until } from "./helpers/service.js";

let model;
before(async () => { model = await startModel(); });
after(() => model.stop());
beforeEach(() => { model.requests.length = 0; });

/** Runs `work` with a service of these variables. */
async function withService(vars, work, options = {}) {
  const service = await startService({ model, vars, ...options });
  try {
    await work(service);
  } finally {
    await service.stop();
  }
}

test("the next provider takes over before the first token, whatever the first one does", () =>
  withService({ LLM_PROVIDERS: "openai,scripted", LLM_FIRST_TOKEN_TIMEOUT_MS: "2000" }, async (service) => {
    for (const [name, misbehave, code] of [
      ["no answer", (reply) => reply.isClosed, "first_token_timeout"],
      ["headers and no text", (reply) => reply.write(": hello\n\n").then(() => reply.isClosed), "first_token_timeout"],
      ["429", (reply) => reply.status(429, { "Retry-After": "30" }), "status"],
      ["500", (reply) => reply.status(500), "status"],
      ["no stream", (reply) => reply.status(200, {}, '{"choices":[{"message":{"content":"Hi"}}]}'), "truncated"],
      ["a closed connection", (reply) => reply.cut(), "unreachable"],
      ["an error in a 200 stream", (reply) => reply.write('data: {"error":{"message":"x"}}\n\n').then(() => reply.end()), "error_in_stream"],
      ["garbage", (reply) => reply.write("data: {nonsense\n\n").then(() => reply.end()), "garbage"],
      ["an empty reply", (reply) => reply.say(""), "empty"],
      ["nothing but spaces", (reply) => reply.token(" \n").then(() => reply.finish()), "empty"],
      ["a tool call nobody offered", (reply) => reply.write(
        'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"rm","arguments":"{}"}}]}}]}\n\n' +
        'data: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}\n\ndata: [DONE]\n\n').then(() => reply.end()), "empty"],
    ]) {
      model.reply = misbehave;
      service.logs.length = 0;
      const { status, json } = await service.chat({ user_id: "u", content: "Hello" });
      assert.equal(status, 200, name);
      assert.match(json.content, /^Hello! I'm Anna/, name);
      assert.partialDeepStrictEqual((await service.turns()).at(-1), { state: "complete", provider: "scripted" });
      const errors = await until(() => service.logged("📩 Chat message").length && service.logged("❌ Error"));
      assert.deepEqual(errors.map((line) => [line.provider, line.code]), [["openai", code]], name);
    }
  }));

test("the last provider is asked once more if its error may pass, after the time it asks for", () =>
  withService({ LLM_PROVIDERS: "workers-ai,openai" }, async (service) => {
    const ask = async (...answers) => {
      model.requests.length = 0;
      const at = [];
      model.reply = (reply, { path }) => {
        if (path === "/workers-ai") return reply.status(500);
        at.push(performance.now());
        return answers.shift()(reply);
      };
      const { status } = await service.chat({ content: "Hi" });
      return { status, asked: at.length, waited: at[1] - at[0] };
    };
    const say = (reply) => reply.say("Yes.");
    assert.partialDeepStrictEqual(await ask((reply) => reply.status(500), say), { status: 200, asked: 2 });
    assert.partialDeepStrictEqual(await ask((reply) => reply.cut(), say), { status: 200, asked: 2 });
    assert.partialDeepStrictEqual(await ask((reply) => reply.write(": hello\n\n").then(() => reply.cut()), say), { status: 200, asked: 2 });
    const patient = await ask((reply) => reply.status(429, { "Retry-After": "1" }), say);
    assert.partialDeepStrictEqual(patient, { status: 200, asked: 2 });
    assert.ok(patient.waited >= 950, `${patient.waited} ms`);
    // Two are enough; a visitor does not wait for a minute; and a wrong request stays wrong.
    assert.partialDeepStrictEqual(await ask((reply) => reply.status(500), (reply) => reply.status(500)), { status: 503, asked: 2 });
    assert.partialDeepStrictEqual(await ask((reply) => reply.status(429, { "Retry-After": "60" })), { status: 503, asked: 1 });
    assert.partialDeepStrictEqual(await ask((reply) => reply.status(400)), { status: 503, asked: 1 });
    assert.partialDeepStrictEqual(await ask((reply) => reply.say("")), { status: 503, asked: 1 });
  }));

test("a reply that begins with a space is a reply", () =>
  withService({ LLM_PROVIDERS: "openai,scripted" }, async (service) => {
    model.reply = async (reply) => {
      await reply.token("\n");
      await sleep(50);
      await reply.token("Hello");
      await reply.finish();
    };
    assert.deepEqual((await service.chat({ content: "Hi" })).json, { content: "\nHello" });
  }));

test("a model that has said it is done is not waited for", () =>
  withService({ LLM_PROVIDERS: "openai" }, async (service) => {
    for (const rest of ["data: [DONE]\n\n", ""]) {
      model.reply = async (reply) => {
        await reply.write(token("All.") + 'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n' + rest);
        if (rest) return reply.isClosed;
        await sleep(50);
        reply.cut();
      };
      assert.deepEqual((await service.chat({ content: "Hi" })).json, { content: "All." });
      assert.equal((await service.turns()).at(-1).state, "complete");
    }
  }));

test("nothing takes over once text was sent", () =>
  withService({ LLM_PROVIDERS: "openai,scripted" }, async (service) => {
    model.reply = async (reply) => {
      await reply.token("I was about to");
      await sleep(50);
      reply.cut();
    };
    const { text, events } = await service.stream({ content: "Hello" });
    assert.equal(text, "I was about to");
    assert.equal(events.at(-1).data.error.code, "reply_interrupted");
    assert.equal(model.requests.length, 1);
  }));

for (const providers of ["openai,workers-ai", "workers-ai,openai"]) {
  test(`${providers}: the stream of the first is ended as soon as the second one is asked`, () =>
    withService({ LLM_PROVIDERS: providers, LLM_FIRST_TOKEN_TIMEOUT_MS: "1000" }, async (service) => {
      const silent = Promise.withResolvers();
      model.reply = async (reply) => {
        if (model.requests.length > 1) {
          await silent.promise;
          return reply.say("The second one.");
        }
        await reply.write(": hello\n\n");
        silent.resolve(reply.isClosed);
      };
      assert.equal((await service.chat({ content: "Hello" })).json.content, "The second one.");
    }));
}

test("when no provider answers, the message is stored and the visitor is told", () =>
  withService({ LLM_PROVIDERS: "openai,workers-ai" }, async (service) => {
    model.reply = (reply) => reply.status(500, {}, "secret detail");
    for (const path of ["/chat/", "/chat/stream"]) {
      const response = await service.post(path, { user_id: "u", content: "Hello" });
      assert.equal(response.status, 503);
      assert.equal(response.headers.get("retry-after"), "5");
      assert.equal(response.headers.get("content-type"), "application/problem+json");
      const problem = await response.json();
      assert.partialDeepStrictEqual(problem, { code: "assistant_unavailable", status: 503, title: "Service Unavailable" });
      assert.match(problem.detail, /try again soon/);
      assert.doesNotMatch(JSON.stringify({ ...problem, request_id: undefined }), /secret|500|model/);
      assert.partialDeepStrictEqual((await service.turns()).at(-1), { state: "failed", outgoing_id: null, error: "unreachable" });
    }
    assert.deepEqual((await service.messages()).map(({ direction }) => direction), ["incoming", "incoming"]);
  }));

test("Workers AI in both of its shapes", () =>
  withService({ LLM_PROVIDERS: "workers-ai", WORKERS_AI_MODEL: "@cf/test/model", LLM_MAX_TOKENS: "55" }, async (service) => {
    model.reply = async (reply, { path, body }) => {
      assert.equal(path, "/workers-ai");
      assert.partialDeepStrictEqual(body, { model: "@cf/test/model", stream: true, max_tokens: 55 });
      assert.equal(body.messages[0].role, "system");
      assert.deepEqual(body.messages.at(-1), { role: "user", content: "Hello" });
      await reply.write('data: {"response":"Room ","p":"abdef"}\n\n');
      await reply.write('data: {"response":101,"p":"ab"}\n\ndata: {"response":" is","choices":[{"delta":{"content":" is"}}]}\n\n');
      await reply.write('data: {"choices":[{"index":0,"delta":{"content":" free."}}]}\n\n');
      await reply.write('data: {"response":"","usage":{"prompt_tokens":3,"completion_tokens":4}}\n\ndata: [DONE]\n\n');
      reply.end();
    };
    assert.deepEqual((await service.chat({ content: "Hello" })).json, { content: "Room 101 is free." });
    assert.equal((await service.stream({ content: "Hello" })).text, "Room 101 is free.");
    assert.partialDeepStrictEqual((await service.turns())[0], {
      state: "complete", provider: "workers-ai", model: "@cf/test/model", prompt_tokens: 3, completion_tokens: 4,
    });
  }));

test("Workers AI fails, and is missing: the next one takes over", async () => {
  model.reply = (reply, { path }) => (path === "/workers-ai" ? reply.status(500) : reply.say("The other one."));
  for (const ai of [true, false]) {
    await withService({ LLM_PROVIDERS: "workers-ai,openai" }, async (service) => {
      assert.deepEqual((await service.chat({ content: "Hello" })).json, { content: "The other one." });
    }, { ai });
  }
});

test("earlier messages reach the model only if the settings say so, and only a session's own", async () => {
  model.reply = (reply, { body }) => reply.say(`Answer to ${body.messages.at(-1).content}`);
  const conversation = async (service, identity) => {
    const first = await service.chat({ content: "One", ...identity });
    const headers = identity ? {} : { "X-Chat-Token": first.headers.get("x-chat-token") };
    await service.chat({ content: "Two", ...identity }, headers);
    await service.stream({ content: "Three", ...identity }, headers);
    return model.requests.at(-1).body.messages.slice(1).map(({ role, content }) => `${role}: ${content}`);
  };
  await withService({}, async (service) => {
    assert.deepEqual(await conversation(service), ["user: Three"]);
  });
  await withService({ CHAT_HISTORY_MESSAGES: "3" }, async (service) => {
    assert.deepEqual(await conversation(service), [
      "assistant: Answer to One", "user: Two", "assistant: Answer to Two", "user: Three",
    ]);
    // Anybody can put a `user_id` into a request.
    assert.deepEqual(await conversation(service, { user_id: "somebody" }), ["user: Three"]);
  });
});

test("image parts go to providers that take them", () =>
  withService({ PASS_MEDIA_TO_MODEL: "image" }, async (service) => {
    model.reply = (reply) => reply.say("Nice.");
    await service.chat({ content: "Look", media_urls: ["https://a.test/1.jpg"], audio_urls: ["https://a.test/2.mp3"] });
    assert.deepEqual(model.requests[0].body.messages[1].content, [
      { type: "text", text: "Look\n\n[The visitor attached what you cannot open]\nvoice message: https://a.test/2.mp3" },
      { type: "image_url", image_url: { url: "https://a.test/1.jpg" } },
    ]);
  }));

test("the names are the settings'", () =>
  withService({ LLM_PROVIDERS: "scripted", ASSISTANT_NAME: "Defne", CLINIC_NAME: "Ankara Medic" }, async (service) => {
    assert.match((await service.chat({ content: "Hi" })).json.content, /I'm Defne, your consultation assistant at Ankara Medic\./);
  }));

test("DEBUG adds detail, and still nothing of what was said", () =>
  withService({ DEBUG: "true" }, async (service) => {
    model.reply = (reply) => reply.say("Zebedee!");
    await service.chat({ content: "Quux" });
    await until(() => service.logged("📩 Chat message").length);
    assert.partialDeepStrictEqual(service.logged("🔎 Turn detail"), [{ model: "stand-in", finish_reason: "stop" }]);
    assert.doesNotMatch(JSON.stringify(service.logs), /zebedee|quux|sk-test/i);
  }));

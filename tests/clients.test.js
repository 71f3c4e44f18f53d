// Other people's clients of server-sent events, against the service.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { after, before, beforeEach, test } from "node:test";
import { build } from "esbuild";
import { EventSource } from "eventsource";
import { createParser } from "eventsource-parser";
import { inBrowser, launch } from "./helpers/browser.js";
import { startLine } from "./helpers/line.js";
import { startModel } from "./helpers/model.js";
import { startService, until } from "./helpers/service.js";

const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));
const REPLY = "Grüße aus İstanbul, 😀 und bis bald.";

let model;
let service;
let line;
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
  model.reply = (reply) => reply.say(REPLY);
});

/** The model says half of the reply, and the rest when `goOn` is called. */
function replyInHalves() {
  let goOn;
  const isTime = new Promise((resolve) => { goOn = resolve; });
  model.reply = async (reply) => {
    await reply.token(REPLY.slice(0, 12));
    await isTime;
    await reply.token(REPLY.slice(12));
    await reply.finish();
  };
  return goOn;
}

test("eventsource-parser, byte by byte", async () => {
  const response = await service.post("/chat/stream", { content: "Hi" });
  const events = [];
  const parser = createParser({ onEvent: (event) => events.push(event), onError: (error) => assert.fail(error) });
  const decoder = new TextDecoder();
  for (const byte of new Uint8Array(await response.arrayBuffer())) parser.feed(decoder.decode(Uint8Array.of(byte), { stream: true }));
  assert.equal(events.map(({ data }) => JSON.parse(data).content).join(""), REPLY);
  assert.match(events.at(-1).id, /\.end$/);
});

test("eventsource goes on behind what it has seen when its line is cut", async () => {
  const goOn = replyInHalves();
  const post = await service.post("/chat/stream", { content: "Hi" });
  const headers = { "X-Chat-Token": post.headers.get("x-chat-token") };
  const asked = [];
  const source = new EventSource(`${line.url}/chat/stream`, {
    fetch: (url, init) => {
      asked.push(init.headers["Last-Event-ID"]);
      return fetch(url, { ...init, headers: { ...init.headers, ...headers } });
    },
  });
  let text = "";
  const isOver = new Promise((resolve) => {
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      text += event.content;
      if (event.is_final) resolve(source.close());
    };
  });
  await until(() => text === REPLY.slice(0, 12));
  line.cut();
  goOn();
  await isOver;
  assert.equal(text, REPLY);
  assert.deepEqual(asked.map((id) => id?.split(".")[1]), [undefined, String(Buffer.byteLength(REPLY.slice(0, 12)))]);
});

test("fetch-event-source, whose POST is repeated when its tab comes back, sends one message", inBrowser, async () => {
  const goOn = replyInHalves();
  const { outputFiles } = await build({
    stdin: { contents: `import { fetchEventSource } from "@microsoft/fetch-event-source"; globalThis.fetchEventSource = fetchEventSource;`, resolveDir: root },
    bundle: true, write: false, format: "iife",
  });
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.route(`${service.url}/page`, (route) => route.fulfill({ contentType: "text/html", body: "<!doctype html><p id=reply>" }));
    await page.goto(`${service.url}/page`);
    await page.addScriptTag({ content: outputFiles[0].text });
    await page.evaluate((key) => {
      const reply = document.querySelector("#reply");
      globalThis.opened = 0;
      globalThis.done = fetchEventSource("/chat/stream", {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": key },
        body: JSON.stringify({ content: "Hi" }),
        // A repeated request goes on behind the last event, which this client names by itself.
        onopen: async () => { opened += 1; },
        onmessage: ({ data }) => { reply.textContent += JSON.parse(data).content; },
      });
    }, randomUUID());
    await page.waitForFunction((text) => document.querySelector("#reply").textContent === text, REPLY.slice(0, 12));
    for (const isHidden of [true, false]) {
      await page.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    }
    await page.waitForFunction(() => opened === 2);
    goOn();
    await page.evaluate(() => done);
    assert.equal(await page.textContent("#reply"), REPLY);
    assert.deepEqual((await service.messages()).map(({ body }) => body), ["Hi", REPLY]);
  } finally {
    await browser.close();
  }
});

test("httpx-sse", async (context) => {
  const environment = `${root}.data/httpx-sse`;
  if (!existsSync(`${environment}/ready`)) {
    try {
      await run("python3", ["-m", "venv", "--clear", environment]);
    } catch {
      return context.skip("there is no Python with venv on this machine (Debian: apt install python3-venv)");
    }
    await run(`${environment}/bin/pip`, ["install", "--quiet", "httpx==0.28.1", "httpx-sse==0.4.3"]);
    await run("touch", [`${environment}/ready`]);
  }
  const { stdout } = await run(`${environment}/bin/python`, [`${root}tests/helpers/httpx_sse_client.py`, `${service.url}/chat/stream`, "Hi"]);
  assert.equal(stdout, REPLY);
});

// The guide's EventSource snippet in a real browser, unchanged; and the same from a page on another site, by ticket.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { inBrowser, launch } from "./helpers/browser.js";
import { sleep, startModel } from "./helpers/model.js";
import { startService, until } from "./helpers/service.js";

const PAGE = "<!doctype html><link rel=icon href=data:,><p id=current-message></p>";
const REPLY = "Merhaba! Hello to you, dear visitor. ";

let model;
let service;
let browser;
let otherSite;
before(async () => {
  if (inBrowser.skip) return;
  model = await startModel();
  otherSite = createServer((_, response) => response.setHeader("Content-Type", "text/html").end(PAGE)).listen(0, "127.0.0.1");
  await once(otherSite, "listening");
  otherSite.url = `http://127.0.0.1:${otherSite.address().port}`;
  service = await startService({ model, vars: { ALLOWED_ORIGINS: otherSite.url } });
  browser = await launch();
  model.reply = async (reply) => {
    for (const word of REPLY.match(/\S+\s*/g)) {
      await reply.token(word);
      await sleep(60);
    }
    await reply.finish();
  };
});
after(async () => {
  await browser?.close();
  await service?.stop();
  model?.stop();
  otherSite?.closeAllConnections();
  otherSite?.close();
});

/** A page of this site, with an element for the reply. The service has no page of its own: it gets one here. */
async function open(site) {
  const page = await browser.newPage();
  const faults = [];
  page.on("console", (message) => { if (message.type() === "error") faults.push(message.text()); });
  page.on("pageerror", (error) => faults.push(error.message));
  if (site === service.url) await page.route(`${site}/page`, (route) => route.fulfill({ contentType: "text/html", body: PAGE }));
  await page.goto(`${site}/page`);
  await page.evaluate(() => {
    globalThis.pieces = [];
    globalThis.displayMessageChunk = (chunk) => {
      pieces.push(chunk);
      document.getElementById("current-message").textContent += chunk;
    };
  });
  return { page, faults, shown: () => page.textContent("#current-message") };
}

// As the guide prints it.
const GUIDE = `
function sendStreamingMessageWithEventSource(message) {
    // First send the message
    fetch('/chat/stream', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
            content: message,
            media_urls: [],
            audio_urls: []
        })
    }).then(() => {
        // Then listen for streaming response
        const eventSource = new EventSource('/chat/stream');

        eventSource.onmessage = function(event) {
            const data = JSON.parse(event.data);
            if (data.is_final) {
                eventSource.close();
            } else {
                displayMessageChunk(data.content);
            }
        };

        eventSource.onerror = function(event) {
            console.error('SSE error:', event);
            eventSource.close();
        };
    });
}`;

test("the guide's EventSource snippet, unchanged", inBrowser, async () => {
  const { page, faults, shown } = await open(service.url);
  await page.addScriptTag({ content: GUIDE });
  for (const round of [1, 2]) {
    await page.evaluate(() => sendStreamingMessageWithEventSource("Hello"));
    await until(async () => (await shown()) === REPLY.repeat(round), { seconds: 15 }).catch(async () => assert.equal(await shown(), REPLY.repeat(round)));
  }
  assert.ok((await page.evaluate(() => pieces.length)) > 4, "it arrived in pieces");
  assert.deepEqual(faults, []);
  const users = await service.sql`SELECT phone_number FROM users`;
  assert.equal(users.length, 1, "the cookie made one visitor of both messages");
  await page.close();
});

test("an EventSource that nobody closes ends with 204, and shows nothing twice", inBrowser, async () => {
  const { page, shown } = await open(service.url);
  await page.evaluate(async () => {
    await fetch("/chat/stream", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"Hello"}' });
    globalThis.source = new EventSource("/chat/stream");
    source.onmessage = ({ data }) => displayMessageChunk(JSON.parse(data).content);
  });
  // The browser comes back three seconds after the end, with the last event's id.
  await page.waitForFunction(() => source.readyState === EventSource.CLOSED, undefined, { timeout: 20_000 });
  assert.equal(await shown(), REPLY);
  await page.close();
});

test("a page on another site listens with its ticket", inBrowser, async () => {
  const { page, faults, shown } = await open(otherSite.url);
  await page.evaluate(async (url) => {
    const post = await fetch(`${url}/chat/stream`, { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"Hello"}' });
    const source = new EventSource(`${url}/chat/stream?ticket=${post.headers.get("X-Chat-Ticket")}`);
    source.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.is_final) source.close();
      displayMessageChunk(event.content);
    };
  }, service.url);
  await until(async () => (await shown()) === REPLY, { seconds: 15 });
  assert.deepEqual(faults, []);
  await page.close();
});

// The widget on a page of another site: a conversation, and all that can get in its way.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { inBrowser } from "./helpers/browser.js";
import { until } from "./helpers/service.js";
import { startSite } from "./helpers/widget.js";

let site;
before(async () => {
  if (!inBrowser.skip) site = await startSite();
});
after(() => site?.stop());
beforeEach(async () => {
  if (!site) return;
  site.line.isDown = false;
  site.model.reply = (reply) => reply.say("Hello from Anna.");
});
afterEach(async () => {
  if (!site) return;
  for (const context of site.browser.contexts()) await context.close();
  await site.service.sql`TRUNCATE users CASCADE`;
});

const bodies = async () => (await site.service.messages()).map(({ body }) => body);

test("a reply appears as it is written, and is read out once, whole", inBrowser, async () => {
  const script = site.script("Merhaba, ", "good ", "day.");
  const visitor = await site.visit();
  assert.deepEqual(await visitor.tokens(), {}, "nothing is kept or asked before a visitor writes");
  await visitor.open();
  await visitor.say("Hello");
  await visitor.page.locator(".dots").waitFor();
  assert.equal(await visitor.page.locator(".status").textContent(), "Typing…");
  script.next();
  await visitor.shows("Hello", "Merhaba, ");
  script.next();
  await visitor.shows("Hello", "Merhaba, good ");
  assert.equal(await visitor.announcer.textContent(), "");
  script.next();
  await visitor.shows("Hello", "Merhaba, good day.");
  await visitor.isQuiet();
  assert.equal(await visitor.announcer.textContent(), "Anna: Merhaba, good day.");
  assert.deepEqual(await bodies(), ["Hello", "Merhaba, good day."]);
  const [[name, token], ...others] = Object.entries(await visitor.tokens());
  assert.deepEqual([name, others], [`edge-chat:${site.line.url}`, []]);
  assert.doesNotMatch(token, /Hello|Merhaba/);
  assert.deepEqual(visitor.faults, []);
});

test("text is text: links and line breaks, and nothing else", inBrowser, async () => {
  const reply = "See https://example.com/a_(b)?c=d&e#f. <img src=x onerror=alert(1)> **bold**\njavascript:alert(1) (http://a.test)";
  site.model.reply = async (model) => { await model.token(reply); await model.finish(); };
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("<b>Hi</b>");
  await visitor.shows("<b>Hi</b>", reply);
  await visitor.isQuiet();
  const links = await visitor.replies.locator("a").evaluateAll((all) => all.map(({ href, target, rel }) => [href, target, rel]));
  assert.deepEqual(links, ["https://example.com/a_(b)?c=d&e#f", "http://a.test/"].map((href) => [href, "_blank", "noopener noreferrer nofollow"]));
  assert.equal(await visitor.panel.locator("img, b").count(), 0);
  assert.deepEqual(visitor.faults, []);
});

test("Stop keeps what there is, and the next message goes on", inBrowser, async () => {
  const script = site.script("Half of ", "the reply.");
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  script.next();
  await visitor.shows("Hello", "Half of ");
  const stopped = visitor.page.waitForResponse((response) => response.request().method() === "DELETE");
  await visitor.page.getByRole("button", { name: "Stop the reply" }).click();
  assert.equal((await stopped).status(), 204);
  await visitor.replies.getByText("Stopped", { exact: true }).waitFor();
  script.rest();
  await until(async () => (await site.service.turns())[0].state === "partial");
  site.model.reply = (reply) => reply.say("Going on.");
  await visitor.say("And now?");
  await visitor.shows("Hello", "Half of ", "And now?", "Going on.");
  // What the model says before it notices is kept as well.
  const [, stored, ...others] = await bodies();
  assert.match(stored, /^Half of /);
  assert.deepEqual(others, ["And now?", "Going on."]);
  assert.deepEqual(visitor.faults, []);
});

test("a line that breaks in mid-reply loses and doubles nothing", inBrowser, async () => {
  const pieces = ["Grüße ", "aus İstan", "bul, 😀 ", "und ", "bis bald."];
  const script = site.script(...pieces);
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  for (let said = 1; said < pieces.length; said += 1) {
    script.next();
    await visitor.shows("Hello", pieces.slice(0, said).join(""));
    site.line.isDown = true;
    site.line.cut();
    await visitor.banner.getByText("Connection lost. Reconnecting…").waitFor();
    site.line.isDown = false;
    await visitor.banner.getByText("Connection lost").waitFor({ state: "hidden" });
  }
  script.next();
  await visitor.shows("Hello", pieces.join(""));
  await visitor.isQuiet();
  assert.deepEqual(await bodies(), ["Hello", pieces.join("")]);
});

test("a first message whose answer gets lost is taken once", inBrowser, async () => {
  const script = site.script("Here I am.");
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  await until(() => script.asked === 1);
  site.line.cut();
  script.rest();
  await visitor.shows("Hello", "Here I am.");
  await visitor.isQuiet();
  assert.deepEqual(await bodies(), ["Hello", "Here I am."]);
  assert.equal((await site.service.sql`SELECT count(*)::int AS users FROM users`)[0].users, 1);
});

test("offline, a message waits for the connection", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  await visitor.context.setOffline(true);
  await visitor.banner.getByText("You are offline.").waitFor();
  await visitor.say("Hello");
  await visitor.shows("Hello", "");
  await visitor.context.setOffline(false);
  await visitor.shows("Hello", "Hello from Anna.");
  assert.equal(await visitor.banner.isVisible(), false);
  assert.deepEqual(await bodies(), ["Hello", "Hello from Anna."]);
});

test("a message that got no reply is sent again as the same one", inBrowser, async () => {
  site.model.reply = (reply) => reply.status(500);
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  await visitor.messages.getByText("The assistant cannot reply at the moment.").waitFor();
  assert.equal(await visitor.announcer.textContent(), "The assistant cannot reply at the moment.");
  await visitor.screenshot("error");
  site.model.reply = (reply) => reply.say("Back again.");
  await visitor.page.getByRole("button", { name: "Try again" }).click();
  await visitor.shows("Hello", "Back again.");
  await visitor.isQuiet();
  assert.deepEqual(await bodies(), ["Hello", "Back again."]);
});

test("a reply that broke off is kept, and can be asked for again", inBrowser, async () => {
  site.model.reply = async (reply) => { await reply.token("Half"); reply.cut(); };
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  await visitor.replies.getByText("The reply broke off.").waitFor();
  site.model.reply = (reply) => reply.say("The whole.");
  await visitor.page.getByRole("button", { name: "Try again" }).click();
  await visitor.shows("Hello", "Half", "Hello", "The whole.");
  assert.equal(await visitor.page.getByRole("button", { name: "Try again" }).count(), 0);
  assert.deepEqual(await bodies(), ["Hello", "Half", "Hello", "The whole."]);
});

test("after a reload in mid-reply the conversation is back, and the reply goes on", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  await visitor.shows("Hello", "Hello from Anna.");
  await visitor.isQuiet();
  const script = site.script("First ", "second ", "third.");
  await visitor.say("Count");
  script.next();
  await visitor.shows("Hello", "Hello from Anna.", "Count", "First ");
  await visitor.page.reload();
  script.next();
  await visitor.open();
  await visitor.shows("Hello", "Hello from Anna.", "Count", "First second ");
  script.next();
  await visitor.shows("Hello", "Hello from Anna.", "Count", "First second third.");
  await visitor.isQuiet();
  await visitor.page.reload();
  await visitor.open();
  await visitor.shows("Hello", "Hello from Anna.", "Count", "First second third.");
  assert.deepEqual(visitor.faults, []);
});

test("a long conversation comes back in pages", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("message 1");
  await visitor.shows("message 1", "Hello from Anna.");
  const [token] = Object.values(await visitor.tokens());
  for (let number = 2; number <= 40; number += 1) await site.service.chat({ content: `message ${number}` }, { "X-Chat-Token": token });
  await visitor.page.reload();
  await visitor.open();
  const all = Array.from({ length: 40 }, (_, index) => [`message ${index + 1}`, "Hello from Anna."]).flat();
  await visitor.shows(...all.slice(-30));
  const earlier = visitor.page.getByRole("button", { name: "Show earlier messages" });
  await earlier.click();
  await visitor.shows(...all.slice(-60));
  await visitor.page.waitForFunction(() => document.querySelector("edge-chat").shadowRoot.querySelector(".log").scrollTop > 100);
  await earlier.click();
  await visitor.shows(...all);
  await earlier.waitFor({ state: "hidden" });
});

test("a conversation that cannot be loaded says so, and can be asked for again", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Hello");
  await visitor.isQuiet();
  await visitor.page.route(`${site.line.url}/chat/history?*`, (route) => route.fulfill({ status: 503, headers: { "Access-Control-Allow-Origin": "*" }, body: '{"code":"storage_unavailable"}' }));
  await visitor.page.reload();
  await visitor.open();
  await visitor.page.locator(".history").getByText("The assistant cannot reply at the moment.").waitFor();
  await visitor.page.unroute(`${site.line.url}/chat/history?*`);
  await visitor.page.getByRole("button", { name: "Try again" }).click();
  await visitor.shows("Hello", "Hello from Anna.");
});

test("two tabs share one conversation", inBrowser, async () => {
  const first = await site.visit();
  const second = await site.visit({ context: first.context });
  await second.open();
  await first.open();
  const script = site.script("One ", "for both.");
  await first.say("Hello");
  script.next();
  await first.shows("Hello", "One ");
  await second.shows("Hello", "One ");
  script.next();
  for (const tab of [first, second]) await tab.shows("Hello", "One for both.");
  await second.isQuiet();
  site.model.reply = (reply) => reply.say("Hello second.");
  await second.say("From here");
  for (const tab of [first, second]) await tab.shows("Hello", "One for both.", "From here", "Hello second.");
  await first.isQuiet();
  await first.choose("Start over");
  await first.page.locator(".confirm").getByRole("button", { name: "Start over" }).click();
  for (const tab of [first, second]) await tab.shows();
  assert.equal((await site.service.sql`SELECT count(*)::int AS users FROM users`)[0].users, 1);
  assert.deepEqual([...first.faults, ...second.faults], []);
});

test("start over makes another visitor; delete erases this one", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Old secret");
  await visitor.isQuiet();
  await visitor.choose("Start over");
  const confirm = visitor.page.locator(".confirm");
  await confirm.getByRole("button", { name: "Cancel" }).click();
  await visitor.shows("Old secret", "Hello from Anna.");
  await visitor.choose("Start over");
  await confirm.getByRole("button", { name: "Start over" }).click();
  await visitor.shows();
  assert.deepEqual(await visitor.tokens(), {});
  await visitor.say("New secret");
  await visitor.shows("New secret", "Hello from Anna.");
  await visitor.isQuiet();
  await visitor.choose("Delete my data");
  await visitor.screenshot("confirm");
  await confirm.getByRole("button", { name: "Delete my data" }).click();
  await visitor.banner.getByText("Your data has been deleted.").waitFor();
  await visitor.shows();
  assert.deepEqual(await visitor.tokens(), {});
  assert.deepEqual(await bodies(), ["Old secret", "Hello from Anna."]);
  assert.deepEqual(visitor.faults, []);
});

test("a visitor can download what is stored of them", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  await visitor.say("Remember me");
  await visitor.isQuiet();
  const [download] = await Promise.all([visitor.page.waitForEvent("download"), visitor.choose("Download my data")]);
  assert.equal(download.suggestedFilename(), "chat.json");
  const chunks = await Array.fromAsync(await download.createReadStream());
  assert.match(Buffer.concat(chunks).toString(), /Remember me/);
});

test("addresses are attached, checked and shown as links", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.open();
  const attach = visitor.page.getByRole("button", { name: "Attach a link" });
  const address = visitor.page.getByLabel("Address of a photo, document or recording");
  await attach.click();
  await address.fill("javascript:alert(1)");
  await address.press("Enter");
  await visitor.page.getByRole("alert").getByText("Enter an address that starts with https:// or http://").waitFor();
  await address.fill("https://example.com/photo%20one.jpg");
  await address.press("Enter");
  await attach.click();
  await address.fill("https://example.com/voice.mp3?x=1");
  await visitor.page.getByRole("button", { name: "Add", exact: true }).click();
  await attach.click();
  await address.fill("https://example.com/wrong.jpg");
  await address.press("Enter");
  await visitor.page.getByRole("button", { name: "Remove https://example.com/wrong.jpg" }).click();
  await visitor.screenshot("attachments");
  await visitor.input.press("Enter");
  await visitor.shows("", "Hello from Anna.");
  await visitor.isQuiet();
  for (const reload of [false, true]) {
    if (reload) {
      await visitor.page.reload();
      await visitor.open();
      await visitor.shows("", "Hello from Anna.");
    }
    const links = await visitor.messages.first().locator("a").evaluateAll((all) => all.map(({ href, textContent }) => [href, textContent]));
    assert.deepEqual(links, [["https://example.com/photo%20one.jpg", "photo one.jpg"], ["https://example.com/voice.mp3?x=1", "voice.mp3"]]);
  }
  const [{ media_urls, audio_urls }] = (await site.service.fetch("/chat/history", { headers: { "X-Chat-Token": Object.values(await visitor.tokens())[0] } }).then((response) => response.json())).messages;
  assert.deepEqual([media_urls, audio_urls], [["https://example.com/photo%20one.jpg"], ["https://example.com/voice.mp3?x=1"]]);
});

test("what arrives while the panel is closed is counted", inBrowser, async () => {
  const script = site.script("Later.");
  const visitor = await site.visit();
  await visitor.page.evaluate(() => {
    globalThis.heard = [];
    for (const name of ["open", "close", "message", "unread"]) document.addEventListener(`edge-chat:${name}`, ({ detail }) => heard.push([name, detail]));
  });
  await visitor.open();
  await visitor.say("Hello");
  await until(() => script.asked === 1);
  await visitor.page.keyboard.press("Escape");
  await visitor.panel.waitFor({ state: "hidden" });
  script.rest();
  await visitor.page.getByRole("button", { name: "Open chat. New messages: 1" }).waitFor();
  await visitor.screenshot("unread");
  await visitor.open();
  assert.equal(await visitor.page.locator(".badge").textContent(), "");
  assert.deepEqual(await visitor.page.evaluate(() => heard), [
    ["open", null],
    ["close", null],
    ["message", { direction: "incoming", content: "Hello" }],
    ["message", { direction: "outgoing", content: "Later." }],
    ["unread", { count: 1 }],
    ["unread", { count: 0 }],
    ["open", null],
  ]);
});

test("a token that the service does not take any more is replaced without a word", inBrowser, async () => {
  const visitor = await site.visit();
  await visitor.page.evaluate((name) => localStorage.setItem(name, "not a token"), `edge-chat:${site.line.url}`);
  await visitor.open();
  await visitor.say("Hello");
  await visitor.shows("Hello", "Hello from Anna.");
  const [token] = Object.values(await visitor.tokens());
  assert.notEqual(token, "not a token");
  assert.equal((await site.service.fetch("/chat/history", { headers: { "X-Chat-Token": token } })).status, 200);
});

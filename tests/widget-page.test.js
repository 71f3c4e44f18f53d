// The widget on all sorts of pages and screens, and for all sorts of visitors.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { gzipSync } from "node:zlib";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { inBrowser } from "./helpers/browser.js";
import { proven, until } from "./helpers/service.js";
import { Visitor, startSite } from "./helpers/widget.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const REPLY = "Of course. A hair transplant consultation is free and takes 20 minutes; you can see examples at https://example.com/results.";

let site;
before(async () => {
  if (!inBrowser.skip) site = await startSite();
});
after(() => site?.stop());
beforeEach(() => {
  if (site) site.model.reply = (reply) => reply.say(REPLY);
});
afterEach(async () => {
  for (const context of site?.browser.contexts() ?? []) await context.close();
});

/** What axe finds on the page, shadow trees included, in WCAG 2.2 AA and its own good practices. */
async function axe({ page }) {
  await page.evaluate(AXE);
  const { violations, passes } = await page.evaluate(() => axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  assert.ok(passes.length > 10);
  return violations.map(({ id, nodes }) => [id, ...nodes.map(({ target, failureSummary }) => `${JSON.stringify(target)}: ${failureSummary}`)]);
}

const CASES = [
  ["desktop", {}, {}],
  ["dark", { colorScheme: "dark" }, {}],
  ["rtl", {}, { lang: "ar", attributes: "" }],
  ["phone", PHONE, {}],
  ["phone-dark-rtl", { ...PHONE, colorScheme: "dark" }, { lang: "ar", attributes: "" }],
];

for (const [name, options, page] of CASES) {
  test(`axe finds nothing: ${name}, closed, open, talking, menu and error`, inBrowser, async () => {
    const visitor = await site.visit({ page: options, ...page });
    assert.deepEqual(await axe(visitor), []);
    await visitor.open();
    assert.deepEqual(await axe(visitor), []);
    await visitor.say(name.includes("rtl") ? "مرحبًا، أريد حجز موعد" : "Hello, I want to schedule an appointment");
    await visitor.replies.locator("a").waitFor();
    await visitor.isQuiet();
    assert.deepEqual(await axe(visitor), []);
    await visitor.screenshot(name);
    await visitor.page.locator("header [aria-controls=menu]").click();
    assert.deepEqual(await axe(visitor), []);
    await visitor.screenshot(`${name}-menu`);
    await visitor.page.keyboard.press("Escape");
    await visitor.page.locator(".attach").click();
    await visitor.page.locator(".add").click();
    site.model.reply = (reply) => reply.status(500);
    await visitor.say("?");
    await visitor.page.locator(".failed .retry").waitFor();
    assert.deepEqual(await axe(visitor), []);
    await visitor.screenshot(`${name}-error`);
  });
}

test("every target is 44 by 44 at least, and the launcher is within the screen", inBrowser, async () => {
  const visitor = await site.visit({ page: PHONE });
  const { x, y, width, height } = await visitor.launcher.boundingBox();
  assert.ok(x >= 0 && y >= 0 && x + width <= 390 && y + height <= 844);
  await visitor.open();
  await visitor.say("Hello");
  await visitor.isQuiet();
  await visitor.page.locator("header [aria-controls=menu]").click();
  await visitor.page.locator(".attach").click();
  for (const target of await visitor.page.locator("edge-chat").locator("button:visible, textarea:visible, input:visible").all()) {
    const box = await target.boundingBox();
    assert.ok(box.width >= 44 && box.height >= 44, `${await target.getAttribute("class")}: ${JSON.stringify(box)}`);
  }
});

test("a phone gets the whole screen, above its keyboard, and the page behind is out of reach", inBrowser, async () => {
  const visitor = await site.visit({ page: PHONE, body: "<h1>Clinic</h1><a href=#x>behind</a>" });
  await visitor.open();
  assert.deepEqual(await visitor.panel.boundingBox(), { x: 0, y: 0, width: 390, height: 844 });
  assert.equal(await visitor.page.evaluate(() => document.querySelector("edge-chat").shadowRoot.activeElement.className), "panel", "no keyboard before it is wanted");
  for (let presses = 0; presses < 12; presses += 1) {
    await visitor.page.keyboard.press("Tab");
    assert.notEqual(await visitor.page.evaluate(() => document.activeElement.tagName), "A");
  }
  // The keyboard takes its half of the screen from the visual viewport.
  await visitor.page.evaluate(() => {
    Object.defineProperty(visualViewport, "height", { configurable: true, value: 500 });
    visualViewport.dispatchEvent(new Event("resize"));
  });
  const box = await visitor.input.boundingBox();
  assert.ok(box.y + box.height <= 500, JSON.stringify(box));
  await visitor.screenshot("phone-keyboard");
  await visitor.page.getByRole("button", { name: "Close chat" }).click();
  await visitor.panel.waitFor({ state: "hidden" });
  assert.equal(await visitor.page.evaluate(() => document.querySelector("edge-chat").shadowRoot.activeElement.className), "launcher");
});

test("everything by keyboard, and the focus is never lost", inBrowser, async () => {
  const visitor = await site.visit({ body: "<h1>Clinic</h1><a href=#x>before</a>" });
  const { keyboard } = visitor.page;
  const focus = () => visitor.page.evaluate(() => {
    const element = document.querySelector("edge-chat").shadowRoot.activeElement;
    return element && (element.getAttribute("aria-label") ?? element.textContent);
  });
  const tab = async (times, key = "Tab") => { for (let count = 0; count < times; count += 1) await keyboard.press(key); };
  await tab(2);
  assert.equal(await focus(), "Open chat");
  await keyboard.press("Enter");
  assert.equal(await focus(), "Your message");
  await keyboard.type("First line");
  await keyboard.press("Shift+Enter");
  await keyboard.type("second line");
  await keyboard.press("Enter");
  await visitor.shows("First line\nsecond line", REPLY);
  await visitor.isQuiet();
  assert.equal(await focus(), "Your message");
  await tab(1, "Shift+Tab");
  assert.equal(await focus(), "Attach a link");
  await tab(1, "Shift+Tab");
  assert.equal(await focus(), "https://example.com/results");
  await tab(1, "Shift+Tab");
  assert.equal(await focus(), "Conversation");
  await tab(2, "Shift+Tab");
  assert.equal(await focus(), "More options");
  await keyboard.press("Enter");
  assert.equal(await focus(), "Start over");
  await keyboard.press("Escape");
  assert.equal(await focus(), "More options");
  await keyboard.press("Enter");
  await tab(2);
  assert.equal(await focus(), "Delete my data");
  await keyboard.press("Enter");
  assert.equal(await focus(), "Cancel");
  await keyboard.press("Escape");
  await until(async () => (await focus()) === "More options");
  site.model.reply = (reply) => reply.status(500);
  await visitor.say("Again");
  const retry = visitor.page.getByRole("button", { name: "Try again" });
  await retry.focus();
  site.model.reply = (reply) => reply.say(REPLY);
  await keyboard.press("Enter");
  await visitor.shows("First line\nsecond line", REPLY, "Again", REPLY);
  assert.equal(await focus(), "Conversation");
  await keyboard.press("Escape");
  await visitor.panel.waitFor({ state: "hidden" });
  assert.equal(await focus(), "Open chat");
  assert.deepEqual(visitor.faults.filter((fault) => !fault.includes("status of 503")), []);
});

test("a page's own styles do not reach it", inBrowser, async () => {
  const plain = await site.visit();
  const hostile = await site.visit({
    path: "/hostile",
    head: `<style>
      * { all: unset !important; font: 40px/3 fantasy !important; color: red !important; visibility: hidden !important; letter-spacing: 1em !important; text-transform: uppercase !important; }
      html { font-size: 3px !important; direction: rtl !important; writing-mode: vertical-rl !important; }
      edge-chat, edge-chat * { display: none !important; opacity: 0 !important; transform: scale(3) !important; pointer-events: none !important; z-index: -1 !important; }
      button, dialog, textarea, p, ol { background: yellow !important; position: static !important; }
    </style>`,
  });
  const looks = [];
  for (const visitor of [plain, hostile]) {
    await visitor.open();
    await visitor.say("Hello");
    await visitor.isQuiet();
    looks.push(await visitor.page.evaluate(() => [...document.querySelector("edge-chat").shadowRoot.querySelectorAll("*")].map((element) => {
      const { x, y, width, height } = element.getBoundingClientRect();
      const { color, fontFamily, fontSize, textTransform, letterSpacing, visibility, direction, writingMode, backgroundColor } = getComputedStyle(element);
      return { is: element.className || element.tagName, x, y, width, height, color, fontFamily, fontSize, textTransform, letterSpacing, visibility, direction, writingMode, backgroundColor };
    }).filter(({ is }) => typeof is === "string")));
  }
  assert.deepEqual(looks[1], looks[0]);
});

test("the README's Content-Security-Policy is enough, with Trusted Types", inBrowser, async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const needed = readme.match(/^script-src .*connect-src .*$/m)[0].replaceAll("https://chat.example.com", site.line.url);
  const visitor = await site.visit({
    headers: {
      "Content-Security-Policy": `default-src 'none'; ${needed}; img-src data:; require-trusted-types-for 'script'; trusted-types 'none'`,
    },
  });
  await visitor.open();
  await visitor.say("Hello");
  await visitor.shows("Hello", REPLY);
  await visitor.isQuiet();
  assert.equal((await visitor.panel.boundingBox()).width, 384, "it has its styles");
  const [download] = await Promise.all([visitor.page.waitForEvent("download"), visitor.choose("Download my data")]);
  assert.equal(download.suggestedFilename(), "chat.json");
  assert.deepEqual(visitor.faults, []);
});

test("blocked storage: the conversation lasts as long as the page", inBrowser, async () => {
  const context = await site.browser.newContext();
  await context.addInitScript(() => {
    Object.defineProperty(globalThis, "localStorage", { get() { throw new DOMException("blocked", "SecurityError"); } });
  });
  const visitor = await site.visit({ context });
  await visitor.open();
  for (const text of ["Hello", "Again"]) {
    await visitor.say(text);
    await visitor.isQuiet();
  }
  await visitor.shows("Hello", REPLY, "Again", REPLY);
  const phones = (await site.service.messages()).slice(-4).map(({ phone_number }) => phone_number);
  assert.equal(new Set(phones).size, 1);
  assert.deepEqual(visitor.faults, []);
});

test("it speaks the page's language, else the visitor's, else English", inBrowser, async () => {
  const cases = [
    [{ lang: "tr-TR", attributes: "" }, {}, "Sohbeti aç"],
    [{ lang: "", attributes: "" }, { locale: "fr-CA" }, "Ouvrir la discussion"],
    [{ lang: "nl", attributes: "" }, { locale: "de-AT" }, "Chat öffnen"],
    [{ lang: "nl", attributes: "" }, { locale: "ja-JP" }, "Open chat"],
    [{ lang: "en", attributes: "data-lang=es" }, {}, "Abrir el chat"],
    [{ lang: "en", attributes: "data-lang=ru" }, {}, "Открыть чат"],
    [{ lang: "ar", attributes: "" }, {}, "فتح المحادثة"],
  ];
  for (const [page, options, label] of cases) {
    const visitor = await site.visit({ ...page, page: options });
    assert.equal(await visitor.launcher.getAttribute("aria-label"), label);
    await visitor.context.close();
  }
});

test("right to left, each message in its own direction", inBrowser, async () => {
  const visitor = await site.visit({ lang: "ar", attributes: "" });
  const { x } = await visitor.launcher.boundingBox();
  assert.ok(x < 100, "the launcher is where lines end");
  await visitor.open();
  await visitor.say("Hello");
  await visitor.isQuiet();
  const [incoming, outgoing] = await Promise.all([visitor.messages.first(), visitor.replies.first()].map((message) => message.locator(".bubble").boundingBox()));
  assert.ok(incoming.x < outgoing.x);
  assert.equal(await visitor.replies.first().locator(".bubble").evaluate((element) => getComputedStyle(element).direction), "ltr");
});

test("colours, size and place by CSS custom properties and attributes", inBrowser, async () => {
  const visitor = await site.visit({
    page: { colorScheme: "light" },
    attributes: "data-color-scheme=dark data-position=start data-attachments=off data-greeting='Ask me anything' data-lang=en",
    head: "<style>edge-chat { --edge-chat-accent: rgb(90, 20, 120); --edge-chat-width: 420px; --edge-chat-radius: 4px; --edge-chat-offset: 30px; --edge-chat-z-index: 7; }</style>",
  });
  await visitor.open();
  assert.equal(await visitor.launcher.evaluate((element) => getComputedStyle(element).backgroundColor), "rgb(90, 20, 120)");
  assert.equal(await visitor.page.locator("edge-chat").evaluate((element) => getComputedStyle(element).zIndex), "7");
  const box = await visitor.panel.boundingBox();
  assert.deepEqual([box.x, box.width], [30, 420]);
  assert.equal(await visitor.panel.evaluate((element) => getComputedStyle(element).backgroundColor), "rgb(22, 25, 29)");
  await visitor.page.getByText("Ask me anything").waitFor();
  assert.equal(await visitor.page.locator(".attach").isVisible(), false);
  await visitor.screenshot("theme");
});

test("the page opens and closes it, and hears of errors", inBrowser, async () => {
  const visitor = await site.visit({ attributes: "data-open data-lang=en" });
  await visitor.panel.waitFor();
  assert.equal(await visitor.page.evaluate(() => document.activeElement.tagName), "BODY", "the page's focus is not taken");
  await visitor.page.evaluate(() => EdgeChat.close());
  await visitor.panel.waitFor({ state: "hidden" });
  assert.equal(await visitor.page.evaluate(() => EdgeChat.isOpen), false);
  await visitor.page.evaluate(() => { EdgeChat.open(); document.addEventListener("edge-chat:error", ({ detail }) => { globalThis.error = detail; }); });
  site.model.reply = (reply) => reply.status(500);
  await visitor.say("Hello");
  await visitor.page.locator(".failed").waitFor();
  assert.partialDeepStrictEqual(await visitor.page.evaluate(() => error), { code: "assistant_unavailable" });
});

test("a visitor who writes too much is asked to wait", inBrowser, async () => {
  const visitor = await site.visit();
  let isLimited = true;
  await visitor.context.route(`${site.line.url}/chat/stream`, (route) => (isLimited
    ? route.fulfill({ status: 429, contentType: "application/problem+json", headers: { "Access-Control-Allow-Origin": "*", "Retry-After": "30" }, body: '{"code":"rate_limited"}' })
    : route.continue()));
  await visitor.open();
  await visitor.say("Hello");
  await visitor.messages.getByText("Too many messages. Please wait a moment.").waitFor();
  isLimited = false;
  await visitor.page.getByRole("button", { name: "Try again" }).click();
  await visitor.shows("Hello", REPLY);
});

test("a page puts the element itself, takes it away, and puts it back", inBrowser, async () => {
  const visitor = await site.visit({
    attributes: "type=module",
    body: `<h1>Clinic</h1><edge-chat endpoint="${site.line.url}" lang="en"></edge-chat>`,
  });
  await visitor.open();
  await visitor.say("Hello");
  await visitor.shows("Hello", REPLY);
  await visitor.isQuiet();
  await visitor.page.evaluate(() => {
    globalThis.chat = document.querySelector("edge-chat");
    chat.remove();
  });
  assert.equal(await visitor.page.locator("edge-chat").count(), 0);
  await visitor.page.evaluate(() => document.body.append(chat));
  await visitor.shows("Hello", REPLY);
  assert.deepEqual(visitor.faults, []);
});

test("a user of the site finds their conversation everywhere, and leaves none behind", inBrowser, async () => {
  const at = { path: "/user", attributes: 'data-lang="en"' };
  const first = await site.visit(at);
  await first.open();
  await first.page.evaluate((identity) => EdgeChat.identify(identity), proven("user_123"));
  await first.say("It is me");
  await first.shows("It is me", REPLY);
  await first.isQuiet();
  assert.equal((await site.service.messages()).at(-1).phone_number, "chat_user_123");

  const { user_id, user_hash } = proven("user_123");
  const second = await site.visit({ attributes: `data-lang="en" data-user-id="${user_id}" data-user-hash="${user_hash}"` });
  await second.open();
  await second.shows("It is me", REPLY);
  await second.page.locator("header [aria-controls=menu]").click();
  assert.equal(await second.page.getByRole("button", { name: "Start over" }).isVisible(), false);
  await second.page.evaluate(() => EdgeChat.reset());
  await second.shows();
  assert.deepEqual(await second.tokens(), {});

  const wrong = await site.visit({ attributes: `data-lang="en" data-user-id="${user_id}" data-user-hash="00"` });
  await wrong.open();
  await wrong.banner.getByText("The chat is not available on this page.").waitFor();
  await wrong.shows();
});

test("Turnstile is asked when the service wants it, and only where it is set up", inBrowser, async () => {
  const context = await site.browser.newContext();
  let loaded = 0;
  await context.route("https://challenges.cloudflare.com/**", (route) => {
    loaded += 1;
    return route.fulfill({ contentType: "text/javascript", body: `
      globalThis.turnstile = { render(box, { sitekey, callback }) { box.textContent = "challenge " + sitekey; globalThis.solve = () => callback("human"); } };` });
  });
  const asked = [];
  await context.route(`${site.line.url}/chat/session`, async (route) => {
    const { turnstile_token } = route.request().postDataJSON();
    asked.push(turnstile_token);
    if (turnstile_token === "human") return route.continue({ postData: "{}" });
    await route.fulfill({ status: 403, contentType: "application/problem+json", headers: { "Access-Control-Allow-Origin": "*" }, body: '{"code":"turnstile_required"}' });
  });
  const visitor = await site.visit({ context, attributes: "data-lang=en data-turnstile-sitekey=key" });
  await visitor.open();
  assert.equal(loaded, 0);
  await visitor.say("Hello");
  await visitor.page.getByText("challenge key").waitFor();
  await visitor.banner.getByText("Please confirm that you are human.").waitFor();
  await visitor.page.evaluate(() => solve());
  await visitor.shows("Hello", REPLY);
  assert.equal(await visitor.banner.isVisible(), false);
  assert.deepEqual([loaded, asked], [1, [undefined, "human"]]);
  const without = await site.visit({ path: "/without", context: await site.browser.newContext(), attributes: "data-lang=en" });
  await without.context.route(`${site.line.url}/chat/session`, (route) => route.fulfill({ status: 403, contentType: "application/problem+json", headers: { "Access-Control-Allow-Origin": "*" }, body: '{"code":"turnstile_required"}' }));
  await without.open();
  await without.say("Hello");
  await without.messages.getByText("Please confirm that you are human.").waitFor();
});

test("the demo page: the widget live, and a snippet that follows", inBrowser, async () => {
  const context = await site.browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  const visitor = new Visitor(page, context);
  await page.goto(site.service.site);
  await visitor.launcher.waitFor();
  await visitor.screenshot("demo");
  assert.deepEqual(await axe(visitor), []);
  await page.getByLabel("Language").selectOption("ar");
  await page.getByLabel("Name").fill('A "B"');
  assert.equal(await page.locator("#snippet").textContent(), `<script src="${site.service.site}/widget.js" data-lang="ar" data-name="A &quot;B&quot;" async></script>`);
  await page.getByRole("button", { name: "Chat with Anna" }).click();
  await visitor.panel.waitFor();
  assert.equal(await page.locator(".frame").getAttribute("dir"), "rtl");
  await visitor.say("Hello");
  await visitor.shows("Hello", REPLY);
  await visitor.screenshot("demo-rtl");
  await page.setViewportSize({ width: 390, height: 844 });
  await visitor.page.keyboard.press("Escape");
  await visitor.screenshot("demo-phone");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than a phone");
  assert.deepEqual(visitor.faults, []);
});

test("the widget is smaller than 20 KB", () => {
  const widget = readFileSync(new URL("../build/assets/widget.js", import.meta.url));
  const size = gzipSync(widget, { level: 9 }).length;
  assert.ok(size < 20_000, `${size} bytes`);
});

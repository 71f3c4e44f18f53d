// A site that has the widget on its pages, and what a visitor does there.
import { createServer } from "node:http";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.js";
import { startLine } from "./line.js";
import { startModel } from "./model.js";
import { startService } from "./service.js";

/** For people to look at; git ignores them. */
const screenshots = fileURLToPath(new URL("../../.screenshots/", import.meta.url));
mkdirSync(screenshots, { recursive: true });

/** The service with its assets behind a line that can be cut, a model, a site on another origin, and a browser. */
export async function startSite({ vars } = {}) {
  const model = await startModel();
  const pages = new Map();
  const server = createServer((request, response) => {
    const { html = "", headers = {} } = pages.get(request.url) ?? {};
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", ...headers }).end(html);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  // Another host name than the service's: another site, not just another port.
  const url = `http://localhost:${server.address().port}`;
  const service = await startService({ model, assets: true, vars: { ALLOWED_ORIGINS: url, ...vars } });
  const line = await startLine(service.site);
  const browser = await launch();
  return new Site({ model, pages, server, url, service, line, browser });
}

class Site {
  constructor(parts) {
    Object.assign(this, parts);
  }

  async stop() {
    await this.browser.close();
    this.line.stop();
    this.server.closeAllConnections();
    this.server.close();
    await this.service.stop();
    this.model.stop();
  }

  /** Puts a page on the site. `attributes` are the script tag's; `head` and `headers` are the page's own. */
  put(path, { attributes = 'data-lang="en" data-name="Anna"', head = "", body = "<h1>Clinic</h1>", headers, lang = "en" } = {}) {
    this.pages.set(path, {
      headers,
      html: `<!doctype html><html lang="${lang}"><head><title>Clinic</title><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">${head}</head>
        <body><main>${body}</main><script src="${this.line.url}/widget.js" ${attributes} async></script></body></html>`,
    });
    return this.url + path;
  }

  /** A visitor with a browser of their own on a page of the site. */
  async visit({ path = "/", context, page: options, ...rest } = {}) {
    const url = this.put(path, rest);
    context ??= await this.browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
    const page = await context.newPage();
    const visitor = new Visitor(page, context);
    await page.goto(url);
    await visitor.launcher.waitFor();
    return visitor;
  }

  /** The model says these pieces, each when the test says so. */
  script(...pieces) {
    const script = { asked: 0 };
    const gates = pieces.map(() => Promise.withResolvers());
    script.next = () => gates[script.said++]?.resolve();
    script.said = 0;
    script.rest = () => { for (const gate of gates) gate.resolve(); };
    this.model.reply = async (reply) => {
      script.asked += 1;
      for (const [index, piece] of pieces.entries()) {
        await gates[index].promise;
        await reply.token(piece);
      }
      await reply.finish();
    };
    return script;
  }
}

/** Somebody in front of the page. */
export class Visitor {
  /** What the page complained of: a test looks at it at its end. */
  faults = [];

  constructor(page, context) {
    Object.assign(this, { page, context });
    page.on("console", (message) => { if (message.type() === "error") this.faults.push(message.text()); });
    page.on("pageerror", (error) => this.faults.push(error.stack));
    this.launcher = page.locator(".launcher");
    this.panel = page.locator("dialog.panel");
    this.input = page.locator(".composer textarea");
    this.messages = page.locator(".log li.message");
    this.replies = page.locator(".log li.outgoing");
    this.announcer = page.locator(".panel > [role=status].hidden");
    this.banner = page.locator(".banner");
  }

  async open() {
    await this.launcher.click();
    await this.panel.waitFor();
  }

  async say(text) {
    await this.input.fill(text);
    await this.input.press("Enter");
  }

  /** Waits until the bubbles on the page are these. */
  shows(...texts) {
    return this.page.waitForFunction(
      (expected) => {
        const bubbles = document.querySelector("edge-chat").shadowRoot.querySelectorAll(".log li.message .bubble");
        globalThis.shown = [...bubbles].map(({ textContent }) => textContent);
        return JSON.stringify(shown) === expected;
      },
      JSON.stringify(texts), { timeout: 10_000 },
    ).catch(async () => {
      throw new Error(`the page shows ${JSON.stringify(await this.page.evaluate(() => shown))}, not ${JSON.stringify(texts)}`);
    });
  }

  /** Waits until no reply is being written any more. */
  async isQuiet() {
    await this.page.locator(".action.send").waitFor();
  }

  async choose(name) {
    await this.page.getByRole("button", { name: "More options" }).click();
    await this.page.locator(".menu").getByRole("button", { name }).click();
  }

  tokens() {
    return this.page.evaluate(() => ({ ...localStorage }));
  }

  screenshot(name) {
    return this.page.screenshot({ path: `${screenshots}${name}.png` });
  }
}

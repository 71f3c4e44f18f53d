// The examples, and the guide's own components as it prints them, in a real browser: the visitor types, and the reply is
// on the page.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { serveExamples } from "../examples/serve.js";
import { inBrowser, launch } from "./helpers/browser.js";
import { startModel } from "./helpers/model.js";
import { startService } from "./helpers/service.js";

let model;
let service;
let browser;
let examples;
let guide;
before(async () => {
  if (inBrowser.skip) return;
  model = await startModel();
  service = await startService({ model });
  [browser, examples, guide] = await Promise.all([
    launch(),
    serveExamples({ service: service.url }),
    serveExamples({ service: service.url, root: fileURLToPath(new URL("guide/", import.meta.url)) }),
  ]);
});
after(async () => {
  await browser?.close();
  examples?.stop();
  guide?.stop();
  await service?.stop();
  model?.stop();
});

async function open(url) {
  const page = await browser.newPage();
  const faults = [];
  page.on("console", (message) => { if (message.type() === "error") faults.push(message.text()); });
  page.on("pageerror", (error) => faults.push(error.message));
  await page.goto(url);
  return { page, faults, input: page.getByPlaceholder("Type your message..."), button: page.getByRole("button", { name: "Send" }) };
}

for (const name of ["fetch-stream", "eventsource", "react", "vue", "angular"]) {
  test(`the ${name} example: the reply streams into the page`, inBrowser, async () => {
    assert.ok(examples.names.includes(name));
    const { page, faults, input } = await open(`${examples.url}/${name}/`);
    for (const round of ["first", "second"]) {
      let goOn;
      const isSeen = new Promise((resolve) => { goOn = resolve; });
      model.reply = async (reply) => {
        await reply.token(`Hello, the ${round} `);
        await isSeen;
        await reply.token("time.");
        await reply.finish();
      };
      await input.fill(`${name} ${round}`);
      await input.press("Enter");
      await page.getByText(`Hello, the ${round}`, { exact: true }).waitFor();
      goOn();
      await page.getByText(`Hello, the ${round} time.`, { exact: true }).waitFor();
      assert.equal(await input.inputValue(), "");
    }
    assert.deepEqual(faults, []);
    const messages = await service.sql`SELECT body FROM messages WHERE body LIKE ${`${name} %`}`;
    assert.equal(messages.length, 2, "each message was taken once");
    await page.close();
  });
}

// The guide's Angular component listens to `(keypress.enter)`, which Angular does not know: only its button sends.
for (const [name, sends] of [["react", "Enter"], ["vue", "Enter"], ["angular", "button"]]) {
  test(`the guide's ${name} component, as it is printed`, inBrowser, async () => {
    model.reply = (reply) => reply.say("Hello! I'm Anna, your consultation assistant.");
    const { page, faults, input, button } = await open(`${guide.url}/${name}/`);
    await input.fill("Hello, I want to schedule an appointment");
    if (sends === "Enter") await input.press("Enter");
    else await button.click();
    await page.locator(".message.agent").waitFor();
    assert.deepEqual((await page.locator(".message").allTextContents()).map((text) => text.trim()), [
      "Hello, I want to schedule an appointment",
      "Hello! I'm Anna, your consultation assistant.",
    ]);
    assert.deepEqual(faults, []);
    await page.close();
  });
}

// README.md, openapi.yaml, wrangler.toml and the scripts say what the code does.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { ChatClient } from "../build/assets/client.js";
import { startModel } from "./helpers/model.js";
import { proven, startService } from "./helpers/service.js";

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8");
const readme = read("README.md");
const openapi = parse(read("openapi.yaml"));
const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema(openapi, "openapi");

function assertMatches(value, schema) {
  const validate = ajv.getSchema(`openapi#/components/schemas/${schema}`);
  assert.ok(validate(value), `${schema}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value, null, 2)}`);
}

const names = read("src/settings.rs").match(/NAMES: \[&str; \d+\] = \[([^\]]*)\]/)[1].match(/[A-Z_]+/g);
const codes = [...new Set(read("src/error.rs").match(/fn fault[\s\S]*?let Self|fn fault[\s\S]*?Fault \{ code/)[0].match(/"[a-z_]+",/g))]
  .map((code) => code.slice(1, -2)).sort();

let model;
let service;
before(async () => {
  model = await startModel();
  service = await startService({ model });
});
after(async () => {
  await service.stop();
  model.stop();
});

test("the README's table has every setting, and its default", () => {
  const rows = [...readme.matchAll(/^\| `([A-Z_]+)` \| (?:`([^`]*)`)? ?\|/gm)];
  assert.deepEqual(rows.map(([, name]) => name).sort(), [...names].sort());
  const code = read("src/settings.rs") + read("src/settings/providers.rs");
  for (const [, name, value] of rows.filter(([, , value]) => value)) {
    const defaults = [...code.matchAll(new RegExp(`"${name}",\\s*(?:&\\[\\s*\\()?"?([^",)]+)"?`, "g"))].map(([, found]) => found.replaceAll("_000", "000"));
    assert.ok(defaults.includes(value), `${name}: ${value} is not among ${defaults}`);
  }
});

test("wrangler.toml, `make dev` and .dev.vars.example know the same settings", () => {
  const inWrangler = [...read("wrangler.toml").matchAll(/^([A-Z_]{4,}) = /gm)].map(([, name]) => name);
  for (const name of inWrangler) assert.ok(names.includes(name), name);
  const passed = read("scripts/dev.js").match(/PLAIN_VARIABLES = \[([^\]]*)\]/)[1].match(/[A-Z_]+/g);
  const secrets = read(".dev.vars.example").match(/^[A-Z_]+/gm);
  assert.deepEqual([...passed, ...secrets].sort(), [...names].sort());
});

test("the README and openapi.yaml list every error code", () => {
  assert.ok(codes.length > 8);
  for (const code of codes) assert.ok(readme.includes(`\`${code}\``), code);
  assert.deepEqual([...openapi.components.schemas.Code.enum].sort(), codes);
});

test("the widget lets nobody write more than the service takes", () => {
  const [, widget] = read("web/composer.ts").match(/MAX_CHARACTERS = ([\d_]+);/);
  const [, service] = read("src/settings.rs").match(/"MAX_MESSAGE_CHARS", ([\d_]+),/);
  assert.equal(widget, service);
});

test("the README's links lead somewhere", () => {
  for (const [, path] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)) assert.ok(existsSync(new URL(`../${path}`, import.meta.url)), path);
  for (const [, target] of readme.matchAll(/`make ([a-z]+)/g)) assert.match(read("Makefile"), new RegExp(`^${target}:`, "m"));
});

test("openapi.yaml has the router's paths and methods", async () => {
  for (const [path, operations] of Object.entries(openapi.paths)) {
    for (const spelling of [path, path.endsWith("/") ? path.slice(0, -1) : `${path}/`]) {
      const allowed = (await service.fetch(spelling, { method: "OPTIONS" })).headers.get("allow").split(", ");
      const documented = Object.keys(operations).map((method) => method.toUpperCase());
      assert.deepEqual(allowed.filter((method) => !["HEAD", "OPTIONS"].includes(method)).sort(), documented.sort(), spelling);
    }
  }
});

test("answers have the shapes of openapi.yaml", async () => {
  const request = { content: "Hi", media_urls: ["https://a.test/1.jpg"], audio_urls: null, user_id: "u" };
  assertMatches(request, "ChatRequest");
  assertMatches((await service.chat(request)).json, "ChatResponse");
  assertMatches(await (await service.fetch("/health")).json(), "Health");
  for (const response of [await service.post("/chat/", "{"), await service.fetch("/"), await service.fetch("/chat/")]) {
    assertMatches(await response.json(), "Problem");
  }
  const session = await service.post("/chat/session", {});
  assertMatches(await session.json(), "Session");
  const headers = { "X-Chat-Token": session.headers.get("x-chat-token") };
  assertMatches(await (await service.fetch("/chat/me", { headers })).json(), "Export");
  await service.chat({ ...request, user_id: null }, headers);
  assertMatches(await (await service.fetch("/chat/me", { headers })).json(), "Export");
  assertMatches(await (await service.fetch("/chat/history?limit=2", { headers })).json(), "Page");
  assertMatches({ ...proven("u"), turnstile_token: null }, "Credentials");
  model.reply = async (reply) => {
    await reply.token("Half");
    reply.cut();
  };
  for (const event of (await service.stream(request)).events) assertMatches(event.data, "Event");
  assertMatches((await service.chat(request)).json, "Problem");
});

test("the README lists the widget's attributes, properties, events and languages", () => {
  const section = readme.match(/## Put it on your site[\s\S]*?### From/)[0];
  const listed = (pattern) => [...new Set([...section.matchAll(pattern)].map(([, name]) => name))].sort();
  const element = read("web/element.ts");
  const attributes = element.match(/observedAttributes = \[([^\]]*)\]/)[1].match(/[a-z-]+/g);
  assert.deepEqual(listed(/`data-([a-z-]+)`/g), attributes.sort());
  const properties = [...new Set(read("web/style.css").match(/--edge-chat-[a-z-]+/g))];
  assert.deepEqual(listed(/`(--edge-chat-[a-z-]+)`/g), properties.sort());
  assert.deepEqual(listed(/`(edge-chat:[a-z]+)`/g), [...new Set(element.match(/(?<=")edge-chat:[a-z]+(?=")/g))].sort());
  const languages = [...read("web/texts.ts").matchAll(/^ {2}([a-z]{2})(?:: \{|,)$/gm)].map(([, language]) => language);
  assert.deepEqual(listed(/`([a-z]{2})`/g), languages.sort());
  assert.deepEqual([...read("web/index.html").matchAll(/<option value="([a-z]{2})"/g)].map(([, language]) => language).sort(), languages);
  for (const [, name, value] of section.matchAll(/^\| `(--edge-chat-[a-z-]+)` \| `([^`]+)`/gm)) assert.ok(read("web/style.css").includes(`var(${name}, ${value})`), name);
  for (const text of section.match(/(?<=\| )"[^"]+"(?= \|)/g)) assert.ok(read("web/texts.ts").includes(text), text);
});

test("the README's requests work as they are printed", async () => {
  model.reply = (reply) => reply.say("Hello!");
  const requests = [...readme.matchAll(/curl (?:-N )?http:\/\/127\.0\.0\.1:8787(\S+) [^']*'Content-Type: application\/json' \\\n\s+-d '([^']+)'/g)];
  assert.equal(requests.length, 2);
  for (const [, path, body] of requests) assert.equal((await service.post(path, body)).status, 200, body);

  const [, snippet] = readme.match(/```js\n(const response[\s\S]*?)```/);
  const reply = { textContent: "" };
  const run = Object.getPrototypeOf(async () => {}).constructor;
  await new run("fetch", "document", snippet)(
    (url, init) => fetch(service.url + new URL(url).pathname, init), { querySelector: () => reply });
  assert.equal(reply.textContent, "Hello!");

  const [, example] = readme.match(/(const client = new ChatClient[\s\S]*?)```/);
  reply.textContent = "";
  await new run("ChatClient", "document", example.replace("https://chat.example.com", service.url))(ChatClient, { querySelector: () => reply });
  assert.equal(reply.textContent, "Hello!");
});

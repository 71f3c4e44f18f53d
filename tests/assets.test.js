// What is served beside the API, through the router that Cloudflare puts in front of the Worker.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { startService } from "./helpers/service.js";

let service;
before(async () => {
  service = await startService({ assets: true });
});
after(() => service.stop());

const get = (path, init) => fetch(service.site + path, { redirect: "manual", ...init });

test("the widget and the client can be loaded by any site, and are kept for a while", async () => {
  for (const path of ["/widget.js", "/client.js"]) {
    const { status, headers } = await get(path);
    assert.equal(status, 200);
    assert.match(headers.get("content-type"), /^text\/javascript/);
    assert.equal(headers.get("cross-origin-resource-policy"), "cross-origin");
    assert.equal(headers.get("access-control-allow-origin"), "*");
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("strict-transport-security"), "max-age=31536000");
    assert.match(headers.get("cache-control"), /^public, max-age=\d+/);
    assert.ok(headers.get("etag"), "a browser can ask whether it has changed");
  }
});

test("the demo page has a strict policy", async () => {
  const { status, headers } = await get("/");
  assert.equal(status, 200);
  const policy = headers.get("content-security-policy");
  for (const directive of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]) assert.ok(policy.includes(directive), directive);
  assert.doesNotMatch(policy, /unsafe/);
  assert.equal(headers.get("referrer-policy"), "strict-origin-when-cross-origin");
});

test("every file that the demo page names is there", async () => {
  const page = await (await get("/")).text();
  const paths = [...page.matchAll(/(?:href|src)="(\/[^"#]*)"/g)].map(([, path]) => path);
  assert.ok(paths.length >= 8);
  for (const path of paths) assert.equal((await get(path)).status, 200, path);
  assert.equal(await (await get("/openapi.yaml")).text(), readFileSync(new URL("../openapi.yaml", import.meta.url), "utf8"));
});

test("the API and its errors stay the Worker's", async () => {
  const answer = await get("/chat/", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"Hello"}' });
  assert.match((await answer.json()).content, /Anna/);
  const stream = await get("/chat/stream", { method: "POST", headers: { "Content-Type": "application/json" }, body: '{"content":"Hello"}' });
  assert.match(await stream.text(), /"is_final":true/);
  for (const [path, status] of [["/chat/", 405], ["/nothing", 404], ["/widget", 404], ["/package.json", 404], ["/_headers", 404], ["/widget.js/x", 404]]) {
    const response = await get(path);
    assert.equal(response.status, status, path);
    assert.equal(response.headers.get("content-type"), "application/problem+json", path);
    assert.ok(response.headers.get("x-request-id"), path);
  }
});

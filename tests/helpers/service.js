// The built Worker in workerd, with a database of its own.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createHmac, randomUUID } from "node:crypto";
import { Miniflare, convertV4MiniflareOptions } from "miniflare";
import { createParser } from "eventsource-parser";
import postgres from "postgres";
import { createDatabase } from "../../scripts/postgres.js";

const build = fileURLToPath(new URL("../../build/", import.meta.url));

/** The Worker with a stand-in for the `AI` binding: like that, an object of the Worker's own, answered by the stand-in model server. */
const WITH_AI = `
  import Worker from "./index.js";
  const ai = (url) => ({
    async run(model, inputs, { signal }) {
      const response = await fetch(url + "/workers-ai", { method: "POST", body: JSON.stringify({ model, ...inputs }), signal });
      if (!response.ok) throw new Error("3040: Capacity temporarily exceeded, please try again.");
      return response.body;
    },
  });
  export default class extends Worker {
    constructor(context, env) {
      super(context, { ...env, AI: ai(env.MODEL_URL) });
    }
  }
`;

/** What the services of the tests are set up with. */
export const SESSION_KEYS = "new:0123456789abcdef0123456789abcdef,old:fedcba9876543210fedcba9876543210";
export const HASH_SECRET = "the secret of the clinic's site";
export const TOKEN_SECRET = "the site's other secret for tokens";

/** A user, and the site's proof that it is them. */
export function proven(user_id) {
  return { user_id, user_hash: createHmac("sha256", HASH_SECRET).update(user_id).digest("hex") };
}

export function databaseUrl(name) {
  const url = new URL(process.env.TEST_POSTGRES_URL);
  url.pathname = name;
  return url.href;
}

/** The URL by which a Worker reaches a database: with a pooler in between, if the tests run with one. */
export function workerUrl(database) {
  return Object.assign(new URL(database), process.env.TEST_POOLER_PORT && { port: process.env.TEST_POOLER_PORT }).href;
}

/** A new database: migrated, or like another one. */
export async function newDatabase(template = "template_chat") {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  await createDatabase(process.env.TEST_POSTGRES_URL, name, template);
  return databaseUrl(name);
}

/**
 * Starts the Worker with these variables. `model` (see `model.js`) becomes the `openai` provider's server and the `AI`
 * binding; `database` is a URL, or a new database is made; `outbox` adds the queue, `rateLimits` those limiters, and
 * `assets` the static assets, which are in front of the Worker at `service.site`, and `entry` a module that the runtime loads
 * instead of the Worker's own. `auditDatabase` is the database's own
 * URL, if the Worker reaches it by another way.
 */
export async function startService({ vars = {}, model, database, auditDatabase, ai = true, outbox = false, assets = false, rateLimits, entry } = {}) {
  database ??= await newDatabase();
  if (model && ai) entry ??= WITH_AI;
  const hyperdrive = auditDatabase ? database : workerUrl(database);
  const logs = [];
  const worker = {
    name: "edge-chat",
    // Miniflare's own entry in front of the Worker would hide from it that a client has left.
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    modules: [
      ...(entry ? [{ type: "ESModule", path: `${build}entry.js`, contents: entry }] : []),
      { type: "ESModule", path: `${build}index.js`, contents: readFileSync(`${build}index.js`, "utf8") },
      { type: "CompiledWasm", path: `${build}index_bg.wasm`, contents: readFileSync(`${build}index_bg.wasm`) },
    ],
    modulesRoot: build,
    compatibilityDate: "2026-11-01",
    compatibilityFlags: ["enable_request_signal"],
    ...(assets && { assets: { directory: `${build}assets`, routerConfig: { has_user_worker: true } } }),
    ...(outbox && {
      queueProducers: { OUTBOX: "outbox" },
      queueConsumers: { outbox: { maxBatchSize: 10, maxBatchTimeout: 0.2, maxRetries: 100, deadLetterQueue: "dead" } },
    }),
    ...(rateLimits && { ratelimits: rateLimits }),
    bindings: {
      SESSION_KEYS,
      USER_HASH_SECRETS: HASH_SECRET,
      USER_TOKEN_SECRETS: TOKEN_SECRET,
      LLM_PROVIDERS: model ? "openai" : "scripted",
      ...(model && { OPENAI_BASE_URL: `${model.url}/v1`, OPENAI_MODEL: "stand-in", OPENAI_API_KEY: "sk-test", MODEL_URL: model.url }),
      ...vars,
    },
    hyperdrives: { HYPERDRIVE: hyperdrive },
  };
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      workers: [worker],
      host: "127.0.0.1",
      port: 0,
      cf: false,
      logRequests: false,
      telemetry: { enabled: false },
      handleStructuredLogs: ({ level, message }) => logs.push({ level, message }),
    }),
  );
  const site = (await miniflare.ready).origin;
  const url = (await miniflare.unsafeGetDirectURL("edge-chat")).href.replace(/\/$/, "");
  const sql = postgres(auditDatabase ?? database, { max: 2, onnotice: () => {}, idle_timeout: 5 });
  return new Service({ miniflare, url, site, sql, database, auditDatabase: auditDatabase ?? database, logs });
}

/** What may be sent and logged: the names of things. */
const PUBLIC = new Set(["application/json", "text/event-stream"]);

class Service {
  /** What must never be in a log: what visitors sent, and what they were given. */
  private = new Set();

  constructor(parts) {
    Object.assign(this, parts);
  }

  async stop() {
    await this.keepPrivate(...(await this.sql`SELECT body FROM messages`.catch(() => [])).map(({ body }) => body));
    await this.sql.end({ timeout: 1 });
    await this.miniflare.dispose();
    const log = this.logs.map(({ message }) => message).join("\n");
    for (const text of this.private) {
      // As it is, and as it would be within a line of JSON.
      if (log.includes(text) || log.includes(JSON.stringify(text).slice(1, -1))) throw new Error(`the log has ${JSON.stringify(text)}`);
    }
  }

  /** Has `stop` look for these texts in the log, but for those so short that they may be there by chance. */
  keepPrivate(...texts) {
    for (const text of texts) if (typeof text === "string" && text.length >= 8 && !PUBLIC.has(text)) this.private.add(text);
  }

  /** A raw request to a path. */
  async fetch(path, init) {
    this.keepPrivate(...Object.values(init?.headers ?? {}));
    const response = await fetch(this.url + path, { redirect: "manual", ...init });
    this.keepPrivate(response.headers.get("x-chat-token"), response.headers.get("x-chat-ticket"));
    return response;
  }

  /** `POST` of a JSON value (or of a raw body, if it is a string). */
  post(path, body, headers = {}, init = {}) {
    this.keepPrivate(...(body && typeof body === "object" ? Object.values(body).flat() : []));
    return this.fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body),
      ...init,
    });
  }

  /** `POST /chat/`: status, headers and JSON. */
  async chat(body, headers) {
    const response = await this.post("/chat/", body, headers);
    return { status: response.status, headers: response.headers, json: await response.json() };
  }

  /** `POST /chat/stream`, read to its end: status, headers, events with their parsed data, and the text they make. */
  async stream(body, headers) {
    const response = await this.post("/chat/stream", body, headers);
    if (response.status !== 200) return { status: response.status, headers: response.headers, json: await response.json() };
    const events = await Array.fromAsync(readEvents(response));
    return { status: 200, headers: response.headers, events, text: events.map((event) => event.data.content).join("") };
  }

  /** All messages, in their order. */
  messages() {
    return this.sql`
      SELECT phone_number, users.name, direction, body, media_url, messages.id, messages.created_at
      FROM messages JOIN users ON users.id = user_id ORDER BY messages.created_at, messages.id`;
  }

  /** All turns, in their order. */
  turns() {
    return this.sql`SELECT * FROM chat_turns ORDER BY created_at, incoming_id`;
  }

  /** The structured log lines so far whose message is this one. */
  logged(message) {
    return this.logs
      .map(({ message: line }) => { try { return JSON.parse(line); } catch { return {}; } })
      .filter((line) => line.message === message);
  }
}

/** The events of a response, each with its `id`, its parsed `data`, the raw comment lines before it, and its arrival. */
export async function* readEvents(response, { onComment } = {}) {
  const queue = [];
  const parser = createParser({
    onEvent: (event) => queue.push({ ...event, data: JSON.parse(event.data), at: performance.now() }),
    onComment,
  });
  const decoder = new TextDecoder();
  for await (const bytes of response.body) {
    parser.feed(decoder.decode(bytes, { stream: true }));
    yield* queue.splice(0);
  }
}

/** Waits until `probe` returns something, and returns that. */
export async function until(probe, { seconds = 10 } = {}) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`nothing within ${seconds} s: ${probe}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

